/*
 * admission.c - ADMIT: who asks, for what, may they, whom could we ask, what could it cost; then
 * everything is reserved in one step.  On an intake thread.
 *
 * It can be run again from the start for the same exchange: what an abandoned thread computed is
 * computed anew, and nothing of the store is called once the reservation stands.
 */
#include "gateway/gateway-int.h"

#include "admit/allow.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/money.h"
#include "gateway/tags.h"
#include "wire/request_rule.h"
#include "wire/weigh.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static bool
is_ours(struct span type, const char *name)
{
	size_t len = strlen(name);

	return type.len >= len && span_is_nocase((struct span){ type.at, len }, name) &&
	       (type.len == len || type.at[len] == ';' || type.at[len] == ' ');
}

static void
collect_secrets(struct exchange *x, struct admit_secrets *s)
{
	static const char *const headers[] = { "authorization", "x-api-key", "api-key",
		"x-goog-api-key" };
	char key[ADMIT_SECRET_BYTES];
	ptrdiff_t len;

	s->count = 0;
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
		admit_add_secret(s, web_header(x->request, headers[i]));
	len = web_query_get(x->request, "key", key, sizeof key);
	if (len > 0)
		admit_add_secret(s, (struct span){ key, (size_t)len });
}

struct mapping {
	void *at;
	size_t len;
};

static void
unmap(void *object)
{
	struct mapping *m = object;

	munmap(m->at, m->len);
}

/* The body as bytes, a spooled one too: an upload's model is a field somewhere in it. */
static int
body_span(struct exchange *x, struct span *body)
{
	int fd = web_body_fd(x->request);
	struct mapping *m;

	*body = web_body(x->request);
	if (fd < 0 || web_body_bytes(x->request) == 0)
		return 0;
	if ((m = arena_alloc(x->arena, sizeof *m)) == NULL)
		return err_set(&x->err, ERR_MEMORY, "no memory to look into a body");
	m->len = (size_t)web_body_bytes(x->request);
	m->at = mmap(NULL, m->len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (m->at == MAP_FAILED)
		return err_set(&x->err, ERR_MEMORY, "a spooled body cannot be mapped");
	*body = (struct span){ m->at, m->len };
	if (arena_defer(x->arena, unmap, m) != 0)
		return err_set(&x->err, ERR_MEMORY, "no memory to look into a body");
	return 0;
}

/* A conversation, in whatever format. */
static int
read_conversation(struct exchange *x)
{
	struct request_source source = translate_source(x);
	const struct format *f = x->match.format;

	x->is_json = true;
	if (x->match.kind == ENDPOINT_COUNT)
		source.body = skim_counted(x->arena, &f, x->body);
	return skim_request(f, &source, x->plain_path, &x->ask, &x->err);
}

/* Other paths of OpenAI's, and others' that name a model in the path. */
static int
read_other(struct exchange *x, struct span type)
{
	const char *endpoint = x->plain_path;
	struct span path_model = x->match.model.at == NULL ? SPAN_NONE : span_of(x->path_model);

	x->is_json = (type.len == 0 || is_ours(type, "application/json")) &&
		     (x->body.len > 0 || openai_needs_model(endpoint));
	if (x->is_json && openai_skim_named(x->body, endpoint, path_model, &x->ask, &x->err) != 0) {
		if (openai_needs_model(endpoint))
			return -1;
		x->is_json = false; /* other paths' bodies are not ours to judge */
		memset(&x->err, 0, sizeof x->err);
	}
	if (!x->is_json && is_ours(type, "multipart/form-data")) {
		char type_text[256];

		span_copy(type, type_text, sizeof type_text);
		if (openai_skim_multipart(
			    x->body, type_text, x->ask.model, sizeof x->ask.model, &x->err) < 0)
			return -1;
	}
	if (x->match.model.at == NULL)
		return 0;
	span_copy(span_of(x->path_model), x->ask.model, sizeof x->ask.model);
	if (x->is_json && endpoint_dialect(&x->match) != DIALECT_OPENAI) {
		struct weight w = { 0 };

		weigh(x->body, &w);
		x->ask.input_estimate = weight_tokens(&w);
	}
	return 0;
}

/* A spooled body is an upload and no conversation. */
static void
find_session(struct exchange *x)
{
	struct request_source s = translate_source(x);

	if (web_body_fd(x->request) >= 0)
		s.body = SPAN_NONE;
	session_find(&s, &x->session);
}

static void
clear_ask(struct exchange *x)
{
	memset(&x->ask, 0, sizeof x->ask);
	x->ask.max_output = -1;
	x->ask.choices = 1;
}

/* What the request asks for, as far as sluice needs to know. */
static int
read_ask(struct exchange *x)
{
	struct span type = web_header(x->request, "content-type");

	clear_ask(x);
	x->path_model[0] = '\0';
	if (x->match.model.at != NULL &&
		web_decode(x->match.model, x->path_model, sizeof x->path_model) <= 0) {
		err_set(&x->err, ERR_BAD_REQUEST, "the path names no model");
		return err_say(&x->err, "The path must name a model of 1 to 127 bytes.");
	}
	if (body_span(x, &x->body) != 0)
		return -1;
	find_session(x);
	return x->match.format != NULL ? read_conversation(x) : read_other(x, type);
}

/* The path as rows know it: without the model, which has a place of its own. */
static void
name_endpoint(const struct exchange *x, struct usage_row *row)
{
	const struct endpoint *e = x->match.endpoint;
	char text[sizeof row->endpoint];
	int n = 0;

	switch (e->shape) {
	case SHAPE_PLAIN:
	case SHAPE_PLACES:
		span_copy(x->match.path, row->endpoint, sizeof row->endpoint);
		return;
	case SHAPE_GEMINI:
		n = snprintf(text, sizeof text, "/v1beta/models/{model}:%.*s",
			(int)x->match.action.len, x->match.action.at);
		break;
	case SHAPE_BEDROCK:
		n = snprintf(text, sizeof text, "/model/{model}/%.*s", (int)x->match.action.len,
			x->match.action.at);
		break;
	case SHAPE_AZURE:
		n = snprintf(text, sizeof text, "/openai/deployments/{model}/%.*s",
			(int)x->match.action.len, x->match.action.at);
		break;
	}
	span_copy(n < 0 ? SPAN_NONE : span_of(text), row->endpoint, sizeof row->endpoint);
}

/* A header that the operator's own programs set is believed before the body. */
static void
name_end_user(const struct exchange *x, struct usage_row *row)
{
	const char *header = x->gw->conf.end_user_header;
	struct span name = header[0] == '\0' ? SPAN_NONE : web_header(x->request, header);

	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.at[i] < ' ' || name.at[i] == 0x7F)
			return;
	if (name.len > 0)
		span_copy(name, row->end_user, sizeof row->end_user);
}

