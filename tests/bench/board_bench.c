/*
 * board_bench.c - what an admission with six claims and its settlement cost.
 *
 * First one process: nanoseconds an admission and a settlement, with six claims on calendar windows,
 * with six on rolling ones, and with six whose rows were made after a million others.  Then for 1, 2, 4 and 8 processes at it as fast as they can:
 * nanoseconds of wall time a pair (all processes together), with every process on a token of its
 * own and with all on one, and the longest call of all.  Usage: board_bench [pairs]
 */
#include "base/clock.h"
#include "board/board.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLAIMS 6

struct shared {
	_Atomic int ready, go;
	_Atomic int64_t longest_us, overloaded, failed;
};

static char dir[] = "/tmp/board_bench.XXXXXX";

static void
claims_of(uint64_t token, int64_t rolling_ms, struct board_claim c[CLAIMS])
{
	for (uint64_t k = 0; k < CLAIMS; k++)
		c[k] = (struct board_claim){
			.key = { (token * 16 + k + 1) * UINT64_C(0x9e3779b97f4a7c15), k + 1 },
			.amount = (int64_t)k + 1,
			.cap = INT64_MAX - 1,
			.window_start_ms = INT64_MAX / 2,
			.window_end_ms = INT64_MAX,
			.rolling_ms = rolling_ms,
			.warn = { INT64_MAX / 2 },
			.seeded = true,
		};
}

static void
keep_longest(_Atomic int64_t *longest, int64_t us)
{
	int64_t was = atomic_load(longest);

	while (us > was && !atomic_compare_exchange_weak(longest, &was, us))
		;
}

static void
run(struct shared *s, uint64_t token, int pairs)
{
	static const int64_t spent[CLAIMS] = { 1, 1, 1, 1, 1, 1 };
	struct roster *roster;
	struct board *b;
	struct err err = { 0 };
	struct board_claim c[CLAIMS];
	char note[256] = "a note";

	roster = roster_join(dir, &err);
	b = roster == NULL ? NULL : board_open(dir, roster, &err);
	if (b == NULL) {
		fprintf(stderr, "%s\n", err.text);
		_exit(1);
	}
	claims_of(token, 0, c);
	atomic_fetch_add(&s->ready, 1);
	while (atomic_load(&s->go) == 0)
		usleep(100);
	for (int i = 0; i < pairs; i++) {
		struct board_lease lease;
		struct board_verdict v;
		/* Timing every call would cost more than the call. */
		bool timed = i % 64 == 0;
		int64_t began = timed ? clock_mono_us() : 0;

		if (board_admit(b, (struct id){ { 1 } }, c, CLAIMS, NULL, note, sizeof note, &lease,
			    &v, &err) != 0) {
			atomic_fetch_add(&s->overloaded, 1);
			continue;
		}
		if (v.outcome != BOARD_TAKEN)
			atomic_fetch_add(&s->failed, 1);
		while (board_settle(b, lease, spent, CLAIMS, 0, &err) < 0)
			atomic_fetch_add(&s->overloaded, 1);
		if (timed)
			keep_longest(&s->longest_us, clock_mono_us() - began);
	}
	board_close(b);
	roster_leave(roster);
	_exit(0);
}

static void
measure(int processes, bool one_token, int pairs)
{
	struct shared *s =
		mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t began, took;

	if (s == MAP_FAILED)
		exit(1);
	for (int i = 0; i < processes; i++)
		if (fork() == 0)
			run(s, one_token ? 0 : (uint64_t)i, pairs / processes);
	while (atomic_load(&s->ready) < processes)
		usleep(100);
	began = clock_mono_us();
	atomic_store(&s->go, 1);
	while (wait(NULL) > 0)
		;
	took = clock_mono_us() - began;
	printf("%d process%s %-11s %6.0f ns a pair, longest seen %lld us, overloaded %lld%s\n",
		processes, processes == 1 ? ",  " : "es,", one_token ? "one token:" : "own tokens:",
		(double)took * 1000 / (pairs / processes * processes), (long long)s->longest_us,
		(long long)s->overloaded, s->failed != 0 ? ", WRONG VERDICTS" : "");
	fflush(stdout);
	munmap(s, sizeof *s);
}

