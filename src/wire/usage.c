/*
 * usage.c - sums of counters that may be unknown.
 */
#include "wire/usage.h"

int64_t
usage_or_zero(int64_t counter)
{
	return counter < 0 ? 0 : counter;
}

int64_t
usage_input_total(const struct wire_usage *u)
{
	return usage_or_zero(u->input) + usage_or_zero(u->cache_read) +
	       usage_or_zero(u->cache_write);
}
