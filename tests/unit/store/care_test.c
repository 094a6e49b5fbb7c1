/* care_test.c - a backup made under load is whole, what is damaged is found, what is restored counts. */
#include "store_fixture.h"

#include "base/hash.h"
#include "store/care-int.h"
#include <dirent.h>
#include <pthread.h>

static char problems[CARE_PROBLEMS_MAX][400];
static int problem_count;

static void
note_problem(void *ctx, const char *text)
{
	(void)ctx;
	if (problem_count < CARE_PROBLEMS_MAX)
		(void)snprintf(problems[problem_count++], sizeof problems[0], "%s", text);
}

static const struct care care = { .problem = note_problem };
static const struct store_change change = { "test", "test", "", { { 0 } } };

static void
is_sound(const struct care_report *r)
{
	if (r->problems != 0)
		fail_msg("%lld problems, the first: %s", (long long)r->problems, problems[0]);
}

static struct project
make_project(struct store *s, const char *name)
{
	struct project p;

	record_init(RECORD_PROJECT, &p);
	(void)snprintf(p.name, sizeof p.name, "%s", name);
	WORKS(store_create(s, RECORD_PROJECT, &p, &change, &err));
	return p;
}

static struct token
make_token(struct store *s, struct id project)
{
	struct token t;

	record_init(RECORD_TOKEN, &t);
	t.project = project;
	hash_random(t.sha256, sizeof t.sha256);
	WORKS(store_create(s, RECORD_TOKEN, &t, &change, &err));
	return t;
}

static struct usage_row
make_row(const struct token *t, int i)
{
	struct usage_row r = { .exchange = id_timed(clock_wall_ms()),
		.time_ms = clock_wall_ms() - i % 7 * 3600000LL,
		.project = t->project,
		.token = t->head.id,
		.status = 200,
		.usage_source = USAGE_REPORTED,
		.duration_ms = 10,
		.cost_nusd = 1000 + i };

	(void)snprintf(r.model, sizeof r.model, "model-%d", i % 3);
	r.tokens.input = i;
	r.tokens.output = 2;
	return r;
}

static void
book_many(struct store *s, const struct token *t, int count)
{
	for (int i = 0; i < count; i += 32) {
		struct usage_row rows[32];
		bool booked[32];

		for (int n = 0; n < 32; n++)
			rows[n] = make_row(t, i + n);
		WORKS(store_book(s, rows, 32, booked, &err));
	}
}

static int64_t
requests_of(struct store *s)
{
	struct usage_sum sum;

	WORKS(store_usage_sum(s, BY_TOTAL, NULL, 0, INT64_MAX / 2, &sum, &err));
	return sum.requests;
}

static void
path_in(const struct fixture *f, const char *name, char out[160])
{
	(void)snprintf(out, 160, "%s/%s", f->dir, name);
}

static int
checkpoint_now(struct attach *at, void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	return at->env->txn_checkpoint(at->env, 0, 0, DB_FORCE);
}

#define ROWS 32000 /* three files of them */

struct writer {
	struct store *s;
	struct token token;
	_Atomic bool stop;
	int booked, created;
};

static void *
write_on(void *arg)
{
	struct writer *w = arg;
	struct err e = { 0 };

	for (int i = 0; !atomic_load(&w->stop); i++) {
		struct usage_row rows[32]; /* so many that the log moves on by files */
		bool booked[32];

		for (int n = 0; n < 32; n++)
			rows[n] = make_row(&w->token, i + n);
		if (store_book(w->s, rows, 32, booked, &e) != 0)
			return e.text[0] != '\0' ? "booking failed" : "booking";
		w->booked += 32;
		if (i % 16 == 0) {
			struct token t;

			record_init(RECORD_TOKEN, &t);
			t.project = w->token.project;
			hash_random(t.sha256, sizeof t.sha256);
			if (store_create(w->s, RECORD_TOKEN, &t, &change, &e) != 0)
				return "creating failed";
			w->created++;
		}
		if (i % 64 == 0 && store_fold(w->s, &e) < 0)
			return "folding failed";
		/* far more often than in life: a copy must not depend on what one has seen of it */
		if (i % 8 == 0 && store_call(w->s, "test", checkpoint_now, NULL, &e) != 0)
			return "checkpoint failed";
	}
	return NULL;
}

