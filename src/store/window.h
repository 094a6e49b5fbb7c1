/*
 * window.h - which counters a limit means: whom it speaks of, the window a moment falls in, the
 * counter's name, and its use as the rows tell it.
 *
 * admit takes from these counters and manage shows them; both ask here, so that they mean the same.
 * All but limit_booked(), which blocks like any reading of the store, are pure.
 */
#ifndef STORE_WINDOW_H
#define STORE_WINDOW_H

#include "base/zone.h"
#include "store/store.h"

#define WINDOW_FOREVER INT64_MAX

/* What a request is counted under in each dimension.  id none, NULL and "": not known. */
struct limit_values {
	struct id project, token, upstream, key;
	const char *end_user; /* as the client sent it */
	const char *model;    /* as the client asked for it */
	const char *address;  /* of the client, as text */
	const char *tag[USAGE_TAGS_MAX]; /* those that it has, the rest NULL */
};

/* What a limit's scope says of one dimension. */
enum scope_how {
	SCOPE_ANY,     /* nothing */
	SCOPE_EACH,    /* a counter for every value */
	SCOPE_ID,      /* one project, token, upstream or key */
	SCOPE_TEXT,    /* one model, end user, tag or address */
	SCOPE_GLOB,    /* models that fit; they share a counter */
	SCOPE_TAGS,    /* tags that fit a pattern, a counter for each */
	SCOPE_NETWORK, /* addresses in it; they share a counter */
	SCOPE_NOBODY   /* an id that is none: binds nobody */
};

/* A limit, made ready to be held against many requests. */
struct limit_rule {
	const struct limit *limit; /* borrowed */
	const struct zone *zone;   /* borrowed; NULL: UTC */
	uint8_t how[DIMENSION__COUNT]; /* enum scope_how */
	struct id id[DIMENSION__COUNT]; /* SCOPE_ID */
	bool by_attempt; /* names upstream or key: known only when a provider is chosen */
	uint32_t next, grants, grant_count; /* of limits.c */
};
void limit_rule(const struct limit *l, const struct zone *zone, struct limit_rule *out);

/* What an upstream or key may have running at once is a limit like any other that requests meet, but
 * made of its own record: it has that one's id, and no record of its own. */
void limit_of_target(struct id target, bool is_key, int64_t max_parallel, struct limit *out);
bool limit_is_of_target(const struct limit_rule *r);

/* The window of now_ms: [*start_ms, *end_ms).  Minutes and hours are UTC's; days, weeks (from Monday)
 * and months begin at local midnight of the zone (NULL: UTC), so a day may have 23 or 25 hours.
 * WINDOW_TOTAL and WINDOW_ROLLING: 0 and WINDOW_FOREVER. */
void window_bounds(enum limit_window window, const struct zone *zone, int64_t now_ms,
	int64_t *start_ms, int64_t *end_ms);
/* That of a limit: METRIC_PARALLEL has none (as WINDOW_TOTAL), for what runs, runs. */
void limit_window(const struct limit_rule *r, int64_t now_ms, int64_t *start_ms, int64_t *end_ms);
/* Length of a rolling window; 0 for the others. */
int64_t limit_rolling_ms(const struct limit *l);

/* How many counters of the limit such a request takes from: 0 when the limit does not speak of it,
 * else 1, or one for each of its tags that the scope has a counter for.  tag[i]: of which; "" where
 * no tag tells counters apart.  "each" needs a value that is known. */
int limit_counters(const struct limit_rule *r, const struct limit_values *v,
	const char *tag[USAGE_TAGS_MAX]);

/* Was the limit made in the middle of its present window?  What was used before counts all the same:
 * a month's budget is about the month.  Both times are the board's. */
bool limit_has_past(const struct limit *l, int64_t window_start_ms, int64_t now_ms);

/*
 * The counter's name, for board_counter_key(): id, window start, and the values the scope says "each"
 * of.  So a limit on the models "gpt-4*" is one counter, and a new cap keeps the counter.  What comes
 * after COUNTER_NAME_WINDOW bytes does not depend on the window.  Returns its length.
 */
#define COUNTER_NAME_BYTES  512
#define COUNTER_NAME_WINDOW 24
size_t limit_counter_name(const struct limit_rule *r, const struct limit_values *v, const char *tag,
	int64_t window_start_ms, uint8_t out[COUNTER_NAME_BYTES]);

/* The counter of a token's max_requests, for ever. */
size_t token_counter_name(struct id token, uint8_t out[COUNTER_NAME_BYTES]);

/* What usage rows keep of an address (usage.h). */
uint64_t limit_address_hash(const char *address);

/* A rollup's or row's share of a metric; 0 for METRIC_PARALLEL. */
int64_t limit_metric_of(enum limit_metric metric, const struct usage_sum *sum);

/*
 * What the booked rows say the counter holds over [from_ms, to_ms): the seed of a counter that the
 * board does not know.  One dimension is read from rollups, whose steps may let it begin up to an hour
 * early (a day, behind 90 days): rather too much than too little.  Several together, and addresses,
 * are counted by walking the rows back to from_ms.  Rows do not tell networks: 0 for them.
 */
int limit_booked(struct store *s, const struct limit_rule *r, const struct limit_values *v,
	const char *tag, int64_t from_ms, int64_t to_ms, int64_t *used, struct err *err);

#endif
