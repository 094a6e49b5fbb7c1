/* price_test.c - the nearest price counts, money is exact to the nano-dollar, and what is reserved
 * is never too little. */
#include "../store/store_fixture.h"

#include "settle/price.h"

#define M   1000000LL
#define ONE 1000000000LL

static uint64_t dice = 88172645463325252ull;

static int64_t
random_below(int64_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (int64_t)((dice >> 1) % (uint64_t)n);
}

/* What a record has that states input and output alone. */
static struct price
plain(int64_t input_nusd, int64_t output_nusd)
{
	struct price p;

	record_init(RECORD_PRICE, &p);
	p.input_nusd = input_nusd;
	p.output_nusd = output_nusd;
	return p;
}

static struct price_list
list_of(const struct price *p, int64_t factor)
{
	return (struct price_list){ 1, { p }, factor };
}

/* ---- one row's arithmetic ---- */

static void
each_kind_of_token_has_its_price(void **state)
{
	struct price two = plain(3 * M, 15 * M), all = two, write_5m = two, free_reads = two;
	struct price claude = plain(3 * ONE, 15 * ONE), fees = plain(0, 0), half = plain(1, 0),
		     dear = plain(INT64_MAX, INT64_MAX);
	const struct {
		const char *why;
		const struct price *price;
		struct tokens t;
		int64_t want_nusd;
	} cases[] = {
		{ "nothing used, nothing due", &two, { .input = 0 }, 0 },
		{ "each direction at its own price", &two, { .input = 10, .output = 2 }, 60 },
		{ "reasoning is a part of output", &two, { .output = 2, .reasoning = 2 }, 30 },
		{ "reasoning at its own", &all, { .output = 3, .reasoning = 2 }, 15 + 2 * 20 },
		{ "cache kinds at their own", &all,
			{ .input = 1, .cache_read = 1, .cache_write = 3, .cache_write_1h = 1 },
			3 + 1 + 8 + 6 },
		{ "the reference's own example (tests/vectors/52-usage.json)", &claude,
			{ .input = 1000,
				.cache_read = 2000,
				.cache_write = 500,
				.cache_write_1h = 100,
				.output = 300 },
			10200000 },
		{ "reads not stated: as input", &two, { .cache_read = 5 }, 15 },
		{ "writes not stated: as input", &two, { .cache_write = 5, .cache_write_1h = 2 },
			15 },
		{ "an hour not stated: as 5m", &write_5m, { .cache_write = 5, .cache_write_1h = 2 },
			20 },
		{ "stated as free is free", &free_reads, { .cache_read = 5 }, 0 },
		{ "audio heard is a part of input", &all, { .input = 10, .audio_input = 4 },
			6 * 3 + 4 * 7 },
		{ "audio heard not stated: as input", &two, { .input = 10, .audio_input = 4 }, 30 },
		{ "audio spoken is a part of output", &all, { .output = 10, .audio_output = 4 },
			6 * 15 + 4 * 30 },
		{ "audio spoken not stated: as output", &two, { .output = 10, .audio_output = 4 },
			150 },
		{ "three parts of one output", &all,
			{ .output = 10, .reasoning = 3, .audio_output = 4 },
			3 * 15 + 3 * 20 + 4 * 30 },
		{ "parts never exceed their whole", &all,
			{ .input = 2,
				.audio_input = 9,
				.output = 2,
				.reasoning = 9,
				.audio_output = 1 },
			2 * 7 + 30 + 20 },
		{ "each request", &fees, { .input = 9, .output = 9 }, 7 },
		{ "each image", &fees, { .images = 3 }, 7 + 3 * 40 },
		{ "half a nano-dollar rounds up", &half, { .input = 500000 }, 1 },
		{ "less than half rounds down", &half, { .input = 499999 }, 0 },
		{ "rounded once for the row, not once a kind", &half,
			{ .input = 250000, .cache_read = 250000 }, 1 },
		{ "too much for a word: its end", &dear,
			{ INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX,
				INT64_MAX, INT64_MAX, INT64_MAX },
			INT64_MAX },
		{ "two words' worth", &dear, { .input = INT64_MAX, .output = INT64_MAX },
			INT64_MAX },
		{ "images without end", &fees, { .images = INT64_MAX }, INT64_MAX },
		{ "a reporter's negative counts are 0", &two,
			{ -5, -5, -5, -5, -5, -5, -5, -5, -5 }, 0 },
		{ "and take nothing off the others", &two,
			{ .input = INT64_MIN,
				.cache_read = -1,
				.cache_write = INT64_MIN,
				.output = 2,
				.audio_output = INT64_MIN },
			30 },
		{ "writes of an hour below 0 add nothing", &all,
			{ .cache_write = 3, .cache_write_1h = INT64_MIN }, 12 },
	};

	(void)state;
	all.cache_read_nusd = 1 * M;
	all.cache_write_5m_nusd = 4 * M;
	all.cache_write_1h_nusd = 6 * M;
	all.reasoning_nusd = 20 * M;
	all.audio_input_nusd = 7 * M;
	all.audio_output_nusd = 30 * M;
	write_5m.cache_write_5m_nusd = 4 * M;
	claude.cache_read_nusd = 3 * ONE / 10;
	claude.cache_write_5m_nusd = 15 * ONE / 4;
	claude.cache_write_1h_nusd = 6 * ONE;
	free_reads.cache_read_nusd = 0;
	fees.request_nusd = 7;
	fees.image_nusd = 40;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct price_list l = list_of(cases[i].price, ONE);
		int64_t got = price_cost(&l, "", &cases[i].t);

		if (got != cases[i].want_nusd)
			fail_msg("%s: got %lld", cases[i].why, (long long)got);
	}
}

