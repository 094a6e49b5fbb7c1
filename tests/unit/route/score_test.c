/* score_test.c - the best by each objective goes first, mixes weigh as they say, small differences stay
 * small, and what is alike is used alike. */
#include "plans.h"

#include "store/usage.h"

/* Keys of one upstream each, so that costs differ: cost, use of late calls, ttft, quality by case. */
static int64_t costs[8];

static int64_t
cost_of(void *ctx, const struct upstream *u, struct span model, bool usual)
{
	(void)ctx;
	(void)model;
	(void)usual;
	return costs[u->name[0] - 'a'];
}

static struct scene *
scored(struct house *h, int keys, const char *objectives, const int *quality)
{
	struct scene *s = scene_of(h, 0, 0);
	struct route r = scene_route("m", STRATEGY_OBJECTIVE);

	for (int i = 0; i < keys; i++) {
		struct upstream *u = scene_upstream(s, "");

		if (quality != NULL)
			(void)snprintf(u->tags, sizeof u->tags, "quality=%d", quality[i]);
	}
	scene_create_upstreams(s);
	for (int i = 0; i < keys; i++)
		(void)scene_key(s, i, 1);
	(void)snprintf(r.objectives, sizeof r.objectives, "%s", objectives);
	house_create(h, RECORD_ROUTE, &r);
	scene_compile(s);
	return s;
}

static int
next_priced(struct scene *s)
{
	WORKS(scene_ask(
		s, &(struct route_ask){
			   .model = span_of("m"), .is_conversation = true, .cost = cost_of }));
	return scene_key_of(s, &s->plan.candidate[0]);
}

static void
run_priced(struct scene *s, int turns)
{
	memset(s->got, 0, sizeof s->got);
	for (int i = 0; i < turns; i++)
		s->got[next_priced(s)]++;
}

