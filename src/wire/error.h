/*
 * error.h - errors in the caller's dialect, and what a provider's error means for the router.
 *
 * Statuses, types and codes: reference conversion.md section 8, interfaces.md (Errors).
 */
#ifndef WIRE_ERROR_H
#define WIRE_ERROR_H

#include "base/bytes.h"
#include "base/err.h"

enum dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC, DIALECT_GEMINI, DIALECT_BEDROCK };

/* Status for that dialect (budget_exceeded is 429, for Anthropic 402; overloaded 529 there …). */
int error_status(enum dialect d, enum err_code code);
/* The dialect's own word for it: "invalid_request_error", "RESOURCE_EXHAUSTED"; for Bedrock the
 * exception's name, which its SDK reads from the header x-amzn-ErrorType. */
const char *error_type(enum dialect d, enum err_code code);
/* The exception that it is in a stream of Bedrock, whose SDKs know only some there:
 * "throttlingException". */
const char *error_exception(enum err_code code);
/* Both: request_id may be NULL; 0, or -1 when out's limit or memory is spent.
 * The JSON body: shape, type and code of the dialect, sluice_code, the sentence, the request id. */
int error_body(enum dialect d, const struct err *e, const char *request_id, struct bytes *out);
/* The same in the middle of a stream: an event its SDK throws on, closed by an empty line; for
 * Bedrock a binary exception frame. */
int error_event(enum dialect d, const struct err *e, const char *request_id, struct bytes *out);

/* ---- a provider's failure, judged by status, headers and body (usage-and-limits.md, section 4) ---- */
enum failure {
	FAILURE_NONE,           /* an answer for the client (a 200 that holds no error) */
	FAILURE_KEY_INVALID,    /* this key is no good until edited: next key */
	FAILURE_NO_CREDIT,      /* out of money: rest long, next key */
	FAILURE_RATE_LIMITED,   /* rest until the stated time, next key */
	FAILURE_OVERLOADED,     /* the provider: short rest, next key */
	FAILURE_MODEL,          /* this key cannot use this model: next key */
	FAILURE_REQUEST,        /* the request's own fault: to the client as it is */
	FAILURE_TRANSIENT       /* next key */
};
struct failure_headers { /* "" where absent */
	struct span retry_after, retry_after_ms, reset_requests, reset_tokens, remaining_requests,
		remaining_tokens, date;
	struct span error_type;    /* x-amzn-errortype */
	struct span unified_reset; /* anthropic-ratelimit-unified-reset */
};
/*
 * body: as much as was read, JSON, an array of it, an event's "data: …", HTML or text.  status 0: no
 * answer at all.  A 200 is judged by the error it may hold (OpenRouter, and streams before their
 * first content).  The headers of other providers go into the field that means the same.
 * until_ms: wall clock time of a stated reset, never before now_ms; or 0 when none is stated.
 */
enum failure failure_classify(int status, const struct failure_headers *h, struct span body,
	int64_t now_ms, int64_t *until_ms);
const char *failure_name(enum failure f);
/* Of a failure that is the request's own: does its text not fit the model's context, or was it turned
 * down by a filter?  Another model may take it. */
bool failure_is_context(struct span body);
bool failure_is_filter(struct span body);
/* What the evidence speaks of besides the key: its account, a quota of days rather than a rate, this
 * model alone (by its name, which may be empty). */
struct failure_scope {
	bool is_account, is_quota, is_model;
	bool is_address; /* of the address that calls come from: of all keys alike */
};
struct failure_scope failure_scope(struct span body, const char *model);
/* The error's own words for itself (code, type, status), with blanks between, into out; returns out. */
char *failure_words(struct span body, char *out, size_t room);
/*
 * What the client is told of it when nobody else can be asked; returns -1.  The provider's own sentence
 * is passed on, cut, where the fault is the request's; a full context is said as agents look for
 * it.  retry_boot_ms: clock_boot_ms() when trying again makes sense, or 0.  upstream: its name, for the log.
 */
int failure_tell(enum failure f, int status, int64_t retry_boot_ms, const char *upstream, struct span body,
	struct err *err);

/* A provider's error in the middle of a stream, or in a 200, as one of ours: the code by its kind, the
 * provider's own sentence (cut) for the client unless it is about a key of ours.  body: the event's data
 * or the answer, in any dialect.  Returns -1. */
int error_of_provider(struct span body, struct err *err);

#endif
