/* usage_test.c - rows are booked exactly once, and every sum is what the rows say. */
#include "store_fixture.h"

#include "base/hash.h"
#include "store/store-int.h"
#include "usage_rows.h"

#define MINUTE_MS 60000LL
#define HOUR_MS   3600000LL
#define DAY_MS    86400000LL

static void
a_row_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct usage_row r, got;
	bool booked;

	for (int i = 0; i < 200; i++) {
		r = random_row(clock_wall_ms());
		(void)snprintf(r.upstream_request_id, sizeof r.upstream_request_id,
			"req_011CSHoEeqs5C35K2UUqR7Fy");
		(void)snprintf(r.session, sizeof r.session, "0192f0c1-2f6c-7a51-9b7e-3d9f8a3f8f7a");
		(void)snprintf(r.end_user, sizeof r.end_user, "user-%d", i);
		(void)snprintf(r.upstream_model, sizeof r.upstream_model, "gpt-%d", i % 3);
		(void)snprintf(r.error, sizeof r.error, "%s", i % 2 ? "the provider hung up" : "");
		for (int tag = 0; tag < i % (USAGE_TAGS_MAX + 1); tag++)
			(void)snprintf(r.tags[tag], sizeof r.tags[tag], "feature=%d", i + tag);
		(void)snprintf(r.tier, sizeof r.tier, "%s", i % 3 == 0 ? "flex" : "");
		r.address =
			i % 5 == 0 ? 0 : hash_64(&i, sizeof i, 0) & (i % 2 ? ~0ULL : ~0xffffULL);
		r.tokens.audio_input = i % 4 == 0 ? random_below(1u << 30) : 0;
		r.tokens.audio_output = i % 6 == 0 ? (1LL << 40) - 1 : 0;
		r.tokens.images = i % 7;
		r.err_code = (uint16_t)(i % ERR__COUNT);
		r.ended_by = (uint8_t)(i % 7);
		r.usage_source = (uint8_t)(i % 4);
		r.stream = (uint8_t)(i % 2);
		r.attempts = (uint8_t)(i % 9);
		WORKS(store_book(f->s, &r, 1, &booked, &err));
		assert_true(booked);
		assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
		assert_memory_equal(&r, &got, sizeof r);
	}
	assert_int_equal(store_row_get(f->s, id_random(), &got, &err), 0);
}

/* The row at the queue's start, with what a newer program has added behind the fields we know. */
static const uint8_t more[] = { 7, 0x81, 1 };
static struct row_disk newer;

static int
row_first(struct attach *at, DB_TXN *txn, bool write, struct row_disk *disk)
{
	DB *db = at->table[TABLE_ROWS];
	db_recno_t first = 1;
	DBT key, data;

	dbt_in(&key, &first, sizeof first);
	if (write) {
		dbt_in(&data, disk, sizeof *disk);
		return db->put(db, txn, &key, &data, 0);
	}
	dbt_out(&data, disk, sizeof *disk);
	return db->get(db, txn, &key, &data, 0);
}

static int
add_to_row(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	size_t crc = ROW_BYTES - 4, len = crc;
	int rc = row_first(at, txn, false, &newer);

	(void)arg;
	(void)e;
	if (rc != 0)
		return rc;
	while (newer.at[len - 1] == 0)
		len--;
	assert_true(len + sizeof more <= crc);
	memcpy(newer.at + len, more, sizeof more);
	put_be32(newer.at + crc, hash_crc32(newer.at, crc));
	return row_first(at, txn, true, &newer);
}

static int
look_at_row(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	(void)e;
	return row_first(at, txn, false, arg);
}

static void
an_older_program_reads_a_newer_row_and_keeps_what_it_does_not_know(void **state)
{
	struct fixture *f = *state;
	struct usage_row r = random_row(clock_wall_ms()), got;
	struct row_disk after;
	int64_t was;
	int changed = 0;
	bool booked;

	r.cost_nusd = 5000000;
	memcpy(r.decision, "why", 3); /* our last field: what is behind it is not ours */
	r.decision_len = 3;
	WORKS(store_book(f->s, &r, 1, &booked, &err));
	WORKS(store_txn(f->s, "test", DB_TXN_SYNC, add_to_row, NULL, &err));
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_memory_equal(&r, &got, sizeof r);

	assert_int_equal(store_row_reprice(f->s, r.exchange, 7000000, &was, &err), 1);
	assert_int_equal(was, 5000000);
	r.cost_nusd = 7000000;
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_memory_equal(&r, &got, sizeof r);
	WORKS(store_txn(f->s, "test", DB_TXN_SYNC, look_at_row, &after, &err));
	for (size_t i = 0; i < ROW_BYTES - 4; i++)
		changed += after.at[i] != newer.at[i];
	assert_in_range(changed, 1, 8); /* the cost and nothing else */
}

