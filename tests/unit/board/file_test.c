/* The file: made once, shared, grown, and made anew when it cannot be used. */
#include "fixture.h"
#include "base/log.h"
#include <fcntl.h>

static const char *
board_path(void)
{
	static char path[80];

	snprintf(path, sizeof path, "%s/board", dir);
	return path;
}

static void
admit_one(struct board *b, uint64_t key)
{
	struct board_claim c = claim_on(key, 1, UNCAPPED);
	struct board_lease lease;
	struct board_verdict v;

	if (admit(b, &c, 1, &lease, &v) != BOARD_TAKEN)
		fail_msg("%s", err.text);
}

static void
the_group_may_write_whatever_the_umask(void **state)
{
	mode_t old = umask(0077);
	struct board *b = open_with(&small);
	struct stat st;

	(void)state;
	umask(old);
	assert_int_equal(stat(board_path(), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_true((size_t)st.st_blocks * 512 >= b->base_bytes);
	board_close(b);
}

static void
open_and_admit(struct board *b, void *ctx)
{
	(void)ctx;
	admit_one(b, 1);
}

static void
eight_that_open_at_once_share_one_board(void **state)
{
	struct dirent *e;
	struct board *b;
	pid_t pid[8];
	int boards = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		pid[i] = child_runs(open_and_admit, &small, NULL);
	for (int i = 0; i < 8; i++)
		wait_ok(pid[i]);
	b = open_with(&small);
	assert_use(b, 1, 0, 8);
	board_close(b);

	DIR *d = opendir(dir);

	while ((e = readdir(d)) != NULL)
		boards += strncmp(e->d_name, "board", 5) == 0;
	closedir(d);
	assert_int_equal(boards, 1);
}

static void
a_second_opening_finds_what_the_first_left(void **state)
{
	struct board *b = open_with(&small), *second;

	(void)state;
	admit_one(b, 1);
	board_generation_bump(b);
	second = open_with(&small);
	assert_use(second, 1, 0, 1);
	assert_int_equal(board_generation(second), board_generation(b));
	board_close(b);
	assert_int_equal(assert_whole(second), 1);
	board_close(second);
}

/* Writes 8 bytes at an offset, or cuts the file there. */
static void
spoil(off_t at, bool cut)
{
	int fd = open(board_path(), O_RDWR);

	assert_true(fd >= 0);
	if (cut)
		assert_int_equal(ftruncate(fd, at), 0);
	else
		assert_int_equal(pwrite(fd, "spoiled!", 8, at), 8);
	close(fd);
}

static void
a_spoiled_file_is_made_anew(void **state)
{
	static const struct {
		const char *why;
		off_t at;
		bool cut;
	} cases[] = {
		{ "no magic", 0, false },
		{ "another version", offsetof(struct layout, version), false },
		{ "another size of its tables", offsetof(struct layout, leases), false },
		{ "checksum", offsetof(struct layout, crc), false },
		{ "absurd count of segments", offsetof(struct head, segments), false },
		{ "cut inside the head", 100, true },
		{ "cut inside the rows", 700000, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct board *b = open_with(&small), *old;
		struct stat st;

		/* Whatever the last case left is in use by somebody else meanwhile. */
		admit_one(b, 1);
		old = b;
		if (cases[i].cut)
			assert_true((off_t)(b->base_bytes + 65536) > cases[i].at);
		spoil(cases[i].at, cases[i].cut);
		b = open_with(&small);
		assert_int_equal(stat(board_path(), &st), 0);
		assert_use(b, 1, 0, 0);
		assert_int_equal(assert_whole(b), 0);
		admit_one(b, 1);
		board_close(b);
		board_close(old);
		unlink(board_path());
	}
}

static void
eight_that_find_it_spoiled_agree_on_a_new_one(void **state)
{
	(void)state;
	for (int round = 0; round < 10; round++) {
		struct board *b = open_with(&small);
		pid_t pid[8];

		board_close(b);
		spoil(0, false);
		for (int i = 0; i < 8; i++)
			pid[i] = child_runs(open_and_admit, &small, NULL);
		for (int i = 0; i < 8; i++)
			wait_ok(pid[i]);
		b = open_with(&small);
		assert_use(b, 1, 0, 8);
		board_close(b);
		unlink(board_path());
	}
}

static void
a_file_for_other_sizes_is_made_anew(void **state)
{
	struct board_options other = small;
	struct board *b = open_with(&small);

	(void)state;
	admit_one(b, 1);
	board_close(b);
	other.rows = 2048;
	b = open_with(&other);
	assert_use(b, 1, 0, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
what_is_no_file_is_an_error_that_says_so(void **state)
{
	(void)state;
	assert_int_equal(mkdir(board_path(), 0700), 0);
	assert_null(board_open_sized(dir, roster, &small, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
	assert_non_null(strstr(err.text, board_path()));
	rmdir(board_path());
	assert_null(board_open_sized("/nonexistent", roster, &small, &err));
	assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
}

/* ---- reboot ---- */

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

struct debts {
	struct board *b;
	int count;
	int64_t amount;
};

static bool
settle_debt(void *ctx, const struct board_orphan *o)
{
	struct debts *d = ctx;
	struct board_verdict v;

	d->count++;
	assert_int_equal(o->count, 2);
	d->amount += o->amount[0];
	assert_string_equal(o->note, "note");
	/* There is nothing left to raise. */
	assert_int_equal(
		board_raise(d->b, o->lease, (int64_t[]){ 9, 9 }, (int64_t[]){ 1, 1 }, 2, &v, &err),
		0);
	assert_int_equal(v.outcome, BOARD_TAKEN);
	assert_int_equal(v.used[0], 0);
	return board_settle(d->b, o->lease, (int64_t[]){ 1, 1 }, 2, 0, &err) == 1;
}

static void
after_a_reboot_leases_are_owed_and_counters_want_their_seed(void **state)
{
	struct board_options o = small;
	struct board_claim c[2] = { claim_on(1, 10, 100), claim_on(2, 20, 100) };
	struct board_lease lease[3], next;
	struct board_verdict v;
	struct debts debts = { 0 };
	struct id key = id_random();
	struct board *b;
	uint64_t generation;

	(void)state;
	fake_wall = 1000000000;
	fake_boot = 5000000;
	o.wall_ms = wall;
	o.boot_ms = boot;
	o.boot_id = "one";
	c[0].window_start_ms = c[1].window_start_ms = 1000000000;
	b = open_with(&o);
	for (int i = 0; i < 3; i++)
		assert_int_equal(admit(b, c, 2, &lease[i], &v), BOARD_TAKEN);
	assert_int_equal(board_settle(b, lease[1], (int64_t[]){ 7, 7 }, 2, 0, &err), 1);
	atomic_store(&board_target(b, key)->rest_until_ms, 77);
	generation = board_generation(b);
	/* The power goes while a section is open and the mutex held. */
	assert_int_equal(section_enter(b, &err), 0);
	section_change(b, &b->head->serial, 12345);
	b->head = NULL; /* left mapped: the C library still knows of the mutex */
	board_close(b);

	fake_wall += 60000;
	fake_boot = 30000;
	o.boot_id = "two";
	b = open_with(&o);
	assert_int_equal(board_now_ms(b), fake_wall);
	assert_true(board_generation(b) != generation);
	assert_int_equal(atomic_load(&board_target(b, key)->rest_until_ms), 77);
	assert_use(b, 1, 0, 0);
	assert_int_equal(assert_whole(b), 2);

	assert_int_equal(admit(b, c, 2, &next, &v), BOARD_NEEDS_SEED);
	c[0].seeded = c[1].seeded = true;
	c[0].seed = 7;
	assert_int_equal(admit(b, c, 2, &next, &v), BOARD_TAKEN);
	assert_use(b, 1, 7, 10);
	debts.b = b;
	assert_int_equal(board_reap(b, settle_debt, &debts, &err), 2);
	assert_int_equal(debts.count, 2);
	assert_int_equal(debts.amount, 20);
	/* They held nothing of this boot's counters. */
	assert_use(b, 1, 7, 10);
	assert_int_equal(assert_whole(b), 1);
	assert_int_equal(board_settle(b, lease[0], NULL, 0, 0, &err), 0);
	board_close(b);
}

static void
a_lease_torn_by_the_power_is_dropped(void **state)
{
	struct board_options o = small;
	struct board *b;

	(void)state;
	o.boot_id = "one";
	b = open_with(&o);
	for (uint64_t i = 0; i < 5; i++)
		admit_one(b, i + 1);
	b->bodies[2].serial = 0;
	b->leases[4].count = 1000;
	board_close(b);
	o.boot_id = "two";
	b = open_with(&o);
	assert_int_equal(assert_whole(b), 3);
	admit_one(b, 9);
	assert_int_equal(assert_whole(b), 4);
	board_close(b);
}

/* ---- growth and reclaiming ---- */

static void
the_board_grows_and_every_process_sees_it(void **state)
{
	struct board *b = open_with(&small), *other = open_with(&small);
	struct board_claim c;
	struct board_health health;
	uint64_t n = 0;

	(void)state;
	do {
		c = claim_on(++n, 1, UNCAPPED);
		struct board_lease lease;
		struct board_verdict v;

		assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
		assert_int_equal(board_settle(b, lease, (int64_t[]){ (int64_t)n }, 1, 0, &err), 1);
		board_health(b, &health);
	} while (health.rows < 3 * table_segment_records(b, ROWS));
	assert_int_equal(other->segments, 1);
	assert_true((int64_t)n > table_segment_records(b, ROWS));
	for (uint64_t i = 1; i <= n; i++)
		assert_use(other, i, (int64_t)i, 0);
	assert_int_equal(assert_whole(other), 0);
	board_close(other);
	board_close(b);
	b = open_with(&small);
	assert_use(b, n, (int64_t)n, 0);
	board_close(b);
}

static void
a_full_board_refuses_what_it_cannot_count(void **state)
{
	struct board_options o = small;
	struct board_claim c[2] = { claim_on(1, 1, UNCAPPED) };
	struct board_health health;
	struct board_lease lease;
	struct board_verdict v;
	struct board *b;
	uint64_t n = 1;

	(void)state;
	o.segments_max = 2;
	b = open_with(&o);
	for (;;) {
		c[1] = claim_on(++n, 1, UNCAPPED);
		if (admit(b, c, 2, &lease, &v) != BOARD_TAKEN)
			break;
		board_settle(b, lease, (int64_t[]){ 1, 1 }, 2, 0, &err);
	}
	assert_int_equal(err.code, ERR_OVERLOADED);
	assert_non_null(strstr(err.text, "counter rows"));
	/* Keys that are there go on, and what was refused took nothing from them. */
	assert_use(b, 1, (int64_t)n - 2, 0);
	assert_int_equal(admit(b, c, 1, &lease, &v), BOARD_TAKEN);
	board_health(b, &health);
	assert_int_equal(health.rows, 2 * table_segment_records(b, ROWS));
	assert_true(health.rows_used > 1024);
	assert_int_equal(assert_whole(b), 1);
	board_close(b);
}

/* Six times as many counters as there are rows, each over before the next come. */
static void
rows_are_reclaimed_two_hours_after_their_window(void **state)
{
	struct board_options o = small;
	struct board_health health;
	struct board *b;

	(void)state;
	fake_wall = 1000000000000;
	fake_boot = 5000000;
	o.wall_ms = wall;
	o.boot_ms = boot;
	b = open_with(&o);
	for (uint64_t minute = 0; minute < 2000; minute++) {
		int64_t start = fake_wall;

		for (uint64_t k = 0; k < 3; k++) {
			struct board_claim c = claim_on(minute * 3 + k + 1, 1, UNCAPPED);
			struct board_lease lease;
			struct board_verdict v;

			c.window_start_ms = start;
			c.window_end_ms = start + 60000;
			assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
			assert_int_equal(board_settle(b, lease, (int64_t[]){ 1 }, 1, 0, &err), 1);
		}
		/* An hour and 59 minutes after its end a counter is still there. */
		if (minute >= 119)
			assert_use(b, (minute - 119) * 3 + 1, 1, 0);
		fake_wall += 60000;
		fake_boot += 60000;
	}
	board_health(b, &health);
	assert_int_equal(health.rows, table_segment_records(b, ROWS));
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

/* A claim of nothing still books its use at the end, in its own row. */
static void
a_row_that_a_lease_names_is_not_reclaimed(void **state)
{
	struct board_options o = small;
	struct board_claim c = claim_on(1, 0, UNCAPPED);
	struct board_lease held, lease;
	struct board_verdict v;
	struct board *b;

	(void)state;
	o.segments_max = 1;
	b = open_with(&o);
	assert_int_equal(admit(b, &c, 1, &held, &v), BOARD_TAKEN);
	/* Counters that say nothing, more than there are rows: they make way for one another. */
	for (uint64_t i = 2; i < 5000; i++) {
		c = claim_on(i, 1, UNCAPPED);
		assert_int_equal(admit(b, &c, 1, &lease, &v), BOARD_TAKEN);
		assert_int_equal(board_settle(b, lease, NULL, 0, 0, &err), 1);
	}
	assert_int_equal(board_settle(b, held, (int64_t[]){ 42 }, 1, 0, &err), 1);
	assert_use(b, 1, 42, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

static void
fill_much(struct board *b, void *ctx)
{
	for (uint64_t i = 0; i < 700; i++) {
		struct board_claim c = claim_on(*(uint64_t *)ctx * 1000 + i + 1, 1, UNCAPPED);
		struct board_lease lease;
		struct board_verdict v;

		if (admit(b, &c, 1, &lease, &v) != BOARD_TAKEN ||
			board_settle(b, lease, (int64_t[]){ 1 }, 1, 0, &err) != 1)
			_exit(1);
	}
}

static void
four_that_grow_it_at_once_lose_nothing(void **state)
{
	struct board *b = open_with(&small);
	pid_t pid[4];

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		pid[i] = child_runs(fill_much, &small, &i);
	for (int i = 0; i < 4; i++)
		wait_ok(pid[i]);
	for (uint64_t i = 0; i < 4; i++)
		for (uint64_t k = 0; k < 700; k++)
			assert_use(b, i * 1000 + k + 1, 1, 0);
	assert_int_equal(assert_whole(b), 0);
	board_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_group_may_write_whatever_the_umask),
		TEST(eight_that_open_at_once_share_one_board),
		TEST(a_second_opening_finds_what_the_first_left),
		TEST(a_spoiled_file_is_made_anew),
		TEST(eight_that_find_it_spoiled_agree_on_a_new_one),
		TEST(a_file_for_other_sizes_is_made_anew),
		TEST(what_is_no_file_is_an_error_that_says_so),
		TEST(after_a_reboot_leases_are_owed_and_counters_want_their_seed),
		TEST(a_lease_torn_by_the_power_is_dropped),
		TEST(the_board_grows_and_every_process_sees_it),
		TEST(a_full_board_refuses_what_it_cannot_count),
		TEST(rows_are_reclaimed_two_hours_after_their_window),
		TEST(a_row_that_a_lease_names_is_not_reclaimed),
		TEST(four_that_grow_it_at_once_lose_nothing),
	};

	return cmocka_run_group_tests_name("board/file", tests, NULL, NULL);
}
