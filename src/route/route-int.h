/*
 * route-int.h - what the sources of a decision share.
 *
 *   table   upstreams, keys, routes and policies of a snapshot, compiled once
 *   view    all that is known before the moment of a decision, of one model, project and kind of
 *           path: made when it is first asked for, kept in the table
 *   pool    one stage of a view: its units (targets of the route) and their seats (keys)
 *   look    one decision: who of a pool may be asked now, and in which order
 *
 * A decision reads units, seats, and the words on the board that they point to.
 */
#ifndef ROUTE_ROUTE_INT_H
#define ROUTE_ROUTE_INT_H

#include "route/pattern.h"
#include "route/route.h"
#include "route/share.h"
#include <pthread.h>

#define SEATS_MAX   8192             /* of a pool; further keys are left out */
#define UNITS_MAX   2048
#define ALIAS_CHAIN 10
#define VIEWS_MAX   512
#define VIEWS_BYTES (INT64_C(32) << 20)
#define VIEW_NAME_BYTES 256          /* views of longer names are made for one decision */
#define STAGES_MAX  (ROUTE_FALLBACKS_MAX + 1)

enum objective {
	OBJECTIVE_COST, OBJECTIVE_RELIABILITY, OBJECTIVE_FAIRNESS, OBJECTIVE_QUALITY, OBJECTIVE_LATENCY, OBJECTIVES
};
struct objectives {
	double share[OBJECTIVES]; /* add up to 1; all 0: none is named */
};
/* Lines "cost=2"; what it does not know it leaves out. */
struct objectives objectives_read(const char *lines);

/* ---- the table ---- */

struct alias {
	struct span from, to;
};

struct table_key {
	const struct snapshot_key *record;
	struct patterns allowed, blocked;
	struct board_target *target;
	struct span region, tenant; /* empty: its upstream's */
	int quality;                /* 0 to 100; -1: not said */
};

struct table_upstream {
	const struct upstream *record;
	struct patterns models, blocked;
	struct alias *alias;
	size_t alias_count;
	struct board_target *target, *target_group;
	struct table_key *keys; /* its own */
	size_t key_count;
	struct table_key *lent; /* of keys_of */
	size_t lent_count;
	int quality;
};

struct table_target { /* a line of a route */
	const struct table_upstream *upstream; /* NULL: it is not active */
	int64_t weight, priority;
	struct span model; /* "": the one asked for */
};

struct table_route {
	const struct route *record;
	struct patterns model;
	bool is_name;
	uint32_t next; /* of the same name's hash: 1 + index */
	struct table_target *target;
	size_t target_count;
	struct objectives objectives;
	struct {
		enum route_on on;
		struct span model;
	} fallback[ROUTE_FALLBACKS_MAX];
	int fallback_count;
};

struct table_policy {
	const struct policy *record;
	struct patterns allowed_models, blocked_models;
	unsigned states; /* a bit for each enum target_state */
	struct objectives objectives;
};

struct view;
struct look;

struct route_table {
	struct board *board;
	const struct snapshot *snapshot;
	struct table_upstream *upstreams;
	struct table_key *keys;
	struct table_route *routes;
	struct table_policy *policies;
	size_t upstream_count, key_count, route_count, policy_count;
	struct id *projects; /* those that something is said of, sorted */
	size_t project_count;
	uint32_t *route_slots; /* by hash of the name: 1 + index of the first; a power of two of them */
	size_t route_slot_count;
	/* views and scratch memory: held for a few instructions only */
	pthread_mutex_t mutex;
	struct view *views[VIEWS_MAX];
	uint64_t view_hash[VIEWS_MAX];
	size_t view_count;
	int64_t view_bytes, view_clock;
	struct look *idle;
};

/* What of an upstream's tags is named so: "region=eu" gives "eu"; "" when none is. */
struct span tag_value(const char *tags, const char *name);
/* The index of the route that fits first, or -1. */
ptrdiff_t table_route_for(const struct route_table *t, struct span model, struct id project);
const struct table_upstream *table_upstream(const struct route_table *t, struct id id);
const struct table_upstream *table_upstream_named(const struct route_table *t, struct span name);
/* How the upstream calls the model; *is_alias: it does so by an alias.  "": its aliases loop. */
struct span table_own_name(const struct table_upstream *u, struct span model, bool *is_alias);
/* May it be asked for it?  admits: a route or the client says so, whatever its patterns. */
bool table_serves(const struct snapshot *s, const struct table_upstream *u, struct span model,
	struct span own, bool is_alias, bool admits);
bool table_key_serves(const struct table_key *k, struct span model, struct span own, bool is_alias);

/* ---- pools ---- */

/* What one decision must check because it may change at any time. */
struct bounds {
	int64_t max_cost_nusd; /* INT64_MAX: no limit */
	int64_t min_reliability;
	unsigned states;
	bool free_only, refuse_unpriced;
};

