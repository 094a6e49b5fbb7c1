/* A request finds exactly those limits that bind it, however many there are. */
#include "store_fixture.h"

#include "store/limits.h"

#define LIMITS 4000
#define ASKS   300

/* A few values of each dimension, so that limits and requests meet often. */
#define VALUES 5

static struct id ids[DIMENSION__COUNT][VALUES];

static uint32_t
draw(uint32_t below)
{
	static uint64_t seed = 0x9e3779b97f4a7c15u;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static const char *const prefixes[DIMENSION__COUNT] = { [DIMENSION_PROJECT] = "prj_",
	[DIMENSION_TOKEN] = "tok_",
	[DIMENSION_UPSTREAM] = "up_",
	[DIMENSION_KEY] = "key_" };

static const char *
word(enum limit_dimension d, uint32_t n)
{
	static const char *const users[] = { "ann", "bob", "eve", "dan", "joe" };
	static const char *const models[] = { "gpt-4o", "gpt-5", "claude-1", "claude-2", "m" };
	static const char *const addresses[] = { "10.0.0.1", "10.0.0.2", "10.1.0.1", "fd00::1",
		"fd00::2" };
	static const char *const tags[] = { "f=a", "f=b", "env=prod", "env=test", "x=y" };

	switch (d) {
	case DIMENSION_END_USER:
		return users[n];
	case DIMENSION_MODEL:
		return models[n];
	case DIMENSION_ADDRESS:
		return addresses[n];
	default:
		return tags[n];
	}
}

static void
draw_scope(struct limit *l, enum limit_dimension d)
{
	static const char *const patterns[DIMENSION__COUNT] = { [DIMENSION_MODEL] = "gpt-*",
		[DIMENSION_TAG] = "f=*",
		[DIMENSION_ADDRESS] = "10.0.0.0/16" };

	switch (draw(6)) {
	case 0:
		(void)strcpy(l->scope[d], "each");
		break;
	case 1:
		if (patterns[d] != NULL)
			(void)strcpy(l->scope[d], patterns[d]);
		break;
	case 2:
		if (prefixes[d] != NULL)
			id_text(prefixes[d], ids[d][draw(VALUES)], l->scope[d]);
		else
			(void)strcpy(l->scope[d], word(d, draw(VALUES)));
		break;
	default:
		break;
	}
}

static struct id
draw_id(enum limit_dimension d)
{
	uint32_t n = draw(VALUES + 1);

	return n == VALUES ? ID_NONE : ids[d][n];
}

static const char *
draw_word(enum limit_dimension d)
{
	uint32_t n = draw(VALUES + 1);

	return n == VALUES ? NULL : word(d, n);
}

static void
a_request_finds_exactly_what_binds_it(void **state)
{
	static struct limit limits[LIMITS];
	static struct limit_hit hits[LIMITS * USAGE_TAGS_MAX];
	struct limit_index *x;
	size_t met = 0;

	(void)state;
	for (int d = 0; d < DIMENSION__COUNT; d++)
		for (int i = 0; i < VALUES; i++)
			ids[d][i] = id_random();
	for (size_t i = 0; i < LIMITS; i++) {
		limits[i].head.id = id_random();
		for (int d = 0; d < DIMENSION__COUNT; d++)
			draw_scope(&limits[i], (enum limit_dimension)d);
	}
	x = limit_index_new(limits, LIMITS, NULL, 0, 0, &err);
	assert_non_null(x);
	assert_true(limit_index_by_attempt(x));
	assert_false(limit_index_expects(x));
	for (int a = 0; a < ASKS; a++) {
		bool by_attempt = a % 2 != 0;
		struct limit_values v = { .project = draw_id(DIMENSION_PROJECT),
			.token = draw_id(DIMENSION_TOKEN),
			.upstream = draw_id(DIMENSION_UPSTREAM),
			.key = draw_id(DIMENSION_KEY),
			.end_user = draw_word(DIMENSION_END_USER),
			.model = draw_word(DIMENSION_MODEL),
			.address = draw_word(DIMENSION_ADDRESS),
			.tag = { draw_word(DIMENSION_TAG), NULL, draw_word(DIMENSION_TAG) } };
		const char *tag[USAGE_TAGS_MAX];
		int want = 0,
		    count = limit_index_find(x, &v, by_attempt, hits, LIMITS * USAGE_TAGS_MAX);

		for (size_t i = 0; i < LIMITS; i++) {
			const struct limit_rule *r = limit_index_rule(x, i);
			int n = r->by_attempt == by_attempt ? limit_counters(r, &v, tag) : 0;

			for (int k = 0; k < n; k++, want++) {
				int found = 0;

				for (int f = 0; f < count; f++)
					found += hits[f].rule == r &&
						 strcmp(hits[f].tag, tag[k]) == 0;
				/* a tag that stands twice is counted twice: callers send each once */
				if (found != 1 && (v.tag[0] == NULL || v.tag[0] != v.tag[2]))
					fail_msg("limit %zu was found %d times", i, found);
			}
		}
		assert_int_equal(count, want);
		met += (size_t)count;
	}
	assert_true(met > ASKS * 10);
	assert_int_equal(limit_index_find(x, &(struct limit_values){ 0 }, false, hits, 0),
		limit_index_find(
			x, &(struct limit_values){ 0 }, false, hits, LIMITS * USAGE_TAGS_MAX));
	limit_index_free(x);
	limit_index_free(NULL);
	assert_int_equal(limit_index_find(NULL, &(struct limit_values){ 0 }, false, hits, 1), 0);
}

static void
a_reset_of_a_rolling_window_fades(void **state)
{
	struct limit l = { .metric = METRIC_COST, .window = WINDOW_ROLLING, .window_s = 100 };
	struct grant g[2];
	struct limit_index *x;
	uint8_t name[COUNTER_NAME_BYTES];
	struct limit_values none = { 0 };
	const struct {
		int64_t now, granted, forgiven;
	} cases[] = { { 0, 0, 0 }, { 1000, 1007, 1000 }, { 26000, 757, 750 }, { 51000, 507, 500 },
		{ 100999, 7, 0 }, { 101000, 0, 0 } };

	(void)state;
	l.head.id = id_random();
	memset(g, 0, sizeof g);
	g[0].limit = g[1].limit = l.head.id;
	g[0].amount = 1000;
	g[0].is_reset = true;
	g[0].from_ms = g[1].from_ms = 1000;
	g[0].until_ms = g[1].until_ms = 101000;
	g[1].amount = 7;
	x = limit_index_new(&l, 1, g, 2, 0, &err);
	assert_non_null(x);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct limit_rule *r = limit_index_rule(x, 0);
		size_t len = limit_counter_name(r, &none, "", 0, name);
		struct limit_granted got = limit_granted(x, r, name, len, cases[i].now);

		if (got.granted != cases[i].granted || got.forgiven != cases[i].forgiven)
			fail_msg("at %lld: %lld, %lld", (long long)cases[i].now,
				(long long)got.granted, (long long)got.forgiven);
	}
	l.cap = INT64_MAX - 5;
	assert_true(limit_cap_with(&l, (struct limit_granted){ 6, 0 }) == INT64_MAX);
	limit_index_free(x);
}

