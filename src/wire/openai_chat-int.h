/*
 * openai_chat-int.h - what the files of OpenAI's chat dialect share.
 */
#ifndef WIRE_OPENAI_CHAT_INT_H
#define WIRE_OPENAI_CHAT_INT_H

#include "wire/openai_chat.h"

/* Whose signature OpenRouter's `format` of a reasoning detail names; and back. */
enum signer chat_signer(struct json_value format);
const char *chat_signer_format(enum signer s);

/* OpenRouter's reasoning_details: an array of {type,text|summary|data,signature,format}.  add() gives
 * the part to fill, or NULL to stop.  0, or -1 when it is no array or add() said so. */
int chat_read_reasoning_details(struct arena *a, struct json_value details,
	struct neutral_part *(*add)(void *ctx, enum part_kind kind), void *ctx);

/* tool_calls[].extra_content.google.thought_signature as plain text; SPAN_NONE when not there. */
struct span chat_thought_signature(struct arena *a, struct json_value extra_content);
void chat_write_thought_signature(struct json_out *o, struct span signature);

/* An image, document, audio or video given by URL: a data URL's content, an address, or a provider's
 * handle (gs://, s3://).  false: it is none of these. */
bool chat_read_url(struct span url, struct neutral_part *p);

/* The same content as such a URL; no mime: bytes of any kind. */
void chat_write_data_url(struct json_out *o, const char *key, struct span mime, struct span data);

/* `arguments` (a string with JSON in it, or an object) into arguments and input; what holds no object gives {}. */
void chat_read_arguments(struct arena *a, struct json_value v, struct neutral_part *p);

/* The members of an answer's message, and of a stream's delta. */
enum chat_answer_member {
	CHAT_CONTENT,
	CHAT_REFUSAL,
	CHAT_REASONING_CONTENT,
	CHAT_REASONING,
	CHAT_REASONING_DETAILS,
	CHAT_TOOL_CALLS,
	CHAT_FUNCTION_CALL,
	CHAT_AUDIO,
	CHAT_IMAGES,
	CHAT_ANSWER_MEMBERS
};
extern const char *const chat_answer_members[CHAT_ANSWER_MEMBERS];
/* The text of the reasoning: servers name it in two ways. */
struct json_value chat_reasoning_of(const struct json_value got[CHAT_ANSWER_MEMBERS]);

/* Of an answer's call: the id, a new one where it has none, and the arguments.  0, or -1 with *err. */
int chat_read_answered_call(struct arena *a, struct json_value id, struct json_value arguments,
	struct neutral_part *p, struct err *err);
/* `arguments`, or `input` of a custom one; where nothing was said, {}. */
void chat_write_answered_arguments(struct json_out *o, struct arena *a, const struct neutral_part *p);

/* A stream's frame with nothing in it. */
bool chat_is_blank(struct span data);

/* The finish_reason of an answer; FINISH_NONE when v is no string or "".  *failed: it says that the
 * answer is none. */
enum finish chat_finish(struct json_value v, bool *failed);
const char *chat_finish_name(enum finish f);

/* An error object that is there and says something: {"error":null} and {"error":{}} do not. */
bool chat_is_error(struct json_value error);

/* An element of `images`, which OpenRouter and its like have for what a model drew; index -1: none. */
void chat_write_image(struct json_out *o, const struct neutral_part *p, int64_t index);

/* usage as chat has it. */
void chat_write_usage(struct json_out *o, const struct wire_usage *u);

#endif
