/*
 * request_rule.c - each rule finds one place in the text, and says what stands there instead.
 *
 * A body is copied once for each rule that changes it, between two buffers; routes have a few.
 */
#include "wire/request_rule.h"

#include "base/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SPACES " \t\r\n"

enum verb { VERB_SET, VERB_DEFAULT, VERB_REMOVE, VERB_SYSTEM, VERB_HEADER, VERB_CAP, VERB__COUNT };
static const char *const verbs[VERB__COUNT] = { "set ", "default ", "remove ", "system ", "header ",
	"cap " };

struct rule {
	enum verb verb;
	struct span path;  /* or a header's name */
	struct span value; /* JSON; text of SYSTEM and HEADER */
};

static int
refuse(struct err *err, struct span rule, const char *says)
{
	(void)err_set(err, ERR_BAD_REQUEST, "a request rule: %s", says);
	return err_say(err, "'%.*s': %s", (int)(rule.len > 60 ? 60 : rule.len), rule.at, says);
}

static struct span
trimmed(struct span s)
{
	while (s.len > 0 && memchr(SPACES, s.at[0], 4) != NULL)
		s.at++, s.len--;
	while (s.len > 0 && memchr(SPACES, s.at[s.len - 1], 4) != NULL)
		s.len--;
	return s;
}

/* Parts "left<mark>right"; false: there is no mark. */
static bool
part(struct span s, char mark, struct span *left, struct span *right)
{
	const char *at = s.len == 0 ? NULL : memchr(s.at, mark, s.len);

	if (at == NULL)
		return false;
	*left = trimmed((struct span){ s.at, (size_t)(at - s.at) });
	*right = trimmed((struct span){ at + 1, s.len - (size_t)(at + 1 - s.at) });
	return true;
}

static bool
is_path(struct span p)
{
	int depth = 1;

	for (size_t i = 0; i < p.len; i++) {
		unsigned char c = (unsigned char)p.at[i];

		if (c <= ' ' || c == '"' || c == '\\' || c == 0x7F)
			return false;
		if (c == '.' && (i == 0 || i + 1 == p.len || p.at[i + 1] == '.'))
			return false;
		depth += c == '.';
	}
	return p.len > 0 && depth <= REQUEST_RULE_DEPTH;
}

/* Ours to say, or the connection's. */
static bool
may_head(struct span name)
{
	static const char *const not [] = { "authorization", "x-api-key", "api-key",
		"x-goog-api-key", "host", "content-length", "transfer-encoding", "connection",
		"cookie", "expect", "accept-encoding" };

	for (size_t i = 0; i < sizeof not / sizeof not [0]; i++)
		if (span_is_nocase(name, not [i]))
			return false;
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.at[i] <= ' ' || strchr(":;\"\\,", name.at[i]) != NULL ||
			(unsigned char)name.at[i] >= 0x7F)
			return false;
	return name.len > 0;
}

static bool
is_text(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.at[i] < ' ' || (unsigned char)s.at[i] == 0x7F)
			return false;
	return s.len > 0;
}

static int
read_member(struct span rule, struct span rest, struct rule *out, struct err *err)
{
	int64_t n;

	if (out->verb == VERB_REMOVE)
		out->path = rest;
	else if (!part(rest, '=', &out->path, &out->value))
		return refuse(err, rule, "a value is missing, as in temperature=0.2.");
	if (!is_path(out->path))
		return refuse(err, rule, "the member is to be named as in a.b.");
	if (span_is(out->path, "model") || span_is(out->path, "stream"))
		return refuse(err, rule,
			"model and stream are not a rule's to change; a route's targets name "
			"models.");
	if (out->verb == VERB_CAP)
		return span_is(out->path, "max_tokens") && json_valid(out->value) &&
				       json_int((struct json_value){ JSON_NUMBER, out->value },
					       &n) == 0 &&
				       n > 0
			       ? 0
			       : refuse(err, rule, "it is written cap max_tokens=4096.");
	if (out->verb != VERB_REMOVE && !json_valid(out->value))
		return refuse(err, rule, "the value must be JSON: text stands in double quotes.");
	return 0;
}

