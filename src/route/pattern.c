/*
 * pattern.c - globs are tried as they are; regexes are compiled once and want a terminated text.
 */
#include "route/pattern.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MOST 512 /* of a name that a regex is tried on; a longer one is cut */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next item without blanks around; moves *at behind it.  False at the end. */
static bool
next_item(const char **at, struct span *item)
{
	const char *p = *at;
	size_t len;

	while (is_blank(*p) || *p == ',' || *p == '\n')
		p++;
	if (*p == '\0')
		return false;
	len = strcspn(p, ",\n");
	if (*p == '/')
		for (size_t i = 1; p[i] != '\0' && p[i] != '\n'; i++) {
			size_t end = i + 1;

			while (p[i] == '/' && is_blank(p[end]))
				end++;
			if (p[i] == '/' && strchr(",\n", p[end]) != NULL) { /* NUL is found too */
				len = end;
				break;
			}
		}
	*at = p + len;
	while (len > 0 && is_blank(p[len - 1]))
		len--;
	*item = (struct span){ p, len };
	return true;
}

static bool
in_slashes(struct span item)
{
	return item.len > 2 && item.at[0] == '/' && item.at[item.len - 1] == '/';
}

static int
pattern_new(struct span item, struct pattern *out)
{
	bool is_regex = in_slashes(item);

	if (is_regex)
		item = (struct span){ item.at + 1, item.len - 2 };
	*out = (struct pattern){ .text = strndup(item.at, item.len) };
	if (out->text == NULL)
		return -1;
	out->is_regex = is_regex;
	if (is_regex && regcomp(&out->regex, out->text, REG_EXTENDED | REG_NOSUB) != 0) {
		out->is_regex = false;
		out->text[0] = '\0'; /* as a glob it fits "" alone, which is no name */
	}
	return 0;
}

static void
pattern_free(struct pattern *p)
{
	if (p->is_regex)
		regfree(&p->regex);
	free(p->text);
}

int
patterns_new(const char *list, struct patterns *out)
{
	const char *at = list;
	struct span item;
	size_t count = 0;

	*out = (struct patterns){ 0 };
	while (next_item(&at, &item))
		count++;
	if (count == 0)
		return 0;
	out->of = calloc(count, sizeof *out->of);
	if (out->of == NULL)
		return -1;
	for (at = list; next_item(&at, &item) && out->count < count; out->count++)
		if (pattern_new(item, &out->of[out->count]) != 0)
			return -1;
	return 0;
}

void
patterns_free(struct patterns *p)
{
	for (size_t i = 0; i < p->count; i++)
		pattern_free(&p->of[i]);
	free(p->of);
	*p = (struct patterns){ 0 };
}

static bool
fits(const struct pattern *p, struct span name)
{
	char text[NAME_MOST];

	if (!p->is_regex)
		return glob_match(p->text, name);
	(void)span_copy(name, text, sizeof text);
	return regexec(&p->regex, text, 0, NULL, 0) == 0;
}

bool
patterns_fit(const struct patterns *p, struct span name)
{
	for (size_t i = 0; i < p->count; i++)
		if (fits(&p->of[i], name))
			return true;
	return false;
}

bool
pattern_fits(const char *pattern, struct span name)
{
	struct pattern p;
	bool yes;

	if (pattern_new(span_of(pattern), &p) != 0)
		return false;
	yes = fits(&p, name);
	pattern_free(&p);
	return yes;
}
