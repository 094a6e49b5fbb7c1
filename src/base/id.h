/*
 * id.h - identifiers: 16 bytes inside, a kind's prefix and 22 characters base62 outside
 * ("tok_0Fz…").  Also the text of our tokens.  Safe over threads.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct id {
	uint8_t b[16];
};

#define ID_NONE ((struct id){ { 0 } })
#define ID_TEXT_BYTES 32 /* prefix up to 8, 22 characters, NUL */

struct id id_random(void);
/* 48 bits of wall_ms first, so that such ids sort by time; for exchanges. */
struct id id_timed(int64_t wall_ms);
int64_t id_time_ms(struct id id); /* of a timed one */
bool id_is_none(struct id id);
bool id_equal(struct id a, struct id b);
/* prefix: "tok_".  id none gives "". */
void id_text(const char *prefix, struct id id, char out[ID_TEXT_BYTES]);
/* 0, or -1 when the prefix or the form is not right. */
int id_parse(const char *prefix, const char *text, struct id *id);

/* "sk-sl-" + 34 random base62 characters + 6 of checksum (interfaces.md, Words). */
#define TOKEN_PREFIX "sk-sl-"
#define TOKEN_BYTES 47 /* with NUL */
#define TOKEN_MASKED_BYTES 24
void token_make(char out[TOKEN_BYTES]);
/* The same for the same 32 random bytes and number; who does not know them cannot tell it from another. */
void token_make_nth(const uint8_t seed[32], uint64_t n, char out[TOKEN_BYTES]);
/* True when text has our prefix and a length or checksum that cannot be ours: refused unseen. */
bool token_mistyped(const char *text, size_t len);
/* "sk-sl-AbCd…wXyZ" (UTF-8 ellipsis); short foreign secrets show only their ends' share. */
void token_mask(const char *text, size_t len, char out[TOKEN_MASKED_BYTES]);

#endif
