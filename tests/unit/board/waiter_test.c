/* Waiting: turns by weight over processes, deaths, ceilings, and time that wraps around. */
#include "fixture.h"
#include <pthread.h>
#include <sched.h>

#define PROJECTS 3

static const int64_t weights[PROJECTS] = { 1, 2, 5 };
static int64_t fake_ms;

static int64_t
now(void)
{
	return fake_ms;
}

static struct board *
open_with_clock(void)
{
	struct board_options o = small;

	fake_ms = 1700000000000;
	o.wall_ms = o.boot_ms = now;
	return open_with(&o);
}

static struct id
id_of(int n)
{
	struct id id = { { 0 } };

	id.b[0] = 1;
	memcpy(&id.b[4], &n, sizeof n);
	return id;
}

static struct board_waiter
wait_in(struct board *b, int pool, int project, int64_t weight)
{
	struct board_wait_ask ask = { .pool = id_of(pool),
		.project = id_of(1000 + project),
		.exchange = id_random(),
		.weight = weight,
		.until_ms = board_now_ms(b) + 60000,
		.most = BOARD_WAITERS };
	struct board_waiter w;

	assert_int_equal(board_wait(b, &ask, &w), 0);
	return w;
}

static bool
is_same(struct board_waiter a, struct board_waiter b)
{
	return a.slot == b.slot && a.serial == b.serial;
}

/* The one whose turn it is, among `count` of ours. */
static int
first_of(struct board *b, int pool, const struct board_waiter *ours, int count)
{
	struct board_waiter next;

	if (board_wait_order(b, id_of(pool), &next, 1) != 1)
		return -1;
	for (int i = 0; i < count; i++)
		if (is_same(ours[i], next))
			return i;
	return -1;
}

/* Two of each project wait always; whose turn it is waits again at once.  In any eight turns each has its
 * weight of them. */
static void
take_turns(struct board *b, int turns)
{
	struct board_waiter w[2 * PROJECTS];
	int had[PROJECTS] = { 0 };

	for (int i = 0; i < 2 * PROJECTS; i++)
		w[i] = wait_in(b, 1, i % PROJECTS, weights[i % PROJECTS]);
	for (int turn = 1; turn <= turns; turn++) {
		int i = first_of(b, 1, w, 2 * PROJECTS);

		assert_true(i >= 0);
		board_wait_end(b, w[i], true);
		had[i % PROJECTS]++;
		w[i] = wait_in(b, 1, i % PROJECTS, weights[i % PROJECTS]);
		for (int p = 0; p < PROJECTS && turn % 8 == 0; p++)
			assert_int_equal(had[p], turn / 8 * weights[p]);
	}
	for (int i = 0; i < 2 * PROJECTS; i++)
		board_wait_end(b, w[i], false);
}

static void
turns_go_by_weight(void **state)
{
	struct board *b = open_with_clock();

	(void)state;
	take_turns(b, 800);
	assert_int_equal(board_waiting(b, NULL, 0), 0);
	board_close(b);
}

static void
virtual_time_wraps_around(void **state)
{
	struct board *b = open_with_clock();
	struct wait_queue *q = b->region[REGION_QUEUES];

	(void)state;
	for (int i = 0; i < BOARD_QUEUES; i++)
		q[i].present = INT64_MAX - (INT64_C(1) << 35);
	take_turns(b, 800);
	board_close(b);
}

static void
who_comes_anew_has_neither_debt_nor_credit(void **state)
{
	struct board *b = open_with_clock();
	struct board_waiter busy[2], fresh[4];

	(void)state;
	for (int i = 0; i < 2; i++)
		busy[i] = wait_in(b, 1, 0, 1);
	for (int turn = 0; turn < 100; turn++) {
		int i = first_of(b, 1, busy, 2);

		assert_true(i >= 0);
		board_wait_end(b, busy[i], true);
		busy[i] = wait_in(b, 1, 0, 1);
	}
	/* not a hundred turns for having been away, but one after the other with the other project */
	for (int i = 0; i < 4; i++)
		fresh[i] = wait_in(b, 1, 1, 1);
	for (int turn = 0, of_fresh = 0; turn < 6; turn++) {
		int i = first_of(b, 1, fresh, 4);

		if (i >= 0) {
			of_fresh++;
			board_wait_end(b, fresh[i], true);
		} else {
			i = first_of(b, 1, busy, 2);
			assert_true(i >= 0);
			board_wait_end(b, busy[i], true);
			busy[i] = wait_in(b, 1, 0, 1);
		}
		assert_in_range(2 * of_fresh, turn, turn + 3);
	}
	board_close(b);
}

