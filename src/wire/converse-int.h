/*
 * converse-int.h - what the files of the Converse dialect share: content blocks, formats, stop reasons.
 */
#ifndef WIRE_CONVERSE_INT_H
#define WIRE_CONVERSE_INT_H

#include "wire/converse.h"

/* Converse's "png" is "image/png".  NULL: not known. */
const char *converse_mime(enum part_kind kind, struct span format);
const char *converse_format(enum part_kind kind, struct span mime);

/* One of them; neither: FINISH_NONE, "end_turn". */
enum finish converse_finish(struct json_value reason);
const char *converse_stop_reason(enum finish f);

/* ---- content blocks, read into a request, a tool result in it, or an answer ---- */

#define CONVERSE_PATH_BYTES 80

struct converse_blocks {
	struct arena *arena;
	struct neutral_request *request; /* or */
	struct neutral_reply *reply;
	enum neutral_role role;      /* of the request's message */
	struct neutral_part *result; /* of the request: they are its content */
	struct losses *lost;         /* of a request */
	struct err *err;
	char path[CONVERSE_PATH_BYTES]; /* of the array: "messages[2].content" */
	size_t index;                   /* of the block in it */
	struct span only_json;          /* of a tool result: the last {"json":…} */
	int rc;                         /* -1: err is filled */
};
/* For json_each_element; ctx is a struct converse_blocks. */
bool converse_read_block(void *ctx, const struct json_member *m);
/* err says that `member` of the block under way is at fault.  Returns -1. */
int converse_fault(struct converse_blocks *b, const char *member, const char *what);
/* The texts of [{"text":…}, …] as one JSON string; SPAN_NONE: there are none, or no memory. */
struct span converse_texts(struct arena *a, struct json_value array, const char *between);
/* The cache mark that {"type":"default","ttl":"1h"} is. */
enum cache_mark converse_cache_point(struct json_value v);

/* ---- what whole answers and streams end with ---- */

void converse_put_usage(struct json_out *o, const struct wire_usage *u);
/* "metrics", of which nothing is known. */
void converse_put_metrics(struct json_out *o);

#endif
