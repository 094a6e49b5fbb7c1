/* standing_test.c - every outcome puts the right one to rest, for as long as its evidence says, and
 * whoever rests comes back by himself. */
#include "standing_fixture.h"

#include "route/forecast.h"

static void
transitions_are_those_of_the_table(void **state)
{
	static const char *const want[TARGET__STATES] = {
		/* to: available throttled exhausted recovering disabled invalid */
		[TARGET_AVAILABLE] = "=yy-yy",
		[TARGET_THROTTLED] = "y=yyyy",
		[TARGET_EXHAUSTED] = "--=yyy",
		[TARGET_RECOVERING] = "yyy=yy",
		[TARGET_DISABLED] = "y---=y",
		[TARGET_INVALID] = "---yy=",
	};

	(void)state;
	for (int from = 0; from < TARGET__STATES; from++)
		for (int to = 0; to < TARGET__STATES; to++)
			if (standing_is_legal((enum target_state)from, (enum target_state)to) !=
				(want[from][to] != '-'))
				fail_msg("%s -> %s", standing_state_name((enum target_state)from),
					standing_state_name((enum target_state)to));
}

static void
the_evidence_says_who_rests_in_which_state(void **state)
{
	static const struct {
		const char *why;
		struct route_outcome o;
		enum board_scope scope; /* SCOPE__COUNT: nobody */
		enum target_state want;
		enum target_cause cause;
		int64_t want_ms, stated_ms;
	} cases[] = {
		{ "401: the key", { .failure = FAILURE_KEY_INVALID, .status = 401 }, SCOPE_KEY,
			TARGET_INVALID, CAUSE_INVALID, 5 * MINUTE, 0 },
		{ "402: the key", { .failure = FAILURE_NO_CREDIT, .status = 402 }, SCOPE_KEY,
			TARGET_EXHAUSTED, CAUSE_NO_CREDIT, 15 * MINUTE, 0 },
		{ "402 of the account",
			{ .failure = FAILURE_NO_CREDIT, .status = 402, .is_account = true },
			SCOPE_ACCOUNT, TARGET_EXHAUSTED, CAUSE_NO_CREDIT, 15 * MINUTE, 0 },
		{ "403 that names the model", { .failure = FAILURE_MODEL, .status = 403 },
			SCOPE_KEY_MODEL, TARGET_INVALID, CAUSE_MODEL, 5 * MINUTE, 0 },
		{ "429 without a time: the ladder",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429 }, SCOPE_KEY,
			TARGET_THROTTLED, CAUSE_RATE_LIMIT, 10 * SECOND, 0 },
		{ "429 until: exactly that", { .failure = FAILURE_RATE_LIMITED, .status = 429 },
			SCOPE_KEY, TARGET_THROTTLED, CAUSE_RATE_LIMIT, 7 * SECOND, 7 * SECOND },
		{ "429 whose reset is over states none",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429 }, SCOPE_KEY,
			TARGET_THROTTLED, CAUSE_RATE_LIMIT, 10 * SECOND, -5 * SECOND },
		{ "429 until tomorrow: the first cap",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429 }, SCOPE_KEY,
			TARGET_THROTTLED, CAUSE_RATE_LIMIT, 15 * MINUTE, 20 * HOUR },
		{ "429 of one model",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429, .is_model = true },
			SCOPE_KEY_MODEL, TARGET_THROTTLED, CAUSE_RATE_LIMIT, 10 * SECOND, 0 },
		{ "429 of the account",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429, .is_account = true },
			SCOPE_ACCOUNT, TARGET_THROTTLED, CAUSE_RATE_LIMIT, 10 * SECOND, 0 },
		{ "429 of our address: all keys of the upstream",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429, .is_address = true },
			SCOPE_UPSTREAM, TARGET_THROTTLED, CAUSE_RATE_LIMIT, 10 * SECOND, 0 },
		{ "a quota of a day",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429, .is_quota = true },
			SCOPE_KEY, TARGET_EXHAUSTED, CAUSE_QUOTA, 15 * MINUTE, 9 * HOUR },
		{ "529 once is chance", { .failure = FAILURE_OVERLOADED, .status = 529 },
			SCOPE__COUNT, TARGET_AVAILABLE, CAUSE_NONE, 0, 0 },
		{ "so is a broken connection", { .failure = FAILURE_TRANSIENT }, SCOPE__COUNT,
			TARGET_AVAILABLE, CAUSE_NONE, 0, 0 },
		{ "the request's own fault", { .failure = FAILURE_REQUEST, .status = 400 },
			SCOPE__COUNT, TARGET_AVAILABLE, CAUSE_NONE, 0, 0 },
		{ "a failure rule's time",
			{ .failure = FAILURE_RATE_LIMITED, .status = 429, .rest_ms = 77 * SECOND },
			SCOPE_KEY, TARGET_THROTTLED, CAUSE_RATE_LIMIT, 77 * SECOND, 7 * SECOND },
		{ "a rule over the request's fault",
			{ .failure = FAILURE_REQUEST, .status = 400, .rest_ms = 5 * SECOND },
			SCOPE_KEY, TARGET_THROTTLED, CAUSE_FAILURES, 5 * SECOND, 0 },
		{ "a rule by which nothing rests",
			{ .failure = FAILURE_KEY_INVALID, .status = 401, .rest_ms = -1 },
			SCOPE__COUNT, TARGET_AVAILABLE, CAUSE_NONE, 0, 0 },
	};
	struct house *h = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct route_outcome o = cases[i].o;
		struct pool p;
		struct route_candidate c;

		pool_make(&p, "account");
		(void)snprintf(p.u.group, sizeof p.u.group, "account %zu", i);
		c = candidate(h, &p, 0, "m");
		o.counts = true;
		if (cases[i].stated_ms != 0)
			o.until_ms = clock_wall_ms() + cases[i].stated_ms;
		assert_true(attempt(h, &p, 0, &o));
		for (enum board_scope s = 0; s < SCOPE__COUNT; s++) {
			struct board_target *of[] = { c.target_key, c.target_key_model,
				c.target_upstream, c.target_upstream_model, c.target_group };
			struct standing st;
			bool is = s == cases[i].scope;
			int64_t want_ms = is ? cases[i].want_ms : 0, got = rest_of(h, of[s]);

			standing_state(h->board, of[s], true, BREAKER_AUTO, &st);
			if (st.state != (is ? cases[i].want : TARGET_AVAILABLE) ||
				(is && st.cause != cases[i].cause) || (is && st.status != o.status))
				fail_msg("%s: scope %d: %s by %s, status %d", cases[i].why, (int)s,
					standing_state_name(st.state),
					standing_cause_name(st.cause), st.status);
			if (got > want_ms + 100 || got < want_ms - 2000)
				fail_msg("%s: scope %d rests %lld ms", cases[i].why, (int)s,
					(long long)got);
			assert_int_equal(st.inflight, 0);
		}
		if (route_goes_on(o.failure) !=
			(o.failure != FAILURE_NONE && o.failure != FAILURE_REQUEST))
			fail_msg("%s: the next one", cases[i].why);
	}
}

