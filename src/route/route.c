/*
 * route.c - the round robin is a walk over the sum of weights in strides that are coprime to it:
 * each key gets exactly its share in every full round, and heavy keys are not used in a row.
 */
#include "route/route.h"

#include "base/clock.h"
#include "route/forecast.h"
#include "wire/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_MAX 1024 /* keys considered for one request */

#define REST_TRANSIENT_MS  2000
#define REST_OVERLOADED_MS 5000
#define FAILURES_TO_REST   3 /* in a row, for failures that may be chance */

struct pool { /* large, so never cleared whole */
	int count;
	int64_t total;
	struct route_candidate entry[POOL_MAX];
	int64_t weight[POOL_MAX];
};

struct route_table {
	struct board *board;
	const struct snapshot *snapshot;
};

struct route_table *
route_table_new(struct board *board, const struct snapshot *snapshot, struct err *err)
{
	struct route_table *t = calloc(1, sizeof *t);

	if (t == NULL) {
		err_set(err, ERR_MEMORY, "no memory for routes");
		return NULL;
	}
	t->board = board;
	t->snapshot = snapshot;
	return t;
}

void
route_table_free(struct route_table *t)
{
	free(t);
}

bool
route_serves(const struct upstream *u, struct span model)
{
	return glob_list_match(u->models, model);
}

static void
pool_add(struct pool *p, const struct upstream *u, const struct snapshot_key *k)
{
	if (p->count == POOL_MAX)
		return;
	p->entry[p->count] = (struct route_candidate){ .upstream = u, .key = k };
	p->weight[p->count] = (u->weight < 1 ? 1 : u->weight) * (k == NULL ? 1 : k->weight);
	p->total += p->weight[p->count++];
}

/* An upstream's keys for that project: its own ones if it has any, else the common ones. */
static void
pool_add_upstream(struct pool *p, const struct snapshot *snapshot, const struct upstream *u,
	struct id project)
{
	bool own = false;

	if (u->auth == AUTH_NONE) {
		pool_add(p, u, NULL);
		return;
	}
	for (size_t i = 0; i < snapshot->key_count; i++) {
		const struct snapshot_key *k = &snapshot->keys[i];

		if (id_equal(k->upstream, u->head.id) && !id_is_none(k->project) &&
			id_equal(k->project, project))
			own = true;
	}
	for (size_t i = 0; i < snapshot->key_count; i++) {
		const struct snapshot_key *k = &snapshot->keys[i];

		if (!id_equal(k->upstream, u->head.id))
			continue;
		if (own ? id_equal(k->project, project) : id_is_none(k->project))
			pool_add(p, u, k);
	}
}

static int
unknown_upstream(const struct snapshot *snapshot, struct span name, struct err *err)
{
	char list[160] = "";
	size_t used = 0;

	for (size_t i = 0; i < snapshot->upstream_count; i++) {
		int n = snprintf(list + used, sizeof list - used, "%s%s", used == 0 ? "" : ", ",
			snapshot->upstreams[i].name);

		if (n < 0 || (size_t)n >= sizeof list - used)
			break;
		used += (size_t)n;
	}
	err_set(err, ERR_UNKNOWN_UPSTREAM, "upstream '%.*s' asked for", (int)name.len, name.at);
	return err_say(err, "There is no upstream '%.*s'; there are: %s.",
		(int)(name.len > 40 ? 40 : name.len), name.at, list);
}

/* Does it understand what is asked for?  Plain HTTP APIs are asked when they are named, or the default. */
static bool
understands(const struct upstream *u, const struct route_ask *ask)
{
	const struct provider *p = provider_at(u->protocol);

	if (p == NULL || !p->is_model)
		return ask->model.len == 0;
	return ask->is_conversation || p->dialect == ask->dialect;
}

