/* Rolling windows: what counts, until when, and what no clock can change. */
#include "fixture.h"
#include <sched.h>

#define SLICE  1000
#define LENGTH (BOARD_SLICES * SLICE)

static int64_t fake_wall, fake_boot;

static int64_t
wall(void)
{
	return fake_wall;
}

static int64_t
boot(void)
{
	return fake_boot;
}

static void
pass(int64_t ms)
{
	fake_wall += ms;
	fake_boot += ms;
}

/* A board whose time begins with a slice; `age` later it knows its windows whole. */
static struct board *
open_at(int64_t age)
{
	struct board_options o = small;
	struct board *b;

	fake_wall = 1000000 * (int64_t)LENGTH;
	fake_boot = 5000000;
	o.wall_ms = wall;
	o.boot_ms = boot;
	b = open_with(&o);
	pass(age);
	return b;
}

static struct board_claim
rolling_claim(uint64_t key, int64_t amount, int64_t cap)
{
	struct board_claim c = claim_on(key, amount, cap);

	c.rolling_ms = LENGTH;
	/* Not looked at. */
	c.window_start_ms = 0;
	c.window_end_ms = 1;
	return c;
}

static void
assert_ring(struct board *b, uint64_t key, int64_t spent, int64_t reserved)
{
	struct board_claim c = rolling_claim(key, 0, 0);
	int64_t s, r;

	assert_true(board_peek(b, c.key, LENGTH, &s, &r) >= 0);
	if (s != spent || r != reserved)
		fail_msg("ring %llu: spent %lld, reserved %lld; wanted %lld, %lld",
			(unsigned long long)key, (long long)s, (long long)r, (long long)spent,
			(long long)reserved);
}

static void
spend(struct board *b, uint64_t key, int64_t amount)
{
	struct board_claim c = rolling_claim(key, amount, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;

	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, lease, &amount, 1, 0, &err), 1);
}

static void
what_was_spent_counts_for_the_slice_and_sixty_more(void **state)
{
	struct board *b = open_at(2 * LENGTH);

	(void)state;
	pass(300);
	spend(b, 1, 5);
	pass(2 * SLICE);
	spend(b, 1, 7);
	assert_ring(b, 1, 12, 0);
	/* Slices 0 and 2 of this test; the window is the slice of now and sixty before. */
	pass(58 * SLICE + 699);
	assert_ring(b, 1, 12, 0);
	pass(1);
	assert_ring(b, 1, 7, 0);
	pass(2 * SLICE - 1);
	assert_ring(b, 1, 7, 0);
	pass(1);
	assert_ring(b, 1, 0, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
what_is_reserved_counts_at_once_and_for_ever(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c = rolling_claim(1, 6, 10);
	struct board_lease lease, next;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.used[0], 6);
	assert_int_equal(v.held[0], 6);
	pass(5 * LENGTH);
	assert_int_equal(admit(b, &c, 1, &next, &v), BOARD_REFUSED);
	assert_int_equal(v.spent, 0);
	assert_int_equal(v.reserved, 6);
	assert_int_equal(v.frees_ms, 0); /* not by age */
	/* Its slice has left long ago: what it spent was then. */
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 6 }, 1, 0, &err), 1);
	assert_ring(b, 1, 0, 0);
	assert_int_equal(admit(b, &c, 1, &next, &v), BOARD_TAKEN);
	assert_int_equal(assert_whole(b), 1);
	board_close(b);
}

