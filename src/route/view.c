/*
 * view.c - what is known of a request before the moment it is decided, made once and kept.
 *
 * The lock is held to find and to hang up, never while one is made: a model that nobody asked for
 * before costs its own request, and no other.
 */
#include "base/hash.h"
#include "route/route-int.h"

#include <stdlib.h>
#include <string.h>

static int
by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct id));
}

/* The project, if something here speaks of it. */
static struct id
project_of(const struct route_table *t, struct id project)
{
	return bsearch(&project, t->projects, t->project_count, sizeof project, by_bytes) == NULL
		       ? ID_NONE
		       : project;
}

static uint64_t
hash_of(const struct route_ask *ask, struct id project)
{
	uint64_t h = hash_64(&project, sizeof project,
		(uint64_t)ask->dialect << 1 | (uint64_t)ask->is_conversation);

	h = hash_64(ask->model.at, ask->model.len, h);
	return hash_64(ask->upstream.at, ask->upstream.len, h);
}

static bool
is_of(const struct view *v, const struct route_ask *ask, struct id project)
{
	return v->model_len == ask->model.len &&
	       (v->model_len == 0 || memcmp(v->model, ask->model.at, v->model_len) == 0) &&
	       span_is(ask->upstream, v->upstream) && id_equal(v->project, project) &&
	       v->dialect == ask->dialect && v->is_conversation == ask->is_conversation;
}

static void
view_free(struct view *v)
{
	if (v == NULL)
		return;
	for (int i = 0; i < STAGES_MAX; i++)
		pool_free(&v->stage[i]);
	free(v->model);
	free(v->upstream);
	free(v);
}

/* Of a fallback's model its own route, if it has one. */
static int
add_stage(const struct route_table *t, struct view *v, const struct table_route *route,
	struct span model, enum route_on on)
{
	struct pool *p = &v->stage[v->stage_count];
	ptrdiff_t i = table_route_for(t, model, v->project);

	memset(p, 0, sizeof *p);
	p->model = model;
	p->on = on;
	p->route = i < 0 ? NULL : &t->routes[i];
	v->stage_count++;
	if (v->stage_count == 1)
		return pool_make(t, v, p, NULL, false);
	if (p->route != route)
		return pool_make(t, v, p, route, false);
	if (pool_make(t, v, p, route, true) != 0)
		return -1;
	return 0;
}

static void
set_bounds(const struct route_table *t, struct view *v, const struct table_route *route)
{
	const struct route *r = route == NULL ? NULL : route->record;

	for (size_t i = 0; i < t->policy_count; i++) {
		const struct table_policy *p = &t->policies[i];

		if (p->record->scope == POLICY_OF_KEY || p->record->scope == POLICY_OF_UPSTREAM ||
			!policy_binds(p, r, v->project))
			continue;
		if ((v->tries == 0 && p->record->tries > 0) ||
			(v->deadline_ms == 0 && p->record->deadline_ms > 0))
			policy_tell(v, p);
		if (v->tries == 0)
			v->tries = p->record->tries;
		if (v->deadline_ms == 0)
			v->deadline_ms = p->record->deadline_ms;
	}
	if (r != NULL && v->tries == 0)
		v->tries = r->tries;
	if (r != NULL && v->deadline_ms == 0)
		v->deadline_ms = r->deadline_ms;
}

static int64_t
bytes_of(const struct view *v)
{
	size_t bytes = sizeof *v + v->model_len;

	for (int i = 0; i < v->stage_count; i++)
		bytes += v->stage[i].unit_count * sizeof(struct unit) +
			 v->stage[i].seat_count * sizeof(struct seat);
	return (int64_t)bytes;
}

/* "upstream/model" names both, when nobody serves the whole name. */
static const struct table_upstream *
upstream_in_name(const struct route_table *t, struct span *model)
{
	const char *sign = model->len == 0 ? NULL : memchr(model->at, '/', model->len);
	const struct table_upstream *u;
	size_t len;

	if (sign == NULL)
		return NULL;
	len = (size_t)(sign - model->at);
	u = table_upstream_named(t, (struct span){ model->at, len });
	if (u != NULL)
		*model = (struct span){ sign + 1, model->len - len - 1 };
	return u;
}

