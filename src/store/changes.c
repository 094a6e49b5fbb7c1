/*
 * changes.c - what a change did to the fields of records, as the audit keeps it: which ones, and
 * their values before and after in the records' own binary form.  Of what is secret only that it
 * changed.
 *
 *   form 1, flags, then items:
 *     ITEM_RECORD  kind, flags, id                        what follows is of this record
 *     ITEM_FIELD   {u16 tag}, flags, {u16 length, value} before, {u16 length, value} after
 *
 * Of a record that was made or deleted, the fields that are not as a new one has them.
 */
#include "store/store-int.h"

#include <stdlib.h>
#include <string.h>

#define CHANGES_FORM  1
#define CHANGES_HEAD  2
#define CUT_WHOLE     1 /* in the head's flags: there was more than there is room for */
#define ITEM_RECORD   1
#define ITEM_FIELD    2
#define RECORD_ITEM   19
#define FIELD_ITEM    8 /* without its values */
#define WAS_THERE     1 /* flags of a record */
#define IS_THERE      2
#define FIELD_CHANGED 1 /* flags of a field: a secret, no values */
#define BEFORE_CUT    2
#define AFTER_CUT     4
#define IN_MONEY      8
#define VALUE_ROOM    (SEALED_BYTES + 64)
#define FIRST_FIELD   16 /* tags below are of the head of every record */

/* One side of a field. */
struct value {
	size_t len;
	bool cut;
	uint8_t at[VALUE_ROOM];
};

void
changes_begin(struct changes *c)
{
	c->at[0] = CHANGES_FORM;
	c->at[1] = 0;
	c->len = CHANGES_HEAD;
}

bool
changes_full(const struct changes *c)
{
	return (c->at[1] & CUT_WHOLE) != 0;
}

static uint8_t *
room_for(struct changes *c, size_t len)
{
	uint8_t *p = c->at + c->len;

	if (changes_full(c) || sizeof c->at - c->len < len) {
		c->at[1] |= CUT_WHOLE;
		return NULL;
	}
	c->len += len;
	return p;
}

/* record NULL: nothing. */
static void
get_value(struct value *v, const struct field *f, const void *record)
{
	ptrdiff_t len = record == NULL ? 0 : record_field_encode(f, record, v->at, sizeof v->at);

	v->len = len < 0 ? 0 : (size_t)len;
	v->cut = len < 0;
}

static bool
is_secret(const struct field *f)
{
	return f->type == FIELD_HASH || f->type == FIELD_SEALED || (f->flags & FIELD_SECRET) != 0;
}

/* Whole characters of a text, whole entries of a list. */
static void
cut_value(struct value *v, const struct field *f)
{
	size_t len = AUDIT_VALUE_MAX;

	if (v->len <= len)
		return;
	if (f->type == FIELD_TEXT)
		while (len > 0 && (v->at[len] & 0xc0) == 0x80)
			len--;
	else
		while (len > 0 && v->at[len] != '\n')
			len--;
	v->len = len;
	v->cut = true;
}

static uint8_t *
put_value(uint8_t *p, const struct value *v)
{
	*p++ = (uint8_t)(v->len >> 8);
	*p++ = (uint8_t)v->len;
	memcpy(p, v->at, v->len);
	return p + v->len;
}

static void
add_field(struct changes *c, const struct field *f, struct value *was, struct value *is, bool money)
{
	unsigned flags = money && f->type == FIELD_INT ? IN_MONEY : 0;
	uint8_t *p;

	if (is_secret(f)) {
		flags = FIELD_CHANGED;
		was->len = is->len = 0;
	} else {
		cut_value(was, f);
		cut_value(is, f);
		flags |= (was->cut ? BEFORE_CUT : 0) | (is->cut ? AFTER_CUT : 0);
	}
	if ((p = room_for(c, FIELD_ITEM + was->len + is->len)) == NULL)
		return;
	*p++ = ITEM_FIELD;
	*p++ = (uint8_t)(f->tag >> 8);
	*p++ = (uint8_t)f->tag;
	*p++ = (uint8_t)flags;
	(void)put_value(put_value(p, was), is);
}

void
changes_add(
	struct changes *c, enum record_kind kind, const void *before, const void *after, bool money)
{
	const struct record *head = after != NULL ? after : before;
	bool is_update = before != NULL && after != NULL;
	struct value was, is;
	size_t count;
	const struct field *f = record_fields(kind, &count);
	size_t begin = c->len;
	void *fresh;
	uint8_t *p;

