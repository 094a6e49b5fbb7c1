/*
 * pool.c - who may be asked: what holds as long as the snapshot (pool_make), and what may be another
 * thing at the next moment (pool_look).
 */
#include "base/hash.h"
#include "route/route-int.h"
#include "route/standing.h"
#include "store/usage.h"
#include "wire/provider.h"

#include <stdlib.h>
#include <string.h>

#define ALL_STATES ((1u << TARGET__STATES) - 1)

/* Where figures go that nobody keeps, when the board is full. */
static struct board_target nobody;

/* ---- made once ---- */

/* A pool being made. */
struct making {
	const struct route_table *t;
	struct view *view;
	struct pool *p;
	const struct table_route *by[2]; /* whose constraints hold */
	size_t seat_room, unit_room;
	bool failed;
};

/* One target of it. */
struct branch {
	const struct table_upstream *u;
	struct span model, own; /* as it is asked for, and as it goes out */
	bool is_alias, is_explicit;
	int64_t weight, priority[2];
	struct bounds bounds;
	size_t first_seat;
};

static void *
grown(void *at, size_t *room, size_t count, size_t most, size_t bytes)
{
	size_t more = *room == 0 ? 16 : *room * 2;

	if (count < *room || *room >= most)
		return at;
	at = reallocarray(at, more, bytes);
	if (at != NULL)
		*room = more;
	return at;
}

static void
count_shut(struct pool *p, const struct table_upstream *u, const struct table_key *k,
	enum route_reason why)
{
	p->considered++;
	if (p->out[why] < UINT16_MAX)
		p->out[why]++;
	if (p->shut_count == ROUTE_SHOWN_MAX)
		return;
	p->shut[p->shut_count++] = (struct shut){ .upstream = u->record->head.id,
		.key = k == NULL ? ID_NONE : k->record->id,
		.reason = (uint8_t)why };
}

static bool
is_own(const struct table_key *k, struct id project)
{
	return !id_is_none(k->record->project) && id_equal(k->record->project, project);
}

static bool
has_own(const struct table_upstream *u, struct id project)
{
	for (size_t i = 0; i < u->key_count; i++)
		if (is_own(&u->keys[i], project))
			return true;
	for (size_t i = 0; i < u->lent_count; i++)
		if (is_own(&u->lent[i], project))
			return true;
	return false;
}

static const struct table_key *
nth_key(const struct table_upstream *u, size_t n)
{
	return n < u->key_count ? &u->keys[n] : &u->lent[n - u->key_count];
}

static size_t
keys_of(const struct table_upstream *u)
{
	return u->record->auth == AUTH_NONE ? 0 : u->key_count + u->lent_count;
}

static void
shut_branch(struct making *m, const struct table_upstream *u, enum route_reason why)
{
	size_t count = keys_of(u);

	if (count == 0)
		count_shut(m->p, u, NULL, why);
	for (size_t i = 0; i < count; i++)
		count_shut(m->p, u, nth_key(u, i), why);
}

/* Policies that bind this pool and that upstream whole; those of keys are for later. */
static bool
binds_branch(const struct making *m, const struct table_policy *p, const struct table_upstream *u)
{
	const struct route *route = m->p->route == NULL ? NULL : m->p->route->record;

	return p->record->scope != POLICY_OF_KEY && policy_binds(p, route, m->view->project) &&
	       policy_is_of(p, u, NULL);
}

static enum route_reason
constrained(const struct making *m, const struct branch *b)
{
	struct span name = span_of(b->u->record->name);

	for (int i = 0; i < 2; i++) {
		const struct route *r = m->by[i] == NULL ? NULL : m->by[i]->record;

		if (r == NULL)
			continue;
		if (!glob_list_match(r->allowed_upstreams, name) ||
			(r->blocked_upstreams[0] != '\0' &&
				glob_list_match(r->blocked_upstreams, name)))
			return REASON_CONSTRAINT;
	}
	for (size_t i = 0; i < m->t->policy_count; i++) {
		const struct table_policy *p = &m->t->policies[i];

		if (!binds_branch(m, p, b->u) || !policy_forbids_unit(p, b->u, b->model, b->own))
			continue;
		policy_tell(m->view, p);
		return REASON_POLICY;
	}
	return b->u->record->breaker_forced == BREAKER_FORCED_OPEN ? REASON_BREAKER : REASON_CHOSEN;
}

