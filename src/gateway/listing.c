/*
 * listing.c - what a token may use, in its dialect: names of models, upstreams, its own limits.  Nothing
 * here asks a provider or the store. [intake]
 */
#include "gateway/gateway-int.h"

#include "admit/allow.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/money.h"
#include "route/pattern.h"
#include "settle/price.h"
#include "wire/provider.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX     20000 /* names of one list; what comes later is left out */
#define SLOTS          65536 /* a power of two, more than twice as many */
#define PER_MILLION_15 15    /* nano-dollars a million tokens are dollars a token by 10^15 */

/* ---- names, each once ---- */

struct listed {
	struct span name;
	const struct upstream *upstream;    /* the first that has it; NULL: a route of all */
	const struct snapshot_model *found; /* what its provider says of it; NULL: nothing */
	int64_t created_ms;
};

struct listing {
	struct exchange *x;
	struct bytes *out;
	struct span one; /* only this model; empty: all */
	bool free_only;
	struct patterns blocked; /* of the upstream at hand */
	size_t count;
	struct listed *name;
	uint32_t *slot; /* 1 + index, 0 free */
};

static bool
is_pattern(struct span name)
{
	return name.at[0] == '/' || memchr(name.at, '*', name.len) != NULL ||
	       memchr(name.at, '?', name.len) != NULL;
}

static bool
is_free(const struct listed *m)
{
	static const char suffix[] = ":free";
	size_t len = sizeof suffix - 1;

	return (m->found != NULL && m->found->is_free) ||
	       (m->name.len > len && memcmp(m->name.at + m->name.len - len, suffix, len) == 0);
}

static bool
may_see(const struct listing *l, const struct listed *m)
{
	struct err ignored;

	if (l->one.len > 0 &&
		(l->one.len != m->name.len || memcmp(l->one.at, m->name.at, m->name.len) != 0))
		return false;
	if ((l->free_only || (m->upstream != NULL && m->upstream->free_only)) && !is_free(m))
		return false;
	return !l->x->known || admit_allow(&l->x->caller, m->name, clock_wall_ms(), &ignored) == 0;
}

static void
add(struct listing *l, const struct listed *m)
{
	size_t at = hash_64(m->name.at, m->name.len, 0) & (SLOTS - 1);

	if (m->name.len == 0 || m->name.len >= MODEL_BYTES || is_pattern(m->name) ||
		l->count == LISTED_MAX)
		return;
	for (; l->slot[at] != 0; at = (at + 1) & (SLOTS - 1)) {
		const struct span *had = &l->name[l->slot[at] - 1].name;

		if (had->len == m->name.len && memcmp(had->at, m->name.at, had->len) == 0)
			return;
	}
	if (!may_see(l, m))
		return;
	l->name[l->count] = *m;
	l->slot[at] = (uint32_t)++l->count;
}

static void
add_of(struct listing *l, const struct upstream *u, struct span name)
{
	if (!patterns_fit(&l->blocked, name))
		add(l, &(struct listed){ .name = name,
			       .upstream = u,
			       .found = snapshot_discovered(l->x->snapshot, u->head.id, name),
			       .created_ms = u->head.created_ms });
}

/* The names that upstreams state in full; a glob is a promise without a list. */
static void
add_stated(struct listing *l, const struct upstream *u)
{
	for (const char *at = u->models; *at != '\0';) {
		size_t len = strcspn(at, "\n,");

		add_of(l, u, (struct span){ at, len });
		at += len + (at[len] != '\0');
	}
}

/* "alias=its own name" lines. */
static void
add_aliases(struct listing *l, const struct upstream *u)
{
	for (const char *at = u->aliases; *at != '\0';) {
		size_t len = strcspn(at, "\n");
		const char *equals = memchr(at, '=', len);

		if (equals != NULL)
			add_of(l, u, (struct span){ at, (size_t)(equals - at) });
		at += len + (at[len] != '\0');
	}
}

static void
add_discovered(struct listing *l, size_t upstream)
{
	const struct snapshot *p = l->x->snapshot;
	const struct snapshot_list *list = p->lists == NULL ? NULL : &p->lists[upstream];

	for (size_t i = 0; list != NULL && i < list->count; i++)
		add_of(l, &p->upstreams[upstream], p->discovered[list->first + i].name);
}

