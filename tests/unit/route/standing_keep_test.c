/* standing_keep_test.c - how everybody stands outlives processes, reboots and the board's file; what
 * happened can be read, and people may change it where that is legal. */
#include "standing_fixture.h"

static int
drain(struct house *h)
{
	int n;

	WORKS(n = standing_drain(h->board, h->store, &err));
	return n;
}

/* A key of each kind of trouble, and an upstream that is broken. */
static void
trouble(struct house *h, struct pool *p)
{
	for (int i = 0; i < KEYS; i++)
		assert_true(works(h, p, i));
	assert_true(fails(h, p, 0, FAILURE_KEY_INVALID, 401));
	assert_true(fails(h, p, 1, FAILURE_NO_CREDIT, 402));
	assert_true(fails(h, p, 2, FAILURE_MODEL, 403));
	assert_true(attempt(h, p, 3,
		&(struct route_outcome){ .failure = FAILURE_RATE_LIMITED,
			.status = 429,
			.counts = true,
			.until_ms = clock_wall_ms() + 5 * MINUTE,
			.evidence = SPAN_LIT("Rate limit reached") }));
	for (int i = 0; i < 5; i++)
		assert_true(fails(h, p, 4, FAILURE_TRANSIENT, 502));
}

static void
assert_trouble(struct house *h, struct pool *p, const char *when)
{
	static const struct {
		enum target_state state;
		enum standing_breaker breaker;
		int64_t rest_ms;
	} want[] = {
		{ TARGET_INVALID, STANDING_CLOSED, 5 * MINUTE },
		{ TARGET_EXHAUSTED, STANDING_CLOSED, 15 * MINUTE },
		{ TARGET_INVALID, STANDING_CLOSED, 5 * MINUTE },
		{ TARGET_THROTTLED, STANDING_CLOSED, 5 * MINUTE },
		{ TARGET_AVAILABLE, STANDING_OPEN, 30 * SECOND },
	};

	for (int i = 0; i < 5; i++) {
		struct route_candidate c = candidate(h, p, i, "m");
		struct board_target *t = i == 2 ? c.target_key_model : c.target_key;
		struct standing st;
		int64_t ms = rest_of(h, t);

		standing_state(h->board, t, true, BREAKER_AUTO, &st);
		if (st.state != want[i].state || st.breaker != want[i].breaker ||
			ms > want[i].rest_ms + 100 || ms < want[i].rest_ms - 20 * SECOND)
			fail_msg("%s: key %d: %s, breaker %s, rests %lld ms", when, i,
				standing_state_name(st.state), standing_breaker_name(st.breaker),
				(long long)ms);
		if (standing_may(h->board, t, board_now_ms(h->board)) != STANDING_RESTS)
			fail_msg("%s: key %d may be asked", when, i);
	}
}

static void
nothing_that_ends_loses_a_rest(void **state)
{
	static const struct board_options rebooted = { .rows = 1024,
		.segments_max = 2,
		.leases = 256,
		.boot_id = "00000000-0000-0000-0000-000000000002" };
	struct house *h = *state;
	struct route_candidate c;
	struct pool p;

	pool_make(&p, "");
	trouble(h, &p);
	assert_trouble(h, &p, "at first");
	assert_true(drain(h) > 0);
	/* a request that runs, and a probe */
	c = candidate(h, &p, 9, "m");
	assert_true(route_begin(h->board, &c, true));
	board_target(h->board, p.key[8].id)->prober = board_owner_word(h->board);

	house_close(h);
	house_open(h);
	assert_trouble(h, &p, "after a restart");
	assert_int_equal(standing_restore(h->board, h->store, &err), 0);

	board_close(h->board);
	h->board = board_open_sized(h->dir, h->roster, &rebooted, &err);
	assert_non_null(h->board);
	assert_trouble(h, &p, "after a reboot");
	assert_int_equal(board_target(h->board, p.key[9].id)->inflight, 0);
	assert_int_equal(board_target(h->board, p.key[8].id)->prober, 0);

	house_lose_board(h);
	assert_int_equal(board_target(h->board, p.key[0].id)->rest_until_ms, 0);
	assert_int_equal(standing_restore(h->board, h->store, &err), 5);
	assert_trouble(h, &p, "on a new board");
	assert_int_equal(board_target(h->board, p.u.head.id)->breaker, 0);
	assert_int_equal(standing_restore(h->board, h->store, &err), 0);
}

