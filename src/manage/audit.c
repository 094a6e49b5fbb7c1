/*
 * audit.c - who changed what, when, and what it was before.
 */
#include "base/money.h"
#include "manage/manage-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MOST  500
#define ENTRIES_USUAL 50
#define LOOK_MOST     50000 /* entries looked at in one call, when few of them pass the filter */
#define CHANGE_PREFIX "chg_"

/* ---- showing ---- */

/* Times sort, and a number that another store gave another change is not taken for it. */
struct id
audit_change_id(const struct audit_entry *e)
{
	uint64_t time_ms = (uint64_t)e->time_ms, number = e->number;
	struct id id = ID_NONE;

	for (int i = 5; i >= 0; i--, time_ms >>= 8)
		id.b[i] = (uint8_t)time_ms;
	for (int i = 15; i >= 8; i--, number >>= 8)
		id.b[i] = (uint8_t)number;
	return id;
}

static void
put_text(struct bytes *out, const char *name, const char *text)
{
	if (text[0] != '\0')
		shape_text(out, name, text);
	else
		bytes_printf(out, ",\"%s\":null", name);
}

static bool
is_scope(enum record_kind kind, const struct field *f)
{
	size_t from = kind == RECORD_LIMIT ? offsetof(struct limit, scope)
					   : offsetof(struct grant, value);

	return (kind == RECORD_LIMIT || kind == RECORD_GRANT) && f->offset >= from &&
	       f->offset < from + sizeof((struct limit *)0)->scope;
}

/* As the API names it. */
static void
put_field_name(struct bytes *out, const struct audit_change *ch)
{
	const char *name = ch->field->name;
	char text[64];

	if (is_scope(ch->kind, ch->field))
		snprintf(text, sizeof text, "scope.%s",
			strncmp(name, "scope_", 6) == 0 ? name + 6 : name);
	else if (ch->kind == RECORD_TOKEN && ch->field->offset == offsetof(struct token, masked))
		snprintf(text, sizeof text, "masked");
	else
		snprintf(text, sizeof text, "%s", name);
	shape_text(out, "field", text);
}

static void
put_side(struct bytes *out, const char *name, const struct audit_change *ch, const void *record)
{
	const struct limit *l = record;
	char text[MONEY_TEXT_BYTES];
	int64_t amount;

	bytes_printf(out, ",\"%s\":", name);
	if (record == NULL || ch->is_secret) {
		bytes_puts(out, "null");
	} else if (ch->is_money) {
		memcpy(&amount, (const char *)record + ch->field->offset, sizeof amount);
		money_text(amount, text);
		bytes_json(out, span_of(text));
	} else if (ch->kind == RECORD_LIMIT &&
		   ch->field->offset == offsetof(struct limit, window) &&
		   l->window == WINDOW_ROLLING) {
		bytes_printf(out, "\"rolling:%lld\"", (long long)l->window_s);
	} else {
		shape_value(out, ch->field, record);
	}
}

struct showing {
	struct bytes *out;
	char object[ID_TEXT_BYTES];
	bool any;
};

static bool
put_change(void *ctx, const struct audit_change *ch)
{
	struct showing *s = ctx;
	char id[ID_TEXT_BYTES];

	bytes_puts(s->out, s->any ? ",{" : "{");
	s->any = true;
	id_text(record_prefix(ch->kind), ch->record, id);
	if (strcmp(id, s->object) != 0)
		shape_text(s->out, "record_id", id);
	put_field_name(s->out, ch);
	put_side(s->out, "before", ch, ch->before);
	put_side(s->out, "after", ch, ch->after);
	if (ch->is_secret)
		bytes_puts(s->out, ",\"is_secret\":true");
	if (ch->is_cut)
		bytes_puts(s->out, ",\"is_cut\":true");
	bytes_puts(s->out, "}");
	return true;
}

