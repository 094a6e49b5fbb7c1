/*
 * route.h - which upstream and key now, and which next, and why.
 *
 * A decision reads a table compiled from the snapshot, and atomic words of the board that all
 * processes share: it never blocks, so the loop may decide too.  What is learned from an attempt is
 * written by route_report() (standing.h).  Nothing of it lives in one process.
 *
 *   table.c     routes, upstreams and keys of a snapshot, compiled;  pattern.c  globs and regexes
 *   view.c      what is known of a model and project before the moment, kept in the table
 *   pool.c      who may be asked: model, project, policies, constraints, what rests
 *   plan.c      one decision: those who may be asked in order, and why the others are not
 *   share.c     smooth weighted shares over shared words
 *   strategy.c  who of those first, and next;  score.c  objectives;  affinity.c  who the last time
 *   standing.c  rests, probes, breakers: what an attempt's outcome means;  forecast.c  when a quota is
 *               used up
 *   policy.c    rules over routes;  failure_rule.c  what certain failures mean
 *   record.c    the decision in few bytes, for `explain`
 */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include "board/board.h"
#include "board/target.h"
#include "store/snapshot.h"
#include "wire/error.h"
#include "wire/quota.h"

#define ROUTE_ATTEMPTS_MAX 16 /* candidates of one plan */
#define ROUTE_FALLBACKS_MAX 4 /* other models of one route */
#define ROUTE_SHOWN_MAX 8     /* candidates that a record tells of, besides those tried */

/* ---- the table: compiled once for each snapshot, immutable, shared by the threads of a process ---- */

struct route_table;
/* Borrows snapshot and board, which must outlive it.  NULL with ERR_MEMORY. */
struct route_table *route_table_new(struct board *board, const struct snapshot *snapshot, struct err *err);
void route_table_free(struct route_table *t); /* NULL too */

/* ---- a decision ---- */

struct route_ask {
	struct span model;    /* "" when the request names none; "upstream/model" names both */
	struct span upstream; /* by name; "" when the client leaves it to us */
	struct id project;    /* whose own keys and routes go before the common ones */
	enum dialect dialect; /* of the path */
	bool is_conversation; /* any provider of models can be asked, as it is converted for it; other
	                       * paths only those of that dialect */
	struct span session;  /* what affinity of sessions goes by; "" none */
	uint64_t prompt_hash; /* of the part of a prompt that caches hold; 0: none */
	int64_t input_tokens; /* of the conversation, for affinity's migration */
	/* Prices in nano-dollars, COST_UNKNOWN where not known: what the request costs there at worst, and
	 * as it usually goes.  NULL: costs do not matter. */
	int64_t (*cost)(void *ctx, const struct upstream *u, struct span model, bool usual);
	void *ctx;
	bool is_quote; /* decide alike, but take no turn: nothing on the board changes */
};

/* What a call that is under way holds of its quotas (forecast.h). */
struct forecast_ticket {
	struct board_quota *quota[2]; /* of the key, and of the key at the model; NULL: none */
	int64_t begun_ms;
	int64_t held[QUOTA__UNITS], mark[2][QUOTA__UNITS];
};

/* Upstream, key and model point into snapshot and table; key is NULL for an upstream that needs none. */
struct route_candidate {
	const struct upstream *upstream;
	const struct snapshot_key *key;
	struct span model;      /* as the upstream calls it; the request's own where nothing else is said */
	uint8_t stage;          /* 0: the model asked for; else of the route's fallback stage - 1 */
	uint8_t member;         /* in the record */
	bool is_probe;          /* it rests, and its time has come for one request to find out */
	uint8_t probes;         /* of its targets, those that this attempt probes; route_begin() sets it */
	/* what may rest or break of it; NULL: the board's table is full, or it has no such */
	struct board_target *target_key, *target_key_model, *target_upstream, *target_upstream_model, *target_group;
	/* its word among the pool's shares, and what a turn takes of it; NULL: none (share.h) */
	struct board_share *share;
	int64_t share_step;
	struct forecast_ticket forecast; /* of the attempt that is under way */
};