static void
rests_grow_with_each_probe_in_vain(void **state)
{
	static const struct {
		const char *why;
		enum failure failure;
		int64_t stated_ms; /* each time, from the first failure on; 0: never */
		bool only_first;
		int64_t want_ms[7];
	} cases[] = {
		{ "the ladder", FAILURE_RATE_LIMITED, 0, false,
			{ 10000, 30000, 60000, 120000, 120000, 120000, 120000 } },
		{ "no credit", FAILURE_NO_CREDIT, 0, false,
			{ 15 * MINUTE, 30 * MINUTE, HOUR, HOUR, HOUR, HOUR, HOUR } },
		{ "invalid", FAILURE_KEY_INVALID, 0, false,
			{ 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, HOUR, HOUR } },
		{ "a time far away is capped, and the cap grows", FAILURE_RATE_LIMITED, 24 * HOUR,
			false, { 15 * MINUTE, 30 * MINUTE, HOUR, HOUR, HOUR, HOUR, HOUR } },
		{ "nobody who says less shortens what was stated", FAILURE_RATE_LIMITED,
			100 * MINUTE, true,
			{ 15 * MINUTE, 30 * MINUTE, 55 * MINUTE, 120000, 120000, 120000, 120000 } },
	};
	struct house *h = *state;

	turnable(h);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct board_target *t;
		struct pool p;
		int64_t until = clock_wall_ms() + cases[i].stated_ms;

		pool_make(&p, "");
		t = board_target(h->board, p.key[0].id);
		for (int n = 0; n < 7; n++) {
			struct route_outcome o = {
				.failure = cases[i].failure, .status = 429, .counts = true
			};
			int64_t got;

			if (cases[i].stated_ms != 0 && (n == 0 || !cases[i].only_first))
				o.until_ms = until;
			wait_out(h, t);
			if (!attempt(h, &p, 0, &o))
				fail_msg("%s: probe %d was not let through", cases[i].why, n);
			got = rest_of(h, t);
			if (got > cases[i].want_ms[n] + 100 || got < cases[i].want_ms[n] - 3000)
				fail_msg("%s: rest %d is %lld ms", cases[i].why, n, (long long)got);
			assert_false(works(h, &p, 0)); /* nobody asks meanwhile */
		}
		/* one success, and the ladder begins anew */
		wait_out(h, t);
		assert_true(works(h, &p, 0));
		assert_int_equal(t->rest_until_ms, 0);
		assert_int_equal(t->rests, 0);
		assert_int_equal(t->stated_ms, 0);
	}
}

