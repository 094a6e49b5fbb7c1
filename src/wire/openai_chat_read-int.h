/*
 * openai_chat_read-int.h - a chat request while it is read.
 */
#ifndef WIRE_OPENAI_CHAT_READ_INT_H
#define WIRE_OPENAI_CHAT_READ_INT_H

#include "wire/openai_chat-int.h"
#include "wire/wire-int.h"

#define CHAT_WHERE_BYTES 96

struct chat_reader {
	struct neutral_request *n;
	struct losses *lost;
	struct err *err;
	char at[CHAT_WHERE_BYTES]; /* where in the request: "messages[2].content[1]" */
	size_t at_len;
};

/* Goes down a step; gives what chat_leave() needs to come back. */
size_t chat_at(struct chat_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void chat_leave(struct chat_reader *r, size_t before);
/* ERR_BAD_REQUEST: "'messages[2].role' must be …."  Returns -1.  member: of the place we are at; "" itself. */
int chat_bad(struct chat_reader *r, const char *member, const char *is);
/* There, and not null. */
bool chat_given(struct json_value v);
/* A string decoded; 0, or -1 with *err. */
int chat_plain(struct chat_reader *r, const char *member, struct json_value v, struct span *out);

/* ---- settings that pass as they are ---- */

enum chat_expect { EXPECT_NUMBER, EXPECT_INTEGER, EXPECT_BOOLEAN, EXPECT_STRING, EXPECT_ARRAY, EXPECT_OBJECT };
struct chat_setting {
	const char *name, *canonical; /* canonical NULL: the same */
	enum chat_expect expect;
};
struct chat_rest {
	struct chat_reader *r;
	const struct chat_setting *settings;
	size_t count;
	int rc;
};
/* For text_pick(): every member that has no place of its own.  One that nobody knows goes down under its
 * own name.  Look at rc behind it. */
void chat_note_rest(void *ctx, struct span key, struct json_value v);

/* ---- what OpenAI's two dialects have in common ---- */

/* The members of a request's object, and what has no place of its own into rest. */
int chat_read_body(const struct request_source *from, const char *const *names, size_t count,
	struct json_value *got, struct chat_rest *rest);
/* The model, which the path may name. */
int chat_read_model(struct chat_reader *r, const struct request_source *from, struct json_value v);
/* Reads each element at its own place, until one gives -1. */
int chat_each(struct chat_reader *r, const char *member, struct json_value array,
	int (*read)(struct chat_reader *r, struct json_value v));
/* Of {name,description,parameters,strict}, at the place where r is. */
int chat_read_function(struct chat_reader *r, struct json_value v, struct neutral_tool *t);
/* The form of the answer by its type; schema: {name,description,schema,strict}, at its own place. */
int chat_read_format(struct chat_reader *r, const char *member, struct json_value type,
	const char *schema_at, struct json_value schema);
int chat_read_most(struct chat_reader *r, const char *name, struct json_value v);
int chat_read_effort(struct chat_reader *r, const char *member, struct json_value v);
int chat_read_flag(struct chat_reader *r, const char *member, struct json_value v, bool *out);
int chat_read_parallel(struct chat_reader *r, struct json_value v);

int chat_read_messages(struct chat_reader *r, struct json_value messages);

#endif