static void
bound(const struct making *m, struct branch *b)
{
	b->bounds = (struct bounds){ .max_cost_nusd = INT64_MAX,
		.states = ALL_STATES,
		.free_only = b->u->record->free_only };
	for (int i = 0; i < 2; i++) {
		const struct route *r = m->by[i] == NULL ? NULL : m->by[i]->record;

		if (r != NULL && r->max_cost_nusd > 0 && r->max_cost_nusd < b->bounds.max_cost_nusd)
			b->bounds.max_cost_nusd = r->max_cost_nusd;
		if (r != NULL && r->min_reliability > b->bounds.min_reliability)
			b->bounds.min_reliability = r->min_reliability;
	}
	for (size_t i = 0; i < m->t->policy_count; i++)
		if (binds_branch(m, &m->t->policies[i], b->u) &&
			policy_bounds(&m->t->policies[i], &b->bounds))
			policy_tell(m->view, &m->t->policies[i]);
}

/* What a target is called among the pool's words: the same key at two models is two of them. */
static struct id
member_id(const struct branch *b, struct id of)
{
	struct id id =
		board_target_part(of, "at", &b->u->record->head.id, sizeof b->u->record->head.id);

	return b->is_explicit ? board_target_part(id, "as", b->own.at, b->own.len) : id;
}

/* By its name, or as its provider lists it; what a price says of it may change. */
static bool
is_free_model(const struct route_table *t, const struct branch *b)
{
	static const char mark[] = ":free";
	const size_t len = sizeof mark - 1;
	const struct snapshot_model *found =
		snapshot_discovered(t->snapshot, b->u->record->head.id, b->own);

	return (found != NULL && found->is_free) ||
	       (b->own.len >= len && memcmp(b->own.at + b->own.len - len, mark, len) == 0);
}

static struct unit *
add_unit(struct making *m, const struct branch *b, const struct bounds *bounds)
{
	struct pool *p = m->p;
	struct unit *u;

	p->units = grown(p->units, &m->unit_room, p->unit_count, UNITS_MAX, sizeof *p->units);
	if (p->units == NULL || p->unit_count >= m->unit_room) {
		m->failed = p->units == NULL;
		return NULL;
	}
	u = &p->units[p->unit_count++];
	memset(u, 0, sizeof *u);
	u->upstream = b->u;
	u->model = b->own;
	u->bounds = *bounds;
	u->weight = (double)b->weight;
	u->first = (uint32_t)p->seat_count;
	u->branch = p->branches;
	u->is_free = is_free_model(m->t, b);
	u->word = board_share(m->t->board, p->id, member_id(b, b->u->record->head.id));
	return u;
}

static void
add_seat(struct making *m, const struct branch *b, const struct table_key *k)
{
	struct pool *p = m->p;
	const struct upstream *r = b->u->record;
	struct id of = k == NULL ? r->head.id : k->record->id;
	struct seat *s;

	p->seats = grown(p->seats, &m->seat_room, p->seat_count, SEATS_MAX, sizeof *p->seats);
	if (p->seats == NULL || p->seat_count >= m->seat_room) {
		m->failed = p->seats == NULL;
		return;
	}
	s = &p->seats[p->seat_count++];
	memset(s, 0, sizeof *s);
	s->key = k;
	s->target = k == NULL ? b->u->target : k->target;
	if (s->target == NULL)
		s->target = &nobody;
	atomic_init(&s->at_model, s->target);
	s->weight = (float)b->weight * (float)(k == NULL ? 1 : k->record->weight);
	s->step = share_step((double)s->weight);
	s->word = board_share(m->t->board, p->id,
		k == NULL ? member_id(b, board_target_part(of, "key", "", 0)) : member_id(b, of));
	s->tag = s->word == NULL ? 0 : now_at(&s->word->tag);
	s->quality = (int16_t)(k != NULL && k->quality >= 0 ? k->quality : b->u->quality);
	s->max_parallel = k == NULL ? 0 : (int32_t)k->record->max_parallel;
	s->rank = (uint16_t)(k == NULL || k->record->priority < 0 ? 0
			     : k->record->priority > UINT16_MAX   ? UINT16_MAX
								  : k->record->priority);
	s->unit = (uint16_t)(p->unit_count - 1);
	p->units[p->unit_count - 1].count++;
}

/* What keeps a key out for good; narrows *bounds by the policies of the key itself. */
static enum route_reason
key_out(struct making *m, const struct branch *b, const struct table_key *k, bool own,
	struct bounds *bounds)
{
	const struct route *route = m->p->route == NULL ? NULL : m->p->route->record;

