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
#include "wire/request_rule.h"
#include "wire/session.h"
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
	struct session of_body;
	struct quote_size size;
	struct admit_ask ask;
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
	session_find(&source, &q->of_body);
	if (q->session[0] == '\0')
		q->session = q->of_body.id;
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

/* What the body is to that candidate: 0 with what conversion leaves out of it, or -1 with *err. */
static int
convert_for(
	struct quoting *q, const struct route_candidate *c, struct losses *lost, struct err *err)
{
	const struct provider *p = provider_at(c->upstream->protocol);
	struct arena *a = arena_new(CONVERT_ARENA);
	struct bytes body = BYTES_LIMIT(CONVERT_REQUEST_MAX);
	struct request_made made = { .body = &body };
	struct convert_request r = { .from = q->format,
		.source = source_of(q),
		.target = { .model = arena_strndup(q->call->arena, c->model.at, c->model.len),
			.default_max_output = c->upstream->max_output_tokens,
			.thinking = thinking_of(c->upstream) },
		.strict = c->upstream->strict };
	int rc = 0;

	memset(lost, 0, sizeof *lost);
	r.to = p == NULL || !p->is_model ? r.from : provider_format(p, r.from);
	if (a != NULL && r.target.model != NULL && r.to != r.from)
		rc = convert_request(a, &r, &made, lost, err);
	bytes_free(&body);
	arena_free(a);
	return rc;
}

static const char *
lost_for(void *ctx, const struct route_candidate *c)
{
	struct quoting *q = ctx;
	struct losses lost;
	struct err err = { 0 };
	char text[LOST_BYTES] = "";

	if (convert_for(q, c, &lost, &err) != 0)
		(void)span_copy(span_of(err_public(&err)), text, sizeof text);
	else if (lost.count > 0)
		losses_text(&lost, text, sizeof text);
	return arena_strdup(q->call->arena, text);
}

static bool
has_conversation(const struct quoting *q)
{
	return q->body.at != NULL && q->format != NULL;
}

static struct span
no_header(const void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	return SPAN_NONE;
}

/* What headers would have to say cannot be told of a request that is only described; nor may an
 * address be judged that is not given. */
static int
check_allowed(struct quoting *q)
{
	struct admit_request r = { .method = "POST",
		.path = span_of(q->endpoint),
		.model = span_of(q->read.model),
		.body = q->body,
		.address = q->address,
		.header = no_header };

	if (!q->has_token && !q->has_project)
		return 0;
	q->caller.project.allowed_origins[0] = q->caller.token.allowed_origins[0] = '\0';
	q->caller.token.required_headers[0] = '\0';
	if (q->address[0] == '\0')
		q->caller.project.allowed_networks[0] = q->caller.token.allowed_networks[0] = '\0';
	if (q->body.at == NULL)
		q->caller.token.allowed_params[0] = '\0';
	return admit_allow_request(&q->caller, &r, clock_wall_ms(), &q->quote.err);
}

static struct quote_size
size_of(const struct quoting *q)
{
	return (struct quote_size){ .model = q->read.model,
		.input_tokens = q->read.input_estimate,
		.max_output = q->read.max_output,
		.choices = q->read.choices,
		.makes_output = q->read.model[0] != '\0' &&
				strcmp(q->endpoint, "/v1/embeddings") != 0 &&
				strcmp(q->endpoint, "/v1/moderations") != 0,
		.makes_images = span_starts(span_of(q->endpoint), "/v1/images/") };
}

static int
plan(struct quoting *q, const struct route_table *table)
{
	const struct conf *conf = q->call->m->conf;
	struct quote *out = &q->quote;
	struct quote_costs costs = { out->snapshot, &q->size, conf->default_max_output_tokens };
	struct route_ask ask = { .model = span_of(q->read.model),
		.upstream = span_of(q->upstream),
		.project = q->caller.project.head.id,
		.dialect = q->dialect,
		.is_conversation = q->format != NULL,
		.session = span_of(q->session),
		.prompt_hash = q->of_body.prompt_hash,
		.input_tokens = q->read.input_estimate,
		.cost = quote_route_cost,
		.ctx = &costs,
		.is_quote = true };
	int rc = route_plan(table, &ask, &q->plan, &out->err);

	out->line = quote_line(&q->plan, conf);
	if (rc == 0 || !quote_may_wait(out->board, &q->plan, &out->line, &out->err))
		return rc;
	out->nobody = true;
	memset(&out->err, 0, sizeof out->err);
	return 0;
}

