/*
 * text.c - JSON strings spliced, decoded only where they must be, and written.
 */
#include "wire/text.h"

#include "base/hash.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

#define ID_MOST      64 /* of an id that all dialects take */
#define ID_DIGEST    16 /* of a longer one, in hex */
#define ID_RANDOM    24
#define MIME_MOST    128
#define NUMBER_BYTES 24

/* ---- picking members ---- */

struct pick {
	const char *const *names;
	size_t count;
	struct json_value *found;
	text_key_is *is;
	void (*other)(void *ctx, struct span key, struct json_value v);
	void *ctx;
};

static bool
pick_member(void *ctx, const struct json_member *m)
{
	struct pick *p = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	for (size_t i = 0; i < p->count; i++)
		if (p->is(key, p->names[i])) {
			p->found[i] = m->value;
			return true;
		}
	if (p->other != NULL)
		p->other(p->ctx, m->key, m->value);
	return true;
}

int
text_pick(struct span object, const char *const *names, size_t count, struct json_value *found,
	void (*other)(void *ctx, struct span key, struct json_value v), void *ctx)
{
	return text_pick_as(object, names, count, found, span_is, other, ctx);
}

int
text_pick_as(struct span object, const char *const *names, size_t count, struct json_value *found,
	text_key_is *is, void (*other)(void *ctx, struct span key, struct json_value v), void *ctx)
{
	/* cppcheck-suppress ctuuninitvar ; filled in here */
	struct pick p = { names, count, found, is, other, ctx };

	for (size_t i = 0; i < count; i++)
		found[i] = (struct json_value){ JSON_NONE, SPAN_NONE };
	return json_each(object, pick_member, &p, NULL);
}

/* ---- strings ---- */

struct span
text_inside(struct span json_string)
{
	if (json_string.len < 2 || json_string.at[0] != '"')
		return SPAN_NONE;
	return (struct span){ json_string.at + 1, json_string.len - 2 };
}

bool
text_is_empty(struct span json_string)
{
	return text_inside(json_string).len == 0;
}

struct span
text_plain(struct arena *a, struct json_value v)
{
	struct span inside;
	ptrdiff_t len;
	char *room;

	if (v.type != JSON_STRING)
		return SPAN_NONE;
	inside = text_inside(v.raw);
	if (inside.len == 0)
		return (struct span){ "", 0 };
	if (memchr(inside.at, '\\', inside.len) == NULL)
		return inside;
	/* no escape is shorter than what it stands for */
	room = arena_room(a, inside.len + 1);
	len = room == NULL ? -1 : json_string(v, room, inside.len + 1);
	return len < 0 ? SPAN_NONE : (struct span){ room, (size_t)len };
}

/* Moves a buffer's content into the arena. */
static struct span
keep(struct arena *a, struct bytes *b)
{
	char *copy = b->failed ? NULL : arena_strndup(a, b->at == NULL ? "" : b->at, b->len);
	struct span s = { copy, copy == NULL ? 0 : b->len };

	bytes_free(b);
	return s;
}

struct span
text_quoted(struct arena *a, struct span plain)
{
	struct bytes b = BYTES_LIMIT(6 * plain.len + 2);

	if (plain.len > (SIZE_MAX - 2) / 6)
		return SPAN_NONE;
	(void)bytes_json(&b, plain);
	return keep(a, &b);
}

