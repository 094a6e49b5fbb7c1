/* Idempotency keys: one exchange for each, however often and from wherever it is asked for. */
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
open_timed(const char *boot_id)
{
	struct board_options o = small;

	if (fake_wall == 0) {
		fake_wall = 1700000000000;
		fake_boot = 5000000;
	}
	o.wall_ms = wall;
	o.boot_ms = boot;
	o.boot_id = boot_id;
	return open_with(&o);
}

static struct board_repeat
key_of(uint64_t key, uint64_t body)
{
	return (struct board_repeat){ { key * UINT64_C(0x9e3779b97f4a7c15), key },
		{ body, ~body } };
}

/* The outcome, or -1. */
static int
ask(struct board *b, struct board_repeat repeat, struct id exchange, int64_t cap,
	struct board_lease *lease, struct board_verdict *v)
{
	struct board_claim c = claim_on(1, 1, cap);

	if (board_admit(b, exchange, &c, 1, &repeat, "note", 5, lease, v, &err) != 0)
		return -1;
	return (int)v->outcome;
}

static void
a_key_runs_once_and_is_remembered_an_hour(void **state)
{
	struct board *b = open_timed(NULL);
	struct id first = id_random(), second = id_random();
	struct board_lease lease, other;
	struct board_verdict v;

	(void)state;
	assert_int_equal(ask(b, key_of(1, 7), first, UNCAPPED, &lease, &v), BOARD_TAKEN);
	assert_int_equal(ask(b, key_of(1, 7), second, UNCAPPED, &other, &v), BOARD_RUNNING);
	assert_int_equal(other.serial, 0);
	assert_true(id_equal(v.first, first));
	assert_int_equal(ask(b, key_of(1, 8), second, UNCAPPED, &other, &v), BOARD_OTHER_BODY);
	assert_true(id_equal(v.first, first));
	/* Another key is another matter, and none is none. */
	assert_int_equal(ask(b, key_of(2, 7), second, UNCAPPED, &other, &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, other, NULL, 0, 200, &err), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ask(b, (struct board_repeat){ 0 }, second, UNCAPPED, &other, &v),
			BOARD_TAKEN);
		assert_int_equal(board_settle(b, other, NULL, 0, 200, &err), 1);
	}
	/* It runs for longer than it would be remembered. */
	pass(2 * BOARD_REPEAT_MS);
	assert_int_equal(ask(b, key_of(1, 7), second, UNCAPPED, &other, &v), BOARD_RUNNING);
	assert_int_equal(assert_whole(b), 1);

	assert_int_equal(board_settle(b, lease, (int64_t[]){ 1 }, 1, 599, &err), 1);
	pass(BOARD_REPEAT_MS - 1);
	assert_int_equal(ask(b, key_of(1, 7), second, UNCAPPED, &other, &v), BOARD_REPEATED);
	assert_true(id_equal(v.first, first));
	assert_int_equal(v.status, 599);
	assert_int_equal(ask(b, key_of(1, 8), second, UNCAPPED, &other, &v), BOARD_OTHER_BODY);
	pass(1);
	assert_int_equal(ask(b, key_of(1, 8), second, UNCAPPED, &other, &v), BOARD_TAKEN);
	assert_int_equal(ask(b, key_of(1, 8), first, UNCAPPED, &lease, &v), BOARD_RUNNING);
	assert_true(id_equal(v.first, second));
	assert_use(b, 1, 1, 1);
	assert_int_equal(assert_whole(b), 1);
	board_close(b);
}

static void
what_cost_nothing_frees_its_key(void **state)
{
	struct board *b = open_timed(NULL);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	for (uint64_t i = 0; i < 5; i++) {
		/* Even with another body. */
		assert_int_equal(
			ask(b, key_of(1, i), id_random(), UNCAPPED, &lease, &v), BOARD_TAKEN);
		assert_int_equal(board_settle(b, lease, NULL, 0, 0, &err), 1);
	}
	assert_int_equal(board_settle(b, lease, NULL, 0, 200, &err), 0);
	assert_int_equal(ask(b, key_of(1, 9), id_random(), UNCAPPED, &lease, &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, lease, NULL, 0, -1, &err), -1);
	assert_int_equal(err.code, ERR_INTERNAL);
	assert_int_equal(board_settle(b, lease, NULL, 0, 70000, &err), -1);
	assert_int_equal(assert_whole(b), 1);
	board_close(b);
}