/* A thousand who leave without a turn cost their project nothing. */
static void
leaving_costs_nothing(void **state)
{
	struct board *b = open_with_clock();
	struct board_waiter other = wait_in(b, 1, 0, 1), gone[1000], mine;

	(void)state;
	for (int i = 0; i < 1000; i++)
		gone[i] = wait_in(b, 1, 1, 1);
	for (int i = 0; i < 1000; i++)
		board_wait_end(b, gone[i], false);
	assert_int_equal(first_of(b, 1, &other, 1), 0);
	board_wait_end(b, other, true);
	mine = wait_in(b, 1, 1, 1);
	other = wait_in(b, 1, 0, 1);
	assert_int_equal(first_of(b, 1, &mine, 1), 0);
	board_close(b);
}

/* The places asked for at once are those of the next turns, as if each had been had. */
static void
several_turns_ahead_are_told_in_order(void **state)
{
	struct board *b = open_with_clock();
	struct board_waiter heavy[4], light[4], next[BOARD_WAIT_FIRST];
	struct board_waiting shown[8];
	int of_light = 0;

	(void)state;
	for (int i = 0; i < 4; i++) {
		heavy[i] = wait_in(b, 1, 0, 3);
		light[i] = wait_in(b, 1, 1, 1);
	}
	assert_int_equal(board_wait_order(b, id_of(1), next, 4), 4);
	assert_true(is_same(next[0], heavy[0]) && is_same(next[1], light[0]));
	assert_true(is_same(next[2], heavy[1]) && is_same(next[3], heavy[2]));
	assert_int_equal(board_wait_order(b, id_of(1), next, BOARD_WAIT_FIRST), 8);
	for (int i = 0; i < 4; i++)
		of_light += is_same(next[7], light[i]);
	assert_int_equal(of_light, 1);
	assert_int_equal(board_wait_order(b, id_of(2), next, 4), 0);
	wait_in(b, 2, 0, 1);
	assert_int_equal(board_waiting(b, shown, 8), 9);
	assert_int_equal(board_waiting(b, NULL, 0), 9);
	for (int i = 1; i < 8; i++)
		assert_true(
			shown[i].position == shown[i - 1].position + 1 || shown[i].position == 1);
	assert_int_equal(board_wait_count(b, id_of(1)), 8);
	board_close(b);
}

static void
lines_have_an_end(void **state)
{
	struct board *b = open_with_clock();
	struct board_wait_ask ask = { .pool = id_of(1),
		.project = id_of(2),
		.weight = 1,
		.until_ms = board_now_ms(b) + 60000,
		.most = 10 };
	struct board_waiter w[10], more;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(board_wait(b, &ask, &w[i]), 0);
	assert_int_equal(board_wait(b, &ask, &more), -1);
	assert_int_equal(more.serial, 0);
	board_wait_end(b, w[4], false);
	assert_int_equal(board_wait(b, &ask, &w[4]), 0);
	ask.most = BOARD_WAITERS;
	for (int i = 10; i < BOARD_WAITERS; i++)
		assert_int_equal(board_wait(b, &ask, &more), 0);
	ask.pool = id_of(3);
	assert_int_equal(board_wait(b, &ask, &more), -1);
	board_close(b);
}

/* Whose process stands still, or whose time is over, holds nobody up. */
static void
who_is_silent_is_passed_over(void **state)
{
	struct board *b = open_with_clock();
	struct board_waiter silent = wait_in(b, 1, 0, 1), next = wait_in(b, 1, 1, 1);

	(void)state;
	assert_int_equal(first_of(b, 1, &silent, 1), 0);
	fake_ms += BOARD_WAIT_BEAT_MS / 2;
	assert_true(board_wait_beat(b, next));
	fake_ms += BOARD_WAIT_BEAT_MS / 2;
	assert_int_equal(first_of(b, 1, &next, 1), 0);
	assert_true(board_wait_beat(b, silent)); /* it goes on */
	assert_int_equal(first_of(b, 1, &silent, 1), 0);
	for (int i = 0; i < 61; i++) {
		fake_ms += 1000;
		board_wait_beat(b, silent);
	}
	assert_int_equal(first_of(b, 1, &silent, 1), -1);
	board_close(b);
}

