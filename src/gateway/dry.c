/*
 * dry.c - the header X-Sluice-Dry-Run: a request goes through ADMIT as any other, by the same code, but
 * takes no turn and nothing from its limits, and ends there with a quote.
 */
#include "gateway/gateway-int.h"

#include <string.h>

#define QUOTE_BYTES (256 * 1024)
#define LOST_BYTES  512

bool
dry_is_asked(const struct exchange *x)
{
	struct span v = web_header(x->request, "x-sluice-dry-run");

	return span_is(v, "1") || span_is_nocase(v, "true");
}

/* For whom the body is converted, to tell what gets lost of it. */
static const char *
lost_for(void *ctx, const struct route_candidate *c)
{
	struct exchange *x = ctx;
	struct err before = x->err;
	char text[LOST_BYTES] = "";
	int at = x->candidate;

	x->candidate = (int)(c - x->plan.candidate);
	if (translate_request(x) != 0)
		(void)span_copy(span_of(err_public(&x->err)), text, sizeof text);
	else if (x->out.lost.count > 0)
		losses_text(&x->out.lost, text, sizeof text);
	x->candidate = at;
	x->err = before;
	return arena_strdup(x->arena, text);
}

static int
quote(struct exchange *x, const struct admit_ask *ask, const struct quote_size *size, bool priced)
{
	struct quote *q = arena_alloc(x->arena, sizeof *q);

	if (q == NULL)
		return err_set(&x->err, ERR_MEMORY, "no memory for a quote");
	*q = (struct quote){ .store = x->gw->store,
		.board = x->gw->board,
		.snapshot = x->snapshot,
		.ask = ask,
		.size = size,
		.plan = &x->plan,
		.price = priced ? x->price : NULL,
		.first = x->candidate,
		.for_client = true,
		.line = quote_line(&x->plan, &x->gw->conf),
		.nobody = x->waiting.nobody,
		.arena = x->arena,
		.err = x->err,
		.lost = x->match.format != NULL ? lost_for : NULL,
		.ctx = x };
	if (priced)
		(void)quote_limits(q);
	x->quote = BYTES_LIMIT(QUOTE_BYTES);
	if (quote_put(q, &x->quote) != 0)
		return err_set(&x->err, ERR_MEMORY, "no memory for a quote");
	return 0;
}

int
dry_ask(struct exchange *x, const struct admit_ask *ask, const struct quote_size *size)
{
	return quote(x, ask, size, true);
}

/* Refused before its limits were asked, and maybe before anybody was looked for. */
static int
quote_refused(struct exchange *x)
{
	struct admit_ask ask = { .caller = &x->caller, .need = { .model = x->ask.model } };
	struct quote_size size = { .model = x->ask.model,
		.input_tokens = x->ask.input_estimate,
		.max_output = x->ask.max_output,
		.choices = x->ask.choices };

	x->plan.count = 0;
	return quote(x, &ask, &size, false);
}

void
dry_answer(struct exchange *x)
{
	if (x->quote.len == 0 && quote_refused(x) != 0) {
		answer_now(x);
		return;
	}
	answer_quote(x);
}
