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
		window_bounds(cases[i].window, NULL, at(cases[i].now), &start, &end);
		if (start != at(cases[i].start) || end != at(cases[i].end))
			fail_msg(
				"%s: %lld to %lld", cases[i].why, (long long)start, (long long)end);
	}
	window_bounds(WINDOW_TOTAL, NULL, 12345, &start, &end);
	assert_true(start == 0 && end == WINDOW_FOREVER);
}

static void
every_moment_of_a_century_has_one_month(void **state)
{
	int64_t start, end = 0, months = 0;

	(void)state;
	while (end < at("2070-01-01T00:00:00Z")) {
		int64_t want = end;

		window_bounds(WINDOW_MONTH, NULL, want, &start, &end);
		assert_true(start == want && end > start);
		months++;
	}
	assert_int_equal(months, 1200);
}

static void
days_begin_and_end_where_people_live(void **state)
{
	static const struct {
		const char *why, *zone;
		enum limit_window window;
		const char *now, *start, *end;
	} cases[] = {
		{ "winter", "Europe/Berlin", WINDOW_DAY, "2026-11-20T23:30:00Z",
			"2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z" },
		{ "23 hours", "Europe/Berlin", WINDOW_DAY, "2026-03-29T12:00:00Z",
			"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z" },
		{ "25 hours", "Europe/Berlin", WINDOW_DAY, "2026-10-25T12:00:00Z",
			"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z" },
		{ "its last moment", "Europe/Berlin", WINDOW_DAY, "2026-10-25T22:59:59.999Z",
			"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z" },
		{ "no midnight", "Africa/Cairo", WINDOW_DAY, "2026-04-23T22:00:00Z",
			"2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z" },
		{ "two midnights", "America/Havana", WINDOW_DAY, "2026-11-01T05:30:00Z",
			"2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z" },
		{ "a week with a change", "America/New_York", WINDOW_WEEK, "2026-03-08T12:00:00Z",
			"2026-03-02T05:00:00Z", "2026-03-09T04:00:00Z" },
		{ "a leap month", "Asia/Kolkata", WINDOW_MONTH, "2028-02-29T18:29:59Z",
			"2028-01-31T18:30:00Z", "2028-02-29T18:30:00Z" },
		{ "the next", "Asia/Kolkata", WINDOW_MONTH, "2028-02-29T18:30:00Z",
			"2028-02-29T18:30:00Z", "2028-03-31T18:30:00Z" },
		{ "a year's end", "Pacific/Auckland", WINDOW_MONTH, "2026-12-31T11:00:00Z",
			"2026-12-31T11:00:00Z", "2027-01-31T11:00:00Z" },
		{ "hours are UTC's", "Asia/Kolkata", WINDOW_HOUR, "2026-11-21T04:45:00Z",
			"2026-11-21T04:00:00Z", "2026-11-21T05:00:00Z" },
	};
	int64_t start, end;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct zone *z = zone_load(cases[i].zone, &err);

		assert_non_null(z);
		window_bounds(cases[i].window, z, at(cases[i].now), &start, &end);
		if (start != at(cases[i].start) || end != at(cases[i].end))
			fail_msg("%s: %lld s to %lld s off", cases[i].why,
				(long long)(start - at(cases[i].start)) / 1000,
				(long long)(end - at(cases[i].end)) / 1000);
		zone_free(z);
	}
}

static void
every_moment_has_one_day(void **state)
{
	static const char *const zones[] = { "Europe/Berlin", "America/Havana", "Africa/Cairo",
		"Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu" };

	(void)state;
	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
		struct zone *z = zone_load(zones[i], &err);
		int64_t start, end, now = at("2005-06-01T00:00:00Z");

		assert_non_null(z);
		window_bounds(WINDOW_DAY, z, now, &start, &end);
		while (end < at("2045-01-01T00:00:00Z")) {
			int64_t next_start, next_end, last_start, last_end;

			window_bounds(WINDOW_DAY, z, end - 1, &last_start, &last_end);
			window_bounds(WINDOW_DAY, z, end, &next_start, &next_end);
			if (last_start != start || last_end != end || next_start != end ||
				end - start < 23 * 3600000 || end - start > 25 * 3600000)
				fail_msg("%s at %lld", zones[i], (long long)end);
			start = next_start;
			end = next_end;
		}
		zone_free(z);
	}
}

static bool
same_name(const struct limit *a, const struct limit_values *v, const struct limit *b,
	const struct limit_values *w, int64_t start)
{
	uint8_t one[COUNTER_NAME_BYTES], two[COUNTER_NAME_BYTES];
	struct limit_rule r, q;
	size_t len;

	limit_rule(a, NULL, &r);
	limit_rule(b, NULL, &q);
	len = limit_counter_name(&r, v, v->tag[0], 0, one);
	return limit_counter_name(&q, w, w->tag[0], start, two) == len &&
	       memcmp(one, two, len) == 0;
}

