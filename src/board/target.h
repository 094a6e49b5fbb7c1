/*
 * target.h - whatever can rest, be probed or break: a provider key, a key at one model, an upstream, an
 * upstream at one model, an account (upstreams of one group).
 *
 * One record each, shared by all processes, found by an id (of a key or upstream the record's own).
 * All of it is words, changed one by one by atomic operations: no mutex, and any thread may, the
 * loop too.  A death between two words leaves nothing that the next report does not mend.
 * What the words mean together is route's business (route/standing.h); this room only keeps them.
 */
#ifndef BOARD_TARGET_H
#define BOARD_TARGET_H

#include "board/board.h"

#define BOARD_TARGETS 16384

/* How a key stands, as people name it (systems.md B2.2). */
enum target_state {
	TARGET_AVAILABLE, TARGET_THROTTLED, TARGET_EXHAUSTED, TARGET_RECOVERING, TARGET_DISABLED, TARGET_INVALID,
	TARGET__STATES
};
/* Why it does. */
enum target_cause {
	CAUSE_NONE, CAUSE_RATE_LIMIT, CAUSE_QUOTA, CAUSE_NO_CREDIT, CAUSE_INVALID, CAUSE_OVERLOADED, CAUSE_MODEL,
	CAUSE_FAILURES /* its circuit breaker is open */, CAUSE_HEALTH, CAUSE_PERSON, CAUSE_PROBE, CAUSE_TIME,
	TARGET__CAUSES
};

struct board_target {
	/* The first cache line is what a decision reads. */
	_Atomic int64_t rest_until_ms; /* board time; 0: it does not rest.  Past: due to be probed */
	_Atomic int64_t standing;      /* enum target_state | enum target_cause << 8 | HTTP status << 16 */
	_Atomic int64_t share_ppm;     /* of its weight: a key that is back climbs; 0: all of it */
	_Atomic int64_t inflight;      /* attempts under way: a hint, mended by a clerk */
	_Atomic int64_t ttft_us;       /* to the first content, decayed; 0: not known */
	_Atomic int64_t success_ppm;   /* of late calls, decayed, 1 + millionths; 0: not known */
	_Atomic int64_t forecast_hold_ms; /* board time until which its quota is used up; 0: it is not */
	_Atomic int64_t forecast_share_ppm; /* of its weight, so that it lasts until its reset; 0: all */
	/* The second and third are what reports write. */
	_Alignas(64) _Atomic int64_t forecast_dry_ms; /* board time at which it runs dry; 0: not foreseen */
	_Atomic int64_t prober;        /* roster_owner of who probes it now (board_owner_word()); 0: nobody */
	_Atomic int64_t failures;      /* in a row, or within the window */
	_Atomic int64_t window_ms;     /* when the breaker's window began */
	_Atomic int64_t window_calls;
	_Atomic int64_t rests;         /* one after another without a success: rests grow with it */
	_Atomic int64_t successes;     /* of probes in a row */
	_Atomic int64_t stated_ms;     /* until when its provider says it rests; 0: it did not */
	_Alignas(64) _Atomic int64_t failed_at_ms;
	_Atomic int64_t ok_at_ms;
	_Atomic int64_t changed_at_ms; /* its state */
	_Atomic int64_t picks;         /* since ever */
	_Atomic int64_t probed_at_ms;
	_Atomic int64_t breaker;       /* times it opened without closing; 0: it is closed */
	_Atomic int64_t well, ill;     /* its members, hashed to bits: who succeeded, and who failed since */
};
_Static_assert(sizeof(struct board_target) == 192, "a target is three cache lines");

/* Made when it is not there; never goes.  NULL when the table is full. */
struct board_target *board_target(struct board *b, struct id id);
/* NULL when it is not there. */
struct board_target *board_target_find(struct board *b, struct id id);
/* The id of a part of one: a key or an upstream at a model, an account by its group's name. */
struct id board_target_part(struct id whole, const char *kind, const void *name, size_t len);

/* Which id it was made for (zero halves are 1). */
struct id board_target_id(const struct board_target *t);
/* All there are, at any moment; NULL at the end.  *at: 0 at first. */
struct board_target *board_target_next(struct board *b, int *at);

/* The caller as an owner in one word, never 0; and whether that owner is dead for sure. */
int64_t board_owner_word(const struct board *b);
bool board_owner_is_dead(const struct board *b, int64_t word);

#endif