static void
a_backup_made_while_others_write_is_whole_and_restores(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct care_report made, read;
	struct writer w = { .s = f->s };
	pthread_t thread;
	char file[160], board[160];
	void *failed;
	int64_t before, after;

	w.token = make_token(f->s, make_project(f->s, "first").head.id);
	book_many(f->s, &w.token, ROWS);
	WORKS(store_value_put(f->s, "setting", "kept", 4, &err));
	path_in(f, "one.tar", file);
	path_in(f, "board", board);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	for (int round = 0; round < 3; round++) {
		problem_count = 0;
		before = requests_of(f->s);
		WORKS(store_backup(f->s, file, NULL, &care, &made, &err));
		after = requests_of(f->s);
		is_sound(&made);
		assert_true(made.sums_checked);
		assert_in_range(made.rows, before, after);
		assert_int_equal(made.records[RECORD_PROJECT], 1);
		WORKS(store_verify_backup(file, NULL, &care, &read, &err));
		is_sound(&read);
		assert_int_equal(read.rows, made.rows);
		assert_int_equal(read.records[RECORD_TOKEN], made.records[RECORD_TOKEN]);
		assert_int_equal(read.made_ms, made.made_ms);
	}
	atomic_store(&w.stop, true);
	assert_int_equal(pthread_join(thread, &failed), 0);
	if (failed != NULL)
		fail_msg("%s", (const char *)failed);
	assert_true(w.booked > 0 && w.created > 0);

	/* while somebody is inside nothing is touched */
	REFUSED(store_restore(&o, file, &care, &read, &err), ERR_CONFLICT);
	assert_non_null(strstr(err.text, "stop"));
	assert_int_equal(requests_of(f->s), ROWS + w.booked);
	store_close(f->s);
	f->s = NULL;
	(void)fclose(fopen(board, "we"));
	WORKS(store_restore(&o, file, &care, &read, &err));
	is_sound(&read);
	assert_int_equal(access(read.aside, F_OK), 0);
	assert_int_equal(access(board, F_OK), -1);
	f->s = fixture_open(f, false);
	assert_int_equal(requests_of(f->s), made.rows);
	{
		char text[8];
		struct project p;

		assert_int_equal(store_value_get(f->s, "setting", text, sizeof text, &err), 4);
		assert_int_equal(store_find(f->s, RECORD_PROJECT, "first", &p, &err), 1);
	}
	book_many(f->s, &w.token, 64); /* it goes on */
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_verify(f->s, &care, &read, &err));
	is_sound(&read);
	assert_int_equal(read.rows, made.rows + 64);
}

/* ---- damage ---- */

static void
flip(const char *path, long at)
{
	FILE *file = fopen(path, "r+e");
	int c;

	assert_non_null(file);
	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	c = fgetc(file);
	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	assert_int_equal(fputc(c ^ 0x40, file), c ^ 0x40);
	assert_int_equal(fclose(file), 0);
}