static void
what_was_in_flight_before_changes_no_rest(void **state)
{
	struct house *h = *state;
	struct pool p;
	struct route_candidate c[8];
	struct board_target *t;
	const struct route_outcome limited = {
		.failure = FAILURE_RATE_LIMITED, .status = 429, .counts = true
	};
	struct route_outcome o = limited;

	turnable(h);
	pool_make(&p, "");
	t = board_target(h->board, p.key[0].id);
	for (int i = 0; i < 8; i++) {
		c[i] = candidate(h, &p, 0, "m");
		assert_true(route_begin(h->board, &c[i], true));
	}
	assert_int_equal(t->inflight, 8);
	for (int i = 0; i < 4; i++)
		route_report(h->board, &c[i], &limited, &rests);
	assert_int_equal(t->rests, 1);
	assert_true(rest_of(h, t) <= 10 * SECOND);
	/* a success of before says nothing of now */
	route_report(h->board, &c[4],
		&(struct route_outcome){ .failure = FAILURE_NONE, .status = 200, .counts = true },
		&rests);
	assert_true(rest_of(h, t) > 8 * SECOND);
	/* a later time is news */
	o.until_ms = clock_wall_ms() + 5 * MINUTE;
	route_report(h->board, &c[5], &o, &rests);
	assert_true(rest_of(h, t) > 4 * MINUTE);
	assert_int_equal(t->rests, 1);
	/* and so is what is worse; what is better is not */
	o = (struct route_outcome){ .failure = FAILURE_NO_CREDIT, .status = 402, .counts = true };
	route_report(h->board, &c[6], &o, &rests);
	assert_int_equal(stands(t), TARGET_EXHAUSTED);
	route_report(h->board, &c[7], &limited, &rests);
	assert_int_equal(stands(t), TARGET_EXHAUSTED);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(t->prober, 0);
}

