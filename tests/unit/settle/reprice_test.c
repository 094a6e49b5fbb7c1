/* reprice_test.c - which rows get another cost, what of, and which counters of limits follow. */
#include "../admit/house.h"

#include "base/log.h"
#include "settle/reprice.h"

#define ONE 1000000000LL
#define DAY 86400000LL

static struct reprice_result result;

static void
reprice(struct house *h, struct reprice how)
{
	free(result.model);
	WORKS(reprice_rows(h->store, h->board, &how, &by_test, &result, &err));
}

static int
setup(void **state)
{
	return house_setup(state);
}

static int
teardown(void **state)
{
	free(result.model);
	result = (struct reprice_result){ 0 };
	return house_teardown(state);
}

static struct price
price_draft(const char *model, int64_t request_nusd)
{
	struct price p;

	record_init(RECORD_PRICE, &p);
	(void)snprintf(p.model, sizeof p.model, "%s", model);
	p.request_nusd = request_nusd;
	return p;
}

static struct usage_row
row_draft(const char *model, int64_t time_ms, int64_t cost_nusd)
{
	struct usage_row r;

	memset(&r, 0, sizeof r);
	r.exchange = id_timed(time_ms);
	r.time_ms = time_ms;
	r.status = 200;
	r.usage_source = USAGE_REPORTED;
	r.cost_nusd = cost_nusd;
	(void)snprintf(r.model, sizeof r.model, "%s", model);
	(void)snprintf(r.upstream_model, sizeof r.upstream_model, "%s", model);
	return r;
}

static void
book(struct house *h, const struct usage_row *row)
{
	bool booked;

	WORKS(store_book(h->store, row, 1, &booked, &err));
	assert_true(booked);
}

static int64_t
cost_now(struct house *h, const struct usage_row *row)
{
	struct usage_row r;

	assert_int_equal(store_row_get(h->store, row->exchange, &r, &err), 1);
	return r.cost_nusd;
}

