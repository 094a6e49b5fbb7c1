/* affinity_test.c - a session stays where it went while that may be asked and its time is not over. */
#include "plans.h"

#include "board/affinity.h"

static int
ask_in(struct scene *s, const char *session, int64_t tokens)
{
	WORKS(scene_ask(s, &(struct route_ask){ .model = span_of("m"),
				   .is_conversation = true,
				   .session = span_of(session),
				   .input_tokens = tokens }));
	return scene_key_of(s, &s->plan.candidate[0]);
}

static void
one_route(struct scene *s, enum route_affinity affinity)
{
	struct route r = scene_route("m", STRATEGY_WEIGHTED);

	r.affinity = (int32_t)affinity;
	r.migrate_below_tokens = 1000;
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
}

static void
sessions_stay_and_are_spread(void **state)
{
	struct scene *s = scene_of(*state, 2, 2);
	int at[8], got[4] = { 0 };
	char name[2] = "a";

	one_route(s, AFFINITY_SESSION);
	for (int i = 0; i < 8; i++, name[0]++) {
		at[i] = ask_in(s, name, 5000);
		assert_int_equal(s->plan.record.affinity, AFFINITY_IS_NEW);
		got[at[i]]++;
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(got[i], 2);
	for (int n = 0; n < 5; n++) {
		name[0] = 'a';
		for (int i = 0; i < 8; i++, name[0]++) {
			assert_int_equal(ask_in(s, name, 5000), at[i]);
			assert_int_equal(s->plan.record.affinity, AFFINITY_IS_KEPT);
			assert_int_equal(s->plan.count, 4); /* the others step in */
		}
	}
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.record.affinity, AFFINITY_IS_NONE);
	scene_free(s);
}

static void
who_cannot_be_asked_loses_it(void **state)
{
	struct scene *s = scene_of(*state, 1, 3);
	int first, second;

	one_route(s, AFFINITY_SESSION);
	first = ask_in(s, "me", 5000);
	scene_rest(s, first, 60000);
	second = ask_in(s, "me", 5000);
	assert_int_not_equal(second, first);
	assert_int_equal(s->plan.record.affinity, AFFINITY_IS_LOST);
	scene_rest(s, first, 0);
	assert_int_equal(ask_in(s, "me", 5000), second);
	/* a due key is not probed with a session that has its place, at first */
	scene_rest(s, first, -2000);
	assert_int_equal(ask_in(s, "me", 5000), second);
	assert_int_equal(ask_in(s, "somebody new", 5000), first);
	assert_true(s->plan.candidate[0].is_probe);
	scene_free(s);
}

static void
short_ones_move_to_a_better_tier(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);

	(void)scene_upstream(s, "");
	scene_upstream(s, "")->priority = 1;
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 1, 1);
	one_route(s, AFFINITY_SESSION);
	scene_rest(s, 0, 60000);
	assert_int_equal(ask_in(s, "long", 5000), 1);
	assert_int_equal(ask_in(s, "short", 10), 1);
	scene_rest(s, 0, 0);
	assert_int_equal(ask_in(s, "long", 5000), 1);
	assert_int_equal(ask_in(s, "short", 10), 0);
	assert_int_equal(s->plan.record.affinity, AFFINITY_IS_MOVED);
	assert_int_equal(ask_in(s, "short", 5000), 0);
	assert_int_equal(s->plan.record.affinity, AFFINITY_IS_KEPT);
	scene_free(s);
}

static void
prompts_and_projects_are_told_apart(void **state)
{
	struct scene *s = scene_of(*state, 1, 8);
	struct project p = house_project(s->h, "p");
	struct route_ask ask = { .model = span_of("m"), .is_conversation = true, .prompt_hash = 1 };
	int first;

	one_route(s, AFFINITY_PROMPT);
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.record.affinity, AFFINITY_IS_NEW);
	first = scene_key_of(s, &s->plan.candidate[0]);
	ask.prompt_hash = 2;
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.record.affinity, AFFINITY_IS_NEW);
	ask.prompt_hash = 1;
	ask.project = p.head.id;
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.record.affinity, AFFINITY_IS_NEW);
	ask.project = ID_NONE;
	ask.is_quote = true;
	for (int i = 0; i < 3; i++) {
		WORKS(scene_ask(s, &ask));
		assert_int_equal(s->plan.record.affinity, AFFINITY_IS_KEPT);
		assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), first);
	}
	ask.prompt_hash = 3; /* a quote leaves none behind */
	for (int i = 0; i < 2; i++) {
		WORKS(scene_ask(s, &ask));
		assert_int_equal(s->plan.record.affinity, AFFINITY_IS_NEW);
	}
	scene_free(s);
}

static int64_t wall_ms;

static int64_t
false_clock(void)
{
	return wall_ms;
}

static void
times_slide_and_end(void **state)
{
	struct board_options o = { .rows = 1024,
		.segments_max = 2,
		.leases = 256,
		.boot_ms = false_clock,
		.wall_ms = false_clock };
	struct house *h = *state;
	uint64_t key[2] = { 3, 4 };
	char path[80];
	struct board *b;

	wall_ms = 1000000000;
	board_close(h->board);
	(void)snprintf(path, sizeof path, "%s/board", h->dir);
	assert_int_equal(unlink(path), 0);
	b = h->board = board_open_sized(h->dir, h->roster, &o, &err);
	assert_non_null(b);
	assert_int_equal(board_affinity(b, key, 100000, 300000), 0);
	board_affinity_keep(b, key, 77, true);
	for (int i = 0; i < 3; i++) {
		wall_ms += 90000;
		assert_int_equal(board_affinity(b, key, 100000, 300000), 77);
		board_affinity_keep(b, key, 77, false);
	}
	wall_ms += 90000; /* however often it is used, it ends */
	assert_int_equal(board_affinity(b, key, 100000, 300000), 0);
	board_affinity_keep(b, key, 78, true);
	wall_ms += 99999;
	assert_int_equal(board_affinity(b, key, 100000, 300000), 78);
	wall_ms += 1;
	assert_int_equal(board_affinity(b, key, 100000, 300000), 0);
}

static void
the_oldest_makes_room(void **state)
{
	struct house *h = *state;
	uint64_t key[2] = { 0, 1 };
	int kept = 0;

	for (key[0] = 0; key[0] < 12000; key[0]++) {
		uint64_t spread[2] = { mixed(key[0]), key[0] };

		board_affinity_keep(h->board, spread, 5, true);
	}
	for (key[0] = 0; key[0] < 12000; key[0]++) {
		uint64_t spread[2] = { mixed(key[0]), key[0] };

		kept += board_affinity(h->board, spread, 100000, 100000) == 5;
	}
	assert_in_range(kept, 10000, 12000);
	for (uint64_t i = 0; i < BOARD_AFFINITIES_NEAR + 1; i++) { /* all want the same place */
		uint64_t same[2] = { 1, UINT64_MAX - i };

		board_affinity_keep(h->board, same, 6, true);
		assert_int_equal(board_affinity(h->board, same, 100000, 100000), 6);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sessions_stay_and_are_spread),
		TEST(who_cannot_be_asked_loses_it),
		TEST(short_ones_move_to_a_better_tier),
		TEST(prompts_and_projects_are_told_apart),
		TEST(times_slide_and_end),
		TEST(the_oldest_makes_room),
	};

	return cmocka_run_group_tests_name("route/affinity", tests, NULL, NULL);
}
