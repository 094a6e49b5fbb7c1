/*
 * text.h - what readers and writers of dialects need of JSON: picking members, strings decoded only
 * where they must be, and writing values one after the other.
 */
#ifndef WIRE_TEXT_H
#define WIRE_TEXT_H

#include "base/arena.h"
#include "base/json.h"

/* The members of these names into found[] (of duplicates the last; JSON_NONE: absent); all others go
 * to other(), where it is not NULL.  0, or -1 when object is no JSON object. */
int text_pick(struct span object, const char *const *names, size_t count, struct json_value *found,
	void (*other)(void *ctx, struct span key, struct json_value v), void *ctx);
#define TEXT_PICK(object, names, found) text_pick(object, names, sizeof(names) / sizeof(names)[0], found, NULL, NULL)

/* The same, where names are not met as they stand alone: is() says whether a key is one of them. */
typedef bool text_key_is(struct span key, const char *name);
int text_pick_as(struct span object, const char *const *names, size_t count, struct json_value *found,
	text_key_is *is, void (*other)(void *ctx, struct span key, struct json_value v), void *ctx);

/* A string's text, decoded: into the arena only where it has escapes.  SPAN_NONE (at NULL) when v is
 * no string, holds U+0000 or half a surrogate pair, or memory is spent; at is not NULL for "". */
struct span text_plain(struct arena *a, struct json_value v);
/* Plain text as a JSON string; invalid UTF-8 becomes U+FFFD.  SPAN_NONE: no memory. */
struct span text_quoted(struct arena *a, struct span plain);
/* JSON strings as one, `between` (already escaped: "\\n\\n") between them.  Those that are "" are left
 * out.  SPAN_NONE: no memory. */
struct span text_joined(struct arena *a, const struct span *json_strings, size_t count, const char *between);
/* The inside of a JSON string, escapes as they stand; SPAN_NONE when v is no string. */
struct span text_inside(struct span json_string);
bool text_is_empty(struct span json_string); /* "" or not there */
/* A JSON value without the white space between its tokens; the same span where there is none. */
struct span text_compact(struct arena *a, struct span json);
/* "data:image/png;base64,iVBOR…": true, with mime (parameters cut off, image/jpg made image/jpeg) and
 * data.  All plain. */
bool text_data_url(struct span url, struct span *mime, struct span *data);
/* "image/jpeg" for "image/jpg"; others as they are. */
struct span text_mime(struct span mime);
/* Lower-case prefix and 24 random characters [A-Za-z0-9]: "call_…".  In the arena. */
struct span text_new_id(struct arena *a, const char *prefix);
/* An id as all dialects take it: [A-Za-z0-9_-]{1,64}, other characters made "_" (R15).  Longer ones are
 * cut and end in a digest of the whole, so that different ones stay different. */
struct span text_clean_id(struct arena *a, struct span id);

/* ---- writing ---- */

/* Members and elements, commas put by itself.  Failures stay in to->failed: check once at the end. */
struct json_out {
	struct bytes *to;
	bool comma; /* before the next member or element */
};
/* key NULL: an element, or the outermost value. */
void out_open(struct json_out *o, const char *key, char bracket);  /* '{' or '[' */
void out_close(struct json_out *o, char bracket);                  /* '}' or ']' */
void out_json(struct json_out *o, const char *key, struct span json); /* nothing when SPAN_NONE */
void out_text(struct json_out *o, const char *key, struct span plain); /* quoted */
void out_string(struct json_out *o, const char *key, const char *s);
void out_int(struct json_out *o, const char *key, int64_t n);
void out_bool(struct json_out *o, const char *key, bool b);
void out_null(struct json_out *o, const char *key);
/* A string that is put together of pieces: between begin and end pieces of JSON strings' insides, and
 * plain text that is escaped.  For text into text: out_string_plain of a JSON object gives its arguments' string. */
void out_string_begin(struct json_out *o, const char *key);
void out_string_inside(struct json_out *o, struct span inside);
void out_string_plain(struct json_out *o, struct span plain);
void out_string_end(struct json_out *o);

#endif
