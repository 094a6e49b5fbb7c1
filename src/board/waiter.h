/*
 * waiter.h - requests that wait for their turn when all that could serve them are busy.
 *
 * One line for each pool (route_plan.pool), shared by all processes, in which projects have their turns
 * by weight: start-time fair queueing.  A project that has waiters and one turn after the other has them
 * 1 / weight apart in the pool's virtual time; whoever comes anew starts at the pool's present one.  So
 * over any stretch in which they wait, turns go by weight within one turn, and nobody starves.
 *
 * All of it is words without a mutex: any thread may call, the loop too.  A place says whose it is;
 * that of a dead process is passed over and cleared by whoever sees it.  A lost race costs a project at
 * most a turn.  Nothing here blocks.
 */
#ifndef BOARD_WAITER_H
#define BOARD_WAITER_H

#include "board/board.h"

#define BOARD_WAITERS       4096 /* of all pools */
#define BOARD_QUEUES        1024 /* pools that have waiters at once */
#define BOARD_WAIT_BEAT_MS  1000 /* who does not tell for so long that it waits is passed over */
#define BOARD_WAIT_FIRST    8    /* places that are asked for at once */

struct board_waiter {
	uint32_t slot;
	int64_t serial; /* 0: waits nowhere; else the order in which they came */
};

struct board_wait_ask {
	struct id pool, project, exchange;
	int64_t weight;   /* of the project, >= 1 */
	int64_t until_ms; /* board time: then it is passed over */
	int64_t most;     /* that may wait in this pool, this one included */
};

/* Takes the last place of its project's: 0, or -1 when the line is as long as it may be. */
int board_wait(struct board *b, const struct board_wait_ask *ask, struct board_waiter *w);
/* It waits on; to be told several times in BOARD_WAIT_BEAT_MS.  False: its place is lost. */
bool board_wait_beat(struct board *b, struct board_waiter w);
/* Nobody may serve it before that board time, though others of its line may be served: until then those
 * behind it have their turns first.  It keeps its place. */
void board_wait_pass(struct board *b, struct board_waiter w, int64_t until_ms);
/* Leaves.  served: it had its turn, which its project is charged for. */
void board_wait_end(struct board *b, struct board_waiter w, bool served);

/* Those whose turn is next, in order: how many, at most `most` (up to BOARD_WAIT_FIRST). */
int board_wait_order(struct board *b, struct id pool, struct board_waiter *out, int most);
/* Does anybody wait there?  For half a second afterwards it may still say so. */
bool board_waits(struct board *b, struct id pool);
/* How long until a place behind `ahead` others has its turn, by the turns of late, and by how long those
 * who wait now have seen none; 0: not known. */
int64_t board_wait_forecast_ms(struct board *b, struct id pool, int64_t ahead);
/* How many wait in that pool. */
int64_t board_wait_count(struct board *b, struct id pool);

/* All that wait, by pool and in order. */
struct board_waiting {
	struct id exchange;
	int64_t position; /* in its pool, from 1 */
	int64_t since_ms; /* board time */
};
/* How many there are; the first `most` are in out (NULL: counted alone). */
int board_waiting(struct board *b, struct board_waiting *out, int most);

/* Clears the places of dead processes; a clerk.  How many. */
int board_wait_sweep(struct board *b);

#endif
