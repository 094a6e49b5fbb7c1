/*
 * ledger.h - the thread that books finished exchanges: all that wait, in one transaction.
 */
#ifndef SETTLE_LEDGER_H
#define SETTLE_LEDGER_H

#include "settle/settle.h"
#include "store/vault.h"

#define LEDGER_OWED_MAX 4096 /* waiting for a store that cannot commit; beyond, leases stay owing */

#define LEDGER_KEEP_MAX (16L << 20) /* bytes of records that wait to be kept; beyond, they are not */

struct ledger;

struct journal;

/* What models signed in an answer, for the vault.  Lost where the store does not take it: it is a cache. */
struct ledger_keep {
	struct id project;
	int64_t until_ms, cap_bytes;
	struct bytes text; /* of the records */
	size_t count;
	struct vault_record record[];
};
void ledger_keep_free(struct ledger_keep *keep); /* NULL too */

/* From ledger_submit() on the ledger's; it goes back through done(), or ledger_forget(). */
struct ledger_item {
	struct usage_row row;
	struct board_lease lease; /* serial 0: nothing is held */
	int count;                /* of spent, as many as the lease's claims */
	int64_t spent[BOARD_CLAIMS_MAX];
	struct board_lease attempt; /* of the last attempt, from limits that name upstreams and keys */
	int attempt_count;
	int64_t attempt_spent[BOARD_CLAIMS_MAX];
	bool may_journal;         /* its project goes on without the store */
	struct ledger_keep *keep; /* the ledger's, written before done(); NULL: nothing */
	void *ctx;
	_Atomic int fate;         /* the ledger's own */
	struct ledger_item *next; /* the ledger's own */
};

/* done runs on the ledger's thread once the item is booked and settled; the item is the caller's
 * again. */
struct ledger *ledger_new(struct store *store, struct board *board,
	void (*done)(struct ledger_item *item), struct err *err);

/* Where rows go that the store does not take, of items that may_journal: these are settled and told
 * as if they were booked.  Before the first item; borrowed. */
void ledger_keep_journal(struct ledger *l, struct journal *journal);

/* Any thread, the loop too: never blocks. */
void ledger_submit(struct ledger *l, struct ledger_item *item);

/* More is to be reserved for a lease that runs (board_raise), by whoever may not wait for the board's
 * mutex.  From ledger_raise() on the ledger's; it goes back through its done(), or
 * ledger_forget_raise(). */
struct ledger_raise {
	struct board_lease lease;
	int count;
	int64_t amount[BOARD_CLAIMS_MAX], cap[BOARD_CLAIMS_MAX];
	enum { RAISE_GRANTED, RAISE_REFUSED, RAISE_BUSY } outcome; /* BUSY: ask again */
	void (*done)(struct ledger_raise *raise); /* on the ledger's thread */
	void *ctx;
	_Atomic int fate;          /* the ledger's own */
	struct ledger_raise *next; /* the ledger's own until done() */
};
/* A lease is given back with nothing spent.  Any thread, the loop too: never blocks.  Without memory
 * for it the lease is left to a reaper after this process. */
void ledger_release(struct ledger *l, struct board_lease lease);

/* Any thread, the loop too: never blocks. */
void ledger_raise(struct ledger *l, struct ledger_raise *raise);
/* As ledger_forget(). */
bool ledger_forget_raise(struct ledger_raise *raise);

/* The submitter waits no longer: true when done() will not come any more (the ledger frees the item
 * with free() in its time); false when it has come or is just coming. */
bool ledger_forget(struct ledger_item *item);

/* Work taken over from an abandoned thread (store.h).  True when `work` was the ledger's. */
bool ledger_take_over(struct ledger *l, void *work);

/* Books what waits, for at most wait_ms, then ends the thread.  What is left stays owing on the
 * board.  Returns how many items were left. */
int ledger_stop(struct ledger *l, int wait_ms);

#endif
