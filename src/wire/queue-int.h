/*
 * queue-int.h - parts of a stream put in order, for readers of OpenAI's dialects.
 *
 * Servers mix what belongs together: parallel calls in turns, ids and names late or in every chunk, no
 * index, pieces of a call behind the finish.  So of each choice there is a queue of parts: the head is
 * passed on as it comes, what belongs to later ones is held until the head is over.  The finish is
 * given at the end for the same reason.
 *
 * All that is put in gives 0, or -1 out of memory; what fails the stream gives an ERROR event, sets
 * `over`, and is 0.
 */
#ifndef WIRE_QUEUE_INT_H
#define WIRE_QUEUE_INT_H

#include "wire/format.h"

#define QUEUE_HELD_MAX  ((size_t)16 << 20) /* bytes held of all parts that wait */
#define QUEUE_PARTS_MAX 8192               /* of a stream, all choices */
#define QUEUE_NO_KEY    (-1)

/* One part on its way. */
struct queue_part {
	enum part_kind kind;
	int64_t key;                  /* what the provider calls it; QUEUE_NO_KEY */
	struct bytes id, name;        /* TOOL_CALL */
	struct bytes held;            /* text or arguments as a JSON string that lacks its last quote */
	struct bytes signature;       /* REASONING, REDACTED, TOOL_CALL */
	struct bytes mime, data, url; /* IMAGE, AUDIO */
	enum signer signer;
	bool is_custom, opened, closed;
	bool has_text;
	bool complete; /* nothing more belongs to it */
	/* how far a call's arguments are */
	bool in_string, escaped;
	int depth;
};

struct queue_choice {
	struct queue_part *part;
	size_t count, room, head; /* head: the first that is not closed */
	enum finish finish;       /* as said */
	bool seen, has_calls;
};

struct queue {
	struct queue_choice choice[NEUTRAL_CHOICES_MAX];
	size_t parts, held; /* in all */
	bool started, over;
	struct wire_usage usage;
	struct arena *frame; /* lives as long as a frame is read */
	neutral_emit *emit;
	void *ctx;
};

/* Around each frame: whom to give events, and what was decoded for it. */
void queue_begin_frame(struct queue *q, neutral_emit *emit, void *ctx);
void queue_end_frame(struct queue *q);
void queue_free(struct queue *q);

/* NULL: no memory. */
struct arena *queue_arena(struct queue *q);
/* A string decoded, valid until the frame's end. */
struct span queue_plain(struct queue *q, struct json_value v);

int queue_start(struct queue *q, struct json_value id, struct json_value model, struct json_value created);
/* What q->usage holds is told, once the stream has begun. */
int queue_tell_usage(struct queue *q);

/* Text of a part.  With a key: of that part, wherever it stands; without: of the last one if it is of
 * that kind.  Nothing is added where v is no string, or "". */
int queue_add_text(struct queue *q, struct queue_choice *c, enum part_kind kind, int64_t key,
	struct json_value v);
/* An image or audio, whole. */
int queue_add_media(struct queue *q, struct queue_choice *c, const struct neutral_part *p);
/* Reasoning with text and signature, either of which may be empty; or REDACTED. */
int queue_add_reasoning(struct queue *q, struct queue_choice *c, int64_t key, const struct neutral_part *p);

struct queue_piece {
	int64_t key;
	struct span id, name, signature; /* plain; may be empty */
	struct json_value arguments;     /* a string, or JSON_NONE */
	bool is_custom;
};
/* A piece of a tool call: of the one with that key, or id; else it begins one. */
int queue_add_piece(struct queue *q, struct queue_choice *c, const struct queue_piece *p);
/* The part of that key and kind; NULL: none. */
struct queue_part *queue_find(struct queue_choice *c, enum part_kind kind, int64_t key);
/* Nothing more comes of the part. */
int queue_complete(struct queue *q, struct queue_choice *c, struct queue_part *t);

/* The stream fails. */
int queue_unreadable(struct queue *q, const char *text);
int queue_truncated(struct queue *q);
int queue_fail_of_provider(struct queue *q, struct span body);
/* The stream's end: all parts, a FINISH for each choice that was seen, END. */
int queue_finish(struct queue *q);

#endif
