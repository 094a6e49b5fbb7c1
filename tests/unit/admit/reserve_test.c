/* reserve_test.c - limits are exact to the unit, all of them at once or none, over any number of
 * processes and the loss of the board. */
#include "house.h"

#include "admit/admit.h"

#include "base/log.h"

#include <stdlib.h>

#define HOUR_MS 3600000LL

/* What a request of these tests takes. */
static const struct admit_need small_need = {
	.model = "m-1", .input_tokens = 10, .output_tokens = 5, .cost_nusd = 1000
};

static int64_t
amount_of(int metric)
{
	static const int64_t amounts[] = { 1, 10, 5, 15, 1000, 1 };

	return amounts[metric];
}

static struct admit_caller
caller_of(struct id project, struct id token)
{
	struct admit_caller c;

	record_init(RECORD_PROJECT, &c.project);
	record_init(RECORD_TOKEN, &c.token);
	c.project.head.id = project;
	c.token.head.id = token;
	c.token.project = project;
	return c;
}

/* Only the limits of a snapshot matter here; they may be changed until they are held against a
 * request. */
static struct snapshot
snapshot_of(struct limit *limits, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (id_is_none(limits[i].head.id))
			limits[i].head.id = id_random();
	return (struct snapshot){ .limits = limits, .limit_count = count };
}

static struct grant grants[8];
static size_t grant_count;

static int
forget_grants(void **state)
{
	grant_count = 0;
	return house_setup(state);
}

static bool racing; /* others change what is asked for */

/* Whatever a request is told, it was told before by whoever only asked; and asking took nothing. */
static void
told_before(const struct admit_view *v, int would, const struct err *said, int rc,
	const struct admit_pass *pass)
{
	if (rc < 0 && err.code != ERR_RATE_LIMITED && err.code != ERR_BUDGET_EXCEEDED &&
		err.code != ERR_EXCEEDS_LIMIT && err.code != ERR_NONE)
		return; /* the idempotency key, a broken store */
	assert_int_equal(would, rc);
	assert_int_equal(said->code, err.code);
	assert_string_equal(said->text, err.text);
	if (rc < 0) {
		assert_true(v->refuses >= 0);
		assert_true(id_equal(v->hold[v->refuses].limit, pass->hold[0].limit));
		return;
	}
	assert_int_equal(v->refuses, -1);
	assert_int_equal(v->count, pass->count);
	for (int i = 0; i < v->count; i++) {
		assert_true(id_equal(v->hold[i].limit, pass->hold[i].limit));
		assert_int_equal(v->hold[i].amount, pass->hold[i].amount);
		assert_true(pass->hold[i].resets_ms - v->hold[i].resets_ms < 60000);
	}
}

static int
reserve_as(struct house *h, const struct snapshot *s, const struct admit_ask *ask, bool attempt,
	struct admit_pass *pass)
{
	struct snapshot now = *s;
	struct admit_view view;
	struct err said = { 0 };
	int rc, would = 0;

	err = (struct err){ 0 };
	if (s->limit_index == NULL)
		now.limit_index = limit_index_new(s->limits, s->limit_count, grants, grant_count,
			board_now_ms(h->board), &err);
	assert_non_null(now.limit_index);
	if (!racing)
		would = admit_would(h->store, h->board, &now, ask, attempt, &view, &said);
	rc = (attempt ? admit_attempt : admit_reserve)(
		h->store, h->board, &now, ask, id_timed(clock_wall_ms()), "note", 5, pass, &err);
	if (!racing && ask->repeat == NULL)
		told_before(&view, would, &said, rc, pass);
	if (s->limit_index == NULL)
		limit_index_free(now.limit_index);
	return rc;
}

static int
reserve(struct house *h, const struct snapshot *s, const struct admit_caller *c,
	const struct admit_need *need, struct admit_pass *pass)
{
	struct admit_ask ask = { .caller = c, .need = *need };

	return reserve_as(h, s, &ask, false, pass);
}

static void
settle(struct house *h, const struct admit_pass *pass, int64_t first_spent)
{
	int64_t spent[BOARD_CLAIMS_MAX] = { first_spent };

	assert_int_equal(board_settle(h->board, pass->lease, spent, pass->count, 0, &err), 1);
}

/* ---- what binds whom ---- */

#define PASSES 3

static void
each_metric_window_and_scope_lets_exactly_its_cap_pass(void **state)
{
	struct house *h = *state;
	char a[ID_TEXT_BYTES], a1[ID_TEXT_BYTES];
	struct id project = id_random();
	struct admit_caller same = caller_of(project, id_random());
	struct admit_caller other_token = caller_of(project, id_random());
	struct admit_caller other_project = caller_of(id_random(), id_random());

	id_text("prj_", same.project.head.id, a);
	id_text("tok_", same.token.head.id, a1);

	/* When the cap is used up by one caller with model m-1, is that one refused too? */
	const struct {
		const char *why, *project, *token, *model;
		bool other_token, other_project, model_2, model_x;
	} scopes[] = {
		{ "global: all share it", "", "", "", true, true, true, true },
		{ "one project", a, "", "", true, false, true, true },
		{ "each project", "each", "", "", true, false, true, true },
		{ "one token", "", a1, "", false, false, true, true },
		{ "each token", "", "each", "", false, false, true, true },
		{ "one model", "", "", "m-1", true, true, false, false },
		{ "a family of models is one counter", "", "", "m-*", true, true, true, false },
		{ "each model", "", "", "each", true, true, false, false },
		{ "each model of a project", a, "", "each", true, false, false, false },
		{ "a family, each project", "each", "", "m-*", true, false, true, false },
		{ "each token, each model", "", "each", "each", false, false, false, false },
	};

	for (int metric = METRIC_REQUESTS; metric <= METRIC_PARALLEL; metric++)
		for (int window = WINDOW_MINUTE; window <= WINDOW_TOTAL; window++)
			for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
				int64_t one = amount_of(metric);
				struct limit l =
					house_limit_draft(metric, window, PASSES * one + one - 1);
				struct snapshot s = snapshot_of(&l, 1);
				struct admit_need model_2 = small_need, model_x = small_need;
				struct admit_pass pass[PASSES + 4];
				enum err_code want = metric == METRIC_COST ? ERR_BUDGET_EXCEEDED
									   : ERR_RATE_LIMITED;
				const struct {
					const struct admit_caller *caller;
					const struct admit_need *need;
					bool refused;
				} asks[] = {
					{ &same, &small_need, true },
					{ &other_token, &small_need, scopes[i].other_token },
					{ &other_project, &small_need, scopes[i].other_project },
					{ &same, &model_2, scopes[i].model_2 },
					{ &same, &model_x, scopes[i].model_x },
				};
				int held = 0;

				model_2.model = "m-2";
				model_x.model = "x";
				(void)strcpy(l.scope[DIMENSION_PROJECT], scopes[i].project);
				(void)strcpy(l.scope[DIMENSION_TOKEN], scopes[i].token);
				(void)strcpy(l.scope[DIMENSION_MODEL], scopes[i].model);
				house_early_in_the_minute(h);
				for (; held < PASSES; held++)
					if (reserve(h, &s, &same, &small_need, &pass[held]) != 0)
						fail_msg("%s: %s", scopes[i].why, err.text);
				assert_int_equal(pass[PASSES - 1].count, 1);
				assert_int_equal(pass[PASSES - 1].hold[0].metric, metric);
				assert_int_equal(pass[PASSES - 1].hold[0].cap, l.cap);
				assert_int_equal(pass[PASSES - 1].hold[0].used, PASSES * one);
				for (size_t k = 0; k < sizeof asks / sizeof asks[0]; k++) {
					int rc = reserve(
						h, &s, asks[k].caller, asks[k].need, &pass[held]);

					if ((rc != 0) != asks[k].refused ||
						(rc != 0 && err.code != want))
						fail_msg("%s: metric %d, window %d, ask %zu: %d %s",
							scopes[i].why, metric, window, k, rc,
							err.text);
					held += rc == 0;
				}
				while (held > 0)
					settle(h, &pass[--held], 0);
			}
	assert_int_equal(house_leases(h), 0);
}