	if (k != NULL && (own ? !is_own(k, m->view->project) : !id_is_none(k->record->project)))
		return REASON_PROJECT;
	if (k != NULL && !table_key_serves(k, b->model, b->own, b->is_alias))
		return REASON_MODEL;
	for (int i = 0; i < 2; i++)
		if (m->by[i] != NULL &&
			!place_fits(m->by[i]->record->regions, m->by[i]->record->tenants, b->u, k))
			return REASON_CONSTRAINT;
	for (size_t i = 0; i < m->t->policy_count; i++) {
		const struct table_policy *p = &m->t->policies[i];
		bool is_keys = p->record->scope == POLICY_OF_KEY;

		if (!policy_binds(p, route, m->view->project) || !policy_is_of(p, b->u, k))
			continue;
		if (policy_forbids_key(p, b->u, k) ||
			(is_keys && policy_forbids_unit(p, b->u, b->model, b->own))) {
			policy_tell(m->view, p);
			return REASON_POLICY;
		}
		if (is_keys && policy_bounds(p, bounds))
			policy_tell(m->view, p);
	}
	return REASON_CHOSEN;
}

static bool
bound_alike(const struct bounds *a, const struct bounds *b)
{
	return a->max_cost_nusd == b->max_cost_nusd && a->min_reliability == b->min_reliability &&
	       a->states == b->states && a->free_only == b->free_only &&
	       a->refuse_unpriced == b->refuse_unpriced;
}

/* Its keys in units: those bound alike, one after another, are one. */
static void
add_branch(struct making *m, struct branch *b)
{
	bool own = has_own(b->u, m->view->project);
	size_t count = keys_of(b->u), most = count == 0 ? 1 : count;
	struct unit *unit = NULL;

	bound(m, b);
	for (size_t i = 0; i < most && !m->failed; i++) {
		const struct table_key *k = count == 0 ? NULL : nth_key(b->u, i);
		struct bounds bounds = b->bounds;
		enum route_reason why;

		if (k == NULL && b->u->record->auth != AUTH_NONE)
			return; /* it has none yet */
		why = key_out(m, b, k, own, &bounds);
		if (why != REASON_CHOSEN) {
			count_shut(m->p, b->u, k, why);
			continue;
		}
		if (unit == NULL || !bound_alike(&unit->bounds, &bounds))
			unit = add_unit(m, b, &bounds);
		if (unit == NULL)
			return;
		unit->tier = 0;
		m->p->considered++;
		add_seat(m, b, k);
	}
	m->p->branches++;
}

/* Does it understand what is asked for?  Plain HTTP APIs are asked when they are named, or the default. */
static bool
understands(const struct upstream *u, const struct view *v)
{
	const struct provider *p = provider_at(u->protocol);

	if (p == NULL || !p->is_model)
		return v->model_len == 0;
	return v->is_conversation || p->dialect == v->dialect;
}

/* ---- tiers ---- */

/* A unit's target and upstream priority, while tiers are not yet dense. */
struct rung {
	int64_t of[2];
};

static int
by_rung(const void *a, const void *b)
{
	const struct rung *x = a, *y = b;

	for (int i = 0; i < 2; i++)
		if (x->of[i] != y->of[i])
			return x->of[i] < y->of[i] ? -1 : 1;
	return 0;
}

/* The targets of a pool, before their units are made. */
struct targets {
	struct branch *of;
	size_t count, room;
};

static int
order_tiers(struct pool *p, const struct targets *targets, const uint32_t *branch_target)
{
	struct rung *all = calloc(targets->count + 1, sizeof *all);
	size_t kept = 0;

	if (all == NULL)
		return -1;
	for (size_t i = 0; i < targets->count; i++)
		memcpy(all[i].of, targets->of[i].priority, sizeof all[i].of);
	qsort(all, targets->count, sizeof *all, by_rung);
	for (size_t i = 0; i < targets->count; i++)
		if (kept == 0 || by_rung(&all[kept - 1], &all[i]) != 0)
			all[kept++] = all[i];
	p->tiers = (uint32_t)kept;
	for (size_t i = 0; i < p->unit_count; i++) {
		struct rung mine;

		memcpy(mine.of, targets->of[branch_target[p->units[i].branch]].priority,
			sizeof mine.of);
		for (size_t k = 0; k < kept; k++)
			if (by_rung(&all[k], &mine) == 0)
				p->units[i].tier = (uint32_t)k;
	}
	free(all);
	return 0;
}

static int
by_number(const void *a, const void *b)
{
	const uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;

	return (x > y) - (x < y);
}

