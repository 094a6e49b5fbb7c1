/*
 * limits.c - each limit hangs under one anchor: the value it names that fewest requests have.  Those
 * that name none hang in a list of their own.  A request looks under each of its own values.
 */
#include "store/limits.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define NOBODY UINT32_MAX

__extension__ typedef __int128 wide;

/* One grant, as the counter's name it is for. */
struct allowance {
	int64_t amount, from_ms, until_ms;
	int64_t rolling_ms; /* of a reset that fades; else 0 */
	bool is_reset;
	uint64_t hash; /* of the name; 0: for every counter of the limit */
	uint32_t len;
	const uint8_t *name;
};

struct limit_index {
	struct limit_rule *rules;
	size_t count;
	uint32_t general; /* of those without an anchor */
	uint32_t *heads;  /* by the hash of the anchor's value */
	uint64_t mask;
	bool anchored[DIMENSION__COUNT];
	bool by_attempt, expects;
	struct allowance *allowances; /* in the order of rules */
	uint8_t *names;
	struct zone *zones[LIMIT_ZONES_MAX];
	const char *zone_names[LIMIT_ZONES_MAX];
	int zone_count;
};

/* Dearest first: what names a token concerns nobody else. */
static const enum limit_dimension anchors[] = { DIMENSION_TOKEN, DIMENSION_END_USER, DIMENSION_TAG,
	DIMENSION_PROJECT, DIMENSION_KEY, DIMENSION_ADDRESS, DIMENSION_MODEL, DIMENSION_UPSTREAM };

static uint64_t
id_hash(enum limit_dimension d, struct id id)
{
	return hash_64(id.b, sizeof id.b, d);
}

static uint64_t
text_hash(enum limit_dimension d, const char *text)
{
	return hash_64(text, strlen(text), d);
}

static const struct zone *
zone_named(struct limit_index *x, const char *name)
{
	struct err err = { 0 };

	if (name[0] == '\0')
		return NULL;
	for (int i = 0; i < x->zone_count; i++)
		if (strcmp(x->zone_names[i], name) == 0)
			return x->zones[i];
	if (x->zone_count == LIMIT_ZONES_MAX) {
		log_write(LOG_ERROR, "limit", "more than %d time zones: %s counts as UTC",
			LIMIT_ZONES_MAX, name);
		return NULL;
	}
	x->zone_names[x->zone_count] = name;
	x->zones[x->zone_count] = zone_load(name, &err);
	if (x->zones[x->zone_count] == NULL)
		log_write(LOG_ERROR, "limit", "limits in %s count in UTC: %s", name, err.text);
	return x->zones[x->zone_count++];
}

static void
hang(struct limit_index *x, uint32_t number)
{
	struct limit_rule *r = &x->rules[number];
	uint32_t *head = &x->general;

	for (size_t i = 0; i < sizeof anchors / sizeof anchors[0]; i++) {
		enum limit_dimension d = anchors[i];
		uint64_t hash;

		if (r->how[d] == SCOPE_ID)
			hash = id_hash(d, r->id[d]);
		else if (r->how[d] == SCOPE_TEXT)
			hash = text_hash(d, r->limit->scope[d]);
		else
			continue;
		x->anchored[d] = true;
		head = &x->heads[hash & x->mask];
		break;
	}
	r->next = *head;
	*head = number;
}

bool
grant_values(const struct grant *g, struct limit_values *v)
{
	static const struct {
		enum limit_dimension d;
		const char *prefix;
		size_t at;
	} ids[] = {
		{ DIMENSION_PROJECT, "prj_", offsetof(struct limit_values, project) },
		{ DIMENSION_TOKEN, "tok_", offsetof(struct limit_values, token) },
		{ DIMENSION_UPSTREAM, "up_", offsetof(struct limit_values, upstream) },
		{ DIMENSION_KEY, "key_", offsetof(struct limit_values, key) },
	};

	*v = (struct limit_values){ .end_user = g->value[DIMENSION_END_USER],
		.model = g->value[DIMENSION_MODEL],
		.address = g->value[DIMENSION_ADDRESS],
		.tag = { g->value[DIMENSION_TAG] } };
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
		if (g->value[ids[i].d][0] != '\0' &&
			id_parse(ids[i].prefix, g->value[ids[i].d],
				(struct id *)(void *)((char *)v + ids[i].at)) != 0)
			return false;
	return true;
}

static int
by_limit(const void *a, const void *b)
{
	const struct grant *const *x = a, *const *y = b;

	return memcmp(&(*x)->limit, &(*y)->limit, sizeof(struct id));
}

static bool
has_value(const struct grant *g)
{
	for (int d = 0; d < DIMENSION__COUNT; d++)
		if (g->value[d][0] != '\0')
			return true;
	return false;
}

/* Never 0. */
static uint64_t
name_hash(const uint8_t *name, size_t len)
{
	return hash_64(name, len, 0) | 1;
}

