/*
 * tables.c - records, their indexes, small values and the audit, all in the main table.
 *
 * Indexes are entries of their own, written in the record's transaction: a secondary of Berkeley
 * DB would cost half the writes and make one hot page of every common value.
 */
#include "store/care-int.h"

#include "base/clock.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES 65536

struct key_bytes {
	uint8_t at[KEY_MAX];
	size_t len;
};

static struct key_bytes
key_of(char type, const void *a, size_t a_len, const void *b, size_t b_len)
{
	struct key_bytes k;

	k.at[0] = (uint8_t)type;
	if (a_len > 0)
		memcpy(k.at + 1, a, a_len);
	if (b_len > 0)
		memcpy(k.at + 1 + a_len, b, b_len);
	k.len = 1 + a_len + b_len;
	return k;
}

static struct key_bytes
key_of_record(enum record_kind kind, struct id id)
{
	uint8_t k = (uint8_t)kind;

	return key_of(KEY_RECORD, &k, 1, id.b, sizeof id.b);
}

static struct key_bytes
key_of_name(enum record_kind kind, const char *name)
{
	uint8_t k = (uint8_t)kind;

	return key_of(KEY_NAME, &k, 1, name, strlen(name));
}

static int
get_main(struct attach *at, DB_TXN *txn, const struct key_bytes *k, void *out, size_t room,
	size_t *len, u_int32_t flags)
{
	DB *db = at->table[TABLE_MAIN];
	DBT key, data;
	int rc;

	dbt_in(&key, k->at, k->len);
	dbt_out(&data, out, room);
	rc = db->get(db, txn, &key, &data, flags);
	if (len != NULL)
		*len = data.size;
	return rc;
}

static int
put_main(struct attach *at, DB_TXN *txn, const struct key_bytes *k, const void *in, size_t len,
	u_int32_t flags)
{
	DB *db = at->table[TABLE_MAIN];
	DBT key, data;

	dbt_in(&key, k->at, k->len);
	dbt_in(&data, in, len);
	return db->put(db, txn, &key, &data, flags);
}

static int
delete_main(struct attach *at, DB_TXN *txn, const struct key_bytes *k)
{
	DB *db = at->table[TABLE_MAIN];
	DBT key;

	dbt_in(&key, k->at, k->len);
	return db->del(db, txn, &key, 0);
}

/* ---- reading one ---- */

struct reading {
	enum record_kind kind;
	struct key_bytes index; /* len 0: id is given */
	struct id id;
	size_t len; /* 0: not there */
	uint8_t data[RECORD_BINARY_MAX];
};

