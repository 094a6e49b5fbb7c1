/*
 * Whoever dies, wherever: the board is as if it had done the whole thing, or nothing.
 * SLUICE_LONG=1 kills for a minute instead of two seconds.
 */
#include "fixture.h"
#include "base/clock.h"
#include <time.h>

#define LATER(x) ((x) + 100000) /* keys nobody else uses */

/* ---- dying at each single step of a section ---- */

static int steps_left;

static void
die_in_time(void)
{
	if (steps_left-- == 0)
		raise(SIGKILL);
}

struct plan {
	void (*act)(struct board *b, struct board_lease lease);
	struct board_lease lease;
	int die_at;
};

static void
admit_more(struct board *b, struct board_lease lease)
{
	/* One row that is there, one to reclaim or make, one again that is there. */
	struct board_claim c[3] = { claim_on(1, 7, UNCAPPED), claim_on(LATER(1), 3, UNCAPPED),
		claim_on(2, 9, UNCAPPED) };
	struct board_verdict v;

	if (admit(b, c, 3, &lease, &v) != BOARD_TAKEN)
		_exit(1);
}

static void
refused_late(struct board *b, struct board_lease lease)
{
	struct board_claim c[3] = { claim_on(1, 7, UNCAPPED), claim_on(LATER(1), 3, UNCAPPED),
		claim_on(2, 9, 10) };
	struct board_verdict v;

	if (admit(b, c, 3, &lease, &v) != BOARD_REFUSED)
		_exit(1);
}

static void
settle_it(struct board *b, struct board_lease lease)
{
	if (board_settle(b, lease, (int64_t[]){ 4, 2 }, 2, 0, &err) != 1)
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

/* before[] and after[]: spent and reserved of counters 1 and 2.  Returns at which step it was
 * allowed to end by itself. */
static int
die_at_each_step(void (*act)(struct board *, struct board_lease), const int64_t before[4],
	const int64_t after[4])
{
	for (int die_at = 0;; die_at++) {
		struct board *b = open_with(&small);
		struct plan plan = { .act = act, .die_at = die_at };
		struct board_claim c[2] = { claim_on(1, 5, UNCAPPED), claim_on(2, 6, UNCAPPED) };
		struct board_verdict v;
		int64_t got[4];
		int status;

		assert_int_equal(admit(b, c, 2, &plan.lease, &v), BOARD_TAKEN);
		assert_int_equal(
			waitpid(child_runs(act_and_die, &small, &plan), &status, 0) > 0, 1);
		if (WIFEXITED(status))
			assert_int_equal(WEXITSTATUS(status), 0);
		else
			assert_int_equal(WTERMSIG(status), SIGKILL);
		assert_whole(b);
		for (int i = 0; i < 2; i++)
			board_peek(b, c[i].key, 0, &got[2 * i], &got[2 * i + 1]);
		if (memcmp(got, before, sizeof got) != 0 && memcmp(got, after, sizeof got) != 0)
			fail_msg("step %d: neither before nor after: %lld %lld %lld %lld", die_at,
				(long long)got[0], (long long)got[1], (long long)got[2],
				(long long)got[3]);
		/* What is left is the child's lease, if it got that far. */
		board_settle(b, plan.lease, NULL, 0, 0, &err);
		assert_true(board_reap(b, forget, b, &err) >= 0);
		assert_int_equal(assert_whole(b), 0);
		board_close(b);

		char path[80];

		snprintf(path, sizeof path, "%s/board", dir);
		unlink(path);
		if (WIFEXITED(status))
			return die_at;
	}
}

static void
a_death_at_any_step_of_an_admission(void **state)
{
	(void)state;
	int steps = die_at_each_step(
		admit_more, (int64_t[]){ 0, 5, 0, 6 }, (int64_t[]){ 0, 12, 0, 15 });

	assert_in_range(steps, 40, 200);
}

static void
a_death_at_any_step_of_a_refusal(void **state)
{
	(void)state;
	int steps = die_at_each_step(
		refused_late, (int64_t[]){ 0, 5, 0, 6 }, (int64_t[]){ 0, 5, 0, 6 });

	assert_in_range(steps, 30, 200);
}

static void
a_death_at_any_step_of_a_settlement(void **state)
{
	(void)state;
	int steps =
		die_at_each_step(settle_it, (int64_t[]){ 0, 5, 0, 6 }, (int64_t[]){ 4, 0, 2, 0 });

	assert_in_range(steps, 20, 200);
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
#define COUNTERS 6

static void
work_until_killed(struct board *b, void *ctx)
{
	(void)ctx;
	for (uint64_t i = 0;; i++) {
		struct board_claim c[COUNTERS];
		int64_t spent[COUNTERS];
		struct board_lease lease;
		struct board_verdict v;

		for (int k = 0; k < COUNTERS; k++) {
			c[k] = claim_on((uint64_t)k + 1, k + 1, UNCAPPED);
			spent[k] = k + 1;
		}
		/* New counters all the time: rows are made and reclaimed under fire. */
		c[COUNTERS - 1].key[0] = ((uint64_t)getpid() << 32 | i) * 0x9e3779b97f4a7c15u;
		spent[COUNTERS - 1] = 0;
		if (admit(b, c, COUNTERS, &lease, &v) != BOARD_TAKEN) {
			if (err.code != ERR_OVERLOADED)
				_exit(1);
			continue;
		}
		while (board_settle(b, lease, spent, COUNTERS, 0, &err) < 0)
			;
	}
}

static bool
settle_as_usual(void *ctx, const struct board_orphan *o)
{
	int64_t spent[COUNTERS];
	struct err e;

	assert_int_equal(o->count, COUNTERS);
	for (int k = 0; k < COUNTERS; k++) {
		assert_int_equal(o->amount[k], k + 1);
		spent[k] = k == COUNTERS - 1 ? 0 : k + 1;
	}
	assert_string_equal(o->note, "note");
	return board_settle(ctx, o->lease, spent, COUNTERS, 0, &e) == 1;
}

/* What was settled is what was ever leased less what still is; each spends the same. */
static void
assert_booked(struct board *b)
{
	int64_t live, serial, spent, reserved;

	live = assert_whole(b);
	serial = b->head->serial;
	for (int k = 0; k < COUNTERS - 1; k++) {
		struct board_claim c = claim_on((uint64_t)k + 1, 0, 0);

		board_peek(b, c.key, 0, &spent, &reserved);
		if (spent != (serial - live) * (k + 1) || reserved != live * (k + 1))
			fail_msg("counter %d: spent %lld, reserved %lld after %lld leases of which "
				 "%lld live",
				k, (long long)spent, (long long)reserved, (long long)serial,
				(long long)live);
	}
}

static void
nap_us(long us)
{
	nanosleep(
		&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 }, NULL);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_death_at_any_step_of_an_admission),
		TEST(a_death_at_any_step_of_a_refusal),
		TEST(a_death_at_any_step_of_a_settlement),
		TEST(a_death_in_the_rollback_is_rolled_back),
		TEST(random_kills_lose_and_leak_nothing),
		TEST(each_orphan_is_handed_to_one_reaper),
		TEST(what_a_reaper_leaves_is_there_for_another),
		TEST(the_living_are_not_reaped),
		TEST(inflight_shows_the_note_as_it_stands),
		TEST(a_held_mutex_is_refused_in_time),
	};

	return cmocka_run_group_tests_name("board/crash", tests, NULL, NULL);
}