static void
a_refused_request_leaves_its_key_free(void **state)
{
	struct board *b = open_timed(NULL);
	struct board_lease lease, other;
	struct board_verdict v;

	(void)state;
	assert_int_equal(ask(b, key_of(1, 7), id_random(), 0, &lease, &v), BOARD_REFUSED);
	assert_int_equal(b->head->used[REPEATS], 0);
	assert_int_equal(ask(b, key_of(1, 8), id_random(), 1, &lease, &v), BOARD_TAKEN);
	/* The repeat comes before the limit: it says what is so. */
	assert_int_equal(ask(b, key_of(1, 8), id_random(), 1, &other, &v), BOARD_RUNNING);
	assert_int_equal(ask(b, key_of(2, 8), id_random(), 1, &other, &v), BOARD_REFUSED);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 1 }, 1, 200, &err), 1);
	assert_int_equal(ask(b, key_of(1, 8), id_random(), 1, &other, &v), BOARD_REPEATED);
	/* A place that was used, and taken again for nothing, stays as it was. */
	pass(BOARD_REPEAT_MS);
	assert_int_equal(ask(b, key_of(1, 9), id_random(), 1, &other, &v), BOARD_REFUSED);
	assert_int_equal(assert_whole(b), 0);
	assert_use(b, 1, 1, 0);
	board_close(b);
}

static void
take_and_die(struct board *b, void *ctx)
{
	struct board_lease lease;
	struct board_verdict v;

	if (ask(b, key_of(1, 7), *(struct id *)ctx, UNCAPPED, &lease, &v) != BOARD_TAKEN)
		_exit(1);
	raise(SIGKILL);
}

static bool
book_as_crashed(void *ctx, const struct board_orphan *o)
{
	return board_settle(ctx, o->lease, (int64_t[]){ 1 }, 1, 502, &err) == 1;
}

