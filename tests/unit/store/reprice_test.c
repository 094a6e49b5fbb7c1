/* reprice_test.c - a row's cost changes, and every sum it is in with it: once, whatever happens. */
#include "store_fixture.h"
#include "usage_rows.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define MANY 1500

static struct usage_row all[MANY];

static void
book_all(struct store *s, int from, int to)
{
	bool booked[STORE_BOOK_MAX];

	for (int at = from; at < to; at += STORE_BOOK_MAX) {
		int n = to - at < STORE_BOOK_MAX ? to - at : STORE_BOOK_MAX;

		for (int i = at; i < at + n; i++)
			all[i] = random_row(clock_wall_ms() - (int64_t)random_below(40) * 3600000);
		WORKS(store_book(s, all + at, (size_t)n, booked, &err));
	}
}

static void
fold_all(struct store *s)
{
	while (store_fold(s, &err) > 0)
		;
}

static bool
add_sum(void *ctx, const struct rollup *r)
{
	usage_sum_merge(ctx, &r->sum);
	return true;
}

/* Under how many values of the dimension does it count? */
static int
values_count(enum rollup_by by, const struct usage_row *r)
{
	int tags = 0;

	for (int t = 0; t < USAGE_TAGS_MAX; t++) {
		bool again = r->tags[t][0] == '\0';

		for (int before = 0; before < t; before++)
			again |= strcmp(r->tags[before], r->tags[t]) == 0;
		tags += !again;
	}
	return (const int[]){ [BY_TOTAL] = 1,
		[BY_PROJECT] = !id_is_none(r->project),
		[BY_TOKEN] = !id_is_none(r->token),
		[BY_MODEL] = r->model[0] != '\0',
		[BY_UPSTREAM] = !id_is_none(r->upstream),
		[BY_KEY] = !id_is_none(r->key),
		[BY_END_USER] = r->end_user[0] != '\0',
		[BY_TAG] = tags }[by];
}

/* All steps of all dimensions against what the rows say. */
static void
check_sums(struct store *s, int count)
{
	for (enum rollup_by by = 0; by < BY__COUNT; by++) {
		struct usage_sum wanted = { 0 }, ever;

		for (int i = 0; i < count; i++)
			for (int n = values_count(by, &all[i]); n > 0; n--)
				usage_sum_add(&wanted, &all[i]);
		for (int step = STEP_MINUTE; step <= STEP_DAY; step++) {
			struct usage_sum sum = { 0 };

			WORKS(store_rollup_each(s, by, (enum rollup_step)step, 0, INT64_MAX, NULL,
				add_sum, &sum, &err));
			assert_memory_equal(&sum, &wanted, sizeof wanted);
		}
		if (by != BY_TOTAL)
			continue;
		WORKS(store_usage_sum(s, by, NULL, 0, INT64_MAX, &ever, &err));
		assert_memory_equal(&ever, &wanted, sizeof wanted);
	}
}

static int64_t
random_cost(void)
{
	return random_below(10) == 0 ? COST_UNKNOWN : (int64_t)random_below(1000000000);
}

static void
reprice_some(struct store *s, int count, int times)
{
	while (times-- > 0) {
		struct usage_row *r = &all[random_below((uint32_t)count)], got;
		int64_t was = 0, cost = random_cost();

		assert_int_equal(store_row_reprice(s, r->exchange, cost, &was, &err), 1);
		assert_true(was == r->cost_nusd);
		r->cost_nusd = cost;
		if (random_below(4) == 0) { /* again: nothing changes */
			assert_int_equal(store_row_reprice(s, r->exchange, cost, &was, &err), 1);
			assert_true(was == cost);
		}
		assert_int_equal(store_row_get(s, r->exchange, &got, &err), 1);
		assert_memory_equal(&got, r, sizeof got);
	}
}

static void
a_new_cost_is_in_the_row_and_in_every_sum(void **state)
{
	struct fixture *f = *state;

	book_all(f->s, 0, 500);
	reprice_some(f->s, 500, 200); /* nothing is folded */
	check_sums(f->s, 500);
	fold_all(f->s);
	check_sums(f->s, 500);
	reprice_some(f->s, 500, 300); /* all is */
	check_sums(f->s, 500);
	book_all(f->s, 500, MANY);
	reprice_some(f->s, MANY, 300);
	check_sums(f->s, MANY);
	fold_all(f->s);
	check_sums(f->s, MANY);
	assert_int_equal(store_row_reprice(f->s, id_random(), 1, NULL, &err), 0);
}

struct folding {
	struct store *s;
	_Atomic bool stop;
};

static void *
keep_folding(void *arg)
{
	struct folding *f = arg;

	while (!f->stop)
		(void)store_fold(f->s, &err);
	return NULL;
}

static void
a_fold_beside_it_takes_each_row_as_it_is_at_last(void **state)
{
	struct fixture *f = *state;
	struct folding folding = { f->s, false };
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, keep_folding, &folding), 0);
	for (int at = 0; at + 50 <= MANY; at += 50) {
		book_all(f->s, at, at + 50);
		reprice_some(f->s, at + 50, 60);
	}
	folding.stop = true;
	(void)pthread_join(t, NULL);
	fold_all(f->s);
	check_sums(f->s, MANY);
}

static __attribute__((noreturn)) void
reprice_until_killed(const struct fixture *f)
{
	struct store_options o = fixture_options(f);
	struct store *s = store_open(&o, NULL, &err);

	for (int i = 0; s != NULL; i = (i + 1) % MANY) {
		(void)store_row_reprice(s, all[i].exchange, 1000 + random_below(1000), NULL, &err);
		if (i % 20 == 0)
			(void)store_fold(s, &err);
	}
	_exit(1);
}

static void
a_kill_leaves_row_and_sums_agreeing(void **state)
{
	struct fixture *f = *state;

	book_all(f->s, 0, MANY);
	store_close(f->s);
	for (int i = 0; i < 5; i++) {
		pid_t child = fork();

		if (child == 0)
			reprice_until_killed(f);
		(void)usleep(60000 + random_below(60000));
		(void)kill(child, SIGKILL);
		(void)waitpid(child, NULL, 0);
	}
	f->s = fixture_open(f, false);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(store_row_get(f->s, all[i].exchange, &all[i], &err), 1);
	check_sums(f->s, MANY);
	fold_all(f->s);
	check_sums(f->s, MANY);
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		IN_STORE(a_new_cost_is_in_the_row_and_in_every_sum),
		IN_STORE(a_fold_beside_it_takes_each_row_as_it_is_at_last),
		IN_STORE(a_kill_leaves_row_and_sums_agreeing),
	};

	return cmocka_run_group_tests_name("store/reprice", tests, NULL, NULL);
}