/* Whom nobody may serve now holds nobody up, and has lost nothing when he may be served again. */
static void
who_cannot_be_served_lets_others_pass(void **state)
{
	struct board *b = open_with_clock();
	struct board_waiter first = wait_in(b, 1, 0, 1), second = wait_in(b, 1, 1, 1), next[2];

	(void)state;
	board_wait_pass(b, first, board_now_ms(b) + 10);
	assert_int_equal(board_wait_order(b, id_of(1), next, 2), 1);
	assert_true(is_same(next[0], second));
	assert_int_equal(board_wait_count(b, id_of(1)), 2); /* it waits all the same */
	board_wait_end(b, second, true);
	assert_int_equal(board_wait_order(b, id_of(1), next, 2), 0);
	second = wait_in(b, 1, 1, 1);
	fake_ms += 10;
	assert_int_equal(board_wait_order(b, id_of(1), next, 2), 2);
	assert_true(is_same(next[0], first) && is_same(next[1], second));
	/* the place does not hand it on to the next who takes it */
	board_wait_pass(b, first, board_now_ms(b) + 60000);
	board_wait_end(b, first, false);
	first = wait_in(b, 1, 0, 1);
	assert_int_equal(board_wait_order(b, id_of(1), next, 2), 2);
	board_close(b);
}

/* There is room for a thousand pools at once, and for any number one after the other. */
static void
pools_come_and_go(void **state)
{
	struct board *b = open_with_clock();
	struct board_waiter w, old = wait_in(b, 9999, 0, 1);

	(void)state;
	assert_true(board_waits(b, id_of(9999)));
	for (int i = 0; i < 5000; i++) {
		w = wait_in(b, i, 0, 1);
		assert_int_equal(first_of(b, i, &w, 1), 0);
		board_wait_end(b, w, i % 2 == 0);
		fake_ms += 100;
	}
	assert_false(board_waits(b, id_of(1)));
	assert_false(board_wait_beat(b, old)); /* it did not tell for minutes: its place is lost */
	board_wait_end(b, old, true);
	assert_int_equal(board_waiting(b, NULL, 0), 0);
	board_close(b);
}

static void
the_next_turn_is_foreseen(void **state)
{
	struct board *b = open_with_clock();
	struct board_waiter w;

	(void)state;
	assert_int_equal(board_wait_forecast_ms(b, id_of(1), 3), 0);
	for (int i = 0; i < 50; i++) {
		w = wait_in(b, 1, 0, 1);
		fake_ms += 200;
		board_wait_beat(b, w);
		board_wait_end(b, w, true);
	}
	assert_in_range(board_wait_forecast_ms(b, id_of(1), 0), 195, 205);
	assert_in_range(board_wait_forecast_ms(b, id_of(1), 9), 1950, 2050);
	/* that nobody waited for a while tells nothing; that those who wait get no turn does */
	fake_ms += 1000;
	w = wait_in(b, 1, 0, 1);
	assert_in_range(board_wait_forecast_ms(b, id_of(1), 0), 195, 205);
	fake_ms += 700;
	board_wait_beat(b, w);
	assert_in_range(board_wait_forecast_ms(b, id_of(1), 1), 1400, 1410);
	board_close(b);
}

/* ---- over processes ---- */

static _Atomic int64_t *words;
enum { TURNS, HAD, ENOUGH = 1600, CHILDREN = 4 };

