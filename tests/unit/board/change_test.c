/* What is done to counters and leases between admission and settlement: raised, told of, corrected, cut. */
#include "fixture.h"

/* ---- raise ---- */

static void
a_raise_takes_all_or_none(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[3] = { claim_on(1, 5, 10), claim_on(2, 1, 4), claim_on(3, 1, 4) };
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, c, 3, &lease, &v), BOARD_TAKEN);
	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ 5, 4 }, (int64_t[]){ 10, 4 }, 2, &v, &err), 0);
	assert_int_equal(v.outcome, BOARD_REFUSED);
	assert_int_equal(v.which, 1);
	assert_int_equal(v.reserved, 1);
	assert_use(b, 1, 0, 5);
	assert_use(b, 2, 0, 1);
	assert_int_equal(assert_whole(b), 1);

	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ 5, 3 }, (int64_t[]){ 10, 4 }, 2, &v, &err), 0);
	assert_int_equal(v.outcome, BOARD_TAKEN);
	assert_int_equal(v.used[0], 10);
	assert_int_equal(v.used[1], 4);
	assert_int_equal(v.used[2], 1);
	assert_int_equal(v.held[0], 10);
	assert_use(b, 1, 0, 10);
	assert_int_equal(assert_whole(b), 1);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 9, 2, 1 }, 3, 0, &err), 1);
	assert_use(b, 1, 9, 0);
	assert_use(b, 2, 2, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
who_raises_nothing_is_not_held_up(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[2] = { claim_on(1, 5, 10), claim_on(2, 1, UNCAPPED) };
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_TAKEN);
	/* The cap went down meanwhile. */
	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ 0, 2 }, (int64_t[]){ 1, 3 }, 2, &v, &err), 0);
	assert_int_equal(v.outcome, BOARD_TAKEN);
	assert_use(b, 1, 0, 5);
	assert_use(b, 2, 0, 3);
	board_close(b);
}

static void
a_raise_never_wraps_and_gives_back_what_it_took(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 5, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	for (int i = 0; i < 3; i++)
		assert_int_equal(board_raise(b, lease, (int64_t[]){ INT64_MAX - 7 },
					 (int64_t[]){ UNCAPPED }, 1, &v, &err),
			0);
	assert_use(b, 1, 0, INT64_MAX);
	assert_int_equal(board_raise(b, lease, (int64_t[]){ INT64_MAX },
				 (int64_t[]){ INT64_MAX - 1 }, 1, &v, &err),
		0);
	assert_int_equal(v.outcome, BOARD_REFUSED);
	assert_int_equal(assert_whole(b), 1);
	board_settle(b, lease, NULL, 0, 0, &err);
	assert_use(b, 1, 0, 0);
	board_close(b);
}

static void
a_raise_of_what_is_gone_takes_nothing(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 5, 10);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ -1 }, (int64_t[]){ 10 }, 1, &v, &err), -1);
	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ 1, 1 }, (int64_t[]){ 10, 1 }, 2, &v, &err), -1);
	assert_int_equal(err.code, ERR_INTERNAL);
	board_settle(b, lease, NULL, 0, 0, &err);
	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ 1 }, (int64_t[]){ 10 }, 1, &v, &err), 0);
	assert_int_equal(v.outcome, BOARD_TAKEN);
	assert_use(b, 1, 0, 0);
	board_close(b);
}

/* ---- what a verdict tells ---- */

static void
a_share_of_the_cap_is_told_of_once(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[2] = { claim_on(1, 10, 100), claim_on(2, 1, UNCAPPED) };
	struct board_lease lease;
	struct board_verdict v;
	/* The share of 50 is told of at 50, those of 80 and 90 together at 90. */
	static const uint8_t want[] = { 0, 0, 0, 0, 1, 0, 0, 0, 6, 0 };

	(void)state;
	c[0].warn[0] = 50;
	c[0].warn[1] = 85;
	c[0].warn[2] = 90;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_TAKEN);
		assert_int_equal(v.warned[0], want[i]);
		assert_int_equal(v.warned[1], 0);
		assert_int_equal(v.used[0], 10 * (i + 1));
		assert_int_equal(v.held[0], 10);
		assert_int_equal(board_settle(b, lease, (int64_t[]){ 10, 0 }, 2, 0, &err), 1);
	}
	/* A cap that grew has shares of its own. */
	c[0].cap = 200;
	c[0].warn[0] = 100;
	c[0].warn[1] = 110;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.warned[0], 3);
	board_close(b);
}

