/*
 * translate.c - a request as the candidate's provider wants it: the client's bytes where both speak
 * the same format, else converted.
 *
 * Admission does it for the first candidate, on an intake thread.  For those that follow what was made
 * serves as it is where their provider is of the same kind; else a short body is converted on the loop, and
 * on candidate.c's thread one that is long, or that signatures are sought for.
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"

#include <string.h>
#include <strings.h>

#define CONVERT_ARENA_BYTES (96L << 20) /* of the neutral form of the largest body */
#define LOOP_BYTES          (64 * 1024) /* of a body that the loop converts itself */

_Static_assert(PROTOCOL__COUNT == 14, "wire/provider.c has a row for each, in this order");

const struct provider *
translate_provider(const struct upstream *u)
{
	const struct provider *p = provider_at(u->protocol);

	return p == NULL ? provider_at(PROTOCOL_HTTP) : p; /* of a newer version: as it is */
}

static struct span
header_of(const void *request, const char *name)
{
	return web_header(request, name);
}

static enum thinking
thinking_of(const struct upstream *u)
{
	switch ((enum upstream_thinking)u->thinking) {
	case UPSTREAM_THINKING_BUDGET:
		return THINKING_BUDGET;
	case UPSTREAM_THINKING_ADAPTIVE:
		return THINKING_ADAPTIVE;
	default:
		return THINKING_UNKNOWN;
	}
}

struct request_source
translate_source(const struct exchange *x)
{
	return (struct request_source){ .body = x->body,
		.path_model = x->match.model.at == NULL ? SPAN_NONE : span_of(x->path_model),
		.path_stream = x->match.stream,
		.header = header_of,
		.ctx = x->request };
}

static void
free_arena(void *arena)
{
	arena_free(arena);
}

static void
free_body(void *body)
{
	bytes_free(body);
}

static int
no_memory(struct exchange *x)
{
	return err_set(&x->err, ERR_MEMORY, "no memory to convert a request");
}

struct preparing {
	struct exchange *x;
	const struct upstream *upstream;
};

/* What is changed of a request between reading and writing. */
static int
prepare(void *preparing, struct neutral_request *n, struct err *err)
{
	struct preparing *p = preparing;

	if (p->x->is_dry) /* nothing is fetched for it */
		return 0;
	if (signed_is_sought(p->x, p->x->out.format) && signed_restore(p->x, n, err) != 0)
		return -1;
	return media_fill(p->x, p->upstream, p->x->out.format, n, err);
}

static bool
switched(int32_t by_route, bool by_upstream)
{
	return by_route == SWITCH_INHERIT ? by_upstream : by_route == SWITCH_YES;
}

static bool
is_strict(const struct exchange *x, const struct upstream *u)
{
	const struct route *r = x->plan.route;

	return switched(r == NULL ? SWITCH_INHERIT : r->strict, u->strict);
}

bool
translate_fetches(const struct exchange *x, const struct upstream *u)
{
	const struct route *r = x->plan.route;

	return switched(r == NULL ? SWITCH_INHERIT : r->fetch_media, u->fetch_media);
}

static int
convert(struct exchange *x, const struct upstream *u)
{
	struct outgoing *out = &x->out;
	struct arena *a = arena_new(CONVERT_ARENA_BYTES);
	struct bytes *body = arena_alloc(x->arena, sizeof *body);
	struct convert_request q = { .from = x->match.format,
		.to = out->format,
		.source = translate_source(x),
		.target = { .model = out->model,
			.default_max_output = u->max_output_tokens,
			.thinking = thinking_of(u) },
		.strict = is_strict(x, u),
		.between = prepare,
		.ctx = &(struct preparing){ x, u } };

	/* header lines and tools' names of what is made live as long as the exchange */
	if (a == NULL || arena_defer(x->arena, free_arena, a) != 0 || body == NULL)
		return no_memory(x);
	*body = BYTES_LIMIT(CONVERT_REQUEST_MAX);
	if (arena_defer(x->arena, free_body, body) != 0)
		return no_memory(x);
	out->made.body = body;
	if (format_kin(q.from, q.to) && !x->is_dry &&
		media_splice(x, u, out->format, a, &q.source.body, &x->err) != 0)
		return -1;
	if (convert_request(a, &q, &out->made, &out->lost, &x->err) != 0)
		return -1;
	out->body = bytes_span(body);
	return 0;
}

/* Azure's clients say in the path what other providers, and newer versions of Azure, read in the body. */
static bool
is_named_in_body(const struct exchange *x)
{
	const struct outgoing *out = &x->out;

	if (out->format != NULL)
		return provider_model_in_body(out->provider, out->format);
	return x->match.endpoint->shape == SHAPE_AZURE && out->provider->is_model;
}

/* Where the body itself says which model it is for. */
static bool
holds_model(const struct exchange *x)
{
	struct span v = x->ask.model_value.raw;

	return x->ask.model_value.type == JSON_STRING && v.at >= x->body.at &&
	       v.at + v.len <= x->body.at + x->body.len;
}