static void
who_is_well_again_is_not_put_to_rest(void **state)
{
	struct house *h = *state;
	struct board_target *t;
	struct pool p;

	turnable(h);
	pool_make(&p, "");
	t = board_target(h->board, p.key[0].id);
	assert_true(fails(h, &p, 0, FAILURE_RATE_LIMITED, 429));
	assert_int_equal(drain(h), 1);
	wait_out(h, t);
	for (int i = 0; i < 5; i++)
		assert_true(works(h, &p, 0));
	assert_int_equal(stands(t), TARGET_AVAILABLE);
	assert_int_equal(drain(h), 2);
	house_lose_board(h);
	assert_int_equal(standing_restore(h->board, h->store, &err), 0);
	/* what is known by now is better than what was kept */
	assert_true(fails(h, &p, 1, FAILURE_NO_CREDIT, 402));
	assert_int_equal(drain(h), 1);
	house_lose_board(h);
	assert_true(fails(h, &p, 1, FAILURE_KEY_INVALID, 401));
	assert_int_equal(standing_restore(h->board, h->store, &err), 0);
	assert_int_equal(stands(board_target(h->board, p.key[1].id)), TARGET_INVALID);
}

struct seen {
	int count;
	struct board_event e[64];
};

static bool
see(void *ctx, const struct board_event *e)
{
	struct seen *s = ctx;

	s->e[s->count++] = *e;
	return s->count < 64;
}

static bool
see_part(void *ctx, enum board_scope scope, const char *model, const struct standing *st)
{
	assert_int_equal(scope, SCOPE_KEY_MODEL);
	assert_string_equal(model, "m");
	assert_int_equal(st->state, TARGET_INVALID);
	++*(int *)ctx;
	return true;
}

static void
what_happened_can_be_read(void **state)
{
	struct house *h = *state;
	struct seen s = { 0 };
	struct board_target *t;
	struct pool p;
	int parts = 0;

	turnable(h);
	pool_make(&p, "");
	trouble(h, &p);
	assert_int_equal(drain(h), 5);
	WORKS(standing_history(h->store, p.key[3].id, see, &s, &err));
	assert_int_equal(s.count, 1);
	assert_int_equal(s.e[0].from, TARGET_AVAILABLE);
	assert_int_equal(s.e[0].to, TARGET_THROTTLED);
	assert_int_equal(s.e[0].cause, CAUSE_RATE_LIMIT);
	assert_int_equal(s.e[0].status, 429);
	assert_string_equal(s.e[0].evidence, "Rate limit reached");
	assert_true(s.e[0].until_ms > board_now_ms(h->board) + 4 * MINUTE);
	WORKS(standing_parts(h->board, h->store, p.key[2].id, see_part, &parts, &err));
	assert_int_equal(parts, 1);
	WORKS(standing_parts(h->board, h->store, p.key[3].id, see_part, &parts, &err));
	assert_int_equal(parts, 1);
	/* the last ones, as many as fit, newest first */
	t = board_target(h->board, p.key[3].id);
	for (int i = 0; i < 50; i++) {
		wait_out(h, t);
		assert_true(attempt(h, &p, 3,
			&(struct route_outcome){ .failure = FAILURE_RATE_LIMITED,
				.status = 400 + i,
				.counts = true,
				.evidence = SPAN_LIT("x") }));
		assert_int_equal(drain(h), 1);
	}
	s.count = 0;
	WORKS(standing_history(h->store, p.key[3].id, see, &s, &err));
	assert_int_equal(s.count, STANDING_KEPT);
	for (int i = 0; i < s.count; i++) {
		assert_int_equal(s.e[i].status, 449 - i);
		assert_int_equal(s.e[i].kind, EVENT_REST);
	}
	s.count = 0;
	WORKS(standing_history(h->store, id_random(), see, &s, &err));
	assert_int_equal(s.count, 0);
}

