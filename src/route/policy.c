/*
 * policy.c - rules over routes.  What forbids adds up, so deny beats allow; what sets a value is
 * looked for from the narrowest on, in the snapshot's order.
 */
#include "route/route-int.h"

#include <stdio.h>
#include <string.h>

bool
policy_binds(const struct table_policy *p, const struct route *route, struct id project)
{
	switch ((enum policy_scope)p->record->scope) {
	case POLICY_OF_PROJECT:
		return !id_is_none(project) && id_equal(p->record->project, project);
	case POLICY_OF_ROUTE:
		return route != NULL && id_equal(p->record->route, route->head.id);
	case POLICY_GLOBAL:
	case POLICY_OF_UPSTREAM:
	case POLICY_OF_KEY:
		break;
	}
	return true;
}

bool
policy_is_of(
	const struct table_policy *p, const struct table_upstream *u, const struct table_key *k)
{
	if (p->record->scope == POLICY_OF_UPSTREAM)
		return id_equal(p->record->upstream, u->record->head.id);
	if (p->record->scope == POLICY_OF_KEY)
		return k != NULL && id_equal(p->record->key, k->record->id);
	return true;
}

bool
policy_forbids_unit(const struct table_policy *p, const struct table_upstream *u, struct span model,
	struct span own)
{
	struct span name = span_of(u->record->name);
	const struct policy *r = p->record;

	if (r->blocked_upstreams[0] != '\0' && glob_list_match(r->blocked_upstreams, name))
		return true;
	if (!glob_list_match(r->allowed_upstreams, name))
		return true;
	if (model.len == 0)
		return false;
	if (patterns_fit(&p->blocked_models, model) || patterns_fit(&p->blocked_models, own))
		return true;
	return p->allowed_models.count > 0 && !patterns_fit(&p->allowed_models, model) &&
	       !patterns_fit(&p->allowed_models, own);
}

bool
place_fits(const char *regions, const char *tenants, const struct table_upstream *u,
	const struct table_key *k)
{
	struct span region =
		k != NULL && k->region.len > 0 ? k->region : span_of(u->record->region);
	struct span tenant =
		k != NULL && k->tenant.len > 0 ? k->tenant : span_of(u->record->tenant);

	return glob_list_match(regions, region) && glob_list_match(tenants, tenant);
}

static bool
has_tag(const char *tags, struct span wanted)
{
	char glob[SHORT_LIST_BYTES];

	if (tags[0] == '\0' || !span_copy(wanted, glob, sizeof glob))
		return false;
	for (const char *at = tags; *at != '\0';) {
		size_t len = strcspn(at, "\n");

		if (glob_match(glob, (struct span){ at, len }))
			return true;
		at += len + (at[len] == '\n');
	}
	return false;
}

/* What an upstream has a field of its own for is a tag as well. */
static bool
has_place(const struct upstream *u, struct span wanted)
{
	const struct {
		const char *name, *value;
	} places[] = { { "region", u->region }, { "tenant", u->tenant }, { "tier", u->tier } };
	char tag[2 * NAME_BYTES];

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		(void)snprintf(tag, sizeof tag, "%s=%s", places[i].name, places[i].value);
		if (places[i].value[0] != '\0' && has_tag(tag, wanted))
			return true;
	}
	return false;
}

/* Each of the wanted ones, of key or upstream. */
static bool
has_tags(const char *wanted, const struct table_upstream *u, const struct table_key *k)
{
	for (const char *at = wanted; *at != '\0';) {
		size_t len = strcspn(at, ",\n");
		struct span one = { at, len };

		at += len + (at[len] != '\0');
		if (len > 0 && !has_tag(u->record->tags, one) && !has_place(u->record, one) &&
			(k == NULL || !has_tag(k->record->tags, one)))
			return false;
	}
	return true;
}

static bool
blocks_key(const char *list, const struct table_key *k)
{
	char id[ID_TEXT_BYTES];

	if (list[0] == '\0' || k == NULL)
		return false;
	id_text("key_", k->record->id, id);
	return glob_list_match(list, span_of(id)) ||
	       glob_list_match(list, span_of(k->record->label));
}

bool
policy_forbids_key(
	const struct table_policy *p, const struct table_upstream *u, const struct table_key *k)
{
	const struct policy *r = p->record;

	return blocks_key(r->blocked_keys, k) || !place_fits(r->regions, r->tenants, u, k) ||
	       !has_tags(r->required_tags, u, k);
}

bool
policy_bounds(const struct table_policy *p, struct bounds *b)
{
	struct bounds was = *b;
	const struct policy *r = p->record;

	if (r->max_cost_nusd > 0 && r->max_cost_nusd < b->max_cost_nusd)
		b->max_cost_nusd = r->max_cost_nusd;
	if (r->min_reliability > b->min_reliability)
		b->min_reliability = r->min_reliability;
	b->states &= p->states;
	b->free_only |= r->free_only;
	b->refuse_unpriced |= r->refuse_unpriced;
	return was.max_cost_nusd != b->max_cost_nusd || was.states != b->states ||
	       was.min_reliability != b->min_reliability || was.free_only != b->free_only ||
	       was.refuse_unpriced != b->refuse_unpriced;
}

void
policy_tell(struct view *v, const struct table_policy *p)
{
	const int most = (int)(sizeof v->policy / sizeof v->policy[0]);

	for (int i = 0; i < v->policy_count; i++)
		if (id_equal(v->policy[i], p->record->head.id))
			return;
	if (v->policy_count < most)
		v->policy[v->policy_count++] = p->record->head.id;
}

static bool
speaks_of(const struct policy *p, const struct route *route, struct id project,
	const struct route_candidate *c)
{
	switch ((enum policy_scope)p->scope) {
	case POLICY_GLOBAL:
		return true;
	case POLICY_OF_PROJECT:
		return id_equal(p->project, project);
	case POLICY_OF_UPSTREAM:
		return id_equal(p->upstream, c->upstream->head.id);
	case POLICY_OF_KEY:
		return c->key != NULL && id_equal(p->key, c->key->id);
	case POLICY_OF_ROUTE:
		return route != NULL && id_equal(p->route, route->head.id);
	}
	return false;
}

int
route_failure_rules(const struct snapshot *s, const struct route *route, struct id project,
	const struct route_candidate *c, const char **lists, int most)
{
	int n = 0;

	if (n < most && route != NULL && route->failure_rules[0] != '\0')
		lists[n++] = route->failure_rules;
	if (n < most && c->upstream->failure_rules[0] != '\0')
		lists[n++] = c->upstream->failure_rules;
	for (size_t i = 0; i < s->policy_count && n < most; i++)
		if (s->policies[i].failure_rules[0] != '\0' &&
			speaks_of(&s->policies[i], route, project, c))
			lists[n++] = s->policies[i].failure_rules;
	return n;
}
