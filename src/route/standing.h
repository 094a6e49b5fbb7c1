/*
 * standing.h - how keys, upstreams and accounts stand: what an attempt's outcome means for the next.
 *
 * All of it is words of a board_target (board/target.h), shared by all processes and changed without
 * a lock; the loop may call whatever is marked [loop].
 *
 *   standing.c  states and what an outcome does to them     probe.c    who may find out
 *   cooldown.c  how long somebody rests                     breaker.c  circuit breakers
 *   clerk.c     what is kept in the store, and put back     person.c   what a person can do
 *   recount.c   attempts in flight, mended
 *
 * States (systems.md B2.2).  A key that is not its own fault stays as it is.
 *
 *   available  -> throttled, exhausted, disabled, invalid
 *   throttled  -> available, disabled, invalid;  recovering (a probe got through), exhausted (it met that)
 *   exhausted  -> recovering, disabled, invalid
 *   recovering -> available, exhausted, disabled, invalid;  throttled (it climbed too fast)
 *   disabled   -> available, invalid
 *   invalid    -> disabled;  recovering (a probe got through, its secret is a new one, or a person enables it)
 *
 * Those behind a semicolon are ours: without them nobody comes back by himself.  Whoever is proven
 * better, but not well, goes through recovering: exhausted -> recovering -> throttled.
 *
 * Resting.  rest_until_ms 0: live.  In the future: nobody asks.  Past: due, and exactly one request over
 * all processes is its probe (`prober`); success wakes it, failure makes it rest longer.  A time that a
 * provider states is kept exactly, up to a first cap that doubles with each probe in vain; what was
 * stated is never shortened by a later failure.
 *
 * Breakers (systems.md F3), of keys, upstreams and accounts, by the parameters of the upstream's record.
 * `breaker` counts how often it opened in a row; open while the target rests, half-open when it is
 * due.  An upstream's or account's own opens only when those of its members that were well share the
 * failures: one bad key does not close a deployment.
 */
#ifndef ROUTE_STANDING_H
#define ROUTE_STANDING_H

#include "board/event.h"
#include "route/route.h"
#include "store/store.h"

/* ---- for decisions [loop] ---- */

enum standing_may {
	STANDING_MAY,    /* it may be asked */
	STANDING_RESTS,  /* until rest_until_ms */
	STANDING_DUE,    /* by one request, which claims its probe in route_begin() */
	STANDING_PROBED  /* somebody who lives has that claim */
};

/* t NULL: may.  One read where nothing rests. */
static inline enum standing_may
standing_may(const struct board *b, const struct board_target *t, int64_t now_ms)
{
	int64_t until_ms, prober;

	if (t == NULL ||
		(until_ms = atomic_load_explicit(&t->rest_until_ms, memory_order_relaxed)) == 0)
		return STANDING_MAY;
	if (until_ms > now_ms)
		return STANDING_RESTS;
	prober = atomic_load_explicit(&t->prober, memory_order_relaxed);
	return prober == 0 || board_owner_is_dead(b, prober) ? STANDING_DUE : STANDING_PROBED;
}
/* The same of an upstream, its keys, models and account, for a call to it: a person may have forced its
 * breaker, and what is forced closed is closed for all of them. */
enum standing_may standing_may_through(const struct board *b, const struct upstream *u,
	const struct board_target *t, int64_t now_ms);
/* Why it may not: REASON_RESTS, REASON_INVALID, REASON_BREAKER or REASON_PROBED. */
enum route_reason standing_reason(const struct board_target *t, enum standing_may may);

/* The id of the target that a key or upstream is at a model, as it calls that itself. */
struct id route_target_at(struct id whole, struct span model);
/* Of the account that upstreams of one group share; "": none. */
struct id route_target_of_group(struct span group);

/* ---- how it stands, for people ---- */

enum standing_breaker {
	STANDING_CLOSED, STANDING_OPEN, STANDING_HALF_OPEN, STANDING_FORCED_OPEN, STANDING_FORCED_CLOSED
};

