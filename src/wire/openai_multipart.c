/*
 * openai_multipart.c - the model out of a multipart/form-data body (RFC 7578, RFC 2046 section 5.1).
 *
 * Uploads of audio and images name their model in a part of its own, which may stand behind the
 * file.  Delimiters are looked for by memmem(); nothing is copied.  A body without its closing
 * delimiter was cut short and is refused, as is one that names two models.
 */
#include "wire/openai.h"

#include <string.h>
#include <strings.h>

#define BOUNDARY_MAX 70 /* RFC 2046 */

static int
refuse(struct err *err, const char *says)
{
	(void)err_set(err, ERR_BAD_REQUEST, "multipart: %s", says);
	return err_say(err, "The multipart body is broken: %s.", says);
}

static struct span
trimmed(struct span s)
{
	while (s.len > 0 && (*s.at == ' ' || *s.at == '\t'))
		s.at++, s.len--;
	while (s.len > 0 &&
		(s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t' || s.at[s.len - 1] == '\r'))
		s.len--;
	return s;
}

static bool
starts_nocase(struct span s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && strncasecmp(s.at, prefix, len) == 0;
}

/* A parameter of a header's value, its quotes taken off: `form-data; name="model"`. */
static bool
parameter(struct span value, const char *name, struct span *found)
{
	const char *p = value.at, *end = value.at + value.len;

	while ((p = p < end ? memchr(p, ';', (size_t)(end - p)) : NULL) != NULL) {
		const char *from, *eq;
		struct span key, text;

		from = ++p;
		while (p < end && *p != '=' && *p != ';')
			p++;
		if (p == end || *p == ';')
			continue;
		eq = p++;
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		if (p < end && *p == '"') {
			text.at = ++p;
			while (p < end && *p != '"')
				p += *p == '\\' && p + 1 < end ? 2 : 1;
			text.len = (size_t)(p - text.at);
			p += p < end;
		} else {
			text.at = p;
			while (p < end && *p != ';')
				p++;
			text = trimmed((struct span){ text.at, (size_t)(p - text.at) });
		}
		key = trimmed((struct span){ from, (size_t)(eq - from) });
		if (span_is_nocase(key, name)) {
			*found = text;
			return true;
		}
	}
	return false;
}

/* The part's head says that it is the field `model`. */
static bool
is_model(struct span head)
{
	const char *p = head.at, *end = head.at + head.len;

	while (p < end) {
		const char *q = memchr(p, '\n', (size_t)(end - p));
		struct span line, name;

		line = trimmed((struct span){ p, (size_t)((q == NULL ? end : q) - p) });
		p = q == NULL ? end : q + 1;
		if (starts_nocase(line, "content-disposition:") && parameter(line, "name", &name))
			return span_is(name, "model");
	}
	return false;
}

/* 0 found, 1 none, -1 broken. */
static int
find_model(struct span body, const char *content_type, struct span *model, struct err *err)
{
	char delimiter[BOUNDARY_MAX + 5] = "\r\n--";
	struct span type = span_of(content_type), boundary;
	const char *p = body.at, *end = body.at + body.len;
	size_t len;
	bool found = false;

	if (!starts_nocase(trimmed(type), "multipart/form-data") ||
		!parameter(type, "boundary", &boundary) || boundary.len == 0 ||
		boundary.len > BOUNDARY_MAX)
		return refuse(err, "its Content-Type names no boundary");
	memcpy(delimiter + 4, boundary.at, boundary.len);
	len = boundary.len + 4;

	/* The first delimiter may stand at the very start, without the line end in front. */
	if (body.len >= len - 2 && memcmp(p, delimiter + 2, len - 2) == 0) {
		p += len - 2;
	} else {
		p = body.len == 0 ? NULL : memmem(p, body.len, delimiter, len);
		if (p == NULL)
			return refuse(err, "it does not hold its boundary");
		p += len;
	}
	for (;;) {
		const char *head, *text, *next;

		if (end - p >= 2 && p[0] == '-' && p[1] == '-')
			return found ? 0 : 1;
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
			return refuse(err, "a boundary is not followed by a line end");
		/* A part without headers begins with the empty line itself. */
		head = p;
		text = memmem(head, (size_t)(end - head), "\r\n\r\n", 4);
		next = memmem(p, (size_t)(end - p), delimiter, len);
		if (next == NULL)
			return refuse(err, "its end is missing");
		if (text == NULL || text + 2 > next)
			return refuse(err, "a part has no empty line behind its headers");
		text += 4;
		if (text > next)
			text = next;
		if (is_model((struct span){ head + 2, (size_t)(text - head) - 2 })) {
			if (found)
				return refuse(err, "it names two models");
			found = true;
			*model = (struct span){ text, (size_t)(next - text) };
		}
		p = next + len;
	}
}

int
openai_skim_multipart(
	struct span body, const char *content_type, char *model, size_t room, struct err *err)
{
	struct span found;
	int rc = find_model(body, content_type, &found, err);

	model[0] = '\0';
	if (rc != 0)
		return rc;
	if (found.len == 0 || found.len >= room)
		return refuse(err, "its model's name is empty or too long");
	for (size_t i = 0; i < found.len; i++)
		if ((unsigned char)found.at[i] < 0x20 || found.at[i] == 0x7F)
			return refuse(err, "its model's name holds a control character");
	(void)span_copy(found, model, room);
	return 0;
}

struct span
openai_rewrite_multipart(
	struct arena *a, struct span body, const char *content_type, const char *upstream_model)
{
	struct span model = SPAN_NONE;
	size_t before, len = strlen(upstream_model);
	char *out;

	if (find_model(body, content_type, &model, NULL) != 0)
		return SPAN_NONE;
	if (span_is(model, upstream_model))
		return body;
	before = (size_t)(model.at - body.at);
	out = arena_alloc(a, body.len - model.len + len);
	if (out == NULL)
		return SPAN_NONE;
	memcpy(out, body.at, before);
	memcpy(out + before, upstream_model, len);
	memcpy(out + before + len, model.at + model.len, body.len - before - model.len);
	return (struct span){ out, body.len - model.len + len };
}
