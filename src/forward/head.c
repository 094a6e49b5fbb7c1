/*
 * head.c - the response's head, as libcurl hands it over line by line.
 *
 * Kept as name NUL value NUL ... in one buffer with a ceiling.  A provider may send several heads
 * (100, 103); each begins the buffer anew, so the last one stays.  What follows the body of a
 * chunked answer (trailers) is not kept: nobody asked for it.
 */
#include "forward/forward-int.h"

#include <string.h>

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span
trimmed(struct span s)
{
	while (s.len > 0 && is_blank(s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

/* "HTTP/1.1 200 OK".  libcurl has checked the form already. */
static int
status_of(struct span line)
{
	const char *space = memchr(line.at, ' ', line.len);
	int status = 0;

	if (space == NULL)
		return 0;
	for (const char *p = space + 1; p < line.at + line.len && p <= space + 3; p++) {
		if (*p < '0' || *p > '9')
			return 0;
		status = status * 10 + (*p - '0');
	}
	return status;
}

static bool
refuse(struct forward_call *c, const char *why)
{
	c->fault = FORWARD_GARBAGE;
	c->fault_text = why;
	return false;
}

static bool
add_field(struct forward_call *c, struct span line)
{
	const char *colon = memchr(line.at, ':', line.len);
	struct span name, value;

	/* A folded line is obsolete syntax and belongs to no header worth reading. */
	if (colon == NULL || is_blank(line.at[0]))
		return true;
	name = trimmed((struct span){ line.at, (size_t)(colon - line.at) });
	value = trimmed((struct span){ colon + 1, line.len - (size_t)(colon - line.at) - 1 });
	if (name.len == 0)
		return true;
	if (memchr(name.at, '\0', name.len) != NULL ||
		(value.len > 0 && memchr(value.at, '\0', value.len) != NULL))
		return refuse(c, "a header with a NUL byte");
	(void)bytes_add(&c->head, name.at, name.len);
	(void)bytes_add(&c->head, "", 1);
	(void)bytes_add(&c->head, value.at, value.len);
	(void)bytes_add(&c->head, "", 1);
	if (!c->head.failed)
		return true;
	return refuse(c, "the response's head is too large");
}

size_t
head_line(char *line, size_t one, size_t len, void *call)
{
	struct forward_call *c = call;
	struct span s = { line, len };
	bool good = true;

	(void)one;
	if (c->cancelled)
		return 0;
	if (c->head_done)
		return len;
	if (!c->in_head && span_starts(s, "HTTP/")) {
		c->in_head = true;
		c->status = status_of(s);
		c->head.len = 0;
	} else if (trimmed(s).len > 0) {
		good = add_field(c, s);
	} else {
		c->in_head = false;
		if (c->status >= 200) {
			c->head_done = true;
			good = head_complete(c);
		}
	}
	return good && !c->cancelled ? len : 0;
}

bool
forward_each_response_header(const struct forward_call *c,
	bool (*fn)(void *ctx, struct span name, struct span value), void *ctx)
{
	size_t at = 0;

	while (at < c->head.len) {
		struct span name = span_of(c->head.at + at);
		struct span value = span_of(name.at + name.len + 1);

		if (!fn(ctx, name, value))
			return false;
		at += name.len + value.len + 2;
	}
	return true;
}

struct wanted {
	const char *name;
	struct span found;
};

static bool
match(void *ctx, struct span name, struct span value)
{
	struct wanted *w = ctx;

	if (span_is_nocase(name, w->name))
		w->found = value;
	return true;
}

struct span
forward_response_header(const struct forward_call *c, const char *name)
{
	struct wanted w = { name, SPAN_NONE };

	(void)forward_each_response_header(c, match, &w);
	return w.found;
}
