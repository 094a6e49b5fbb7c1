/* decision_test.c - why a request went where it went is kept beside its row: in the row where the
 * texts leave room, else in a table of its own; it goes with its row, and is in each copy. */
#include "store_fixture.h"

#include "base/hash.h"
#include "store/care.h"
#include "store/store-int.h"
#include "usage_rows.h"

static char problem[400];
static int problems;

static void
note_problem(void *ctx, const char *text)
{
	(void)ctx;
	if (problems++ == 0)
		(void)snprintf(problem, sizeof problem, "%s", text);
}

static const struct care care = { .problem = note_problem };

/* Bytes that nobody else has, none of them when len is 0. */
static void
decide(struct usage_row *row, size_t len)
{
	memset(row->decision, 0, sizeof row->decision);
	for (size_t i = 0; i < len; i++)
		row->decision[i] = (uint8_t)hash_64(&i, sizeof i, row->exchange.b[15]);
	row->decision_len = (uint16_t)len;
}

static struct usage_row
row_with(size_t decision, size_t texts)
{
	struct usage_row r = random_row(clock_wall_ms());

	for (size_t i = 0; i < texts; i++) {
		char *to = i < 63 ? r.upstream_request_id : i < 126 ? r.session : r.error;

		to[i % 63] = 'x';
	}
	decide(&r, decision);
	return r;
}