static void
without_a_model_limits_by_model_do_not_bind(void **state)
{
	struct house *h = *state;
	struct limit l[2] = { house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 1),
		house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 1) };
	struct snapshot s = snapshot_of(l, 2);
	struct admit_caller c = caller_of(id_random(), id_random());
	struct admit_need need = { .model = "" };
	struct admit_pass pass;

	(void)strcpy(l[0].scope[DIMENSION_MODEL], "each");
	(void)strcpy(l[1].scope[DIMENSION_MODEL], "*");
	for (int i = 0; i < 3; i++) {
		WORKS(reserve(h, &s, &c, &need, &pass));
		assert_int_equal(pass.count, 0);
	}
}

/* ---- all or nothing, and what a refusal says ---- */

static void
a_refusal_takes_nothing_and_names_the_limit(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	static const struct {
		const char *why;
		enum limit_metric metric;
		enum limit_window window;
		int64_t cap;
		enum err_code want;
		const char *says;
		enum { NEVER, AT_THE_END, SOON } retry;
	} cases[] = {
		{ "requests by the minute", METRIC_REQUESTS, WINDOW_MINUTE, 1, ERR_RATE_LIMITED,
			" is reached: 1 of 1 are used or held; it resets at 2", AT_THE_END },
		{ "tokens by the day", METRIC_TOKENS, WINDOW_DAY, 29, ERR_RATE_LIMITED,
			" is reached: 15 of 29", AT_THE_END },
		{ "input tokens by the week", METRIC_INPUT_TOKENS, WINDOW_WEEK, 19,
			ERR_RATE_LIMITED, "limit on input tokens in a week", AT_THE_END },
		{ "output tokens by the hour", METRIC_OUTPUT_TOKENS, WINDOW_HOUR, 9,
			ERR_RATE_LIMITED, "limit on output tokens in an hour", AT_THE_END },
		{ "money by the month", METRIC_COST, WINDOW_MONTH, 1999, ERR_BUDGET_EXCEEDED,
			"$0.000001000 of $0.000001999", AT_THE_END },
		{ "money for ever", METRIC_COST, WINDOW_TOTAL, 1000, ERR_BUDGET_EXCEEDED,
			"limit on cost in total (lim_", NEVER },
		{ "what runs at once", METRIC_PARALLEL, WINDOW_TOTAL, 1, ERR_RATE_LIMITED,
			" is reached: 1 of 1 are running", SOON },
	};

	house_early_in_the_minute(h);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		/* the tight one stands last, behind two that would have room */
		struct limit l[3] = { house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 10),
			house_limit_draft(METRIC_TOKENS, WINDOW_TOTAL, 1000),
			house_limit_draft(
				(int)cases[i].metric, (int)cases[i].window, cases[i].cap) };
		struct snapshot s = snapshot_of(l, 3);
		struct limit_values v = { .model = "m-1" };
		struct admit_pass pass, none;
		int64_t start, end, now;
		char id[ID_TEXT_BYTES];

		WORKS(reserve(h, &s, &c, &small_need, &pass));
		assert_int_equal(pass.count, 3);
		assert_int_not_equal(reserve(h, &s, &c, &small_need, &none), 0);
		if (err.code != cases[i].want || strstr(err.says, cases[i].says) == NULL)
			fail_msg("%s: %s: %s", cases[i].why, err_name(err.code), err.says);
		id_text("lim_", l[2].head.id, id);
		if (strstr(err.says, id) == NULL || !id_equal(none.hold[0].limit, l[2].head.id) ||
			none.count != 1 || none.hold[0].cap != cases[i].cap)
			fail_msg("%s: another limit is named: %s", cases[i].why, err.says);
		window_bounds(cases[i].window, NULL, board_now_ms(h->board), &start, &end);
		now = clock_boot_ms();
		end -= board_now_ms(h->board);
		if (cases[i].retry == SOON
				? err.retry_boot_ms <= now - 500 || err.retry_boot_ms > now + 1000
			: cases[i].retry == NEVER ? err.retry_boot_ms != 0
						  : llabs(err.retry_boot_ms - now - end) > 500)
			fail_msg("%s: again at %lld, now %lld, window ends in %lld", cases[i].why,
				(long long)err.retry_boot_ms, (long long)now, (long long)end);
		house_assert_use(h, &l[0], &v, 0, 1);
		house_assert_use(h, &l[1], &v, 0, 15);
		house_assert_use(h, &l[2], &v, 0, amount_of((int)cases[i].metric));
		assert_int_equal(house_leases(h), 1);
		settle(h, &pass, 0);
		house_assert_use(h, &l[0], &v, 0, 0);
	}
}

static void
what_alone_is_above_a_cap_is_told_so(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	static const struct {
		enum limit_metric metric;
		int64_t cap;
		const char *says;
	} cases[] = {
		{ METRIC_INPUT_TOKENS, 9, "may need 10, more than the limit on input tokens" },
		{ METRIC_TOKENS, 14, "may need 15" },
		{ METRIC_COST, 999, "may need $0.000001000" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct limit l = house_limit_draft((int)cases[i].metric, WINDOW_DAY, cases[i].cap);
		struct snapshot s = snapshot_of(&l, 1);
		struct admit_pass pass;

		REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_EXCEEDS_LIMIT);
		assert_int_equal(err.retry_boot_ms, 0);
		if (strstr(err.says, cases[i].says) == NULL)
			fail_msg("says '%s'", err.says);
		l.cap++; /* exactly the cap fits */
		WORKS(reserve(h, &s, &c, &small_need, &pass));
	}
}