static void
texts_too_long_for_a_row_lose_their_ends(void **state)
{
	struct fixture *f = *state;
	struct usage_row r = random_row(clock_wall_ms()), got;
	bool booked;

	memset(r.tags, 0, sizeof r.tags); /* nothing behind the texts */
	r.tokens.audio_input = r.tokens.audio_output = r.tokens.images = 0;
	memset(r.upstream_request_id, 'u', sizeof r.upstream_request_id - 1);
	memset(r.session, 's', sizeof r.session - 1);
	memset(r.error, 'e', sizeof r.error - 1);
	r.tokens.input = INT64_MAX;
	r.tokens.output = -5;
	WORKS(store_book(f->s, &r, 1, &booked, &err));
	assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
	assert_string_equal(got.upstream_request_id, r.upstream_request_id);
	assert_string_equal(got.session, r.session);
	assert_string_equal(got.error, "eeeeeeeeeeeeeeeeeee");
	assert_int_equal(got.tokens.input, (1LL << 40) - 1);
	assert_int_equal(got.tokens.output, 0);
}

/* Whatever the texts take, the fields behind them stay whole. */
static void
texts_never_take_the_room_of_numbers(void **state)
{
	struct fixture *f = *state;
	struct usage_row r = random_row(clock_wall_ms()), got;
	bool booked;

	memset(r.upstream_request_id, 'u', sizeof r.upstream_request_id - 1);
	memset(r.error, 'e', sizeof r.error - 1);
	for (int added = 0; added < 256; added++) {
		r.exchange = id_timed(r.time_ms);
		memset(r.session, 0, sizeof r.session);
		memset(r.session, 's', (size_t)(added & 63));
		r.address = (added & 1) != 0 ? 0xab00000000000000 : 0;
		(void)snprintf(r.tier, sizeof r.tier, "%s", (added & 2) != 0 ? "priority" : "");
		memset(r.tags, 0, sizeof r.tags);
		for (int tag = 0; (added & 4) != 0 && tag < USAGE_TAGS_MAX; tag++)
			(void)snprintf(r.tags[tag], sizeof r.tags[tag], "t%d", tag);
		r.tokens.audio_input = (added & 8) != 0 ? (1LL << 40) - 1 : 0;
		r.tokens.audio_output = (added & 16) != 0 ? (1LL << 40) - 2 : 0;
		r.tokens.images = (added & 32) != 0 ? 7 : 0;
		r.cost_stated = (added & 64) != 0;
		(void)snprintf(r.dropped, sizeof r.dropped, "%s",
			(added & 128) != 0 ? "top_p, presence_penalty, and 12" : "");
		WORKS(store_book(f->s, &r, 1, &booked, &err));
		assert_int_equal(store_row_get(f->s, r.exchange, &got, &err), 1);
		assert_string_equal(got.upstream_request_id, r.upstream_request_id);
		assert_memory_equal(got.tags, r.tags, sizeof r.tags);
		assert_string_equal(got.tier, r.tier);
		assert_true(got.address == r.address);
		assert_memory_equal(&got.tokens, &r.tokens, sizeof r.tokens);
		assert_int_equal(got.cost_stated, r.cost_stated);
		assert_string_equal(got.dropped, r.dropped);
		assert_true(strlen(got.dropped) + strlen(got.upstream_request_id) +
				    strlen(got.session) + strlen(got.error) >=
			    108);
	}
}

struct gathered {
	int count, stop_at;
	struct id ids[5000];
};

static bool
gather(void *ctx, const struct usage_row *row)
{
	struct gathered *g = ctx;

	g->ids[g->count++] = row->exchange;
	return g->count != g->stop_at;
}

