/*
 * where.c - the place of a value in a request's body.
 *
 * From outside in: of each container only the element that holds the place is opened, so the cost is a
 * few walks over the body, and only for requests that are refused or changed.
 */
#include "gateway/where.h"

#include "base/json.h"
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX  16         /* requests name nothing deeper */
#define TEXT_BYTES (8 * 1024) /* of a text that is looked for by its content */

static bool
holds(struct span s, const char *at)
{
	return at >= s.at && at < s.at + s.len;
}

static int
each(struct json_value v, bool (*fn)(void *ctx, const struct json_member *m), void *ctx)
{
	return v.type == JSON_OBJECT ? json_each(v.raw, fn, ctx, NULL)
				     : json_each_element(v.raw, fn, ctx, NULL);
}

/* ---- by content ---- */

struct search {
	struct span text;
	int depth;
	const char *found;
	char room[TEXT_BYTES];
};

static bool
look(void *ctx, const struct json_member *m)
{
	struct search *s = ctx;
	ptrdiff_t len;

	if (m->value.type == JSON_STRING && m->value.raw.len >= s->text.len) {
		len = json_string(m->value, s->room, sizeof s->room);
		if (len >= 0 && (size_t)len == s->text.len &&
			memcmp(s->room, s->text.at, s->text.len) == 0)
			s->found = m->value.raw.at;
	} else if (m->value.type == JSON_OBJECT || m->value.type == JSON_ARRAY) {
		if (s->depth < DEPTH_MAX) {
			s->depth++;
			(void)each(m->value, look, s);
			s->depth--;
		}
	}
	return s->found == NULL;
}

/* ---- by place ---- */

struct step {
	const char *at;
	size_t index;
	size_t seen;
	struct span key;
	struct json_value inside;
};

static bool
step_in(void *ctx, const struct json_member *m)
{
	struct step *s = ctx;

	if (holds(m->value.raw, s->at)) {
		s->index = s->seen;
		s->key = m->key;
		s->inside = m->value;
		return false;
	}
	s->seen++;
	return true;
}

static void
put_step(char *path, size_t room, const struct step *s, bool in_array)
{
	size_t used = strlen(path);

	if (in_array)
		(void)snprintf(path + used, room - used, "[%zu]", s->index);
	else
		(void)snprintf(path + used, room - used, "%s%.*s", used > 0 ? "." : "",
			(int)(s->key.len < 64 ? s->key.len : 64), s->key.at);
}

static void
trace(struct span body, const char *at, char *path, size_t room, struct span *holder)
{
	struct json_value v = { JSON_OBJECT, body };

	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		struct step s = { .at = at };
		bool in_array = v.type == JSON_ARRAY;

		if (v.type != JSON_OBJECT && v.type != JSON_ARRAY)
			return;
		(void)each(v, step_in, &s);
		if (s.inside.type == JSON_NONE)
			return;
		put_step(path, room, &s, in_array);
		if (holder != NULL && !in_array)
			*holder = v.raw;
		v = s.inside;
	}
}

void
where_stands(struct span body, struct span text, char *path, size_t room, struct span *holder)
{
	struct search s = { .text = text };
	const char *at = text.at;

	path[0] = '\0';
	if (holder != NULL)
		*holder = SPAN_NONE;
	if (text.at == NULL || body.at == NULL)
		return;
	if (!holds(body, at)) {
		(void)json_each(body, look, &s, NULL);
		at = s.found;
	}
	if (at != NULL)
		trace(body, at, path, room, holder);
}
