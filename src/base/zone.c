/*
 * zone.c - TZif files (RFC 8536): a table of the changes there were, and a rule in POSIX' form for
 * those to come.  Only the 64-bit part is read; every system of today writes it.
 */
#include "base/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER      "/usr/share/zoneinfo/"
#define HEAD_BYTES  44
#define DAY_S       86400LL
#define CHANGES_MAX 4096
#define TYPES_MAX   256
#define OFFSET_MAX  (26 * 3600) /* of local time; RFC 8536 */
#define RULE_BYTES  128

/* A day of every year, and the local time of it. */
struct yearly {
	enum { BY_JULIAN, BY_DAY, BY_MONTH } by;
	int month, week,
		day; /* BY_MONTH: weekday `day` (0 Sunday) of the week'th week, 5: the last */
	int64_t time_s;
};

struct zone {
	size_t count;
	int64_t *at_s;     /* of each change */
	int32_t *offset_s; /* from then on */
	int32_t first_offset_s;
	bool has_rule, has_summer;
	int32_t standard_s, summer_s;
	struct yearly begin, end; /* of summer time */
};

/* ---- days ---- */

/* Days since 1970 of the first of January. */
static int64_t
days_of_year(int64_t year)
{
	int64_t y = year - 1, era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 - 719162;
}

static int64_t
year_of(int64_t utc_s)
{
	int64_t days = utc_s / DAY_S, year = 1970 + days / 366;

	while (days_of_year(year + 1) * DAY_S <= utc_s)
		year++;
	while (days_of_year(year) * DAY_S > utc_s)
		year--;
	return year;
}

/* The local moment of that year's change, as if local time were UTC. */
static int64_t
yearly_s(const struct yearly *y, int64_t year)
{
	static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };
	int64_t first = days_of_year(year), day, weekday;
	bool leap = days_of_year(year + 1) - first == 366;
	int length;

	switch (y->by) {
	case BY_DAY: /* from 0, the leap day counts */
		return (first + y->day) * DAY_S + y->time_s;
	case BY_JULIAN: /* from 1, the leap day does not */
		day = first + y->day - 1 + (leap && y->day >= 60);
		return day * DAY_S + y->time_s;
	case BY_MONTH:
		break;
	}
	day = first + before[y->month - 1] + (leap && y->month > 2);
	length = before[y->month] - before[y->month - 1] + (leap && y->month == 2);
	weekday = ((day + 4) % 7 + 7) % 7; /* 1970 began on a Thursday */
	length -= (int)((y->day - weekday + 7) % 7);
	day += (y->day - weekday + 7) % 7;
	for (int week = 1; week < y->week && length > 7; week++, length -= 7)
		day += 7;
	return day * DAY_S + y->time_s;
}

/* ---- the rule for the years to come: "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

static bool
read_number(const char **p, int min, int max, int *out)
{
	int n = 0, digits = 0;

	while (**p >= '0' && **p <= '9' && digits < 4) {
		n = n * 10 + (*(*p)++ - '0');
		digits++;
	}
	*out = n;
	return digits > 0 && n >= min && n <= max;
}

/* [+-]h[:mm[:ss]] */
static bool
read_time(const char **p, int64_t *out)
{
	int sign = 1, part[3] = { 0 };

	if (**p == '+' || **p == '-')
		sign = *(*p)++ == '-' ? -1 : 1;
	for (int i = 0; i < 3; i++) {
		if (i > 0 && *(*p)++ != ':')
			return false;
		if (!read_number(p, 0, i == 0 ? 167 : 59, &part[i]))
			return false;
		if (**p != ':')
			break;
	}
	*out = sign * (part[0] * 3600LL + part[1] * 60 + part[2]);
	return true;
}

static bool
skip_name(const char **p)
{
	const char *from = *p;

	if (**p == '<') {
		*p += strcspn(*p, ">");
		return *(*p)++ == '>';
	}
	while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z'))
		++*p;
	return *p - from >= 3;
}