static void
add_routes(struct listing *l)
{
	const struct snapshot *p = l->x->snapshot;

	for (size_t i = 0; i < p->route_count; i++) {
		const struct route *r = &p->routes[i];

		if (!id_is_none(r->project) &&
			(!l->x->known || !id_equal(r->project, l->x->caller.project.head.id)))
			continue;
		if (r->model[0] != '\0')
			add(l, &(struct listed){ .name = span_of(r->model),
				       .created_ms = r->head.created_ms });
	}
}

static int
collect(struct listing *l)
{
	const struct snapshot *p = l->x->snapshot;

	l->name = calloc(LISTED_MAX, sizeof *l->name);
	l->slot = calloc(SLOTS, sizeof *l->slot);
	if (l->name == NULL || l->slot == NULL)
		return -1;
	for (size_t i = 0; i < p->upstream_count; i++) {
		int rc = patterns_new(p->upstreams[i].blocked_models, &l->blocked);

		if (rc == 0) {
			add_stated(l, &p->upstreams[i]);
			add_aliases(l, &p->upstreams[i]);
			add_discovered(l, i);
		}
		patterns_free(&l->blocked);
		if (rc != 0)
			return -1;
	}
	add_routes(l);
	return 0;
}

static void
release(struct listing *l)
{
	free(l->name);
	free(l->slot);
}

/* ---- a model in each dialect ---- */

static void
put_anthropic(struct bytes *out, const struct listed *m)
{
	char when[CLOCK_TEXT_BYTES];

	clock_rfc3339(m->created_ms, when);
	bytes_puts(out, "{\"type\":\"model\",\"id\":");
	bytes_json(out, m->name);
	bytes_puts(out, ",\"display_name\":");
	bytes_json(out, m->name);
	bytes_printf(out, ",\"created_at\":\"%s\"}", when);
}

static void
put_gemini(struct bytes *out, const struct listed *m)
{
	bytes_puts(out, "{\"name\":\"models/");
	bytes_json_inside(out, m->name);
	bytes_puts(out, "\",\"displayName\":");
	bytes_json(out, m->name);
	if (m->found != NULL && m->found->context > 0)
		bytes_printf(out, ",\"inputTokenLimit\":%" PRId64, m->found->context);
	bytes_puts(out, ",\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"]}");
}

static struct span
owner_of(const struct listed *m)
{
	return span_of(m->upstream == NULL ? "sluice" : m->upstream->name);
}

