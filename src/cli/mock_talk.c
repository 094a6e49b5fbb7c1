/*
 * mock_talk.c - what the mock makes of a conversation.
 *
 * Answers tell what was heard, so that a test sees what reached a provider: the text of the last
 * turn, media with type and size, results by the names of their tools.  Words in the text steer it,
 * see the mock's --help.  Everything is the same for the same request.
 */
#include "cli/mock-talk-int.h"

#include "base/hash.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TALK_TEXT_BYTES  MOCK_OUT_BYTES
#define FIT_DEPTH        12
#define FIT_MEMBERS      64
#define CACHE_WRITTEN    32 /* tokens, where a request marks what is to be cached */
#define CHARACTERS_TOKEN 4
#define NUMBER_WIDTH     6
#define BIG_PIECE        8192
#define BIG_MOST         (MOCK_OUT_BYTES / 2) /* the rest of an answer needs room too */

static struct talk talk;

struct talk *
talk_begin(void)
{
	struct bytes *const kept[] = { &talk.text, &talk.results, &talk.notes, &talk.system,
		&talk.thinking, &talk.said };
	struct bytes saved[sizeof kept / sizeof kept[0]], args[TALK_CALLS_MOST];

	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
		saved[i] = *kept[i];
	for (size_t i = 0; i < TALK_CALLS_MOST; i++)
		args[i] = talk.calls[i].args;
	memset(&talk, 0, sizeof talk);
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
		*kept[i] = saved[i];
		kept[i]->len = 0;
		kept[i]->failed = false;
		kept[i]->limit = TALK_TEXT_BYTES;
	}
	for (size_t i = 0; i < TALK_CALLS_MOST; i++) {
		talk.calls[i].args = args[i];
		talk.calls[i].args.len = 0;
		talk.calls[i].args.limit = TALK_TEXT_BYTES;
	}
	return &talk;
}

/* ---- JSON at hand ---- */

struct listing {
	struct json_value *values;
	struct json_member *members;
	int count, most;
};

static bool
list_one(void *ctx, const struct json_member *m)
{
	struct listing *l = ctx;

	if (l->count == l->most)
		return false;
	if (l->values != NULL)
		l->values[l->count] = m->value;
	else
		l->members[l->count] = *m;
	l->count++;
	return true;
}

int
talk_list(struct json_value array, struct json_value *out, int most)
{
	struct listing l = { .values = out, .most = most };

	if (array.type == JSON_ARRAY)
		(void)json_each_element(array.raw, list_one, &l, NULL);
	return l.count;
}

static int
list_members(struct json_value object, struct json_member *out, int most)
{
	struct listing l = { .members = out, .most = most };

	if (object.type == JSON_OBJECT)
		(void)json_each(object.raw, list_one, &l, NULL);
	return l.count;
}

struct json_value
talk_get(struct json_value object, const char *path)
{
	if (object.type != JSON_OBJECT)
		return (struct json_value){ .type = JSON_NONE };
	return json_path(object.raw, path);
}

bool
talk_copy(struct json_value string, char *out, size_t out_bytes)
{
	out[0] = '\0';
	return json_string(string, out, out_bytes) >= 0;
}

bool
talk_is(struct json_value string, const char *text)
{
	char copy[256];

	return talk_copy(string, copy, sizeof copy) && strcmp(copy, text) == 0;
}

struct unknown {
	const char *words;
	char name[128];
	bool found;
};

static bool
is_known(void *ctx, const struct json_member *m)
{
	struct unknown *u = ctx;

	for (const char *at = u->words; *at != '\0';) {
		size_t len = strcspn(at, " ");

		if (m->key.len == len && memcmp(m->key.at, at, len) == 0)
			return true;
		at += len + (at[len] == ' ');
	}
	(void)span_copy(m->key, u->name, sizeof u->name);
	u->found = true;
	return false;
}

const char *
talk_unknown(struct json_value object, const char *words)
{
	static struct unknown u;

	u.words = words;
	u.found = false;
	if (object.type == JSON_OBJECT)
		(void)json_each(object.raw, is_known, &u, NULL);
	return u.found ? u.name : NULL;
}

void
talk_base64(struct bytes *to, struct span data)
{
	unsigned char four[8];

	for (size_t i = 0; i < data.len; i += 3) {
		int n = data.len - i < 3 ? (int)(data.len - i) : 3;

		(void)EVP_EncodeBlock(four, (const unsigned char *)data.at + i, n);
		(void)bytes_add(to, four, 4);
	}
}