/* A form, which names the model in one of its parts. */
static int
pass_form(struct exchange *x)
{
	struct span type = web_header(x->request, "content-type");
	const char *text = arena_strndup(x->arena, type.at, type.len);

	if (text == NULL || strncasecmp(text, "multipart/form-data", 19) != 0)
		return 0;
	x->out.body = openai_rewrite_multipart(x->arena, x->body, text, x->out.model);
	return x->out.body.at == NULL ? no_memory(x) : 0;
}

static int
pass_on(struct exchange *x)
{
	struct outgoing *out = &x->out;
	bool openai = (out->format != NULL ? out->format->dialect : endpoint_dialect(&x->match)) ==
		      DIALECT_OPENAI;
	bool other = strcmp(out->model, x->ask.model) != 0;

	out->body = x->body;
	if (!x->is_json)
		return other && openai ? pass_form(x) : 0;
	if (!openai && !(other && holds_model(x)))
		return 0;
	out->body = openai_rewrite(x->arena, x->body, &x->ask, x->plain_path,
		is_named_in_body(x) || (other && holds_model(x)) ? out->model : NULL);
	return out->body.at == NULL && x->body.len > 0 ? no_memory(x) : 0;
}

/* Does what was made for one serve the other too? */
static bool
is_alike(const struct upstream *a, const struct upstream *b)
{
	return a == b || (a->protocol == b->protocol && a->thinking == b->thinking &&
				 a->strict == b->strict && a->fetch_media == b->fetch_media &&
				 a->max_output_tokens == b->max_output_tokens);
}

/* Does what there is serve the candidate at hand? */
static bool
is_made(const struct exchange *x)
{
	const struct route_candidate *c = walk_candidate(x);

	return x->out.upstream != NULL && is_alike(x->out.upstream, c->upstream) &&
	       span_is(c->model, x->out.model);
}

/* The one that its provider is asked in; NULL: no conversation. */
static const struct format *
format_for(const struct exchange *x, const struct upstream *u)
{
	const struct provider *p = translate_provider(u);

	return x->match.format != NULL && p->is_model ? provider_format(p, x->match.format) : NULL;
}

bool
translate_may_block(const struct exchange *x)
{
	const struct upstream *u = walk_candidate(x)->upstream;

	if (is_made(x))
		return false;
	return x->body.len > LOOP_BYTES || signed_is_sought(x, format_for(x, u)) ||
	       media_may_fetch(x, u, format_for(x, u));
}

int
translate_request(struct exchange *x)
{
	const struct route_candidate *c = walk_candidate(x);
	struct outgoing *out = &x->out;
	int rc;

	if (is_made(x))
		return 0;
	*out = (struct outgoing){ .provider = translate_provider(c->upstream),
		.model = span_is(c->model, x->ask.model)
				 ? x->ask.model
				 : arena_strndup(x->arena, c->model.at, c->model.len) };
	if (out->model == NULL) {
		out->model = "";
		return no_memory(x);
	}
	out->format = format_for(x, c->upstream);
	out->converted = out->format != NULL && out->format != x->match.format;
	rc = out->converted ? convert(x, c->upstream) : pass_on(x);
	if (rc == 0)
		out->upstream = c->upstream;
	return rc;
}

int
translate_first(struct exchange *x)
{
	struct err first = { 0 };

	/* one that cannot express the request makes room for those that can */
	while (translate_request(x) != 0) {
		if (x->err.code != ERR_UNSUPPORTED)
			return -1;
		if (first.code == ERR_NONE)
			first = x->err;
		decision_skip(x, x->candidate, REASON_UNSUPPORTED);
		walk_pass_over(x);
		if (x->candidate == x->plan.count) {
			x->err = first;
			return -1;
		}
	}
	memset(&x->err, 0, sizeof x->err);
	return 0;
}

/* ---- answers ---- */

struct reply_options
translate_reply_options(const struct exchange *x)
{
	return (struct reply_options){ .model = x->ask.model,
		.include_usage = x->ask.wants_usage,
		.now_s = x->row.time_ms / 1000,
		.array = translate_to_array(x),
		.renamed = x->out.converted ? &x->out.made.renamed : NULL };
}

bool
translate_to_array(const struct exchange *x)
{
	char alt[8];

	return x->match.format == format_of(FORMAT_GEMINI) && x->ask.stream &&
	       !(web_query_get(x->request, "alt", alt, sizeof alt) > 0 && strcmp(alt, "sse") == 0);
}

int
translate_reply(struct exchange *x)
{
	struct arena *a = arena_new(CONVERT_ARENA_BYTES);
	struct bytes made = BYTES_LIMIT(CONVERT_REPLY_MAX);
	struct reply_options o = translate_reply_options(x);
	int rc;

	if (a == NULL)
		return err_set(&x->err, ERR_MEMORY, "no memory to convert an answer");
	signed_begin(x);
	o.see = x->signatures == NULL ? NULL : signed_see_reply;
	o.ctx = x;
	rc = convert_reply(a, x->out.format, x->match.format, bytes_span(&x->answer), &o,
		&x->reply_usage, &made, &x->err);
	arena_free(a);
	if (rc != 0) {
		bytes_free(&made);
		return -1;
	}
	bytes_free(&x->answer);
	x->answer = made;
	(void)span_copy(span_of("application/json"), x->content_type, sizeof x->content_type);
	return 0;
}