/* Priorities of a target's keys become 0, 1, 2 …  Seats of one branch stand together. */
static int
order_ranks(struct pool *p)
{
	uint16_t *ranks = calloc(p->seat_count + 1, sizeof *ranks);
	size_t end;

	if (ranks == NULL)
		return -1;
	for (size_t i = 0; i < p->seat_count; i = end) {
		uint32_t branch = p->units[p->seats[i].unit].branch;
		size_t kept = 0;

		for (end = i; end < p->seat_count && p->units[p->seats[end].unit].branch == branch;
			end++)
			ranks[end - i] = p->seats[end].rank;
		qsort(ranks, end - i, sizeof *ranks, by_number);
		for (size_t k = 0; k < end - i; k++)
			if (kept == 0 || ranks[kept - 1] != ranks[k])
				ranks[kept++] = ranks[k];
		p->has_ranks |= kept > 1;
		for (size_t s = i; s < end; s++) {
			uint16_t *at =
				bsearch(&p->seats[s].rank, ranks, kept, sizeof *ranks, by_number);

			p->seats[s].rank = (uint16_t)(at - ranks);
		}
	}
	free(ranks);
	return 0;
}

static struct id
group_id(const struct table_upstream *u)
{
	const char *name = u->record->group;

	return name[0] == '\0' ? u->record->head.id
			       : board_target_part(ID_NONE, "group", name, strlen(name));
}

/* Upstreams without a group are one each. */
static void
order_groups(const struct making *m)
{
	struct pool *p = m->p;

	for (size_t i = 0; i < p->unit_count; i++) {
		struct id id = group_id(p->units[i].upstream);
		size_t k = 0;

		while (k < i && !id_equal(group_id(p->units[k].upstream), id))
			k++;
		if (k < i) {
			p->units[i].group = p->units[k].group;
			p->units[i].group_word = p->units[k].group_word;
			continue;
		}
		p->units[i].group = p->groups++;
		p->units[i].group_word =
			board_share(m->t->board, p->id, board_target_part(id, "turns", "group", 5));
	}
}

/* ---- targets ---- */

static void
add_target(struct making *m, struct targets *all, const struct table_upstream *u,
	const struct table_target *line, bool admits)
{
	struct branch b = { .u = u, .model = m->p->model };
	enum route_reason why = REASON_CHOSEN;

	b.weight = line != NULL ? line->weight : u->record->weight < 1 ? 1 : u->record->weight;
	b.priority[0] = line == NULL ? 0 : line->priority;
	b.priority[1] = u->record->priority;
	if (line != NULL && line->model.len > 0) {
		b.model = line->model;
		b.is_explicit = admits = true;
	}
	b.own = b.model.len == 0 ? b.model : table_own_name(u, b.model, &b.is_alias);
	if (b.model.len > 0 && !table_serves(m->t->snapshot, u, b.model, b.own, b.is_alias, admits))
		why = REASON_MODEL;
	else if (m->view->named == NULL && !understands(u->record, m->view))
		why = REASON_DIALECT;
	if (why != REASON_CHOSEN) {
		if (line != NULL || m->view->named != NULL) /* else it is none of the pool's */
			shut_branch(m, u, why);
		return;
	}
	m->p->is_served = true;
	why = constrained(m, &b);
	if (why != REASON_CHOSEN) {
		shut_branch(m, u, why);
		return;
	}
	all->of = grown(all->of, &all->room, all->count, UNITS_MAX, sizeof *all->of);
	if (all->of == NULL || all->count >= all->room) {
		m->failed = all->of == NULL;
		return;
	}
	all->of[all->count++] = b;
}

static void
find_targets(struct making *m, struct targets *all, bool again)
{
	const struct table_route *r = m->p->route;
	const struct table_upstream *named = m->view->named;
	bool any = false;

	for (size_t i = 0; r != NULL && i < r->target_count && !m->failed; i++) {
		const struct table_target *line = &r->target[i];

		/* what a fallback's own target says is what was asked before */
		if (line->upstream == NULL || (named != NULL && line->upstream != named) ||
			(again && line->model.len > 0))
			continue;
		any = true;
		add_target(m, all, line->upstream, line, named != NULL);
	}
	if (any || (r != NULL && r->target_count > 0 && named == NULL && !again))
		return;
	if (named != NULL) {
		add_target(m, all, named, NULL, true);
		return;
	}
	for (size_t i = 0; i < m->t->upstream_count && !m->failed; i++) {
		const struct table_upstream *u = &m->t->upstreams[i];

		if (m->p->model.len == 0 && !u->record->is_default && m->t->upstream_count > 1)
			continue;
		add_target(m, all, u, NULL, false);
	}
}