/* The keys of a target of the route, as far as they are bound alike. */
struct unit {
	const struct table_upstream *upstream;
	struct span model; /* as it goes out */
	_Atomic(struct board_target *) at_model; /* NULL: nothing was said of it yet */
	struct board_share *word, *group_word;   /* of the whole target, of its group */
	double weight;    /* of the target */
	struct bounds bounds;
	uint32_t first, count; /* seats */
	uint32_t tier;    /* 0 goes first; dense */
	bool is_free;     /* the model is, whatever its price */
	uint32_t branch;  /* units of one target have the same */
	uint32_t group;
};

struct seat {
	struct board_target *target; /* whose figures are its own: the key's, or the upstream's; never NULL */
	_Atomic(struct board_target *) at_model; /* the key at the model; target: nothing was said of that yet */
	struct board_share *word;
	const struct table_key *key; /* NULL: the upstream needs none */
	int64_t tag;         /* the word's, among the pool's; 0: it has none */
	int64_t step;
	float weight;
	int32_t max_parallel;
	uint16_t unit, rank; /* by priority within the target, dense */
	int16_t quality;     /* 0 to 100; -1: not said */
};
_Static_assert(sizeof(struct seat) == 64, "a cache line each");

struct shut { /* one that may never be asked, for the record */
	struct id upstream, key;
	uint8_t reason;
};

struct pool {
	struct id id;
	const struct table_route *route; /* NULL: none fits */
	struct span model;
	enum route_on on;
	enum route_strategy strategy;
	struct objectives objectives;
	struct unit *units;
	size_t unit_count;
	struct seat *seats;
	size_t seat_count;
	uint32_t groups, branches, tiers;
	bool has_ranks;     /* keys of one target differ in priority */
	bool is_served;     /* by somebody, whoever may be asked */
	struct board_share *turn, *last; /* counts turns; who was the last one */
	uint16_t out[ROUTE__REASONS];    /* those shut, by reason */
	struct shut shut[ROUTE_SHOWN_MAX];
	int shut_count;
	uint32_t considered;
};

struct view {
	int references;
	int64_t used, bytes;
	/* what it is of */
	char *model, *upstream;
	size_t model_len;
	struct id project;
	enum dialect dialect;
	bool is_conversation;
	const struct table_upstream *named; /* the only one to be asked */
	bool is_known;    /* somebody serves the model */
	_Atomic int64_t targets; /* how many there were on the board when it looked for its own */
	int stage_count;
	struct pool stage[STAGES_MAX];
	int64_t tries, deadline_ms;
	int policy_count;
	struct id policy[4];
};

/* The view of that ask, held until view_drop().  NULL with *err: ERR_MEMORY, ERR_UNKNOWN_UPSTREAM. */
struct view *view_of(struct route_table *t, const struct route_ask *ask, struct err *err);
void view_drop(struct route_table *t, struct view *v);
void views_free(struct route_table *t);

/* Who is in the pool of p->model by p->route (NULL: all who serve it), and who never can be.
 * bound_by: a route whose constraints hold too; NULL.  again: the model is a fallback of that route
 * itself.  0 or -1: no memory. */
int pool_make(const struct route_table *t, struct view *v, struct pool *p,
	const struct table_route *bound_by, bool again);
void pool_free(struct pool *p);
/* Looks for targets at models that were made since. */
void pool_refresh(const struct route_table *t, struct pool *p);

/* ---- policies ---- */

/* Does it bind requests of that project by that route (NULL: none)?  Those of upstreams and keys do. */
bool policy_binds(const struct table_policy *p, const struct route *route, struct id project);
/* … and of them that upstream, that key?  k NULL: any. */
bool policy_is_of(const struct table_policy *p, const struct table_upstream *u, const struct table_key *k);
/* Does it forbid the upstream, or the seat? */
bool policy_forbids_unit(const struct table_policy *p, const struct table_upstream *u, struct span model,
	struct span own);
bool policy_forbids_key(const struct table_policy *p, const struct table_upstream *u,
	const struct table_key *k);
/* True when it narrowed them. */
bool policy_bounds(const struct table_policy *p, struct bounds *b);
/* Region and tenant of that seat fit the globs (empty: any). */
bool place_fits(const char *regions, const char *tenants, const struct table_upstream *u,
	const struct table_key *k);
/* For the record: it forbade or set something. */
void policy_tell(struct view *v, const struct table_policy *p);

/* ---- one decision ---- */

enum stands { STANDS_LIVE, STANDS_DUE, STANDS_HELD, STANDS__COUNT }; /* held: by its forecast */

/* One of a pool that may be asked, or might be. */
struct live {
	uint32_t seat;
	uint32_t tier;       /* of those that may be asked together, the lowest go first */
	uint8_t standing;    /* enum stands */
	uint8_t class;       /* strategy: 0 before 1 */
	bool is_thin;        /* it has but a part of its weight now */
	float weight;        /* now */
	double rank;         /* strategy: within the class, the lower ones first */
	int64_t until_ms;    /* held; due: since when */
};
_Static_assert(sizeof(struct live) <= 32, "a thousand of them stay in the cache");

/* Of the same one, for objectives. */
struct figures {
	float use, ttft_us, reliability, quality;
	uint32_t unit;
};

