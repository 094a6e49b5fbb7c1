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
#define BOARD_NOTE_BYTES 1408 /* what a lease carries for settling it after a crash */

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

/* ---- counters and leases ---- */

struct board_claim {
	uint64_t key[2];    /* 128-bit hash of limit, scope values and window start */
	int64_t amount;     /* >= 0: reserved now */
	int64_t cap;        /* spent + reserved + amount must stay <= cap; INT64_MAX: only counted */
	int64_t window_start_ms, window_end_ms; /* board time; end INT64_MAX: for ever */
	/* The counter's use before this board knew it.  A row that does not exist yet and whose window
	 * began before the board was made is only created when `seeded` is true.  A row goes when no
	 * lease names it and its window ended two hours ago, or it is at nothing: then it may want
	 * its seed again. */
	bool seeded;
	int64_t seed;
};

struct board_verdict {
	enum { BOARD_TAKEN, BOARD_REFUSED, BOARD_NEEDS_SEED } outcome;
	int which;               /* index of the claim that refuses or needs its seed */
	int64_t spent, reserved; /* of that counter */
	int64_t used[BOARD_CLAIMS_MAX]; /* taken: spent and reserved of each, this one included */
};

/* A lease: what one exchange holds until it is settled.  The handle is good in this process. */
struct board_lease {
	uint32_t index;
	uint64_t serial; /* 0: none */
};

/* Checks all claims, then takes all or none, and writes the lease with its owner and note
 * (note_bytes <= BOARD_NOTE_BYTES) in the same section.  0 with *verdict (refused is no error);
 * -1: ERR_OVERLOADED when the mutex, a lease or a counter row is not to be had. */
int board_admit(struct board *b, struct id exchange, const struct board_claim *claims, int count,
	const void *note, size_t note_bytes, struct board_lease *lease, struct board_verdict *verdict,
	struct err *err);

/* What is in a counter: 1 row there, 0 none (both zero), -1 the mutex was not to be had. */
int board_peek(struct board *b, const uint64_t key[2], int64_t *spent, int64_t *reserved);

/* Settles: reserved goes down by what was taken, spent up by spent[i] >= 0 for claim i (by 0 for
 * those beyond count, which may be less than was claimed), the lease is freed.  Returns 1 when it
 * settled; 0 when the lease is settled already, or lost with its board; -1: ERR_OVERLOADED. */
int board_settle(struct board *b, struct board_lease lease, const int64_t *spent, int count,
	struct err *err);

/* The lease's note, to be changed in place while the exchange runs.  Only its owner writes, field by
 * field of at most 8 aligned bytes, so that a reader after a crash sees old or new.  After a reboot
 * it may be older than its lease.  NULL when the lease is settled or lost.  [loop] */
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

/* What runs now: a copy of each live lease, orphans too; fn returning false ends it.  How many were
 * shown, or -1 when the mutex was not to be had. */
int board_inflight(struct board *b, bool (*fn)(void *ctx, struct id exchange, struct roster_owner owner,
	const void *note), void *ctx);

/* ---- words without the mutex ---- */

/* Moves with every change of what snapshots hold. */
uint64_t board_generation(const struct board *b); /* [loop] */
void board_generation_bump(struct board *b);      /* [loop] */

/* A provider key's state, shared by all; found by the key's id, ceiling BOARD_KEYS.  [loop] */
#define BOARD_KEYS 4096
struct board_key {
	_Atomic int64_t rest_until_ms; /* board time; 0: live */
	_Atomic uint32_t failures;     /* in a row */
	_Atomic uint32_t inflight_hint;
	_Atomic uint64_t cursor;       /* of the weighted round robin */
	_Atomic uint32_t reason;       /* enum err_code or HTTP status of the last failure */
	_Atomic int64_t failed_at_ms, ok_at_ms;
};
/* NULL when the table is full. */
struct board_key *board_key(struct board *b, struct id key);

enum board_count {
	COUNT_EXCHANGES, COUNT_REFUSED, COUNT_FAILED, COUNT_ATTEMPTS, COUNT_STREAMS, COUNT_BYTES_IN, COUNT_BYTES_OUT,
	COUNT_CLIENT_GONE, COUNT_REAPED, COUNT_MS_TOTAL, BOARD_COUNTS = 32
};
void board_count(struct board *b, enum board_count m, int64_t add); /* [loop] */
int64_t board_counted(const struct board *b, enum board_count m);

struct board_health {
	int64_t rows, rows_used, leases, leases_used, rollbacks, remade_ms;
};
void board_health(struct board *b, struct board_health *out);

#endif