static int
read_one(struct attach *at, void *arg, struct err *err)
{
	struct reading *r = arg;
	struct key_bytes k;
	int rc;

	(void)err;
	r->len = 0;
	if (r->index.len > 0) {
		rc = get_main(at, NULL, &r->index, r->id.b, sizeof r->id.b, NULL, 0);
		if (rc != 0)
			return rc == DB_NOTFOUND ? 0 : rc;
	}
	k = key_of_record(r->kind, r->id);
	rc = get_main(at, NULL, &k, r->data, sizeof r->data, &r->len, 0);
	if (rc != 0)
		r->len = 0;
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
damaged(struct store *s, enum record_kind kind, struct id id, struct err *err)
{
	char text[ID_TEXT_BYTES];

	id_text(record_prefix(kind), id, text);
	return err_set(err, ERR_STORE_UNAVAILABLE, "%s: record %s is damaged; restore a backup",
		s->home, text);
}

static int
read_record(struct store *s, struct reading *r, void *record, struct err *err)
{
	if (store_call(s, "reading", read_one, r, err) != 0)
		return -1;
	if (r->len == 0)
		return 0;
	if (record_decode(r->kind, r->data, r->len, record) != 0)
		return damaged(s, r->kind, r->id, err);
	return 1;
}

int
store_get(struct store *s, enum record_kind kind, struct id id, void *record, struct err *err)
{
	struct reading r;

	r.kind = kind;
	r.index.len = 0;
	r.id = id;
	return read_record(s, &r, record, err);
}

int
store_find(struct store *s, enum record_kind kind, const char *name_or_id, void *record,
	struct err *err)
{
	struct reading r;
	int rc;

	r.kind = kind;
	r.index.len = 0;
	if (id_parse(record_prefix(kind), name_or_id, &r.id) == 0 &&
		(rc = read_record(s, &r, record, err)) != 0)
		return rc;
	if (record_name_field(kind) == NULL || strlen(name_or_id) >= KEY_MAX - 2)
		return 0;
	r.index = key_of_name(kind, name_or_id);
	return read_record(s, &r, record, err);
}

int
store_token_by_hash(
	struct store *s, const uint8_t sha256[SHA256_BYTES], struct token *out, struct err *err)
{
	struct reading r;
	int rc;

	r.kind = RECORD_TOKEN;
	r.index = key_of(KEY_HASH, sha256, SHA256_BYTES, NULL, 0);
	rc = read_record(s, &r, out, err);
	if (rc != 1 || hash_equal(out->sha256, sha256, SHA256_BYTES))
		return rc;
	/* Between the two gets the token may have been given another secret. */
	return hash_equal(out->old_sha256, sha256, SHA256_BYTES) ? STORE_OLD_SECRET : 0;
}

/* ---- walking ---- */

struct walk {
	struct key_bytes from, prefix;
	bool behind; /* from itself is not wanted */
	bool back;   /* newest first: below from */
	size_t used;
	int count;
	bool end;
	uint8_t data[BATCH_BYTES]; /* {u16 key length, u32 data length, key, data}… */
};

static int
walk_batch(struct attach *at, void *arg, struct err *err)
{
	struct walk *w = arg;
	DB *db = at->table[TABLE_MAIN];
	DBC *cursor;
	uint8_t key_room[KEY_MAX], data_room[RECORD_BINARY_MAX];
	DBT key, data;
	int rc, closed;

	(void)err;
	w->used = 0;
	w->count = 0;
	w->end = false;
	if ((rc = db->cursor(db, NULL, &cursor, 0)) != 0)
		return rc;
	memcpy(key_room, w->from.at, w->from.len);
	dbt_out(&key, key_room, sizeof key_room);
	key.size = (u_int32_t)w->from.len;
	dbt_out(&data, data_room, sizeof data_room);
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE);
	if (w->back) /* the first that is not below; the one before it is ours */
		rc = cursor->get(cursor, &key, &data, rc == DB_NOTFOUND ? DB_LAST : DB_PREV);
	while (rc == 0) {
		uint8_t *p = w->data + w->used;

		if (key.size < w->prefix.len ||
			memcmp(key_room, w->prefix.at, w->prefix.len) != 0) {
			w->end = true;
			break;
		}
		if (w->back || !w->behind || key.size != w->from.len ||
			memcmp(key_room, w->from.at, key.size) != 0) {
			if (BATCH_BYTES - w->used < 6 + (size_t)key.size + data.size)
				break;
			p[0] = (uint8_t)(key.size >> 8);
			p[1] = (uint8_t)key.size;
			put_be32(p + 2, data.size);
			memcpy(p + 6, key_room, key.size);
			memcpy(p + 6 + key.size, data_room, data.size);
			w->used += 6 + (size_t)key.size + data.size;
			w->count++;
		}
		rc = cursor->get(cursor, &key, &data, w->back ? DB_PREV : DB_NEXT);
	}
	if (rc == DB_NOTFOUND) {
		w->end = true;
		rc = 0;
	}
	closed = cursor->close(cursor);
	return rc != 0 ? rc : closed;
}

/* Calls fn outside the environment: it may take its time, and call the store again. */
static int
walk(struct store *s, struct walk *w,
	bool (*fn)(void *ctx, struct span key, struct span data, struct err *err), void *ctx,
	struct err *err)
{
	for (;;) {
		size_t at = 0;

		if (store_call(s, "reading", walk_batch, w, err) != 0)
			return -1;
		while (at < w->used) {
			const uint8_t *p = w->data + at;
			size_t key_len = (size_t)(p[0] << 8 | p[1]), len = get_be32(p + 2);
			struct span key = { (const char *)p + 6, key_len };
			struct span data = { (const char *)p + 6 + key_len, len };

			memcpy(w->from.at, p + 6, key_len);
			w->from.len = key_len;
			w->behind = true;
			at += 6 + key_len + len;
			err->code = ERR_NONE;
			if (!fn(ctx, key, data, err))
				return err->code == ERR_NONE ? 0 : -1;
		}
		if (w->end)
			return 0;
	}
}

struct each_record {
	struct store *s;
	enum record_kind kind;
	void *record;
	bool (*fn)(void *ctx, const void *record);
	void *ctx;
};

static bool
each_record(void *ctx, struct span key, struct span data, struct err *err)
{
	struct each_record *e = ctx;
	struct id id;

	if (record_decode(e->kind, (const uint8_t *)data.at, data.len, e->record) != 0) {
		memcpy(id.b, key.at + 2, sizeof id.b);
		(void)damaged(e->s, e->kind, id, err);
		return false;
	}
	return e->fn(e->ctx, e->record);
}

