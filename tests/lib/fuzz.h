/*
 * fuzz.h - what fuzz targets share: a way to fail, bytes compared and noted, and cuts.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ static inline __attribute__((unused))

/* Ends the program where a property does not hold. */
FUZZ void
must(bool ok)
{
	if (!ok)
		abort();
}

FUZZ bool
same_bytes(const struct bytes *a, const struct bytes *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->at, b->at, a->len) == 0);
}

/* Its length in front, so that no two series of spans look the same. */
FUZZ void
note_span(struct bytes *b, struct span s)
{
	must(bytes_add(b, &s.len, sizeof s.len) == 0);
	must(bytes_add(b, s.at, s.len) == 0);
}

/* How many of the bytes left come next: a step, or where *vary is not 0 some number up to it. */
FUZZ size_t
cut_next(size_t step, uint32_t *vary, size_t left)
{
	size_t n = step;

	if (*vary != 0) {
		*vary = *vary * 1664525u + 1013904223u;
		n = 1 + (*vary >> 16) % step;
	}
	return n < left ? n : left;
}

#endif
