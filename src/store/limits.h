/*
 * limits.h - the limits of a snapshot, found by what they speak of: a request meets those that may
 * bind it and not the 65,536 there may be.
 *
 * Immutable; safe over threads.  Finding allocates nothing.
 */
#ifndef STORE_LIMITS_H
#define STORE_LIMITS_H

#include "store/window.h"

#define LIMIT_ZONES_MAX 512 /* different time zones of all limits; the rest count in UTC */

struct limit_index;

/* Borrows the limits until limit_index_free(); copies of the grants what they need.  now_ms: grants
 * that have ended are left out.  A zone that cannot be read any more is logged, and UTC stands in.
 * NULL with *err: ERR_MEMORY. */
struct limit_index *limit_index_new(const struct limit *limits, size_t count,
	const struct grant *grants, size_t grant_count, int64_t now_ms, struct err *err);
void limit_index_free(struct limit_index *x); /* NULL is fine */

/* The rule made of limits[number]. */
const struct limit_rule *limit_index_rule(const struct limit_index *x, size_t number);
/* Does any limit name upstreams or keys?  Any that reserves what is usual? */
bool limit_index_by_attempt(const struct limit_index *x);
bool limit_index_expects(const struct limit_index *x);

/* One counter that a request takes from. */
struct limit_hit {
	const struct limit_rule *rule;
	const char *tag; /* see limit_counters() */
};
/* Those of the limits that name upstream or key (by_attempt), or of all others.  How many; more than
 * `room`: so many there would be at least. */
int limit_index_find(const struct limit_index *x, const struct limit_values *v, bool by_attempt,
	struct limit_hit *hits, int room);

/*
 * What grants say of a counter at that moment.  name: limit_counter_name(), of len bytes.
 * granted is what comes on top of the cap, resets included; of it `forgiven` is what resets took
 * back.  A reset of a rolling window fades as its uses age.
 */
struct limit_granted {
	int64_t granted, forgiven;
};
struct limit_granted limit_granted(const struct limit_index *x, const struct limit_rule *r,
	const uint8_t *name, size_t len, int64_t now_ms);
/* cap + granted, held within int64_t. */
int64_t limit_cap_with(const struct limit *l, struct limit_granted g);

/* The values of a grant as those of a request: which counter it is for.  False when one of them is no
 * id of its kind.  The texts are borrowed from the grant. */
bool grant_values(const struct grant *g, struct limit_values *v);

#endif