static void
the_factor_multiplies_all_of_it_before_the_one_rounding(void **state)
{
	struct price p = plain(3 * M, 0), tiny = plain(1, 0);
	static const struct {
		const char *why;
		bool tiny;
		int64_t tokens, request, images, factor, want_nusd;
	} cases[] = {
		{ "one", false, 10, 5, 1, ONE, 30 + 5 + 11 },
		{ "half of tokens, fee and image", false, 10, 6, 2, ONE / 2, 15 + 3 + 11 },
		{ "a tenth dearer", false, 10, 0, 0, ONE + ONE / 10, 33 },
		{ "free", false, 10, 6, 2, 0, 0 },
		{ "half a nano-dollar by the factor alone", false, 0, 1, 0, ONE / 2, 1 },
		{ "two halves make one, not two", true, 500000, 1, 0, ONE / 2, 1 },
		{ "just below half", false, 0, 1, 0, ONE / 2 - 1, 0 },
		{ "beyond a word", false, INT64_MAX, 0, 0, ONE, INT64_MAX },
		{ "beyond two words", false, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX,
			INT64_MAX },
		{ "brought back into a word", false, INT64_MAX, 0, 0, 1, 27670116111 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct price row = cases[i].tiny ? tiny : p;
		struct price_list l = list_of(&row, cases[i].factor);
		struct tokens t = { .input = cases[i].tokens, .images = cases[i].images };
		int64_t got;

		row.request_nusd = cases[i].request;
		row.image_nusd = 11;
		got = price_cost(&l, "", &t);
		if (got != cases[i].want_nusd)
			fail_msg("%s: got %lld", cases[i].why, (long long)got);
	}
}

static void
rates_for_a_note_hold_the_factor_and_round_up(void **state)
{
	struct price p = plain(3, 5), step = plain(30, 50), flex = plain(1, 1);
	struct price_list l = { 3, { &p, &step, &flex }, ONE / 2 }, none = { .factor = ONE };
	struct price_rates r;

	(void)state;
	p.request_nusd = 7;
	step.above_tokens = 100;
	(void)snprintf(flex.tier, sizeof flex.tier, "flex");
	assert_true(price_rates(&l, 100, &r));
	assert_int_equal(r.input_nusd, 2);
	assert_int_equal(r.output_nusd, 3);
	assert_int_equal(r.request_nusd, 4);
	assert_true(price_rates(&l, 101, &r));
	assert_int_equal(r.input_nusd, 15);
	assert_false(price_rates(&none, 1, &r));
	assert_int_equal(r.input_nusd, 0);
}

/* ---- steps and tiers ---- */

static void
step_and_tier_are_chosen_for_the_whole_request(void **state)
{
	/* each row's input price is its number, a million tokens cost so many nano-dollars */
	static const struct {
		const char *tier;
		int64_t above;
	} rows[] = { { "", 0 }, { "", 200000 }, { "", 500000 }, { "flex", 0 }, { "batch", 0 },
		{ "flex", 200000 } };
	static const struct {
		const char *why, *tier;
		struct tokens t;
		int64_t want_row;
	} cases[] = {
		{ "the first token", "", { .input = 1 }, 0 },
		{ "none at all", "", { .input = 0 }, 0 },
		{ "up to the step", "", { .input = 200000 }, 0 },
		{ "above it", "", { .input = 200001 }, 1 },
		{ "cached input counts", "", { .input = 100000, .cache_read = 100001 }, 1 },
		{ "written input counts", "", { .input = 200000, .cache_write = 1 }, 1 },
		{ "output does not", "", { .input = 1, .output = 900000 }, 0 },
		{ "the greatest step exceeded", "", { .input = 600000 }, 2 },
		{ "its tier", "flex", { .input = 1 }, 3 },
		{ "its tier's step", "flex", { .input = 200001 }, 5 },
		{ "the tier before the step", "batch", { .input = 600000 }, 4 },
		{ "a tier without a price of its own", "scale", { .input = 1 }, 0 },
		{ "and its step", "default", { .input = 600000 }, 2 },
		{ "more than can be", "", { INT64_MAX, INT64_MAX, INT64_MAX, 0, 0, 0, 0, 0, 0 },
			2 },
	};
	struct price row[sizeof rows / sizeof rows[0]];
	struct price_list l = { .factor = ONE };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		row[i] = plain(0, 0);
		row[i].request_nusd = (int64_t)i;
		row[i].above_tokens = rows[i].above;
		(void)snprintf(row[i].tier, sizeof row[i].tier, "%s", rows[i].tier);
		l.row[l.count++] = &row[i];
	}
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = price_cost(&l, cases[i].tier, &cases[i].t);

		if (got != cases[i].want_row)
			fail_msg("%s: row %lld", cases[i].why, (long long)got);
	}
}

