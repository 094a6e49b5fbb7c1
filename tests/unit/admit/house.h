/*
 * house.h - a real store and a real board in a directory of their own, and a few records in it;
 * for the tests of the rooms that stand on both.
 */
#ifndef TESTS_HOUSE_H
#define TESTS_HOUSE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "board/board-int.h"
#include "store/snapshot.h"
#include "store/limits.h"
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct house {
	char dir[64], key[96];
	bool brief; /* how the store is opened */
	struct roster *roster;
	struct store *store;
	struct board *board;
	struct snapshot *snapshot;
};

/* Of the call that was made last. */
static struct err err;

#define WORKS(call)                                                                                \
	do {                                                                                       \
		err = (struct err){ 0 };                                                           \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, err.text);                                       \
	} while (0)

#define REFUSED(call, wanted)                                                                      \
	do {                                                                                       \
		err = (struct err){ 0 };                                                           \
		assert_int_equal((call), -1);                                                      \
		if (err.code != (wanted))                                                          \
			fail_msg("%s: %s: %s", #call, err_name(err.code), err.text);               \
	} while (0)

static const struct store_change by_test = { .actor = "test", .action = "test", .address = "" };

static inline void
house_open(struct house *h)
{
	static const struct board_options small = {
		.rows = 1024, .segments_max = 2, .leases = 256
	};
	struct store_options o = {
		.dir = h->dir, .master_key_file = h->key, .create = true, .brief = h->brief
	};

	h->roster = roster_join(h->dir, &err);
	h->store = h->roster == NULL ? NULL : store_open(&o, h->roster, &err);
	h->board = h->store == NULL ? NULL : board_open_sized(h->dir, h->roster, &small, &err);
	if (h->board == NULL)
		fail_msg("%s", err.text);
}

static inline void
house_close(struct house *h)
{
	snapshot_drop(h->snapshot);
	h->snapshot = NULL;
	board_close(h->board);
	store_close(h->store);
	roster_leave(h->roster);
	h->board = NULL;
	h->store = NULL;
	h->roster = NULL;
}

static inline int
house_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct house *h = calloc(1, sizeof *h);

	assert_non_null(h);
	(void)snprintf(h->dir, sizeof h->dir, "%.40s/sluice-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(h->dir));
	(void)snprintf(h->key, sizeof h->key, "%s/master.key", h->dir);
	house_open(h);
	*state = h;
	return 0;
}

static inline int
house_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline int
house_teardown(void **state)
{
	struct house *h = *state;

	if (h->roster != NULL)
		house_close(h);
	(void)nftw(h->dir, house_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(h);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, house_setup, house_teardown)

/* As after the loss of its file: a board that knows nothing. */
static inline void
house_lose_board(struct house *h)
{
	static const struct board_options small = {
		.rows = 1024, .segments_max = 2, .leases = 256
	};
	char path[80];

	board_close(h->board);
	(void)snprintf(path, sizeof path, "%s/board", h->dir);
	assert_int_equal(unlink(path), 0);
	h->board = board_open_sized(h->dir, h->roster, &small, &err);
	assert_non_null(h->board);
}

static inline const struct snapshot *
house_snapshot(struct house *h)
{
	snapshot_drop(h->snapshot);
	h->snapshot = snapshot_load(h->store, 1, &err);
	if (h->snapshot == NULL)
		fail_msg("%s", err.text);
	return h->snapshot;
}

/* ---- records ---- */

static inline void
house_create(struct house *h, enum record_kind kind, void *record)
{
	struct record *head = record;

	if (id_is_none(head->id))
		head->id = id_random();
	WORKS(store_create(h->store, kind, record, &by_test, &err));
}

static inline struct project
house_project(struct house *h, const char *name)
{
	struct project p;

	record_init(RECORD_PROJECT, &p);
	(void)snprintf(p.name, sizeof p.name, "%s", name);
	house_create(h, RECORD_PROJECT, &p);
	return p;
}

static inline struct token
house_token(struct house *h, struct id project, const char *secret)
{
	struct token t;

	record_init(RECORD_TOKEN, &t);
	t.project = project;
	hash_sha256(secret, strlen(secret), t.sha256);
	token_mask(secret, strlen(secret), t.masked);
	house_create(h, RECORD_TOKEN, &t);
	return t;
}

/* Filled in but not yet created. */
static inline struct upstream
house_upstream_draft(const char *name)
{
	struct upstream u;

	record_init(RECORD_UPSTREAM, &u);
	(void)snprintf(u.name, sizeof u.name, "%s", name);
	(void)snprintf(u.base_url, sizeof u.base_url, "https://%s.example/v1", name);
	return u;
}

static inline struct upstream
house_upstream(struct house *h, const char *name)
{
	struct upstream u = house_upstream_draft(name);

	house_create(h, RECORD_UPSTREAM, &u);
	return u;
}

static inline struct key
house_key(struct house *h, struct id upstream, struct id project, int64_t weight)
{
	struct key k;

	record_init(RECORD_KEY, &k);
	k.head.id = id_random();
	k.upstream = upstream;
	k.project = project;
	k.weight = weight;
	WORKS(store_seal(h->store, k.head.id, span_of("sk-of-a-provider"), &k.secret, &err));
	house_create(h, RECORD_KEY, &k);
	return k;
}

static inline struct limit
house_limit_draft(int metric, int window, int64_t cap)
{
	struct limit l;

	record_init(RECORD_LIMIT, &l);
	l.metric = metric;
	l.window = window;
	l.cap = cap;
	return l;
}

static inline struct limit
house_limit(struct house *h, int metric, int window, int64_t cap)
{
	struct limit l = house_limit_draft(metric, window, cap);

	house_create(h, RECORD_LIMIT, &l);
	return l;
}

/* What a limit's counter for those values holds in the present window. */
static inline void
house_assert_use(struct house *h, const struct limit *l, const struct limit_values *v,
	int64_t spent, int64_t reserved)
{
	int64_t start = 0, end, got_spent, got_reserved;
	uint8_t name[COUNTER_NAME_BYTES];
	struct limit_rule r;
	uint64_t key[2];
	size_t len;

	limit_rule(l, NULL, &r);
	limit_window(&r, board_now_ms(h->board), &start, &end);
	len = limit_counter_name(&r, v, v->tag[0] != NULL ? v->tag[0] : "", start, name);
	board_counter_key(h->board, name, len, key);
	assert_true(board_peek(h->board, key, limit_rolling_ms(l), &got_spent, &got_reserved) >= 0);
	if (got_spent != spent || got_reserved != reserved)
		fail_msg("spent %lld, reserved %lld; wanted %lld, %lld", (long long)got_spent,
			(long long)got_reserved, (long long)spent, (long long)reserved);
}

static inline bool
house_count_lease(void *ctx, struct id exchange, struct roster_owner owner, const void *note)
{
	(void)exchange;
	(void)owner;
	(void)note;
	++*(int *)ctx;
	return true;
}

static inline int
house_leases(struct house *h)
{
	int count = 0;

	assert_true(board_inflight(h->board, house_count_lease, &count) >= 0);
	return count;
}

/* A minute must not end within a test that counts by the minute: waits for the next one when this
 * one is nearly over; and the wall clock must be in it as well as the board's. */
static inline void
house_early_in_the_minute(const struct house *h)
{
	for (;;) {
		int64_t in_ms = board_now_ms(h->board) % 60000;

		if (in_ms > 200 && in_ms < 50000)
			return;
		(void)usleep(50000);
	}
}

/* ---- processes ---- */

/* In a process of its own, which opens the house for itself: call with the house closed.  fn's
 * value is its exit code. */
static inline pid_t
house_child(struct house *h, int (*fn)(struct house *h, void *ctx), void *ctx)
{
	pid_t pid;

	assert_null(h->roster);
	(void)fflush(NULL);
	pid = fork();
	if (pid != 0)
		return pid;
	(void)alarm(120);
	house_open(h);
	house_snapshot(h);
	{
		int rc = fn(h, ctx);

		house_close(h);
		_exit(rc);
	}
}

static inline void
house_wait(pid_t pid, int want)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), want);
}

static inline void
house_kill(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

#endif
