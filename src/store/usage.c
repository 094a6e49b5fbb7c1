/*
 * usage.c - rows of usage: their form on disk, booking them exactly once, reading them back.
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

#define ROW_VERSION    1
#define UNCHECKED_ROWS 15000

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
}

bool
usage_row_counts(const struct usage_row *row)
{
	return row->ended_by != ENDED_REFUSED &&
	       (row->usage_source != USAGE_NONE || row->status < 500) &&
	       (row->ended_by != ENDED_CRASH || row->usage_source != USAGE_NONE);
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

/* ---- the form on disk ---- */

/* One pass of these writes, another reads, so the two cannot differ. */
struct pass {
	uint8_t *at;
	bool reading;
};

static void
pass_bytes(struct pass *p, void *data, size_t len)
{
	if (p->reading)
		memcpy(data, p->at, len);
	else
		memcpy(p->at, data, len);
	p->at += len;
}

/* The low `len` bytes of an unsigned number, big-endian. */
static uint64_t
pass_number(struct pass *p, uint64_t value, size_t len)
{
	if (p->reading) {
		value = 0;
		for (size_t i = 0; i < len; i++)
			value = value << 8 | p->at[i];
	} else {
		for (size_t i = 0; i < len; i++)
			p->at[i] = (uint8_t)(value >> 8 * (len - 1 - i));
	}
	p->at += len;
	return value;
}

/* Tokens take 40 bits: nobody has used a million million in one exchange. */
#define TOKENS_MAX ((1LL << 40) - 1)

static void
pass_tokens(struct pass *p, int64_t *n)
{
	int64_t held = *n < 0 ? 0 : *n > TOKENS_MAX ? TOKENS_MAX : *n;

	*n = (int64_t)pass_number(p, (uint64_t)held, 5);
}

static void
pass_text(struct pass *p, char *text, size_t room, const uint8_t *end)
{
	size_t left = (size_t)(end - p->at) - 1;
	size_t len = p->reading ? p->at[0] : strnlen(text, room - 1);

	if (len > left)
		len = left;
	if (len > room - 1)
		len = room - 1;
	*p->at++ = (uint8_t)len;
	pass_bytes(p, text, len);
	if (p->reading)
		text[len] = '\0';
}

#define CRC_BYTES 4
/* The texts share what is left of a row, an error takes the rest: what is cut is its end. */
static void
pass_row(struct pass *p, struct usage_row *r, uint32_t words[WORD__DIMENSIONS], const uint8_t *end)
{
	pass_bytes(p, r->exchange.b, sizeof r->exchange.b);
	r->time_ms = (int64_t)pass_number(p, (uint64_t)r->time_ms, 8);
	pass_bytes(p, r->project.b, sizeof r->project.b);
	pass_bytes(p, r->token.b, sizeof r->token.b);
	pass_bytes(p, r->upstream.b, sizeof r->upstream.b);
	pass_bytes(p, r->key.b, sizeof r->key.b);
	for (int d = 0; d < WORD__DIMENSIONS; d++)
		words[d] = (uint32_t)pass_number(p, words[d], 4);
	r->status = (uint16_t)pass_number(p, r->status, 2);
	r->err_code = (uint16_t)pass_number(p, r->err_code, 2);
	r->ended_by = (uint8_t)pass_number(p, r->ended_by, 1);
	r->usage_source = (uint8_t)pass_number(p, r->usage_source, 1);
	r->stream = (uint8_t)pass_number(p, r->stream, 1);
	r->attempts = (uint8_t)pass_number(p, r->attempts, 1);
	r->duration_ms = (uint32_t)pass_number(p, r->duration_ms, 4);
	r->ttfb_ms = (uint32_t)pass_number(p, r->ttfb_ms, 4);
	pass_tokens(p, &r->tokens.input);
	pass_tokens(p, &r->tokens.cache_read);
	pass_tokens(p, &r->tokens.cache_write);
	pass_tokens(p, &r->tokens.cache_write_1h);
	pass_tokens(p, &r->tokens.output);
	pass_tokens(p, &r->tokens.reasoning);
	r->cost_nusd = (int64_t)pass_number(p, (uint64_t)r->cost_nusd, 8);
	pass_text(p, r->upstream_request_id, sizeof r->upstream_request_id, end - 2);
	pass_text(p, r->session, sizeof r->session, end - 1);
	pass_text(p, r->error, sizeof r->error, end);
}

