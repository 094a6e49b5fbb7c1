/*
 * plan.c - one decision: the stages of a view looked at one after another, those who may be asked put
 * in order, and why the others are not.
 */
#include "base/clock.h"
#include "route/route-int.h"

#include <stdio.h>
#include <string.h>

#define STAGE_ROOM     3 /* candidates kept free for each fallback */
#define BUSY_RETRY_MS  1000
#define PROBE_WAITS_MS 60000 /* for a request that has no affinity */

/* What is being decided. */
struct deciding {
	const struct view *view;
	const struct route_ask *ask;
	struct route_plan *plan;
	struct look *look;
	int later;       /* candidates to wait for */
	int stage, room; /* room: how many candidates there may be after this stage */
	double weights;  /* of those that are ranked together */
	bool is_scored;  /* those have scores */
	uint32_t who[ROUTE_ATTEMPTS_MAX]; /* the lives of the candidates, of their stage */
};

/* A view's own copy of what was asked for becomes the asker's. */
static struct span
model_of(const struct deciding *d, struct span model)
{
	if (model.at >= d->view->model && model.at <= d->view->model + d->view->model_len)
		return (struct span){ d->ask->model.at + (model.at - d->view->model), model.len };
	return model;
}

static struct route_member *
add_member(struct route_record *r, struct id upstream, struct id key, uint8_t reason, int stage)
{
	struct route_member *m;

	if (r->member_count == ROUTE_ATTEMPTS_MAX + ROUTE_SHOWN_MAX)
		return NULL;
	m = &r->member[r->member_count++];
	memset(m, 0, sizeof *m);
	m->upstream = upstream;
	m->key = key;
	m->reason = reason;
	m->stage = (uint8_t)stage;
	return m;
}

/* How much of its weight the forecast of its quota leaves it, of 255. */
static uint8_t
lasting(const struct seat *s)
{
	return (uint8_t)(seat_lasts_ppm(s) * 255 / PPM_ALL);
}

static void
add_candidate(struct deciding *d, const struct live *who)
{
	struct route_plan *plan = d->plan;
	const struct seat *s = &d->look->pool->seats[who->seat];
	const struct unit *u = &d->look->pool->units[s->unit];
	struct route_candidate *c;
	struct route_member *m;

	if (plan->count >= d->room)
		return;
	d->who[plan->count] = (uint32_t)(who - d->look->live);
	c = &plan->candidate[plan->count++];
	c->upstream = u->upstream->record;
	c->key = s->key == NULL ? NULL : s->key->record;
	c->model = model_of(d, u->model);
	c->stage = (uint8_t)d->stage;
	c->member = plan->record.member_count;
	c->is_probe = who->standing == STANDS_DUE;
	c->share = s->word;
	c->share_step = who->is_thin ? share_step((double)who->weight) : s->step;
	c->target_key = s->key == NULL ? NULL : s->key->target;
	c->target_key_model = seat_at_model(s) == s->target ? NULL : seat_at_model(s);
	c->target_upstream = u->upstream->target;
	c->target_upstream_model = atomic_load_explicit(&u->at_model, memory_order_relaxed);
	c->target_group = u->upstream->target_group;
	m = add_member(&plan->record, c->upstream->head.id, c->key == NULL ? ID_NONE : c->key->id,
		who->standing == STANDS_HELD ? REASON_FORECAST : REASON_NEXT, d->stage);
	if (m == NULL)
		return;
	m->until_ms = who->until_ms;
	m->forecast = lasting(s);
	if (d->is_scored)
		score_tell(d->look, who, m);
	if (d->weights > 0)
		m->share_permille = (uint16_t)((double)who->weight / d->weights * 1000 + 0.5);
}

static bool
goes_before(const struct live *a, const struct live *b)
{
	if (a->class != b->class)
		return a->class < b->class;
	return a->rank < b->rank;
}

/* The best of some[], as many as there is room for, in order. */
static void
add_best(struct deciding *d, const uint32_t *some, int count)
{
	const struct live *all = d->look->live;
	uint32_t best[ROUTE_ATTEMPTS_MAX];
	int n = 0, most = d->room - d->plan->count;
	uint8_t worst_class = 0;
	double worst_rank = 0;

	for (int i = 0; i < count && most > 0; i++) {
		const struct live *who = &all[some[i]];
		int at = n;

		if (n == most && (who->class > worst_class ||
					 (who->class == worst_class && who->rank >= worst_rank)))
			continue;
		if (n < most)
			n++;
		else
			at--;
		for (; at > 0 && goes_before(who, &all[best[at - 1]]); at--)
			best[at] = best[at - 1];
		best[at] = some[i];
		worst_class = all[best[n - 1]].class;
		worst_rank = all[best[n - 1]].rank;
	}
	for (int i = 0; i < n; i++)
		add_candidate(d, &all[best[i]]);
}

