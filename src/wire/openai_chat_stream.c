/*
 * openai_chat_stream.c - a provider's chat stream into neutral events.
 *
 * Servers of this dialect mix what belongs together: parallel calls in turns, ids and names late or
 * in every chunk, no index, pieces of a call behind the finish.  So of each choice there is a queue of
 * parts: the head is passed on as it comes, what belongs to later ones is held until the head is over.
 * Text is over when anything else comes; a call when its arguments are a whole JSON object, or the
 * stream ends.  The finish is given at the end for the same reason.
 */
#include "wire/openai_chat-int.h"

#include "wire/openai.h"
#include "wire/wire-int.h"
#include <stdlib.h>
#include <string.h>

#define HELD_MAX    ((size_t)16 << 20) /* bytes held of all parts that wait */
#define PARTS_MAX   8192               /* of a stream, all choices */
#define DETAILS_MAX 64                 /* reasoning details of one chunk */
#define ARENA_MAX   ((size_t)64 << 20) /* for what one frame needs decoded */
#define NO_INDEX    (-1)
#define LEGACY      (-2) /* delta.function_call */

/* One part on its way. */
struct slot {
	enum part_kind kind;
	int64_t index;          /* TOOL_CALL: as the provider counts */
	struct bytes id, name;  /* TOOL_CALL */
	struct bytes held;      /* text or arguments as a JSON string that lacks its last quote */
	struct bytes signature; /* REASONING, REDACTED, TOOL_CALL */
	struct bytes mime, data, url; /* IMAGE, AUDIO */
	enum signer signer;
	bool is_custom, opened, closed;
	bool has_text;
	/* how far the arguments are */
	bool complete, in_string, escaped;
	int depth;
};

struct choice {
	struct slot *slot;
	size_t count, room, head; /* head: the first that is not closed */
	enum finish finish;
	bool seen, has_calls;
};

struct stream {
	struct choice choice[NEUTRAL_CHOICES_MAX];
	size_t parts, held; /* in all */
	bool started, over;
	struct wire_usage usage;
	struct arena *frame; /* lives as long as a frame is read */
	neutral_emit *emit;
	void *ctx;
};

const size_t openai_chat_reader_bytes = sizeof(struct stream);

static void
free_slot(struct slot *t)
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
openai_chat_reader_free(void *state)
{
	struct stream *s = state;

	for (size_t c = 0; c < NEUTRAL_CHOICES_MAX; c++) {
		for (size_t i = 0; i < s->choice[c].count; i++)
			free_slot(&s->choice[c].slot[i]);
		free(s->choice[c].slot);
	}
	arena_free(s->frame);
}

static struct arena *
frame_arena(struct stream *s)
{
	if (s->frame == NULL)
		s->frame = arena_new(ARENA_MAX);
	return s->frame;
}

static struct span
plain(struct stream *s, struct json_value v)
{
	struct arena *a = v.type == JSON_STRING ? frame_arena(s) : NULL;

	return a == NULL ? SPAN_NONE : text_plain(a, v);
}

/* ---- failing ---- */

static int
fail(struct stream *s, const struct err *err)
{
	struct neutral_event e = { .kind = EVENT_ERROR, .err = err };

	s->over = true;
	return s->emit(s->ctx, &e);
}

static int
fail_because(struct stream *s, const char *text, const char *says)
{
	struct err err = { 0 };

	(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "%s", text);
	(void)err_say(&err, "%s", says);
	return fail(s, &err);
}

static int
unreadable(struct stream *s, const char *text)
{
	return fail_because(s, text, "The provider's stream could not be read.");
}

static int
fail_of_provider(struct stream *s, struct span body)
{
	struct err err = { 0 };

	(void)error_of_provider(body, &err);
	return fail(s, &err);
}

/* Holding is bounded over the whole stream; so is what one part keeps of each. */
static int
hold(struct stream *s, struct bytes *b, struct span more)
{
	if (more.len > HELD_MAX - s->held) {
		(void)unreadable(s, "more is held back than is allowed");
		return 0;
	}
	b->limit = HELD_MAX + 2;
	s->held += more.len;
	return bytes_add(b, more.at, more.len);
}

static void
let_go(struct stream *s, struct bytes *b)
{
	s->held -= b->len;
	bytes_free(b);
}

/* ---- events of a part ---- */

