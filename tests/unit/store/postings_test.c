/* postings_test.c - a filtered list is what looking at every row would give. */
#include "store_fixture.h"
#include "store/usage-int.h"
#include "usage_rows.h"

#define MANY 9000 /* more than two blocks of 4,096 */

static struct usage_row all[MANY + STORE_BOOK_MAX];
static int all_count;

static struct usage_row
row_of_block(int i)
{
	struct usage_row r = random_row(clock_wall_ms());

	memset(r.tags, 0, 2 * sizeof r.tags[0]);
	if (i == 5000)
		memset(r.end_user, 0, sizeof r.end_user);
	/* one that is in every row, many, few and one */
	(void)snprintf(r.tags[0], sizeof r.tags[0], "always");
	if (i % 1000 == 17)
		(void)snprintf(r.tags[1], sizeof r.tags[1], "seldom");
	if (i == 5000)
		(void)snprintf(r.end_user, sizeof r.end_user, "once");
	return r;
}

static void
book_all(struct fixture *f, int from, int to)
{
	bool booked[STORE_BOOK_MAX];

	for (int at = from; at < to;) {
		int n = 1 + (int)random_below(STORE_BOOK_MAX);

		n = n > to - at ? to - at : n;
		for (int i = at; i < at + n; i++)
			all[i] = row_of_block(i);
		WORKS(store_book(f->s, all + at, (size_t)n, booked, &err));
		if (random_below(20) == 0) /* holes */
			WORKS(store_book(f->s, all + at, (size_t)n, booked, &err));
		at += n;
	}
	all_count = to;
}

static bool
value_is(const char *prefix, struct id id, const char *value)
{
	char text[ID_TEXT_BYTES];

	id_text(prefix, id, text);
	return strcmp(text, value) == 0;
}

static bool
one_holds(const struct usage_row *r, enum rows_by by, const char *value)
{
	bool any = false;

	switch (by) {
	case ROWS_PROJECT:
		return value_is("prj_", r->project, value);
	case ROWS_TOKEN:
		return value_is("tok_", r->token, value);
	case ROWS_UPSTREAM:
		return value_is("up_", r->upstream, value);
	case ROWS_KEY:
		return value_is("key_", r->key, value);
	case ROWS_MODEL:
		return strcmp(r->model, value) == 0 || strcmp(r->upstream_model, value) == 0;
	case ROWS_END_USER:
		return strcmp(r->end_user, value) == 0;
	case ROWS_TAG:
		for (int i = 0; i < USAGE_TAGS_MAX; i++)
			any |= strcmp(r->tags[i], value) == 0;
		return any;
	case ROWS_STATUS:
		return value[1] == 'x' ? r->status / 100 == value[0] - '0'
				       : r->status == atoi(value);
	case ROWS_FAILED:
		return usage_row_failed(r);
	case ROWS__COUNT:
		break;
	}
	return false;
}

static bool
holds(const struct usage_row *r, const struct rows_filter *filter)
{
	for (int by = 0; by < ROWS__COUNT; by++)
		if (filter->value[by] != NULL && !one_holds(r, by, filter->value[by]))
			return false;
	return true;
}

struct expecting {
	const struct rows_filter *filter;
	int at; /* of the row that came last */
	int count, stop_at;
};

static bool
expect_next(void *ctx, const struct usage_row *row)
{
	struct expecting *e = ctx;

	do
		assert_true(--e->at >= 0);
	while (!holds(&all[e->at], e->filter));
	assert_true(id_equal(all[e->at].exchange, row->exchange));
	assert_memory_equal(&all[e->at], row, sizeof *row);
	return ++e->count % e->stop_at != 0;
}

/* Page by page, from the newest to the oldest. */
static void
check_filter(struct store *s, const struct rows_filter *filter, int page)
{
	struct expecting e = { .filter = filter, .at = all_count, .stop_at = page };
	uint64_t cursor = 0;
	int before;

	do {
		before = e.count;
		WORKS(store_rows_find(s, filter, &cursor, expect_next, &e, &err));
	} while (e.count > before && e.count % page == 0);
	while (--e.at >= 0)
		assert_false(holds(&all[e.at], filter));
}