static size_t
allow(struct allowance *a, const struct grant *g, const struct limit_rule *r, uint8_t *name)
{
	struct limit_values v;
	uint8_t whole[COUNTER_NAME_BYTES];

	*a = (struct allowance){ .amount = g->amount,
		.from_ms = g->from_ms,
		.until_ms = g->until_ms,
		.rolling_ms = g->is_reset ? limit_rolling_ms(r->limit) : 0,
		.is_reset = g->is_reset };
	if (!has_value(g))
		return 0;
	if (!grant_values(g, &v)) /* nobody's */
		a->amount = 0;
	a->len = (uint32_t)(limit_counter_name(r, &v, v.tag[0], 0, whole) - COUNTER_NAME_WINDOW);
	memcpy(name, whole + COUNTER_NAME_WINDOW, a->len);
	a->name = name;
	a->hash = name_hash(name, a->len);
	return a->len;
}

static int
by_hash(const void *a, const void *b)
{
	const struct allowance *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

/* Grants are sorted by their limit, and so each rule's stand together. */
static int
add_grants(struct limit_index *x, const struct grant *grants, size_t count, int64_t now_ms)
{
	const struct grant **sorted = calloc(count + 1, sizeof(const struct grant *));
	size_t used = 0, bytes = 0, kept = 0;

	if (sorted == NULL)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (grants[i].until_ms == 0 || grants[i].until_ms > now_ms)
			sorted[kept++] = &grants[i];
	if (kept > 1)
		qsort(sorted, kept, sizeof(const struct grant *), by_limit);
	for (size_t i = 0; i < kept; i++)
		for (int d = 0; d < DIMENSION__COUNT; d++)
			bytes += strlen(sorted[i]->value[d]) + 1 + sizeof(struct id);
	x->allowances = calloc(kept + 1, sizeof *x->allowances);
	x->names = malloc(bytes + 1);
	if (x->allowances == NULL || x->names == NULL) {
		free(sorted);
		return -1;
	}
	bytes = 0;
	for (size_t i = 0; kept > 0 && i < x->count; i++) {
		struct limit_rule *r = &x->rules[i];
		struct grant wanted;
		const struct grant *key = &wanted;
		const struct grant **first;

		wanted.limit = r->limit->head.id;
		first = bsearch(&key, sorted, kept, sizeof(const struct grant *), by_limit);
		if (first == NULL)
			continue;
		while (first > sorted && by_limit(first - 1, &key) == 0)
			first--;
		r->grants = (uint32_t)used;
		for (; first < sorted + kept && by_limit(first, &key) == 0; first++)
			bytes += allow(&x->allowances[used++], *first, r, x->names + bytes);
		r->grant_count = (uint32_t)used - r->grants;
		qsort(x->allowances + r->grants, r->grant_count, sizeof *x->allowances, by_hash);
	}
	free(sorted);
	return 0;
}

struct limit_index *
limit_index_new(const struct limit *limits, size_t count, const struct grant *grants,
	size_t grant_count, int64_t now_ms, struct err *err)
{
	struct limit_index *x = calloc(1, sizeof *x);
	size_t heads = 16;

	while (heads < 2 * count)
		heads *= 2;
	if (x == NULL || count >= NOBODY ||
		(x->rules = calloc(count + 1, sizeof *x->rules)) == NULL ||
		(x->heads = malloc(heads * sizeof *x->heads)) == NULL)
		goto no_memory;
	x->count = count;
	x->general = NOBODY;
	x->mask = heads - 1;
	memset(x->heads, 0xff, heads * sizeof *x->heads); /* NOBODY */
	for (size_t i = 0; i < count; i++) {
		limit_rule(&limits[i], zone_named(x, limits[i].timezone), &x->rules[i]);
		x->by_attempt = x->by_attempt || x->rules[i].by_attempt;
		x->expects = x->expects || limits[i].reserve == RESERVE_EXPECTED;
	}
	for (size_t i = count; i-- > 0;) /* so that each list is in their order */
		hang(x, (uint32_t)i);
	if (add_grants(x, grants, grant_count, now_ms) == 0)
		return x;
no_memory:
	limit_index_free(x);
	err_set(err, ERR_MEMORY, "no memory for %zu limits and %zu grants", count, grant_count);
	return NULL;
}

void
limit_index_free(struct limit_index *x)
{
	if (x == NULL)
		return;
	for (int i = 0; i < x->zone_count; i++)
		zone_free(x->zones[i]);
	free(x->rules);
	free(x->heads);
	free(x->allowances);
	free(x->names);
	free(x);
}

const struct limit_rule *
limit_index_rule(const struct limit_index *x, size_t number)
{
	return &x->rules[number];
}

bool
limit_index_by_attempt(const struct limit_index *x)
{
	return x != NULL && x->by_attempt;
}

bool
limit_index_expects(const struct limit_index *x)
{
	return x != NULL && x->expects;
}

struct finding {
	const struct limit_index *index;
	const struct limit_values *values;
	bool by_attempt;
	struct limit_hit *hits;
	int count, room;
};

/* Others may share the list: limit_counters() says who is meant. */
static void
walk(struct finding *f, uint32_t number)
{
	const char *tag[USAGE_TAGS_MAX];

	while (number != NOBODY) {
		const struct limit_rule *r = &f->index->rules[number];
		int n = 0;

		number = r->next;
		if (r->by_attempt == f->by_attempt)
			n = limit_counters(r, f->values, tag);
		for (int i = 0; i < n; i++, f->count++)
			if (f->count < f->room)
				f->hits[f->count] = (struct limit_hit){ r, tag[i] };
	}
}

static void
look(struct finding *f, uint64_t *seen, int *seen_count, uint64_t hash)
{
	uint64_t place = hash & f->index->mask;

	/* Two values may share a list: it is walked once. */
	for (int i = 0; i < *seen_count; i++)
		if (seen[i] == place)
			return;
	seen[(*seen_count)++] = place;
	walk(f, f->index->heads[place]);
}

#define LOOKS_MAX (DIMENSION__COUNT + USAGE_TAGS_MAX)

int
limit_index_find(const struct limit_index *x, const struct limit_values *v, bool by_attempt,
	struct limit_hit *hits, int room)
{
	struct finding f = { x, v, by_attempt, hits, 0, room };
	const struct {
		enum limit_dimension d;
		const struct id *id;
		const char *text;
	} mine[] = {
		{ DIMENSION_TOKEN, &v->token, NULL },
		{ DIMENSION_PROJECT, &v->project, NULL },
		{ DIMENSION_KEY, &v->key, NULL },
		{ DIMENSION_UPSTREAM, &v->upstream, NULL },
		{ DIMENSION_END_USER, NULL, v->end_user },
		{ DIMENSION_ADDRESS, NULL, v->address },
		{ DIMENSION_MODEL, NULL, v->model },
	};
	uint64_t seen[LOOKS_MAX];
	int seen_count = 0;

	if (x == NULL)
		return 0;
	walk(&f, x->general);
	for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) {
		if (!x->anchored[mine[i].d])
			continue;
		if (mine[i].id != NULL)
			look(&f, seen, &seen_count, id_hash(mine[i].d, *mine[i].id));
		else if (mine[i].text != NULL && mine[i].text[0] != '\0')
			look(&f, seen, &seen_count, text_hash(mine[i].d, mine[i].text));
	}
	for (int i = 0; x->anchored[DIMENSION_TAG] && i < USAGE_TAGS_MAX; i++)
		if (v->tag[i] != NULL && v->tag[i][0] != '\0')
			look(&f, seen, &seen_count, text_hash(DIMENSION_TAG, v->tag[i]));
	return f.count;
}

