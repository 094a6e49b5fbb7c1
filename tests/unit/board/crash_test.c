/*
 * Whoever dies, wherever: the board is as if it had done the whole thing, or nothing.
 * SLUICE_LONG=1 kills for a minute instead of two seconds.
 */
#include "fixture.h"
#include "base/clock.h"
#include <time.h>

#define LATER(x) ((x) + 100000) /* keys nobody else uses */

static void
nap_us(long us)
{
	nanosleep(
		&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 }, NULL);
}

/* ---- dying at each single step of a section ---- */

static int steps_left;

static void
die_in_time(void)
{
	if (steps_left-- == 0)
		raise(SIGKILL);
}

#define DAY 86400000 /* a rolling window that does not age while a test runs */

/* The lease that is there before: rows 1 and 2, rings 1 and 2, idempotency key 1. */
#define HELD 4

static struct board_claim
rolling_on(uint64_t key, int64_t amount, int64_t cap)
{
	struct board_claim c = claim_on(key, amount, cap);

	c.rolling_ms = DAY;
	c.seeded = true;
	return c;
}

static struct board_repeat
repeat_of(uint64_t key)
{
	return (struct board_repeat){ { key * UINT64_C(0x9e3779b97f4a7c15), key }, { key, key } };
}

static int
admit_key(struct board *b, const struct board_claim *c, int count, uint64_t key,
	struct board_lease *lease)
{
	struct board_repeat repeat = repeat_of(key);
	struct board_verdict v;

	if (board_admit(b, id_random(), c, count, &repeat, "note", 5, lease, &v, &err) != 0)
		return -1;
	return (int)v.outcome;
}

static void
hold_all(struct board *b, struct board_lease *lease)
{
	struct board_claim c[HELD] = { claim_on(1, 5, UNCAPPED), claim_on(2, 6, UNCAPPED),
		rolling_on(1, 5, UNCAPPED), rolling_on(2, 6, UNCAPPED) };

	assert_int_equal(admit_key(b, c, HELD, 1, lease), BOARD_TAKEN);
}

/* What can be seen of all that: spent and reserved of each, and the keys 1 and 2. */
struct seen {
	int64_t row[4], ring[4], key[2];
};

enum { KEY_FREE = 0, KEY_RUNS = 1 }; /* else its status */

static int64_t
see_key(struct board *b, uint64_t key)
{
	struct board_repeat repeat = repeat_of(key);
	const struct repeat *r;
	int64_t ref, state = KEY_FREE;

	assert_int_equal(section_enter(b, &err), 0);
	ref = table_find(b, REPEATS, repeat.key, 0, NULL);
	r = ref < 0 ? NULL : table_at(b, ref);
	if (r != NULL && r->e.life == 2)
		state = KEY_RUNS;
	else if (r != NULL && !repeat_is_over(r, board_now_ms(b)))
		state = r->until & 0xffff;
	section_leave(b);
	return state;
}

static struct seen
see(struct board *b)
{
	struct seen s;

	for (uint64_t i = 0; i < 2; i++) {
		struct board_claim c = claim_on(i + 1, 0, 0);

		board_peek(b, c.key, 0, &s.row[2 * i], &s.row[2 * i + 1]);
		board_peek(b, c.key, DAY, &s.ring[2 * i], &s.ring[2 * i + 1]);
		s.key[i] = see_key(b, i + 1);
	}
	return s;
}

struct plan {
	void (*act)(struct board *b, struct board_lease lease);
	struct board_lease lease;
	int die_at;
};

static void
admit_more(struct board *b, struct board_lease lease)
{
	/* Those that are there, and some to make. */
	struct board_claim c[6] = { claim_on(1, 7, UNCAPPED), claim_on(LATER(1), 3, UNCAPPED),
		claim_on(2, 9, UNCAPPED), rolling_on(1, 7, UNCAPPED),
		rolling_on(LATER(1), 3, UNCAPPED), rolling_on(2, 9, UNCAPPED) };

	c[4].seed = 11;
	c[0].warn[0] = c[3].warn[0] = 1;
	if (admit_key(b, c, 6, 2, &lease) != BOARD_TAKEN)
		_exit(1);
}

