/*
 * signatures.c - records of what was signed, made and put back.
 *
 * A record: {"by":"anthropic","at":[{"t":"thought","s":"signature"},{"r":"redacted"}],"s":"of the
 * call","x":"of the text before it"}.  "n":1 in an element: text stood before it, so it goes behind
 * the text that is there.
 */
#include "wire/signatures.h"

#include "base/hash.h"
#include "wire/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST_BYTES 16
#define ITEMS_MAX    64 /* put back before one call */

static const char *const signer_names[] = { [SIGNER_NONE] = "",
	[SIGNER_ANTHROPIC] = "anthropic",
	[SIGNER_GEMINI] = "gemini",
	[SIGNER_OPENAI] = "openai" };

enum signer
signatures_of_format(const struct format *f)
{
	static const struct {
		enum format_id id;
		enum signer signer;
	} rows[] = { { FORMAT_OPENAI_RESPONSES, SIGNER_OPENAI },
		{ FORMAT_ANTHROPIC, SIGNER_ANTHROPIC }, { FORMAT_GEMINI, SIGNER_GEMINI },
		{ FORMAT_CONVERSE, SIGNER_ANTHROPIC }, { FORMAT_BEDROCK_INVOKE, SIGNER_ANTHROPIC },
		{ FORMAT_SAP_CONVERSE, SIGNER_ANTHROPIC },
		{ FORMAT_SAP_INVOKE, SIGNER_ANTHROPIC } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (f == format_of(rows[i].id))
			return rows[i].signer;
	return SIGNER_NONE;
}

/* ---- keys ---- */

static void
key_of_call(struct span id, char key[SIGNATURES_KEY_BYTES])
{
	struct arena *a = arena_new(4096);
	struct span clean = a == NULL ? SPAN_NONE : text_clean_id(a, id);

	/* As other dialects' writers make it, so that either form of it is found. */
	(void)snprintf(key, SIGNATURES_KEY_BYTES, "c:%.*s", (int)clean.len,
		clean.at == NULL ? "" : clean.at);
	arena_free(a);
}

static void
gather_plain(struct bytes *into, struct span text)
{
	for (size_t i = 0, from = 0; i <= text.len; i++)
		if (i == text.len || strchr(" \t\r\n", text.at[i]) != NULL) {
			if (i > from)
				(void)bytes_add(into, text.at + from, i - from);
			from = i + 1;
		}
}

/* Appends the text without its white space. */
static void
gather(struct bytes *into, struct span json_string)
{
	struct arena *a;
	struct span text;

	if (text_is_empty(json_string) || into->failed)
		return;
	if (memchr(json_string.at, '\\', json_string.len) == NULL) {
		gather_plain(into, text_inside(json_string));
		return;
	}
	if (json_string.len > SIGNATURES_TEXT_MAX * (size_t)6 ||
		(a = arena_new(json_string.len + 16384)) == NULL) {
		into->failed = true;
		return;
	}
	text = text_plain(a, (struct json_value){ JSON_STRING, json_string });
	if (text.at == NULL)
		into->failed =
			true; /* a character cut in two: its digest would not be found again */
	else
		gather_plain(into, text);
	arena_free(a);
}

/* False: there is no text to know the turn by. */
static bool
key_of_text(const struct bytes *text, char key[SIGNATURES_KEY_BYTES])
{
	uint8_t digest[SHA256_BYTES];

	if (text->failed || text->len == 0)
		return false;
	hash_sha256(text->at, text->len, digest);
	memcpy(key, "t:", 2);
	hash_hex(digest, DIGEST_BYTES, key + 2);
	return true;
}

/* ---- out of an answer ---- */

struct record {
	char key[SIGNATURES_KEY_BYTES];
	struct bytes json;
};

/* One choice as it comes by. */
struct turn {
	struct bytes text;      /* for the digest */
	struct bytes items;     /* elements of "at" since the last call */
	struct bytes thought;   /* of the open part: the inside of its JSON string */
	struct bytes signature; /* of the open part */
	struct bytes text_signature;
	enum signer signer; /* of what was gathered since the last call */
	bool spoke, called; /* text since the last call; a call in the turn */
	bool lost;          /* a ceiling was met */
	struct record *record;
	size_t count;
};

struct signatures {
	enum signer kept;
	size_t held; /* bytes of records */
	struct turn turn[SIGNATURES_CHOICES_MAX];
};

struct signatures *
signatures_new(enum signer kept)
{
	struct signatures *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->kept = kept;
	for (size_t i = 0; i < SIGNATURES_CHOICES_MAX; i++) {
		struct turn *t = &s->turn[i];

		t->text = BYTES_LIMIT(SIGNATURES_TEXT_MAX);
		t->items = t->thought = t->signature = t->text_signature =
			BYTES_LIMIT(SIGNATURES_RECORD_MAX);
	}
	return s;
}

void
signatures_free(struct signatures *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < SIGNATURES_CHOICES_MAX; i++) {
		struct turn *t = &s->turn[i];

		bytes_free(&t->text);
		bytes_free(&t->items);
		bytes_free(&t->thought);
		bytes_free(&t->signature);
		bytes_free(&t->text_signature);
		for (size_t k = 0; k < t->count; k++)
			bytes_free(&t->record[k].json);
		free(t->record);
	}
	free(s);
}