static void
who_is_back_climbs(void **state)
{
	static const int64_t want[] = { 100000, 200000, 400000, 800000, 0 };
	static const struct {
		const char *why;
		enum failure failure;
	} cases[] = { { "throttled", FAILURE_RATE_LIMITED }, { "exhausted", FAILURE_NO_CREDIT },
		{ "invalid", FAILURE_KEY_INVALID } };
	struct house *h = *state;

	turnable(h);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct board_target *t;
		struct pool p;

		pool_make(&p, "");
		t = board_target(h->board, p.key[0].id);
		assert_true(fails(h, &p, 0, cases[i].failure, 429));
		wait_out(h, t);
		for (int n = 0; n < 5; n++) {
			assert_true(works(h, &p, 0));
			if (t->share_ppm != want[n] ||
				stands(t) != (n < 4 ? TARGET_RECOVERING : TARGET_AVAILABLE))
				fail_msg("%s: success %d: share %lld", cases[i].why, n,
					(long long)t->share_ppm);
		}
		/* one that climbs too fast rests again */
		assert_true(fails(h, &p, 0, FAILURE_RATE_LIMITED, 429));
		wait_out(h, t);
		assert_true(works(h, &p, 0));
		assert_int_equal(stands(t), TARGET_RECOVERING);
		assert_true(fails(h, &p, 0, FAILURE_RATE_LIMITED, 429));
		assert_int_equal(stands(t), TARGET_THROTTLED);
		assert_int_equal(t->share_ppm, 0);
		/* without a ramp it is there at once */
		p.u.ramp_percent = 100;
		wait_out(h, t);
		assert_true(works(h, &p, 0));
		assert_int_equal(stands(t), TARGET_AVAILABLE);
		assert_int_equal(t->share_ppm, 0);
	}
}

static void
a_better_answer_leads_through_recovering(void **state)
{
	struct house *h = *state;
	struct board_event e;
	struct pool p;
	struct board_target *t;
	int64_t lost = 0;
	static const enum target_state want[][2] = { { TARGET_AVAILABLE, TARGET_INVALID },
		{ TARGET_INVALID, TARGET_RECOVERING }, { TARGET_RECOVERING, TARGET_THROTTLED } };

	turnable(h);
	pool_make(&p, "");
	t = board_target(h->board, p.key[0].id);
	assert_true(attempt(h, &p, 0,
		&(struct route_outcome){ .failure = FAILURE_KEY_INVALID,
			.status = 401,
			.counts = true,
			.evidence = SPAN_LIT("Incorrect API key\nprovided") }));
	wait_out(h, t);
	assert_true(fails(h, &p, 0, FAILURE_RATE_LIMITED, 429));
	assert_int_equal(stands(t), TARGET_THROTTLED);
	assert_true(board_events_read(h->board));
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(board_events_next(h->board, &e, &lost), 1);
		assert_int_equal(e.number, i + 1);
		assert_int_equal(e.kind, EVENT_STATE);
		assert_int_equal(e.from, want[i][0]);
		assert_int_equal(e.to, want[i][1]);
		assert_true(id_equal(e.record, p.key[0].id));
		if (i == 0)
			assert_string_equal(e.evidence, "Incorrect API key provided");
		board_events_done(h->board, &e);
	}
	assert_int_equal(board_events_next(h->board, &e, &lost), 0);
	assert_int_equal(lost, 0);
	board_events_leave(h->board);
}

/* ---- breakers ---- */

