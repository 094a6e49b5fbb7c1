/*
 * route.h - which upstream and key now, and which next.
 *
 * First cut of the strategies: every active upstream that serves the model, weighted round robin
 * over their live keys, shared by all processes through a cursor on the board.  Pure calculation
 * and atomic words: never blocks, so the loop may call it.
 */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include "board/board.h"
#include "store/snapshot.h"
#include "wire/error.h"

#define ROUTE_ATTEMPTS_MAX 6 /* keys tried for one exchange */

struct route_ask {
	struct span model;    /* "" when the request names none */
	struct span upstream; /* by name; "" when the client leaves it to us */
	struct id project;    /* whose own keys go before the common ones */
	enum dialect dialect; /* of the path */
	bool is_conversation; /* any provider of models can be asked, as it is converted for it; other
	                       * paths only those of that dialect */
};

/* Upstream and key point into the snapshot; key is NULL for an upstream that needs none. */
struct route_candidate {
	const struct upstream *upstream;
	const struct snapshot_key *key;
};

struct route_plan {
	int count;
	struct route_candidate candidate[ROUTE_ATTEMPTS_MAX];
};

/*
 * Fills in whom to try, in order.  ERR_UNKNOWN_UPSTREAM (lists the names), ERR_NO_ROUTE (nobody
 * serves the model), ERR_NO_KEY_AVAILABLE (all rest; err->retry_boot_ms is when the first wakes).
 */
int route_plan(struct board *board, const struct snapshot *snapshot, const struct route_ask *ask,
	struct route_plan *plan, struct err *err);

/* Does that upstream serve the model? */
bool route_serves(const struct upstream *u, struct span model);

struct route_rests {
	int64_t default_ms; /* for a rate limit that states no time */
	int64_t most_ms;    /* however long a provider says; then one request may try again */
};
/* After an attempt.  FAILURE_NONE wakes the key.  until_ms: wall clock, 0 when none was stated.
 * status 0: no answer at all. */
void route_report(struct board *board, const struct route_candidate *c, enum failure failure,
	int status, int64_t until_ms, const struct route_rests *rests);

/* Should the next candidate be tried after such a failure? */
bool route_goes_on(enum failure failure);

#endif
