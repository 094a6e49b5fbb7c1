/*
 * openai_write-int.h - what requests of OpenAI's two dialects, chat and responses, are alike in when
 * they are written.  Functions that give an int: 0, or -1 with *err.
 */
#ifndef WIRE_OPENAI_WRITE_INT_H
#define WIRE_OPENAI_WRITE_INT_H

#include "wire/openai_chat-int.h"

/* ERR_UNSUPPORTED, and what the client is told.  Returns -1. */
int chat_refuse(struct err *err, const char *field, const char *says);
/* Of a tool that is another provider's own.  Returns -1. */
int chat_refuse_hosted(struct err *err, const struct neutral_tool *t);

/* Gives tools names that fit, opens the object and names the model; and closes it. */
int chat_open_request(struct json_out *o, struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct err *err);
int chat_close_request(struct json_out *o, struct err *err);

/* All system texts as one JSON string; there is at least one. */
int chat_join_system(const struct neutral_request *n, struct span *all, struct err *err);
/* `arguments` of a call, or `input` of a custom one. */
int chat_put_arguments(struct json_out *o, const struct neutral_request *n, const struct neutral_part *p,
	struct err *err);

/* The type of the tool of this name: "function" or "custom". */
const char *chat_tool_type(const struct neutral_request *n, struct span name);
/* name, description, schema and strict. */
void chat_put_schema(struct json_out *o, const struct neutral_request *n);

/* The level of reasoning asked for, also where it was asked for in tokens. */
enum effort chat_effort(const struct neutral_request *n);
/* Models that think take the default temperature alone (R7). */
bool chat_takes_sampling(const char *model, const struct neutral_request *n);
/* A setting under its own name, where it is there and not null; it is taken. */
void chat_put_field(struct json_out *o, struct neutral_request *n, const char *name);
/* `user` or `safety_identifier`; names longer than OpenAI takes become a digest that stays the same. */
void chat_put_user(struct json_out *o, struct neutral_request *n, const char *name);
/* Where it is one of OpenAI's: other dialects have others. */
void chat_put_tier(struct json_out *o, struct neutral_request *n);

#endif