static void
breakers_are_those_of_the_four_systems(void **state)
{
	static const struct {
		const char *why;
		int64_t failures, window_s, open_s, successes;
		int64_t apart_ms; /* between failures */
		int opens_after;  /* 0: not within 12 */
	} cases[] = {
		{ "004: five in a row, 30 s", 5, 0, 30, 1, 0, 5 },
		{ "001: five in a row, 60 s", 5, 0, 60, 1, 0, 5 },
		{ "002: five, 300 s, two successes", 5, 0, 300, 2, 0, 5 },
		{ "003: five within 60 s", 5, 60, 300, 1, 5 * SECOND, 5 },
		{ "003: five, but slowly", 5, 60, 300, 1, 25 * SECOND, 0 },
		{ "none", 0, 0, 30, 1, 0, 0 },
		{ "one is enough", 1, 0, 10, 1, 0, 1 },
	};
	struct house *h = *state;

	turnable(h);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct board_target *t, *up;
		struct standing st;
		struct pool p;
		int n = 0, opened = 0;

		pool_make(&p, "");
		p.u.breaker_failures = cases[i].failures;
		p.u.breaker_window_s = cases[i].window_s;
		p.u.breaker_open_s = cases[i].open_s;
		p.u.breaker_successes = cases[i].successes;
		t = board_target(h->board, p.key[0].id);
		up = board_target(h->board, p.u.head.id);
		for (; n < 12 && opened == 0; n++, ahead_ms += cases[i].apart_ms) {
			assert_true(fails(h, &p, 0, FAILURE_TRANSIENT, 502));
			standing_state(h->board, up, true, BREAKER_AUTO, &st);
			opened = st.breaker == STANDING_OPEN ? n + 1 : 0;
		}
		if (opened != cases[i].opens_after)
			fail_msg("%s: opened after %d", cases[i].why, opened);
		if (opened == 0)
			continue;
		/* the only key and its upstream; both by name of the breaker, not of the state */
		assert_int_equal(stands(t), TARGET_AVAILABLE);
		assert_int_equal(t->breaker, 1);
		assert_int_equal(standing_reason(up, STANDING_RESTS), REASON_BREAKER);
		ahead_ms -= cases[i].apart_ms;
		assert_true(rest_of(h, up) > cases[i].open_s * SECOND - 2000);
		assert_true(rest_of(h, up) <= cases[i].open_s * SECOND);
		assert_false(works(h, &p, 0));
		/* half-open: a failure, and it is open for twice as long */
		wait_out(h, up);
		standing_state(h->board, up, true, BREAKER_AUTO, &st);
		assert_int_equal(st.breaker, STANDING_HALF_OPEN);
		assert_true(fails(h, &p, 0, FAILURE_TRANSIENT, 0));
		assert_true(rest_of(h, up) > 2 * cases[i].open_s * SECOND - 2000);
		assert_false(works(h, &p, 0));
		wait_out(h, up);
		for (int64_t s = 0; s < cases[i].successes; s++) {
			assert_int_equal(up->breaker, 2);
			assert_true(works(h, &p, 0));
		}
		if (up->breaker != 0 || up->rest_until_ms != 0 || t->breaker != 0)
			fail_msg("%s: does not close", cases[i].why);
		assert_int_equal(up->share_ppm, 100000); /* the ramp */
		/* it counts from nothing */
		if (cases[i].failures > 1)
			assert_true(fails(h, &p, 0, FAILURE_TRANSIENT, 502));
		assert_int_equal(up->breaker, 0);
	}
}

static void
half_open_waits_between_its_probes(void **state)
{
	struct house *h = *state;
	struct board_target *up;
	struct standing st;
	struct pool p;

	turnable(h);
	pool_make(&p, "");
	p.u.breaker_successes = 2;
	p.u.breaker_probe_s = 20;
	up = board_target(h->board, p.u.head.id);
	for (int i = 0; i < 5; i++)
		assert_true(fails(h, &p, 0, FAILURE_TRANSIENT, 500));
	wait_out(h, up);
	assert_true(works(h, &p, 0));
	standing_state(h->board, up, true, BREAKER_AUTO, &st);
	assert_int_equal(st.breaker, STANDING_HALF_OPEN);
	assert_true(rest_of(h, up) > 19 * SECOND);
	assert_false(works(h, &p, 0));
	wait_out(h, up);
	assert_true(works(h, &p, 0));
	assert_int_equal(up->breaker, 0);
	assert_int_equal(up->rest_until_ms, 0);
}

/* Whatever happens in whatever order: each step is one of the table's, begins where the last one ended,
 * and says why. */
