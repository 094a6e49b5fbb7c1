/* money_test.c - dollars are exact. */
#include "base/money.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void
text_is_exact(void **state)
{
	static const struct {
		int64_t nusd;
		const char *want;
	} cases[] = {
		{ 0, "0.000000000" },
		{ 1, "0.000000001" },
		{ -1, "-0.000000001" },
		{ 12340000000, "12.340000000" },
		{ -12340000000, "-12.340000000" },
		{ INT64_MAX, "9223372036.854775807" },
		{ INT64_MIN, "-9223372036.854775808" },
	};
	char text[MONEY_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t back;

		money_text(cases[i].nusd, text);
		assert_string_equal(text, cases[i].want);
		assert_int_equal(money_parse(text, &back), 0);
		assert_true(back == cases[i].nusd);
	}
}

static void
text_is_read(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -999: refused */
	} cases[] = {
		{ "12.34", 12340000000 },
		{ "+5", 5000000000 },
		{ "-0.5", -500000000 },
		{ ".5", 500000000 },
		{ "5.", 5000000000 },
		{ "2.5e-7", 250 },
		{ "1E3", 1000000000000 },
		{ "1e+2", 100000000000 },
		{ "0.0000000010000000000000000000", 1 },
		{ "00000000000000000000000000012", 12000000000 },
		{ "0e999999999999999999999", 0 },
		{ "0.000000000000000000000000000000", 0 },
		{ "-0", 0 },
		{ "10000000000e-10", 1000000000 },
		{ "1e-9", 1 },
		{ "9223372036.854775807", INT64_MAX },
		{ "-9223372036.854775808", INT64_MIN },
		{ "9223372036.854775808", -999 },
		{ "9223372037", -999 },
		{ "1e10", -999 },
		{ "1e-10", -999 },
		{ "0.0000000001", -999 },
		{ "0.12345678901", -999 },
		{ "1e99999999999999999999", -999 },
		{ "1e-99999999999999999999", -999 },
		{ "", -999 },
		{ "-", -999 },
		{ ".", -999 },
		{ "e5", -999 },
		{ "1e", -999 },
		{ "1e+", -999 },
		{ "1.2.3", -999 },
		{ "1,5", -999 },
		{ " 1", -999 },
		{ "1 ", -999 },
		{ "$1", -999 },
		{ "0x10", -999 },
		{ "nan", -999 },
		{ "--1", -999 },
		{ "123456789012345678901234567890", -999 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = -999;
		int rc = money_parse(cases[i].text, &got);

		if (got != cases[i].want || rc != (cases[i].want == -999 ? -1 : 0))
			fail_msg("%s: %d %lld", cases[i].text, rc, (long long)got);
	}
	assert_int_equal(money_parse(NULL, &(int64_t){ 0 }), -1);
}

static void
long_texts_cost_their_length(void **state)
{
	static char text[1000001];
	int64_t got;

	(void)state;
	memset(text, '0', sizeof text - 1);
	assert_int_equal(money_parse(text, &got), 0);
	assert_true(got == 0);
	text[0] = '7';
	text[1] = '.';
	assert_int_equal(money_parse(text, &got), 0);
	assert_true(got == 7000000000);
	text[sizeof text - 2] = '1';
	assert_int_equal(money_parse(text, &got), -1);
	/* A million zeros that the exponent takes back. */
	memset(text, '0', sizeof text - 1);
	text[0] = '1';
	(void)snprintf(text + sizeof text - 9, 9, "e-%06d", 999991);
	assert_int_equal(money_parse(text, &got), 0);
	assert_true(got == 1000000000);
}

static void
sums_stop_at_the_ends(void **state)
{
	(void)state;
	assert_true(money_add(1, 2) == 3);
	assert_true(money_add(INT64_MAX, 1) == INT64_MAX);
	assert_true(money_add(INT64_MIN, -1) == INT64_MIN);
	assert_true(money_add(INT64_MAX, INT64_MIN) == -1);
}

static void
a_price_a_token_becomes_one_a_million_exactly(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -999: refused */
	} cases[] = {
		{ "1.5e-07", 150000000 },
		{ "0.00000015", 150000000 },
		{ "3e-06", 3000000000 },
		{ "3.0000000000000004e-07", 300000000 },
		{ "2.9999999999999997e-07", 300000000 },
		{ "1e-15", 1 },
		{ "5e-16", 1 },
		{ "4.99999999e-16", 0 },
		{ "-5e-16", -1 },
		{ "9e-17", 0 },
		{ "99e-17", 1 },
		{ "18446744073709551609e-35", 0 },
		{ "5e-99999999999999999999", 0 },
		{ "0", 0 },
		{ "9223", 9223000000000000000 },
		{ "9224", -999 },
		{ "1e400", -999 },
		{ "nan", -999 },
		{ "", -999 },
		{ "1e", -999 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = -999;

		if (money_scaled(span_of(cases[i].text), 15, &got) != 0)
			got = -999;
		if (got != cases[i].want)
			fail_msg("%s: %lld", cases[i].text, (long long)got);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_price_a_token_becomes_one_a_million_exactly),
		cmocka_unit_test(text_is_exact),
		cmocka_unit_test(text_is_read),
		cmocka_unit_test(long_texts_cost_their_length),
		cmocka_unit_test(sums_stop_at_the_ends),
	};

	return cmocka_run_group_tests_name("base/money", tests, NULL, NULL);
}