/* What leads to the candidates of a stage; 0 is the model asked for. */
enum route_on { ON_START, ON_ERROR, ON_CONTEXT, ON_FILTER, ON_PRICE };

/* Why somebody is not asked, or comes later. */
enum route_reason {
	REASON_CHOSEN,     /* it was tried */
	REASON_NEXT,       /* it would have been next */
	REASON_RESTS,      /* until a time: throttled or exhausted */
	REASON_INVALID,    /* its key is refused by the provider */
	REASON_BREAKER,    /* of key, upstream or account is open */
	REASON_PROBED,     /* another request is just finding out */
	REASON_FORECAST,   /* its quota is used up until a time */
	REASON_MODEL,      /* not served, or blocked */
	REASON_DIALECT,    /* it does not understand this path */
	REASON_PROJECT,    /* a key of another project, or the project has keys of its own */
	REASON_POLICY,
	REASON_CONSTRAINT, /* region, tenant, upstreams allowed or blocked by the route */
	REASON_COST,       /* above what is allowed */
	REASON_UNPRICED,
	REASON_RELIABILITY,
	REASON_PRIORITY,   /* those before it can be asked */
	REASON_FULL,       /* as many calls as it may have run */
	REASON_UNSUPPORTED, /* it cannot express the request */
	REASON_LIMIT,      /* a limit that names it is reached */
	ROUTE__REASONS
};
const char *route_reason_name(enum route_reason r); /* "forecast" */

/* What is told of the decision afterwards (record.h encodes it). */
struct route_record {
	struct id route;       /* none: no route fits, all upstreams that serve the model */
	uint8_t strategy, affinity; /* enum route_strategy; 0 none, 1 new, 2 kept, 3 moved, 4 its key cannot be asked */
	uint8_t stages_on[ROUTE_FALLBACKS_MAX + 1]; /* enum route_on of each stage */
	uint8_t policy_count;
	struct id policy[4];   /* that forbade or set something, the first ones */
	uint16_t considered;   /* keys that were looked at */
	uint16_t out[ROUTE__REASONS]; /* of those, how many each reason kept out */
	uint8_t member_left;   /* candidates of whom nothing is told: no room */
	uint8_t member_count;
	struct route_member {
		struct id upstream, key;
		uint8_t reason;    /* enum route_reason */
		uint8_t stage;
		int64_t until_ms;  /* board time, of reasons that end; 0 */
		/* 0 to 255, of objectives and strategies that look at it */
		uint8_t score, cost, reliability, fairness, quality, latency, forecast;
		uint16_t share_permille; /* of the pool's turns */
	} member[ROUTE_ATTEMPTS_MAX + ROUTE_SHOWN_MAX];
	uint8_t attempt_count;
	struct route_attempt {
		uint8_t member;
		uint8_t failure;   /* enum failure */
		bool is_probe;
		uint16_t status;   /* 0: no answer */
		uint32_t began_ms, took_ms; /* since the request came */
	} attempt[ROUTE_ATTEMPTS_MAX];
	uint32_t queued_ms;    /* waited for its turn */
	uint32_t rules;        /* bits of the request rules that applied (wire/request_rule.h) */
};

struct route_plan {
	const struct route *route; /* of the snapshot; NULL: none fits */
	int count;
	struct route_candidate candidate[ROUTE_ATTEMPTS_MAX]; /* in the order to try; stages ascend */
	/* of route and policies; 0 (queue: -1): the settings' */
	int64_t tries, deadline_ms, queue_most, queue_wait_ms;
	struct id pool;            /* whom its waiters wait for together */
	bool may_free;             /* somebody who is only busy may be free soon: waiting makes sense */
	int64_t wakes_ms;          /* board time at which the first that rests may be asked; 0: nobody rests */
	struct route_record record;
};

