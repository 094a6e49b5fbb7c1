/* hash_test.c - known answers, and what a hash table needs of hash_64. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* The reference implementation's vectors: key 00..0f, input 00, 01, ... of that length. */
static void
keyed_known_answers(void **state)
{
	static const struct {
		size_t len;
		const char *hex;
	} cases[] = {
		{ 0, "a3817f04ba25a8e66df67214c7550293" },
		{ 1, "da87c1d86b99af44347659119b22fc45" },
		{ 15, "5493e99933b0a8117e08ec0f97cfc3d9" },
	};
	uint64_t key[2], out[2];
	unsigned char data[64], bytes[16];
	char hex[33];

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)i;
	memcpy(key, data, sizeof key);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		hash_keyed(key, data, cases[i].len, out);
		memcpy(bytes, out, sizeof bytes);
		hash_hex(bytes, sizeof bytes, hex);
		assert_string_equal(hex, cases[i].hex);
	}
}

static void
sha256_known_answers(void **state)
{
	uint8_t out[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	(void)state;
	hash_sha256(NULL, 0, out);
	hash_hex(out, sizeof out, hex);
	assert_string_equal(
		hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	hash_sha256("abc", 3, out);
	hash_hex(out, sizeof out, hex);
	assert_string_equal(
		hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* RFC 4231, test case 2, and an empty key. */
static void
hmac_known_answers(void **state)
{
	uint8_t out[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	(void)state;
	hash_hmac("Jefe", 4, "what do ya want for nothing?", 28, out);
	hash_hex(out, sizeof out, hex);
	assert_string_equal(
		hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	hash_hmac(NULL, 0, NULL, 0, out);
	hash_hex(out, sizeof out, hex);
	assert_string_equal(
		hex, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void
crc32_known_answers_at_every_length(void **state)
{
	uint8_t data[64];

	(void)state;
	assert_int_equal(hash_crc32("123456789", 9), 0xCBF43926u);
	assert_int_equal(hash_crc32(NULL, 0), 0);
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 37 + 1);
	for (size_t len = 0; len <= sizeof data; len++) {
		uint32_t c = 0xFFFFFFFFu; /* bit by bit, as defined */

		for (size_t i = 0; i < len; i++) {
			c ^= data[i];
			for (int bit = 0; bit < 8; bit++)
				c = (c >> 1) ^ ((c & 1) != 0 ? 0xEDB88320u : 0);
		}
		assert_int_equal(hash_crc32(data, len), c ^ 0xFFFFFFFFu);
	}
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* 100,000 short, similar keys: no collision in 64 bits, and even loads in the low bits. */
static void
hash_64_spreads_similar_keys(void **state)
{
	enum { KEYS = 100000, BUCKETS = 1024 };
	static uint64_t all[KEYS];
	static int low[BUCKETS], high[BUCKETS];

	(void)state;
	for (uint32_t i = 0; i < KEYS; i++) {
		all[i] = hash_64(&i, sizeof i, 0);
		low[all[i] % BUCKETS]++;
		high[all[i] >> 54]++;
	}
	qsort(all, KEYS, sizeof all[0], compare);
	for (size_t i = 1; i < KEYS; i++)
		assert_true(all[i] != all[i - 1]);
	for (size_t i = 0; i < BUCKETS; i++) /* 98 expected, deviation 10 */
		assert_true(low[i] > 40 && low[i] < 160 && high[i] > 40 && high[i] < 160);
}

/* Each input bit changes about half of the output bits, at every length. */
static void
hash_64_lets_every_bit_count(void **state)
{
	uint8_t data[80] = { 0 };

	(void)state;
	for (size_t len = 1; len <= sizeof data; len++) {
		uint64_t plain = hash_64(data, len, 1);

		assert_true(plain != hash_64(data, len, 2));
		assert_true(plain != hash_64(data, len - 1, 1)); /* zeros, too, have a length */
		for (size_t bit = 0; bit < len * 8; bit++) {
			int changed;

			data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			changed = __builtin_popcountll(plain ^ hash_64(data, len, 1));
			data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (changed < 8 || changed > 56)
				fail_msg("length %zu, bit %zu: %d changed", len, bit, changed);
		}
	}
}

/* It goes into files that outlive a build. */
static void
hash_64_is_the_same_for_ever(void **state)
{
	(void)state;
	assert_true(hash_64("", 0, 0) == 0xd9b403b14ee576fdull);
	assert_true(hash_64("sluice", 6, 0) == 0x4748ccc98bd7fa86ull);
	assert_true(hash_64("the quick brown fox jumps over", 30, 42) == 0x469e8e4bbbee2f9bull);
}

static void
hex_goes_there_and_back(void **state)
{
	static const struct {
		const char *text;
		int want;
	} cases[] = {
		{ "00ff7F", 0 },
		{ "00ff7", -1 },
		{ "00ff7f0", -1 },
		{ "00ff7f00", -1 },
		{ "00fg7f", -1 },
		{ "", -1 },
		{ "0", -1 },
	};
	uint8_t out[3];
	char hex[7];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(hash_unhex(cases[i].text, out, sizeof out), cases[i].want);
	assert_int_equal(hash_unhex("00ff7F", out, sizeof out), 0);
	hash_hex(out, sizeof out, hex);
	assert_string_equal(hex, "00ff7f");
}

static void
random_is_not_constant_and_equal_compares(void **state)
{
	uint8_t a[600], b[600]; /* more than getrandom() promises to give at once */

	(void)state;
	hash_random(a, sizeof a);
	hash_random(b, sizeof b);
	assert_false(hash_equal(a, b, sizeof a));
	assert_false(hash_equal(a + 592, b + 592, 8));
	assert_true(hash_equal(a, a, sizeof a));
	assert_true(hash_equal(a, b, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keyed_known_answers),
		cmocka_unit_test(sha256_known_answers),
		cmocka_unit_test(hmac_known_answers),
		cmocka_unit_test(crc32_known_answers_at_every_length),
		cmocka_unit_test(hash_64_spreads_similar_keys),
		cmocka_unit_test(hash_64_lets_every_bit_count),
		cmocka_unit_test(hash_64_is_the_same_for_ever),
		cmocka_unit_test(hex_goes_there_and_back),
		cmocka_unit_test(random_is_not_constant_and_equal_compares),
	};

	return cmocka_run_group_tests_name("base/hash", tests, NULL, NULL);
}
