/*
 * changes.c - what was changed, and taking it back.
 *
 * The audit keeps of each change the fields' values before and after (store/changes.c).  An undo puts
 * the values before back, in one transaction with an audit entry of its own, so that an undo can be
 * undone.  It does so only where each field still has the value that the change gave it: what somebody
 * made of it since is not lost, but named.  Secrets are not in the audit, and cannot come back.
 */
#include "base/clock.h"
#include "manage/manage-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_MOST 512 /* of one change: a price list */
#define FIELDS_MOST  64
#define LOOK_MOST    50000

/* One record of the change. */
struct undoing {
	struct undoing *next;
	enum record_kind kind;
	struct id id;
	void *before, *after; /* NULL: it was not there, it is not there */
	const struct field *field[FIELDS_MOST];
	size_t field_count;
	bool has_secret;
	void *now; /* what is to be written */
};

struct undo {
	struct call *call;
	const struct audit_entry *entry;
	struct undoing *first, *last;
	size_t count;
	bool failed, is_cut;
	char secrets[256];
};

static const struct {
	const struct kind *kind;
	endpoint_fn *delete; /* NULL: what was made stays */
} kinds[RECORD__COUNT] = {
	[RECORD_PROJECT] = { &kind_project, NULL },
	[RECORD_TOKEN] = { &kind_token, NULL },
	[RECORD_UPSTREAM] = { &kind_upstream, upstreams_delete },
	[RECORD_KEY] = { &kind_key, keys_delete },
	[RECORD_PRICE] = { &kind_price, prices_delete },
	[RECORD_LIMIT] = { &kind_limit, limits_delete },
	[RECORD_GRANT] = { &kind_grant, grants_delete },
	[RECORD_ROUTE] = { &kind_route, routes_delete },
	[RECORD_POLICY] = { &kind_policy, policies_delete },
};

/* ---- what the change did ---- */

static void *
copy_of(struct call *c, enum record_kind kind, const void *record)
{
	void *copy = record != NULL ? arena_alloc(c->arena, record_bytes(kind)) : NULL;

	if (copy != NULL)
		memcpy(copy, record, record_bytes(kind));
	return copy;
}

static struct undoing *
add_record(struct undo *u, const struct audit_change *ch)
{
	struct undoing *r = arena_alloc(u->call->arena, sizeof *r);

	if (r == NULL)
		return NULL;
	r->kind = ch->kind;
	r->id = ch->record;
	r->before = copy_of(u->call, ch->kind, ch->before);
	r->after = copy_of(u->call, ch->kind, ch->after);
	if ((ch->before != NULL && r->before == NULL) || (ch->after != NULL && r->after == NULL))
		return NULL;
	if (u->last != NULL)
		u->last->next = r;
	else
		u->first = r;
	u->last = r;
	u->count++;
	return r;
}

static bool
take_change(void *ctx, const struct audit_change *ch)
{
	struct undo *u = ctx;
	struct undoing *r = u->last;
	size_t used = strlen(u->secrets);

	if (r == NULL || r->kind != ch->kind || !id_equal(r->id, ch->record))
		r = u->count < RECORDS_MOST ? add_record(u, ch) : NULL;
	if (r == NULL || r->field_count == FIELDS_MOST) {
		u->failed = true;
		return false;
	}
	u->is_cut |= ch->is_cut;
	if (ch->is_secret) {
		r->has_secret = true;
		if (strstr(u->secrets, ch->field->name) == NULL)
			snprintf(u->secrets + used, sizeof u->secrets - used, "%s%s",
				used > 0 ? ", " : "", ch->field->name);
	} else {
		r->field[r->field_count++] = ch->field;
	}
	return true;
}

/* With a secret goes what sluice says of it: its mask, the time its forerunner ends. */
static void
leave_secrets(struct undoing *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->field_count; i++)
		if (!r->has_secret || (r->field[i]->flags & FIELD_READ) == 0)
			r->field[kept++] = r->field[i];
	r->field_count = kept;
}

static bool
find_entry(void *ctx, const struct audit_entry *e)
{
	*(struct audit_entry *)ctx = *e;
	return false;
}

/* "chg_…" as lists show it. */
static int
load_entry(struct call *c, struct audit_entry *e)
{
	struct id id, found;
	uint64_t number = 0;

	if (id_parse("chg_", c->id, &id) == 0) {
		for (int i = 8; i < 16; i++)
			number = number << 8 | id.b[i];
		if (number < UINT64_MAX &&
			store_audit_each(c->m->store, number + 1, find_entry, e, &c->err) < 0)
			return -1;
		found = audit_change_id(e);
		if (e->number == number && number > 0 && id_equal(found, id))
			return 0;
	}
	return call_refuse(c, ERR_NOT_FOUND, NULL, "There is no such change.");
}

