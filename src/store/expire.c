/*
 * expire.c - forgetting what has had its time, and keeping the store below its cap.
 *
 * Nothing here looks through what stays: sums and postings go as ranges of keys from the oldest on,
 * rows from the queue's head, whose files go with their last row.  The files of btrees do not shrink
 * but fill their free pages again, so what they have taken is taken from the rows.
 */
#include "store/usage-int.h"

#include "base/clock.h"
#include "base/log.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOKED_KEPT   HOUR_MS /* at least; as long as its row otherwise */
#define BOOKED_LEAST  (10 * MINUTE_MS)
#define ROWS_CAP      (500LL << 20)
#define ROWS_OF_FILE  13312 /* 512 pages of 26: the first one is there until its last row goes */
#define EXPIRE_DELETE 2000  /* a transaction */
#define EXPIRE_MS     2000  /* a call, for each kind */
#define LEVEL_MOST    5
#define DAYS_AT_ONE   (1024 * DAY_MS)
#define KEY_ROOM      64

struct expiring {
	int64_t now, cap;
	int level;
	int64_t booked_bytes;
	int64_t rows_before; /* rows of before then have had their time; 0: none */
	uint32_t keep_rows;
	/* one transaction's work */
	int by, step;
	int deleted;
};

/* ---- how much there may be ---- */

static int64_t
file_bytes(const struct store *s, const char *name)
{
	char path[4096];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/%s", s->home, name);
	return stat(path, &st) == 0 ? (int64_t)st.st_blocks * 512 : 0;
}

/* Rows get what the others leave, less the first file, of which only the last row may be left, and
 * less what may come until the next look. */
static uint32_t
rows_allowed(int64_t cap, int64_t others)
{
	int64_t rows = (cap - cap / 16 - others) / ROW_DISK_BYTES - ROWS_OF_FILE;
	int64_t least = cap / ROW_DISK_BYTES / 4;

	if (rows < least)
		rows = least;
	return rows > INT32_MAX / 2 ? INT32_MAX / 2 : rows < 1 ? 1 : (uint32_t)rows;
}

static int64_t
cap_of(const struct store *s)
{
	return s->rows_cap_bytes > 0 ? s->rows_cap_bytes : ROWS_CAP;
}

struct bounds {
	uint32_t first, next;
};

static int
get_bounds(struct attach *at, void *arg, struct err *err)
{
	struct bounds *b = arg;

	(void)err;
	return rows_bounds(at, &b->first, &b->next);
}

/* Where the queue begins and ends, with all deletions before it safe. */
static int
sync_bounds(struct attach *at, void *arg, struct err *err)
{
	struct bounds *b = arg;
	int rc = get_bounds(at, b, err);

	return rc != 0 ? rc : at->env->log_flush(at->env, NULL);
}

bool
expire_due(struct store *s)
{
	int64_t others = file_bytes(s, "rollups.db") + file_bytes(s, "booked.db") +
			 file_bytes(s, "decisions.db");
	struct bounds b;
	struct err err = { 0 };

	return store_call(s, "expiring", get_bounds, &b, &err) == 0 &&
	       b.next - b.first > rows_allowed(cap_of(s), others);
}

/* Sums that take half of the cap and have grown since the last time go sooner. */
static int
sums_level(struct store *s, int64_t cap, int64_t bytes)
{
	struct expiry *e = &s->expiry;

	if (bytes > cap / 2 && e->sums_bytes > 0 && bytes > e->sums_bytes &&
		e->level < LEVEL_MOST) {
		e->level++;
		log_write(LOG_WARN, "store",
			"sums take %lld of %lld bytes and still grow: minutes are kept for %lld "
			"minutes now, hours for %lld hours; raise store_cap",
			(long long)bytes, (long long)cap,
			(long long)((MINUTES_KEPT >> e->level) / MINUTE_MS),
			(long long)((HOURS_KEPT >> e->level) / HOUR_MS));
	}
	if (bytes > e->sums_bytes)
		e->sums_bytes = bytes;
	return e->level;
}

