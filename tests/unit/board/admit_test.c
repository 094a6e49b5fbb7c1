/* What an admission takes, refuses and gives back. */
#include "fixture.h"

static void
all_claims_are_taken_or_none(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[3] = { claim_on(1, 5, 10), claim_on(2, 1, UNCAPPED),
		claim_on(3, 2, 2) };
	struct board_lease first, second;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, c, 3, &first, &v), BOARD_TAKEN);
	assert_use(b, 1, 0, 5);
	assert_use(b, 2, 0, 1);
	assert_use(b, 3, 0, 2);

	assert_int_equal(admit(b, c, 3, &second, &v), BOARD_REFUSED);
	assert_int_equal(second.serial, 0);
	assert_use(b, 1, 0, 5);
	assert_use(b, 2, 0, 1);
	assert_use(b, 3, 0, 2);

	assert_int_equal(board_settle(b, first, (int64_t[]){ 4, 1, 0 }, 3, 0, &err), 1);
	assert_use(b, 1, 4, 0);
	assert_use(b, 2, 1, 0);
	assert_use(b, 3, 0, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
a_refused_admission_leaves_no_new_counter(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[2] = { claim_on(1, 1, 10), claim_on(2, 3, 2) };
	struct board_lease lease;
	struct board_verdict v;
	struct board_health health;
	int64_t s, r;

	(void)state;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_REFUSED);
	assert_int_equal(board_peek(b, c[0].key, 0, &s, &r), 0);
	board_health(b, &health);
	assert_int_equal(health.rows_used, 0);
	assert_int_equal(health.leases_used, 0);
	board_close(b);
}

static void
the_refusal_names_the_claim_that_binds(void **state)
{
	struct board *b = open_with(&small);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	for (int binds = 0; binds < 4; binds++) {
		struct board_claim c[4];

		for (int i = 0; i < 4; i++)
			c[i] = claim_on((uint64_t)(10 * binds + i + 1), 2, i == binds ? 3 : 100);
		assert_int_equal(admit(b, c, 4, &lease, &v), BOARD_TAKEN);
		assert_int_equal(board_settle(b, lease, (int64_t[]){ 1, 1, 1, 1 }, 4, 0, &err), 1);
		c[binds].amount = 1;
		assert_int_equal(admit(b, c, 4, &lease, &v), BOARD_TAKEN);
		c[binds].amount = 2;
		assert_int_equal(admit(b, c, 4, &lease, &v), BOARD_REFUSED);
		assert_int_equal(v.which, binds);
		assert_int_equal(v.spent, 1);
		assert_int_equal(v.reserved, 1);
	}
	assert_int_equal(assert_whole(b), 4);
	board_close(b);
}

