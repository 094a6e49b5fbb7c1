/* share_test.c - each member gets its weight's part within one pick, from any number of processes; who
 * was away gets its part again, and no more. */
#include "../admit/house.h"

#include "route/share.h"

#include <math.h>
#include <sched.h>

#define PROCESSES   10
#define MEMBERS_MAX 64

static const struct id pool = { { 7 } };

static struct id
member_id(int i)
{
	struct id id = { { 1 } };

	id.b[1] = (uint8_t)i;
	id.b[2] = (uint8_t)(i >> 8);
	return id;
}

static void
members(struct board *b, struct share_member *m, const double *weight, int count)
{
	for (int i = 0; i < count; i++) {
		m[i] = (struct share_member){ .word = board_share(b, pool, member_id(i)),
			.weight = weight[i],
			.step = share_step(weight[i]) };
		assert_non_null(m[i].word);
	}
}

/* What the processes do: picks each, of those weights. */
struct task {
	_Atomic int64_t got[MEMBERS_MAX];
	_Atomic int ready;
	int picks, count;
	double weight[MEMBERS_MAX];
};

static int
picks(struct house *h, void *ctx)
{
	struct share_member m[MEMBERS_MAX];
	struct task *t = ctx;

	members(h->board, m, t->weight, t->count);
	atomic_fetch_add(&t->ready, 1);
	while (atomic_load(&t->ready) < PROCESSES)
		(void)sched_yield();
	for (int i = 0; i < t->picks; i++) {
		atomic_fetch_add(&t->got[share_pick(m, t->count)], 1);
		if (i % 8 == 0) /* so that all of them are at it together */
			(void)sched_yield();
	}
	return 0;
}

static void
run(struct house *h, struct task *t)
{
	pid_t child[PROCESSES];

	house_close(h);
	for (int i = 0; i < PROCESSES; i++)
		assert_true((child[i] = house_child(h, picks, t)) > 0);
	for (int i = 0; i < PROCESSES; i++)
		house_wait(child[i], 0);
	house_open(h);
}

static struct task *
task_new(void)
{
	struct task *t =
		mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(t != MAP_FAILED);
	return t;
}

static void
seven_alike_differ_by_one_over_ten_processes(void **state)
{
	struct house *h = *state;
	struct task *t = task_new();
	int64_t least = INT64_MAX, most = 0;

	t->picks = 1000;
	t->count = 7;
	for (int i = 0; i < 7; i++)
		t->weight[i] = 1;
	run(h, t);
	for (int i = 0; i < 7; i++) {
		least = t->got[i] < least ? t->got[i] : least;
		most = t->got[i] > most ? t->got[i] : most;
	}
	if (most - least > 1)
		fail_msg("from %lld to %lld", (long long)least, (long long)most);
	(void)munmap(t, sizeof *t);
}

static const struct {
	const char *why;
	int count;
	double weight[12];
} weights[] = {
	{ "three", 3, { 1, 2, 5 } },
	{ "one that is nearly all", 5, { 1000, 1, 1, 1, 1 } },
	{ "sums of thousands", 6, { 997, 613, 1000, 251, 3, 89 } },
	{ "many small, two large", 12, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 500, 500 } },
	{ "products of weights", 3, { 1000000, 999000, 1000 } },
	{ "a key that climbs back", 4, { 0.1, 1, 1, 1 } },
};

static void
weights_are_kept_within_one_pick_over_ten_processes(void **state)
{
	struct house *h = *state;

	for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
		struct task *t = task_new();
		double sum = 0;

		house_lose_board(h);
		t->picks = 1000;
		t->count = weights[i].count;
		memcpy(t->weight, weights[i].weight, sizeof weights[i].weight);
		for (int k = 0; k < t->count; k++)
			sum += t->weight[k];
		run(h, t);
		for (int k = 0; k < t->count; k++) {
			double ideal = 10000 * t->weight[k] / sum;

			if (fabs((double)t->got[k] - ideal) > 1)
				fail_msg("%s: member %d got %lld of %.2f", weights[i].why, k,
					(long long)t->got[k], ideal);
		}
		(void)munmap(t, sizeof *t);
	}
}

/* Not only in the end: nobody has two turns too many or too few at any time. */
static void
nobody_is_ever_a_whole_turn_off(void **state)
{
	struct house *h = *state;

	for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
		struct share_member m[MEMBERS_MAX];
		int64_t got[MEMBERS_MAX] = { 0 };
		double sum = 0;

		house_lose_board(h);
		members(h->board, m, weights[i].weight, weights[i].count);
		for (int k = 0; k < weights[i].count; k++)
			sum += weights[i].weight[k];
		for (int n = 1; n <= 5000; n++) {
			got[share_pick(m, weights[i].count)]++;
			for (int k = 0; k < weights[i].count; k++) {
				double ideal = n * weights[i].weight[k] / sum;

				if (fabs((double)got[k] - ideal) > 1.01)
					fail_msg("%s: after %d picks member %d has %lld of %.2f",
						weights[i].why, n, k, (long long)got[k], ideal);
			}
		}
	}
}

static void
who_comes_back_is_lifted_and_not_flooded(void **state)
{
	static const double alike[] = { 1, 1, 1, 1 };
	struct house *h = *state;
	struct share_member all[4];
	int64_t got[4] = { 0 };

	members(h->board, all, alike, 4);
	for (int n = 0; n < 40; n++)
		(void)share_pick(all, 4);
	for (int n = 0; n < 3000; n++) /* the last one rests */
		(void)share_pick(all, 3);
	for (int n = 0; n < 40; n++)
		got[share_pick(all, 4)]++;
	for (int k = 0; k < 4; k++)
		assert_in_range(got[k], 9, 11);
	/* it was the only one for long: the others are as far behind */
	for (int n = 0; n < 3000; n++)
		(void)share_pick(all, 1);
	memset(got, 0, sizeof got);
	for (int n = 0; n < 40; n++)
		got[share_pick(all, 4)]++;
	for (int k = 0; k < 4; k++)
		assert_in_range(got[k], 9, 11);
}

