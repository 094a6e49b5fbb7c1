/*
 * openai.h - OpenAI's dialect passed on as bytes: what sluice reads out of a request, the one
 * thing it adds, and what it watches for in an answer.
 *
 * Nothing is built as a tree; unknown members and their order survive.  Facts: reference
 * openai.md sections 2 to 8, usage-and-limits.md section 1.
 */
#ifndef WIRE_OPENAI_H
#define WIRE_OPENAI_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "wire/sse.h"

/* Disjoint counters as in store/usage.h, without knowing the store; -1 where not reported. */
struct wire_usage {
	bool seen;
	int64_t input, cache_read, cache_write, output, reasoning;
	int64_t cost_nusd; /* the provider's own statement (OpenRouter), or -1 */
};

/* What the skim of a JSON body finds.  Spans point into the body. */
struct openai_request {
	char model[128];
	bool stream;
	bool wants_usage;        /* stream_options.include_usage is true */
	int64_t max_output;      /* max_completion_tokens, max_output_tokens, max_tokens; -1 absent */
	int64_t choices;         /* n, at least 1 */
	char end_user[64];       /* safety_identifier, else user; cut to fit */
	int64_t input_estimate;  /* tokens, from the text's size; base64 media counted by kind */
	struct json_value model_value, stream_options; /* for splicing */
	size_t object_end;       /* offset of the closing brace */
	bool empty_object;
};

/* ERR_BAD_REQUEST with a sentence for the client that names the byte or the member.
 * endpoint: "/v1/chat/completions" …; some members mean something only there. */
int openai_skim(struct span body, const char *endpoint, struct openai_request *out, struct err *err);
/* The model out of a multipart/form-data body, wherever its part stands.  0 found, 1 none, -1 broken. */
int openai_skim_multipart(struct span body, const char *content_type, char *model, size_t room,
	struct err *err);

/* The body to send on: model replaced when upstream_model is not NULL, and for a stream of chat or
 * completions stream_options.include_usage set to true.  The same span when nothing changes;
 * else allocated in a.  SPAN_NONE when out of memory. */
struct span openai_rewrite(struct arena *a, struct span body, const struct openai_request *q,
	const char *endpoint, const char *upstream_model);

/* Usage out of a JSON answer (any endpoint), or out of one event's JSON. */
void openai_usage(struct span json, struct wire_usage *out);

/* ---- watching an answer go by ---- */
enum openai_seen { OPENAI_PASS, OPENAI_HIDE, OPENAI_LAST, OPENAI_ERROR };
struct openai_watch {
	struct sse sse;
	struct wire_usage usage;   /* the last seen wins; nulls never overwrite */
	bool hide_usage;           /* the client did not ask: drop the extra chunk with empty choices */
	bool done;                 /* [DONE] or a terminal response.* event went by */
	bool failed;               /* an error object in the stream */
	char error[160];           /* its message, cut */
	int64_t output_chars;      /* of deltas, for an estimate when usage never comes */
};
void openai_watch_init(struct openai_watch *w, bool hide_usage);
void openai_watch_free(struct openai_watch *w);
/* Feeds the provider's bytes.  pass(ctx, bytes, last) gets what goes on to the client, in order,
 * unchanged; several events come in one call where possible.  last: from the terminal event on,
 * which the gateway holds back until the charge is booked.  0, or -1 out of memory. */
int openai_watch_feed(struct openai_watch *w, const char *data, size_t len,
	void (*pass)(void *ctx, const char *data, size_t len, bool last), void *ctx);
int openai_watch_end(struct openai_watch *w,
	void (*pass)(void *ctx, const char *data, size_t len, bool last), void *ctx);

/* A usage chunk's cost member for clients that ask for it, and estimates when usage never came. */
int64_t openai_estimate_tokens(int64_t characters);

#endif
