/*
 * admit_bench.c - what an admission with six limits and a grouped settlement cost, in bare Berkeley DB
 * gets of the same store.  Usage: admit_bench [tokens in the store]
 *
 * CPU time of one thread, so that what else the machine does counts little; rounds of all three in
 * turn, the median of each.
 */
#include "../unit/admit/house.h"

#include "admit/admit.h"
/* Two rooms call something of theirs a table; only here are both seen from inside. */
#define table store_table
#include "store/store-int.h"
#undef table
#include <time.h>

#define ROUNDS  21
#define BATCH   64 /* as many are settled in one transaction */
#define BATCHES 50
#define TOKENS  10000
#define LIMITS  6

enum { GET, LOOK_UP, ADMIT, SETTLE, WHATS };

static int64_t
cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- one bare get ---- */

struct gets {
	uint8_t key[256], data[RECORD_BINARY_MAX];
	u_int32_t key_len;
	int64_t ns;
};

static int
bare_gets(struct attach *at, void *arg, struct err *ignored)
{
	struct gets *g = arg;
	DB *db = at->store_table[TABLE_MAIN];
	DBT key, data;
	int64_t began = cpu_ns();
	int rc = 0;

	(void)ignored;
	memset(&key, 0, sizeof key);
	memset(&data, 0, sizeof data);
	key.data = g->key;
	key.size = g->key_len;
	data.data = g->data;
	data.ulen = sizeof g->data;
	data.flags = DB_DBT_USERMEM;
	for (int i = 0; i < BATCH * BATCHES && rc == 0; i++)
		rc = db->get(db, NULL, &key, &data, 0);
	g->ns = (cpu_ns() - began) / (BATCH * BATCHES);
	return rc;
}

/* The key of the record in the middle of the table. */
static int
find_key(struct attach *at, void *arg, struct err *ignored)
{
	struct gets *g = arg;
	DB *db = at->store_table[TABLE_MAIN];
	DBC *cursor;
	DBT key, data;
	int rc = db->cursor(db, NULL, &cursor, 0);

	(void)ignored;
	if (rc != 0)
		return rc;
	memset(&key, 0, sizeof key);
	memset(&data, 0, sizeof data);
	key.data = g->key;
	key.ulen = sizeof g->key;
	data.data = g->data;
	data.ulen = sizeof g->data;
	key.flags = data.flags = DB_DBT_USERMEM;
	for (int i = 0; i < 100 && rc == 0; i++)
		rc = cursor->c_get(cursor, &key, &data, DB_NEXT);
	g->key_len = key.size;
	(void)cursor->c_close(cursor);
	return rc;
}

/* ---- the store ---- */

static struct token
make_tokens(struct house *h, struct id project, int count)
{
	struct token *many = calloc(1000, sizeof *many), last;

	assert_non_null(many);
	for (int made = 0; made < count; made += 1000) {
		for (int i = 0; i < 1000; i++) {
			record_init(RECORD_TOKEN, &many[i]);
			many[i].head.id = id_random();
			many[i].project = project;
			hash_random(many[i].sha256, sizeof many[i].sha256);
		}
		WORKS(store_create_many(h->store, RECORD_TOKEN, many, 1000, &by_test, &err));
	}
	last = many[999];
	free(many);
	return last;
}

static void
make_limits(struct house *h, struct id project)
{
	static const struct {
		enum limit_metric metric;
		enum limit_window window;
		enum limit_dimension d;
		const char *scope;
	} kinds[LIMITS] = {
		{ METRIC_REQUESTS, WINDOW_MINUTE, DIMENSION_TOKEN, "each" },
		{ METRIC_TOKENS, WINDOW_MINUTE, DIMENSION_TOKEN, "each" },
		{ METRIC_COST, WINDOW_MONTH, DIMENSION_PROJECT, "" }, /* named */
		{ METRIC_PARALLEL, WINDOW_TOTAL, DIMENSION_PROJECT, "each" },
		{ METRIC_COST, WINDOW_DAY, DIMENSION_MODEL, "gpt-*" },
		{ METRIC_REQUESTS, WINDOW_DAY, DIMENSION_END_USER, "each" },
	};

	for (int i = 0; i < LIMITS; i++) {
		struct limit l = house_limit_draft(
			(int)kinds[i].metric, (int)kinds[i].window, INT64_MAX / 2);

		(void)strcpy(l.scope[kinds[i].d], kinds[i].scope);
		if (kinds[i].scope[0] == '\0')
			id_text("prj_", project, l.scope[kinds[i].d]);
		if (kinds[i].window == WINDOW_DAY)
			(void)strcpy(l.timezone, "Europe/Berlin");
		house_create(h, RECORD_LIMIT, &l);
	}
}