/* ---- may it be taken back? ---- */

static bool
is_same_value(const struct field *f, const void *a, const void *b)
{
	uint8_t in_a[LIST_BYTES + 64], in_b[LIST_BYTES + 64];
	ptrdiff_t la = record_field_encode(f, a, in_a, sizeof in_a);
	ptrdiff_t lb = record_field_encode(f, b, in_b, sizeof in_b);

	return la >= 0 && la == lb && memcmp(in_a, in_b, (size_t)la) == 0;
}

/* The latest change of a field since. */
struct since {
	enum record_kind kind;
	struct id id;
	const struct field *field;
	uint64_t number; /* of the one that is to be undone */
	int looked;
	bool found;
	struct audit_entry entry;
};

static bool
touches(void *ctx, const struct audit_change *ch)
{
	struct since *s = ctx;

	s->found = ch->kind == s->kind && id_equal(ch->record, s->id) && ch->field == s->field;
	return !s->found;
}

static bool
look_since(void *ctx, const struct audit_entry *e)
{
	struct since *s = ctx;
	struct err ignored = { 0 };

	if (e->number <= s->number || s->looked++ == LOOK_MOST)
		return false;
	(void)audit_changes_each(e, touches, s, &ignored);
	if (s->found)
		s->entry = *e;
	return !s->found;
}

static int
refuse_since(struct undo *u, const struct undoing *r, const struct field *f)
{
	struct call *c = u->call;
	struct since *s = arena_alloc(c->arena, sizeof *s);
	char id[ID_TEXT_BYTES], change[ID_TEXT_BYTES], when[CLOCK_TEXT_BYTES];

	if (s == NULL)
		return call_no_memory(c);
	s->kind = r->kind;
	s->id = r->id;
	s->field = f;
	s->number = u->entry->number;
	id_text(record_prefix(r->kind), r->id, id);
	if (store_audit_each(c->m->store, 0, look_since, s, &c->err) < 0)
		return -1;
	if (!s->found)
		return call_refuse(c, ERR_CONFLICT, f->name,
			"%s of %s has another value by now than this change gave it.", f->name, id);
	id_text("chg_", audit_change_id(&s->entry), change);
	clock_rfc3339(s->entry.time_ms, when);
	return call_refuse(c, ERR_CONFLICT, f->name,
		"%s of %s was changed again: %s, %s by %.40s at %s. Undo that one first.", f->name,
		id, change, s->entry.action, s->entry.actor, when);
}

/* Does each field still have the value that the change gave it?  0, or -1 with c->err. */
static int
check_unchanged(struct undo *u, const struct undoing *r, const void *now)
{
	bool is_done = u->call->q->attempt > 0 && r->before != NULL;

	for (size_t i = 0; i < r->field_count && is_done; i++)
		is_done = is_same_value(r->field[i], now, r->before);
	for (size_t i = 0; i < r->field_count && !is_done; i++)
		if (!is_same_value(r->field[i], now, r->after))
			return refuse_since(u, r, r->field[i]);
	return 0;
}

/* A record that comes back names others: are they there? */
static int
check_references(struct call *c, const struct undoing *r)
{
	size_t count;
	const struct field *f = record_fields(r->kind, &count);
	struct id id;

	for (size_t i = 0; i < count; i++) {
		if (f[i].type != FIELD_ID || (f[i].flags & FIELD_READ) != 0)
			continue;
		memcpy(&id, (char *)r->now + f[i].offset, sizeof id);
		for (enum record_kind k = 0; k < RECORD__COUNT && !id_is_none(id); k++) {
			void *other = strcmp(record_prefix(k), f[i].values) == 0
					      ? arena_alloc(c->arena, record_bytes(k))
					      : NULL;
			int rc = other == NULL ? 1 : store_get(c->m->store, k, id, other, &c->err);

			if (rc < 0)
				return -1;
			if (rc == 0)
				return call_refuse(c, ERR_CONFLICT, f[i].name,
					"The %s that it names as %s is gone.", record_name(k),
					f[i].name);
		}
	}
	return 0;
}

static void
mark_given(struct edit *e, const struct undoing *r)
{
	size_t count;
	const struct field *all = record_fields(r->kind, &count);

	for (size_t i = 0; i < r->field_count; i++)
		e->given |= UINT64_C(1) << (r->field[i] - all);
}

