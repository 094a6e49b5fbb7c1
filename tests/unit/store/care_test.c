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
		struct usage_row rows[4];
		bool booked[4];

		for (int n = 0; n < 4; n++)
			rows[n] = make_row(&w->token, i + n);
		if (store_book(w->s, rows, 4, booked, &e) != 0)
			return e.text[0] != '\0' ? "booking failed" : "booking";
		w->booked += 4;
		if (i % 16 == 0) {
			struct token t;

			record_init(RECORD_TOKEN, &t);
			t.project = w->token.project;
			hash_random(t.sha256, sizeof t.sha256);
			if (store_create(w->s, RECORD_TOKEN, &t, &change, &e) != 0)
				return "creating failed";
			w->created++;
		}
		if (i % 64 == 0 && (store_fold(w->s, &e) < 0 || store_checkpoint(w->s, &e) != 0))
			return "folding failed";
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
	book_many(f->s, &w.token, 3200);
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
	assert_int_equal(requests_of(f->s), 3200 + w.booked);
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

int
main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH_STORE(a_backup_made_while_others_write_is_whole_and_restores),
	};

	return cmocka_run_group_tests_name("store/care", tests, NULL, NULL);
}