static void
without_a_price_that_fits_the_cost_is_not_known(void **state)
{
	struct price flex = plain(1, 1), late = plain(1, 1);
	struct price_list none = { .factor = ONE }, l = { 2, { &flex, &late }, ONE };
	struct tokens few = { .input = 1 }, many = { .input = 11 };

	(void)state;
	(void)snprintf(flex.tier, sizeof flex.tier, "flex");
	late.above_tokens = 10;
	assert_int_equal(price_cost(&none, "", &few), COST_UNKNOWN);
	assert_int_equal(price_worst(&none, 1, 1), COST_UNKNOWN);
	assert_int_equal(price_worst_images(&none, 9), 0);
	assert_int_equal(price_cost(&l, "", &few), COST_UNKNOWN);
	assert_int_not_equal(price_cost(&l, "flex", &few), COST_UNKNOWN);
	assert_int_not_equal(price_cost(&l, "", &many), COST_UNKNOWN);
}

static int64_t
random_price(void)
{
	static const int64_t sizes[] = { 2, 1000, 30 * M, INT64_MAX };

	return random_below(4) == 0 ? -1 : random_below(sizes[random_below(4)]);
}

/* However a provider splits what came in, in whatever tier, it costs no more than was held. */
static void
the_worst_case_is_never_exceeded(void **state)
{
	static const int64_t sizes[] = { 3, 5000, 1LL << 40 };
	static const char *const tiers[] = { "", "flex", "priority" };

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct price row[4];
		struct price_list l = { .factor = random_below(3) == 0 ? ONE
								       : random_below(3 * ONE) };
		int64_t size = sizes[random_below(3)];
		struct tokens t = { .input = random_below(size),
			.cache_read = random_below(size),
			.cache_write = random_below(size),
			.output = random_below(size),
			.images = random_below(9) };
		int64_t in = t.input + t.cache_read + t.cache_write, cost, worst;

		t.cache_write_1h = random_below(t.cache_write + 1);
		t.reasoning = random_below(t.output + 1);
		t.audio_output = random_below(t.output + 1);
		t.audio_input = random_below(t.input + 1);
		for (int k = 0; k < 4; k++) {
			struct price p = plain(random_below(30 * M), random_below(60 * M));

			p.cache_read_nusd = random_price();
			p.cache_write_5m_nusd = random_price();
			p.cache_write_1h_nusd = random_price();
			p.reasoning_nusd = random_price();
			p.audio_input_nusd = random_price();
			p.audio_output_nusd = random_price();
			p.request_nusd = random_below(M);
			p.image_nusd = random_below(M);
			p.above_tokens = k == 0 ? 0 : random_below(size);
			if (k > 0)
				(void)snprintf(p.tier, sizeof p.tier, "%s", tiers[random_below(3)]);
			row[k] = p;
			l.row[l.count++] = &row[k];
		}
		cost = price_cost(&l, tiers[random_below(3)], &t);
		worst = price_worst(&l, in + random_below(2), t.output);
		if (__builtin_add_overflow(worst, price_worst_images(&l, t.images), &worst))
			worst = INT64_MAX;
		if (cost < 0 || worst < cost)
			fail_msg("round %d: cost %lld, worst %lld", i, (long long)cost,
				(long long)worst);
	}
}

