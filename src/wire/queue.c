/*
 * queue.c - the queues, and the events that come of them.
 */
#include "wire/queue-int.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_MAX ((size_t)64 << 20) /* for what one frame needs decoded */

static void
free_part(struct queue_part *t)
{
	bytes_free(&t->id);
	bytes_free(&t->name);
	bytes_free(&t->held);
	bytes_free(&t->signature);
	bytes_free(&t->mime);
	bytes_free(&t->data);
	bytes_free(&t->url);
}

void
queue_free(struct queue *q)
{
	for (size_t c = 0; c < NEUTRAL_CHOICES_MAX; c++) {
		for (size_t i = 0; i < q->choice[c].count; i++)
			free_part(&q->choice[c].part[i]);
		free(q->choice[c].part);
	}
	arena_free(q->frame);
}

struct arena *
queue_arena(struct queue *q)
{
	if (q->frame == NULL)
		q->frame = arena_new(ARENA_MAX);
	return q->frame;
}

struct span
queue_plain(struct queue *q, struct json_value v)
{
	struct arena *a = v.type == JSON_STRING ? queue_arena(q) : NULL;

	return a == NULL ? SPAN_NONE : text_plain(a, v);
}

/* ---- failing ---- */

static int
fail(struct queue *q, const struct err *err)
{
	struct neutral_event e = { .kind = EVENT_ERROR, .err = err };

	q->over = true;
	return q->emit(q->ctx, &e);
}

static int
fail_because(struct queue *q, const char *text, const char *says)
{
	struct err err = { 0 };

	(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "%s", text);
	(void)err_say(&err, "%s", says);
	return fail(q, &err);
}

int
queue_unreadable(struct queue *q, const char *text)
{
	return fail_because(q, text, "The provider's stream could not be read.");
}

int
queue_truncated(struct queue *q)
{
	return fail_because(q, "the stream ended early", STREAM_TRUNCATED);
}

int
queue_fail_of_provider(struct queue *q, struct span body)
{
	struct err err = { 0 };

	(void)error_of_provider(body, &err);
	return fail(q, &err);
}

/* Holding is bounded over the whole stream; so is what one part keeps of each. */
static int
hold(struct queue *q, struct bytes *b, struct span more)
{
	if (more.len > QUEUE_HELD_MAX - q->held) {
		(void)queue_unreadable(q, "more is held back than is allowed");
		return 0;
	}
	b->limit = QUEUE_HELD_MAX + 2;
	q->held += more.len;
	return bytes_add(b, more.at, more.len);
}

static void
let_go(struct queue *q, struct bytes *b)
{
	q->held -= b->len;
	bytes_free(b);
}

/* ---- events of a part ---- */

static struct neutral_event
event_of(const struct queue *q, const struct queue_choice *c, const struct queue_part *t,
	enum event_kind kind)
{
	struct neutral_event e = { .kind = kind, .choice = (int)(c - q->choice) };

	e.part.kind = t->kind;
	e.part.signer = t->signer;
	e.part.is_custom = t->is_custom;
	if (t->kind == PART_TOOL_CALL) {
		e.part.call_id = bytes_span(&t->id);
		e.part.name = bytes_span(&t->name);
	}
	return e;
}

static int
emit_signature(struct queue *q, struct queue_choice *c, struct queue_part *t)
{
	struct neutral_event e = event_of(q, c, t, EVENT_DELTA);
	int rc;

	if (t->signature.len == 0 || t->kind == PART_REDACTED)
		return 0;
	e.signature = bytes_span(&t->signature);
	rc = q->emit(q->ctx, &e);
	let_go(q, &t->signature);
	return rc;
}

static int
emit_held(struct queue *q, struct queue_choice *c, struct queue_part *t)
{
	struct neutral_event e = event_of(q, c, t, EVENT_DELTA);
	int rc;

	if (t->held.len <= 1)
		return 0;
	if (bytes_add(&t->held, "\"", 1) != 0)
		return -1;
	e.text = bytes_span(&t->held);
	rc = q->emit(q->ctx, &e);
	t->held.len--;
	let_go(q, &t->held);
	return rc;
}

