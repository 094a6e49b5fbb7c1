/*
 * shape.c - records as JSON and back, by their field tables: one code for every kind.
 *
 * Numbers are written and read as text here, never as doubles: int64_t keeps all its digits.
 */
#include "base/clock.h"
#include "base/money.h"
#include "manage/manage-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct field *
shape_field_at(enum record_kind kind, size_t offset)
{
	size_t count;
	const struct field *f = record_fields(kind, &count);

	for (size_t i = 0; i < count; i++)
		if (f[i].offset == offset)
			return &f[i];
	return NULL;
}

const struct field *
shape_field_named(enum record_kind kind, const char *name)
{
	size_t count;
	const struct field *f = record_fields(kind, &count);

	for (size_t i = 0; i < count; i++)
		if (strcmp(f[i].name, name) == 0)
			return &f[i];
	return NULL;
}

/* ---- out ---- */

static void
put_name(struct bytes *out, const char *name)
{
	if (out->len > 0 && out->at[out->len - 1] != '{')
		bytes_puts(out, ",");
	bytes_json(out, span_of(name));
	bytes_puts(out, ":");
}

void
shape_text(struct bytes *out, const char *name, const char *text)
{
	put_name(out, name);
	bytes_json(out, span_of(text));
}

void
shape_int(struct bytes *out, const char *name, int64_t value)
{
	put_name(out, name);
	bytes_printf(out, "%lld", (long long)value);
}

static void
put_time(struct bytes *out, int64_t wall_ms)
{
	char text[CLOCK_TEXT_BYTES];

	if (wall_ms == 0) {
		bytes_puts(out, "null");
		return;
	}
	clock_rfc3339(wall_ms, text);
	bytes_json(out, span_of(text));
}

void
shape_time(struct bytes *out, const char *name, int64_t wall_ms)
{
	put_name(out, name);
	put_time(out, wall_ms);
}

static void
put_money(struct bytes *out, int64_t nusd)
{
	char text[MONEY_TEXT_BYTES];

	if (nusd == COST_UNKNOWN) {
		bytes_puts(out, "null");
		return;
	}
	money_text(nusd, text);
	bytes_json(out, span_of(text));
}

void
shape_money(struct bytes *out, const char *name, int64_t nusd)
{
	put_name(out, name);
	put_money(out, nusd);
}

void
shape_tokens(struct bytes *out, const struct tokens *t)
{
	put_name(out, "tokens");
	bytes_printf(out,
		"{\"input\":%lld,\"cache_read\":%lld,\"cache_write\":%lld,\"output\":%lld,"
		"\"reasoning\":%lld}",
		(long long)t->input, (long long)t->cache_read, (long long)t->cache_write,
		(long long)t->output, (long long)t->reasoning);
}

static void
put_list(struct bytes *out, const char *list, bool quoted)
{
	const char *comma = "";

	bytes_puts(out, "[");
	while (*list != '\0') {
		size_t len = strcspn(list, "\n");

		bytes_puts(out, comma);
		if (quoted)
			bytes_json(out, (struct span){ list, len });
		else
			bytes_add(out, list, len);
		comma = ",";
		list += len;
		list += *list == '\n';
	}
	bytes_puts(out, "]");
}

struct span
shape_enum_name(const char *values, int32_t value)
{
	for (; value > 0 && *values != '\0'; value--) {
		values += strcspn(values, "|");
		values += *values == '|';
	}
	return (struct span){ values, strcspn(values, "|") };
}

void
shape_value(struct bytes *out, const struct field *f, const void *record)
{
	const char *at = (const char *)record + f->offset;
	char text[ID_TEXT_BYTES];
	struct id id;
	int64_t number = 0;
	int32_t value;

	switch (f->type) {
	case FIELD_ID:
		memcpy(&id, at, sizeof id);
		id_text(f->values, id, text);
		if (id_is_none(id))
			bytes_puts(out, "null");
		else
			bytes_json(out, span_of(text));
		return;
	case FIELD_TEXT:
		bytes_json(out, span_of(at));
		return;
	case FIELD_LIST:
	case FIELD_LIST_INT:
		put_list(out, at, f->type == FIELD_LIST);
		return;
	case FIELD_BOOL:
		bytes_puts(out, *(const bool *)at ? "true" : "false");
		return;
	case FIELD_INT:
	case FIELD_MS:
		memcpy(&number, at, sizeof number);
		bytes_printf(out, "%lld", (long long)number);
		return;
	case FIELD_TIME:
		memcpy(&number, at, sizeof number);
		put_time(out, number);
		return;
	case FIELD_MONEY:
		memcpy(&number, at, sizeof number);
		/* Of money below its range, -1 says "not stated". */
		put_money(out, f->min < 0 && number < 0 ? COST_UNKNOWN : number);
		return;
	case FIELD_ENUM:
		memcpy(&value, at, sizeof value);
		bytes_json(out, shape_enum_name(f->values, value));
		return;
	case FIELD_HASH:
	case FIELD_SEALED:
		bytes_puts(out, "null");
		return;
	}
}