static void
two_claims_on_one_counter_add_up(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[2] = { claim_on(1, 3, 5), claim_on(1, 3, 5) };
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_REFUSED);
	assert_int_equal(v.which, 1);
	c[1].amount = 2;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_TAKEN);
	assert_int_equal(v.used[0], 5);
	assert_int_equal(v.used[1], 5);
	assert_use(b, 1, 0, 5);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 1, 1 }, 2, 0, &err), 1);
	assert_use(b, 1, 2, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
amounts_near_the_end_of_the_number_never_wrap(void **state)
{
	static const struct {
		const char *why;
		int64_t seed, held, amount, cap;
		int want;
		int64_t reserved;
	} cases[] = {
		{ "exactly the cap", 0, 6, 4, 10, BOARD_TAKEN, 10 },
		{ "one more", 0, 6, 5, 10, BOARD_REFUSED, 6 },
		{ "reserved would wrap", 0, INT64_MAX - 2, 5, INT64_MAX - 1, BOARD_REFUSED,
			INT64_MAX - 2 },
		{ "spent and reserved would wrap", INT64_MAX - 2, 1, 5, INT64_MAX - 1,
			BOARD_REFUSED, 1 },
		{ "spent is over the cap already", 50, 0, 1, 10, BOARD_REFUSED, 0 },
		{ "nothing more at the cap is fine", 10, 0, 0, 10, BOARD_TAKEN, 0 },
		{ "only counted: held at the end", 0, INT64_MAX - 2, 5, UNCAPPED, BOARD_TAKEN,
			INT64_MAX },
		{ "only counted: whatever was spent", INT64_MAX, 7, 5, UNCAPPED, BOARD_TAKEN, 12 },
		{ "a cap of nothing", 0, 0, 1, 0, BOARD_REFUSED, 0 },
	};
	struct board *b = open_with(&small);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct board_claim first = claim_on(i + 1, cases[i].held, UNCAPPED), c = first;
		struct board_lease keep, lease;
		struct board_verdict v;

		first.seeded = true;
		first.seed = cases[i].seed;
		c.amount = cases[i].amount;
		c.cap = cases[i].cap;
		assert_int_equal(admit(b, &first, 1, &keep, &v), BOARD_TAKEN);
		int got = admit(b, &c, 1, &lease, &v);

		if (got != cases[i].want)
			fail_msg("%s: got %d", cases[i].why, got);
		assert_use(b, i + 1, cases[i].seed, cases[i].reserved);
		/* What was really taken is what goes back. */
		board_settle(b, lease, NULL, 0, 0, &err);
		assert_use(b, i + 1, cases[i].seed, cases[i].held);
		board_settle(b, keep, (int64_t[]){ INT64_MAX }, 1, 0, &err);
		assert_use(b, i + 1, INT64_MAX, 0);
	}
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
a_counter_from_before_the_board_is_seeded_once(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[2] = { claim_on(1, 1, 10), claim_on(2, 3, 10) };
	struct board_lease lease;
	struct board_verdict v;
	int64_t s, r;

	(void)state;
	c[1].window_start_ms = LONG_AGO;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_NEEDS_SEED);
	assert_int_equal(v.which, 1);
	assert_int_equal(board_peek(b, c[0].key, 0, &s, &r), 0);

	c[1].seeded = true;
	c[1].seed = 6;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_TAKEN);
	assert_use(b, 2, 6, 3);
	/* The counter knows more than a seed that was read meanwhile. */
	c[1].seed = 0;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_REFUSED);
	assert_int_equal(v.spent, 6);
	assert_int_equal(v.reserved, 3);
	/* And needs none any more. */
	c[1].seeded = false;
	c[1].amount = 1;
	assert_int_equal(admit(b, c, 2, &lease, &v), BOARD_TAKEN);
	assert_use(b, 2, 6, 4);
	assert_whole(b);
	board_close(b);
}

static void
settling_twice_books_once(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 5, 10);
	struct board_lease lease, next;
	struct board_verdict v;

	(void)state;
	assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
	assert_non_null(board_note(b, lease));
	assert_string_equal(board_note(b, lease), "note");
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 3 }, 1, 0, &err), 1);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 3 }, 1, 0, &err), 0);
	assert_null(board_note(b, lease));
	/* The place is used again; the old handle still means the old lease. */
	assert_int_equal(admit(b, &c, 1, &next, &v), BOARD_TAKEN);
	assert_int_equal(next.index, lease.index);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ 3 }, 1, 0, &err), 0);
	assert_use(b, 1, 3, 5);
	assert_int_equal(board_settle(b, (struct board_lease){ 0 }, NULL, 0, 0, &err), 0);
	assert_int_equal(board_settle(b, (struct board_lease){ 1u << 30, 1 }, NULL, 0, 0, &err), 0);
	board_close(b);
}

/* The tags of these keys would all be that of a place never used; they fill their bucket, in the only
 * one that a segment of rings has here, and go on in the next. */
static void
any_key_is_found_again(void **state)
{
	enum { KEYS = BUCKET_RECORDS + 8 };
	struct board *b = open_with(&small), *other = open_with(&small);
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	c.rolling_ms = 86400000;
	c.seeded = true;
	for (int round = 1; round <= 2; round++)
		for (uint64_t i = 1; i <= KEYS; i++) {
			c.key[0] = i << 48;
			c.key[1] = i << 16 ^ (uint64_t)c.rolling_ms * RING_KEY;
			/* Who never saw them knows them only by their tags. */
			assert_int_equal(
				admit(round == 1 ? b : other, &c, 1, &lease, &v), BOARD_TAKEN);
			assert_int_equal(v.used[0], round);
		}
	assert_int_equal(b->head->used[RINGS], KEYS);
	assert_int_equal(assert_whole(b), 2 * KEYS);
	board_close(other);
	board_close(b);
}

