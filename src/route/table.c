/*
 * table.c - a snapshot compiled: patterns and regexes, aliases, tags, targets on the board, routes
 * by name.  All that is costly happens here or when a view is made, not in a decision.
 */
#include "base/hash.h"
#include "base/log.h"
#include "route/route-int.h"
#include "route/standing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next line that is not blank, without blanks around it. */
static bool
next_line(const char **at, struct span *line)
{
	while (**at != '\0') {
		size_t len = strcspn(*at, "\n");
		struct span s = { *at, len };

		*at += len + ((*at)[len] == '\n');
		while (s.len > 0 && (*s.at == ' ' || *s.at == '\t')) {
			s.at++;
			s.len--;
		}
		while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
			s.len--;
		if (s.len > 0) {
			*line = s;
			return true;
		}
	}
	return false;
}

/* Takes the first word off. */
static struct span
next_word(struct span *line)
{
	struct span word = *line;
	size_t n = 0;

	while (n < line->len && line->at[n] != ' ' && line->at[n] != '\t')
		n++;
	word.len = n;
	while (n < line->len && (line->at[n] == ' ' || line->at[n] == '\t'))
		n++;
	line->at += n;
	line->len -= n;
	return word;
}

struct span
tag_value(const char *tags, const char *name)
{
	struct span line;
	size_t len = strlen(name);

	while (next_line(&tags, &line))
		if (line.len > len && line.at[len] == '=' && memcmp(line.at, name, len) == 0)
			return (struct span){ line.at + len + 1, line.len - len - 1 };
	return SPAN_NONE;
}

static bool
same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* A whole number from 0 to most in that text, or -1. */
static int64_t
number(struct span s, int64_t most)
{
	int64_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return -1;
		n = n * 10 + (s.at[i] - '0');
		if (n > most)
			return -1;
	}
	return s.len == 0 ? -1 : n;
}

static int
quality_of(const char *tags)
{
	return (int)number(tag_value(tags, "quality"), 100);
}

/* ---- keys and upstreams ---- */

static int
compile_keys(struct route_table *t)
{
	const struct snapshot *s = t->snapshot;

	if (s->key_count == 0)
		return 0;
	t->keys = calloc(s->key_count, sizeof *t->keys);
	if (t->keys == NULL)
		return -1;
	for (size_t i = 0; i < s->key_count; i++)
		t->keys[i].record = &s->keys[i];
	for (size_t i = 0; i < s->key_count; i++) {
		struct table_key *k = &t->keys[i];

		if (patterns_new(k->record->allowed_models, &k->allowed) != 0 ||
			patterns_new(k->record->blocked_models, &k->blocked) != 0)
			return -1;
		k->target = board_target(t->board, k->record->id);
		k->region = tag_value(k->record->tags, "region");
		k->tenant = tag_value(k->record->tags, "tenant");
		k->quality = quality_of(k->record->tags);
	}
	return 0;
}

/* Keys of one upstream stand together in a snapshot. */
static void
give_keys(struct route_table *t)
{
	const struct snapshot *s = t->snapshot;
	size_t end;

	for (size_t i = 0; i < s->key_count; i = end) {
		struct id of = s->keys[i].upstream;

		for (end = i + 1; end < s->key_count && id_equal(s->keys[end].upstream, of); end++)
			;
		for (size_t n = 0; n < s->upstream_count; n++) {
			struct table_upstream *u = &t->upstreams[n];

			if (id_equal(u->record->head.id, of)) {
				u->keys = &t->keys[i];
				u->key_count = end - i;
			} else if (id_equal(u->record->keys_of, of)) {
				u->lent = &t->keys[i];
				u->lent_count = end - i;
			}
		}
	}
}

static int
compile_aliases(struct table_upstream *u)
{
	const char *at = u->record->aliases;
	struct span line;
	size_t room = 0;

	while (next_line(&at, &line))
		room++;
	if (room == 0)
		return 0;
	u->alias = calloc(room, sizeof *u->alias);
	if (u->alias == NULL)
		return -1;
	for (at = u->record->aliases; next_line(&at, &line);) {
		const char *sign = memchr(line.at, '=', line.len);
		size_t len = sign == NULL ? 0 : (size_t)(sign - line.at);
		struct span from = { line.at, len };
		struct span to = { line.at + len + 1, line.len - len - 1 };

		if (sign == NULL || len == 0 || to.len == 0)
			continue;
		u->alias[u->alias_count++] = (struct alias){ from, to };
	}
	return 0;
}