int
store_each(struct store *s, enum record_kind kind, struct id after,
	bool (*fn)(void *ctx, const void *record), void *ctx, struct err *err)
{
	struct each_record e = { .s = s, .kind = kind, .fn = fn, .ctx = ctx };
	struct walk *w = malloc(sizeof *w);
	struct err scratch;
	int rc;

	e.record = malloc(record_bytes(kind));
	if (w == NULL || e.record == NULL) {
		free(w);
		free(e.record);
		return err_set(err, ERR_MEMORY, "store: out of memory");
	}
	w->from = key_of_record(kind, after);
	w->prefix = w->from;
	w->prefix.len = 2;
	w->behind = !id_is_none(after);
	w->back = false;
	rc = walk(s, w, each_record, &e, err != NULL ? err : &scratch);
	free(e.record);
	free(w);
	return rc;
}

/* ---- audit ---- */

#define AUDIT_VERSION 1
#define AUDIT_BYTES   320

static int
counter_next(struct attach *at, DB_TXN *txn, const char *name, uint64_t *number)
{
	struct key_bytes k = key_of(KEY_COUNTER, name, strlen(name), NULL, 0);
	uint8_t b[8] = { 0 };
	int rc = get_main(at, txn, &k, b, sizeof b, NULL, DB_RMW);

	if (rc != 0 && rc != DB_NOTFOUND)
		return rc;
	*number = (rc == 0 ? get_be64(b) : 0) + 1;
	put_be64(b, *number);
	return put_main(at, txn, &k, b, sizeof b, 0);
}

static size_t
audit_text(uint8_t *p, const char *text, size_t most)
{
	size_t len = text == NULL ? 0 : strnlen(text, most - 1);

	p[0] = (uint8_t)len;
	if (len > 0)
		memcpy(p + 1, text, len);
	return len + 1;
}

static int
audit_put(struct attach *at, DB_TXN *txn, uint64_t number, int64_t time_ms,
	const struct store_change *c, const char *object, const void *changes, size_t changes_len)
{
	uint8_t data[AUDIT_BYTES + AUDIT_CHANGES_MAX], number_bytes[8];
	struct key_bytes k;
	size_t n = 0;

	data[n++] = AUDIT_VERSION;
	put_be64(data + n, (uint64_t)time_ms);
	n += 8;
	memcpy(data + n, c->request.b, sizeof c->request.b);
	n += sizeof c->request.b;
	n += audit_text(data + n, c->actor, 64);
	n += audit_text(data + n, c->action, 48);
	n += audit_text(data + n, object, ID_TEXT_BYTES);
	n += audit_text(data + n, c->address, 48);
	/* Older programs read what stands before and look no further. */
	if (changes_len > 0)
		memcpy(data + n, changes, changes_len);
	n += changes_len;
	put_be64(number_bytes, number);
	k = key_of(KEY_AUDIT, number_bytes, sizeof number_bytes, NULL, 0);
	return put_main(at, txn, &k, data, n, 0);
}

static int
audit_write(struct attach *at, DB_TXN *txn, const struct store_change *c, const char *object,
	const struct changes *changes)
{
	uint64_t number;
	int rc;

	if (c == NULL)
		return 0;
	rc = counter_next(at, txn, "audit", &number);
	return rc != 0 ? rc
		       : audit_put(at, txn, number, clock_wall_ms(), c, object,
				 changes == NULL ? NULL : changes->at,
				 changes == NULL ? 0 : changes->len);
}

static bool
audit_part(struct span *rest, char *out, size_t room)
{
	size_t len;

	if (rest->len < 1 || (len = (uint8_t)rest->at[0]) >= room || len + 1 > rest->len)
		return false;
	memcpy(out, rest->at + 1, len);
	out[len] = '\0';
	rest->at += len + 1;
	rest->len -= len + 1;
	return true;
}

struct each_audit {
	bool (*fn)(void *ctx, const struct audit_entry *e);
	void *ctx;
};

static bool
each_audit(void *ctx, struct span key, struct span data, struct err *err)
{
	struct each_audit *e = ctx;
	struct audit_entry entry;
	struct span rest = data;

	(void)err;
	memset(&entry, 0, sizeof entry);
	if (key.len != 9 || data.len < 25 || data.at[0] != AUDIT_VERSION)
		return true; /* of a newer program */
	entry.number = get_be64((const uint8_t *)key.at + 1);
	entry.time_ms = (int64_t)get_be64((const uint8_t *)data.at + 1);
	memcpy(entry.request.b, data.at + 9, sizeof entry.request.b);
	rest.at += 25;
	rest.len -= 25;
	if (!audit_part(&rest, entry.actor, sizeof entry.actor) ||
		!audit_part(&rest, entry.action, sizeof entry.action) ||
		!audit_part(&rest, entry.object, sizeof entry.object) ||
		!audit_part(&rest, entry.address, sizeof entry.address))
		return true;
	entry.changes_len = (uint16_t)(rest.len < AUDIT_CHANGES_MAX ? rest.len : AUDIT_CHANGES_MAX);
	if (entry.changes_len > 0)
		memcpy(entry.changes, rest.at, entry.changes_len);
	return e->fn(e->ctx, &entry);
}