static int
read_rule(struct span rule, struct rule *out, struct err *err)
{
	struct span s = trimmed(rule), rest;

	*out = (struct rule){ .verb = VERB__COUNT };
	for (int v = 0; v < VERB__COUNT; v++)
		if (span_starts(s, verbs[v]))
			out->verb = (enum verb)v;
	if (out->verb == VERB__COUNT)
		return refuse(err, rule,
			"a rule begins with set, default, remove, system, header or cap.");
	rest = trimmed(
		(struct span){ s.at + strlen(verbs[out->verb]), s.len - strlen(verbs[out->verb]) });
	if (out->verb == VERB_SYSTEM) {
		out->value = rest;
		return is_text(rest) ? 0 : refuse(err, rule, "the text is missing.");
	}
	if (out->verb == VERB_HEADER)
		return part(rest, ':', &out->path, &out->value) && may_head(out->path) &&
				       is_text(out->value)
			       ? 0
			       : refuse(err, rule,
					 "it is written header NAME: TEXT, and credentials and "
					 "what "
					 "belongs to the connection are not a rule's to say.");
	return read_member(rule, rest, out, err);
}

int
request_rule_check(struct span rule, struct err *err)
{
	struct rule r;

	return read_rule(rule, &r, err);
}

/* The list's next line that says something; false: no more.  text: as it stands there; NULL. */
static bool
next_rule(const char **at, struct rule *r, struct span *text)
{
	while (**at != '\0') {
		size_t len = strcspn(*at, "\n");
		struct span line = { *at, len };
		struct err ignored = { 0 };

		*at += len + ((*at)[len] == '\n');
		if (trimmed(line).len > 0 && read_rule(line, r, &ignored) == 0) {
			if (text != NULL)
				*text = trimmed(line);
			return true;
		}
	}
	return false;
}

bool
request_rules_header(const char **at, struct span *name, struct span *value)
{
	struct rule r;

	while (next_rule(at, &r, NULL))
		if (r.verb == VERB_HEADER) {
			*name = r.path;
			*value = r.value;
			return true;
		}
	return false;
}

bool
request_rules_next(const char **at, struct span *text)
{
	struct rule r;

	if (!next_rule(at, &r, text))
		return false;
	if (r.verb == VERB_HEADER) /* what it is may be a secret */
		text->len = (size_t)(r.path.at + r.path.len - text->at);
	return true;
}

static uint32_t
bit_of(int rule)
{
	return UINT32_C(1) << (rule < 31 ? rule : 31);
}

uint32_t
request_rules_heads(const char *list)
{
	uint32_t heads = 0;
	struct rule r;

	for (int i = 0; next_rule(&list, &r, NULL); i++)
		heads |= r.verb == VERB_HEADER ? bit_of(i) : 0;
	return heads;
}

/* ---- one edit ---- */

struct edit {
	struct span body;
	struct bytes *out; /* the new body, where something changed */
};

/* Of the text between two places of the body, by what stands in `with`.  true: done. */
static bool
splice(struct edit *e, const char *from, const char *to, const struct bytes *with)
{
	const char *end = e->body.at + e->body.len;

	e->out->len = 0;
	(void)bytes_add(e->out, e->body.at, (size_t)(from - e->body.at));
	(void)bytes_add(e->out, with->at, with->len);
	(void)bytes_add(e->out, to, (size_t)(end - to));
	if (with->failed)
		e->out->failed = true;
	return true;
}

/* The first name of a path; *rest is what is behind it, empty at the last. */
static struct span
first_name(struct span path, struct span *rest)
{
	const char *dot = memchr(path.at, '.', path.len);
	struct span name = path;

	*rest = SPAN_NONE;
	if (dot != NULL) {
		name.len = (size_t)(dot - path.at);
		*rest = (struct span){ dot + 1, path.len - name.len - 1 };
	}
	return name;
}

struct found {
	struct span name;
	struct json_member member;
	bool is_there;
	size_t count;
};

static bool
note_member(void *ctx, const struct json_member *m)
{
	struct found *f = ctx;
	char key[128];
	struct span raw = { m->key.at - 1, m->key.len + 2 };

	f->count++;
	/* escapes in names are decoded before they are compared */
	if (json_string((struct json_value){ JSON_STRING, raw }, key, sizeof key) < 0 ||
		!span_is(f->name, key))
		return true;
	f->member = *m;
	f->is_there = true;
	return true;
}

static void
find(struct span object, struct span name, struct found *f)
{
	*f = (struct found){ .name = name };
	(void)json_each(object, note_member, f, NULL);
}

/* "name":{"next":value}, for what is left of a path. */
static void
put_nested(struct bytes *to, struct span path, struct span value)
{
	int depth = 0;

	while (path.len > 0) {
		struct span rest, name = first_name(path, &rest);

		(void)bytes_puts(to, depth == 0 ? "" : "{");
		(void)bytes_json(to, name);
		(void)bytes_puts(to, ":");
		path = rest;
		depth++;
	}
	(void)bytes_add(to, value.at, value.len);
	while (depth-- > 1)
		(void)bytes_puts(to, "}");
}