static int
compile_upstreams(struct route_table *t)
{
	const struct snapshot *s = t->snapshot;

	if (s->upstream_count == 0)
		return 0;
	t->upstreams = calloc(s->upstream_count, sizeof *t->upstreams);
	if (t->upstreams == NULL)
		return -1;
	for (size_t i = 0; i < s->upstream_count; i++)
		t->upstreams[i].record = &s->upstreams[i];
	for (size_t i = 0; i < s->upstream_count; i++) {
		struct table_upstream *u = &t->upstreams[i];
		const struct upstream *r = u->record;

		if (patterns_new(r->models, &u->models) != 0 ||
			patterns_new(r->blocked_models, &u->blocked) != 0 ||
			compile_aliases(u) != 0)
			return -1;
		u->target = board_target(t->board, r->head.id);
		if (r->group[0] != '\0')
			u->target_group =
				board_target(t->board, route_target_of_group(span_of(r->group)));
		u->quality = quality_of(r->tags);
	}
	give_keys(t);
	return 0;
}

const struct table_upstream *
table_upstream(const struct route_table *t, struct id id)
{
	for (size_t i = 0; i < t->upstream_count; i++)
		if (id_equal(t->upstreams[i].record->head.id, id))
			return &t->upstreams[i];
	return NULL;
}

const struct table_upstream *
table_upstream_named(const struct route_table *t, struct span name)
{
	for (size_t i = 0; i < t->upstream_count; i++)
		if (span_is_nocase(name, t->upstreams[i].record->name))
			return &t->upstreams[i];
	return NULL;
}

static const struct alias *
alias_of(const struct table_upstream *u, struct span model)
{
	for (size_t i = 0; i < u->alias_count; i++)
		if (same(u->alias[i].from, model))
			return &u->alias[i];
	return NULL;
}

struct span
table_own_name(const struct table_upstream *u, struct span model, bool *is_alias)
{
	*is_alias = false;
	for (int i = 0; i <= ALIAS_CHAIN; i++) {
		const struct alias *a = alias_of(u, model);

		if (a == NULL || same(a->to, model))
			return model;
		*is_alias = true;
		model = a->to;
	}
	return SPAN_NONE;
}

/* By its patterns, or by what was found to be there. */
static bool
lists(const struct snapshot *s, const struct table_upstream *u, struct span model)
{
	const struct snapshot_list *found;

	if (u->models.count > 0 && patterns_fit(&u->models, model))
		return true;
	if (!u->record->discover)
		return u->models.count == 0;
	found = snapshot_list_of(s, u->record->head.id);
	if (u->models.count == 0 && (found == NULL || found->at_ms == 0))
		return true; /* nothing is known yet */
	return snapshot_discovered(s, u->record->head.id, model) != NULL;
}

bool
table_serves(const struct snapshot *s, const struct table_upstream *u, struct span model,
	struct span own, bool is_alias, bool admits)
{
	if (is_alias && own.len == 0)
		return false;
	if (patterns_fit(&u->blocked, model) || patterns_fit(&u->blocked, own))
		return false;
	return admits || is_alias || lists(s, u, model);
}

bool
table_key_serves(const struct table_key *k, struct span model, struct span own, bool is_alias)
{
	if (model.len == 0)
		return true;
	if (patterns_fit(&k->blocked, model) || (is_alias && patterns_fit(&k->blocked, own)))
		return false;
	return k->allowed.count == 0 || patterns_fit(&k->allowed, model) ||
	       (is_alias && patterns_fit(&k->allowed, own));
}

/* ---- routes ---- */

/* "up_ID weight priority model" */
static bool
read_target(const struct route_table *t, struct span line, struct table_target *out)
{
	struct span who = next_word(&line);
	struct span weight = next_word(&line), priority = next_word(&line);
	char text[ID_TEXT_BYTES];
	struct id id;

	if (!span_copy(who, text, sizeof text) || id_parse("up_", text, &id) != 0)
		return false;
	*out = (struct table_target){ .upstream = table_upstream(t, id),
		.weight = weight.len == 0 ? 1 : number(weight, 1000000),
		.priority = priority.len == 0 ? 0 : number(priority, 1000000),
		.model = line };
	if (out->priority < 0)
		out->priority = 0;
	return out->weight >= 0;
}

