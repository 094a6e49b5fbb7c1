/* route_test.c - each key gets exactly its share, and a resting key is left alone. */
#include "../admit/house.h"

#include "route/route.h"

/* Compiled anew each time, as a table of a snapshot that changes would be. */
static int
plan_of(struct board *board, const struct snapshot *s, const struct route_ask *ask,
	struct route_plan *plan)
{
	static struct route_table *last;

	route_table_free(last); /* the plan points into it until the next one */
	last = route_table_new(board, s, &err);
	return last == NULL ? -1 : route_plan(last, ask, plan, &err);
}

static int
plan_ask(struct house *h, const struct route_ask *ask, struct route_plan *plan)
{
	return plan_of(h->board, h->snapshot, ask, plan);
}

static int
plan_for(struct house *h, const char *model, const char *upstream, struct id project,
	struct route_plan *plan)
{
	struct route_ask ask = {
		.model = span_of(model), .upstream = span_of(upstream), .project = project
	};

	err = (struct err){ 0 };
	return plan_ask(h, &ask, plan);
}

static void
rest(struct house *h, struct id key, int64_t ms)
{
	struct board_target *k = board_target(h->board, key);

	assert_non_null(k);
	atomic_store(&k->rest_until_ms, ms == 0 ? 0 : board_now_ms(h->board) + ms);
}

static void
shares_are_exact_over_every_full_round(void **state)
{
	static const struct {
		const char *why;
		int64_t upstream_weight[3], key_weight[3][3]; /* 0: none */
	} cases[] = {
		{ "one key", { 1 }, { { 1 } } },
		{ "two alike", { 1 }, { { 1, 1 } } },
		{ "keys by weight", { 1 }, { { 1, 2, 5 } } },
		{ "upstreams by weight", { 3, 1 }, { { 1 }, { 1 } } },
		{ "both", { 2, 3, 1 }, { { 1, 4 }, { 2 }, { 1, 1, 7 } } },
		{ "a sum that golden strides divide", { 1 }, { { 300, 300, 400 } } },
		{ "a prime", { 1 }, { { 1, 2, 94 } } },
	};
	struct house *h = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct upstream u[3];
		struct snapshot_key key[9];
		int64_t want[9], got[9] = { 0 }, total = 0;
		struct snapshot s = { .upstreams = u, .keys = key };
		struct route_ask ask = { .model = span_of("m") };

		for (int n = 0; n < 3 && cases[i].upstream_weight[n] != 0; n++) {
			u[n] = house_upstream_draft("u");
			u[n].head.id = id_random();
			u[n].weight = cases[i].upstream_weight[n];
			for (int k = 0; k < 3 && cases[i].key_weight[n][k] != 0; k++) {
				want[s.key_count] = u[n].weight * cases[i].key_weight[n][k];
				total += want[s.key_count];
				key[s.key_count++] = (struct snapshot_key){ .id = id_random(),
					.upstream = u[n].head.id,
					.weight = cases[i].key_weight[n][k] };
			}
			s.upstream_count++;
		}
		for (int round = 0; round < 3; round++) {
			memset(got, 0, sizeof got);
			for (int64_t n = 0; n < total; n++) {
				struct route_plan plan;

				WORKS(plan_of(h->board, &s, &ask, &plan));
				got[plan.candidate[0].key - key]++;
			}
			for (size_t k = 0; k < s.key_count; k++)
				if (got[k] != want[k])
					fail_msg("%s: key %zu: %lld of %lld", cases[i].why, k,
						(long long)got[k], (long long)want[k]);
		}
	}
}

#define TURNS 40

static int
takes_turns(struct house *h, void *ctx)
{
	_Atomic int64_t *got = ctx;
	struct route_plan plan;

	for (int i = 0; i < TURNS; i++) {
		if (plan_for(h, "m", "", ID_NONE, &plan) != 0)
			return 1;
		atomic_fetch_add(&got[plan.candidate[0].key - h->snapshot->keys], 1);
	}
	return 0;
}

static void
processes_share_the_round(void **state)
{
	struct house *h = *state;
	struct upstream u = house_upstream(h, "one");
	_Atomic int64_t *got =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child[4];

	assert_true(got != MAP_FAILED);
	for (int i = 0; i < 3; i++)
		(void)house_key(h, u.head.id, ID_NONE, i == 0 ? 6 : 1);
	house_close(h);
	for (int i = 0; i < 4; i++)
		assert_true((child[i] = house_child(h, takes_turns, (void *)got)) > 0);
	for (int i = 0; i < 4; i++)
		house_wait(child[i], 0);
	house_open(h);
	house_snapshot(h);
	/* 160 turns are 20 rounds of 8: exact, whoever took them */
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(got[i], 20 * h->snapshot->keys[i].weight);
	(void)munmap((void *)got, 4096);
}

