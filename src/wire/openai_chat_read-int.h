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

int chat_read_messages(struct chat_reader *r, struct json_value messages);

#endif