static void
a_backup_that_is_cut_short_or_changed_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct token t = make_token(f->s, make_project(f->s, "first").head.id);
	struct care_report r;
	struct stat st;
	char file[160];

	book_many(f->s, &t, 64);
	path_in(f, "one.tar", file);
	WORKS(store_backup(f->s, file, NULL, &care, &r, &err));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	for (long at = 100; at < st.st_size - 1024; at += st.st_size / 23) {
		flip(file, at);
		err = (struct err){ 0 };
		/* what is padding, or words to the reader, may be anything */
		if (store_verify_backup(file, NULL, &care, &r, &err) == 0)
			is_sound(&r);
		else if (strstr(err.text, "damaged") == NULL && strstr(err.text, "whole") == NULL)
			fail_msg("byte %ld: %s", at, err.text);
		flip(file, at);
	}
	flip(file, st.st_size / 2);
	REFUSED(store_verify_backup(file, NULL, &care, &r, &err), ERR_BAD_REQUEST);
	assert_non_null(strstr(err.text, "take an older backup"));
	REFUSED(store_restore(&o, file, &care, &r, &err), ERR_CONFLICT); /* it is in use */
	store_close(f->s);
	REFUSED(store_restore(&o, file, &care, &r, &err), ERR_BAD_REQUEST);
	f->s = fixture_open(f, false);
	assert_int_equal(requests_of(f->s), 64);
	flip(file, st.st_size / 2);
	WORKS(store_verify_backup(file, NULL, &care, &r, &err));
	for (long len = st.st_size - 1025; len > 0; len -= st.st_size / 11) {
		assert_int_equal(truncate(file, len), 0);
		REFUSED(store_verify_backup(file, NULL, &care, &r, &err), ERR_BAD_REQUEST);
		assert_non_null(strstr(err.text, "whole"));
	}
	REFUSED(store_verify_backup("/nowhere.tar", NULL, &care, &r, &err), ERR_NOT_FOUND);
}

/* Puts bytes into a table, or takes the key away (len 0), behind everybody's back. */
struct tampering {
	enum table table;
	uint8_t key[64];
	size_t key_len;
	const void *data;
	size_t len;
};

static int
tamper(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	struct tampering *x = arg;
	DB *db = at->table[x->table];
	DBT key, data;

	(void)e;
	dbt_in(&key, x->key, x->key_len);
	dbt_in(&data, x->data, x->len);
	return x->len == 0 ? db->del(db, txn, &key, 0) : db->put(db, txn, &key, &data, 0);
}

static void
finds(struct fixture *f, struct tampering *x, const char *wanted)
{
	struct care_report r;
	char file[160];

	WORKS(store_txn(f->s, "test", DB_TXN_SYNC, tamper, x, &err));
	problem_count = 0;
	WORKS(store_verify(f->s, &care, &r, &err));
	for (int i = 0; i < problem_count; i++)
		if (strstr(problems[i], wanted) != NULL)
			wanted = NULL, i = problem_count;
	if (wanted != NULL)
		fail_msg("wanted '%s' among %d, the first: %s", wanted, problem_count, problems[0]);
	assert_int_equal(r.problems, problem_count);
	path_in(f, "no.tar", file);
	REFUSED(store_backup(f->s, file, NULL, &care, &r, &err), ERR_STORE_UNAVAILABLE);
	assert_non_null(strstr(err.text, "no backup was made"));
	assert_int_equal(access(file, F_OK), -1);
}

static struct tampering
record_key(enum record_kind kind, struct id id)
{
	struct tampering x = {
		.table = TABLE_MAIN, .key = { KEY_RECORD, (uint8_t)kind }, .key_len = 18
	};

	memcpy(x.key + 2, id.b, 16);
	return x;
}

static void
a_token_without_its_project_is_found(void **state)
{
	struct fixture *f = *state;
	struct project p = make_project(f->s, "first");
	struct tampering x = record_key(RECORD_PROJECT, p.head.id);

	(void)make_token(f->s, p.head.id);
	finds(f, &x, "its project is not there");
}

static void
a_secret_that_is_not_in_the_index_is_found(void **state)
{
	struct fixture *f = *state;
	struct token t = make_token(f->s, make_project(f->s, "first").head.id);
	struct tampering x = { .table = TABLE_MAIN, .key = { KEY_HASH }, .key_len = 33 };

	memcpy(x.key + 1, t.sha256, 32);
	finds(f, &x, "its secret is not in the index");
}

