/*
 * snapshot.c - loading goes kind by kind; a change that comes between two kinds moves the
 * generation again, so the next request loads once more.
 */
#include "store/snapshot.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/models.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One kind being read into a growing array. */
struct loading {
	void *records;
	size_t count, room, most, record_bytes;
	bool (*wanted)(const void *record);
	bool failed;
};

static bool
load_one(void *ctx, const void *record)
{
	struct loading *l = ctx;

	if (!l->wanted(record))
		return true;
	if (l->count == l->room) {
		size_t room = l->room == 0 ? 16 : l->room * 2;
		void *more;

		if (room > l->most)
			room = l->most;
		more = l->count == l->most ? NULL : realloc(l->records, room * l->record_bytes);
		if (more == NULL) {
			l->failed = true;
			return false;
		}
		l->records = more;
		l->room = room;
	}
	memcpy((char *)l->records + l->count++ * l->record_bytes, record, l->record_bytes);
	return true;
}

static int
load_kind(struct store *s, enum record_kind kind, size_t most, bool (*wanted)(const void *record),
	void **records, size_t *count, struct err *err)
{
	struct loading l = { .most = most, .record_bytes = record_bytes(kind), .wanted = wanted };

	if (store_each(s, kind, ID_NONE, load_one, &l, err) != 0) {
		free(l.records);
		return -1;
	}
	if (l.failed) {
		free(l.records);
		return err_set(err, ERR_MEMORY, "more than %zu records of kind %s, or no memory",
			most, record_name(kind));
	}
	*records = l.records;
	*count = l.count;
	return 0;
}

static bool
upstream_wanted(const void *record)
{
	return ((const struct upstream *)record)->is_active;
}

static bool
key_wanted(const void *record)
{
	return ((const struct key *)record)->is_enabled;
}

static bool
price_wanted(const void *record)
{
	(void)record;
	return true;
}

static bool
limit_wanted(const void *record)
{
	return ((const struct limit *)record)->is_active;
}

static int
by_upstream(const void *a, const void *b)
{
	const struct snapshot_key *x = a, *y = b;
	int order = memcmp(&x->upstream, &y->upstream, sizeof x->upstream);

	return order != 0 ? order : memcmp(&x->id, &y->id, sizeof x->id);
}

static void
copy_texts(struct snapshot_key *to, const struct key *from)
{
	memcpy(to->label, from->label, sizeof to->label);
	memcpy(to->tags, from->tags, sizeof to->tags);
	memcpy(to->quotas, from->quotas, sizeof to->quotas);
	memcpy(to->allowed_models, from->allowed_models, sizeof to->allowed_models);
	memcpy(to->blocked_models, from->blocked_models, sizeof to->blocked_models);
}

