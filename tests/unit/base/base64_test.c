/*
 * base64_test.c - what is written is read back, and what is none is refused.
 */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
the_rfcs_examples(void **state)
{
	static const char *const cases[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes text = BYTES_LIMIT(64), data = BYTES_LIMIT(64);

		assert_int_equal(base64_encode(&text, span_of(cases[i][0])), 0);
		assert_true(span_is(bytes_span(&text), cases[i][1]) || text.len == 0);
		assert_int_equal(text.len, strlen(cases[i][1]));
		assert_int_equal(base64_decode(&data, span_of(cases[i][1])), 0);
		assert_int_equal(data.len, strlen(cases[i][0]));
		if (data.len > 0)
			assert_memory_equal(data.at, cases[i][0], data.len);
		bytes_free(&text);
		bytes_free(&data);
	}
}

static void
all_lengths_come_back(void **state)
{
	static unsigned char data[10000];

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)(i * 7 + i / 256);
	for (size_t len = 0; len < sizeof data; len += len < 70 ? 1 : 509) {
		struct bytes text = BYTES_LIMIT(20000), back = BYTES_LIMIT(20000);

		assert_int_equal(base64_encode(&text, (struct span){ (char *)data, len }), 0);
		assert_int_equal(text.len, (len + 2) / 3 * 4);
		assert_int_equal(base64_decode(&back, bytes_span(&text)), 0);
		assert_int_equal(back.len, len);
		if (len > 0)
			assert_memory_equal(back.at, data, len);
		bytes_free(&text);
		bytes_free(&back);
	}
}

static void
both_alphabets_blanks_and_no_padding(void **state)
{
	struct bytes b = BYTES_LIMIT(64);

	(void)state;
	assert_int_equal(base64_decode(&b, span_of("-_8\n")), 0);
	assert_int_equal(base64_decode(&b, span_of("+ /8=")), 0);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.at, "\xFB\xFF\xFB\xFF", 4);
	bytes_free(&b);
}

static void
what_is_none_is_refused(void **state)
{
	static const char *const cases[] = { "Z", "Zm9vY", "Zm9*", "Zg==Zg==", "Zg===", "\"" };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes b = BYTES_LIMIT(64);

		assert_int_equal(base64_decode(&b, span_of(cases[i])), -1);
		assert_false(b.failed);
		bytes_free(&b);
	}
}

static void
a_full_buffer_is_told(void **state)
{
	struct bytes b = BYTES_LIMIT(4);

	(void)state;
	assert_int_equal(base64_decode(&b, span_of("Zm9vYmFy")), -1);
	assert_true(b.failed);
	bytes_free(&b);
	assert_int_equal(base64_encode(&b, span_of("foob")), -1);
	assert_true(b.failed);
	bytes_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rfcs_examples),
		cmocka_unit_test(all_lengths_come_back),
		cmocka_unit_test(both_alphabets_blanks_and_no_padding),
		cmocka_unit_test(what_is_none_is_refused),
		cmocka_unit_test(a_full_buffer_is_told),
	};

	return cmocka_run_group_tests_name("base/base64", tests, NULL, NULL);
}