static void
a_record_that_is_damaged_is_found(void **state)
{
	struct fixture *f = *state;
	struct project p = make_project(f->s, "first");
	struct tampering x = record_key(RECORD_PROJECT, p.head.id);

	x.data = "\001\000\020\377\377\377\377";
	x.len = 7;
	finds(f, &x, "the record is damaged");
}

static void
a_row_that_is_damaged_is_found(void **state)
{
	struct fixture *f = *state;
	struct token t = make_token(f->s, make_project(f->s, "first").head.id);
	struct tampering x = {
		.table = TABLE_ROWS, .key_len = sizeof(db_recno_t), .data = "rubbish", .len = 7
	};
	db_recno_t recno = 5;

	book_many(f->s, &t, 32);
	memcpy(x.key, &recno, sizeof recno);
	finds(f, &x, "row 5 is damaged");
}

/* The last of its dimension and step. */
static int
change_a_sum(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	const uint8_t *which = arg;
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t k[64] = { which[0], (uint8_t)(which[1] + 1) }, bytes[512];
	DBT key, data;
	DBC *cursor;
	int rc = db->cursor(db, txn, &cursor, 0), closed;

	(void)e;
	if (rc != 0)
		return rc;
	dbt_out(&key, k, sizeof k);
	key.size = 2;
	dbt_out(&data, bytes, sizeof bytes);
	data.flags |= DB_DBT_PARTIAL; /* what stands behind may be of another kind */
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE);
	dbt_out(&data, bytes, sizeof bytes);
	if (rc == 0 && (rc = cursor->get(cursor, &key, &data, DB_PREV)) == 0) {
		assert_memory_equal(k, which, 2);
		bytes[1] ^= 2; /* the low bits of its first number */
		data.ulen = data.size;
		rc = cursor->put(cursor, &key, &data, DB_CURRENT);
	}
	closed = cursor->close(cursor);
	return rc != 0 ? rc : closed;
}

static void
a_sum_that_is_not_that_of_its_rows_is_found(void **state)
{
	struct fixture *f = *state;
	struct token t = make_token(f->s, make_project(f->s, "first").head.id);
	uint8_t which[2] = { BY_PROJECT, STEP_DAY };
	struct care_report r;

	book_many(f->s, &t, 64);
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_verify(f->s, &care, &r, &err));
	is_sound(&r);
	assert_true(r.sums_checked);
	WORKS(store_txn(f->s, "test", DB_TXN_SYNC, change_a_sum, which, &err));
	problem_count = 0;
	WORKS(store_verify(f->s, &care, &r, &err));
	assert_in_range(r.problems, 1, 2);
	assert_non_null(strstr(problems[0], "usage of project prj_"));
}

static void
delete_rows_to(struct store *s, db_recno_t last)
{
	for (db_recno_t recno = 1; recno <= last; recno++) {
		struct tampering x = { .table = TABLE_ROWS, .key_len = sizeof recno };

		memcpy(x.key, &recno, sizeof recno);
		WORKS(store_txn(s, "test", DB_TXN_SYNC, tamper, &x, &err));
	}
}

static void
book_at(struct store *s, const struct token *t, int64_t time_ms, int count)
{
	for (int i = 0; i < count; i++) {
		struct usage_row row = make_row(t, i);
		bool booked;

		row.time_ms = time_ms;
		WORKS(store_book(s, &row, 1, &booked, &err));
	}
}