/* ---- deleting ---- */

/* Deletes the keys of [from, to) from the start on, at most EXPIRE_DELETE. */
static int
delete_range(DB *db, DB_TXN *txn, const void *from, size_t from_len, const void *to, size_t to_len,
	int *deleted)
{
	uint8_t key_room[KEY_ROOM];
	DBT key, data;
	DBC *cursor;
	int rc, closed;

	*deleted = 0;
	if ((rc = db->cursor(db, txn, &cursor, 0)) != 0)
		return rc;
	memcpy(key_room, from, from_len);
	dbt_out(&key, key_room, sizeof key_room);
	key.size = (u_int32_t)from_len;
	data = (DBT){ .flags = DB_DBT_USERMEM | DB_DBT_PARTIAL }; /* nothing of it */
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE | DB_RMW);
	while (rc == 0 && *deleted < EXPIRE_DELETE) {
		size_t least_len = key.size < to_len ? key.size : to_len;
		int order = memcmp(key_room, to, least_len);

		if (order > 0 || (order == 0 && key.size >= to_len))
			break;
		if ((rc = cursor->del(cursor, 0)) != 0)
			break;
		++*deleted;
		rc = cursor->get(cursor, &key, &data, DB_NEXT | DB_RMW);
	}
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

static int
expire_sums(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct expiring *e = arg;
	int64_t kept = e->step == STEP_MINUTE ? MINUTES_KEPT
		       : e->step == STEP_HOUR ? HOURS_KEPT
					      : 2 * DAYS_AT_ONE;
	int64_t before = step_start(e->level > 0 && e->step == STEP_MINUTE ? STEP_HOUR : STEP_DAY,
		e->now - (kept >> e->level));
	struct sum_key from = sum_key_of(e->by, e->step, 0, NULL);
	struct sum_key to = sum_key_of(e->by, e->step, before, NULL);

	(void)err;
	e->deleted = 0;
	if (e->step == STEP_DAY && e->level == 0)
		return 0;
	return delete_range(
		at->table[TABLE_ROLLUPS], txn, from.at, from.len, to.at, to.len, &e->deleted);
}

/* Up to which row, from the first on, all are older than they are kept, with the holes between. */
static int
rows_too_old(
	struct attach *at, const struct expiring *e, uint32_t first, uint32_t end, uint32_t *to)
{
	struct stored_row row;

	*to = first;
	for (int i = 0; e->rows_before > 0 && i < EXPIRE_DELETE && recno_before(first, end); i++) {
		bool there = false;
		int rc = row_load(at, NULL, 0, first, &row, &there);

		if (rc != 0 && rc != DB_NOTFOUND)
			return rc;
		if (there && row.row.time_ms >= e->rows_before)
			break;
		if (++first == 0)
			first = 1;
		if (there)
			*to = first;
	}
	return 0;
}

/* Rows over the cap or too old, oldest first, of those that are folded.  Their files go when empty. */
static int
expire_rows(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct expiring *e = arg;
	DB *db = at->table[TABLE_ROWS];
	uint32_t first, next, old;
	struct folded folded;
	int rc;

	(void)err;
	e->deleted = 0;
	if ((rc = rows_bounds(at, &first, &next)) != 0 ||
		(rc = fold_position(at, NULL, 0, &folded)) != 0)
		return rc;
	if (folded.position == 0)
		return 0;
	if ((rc = rows_too_old(at, e, first, folded.position, &old)) != 0)
		return rc;
	while (e->deleted < EXPIRE_DELETE &&
		(next - first > e->keep_rows || recno_before(first, old)) &&
		recno_before(first, folded.position)) {
		db_recno_t number = first;
		DBT key;

		dbt_in(&key, &number, sizeof number);
		rc = db->del(db, txn, &key, 0);
		if (rc != 0 && rc != DB_NOTFOUND && rc != DB_KEYEMPTY)
			return rc;
		e->deleted++;
		if (++first == 0)
			first = 1;
	}
	return 0;
}

