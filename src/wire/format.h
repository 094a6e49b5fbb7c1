/*
 * format.h - the ways a conversation is written on the wire, one row each: how requests and answers
 * are read into the neutral form and written out of it.
 *
 * Adding one: a row in format.c and its functions in files of its own; nothing else changes.
 * All functions are pure, safe over threads, and never block.  Request functions return 0, or -1
 * with *err: ERR_BAD_REQUEST or ERR_UNSUPPORTED with a sentence (err_say) that names the field
 * (err_field too), or ERR_MEMORY.
 */
#ifndef WIRE_FORMAT_H
#define WIRE_FORMAT_H

#include "wire/error.h"
#include "wire/frames.h"
#include "wire/names.h"
#include "wire/neutral.h"
#include "wire/text.h"

enum format_id {
	FORMAT_OPENAI_CHAT,
	FORMAT_OPENAI_RESPONSES,
	FORMAT_ANTHROPIC,
	FORMAT_GEMINI,
	FORMAT_CONVERSE,
	FORMAT_BEDROCK_INVOKE,
	FORMAT_AZURE,        /* OpenAI chat, and what Azure adds */
	FORMAT_OPENROUTER,   /* OpenAI chat, and what OpenRouter adds */
	FORMAT_SAP_CONVERSE, /* Converse; streams are SSE */
	FORMAT_SAP_INVOKE,   /* Bedrock's InvokeModel; streams are SSE */
	FORMAT__COUNT
};

/* What stands outside of a request's body. */
struct request_source {
	struct span body;
	struct span path_model; /* plain; Gemini, Bedrock, Azure: in the path; else SPAN_NONE */
	bool path_stream;       /* … and whether it streams */
	/* A header of the request by its name in lower case; SPAN_NONE when absent.  May be NULL. */
	struct span (*header)(const void *ctx, const char *name);
	const void *ctx;
};

/* How the model takes instructions for reasoning; the price list or the model's name tells. */
enum thinking { THINKING_UNKNOWN, THINKING_BUDGET, THINKING_ADAPTIVE };

/* For whom a request is written. */
struct request_target {
	const char *model;          /* the provider's name for it */
	int64_t default_max_output; /* for dialects that must state one: 4096 when 0 */
	int64_t most_output;        /* the model's own ceiling, 0 not known */
	enum thinking thinking;
};

/* Headers that belong to the body written: "anthropic-version". */
#define REQUEST_HEADERS_MAX 4
struct request_made {
	struct bytes *body;
	struct {
		const char *name, *value;
	} header[REQUEST_HEADERS_MAX]; /* in the arena, or static */
	size_t header_count;
	struct names renamed; /* tools that have another name there: for the answer's options */
};

/* What all readers say of a stream that was cut: OpenAI's dialects have a code for it. */
#define STREAM_TRUNCATED "The provider's stream ended before its answer was complete."

struct reply_options {
	const char *model;           /* the name the client asked for */
	bool include_usage;          /* OpenAI chat: the client asked for the chunk with usage */
	int64_t now_s;               /* where the provider states no time */
	bool array;                  /* Gemini: one JSON array (no alt=sse), application/json */
	const struct names *renamed; /* of the request this answers; may be NULL */
	/* convert_reply() shows the answer before it is written; may be NULL. */
	void (*see)(void *ctx, const struct neutral_reply *r);
	void *ctx;
};

struct format {
	const char *name;     /* "openai-chat": `sluice convert`, upstreams' settings */
	enum dialect dialect; /* of its errors */
	enum framing framing; /* of its streams */
	const char *
		stream_type; /* Content-Type of a stream we write; Gemini's array has another writer */

	int (*read_request)(const struct request_source *from, struct neutral_request *n,
		struct losses *lost, struct err *err);
	/* Appends the body to made->body.  May change n (ids made fit, parts merged).  What it takes of
	 * n's fields is marked; losses of another kind go into lost. */
	int (*write_request)(struct neutral_request *n, const struct request_target *to,
		struct request_made *made, struct losses *lost, struct err *err);
	/* May that part, which is given by its address, be written so?  Else its bytes are needed. */
	bool (*takes_url)(const struct neutral_part *p);