static void
each_objective_has_its_best(void **state)
{
	static const struct {
		const char *why, *objectives;
		int64_t cost[3], success[3], ttft_us[3];
		int quality[3];
		int want;
	} cases[] = {
		{ "the cheapest", "cost=1", { 30, 10, 20 }, { 0 }, { 0 }, { 0 }, 1 },
		{ "a price nobody knows is no bargain", "cost=1", { 30, COST_UNKNOWN, 20 }, { 0 },
			{ 0 }, { 0 }, 2 },
		{ "the most reliable", "reliability=1", { 1, 1, 1 }, { 900000, 990000, 700000 },
			{ 0 }, { 0 }, 1 },
		{ "above what is not known", "reliability=1", { 1, 1, 1 }, { 0, 999999, 0 }, { 0 },
			{ 0 }, 1 },
		{ "the fastest", "latency=1", { 1, 1, 1 }, { 0 }, { 500000, 900000, 300000 }, { 0 },
			2 },
		{ "the best", "quality=1", { 1, 1, 1 }, { 0 }, { 0 }, { 50, 80, 99 }, 2 },
		{ "cost outweighs", "cost=3\nlatency=1", { 10, 100, 100 }, { 0 },
			{ 900000, 100000, 800000 }, { 0 }, 0 },
		{ "latency outweighs", "cost=1\nlatency=3", { 10, 100, 100 }, { 0 },
			{ 900000, 100000, 800000 }, { 0 }, 1 },
		/* 1 % cheaper is no reason to take the slowest */
		{ "a small difference stays small", "cost=3\nlatency=1", { 99, 100, 100 }, { 0 },
			{ 900000, 100000, 800000 }, { 0 }, 1 },
		{ "words it does not know are no matter", "luck=9\ncost=1", { 30, 10, 20 }, { 0 },
			{ 0 }, { 0 }, 1 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct scene *s;

		(void)house_teardown(state);
		(void)house_setup(state);
		memcpy(costs, cases[i].cost, sizeof cases[i].cost);
		s = scored(*state, 3, cases[i].objectives,
			cases[i].quality[0] == 0 ? NULL : cases[i].quality);
		for (int k = 0; k < 3; k++) {
			scene_board(s, k)->success_ppm =
				cases[i].success[k] == 0 ? 0 : 1 + cases[i].success[k];
			scene_board(s, k)->ttft_us = cases[i].ttft_us[k];
		}
		run_priced(s, 10);
		if (s->got[cases[i].want] != 10)
			fail_msg("%s: %d, %d, %d", cases[i].why, s->got[0], s->got[1], s->got[2]);
		for (int k = 1; k < s->plan.count; k++) /* the others by their scores */
			assert_true(s->plan.record.member[k].score <=
				    s->plan.record.member[k - 1].score);
		scene_free(s);
	}
}

static void
near_scores_are_shared_by_weight(void **state)
{
	struct scene *s = scored(*state, 3, "reliability=1", NULL);

	scene_board(s, 0)->success_ppm = 1 + 990000;
	scene_board(s, 1)->success_ppm = 1 + 985000;
	scene_board(s, 2)->success_ppm = 1 + 900000;
	run_priced(s, 40);
	assert_int_equal(s->got[0], 20);
	assert_int_equal(s->got[1], 20);
	scene_free(s);
}

static void
fairness_alone_is_an_even_round(void **state)
{
	struct scene *s = scored(*state, 4, "fairness=1", NULL);

	run_priced(s, 40);
	for (int i = 0; i < 4; i++)
		assert_int_equal(s->got[i], 10);
	scene_free(s);
}

/* The cheapest first, but the more it was used the more the others come into it. */
static void
fairness_tempers_cost(void **state)
{
	struct scene *s = scored(*state, 2, "cost=1\nfairness=2", NULL);

	costs[0] = 10;
	costs[1] = 20;
	run_priced(s, 200);
	assert_in_range(s->got[0], 90, 150);
	assert_in_range(s->got[1], 50, 110);
	scene_free(s);
}

/* Reliability is of late calls, and one that is too low keeps out when there were enough. */
static void
unreliable_ones_are_left_out(void **state)
{
	struct scene *s = scene_of(*state, 1, 3);
	struct route r = scene_route("m", STRATEGY_WEIGHTED);

	r.min_reliability = 90;
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	scene_board(s, 0)->success_ppm = 1 + 890000;
	scene_board(s, 0)->picks = 100;
	scene_board(s, 1)->success_ppm = 1 + 500000;
	scene_board(s, 1)->picks = 3; /* bad luck, perhaps */
	scene_run(s, 20);
	assert_int_equal(s->got[0], 0);
	assert_int_equal(s->got[1], 10);
	assert_int_equal(s->plan.record.out[REASON_RELIABILITY], 1);
	scene_free(s);
}

static void
the_record_tells_the_terms(void **state)
{
	static const int quality[] = { 20, 60 };
	struct scene *s = scored(*state, 2, "cost=1\nquality=1\nlatency=1", quality);
	const struct route_member *m;

	costs[0] = 10;
	costs[1] = 30;
	scene_board(s, 0)->ttft_us = 100000;
	scene_board(s, 1)->ttft_us = 300000;
	assert_int_equal(next_priced(s), 0);
	m = s->plan.record.member;
	assert_int_equal(m[0].cost, 255);
	assert_int_equal(m[0].latency, 255);
	assert_int_equal(m[0].quality, 51);
	assert_int_equal(m[0].score, (255 + 255 + 51) / 3);
	assert_int_equal(m[1].cost, 0);
	assert_int_equal(m[1].quality, 153);
	assert_int_equal(m[0].share_permille, 500);
	scene_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_objective_has_its_best),
		TEST(near_scores_are_shared_by_weight),
		TEST(fairness_alone_is_an_even_round),
		TEST(fairness_tempers_cost),
		TEST(unreliable_ones_are_left_out),
		TEST(the_record_tells_the_terms),
	};

	return cmocka_run_group_tests_name("route/score", tests, NULL, NULL);
}