static void
refused_late(struct board *b, struct board_lease lease)
{
	struct board_claim c[5] = { claim_on(1, 7, UNCAPPED), claim_on(LATER(1), 3, UNCAPPED),
		rolling_on(LATER(1), 3, UNCAPPED), rolling_on(1, 7, UNCAPPED),
		rolling_on(2, 9, 10) };

	if (admit_key(b, c, 5, 2, &lease) != BOARD_REFUSED)
		_exit(1);
}

static void
settle_it(struct board *b, struct board_lease lease)
{
	if (board_settle(b, lease, (int64_t[]){ 4, 2, 4, 2 }, 4, 418, &err) != 1)
		_exit(1);
}

static void
settle_for_nothing(struct board *b, struct board_lease lease)
{
	if (board_settle(b, lease, NULL, 0, 0, &err) != 1)
		_exit(1);
}

static void
raise_it(struct board *b, struct board_lease lease)
{
	struct board_verdict v;

	if (board_raise(b, lease, (int64_t[]){ 1, 0, 2, 3 },
		    (int64_t[]){ UNCAPPED, 0, UNCAPPED, UNCAPPED }, 4, &v, &err) != 0 ||
		v.outcome != BOARD_TAKEN)
		_exit(1);
}

static void
raise_too_much(struct board *b, struct board_lease lease)
{
	struct board_verdict v;

	if (board_raise(b, lease, (int64_t[]){ 1, 0, 2, 3 },
		    (int64_t[]){ UNCAPPED, 0, UNCAPPED, 8 }, 4, &v, &err) != 0 ||
		v.outcome != BOARD_REFUSED)
		_exit(1);
}

static void
correct_it(struct board *b, struct board_lease lease)
{
	struct board_claim c = claim_on(1, 0, 0);

	(void)lease;
	if (board_correct(b, c.key, DAY, board_now_ms(b), 9, &err) != 0)
		_exit(1);
}

static void
act_and_die(struct board *b, void *ctx)
{
	struct plan *plan = ctx;

	steps_left = plan->die_at;
	b->o.step = die_in_time;
	plan->act(b, plan->lease);
	b->o.step = NULL;
}

static bool
forget(void *ctx, const struct board_orphan *o)
{
	struct err e;

	return board_settle(ctx, o->lease, NULL, 0, 0, &e) == 1;
}

static void
unlink_board(void)
{
	char path[80];

	snprintf(path, sizeof path, "%s/board", dir);
	unlink(path);
}

/* Returns at which step it was allowed to end by itself. */
static int
die_at_each_step(void (*act)(struct board *, struct board_lease), struct seen after)
{
	static const struct seen before = { { 0, 5, 0, 6 }, { 0, 5, 0, 6 },
		{ KEY_RUNS, KEY_FREE } };

	for (int die_at = 0;; die_at++) {
		struct board *b = open_with(&small);
		struct plan plan = { .act = act, .die_at = die_at };
		struct seen got;
		int status;

		hold_all(b, &plan.lease);
		assert_int_equal(
			waitpid(child_runs(act_and_die, &small, &plan), &status, 0) > 0, 1);
		if (WIFEXITED(status))
			assert_int_equal(WEXITSTATUS(status), 0);
		else
			assert_int_equal(WTERMSIG(status), SIGKILL);
		assert_whole(b);
		got = see(b);
		if (memcmp(&got, &after, sizeof got) != 0 &&
			(WIFEXITED(status) || memcmp(&got, &before, sizeof got) != 0))
			fail_msg("step %d: neither before nor after: row 1 %lld %lld, ring 1 %lld "
				 "%lld, keys %lld %lld",
				die_at, (long long)got.row[0], (long long)got.row[1],
				(long long)got.ring[0], (long long)got.ring[1],
				(long long)got.key[0], (long long)got.key[1]);
		/* What is left is the child's lease, if it got that far. */
		board_settle(b, plan.lease, NULL, 0, 0, &err);
		assert_true(board_reap(b, forget, b, &err) >= 0);
		assert_int_equal(assert_whole(b), 0);
		assert_int_not_equal(see_key(b, 2), KEY_RUNS);
		board_close(b);
		unlink_board();
		if (WIFEXITED(status))
			return die_at;
	}
}

