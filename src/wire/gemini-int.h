/*
 * gemini-int.h - what the files of Gemini's dialect share.
 */
#ifndef WIRE_GEMINI_INT_H
#define WIRE_GEMINI_INT_H

#include "wire/gemini.h"

#define GEMINI_FILES "https://generativelanguage.googleapis.com/" /* where its own files lie */

/* A member's name, camelCase, met in either spelling. */
bool gemini_key_is(struct span key, const char *camel);
/* As text_pick(), for both spellings; null is not there (protobuf's JSON). */
int gemini_pick(struct span object, const char *const *names, size_t count,
	struct json_value *found, void (*other)(void *ctx, struct span key, struct json_value v),
	void *ctx);
#define GEMINI_PICK(object, names, found, other, ctx)                                              \
	gemini_pick(object, names, sizeof(names) / sizeof(names)[0], found, other, ctx)

/* A string's text; "" where it is none. */
struct span gemini_plain(struct arena *a, struct json_value v);

/* A candidate of an answer or of a chunk; nth: its place, where it tells no index.  False: no object. */
struct gemini_candidate {
	size_t choice; /* NEUTRAL_CHOICES_MAX: out of range */
	struct json_value parts, finish_word;
};
bool gemini_read_candidate(struct json_value v, size_t nth, struct gemini_candidate *c);

/* A part of one: a call, media, or else text (a JSON string; SPAN_NONE: none).  False: no object. */
struct gemini_part {
	struct span call, media; /* objects, or SPAN_NONE */
	struct span text, signature;
	bool thought;
};
bool gemini_read_part(struct arena *a, struct json_value v, struct gemini_part *out);
/* A functionCall's name, id (a new one where it has none) and input.  1; 0: a call of nothing; -1: no memory. */
int gemini_read_call(struct arena *a, struct span object, struct neutral_part *p);

/* inlineData and fileData: the kind by type and address, and the part's mime, data, url, file_id,
 * title.  data: in the standard alphabet of base64.  False: a member is missing or of a wrong type
 * (*member says which). */
enum part_kind gemini_kind_of(struct span mime);
bool gemini_read_inline(
	struct arena *a, struct span object, struct neutral_part *p, const char **member);
bool
gemini_read_file(struct arena *a, struct span object, struct neutral_part *p, const char **member);

/* Parts written as elements of "parts".  Spans may be SPAN_NONE (not written). */
void gemini_put_text(struct json_out *o, struct span text, bool thought, struct span signature);
void gemini_put_call(struct json_out *o, struct span id, struct span name, struct span args,
	struct span signature);
void gemini_put_inline(struct json_out *o, const struct neutral_part *p);
/* Its own signature, or SPAN_NONE. */
struct span gemini_signature(const struct neutral_part *p);

/* "MAX_TOKENS" … and back; an empty word is FINISH_NONE. */
enum finish gemini_finish_of(struct span word);
const char *gemini_finish_word(enum finish f);
void gemini_put_usage(struct json_out *o, const struct wire_usage *u);
/* The JSON object that a call's arguments are; blank ones are {}, others SPAN_NONE. */
struct span gemini_arguments(struct arena *a, struct span json_string);

/* Nothing came, and the model itself is to blame: better asked again than answered with nothing.
 * Returns -1 with ERR_UPSTREAM_UNREACHABLE. */
int gemini_came_to_nothing(struct err *err);

#endif
