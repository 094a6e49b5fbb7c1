/*
 * snapshot.h - what every request needs but rarely changes, as one immutable value: upstreams,
 * keys, prices, limits.  Built from the store when the board's generation word has moved.
 *
 * Counted references; free of locks for readers.  Provider keys stand in it in clear, in memory
 * that is left out of core dumps and wiped at the end.  Projects and tokens are not in it: they
 * are read from the store on each request, so that a change bites on the next one.
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "store/limits.h"
#include "store/store.h"
#include <stdatomic.h>

#define SNAPSHOT_UPSTREAMS_MAX 1024
#define SNAPSHOT_KEYS_MAX      4096
#define SNAPSHOT_PRICES_MAX    16384
#define SNAPSHOT_LIMITS_MAX    65536
#define SNAPSHOT_GRANTS_MAX    65536 /* that have not ended */
#define SNAPSHOT_ROUTES_MAX    4096
#define SNAPSHOT_POLICIES_MAX  1024
#define SNAPSHOT_DISCOVERED_MAX 100000 /* models of all upstreams together; more are left out */

struct snapshot_key {
	struct id id, upstream, project;
	int64_t weight, priority, max_parallel;
	char label[NAME_BYTES];
	/* as in struct key */
	char tags[SHORT_LIST_BYTES], quotas[SHORT_LIST_BYTES];
	char allowed_models[SHORT_LIST_BYTES], blocked_models[SHORT_LIST_BYTES];
	const char *secret; /* NUL-terminated; in the snapshot's locked memory */
};

/* The rows of one pattern.  head: what a name must begin with to fit, as far as it fits in here; it
 * rules out nearly all patterns without a look at their rows. */
struct price_run {
	uint32_t first, count;
	char head[15];
	uint8_t head_len;
};

/* A model that a provider says it has. */
struct snapshot_model {
	uint32_t upstream;          /* of `upstreams` */
	bool is_free;               /* it costs nothing there, or is named "…:free" */
	int64_t context;            /* tokens; 0: not said */
	struct span name, modality; /* the latter "" when not said */
};
/* What an upstream with `discover` was found to have. */
struct snapshot_list {
	int64_t at_ms; /* board time of the list; 0: none yet, and nothing is known of its models */
	size_t first, count; /* of `discovered` */
};

struct snapshot {
	_Atomic int references;
	uint64_t generation;
	struct upstream *upstreams; /* the active ones */
	size_t upstream_count;
	struct snapshot_key *keys;  /* enabled ones of active upstreams, by upstream */
	size_t key_count;
	/* All prices: those of one name by name, then the patterns, the longest first; of one name or
	 * pattern the newest first, of those from one moment the one made by hand.  settle/price.h
	 * chooses among them. */
	struct price *prices;
	size_t price_count, price_named; /* of which names without * and ? */
	struct price_run *price_runs; /* of the patterns, in their order */
	size_t price_run_count;
	uint32_t *price_slots;      /* by hash of the name: 1 + the name's first row, 0 free */
	size_t price_slot_count;    /* a power of two, or 0 */
	bool prices_of_upstreams;   /* some are for one upstream alone */
	/* The active ones, and behind them what upstreams and keys may have running at once
	 * (limit_of_target()). */
	struct limit *limits;
	size_t limit_count;
	struct limit_index *limit_index; /* them again, by whom they bind */
	struct route *routes;       /* the active ones, in the order in which they are looked at */
	size_t route_count;
	struct policy *policies;    /* the active ones, the narrowest scope first, then by priority */
	size_t policy_count;
	struct snapshot_list *lists; /* of each upstream; zeros where nothing is discovered */
	struct snapshot_model *discovered;
	size_t discovered_count;
	uint32_t *discovered_slots; /* by hash of upstream and name: 1 + index, 0 free */
	size_t discovered_slot_count; /* a power of two, or 0 */
	char *discovered_text;
	/* What somebody made of it once for all requests (route.h), freed with it; NULL: nothing. */
	void *compiled;
	void (*compiled_free)(void *compiled);
	char *secrets;              /* one mapping */
	size_t secrets_bytes;
};

/* Reads all of it.  May block (see store.h).  NULL with *err. */
struct snapshot *snapshot_load(struct store *s, uint64_t generation, struct err *err);
struct snapshot *snapshot_hold(struct snapshot *p);
void snapshot_drop(struct snapshot *p); /* NULL is fine */

/* In the order of snapshot.policies. */
void snapshot_sort_policies(struct policy *policies, size_t count);

const struct upstream *snapshot_upstream(const struct snapshot *p, struct id id);
const struct upstream *snapshot_upstream_named(const struct snapshot *p, struct span name);
/*
 * For who asks whether an upstream serves a model (route's pool.c): with `discover`, what was found is
 * added to `models`; where `models` is empty it takes the place of "all", once there is a list
 * (snapshot_list_of()->at_ms != 0).  `free_only` lets those pass whose is_free is set.
 * NULL: it is not among those found.  One hash look-up.
 */
const struct snapshot_model *snapshot_discovered(const struct snapshot *p, struct id upstream,
	struct span model);
/* NULL when there is no such upstream. */
const struct snapshot_list *snapshot_list_of(const struct snapshot *p, struct id upstream);
/* The rows whose name is exactly that model's; NULL and 0 when there are none. */
const struct price *snapshot_price_named(const struct snapshot *p, struct span model, size_t *count);

#endif
