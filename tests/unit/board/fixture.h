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

/* Every word that must agree with another one does.  Returns the number of live leases. */
static inline int64_t
assert_whole(struct board *b)
{
	struct head *h = b->head;
	int64_t live = 0, unused = 0, rows, used = 0;
	int64_t *reserved, *held;

	assert_int_equal(section_enter(b, &err), 0);
	rows = b->segments * b->o.rows;
	reserved = calloc((size_t)rows, sizeof *reserved);
	held = calloc((size_t)rows, sizeof *held);
	assert_int_equal(h->undo_count, 0);
	for (int64_t i = 0; i < b->o.leases; i++) {
		const struct lease_body *body = &b->bodies[i];

		if (b->leases[i].serial == 0)
			continue;
		assert_true(i < h->leases_high);
		assert_int_equal(body->serial, b->leases[i].serial);
		live++;
		for (int64_t c = 0; c < b->leases[i].count; c++)
			if (body->claim[c].row >= 0) {
				reserved[body->claim[c].row] += body->claim[c].amount;
				held[body->claim[c].row]++;
			}
	}
	for (int64_t n = 0; n < rows; n++) {
		const struct row *row = counter_row(b, n);

		if (row->reserved != reserved[n] && row->life != 0)
			fail_msg("row %lld: reserved %lld, leases hold %lld", (long long)n,
				(long long)row->reserved, (long long)reserved[n]);
		if (row->life != 0)
			assert_int_equal(row->life, held[n] + 1);
		else
			assert_int_equal(held[n], 0);
		used += row->life != 0;
	}
	assert_int_equal(h->rows_used, used);
	assert_int_equal(h->leases_used, live);
	for (int64_t at = h->free_lease; at != 0; at = b->leases[at - 1].next) {
		assert_int_equal(b->leases[at - 1].serial, 0);
		assert_true(++unused <= h->leases_high);
	}
	assert_int_equal(unused + live, h->leases_high);
	section_leave(b);
	free(reserved);
	free(held);
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
