/*
 * money.c - dollars in and out of text, without floating point on the way.
 */
#include "base/money.h"

#include "base/decimal-int.h"
#include <stdio.h>

#define NUSD_PLACES 9

void
money_text(int64_t nusd, char out[MONEY_TEXT_BYTES])
{
	uint64_t u = nusd < 0 ? 0 - (uint64_t)nusd : (uint64_t)nusd;

	(void)snprintf(out, MONEY_TEXT_BYTES, "%s%llu.%09llu", nusd < 0 ? "-" : "",
		(unsigned long long)(u / NUSD_PER_USD), (unsigned long long)(u % NUSD_PER_USD));
}

int
money_parse(const char *text, int64_t *nusd)
{
	struct decimal d;

	if (text == NULL || decimal_read(span_of(text), &d) != 0)
		return -1;
	return decimal_scale(&d, NUSD_PLACES, nusd);
}

int
money_scaled(struct span text, int places, int64_t *out)
{
	struct decimal d;

	return decimal_read(text, &d) != 0 ? -1 : decimal_round(&d, places, out);
}

int64_t
money_add(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return a < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}