static void
who_comes_back_with_little_gets_that(void **state)
{
	static const double weight[] = { 1, 1, 1, 0.1 };
	struct house *h = *state;
	struct share_member all[4];
	int64_t got[4] = { 0 };

	members(h->board, all, weight, 4);
	for (int n = 0; n < 40; n++)
		(void)share_pick(all, 4);
	for (int n = 0; n < 3000; n++) /* the last one rests */
		(void)share_pick(all, 3);
	for (int n = 0; n < 310; n++)
		got[share_pick(all, 4)]++;
	for (int k = 0; k < 3; k++)
		assert_in_range(got[k], 98, 101);
	assert_in_range(got[3], 9, 11);
}

static void
words_may_wrap_around(void **state)
{
	static const double alike[] = { 1, 1, 1 };
	struct house *h = *state;
	struct share_member m[3];
	int64_t got[3] = { 0 };

	members(h->board, m, alike, 3);
	for (int i = 0; i < 3; i++)
		atomic_store(&m[i].word->at, INT64_MAX - SHARE_ROUND / 2);
	for (int n = 0; n < 30; n++)
		got[share_pick(m, 3)]++;
	for (int k = 0; k < 3; k++)
		assert_int_equal(got[k], 10);
	/* a new one, where the others are at the other end of what a word can hold */
	for (int64_t at = INT64_MIN; at < INT64_MAX - (INT64_C(1) << 60); at += INT64_C(1) << 60) {
		atomic_store(&m[0].word->at, at);
		atomic_store(&m[1].word->at, at);
		atomic_store(&m[2].word->at, 0);
		memset(got, 0, sizeof got);
		for (int n = 0; n < 30; n++)
			got[share_pick(m, 3)]++;
		for (int k = 0; k < 3; k++)
			assert_in_range(got[k], 9, 11);
	}
}

static void
a_quote_sees_who_is_next_and_changes_nothing(void **state)
{
	static const double some[] = { 1, 3, 2 };
	struct house *h = *state;
	struct share_member m[3];

	members(h->board, m, some, 3);
	for (int n = 0; n < 100; n++) {
		int said = share_look(m, 3);

		assert_int_equal(share_look(m, 3), said);
		assert_int_equal(share_pick(m, 3), said);
	}
}

static void
a_full_board_gives_an_old_place_away(void **state)
{
	struct house *h = *state;
	struct board_share *first = board_share(h->board, pool, member_id(1));
	int64_t now_s = board_now_ms(h->board) / 1000, tag = atomic_load(&first->tag);
	struct board_share *all = h->board->region[REGION_SHARES];

	for (int i = 0; i < BOARD_SHARES; i++)
		if (&all[i] != first) {
			atomic_store(&all[i].tag, i + 1000000);
			atomic_store(&all[i].use, now_s);
		}
	assert_ptr_equal(board_share(h->board, pool, member_id(1)), first);
	assert_null(board_share(h->board, pool, member_id(2)));
	for (int i = 0; i < BOARD_SHARES; i += 32)
		atomic_store(&all[i].use, now_s - 2 * BOARD_SHARE_OLD_S);
	atomic_store(&first->use, now_s);
	assert_non_null(board_share(h->board, pool, member_id(2)));
	assert_int_equal(atomic_load(&first->tag), tag);
	/* no room at all: still somebody is picked */
	{
		struct share_member none[2] = { { .weight = 1, .step = share_step(1) },
			{ .weight = 1, .step = share_step(1) } };

		assert_in_range(share_pick(none, 2), 0, 1);
	}
}

static void
uses_are_forgotten_by_half(void **state)
{
	struct house *h = *state;
	struct board_share *s = board_share(h->board, pool, member_id(1));
	int64_t now_ms = board_now_ms(h->board), use;

	for (int i = 0; i < 64; i++)
		board_share_used(s, now_ms);
	use = atomic_load(&s->use);
	assert_int_equal(board_share_use(use, now_ms), 64 * BOARD_SHARE_ONE);
	assert_int_equal(
		board_share_use(use, now_ms + BOARD_SHARE_HALF_S * 1000), 32 * BOARD_SHARE_ONE);
	assert_in_range(board_share_use(use, now_ms + BOARD_SHARE_HALF_S * 500),
		32 * BOARD_SHARE_ONE, 50 * BOARD_SHARE_ONE);
	assert_int_equal(board_share_use(use, now_ms + INT64_C(86400000)), 0);
	assert_int_equal(board_share_use(use, now_ms - 5000), 64 * BOARD_SHARE_ONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(seven_alike_differ_by_one_over_ten_processes),
		TEST(weights_are_kept_within_one_pick_over_ten_processes),
		TEST(nobody_is_ever_a_whole_turn_off),
		TEST(who_comes_back_is_lifted_and_not_flooded),
		TEST(who_comes_back_with_little_gets_that),
		TEST(words_may_wrap_around),
		TEST(a_quote_sees_who_is_next_and_changes_nothing),
		TEST(a_full_board_gives_an_old_place_away),
		TEST(uses_are_forgotten_by_half),
	};

	return cmocka_run_group_tests_name("route/share", tests, NULL, NULL);
}
