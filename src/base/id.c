/*
 * id.c - identifiers and tokens in base62.  The digits are in the order of ASCII, so that texts sort
 * as their bytes do.
 */
#include "base/id.h"

#include "base/hash.h"
#include <stdio.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128; /* the compiler's, not the standard's */

#define ID_DIGITS    22 /* 62^22 > 2^128 */
#define TOKEN_RANDOM 34
#define TOKEN_CHECK  6 /* 62^6 > 2^32 */
#define TOKEN_HEAD   (sizeof TOKEN_PREFIX - 1)
#define MASK_ENDS    4 /* characters shown at each end */
#define MASK_SHARE   8 /* of a short secret, one in so many at each end */

_Static_assert(TOKEN_BYTES == TOKEN_HEAD + TOKEN_RANDOM + TOKEN_CHECK + 1, "as interfaces.md says");

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static int
digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 36;
	return -1;
}

struct id
id_random(void)
{
	struct id id = ID_NONE;

	do
		hash_random(id.b, sizeof id.b);
	while (id_is_none(id));
	return id;
}

struct id
id_timed(int64_t wall_ms)
{
	struct id id = id_random();

	for (int i = 0; i < 6; i++)
		id.b[i] = (uint8_t)((uint64_t)wall_ms >> (40 - 8 * i));
	return id;
}

int64_t
id_time_ms(struct id id)
{
	int64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id.b[i];
	return ms;
}

bool
id_is_none(struct id id)
{
	return id_equal(id, ID_NONE);
}

bool
id_equal(struct id a, struct id b)
{
	return memcmp(a.b, b.b, sizeof a.b) == 0;
}

void
id_text(const char *prefix, struct id id, char out[ID_TEXT_BYTES])
{
	size_t head = strlen(prefix);
	uint128 n = 0;

	out[0] = '\0';
	if (id_is_none(id) || head > ID_TEXT_BYTES - ID_DIGITS - 1)
		return;
	for (size_t i = 0; i < sizeof id.b; i++)
		n = n << 8 | id.b[i];
	memcpy(out, prefix, head);
	for (int i = ID_DIGITS - 1; i >= 0; i--, n /= 62)
		out[head + (size_t)i] = base62[n % 62];
	out[head + ID_DIGITS] = '\0';
}

int
id_parse(const char *prefix, const char *text, struct id *id)
{
	size_t head = strlen(prefix);
	uint128 n = 0;

	if (text == NULL || strncmp(text, prefix, head) != 0)
		return -1;
	text += head;
	for (int i = 0; i < ID_DIGITS; i++) {
		uint128 more;
		int d = digit_of(text[i]);

		if (d < 0)
			return -1;
		more = n * 62 + (unsigned int)d;
		/* Only the last digit can overflow: 62^21 fits with three bits to spare. */
		if (i == ID_DIGITS - 1 && n > (~(uint128)0 - (unsigned int)d) / 62)
			return -1;
		n = more;
	}
	if (text[ID_DIGITS] != '\0' || n == 0)
		return -1;
	for (int i = (int)sizeof id->b - 1; i >= 0; i--, n >>= 8)
		id->b[i] = (uint8_t)n;
	return 0;
}

/* Over prefix and random part, so that a text cut or moved is noticed too. */
static void
token_check(const char *text, char out[TOKEN_CHECK])
{
	uint32_t crc = hash_crc32(text, TOKEN_HEAD + TOKEN_RANDOM);

	for (int i = TOKEN_CHECK - 1; i >= 0; i--, crc /= 62)
		out[i] = base62[crc % 62];
}

/* Takes from the pool what makes digits without favour.  How many it made, at most `most`. */
static size_t
digits_from(const uint8_t *pool, size_t bytes, char *out, size_t most)
{
	size_t made = 0;

	for (size_t i = 0; i < bytes && made < most; i++)
		if (pool[i] < 4 * 62) /* the rest would favour the first digits */
			out[made++] = base62[pool[i] % 62];
	return made;
}

static void
token_finish(char out[TOKEN_BYTES])
{
	memcpy(out, TOKEN_PREFIX, TOKEN_HEAD);
	token_check(out, out + TOKEN_HEAD + TOKEN_RANDOM);
	out[TOKEN_BYTES - 1] = '\0';
}

void
token_make(char out[TOKEN_BYTES])
{
	uint8_t pool[64];

	for (size_t made = 0; made < TOKEN_RANDOM;) {
		hash_random(pool, sizeof pool);
		made += digits_from(
			pool, sizeof pool, out + TOKEN_HEAD + made, TOKEN_RANDOM - made);
	}
	token_finish(out);
	explicit_bzero(pool, sizeof pool);
}

void
token_make_nth(const uint8_t seed[32], uint64_t n, char out[TOKEN_BYTES])
{
	uint8_t pool[SHA256_BYTES], text[17] = "token";

	for (int i = 0; i < 8; i++)
		text[8 + i] = (uint8_t)(n >> (56 - 8 * i));
	for (size_t made = 0; made < TOKEN_RANDOM; text[16]++) {
		hash_hmac(seed, 32, text, sizeof text, pool);
		made += digits_from(
			pool, sizeof pool, out + TOKEN_HEAD + made, TOKEN_RANDOM - made);
	}
	token_finish(out);
	explicit_bzero(pool, sizeof pool);
}

bool
token_mistyped(const char *text, size_t len)
{
	char check[TOKEN_CHECK];

	if (len < TOKEN_HEAD || memcmp(text, TOKEN_PREFIX, TOKEN_HEAD) != 0)
		return false;
	if (len != TOKEN_BYTES - 1)
		return true;
	for (size_t i = TOKEN_HEAD; i < len; i++)
		if (digit_of(text[i]) < 0)
			return true;
	token_check(text, check);
	return memcmp(check, text + TOKEN_HEAD + TOKEN_RANDOM, TOKEN_CHECK) != 0;
}

void
token_mask(const char *text, size_t len, char out[TOKEN_MASKED_BYTES])
{
	bool ours = len >= TOKEN_HEAD && memcmp(text, TOKEN_PREFIX, TOKEN_HEAD) == 0;
	size_t head = ours ? TOKEN_HEAD : 0, ends = (len - head) / MASK_SHARE, n = 0;

	if (ends > MASK_ENDS)
		ends = MASK_ENDS;
	for (size_t i = 0; i < head + ends; i++)
		out[n++] = text[i] > 0x20 && text[i] < 0x7F ? text[i] : '?';
	memcpy(out + n, "\xE2\x80\xA6", 3);
	n += 3;
	for (size_t i = len - ends; i < len; i++)
		out[n++] = text[i] > 0x20 && text[i] < 0x7F ? text[i] : '?';
	out[n] = '\0';
}