static void
every_step_is_legal_and_told(void **state)
{
	static const enum failure some[] = { FAILURE_NONE, FAILURE_KEY_INVALID, FAILURE_NO_CREDIT,
		FAILURE_RATE_LIMITED, FAILURE_OVERLOADED, FAILURE_MODEL, FAILURE_TRANSIENT,
		FAILURE_REQUEST };
	struct house *h = *state;
	struct board_event e;
	struct pool p;
	enum target_state stood[KEYS] = { TARGET_AVAILABLE };
	unsigned n = 7, steps[TARGET__STATES] = { 0 };
	int64_t lost = 0;

	turnable(h);
	pool_make(&p, "");
	assert_true(board_events_read(h->board));
	for (int round = 0; round < 20000; round++) {
		int key, what;

		n = n * 1103515245 + 12345;
		key = (int)(n >> 16) % 5;
		what = (int)(n >> 20) % 40;
		ahead_ms += (int64_t)(n >> 12 & 0xfff) * 8;
		if (what < 32)
			(void)attempt(h, &p, key,
				&(struct route_outcome){ .failure = some[what % 8],
					.status = 200 + what,
					.counts = true,
					.is_quota = what >= 16,
					.evidence = SPAN_LIT("words") });
		else if (what < 36)
			(void)standing_set(h->board, p.key[key].id,
				(enum target_state)(what % TARGET__STATES), "by hand", &err);
		else if (what < 38)
			(void)standing_retry(h->board, p.key[key].id, SPAN_NONE, &err);
		else
			(void)standing_renew(h->board, p.key[key].id, "enabled");
		while (board_events_next(h->board, &e, &lost) == 1) {
			board_events_done(h->board, &e);
			if (e.scope != SCOPE_KEY || e.kind != EVENT_STATE)
				continue;
			for (int k = 0; k < 5; k++) {
				if (!id_equal(e.record, p.key[k].id))
					continue;
				if (e.from != stood[k] || e.from == e.to || e.cause == CAUSE_NONE ||
					(e.status == 0 && e.evidence[0] == '\0') ||
					!standing_is_legal(
						(enum target_state)e.from, (enum target_state)e.to))
					fail_msg("round %d: from %s, which was %s, to %s by %s, "
						 "status %d",
						round, standing_state_name(e.from),
						standing_state_name(stood[k]),
						standing_state_name(e.to),
						standing_cause_name(e.cause), e.status);
				stood[k] = (enum target_state)e.to;
				steps[e.to]++;
			}
		}
		for (int k = 0; k < 5; k++)
			assert_int_equal(stands(board_target(h->board, p.key[k].id)), stood[k]);
	}
	assert_int_equal(lost, 0);
	for (int s = 0; s < TARGET__STATES; s++)
		assert_in_range(steps[s], 50, 1000000);
	board_events_leave(h->board);
}

static void
a_success_between_begins_the_count_anew(void **state)
{
	struct house *h = *state;
	struct pool p;

	turnable(h);
	pool_make(&p, "");
	for (int i = 0; i < 10; i++) {
		for (int n = 0; n < 4; n++)
			assert_true(fails(h, &p, 0, FAILURE_TRANSIENT, 500));
		/* the request's fault is an answer too */
		assert_true(fails(h, &p, 0, i % 2 == 0 ? FAILURE_NONE : FAILURE_REQUEST, 400));
	}
	assert_int_equal(board_target(h->board, p.key[0].id)->breaker, 0);
	/* what failure rules do not count does not */
	for (int n = 0; n < 20; n++)
		assert_true(attempt(h, &p, 0,
			&(struct route_outcome){ .failure = FAILURE_TRANSIENT, .status = 500 }));
	/* timeouts are for the client, but they are failures of who was asked */
	for (int n = 0; n < 5; n++)
		assert_true(attempt(h, &p, 0,
			&(struct route_outcome){
				.failure = FAILURE_REQUEST, .is_timeout = true, .counts = true }));
	assert_int_equal(board_target(h->board, p.key[0].id)->breaker, 1);
}

