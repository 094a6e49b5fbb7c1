/* strategy_test.c - whom each strategy asks first and next, who may be its probe, what forecasts
 * hold back, and that a quote says what the next decision does. */
#include "plans.h"

static void
one_route(struct scene *s, enum route_strategy strategy)
{
	struct route r = scene_route("m", strategy);

	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
}

static void
assert_got(const struct scene *s, const int *want, int count)
{
	for (int i = 0; i < count; i++)
		if (s->got[i] != want[i])
			fail_msg("key %d: %d of %d", i, s->got[i], want[i]);
}

static void
weights_are_products_of_target_and_key(void **state)
{
	struct scene *s = scene_of(*state, 2, 0);
	struct route r = scene_route("m", STRATEGY_WEIGHTED);

	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 0, 2);
	(void)scene_key(s, 1, 3);
	scene_target(s, &r, 0, 2, 0, "");
	scene_target(s, &r, 1, 1, 0, "");
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	scene_run(s, 9 * 20);
	assert_got(s, (int[]){ 40, 80, 60 }, 3);
	assert_true(id_equal(s->plan.record.route, r.head.id));
	assert_int_equal(s->plan.record.strategy, STRATEGY_WEIGHTED);
	assert_int_equal(s->plan.record.considered, 3);
	assert_int_equal(s->plan.record.member_count, 3);
	scene_free(s);
}

/* Three groups of 1, 2 and 2 deployments: each account gets as much. */
static void
round_robin_turns_by_group_then_upstream_then_key(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);
	static const char *const group[] = { "one", "two", "two", "", "" };
	int seen[4];

	for (int i = 0; i < 5; i++)
		(void)scene_upstream(s, group[i]);
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 1, 1);
	(void)scene_key(s, 1, 5); /* weights are no matter */
	(void)scene_key(s, 2, 1);
	(void)scene_key(s, 3, 1);
	(void)scene_key(s, 4, 1);
	one_route(s, STRATEGY_ROUND_ROBIN);
	for (int i = 0; i < 4; i++)
		seen[i] = scene_next(s);
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < i; k++) /* four groups: no upstream twice */
			assert_int_not_equal(
				s->key[seen[i]].upstream.b[0] << 8 | s->key[seen[i]].upstream.b[1],
				s->key[seen[k]].upstream.b[0] << 8 | s->key[seen[k]].upstream.b[1]);
	(void)scene_run(s, 4 * 40);
	assert_got(s, (int[]){ 40, 10, 10, 20, 40, 40 }, 6);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 6);
	scene_free(s);
}

static void
split_is_exact_whatever_keys_targets_have(void **state)
{
	struct scene *s = scene_of(*state, 2, 0);
	struct route r = scene_route("m", STRATEGY_SPLIT);
	int models[2] = { 0 };

	(void)scene_key(s, 0, 1);
	for (int i = 0; i < 5; i++)
		(void)scene_key(s, 1, 1 + i % 2);
	scene_target(s, &r, 0, 90, 0, "");
	scene_target(s, &r, 1, 10, 0, "m-next");
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	for (int i = 0; i < 200; i++) {
		s->got[scene_next(s)]++;
		models[span_is(s->plan.candidate[0].model, "m-next")]++;
	}
	assert_int_equal(s->got[0], 180);
	assert_int_equal(models[0], 180);
	assert_int_equal(models[1], 20);
	scene_free(s);
}