static void
what_makes_no_sense_is_refused_whole(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c[BOARD_CLAIMS_MAX + 1];
	char note[BOARD_NOTE_BYTES + 1] = { 0 };
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	for (int i = 0; i <= BOARD_CLAIMS_MAX; i++)
		c[i] = claim_on((uint64_t)i + 1, 1, 10);
	assert_int_equal(admit(b, c, BOARD_CLAIMS_MAX + 1, &lease, &v), -1);
	assert_int_equal(
		board_admit(b, id_random(), c, 1, NULL, note, sizeof note, &lease, &v, &err), -1);
	c[1].amount = -1;
	assert_int_equal(admit(b, c, 2, &lease, &v), -1);
	assert_int_equal(err.code, ERR_INTERNAL);
	assert_int_equal(assert_whole(b), 0);
	c[1].amount = 1;
	assert_int_equal(admit(b, c, BOARD_CLAIMS_MAX, &lease, &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, lease, (int64_t[]){ -1 }, 1, 0, &err), -1);
	assert_int_equal(board_settle(b, lease, (int64_t[BOARD_CLAIMS_MAX + 1]){ 0 },
				 BOARD_CLAIMS_MAX + 1, 0, &err),
		-1);
	assert_int_equal(assert_whole(b), 1);
	board_close(b);
}

static void
without_a_free_lease_nothing_is_taken(void **state)
{
	struct board *b = open_with(&small);
	struct board_claim c = claim_on(1, 1, UNCAPPED);
	struct board_lease lease[256], more;
	struct board_verdict v;

	(void)state;
	for (int i = 0; i < 256; i++)
		assert_int_equal(admit(b, &c, 1, &lease[i], &v), BOARD_TAKEN);
	assert_int_equal(admit(b, &c, 1, &more, &v), -1);
	assert_int_equal(err.code, ERR_OVERLOADED);
	assert_use(b, 1, 0, 256);
	board_settle(b, lease[77], NULL, 0, 0, &err);
	assert_int_equal(admit(b, &c, 1, &more, &v), BOARD_TAKEN);
	assert_int_equal(more.index, lease[77].index);
	assert_int_equal(assert_whole(b), 256);
	board_close(b);
}

static bool
is_all_b(void *ctx, struct id exchange, struct roster_owner owner, const void *note)
{
	const char *at = note;

	(void)exchange;
	(void)owner;
	for (size_t i = 0; i < BOARD_NOTE_BYTES; i++)
		if (at[i] != (i < *(size_t *)ctx ? 'b' : 0))
			fail_msg("byte %zu of the note is %d", i, at[i]);
	return true;
}

/* Whatever an earlier lease noted in that place is not seen again. */
static void
a_note_ends_where_it_ends(void **state)
{
	static const size_t bytes[] = { 100, 1, 50, BOARD_NOTE_BYTES, 0, 7, BOARD_NOTE_BYTES - 1 };
	struct board *b = open_with(&small);
	char old[BOARD_NOTE_BYTES], note[BOARD_NOTE_BYTES];
	struct board_lease lease;
	struct board_verdict v;

	(void)state;
	memset(old, 'a', sizeof old);
	memset(note, 'b', sizeof note);
	for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
		size_t n = bytes[i];

		assert_int_equal(
			board_admit(b, ID_NONE, NULL, 0, NULL, note, n, &lease, &v, &err), 0);
		assert_int_equal(board_inflight(b, is_all_b, &n), 1);
		/* What the owner makes of it later goes too. */
		memcpy(board_note(b, lease), old, n);
		assert_int_equal(board_settle(b, lease, NULL, 0, 0, &err), 1);
	}
	board_close(b);
}

