/* Which counter a limit means. */
#include "store_fixture.h"

#include "store/window.h"

static int64_t
at(const char *text)
{
	int64_t ms;

	assert_int_equal(clock_parse_rfc3339(text, &ms), 0);
	return ms;
}

static void
windows_follow_the_calendar(void **state)
{
	static const struct {
		const char *why;
		enum limit_window window;
		const char *now, *start, *end;
	} cases[] = {
		{ "minute", WINDOW_MINUTE, "2026-11-21T04:05:59.999Z", "2026-11-21T04:05:00Z",
			"2026-11-21T04:06:00Z" },
		{ "hour", WINDOW_HOUR, "2026-11-21T04:00:00Z", "2026-11-21T04:00:00Z",
			"2026-11-21T05:00:00Z" },
		{ "day", WINDOW_DAY, "2026-12-31T23:59:59Z", "2026-12-31T00:00:00Z",
			"2027-01-01T00:00:00Z" },
		{ "a Saturday's week", WINDOW_WEEK, "2026-11-21T04:05:06Z", "2026-11-16T00:00:00Z",
			"2026-11-23T00:00:00Z" },
		{ "Monday begins it", WINDOW_WEEK, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z",
			"2026-11-30T00:00:00Z" },
		{ "Sunday ends it", WINDOW_WEEK, "2026-11-22T23:59:59.999Z", "2026-11-16T00:00:00Z",
			"2026-11-23T00:00:00Z" },
		{ "month", WINDOW_MONTH, "2026-11-30T23:59:59Z", "2026-11-01T00:00:00Z",
			"2026-12-01T00:00:00Z" },
		{ "leap February", WINDOW_MONTH, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z",
			"2028-03-01T00:00:00Z" },
		{ "plain February", WINDOW_MONTH, "2027-02-28T12:00:00Z", "2027-02-01T00:00:00Z",
			"2027-03-01T00:00:00Z" },
		{ "December", WINDOW_MONTH, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z",
			"2027-01-01T00:00:00Z" },
		{ "the first month", WINDOW_MONTH, "1970-01-15T00:00:00Z", "1970-01-01T00:00:00Z",
			"1970-02-01T00:00:00Z" },
	};
	int64_t start, end;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		window_bounds(cases[i].window, at(cases[i].now), &start, &end);
		if (start != at(cases[i].start) || end != at(cases[i].end))
			fail_msg(
				"%s: %lld to %lld", cases[i].why, (long long)start, (long long)end);
	}
	window_bounds(WINDOW_TOTAL, 12345, &start, &end);
	assert_true(start == 0 && end == WINDOW_FOREVER);
}

static void
every_moment_of_a_century_has_one_month(void **state)
{
	int64_t start, end = 0, months = 0;

	(void)state;
	while (end < at("2070-01-01T00:00:00Z")) {
		int64_t want = end;

		window_bounds(WINDOW_MONTH, want, &start, &end);
		assert_true(start == want && end > start);
		months++;
	}
	assert_int_equal(months, 1200);
}

static bool
same_key(const struct limit *a, const struct limit_values *v, const struct limit *b,
	const struct limit_values *w, int64_t start)
{
	uint64_t one[2], two[2];

	limit_counter_key(a, v, 0, one);
	limit_counter_key(b, w, start, two);
	return one[0] == two[0] && one[1] == two[1];
}

static void
a_counter_is_one_value_of_one_limit_in_one_window(void **state)
{
	struct limit l = { .metric = METRIC_COST, .window = WINDOW_DAY }, other;
	struct limit_values a = { "prj_a", "tok_a", "gpt-4o" }, b = { "prj_b", "tok_a", "gpt-4o" };

	(void)state;
	l.head.id = id_random();
	assert_true(same_key(&l, &a, &l, &b, 0)); /* not in its scope */
	strcpy(l.scope[DIMENSION_PROJECT], "each");
	assert_false(same_key(&l, &a, &l, &b, 0));
	assert_false(same_key(&l, &a, &l, &a, 1));
	strcpy(l.scope[DIMENSION_PROJECT], "");
	strcpy(l.scope[DIMENSION_MODEL], "gpt-*");
	b.model = "gpt-5";
	assert_true(same_key(&l, &a, &l, &b, 0)); /* a pattern is one counter */
	other = l;
	other.cap = 5;
	assert_true(same_key(&l, &a, &other, &a, 0)); /* a new cap keeps the use */
	other.head.id = id_random();
	assert_false(same_key(&l, &a, &other, &a, 0));
	l.metric = METRIC_PARALLEL;
	assert_true(same_key(&l, &a, &l, &a, 1)); /* what runs now has no window */

	assert_true(limit_applies(&l, &b));
	b.model = "claude";
	assert_false(limit_applies(&l, &b));
	strcpy(l.scope[DIMENSION_MODEL], "each");
	assert_true(limit_applies(&l, &b));
	b.model = NULL;
	assert_false(limit_applies(&l, &b));
}

static struct usage_row
row_of(struct id project, const char *model)
{
	struct usage_row r = { .project = project,
		.tokens = { .input = 1, .cache_read = 2, .cache_write = 3, .output = 10 },
		.status = 200,
		.cost_nusd = 1000 };

	r.time_ms = clock_wall_ms();
	r.exchange = id_timed(r.time_ms);
	snprintf(r.model, sizeof r.model, "%s", model);
	return r;
}

static void
what_is_booked_seeds_a_counter(void **state)
{
	struct fixture *f = *state;
	struct id p = id_random(), q = id_random();
	struct usage_row rows[] = { row_of(p, "gpt-4o"), row_of(p, "gpt-5"), row_of(q, "gpt-4o") };
	bool booked[3];
	char project[ID_TEXT_BYTES];
	struct limit_values v = { project, NULL, "gpt-4o" };
	const struct {
		const char *scope_project, *scope_model;
		int32_t metric;
		int64_t want;
	} cases[] = {
		{ "", "", METRIC_REQUESTS, 3 },
		{ "each", "", METRIC_REQUESTS, 2 },
		{ "", "each", METRIC_REQUESTS, 2 },
		{ "", "gpt-*", METRIC_REQUESTS, 3 },
		{ "each", "each", METRIC_REQUESTS, 1 },
		{ "each", "gpt-*", METRIC_COST, 2000 },
		{ "", "", METRIC_INPUT_TOKENS, 18 },
		{ "", "", METRIC_TOKENS, 48 },
		{ "", "", METRIC_PARALLEL, 0 },
	};
	int64_t start, end, used;

	id_text("prj_", p, project);
	WORKS(store_book(f->s, rows, 3, booked, &err));
	window_bounds(WINDOW_DAY, clock_wall_ms(), &start, &end);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct limit l = { .metric = cases[i].metric, .window = WINDOW_DAY };

		strcpy(l.scope[DIMENSION_PROJECT], cases[i].scope_project);
		strcpy(l.scope[DIMENSION_MODEL], cases[i].scope_model);
		WORKS(limit_booked(f->s, &l, &v, start, clock_wall_ms() + 1, &used, &err));
		if (used != cases[i].want)
			fail_msg("case %zu: %lld", i, (long long)used);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_follow_the_calendar),
		cmocka_unit_test(every_moment_of_a_century_has_one_month),
		cmocka_unit_test(a_counter_is_one_value_of_one_limit_in_one_window),
		cmocka_unit_test_setup_teardown(
			what_is_booked_seeds_a_counter, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("store/window", tests, NULL, NULL);
}
