/*
 * reprice.h - what booked rows cost by the prices that hold for their time, computed again from their
 * counters.
 *
 * For when a price came late or was wrong.  Doing it twice changes nothing the second time.  Works
 * while requests run: a row and its sums change in one transaction each, and the board's counters of
 * cost limits follow, as far as their window still counts and rows know whom they count (not the
 * addresses of clients).  A kill between a row and the board leaves the board as it was for that row.
 * An upstream's factor has no date: the present one counts.
 */
#ifndef SETTLE_REPRICE_H
#define SETTLE_REPRICE_H

#include "board/board.h"
#include "store/store.h"

struct reprice_sum {
	char model[128];   /* as sent on; "other" beyond REPRICE_MODELS_MAX */
	int64_t rows, changed;
	int64_t unpriced;  /* of the rows, those whose cost was not known */
	int64_t before_nusd, after_nusd; /* of all the rows */
};
#define REPRICE_MODELS_MAX 2048

struct reprice {
	int64_t from_ms, to_ms; /* of the requests' time, [from, to); to 0: all there are */
	bool dry_run;           /* compute and tell, write nothing */
	void (*progress)(void *ctx, int64_t rows); /* now and then; may be NULL */
	void *ctx;
};

struct reprice_result {
	int64_t rows;     /* looked at, in that time */
	int64_t changed;
	int64_t unknown;  /* left as they are: no price is known for them */
	int64_t stated;   /* left: the provider itself said what they cost */
	int64_t counters; /* of limits, corrected on the board */
	struct reprice_sum total;
	struct reprice_sum *model; /* by name; free() it, also after a failure */
	size_t model_count;
};

/* Writes an audit entry when it changed something.  Blocks for long.  0; or -1 with what was done so
 * far in *out: run it again. */
int reprice_rows(struct store *store, struct board *board, const struct reprice *how,
	const struct store_change *change, struct reprice_result *out, struct err *err);

#endif
