/*
 * pricefile.c - reading price lists that others wrote: every member is judged before any is taken.
 *
 * The community list names models "gpt-4o", but also "groq/llama-3.3-70b-versatile", which at that
 * provider is called without the prefix.  So such an entry stands for both names, unless the bare
 * one has an entry of its own or two providers ask different prices for it.
 */
#include "manage/pricefile-int.h"

#include "base/money.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_ROWS_MAX 16 /* steps and tiers of one model: what settle looks at */
#define ROWS_READ_MAX  (4 * SNAPSHOT_PRICES_MAX)
#define PER_MILLION    15 /* dollars a token to nano-dollars a million */
#define PER_PIECE      9

int
price_series_order(const struct price *a, const struct price *b)
{
	int order = strcmp(a->model, b->model);

	if (order == 0)
		order = memcmp(&a->upstream, &b->upstream, sizeof a->upstream);
	if (order == 0)
		order = strcmp(a->tier, b->tier);
	if (order == 0)
		order = (a->above_tokens > b->above_tokens) - (a->above_tokens < b->above_tokens);
	return order;
}

int
price_row_order(const void *a, const void *b)
{
	const struct price *x = a, *y = b;
	int order = price_series_order(x, y);

	return order != 0 ? order : (x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

bool
price_same_rates(const struct price *a, const struct price *b)
{
	return a->input_nusd == b->input_nusd && a->output_nusd == b->output_nusd &&
	       a->cache_read_nusd == b->cache_read_nusd &&
	       a->cache_write_5m_nusd == b->cache_write_5m_nusd &&
	       a->cache_write_1h_nusd == b->cache_write_1h_nusd &&
	       a->reasoning_nusd == b->reasoning_nusd &&
	       a->audio_input_nusd == b->audio_input_nusd &&
	       a->audio_output_nusd == b->audio_output_nusd && a->request_nusd == b->request_nusd &&
	       a->image_nusd == b->image_nusd;
}

void
price_file_free(struct price_file *f)
{
	free(f->rows);
	f->rows = NULL;
	f->count = f->room = 0;
}

static struct price *
add_row(struct price_file *f)
{
	struct price *row;

	if (f->count == f->room) {
		size_t room = f->room == 0 ? 256 : f->room * 2;

		if (f->room >= ROWS_READ_MAX) {
			call_refuse(f->call, ERR_BAD_REQUEST, "prices",
				"These are too many prices: at most %d.", SNAPSHOT_PRICES_MAX);
			return NULL;
		}
		row = realloc(f->rows, room * sizeof *row);
		if (row == NULL) {
			call_no_memory(f->call);
			return NULL;
		}
		f->rows = row;
		f->room = room;
	}
	row = &f->rows[f->count++];
	record_init(RECORD_PRICE, row);
	row->upstream = f->upstream;
	row->from_ms = f->how->from_ms;
	row->is_builtin = f->how->is_shipped;
	row->is_imported = !f->how->is_shipped;
	return row;
}

/* ---- our own shape ---- */

struct own_row {
	struct price_file *file;
	struct price *row;
	uint64_t given; /* a bit for each field of the table */
};

static bool
own_member(void *ctx, const struct json_member *m)
{
	struct own_row *o = ctx;
	size_t count;
	const struct field *fields = record_fields(RECORD_PRICE, &count), *f;
	char name[64];

	if (!span_copy(m->key, name, sizeof name))
		name[0] = '\0';
	f = shape_field_named(RECORD_PRICE, name);
	if (f == NULL || (f->flags & (FIELD_READ | FIELD_HIDDEN)) != 0) {
		call_refuse(o->file->call, ERR_BAD_REQUEST, name, "A price has no field %s.", name);
		return false;
	}
	o->given |= UINT64_C(1) << (f - fields);
	return shape_set(o->file->call, f, m->value, o->row) == 0;
}

static bool
own_element(void *ctx, const struct json_member *m)
{
	struct price_file *f = ctx;
	struct own_row o = { .file = f, .row = add_row(f) };
	size_t count;
	const struct field *fields = record_fields(RECORD_PRICE, &count);

	if (o.row == NULL)
		return false;
	if (json_each(m->value.raw, own_member, &o, NULL) != 0 && f->call->err.code == ERR_NONE)
		call_refuse(f->call, ERR_BAD_REQUEST, "prices", "Price %zu is no JSON object.",
			f->count);
	for (size_t i = 0; i < count && f->call->err.code == ERR_NONE; i++)
		if ((fields[i].flags & FIELD_REQUIRED) != 0 && (o.given >> i & 1) == 0)
			call_refuse(f->call, ERR_BAD_REQUEST, fields[i].name,
				"Price %zu has no %s.", f->count, fields[i].name);
	if (f->call->err.code == ERR_NONE && o.row->model[0] == '\0')
		call_refuse(
			f->call, ERR_BAD_REQUEST, "model", "Price %zu names no model.", f->count);
	f->models++;
	return f->call->err.code == ERR_NONE;
}

/* ---- the community's ---- */

/* Of a model: the rows it will have, the plain one first, and what each states. */
struct model_rows {
	struct price_file *file;
	char model[MODEL_BYTES], provider[64];
	int count;
	struct price row[MODEL_ROWS_MAX];
	unsigned stated[MODEL_ROWS_MAX]; /* a bit for each of the rates */
	bool any, any_paid;              /* of what is known: a rate, one above zero */
	bool other_paid;                 /* a rate that is not known is above zero */
};

#define RATE(field) offsetof(struct price, field##_nusd)
static const struct rate {
	const char *name;
	size_t offset;
	int places;
	bool is_second; /* taken only where no other states the rate */
} rates[] = {
	{ "input_cost_per_token", RATE(input), PER_MILLION, false },
	{ "output_cost_per_token", RATE(output), PER_MILLION, false },
	{ "cache_read_input_token_cost", RATE(cache_read), PER_MILLION, false },
	{ "cache_creation_input_token_cost", RATE(cache_write_5m), PER_MILLION, false },
	{ "cache_creation_input_token_cost_above_1hr", RATE(cache_write_1h), PER_MILLION, false },
	{ "output_cost_per_reasoning_token", RATE(reasoning), PER_MILLION, false },
	{ "input_cost_per_audio_token", RATE(audio_input), PER_MILLION, false },
	{ "output_cost_per_audio_token", RATE(audio_output), PER_MILLION, false },
	{ "input_cost_per_request", RATE(request), PER_PIECE, false },
	{ "output_cost_per_image", RATE(image), PER_PIECE, false },
	/* what such a model puts out are images, counted as its output */
	{ "output_cost_per_image_token", RATE(output), PER_MILLION, true },
};
#define RATE_COUNT (sizeof rates / sizeof rates[0])

static bool
cut_tier(char *name, const char **tier)
{
	static const char *const tiers[][2] = { { "_flex", "flex" }, { "_priority", "priority" },
		{ "_batches", "batch" } };
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
		size_t n = strlen(tiers[i][0]);

		if (len > n && strcmp(name + len - n, tiers[i][0]) == 0) {
			name[len - n] = '\0';
			*tier = tiers[i][1];
			return true;
		}
	}
	return false;
}

/* "_above_200k_tokens" is cut out of the name. */
static int64_t
cut_step(char *name)
{
	static const char above[] = "_above_", unit[] = "k_tokens";

	for (char *p = name; (p = strstr(p, above)) != NULL; p++) {
		char *digits = p + sizeof above - 1, *end;
		long thousands = strtol(digits, &end, 10);

		if (end == digits || thousands <= 0 || thousands > 1000000 ||
			strncmp(end, unit, sizeof unit - 1) != 0)
			continue;
		end += sizeof unit - 1;
		memmove(p, end, strlen(end) + 1);
		return (int64_t)thousands * 1000;
	}
	return 0;
}

/* The rate that a member's name means, or NULL. */
static const struct rate *
find_rate(struct span member, const char **tier, int64_t *above)
{
	char name[128];

	*tier = "";
	*above = 0;
	if (!span_copy(member, name, sizeof name))
		return NULL;
	(void)cut_tier(name, tier);
	*above = cut_step(name);
	if ((*tier)[0] == '\0')
		(void)cut_tier(name, tier);
	for (size_t i = 0; i < RATE_COUNT; i++)
		if (strcmp(rates[i].name, name) == 0)
			return &rates[i];
	return NULL;
}

static bool
has_word(struct span text, const char *word)
{
	return memmem(text.at, text.len, word, strlen(word)) != NULL;
}

/* A figure or the text of one; false also for what can be no price. */
static bool
read_rate(struct json_value v, int places, int64_t *nusd)
{
	char text[64];

	if (v.type == JSON_NUMBER)
		return money_scaled(v.raw, places, nusd) == 0 && *nusd >= 0;
	return v.type == JSON_STRING && json_string(v, text, sizeof text) > 0 &&
	       money_scaled(span_of(text), places, nusd) == 0 && *nusd >= 0;
}

static void
note_ignored(struct model_rows *r, const struct json_member *m)
{
	struct price_file *f = r->file;
	int64_t nusd;
	size_t i = 0;

	f->ignored++;
	if (read_rate(m->value, PER_MILLION, &nusd) ? nusd > 0 : m->value.type == JSON_NUMBER)
		r->other_paid = true;
	while (i < f->ignored_name_count && !span_is(m->key, f->ignored_names[i].name))
		i++;
	if (i == PRICE_IGNORED_MAX)
		return;
	if (i == f->ignored_name_count) {
		if (!span_copy(m->key, f->ignored_names[i].name, sizeof f->ignored_names[i].name))
			return;
		f->ignored_name_count++;
	}
	f->ignored_names[i].count++;
}

/* The row of a tier and step, made when there is none; NULL when there are too many. */
static int
row_of(struct model_rows *r, const char *tier, int64_t above)
{
	struct price *row;

	for (int i = 0; i < r->count; i++)
		if (r->row[i].above_tokens == above && strcmp(r->row[i].tier, tier) == 0)
			return i;
	if (r->count == MODEL_ROWS_MAX)
		return -1;
	row = &r->row[r->count];
	record_init(RECORD_PRICE, row);
	memcpy(row->tier, tier, strlen(tier) + 1);
	row->above_tokens = above;
	r->stated[r->count] = 0;
	return r->count++;
}

static unsigned
bit_of(size_t offset)
{
	unsigned i = 0;

	while (rates[i].offset != offset)
		i++;
	return 1u << i;
}

static int64_t *
rate_at(struct price *row, size_t offset)
{
	return (int64_t *)(void *)((char *)row + offset);
}

static bool
community_member(void *ctx, const struct json_member *m)
{
	struct model_rows *r = ctx;
	const char *tier;
	const struct rate *rate;
	int64_t nusd, above;
	int i;

	if (span_is(m->key, "litellm_provider"))
		(void)json_string(m->value, r->provider, sizeof r->provider);
	if (m->value.type == JSON_NULL || !has_word(m->key, "cost"))
		return true;
	if ((rate = find_rate(m->key, &tier, &above)) == NULL) {
		note_ignored(r, m);
		return true;
	}
	if (!read_rate(m->value, rate->places, &nusd)) {
		call_refuse(r->file->call, ERR_BAD_REQUEST, "prices",
			"%.60s: %.*s is no price: %.*s.", r->model,
			(int)(m->key.len > 60 ? 60 : m->key.len), m->key.at,
			(int)(m->value.raw.len > 40 ? 40 : m->value.raw.len), m->value.raw.at);
		return false;
	}
	if ((i = row_of(r, tier, above)) < 0) {
		call_refuse(r->file->call, ERR_BAD_REQUEST, "prices",
			"%.60s has more than %d steps and tiers.", r->model, MODEL_ROWS_MAX);
		return false;
	}
	r->any = true;
	r->any_paid |= nusd > 0;
	if (rate->is_second && (r->stated[i] & bit_of(rate->offset)) != 0)
		return true;
	*rate_at(&r->row[i], rate->offset) = nusd;
	if (!rate->is_second)
		r->stated[i] |= bit_of(rate->offset);
	return true;
}

/* What a row leaves open is as without its step, and that as without its tier. */
static void
inherit(struct model_rows *r)
{
	for (int i = 1; i < r->count; i++) {
		int from = 0;

		for (int k = 1; k < r->count && from == 0 && r->row[i].above_tokens > 0; k++)
			if (r->row[k].above_tokens == 0 &&
				strcmp(r->row[k].tier, r->row[i].tier) == 0)
				from = k;
		for (size_t k = 0; k < RATE_COUNT; k++) {
			size_t at = rates[k].offset;

			if (rates[k].is_second || (r->stated[i] & bit_of(at)) != 0)
				continue;
			if (from > 0 && (r->stated[from] & bit_of(at)) != 0)
				*rate_at(&r->row[i], at) = *rate_at(&r->row[from], at);
			else
				*rate_at(&r->row[i], at) = *rate_at(&r->row[0], at);
		}
	}
}

/* Rows of one name; `bare` is the name without its provider's prefix. */
struct entry {
	size_t first, count;
	bool bare;
};

struct community {
	struct price_file *file;
	struct entry *entries;
	size_t count, room;
};

static int
add_entry(struct community *m, const struct model_rows *r, const char *name, bool bare)
{
	struct price_file *f = m->file;
	struct entry *e;

	if (m->count == m->room) {
		size_t room = m->room == 0 ? 256 : m->room * 2;

		if ((e = realloc(m->entries, room * sizeof *e)) == NULL)
			return call_no_memory(f->call);
		m->entries = e;
		m->room = room;
	}
	m->entries[m->count++] =
		(struct entry){ .first = f->count, .count = (size_t)r->count, .bare = bare };
	for (int i = 0; i < r->count; i++) {
		struct price *row = add_row(f), blank;

		if (row == NULL)
			return -1;
		blank = *row;
		*row = r->row[i];
		row->upstream = blank.upstream;
		row->from_ms = blank.from_ms;
		row->is_builtin = blank.is_builtin;
		row->is_imported = blank.is_imported;
		span_copy(span_of(name), row->model, sizeof row->model);
	}
	return 0;
}

/* The name behind "provider/", or NULL. */
static const char *
bare_name(const struct model_rows *r)
{
	size_t len = strlen(r->provider);

	if (len == 0 || strncmp(r->model, r->provider, len) != 0 || r->model[len] != '/' ||
		r->model[len + 1] == '\0')
		return NULL;
	return r->model + len + 1;
}

static bool
community_model(void *ctx, const struct json_member *m)
{
	struct community *all = ctx;
	struct price_file *f = all->file;
	/* the key with its quotes */
	struct json_value key = { JSON_STRING, { m->key.at - 1, m->key.len + 2 } };
	struct model_rows r = { .file = f };
	const char *bare;

	if (m->value.type != JSON_OBJECT || span_is(m->key, "sample_spec"))
		return true;
	if (json_string(key, r.model, sizeof r.model) <= 0 || strpbrk(r.model, "*?") != NULL) {
		f->skipped++;
		return true;
	}
	(void)row_of(&r, "", 0);
	if (json_each(m->value.raw, community_member, &r, NULL) != 0 ||
		f->call->err.code != ERR_NONE)
		return false;
	if (f->how->provider != NULL && strcmp(r.provider, f->how->provider) != 0)
		return true;
	f->models++;
	if (!r.any || (!r.any_paid && r.other_paid)) {
		f->skipped++;
		return true;
	}
	inherit(&r);
	bare = bare_name(&r);
	if (bare != NULL && f->how->provider != NULL) /* one provider's alone */
		return add_entry(all, &r, bare, false) == 0;
	return add_entry(all, &r, r.model, false) == 0 &&
	       (bare == NULL || add_entry(all, &r, bare, true) == 0);
}

static int
entry_order(const void *a, const void *b, void *rows)
{
	const struct entry *x = a, *y = b;
	const struct price *row = rows;
	int order = strcmp(row[x->first].model, row[y->first].model);

	if (order == 0)
		order = x->bare - y->bare;
	return order != 0 ? order : (x->first > y->first) - (x->first < y->first);
}

static bool
same_entry(const struct price_file *f, const struct entry *a, const struct entry *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct price *x = &f->rows[a->first + i], *y = &f->rows[b->first + i];

		if (price_series_order(x, y) != 0 || !price_same_rates(x, y))
			return false;
	}
	return true;
}

