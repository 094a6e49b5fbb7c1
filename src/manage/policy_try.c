/*
 * policy_try.c - what a policy would change: one decision with it and one without, of which nothing is
 * kept and nobody is asked.
 */
#include "manage/manage-int.h"
#include "quote/quote.h"

#include <stdio.h>
#include <string.h>

#define LISTS_MAX 16 /* of failure rules that a candidate goes by */

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

/* The policy's JSON; nobody has to think of a name to try one. */
static struct span
named(const struct trying *t)
{
	struct span json = t->policy.raw;
	const char *rest = json.at + 1, *text;

	if (t->policy.type != JSON_OBJECT || json_get(json, "name").type != JSON_NONE)
		return json;
	rest += strspn(rest, " \t\r\n");
	text = arena_printf(t->call->arena, "{\"name\":\"tried\"%s%.*s", *rest == '}' ? "" : ",",
		(int)(json.at + json.len - rest), rest);
	return text != NULL ? span_of(text) : json;
}

/* The policy that is tried: one that is there, that one with changes, or one as it would be made. */
static int
tried_policy(struct trying *t, struct policy *p)
{
	struct call *c = t->call, *inner;
	struct manage_request q = { .body = t->policy.raw };
	struct edit e = { .kind = &kind_policy, .record = p };
	struct policy *before = arena_alloc(c->arena, sizeof *before);

	if (before == NULL || (inner = arena_alloc(c->arena, sizeof *inner)) == NULL)
		return call_no_memory(c);
	if (t->policy_id != NULL) {
		if (resource_find(c, RECORD_POLICY, t->policy_id, p) != 0)
			return -1;
		t->left_out = p->head.id;
		*before = *p;
		e.before = before;
		if (t->policy.type == JSON_NONE)
			return 0;
	} else {
		record_init(RECORD_POLICY, p);
		p->head.id = c->q->once->record[0];
		q.body = named(t);
	}
	inner->m = c->m;
	inner->q = &q;
	inner->arena = c->arena;
	e.call = inner;
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
	if (list != NULL && p != NULL) {
		list[*count] = *p;
		list[(*count)++].is_active = true; /* who tries one that is off asks what it would do */
	}
	if (list != NULL)
		snapshot_sort_policies(list, *count);
	return list;
}

/* One decision, and the policies it went by. */
struct choice {
	const char *side;
	const struct snapshot *snapshot;
	struct route_plan plan;
	struct err why;
	size_t from, to; /* in the reply: what makes it the same as another or not */
};

static void
put_rules(struct bytes *out, const struct trying *t, const struct choice *k, int i)
{
	const char *lists[LISTS_MAX];
	int n = route_failure_rules(
		k->snapshot, k->plan.route, t->project, &k->plan.candidate[i], lists, LISTS_MAX);
	bool any = false;

	bytes_puts(out, ",\"failure_rules\":[");
	for (int list = 0; list < n; list++)
		for (const char *at = lists[list]; *at != '\0';) {
			size_t len = strcspn(at, "\n");

			if (len > 0) {
				bytes_puts(out, any ? "," : "");
				bytes_json(out, (struct span){ at, len });
				any = true;
			}
			at += len + (at[len] == '\n');
		}
	bytes_puts(out, "]");
}

static void
put_candidate(struct bytes *out, const struct trying *t, const struct choice *k, int i)
{
	const struct route_candidate *c = &k->plan.candidate[i];
	char id[ID_TEXT_BYTES];

	bytes_puts(out, i > 0 ? ",{" : "{");
	shape_text(out, "upstream", c->upstream->name);
	if (c->key != NULL) {
		id_text("key_", c->key->id, id);
		shape_text(out, "key", id);
		shape_text(out, "key_label", c->key->label);
	} else {
		bytes_puts(out, ",\"key\":null,\"key_label\":null");
	}
	bytes_puts(out, ",\"model\":");
	bytes_json(out, c->model);
	shape_int(out, "stage", c->stage);
	put_rules(out, t, k, i);
	bytes_puts(out, "}");
}

/* 0: the settings' */
static void
put_set(struct bytes *out, const char *name, int64_t value)
{
	if (value > 0)
		shape_int(out, name, value);
	else
		bytes_printf(out, ",\"%s\":null", name);
}