static int
open_part(struct queue *q, struct queue_choice *c, struct queue_part *t)
{
	struct neutral_event e;
	struct span id;

	if (t->kind == PART_TOOL_CALL && t->id.len == 0) {
		struct arena *a = queue_arena(q);

		id = a == NULL ? SPAN_NONE : text_new_id(a, "call_");
		if (id.at == NULL || hold(q, &t->id, id) != 0)
			return -1;
		if (q->over)
			return 0;
	}
	e = event_of(q, c, t, EVENT_PART);
	if (t->kind == PART_REDACTED)
		e.part.signature = bytes_span(&t->signature);
	if (t->kind == PART_IMAGE || t->kind == PART_AUDIO) {
		e.part.mime = bytes_span(&t->mime);
		e.part.data = t->data.len > 0 ? bytes_span(&t->data) : SPAN_NONE;
		e.part.url = t->url.len > 0 ? bytes_span(&t->url) : SPAN_NONE;
	}
	t->opened = true;
	if (q->emit(q->ctx, &e) != 0 || emit_held(q, c, t) != 0)
		return -1;
	return emit_signature(q, c, t);
}

static int
close_part(struct queue *q, struct queue_choice *c, struct queue_part *t)
{
	struct neutral_event e;

	if (emit_signature(q, c, t) != 0)
		return -1;
	e = event_of(q, c, t, EVENT_PART_END);
	t->closed = true;
	c->head++;
	if (q->emit(q->ctx, &e) != 0)
		return -1;
	/* id and name stay: pieces that come late must find it */
	let_go(q, &t->held);
	let_go(q, &t->signature);
	let_go(q, &t->mime);
	let_go(q, &t->data);
	let_go(q, &t->url);
	return 0;
}

static bool
may_open(const struct queue_part *t, bool more_behind)
{
	if (t->kind != PART_TOOL_CALL)
		return true;
	return t->name.len > 0 && (t->id.len > 0 || t->has_text || more_behind);
}

static bool
may_close(const struct queue_part *t)
{
	if (t->complete)
		return true;
	return t->kind == PART_TOOL_CALL ? t->is_custom : t->key == QUEUE_NO_KEY;
}

/* Passes on what can be.  last: nothing more comes of this choice. */
static int
advance(struct queue *q, struct queue_choice *c, bool last)
{
	while (!q->over && c->head < c->count) {
		struct queue_part *t = &c->part[c->head];
		bool behind = last || c->head + 1 < c->count;

		if (!t->opened) {
			if (!may_open(t, behind)) {
				if (last)
					return queue_unreadable(q, "a tool call without a name");
				return 0;
			}
			if (open_part(q, c, t) != 0)
				return -1;
		}
		if (q->over || !behind || (!last && !may_close(t)))
			return 0;
		if (close_part(q, c, t) != 0)
			return -1;
	}
	return 0;
}

/* ---- putting in ---- */

/* NULL: no memory, or the stream has failed (then it is over). */
static struct queue_part *
new_part(struct queue *q, struct queue_choice *c, enum part_kind kind)
{
	if (q->parts == QUEUE_PARTS_MAX) {
		(void)queue_unreadable(q, "too many parts");
		return NULL;
	}
	if (c->part == NULL || c->count == c->room) {
		size_t room = c->room == 0 ? 4 : 2 * c->room;
		struct queue_part *bigger = realloc(c->part, room * sizeof *bigger);

		if (bigger == NULL)
			return NULL;
		c->part = bigger;
		c->room = room;
	}
	q->parts++;
	c->part[c->count] = (struct queue_part){ .kind = kind, .key = QUEUE_NO_KEY };
	return &c->part[c->count++];
}

/* What a NULL of new_part() means to the caller. */
static int
gone(const struct queue *q)
{
	return q->over ? 0 : -1;
}

/* Text or arguments: passed on when the part is under way, else held. */
static int
put_text(struct queue *q, struct queue_choice *c, struct queue_part *t, struct span json_string)
{
	struct neutral_event e;

	t->has_text = true;
	if (t->opened) {
		e = event_of(q, c, t, EVENT_DELTA);
		e.text = json_string;
		return q->emit(q->ctx, &e);
	}
	if (t->held.len == 0 && hold(q, &t->held, SPAN_LIT("\"")) != 0)
		return -1;
	return q->over ? 0 : hold(q, &t->held, text_inside(json_string));
}

