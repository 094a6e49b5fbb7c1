/*
 * mock-int.h - between the mock's sockets (mock.c), who may ask (mock_auth.c), the protocols
 * (mock_route.c finds the one that a path means) and what goes wrong (mock_errors.c).
 */
#ifndef CLI_MOCK_INT_H
#define CLI_MOCK_INT_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stdint.h>

#define MOCK_OUT_BYTES (8 * 1024 * 1024) /* most of an answer that is composed at once */

/* How an answer is to be spoiled. */
enum mock_fault {
	MOCK_FINE, MOCK_HANG, MOCK_HANG_STREAM, MOCK_CUT, MOCK_GARBAGE, MOCK_BADJSON, MOCK_REFUSE_ONCE,
	MOCK_STREAM_ERROR, /* an error of the protocol in mid-stream */
	MOCK_BLANK,        /* a stream that just ends */
	/* of status 200: without a body, a page, an error in JSON */
	MOCK_EMPTY, MOCK_PAGE, MOCK_ERROR_200
};

/* Errors by their reason; what that looks like, each protocol has its own way. */
enum mock_kind {
	KIND_NONE, KIND_KEY, KIND_CREDIT, KIND_ACCESS, KIND_RATE, KIND_DAY, KIND_OVERLOADED, KIND_CONTEXT,
	KIND_FILTER, KIND_MODEL, KIND_TIMEOUT, KIND_INTERNAL, KIND__COUNT
};

/* Whose errors and headers an answer has. */
enum mock_dialect { MOCK_OPENAI, MOCK_AZURE, MOCK_OPENROUTER, MOCK_ANTHROPIC, MOCK_GEMINI, MOCK_BEDROCK, MOCK_DIALECTS };

/* By the command's options, then what the model's name, the header X-Mock or the key say. */
struct mock_script {
	int64_t chunks, chunk_bytes, interval_ms, delay_ms;
	int64_t status;    /* 200, or the error to give */
	int64_t big_bytes; /* of the answer's content; 0: as usual */
	int64_t split;     /* streams in pieces of so many bytes; 0: an event each */
	enum mock_fault fault;
	enum mock_kind kind;
	bool talks;        /* OpenAI too answers what was said; the others always do */
	int64_t after;     /* pieces of a stream that come before its fault … */
	bool has_after;    /* … where that was said */
	bool numbered;     /* chunks or bytes were asked for: the text is numbered chunks */
	bool python;       /* SAP: streams of Converse as Python writes a dict */
};

/* The keys of a request, each where it stood; SPAN_NONE: not there. */
struct mock_keys {
	struct span bearer, x_api_key, api_key, goog_key, query_key, authorization;
};

/* What a stream is made of: one event again and again, in which a number is written anew; or pieces. */
struct mock_stream {
	struct bytes event;
	size_t number_at;     /* of the running number in event */
	int number_digits;
	size_t sequence_at;   /* of a second one, as wide; 0: none */
	int64_t sequence_first;
	int64_t count, next;
	struct bytes ending;  /* what follows the last event */
	struct bytes pieces, ends; /* ends: size_t of each piece; when there are any, event is not used */
};

struct mock_exchange {
	struct span method, path, query;
	struct span head;  /* request line and header lines */
	struct span body;  /* as much as is kept of it */
	int64_t body_bytes;
	bool http11;
	struct mock_script script;
	struct mock_keys keys;
	enum mock_dialect dialect;
	bool sap;          /* behind SAP's gateway: its streams are text */
	bool vertex;       /* Google's platform: bearer tokens only */
	bool openrouter;   /* OpenRouter's host, in whichever dialect */
	const char *deployment; /* of the path, decoded; "" none */
	const char *exception; /* Bedrock: the answer's x-amzn-ErrorType */
	uint64_t number;   /* of the request, since the start */

	struct bytes *out; /* the answer is put here, head included */
	int64_t filler;    /* then this many 'x' */
	struct bytes tail; /* then this */
	struct mock_stream stream; /* or, in place of both, this */
	bool streams;
	bool cut;          /* close when all is sent */
	int status;
};

/* mock.c: a whole answer into x->out, and with a 429 what goes with it. */
void mock_reply(struct mock_exchange *x, int status, const char *type, struct span body);
/* The head of a stream; chunked for HTTP/1.1, and then each piece through mock_piece(). */
void mock_stream_head(struct mock_exchange *x, const char *type);
void mock_piece(const struct mock_exchange *x, struct bytes *to, struct span piece);
/* "chunks=3,interval=50" and so on.  Unknown words are passed over. */
void mock_script_read(struct mock_script *s, struct span text);
void mock_number(struct bytes *to, int64_t n);