static void
an_exchange_is_booked_once_however_often_it_comes(void **state)
{
	struct fixture *f = *state;
	static struct gathered g;
	struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];
	struct usage_sum sum;

	for (int i = 0; i < STORE_BOOK_MAX; i++)
		rows[i] = random_row(clock_wall_ms());
	rows[10] = rows[3]; /* twice in one batch */
	WORKS(store_book(f->s, rows, STORE_BOOK_MAX, booked, &err));
	for (int i = 0; i < STORE_BOOK_MAX; i++)
		assert_int_equal(booked[i], i != 10);
	for (int again = 0; again < 3; again++) {
		WORKS(store_book(f->s, rows, STORE_BOOK_MAX, booked, &err));
		for (int i = 0; i < STORE_BOOK_MAX; i++)
			assert_false(booked[i]);
	}
	rows[20] = random_row(clock_wall_ms());
	WORKS(store_book(f->s, rows, STORE_BOOK_MAX, booked, &err));
	for (int i = 0; i < STORE_BOOK_MAX; i++)
		assert_int_equal(booked[i], i == 20);

	memset(&g, 0, sizeof g);
	WORKS(store_rows_each(f->s, &(uint64_t){ 0 }, gather, &g, &err));
	assert_int_equal(g.count, STORE_BOOK_MAX);
	assert_int_equal(store_is_booked(f->s, rows[3].exchange, &err), 1);
	assert_int_equal(store_is_booked(f->s, id_random(), &err), 0);
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, STORE_BOOK_MAX);
	assert_int_equal(store_fold(f->s, &err), STORE_BOOK_MAX);
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, STORE_BOOK_MAX);
	REFUSED(store_book(f->s, rows, STORE_BOOK_MAX + 1, booked, &err), ERR_INTERNAL);
}

static void
rows_are_listed_newest_first_and_page_by_page(void **state)
{
	struct fixture *f = *state;
	static struct gathered g;
	static struct id booked_ids[1000];
	uint64_t cursor = 0;
	bool booked;
	int seen = 0;

	memset(&g, 0, sizeof g);
	WORKS(store_rows_each(f->s, &cursor, gather, &g, &err));
	assert_int_equal(g.count, 0);
	for (int i = 0; i < 1000; i++) {
		struct usage_row r = random_row(clock_wall_ms());

		booked_ids[i] = r.exchange;
		WORKS(store_book(f->s, &r, 1, &booked, &err));
	}
	for (;;) {
		memset(&g, 0, sizeof g);
		g.stop_at = 77;
		WORKS(store_rows_each(f->s, &cursor, gather, &g, &err));
		if (g.count == 0)
			break;
		for (int i = 0; i < g.count; i++)
			assert_true(id_equal(g.ids[i], booked_ids[1000 - 1 - seen++]));
	}
	assert_int_equal(seen, 1000);
}

/* ---- sums against the rows themselves ---- */

#ifdef __SANITIZE_THREAD__
#define MANY 1200 /* each call is some twenty times slower */
#else
#define MANY 3000
#endif
static struct usage_row all[MANY];
static int all_count;

static const char *
value_name(enum rollup_by by, const struct usage_row *r, char out[ID_TEXT_BYTES])
{
	out[0] = '\0';
	switch (by) {
	case BY_PROJECT:
		id_text("prj_", r->project, out);
		return out;
	case BY_TOKEN:
		id_text("tok_", r->token, out);
		return out;
	case BY_UPSTREAM:
		id_text("up_", r->upstream, out);
		return out;
	case BY_KEY:
		id_text("key_", r->key, out);
		return out;
	case BY_MODEL:
		return r->model;
	case BY_END_USER:
		return r->end_user;
	case BY_TAG:
		return r->tags[0];
	case BY_TOTAL:
	case BY__COUNT:
		break;
	}
	return "everything";
}

/* Is it one of the values that the row counts under? */
static bool
counts_under(enum rollup_by by, const struct usage_row *r, const char *value)
{
	char text[ID_TEXT_BYTES];
	bool any = false;

	if (by != BY_TAG)
		return by == BY_TOTAL || strcmp(value_name(by, r, text), value) == 0;
	for (int i = 0; i < USAGE_TAGS_MAX; i++)
		any |= strcmp(r->tags[i], value) == 0;
	return any;
}

static int
values_count(enum rollup_by by, const struct usage_row *r)
{
	char text[ID_TEXT_BYTES];
	int count = 0;

	if (by != BY_TAG)
		return by == BY_TOTAL || value_name(by, r, text)[0] != '\0';
	for (int i = 0; i < USAGE_TAGS_MAX; i++) {
		bool again = r->tags[i][0] == '\0';

		for (int before = 0; before < i; before++)
			again |= strcmp(r->tags[before], r->tags[i]) == 0;
		count += !again;
	}
	return count;
}