	/* A whole answer of status 2xx.  -1 with ERR_UPSTREAM_UNREACHABLE when it is none, or an error. */
	int (*read_reply)(struct span body, struct neutral_reply *r, struct err *err);
	int (*write_reply)(
		const struct neutral_reply *r, const struct reply_options *o, struct bytes *out);

	/* A stream.  state: of reader_bytes, zeroed by the caller; read_end frees nothing, reader_free does
	 * (and may be NULL).  read_frame after ERROR or END was given must give nothing more; read_end
	 * gives END, or ERROR where the stream ended before its time. */
	const size_t *reader_bytes; /* where the size stands: a row cannot hold what another file computes */
	int (*read_frame)(void *state, const struct frame *f, neutral_emit *emit, void *ctx);
	int (*read_end)(void *state, neutral_emit *emit, void *ctx);
	void (*reader_free)(void *state);

	/* Appends what e becomes, framing included.  -1: out of memory (out->failed).  state as above. */
	const size_t *writer_bytes;
	int (*write_event)(void *state, const struct reply_options *o,
		const struct neutral_event *e, struct bytes *out);
	void (*writer_free)(void *state);

	/* What a frame (or a whole answer) says of usage, for answers passed on as bytes: reported figures go
	 * over what *out holds. */
	void (*usage)(struct span json, struct wire_usage *out);

	/* Formats of one kin hold the same messages and events and differ in what is around them.
	 * Between two of these nothing goes through the neutral form: what only they know survives
	 * unchanged.  NULL: none.  Else the three are set, and read what any of the kin wrote. */
	const char *kin;
	int (*splice_request)(struct arena *a, const struct request_source *from,
		const struct request_target *to, struct request_made *made, struct losses *lost,
		struct err *err);
	/* As write_reply and write_event; what is no answer is not given here. */
	int (*splice_reply)(struct span body, const struct reply_options *o, struct bytes *out);
	int (*splice_frame)(
		const struct frame *f, const struct reply_options *o, struct bytes *out);
};
/* True when one can be spliced into the other. */
bool format_kin(const struct format *a, const struct format *b);
const struct format *format_of(enum format_id id);
/* NULL: there is none of that name. */
const struct format *format_named(const char *name);

/* The rows' parts, one declaration a dialect; each in files of that name. */
#define FORMAT_FUNCTIONS(prefix)                                                                   \
	int prefix##_read_request(const struct request_source *from, struct neutral_request *n,    \
		struct losses *lost, struct err *err);                                             \
	int prefix##_write_request(struct neutral_request *n, const struct request_target *to,     \
		struct request_made *made, struct losses *lost, struct err *err);                  \
	int prefix##_read_reply(struct span body, struct neutral_reply *r, struct err *err);       \
	int prefix##_write_reply(                                                                  \
		const struct neutral_reply *r, const struct reply_options *o, struct bytes *out);  \
	extern const size_t prefix##_reader_bytes, prefix##_writer_bytes;                          \
	int prefix##_read_frame(                                                                   \
		void *state, const struct frame *f, neutral_emit *emit, void *ctx);                \
	int prefix##_read_end(void *state, neutral_emit *emit, void *ctx);                         \
	void prefix##_reader_free(void *state);                                                    \
	int prefix##_write_event(void *state, const struct reply_options *o,                       \
		const struct neutral_event *e, struct bytes *out);                                 \
	void prefix##_writer_free(void *state);                                                    \
	void prefix##_usage(struct span json, struct wire_usage *out)
#define FORMAT_SPLICES(prefix)                                                                     \
	int prefix##_splice_request(struct arena *a, const struct request_source *from,            \
		const struct request_target *to, struct request_made *made, struct losses *lost,   \
		struct err *err);                                                                  \
	int prefix##_splice_reply(                                                                 \
		struct span body, const struct reply_options *o, struct bytes *out);               \
	int prefix##_splice_frame(                                                                 \
		const struct frame *f, const struct reply_options *o, struct bytes *out)

#endif