void
shape_member(struct bytes *out, const struct field *f, const void *record)
{
	put_name(out, f->name);
	shape_value(out, f, record);
}

/* ---- in ---- */

int
shape_parse_money(struct call *c, const char *field, struct json_value v, int64_t *out)
{
	char text[48];

	if ((v.type == JSON_STRING && json_string(v, text, sizeof text) >= 0) ||
		(v.type == JSON_NUMBER && span_copy(v.raw, text, sizeof text)))
		if (money_parse(text, out) == 0 && *out >= 0)
			return 0;
	return call_refuse(c, ERR_BAD_REQUEST, field,
		"%s must be dollars, such as \"2.50\", with nine places at most.", field);
}

int
time_of_text(const char *text, int64_t *wall_ms)
{
	char day[32];

	if (clock_parse_rfc3339(text, wall_ms) == 0)
		return 0;
	if (strlen(text) != 10)
		return -1;
	snprintf(day, sizeof day, "%sT00:00:00Z", text);
	return clock_parse_rfc3339(day, wall_ms);
}

int
shape_parse_time(struct call *c, const char *field, struct json_value v, int64_t *out)
{
	char text[64];

	*out = 0;
	if (v.type == JSON_NULL)
		return 0;
	if (v.type == JSON_STRING && json_string(v, text, sizeof text) >= 0 &&
		time_of_text(text, out) == 0 && *out > 0)
		return 0;
	return call_refuse(c, ERR_BAD_REQUEST, field,
		"%s must be a time such as \"2027-01-31T00:00:00Z\", or null.", field);
}

