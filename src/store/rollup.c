/*
 * rollup.c - sums of rows by minute, hour, day and for ever, folded from the rows.
 *
 * A fold adds rows to the sums and writes down the last row it added in the same transaction, so
 * each row counts once however often a fold is killed.  An answer adds the rows behind that
 * position to the sums.  It reads the position before and after: if a fold came between, it reads
 * again.
 *
 * Holes.  An aborted booking leaves a record without a row.  But so looks, for a moment, a record
 * at the queue's end that is being appended (met in one of two million, under chaos).  So a fold
 * passes a hole only when a row stands behind it, writes down which holes it passed, and looks
 * at them again each time; only a recovery, which no transaction survives, settles them for good.
 */
#include "store/store-int.h"

#include "base/clock.h"
#include "base/log.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FOLD_ROWS     1000
#define SUM_VERSION   1
#define SUM_NUMBERS   14
#define SUM_BYTES     (1 + 8 * SUM_NUMBERS)
#define MINUTE_MS     60000LL
#define HOUR_MS       3600000LL
#define DAY_MS        86400000LL
#define MINUTES_KEPT  (2 * DAY_MS)
#define HOURS_KEPT    (90 * DAY_MS)
#define BOOKED_KEPT   HOUR_MS /* at least; as long as its row otherwise */
#define ROWS_CAP      (500LL << 20)
#define EXPIRE_DELETE 2000 /* a transaction */
#define EXPIRE_ROUNDS 25   /* a call */

enum { STEP_EVER = STEP_DAY + 1, STEP__COUNT };

#define KEY_POSITION 0xff /* where `by` stands otherwise */

struct sum_key {
	uint8_t at[2 + 8 + 16]; /* by, step, start, value */
	uint8_t len;
};
#define SUM_KEY_HEAD 10

static int64_t
step_start(int step, int64_t ms)
{
	static const int64_t length[] = {
		[STEP_MINUTE] = MINUTE_MS, [STEP_HOUR] = HOUR_MS, [STEP_DAY] = DAY_MS
	};

	return step == STEP_EVER || ms < 0 ? 0 : ms - ms % length[step];
}

static struct sum_key
sum_key_of(int by, int step, int64_t start, const uint8_t *value, size_t value_len)
{
	struct sum_key k = { .len = (uint8_t)(SUM_KEY_HEAD + value_len) };

	k.at[0] = (uint8_t)by;
	k.at[1] = (uint8_t)step;
	put_be64(k.at + 2, (uint64_t)start);
	if (value_len > 0)
		memcpy(k.at + SUM_KEY_HEAD, value, value_len);
	return k;
}

static int
sum_key_compare(const struct sum_key *a, const struct sum_key *b)
{
	int rc = memcmp(a->at, b->at, a->len < b->len ? a->len : b->len);

	return rc != 0 ? rc : (int)a->len - (int)b->len;
}

/* What a row counts under; false: it does not. */
static int
value_of(struct attach *at, int by, const struct usage_row *row, uint8_t value[16], size_t *len,
	bool *counts)
{
	const struct id *id = NULL;

	*counts = true;
	*len = 16;
	switch (by) {
	case BY_TOTAL:
		*len = 0;
		return 0;
	case BY_PROJECT:
		id = &row->project;
		break;
	case BY_TOKEN:
		id = &row->token;
		break;
	case BY_UPSTREAM:
		id = &row->upstream;
		break;
	case BY_KEY:
		id = &row->key;
		break;
	case BY_MODEL: {
		uint32_t number;
		int rc = words_lookup(at, WORD_MODEL, row->model, &number);

		if (rc == 0 && number == WORD_NONE && row->model[0] != '\0')
			number = WORD_OTHER; /* what row_read says of one beyond the ceiling */
		*counts = number != WORD_NONE;
		*len = 4;
		put_be32(value, number);
		return rc;
	}
	default:
		*counts = false;
		return 0;
	}
	memcpy(value, id->b, 16);
	*counts = !id_is_none(*id);
	return 0;
}

/* ---- sums on disk ---- */

static void
sum_numbers(struct usage_sum *sum, int64_t *of[SUM_NUMBERS])
{
	int64_t *const list[SUM_NUMBERS] = { &sum->requests, &sum->errors, &sum->unpriced,
		&sum->tokens.input, &sum->tokens.cache_read, &sum->tokens.cache_write,
		&sum->tokens.cache_write_1h, &sum->tokens.output, &sum->tokens.reasoning,
		&sum->cost_nusd, &sum->duration_ms, &sum->ttfb_ms, &sum->last_ms, &sum->counted };

	memcpy(of, list, sizeof list);
}

