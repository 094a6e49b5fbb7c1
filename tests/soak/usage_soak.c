/*
 * usage_soak.c - many exchanges booked with retention on: is the store below its cap all the time, is
 * resident memory flat after the first tenth, are the sums exact?  Prints what an exchange costs on
 * disk and how long the worst filtered lists take.  Times are printed, never judged.
 *
 *   usage_soak [ROWS [CAP_MB]]      1,000,000 rows, 160 MB; a great cap keeps all of them
 */
#include "base/clock.h"
#include "base/hash.h"
#include "store/store.h"
#include "../unit/store/usage_rows.h"
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPAN_MS (6 * 3600000LL) /* over which the rows came */

/* By then its caches are full. */
#define WARM_ROWS 100000

static char dir[64];
static struct store *store;
static _Atomic bool stop;
static _Atomic int64_t most_bytes;
static struct err err;

static void
die(const char *what)
{
	(void)fprintf(stderr, "usage_soak: %s: %s (the store is %s)\n", what, err.text, dir);
	exit(1);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int64_t
resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long long size = 0, pages = 0;

	if (f == NULL || fscanf(f, "%lld %lld", &size, &pages) != 2)
		die("/proc/self/statm");
	(void)fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

/* As the gateway's clerk does it. */
static void *
clerk(void *arg)
{
	struct err e = { 0 };
	(void)arg;
	for (int round = 0; !stop; round++) {
		struct store_health h;

		if (store_fold(store, &e) < 0 || store_flush(store, &e) < 0 ||
			store_checkpoint(store, &e) < 0 ||
			(round % 20 == 0 && store_expire(store, &e) < 0) ||
			store_health(store, &h, &e) < 0) {
			err = e;
			die("clerk");
		}
		if (h.bytes_capped > most_bytes)
			most_bytes = h.bytes_capped;
		(void)usleep(h.rows_unfolded > 1000 ? 10000 : 250000);
	}
	return NULL;
}

static struct usage_row
soak_row(int64_t i, int64_t count, int64_t began)
{
	struct usage_row r = random_row(began - SPAN_MS + i * SPAN_MS / count);

	(void)snprintf(r.end_user, sizeof r.end_user, "user-%u", random_below(5000));
	(void)snprintf(r.session, sizeof r.session, "0192f0c1-2f6c-7a51-9b7e-3d9f8a3f8f7a");
	r.address = hash_64(r.end_user, strlen(r.end_user), 0);
	if (i == 10)
		(void)snprintf(r.tags[0], sizeof r.tags[0], "oldest");
	return r;
}

static void
print_files(void)
{
	static const char *const names[] = { "booked.db", "rollups.db", "main.db" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char path[128];
		struct stat st;

		(void)snprintf(path, sizeof path, "%s/db/%s", dir, names[i]);
		if (stat(path, &st) == 0)
			(void)printf(
				"  %-10s %lld bytes\n", names[i], (long long)st.st_blocks * 512);
	}
}

struct page {
	int count, most;
};

static bool
count_row(void *ctx, const struct usage_row *row)
{
	struct page *p = ctx;

	(void)row;
	return ++p->count < p->most;
}

static void
time_filters(void)
{
	static const struct {
		const char *what;
		struct rows_filter filter;
	} lists[] = {
		{ "every row", { { [ROWS_TAG] = NULL } } },
		{ "a model", { { [ROWS_MODEL] = "model-3" } } },
		{ "an end user", { { [ROWS_END_USER] = "user-77" } } },
		{ "a tag that the oldest row has", { { [ROWS_TAG] = "oldest" } } },
		{ "a status that none has", { { [ROWS_STATUS] = "404" } } },
		{ "a class and a user, none has both",
			{ { [ROWS_STATUS] = "5xx", [ROWS_END_USER] = "user-77" } } },
		{ "a token that none has", { { [ROWS_TOKEN] = "tok_0000000000000000000001" } } },
	};

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		struct page page = { .most = 50 };
		int64_t best = INT64_MAX;

		for (int again = 0; again < 3; again++) {
			int64_t began = clock_mono_us();

			page.count = 0;
			if (store_rows_find(store, &lists[i].filter, &(uint64_t){ 0 }, count_row,
				    &page, &err) < 0)
				die("list");
			if (clock_mono_us() - began < best)
				best = clock_mono_us() - began;
		}
		(void)printf("  %-36s %3d rows in %6.2f ms\n", lists[i].what, page.count,
			(double)best / 1000);
	}
}

int
main(int argc, char **argv)
{
	int64_t count = argc > 1 ? atoll(argv[1]) : 1000000, booked_rows = 0;
	int64_t cap = (argc > 2 ? atoll(argv[2]) : 160) << 20, resident = 0, began;
	const char *tmp = getenv("TMPDIR");
	char key[96];
	struct store_options o = { .dir = dir, .create = true, .rows_cap_bytes = cap };
	struct usage_sum wanted = { 0 }, sum;
	struct store_health h;
	pthread_t t;

	(void)snprintf(dir, sizeof dir, "%.40s/sluice-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		die(dir);
	(void)snprintf(key, sizeof key, "%s/master.key", dir);
	o.master_key_file = key;
	if ((store = store_open(&o, NULL, &err)) == NULL)
		die("open");
	if (pthread_create(&t, NULL, clerk, NULL) != 0)
		die("thread");
	began = clock_wall_ms();
	while (booked_rows < count) {
		struct usage_row rows[STORE_BOOK_MAX];
		bool booked[STORE_BOOK_MAX];
		size_t n = 0;

		for (; n < STORE_BOOK_MAX && booked_rows < count; n++) {
			rows[n] = soak_row(booked_rows++, count, began);
			usage_sum_add(&wanted, &rows[n]);
		}
		if (store_book(store, rows, n, booked, &err) < 0)
			die("book");
		if (resident == 0 && booked_rows >= count / 10 && booked_rows >= WARM_ROWS)
			resident = resident_bytes();
	}
	(void)printf("%lld rows booked in %.1f s\n", (long long)count,
		(double)(clock_wall_ms() - began) / 1000);
	do {
		(void)usleep(100000);
		if (store_health(store, &h, &err) < 0)
			die("health");
	} while (h.rows_unfolded > 0);
	stop = true;
	(void)pthread_join(t, NULL);
	if (store_expire(store, &err) < 0 || store_health(store, &h, &err) < 0 ||
		store_usage_sum(store, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err) < 0)
		die("end");
	(void)printf(
		"folded after %.1f s; %lld rows kept; %lld bytes of %lld, at most %lld: %.0f for "
		"each kept row\n",
		(double)(clock_wall_ms() - began) / 1000, (long long)h.rows,
		(long long)h.bytes_capped, (long long)cap, (long long)most_bytes,
		(double)h.bytes_capped / (double)h.rows);
	(void)printf("resident %lld kB after a tenth, %lld kB now\n", (long long)resident / 1024,
		(long long)resident_bytes() / 1024);
	(void)fflush(stdout);
	print_files();
	time_filters();
	if (memcmp(&sum, &wanted, sizeof sum) != 0)
		die("the sums are not what was booked");
	if (most_bytes > cap)
		die("the store was above its cap");
	if (resident > 0 && resident_bytes() > resident + (4 << 20))
		die("resident memory grew by more than 4 MB");
	store_close(store);
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