static struct usage_sum
sum_of_rows(enum rollup_by by, const char *value, int64_t from, int64_t to)
{
	struct usage_sum sum = { 0 };

	for (int i = 0; i < all_count; i++)
		if (all[i].time_ms >= from && all[i].time_ms < to &&
			counts_under(by, &all[i], value))
			usage_sum_add(&sum, &all[i]);
	return sum;
}

static void
check_sum(struct store *s, enum rollup_by by, const char *value, int64_t from, int64_t to)
{
	struct usage_sum sum, wanted = sum_of_rows(by, value, from, to);

	WORKS(store_usage_sum(s, by, by == BY_TOTAL ? NULL : value, from, to, &sum, &err));
	if (memcmp(&sum, &wanted, sizeof sum) != 0)
		fail_msg("by %d %s [%lld, %lld): %lld requests, rows say %lld", by, value,
			(long long)from, (long long)to, (long long)sum.requests,
			(long long)wanted.requests);
}

struct check_list {
	enum rollup_by by;
	int64_t step_ms, last_from;
	int64_t requests;
	char last[128];
};

static bool
check_rollup(void *ctx, const struct rollup *r)
{
	struct check_list *c = ctx;
	struct usage_row one = {
		.project = r->id, .token = r->id, .upstream = r->id, .key = r->id
	};
	char text[ID_TEXT_BYTES];
	struct usage_sum wanted;
	const char *value;

	(void)snprintf(one.model, sizeof one.model, "%s", r->name);
	(void)snprintf(one.end_user, sizeof one.end_user, "%.63s", r->name);
	(void)snprintf(one.tags[0], sizeof one.tags[0], "%.63s", r->name);
	value = value_name(c->by, &one, text);
	wanted = sum_of_rows(c->by, value, r->from_ms, r->from_ms + c->step_ms);
	assert_memory_equal(&wanted, &r->sum, sizeof wanted);
	assert_true(r->from_ms > c->last_from || c->requests == 0 ||
		    (r->from_ms == c->last_from && strcmp(value, c->last) != 0));
	c->last_from = r->from_ms;
	(void)snprintf(c->last, sizeof c->last, "%s", value);
	c->requests += r->sum.requests;
	return true;
}

static void
check_everything(struct store *s, int64_t now)
{
	static const int64_t step_ms[] = { MINUTE_MS, HOUR_MS, DAY_MS };
	char text[ID_TEXT_BYTES];
	int64_t minute = now - now % MINUTE_MS, hour = now - now % HOUR_MS,
		day = now - now % DAY_MS;

	for (enum rollup_by by = 0; by < BY__COUNT; by++) {
		for (int step = 0; step < 3; step++) {
			struct check_list c = { .by = by, .step_ms = step_ms[step] };
			int64_t counted = 0;

			WORKS(store_rollup_each(s, by, (enum rollup_step)step, 0, INT64_MAX, NULL,
				check_rollup, &c, &err));
			for (int i = 0; i < all_count; i++)
				counted += values_count(by, &all[i]);
			assert_int_equal(c.requests, counted);
		}
		for (int i = 0; i < all_count; i += 1 + all_count / 8) {
			const char *value = value_name(by, &all[i], text);

			if (value[0] == '\0')
				continue;
			check_sum(s, by, value, 0, INT64_MAX);
			check_sum(s, by, value, minute - 59 * MINUTE_MS, INT64_MAX);
			check_sum(s, by, value, hour - 30 * HOUR_MS, now + HOUR_MS);
			check_sum(s, by, value, day - 3 * DAY_MS, INT64_MAX);
			check_sum(s, by, value, day - 3 * DAY_MS, day - DAY_MS);
			check_sum(s, by, value, 0, day);
			check_sum(s, by, value, minute - 90 * MINUTE_MS, hour);
		}
	}
}