/* Without a route the pool is who serves it: the same ones share the same turns. */
static struct id
pool_id(const struct pool *p, const struct targets *all)
{
	uint64_t half[2] = { 5, 7 };
	struct id id;

	if (p->route != NULL)
		return p->route->record->head.id;
	for (size_t i = 0; i < all->count; i++)
		for (int h = 0; h < 2; h++)
			half[h] =
				hash_64(&all->of[i].u->record->head.id, sizeof(struct id), half[h]);
	memcpy(&id, half, sizeof id);
	return id;
}

static void
set_strategy(struct making *m)
{
	struct pool *p = m->p;
	const struct route *route = p->route == NULL ? NULL : p->route->record;
	bool has_strategy = false, has_objectives = false;

	p->strategy = route == NULL ? STRATEGY_WEIGHTED : (enum route_strategy)route->strategy;
	if (p->route != NULL)
		p->objectives = p->route->objectives;
	for (size_t i = 0; i < m->t->policy_count; i++) {
		const struct table_policy *policy = &m->t->policies[i];
		const struct policy *r = policy->record;

		if (r->scope == POLICY_OF_KEY || r->scope == POLICY_OF_UPSTREAM ||
			!policy_binds(policy, route, m->view->project))
			continue;
		if (r->strategy > 0 && r->strategy <= STRATEGY__COUNT && !has_strategy) {
			p->strategy = (enum route_strategy)(r->strategy - 1);
			has_strategy = true;
			policy_tell(m->view, policy);
		}
		if (r->objectives[0] != '\0' && !has_objectives) {
			p->objectives = policy->objectives;
			has_objectives = true;
			policy_tell(m->view, policy);
		}
	}
}

int
pool_make(const struct route_table *t, struct view *v, struct pool *p,
	const struct table_route *bound_by, bool again)
{
	struct making m = { .t = t,
		.view = v,
		.p = p,
		.by = { p->route, bound_by == p->route ? NULL : bound_by } };
	struct targets all = { 0 };
	uint32_t *branch_target = NULL;

	find_targets(&m, &all, again);
	p->id = pool_id(p, &all);
	p->turn = board_share(t->board, p->id, board_target_part(p->id, "turn", "", 0));
	p->last = board_share(t->board, p->id, board_target_part(p->id, "last", "", 0));
	set_strategy(&m);
	branch_target = calloc(all.count + 1, sizeof *branch_target);
	for (size_t i = 0; i < all.count && !m.failed && branch_target != NULL; i++) {
		branch_target[p->branches] = (uint32_t)i;
		add_branch(&m, &all.of[i]);
	}
	if (branch_target == NULL || order_tiers(p, &all, branch_target) != 0 ||
		order_ranks(p) != 0)
		m.failed = true;
	order_groups(&m);
	free(branch_target);
	free(all.of);
	return m.failed ? -1 : 0;
}

void
pool_free(struct pool *p)
{
	free(p->units);
	free(p->seats);
}

static struct board_target *
find_at_model(const struct route_table *t, struct id whole, struct span model)
{
	return board_target_find(t->board, board_target_part(whole, "model", model.at, model.len));
}

void
pool_refresh(const struct route_table *t, struct pool *p)
{
	struct board_target *found;

	for (size_t i = 0; i < p->unit_count; i++) {
		struct unit *u = &p->units[i];
		struct seat *end = &p->seats[u->first + u->count];

		if (u->model.len == 0)
			continue;
		if (atomic_load_explicit(&u->at_model, memory_order_relaxed) == NULL)
			atomic_store_explicit(&u->at_model,
				find_at_model(t, u->upstream->record->head.id, u->model),
				memory_order_relaxed);
		for (struct seat *s = &p->seats[u->first]; s < end; s++)
			if (s->key != NULL && seat_at_model(s) == s->target &&
				(found = find_at_model(t, s->key->record->id, u->model)) != NULL)
				atomic_store_explicit(&s->at_model, found, memory_order_relaxed);
	}
}

/* ---- at the moment of a decision ---- */

/* What one part of a candidate says.  The latest that it rests until stands in *u. */
static void
look_at(const struct board_target *t, enum standing_may may, struct unit_now *u)
{
	int64_t until_ms;

	if (may == STANDING_MAY)
		return;
	until_ms = now_at(&t->rest_until_ms);
	if (may == STANDING_DUE) {
		if (u->reason == REASON_CHOSEN &&
			(!u->is_due || until_ms < u->until_ms)) /* since when */
			u->until_ms = until_ms;
		u->is_due = true;
		return;
	}
	if (u->reason != REASON_CHOSEN && u->reason != REASON_PROBED && u->until_ms >= until_ms)
		return;
	if (may == STANDING_PROBED && u->reason != REASON_CHOSEN)
		return;
	u->reason = (uint8_t)standing_reason(t, may);
	u->until_ms = may == STANDING_PROBED ? 0 : until_ms;
}