static void
first_and_sequential_go_in_order(void **state)
{
	struct scene *s = scene_of(*state, 3, 1);
	struct route r = scene_route("m", STRATEGY_FIRST),
		     q = scene_route("q", STRATEGY_SEQUENTIAL);

	for (int i = 0; i < 3; i++) {
		scene_target(s, &r, i, 1, 0, "m");
		scene_target(s, &q, i, 1, 0, "");
	}
	house_create(s->h, RECORD_ROUTE, &r);
	house_create(s->h, RECORD_ROUTE, &q);
	scene_compile(s);
	scene_run(s, 10);
	assert_got(s, (int[]){ 10, 0, 0 }, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(scene_key_of(s, &s->plan.candidate[i]), i);
	scene_rest(s, 0, 60000);
	assert_int_equal(scene_next(s), 1);
	WORKS(scene_plan(s, "q"));
	assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), 1);
	scene_rest(s, 0, 0);
	assert_int_equal(scene_next(s), 0);
	/* one key until it is spent, then the next, not the one that is back */
	WORKS(scene_plan(s, "q"));
	assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), 1);
	scene_board(s, 1)->forecast_hold_ms = board_now_ms(s->h->board) + 60000;
	WORKS(scene_plan(s, "q"));
	assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), 2);
	/* to be spent, it does not sit out turns, which would leave it for a whole round */
	scene_board(s, 2)->forecast_share_ppm = 100000;
	for (int i = 0; i < 50; i++) {
		WORKS(scene_plan(s, "q"));
		assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), 2);
	}
	scene_free(s);
}

static void
same_stays_while_it_may_be_asked(void **state)
{
	struct scene *s = scene_of(*state, 1, 4);
	int first, second;

	one_route(s, STRATEGY_SAME);
	first = scene_next(s);
	for (int i = 0; i < 20; i++)
		assert_int_equal(scene_next(s), first);
	assert_int_equal(s->plan.count, 4);
	scene_rest(s, first, 60000);
	second = scene_next(s);
	assert_int_not_equal(second, first);
	scene_rest(s, first, 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(scene_next(s), second);
	scene_free(s);
}

static void
random_and_balanced_reach_all(void **state)
{
	struct scene *s = scene_of(*state, 1, 5);
	struct route r = scene_route("m", STRATEGY_RANDOM), q = scene_route("q", STRATEGY_BALANCED);
	int in_row = 0, last = -1;

	house_create(s->h, RECORD_ROUTE, &r);
	house_create(s->h, RECORD_ROUTE, &q);
	scene_compile(s);
	for (int i = 0; i < 1000; i++) {
		int now = scene_next(s);

		in_row += now == last;
		last = now;
		s->got[now]++;
	}
	for (int i = 0; i < 5; i++)
		assert_in_range(s->got[i], 120, 290);
	assert_in_range(in_row, 100, 320); /* chance, not a round */
	memset(s->got, 0, sizeof s->got);
	for (int i = 0; i < 1000; i++) {
		WORKS(scene_plan(s, "q"));
		s->got[scene_key_of(s, &s->plan.candidate[0])]++;
	}
	for (int i = 0; i < 5; i++) /* who is behind is chosen more often: closer than chance */
		assert_in_range(s->got[i], 170, 230);
	scene_free(s);
}

static void
least_inflight_and_lowest_latency(void **state)
{
	struct scene *s = scene_of(*state, 1, 4);
	struct route r = scene_route("m", STRATEGY_LEAST_INFLIGHT),
		     q = scene_route("q", STRATEGY_LATENCY);

	house_create(s->h, RECORD_ROUTE, &r);
	house_create(s->h, RECORD_ROUTE, &q);
	scene_compile(s);
	for (int i = 0; i < 4; i++)
		scene_board(s, i)->inflight = i < 2 ? 5 : 3;
	scene_run(s, 40);
	assert_got(s, (int[]){ 0, 0, 20, 20 }, 4);
	for (int i = 0; i < 4; i++)
		scene_board(s, i)->ttft_us = 300000 + i * 100000;
	memset(s->got, 0, sizeof s->got);
	for (int i = 0; i < 320; i++) {
		WORKS(scene_plan(s, "q"));
		s->got[scene_key_of(s, &s->plan.candidate[0])]++;
	}
	assert_in_range(s->got[0], 300, 317); /* the others are looked at now and then */
	assert_true(s->got[1] > 0 && s->got[2] > 0 && s->got[3] > 0);
	/* who is not known is tried */
	scene_board(s, 3)->ttft_us = 0;
	WORKS(scene_plan(s, "q"));
	assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), 3);
	scene_free(s);
}