static void
sums_are_exact_at_every_moment_of_folding(void **state)
{
	struct fixture *f = *state;
	int64_t now = clock_wall_ms();
	struct store_health h;
	bool booked[STORE_BOOK_MAX];

	for (all_count = 0; all_count < MANY; all_count++)
		all[all_count] = random_row(
			now - (int64_t)(random_below(3) == 0 ? random_below(3600) * 1000LL
							     : random_below(5 * 86400) * 1000LL));
	all_count = 0;
	check_everything(f->s, now); /* nothing there */
	for (int at = 0; at < MANY;) {
		int n = 1 + (int)random_below(STORE_BOOK_MAX);

		if (n > MANY - at)
			n = MANY - at;
		WORKS(store_book(f->s, all + at, (size_t)n, booked, &err));
		if (random_below(4) == 0 && at > 0) /* holes */
			WORKS(store_book(f->s, all + at - 1, (size_t)n, booked, &err));
		at += n;
		all_count = at;
		if (random_below(30) == 0)
			check_everything(f->s, now);
		if (random_below(30) == 0) {
			assert_true(store_fold(f->s, &err) >= 0);
			check_everything(f->s, now);
		}
	}
	while (store_fold(f->s, &err) > 0)
		;
	check_everything(f->s, now);
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.rows_unfolded, 0);
	assert_int_equal(store_fold(f->s, &err), 0);
	store_close(f->s);
	f->s = fixture_open(f, false);
	check_everything(f->s, now);
}

static void
names_beyond_the_ceiling_are_other_and_still_counted(void **state)
{
	struct fixture *f = *state;
	struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];
	struct usage_sum sum, other;

	for (int i = 0; i < 2100; i += 50) {
		for (int j = 0; j < 50; j++) {
			rows[j] = random_row(clock_wall_ms());
			(void)snprintf(rows[j].model, sizeof rows[j].model, "m%d", i + j);
		}
		WORKS(store_book(f->s, rows, 50, booked, &err));
	}
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, 2100);
	WORKS(store_usage_sum(f->s, BY_MODEL, "other", 0, INT64_MAX, &other, &err));
	assert_int_equal(other.requests, 100);
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_usage_sum(f->s, BY_MODEL, "other", 0, INT64_MAX, &other, &err));
	assert_int_equal(other.requests, 100);
	WORKS(store_usage_sum(f->s, BY_MODEL, "m7", 0, INT64_MAX, &other, &err));
	assert_int_equal(other.requests, 1);
	WORKS(store_usage_sum(f->s, BY_MODEL, "never seen", 0, INT64_MAX, &other, &err));
	assert_int_equal(other.requests, 0);
}

static int
count_files(const char *dir, const char *start)
{
	char command[256], line[32] = "0";
	FILE *p;

	(void)snprintf(command, sizeof command, "ls -A %s/db | grep -c '^%s'", dir, start);
	p = popen(command, "r");
	assert_non_null(p);
	(void)!fgets(line, sizeof line, p);
	(void)pclose(p);
	return atoi(line);
}

static void
rows_over_the_cap_go_oldest_first_and_their_files_with_them(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct usage_row rows[STORE_BOOK_MAX], got;
	bool booked[STORE_BOOK_MAX];
	struct store_health h;
	struct usage_sum sum;
	struct id first = ID_NONE, last = ID_NONE;
	int total = 0, files;

	store_close(f->s);
	o.rows_cap_bytes = 315 * 2000;
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	for (int i = 0; i < 425; i++, total += 64) { /* 27,200: three files of 13,312 */
		for (int j = 0; j < 64; j++)
			rows[j] = random_row(clock_wall_ms());
		WORKS(store_book(f->s, rows, 64, booked, &err));
		if (i == 0)
			first = rows[0].exchange;
		last = rows[63].exchange;
	}
	files = count_files(f->dir, "__dbq.rows.db");
	assert_true(files >= 3);
	WORKS(store_expire(f->s, &err));
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.rows, total); /* what is not folded stays */

	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_expire(f->s, &err));
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.rows, 500);
	assert_int_equal(store_row_get(f->s, first, &got, &err), 0);
	assert_int_equal(store_is_booked(f->s, first, &err), 1); /* young: it may come again */
	assert_int_equal(store_row_get(f->s, last, &got, &err), 1);
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, total);
	assert_true(count_files(f->dir, "__dbq.rows.db") < files);
	WORKS(store_book(f->s, rows, 64, booked, &err));
	assert_false(booked[0]);

	store_close(f->s);
	f->s = fixture_open(f, false);
	WORKS(store_health(f->s, &h, &err));
	assert_true(h.rows <= 2064);
	rows[0] = random_row(clock_wall_ms());
	WORKS(store_book(f->s, rows, 1, booked, &err));
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, total + 1);
}