static void
bad_keys_close_no_upstream(void **state)
{
	struct house *h = *state;
	struct board_target *up, *at_model;
	struct pool p;

	for (int window_s = 0; window_s <= 60; window_s += 60) {
		turnable(h);
		pool_make(&p, window_s == 0 ? "account" : "another");
		p.u.breaker_window_s = window_s;
		up = board_target(h->board, p.u.head.id);
		at_model = board_target(h->board, board_target_part(p.u.head.id, "model", "m", 1));
		for (int i = 0; i < KEYS; i++)
			assert_true(works(h, &p, i));
		/* 14 of them, one behind the other: broken ones, and overloaded ones with a time */
		for (int round = 0; round < 30; round++) {
			for (int i = 0; i < 14; i++)
				(void)attempt(h, &p, i,
					&(struct route_outcome){ .counts = true,
						.failure = i % 2 ? FAILURE_TRANSIENT
								 : FAILURE_OVERLOADED,
						.status = i % 2 ? 500 : 529,
						.until_ms = i % 2 ? 0 : clock_wall_ms() + 60000 });
			assert_true(works(h, &p, 20 + round));
		}
		assert_int_equal(up->breaker, 0);
		assert_int_equal(at_model->rest_until_ms, 0);
		/* the broken ones' own breakers are open */
		assert_int_equal(board_target(h->board, p.key[1].id)->breaker, 1);
		assert_int_equal(board_target(h->board, p.key[0].id)->breaker, 0);
		/* all of them: now it is the upstream, and its account */
		for (int i = 0; i < KEYS; i++)
			(void)fails(h, &p, i, FAILURE_TRANSIENT, 503);
		assert_int_equal(up->breaker, 1);
		assert_int_equal(
			board_target(h->board, board_target_part(ID_NONE, "group", p.u.group, 7))
				->breaker,
			1);
		assert_false(works(h, &p, 40));
	}
}

static void
an_overloaded_model_rests_and_its_keys_do_not(void **state)
{
	struct house *h = *state;
	struct board_target *at_model;
	struct route_candidate other;
	struct pool p;

	turnable(h);
	pool_make(&p, "");
	at_model = board_target(h->board, board_target_part(p.u.head.id, "model", "m", 1));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(at_model->rest_until_ms, 0);
		assert_true(fails(h, &p, i, FAILURE_OVERLOADED, 529));
	}
	assert_true(rest_of(h, at_model) > 8 * SECOND);
	assert_int_equal(stands(at_model), TARGET_THROTTLED);
	assert_false(works(h, &p, 4));
	for (int i = 0; i < 3; i++)
		assert_int_equal(board_target(h->board, p.key[i].id)->rest_until_ms, 0);
	other = candidate(h, &p, 0, "another model");
	assert_true(route_begin(h->board, &other, true));
	route_release(h->board, &other);
	/* one is asked when its time has come; still overloaded: longer */
	wait_out(h, at_model);
	assert_true(fails(h, &p, 5, FAILURE_OVERLOADED, 529));
	assert_true(rest_of(h, at_model) > 28 * SECOND);
	wait_out(h, at_model);
	/* a key that is refused has reached it all the same */
	assert_true(fails(h, &p, 6, FAILURE_KEY_INVALID, 401));
	assert_int_equal(at_model->rest_until_ms, 0);
}

static void
a_forced_breaker_does_as_it_is_told(void **state)
{
	struct house *h = *state;
	struct board_target *up;
	struct pool p;
	int64_t now_ms;

	turnable(h);
	pool_make(&p, "");
	up = board_target(h->board, p.u.head.id);
	now_ms = board_now_ms(h->board);
	p.u.breaker_forced = BREAKER_FORCED_OPEN;
	assert_int_equal(standing_may_through(h->board, &p.u, up, now_ms), STANDING_RESTS);
	assert_int_equal(standing_reason(up, STANDING_RESTS), REASON_BREAKER);
	assert_false(works(h, &p, 0));
	p.u.breaker_forced = BREAKER_AUTO;
	for (int i = 0; i < 5; i++)
		assert_true(fails(h, &p, i, FAILURE_TRANSIENT, 500));
	assert_false(works(h, &p, 9));
	p.u.breaker_forced = BREAKER_FORCED_CLOSED;
	assert_true(works(h, &p, 9));
	/* no breaker of its keys or its account holds anybody up either; what rests for cause still does */
	for (int i = 0; i < 5; i++)
		(void)fails(h, &p, 8, FAILURE_TRANSIENT, 500);
	assert_true(rest_of(h, board_target(h->board, p.key[8].id)) > 0);
	assert_true(works(h, &p, 8));
	assert_true(fails(h, &p, 7, FAILURE_RATE_LIMITED, 429));
	assert_false(works(h, &p, 7));
	p.u.breaker_forced = BREAKER_AUTO;
	assert_false(works(h, &p, 8));
	assert_int_equal(board_target(h->board, p.u.head.id)->inflight, 0);
}

