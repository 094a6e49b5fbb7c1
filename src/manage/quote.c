/*
 * quote.c - POST /manage/routes/quote: what would become of a request that is only described.
 *
 * The decision, the limits and the answer are quote/'s, as they are for the gateway's dry run; here
 * a caller and a request are put together from what the body says.
 */
#include "admit/allow.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "manage/manage-int.h"
#include "quote/quote.h"
#include "wire/convert.h"
#include "wire/provider.h"
#include "wire/skim.h"

#include <string.h>

#define ENDPOINT_USUAL "/v1/chat/completions"
#define CONVERT_ARENA  (32L << 20)
#define LOST_BYTES     512

struct quoting {
	struct call *call;
	struct admit_caller caller;
	struct openai_request read; /* what the body says */
	bool has_token, has_project, has_model, has_input, has_most;
	const char *endpoint, *upstream, *session, *end_user, *address;
	const char *tag[USAGE_TAGS_MAX];
	int tags;
	struct span body; /* SPAN_NONE: none */
	const struct format *format;
	enum dialect dialect;
	struct route_plan plan;
	struct price_list price[ROUTE_ATTEMPTS_MAX];
	struct quote quote;
};

/* ---- what is asked ---- */

/* The paths of conversations; others are passed on, and read as OpenAI's. */
static const struct {
	const char *pattern, *format;
	enum dialect dialect;
} paths[] = {
	{ "/v1/chat/completions", "openai-chat", DIALECT_OPENAI },
	{ "/v1/responses", "openai-responses", DIALECT_OPENAI },
	{ "/v1/messages", "anthropic", DIALECT_ANTHROPIC },
	{ "/v1beta/models/*", "gemini", DIALECT_GEMINI },
	{ "/model/*/converse*", "converse", DIALECT_BEDROCK },
	{ "/model/*", "bedrock-invoke", DIALECT_BEDROCK },
};

static void
find_format(struct quoting *q)
{
	q->dialect = DIALECT_OPENAI;
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (glob_match(paths[i].pattern, span_of(q->endpoint))) {
			q->format = format_named(paths[i].format);
			q->dialect = paths[i].dialect;
			return;
		}
}

static bool
take_tag(void *ctx, const struct json_member *m)
{
	struct quoting *q = ctx;
	const char *tag = call_string(q->call, "tags", m->value, LABEL_BYTES - 1);

	if (tag == NULL)
		return false;
	if (q->tags == USAGE_TAGS_MAX) {
		call_refuse(q->call, ERR_BAD_REQUEST, "tags", "A request has at most %d tags.",
			USAGE_TAGS_MAX);
		return false;
	}
	q->tag[q->tags++] = tag;
	return true;
}

static bool
take_number(struct quoting *q, const char *name, struct json_value v, int64_t *to, bool *has)
{
	*has = true;
	if (json_int(v, to) == 0 && *to >= 0)
		return true;
	call_refuse(q->call, ERR_BAD_REQUEST, name,
		"%s must be a whole number that is not negative.", name);
	return false;
}

static bool
take_caller(struct quoting *q, const char *name, struct json_value v)
{
	bool token = name[0] == 't';
	const char *text = call_string(q->call, name, v, NAME_BYTES * 2 - 1);

	if (text == NULL)
		return false;
	if (token)
		q->has_token = true;
	else
		q->has_project = true;
	return resource_find(q->call, token ? RECORD_TOKEN : RECORD_PROJECT, text,
		       token ? (void *)&q->caller.token : (void *)&q->caller.project) == 0;
}

static bool
take_text(struct quoting *q, const char *name, struct json_value v)
{
	static const struct {
		const char *name;
		size_t at, longest;
	} texts[] = {
		{ "endpoint", offsetof(struct quoting, endpoint), 63 },
		{ "upstream", offsetof(struct quoting, upstream), NAME_BYTES - 1 },
		{ "session", offsetof(struct quoting, session), 63 },
		{ "end_user", offsetof(struct quoting, end_user), USER_BYTES - 1 },
		{ "address", offsetof(struct quoting, address), 47 },
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const char *text;

		if (strcmp(name, texts[i].name) != 0)
			continue;
		if ((text = call_string(q->call, name, v, texts[i].longest)) == NULL)
			return false;
		memcpy((char *)q + texts[i].at, &text, sizeof text);
		return true;
	}
	call_refuse(q->call, ERR_BAD_REQUEST, name, "%s is not known here.", name);
	return false;
}

