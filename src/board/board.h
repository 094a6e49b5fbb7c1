/*
 * board.h - the scoreboard: one memory-mapped file of counters and leases that every process shares.
 *
 * Admission, booking and reaping are each one critical section of short arithmetic under a
 * process-shared robust mutex: what is about to change is written to an undo area first, and
 * whoever finds its owner dead rolls back.  So all scopes of a request are checked and then all are
 * taken, or none, exactly, from any number of processes, through any kill -9.
 *
 * Any thread may call, but the loop thread only those marked [loop]: they take no mutex.
 * Nothing here blocks longer than BOARD_LOCK_MS; then ERR_OVERLOADED.
 */
#ifndef BOARD_BOARD_H
#define BOARD_BOARD_H

#include "base/err.h"
#include "base/id.h"
#include "base/roster.h"
#include <stdbool.h>
#include <stdint.h>

#define BOARD_LOCK_MS    50
#define BOARD_CLAIMS_MAX 24   /* counters one admission can take from */
#define BOARD_NOTE_BYTES 3264 /* what a lease carries for settling it after a crash */
#define BOARD_SLICES     60   /* of a rolling window; the oldest counts whole */
#define BOARD_WARNS_MAX  3    /* shares of a cap that are told of */
#define BOARD_REPEAT_MS  3600000 /* an idempotency key is remembered this long */

struct board;

/* File dir/board, created, or made anew when it is damaged or of another version.  After a reboot
 * its counters are cleared and its leases are all orphans: reap before the first admission, so that
 * the seeds (claim.seed) know what those spent.  Processes that still use a damaged one go on with
 * it until they end.  ERR_STORE_UNAVAILABLE, ERR_OVERLOADED (disk full), ERR_MEMORY.
 * Open it after fork(); the roster must outlive it. */
struct board *board_open(const char *dir, struct roster *roster, struct err *err);
void board_close(struct board *b);

/* Milliseconds since 1970 that never step back: an offset all share plus CLOCK_BOOTTIME; a step of
 * the wall clock is slewed in by board_tick(), 10 % of the time passed at most.  [loop] */
int64_t board_now_ms(const struct board *b);
void board_tick(struct board *b); /* a clerk, each second */
/* Milliseconds that will pass until board time is at_ms, slewing considered; 0: it is.  [loop] */
int64_t board_wait_ms(const struct board *b, int64_t at_ms);

/* ---- counters and leases ---- */

/* A counter's name: SipHash-2-4 (128 bit) of what it is of, under a random key of this board, so that
 * nobody outside can make two counters share a row.  Good as long as the board.  [loop] */
void board_counter_key(const struct board *b, const void *data, size_t len, uint64_t key[2]);

struct board_claim {
	uint64_t key[2];    /* board_counter_key() of limit, scope values and calendar window */
	int64_t amount;     /* >= 0: reserved now */
	int64_t cap;        /* spent + reserved + amount must stay <= cap; INT64_MAX: only counted */
	int64_t window_start_ms, window_end_ms; /* board time; end INT64_MAX: for ever */
	/* 0, or a rolling window of that length, in BOARD_SLICES slices: what was spent in the slice
	 * that now lies in and the 60 before it counts, and all that is reserved.  The key then names
	 * no window, and start and end are not looked at.  Another length is another counter. */
	int64_t rolling_ms;
	/* Tell when spent + reserved first reaches it; 0: none.  A rolling counter tells again once it
	 * was below, at most once in the window's length.  A board made anew tells again. */
	int64_t warn[BOARD_WARNS_MAX];
	/* The counter's use before this board knew it.  A row that does not exist yet and whose window
	 * began before the board was made is only created when `seeded` is true.  A row goes when no
	 * lease names it and its window ended two hours ago, or it is at nothing: then it may want
	 * its seed again.  A rolling one's seed counts as spent one slice ago. */
	bool seeded;
	int64_t seed;
};

/* An exchange that must not run twice: its key is remembered while it runs, and BOARD_REPEAT_MS after
 * its settlement, through reboots too. */
struct board_repeat {
	uint64_t key[2];  /* board_counter_key() of project and idempotency key; zeros: none */
	uint64_t body[2]; /* the same of the request's body */
};

struct board_verdict {
	enum { BOARD_TAKEN, BOARD_REFUSED, BOARD_NEEDS_SEED, BOARD_RUNNING, BOARD_REPEATED, BOARD_OTHER_BODY } outcome;
	int which;               /* index of the claim that refuses or needs its seed */
	int64_t spent, reserved; /* of that counter */
	int64_t frees_ms;        /* refused, rolling: board time at which it fits by age alone; 0: never */
	int64_t used[BOARD_CLAIMS_MAX]; /* taken: spent and reserved of each, this one included */
	int64_t held[BOARD_CLAIMS_MAX]; /* of which reserved */
	uint8_t warned[BOARD_CLAIMS_MAX]; /* taken: bit i: warn[i] was reached for the first time */
	struct id first;         /* RUNNING, REPEATED: the exchange that had the idempotency key first */
	int status;              /* REPEATED: what its client got */
};