static int
by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
measure(struct house *h, const struct admit_caller *c, int64_t ns[WHATS][ROUNDS], int round)
{
	static struct usage_row rows[BATCH];
	struct admit_ask ask = { .caller = c,
		.need = { .model = "gpt-4o",
			.input_tokens = 100,
			.output_tokens = 50,
			.cost_nusd = 1000 },
		.end_user = "ann",
		.address = "10.0.0.1" };
	char note[2000] = "";
	struct admit_pass pass[BATCH];
	struct gets g;
	struct token token;
	int64_t began;

	for (int b = 0; b < BATCHES; b++) {
		bool booked[BATCH];
		int64_t spent[BOARD_CLAIMS_MAX] = { 0 };

		for (int i = 0; i < BATCH; i++)
			rows[i] = (struct usage_row){ .exchange = id_timed(clock_wall_ms()),
				.time_ms = clock_wall_ms(),
				.project = c->project.head.id,
				.token = c->token.head.id,
				.model = "gpt-4o",
				.end_user = "ann",
				.status = 200 };
		began = cpu_ns();
		for (int i = 0; i < BATCH; i++)
			if (admit_reserve(h->store, h->board, h->snapshot, &ask, rows[i].exchange,
				    note, sizeof note, &pass[i], &err) != 0)
				fail_msg("%s", err.text);
		ns[ADMIT][round] += cpu_ns() - began;
		assert_int_equal(pass[0].count, LIMITS);
		began = cpu_ns();
		WORKS(store_book(h->store, rows, BATCH, booked, &err));
		for (int i = 0; i < BATCH; i++)
			WORKS(board_settle(
				h->board, pass[i].lease, spent, pass[i].count, 200, &err));
		ns[SETTLE][round] += cpu_ns() - began;
		began = cpu_ns();
		for (int i = 0; i < BATCH; i++)
			if (store_token_by_hash(h->store, c->token.sha256, &token, &err) != 1)
				fail_msg("%s", err.text);
		ns[LOOK_UP][round] += cpu_ns() - began;
	}
	WORKS(store_call(h->store, "bench", find_key, &g, &err));
	WORKS(store_call(h->store, "bench", bare_gets, &g, &err));
	ns[GET][round] = g.ns;
	for (int what = LOOK_UP; what < WHATS; what++)
		ns[what][round] /= (int64_t)BATCH * BATCHES;
	while (store_fold(h->store, &err) > 0)
		;
}

static int tokens = TOKENS;

static void
admission_and_settlement(void **state)
{
	static const char *const names[WHATS] = { "a bare get", "a token's look-up",
		"an admission, 6 limits", "a settlement, grouped" };
	struct house *h = *state;
	struct project project = house_project(h, "bench");
	struct admit_caller c = { .project = project };
	int64_t ns[WHATS][ROUNDS] = { 0 };

	c.token = make_tokens(h, project.head.id, tokens);
	make_limits(h, project.head.id);
	house_snapshot(h);
	for (int round = 0; round < ROUNDS; round++)
		measure(h, &c, ns, round);
	printf("with %d tokens in the store, CPU time:\n", tokens);
	for (int what = 0; what < WHATS; what++) {
		qsort(ns[what], ROUNDS, sizeof ns[what][0], by_size);
		printf("  %-24s %6lld ns  %5.1f gets\n", names[what],
			(long long)ns[what][ROUNDS / 2],
			(double)ns[what][ROUNDS / 2] / (double)ns[GET][ROUNDS / 2]);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { TEST(admission_and_settlement) };

	if (argc > 1)
		tokens = atoi(argv[1]);
	return cmocka_run_group_tests_name("admit_bench", tests, NULL, NULL);
}