/* What the client's own dialect does not carry. */
static bool
is_wanted(const struct signatures *s, const struct neutral_event *e)
{
	return e->part.signer != SIGNER_NONE && e->part.signer != s->kept;
}

static void
set(struct bytes *b, struct span s)
{
	bytes_free(b);
	(void)bytes_add(b, s.at, s.len);
}

/* An element of "at" out of the part that ended. */
static void
add_item(struct turn *t, enum part_kind kind)
{
	struct json_out o = { &t->items, t->items.len > 0 };

	out_open(&o, NULL, '{');
	if (kind == PART_REASONING) {
		out_string_begin(&o, "t");
		out_string_inside(&o, bytes_span(&t->thought));
		out_string_end(&o);
	}
	out_text(&o, kind == PART_REASONING ? "s" : "r", bytes_span(&t->signature));
	if (t->spoke)
		out_int(&o, "n", 1);
	out_close(&o, '}');
}

static void
make_record(struct turn *t, struct bytes *json, struct span call_signature)
{
	struct json_out o = { json, false };

	out_open(&o, NULL, '{');
	out_string(&o, "by", signer_names[t->signer]);
	if (t->items.len > 0) {
		out_open(&o, "at", '[');
		(void)bytes_add(json, t->items.at, t->items.len);
		out_close(&o, ']');
	}
	if (call_signature.len > 0)
		out_text(&o, "s", call_signature);
	if (t->text_signature.len > 0)
		out_text(&o, "x", bytes_span(&t->text_signature));
	out_close(&o, '}');
	if (json->failed || t->items.failed || t->text_signature.failed)
		t->lost = true;
}

/* A call's record; what was gathered before it begins anew.  0, or -1 out of memory. */
static int
end_call(struct signatures *s, struct turn *t, const struct neutral_event *e)
{
	struct record *r;

	t->called = true;
	if (t->items.len + t->signature.len + t->text_signature.len > 0 &&
		t->count < SIGNATURES_CALLS_MAX) {
		if (t->record == NULL)
			t->record = calloc(SIGNATURES_CALLS_MAX, sizeof *t->record);
		if (t->record == NULL)
			return -1;
		r = &t->record[t->count++];
		r->json = BYTES_LIMIT(SIGNATURES_RECORD_MAX);
		key_of_call(e->part.call_id, r->key);
		make_record(t, &r->json, bytes_span(&t->signature));
		s->held += r->json.len;
		if (s->held > SIGNATURES_ANSWER_MAX) {
			t->lost = true;
			s->held -= r->json.len;
			bytes_free(&r->json);
		}
	}
	bytes_free(&t->items);
	bytes_free(&t->text_signature);
	t->spoke = false;
	return 0;
}

static void
begin_part(struct signatures *s, struct turn *t, const struct neutral_event *e)
{
	bytes_free(&t->thought);
	bytes_free(&t->signature);
	if (e->part.kind == PART_REDACTED && is_wanted(s, e)) {
		t->signer = e->part.signer;
		set(&t->signature, e->part.signature);
	}
}

static void
note_delta(struct signatures *s, struct turn *t, const struct neutral_event *e)
{
	struct span inside = text_inside(e->text);

	if (e->part.kind == PART_REASONING && inside.len > 0)
		(void)bytes_add(&t->thought, inside.at, inside.len);
	if (e->part.kind == PART_TEXT && inside.len > 0) {
		gather(&t->text, e->text);
		t->spoke = true;
	}
	if (e->signature.len == 0 || !is_wanted(s, e))
		return;
	t->signer = e->part.signer;
	set(&t->signature, e->signature);
}

static int
end_part(struct signatures *s, struct turn *t, const struct neutral_event *e)
{
	if (t->thought.failed || t->signature.failed)
		t->lost = true;
	if (e->part.kind == PART_TOOL_CALL)
		return end_call(s, t, e);
	if (t->signature.len == 0)
		return 0;
	if (e->part.kind == PART_REASONING || e->part.kind == PART_REDACTED)
		add_item(t, e->part.kind);
	else if (e->part.kind == PART_TEXT)
		set(&t->text_signature, bytes_span(&t->signature));
	return 0;
}