/* Where retention has taken rows away, the hours that have all of theirs are still compared. */
static void
sums_are_compared_where_rows_are_complete(void **state)
{
	struct fixture *f = *state;
	struct token t = make_token(f->s, make_project(f->s, "first").head.id);
	uint8_t which[2] = { BY_TOTAL, STEP_HOUR };
	int64_t now = clock_wall_ms();
	struct care_report r;

	book_at(f->s, &t, now - 20 * 3600000LL, 1100);
	book_at(f->s, &t, now - 3 * 3600000LL, 50);
	while (store_fold(f->s, &err) > 0)
		;
	delete_rows_to(f->s, 60);
	problem_count = 0;
	WORKS(store_verify(f->s, &care, &r, &err));
	is_sound(&r);
	assert_true(r.sums_checked);
	WORKS(store_txn(f->s, "test", DB_TXN_SYNC, change_a_sum, which, &err));
	WORKS(store_verify(f->s, &care, &r, &err));
	assert_int_equal(r.problems, 1);
	assert_non_null(strstr(problems[0], "usage of the hour"));
}

/* ---- the master key ---- */

static void
copy_key(const char *from, const char *to)
{
	char command[400];

	(void)snprintf(command, sizeof command, "cp -p %s %s", from, to);
	assert_int_equal(system(command), 0);
}

static void
a_backup_fits_its_master_key_and_carries_it_only_when_asked(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct care_report r;
	char without[160], with[160], other[160], key[160], path[200];
	struct store *s;

	(void)make_project(f->s, "first");
	path_in(f, "without.tar", without);
	path_in(f, "with.tar", with);
	WORKS(store_backup(f->s, without, NULL, &care, &r, &err));
	assert_false(r.has_key);
	WORKS(store_backup(f->s, with, f->key, &care, &r, &err));
	assert_true(r.has_key);
	WORKS(store_verify_backup(with, NULL, &care, &r, &err));
	assert_true(r.has_key);
	WORKS(store_verify_backup(without, NULL, &care, &r, &err));
	assert_false(r.has_key);

	/* into an empty folder: only with the key can it be used */
	path_in(f, "other", other);
	(void)snprintf(key, sizeof key, "%.100s/master.key", other);
	o.dir = other;
	o.master_key_file = key;
	REFUSED(store_restore(&o, without, &care, &r, &err), ERR_STORE_UNAVAILABLE);
	assert_non_null(strstr(err.text, "the backup does not hold it"));
	WORKS(store_restore(&o, with, &care, &r, &err));
	assert_string_equal(r.aside, "");
	s = store_open(&o, NULL, &err);
	if (s == NULL)
		fail_msg("%s", err.text);
	store_close(s);

	/* one that is not its own is told of, and nothing is touched */
	flip(key, 3);
	REFUSED(store_restore(&o, with, &care, &r, &err), ERR_STORE_UNAVAILABLE);
	assert_non_null(strstr(err.text, "is not the one"));
	flip(key, 3);
	assert_int_equal(unlink(key), 0);
	copy_key(f->key, key);
	WORKS(store_restore(&o, without, &care, &r, &err));
	(void)snprintf(path, sizeof path, "%s/db", other);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(r.aside, F_OK), 0);
}

/* ---- a store whose files are damaged ---- */

static void
remove_logs(const struct fixture *f)
{
	char command[200];

	(void)snprintf(command, sizeof command, "rm -f %s/db/log.* %s/db/__db.*", f->dir, f->dir);
	assert_int_equal(system(command), 0);
}

static void
a_log_that_is_lost_or_damaged_is_said_and_rebuilt_without(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct token t = make_token(f->s, make_project(f->s, "first").head.id);
	struct care_report r;

	book_many(f->s, &t, 320);
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_call(f->s, "test", checkpoint_now, NULL, &err));
	store_close(f->s);
	remove_logs(f);
	f->s = NULL;
	WORKS(store_rebuild(&o, &care, &r, &err));
	is_sound(&r);
	f->s = fixture_open(f, false);
	assert_int_equal(requests_of(f->s), 320);
	book_many(f->s, &t, 32);
	assert_int_equal(requests_of(f->s), 352);
	WORKS(store_verify(f->s, &care, &r, &err));
	is_sound(&r);
}