static void
the_next_ones_are_the_others_each_once(void **state)
{
	struct house *h = *state;
	struct upstream u = house_upstream(h, "one");
	struct route_plan plan;

	for (int i = 0; i < ROUTE_ATTEMPTS_MAX + 2; i++) {
		(void)house_key(h, u.head.id, ID_NONE, 1 + i % 3);
		house_snapshot(h);
		for (int n = 0; n < 20; n++) {
			WORKS(plan_for(h, "m", "", ID_NONE, &plan));
			assert_int_equal(plan.count,
				i + 1 < ROUTE_ATTEMPTS_MAX ? i + 1 : ROUTE_ATTEMPTS_MAX);
			for (int a = 0; a < plan.count; a++)
				for (int b = 0; b < a; b++)
					assert_ptr_not_equal(
						plan.candidate[a].key, plan.candidate[b].key);
		}
	}
}

static void
resting_keys_are_left_out_until_they_wake(void **state)
{
	struct house *h = *state;
	struct upstream u = house_upstream(h, "one");
	struct key k[3];
	struct route_plan plan;
	int64_t now;

	for (int i = 0; i < 3; i++)
		k[i] = house_key(h, u.head.id, ID_NONE, 1);
	house_snapshot(h);
	rest(h, k[0].head.id, 60000);
	rest(h, k[1].head.id, -1); /* woke a moment ago */
	for (int i = 0; i < 10; i++) {
		WORKS(plan_for(h, "m", "", ID_NONE, &plan));
		assert_int_equal(plan.count, 2);
		for (int c = 0; c < plan.count; c++)
			assert_false(id_equal(plan.candidate[c].key->id, k[0].head.id));
	}
	rest(h, k[1].head.id, 20000);
	rest(h, k[2].head.id, 40000);
	now = clock_boot_ms();
	REFUSED(plan_for(h, "m", "", ID_NONE, &plan), ERR_NO_KEY_AVAILABLE);
	assert_in_range(err.retry_boot_ms, now + 19000, now + 20500); /* the first to wake */
	assert_int_equal(plan.count, 1); /* one of the upstream, to wait for */
	assert_true(plan.candidate[0].upstream != NULL && span_is(plan.candidate[0].model, "m"));
	assert_int_not_equal(plan.wakes_ms, 0);
	rest(h, k[2].head.id, 0);
	WORKS(plan_for(h, "m", "", ID_NONE, &plan));
	assert_int_equal(plan.count, 1);
}

static void
a_project_with_keys_of_its_own_uses_no_others(void **state)
{
	struct house *h = *state;
	struct upstream first = house_upstream(h, "first"), second = house_upstream(h, "second");
	struct project rich = house_project(h, "rich"), poor = house_project(h, "poor");
	struct key common = house_key(h, first.head.id, ID_NONE, 1);
	struct key own = house_key(h, first.head.id, rich.head.id, 1);
	struct route_plan plan;

	house_snapshot(h);
	for (int i = 0; i < 5; i++) {
		WORKS(plan_for(h, "m", "", rich.head.id, &plan));
		assert_int_equal(plan.count, 1);
		assert_true(id_equal(plan.candidate[0].key->id, own.head.id));
		WORKS(plan_for(h, "m", "", poor.head.id, &plan));
		assert_int_equal(plan.count, 1);
		assert_true(id_equal(plan.candidate[0].key->id, common.head.id));
	}
	/* at an upstream where it has none, the common ones do */
	(void)house_key(h, second.head.id, ID_NONE, 1);
	house_snapshot(h);
	WORKS(plan_for(h, "m", "", rich.head.id, &plan));
	assert_int_equal(plan.count, 2);
	/* its own one resting does not open the common ones' purse */
	rest(h, own.head.id, 60000);
	REFUSED(plan_for(h, "m", "first", rich.head.id, &plan), ERR_NO_KEY_AVAILABLE);
}