static int
delete_blocks(struct attach *at, DB_TXN *txn, uint32_t from, uint32_t to, int *deleted)
{
	uint8_t a[5] = { KEY_POSTING }, b[5] = { KEY_POSTING };

	put_be32(a + 1, from);
	put_be32(b + 1, to);
	return from < to ? delete_range(
				   at->table[TABLE_ROLLUPS], txn, a, sizeof a, b, sizeof b, deleted)
			 : 0;
}

/* Postings of blocks that have no row any more.  Record numbers wrap, and block numbers with them:
 * what is alive stands between the first row's and the last one's, or around the end. */
static int
expire_postings(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct expiring *e = arg;
	uint32_t first, next, from, to;
	int rc = rows_bounds(at, &first, &next);

	(void)err;
	e->deleted = 0;
	if (rc != 0)
		return rc;
	from = first >> BLOCK_SHIFT;
	to = next >> BLOCK_SHIFT;
	if (to < from)
		return delete_blocks(at, txn, to + 1, from, &e->deleted);
	return delete_blocks(at, txn, 0, from, &e->deleted);
}

static int
delete_decisions(struct attach *at, DB_TXN *txn, uint32_t from, uint32_t to, int *deleted)
{
	uint8_t a[4], b[4];

	put_be32(a, from);
	put_be32(b, to);
	return from < to ? delete_range(at->table[TABLE_DECISIONS], txn, a, sizeof a, b, sizeof b,
				   deleted)
			 : 0;
}

/* Of rows that are gone, as postings. */
static int
expire_decisions(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct expiring *e = arg;
	uint32_t first, next;
	int rc = rows_bounds(at, &first, &next);

	(void)err;
	e->deleted = 0;
	if (rc != 0 || at->table[TABLE_DECISIONS] == NULL)
		return rc;
	/* Who books has the number before us, so nothing near `next` is touched where numbers wrap. */
	if (next < first)
		return delete_decisions(at, txn, next + (1u << 24), first, &e->deleted);
	return delete_decisions(at, txn, 0, first, &e->deleted);
}

/* One that was booked long after it began stays as long as its row. */
static int
delete_booked(DB *db, DB_TXN *txn, struct id to, uint32_t first, int *deleted)
{
	struct id id = ID_NONE;
	uint8_t recno[4];
	DBT key, data;
	DBC *cursor;
	int rc, closed;

	if ((rc = db->cursor(db, txn, &cursor, 0)) != 0)
		return rc;
	dbt_out(&key, id.b, sizeof id.b);
	key.size = sizeof id.b;
	dbt_out(&data, recno, sizeof recno);
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE | DB_RMW);
	while (rc == 0 && *deleted < EXPIRE_DELETE && memcmp(id.b, to.b, sizeof id.b) < 0) {
		if (recno_before(get_be32(recno), first)) {
			if ((rc = cursor->del(cursor, 0)) != 0)
				break;
			++*deleted;
		}
		rc = cursor->get(cursor, &key, &data, DB_NEXT | DB_RMW);
	}
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

/* The first row that is there; *there false: none near the head. */
static int
first_row(struct attach *at, uint32_t first, uint32_t next, struct stored_row *row, bool *there)
{
	*there = false;
	for (int tries = 0; recno_before(first, next) && !*there && tries < 10000; tries++) {
		int rc = row_load(at, NULL, 0, first, row, there);

		if (rc != 0 && rc != DB_NOTFOUND)
			return rc;
		if (++first == 0)
			first = 1;
	}
	return 0;
}

/* Ids of exchanges whose rows are gone and that are too old to come again. */
static int
expire_booked(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct expiring *e = arg;
	struct stored_row row;
	struct id to = { { 0 } };
	uint32_t first, next;
	int64_t before = e->now - (e->booked_bytes > e->cap / 4 ? BOOKED_LEAST : BOOKED_KEPT);
	bool there = false;
	int rc;

	(void)err;
	e->deleted = 0;
	if ((rc = rows_bounds(at, &first, &next)) != 0 ||
		(rc = first_row(at, first, next, &row, &there)) != 0 || !there)
		return rc;
	/* The ids behind it have their rows: no need to pass over them. */
	if (id_time_ms(row.row.exchange) < before)
		before = id_time_ms(row.row.exchange);
	if (before <= 0)
		return 0;
	for (int i = 5; i >= 0; i--, before >>= 8)
		to.b[i] = (uint8_t)before;
	return delete_booked(at->table[TABLE_BOOKED], txn, to, first, &e->deleted);
}

