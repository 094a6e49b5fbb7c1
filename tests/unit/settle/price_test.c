/* price_test.c - money is exact to the nano-dollar, and what is reserved is never too little. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "settle/price.h"
#include <string.h>

#define M 1000000LL

static uint64_t state = 88172645463325252ull;

static int64_t
random_below(int64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (int64_t)((state >> 1) % (uint64_t)n);
}

/* Prices not stated are -1, as a record's fallbacks have it. */
static struct price
price_of(int64_t input, int64_t output, int64_t read, int64_t write_5m, int64_t write_1h,
	int64_t request)
{
	return (struct price){ .input_nusd = input,
		.output_nusd = output,
		.cache_read_nusd = read,
		.cache_write_5m_nusd = write_5m,
		.cache_write_1h_nusd = write_1h,
		.request_nusd = request };
}

static void
each_kind_of_token_has_its_price(void **unused)
{
	const struct price plain = price_of(3 * M, 15 * M, -1, -1, -1, 0);
	const struct price cached = price_of(3 * M, 15 * M, 1 * M, 4 * M, 6 * M, 0);
	const struct price write_5m = price_of(3 * M, 15 * M, -1, 4 * M, -1, 0);
	const struct price free_reads = price_of(3 * M, 15 * M, 0, -1, -1, 0);
	const struct price request = price_of(0, 0, -1, -1, -1, 7);
	const struct price half = price_of(1, 0, -1, -1, -1, 0);
	const struct price dear =
		price_of(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX);
	const struct {
		const char *why;
		const struct price *price;
		struct tokens t; /* input, read, write, of which 1h, output, reasoning */
		int64_t want_nusd;
	} cases[] = {
		{ "nothing used, nothing due", &plain, { 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 0 },
		{ "each direction at its own price", &plain, { 10, 0, 0, 0, 2, 0, 0, 0, 0 }, 60 },
		{ "reasoning is a part of output", &plain, { 0, 0, 0, 0, 2, 2, 0, 0, 0 }, 30 },
		{ "cache kinds at their own", &cached, { 1, 1, 3, 1, 1, 0, 0, 0, 0 }, 3 + 1 + 8 + 6 + 15 },
		{ "reads not stated: as input", &plain, { 0, 5, 0, 0, 0, 0, 0, 0, 0 }, 15 },
		{ "writes not stated: as input", &plain, { 0, 0, 5, 2, 0, 0, 0, 0, 0 }, 15 },
		{ "an hour not stated: as 5m", &write_5m, { 0, 0, 5, 2, 0, 0, 0, 0, 0 }, 20 },
		{ "stated as free is free", &free_reads, { 0, 5, 0, 0, 0, 0, 0, 0, 0 }, 0 },
		{ "each request", &request, { 9, 9, 9, 9, 9, 9, 0, 0, 0 }, 7 },
		{ "half a nano-dollar rounds up", &half, { 500000, 0, 0, 0, 0, 0, 0, 0, 0 }, 1 },
		{ "less than half rounds down", &half, { 499999, 0, 0, 0, 0, 0, 0, 0, 0 }, 0 },
		{ "rounded once for the row, not once a kind", &half,
			{ 250000, 250000, 0, 0, 0, 0 }, 1 },
		{ "too much for a word: its end", &dear,
			{ INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, 0 }, INT64_MAX },
		{ "two words' worth", &dear, { INT64_MAX, 0, 0, 0, INT64_MAX, 0 }, INT64_MAX },
		{ "a reporter's negative counts are 0", &plain, { -5, -5, -5, -5, -5, -5 }, 0 },
		{ "and take nothing off the others", &plain,
			{ INT64_MIN, -1, INT64_MIN, INT64_MIN, 2, 0 }, 30 },
		{ "writes of an hour below 0 add nothing", &cached, { 0, 0, 3, -2, 0, 0 }, 12 },
		{ "nor at the end of the word", &cached, { 0, 0, 3, INT64_MIN, 0, 0 }, 12 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = price_cost(cases[i].price, &cases[i].t);

		if (got != cases[i].want_nusd)
			fail_msg("%s: got %lld", cases[i].why, (long long)got);
	}
}

static void
without_a_price_the_cost_is_not_known(void **unused)
{
	struct tokens t = { .input = 1 };

	(void)unused;
	assert_int_equal(price_cost(NULL, &t), COST_UNKNOWN);
	assert_int_equal(price_worst(NULL, 1, 1), COST_UNKNOWN);
}

static int64_t
random_price(void)
{
	static const int64_t sizes[] = { 2, 1000, 30 * M, INT64_MAX };

	return random_below(4) == 0 ? -1 : random_below(sizes[random_below(4)]);
}

/* However a provider splits what came in, it costs no more than was held for it. */
static void
the_worst_case_is_never_exceeded(void **unused)
{
	static const int64_t sizes[] = { 3, 5000, 1LL << 40 };

	(void)unused;
	for (int i = 0; i < 200000; i++) {
		struct price p = price_of(random_below(30 * M), random_below(60 * M),
			random_price(), random_price(), random_price(), random_price());
		int64_t size = sizes[random_below(3)];
		struct tokens t = { .input = random_below(size),
			.cache_read = random_below(size),
			.cache_write = random_below(size),
			.output = random_below(size) };
		int64_t in = t.input + t.cache_read + t.cache_write, cost, worst;

		t.cache_write_1h = random_below(t.cache_write + 1);
		t.reasoning = random_below(t.output + 1);
		cost = price_cost(&p, &t);
		worst = price_worst(&p, in, t.output);
		if (cost < 0 || worst < cost)
			fail_msg("cost %lld, worst %lld; prices %lld %lld %lld %lld, tokens %lld "
				 "%lld %lld %lld",
				(long long)cost, (long long)worst, (long long)p.input_nusd,
				(long long)p.cache_read_nusd, (long long)p.cache_write_5m_nusd,
				(long long)p.cache_write_1h_nusd, (long long)t.input,
				(long long)t.cache_read, (long long)t.cache_write,
				(long long)t.cache_write_1h);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_token_has_its_price),
		cmocka_unit_test(without_a_price_the_cost_is_not_known),
		cmocka_unit_test(the_worst_case_is_never_exceeded),
	};

	return cmocka_run_group_tests_name("settle/price", tests, NULL, NULL);
}