/*
 * Fills in whom to try, in order: 0, or -1 with ERR_UNKNOWN_UPSTREAM (lists the names), ERR_NO_ROUTE
 * (nobody serves the model), ERR_NO_KEY_AVAILABLE (all rest, are full or forbidden; the text says why of
 * each, err->retry_boot_ms is when the first wakes; plan->candidate and pool then tell whom to wait for, but
 * nobody of them may be asked without another plan), ERR_MODEL_NOT_ALLOWED (policies or costs forbid all of
 * them: no use to ask again).  plan->record tells why also then.  Takes a turn of the first candidate's
 * share, unless ask->is_quote.
 */
int route_plan(const struct route_table *t, const struct route_ask *ask, struct route_plan *plan,
	struct err *err);

/*
 * Who could serve what was asked for, resting or not, but for those that a person shut: fn for each
 * upstream, with its own name of the model, in the order of targets.  By routes, policies and constraints as
 * route_plan() goes by them, without fallbacks.  Takes no turn.  How many; 0: nobody; -1 with
 * ERR_UNKNOWN_UPSTREAM or ERR_MEMORY.
 */
int route_places(const struct route_table *t, const struct route_ask *ask,
	void (*fn)(void *ctx, const struct upstream *u, struct span model), void *ctx, struct err *err);

/* ---- around an attempt; each true route_begin() is followed by one report or release ---- */

/* Right before it is asked: false when it rests by now, or another request probes it.  Counts it as
 * in flight, claims its probe, and takes its turn when it is not the plan's first. */
bool route_begin(struct board *board, struct route_candidate *c, bool is_first);
/* How long it still rests, by what its targets say now, in milliseconds; 0: it does not. */
int64_t route_rests_ms(const struct board *board, const struct route_candidate *c);
/* It was not asked after all, or its client left before an answer. */
void route_release(struct board *board, const struct route_candidate *c);

struct route_outcome {
	enum failure failure;
	int status;             /* 0: no answer at all */
	int64_t until_ms;       /* wall clock, that the provider states; 0: none */
	int64_t ttft_us;        /* to the first content; 0: not known */
	int64_t tokens, output_tokens; /* used, and how many of them are output; 0: not known.  For forecasts */
	bool is_timeout;
	bool is_account;        /* the evidence speaks of the account, not of the key alone */
	bool is_address;        /* … of the address that we call from: all keys of the upstream rest */
	bool is_quota;          /* … of a quota of days, not of a rate */
	bool is_model;          /* … of this model alone */
	bool counts;            /* for breakers, by failure rules; true where none says otherwise */
	int64_t rest_ms;        /* by a failure rule; 0: as usual; -1: nothing rests */
	const struct quota_told *told; /* by rate headers and body (wire/quota.h); NULL: nothing */
	struct span evidence;   /* the provider's words, cut, without secrets: kept with a transition */
};
struct route_rests {
	int64_t default_ms;  /* for a rate limit that states no time, the first time; then 3, 6 and 12 times */
	int64_t most_ms;     /* the longest; then one request may try again */
	int64_t hint_cap_ms; /* the first cap of what a provider states, and of one without credit; doubles
	                      * with each probe in vain.  0: most_ms */
	int64_t invalid_ms;  /* of a key that is refused, the first time; doubles.  0: five minutes */
};
/* After an attempt.  FAILURE_NONE and FAILURE_REQUEST wake what was probed. */
void route_report(struct board *board, const struct route_candidate *c, const struct route_outcome *o,
	const struct route_rests *rests);

/* The lists of failure rules (failure_rule.h) that an attempt goes by, in the order they are looked at:
 * of the route (NULL: none), the upstream, then of policies, the narrowest first.  How many; at most `most`. */
int route_failure_rules(const struct snapshot *s, const struct route *route, struct id project,
	const struct route_candidate *c, const char **lists, int most);
/* Should the next candidate be tried after such a failure? */
bool route_goes_on(enum failure failure);
/* The next candidate behind `at` after that failure: of the same stage, or of the first one its kind leads
 * to.  plan->count: nobody. */
int route_next(const struct route_plan *plan, int at, enum failure failure, bool is_context, bool is_filter);

#endif
