/*
 * mock-int.h - between the mock's sockets (mock.c) and the answers of a protocol (mock_openai.c).
 */
#ifndef CLI_MOCK_INT_H
#define CLI_MOCK_INT_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stdint.h>

#define MOCK_OUT_BYTES (8 * 1024 * 1024) /* most of an answer that is composed at once */

/* How an answer is to be spoiled. */
enum mock_fault { MOCK_FINE, MOCK_HANG, MOCK_HANG_STREAM, MOCK_CUT, MOCK_GARBAGE, MOCK_BADJSON, MOCK_REFUSE_ONCE };

/* By the command's options, then what the model's name, the header X-Mock or the key say. */
struct mock_script {
	int64_t chunks, chunk_bytes, interval_ms, delay_ms;
	int64_t status;    /* 200, or the error to give */
	int64_t big_bytes; /* of the answer's content; 0: as usual */
	enum mock_fault fault;
};

/* What a stream is made of: one event again and again, in which a number is written anew. */
struct mock_stream {
	struct bytes event;
	size_t number_at;     /* of the running number in event */
	int number_digits;
	size_t sequence_at;   /* of a second one, as wide; 0: none */
	int64_t sequence_first;
	int64_t count, next;
	struct bytes ending;  /* what follows the last event */
};

struct mock_exchange {
	struct span method, path, query;
	struct span head;  /* request line and header lines */
	struct span body;  /* as much as is kept of it */
	int64_t body_bytes;
	bool http11;
	struct mock_script script;
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

/* mock_openai.c: sets x's answer.  The script is complete but for what the body's model says. */
void openai_answer(struct mock_exchange *x);
void openai_error(struct mock_exchange *x, int status);

#endif
