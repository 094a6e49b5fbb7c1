/*
 * allow.h - may this caller make this request: what a token and its project say of it.
 *
 * The project's lists bind; the token's are looked at besides, so that a token can only narrow.
 * An empty list binds nothing.  Pure; safe over threads.
 */
#ifndef ADMIT_ALLOW_H
#define ADMIT_ALLOW_H

#include "admit/admit.h"

/*
 * Revoked, not yet valid, expired, shown by a secret that was replaced and is out of its grace;
 * project inactive; model not allowed.  model may be empty: then none is asked of it.
 */
int admit_allow(const struct admit_caller *caller, struct span model, int64_t now_ms,
	struct err *err);

/* A request as the lists see it.  The spans are borrowed for the call. */
struct admit_request {
	const char *method;
	struct span path;    /* without mount and prefix: "/v1/chat/completions" */
	struct span model;   /* empty: none is named */
	struct span body;    /* a JSON object; SPAN_NONE when it is anything else */
	bool has_other_body; /* it is something else, and not a form whose model could be read */
	bool has_form;       /* multipart */
	const char *address; /* the client's */
	/* A request header's value, the name in any case; empty when absent. */
	struct span (*header)(const void *ctx, const char *name);
	const void *header_ctx;
};

/*
 * All that admit_allow() asks, and:
 *   networks   ERR_FORBIDDEN
 *   endpoints  ERR_ENDPOINT_NOT_ALLOWED; methods the same: HEAD goes where GET may
 *   origins    ERR_ORIGIN_NOT_ALLOWED; a request without an Origin is no page's and passes,
 *              unless required_headers ask for one
 *   headers    ERR_FORBIDDEN: required, and not there with the value wanted, which is not told
 *   models     ERR_MODEL_NOT_ALLOWED, also for a body that could hide the name of one
 *   params     ERR_PARAM_NOT_ALLOWED: each occurrence of a listed member, when it is there, must
 *              fit one of its patterns, as text (numbers, lists and objects as they were sent);
 *              a body that is no JSON object cannot be judged and is refused
 */
int admit_allow_request(const struct admit_caller *caller, const struct admit_request *r,
	int64_t now_ms, struct err *err);

#endif