static int
fill(const struct route_table *t, struct view *v)
{
	struct span model = { v->model, v->model_len };
	const struct table_route *route;

	if (add_stage(t, v, NULL, model, ON_START) != 0)
		return -1;
	if (!v->stage[0].is_served && v->stage[0].route == NULL && v->named == NULL &&
		(v->named = upstream_in_name(t, &model)) != NULL) {
		pool_free(&v->stage[0]);
		v->stage_count = 0;
		if (add_stage(t, v, NULL, model, ON_START) != 0)
			return -1;
	}
	v->is_known = v->stage[0].is_served;
	route = v->stage[0].route;
	set_bounds(t, v, route);
	for (int i = 0; route != NULL && i < route->fallback_count; i++) {
		if (add_stage(t, v, route, route->fallback[i].model, route->fallback[i].on) != 0)
			return -1;
		v->is_known |= v->stage[v->stage_count - 1].is_served;
	}
	return 0;
}

static char *
copy(struct span s)
{
	char *to = malloc(s.len + 1);

	if (to == NULL)
		return NULL;
	if (s.len > 0)
		memcpy(to, s.at, s.len);
	to[s.len] = '\0';
	return to;
}

static struct view *
view_new(const struct route_table *t, const struct route_ask *ask, struct id project,
	const struct table_upstream *named, struct err *err)
{
	struct view *v = calloc(1, sizeof *v);

	if (v != NULL) {
		v->references = 1;
		v->model = copy(ask->model);
		v->model_len = ask->model.len;
		v->upstream = copy(ask->upstream);
		v->project = project;
		v->dialect = ask->dialect;
		v->is_conversation = ask->is_conversation;
		v->named = named;
		atomic_init(&v->targets, INT64_MIN);
	}
	if (v == NULL || v->model == NULL || v->upstream == NULL || fill(t, v) != 0) {
		view_free(v);
		err_set(err, ERR_MEMORY, "no memory for the candidates of a model");
		return NULL;
	}
	v->bytes = bytes_of(v);
	return v;
}

/* Those nobody uses now and the longest not. */
static void
make_room(struct route_table *t, int64_t bytes)
{
	while (t->view_count == VIEWS_MAX ||
		(t->view_count > 0 && t->view_bytes + bytes > VIEWS_BYTES)) {
		size_t oldest = 0;
		struct view *v;

		for (size_t i = 1; i < t->view_count; i++)
			if (t->views[i]->used < t->views[oldest]->used)
				oldest = i;
		v = t->views[oldest];
		t->view_count--;
		t->views[oldest] = t->views[t->view_count];
		t->view_hash[oldest] = t->view_hash[t->view_count];
		t->view_bytes -= v->bytes;
		if (--v->references == 0)
			view_free(v);
	}
}

static struct view *
find(struct route_table *t, uint64_t hash, const struct route_ask *ask, struct id project)
{
	for (size_t i = 0; i < t->view_count; i++) {
		struct view *v = t->views[i];

		if (t->view_hash[i] != hash || !is_of(v, ask, project))
			continue;
		v->used = ++t->view_clock;
		v->references++;
		return v;
	}
	return NULL;
}

/* Targets at models come into being when something is said of them. */
static void
refresh(const struct route_table *t, struct view *v)
{
	int64_t targets = board_counted(t->board, COUNT_TARGETS);

	if (atomic_load_explicit(&v->targets, memory_order_relaxed) == targets)
		return;
	for (int i = 0; i < v->stage_count; i++)
		pool_refresh(t, &v->stage[i]);
	atomic_store_explicit(&v->targets, targets, memory_order_relaxed);
}

static const char *
names_of(const struct snapshot *s, char *list, size_t bytes)
{
	size_t used = 0;

	list[0] = '\0';
	for (size_t i = 0; i < s->upstream_count; i++) {
		const char *name = s->upstreams[i].name;
		size_t len = strlen(name), sign = used == 0 ? 0 : 2;

		if (used + sign + len >= bytes)
			break;
		memcpy(list + used, ", ", sign);
		memcpy(list + used + sign, name, len + 1);
		used += sign + len;
	}
	return list;
}

