/* settle_test.c - whoever dies, what it held is charged once or given back. */
#include "../admit/house.h"

#include "admit/admit.h"
#include "settle/settle.h"

static const uint8_t every_metric[] = { METRIC_REQUESTS, METRIC_INPUT_TOKENS, METRIC_OUTPUT_TOKENS,
	METRIC_TOKENS, METRIC_COST, METRIC_PARALLEL };
#define METRICS ((int)sizeof every_metric)

static void
each_metric_is_charged_what_the_row_says(void **state)
{
	static const struct {
		const char *why;
		struct tokens tokens;
		int64_t cost_nusd;
		int64_t want[METRICS]; /* requests, input, output, tokens, cost, parallel */
	} cases[] = {
		{ "nothing but the request", { 0 }, 0, { 1, 0, 0, 0, 0, 0 } },
		{ "all that goes in is input, reasoning is in the output",
			{ .input = 1,
				.cache_read = 20,
				.cache_write = 300,
				.cache_write_1h = 100,
				.output = 4000,
				.reasoning = 500 },
			77, { 1, 321, 4000, 4321, 77, 0 } },
		{ "a cost that is not known is not charged", { .input = 5 }, COST_UNKNOWN,
			{ 1, 5, 0, 5, 0, 0 } },
		{ "counts below zero are no credit", { .input = -5, .output = INT64_MIN }, -3,
			{ 1, 0, 0, 0, 0, 0 } },
		{ "nor do they lower the others", { .input = -5, .cache_read = 7 }, 0,
			{ 1, 7, 0, 7, 0, 0 } },
		{ "absurd counts are what the store keeps of them",
			{ .input = INT64_MAX, .cache_read = INT64_MAX, .output = INT64_MAX },
			INT64_MAX,
			{ 1, 2 * ((1LL << 40) - 1), (1LL << 40) - 1, 3 * ((1LL << 40) - 1),
				INT64_MAX, 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct usage_row row = {
			.status = 200, .tokens = cases[i].tokens, .cost_nusd = cases[i].cost_nusd
		};
		int64_t spent[BOARD_CLAIMS_MAX];

		settle_charge(every_metric, METRICS, &row, spent);
		for (int m = 0; m < METRICS; m++)
			if (spent[m] != cases[i].want[m])
				fail_msg("%s: metric %d is charged %lld", cases[i].why, m,
					(long long)spent[m]);
	}
}

static void
a_request_counts_where_a_provider_worked_for_it(void **state)
{
	static const struct {
		const char *why;
		struct usage_row row;
		int64_t want;
	} cases[] = {
		{ "answered", { .status = 200, .usage_source = USAGE_REPORTED }, 1 },
		{ "answered without a word on usage", { .status = 200 }, 1 },
		{ "the provider says it is wrong", { .status = 400, .ended_by = ENDED_PROVIDER },
			1 },
		{ "the client left", { .status = 499, .ended_by = ENDED_CLIENT }, 1 },
		{ "broken off half-way",
			{ .status = 200,
				.usage_source = USAGE_COUNTED,
				.ended_by = ENDED_PROVIDER },
			1 },
		{ "timed out with a part of the answer",
			{ .status = 504,
				.usage_source = USAGE_ESTIMATED,
				.ended_by = ENDED_TIMEOUT },
			1 },
		{ "nobody could be reached", { .status = 502, .ended_by = ENDED_PROVIDER }, 0 },
		{ "nobody answered in time", { .status = 504, .ended_by = ENDED_TIMEOUT }, 0 },
		{ "the provider itself is broken", { .status = 500, .ended_by = ENDED_PROVIDER },
			0 },
		{ "died before anything was sent", { .ended_by = ENDED_CRASH }, 0 },
		{ "died while a provider worked",
			{ .ended_by = ENDED_CRASH, .usage_source = USAGE_ESTIMATED }, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t spent[BOARD_CLAIMS_MAX];

		settle_charge(every_metric, 1, &cases[i].row, spent);
		if (spent[0] != cases[i].want)
			fail_msg("%s: counts %lld", cases[i].why, (long long)spent[0]);
	}
}

static void
a_failure_that_cost_nothing_frees_its_idempotency_key(void **state)
{
	static const struct {
		const char *why;
		struct usage_row row;
		int want;
	} cases[] = {
		{ "answered", { .status = 200, .cost_nusd = 5 }, 200 },
		{ "answered for nothing", { .status = 200 }, 200 },
		{ "the provider refused", { .status = 400 }, 0 },
		{ "nobody could be reached",
			{ .status = 502,
				.err_code = ERR_UPSTREAM_UNREACHABLE,
				.ended_by = ENDED_PROVIDER },
			0 },
		{ "a timeout that may be charged",
			{ .status = 504,
				.err_code = ERR_UPSTREAM_TIMEOUT,
				.ended_by = ENDED_TIMEOUT,
				.cost_nusd = 7 },
			504 },
		{ "nobody knows what it cost",
			{ .status = 504, .ended_by = ENDED_TIMEOUT, .cost_nusd = COST_UNKNOWN },
			504 },
		{ "broken off within 200", { .status = 200, .ended_by = ENDED_PROVIDER }, 0 },
		{ "stopped at its budget",
			{ .status = 200, .ended_by = ENDED_BUDGET, .cost_nusd = 9 }, 200 },
		{ "died before anything was sent", { .ended_by = ENDED_CRASH }, 0 },
		{ "died at work", { .ended_by = ENDED_CRASH, .cost_nusd = 3 }, 500 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (settle_status(&cases[i].row) != cases[i].want)
			fail_msg("%s: %d", cases[i].why, settle_status(&cases[i].row));
}

/* ---- exchanges of a process that dies ---- */

/* One limit of each metric, for all. */
static void
make_limits(struct house *h, struct limit limits[METRICS])
{
	for (int m = 0; m < METRICS; m++)
		limits[m] = house_limit(h, m, WINDOW_TOTAL, INT64_MAX / 2);
}

static void
assert_charged(struct house *h, const struct limit limits[METRICS], const int64_t spent[METRICS])
{
	static const struct limit_values global = { 0 };

	for (int m = 0; m < METRICS; m++)
		house_assert_use(h, &limits[m], &global, spent[m], 0);
	assert_int_equal(house_leases(h), 0);
}

enum moment { NOTE_UNFINISHED, NOTHING_SENT, SENT, SENT_WITHOUT_PRICE, BOOKED };

struct dying {
	enum moment moment;
	int count;
	struct id project, token;
	int tell[2]; /* the ids of its exchanges */
};

#define INPUT_ESTIMATE 100

/* One exchange, as gateway does it, up to that moment. */
static int
live_until(struct house *h, const struct dying *d, struct usage_row *row)
{
	struct admit_caller c = { 0 };
	struct admit_ask ask = { .caller = &c,
		.need = { .model = "m-1",
			.input_tokens = INPUT_ESTIMATE,
			.output_tokens = 50,
			.cost_nusd = 2000 } };
	struct settle_note first = { .input_estimate = INPUT_ESTIMATE }, *note;
	struct admit_pass pass;
	bool booked;

	c.project.head.id = d->project;
	c.token.head.id = d->token;
	*row = (struct usage_row){ .time_ms = clock_wall_ms(),
		.project = d->project,
		.token = d->token,
		.model = "m-1",
		.endpoint = "/v1/chat/completions" };
	row->exchange = id_timed(row->time_ms);
	first.row = *row;
	if (admit_reserve(h->store, h->board, h->snapshot, &ask, row->exchange, &first,
		    sizeof first, &pass, &err) != 0)
		return -1;
	if (d->moment == NOTE_UNFINISHED)
		return 0;
	note = board_note(h->board, pass.lease);
	for (int i = 0; i < pass.count; i++)
		note->metric[i] = (uint8_t)pass.hold[i].metric;
	note->count = pass.count;
	if (d->moment == NOTHING_SENT)
		return 0;
	note->priced = d->moment != SENT_WITHOUT_PRICE;
	note->input_nusd = 2000000;
	note->output_nusd = 10000000;
	note->request_nusd = 5;
	note->sent = 1;
	atomic_store(&note->output_chars, 41); /* 11 tokens, begun ones included */
	if (d->moment != BOOKED)
		return 0;
	row->status = 200;
	row->usage_source = USAGE_REPORTED;
	row->tokens = (struct tokens){ .input = 90, .output = 12 };
	row->cost_nusd = 333;
	return store_book(h->store, row, 1, &booked, &err);
}

static int
lives_until_killed(struct house *h, void *ctx)
{
	const struct dying *d = ctx;
	struct usage_row row;

	for (int i = 0; i < d->count; i++)
		if (live_until(h, d, &row) != 0 ||
			write(d->tell[1], &row.exchange, sizeof row.exchange) !=
				(ssize_t)sizeof row.exchange) {
			(void)fprintf(stderr, "child: %s\n", err.text);
			return 1;
		}
	for (;;)
		(void)pause();
}

/* The house is closed before and open after. */
static struct id
die_at(struct house *h, enum moment moment)
{
	struct dying d = {
		.moment = moment, .count = 1, .project = id_random(), .token = id_random()
	};
	struct id exchange;
	pid_t child;

	house_close(h);
	assert_int_equal(pipe(d.tell), 0);
	assert_true((child = house_child(h, lives_until_killed, &d)) > 0);
	house_open(h);
	(void)close(d.tell[1]);
	assert_int_equal(read(d.tell[0], &exchange, sizeof exchange), sizeof exchange);
	(void)close(d.tell[0]);
	WORKS(settle_reap(h->store, h->board, &err));
	assert_int_equal(house_leases(h), 1); /* it lives: nobody touches it */
	house_kill(child);
	return exchange;
}

static void
a_death_is_settled_by_what_had_happened(void **state)
{
	static const struct {
		const char *why;
		enum moment moment;
		enum ended_by ended_by;
		enum usage_source source;
		int64_t input, output, cost_nusd;
	} cases[] = {
		{ "its note was not yet whole: nothing had been sent", NOTE_UNFINISHED, ENDED_CRASH,
			USAGE_NONE, 0, 0, 0 },
		{ "nothing had been sent", NOTHING_SENT, ENDED_CRASH, USAGE_NONE, 0, 0, 0 },
		{ "a provider was at work: by estimate", SENT, ENDED_CRASH, USAGE_ESTIMATED,
			INPUT_ESTIMATE, 11, 2 * INPUT_ESTIMATE + 10 * 11 + 5 },
		{ "without a price the cost stays unknown", SENT_WITHOUT_PRICE, ENDED_CRASH,
			USAGE_ESTIMATED, INPUT_ESTIMATE, 11, COST_UNKNOWN },
		{ "its row was booked: what that says", BOOKED, ENDED_DONE, USAGE_REPORTED, 90, 12,
			333 },
	};
	struct house *h = *state;
	struct limit limits[METRICS];
	int64_t spent[METRICS] = { 0 }, nothing[METRICS] = { 0 };

	make_limits(h, limits);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct id exchange = die_at(h, cases[i].moment);
		struct usage_row row;

		err = (struct err){ 0 };
		if (settle_reap(h->store, h->board, &err) != 1)
			fail_msg("%s: %s", cases[i].why, err.text);
		assert_int_equal(store_row_get(h->store, exchange, &row, &err), 1);
		if (row.ended_by != cases[i].ended_by || row.usage_source != cases[i].source ||
			row.tokens.input != cases[i].input ||
			row.tokens.output != cases[i].output ||
			row.cost_nusd != cases[i].cost_nusd || strcmp(row.model, "m-1") != 0)
			fail_msg("%s: ended by %s, usage %s, %lld in, %lld out, cost %lld",
				cases[i].why, ended_by_name(row.ended_by),
				usage_source_name(row.usage_source), (long long)row.tokens.input,
				(long long)row.tokens.output, (long long)row.cost_nusd);
		/* what a board without this row's counters would be told of it */
		struct usage_sum sum = { 0 };

		usage_sum_add(&sum, &row);
		for (int m = 0; m < METRICS; m++)
			spent[m] += limit_metric_of((enum limit_metric)m, &sum);
		if (cases[i].moment <= NOTHING_SENT)
			assert_memory_equal(spent, nothing, sizeof spent);
		assert_charged(h, limits, spent);
		assert_int_equal(settle_reap(h->store, h->board, &err), 0);
		assert_charged(h, limits, spent);
	}
	assert_int_equal(spent[METRIC_REQUESTS], 3);
	assert_int_equal(spent[METRIC_COST], 2 * INPUT_ESTIMATE + 10 * 11 + 5 + 333);
	assert_int_equal(spent[METRIC_INPUT_TOKENS], 2 * INPUT_ESTIMATE + 90);
}

#define CROWD 40

struct reaper {
	int start[2];
};

static int
reaps_until_none_is_left(struct house *h, void *ctx)
{
	const struct reaper *r = ctx;
	char byte;

	(void)close(r->start[1]);
	if (read(r->start[0], &byte, 1) != 0)
		return 2;
	for (int i = 0; i < 20000 && house_leases(h) > 0; i++) {
		(void)settle_reap(h->store, h->board, &err);
		(void)usleep(1000); /* the other one may be waiting for a recovery */
	}
	return house_leases(h) == 0 ? 0 : 3;
}

static void
reapers_at_once_settle_each_death_once(void **state)
{
	struct house *h = *state;
	struct limit limits[METRICS];
	struct dying d = {
		.moment = SENT, .count = CROWD, .project = id_random(), .token = id_random()
	};
	struct reaper r;
	struct id exchange;
	struct usage_sum sum;
	pid_t victim, reaper[2];

	make_limits(h, limits);
	house_close(h);
	assert_int_equal(pipe(d.tell), 0);
	assert_int_equal(pipe(r.start), 0);
	assert_true((victim = house_child(h, lives_until_killed, &d)) > 0);
	for (int i = 0; i < 2; i++)
		assert_true((reaper[i] = house_child(h, reaps_until_none_is_left, &r)) > 0);
	(void)close(d.tell[1]);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(read(d.tell[0], &exchange, sizeof exchange), sizeof exchange);
	(void)close(d.tell[0]);
	house_kill(victim);
	(void)close(r.start[1]); /* go */
	for (int i = 0; i < 2; i++)
		house_wait(reaper[i], 0);
	(void)close(r.start[0]);
	house_open(h);
	assert_charged(h, limits,
		(int64_t[METRICS]){ CROWD, CROWD * INPUT_ESTIMATE, CROWD * 11,
			CROWD * (INPUT_ESTIMATE + 11), CROWD * 315, 0 });
	assert_int_equal(board_counted(h->board, COUNT_REAPED), CROWD);
	WORKS(store_usage_sum(h->store, BY_TOTAL, NULL, 0, clock_wall_ms(), &sum, &err));
	assert_int_equal(sum.requests, CROWD);
	assert_int_equal(sum.cost_nusd, CROWD * 315);
}

/* The machine went down under a running exchange; the counters went with it, not what they knew. */
static void
after_a_reboot_all_is_settled_before_anybody_is_admitted(void **state)
{
	static const struct board_options next_boot = {
		.rows = 1024, .segments_max = 2, .leases = 256, .boot_id = "another boot"
	};
	static const struct limit_values global = { 0 };
	struct limit_rule r;
	struct house *h = *state;
	struct dying d = {
		.moment = SENT, .count = 1, .project = id_random(), .token = id_random()
	};
	struct limit limits[METRICS];
	struct usage_row row;
	int64_t used;

	make_limits(h, limits);
	house_snapshot(h);
	assert_int_equal(live_until(h, &d, &row), 0);
	assert_int_equal(settle_reap_first(h->store, h->board, &err), 0);
	assert_int_equal(house_leases(h), 1); /* it runs: nobody touches it */
	board_close(h->board);
	h->board = board_open_sized(h->dir, h->roster, &next_boot, &err);
	assert_non_null(h->board);
	assert_int_equal(settle_reap_first(h->store, h->board, &err), 0);
	assert_int_equal(house_leases(h), 0);
	assert_int_equal(store_row_get(h->store, row.exchange, &row, &err), 1);
	assert_int_equal(row.ended_by, ENDED_CRASH);
	limit_rule(&limits[METRIC_COST], NULL, &r);
	WORKS(limit_booked(h->store, &r, &global, "", 0, clock_wall_ms() + 60000, &used, &err));
	assert_int_equal(used, 2 * INPUT_ESTIMATE + 10 * 11 + 5);
}

/* ---- the board and the rows say the same ---- */

static void
what_is_charged_is_what_a_lost_board_is_told(void **state)
{
	static const struct usage_row rows[] = {
		{ .status = 200, .usage_source = USAGE_REPORTED, .tokens = { .input = 3 } },
		{ .status = 200,
			.stream = 1,
			.usage_source = USAGE_COUNTED,
			.tokens = { 1, 2, 4, 3, 8, 5 },
			.cost_nusd = 9 },
		{ .status = 200, .tokens = { .output = 7 }, .cost_nusd = COST_UNKNOWN },
		{ .status = 400, .err_code = ERR_BAD_REQUEST, .ended_by = ENDED_PROVIDER },
		{ .status = 200, .ended_by = ENDED_CLIENT, .tokens = { .input = 9 } },
		{ .status = 504, .err_code = ERR_UPSTREAM_TIMEOUT, .ended_by = ENDED_TIMEOUT },
		{ .status = 502, .err_code = ERR_UPSTREAM_UNREACHABLE, .ended_by = ENDED_PROVIDER },
		{ .status = 0, .err_code = ERR_INTERNAL, .ended_by = ENDED_CRASH },
		{ .status = 200, .tokens = { .input = -4, .output = INT64_MAX } },
		{ .status = 429, .err_code = ERR_RATE_LIMITED, .ended_by = ENDED_REFUSED },
	};
	struct house *h = *state;
	struct limit limits[METRICS];
	struct limit_values v = { 0 };
	struct admit_caller c = { 0 };
	struct admit_ask ask = { .caller = &c,
		.need = { .model = "m-1", .input_tokens = 1, .output_tokens = 1, .cost_nusd = 1 } };
	struct admit_pass pass;
	int64_t total[METRICS] = { 0 };
	make_limits(h, limits);
	house_snapshot(h);
	c.project.head.id = id_random();
	c.token.head.id = id_random();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct usage_row row = rows[i];
		uint8_t metric[BOARD_CLAIMS_MAX];
		int64_t spent[BOARD_CLAIMS_MAX];
		bool booked;

		row.time_ms = clock_wall_ms();
		row.exchange = id_timed(row.time_ms);
		row.project = c.project.head.id;
		row.token = c.token.head.id;
		(void)strcpy(row.model, "m-1");
		if (row.ended_by == ENDED_REFUSED) { /* holds nothing, uses nothing */
			WORKS(store_book(h->store, &row, 1, &booked, &err));
			continue;
		}
		WORKS(admit_reserve(
			h->store, h->board, h->snapshot, &ask, row.exchange, "", 0, &pass, &err));
		for (int k = 0; k < pass.count; k++)
			metric[k] = (uint8_t)pass.hold[k].metric;
		settle_charge(metric, pass.count, &row, spent);
		for (int k = 0; k < pass.count; k++)
			total[metric[k]] += spent[k];
		WORKS(store_book(h->store, &row, 1, &booked, &err));
		assert_int_equal(board_settle(h->board, pass.lease, spent, pass.count, 0, &err), 1);
	}
	for (int m = 0; m < METRICS; m++)
		house_assert_use(h, &limits[m], &v, total[m], 0);
	/* from rows, from rollups, and by the walk that a combination takes */
	for (int folded = 0; folded < 2; folded++) {
		for (int i = 0; i < METRICS * 3; i++) {
			struct limit l = limits[i / 3];
			struct limit_values of = { .project = c.project.head.id,
				.token = c.token.head.id,
				.model = "m-1" };
			struct limit_rule r;
			int64_t seed;

			if (i % 3 > 0)
				(void)strcpy(l.scope[DIMENSION_TOKEN], "each");
			if (i % 3 > 1)
				(void)strcpy(l.scope[DIMENSION_MODEL], "m-*");
			limit_rule(&l, NULL, &r);
			WORKS(limit_booked(
				h->store, &r, &of, "", 0, clock_wall_ms() + 60000, &seed, &err));
			if (seed != total[i / 3])
				fail_msg("metric %d, way %d, %s: charged %lld, told %lld", i / 3,
					i % 3, folded ? "folded" : "not folded",
					(long long)total[i / 3], (long long)seed);
		}
		WORKS(store_fold(h->store, &err));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_that_cost_nothing_frees_its_idempotency_key),
		cmocka_unit_test(each_metric_is_charged_what_the_row_says),
		cmocka_unit_test(a_request_counts_where_a_provider_worked_for_it),
		TEST(a_death_is_settled_by_what_had_happened),
		TEST(reapers_at_once_settle_each_death_once),
		TEST(after_a_reboot_all_is_settled_before_anybody_is_admitted),
		TEST(what_is_charged_is_what_a_lost_board_is_told),
	};

	return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
