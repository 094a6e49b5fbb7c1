/* Time, keys and counts: what the loop reads without the mutex. */
#include "fixture.h"

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

static struct board *
open_with_clocks(void)
{
	struct board_options o = small;

	fake_wall = 1700000000000;
	fake_boot = 1000000;
	o.wall_ms = wall;
	o.boot_ms = boot;
	return open_with(&o);
}

static void
time_is_the_wall_clocks_when_nothing_steps(void **state)
{
	struct board *b = open_with_clocks();

	(void)state;
	for (int i = 0; i < 100; i++) {
		pass(333);
		if (i % 3 == 0)
			board_tick(b);
		assert_int_equal(board_now_ms(b), fake_wall);
	}
	board_close(b);
}

/* Steps of an hour, both ways, with ticks as they come: never back, never faster or slower than a
 * tenth, and right again in the end. */
static void
a_step_of_the_wall_clock_is_slewed_in(void **state)
{
	static const int64_t steps[] = { 3600000, -3600000, -5000, 7, -86400000, 86400000 };
	struct board *b = open_with_clocks();
	unsigned seed = 1;

	(void)state;
	for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
		int64_t end, last = board_now_ms(b);

		fake_wall += steps[s];
		board_tick(b);
		assert_int_equal(board_now_ms(b), last);
		end = fake_boot + llabs(steps[s]) * 11 + 10000;
		while (fake_boot < end) {
			int64_t ms = 1 + rand_r(&seed) % 3000, now;

			pass(ms);
			now = board_now_ms(b);
			if (now - last < ms - ms / 10 - 1 || now - last > ms + ms / 10 + 1)
				fail_msg("%lld ms became %lld", (long long)ms,
					(long long)(now - last));
			last = now;
			/* Ticks of several processes, now and then none for long. */
			if (rand_r(&seed) % 4 == 0)
				board_tick(b);
			now = board_now_ms(b);
			assert_int_equal(now, last);
		}
		if (llabs(board_now_ms(b) - fake_wall) > 1)
			fail_msg("after a step of %lld still off by %lld", (long long)steps[s],
				(long long)(board_now_ms(b) - fake_wall));
	}
	board_close(b);
}

/* What is said of a wait is true to three milliseconds, slewing either way, into the end of a slew
 * and past it. */
static void
a_wait_is_told_in_time_that_will_pass(void **state)
{
	static const int64_t steps[] = { 0, 3600000, -3600000, 2000, -2000, 7, -7 };
	static const int64_t waits[] = { 1, 9, 10, 11, 1000, 10000, 60000, 3600000 };
	struct board *b = open_with_clocks();

	(void)state;
	for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++)
		for (size_t w = 0; w < sizeof waits / sizeof waits[0]; w++) {
			int64_t at, wait;

			fake_wall = board_now_ms(b) + steps[s];
			pass(BOARD_TICK_LEAST_MS);
			board_tick(b);
			pass(300); /* into the line */
			at = board_now_ms(b) + waits[w];
			wait = board_wait_ms(b, at);
			pass(wait > 3 ? wait - 3 : 0);
			if (board_now_ms(b) >= at && wait > 3)
				fail_msg("step %lld, %lld ms: there before %lld",
					(long long)steps[s], (long long)waits[w], (long long)wait);
			pass(wait > 3 ? 3 : wait);
			if (board_now_ms(b) < at)
				fail_msg("step %lld, %lld ms: not there after %lld",
					(long long)steps[s], (long long)waits[w], (long long)wait);
			assert_int_equal(board_wait_ms(b, at), 0);
		}
	assert_true(board_wait_ms(b, INT64_MAX) > INT64_MAX / 2);
	board_close(b);
}

static void
a_slew_ends_though_nobody_ticks_any_more(void **state)
{
	struct board *b = open_with_clocks();

	(void)state;
	pass(1000);
	fake_wall += 5000;
	board_tick(b);
	pass(10000);
	assert_int_equal(board_now_ms(b), fake_wall - 4000);
	pass(1000000);
	assert_int_equal(board_now_ms(b), fake_wall);
	board_close(b);
}

static void
watch_the_clock(struct board *b, void *ctx)
{
	_Atomic int64_t *latest = ctx;

	for (int i = 0; i < 200000; i++) {
		int64_t seen = atomic_load(latest), now = board_now_ms(b);

		if (now < seen)
			_exit(1);
		while (seen < now && !atomic_compare_exchange_weak(latest, &seen, now))
			;
	}
}