static void
soft_and_shadow_limits_only_count(void **state)
{
	struct house *h = *state;
	struct limit l[2] = { house_limit_draft(METRIC_TOKENS, WINDOW_DAY, 20),
		house_limit_draft(METRIC_TOKENS, WINDOW_DAY, 20) };
	struct snapshot s = snapshot_of(l, 2);
	struct admit_caller c = caller_of(id_random(), id_random());
	struct limit_values v = { .model = "m-1" };
	struct admit_pass pass;

	l[0].mode = LIMIT_SOFT;
	l[1].mode = LIMIT_SHADOW;
	for (int i = 0; i < 5; i++)
		WORKS(reserve(h, &s, &c, &small_need, &pass));
	house_assert_use(h, &l[0], &v, 0, 75);
	house_assert_use(h, &l[1], &v, 0, 75);
	assert_int_equal(pass.hold[0].used, 75);
	l[0].mode = LIMIT_HARD; /* and the count is there when it becomes hard */
	REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_RATE_LIMITED);
}

static void
a_new_cap_keeps_the_use(void **state)
{
	struct house *h = *state;
	struct limit l = house_limit_draft(METRIC_REQUESTS, WINDOW_TOTAL, 2);
	struct snapshot s = snapshot_of(&l, 1);
	struct admit_caller c = caller_of(id_random(), id_random());
	struct admit_pass pass;

	for (int i = 0; i < 2; i++)
		WORKS(reserve(h, &s, &c, &small_need, &pass));
	REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_RATE_LIMITED);
	l.cap = 3;
	WORKS(reserve(h, &s, &c, &small_need, &pass));
	REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_RATE_LIMITED);
	l.cap = 1;
	REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_RATE_LIMITED);
}

static void
a_token_has_so_many_requests_in_its_life(void **state)
{
	struct house *h = *state;
	struct snapshot s = { 0 };
	struct admit_caller c = caller_of(id_random(), id_random()), other;
	struct admit_pass pass[3];

	other = caller_of(c.project.head.id, id_random());
	c.token.max_requests = other.token.max_requests = 3;
	for (int i = 0; i < 3; i++)
		WORKS(reserve(h, &s, &c, &small_need, &pass[i]));
	assert_int_equal(pass[2].hold[0].resets_ms, WINDOW_FOREVER);
	assert_int_equal(pass[2].hold[0].used, 3);
	REFUSED(reserve(h, &s, &c, &small_need, &pass[0]), ERR_RATE_LIMITED);
	assert_int_equal(err.retry_boot_ms, 0);
	assert_non_null(strstr(err.says, "max_requests of the token is reached: 3 of 3"));
	WORKS(reserve(h, &s, &other, &small_need, &pass[0])); /* each its own */
	settle(h, &pass[1], 1);                               /* used up */
	REFUSED(reserve(h, &s, &c, &small_need, &pass[1]), ERR_RATE_LIMITED);
	settle(h, &pass[2], 0); /* given back */
	WORKS(reserve(h, &s, &c, &small_need, &pass[2]));
	REFUSED(reserve(h, &s, &c, &small_need, &pass[1]), ERR_RATE_LIMITED);
}

static void
what_ended_runs_no_longer(void **state)
{
	struct house *h = *state;
	struct limit l = house_limit_draft(METRIC_PARALLEL, WINDOW_MINUTE, 2);
	struct snapshot s = snapshot_of(&l, 1);
	struct admit_caller c = caller_of(id_random(), id_random());
	struct admit_pass pass[2], none;

	WORKS(reserve(h, &s, &c, &small_need, &pass[0]));
	WORKS(reserve(h, &s, &c, &small_need, &pass[1]));
	assert_int_equal(pass[0].hold[0].resets_ms, WINDOW_FOREVER);
	for (int i = 0; i < 10; i++) {
		REFUSED(reserve(h, &s, &c, &small_need, &none), ERR_RATE_LIMITED);
		settle(h, &pass[i % 2], 0);
		WORKS(reserve(h, &s, &c, &small_need, &pass[i % 2]));
	}
}

static void
odd_needs_are_counted_without_overflow(void **state)
{
	struct house *h = *state;
	struct limit l[3] = { house_limit_draft(METRIC_TOKENS, WINDOW_DAY, 10),
		house_limit_draft(METRIC_COST, WINDOW_DAY, 10),
		house_limit_draft(METRIC_TOKENS, WINDOW_DAY, INT64_MAX) };
	struct snapshot s = snapshot_of(l, 3);
	struct admit_caller c = caller_of(id_random(), id_random());
	struct admit_need huge = { .model = "m",
		.input_tokens = INT64_MAX,
		.output_tokens = INT64_MAX,
		.cost_nusd = COST_UNKNOWN };
	struct admit_pass pass;

	REFUSED(reserve(h, &s, &c, &huge, &pass), ERR_EXCEEDS_LIMIT);
	l[0].mode = LIMIT_SOFT;
	for (int i = 0; i < 3; i++)
		WORKS(reserve(h, &s, &c, &huge, &pass));
	assert_int_equal(pass.hold[0].used, INT64_MAX);
	assert_int_equal(pass.hold[1].used, 0); /* without a price it costs nothing that is known */
}

static void
more_limits_than_a_lease_can_hold_are_refused_not_forgotten(void **state)
{
	struct house *h = *state;
	struct limit l[BOARD_CLAIMS_MAX + 1];
	struct snapshot s;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct admit_pass pass;

	for (int i = 0; i <= BOARD_CLAIMS_MAX; i++)
		l[i] = house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 10);
	s = snapshot_of(l, BOARD_CLAIMS_MAX + 1);
	REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_OVERLOADED);
	assert_int_equal(house_leases(h), 0);
	s.limit_count--;
	WORKS(reserve(h, &s, &c, &small_need, &pass));
	assert_int_equal(pass.count, BOARD_CLAIMS_MAX);
}

/* ---- the other dimensions ---- */

static void
end_users_tags_and_addresses_have_budgets_of_their_own(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	static const struct {
		const char *why;
		enum limit_dimension d;
		const char *scope;
		bool bob, other_address,
			other_tag; /* refused too, when the first has used it up? */
	} cases[] = {
		{ "each end user", DIMENSION_END_USER, "each", false, true, true },
		{ "one end user", DIMENSION_END_USER, "ann", false, true, true },
		{ "each address", DIMENSION_ADDRESS, "each", true, false, true },
		{ "a network", DIMENSION_ADDRESS, "10.0.0.0/8", true, true, true },
		{ "one address", DIMENSION_ADDRESS, "10.0.0.1", true, false, true },
		{ "each tag", DIMENSION_TAG, "each", true, true, false },
		{ "tags of a family", DIMENSION_TAG, "feature=*", true, true, false },
		{ "one tag", DIMENSION_TAG, "feature=a", true, true, false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct limit l = house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 2);
		struct snapshot s = snapshot_of(&l, 1);
		struct admit_ask ask = { .caller = &c,
			.need = small_need,
			.end_user = "ann",
			.address = "10.0.0.1",
			.tag = { "feature=a" } };
		struct admit_ask bob = ask, elsewhere = ask, other = ask, nobody = ask;
		struct admit_pass pass;

		bob.end_user = "bob";
		elsewhere.address = "10.0.0.2";
		other.tag[0] = "feature=b";
		nobody.end_user = nobody.address = nobody.tag[0] = NULL;
		(void)strcpy(l.scope[cases[i].d], cases[i].scope);
		WORKS(reserve_as(h, &s, &ask, false, &pass));
		WORKS(reserve_as(h, &s, &ask, false, &pass));
		REFUSED(reserve_as(h, &s, &ask, false, &pass), ERR_RATE_LIMITED);
		if ((reserve_as(h, &s, &bob, false, &pass) != 0) != cases[i].bob ||
			(reserve_as(h, &s, &elsewhere, false, &pass) != 0) !=
				cases[i].other_address ||
			(reserve_as(h, &s, &other, false, &pass) != 0) != cases[i].other_tag)
			fail_msg("%s", cases[i].why);
		WORKS(reserve_as(h, &s, &nobody, false, &pass));
		assert_int_equal(pass.count, 0);
	}
}

