/*
 * key_import.c - many provider keys at once, from JSON or CSV.
 *
 * Each row is judged as a key that is added alone.  A secret that its upstream has already is skipped, so
 * that what an import that was killed left undone is done by the next.  Secrets are compared by their
 * hashes, salted for this run, and stand in no report.
 */
#include "manage/import-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "store/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH        100 /* keys written in one transaction */
#define ROWS_MOST    SNAPSHOT_KEYS_MAX
#define COLUMNS_MAX  32
#define ROW_BYTES    (64 * 1024)
#define ROW_ARENA    (2 * 1024 * 1024)
#define SLOTS        (4 * SNAPSHOT_KEYS_MAX) /* of known secrets: at most half full */
#define SECRET_BYTES SEALED_BYTES

struct known {
	uint8_t hash[SHA256_BYTES];
	struct id key;
	bool taken;
};

struct key_import {
	struct manage *m;
	const struct manage_key_import *how;
	struct store_change change;
	struct err *err;
	struct bytes *report;
	uint8_t salt[32];
	struct known *slots;
	struct key *keys; /* waiting to be written */
	size_t waiting;
	int64_t known, rows, total, imported, skipped, refused;
	bool failed;
};

/* ---- what is known already ---- */

/* The slot of that secret at that upstream, taken or free. */
static struct known *
slot_of(struct key_import *im, struct id upstream, struct span secret)
{
	uint8_t salted[sizeof im->salt + sizeof upstream.b], hash[SHA256_BYTES];
	size_t at = 0;

	memcpy(salted, im->salt, sizeof im->salt);
	memcpy(salted + sizeof im->salt, upstream.b, sizeof upstream.b);
	hash_hmac(salted, sizeof salted, secret.at, secret.len, hash);
	memcpy(&at, hash, sizeof at);
	for (at %= SLOTS; im->slots[at].taken; at = (at + 1) % SLOTS)
		if (memcmp(im->slots[at].hash, hash, sizeof hash) == 0)
			break;
	memcpy(im->slots[at].hash, hash, sizeof hash);
	return &im->slots[at];
}

/* Takes the slot of a sealed key.  1 it was free, 0 taken by another, -1. */
static int
take_slot(struct key_import *im, const struct key *k, struct known **out)
{
	char secret[SECRET_BYTES];
	ptrdiff_t len =
		store_unseal(im->m->store, k->head.id, &k->secret, secret, sizeof secret, im->err);

	if (len < 0)
		return -1;
	*out = slot_of(im, k->upstream, (struct span){ secret, (size_t)len });
	explicit_bzero(secret, sizeof secret);
	if ((*out)->taken)
		return 0;
	(*out)->taken = true;
	(*out)->key = k->head.id;
	return 1;
}

struct key_list {
	struct key *at;
	size_t count, room;
};

static bool
list_key(void *ctx, const void *record)
{
	struct key_list *l = ctx;

	if (l->count == l->room) {
		size_t room = l->room == 0 ? 256 : 2 * l->room;
		struct key *more = realloc(l->at, room * sizeof *more);

		if (more == NULL)
			return false;
		l->at = more;
		l->room = room;
	}
	memcpy(&l->at[l->count++], record, sizeof *l->at);
	return l->count < SLOTS / 2;
}

static int
learn_keys(struct key_import *im)
{
	struct key_list l = { 0 };
	struct known *slot;
	int rc = store_each(im->m->store, RECORD_KEY, ID_NONE, list_key, &l, im->err);

	im->known = (int64_t)l.count;
	for (size_t i = 0; i < l.count && rc >= 0; i++)
		if (l.at[i].secret.len > 0)
			rc = take_slot(im, &l.at[i], &slot);
	free(l.at);
	return rc < 0 ? -1 : 0;
}

/* ---- rows ---- */

static int
flush(struct key_import *im)
{
	int rc = im->waiting == 0 ? 0
				  : store_create_many(im->m->store, RECORD_KEY, im->keys,
					    im->waiting, &im->change, im->err);

	im->waiting = 0;
	if (im->how->progress != NULL)
		im->how->progress(im->how->ctx, im->rows, im->total);
	return rc;
}