/* ---- which rows ---- */

static const struct store_change by_test = { .actor = "test", .action = "test", .address = "" };

static struct upstream
new_upstream(struct fixture *f, const char *name)
{
	struct upstream u;

	record_init(RECORD_UPSTREAM, &u);
	u.head.id = id_random();
	(void)snprintf(u.name, sizeof u.name, "%s", name);
	(void)snprintf(u.base_url, sizeof u.base_url, "https://%s.example/v1", name);
	if (store_create(f->s, RECORD_UPSTREAM, &u, &by_test, &err) != 0)
		fail_msg("%s", err.text);
	return u;
}

struct row_given {
	const char *model;
	bool own;
	int64_t from_ms;
	const char *tier;
	int64_t above;
};

/* Numbered by their fee. */
static struct snapshot *
load(struct fixture *f, const struct row_given *rows, size_t count, struct id own)
{
	struct snapshot *p;

	for (size_t i = 0; i < count; i++) {
		struct price r = plain(0, 0);

		r.head.id = id_random();
		(void)snprintf(r.model, sizeof r.model, "%s", rows[i].model);
		(void)snprintf(r.tier, sizeof r.tier, "%s", rows[i].tier);
		r.upstream = rows[i].own ? own : ID_NONE;
		r.from_ms = rows[i].from_ms;
		r.above_tokens = rows[i].above;
		r.request_nusd = (int64_t)i;
		if (store_create(f->s, RECORD_PRICE, &r, &by_test, &err) != 0)
			fail_msg("%s", err.text);
	}
	if ((p = snapshot_load(f->s, 1, &err)) == NULL)
		fail_msg("%s", err.text);
	return p;
}