static int
compile_targets(const struct route_table *t, struct table_route *r)
{
	const char *at = r->record->targets;
	struct span line;
	size_t room = 0;

	while (next_line(&at, &line))
		room++;
	if (room == 0)
		return 0;
	r->target = calloc(room, sizeof *r->target);
	if (r->target == NULL)
		return -1;
	for (at = r->record->targets; next_line(&at, &line);)
		if (read_target(t, line, &r->target[r->target_count]))
			r->target_count++;
	return 0;
}

static void
compile_fallbacks(struct table_route *r)
{
	static const struct {
		const char *word;
		enum route_on on;
	} words[] = { { "error", ON_ERROR }, { "context", ON_CONTEXT }, { "filter", ON_FILTER },
		{ "price", ON_PRICE } };
	const char *at = r->record->fallbacks;
	struct span line;

	while (r->fallback_count < ROUTE_FALLBACKS_MAX && next_line(&at, &line)) {
		struct span word = next_word(&line);

		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
			if (!span_is(word, words[i].word) || line.len == 0)
				continue;
			r->fallback[r->fallback_count].on = words[i].on;
			r->fallback[r->fallback_count++].model = line;
			break;
		}
	}
}

static uint32_t *
route_slot(const struct route_table *t, struct span name)
{
	return &t->route_slots[hash_64(name.at, name.len, 0) & (t->route_slot_count - 1)];
}

static int
compile_routes(struct route_table *t)
{
	const struct snapshot *s = t->snapshot;

	for (t->route_slot_count = 16; t->route_slot_count < 2 * s->route_count;)
		t->route_slot_count *= 2;
	t->route_slots = calloc(t->route_slot_count, sizeof *t->route_slots);
	t->routes = calloc(s->route_count + 1, sizeof *t->routes);
	if (t->route_slots == NULL || t->routes == NULL)
		return -1;
	for (size_t i = 0; i < s->route_count; i++)
		t->routes[i].record = &s->routes[i];
	for (size_t i = s->route_count; i-- > 0;) { /* so that chains are in the snapshot's order */
		struct table_route *r = &t->routes[i];
		struct span name = span_of(r->record->model);
		uint32_t *slot = route_slot(t, name);

		if (patterns_new(r->record->model, &r->model) != 0 || compile_targets(t, r) != 0)
			return -1;
		compile_fallbacks(r);
		r->objectives = objectives_read(r->record->objectives);
		r->is_name = name.len > 0 && name.at[0] != '/' &&
			     strpbrk(r->record->model, "*?") == NULL;
		if (!r->is_name)
			continue;
		r->next = *slot;
		*slot = (uint32_t)i + 1;
	}
	return 0;
}

static ptrdiff_t
route_by_name(const struct route_table *t, struct span model, struct id project)
{
	for (uint32_t i = *route_slot(t, model); i != 0; i = t->routes[i - 1].next)
		if (id_equal(t->routes[i - 1].record->project, project) &&
			span_is(model, t->routes[i - 1].record->model))
			return (ptrdiff_t)i - 1;
	return -1;
}

static ptrdiff_t
route_by_pattern(const struct route_table *t, struct span model, struct id project)
{
	for (size_t i = 0; i < t->route_count; i++)
		if (!t->routes[i].is_name && id_equal(t->routes[i].record->project, project) &&
			patterns_fit(&t->routes[i].model, model))
			return (ptrdiff_t)i;
	return -1;
}

ptrdiff_t
table_route_for(const struct route_table *t, struct span model, struct id project)
{
	ptrdiff_t i = -1;

	if (model.len == 0)
		return -1;
	if (!id_is_none(project)) {
		i = route_by_name(t, model, project);
		if (i < 0)
			i = route_by_pattern(t, model, project);
	}
	if (i < 0)
		i = route_by_name(t, model, ID_NONE);
	return i >= 0 ? i : route_by_pattern(t, model, ID_NONE);
}

/* ---- policies and projects ---- */