static void
check_filters(struct store *s)
{
	char text[ROWS__COUNT][ID_TEXT_BYTES];
	const struct usage_row *r = &all[all_count / 2];

	id_text("prj_", r->project, text[ROWS_PROJECT]);
	id_text("tok_", r->token, text[ROWS_TOKEN]);
	id_text("up_", numbered_id(3, 1), text[ROWS_UPSTREAM]);
	id_text("key_", numbered_id(4, 2), text[ROWS_KEY]);
	{
		struct rows_filter filters[] = {
			{ { [ROWS_PROJECT] = text[ROWS_PROJECT] } },
			{ { [ROWS_TOKEN] = text[ROWS_TOKEN] } },
			{ { [ROWS_UPSTREAM] = text[ROWS_UPSTREAM] } },
			{ { [ROWS_KEY] = text[ROWS_KEY] } },
			{ { [ROWS_MODEL] = "model-3" } },
			{ { [ROWS_MODEL] = "sent-1" } },
			{ { [ROWS_MODEL] = "never seen" } },
			{ { [ROWS_END_USER] = "user-7" } },
			{ { [ROWS_END_USER] = "once" } },
			{ { [ROWS_TAG] = "always" } },
			{ { [ROWS_TAG] = "seldom" } },
			{ { [ROWS_STATUS] = "4xx" } },
			{ { [ROWS_STATUS] = "200" } },
			{ { [ROWS_STATUS] = "404" } },
			{ { [ROWS_FAILED] = "" } },
			{ { [ROWS_PROJECT] = text[ROWS_PROJECT],
				[ROWS_MODEL] = "sent-2",
				[ROWS_TAG] = "tag=2",
				[ROWS_STATUS] = "4xx" } },
			{ { [ROWS_TAG] = "seldom", [ROWS_END_USER] = "once" } },
		};

		for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
			check_filter(s, &filters[i], 1 + (int)random_below(100));
			check_filter(s, &filters[i], MANY);
		}
	}
}

static void
a_filtered_list_is_what_all_rows_say(void **state)
{
	struct fixture *f = *state;

	book_all(f, 0, 1500);
	check_filters(f->s); /* nothing is folded */
	while (store_fold(f->s, &err) > 0)
		;
	check_filters(f->s); /* all is */
	book_all(f, 1500, MANY - 700);
	while (store_fold(f->s, &err) > 0)
		;
	book_all(f, MANY - 700, MANY);
	check_filters(f->s);
}

static void
a_filter_that_makes_no_sense_is_refused(void **state)
{
	struct fixture *f = *state;
	static const struct rows_filter wrong[] = {
		{ { [ROWS_PROJECT] = "my project" } },
		{ { [ROWS_TOKEN] = "prj_0000000000000000000001" } },
		{ { [ROWS_STATUS] = "4x" } },
		{ { [ROWS_STATUS] = "" } },
		{ { [ROWS_STATUS] = "70000" } },
	};
	struct expecting e = { 0 };

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		REFUSED(store_rows_find(f->s, &wrong[i], &(uint64_t){ 0 }, expect_next, &e, &err),
			ERR_BAD_REQUEST);
}

struct late_row {
	uint32_t recno;
	struct row_disk disk;
	bool back;
};

/* Takes a row out of the queue, or puts it back: so looks one that is appended slowly. */
static int
move_row(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	struct late_row *r = arg;
	DB *db = at->table[TABLE_ROWS];
	db_recno_t number = r->recno;
	DBT key, data;
	int rc;

	(void)e;
	dbt_in(&key, &number, sizeof number);
	dbt_out(&data, &r->disk, sizeof r->disk);
	data.size = sizeof r->disk;
	if (r->back)
		return db->put(db, txn, &key, &data, 0);
	rc = db->get(db, txn, &key, &data, 0);
	return rc != 0 ? rc : db->del(db, txn, &key, 0);
}

static void
a_row_that_came_late_is_found_before_it_is_folded_and_after(void **state)
{
	struct fixture *f = *state;
	struct late_row late = { .recno = 50 };
	struct usage_sum sum;
	bool booked;

	for (int i = 0; i < 100; i++) {
		all[i] = row_of_block(i);
		WORKS(store_book(f->s, &all[i], 1, &booked, &err));
	}
	all_count = 100;
	WORKS(store_txn(f->s, "moving", 0, move_row, &late, &err));
	assert_int_equal(store_fold(f->s, &err), 99);
	late.back = true;
	WORKS(store_txn(f->s, "moving", 0, move_row, &late, &err));
	for (int folded = 0; folded < 2; folded++) {
		check_filters(f->s);
		WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
		assert_int_equal(sum.requests, 100);
		assert_int_equal(store_fold(f->s, &err), !folded);
	}
}

static int
count_old_postings(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint32_t first, next, *count = arg;
	uint8_t k[64] = { KEY_POSTING };
	DBT key, data = { .flags = DB_DBT_USERMEM | DB_DBT_PARTIAL };
	DBC *cursor;
	int rc = rows_bounds(at, &first, &next);

	(void)e;
	count[0] = count[1] = 0;
	if (rc != 0 || (rc = db->cursor(db, txn, &cursor, 0)) != 0)
		return rc;
	dbt_out(&key, k, sizeof k);
	key.size = 1;
	for (rc = cursor->get(cursor, &key, &data, DB_SET_RANGE); rc == 0 && k[0] == KEY_POSTING;
		rc = cursor->get(cursor, &key, &data, DB_NEXT))
		count[get_be32(k + 1) >= first >> BLOCK_SHIFT]++;
	(void)cursor->close(cursor);
	return rc == DB_NOTFOUND ? 0 : rc;
}