/* ---- hearing ---- */

void
talk_hear(struct bytes *to, struct json_value string)
{
	char *copy;
	ptrdiff_t len;

	if (string.type != JSON_STRING || (copy = malloc(string.raw.len + 1)) == NULL)
		return;
	len = json_string(string, copy, string.raw.len + 1);
	if (len > 0)
		(void)bytes_add(to, copy, (size_t)len);
	free(copy);
}

void
talk_count(struct talk *t, struct json_value v)
{
	if (v.type == JSON_STRING && v.raw.len > 2)
		t->characters += (int64_t)v.raw.len - 2;
	else if (v.type != JSON_STRING)
		t->characters += (int64_t)v.raw.len;
}

void
talk_note(struct talk *t, const char *what, const char *type, struct span base64)
{
	size_t len = base64.len >= 2 ? base64.len - 2 : 0; /* its quotes */
	size_t bytes = len / 4 * 3;

	for (size_t i = len; i > 0 && base64.at[i] == '='; i--)
		bytes--;
	(void)bytes_printf(&t->notes, " [%s %s %zu bytes]", what, type, bytes);
	t->characters += 400;
}

void
talk_answer_turn(struct talk *t)
{
	t->text.len = t->results.len = 0;
	t->turns++;
}

void
talk_hear_call(struct talk *t, struct json_value id, struct json_value name)
{
	struct talk_name *p;

	if (t->pending_count == TALK_TOOLS_MOST)
		return;
	p = &t->pending[t->pending_count++];
	(void)talk_copy(id, p->id, sizeof p->id);
	(void)talk_copy(name, p->name, sizeof p->name);
}

const char *
talk_hear_result(struct talk *t, struct json_value id, struct span text)
{
	for (int i = 0; i < t->pending_count; i++) {
		struct talk_name *p = &t->pending[i];

		if (p->id[0] == '\0' || !talk_is(id, p->id))
			continue;
		p->id[0] = '\0';
		(void)bytes_printf(&t->results, "%s%s=%.*s", t->results.len > 0 ? "; " : "",
			p->name, (int)text.len, text.len == 0 ? "" : text.at);
		return p->name;
	}
	return NULL;
}

const char *
talk_unanswered(const struct talk *t)
{
	for (int i = 0; i < t->pending_count; i++)
		if (t->pending[i].id[0] != '\0')
			return t->pending[i].id;
	return NULL;
}

void
talk_hear_tool(struct talk *t, struct json_value name, struct json_value schema)
{
	struct talk_name *tool;

	if (t->tool_count == TALK_TOOLS_MOST)
		return;
	tool = &t->tools[t->tool_count++];
	(void)talk_copy(name, tool->name, sizeof tool->name);
	tool->schema = schema.type == JSON_OBJECT ? schema.raw : SPAN_NONE;
	talk_count(t, schema);
}

void
talk_hear_stops(struct talk *t, struct json_value v)
{
	struct json_value list[4];
	int n = 1;

	if (v.type == JSON_ARRAY)
		n = talk_list(v, list, 4);
	else
		list[0] = v;
	for (int i = 0; i < n; i++)
		if (talk_copy(list[i], t->stops[t->stop_count], sizeof t->stops[0]) &&
			t->stops[t->stop_count][0] != '\0')
			t->stop_count++;
}

/* ---- JSON that fits ---- */

struct fitting {
	struct bytes *to;
	struct span root;
	int n;
};

static void fit(struct fitting *f, struct json_value schema, struct span name, int depth);

/* What a $ref within the schema points at. */
static struct json_value
follow(const struct fitting *f, struct json_value ref)
{
	struct json_value at = { .type = JSON_OBJECT, .raw = f->root };
	char path[256], *part = path, *next;

	if (!talk_copy(ref, path, sizeof path) || strncmp(path, "#/", 2) != 0)
		return (struct json_value){ .type = JSON_NONE };
	for (part += 2; part != NULL; part = next) {
		next = strchr(part, '/');
		if (next != NULL)
			*next++ = '\0';
		if (at.type == JSON_OBJECT)
			at = json_get(at.raw, part);
	}
	return at;
}

static struct json_value
first_of(struct json_value array, int n)
{
	struct json_value list[FIT_MEMBERS];
	int count = talk_list(array, list, FIT_MEMBERS);

	if (count == 0)
		return (struct json_value){ .type = JSON_NONE };
	return list[n % count];
}