static void
a_counter_is_one_value_of_one_limit_in_one_window(void **state)
{
	static const enum limit_dimension all[] = { DIMENSION_PROJECT, DIMENSION_TOKEN,
		DIMENSION_END_USER, DIMENSION_MODEL, DIMENSION_ADDRESS, DIMENSION_TAG,
		DIMENSION_UPSTREAM, DIMENSION_KEY };
	struct limit l = { .metric = METRIC_COST, .window = WINDOW_DAY }, other;
	struct limit_values a = { .project = id_random(),
		.token = id_random(),
		.upstream = id_random(),
		.key = id_random(),
		.end_user = "ann",
		.model = "gpt-4o",
		.address = "10.0.0.1",
		.tag = { "f=1" } };
	struct limit_values b = { .project = id_random(),
		.token = id_random(),
		.upstream = id_random(),
		.key = id_random(),
		.end_user = "bob",
		.model = "gpt-5",
		.address = "10.0.0.2",
		.tag = { "f=2" } };

	(void)state;
	l.head.id = id_random();
	assert_true(same_name(&l, &a, &l, &b, 0)); /* none is in its scope */
	assert_false(same_name(&l, &a, &l, &a, 1));
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		strcpy(l.scope[all[i]], "each");
		if (same_name(&l, &a, &l, &b, 0) || !same_name(&l, &a, &l, &a, 0))
			fail_msg("dimension %zu", i);
		strcpy(l.scope[all[i]], "");
	}
	strcpy(l.scope[DIMENSION_MODEL], "gpt-*");
	assert_true(same_name(&l, &a, &l, &b, 0)); /* a pattern of models is one counter */
	strcpy(l.scope[DIMENSION_MODEL], "");
	strcpy(l.scope[DIMENSION_TAG], "f=*");
	assert_false(same_name(&l, &a, &l, &b, 0)); /* of tags it is one for each */
	other = l;
	other.cap = 5;
	assert_true(same_name(&l, &a, &other, &a, 0)); /* a new cap keeps the use */
	other.head.id = id_random();
	assert_false(same_name(&l, &a, &other, &a, 0));
	/* two texts beside one another cannot be taken for two others */
	strcpy(l.scope[DIMENSION_END_USER], "each");
	strcpy(l.scope[DIMENSION_MODEL], "each");
	a.end_user = "ab";
	a.model = "c";
	b = a;
	b.end_user = "a";
	b.model = "bc";
	assert_false(same_name(&l, &a, &l, &b, 0));
}