static void
a_death_at_any_step_of_an_admission(void **state)
{
	(void)state;
	int steps = die_at_each_step(admit_more,
		(struct seen){ { 0, 12, 0, 15 }, { 0, 12, 0, 15 }, { KEY_RUNS, KEY_RUNS } });

	assert_in_range(steps, 100, 400);
}

static void
a_death_at_any_step_of_a_refusal(void **state)
{
	(void)state;
	int steps = die_at_each_step(refused_late,
		(struct seen){ { 0, 5, 0, 6 }, { 0, 5, 0, 6 }, { KEY_RUNS, KEY_FREE } });

	assert_in_range(steps, 80, 400);
}

static void
a_death_at_any_step_of_a_settlement(void **state)
{
	(void)state;
	int steps = die_at_each_step(
		settle_it, (struct seen){ { 4, 0, 2, 0 }, { 4, 0, 2, 0 }, { 418, KEY_FREE } });

	assert_in_range(steps, 40, 200);
	steps = die_at_each_step(
		settle_for_nothing, (struct seen){ .key = { KEY_FREE, KEY_FREE } });
	assert_in_range(steps, 30, 200);
}

static void
a_death_at_any_step_of_a_raise(void **state)
{
	(void)state;
	int steps = die_at_each_step(
		raise_it, (struct seen){ { 0, 6, 0, 6 }, { 0, 7, 0, 9 }, { KEY_RUNS, KEY_FREE } });

	assert_in_range(steps, 15, 200);
	steps = die_at_each_step(raise_too_much,
		(struct seen){ { 0, 5, 0, 6 }, { 0, 5, 0, 6 }, { KEY_RUNS, KEY_FREE } });
	assert_in_range(steps, 10, 200);
}

static void
a_death_at_any_step_of_a_correction(void **state)
{
	(void)state;
	int steps = die_at_each_step(correct_it,
		(struct seen){ { 0, 5, 0, 6 }, { 9, 5, 0, 6 }, { KEY_RUNS, KEY_FREE } });

	assert_in_range(steps, 5, 50);
}

/* A ring that another key had: its old content never comes up again, nor is it lost to its old key
 * while that still counts. */
static void
a_death_while_a_ring_changes_its_key(void **state)
{
	struct board_options o = small;
	int status = 0;

	(void)state;
	o.segments_max = 1;
	for (int die_at = 0; die_at == 0 || !WIFEXITED(status); die_at += 7) {
		struct board *b = open_with(&o);
		struct plan plan = { .act = admit_more, .die_at = die_at };
		struct board_claim c = rolling_on(LATER(1), 0, UNCAPPED);
		struct board_lease lease;
		struct board_verdict v;
		int64_t s, r;

		hold_all(b, &plan.lease);
		/* All others are used up by windows that are over then. */
		for (uint64_t i = 0; i < 200; i++) {
			struct board_claim old = rolling_on(1000 + i, 1, UNCAPPED);

			old.rolling_ms = 1;
			if (admit(b, &old, 1, &lease, &v) == BOARD_TAKEN)
				board_settle(b, lease, (int64_t[]){ 1 }, 1, 0, &err);
		}
		assert_int_equal(b->head->used[RINGS], table_segment_records(b, RINGS));
		nap_us(62000);
		waitpid(child_runs(act_and_die, &o, &plan), &status, 0);
		assert_whole(b);
		if (board_peek(b, c.key, DAY, &s, &r) == 1) {
			assert_int_equal(s, 11);
			assert_int_equal(r, 3);
		} else {
			assert_false(WIFEXITED(status));
		}
		board_close(b);
		unlink_board();
	}
}

