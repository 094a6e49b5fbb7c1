/*
 * openrouter.c - what OpenRouter's clients ask for beside conversations, at its addresses and in its
 * words: models with prices, who serves one, providers, the caller's own token.  [intake]
 */
#include "gateway/listing-int.h"

#include "base/clock.h"
#include "base/money.h"
#include "route/standing.h"
#include "settle/price.h"

#include <inttypes.h>
#include <string.h>

#define PER_MILLION_15 15 /* nano-dollars a million tokens are dollars a token by 10^15 */

/* ---- models ---- */

/* Nano-dollars by 10^places, as plain decimals without needless zeros: "0.0000025". */
static void
put_price(struct bytes *out, const char *name, int64_t nusd, int places)
{
	char digits[40];
	int len = 0, last = 0;

	do
		digits[len++] = (char)('0' + nusd % 10);
	while ((nusd /= 10) > 0);
	while (len <= places)
		digits[len++] = '0';
	while (last < places && digits[last] == '0')
		last++;
	bytes_printf(out, "\"%s\":\"", name);
	for (int i = len - 1; i >= last; i--) {
		if (i == places - 1)
			bytes_puts(out, ".");
		bytes_add(out, &digits[i], 1);
	}
	bytes_puts(out, "\"");
}

static void
put_pricing(struct bytes *out, const struct snapshot *p, const struct listed *m)
{
	struct price_rates rates = { 0 };
	struct price_list list = { 0 };

	if (m->upstream != NULL)
		price_find(p, m->upstream, m->name, clock_wall_ms(), &list);
	if (!price_rates(&list, 0, &rates) && !listed_is_free(m)) {
		bytes_puts(out, ",\"pricing\":{}");
		return;
	}
	bytes_puts(out, ",\"pricing\":{");
	put_price(out, "prompt", rates.input_nusd, PER_MILLION_15);
	bytes_puts(out, ",");
	put_price(out, "completion", rates.output_nusd, PER_MILLION_15);
	bytes_puts(out, ",");
	put_price(out, "request", rates.request_nusd, 9);
	bytes_puts(out, "}");
}

/* "text+image->text" into the lists that clients look at. */
static void
put_sides(struct bytes *out, const char *name, struct span words)
{
	bytes_printf(out, ",\"%s\":[", name);
	for (bool any = false; words.len > 0; any = true) {
		const char *plus = memchr(words.at, '+', words.len);
		size_t len = plus == NULL ? words.len : (size_t)(plus - words.at);

		bytes_puts(out, any ? "," : "");
		bytes_json(out, (struct span){ words.at, len });
		len += plus != NULL;
		words.at += len;
		words.len -= len;
	}
	bytes_puts(out, "]");
}

static void
put_context(struct bytes *out, const struct listed *m)
{
	if (m->found != NULL && m->found->context > 0)
		bytes_printf(out, ",\"context_length\":%" PRId64, m->found->context);
	else
		bytes_puts(out, ",\"context_length\":null");
}

/* The beginning of an object: what it is, whoever serves it. */
static void
put_about(struct bytes *out, const struct listed *m)
{
	struct span modality = SPAN_LIT("text->text"), input = modality, output = SPAN_LIT("text");
	const char *arrow;

	if (m->found != NULL && m->found->modality.len > 0)
		input = modality = m->found->modality;
	if ((arrow = memmem(modality.at, modality.len, "->", 2)) != NULL) {
		input.len = (size_t)(arrow - modality.at);
		output = (struct span){ arrow + 2, modality.len - input.len - 2 };
	}
	bytes_puts(out, "{\"id\":");
	bytes_json(out, m->name);
	bytes_puts(out, ",\"name\":");
	bytes_json(out, m->name);
	bytes_printf(out,
		",\"created\":%" PRId64 ",\"architecture\":{\"modality\":", m->created_ms / 1000);
	bytes_json(out, modality);
	put_sides(out, "input_modalities", input);
	put_sides(out, "output_modalities", output);
	bytes_puts(out, "}");
}

void
openrouter_model(struct bytes *out, const struct snapshot *p, const struct listed *m)
{
	put_about(out, m);
	/* not OpenRouter's: OpenAI's own clients look for them */
	bytes_puts(out, ",\"object\":\"model\",\"owned_by\":");
	bytes_json(out, listed_owner(m));
	put_context(out, m);
	put_pricing(out, p, m);
	bytes_puts(out, "}");
}

/* ---- who serves a model ---- */

struct places {
	const struct exchange *x;
	struct bytes *out;
	size_t count;
};

static void
put_place(void *ctx, const struct upstream *u, struct span model)
{
	struct places *l = ctx;
	const struct snapshot *p = l->x->snapshot;
	struct board *b = l->x->gw->board;
	const struct board_target *t = board_target_find(b, u->head.id);
	struct listed m = {
		.name = model, .upstream = u, .found = snapshot_discovered(p, u->head.id, model)
	};
	bool rests = standing_may_through(b, u, t, board_now_ms(b)) != STANDING_MAY;

	if (u->free_only && !listed_is_free(&m))
		return;
	bytes_puts(l->out, l->count++ == 0 ? "{\"name\":" : ",{\"name\":");
	bytes_json(l->out, span_of(u->name));
	bytes_puts(l->out, ",\"provider_name\":");
	bytes_json(l->out, span_of(u->name));
	bytes_puts(l->out, ",\"model_name\":");
	bytes_json(l->out, model);
	put_context(l->out, &m);
	put_pricing(l->out, p, &m);
	/* 0 is well, below it is not */
	bytes_printf(l->out, ",\"status\":%d}", rests ? -1 : 0);
}