static void
a_person_may_do_what_is_legal(void **state)
{
	struct house *h = *state;
	struct board_target *t;
	struct seen s = { 0 };
	struct pool p;
	struct id id;

	turnable(h);
	pool_make(&p, "");
	id = p.key[0].id;
	t = board_target(h->board, id);
	assert_int_equal(standing_retry(h->board, id, SPAN_NONE, &err), 0);
	assert_true(fails(h, &p, 0, FAILURE_NO_CREDIT, 402));
	assert_false(works(h, &p, 0));
	/* now: the next request finds out, alone */
	assert_int_equal(standing_retry(h->board, id, SPAN_NONE, &err), 1);
	assert_int_equal(standing_may(h->board, t, board_now_ms(h->board)), STANDING_DUE);
	assert_true(fails(h, &p, 0, FAILURE_NO_CREDIT, 402));
	assert_true(rest_of(h, t) > 29 * MINUTE);

	REFUSED(standing_set(h->board, id, TARGET_AVAILABLE, "", &err), ERR_CONFLICT);
	assert_non_null(strstr(err.says, "recovering, disabled, invalid"));
	assert_int_equal(standing_set(h->board, id, TARGET_EXHAUSTED, "", &err), 0);
	assert_int_equal(standing_set(h->board, id, TARGET_DISABLED, "holiday", &err), 1);
	assert_int_equal(standing_set(h->board, id, TARGET_DISABLED, "", &err), 0);
	REFUSED(standing_retry(h->board, id, SPAN_NONE, &err), ERR_CONFLICT);
	/* at once, over all processes, whatever their snapshots say, and whatever still comes in */
	ahead_ms += 2 * HOUR;
	assert_false(works(h, &p, 0));
	assert_int_equal(standing_set(h->board, id, TARGET_AVAILABLE, "back", &err), 1);
	assert_true(works(h, &p, 0));

	assert_true(fails(h, &p, 0, FAILURE_KEY_INVALID, 401));
	assert_true(standing_renew(h->board, id, "its secret is a new one"));
	assert_false(standing_renew(h->board, id, "its secret is a new one"));
	assert_int_equal(stands(t), TARGET_AVAILABLE);
	assert_true(works(h, &p, 0));
	(void)drain(h);
	WORKS(standing_history(h->store, id, see, &s, &err));
	for (int i = 0; i < s.count; i++)
		if (s.e[i].kind == EVENT_STATE && !standing_is_legal((enum target_state)s.e[i].from,
							  (enum target_state)s.e[i].to))
			fail_msg("%s -> %s", standing_state_name(s.e[i].from),
				standing_state_name(s.e[i].to));
	assert_string_equal(s.e[0].evidence, "its secret is a new one");
	assert_int_equal(s.e[0].cause, CAUSE_PERSON);

	/* an open breaker too, and that is told */
	for (int i = 0; i < 5; i++)
		assert_true(fails(h, &p, 2, FAILURE_TRANSIENT, 500));
	assert_false(works(h, &p, 2));
	assert_true(standing_renew(h->board, p.key[2].id, "enabled"));
	assert_int_equal(board_target(h->board, p.key[2].id)->rest_until_ms, 0);
	(void)drain(h);
	s.count = 0;
	WORKS(standing_history(h->store, p.key[2].id, see, &s, &err));
	assert_int_equal(s.count, 2);
	assert_int_equal(s.e[0].kind, EVENT_BREAKER);
	assert_int_equal(s.e[0].to, STANDING_CLOSED);
	house_lose_board(h);
	assert_int_equal(standing_restore(h->board, h->store, &err), 0);
	assert_int_equal(board_target(h->board, p.key[2].id)->rest_until_ms, 0);

	/* whether one is disabled its record says, not what was kept */
	assert_int_equal(standing_set(h->board, p.key[4].id, TARGET_DISABLED, "holiday", &err), 1);
	(void)drain(h);
	house_lose_board(h);
	assert_int_equal(standing_restore(h->board, h->store, &err), 0);
	assert_true(works(h, &p, 4));

	/* what is forced is told of the upstream */
	p.u.breaker_forced = BREAKER_FORCED_OPEN;
	standing_force(h->board, &p.u, BREAKER_AUTO);
	standing_force(h->board, &p.u, BREAKER_FORCED_OPEN); /* as it was */
	p.u.breaker_forced = BREAKER_AUTO;
	standing_force(h->board, &p.u, BREAKER_FORCED_OPEN);
	(void)drain(h);
	s.count = 0;
	WORKS(standing_history(h->store, p.u.head.id, see, &s, &err));
	assert_int_equal(s.count, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(s.e[i].scope, SCOPE_UPSTREAM);
		assert_int_equal(s.e[i].from, i == 0 ? STANDING_FORCED_OPEN : STANDING_CLOSED);
		assert_int_equal(s.e[i].to, i == 0 ? STANDING_CLOSED : STANDING_FORCED_OPEN);
		assert_int_equal(s.e[i].cause, CAUSE_PERSON);
	}

	/* at one model */
	assert_true(fails(h, &p, 1, FAILURE_MODEL, 403));
	assert_int_equal(standing_retry(h->board, p.key[1].id, span_of("m"), &err), 1);
	assert_true(works(h, &p, 1));
	assert_int_equal(standing_retry(h->board, p.key[1].id, span_of("never asked"), &err), 0);
}

