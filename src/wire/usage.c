/*
 * usage.c - sums of counters that may be unknown.
 */
#include "wire/usage.h"

#include <string.h>

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

static void
merge(int64_t *into, int64_t n)
{
	if (n >= 0)
		*into = n;
}

void
usage_merge(struct wire_usage *into, const struct wire_usage *u)
{
	into->seen = into->seen || u->seen;
	merge(&into->input, u->input);
	merge(&into->cache_read, u->cache_read);
	merge(&into->cache_write, u->cache_write);
	merge(&into->cache_write_1h, u->cache_write_1h);
	merge(&into->output, u->output);
	merge(&into->reasoning, u->reasoning);
	merge(&into->audio_input, u->audio_input);
	merge(&into->audio_output, u->audio_output);
	merge(&into->cost_nusd, u->cost_nusd);
	merge(&into->duration_ms, u->duration_ms);
	if (u->tier[0] != '\0')
		memcpy(into->tier, u->tier, sizeof into->tier);
}