struct race {
	_Atomic int64_t *taken;
	int each;
};

static void
race_for_one(struct board *b, void *ctx)
{
	struct race *race = ctx;

	for (int i = 0; i < race->each; i++) {
		struct board_claim c[3] = { claim_on(1, 1, UNCAPPED), claim_on(2, 1, 1000),
			claim_on((uint64_t)(100 + i % 50), 2, UNCAPPED) };
		struct board_lease lease;
		struct board_verdict v;
		int got;

		/* Eight that do nothing else may starve one another under a sanitizer. */
		while ((got = admit(b, c, 3, &lease, &v)) < 0)
			if (err.code != ERR_OVERLOADED)
				_exit(1);
		if (got != BOARD_TAKEN)
			continue;
		atomic_fetch_add(race->taken, 1);
		while ((got = board_settle(b, lease, (int64_t[]){ 1, 1, 1 }, 3, 0, &err)) < 0)
			if (err.code != ERR_OVERLOADED)
				_exit(2);
		if (got != 1)
			_exit(3);
	}
}

static void
a_cap_is_exact_over_eight_processes(void **state)
{
	struct race race = { shared_words(1), 4000 };
	struct board *b = open_with(&small);
	pid_t pid[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		pid[i] = child_runs(race_for_one, &small, &race);
	for (int i = 0; i < 8; i++)
		wait_ok(pid[i]);
	assert_int_equal(*race.taken, 1000);
	assert_use(b, 2, 1000, 0);
	assert_use(b, 1, 1000, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static bool
look(void *ctx, struct id exchange, struct roster_owner owner, const void *note)
{
	(void)ctx;
	(void)exchange;
	(void)owner;
	return *(const char *)note == 'n';
}

static bool
reap_nothing(void *ctx, const struct board_orphan *o)
{
	(void)o;
	atomic_fetch_add((_Atomic int *)ctx, 1);
	return false;
}

static _Atomic uint64_t next_key;
static _Atomic int wrong;

static void *
share_the_handle(void *ctx)
{
	struct board *b = ctx;
	struct err e;

	for (int i = 0; i < 400; i++) {
		struct board_claim c[2] = { claim_on(1, 1, UNCAPPED),
			claim_on(atomic_fetch_add(&next_key, 1), 1, UNCAPPED) };
		struct board_lease lease;
		struct board_verdict v;

		while (board_admit(b, id_random(), c, 2, NULL, "note", 5, &lease, &v, &e) != 0)
			if (e.code != ERR_OVERLOADED)
				return ctx;
		if (*(char *)board_note(b, lease) != 'n' || board_now_ms(b) < LONG_AGO)
			atomic_fetch_add(&wrong, 1);
		board_inflight(b, look, NULL);
		board_reap(b, reap_nothing, &wrong, &e);
		board_tick(b);
		while (board_settle(b, lease, (int64_t[]){ 1, 1 }, 2, 0, &e) < 0)
			;
	}
	return NULL;
}

/* The board grows under them, too. */
static void
threads_share_one_handle(void **state)
{
	struct board *b = open_with(&small);
	pthread_t thread[4];

	(void)state;
	atomic_store(&next_key, 2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, share_the_handle, b), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(wrong, 0);
	assert_use(b, 1, 1600, 0);
	assert_true(b->segments > 1);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_claims_are_taken_or_none),
		TEST(a_refused_admission_leaves_no_new_counter),
		TEST(the_refusal_names_the_claim_that_binds),
		TEST(two_claims_on_one_counter_add_up),
		TEST(amounts_near_the_end_of_the_number_never_wrap),
		TEST(a_counter_from_before_the_board_is_seeded_once),
		TEST(settling_twice_books_once),
		TEST(any_key_is_found_again),
		TEST(what_makes_no_sense_is_refused_whole),
		TEST(without_a_free_lease_nothing_is_taken),
		TEST(a_note_ends_where_it_ends),
		TEST(a_cap_is_exact_over_eight_processes),
		TEST(threads_share_one_handle),
	};

	return cmocka_run_group_tests_name("board/admit", tests, NULL, NULL);
}
