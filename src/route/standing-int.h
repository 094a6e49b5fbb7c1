/*
 * standing-int.h - an outcome on its way through a candidate's targets; shared by the sources of
 * standing.h.
 */
#ifndef ROUTE_STANDING_INT_H
#define ROUTE_STANDING_INT_H

#include "route/standing.h"

#include <stdatomic.h>

/* One attempt's outcome, or what else happened to one upstream. */
struct report {
	struct board *board;
	const struct route_candidate *c;
	const struct route_outcome *o;
	const struct route_rests *rests;
	int64_t now_ms;    /* board time */
	int64_t stated_ms; /* board time that the provider states; 0: none, or over */
	unsigned settled;  /* bits of the probed targets it said something of */
};

/* The candidate's target of that scope; NULL: it has none. */
struct board_target *standing_target(const struct route_candidate *c, enum board_scope scope);

static inline int64_t
peek(const _Atomic int64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void
poke(_Atomic int64_t *word, int64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Shared lines are left alone where they say the right thing already. */
static inline void
poke_new(_Atomic int64_t *word, int64_t value)
{
	if (peek(word) != value)
		poke(word, value);
}

static inline enum target_state
state_of(const struct board_target *t)
{
	return (enum target_state)(peek(&t->standing) & 0xff);
}

static inline enum target_cause
cause_of(const struct board_target *t)
{
	return (enum target_cause)(peek(&t->standing) >> 8 & 0xff);
}

static inline bool
standing_is_as_ever(const struct board_target *t)
{
	return peek(&t->rest_until_ms) == 0 && state_of(t) == TARGET_AVAILABLE &&
	       peek(&t->share_ppm) == 0 && peek(&t->breaker) == 0;
}

static inline bool
is_probed_by(const struct report *r, enum board_scope scope)
{
	return (r->c->probes & 1u << scope) != 0;
}

/* ---- standing.c ---- */

/* All that the outcome means, but for claims and what is in flight. */
void standing_judge(struct report *r);

/* An event of that target, with what the report knows; kind, from and to are the caller's. */
void standing_tell(const struct report *r, enum board_scope scope, enum board_event_kind kind, int from,
	int to, enum target_cause cause);
/* To that state, through recovering where only that is legal: true when it is in it now and was not
 * before.  Its rest is to be set first. */
bool standing_move(const struct report *r, enum board_scope scope, enum target_state to,
	enum target_cause cause);

/* ---- cooldown.c ---- */

enum cooldown {
	COOLDOWN_LADDER,  /* rest_default, and 3, 6, 12 times as long */
	COOLDOWN_LONG,    /* the hint's cap, doubling */
	COOLDOWN_INVALID, /* rest_invalid, doubling */
	COOLDOWN_RULE     /* as a failure rule says */
};
/* How long one rests that rested `rests` times in a row already; stated_ms: how long its provider says,
 * 0: nothing.  Never above rests->most_ms, but for what a rule says. */
int64_t cooldown_ms(enum cooldown kind, int64_t rests_in_a_row, int64_t stated_ms,
	const struct route_rests *rests, int64_t rule_ms);
/* The target rests, in that state.  What is in flight from before its present rest changes nothing,
 * unless it is worse or states a later time. */
void cooldown_rest(struct report *r, enum board_scope scope, enum cooldown kind,
	enum target_state state, enum target_cause cause);
/* It rests until then at least: true when this call made it rest, or longer. */
bool cooldown_raise(struct board_target *t, int64_t until_ms, int64_t now_ms);
/* What was probed or due is well: back with a part of its share; who is back climbs. */
void cooldown_succeed(struct report *r, enum board_scope scope);

/* ---- breaker.c ---- */

/* A failure that counts. */
void breaker_fail(struct report *r, enum board_scope scope);
/* One that overloaded its upstream: does it rest at that model by now? */
bool breaker_is_overloaded(struct report *r, enum board_scope scope);
/* False: it is still to be probed some more times. */
bool breaker_succeed(struct report *r, enum board_scope scope);
/* The outcome speaks for it.  is_well: for its member too. */
void breaker_note_success(const struct report *r, enum board_scope scope, bool is_well);
/* A member of it cannot be asked for reasons of its own. */
void breaker_forget_member(const struct report *r, enum board_scope scope);

/* ---- probe.c ---- */

/* Of one that is due.  False: somebody else has it, or it is not due any more. */
bool probe_claim(const struct board *b, struct board_target *t);
void probe_leave(struct board *b, const struct route_candidate *c);

#endif