static void
begin_row(struct exchange *x)
{
	struct usage_row *row = &x->row;
	const char *address = web_address(x->request);

	memset(row, 0, sizeof *row);
	row->exchange = x->id;
	row->time_ms = id_time_ms(x->id);
	row->project = x->caller.project.head.id;
	row->token = x->caller.token.head.id;
	row->stream = x->ask.stream;
	span_copy(span_of(x->ask.model), row->model, sizeof row->model);
	span_copy(span_of(x->ask.model), row->upstream_model, sizeof row->upstream_model);
	name_endpoint(x, row);
	span_copy(span_of(x->ask.end_user), row->end_user, sizeof row->end_user);
	name_end_user(x, row);
	row->address = limit_address_hash(address);
	span_copy(span_of(x->session.id), row->session, sizeof row->session);
}

static void
find_prices(struct exchange *x)
{
	quote_prices(x->snapshot, &x->plan, x->price);
}

/* Where the project refuses what has no price, those are not asked; with nobody left it is refused. */
static int
drop_unpriced(struct exchange *x, int64_t input, int64_t output)
{
	if (!x->caller.project.refuse_unpriced || x->ask.model[0] == '\0' || x->is_count)
		return 0;
	return quote_drop_unpriced(
		&x->plan, x->price, &x->candidate, x->ask.model, input, output, &x->err);
}

static bool
makes_images(const struct exchange *x)
{
	return span_starts(span_of(x->plain_path), "/v1/images/");
}

static bool
makes_output(const struct exchange *x)
{
	if (x->match.format == NULL && endpoint_dialect(&x->match) != DIALECT_OPENAI)
		return false; /* embeddings, and what is counted */
	return x->is_json && x->ask.model[0] != '\0' &&
	       strcmp(x->plain_path, "/v1/embeddings") != 0 &&
	       strcmp(x->plain_path, "/v1/moderations") != 0;
}

static struct quote_size
size_of(const struct exchange *x)
{
	return (struct quote_size){ .model = x->ask.model,
		.input_tokens = x->ask.input_estimate,
		.max_output = x->ask.max_output,
		.choices = x->ask.choices,
		.makes_output = makes_output(x),
		.makes_images = makes_images(x),
		.is_free = x->is_count };
}

