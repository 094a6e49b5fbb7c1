/*
 * openai_watch.c - an answer goes by: what it used, whether it failed, where it ends.
 *
 * Nearly every event is a few words of text.  One scan looks for the three names that matter,
 * "usage", "error" and "delta", which by luck have one length: only where both quotes stand seven
 * bytes apart are the letters looked at.  Text in an answer cannot be mistaken for a name: within a
 * string the quotes are escaped.  Only what carries figures or an error is then read as JSON.
 */
#include "wire/openai.h"

#include "wire/wire-int.h"
#include <string.h>

#define NAME_BYTES     7 /* "usage" with its quotes */
#define EVIDENCE_BYTES 4096

void
openai_watch_init(struct openai_watch *w, bool hide_usage)
{
	*w = (struct openai_watch){ .usage = WIRE_USAGE_NONE,
		.hide_usage = hide_usage,
		.evidence = BYTES_LIMIT(EVIDENCE_BYTES),
		.tail = BYTES_LIMIT(2 * OPENAI_TAIL_BYTES) };
	sse_init(&w->sse);
}

void
openai_watch_free(struct openai_watch *w)
{
	sse_free(&w->sse);
	bytes_free(&w->tail);
	bytes_free(&w->evidence);
}

/* ---- what stands in an event ---- */

static inline lanes
names_at(const char *p)
{
	lanes open, close, letter;

	memcpy(&open, p, LANES);
	memcpy(&letter, p + 1, LANES);
	memcpy(&close, p + NAME_BYTES - 1, LANES);
	return (lanes)(open == '"') & (lanes)(close == '"') &
	       ((lanes)(letter == 'u') | (lanes)(letter == 'e') | (lanes)(letter == 'd'));
}

/* Two quotes seven bytes apart with u, e or d behind the first: the next such place, or end. */
static const char *
next_name(const char *p, const char *end)
{
	for (; end - p >= LANES + NAME_BYTES; p += LANES) {
		lanes names = names_at(p);

		if (lanes_any(names))
			return p + lanes_first(names);
	}
	for (; end - p >= NAME_BYTES; p++)
		if (p[0] == '"' && p[NAME_BYTES - 1] == '"' &&
			(p[1] == 'u' || p[1] == 'e' || p[1] == 'd'))
			return p;
	return end;
}

/* The first byte of the value when the name that ends at p is a member's, else NULL. */
static const char *
value_behind(const char *p, const char *end)
{
	bool colon = false;

	for (; p < end; p++) {
		if (*p == ':' && !colon)
			colon = true;
		else if (*p != ' ' && *p != '\t' && *p != '\n' && *p != '\r')
			return colon ? p : NULL;
	}
	return NULL;
}

static bool
is_text_key(struct span key)
{
	static const char *const keys[] = { "content", "arguments", "text", "reasoning_content",
		"reasoning", "refusal", "input", "name", "thinking", "transcript", NULL };

	for (size_t i = 0; keys[i] != NULL; i++)
		if (span_is(key, keys[i]))
			return true;
	return false;
}

/* p: the value of "delta".  A string is text; of an object, the text members.  Returns where it
 * ended, so that no byte is gone over twice. */