static void
what_was_refused_has_told_nothing(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[2] = { claim_on(1, 10, 100), claim_on(2, 1, 0) };
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	c[0].warn[0] = 5;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_REFUSED);
	assert_int_equal(admit(b, c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.warned[0], 1);
	/* Given back and reached again: told of already. */
	assert_int_equal(admit(b, c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.warned[0], 0);
	board_close(b);
}

/* ---- correct ---- */

static void
a_correction_stays_in_its_window(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 10, 100);
	struct board_lease lease;
	struct board_verdict v;
	static const struct {
		const char *why;
		int64_t at, add, want;
	} cases[] = {
		{ "more", FAR_START, 5, 15 },
		{ "less", FAR_START + 1, -6, 9 },
		{ "never below nothing", FAR_START, -10, 0 },
		{ "the last moment of the window", FAR_START + 999, 7, 7 },
		{ "after the window", FAR_START + 1000, 5, 7 },
		{ "before the window", FAR_START - 1, 5, 7 },
		{ "held at the end of the number", FAR_START, INT64_MAX, INT64_MAX },
		{ "as much less as there is", FAR_START, INT64_MIN, 0 },
	};

	(void)state;
	c.window_end_ms = FAR_START + 1000;
	assert_int_equal(board_correct(b, c.key, 0, FAR_START, 5, &err), 0);
	assert_use(b, 1, 0, 0);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 10 }, 1, 0, &err), 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t spent, reserved;

		assert_int_equal(board_correct(b, c.key, 0, cases[i].at, cases[i].add, &err), 0);
		board_peek(b, c.key, 0, &spent, &reserved);
		if (spent != cases[i].want)
			fail_msg("%s: %lld", cases[i].why, (long long)spent);
	}
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

/* ---- cut ---- */

static void
cut_it(struct board *b, void *ctx)
{
	if (board_cut(b, *(struct id *)ctx) != 1)
		_exit(1);
}

static void
a_cut_reaches_the_one_that_was_meant(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct id exchange[3] = { id_random(), id_random(), id_random() };
	struct board_lease lease[3], next;
	struct board_verdict v;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			board_admit(b, exchange[i], &c, 1, NULL, NULL, 0, &lease[i], &v, &err), 0);
	/* Another process asks. */
	wait_ok(child_runs(cut_it, &small, &exchange[1]));
	assert_false(board_is_cut(b, lease[0]));
	assert_true(board_is_cut(b, lease[1]));
	assert_false(board_is_cut(b, lease[2]));
	board_settle(b, lease[1], NULL, 0, 0, &err);
	assert_int_equal(board_cut(b, exchange[1]), 0);
	/* Its place goes to one that nobody wants to end. */
	assert_int_equal(admit(b, &c, 1, &next, &v), BOARD_TAKEN);
	assert_int_equal(next.index, lease[1].index);
	assert_false(board_is_cut(b, next));
	assert_int_equal(board_cut(b, id_random()), 0);
	assert_false(board_is_cut(b, (struct board_lease){ 0 }));
	assert_false(board_is_cut(b, (struct board_lease){ 1u << 30, 1 }));
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_raise_takes_all_or_none),
		TEST(who_raises_nothing_is_not_held_up),
		TEST(a_raise_never_wraps_and_gives_back_what_it_took),
		TEST(a_raise_of_what_is_gone_takes_nothing),
		TEST(a_share_of_the_cap_is_told_of_once),
		TEST(what_was_refused_has_told_nothing),
		TEST(a_correction_stays_in_its_window),
		TEST(a_cut_reaches_the_one_that_was_meant),
	};

	return cmocka_run_group_tests_name("board/change", tests, NULL, NULL);
}
