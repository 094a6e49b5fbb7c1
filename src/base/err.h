/*
 * err.h - how a failure travels: filled in where it happens, carried up by the caller.
 *
 * A function that can fail takes `struct err *` last and returns 0, or -1 with *err filled.
 * `code` decides policy (status, retry).  `text` is for the log: it may name files and hosts
 * and is never sent to a client.  `says` is one sentence for the client that tells what to do;
 * it is empty when the table's sentence is good enough.  No secret goes into either.
 * Fixed size, so that running out of memory can still be reported.  Safe over threads.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdint.h>

#define ERR_CODES(X) /* code, HTTP status, our public name, what the client is told */             \
	X(NONE, 200, "", "")                                                                        \
	X(BAD_REQUEST, 400, "bad_request", "The request could not be understood.")                  \
	X(PARAM_NOT_ALLOWED, 400, "param_not_allowed", "A parameter has a value that is not allowed.") \
	X(CONTEXT_TOO_LONG, 400, "context_too_long", "The prompt is too long for this model.")      \
	X(EXCEEDS_LIMIT, 400, "exceeds_limit", "This request alone is larger than its limit allows.") \
	X(UNKNOWN_UPSTREAM, 400, "unknown_upstream", "There is no upstream of that name.")          \
	X(MISSING_TOKEN, 401, "missing_token", "Send your token as 'Authorization: Bearer <token>'.") \
	X(INVALID_TOKEN, 401, "invalid_token", "This token is not known here; check it for typing errors.") \
	X(TOKEN_EXPIRED, 401, "token_expired", "This token has expired; ask for a new one.")        \
	X(TOKEN_REVOKED, 401, "token_revoked", "This token has been revoked; ask for a new one.")   \
	X(FORBIDDEN, 403, "forbidden", "This is not allowed here.")                                 \
	X(PROJECT_INACTIVE, 403, "project_inactive", "The project of this token is not active.")    \
	X(MODEL_NOT_ALLOWED, 403, "model_not_allowed", "This token may not use that model.")        \
	X(ENDPOINT_NOT_ALLOWED, 403, "endpoint_not_allowed", "This token may not use that endpoint.") \
	X(ORIGIN_NOT_ALLOWED, 403, "origin_not_allowed", "This web origin is not allowed.")         \
	X(NOT_FOUND, 404, "not_found", "There is nothing at this path.")                            \
	X(NO_ROUTE, 404, "no_route", "No upstream serves this model; GET /v1/models lists those that are served.") \
	X(METHOD_NOT_ALLOWED, 405, "method_not_allowed", "This path does not take that method.")    \
	X(BODY_TIMEOUT, 408, "body_timeout", "The request's body came too slowly.")                 \
	X(CONFLICT, 409, "conflict", "This clashes with something that exists already.")            \
	X(STALE, 412, "stale", "Somebody changed this meanwhile; load it again.")                   \
	X(BODY_TOO_LARGE, 413, "body_too_large", "The request's body is larger than is allowed here.") \
	X(RATE_LIMITED, 429, "rate_limited", "Too many requests; wait and try again.")              \
	X(BUDGET_EXCEEDED, 429, "budget_exceeded", "The budget is spent.")                          \
	X(CLIENT_GONE, 499, "client_gone", "The client closed the connection.")                     \
	X(INTERNAL, 500, "internal", "The gateway failed; its log tells why under the request's id.") \
	X(UPSTREAM_CREDENTIALS, 502, "upstream_credentials", "The provider refused the gateway's own key; tell its operator.") \
	X(UPSTREAM_UNREACHABLE, 502, "upstream_unreachable", "No provider could be reached; try again soon.") \
	X(MEMORY, 503, "overloaded", "The gateway is short of memory; try again soon.")             \
	X(OVERLOADED, 503, "overloaded", "The gateway is full; try again soon.")                    \
	X(NO_KEY_AVAILABLE, 503, "no_key_available", "No provider key is available now; try again soon.") \
	X(STORE_UNAVAILABLE, 503, "store_unavailable", "The gateway's records cannot be read now; try again soon.") \
	X(UPSTREAM_TIMEOUT, 504, "upstream_timeout", "The provider did not answer in time.")        \
	/* rows keep the number: new ones come last */                                              \
	X(REQUEST_RUNNING, 409, "request_running", "A request with this Idempotency-Key is still running.") \
	X(REQUEST_REPEATED, 409, "request_repeated", "A request with this Idempotency-Key was answered already.") \
	X(IDEMPOTENCY_KEY_REUSED, 422, "idempotency_key_reused", "This Idempotency-Key came with another request before; send a new one.") \
	X(CUT, 503, "cut_by_operator", "The operator of the gateway ended this request.")           \
	X(UNSUPPORTED, 400, "unsupported", "The provider cannot do what this request asks for.")

enum err_code {
#define X(code, status, name, says) ERR_##code,
	ERR_CODES(X)
#undef X
	ERR__COUNT
};

struct err {
	enum err_code code;
	/* When trying again makes sense, by clock_boot_ms(): what is said of it later must not be
	 * wrong by a step of the wall clock between.  0: not known. */
	int64_t retry_boot_ms;
	char text[240];
	char says[240];
	char field[64]; /* the member of the request that is at fault; "" none */
};

/* Both return -1, so `return err_set(...)` reads as the failure it is.  err may be NULL. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Puts "new text: " before the old text; the code stays. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sets the sentence for the client; code and text stay. */
int err_say(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Names the member of the request that is at fault (cut to fit); the rest stays. */
int err_field(struct err *err, const char *field);

int err_status(enum err_code code);          /* HTTP status of the table */
const char *err_name(enum err_code code);    /* "invalid_token"; never NULL */
const char *err_public(const struct err *err); /* says, or the table's sentence */

#endif