static void
each_tag_of_a_request_is_counted_or_none(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct limit l = house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 2);
	struct snapshot s = snapshot_of(&l, 1);
	struct admit_ask both = { .caller = &c, .need = small_need, .tag = { "a=1", "b=1" } };
	struct admit_ask second = { .caller = &c, .need = small_need, .tag = { NULL, "b=1" } };
	struct limit_values a1 = { .tag = { "a=1" } }, b1 = { .tag = { "b=1" } };
	struct admit_pass pass;

	(void)strcpy(l.scope[DIMENSION_TAG], "each");
	WORKS(reserve_as(h, &s, &both, false, &pass));
	assert_int_equal(pass.count, 2);
	WORKS(reserve_as(h, &s, &second, false, &pass));
	assert_int_equal(pass.count, 1);
	REFUSED(reserve_as(h, &s, &both, false, &pass), ERR_RATE_LIMITED);
	house_assert_use(h, &l, &a1, 0, 1);
	house_assert_use(h, &l, &b1, 0, 2);
}

static void
limits_on_upstreams_and_keys_are_taken_by_the_attempt(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct limit l[3] = { house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 100),
		house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 2),
		house_limit_draft(METRIC_TOKENS, WINDOW_DAY, 3 * 15) };
	struct snapshot s = snapshot_of(l, 3), without = snapshot_of(l, 1);
	struct id one = id_random(), two = id_random();
	struct admit_ask ask = {
		.caller = &c, .need = small_need, .upstream = id_random(), .key = one
	};
	struct admit_pass pass, none;

	(void)strcpy(l[1].scope[DIMENSION_KEY], "each");
	id_text("up_", ask.upstream, l[2].scope[DIMENSION_UPSTREAM]);
	(void)strcpy(l[2].scope[DIMENSION_TOKEN], "each");

	WORKS(reserve_as(h, &s, &ask, false, &pass)); /* before a provider is chosen */
	assert_int_equal(pass.count, 1);
	for (int i = 0; i < 2; i++) {
		WORKS(reserve_as(h, &s, &ask, true, &pass));
		assert_int_equal(pass.count, 2);
		assert_int_not_equal(pass.lease.serial, 0);
	}
	REFUSED(reserve_as(h, &s, &ask, true, &none), ERR_RATE_LIMITED);
	ask.key = two;
	WORKS(reserve_as(h, &s, &ask, true, &pass));
	REFUSED(reserve_as(h, &s, &ask, true, &none), ERR_RATE_LIMITED); /* the upstream's tokens */
	assert_non_null(strstr(err.says, "limit on tokens"));
	settle(h, &pass, 0);
	ask.upstream = id_random();
	WORKS(reserve_as(h, &s, &ask, true, &pass)); /* another has room */
	assert_int_equal(pass.count, 1);
	WORKS(reserve_as(h, &without, &ask, true, &pass));
	assert_int_equal(pass.count, 0);
	assert_int_equal(pass.lease.serial, 0);
}

static void
a_limit_of_an_upstream_alone_is_a_cap_of_it(void **state)
{
	struct house *h = *state;
	struct id upstream = id_random(), project = id_random();
	struct admit_caller c = caller_of(project, id_random());
	struct admit_ask ask = { .caller = &c, .need = small_need, .upstream = upstream };
	struct limit l;
	struct snapshot s = { .limits = &l, .limit_count = 1 };
	struct admit_pass first, none;

	limit_of_target(upstream, false, 1, &l);
	l.head.id = id_random(); /* one that people made */
	WORKS(reserve_as(h, &s, &ask, true, &first));
	REFUSED(reserve_as(h, &s, &ask, true, &none), ERR_NO_KEY_AVAILABLE);
	assert_true(none.count == 1 && none.hold[0].of_target);
	assert_true(id_equal(none.hold[0].limit, l.head.id));
	assert_non_null(strstr(err.says, "limit on parallel requests"));
	settle(h, &first, 0);
	/* where it is this project's alone, the upstream is not full */
	id_text("prj_", project, l.scope[DIMENSION_PROJECT]);
	WORKS(reserve_as(h, &s, &ask, true, &first));
	REFUSED(reserve_as(h, &s, &ask, true, &none), ERR_RATE_LIMITED);
	assert_false(none.hold[0].of_target);
	settle(h, &first, 0);
}

static void
what_an_upstream_or_key_may_have_running_binds_the_attempt(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct id upstream = id_random(), one = id_random(), two = id_random();
	struct admit_ask ask = {
		.caller = &c, .need = small_need, .upstream = upstream, .key = one
	};
	struct limit l[2];
	struct snapshot s = { .limits = l, .limit_count = 2 };
	struct admit_pass first, second, none;

	limit_of_target(upstream, false, 2, &l[0]);
	limit_of_target(one, true, 1, &l[1]);
	WORKS(reserve_as(h, &s, &ask, false, &first)); /* nobody is chosen yet */
	assert_int_equal(first.count, 0);
	WORKS(reserve_as(h, &s, &ask, true, &first));
	assert_int_equal(first.count, 2);
	REFUSED(reserve_as(h, &s, &ask, true, &none), ERR_NO_KEY_AVAILABLE);
	assert_non_null(strstr(err.says, "max_parallel of the key"));
	assert_true(none.count == 1 && none.hold[0].of_target);
	assert_true(id_is_none(none.hold[0].limit)); /* it is no limit that people made */
	ask.key = two;
	WORKS(reserve_as(h, &s, &ask, true, &second));
	REFUSED(reserve_as(h, &s, &ask, true, &none), ERR_NO_KEY_AVAILABLE);
	assert_non_null(strstr(err.says, "max_parallel of the upstream"));
	/* another cap keeps what runs */
	limit_of_target(upstream, false, 3, &l[0]);
	WORKS(reserve_as(h, &s, &ask, true, &none));
	settle(h, &none, 0);
	settle(h, &first, 0);
	limit_of_target(upstream, false, 1, &l[0]);
	REFUSED(reserve_as(h, &s, &ask, true, &none), ERR_NO_KEY_AVAILABLE);
	settle(h, &second, 0);
	WORKS(reserve_as(h, &s, &ask, true, &first));
	ask.upstream = id_random();
	WORKS(reserve_as(h, &s, &ask, true, &none)); /* whom it does not speak of */
	assert_int_equal(none.count, 0);
}

