/* store_bench.c - a folder with store and board, and bare gets. */
#include "store_bench.h"

#include "store/store-int.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct store_change by_bench = { .actor = "bench", .action = "bench", .address = "" };

void
must(int rc, const struct err *err)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, err->text);
	exit(1);
}

void
place_make(struct place *p, const char *name)
{
	snprintf(p->dir, sizeof p->dir, "/tmp/%s.XXXXXX", name);
	if (mkdtemp(p->dir) == NULL)
		exit(1);
	snprintf(p->key, sizeof p->key, "%s/master.key", p->dir);
}

void
place_attach(struct place *p, bool create)
{
	struct store_options o = { .dir = p->dir, .master_key_file = p->key, .create = create };
	struct err err = { 0 };

	p->roster = roster_join(p->dir, &err);
	p->store = p->roster == NULL ? NULL : store_open(&o, p->roster, &err);
	p->board = p->store == NULL ? NULL : board_open(p->dir, p->roster, &err);
	must(p->board == NULL ? -1 : 0, &err);
}

void
place_detach(struct place *p)
{
	board_close(p->board);
	store_close(p->store);
	roster_leave(p->roster);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

void
place_remove(const struct place *p)
{
	(void)nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void
hash_of(int64_t n, uint8_t out[SHA256_BYTES])
{
	hash_sha256(&n, sizeof n, out);
}

void
gets_prepare(struct gets *g)
{
	for (int i = 0; i < GETS; i++) {
		g->key[i][0] = KEY_HASH;
		hash_of(g->which[i], g->key[i] + 1);
	}
	g->found = 0;
}

static int
bare_gets(struct attach *at, void *arg, struct err *err)
{
	struct gets *g = arg;
	DB *db = at->table[TABLE_MAIN];

	(void)err;
	for (int i = 0; i < GETS; i++) {
		uint8_t out[64];
		DBT k, v;

		dbt_in(&k, g->key[i], sizeof g->key[i]);
		dbt_out(&v, out, sizeof out);
		g->found += db->get(db, NULL, &k, &v, 0) == 0;
	}
	return 0;
}

void
gets_run(struct store *s, struct gets *g)
{
	struct err err = { 0 };

	must(store_call(s, "bench", bare_gets, g, &err), &err);
	if (g->found == GETS)
		return;
	fprintf(stderr, "%s: %d of %d keys were found\n", program_invocation_short_name, g->found,
		GETS);
	exit(1);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
median(double list[ROUNDS])
{
	qsort(list, ROUNDS, sizeof *list, by_value);
	return list[ROUNDS / 2];
}
