/*
 * fixture.h - a board of a test: its own directory, small tables, and a look at every word of it.
 */
#ifndef TESTS_BOARD_FIXTURE_H
#define TESTS_BOARD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "board/board-int.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_AGO  1000 /* a window that began before any board */
#define FOR_EVER  INT64_MAX
#define UNCAPPED  INT64_MAX
#define FAR_START (INT64_MAX / 2) /* a window that begins after the board was made: no seed */

static char dir[64];
static struct roster *roster;
static struct err err;
static const struct board_options small = { .rows = 1024, .segments_max = 4, .leases = 256 };

static inline int
fixture_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof dir, "%.40s/board.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		return -1;
	roster = roster_join(dir, &err);
	return roster == NULL ? -1 : 0;
}

static inline int
fixture_teardown(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[400];

	(void)state;
	if (roster != NULL)
		roster_leave(roster);
	roster = NULL;
	while (d != NULL && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d != NULL)
		closedir(d);
	return rmdir(dir);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

static inline struct board *
open_with(const struct board_options *o)
{
	struct board *b = board_open_sized(dir, roster, o, &err);

	if (b == NULL)
		fail_msg("%s", err.text);
	return b;
}

static inline struct board_claim
claim_on(uint64_t key, int64_t amount, int64_t cap)
{
	return (struct board_claim){
		.key = { key * UINT64_C(0x9e3779b97f4a7c15), key },
		.amount = amount,
		.cap = cap,
		.window_start_ms = FAR_START,
		.window_end_ms = FOR_EVER,
	};
}

/* The outcome, or -1. */
static inline int
admit(struct board *b, const struct board_claim *claims, int count, struct board_lease *lease,
	struct board_verdict *v)
{
	if (board_admit(b, id_random(), claims, count, NULL, "note", 5, lease, v, &err) != 0)
		return -1;
	return (int)v->outcome;
}

static inline void
assert_use(struct board *b, uint64_t key, int64_t spent, int64_t reserved)
{
	struct board_claim c = claim_on(key, 0, 0);
	int64_t s, r;

	board_peek(b, c.key, 0, &s, &r);
	if (s != spent || r != reserved)
		fail_msg("counter %llu: spent %lld, reserved %lld; wanted %lld, %lld",
			(unsigned long long)key, (long long)s, (long long)r, (long long)spent,
			(long long)reserved);
}

/* What the leases hold of each record of a table. */
struct holdings {
	int64_t records, *reserved, *held;
};

/* Where in them a record is. */
static inline int64_t
nth(const struct board *b, int64_t ref)
{
	int64_t bucket = (ref >> REF_BUCKET) & UINT32_MAX;

	return (ref >> REF_SEGMENT) * table_segment_records(b, table_of(ref)) +
	       bucket * BUCKET_RECORDS + table_place(ref);
}

static inline uint16_t
tag_at(const struct board *b, int64_t ref)
{
	int64_t word = table_tags(&b->table[table_of(ref)], ref)->word[table_place(ref) / 4];

	return (uint16_t)((uint64_t)word >> table_place(ref) % 4 * 16);
}

static inline void
assert_table_whole(struct board *b, enum kind table, const struct holdings *of)
{
	int64_t used = 0;

	for (int64_t n = 0; n < of->records; n++) {
		int64_t ref = table_ref(b, table, n);
		const struct entry *e = table_at(b, ref);
		const struct counter *counter = (const void *)e;

		assert_int_equal(nth(b, ref), n);
		assert_int_equal(tag_at(b, ref),
			e->life == 0 ? 0
				     : table_tag((uint64_t)e->key[0], (uint64_t)e->key[1]));
		if (e->life == 0) {
			assert_int_equal(of->held[n], 0);
			continue;
		}
		used++;
		assert_int_equal(e->life, of->held[n] + 1);
		if (table == REPEATS)
			assert_true(of->held[n] <= 1);
		else if (counter->reserved != of->reserved[n])
			fail_msg("table %d, record %lld: reserved %lld, leases hold %lld", table,
				(long long)n, (long long)counter->reserved,
				(long long)of->reserved[n]);
	}
	assert_int_equal(b->head->used[table], used);
}

static inline void
add_holdings(struct board *b, int64_t lease, struct holdings of[TABLES])
{
	const struct lease_body *body = &b->bodies[lease];

	for (int64_t c = 0; c < b->leases[lease].count; c++) {
		int64_t ref = body->claim[c].ref;

		if (ref < 0)
			continue;
		assert_true(table_holds(b, ref, body->claim[c].key));
		of[table_of(ref)].reserved[nth(b, ref)] += body->claim[c].amount;
		of[table_of(ref)].held[nth(b, ref)]++;
	}
	if (body->repeat >= 0) {
		const struct repeat *repeat = table_at(b, body->repeat);

		assert_true(id_equal(id_of_words(repeat->exchange), exchange_of(&b->leases[lease])));
		of[REPEATS].held[nth(b, body->repeat)]++;
	}
}

/* Every word that must agree with another one does.  Returns the number of live leases. */
static inline int64_t
assert_whole(struct board *b)
{
	struct head *h = b->head;
	struct holdings of[TABLES];
	int64_t live = 0, unused = 0;

	assert_int_equal(section_enter(b, &err), 0);
	assert_int_equal(h->undo_count, 0);
	for (int k = 0; k < TABLES; k++) {
		of[k].records = b->table[k].count * table_segment_records(b, (enum kind)k);
		of[k].reserved = calloc((size_t)of[k].records + 1, sizeof(int64_t));
		of[k].held = calloc((size_t)of[k].records + 1, sizeof(int64_t));
	}
	for (int64_t i = 0; i < b->o.leases; i++) {
		if (b->leases[i].serial == 0)
			continue;
		assert_true(i < h->leases_high);
		assert_int_equal(b->bodies[i].serial, b->leases[i].serial);
		live++;
		add_holdings(b, i, of);
	}
	for (int k = 0; k < TABLES; k++) {
		assert_table_whole(b, (enum kind)k, &of[k]);
		free(of[k].reserved);
		free(of[k].held);
	}
	assert_int_equal(h->leases_used, live);
	for (int64_t at = h->free_lease; at != 0; at = b->leases[at - 1].next) {
		assert_int_equal(b->leases[at - 1].serial, 0);
		assert_true(++unused <= h->leases_high);
	}
	assert_int_equal(unused + live, h->leases_high);
	section_leave(b);
	return live;
}

/* Words that a test's processes share. */
static inline _Atomic int64_t *
shared_words(size_t count)
{
	void *at = mmap(NULL, count * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(at != MAP_FAILED);
	return at;
}

/*
 * A process of its own, with its own place in the roster: it has to exec or exit, so it is made
 * here, before the child joins.  The parent leaves the roster only to its teardown: the child's
 * copy of the parent's lock is closed first.
 */
static inline pid_t
child_runs(void (*fn)(struct board *b, void *ctx), const struct board_options *o, void *ctx)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid != 0)
		return pid;

	struct roster *own = roster_join(dir, &err);
	struct board *b = own == NULL ? NULL : board_open_sized(dir, own, o, &err);

	if (b == NULL) {
		fprintf(stderr, "child: %s\n", err.text);
		_exit(99);
	}
	fn(b, ctx);
	board_close(b);
	roster_leave(own);
	_exit(0);
}

static inline void
wait_ok(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