static bool
take_member(void *ctx, const char *name, struct json_value v)
{
	struct quoting *q = ctx;
	const char *model;

	if (v.type == JSON_NULL)
		return true;
	if (strcmp(name, "project") == 0 || strcmp(name, "token") == 0)
		return take_caller(q, name, v);
	if (strcmp(name, "model") == 0) {
		model = call_string(q->call, name, v, sizeof q->read.model - 1);
		q->has_model = model != NULL;
		return model != NULL &&
		       span_copy(span_of(model), q->read.model, sizeof q->read.model);
	}
	if (strcmp(name, "input_tokens") == 0)
		return take_number(q, name, v, &q->read.input_estimate, &q->has_input);
	if (strcmp(name, "max_tokens") == 0)
		return take_number(q, name, v, &q->read.max_output, &q->has_most);
	if (strcmp(name, "tags") == 0)
		return json_each_element(v.raw, take_tag, q, NULL) == 0 &&
		       q->call->err.code == ERR_NONE;
	if (strcmp(name, "body") != 0)
		return take_text(q, name, v);
	if (v.type != JSON_OBJECT) {
		call_refuse(q->call, ERR_BAD_REQUEST, name, "body is a request's, an object.");
		return false;
	}
	q->body = v.raw;
	return true;
}

static struct request_source
source_of(const struct quoting *q)
{
	return (struct request_source){ .body = q->body,
		.path_model = q->dialect == DIALECT_GEMINI || q->dialect == DIALECT_BEDROCK
				      ? span_of(q->read.model)
				      : SPAN_NONE };
}

/* What a body says goes where the call itself says nothing of it. */
static int
read_body(struct quoting *q)
{
	struct openai_request given = q->read;
	struct request_source source = source_of(q);

	if (q->body.at == NULL || q->format == NULL)
		return 0;
	if (skim_request(q->format, &source, q->endpoint, &q->read, &q->call->err) != 0)
		return -1;
	if (q->has_model)
		memcpy(q->read.model, given.model, sizeof given.model);
	if (q->has_input)
		q->read.input_estimate = given.input_estimate;
	if (q->has_most)
		q->read.max_output = given.max_output;
	if (q->end_user[0] == '\0' && q->read.end_user[0] != '\0')
		q->end_user = arena_strdup(q->call->arena, q->read.end_user);
	return q->end_user == NULL ? call_no_memory(q->call) : 0;
}

static int
read_ask(struct quoting *q)
{
	struct call *c = q->call;

	q->endpoint = ENDPOINT_USUAL;
	q->upstream = q->session = q->end_user = q->address = "";
	q->read.max_output = -1;
	q->read.choices = 1;
	record_init(RECORD_TOKEN, &q->caller.token);
	record_init(RECORD_PROJECT, &q->caller.project);
	if (call_body(c, take_member, q) != 0)
		return -1;
	if (q->has_token && store_get(c->m->store, RECORD_PROJECT, q->caller.token.project,
				    &q->caller.project, &c->err) < 0)
		return -1;
	find_format(q);
	return read_body(q);
}

/* ---- what would become of it ---- */

static enum thinking
thinking_of(const struct upstream *u)
{
	return u->thinking == UPSTREAM_THINKING_BUDGET     ? THINKING_BUDGET
	       : u->thinking == UPSTREAM_THINKING_ADAPTIVE ? THINKING_ADAPTIVE
							   : THINKING_UNKNOWN;
}

static const char *
lost_for(void *ctx, const struct route_candidate *c)
{
	struct quoting *q = ctx;
	const struct provider *p = provider_at(c->upstream->protocol);
	struct arena *a = arena_new(CONVERT_ARENA);
	struct bytes body = BYTES_LIMIT(CONVERT_REQUEST_MAX);
	struct request_made made = { .body = &body };
	struct losses lost = { 0 };
	struct err err = { 0 };
	char text[LOST_BYTES] = "";
	struct convert_request r = { .from = q->format,
		.source = source_of(q),
		.target = { .model = arena_strndup(q->call->arena, c->model.at, c->model.len),
			.default_max_output = c->upstream->max_output_tokens,
			.thinking = thinking_of(c->upstream) },
		.strict = c->upstream->strict };

	r.to = p == NULL || !p->is_model ? r.from : provider_format(p, r.from);
	if (a != NULL && r.target.model != NULL && r.to != r.from) {
		if (convert_request(a, &r, &made, &lost, &err) != 0)
			(void)span_copy(span_of(err_public(&err)), text, sizeof text);
		else if (lost.count > 0)
			losses_text(&lost, text, sizeof text);
	}
	bytes_free(&body);
	arena_free(a);
	return arena_strdup(q->call->arena, text);
}