/* What the route changes of the body counts, as it does in the gateway. */
static int
apply_rules(struct quoting *q)
{
	const struct route *r = q->plan.route;
	uint32_t changed;

	if (r == NULL || r->request_rules[0] == '\0' || q->body.at == NULL)
		return 0;
	if (request_rules_apply(q->call->arena, r->request_rules, q->format, &q->body, &changed,
		    &q->quote.err) != 0)
		return -1;
	if (changed == 0 || q->format == NULL)
		return 0;
	q->has_most = q->has_input = false; /* the body says it now */
	if (read_body(q) != 0)
		return -1;
	q->size = size_of(q);
	return 0;
}

/* Those that cannot express the request make room for those that can. */
static int
find_first(struct quoting *q)
{
	struct route_record *r = &q->plan.record;
	struct quote *out = &q->quote;
	struct losses lost;

	while (has_conversation(q)) {
		const struct route_candidate *c = &q->plan.candidate[out->first];
		struct err err = { 0 };

		if (convert_for(q, c, &lost, &err) == 0)
			break;
		if (out->err.code == ERR_NONE)
			out->err = err;
		if (err.code != ERR_UNSUPPORTED)
			return -1;
		if (c->member < r->member_count)
			r->member[c->member].reason = REASON_UNSUPPORTED;
		out->first = route_next(&q->plan, out->first, FAILURE_TRANSIENT, false, false);
		if (out->first == q->plan.count)
			return -1;
	}
	memset(&out->err, 0, sizeof out->err);
	return 0;
}

static int
decide(struct quoting *q, const struct route_table *table)
{
	struct quote *out = &q->quote;
	struct admit_need *need = &q->ask.need;

	if (check_allowed(q) != 0 || plan(q, table) != 0 || apply_rules(q) != 0 ||
		find_first(q) != 0 ||
		quote_output(&q->size, q->plan.candidate[out->first].upstream,
			q->call->m->conf->default_max_output_tokens, &need->output_tokens,
			&out->err) != 0)
		return -1;
	need->input_tokens = q->size.input_tokens;
	quote_prices(out->snapshot, &q->plan, q->price);
	if (q->caller.project.refuse_unpriced && q->read.model[0] != '\0' &&
		quote_drop_unpriced(&q->plan, q->price, &out->first, q->read.model,
			need->input_tokens, need->output_tokens, &out->err) != 0)
		return -1;
	out->price = q->price;
	quote_need(out->store, out->snapshot, q->caller.token.head.id, &q->plan, q->price, &q->size,
		need);
	return quote_limits(out);
}

static int
reply(struct quoting *q, struct snapshot *snapshot)
{
	struct call *c = q->call;
	struct route_table *table = route_table_new(c->m->board, snapshot, &c->err);
	int rc;

	if (table == NULL)
		return -1;
	q->size = size_of(q);
	q->ask = (struct admit_ask){ .caller = &q->caller,
		.need = { .model = q->read.model, .input_tokens = q->read.input_estimate },
		.end_user = q->end_user,
		.address = q->address };
	for (int i = 0; i < USAGE_TAGS_MAX; i++)
		q->ask.tag[i] = q->tag[i] == NULL ? "" : q->tag[i];
	q->quote = (struct quote){ .store = c->m->store,
		.board = c->m->board,
		.snapshot = snapshot,
		.ask = &q->ask,
		.size = &q->size,
		.plan = &q->plan,
		.lost = has_conversation(q) ? lost_for : NULL,
		.arena = c->arena,
		.ctx = q };
	if (decide(q, table) != 0 && q->quote.price == NULL)
		q->plan.count = 0;
	rc = c->err.code != ERR_NONE                    ? -1
	     : quote_put(&q->quote, &c->out->body) == 0 ? 0
							: call_no_memory(c);
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
