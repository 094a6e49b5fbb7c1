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
#include "wire/usage.h"

/* What the skim of a JSON body finds.  Spans point into the body. */
struct openai_request {
	char model[128];
	bool stream;
	bool wants_usage;        /* stream_options.include_usage is true */
	int64_t max_output;      /* the largest of max_completion_tokens, max_output_tokens, max_tokens, since
	                          * providers differ in which they obey; -1 when there is none */
	int64_t choices;         /* answers asked for: n, for completions best_of times prompts; at least 1 */
	char end_user[64];       /* safety_identifier, else user, else metadata.user_id; cut */
	int64_t input_estimate;  /* tokens, from the text's size; base64 media counted by kind */
	struct json_value model_value, stream_options; /* for splicing */
	size_t object_end;       /* offset of the closing brace */
	bool empty_object;
};

/*
 * ERR_BAD_REQUEST with a sentence for the client that names the byte or the member.  Of members
 * that come twice the last counts.
 * endpoint: "/v1/chat/completions" …; some members mean something only there.  chat/completions,
 * completions, responses, embeddings and audio/speech must name a model; elsewhere `model` is ""
 * when there is none.
 */
bool openai_needs_model(const char *endpoint);
int openai_skim(struct span body, const char *endpoint, struct openai_request *out, struct err *err);
/* The same where the path names the model (SPAN_NONE: it does not): what the body says of it does not
 * count, and openai_rewrite() puts it in. */
int openai_skim_named(struct span body, const char *endpoint, struct span path_model,
	struct openai_request *out, struct err *err);
/* The model out of a multipart/form-data body, wherever its part stands.  0 found, 1 none, -1 broken. */
int openai_skim_multipart(struct span body, const char *content_type, char *model, size_t room,
	struct err *err);
/* The same body with another model in that part; as openai_rewrite().  SPAN_NONE also when the body
 * has no such part. */
struct span openai_rewrite_multipart(struct arena *a, struct span body, const char *content_type,
	const char *upstream_model);

/* The body to send on: model replaced when upstream_model is not NULL, and for a stream of chat or
 * completions stream_options.include_usage set to true.  The same span when nothing changes;
 * else allocated in a.  SPAN_NONE when out of memory. */
struct span openai_rewrite(struct arena *a, struct span body, const struct openai_request *q,
	const char *endpoint, const char *upstream_model);

/* Usage out of a JSON answer (any endpoint), or out of one event's JSON.  What is reported goes over
 * what *out holds; what is not reported, or null, stays.  {0} or WIRE_USAGE_NONE to begin with. */
void openai_usage(struct span json, struct wire_usage *out);
/* The last usage object in the end of an answer whose beginning was not kept. */
void openai_usage_tail(struct span tail, struct wire_usage *out);

/* ---- watching an answer go by ---- */
#define OPENAI_HEAD_BYTES 256
#define OPENAI_TAIL_BYTES 4096
enum openai_seen { OPENAI_PASS, OPENAI_HIDE, OPENAI_LAST, OPENAI_ERROR };
struct openai_watch {
	struct sse sse;
	struct wire_usage usage;   /* the last seen wins; nulls never overwrite */
	bool hide_usage;           /* the client did not ask: drop the extra chunk with empty choices */
	bool done;                 /* [DONE] or a terminal response.* event went by */
	bool failed;               /* an error object in the stream */
	char error[160];           /* its message, cut */
	bool content;              /* something to show went by: text, a call, reasoning, a refusal, media */
	bool any_content;          /* set behind init: whatever is no error is such, as it is no conversation */
	char finish[24];           /* a reason to finish, of what went by without content: "stop", "length" … */
	struct bytes evidence;     /* the event that failed, cut */
	int64_t output_chars;      /* of deltas, for an estimate when usage never comes: bytes as they
	                            * stand in JSON, which suits scripts of few characters a token too */
	/* the rest is private: both ends of an event too long to be kept (a terminal event repeats the
	 * whole answer, and its usage stands near the end) */
	char head[OPENAI_HEAD_BYTES];
	size_t head_len;
	struct bytes tail;
};
void openai_watch_init(struct openai_watch *w, bool hide_usage);
void openai_watch_free(struct openai_watch *w);
/* Feeds the provider's bytes.  pass(ctx, bytes, last) gets what goes on to the client, in order,
 * unchanged; several events come in one call where possible.  last: from the terminal event on,
 * which the gateway holds back until the charge is booked.  0, or -1 out of memory. */
int openai_watch_feed(struct openai_watch *w, const char *data, size_t len,
	void (*pass)(void *ctx, const char *data, size_t len, bool last), void *ctx);
/* The provider's end: passes what is left. */
int openai_watch_end(struct openai_watch *w,
	void (*pass)(void *ctx, const char *data, size_t len, bool last), void *ctx);

/* ---- ending a stream early, as a model does that has reached its ceiling ---- */
struct openai_stop {
	const char *endpoint;    /* "/v1/chat/completions" */
	char id[80];             /* of the answer, as its events have it; "" not known */
	const char *model;
	int64_t created_s, sequence; /* sequence: number of the last event that had one */
	int64_t choices;         /* each is ended */
	int64_t input_tokens, output_tokens;
	bool wants_usage;
};
/* What an answer's first events tell for it: call with what is passed on, in order. */
void openai_stop_note(struct openai_stop *s, const char *data, size_t len);
/* The last events: finish_reason "length", usage when wanted, [DONE]; of responses
 * response.incomplete.  0; -1 where the endpoint has no such thing, or out of memory. */
int openai_stop(const struct openai_stop *s, struct bytes *out);

/* The estimate for usage that never came: four characters a token. */
int64_t openai_estimate_tokens(int64_t characters);

#endif