static int
reserve(struct exchange *x)
{
	struct gateway *gw = x->gw;
	struct admit_ask ask = { .caller = &x->caller,
		.need = { .model = x->ask.model, .input_tokens = x->ask.input_estimate },
		.end_user = x->row.end_user,
		.address = web_address(x->request),
		.repeat = x->repeat.key[0] == 0 && x->repeat.key[1] == 0 ? NULL : &x->repeat,
		.without_store = x->from_memory };
	struct quote_size size = size_of(x);
	struct admit_need *need = &ask.need;
	struct settle_note note = { 0 };

	if (quote_output(&size, walk_candidate(x)->upstream, gw->conf.default_max_output_tokens,
		    &need->output_tokens, &x->err) != 0)
		return -1;
	for (int i = 0; i < USAGE_TAGS_MAX; i++)
		ask.tag[i] = x->row.tags[i];
	find_prices(x);
	if (drop_unpriced(x, need->input_tokens, need->output_tokens) != 0)
		return -1;
	quote_need(
		gw->store, x->snapshot, x->caller.token.head.id, &x->plan, x->price, &size, need);
	x->need = *need;
	if (x->is_dry)
		return dry_ask(x, &ask, &size);
	x->by_attempt = admit_has_attempt_limits(x->snapshot);
	decision_keep(x); /* should this process die, its plan is known */
	note.row = x->row;
	note.input_estimate = x->ask.input_estimate;
	if (admit_reserve(gw->store, gw->board, x->snapshot, &ask, x->id, &note, sizeof note,
		    &x->pass, &x->err) != 0)
		return -1;
	x->note = board_note(gw->board, x->pass.lease);
	for (int i = 0; i < x->pass.count; i++)
		x->note->metric[i] = (uint8_t)x->pass.hold[i].metric;
	x->note->count = x->pass.count;
	guard_begin(x);
	return 0;
}

static struct span
header_of(const void *request, const char *name)
{
	return web_header(request, name);
}

/* What the caller's token and project say of this request. */
static int
check_allowed(struct exchange *x)
{
	struct span type = web_header(x->request, "content-type");
	struct admit_request r = { .method = web_method(x->request),
		.path = x->match.path,
		.model = span_of(x->ask.model),
		.body = x->is_json ? x->body : SPAN_NONE,
		.address = web_address(x->request),
		.header = header_of,
		.header_ctx = x->request };

	r.has_form = is_ours(type, "multipart/form-data");
	r.has_other_body = x->body.len > 0 && !x->is_json && !r.has_form;
	return admit_allow_request(&x->caller, &r, clock_wall_ms(), &x->err);
}

/* What must not run twice, when the client names it: by project and key; and the request's content,
 * as the client sent it, by which another request under the same key is told from a repeat. */