/* ---- files ---- */

static uint32_t
file_of(uint32_t recno)
{
	return (recno - 1) / ROWS_OF_FILE;
}

/*
 * libdb unlinks a file of rows with the last handle that any process has open on it, which may be
 * days later, and never when that process is killed.  What stands before the queue's head nobody
 * reads or writes again, so its bytes can go at once; the name follows when nobody can have a page
 * of it in hand.  The deletions are on the disk first: nobody else deletes, we hold GATE_EXPIRE.
 */
static int
drop_leftovers(struct store *s, struct err *err)
{
	const uint32_t files = UINT32_MAX / ROWS_OF_FILE + 1;
	struct bounds b;
	struct dirent *e;
	DIR *d;

	if (store_call(s, "expiring", sync_bounds, &b, err) != 0)
		return -1;
	if ((d = opendir(s->home)) == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		uint32_t head = file_of(b.first);
		struct stat st;
		uint32_t file;
		char end;

		if (sscanf(e->d_name, "__dbq.rows.db.%" SCNu32 "%c", &file, &end) != 1 ||
			file == head || (head + files - file) % files > files / 2 ||
			fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (st.st_size > 0) {
			int fd = openat(dirfd(d), e->d_name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

			if (fd < 0)
				continue;
			(void)!ftruncate(fd, 0);
			(void)close(fd);
		} else if (clock_wall_ms() / 1000 - st.st_mtime > HOUR_MS / 1000) {
			(void)unlinkat(dirfd(d), e->d_name, 0);
		}
	}
	(void)closedir(d);
	return 0;
}

/* ---- the call ---- */

static int
expire_kind(struct store *s, struct expiring *e,
	int (*fn)(struct attach *at, DB_TXN *txn, void *arg, struct err *err), struct err *err)
{
	int64_t began = clock_boot_ms();

	do {
		if (store_txn(s, "expiring", DB_TXN_WRITE_NOSYNC, fn, e, err) != 0)
			return -1;
	} while (e->deleted == EXPIRE_DELETE && clock_boot_ms() - began < EXPIRE_MS);
	return 0;
}

int
store_expire(struct store *s, struct err *err)
{
	struct expiring e = { .now = clock_wall_ms(), .cap = cap_of(s) };
	int64_t sums_bytes;
	int rc = 0;

	if (!store_elect(s, GATE_EXPIRE))
		return 0;
	e.booked_bytes = file_bytes(s, "booked.db");
	sums_bytes = file_bytes(s, "rollups.db");
	e.level = sums_level(s, e.cap, sums_bytes);
	e.rows_before = s->rows_kept_ms > 0 ? e.now - s->rows_kept_ms : 0;
	e.keep_rows =
		rows_allowed(e.cap, e.booked_bytes + sums_bytes + file_bytes(s, "decisions.db"));
	for (e.by = 0; rc == 0 && e.by < BY__COUNT; e.by++)
		for (e.step = STEP_MINUTE; rc == 0 && e.step <= STEP_DAY; e.step++)
			rc = expire_kind(s, &e, expire_sums, err);
	if (rc == 0)
		rc = expire_kind(s, &e, expire_rows, err);
	if (rc == 0)
		rc = drop_leftovers(s, err);
	if (rc == 0)
		rc = expire_kind(s, &e, expire_postings, err);
	if (rc == 0)
		rc = expire_kind(s, &e, expire_decisions, err);
	if (rc == 0)
		rc = expire_kind(s, &e, expire_booked, err);
	store_resign(s, GATE_EXPIRE);
	return rc;
}