static void
row_write(
	struct row_disk *disk, const struct usage_row *row, const uint32_t words[WORD__DIMENSIONS])
{
	struct usage_row copy = *row;
	uint32_t numbers[WORD__DIMENSIONS];
	struct pass p = { .at = disk->at + 1 };

	memcpy(numbers, words, sizeof numbers);
	memset(disk, 0, sizeof *disk);
	disk->at[0] = ROW_VERSION;
	pass_row(&p, &copy, numbers, disk->at + ROW_BYTES - CRC_BYTES);
	put_be32(disk->at + ROW_BYTES - CRC_BYTES, hash_crc32(disk->at, ROW_BYTES - CRC_BYTES));
}

/* 0, DB_NOTFOUND: behind the end.  *there false: a hole, or a row that is damaged. */
int
row_read(struct attach *at, uint32_t recno, struct usage_row *row, bool *there)
{
	DB *db = at->table[TABLE_ROWS];
	db_recno_t number = recno;
	uint32_t words[WORD__DIMENSIONS] = { 0 };
	char text[WORD_BYTES];
	struct row_disk disk;
	struct pass p = { .at = disk.at + 1, .reading = true };
	DBT key, data;
	int rc;

	*there = false;
	dbt_in(&key, &number, sizeof number);
	dbt_out(&data, &disk, sizeof disk);
	rc = db->get(db, NULL, &key, &data, 0);
	if (rc == DB_KEYEMPTY)
		return 0;
	if (rc != 0)
		return rc;
	if (data.size != ROW_BYTES || disk.at[0] != ROW_VERSION ||
		get_be32(disk.at + ROW_BYTES - CRC_BYTES) !=
			hash_crc32(disk.at, ROW_BYTES - CRC_BYTES)) {
		log_write(LOG_ERROR, "store", "row %u is damaged and left out", recno);
		return 0;
	}
	memset(row, 0, sizeof *row);
	pass_row(&p, row, words, disk.at + ROW_BYTES - CRC_BYTES);
	if ((rc = words_text(at, WORD_MODEL, words[WORD_MODEL], text)) != 0)
		return rc;
	(void)span_copy(span_of(text), row->model, sizeof row->model);
	if ((rc = words_text(at, WORD_UPSTREAM_MODEL, words[WORD_UPSTREAM_MODEL], text)) != 0)
		return rc;
	(void)span_copy(span_of(text), row->upstream_model, sizeof row->upstream_model);
	if ((rc = words_text(at, WORD_ENDPOINT, words[WORD_ENDPOINT], text)) != 0)
		return rc;
	(void)span_copy(span_of(text), row->endpoint, sizeof row->endpoint);
	if ((rc = words_text(at, WORD_END_USER, words[WORD_END_USER], text)) != 0)
		return rc;
	(void)span_copy(span_of(text), row->end_user, sizeof row->end_user);
	*there = true;
	return 0;
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
	uint32_t words[STORE_BOOK_MAX][WORD__DIMENSIONS];
	bool settled[STORE_BOOK_MAX][WORD__DIMENSIONS]; /* its number is known */
	bool missing;
	bool booked[STORE_BOOK_MAX];
};