/* Admissions in runs of LEASES, then their settlements, so that each is timed alone. */
#define LEASES 64

static void
measure_calls(const char *what, uint64_t token, int64_t rolling_ms, int pairs)
{
	static const int64_t spent[CLAIMS] = { 1, 1, 1, 1, 1, 1 };
	struct board_lease lease[LEASES];
	struct board_claim c[CLAIMS];
	struct board_verdict v;
	struct err err = { 0 };
	struct roster *roster = roster_join(dir, &err);
	struct board *b = roster == NULL ? NULL : board_open(dir, roster, &err);
	int64_t admitted = 0, settled = 0, wrong = 0;
	char note[256] = "a note";

	if (b == NULL) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	claims_of(token, rolling_ms, c);
	for (int run = 0; run < pairs / LEASES; run++) {
		int64_t began = clock_mono_us(), middle;

		for (int i = 0; i < LEASES; i++)
			wrong += board_admit(b, (struct id){ { 1 } }, c, CLAIMS, NULL, note,
					 sizeof note, &lease[i], &v, &err) != 0 ||
				 v.outcome != BOARD_TAKEN;
		middle = clock_mono_us();
		for (int i = 0; i < LEASES; i++)
			wrong += board_settle(b, lease[i], spent, CLAIMS, 200, &err) != 1;
		admitted += middle - began;
		settled += clock_mono_us() - middle;
	}
	printf("1 process,   6 %-36s %6.0f ns an admission, %6.0f ns a settlement%s\n", what,
		(double)admitted * 1000 / (pairs / LEASES * LEASES),
		(double)settled * 1000 / (pairs / LEASES * LEASES), wrong != 0 ? ", WRONG" : "");
	fflush(stdout);
	board_close(b);
	roster_leave(roster);
}

#define OTHERS 1000000

/* Counters that are in the way of those made later. */
static void
make_others(uint64_t count)
{
	struct err err = { 0 };
	struct roster *roster = roster_join(dir, &err);
	struct board *b = roster == NULL ? NULL : board_open(dir, roster, &err);
	struct board_lease lease;
	struct board_verdict v;

	if (b == NULL)
		goto failed;
	for (uint64_t i = 0; i < count; i += BOARD_CLAIMS_MAX) {
		struct board_claim c[BOARD_CLAIMS_MAX] = { 0 };
		int64_t use[BOARD_CLAIMS_MAX];

		for (uint64_t k = 0; k < BOARD_CLAIMS_MAX; k++) {
			uint64_t name = i + k;

			board_counter_key(b, &name, sizeof name, c[k].key);
			c[k].cap = c[k].window_end_ms = c[k].window_start_ms = INT64_MAX;
			use[k] = 1;
		}
		if (board_admit(b, (struct id){ { 1 } }, c, BOARD_CLAIMS_MAX, NULL, NULL, 0, &lease,
			    &v, &err) != 0 ||
			board_settle(b, lease, use, BOARD_CLAIMS_MAX, 0, &err) != 1)
			goto failed;
	}
	board_close(b);
	roster_leave(roster);
	return;
failed:
	fprintf(stderr, "%s\n", err.text);
	exit(1);
}

int
main(int argc, char **argv)
{
	int pairs = argc > 1 ? atoi(argv[1]) : 1000000;
	char path[64];

	if (pairs < 8 || mkdtemp(dir) == NULL)
		return 1;
	measure_calls("calendar:", 100, 0, pairs);
	measure_calls("rolling:", 200, 60000, pairs);
	make_others(OTHERS);
	measure_calls("calendar behind a million others:", 300, 0, pairs);
	for (int processes = 1; processes <= 8; processes *= 2) {
		measure(processes, false, pairs);
		measure(processes, true, pairs);
	}
	snprintf(path, sizeof path, "%s/board", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/roster", dir);
	unlink(path);
	return rmdir(dir) == 0 ? 0 : 1;
}
