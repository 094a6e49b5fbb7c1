/*
 * usage-int.h - inside the store: what rows are summed under and found by.  In `rollups`:
 *
 *   by, step, start, value             -> sum                     sums.c
 *   KEY_POSTING, block, kind, value    -> which rows of a block   postings.c
 *   KEY_POSITION                       -> how far the fold is     fold.c
 */
#ifndef STORE_USAGE_INT_H
#define STORE_USAGE_INT_H

#include "store/store-int.h"

#define KEY_POSTING  0x80 /* where `by` stands otherwise */
#define KEY_POSITION 0xff

#define FOLD_ROWS 1000 /* a transaction */

/* What a row counts under, or is found by. */
struct value {
	uint8_t at[16];
	uint8_t len;
};

/* ---- sums.c ---- */
#define MINUTE_MS    60000LL
#define HOUR_MS      3600000LL
#define DAY_MS       86400000LL
#define MINUTES_KEPT (2 * DAY_MS)
#define HOURS_KEPT   (90 * DAY_MS)

enum { STEP_EVER = STEP_DAY + 1, STEP__COUNT };

struct sum_key {
	uint8_t at[2 + 8 + 16]; /* by, step, start, value */
	uint8_t len;
};
#define SUM_KEY_HEAD 10

int64_t step_length(int step); /* of STEP_EVER INT64_MAX */
int64_t step_start(int step, int64_t ms);
struct sum_key sum_key_of(int by, int step, int64_t start, const struct value *value);
int64_t sum_key_start(const struct sum_key *k);
int sum_key_compare(const struct sum_key *a, const struct sum_key *b);

/* Room for the numbers of newer programs too. */
#define SUM_ROOM (1 + 8 * 32)
/* Zeros when there is none; its requests are never 0 otherwise. */
int sum_get(struct attach *at, DB_TXN *txn, u_int32_t flags, const struct sum_key *k,
	struct usage_sum *sum);
int sum_put(struct attach *at, DB_TXN *txn, const struct sum_key *k, const struct usage_sum *sum);
int sum_read(const uint8_t *in, size_t len, struct usage_sum *sum); /* or EILSEQ */

#define VALUES_MAX USAGE_TAGS_MAX
/* An id beyond the ceiling of its dimension. */
extern const struct value value_other_id;
struct value value_of_number(uint32_t number);
struct value value_of_id(struct id id);
/* What a row counts under; *count 0: it does not. */
int values_of(struct attach *at, DB_TXN *txn, const struct folded *folded, int by,
	const struct stored_row *r, struct value out[VALUES_MAX], int *count);

/* ---- fold.c ---- */
#define FOLD_LAYOUT 2 /* 1: no end users, tags, postings */
int fold_put_position(struct attach *at, DB_TXN *txn, const struct folded *folded);
bool fold_same(const struct folded *a, const struct folded *b);
/* Is that row in the sums? */
bool fold_has(const struct folded *folded, uint32_t recno);
/* The first record that is not folded. */
int unfolded_first(struct attach *at, uint32_t position, uint32_t *recno);

/* ---- postings.c ---- */
#define BLOCK_SHIFT 12
#define BLOCK_ROWS  (1u << BLOCK_SHIFT)
#define POSTS_MAX   (10 + USAGE_TAGS_MAX)
struct post {
	uint8_t key[1 + 4 + 1 + 16]; /* KEY_POSTING, block, kind, value */
	uint8_t len;
	uint16_t offset; /* of the row in its block */
};
#define POST_KEY_HEAD 6
int posts_of(const struct stored_row *r, struct post out[POSTS_MAX]);
/* Sorts them. */
int posts_write(struct attach *at, DB_TXN *txn, struct post *posts, int count);

/* ---- expire.c ---- */
/* Are there more rows than the cap allows? */
bool expire_due(struct store *s);

#endif
