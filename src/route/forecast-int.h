/*
 * forecast-int.h - one window of a quota: forecast_window.c knows how it turns and what is left in it,
 * forecast_learn.c how it comes to be known, forecast_sum.c the arithmetic of what is foreseen.
 */
#ifndef ROUTE_FORECAST_INT_H
#define ROUTE_FORECAST_INT_H

#include "route/forecast.h"

#define FORECAST_MINUTE_MS 60000LL
#define FORECAST_HOUR_MS   (60 * FORECAST_MINUTE_MS)
#define FORECAST_DAY_MS    (24 * FORECAST_HOUR_MS)

enum turn { TURN_SLIDING, TURN_FIXED, TURN_BUCKET, TURN_CALENDAR };

/* What `what` of a window holds. */
struct window_what {
	enum quota_unit unit;
	enum turn turn;
	enum forecast_kind kind;
	bool nameless; /* headers that tell no length */
};

static inline int64_t
get(const _Atomic int64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void
set(_Atomic int64_t *word, int64_t value)
{
	/* most of what is written is there already: the cache line stays shared */
	if (get(word) != value)
		atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline int64_t
what_pack(struct window_what w)
{
	return 1 + (int64_t)w.unit + ((int64_t)w.turn << 8) + ((int64_t)w.kind << 16) +
	       ((int64_t)w.nameless << 24);
}

static inline struct window_what
what_unpack(int64_t word)
{
	return (struct window_what){ .unit = (enum quota_unit)(((word & 255) - 1) % QUOTA__UNITS),
		.turn = (enum turn)(word >> 8 & 3),
		.kind = (enum forecast_kind)((word >> 16 & 255) % (FORECAST_BOUNDED + 1)),
		.nameless = (word >> 24 & 1) != 0 };
}

/* All at once, by time alone. */
static inline bool
is_turning(enum turn t)
{
	return t == TURN_FIXED || t == TURN_CALENDAR;
}

static inline int64_t
window_slot_ms(const struct board_quota_window *w)
{
	int64_t ms = get(&w->length_ms) / (BOARD_QUOTA_SLOTS - 1);

	return ms < 1 ? 1 : ms;
}

/* ---- forecast_window.c ---- */

/* A new window, where its end has come.  By time alone. */
void window_turn(struct board *b, struct board_quota *q, struct board_quota_window *w, int64_t now_ms);
/* What is left of it by now, calls under way taken off; may be < 0.  false: not known. */
bool window_left(const struct board_quota *q, const struct board_quota_window *w, int64_t now_ms,
	double *left);
/* Used within its length. */
int64_t window_used(const struct board_quota_window *w, int64_t now_ms);
/* What one more call needs of it. */
int64_t window_need(const struct board_quota *q, const struct board_quota_window *w);
/* Board time from which on there is that much; 0: now.  Counts in that one call may find out. */
int64_t window_hold(struct board_quota *q, struct board_quota_window *w, int64_t need, int64_t now_ms);
/* Is it used up, and it is for this caller to find out whether that is still so? */
bool window_canary(struct board_quota_window *w, int64_t now_ms);
/* Learned from refusals alone: who rests is probed as if nothing were known. */
bool window_is_guess(const struct board_quota_window *w);
/* What comes back in a millisecond, of a bucket; else 0. */
double window_refill(const struct board_quota_window *w);
/* The end of the calendar window that now is in. */
int64_t window_calendar_end(int64_t length_ms, int64_t now_ms);

/* ---- forecast_learn.c ---- */

/* What a person gave, when it is not known yet. */
void learn_given(struct board *b, struct board_quota *q, const char *quotas);
/* What an answer tells, to a call that began at that mark. */
void learn_told(struct board *b, struct board_quota *q, const struct quota_window *told, int64_t mark,
	int64_t at_ms);
/* A window of which nothing is known but what is used in it. */
void learn_watch(struct board_quota *q, enum quota_unit unit, int64_t length_ms);
/* A refusal for use that no window accounts for; until_ms: board time that the provider states, or 0. */
void learn_refusal(struct board *b, struct board_quota *q, enum quota_unit unit, int64_t length_ms,
	int64_t until_ms);
/* Of a capacity that was estimated: more, after it went well for long enough. */
void learn_raise(struct board *b, struct board_quota *q, struct board_quota_window *w, int64_t now_ms);

#endif
