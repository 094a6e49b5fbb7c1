/*
 * usage.c - rows of usage: booking them exactly once, reading them back.  Their form is in row.c.
 *
 * Rows are a queue: its locks are on records, so any number of processes append side by side, and
 * its files go as a whole when their rows are expired.  Which exchange is in which row stands in
 * `booked`, whose keys begin with the time: it is appended to as well.
 */
#include "store/store-int.h"

#include "base/log.h"
#include "base/money.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNCHECKED_ROWS 15000
#define UNFOLDED_ROWS  30000
#define FOLD_ROW_NS    100000 /* about what a fold needs for a row */

static const char *const source_names[] = {
	[USAGE_NONE] = "none",
	[USAGE_REPORTED] = "reported",
	[USAGE_COUNTED] = "counted",
	[USAGE_ESTIMATED] = "estimated",
};
static const char *const ended_names[] = {
	[ENDED_DONE] = "done",
	[ENDED_CLIENT] = "client",
	[ENDED_TIMEOUT] = "timeout",
	[ENDED_PROVIDER] = "provider",
	[ENDED_BUDGET] = "budget",
	[ENDED_CRASH] = "crash",
	[ENDED_REFUSED] = "refused",
};

const char *
usage_source_name(enum usage_source s)
{
	return (size_t)s < sizeof source_names / sizeof source_names[0] ? source_names[s] : "none";
}

const char *
ended_by_name(enum ended_by e)
{
	return (size_t)e < sizeof ended_names / sizeof ended_names[0] ? ended_names[e] : "done";
}

/* ---- sums ---- */

static void
tokens_add(struct tokens *sum, const struct tokens *t)
{
	sum->input += t->input;
	sum->cache_read += t->cache_read;
	sum->cache_write += t->cache_write;
	sum->cache_write_1h += t->cache_write_1h;
	sum->output += t->output;
	sum->reasoning += t->reasoning;
	sum->audio_input += t->audio_input;
	sum->audio_output += t->audio_output;
	sum->images += t->images;
}

bool
usage_row_counts(const struct usage_row *row)
{
	return row->ended_by != ENDED_REFUSED &&
	       (row->usage_source != USAGE_NONE || row->status < 500) &&
	       (row->ended_by != ENDED_CRASH || row->usage_source != USAGE_NONE);
}

bool
usage_row_failed(const struct usage_row *row)
{
	return row->status >= 400 || row->err_code != 0 || row->ended_by == ENDED_TIMEOUT ||
	       row->ended_by == ENDED_PROVIDER || row->ended_by == ENDED_CRASH ||
	       row->ended_by == ENDED_BUDGET;
}

void
usage_sum_add(struct usage_sum *sum, const struct usage_row *row)
{
	sum->requests++;
	sum->counted += usage_row_counts(row);
	if (row->status >= 400 || row->err_code != 0)
		sum->errors++;
	if (row->cost_nusd == COST_UNKNOWN)
		sum->unpriced++;
	else
		sum->cost_nusd = money_add(sum->cost_nusd, row->cost_nusd);
	tokens_add(&sum->tokens, &row->tokens);
	sum->duration_ms += row->duration_ms;
	sum->ttfb_ms += row->ttfb_ms;
	if (row->time_ms > sum->last_ms)
		sum->last_ms = row->time_ms;
}

void
usage_sum_merge(struct usage_sum *sum, const struct usage_sum *other)
{
	sum->requests += other->requests;
	sum->counted += other->counted;
	sum->errors += other->errors;
	sum->unpriced += other->unpriced;
	sum->cost_nusd = money_add(sum->cost_nusd, other->cost_nusd);
	tokens_add(&sum->tokens, &other->tokens);
	sum->duration_ms += other->duration_ms;
	sum->ttfb_ms += other->ttfb_ms;
	if (other->last_ms > sum->last_ms)
		sum->last_ms = other->last_ms;
}

