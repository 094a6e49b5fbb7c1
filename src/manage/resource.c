/*
 * resource.c - what the API does with records of any kind: list, show, create, change, delete.
 *
 * The field tables say what may be sent and what is shown; a kind's hooks (kinds.c) add the rest.
 * A change is read, applied to a copy, and written on condition that nobody was faster; with
 * If-Match the caller hears of that, without it the change is applied again to what is there now,
 * so that two changes of different fields do not undo one another.
 */
#include "base/clock.h"
#include "manage/manage-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGE_TRIES 8
#define LIST_MOST    500
#define LIST_USUAL   50

/* ---- looking up ---- */

int
resource_find(struct call *c, enum record_kind kind, const char *name_or_id, void *record)
{
	int rc = store_find(c->m->store, kind, name_or_id, record, &c->err);

	if (rc == 0)
		return call_refuse(
			c, ERR_NOT_FOUND, NULL, "There is no such %s.", record_name(kind));
	return rc < 0 ? -1 : 0;
}

int
resource_refer(struct call *c, enum record_kind kind, const char *field, const char *name_or_id,
	struct id *id)
{
	struct record *record = arena_alloc(c->arena, record_bytes(kind));
	int rc;

	if (record == NULL)
		return call_no_memory(c);
	rc = store_find(c->m->store, kind, name_or_id, record, &c->err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return call_refuse(c,
			kind == RECORD_UPSTREAM ? ERR_UNKNOWN_UPSTREAM : ERR_NOT_FOUND, field,
			"There is no such %s.", record_name(kind));
	*id = record->id;
	return 0;
}

struct known_name {
	struct known_name *next;
	enum record_kind kind;
	struct id id;
	char name[NAME_BYTES];
};

const char *
resource_name(struct call *c, enum record_kind kind, struct id id)
{
	const struct field *f = record_name_field(kind);
	struct err ignored = { 0 };
	struct known_name *known;
	char *record;

	if (id_is_none(id))
		return "";
	if (f == NULL)
		f = shape_field_named(kind, "label");
	for (known = c->names; known != NULL; known = known->next)
		if (known->kind == kind && id_equal(known->id, id))
			return known->name;
	known = arena_alloc(c->arena, sizeof *known);
	record = arena_alloc(c->arena, record_bytes(kind));
	if (known == NULL || record == NULL)
		return "";
	known->kind = kind;
	known->id = id;
	if (f != NULL && store_get(c->m->store, kind, id, record, &ignored) > 0)
		(void)span_copy(span_of(record + f->offset), known->name, sizeof known->name);
	known->next = c->names;
	c->names = known;
	return known->name;
}

struct collect {
	bool (*passes)(const void *record, const struct filter *f);
	const struct filter *filter;
	struct arena *arena;
	char *records;
	size_t bytes, count, room, most;
	bool failed;
};

static bool
collect_one(void *ctx, const void *record)
{
	struct collect *l = ctx;

	if (l->passes != NULL && !l->passes(record, l->filter))
		return true;
	if (l->count == l->room) {
		size_t room = l->room == 0 ? 8 : 2 * l->room;
		char *more = arena_alloc(l->arena, room * l->bytes);

		if (more == NULL) {
			l->failed = true;
			return false;
		}
		if (l->count > 0)
			memcpy(more, l->records, l->count * l->bytes);
		l->records = more;
		l->room = room;
	}
	memcpy(l->records + l->count * l->bytes, record, l->bytes);
	return ++l->count < l->most;
}

int
resource_collect(struct call *c, enum record_kind kind, struct id after, size_t most,
	bool (*passes)(const void *record, const struct filter *f), const struct filter *f,
	void **records, size_t *count)
{
	struct collect l = { .passes = passes,
		.filter = f,
		.arena = c->arena,
		.bytes = record_bytes(kind),
		.most = most };

	/* Collected first and shown later: showing asks the store for more, and must not do so from
	 * inside its walk. */
	if (store_each(c->m->store, kind, after, collect_one, &l, &c->err) < 0)
		return -1;
	if (l.failed)
		return call_no_memory(c);
	*records = l.records;
	*count = l.count;
	return 0;
}

/* ---- showing ---- */

static int
put_record(struct call *c, const struct kind *k, const struct edit *e, const void *record,
	const struct filter *filter)
{
	struct bytes *out = &c->out->body;
	size_t count;
	const struct field *f = record_fields(k->record, &count);

	bytes_puts(out, "{");
	for (size_t i = 0; i < count; i++)
		if ((f[i].flags & FIELD_HIDDEN) == 0 && (k->hides == NULL || !k->hides(&f[i])))
			shape_member(out, &f[i], record);
	if (k->extra != NULL && k->extra(c, record, filter, out) != 0)
		return -1;
	if (k->record == RECORD_TOKEN && e != NULL && e->before == NULL && e->secret == NULL &&
		!e->has_sha256)
		shape_text(out, "token", c->q->once->secret); /* this once */
	if (e != NULL && e->revoke_tokens) {
		shape_int(out, "revoked_count", e->revoked);
		shape_int(out, "already_revoked_count", e->already_revoked);
		shape_int(out, "total_tokens", e->total);
	}
	bytes_puts(out, "}");
	return 0;
}

int
resource_reply(
	struct call *c, int status, const struct kind *k, const struct edit *e, const void *record)
{
	call_line(c, "ETag", "\"%lld\"", (long long)((const struct record *)record)->version);
	c->out->status = status;
	return put_record(c, k, e, record, NULL);
}

int
resource_query(struct call *c, const char *name, enum record_kind kind, struct id *id)
{
	char text[MANAGE_ID_BYTES];
	int n = call_query(c, name, text, sizeof text);

	return n <= 0 ? n : resource_refer(c, kind, name, text, id);
}

int
resource_filter(struct call *c, const struct kind *k, struct filter *f)
{
	char text[16];
	struct token *token;
	int n;

	*f = (struct filter){ .active = -1 };
	if (resource_query(c, "project_id", RECORD_PROJECT, &f->project) != 0 ||
		(id_is_none(f->project) &&
			resource_query(c, "projectId", RECORD_PROJECT, &f->project) != 0) ||
		resource_query(c, "token_id", RECORD_TOKEN, &f->token) != 0 ||
		resource_query(c, "upstream", RECORD_UPSTREAM, &f->upstream) != 0 ||
		call_query(c, "model", f->model, sizeof f->model) < 0 ||
		call_query(c, "q", f->text, sizeof f->text) < 0)
		return -1;
	if ((k->record == RECORD_LIMIT || k->record == RECORD_GRANT) &&
		limits_read_filter(c, f) != 0)
		return -1;
	if (k->record == RECORD_KEY && keys_read_filter(c, f) != 0)
		return -1;
	if (!id_is_none(f->token)) {
		token = arena_alloc(c->arena, sizeof *token);
		if (token == NULL)
			return call_no_memory(c);
		if (store_get(c->m->store, RECORD_TOKEN, f->token, token, &c->err) < 0)
			return -1;
		f->token_project = token->project;
	}
	n = call_query(c, "is_active", text, sizeof text);
	if (n > 0)
		f->active = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	return n < 0 ? -1 : 0;
}

int
resource_list(struct call *c, const struct kind *k)
{
	char cursor[ID_TEXT_BYTES], next[ID_TEXT_BYTES];
	struct id after = ID_NONE;
	struct filter filter;
	size_t bytes = record_bytes(k->record), count = 0;
	void *records = NULL;
	int64_t limit;
	bool more;

	if (call_query_int(c, "limit", 1, LIST_MOST, LIST_USUAL, &limit) != 0 ||
		call_query(c, "cursor", cursor, sizeof cursor) < 0 ||
		resource_filter(c, k, &filter) != 0)
		return -1;
	if (cursor[0] != '\0' && id_parse(record_prefix(k->record), cursor, &after) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, "cursor",
			"cursor must be the next of an earlier answer.");
	if (resource_collect(c, k->record, after, (size_t)limit + 1, k->passes, &filter, &records,
		    &count) != 0)
		return -1;
	more = count > (size_t)limit;
	count -= more;
	bytes_puts(&c->out->body, "{\"data\":[");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			bytes_puts(&c->out->body, ",");
		if (put_record(c, k, NULL, (char *)records + i * bytes, &filter) != 0)
			return -1;
	}
	bytes_puts(&c->out->body, "],\"next\":");
	if (more) {
		const struct record *last = (void *)((char *)records + (count - 1) * bytes);

		id_text(record_prefix(k->record), last->id, next);
		bytes_json(&c->out->body, span_of(next));
	} else {
		bytes_puts(&c->out->body, "null");
	}
	bytes_puts(&c->out->body, "}");
	c->out->status = 200;
	return 0;
}