static void
sum_write(uint8_t out[SUM_BYTES], const struct usage_sum *sum)
{
	struct usage_sum copy = *sum;
	int64_t *number[SUM_NUMBERS];

	sum_numbers(&copy, number);
	out[0] = SUM_VERSION;
	for (int i = 0; i < SUM_NUMBERS; i++)
		put_be64(out + 1 + 8 * i, (uint64_t)*number[i]);
}

static int
sum_read(const uint8_t *in, size_t len, struct usage_sum *sum)
{
	int64_t *number[SUM_NUMBERS];

	memset(sum, 0, sizeof *sum);
	if (len < SUM_BYTES || in[0] != SUM_VERSION)
		return EILSEQ;
	sum_numbers(sum, number);
	for (int i = 0; i < SUM_NUMBERS; i++)
		*number[i] = (int64_t)get_be64(in + 1 + 8 * i);
	return 0;
}

static int
sum_get(struct attach *at, DB_TXN *txn, const struct sum_key *k, struct usage_sum *sum,
	u_int32_t flags)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t bytes[SUM_BYTES];
	DBT key, data;
	int rc;

	dbt_in(&key, k->at, k->len);
	dbt_out(&data, bytes, sizeof bytes);
	rc = db->get(db, txn, &key, &data, flags);
	if (rc != 0) {
		memset(sum, 0, sizeof *sum);
		return rc == DB_NOTFOUND ? 0 : rc;
	}
	return sum_read(bytes, data.size, sum);
}

#define FOLDED_HEAD 20

int
fold_position(struct attach *at, DB_TXN *txn, u_int32_t flags, struct folded *folded)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t k = KEY_POSITION, bytes[FOLDED_HEAD + 4 * FOLD_HOLES];
	DBT key, data;
	int rc;

	memset(folded, 0, sizeof *folded);
	dbt_in(&key, &k, 1);
	dbt_out(&data, bytes, sizeof bytes);
	rc = db->get(db, txn, &key, &data, flags);
	if (rc != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	folded->position = get_be32(bytes);
	folded->total = get_be64(bytes + 4);
	folded->epoch = get_be32(bytes + 12);
	folded->holes = get_be32(bytes + 16);
	if (folded->holes > FOLD_HOLES || data.size < FOLDED_HEAD + 4 * folded->holes)
		return EILSEQ;
	for (uint32_t i = 0; i < folded->holes; i++)
		folded->hole[i] = get_be32(bytes + FOLDED_HEAD + 4 * i);
	return 0;
}

/* Both were cleared whole before they were read, so their padding is alike. */
static bool
same_position(const struct folded *a, const struct folded *b)
{
	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
	return memcmp(a, b, sizeof *a) == 0;
}

static int
put_position(struct attach *at, DB_TXN *txn, const struct folded *folded)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t k = KEY_POSITION, bytes[FOLDED_HEAD + 4 * FOLD_HOLES];
	DBT key, data;

	put_be32(bytes, folded->position);
	put_be64(bytes + 4, folded->total);
	put_be32(bytes + 12, folded->epoch);
	put_be32(bytes + 16, folded->holes);
	for (uint32_t i = 0; i < folded->holes; i++)
		put_be32(bytes + FOLDED_HEAD + 4 * i, folded->hole[i]);
	dbt_in(&key, &k, 1);
	dbt_in(&data, bytes, FOLDED_HEAD + 4 * folded->holes);
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

/* The first record that is not folded. */
static int
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

struct fold {
	int most;
	int rows;
	struct folded before, after;
	int parts;
	struct usage_row *row;     /* FOLD_ROWS */
	struct contribution *part; /* FOLD_ROWS * BY__COUNT * STEP__COUNT */
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
	const struct usage_row *row = &f->row[f->rows];

