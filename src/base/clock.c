/*
 * clock.c - calendar arithmetic by hand: the C library's takes the time zone lock, and a worker
 * writes a time for every log line and every reply.
 */
#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

__extension__ typedef __int128 int128; /* the compiler's, not the standard's */

#define DAY_MS   86400000LL
#define YEAR_0   (-62167219200000LL) /* 0000-01-01T00:00:00.000Z */
#define YEAR_END 253402300799999LL   /* 9999-12-31T23:59:59.999Z */

static int64_t
now_ns(clockid_t id)
{
	struct timespec t = { 0 };

	(void)clock_gettime(id, &t); /* cannot fail for these clocks on Linux */
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
clock_wall_ms(void)
{
	return now_ns(CLOCK_REALTIME) / 1000000;
}

int64_t
clock_boot_ms(void)
{
	return now_ns(CLOCK_BOOTTIME) / 1000000;
}

int64_t
clock_mono_us(void)
{
	return now_ns(CLOCK_MONOTONIC) / 1000;
}

/*
 * Days since 1970 to a date and back, in years that begin in March, so that the leap day is the
 * last of its year and every 400 years are alike (146,097 days).
 */
struct date {
	int year, month, day; /* 1..12, 1..31 */
};

static struct date
date_of_day(int64_t day)
{
	int64_t z = day + 719468; /* days since 0000-03-01 */
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t in_era = z - era * 146097;
	int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * in_year + 2) / 153; /* from March */
	struct date d = {
		.year = (int)(year + era * 400 + (month >= 10)),
		.month = (int)(month < 10 ? month + 3 : month - 9),
		.day = (int)(in_year - (153 * month + 2) / 5 + 1),
	};

	return d;
}

static int64_t
day_of_date(struct date d)
{
	int64_t year = d.year - (d.month <= 2);
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t of_era = year - era * 400;
	int64_t in_year = (153 * (d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + in_year - 719468;
}

static bool
date_valid(struct date d)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;

	return d.month >= 1 && d.month <= 12 && d.day >= 1 &&
	       d.day <= days[d.month - 1] + (leap && d.month == 2);
}

void
clock_rfc3339(int64_t wall_ms, char out[CLOCK_TEXT_BYTES])
{
	int64_t day, ms;
	struct date d;

	/* Four digits are all that the format has. */
	if (wall_ms < YEAR_0)
		wall_ms = YEAR_0;
	if (wall_ms > YEAR_END)
		wall_ms = YEAR_END;
	day = wall_ms / DAY_MS - (wall_ms % DAY_MS < 0);
	ms = wall_ms - day * DAY_MS;
	d = date_of_day(day);
	/* The remainders change nothing; they let the compiler see that the text fits. */
	(void)snprintf(out, CLOCK_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		(unsigned int)d.year % 10000, (unsigned int)d.month % 100,
		(unsigned int)d.day % 100, (unsigned int)(ms / 3600000 % 24),
		(unsigned int)(ms / 60000 % 60), (unsigned int)(ms / 1000 % 60),
		(unsigned int)(ms % 1000));
}

/* Exactly n digits; moves *s on. */
static bool
digits(const char **s, int n, int *out)
{
	*out = 0;
	for (; n > 0; n--, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		*out = *out * 10 + (**s - '0');
	}
	return true;
}

static bool
literal(const char **s, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*s, text, len) != 0)
		return false;
	*s += len;
	return true;
}

/* Second 60 is a leap second and counts as the next second, as everywhere in Unix. */
static bool
time_of_day(const char **s, int64_t *ms)
{
	int h, m, sec;

	if (!digits(s, 2, &h) || !literal(s, ":") || !digits(s, 2, &m) || !literal(s, ":") ||
		!digits(s, 2, &sec))
		return false;
	*ms = ((int64_t)h * 3600 + m * 60 + sec) * 1000;
	return h <= 23 && m <= 59 && sec <= 60;
}

int
clock_parse_rfc3339(const char *text, int64_t *wall_ms)
{
	const char *s = text;
	struct date d;
	int64_t ms, offset_ms = 0;
	int h, m;

	if (s == NULL || !digits(&s, 4, &d.year) || !literal(&s, "-") || !digits(&s, 2, &d.month) ||
		!literal(&s, "-") || !digits(&s, 2, &d.day) || !date_valid(d))
		return -1;
	if (*s != 'T' && *s != 't' && *s != ' ')
		return -1;
	s++;
	if (!time_of_day(&s, &ms))
		return -1;
	if (*s == '.') {
		int n = 0, unit = 100;

		for (s++; *s >= '0' && *s <= '9'; s++, n++, unit /= 10)
			ms += (*s - '0') * unit; /* beyond the third digit unit is 0 */
		if (n == 0 || n > 9)
			return -1;
	}
	if (*s == 'Z' || *s == 'z') {
		s++;
	} else {
		int sign = *s == '+' ? 1 : *s == '-' ? -1 : 0;

		if (sign == 0)
			return -1;
		s++;
		if (!digits(&s, 2, &h) || !literal(&s, ":") || !digits(&s, 2, &m) || h > 23 ||
			m > 59)
			return -1;
		offset_ms = sign * ((int64_t)h * 60 + m) * 60000;
	}
	if (*s != '\0')
		return -1;
	*wall_ms = day_of_date(d) * DAY_MS + ms - offset_ms;
	return 0;
}