static int
decide(struct quoting *q, const struct route_table *table, const struct quote_size *size,
	struct admit_ask *ask)
{
	struct quote *out = &q->quote;
	int64_t most = q->call->m->conf->default_max_output_tokens;
	struct quote_costs costs = { out->snapshot, size, most };
	struct route_ask route = { .model = span_of(q->read.model),
		.upstream = span_of(q->upstream),
		.project = q->caller.project.head.id,
		.dialect = q->dialect,
		.is_conversation = q->format != NULL,
		.session = span_of(q->session),
		.input_tokens = q->read.input_estimate,
		.cost = quote_route_cost,
		.ctx = &costs,
		.is_quote = true };
	struct admit_need *need = &ask->need;

	if ((q->has_token || q->has_project) &&
		admit_allow(&q->caller, route.model, clock_wall_ms(), &out->err) != 0)
		return -1;
	if (route_plan(table, &route, &q->plan, &out->err) != 0 ||
		quote_output(size, q->plan.candidate[0].upstream, most, &need->output_tokens,
			&out->err) != 0)
		return -1;
	quote_prices(out->snapshot, &q->plan, q->price);
	out->price = q->price;
	quote_need(
		out->store, out->snapshot, q->caller.token.head.id, &q->plan, q->price, size, need);
	if (q->caller.project.refuse_unpriced && need->cost_nusd == COST_UNKNOWN)
		return quote_refuse_unpriced(q->read.model, &out->err);
	return quote_limits(out);
}

static int
reply(struct quoting *q, struct snapshot *snapshot)
{
	struct call *c = q->call;
	struct admit_ask ask = { .caller = &q->caller,
		.need = { .model = q->read.model, .input_tokens = q->read.input_estimate },
		.end_user = q->end_user,
		.address = q->address };
	struct quote_size size = { .model = q->read.model,
		.input_tokens = q->read.input_estimate,
		.max_output = q->read.max_output,
		.choices = q->read.choices,
		.makes_output = q->read.model[0] != '\0' &&
				strcmp(q->endpoint, "/v1/embeddings") != 0 &&
				strcmp(q->endpoint, "/v1/moderations") != 0,
		.makes_images = span_starts(span_of(q->endpoint), "/v1/images/") };
	struct route_table *table = route_table_new(c->m->board, snapshot, &c->err);
	int rc;

	if (table == NULL)
		return -1;
	for (int i = 0; i < USAGE_TAGS_MAX; i++)
		ask.tag[i] = q->tag[i] == NULL ? "" : q->tag[i];
	q->quote = (struct quote){ .store = c->m->store,
		.board = c->m->board,
		.snapshot = snapshot,
		.ask = &ask,
		.size = &size,
		.plan = &q->plan,
		.lost = q->body.at != NULL && q->format != NULL ? lost_for : NULL,
		.ctx = q };
	if (decide(q, table, &size, &ask) != 0 && q->quote.price == NULL)
		q->plan.count = 0;
	rc = quote_put(&q->quote, &c->out->body) == 0 ? 0 : call_no_memory(c);
	route_table_free(table);
	c->out->status = 200;
	return rc;
}

int
routes_quote(struct call *c)
{
	struct quoting *q = arena_alloc(c->arena, sizeof *q);
	struct snapshot *snapshot;
	int rc;

	if (q == NULL)
		return call_no_memory(c);
	memset(q, 0, sizeof *q);
	q->call = c;
	if (read_ask(q) != 0)
		return -1;
	if ((snapshot = snapshot_load(c->m->store, 0, &c->err)) == NULL)
		return -1;
	rc = reply(q, snapshot);
	snapshot_drop(snapshot);
	return rc;
}