int
signatures_note(struct signatures *s, const struct neutral_event *e)
{
	struct turn *t;

	if (e->kind != EVENT_PART && e->kind != EVENT_DELTA && e->kind != EVENT_PART_END)
		return 0;
	if (e->choice < 0 || e->choice >= SIGNATURES_CHOICES_MAX)
		return 0;
	t = &s->turn[e->choice];
	if (e->kind == EVENT_PART)
		begin_part(s, t, e);
	else if (e->kind == EVENT_DELTA)
		note_delta(s, t, e);
	else
		return end_part(s, t, e);
	return 0;
}

static int
give_turn(struct turn *t, signatures_put *put, void *ctx)
{
	struct bytes json = BYTES_LIMIT(SIGNATURES_RECORD_MAX);
	char key[SIGNATURES_KEY_BYTES];
	int rc = 0;

	for (size_t i = 0; i < t->count && !t->lost && rc == 0; i++)
		rc = put(ctx, t->record[i].key, bytes_span(&t->record[i].json));
	if (rc != 0 || t->lost || t->called || t->items.len + t->text_signature.len == 0 ||
		!key_of_text(&t->text, key))
		return rc;
	make_record(t, &json, SPAN_NONE);
	if (!t->lost)
		rc = put(ctx, key, bytes_span(&json));
	bytes_free(&json);
	return rc;
}

int
signatures_give(struct signatures *s, signatures_put *put, void *ctx)
{
	for (size_t i = 0; i < SIGNATURES_CHOICES_MAX; i++)
		if (give_turn(&s->turn[i], put, ctx) != 0)
			return -1;
	return 0;
}

static int
note_event(void *ctx, const struct neutral_event *e)
{
	return signatures_note(ctx, e);
}

int
signatures_of_reply(const struct neutral_reply *r, enum signer kept, signatures_put *put, void *ctx)
{
	struct signatures *s = signatures_new(kept);
	int rc = s == NULL || neutral_replay(r, note_event, s) != 0 ? -1
								    : signatures_give(s, put, ctx);

	signatures_free(s);
	return rc;
}

/* ---- back into a request ---- */

/* A record read. */
struct found {
	struct neutral_part item[ITEMS_MAX];
	bool behind_text[ITEMS_MAX];
	size_t count;
	struct span call, text; /* signatures */
};

struct restore {
	struct neutral_request *n;
	enum signer target;
	signatures_look *look;
	void *ctx;
	struct err *err;
	size_t looks;
	struct found *found; /* scratch: of the record looked at */
};

static bool
read_item(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "t", "s", "r", "n" };
	struct restore *r = ctx;
	struct found *f = r->found;
	struct json_value v[4];
	struct neutral_part p = { .signer = r->target };

	if (f->count == ITEMS_MAX || TEXT_PICK(m->value.raw, names, v) != 0)
		return false;
	p.kind = v[2].type == JSON_STRING ? PART_REDACTED : PART_REASONING;
	p.signature = text_plain(r->n->arena, p.kind == PART_REDACTED ? v[2] : v[1]);
	if (p.kind == PART_REASONING)
		p.text = v[0].type == JSON_STRING ? v[0].raw : SPAN_LIT("\"\"");
	if (p.signature.len == 0)
		return true;
	f->behind_text[f->count] = v[3].type == JSON_NUMBER;
	f->item[f->count++] = p;
	return true;
}

/* False: there is none for this target. */
static bool
find(struct restore *r, const char *key)
{
	static const char *const names[] = { "by", "at", "s", "x" };
	struct found *f = r->found;
	struct json_value v[4];
	struct span record;

	f->count = 0;
	f->call = f->text = SPAN_NONE;
	if (r->looks == SIGNATURES_LOOKS_MAX)
		return false;
	r->looks++;
	record = r->look(r->ctx, r->n->arena, key);
	if (record.at == NULL || TEXT_PICK(record, names, v) != 0 ||
		!span_is(text_plain(r->n->arena, v[0]), signer_names[r->target]))
		return false;
	if (v[1].type == JSON_ARRAY)
		(void)json_each_element(v[1].raw, read_item, r, NULL);
	f->call = text_plain(r->n->arena, v[2]);
	f->text = text_plain(r->n->arena, v[3]);
	return true;
}

/* Does the turn still have what its target signed? */
static bool
is_signed(const struct neutral_message *m, enum signer target)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->part[i].signer == target && m->part[i].signature.len > 0)
			return true;
	return false;
}