struct span
text_joined(struct arena *a, const struct span *json_strings, size_t count, const char *between)
{
	size_t gap = strlen(between), room = 2, texts = 0;
	struct span only = SPAN_LIT("\"\"");
	char *out, *at;

	for (size_t i = 0; i < count; i++) {
		if (text_is_empty(json_strings[i]))
			continue;
		room += json_strings[i].len - 2 + (texts > 0 ? gap : 0);
		only = json_strings[i];
		texts++;
	}
	if (texts < 2)
		return only;
	at = out = arena_room(a, room);
	if (out == NULL)
		return SPAN_NONE;
	*at++ = '"';
	for (size_t i = 0; i < count; i++) {
		struct span inside = text_inside(json_strings[i]);

		if (inside.len == 0)
			continue;
		if (at > out + 1) {
			memcpy(at, between, gap);
			at += gap;
		}
		memcpy(at, inside.at, inside.len);
		at += inside.len;
	}
	*at = '"';
	return (struct span){ out, room };
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The first byte of white space between tokens, or end. */
static const char *
next_blank(const char *p, const char *end)
{
	while (p < end && !is_blank(*p))
		p = *p == '"' ? wire_string_end(p + 1, end) : p + 1;
	return p;
}

struct span
text_compact(struct arena *a, struct span json)
{
	const char *p, *end;
	char *out, *at;

	if (json.at == NULL)
		return json;
	p = json.at, end = json.at + json.len;
	if (next_blank(p, end) == end)
		return json;
	at = out = arena_room(a, json.len);
	if (out == NULL)
		return SPAN_NONE;
	while (p < end) {
		const char *blank = next_blank(p, end);

		memcpy(at, p, (size_t)(blank - p));
		at += blank - p;
		for (p = blank; p < end && is_blank(*p);)
			p++;
	}
	return (struct span){ out, (size_t)(at - out) };
}

struct span
text_mime(struct span mime)
{
	return span_is_nocase(mime, "image/jpg") ? SPAN_LIT("image/jpeg") : mime;
}

bool
text_data_url(struct span url, struct span *mime, struct span *data)
{
	const char *mark;
	size_t head;

	if (!span_starts(url, "data:"))
		return false;
	mark = memmem(url.at, url.len < MIME_MOST ? url.len : MIME_MOST, ";base64,", 8);
	if (mark == NULL)
		return false;
	head = (size_t)(mark - url.at);
	*data = (struct span){ mark + 8, url.len - head - 8 };
	*mime = (struct span){ url.at + 5, head - 5 };
	for (size_t i = 0; i < mime->len; i++)
		if (mime->at[i] == ';')
			mime->len = i;
	*mime = text_mime(*mime);
	return true;
}

/* ---- ids ---- */

struct span
text_new_id(struct arena *a, const char *prefix)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t len = strlen(prefix);
	char *out = arena_alloc(a, len + ID_RANDOM + 1);
	uint8_t dice[2 * ID_RANDOM];

	if (out == NULL)
		return SPAN_NONE;
	memcpy(out, prefix, len);
	hash_random(dice, sizeof dice);
	for (size_t i = 0; i < ID_RANDOM; i++)
		out[len + i] =
			letters[(dice[2 * i] * 256u + dice[2 * i + 1]) % (sizeof letters - 1)];
	return (struct span){ out, len + ID_RANDOM };
}

static bool
is_id_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

struct span
text_clean_id(struct arena *a, struct span id)
{
	uint8_t digest[SHA256_BYTES];
	char *out;
	size_t len = id.len < ID_MOST ? id.len : ID_MOST;
	bool clean = id.len <= ID_MOST;

	for (size_t i = 0; i < len && clean; i++)
		clean = is_id_letter(id.at[i]);
	if (clean)
		return id;
	out = arena_strndup(a, id.at, len);
	if (out == NULL)
		return SPAN_NONE;
	for (size_t i = 0; i < len; i++)
		if (!is_id_letter(out[i]))
			out[i] = '_';
	if (id.len > ID_MOST) {
		hash_sha256(id.at, id.len, digest);
		hash_hex(digest, ID_DIGEST / 2, out + ID_MOST - ID_DIGEST);
	}
	return (struct span){ out, len };
}

/* ---- writing ---- */

static void
begin(struct json_out *o, const char *key)
{
	if (o->comma)
		(void)bytes_add(o->to, ",", 1);
	o->comma = true;
	if (key == NULL)
		return;
	(void)bytes_add(o->to, "\"", 1);
	(void)bytes_puts(o->to, key); /* our own words: nothing to escape */
	(void)bytes_add(o->to, "\":", 2);
}

void
out_open(struct json_out *o, const char *key, char bracket)
{
	begin(o, key);
	(void)bytes_add(o->to, &bracket, 1);
	o->comma = false;
}

void
out_close(struct json_out *o, char bracket)
{
	(void)bytes_add(o->to, &bracket, 1);
	o->comma = true;
}

void
out_json(struct json_out *o, const char *key, struct span json)
{
	if (json.at == NULL)
		return;
	begin(o, key);
	(void)bytes_add(o->to, json.at, json.len);
}

void
out_text(struct json_out *o, const char *key, struct span plain)
{
	begin(o, key);
	(void)bytes_json(o->to, plain.at == NULL ? (struct span){ "", 0 } : plain);
}

void
out_string(struct json_out *o, const char *key, const char *s)
{
	out_text(o, key, span_of(s));
}

void
out_int(struct json_out *o, const char *key, int64_t n)
{
	char text[NUMBER_BYTES];

	(void)snprintf(text, sizeof text, "%lld", (long long)n);
	begin(o, key);
	(void)bytes_puts(o->to, text);
}

void
out_bool(struct json_out *o, const char *key, bool b)
{
	begin(o, key);
	(void)bytes_puts(o->to, b ? "true" : "false");
}

void
out_null(struct json_out *o, const char *key)
{
	begin(o, key);
	(void)bytes_puts(o->to, "null");
}

void
out_string_begin(struct json_out *o, const char *key)
{
	begin(o, key);
	(void)bytes_add(o->to, "\"", 1);
}

void
out_string_inside(struct json_out *o, struct span inside)
{
	if (inside.len > 0)
		(void)bytes_add(o->to, inside.at, inside.len);
}

void
out_string_plain(struct json_out *o, struct span plain)
{
	(void)bytes_json_inside(o->to, plain);
}

void
out_string_end(struct json_out *o)
{
	(void)bytes_add(o->to, "\"", 1);
}
