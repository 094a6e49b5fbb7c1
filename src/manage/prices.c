/*
 * prices.c - importing a price list: what is in the store against what is in the list, and then all
 * of the difference in one transaction.
 *
 * What somebody made by hand stays as it is.  A dated import adds rows that hold from its day on,
 * where something differs from what holds then; so what was paid before can still be computed.
 */
#include "base/hash.h"
#include "manage/pricefile-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_TOLD_MAX 5000 /* about 1 KB each */

/* A price's own id, so that every import finds it again. */
static struct id
price_id(const struct price *p)
{
	uint8_t digest[SHA256_BYTES];
	char text[512], upstream[ID_TEXT_BYTES];
	struct id id;
	int n;

	id_text(record_prefix(RECORD_UPSTREAM), p->upstream, upstream);
	n = snprintf(
		text, sizeof text, "price|%s|%s|%lld", p->model, upstream, (long long)p->from_ms);
	if (p->tier[0] != '\0' || p->above_tokens > 0)
		n += snprintf(text + n, sizeof text - (size_t)n, "|%s|%lld", p->tier,
			(long long)p->above_tokens);
	hash_sha256(text, (size_t)n, digest);
	memcpy(id.b, digest, sizeof id.b);
	return id;
}

struct merging {
	struct call *call;
	struct price_file file;
	struct price *had; /* in the store, by series and time */
	size_t had_count, had_room;
	struct id *ids; /* of those, sorted */
	bool failed;
	struct price *put; /* to be written */
	struct id *gone;   /* to be removed */
	size_t put_count, gone_count;
	size_t added, updated, same, kept;
	size_t told;
	struct bytes changes; /* the first of them one by one, parted by commas */
};

static bool
collect(void *ctx, const void *record)
{
	struct merging *m = ctx;

	if (m->had_count == m->had_room) {
		size_t room = m->had_room == 0 ? 256 : m->had_room * 2;
		struct price *more = realloc(m->had, room * sizeof *more);

		if (more == NULL) {
			m->failed = true;
			return false;
		}
		m->had = more;
		m->had_room = room;
	}
	memcpy(&m->had[m->had_count++], record, sizeof *m->had);
	return true;
}

static bool
by_hand(const struct price *p)
{
	return !p->is_builtin && !p->is_imported;
}

/* Of twins the one made by hand comes first. */
static int
had_order(const void *a, const void *b)
{
	const struct price *x = a, *y = b;
	int order = price_row_order(x, y);

	return order != 0 ? order : by_hand(y) - by_hand(x);
}

static int
id_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct id));
}

static int
load(struct merging *m)
{
	struct call *c = m->call;

	if (store_each(c->m->store, RECORD_PRICE, ID_NONE, collect, m, &c->err) < 0)
		return -1;
	m->put = calloc(m->file.count + 1, sizeof *m->put);
	m->gone = calloc(m->had_count + 1, sizeof *m->gone);
	m->ids = calloc(m->had_count + 1, sizeof *m->ids);
	if (m->failed || m->put == NULL || m->gone == NULL || m->ids == NULL)
		return call_no_memory(c);
	if (m->had_count > 0)
		qsort(m->had, m->had_count, sizeof *m->had, had_order);
	for (size_t i = 0; i < m->had_count; i++)
		m->ids[i] = m->had[i].head.id;
	qsort(m->ids, m->had_count, sizeof *m->ids, id_order);
	return 0;
}

/* ---- telling ---- */

static void
tell_rates(struct merging *m, const char *name, const struct price *p)
{
	size_t count;
	const struct field *f = record_fields(RECORD_PRICE, &count);

	bytes_printf(&m->changes, ",\"%s\":", name);
	if (p == NULL) {
		bytes_puts(&m->changes, "null");
		return;
	}
	bytes_puts(&m->changes, "{");
	for (size_t i = 0; i < count; i++)
		if (f[i].type == FIELD_MONEY)
			shape_member(&m->changes, &f[i], p);
	bytes_puts(&m->changes, "}");
}