static bool
is_open(const struct deciding *d, const struct live *who)
{
	if (who->standing == STANDS_DUE)
		return strategy_in_order(d->look->pool->strategy);
	return who->standing == STANDS_LIVE;
}

/* Those of the next tier behind `after`, without `but`, in some[]. */
static int
next_tier(struct deciding *d, int64_t after, int but, int64_t *tier)
{
	struct look *l = d->look;
	const struct pool *p = l->pool;
	int count = 0;

	*tier = INT64_MAX;
	if (p->tiers <= 1 && !p->has_ranks && after >= 0)
		return 0;
	if (p->tiers <= 1 && !p->has_ranks && !strategy_in_order(p->strategy)) {
		*tier = 0; /* the usual case */
		d->weights = 0;
		for (int i = 0; i < l->count; i++)
			if (l->live[i].standing == STANDS_LIVE && i != but) {
				l->some[count++] = (uint32_t)i;
				d->weights += (double)l->live[i].weight;
			}
		return count;
	}
	for (int i = 0; i < l->count; i++) {
		const struct live *who = &l->live[i];

		if ((int64_t)who->tier <= after || (int64_t)who->tier > *tier || i == but ||
			!is_open(d, who))
			continue;
		if ((int64_t)who->tier < *tier) {
			*tier = who->tier;
			count = 0;
			d->weights = 0;
		}
		l->some[count++] = (uint32_t)i;
		d->weights += (double)who->weight;
	}
	return count;
}

/* Whose time has come the longest ago, of those that are as good as who is asked first. */
static int
due_first(const struct look *l, bool has_kept)
{
	int due = -1;

	if (l->standing[STANDS_DUE] == 0 || strategy_in_order(l->pool->strategy))
		return -1;
	for (int i = 0; i < l->count; i++) {
		const struct live *who = &l->live[i];

		if (who->standing != STANDS_DUE || who->tier > l->best_tier)
			continue;
		if (has_kept && l->now_ms - who->until_ms < PROBE_WAITS_MS)
			continue;
		if (due < 0 || who->until_ms < l->live[due].until_ms)
			due = i;
	}
	return due;
}

/* Those that are only asked when nobody else can be: in order of tier and seat, or of time. */
static void
add_last(struct deciding *d, enum stands standing, int but)
{
	struct look *l = d->look;
	int count = 0;

	if (l->standing[standing] == 0 || d->plan->count >= d->room)
		return;
	d->weights = 0;
	for (int i = 0; i < l->count; i++) {
		struct live *who = &l->live[i];

		if (who->standing != standing || i == but)
			continue;
		who->class = 0;
		who->rank = standing == STANDS_HELD ? (double)who->until_ms : (double)who->tier;
		l->some[count++] = (uint32_t)i;
	}
	add_best(d, l->some, count);
}

static void
charge(const struct look *l, const struct live *who)
{
	const struct seat *s = &l->pool->seats[who->seat];
	struct share_member m = { .word = s->word, .step = s->step };

	share_charge(&m);
}

static void
add_tiers(struct deciding *d, int kept, bool takes)
{
	int64_t tier = -1;
	int count;

	while (d->plan->count < d->room && (count = next_tier(d, tier, kept, &tier)) > 0) {
		strategy_rank(d->look, d->look->some, count, takes && d->plan->count == 0);
		d->is_scored = d->look->wants_figures;
		add_best(d, d->look->some, count);
		d->is_scored = false;
	}
}

/* What the choice changes: turns, uses, who went last, whom the session went to. */
static void
remember(struct deciding *d, int from, const uint64_t key[2], uint8_t how)
{
	struct look *l = d->look;
	const struct live *stays = NULL;

	if (d->plan->count == from)
		return;
	if (from == 0)
		strategy_chosen(l, &l->live[d->who[0]]);
	for (int i = from; how != AFFINITY_IS_NONE && i < d->plan->count && stays == NULL; i++)
		if (!d->plan->candidate[i].is_probe)
			stays = &l->live[d->who[i]];
	if (stays != NULL)
		affinity_keep(l, key, stays->seat, how);
}