static void
rows_older_than_they_are_kept_go_and_their_sums_stay(void **state)
{
	enum { OLD = 5000, YOUNG = 100 };
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	int64_t now = clock_wall_ms();
	struct usage_row row, got;
	struct store_health h;
	struct usage_sum sum;
	struct id oldest = ID_NONE, kept = ID_NONE;
	bool booked;

	for (int i = 0; i < OLD + YOUNG; i++) {
		row = random_row(i < OLD ? now - 40 * DAY_MS + i : now - 20 * DAY_MS + i);
		WORKS(store_book(f->s, &row, 1, &booked, &err));
		if (i == 0)
			oldest = row.exchange;
		if (i == OLD)
			kept = row.exchange;
	}
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_expire(f->s, &err));
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.rows, OLD + YOUNG); /* by the cap alone nothing goes */

	store_close(f->s);
	o.rows_kept_ms = 30 * DAY_MS;
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	WORKS(store_expire(f->s, &err));
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.rows, YOUNG);
	assert_int_equal(store_row_get(f->s, oldest, &got, &err), 0);
	assert_int_equal(store_row_get(f->s, kept, &got, &err), 1);
	assert_int_equal(store_is_booked(f->s, oldest, &err), 0);
	assert_int_equal(store_is_booked(f->s, kept, &err), 1);
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, OLD + YOUNG);
}

static int64_t
junk_file(const struct fixture *f, int number, bool make)
{
	char path[128];
	struct stat st;
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/db/__dbq.rows.db.%d", f->dir, number);
	if (make) {
		assert_non_null(file = fopen(path, "we"));
		for (int i = 0; i < 10000; i++)
			(void)fputs("0123456789", file);
		(void)fclose(file);
	}
	return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* A process that is killed, or still has it open, leaves a file that holds no row any more. */
static void
files_that_libdb_left_behind_go(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];
	struct store_health h;
	char path[128];

	store_close(f->s);
	o.rows_cap_bytes = 4 * 315 * 100;
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	for (int i = 0; i < 14000; i += STORE_BOOK_MAX) { /* into the second file */
		for (int j = 0; j < STORE_BOOK_MAX; j++)
			rows[j] = random_row(clock_wall_ms());
		WORKS(store_book(f->s, rows, STORE_BOOK_MAX, booked, &err));
	}
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_expire(f->s, &err));
	(void)junk_file(f, 0, true);      /* before the head */
	(void)junk_file(f, 3, true);      /* one that is just being made */
	(void)junk_file(f, 300000, true); /* from before the numbers wrapped */
	WORKS(store_expire(f->s, &err));
	assert_int_equal(junk_file(f, 0, false), 0);
	assert_int_equal(junk_file(f, 3, false), 100000);
	assert_int_equal(junk_file(f, 300000, false), 0);
	WORKS(store_expire(f->s, &err));
	assert_int_equal(junk_file(f, 0, false), 0); /* its name may be in use */
	(void)snprintf(path, sizeof path, "%s/db/__dbq.rows.db.0", f->dir);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	WORKS(store_expire(f->s, &err));
	assert_int_equal(junk_file(f, 0, false), -1);
	assert_true(junk_file(f, 1, false) >= 0);
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.rows, 100);
	assert_int_equal(store_row_get(f->s, rows[63].exchange, &rows[0], &err), 1);
}

