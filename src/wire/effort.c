/*
 * effort.c - one table both ways.
 */
#include "wire/effort.h"

static const struct {
	const char *name;
	int64_t budget;
	int64_t up_to; /* a budget that is still called so */
} efforts[] = {
	[EFFORT_UNSET] = { "", -1, -1 },
	[EFFORT_NONE] = { "none", 0, 0 },
	[EFFORT_MINIMAL] = { "minimal", 1024, 512 },
	[EFFORT_LOW] = { "low", 1024, 1024 },
	[EFFORT_MEDIUM] = { "medium", 8192, 8192 },
	[EFFORT_HIGH] = { "high", 24576, 24576 },
	[EFFORT_XHIGH] = { "xhigh", 32768, INT64_MAX },
	[EFFORT_MAX] = { "max", 32768, INT64_MAX },
};

const char *
effort_name(enum effort e)
{
	return efforts[e].name;
}

enum effort
effort_named(struct span plain)
{
	for (int e = EFFORT_NONE; e <= EFFORT_MAX; e++)
		if (span_is(plain, efforts[e].name))
			return (enum effort)e;
	return EFFORT_UNSET;
}

int64_t
effort_budget(enum effort e)
{
	return efforts[e].budget;
}

enum effort
effort_of_budget(int64_t tokens)
{
	int e = EFFORT_NONE;

	while (tokens > efforts[e].up_to)
		e++;
	return (enum effort)e;
}