static unsigned
states_of(const char *list)
{
	static const char *const name[TARGET__STATES] = { [TARGET_AVAILABLE] = "available",
		[TARGET_THROTTLED] = "throttled",
		[TARGET_EXHAUSTED] = "exhausted",
		[TARGET_RECOVERING] = "recovering",
		[TARGET_DISABLED] = "disabled",
		[TARGET_INVALID] = "invalid" };
	unsigned states = 0;

	for (int i = 0; i < TARGET__STATES; i++)
		if (glob_list_match(list, span_of(name[i])))
			states |= 1u << i;
	return states;
}

static int
compile_policies(struct route_table *t)
{
	const struct snapshot *s = t->snapshot;

	t->policies = calloc(s->policy_count + 1, sizeof *t->policies);
	if (t->policies == NULL)
		return -1;
	for (size_t i = 0; i < s->policy_count; i++) {
		struct table_policy *p = &t->policies[i];

		p->record = &s->policies[i];
		if (patterns_new(p->record->allowed_models, &p->allowed_models) != 0 ||
			patterns_new(p->record->blocked_models, &p->blocked_models) != 0)
			return -1;
		p->states = states_of(p->record->allowed_states);
		p->objectives = objectives_read(p->record->objectives);
	}
	return 0;
}

static int
by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct id));
}

/* Only projects that something here speaks of see views of their own. */
static int
find_projects(struct route_table *t)
{
	const struct snapshot *s = t->snapshot;
	size_t most = s->key_count + s->route_count + s->policy_count, n = 0, kept = 0;

	t->projects = calloc(most + 1, sizeof *t->projects);
	if (t->projects == NULL)
		return -1;
	for (size_t i = 0; i < s->key_count; i++)
		t->projects[n++] = s->keys[i].project;
	for (size_t i = 0; i < s->route_count; i++)
		t->projects[n++] = s->routes[i].project;
	for (size_t i = 0; i < s->policy_count; i++)
		t->projects[n++] = s->policies[i].project;
	qsort(t->projects, n, sizeof *t->projects, by_bytes);
	for (size_t i = 0; i < n; i++)
		if (!id_is_none(t->projects[i]) &&
			(kept == 0 || !id_equal(t->projects[kept - 1], t->projects[i])))
			t->projects[kept++] = t->projects[i];
	t->project_count = kept;
	return 0;
}

struct route_table *
route_table_new(struct board *board, const struct snapshot *snapshot, struct err *err)
{
	struct route_table *t = calloc(1, sizeof *t);

	if (t != NULL) {
		(void)pthread_mutex_init(&t->mutex, NULL);
		t->board = board;
		t->snapshot = snapshot;
		t->upstream_count = snapshot->upstream_count;
		t->key_count = snapshot->key_count;
		t->route_count = snapshot->route_count;
		t->policy_count = snapshot->policy_count;
	}
	if (t == NULL || compile_keys(t) != 0 || compile_upstreams(t) != 0 ||
		compile_routes(t) != 0 || compile_policies(t) != 0 || find_projects(t) != 0) {
		route_table_free(t);
		err_set(err, ERR_MEMORY, "no memory for the routes of %zu keys",
			snapshot->key_count);
		return NULL;
	}
	return t;
}

void
route_table_free(struct route_table *t)
{
	if (t == NULL)
		return;
	views_free(t);
	for (size_t i = 0; t->keys != NULL && i < t->key_count; i++) {
		patterns_free(&t->keys[i].allowed);
		patterns_free(&t->keys[i].blocked);
	}
	for (size_t i = 0; t->upstreams != NULL && i < t->upstream_count; i++) {
		patterns_free(&t->upstreams[i].models);
		patterns_free(&t->upstreams[i].blocked);
		free(t->upstreams[i].alias);
	}
	for (size_t i = 0; t->routes != NULL && i < t->route_count; i++) {
		patterns_free(&t->routes[i].model);
		free(t->routes[i].target);
	}
	for (size_t i = 0; t->policies != NULL && i < t->policy_count; i++) {
		patterns_free(&t->policies[i].allowed_models);
		patterns_free(&t->policies[i].blocked_models);
	}
	free(t->keys);
	free(t->upstreams);
	free(t->routes);
	free(t->route_slots);
	free(t->policies);
	free(t->projects);
	(void)pthread_mutex_destroy(&t->mutex);
	free(t);
}
