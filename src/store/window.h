/*
 * window.h - which counter a limit means: the window a moment falls in, the counter's key on the
 * board, and its use as the rows tell it.
 *
 * admit takes from these counters and manage shows them; both ask here, so that they mean the same.
 * The first three functions are pure; limit_booked() blocks like any reading of the store.
 */
#ifndef STORE_WINDOW_H
#define STORE_WINDOW_H

#include "store/store.h"

#define WINDOW_FOREVER INT64_MAX

/* The value a limit counts in each of its dimensions: id text ("prj_…", "tok_…") or the model's
 * name as the client asked for it.  NULL or "": not known. */
struct limit_values {
	const char *project, *token, *model;
};

/* The calendar window in UTC that now_ms falls in: [*start_ms, *end_ms).  Weeks begin on Monday.
 * WINDOW_TOTAL: 0 and WINDOW_FOREVER. */
void window_bounds(enum limit_window window, int64_t now_ms, int64_t *start_ms, int64_t *end_ms);

/* Does the limit speak of such a request: each of its dimensions is "", "each", or matches (of
 * models as a glob)?  "each" needs a value that is known. */
bool limit_applies(const struct limit *l, const struct limit_values *v);

/* Was the limit made in the middle of that window?  What was used before counts all the same: a
 * month's budget is about the month. */
bool limit_has_past(const struct limit *l, int64_t window_start_ms);

/* The counter's key: by SHA-256 over id, metric, window kind, window start, and the values.  A
 * dimension counts with the request's own value only where the scope says "each"; otherwise with
 * the scope's text, so that a limit on "gpt-4*" is one counter.  METRIC_PARALLEL has no window:
 * its start counts as 0.  A new cap keeps the counter. */
void limit_counter_key(const struct limit *l, const struct limit_values *v, int64_t window_start_ms,
	uint64_t key[2]);

/* The counter of a token's max_requests, for ever. */
void token_counter_key(struct id token, uint64_t key[2]);

/* A rollup's or row's share of a metric; 0 for METRIC_PARALLEL. */
int64_t limit_metric_of(enum limit_metric metric, const struct usage_sum *sum);

/* What the booked rows say the counter holds over [from_ms, to_ms): the seed of a counter that the
 * board does not know.  One dimension is read from rollups; a combination of model with another
 * walks the rows back to from_ms. */
int limit_booked(struct store *s, const struct limit *l, const struct limit_values *v,
	int64_t from_ms, int64_t to_ms, int64_t *used, struct err *err);

#endif