static void
the_price_that_is_nearest_counts(void **state)
{
	static const struct row_given rows[] = {
		{ "*", false, 0, "", 0 },             /* 0 */
		{ "gpt-*", false, 0, "", 0 },         /* 1 */
		{ "gpt-4o", false, 0, "", 0 },        /* 2 */
		{ "gpt-4o", false, 2000, "", 0 },     /* 3 */
		{ "gpt-4o", false, 1000, "", 0 },     /* 4 */
		{ "g*", true, 0, "", 0 },             /* 5 */
		{ "own-*", true, 500, "", 0 },        /* 6 */
		{ "own-model", true, 9000, "", 0 },   /* 7 */
		{ "gpt-4o*", false, 0, "", 0 },       /* 8 */
		{ "gpt-4*", false, 0, "flex", 0 },    /* 9 */
		{ "gpt-*", false, 0, "flex", 0 },     /* 10 */
		{ "gpt-4*", false, 0, "", 10 },       /* 11 */
		{ "gpt-4o", false, 1500, "flex", 0 }, /* 12 */
		{ "gpt-*", false, 0, "flex", 5 },     /* 13 */
	};
	static const struct {
		const char *why;
		bool own;
		const char *model;
		int64_t at_ms;
		const char *tier;
		int64_t input, want;
	} cases[] = {
		{ "anything", false, "llama", 5000, "", 0, 0 },
		{ "the longer pattern", false, "gpt-5", 5000, "", 0, 1 },
		{ "its name before any pattern", false, "gpt-4o", 999, "", 0, 2 },
		{ "the longest pattern", false, "gpt-4o-x", 999, "", 0, 8 },
		{ "the later one from its day on", false, "gpt-4o", 1000, "", 0, 4 },
		{ "the latest", false, "gpt-4o", 2000, "", 0, 3 },
		{ "a price to come does not count", false, "gpt-4o", 1999, "", 0, 4 },
		{ "the upstream's own beats any, though shorter", true, "gpt-4o", 5000, "", 0, 5 },
		{ "any where it has none of its own", true, "llama", 5000, "", 0, 0 },
		{ "its own pattern", true, "own-model", 8999, "", 0, 6 },
		{ "its own longer one later", true, "own-model", 9000, "", 0, 7 },
		{ "its own not yet: any", true, "own-model", 499, "", 0, 0 },
		{ "the own of another do not count", false, "own-model", 9999, "", 0, 0 },
		{ "a tier of its name", false, "gpt-4o", 5000, "flex", 0, 12 },
		{ "not yet: its name without one", false, "gpt-4o", 1499, "flex", 0, 4 },
		{ "a nearer pattern has the tier alone", false, "gpt-4.1", 5000, "flex", 0, 9 },
		{ "which says nothing of others", false, "gpt-4.1", 5000, "", 10, 1 },
		{ "but of long ones", false, "gpt-4.1", 5000, "", 11, 11 },
		{ "whatever steps stand farther off", false, "gpt-4.1", 5000, "flex", 6, 9 },
		{ "which count where they are near", false, "gpt-5", 5000, "flex", 6, 13 },
		{ "the tier of the only pattern", false, "gpt-5", 5000, "flex", 0, 10 },
	};
	struct fixture *f = *state;
	struct upstream own = new_upstream(f, "own"), other = new_upstream(f, "other");
	struct snapshot *p = load(f, rows, sizeof rows / sizeof rows[0], own.head.id);

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tokens t = { .input = cases[i].input };
		struct price_list l;
		int64_t got;

		price_find(p, cases[i].own ? &own : &other, span_of(cases[i].model), cases[i].at_ms,
			&l);
		got = price_cost(&l, cases[i].tier, &t);
		if (got != cases[i].want)
			fail_msg("%s: price %lld", cases[i].why, (long long)got);
	}
	snapshot_drop(p);
}

static void
a_model_may_have_no_price(void **state)
{
	static const struct row_given rows[] = { { "gpt-*", false, 0, "", 0 } };
	struct fixture *f = *state;
	struct snapshot *p = load(f, rows, 1, ID_NONE);
	struct price_list l;

	price_find(p, NULL, span_of("claude"), 1, &l);
	assert_int_equal(l.count, 0);
	price_find(p, NULL, SPAN_NONE, 1, &l);
	assert_int_equal(l.count, 0);
	price_find(p, NULL, span_of("gpt-4"), 1, &l);
	assert_int_equal(l.count, 1);
	assert_int_equal(l.factor, ONE);
	snapshot_drop(p);
}