static void
tell_row(struct key_import *im, const struct key *k, const char *upstream, const char *how,
	const char *what)
{
	struct bytes *out = im->report;

	bytes_printf(out, "%s{\"row\":%lld", im->rows > 1 ? "," : "", (long long)im->rows);
	shape_text(out, "upstream", upstream);
	shape_text(out, "masked", k->masked);
	shape_text(out, "label", k->label);
	shape_text(out, how, what);
	bytes_puts(out, "}");
}

/* A member named upstream with the default, where the row has none. */
static struct span
with_upstream(struct key_import *im, struct span row, struct bytes *out)
{
	if (im->how->upstream == NULL || json_get(row, "upstream").type != JSON_NONE)
		return row;
	bytes_puts(out, "{\"upstream\":");
	bytes_json(out, span_of(im->how->upstream));
	if (json_get(row, "secret").type != JSON_NONE)
		bytes_puts(out, ",");
	bytes_add(out, row.at + 1, row.len - 1);
	return bytes_span(out);
}

static int
take_key(struct key_import *im, struct call *c, const struct edit *e)
{
	const struct key *k = e->record;
	const char *upstream = resource_name(c, RECORD_UPSTREAM, k->upstream);
	char id[ID_TEXT_BYTES];
	struct known *slot;
	int rc = take_slot(im, k, &slot);

	if (rc < 0)
		return -1;
	if (rc == 0) {
		id_text("key_", slot->key, id);
		im->skipped++;
		tell_row(im, k, upstream, "skipped", id);
		return 0;
	}
	if (im->known + im->imported >= SNAPSHOT_KEYS_MAX) {
		im->refused++;
		tell_row(im, k, upstream, "refused",
			"There are as many keys as there can be; delete some first.");
		return 0;
	}
	id_text("key_", k->head.id, id);
	im->imported++;
	tell_row(im, k, upstream, "id", id);
	if (im->how->dry_run)
		return 0;
	im->keys[im->waiting++] = *k;
	return im->waiting == BATCH ? flush(im) : 0;
}

/* One row as the body of a call of its own, so that it is judged as one. */
static int
judge_row(struct key_import *im, struct arena *arena, struct span row)
{
	struct call *c = arena_alloc(arena, sizeof *c);
	struct key *k = arena_alloc(arena, sizeof *k);
	struct manage_request q = { .body = row };
	struct edit e = { .call = c, .kind = &kind_key, .record = k };

	if (c == NULL || k == NULL)
		return err_set(im->err, ERR_MEMORY, "no memory to import keys");
	c->m = im->m;
	c->q = &q;
	c->arena = arena;
	record_init(RECORD_KEY, k);
	k->head.id = id_timed(clock_wall_ms());
	if (resource_apply(&e) == 0)
		return take_key(im, c, &e);
	if (err_status(c->err.code) >= 500) {
		*im->err = c->err;
		return -1;
	}
	im->refused++;
	tell_row(im, k, resource_name(c, RECORD_UPSTREAM, k->upstream), "refused",
		err_public(&c->err));
	return 0;
}

static bool
on_row(struct key_import *im, struct span row)
{
	struct bytes whole = BYTES_LIMIT(ROW_BYTES + NAME_BYTES);
	struct arena *arena = arena_new(ROW_ARENA);
	int rc = -1;

	im->rows++;
	if (im->rows > ROWS_MOST)
		err_set(im->err, ERR_EXCEEDS_LIMIT, "a file has %d keys at most", ROWS_MOST);
	else if (arena == NULL)
		err_set(im->err, ERR_MEMORY, "no memory to import keys");
	else
		rc = judge_row(im, arena, with_upstream(im, row, &whole));
	arena_free(arena);
	if (whole.at != NULL)
		explicit_bzero(whole.at, whole.room);
	bytes_free(&whole);
	if (im->how->progress != NULL && im->rows % (BATCH / 2) == 0)
		im->how->progress(im->how->ctx, im->rows, im->total);
	im->failed |= rc != 0;
	return rc == 0;
}

/* ---- files ---- */

static bool
count_element(void *ctx, const struct json_member *m)
{
	(void)m;
	++*(int64_t *)ctx;
	return true;
}

