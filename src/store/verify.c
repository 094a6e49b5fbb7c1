/*
 * verify.c - is a copy of a store whole?
 *
 * Two ways to look, since neither sees all: libdb's own check of every page, and what must agree
 * between entries: indexes and what they point at, rows and the register of booked exchanges, rows
 * and the sums made of them.  Only ever on a copy: libdb's check of a table in use finds faults
 * that are none.
 */
#include "store/care-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR_MS    3600000LL
#define ROWS_ASKED 1000
#define HOURS_SURE (48 * HOUR_MS) /* sums by the hour last as long at the least */

/* ---- telling ---- */

void
care_begin(struct care_run *r, const char *what, int64_t total)
{
	r->what = what;
	r->done = 0;
	r->total = total;
	r->told_us = 0;
	care_step(r, 0);
}

void
care_step(void *run, int64_t amount)
{
	struct care_run *r = run;
	int64_t now = clock_mono_us();

	r->done += amount;
	if (r->care == NULL || r->care->progress == NULL ||
		(r->told_us != 0 && now - r->told_us < 100000 && r->done != r->total))
		return;
	r->told_us = now;
	r->care->progress(r->care->ctx, r->what, r->done, r->total);
}

void
care_problem(struct care_run *r, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (r->out->problems++ >= CARE_PROBLEMS_MAX || r->care == NULL || r->care->problem == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r->care->problem(r->care->ctx, text);
}

/* ---- entries of the main table ---- */

struct entries {
	struct care_run *run;
	void *record; /* room for one of any kind */
	struct token token;
};

static int
get(struct attach *at, const void *k, size_t len, void *out, size_t room, size_t *got)
{
	DB *db = at->table[TABLE_MAIN];
	DBT key, data;
	int rc;

	dbt_in(&key, k, len);
	dbt_out(&data, out, room);
	rc = db->get(db, NULL, &key, &data, 0);
	*got = rc == 0 ? data.size : 0;
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
get_id(struct attach *at, char type, int kind, const void *text, size_t len, struct id *id,
	bool *there)
{
	uint8_t k[KEY_MAX];
	size_t n = 0, got;
	int rc;

	k[n++] = (uint8_t)type;
	if (kind >= 0)
		k[n++] = (uint8_t)kind;
	memcpy(k + n, text, len);
	rc = get(at, k, n + len, id->b, sizeof id->b, &got);
	*there = got == sizeof id->b;
	return rc;
}

static int
has_record(struct attach *at, enum record_kind kind, struct id id, bool *there)
{
	uint8_t k[18] = { KEY_RECORD, (uint8_t)kind }, data[RECORD_BINARY_MAX];
	size_t got;
	int rc;

	memcpy(k + 2, id.b, sizeof id.b);
	rc = get(at, k, sizeof k, data, sizeof data, &got);
	*there = got > 0;
	return rc;
}

/* What a token or key points at, and what points at it. */
static int
check_links(struct attach *at, struct entries *e, enum record_kind kind, const char *name)
{
	const struct record *head = e->record;
	const struct field *named = record_name_field(kind);
	struct id owner;
	bool there;
	int rc = 0;

	if (named != NULL) {
		const char *text = (const char *)e->record + named->offset;

		rc = get_id(at, KEY_NAME, (int)kind, text, strlen(text), &owner, &there);
		if (rc == 0 && (!there || !id_equal(owner, head->id)))
			care_problem(e->run, "%s: its name is not in the index", name);
	}
	if (rc == 0 && kind == RECORD_TOKEN) {
		const struct token *t = e->record;

		rc = get_id(at, KEY_HASH, -1, t->sha256, SHA256_BYTES, &owner, &there);
		if (rc == 0 && (!there || !id_equal(owner, head->id)))
			care_problem(e->run, "%s: its secret is not in the index", name);
		if (rc == 0 && (rc = has_record(at, RECORD_PROJECT, t->project, &there)) == 0 &&
			!there)
			care_problem(e->run, "%s: its project is not there", name);
	}
	if (rc == 0 && kind == RECORD_KEY) {
		rc = has_record(
			at, RECORD_UPSTREAM, ((const struct key *)e->record)->upstream, &there);
		if (rc == 0 && !there)
			care_problem(e->run, "%s: its upstream is not there", name);
	}
	return rc;
}

static int
check_record(struct attach *at, struct entries *e, const uint8_t *key, size_t key_len,
	const uint8_t *data, size_t len)
{
	const struct record *head = e->record;
	char name[ID_TEXT_BYTES];
	enum record_kind kind = (enum record_kind)key[1];
	struct id id;

	if (key_len != 18) {
		care_problem(e->run, "a record has a key of %zu bytes", key_len);
		return 0;
	}
	if (key[1] >= RECORD__COUNT)
		return 0; /* of a newer program */
	memcpy(id.b, key + 2, sizeof id.b);
	id_text(record_prefix(kind), id, name);
	e->run->out->records[kind]++;
	if (record_decode(kind, data, len, e->record) != 0)
		care_problem(e->run, "%s: the record is damaged", name);
	else if (!id_equal(head->id, id))
		care_problem(e->run, "%s: the record is another's", name);
	else
		return check_links(at, e, kind, name);
	return 0;
}

/* An index entry must point at a record that says the same. */
static int
check_index(struct attach *at, struct entries *e, const uint8_t *key, size_t key_len,
	const uint8_t *data, size_t len)
{
	uint8_t k[18] = { KEY_RECORD, RECORD_TOKEN }, found[RECORD_BINARY_MAX];
	bool by_name = key[0] == KEY_NAME;
	size_t got;
	int rc;

	if (by_name && (key_len < 2 || key[1] >= RECORD__COUNT))
		return 0;
	if (by_name)
		k[1] = key[1];
	if (len != sizeof(struct id) || (!by_name && key_len != 1 + SHA256_BYTES)) {
		care_problem(e->run, "an index entry is damaged");
		return 0;
	}
	memcpy(k + 2, data, len);
	if ((rc = get(at, k, sizeof k, found, sizeof found, &got)) != 0)
		return rc;
	if (got == 0) {
		care_problem(e->run, "an index of %s points at one that is not there",
			by_name ? "names" : "secrets");
	} else if (!by_name && record_decode(RECORD_TOKEN, found, got, &e->token) == 0 &&
		   memcmp(e->token.sha256, key + 1, SHA256_BYTES) != 0 &&
		   memcmp(e->token.old_sha256, key + 1, SHA256_BYTES) != 0) {
		care_problem(e->run, "a secret in the index is not the token's it points at");
	}
	return 0;
}

static int
check_entry(struct attach *at, struct entries *e, const uint8_t *key, size_t key_len,
	const uint8_t *data, size_t len)
{
	switch (key[0]) {
	case KEY_RECORD:
		return check_record(at, e, key, key_len, data, len);
	case KEY_NAME:
	case KEY_HASH:
		return check_index(at, e, key, key_len, data, len);
	case KEY_VALUE:
		e->run->out->values++;
		return 0;
	case KEY_AUDIT:
		e->run->out->audit++;
		return 0;
	default:
		return 0;
	}
}

static int
check_main_table(struct attach *at, void *arg, struct err *err)
{
	struct entries *e = arg;
	DB *db = at->table[TABLE_MAIN];
	uint8_t key_room[KEY_MAX + 64], data_room[RECORD_BINARY_MAX];
	DBT key, data;
	DBC *cursor;
	int rc = db->cursor(db, NULL, &cursor, 0), closed;

	(void)err;
	if (rc != 0)
		return rc;
	dbt_out(&key, key_room, sizeof key_room);
	dbt_out(&data, data_room, sizeof data_room);
	data.flags |= DB_DBT_PARTIAL; /* rows of the vault are longer, and not looked into */
	data.dlen = sizeof data_room;
	while ((rc = cursor->get(cursor, &key, &data, DB_NEXT)) == 0 && key.size > 0) {
		if ((rc = check_entry(at, e, key_room, key.size, data_room, data.size)) != 0)
			break;
		care_step(e->run, 1);
	}
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

/* ---- rows ---- */

#define SUM_SLOTS_FIRST 1024

struct value_sum {
	uint8_t by; /* enum rollup_by + 1; 0: free */
	char name[WORD_BYTES];
	struct usage_sum sum;
};

struct rows_check {
	struct care_run *run;
	uint32_t first, next;
	int64_t newest_ms, complete_from_ms; /* hours from there on are whole */
	bool all;                            /* no row has been expired */
	struct value_sum *slot;              /* open addressing */
	size_t slots, used;
	bool no_memory;
};

/* What goes by a name or id, and has a whole row for itself. */
static const struct {
	enum rollup_by by;
	const char *what, *prefix;
} compared[] = {
	{ BY_TOTAL, "all", "" },
	{ BY_PROJECT, "project", "prj_" },
	{ BY_TOKEN, "token", "tok_" },
	{ BY_UPSTREAM, "upstream", "up_" },
	{ BY_KEY, "key", "key_" },
	{ BY_MODEL, "model", "" },
};
#define COMPARED (sizeof compared / sizeof compared[0])

static struct value_sum *find_sum(struct rows_check *c, size_t which, const char *name, bool make);

static bool
grow_sums(struct rows_check *c)
{
	struct rows_check bigger = *c;

	bigger.slots = c->slots == 0 ? SUM_SLOTS_FIRST : c->slots * 2;
	bigger.used = 0;
	if ((bigger.slot = calloc(bigger.slots, sizeof bigger.slot[0])) == NULL)
		return false;
	for (size_t i = 0; i < c->slots; i++)
		if (c->slot[i].by != 0) {
			struct value_sum *to =
				find_sum(&bigger, c->slot[i].by - 1u, c->slot[i].name, true);

			if (to != NULL)
				*to = c->slot[i];
		}
	free(c->slot);
	*c = bigger;
	return true;
}

/* which: index into compared. */
static struct value_sum *
find_sum(struct rows_check *c, size_t which, const char *name, bool make)
{
	size_t i;

	if (make && c->used * 2 >= c->slots && !grow_sums(c)) {
		c->no_memory = true;
		return NULL;
	}
	if (c->slots == 0)
		return NULL;
	i = hash_64(name, strlen(name), which) % c->slots;
	while (c->slot[i].by != 0 &&
		(c->slot[i].by != which + 1 || strcmp(c->slot[i].name, name) != 0))
		i = (i + 1) % c->slots;
	if (c->slot[i].by == 0) {
		if (!make)
			return NULL;
		c->used++;
		c->slot[i].by = (uint8_t)(which + 1);
		(void)snprintf(c->slot[i].name, sizeof c->slot[i].name, "%s", name);
	}
	return &c->slot[i];
}

static void
value_name(size_t which, const struct usage_row *row, char out[WORD_BYTES])
{
	struct id id;
	char text[ID_TEXT_BYTES];

	out[0] = '\0';
	switch (compared[which].by) {
	case BY_PROJECT:
		id = row->project;
		break;
	case BY_TOKEN:
		id = row->token;
		break;
	case BY_UPSTREAM:
		id = row->upstream;
		break;
	case BY_KEY:
		id = row->key;
		break;
	case BY_MODEL:
		(void)snprintf(out, WORD_BYTES, "%s", row->model);
		return;
	default:
		return;
	}
	id_text(compared[which].prefix, id, text);
	(void)snprintf(out, WORD_BYTES, "%s", text);
}

static void
add_row(struct rows_check *c, const struct usage_row *row)
{
	char name[WORD_BYTES];

	c->run->out->rows++;
	if (row->time_ms > c->newest_ms)
		c->newest_ms = row->time_ms;
	for (size_t i = 0; i < COMPARED; i++) {
		struct value_sum *s;

		value_name(i, row, name);
		if (name[0] == '\0' && compared[i].by != BY_TOTAL)
			continue;
		if ((s = find_sum(c, i, name, true)) != NULL)
			usage_sum_add(&s->sum, row);
	}
	if (!c->all && row->time_ms >= c->complete_from_ms) {
		struct value_sum *s;

		(void)snprintf(name, sizeof name, "hour %lld", (long long)(row->time_ms / HOUR_MS));
		if ((s = find_sum(c, COMPARED, name, true)) != NULL)
			usage_sum_add(&s->sum, row);
	}
}

static int
check_booked(struct attach *at, struct rows_check *c, uint32_t recno, const struct usage_row *row)
{
	DB *db = at->table[TABLE_BOOKED];
	char name[ID_TEXT_BYTES];
	uint8_t number[4];
	DBT key, data;
	int rc;

	dbt_in(&key, row->exchange.b, sizeof row->exchange.b);
	dbt_out(&data, number, sizeof number);
	rc = db->get(db, NULL, &key, &data, 0);
	if (rc == 0 && data.size == 4 && get_be32(number) == recno)
		return 0;
	if (rc == 0 || rc == DB_NOTFOUND) {
		id_text("req_", row->exchange, name);
		care_problem(c->run, "%s: its row is not the one it is booked in", name);
		return 0;
	}
	return rc;
}

/*
 * What is expired was booked before the oldest row that is left, so it came before that was booked.
 * When that was is not known, but each row after it was booked later still, and nearly all of them
 * as soon as they had ended: a few that were booked late change nothing then.
 */
static int
find_complete(struct attach *at, struct rows_check *c)
{
	int64_t latest = clock_wall_ms() - HOURS_SURE;

	for (uint32_t recno = c->first, seen = 0; recno_before(recno, c->next) && seen < ROWS_ASKED;
		recno++, seen++) {
		struct usage_row row;
		bool there;
		int rc = recno == 0 ? DB_NOTFOUND : row_read(at, recno, &row, &there);

		if (rc != 0 && rc != DB_NOTFOUND)
			return rc;
		if (rc == 0 && there && row.time_ms + row.duration_ms > latest)
			latest = row.time_ms + row.duration_ms;
	}
	c->complete_from_ms = latest / HOUR_MS * HOUR_MS + 2 * HOUR_MS;
	return 0;
}

static int
check_rows(struct attach *at, void *arg, struct err *err)
{
	struct rows_check *c = arg;
	DB *db = at->table[TABLE_ROWS];
	int rc = rows_bounds(at, &c->first, &c->next);

	(void)err;
	c->all = c->first <= 1;
	if (rc == 0 && !c->all)
		rc = find_complete(at, c);
	for (uint32_t recno = c->first; rc == 0 && recno_before(recno, c->next); recno++) {
		struct usage_row row;
		bool there;

		if (recno == 0)
			continue;
		rc = row_read(at, recno, &row, &there);
		if (rc == DB_NOTFOUND)
			rc = 0;
		if (rc != 0)
			break;
		if (!there) {
			db_recno_t number = recno;
			uint8_t disk[ROW_BYTES];
			DBT key, data;

			/* a hole is nothing; bytes that are no row are */
			dbt_in(&key, &number, sizeof number);
			dbt_out(&data, disk, sizeof disk);
			rc = db->get(db, NULL, &key, &data, 0);
			if (rc == 0)
				care_problem(c->run, "row %u is damaged", recno);
			rc = rc == DB_KEYEMPTY || rc == DB_NOTFOUND ? 0 : rc;
			continue;
		}
		add_row(c, &row);
		rc = check_booked(at, c, recno, &row);
		care_step(c->run, 1);
	}
	return rc;
}

/* Every entry in the register points at its row, or at one that is expired. */
static int
check_register(struct attach *at, void *arg, struct err *err)
{
	struct rows_check *c = arg;
	DB *db = at->table[TABLE_BOOKED];
	struct usage_row row;
	uint8_t number[4];
	struct id id;
	DBT key, data;
	DBC *cursor;
	int rc = db->cursor(db, NULL, &cursor, 0), closed;

	(void)err;
	if (rc != 0)
		return rc;
	dbt_out(&key, id.b, sizeof id.b);
	dbt_out(&data, number, sizeof number);
	while ((rc = cursor->get(cursor, &key, &data, DB_NEXT)) == 0) {
		char name[ID_TEXT_BYTES];
		bool there = false;

		if (data.size != 4 || recno_before(get_be32(number), c->first))
			continue;
		rc = row_read(at, get_be32(number), &row, &there);
		if (rc != 0 && rc != DB_NOTFOUND)
			break;
		id_text("req_", id, name);
		if (!there || !id_equal(row.exchange, id))
			care_problem(c->run, "%s is booked, but its row is not there", name);
	}
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

/* Every decision is one of a row.  Those before the first row go with the next expiry. */
static int
check_decisions(struct attach *at, void *arg, struct err *err)
{
	struct rows_check *c = arg;
	DB *db = at->table[TABLE_DECISIONS];
	struct usage_row row;
	uint8_t number[4], bytes[DECISION_BYTES];
	DBT key, data;
	DBC *cursor;
	int rc, closed;

	(void)err;
	if (db == NULL || (rc = db->cursor(db, NULL, &cursor, 0)) != 0)
		return db == NULL ? 0 : rc;
	dbt_out(&key, number, sizeof number);
	dbt_out(&data, bytes, sizeof bytes);
	while ((rc = cursor->get(cursor, &key, &data, DB_NEXT)) == 0) {
		bool there = false;

		if (recno_before(get_be32(number), c->first))
			continue;
		rc = row_read(at, get_be32(number), &row, &there);
		if (rc != 0 && rc != DB_NOTFOUND)
			break;
		if (!there)
			care_problem(c->run, "the decision of row %u is there, but no such row",
				get_be32(number));
		care_step(c->run, 1);
	}
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

/* ---- sums ---- */

static bool
same_sum(const struct usage_sum *a, const struct usage_sum *b)
{
	return a->requests == b->requests && a->errors == b->errors && a->unpriced == b->unpriced &&
	       a->counted == b->counted && a->cost_nusd == b->cost_nusd &&
	       a->tokens.input == b->tokens.input && a->tokens.cache_read == b->tokens.cache_read &&
	       a->tokens.cache_write == b->tokens.cache_write &&
	       a->tokens.output == b->tokens.output;
}

struct sums_check {
	struct rows_check rows; /* what the sums come to: by value over all days */
	size_t which;
	bool has_other[COMPARED]; /* ids beyond the ceiling */
};

static bool
add_day(void *ctx, const struct rollup *r)
{
	struct sums_check *c = ctx;
	const char *prefix = compared[c->which].prefix;
	char name[WORD_BYTES], text[ID_TEXT_BYTES];
	struct value_sum *s;

	(void)snprintf(name, sizeof name, "%s", r->name);
	if (prefix[0] != '\0' && strcmp(r->name, "other") == 0)
		c->has_other[c->which] = true;
	if (prefix[0] != '\0') {
		id_text(prefix, r->id, text);
		(void)snprintf(name, sizeof name, "%s", text);
	}
	if ((s = find_sum(&c->rows, c->which, name, true)) != NULL)
		usage_sum_merge(&s->sum, &r->sum);
	c->rows.run->out->sums++;
	return !c->rows.no_memory;
}

static bool
add_hour(void *ctx, const struct rollup *r)
{
	struct sums_check *c = ctx;
	struct value_sum *s;
	char name[WORD_BYTES];

	(void)snprintf(name, sizeof name, "hour %lld", (long long)(r->from_ms / HOUR_MS));
	if ((s = find_sum(&c->rows, COMPARED, name, true)) != NULL)
		usage_sum_merge(&s->sum, &r->sum);
	return !c->rows.no_memory;
}

/* Each of a's must be in b, and the same. */
static void
compare(struct rows_check *a, struct rows_check *b, const bool *skip, const char *a_is,
	const char *b_is, bool same)
{
	for (size_t i = 0; i < a->slots; i++) {
		const struct value_sum *mine = &a->slot[i], *other;
		size_t which = mine->by - 1u;

		if (mine->by == 0 || (which < COMPARED && skip[which]))
			continue;
		other = find_sum(b, which, mine->name, false);
		if (other != NULL && (!same || same_sum(&mine->sum, &other->sum)))
			continue;
		care_problem(a->run,
			"usage of %s %s: %s say %lld requests and %lld nano-dollars, %s %lld and "
			"%lld",
			which < COMPARED ? compared[which].what : "the", mine->name, a_is,
			(long long)mine->sum.requests, (long long)mine->sum.cost_nusd, b_is,
			other == NULL ? 0 : (long long)other->sum.requests,
			other == NULL ? 0 : (long long)other->sum.cost_nusd);
	}
}

/* Where no row has been expired all sums must be those of the rows, to the last unit; otherwise
 * those of the hours that have all their rows. */
static int
check_sums(struct store *s, struct rows_check *rows, struct err *err)
{
	struct sums_check c = { .rows = { .run = rows->run } };
	struct rows_check hours = { .run = rows->run };
	int64_t from = rows->complete_from_ms;
	int rc = 0;

	for (c.which = 0; rc == 0 && c.which < COMPARED; c.which++)
		rc = store_rollup_each(s, compared[c.which].by, STEP_DAY, 0, INT64_MAX / 2, NULL,
			add_day, &c, err);
	if (rc == 0 && rows->all) {
		rows->run->out->sums_checked = true;
		compare(rows, &c.rows, c.has_other, "rows", "sums", true);
		compare(&c.rows, rows, c.has_other, "sums", "rows", false);
	} else if (rc == 0 && rows->newest_ms >= from) {
		struct sums_check h = { .rows = { .run = rows->run } };

		rows->run->out->sums_checked = true;
		rc = store_rollup_each(
			s, BY_TOTAL, STEP_HOUR, from, INT64_MAX / 2, NULL, add_hour, &h, err);
		for (size_t i = 0; rc == 0 && i < rows->slots; i++)
			if (rows->slot[i].by == COMPARED + 1) {
				struct value_sum *to =
					find_sum(&hours, COMPARED, rows->slot[i].name, true);

				if (to != NULL)
					*to = rows->slot[i];
			}
		if (rc == 0) {
			compare(&hours, &h.rows, c.has_other, "rows", "sums", true);
			compare(&h.rows, &hours, c.has_other, "sums", "rows", false);
		}
		if (rc == 0 && h.rows.no_memory)
			c.rows.no_memory = true;
		free(h.rows.slot);
		free(hours.slot);
	}
	if (rc == 0 && (c.rows.no_memory || rows->no_memory))
		rc = err_set(err, ERR_MEMORY, "no memory to compare rows with sums");
	free(c.rows.slot);
	return rc;
}

/* ---- all of it ---- */

static int
end_log(struct attach *at, void *arg, struct err *err)
{
	char **none = NULL;
	int rc = at->env->txn_checkpoint(at->env, 0, 0, DB_FORCE);

	(void)arg;
	(void)err;
	if (rc == 0)
		rc = at->env->log_archive(at->env, &none, DB_ARCH_REMOVE);
	free(none);
	return rc;
}

/* Pages of one table.  libdb tells of each fault it finds. */
static _Thread_local struct care_run *verifying;
static _Thread_local const char *verifying_file;

static void
page_fault(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	care_problem(verifying, "%s: %s", verifying_file, text);
}

static int
check_pages(struct care_run *r, const char *dir, const char *file, struct err *err)
{
	char path[CARE_PATH_BYTES];
	int64_t before = r->out->problems;
	DB *db;
	int rc = db_create(&db, NULL, 0);

	if (rc != 0)
		return err_set(err, ERR_MEMORY, "verifying: %s", db_strerror(rc));
	verifying = r;
	verifying_file = file;
	db->set_errcall(db, page_fault);
	(void)snprintf(path, sizeof path, "%s/db/%s", dir, file);
	rc = db->verify(db, path, NULL, NULL, 0); /* frees the handle */
	if (rc != 0 && r->out->problems == before)
		care_problem(r, "%s: %s", file, db_strerror(rc));
	return 0;
}

static int
check_open(struct care_run *r, struct store *s, struct err *err)
{
	struct entries e = { .run = r };
	struct rows_check rows = { .run = r };
	size_t room = 0;
	int rc;

	for (int kind = 0; kind < RECORD__COUNT; kind++)
		if (record_bytes((enum record_kind)kind) > room)
			room = record_bytes((enum record_kind)kind);
	if ((e.record = malloc(room)) == NULL)
		return err_set(err, ERR_MEMORY, "no memory to check records");
	care_begin(r, "checking records", 0);
	rc = store_call(s, "checking records", check_main_table, &e, err);
	free(e.record);
	if (rc == 0) {
		care_begin(r, "checking rows", 0);
		rc = store_call(s, "checking rows", check_rows, &rows, err);
	}
	if (rc == 0)
		rc = store_call(s, "checking rows", check_register, &rows, err);
	if (rc == 0)
		rc = store_call(s, "checking rows", check_decisions, &rows, err);
	if (rc == 0) {
		care_begin(r, "checking sums", 0);
		rc = check_sums(s, &rows, err);
	}
	free(rows.slot);
	if (rc == 0)
		rc = store_call(s, "ending the log", end_log, NULL, err);
	return rc;
}

/* Shared memory and locks of our own opening; no part of a copy. */
static void
remove_traces(const char *dir)
{
	static const char *const names[] = { "gate", "roster", "db/__db.001", "db/__db.002",
		"db/__db.003", "db/__db.004", "db/__db.005", "db/__db.006", "db/__db.007",
		"db/__db.008" };
	char path[CARE_PATH_BYTES];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
}

int
care_check(struct care_run *r, const char *dir, const char *key_file, struct err *err)
{
	struct store_options o = { .dir = dir, .master_key_file = key_file };
	struct store *s;
	int rc;

	care_begin(r, "recovering the copy", 0);
	if ((s = store_open_copy(&o, err)) == NULL)
		return -1;
	rc = check_open(r, s, err);
	store_close(s);
	remove_traces(dir);
	care_begin(r, "verifying pages", TABLE__COUNT);
	for (int i = 0; rc == 0 && i < TABLE__COUNT; i++) {
		rc = check_pages(r, dir, env_table_file((enum table)i), err);
		care_step(r, 1);
	}
	return rc;
}