/* Index of the three letters at *s in a row of names, or -1. */
static int
name_of(const char **s, const char *names)
{
	for (int i = 0; names[i * 3] != '\0'; i++)
		if (strncmp(*s, names + i * 3, 3) == 0) {
			*s += 3;
			return i;
		}
	return -1;
}

int
clock_parse_http_date(const char *text, int64_t *wall_ms)
{
	const char *s = text;
	struct date d;
	int64_t ms;

	if (s == NULL || name_of(&s, "MonTueWedThuFriSatSun") < 0 || !literal(&s, ", ") ||
		!digits(&s, 2, &d.day) || !literal(&s, " "))
		return -1;
	d.month = name_of(&s, "JanFebMarAprMayJunJulAugSepOctNovDec") + 1;
	if (!literal(&s, " ") || !digits(&s, 4, &d.year) || !literal(&s, " ") || !date_valid(d) ||
		!time_of_day(&s, &ms) || !literal(&s, " GMT") || *s != '\0')
		return -1;
	*wall_ms = day_of_date(d) * DAY_MS + ms;
	return 0;
}

void
clock_duration(int64_t ms, char out[CLOCK_TEXT_BYTES])
{
	long long h, m;
	char seconds[8]; /* "59.999" */
	size_t len;

	if (ms < 0)
		ms = 0; /* a moment that has passed: no wait */
	if (ms > 0 && ms < 1000) {
		(void)snprintf(out, CLOCK_TEXT_BYTES, "%dms", (int)ms);
		return;
	}
	h = ms / 3600000;
	m = ms / 60000 % 60;
	(void)snprintf(seconds, sizeof seconds, "%u.%03u", (unsigned int)(ms / 1000 % 60),
		(unsigned int)(ms % 1000));
	len = strlen(seconds);
	while (seconds[len - 1] == '0')
		len--;
	if (seconds[len - 1] == '.')
		len--;
	if (h > 0)
		(void)snprintf(out, CLOCK_TEXT_BYTES, "%lldh%lldm%.*ss", h, m, (int)len, seconds);
	else if (m > 0)
		(void)snprintf(out, CLOCK_TEXT_BYTES, "%lldm%.*ss", m, (int)len, seconds);
	else
		(void)snprintf(out, CLOCK_TEXT_BYTES, "%.*ss", (int)len, seconds);
}

/* Units, longest spelling first where one begins another.  In nanoseconds. */
static const struct {
	const char *name;
	int64_t ns;
} units[] = {
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\xC2\xB5s", 1000 },
	{ "ms", 1000000 },
	{ "d", 86400000000000 },
	{ "h", 3600000000000 },
	{ "m", 60000000000 },
	{ "s", 1000000000 },
};

#define DURATION_MAX_S (1000LL * 365 * 86400) /* a thousand years: no sum of ours overflows */

int
clock_parse_duration(const char *text, int64_t *ms)
{
	const char *s = text;
	int128 total_ns = 0;

	if (s == NULL || *s == '\0')
		return -1;
	while (*s != '\0') {
		int64_t whole = 0, part = 0, unit_ns = 0, scale = 1;
		const char *from = s;

		for (; *s >= '0' && *s <= '9'; s++)
			if ((whole = whole * 10 + (*s - '0')) > DURATION_MAX_S * 1000)
				return -1;
		if (s == from)
			return -1; /* ".5s" is nobody's duration */
		if (*s == '.') {
			from = ++s;
			for (; *s >= '0' && *s <= '9'; s++)
				if (scale < 1000000000) {
					part = part * 10 + (*s - '0');
					scale *= 10;
				}
			if (s == from)
				return -1;
		}
		for (size_t i = 0; i < sizeof units / sizeof units[0] && unit_ns == 0; i++)
			if (literal(&s, units[i].name))
				unit_ns = units[i].ns;
		if (unit_ns == 0)
			return -1;
		total_ns += (int128)whole * unit_ns + (int128)part * unit_ns / scale;
		if (total_ns > (int128)DURATION_MAX_S * 1000000000)
			return -1;
	}
	/* Rounded up: whoever waits this long must not come too early. */
	*ms = (int64_t)((total_ns + 999999) / 1000000);
	return 0;
}