static void
look_at_part(const struct look *l, const struct upstream *r, const struct board_target *t,
	struct unit_now *u)
{
	look_at(t, standing_may_through(l->board, r, t, l->now_ms), u);
}

/* The share of who is on his way back: the smallest of those seen so far, and of this one. */
static float
ramp_of(const struct board_target *t, float least)
{
	float part = t == NULL ? 1 : (float)part_ppm(&t->share_ppm) * 1e-6f;

	return part < least ? part : least;
}

static bool
scores_costs(const struct pool *p)
{
	return p->strategy == STRATEGY_OBJECTIVE && p->objectives.share[OBJECTIVE_COST] > 0;
}

static void
look_at_costs(const struct look *l, const struct unit *u, struct unit_now *now)
{
	const struct route_ask *ask = l->ask;
	const struct bounds *b = &u->bounds;
	const struct upstream *r = u->upstream->record;
	bool is_bound = b->max_cost_nusd != INT64_MAX || b->refuse_unpriced;

	now->worst = now->usual = COST_UNKNOWN;
	if (ask->cost != NULL && (b->free_only || scores_costs(l->pool)))
		now->usual = ask->cost(ask->ctx, r, u->model, true);
	if (ask->cost != NULL && is_bound) {
		now->worst = ask->cost(ask->ctx, r, u->model, false);
		if (now->worst == COST_UNKNOWN)
			now->reason = REASON_UNPRICED;
		else if (now->worst > b->max_cost_nusd)
			now->reason = REASON_COST;
	}
	if (b->free_only && !u->is_free && now->usual != 0)
		now->reason = REASON_COST;
}

static void
look_at_unit(const struct look *l, const struct unit *u, struct unit_now *now)
{
	const struct upstream *r = u->upstream->record;
	struct board_target *t = u->upstream->target;

	*now = (struct unit_now){ .reason = REASON_CHOSEN };
	look_at_costs(l, u, now);
	if (now->reason != REASON_CHOSEN)
		return;
	look_at_part(l, r, t, now);
	look_at_part(l, r, atomic_load_explicit(&u->at_model, memory_order_relaxed), now);
	look_at_part(l, r, u->upstream->target_group, now);
	now->ramp = ramp_of(t, 1);
	now->ramp = ramp_of(atomic_load_explicit(&u->at_model, memory_order_relaxed), now->ramp);
	now->ramp = ramp_of(u->upstream->target_group, now->ramp);
	if (now->reason == REASON_CHOSEN && r->max_parallel > 0 && t != NULL &&
		now_at(&t->inflight) >= r->max_parallel)
		now->reason = REASON_FULL;
}

static void
turn_away(struct look *l, uint32_t seat, enum route_reason why, int64_t until_ms)
{
	l->out[why]++;
	if (why == REASON_FULL || why == REASON_PROBED)
		l->may_free = true;
	if (until_ms > l->now_ms && (l->wakes_ms == 0 || until_ms < l->wakes_ms))
		l->wakes_ms = until_ms;
	if (l->away_count < ROUTE_SHOWN_MAX)
		l->away[l->away_count++] = (struct turned_away){
			.seat = seat, .reason = (uint8_t)why, .until_ms = until_ms
		};
}

#define ENOUGH_CALLS 20 /* before a key's reliability is held against it */

static bool
is_unreliable(const struct board_target *t, int64_t least_percent)
{
	int64_t ppm = now_at(&t->success_ppm);

	return ppm > 0 && ppm - 1 < least_percent * 10000 && now_at(&t->picks) >= ENOUGH_CALLS;
}

/* Only a part of its weight is left: it, or what it belongs to, is coming back, or it must last until its
 * quota's reset. */
static bool
thins(const struct seat *s, float ramp, float *weight)
{
	float own = (float)seat_ramp_ppm(s) * 1e-6f, lasts = (float)seat_lasts_ppm(s) * 1e-6f;

	*weight *= (own < ramp ? own : ramp) * lasts;
	return ramp < 1 || own < 1 || lasts < 1;
}

static inline bool
may_be_thin(const struct board_target *t)
{
	return (now_at(&t->share_ppm) | now_at(&t->forecast_share_ppm)) != 0;
}

