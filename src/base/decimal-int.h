/*
 * decimal-int.h - decimal text as exact integers, for money and JSON numbers.
 */
#ifndef BASE_DECIMAL_INT_H
#define BASE_DECIMAL_INT_H

#include "base/bytes.h"
#include <stdint.h>

/* sig * 10^ten, sig without zeros at its end (or 0). */
struct decimal {
	bool negative;
	uint64_t sig;
	int64_t ten;
};

/* Sign, digits with or without a point, exponent; all of text.  One pass for any length of it.
 * 0; or -1 when it is no number or has more significant digits than any int64_t. */
int decimal_read(struct span text, struct decimal *d);

/* The number times 10^places.  0; or -1 when that is no whole number or no int64_t. */
int decimal_scale(const struct decimal *d, int places, int64_t *out);
/* The same, but what is finer is rounded half up (by its size, without the sign). */
int decimal_round(const struct decimal *d, int places, int64_t *out);

#endif