static void
what_was_spent_belongs_to_the_slice_of_the_admission(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c = rolling_claim(1, 6, 100);
	struct board_lease lease, late;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, &c, 1, &late, &v), BOARD_TAKEN);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	pass(40 * SLICE);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 3 }, 1, 0, &err), 1);
	assert_ring(b, 1, 3, 6);
	pass(21 * SLICE);
	assert_ring(b, 1, 0, 6);
	/* The slice that now has the slot is not taken for the old one, nor overwritten. */
	spend(b, 1, 8);
	assert_int_equal(board_settle(b, late, (int64_t[]){ 3 }, 1, 0, &err), 1);
	assert_ring(b, 1, 8, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
a_refusal_says_when_it_fits_by_age_alone(void **state)
{
	static const struct {
		int64_t amount, slices; /* until it fits; 0: never by age */
	} cases[] = { { 1, 61 }, { 5, 61 }, { 6, 64 }, { 15, 64 }, { 16, 71 }, { 50, 71 },
		{ 51, 0 }, { 60, 0 } };
	struct board *b = open_at(2 * LENGTH);
	struct board_claim hold = rolling_claim(1, 10, UNCAPPED), c = rolling_claim(1, 0, 60);
	int64_t began;
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, &hold, 1, &lease, &v), BOARD_TAKEN);
	began = board_now_ms(b);
	spend(b, 1, 5);
	pass(3 * SLICE);
	spend(b, 1, 10);
	pass(7 * SLICE + 123);
	spend(b, 1, 35);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct board_lease none;
		int64_t want = cases[i].slices == 0 ? 0 : began + cases[i].slices * SLICE;

		c.amount = cases[i].amount;
		assert_int_equal(admit(b, &c, 1, &none, &v), BOARD_REFUSED);
		assert_int_equal(v.spent, 50);
		assert_int_equal(v.reserved, 10);
		if (v.frees_ms != want)
			fail_msg("%lld: frees %lld after, wanted %lld", (long long)c.amount,
				(long long)(v.frees_ms - began), (long long)(want - began));
	}
	/* And then it does, not a millisecond before. */
	c.amount = 6;
	pass(began + 64 * SLICE - board_now_ms(b) - 1);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_REFUSED);
	pass(1);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	board_close(b);
}

static void
a_young_board_wants_the_seed_of_a_rolling_window(void **state)
{
	struct board *b = open_at(0);
	struct board_claim c = rolling_claim(1, 1, 10);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_NEEDS_SEED);
	c.seeded = true;
	c.seed = 8;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.used[0], 9);
	assert_ring(b, 1, 8, 1);
	/* Spent one slice ago. */
	pass(59 * SLICE);
	assert_ring(b, 1, 8, 1);
	pass(SLICE);
	assert_ring(b, 1, 0, 1);
	/* A board that is older than the window knows it all. */
	c = rolling_claim(2, 1, 10);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(assert_whole(b), 2);
	board_close(b);
}

static void
amounts_near_the_end_never_wrap(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c = rolling_claim(1, 5, INT64_MAX - 1);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	spend(b, 1, INT64_MAX - 3);
	spend(b, 1, INT64_MAX - 3);
	pass(SLICE);
	spend(b, 1, INT64_MAX - 3);
	assert_ring(b, 1, INT64_MAX, 0);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_REFUSED);
	assert_true(v.frees_ms > board_now_ms(b));
	c.cap = UNCAPPED;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.used[0], INT64_MAX);
	c.rolling_ms = -1;
	assert_int_equal(admit(b, &c, 1, &lease, &v), -1);
	board_close(b);
}

static void
short_and_odd_windows_cover_their_length(void **state)
{
	static const int64_t length[] = { 1, 59, 60, 61, 1001, 7 * 86400000LL, 366 * 86400000LL };
	struct board *b = open_at(3 * 366 * 86400000LL);

	(void)state;
	for (size_t i = 0; i < sizeof length / sizeof length[0]; i++) {
		struct board_claim c = rolling_claim(i + 1, 3, 10);
		struct board_lease lease;
		struct board_verdict v;
		int64_t s, r, slice_ms = (length[i] + 59) / 60;

		c.rolling_ms = length[i];
		assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
		assert_int_equal(board_settle(b, lease, (int64_t[]){ 3 }, 1, 0, &err), 1);
		pass(length[i]);
		board_peek(b, c.key, length[i], &s, &r);
		assert_int_equal(s, 3);
		pass(61 * slice_ms - length[i]);
		board_peek(b, c.key, length[i], &s, &r);
		assert_int_equal(s, 0);
	}
	board_close(b);
}