struct standing {
	enum target_state state;
	enum target_cause cause;
	int status;               /* of the answer that was the evidence; 0: none */
	enum standing_breaker breaker;
	bool is_probed;           /* somebody is finding out just now */
	/* board time; 0: not at all, or never */
	int64_t until_ms;         /* rests until; in the past: the next request finds out */
	int64_t stated_until_ms;  /* as its provider said */
	int64_t changed_ms, ok_ms, failed_ms, probed_ms;
	int64_t rests, failures, inflight;
	int64_t share_ppm;        /* of its weight that it gets; 1,000,000: all */
	int64_t ttft_us, success_ppm; /* decayed; -1: not known */
};
/* t NULL: as one nobody has asked yet.  is_enabled: the record's own.  forced: enum breaker_forced. */
void standing_state(const struct board *b, const struct board_target *t, bool is_enabled, int forced,
	struct standing *out);

const char *standing_state_name(enum target_state s);       /* "throttled" */
const char *standing_cause_name(enum target_cause c);       /* "rate_limit" */
const char *standing_breaker_name(enum standing_breaker b); /* "half_open" */

/* ---- what a person can do; of a key or an upstream by its record's id ---- */

bool standing_is_legal(enum target_state from, enum target_state to);
/* It may be asked from now on: the next request is its probe.  model "": itself, else its part at that
 * model.  1, or 0 when it did not rest; -1: ERR_CONFLICT when it is disabled. */
int standing_retry(struct board *b, struct id record, struct span model, struct err *err);
/* 1, or 0 when it is so already; -1: ERR_CONFLICT, which names the states it may go to.  The record's
 * is_enabled is the caller's business: write it first. */
int standing_set(struct board *b, struct id record, enum target_state to, const char *why, struct err *err);
/* Its record is enabled, or its secret a new one: what is known of failures is forgotten, counters stay.
 * False: there was nothing to forget. */
bool standing_renew(struct board *b, struct id record, const char *why);
/* It rests until then (board time), as if its provider had said so.  0 or -1: ERR_OVERLOADED. */
int standing_rest(struct board *b, struct id record, int64_t until_ms, const char *why, struct err *err);
/* Its record's breaker was forced, or is no longer; before: enum breaker_forced.  Kept with its history. */
void standing_force(struct board *b, const struct upstream *u, int before);
/* What a health check found of an upstream: a failure counts as one of a call. [loop] */
void standing_health(struct board *b, const struct upstream *u, bool is_well, int status,
	struct span evidence, const struct route_rests *rests);

/* ---- what is kept (a clerk; may block on the store) ---- */

/* Is this process the one whose clerk does this?  It stays so until it ends. */
bool standing_is_clerk(struct board *b);
/* Writes what happened since the last time into the log and the store, as many as it can in one go.
 * Nothing where another process's clerk does it.  How many, or -1. */
int standing_drain(struct board *b, struct store *s, struct err *err);
/* Puts back what is kept, on a board that was made anew; costs nothing on any other.  Before the
 * first decision.  How many rest again, or -1. */
int standing_restore(struct board *b, struct store *s, struct err *err);
/* The last transitions of a record and its parts (of an account: its target's id), newest first; fn returning false ends it.  Those of
 * the last second may be missing. */
#define STANDING_KEPT 32
int standing_history(struct store *s, struct id record, bool (*fn)(void *ctx, const struct board_event *e),
	void *ctx, struct err *err);
/* How the parts of a record stand that are not as ever: the same at one model. */
int standing_parts(struct board *b, struct store *s, struct id record,
	bool (*fn)(void *ctx, enum board_scope scope, const char *model, const struct standing *st),
	void *ctx, struct err *err);

/* Mends `inflight` that deaths left wrong: begin, add key and upstream of each attempt that runs, end.
 * Once a second, by one clerk of all processes; one thread at a time. */
struct standing_recount;
struct standing_recount *standing_recount_new(void); /* NULL: no memory */
void standing_recount_free(struct standing_recount *r); /* NULL too */
void standing_recount_begin(struct standing_recount *r);
void standing_recount_add(struct standing_recount *r, struct id id); /* none: nothing */
int standing_recount_end(struct board *b, struct standing_recount *r); /* how many were mended */

#endif