static void
tiers_are_asked_one_after_another(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);
	struct key k;

	scene_upstream(s, "")->priority = 0;
	scene_upstream(s, "")->priority = 5;
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	k = scene_key_draft(s, 0, 1);
	k.priority = 3;
	(void)scene_add_key(s, k);
	k = scene_key_draft(s, 1, 1);
	k.priority = 9;
	(void)scene_add_key(s, k);
	one_route(s, STRATEGY_WEIGHTED);
	scene_run(s, 10);
	assert_got(s, (int[]){ 10, 0, 0 }, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(scene_key_of(s, &s->plan.candidate[i]), i);
	assert_int_equal(s->plan.record.out[REASON_PRIORITY], 2);
	scene_rest(s, 0, 60000);
	scene_run(s, 10);
	assert_got(s, (int[]){ 0, 10, 0 }, 3);
	scene_rest(s, 1, 60000);
	scene_run(s, 10);
	assert_got(s, (int[]){ 0, 0, 10 }, 3);
	scene_free(s);
}

static void
one_due_key_goes_first_and_alone(void **state)
{
	struct scene *s = scene_of(*state, 1, 4);

	one_route(s, STRATEGY_WEIGHTED);
	scene_rest(s, 1, -5000);
	scene_rest(s, 2, -3000);
	assert_int_equal(scene_next(s), 1); /* the longest due */
	assert_true(s->plan.candidate[0].is_probe);
	assert_int_equal(s->plan.count, 4);
	assert_false(s->plan.candidate[1].is_probe);
	assert_false(s->plan.candidate[2].is_probe);
	assert_true(s->plan.candidate[3].is_probe); /* when all else failed */
	/* while somebody finds out, nobody else does */
	scene_board(s, 1)->prober = board_owner_word(s->h->board);
	scene_board(s, 2)->prober = board_owner_word(s->h->board);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 2);
	assert_int_equal(s->plan.record.out[REASON_PROBED], 2);
	/* a tier below is not probed while the better one serves */
	scene_free(s);
}

static void
a_probe_does_not_jump_tiers(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);

	(void)scene_upstream(s, "");
	scene_upstream(s, "")->priority = 1;
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 1, 1);
	one_route(s, STRATEGY_WEIGHTED);
	scene_rest(s, 1, -5000);
	assert_int_equal(scene_next(s), 0);
	assert_true(s->plan.candidate[1].is_probe);
	scene_rest(s, 0, 60000);
	assert_int_equal(scene_next(s), 1);
	scene_free(s);
}

static void
forecasts_hold_back_softly_and_share_weights(void **state)
{
	struct scene *s = scene_of(*state, 1, 3);
	int64_t now_ms = board_now_ms(s->h->board);

	one_route(s, STRATEGY_WEIGHTED);
	scene_board(s, 0)->forecast_hold_ms = now_ms + 60000;
	scene_run(s, 20);
	assert_got(s, (int[]){ 0, 10, 10 }, 3);
	assert_int_equal(s->plan.count, 3);
	assert_int_equal(scene_key_of(s, &s->plan.candidate[2]), 0);
	assert_int_equal(s->plan.record.out[REASON_FORECAST], 1);
	/* nobody else: the one that is free again first */
	scene_board(s, 1)->forecast_hold_ms = now_ms + 50000;
	scene_board(s, 2)->forecast_hold_ms = now_ms + 70000;
	for (int i = 0; i < 5; i++)
		assert_int_equal(scene_next(s), 1);
	for (int i = 0; i < 3; i++)
		scene_board(s, i)->forecast_hold_ms = 0;
	/* a quarter of its weight, so that it lasts; a tenth, as it is just back */
	scene_board(s, 0)->forecast_share_ppm = 250000;
	scene_board(s, 1)->share_ppm = 250000;
	scene_run(s, 6 * 20);
	assert_got(s, (int[]){ 20, 20, 80 }, 3);
	scene_free(s);
}

