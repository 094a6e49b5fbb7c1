/*
 * vault.c - rows of the main table, found by a digest of project and key; and a list of them by the time
 * they came, from whose beginning the oldest go.
 *
 * One counter holds the sum of bytes.  It is read for writing first of all, so writers queue there and
 * never wait for one another in a ring.  Committed without a sync: what a machine that dies loses is a
 * cache.
 */
#include "store/vault.h"

#include "base/hash.h"
#include "store/store-int.h"
#include <stdlib.h>
#include <string.h>

#define DIGEST_BYTES 16
#define DROPS_MOST                                                                                 \
	VAULT_SWEEP_MOST /* rows that go in one transaction: each holds locks until its end */

struct vault_head { /* a row's beginning on disk; the record follows */
	int64_t until_ms, came_ms;
};

#define ROW_KEY_BYTES (1 + DIGEST_BYTES)
#define AGE_KEY_BYTES (1 + 8 + DIGEST_BYTES)

struct put {
	struct id project;
	const struct vault_record *records;
	size_t count;
	int64_t now_ms, until_ms, cap_bytes;
	char *room; /* head and record, as they are written */
	bool over;  /* after the transaction: there is still more than the cap allows */
};

static const char total_key[] = { KEY_COUNTER, 'v', 'a', 'u', 'l', 't' };

/* ---- keys ---- */

static void
row_key(struct id project, const char *key, uint8_t out[ROW_KEY_BYTES])
{
	uint8_t text[sizeof(struct id) + VAULT_KEY_BYTES];
	uint8_t digest[SHA256_BYTES];
	size_t len = strnlen(key, VAULT_KEY_BYTES);

	memcpy(text, &project, sizeof project);
	memcpy(text + sizeof project, key, len);
	hash_sha256(text, sizeof project + len, digest);
	out[0] = KEY_VAULT;
	memcpy(out + 1, digest, DIGEST_BYTES);
}

static void
age_key(int64_t came_ms, const uint8_t row[ROW_KEY_BYTES], uint8_t out[AGE_KEY_BYTES])
{
	out[0] = KEY_VAULT_AGE;
	put_be64(out + 1, (uint64_t)came_ms);
	memcpy(out + 9, row + 1, DIGEST_BYTES);
}

/* What a row is counted with: both its keys and all it holds. */
static int64_t
weight(size_t record)
{
	return (int64_t)(ROW_KEY_BYTES + AGE_KEY_BYTES + sizeof(struct vault_head) + record);
}

/* ---- the sum ---- */