static void
a_row_costs_what_holds_for_its_time_and_nothing_else_is_touched(void **state)
{
	struct house *h = *state;
	int64_t now = clock_wall_ms(), then = now - 10 * DAY;
	struct upstream on = house_upstream(h, "on"), off = house_upstream_draft("off");
	struct price early = price_draft("m", 100), late = early, flex = early, tokens = early;
	struct usage_row row[11];
	static const struct {
		const char *why;
		int64_t want;
	} cases[] = {
		{ "today's price", 700 },
		{ "that of its time", 100 },
		{ "its tier's", 50 },
		{ "what was not known", 700 },
		{ "refused: free", 0 },
		{ "no usage and no cost: free", 0 },
		{ "stated by the provider", 5 },
		{ "no price is known: as it was", 5 },
		{ "the factor of an upstream that is off", 1400 },
		{ "an upstream that is gone has none", 700 },
		{ "tokens at their prices", 2 * 3 + 5 * 4 },
	};

	off.is_active = false;
	off.price_factor = 2 * ONE;
	house_create(h, RECORD_UPSTREAM, &off);
	late.from_ms = now - DAY;
	late.request_nusd = 700;
	(void)snprintf(flex.tier, sizeof flex.tier, "flex");
	flex.request_nusd = 50;
	tokens = price_draft("by-token", 0);
	tokens.input_nusd = 3 * 1000000;
	tokens.output_nusd = 4 * 1000000;
	house_create(h, RECORD_PRICE, &early);
	house_create(h, RECORD_PRICE, &late);
	house_create(h, RECORD_PRICE, &flex);
	house_create(h, RECORD_PRICE, &tokens);
	for (int i = 0; i < 11; i++) {
		row[i] = row_draft("m", now - 1000, 5);
		row[i].upstream = on.head.id;
	}
	row[1] = row_draft("m", then, 5);
	(void)snprintf(row[2].tier, sizeof row[2].tier, "flex");
	row[3].cost_nusd = COST_UNKNOWN;
	row[4].ended_by = ENDED_REFUSED;
	row[4].cost_nusd = 0;
	row[5].usage_source = USAGE_NONE;
	row[5].cost_nusd = 0;
	row[6].cost_stated = 1;
	row[7] = row_draft("other", now - 1000, 5);
	row[8].upstream = off.head.id;
	row[9].upstream = id_random();
	row[10] = row_draft("by-token", now - 1000, COST_UNKNOWN);
	row[10].tokens = (struct tokens){ .input = 2, .output = 5 };
	for (int i = 0; i < 11; i++)
		book(h, &row[i]);

	reprice(h, (struct reprice){ .from_ms = 1, .dry_run = true });
	assert_int_equal(result.changed, 7);
	for (int i = 0; i < 11; i++)
		assert_int_equal(cost_now(h, &row[i]), row[i].cost_nusd);

	reprice(h, (struct reprice){ .from_ms = then + 1 });
	assert_int_equal(cost_now(h, &row[1]), 5); /* before that time */
	reprice(h, (struct reprice){ .from_ms = then, .to_ms = then + 1 });
	assert_int_equal(result.rows, 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (cost_now(h, &row[i]) != cases[i].want)
			fail_msg("%s: %lld", cases[i].why, (long long)cost_now(h, &row[i]));

	reprice(h, (struct reprice){ .from_ms = 1 });
	assert_int_equal(result.changed, 0);
	assert_int_equal(result.rows, 11);
	assert_int_equal(result.stated, 1);
	assert_int_equal(result.unknown, 1);
	assert_int_equal(result.model_count, 3);
	assert_string_equal(result.model[0].model, "by-token");
	assert_int_equal(result.model[0].after_nusd, 26);
	assert_int_equal(result.model[1].rows, 7);
}

/* A counter of a limit that holds `spent`; its key on the board. */
static void
make_counter(struct house *h, const struct limit *l, const struct usage_row *row, int64_t spent,
	uint64_t key[2])
{
	const struct snapshot *p = house_snapshot(h);
	struct limit_values v = { .project = row->project, .model = row->model };
	uint8_t name[COUNTER_NAME_BYTES];
	struct board_claim claim = { .cap = INT64_MAX, .seeded = true };
	struct board_verdict verdict;
	struct board_lease lease;

	v.tag[0] = row->tags[0][0] != '\0' ? row->tags[0] : NULL;
	for (size_t i = 0; i < p->limit_count; i++) {
		const struct limit_rule *r = limit_index_rule(p->limit_index, i);

		if (!id_equal(r->limit->head.id, l->head.id))
			continue;
		limit_window(r, row->time_ms, &claim.window_start_ms, &claim.window_end_ms);
		board_counter_key(h->board, name,
			limit_counter_name(r, &v,
				v.tag[0] != NULL && l->scope[DIMENSION_TAG][0] ? v.tag[0] : "",
				claim.window_start_ms, name),
			claim.key);
		claim.rolling_ms = limit_rolling_ms(l);
	}
	memcpy(key, claim.key, sizeof claim.key);
	WORKS(board_admit(h->board, id_timed(clock_wall_ms()), &claim, 1, NULL, "", 0, &lease,
		&verdict, &err));
	assert_int_equal(verdict.outcome, BOARD_TAKEN);
	WORKS(board_settle(h->board, lease, &spent, 1, 200, &err));
}

static struct limit
new_limit(struct house *h, const char *project, const char *tag, int metric, int window)
{
	struct limit l;

	record_init(RECORD_LIMIT, &l);
	(void)snprintf(l.scope[DIMENSION_PROJECT], sizeof l.scope[0], "%s", project);
	(void)snprintf(l.scope[DIMENSION_TAG], sizeof l.scope[0], "%s", tag);
	l.metric = metric;
	l.window = window;
	l.window_s = 30 * 86400;
	l.cap = INT64_MAX;
	house_create(h, RECORD_LIMIT, &l);
	return l;
}

static int64_t
spent_of(struct house *h, const uint64_t key[2], int64_t rolling_ms)
{
	int64_t spent, reserved;

	assert_int_equal(board_peek(h->board, key, rolling_ms, &spent, &reserved), 1);
	return spent;
}

static void
counters_of_cost_follow_where_their_window_holds_the_row(void **state)
{
	struct house *h = *state;
	struct project mine = house_project(h, "mine"), other = house_project(h, "other");
	char id[ID_TEXT_BYTES];
	struct price p = price_draft("*", 100);
	int64_t now = clock_wall_ms();
	struct usage_row row = row_draft("m", now, 1000), old = row_draft("m", now - 2 * DAY, 1000);
	struct limit day, total, rolling, count, foreign, tagged;
	uint64_t key[6][2];

	row.project = old.project = mine.head.id;
	(void)snprintf(row.tags[0], sizeof row.tags[0], "feature=a");
	house_create(h, RECORD_PRICE, &p);
	id_text("prj_", mine.head.id, id);
	day = new_limit(h, id, "", METRIC_COST, WINDOW_DAY);
	total = new_limit(h, "each", "", METRIC_COST, WINDOW_TOTAL);
	rolling = new_limit(h, "", "", METRIC_COST, WINDOW_ROLLING);
	count = new_limit(h, id, "", METRIC_REQUESTS, WINDOW_TOTAL);
	tagged = new_limit(h, "", "each", METRIC_COST, WINDOW_TOTAL);
	id_text("prj_", other.head.id, id);
	foreign = new_limit(h, id, "", METRIC_COST, WINDOW_TOTAL);
	make_counter(h, &day, &row, 1000, key[0]);
	make_counter(h, &total, &row, 2000, key[1]);
	make_counter(h, &rolling, &row, 2000, key[2]);
	make_counter(h, &count, &row, 2, key[3]);
	make_counter(h, &tagged, &row, 1000, key[4]);
	make_counter(h, &foreign, &row, 9, key[5]);
	book(h, &row);
	book(h, &old);

	reprice(h, (struct reprice){ .from_ms = 1 });
	assert_int_equal(result.changed, 2);
	assert_int_equal(spent_of(h, key[0], 0), 100); /* not what the day before yesterday cost */
	assert_int_equal(spent_of(h, key[1], 0), 200);
	assert_int_equal(spent_of(h, key[3], 0), 2);
	assert_int_equal(spent_of(h, key[4], 0), 100);
	assert_int_equal(spent_of(h, key[5], 0), 9);
	assert_true(spent_of(h, key[2], 30 * DAY) <= 1100);

	reprice(h, (struct reprice){ .from_ms = 1 });
	assert_int_equal(result.counters, 0);
	assert_int_equal(spent_of(h, key[1], 0), 200);
}

static bool
find_audit(void *ctx, const struct audit_entry *e)
{
	struct audit_entry *last = ctx;

	if (strcmp(e->object, "1 rows") == 0)
		*last = *e;
	return true;
}

static void
what_was_changed_stands_in_the_audit(void **state)
{
	struct house *h = *state;
	struct price p = price_draft("*", 100);
	struct usage_row row = row_draft("m", clock_wall_ms(), COST_UNKNOWN);
	struct audit_entry e = { 0 };

	house_create(h, RECORD_PRICE, &p);
	book(h, &row);
	reprice(h, (struct reprice){ .from_ms = 1, .dry_run = true });
	WORKS(store_audit_each(h->store, 0, find_audit, &e, &err));
	assert_int_equal(e.number, 0);
	reprice(h, (struct reprice){ .from_ms = 1 });
	WORKS(store_audit_each(h->store, 0, find_audit, &e, &err));
	assert_string_equal(e.actor, by_test.actor);
	assert_string_equal(e.object, "1 rows");
}

#define MODELS (REPRICE_MODELS_MAX + 100)

/* More models than are told apart: the rest is one line, and all are priced. */
static void
models_beyond_the_ceiling_are_told_together(void **state)
{
	struct house *h = *state;
	struct price p = price_draft("*", 1);
	static struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];
	int64_t now = clock_wall_ms(), sum = 0;

	house_create(h, RECORD_PRICE, &p);
	for (int i = 0; i < MODELS; i += STORE_BOOK_MAX) {
		int n = MODELS - i < STORE_BOOK_MAX ? MODELS - i : STORE_BOOK_MAX;

		for (int k = 0; k < n; k++) {
			char model[32];

			(void)snprintf(model, sizeof model, "model-%d", i + k);
			rows[k] = row_draft(model, now, COST_UNKNOWN);
		}
		WORKS(store_book(h->store, rows, (size_t)n, booked, &err));
	}
	reprice(h, (struct reprice){ .from_ms = 1, .dry_run = true });
	assert_int_equal(result.changed, MODELS);
	assert_true(result.model_count <= REPRICE_MODELS_MAX);
	for (size_t i = 0; i < result.model_count; i++)
		sum += result.model[i].after_nusd;
	assert_int_equal(sum, MODELS);
	assert_int_equal(result.total.after_nusd, MODELS);
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_row_costs_what_holds_for_its_time_and_nothing_else_is_touched),
		TEST(counters_of_cost_follow_where_their_window_holds_the_row),
		TEST(what_was_changed_stands_in_the_audit),
		TEST(models_beyond_the_ceiling_are_told_together),
	};

	log_unbuffered();
	return cmocka_run_group_tests_name("settle/reprice", tests, NULL, NULL);
}
