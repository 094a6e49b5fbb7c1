/*
 * policies.c - policies over the API: which fields belong to which type, whom one binds, and who is
 * named by whom, so that nothing that is named can be taken away.
 */
#include "manage/manage-int.h"

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

/* What is decided once for a whole request cannot go by upstream or key, which are chosen after it. */
static int
check_whole(struct edit *e, const struct policy *p)
{
	static const size_t whole[] = { offsetof(struct policy, strategy),
		offsetof(struct policy, objectives), offsetof(struct policy, tries),
		offsetof(struct policy, deadline_ms) };

	if (p->scope != POLICY_OF_UPSTREAM && p->scope != POLICY_OF_KEY)
		return 0;
	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
		const struct field *f = shape_field_at(RECORD_POLICY, whole[i]);

		if (is_set(f, p))
			return call_refuse(e->call, ERR_BAD_REQUEST, f->name,
				"%s is for a whole request; a policy of scope upstream or key "
				"cannot set it, one of scope route, project or global can.",
				f->name);
	}
	return 0;
}

static int
policy_finish(struct edit *e)
{
	const struct policy *p = e->record;
	int64_t sum;

	if (check_type(e, p) != 0 || check_scope(e, p) != 0 || check_whole(e, p) != 0 ||
		rules_check(e) != 0 ||
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