/* A limit whose window was changed begins anew, and leases of the old one end in the old one. */
static void
two_lengths_of_one_key_are_two_counters(void **state)
{
	struct board *b = open_at(4 * LENGTH);
	struct board_claim c[3] = { rolling_claim(1, 1, 10), rolling_claim(1, 2, 10),
		claim_on(1, 3, 10) };
	struct board_lease lease;
	struct board_verdict v;
	int64_t s, r;

	(void)state;
	c[1].rolling_ms = 2 * LENGTH;
	assert_int_equal(admit(b, c, 3, &lease, &v), BOARD_TAKEN);
	assert_ring(b, 1, 0, 1);
	board_peek(b, c[1].key, 2 * LENGTH, &s, &r);
	assert_int_equal(r, 2);
	assert_use(b, 1, 0, 3);
	board_settle(b, lease, (int64_t[]){ 4, 5, 6 }, 3, 0, &err);
	assert_ring(b, 1, 4, 0);
	board_peek(b, c[1].key, 2 * LENGTH, &s, &r);
	assert_int_equal(s, 5);
	assert_use(b, 1, 6, 0);
	board_close(b);
}

static void
a_raise_sees_the_window(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c = rolling_claim(1, 1, 10);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	spend(b, 1, 8);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ 2 }, (int64_t[]){ 10 }, 1, &v, &err), 0);
	assert_int_equal(v.outcome, BOARD_REFUSED);
	assert_int_equal(v.spent, 8);
	assert_int_equal(v.frees_ms, board_now_ms(b) + 61 * SLICE);
	pass(61 * SLICE);
	assert_int_equal(
		board_raise(b, lease, (int64_t[]){ 2 }, (int64_t[]){ 10 }, 1, &v, &err), 0);
	assert_int_equal(v.outcome, BOARD_TAKEN);
	assert_int_equal(v.used[0], 3);
	assert_ring(b, 1, 0, 3);
	board_close(b);
}

static void
a_correction_finds_its_slice(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c = rolling_claim(1, 0, 0);
	int64_t began = board_now_ms(b);

	(void)state;
	spend(b, 1, 10);
	pass(10 * SLICE);
	spend(b, 1, 10);
	assert_int_equal(board_correct(b, c.key, LENGTH, began, 5, &err), 0);
	assert_int_equal(board_correct(b, c.key, LENGTH, began + 5 * SLICE, 1, &err), 0);
	assert_ring(b, 1, 26, 0);
	/* Not in the window yet, not any more, and nowhere. */
	assert_int_equal(board_correct(b, c.key, LENGTH, began + 11 * SLICE, 7, &err), 0);
	assert_int_equal(board_correct(b, c.key, LENGTH, began - 51 * SLICE, 7, &err), 0);
	assert_int_equal(board_correct(b, c.key, LENGTH, -1, 7, &err), 0);
	assert_int_equal(board_correct(b, c.key, 2 * LENGTH, began, 7, &err), 0);
	assert_ring(b, 1, 26, 0);
	/* Its slice pays first, then the newest. */
	assert_int_equal(board_correct(b, c.key, LENGTH, began, -17, &err), 0);
	assert_ring(b, 1, 9, 0);
	pass(51 * SLICE);
	assert_ring(b, 1, 9, 0);
	assert_int_equal(board_correct(b, c.key, LENGTH, board_now_ms(b), INT64_MIN, &err), 0);
	assert_ring(b, 1, 0, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
a_share_is_told_of_once_in_a_window(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c = rolling_claim(1, 10, 1000);
	struct board_lease lease;
	struct board_verdict v;
	int told[2] = { 0, 0 };

	(void)state;
	c.warn[0] = 50;
	c.warn[2] = 80;
	/* Up to 100 a window, four windows long: never below a share once it is above. */
	for (int i = 0; i < 400; i++) {
		assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
		assert_int_equal(v.warned[0] & 2, 0);
		told[0] += v.warned[0] & 1;
		told[1] += v.warned[0] >> 2;
		assert_int_equal(board_settle(b, lease, (int64_t[]){ 1 }, 1, 0, &err), 1);
		pass(SLICE / 2);
	}
	assert_int_equal(told[0], 1);
	assert_int_equal(told[1], 1);
	/* All of it aged; the next time is a first time. */
	pass(2 * LENGTH);
	c.amount = 60;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.warned[0], 1);
	/* Given back and taken again within the window: told of already. */
	board_settle(b, lease, NULL, 0, 0, &err);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.warned[0], 0);
	board_close(b);
}

