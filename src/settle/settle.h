/*
 * settle.h - what an exchange is charged in the end, and the note by which anybody can settle it
 * after a crash.
 *
 * Booked exactly once on every path (architecture.md, section 5): (1) one store transaction books
 * the row under the exchange's id, (2) one board section raises spent, lowers reserved and frees
 * the lease.  A death between leaves the lease, and settle_reap() in any process finishes it.
 */
#ifndef SETTLE_SETTLE_H
#define SETTLE_SETTLE_H

#include "board/board.h"
#include "store/store.h"

/* Lies on the board with the lease; its owner keeps it current, field by field, without a lock. */
struct settle_note {
	struct usage_row row;       /* as far as known: who, what, where */
	int64_t input_nusd, output_nusd, request_nusd; /* of the candidate being tried */
	int64_t priced;             /* 0: the cost is not known */
	int64_t sent;               /* a provider may be working on it */
	int64_t input_estimate;     /* tokens */
	_Atomic int64_t output_chars; /* streamed so far */
	_Atomic int64_t bytes;      /* sent to the client */
	_Atomic int64_t leaving;    /* the client left; the provider is heard out */
	_Atomic int64_t complete;   /* the row is as it is to be booked: the exchange is over */
	int64_t follows;            /* the lease of one attempt: the exchange's own books the row */
	int64_t count;
	uint8_t metric[BOARD_CLAIMS_MAX]; /* enum limit_metric of each claim */
};
_Static_assert(sizeof(struct settle_note) <= BOARD_NOTE_BYTES, "the note fits its lease");

/* What each claim is charged for that row: spent[i] for metric[i]. */
void settle_charge(const uint8_t *metric, int count, const struct usage_row *row,
	int64_t spent[BOARD_CLAIMS_MAX]);

/* What the exchange's idempotency key is kept with (board_settle): the client's status, 500 where a
 * death left it without one, 0 when it failed and cost nothing, so that it may be tried again. */
int settle_status(const struct usage_row *row);

/* Settles what dead processes held: the row as it is where the exchange was over, else marked
 * ended_by=crash with estimated usage; where the row had been booked, the board's side alone.  Blocks; called by a clerk.  Returns how many. */
int settle_reap(struct store *store, struct board *board, struct err *err);

/* After a reboot (board.h) nobody may be admitted before the store knows what the leases of before
 * have spent: settles them, and waits for other processes that are at it, SETTLE_FIRST_MS at most.
 * Costs nothing when the board is older than an hour.  Returns how many are still owed, or -1. */
#define SETTLE_FIRST_MS 5000
int settle_reap_first(struct store *store, struct board *board, struct err *err);

#endif