static int
get_total(struct attach *at, DB_TXN *txn, int64_t *total)
{
	uint8_t b[8];
	DBT key, data;
	int rc;

	dbt_in(&key, total_key, sizeof total_key);
	dbt_out(&data, b, sizeof b);
	rc = at->table[TABLE_MAIN]->get(
		at->table[TABLE_MAIN], txn, &key, &data, txn == NULL ? 0 : DB_RMW);
	*total = rc == 0 ? (int64_t)get_be64(b) : 0;
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
put_total(struct attach *at, DB_TXN *txn, int64_t total)
{
	uint8_t b[8];
	DBT key, data;

	put_be64(b, (uint64_t)total);
	dbt_in(&key, total_key, sizeof total_key);
	dbt_in(&data, b, sizeof b);
	return at->table[TABLE_MAIN]->put(at->table[TABLE_MAIN], txn, &key, &data, 0);
}

/* ---- rows ---- */

/* The head of a row and the length of its record; DB_NOTFOUND. */
static int
get_head(struct attach *at, DB_TXN *txn, const uint8_t k[ROW_KEY_BYTES], struct vault_head *head,
	size_t *record)
{
	DBT key, data;
	int rc;

	dbt_in(&key, k, ROW_KEY_BYTES);
	dbt_out(&data, head, sizeof *head);
	data.flags |= DB_DBT_PARTIAL;
	data.dlen = sizeof *head;
	rc = at->table[TABLE_MAIN]->get(at->table[TABLE_MAIN], txn, &key, &data, DB_RMW);
	if (rc != 0)
		return rc;
	if (data.size < sizeof *head)
		return DB_NOTFOUND;
	dbt_out(&data, NULL, 0);
	rc = at->table[TABLE_MAIN]->get(at->table[TABLE_MAIN], txn, &key, &data, 0);
	*record = data.size > sizeof *head ? data.size - sizeof *head : 0;
	return rc == DB_BUFFER_SMALL ? 0 : rc;
}

static int
delete_key(struct attach *at, DB_TXN *txn, const uint8_t *k, size_t len)
{
	DBT key;
	int rc;

	dbt_in(&key, k, len);
	rc = at->table[TABLE_MAIN]->del(at->table[TABLE_MAIN], txn, &key, 0);
	return rc == DB_NOTFOUND ? 0 : rc;
}

/* Takes a row out, if it is there, with its place in the list. */
static int
drop_row(struct attach *at, DB_TXN *txn, const uint8_t k[ROW_KEY_BYTES], int64_t *total)
{
	struct vault_head head;
	uint8_t age[AGE_KEY_BYTES];
	size_t record;
	int rc = get_head(at, txn, k, &head, &record);

	if (rc != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	age_key(head.came_ms, k, age);
	if ((rc = delete_key(at, txn, age, sizeof age)) != 0 ||
		(rc = delete_key(at, txn, k, ROW_KEY_BYTES)) != 0)
		return rc;
	*total -= weight(record);
	return 0;
}

static int
put_row(struct attach *at, DB_TXN *txn, const struct put *p, const struct vault_record *r,
	int64_t *total)
{
	struct vault_head head = { .until_ms = p->until_ms, .came_ms = p->now_ms };
	uint8_t k[ROW_KEY_BYTES], age[AGE_KEY_BYTES];
	DBT key, data;
	int rc;

	row_key(p->project, r->key, k);
	if ((rc = drop_row(at, txn, k, total)) != 0)
		return rc;
	memcpy(p->room, &head, sizeof head);
	memcpy(p->room + sizeof head, r->record.at, r->record.len);
	dbt_in(&key, k, sizeof k);
	dbt_in(&data, p->room, sizeof head + r->record.len);
	if ((rc = at->table[TABLE_MAIN]->put(at->table[TABLE_MAIN], txn, &key, &data, 0)) != 0)
		return rc;
	age_key(p->now_ms, k, age);
	dbt_in(&key, age, sizeof age);
	dbt_in(&data, &head.until_ms, sizeof head.until_ms);
	*total += weight(r->record.len);
	return at->table[TABLE_MAIN]->put(at->table[TABLE_MAIN], txn, &key, &data, 0);
}

/* The oldest's place in the list and its end; DB_NOTFOUND when the list is empty. */
static int
oldest(struct attach *at, DB_TXN *txn, uint8_t age[AGE_KEY_BYTES], int64_t *until_ms)
{
	uint8_t found[KEY_MAX] = { KEY_VAULT_AGE };
	DBC *cursor;
	DBT key, data;
	int rc = at->table[TABLE_MAIN]->cursor(at->table[TABLE_MAIN], txn, &cursor, 0), closed;

	if (rc != 0)
		return rc;
	dbt_out(&key, found, sizeof found);
	key.size = 1;
	dbt_out(&data, until_ms, sizeof *until_ms);
	data.flags |= DB_DBT_PARTIAL; /* behind the list's end are entries of other sizes */
	data.dlen = sizeof *until_ms;
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE);
	closed = cursor->close(cursor);
	if (rc == 0 && (found[0] != KEY_VAULT_AGE || key.size != AGE_KEY_BYTES))
		rc = DB_NOTFOUND;
	memcpy(age, found, AGE_KEY_BYTES);
	return rc != 0 ? rc : closed;
}

/* Lets at most DROPS_MOST rows go, from the oldest on, while more than cap_bytes are held or their time
 * is up. */
static int
drop_oldest(struct attach *at, DB_TXN *txn, int64_t cap_bytes, int64_t now_ms, int64_t *total,
	int *dropped)
{
	uint8_t age[AGE_KEY_BYTES], k[ROW_KEY_BYTES] = { KEY_VAULT };
	int64_t until_ms = 0;
	int rc = 0;

	for (*dropped = 0; rc == 0 && *dropped < DROPS_MOST; ++*dropped) {
		rc = oldest(at, txn, age, &until_ms);
		if (rc == DB_NOTFOUND) {
			*total = 0; /* an empty list is empty, whatever the sum has become */
			return 0;
		}
		if (rc != 0 || (*total <= cap_bytes && until_ms > now_ms))
			return rc;
		memcpy(k + 1, age + 9, DIGEST_BYTES);
		/* its place first, and for itself: one whose row is not there would be found for ever */
		if ((rc = delete_key(at, txn, age, sizeof age)) == 0)
			rc = drop_row(at, txn, k, total);
	}
	return rc;
}

static int
put_all(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct put *p = arg;
	int64_t total;
	int rc = get_total(at, txn, &total), dropped = 0;

	(void)err;
	for (size_t i = 0; rc == 0 && i < p->count; i++)
		rc = put_row(at, txn, p, &p->records[i], &total);
	if (rc == 0 && total > p->cap_bytes)
		rc = drop_oldest(at, txn, p->cap_bytes, p->now_ms, &total, &dropped);
	p->over = total > p->cap_bytes && dropped == DROPS_MOST;
	return rc != 0 ? rc : put_total(at, txn, total);
}

/* The thread may be abandoned and its caller's records be freed by who takes over, so it has its own: in one
 * piece, the text behind the records.  NULL: no memory. */
static struct vault_record *
copy_records(const struct vault_record *records, size_t count)
{
	struct vault_record *copy;
	size_t bytes = count * sizeof *copy;
	char *text;

	for (size_t i = 0; i < count; i++)
		bytes += records[i].record.len;
	copy = malloc(bytes + 1);
	if (copy == NULL)
		return NULL;
	text = (char *)(copy + count);
	for (size_t i = 0; i < count; i++) {
		copy[i] = records[i];
		copy[i].record.at = text;
		memcpy(text, records[i].record.at, records[i].record.len);
		text += records[i].record.len;
	}
	return copy;
}

int
store_vault_put(struct store *s, struct id project, const struct vault_record *records,
	size_t count, int64_t now_ms, int64_t until_ms, int64_t cap_bytes, struct err *err)
{
	struct put p = { project, NULL, count, now_ms, until_ms, cap_bytes, NULL, false };
	struct vault_record *copy;
	size_t most = 0;
	int rc;

	if (count > VAULT_PUT_MAX)
		return err_set(err, ERR_INTERNAL, "%zu records at once for the vault", count);
	for (size_t i = 0; i < count; i++) {
		if (records[i].record.len > VAULT_RECORD_MAX)
			return err_set(err, ERR_INTERNAL, "a record of %zu bytes for the vault",
				records[i].record.len);
		most = records[i].record.len > most ? records[i].record.len : most;
	}
	p.room = malloc(sizeof(struct vault_head) + most);
	p.records = copy = copy_records(records, count);
	if (p.room == NULL || copy == NULL) {
		free(p.room);
		free(copy);
		return err_set(err, ERR_MEMORY, "no memory for records of the vault");
	}
	do { /* after the first time only what is left to go: a cap that was lowered, many small ones */
		rc = store_txn(s, "keeping signatures", DB_TXN_WRITE_NOSYNC, put_all, &p, err);
		p.count = 0;
	} while (rc == 0 && p.over);
	free(copy);
	free(p.room);
	return rc;
}

/* ---- reading ---- */

struct get {
	uint8_t key[ROW_KEY_BYTES];
	char *room;
	size_t bytes, len;
};

static int
get_row(struct attach *at, void *arg, struct err *err)
{
	struct get *g = arg;
	DBT key, data;
	int rc;

	(void)err;
	g->len = 0;
	dbt_in(&key, g->key, sizeof g->key);
	dbt_out(&data, g->room, g->bytes);
	rc = at->table[TABLE_MAIN]->get(at->table[TABLE_MAIN], NULL, &key, &data, 0);
	if (rc == 0)
		g->len = data.size;
	return rc == DB_NOTFOUND || rc == DB_BUFFER_SMALL ? 0 : rc;
}

int
store_vault_get(struct store *s, struct id project, const char *key, int64_t now_ms, void *room,
	size_t room_bytes, size_t *len, struct err *err)
{
	struct get g = { .bytes = sizeof(struct vault_head) + room_bytes };
	struct vault_head head;
	int rc;

	g.room = malloc(g.bytes);
	if (g.room == NULL)
		return err_set(err, ERR_MEMORY, "no memory for a record of the vault");
	row_key(project, key, g.key);
	rc = store_call(s, "looking for signatures", get_row, &g, err);
	if (rc == 0 && g.len > sizeof head) {
		memcpy(&head, g.room, sizeof head);
		*len = g.len - sizeof head;
		rc = head.until_ms > now_ms;
		if (rc == 1)
			memcpy(room, g.room + sizeof head, *len);
	}
	free(g.room);
	return rc;
}

/* ---- the end of their time ---- */

struct sweep {
	int64_t now_ms;
	int count;
};

static int
sweep(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct sweep *w = arg;
	int64_t total;
	int rc = get_total(at, txn, &total);

	(void)err;
	if (rc == 0)
		rc = drop_oldest(at, txn, INT64_MAX, w->now_ms, &total, &w->count);
	return rc != 0 ? rc : put_total(at, txn, total);
}

int
store_vault_sweep(struct store *s, int64_t now_ms, struct err *err)
{
	struct sweep w = { .now_ms = now_ms, .count = 0 };

	if (store_txn(s, "sweeping signatures", DB_TXN_WRITE_NOSYNC, sweep, &w, err) != 0)
		return -1;
	return w.count;
}

static int
total(struct attach *at, void *arg, struct err *err)
{
	(void)err;
	return get_total(at, NULL, arg);
}

int64_t
store_vault_bytes(struct store *s, struct err *err)
{
	int64_t bytes = 0;

	return store_call(s, "measuring signatures", total, &bytes, err) != 0 ? -1 : bytes;
}