static void
fit_string(struct fitting *f, struct json_value schema, struct span name)
{
	struct json_value format = talk_get(schema, "format");
	int64_t least = 0, most = 0;
	struct bytes text = BYTES_LIMIT(4096);

	if (talk_is(format, "date-time"))
		(void)bytes_puts(&text, "2026-01-15T12:00:00Z");
	else if (talk_is(format, "date"))
		(void)bytes_puts(&text, "2026-01-15");
	else if (talk_is(format, "email"))
		(void)bytes_puts(&text, "mock@example.com");
	else if (talk_is(format, "uri"))
		(void)bytes_puts(&text, "https://example.com/mock");
	else
		(void)bytes_printf(&text, "%.*s-%d \"\xc3\xa9\"", (int)name.len,
			name.len == 0 ? "" : name.at, f->n);
	if (json_int(talk_get(schema, "maxLength"), &most) == 0 && most >= 0 &&
		(size_t)most < text.len) {
		text.len = 0;
		for (int64_t i = 0; i < most; i++)
			(void)bytes_puts(&text, "m");
	}
	if (json_int(talk_get(schema, "minLength"), &least) == 0)
		while ((int64_t)text.len < least && !text.failed)
			(void)bytes_puts(&text, "m");
	(void)bytes_json(f->to, bytes_span(&text));
	bytes_free(&text);
}

static void
fit_number(struct fitting *f, struct json_value schema, bool whole)
{
	int64_t n = f->n, bound;

	if (json_int(talk_get(schema, "minimum"), &bound) == 0 && n < bound)
		n = bound;
	if (json_int(talk_get(schema, "maximum"), &bound) == 0 && n > bound)
		n = bound;
	mock_number(f->to, n);
	if (!whole && n == f->n)
		(void)bytes_puts(f->to, ".5");
}

static void
fit_object(struct fitting *f, struct json_value schema, int depth)
{
	struct json_member members[FIT_MEMBERS];
	int count = list_members(talk_get(schema, "properties"), members, FIT_MEMBERS);

	(void)bytes_puts(f->to, "{");
	for (int i = 0; i < count; i++) {
		(void)bytes_printf(f->to, "%s\"%.*s\":", i == 0 ? "" : ",", (int)members[i].key.len,
			members[i].key.at);
		fit(f, members[i].value, members[i].key, depth + 1);
	}
	(void)bytes_puts(f->to, "}");
}

static void
fit_array(struct fitting *f, struct json_value schema, struct span name, int depth)
{
	int64_t least = 1;

	if (json_int(talk_get(schema, "minItems"), &least) != 0 || least < 1 || least > FIT_MEMBERS)
		least = 1;
	(void)bytes_puts(f->to, "[");
	for (int64_t i = 0; i < least; i++) {
		(void)bytes_puts(f->to, i == 0 ? "" : ",");
		fit(f, talk_get(schema, "items"), name, depth + 1);
	}
	(void)bytes_puts(f->to, "]");
}

static void
fit(struct fitting *f, struct json_value schema, struct span name, int depth)
{
	static const char *const choices[] = { "anyOf", "oneOf", "allOf" };
	struct json_value v, type;
	char word[16];

	if (depth > FIT_DEPTH || schema.type != JSON_OBJECT) {
		(void)bytes_puts(f->to, "null");
		return;
	}
	if ((v = talk_get(schema, "$ref")).type == JSON_STRING) {
		fit(f, follow(f, v), name, depth + 1);
		return;
	}
	if ((v = json_get(schema.raw, "const")).type != JSON_NONE ||
		(v = first_of(json_get(schema.raw, "enum"), f->n)).type != JSON_NONE) {
		(void)bytes_add(f->to, v.raw.at, v.raw.len);
		return;
	}
	for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
		if ((v = first_of(json_get(schema.raw, choices[i]), 0)).type != JSON_NONE) {
			fit(f, v, name, depth + 1);
			return;
		}
	type = json_get(schema.raw, "type");
	if (type.type == JSON_ARRAY)
		type = first_of(type, 0);
	(void)talk_copy(type, word, sizeof word);
	for (char *c = word; *c != '\0'; c++)
		*c |= 0x20; /* Gemini's types may be upper case */
	if (strcmp(word, "object") == 0 || json_get(schema.raw, "properties").type == JSON_OBJECT)
		fit_object(f, schema, depth);
	else if (strcmp(word, "array") == 0)
		fit_array(f, schema, name, depth);
	else if (strcmp(word, "integer") == 0 || strcmp(word, "number") == 0)
		fit_number(f, schema, word[0] == 'i');
	else if (strcmp(word, "boolean") == 0)
		(void)bytes_puts(f->to, f->n % 2 == 1 ? "true" : "false");
	else if (strcmp(word, "null") == 0)
		(void)bytes_puts(f->to, "null");
	else
		fit_string(f, schema, name);
}