static void
tell(struct merging *m, const char *change, const struct price *is, const struct price *was)
{
	static const size_t key[] = { offsetof(struct price, model),
		offsetof(struct price, upstream), offsetof(struct price, tier),
		offsetof(struct price, above_tokens), offsetof(struct price, from_ms) };
	const struct price *any = is != NULL ? is : was;

	if (m->told++ >= CHANGES_TOLD_MAX)
		return;
	bytes_puts(&m->changes, m->changes.len == 0 ? "{" : ",{");
	shape_text(&m->changes, "change", change);
	for (size_t i = 0; i < sizeof key / sizeof key[0]; i++)
		shape_member(&m->changes, shape_field_at(RECORD_PRICE, key[i]), any);
	tell_rates(m, "before", was);
	tell_rates(m, "after", is);
	bytes_puts(&m->changes, "}");
}

/* ---- comparing ---- */

/* Where the row's series begins in m->had. */
static size_t
find_series(const struct merging *m, const struct price *like)
{
	size_t low = 0, high = m->had_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (price_series_order(&m->had[middle], like) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
put(struct merging *m, const struct price *want, const struct price *was)
{
	struct price *p = &m->put[m->put_count++];
	const struct price *told = was;

	*p = *want;
	if (was != NULL && was->from_ms == want->from_ms) {
		p->head = was->head;
		m->updated++;
	} else {
		p->head.id = price_id(want);
		/* a row that was changed by hand into another price keeps the id it came with */
		if (bsearch(&p->head.id, m->ids, m->had_count, sizeof *m->ids, id_order) != NULL)
			p->head.id = id_random();
		m->added++;
	}
	tell(m, was == NULL ? "add" : "change", p, told);
}

static void
compare(struct merging *m, const struct price *want)
{
	const struct price *holds = NULL; /* at the time the row begins */

	for (size_t i = find_series(m, want);
		i < m->had_count && price_series_order(&m->had[i], want) == 0 &&
		m->had[i].from_ms <= want->from_ms;
		i++)
		if (holds == NULL || m->had[i].from_ms > holds->from_ms)
			holds = &m->had[i];
	if (holds != NULL && price_same_rates(holds, want))
		m->same++;
	else if (holds != NULL && by_hand(holds))
		m->kept++;
	/* the list that came along never goes over what was imported since */
	else if (holds != NULL && want->is_builtin && holds->is_imported)
		m->kept++;
	else
		put(m, want, holds);
}

/* The shipped list's rows that are no more in it. */
static void
drop_shipped(struct merging *m)
{
	for (size_t i = 0; i < m->had_count; i++) {
		const struct price *p = &m->had[i];

		if (!p->is_builtin || (m->file.count > 0 && bsearch(p, m->file.rows, m->file.count,
								    sizeof *m->file.rows,
								    price_row_order) != NULL))
			continue;
		m->gone[m->gone_count++] = p->head.id;
		tell(m, "remove", NULL, p);
	}
}

static int
merge(struct merging *m)
{
	struct call *c = m->call;

	if (load(m) != 0)
		return -1;
	for (size_t i = 0; i < m->file.count; i++)
		compare(m, &m->file.rows[i]);
	if (m->file.how->is_shipped)
		drop_shipped(m);
	if (m->had_count + m->added - m->gone_count > SNAPSHOT_PRICES_MAX)
		return call_refuse(c, ERR_EXCEEDS_LIMIT, "prices",
			"There would be %zu prices, and there may be %d: take one --provider, or "
			"delete some.",
			m->had_count + m->added - m->gone_count, SNAPSHOT_PRICES_MAX);
	if (m->file.how->dry_run)
		return 0;
	return store_replace_many(c->m->store, RECORD_PRICE, m->put, m->put_count, m->gone,
		m->gone_count, call_change(c, "price.import"), &c->err);
}

static void
report(const struct merging *m, struct bytes *out)
{
	const struct price_file *f = &m->file;

	bytes_puts(out, "{");
	shape_int(out, "changed", (int64_t)(m->added + m->updated + m->gone_count));
	shape_int(out, "added", (int64_t)m->added);
	shape_int(out, "updated", (int64_t)m->updated);
	shape_int(out, "removed", (int64_t)m->gone_count);
	shape_int(out, "same", (int64_t)m->same);
	shape_int(out, "kept", (int64_t)m->kept);
	shape_int(out, "models", (int64_t)f->models);
	shape_int(out, "skipped", (int64_t)f->skipped);
	shape_int(out, "ambiguous", (int64_t)f->ambiguous);
	shape_int(out, "ignored", (int64_t)f->ignored);
	bytes_printf(
		out, ",\"dry_run\":%s,\"ignored_members\":[", f->how->dry_run ? "true" : "false");
	for (size_t i = 0; i < f->ignored_name_count; i++) {
		bytes_puts(out, i == 0 ? "{" : ",{");
		shape_text(out, "name", f->ignored_names[i].name);
		shape_int(out, "count", (int64_t)f->ignored_names[i].count);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "],\"changes\":[");
	bytes_add(out, m->changes.at, m->changes.len);
	bytes_puts(out, "]}");
}

/* c->err is set on failure.  report may be NULL. */
static int
import(struct call *c, struct span json, const struct price_import *how, size_t *changed,
	struct bytes *out)
{
	struct merging m = { .call = c,
		.file = { .call = c, .how = how },
		.changes = BYTES_LIMIT(MANAGE_REPLY_MAX) };
	int rc = -1;

	if ((how->upstream == NULL || resource_refer(c, RECORD_UPSTREAM, "upstream", how->upstream,
					      &m.file.upstream) == 0) &&
		price_file_read(&m.file, json) == 0)
		rc = merge(&m);
	*changed = rc == 0 ? m.added + m.updated + m.gone_count : 0;
	if (rc == 0 && out != NULL)
		report(&m, out);
	price_file_free(&m.file);
	bytes_free(&m.changes);
	free(m.had);
	free(m.put);
	free(m.gone);
	free(m.ids);
	return rc;
}

int
manage_price_import(struct manage *m, struct span json, const char *actor,
	const struct price_import *how, size_t *changed, struct bytes *report, struct err *err)
{
	struct manage_once once;
	struct manage_request q = { .method = "POST", .actor = actor, .once = &once };
	struct manage_reply out = { 0 };
	struct call c = { .m = m, .q = &q, .out = &out };
	int rc;

	*changed = 0;
	manage_once(&once);
	c.arena = arena_new(CALL_ARENA_MAX);
	if (c.arena == NULL)
		return err_set(err, ERR_MEMORY, "no memory for the price list");
	snprintf(c.actor, sizeof c.actor, "%s", actor);
	rc = import(&c, json, how, changed, report);
	arena_free(c.arena);
	if (rc != 0 && err != NULL)
		*err = c.err;
	return rc;
}

/* ?from=, provider=, upstream=, dry_run=1; the body is the list. */
int
prices_import(struct call *c)
{
	char from[64], provider[64], upstream[MANAGE_ID_BYTES], dry[8];
	struct price_import how = { 0 };
	size_t changed;
	int n;

	if ((n = call_query(c, "from", from, sizeof from)) < 0)
		return -1;
	if (n > 0 && (time_of_text(from, &how.from_ms) != 0 || how.from_ms <= 0))
		return call_refuse(c, ERR_BAD_REQUEST, "from",
			"from must be a time such as 2027-01-31T00:00:00Z, or a day.");
	if ((n = call_query(c, "provider", provider, sizeof provider)) < 0)
		return -1;
	how.provider = n > 0 ? provider : NULL;
	if ((n = call_query(c, "upstream", upstream, sizeof upstream)) < 0)
		return -1;
	how.upstream = n > 0 ? upstream : NULL;
	if ((n = call_query(c, "dry_run", dry, sizeof dry)) < 0)
		return -1;
	how.dry_run = n > 0 && strcmp(dry, "0") != 0 && strcmp(dry, "false") != 0;
	if (import(c, c->q->body, &how, &changed, &c->out->body) != 0)
		return -1;
	c->out->status = 200;
	return 0;
}