/* ---- what changes a cap for a time ---- */

static struct grant *
grant(const struct limit *l, int64_t amount, int64_t from_ms, int64_t until_ms)
{
	struct grant *g = &grants[grant_count++];

	*g = (struct grant){
		.limit = l->head.id, .amount = amount, .from_ms = from_ms, .until_ms = until_ms
	};
	return g;
}

static int
how_many_pass(struct house *h, const struct snapshot *s, const struct admit_ask *ask)
{
	struct admit_pass pass;
	int count = 0;

	while (reserve_as(h, s, ask, false, &pass) == 0)
		count++;
	assert_int_equal(err.code, ERR_RATE_LIMITED);
	return count;
}

static void
a_grant_is_on_top_of_the_cap_for_its_counter_and_its_time(void **state)
{
	struct house *h = *state;
	struct limit l[2] = { house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 2),
		house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 1000) };
	struct snapshot s = snapshot_of(l, 2);
	struct admit_caller a = caller_of(id_random(), id_random());
	struct admit_caller b = caller_of(id_random(), id_random());
	struct admit_ask of_a = { .caller = &a, .need = small_need };
	struct admit_ask of_b = { .caller = &b, .need = small_need };
	int64_t now = board_now_ms(h->board);

	(void)strcpy(l[0].scope[DIMENSION_TOKEN], "each");
	assert_int_equal(how_many_pass(h, &s, &of_a), 2);
	id_text("tok_", a.token.head.id, grant(&l[0], 3, now, 0)->value[DIMENSION_TOKEN]);
	assert_int_equal(how_many_pass(h, &s, &of_a), 3);
	assert_int_equal(how_many_pass(h, &s, &of_b), 2); /* not his */
	(void)grant(&l[0], 5, now, now - 1);              /* over */
	(void)grant(&l[0], 7, now + HOUR_MS, 0);          /* not yet */
	(void)grant(&l[1], 9, now, 0);                    /* another limit's */
	assert_int_equal(how_many_pass(h, &s, &of_a), 0);
	(void)grant(&l[0], 4, now, now + HOUR_MS); /* to all */
	assert_int_equal(how_many_pass(h, &s, &of_a), 4);
	assert_int_equal(how_many_pass(h, &s, &of_b), 4);
	grants[0].amount = INT64_MAX; /* sums hold at the end of int64_t */
	grants[4].amount = INT64_MAX;
	s.limit_count = 1;
	WORKS(reserve_as(h, &s, &of_a, false, &(struct admit_pass){ 0 }));
}

/* ---- rolling windows ---- */

static void
a_rolling_window_says_when_it_frees(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct limit l = house_limit_draft(METRIC_REQUESTS, WINDOW_ROLLING, 3);
	struct snapshot s = snapshot_of(&l, 1);
	struct limit_values v = { 0 };
	struct admit_pass pass[3], none;
	int64_t now;

	l.window_s = 3600;
	for (int i = 0; i < 3; i++)
		WORKS(reserve(h, &s, &c, &small_need, &pass[i]));
	REFUSED(reserve(h, &s, &c, &small_need, &none), ERR_RATE_LIMITED);
	assert_non_null(strstr(err.says, "wait for one to end")); /* nothing ages: all of it runs */
	assert_true(err.retry_boot_ms <= clock_boot_ms() + 1000);
	for (int i = 0; i < 3; i++)
		settle(h, &pass[i], 1);
	now = clock_boot_ms();
	REFUSED(reserve(h, &s, &c, &small_need, &none), ERR_RATE_LIMITED);
	assert_non_null(strstr(err.says, "limit on requests within 3600 s (lim_"));
	assert_non_null(strstr(err.says, "it frees at 2"));
	/* a whole length from now, or up to a slice more */
	assert_true(err.retry_boot_ms >= now + HOUR_MS - 500 &&
		    err.retry_boot_ms <= now + HOUR_MS + HOUR_MS / BOARD_SLICES + 2000);
	house_assert_use(h, &l, &v, 3, 0);
}

static struct usage_row row_of(const struct admit_caller *c, const char *model, int64_t time_ms);
static void book(struct house *h, const struct usage_row *row);

static void
a_rolling_window_has_a_past(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct limit l = house_limit_draft(METRIC_REQUESTS, WINDOW_ROLLING, 3);
	struct snapshot s = snapshot_of(&l, 1);
	struct admit_pass pass;
	struct usage_row row;

	(void)strcpy(l.scope[DIMENSION_TOKEN], "each");
	l.window_s = 3600;
	row = row_of(&c, "m-1", clock_wall_ms() - 62 * 60000); /* rows are known by the minute */
	book(h, &row);
	row = row_of(&c, "m-1", clock_wall_ms() - HOUR_MS / 6);
	book(h, &row);
	for (int way = 0; way < 2; way++) {
		/* a limit that was made just now, on a board that has seen nothing of it; and a lost
		 * board */
		if (way == 1)
			house_lose_board(h);
		l.head.id = id_random();
		l.head.created_ms = way == 0 ? clock_wall_ms() : 0;
		WORKS(reserve(h, &s, &c, &small_need, &pass));
		assert_int_equal(pass.hold[0].used, 2);
		WORKS(reserve(h, &s, &c, &small_need, &pass));
		REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_RATE_LIMITED);
	}
}

/* ---- what is told ---- */

static int
lines_with(const char *path, const char *text)
{
	char line[2048];
	FILE *f = fopen(path, "r");
	int count = 0;

	log_flush();
	assert_non_null(f);
	while (fgets(line, sizeof line, f) != NULL)
		count += strstr(line, text) != NULL;
	(void)fclose(f);
	return count;
}

static void
each_share_of_a_cap_is_told_once(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct limit l[3] = { house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 10),
		house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 8),
		house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 8) };
	struct snapshot s = snapshot_of(l, 3);
	struct admit_pass pass;
	char path[96], hard[ID_TEXT_BYTES], soft[ID_TEXT_BYTES], shadow[ID_TEXT_BYTES];

	(void)strcpy(l[0].warn_at, "50\n80\n100");
	l[1].mode = LIMIT_SOFT; /* which tells at its cap when nothing else is said */
	l[2].mode = LIMIT_SHADOW;
	(void)strcpy(l[2].warn_at, "10");
	id_text("lim_", l[0].head.id, hard);
	id_text("lim_", l[1].head.id, soft);
	id_text("lim_", l[2].head.id, shadow);
	(void)snprintf(path, sizeof path, "%s/log", h->dir);
	WORKS(log_open(path, "test", LOG_WARN, &err));
	for (int i = 0; i < 10; i++) {
		static const int told[] = { 0, 0, 0, 0, 1, 1, 1, 2, 2, 3 };

		WORKS(reserve(h, &s, &c, &small_need, &pass));
		if (lines_with(path, hard) != told[i] || lines_with(path, soft) != (i >= 7))
			fail_msg("after %d requests: told %d times", i + 1, lines_with(path, hard));
	}
	assert_int_equal(lines_with(path, shadow), 0);
	WORKS(log_open(NULL, "test", LOG_WARN, &err));
}