/* Printable: no control characters, which could split a header or a line of the log. */
static bool
is_plain(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

static int
set_text(struct call *c, const struct field *f, struct json_value v, char *at)
{
	char *text = call_string(c, f->name, v, f->size - 1);

	if (text == NULL)
		return -1;
	if (!is_plain(text))
		return call_refuse(
			c, ERR_BAD_REQUEST, f->name, "%s may hold no control characters.", f->name);
	memset(at, 0, f->size);
	memcpy(at, text, strlen(text));
	return 0;
}

struct list_in {
	struct call *call;
	const struct field *field;
	struct bytes text;
	bool failed;
};

static bool
one_element(void *ctx, const struct json_member *m)
{
	struct list_in *l = ctx;
	const struct field *f = l->field;
	char *text;
	int64_t number;

	l->failed = true;
	if (l->text.len > 0)
		bytes_puts(&l->text, "\n");
	if (f->type == FIELD_LIST_INT) {
		if (json_int(m->value, &number) != 0 ||
			(f->max > f->min && (number < f->min || number > f->max))) {
			call_refuse(l->call, ERR_BAD_REQUEST, f->name,
				"%s must hold whole numbers.", f->name);
			return false;
		}
		bytes_printf(&l->text, "%lld", (long long)number);
	} else {
		text = call_string(l->call, f->name, m->value, f->size - 1);
		if (text == NULL)
			return false;
		if (text[0] == '\0' || !is_plain(text)) {
			call_refuse(l->call, ERR_BAD_REQUEST, f->name,
				"%s may hold no empty entries and no control characters.", f->name);
			return false;
		}
		bytes_puts(&l->text, text);
	}
	l->failed = false;
	return true;
}

static int
set_list(struct call *c, const struct field *f, struct json_value v, char *at)
{
	struct list_in l = { c, f, BYTES_LIMIT(f->size - 1), false };
	int rc = 0;

	if (v.type != JSON_ARRAY ||
		(json_each_element(v.raw, one_element, &l, NULL) != 0 && !l.failed))
		rc = call_refuse(
			c, ERR_BAD_REQUEST, f->name, "%s must be a list: [\"…\", \"…\"].", f->name);
	else if (l.failed)
		rc = -1;
	else if (l.text.failed)
		rc = call_refuse(c, ERR_BAD_REQUEST, f->name,
			"%s is too long: at most %zu bytes together.", f->name, f->size - 1);
	if (rc == 0) {
		memset(at, 0, f->size);
		if (l.text.len > 0)
			memcpy(at, l.text.at, l.text.len);
	}
	bytes_free(&l.text);
	return rc;
}

static int
set_enum(struct call *c, const struct field *f, struct json_value v, char *at)
{
	const char *text = call_string(c, f->name, v, 64);
	char choices[160];
	size_t n = 0;

	if (text == NULL)
		return -1;
	for (int32_t value = 0;; value++) {
		struct span name = shape_enum_name(f->values, value);

		if (name.len == 0)
			break;
		if (span_is(name, text)) {
			memcpy(at, &value, sizeof value);
			return 0;
		}
	}
	for (const char *p = f->values; *p != '\0' && n + 3 < sizeof choices; p++) {
		if (*p == '|') {
			choices[n++] = ',';
			choices[n++] = ' ';
		} else {
			choices[n++] = *p;
		}
	}
	choices[n] = '\0';
	return call_refuse(c, ERR_BAD_REQUEST, f->name, "%s must be one of: %s.", f->name, choices);
}

static int
set_int(struct call *c, const struct field *f, struct json_value v, char *at)
{
	int64_t number;

	if (json_int(v, &number) != 0)
		return call_refuse(
			c, ERR_BAD_REQUEST, f->name, "%s must be a whole number.", f->name);
	if (f->max > f->min && (number < f->min || number > f->max))
		return call_refuse(c, ERR_BAD_REQUEST, f->name, "%s must be from %lld to %lld.",
			f->name, (long long)f->min, (long long)f->max);
	memcpy(at, &number, sizeof number);
	return 0;
}

/* null: what the record would have if the field had not been given. */
static int
set_null(struct call *c, const struct field *f, char *at)
{
	static const size_t most = 32 * 1024;
	enum record_kind kind;
	void *fresh;

	if ((f->flags & FIELD_REQUIRED) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, f->name, "%s cannot be null.", f->name);
	for (kind = 0; kind < RECORD__COUNT; kind++) {
		size_t count;
		const struct field *all = record_fields(kind, &count);

		if (f >= all && f < all + count)
			break;
	}
	fresh = kind < RECORD__COUNT && record_bytes(kind) <= most
			? arena_alloc(c->arena, record_bytes(kind))
			: NULL;
	if (fresh == NULL)
		return call_no_memory(c);
	record_init(kind, fresh);
	memcpy(at, (const char *)fresh + f->offset, f->size);
	return 0;
}

static int
set_id(struct call *c, const struct field *f, struct json_value v, char *at)
{
	char *text = call_string(c, f->name, v, MANAGE_ID_BYTES - 1);
	struct id id;

	if (text == NULL)
		return -1;
	for (enum record_kind kind = 0; kind < RECORD__COUNT; kind++)
		if (strcmp(record_prefix(kind), f->values) == 0) {
			if (resource_refer(c, kind, f->name, text, &id) != 0)
				return -1;
			memcpy(at, &id, sizeof id);
			return 0;
		}
	return err_set(&c->err, ERR_INTERNAL, "field %s refers to no kind", f->name);
}

int
shape_set(struct call *c, const struct field *f, struct json_value v, void *record)
{
	char *at = (char *)record + f->offset;
	bool yes;
	int64_t number;

	if (v.type == JSON_NULL)
		return set_null(c, f, at);
	switch (f->type) {
	case FIELD_ID:
		return set_id(c, f, v, at);
	case FIELD_TEXT:
		return set_text(c, f, v, at);
	case FIELD_LIST:
	case FIELD_LIST_INT:
		return set_list(c, f, v, at);
	case FIELD_BOOL:
		if (call_bool(c, f->name, v, &yes) != 0)
			return -1;
		memcpy(at, &yes, sizeof yes);
		return 0;
	case FIELD_INT:
	case FIELD_MS:
		return set_int(c, f, v, at);
	case FIELD_TIME:
		if (shape_parse_time(c, f->name, v, &number) != 0)
			return -1;
		memcpy(at, &number, sizeof number);
		return 0;
	case FIELD_MONEY:
		if (shape_parse_money(c, f->name, v, &number) != 0)
			return -1;
		memcpy(at, &number, sizeof number);
		return 0;
	case FIELD_ENUM:
		return set_enum(c, f, v, at);
	case FIELD_HASH:
	case FIELD_SEALED:
		break;
	}
	return err_set(&c->err, ERR_INTERNAL, "field %s cannot be set", f->name);
}

bool
shape_is_empty(const struct field *f, const void *record)
{
	const char *at = (const char *)record + f->offset;

	for (size_t i = 0; i < f->size; i++)
		if (at[i] != 0)
			return false;
	return true;
}