void
talk_fit(struct bytes *to, struct span schema, int n)
{
	struct fitting f = { to, schema, n };

	if (schema.len == 0)
		(void)bytes_puts(to, "{}");
	else
		fit(&f, (struct json_value){ JSON_OBJECT, schema }, SPAN_LIT("value"), 0);
}

/* ---- thinking ---- */

/* The number behind a word in the text; -1 when the word is not there. */
static int64_t
number_after(const struct bytes *text, const char *word)
{
	const char *at = text->len == 0 ? NULL : memmem(text->at, text->len, word, strlen(word));

	return at == NULL ? -1 : strtoll(at + strlen(word), NULL, 10);
}

static bool
has_word(const struct bytes *text, const char *word)
{
	return text->len > 0 && memmem(text->at, text->len, word, strlen(word)) != NULL;
}

static void
say_numbered(struct bytes *to, const struct mock_script *s)
{
	char digits[24];

	for (int64_t n = 1; n <= s->chunks; n++)
		for (int64_t i = 0; i < s->chunk_bytes; i++) {
			if (i == 0)
				(void)snprintf(digits, sizeof digits, "%0*d", NUMBER_WIDTH,
					(int)(n % 1000000));
			(void)bytes_add(to,
				i < NUMBER_WIDTH    ? digits + i
				: i == NUMBER_WIDTH ? " "
						    : "a",
				1);
		}
}

static void
plan_calls(struct talk *t, const char *id_format)
{
	int64_t wanted = number_after(&t->text, "call:");

	if (t->tool_count == 0 || t->calls_none)
		return;
	if (wanted < 1 && (t->calls_must || t->only[0] != '\0') && t->results.len == 0)
		wanted = 1;
	if (wanted > TALK_CALLS_MOST)
		wanted = TALK_CALLS_MOST;
	if (wanted > 1 && t->calls_one)
		wanted = 1;
	for (int i = 0; i < wanted; i++) {
		const struct talk_name *tool = &t->tools[i % t->tool_count];
		struct talk_call *call = &t->calls[i];

		for (int j = 0; j < t->tool_count && t->only[0] != '\0'; j++)
			if (strcmp(t->tools[j].name, t->only) == 0)
				tool = &t->tools[j];
		memcpy(call->name, tool->name, sizeof call->name);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(call->id, sizeof call->id, id_format, t->turns, i + 1);
#pragma GCC diagnostic pop
		call->args.len = 0;
		talk_fit(&call->args, tool->schema, i + 1);
		t->call_count++;
	}
}

static void
say(struct talk *t, const struct mock_script *s)
{
	struct bytes *to = &t->said;

	if (t->call_count > 0) {
		if (has_word(&t->text, "aloud"))
			(void)bytes_printf(to, "I call %d.", t->call_count);
		return;
	}
	if (t->json && t->schema.len > 0) {
		talk_fit(to, t->schema, 1);
	} else if (t->json) {
		(void)bytes_puts(to, "{\"said\":");
		(void)bytes_json(to, bytes_span(&t->text));
		(void)bytes_puts(to, "}");
	} else if (s->big_bytes > 0) {
		for (int64_t i = 0; i < s->big_bytes && i < BIG_MOST; i++)
			(void)bytes_add(to, "x", 1);
	} else if (s->numbered) {
		say_numbered(to, s);
	} else {
		(void)bytes_puts(to, t->results.len > 0 ? "Results: " : "You said: ");
		(void)bytes_add(to, t->results.at, t->results.len);
		if (t->results.len > 0 && t->text.len > 0)
			(void)bytes_puts(to, " You said: ");
		(void)bytes_add(to, t->text.at, t->text.len);
		(void)bytes_add(to, t->notes.at, t->notes.len);
		if (has_word(&t->system, "signed?"))
			(void)bytes_puts(to, t->has_signed ? " [signed]" : " [not signed]");
		if (t->system.len > 0)
			(void)bytes_printf(to, " [system: %s]", t->system.at);
	}
}