static void
nobody_has_more_calls_than_he_may(void **state)
{
	struct house *h = *state;
	struct route_candidate a, b, c;
	struct pool p;

	turnable(h);
	pool_make(&p, "");
	p.u.max_parallel = 2;
	p.key[0].max_parallel = 1;
	a = candidate(h, &p, 0, "m");
	b = candidate(h, &p, 0, "m");
	assert_true(route_begin(h->board, &a, true));
	assert_false(route_begin(h->board, &b, true));
	assert_int_equal(a.target_upstream->inflight, 1);
	b = candidate(h, &p, 1, "m");
	c = candidate(h, &p, 2, "m");
	assert_true(route_begin(h->board, &b, true));
	assert_false(route_begin(h->board, &c, true));
	route_release(h->board, &a);
	assert_true(route_begin(h->board, &c, true));
	route_release(h->board, &b);
	route_release(h->board, &c);
	assert_int_equal(a.target_upstream->inflight, 0);
}

/* ---- probes ---- */

static void
one_request_probes_and_gives_its_claim_back(void **state)
{
	struct house *h = *state;
	struct route_candidate a, b;
	struct board_target *t;
	struct pool p;

	turnable(h);
	pool_make(&p, "");
	t = board_target(h->board, p.key[0].id);
	assert_true(fails(h, &p, 0, FAILURE_RATE_LIMITED, 429));
	wait_out(h, t);
	a = candidate(h, &p, 0, "m");
	b = candidate(h, &p, 0, "m");
	assert_int_equal(standing_may(h->board, t, board_now_ms(h->board)), STANDING_DUE);
	assert_true(route_begin(h->board, &a, true));
	assert_true(a.is_probe);
	assert_int_equal(standing_may(h->board, t, board_now_ms(h->board)), STANDING_PROBED);
	assert_int_equal(standing_reason(t, STANDING_PROBED), REASON_PROBED);
	assert_false(route_begin(h->board, &b, true));
	/* its client left: another may find out */
	route_release(h->board, &a);
	assert_true(route_begin(h->board, &b, true));
	/* what says nothing of the key leaves it resting, for longer */
	route_report(h->board, &b,
		&(struct route_outcome){ .failure = FAILURE_TRANSIENT, .counts = true }, &rests);
	assert_true(rest_of(h, t) > 28 * SECOND);
	assert_int_equal(stands(t), TARGET_THROTTLED);
	assert_int_equal(t->prober, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transitions_are_those_of_the_table),
		TEST(the_evidence_says_who_rests_in_which_state),
		TEST(rests_grow_with_each_probe_in_vain),
		TEST(what_was_in_flight_before_changes_no_rest),
		TEST(who_is_back_climbs),
		TEST(a_better_answer_leads_through_recovering),
		TEST(breakers_are_those_of_the_four_systems),
		TEST(half_open_waits_between_its_probes),
		TEST(every_step_is_legal_and_told),
		TEST(a_success_between_begins_the_count_anew),
		TEST(bad_keys_close_no_upstream),
		TEST(an_overloaded_model_rests_and_its_keys_do_not),
		TEST(a_forced_breaker_does_as_it_is_told),
		TEST(nobody_has_more_calls_than_he_may),
		TEST(one_request_probes_and_gives_its_claim_back),
	};

	forecast_switch(false); /* what a refusal says of a quota is forecast_test's */
	return cmocka_run_group_tests_name("route/standing", tests, NULL, NULL);
}