/* Most quotas are of a key at a model: what is said there counts as what is said of the key. */
static void
what_is_said_of_a_key_at_the_model_counts(void **state)
{
	struct scene *s = scene_of(*state, 1, 3);
	struct board_target *at[3];

	one_route(s, STRATEGY_WEIGHTED);
	for (int i = 0; i < 3; i++)
		at[i] = board_target(
			s->h->board, board_target_part(s->key[i].head.id, "model", "m", 1));
	at[0]->forecast_share_ppm = 250000;
	at[1]->share_ppm = 250000;
	scene_board(s, 1)->share_ppm = 500000; /* the lesser of both, not one part of the other */
	scene_run(s, 6 * 20);
	assert_got(s, (int[]){ 20, 20, 80 }, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(s->plan.record.member[i].forecast,
			scene_key_of(s, &s->plan.candidate[i]) == 0 ? 63 : 255);
	at[2]->forecast_hold_ms = board_now_ms(s->h->board) + 60000;
	scene_run(s, 20);
	assert_got(s, (int[]){ 10, 10, 0 }, 3);
	at[1]->rest_until_ms = board_now_ms(s->h->board) + 60000;
	scene_run(s, 10);
	assert_got(s, (int[]){ 10, 0, 0 }, 3);
	scene_free(s);
}

static void
who_climbs_back_gets_a_part_of_its_share(void **state)
{
	static const struct {
		enum route_strategy strategy;
		int least,
			most; /* of 1,000: a tenth of its half, or of its weight; balanced: of the turns */
	} cases[] = { { STRATEGY_WEIGHTED, 90, 92 }, { STRATEGY_PRIORITY, 90, 92 },
		{ STRATEGY_ROUND_ROBIN, 90, 92 }, { STRATEGY_SPLIT, 90, 92 },
		{ STRATEGY_RANDOM, 25, 80 }, { STRATEGY_BALANCED, 25, 195 } };

	/* two keys of a deployment; two deployments with a key each; one of two deployments as a whole */
	static const int target[][2] = { { 0, -1 }, { 1, 2 }, { 3, 4 } };
	struct scene *s = scene_of(*state, 5, 0);
	char model[32];

	for (int u = 0; u < 5; u++)
		for (int k = 0; k < (u == 1 || u == 2 ? 1 : 2); k++)
			(void)scene_key(s, u, 1);
	for (int shape = 0; shape < 3; shape++)
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			struct route r;

			(void)snprintf(model, sizeof model, "%d.%zu", shape, i);
			r = scene_route(model, cases[i].strategy);
			for (int t = 0; t < 2 && target[shape][t] >= 0; t++)
				scene_target(s, &r, target[shape][t], 1, 0, "");
			house_create(s->h, RECORD_ROUTE, &r);
		}
	scene_compile(s);
	scene_board(s, 0)->share_ppm = scene_board(s, 2)->share_ppm = 100000;
	board_target(s->h->board, s->upstream[3].head.id)->share_ppm = 100000;
	for (int shape = 0; shape < 3; shape++)
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			static const int from[] = { 0, 2, 4 }, to[] = { 0, 2, 5 };
			int got = 0;

			(void)snprintf(model, sizeof model, "%d.%zu", shape, i);
			for (int n = 0; n < 1000; n++) {
				int k;

				WORKS(scene_plan(s, model));
				k = scene_key_of(s, &s->plan.candidate[0]);
				got += k >= from[shape] && k <= to[shape];
			}
			if (got < cases[i].least || got > cases[i].most)
				fail_msg("strategy %d, shape %d: %d of 1000",
					(int)cases[i].strategy, shape, got);
		}
	scene_free(s);
}