static struct neutral_event
event_of(const struct stream *s, const struct choice *c, const struct slot *t, enum event_kind kind)
{
	struct neutral_event e = { .kind = kind, .choice = (int)(c - s->choice) };

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
emit_signature(struct stream *s, struct choice *c, struct slot *t)
{
	struct neutral_event e = event_of(s, c, t, EVENT_DELTA);
	int rc;

	if (t->signature.len == 0 || t->kind == PART_REDACTED)
		return 0;
	e.signature = bytes_span(&t->signature);
	rc = s->emit(s->ctx, &e);
	let_go(s, &t->signature);
	return rc;
}

static int
emit_held(struct stream *s, struct choice *c, struct slot *t)
{
	struct neutral_event e = event_of(s, c, t, EVENT_DELTA);
	int rc;

	if (t->held.len <= 1)
		return 0;
	if (bytes_add(&t->held, "\"", 1) != 0)
		return -1;
	e.text = bytes_span(&t->held);
	rc = s->emit(s->ctx, &e);
	t->held.len--;
	let_go(s, &t->held);
	return rc;
}

static int
open_slot(struct stream *s, struct choice *c, struct slot *t)
{
	struct neutral_event e;
	struct span id;

	if (t->kind == PART_TOOL_CALL && t->id.len == 0) {
		struct arena *a = frame_arena(s);

		id = a == NULL ? SPAN_NONE : text_new_id(a, "call_");
		if (id.at == NULL || hold(s, &t->id, id) != 0)
			return -1;
		if (s->over)
			return 0;
	}
	e = event_of(s, c, t, EVENT_PART);
	if (t->kind == PART_REDACTED)
		e.part.signature = bytes_span(&t->signature);
	if (t->kind == PART_IMAGE || t->kind == PART_AUDIO) {
		e.part.mime = bytes_span(&t->mime);
		e.part.data = t->data.len > 0 ? bytes_span(&t->data) : SPAN_NONE;
		e.part.url = t->url.len > 0 ? bytes_span(&t->url) : SPAN_NONE;
	}
	t->opened = true;
	if (s->emit(s->ctx, &e) != 0 || emit_held(s, c, t) != 0)
		return -1;
	return emit_signature(s, c, t);
}

static int
close_slot(struct stream *s, struct choice *c, struct slot *t)
{
	struct neutral_event e;

	if (emit_signature(s, c, t) != 0)
		return -1;
	e = event_of(s, c, t, EVENT_PART_END);
	t->closed = true;
	c->head++;
	if (s->emit(s->ctx, &e) != 0)
		return -1;
	/* id and name stay: pieces that come late must find it */
	let_go(s, &t->held);
	let_go(s, &t->signature);
	let_go(s, &t->mime);
	let_go(s, &t->data);
	let_go(s, &t->url);
	return 0;
}

static bool
may_open(const struct slot *t, bool more_behind)
{
	if (t->kind != PART_TOOL_CALL)
		return true;
	return t->name.len > 0 && (t->id.len > 0 || t->has_text || more_behind);
}

static bool
may_close(const struct slot *t)
{
	return t->kind != PART_TOOL_CALL || t->is_custom || t->complete;
}

/* Passes on what can be.  last: nothing more comes of this choice. */
static int
advance(struct stream *s, struct choice *c, bool last)
{
	while (!s->over && c->head < c->count) {
		struct slot *t = &c->slot[c->head];
		bool behind = last || c->head + 1 < c->count;

		if (!t->opened) {
			if (!may_open(t, behind)) {
				if (last)
					return unreadable(s, "a tool call without a name");
				return 0;
			}
			if (open_slot(s, c, t) != 0)
				return -1;
		}
		if (s->over || !behind || (!last && !may_close(t)))
			return 0;
		if (close_slot(s, c, t) != 0)
			return -1;
	}
	return 0;
}

/* ---- putting in ---- */

/* NULL: no memory, or the stream has failed (then it is over). */
static struct slot *
new_slot(struct stream *s, struct choice *c, enum part_kind kind)
{
	if (s->parts == PARTS_MAX) {
		(void)unreadable(s, "too many parts");
		return NULL;
	}
	if (c->slot == NULL || c->count == c->room) {
		size_t room = c->room == 0 ? 4 : 2 * c->room;
		struct slot *bigger = realloc(c->slot, room * sizeof *bigger);

		if (bigger == NULL)
			return NULL;
		c->slot = bigger;
		c->room = room;
	}
	s->parts++;
	c->slot[c->count] = (struct slot){ .kind = kind, .index = NO_INDEX };
	return &c->slot[c->count++];
}

/* What a NULL of new_slot() means to the caller. */
static int
gone(const struct stream *s)
{
	return s->over ? 0 : -1;
}

/* Text or arguments: passed on when the part is under way, else held. */
static int
put_text(struct stream *s, struct choice *c, struct slot *t, struct span json_string)
{
	struct neutral_event e;

	t->has_text = true;
	if (t->opened) {
		e = event_of(s, c, t, EVENT_DELTA);
		e.text = json_string;
		return s->emit(s->ctx, &e);
	}
	if (t->held.len == 0 && hold(s, &t->held, SPAN_LIT("\"")) != 0)
		return -1;
	return s->over ? 0 : hold(s, &t->held, text_inside(json_string));
}

static int
add_text(struct stream *s, struct choice *c, enum part_kind kind, struct json_value v)
{
	struct slot *t;

	if (v.type != JSON_STRING || text_is_empty(v.raw))
		return 0;
	t = c->count > 0 ? &c->slot[c->count - 1] : NULL;
	if (t == NULL || t->closed || t->kind != kind) {
		if ((t = new_slot(s, c, kind)) == NULL)
			return gone(s);
		/* where nothing stands before it, it need not be held */
		if (advance(s, c, false) != 0)
			return -1;
	}
	return s->over ? 0 : put_text(s, c, t, v.raw);
}

static int
add_media(struct stream *s, struct choice *c, enum part_kind kind, const struct neutral_part *p)
{
	struct slot *t = new_slot(s, c, kind);

	if (t == NULL)
		return gone(s);
	if (hold(s, &t->mime, p->mime) != 0 || hold(s, &t->data, p->data) != 0 ||
		hold(s, &t->url, p->url) != 0)
		return -1;
	return advance(s, c, false);
}

/* ---- tool calls ---- */

/* One character of the arguments, decoded: is the object whole? */
static void
scan_letter(struct slot *t, char letter)
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
scan(struct slot *t, struct span inside)
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
static struct slot *
find_call(struct choice *c, int64_t index, struct span id, struct span name)
{
	for (size_t i = c->count; i > 0; i--) {
		struct slot *t = &c->slot[i - 1];

		if (t->kind != PART_TOOL_CALL || t->index != index)
			continue;
		if (index >= 0 || index == LEGACY)
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

struct piece {
	int64_t index;
	struct span id, name, signature;
	struct json_value arguments;
	bool is_custom;
};

static int
add_piece(struct stream *s, struct choice *c, const struct piece *p)
{
	struct slot *t = find_call(c, p->index, p->id, p->name);
	bool has_text = p->arguments.type == JSON_STRING && !text_is_empty(p->arguments.raw);

	if (t == NULL) {
		if ((t = new_slot(s, c, PART_TOOL_CALL)) == NULL)
			return gone(s);
		t->index = p->index;
		t->is_custom = p->is_custom;
		c->has_calls = true;
	}
	/* a whole object needs no more, and servers have been seen to say it twice */
	if (t->closed || (has_text && t->complete))
		return 0;
	if (t->id.len == 0 && !t->opened && p->id.len > 0 && hold(s, &t->id, p->id) != 0)
		return -1;
	if (t->name.len == 0 && p->name.len > 0 && hold(s, &t->name, p->name) != 0)
		return -1;
	if (t->signature.len == 0 && p->signature.len > 0) {
		t->signer = SIGNER_GEMINI;
		if (hold(s, &t->signature, p->signature) != 0)
			return -1;
	}
	if (s->over)
		return 0;
	if (has_text) {
		if (put_text(s, c, t, p->arguments.raw) != 0)
			return -1;
		scan(t, text_inside(p->arguments.raw));
	}
	if (s->over)
		return 0;
	if (t->opened && emit_signature(s, c, t) != 0)
		return -1;
	return advance(s, c, false);
}

struct walk {
	struct stream *s;
	struct choice *c;
	enum part_kind kind; /* of text */
	int rc;
};

static int
read_piece(struct stream *s, struct choice *c, struct json_value v)
{
	static const char *const names[] = { "index", "id", "function", "custom", "extra_content" };
	static const char *const function[] = { "name", "arguments" };
	static const char *const custom[] = { "name", "input" };
	struct json_value got[5], inner[2];
	struct piece p = { .index = NO_INDEX };

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return 0;
	p.is_custom = got[3].type == JSON_OBJECT;
	(void)text_pick(got[p.is_custom ? 3 : 2].raw, p.is_custom ? custom : function, 2, inner,
		NULL, NULL);
	if (json_int(got[0], &p.index) != 0 || p.index < 0)
		p.index = NO_INDEX;
	p.id = plain(s, got[1]);
	p.name = plain(s, inner[0]);
	p.arguments = inner[1];
	if (got[4].type == JSON_OBJECT && frame_arena(s) != NULL)
		p.signature = chat_thought_signature(s->frame, got[4]);
	if (p.arguments.type == JSON_OBJECT) {
		struct arena *a = frame_arena(s);

		/* Some give the object itself. */
		p.arguments = (struct json_value){ JSON_STRING,
			a == NULL ? SPAN_NONE : text_quoted(a, p.arguments.raw) };
		if (p.arguments.raw.at == NULL)
			return -1;
	}
	return add_piece(s, c, &p);
}

static bool
each_piece(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;

	w->rc = read_piece(w->s, w->c, m->value);
	return w->rc == 0 && !w->s->over;
}

static int
read_function_call(struct stream *s, struct choice *c, struct json_value v)
{
	static const char *const names[] = { "name", "arguments" };
	struct json_value got[2];
	struct piece p = { .index = LEGACY };

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return 0;
	p.name = plain(s, got[0]);
	p.arguments = got[1];
	return add_piece(s, c, &p);
}

/* ---- reasoning ---- */

struct details {
	struct neutral_part part[DETAILS_MAX];
	size_t count;
};

static struct neutral_part *
note_detail(void *ctx, enum part_kind kind)
{
	struct details *d = ctx;

	if (d->count == DETAILS_MAX)
		return NULL;
	d->part[d->count] = (struct neutral_part){ .kind = kind };
	return &d->part[d->count++];
}

static int
add_reasoning(struct stream *s, struct choice *c, const struct neutral_part *p)
{
	struct json_value text = { JSON_STRING, p->text };
	struct slot *t;

	if (p->kind == PART_REDACTED) {
		if ((t = new_slot(s, c, PART_REDACTED)) == NULL)
			return gone(s);
		t->signer = p->signer;
		return hold(s, &t->signature, p->signature) != 0 ? -1 : advance(s, c, false);
	}
	if (add_text(s, c, PART_REASONING, text) != 0)
		return -1;
	if (s->over || p->signature.len == 0)
		return 0;
	t = c->count > 0 ? &c->slot[c->count - 1] : NULL;
	if ((t == NULL || t->kind != PART_REASONING || t->closed) &&
		(t = new_slot(s, c, PART_REASONING)) == NULL)
		return gone(s);
	t->signer = p->signer;
	let_go(s, &t->signature);
	if (hold(s, &t->signature, p->signature) != 0)
		return -1;
	return advance(s, c, false);
}

/* True when something of it was taken. */
static int
read_details(struct stream *s, struct choice *c, struct json_value v, bool *any)
{
	struct details d;
	struct arena *a = frame_arena(s);

	d.count = 0;
	*any = false;
	if (a == NULL)
		return -1;
	(void)chat_read_reasoning_details(a, v, note_detail, &d);
	for (size_t i = 0; i < d.count && !s->over; i++) {
		*any = true;
		if (add_reasoning(s, c, &d.part[i]) != 0)
			return -1;
	}
	return 0;
}

/* ---- the rest of a delta ---- */

/* Parts, as Mistral streams them; `thinking` is text, or parts again. */
static bool
each_part(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "type", "text", "thinking" };
	struct walk *w = ctx, inner = { w->s, w->c, PART_REASONING, 0 };
	struct json_value got[3];
	bool is_thinking;

	if (m->value.type != JSON_OBJECT || TEXT_PICK(m->value.raw, names, got) != 0)
		return true;
	is_thinking = got[2].type != JSON_NONE;
	if (is_thinking && got[2].type == JSON_ARRAY && w->kind == PART_TEXT) {
		(void)json_each_element(got[2].raw, each_part, &inner, NULL);
		w->rc = inner.rc;
	} else {
		w->rc = add_text(w->s, w->c, is_thinking ? PART_REASONING : w->kind,
			is_thinking ? got[2] : got[1]);
	}
	return w->rc == 0 && !w->s->over;
}

static bool
each_image(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;
	struct json_value url = json_path(m->value.raw, "image_url.url");
	struct neutral_part p = { .kind = PART_IMAGE };
	struct span text = plain(w->s, url);

	if (text.len == 0 || !chat_read_url(text, &p))
		return true;
	w->rc = add_media(w->s, w->c, PART_IMAGE, &p);
	return w->rc == 0 && !w->s->over;
}

/* Streams carry raw samples, a piece in each chunk; the transcript is what others have as text. */
static int
read_audio(struct stream *s, struct choice *c, struct json_value v)
{
	static const char *const names[] = { "data", "transcript" };
	struct neutral_part p = { .kind = PART_AUDIO, .mime = SPAN_LIT("audio/pcm") };
	struct json_value got[2];

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return 0;
	if (add_text(s, c, PART_TEXT, got[1]) != 0)
		return -1;
	p.data = plain(s, got[0]);
	return s->over || p.data.len == 0 ? 0 : add_media(s, c, PART_AUDIO, &p);
}

enum {
	CONTENT,
	REFUSAL,
	REASONING_CONTENT,
	REASONING,
	REASONING_DETAILS,
	TOOL_CALLS,
	FUNCTION_CALL,
	AUDIO,
	IMAGES,
	DELTA_FIELDS
};
static const char *const delta_fields[DELTA_FIELDS] = { "content", "refusal", "reasoning_content",
	"reasoning", "reasoning_details", "tool_calls", "function_call", "audio", "images" };

static int
read_reasoning(struct stream *s, struct choice *c, const struct json_value *got)
{
	bool any = false;

	if (got[REASONING_DETAILS].type == JSON_ARRAY &&
		read_details(s, c, got[REASONING_DETAILS], &any) != 0)
		return -1;
	if (any || s->over)
		return 0;
	return add_text(s, c, PART_REASONING,
		got[REASONING_CONTENT].type == JSON_STRING ? got[REASONING_CONTENT]
							   : got[REASONING]);
}

static int
read_delta(struct stream *s, struct choice *c, struct json_value delta)
{
	struct walk w = { s, c, PART_TEXT, 0 };
	struct json_value got[DELTA_FIELDS];

	if (delta.type != JSON_OBJECT ||
		text_pick(delta.raw, delta_fields, DELTA_FIELDS, got, NULL, NULL) != 0)
		return 0;
	if (read_reasoning(s, c, got) != 0)
		return -1;
	if (!s->over && got[CONTENT].type == JSON_ARRAY)
		(void)json_each_element(got[CONTENT].raw, each_part, &w, NULL);
	if (w.rc != 0 || (!s->over && add_text(s, c, PART_TEXT, got[CONTENT]) != 0) ||
		(!s->over && add_text(s, c, PART_REFUSAL, got[REFUSAL]) != 0) ||
		(!s->over && read_audio(s, c, got[AUDIO]) != 0))
		return -1;
	if (!s->over && got[IMAGES].type == JSON_ARRAY)
		(void)json_each_element(got[IMAGES].raw, each_image, &w, NULL);
	if (w.rc == 0 && !s->over && got[TOOL_CALLS].type == JSON_ARRAY)
		(void)json_each_element(got[TOOL_CALLS].raw, each_piece, &w, NULL);
	if (w.rc != 0)
		return -1;
	return s->over ? 0 : read_function_call(s, c, got[FUNCTION_CALL]);
}

/* ---- chunks ---- */

static int
read_choice(struct stream *s, struct json_value v)
{
	static const char *const names[] = { "index", "delta", "message", "finish_reason",
		"error" };
	struct json_value got[5];
	struct choice *c;
	enum finish said;
	int64_t index = 0;
	bool failed;

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return unreadable(s, "a choice that is no object");
	if (chat_is_error(got[4]))
		return fail_of_provider(s, v.raw);
	(void)json_int(got[0], &index);
	if (index < 0 || index >= NEUTRAL_CHOICES_MAX)
		return unreadable(s, "a choice out of range");
	c = &s->choice[index];
	c->seen = true;
	if (read_delta(s, c, got[1].type == JSON_OBJECT ? got[1] : got[2]) != 0)
		return -1;
	if (s->over)
		return 0;
	said = chat_finish(got[3], &failed);
	if (failed)
		return fail_of_provider(s, v.raw);
	if (said != FINISH_NONE)
		c->finish = said;
	return 0;
}

static bool
each_choice(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;

	w->rc = read_choice(w->s, m->value);
	return w->rc == 0 && !w->s->over;
}

static bool
note_any(void *ctx, const struct json_member *m)
{
	(void)m;
	*(bool *)ctx = true;
	return false;
}

static int
emit_usage(struct stream *s)
{
	struct neutral_event e = { .kind = EVENT_USAGE, .usage = s->usage };

	return s->emit(s->ctx, &e);
}

static int
start(struct stream *s, const struct json_value *id, const struct json_value *model,
	struct json_value created)
{
	struct neutral_event e = { .kind = EVENT_START };

	e.id = plain(s, *id);
	e.model = plain(s, *model);
	if (json_int(created, &e.created_s) != 0 || e.created_s < 0)
		e.created_s = 0;
	s->started = true;
	if (s->emit(s->ctx, &e) != 0)
		return -1;
	return s->usage.seen ? emit_usage(s) : 0;
}

static int
read_chunk(struct stream *s, struct span data)
{
	static const char *const names[] = { "id", "model", "created", "choices", "error", "usage",
		"x_groq", "service_tier", "object" };
	struct walk w = { .s = s };
	struct json_value got[9];
	char object[16];
	bool any = false;

	if (TEXT_PICK(data, names, got) != 0)
		return unreadable(s, "an event that is no JSON object");
	wire_copy_string(got[8], object, sizeof object);
	if (chat_is_error(got[4]) || strcmp(object, "error") == 0)
		return fail_of_provider(s, data);
	if (got[3].type == JSON_ARRAY)
		(void)json_each_element(got[3].raw, note_any, &any, NULL);
	/* Azure's first chunk has no choices and says nothing of the answer. */
	if (!s->started && any && start(s, &got[0], &got[1], got[2]) != 0)
		return -1;
	if (any)
		(void)json_each_element(got[3].raw, each_choice, &w, NULL);
	if (w.rc != 0 || s->over)
		return w.rc;
	if (got[5].type != JSON_OBJECT && got[6].type != JSON_OBJECT && got[7].type != JSON_STRING)
		return 0;
	openai_usage(data, &s->usage);
	if (got[7].type == JSON_STRING && got[5].type != JSON_OBJECT && got[6].type != JSON_OBJECT)
		return 0; /* the tier alone, in every chunk: goes with the figures */
	return s->started && s->usage.seen ? emit_usage(s) : 0;
}

/* ---- the end ---- */

static int
truncated(struct stream *s)
{
	return fail_because(s, "the stream ended early", CHAT_TRUNCATED);
}

static int
end(struct stream *s, bool is_said)
{
	struct neutral_event e = { .kind = EVENT_END };

	if (!s->started)
		return truncated(s);
	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++)
		if (s->choice[i].seen && s->choice[i].finish == FINISH_NONE && !is_said)
			return truncated(s);
	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++) {
		struct choice *c = &s->choice[i];
		struct neutral_event finish = { .kind = EVENT_FINISH, .choice = (int)i };

		if (!c->seen)
			continue;
		if (advance(s, c, true) != 0)
			return -1;
		if (s->over)
			return 0;
		finish.finish = neutral_finish(c->finish, c->has_calls);
		if (s->emit(s->ctx, &finish) != 0)
			return -1;
	}
	s->over = true;
	return s->emit(s->ctx, &e);
}

static int
with_frame(struct stream *s, neutral_emit *emit, void *ctx, const struct frame *f)
{
	struct span data = f == NULL ? SPAN_NONE : f->data;
	int rc;

	s->emit = emit;
	s->ctx = ctx;
	if (f == NULL)
		rc = end(s, false);
	else if (span_starts(data, "[DONE]"))
		rc = end(s, true);
	else
		rc = read_chunk(s, data);
	arena_free(s->frame);
	s->frame = NULL;
	return rc;
}

static bool
is_blank(struct span data)
{
	for (size_t i = 0; i < data.len; i++)
		if (strchr(" \t\r\n", data.at[i]) == NULL)
			return false;
	return true;
}

int
openai_chat_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx)
{
	struct stream *s = state;

	if (s->over || is_blank(f->data))
		return 0;
	return with_frame(s, emit, ctx, f);
}

int
openai_chat_read_end(void *state, neutral_emit *emit, void *ctx)
{
	struct stream *s = state;

	return s->over ? 0 : with_frame(s, emit, ctx, NULL);
}