static int
count_entries(struct attach *at, void *arg, struct err *e)
{
	DB *db = at->table[TABLE_DECISIONS];
	uint8_t number[4], bytes[DECISION_BYTES];
	int *count = arg, rc;
	DBT key, data;
	DBC *cursor;

	(void)e;
	*count = 0;
	dbt_out(&key, number, sizeof number);
	dbt_out(&data, bytes, sizeof bytes);
	if ((rc = db->cursor(db, NULL, &cursor, 0)) != 0)
		return rc;
	while ((rc = cursor->get(cursor, &key, &data, DB_NEXT)) == 0)
		++*count;
	(void)cursor->close(cursor);
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
entries(struct store *s)
{
	int count;

	WORKS(store_call(s, "test", count_entries, &count, &err));
	return count;
}

static void
comes_back_whatever_its_length(void **state)
{
	struct fixture *f = *state;
	struct usage_row r, got;
	int apart = 0;

	for (size_t len = 0; len <= DECISION_BYTES; len += 5) {
		for (size_t texts = 0; texts <= 105; texts += 15) {
			int before = apart;
			bool booked;

			r = row_with(len, texts);
			WORKS(store_book(f->s, &r, 1, &booked, &err));
			assert_true(booked);
			assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
			assert_memory_equal(&r, &got, sizeof r);
			/* the usual one costs nothing, whatever else is in the row */
			apart = entries(f->s);
			assert_in_range(apart - before, 0, len <= 55 && texts <= 45 ? 0 : 1);
		}
	}
	assert_in_range(apart, 600, 760);
}

static bool
has_none(void *ctx, const struct usage_row *row)
{
	++*(int *)ctx;
	assert_int_equal(row->decision_len, 0);
	return true;
}

static void
lists_have_none(void **state)
{
	struct fixture *f = *state;
	uint64_t cursor = 0;
	struct usage_row rows[2];
	bool booked[2];
	int seen = 0;

	rows[0] = row_with(50, 0);
	rows[1] = row_with(400, 0);
	WORKS(store_book(f->s, rows, 2, booked, &err));
	WORKS(store_rows_each(f->s, &cursor, has_none, &seen, &err));
	assert_int_equal(seen, 2);
}

static void
one_booked_before_leaves_no_second(void **state)
{
	struct fixture *f = *state;
	struct usage_row r = row_with(400, 0), again = r, got;
	bool booked;

	WORKS(store_book(f->s, &r, 1, &booked, &err));
	assert_true(booked);
	decide(&again, 300);
	WORKS(store_book(f->s, &again, 1, &booked, &err));
	assert_false(booked);
	assert_int_equal(entries(f->s), 1);
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_memory_equal(&r, &got, sizeof r);
	WORKS(store_row_reprice(f->s, r.exchange, 77, NULL, &err) < 0 ? -1 : 0);
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_memory_equal(r.decision, got.decision, sizeof r.decision);
}

static void
book_many(struct store *s, int batches, struct usage_row rows[STORE_BOOK_MAX])
{
	bool booked[STORE_BOOK_MAX];

	for (int i = 0; i < batches; i++) {
		for (int j = 0; j < STORE_BOOK_MAX; j++)
			rows[j] = row_with(j % 2 ? 150 : 60, 0);
		WORKS(store_book(s, rows, STORE_BOOK_MAX, booked, &err));
	}
}

static int64_t
file_bytes(const struct fixture *f, const char *name)
{
	char path[128];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/db/%s", f->dir, name);
	return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* Goes with its row, and its room is used again. */
static void
goes_with_its_row(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct usage_row rows[STORE_BOOK_MAX], got;
	struct id first;
	int64_t once = 0;

	store_close(f->s);
	o.rows_cap_bytes = 4 * 315 * 640;
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	book_many(f->s, 1, rows);
	first = rows[1].exchange;
	for (int round = 0; round < 6; round++) {
		book_many(f->s, 40, rows);
		while (store_fold(f->s, &err) > 0)
			;
		WORKS(store_expire(f->s, &err));
		WORKS(store_checkpoint(f->s, &err));
		assert_int_equal(entries(f->s), 320); /* of the 640 rows left */
		if (round == 1)
			once = file_bytes(f, "decisions.db");
	}
	assert_in_range(file_bytes(f, "decisions.db"), 1, once + once / 4);
	assert_int_equal(store_row_get(f->s, first, &got, &err), 0);
	assert_int_equal(store_row_get(f->s, rows[63].exchange, &got, &err), 1);
	assert_memory_equal(&rows[63], &got, sizeof got);
}

static int
put_stray(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	DB *db = at->table[TABLE_DECISIONS];
	uint8_t number[4];
	DBT key, data;

	(void)arg;
	(void)e;
	put_be32(number, 5000);
	dbt_in(&key, number, sizeof number);
	dbt_in(&data, "abc", 3);
	return db->put(db, txn, &key, &data, 0);
}

static void
copies_have_them_and_a_stray_one_is_found(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct usage_row rows[STORE_BOOK_MAX], got;
	struct care_report report;
	char file[160];

	book_many(f->s, 4, rows);
	while (store_fold(f->s, &err) > 0)
		;
	(void)snprintf(file, sizeof file, "%s/one.tar", f->dir);
	WORKS(store_backup(f->s, file, NULL, &care, &report, &err));
	assert_int_equal(report.problems, 0);
	WORKS(store_txn(f->s, "test", DB_TXN_SYNC, put_stray, NULL, &err));
	WORKS(store_verify(f->s, &care, &report, &err));
	assert_int_equal(report.problems, 1);
	assert_non_null(strstr(problem, "the decision of row 5000 is there, but no such row"));
	store_close(f->s);
	WORKS(store_restore(&o, file, &care, &report, &err));
	assert_int_equal(report.problems, 0);
	f->s = fixture_open(f, false);
	for (int i = 0; i < STORE_BOOK_MAX; i++) {
		assert_int_equal(store_row_get(f->s, rows[i].exchange, &got, &err), 1);
		assert_memory_equal(&rows[i], &got, sizeof got);
	}
}

static void
a_dump_has_them(void **state)
{
	struct fixture *f = *state, to;
	struct dump_options o = { .secrets = DUMP_NO_SECRETS };
	struct usage_row rows[STORE_BOOK_MAX], got;
	struct care_report report;
	FILE *file = tmpfile();

	assert_non_null(file);
	book_many(f->s, 1, rows);
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_dump(f->s, file, &o, &care, &report, &err));
	rewind(file);
	fixture_dir(&to);
	to.s = fixture_open(&to, true);
	WORKS(store_load(to.s, file, &o, &care, &report, &err));
	for (int i = 0; i < STORE_BOOK_MAX; i++) {
		assert_int_equal(store_row_get(to.s, rows[i].exchange, &got, &err), 1);
		assert_memory_equal(&rows[i], &got, sizeof got);
	}
	store_close(to.s);
	remove_tree(to.dir);
	(void)fclose(file);
}

static int
drop_table(struct attach *at, void *arg, struct err *e)
{
	DB_TXN *txn;
	int rc;

	(void)arg;
	(void)e;
	(void)at->table[TABLE_DECISIONS]->close(at->table[TABLE_DECISIONS], 0);
	at->table[TABLE_DECISIONS] = NULL;
	if ((rc = at->env->txn_begin(at->env, NULL, &txn, 0)) != 0)
		return rc;
	if ((rc = at->env->dbremove(at->env, txn, "decisions.db", NULL, 0)) != 0)
		return rc;
	return txn->commit(txn, 0);
}

/* A store that an older program made has no table of them; and where it cannot be opened all else works. */
static void
an_older_store_gets_the_table(void **state)
{
	struct fixture *f = *state;
	struct usage_row r = row_with(400, 0), short_one = row_with(60, 0), got;
	bool booked;

	WORKS(store_call(f->s, "test", drop_table, NULL, &err));
	assert_int_equal(file_bytes(f, "decisions.db"), -1);
	WORKS(store_book(f->s, &r, 1, &booked, &err));
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_int_equal(got.decision_len, 0);
	WORKS(store_book(f->s, &short_one, 1, &booked, &err));
	assert_int_equal(store_row_get(f->s, short_one.exchange, &got, &err), 1);
	assert_memory_equal(&short_one, &got, sizeof got);
	store_close(f->s);
	f->s = fixture_open(f, false);
	assert_true(file_bytes(f, "decisions.db") > 0);
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_int_equal(got.decision_len, 0);
	r = row_with(400, 0);
	WORKS(store_book(f->s, &r, 1, &booked, &err));
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_memory_equal(&r, &got, sizeof got);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(comes_back_whatever_its_length),
		WITH_STORE(lists_have_none),
		WITH_STORE(one_booked_before_leaves_no_second),
		WITH_STORE(goes_with_its_row),
		WITH_STORE(copies_have_them_and_a_stray_one_is_found),
		WITH_STORE(a_dump_has_them),
		WITH_STORE(an_older_store_gets_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