	for (int by = 0; by < BY__COUNT; by++) {
		uint8_t value[16];
		size_t len;
		bool counts;
		int rc = value_of(at, by, row, value, &len, &counts);

		if (rc != 0)
			return rc;
		for (int step = 0; counts && step < STEP__COUNT; step++) {
			struct contribution *c = &f->part[f->parts++];

			c->row = f->rows;
			c->key = sum_key_of(by, step, step_start(step, row->time_ms), value, len);
		}
	}
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
			rc = row_read(at, recno, &f->row[f->rows], &there);
		if (rc != 0 && rc != DB_NOTFOUND)
			return rc;
		if (there && (rc = fold_row(at, f)) != 0)
			return rc;
		if (!there && (f->rows == f->most || f->before.epoch == at->epoch))
			pass_hole(&f->after, recno);
	}
	return 0;
}

static int
fold_gather(struct attach *at, struct fold *f)
{
	uint32_t recno, hole[FOLD_HOLES], holes = 0;
	int rc;

	f->rows = f->parts = 0;
	if ((rc = fold_position(at, NULL, 0, &f->before)) != 0)
		return rc;
	f->after = f->before;
	f->after.holes = 0;
	f->after.epoch = at->epoch;
	if ((rc = fold_holes(at, f)) != 0 ||
		(rc = unfolded_first(at, f->before.position, &recno)) != 0)
		return rc;
	while (f->rows < f->most) {
		bool there;

		rc = row_read(at, recno, &f->row[f->rows], &there);
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
fold_write(struct attach *at, DB_TXN *txn, const struct fold *f)
{
	DB *db = at->table[TABLE_ROLLUPS];
	struct folded now;
	int rc;

	if ((rc = fold_position(at, txn, DB_RMW, &now)) != 0)
		return rc;
	if (!same_position(&now, &f->before))
		return DB_LOCK_NOTGRANTED; /* another fold was faster: from the start */
	for (int i = 0; i < f->parts;) {
		const struct sum_key *k = &f->part[i].key;
		struct usage_sum sum;
		uint8_t bytes[SUM_BYTES];
		DBT key, data;

		if ((rc = sum_get(at, txn, k, &sum, DB_RMW)) != 0)
			return rc;
		for (; i < f->parts && sum_key_compare(&f->part[i].key, k) == 0; i++)
			usage_sum_add(&sum, &f->row[f->part[i].row]);
		sum_write(bytes, &sum);
		dbt_in(&key, k->at, k->len);
		dbt_in(&data, bytes, sizeof bytes);
		if ((rc = db->put(db, txn, &key, &data, 0)) != 0)
			return rc;
	}
	return put_position(at, txn, &f->after);
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

static int
fold_some(struct store *s, struct err *err)
{
	struct fold f = { .most = FOLD_ROWS };
	int rc = -1;

	f.row = malloc(FOLD_ROWS * sizeof f.row[0]);
	f.part = malloc((size_t)FOLD_ROWS * BY__COUNT * STEP__COUNT * sizeof f.part[0]);
	if (f.row == NULL || f.part == NULL)
		(void)err_set(err, ERR_MEMORY, "store: out of memory");
	else
		rc = store_call(s, "folding", fold, &f, err);
	free(f.part);
	free(f.row);
	return rc == 0 ? f.rows : -1;
}

int
store_fold(struct store *s, struct err *err)
{
	int rows;

	if (!store_elect(s, GATE_FOLD))
		return 0;
	rows = fold_some(s, err);
	store_resign(s, GATE_FOLD);
	return rows;
}

/* ---- answers ---- */

struct answer_row {
	struct sum_key key;
	struct usage_sum sum;
};

struct answer {
	enum rollup_by by;
	int step; /* of a list; a sum uses them all */
	int64_t from_ms, to_ms;
	bool has_only;
	uint8_t only[16];
	size_t only_len;

	/* a list */
	struct answer_row *rows;
	size_t count, room;
	/* a sum */
	bool one;
	struct usage_sum sum;

	struct folded folded;
	bool moved; /* a fold came between */
};

static bool
answer_add(struct answer *a, const struct sum_key *k, const struct usage_sum *sum)
{
	if (a->count == a->room) {
		size_t room = a->room == 0 ? 256 : a->room * 2;
		struct answer_row *rows = realloc(a->rows, room * sizeof rows[0]);

		if (rows == NULL)
			return false;
		a->rows = rows;
		a->room = room;
	}
	a->rows[a->count].key = *k;
	a->rows[a->count++].sum = *sum;
	return true;
}

/* The list's part that is folded. */
static int
list_folded(struct attach *at, struct answer *a)
{
	DB *db = at->table[TABLE_ROLLUPS];
	struct sum_key k = sum_key_of(
		(int)a->by, a->step, step_start(a->step, a->from_ms), a->only, a->only_len);
	struct sum_key end = sum_key_of((int)a->by, a->step, a->to_ms, NULL, 0);
	uint8_t bytes[SUM_BYTES];
	DBT key, data;
	DBC *cursor;
	int rc, closed;

	if ((rc = db->cursor(db, NULL, &cursor, 0)) != 0)
		return rc;
	dbt_out(&key, k.at, sizeof k.at);
	key.size = k.len;
	dbt_out(&data, bytes, sizeof bytes);
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE);
	while (rc == 0) {
		struct usage_sum sum;

		k.len = (uint8_t)key.size;
		if (k.len < SUM_KEY_HEAD || k.at[0] == KEY_POSITION ||
			sum_key_compare(&k, &end) >= 0)
			break;
		if (!a->has_only ||
			(k.len == SUM_KEY_HEAD + a->only_len &&
				memcmp(k.at + SUM_KEY_HEAD, a->only, a->only_len) == 0)) {
			if ((rc = sum_read(bytes, data.size, &sum)) != 0)
				break;
			if (!answer_add(a, &k, &sum)) {
				rc = ENOMEM;
				break;
			}
		}
		rc = cursor->get(cursor, &key, &data, DB_NEXT);
	}
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

static int
sum_range(struct attach *at, struct answer *a, int step, int64_t from, int64_t to, int64_t length)
{
	for (int64_t start = from; start < to; start += length) {
		struct sum_key k = sum_key_of((int)a->by, step, start, a->only, a->only_len);
		struct usage_sum sum;
		int rc = sum_get(at, NULL, &k, &sum, 0);

		if (rc != 0)
			return rc;
		usage_sum_merge(&a->sum, &sum);
	}
	return 0;
}

/* The earliest day there is, so that a sum since ever need not ask for the days before. */
static int
first_day(struct attach *at, enum rollup_by by, int64_t *day)
{
	DB *db = at->table[TABLE_ROLLUPS];
	struct sum_key k = sum_key_of((int)by, STEP_DAY, 0, NULL, 0);
	uint8_t bytes[SUM_BYTES];
	DBT key, data;
	DBC *cursor;
	int rc, closed;

	*day = INT64_MAX;
	if ((rc = db->cursor(db, NULL, &cursor, 0)) != 0)
		return rc;
	dbt_out(&key, k.at, sizeof k.at);
	key.size = k.len;
	dbt_out(&data, bytes, sizeof bytes);
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE);
	if (rc == 0 && key.size >= SUM_KEY_HEAD && k.at[0] == (uint8_t)by && k.at[1] == STEP_DAY)
		*day = (int64_t)get_be64(k.at + 2);
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
round_up(int64_t ms, int64_t length)
{
	return ms > INT64_MAX - length ? ms : ms % length == 0 ? ms : ms - ms % length + length;
}

/* Minutes up to a whole hour, hours up to a whole day, days, and down again. */
static int
sum_folded(struct attach *at, struct answer *a, int64_t now)
{
	int64_t from = a->from_ms, to = a->to_ms, end;
	int rc;

	if (from <= 0 && to > now) {
		struct sum_key k = sum_key_of((int)a->by, STEP_EVER, 0, a->only, a->only_len);

		return sum_get(at, NULL, &k, &a->sum, 0);
	}
	to = least(to, round_up(now + DAY_MS, DAY_MS));
	if (from <= 0) {
		if ((rc = first_day(at, a->by, &from)) != 0)
			return rc;
		if (from >= to)
			return 0;
	}
	if (from % HOUR_MS != 0) {
		end = least(round_up(from, HOUR_MS), to);
		if ((rc = sum_range(at, a, STEP_MINUTE, from, end, MINUTE_MS)) != 0)
			return rc;
		from = end;
	}
	if (from < to && from % DAY_MS != 0) {
		end = least(round_up(from, DAY_MS), to - to % HOUR_MS);
		if ((rc = sum_range(at, a, STEP_HOUR, from, end, HOUR_MS)) != 0)
			return rc;
		from = end > from ? end : from;
	}
	if (from < to && from % DAY_MS == 0) {
		end = to - to % DAY_MS;
		if ((rc = sum_range(at, a, STEP_DAY, from, end, DAY_MS)) != 0)
			return rc;
		from = end > from ? end : from;
	}
	if (from < to && from % HOUR_MS == 0) {
		end = to - to % HOUR_MS;
		if ((rc = sum_range(at, a, STEP_HOUR, from, end, HOUR_MS)) != 0)
			return rc;
		from = end > from ? end : from;
	}
	return sum_range(at, a, STEP_MINUTE, from, to, MINUTE_MS);
}

static int
add_tail_row(struct attach *at, struct answer *a, const struct usage_row *row)
{
	uint8_t value[16];
	struct usage_sum sum = { 0 };
	struct sum_key k;
	size_t len;
	bool counts;
	int rc;

	if (a->one) {
		if (row->time_ms < a->from_ms || row->time_ms >= a->to_ms)
			return 0;
	} else {
		int64_t start = step_start(a->step, row->time_ms);

		if (start < step_start(a->step, a->from_ms) || start >= a->to_ms)
			return 0;
	}
	if ((rc = value_of(at, (int)a->by, row, value, &len, &counts)) != 0)
		return rc;
	if (!counts || (a->has_only && (len != a->only_len || memcmp(value, a->only, len) != 0)))
		return 0;
	if (a->one) {
		usage_sum_add(&a->sum, row);
		return 0;
	}
	usage_sum_add(&sum, row);
	k = sum_key_of((int)a->by, a->step, step_start(a->step, row->time_ms), value, len);
	return answer_add(a, &k, &sum) ? 0 : ENOMEM;
}

static int
answer_tail(struct attach *at, struct answer *a)
{
	struct usage_row row;
	uint32_t recno;
	bool there;
	int rc;

	for (uint32_t i = 0; i < a->folded.holes; i++) {
		rc = row_read(at, a->folded.hole[i], &row, &there);
		if (rc != 0 && rc != DB_NOTFOUND)
			return rc;
		if (there && (rc = add_tail_row(at, a, &row)) != 0)
			return rc;
	}
	if ((rc = unfolded_first(at, a->folded.position, &recno)) != 0)
		return rc;
	while ((rc = row_read(at, recno, &row, &there)) == 0) {
		if (there && (rc = add_tail_row(at, a, &row)) != 0)
			return rc;
		if (++recno == 0)
			recno = 1;
	}
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
answer(struct attach *at, void *arg, struct err *err)
{
	struct answer *a = arg;
	struct folded after;
	int rc;

	(void)err;
	a->count = 0;
	a->moved = false;
	memset(&a->sum, 0, sizeof a->sum);
	if ((rc = fold_position(at, NULL, 0, &a->folded)) != 0)
		return rc;
	rc = a->one ? sum_folded(at, a, clock_wall_ms()) : list_folded(at, a);
	if (rc != 0 || (rc = answer_tail(at, a)) != 0 ||
		(rc = fold_position(at, NULL, 0, &after)) != 0)
		return rc;
	a->moved = !same_position(&after, &a->folded);
	return a->moved ? DB_LOCK_NOTGRANTED : 0;
}

/* A fold is short, but one may follow the other without end: then we hold them off. */
static int
run_answer(struct store *s, struct answer *a, struct err *err)
{
	int64_t began = clock_boot_ms();
	int rc = store_call(s, "summing", answer, a, err);

	while (rc != 0 && a->moved && clock_boot_ms() - began < GATE_WAIT_MS) {
		bool held = store_elect(s, GATE_FOLD);

		if (held || clock_boot_ms() - began > 1000)
			rc = store_call(s, "summing", answer, a, err);
		else
			(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		if (held)
			store_resign(s, GATE_FOLD);
	}
	return rc;
}

struct looking_up {
	enum dimension d;
	const char *text;
	uint32_t number;
};

static int
look_up(struct attach *at, void *arg, struct err *err)
{
	struct looking_up *l = arg;

	(void)err;
	return words_lookup(at, l->d, l->text, &l->number);
}

static const char *const prefix_of[BY__COUNT] = {
	[BY_PROJECT] = "prj_", [BY_TOKEN] = "tok_", [BY_UPSTREAM] = "up_", [BY_KEY] = "key_"
};

/* 1, 0: such a value has no rows, -1. */
static int
answer_only(struct store *s, struct answer *a, const char *value, struct err *err)
{
	struct id id;

	a->has_only = true;
	if (a->by == BY_TOTAL)
		return 1;
	if (a->by == BY_MODEL) {
		struct looking_up l = { .d = WORD_MODEL, .text = value };

		if (strcmp(value, "other") == 0)
			l.number = WORD_OTHER;
		else if (store_call(s, "summing", look_up, &l, err) != 0)
			return -1;
		put_be32(a->only, l.number);
		a->only_len = 4;
		return l.number != WORD_NONE;
	}
	if ((int)a->by < 0 || a->by >= BY__COUNT)
		return err_set(err, ERR_BAD_REQUEST, "no such dimension of usage");
	if (id_parse(prefix_of[a->by], value, &id) != 0)
		return err_set(
			err, ERR_BAD_REQUEST, "usage is asked for by id (%s…)", prefix_of[a->by]);
	memcpy(a->only, id.b, 16);
	a->only_len = 16;
	return 1;
}

int
store_usage_sum(struct store *s, enum rollup_by by, const char *value, int64_t from_ms,
	int64_t to_ms, struct usage_sum *out, struct err *err)
{
	struct answer a = {
		.by = by, .one = true, .from_ms = from_ms - from_ms % MINUTE_MS, .to_ms = to_ms
	};
	int rc;

	memset(out, 0, sizeof *out);
	/* Folded rows are known by the minute: the last one counts whole, in the tail as well. */
	a.to_ms = round_up(to_ms, MINUTE_MS);
	if ((rc = answer_only(s, &a, value == NULL ? "" : value, err)) <= 0)
		return rc;
	if (run_answer(s, &a, err) != 0)
		return -1;
	*out = a.sum;
	return 0;
}

static int
by_key(const void *a, const void *b)
{
	const struct answer_row *x = a, *y = b;

	return sum_key_compare(&x->key, &y->key);
}

static int
by_time_then_name(const void *a, const void *b)
{
	const struct rollup *x = a, *y = b;

	if (x->from_ms != y->from_ms)
		return x->from_ms < y->from_ms ? -1 : 1;
	return strcmp(x->name, y->name);
}

struct naming {
	struct answer *a;
	struct rollup *out;
};

static int
name_all(struct attach *at, void *arg, struct err *err)
{
	struct naming *n = arg;

	(void)err;
	for (size_t i = 0; i < n->a->count; i++) {
		const struct answer_row *r = &n->a->rows[i];
		struct rollup *out = &n->out[i];

		memset(out, 0, sizeof *out);
		out->from_ms = (int64_t)get_be64(r->key.at + 2);
		out->sum = r->sum;
		if (n->a->by == BY_MODEL) {
			int rc = words_text(
				at, WORD_MODEL, get_be32(r->key.at + SUM_KEY_HEAD), out->name);

			if (rc != 0)
				return rc;
		} else if (r->key.len == SUM_KEY_HEAD + sizeof out->id.b) {
			memcpy(out->id.b, r->key.at + SUM_KEY_HEAD, sizeof out->id.b);
		}
	}
	return 0;
}

static void
merge_same(struct answer *a)
{
	size_t kept = 0;

	if (a->count == 0)
		return;
	qsort(a->rows, a->count, sizeof a->rows[0], by_key);
	for (size_t i = 1; i < a->count; i++) {
		if (sum_key_compare(&a->rows[i].key, &a->rows[kept].key) == 0)
			usage_sum_merge(&a->rows[kept].sum, &a->rows[i].sum);
		else
			a->rows[++kept] = a->rows[i];
	}
	a->count = kept + 1;
}

int
store_rollup_each(struct store *s, enum rollup_by by, enum rollup_step step, int64_t from_ms,
	int64_t to_ms, const char *only, bool (*fn)(void *ctx, const struct rollup *r), void *ctx,
	struct err *err)
{
	struct answer a = { .by = by, .step = (int)step, .from_ms = from_ms, .to_ms = to_ms };
	struct naming n = { .a = &a };
	int rc = 1;

	if (only != NULL && (rc = answer_only(s, &a, only, err)) <= 0)
		return rc;
	rc = run_answer(s, &a, err);
	if (rc == 0 && a.count > 0) {
		merge_same(&a);
		if ((n.out = malloc(a.count * sizeof n.out[0])) == NULL)
			rc = err_set(err, ERR_MEMORY, "store: out of memory");
		else
			rc = store_call(s, "summing", name_all, &n, err);
	}
	if (rc == 0 && a.count > 0) {
		assert(n.out != NULL);
		if (by == BY_MODEL)
			qsort(n.out, a.count, sizeof n.out[0], by_time_then_name);
		for (size_t i = 0; i < a.count && fn(ctx, &n.out[i]); i++)
			;
	}
	free(n.out);
	free(a.rows);
	return rc;
}

/* ---- what has had its time ---- */

struct expiring {
	int64_t now;
	uint32_t keep_rows;
	/* one transaction's work */
	int by, step;
	int deleted;
};

/* Deletes the keys of [from, to) from the start on, at most EXPIRE_DELETE. */
static int
delete_range(DB *db, DB_TXN *txn, const void *from, size_t from_len, const void *to, size_t to_len,
	int *deleted)
{
	uint8_t key_room[64];
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
	int64_t kept = e->step == STEP_MINUTE ? MINUTES_KEPT : HOURS_KEPT;
	struct sum_key from = sum_key_of(e->by, e->step, 0, NULL, 0);
	struct sum_key to =
		sum_key_of(e->by, e->step, step_start(STEP_DAY, e->now - kept), NULL, 0);

	(void)err;
	return delete_range(
		at->table[TABLE_ROLLUPS], txn, from.at, from.len, to.at, to.len, &e->deleted);
}

/* Rows over the cap, oldest first, of those that are folded.  Their files go when empty. */
static int
expire_rows(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct expiring *e = arg;
	DB *db = at->table[TABLE_ROWS];
	uint32_t first, next;
	struct folded folded;
	int rc;

	(void)err;
	e->deleted = 0;
	if ((rc = rows_bounds(at, &first, &next)) != 0 ||
		(rc = fold_position(at, NULL, 0, &folded)) != 0)
		return rc;
	if (folded.position == 0)
		return 0;
	while (e->deleted < EXPIRE_DELETE && next - first > e->keep_rows &&
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

/* Ids of exchanges whose rows are gone and that are too old to come again. */
static int
expire_booked(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct expiring *e = arg;
	struct usage_row row;
	struct id to = { { 0 } };
	uint32_t first, next, at_row;
	int64_t before = e->now - BOOKED_KEPT;
	bool there = false;
	int rc;

	(void)err;
	e->deleted = 0;
	if ((rc = rows_bounds(at, &first, &next)) != 0)
		return rc;
	at_row = first;
	for (int tries = 0; recno_before(at_row, next) && !there && tries < 10000; tries++) {
		if ((rc = row_read(at, at_row, &row, &there)) != 0 && rc != DB_NOTFOUND)
			return rc;
		if (++at_row == 0)
			at_row = 1;
	}
	if (!there)
		return 0;
	before = least(before, id_time_ms(row.exchange) - BOOKED_KEPT);
	if (before <= 0)
		return 0;
	for (int i = 5; i >= 0; i--, before >>= 8)
		to.b[i] = (uint8_t)before;
	return delete_booked(at->table[TABLE_BOOKED], txn, to, first, &e->deleted);
}

static int
expire_rounds(struct store *s, struct expiring *e,
	int (*fn)(struct attach *at, DB_TXN *txn, void *arg, struct err *err), struct err *err)
{
	for (int i = 0; i < EXPIRE_ROUNDS; i++) {
		if (store_txn(s, "expiring", DB_TXN_WRITE_NOSYNC, fn, e, err) != 0)
			return -1;
		if (e->deleted < EXPIRE_DELETE)
			break;
	}
	return 0;
}

int
store_expire(struct store *s, struct err *err)
{
	int64_t cap = s->rows_cap_bytes > 0 ? s->rows_cap_bytes : ROWS_CAP;
	struct expiring e = { .now = clock_wall_ms() };
	int rc = 0;

	if (!store_elect(s, GATE_EXPIRE))
		return 0;
	e.keep_rows = cap / ROW_DISK_BYTES > INT32_MAX / 2 ? INT32_MAX / 2
							   : (uint32_t)(cap / ROW_DISK_BYTES);
	for (e.by = 0; rc == 0 && e.by < BY__COUNT; e.by++)
		for (e.step = STEP_MINUTE; rc == 0 && e.step <= STEP_HOUR; e.step++)
			rc = expire_rounds(s, &e, expire_sums, err);
	if (rc == 0)
		rc = expire_rounds(s, &e, expire_rows, err);
	if (rc == 0)
		rc = expire_rounds(s, &e, expire_booked, err);
	store_resign(s, GATE_EXPIRE);
	return rc;
}