/* The first ones that forbade or set something. */
static void
put_policies(struct bytes *out, const struct choice *k)
{
	bool any = false;

	bytes_puts(out, ",\"policies\":[");
	for (int i = 0; i < k->plan.record.policy_count; i++)
		for (size_t j = 0; j < k->snapshot->policy_count; j++)
			if (id_equal(k->plan.record.policy[i], k->snapshot->policies[j].head.id)) {
				bytes_puts(out, any ? "," : "");
				bytes_json(out, span_of(k->snapshot->policies[j].name));
				any = true;
			}
	bytes_puts(out, "]");
}

static void
put_choice(struct trying *t, struct choice *k)
{
	struct bytes *out = &t->call->out->body;
	int count = k->why.code == ERR_NONE ? k->plan.count : 0; /* else whom it would wait for */

	bytes_printf(out, "%s\"%s\":{", out->len > 1 ? "," : "", k->side);
	k->from = out->len;
	if (k->plan.route != NULL)
		shape_text(out, "route", k->plan.route->name);
	else
		bytes_puts(out, "\"route\":null");
	if (k->why.code != ERR_NONE)
		shape_text(out, "refused", err_public(&k->why));
	else
		bytes_puts(out, ",\"refused\":null");
	put_set(out, "tries", k->plan.tries);
	put_set(out, "deadline_ms", k->plan.deadline_ms);
	bytes_puts(out, ",\"candidates\":[");
	for (int i = 0; i < count; i++)
		put_candidate(out, t, k, i);
	bytes_puts(out, "]");
	k->to = out->len;
	put_policies(out, k);
	bytes_puts(out, ",\"out\":{");
	for (int r = 0; r < ROUTE__REASONS; r++)
		if (k->plan.record.out[r] > 0)
			shape_int(out, route_reason_name((enum route_reason)r),
				k->plan.record.out[r]);
	bytes_puts(out, "}}");
}

static int
decide(struct trying *t, const struct snapshot *base, const struct policy *p, struct choice *k)
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

	if (s == NULL)
		return call_no_memory(c);
	memcpy(s, base, sizeof *s);
	s->compiled = NULL;
	s->compiled_free = NULL;
	if ((s->policies = policies_with(t, base, p, &s->policy_count)) == NULL)
		return call_no_memory(c);
	if ((table = route_table_new(c->m->board, s, &c->err)) == NULL)
		return -1;
	k->snapshot = s;
	(void)route_plan(table, &ask, &k->plan, &k->why);
	put_choice(t, k);
	route_table_free(table);
	return 0;
}

static bool
is_same(const struct bytes *out, const struct choice *a, const struct choice *b)
{
	return a->to - a->from == b->to - b->from &&
	       memcmp(out->at + a->from, out->at + b->from, a->to - a->from) == 0;
}

int
policies_dry_run(struct call *c)
{
	struct trying t = { .call = c, .output_tokens = -1 };
	struct policy *p = arena_alloc(c->arena, sizeof *p);
	struct choice *without = arena_alloc(c->arena, sizeof *without),
		      *with = arena_alloc(c->arena, sizeof *with);
	struct bytes *out = &c->out->body;
	struct snapshot *s;

	if (p == NULL || without == NULL || with == NULL)
		return call_no_memory(c);
	without->side = "without";
	with->side = "with";
	if (call_body(c, try_member, &t) != 0)
		return -1;
	if (t.model == NULL)
		return call_refuse(
			c, ERR_BAD_REQUEST, "model", "model of the request is required, in ask.");
	if (t.policy_id == NULL && t.policy.type == JSON_NONE)
		return call_refuse(c, ERR_BAD_REQUEST, "policy",
			"policy, as it would be made or changed, or policy_id is required.");
	if (tried_policy(&t, p) != 0 || (s = providers_snapshot(c)) == NULL)
		return -1;
	bytes_puts(out, "{");
	if (decide(&t, s, NULL, without) != 0 || decide(&t, s, p, with) != 0)
		return -1;
	if (out->failed)
		return call_no_memory(c);
	bytes_printf(out, ",\"same\":%s}", is_same(out, without, with) ? "true" : "false");
	c->out->status = 200;
	return 0;
}
