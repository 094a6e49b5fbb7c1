/* Days begin where people live, on the days clocks change too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/zone.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t
at(const char *text)
{
	int64_t ms;

	assert_int_equal(clock_parse_rfc3339(text, &ms), 0);
	return ms / 1000;
}

static struct zone *
load(const char *name)
{
	struct err err = { 0 };
	struct zone *z = zone_load(name, &err);

	if (z == NULL)
		fail_msg("%s: %s", name, err.text);
	return z;
}

static void
offsets_are_those_of_the_c_library(void **state)
{
	static const char *const names[] = { "UTC", "Europe/Berlin", "America/New_York",
		"Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo",
		"America/Havana", "Asia/Tehran", "America/Sao_Paulo", "Africa/Casablanca",
		"Europe/Dublin", "Antarctica/Troll", "Asia/Gaza", "Pacific/Kiritimati" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct zone *z = load(names[i]);

		assert_int_equal(setenv("TZ", names[i], 1), 0);
		tzset();
		/* an odd step, so that every hour of the day comes up; beyond 2037 the rule holds */
		for (time_t t = 0; t < 4000000000; t += 40013) {
			struct tm tm;

			assert_non_null(localtime_r(&t, &tm));
			if (zone_offset_s(z, t) != tm.tm_gmtoff)
				fail_msg("%s at %lld: %lld, wanted %ld", names[i], (long long)t,
					(long long)zone_offset_s(z, t), tm.tm_gmtoff);
		}
		zone_free(z);
	}
	assert_int_equal(unsetenv("TZ"), 0);
	tzset();
	assert_int_equal(zone_offset_s(NULL, 1800000000), 0);
}

static void
local_times_are_found_also_where_clocks_jump(void **state)
{
	static const struct {
		const char *zone, *local, *utc;
	} cases[] = {
		{ "Europe/Berlin", "2026-11-21T00:00:00Z", "2026-11-20T23:00:00Z" },
		{ "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-06-30T22:00:00Z" },
		/* two o'clock is skipped, and comes twice */
		{ "Europe/Berlin", "2026-03-29T02:30:00Z", "2026-03-29T01:00:00Z" },
		{ "Europe/Berlin", "2026-10-25T02:30:00Z", "2026-10-25T00:30:00Z" },
		{ "Europe/Berlin", "2060-03-28T02:30:00Z", "2060-03-28T01:00:00Z" },
		/* midnight itself is skipped, and comes twice */
		{ "Africa/Cairo", "2026-04-24T00:00:00Z", "2026-04-23T22:00:00Z" },
		{ "America/Havana", "2026-11-01T00:00:00Z", "2026-11-01T04:00:00Z" },
		{ "Asia/Kolkata", "2026-11-21T00:00:00Z", "2026-11-20T18:30:00Z" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct zone *z = load(cases[i].zone);

		if (zone_utc_s(z, at(cases[i].local)) != at(cases[i].utc))
			fail_msg("%s %s: off by %lld s", cases[i].zone, cases[i].local,
				(long long)(zone_utc_s(z, at(cases[i].local)) - at(cases[i].utc)));
		zone_free(z);
	}
	assert_int_equal(zone_utc_s(NULL, 12345), 12345);
}

static void
what_is_no_zone_is_refused(void **state)
{
	static const char *const names[] = { "", "Europe/Nowhere", "/etc/passwd",
		"../../../etc/passwd", "Europe", "Europe/", "zone.tab", "Berlin\n",
		"Europe/Berlin ", "Europe/BerlinEurope/BerlinEurope/BerlinEurope/Berlin" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct err err = { 0 };

		if (zone_load(names[i], &err) != NULL || err.code == ERR_NONE)
			fail_msg("'%s' was taken", names[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets_are_those_of_the_c_library),
		cmocka_unit_test(local_times_are_found_also_where_clocks_jump),
		cmocka_unit_test(what_is_no_zone_is_refused),
	};

	return cmocka_run_group_tests_name("base/zone", tests, NULL, NULL);
}