static int64_t fake_ms;

static int64_t
fake_clock(void)
{
	return fake_ms;
}

/* A slot that a slice of long ago had: what was spent then never counts as spent now. */
static void
a_death_while_a_slot_changes_its_slice(void **state)
{
	struct board_options o = small;
	struct board_claim c = rolling_on(1, 7, UNCAPPED);
	int status = 0;

	(void)state;
	o.wall_ms = o.boot_ms = fake_clock;
	for (int die_at = 0; die_at == 0 || !WIFEXITED(status); die_at++) {
		struct plan plan = { .act = settle_it, .die_at = die_at };
		struct board *b;
		struct board_lease lease;
		struct board_verdict v;
		int64_t s, r;

		fake_ms = 1000000 * (int64_t)DAY;
		b = open_with(&o);
		assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
		assert_int_equal(board_settle(b, lease, (int64_t[]){ 7 }, 1, 0, &err), 1);
		fake_ms += DAY / BOARD_SLICES * RING_SLOTS;
		hold_all(b, &plan.lease);
		waitpid(child_runs(act_and_die, &o, &plan), &status, 0);
		assert_whole(b);
		board_peek(b, c.key, DAY, &s, &r);
		if (r == 5)
			assert_int_equal(s, 0);
		else
			assert_int_equal(s, 4);
		board_close(b);
		unlink_board();
	}
}