/* Into the object at its end. */
static bool
append(struct edit *e, struct span object, size_t members, struct span path, struct span value)
{
	struct bytes with = BYTES_LIMIT(1 << 20);
	const char *brace = object.at + object.len - 1;

	(void)bytes_puts(&with, members == 0 ? "" : ",");
	put_nested(&with, path, value);
	(void)splice(e, brace, brace, &with);
	bytes_free(&with);
	return true;
}

static bool
replace(struct edit *e, struct span old, struct span value)
{
	struct bytes with = BYTES_LIMIT(1 << 20);

	if (old.len == value.len && memcmp(old.at, value.at, old.len) == 0)
		return false;
	(void)bytes_add(&with, value.at, value.len);
	(void)splice(e, old.at, old.at + old.len, &with);
	bytes_free(&with);
	return true;
}

/* In an object of the body.  only_absent: what is there stays. */
static bool
put(struct edit *e, struct span object, struct span path, struct span value, bool only_absent)
{
	for (;;) {
		struct span rest, name = first_name(path, &rest);
		struct found f;

		find(object, name, &f);
		if (!f.is_there)
			return append(e, object, f.count, path, value);
		if (rest.len == 0)
			return !only_absent && replace(e, f.member.value.raw, value);
		if (f.member.value.type != JSON_OBJECT)
			return false; /* nothing can be put in there */
		object = f.member.value.raw;
		path = rest;
	}
}

/* A member with the comma before or behind it. */
static bool
cut(struct edit *e, struct span object, const struct json_member *m)
{
	const char *from = object.at + m->start, *to = object.at + m->end, *p;
	struct bytes none = BYTES_LIMIT(1);

	for (p = to; memchr(SPACES, *p, 4) != NULL; p++)
		;
	if (*p == ',') {
		to = p + 1;
	} else {
		for (p = from - 1; memchr(SPACES, *p, 4) != NULL; p--)
			;
		if (*p == ',')
			from = p;
	}
	return splice(e, from, to, &none);
}

static bool
remove_member(struct edit *e, struct span path)
{
	struct span object = e->body;

	for (;;) {
		struct span rest, name = first_name(path, &rest);
		struct found f;

		find(object, name, &f);
		if (!f.is_there)
			return false;
		if (rest.len == 0)
			return cut(e, object, &f.member);
		if (f.member.value.type != JSON_OBJECT)
			return false;
		object = f.member.value.raw;
		path = rest;
	}
}

/* ---- by format ---- */

/* Where a format has its ceilings and its instructions. */
static const struct places {
	enum format_id format;
	const char *ceiling[4]; /* the first is written where none is there */
	const char *system, *other;
	const char *
		element; /* of a list of instructions: before the text, which "}" or more follows */
	const char *closing;
	bool is_list; /* always; else text, where it is no list */
} places[] = {
	{ FORMAT_OPENAI_CHAT, { "max_completion_tokens", "max_tokens" }, "messages", NULL,
		"{\"role\":\"system\",\"content\":", "}", true },
	{ FORMAT_AZURE, { "max_completion_tokens", "max_tokens" }, "messages", NULL,
		"{\"role\":\"system\",\"content\":", "}", true },
	{ FORMAT_OPENROUTER, { "max_completion_tokens", "max_tokens" }, "messages", NULL,
		"{\"role\":\"system\",\"content\":", "}", true },
	{ FORMAT_OPENAI_RESPONSES, { "max_output_tokens" }, "instructions", NULL, "", "", false },
	{ FORMAT_ANTHROPIC, { "max_tokens" }, "system", NULL, "{\"type\":\"text\",\"text\":", "}",
		false },
	{ FORMAT_BEDROCK_INVOKE, { "max_tokens" }, "system", NULL,
		"{\"type\":\"text\",\"text\":", "}", false },
	{ FORMAT_GEMINI,
		{ "generationConfig.maxOutputTokens", "generation_config.max_output_tokens",
			"generationConfig.max_output_tokens", "generation_config.maxOutputTokens" },
		"systemInstruction.parts", "system_instruction.parts", "{\"text\":", "}", true },
	{ FORMAT_CONVERSE, { "inferenceConfig.maxTokens" }, "system", NULL, "{\"text\":", "}",
		true },
};

static const struct places *
places_of(const struct format *f)
{
	for (size_t i = 0; f != NULL && i < sizeof places / sizeof places[0]; i++)
		if (f == format_of(places[i].format))
			return &places[i];
	return NULL;
}