/* A message's parts on their way into what they become: in place, until something is put in. */
struct line {
	struct neutral_part *part;
	size_t count, put_in, room; /* room 0: it is the message's own */
};

static int
make_room(struct restore *r, const struct neutral_message *m, struct line *l)
{
	size_t room = 1;
	struct neutral_part *bigger;

	while (room < m->count + l->put_in) /* as all arrays of parts grow */
		room *= 2;
	if (room <= l->room)
		return 0;
	bigger = arena_alloc(r->n->arena, room * sizeof *bigger);
	if (bigger == NULL)
		return err_set(r->err, ERR_MEMORY, "no memory for a message's signatures");
	if (l->count > 0)
		memcpy(bigger, l->part, l->count * sizeof *bigger);
	l->part = bigger;
	l->room = room;
	return 0;
}

static void
sign_text(struct restore *r, struct line *l, size_t from)
{
	for (size_t i = l->count; i > from && r->found->text.len > 0; i--)
		if (l->part[i - 1].kind == PART_TEXT) {
			l->part[i - 1].signature = r->found->text;
			l->part[i - 1].signer = r->target;
			return;
		}
}

/* What was found, around the parts from `from` to the line's end, where a call or nothing follows.
 * 0, or -1 with ERR_MEMORY. */
static int
put_back(struct restore *r, const struct neutral_message *m, struct line *l, size_t from)
{
	const struct found *f = r->found;
	size_t first = 0, at = from;

	sign_text(r, l, from);
	if (f->count == 0 || l->put_in + f->count > SIGNATURES_PARTS_MAX)
		return 0;
	l->put_in += f->count;
	if (make_room(r, m, l) != 0)
		return -1;
	for (size_t i = 0; i < f->count; i++)
		first += !f->behind_text[i];
	memmove(l->part + from + first, l->part + from, (l->count - from) * sizeof *l->part);
	l->count += first;
	for (size_t i = 0; i < f->count; i++)
		if (f->behind_text[i])
			l->part[l->count++] = f->item[i];
		else
			l->part[at++] = f->item[i];
	return 0;
}

/* 0, or -1 with ERR_MEMORY. */
static int
restore_calls(struct restore *r, struct neutral_message *m)
{
	struct line l = { .part = m->part };
	char key[SIGNATURES_KEY_BYTES];
	size_t from = 0;

	for (size_t i = 0; i < m->count; i++) {
		struct neutral_part p = m->part[i];

		if (p.kind == PART_TOOL_CALL) {
			key_of_call(p.call_id, key);
			if (find(r, key)) {
				if (put_back(r, m, &l, from) != 0)
					return -1;
				if (r->found->call.len > 0) {
					p.signature = r->found->call;
					p.signer = r->target;
				}
			}
			from = l.count + 1;
		}
		l.part[l.count++] = p;
	}
	m->part = l.part;
	m->count = l.count;
	return 0;
}

static int
restore_text(struct restore *r, struct neutral_message *m)
{
	struct line l = { .part = m->part, .count = m->count };
	struct bytes text = BYTES_LIMIT(SIGNATURES_TEXT_MAX);
	char key[SIGNATURES_KEY_BYTES];
	bool known;

	for (size_t i = 0; i < m->count; i++)
		if (m->part[i].kind == PART_TEXT)
			gather(&text, m->part[i].text);
	known = key_of_text(&text, key);
	bytes_free(&text);
	if (!known || !find(r, key))
		return 0;
	/* Where the text was parted is not known any more. */
	memset(r->found->behind_text, 0, sizeof r->found->behind_text);
	if (put_back(r, m, &l, 0) != 0)
		return -1;
	m->part = l.part;
	m->count = l.count;
	return 0;
}

static bool
has_call(const struct neutral_message *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->part[i].kind == PART_TOOL_CALL)
			return true;
	return false;
}

int
signatures_restore(struct neutral_request *n, enum signer target, signatures_look *look, void *ctx,
	struct err *err)
{
	struct restore r = { .n = n, .target = target, .look = look, .ctx = ctx, .err = err };

	if (target == SIGNER_NONE)
		return 0;
	r.found = arena_alloc(n->arena, sizeof *r.found);
	if (r.found == NULL)
		return err_set(err, ERR_MEMORY, "no memory to look for signatures");
	/* The newest first: those a provider cannot do without. */
	for (size_t i = n->message_count; i > 0 && r.looks < SIGNATURES_LOOKS_MAX; i--) {
		struct neutral_message *m = &n->message[i - 1];

		if (m->role != ROLE_ASSISTANT || is_signed(m, target))
			continue;
		if ((has_call(m) ? restore_calls(&r, m) : restore_text(&r, m)) != 0)
			return -1;
	}
	return 0;
}
