/*
 * spent.c - what an exchange has used, and what that costs: as the provider reports it, else counted, else
 * estimated.  [loop]
 */
#include "gateway/gateway-int.h"

#include "settle/price.h"

#include <string.h>
#include <strings.h>

static bool
is_json(const struct exchange *x)
{
	return strncasecmp(x->content_type, "application/json", 16) == 0;
}

static int64_t
or_zero(int64_t n)
{
	return n < 0 ? 0 : n;
}

void
spent_find(struct exchange *x, struct wire_usage *u)
{
	*u = WIRE_USAGE_NONE;
	if (x->passage.way != PASSAGE_CLOSED)
		*u = x->passage.usage;
	else if (x->mode == ANSWER_WHOLE && x->out.converted)
		*u = x->reply_usage;
	else if (x->mode == ANSWER_WHOLE && x->out.format != NULL &&
		 x->out.format->dialect != DIALECT_OPENAI)
		x->out.format->usage(bytes_span(&x->answer), u);
	else if (x->mode == ANSWER_WHOLE)
		openai_usage(bytes_span(&x->answer), u);
	else if (x->mode == ANSWER_BYTES && is_json(x))
		openai_usage_tail(bytes_span(&x->answer), u);
}

/* Something came back that a provider asks money for, or may ask for what it could not deliver. */
static bool
may_cost(const struct exchange *x)
{
	if (x->mode == ANSWER_EVENTS || x->mode == ANSWER_WHOLE || x->mode == ANSWER_BYTES)
		return true;
	return x->sent && (x->gone || x->cut || x->err.code == ERR_UPSTREAM_TIMEOUT);
}

static bool
is_watched(const struct exchange *x)
{
	return x->passage.way != PASSAGE_CLOSED;
}

/* Is what the provider reported all it had to say?  Claude's streams begin with the input. */
static bool
is_final(const struct exchange *x, const struct wire_usage *u)
{
	if (x->match.format != NULL && (u->input < 0 || u->output < 0))
		return false;
	return !is_watched(x) || x->passage.way == PASSAGE_OPENAI || x->passage.done;
}

/* Of the text that came: whatever is not reported, or not for all of it. */
static void
estimate_usage(struct exchange *x, const struct wire_usage *u)
{
	struct tokens *t = &x->row.tokens;
	bool whole = x->mode == ANSWER_WHOLE && x->match.format != NULL;
	int64_t chars = is_watched(x) ? x->passage.output_chars : 0, output;

	if (whole)
		chars = convert_reply_chars(x->match.format, bytes_span(&x->answer));
	/* where it was seen to its end, or ended by us, the text was all there was */
	x->row.usage_source =
		(whole && chars > 0) ||
				(is_watched(x) && ((x->passage.done && !x->passage.failed) ||
							  (x->guard.stopped && !x->guard.no_event)))
			? USAGE_COUNTED
			: USAGE_ESTIMATED;
	if (u->input < 0)
		t->input = x->ask.input_estimate;
	output = openai_estimate_tokens(chars);
	if (output > t->output)
		t->output = output;
}

void
spent_usage(struct exchange *x)
{
	struct usage_row *row = &x->row;
	struct wire_usage u;

	if (!may_cost(x) || x->is_count) {
		row->usage_source = USAGE_NONE;
		row->cost_nusd = 0;
		return;
	}
	spent_find(x, &u);
	span_copy(span_of(u.tier), row->tier, sizeof row->tier);
	if (u.seen)
		row->tokens = (struct tokens){ .input = or_zero(u.input),
			.cache_read = or_zero(u.cache_read),
			.cache_write = or_zero(u.cache_write),
			.cache_write_1h = or_zero(u.cache_write_1h),
			.output = or_zero(u.output),
			.reasoning = or_zero(u.reasoning),
			.audio_input = or_zero(u.audio_input),
			.audio_output = or_zero(u.audio_output) };
	if (u.seen && is_final(x, &u)) {
		row->usage_source = USAGE_REPORTED;
	} else if (x->ask.model[0] != '\0' && x->is_json) {
		estimate_usage(x, &u);
	} else {
		row->usage_source = USAGE_NONE;
	}
	/* they come as asked for or not at all */
	row->tokens.images =
		span_starts(span_of(x->plain_path), "/v1/images/") ? x->ask.choices : 0;
	if (x->ask.model[0] == '\0') {
		row->cost_nusd = 0;
		return;
	}
	row->cost_stated = u.seen && u.cost_nusd >= 0;
	row->cost_nusd = row->cost_stated
				 ? u.cost_nusd
				 : price_cost(&x->price[x->asked], row->tier, &row->tokens);
}