/* What is judged when a person writes it is judged again: the world around it has moved on. */
static int
check_fits(struct call *c, const struct undoing *r, const void *before)
{
	const struct kind *k = kinds[r->kind].kind;
	struct edit e = { .call = c, .kind = k, .record = r->now, .before = before };
	bool is_judged = r->kind == RECORD_UPSTREAM || r->kind == RECORD_ROUTE ||
			 r->kind == RECORD_POLICY || r->kind == RECORD_KEY;

	mark_given(&e, r);
	if (check_references(c, r) != 0)
		return -1;
	if (!is_judged || k->finish(&e) == 0)
		return 0;
	if (c->err.code == ERR_BAD_REQUEST || c->err.code == ERR_UNKNOWN_UPSTREAM)
		c->err.code = ERR_CONFLICT; /* nothing was sent that could be wrong */
	return -1;
}

/* ---- taking it back ---- */

static int
undo_update(struct undo *u, struct undoing *r)
{
	struct call *c = u->call;
	const struct kind *k = kinds[r->kind].kind;
	struct edit e = { .call = c, .kind = k };
	void *now = arena_alloc(c->arena, record_bytes(r->kind));

	r->now = arena_alloc(c->arena, record_bytes(r->kind));
	if (now == NULL || r->now == NULL)
		return call_no_memory(c);
	for (int i = 0; i < 8; i++) {
		int rc = store_get(c->m->store, r->kind, r->id, now, &c->err);

		if (rc < 0)
			return -1;
		if (rc == 0)
			return call_refuse(c, ERR_CONFLICT, NULL, "This %s is gone by now.",
				record_name(r->kind));
		if (check_unchanged(u, r, now) != 0)
			return -1;
		memcpy(r->now, now, record_bytes(r->kind));
		for (size_t n = 0; n < r->field_count; n++)
			memcpy((char *)r->now + r->field[n]->offset,
				(char *)r->before + r->field[n]->offset, r->field[n]->size);
		if (check_fits(c, r, now) != 0)
			return -1;
		if (store_update(c->m->store, r->kind, r->now, ((struct record *)now)->version,
			    call_change(c, resource_action(c, r->kind, "undo")), &c->err) == 0) {
			e.record = r->now;
			e.before = now;
			mark_given(&e, r);
			return k->written != NULL ? k->written(&e) : 0;
		}
		if (c->err.code != ERR_STALE)
			return -1;
		c->err = (struct err){ 0 };
	}
	return err_set(&c->err, ERR_STALE, "changed by others 8 times in a row");
}

static int
undo_delete(struct undo *u, struct undoing *r)
{
	struct call *c = u->call;

	if (r->kind == RECORD_KEY || r->kind == RECORD_TOKEN)
		return call_refuse(c, ERR_CONFLICT, NULL,
			"Its secret went with this %s and is kept nowhere; add it again.",
			record_name(r->kind));
	r->now = r->before;
	((struct record *)r->now)->id = r->id;
	if (check_fits(c, r, NULL) != 0)
		return -1;
	return store_create(c->m->store, r->kind, r->now,
		call_change(c, resource_action(c, r->kind, "undo")), &c->err);
}

static int
undo_create(struct undo *u, struct undoing *r)
{
	struct call *c = u->call;
	void *now = arena_alloc(c->arena, record_bytes(r->kind));
	int rc;

	if (now == NULL)
		return call_no_memory(c);
	if (kinds[r->kind].delete == NULL)
		return call_refuse(c, ERR_CONFLICT, NULL,
			r->kind == RECORD_TOKEN ? "A token is not unmade; revoke it instead."
						: "A project is never deleted, since its history "
						  "must stay; set is_active to false instead.");
	rc = store_get(c->m->store, r->kind, r->id, now, &c->err);
	if (rc < 0)
		return -1;
	if (rc == 0 && c->q->attempt == 0)
		return call_refuse(
			c, ERR_CONFLICT, NULL, "This %s is gone by now.", record_name(r->kind));
	if (rc > 0 && check_unchanged(u, r, now) != 0)
		return -1;
	id_text(record_prefix(r->kind), r->id, c->id);
	c->is_undo = true;
	return kinds[r->kind].delete(c);
}