static void
put_openai(struct bytes *out, const struct listed *m)
{
	bytes_puts(out, "{\"id\":");
	bytes_json(out, m->name);
	bytes_printf(out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":",
		m->created_ms / 1000);
	bytes_json(out, owner_of(m));
	bytes_puts(out, "}");
}

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
put_pricing(const struct listing *l, const struct listed *m)
{
	struct price_rates rates = { 0 };
	struct price_list list = { 0 };

	if (m->upstream != NULL)
		price_find(l->x->snapshot, m->upstream, m->name, clock_wall_ms(), &list);
	if (!price_rates(&list, 0, &rates) && !is_free(m)) {
		bytes_puts(l->out, ",\"pricing\":{}");
		return;
	}
	bytes_puts(l->out, ",\"pricing\":{");
	put_price(l->out, "prompt", rates.input_nusd, PER_MILLION_15);
	bytes_puts(l->out, ",");
	put_price(l->out, "completion", rates.output_nusd, PER_MILLION_15);
	bytes_puts(l->out, ",");
	put_price(l->out, "request", rates.request_nusd, 9);
	bytes_puts(l->out, "}");
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
put_openrouter(const struct listing *l, const struct listed *m)
{
	struct span modality = SPAN_LIT("text->text"), input = modality, output = SPAN_LIT("text");
	const char *arrow;

	if (m->found != NULL && m->found->modality.len > 0)
		input = modality = m->found->modality;
	if ((arrow = memmem(modality.at, modality.len, "->", 2)) != NULL) {
		input.len = (size_t)(arrow - modality.at);
		output = (struct span){ arrow + 2, modality.len - input.len - 2 };
	}
	bytes_puts(l->out, "{\"id\":");
	bytes_json(l->out, m->name);
	bytes_puts(l->out, ",\"name\":");
	bytes_json(l->out, m->name);
	/* object and owned_by are not OpenRouter's: OpenAI's own clients look for them */
	bytes_printf(l->out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":",
		m->created_ms / 1000);
	bytes_json(l->out, owner_of(m));
	bytes_puts(l->out, ",\"context_length\":");
	if (m->found != NULL && m->found->context > 0)
		bytes_printf(l->out, "%" PRId64, m->found->context);
	else
		bytes_puts(l->out, "null");
	bytes_puts(l->out, ",\"architecture\":{\"modality\":");
	bytes_json(l->out, modality);
	put_sides(l->out, "input_modalities", input);
	put_sides(l->out, "output_modalities", output);
	bytes_puts(l->out, "}");
	put_pricing(l, m);
	bytes_puts(l->out, "}");
}

static void
put_model(const struct listing *l, const struct listed *m)
{
	switch (endpoint_dialect(&l->x->match)) {
	case DIALECT_ANTHROPIC:
		put_anthropic(l->out, m);
		break;
	case DIALECT_GEMINI:
		put_gemini(l->out, m);
		break;
	default:
		if (l->x->match.endpoint->face == FACE_OPENROUTER)
			put_openrouter(l, m);
		else
			put_openai(l->out, m);
	}
}

/* ---- lists ---- */

static void
put_name_or_null(struct bytes *out, const struct listing *l, size_t i)
{
	if (i < l->count)
		bytes_json(out, l->name[i].name);
	else
		bytes_puts(out, "null");
}

static void
put_all(const struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		bytes_puts(l->out, i == 0 ? "" : ",");
		put_model(l, &l->name[i]);
	}
}

int
listing_models(struct exchange *x, struct bytes *out)
{
	struct listing l = { .x = x, .out = out };
	char free_only[8];

	l.free_only = web_query_get(x->request, "free_only", free_only, sizeof free_only) > 0 &&
		      (strcmp(free_only, "true") == 0 || strcmp(free_only, "1") == 0);
	if (collect(&l) != 0) {
		release(&l);
		return err_set(&x->err, ERR_MEMORY, "no memory for a list of models");
	}
	switch (endpoint_dialect(&x->match)) {
	case DIALECT_ANTHROPIC:
		bytes_puts(out, "{\"data\":[");
		put_all(&l);
		bytes_puts(out, "],\"has_more\":false,\"first_id\":");
		put_name_or_null(out, &l, 0);
		bytes_puts(out, ",\"last_id\":");
		put_name_or_null(out, &l, l.count == 0 ? 0 : l.count - 1);
		bytes_puts(out, "}");
		break;
	case DIALECT_GEMINI:
		bytes_puts(out, "{\"models\":[");
		put_all(&l);
		bytes_puts(out, "]}");
		break;
	default:
		bytes_puts(out, "{\"object\":\"list\",\"data\":[");
		put_all(&l);
		bytes_puts(out, "]}");
	}
	release(&l);
	return out->failed ? err_set(&x->err, ERR_MEMORY, "no memory for a list of models") : 0;
}

int
listing_model(struct exchange *x, struct bytes *out)
{
	struct listing l = { .x = x, .out = out };
	char name[MODEL_BYTES];
	int rc = 0;

	if (web_decode(x->match.rest, name, sizeof name) < 0)
		name[0] = '\0';
	l.one = span_of(name[0] == '\0' ? "?" : name);
	if (collect(&l) != 0) {
		rc = err_set(&x->err, ERR_MEMORY, "no memory for a list of models");
	} else if (l.count == 0) {
		err_set(&x->err, ERR_NO_ROUTE, "model %s asked for", name);
		rc = err_say(
			&x->err, "There is no model '%s' here; GET /v1/models lists all.", name);
	} else {
		put_model(&l, &l.name[0]);
	}
	release(&l);
	return rc;
}

