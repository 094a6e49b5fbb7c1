/* price.c - see price.h for the formula; negative counters are a reporter's mistake and count 0. */
#include "settle/price.h"

#define PER_TOKENS 1000000

__extension__ typedef __int128 wide; /* tokens times price needs more than 64 bits */

#define WIDE_MOST ((wide)INT64_MAX * PER_TOKENS) /* a cost beyond it is INT64_MAX anyway */

/* Held at WIDE_MOST, so that a few of them can be added. */
static wide
product(int64_t tokens, int64_t price_nusd)
{
	wide p = tokens > 0 && price_nusd > 0 ? (wide)tokens * price_nusd : 0;

	return p > WIDE_MOST ? WIDE_MOST : p;
}

static int64_t
stated(int64_t price_nusd, int64_t otherwise_nusd)
{
	return price_nusd >= 0 ? price_nusd : otherwise_nusd;
}

static int64_t
rounded(wide sum, int64_t request_nusd)
{
	wide cost = (sum + PER_TOKENS / 2) / PER_TOKENS;

	if (request_nusd > 0)
		cost += request_nusd;
	return cost > INT64_MAX ? INT64_MAX : (int64_t)cost;
}

int64_t
price_cost(const struct price *price, const struct tokens *tokens)
{
	int64_t write_5m, write_1h, hour = tokens->cache_write_1h > 0 ? tokens->cache_write_1h : 0;
	wide sum;

	if (price == NULL)
		return COST_UNKNOWN;
	write_5m = stated(price->cache_write_5m_nusd, price->input_nusd);
	write_1h = stated(price->cache_write_1h_nusd, write_5m);
	sum = product(tokens->input, price->input_nusd);
	sum += product(tokens->cache_read, stated(price->cache_read_nusd, price->input_nusd));
	if (tokens->cache_write > hour)
		sum += product(tokens->cache_write - hour, write_5m);
	sum += product(hour, write_1h);
	sum += product(tokens->output, price->output_nusd);
	return rounded(sum, price->request_nusd);
}

int64_t
price_worst(const struct price *price, int64_t input_tokens, int64_t output_tokens)
{
	int64_t dearest;

	if (price == NULL)
		return COST_UNKNOWN;
	dearest = price->input_nusd;
	if (price->cache_read_nusd > dearest)
		dearest = price->cache_read_nusd;
	if (price->cache_write_5m_nusd > dearest)
		dearest = price->cache_write_5m_nusd;
	if (price->cache_write_1h_nusd > dearest)
		dearest = price->cache_write_1h_nusd;
	return rounded(product(input_tokens, dearest) + product(output_tokens, price->output_nusd),
		price->request_nusd);
}
