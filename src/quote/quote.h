/*
 * quote.h - what a request would cost, and what would become of it: asked before it is sent.
 *
 * The first part is what the gateway itself reserves by, so that a quote and the request that follows
 * it are computed by the same code.  The second part puts a decision into JSON; the gateway (for
 * X-Sluice-Dry-Run) and the management API fill in one struct each and get the same answer.
 * A room of its own, as both of those use it and neither may include the other.
 *
 *   need.c   what a request takes from its limits, and at what price
 *   line.c   whether and where it would wait
 *   quote.c  the answer
 *
 * Nothing here changes anything: no turn is taken, nothing is reserved.  quote_need() and quote_limits()
 * read the store and take the board's mutex, so the loop may not call them; all else it may.
 */
#ifndef QUOTE_QUOTE_H
#define QUOTE_QUOTE_H

#include "admit/admit.h"
#include "conf/conf.h"
#include "route/route.h"
#include "settle/price.h"

/* ---- what it takes ---- */

/* A request, as far as its price goes. */
struct quote_size {
	const char *model;    /* asked for; "" none: nothing has a price */
	int64_t input_tokens; /* estimated */
	int64_t max_output;   /* that it states; -1: none */
	int64_t choices;      /* answers asked for */
	bool makes_output, makes_images;
	bool is_free;         /* a provider counts tokens for nothing */
};

/* The price each of the plan's candidates has now (wall clock); several keys of one upstream have one. */
void quote_prices(const struct snapshot *snapshot, const struct route_plan *plan,
	struct price_list price[ROUTE_ATTEMPTS_MAX]);
/* Of so much at one price, at worst; COST_UNKNOWN. */
int64_t quote_cost(const struct price_list *price, const struct quote_size *size,
	int64_t input_tokens, int64_t output_tokens);
/* The most output it can have at that upstream; default_output: the settings'.  0, or -1 with
 * ERR_BAD_REQUEST: it overflows. */
int quote_output(const struct quote_size *size, const struct upstream *first,
	int64_t default_output, int64_t *output_tokens, struct err *err);
/* route_ask.cost, its ctx being one of these: what it costs at an upstream that is thought of. */
struct quote_costs {
	const struct snapshot *snapshot;
	const struct quote_size *size;
	int64_t default_output;
};
int64_t quote_route_cost(void *ctx, const struct upstream *u, struct span model, bool usual);
/* All of what it takes, need->model, input_tokens and output_tokens being set. */
void quote_need(struct store *store, const struct snapshot *snapshot, struct id token,
	const struct route_plan *plan, const struct price_list *price,
	const struct quote_size *size, struct admit_need *need);
/* Where the project takes nothing without a price: those without one leave the plan, and their record
 * tells why; *at, a candidate, stays the same one or becomes the next.  0, or -1 with
 * ERR_MODEL_NOT_ALLOWED: none is left from *at on. */
int quote_drop_unpriced(struct route_plan *plan, struct price_list *price, int *at, const char *model,
	int64_t input_tokens, int64_t output_tokens, struct err *err);

/* ---- waiting while all who could serve it are busy ---- */

struct quote_line {
	struct id pool;
	int64_t most, wait_ms; /* how many may wait, and how long one may; most 0: nobody */
};
/* The line of those who wait for the same.  All that share the cap of one upstream wait in one. */
struct quote_line quote_line(const struct route_plan *plan, const struct conf *conf);
/* Is it worth waiting, when route_plan() failed as `why` tells? */
bool quote_may_wait(struct board *board, const struct route_plan *plan, const struct quote_line *line,
	const struct err *why);
/* How long until a refused one should come again: until the line as it stands has had its turns; by the
 * longest that one waits it has gone at any rate.  A second at least. */
int64_t quote_turn_ms(struct board *board, const struct route_plan *plan, const struct quote_line *line);
/* ERR_OVERLOADED: as many wait as may.  Returns -1. */
int quote_refuse_full(struct board *board, const struct route_plan *plan, const struct quote_line *line,
	struct err *err);

/* ---- the answer ---- */

struct quote {
	struct store *store;
	struct board *board;
	const struct snapshot *snapshot;
	const struct admit_ask *ask;      /* whose need is of quote_need() */
	const struct quote_size *size;
	const struct route_plan *plan;
	const struct price_list *price;   /* of the candidates; NULL where it did not come to it */
	int first;                        /* candidate at which the walk begins */
	bool for_client;                  /* who is not told how the operator calls the keys */
	struct quote_line line;
	bool nobody;                      /* all are busy or rest a moment, and it may wait for them */
	/* of quote_limits() */
	bool reached_limits;              /* they were asked: view is filled in */
	struct admit_view view;
	const char *refused[ROUTE_ATTEMPTS_MAX]; /* candidates, by limits that name them; NULL: not */
	bool waits;                       /* it would, behind `ahead` others */
	int64_t ahead;
	struct arena *arena;
	struct err err;                   /* why it would be refused; code NONE: it would not */
	/* What conversion would leave out of it for that candidate, as text; "" nothing.  NULL: no body
	 * is known. */
	const char *(*lost)(void *ctx, const struct route_candidate *c);
	void *ctx;
};
/* Asks its limits, those that name a candidate, and whether it would have to wait: 0, or -1 with q->err. */
int quote_limits(struct quote *q);
/* An object.  0, or -1 when out's limit or memory is spent. */
int quote_put(struct quote *q, struct bytes *out);

#endif
