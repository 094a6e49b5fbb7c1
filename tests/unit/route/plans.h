/*
 * plans.h - routes, upstreams and keys in a house, and the plans that come of them.
 */
#ifndef TESTS_PLANS_H
#define TESTS_PLANS_H

#include "../admit/house.h"

#include "route/route-int.h"

#define KEYS_MAX 64

/* Upstreams "a", "b" … of some keys each; whom plans went to is counted by key. */
struct scene {
	struct house *h;
	struct upstream upstream[8];
	struct key key[KEYS_MAX];
	int upstreams, keys;
	struct route_table *table;
	struct route_plan plan;
	int got[KEYS_MAX];
};

static inline struct upstream *
scene_upstream(struct scene *s, const char *group)
{
	struct upstream *u = &s->upstream[s->upstreams];
	char name[2] = { (char)('a' + s->upstreams++), '\0' };

	*u = house_upstream_draft(name);
	(void)snprintf(u->group, sizeof u->group, "%s", group);
	return u;
}

/* To be called after all is filled in. */
static inline void
scene_create_upstreams(struct scene *s)
{
	for (int i = 0; i < s->upstreams; i++)
		house_create(s->h, RECORD_UPSTREAM, &s->upstream[i]);
}

static inline struct key
scene_key_draft(struct scene *s, int upstream, int64_t weight)
{
	struct key k;

	record_init(RECORD_KEY, &k);
	k.head.id = id_random();
	k.upstream = s->upstream[upstream].head.id;
	k.weight = weight;
	WORKS(store_seal(s->h->store, k.head.id, span_of("sk-of-a-provider"), &k.secret, &err));
	return k;
}

static inline int
scene_add_key(struct scene *s, struct key k)
{
	house_create(s->h, RECORD_KEY, &k);
	s->key[s->keys] = k;
	return s->keys++;
}

static inline int
scene_key(struct scene *s, int upstream, int64_t weight)
{
	return scene_add_key(s, scene_key_draft(s, upstream, weight));
}

/* So many upstreams with so many keys each, all alike. */
static inline struct scene *
scene_of(struct house *h, int upstreams, int keys)
{
	struct scene *s = calloc(1, sizeof *s);

	assert_non_null(s);
	s->h = h;
	for (int i = 0; i < upstreams; i++)
		(void)scene_upstream(s, "");
	scene_create_upstreams(s);
	for (int i = 0; i < upstreams; i++)
		for (int k = 0; k < keys; k++)
			(void)scene_key(s, i, 1);
	return s;
}

static inline struct route
scene_route(const char *model, enum route_strategy strategy)
{
	static int n;
	struct route r;

	record_init(RECORD_ROUTE, &r);
	(void)snprintf(r.name, sizeof r.name, "route %d", n++);
	(void)snprintf(r.model, sizeof r.model, "%s", model);
	r.strategy = (int32_t)strategy;
	return r;
}

static inline void
scene_target(struct scene *s, struct route *r, int upstream, int weight, int priority,
	const char *model)
{
	char id[ID_TEXT_BYTES];
	size_t used = strlen(r->targets);

	id_text("up_", s->upstream[upstream].head.id, id);
	(void)snprintf(r->targets + used, sizeof r->targets - used, "%s%s %d %d %s",
		used == 0 ? "" : "\n", id, weight, priority, model);
}

/* All records are there: what is compiled of them. */
static inline void
scene_compile(struct scene *s)
{
	route_table_free(s->table);
	house_snapshot(s->h);
	s->table = route_table_new(s->h->board, s->h->snapshot, &err);
	assert_non_null(s->table);
}

static inline void
scene_free(struct scene *s)
{
	route_table_free(s->table);
	free(s);
}

static inline int
scene_key_of(const struct scene *s, const struct route_candidate *c)
{
	for (int i = 0; c->key != NULL && i < s->keys; i++)
		if (id_equal(s->key[i].head.id, c->key->id))
			return i;
	return -1;
}

static inline int
scene_ask(struct scene *s, const struct route_ask *ask)
{
	err = (struct err){ 0 };
	return route_plan(s->table, ask, &s->plan, &err);
}

static inline int
scene_plan(struct scene *s, const char *model)
{
	return scene_ask(s,
		&(struct route_ask){ .model = span_of(model), .is_conversation = true });
}

/* Who goes first in the next plan of "m". */
static inline int
scene_next(struct scene *s)
{
	WORKS(scene_plan(s, "m"));
	return scene_key_of(s, &s->plan.candidate[0]);
}

static inline void
scene_run(struct scene *s, int turns)
{
	memset(s->got, 0, sizeof s->got);
	for (int i = 0; i < turns; i++)
		s->got[scene_next(s)]++;
}

static inline struct board_target *
scene_board(struct scene *s, int key)
{
	return board_target(s->h->board, s->key[key].head.id);
}

static inline void
scene_rest(struct scene *s, int key, int64_t ms)
{
	scene_board(s, key)->rest_until_ms = ms == 0 ? 0 : board_now_ms(s->h->board) + ms;
}

#endif