static void
decide_stage(struct deciding *d)
{
	struct look *l = d->look;
	int from = d->plan->count, kept = -1, due;
	uint64_t key[2] = { 0 };
	uint8_t how = AFFINITY_IS_NONE;
	bool takes = !d->ask->is_quote;

	if (d->stage == 0) {
		kept = affinity_find(l, d->ask, key, &how);
		d->plan->record.affinity = how;
	}
	d->weights = 0;
	due = due_first(l, kept >= 0);
	if (due >= 0)
		add_candidate(d, &l->live[due]);
	if (kept >= 0)
		add_candidate(d, &l->live[kept]);
	if (takes && from == 0 && (due >= 0 || kept >= 0))
		charge(l, &l->live[due >= 0 ? due : kept]);
	add_tiers(d, kept, takes);
	if (!strategy_in_order(l->pool->strategy))
		add_last(d, STANDS_DUE, due);
	add_last(d, STANDS_HELD, -1);
	if (takes)
		remember(d, from, key, how);
}

static void
count_out(struct route_record *r, enum route_reason why, int add)
{
	r->out[why] = (uint16_t)(r->out[why] + add > UINT16_MAX ? UINT16_MAX : r->out[why] + add);
}

/* Who of this stage was not chosen, and why: numbers of all, a few by name. */
static void
tell_others(struct deciding *d)
{
	const struct look *l = d->look;
	const struct pool *p = l->pool;
	struct route_record *r = &d->plan->record;
	uint32_t considered = r->considered + p->considered;
	int shown = 0;

	r->considered = (uint16_t)(considered > UINT16_MAX ? UINT16_MAX : considered);
	for (int i = 0; i < ROUTE__REASONS; i++)
		count_out(r, (enum route_reason)i, l->out[i] + p->out[i]);
	count_out(r, REASON_FORECAST, l->standing[STANDS_HELD]);
	count_out(r, REASON_PRIORITY, l->behind);
	for (int i = 0; i < l->away_count && shown < ROUTE_SHOWN_MAX; i++, shown++) {
		const struct seat *s = &p->seats[l->away[i].seat];
		struct route_member *m = add_member(r, p->units[s->unit].upstream->record->head.id,
			s->key == NULL ? ID_NONE : s->key->record->id, l->away[i].reason, d->stage);

		if (m != NULL)
			m->until_ms = l->away[i].until_ms;
	}
	for (int i = 0; i < p->shut_count && shown < ROUTE_SHOWN_MAX; i++, shown++)
		(void)add_member(
			r, p->shut[i].upstream, p->shut[i].key, p->shut[i].reason, d->stage);
}

static void
note_waits(struct deciding *d)
{
	const struct look *l = d->look;
	struct route_plan *plan = d->plan;

	plan->may_free |= l->may_free;
	if (l->wakes_ms != 0 && (plan->wakes_ms == 0 || l->wakes_ms < plan->wakes_ms))
		plan->wakes_ms = l->wakes_ms;
}

static bool
may_be_asked_later(enum route_reason why)
{
	return why == REASON_CHOSEN || why == REASON_FULL || why == REASON_PROBED ||
	       why == REASON_RESTS || why == REASON_BREAKER;
}

/* Whom to wait for, one key of each upstream, should there be nobody to ask. */
static void
tell_later(struct deciding *d)
{
	const struct pool *p = d->look->pool;

	for (size_t i = 0; i < p->unit_count && d->plan->count == 0 && d->later < d->room; i++) {
		const struct unit *u = &p->units[i];

		if (u->count == 0 || !may_be_asked_later(d->look->unit[i].reason))
			continue;
		d->plan->candidate[d->later++] =
			(struct route_candidate){ .upstream = u->upstream->record,
				.key = p->seats[u->first].key == NULL
					       ? NULL
					       : p->seats[u->first].key->record,
				.model = model_of(d, u->model),
				.stage = (uint8_t)d->stage,
				.member = UINT8_MAX,
				.target_upstream = u->upstream->target };
	}
}

/* While nobody is in the plan, a fallback must be for that: those for later turns do not begin it. */
static bool
stage_helps(const struct deciding *d, const struct pool *p)
{
	const struct route_record *r = &d->plan->record;
	bool above = r->out[REASON_COST] + r->out[REASON_UNPRICED] > 0;

	if (p->on == ON_PRICE)
		return d->plan->count == 0 && above;
	return d->plan->count > 0 || p->on == ON_START || p->on == ON_ERROR;
}