static bool
read_yearly(const char **p, struct yearly *y)
{
	bool good;

	if (*(*p)++ != ',')
		return false;
	*y = (struct yearly){ .time_s = 7200 };
	if (**p == 'M') {
		++*p;
		y->by = BY_MONTH;
		good = read_number(p, 1, 12, &y->month) && *(*p)++ == '.' &&
		       read_number(p, 1, 5, &y->week) && *(*p)++ == '.' &&
		       read_number(p, 0, 6, &y->day);
	} else if (**p == 'J') {
		++*p;
		y->by = BY_JULIAN;
		good = read_number(p, 1, 365, &y->day);
	} else {
		y->by = BY_DAY;
		good = read_number(p, 0, 365, &y->day);
	}
	if (good && **p == '/') {
		++*p;
		good = read_time(p, &y->time_s);
	}
	return good;
}

/* POSIX counts west of Greenwich as positive. */
static bool
read_rule(struct zone *z, const char *p)
{
	int64_t offset;

	if (*p == '\0')
		return true;
	if (!skip_name(&p) || !read_time(&p, &offset))
		return false;
	z->has_rule = true;
	z->standard_s = (int32_t)-offset;
	z->summer_s = z->standard_s + 3600;
	if (*p == '\0')
		return true;
	if (!skip_name(&p))
		return false;
	if (*p != ',') {
		if (!read_time(&p, &offset))
			return false;
		z->summer_s = (int32_t)-offset;
	}
	z->has_summer = true;
	return read_yearly(&p, &z->begin) && read_yearly(&p, &z->end) && *p == '\0';
}

static int32_t
rule_offset(const struct zone *z, int64_t utc_s)
{
	int64_t year, begin, end;
	bool summer;

	if (!z->has_summer)
		return z->standard_s;
	year = year_of(utc_s + z->standard_s);
	begin = yearly_s(&z->begin, year) - z->standard_s;
	end = yearly_s(&z->end, year) - z->summer_s;
	summer = begin < end ? utc_s >= begin && utc_s < end : utc_s >= begin || utc_s < end;
	return summer ? z->summer_s : z->standard_s;
}

/* ---- the file ---- */

static uint32_t
get_32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t
get_64(const uint8_t *p)
{
	return (int64_t)((uint64_t)get_32(p) << 32 | get_32(p + 4));
}

struct counts {
	uint32_t is_utc, is_standard, leaps, changes, types, chars;
};

static bool
read_head(const uint8_t *p, size_t len, struct counts *c)
{
	if (len < HEAD_BYTES || memcmp(p, "TZif", 4) != 0)
		return false;
	c->is_utc = get_32(p + 20);
	c->is_standard = get_32(p + 24);
	c->leaps = get_32(p + 28);
	c->changes = get_32(p + 32);
	c->types = get_32(p + 36);
	c->chars = get_32(p + 40);
	return c->changes <= CHANGES_MAX && c->types >= 1 && c->types <= TYPES_MAX &&
	       c->leaps <= CHANGES_MAX && c->chars <= CHANGES_MAX && c->is_utc <= TYPES_MAX &&
	       c->is_standard <= TYPES_MAX;
}

static size_t
body_bytes(const struct counts *c, size_t time_bytes)
{
	return c->changes * (time_bytes + 1) + c->types * (size_t)6 + c->chars +
	       c->leaps * (time_bytes + 4) + c->is_standard + c->is_utc;
}

static bool
read_types(struct zone *z, const struct counts *c, const uint8_t *types, const uint8_t *which)
{
	for (uint32_t i = 0; i < c->types; i++) {
		int32_t offset = (int32_t)get_32(types + i * (size_t)6);

		if (offset < -OFFSET_MAX || offset > OFFSET_MAX)
			return false;
	}
	z->first_offset_s = (int32_t)get_32(types);
	for (uint32_t i = 0; i < c->changes; i++) {
		if (which[i] >= c->types)
			return false;
		z->offset_s[i] = (int32_t)get_32(types + which[i] * (size_t)6);
	}
	return true;
}