/* What a unit asks of all its seats alike. */
struct asked {
	unsigned states;         /* that a plain key may be in */
	uint64_t unreliable_ppm; /* below which success_ppm wants a closer look; 0: none does */
	int64_t now_ms;
	uint32_t tier;
	bool all_closer; /* the unit itself is due */
	float ramp;      /* of its upstream, the model there and the account */
};

/* Nearly all seats are live, and nothing but that is to be said of them. */
static inline bool
is_plain(const struct seat *s, const struct board_target *t, const struct board_target *at,
	const struct asked *a)
{
	int64_t unusual = now_at(&t->rest_until_ms) | now_at(&at->rest_until_ms) |
			  now_at(&t->forecast_hold_ms) | now_at(&at->forecast_hold_ms) |
			  s->max_parallel | (int64_t)a->all_closer;
	/* 0, which is not known, becomes the greatest */
	uint64_t success = (uint64_t)now_at(&t->success_ppm) - 1;

	return unusual == 0 && (a->states >> (now_at(&t->standing) & 7) & 1) != 0 &&
	       success >= a->unreliable_ppm;
}

/* The others.  *hold_ms: until when a forecast holds it. */
static __attribute__((noinline)) enum route_reason
look_closer(const struct look *l, const struct seat *s, const struct unit *unit,
	struct unit_now *now, int64_t *hold_ms)
{
	const struct board_target *t = s->target, *at = seat_at_model(s);
	int64_t state = now_at(&t->standing) & 0xFF;

	now->reason = REASON_CHOSEN;
	if (s->key != NULL) /* else the unit was looked at */
		look_at_part(l, unit->upstream->record, t, now);
	if (s->key != NULL && state == TARGET_DISABLED && now->reason == REASON_CHOSEN)
		return REASON_INVALID; /* a person took it away a moment ago */
	if (at != t) {
		int64_t hold_at_ms = now_at(&at->forecast_hold_ms);

		look_at_part(l, unit->upstream->record, at, now);
		*hold_ms = hold_at_ms > *hold_ms ? hold_at_ms : *hold_ms;
	}
	if ((unit->bounds.states >> (state & 7) & 1) == 0)
		return REASON_POLICY;
	if (unit->bounds.min_reliability > 0 && is_unreliable(t, unit->bounds.min_reliability))
		return REASON_RELIABILITY;
	if (now->reason == REASON_CHOSEN && s->max_parallel > 0 &&
		now_at(&t->inflight) >= s->max_parallel)
		return REASON_FULL;
	return (enum route_reason)now->reason;
}

/* Of one that may be asked: its rest is over, so that one request finds out, whatever is foreseen of it. */
static bool
rested(const struct seat *s)
{
	const struct board_target *at = atomic_load_explicit(&s->at_model, memory_order_relaxed);

	return now_at(&s->target->rest_until_ms) != 0 ||
	       (at != NULL && now_at(&at->rest_until_ms) != 0);
}

/* Not plain: fills in what is to be said of it; false: it is turned away. */
static __attribute__((noinline)) bool
look_hard(struct look *l, uint32_t i, const struct unit *unit, const struct unit_now *un,
	struct live *live)
{
	const struct seat *s = &l->pool->seats[i];
	int64_t hold_ms = now_at(&s->target->forecast_hold_ms);
	struct unit_now now = *un;
	enum route_reason why = look_closer(l, s, unit, &now, &hold_ms);

	if (why != REASON_CHOSEN) {
		turn_away(l, i, why, now.until_ms);
		return false;
	}
	live->standing = now.is_due ? STANDS_DUE : STANDS_LIVE;
	live->until_ms = now.until_ms;
	if (hold_ms > l->now_ms && !rested(s)) {
		live->standing = STANDS_HELD;
		live->until_ms = hold_ms;
	}
	return true;
}

static inline bool
look_at_seat(struct look *l, uint32_t i, const struct unit *unit, const struct unit_now *un,
	const struct asked *a, struct live *live)
{
	const struct seat *s = &l->pool->seats[i];
	const struct board_target *t = s->target, *at = seat_at_model(s);

	*live = (struct live){
		.seat = i, .tier = a->tier | s->rank, .standing = STANDS_LIVE, .weight = s->weight
	};
	if (!is_plain(s, t, at, a) && !look_hard(l, i, unit, un, live))
		return false;
	if (a->ramp < 1 || may_be_thin(t) || may_be_thin(at)) {
		live->is_thin = thins(s, a->ramp, &live->weight);
		live->class = live->is_thin && l->has_sitting_out && strategy_sits_out(l, live, s);
	}
	return true;
}