/* A list that was imported: each as it was, or gone, in one transaction. */
static int
undo_many(struct undo *u)
{
	struct call *c = u->call;
	enum record_kind kind = u->first->kind;
	size_t bytes = record_bytes(kind), put = 0, gone = 0;
	char *records = arena_alloc(c->arena, u->count * bytes);
	struct id *ids = arena_alloc(c->arena, u->count * sizeof *ids);
	void *now = arena_alloc(c->arena, bytes);

	if (records == NULL || ids == NULL || now == NULL)
		return call_no_memory(c);
	for (struct undoing *r = u->first; r != NULL; r = r->next) {
		int rc = store_get(c->m->store, kind, r->id, now, &c->err);

		if (rc < 0)
			return -1;
		if (r->kind != kind || r->has_secret || kinds[kind].delete == NULL)
			return call_refuse(c, ERR_CONFLICT, NULL,
				"A change of so many things cannot be taken back at once.");
		if (rc == 0 && r->after != NULL)
			return call_refuse(c, ERR_CONFLICT, NULL,
				"One %s of this change is gone by now.", record_name(kind));
		if (rc > 0 && r->after != NULL && check_unchanged(u, r, now) != 0)
			return -1;
		if (r->before == NULL) {
			if (refuse_when_named(c, kind, r->id) != 0)
				return -1;
			ids[gone++] = r->id;
			continue;
		}
		if (r->after == NULL)
			memcpy(now, r->before, bytes);
		((struct record *)now)->id = r->id;
		for (size_t n = 0; n < r->field_count; n++)
			memcpy((char *)now + r->field[n]->offset,
				(char *)r->before + r->field[n]->offset, r->field[n]->size);
		memcpy(records + put++ * bytes, now, bytes);
	}
	return store_replace_many(c->m->store, kind, records, put, ids, gone,
		call_change(c, resource_action(c, kind, "undo")), &c->err);
}

static int
undo_one(struct undo *u, struct undoing *r)
{
	if (r->before == NULL)
		return undo_create(u, r);
	if (r->after == NULL)
		return undo_delete(u, r);
	if (r->field_count == 0)
		return call_refuse(u->call, ERR_CONFLICT, NULL,
			"This change was of secrets alone (%s); they are kept nowhere and cannot "
			"come back.",
			u->secrets);
	return undo_update(u, r);
}

static void
tell(struct undo *u)
{
	struct bytes *out = &u->call->out->body;
	char id[ID_TEXT_BYTES];

	bytes_puts(out, "{");
	id_text("chg_", audit_change_id(u->entry), id);
	shape_text(out, "undone", id);
	shape_text(out, "action", u->entry->action);
	bytes_puts(out, ",\"records\":[");
	for (const struct undoing *r = u->first; r != NULL; r = r->next) {
		bytes_puts(out, r == u->first ? "{" : ",{");
		id_text(record_prefix(r->kind), r->id, id);
		shape_text(out, "id", id);
		shape_text(out, "did",
			r->before == NULL  ? "deleted"
			: r->after == NULL ? "made again"
					   : "put back");
		bytes_puts(out, ",\"fields\":[");
		for (size_t i = 0; i < r->field_count; i++) {
			bytes_puts(out, i > 0 ? "," : "");
			bytes_json(out, span_of(r->field[i]->name));
		}
		bytes_puts(out, "]}");
	}
	bytes_puts(out, "]");
	if (u->secrets[0] != '\0')
		shape_text(out, "not_undone", u->secrets);
	else
		bytes_puts(out, ",\"not_undone\":null");
	bytes_puts(out, "}");
	u->call->out->status = 200;
}

int
changes_undo(struct call *c)
{
	struct audit_entry *e = arena_alloc(c->arena, sizeof *e);
	struct undo *u = arena_alloc(c->arena, sizeof *u);
	int rc;

	if (e == NULL || u == NULL)
		return call_no_memory(c);
	if (load_entry(c, e) != 0)
		return -1;
	u->call = c;
	u->entry = e;
	if (audit_changes_each(e, take_change, u, &c->err) != 0)
		return -1;
	if (u->failed || u->is_cut || audit_is_cut(e))
		return call_refuse(c, ERR_CONFLICT, NULL,
			"This change was larger than what is kept of it, so it cannot be taken "
			"back "
			"as a whole.");
	if (u->first == NULL)
		return call_refuse(c, ERR_CONFLICT, NULL,
			"%s changed no record, so there is nothing to take back.", e->action);
	for (struct undoing *r = u->first; r != NULL; r = r->next)
		leave_secrets(r);
	rc = u->count == 1 ? undo_one(u, u->first) : undo_many(u);
	if (rc == 0)
		tell(u);
	return rc;
}