static bool
read_file(struct zone *z, const uint8_t *p, size_t len)
{
	struct counts c;
	size_t skip;
	const uint8_t *end;
	char rule[RULE_BYTES];

	if (!read_head(p, len, &c) || p[4] < '2')
		return false;
	skip = HEAD_BYTES + body_bytes(&c, 4);
	if (skip > len || !read_head(p + skip, len - skip, &c))
		return false;
	p += skip + HEAD_BYTES;
	len -= skip + HEAD_BYTES;
	skip = body_bytes(&c, 8);
	if (skip + 2 > len || p[skip] != '\n')
		return false;
	z->count = c.changes;
	z->at_s = calloc(c.changes + (size_t)1, sizeof *z->at_s);
	z->offset_s = calloc(c.changes + (size_t)1, sizeof *z->offset_s);
	if (z->at_s == NULL || z->offset_s == NULL)
		return false;
	for (uint32_t i = 0; i < c.changes; i++) {
		z->at_s[i] = get_64(p + i * (size_t)8);
		if (i > 0 && z->at_s[i] <= z->at_s[i - 1])
			return false;
	}
	if (!read_types(z, &c, p + c.changes * (size_t)9, p + c.changes * (size_t)8))
		return false;
	p += skip + 1;
	len -= skip + 1;
	end = memchr(p, '\n', len);
	if (end == NULL || (size_t)(end - p) >= sizeof rule)
		return false;
	memcpy(rule, p, (size_t)(end - p));
	rule[end - p] = '\0';
	return read_rule(z, rule);
}

/* Letters, figures and what stands between them: nothing that climbs out of the folder. */
static bool
is_name(const char *name)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
	size_t len = strlen(name);

	return len > 0 && len < ZONE_NAME_BYTES && strspn(name, plain) == len && name[0] != '/' &&
	       strstr(name, "//") == NULL && name[len - 1] != '/';
}

static ptrdiff_t
slurp(const char *path, uint8_t *out, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	while (len < room && (n = read(fd, out + len, room - len)) > 0)
		len += (size_t)n;
	close(fd);
	return n < 0 ? -1 : (ptrdiff_t)len;
}

struct zone *
zone_load(const char *name, struct err *err)
{
	char path[sizeof FOLDER + ZONE_NAME_BYTES];
	struct zone *z = NULL;
	uint8_t *data = malloc(ZONE_FILE_MAX);
	ptrdiff_t len = -1;

	if (data == NULL) {
		err_set(err, ERR_MEMORY, "no memory for a time zone");
		return NULL;
	}
	if (is_name(name)) {
		snprintf(path, sizeof path, FOLDER "%s", name);
		len = slurp(path, data, ZONE_FILE_MAX);
	}
	if (len <= 0) {
		err_set(err, ERR_BAD_REQUEST, "there is no time zone '%.47s' in " FOLDER, name);
		goto out;
	}
	if ((z = calloc(1, sizeof *z)) == NULL) {
		err_set(err, ERR_MEMORY, "no memory for a time zone");
	} else if (!read_file(z, data, (size_t)len)) {
		err_set(err, ERR_INTERNAL, "%s is no time zone file, or damaged", path);
		zone_free(z);
		z = NULL;
	}
out:
	free(data);
	return z;
}

void
zone_free(struct zone *z)
{
	if (z == NULL)
		return;
	free(z->at_s);
	free(z->offset_s);
	free(z);
}

int64_t
zone_offset_s(const struct zone *z, int64_t utc_s)
{
	size_t low = 0, high;

	if (z == NULL)
		return 0;
	high = z->count;
	if (high > 0 && utc_s >= z->at_s[high - 1])
		return z->has_rule ? rule_offset(z, utc_s) : z->offset_s[high - 1];
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (z->at_s[middle] <= utc_s)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0)
		return z->offset_s[low - 1];
	return z->count == 0 && z->has_rule ? rule_offset(z, utc_s) : z->first_offset_s;
}

int64_t
zone_utc_s(const struct zone *z, int64_t local_s)
{
	/* Offsets a day to both sides: changes are further apart. */
	int64_t before = zone_offset_s(z, local_s - DAY_S),
		after = zone_offset_s(z, local_s + DAY_S);
	int64_t early = local_s - (before > after ? before : after);
	int64_t late = local_s - (before > after ? after : before);

	if (early == late || early + zone_offset_s(z, early) == local_s)
		return early;
	if (late + zone_offset_s(z, late) == local_s)
		return late;
	/* Clocks jump over it: the jump lies between the two. */
	while (early < late) {
		int64_t middle = early + (late - early) / 2;

		if (zone_offset_s(z, middle) == before)
			early = middle + 1;
		else
			late = middle;
	}
	return early;
}