/* Policies forbid what was asked for: that is no reason to do something else instead. */
static bool
is_forbidden(const struct route_record *r)
{
	return r->considered > 0 && r->out[REASON_POLICY] == r->considered;
}

static void
decide(struct deciding *d)
{
	const struct view *v = d->view;

	for (d->stage = 0; d->stage < v->stage_count; d->stage++) {
		const struct pool *p = &v->stage[d->stage];

		d->plan->record.stages_on[d->stage] = (uint8_t)p->on;
		if (!stage_helps(d, p))
			continue;
		d->room = ROUTE_ATTEMPTS_MAX - STAGE_ROOM * (v->stage_count - 1 - d->stage);
		d->look->pool = p;
		pool_look(d->look);
		decide_stage(d);
		tell_others(d);
		note_waits(d);
		tell_later(d);
		if (d->stage == 0 && is_forbidden(&d->plan->record))
			return;
	}
}

/* ---- when nobody can be asked ---- */

/* Is it a fallback for something else, too, that was named before? */
static bool
was_named(const struct view *v, int stage)
{
	struct span m = v->stage[stage].model;

	for (int i = 1; i < stage; i++)
		if (v->stage[i].model.len == m.len &&
			memcmp(v->stage[i].model.at, m.at, m.len) == 0)
			return true;
	return false;
}

/* " nor its fallbacks a, b"; "" where there are none. */
static const char *
fallbacks_of(const struct view *v, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (int i = 1; i < v->stage_count && used < bytes; i++)
		if (!was_named(v, i))
			used += (size_t)snprintf(text + used, bytes - used, "%s%.*s",
				used == 0 ? " nor its fallbacks " : ", ",
				(int)v->stage[i].model.len, v->stage[i].model.at);
	return text;
}

static int
no_route(const struct route_ask *ask, const struct view *v, struct err *err)
{
	char fallbacks[120];

	err_set(err, ERR_NO_ROUTE, "no active upstream serves model '%.*s'", (int)ask->model.len,
		ask->model.at);
	if (ask->model.len == 0)
		return err_say(err, "This path names no model; name an upstream in the "
				    "header X-Upstream-Name, or make one the default.");
	return err_say(err,
		"No upstream serves the model '%.*s'%s; GET /v1/models lists those served.",
		(int)(ask->model.len > 100 ? 100 : ask->model.len), ask->model.at,
		fallbacks_of(v, fallbacks, sizeof fallbacks));
}

/* "3 rests, 1 policy" */
static const char *
counts_of(const struct route_record *r, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < ROUTE__REASONS && used < bytes; i++)
		if (r->out[i] > 0)
			used += (size_t)snprintf(text + used, bytes - used, "%s%u %s",
				used == 0 ? "" : ", ", r->out[i],
				route_reason_name((enum route_reason)i));
	return text;
}

static int
nobody_left(const struct route_table *t, const struct route_ask *ask, const struct route_plan *plan,
	struct err *err)
{
	const struct route_record *r = &plan->record;
	char counts[160];
	int model_len = (int)(ask->model.len > 80 ? 80 : ask->model.len);
	unsigned costs = (unsigned)r->out[REASON_COST] + r->out[REASON_UNPRICED];
	static const char dear[] =
		"The model '%.*s' costs more than is allowed for this request, or "
		"its price is not known.";

	if (r->considered == 0) {
		err_set(err, ERR_NO_KEY_AVAILABLE, "no enabled key for model '%.*s'", model_len,
			ask->model.at);
		return err_say(err,
			"No provider key is enabled for this model; tell the gateway's operator.");
	}
	if (is_forbidden(r)) {
		err_set(err, ERR_MODEL_NOT_ALLOWED, "policies forbid model '%.*s'", model_len,
			ask->model.at);
		return err_say(err, "Policies of this gateway do not allow the model '%.*s'.",
			model_len, ask->model.at);
	}
	if (costs > 0 && costs + r->out[REASON_POLICY] == r->considered) {
		/* asking again later would not help */
		err_set(err, ERR_MODEL_NOT_ALLOWED, "model '%.*s' costs too much everywhere",
			model_len, ask->model.at);
		return err_say(err, dear, model_len, ask->model.at);
	}
	err_set(err, ERR_NO_KEY_AVAILABLE, "none of %u keys for model '%.*s' can be asked: %s",
		r->considered, model_len, ask->model.at, counts_of(r, counts, sizeof counts));
	if (plan->may_free) /* who is only busy may be free at any moment */
		err->retry_boot_ms = clock_boot_ms() + BUSY_RETRY_MS;
	else if (plan->wakes_ms != 0)
		err->retry_boot_ms = clock_boot_ms() + board_wait_ms(t->board, plan->wakes_ms);
	if (costs > 0 && plan->wakes_ms == 0 && !plan->may_free)
		return err_say(err, dear, model_len, ask->model.at);
	return -1;
}

