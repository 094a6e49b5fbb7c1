/* clock_test.c - times as text, there and back. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>

static void
rfc3339_is_written(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" },
		{ 1709251199999, "2024-02-29T23:59:59.999Z" },
		{ 4107542400000, "2100-03-01T00:00:00.000Z" },
		{ INT64_MIN, "0000-01-01T00:00:00.000Z" },
		{ INT64_MAX, "9999-12-31T23:59:59.999Z" },
	};
	char text[CLOCK_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		clock_rfc3339(cases[i].ms, text);
		assert_string_equal(text, cases[i].want);
	}
}

/* Every day of eight centuries, against the C library. */
static void
calendar_agrees_with_the_c_library(void **state)
{
	char text[CLOCK_TEXT_BYTES], want[CLOCK_TEXT_BYTES];

	(void)state;
	for (int64_t day = -146097; day < 146097; day++) {
		time_t t = (time_t)(day * 86400 + 3723);
		struct tm tm;
		int64_t back;

		assert_non_null(gmtime_r(&t, &tm));
		assert_true(strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.007Z", &tm) > 0);
		clock_rfc3339((int64_t)t * 1000 + 7, text);
		if (strcmp(text, want) != 0)
			fail_msg("day %lld: %s, not %s", (long long)day, text, want);
		assert_int_equal(clock_parse_rfc3339(text, &back), 0);
		assert_true(back == (int64_t)t * 1000 + 7);
	}
}

static void
rfc3339_is_read(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -1: refused */
	} cases[] = {
		{ "2026-11-21T04:05:06.789Z", 1795233906789 },
		{ "2026-11-21T04:05:06Z", 1795233906000 },
		{ "2026-11-21t04:05:06z", 1795233906000 },
		{ "2026-11-21 04:05:06Z", 1795233906000 },
		{ "2026-11-21T05:05:06+01:00", 1795233906000 },
		{ "2026-11-20T20:05:06-08:00", 1795233906000 },
		{ "2026-11-21T04:05:06.789999999Z", 1795233906789 },
		{ "2026-11-21T04:05:06.7Z", 1795233906700 },
		{ "2016-12-31T23:59:60Z", 1483228800000 },
		{ "2026-11-21T04:05:06.7890000001Z", -1 },
		{ "2026-11-21T04:05:06.Z", -1 },
		{ "2026-11-21T04:05:06", -1 },
		{ "2026-11-21T04:05Z", -1 },
		{ "2026-11-21T24:00:00Z", -1 },
		{ "2026-11-21T04:60:00Z", -1 },
		{ "2026-11-21T04:05:61Z", -1 },
		{ "2026-02-29T00:00:00Z", -1 },
		{ "2100-02-29T00:00:00Z", -1 },
		{ "2026-13-01T00:00:00Z", -1 },
		{ "2026-00-01T00:00:00Z", -1 },
		{ "2026-01-00T00:00:00Z", -1 },
		{ "2026-04-31T00:00:00Z", -1 },
		{ "2026-11-21T04:05:06Zx", -1 },
		{ "2026-11-21T04:05:06+0100", -1 },
		{ "2026-11-21T04:05:06+24:00", -1 },
		{ "26-11-21T04:05:06Z", -1 },
		{ " 2026-11-21T04:05:06Z", -1 },
		{ "-026-11-21T04:05:06Z", -1 },
		{ "", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = -1;
		int rc = clock_parse_rfc3339(cases[i].text, &got);

		if (got != cases[i].want || rc != (cases[i].want == -1 ? -1 : 0))
			fail_msg("%s: %d %lld", cases[i].text, rc, (long long)got);
	}
	assert_int_equal(clock_parse_rfc3339(NULL, &(int64_t){ 0 }), -1);
}

static void
http_dates_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t want;
	} cases[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777000 },
		{ "Thu, 01 Jan 1970 00:00:01 GMT", 1000 },
		{ "Sunday, 06-Nov-94 08:49:37 GMT",
			-1 }, /* obsolete forms: nobody sends them now */
		{ "Sun Nov  6 08:49:37 1994", -1 },
		{ "Sun, 06 Nov 1994 08:49:37 UTC", -1 },
		{ "Sun, 31 Nov 1994 08:49:37 GMT", -1 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT ", -1 },
		{ "Xyz, 06 Nov 1994 08:49:37 GMT", -1 },
		{ "Sun, 06 Nnn 1994 08:49:37 GMT", -1 },
		{ "", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = -1;

		(void)clock_parse_http_date(cases[i].text, &got);
		if (got != cases[i].want)
			fail_msg("%s: %lld", cases[i].text, (long long)got);
	}
}

static void
durations_are_written(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} cases[] = {
		{ 0, "0s" },
		{ -5, "0s" },
		{ 20, "20ms" },
		{ 999, "999ms" },
		{ 1000, "1s" },
		{ 1500, "1.5s" },
		{ 8640, "8.64s" },
		{ 59999, "59.999s" },
		{ 60000, "1m0s" },
		{ 360000, "6m0s" },
		{ 3723000, "1h2m3s" },
		{ 86400000, "24h0m0s" },
		{ 10000, "10s" },
		{ 90010, "1m30.01s" },
		{ INT64_MAX, "2562047788015h12m55.807s" },
	};
	char text[CLOCK_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		clock_duration(cases[i].ms, text);
		assert_string_equal(text, cases[i].want);
	}
}

static void
durations_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -1: refused */
	} cases[] = {
		{ "12ms", 12 },
		{ "1s", 1000 },
		{ "6m0s", 360000 },
		{ "1h2m3s", 3723000 },
		{ "8.64s", 8640 },
		{ "2m59.56s", 179560 },
		{ "1d", 86400000 },
		{ "0s", 0 },
		{ "1.0001s", 1001 }, /* never too early */
		{ "1us", 1 },
		{ "1ns", 1 }, /* likewise */
		{ "1500\xC2\xB5s", 2 },
		{ "0.123456789123456789s", 124 },
		{ "", -1 },
		{ "1", -1 },
		{ "s", -1 },
		{ ".5s", -1 },
		{ "5.s", -1 },
		{ "-1s", -1 },
		{ "1x", -1 },
		{ "1s ", -1 },
		{ " 1s", -1 },
		{ "1s2", -1 },
		{ "99999999999999999999999h", -1 },
		{ "9223372036854775807s", -1 },
		{ "31536000000s", 31536000000000 },
		{ "31536000000s1ms", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = -1;

		(void)clock_parse_duration(cases[i].text, &got);
		if (got != cases[i].want)
			fail_msg("%s: %lld", cases[i].text, (long long)got);
	}
}

static void
clocks_run_forward(void **state)
{
	int64_t boot = clock_boot_ms(), mono = clock_mono_us();

	(void)state;
	assert_true(clock_wall_ms() > 1500000000000);
	for (int i = 0; i < 1000; i++) {
		assert_true(clock_boot_ms() >= boot && clock_mono_us() >= mono);
		boot = clock_boot_ms();
		mono = clock_mono_us();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc3339_is_written),
		cmocka_unit_test(calendar_agrees_with_the_c_library),
		cmocka_unit_test(rfc3339_is_read),
		cmocka_unit_test(http_dates_are_read),
		cmocka_unit_test(durations_are_written),
		cmocka_unit_test(durations_are_read),
		cmocka_unit_test(clocks_run_forward),
	};

	return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