/* Names and what speaks there; never addresses or keys. */
void
listing_upstreams(const struct exchange *x, struct bytes *out)
{
	const struct snapshot *p = x->snapshot;

	bytes_puts(out, "{\"upstreams\":[");
	for (size_t i = 0; i < p->upstream_count; i++) {
		const struct provider *provider = provider_at(p->upstreams[i].protocol);

		bytes_puts(out, i == 0 ? "{\"name\":" : ",{\"name\":");
		bytes_json(out, span_of(p->upstreams[i].name));
		bytes_puts(out, ",\"provider\":");
		bytes_json(out, span_of(provider == NULL ? "" : provider->name));
		bytes_printf(
			out, ",\"is_default\":%s}", p->upstreams[i].is_default ? "true" : "false");
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

void
listing_token(const struct exchange *x, struct bytes *out)
{
	const struct limit *most = lowest(x, METRIC_COST, WINDOW_TOTAL);
	const struct token *t = &x->caller.token;

	bytes_puts(out, "{\"data\":{\"label\":");
	bytes_json(out, span_of(t->label[0] != '\0' ? t->label : t->masked));
	put_dollars(out, "usage", x->spent_nusd);
	if (most != NULL) {
		put_dollars(out, "limit", most->cap);
		put_dollars(out, "limit_remaining",
			most->cap > x->spent_nusd ? most->cap - x->spent_nusd : 0);
	} else {
		bytes_puts(out, ",\"limit\":null,\"limit_remaining\":null");
	}
	bytes_puts(out, ",\"is_free_tier\":false");
	put_rate_limit(x, out);
	bytes_puts(out, "}}");
}

/* ---- errors, where other gateways' clients look for them ---- */

static const char *
detail_name(const struct err *e)
{
	switch (e->code) {
	case ERR_UNKNOWN_UPSTREAM:
		return "upstream_not_found";
	case ERR_UPSTREAM_TIMEOUT:
		return "gateway_timeout";
	case ERR_UPSTREAM_UNREACHABLE:
	case ERR_UPSTREAM_CREDENTIALS:
		return "bad_gateway";
	case ERR_INTERNAL:
		return "internal_error";
	default:
		return err_name(e->code);
	}
}

static void
put_available(const struct snapshot *p, struct bytes *out)
{
	bytes_puts(out, ",\"available_upstreams\":[");
	for (size_t i = 0; p != NULL && i < p->upstream_count; i++) {
		bytes_puts(out, i == 0 ? "" : ",");
		bytes_json(out, span_of(p->upstreams[i].name));
	}
	bytes_puts(out, "]");
}

void
listing_add_detail(const struct endpoint_match *m, const struct snapshot *p, const struct err *e,
	struct bytes *out)
{
	enum endpoint_face face = m->endpoint == NULL ? FACE_PLAIN : m->endpoint->face;

	if (face == FACE_PLAIN || out->failed || out->len == 0 || out->at[out->len - 1] != '}')
		return;
	out->len--;
	bytes_puts(out, ",\"detail\":");
	if (face == FACE_OPENROUTER) {
		bytes_json(out, span_of(err_public(e)));
	} else {
		bytes_printf(out, "{\"error\":\"%s\",\"message\":", detail_name(e));
		bytes_json(out, span_of(err_public(e)));
		if (e->code == ERR_UNKNOWN_UPSTREAM)
			put_available(p, out);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "}");
}

/* ---- metrics ---- */

void
listing_key_gauges(struct gateway *gw, struct bytes *out)
{
	struct snapshot *p = gateway_snapshot_at_hand(gw);
	int64_t now_ms = board_now_ms(gw->board);
	size_t resting = 0, count = p == NULL ? 0 : p->key_count;

	for (size_t i = 0; i < count; i++) {
		const struct board_target *t = board_target_find(gw->board, p->keys[i].id);

		resting += t != NULL && t->rest_until_ms > now_ms;
	}
	snapshot_drop(p);
	bytes_printf(out,
		"# HELP kms_active_keys provider keys that may be asked\n"
		"# TYPE kms_active_keys gauge\nkms_active_keys %zu\n"
		"# HELP kms_cooldown_keys provider keys that rest\n"
		"# TYPE kms_cooldown_keys gauge\nkms_cooldown_keys %zu\n",
		count - resting, resting);
}