static void
an_idempotency_key_is_taken_once(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct snapshot s = snapshot_of(NULL, 0);
	struct board_repeat repeat = { { 1, 2 }, { 3, 4 } }, other = { { 1, 2 }, { 5, 6 } };
	struct admit_ask ask = { .caller = &c, .need = small_need, .repeat = &repeat };
	struct admit_pass pass, none;
	const int64_t spent[BOARD_CLAIMS_MAX] = { 0 };
	struct admit_view view;

	/* who only asks takes it not */
	for (int i = 0; i < 2; i++)
		WORKS(admit_would(h->store, h->board, &s, &ask, false, &view, &err));
	WORKS(reserve_as(h, &s, &ask, false, &pass));
	REFUSED(admit_would(h->store, h->board, &s, &ask, false, &view, &err), ERR_REQUEST_RUNNING);
	REFUSED(reserve_as(h, &s, &ask, false, &none), ERR_REQUEST_RUNNING);
	assert_non_null(strstr(err.says, "req_"));
	assert_int_equal(none.count, 0);
	ask.repeat = &other;
	REFUSED(reserve_as(h, &s, &ask, false, &none), ERR_IDEMPOTENCY_KEY_REUSED);
	ask.repeat = &repeat;
	assert_int_equal(board_settle(h->board, pass.lease, spent, 0, 200, &err), 1);
	REFUSED(admit_would(h->store, h->board, &s, &ask, false, &view, &err),
		ERR_REQUEST_REPEATED);
	REFUSED(reserve_as(h, &s, &ask, false, &none), ERR_REQUEST_REPEATED);
	assert_int_equal(none.status, 200);
	assert_non_null(strstr(err.says, "status 200"));
	ask.repeat = NULL;
	WORKS(reserve_as(h, &s, &ask, false, &pass));
}

/* ---- what is reserved ---- */

static void
what_is_expected_does_not_lock_out_what_is_usual(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	/* an agent's ceiling of 32k and 20k tokens a minute */
	struct limit l = house_limit_draft(METRIC_TOKENS, WINDOW_TOTAL, 20000);
	struct snapshot s = snapshot_of(&l, 1);
	struct admit_need need = { .model = "m-usual",
		.input_tokens = 1000,
		.output_tokens = 32000,
		.cost_nusd = 32000,
		.usual_cost_nusd = 100 };
	struct admit_pass pass;

	REFUSED(reserve(h, &s, &c, &need, &pass), ERR_EXCEEDS_LIMIT);
	l.reserve = RESERVE_EXPECTED;
	s.limit_index = limit_index_new(&l, 1, NULL, 0, 0, &err);
	assert_non_null(s.limit_index);
	need.usual_output =
		admit_usual_output(h->store, &s, c.token.head.id, need.model, need.output_tokens);
	assert_int_equal(need.usual_output, ADMIT_USUAL_START);
	WORKS(reserve(h, &s, &c, &need, &pass));
	assert_int_equal(pass.hold[0].used, 1000 + ADMIT_USUAL_START);
	settle(h, &pass, 0);

	/* of another token of the same model, and then of its own */
	for (int i = 0; i < 100; i++)
		admit_learn(id_random(), need.model, i < 94 ? 100 : 5000);
	need.usual_output =
		admit_usual_output(h->store, &s, c.token.head.id, need.model, need.output_tokens);
	assert_int_equal(need.usual_output, 6144);
	for (int i = 0; i < 100; i++)
		admit_learn(c.token.head.id, need.model, i < 96 ? 100 : 5000);
	need.usual_output =
		admit_usual_output(h->store, &s, c.token.head.id, need.model, need.output_tokens);
	assert_int_equal(need.usual_output, 128);
	assert_int_equal(admit_usual_output(h->store, &s, c.token.head.id, need.model, 50), 50);
	WORKS(reserve(h, &s, &c, &need, &pass));
	assert_int_equal(pass.hold[0].used, 1128);
	settle(h, &pass, 0);

	/* old habits fade */
	for (int i = 0; i < 5000; i++)
		admit_learn(c.token.head.id, need.model, 30000);
	need.usual_output =
		admit_usual_output(h->store, &s, c.token.head.id, need.model, need.output_tokens);
	assert_int_equal(need.usual_output, 32000);
	WORKS(reserve(h, &s, &c, &need, &pass)); /* a guess above the cap takes all there is */
	assert_int_equal(pass.hold[0].used, 20000);
	settle(h, &pass, 0);
	for (int i = 0; i < 2000; i++)
		admit_learn(c.token.head.id, need.model, 100);
	assert_int_equal(
		admit_usual_output(h->store, &s, c.token.head.id, need.model, need.output_tokens),
		128);
	need.input_tokens = 20001; /* but what is sure to be too much is refused */
	REFUSED(reserve(h, &s, &c, &need, &pass), ERR_EXCEEDS_LIMIT);
	limit_index_free(s.limit_index);

	l.metric = METRIC_COST;
	l.reserve = RESERVE_WORST;
	s.limit_index = limit_index_new(&l, 1, NULL, 0, 0, &err);
	assert_int_equal(
		admit_usual_output(h->store, &s, c.token.head.id, need.model, 32000), 32000);
	limit_index_free(s.limit_index);
	s.limit_index = NULL;
	l.reserve = RESERVE_EXPECTED;
	l.head.id = id_random();
	WORKS(reserve(h, &s, &c, &need, &pass));
	assert_int_equal(pass.hold[0].used, 100);
}

/* ---- a lost board ---- */

static struct usage_row
row_of(const struct admit_caller *c, const char *model, int64_t time_ms)
{
	struct usage_row r = { .exchange = id_timed(time_ms),
		.time_ms = time_ms,
		.project = c->project.head.id,
		.token = c->token.head.id,
		.status = 200,
		.usage_source = USAGE_REPORTED,
		.tokens = { .input = 7, .cache_read = 2, .cache_write = 1, .output = 5 },
		.cost_nusd = 1000 };

	(void)snprintf(r.model, sizeof r.model, "%s", model);
	return r;
}

static void
book(struct house *h, const struct usage_row *row)
{
	bool booked;

	WORKS(store_book(h->store, row, 1, &booked, &err));
	assert_true(booked);
}