struct queue_part *
queue_find(struct queue_choice *c, enum part_kind kind, int64_t key)
{
	for (size_t i = c->count; i > 0; i--)
		if (c->part[i - 1].kind == kind && c->part[i - 1].key == key)
			return &c->part[i - 1];
	return NULL;
}

/* The part that text of that kind goes on with; NULL: it begins one. */
static struct queue_part *
under_way(struct queue_choice *c, enum part_kind kind, int64_t key)
{
	struct queue_part *t;

	if (key != QUEUE_NO_KEY)
		return queue_find(c, kind, key);
	t = c->count > 0 ? &c->part[c->count - 1] : NULL;
	return t == NULL || t->closed || t->kind != kind ? NULL : t;
}

static struct queue_part *
add_keyed(struct queue *q, struct queue_choice *c, enum part_kind kind, int64_t key)
{
	struct queue_part *t = new_part(q, c, kind);

	if (t != NULL)
		t->key = key;
	return t;
}

int
queue_add_text(struct queue *q, struct queue_choice *c, enum part_kind kind, int64_t key,
	struct json_value v)
{
	struct queue_part *t;

	if (v.type != JSON_STRING || text_is_empty(v.raw))
		return 0;
	t = under_way(c, kind, key);
	if (t == NULL) {
		if ((t = add_keyed(q, c, kind, key)) == NULL)
			return gone(q);
		/* where nothing stands before it, it need not be held */
		if (advance(q, c, false) != 0)
			return -1;
	}
	return q->over || t->closed ? 0 : put_text(q, c, t, v.raw);
}

int
queue_add_media(struct queue *q, struct queue_choice *c, const struct neutral_part *p)
{
	struct queue_part *t = new_part(q, c, p->kind);

	if (t == NULL)
		return gone(q);
	if (hold(q, &t->mime, p->mime) != 0 || hold(q, &t->data, p->data) != 0 ||
		hold(q, &t->url, p->url) != 0)
		return -1;
	return advance(q, c, false);
}

int
queue_add_reasoning(
	struct queue *q, struct queue_choice *c, int64_t key, const struct neutral_part *p)
{
	struct json_value text = { JSON_STRING, p->text };
	struct queue_part *t;

	if (p->kind == PART_REDACTED) {
		if ((t = new_part(q, c, PART_REDACTED)) == NULL)
			return gone(q);
		t->signer = p->signer;
		return hold(q, &t->signature, p->signature) != 0 ? -1 : advance(q, c, false);
	}
	if (queue_add_text(q, c, PART_REASONING, key, text) != 0)
		return -1;
	if (q->over || p->signature.len == 0)
		return 0;
	t = under_way(c, PART_REASONING, key);
	if (t == NULL && (t = add_keyed(q, c, PART_REASONING, key)) == NULL)
		return gone(q);
	if (t->closed)
		return 0;
	t->signer = p->signer;
	let_go(q, &t->signature);
	if (hold(q, &t->signature, p->signature) != 0)
		return -1;
	return advance(q, c, false);
}

int
queue_complete(struct queue *q, struct queue_choice *c, struct queue_part *t)
{
	t->complete = true;
	return advance(q, c, false);
}

/* ---- tool calls ---- */

/* One character of the arguments, decoded: is the object whole? */
static void
scan_letter(struct queue_part *t, char letter)
{
	if (t->in_string) {
		if (t->escaped)
			t->escaped = false;
		else if (letter == '\\')
			t->escaped = true;
		else if (letter == '"')
			t->in_string = false;
	} else if (letter == '"') {
		t->in_string = t->depth > 0;
	} else if (letter == '{' || (letter == '[' && t->depth > 0)) {
		t->depth++;
	} else if ((letter == '}' || letter == ']') && t->depth > 0) {
		t->complete = --t->depth == 0;
	}
}

/* The inside of a JSON string: escapes are decoded as far as JSON's own signs go. */
static void
scan(struct queue_part *t, struct span inside)
{
	for (size_t i = 0; i < inside.len && !t->complete; i++) {
		char letter = inside.at[i];

		if (letter == '\\' && i + 1 < inside.len) {
			letter = inside.at[++i];
			if (letter == 'u' && i + 4 < inside.len) {
				char hex[5] = { 0 };
				unsigned long code;

				memcpy(hex, inside.at + i + 1, 4);
				code = strtoul(hex, NULL, 16);
				letter = code < 0x80 ? (char)code : 'x';
				i += 4;
			} else if (letter != '"' && letter != '\\') {
				letter = ' ';
			}
		}
		scan_letter(t, letter);
	}
}