/* ---- clocks ---- */

/* The wall clock jumps by an hour both ways, at random, while use goes on: in any 60 slices no more
 * than the cap passes, and what is free is had. */
static void
a_stepping_clock_neither_frees_nor_doubles(void **state)
{
	enum { CAP = 100, SECONDS = 4000 };
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c[2] = { rolling_claim(1, 1, CAP), rolling_claim(2, 1, CAP) };
	static int64_t taken_at[SECONDS * 4];
	struct board_lease lease;
	struct board_verdict v;
	unsigned seed = 7;
	int taken = 0, refused = 0;
	int64_t before = board_now_ms(b), minute = 0, in_minute = 0;

	(void)state;
	for (int i = 0; i < SECONDS * 4; i++) {
		int64_t now = board_now_ms(b);

		assert_true(now >= before);
		before = now;
		c[1] = claim_on(100000 + (uint64_t)(now / LENGTH), 1, CAP);
		c[1].window_start_ms = now / LENGTH * LENGTH;
		c[1].window_end_ms = c[1].window_start_ms + LENGTH;
		if (now / LENGTH != minute) {
			/* A turn of the window: full again, once. */
			assert_true(in_minute <= CAP);
			minute = now / LENGTH;
			in_minute = 0;
		}
		if (admit(b, c, 2, &lease, &v) == BOARD_TAKEN) {
			taken_at[taken++] = now;
			in_minute++;
			assert_int_equal(
				board_settle(b, lease, (int64_t[]){ 1, 1 }, 2, 0, &err), 1);
			/* The hundredth before it has left the window. */
			if (taken > CAP)
				assert_true(now / SLICE - taken_at[taken - 1 - CAP] / SLICE >
					    BOARD_SLICES);
		} else {
			refused++;
			if (v.which == 0)
				assert_true(v.frees_ms > now);
		}
		pass(250);
		if (rand_r(&seed) % 40 == 0)
			fake_wall += rand_r(&seed) % 2 ? 3600000 : -3600000;
		if (i % 4 == 0)
			board_tick(b);
	}
	/* Board time went by between 0.9 and 1.1 of real time: so did what was granted. */
	assert_true(refused > 0);
	assert_in_range(taken, SECONDS / 61 * CAP * 8 / 10, SECONDS / 60 * CAP * 12 / 10);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

/* ---- growth and reclaiming ---- */

static void
rings_are_reclaimed_when_their_window_is_empty(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_claim c = rolling_claim(1, 1, UNCAPPED);
	struct board_lease held;
	struct board_verdict v;

	(void)state;
	/* One is held all the while, one has use in the window all the while. */
	assert_int_equal(admit(b, &c, 1, &held, &v), BOARD_TAKEN);
	for (uint64_t i = 0; i < 1000; i++) {
		spend(b, 10 + i, 3);
		if (i % 20 == 19)
			spend(b, 2, 1);
		assert_ring(b, 10 + i, 3, 0);
		pass(3 * SLICE);
	}
	/* Twenty windows are live at a time: one segment of 32 is enough. */
	assert_int_equal(b->table[RINGS].count, 1);
	assert_ring(b, 1, 0, 1);
	assert_ring(b, 2, 1, 0);
	assert_int_equal(board_settle(b, held, (int64_t[]){ 1 }, 1, 0, &err), 1);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

/* What a ring held under its old name is nothing to its new one, whatever the lengths. */
static void
a_reclaimed_ring_is_empty(void **state)
{
	struct board *b = open_at(400 * 86400000LL);
	int64_t s, r;

	(void)state;
	for (uint64_t i = 0; i < 2000; i++) {
		struct board_claim c = rolling_claim(i + 1, 1, UNCAPPED);
		struct board_lease lease;
		struct board_verdict v;

		c.rolling_ms = 1 + (int64_t)(i * 7919 % 500);
		assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
		assert_int_equal(v.used[0], 1);
		assert_int_equal(board_settle(b, lease, (int64_t[]){ 1 }, 1, 0, &err), 1);
		board_peek(b, c.key, c.rolling_ms, &s, &r);
		assert_int_equal(s, 1);
		pass(37);
	}
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
rings_grow_and_end_by_saying_so(void **state)
{
	struct board *b = open_at(2 * LENGTH);
	struct board_options o = b->o;
	struct board *other = open_with(&o);
	struct board_claim c[2] = { rolling_claim(1, 1, UNCAPPED) };
	struct board_health health;
	struct board_lease lease;
	struct board_verdict v;
	uint64_t n = 1;

	(void)state;
	for (;;) {
		c[1] = rolling_claim(++n, 1, UNCAPPED);
		if (admit(b, c, 2, &lease, &v) != BOARD_TAKEN)
			break;
		assert_int_equal(board_settle(b, lease, (int64_t[]){ 1, 1 }, 2, 0, &err), 1);
	}
	assert_int_equal(err.code, ERR_OVERLOADED);
	assert_non_null(strstr(err.text, "rolling counters"));
	assert_true(n > 2 * BUCKET_RECORDS);
	board_health(b, &health);
	assert_int_equal(health.rings, 4 * BUCKET_RECORDS);
	assert_in_range(health.rings_used, n - 1, 4 * BUCKET_RECORDS);
	assert_int_equal(health.rows, table_segment_records(b, ROWS));
	assert_int_equal(health.repeats, 0);
	for (uint64_t i = 2; i < n; i++)
		assert_ring(other, i, 1, 0);
	assert_ring(other, 1, (int64_t)n - 2, 0);
	assert_int_equal(assert_whole(other), 0);
	/* A calendar window has room all the same. */
	c[0] = claim_on(1, 1, UNCAPPED);
	assert_int_equal(admit(b, c, 1, &lease, &v), BOARD_TAKEN);
	board_close(other);
	board_close(b);
}

/* ---- first calls ---- */

#define FIRST_KEYS 60
#define FIRST_CAP  3

static void
call_first(struct board *b, void *ctx)
{
	_Atomic int64_t *taken = ctx;

	for (uint64_t k = 0; k < FIRST_KEYS; k++) {
		struct board_claim c[2] = { claim_on(1000 + k, 1, FIRST_CAP),
			rolling_claim(1000 + k, 1, FIRST_CAP) };
		struct board_lease lease;
		struct board_verdict v;
		int got;

		/* A day: it must not age while a slow machine is at it. */
		c[1].rolling_ms = 86400000;
		c[1].seeded = true;
		/* They wait for one another, so that each key's first calls meet. */
		atomic_fetch_add(&taken[FIRST_KEYS], 1);
		while (atomic_load(&taken[FIRST_KEYS]) < 8 * ((int64_t)k + 1))
			sched_yield();
		while ((got = admit(b, c, 2, &lease, &v)) < 0)
			if (err.code != ERR_OVERLOADED || strstr(err.text, "in use") != NULL)
				_exit(1);
		if (got == BOARD_TAKEN)
			atomic_fetch_add(&taken[k], 1);
		while (got == BOARD_TAKEN &&
			board_settle(b, lease, (int64_t[]){ 1, 1 }, 2, 0, &err) < 0)
			;
	}
}

static void
eight_first_calls_see_one_budget(void **state)
{
	_Atomic int64_t *taken = shared_words(FIRST_KEYS + 1);
	struct board *b = open_with(&small);
	pid_t pid[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		pid[i] = child_runs(call_first, &small, taken);
	for (int i = 0; i < 8; i++)
		wait_ok(pid[i]);
	for (uint64_t k = 0; k < FIRST_KEYS; k++) {
		struct board_claim c = claim_on(1000 + k, 0, 0);
		int64_t s, r;

		assert_int_equal(taken[k], FIRST_CAP);
		assert_use(b, 1000 + k, FIRST_CAP, 0);
		board_peek(b, c.key, 86400000, &s, &r);
		assert_int_equal(s, FIRST_CAP);
	}
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

/* ---- many at once, while the window rolls ---- */

#define ROLL_MS    600 /* slices of 10 ms */
#define ROLL_CAP   50
#define ROLL_TURNS 4

static void
roll_on(struct board *b, void *ctx)
{
	_Atomic int64_t *taken = ctx; /* by slice, counted from the first word's */
	int64_t until = board_now_ms(b) + ROLL_TURNS * ROLL_MS;

	while (board_now_ms(b) < until) {
		struct board_claim c = rolling_claim(1, 1, ROLL_CAP);
		struct board_lease lease;
		struct board_verdict v;
		int64_t slice;
		int got;

		c.rolling_ms = ROLL_MS;
		c.seeded = true;
		got = admit(b, &c, 1, &lease, &v);
		if (got < 0 && err.code != ERR_OVERLOADED)
			_exit(1);
		if (got != BOARD_TAKEN)
			continue;
		slice = b->bodies[lease.index].claim[0].slice;
		while (board_settle(b, lease, (int64_t[]){ 1 }, 1, 0, &err) < 0)
			;
		slice -= taken[0];
		/* A machine so slow that it is not done in ten times the time proves nothing. */
		if (slice >= 1 && slice < 11 * ROLL_TURNS * BOARD_SLICES)
			atomic_fetch_add(&taken[slice], 1);
	}
}

static void
a_rolling_cap_is_exact_over_eight_processes(void **state)
{
	enum { SLICES = 11 * ROLL_TURNS * BOARD_SLICES };
	_Atomic int64_t *taken = shared_words(SLICES);
	struct board *b = open_with(&small);
	int64_t all = 0, in_window = 0;
	pid_t pid[8];

	(void)state;
	taken[0] = board_now_ms(b) / (ROLL_MS / BOARD_SLICES) - 1;
	for (int i = 0; i < 8; i++)
		pid[i] = child_runs(roll_on, &small, taken);
	for (int i = 0; i < 8; i++)
		wait_ok(pid[i]);
	for (int64_t n = 1; n < SLICES; n++) {
		all += taken[n];
		in_window += taken[n] - (n > RING_SLOTS ? taken[n - RING_SLOTS] : 0);
		if (in_window > ROLL_CAP)
			fail_msg("%lld in the window that ends with slice %lld",
				(long long)in_window, (long long)n);
	}
	/* It was full at least twice: what aged was had again. */
	assert_true(all >= 2 * ROLL_CAP);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_spent_counts_for_the_slice_and_sixty_more),
		TEST(what_is_reserved_counts_at_once_and_for_ever),
		TEST(what_was_spent_belongs_to_the_slice_of_the_admission),
		TEST(a_refusal_says_when_it_fits_by_age_alone),
		TEST(a_young_board_wants_the_seed_of_a_rolling_window),
		TEST(amounts_near_the_end_never_wrap),
		TEST(short_and_odd_windows_cover_their_length),
		TEST(two_lengths_of_one_key_are_two_counters),
		TEST(a_raise_sees_the_window),
		TEST(a_correction_finds_its_slice),
		TEST(a_share_is_told_of_once_in_a_window),
		TEST(a_stepping_clock_neither_frees_nor_doubles),
		TEST(rings_are_reclaimed_when_their_window_is_empty),
		TEST(a_reclaimed_ring_is_empty),
		TEST(rings_grow_and_end_by_saying_so),
		TEST(a_rolling_cap_is_exact_over_eight_processes),
		TEST(eight_first_calls_see_one_budget),
	};

	return cmocka_run_group_tests_name("board/ring", tests, NULL, NULL);
}