/* Marks with count 0 the entries that do not stay. */
static void
settle_names(struct community *m)
{
	struct price_file *f = m->file;

	for (size_t i = 0, end; i < m->count; i = end) {
		bool differ = false;

		for (end = i + 1;
			end < m->count && strcmp(f->rows[m->entries[end].first].model,
						  f->rows[m->entries[i].first].model) == 0;
			end++)
			differ = differ || !same_entry(f, &m->entries[i], &m->entries[end]);
		for (size_t k = i + 1; k < end; k++)
			if (m->entries[k].bare)
				m->entries[k].count = 0;
		if (m->entries[i].bare && differ) {
			m->entries[i].count = 0;
			f->ambiguous++;
		}
	}
}

static int
read_community(struct price_file *f, struct span json)
{
	struct community m = { .file = f };
	struct price *kept = NULL;
	size_t count = 0;

	if (json_each(json, community_model, &m, NULL) != 0 || f->call->err.code != ERR_NONE) {
		if (f->call->err.code == ERR_NONE)
			call_refuse(
				f->call, ERR_BAD_REQUEST, "prices", "The price list is broken.");
		free(m.entries);
		return -1;
	}
	if (m.count > 0) {
		qsort_r(m.entries, m.count, sizeof *m.entries, entry_order, f->rows);
		settle_names(&m);
		if ((kept = malloc(f->count * sizeof *kept)) == NULL) {
			free(m.entries);
			return call_no_memory(f->call);
		}
	}
	for (size_t i = 0; i < m.count; i++) {
		memcpy(kept + count, f->rows + m.entries[i].first,
			m.entries[i].count * sizeof *kept);
		count += m.entries[i].count;
	}
	free(m.entries);
	free(f->rows);
	f->rows = kept;
	f->room = f->count;
	f->count = count;
	return 0;
}