	if ((p = room_for(c, RECORD_ITEM)) == NULL)
		return;
	*p++ = ITEM_RECORD;
	*p++ = (uint8_t)kind;
	*p++ = (uint8_t)((before != NULL ? WAS_THERE : 0) | (after != NULL ? IS_THERE : 0));
	memcpy(p, head->id.b, sizeof head->id.b);
	if ((fresh = malloc(record_bytes(kind))) == NULL) {
		c->at[1] |= CUT_WHOLE;
		return;
	}
	record_init(kind, fresh);
	for (size_t i = 0; i < count && !changes_full(c); i++) {
		if (f[i].tag < FIRST_FIELD || (!is_update && is_secret(&f[i])))
			continue;
		get_value(&was, &f[i], before != NULL ? before : fresh);
		get_value(&is, &f[i], after != NULL ? after : fresh);
		if (was.len == is.len && memcmp(was.at, is.at, is.len) == 0)
			continue;
		if (before == NULL)
			was.len = 0;
		if (after == NULL)
			is.len = 0;
		add_field(c, &f[i], &was, &is, money && (f[i].flags & FIELD_AMOUNT) != 0);
	}
	free(fresh);
	if (is_update && c->len == begin + RECORD_ITEM && !changes_full(c))
		c->len = begin; /* written over as it was */
}

/* ---- reading ---- */

struct reader {
	const uint8_t *at, *end;
};

/* One field's item. */
struct item {
	uint16_t tag;
	uint8_t flags;
	struct span before, after;
};

static bool
take_value(struct reader *r, struct span *out)
{
	size_t len;

	if (r->end - r->at < 2)
		return false;
	len = (size_t)(r->at[0] << 8 | r->at[1]);
	r->at += 2;
	if ((size_t)(r->end - r->at) < len)
		return false;
	*out = (struct span){ (const char *)r->at, len };
	r->at += len;
	return true;
}

/* False at the next record, at the end, and where it is damaged. */
static bool
take_item(struct reader *r, struct item *item)
{
	if (r->end - r->at < FIELD_ITEM || r->at[0] != ITEM_FIELD)
		return false;
	item->tag = (uint16_t)(r->at[1] << 8 | r->at[2]);
	item->flags = r->at[3];
	r->at += 4;
	return take_value(r, &item->before) && take_value(r, &item->after);
}

static const struct field *
field_of(enum record_kind kind, uint16_t tag)
{
	size_t count;
	const struct field *f = record_fields(kind, &count);

	for (size_t i = 0; i < count; i++)
		if (f[i].tag == tag)
			return &f[i];
	return NULL; /* of a newer program */
}

static void
set_value(const struct field *f, struct span value, void *record)
{
	if (record != NULL && value.len > 0)
		(void)record_field_decode(f, (const uint8_t *)value.at, value.len, record);
	else if (record != NULL)
		memset((uint8_t *)record + f->offset, 0, f->size);
}

/* The fields of one record: first all into both sides, so that fn sees what stands beside a field.
 * 0, or 1 when fn has had enough. */
static int
each_of_record(struct reader *r, struct audit_change *c, void *before, void *after,
	bool (*fn)(void *ctx, const struct audit_change *c), void *ctx)
{
	struct reader again = *r;
	struct item item;

	while (take_item(&again, &item)) {
		const struct field *f = field_of(c->kind, item.tag);

		if (f == NULL || (item.flags & FIELD_CHANGED) != 0)
			continue;
		set_value(f, item.before, before);
		set_value(f, item.after, after);
	}
	c->before = before;
	c->after = after;
	while (take_item(r, &item)) {
		if ((c->field = field_of(c->kind, item.tag)) == NULL)
			continue;
		c->is_secret = (item.flags & FIELD_CHANGED) != 0;
		c->is_money = (item.flags & IN_MONEY) != 0;
		c->is_cut = (item.flags & (BEFORE_CUT | AFTER_CUT)) != 0;
		if (!fn(ctx, c))
			return 1;
	}
	return 0;
}

static int
each_record(struct reader *r, bool (*fn)(void *ctx, const struct audit_change *c), void *ctx,
	struct err *err)
{
	struct audit_change c = { .kind = (enum record_kind)r->at[1] };
	unsigned there = r->at[2];
	size_t bytes = record_bytes(c.kind);
	uint8_t *both = malloc(2 * bytes);
	int rc;

	if (both == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	memcpy(c.record.b, r->at + 3, sizeof c.record.b);
	r->at += RECORD_ITEM;
	record_init(c.kind, both);
	record_init(c.kind, both + bytes);
	rc = each_of_record(r, &c, (there & WAS_THERE) != 0 ? both : NULL,
		(there & IS_THERE) != 0 ? both + bytes : NULL, fn, ctx);
	free(both);
	return rc;
}

bool
audit_is_cut(const struct audit_entry *e)
{
	return e->changes_len >= CHANGES_HEAD && (e->changes[1] & CUT_WHOLE) != 0;
}

int
audit_changes_each(const struct audit_entry *e, bool (*fn)(void *ctx, const struct audit_change *c),
	void *ctx, struct err *err)
{
	struct reader r = { e->changes + CHANGES_HEAD, e->changes + e->changes_len };

	if (e->changes_len < CHANGES_HEAD || e->changes[0] != CHANGES_FORM)
		return 0; /* none, or a newer program's */
	while (r.end - r.at >= RECORD_ITEM && r.at[0] == ITEM_RECORD && r.at[1] < RECORD__COUNT) {
		int rc = each_record(&r, fn, ctx, err);

		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	return 0;
}