/* The upstreams that may serve the request, their keys all in one pool. */
static int
gather(struct pool *p, const struct snapshot *snapshot, const struct route_ask *ask,
	bool *any_upstream, struct err *err)
{
	const struct upstream *fallback = NULL;

	*any_upstream = false;
	if (ask->upstream.len > 0) {
		const struct upstream *u = snapshot_upstream_named(snapshot, ask->upstream);

		if (u == NULL)
			return unknown_upstream(snapshot, ask->upstream, err);
		*any_upstream = true;
		pool_add_upstream(p, snapshot, u, ask->project);
		return 0;
	}
	for (size_t i = 0; i < snapshot->upstream_count; i++) {
		const struct upstream *u = &snapshot->upstreams[i];

		if (!understands(u, ask))
			continue;
		if (u->is_default || snapshot->upstream_count == 1)
			fallback = u;
		if (ask->model.len == 0 || !route_serves(u, ask->model))
			continue;
		*any_upstream = true;
		pool_add_upstream(p, snapshot, u, ask->project);
	}
	if (ask->model.len == 0 && fallback != NULL) {
		*any_upstream = true;
		pool_add_upstream(p, snapshot, fallback, ask->project);
	}
	return 0;
}

static int64_t
greatest_common(int64_t a, int64_t b)
{
	while (b != 0) {
		int64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Near the golden section of total, and coprime to it. */
static int64_t
stride(int64_t total)
{
	int64_t s = total * 618 / 1000;

	for (s = s < 1 ? 1 : s; greatest_common(s, total) != 1; s++)
		;
	return s;
}

/* The cursor of a pool lives with its first member; all processes see the same first one. */
static uint64_t
next_turn(struct board *board, const struct route_candidate *first)
{
	struct board_target *k =
		board_target(board, first->key != NULL ? first->key->id : first->upstream->head.id);

	return k == NULL ? 0
			 : (uint64_t)atomic_fetch_add_explicit(&k->picks, 1, memory_order_relaxed);
}

static int
entry_at(const struct pool *p, int64_t position)
{
	int i = 0;

	while (i < p->count - 1 && position >= p->weight[i])
		position -= p->weight[i++];
	return i;
}

int
route_plan(const struct route_table *t, const struct route_ask *ask, struct route_plan *plan,
	struct err *err)
{
	struct board *board = t->board;
	const struct snapshot *snapshot = t->snapshot;
	static _Thread_local struct pool all, live; /* large */
	int64_t now_ms = board_now_ms(board), wakes_ms = INT64_MAX;
	bool any_upstream;
	int first;

	memset(plan, 0, sizeof *plan);
	plan->queue_most = plan->queue_wait_ms = -1;
	all.count = live.count = 0;
	all.total = live.total = 0;
	if (gather(&all, snapshot, ask, &any_upstream, err) != 0)
		return -1;
	if (!any_upstream) {
		err_set(err, ERR_NO_ROUTE, "no active upstream serves model '%.*s'",
			(int)ask->model.len, ask->model.at);
		if (ask->model.len == 0)
			return err_say(err, "This path names no model; name an upstream in the "
					    "header X-Upstream-Name, or make one the default.");
		return err_say(err,
			"No upstream serves the model '%.*s'; GET /v1/models lists those served.",
			(int)(ask->model.len > 100 ? 100 : ask->model.len), ask->model.at);
	}
	if (all.count == 0) {
		err_set(err, ERR_NO_KEY_AVAILABLE, "no enabled key for model '%.*s'",
			(int)ask->model.len, ask->model.at);
		return err_say(err,
			"No provider key is enabled for this model; tell the gateway's operator.");
	}
	for (int i = 0; i < all.count; i++) {
		const struct route_candidate *c = &all.entry[i];
		struct board_target *k = c->key == NULL ? NULL : board_target(board, c->key->id);
		int64_t rest_ms =
			k == NULL ? 0
				  : atomic_load_explicit(&k->rest_until_ms, memory_order_relaxed);

		if (k != NULL && k->forecast_hold_ms > rest_ms)
			rest_ms = k->forecast_hold_ms;
		if (c->key != NULL && ask->model.len > 0) {
			k = board_target(board, board_target_part(c->key->id, "model",
							ask->model.at, ask->model.len));
			if (k != NULL && k->forecast_hold_ms > rest_ms)
				rest_ms = k->forecast_hold_ms;
		}
		if (rest_ms <= now_ms)
			pool_add(&live, c->upstream, c->key);
		else if (rest_ms < wakes_ms)
			wakes_ms = rest_ms;
	}
	if (live.count == 0) {
		err_set(err, ERR_NO_KEY_AVAILABLE, "all %d keys for model '%.*s' rest", all.count,
			(int)ask->model.len, ask->model.at);
		err->retry_boot_ms = clock_boot_ms() + board_wait_ms(board, wakes_ms);
		return -1;
	}
	first = entry_at(&live, (int64_t)((next_turn(board, &all.entry[0]) % (uint64_t)live.total) *
					  (uint64_t)stride(live.total) % (uint64_t)live.total));
	for (int i = 0; i < live.count && i < ROUTE_ATTEMPTS_MAX; i++)
		plan->candidate[plan->count++] = live.entry[(first + i) % live.count];
	for (int i = 0; i < plan->count; i++) {
		struct route_candidate *c = &plan->candidate[i];

		c->model = ask->model;
		c->target_key = c->key == NULL ? NULL : board_target(board, c->key->id);
	}
	return 0;
}

bool
route_goes_on(enum failure failure)
{
	return failure != FAILURE_NONE && failure != FAILURE_REQUEST;
}

bool
route_begin(struct board *board, struct route_candidate *c, bool is_first)
{
	(void)is_first;
	if (c->target_key != NULL && atomic_load_explicit(&c->target_key->rest_until_ms,
					     memory_order_relaxed) > board_now_ms(board))
		return false;
	return forecast_begin(board, c);
}

void
route_release(struct board *board, const struct route_candidate *c)
{
	forecast_release(board, c);
}

int
route_next(const struct route_plan *plan, int at, enum failure failure, bool is_context,
	bool is_filter)
{
	(void)is_context;
	(void)is_filter;
	return route_goes_on(failure) ? at + 1 : plan->count;
}

void
route_report(struct board *board, const struct route_candidate *c, const struct route_outcome *o,
	const struct route_rests *rests)
{
	struct board_target *k = c->target_key;
	int64_t now_ms = board_now_ms(board), rest_ms = 0, stated_ms, failures;

	forecast_see(board, c, o);
	if (k == NULL)
		return;
	if (o->failure == FAILURE_NONE || o->failure == FAILURE_REQUEST) {
		atomic_store_explicit(&k->failures, 0, memory_order_relaxed);
		atomic_store_explicit(&k->rest_until_ms, 0, memory_order_relaxed);
		/* shared line: written once a second is enough for people to read */
		if (now_ms - atomic_load_explicit(&k->ok_at_ms, memory_order_relaxed) > 1000)
			atomic_store_explicit(&k->ok_at_ms, now_ms, memory_order_relaxed);
		return;
	}
	if (o->failure == FAILURE_MODEL) /* says nothing about the key's other models */
		return;
	failures = atomic_fetch_add_explicit(&k->failures, 1, memory_order_relaxed) + 1;
	atomic_store_explicit(&k->standing, (int64_t)o->status << 16, memory_order_relaxed);
	atomic_store_explicit(&k->failed_at_ms, now_ms, memory_order_relaxed);
	stated_ms = o->until_ms == 0 ? 0 : o->until_ms - clock_wall_ms();
	switch (o->failure) {
	case FAILURE_KEY_INVALID:
	case FAILURE_NO_CREDIT:
		rest_ms = stated_ms > 0 ? stated_ms : rests->most_ms;
		break;
	case FAILURE_RATE_LIMITED:
		rest_ms = stated_ms > 0 ? stated_ms : rests->default_ms;
		break;
	case FAILURE_OVERLOADED:
		rest_ms = stated_ms > 0                  ? stated_ms
			  : failures >= FAILURES_TO_REST ? REST_OVERLOADED_MS
							 : 0;
		break;
	case FAILURE_TRANSIENT:
		rest_ms = failures >= FAILURES_TO_REST ? REST_TRANSIENT_MS : 0;
		break;
	case FAILURE_MODEL:
	case FAILURE_NONE:
	case FAILURE_REQUEST:
		break;
	}
	if (rest_ms > rests->most_ms)
		rest_ms = rests->most_ms;
	if (rest_ms > 0)
		atomic_store_explicit(&k->rest_until_ms, now_ms + rest_ms, memory_order_relaxed);
}