static void
wait_and_go(struct board *b, void *ctx)
{
	struct board_waiter w[PROJECTS * 2];
	int count = PROJECTS * 2;

	(void)ctx;
	for (int i = 0; i < count; i++)
		w[i] = wait_in(b, 1, i % PROJECTS, weights[i % PROJECTS]);
	atomic_fetch_add(&words[HAD + PROJECTS], 1);
	while (atomic_load(&words[HAD + PROJECTS]) < CHILDREN)
		sched_yield();
	while (atomic_load(&words[TURNS]) < ENOUGH) {
		int i = first_of(b, 1, w, count);

		for (int k = 0; k < count; k++)
			board_wait_beat(b, w[k]);
		if (i < 0) {
			sched_yield();
			continue;
		}
		atomic_fetch_add(&words[HAD + i % PROJECTS], 1);
		atomic_fetch_add(&words[TURNS], 1);
		board_wait_end(b, w[i], true);
		w[i] = wait_in(b, 1, i % PROJECTS, weights[i % PROJECTS]);
	}
}

/* One that looks while another takes its turn may see itself first: a turn early, not one more. */
static void
assert_turns_by_weight(void)
{
	int64_t turns = words[TURNS];

	assert_true(turns >= ENOUGH);
	for (int p = 0; p < PROJECTS; p++) {
		int64_t want = turns * weights[p] / 8, off = words[HAD + p] - want;

		if (off * 100 > want * 2 + 200 || -off * 100 > want * 2 + 200)
			fail_msg("weight %lld: %lld of %lld turns", (long long)weights[p],
				(long long)words[HAD + p], (long long)turns);
	}
}

static void
turns_go_by_weight_over_processes(void **state)
{
	pid_t pids[CHILDREN];

	(void)state;
	words = shared_words(8);
	board_close(open_with(&small));
	for (int i = 0; i < CHILDREN; i++)
		pids[i] = child_runs(wait_and_go, &small, NULL);
	for (int i = 0; i < CHILDREN; i++)
		wait_ok(pids[i]);
	assert_turns_by_weight();
}

static void *
wait_and_go_on_a_thread(void *b)
{
	wait_and_go(b, NULL);
	return NULL;
}

/* As a sanitizer sees it. */
static void
turns_go_by_weight_over_threads(void **state)
{
	struct board *b = open_with(&small);
	pthread_t threads[CHILDREN];

	(void)state;
	words = shared_words(8);
	for (int i = 0; i < CHILDREN; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_and_go_on_a_thread, b), 0);
	for (int i = 0; i < CHILDREN; i++)
		pthread_join(threads[i], NULL);
	assert_turns_by_weight();
	board_close(b);
}

static void
wait_and_die(struct board *b, void *ctx)
{
	(void)ctx;
	for (int i = 0; i < 100; i++)
		wait_in(b, 1, i, 1000);
	atomic_store(&words[0], 1);
	pause();
}

static void
the_dead_leave_no_place(void **state)
{
	struct board_waiter w, dead;
	struct board *b;
	pid_t pid;

	(void)state;
	words = shared_words(1);
	board_close(open_with(&small));
	pid = child_runs(wait_and_die, &small, NULL);
	while (atomic_load(&words[0]) == 0)
		sched_yield();
	b = open_with(&small);
	w = wait_in(b, 1, 2000, 1);
	assert_int_equal(board_wait_order(b, id_of(1), &dead, 1), 1);
	assert_false(is_same(w, dead));
	assert_int_equal(board_waiting(b, NULL, 0), 101);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(board_waiting(b, NULL, 0), 1);
	assert_int_equal(first_of(b, 1, &w, 1), 0);
	(void)board_wait_sweep(b);
	assert_int_equal(board_wait_count(b, id_of(1)), 1);
	board_wait_end(b, w, false);
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(turns_go_by_weight),
		TEST(virtual_time_wraps_around),
		TEST(who_comes_anew_has_neither_debt_nor_credit),
		TEST(leaving_costs_nothing),
		TEST(several_turns_ahead_are_told_in_order),
		TEST(lines_have_an_end),
		TEST(who_is_silent_is_passed_over),
		TEST(who_cannot_be_served_lets_others_pass),
		TEST(pools_come_and_go),
		TEST(the_next_turn_is_foreseen),
		TEST(turns_go_by_weight_over_processes),
		TEST(turns_go_by_weight_over_threads),
		TEST(the_dead_leave_no_place),
	};

	return cmocka_run_group_tests_name("board/waiter", tests, NULL, NULL);
}