/* ---- both ---- */

static int
refuse_twins(struct price_file *f)
{
	if (f->count > 0)
		qsort(f->rows, f->count, sizeof *f->rows, price_row_order);
	for (size_t i = 1; i < f->count; i++)
		if (price_row_order(&f->rows[i - 1], &f->rows[i]) == 0)
			return call_refuse(f->call, ERR_CONFLICT, "model",
				"%.100s stands there twice.", f->rows[i].model);
	return 0;
}

int
price_file_read(struct price_file *f, struct span json)
{
	struct json_value own = json_get(json, "prices");

	if (!json_valid(json))
		return call_refuse(
			f->call, ERR_BAD_REQUEST, "prices", "The price list is no valid JSON.");
	if (own.type == JSON_ARRAY) {
		if (json_each_element(own.raw, own_element, f, NULL) != 0 &&
			f->call->err.code == ERR_NONE)
			call_refuse(
				f->call, ERR_BAD_REQUEST, "prices", "The price list is broken.");
		if (f->call->err.code != ERR_NONE)
			return -1;
		return refuse_twins(f);
	}
	if (f->how->is_shipped || read_community(f, json) != 0 || f->models == 0) {
		if (f->call->err.code == ERR_NONE)
			call_refuse(f->call, ERR_BAD_REQUEST, "prices",
				"The price list must be a JSON object with a list `prices`, or one "
				"of models with their cost per token%s.",
				f->how->provider != NULL ? "; is that provider in it?" : "");
		return -1;
	}
	return refuse_twins(f);
}