static void
who_climbs_back_gets_a_part_where_shares_do_not_decide(void **state)
{
	static const enum route_strategy some[] = { STRATEGY_FIRST, STRATEGY_LEAST_INFLIGHT,
		STRATEGY_OBJECTIVE };
	struct scene *s = scene_of(*state, 1, 2);
	char model[2] = "1";

	for (size_t i = 0; i < 3; i++, model[0]++) {
		struct route r = scene_route(model, some[i]);

		(void)strcpy(r.objectives, "reliability=1");
		house_create(s->h, RECORD_ROUTE, &r);
	}
	scene_compile(s);
	model[0] = '1';
	for (size_t i = 0; i < 3; i++, model[0]++) {
		int got = 0, best;

		WORKS(scene_plan(s, model));
		best = i == 0 ? scene_key_of(s, &s->plan.candidate[0]) : 0;
		scene_board(s, best)->share_ppm = 100000;
		scene_board(s, 1 - best)->inflight = 3; /* it would be the best one */
		scene_board(s, 1 - best)->success_ppm = 1 + 500000;
		for (int n = 0; n < 1000; n++) {
			WORKS(scene_plan(s, model));
			got += scene_key_of(s, &s->plan.candidate[0]) == best;
		}
		assert_in_range(got, 60, 145);
		scene_board(s, best)->share_ppm = 0;
		scene_board(s, 1 - best)->inflight = 0;
		scene_board(s, 1 - best)->success_ppm = 0;
	}
	scene_free(s);
}

static void
a_quote_says_what_the_next_decision_does(void **state)
{
	struct scene *s = scene_of(*state, 3, 3);
	char model[3] = "a";

	for (int i = 0; i < STRATEGY__COUNT; i++, model[0]++) {
		struct route r = scene_route(model, (enum route_strategy)i);

		house_create(s->h, RECORD_ROUTE, &r);
	}
	scene_compile(s);
	model[0] = 'a';
	for (int i = 0; i < STRATEGY__COUNT; i++, model[0]++)
		for (int n = 0; n < 50; n++) {
			struct route_ask ask = {
				.model = span_of(model), .is_conversation = true, .is_quote = true
			};
			const struct snapshot_key *said;

			WORKS(scene_ask(s, &ask));
			said = s->plan.candidate[0].key;
			WORKS(scene_ask(s, &ask));
			assert_ptr_equal(s->plan.candidate[0].key, said);
			ask.is_quote = false;
			WORKS(scene_ask(s, &ask));
			if (s->plan.candidate[0].key != said)
				fail_msg("strategy %d: another one after %d turns", i, n);
		}
	scene_free(s);
}

static void
busy_ones_may_be_waited_for(void **state)
{
	struct scene *s = scene_of(*state, 1, 0);
	struct key k = scene_key_draft(s, 0, 1);
	int busy;

	k.max_parallel = 2;
	busy = scene_add_key(s, k);
	(void)scene_key(s, 0, 1);
	one_route(s, STRATEGY_WEIGHTED);
	scene_board(s, busy)->inflight = 2;
	scene_run(s, 4);
	assert_int_equal(s->got[busy], 0);
	scene_rest(s, 1, 30000);
	REFUSED(scene_plan(s, "m"), ERR_NO_KEY_AVAILABLE);
	assert_true(s->plan.may_free);
	assert_in_range(s->plan.wakes_ms, board_now_ms(s->h->board) + 25000,
		board_now_ms(s->h->board) + 30000);
	assert_non_null(strstr(err.text, "1 rests"));
	assert_non_null(strstr(err.text, "1 full"));
	scene_board(s, busy)->inflight = 1;
	assert_int_equal(scene_next(s), busy);
	scene_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(weights_are_products_of_target_and_key),
		TEST(round_robin_turns_by_group_then_upstream_then_key),
		TEST(split_is_exact_whatever_keys_targets_have),
		TEST(first_and_sequential_go_in_order),
		TEST(same_stays_while_it_may_be_asked),
		TEST(random_and_balanced_reach_all),
		TEST(least_inflight_and_lowest_latency),
		TEST(tiers_are_asked_one_after_another),
		TEST(one_due_key_goes_first_and_alone),
		TEST(a_probe_does_not_jump_tiers),
		TEST(forecasts_hold_back_softly_and_share_weights),
		TEST(what_is_said_of_a_key_at_the_model_counts),
		TEST(who_climbs_back_gets_a_part_of_its_share),
		TEST(who_climbs_back_gets_a_part_where_shares_do_not_decide),
		TEST(a_quote_says_what_the_next_decision_does),
		TEST(busy_ones_may_be_waited_for),
	};

	return cmocka_run_group_tests_name("route/strategy", tests, NULL, NULL);
}