static const char *
add_delta(const char *p, const char *end, int64_t *bytes)
{
	struct span key = SPAN_NONE;
	int depth = 0;

	do {
		if (*p == '"') {
			const char *q = wire_string_end(p + 1, end), *value;
			struct span s = { p + 1, (size_t)(q - p) - 1 };

			if (s.len > 0 && q[-1] == '"')
				s.len--;
			value = value_behind(q, end);
			p = q;
			if (value != NULL && depth > 0) {
				key = s;
				p = value;
				/* The same thinking once more, in pieces (OpenRouter). */
				if (span_is(key, "reasoning_details"))
					return p;
			} else if (depth == 0 || is_text_key(key)) {
				*bytes += (int64_t)s.len;
			}
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		p++;
	} while (depth > 0 && p < end);
	return p;
}

struct event {
	struct json_value usage, error, choices, response, groq, message, type, tier;
};

static bool
note_member(void *ctx, const struct json_member *m)
{
	static const struct {
		const char *name;
		size_t at;
	} members[] = {
		{ "usage", offsetof(struct event, usage) },
		{ "error", offsetof(struct event, error) },
		{ "choices", offsetof(struct event, choices) },
		{ "response", offsetof(struct event, response) },
		{ "x_groq", offsetof(struct event, groq) },
		{ "message", offsetof(struct event, message) },
		{ "type", offsetof(struct event, type) },
		{ "service_tier", offsetof(struct event, tier) },
	};
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		if (span_is(key, members[i].name)) {
			*(struct json_value *)((char *)ctx + members[i].at) = m->value;
			break;
		}
	return true;
}

static bool
is_something(struct json_value v)
{
	return v.type == JSON_OBJECT || v.type == JSON_ARRAY || v.type == JSON_STRING ||
	       v.type == JSON_TRUE;
}

static bool
is_empty_array(struct json_value v)
{
	if (v.type != JSON_ARRAY)
		return false;
	for (size_t i = 1; i + 1 < v.raw.len; i++)
		if (strchr(" \t\r\n", v.raw.at[i]) == NULL || v.raw.at[i] == '\0')
			return false;
	return true;
}

/* The event that nothing follows but [DONE]. */
static bool
is_terminal(struct span type)
{
	static const char *const types[] = { "response.completed", "response.failed",
		"response.incomplete", "response.cancelled", "transcript.text.done",
		"speech.audio.done", "image_generation.completed", "image_edit.completed", NULL };

	for (size_t i = 0; types[i] != NULL; i++)
		if (span_is(type, types[i]))
			return true;
	return false;
}

static struct span
inside(struct json_value v)
{
	if (v.type != JSON_STRING || v.raw.len < 2)
		return SPAN_NONE;
	return (struct span){ v.raw.at + 1, v.raw.len - 2 };
}

static void
note_error(struct openai_watch *w, struct json_value error, struct json_value message)
{
	w->failed = true;
	if (error.type == JSON_OBJECT)
		message = json_get(error.raw, "message");
	else if (error.type == JSON_STRING)
		message = error;
	wire_copy_string(message, w->error, sizeof w->error);
}

static void
keep_evidence(struct openai_watch *w, struct span data)
{
	if (w->evidence.len == 0)
		(void)bytes_add(&w->evidence, data.at,
			data.len < EVIDENCE_BYTES ? data.len : EVIDENCE_BYTES);
}

/* Reads an event that has figures or an error somewhere.  type: as far as it is known without. */
static enum openai_seen
read_event(struct openai_watch *w, struct span data, struct span type)
{
	struct event e = { .usage = { .type = JSON_NONE } }, inner = e;

	if (json_each(data, note_member, &e, NULL) != 0)
		return is_terminal(type) ? OPENAI_LAST : OPENAI_PASS;
	if (e.type.type == JSON_STRING)
		type = inside(e.type);
	if (e.response.type == JSON_OBJECT)
		(void)json_each(e.response.raw, note_member, &inner, NULL);
	if (e.usage.type != JSON_OBJECT)
		e.usage = inner.usage;
	if (e.usage.type != JSON_OBJECT && e.groq.type == JSON_OBJECT)
		e.usage = json_get(e.groq.raw, "usage");
	if (e.usage.type == JSON_OBJECT)
		wire_take_usage(e.usage.raw, &w->usage);
	wire_take_tier(e.tier.type == JSON_STRING ? e.tier : inner.tier, &w->usage);

	if (is_something(e.error) || span_is(type, "error")) {
		note_error(w, e.error, e.message);
		keep_evidence(w, data);
		return OPENAI_ERROR;
	}
	if (span_is(type, "response.failed")) {
		note_error(w, inner.error, inner.message);
		keep_evidence(w, data);
		return OPENAI_ERROR;
	}
	if (is_terminal(type))
		return OPENAI_LAST;
	if (w->hide_usage && e.usage.type == JSON_OBJECT && is_empty_array(e.choices))
		return OPENAI_HIDE;
	return OPENAI_PASS;
}

/* The event's type without reading it all: a first member "type", else the field "event". */
static struct span
quick_type(struct span name, struct span data)
{
	static const char first[] = "{\"type\":\"";
	const char *end;

	if (!span_starts(data, first))
		return name;
	data.at += sizeof first - 1, data.len -= sizeof first - 1;
	end = memchr(data.at, '"', data.len);
	return end == NULL ? name : (struct span){ data.at, (size_t)(end - data.at) };
}

/* /v1/completions has no "delta": {"choices":[{"text":"…"}]}. */
static void
add_completion(struct span data, int64_t *bytes)
{
	const char *end = data.at + data.len, *p = memmem(data.at, data.len, "\"text\"", 6);
	const char *value = p == NULL ? NULL : value_behind(p + 6, end);

	if (value != NULL && *value == '"')
		(void)add_delta(value, end, bytes);
}

/* ---- is there anything to show? ---- */

static bool
is_blank(struct json_value v)
{
	if (v.type == JSON_STRING)
		return v.raw.len <= 2;
	if (v.type == JSON_OBJECT || v.type == JSON_ARRAY) {
		for (size_t i = 1; i + 1 < v.raw.len; i++)
			if (strchr(" \t\r\n", v.raw.at[i]) == NULL)
				return false;
		return true;
	}
	return v.type == JSON_NONE || v.type == JSON_NULL || v.type == JSON_FALSE;
}

static bool
look_in_delta(void *ctx, const struct json_member *m)
{
	struct openai_watch *w = ctx;

	if (!span_is(m->key, "role") && !is_blank(m->value))
		w->content = true;
	return !w->content;
}

static bool
look_in_choice(void *ctx, const struct json_member *m)
{
	struct openai_watch *w = ctx;

	if (span_is(m->key, "finish_reason"))
		wire_copy_string(m->value, w->finish, sizeof w->finish);
	else if (span_is(m->key, "text") && !is_blank(m->value))
		w->content = true;
	else if ((span_is(m->key, "delta") || span_is(m->key, "message")) &&
		 m->value.type == JSON_OBJECT)
		(void)json_each(m->value.raw, look_in_delta, w, NULL);
	return true;
}

static bool
look_at_choice(void *ctx, const struct json_member *m)
{
	if (m->value.type == JSON_OBJECT)
		(void)json_each(m->value.raw, look_in_choice, ctx, NULL);
	return true;
}

/* Text, arguments or reasoning that is not empty, anywhere in an item or a whole answer. */
static bool
holds_text(struct span s)
{
	static const char *const names[] = { "\"text\"", "\"arguments\"", "\"refusal\"",
		"\"encrypted_content\"", "\"result\"", "\"input\"" };
	const char *end = s.at + s.len;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		for (const char *p = s.at;
			(p = memmem(p, (size_t)(end - p), names[i], strlen(names[i]))) != NULL;) {
			const char *value = value_behind(p += strlen(names[i]), end);

			if (value != NULL && end - value > 1 && value[0] == '"' && value[1] != '"')
				return true;
		}
	return false;
}

/* An event of the Responses API. */
static void
look_in_typed(struct openai_watch *w, struct span data, struct span type)
{
	static const char *const preludes[] = { "response.created", "response.in_progress",
		"response.queued", "response.content_part.added",
		"response.reasoning_summary_part.added", "response.failed", "keepalive", "ping",
		NULL };
	struct json_value item;

	for (size_t i = 0; preludes[i] != NULL; i++)
		if (span_is(type, preludes[i]))
			return;
	if (span_is(type, "response.completed") || span_is(type, "response.incomplete")) {
		bool filtered = memmem(data.at, data.len, "\"content_filter\"", 16) != NULL;

		(void)span_copy(span_of(span_is(type, "response.completed") ? "stop"
					: filtered                          ? "content_filter"
									    : "length"),
			w->finish, sizeof w->finish);
		item = json_path(data, "response.output");
		w->content = item.type == JSON_ARRAY && holds_text(item.raw);
	} else if (span_is(type, "response.output_item.added") ||
		   span_is(type, "response.output_item.done")) {
		struct json_value kind;

		item = json_get(data, "item");
		kind = item.type == JSON_OBJECT ? json_get(item.raw, "type") : item;
		w->content =
			!(span_is(inside(kind), "message") || span_is(inside(kind), "reasoning")) ||
			holds_text(item.raw);
	} else if (span_ends(type, ".delta")) {
		w->content = !is_blank(json_get(data, "delta"));
	} else if (span_ends(type, ".done")) {
		w->content = holds_text(data);
	} else {
		w->content = true;
	}
}

/* Until something to show has come each event is read for it. */
static void
look_for_content(struct openai_watch *w, const struct sse_event *s)
{
	struct event e = { .usage = { .type = JSON_NONE } };
	struct span type = quick_type(s->name, s->data);

	if (json_each(s->data, note_member, &e, NULL) != 0 || is_something(e.error))
		return;
	if (e.type.type == JSON_STRING)
		type = inside(e.type);
	if (span_is(type, "error"))
		return;
	if (w->any_content)
		w->content = true;
	else if (e.choices.type == JSON_ARRAY)
		(void)json_each_element(e.choices.raw, look_at_choice, w, NULL);
	else if (type.len > 0)
		look_in_typed(w, s->data, type);
}

static enum openai_seen
judge(struct openai_watch *w, const struct sse_event *e)
{
	const char *p = e->data.at, *end;
	struct span type;
	bool read, delta = false;

	if (e->data.len == 0)
		return OPENAI_PASS;
	if (!w->content)
		look_for_content(w, e);
	end = p + e->data.len;
	if (span_starts(e->data, "[DONE]"))
		return OPENAI_LAST;
	type = quick_type(e->name, e->data);
	read = type.len > 0 && (is_terminal(type) || span_is(type, "error"));

	while ((p = next_name(p, end)) != end) {
		const char *value = value_behind(p + NAME_BYTES, end);

		if (memcmp(p, "\"usage\"", NAME_BYTES) == 0) {
			read = read || (value != NULL && *value == '{');
		} else if (memcmp(p, "\"error\"", NAME_BYTES) == 0) {
			read = read || value == NULL || *value != 'n';
		} else if (memcmp(p, "\"delta\"", NAME_BYTES) == 0 && value != NULL) {
			int64_t bytes = 0;

			delta = true;
			p = add_delta(value, end, &bytes);
			/* base64; its transcript comes as text of its own */
			if (!span_is(type, "response.audio.delta"))
				w->output_chars += bytes;
			continue;
		}
		p++;
	}
	if (!delta && type.len == 0)
		add_completion(e->data, &w->output_chars);
	return read ? read_event(w, e->data, type) : OPENAI_PASS;
}

/* ---- events too long to be kept ---- */

static void
keep_ends(struct openai_watch *w, struct span piece)
{
	size_t n = OPENAI_HEAD_BYTES - w->head_len;

	if (n > piece.len)
		n = piece.len;
	memcpy(w->head + w->head_len, piece.at, n);
	w->head_len += n;

	if (piece.len >= OPENAI_TAIL_BYTES) {
		bytes_drop(&w->tail, w->tail.len);
		piece.at += piece.len - OPENAI_TAIL_BYTES;
		piece.len = OPENAI_TAIL_BYTES;
	} else if (w->tail.len + piece.len > w->tail.limit) {
		bytes_drop(&w->tail, w->tail.len + piece.len - OPENAI_TAIL_BYTES);
	}
	(void)bytes_add(
		&w->tail, piece.at, piece.len); /* without memory there is no usage to be had */
}

/* The event is over: its type from the head, its usage from the tail. */
static enum openai_seen
judge_long(struct openai_watch *w)
{
	static const char name[] = "event:", first[] = "\"type\":\"";
	const char *p, *end = w->head + w->head_len, *q;
	struct span type = SPAN_NONE;
	struct span tail = bytes_span(&w->tail);

	if (w->head_len >= sizeof name - 1 && memcmp(w->head, name, sizeof name - 1) == 0) {
		p = w->head + sizeof name - 1;
		p += p < end && *p == ' ';
		for (q = p; q < end && *q != '\r' && *q != '\n'; q++)
			;
		type = (struct span){ p, (size_t)(q - p) };
	} else if ((p = memmem(w->head, w->head_len, first, sizeof first - 1)) != NULL) {
		p += sizeof first - 1;
		q = memchr(p, '"', (size_t)(end - p));
		type = (struct span){ p, (size_t)((q == NULL ? end : q) - p) };
	}

	if (tail.len > OPENAI_TAIL_BYTES) {
		tail.at += tail.len - OPENAI_TAIL_BYTES;
		tail.len = OPENAI_TAIL_BYTES;
	}
	openai_usage_tail(tail, &w->usage);
	w->head_len = 0;
	bytes_free(&w->tail);
	return is_terminal(type) ? OPENAI_LAST : OPENAI_PASS;
}

/* ---- passing on ---- */

struct passing {
	struct openai_watch *w;
	void (*pass)(void *ctx, const char *data, size_t len, bool last);
	void *ctx;
	const char *data, *end; /* the feed */
	struct span waiting;    /* neighbours in it, to go on together */
	bool last;
};

static void
flush(struct passing *p)
{
	if (p->waiting.len > 0)
		p->pass(p->ctx, p->waiting.at, p->waiting.len, p->last);
	p->waiting.len = 0;
}

static bool
on_event(void *ctx, const struct sse_event *e)
{
	struct passing *p = ctx;
	struct openai_watch *w = p->w;
	enum openai_seen seen;

	if (e->too_long) {
		w->content = true;
		keep_ends(w, e->raw);
		seen = e->ended ? judge_long(w) : OPENAI_PASS;
	} else {
		seen = judge(w, e);
	}
	if (seen == OPENAI_HIDE)
		return true;
	if (seen != OPENAI_PASS)
		w->done = true;
	if (w->done && !p->last) {
		flush(p);
		p->last = true;
	}
	if (p->waiting.len == 0 || p->waiting.at + p->waiting.len != e->raw.at) {
		flush(p);
		p->waiting = e->raw;
	} else {
		p->waiting.len += e->raw.len;
	}
	/* What does not lie in the feed lies in the reader's buffer, which is used again. */
	if (e->raw.at < p->data || e->raw.at >= p->end)
		flush(p);
	return true;
}

int
openai_watch_feed(struct openai_watch *w, const char *data, size_t len,
	void (*pass)(void *ctx, const char *data, size_t len, bool last), void *ctx)
{
	struct passing p = { w, pass, ctx, data, data + len, SPAN_NONE, w->done };
	ptrdiff_t used = sse_feed(&w->sse, data, len, on_event, &p);

	flush(&p);
	return used < 0 ? -1 : 0;
}

int
openai_watch_end(struct openai_watch *w,
	void (*pass)(void *ctx, const char *data, size_t len, bool last), void *ctx)
{
	struct passing p = { w, pass, ctx, "", "", SPAN_NONE, w->done };

	return sse_end(&w->sse, on_event, &p);
}