static bool
on_element(void *ctx, const struct json_member *m)
{
	struct key_import *im = ctx;

	if (m->value.type == JSON_OBJECT && m->value.raw.len < ROW_BYTES)
		return on_row(im, m->value.raw);
	im->failed = true;
	err_set(im->err, ERR_BAD_REQUEST,
		"what stands behind row %lld is no object of a key's fields", (long long)im->rows);
	return false;
}

static int
read_json(struct key_import *im, struct span text)
{
	if (json_each_element(text, count_element, &im->total, NULL) != 0)
		return -1;
	return json_each_element(text, on_element, im, NULL) != 0 || im->failed ? -1 : 0;
}

/* A field's value as the JSON that its column wants. */
static void
put_cell(struct bytes *out, const char *column, struct span text)
{
	const struct field *f = shape_field_named(RECORD_KEY, column);
	bool is_number = f != NULL && f->type == FIELD_INT,
	     is_list = f != NULL && f->type == FIELD_LIST;

	for (size_t i = 0; i < text.len; i++)
		is_number &= text.at[i] >= '0' && text.at[i] <= '9';
	bytes_puts(out, out->len > 0 ? "," : "{");
	bytes_json(out, span_of(column));
	bytes_puts(out, ":");
	if (is_number || (f != NULL && f->type == FIELD_BOOL)) {
		bytes_add(out, text.at, text.len);
	} else if (is_list) {
		bytes_puts(out, "[");
		for (bool first = true; text.len > 0; first = false) {
			const char *end = memchr(text.at, ';', text.len);
			size_t len = end != NULL ? (size_t)(end - text.at) : text.len;

			bytes_puts(out, first ? "" : ",");
			bytes_json(out, (struct span){ text.at, len });
			len += end != NULL;
			text.at += len;
			text.len -= len;
		}
		bytes_puts(out, "]");
	} else {
		bytes_json(out, text);
	}
}

struct table {
	char names[COLUMNS_MAX][32];
	size_t columns;
};

/* One line into a row; its first one may name the columns.  0, or -1. */
static int
read_line(struct table *t, struct span *text, bool names, struct bytes *field, struct bytes *row)
{
	bool last = false;
	size_t n = 0;

	row->len = 0;
	for (; !last; n++) {
		if (n == (names ? COLUMNS_MAX : t->columns) ||
			import_csv_field(text, field, &last) != 0)
			return -1;
		while (field->len > 0 && field->at[field->len - 1] == ' ')
			field->len--;
		if (names)
			(void)span_copy(bytes_span(field), t->names[n], sizeof t->names[n]);
		else if (field->len > 0)
			put_cell(row, t->names[n], bytes_span(field));
	}
	if (names)
		t->columns = n;
	bytes_puts(row, row->len > 0 ? "}" : "{}");
	return row->failed ? -1 : 0;
}

static bool
names_columns(struct span text)
{
	size_t len = 0;

	while (len < text.len && text.at[len] != '\n' && text.at[len] != '\r')
		len++;
	text.len = len;
	return memmem(text.at, text.len, "secret", 6) != NULL &&
	       (span_starts(text, "secret") || memmem(text.at, text.len, ",secret", 7) != NULL ||
		       memmem(text.at, text.len, "\"secret\"", 8) != NULL);
}

static int
read_csv(struct key_import *im, struct span text)
{
	struct table t = { .names = { "upstream", "secret", "label", "weight", "priority" },
		.columns = 5 };
	struct bytes field = BYTES_LIMIT(ROW_BYTES / 2), row = BYTES_LIMIT(ROW_BYTES);
	int rc = names_columns(text) ? read_line(&t, &text, true, &field, &row) : 0;

	for (size_t i = 0; i < text.len; i++)
		im->total += text.at[i] == '\n';
	im->total += text.len > 0;
	while (rc == 0 && text.len > 0) {
		if (text.at[0] == '\n' || text.at[0] == '\r') { /* an empty line */
			text.at++;
			text.len--;
			continue;
		}
		rc = read_line(&t, &text, false, &field, &row);
		if (rc == 0 && !on_row(im, bytes_span(&row)))
			rc = -1;
	}
	if (field.at != NULL)
		explicit_bzero(field.at, field.room);
	if (row.at != NULL)
		explicit_bzero(row.at, row.room);
	bytes_free(&field);
	bytes_free(&row);
	return rc;
}