static void
old_minutes_hours_and_booked_ids_are_forgotten(void **state)
{
	struct fixture *f = *state;
	int64_t now = clock_wall_ms();
	static const int ages_days[] = { 0, 1, 5, 60, 200 };
	struct store_options o = fixture_options(f);
	struct usage_row rows[5];
	bool booked[5];
	struct usage_sum sum;
	struct check_list c = { .by = BY_TOTAL, .step_ms = DAY_MS };

	for (int i = 0; i < 5; i++)
		all[i] = rows[i] = random_row(now - ages_days[i] * DAY_MS);
	all_count = 5;
	WORKS(store_book(f->s, rows, 5, booked, &err));
	assert_int_equal(store_fold(f->s, &err), 5);
	WORKS(store_expire(f->s, &err));
	WORKS(store_rollup_each(
		f->s, BY_TOTAL, STEP_DAY, 0, INT64_MAX, NULL, check_rollup, &c, &err));
	assert_int_equal(c.requests, 5);
	c = (struct check_list){ .by = BY_TOTAL, .step_ms = HOUR_MS };
	WORKS(store_rollup_each(
		f->s, BY_TOTAL, STEP_HOUR, 0, INT64_MAX, NULL, check_rollup, &c, &err));
	assert_int_equal(c.requests, 4);
	c = (struct check_list){ .by = BY_TOTAL, .step_ms = MINUTE_MS };
	WORKS(store_rollup_each(
		f->s, BY_TOTAL, STEP_MINUTE, 0, INT64_MAX, NULL, check_rollup, &c, &err));
	assert_int_equal(c.requests, 2);
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, 5);
	/* An id lives as long as its row, however old it was when it was booked. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(store_is_booked(f->s, rows[i].exchange, &err), 1);
	store_close(f->s);
	o.rows_cap_bytes = 315 * 4;
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	for (int i = 5; i < 9; i++) {
		all[i] = random_row(now);
		WORKS(store_book(f->s, &all[i], 1, booked, &err));
	}
	assert_int_equal(store_fold(f->s, &err), 4);
	WORKS(store_expire(f->s, &err));
	assert_int_equal(store_is_booked(f->s, rows[0].exchange, &err), 1); /* too young */
	for (int i = 1; i < 5; i++)
		assert_int_equal(store_is_booked(f->s, rows[i].exchange, &err), 0);
}

/* Behind the sums of a dimension stand postings, longer than any sum, when it is the last or empty. */
static void
what_nobody_has_is_an_empty_list(void **state)
{
	struct fixture *f = *state;
	bool booked[STORE_BOOK_MAX];
	struct usage_sum sum;

	for (all_count = 0; all_count < 10 * STORE_BOOK_MAX; all_count += STORE_BOOK_MAX) {
		for (int i = all_count; i < all_count + STORE_BOOK_MAX; i++) {
			all[i] = (struct usage_row){ .time_ms = clock_wall_ms(), .status = 200 };
			all[i].exchange = id_timed(all[i].time_ms);
		}
		WORKS(store_book(f->s, all + all_count, STORE_BOOK_MAX, booked, &err));
	}
	while (store_fold(f->s, &err) > 0)
		;
	for (enum rollup_by by = 0; by < BY__COUNT; by++) {
		struct check_list c = { .by = by, .step_ms = DAY_MS };

		WORKS(store_rollup_each(
			f->s, by, STEP_DAY, 0, INT64_MAX, NULL, check_rollup, &c, &err));
		assert_int_equal(c.requests, by == BY_TOTAL ? all_count : 0);
		WORKS(store_usage_sum(
			f->s, by, by == BY_TOTAL ? NULL : "other", 0, INT64_MAX, &sum, &err));
		assert_int_equal(sum.requests, by == BY_TOTAL ? all_count : 0);
	}
}

/* The store's own ids; the rest is as random_row makes it. */
static struct id
key_number(uint32_t n)
{
	struct id id = { { 9 } };

	memcpy(id.b + 12, &n, sizeof n);
	return id;
}

static void
ids_beyond_the_ceiling_are_other_and_still_counted(void **state)
{
	struct fixture *f = *state;
	static const int ceiling = 2000 - 1000; /* it takes hold a fold's rows early */
	struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];
	char first[ID_TEXT_BYTES], last[ID_TEXT_BYTES];
	struct usage_sum sum, late, other, total;
	int at = 0;

	for (; at < 2 * ceiling; at += 50) {
		for (int j = 0; j < 50; j++) {
			rows[j] = random_row(clock_wall_ms());
			rows[j].upstream = key_number((uint32_t)(at + j));
		}
		WORKS(store_book(f->s, rows, 50, booked, &err));
		if (at % 500 == 450) {
			while (store_fold(f->s, &err) > 0)
				;
		}
	}
	id_text("up_", key_number(7), first);
	id_text("up_", key_number((uint32_t)at - 1), last);
	for (int folded = 0; folded < 2; folded++) {
		/* one that is known, one that comes too late: both in the tail, then folded */
		rows[0] = random_row(clock_wall_ms());
		rows[0].upstream = key_number(7);
		rows[1] = random_row(clock_wall_ms());
		rows[1].upstream = key_number((uint32_t)at - 1);
		WORKS(store_book(f->s, rows, 2, booked, &err));
		if (folded)
			WORKS(store_fold(f->s, &err));
		WORKS(store_usage_sum(f->s, BY_UPSTREAM, first, 0, INT64_MAX, &sum, &err));
		WORKS(store_usage_sum(f->s, BY_UPSTREAM, last, 0, INT64_MAX, &late, &err));
		WORKS(store_usage_sum(f->s, BY_UPSTREAM, "other", 0, INT64_MAX, &other, &err));
		assert_int_equal(sum.requests, 2 + folded);
		assert_int_equal(late.requests, 0);
		assert_int_equal(other.requests, 2 * ceiling - ceiling + 1 + folded);
	}
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &total, &err));
	assert_int_equal(total.requests, 2 * ceiling + 4);
}