struct unit_now {
	uint8_t reason;      /* REASON_CHOSEN: it may be asked */
	bool is_due;
	int64_t until_ms;
	int64_t worst, usual;
	float cost_score;    /* score.c */
	float ramp;          /* who is coming back: a part of all; else 1 */
};

/* Groups, or targets, of which somebody is live (strategy.c). */
struct level {
	bool groups;
	struct share_member member[UNITS_MAX];
	double rank[UNITS_MAX];
	uint16_t place[UNITS_MAX]; /* of each group or branch: 1 + its place above; 0: none */
	int count, first;
};

/* The widths of what is scored. */
struct range {
	float least, most, width; /* width: what counts as the whole of it */
};

/* A key that may not be asked now, for the record. */
struct turned_away {
	uint32_t seat;
	uint8_t reason;
	int64_t until_ms;
};

struct look {
	struct look *next;
	size_t seats, units; /* room for */
	struct live *live;   /* in the pool's order */
	struct figures *figures; /* as many */
	struct share_member *member; /* as many */
	uint32_t *some, *among; /* indexes of lives, as many */
	struct unit_now *unit;
	struct level level;
	/* of the present pool */
	struct board *board;
	const struct pool *pool;
	const struct route_ask *ask;
	int64_t now_ms, wakes_ms, turn;
	int count;
	int standing[STANDS__COUNT]; /* how many of each */
	uint32_t best_tier;  /* of those that are live */
	int behind;          /* in tiers after it */
	bool may_free, wants_figures, has_sitting_out;
	struct range cost, use, latency;
	uint16_t out[ROUTE__REASONS];
	struct turned_away away[ROUTE_SHOWN_MAX];
	int away_count;
};

/* Room for a decision about pools of such size; NULL: no memory. */
struct look *look_take(struct route_table *t, size_t seats, size_t units);
void look_give(struct route_table *t, struct look *l);

/* Who of the pool may be asked now: fills in live, out, away, wakes_ms, may_free. */
void pool_look(struct look *l);

/* Who has but a part of its weight sits out turns, where shares do not see to that; does it this one? */
bool strategy_has_sitting_out(enum route_strategy s);
bool strategy_sits_out(const struct look *l, const struct live *who, const struct seat *s);
/* Ranks the lives some[0..count), all of one tier: by class, then rank.  When `takes`, the turn of the
 * one that will go first is taken. */
void strategy_rank(struct look *l, uint32_t *some, int count, bool takes);
/* That one goes first, whatever the strategy says. */
void strategy_chosen(struct look *l, const struct live *who);
/* Some only go when what should be first cannot: who is due to be probed waits for that. */
bool strategy_in_order(enum route_strategy s);
/* What is scored of the lives from that one on, while the words they were judged by are at hand. */
void score_figures(struct look *l, int from);
void score_begin(struct look *l); /* before the first of them */
/* The rank of some: their scores from 0 to 1, negative.  The lowest. */
double score_all(struct look *l, const uint32_t *some, int count);
/* For the record: what score_all() made of one. */
void score_tell(const struct look *l, const struct live *who, struct route_member *m);

enum { AFFINITY_IS_NONE, AFFINITY_IS_NEW, AFFINITY_IS_KEPT, AFFINITY_IS_MOVED, AFFINITY_IS_LOST };
/* The index in live of who it went to the last time, or -1.  *how: one of those above. */
int affinity_find(struct look *l, const struct route_ask *ask, uint64_t key[2], uint8_t *how);
void affinity_keep(struct look *l, const uint64_t key[2], uint32_t seat, uint8_t how);

static inline int64_t
now_at(const _Atomic int64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline const struct unit *
unit_of(const struct look *l, const struct live *who)
{
	return &l->pool->units[l->pool->seats[who->seat].unit];
}

static inline struct board_target *
seat_at_model(const struct seat *s)
{
	return atomic_load_explicit(&s->at_model, memory_order_relaxed);
}

#define PPM_ALL 1000000

/* Words of a target that say a part of its weight hold 0 where that is all of it. */
static inline int64_t
part_ppm(const _Atomic int64_t *word)
{
	int64_t ppm = now_at(word);

	return ppm <= 0 || ppm > PPM_ALL ? PPM_ALL : ppm;
}

/* How much of the seat's weight its quotas leave it: the key's own, and those it has at the model. */
static inline int64_t
seat_lasts_ppm(const struct seat *s)
{
	int64_t own = part_ppm(&s->target->forecast_share_ppm);
	int64_t part = part_ppm(&seat_at_model(s)->forecast_share_ppm);

	return own < part ? own : part;
}

/* … and its coming back. */
static inline int64_t
seat_ramp_ppm(const struct seat *s)
{
	int64_t own = part_ppm(&s->target->share_ppm);
	int64_t part = part_ppm(&seat_at_model(s)->share_ppm);

	return own < part ? own : part;
}

/* Well mixed bits of a number. */
static inline uint64_t
mixed(uint64_t n)
{
	n = (n ^ n >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	n = (n ^ n >> 27) * UINT64_C(0x94D049BB133111EB);
	return n ^ n >> 31;
}

#endif
