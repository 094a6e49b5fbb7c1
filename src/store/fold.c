/*
 * fold.c - rows into sums and postings.
 *
 * A fold adds rows to the sums and writes down the last row it added in the same transaction, so
 * each row counts once however often a fold is killed.  The rows are read before the transaction:
 * who changes one that is not folded yet counts that in the position, and the fold begins again.
 *
 * Holes.  An aborted booking leaves a record without a row.  But so looks, for a moment, a record
 * at the queue's end that is being appended (met in one of two million, under chaos).  So a fold
 * passes a hole only when a row stands behind it, writes down which holes it passed, and looks
 * at them again each time; only a recovery, which no transaction survives, settles them for good.
 */
#include "store/usage-int.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <stdlib.h>
#include <stdatomic.h>
#include <string.h>

#define FOLD_MS 200 /* a call */

/* ---- the position ---- */

#define HEAD_BYTES     20
#define HOLES_ONCE     256 /* what layout 1 kept */
#define TAIL_NUMBERS   4   /* layout, posted, changes, count of values */
#define POSITION_BYTES (HEAD_BYTES + 4 * (HOLES_ONCE + TAIL_NUMBERS + BY__COUNT))
#define POSITION_ROOM  (2 * POSITION_BYTES) /* for what a newer program adds */

static void
read_tail(struct folded *folded, const uint8_t *in, size_t len)
{
	uint32_t values;

	if (len < 4 * (size_t)TAIL_NUMBERS)
		return;
	folded->layout = get_be32(in);
	folded->posted = get_be32(in + 4);
	folded->changes = get_be32(in + 8);
	values = get_be32(in + 12);
	for (uint32_t i = 0; i < values && i < BY__COUNT && 4 * (TAIL_NUMBERS + i) + 4 <= len; i++)
		folded->values[i] = get_be32(in + 4 * (TAIL_NUMBERS + (size_t)i));
}

int
fold_position(struct attach *at, DB_TXN *txn, u_int32_t flags, struct folded *folded)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t k = KEY_POSITION, bytes[POSITION_ROOM];
	uint32_t holes, dropped;
	DBT key, data;
	int rc;

	memset(folded, 0, sizeof *folded);
	dbt_in(&key, &k, 1);
	dbt_out(&data, bytes, sizeof bytes);
	rc = db->get(db, txn, &key, &data, flags);
	if (rc != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	if (data.size < HEAD_BYTES)
		return EILSEQ;
	folded->position = get_be32(bytes);
	folded->total = get_be64(bytes + 4);
	folded->epoch = get_be32(bytes + 12);
	holes = get_be32(bytes + 16);
	if (holes > HOLES_ONCE || data.size < HEAD_BYTES + 4 * holes)
		return EILSEQ;
	dropped = holes > FOLD_HOLES ? holes - FOLD_HOLES : 0;
	folded->holes = holes - dropped;
	for (uint32_t i = 0; i < folded->holes; i++)
		folded->hole[i] = get_be32(bytes + HEAD_BYTES + 4 * (size_t)(dropped + i));
	read_tail(folded, bytes + HEAD_BYTES + 4 * (size_t)holes,
		data.size - HEAD_BYTES - 4 * (size_t)holes);
	return 0;
}

/* Both were cleared whole before they were read, so their padding is alike. */
bool
fold_same(const struct folded *a, const struct folded *b)
{
	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
	return memcmp(a, b, sizeof *a) == 0;
}

int
fold_put_position(struct attach *at, DB_TXN *txn, const struct folded *folded)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t k = KEY_POSITION, bytes[POSITION_BYTES], *tail;
	DBT key, data;

	put_be32(bytes, folded->position);
	put_be64(bytes + 4, folded->total);
	put_be32(bytes + 12, folded->epoch);
	put_be32(bytes + 16, folded->holes);
	for (uint32_t i = 0; i < folded->holes; i++)
		put_be32(bytes + HEAD_BYTES + 4 * (size_t)i, folded->hole[i]);
	tail = bytes + HEAD_BYTES + 4 * (size_t)folded->holes;
	put_be32(tail, folded->layout);
	put_be32(tail + 4, folded->posted);
	put_be32(tail + 8, folded->changes);
	put_be32(tail + 12, BY__COUNT);
	for (int by = 0; by < BY__COUNT; by++)
		put_be32(tail + 4 * (TAIL_NUMBERS + by), folded->values[by]);
	dbt_in(&key, &k, 1);
	dbt_in(&data, bytes, (size_t)(tail - bytes) + 4 * (size_t)(TAIL_NUMBERS + BY__COUNT));
	return db->put(db, txn, &key, &data, 0);
}