/* ---- grants ---- */

static int64_t
add_held(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return INT64_MAX;
	return sum;
}

/* What is left of an amount that ages away between from and from + span. */
static int64_t
faded(int64_t amount, int64_t from_ms, int64_t span_ms, int64_t now_ms)
{
	int64_t left_ms = from_ms + span_ms - now_ms;

	if (left_ms <= 0)
		return 0;
	if (left_ms >= span_ms)
		return amount;
	return (int64_t)((wide)amount * left_ms / span_ms);
}

static void
add_allowance(struct limit_granted *g, const struct allowance *a, int64_t now_ms)
{
	int64_t amount = a->amount;

	if (now_ms < a->from_ms || (a->until_ms != 0 && now_ms >= a->until_ms))
		return;
	if (a->rolling_ms > 0)
		amount = faded(amount, a->from_ms, a->rolling_ms, now_ms);
	g->granted = add_held(g->granted, amount);
	if (a->is_reset)
		g->forgiven = add_held(g->forgiven, amount);
}

/* The first of a rule's allowances whose hash is that or greater. */
static uint32_t
first_of(const struct limit_index *x, const struct limit_rule *r, uint64_t hash)
{
	uint32_t low = r->grants, high = r->grants + r->grant_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (x->allowances[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct limit_granted
limit_granted(const struct limit_index *x, const struct limit_rule *r, const uint8_t *name,
	size_t len, int64_t now_ms)
{
	struct limit_granted g = { 0, 0 };
	uint32_t end = r->grants + r->grant_count;
	uint64_t hash;

	if (r->grant_count == 0)
		return g;
	name += COUNTER_NAME_WINDOW;
	len -= COUNTER_NAME_WINDOW;
	hash = name_hash(name, len);
	/* those for every counter stand first */
	for (uint32_t i = r->grants; i < end && x->allowances[i].hash == 0; i++)
		add_allowance(&g, &x->allowances[i], now_ms);
	for (uint32_t i = first_of(x, r, hash); i < end && x->allowances[i].hash == hash; i++)
		if (x->allowances[i].len == len && memcmp(x->allowances[i].name, name, len) == 0)
			add_allowance(&g, &x->allowances[i], now_ms);
	return g;
}

int64_t
limit_cap_with(const struct limit *l, struct limit_granted g)
{
	return add_held(l->cap, g.granted);
}
