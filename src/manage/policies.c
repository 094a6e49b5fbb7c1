/*
 * policies.c - policies over the API: which fields belong to which type, whom one binds, and who is
 * named by whom, so that nothing that is named can be taken away.
 */
#include "manage/manage-int.h"
#include "quote/quote.h"

#include <stdio.h>
#include <string.h>

/* ---- fields of types ---- */

#define OF(type) (1u << POLICY_##type)
#define CHOICE   (OF(ROUTING) | OF(KEY_SELECTION))

static const struct {
	size_t offset;
	unsigned types;
} belongs[] = {
	{ offsetof(struct policy, allowed_upstreams), CHOICE },
	{ offsetof(struct policy, blocked_upstreams), CHOICE },
	{ offsetof(struct policy, allowed_models), CHOICE },
	{ offsetof(struct policy, blocked_models), CHOICE },
	{ offsetof(struct policy, blocked_keys), OF(KEY_SELECTION) },
	{ offsetof(struct policy, allowed_states), OF(KEY_SELECTION) },
	{ offsetof(struct policy, regions), CHOICE },
	{ offsetof(struct policy, tenants), CHOICE },
	{ offsetof(struct policy, required_tags), CHOICE },
	{ offsetof(struct policy, free_only), CHOICE | OF(COST_CONTROL) },
	{ offsetof(struct policy, strategy), CHOICE },
	{ offsetof(struct policy, objectives), CHOICE },
	{ offsetof(struct policy, min_reliability), CHOICE },
	{ offsetof(struct policy, max_cost_nusd), OF(COST_CONTROL) },
	{ offsetof(struct policy, refuse_unpriced), OF(COST_CONTROL) },
	{ offsetof(struct policy, failure_rules), OF(FAILURE_HANDLING) },
	{ offsetof(struct policy, tries), OF(FAILURE_HANDLING) },
	{ offsetof(struct policy, deadline_ms), OF(FAILURE_HANDLING) },
};
#define BELONGS (sizeof belongs / sizeof belongs[0])

/* None of these has a fallback but zeros. */
static bool
is_set(const struct field *f, const struct policy *p)
{
	return !shape_is_empty(f, p);
}

static struct span
type_name(const struct policy *p)
{
	return shape_enum_name(
		shape_field_at(RECORD_POLICY, offsetof(struct policy, type))->values, p->type);
}

static int
check_type(struct edit *e, const struct policy *p)
{
	struct span type = type_name(p);
	char names[256] = "";
	bool any = false;

	for (size_t i = 0; i < BELONGS; i++) {
		const struct field *f = shape_field_at(RECORD_POLICY, belongs[i].offset);
		bool is_of_type = (belongs[i].types & 1u << p->type) != 0;

		if (is_set(f, p) && !is_of_type)
			return call_refuse(e->call, ERR_BAD_REQUEST, f->name,
				"%s does not belong to a policy of type %.*s.", f->name,
				(int)type.len, type.at);
		any |= is_set(f, p);
		if (is_of_type)
			snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
				names[0] != '\0' ? ", " : "", f->name);
	}
	if (!any)
		return call_refuse(e->call, ERR_BAD_REQUEST, NULL,
			"This policy would decide nothing; of type %.*s it takes: %s.",
			(int)type.len, type.at, names);
	return 0;
}

/* ---- scope ---- */

static const struct {
	int32_t scope;
	enum record_kind kind;
	size_t offset;
} scopes[] = {
	{ POLICY_OF_PROJECT, RECORD_PROJECT, offsetof(struct policy, project) },
	{ POLICY_OF_UPSTREAM, RECORD_UPSTREAM, offsetof(struct policy, upstream) },
	{ POLICY_OF_KEY, RECORD_KEY, offsetof(struct policy, key) },
	{ POLICY_OF_ROUTE, RECORD_ROUTE, offsetof(struct policy, route) },
};
#define SCOPES (sizeof scopes / sizeof scopes[0])

static struct id
id_at(const void *record, size_t offset)
{
	struct id id;

	memcpy(&id, (const char *)record + offset, sizeof id);
	return id;
}

static int
check_scope(struct edit *e, const struct policy *p)
{
	for (size_t i = 0; i < SCOPES; i++) {
		const char *field = shape_field_at(RECORD_POLICY, scopes[i].offset)->name;
		bool named = !id_is_none(id_at(p, scopes[i].offset));

		if (p->scope == scopes[i].scope && !named)
			return call_refuse(e->call, ERR_BAD_REQUEST, field,
				"%s is required with scope %s.", field,
				record_name(scopes[i].kind));
		if (p->scope != scopes[i].scope && named)
			return call_refuse(e->call, ERR_BAD_REQUEST, field,
				"%s goes together with scope %s alone.", field,
				record_name(scopes[i].kind));
	}
	return 0;
}