static void
scopes_bind_whom_they_name(void **state)
{
	const struct id project = id_random(), token = id_random(), upstream = id_random();
	const struct limit_values full = { .project = project,
		.token = token,
		.upstream = upstream,
		.key = id_random(),
		.end_user = "ann",
		.model = "gpt-4o",
		.address = "10.1.2.3",
		.tag = { "feature=search", "env=prod", "", NULL } };
	const struct limit_values nothing = { 0 };
	char own[ID_TEXT_BYTES], others[ID_TEXT_BYTES];
	const struct {
		const char *why;
		enum limit_dimension d;
		const char *scope;
		int counters; /* of `full`; of `nothing` always 0, but for "" */
	} cases[] = {
		{ "none", DIMENSION_PROJECT, "", 1 },
		{ "each project", DIMENSION_PROJECT, "each", 1 },
		{ "the project", DIMENSION_PROJECT, own, 1 },
		{ "another", DIMENSION_PROJECT, others, 0 },
		{ "no id at all", DIMENSION_PROJECT, "acme", 0 },
		{ "each end user", DIMENSION_END_USER, "each", 1 },
		{ "one", DIMENSION_END_USER, "ann", 1 },
		{ "another one", DIMENSION_END_USER, "bob", 0 },
		{ "a family of models", DIMENSION_MODEL, "gpt-*", 1 },
		{ "another family", DIMENSION_MODEL, "claude-*", 0 },
		{ "each address", DIMENSION_ADDRESS, "each", 1 },
		{ "a network", DIMENSION_ADDRESS, "10.0.0.0/8", 1 },
		{ "another network", DIMENSION_ADDRESS, "192.168.0.0/16", 0 },
		{ "one address", DIMENSION_ADDRESS, "10.1.2.3", 1 },
		{ "each tag", DIMENSION_TAG, "each", 2 },
		{ "one tag", DIMENSION_TAG, "env=prod", 1 },
		{ "a family of tags", DIMENSION_TAG, "feature=*", 1 },
		{ "all tags", DIMENSION_TAG, "*=*", 2 },
		{ "another tag", DIMENSION_TAG, "env=test", 0 },
		{ "each upstream", DIMENSION_UPSTREAM, "each", 1 },
		{ "each key", DIMENSION_KEY, "each", 1 },
	};

	(void)state;
	id_text("prj_", project, own);
	id_text("prj_", id_random(), others);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct limit l = { .metric = METRIC_REQUESTS };
		const char *tag[USAGE_TAGS_MAX];
		struct limit_rule r;
		int count;

		strcpy(l.scope[cases[i].d], cases[i].scope);
		limit_rule(&l, NULL, &r);
		count = limit_counters(&r, &full, tag);
		if (count != cases[i].counters)
			fail_msg("%s: %d counters", cases[i].why, count);
		if (limit_counters(&r, &nothing, tag) != (cases[i].scope[0] == '\0'))
			fail_msg("%s: binds who is not known", cases[i].why);
		assert_int_equal(r.by_attempt, cases[i].d >= DIMENSION_UPSTREAM);
	}
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
	struct limit_values v = { .project = p,
		.model = "gpt-4o",
		.end_user = "ann",
		.address = "10.0.0.1",
		.tag = { "f=1" } };
	const struct {
		const char *project, *model, *address, *tag;
		int32_t metric;
		int64_t want;
	} cases[] = {
		{ "", "", "", "", METRIC_REQUESTS, 3 }, { "each", "", "", "", METRIC_REQUESTS, 2 },
		{ "", "each", "", "", METRIC_REQUESTS, 2 },
		{ "", "gpt-*", "", "", METRIC_REQUESTS, 3 },
		{ "each", "each", "", "", METRIC_REQUESTS, 1 },
		{ "each", "gpt-*", "", "", METRIC_COST, 2000 },
		{ "", "", "", "", METRIC_INPUT_TOKENS, 18 }, { "", "", "", "", METRIC_TOKENS, 48 },
		{ "", "", "", "", METRIC_PARALLEL, 0 },
		{ "each", "each", "10.0.0.0/8", "", METRIC_REQUESTS, 0 }, /* rows cannot tell */
	};
	int64_t start, end, used;

	WORKS(store_book(f->s, rows, 3, booked, &err));
	for (int window = WINDOW_MINUTE; window <= WINDOW_TOTAL; window++)
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			struct limit l = { .metric = cases[i].metric, .window = window };
			struct limit_rule r;

			strcpy(l.scope[DIMENSION_PROJECT], cases[i].project);
			strcpy(l.scope[DIMENSION_MODEL], cases[i].model);
			strcpy(l.scope[DIMENSION_ADDRESS], cases[i].address);
			strcpy(l.scope[DIMENSION_TAG], cases[i].tag);
			limit_rule(&l, NULL, &r);
			limit_window(&r, rows[0].time_ms, &start, &end);
			WORKS(limit_booked(f->s, &r, &v, "f=1", start, end, &used, &err));
			if (used != cases[i].want)
				fail_msg("case %zu, window %d: %lld", i, window, (long long)used);
		}
}

/* Made while the wall clock was an hour ahead of the board's, by which windows are. */
static void
a_limit_has_a_past_in_the_window_it_was_made_in(void **state)
{
	const int64_t hour = 3600000, at = 1000 * hour + 30 * 60000;
	struct limit l = { .metric = METRIC_REQUESTS, .window = WINDOW_HOUR, .since_ms = at };

	(void)state;
	l.head.created_ms = at + hour;
	assert_true(limit_has_past(&l, 1000 * hour, at));
	assert_false(limit_has_past(&l, 1001 * hour, 1001 * hour + 1));
	l.window = WINDOW_ROLLING;
	l.window_s = 3600;
	assert_true(limit_has_past(&l, 0, at + hour - 1));
	assert_false(limit_has_past(&l, 0, at + hour));
	l.since_ms = 0; /* of an older program */
	assert_true(limit_has_past(&l, 0, at + hour));
	assert_false(limit_has_past(&l, 0, at + 2 * hour));
	l.metric = METRIC_PARALLEL;
	assert_false(limit_has_past(&l, 0, at));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_limit_has_a_past_in_the_window_it_was_made_in),
		cmocka_unit_test(windows_follow_the_calendar),
		cmocka_unit_test(every_moment_of_a_century_has_one_month),
		cmocka_unit_test(days_begin_and_end_where_people_live),
		cmocka_unit_test(every_moment_has_one_day),
		cmocka_unit_test(scopes_bind_whom_they_name),
		cmocka_unit_test(a_counter_is_one_value_of_one_limit_in_one_window),
		cmocka_unit_test_setup_teardown(
			what_is_booked_seeds_a_counter, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("store/window", tests, NULL, NULL);
}