int
resource_get(struct call *c, const struct kind *k)
{
	void *record = arena_alloc(c->arena, record_bytes(k->record));
	struct filter filter;

	if (record == NULL)
		return call_no_memory(c);
	if (resource_filter(c, k, &filter) != 0 || resource_find(c, k->record, c->id, record) != 0)
		return -1;
	call_line(c, "ETag", "\"%lld\"", (long long)((const struct record *)record)->version);
	c->out->status = 200;
	return put_record(c, k, NULL, record, &filter);
}

/* ---- changing ---- */

bool
edit_gave(const struct edit *e, size_t offset)
{
	size_t count;
	const struct field *f = record_fields(e->kind->record, &count);

	for (size_t i = 0; i < count && i < 64; i++)
		if (f[i].offset == offset)
			return (e->given >> i & 1) != 0;
	return false;
}

static int
set_field(struct edit *e, const char *name, struct json_value v)
{
	struct call *c = e->call;
	size_t count;
	const struct field *all = record_fields(e->kind->record, &count);
	const struct field *f = shape_field_named(e->kind->record, name);

	if (f == NULL || (f->flags & FIELD_HIDDEN) != 0 ||
		(e->kind->hides != NULL && e->kind->hides(f)))
		return call_refuse(c, ERR_BAD_REQUEST, name, "A record of kind %s has no field %s.",
			record_name(e->kind->record), name);
	if ((f->flags & FIELD_READ) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, name, "%s is set by sluice itself.", name);
	if (shape_set(c, f, v, e->record) != 0)
		return -1;
	if (e->before != NULL && (f->flags & FIELD_FIXED) != 0 &&
		memcmp((char *)e->record + f->offset, (const char *)e->before + f->offset,
			f->size) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, name,
			"%s is fixed when a %s is made and cannot be changed.", name,
			record_name(e->kind->record));
	e->given |= UINT64_C(1) << (f - all);
	return 0;
}