static bool
equal(const struct bytes *b, struct span s)
{
	return b->len == s.len && (s.len == 0 || memcmp(b->at, s.at, s.len) == 0);
}

/* The call that a piece belongs to; NULL: it begins one. */
static struct queue_part *
find_call(struct queue_choice *c, int64_t key, struct span id, struct span name)
{
	for (size_t i = c->count; i > 0; i--) {
		struct queue_part *t = &c->part[i - 1];

		if (t->kind != PART_TOOL_CALL || t->key != key)
			continue;
		if (key != QUEUE_NO_KEY)
			/* Google's server gives all parallel calls the index 0 */
			return id.len > 0 && t->id.len > 0 && !equal(&t->id, id) && name.len > 0 &&
					       t->name.len > 0 && t->has_text
				       ? NULL
				       : t;
		if (id.len > 0) {
			if (equal(&t->id, id))
				return t;
			continue;
		}
		return name.len > 0 && t->name.len > 0 && t->has_text ? NULL : t;
	}
	return NULL;
}

int
queue_add_piece(struct queue *q, struct queue_choice *c, const struct queue_piece *p)
{
	struct queue_part *t = find_call(c, p->key, p->id, p->name);
	bool has_text = p->arguments.type == JSON_STRING && !text_is_empty(p->arguments.raw);

	if (t == NULL) {
		if ((t = new_part(q, c, PART_TOOL_CALL)) == NULL)
			return gone(q);
		t->key = p->key;
		t->is_custom = p->is_custom;
		c->has_calls = true;
	}
	/* a whole object needs no more, and servers have been seen to say it twice */
	if (t->closed || (has_text && t->complete))
		return 0;
	if (t->id.len == 0 && !t->opened && p->id.len > 0 && hold(q, &t->id, p->id) != 0)
		return -1;
	if (t->name.len == 0 && p->name.len > 0 && hold(q, &t->name, p->name) != 0)
		return -1;
	if (t->signature.len == 0 && p->signature.len > 0) {
		t->signer = SIGNER_GEMINI;
		if (hold(q, &t->signature, p->signature) != 0)
			return -1;
	}
	if (q->over)
		return 0;
	if (has_text) {
		if (put_text(q, c, t, p->arguments.raw) != 0)
			return -1;
		scan(t, text_inside(p->arguments.raw));
	}
	if (q->over)
		return 0;
	if (t->opened && emit_signature(q, c, t) != 0)
		return -1;
	return advance(q, c, false);
}

/* ---- begin and end ---- */

void
queue_begin_frame(struct queue *q, neutral_emit *emit, void *ctx)
{
	q->emit = emit;
	q->ctx = ctx;
}

void
queue_end_frame(struct queue *q)
{
	arena_free(q->frame);
	q->frame = NULL;
}

int
queue_tell_usage(struct queue *q)
{
	struct neutral_event e = { .kind = EVENT_USAGE, .usage = q->usage };

	return q->started && q->usage.seen ? q->emit(q->ctx, &e) : 0;
}

int
queue_start(
	struct queue *q, struct json_value id, struct json_value model, struct json_value created)
{
	struct neutral_event e = { .kind = EVENT_START };

	e.id = queue_plain(q, id);
	e.model = queue_plain(q, model);
	if (json_int(created, &e.created_s) != 0 || e.created_s < 0)
		e.created_s = 0;
	q->started = true;
	return q->emit(q->ctx, &e) != 0 ? -1 : queue_tell_usage(q);
}

int
queue_finish(struct queue *q)
{
	struct neutral_event e = { .kind = EVENT_END };

	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++) {
		struct queue_choice *c = &q->choice[i];
		struct neutral_event finish = { .kind = EVENT_FINISH, .choice = (int)i };

		if (!c->seen)
			continue;
		if (advance(q, c, true) != 0)
			return -1;
		if (q->over)
			return 0;
		finish.finish = neutral_finish(c->finish, c->has_calls);
		if (q->emit(q->ctx, &finish) != 0)
			return -1;
	}
	q->over = true;
	return q->emit(q->ctx, &e);
}