static void
a_table_that_is_cut_off_is_not_rebuilt_but_restored(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct token t = make_token(f->s, make_project(f->s, "first").head.id);
	struct care_report r;
	char file[160], table[160];
	struct store *s;

	book_many(f->s, &t, 64);
	path_in(f, "one.tar", file);
	WORKS(store_backup(f->s, file, NULL, &care, &r, &err));
	store_close(f->s);
	path_in(f, "db/main.db", table);
	assert_int_equal(truncate(table, 0), 0);
	remove_logs(f);
	f->s = NULL;
	err = (struct err){ 0 };
	s = store_open(&o, NULL, &err);
	assert_null(s);
	print_message("          %s\n", err.text);
	assert_int_equal(store_rebuild(&o, &care, &r, &err), -1);
	print_message("          %s\n", err.text);
	WORKS(store_restore(&o, file, &care, &r, &err));
	f->s = fixture_open(f, false);
	assert_int_equal(requests_of(f->s), 64);
}

/* ---- the portable form ---- */

static struct id
make_key_record(struct store *s, const char *secret)
{
	struct upstream u;
	struct key k;

	record_init(RECORD_UPSTREAM, &u);
	(void)snprintf(u.name, sizeof u.name, "provider");
	(void)snprintf(u.base_url, sizeof u.base_url, "https://provider.example/v1");
	(void)snprintf(u.models, sizeof u.models, "gpt-*\n\"quoted\" \\ é");
	WORKS(store_create(s, RECORD_UPSTREAM, &u, &change, &err));
	record_init(RECORD_KEY, &k);
	k.head.id = id_random();
	k.upstream = u.head.id;
	WORKS(store_seal(s, k.head.id, span_of(secret), &k.secret, &err));
	WORKS(store_create(s, RECORD_KEY, &k, &change, &err));
	return k.head.id;
}

static char *
dump_text(struct store *s, const struct dump_options *o, size_t *len)
{
	struct care_report r;
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	assert_non_null(out);
	WORKS(store_dump(s, out, o, &care, &r, &err));
	assert_int_equal(fclose(out), 0);
	return text;
}

static int
load_text(struct store *s, const char *text, size_t len, const struct dump_options *o)
{
	struct care_report r;
	FILE *in = fmemopen((void *)(uintptr_t)text, len, "r");
	int rc;

	assert_non_null(in);
	err = (struct err){ 0 };
	rc = store_load(s, in, o, &care, &r, &err);
	(void)fclose(in);
	return rc;
}

/* The head tells when it was made and how it is sealed; all else must be alike. */
static const char *
behind_head(const char *text)
{
	return strchr(text, '\n') + 1;
}

#define PRICES 200

static void
fill_for_dump(struct fixture *f, struct id *key)
{
	struct project p = make_project(f->s, "first");
	struct token t = make_token(f->s, p.head.id);
	struct usage_row row = make_row(&t, 0);
	struct limit l;
	static struct price prices[PRICES];
	struct price price;
	bool booked;

	*key = make_key_record(f->s, "sk-provider-secret");
	(void)snprintf(p.allowed_models, sizeof p.allowed_models, "a*\nb");
	p.head.rest.len = 9; /* a field of a newer program */
	memcpy(p.head.rest.data, "\001\000\000\000\000\003new", 9);
	WORKS(store_update(f->s, RECORD_PROJECT, &p, 0, &change, &err));
	record_init(RECORD_LIMIT, &l);
	l.cap = INT64_MAX - 1;
	l.metric = METRIC_COST;
	(void)snprintf(l.warn_at, sizeof l.warn_at, "50\n80");
	WORKS(store_create(f->s, RECORD_LIMIT, &l, &change, &err));
	record_init(RECORD_PRICE, &price);
	(void)snprintf(price.model, sizeof price.model, "gpt-*");
	price.input_nusd = 2500000001;
	WORKS(store_create(f->s, RECORD_PRICE, &price, &change, &err));
	for (int i = 0; i < PRICES; i++) { /* an audit entry as long as they get */
		record_init(RECORD_PRICE, &prices[i]);
		(void)snprintf(prices[i].model, sizeof prices[i].model, "model-%d", i);
		prices[i].input_nusd = i + 1;
		prices[i].output_nusd = i + 2;
	}
	WORKS(store_create_many(f->s, RECORD_PRICE, prices, PRICES, &change, &err));
	book_many(f->s, &t, 160);
	row.exchange = id_timed(clock_wall_ms());
	row.cost_nusd = COST_UNKNOWN;
	row.status = 502;
	(void)snprintf(row.error, sizeof row.error, "it said \"no\"");
	WORKS(store_book(f->s, &row, 1, &booked, &err));
	WORKS(store_value_put(f->s, "plain", "text", 4, &err));
	WORKS(store_value_put(f->s, "binary", "\000\377\n", 3, &err));
	WORKS(store_value_put(f->s, "admin.password", "scrypt:…", 9, &err));
	WORKS(store_value_put(f->s, "session.1", "signed in", 9, &err));
}