static bool
take_member(void *ctx, const char *name, struct json_value v)
{
	struct edit *e = ctx;
	int rc = e->kind->member != NULL ? e->kind->member(e, name, v) : 0;

	e->members++;
	if (rc == 0)
		rc = set_field(e, name, v);
	return rc >= 0;
}

/* A name that looks like an id would hide the record of that id. */
static int
check_name(struct edit *e)
{
	const struct field *f = record_name_field(e->kind->record);
	const char *name = f != NULL ? (const char *)e->record + f->offset : "";
	struct id id;

	if (f == NULL || !edit_gave(e, f->offset))
		return 0;
	if (name[0] == '\0')
		return call_refuse(
			e->call, ERR_BAD_REQUEST, f->name, "%s may not be empty.", f->name);
	if (id_parse(record_prefix(e->kind->record), name, &id) == 0)
		return call_refuse(e->call, ERR_BAD_REQUEST, f->name,
			"%s may not have the form of an id.", f->name);
	return 0;
}

static int
check_required(struct edit *e)
{
	size_t count;
	const struct field *f = record_fields(e->kind->record, &count);

	for (size_t i = 0; i < count; i++) {
		bool is_text = f[i].type == FIELD_TEXT || f[i].type == FIELD_ID;
		bool given = (e->given >> i & 1) != 0;

		if ((f[i].flags & FIELD_REQUIRED) == 0 ||
			f[i].offset == offsetof(struct limit, cap))
			continue;
		if ((e->before == NULL && !given) || (is_text && shape_is_empty(&f[i], e->record)))
			return call_refuse(
				e->call, ERR_BAD_REQUEST, f[i].name, "%s is required.", f[i].name);
	}
	return 0;
}

int
resource_apply(struct edit *e)
{
	if (call_body(e->call, take_member, e) != 0 || check_required(e) != 0 || check_name(e) != 0)
		return -1;
	return e->kind->finish != NULL ? e->kind->finish(e) : 0;
}

const char *
resource_action(struct call *c, enum record_kind kind, const char *verb)
{
	const char *text =
		arena_printf(c->arena, "%s.%s", record_name(kind), c->is_undo ? "undo" : verb);

	return text != NULL ? text : verb;
}

int
resource_create(struct call *c, enum record_kind kind, void *record, const char *action)
{
	struct id id = ((struct record *)record)->id;
	struct err missing = { 0 };

	if (store_create(c->m->store, kind, record, call_change(c, action), &c->err) == 0)
		return 0;
	/* The id was drawn for this call alone: if it is there, an attempt before this one wrote it. */
	if (c->err.code == ERR_CONFLICT && c->q->attempt > 0 &&
		store_get(c->m->store, kind, id, record, &missing) > 0) {
		c->err = (struct err){ 0 };
		return 0;
	}
	if (c->err.code == ERR_CONFLICT) {
		const struct field *f = record_name_field(kind);

		return call_refuse(c, ERR_CONFLICT, f != NULL ? f->name : NULL,
			f != NULL ? "There is a %s of that name already."
				  : "There is such a %s already.",
			record_name(kind));
	}
	return -1;
}

int
resource_post(struct call *c, const struct kind *k)
{
	struct edit e = { .call = c, .kind = k };
	struct err failed;
	int rc;

	e.record = arena_alloc(c->arena, record_bytes(k->record));
	if (e.record == NULL)
		return call_no_memory(c);
	record_init(k->record, e.record);
	((struct record *)e.record)->id = c->q->once->record[0];
	if (resource_apply(&e) != 0 || resource_create(c, k->record, e.record,
					       resource_action(c, k->record, "create")) != 0)
		return -1;
	rc = k->written != NULL ? k->written(&e) : 0;
	if (rc != 0) { /* all or nothing: what was made just now goes again */
		failed = c->err;
		(void)store_delete(c->m->store, k->record, c->q->once->record[0],
			call_change(c, resource_action(c, k->record, "create_undone")), &c->err);
		c->err = failed;
		return -1;
	}
	return resource_reply(c, 201, k, &e, e.record);
}

