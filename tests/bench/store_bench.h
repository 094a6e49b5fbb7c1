/*
 * store_bench.h - what the benches on a real store share: a folder of their own with store and board, and
 * one Berkeley DB get, by which they count.
 */
#ifndef BENCH_STORE_BENCH_H
#define BENCH_STORE_BENCH_H

#include "base/hash.h"
#include "board/board.h"
#include "store/store.h"

#define ROUNDS 15   /* of each figure, whose median counts */
#define GETS   2048 /* a round */

struct place {
	char dir[64], key[96];
	struct roster *roster;
	struct store *store;
	struct board *board;
};

extern const struct store_change by_bench;

/* Ends the program with the error's text when rc is negative. */
void must(int rc, const struct err *err);
/* A new folder under /tmp. */
void place_make(struct place *p, const char *name);
void place_attach(struct place *p, bool create);
void place_detach(struct place *p);
void place_remove(const struct place *p);

/* The secret of the n-th token is its number. */
void hash_of(int64_t n, uint8_t out[SHA256_BYTES]);

struct gets {
	int64_t which[GETS]; /* tokens, by number */
	uint8_t key[GETS][1 + SHA256_BYTES];
	int found;
};
/* Makes the keys of which[]. */
void gets_prepare(struct gets *g);
/* All of them in one visit, so that it is Berkeley DB alone that is measured; ends the program when one is
 * not found. */
void gets_run(struct store *s, struct gets *g);

double median(double list[ROUNDS]);

#endif