static int
put_entry(struct call *c, const struct audit_entry *e)
{
	struct bytes *out = &c->out->body;
	struct showing s = { .out = out };
	char id[ID_TEXT_BYTES], request[ID_TEXT_BYTES];

	memcpy(s.object, e->object, sizeof s.object);
	id_text(CHANGE_PREFIX, audit_change_id(e), id);
	id_text("req_", e->request, request);
	bytes_puts(out, "{");
	shape_text(out, "id", id);
	shape_int(out, "number", (int64_t)e->number);
	shape_time(out, "time", e->time_ms);
	shape_text(out, "actor", e->actor);
	shape_text(out, "action", e->action);
	put_text(out, "object", e->object);
	put_text(out, "address", e->address);
	put_text(out, "request_id", request);
	bytes_puts(out, ",\"changes\":[");
	if (audit_changes_each(e, put_change, &s, &c->err) != 0)
		return -1;
	bytes_printf(out, "],\"changes_cut\":%s}", audit_is_cut(e) ? "true" : "false");
	return 0;
}

/* ---- lists ---- */

struct audit {
	char actor[64], action[48], object[ID_TEXT_BYTES];
	size_t most, count, looked;
	uint64_t last;
	bool ended, changes_only;
	struct audit_entry *at;
};

static bool
is_any(void *ctx, const struct audit_change *ch)
{
	(void)ch;
	*(bool *)ctx = true;
	return false;
}

static bool
changed_records(const struct audit_entry *e)
{
	struct err ignored = { 0 };
	bool any = false;

	(void)audit_changes_each(e, is_any, &any, &ignored);
	return any;
}

static bool
take_entry(void *ctx, const struct audit_entry *e)
{
	struct audit *l = ctx;

	if ((l->actor[0] == '\0' || strcmp(l->actor, e->actor) == 0) &&
		(l->action[0] == '\0' || glob_match(l->action, span_of(e->action))) &&
		(l->object[0] == '\0' || strcmp(l->object, e->object) == 0) &&
		(!l->changes_only || changed_records(e)))
		l->at[l->count++] = *e;
	l->last = e->number;
	l->ended = l->count == l->most || ++l->looked == LOOK_MOST;
	return !l->ended;
}

static int
list(struct call *c, bool changes_only)
{
	struct audit l = { .changes_only = changes_only };
	struct bytes *out = &c->out->body;
	char text[32], *end;
	uint64_t before = 0;
	int64_t limit;

	if (call_query_int(c, "limit", 1, ENTRIES_MOST, ENTRIES_USUAL, &limit) != 0 ||
		call_query(c, "actor", l.actor, sizeof l.actor) < 0 ||
		call_query(c, "action", l.action, sizeof l.action) < 0 ||
		call_query(c, "object", l.object, sizeof l.object) < 0 ||
		call_query(c, "cursor", text, sizeof text) < 0)
		return -1;
	if (text[0] != '\0') {
		before = strtoull(text, &end, 10);
		if (*end != '\0' || before == 0)
			return call_refuse(c, ERR_BAD_REQUEST, "cursor",
				"cursor must be the next of an earlier answer.");
	}
	l.most = (size_t)limit;
	l.at = arena_alloc(c->arena, l.most * sizeof *l.at);
	if (l.at == NULL)
		return call_no_memory(c);
	if (store_audit_each(c->m->store, before, take_entry, &l, &c->err) < 0)
		return -1;
	bytes_puts(out, "{\"data\":[");
	for (size_t i = 0; i < l.count; i++) {
		bytes_puts(out, i > 0 ? "," : "");
		if (put_entry(c, &l.at[i]) != 0)
			return -1;
	}
	if (l.ended && l.last > 1)
		bytes_printf(out, "],\"next\":\"%llu\"}", (unsigned long long)l.last);
	else
		bytes_puts(out, "],\"next\":null}");
	c->out->status = 200;
	return 0;
}

int
audit_list(struct call *c)
{
	return list(c, false);
}

int
changes_list(struct call *c)
{
	return list(c, true);
}