static size_t
whole_characters(struct span text, size_t len)
{
	while (len > 0 && len < text.len && ((unsigned char)text.at[len] & 0xc0) == 0x80)
		len--;
	return len;
}

static int64_t
tokens(int64_t characters)
{
	return (characters + CHARACTERS_TOKEN - 1) / CHARACTERS_TOKEN;
}

/* Of each piece but the last; 0: the pieces are counted instead. */
static size_t
piece_size(const struct mock_script *s)
{
	return s->numbered ? (size_t)s->chunk_bytes : s->big_bytes > 0 ? BIG_PIECE : 0;
}

/* A size that the script states holds whatever the request says. */
static void
cut_said(struct talk *t, const struct mock_script *s)
{
	struct span said = bytes_span(&t->said);

	for (int i = 0; i < t->stop_count; i++) {
		const char *at =
			said.len == 0 ? NULL
				      : memmem(said.at, said.len, t->stops[i], strlen(t->stops[i]));

		if (at == NULL)
			continue;
		said.len = (size_t)(at - said.at);
		t->stop = STOP_SEQUENCE;
		t->stopped_by = t->stops[i];
	}
	if (t->most_output > 0 && tokens((int64_t)said.len) > t->most_output && !t->json &&
		piece_size(s) == 0) {
		said.len = whole_characters(said, (size_t)(t->most_output * CHARACTERS_TOKEN));
		t->stop = STOP_LENGTH;
	}
	t->said.len = said.len;
}

static void
count_usage(struct talk *t)
{
	int64_t cached = number_after(&t->text, "cache:");

	t->input = t->characters > 0 ? tokens(t->characters) : 1;
	if (cached > 0)
		t->cache_read = cached;
	if (t->cache_marks && t->cache_hour)
		t->cache_write_1h = CACHE_WRITTEN;
	else if (t->cache_marks)
		t->cache_write_5m = CACHE_WRITTEN;
	t->reasoning = tokens((int64_t)t->thinking.len);
	t->output = t->reasoning + tokens((int64_t)t->said.len);
	for (int i = 0; i < t->call_count; i++)
		t->output += 4 + tokens((int64_t)t->calls[i].args.len);
}

void
talk_think(struct talk *t, const struct mock_script *s, const char *id_format)
{
	/* a buffer that holds nothing yet is NULL: printf wants a text */
	(void)bytes_add(&t->text, "", 0);
	(void)bytes_add(&t->system, "", 0);
	plan_calls(t, id_format);
	if (t->thinks)
		(void)bytes_printf(&t->thinking, "Let me think about %zu characters.",
			t->text.len + t->results.len);
	if (has_word(&t->text, "stop:filter")) {
		t->stop = STOP_FILTER;
	} else {
		say(t, s);
		cut_said(t, s);
		if (t->call_count > 0)
			t->stop = STOP_CALLS;
	}
	count_usage(t);
}

/* ---- saying ---- */

int
talk_pieces(const struct mock_script *s, struct span text)
{
	if (text.len == 0)
		return 0;
	if (piece_size(s) > 0)
		return (int)((text.len + piece_size(s) - 1) / piece_size(s));
	return text.len < (size_t)s->chunks ? (int)text.len : (int)s->chunks;
}

struct span
talk_piece(const struct mock_script *s, struct span text, int i)
{
	size_t n = (size_t)talk_pieces(s, text), size = text.len / n, from, to;

	if (piece_size(s) > 0)
		size = piece_size(s);
	from = whole_characters(text, (size_t)i * size);
	to = (size_t)i + 1 == n ? text.len : whole_characters(text, ((size_t)i + 1) * size);
	return (struct span){ text.at + from, to - from };
}

/* ---- signatures ---- */

void
talk_sign(const char *what, struct span text, char out[64])
{
	static const char secret[] = "the mock signs its thoughts";
	uint8_t mac[SHA256_BYTES];
	struct bytes all = BYTES_LIMIT(TALK_TEXT_BYTES);

	(void)bytes_printf(&all, "%s:", what);
	(void)bytes_add(&all, text.at, text.len);
	hash_hmac(secret, sizeof secret - 1, all.at, all.len, mac);
	bytes_free(&all);
	(void)EVP_EncodeBlock((unsigned char *)out, mac, sizeof mac);
}

bool
talk_signed(const char *what, struct span text, struct json_value signature)
{
	char good[64];

	talk_sign(what, text, good);
	talk.has_signed = talk.has_signed || talk_is(signature, good);
	return talk_is(signature, good);
}
