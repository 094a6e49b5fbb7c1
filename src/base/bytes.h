/*
 * bytes.h - spans of bytes that somebody else owns, and a growing buffer with a named ceiling.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that somebody else owns; need not end in NUL and may hold NULs. */
struct span {
	const char *at;
	size_t len;
};

#define SPAN_NONE ((struct span){ NULL, 0 })
#define SPAN_LIT(s) ((struct span){ "" s, sizeof(s) - 1 })
struct span span_of(const char *s); /* NULL gives SPAN_NONE */
bool span_is(struct span s, const char *text);
bool span_is_nocase(struct span s, const char *text);
bool span_starts(struct span s, const char *prefix);
bool span_ends(struct span s, const char *suffix);
/* Copies into dst with NUL, cut to fit.  Returns false when it was cut. */
bool span_copy(struct span s, char *dst, size_t dst_bytes);

/* A pattern where `*` stands for any run of bytes, `?` for one; linear in the text for any pattern
 * (at most pattern times text steps).  Case counts. */
bool glob_match(const char *pattern, struct span text);
/* patterns: a list parted by commas or line ends, blanks around them ignored; an empty list (or
 * NULL) matches everything. */
bool glob_list_match(const char *patterns, struct span text);

/* A buffer that grows up to its ceiling.  {0} with a limit is a valid empty one.  It never moves
 * while room > limit, so it may start on the caller's own array (then no bytes_free()).
 * After a failure (`failed`) appends do nothing, so a series needs one check at its end. */
struct bytes {
	char *at;      /* NUL-terminated when not NULL */
	size_t len;
	size_t room;
	size_t limit;  /* most bytes of content */
	bool failed;   /* the limit or memory was spent */
};

#define BYTES_LIMIT(n) ((struct bytes){ .limit = (n) })
int bytes_add(struct bytes *b, const void *data, size_t len); /* 0 or -1 */
/* Room for so many more bytes in one step, as far as the limit goes: for what will be long.  Only
 * a hint, nothing fails here. */
void bytes_expect(struct bytes *b, size_t more);
int bytes_puts(struct bytes *b, const char *s);
int bytes_printf(struct bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
int bytes_json(struct bytes *b, struct span s);
/* The same without quotes: a piece of a string. */
int bytes_json_inside(struct bytes *b, struct span s);
/* Removes n bytes from the front. */
void bytes_drop(struct bytes *b, size_t n);
void bytes_free(struct bytes *b); /* back to empty, the limit stays */
struct span bytes_span(const struct bytes *b);

#endif