static void
pass_hole(struct folded *folded, uint32_t recno)
{
	/* The oldest of so many is settled. */
	if (folded->holes == FOLD_HOLES)
		memmove(folded->hole, folded->hole + 1, --folded->holes * sizeof folded->hole[0]);
	folded->hole[folded->holes++] = recno;
}

bool
fold_has(const struct folded *folded, uint32_t recno)
{
	if (folded->position == 0 || recno_before(folded->position, recno))
		return false;
	for (uint32_t i = 0; i < folded->holes; i++)
		if (folded->hole[i] == recno)
			return false;
	return true;
}

int
unfolded_first(struct attach *at, uint32_t position, uint32_t *recno)
{
	uint32_t first, next;
	int rc = rows_bounds(at, &first, &next);

	if (rc != 0)
		return rc;
	*recno = position + 1 == 0 ? 1 : position + 1;
	if (position == 0 || recno_before(*recno, first))
		*recno = first;
	return 0;
}

/* ---- the fold ---- */

struct contribution {
	struct sum_key key;
	int row;
};
/* Seven values of a row, and its tags. */
#define PARTS_MAX ((BY__COUNT - 1 + USAGE_TAGS_MAX) * STEP__COUNT)

struct fold {
	int most;
	int rows;
	struct folded before, after;
	int parts, posts;
	struct stored_row *row;    /* FOLD_ROWS */
	struct contribution *part; /* FOLD_ROWS * PARTS_MAX */
	struct post *post;         /* FOLD_ROWS * POSTS_MAX */
};

static int
by_key_then_row(const void *a, const void *b)
{
	const struct contribution *x = a, *y = b;
	int rc = sum_key_compare(&x->key, &y->key);

	return rc != 0 ? rc : x->row - y->row;
}

/* Adds the row in f->row[f->rows] to what is to be written. */
static int
fold_row(struct attach *at, struct fold *f)
{
	const struct stored_row *r = &f->row[f->rows];

	for (int by = 0; by < BY__COUNT; by++) {
		struct value value[VALUES_MAX];
		int count, rc = values_of(at, NULL, &f->before, by, r, value, &count);

		if (rc != 0)
			return rc;
		for (int i = 0; i < count; i++) {
			for (int step = 0; step < STEP__COUNT; step++) {
				struct contribution *c = &f->part[f->parts++];

				c->row = f->rows;
				c->key = sum_key_of(
					by, step, step_start(step, r->row.time_ms), &value[i]);
			}
		}
	}
	f->posts += posts_of(r, f->post + f->posts);
	f->rows++;
	return 0;
}

/* Rows where there were none when they were passed. */
static int
fold_holes(struct attach *at, struct fold *f)
{
	for (uint32_t i = 0; i < f->before.holes; i++) {
		uint32_t recno = f->before.hole[i];
		bool there = false;
		int rc = 0;

		if (f->rows < f->most)
			rc = row_load(at, NULL, 0, recno, &f->row[f->rows], &there);
		if (rc != 0 && rc != DB_NOTFOUND)
			return rc;
		if (there && (rc = fold_row(at, f)) != 0)
			return rc;
		if (!there && (f->rows == f->most || f->before.epoch == at->epoch))
			pass_hole(&f->after, recno);
	}
	return 0;
}

/* What an older program folded has no postings, until it is expired. */
static void
set_posted(struct fold *f, uint32_t first)
{
	if (f->before.layout < FOLD_LAYOUT)
		f->after.posted = f->before.position == 0 ? 0 : f->before.position + 1;
	else if (f->before.posted != 0 && !recno_before(first, f->before.posted))
		f->after.posted = 0;
	f->after.layout = FOLD_LAYOUT;
}

static int
fold_gather(struct attach *at, struct fold *f)
{
	uint32_t recno, hole[FOLD_HOLES], holes = 0;
	int rc;

	f->rows = f->parts = f->posts = 0;
	if ((rc = fold_position(at, NULL, 0, &f->before)) != 0)
		return rc;
	if (f->before.layout > FOLD_LAYOUT)
		return 0; /* a newer program folds: it knows sums that we do not */
	f->after = f->before;
	f->after.holes = 0;
	f->after.epoch = at->epoch;
	if ((rc = fold_holes(at, f)) != 0 ||
		(rc = unfolded_first(at, f->before.position, &recno)) != 0)
		return rc;
	set_posted(f, recno);
	while (f->rows < f->most) {
		bool there;

		rc = row_load(at, NULL, 0, recno, &f->row[f->rows], &there);
		if (rc == DB_NOTFOUND)
			break;
		if (rc != 0)
			return rc;
		if (there) {
			if ((rc = fold_row(at, f)) != 0)
				return rc;
			for (uint32_t i = 0; i < holes; i++)
				pass_hole(&f->after, hole[i]);
			holes = 0;
			f->after.position = recno;
		} else {
			if (holes == FOLD_HOLES)
				memmove(hole, hole + 1, --holes * sizeof hole[0]);
			hole[holes++] = recno;
		}
		if (++recno == 0)
			recno = 1;
	}
	f->after.total += (uint64_t)f->rows;
	qsort(f->part, (size_t)f->parts, sizeof f->part[0], by_key_then_row);
	return 0;
}