static void
time_is_one_for_all_processes_and_never_goes_back(void **state)
{
	_Atomic int64_t *latest = shared_words(1);
	struct board *b = open_with(&small);
	pid_t pid[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		pid[i] = child_runs(watch_the_clock, &small, latest);
	for (int i = 0; i < 4; i++)
		wait_ok(pid[i]);
	board_close(b);
}

static void
a_key_is_the_same_word_for_all(void **state)
{
	struct board *b = open_with(&small), *other = open_with(&small);
	struct id key = id_random();
	struct board_target *mine = board_target(b, key);

	(void)state;
	assert_non_null(mine);
	assert_ptr_equal(board_target(b, key), mine);
	atomic_store(&mine->failures, 3);
	assert_int_equal(atomic_load(&board_target(other, key)->failures), 3);
	key.b[15] ^= 1;
	assert_int_equal(atomic_load(&board_target(other, key)->failures), 0);
	board_close(other);
	board_close(b);
}

static void
the_key_table_has_an_end(void **state)
{
	struct board *b = open_with(&small);
	static struct id key[BOARD_TARGETS];

	(void)state;
	for (int i = 0; i < BOARD_TARGETS; i++) {
		key[i] = id_random();
		assert_non_null(board_target(b, key[i]));
		atomic_store(&board_target(b, key[i])->picks, (int64_t)i);
	}
	assert_null(board_target(b, id_random()));
	for (int i = 0; i < BOARD_TARGETS; i++)
		assert_int_equal(atomic_load(&board_target(b, key[i])->picks), i);
	board_close(b);
}

static struct id race_key[500];

static struct target_slot *
slot_of(struct board *b, int i)
{
	return (struct target_slot *)b->region[REGION_TARGETS] + i;
}

static void
count_on_keys(struct board *b, void *ctx)
{
	(void)ctx;
	for (int i = 0; i < 500; i++)
		atomic_fetch_add(&board_target(b, race_key[i])->picks, 1);
}

static void
keys_are_made_once_by_eight_at_once(void **state)
{
	struct board *b = open_with(&small);
	int slots = 0;
	pid_t pid[8];

	(void)state;
	for (int i = 0; i < 500; i++) {
		race_key[i] = id_random();
		/* The same first half: only the second one tells them apart. */
		if (i % 2 == 1)
			memcpy(race_key[i].b, race_key[i - 1].b, 8);
	}
	for (int i = 0; i < 8; i++)
		pid[i] = child_runs(count_on_keys, &small, NULL);
	for (int i = 0; i < 8; i++)
		wait_ok(pid[i]);
	for (int i = 0; i < 500; i++)
		assert_int_equal(atomic_load(&board_target(b, race_key[i])->picks), 8);
	for (int i = 0; i < BOARD_TARGETS; i++)
		slots += slot_of(b, i)->id[0] != 0;
	assert_int_equal(slots, 500);
	board_close(b);
}

static void
a_key_half_made_by_the_dead_is_completed(void **state)
{
	struct board *b = open_with(&small);
	struct id key = id_random();
	struct board_target *made = board_target(b, key);

	(void)state;
	for (int i = 0; i < BOARD_TARGETS; i++)
		slot_of(b, i)->id[1] = 0;
	assert_ptr_equal(board_target(b, key), made);
	assert_ptr_equal(board_target(b, key), made);
	board_close(b);
}

static void
counts_and_generation_are_shared(void **state)
{
	struct board *b = open_with(&small), *other = open_with(&small);
	uint64_t generation = board_generation(b);

	(void)state;
	board_count(b, COUNT_ATTEMPTS, 5);
	board_count(other, COUNT_ATTEMPTS, 7);
	assert_int_equal(board_counted(b, COUNT_ATTEMPTS), 12);
	assert_int_equal(board_counted(b, COUNT_FAILED), 0);
	board_generation_bump(other);
	assert_int_equal(board_generation(b), generation + 1);
	board_close(other);
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(time_is_the_wall_clocks_when_nothing_steps),
		TEST(a_step_of_the_wall_clock_is_slewed_in),
		TEST(a_wait_is_told_in_time_that_will_pass),
		TEST(a_slew_ends_though_nobody_ticks_any_more),
		TEST(time_is_one_for_all_processes_and_never_goes_back),
		TEST(a_key_is_the_same_word_for_all),
		TEST(the_key_table_has_an_end),
		TEST(keys_are_made_once_by_eight_at_once),
		TEST(a_key_half_made_by_the_dead_is_completed),
		TEST(counts_and_generation_are_shared),
	};

	return cmocka_run_group_tests_name("board/words", tests, NULL, NULL);
}