/* Does If-Match name that version?  True without the header. */
static bool
if_match(struct call *c, int64_t version)
{
	struct span want = call_header(c, "if-match");
	char tag[32];

	if (want.len == 0 || span_is(want, "*"))
		return true;
	snprintf(tag, sizeof tag, "\"%lld\"", (long long)version);
	return memmem(want.at, want.len, tag, strlen(tag)) != NULL;
}

static bool
is_same(enum record_kind kind, const void *a, const void *b)
{
	return memcmp((const char *)a + sizeof(struct record),
		       (const char *)b + sizeof(struct record),
		       record_bytes(kind) - sizeof(struct record)) == 0;
}

int
resource_patch(struct call *c, const struct kind *k)
{
	size_t bytes = record_bytes(k->record);
	void *before = arena_alloc(c->arena, bytes), *record = arena_alloc(c->arena, bytes);
	struct edit e;

	if (before == NULL || record == NULL)
		return call_no_memory(c);
	for (int i = 0; i < CHANGE_TRIES; i++) {
		int64_t version;
		bool matches;

		if (resource_find(c, k->record, c->id, before) != 0)
			return -1;
		version = ((struct record *)before)->version;
		matches = if_match(c, version);
		/* An attempt before this one may have made the change: then it is the version. */
		if (!matches && c->q->attempt == 0)
			return err_set(&c->err, ERR_STALE, "If-Match");
		memcpy(record, before, bytes);
		e = (struct edit){ .call = c, .kind = k, .record = record, .before = before };
		if (resource_apply(&e) != 0)
			return -1;
		if (e.members == 0)
			return call_refuse(c, ERR_BAD_REQUEST, NULL, "There is nothing to change.");
		if (!is_same(k->record, record, before)) {
			if (!matches)
				return err_set(&c->err, ERR_STALE, "If-Match");
			if (store_update(c->m->store, k->record, record, version,
				    call_change(c, resource_action(c, k->record, "update")),
				    &c->err) != 0) {
				if (c->err.code == ERR_STALE &&
					call_header(c, "if-match").len == 0) {
					c->err = (struct err){ 0 };
					continue;
				}
				if (c->err.code == ERR_CONFLICT)
					return call_refuse(c, ERR_CONFLICT, "name",
						"There is a %s of that name already.",
						record_name(k->record));
				return -1;
			}
		}
		if (k->written != NULL && k->written(&e) != 0)
			return -1;
		return resource_reply(c, 200, k, &e, record);
	}
	return err_set(&c->err, ERR_STALE, "changed by others %d times in a row", CHANGE_TRIES);
}

int
resource_delete(struct call *c, const struct kind *k)
{
	struct record *record = arena_alloc(c->arena, record_bytes(k->record));

	if (record == NULL)
		return call_no_memory(c);
	if (resource_find(c, k->record, c->id, record) != 0) {
		if (c->err.code != ERR_NOT_FOUND || c->q->attempt == 0)
			return -1;
		c->err = (struct err){ 0 }; /* an attempt before this one did it */
		c->out->status = 204;
		return 0;
	}
	if (!if_match(c, record->version))
		return err_set(&c->err, ERR_STALE, "If-Match");
	if (store_delete(c->m->store, k->record, record->id,
		    call_change(c, resource_action(c, k->record, "delete")), &c->err) != 0)
		return -1;
	c->out->status = 204;
	return 0;
}

int
resource_change(struct call *c, enum record_kind kind, struct id id, const char *action,
	int (*fn)(struct call *c, void *record, void *ctx), void *ctx, void *record)
{
	for (int i = 0; i < CHANGE_TRIES; i++) {
		int rc = store_get(c->m->store, kind, id, record, &c->err);

		if (rc < 0)
			return -1;
		if (rc == 0)
			return call_refuse(
				c, ERR_NOT_FOUND, NULL, "There is no such %s.", record_name(kind));
		rc = fn(c, record, ctx);
		if (rc <= 0)
			return rc;
		if (store_update(c->m->store, kind, record, ((struct record *)record)->version,
			    call_change(c, action), &c->err) == 0)
			return 0;
		if (c->err.code != ERR_STALE)
			return -1;
		c->err = (struct err){ 0 };
	}
	return err_set(&c->err, ERR_STALE, "changed by others %d times in a row", CHANGE_TRIES);
}