/* What usage takes stays below the cap while rows come and come, and no sum loses one. */
static void
the_cap_holds_while_rows_are_booked(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];
	struct usage_sum wanted = { 0 }, sum;
	struct store_health h;
	int64_t most = 0, now = clock_wall_ms();
	const int64_t total = getenv("SLUICE_LONG") != NULL ? 200000 : 64000;

	store_close(f->s);
	o.rows_cap_bytes = 16 << 20; /* all the rows were 18 MB, their ids and sums not counted */
	f->s = store_open(&o, NULL, &err);
	assert_non_null(f->s);
	for (int64_t i = 0; i < total; i += STORE_BOOK_MAX) {
		for (int j = 0; j < STORE_BOOK_MAX; j++) {
			rows[j] = random_row(now - (total - i) * 400); /* seven hours in all */
			usage_sum_add(&wanted, &rows[j]);
		}
		WORKS(store_book(f->s, rows, STORE_BOOK_MAX, booked, &err));
		if (i % (20 * STORE_BOOK_MAX) != 0)
			continue;
		WORKS(store_fold(f->s, &err));
		WORKS(store_health(f->s, &h, &err));
		if (h.bytes_capped > most)
			most = h.bytes_capped;
	}
	WORKS(store_fold(f->s, &err));
	WORKS(store_expire(f->s, &err));
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_memory_equal(&sum, &wanted, sizeof sum);
	WORKS(store_health(f->s, &h, &err));
	assert_in_range(h.rows, 1000, 40000);
	assert_in_range(most, 1 << 20, o.rows_cap_bytes);
	assert_in_range(h.bytes_capped, 1 << 20, o.rows_cap_bytes);
	assert_int_equal(store_is_booked(f->s, rows[0].exchange, &err), 1);
}

/* Without a clerk, booking folds by itself before there are too many. */
static void
booking_does_not_run_away_from_folding(void **state)
{
	struct fixture *f = *state;
	struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];
	struct store_health h;

	for (int i = 0; i < 550; i++) { /* 35,200 */
		for (int j = 0; j < STORE_BOOK_MAX; j++)
			rows[j] = random_row(clock_wall_ms());
		WORKS(store_book(f->s, rows, STORE_BOOK_MAX, booked, &err));
	}
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.rows, 550 * STORE_BOOK_MAX);
	assert_true(h.rows_unfolded < 35000);
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		IN_STORE(a_row_comes_back_as_it_was),
		IN_STORE(an_older_program_reads_a_newer_row_and_keeps_what_it_does_not_know),
		IN_STORE(texts_too_long_for_a_row_lose_their_ends),
		IN_STORE(texts_never_take_the_room_of_numbers),
		IN_STORE(an_exchange_is_booked_once_however_often_it_comes),
		IN_STORE(rows_are_listed_newest_first_and_page_by_page),
		IN_STORE(sums_are_exact_at_every_moment_of_folding),
		IN_STORE(names_beyond_the_ceiling_are_other_and_still_counted),
		IN_STORE(rows_over_the_cap_go_oldest_first_and_their_files_with_them),
		IN_STORE(rows_older_than_they_are_kept_go_and_their_sums_stay),
		IN_STORE(what_nobody_has_is_an_empty_list),
		IN_STORE(ids_beyond_the_ceiling_are_other_and_still_counted),
		IN_STORE(the_cap_holds_while_rows_are_booked),
		IN_STORE(booking_does_not_run_away_from_folding),
		IN_STORE(files_that_libdb_left_behind_go),
		IN_STORE(old_minutes_hours_and_booked_ids_are_forgotten),
	};

	return cmocka_run_group_tests_name("store/usage", tests, NULL, NULL);
}