static void
among_many_grants_each_counter_finds_its_own(void **state)
{
	enum { USERS = 500 };
	static struct grant g[2 * USERS + 3];
	struct limit l[3] = { { .metric = METRIC_COST }, { .metric = METRIC_COST },
		{ .metric = METRIC_COST } };
	struct limit_index *x;

	(void)state;
	for (int i = 0; i < 3; i++)
		l[i].head.id = id_random();
	strcpy(l[0].scope[DIMENSION_END_USER], "each");
	strcpy(l[1].scope[DIMENSION_END_USER], "each");
	for (int i = 0; i < 2 * USERS; i++) {
		g[i].limit = l[0].head.id;
		g[i].amount = i;
		snprintf(g[i].value[DIMENSION_END_USER], USER_BYTES, "user %d", i % USERS);
	}
	g[2 * USERS] = (struct grant){ .limit = l[0].head.id, .amount = 10000 }; /* for all */
	g[2 * USERS + 1] = (struct grant){ .limit = l[1].head.id, .amount = 7 };
	g[2 * USERS + 2] = (struct grant){ .limit = l[2].head.id, .amount = 99 };
	strcpy(g[2 * USERS + 2].value[DIMENSION_TOKEN], "not an id"); /* nobody's */
	x = limit_index_new(l, 3, g, sizeof g / sizeof g[0], 0, &err);
	assert_non_null(x);
	for (int i = 0; i <= USERS; i++) {
		char user[USER_BYTES];
		struct limit_values v = { .end_user = user };
		uint8_t name[COUNTER_NAME_BYTES];
		size_t len;

		snprintf(user, sizeof user, "user %d", i);
		len = limit_counter_name(limit_index_rule(x, 0), &v, "", 12345, name);
		assert_int_equal(limit_granted(x, limit_index_rule(x, 0), name, len, 1).granted,
			10000 + (i < USERS ? 2 * i + USERS : 0));
		len = limit_counter_name(limit_index_rule(x, 1), &v, "", 12345, name);
		assert_int_equal(limit_granted(x, limit_index_rule(x, 1), name, len, 1).granted, 7);
		len = limit_counter_name(limit_index_rule(x, 2), &v, "", 12345, name);
		assert_int_equal(limit_granted(x, limit_index_rule(x, 2), name, len, 1).granted, 0);
	}
	limit_index_free(x);
}

static void
a_zone_that_is_gone_counts_in_utc(void **state)
{
	struct limit l[2] = { { .window = WINDOW_DAY, .timezone = "Europe/Atlantis" },
		{ .window = WINDOW_DAY, .timezone = "Asia/Tokyo" } };
	struct limit_index *x = limit_index_new(l, 2, NULL, 0, 0, &err);
	int64_t start, end;

	(void)state;
	assert_non_null(x);
	limit_window(limit_index_rule(x, 0), 20 * 86400000LL, &start, &end);
	assert_int_equal(start, 20 * 86400000LL);
	limit_window(limit_index_rule(x, 1), 20 * 86400000LL, &start, &end);
	assert_int_equal(start, 20 * 86400000LL - 9 * 3600000);
	limit_index_free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_finds_exactly_what_binds_it),
		cmocka_unit_test(a_reset_of_a_rolling_window_fades),
		cmocka_unit_test(among_many_grants_each_counter_finds_its_own),
		cmocka_unit_test(a_zone_that_is_gone_counts_in_utc),
	};

	return cmocka_run_group_tests_name("store/limits", tests, NULL, NULL);
}