/* A lease: what one exchange holds until it is settled.  The handle is good in this process. */
struct board_lease {
	uint32_t index;
	uint64_t serial; /* 0: none */
};

/* Checks the idempotency key (repeat may be NULL) first, then all claims, takes all or none, and writes
 * the lease with its owner and note (note_bytes <= BOARD_NOTE_BYTES) in the same section.  0 with
 * *verdict (refused is no error); -1: ERR_OVERLOADED when the mutex, a lease, a counter row or a
 * place for the idempotency key is not to be had. */
int board_admit(struct board *b, struct id exchange, const struct board_claim *claims, int count,
	const struct board_repeat *repeat, const void *note, size_t note_bytes,
	struct board_lease *lease, struct board_verdict *verdict, struct err *err);

/* What board_admit() would say now; nothing is taken, and nothing changes. */
int board_would(struct board *b, const struct board_claim *claims, int count,
	const struct board_repeat *repeat, struct board_verdict *verdict, struct err *err);

/* Reserves more for a lease that runs: amount[i] >= 0 on top for claim i, cap[i] as it is now; all or
 * none.  0 with *verdict (TAKEN or REFUSED); also TAKEN, of nothing, when the lease is gone. */
int board_raise(struct board *b, struct board_lease lease, const int64_t *amount,
	const int64_t *cap, int count, struct board_verdict *verdict, struct err *err);

/* What is in a counter: 1 row there, 0 none (both zero), -1 the mutex was not to be had. */
int board_peek(struct board *b, const uint64_t key[2], int64_t rolling_ms, int64_t *spent,
	int64_t *reserved);
/* Adds to what a counter has spent (or takes from it, not below 0), as of at_ms of board time; a
 * counter that has no row, or whose window at_ms is not in, is left alone.  From a rolling one it
 * takes what is of at_ms first, then the newest.  0, or -1. */
int board_correct(struct board *b, const uint64_t key[2], int64_t rolling_ms, int64_t at_ms,
	int64_t add, struct err *err);

/* Settles: reserved goes down by what was taken, spent up by spent[i] >= 0 for claim i (by 0 for
 * those beyond count, which may be less than was claimed), as of the time of admission; the lease is
 * freed.  Its idempotency key is kept with status (0 to 65535), or freed when that is 0.  Returns 1
 * when it settled; 0 when the lease is settled already, or lost with its board; -1: ERR_OVERLOADED. */
int board_settle(struct board *b, struct board_lease lease, const int64_t *spent, int count,
	int status, struct err *err);

/* The lease's note, to be changed in place while the exchange runs, up to the note_bytes it was
 * admitted with.  Only its owner writes, field by field of at most 8 aligned bytes, so that a reader
 * after a crash sees old or new.  After a reboot it may be older than its lease.  NULL when the lease
 * is settled or lost.  [loop] */
void *board_note(struct board *b, struct board_lease lease);

/* Leases whose owner is dead: calls fn for each, claimed for this process (no other reaper gets
 * it), with its claims' amounts and note; fn books what it says, then settles it by board_settle.
 * fn returning false leaves it for later, for anybody.  o and its note are copies.  Returns how many
 * were handed out (0 while another thread of this process is at it), or -1: ERR_OVERLOADED. */
struct board_orphan {
	struct board_lease lease;
	struct id exchange;
	int count;
	int64_t amount[BOARD_CLAIMS_MAX];
	const void *note;
};
int board_reap(struct board *b, bool (*fn)(void *ctx, const struct board_orphan *o), void *ctx,
	struct err *err);

/* Asks the owner of a running exchange to end it.  1 asked, 0 it does not run, -1 no mutex. */
int board_cut(struct board *b, struct id exchange);
/* Was that asked of this lease?  [loop] */
bool board_is_cut(const struct board *b, struct board_lease lease);

/* What runs now: a copy of each live lease, orphans too; fn returning false ends it.  How many were
 * shown, or -1 when the mutex was not to be had. */
int board_inflight(struct board *b, bool (*fn)(void *ctx, struct id exchange, struct roster_owner owner,
	const void *note), void *ctx);

/* ---- words without the mutex ---- */

/* Moves with every change of what snapshots hold. */
uint64_t board_generation(const struct board *b); /* [loop] */
void board_generation_bump(struct board *b);      /* [loop] */

enum board_count {
	COUNT_EXCHANGES, COUNT_REFUSED, COUNT_FAILED, COUNT_ATTEMPTS, COUNT_STREAMS, COUNT_BYTES_IN, COUNT_BYTES_OUT,
	COUNT_CLIENT_GONE, COUNT_REAPED, COUNT_MS_TOTAL, COUNT_TARGETS,
	COUNT_QUEUED, COUNT_QUEUED_MS, COUNT_QUEUE_REFUSED, BOARD_COUNTS = 32
};
void board_count(struct board *b, enum board_count m, int64_t add); /* [loop] */
int64_t board_counted(const struct board *b, enum board_count m);

struct board_health {
	int64_t rows, rows_used, leases, leases_used, rollbacks, remade_ms;
	int64_t rings, rings_used, repeats, repeats_used; /* rolling counters, idempotency keys */
};
void board_health(struct board *b, struct board_health *out);

#endif