/* Rows that go take their postings along, and what stays is still found. */
static void
postings_go_with_their_rows(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct store_health h;
	struct rows_filter always = { { [ROWS_TAG] = "always" } };
	struct expecting e = { .filter = &always, .stop_at = MANY };
	uint32_t count[2]; /* of blocks that are gone, and others */

	book_all(f, 0, MANY);
	store_close(f->s);
	o.rows_cap_bytes = 4LL * 315 * 600; /* 600 rows are the least of it */
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_expire(f->s, &err));
	WORKS(store_health(f->s, &h, &err));
	assert_true(h.rows >= 500 && h.rows <= 700);
	WORKS(store_txn(f->s, "counting", 0, count_old_postings, count, &err));
	assert_int_equal(count[0], 0);
	assert_true(count[1] > 10);
	e.at = all_count;
	WORKS(store_rows_find(f->s, &always, &(uint64_t){ 0 }, expect_next, &e, &err));
	assert_true(e.count >= 500 && e.count <= h.rows);
}

/* A store as version 0.1.0 left it: sums of eight bytes a number, a position without what came
 * later, no postings. */
static int
make_old(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t k[64], bytes[4096];
	DBT key, data;
	DBC *cursor;
	int rc = db->cursor(db, txn, &cursor, 0);

	(void)arg;
	(void)e;
	dbt_out(&key, k, sizeof k);
	dbt_out(&data, bytes, sizeof bytes);
	while (rc == 0 && (rc = cursor->get(cursor, &key, &data, DB_NEXT)) == 0) {
		struct usage_sum sum;

		if (k[0] == KEY_POSTING || k[0] == BY_END_USER || k[0] == BY_TAG) {
			rc = cursor->del(cursor, 0);
			continue;
		}
		if (k[0] == KEY_POSITION) {
			data.size = 20 + 4 * get_be32(bytes + 16);
		} else {
			rc = sum_read(bytes, data.size, &sum);
			memset(bytes, 0, 1 + 8 * 14);
			bytes[0] = 1;
			put_be64(bytes + 1, (uint64_t)sum.requests);
			put_be64(bytes + 1 + 8 * 9, (uint64_t)sum.cost_nusd);
			put_be64(bytes + 1 + 8 * 13, (uint64_t)sum.counted);
			data.size = 1 + 8 * 14;
		}
		if (rc == 0)
			rc = cursor->put(cursor, &key, &data, DB_CURRENT);
	}
	(void)cursor->close(cursor);
	return rc == DB_NOTFOUND ? 0 : rc;
}

static void
what_an_older_program_folded_is_found_and_summed(void **state)
{
	struct fixture *f = *state;
	struct usage_sum wanted = { 0 }, sum;

	book_all(f, 0, 1000);
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_txn(f->s, "aging", 0, make_old, NULL, &err));
	check_filters(f->s);
	book_all(f, 1000, 2000);
	check_filters(f->s);
	while (store_fold(f->s, &err) > 0)
		;
	book_all(f, 2000, 2100);
	check_filters(f->s);
	for (int round = 0; round < 2; round++) {
		memset(&wanted, 0, sizeof wanted);
		for (int i = 0; i < all_count; i++)
			usage_sum_add(&wanted, &all[i]);
		WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
		assert_int_equal(sum.requests, wanted.requests);
		assert_int_equal(sum.counted, wanted.counted);
		assert_int_equal(sum.cost_nusd, wanted.cost_nusd);
		all[10].cost_nusd = 777; /* one of the old ones, and a new one */
		all[1500].cost_nusd = 888;
		assert_int_equal(store_row_reprice(f->s, all[10].exchange, 777, NULL, &err), 1);
		assert_int_equal(store_row_reprice(f->s, all[1500].exchange, 888, NULL, &err), 1);
	}
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		IN_STORE(a_filtered_list_is_what_all_rows_say),
		IN_STORE(a_filter_that_makes_no_sense_is_refused),
		IN_STORE(what_an_older_program_folded_is_found_and_summed),
		IN_STORE(a_row_that_came_late_is_found_before_it_is_folded_and_after),
		IN_STORE(postings_go_with_their_rows),
	};

	return cmocka_run_group_tests_name("store/postings", tests, NULL, NULL);
}