static int
read_repeat(struct exchange *x)
{
	struct span name = web_header(x->request, "idempotency-key");
	const char *method = web_method(x->request);
	struct board *b = x->gw->board;
	char text[sizeof(struct id) + IDEMPOTENCY_KEY_MAX];
	uint64_t parts[4][2];

	memset(&x->repeat, 0, sizeof x->repeat);
	if (name.len == 0 || strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return 0;
	if (name.len > IDEMPOTENCY_KEY_MAX) {
		err_set(&x->err, ERR_BAD_REQUEST, "an Idempotency-Key of %zu bytes", name.len);
		return err_say(&x->err, "An Idempotency-Key may have %d bytes at most.",
			IDEMPOTENCY_KEY_MAX);
	}
	memcpy(text, &x->caller.project.head.id, sizeof(struct id));
	memcpy(text + sizeof(struct id), name.at, name.len);
	board_counter_key(b, text, sizeof(struct id) + name.len, x->repeat.key);
	board_counter_key(b, method, strlen(method), parts[0]);
	board_counter_key(b, x->match.path.at, x->match.path.len, parts[1]);
	board_counter_key(b, web_query(x->request).at, web_query(x->request).len, parts[2]);
	board_counter_key(b, x->body.at, x->body.len, parts[3]);
	board_counter_key(b, parts, sizeof parts, x->repeat.body);
	return 0;
}

/* From memory when the store is not to be had and the project goes on without it. */
static int
identify(struct exchange *x)
{
	struct gateway *gw = x->gw;
	struct admit_secrets secrets;
	int rc;

	collect_secrets(x, &secrets);
	x->from_memory = false;
	rc = admit_identify(gw->store, &secrets, &x->caller, &x->known, &x->err);
	if (rc == 0) {
		remember_caller(gw->remember, &x->caller, clock_boot_ms());
	} else if (x->err.code != ERR_STORE_UNAVAILABLE) {
		remember_forget(gw->remember, &secrets);
	} else if (remember_find(
			   gw->remember, &secrets, clock_boot_ms(), clock_wall_ms(), &x->caller)) {
		log_request(LOG_WARN, "open", x->request_id, "without the store: %s", x->err.text);
		memset(&x->err, 0, sizeof x->err);
		x->known = x->from_memory = true;
		rc = 0;
	}
	explicit_bzero(&secrets, sizeof secrets);
	return rc;
}

static int
find_snapshot(struct exchange *x)
{
	if (!x->from_memory) {
		x->snapshot = gateway_snapshot(x->gw, &x->err);
		if (x->snapshot != NULL)
			return 0;
		if (x->err.code != ERR_STORE_UNAVAILABLE ||
			x->caller.project.fail_mode != FAIL_OPEN)
			return -1;
	}
	x->snapshot = gateway_snapshot_at_hand(x->gw);
	if (x->snapshot == NULL)
		return err_set(&x->err, ERR_STORE_UNAVAILABLE, "there is no snapshot yet");
	memset(&x->err, 0, sizeof x->err);
	x->from_memory = true;
	return 0;
}

/* OpenRouter shows its models to everybody; who shows a token that is none is nobody. */
static bool
is_public(struct exchange *x)
{
	if (!x->gw->conf.public_models || x->match.endpoint->face != FACE_OPENROUTER ||
		(x->match.kind != ENDPOINT_MODELS && x->match.kind != ENDPOINT_MODEL_COUNT) ||
		(x->err.code != ERR_MISSING_TOKEN && x->err.code != ERR_INVALID_TOKEN))
		return false;
	memset(&x->err, 0, sizeof x->err);
	memset(&x->caller, 0, sizeof x->caller);
	x->known = false;
	return true;
}

static int
find_spent(struct exchange *x)
{
	struct usage_sum sum = { 0 };
	char id[ID_TEXT_BYTES];

	id_text("tok_", x->caller.token.head.id, id);
	if (store_usage_sum(
		    x->gw->store, BY_TOKEN, id, 0, clock_wall_ms() + 60000, &sum, &x->err) != 0)
		return -1;
	x->spent_nusd = sum.cost_nusd;
	return 0;
}

static bool
tells_of_spending(enum endpoint_kind kind)
{
	return kind == ENDPOINT_KEY || kind == ENDPOINT_KEYS || kind == ENDPOINT_CREDITS;
}

/* All that is read from the store: who asks, for what, and whom we could ask. */
static int
look_up(struct exchange *x)
{
	int rc;

	if (identify(x) != 0)
		return is_public(x) ? find_snapshot(x) : -1;
	/* A full disk takes no row, neither of the exchange nor of its refusal: wait for none. */
	if (x->match.kind == ENDPOINT_FORWARD && store_is_full(x->gw->store) &&
		x->caller.project.fail_mode != FAIL_OPEN) {
		x->known = false;
		return err_set(&x->err, ERR_STORE_UNAVAILABLE, "the disk of the store is full");
	}
	/* from here on a refusal is booked, so the row must tell who and when */
	begin_row(x);
	rc = read_ask(x);
	begin_row(x);
	if (rc != 0 || tags_read(web_header(x->request, "x-sluice-tag"), x->row.tags, &x->err) != 0)
		return -1;
	if (check_allowed(x) != 0 || (tells_of_spending(x->match.kind) && find_spent(x) != 0))
		return -1;
	return find_snapshot(x);
}

/* Can the provider of the first candidate count by itself? */
static bool
counts_itself(const struct exchange *x)
{
	const struct provider *p = translate_provider(x->plan.candidate[0].upstream);

	return p->is_model && p->dialect == endpoint_dialect(&x->match) &&
	       provider_format(p, x->match.format) == x->match.format;
}

/* After another plan than that which was reserved for: prices of its candidates, and those who cost
 * more are left out. */
static int
narrow(struct exchange *x, struct err *err)
{
	const struct admit_need *need = &x->need;
	struct quote_size size = size_of(x);
	int kept = 0;

	find_prices(x);
	for (int i = 0; i < x->plan.count; i++) {
		if (quote_cost(&x->price[i], &size, need->input_tokens, need->output_tokens) >
			need->cost_nusd)
			continue;
		x->plan.candidate[kept] = x->plan.candidate[i];
		x->price[kept++] = x->price[i];
	}
	x->plan.count = kept;
	if (kept == 0)
		return err_set(
			err, ERR_NO_KEY_AVAILABLE, "all that are free cost more than is held");
	if (drop_unpriced(x, need->input_tokens, need->output_tokens) == 0)
		return 0;
	*err = x->err;
	return -1;
}

int
admission_plan(struct exchange *x, bool again, struct err *err)
{
	struct route_ask ask = { .model = span_of(x->ask.model),
		.upstream = span_of(x->upstream_name),
		.project = x->caller.project.head.id,
		.dialect = endpoint_dialect(&x->match),
		.is_conversation = x->match.format != NULL,
		.session = span_of(x->session.id),
		.prompt_hash = x->session.prompt_hash,
		.input_tokens = x->ask.input_estimate,
		.cost = quote_route_cost };
	struct quote_size size = size_of(x);
	uint32_t rules = again ? x->plan.record.rules : 0; /* the body is as they made it */
	int rc;

	ask.ctx =
		&(struct quote_costs){ x->snapshot, &size, x->gw->conf.default_max_output_tokens };
	/* the turn of whom it calls is taken when it calls (route_begin()) */
	x->waiting.again = again;
	ask.is_quote = again || x->is_dry;
	rc = route_plan(x->snapshot->compiled, &ask, &x->plan, err);
	x->plan.record.rules = rules;
	if (rc != 0)
		return -1;
	return again ? narrow(x, err) : 0;
}

/* Whom could we ask?  Where all are busy or rest a moment: whom soon? */
static int
find_candidates(struct exchange *x)
{
	memset(&x->waiting, 0, sizeof x->waiting);
	if (admission_plan(x, false, &x->err) != 0) {
		if (!queue_makes_sense(x, &x->err))
			return -1;
		x->waiting.nobody = true;
		memset(&x->err, 0, sizeof x->err);
	}
	if (x->match.kind != ENDPOINT_COUNT || !counts_itself(x))
		return 0;
	x->is_count = true;
	x->match.kind = ENDPOINT_FORWARD;
	x->match.format = NULL;
	x->ask.input_estimate = 0;
	return 0;
}

/* What the route changes of it: before limits are reserved and anything is converted. */
static int
apply_rules(struct exchange *x)
{
	const struct route *r = x->plan.route;
	struct span type = web_header(x->request, "content-type");
	uint32_t changed;

	if (r == NULL || r->request_rules[0] == '\0')
		return 0;
	x->plan.record.rules = request_rules_heads(r->request_rules);
	if (!x->is_json || x->is_count || x->body.len == 0)
		return 0;
	if (request_rules_apply(
		    x->arena, r->request_rules, x->match.format, &x->body, &changed, &x->err) != 0)
		return -1;
	x->plan.record.rules |= changed;
	if (changed == 0)
		return 0;
	clear_ask(x);
	return x->match.format != NULL ? read_conversation(x) : read_other(x, type);
}

int
admission_run(struct exchange *x)
{
	struct gateway *gw = x->gw;
	int rc;

	x->is_dry = dry_is_asked(x);
	memset(&x->err, 0, sizeof x->err);
	memset(&x->out, 0, sizeof x->out);
	x->candidate = 0;
	snapshot_drop(x->snapshot);
	x->snapshot = NULL;
	store_stay(
		gw->store, true); /* one visit of a brief process; it ends before the reservation */
	rc = look_up(x);
	store_stay(gw->store, false);
	if (rc != 0)
		return -1;
	if (x->match.kind != ENDPOINT_FORWARD && x->match.kind != ENDPOINT_COUNT)
		return 0;
	if (!endpoint_path_is_clean(x->match.path)) {
		err_set(&x->err, ERR_BAD_REQUEST, "the path climbs with '..'");
		return err_say(&x->err, "The path must not hold '.' or '..' segments.");
	}
	span_copy(web_header(x->request, "x-upstream-name"), x->upstream_name,
		sizeof x->upstream_name);
	if (find_candidates(x) != 0)
		return -1;
	if (x->match.kind == ENDPOINT_COUNT)
		return 0;
	if (read_repeat(x) != 0 || apply_rules(x) != 0 || translate_first(x) != 0)
		return -1;
	return reserve(x);
}