static void
health_checks_count_as_calls(void **state)
{
	struct house *h = *state;
	struct board_target *t;
	struct pool p;

	turnable(h);
	pool_make(&p, "");
	t = board_target(h->board, p.u.head.id);
	for (int i = 0; i < 5; i++)
		standing_health(h->board, &p.u, false, 503, SPAN_LIT("down"), &rests);
	assert_int_equal(t->breaker, 1);
	standing_health(h->board, &p.u, true, 200, SPAN_NONE, &rests);
	assert_int_equal(t->breaker, 1); /* it is not time yet */
	wait_out(h, t);
	standing_health(h->board, &p.u, true, 200, SPAN_NONE, &rests);
	assert_int_equal(t->breaker, 0);
	assert_int_equal(t->rest_until_ms, 0);
	assert_int_equal(t->prober, 0);
}

static void
attempts_of_the_dead_are_counted_off(void **state)
{
	struct house *h = *state;
	struct standing_recount *r = standing_recount_new();
	struct route_candidate c[6];
	struct pool p;

	pool_make(&p, "");
	assert_non_null(r);
	for (int i = 0; i < 6; i++) {
		c[i] = candidate(h, &p, i / 2, "m");
		assert_true(route_begin(h->board, &c[i], true));
	}
	/* 4 of them run; one of those that end does so while it is counted */
	for (int round = 0; round < 4; round++) {
		standing_recount_begin(r);
		for (int i = 0; i < 4; i++) {
			standing_recount_add(r, p.u.head.id);
			standing_recount_add(r, p.key[i / 2].id);
		}
		standing_recount_add(r, ID_NONE);
		assert_int_equal(standing_recount_end(h->board, r), round < 3 ? 0 : 2);
	}
	assert_int_equal(c[0].target_upstream->inflight, 4);
	assert_int_equal(c[4].target_key->inflight, 0);
	assert_int_equal(c[0].target_key->inflight, 2);
	/* those who come and go are none of them */
	for (int round = 0; round < 8; round++) {
		standing_recount_begin(r);
		for (int i = 0; i < 4 + round % 2; i++)
			standing_recount_add(r, p.u.head.id);
		for (int i = 0; i < 4; i++)
			standing_recount_add(r, p.key[i / 2].id);
		assert_int_equal(standing_recount_end(h->board, r), 0);
	}
	assert_int_equal(c[0].target_upstream->inflight, 4);
	standing_recount_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_that_ends_loses_a_rest),
		TEST(who_is_well_again_is_not_put_to_rest),
		TEST(what_happened_can_be_read),
		TEST(a_person_may_do_what_is_legal),
		TEST(health_checks_count_as_calls),
		TEST(attempts_of_the_dead_are_counted_off),
	};

	return cmocka_run_group_tests_name("route/standing_keep", tests, NULL, NULL);
}