static const char *
word_of(const struct usage_row *row, enum dimension d)
{
	switch (d) {
	case WORD_MODEL:
		return row->model;
	case WORD_UPSTREAM_MODEL:
		return row->upstream_model;
	case WORD_ENDPOINT:
		return row->endpoint;
	case WORD_END_USER:
		return row->end_user;
	case WORD__DIMENSIONS:
		break;
	}
	return "";
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
		row_write(&disk, &b->rows[i], b->words[i]);
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
	return 0;
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
		for (int d = 0; d < WORD__DIMENSIONS; d++) {
			const char *text = word_of(&b->rows[i], (enum dimension)d);

			if (b->settled[i][d])
				continue;
			if ((rc = words_lookup(at, (enum dimension)d, text, &b->words[i][d])) != 0)
				return rc;
			b->settled[i][d] = text[0] == '\0' || b->words[i][d] != WORD_NONE;
			b->missing |= !b->settled[i][d];
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
			for (int d = 0; d < WORD__DIMENSIONS; d++) {
				if (b.settled[i][d])
					continue;
				if (words_number(s, (enum dimension)d,
					    word_of(&rows[i], (enum dimension)d), &b.words[i][d],
					    err) != 0)
					return -1;
				b.settled[i][d] = true;
			}
		}
	} while (b.missing);
	memcpy(booked, b.booked, count * sizeof booked[0]);
	/* Clerks see to checkpoints.  Where there are none (CGI alone), or they are slow, we must:
	 * when all of the cache is changed pages, each new one waits for an fsync. */
	if (atomic_fetch_add(&s->gate.words->unchecked, (uint32_t)count) > UNCHECKED_ROWS)
		(void)store_checkpoint(s, NULL);
	return 0;
}

struct finding {
	struct id exchange;
	bool there;
	uint32_t recno;
	struct usage_row *row; /* NULL: not wanted */
};

static int
find_booked(struct attach *at, void *arg, struct err *err)
{
	struct finding *f = arg;
	DB *db = at->table[TABLE_BOOKED];
	uint8_t number[4];
	DBT key, data;
	int rc;

	(void)err;
	f->there = false;
	dbt_in(&key, f->exchange.b, sizeof f->exchange.b);
	dbt_out(&data, number, sizeof number);
	rc = db->get(db, NULL, &key, &data, 0);
	if (rc != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	f->there = true;
	f->recno = get_be32(number);
	if (f->row == NULL)
		return 0;
	rc = row_read(at, f->recno, f->row, &f->there);
	if (rc == DB_NOTFOUND) {
		f->there = false; /* expired */
		rc = 0;
	}
	if (f->there && !id_equal(f->row->exchange, f->exchange))
		f->there = false;
	return rc;
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

#define ROWS_BATCH 64

struct rows_walk {
	uint32_t before; /* 0: from the end */
	bool end;
	size_t count;
	uint32_t recno[ROWS_BATCH];
	struct usage_row rows[ROWS_BATCH];
};

static int
rows_batch(struct attach *at, void *arg, struct err *err)
{
	struct rows_walk *w = arg;
	uint32_t first, next, recno;
	int rc = rows_bounds(at, &first, &next), holes = 0;
	bool more = false;

	(void)err;
	w->count = 0;
	if (rc != 0)
		return rc;
	recno = w->before == 0 || recno_before(next, w->before) ? next : w->before;
	while (recno_before(first, recno)) {
		bool there;

		if (--recno == 0)
			recno--; /* there is no record 0 */
		rc = row_read(at, recno, &w->rows[w->count], &there);
		if (rc == DB_NOTFOUND)
			there = false;
		else if (rc != 0)
			return rc;
		if (there)
			w->recno[w->count++] = recno;
		more = w->count == ROWS_BATCH || (!there && ++holes == 10000);
		if (more)
			break;
	}
	w->before = recno; /* only now: this may be run again from the start */
	w->end = !more;
	return 0;
}

int
store_rows_each(struct store *s, uint64_t *cursor,
	bool (*fn)(void *ctx, const struct usage_row *row), void *ctx, struct err *err)
{
	struct rows_walk *w = malloc(sizeof *w);
	int rc;

	if (w == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	w->before = (uint32_t)*cursor;
	do {
		rc = store_call(s, "reading", rows_batch, w, err);
		for (size_t i = 0; rc == 0 && i < w->count; i++) {
			*cursor = w->recno[i];
			if (!fn(ctx, &w->rows[i])) {
				free(w);
				return 0;
			}
		}
	} while (rc == 0 && !w->end);
	free(w);
	return rc;
}