/* Keys of a target count from the best of them that is live. */
static void
lift_ranks(struct look *l)
{
	uint32_t branch = UINT32_MAX, best = 0;

	for (int i = 0, from = 0; i <= l->count; i++) {
		uint32_t mine = i == l->count ? UINT32_MAX : unit_of(l, &l->live[i])->branch;

		if (mine != branch || i == l->count) {
			for (; from < i; from++)
				l->live[from].tier -= (l->live[from].tier & 0xFFFF) < best
							      ? l->live[from].tier & 0xFFFF
							      : best;
			branch = mine;
			best = UINT32_MAX;
		}
		if (i < l->count && l->live[i].standing == STANDS_LIVE &&
			(l->live[i].tier & 0xFFFF) < best)
			best = l->live[i].tier & 0xFFFF;
	}
}

/* So that the words of those that come next are there when they are needed. */
#define AHEAD 8

static void
fetch(const struct seat *s)
{
	__builtin_prefetch(s->target);
	__builtin_prefetch(seat_at_model(s));
	__builtin_prefetch(s->word);
}

static void
look_at_some(struct look *l, const struct unit *u, const struct unit_now *now,
	const struct asked *a, uint32_t from, uint32_t to)
{
	const struct seat *seats = l->pool->seats;
	const uint32_t count = (uint32_t)l->pool->seat_count;
	const uint32_t fetched = count < AHEAD ? 0 : count - AHEAD; /* up to which more follow */
	int first = l->count;
	struct live *live = &l->live[first];

	for (uint32_t s = from; s < to; s++) {
		if (s < fetched)
			fetch(&seats[s + AHEAD]);
		if (!look_at_seat(l, s, u, now, a, live))
			continue;
		l->standing[live->standing]++;
		live++;
	}
	l->count = (int)(live - l->live);
	if (l->wants_figures)
		score_figures(l, first);
}

/* So few at a time that what is read to judge them is at hand when they are scored. */
#define AT_ONCE 32

static void
look_at_seats(struct look *l, const struct unit *u, const struct unit_now *now)
{
	const struct asked a = { .states = u->bounds.states & ~(1u << TARGET_DISABLED),
		.unreliable_ppm = (uint64_t)u->bounds.min_reliability * 10000,
		.now_ms = l->now_ms,
		.tier = u->tier << 16,
		.all_closer = now->is_due,
		.ramp = now->ramp };
	uint32_t end = u->first + u->count;

	for (uint32_t s = u->first; s < end; s += AT_ONCE)
		look_at_some(l, u, now, &a, s, end - s < AT_ONCE ? end : s + AT_ONCE);
}

static void
find_best_tier(struct look *l)
{
	l->best_tier = UINT32_MAX;
	l->behind = 0;
	if (l->pool->tiers <= 1 && !l->pool->has_ranks) {
		if (l->standing[STANDS_LIVE] > 0)
			l->best_tier = 0;
		return;
	}
	for (int i = 0; i < l->count; i++)
		if (l->live[i].standing == STANDS_LIVE && l->live[i].tier < l->best_tier)
			l->best_tier = l->live[i].tier;
	for (int i = 0; i < l->count; i++)
		l->behind += l->live[i].standing != STANDS_HELD && l->live[i].tier > l->best_tier;
}

/* Fairness alone is what shares are. */
static bool
scores_matter(const struct pool *p)
{
	bool any = false;

	for (int i = 0; i < OBJECTIVES; i++)
		any |= i != OBJECTIVE_FAIRNESS && p->objectives.share[i] > 0;
	return p->strategy == STRATEGY_OBJECTIVE && any;
}

void
pool_look(struct look *l)
{
	const struct pool *p = l->pool;

	l->count = l->away_count = 0;
	l->wakes_ms = 0;
	l->may_free = false;
	l->wants_figures = scores_matter(p);
	l->has_sitting_out = strategy_has_sitting_out(p->strategy);
	memset(l->out, 0, sizeof l->out);
	memset(l->standing, 0, sizeof l->standing);
	if (l->wants_figures)
		score_begin(l);
	l->turn = p->turn == NULL ? l->now_ms : now_at(&p->turn->at);
	for (size_t i = 0; i < p->unit_count; i++) {
		const struct unit *u = &p->units[i];
		struct unit_now *now = &l->unit[i];

		look_at_unit(l, u, now);
		if (now->reason == REASON_CHOSEN) {
			look_at_seats(l, u, now);
			continue;
		}
		for (uint32_t s = u->first; s < u->first + u->count; s++)
			turn_away(l, s, now->reason, now->until_ms);
	}
	if (p->has_ranks)
		lift_ranks(l);
	find_best_tier(l);
}
