/*
 * guard.c - the mid-stream budget guard: what streams by is counted, and when it comes near what was
 * reserved more is asked for, from those limits that stop streams.  Where they have no more the
 * stream goes on to the end of what it holds, and then ends as if the model had reached its ceiling.
 *
 * The ledger's thread asks the board, as the loop may not wait for its mutex.  While an answer to
 * that is due and all that is held has streamed by, the provider's transfer rests.
 */
#include "gateway/gateway-int.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define ASK_TOKENS  256  /* of output, at least, asked for ahead */
#define ASK_LEAST   16   /* a limit that has no more than that is spent */
#define GUARD_PIECE 1024 /* bytes of a stream between two looks at the count */
#define OUTPUT_MOST (1LL << 40)

/* What so much output makes of a metric. */
static int64_t
use_of(const struct exchange *x, int32_t metric, int64_t output)
{
	struct tokens t = { .input = x->ask.input_estimate, .output = output };
	int64_t cost;

	switch ((enum limit_metric)metric) {
	case METRIC_OUTPUT_TOKENS:
		return output;
	case METRIC_TOKENS:
		return t.input + output;
	case METRIC_COST:
		cost = price_cost(&x->price[x->asked], "", &t);
		return cost == COST_UNKNOWN ? 0 : cost;
	default:
		return 0;
	}
}

void
guard_begin(struct exchange *x)
{
	struct guard *g = &x->guard;

	for (int i = 0; x->ask.stream && i < x->pass.count; i++) {
		g->held[i] = x->pass.hold[i].amount;
		if (x->pass.hold[i].stops)
			g->which[g->count++] = i;
	}
	if (g->count == 0)
		return;
	g->step = ASK_TOKENS;
}

/* Does more than is held pass with so much output? */
static bool
is_beyond(const struct exchange *x, int64_t output)
{
	const struct guard *g = &x->guard;

	for (int k = 0; k < g->count; k++)
		if (use_of(x, x->pass.hold[g->which[k]].metric, output) > g->held[g->which[k]])
			return true;
	return false;
}

static void
on_raised(struct ledger_raise *r)
{
	gateway_raised(r);
}

/* Asks for what `output` would need. */
static void
ask(struct exchange *x, int64_t output)
{
	struct guard *g = &x->guard;
	struct ledger_raise *r = calloc(1, sizeof *r);

	if (r == NULL)
		return; /* the next piece asks again */
	r->lease = x->pass.lease;
	r->count = x->pass.count;
	r->ctx = x;
	r->done = on_raised;
	for (int i = 0; i < r->count; i++)
		r->cap[i] = x->pass.hold[i].cap;
	for (int k = 0; k < g->count; k++) {
		int i = g->which[k];
		int64_t more = use_of(x, x->pass.hold[i].metric, output) - g->held[i];

		r->amount[i] = more > 0 ? more : 0;
	}
	g->asking = r;
	ledger_raise(x->gw->ledger, r);
}

/* [loop] The ledger's answer. */
void
guard_raised(struct exchange *x, const struct ledger_raise *r)
{
	struct guard *g = &x->guard;

	g->asking = NULL;
	if (r->outcome == RAISE_GRANTED) {
		for (int i = 0; i < r->count; i++)
			g->held[i] += r->amount[i];
		g->step = ASK_TOKENS;
	} else if (r->outcome == RAISE_REFUSED) {
		/* less may fit */
		g->step /= 2;
		g->spent = g->step < ASK_LEAST;
	}
	if (g->resting) {
		g->resting = false;
		if (x->call != NULL && !x->full)
			forward_resume(x->call);
	}
}

static int64_t
output_now(const struct exchange *x)
{
	return openai_estimate_tokens(x->passage.output_chars);
}

bool
guard_rests(struct exchange *x)
{
	struct guard *g = &x->guard;
	int64_t output = g->count == 0 ? 0 : output_now(x), ahead;

	if (g->count == 0 || g->spent)
		return false;
	/* the longer an answer is, the further ahead: so that asking stays rare */
	ahead = g->step == ASK_TOKENS && output / 4 > g->step ? output / 4 : g->step;
	if (output < OUTPUT_MOST && g->asking == NULL && is_beyond(x, output + ahead / 2))
		ask(x, output + ahead);
	g->resting = g->asking != NULL && is_beyond(x, output);
	return g->resting;
}

/* The last events take the place of what is held back, and the provider is let go. */
static void
stop(struct exchange *x)
{
	struct guard *g = &x->guard;

	g->stopped = true;
	log_request(LOG_INFO, "guard", x->request_id, "stopped after some %lld tokens of output",
		(long long)output_now(x));
	bytes_drop(&x->held, x->held.len);
	if (passage_stop(&x->passage, x->ask.input_estimate, output_now(x), &x->held) != 0) {
		bytes_drop(&x->held, x->held.len);
		g->no_event = true;
	}
	forward_cancel(x->call);
}

int
guard_feed(struct exchange *x, const char *data, size_t len,
	void (*pass)(void *ctx, const char *data, size_t len, bool last))
{
	struct guard *g = &x->guard;

	if (g->count == 0)
		return passage_feed(&x->passage, data, len, pass, x);
	for (size_t at = 0; at < len && !g->stopped; at += GUARD_PIECE) {
		size_t n = len - at < GUARD_PIECE ? len - at : GUARD_PIECE;

		if (passage_feed(&x->passage, data + at, n, pass, x) != 0)
			return -1;
		/* an event too long to be kept is under way to the client: not into its middle */
		if (g->spent && !x->passage.done && !passage_in_event(&x->passage) &&
			is_beyond(x, output_now(x)))
			stop(x);
	}
	return 0;
}

void
guard_end(struct exchange *x)
{
	struct ledger_raise *r = x->guard.asking;

	/* on its way back already: gateway.c finds nobody there */
	if (r != NULL && !ledger_forget_raise(r))
		r->ctx = NULL;
	x->guard.asking = NULL;
}