static int
fold_write(struct attach *at, DB_TXN *txn, struct fold *f)
{
	struct folded now;
	int rc;

	if ((rc = fold_position(at, txn, DB_RMW, &now)) != 0)
		return rc;
	if (!fold_same(&now, &f->before))
		return DB_LOCK_NOTGRANTED; /* another fold was faster: from the start */
	for (int i = 0; i < f->parts;) {
		const struct sum_key *k = &f->part[i].key;
		struct usage_sum sum;

		if ((rc = sum_get(at, txn, DB_RMW, k, &sum)) != 0)
			return rc;
		if (sum.requests == 0 && k->at[1] == STEP_EVER)
			f->after.values[k->at[0]]++;
		for (; i < f->parts && sum_key_compare(&f->part[i].key, k) == 0; i++)
			usage_sum_add(&sum, &f->row[f->part[i].row].row);
		if ((rc = sum_put(at, txn, k, &sum)) != 0)
			return rc;
	}
	if ((rc = posts_write(at, txn, f->post, f->posts)) != 0)
		return rc;
	return fold_put_position(at, txn, &f->after);
}

static int
fold(struct attach *at, void *arg, struct err *err)
{
	struct fold *f = arg;
	DB_TXN *txn;
	int rc;

	(void)err;
	if ((rc = fold_gather(at, f)) != 0 || f->rows == 0)
		return rc;
	if ((rc = at->env->txn_begin(at->env, NULL, &txn, 0)) != 0)
		return rc;
	if ((rc = fold_write(at, txn, f)) == 0)
		return txn->commit(txn, DB_TXN_WRITE_NOSYNC);
	if (txn->abort(txn) == DB_RUNRECOVERY)
		return DB_RUNRECOVERY;
	if (rc == ENOMEM && f->most > 1) { /* out of locks: fewer of them */
		f->most /= 2;
		log_write(LOG_WARN, "store", "fold: out of locks, now %d rows at a time", f->most);
		return DB_LOCK_NOTGRANTED;
	}
	return rc;
}

/* An estimate: rows that are booked twice count as well, until nothing is left. */
static void
count_off(struct store *s, const struct fold *f)
{
	_Atomic uint32_t *left = &s->gate.words->unfolded;
	uint32_t now = atomic_load(left), rows = (uint32_t)f->rows;

	while (!atomic_compare_exchange_weak(
		left, &now, f->rows < f->most || now < rows ? 0 : now - rows))
		;
}

/* Until nothing is left, or its time is over. */
static int
fold_some(struct store *s, struct err *err)
{
	int64_t began = clock_boot_ms();
	struct fold f = { .most = FOLD_ROWS };
	int rows = 0, rc = -1;

	f.row = malloc(FOLD_ROWS * sizeof f.row[0]);
	f.part = malloc((size_t)FOLD_ROWS * PARTS_MAX * sizeof f.part[0]);
	f.post = malloc((size_t)FOLD_ROWS * POSTS_MAX * sizeof f.post[0]);
	if (f.row == NULL || f.part == NULL || f.post == NULL) {
		(void)err_set(err, ERR_MEMORY, "store: out of memory");
	} else {
		do {
			rc = store_call(s, "folding", fold, &f, err);
			rows += rc == 0 ? f.rows : 0;
			if (rc == 0)
				count_off(s, &f);
		} while (rc == 0 && f.rows > 0 && clock_boot_ms() - began < FOLD_MS);
	}
	free(f.post);
	free(f.part);
	free(f.row);
	return rc == 0 ? rows : -1;
}

int
store_fold(struct store *s, struct err *err)
{
	int rows;

	if (!store_elect(s, GATE_FOLD))
		return 0;
	rows = fold_some(s, err);
	store_resign(s, GATE_FOLD);
	if (rows > 0 && expire_due(s) && store_expire(s, err) != 0)
		return -1;
	return rows;
}
