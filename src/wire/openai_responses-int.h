/*
 * openai_responses-int.h - what the files of OpenAI's responses share.
 */
#ifndef WIRE_OPENAI_RESPONSES_INT_H
#define WIRE_OPENAI_RESPONSES_INT_H

#include "wire/openai_chat-int.h"
#include "wire/openai_responses.h"

/*
 * A reasoning item has one place for what its maker alone can read: encrypted_content.  OpenAI's stands
 * there as it is; another provider's signature behind its name and a colon, so that a client that gives
 * items back, as they all do, keeps it.  The colon is in no base64.
 */
/* Into p->signature, p->signer; p->kind becomes REDACTED where there is nothing to show. */
void responses_read_encrypted(struct arena *a, struct json_value v, struct neutral_part *p);
/* Nothing where p has no signature. */
void responses_write_encrypted(struct json_out *o, const struct neutral_part *p);

/* summary, or else content, of a reasoning item as one JSON string; SPAN_NONE when there is no text. */
struct span responses_reasoning_text(struct arena *a, struct json_value summary, struct json_value content);

/* Of an answer's status and incomplete_details (or their reason). */
enum finish responses_finish(struct json_value status, struct json_value incomplete, bool has_calls);
struct span responses_image_mime(struct json_value format);

/* "status" and "incomplete_details" of an answer that ended so. */
const char *responses_status(enum finish f);
const char *responses_incomplete(enum finish f); /* NULL: complete */

/* usage as responses have it. */
void responses_write_usage(struct json_out *o, const struct wire_usage *u);

/* The members of a response object that come before and behind its output.  usage NULL: null. */
struct responses_head {
	struct span id, model;
	int64_t created_s;
	const char *status;
	const char *incomplete; /* reason, or NULL */
	const struct err *failed; /* or NULL */
	const struct wire_usage *usage;
};
void responses_open(struct json_out *o, const char *key, const struct responses_head *h);
void responses_close(struct json_out *o, const struct responses_head *h);

#endif
