/*
 * decimal.c - zeros are the only digits that may come in any number, so they are counted, not
 * multiplied: "1000…", "0.000…" and "5.000…" cost their length and no more.
 */
#include "base/decimal-int.h"

/* Where an exponent stops growing: no text that fits in memory has the zeros to balance it. */
#define EXPONENT_CUT ((int64_t)1 << 58)

#define TEN_MAX 19 /* 10^19 is above any int64_t */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* zeros: seen since the last other digit; they count only once another digit follows. */
static bool
push(struct decimal *d, char c, int64_t *zeros)
{
	if (c == '0') {
		*zeros += d->sig != 0;
		return true;
	}
	for (; *zeros > 0; *zeros -= 1) {
		if (d->sig > UINT64_MAX / 10)
			return false;
		d->sig *= 10;
	}
	if (d->sig > (UINT64_MAX - 9) / 10)
		return false;
	d->sig = d->sig * 10 + (uint64_t)(c - '0');
	return true;
}

static bool
take_sign(const char **p, const char *end, bool *negative)
{
	if (*p == end || (**p != '-' && **p != '+'))
		return false;
	*negative = **p == '-';
	*p += 1;
	return true;
}

int
decimal_read(struct span text, struct decimal *d)
{
	const char *p = text.at, *end;
	int64_t zeros = 0, exponent = 0;
	bool any = false, down = false;

	*d = (struct decimal){ 0 };
	if (text.len == 0)
		return -1;
	end = p + text.len;
	(void)take_sign(&p, end, &d->negative);
	for (; p < end && is_digit(*p); p++, any = true)
		if (!push(d, *p, &zeros))
			return -1;
	if (p < end && *p == '.')
		for (p++; p < end && is_digit(*p); p++, any = true, d->ten--)
			if (!push(d, *p, &zeros))
				return -1;
	if (!any)
		return -1;
	d->ten += zeros;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		(void)take_sign(&p, end, &down);
		if (p == end)
			return -1;
		for (; p < end && is_digit(*p); p++)
			if (exponent < EXPONENT_CUT)
				exponent = exponent * 10 + (*p - '0');
		d->ten += down ? -exponent : exponent;
	}
	return p == end ? 0 : -1;
}

int
decimal_scale(const struct decimal *d, int places, int64_t *out)
{
	uint64_t sig = d->sig, most = (uint64_t)INT64_MAX + d->negative;
	int64_t ten = d->ten + places;

	if (sig == 0) {
		*out = 0;
		return 0;
	}
	if (ten < 0 || ten > TEN_MAX)
		return -1; /* below zero the last digit of sig, no zero, is behind the point */
	for (; ten > 0; ten--) {
		if (sig > most / 10)
			return -1;
		sig *= 10;
	}
	if (sig > most)
		return -1;
	*out = d->negative ? (int64_t)(0 - sig) : (int64_t)sig;
	return 0;
}

int
decimal_round(const struct decimal *d, int places, int64_t *out)
{
	struct decimal cut = *d;
	unsigned last = 0;

	if (d->sig == 0 || d->ten + places >= 0)
		return decimal_scale(d, places, out);
	/* sig has at most 20 digits: 21 behind the point are less than a half */
	for (int64_t ten = d->ten + places; ten < 0 && cut.sig > 0; ten++) {
		last = (unsigned)(cut.sig % 10);
		cut.sig /= 10;
		if (cut.sig == 0 && ten < -1)
			last = 0;
	}
	cut.sig += last >= 5;
	cut.ten = -(int64_t)places;
	return decimal_scale(&cut, places, out);
}
