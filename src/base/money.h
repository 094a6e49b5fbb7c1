/*
 * money.h - US dollars as int64_t nano-dollars (1e-9 USD); names end in _nusd.
 */
#ifndef BASE_MONEY_H
#define BASE_MONEY_H

#include "base/bytes.h"
#include <stdint.h>

#define MONEY_TEXT_BYTES 24
#define NUSD_PER_USD     1000000000LL

/* "12.340000000", exact to nine places. */
void money_text(int64_t nusd, char out[MONEY_TEXT_BYTES]);
/* Decimal text, up to nine places (more only if they are zeros), optional sign and exponent
 * ("2.5e-7").  0, or -1 when it is no number, too fine or too large. */
int money_parse(const char *text, int64_t *nusd);
/* A decimal number times 10^places, exact but for what is finer, which is rounded half up: dollars a
 * token, times 10^15, are nano-dollars a million tokens.  0, or -1 as above. */
int money_scaled(struct span text, int places, int64_t *out);

/* a + b, saturating at the ends of int64_t. */
int64_t money_add(int64_t a, int64_t b);

#endif