static void
models_and_names_decide_who_is_asked(void **state)
{
	struct house *h = *state;
	struct upstream gpt = house_upstream_draft("openai"), local = house_upstream_draft("local"),
			all = house_upstream_draft("catch-all");
	static const struct {
		const char *why, *model, *upstream;
		enum err_code want;
		const char *who[2]; /* in any order */
		const char *says;
	} cases[] = {
		{ "one serves it", "gpt-4", "", ERR_NONE, { "openai" }, "" },
		{ "two serve it", "gpt-oss", "", ERR_NONE, { "openai", "local" }, "" },
		{ "nobody does", "claude", "", ERR_NO_ROUTE, { NULL }, "'claude'" },
		{ "no model: the default", "", "", ERR_NONE, { "catch-all" }, "" },
		{ "by name", "", "local", ERR_NONE, { "local" }, "" },
		{ "by name in any case", "", "LOCAL", ERR_NONE, { "local" }, "" },
		{ "by name whatever it lists", "claude", "openai", ERR_NONE, { "openai" }, "" },
		{ "an unknown name lists the known", "gpt-4", "azure", ERR_UNKNOWN_UPSTREAM,
			{ NULL }, "openai" },
		{ "and tells the wrong one", "gpt-4", "azure", ERR_UNKNOWN_UPSTREAM, { NULL },
			"'azure'" },
		{ "one that sleeps is not there", "gpt-4", "asleep", ERR_UNKNOWN_UPSTREAM, { NULL },
			"local" },
		{ "its models neither", "dream", "", ERR_NO_ROUTE, { NULL }, "" },
		{ "one without keys", "bare", "", ERR_NO_KEY_AVAILABLE, { NULL }, "operator" },
	};
	struct upstream asleep = house_upstream_draft("asleep"),
			bare = house_upstream_draft("bare");

	(void)strcpy(gpt.models, "gpt-*");
	(void)strcpy(local.models, "gpt-oss\nllama-*");
	(void)strcpy(all.models, "nothing-else");
	(void)strcpy(asleep.models, "dream");
	(void)strcpy(bare.models, "bare");
	all.is_default = true;
	local.auth = AUTH_NONE;
	asleep.is_active = false;
	house_create(h, RECORD_UPSTREAM, &gpt);
	house_create(h, RECORD_UPSTREAM, &local);
	house_create(h, RECORD_UPSTREAM, &all);
	house_create(h, RECORD_UPSTREAM, &asleep);
	house_create(h, RECORD_UPSTREAM, &bare);
	(void)house_key(h, gpt.head.id, ID_NONE, 1);
	(void)house_key(h, all.head.id, ID_NONE, 1);
	(void)house_key(h, asleep.head.id, ID_NONE, 1);
	house_snapshot(h);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct route_plan plan;
		int rc = plan_for(h, cases[i].model, cases[i].upstream, ID_NONE, &plan), who = 0;

		if ((rc == 0) != (cases[i].want == ERR_NONE) || err.code != cases[i].want ||
			strstr(err.says, cases[i].says) == NULL)
			fail_msg("%s: %s: %s", cases[i].why, err_name(err.code), err.says);
		while (who < 2 && cases[i].who[who] != NULL)
			who++;
		if (plan.count != who)
			fail_msg("%s: %d candidates", cases[i].why, plan.count);
		for (int c = 0; c < who; c++) {
			const struct route_candidate *got = &plan.candidate[c];

			if (strcmp(got->upstream->name, cases[i].who[0]) != 0 &&
				(who < 2 || strcmp(got->upstream->name, cases[i].who[1]) != 0))
				fail_msg("%s: %s", cases[i].why, got->upstream->name);
			if ((got->key == NULL) != (got->upstream->auth == AUTH_NONE))
				fail_msg("%s: a key where none is needed, or none", cases[i].why);
		}
	}
}

static void
without_a_model_a_single_upstream_is_the_default(void **state)
{
	struct house *h = *state;
	struct upstream u = house_upstream(h, "one");
	struct route_plan plan;

	house_snapshot(h);
	REFUSED(plan_for(h, "", "", ID_NONE, &plan), ERR_NO_KEY_AVAILABLE);
	(void)house_key(h, u.head.id, ID_NONE, 1);
	house_snapshot(h);
	WORKS(plan_for(h, "", "", ID_NONE, &plan));
	(void)house_upstream(h, "two");
	house_snapshot(h);
	REFUSED(plan_for(h, "", "", ID_NONE, &plan), ERR_NO_ROUTE);
	assert_non_null(strstr(err.says, "X-Upstream-Name"));
}

static void
nothing_is_served_by_an_empty_house(void **state)
{
	struct house *h = *state;
	struct route_plan plan;

	house_snapshot(h);
	REFUSED(plan_for(h, "m", "", ID_NONE, &plan), ERR_NO_ROUTE);
	REFUSED(plan_for(h, "", "", ID_NONE, &plan), ERR_NO_ROUTE);
	REFUSED(plan_for(h, "", "x", ID_NONE, &plan), ERR_UNKNOWN_UPSTREAM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shares_are_exact_over_every_full_round),
		TEST(processes_share_the_round),
		TEST(the_next_ones_are_the_others_each_once),
		TEST(resting_keys_are_left_out_until_they_wake),
		TEST(a_project_with_keys_of_its_own_uses_no_others),
		TEST(models_and_names_decide_who_is_asked),
		TEST(without_a_model_a_single_upstream_is_the_default),
		TEST(nothing_is_served_by_an_empty_house),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