static void
a_reaper_finishes_the_key_of_the_dead(void **state)
{
	struct board *b = open_with(&small);
	struct id first = id_random();
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	waitpid(child_runs(take_and_die, &small, &first), NULL, 0);
	assert_int_equal(ask(b, key_of(1, 7), id_random(), UNCAPPED, &lease, &v), BOARD_RUNNING);
	assert_int_equal(board_reap(b, book_as_crashed, b, &err), 1);
	assert_int_equal(ask(b, key_of(1, 7), id_random(), UNCAPPED, &lease, &v), BOARD_REPEATED);
	assert_true(id_equal(v.first, first));
	assert_int_equal(v.status, 502);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
keys_outlive_a_reboot_as_their_leases_do(void **state)
{
	struct board *b = open_timed("one");
	struct id running = id_random(), done = id_random();
	struct board_lease lease, torn, other;
	struct board_verdict v;
	int64_t ref;

	(void)state;
	assert_int_equal(ask(b, key_of(1, 7), done, UNCAPPED, &lease, &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 5 }, 1, 201, &err), 1);
	assert_int_equal(ask(b, key_of(2, 7), running, UNCAPPED, &lease, &v), BOARD_TAKEN);
	assert_int_equal(ask(b, key_of(3, 7), id_random(), UNCAPPED, &torn, &v), BOARD_TAKEN);
	/* The power goes in the middle of a settlement, and of the writing of a page. */
	b->bodies[torn.index].serial = 0;
	ref = b->bodies[lease.index].repeat;
	assert_int_equal(section_enter(b, &err), 0);
	section_change_at(b, ref, &((struct repeat *)table_at(b, ref))->until, INT64_MAX);
	section_change(b, &b->head->used[REPEATS], 99);
	b->head = NULL; /* left mapped: the C library still knows of the mutex */
	board_close(b);

	pass(60000);
	b = open_timed("two");
	assert_int_equal(assert_whole(b), 1);
	assert_use(b, 1, 0, 0);
	assert_int_equal(ask(b, key_of(1, 7), id_random(), UNCAPPED, &other, &v), BOARD_REPEATED);
	assert_true(id_equal(v.first, done));
	assert_int_equal(v.status, 201);
	assert_int_equal(ask(b, key_of(2, 7), id_random(), UNCAPPED, &other, &v), BOARD_RUNNING);
	assert_true(id_equal(v.first, running));
	/* Nobody holds it any more. */
	assert_int_equal(ask(b, key_of(3, 7), id_random(), UNCAPPED, &other, &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, other, NULL, 0, 0, &err), 1);
	assert_int_equal(board_reap(b, book_as_crashed, b, &err), 1);
	assert_int_equal(ask(b, key_of(2, 7), id_random(), UNCAPPED, &other, &v), BOARD_REPEATED);
	assert_int_equal(v.status, 502);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

/* ---- the table ---- */

static void
keys_are_forgotten_for_new_ones_only_when_over(void **state)
{
	struct board *b = open_timed(NULL);
	struct board_lease lease;
	struct board_verdict v;
	uint64_t n = 0;

	(void)state;
	/* Ten thousand keys, a thousand of them in any hour: two segments, or three. */
	for (n = 0; n < 10000; n++) {
		assert_int_equal(
			ask(b, key_of(n + 1, 7), id_random(), UNCAPPED, &lease, &v), BOARD_TAKEN);
		assert_int_equal(board_settle(b, lease, NULL, 0, 200, &err), 1);
		if (n >= 900)
			assert_int_equal(
				ask(b, key_of(n + 1 - 900, 7), id_random(), UNCAPPED, &lease, &v),
				BOARD_REPEATED);
		pass(BOARD_REPEAT_MS / 1000);
	}
	assert_in_range(b->table[REPEATS].count, 2, 3);
	assert_int_equal(assert_whole(b), 0);
	/* Faster than they are forgotten: it ends, and says of what there is no more. */
	for (;; n++) {
		if (ask(b, key_of(n + 1, 7), id_random(), UNCAPPED, &lease, &v) != BOARD_TAKEN)
			break;
		assert_int_equal(board_settle(b, lease, NULL, 0, 200, &err), 1);
	}
	assert_int_equal(err.code, ERR_OVERLOADED);
	assert_non_null(strstr(err.text, "idempotency keys"));
	assert_int_equal(b->table[REPEATS].count, 4);
	assert_int_equal(assert_whole(b), 0);
	assert_int_equal(
		ask(b, (struct board_repeat){ 0 }, id_random(), UNCAPPED, &lease, &v), BOARD_TAKEN);
	board_close(b);
}

/* ---- many at once ---- */

#define RACE_KEYS 300

static void
race_for_keys(struct board *b, void *ctx)
{
	_Atomic int64_t *taken = ctx;

	for (uint64_t k = 0; k < RACE_KEYS; k++) {
		struct board_lease lease;
		struct board_verdict v;
		int got;

		atomic_fetch_add(&taken[RACE_KEYS], 1);
		while (atomic_load(&taken[RACE_KEYS]) < 8 * ((int64_t)k + 1))
			usleep(1);
		while ((got = ask(b, key_of(k + 1, 7), id_random(), UNCAPPED, &lease, &v)) < 0)
			if (err.code != ERR_OVERLOADED || strstr(err.text, "in use") != NULL)
				_exit(1);
		if (got != BOARD_TAKEN) {
			if (got != BOARD_RUNNING && got != BOARD_REPEATED)
				_exit(2);
			continue;
		}
		atomic_fetch_add(&taken[k], 1);
		while (board_settle(b, lease, (int64_t[]){ 1 }, 1, 200, &err) < 0)
			;
	}
}

static void
one_of_eight_gets_each_key(void **state)
{
	_Atomic int64_t *taken = shared_words(RACE_KEYS + 1);
	struct board *b = open_with(&small);
	pid_t pid[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		pid[i] = child_runs(race_for_keys, &small, taken);
	for (int i = 0; i < 8; i++)
		wait_ok(pid[i]);
	for (uint64_t k = 0; k < RACE_KEYS; k++)
		assert_int_equal(taken[k], 1);
	assert_use(b, 1, RACE_KEYS, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_runs_once_and_is_remembered_an_hour),
		TEST(what_cost_nothing_frees_its_key),
		TEST(a_refused_request_leaves_its_key_free),
		TEST(a_reaper_finishes_the_key_of_the_dead),
		TEST(keys_outlive_a_reboot_as_their_leases_do),
		TEST(keys_are_forgotten_for_new_ones_only_when_over),
		TEST(one_of_eight_gets_each_key),
	};

	return cmocka_run_group_tests_name("board/repeat", tests, NULL, NULL);
}