int
openrouter_places(struct exchange *x, const struct listed *m, struct bytes *out)
{
	struct route_ask ask = { .model = m->name,
		.project = x->caller.project.head.id,
		.dialect = DIALECT_OPENAI,
		.is_conversation = true };
	struct places l = { .x = x, .out = out };

	bytes_puts(out, "{\"data\":");
	put_about(out, m);
	bytes_puts(out, ",\"endpoints\":[");
	if (route_places(x->snapshot->compiled, &ask, put_place, &l, &x->err) < 0)
		return -1;
	bytes_puts(out, "]}}");
	return 0;
}

void
listing_providers(const struct exchange *x, struct bytes *out)
{
	const struct snapshot *p = x->snapshot;

	bytes_puts(out, "{\"data\":[");
	for (size_t i = 0; i < p->upstream_count; i++) {
		bytes_puts(out, i == 0 ? "{\"name\":" : ",{\"name\":");
		bytes_json(out, span_of(p->upstreams[i].name));
		bytes_puts(out, ",\"slug\":");
		bytes_json(out, span_of(p->upstreams[i].name));
		bytes_puts(out, ",\"privacy_policy_url\":null,\"terms_of_service_url\":null,"
				"\"status_page_url\":null}");
	}
	bytes_puts(out, "]}");
}

/* ---- the caller's own token, as OpenRouter tells of a key ---- */

static bool
is_of_token(const struct exchange *x, const struct limit *m)
{
	char id[ID_TEXT_BYTES];

	id_text("tok_", x->caller.token.head.id, id);
	for (int i = 0; i < DIMENSION__COUNT; i++)
		if (i != DIMENSION_TOKEN && m->scope[i][0] != '\0')
			return false;
	return strcmp(m->scope[DIMENSION_TOKEN], id) == 0 ||
	       strcmp(m->scope[DIMENSION_TOKEN], "each") == 0;
}

/* The lowest cap of that metric and window; NULL: none. */
static const struct limit *
lowest(const struct exchange *x, int32_t metric, int32_t window)
{
	const struct limit *found = NULL;

	for (size_t i = 0; i < x->snapshot->limit_count; i++) {
		const struct limit *m = &x->snapshot->limits[i];

		if (m->metric == metric && m->window == window && m->mode == LIMIT_HARD &&
			is_of_token(x, m) && (found == NULL || m->cap < found->cap))
			found = m;
	}
	return found;
}

static void
put_dollars(struct bytes *out, const char *name, int64_t nusd)
{
	char text[MONEY_TEXT_BYTES];

	money_text(nusd, text);
	bytes_printf(out, ",\"%s\":%s", name, text);
}

static void
put_rate_limit(const struct exchange *x, struct bytes *out)
{
	static const struct {
		int32_t window;
		const char *interval;
	} windows[] = { { WINDOW_MINUTE, "1m" }, { WINDOW_HOUR, "1h" }, { WINDOW_DAY, "1d" } };

	for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
		const struct limit *m = lowest(x, METRIC_REQUESTS, windows[i].window);

		if (m == NULL)
			continue;
		bytes_printf(out, ",\"rate_limit\":{\"requests\":%" PRId64 ",\"interval\":\"%s\"}",
			m->cap, windows[i].interval);
		return;
	}
	bytes_puts(out, ",\"rate_limit\":{\"requests\":-1,\"interval\":\"10s\"}");
}

/* What it has spent since ever, and may. */
static void
put_spent(const struct exchange *x, struct bytes *out)
{
	const struct limit *most = lowest(x, METRIC_COST, WINDOW_TOTAL);

	put_dollars(out, "usage", x->spent_nusd);
	if (most == NULL) {
		bytes_puts(out, ",\"limit\":null,\"limit_remaining\":null");
		return;
	}
	put_dollars(out, "limit", most->cap);
	put_dollars(
		out, "limit_remaining", most->cap > x->spent_nusd ? most->cap - x->spent_nusd : 0);
}

static struct span
label_of(const struct token *t)
{
	return span_of(t->label[0] != '\0' ? t->label : t->masked);
}

void
listing_token(const struct exchange *x, struct bytes *out)
{
	bytes_puts(out, "{\"data\":{\"label\":");
	bytes_json(out, label_of(&x->caller.token));
	put_spent(x, out);
	bytes_puts(out, ",\"is_free_tier\":false");
	put_rate_limit(x, out);
	bytes_puts(out, "}}");
}

void
listing_tokens(const struct exchange *x, struct bytes *out)
{
	const struct token *t = &x->caller.token;
	char id[ID_TEXT_BYTES], when[CLOCK_TEXT_BYTES];

	id_text("tok_", t->head.id, id);
	bytes_printf(out, "{\"data\":[{\"hash\":\"%s\",\"name\":", id);
	bytes_json(out, label_of(t));
	bytes_puts(out, ",\"label\":");
	bytes_json(out, span_of(t->masked));
	bytes_puts(out, ",\"disabled\":false");
	put_spent(x, out);
	clock_rfc3339(t->head.created_ms, when);
	bytes_printf(out, ",\"created_at\":\"%s\"", when);
	clock_rfc3339(t->head.updated_ms, when);
	bytes_printf(out, ",\"updated_at\":\"%s\"}]}", when);
}

void
listing_credits(const struct exchange *x, struct bytes *out)
{
	const struct limit *most = lowest(x, METRIC_COST, WINDOW_TOTAL);

	bytes_puts(out, "{\"data\":{\"total_credits\":");
	if (most == NULL) {
		bytes_puts(out, "null");
	} else {
		char text[MONEY_TEXT_BYTES];

		money_text(most->cap, text);
		bytes_puts(out, text);
	}
	put_dollars(out, "total_usage", x->spent_nusd);
	bytes_puts(out, "}}");
}