int
rows_bounds(struct attach *at, uint32_t *first, uint32_t *next)
{
	DB *db = at->table[TABLE_ROWS];
	DB_QUEUE_STAT *st;
	int rc = db->stat(db, NULL, &st, DB_FAST_STAT);

	if (rc != 0)
		return rc;
	*first = st->qs_first_recno;
	*next = st->qs_cur_recno;
	free(st);
	return 0;
}

/* ---- booking ---- */

struct booking {
	const struct usage_row *rows;
	size_t count;
	uint32_t words[STORE_BOOK_MAX][ROW_WORDS];
	bool settled[STORE_BOOK_MAX][ROW_WORDS]; /* its number is known */
	bool missing;
	bool booked[STORE_BOOK_MAX];
	bool apart[STORE_BOOK_MAX]; /* its decision is too long for its row */
};

/* Last of all, as booked ids are: their pages are locked until the commit. */
static int
book_decisions(struct attach *at, DB_TXN *txn, const struct booking *b, const db_recno_t *recno)
{
	DB *db = at->table[TABLE_DECISIONS];
	uint8_t number[4];
	DBT key, data;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < b->count && db != NULL; i++) {
		if (!b->apart[i] || !b->booked[i])
			continue;
		put_be32(number, recno[i]);
		dbt_in(&key, number, sizeof number);
		dbt_in(&data, b->rows[i].decision, b->rows[i].decision_len);
		rc = db->put(db, txn, &key, &data, 0);
	}
	return rc;
}

static int
book_rows(struct attach *at, DB_TXN *txn, struct booking *b)
{
	DB *rows = at->table[TABLE_ROWS], *booked = at->table[TABLE_BOOKED];
	db_recno_t recno[STORE_BOOK_MAX];
	struct row_disk disk;
	DBT key, data;
	int rc;

	/* Appending takes only its own record; `booked` is locked by the page, so its part is
	 * kept short and last. */
	for (size_t i = 0; i < b->count; i++) {
		b->apart[i] = !row_write(&disk, &b->rows[i], b->words[i]);
		dbt_out(&key, &recno[i], sizeof recno[i]);
		dbt_in(&data, &disk, sizeof disk);
		if ((rc = rows->put(rows, txn, &key, &data, DB_APPEND)) != 0)
			return rc;
	}
	for (size_t i = 0; i < b->count; i++) {
		uint8_t number[4];

		put_be32(number, recno[i]);
		dbt_in(&key, b->rows[i].exchange.b, sizeof b->rows[i].exchange.b);
		dbt_in(&data, number, sizeof number);
		rc = booked->put(booked, txn, &key, &data, DB_NOOVERWRITE);
		b->booked[i] = rc == 0;
		if (rc == DB_KEYEXIST) {
			dbt_in(&key, &recno[i], sizeof recno[i]);
			rc = rows->del(rows, txn, &key, 0);
		}
		if (rc != 0)
			return rc;
	}
	return book_decisions(at, txn, b, recno);
}

static int
book(struct attach *at, void *arg, struct err *err)
{
	struct booking *b = arg;
	DB_TXN *txn;
	int rc;

	(void)err;
	b->missing = false;
	for (size_t i = 0; i < b->count; i++) {
		for (int w = 0; w < ROW_WORDS; w++) {
			const char *text = row_word(&b->rows[i], w);

			if (b->settled[i][w])
				continue;
			if ((rc = words_lookup(at, row_dimension(w), text, &b->words[i][w])) != 0)
				return rc;
			b->settled[i][w] = text[0] == '\0' || b->words[i][w] != WORD_NONE;
			b->missing |= !b->settled[i][w];
		}
	}
	if (b->missing)
		return 0;
	if ((rc = at->env->txn_begin(at->env, NULL, &txn, 0)) != 0)
		return rc;
	if ((rc = book_rows(at, txn, b)) == 0)
		return txn->commit(txn, DB_TXN_WRITE_NOSYNC);
	{
		int aborted = txn->abort(txn);

		return aborted == DB_RUNRECOVERY ? aborted : rc;
	}
}

