/*
 * hash.c - digests by OpenSSL, the rest by hand.
 */
#include "base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A digest that cannot be made would turn into a wrong answer about a secret: end instead. */
static void
broken(const char *what)
{
	(void)fprintf(stderr, "sluice: %s does not work on this machine\n", what);
	abort();
}

/* Fetched once: an implicit fetch costs more than hashing a token.  Never freed. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void
sha256_fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (sha256 == NULL)
		broken("SHA-256");
}

void
hash_sha256(const void *data, size_t len, uint8_t out[SHA256_BYTES])
{
	(void)pthread_once(&sha256_once, sha256_fetch);
	if (EVP_Digest(len == 0 ? "" : data, len, out, NULL, sha256, NULL) != 1)
		broken("SHA-256");
}

void
hash_hmac(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[SHA256_BYTES])
{
	uint8_t short_key[SHA256_BYTES];
	unsigned int got = SHA256_BYTES;

	(void)pthread_once(&sha256_once, sha256_fetch);
	if (key_len > INT_MAX) { /* what HMAC does with long keys anyway */
		hash_sha256(key, key_len, short_key);
		key = short_key;
		key_len = sizeof short_key;
	}
	if (HMAC(sha256, key_len == 0 ? "" : key, (int)key_len, len == 0 ? (const void *)"" : data,
		    len, out, &got) == NULL ||
		got != SHA256_BYTES)
		broken("HMAC-SHA-256");
}

static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void
crc_fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = (c & 1) != 0 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
		crc_table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			crc_table[t][i] = (crc_table[t - 1][i] >> 8) ^
					  crc_table[0][crc_table[t - 1][i] & 0xFF];
}

static uint32_t
read32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t
read64(const uint8_t *p)
{
	return (uint64_t)read32(p) | (uint64_t)read32(p + 4) << 32;
}

/* Eight bytes a step by eight tables: every stored record has one of these. */
uint32_t
hash_crc32(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t c = 0xFFFFFFFFu;

	(void)pthread_once(&crc_once, crc_fill);
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t lo = c ^ read32(p), hi = read32(p + 4);

		c = crc_table[7][lo & 0xFF] ^ crc_table[6][lo >> 8 & 0xFF] ^
		    crc_table[5][lo >> 16 & 0xFF] ^ crc_table[4][lo >> 24] ^
		    crc_table[3][hi & 0xFF] ^ crc_table[2][hi >> 8 & 0xFF] ^
		    crc_table[1][hi >> 16 & 0xFF] ^ crc_table[0][hi >> 24];
	}
	for (; len > 0; p++, len--)
		c = (c >> 8) ^ crc_table[0][(c ^ *p) & 0xFF];
	return c ^ 0xFFFFFFFFu;
}

__extension__ typedef unsigned __int128 uint128; /* the compiler's, not the standard's */

/* Both halves of the product: every bit in reaches every bit out. */
static uint64_t
fold_mul(uint64_t a, uint64_t b)
{
	uint128 product = (uint128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Odd constants with about as many ones as zeros; otherwise arbitrary.  The result goes into
 * files (board), so neither they nor the order of reading may ever change. */
#define MIX_A 0x9E3779B97F4A7C15ull
#define MIX_B 0xC2B2AE3D27D4EB4Full
#define MIX_C 0xD6E8FEB86659FD93ull

uint64_t
hash_64(const void *data, size_t len, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t h = fold_mul(seed ^ MIX_A, MIX_B ^ (uint64_t)len), a = 0, b = 0;

	for (; len > 16; p += 16, len -= 16)
		h = fold_mul(read64(p) ^ MIX_B ^ h, read64(p + 8) ^ MIX_C) + (h << 23 | h >> 41);
	if (len >= 8) { /* two reads that may overlap cover 8 to 16 bytes */
		a = read64(p);
		b = read64(p + len - 8);
	} else if (len >= 4) {
		a = read32(p);
		b = read32(p + len - 4);
	} else if (len > 0) {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1];
	}
	h = fold_mul(a ^ MIX_B ^ h, b ^ MIX_C ^ (h << 29 | h >> 35));
	return fold_mul(h ^ MIX_A, MIX_C ^ (h >> 32));
}

static inline uint64_t
rotate(uint64_t v, int bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void
sip_rounds(uint64_t v[4], int rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32) + v[3];
		v[2] += v[1];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

void
hash_keyed(const uint64_t key[2], const void *data, size_t len, uint64_t out[2])
{
	uint64_t v[4] = { key[0] ^ UINT64_C(0x736f6d6570736575),
		key[1] ^ UINT64_C(0x646f72616e646f6d), key[0] ^ UINT64_C(0x6c7967656e657261),
		key[1] ^ UINT64_C(0x7465646279746573) };
	const unsigned char *at = data;
	uint64_t word;

	v[1] ^= 0xee; /* asks for 128 bits */
	for (size_t left = len; left >= sizeof word; left -= sizeof word, at += sizeof word) {
		memcpy(&word, at, sizeof word);
		word = le64toh(word);
		v[3] ^= word;
		sip_rounds(v, 2);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56;
	for (size_t i = 0; i < len % sizeof word; i++)
		word |= (uint64_t)at[i] << 8 * i;
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
	v[2] ^= 0xee;
	sip_rounds(v, 4);
	out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
	v[1] ^= 0xdd;
	sip_rounds(v, 4);
	out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

void
hash_random(void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			broken("getrandom()");
		p += n;
		len -= (size_t)n;
	}
}

bool
hash_equal(const void *a, const void *b, size_t len)
{
	return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}

void
hash_hex(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

int
hash_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
hash_unhex(const char *text, void *out, size_t len)
{
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++, text += 2) {
		int hi = hash_hex_digit(text[0]), lo = hi < 0 ? -1 : hash_hex_digit(text[1]);

		if (lo < 0)
			return -1;
		p[i] = (uint8_t)(hi << 4 | lo);
	}
	return *text == '\0' ? 0 : -1;
}