/* Unseals into one mapping that no core dump holds. */
static int
load_keys(struct store *s, struct snapshot *p, struct err *err)
{
	void *records = NULL;
	size_t count = 0, used = 0;
	int rc = -1;

	if (load_kind(s, RECORD_KEY, SNAPSHOT_KEYS_MAX, key_wanted, &records, &count, err) != 0)
		return -1;
	if (count == 0) {
		free(records);
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		p->secrets_bytes += ((struct key *)records)[i].secret.len + (size_t)1;
	p->secrets = mmap(
		NULL, p->secrets_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p->keys = calloc(count, sizeof *p->keys);
	if (p->secrets == MAP_FAILED || p->keys == NULL) {
		p->secrets = NULL;
		err_set(err, ERR_MEMORY, "no memory for %zu provider keys", count);
		goto out;
	}
	(void)madvise(p->secrets, p->secrets_bytes, MADV_DONTDUMP);
	for (size_t i = 0; i < count; i++) {
		const struct key *k = &((struct key *)records)[i];
		struct err why = { 0 };
		ptrdiff_t len;

		if (snapshot_upstream(p, k->upstream) == NULL)
			continue;
		len = store_unseal(s, k->head.id, &k->secret, p->secrets + used,
			p->secrets_bytes - used, &why);
		if (len < 0) { /* one damaged key must not take the others along */
			char id[ID_TEXT_BYTES];

			id_text(record_prefix(RECORD_KEY), k->head.id, id);
			log_write(LOG_ERROR, "snapshot", "%s is left out: %s", id, why.text);
			continue;
		}
		p->keys[p->key_count++] = (struct snapshot_key){ .id = k->head.id,
			.upstream = k->upstream,
			.project = k->project,
			.weight = k->weight < 1 ? 1 : k->weight,
			.priority = k->priority,
			.max_parallel = k->max_parallel,
			.secret = p->secrets + used };
		copy_texts(&p->keys[p->key_count - 1], k);
		used += (size_t)len + 1;
	}
	qsort(p->keys, p->key_count, sizeof *p->keys, by_upstream);
	rc = 0;
out:
	free(records);
	return rc;
}

static bool
is_pattern(const struct price *p)
{
	return strpbrk(p->model, "*?") != NULL;
}

/* Of two for the same, that of a person counts before that of a list. */
static int
origin(const struct price *p)
{
	return p->is_builtin ? 2 : p->is_imported ? 1 : 0;
}

static int
in_order(const void *a, const void *b)
{
	const struct price *x = a, *y = b;
	bool x_pattern = is_pattern(x), y_pattern = is_pattern(y);
	size_t x_len = strlen(x->model), y_len = strlen(y->model);
	int order;

	if (x_pattern != y_pattern)
		return x_pattern - y_pattern;
	if (x_pattern && x_len != y_len)
		return (x_len < y_len) - (x_len > y_len);
	if ((order = strcmp(x->model, y->model)) != 0)
		return order;
	if (x->from_ms != y->from_ms)
		return x->from_ms < y->from_ms ? 1 : -1;
	if (origin(x) != origin(y))
		return origin(x) - origin(y);
	return (x->head.updated_ms < y->head.updated_ms) -
	       (x->head.updated_ms > y->head.updated_ms);
}

static bool
grant_wanted(const void *record)
{
	const struct grant *g = record;

	return g->until_ms == 0 || g->until_ms > clock_wall_ms();
}

/* What upstreams and keys may have running at once, behind the limits. */
static int
add_own_limits(struct snapshot *p, struct err *err)
{
	size_t most = p->limit_count;
	struct limit *all;

	for (size_t i = 0; i < p->upstream_count; i++)
		most += p->upstreams[i].max_parallel > 0;
	for (size_t i = 0; i < p->key_count; i++)
		most += p->keys[i].max_parallel > 0;
	if (most == p->limit_count)
		return 0;
	all = realloc(p->limits, most * sizeof *all);
	if (all == NULL)
		return err_set(err, ERR_MEMORY, "no memory for %zu limits", most);
	p->limits = all;
	for (size_t i = 0; i < p->upstream_count; i++)
		if (p->upstreams[i].max_parallel > 0)
			limit_of_target(p->upstreams[i].head.id, false,
				p->upstreams[i].max_parallel, &all[p->limit_count++]);
	for (size_t i = 0; i < p->key_count; i++)
		if (p->keys[i].max_parallel > 0)
			limit_of_target(p->keys[i].id, true, p->keys[i].max_parallel,
				&all[p->limit_count++]);
	return 0;
}

static int
load_limits(struct store *s, struct snapshot *p, struct err *err)
{
	struct grant *grants = NULL;
	size_t count = 0;

	if (load_kind(s, RECORD_LIMIT, SNAPSHOT_LIMITS_MAX, limit_wanted, (void **)&p->limits,
		    &p->limit_count, err) != 0 ||
		load_kind(s, RECORD_GRANT, SNAPSHOT_GRANTS_MAX, grant_wanted, (void **)&grants,
			&count, err) != 0 ||
		add_own_limits(p, err) != 0) {
		free(grants);
		return -1;
	}
	p->limit_index =
		limit_index_new(p->limits, p->limit_count, grants, count, clock_wall_ms(), err);
	free(grants);
	return p->limit_index == NULL ? -1 : 0;
}

static bool
route_wanted(const void *record)
{
	return ((const struct route *)record)->is_active;
}

static bool
policy_wanted(const void *record)
{
	return ((const struct policy *)record)->is_active;
}

/* 0 a name, 1 a glob, 2 a regular expression. */
static int
vagueness(const char *model)
{
	return model[0] == '/' ? 2 : strpbrk(model, "*?") != NULL;
}

static int
nearest_route(const void *a, const void *b)
{
	const struct route *x = a, *y = b;
	int own = (int)id_is_none(x->project) - (int)id_is_none(y->project);
	int vague = vagueness(x->model) - vagueness(y->model);
	size_t x_len = strlen(x->model), y_len = strlen(y->model);

	if (own != 0)
		return own;
	if (vague != 0)
		return vague;
	if (x_len != y_len)
		return x_len < y_len ? 1 : -1;
	if (x->head.created_ms != y->head.created_ms)
		return x->head.created_ms < y->head.created_ms ? -1 : 1;
	return memcmp(&x->head.id, &y->head.id, sizeof x->head.id);
}

static int
narrowest_policy(const void *a, const void *b)
{
	static const int width[] = { [POLICY_OF_KEY] = 0,
		[POLICY_OF_ROUTE] = 1,
		[POLICY_OF_UPSTREAM] = 2,
		[POLICY_OF_PROJECT] = 3,
		[POLICY_GLOBAL] = 4 };
	const struct policy *x = a, *y = b;
	int order = width[x->scope] - width[y->scope];

	if (order != 0)
		return order;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return memcmp(&x->head.id, &y->head.id, sizeof x->head.id);
}

void
snapshot_sort_policies(struct policy *policies, size_t count)
{
	if (count > 0)
		qsort(policies, count, sizeof *policies, narrowest_policy);
}

static int
load_routes(struct store *s, struct snapshot *p, struct err *err)
{
	if (load_kind(s, RECORD_ROUTE, SNAPSHOT_ROUTES_MAX, route_wanted, (void **)&p->routes,
		    &p->route_count, err) != 0 ||
		load_kind(s, RECORD_POLICY, SNAPSHOT_POLICIES_MAX, policy_wanted,
			(void **)&p->policies, &p->policy_count, err) != 0)
		return -1;
	if (p->route_count > 0)
		qsort(p->routes, p->route_count, sizeof *p->routes, nearest_route);
	snapshot_sort_policies(p->policies, p->policy_count);
	return 0;
}

static size_t
name_slot(const struct snapshot *p, struct span name)
{
	return hash_64(name.at, name.len, 0) & (p->price_slot_count - 1);
}

static void
add_run(struct snapshot *p, size_t row)
{
	const char *model = p->prices[row].model;
	struct price_run *r = &p->price_runs[p->price_run_count];
	size_t len = strcspn(model, "*?");

	if (row > p->price_named && strcmp(model, p->prices[row - 1].model) == 0) {
		r[-1].count++;
		return;
	}
	*r = (struct price_run){ .first = (uint32_t)row, .count = 1 };
	r->head_len = (uint8_t)(len < sizeof r->head ? len : sizeof r->head);
	memcpy(r->head, model, r->head_len);
	p->price_run_count++;
}

/* Thousands of names are a common price list, so that a request must not walk them. */
static int
index_prices(struct snapshot *p, struct err *err)
{
	size_t slots = 16;

	if (p->price_count == 0)
		return 0;
	qsort(p->prices, p->price_count, sizeof *p->prices, in_order);
	while (p->price_named < p->price_count && !is_pattern(&p->prices[p->price_named]))
		p->price_named++;
	for (size_t i = 0; i < p->price_count; i++)
		p->prices_of_upstreams |= !id_is_none(p->prices[i].upstream);
	while (slots < 2 * p->price_named)
		slots *= 2;
	p->price_slots = calloc(slots, sizeof *p->price_slots);
	p->price_runs = calloc(p->price_count - p->price_named + 1, sizeof *p->price_runs);
	if (p->price_slots == NULL || p->price_runs == NULL)
		return err_set(err, ERR_MEMORY, "no memory to index %zu prices", p->price_count);
	for (size_t i = p->price_named; i < p->price_count; i++)
		add_run(p, i);
	p->price_slot_count = slots;
	for (size_t i = 0; i < p->price_named; i++) {
		const char *name = p->prices[i].model;
		size_t at;

		if (i > 0 && strcmp(p->prices[i - 1].model, name) == 0)
			continue;
		at = name_slot(p, span_of(name));
		while (p->price_slots[at] != 0)
			at = (at + 1) & (slots - 1);
		p->price_slots[at] = (uint32_t)i + 1;
	}
	return 0;
}

/* ---- what providers say that they have ---- */

static size_t
discovered_slot(const struct snapshot *p, struct id upstream, struct span name)
{
	uint64_t seed = hash_64(&upstream, sizeof upstream, 0);

	return hash_64(name.at, name.len, seed) & (p->discovered_slot_count - 1);
}

static int
index_discovered(struct snapshot *p, struct err *err)
{
	size_t slots = 16;

	if (p->discovered_count == 0)
		return 0;
	while (slots < 2 * p->discovered_count)
		slots *= 2;
	p->discovered_slots = calloc(slots, sizeof *p->discovered_slots);
	if (p->discovered_slots == NULL)
		return err_set(
			err, ERR_MEMORY, "no memory to index %zu models", p->discovered_count);
	p->discovered_slot_count = slots;
	for (size_t i = 0; i < p->discovered_count; i++) {
		const struct snapshot_model *m = &p->discovered[i];
		size_t at = discovered_slot(p, p->upstreams[m->upstream].head.id, m->name);

		while (p->discovered_slots[at] != 0)
			at = (at + 1) & (slots - 1);
		p->discovered_slots[at] = (uint32_t)i + 1;
	}
	return 0;
}

/* Lists as they lie in one text; the models' spans are made when it no longer moves. */
struct found_list {
	size_t from, len;
};

static int
read_lists(struct store *s, struct snapshot *p, struct bytes *all, struct found_list *found,
	struct err *err)
{
	struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX);
	int rc = 0;

	for (size_t i = 0; i < p->upstream_count && rc == 0; i++) {
		const struct upstream *u = &p->upstreams[i];
		struct models_head head = { 0 };
		int has;

		if (!u->discover)
			continue;
		has = store_models_get(s, u->head.id, &head, &text, err);
		if (has < 0)
			rc = -1;
		if (has <= 0 || head.at_ms == 0 || head.of != models_of(u))
			continue;
		p->lists[i].at_ms = head.at_ms;
		p->lists[i].count = head.count;
		p->discovered_count += head.count;
		found[i] = (struct found_list){ all->len, text.len };
		if (bytes_add(all, text.at, text.len) != 0)
			rc = err_set(err, ERR_MEMORY, "no memory for lists of models");
	}
	bytes_free(&text);
	return rc;
}

static void
read_list(struct snapshot *p, size_t upstream, struct span text, size_t most)
{
	struct snapshot_list *list = &p->lists[upstream];
	struct model_line line;
	size_t count = list->count;

	list->first = p->discovered_count;
	list->count = 0;
	while (list->count < count && p->discovered_count < most && models_next(&text, &line)) {
		p->discovered[p->discovered_count++] =
			(struct snapshot_model){ .upstream = (uint32_t)upstream,
				.is_free = line.is_free,
				.context = line.context,
				.name = line.name,
				.modality = line.modality };
		list->count++;
	}
	if (list->count < count)
		log_write(LOG_WARN, "snapshot", "upstream %s: %zu of its %zu models are left out",
			p->upstreams[upstream].name, count - list->count, count);
}

static int
load_discovered(struct store *s, struct snapshot *p, struct err *err)
{
	struct bytes all = BYTES_LIMIT(SNAPSHOT_DISCOVERED_MAX * (size_t)MODELS_LINE_MAX);
	struct found_list *found = calloc(p->upstream_count + 1, sizeof *found);
	size_t most;
	int rc = 0;

	p->lists = calloc(p->upstream_count + 1, sizeof *p->lists);
	if (p->lists == NULL || found == NULL)
		rc = err_set(err, ERR_MEMORY, "no memory for lists of models");
	if (rc == 0)
		rc = read_lists(s, p, &all, found, err);
	p->discovered_text = all.at;
	most = p->discovered_count < SNAPSHOT_DISCOVERED_MAX ? p->discovered_count
							     : SNAPSHOT_DISCOVERED_MAX;
	p->discovered_count = 0;
	if (rc == 0 && most > 0 && (p->discovered = calloc(most, sizeof *p->discovered)) == NULL)
		rc = err_set(err, ERR_MEMORY, "no memory for %zu models", most);
	for (size_t i = 0; rc == 0 && i < p->upstream_count; i++)
		if (p->lists[i].at_ms != 0)
			read_list(
				p, i, (struct span){ all.at + found[i].from, found[i].len }, most);
	free(found);
	return rc == 0 ? index_discovered(p, err) : -1;
}

struct snapshot *
snapshot_load(struct store *s, uint64_t generation, struct err *err)
{
	struct snapshot *p = calloc(1, sizeof *p);

	if (p == NULL) {
		err_set(err, ERR_MEMORY, "no memory for a snapshot");
		return NULL;
	}
	atomic_init(&p->references, 1);
	p->generation = generation;
	if (load_kind(s, RECORD_UPSTREAM, SNAPSHOT_UPSTREAMS_MAX, upstream_wanted,
		    (void **)&p->upstreams, &p->upstream_count, err) != 0 ||
		load_keys(s, p, err) != 0 ||
		load_kind(s, RECORD_PRICE, SNAPSHOT_PRICES_MAX, price_wanted, (void **)&p->prices,
			&p->price_count, err) != 0 ||
		load_limits(s, p, err) != 0 || load_routes(s, p, err) != 0 ||
		load_discovered(s, p, err) != 0 || index_prices(p, err) != 0) {
		snapshot_drop(p);
		return NULL;
	}
	return p;
}

struct snapshot *
snapshot_hold(struct snapshot *p)
{
	atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
	return p;
}

void
snapshot_drop(struct snapshot *p)
{
	if (p == NULL || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
		return;
	if (p->compiled != NULL)
		p->compiled_free(p->compiled);
	if (p->secrets != NULL) {
		explicit_bzero(p->secrets, p->secrets_bytes);
		munmap(p->secrets, p->secrets_bytes);
	}
	free(p->upstreams);
	free(p->keys);
	free(p->prices);
	limit_index_free(p->limit_index);
	free(p->price_slots);
	free(p->price_runs);
	free(p->limits);
	free(p->routes);
	free(p->policies);
	free(p->lists);
	free(p->discovered);
	free(p->discovered_slots);
	free(p->discovered_text);
	free(p);
}

const struct snapshot_list *
snapshot_list_of(const struct snapshot *p, struct id upstream)
{
	const struct upstream *u = snapshot_upstream(p, upstream);

	return u == NULL || p->lists == NULL ? NULL : &p->lists[u - p->upstreams];
}

const struct snapshot_model *
snapshot_discovered(const struct snapshot *p, struct id upstream, struct span model)
{
	if (p->discovered_slot_count == 0)
		return NULL;
	for (size_t at = discovered_slot(p, upstream, model); p->discovered_slots[at] != 0;
		at = (at + 1) & (p->discovered_slot_count - 1)) {
		const struct snapshot_model *m = &p->discovered[p->discovered_slots[at] - 1];

		if (m->name.len == model.len && memcmp(m->name.at, model.at, model.len) == 0 &&
			id_equal(p->upstreams[m->upstream].head.id, upstream))
			return m;
	}
	return NULL;
}

const struct upstream *
snapshot_upstream(const struct snapshot *p, struct id id)
{
	for (size_t i = 0; i < p->upstream_count; i++)
		if (id_equal(p->upstreams[i].head.id, id))
			return &p->upstreams[i];
	return NULL;
}

const struct upstream *
snapshot_upstream_named(const struct snapshot *p, struct span name)
{
	for (size_t i = 0; i < p->upstream_count; i++)
		if (span_is_nocase(name, p->upstreams[i].name))
			return &p->upstreams[i];
	return NULL;
}

const struct price *
snapshot_price_named(const struct snapshot *p, struct span model, size_t *count)
{
	*count = 0;
	if (p->price_slot_count == 0)
		return NULL;
	for (size_t at = name_slot(p, model); p->price_slots[at] != 0;
		at = (at + 1) & (p->price_slot_count - 1)) {
		size_t first = p->price_slots[at] - 1, i = first;

		if (!span_is(model, p->prices[first].model))
			continue;
		while (i < p->price_named &&
			strcmp(p->prices[i].model, p->prices[first].model) == 0)
			i++;
		*count = i - first;
		return &p->prices[first];
	}
	return NULL;
}