static void
a_dump_loaded_into_an_empty_store_gives_an_equal_dump(void **state)
{
	struct fixture *f = *state, other;
	struct dump_options o = { .secrets = DUMP_NO_SECRETS };
	char *first, *second;
	size_t first_len, second_len;
	struct id key;

	fill_for_dump(f, &key);
	first = dump_text(f->s, &o, &first_len);
	assert_null(strstr(first, "scrypt"));
	assert_null(strstr(first, "signed in"));
	assert_null(strstr(first, "\"secret\""));
	assert_non_null(strstr(first, "\"rest\":\"010000000003"));
	assert_non_null(strstr(first, "\"changes\":\"0100")); /* of the audit */

	fixture_dir(&other);
	other.s = fixture_open(&other, true);
	if (load_text(other.s, first, first_len, &o) != 0)
		fail_msg("%s", err.text);
	second = dump_text(other.s, &o, &second_len);
	assert_string_equal(behind_head(first), behind_head(second));
	assert_int_equal(requests_of(other.s), requests_of(f->s));
	assert_int_equal(load_text(other.s, first, first_len, &o), -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	store_close(other.s);
	remove_tree(other.dir);
	free(first);
	free(second);
}

static void
unseals(struct store *s, struct id key)
{
	char secret[64];
	struct key k;

	assert_int_equal(store_get(s, RECORD_KEY, key, &k, &err), 1);
	WORKS(store_unseal(s, key, &k.secret, secret, sizeof secret, &err));
	assert_string_equal(secret, "sk-provider-secret");
}

/* What retention has left of the rows is less than what the sums know. */
static void
sums_of_rows_that_are_gone_are_carried_too(void **state)
{
	struct fixture *f = *state, other;
	struct dump_options o = { .secrets = DUMP_NO_SECRETS };
	struct care_report r;
	char *first, *second;
	size_t first_len, second_len;
	struct id key;

	fill_for_dump(f, &key);
	while (store_fold(f->s, &err) > 0)
		;
	delete_rows_to(f->s, 100);
	assert_int_equal(requests_of(f->s), 161);
	first = dump_text(f->s, &o, &first_len);
	fixture_dir(&other);
	other.s = fixture_open(&other, true);
	if (load_text(other.s, first, first_len, &o) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(requests_of(other.s), 161);
	second = dump_text(other.s, &o, &second_len);
	assert_string_equal(behind_head(first), behind_head(second));
	WORKS(store_verify(f->s, &care, &r, &err));
	is_sound(&r);
	store_close(other.s);
	remove_tree(other.dir);
	free(first);
	free(second);
}

static void
secrets_are_carried_under_the_master_key_or_a_passphrase(void **state)
{
	struct fixture *f = *state, other;
	struct dump_options sealed = { .secrets = DUMP_SEALED };
	struct dump_options phrase = { .secrets = DUMP_PASSPHRASE, .passphrase = "correct horse" };
	struct dump_options wrong = { .passphrase = "battery staple" };
	char *text;
	size_t len;
	struct id key;

	fill_for_dump(f, &key);
	fixture_dir(&other);
	other.s = fixture_open(&other, true); /* with a master key of its own */
	text = dump_text(f->s, &sealed, &len);
	assert_null(strstr(text, "sk-provider"));
	assert_int_equal(load_text(other.s, text, len, &sealed), -1);
	assert_non_null(strstr(err.text, "another master key"));
	store_close(other.s);
	remove_tree(other.dir);

	assert_int_equal(mkdir(other.dir, 0700), 0);
	copy_key(f->key, other.key);
	other.s = fixture_open(&other, true);
	if (load_text(other.s, text, len, &sealed) != 0)
		fail_msg("%s", err.text);
	unseals(other.s, key);
	store_close(other.s);
	remove_tree(other.dir);
	free(text);

	text = dump_text(f->s, &phrase, &len);
	assert_null(strstr(text, "sk-provider"));
	assert_non_null(strstr(text, "admin.password"));
	assert_int_equal(mkdir(other.dir, 0700), 0);
	other.s = fixture_open(&other, true);
	assert_int_equal(load_text(other.s, text, len, &wrong), -1);
	assert_non_null(strstr(err.text, "not the passphrase"));
	if (load_text(other.s, text, len, &phrase) != 0)
		fail_msg("%s", err.text);
	unseals(other.s, key);
	store_close(other.s);
	remove_tree(other.dir);
	free(text);
}

static void
a_dump_that_is_cut_short_or_damaged_names_its_line(void **state)
{
	struct fixture *f = *state;
	struct dump_options o = { .secrets = DUMP_NO_SECRETS };
	struct id key;
	char *text;
	size_t len;

	fill_for_dump(f, &key);
	text = dump_text(f->s, &o, &len);
	for (int i = 0; i < 12; i++) {
		struct fixture other;
		char *copy = strdup(text);
		size_t cut = len - 2 - (size_t)i * (len / 12);

		assert_non_null(copy);
		fixture_dir(&other);
		other.s = fixture_open(&other, true);
		assert_int_equal(load_text(other.s, copy, cut, &o), -1);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
		if (strstr(err.text, "line ") == NULL)
			fail_msg("%s", err.text);
		store_close(other.s);
		remove_tree(other.dir);
		free(copy);
	}
	free(text);
}

int
main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH_STORE(a_backup_made_while_others_write_is_whole_and_restores),
		WITH_STORE(a_backup_that_is_cut_short_or_changed_is_refused),
		WITH_STORE(a_token_without_its_project_is_found),
		WITH_STORE(a_secret_that_is_not_in_the_index_is_found),
		WITH_STORE(a_record_that_is_damaged_is_found),
		WITH_STORE(a_row_that_is_damaged_is_found),
		WITH_STORE(a_sum_that_is_not_that_of_its_rows_is_found),
		WITH_STORE(sums_are_compared_where_rows_are_complete),
		WITH_STORE(a_backup_fits_its_master_key_and_carries_it_only_when_asked),
		WITH_STORE(a_log_that_is_lost_or_damaged_is_said_and_rebuilt_without),
		WITH_STORE(a_table_that_is_cut_off_is_not_rebuilt_but_restored),
		WITH_STORE(a_dump_loaded_into_an_empty_store_gives_an_equal_dump),
		WITH_STORE(sums_of_rows_that_are_gone_are_carried_too),
		WITH_STORE(secrets_are_carried_under_the_master_key_or_a_passphrase),
		WITH_STORE(a_dump_that_is_cut_short_or_damaged_names_its_line),
	};

	return cmocka_run_group_tests_name("store/care", tests, NULL, NULL);
}