/* An operator who states a price of a model that came with a list has the last word. */
static void
what_a_person_made_counts_before_lists(void **state)
{
	struct fixture *f = *state;
	struct price r = plain(0, 0);
	struct tokens t = { .input = 0 };
	struct price_list l;
	struct snapshot *p;

	for (int i = 0; i < 6; i++) {
		(void)snprintf(r.model, sizeof r.model, i < 3 ? "forth" : "back");
		r.head.id = id_random();
		r.is_builtin = (i < 3 ? i : 5 - i) == 0;
		r.is_imported = (i < 3 ? i : 5 - i) == 1;
		r.request_nusd = i < 3 ? i : 5 - i;
		if (store_create(f->s, RECORD_PRICE, &r, &by_test, &err) != 0)
			fail_msg("%s", err.text);
	}
	p = snapshot_load(f->s, 1, &err);
	assert_non_null(p);
	price_find(p, NULL, span_of("forth"), 1, &l);
	assert_int_equal(price_cost(&l, "", &t), 2);
	price_find(p, NULL, span_of("back"), 1, &l);
	assert_int_equal(price_cost(&l, "", &t), 2);
	snapshot_drop(p);
}

static void
the_factor_is_the_upstreams(void **state)
{
	static const struct row_given rows[] = { { "m", false, 0, "", 0 },
		{ "m", false, 1, "", 0 } };
	struct fixture *f = *state;
	struct upstream u = new_upstream(f, "u");
	struct snapshot *p = load(f, rows, 2, ID_NONE);
	struct tokens t = { .input = 0 };
	struct price_list l;

	u.price_factor = 3 * ONE;
	price_find(p, &u, span_of("m"), 1, &l);
	assert_int_equal(price_cost(&l, "", &t), 3);
	snapshot_drop(p);
}

/* However many steps somebody made, what prices any request is among those looked at. */
static void
too_many_steps_leave_the_plain_price(void **state)
{
	struct row_given rows[PRICE_ROWS_MAX + 5];
	struct fixture *f = *state;
	struct price_list l;
	struct snapshot *p;
	struct tokens t = { .input = 0 };

	for (size_t i = 0; i < PRICE_ROWS_MAX + 5; i++)
		rows[i] = (struct row_given){ "m", false, 1000 - (int64_t)i, "",
			i == PRICE_ROWS_MAX + 2 ? 0 : 100 + (int64_t)i };
	p = load(f, rows, PRICE_ROWS_MAX + 5, ID_NONE);
	price_find(p, NULL, span_of("m"), 2000, &l);
	assert_int_equal(l.count, PRICE_ROWS_MAX);
	assert_int_equal(price_cost(&l, "", &t), PRICE_ROWS_MAX + 2);
	snapshot_drop(p);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_token_has_its_price),
		cmocka_unit_test(the_factor_multiplies_all_of_it_before_the_one_rounding),
		cmocka_unit_test(rates_for_a_note_hold_the_factor_and_round_up),
		cmocka_unit_test(step_and_tier_are_chosen_for_the_whole_request),
		cmocka_unit_test(without_a_price_that_fits_the_cost_is_not_known),
		cmocka_unit_test(the_worst_case_is_never_exceeded),
		STORE_TEST(the_price_that_is_nearest_counts),
		STORE_TEST(a_model_may_have_no_price),
		STORE_TEST(what_a_person_made_counts_before_lists),
		STORE_TEST(the_factor_is_the_upstreams),
		STORE_TEST(too_many_steps_leave_the_plain_price),
	};

	return cmocka_run_group_tests_name("settle/price", tests, NULL, NULL);
}