/* Dies in the middle of putting back what another death left half done. */
static void
a_death_in_the_rollback_is_rolled_back(void **state)
{
	(void)state;
	for (int die_at = 0; die_at < 12; die_at++) {
		struct board *b = open_with(&small);
		struct plan first = { .act = admit_more, .die_at = 30 };
		struct plan second = { .act = admit_more, .die_at = die_at };
		struct board_health health;
		int status;

		waitpid(child_runs(act_and_die, &small, &first), &status, 0);
		assert_true(WIFSIGNALED(status));
		/* Opening ticks, which would roll back; so it is opened before, here. */
		fflush(NULL);
		pid_t pid = fork();

		if (pid == 0) {
			act_and_die(b, &second);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(assert_whole(b), 0);
		assert_use(b, 1, 0, 0);
		board_health(b, &health);
		assert_true(health.rollbacks >= 1);
		board_close(b);
	}
}

/* ---- killing at random ---- */

#define WORKERS  4
#define COUNTERS 8
#define RINGS_AT 4 /* counters from here on roll */
#define KNOWN    6 /* those after are new all the time */
#define RAISED_A 0
#define RAISED_B RINGS_AT

static const int64_t use_of[COUNTERS] = { 1, 2, 3, 4, 5, 6, 0, 0 };

static struct board_claim
claim_of(int k)
{
	return k >= RINGS_AT && k != KNOWN ? rolling_on((uint64_t)k + 1, k + 1, UNCAPPED)
					   : claim_on((uint64_t)k + 1, k + 1, UNCAPPED);
}

static void
work_until_killed(struct board *b, void *ctx)
{
	unsigned seed = (unsigned)getpid();

	(void)ctx;
	for (uint64_t i = 0;; i++) {
		static const int64_t more[COUNTERS] = { [RAISED_A] = 1, [RAISED_B] = 1 };
		static const int64_t cap[COUNTERS] = {
			[RAISED_A] = UNCAPPED, [RAISED_B] = UNCAPPED
		};
		struct board_claim c[COUNTERS];
		struct board_lease lease;
		struct board_verdict v;
		int got;

		for (int k = 0; k < COUNTERS; k++)
			c[k] = claim_of(k);
		/* New counters all the time: records are made and reclaimed under fire. */
		for (int k = KNOWN; k < COUNTERS; k++)
			c[k].key[0] = ((uint64_t)getpid() << 32 | i) * 0x9e3779b97f4a7c15u;
		/* Keys that are free again, and that somebody else may hold. */
		got = admit_key(b, c, COUNTERS, (uint64_t)rand_r(&seed) % 500 + 1, &lease);
		if (got == BOARD_RUNNING || got == BOARD_REPEATED)
			continue;
		if (got != BOARD_TAKEN) {
			if (err.code != ERR_OVERLOADED)
				_exit(1);
			continue;
		}
		board_raise(b, lease, more, cap, COUNTERS, &v, &err);
		while (board_settle(b, lease, use_of, COUNTERS, i % 100000 == 0 ? 200 : 0, &err) <
			0)
			;
	}
}

static bool
settle_as_usual(void *ctx, const struct board_orphan *o)
{
	struct err e;
	int64_t raised;

	assert_int_equal(o->count, COUNTERS);
	raised = o->amount[RAISED_A] - claim_of(RAISED_A).amount;
	assert_in_range(raised, 0, 1);
	for (int k = 0; k < COUNTERS; k++)
		assert_int_equal(
			o->amount[k], k + 1 + (k == RAISED_A || k == RAISED_B ? raised : 0));
	assert_string_equal(o->note, "note");
	return board_settle(ctx, o->lease, use_of, COUNTERS, 0, &e) == 1;
}

/* What was settled is what was ever leased less what still is; each spends the same, and raises
 * both of its two or none. */
static void
assert_booked(struct board *b)
{
	int64_t live, serial, spent, reserved, raised = -1;

	live = assert_whole(b);
	serial = b->head->serial;
	for (int k = 0; k < KNOWN; k++) {
		struct board_claim c = claim_of(k);

		board_peek(b, c.key, c.rolling_ms, &spent, &reserved);
		reserved -= live * (k + 1);
		if (k == RAISED_A) {
			raised = reserved;
			assert_in_range(raised, 0, live);
		}
		if (spent != (serial - live) * use_of[k] ||
			reserved != (k == RAISED_A || k == RAISED_B ? raised : 0))
			fail_msg("counter %d: spent %lld, raised %lld after %lld leases of which "
				 "%lld live",
				k, (long long)spent, (long long)reserved, (long long)serial,
				(long long)live);
	}
}

static void
random_kills_lose_and_leak_nothing(void **state)
{
	int64_t until = clock_mono_us() + (getenv("SLUICE_LONG") != NULL ? 60 : 2) * 1000000LL;
	struct board *b = open_with(&small);
	struct board_health health;
	unsigned seed = (unsigned)getpid();
	pid_t pid[WORKERS];
	int kills = 0, reaped = 0;

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		pid[i] = child_runs(work_until_killed, &small, NULL);
	while (clock_mono_us() < until) {
		int i = rand_r(&seed) % WORKERS, status, n;

		nap_us(1000 + rand_r(&seed) % 8000);
		assert_int_equal(kill(pid[i], SIGKILL), 0);
		waitpid(pid[i], &status, 0);
		assert_true(WIFSIGNALED(status));
		kills++;
		pid[i] = child_runs(work_until_killed, &small, NULL);
		if (kills % 4 == 0) {
			n = board_reap(b, settle_as_usual, b, &err);
			reaped += n > 0 ? n : 0;
		}
	}
	for (int i = 0; i < WORKERS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	assert_booked(b);
	assert_true(board_reap(b, settle_as_usual, b, &err) >= 0);
	assert_booked(b);
	assert_int_equal(b->head->leases_used, 0);
	board_health(b, &health);
	print_message("%d kills, %lld inside a section, %d leases reaped meanwhile, %lld settled\n",
		kills, (long long)health.rollbacks, reaped, (long long)b->head->serial);
	board_close(b);
}

/* ---- reaping ---- */

static void
take_leases_and_die(struct board *b, void *ctx)
{
	for (int i = 0; i < *(int *)ctx; i++) {
		struct board_claim c = claim_on(1, 1, UNCAPPED);
		struct board_lease lease;
		struct board_verdict v;

		if (admit(b, &c, 1, &lease, &v) != BOARD_TAKEN)
			_exit(1);
	}
	raise(SIGKILL);
}

struct reapers {
	_Atomic int64_t *handed; /* by index of the lease */
	int die_after;
	struct board *b;
	int mine;
};

static bool
note_and_settle(void *ctx, const struct board_orphan *o)
{
	struct reapers *r = ctx;
	struct err e;

	if (r->die_after > 0 && ++r->mine == r->die_after)
		raise(SIGKILL);
	atomic_fetch_add(&r->handed[o->lease.index], 1);
	while (board_settle(r->b, o->lease, (int64_t[]){ 1 }, 1, 0, &e) < 0)
		;
	return true;
}

/* Makes sections so long that the others have looked, and wait, when one takes an orphan. */
static void
dawdle(void)
{
	nap_us(50);
}

static void
reap_slowly(struct board *b, void *ctx)
{
	struct reapers *r = ctx;
	int n;

	r->b = b;
	b->o.step = dawdle;
	while ((n = board_reap(b, note_and_settle, r, &err)) < 0)
		if (err.code != ERR_OVERLOADED)
			_exit(1);
	b->o.step = NULL;
}

static void
reap_all(struct board *b, void *ctx)
{
	struct reapers *r = ctx;

	r->b = b;
	if (board_reap(b, note_and_settle, r, &err) < 0)
		_exit(1);
}

static void
each_orphan_is_handed_to_one_reaper(void **state)
{
	struct reapers r = { .handed = shared_words(256) };
	struct board *b = open_with(&small);
	int leases = 200;
	pid_t pid[6];

	(void)state;
	waitpid(child_runs(take_leases_and_die, &small, &leases), NULL, 0);
	assert_int_equal(assert_whole(b), 200);
	for (int i = 0; i < 6; i++) {
		/* Two of them die with an orphan in their hands. */
		r.die_after = i < 2 ? 7 : 0;
		pid[i] = child_runs(reap_slowly, &small, &r);
	}
	for (int i = 0; i < 6; i++)
		waitpid(pid[i], NULL, 0);
	r.die_after = 0;
	reap_all(b, &r);
	for (int i = 0; i < 200; i++)
		assert_int_equal(r.handed[i], 1);
	assert_int_equal(assert_whole(b), 0);
	assert_use(b, 1, 200, 0);
	board_close(b);
}

static bool
not_now(void *ctx, const struct board_orphan *o)
{
	(void)o;
	++*(int *)ctx;
	return false;
}

static void
what_a_reaper_leaves_is_there_for_another(void **state)
{
	struct reapers r = { .handed = shared_words(256) };
	struct board *b = open_with(&small);
	int leases = 3, seen = 0;

	(void)state;
	waitpid(child_runs(take_leases_and_die, &small, &leases), NULL, 0);
	assert_int_equal(board_reap(b, not_now, &seen, &err), 3);
	assert_int_equal(seen, 3);
	wait_ok(child_runs(reap_all, &small, &r));
	assert_int_equal(assert_whole(b), 0);
	assert_use(b, 1, 3, 0);
	board_close(b);
}

static void
the_living_are_not_reaped(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct reapers r = { .handed = shared_words(256) };
	struct board_lease lease;
	struct board_verdict v;
	int seen = 0;

	(void)state;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(board_reap(b, not_now, &seen, &err), 0);
	wait_ok(child_runs(reap_all, &small, &r));
	assert_int_equal(board_settle(b, lease, NULL, 0, 0, &err), 1);
	board_close(b);
}

static bool
list(void *ctx, struct id exchange, struct roster_owner owner, const void *note)
{
	struct id *want = ctx;

	assert_true(id_equal(exchange, *want));
	assert_int_equal(owner.slot, roster_self(roster).slot);
	assert_int_equal(owner.incarnation, roster_self(roster).incarnation);
	assert_string_equal(note, "half");
	return true;
}

static void
inflight_shows_the_note_as_it_stands(void **state)
{
	struct board *b = open_with(&small);
	struct id exchange = id_random();
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;
	uint64_t half = 0;

	(void)state;
	assert_int_equal(board_admit(b, exchange, &c, 1, NULL, "begun", 6, &lease, &v, &err), 0);
	memcpy(&half, "half", 4);
	*(uint64_t *)board_note(b, lease) = half;
	assert_int_equal(board_inflight(b, list, &exchange), 1);
	board_settle(b, lease, NULL, 0, 0, &err);
	assert_int_equal(board_inflight(b, list, &exchange), 0);
	board_close(b);
}

/* A stopped process in its section holds up nobody for long. */
static void
stop_inside(void)
{
	raise(SIGSTOP);
}

static void
stop_in_section(struct board *b, void *ctx)
{
	(void)ctx;
	b->o.step = stop_inside;
	admit_more(b, (struct board_lease){ 0 });
}

static void
a_held_mutex_is_refused_in_time(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;
	pid_t pid = child_runs(stop_in_section, &small, NULL);
	int64_t began;
	int status;

	(void)state;
	waitpid(pid, &status, WUNTRACED);
	assert_true(WIFSTOPPED(status));
	began = clock_mono_us();
	assert_int_equal(admit(b, &c, 1, &lease, &v), -1);
	assert_int_equal(err.code, ERR_OVERLOADED);
	assert_true(clock_mono_us() - began >= BOARD_LOCK_MS * 1000 - 1000);
	assert_true(clock_mono_us() - began < BOARD_LOCK_MS * 1000 * 10);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(assert_whole(b), 1);
	board_close(b);
}

static void
admit_at_last(struct board *b, void *ctx)
{
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;

	(void)ctx;
	while (admit(b, &c, 1, &lease, &v) != BOARD_TAKEN)
		if (err.code != ERR_OVERLOADED)
			_exit(1);
	board_settle(b, lease, NULL, 0, 0, &err);
}

/* It says so, and what it said is over when it has had its turn, or is dead. */
static void
one_that_waits_long_is_let_go_first(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;
	pid_t holder, waiter;
	bool said;

	(void)state;
	holder = child_runs(stop_in_section, &small, NULL);
	waitpid(holder, NULL, WUNTRACED);
	fflush(NULL);
	waiter = fork();
	if (waiter == 0) {
		admit_at_last(b, NULL);
		_exit(0);
	}
	for (int i = 0; i < 20000 && b->head->hungry_us == 0; i++)
		nap_us(500);
	said = b->head->hungry_us != 0;
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	wait_ok(waiter);
	assert_true(said);
	assert_int_equal(b->head->hungry_us, 0);
	/* Left by one that died, or by damage: nobody waits for it for ever. */
	b->head->hungry_us = clock_mono_us() + BOARD_HUNGRY_MS * 1000;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	b->head->hungry_us = INT64_MAX;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_int_equal(assert_whole(b), 2);
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_death_at_any_step_of_an_admission),
		TEST(a_death_at_any_step_of_a_refusal),
		TEST(a_death_at_any_step_of_a_settlement),
		TEST(a_death_at_any_step_of_a_raise),
		TEST(a_death_at_any_step_of_a_correction),
		TEST(a_death_while_a_ring_changes_its_key),
		TEST(a_death_while_a_slot_changes_its_slice),
		TEST(a_death_in_the_rollback_is_rolled_back),
		TEST(random_kills_lose_and_leak_nothing),
		TEST(each_orphan_is_handed_to_one_reaper),
		TEST(what_a_reaper_leaves_is_there_for_another),
		TEST(the_living_are_not_reaped),
		TEST(inflight_shows_the_note_as_it_stands),
		TEST(a_held_mutex_is_refused_in_time),
		TEST(one_that_waits_long_is_let_go_first),
	};

	return cmocka_run_group_tests_name("board/crash", tests, NULL, NULL);
}