int
store_audit_each(struct store *s, uint64_t before,
	bool (*fn)(void *ctx, const struct audit_entry *e), void *ctx, struct err *err)
{
	struct each_audit e = { .fn = fn, .ctx = ctx };
	struct walk *w = malloc(sizeof *w);
	struct err scratch;
	uint8_t number[8];
	int rc;

	if (w == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	put_be64(number, before != 0 ? before : UINT64_MAX);
	w->from = key_of(KEY_AUDIT, number, sizeof number, NULL, 0);
	w->prefix = w->from;
	w->prefix.len = 1;
	w->back = true;
	w->behind = true;
	rc = walk(s, w, each_audit, &e, err != NULL ? err : &scratch);
	free(w);
	return rc;
}

struct auditing {
	const struct store_change *change;
	const char *object;
};

static int
audit_add(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	const struct auditing *a = arg;

	(void)err;
	return audit_write(at, txn, a->change, a->object, NULL);
}

int
store_audit_add(struct store *s, const struct store_change *c, const char *object, struct err *err)
{
	struct auditing a = { .change = c, .object = object };

	return store_txn(s, "audit", DB_TXN_SYNC, audit_add, &a, err);
}

static int
load_audit(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	const struct audit_entry *e = arg;
	const struct store_change c = { e->actor, e->action, e->address, e->request };
	struct key_bytes k = key_of(KEY_COUNTER, "audit", 5, NULL, 0);
	uint8_t b[8] = { 0 };
	int rc = get_main(at, txn, &k, b, sizeof b, NULL, DB_RMW);

	(void)err;
	if (rc != 0 && rc != DB_NOTFOUND)
		return rc;
	if (rc == DB_NOTFOUND || get_be64(b) < e->number) {
		put_be64(b, e->number);
		if ((rc = put_main(at, txn, &k, b, sizeof b, 0)) != 0)
			return rc;
	}
	return audit_put(at, txn, e->number, e->time_ms, &c, e->object, e->changes, e->changes_len);
}

int
tables_load_audit(struct store *s, const struct audit_entry *e, struct err *err)
{
	struct audit_entry copy = *e;

	return store_txn(s, "loading", DB_TXN_WRITE_NOSYNC, load_audit, &copy, err);
}

/* ---- writing ---- */

/*
 * Changes of records take this first, so that two of them wait for each other here and never meet
 * in the middle of the tree, where each may hold the page the other needs.
 */
static int
take_turn(struct attach *at, DB_TXN *txn)
{
	struct key_bytes k = key_of(KEY_COUNTER, "turn", 4, NULL, 0);
	uint8_t b[8];
	int rc = get_main(at, txn, &k, b, sizeof b, NULL, DB_RMW);

	return rc == DB_NOTFOUND ? 0 : rc;
}

struct writing {
	struct store *s;
	enum record_kind kind;
	const struct store_change *change;
	uint8_t *record; /* of count */
	size_t count;
	int64_t version;
	struct id id;
	const struct id *gone; /* of replace_all() */
	size_t gone_count;
	int tries;
	uint8_t *old; /* room for one */
	struct changes changes;
	uint8_t data[RECORD_BINARY_MAX], spare[RECORD_BINARY_MAX];
};

static const char *
name_of(enum record_kind kind, const void *record)
{
	const struct field *f = record_name_field(kind);

	return f == NULL ? NULL : (const char *)record + f->offset;
}

/* The same but for the fields of the head that the store sets. */
static bool
same_content(struct writing *w, const void *stored, const void *wanted, size_t wanted_len,
	const uint8_t *wanted_data)
{
	struct record *copy = (struct record *)(void *)w->old;
	const struct record *head = wanted;
	ptrdiff_t len;

	if (stored != w->old)
		memcpy(w->old, stored, record_bytes(w->kind));
	copy->created_ms = head->created_ms;
	copy->updated_ms = head->updated_ms;
	copy->version = head->version;
	len = record_encode(w->kind, w->old, w->spare, sizeof w->spare);
	return len == (ptrdiff_t)wanted_len && memcmp(w->spare, wanted_data, wanted_len) == 0;
}

/* 0 taken for this id (or its already), WORK_FAILED with ERR_CONFLICT. */
static int
take_index(struct attach *at, DB_TXN *txn, const struct key_bytes *k, struct id id,
	const char *what, struct err *err)
{
	struct id owner;
	int rc = put_main(at, txn, k, id.b, sizeof id.b, DB_NOOVERWRITE);

	if (rc != DB_KEYEXIST)
		return rc;
	if ((rc = get_main(at, txn, k, owner.b, sizeof owner.b, NULL, 0)) != 0)
		return rc;
	if (id_equal(owner, id))
		return 0;
	(void)err_set(err, ERR_CONFLICT, "this %s is taken", what);
	(void)err_say(err, "This %s is taken already; choose another.", what);
	return WORK_FAILED;
}

static bool
has_hash(const uint8_t sha256[SHA256_BYTES])
{
	static const uint8_t none[SHA256_BYTES];

	return memcmp(sha256, none, SHA256_BYTES) != 0;
}

static struct key_bytes
key_of_hash(const uint8_t sha256[SHA256_BYTES])
{
	return key_of(KEY_HASH, sha256, SHA256_BYTES, NULL, 0);
}

static int
take_indexes(
	struct attach *at, DB_TXN *txn, enum record_kind kind, const void *record, struct err *err)
{
	const struct record *head = record;
	const char *name = name_of(kind, record);
	struct key_bytes k;
	int rc = 0;

	if (name != NULL) {
		k = key_of_name(kind, name);
		rc = take_index(at, txn, &k, head->id, "name", err);
	}
	if (rc == 0 && kind == RECORD_TOKEN) {
		k = key_of_hash(((const struct token *)record)->sha256);
		rc = take_index(at, txn, &k, head->id, "secret", err);
	}
	if (rc == 0 && kind == RECORD_TOKEN &&
		has_hash(((const struct token *)record)->old_sha256)) {
		k = key_of_hash(((const struct token *)record)->old_sha256);
		rc = take_index(at, txn, &k, head->id, "secret", err);
	}
	return rc;
}

/* Is that one of the token's secrets?  NULL has none. */
static bool
holds_hash(const struct token *t, const uint8_t sha256[SHA256_BYTES])
{
	return t != NULL && (memcmp(t->sha256, sha256, SHA256_BYTES) == 0 ||
				    memcmp(t->old_sha256, sha256, SHA256_BYTES) == 0);
}

/* Frees what `old` held and `record` (NULL: deleted) does not. */
static int
free_indexes(
	struct attach *at, DB_TXN *txn, enum record_kind kind, const void *old, const void *record)
{
	const char *name = name_of(kind, old);
	struct key_bytes k;
	int rc = 0;

	if (name != NULL && (record == NULL || strcmp(name, name_of(kind, record)) != 0)) {
		k = key_of_name(kind, name);
		rc = delete_main(at, txn, &k);
	}
	if (kind == RECORD_TOKEN && (rc == 0 || rc == DB_NOTFOUND)) {
		const struct token *was = old;
		const uint8_t *hashes[2];

		assert(was != NULL);
		hashes[0] = was->sha256;
		hashes[1] = was->old_sha256;
		for (int i = 0; i < 2 && (rc == 0 || rc == DB_NOTFOUND); i++) {
			if (!has_hash(hashes[i]) || holds_hash(record, hashes[i]))
				continue;
			k = key_of_hash(hashes[i]);
			rc = delete_main(at, txn, &k);
		}
	}
	if (kind == RECORD_KEY && record == NULL && (rc == 0 || rc == DB_NOTFOUND))
		rc = access_forget(at, txn, ((const struct record *)old)->id);
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
encode(struct writing *w, const void *record, size_t *len, struct err *err)
{
	ptrdiff_t n = record_encode(w->kind, record, w->data, sizeof w->data);

	if (n < 0) {
		(void)err_set(err, ERR_PARAM_NOT_ALLOWED,
			"the %s is too large, or was written by a newer version with more than "
			"this one "
			"can keep",
			record_name(w->kind));
		return WORK_FAILED;
	}
	*len = (size_t)n;
	return 0;
}

/* 0 with w->old decoded, DB_NOTFOUND, or another. */
static int
load_old(struct writing *w, struct attach *at, DB_TXN *txn, struct id id, struct err *err)
{
	struct key_bytes k = key_of_record(w->kind, id);
	size_t len;
	int rc = get_main(at, txn, &k, w->spare, sizeof w->spare, &len, DB_RMW);

	if (rc == 0 && record_decode(w->kind, w->spare, len, w->old) != 0) {
		(void)damaged(w->s, w->kind, id, err);
		return WORK_FAILED;
	}
	return rc;
}

/* A limit says what its amounts are; of a grant its limit does. */
static bool
amounts_are_money(struct writing *w, struct attach *at, DB_TXN *txn, const void *record)
{
	struct key_bytes k;
	struct limit limit;
	size_t len;

	if (w->kind == RECORD_LIMIT)
		return ((const struct limit *)record)->metric == METRIC_COST;
	if (w->kind != RECORD_GRANT)
		return false;
	k = key_of_record(RECORD_LIMIT, ((const struct grant *)record)->limit);
	return get_main(at, txn, &k, w->spare, sizeof w->spare, &len, 0) == 0 &&
	       record_decode(RECORD_LIMIT, w->spare, len, &limit) == 0 &&
	       limit.metric == METRIC_COST;
}

/* Either NULL: made now, gone now. */
static void
note_change(
	struct writing *w, struct attach *at, DB_TXN *txn, const void *before, const void *after)
{
	if (w->change != NULL && !changes_full(&w->changes))
		changes_add(&w->changes, w->kind, before, after,
			amounts_are_money(w, at, txn, after != NULL ? after : before));
}

/* Every try of a transaction begins so. */
static int
begin_writing(struct writing *w, struct attach *at, DB_TXN *txn)
{
	changes_begin(&w->changes);
	return take_turn(at, txn);
}

static int
create_one(struct writing *w, struct attach *at, DB_TXN *txn, void *record, bool *repeated,
	struct err *err)
{
	struct record *head = record;
	struct key_bytes k = key_of_record(w->kind, head->id);
	size_t len;
	int rc;

	*repeated = false;
	if ((rc = encode(w, record, &len, err)) != 0)
		return rc;
	rc = put_main(at, txn, &k, w->data, len, DB_NOOVERWRITE);
	if (rc == 0)
		return take_indexes(at, txn, w->kind, record, err);
	if (rc != DB_KEYEXIST)
		return rc;
	if ((rc = load_old(w, at, txn, head->id, err)) != 0)
		return rc;
	{
		struct record was = *(const struct record *)(const void *)w->old;

		if (!same_content(w, w->old, record, len, w->data)) {
			(void)err_set(err, ERR_CONFLICT, "this id is taken");
			return WORK_FAILED;
		}
		head->created_ms = was.created_ms;
		head->updated_ms = was.updated_ms;
		head->version = was.version;
		*repeated = true;
		return 0;
	}
}

static int
create_all(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct writing *w = arg;
	size_t bytes = record_bytes(w->kind), fresh = 0;
	char object[ID_TEXT_BYTES];
	int rc = begin_writing(w, at, txn);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < w->count; i++) {
		bool repeated;

		rc = create_one(w, at, txn, w->record + i * bytes, &repeated, err);
		if (rc != 0)
			return rc;
		fresh += !repeated;
		if (!repeated)
			note_change(w, at, txn, NULL, w->record + i * bytes);
	}
	if (fresh == 0)
		return 0;
	if (w->count == 1)
		id_text(record_prefix(w->kind),
			((const struct record *)(const void *)w->record)->id, object);
	else
		(void)snprintf(object, sizeof object, "%zu %s", fresh, record_plural(w->kind));
	return audit_write(at, txn, w->change, object, &w->changes);
}

static int
update_one(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct writing *w = arg;
	void *record = w->record;
	struct record *head = record;
	const struct record *was = (const struct record *)(const void *)w->old;
	struct key_bytes k = key_of_record(w->kind, head->id);
	char object[ID_TEXT_BYTES];
	size_t len;
	int rc = begin_writing(w, at, txn);

	if (rc == 0)
		rc = load_old(w, at, txn, head->id, err);
	id_text(record_prefix(w->kind), head->id, object);
	if (rc == DB_NOTFOUND) {
		(void)err_set(err, ERR_NOT_FOUND, "%s is not there", object);
		return WORK_FAILED;
	}
	if (rc != 0)
		return rc;
	head->created_ms = was->created_ms;
	head->version = was->version + 1;
	if (w->version != 0 && was->version != w->version) {
		/* Ours, whose commit we were not told of? */
		if (was->version == w->version + 1) {
			struct record stored = *was;

			head->version = was->version;
			if ((rc = encode(w, record, &len, err)) != 0)
				return rc;
			if (same_content(w, w->old, record, len, w->data)) {
				head->updated_ms = stored.updated_ms;
				return 0;
			}
		}
		(void)err_set(err, ERR_STALE, "%s was changed meanwhile", object);
		return WORK_FAILED;
	}
	if ((rc = encode(w, record, &len, err)) != 0)
		return rc;
	if ((rc = free_indexes(at, txn, w->kind, w->old, record)) != 0 ||
		(rc = take_indexes(at, txn, w->kind, record, err)) != 0 ||
		(rc = put_main(at, txn, &k, w->data, len, 0)) != 0)
		return rc;
	note_change(w, at, txn, w->old, record);
	return audit_write(at, txn, w->change, object, &w->changes);
}

static int
delete_one(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct writing *w = arg;
	struct key_bytes k = key_of_record(w->kind, w->id);
	char object[ID_TEXT_BYTES];
	int rc = begin_writing(w, at, txn);

	if (rc == 0)
		rc = load_old(w, at, txn, w->id, err);
	id_text(record_prefix(w->kind), w->id, object);
	if (rc == DB_NOTFOUND) {
		/* A second try after a recovery: the first one may have got through. */
		if (w->tries++ > 0)
			return 0;
		(void)err_set(err, ERR_NOT_FOUND, "%s is not there", object);
		return WORK_FAILED;
	}
	if (rc != 0)
		return rc;
	w->tries++;
	if ((rc = free_indexes(at, txn, w->kind, w->old, NULL)) != 0 ||
		(rc = delete_main(at, txn, &k)) != 0)
		return rc;
	note_change(w, at, txn, w->old, NULL);
	return audit_write(at, txn, w->change, object, &w->changes);
}

/* One of many; audited together.  w->record is all of them. */
static int
replace_one(struct writing *w, struct attach *at, DB_TXN *txn, void *record, struct err *err)
{
	struct record *head = record;
	struct key_bytes k = key_of_record(w->kind, head->id);
	const struct record *was = (const struct record *)(const void *)w->old;
	size_t len;
	int rc = load_old(w, at, txn, head->id, err), old = rc;

	if (rc != 0 && rc != DB_NOTFOUND)
		return rc;
	head->created_ms = old == 0 ? was->created_ms : head->updated_ms;
	head->version = old == 0 ? was->version + 1 : 1;
	if ((rc = encode(w, record, &len, err)) != 0 ||
		(old == 0 && (rc = free_indexes(at, txn, w->kind, w->old, record)) != 0) ||
		(rc = take_indexes(at, txn, w->kind, record, err)) != 0)
		return rc;
	note_change(w, at, txn, old == 0 ? w->old : NULL, record);
	return put_main(at, txn, &k, w->data, len, 0);
}

static int
remove_one(struct writing *w, struct attach *at, DB_TXN *txn, struct id id, struct err *err)
{
	struct key_bytes k = key_of_record(w->kind, id);
	int rc = load_old(w, at, txn, id, err);

	if (rc == 0 && (rc = free_indexes(at, txn, w->kind, w->old, NULL)) == 0 &&
		(rc = delete_main(at, txn, &k)) == 0)
		note_change(w, at, txn, w->old, NULL);
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
replace_all(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct writing *w = arg;
	char object[ID_TEXT_BYTES];
	int rc = begin_writing(w, at, txn);

	for (size_t i = 0; i < w->gone_count && rc == 0; i++)
		rc = remove_one(w, at, txn, w->gone[i], err);
	for (size_t i = 0; i < w->count && rc == 0; i++)
		rc = replace_one(w, at, txn, w->record + i * record_bytes(w->kind), err);
	if (rc != 0)
		return rc;
	(void)snprintf(
		object, sizeof object, "%zu %s", w->count + w->gone_count, record_plural(w->kind));
	return audit_write(at, txn, w->change, object, &w->changes);
}

static int
write_records(struct store *s, struct writing *w, const char *what,
	int (*fn)(struct attach *at, DB_TXN *txn, void *arg, struct err *err), struct err *err)
{
	int rc;

	w->s = s;
	if ((w->old = malloc(record_bytes(w->kind))) == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	rc = store_txn(s, what, DB_TXN_SYNC, fn, w, err);
	free(w->old);
	if (rc == 0 && s->on_change != NULL)
		s->on_change(s->on_change_ctx, w->kind);
	return rc;
}

static int
check_name(enum record_kind kind, const void *record, struct err *err)
{
	const char *name = name_of(kind, record);

	if (name != NULL && name[0] == '\0')
		return err_set(err, ERR_PARAM_NOT_ALLOWED, "a %s needs a name", record_name(kind));
	return 0;
}

int
store_create_many(struct store *s, enum record_kind kind, void *records, size_t count,
	const struct store_change *c, struct err *err)
{
	struct writing w = { .kind = kind, .change = c, .record = records, .count = count };
	int64_t now = clock_wall_ms();

	for (size_t i = 0; i < count; i++) {
		struct record *head = (struct record *)(void *)(w.record + i * record_bytes(kind));

		if (check_name(kind, head, err) != 0)
			return -1;
		if (id_is_none(head->id))
			head->id = id_random();
		head->created_ms = head->updated_ms = now;
		head->version = 1;
	}
	return count == 0 ? 0 : write_records(s, &w, "creating", create_all, err);
}

int
store_replace_many(struct store *s, enum record_kind kind, void *records, size_t count,
	const struct id *gone, size_t gone_count, const struct store_change *c, struct err *err)
{
	struct writing w = { .kind = kind,
		.change = c,
		.record = records,
		.count = count,
		.gone = gone,
		.gone_count = gone_count };
	int64_t now = clock_wall_ms();

	for (size_t i = 0; i < count; i++) {
		struct record *head = (struct record *)(void *)(w.record + i * record_bytes(kind));

		if (check_name(kind, head, err) != 0)
			return -1;
		head->updated_ms = now;
	}
	return count + gone_count == 0 ? 0 : write_records(s, &w, "replacing", replace_all, err);
}

int
tables_load_records(
	struct store *s, enum record_kind kind, void *records, size_t count, struct err *err)
{
	struct writing w = { .kind = kind, .record = records, .count = count };

	return count == 0 ? 0 : write_records(s, &w, "loading", create_all, err);
}

int
store_create(struct store *s, enum record_kind kind, void *record, const struct store_change *c,
	struct err *err)
{
	return store_create_many(s, kind, record, 1, c, err);
}

int
store_update(struct store *s, enum record_kind kind, void *record, int64_t version,
	const struct store_change *c, struct err *err)
{
	struct writing w = {
		.kind = kind, .change = c, .record = record, .count = 1, .version = version
	};

	if (check_name(kind, record, err) != 0)
		return -1;
	((struct record *)record)->updated_ms = clock_wall_ms();
	return write_records(s, &w, "changing", update_one, err);
}

int
store_delete(struct store *s, enum record_kind kind, struct id id, const struct store_change *c,
	struct err *err)
{
	struct writing w = { .kind = kind, .change = c, .id = id };

	return write_records(s, &w, "deleting", delete_one, err);
}

void
store_on_change(struct store *s, void (*fn)(void *ctx, enum record_kind kind), void *ctx)
{
	s->on_change = fn;
	s->on_change_ctx = ctx;
}

/* ---- small values ---- */

struct value {
	struct key_bytes key;
	bool there;
	size_t len;
	uint8_t data[SETTING_BYTES];
};

static int
value_key(struct value *v, const char *name, struct err *err)
{
	size_t len = strlen(name);

	if (len == 0 || len > KEY_MAX - 2)
		return err_set(err, ERR_PARAM_NOT_ALLOWED, "a value's name has 1 to %d bytes",
			KEY_MAX - 2);
	v->key = key_of(KEY_VALUE, name, len, NULL, 0);
	return 0;
}

static int
value_get(struct attach *at, void *arg, struct err *err)
{
	struct value *v = arg;
	int rc = get_main(at, NULL, &v->key, v->data, sizeof v->data, &v->len, 0);

	(void)err;
	v->there = rc == 0;
	return rc == DB_NOTFOUND ? 0 : rc;
}

ptrdiff_t
store_value_get(struct store *s, const char *name, void *out, size_t room, struct err *err)
{
	struct value v;

	if (value_key(&v, name, err) != 0 || store_call(s, "reading", value_get, &v, err) != 0)
		return -1;
	if (!v.there)
		return 0;
	if (v.len > room)
		return err_set(err, ERR_INTERNAL, "value %s is longer than %zu bytes", name, room);
	memcpy(out, v.data, v.len);
	return (ptrdiff_t)v.len;
}

static int
value_put(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct value *v = arg;

	(void)err;
	return put_main(at, txn, &v->key, v->data, v->len, 0);
}

int
store_value_put(struct store *s, const char *name, const void *data, size_t len, struct err *err)
{
	struct value v;

	if (value_key(&v, name, err) != 0)
		return -1;
	if (len == 0 || len > sizeof v.data)
		return err_set(err, ERR_PARAM_NOT_ALLOWED, "value %s needs 1 to %d bytes", name,
			SETTING_BYTES);
	memcpy(v.data, data, len);
	v.len = len;
	return store_txn(s, "writing", DB_TXN_SYNC, value_put, &v, err);
}

static int
value_delete(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct value *v = arg;
	int rc = delete_main(at, txn, &v->key);

	(void)err;
	return rc == DB_NOTFOUND ? 0 : rc;
}

int
store_value_delete(struct store *s, const char *name, struct err *err)
{
	struct value v;

	if (value_key(&v, name, err) != 0)
		return -1;
	return store_txn(s, "deleting", DB_TXN_SYNC, value_delete, &v, err);
}

struct each_value {
	bool (*fn)(void *ctx, const char *name, struct span value);
	void *ctx;
};

static bool
each_value(void *ctx, struct span key, struct span data, struct err *err)
{
	struct each_value *e = ctx;
	char name[KEY_MAX];

	(void)err;
	(void)span_copy((struct span){ key.at + 1, key.len - 1 }, name, sizeof name);
	return e->fn(e->ctx, name, data);
}

int
store_value_each(struct store *s, const char *prefix,
	bool (*fn)(void *ctx, const char *name, struct span value), void *ctx, struct err *err)
{
	struct each_value e = { .fn = fn, .ctx = ctx };
	struct walk *w;
	struct err scratch;
	size_t len = strlen(prefix);
	int rc;

	if (len > KEY_MAX - 2)
		return 0;
	if ((w = malloc(sizeof *w)) == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	w->from = w->prefix = key_of(KEY_VALUE, prefix, len, NULL, 0);
	w->behind = false;
	w->back = false;
	rc = walk(s, w, each_value, &e, err != NULL ? err : &scratch);
	free(w);
	return rc;
}
