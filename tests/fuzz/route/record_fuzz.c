/*
 * record_fuzz.c - a damaged store, or a newer program, may hold any bytes where a decision stood.
 *
 * Property: what can be read can be written, in no more bytes, and is the same when read again.
 */
#include "route/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok, const char *what)
{
	if (!ok) {
		(void)fprintf(stderr, "record_fuzz: %s\n", what);
		abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t once[4096], twice[4096];
	struct route_record first, again;
	ptrdiff_t len;

	if (size > sizeof once || route_record_decode(data, size, &first) != 0)
		return 0;
	len = route_record_encode(&first, once, sizeof once);
	must(len > 0, "read, but not written");
	must((size_t)len <= size, "written in more bytes than read");
	must(route_record_decode(once, (size_t)len, &again) == 0, "written, but not read");
	must(memcmp(&first, &again, sizeof first) == 0, "read otherwise");
	must(route_record_encode(&again, twice, sizeof twice) == len &&
			memcmp(once, twice, (size_t)len) == 0,
		"written otherwise");
	len = route_record_encode(&first, once, DECISION_BYTES);
	must(len > 0 && len <= DECISION_BYTES, "not within its bytes");
	must(route_record_decode(once, (size_t)len, &again) == 0, "cut, but not read");
	must(again.attempt_count == first.attempt_count, "an attempt left out");
	return 0;
}