static void
unknown_upstream(const struct snapshot *s, struct span name, struct err *err)
{
	char list[160];

	err_set(err, ERR_UNKNOWN_UPSTREAM, "upstream '%.*s' asked for", (int)name.len, name.at);
	err_say(err, "There is no upstream '%.*s'; there are: %s.",
		(int)(name.len > 40 ? 40 : name.len), name.at, names_of(s, list, sizeof list));
}

struct view *
view_of(struct route_table *t, const struct route_ask *ask, struct err *err)
{
	struct id project = project_of(t, ask->project);
	uint64_t hash = hash_of(ask, project);
	const struct table_upstream *named = NULL;
	struct view *v, *other;

	(void)pthread_mutex_lock(&t->mutex);
	v = find(t, hash, ask, project);
	(void)pthread_mutex_unlock(&t->mutex);
	if (v == NULL) {
		if (ask->upstream.len > 0 &&
			(named = table_upstream_named(t, ask->upstream)) == NULL) {
			unknown_upstream(t->snapshot, ask->upstream, err);
			return NULL;
		}
		v = view_new(t, ask, project, named, err);
		if (v == NULL)
			return NULL;
		(void)pthread_mutex_lock(&t->mutex);
		other = find(t, hash, ask, project);
		if (other == NULL && v->bytes <= VIEWS_BYTES && v->model_len <= VIEW_NAME_BYTES) {
			make_room(t, v->bytes);
			v->references++;
			v->used = ++t->view_clock;
			t->view_hash[t->view_count] = hash;
			t->views[t->view_count++] = v;
			t->view_bytes += v->bytes;
		}
		(void)pthread_mutex_unlock(&t->mutex);
		if (other != NULL) { /* another thread was faster */
			view_free(v);
			v = other;
		}
	}
	refresh(t, v);
	return v;
}

void
view_drop(struct route_table *t, struct view *v)
{
	bool last;

	if (v == NULL)
		return;
	(void)pthread_mutex_lock(&t->mutex);
	last = --v->references == 0;
	(void)pthread_mutex_unlock(&t->mutex);
	if (last)
		view_free(v);
}

static void
look_free(struct look *l)
{
	if (l == NULL)
		return;
	free(l->live);
	free(l->figures);
	free(l->member);
	free(l->some);
	free(l->among);
	free(l->unit);
	free(l);
}

void
views_free(struct route_table *t)
{
	for (size_t i = 0; i < t->view_count; i++)
		view_free(t->views[i]);
	while (t->idle != NULL) {
		struct look *l = t->idle;

		t->idle = l->next;
		look_free(l);
	}
}

struct look *
look_take(struct route_table *t, size_t seats, size_t units)
{
	struct look *l;

	(void)pthread_mutex_lock(&t->mutex);
	l = t->idle;
	if (l != NULL)
		t->idle = l->next;
	(void)pthread_mutex_unlock(&t->mutex);
	if (l != NULL && l->seats >= seats && l->units >= units)
		return l;
	look_free(l);
	l = calloc(1, sizeof *l);
	if (l == NULL)
		return NULL;
	l->seats = seats + seats / 4 + 16;
	l->units = units + units / 4 + 16;
	l->live = calloc(l->seats, sizeof *l->live);
	l->figures = calloc(l->seats, sizeof *l->figures);
	l->member = calloc(l->seats, sizeof *l->member);
	l->some = calloc(l->seats, sizeof *l->some);
	l->among = calloc(l->seats, sizeof *l->among);
	l->unit = calloc(l->units, sizeof *l->unit);
	if (l->live != NULL && l->figures != NULL && l->member != NULL && l->some != NULL &&
		l->among != NULL && l->unit != NULL)
		return l;
	look_free(l);
	return NULL;
}

void
look_give(struct route_table *t, struct look *l)
{
	(void)pthread_mutex_lock(&t->mutex);
	l->next = t->idle;
	t->idle = l;
	(void)pthread_mutex_unlock(&t->mutex);
}