static void
a_lost_board_counts_what_the_rows_say(void **state)
{
	struct house *h = *state;
	int64_t now;
	struct id project = id_random();
	struct admit_caller c = caller_of(project, id_random());
	struct admit_caller other_token = caller_of(project, id_random());
	struct admit_caller other_project = caller_of(id_random(), id_random());
	char a[ID_TEXT_BYTES], a1[ID_TEXT_BYTES];
	struct usage_row row;

	id_text("prj_", c.project.head.id, a);
	id_text("tok_", c.token.head.id, a1);

	/* rows of the counter: by whom, model, how many */
	const struct {
		const char *why, *project, *token, *model;
		int64_t rows;
	} scopes[] = {
		{ "global", "", "", "", 7 },
		{ "one project", a, "", "", 6 },
		{ "each project", "each", "", "", 6 },
		{ "one token", "", a1, "", 5 },
		{ "each token", "", "each", "", 5 },
		{ "one model", "", "", "m-1", 5 },
		{ "a family of models", "", "", "m-*", 6 },
		{ "each model", "", "", "each", 5 },
		{ "each model of a project", a, "", "each", 4 },
		{ "each project and a family", "each", "", "m-*", 5 },
		{ "each token, each model", "", "each", "each", 3 },
	};

	house_early_in_the_minute(h);
	/* the wall clock that rows have may be ahead of the board's */
	now = clock_wall_ms() + 50;
	for (int i = 0; i < 3; i++) {
		row = row_of(&c, "m-1", now);
		book(h, &row);
	}
	row = row_of(&c, "m-2", now);
	book(h, &row);
	row = row_of(&c, "x", now);
	book(h, &row);
	row = row_of(&other_token, "m-1", now);
	book(h, &row);
	row = row_of(&other_project, "m-1", now);
	book(h, &row);
	for (int folded = 0; folded < 2; folded++) {
		for (int metric = METRIC_REQUESTS; metric < METRIC_PARALLEL; metric++)
			for (int window = WINDOW_MINUTE; window <= WINDOW_TOTAL; window++)
				for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
					struct limit l =
						house_limit_draft(metric, window, INT64_MAX);
					struct snapshot s = snapshot_of(&l, 1);
					struct admit_pass pass;
					int64_t one = amount_of(metric);

					(void)strcpy(l.scope[DIMENSION_PROJECT], scopes[i].project);
					(void)strcpy(l.scope[DIMENSION_TOKEN], scopes[i].token);
					(void)strcpy(l.scope[DIMENSION_MODEL], scopes[i].model);
					WORKS(reserve(h, &s, &c, &small_need, &pass));
					if (pass.hold[0].used != (scopes[i].rows + 1) * one)
						fail_msg("%s: metric %d, window %d, %s: %lld",
							scopes[i].why, metric, window,
							folded ? "folded" : "not folded",
							(long long)pass.hold[0].used);
					settle(h, &pass, 0);
				}
		WORKS(store_fold(h->store, &err));
		house_lose_board(h);
	}
}

static void
a_lost_board_knows_the_other_dimensions(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct admit_ask ask = { .caller = &c,
		.need = small_need,
		.end_user = "ann",
		.address = "10.0.0.1",
		.tag = { "f=1" },
		.upstream = id_random(),
		.key = id_random() };
	char up[ID_TEXT_BYTES];
	/* rows: two of ann from one address with the tag, one of bob from another with another tag */
	const struct {
		const char *why, *scope[DIMENSION__COUNT];
		bool attempt;
		int64_t rows;
	} cases[] = {
		{ "each end user", { [DIMENSION_END_USER] = "each" }, false, 2 },
		{ "one", { [DIMENSION_END_USER] = "ann" }, false, 2 },
		{ "each address", { [DIMENSION_ADDRESS] = "each" }, false, 2 },
		{ "one address", { [DIMENSION_ADDRESS] = "10.0.0.1" }, false, 2 },
		{ "each tag", { [DIMENSION_TAG] = "each" }, false, 2 },
		{ "a family of tags", { [DIMENSION_TAG] = "f=*" }, false, 2 },
		{ "one tag", { [DIMENSION_TAG] = "f=1" }, false, 2 },
		{ "end users of a project",
			{ [DIMENSION_PROJECT] = "each", [DIMENSION_END_USER] = "each" }, false, 2 },
		{ "a tag of a model", { [DIMENSION_MODEL] = "m-*", [DIMENSION_TAG] = "each" },
			false, 2 },
		{ "each upstream", { [DIMENSION_UPSTREAM] = "each" }, true, 3 },
		{ "one upstream", { [DIMENSION_UPSTREAM] = up }, true, 3 },
		{ "each key", { [DIMENSION_KEY] = "each" }, true, 2 },
		{ "each key, each end user",
			{ [DIMENSION_KEY] = "each", [DIMENSION_END_USER] = "each" }, true, 2 },
	};

	id_text("up_", ask.upstream, up);
	for (int i = 0; i < 3; i++) {
		struct usage_row row = row_of(&c, "m-1", clock_wall_ms());

		row.upstream = ask.upstream;
		row.key = i < 2 ? ask.key : id_random();
		row.address = limit_address_hash(i < 2 ? "10.0.0.1" : "10.0.0.2");
		(void)strcpy(row.end_user, i < 2 ? "ann" : "bob");
		(void)strcpy(row.tags[0], "env=x");
		(void)strcpy(row.tags[1], i < 2 ? "f=1" : "f=2");
		book(h, &row);
	}
	for (int folded = 0; folded < 2; folded++) {
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			struct limit l = house_limit_draft(METRIC_REQUESTS, WINDOW_DAY, 100);
			struct snapshot s = snapshot_of(&l, 1);
			struct admit_pass pass;

			for (int d = 0; d < DIMENSION__COUNT; d++)
				if (cases[i].scope[d] != NULL)
					(void)strcpy(l.scope[d], cases[i].scope[d]);
			WORKS(reserve_as(h, &s, &ask, cases[i].attempt, &pass));
			assert_int_equal(pass.count, 1);
			if (pass.hold[0].used != cases[i].rows + 1)
				fail_msg("%s, %s: %lld", cases[i].why,
					folded ? "folded" : "not folded",
					(long long)pass.hold[0].used);
			settle(h, &pass, 0);
		}
		WORKS(store_fold(h->store, &err));
		house_lose_board(h);
	}
}

static void
a_lost_board_knows_windows_and_what_a_token_has_used(void **state)
{
	struct house *h = *state;
	struct admit_caller c = caller_of(id_random(), id_random());
	struct limit l[2] = { house_limit_draft(METRIC_REQUESTS, WINDOW_MINUTE, 2),
		house_limit_draft(METRIC_REQUESTS, WINDOW_TOTAL, 4) };
	struct snapshot s = snapshot_of(l, 2);
	struct admit_pass pass;
	struct usage_row row;

	house_early_in_the_minute(h);
	row = row_of(&c, "m-1", clock_wall_ms() - 25 * HOUR_MS);
	book(h, &row); /* before this minute */
	row = row_of(&c, "m-1", clock_wall_ms());
	book(h, &row);
	c.token.max_requests = 3;
	house_lose_board(h);
	WORKS(reserve(h, &s, &c, &small_need, &pass));
	assert_int_equal(pass.count, 3);
	assert_int_equal(pass.hold[0].used, 3);
	assert_int_equal(pass.hold[1].used, 2);
	assert_int_equal(pass.hold[2].used, 3);
	REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_RATE_LIMITED);
	assert_non_null(strstr(err.says, "max_requests"));
	c.token.max_requests = 0;
	REFUSED(reserve(h, &s, &c, &small_need, &pass), ERR_RATE_LIMITED);
	assert_non_null(strstr(err.says, "in a minute"));
	/* the board is not asked to be seeded with what it counted itself */
	house_assert_use(h, &l[1], &(struct limit_values){ 0 }, 2, 1);
}