static int
policy_finish(struct edit *e)
{
	const struct policy *p = e->record;
	int64_t sum;

	if (check_type(e, p) != 0 || check_scope(e, p) != 0 || rules_check(e) != 0 ||
		rules_check_objectives(e->call, "objectives", p->objectives, &sum) != 0)
		return -1;
	if (p->strategy == 1 + STRATEGY_SPLIT)
		return call_refuse(e->call, ERR_BAD_REQUEST, "strategy",
			"A split goes by the percentages of a route's targets; set it at the "
			"route.");
	if (p->strategy == 1 + STRATEGY_OBJECTIVE && sum == 0)
		return call_refuse(e->call, ERR_BAD_REQUEST, "objectives",
			"Strategy objective needs objectives, such as [\"cost=2\", "
			"\"reliability=1\"].");
	return 0;
}

/* ---- listing ---- */

static int
policy_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct policy *p = record;

	(void)f;
	for (size_t i = 0; i < SCOPES; i++)
		if (p->scope == scopes[i].scope) {
			shape_text(out, "scope_name",
				resource_name(c, scopes[i].kind, id_at(p, scopes[i].offset)));
			return 0;
		}
	bytes_puts(out, ",\"scope_name\":null");
	return 0;
}

static bool
policy_passes(const void *record, const struct filter *f)
{
	const struct policy *p = record;

	return (id_is_none(f->project) || id_equal(f->project, p->project)) &&
	       (id_is_none(f->upstream) || id_equal(f->upstream, p->upstream)) &&
	       (f->active < 0 || p->is_active == (f->active != 0)) &&
	       (f->text[0] == '\0' || strcasestr(p->name, f->text) != NULL);
}

const struct kind kind_policy = {
	.record = RECORD_POLICY,
	.finish = policy_finish,
	.extra = policy_extra,
	.passes = policy_passes,
};

int
policies_list(struct call *c)
{
	return resource_list(c, &kind_policy);
}

int
policies_get(struct call *c)
{
	return resource_get(c, &kind_policy);
}

int
policies_post(struct call *c)
{
	return resource_post(c, &kind_policy);
}

int
policies_patch(struct call *c)
{
	return resource_patch(c, &kind_policy);
}

int
policies_delete(struct call *c)
{
	return resource_delete(c, &kind_policy);
}

/* ---- what one would change ---- */

#define USUAL_OUTPUT 4096 /* tokens of an answer, where the ask does not say */

struct trying {
	struct call *call;
	struct json_value policy;
	char *policy_id, *model, *upstream, *session;
	struct id project;
	int64_t input_tokens, output_tokens;
	struct id left_out; /* of the policies that there are: it is looked at on one side alone */
};

static bool
ask_member(void *ctx, const struct json_member *m)
{
	struct trying *t = ctx;
	struct call *c = t->call;
	char name[32], *text;

	(void)span_copy(m->key, name, sizeof name);
	if (m->value.type == JSON_NULL)
		return true;
	if (strcmp(name, "model") == 0)
		return (t->model = call_string(c, name, m->value, MODEL_BYTES - 1)) != NULL;
	if (strcmp(name, "upstream") == 0)
		return (t->upstream = call_string(c, name, m->value, NAME_BYTES - 1)) != NULL;
	if (strcmp(name, "session") == 0)
		return (t->session = call_string(c, name, m->value, 255)) != NULL;
	if (strcmp(name, "project") == 0)
		return (text = call_string(c, name, m->value, MANAGE_ID_BYTES - 1)) != NULL &&
		       resource_refer(c, RECORD_PROJECT, name, text, &t->project) == 0;
	if (strcmp(name, "input_tokens") == 0 || strcmp(name, "output_tokens") == 0) {
		int64_t *to = name[0] == 'i' ? &t->input_tokens : &t->output_tokens;

		if (json_int(m->value, to) == 0 && *to >= 0 && *to < INT64_C(1) << 40)
			return true;
		call_refuse(c, ERR_BAD_REQUEST, name, "%s must be a whole number of tokens.", name);
		return false;
	}
	call_refuse(c, ERR_BAD_REQUEST, "ask", "ask has no member %s.", name);
	return false;
}