/* A stream of pieces: its head, each piece, its end.  The end spoils it when the script says so:
 * error is the piece that ends a stream with MOCK_STREAM_ERROR. */
void mock_stream_begin(struct mock_exchange *x, const char *type);
void mock_stream_piece(struct mock_exchange *x, struct span piece);
void mock_stream_end(struct mock_exchange *x, struct span error);
/* A header of the request by its name in lower case; SPAN_NONE when absent. */
struct span mock_header(const struct mock_exchange *x, const char *name);
/* A parameter of a query or form, decoded into out; false when absent or too long. */
bool mock_parameter(struct span query, const char *name, char *out, size_t out_bytes);
/* What a model's name says, into the script. */
void mock_script_model(struct mock_exchange *x, const char *model);
/* Seconds since 1970, and whether a key is one of --keys. */
int64_t mock_now_s(void);
bool mock_key_is_good(struct span key);

/*
 * mock_route.c: sets x's answer.  The script is complete but for what the model's name says.
 * bad: the status that the key's name says, or 0; good: the key is one that may ask.
 */
void mock_route(struct mock_exchange *x, int bad, bool good);

/* mock_errors.c.  message: NULL for the usual one. */
void mock_error(struct mock_exchange *x, int status, const char *message);
void mock_error_kind(struct mock_exchange *x, enum mock_kind kind, const char *message);
void mock_error_printf(struct mock_exchange *x, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* true: the script wants an error, and it is the answer now. */
bool mock_error_scripted(struct mock_exchange *x);
enum mock_kind mock_kind_named(struct span word);
/* The protocol's own header lines of an answer, each ending a line. */
void mock_error_headers(const struct mock_exchange *x, int status, struct bytes *to);

/* mock_auth.c: what is demanded and taken, by options. */
struct mock_auth {
	bool strict;             /* each protocol's key only where the real one has it */
	const char *aws;         /* "ID:SECRET" or "ID:SECRET:SESSION": signatures are verified */
	const char *client;      /* "ID:SECRET" of the token endpoints; NULL: any */
	const char *jwt_key;     /* a public key's file: assertions are verified */
	int64_t token_seconds;
	const char *only;        /* the one protocol whose paths are there; NULL: all */
};
extern struct mock_auth mock_auth;
extern int64_t mock_tokens_asked;
/* false: refused, and the answer says so in x's dialect. */
bool mock_auth_admits(struct mock_exchange *x);
void mock_auth_refuse(struct mock_exchange *x); /* a key that is none, as x's host says it */
/* Answers when the path is a token endpoint. */
bool mock_auth_answer(struct mock_exchange *x);
void mock_auth_expire(void); /* all tokens given so far */

/* mock_keys.c: keys that are told how to behave, for POST and GET /mock/keys. */
bool mock_keys_tell(struct span json); /* false: it is no JSON */
void mock_keys_put(struct bytes *to);
enum mock_told { MOCK_TOLD_NOTHING, MOCK_TOLD_ANSWER, MOCK_TOLD_HANG };
enum mock_told mock_keys_answer(struct mock_exchange *x, const char *last4);

/* mock_last.c: the last requests, for GET /mock/last[?path=…]. */
void mock_last_keep(const struct mock_exchange *x);
bool mock_last_put(struct span path, struct bytes *to);
void mock_last_free(void);

/* The protocols.  model: of the path, decoded. */
void openai_answer(struct mock_exchange *x, struct span path); /* path: as OpenAI's own, /v1/… */
void openai_error(struct mock_exchange *x, int status);
/* mock_chat.c: chat completions and responses that answer what was said. */
void chat_answer(struct mock_exchange *x, bool responses);
void anthropic_answer(struct mock_exchange *x, struct span path);
enum mock_frame { FRAME_SSE, FRAME_DATA, FRAME_BINARY };
/* The same messages by InvokeModel: body without model, streams in frames. */
void anthropic_invoke(struct mock_exchange *x, const char *model, bool stream, enum mock_frame frame);
void gemini_answer(struct mock_exchange *x, struct span path); /* "models/x:generateContent" and such */
/* A message of an event-stream, written from the format's description.  type: "event", "exception". */
void mock_eventstream(struct bytes *to, const char *type, const char *name, struct span payload);
void bedrock_answer(struct mock_exchange *x, const char *model, struct span operation);

#endif
