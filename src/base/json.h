/*
 * json.h - reading JSON without building a tree: the top-level members of an object are skimmed
 * in one pass, and changed by splicing, so that unknown members and their order survive.
 *
 * Hostile input: nesting is held to JSON_DEPTH_MAX, no recursion, every byte is looked at once.
 * RFC 8259 to the letter, but for one thing: bytes of strings above 0x7F are passed over as they
 * are, not checked to be UTF-8.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 128

enum json_type { JSON_NONE, JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
	enum json_type type;
	struct span raw; /* as in the text, quotes and brackets included */
};

/* One member of an object: key with its quotes taken off but escapes as they stand. */
struct json_member {
	struct span key;
	struct json_value value;
	size_t start; /* offset of the key's opening quote in the text */
	size_t end;   /* offset behind the value */
};

/*
 * Calls fn for each member of the object that text is, in order; the whole text is checked to be
 * one JSON value and nothing behind it but white space.  fn returning false ends the walk early
 * with success, the rest unread; and fn sees the members that stand before an error.  0; or -1 when text is no valid JSON object (*at_byte, if not NULL, tells where).
 */
int json_each(struct span text, bool (*fn)(void *ctx, const struct json_member *m), void *ctx,
	size_t *at_byte);
/* The same for the elements of an array (key is empty). */
int json_each_element(struct span text, bool (*fn)(void *ctx, const struct json_member *m), void *ctx,
	size_t *at_byte);

/* The last member of that name (duplicates: last wins, as most parsers have it), escapes in keys
 * decoded before comparing.  type JSON_NONE when absent or text is no object. */
struct json_value json_get(struct span object, const char *name);
/* json_get along a path of names parted by dots: "usage.prompt_tokens_details.cached_tokens". */
struct json_value json_path(struct span object, const char *path);

/* Decodes a string's escapes into out with a NUL.  Returns the length without NUL, or -1 when the
 * value is no string, has invalid escapes (half a surrogate pair is one, \u0000 too, because it
 * would hide what follows from every C function), or does not fit. */
ptrdiff_t json_string(struct json_value v, char *out, size_t out_bytes);
/* A number that is an integer of int64_t (1e3 and 5.0 count).  0 or -1. */
int json_int(struct json_value v, int64_t *out);
/* Full check of one JSON value. */
bool json_valid(struct span text);

#endif
