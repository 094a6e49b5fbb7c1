/*
 * pattern.h - lists of patterns of names, compiled: a glob each, or "/regex/" (POSIX extended, found
 * anywhere in the name).  Parted by commas or line ends; commas within slashes are the regex's own.
 */
#ifndef ROUTE_PATTERN_H
#define ROUTE_PATTERN_H

#include "base/bytes.h"
#include <regex.h>

struct pattern {
	char *text;  /* the glob, or the regex without its slashes */
	bool is_regex;
	regex_t regex;
};

struct patterns {
	size_t count;
	struct pattern *of;
};

/* 0, or -1 out of memory; *out is to be freed in both cases.  A regex that does not compile fits
 * nothing: it was refused when it was written, or is an older program's. */
int patterns_new(const char *list, struct patterns *out);
void patterns_free(struct patterns *p);
bool patterns_fit(const struct patterns *p, struct span name); /* an empty list fits nothing */

/* Does that one pattern fit?  For those that are needed once. */
bool pattern_fits(const char *pattern, struct span name);

#endif