static bool
try_member(void *ctx, const char *name, struct json_value v)
{
	struct trying *t = ctx;
	struct call *c = t->call;

	if (strcmp(name, "policy") == 0) {
		t->policy = v;
		return v.type == JSON_OBJECT ||
		       call_refuse(c, ERR_BAD_REQUEST, name, "policy must be an object.") == 0;
	}
	if (strcmp(name, "policy_id") == 0)
		return (t->policy_id = call_string(c, name, v, MANAGE_ID_BYTES - 1)) != NULL;
	if (strcmp(name, "ask") == 0) {
		if (v.type == JSON_OBJECT && json_each(v.raw, ask_member, t, NULL) == 0)
			return c->err.code == ERR_NONE;
		if (c->err.code == ERR_NONE)
			call_refuse(c, ERR_BAD_REQUEST, name, "ask must be an object.");
		return false;
	}
	call_refuse(c, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
	return false;
}

/* The policy that is tried: one that is there, or one as it would be made. */
static int
tried_policy(struct trying *t, struct policy *p)
{
	struct call *c = t->call, *inner;
	struct manage_request q = { .body = t->policy.raw };
	struct edit e = { .kind = &kind_policy, .record = p };

	if (t->policy_id != NULL) {
		if (resource_find(c, RECORD_POLICY, t->policy_id, p) != 0)
			return -1;
		t->left_out = p->head.id;
		return 0;
	}
	if ((inner = arena_alloc(c->arena, sizeof *inner)) == NULL)
		return call_no_memory(c);
	inner->m = c->m;
	inner->q = &q;
	inner->arena = c->arena;
	e.call = inner;
	record_init(RECORD_POLICY, p);
	p->head.id = c->q->once->record[0];
	if (resource_apply(&e) == 0)
		return 0;
	c->err = inner->err;
	memcpy(c->field, inner->field, sizeof c->field);
	return -1;
}

/* The snapshot's policies without that one; p, where not NULL, among them. */
static struct policy *
policies_with(struct trying *t, const struct snapshot *s, const struct policy *p, size_t *count)
{
	struct policy *list = arena_alloc(t->call->arena, (s->policy_count + 1) * sizeof *list);

	*count = 0;
	for (size_t i = 0; list != NULL && i < s->policy_count; i++)
		if (!id_equal(s->policies[i].head.id, t->left_out))
			list[(*count)++] = s->policies[i];
	if (list != NULL && p != NULL && p->is_active)
		list[(*count)++] = *p;
	if (list != NULL)
		snapshot_sort_policies(list, *count);
	return list;
}

static void
put_choice(struct call *c, const char *side, const struct route_plan *plan, const struct err *why)
{
	struct bytes *out = &c->out->body;

	bytes_printf(out, "%s\"%s\":{", out->len > 1 ? "," : "", side);
	if (plan->route != NULL)
		shape_text(out, "route", plan->route->name);
	else
		bytes_puts(out, "\"route\":null");
	if (why->code != ERR_NONE)
		shape_text(out, "refused", err_public(why));
	else
		bytes_puts(out, ",\"refused\":null");
	bytes_puts(out, ",\"candidates\":[");
	for (int i = 0; i < plan->count; i++) {
		const struct route_candidate *k = &plan->candidate[i];
		char id[ID_TEXT_BYTES];

		bytes_puts(out, i > 0 ? ",{" : "{");
		shape_text(out, "upstream", k->upstream->name);
		if (k->key != NULL) {
			id_text("key_", k->key->id, id);
			shape_text(out, "key", id);
		} else {
			bytes_puts(out, ",\"key\":null");
		}
		bytes_puts(out, ",\"model\":");
		bytes_json(out, k->model);
		shape_int(out, "stage", k->stage);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "],\"out\":{");
	for (int r = 0; r < ROUTE__REASONS; r++)
		if (plan->record.out[r] > 0)
			shape_int(
				out, route_reason_name((enum route_reason)r), plan->record.out[r]);
	bytes_puts(out, "}}");
}

static int
decide(struct trying *t, const struct snapshot *base, const struct policy *p, const char *side,
	struct route_plan *plan)
{
	struct call *c = t->call;
	struct snapshot *s = arena_alloc(c->arena, sizeof *s);
	struct quote_size size = { .model = t->model,
		.input_tokens = t->input_tokens,
		.max_output = t->output_tokens,
		.choices = 1,
		.makes_output = true };
	struct quote_costs costs = { s, &size, USUAL_OUTPUT };
	struct route_ask ask = { .model = span_of(t->model),
		.upstream = span_of(t->upstream != NULL ? t->upstream : ""),
		.project = t->project,
		.is_conversation = true,
		.session = span_of(t->session != NULL ? t->session : ""),
		.input_tokens = t->input_tokens,
		.cost = quote_route_cost,
		.ctx = &costs,
		.is_quote = true };
	struct route_table *table;
	struct err why = { 0 };

	if (s == NULL)
		return call_no_memory(c);
	memcpy(s, base, sizeof *s);
	s->compiled = NULL;
	s->compiled_free = NULL;
	if ((s->policies = policies_with(t, base, p, &s->policy_count)) == NULL)
		return call_no_memory(c);
	if ((table = route_table_new(c->m->board, s, &c->err)) == NULL)
		return -1;
	(void)route_plan(table, &ask, plan, &why);
	put_choice(c, side, plan, &why);
	route_table_free(table);
	return 0;
}

static bool
is_same_plan(const struct route_plan *a, const struct route_plan *b)
{
	bool same =
		a->count == b->count && a->tries == b->tries && a->deadline_ms == b->deadline_ms;

	for (int i = 0; i < a->count && same; i++)
		same = a->candidate[i].upstream == b->candidate[i].upstream &&
		       a->candidate[i].key == b->candidate[i].key;
	return same;
}

int
policies_dry_run(struct call *c)
{
	struct trying t = { .call = c, .output_tokens = -1 };
	struct policy *p = arena_alloc(c->arena, sizeof *p);
	struct route_plan *plans = arena_alloc(c->arena, 2 * sizeof *plans);
	struct snapshot *s;

	if (p == NULL || plans == NULL)
		return call_no_memory(c);
	if (call_body(c, try_member, &t) != 0)
		return -1;
	if (t.model == NULL)
		return call_refuse(
			c, ERR_BAD_REQUEST, "ask", "ask is required, with its model at least.");
	if ((t.policy_id == NULL) == (t.policy.type == JSON_NONE))
		return call_refuse(c, ERR_BAD_REQUEST, "policy",
			"Either policy, as it would be made, or policy_id is required.");
	if (tried_policy(&t, p) != 0 || (s = providers_snapshot(c)) == NULL)
		return -1;
	bytes_puts(&c->out->body, "{");
	if (decide(&t, s, NULL, "without", &plans[0]) != 0 ||
		decide(&t, s, p, "with", &plans[1]) != 0)
		return -1;
	bytes_printf(&c->out->body, ",\"same\":%s}",
		is_same_plan(&plans[0], &plans[1]) ? "true" : "false");
	c->out->status = 200;
	return 0;
}

/* ---- who is named by whom ---- */

struct naming {
	enum record_kind of; /* what is to go */
	struct id id;
	enum record_kind by; /* what is looked through */
	size_t count;
	char names[160];
};

static bool
names_it(const struct naming *n, const void *record)
{
	const struct upstream *u = record;
	const struct policy *p = record;

	switch (n->by) {
	case RECORD_ROUTE:
		return n->of == RECORD_UPSTREAM && route_names_upstream(record, n->id);
	case RECORD_UPSTREAM:
		return n->of == RECORD_UPSTREAM && id_equal(u->keys_of, n->id);
	case RECORD_POLICY:
		for (size_t i = 0; i < SCOPES; i++)
			if (scopes[i].kind == n->of && id_equal(id_at(p, scopes[i].offset), n->id))
				return true;
		return false;
	default:
		return false;
	}
}

static bool
look_at(void *ctx, const void *record)
{
	struct naming *n = ctx;
	const struct field *f = record_name_field(n->by);
	size_t used = strlen(n->names);

	if (!names_it(n, record))
		return true;
	if (n->count++ < 5 && used + 8 < sizeof n->names)
		snprintf(n->names + used, sizeof n->names - used, "%s%.*s", used > 0 ? ", " : "",
			(int)(sizeof n->names - used - 8 > 40 ? 40 : sizeof n->names - used - 8),
			(const char *)record + f->offset);
	return true;
}

int
refuse_when_named(struct call *c, enum record_kind of, struct id id)
{
	static const enum record_kind by[] = { RECORD_ROUTE, RECORD_UPSTREAM, RECORD_POLICY };

	for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
		struct naming n = { .of = of, .id = id, .by = by[i] };

		if (store_each(c->m->store, by[i], ID_NONE, look_at, &n, &c->err) < 0)
			return -1;
		if (n.count > 0)
			return call_refuse(c, ERR_CONFLICT, NULL,
				"This %s is named by %s %s%s; change or delete %s first.",
				record_name(of),
				n.count == 1 ? record_name(by[i]) : record_plural(by[i]), n.names,
				n.count > 5 ? " …" : "", n.count == 1 ? "it" : "them");
	}
	return 0;
}