/* ---- the whole ---- */

static int
read_file(struct key_import *im, struct span text)
{
	struct json_value list = { JSON_ARRAY, text };

	if (text.len == 0)
		return 0;
	if (text.at[0] == '{')
		list = json_get(text, "keys");
	if ((text.at[0] == '[' || text.at[0] == '{'
			    ? list.type == JSON_ARRAY && read_json(im, list.raw) == 0
			    : read_csv(im, text) == 0))
		return 0;
	if (im->failed && im->err->code != ERR_NONE)
		return -1;
	err_set(im->err, ERR_BAD_REQUEST,
		"the file is neither a JSON list nor CSV; row %lld is the last that could be read",
		(long long)im->rows);
	return -1;
}

int
manage_import_keys(struct manage *m, struct span text, const struct manage_key_import *how,
	struct bytes *report, struct err *err)
{
	struct key_import im = { .m = m,
		.how = how,
		.change = { how->actor, "key.import", "", id_timed(clock_wall_ms()) },
		.err = err,
		.report = report,
		.slots = calloc(SLOTS, sizeof *im.slots),
		.keys = calloc(BATCH, sizeof *im.keys) };
	int rc;

	hash_random(im.salt, sizeof im.salt);
	bytes_puts(report, "{\"data\":[");
	rc = im.slots == NULL || im.keys == NULL
		     ? err_set(err, ERR_MEMORY, "no memory to import keys")
		     : learn_keys(&im);
	if (rc == 0)
		rc = read_file(&im, import_trimmed(text));
	if (rc == 0)
		rc = flush(&im);
	bytes_printf(report,
		"],\"dry_run\":%s,\"read\":%lld,\"imported\":%lld,\"skipped\":%lld,\"refused\":%"
		"lld}",
		how->dry_run ? "true" : "false", (long long)im.rows, (long long)im.imported,
		(long long)im.skipped, (long long)im.refused);
	if (rc == 0 && report->failed)
		rc = err_set(err, ERR_MEMORY, "the report is too long; import fewer at a time");
	if (rc != 0 && (err->code == ERR_BAD_REQUEST || err->code == ERR_EXCEEDS_LIMIT)) {
		char says[sizeof err->text];

		(void)span_copy(span_of(err->text), says, sizeof says);
		err_say(err, "%s", says); /* what the caller can mend: told to a client, too */
	}
	free(im.slots);
	free(im.keys);
	return rc;
}

/* ---- by the API ---- */

struct import_body {
	struct call *call;
	struct json_value keys;
	char *text, *upstream;
	bool dry_run;
};

static bool
import_member(void *ctx, const char *name, struct json_value v)
{
	struct import_body *b = ctx;
	struct call *c = b->call;

	if (strcmp(name, "keys") == 0) {
		b->keys = v;
		return v.type == JSON_ARRAY ||
		       call_refuse(c, ERR_BAD_REQUEST, name, "keys must be a list of keys.") == 0;
	}
	if (strcmp(name, "text") == 0)
		return (b->text = call_string(c, name, v, MANAGE_LIST_MAX)) != NULL;
	if (strcmp(name, "upstream") == 0)
		return v.type == JSON_NULL ||
		       (b->upstream = call_string(c, name, v, MANAGE_ID_BYTES)) != NULL;
	if (strcmp(name, "dry_run") == 0)
		return call_bool(c, name, v, &b->dry_run) == 0;
	call_refuse(c, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
	return false;
}

int
keys_import(struct call *c)
{
	struct import_body b = { .call = c };
	struct manage_key_import how = { .actor = c->actor };
	int rc = call_body(c, import_member, &b);

	if (rc == 0 && (b.text == NULL) == (b.keys.type == JSON_NONE))
		rc = call_refuse(c, ERR_BAD_REQUEST, "keys",
			"Either keys, a list, or text, the text of a CSV file, is required.");
	if (rc == 0) {
		how.upstream = b.upstream;
		how.dry_run = b.dry_run;
		rc = manage_import_keys(c->m, b.text != NULL ? span_of(b.text) : b.keys.raw, &how,
			&c->out->body, &c->err);
	}
	if (b.text != NULL)
		explicit_bzero(b.text, strlen(b.text));
	c->out->status = 200;
	return rc;
}