/* ---- many processes ---- */

#define RACERS 8
#define CAP    150

struct race {
	int start[2];
	_Atomic int64_t *passed; /* of each */
	struct admit_caller caller;
};

static int
race(struct house *h, void *ctx)
{
	struct race *r = ctx;
	struct admit_pass pass;
	char byte;

	racing = true;
	(void)close(r->start[1]);
	if (read(r->start[0], &byte, 1) != 0)
		return 2;
	while (reserve(h, h->snapshot, &r->caller, &small_need, &pass) == 0) {
		int64_t spent[BOARD_CLAIMS_MAX];

		for (int i = 0; i < pass.count; i++)
			spent[i] = pass.hold[i].metric == METRIC_REQUESTS ? 1
				   : pass.hold[i].metric == METRIC_TOKENS ? 4
									  : 0;
		atomic_fetch_add(r->passed, 1);
		if (board_settle(h->board, pass.lease, spent, pass.count, 0, &err) != 1)
			return 3;
	}
	return err.code == ERR_RATE_LIMITED ? 0 : 4;
}

static void
processes_at_once_pass_exactly_the_cap(void **state)
{
	struct house *h = *state;
	struct race r = { .caller = caller_of(id_random(), id_random()) };
	struct limit requests = house_limit(h, METRIC_REQUESTS, WINDOW_TOTAL, CAP);
	struct limit tokens = house_limit(h, METRIC_TOKENS, WINDOW_MONTH, 1000000);
	struct limit parallel = house_limit(h, METRIC_PARALLEL, WINDOW_TOTAL, RACERS);
	struct limit_values v = { 0 };
	pid_t racer[RACERS];

	r.passed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(r.passed != MAP_FAILED);
	assert_int_equal(pipe(r.start), 0);
	house_close(h);
	for (int i = 0; i < RACERS; i++)
		assert_true((racer[i] = house_child(h, race, &r)) > 0);
	(void)close(r.start[1]); /* go */
	for (int i = 0; i < RACERS; i++)
		house_wait(racer[i], 0);
	(void)close(r.start[0]);
	house_open(h);
	assert_int_equal(atomic_load(r.passed), CAP);
	house_assert_use(h, &requests, &v, CAP, 0);
	house_assert_use(h, &tokens, &v, 4 * CAP, 0);
	house_assert_use(h, &parallel, &v, 0, 0);
	assert_int_equal(house_leases(h), 0);
	(void)munmap((void *)r.passed, 4096);
}

/* Each of eight calls once, all at the same time. */
static int
first_call(struct house *h, void *ctx)
{
	struct race *r = ctx;
	struct admit_ask ask = { .caller = &r->caller, .need = small_need, .end_user = "new" };
	struct admit_pass pass;
	char byte;

	racing = true;
	(void)close(r->start[1]);
	if (read(r->start[0], &byte, 1) != 0)
		return 2;
	if (reserve_as(h, h->snapshot, &ask, false, &pass) == 0) {
		atomic_fetch_add(r->passed, 1);
		return board_settle(h->board, pass.lease, &(int64_t){ 1 }, 1, 0, &err) == 1 ? 0 : 3;
	}
	return err.code == ERR_RATE_LIMITED ? 0 : 4;
}

static void
first_calls_of_a_new_end_user_see_one_budget(void **state)
{
	struct house *h = *state;
	struct race r = { .caller = caller_of(id_random(), id_random()) };
	struct limit l = house_limit_draft(METRIC_REQUESTS, WINDOW_MONTH, 3);
	struct limit_values v = { .end_user = "new" };
	pid_t racer[RACERS];

	(void)strcpy(l.scope[DIMENSION_END_USER], "each");
	house_create(h, RECORD_LIMIT, &l);
	r.passed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(r.passed != MAP_FAILED);
	assert_int_equal(pipe(r.start), 0);
	house_close(h);
	for (int i = 0; i < RACERS; i++)
		assert_true((racer[i] = house_child(h, first_call, &r)) > 0);
	(void)close(r.start[1]); /* go */
	for (int i = 0; i < RACERS; i++)
		house_wait(racer[i], 0);
	(void)close(r.start[0]);
	house_open(h);
	assert_int_equal(atomic_load(r.passed), 3);
	house_assert_use(h, &l, &v, 3, 0);
	assert_int_equal(house_leases(h), 0);
	(void)munmap((void *)r.passed, 4096);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_metric_window_and_scope_lets_exactly_its_cap_pass),
		TEST(without_a_model_limits_by_model_do_not_bind),
		TEST(a_refusal_takes_nothing_and_names_the_limit),
		TEST(what_alone_is_above_a_cap_is_told_so),
		TEST(soft_and_shadow_limits_only_count),
		TEST(a_new_cap_keeps_the_use),
		TEST(a_token_has_so_many_requests_in_its_life),
		TEST(what_ended_runs_no_longer),
		TEST(odd_needs_are_counted_without_overflow),
		TEST(more_limits_than_a_lease_can_hold_are_refused_not_forgotten),
		TEST(end_users_tags_and_addresses_have_budgets_of_their_own),
		TEST(each_tag_of_a_request_is_counted_or_none),
		TEST(limits_on_upstreams_and_keys_are_taken_by_the_attempt),
		TEST(a_limit_of_an_upstream_alone_is_a_cap_of_it),
		TEST(what_an_upstream_or_key_may_have_running_binds_the_attempt),
		cmocka_unit_test_setup_teardown(
			a_grant_is_on_top_of_the_cap_for_its_counter_and_its_time, forget_grants,
			house_teardown),
		TEST(a_rolling_window_says_when_it_frees),
		TEST(a_rolling_window_has_a_past),
		TEST(each_share_of_a_cap_is_told_once),
		TEST(an_idempotency_key_is_taken_once),
		TEST(what_is_expected_does_not_lock_out_what_is_usual),
		TEST(first_calls_of_a_new_end_user_see_one_budget),
		TEST(a_lost_board_counts_what_the_rows_say),
		TEST(a_lost_board_knows_the_other_dimensions),
		TEST(a_lost_board_knows_windows_and_what_a_token_has_used),
		TEST(processes_at_once_pass_exactly_the_cap),
	};

	return cmocka_run_group_tests_name("admit/reserve", tests, NULL, NULL);
}