static void
begin_plan(const struct view *v, struct route_plan *plan)
{
	const struct pool *first = &v->stage[0];
	const struct route *r = first->route == NULL ? NULL : first->route->record;

	plan->route = r;
	plan->pool = first->id;
	plan->tries = v->tries;
	plan->deadline_ms = v->deadline_ms;
	plan->queue_most = r == NULL ? -1 : r->queue_most;
	plan->queue_wait_ms = r == NULL ? -1 : r->queue_wait_ms;
	plan->record.route = r == NULL ? ID_NONE : r->head.id;
	plan->record.strategy = (uint8_t)first->strategy;
	plan->record.policy_count = (uint8_t)v->policy_count;
	memcpy(plan->record.policy, v->policy, sizeof plan->record.policy);
}

int
route_plan(const struct route_table *table, const struct route_ask *ask, struct route_plan *plan,
	struct err *err)
{
	struct route_table *t = (struct route_table *)table; /* its views and scratch memory */
	struct view *v;
	struct deciding d = { .ask = ask, .plan = plan };
	size_t seats = 0, units = 0;

	memset(plan, 0, sizeof *plan);
	plan->queue_most = plan->queue_wait_ms = -1;
	if ((v = view_of(t, ask, err)) == NULL)
		return -1;
	if (!v->is_known && v->stage[0].considered == 0) {
		(void)no_route(ask, v, err);
		view_drop(t, v);
		return -1;
	}
	for (int i = 0; i < v->stage_count; i++) {
		seats = v->stage[i].seat_count > seats ? v->stage[i].seat_count : seats;
		units = v->stage[i].unit_count > units ? v->stage[i].unit_count : units;
	}
	d.view = v;
	d.look = look_take(t, seats, units);
	if (d.look == NULL) {
		view_drop(t, v);
		return err_set(err, ERR_MEMORY, "no memory to choose among %zu keys", seats);
	}
	d.look->board = t->board;
	d.look->ask = ask;
	d.look->now_ms = board_now_ms(t->board);
	begin_plan(v, plan);
	decide(&d);
	look_give(t, d.look);
	view_drop(t, v);
	if (plan->count > 0)
		return 0;
	plan->count = d.later;
	return nobody_left(t, ask, plan, err);
}

int
route_places(const struct route_table *table, const struct route_ask *ask,
	void (*fn)(void *ctx, const struct upstream *u, struct span model), void *ctx,
	struct err *err)
{
	struct route_table *t = (struct route_table *)table; /* as above */
	struct view *v = view_of(t, ask, err);
	const struct pool *p = v == NULL ? NULL : &v->stage[0];
	int count = 0;

	for (size_t i = 0; p != NULL && i < p->unit_count; i++) {
		const struct unit *u = &p->units[i];

		/* units of one target differ in their keys alone */
		if (i > 0 && u->branch == p->units[i - 1].branch)
			continue;
		fn(ctx, u->upstream->record, u->model);
		count++;
	}
	view_drop(t, v);
	return v == NULL ? -1 : count;
}

/* ---- and then ---- */

static int
first_on(const struct route_plan *plan, int at, enum route_on on)
{
	uint8_t stage = plan->candidate[at].stage;

	for (int i = at + 1; i < plan->count; i++)
		if (plan->candidate[i].stage != stage &&
			plan->record.stages_on[plan->candidate[i].stage] == on)
			return i;
	return plan->count;
}

int
route_next(const struct route_plan *plan, int at, enum failure failure, bool is_context,
	bool is_filter)
{
	if (at < 0 || at >= plan->count)
		return plan->count;
	if (is_context)
		return first_on(plan, at, ON_CONTEXT);
	if (is_filter)
		return first_on(plan, at, ON_FILTER);
	if (!route_goes_on(failure))
		return plan->count;
	if (at + 1 < plan->count && plan->candidate[at + 1].stage == plan->candidate[at].stage)
		return at + 1;
	return first_on(plan, at, ON_ERROR);
}