static bool
hold_down(struct edit *e, const struct places *p, struct span most)
{
	int64_t n, have;
	bool any = false;

	if (p == NULL || json_int((struct json_value){ JSON_NUMBER, most }, &n) != 0)
		return false;
	for (size_t i = 0; i < 4 && p->ceiling[i] != NULL; i++) {
		struct json_value v = json_path(e->body, p->ceiling[i]);

		if (v.type != JSON_NUMBER || json_int(v, &have) != 0)
			continue;
		any = true;
		if (have > n)
			return replace(e, v.raw, most); /* others of it: the next call */
	}
	return !any && put(e, e->body, span_of(p->ceiling[0]), most, false);
}

/* TEXT, and behind it, apart, what a JSON string says already. */
static void
put_text(struct bytes *to, struct span text, struct json_value before)
{
	(void)bytes_puts(to, "\"");
	(void)bytes_json_inside(to, text);
	if (before.type == JSON_STRING && before.raw.len > 2) {
		(void)bytes_puts(to, "\\n\\n");
		(void)bytes_add(to, before.raw.at + 1, before.raw.len - 2);
	}
	(void)bytes_puts(to, "\"");
}

static bool
is_empty(struct span array)
{
	return trimmed((struct span){ array.at + 1, array.len - 2 }).len == 0;
}

static bool
instruct(struct edit *e, const struct places *p, struct span text)
{
	static const struct json_value none = { .type = JSON_NONE };
	struct json_value v;
	struct bytes with = BYTES_LIMIT(16L << 20);
	const char *path;
	bool done;

	if (p == NULL)
		return false;
	path = p->other != NULL && json_path(e->body, p->other).type == JSON_ARRAY ? p->other
										   : p->system;
	v = json_path(e->body, path);
	if (v.type == JSON_ARRAY && p->element[0] != '\0') {
		(void)bytes_puts(&with, p->element);
		put_text(&with, text, none);
		(void)bytes_puts(&with, p->closing);
		(void)bytes_puts(&with, is_empty(v.raw) ? "" : ",");
		done = splice(e, v.raw.at + 1, v.raw.at + 1, &with);
	} else if (v.type == JSON_STRING && !p->is_list) {
		put_text(&with, text, v);
		done = splice(e, v.raw.at, v.raw.at + v.raw.len, &with);
	} else if (v.type == JSON_NONE || v.type == JSON_NULL) {
		(void)bytes_puts(&with, p->is_list ? "[" : "");
		(void)bytes_puts(&with, p->is_list ? p->element : "");
		put_text(&with, text, none);
		(void)bytes_puts(&with, p->is_list ? p->closing : "");
		(void)bytes_puts(&with, p->is_list ? "]" : "");
		done = put(e, e->body, span_of(path), bytes_span(&with), false);
	} else {
		done = false;
	}
	if (with.failed)
		e->out->failed = true;
	bytes_free(&with);
	return done;
}

static bool
apply(struct edit *e, const struct rule *r, const struct format *f)
{
	switch (r->verb) {
	case VERB_SET:
		return put(e, e->body, r->path, r->value, false);
	case VERB_DEFAULT:
		return put(e, e->body, r->path, r->value, true);
	case VERB_REMOVE:
		return remove_member(e, r->path);
	case VERB_SYSTEM:
		return instruct(e, places_of(f), r->value);
	case VERB_CAP:
		return hold_down(e, places_of(f), r->value);
	default:
		return false;
	}
}

static void
free_bytes(void *b)
{
	bytes_free(b);
}

int
request_rules_apply(struct arena *a, const char *list, const struct format *f, struct span *body,
	uint32_t *changed, struct err *err)
{
	struct bytes *room[2];
	struct rule r;
	int next = 0;

	*changed = 0;
	for (int i = 0; i < 2; i++) {
		room[i] = arena_alloc(a, sizeof *room[i]);
		if (room[i] == NULL)
			return err_set(err, ERR_MEMORY, "no memory for request rules");
		*room[i] = BYTES_LIMIT(body->len + (16L << 20));
		if (arena_defer(a, free_bytes, room[i]) != 0)
			return err_set(err, ERR_MEMORY, "no memory for request rules");
	}
	for (int rule = 0; next_rule(&list, &r, NULL); rule++) {
		struct edit e = { *body, room[next] };
		bool any = false;

		/* what stands there more than once is changed as often */
		for (int i = 0; i < 16 && apply(&e, &r, f); i++) {
			if (e.out->failed)
				return err_set(err, ERR_MEMORY, "no memory for request rules");
			any = true;
			*body = bytes_span(e.out);
			next = !next;
			e = (struct edit){ *body, room[next] };
			if (r.verb != VERB_REMOVE && r.verb != VERB_CAP)
				break;
		}
		*changed |= any ? bit_of(rule) : 0;
	}
	bytes_free(room[next]);
	return 0;
}