/* Rows that are not folded cannot be expired, and answers look at each of them: so booking does not
 * run away from folding.  Clerks fold much faster than a gateway books; this is for where there are
 * none (CGI alone), or they do not come to it. */
static void
keep_pace(struct store *s, size_t count)
{
	uint32_t unfolded = atomic_fetch_add(&s->gate.words->unfolded, (uint32_t)count);
	int64_t wait_ns = FOLD_ROW_NS * (int64_t)count * (unfolded / UNFOLDED_ROWS);

	if (unfolded < UNFOLDED_ROWS || store_fold(s, NULL) != 0)
		return;
	if (wait_ns > 100000000)
		wait_ns = 100000000;
	(void)nanosleep(&(struct timespec){ .tv_nsec = wait_ns }, NULL);
}

int
store_book(
	struct store *s, const struct usage_row *rows, size_t count, bool *booked, struct err *err)
{
	struct booking b = { .rows = rows, .count = count };

	if (count > STORE_BOOK_MAX)
		return err_set(err, ERR_INTERNAL, "at most %d rows at once", STORE_BOOK_MAX);
	if (count == 0)
		return 0;
	do {
		if (store_call(s, "booking", book, &b, err) != 0)
			return -1;
		for (size_t i = 0; i < count && b.missing; i++) {
			for (int w = 0; w < ROW_WORDS; w++) {
				if (b.settled[i][w])
					continue;
				if (words_number(s, row_dimension(w), row_word(&rows[i], w),
					    &b.words[i][w], err) != 0)
					return -1;
				b.settled[i][w] = true;
			}
		}
	} while (b.missing);
	memcpy(booked, b.booked, count * sizeof booked[0]);
	/* Clerks see to checkpoints.  Where there are none (CGI alone), or they are slow, we must:
	 * when all of the cache is changed pages, each new one waits for an fsync. */
	if (atomic_fetch_add(&s->gate.words->unchecked, (uint32_t)count) > UNCHECKED_ROWS)
		(void)store_checkpoint(s, NULL);
	keep_pace(s, count);
	return 0;
}

struct finding {
	struct id exchange;
	bool there;
	uint32_t recno;
	struct usage_row *row; /* NULL: not wanted */
};

int
booked_row(struct attach *at, DB_TXN *txn, struct id exchange, uint32_t *recno)
{
	DB *db = at->table[TABLE_BOOKED];
	uint8_t number[4];
	DBT key, data;
	int rc;

	dbt_in(&key, exchange.b, sizeof exchange.b);
	dbt_out(&data, number, sizeof number);
	if ((rc = db->get(db, txn, &key, &data, 0)) == 0)
		*recno = get_be32(number);
	return rc;
}

static int
find_booked(struct attach *at, void *arg, struct err *err)
{
	struct finding *f = arg;
	int rc = booked_row(at, NULL, f->exchange, &f->recno);

	(void)err;
	f->there = rc == 0;
	if (rc != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	if (f->row == NULL)
		return 0;
	rc = row_read(at, f->recno, f->row, &f->there);
	if (rc == DB_NOTFOUND) {
		f->there = false; /* expired */
		rc = 0;
	}
	if (f->there && !id_equal(f->row->exchange, f->exchange))
		f->there = false;
	return rc == 0 && f->there ? row_decision(at, f->recno, f->row) : rc;
}

int
store_is_booked(struct store *s, struct id exchange, struct err *err)
{
	struct finding f = { .exchange = exchange };

	return store_call(s, "reading", find_booked, &f, err) != 0 ? -1 : f.there;
}

int
store_row_get(struct store *s, struct id exchange, struct usage_row *out, struct err *err)
{
	struct finding f = { .exchange = exchange, .row = out };

	return store_call(s, "reading", find_booked, &f, err) != 0 ? -1 : f.there;
}
