/*
 * need.c - what a request takes from its limits: tokens and money, at worst and as it usually goes.
 */
#include "quote/quote.h"

#include "base/clock.h"
#include "base/money.h"

#include <string.h>

static bool
is_same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

void
quote_prices(const struct snapshot *snapshot, const struct route_plan *plan,
	struct price_list price[ROUTE_ATTEMPTS_MAX])
{
	int64_t now_ms = clock_wall_ms();

	for (int i = 0; i < plan->count; i++) {
		const struct route_candidate *c = &plan->candidate[i];
		int same = 0;

		while (plan->candidate[same].upstream != c->upstream ||
			!is_same(plan->candidate[same].model, c->model))
			same++;
		if (same < i)
			price[i] = price[same];
		else
			price_find(snapshot, c->upstream, c->model, now_ms, &price[i]);
	}
}

int64_t
quote_cost(const struct price_list *price, const struct quote_size *size, int64_t input_tokens,
	int64_t output_tokens)
{
	int64_t cost;

	if (size->model[0] == '\0' || size->is_free)
		return 0;
	cost = price_worst(price, input_tokens, output_tokens);
	if (cost != COST_UNKNOWN && size->makes_images)
		cost = money_add(cost, price_worst_images(price, size->choices));
	return cost;
}

int
quote_output(const struct quote_size *size, const struct upstream *first, int64_t default_output,
	int64_t *output_tokens, struct err *err)
{
	int64_t most = size->max_output;

	*output_tokens = 0;
	if (!size->makes_output)
		return 0;
	if (most < 0)
		most = first->max_output_tokens;
	if (most <= 0)
		most = default_output;
	if (__builtin_mul_overflow(most, size->choices, output_tokens))
		return err_set(err, ERR_BAD_REQUEST, "n times max tokens overflows");
	return 0;
}

int64_t
quote_route_cost(void *ctx, const struct upstream *u, struct span model, bool usual)
{
	const struct quote_costs *c = ctx;
	struct price_list price;
	struct err ignored;
	int64_t output;

	if (quote_output(c->size, u, c->default_output, &output, &ignored) != 0)
		return COST_UNKNOWN;
	if (usual && output > ADMIT_USUAL_START)
		output = ADMIT_USUAL_START;
	price_find(c->snapshot, u, model, clock_wall_ms(), &price);
	return quote_cost(&price, c->size, c->size->input_tokens, output);
}

/* The dearest of the candidates, or COST_UNKNOWN when none has a price. */
static int64_t
worst_of(const struct route_plan *plan, const struct price_list *price,
	const struct quote_size *size, int64_t input_tokens, int64_t output_tokens)
{
	int64_t worst = COST_UNKNOWN;

	if (size->model[0] == '\0' || size->is_free)
		return 0;
	for (int i = 0; i < plan->count; i++) {
		int64_t cost = quote_cost(&price[i], size, input_tokens, output_tokens);

		if (cost > worst)
			worst = cost;
	}
	return worst;
}

void
quote_need(struct store *store, const struct snapshot *snapshot, struct id token,
	const struct route_plan *plan, const struct price_list *price,
	const struct quote_size *size, struct admit_need *need)
{
	need->cost_nusd = worst_of(plan, price, size, need->input_tokens, need->output_tokens);
	need->usual_output =
		admit_usual_output(store, snapshot, token, need->model, need->output_tokens);
	need->usual_cost_nusd = worst_of(plan, price, size, need->input_tokens, need->usual_output);
}

static int
refuse_unpriced(const char *model, struct err *err)
{
	err_set(err, ERR_MODEL_NOT_ALLOWED, "no price is known for model %.80s", model);
	return err_say(err,
		"The price of model '%.64s' is not known, and this project takes no such requests. "
		"The operator can add it: sluice price add --model NAME --input N --output N.",
		model);
}

int
quote_drop_unpriced(struct route_plan *plan, struct price_list *price, int *at, const char *model,
	int64_t input_tokens, int64_t output_tokens, struct err *err)
{
	struct route_record *r = &plan->record;
	int kept = 0, was = *at;

	for (int i = 0; i < plan->count; i++) {
		const struct route_candidate *c = &plan->candidate[i];

		if (i == was)
			*at = kept;
		if (price_worst(&price[i], input_tokens, output_tokens) == COST_UNKNOWN) {
			if (c->member < r->member_count)
				r->member[c->member].reason = REASON_UNPRICED;
			continue;
		}
		plan->candidate[kept] = *c;
		price[kept++] = price[i];
	}
	plan->count = kept;
	return kept > *at ? 0 : refuse_unpriced(model, err);
}
