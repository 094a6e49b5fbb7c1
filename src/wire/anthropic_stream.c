/*
 * anthropic_stream.c - the events of Anthropic's messages, read and written.
 *
 * Anthropic keeps one block open at a time; servers that speak its dialect do not always.  Texts that
 * are interleaved become parts one after the other; what comes while a tool call is open waits for its
 * end, because half a call is of no use.
 */
#include "wire/anthropic-int.h"
#include "wire/anthropic.h"

#include "base/hash.h"
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

struct block {
	struct block *next;
	int64_t index;
	enum part_kind kind;
	bool skipped; /* a provider's own tool: nothing of it is told */
	bool begun;   /* its PART was given */
	bool ended;   /* no more of it comes */
	bool any;     /* of a call: arguments came */
	bool whole;   /* … all at once, with its start */
	char id[ANTHROPIC_NAME_BYTES], name[ANTHROPIC_NAME_BYTES];
	struct bytes text;      /* what waits: insides of JSON strings */
	struct bytes signature; /* plain */
};

struct anthropic_reader {
	bool ready, started, over, calls;
	struct block *first; /* the open one; behind it those that wait */
	size_t blocks, held;
	enum finish finish;
	struct bytes stop_sequence; /* JSON string */
	struct wire_usage usage;
	neutral_emit *emit; /* of the call under way */
	void *ctx;
};
const size_t anthropic_reader_bytes = sizeof(struct anthropic_reader);

static void
block_free(struct block *b)
{
	bytes_free(&b->text);
	bytes_free(&b->signature);
	free(b);
}

void
anthropic_reader_free(void *state)
{
	struct anthropic_reader *r = state;

	while (r->first != NULL) {
		struct block *b = r->first;

		r->first = b->next;
		block_free(b);
	}
	bytes_free(&r->stop_sequence);
}

static int
give(struct anthropic_reader *r, const struct neutral_event *e)
{
	return r->emit(r->ctx, e);
}

static int
give_error(struct anthropic_reader *r, const struct err *err)
{
	struct neutral_event e = { .kind = EVENT_ERROR, .err = err };

	r->over = true;
	return give(r, &e);
}

static int
fail(struct anthropic_reader *r, const char *text, const char *says)
{
	struct err err = { .code = ERR_NONE };

	(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "%s", text);
	(void)err_say(&err, "%s", says);
	return give_error(r, &err);
}

static int
give_start(struct anthropic_reader *r, struct span id, struct span model)
{
	struct neutral_event e = { .kind = EVENT_START, .id = id, .model = model };

	r->started = true;
	return give(r, &e);
}

static int
need_start(struct anthropic_reader *r)
{
	return r->started ? 0 : give_start(r, SPAN_LIT(""), SPAN_LIT(""));
}

static int
give_usage(struct anthropic_reader *r, struct span object, bool whole_event)
{
	struct neutral_event e = { .kind = EVENT_USAGE };

	if (whole_event)
		anthropic_usage(object, &r->usage);
	else
		anthropic_take_usage(object, &r->usage);
	e.usage = r->usage;
	return r->usage.seen ? give(r, &e) : 0;
}

/* ---- blocks in their order ---- */

static struct neutral_event
event_of(const struct block *b, enum event_kind kind)
{
	struct neutral_event e = { .kind = kind };

	e.part.kind = b->kind;
	if (b->kind == PART_TOOL_CALL) {
		e.part.call_id = span_of(b->id);
		e.part.name = span_of(b->name);
	} else if (b->kind != PART_TEXT) {
		e.part.signer = SIGNER_ANTHROPIC;
	}
	if (b->kind == PART_REDACTED)
		e.part.signature = bytes_span(&b->signature);
	return e;
}

static int
give_text(struct anthropic_reader *r, struct block *b, struct span json_string)
{
	struct neutral_event e = event_of(b, EVENT_DELTA);

	if (b->skipped || text_is_empty(json_string))
		return 0;
	b->any = true;
	e.text = json_string;
	return give(r, &e);
}

static int
give_held(struct anthropic_reader *r, struct block *b)
{
	int rc;

	if (b->text.len == 0)
		return 0;
	r->held -= b->text.len < r->held ? b->text.len : r->held;
	if (bytes_add(&b->text, "\"", 1) != 0)
		return -1;
	rc = give_text(r, b, bytes_span(&b->text));
	bytes_free(&b->text);
	return rc;
}

static int
begin_block(struct anthropic_reader *r, struct block *b)
{
	struct neutral_event e = event_of(b, EVENT_PART);

	b->begun = true;
	if (b->skipped)
		return 0;
	if (give(r, &e) != 0)
		return -1;
	return give_held(r, b);
}

static int
end_block(struct anthropic_reader *r, struct block *b)
{
	struct neutral_event e = event_of(b, EVENT_DELTA);

	if (b->skipped)
		return 0;
	if (b->kind == PART_TOOL_CALL && !b->any && give_text(r, b, SPAN_LIT("\"{}\"")) != 0)
		return -1;
	if (b->kind == PART_REASONING && b->signature.len > 0) {
		e.signature = bytes_span(&b->signature);
		if (give(r, &e) != 0)
			return -1;
	}
	e = event_of(b, EVENT_PART_END);
	return give(r, &e);
}

/* Gives what may be given: the first block's begin, its end, and then the next one's. */
static int
pump(struct anthropic_reader *r)
{
	while (r->first != NULL) {
		struct block *b = r->first;
		int rc;

		if (!b->begun && begin_block(r, b) != 0)
			return -1;
		if (b->next != NULL && (b->kind != PART_TOOL_CALL || b->skipped))
			b->ended = true;
		if (!b->ended)
			return 0;
		rc = end_block(r, b);
		r->first = b->next;
		r->blocks--;
		block_free(b);
		if (rc != 0)
			return -1;
	}
	return 0;
}

static struct block *
find(struct anthropic_reader *r, struct json_value index)
{
	struct block *b = r->first, *newest = NULL;
	int64_t n = -1;

	if (index.type == JSON_NUMBER)
		(void)json_int(index, &n);
	for (; b != NULL; b = b->next) {
		if (index.type == JSON_NUMBER && b->index == n && !b->ended)
			return b;
		newest = b->ended ? newest : b;
	}
	return index.type == JSON_NUMBER ? NULL : newest;
}

/* NULL: no memory, or too many wait (an error was given). */
static struct block *
add_block(struct anthropic_reader *r, struct json_value index, enum part_kind kind)
{
	struct block *b, **end = &r->first;

	if (r->blocks == ANTHROPIC_HELD_BLOCKS_MAX)
		return NULL;
	b = calloc(1, sizeof *b);
	if (b == NULL)
		return NULL;
	*b = (struct block){ .kind = kind,
		.index = -1,
		.text = BYTES_LIMIT(ANTHROPIC_HELD_MAX + 2),
		.signature = BYTES_LIMIT(ANTHROPIC_SIGNATURE_MAX) };
	if (index.type == JSON_NUMBER)
		(void)json_int(index, &b->index);
	while (*end != NULL)
		end = &(*end)->next;
	*end = b;
	r->blocks++;
	return b;
}

/* More text of a block: given, or kept until its turn. */
static int
more_text(struct anthropic_reader *r, struct block *b, struct json_value text)
{
	struct span inside;

	if (text.type != JSON_STRING || b->skipped || b->whole)
		return 0;
	if (b == r->first && b->begun)
		return give_text(r, b, text.raw);
	inside = text_inside(text.raw);
	if (inside.len == 0)
		return 0;
	r->held += inside.len;
	if (r->held > ANTHROPIC_HELD_MAX)
		return fail(r, "too much waits for a tool call's end",
			"The provider's stream is out of order, and too long to be put in order.");
	if (b->text.len == 0)
		(void)bytes_add(&b->text, "\"", 1);
	return bytes_add(&b->text, inside.at, inside.len);
}

/* 0 also when it is too long or no text: then it is left out, since half of it is of no use. */
static int
more_signature(struct block *b, struct json_value v)
{
	struct span inside = v.type == JSON_STRING ? text_inside(v.raw) : SPAN_NONE;
	char *room;
	ptrdiff_t len;

	if (inside.len == 0 || inside.len > ANTHROPIC_SIGNATURE_MAX - b->signature.len)
		return 0;
	if (memchr(inside.at, '\\', inside.len) == NULL)
		return bytes_add(&b->signature, inside.at, inside.len);
	room = malloc(inside.len + 1);
	if (room == NULL)
		return -1;
	len = json_string(v, room, inside.len + 1);
	if (len > 0)
		(void)bytes_add(&b->signature, room, (size_t)len);
	free(room);
	return b->signature.failed ? -1 : 0;
}

static int
out_of_order(struct anthropic_reader *r)
{
	return fail(r, "a fragment of a block that is not open",
		"The provider's stream is out of order.");
}

/* ---- events ---- */

static void
make_id(char out[ANTHROPIC_NAME_BYTES])
{
	unsigned char dice[12];

	hash_random(dice, sizeof dice);
	memcpy(out, "toolu_", 6);
	hash_hex(dice, sizeof dice, out + 6);
}

static bool
has_members(struct span object)
{
	for (size_t i = 1; i + 1 < object.len; i++)
		if (strchr(" \t\r\n", object.at[i]) == NULL)
			return true;
	return false;
}

static int
start_call(struct anthropic_reader *r, struct block *b, const struct json_value *m)
{
	r->calls = true;
	if (json_string(m[BLOCK_NAME], b->name, sizeof b->name) <= 0)
		return fail(r, "a tool call without a name",
			"The provider sent a tool call without a name.");
	if (json_string(m[BLOCK_ID], b->id, sizeof b->id) <= 0)
		make_id(b->id);
	if (m[BLOCK_INPUT].type != JSON_OBJECT || !has_members(m[BLOCK_INPUT].raw))
		return 0;
	(void)bytes_add(&b->text, "\"", 1);
	(void)bytes_json_inside(&b->text, m[BLOCK_INPUT].raw);
	b->whole = true;
	r->held += b->text.len;
	if (b->text.failed)
		return fail(r, "a tool call's input is too long",
			"The provider sent a tool call that is too long.");
	return 0;
}

static int
on_block_start(struct anthropic_reader *r, struct json_value index, struct json_value block)
{
	static const struct {
		const char *type;
		enum part_kind kind;
	} kinds[] = { { "\"text\"", PART_TEXT }, { "\"thinking\"", PART_REASONING },
		{ "\"redacted_thinking\"", PART_REDACTED }, { "\"tool_use\"", PART_TOOL_CALL } };
	struct json_value m[BLOCK_MEMBERS];
	struct block *b = find(r, index);
	size_t kind = 0;
	int rc = 0;

	if (block.type != JSON_OBJECT)
		return 0;
	(void)TEXT_PICK(block.raw, anthropic_block_names, m);
	while (kind < 4 && !span_is(m[BLOCK_TYPE].raw, kinds[kind].type))
		kind++;
	if (b != NULL && index.type == JSON_NUMBER)
		b->ended = true; /* the same index again */
	if (need_start(r) != 0)
		return -1;
	if (r->blocks == ANTHROPIC_HELD_BLOCKS_MAX)
		return out_of_order(r);
	b = add_block(r, index, kind < 4 ? kinds[kind].kind : PART_TEXT);
	if (b == NULL)
		return -1;
	b->skipped = kind == 4;
	b->ended = b->kind == PART_REDACTED;
	if (b->kind == PART_TOOL_CALL)
		rc = start_call(r, b, m);
	else if (b->kind == PART_REDACTED)
		rc = more_signature(b, m[BLOCK_DATA]);
	else if (b->kind == PART_REASONING)
		rc = more_signature(b, m[BLOCK_SIGNATURE]);
	if (rc != 0 || r->over || pump(r) != 0)
		return r->over ? rc : -1;
	/* what the start holds already; the block may be gone where it needed no more */
	b = find(r, index);
	if (b == NULL || b->kind == PART_TOOL_CALL || b->kind == PART_REDACTED)
		return 0;
	return more_text(r, b, m[b->kind == PART_TEXT ? BLOCK_TEXT : BLOCK_THINKING]);
}

static int
on_delta(struct anthropic_reader *r, struct json_value index, struct json_value delta)
{
	static const char *const names[] = { "type", "text", "thinking", "partial_json",
		"signature" };
	struct json_value m[5];
	struct block *b = find(r, index);
	enum part_kind kind;
	struct json_value text;

	if (delta.type != JSON_OBJECT)
		return 0;
	(void)TEXT_PICK(delta.raw, names, m);
	if (span_is(m[0].raw, "\"signature_delta\"")) {
		if (b == NULL || b->kind != PART_REASONING || b->skipped)
			return 0;
		return more_signature(b, m[4]);
	}
	if (span_is(m[0].raw, "\"text_delta\"")) {
		kind = PART_TEXT;
		text = m[1];
	} else if (span_is(m[0].raw, "\"thinking_delta\"")) {
		kind = PART_REASONING;
		text = m[2];
	} else if (span_is(m[0].raw, "\"input_json_delta\"")) {
		kind = PART_TOOL_CALL;
		text = m[3];
	} else {
		return 0; /* citations, and what came up later */
	}
	if (b != NULL && (b->skipped || b->kind != kind))
		return 0;
	if (b == NULL && kind == PART_TOOL_CALL)
		return text_is_empty(text.raw) ? 0 : out_of_order(r);
	if (b == NULL) {
		if (text_is_empty(text.raw))
			return 0;
		if (need_start(r) != 0)
			return -1;
		if (r->blocks == ANTHROPIC_HELD_BLOCKS_MAX)
			return out_of_order(r);
		if (add_block(r, index, kind) == NULL || pump(r) != 0)
			return -1;
		b = find(r, index);
	}
	return b == NULL ? 0 : more_text(r, b, text);
}

static int
on_block_stop(struct anthropic_reader *r, struct json_value index)
{
	struct block *b = find(r, index);

	if (b == NULL)
		return 0;
	b->ended = true;
	return pump(r);
}

static int
on_message_start(struct anthropic_reader *r, struct json_value message)
{
	static const char *const names[] = { "id", "model", "usage" };
	char id[ANTHROPIC_NAME_BYTES] = "", model[ANTHROPIC_NAME_BYTES] = "";
	struct json_value m[3] = { { JSON_NONE, SPAN_NONE } };

	if (message.type == JSON_OBJECT)
		(void)TEXT_PICK(message.raw, names, m);
	if (!r->started) {
		if (json_string(m[0], id, sizeof id) < 0)
			id[0] = '\0';
		if (json_string(m[1], model, sizeof model) < 0)
			model[0] = '\0';
		if (give_start(r, span_of(id), span_of(model)) != 0)
			return -1;
	}
	return m[2].type == JSON_OBJECT ? give_usage(r, m[2].raw, false) : 0;
}

static int
on_message_delta(struct anthropic_reader *r, struct json_value delta, struct span event)
{
	static const char *const names[] = { "stop_reason", "stop_sequence" };
	struct json_value m[2] = { { JSON_NONE, SPAN_NONE }, { JSON_NONE, SPAN_NONE } };
	enum finish finish;

	if (delta.type == JSON_OBJECT)
		(void)TEXT_PICK(delta.raw, names, m);
	finish = anthropic_finish(m[0]);
	if (finish != FINISH_NONE)
		r->finish = finish;
	if (m[1].type == JSON_STRING && m[1].raw.len < ANTHROPIC_STOP_BYTES) {
		bytes_free(&r->stop_sequence);
		r->stop_sequence.limit = ANTHROPIC_STOP_BYTES;
		if (bytes_add(&r->stop_sequence, m[1].raw.at, m[1].raw.len) != 0)
			return -1;
	}
	if (need_start(r) != 0)
		return -1;
	return give_usage(r, event, true);
}

static int
on_message_stop(struct anthropic_reader *r, struct span event)
{
	struct neutral_event finish = { .kind = EVENT_FINISH }, end = { .kind = EVENT_END };

	if (need_start(r) != 0)
		return -1;
	for (struct block *b = r->first; b != NULL; b = b->next)
		b->ended = true;
	if (pump(r) != 0)
		return -1;
	if (json_get(event, ANTHROPIC_METRICS).type == JSON_OBJECT &&
		give_usage(r, event, true) != 0)
		return -1;
	finish.finish = neutral_finish(r->finish, r->calls);
	if (finish.finish == FINISH_STOP_SEQUENCE && r->stop_sequence.len > 0)
		finish.stop_sequence = bytes_span(&r->stop_sequence);
	if (give(r, &finish) != 0)
		return -1;
	r->over = true;
	return give(r, &end);
}

static int
on_error(struct anthropic_reader *r, struct span event)
{
	struct err err = { .code = ERR_NONE };

	(void)error_of_provider(event, &err);
	return give_error(r, &err);
}

static int
dispatch(struct anthropic_reader *r, struct span type, const struct json_value *m, struct span json)
{
	struct neutral_event ping = { .kind = EVENT_PING };

	if (span_is(type, "content_block_delta"))
		return on_delta(r, m[1], m[2]);
	if (span_is(type, "content_block_start"))
		return on_block_start(r, m[1], m[3]);
	if (span_is(type, "content_block_stop"))
		return on_block_stop(r, m[1]);
	if (span_is(type, "message_start"))
		return on_message_start(r, m[4]);
	if (span_is(type, "message_delta"))
		return on_message_delta(r, m[2], json);
	if (span_is(type, "message_stop"))
		return on_message_stop(r, json);
	if (span_is(type, "error") || m[5].type == JSON_OBJECT)
		return on_error(r, json);
	if (span_is(type, "ping") && r->started)
		return give(r, &ping);
	return 0;
}

int
anthropic_read_event(struct anthropic_reader *r, struct span name, struct span json,
	neutral_emit *emit, void *ctx)
{
	static const char *const names[] = { "type", "index", "delta", "content_block", "message",
		"error" };
	struct json_value m[6];
	struct span type;

	if (!r->ready)
		r->usage = WIRE_USAGE_NONE;
	r->ready = true;
	r->emit = emit;
	r->ctx = ctx;
	if (r->over || json.len == 0 || span_starts(json, "[DONE]"))
		return 0;
	if (TEXT_PICK(json, names, m) != 0)
		return fail(r, "an event that is no JSON object",
			"The provider sent an event that could not be read.");
	type = m[0].type == JSON_STRING ? text_inside(m[0].raw) : name;
	return dispatch(r, type, m, json);
}

int
anthropic_read_failure(
	struct anthropic_reader *r, const struct err *err, neutral_emit *emit, void *ctx)
{
	r->emit = emit;
	r->ctx = ctx;
	return r->over ? 0 : give_error(r, err);
}

int
anthropic_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx)
{
	return anthropic_read_event(state, f->name, f->data, emit, ctx);
}

int
anthropic_read_end(void *state, neutral_emit *emit, void *ctx)
{
	struct anthropic_reader *r = state;

	r->emit = emit;
	r->ctx = ctx;
	if (r->over)
		return 0;
	return fail(r, "the stream ended before message_stop",
		"The provider's stream ended before its answer was complete.");
}

/* ---- writing ---- */

struct anthropic_writer {
	bool started; /* START was seen */
	bool opened; /* … and message_start written: it waits for what else is known at the start */
	bool over;
	char id[ANTHROPIC_NAME_BYTES], model[ANTHROPIC_NAME_BYTES];
	bool block;     /* a block is open */
	bool signature; /* … and has its signature */
	int64_t index;  /* of the open block, or the next */
	bool calls;
	enum finish finish;
	struct bytes stop_sequence; /* JSON string */
	struct wire_usage usage;
	struct bytes scratch; /* an event's JSON */
	/* of the call under way */
	enum anthropic_flavour flavour;
	struct bytes *out;
	struct json_out o;
};
const size_t anthropic_writer_bytes = sizeof(struct anthropic_writer);

void
anthropic_writer_free(void *state)
{
	struct anthropic_writer *w = state;

	bytes_free(&w->stop_sequence);
	bytes_free(&w->scratch);
}

static struct json_out *
begin_event(struct anthropic_writer *w, const char *type)
{
	w->scratch.len = 0;
	w->scratch.limit = FRAME_BYTES_MAX;
	w->o = (struct json_out){ .to = &w->scratch };
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", type);
	return &w->o;
}

static int
end_event(struct anthropic_writer *w, const char *type)
{
	out_close(&w->o, '}');
	if (w->scratch.failed)
		w->out->failed = true;
	return w->out->failed
		       ? -1
		       : anthropic_put_event(w->out, w->flavour, type, bytes_span(&w->scratch));
}

static int
write_start(struct anthropic_writer *w, const struct reply_options *o)
{
	struct json_out *j;

	if (w->opened || !w->started)
		return 0;
	w->opened = true;
	j = begin_event(w, "message_start");
	out_open(j, "message", '{');
	out_string(j, "id", w->id);
	out_string(j, "type", "message");
	out_string(j, "role", "assistant");
	out_string(j, "model", o->model != NULL ? o->model : w->model);
	out_open(j, "content", '[');
	out_close(j, ']');
	out_null(j, "stop_reason");
	out_null(j, "stop_sequence");
	anthropic_put_usage(j, "usage", &w->usage);
	out_close(j, '}');
	return end_event(w, "message_start");
}

static int
open_block(struct anthropic_writer *w, const struct neutral_part *p)
{
	struct json_out *j;

	if (w->block)
		return 0;
	w->block = true;
	w->signature = false;
	j = begin_event(w, "content_block_start");
	out_int(j, "index", w->index);
	out_open(j, "content_block", '{');
	switch (p->kind) {
	case PART_TOOL_CALL:
		w->calls = true;
		out_string(j, "type", "tool_use");
		out_text(j, "id", p->call_id);
		out_text(j, "name", p->name);
		out_json(j, "input", SPAN_LIT("{}"));
		break;
	case PART_REASONING:
		out_string(j, "type", "thinking");
		out_string(j, "thinking", "");
		out_string(j, "signature", "");
		break;
	case PART_REDACTED:
		out_string(j, "type", "redacted_thinking");
		out_text(j, "data", p->signature);
		break;
	default:
		out_string(j, "type", "text");
		out_string(j, "text", "");
		break;
	}
	out_close(j, '}');
	return end_event(w, "content_block_start");
}

static int
close_block(struct anthropic_writer *w)
{
	struct json_out *j;

	if (!w->block)
		return 0;
	w->block = false;
	j = begin_event(w, "content_block_stop");
	out_int(j, "index", w->index++);
	return end_event(w, "content_block_stop");
}

/* Texts wait for their first word, since an empty block cannot be sent back. */
static int
write_part(struct anthropic_writer *w, const struct neutral_part *p)
{
	if (close_block(w) != 0)
		return -1;
	if (p->kind == PART_TOOL_CALL ||
		(p->kind == PART_REDACTED && p->signer == SIGNER_ANTHROPIC))
		return open_block(w, p);
	return 0;
}

static int
write_delta(struct anthropic_writer *w, const char *type, const char *key, struct span json,
	const struct neutral_part *p)
{
	struct json_out *j;

	if (open_block(w, p) != 0)
		return -1;
	j = begin_event(w, "content_block_delta");
	out_int(j, "index", w->index);
	out_open(j, "delta", '{');
	out_string(j, "type", type);
	out_json(j, key, json);
	out_close(j, '}');
	return end_event(w, "content_block_delta");
}

static int
write_signature(struct anthropic_writer *w, struct span signature, const struct neutral_part *p)
{
	struct json_out *j;

	if (open_block(w, p) != 0)
		return -1;
	j = begin_event(w, "content_block_delta");
	out_int(j, "index", w->index);
	out_open(j, "delta", '{');
	out_string(j, "type", "signature_delta");
	out_text(j, "signature", signature);
	out_close(j, '}');
	return end_event(w, "content_block_delta");
}

static int
write_more(struct anthropic_writer *w, const struct neutral_event *e)
{
	const struct neutral_part *p = &e->part;

	if (!text_is_empty(e->text))
		switch (p->kind) {
		case PART_TEXT:
		case PART_REFUSAL:
			return write_delta(w, "text_delta", "text", e->text, p);
		case PART_REASONING:
			return write_delta(w, "thinking_delta", "thinking", e->text, p);
		case PART_TOOL_CALL:
			return write_delta(w, "input_json_delta", "partial_json", e->text, p);
		default:
			return 0;
		}
	if (e->signature.len > 0 && p->kind == PART_REASONING && p->signer == SIGNER_ANTHROPIC)
		return write_signature(w, e->signature, p);
	return 0;
}

static int
write_end(struct anthropic_writer *w)
{
	enum finish finish = neutral_finish(w->finish, w->calls);
	struct json_out *j;

	if (close_block(w) != 0)
		return -1;
	j = begin_event(w, "message_delta");
	out_open(j, "delta", '{');
	out_string(j, "stop_reason", anthropic_stop_reason(finish));
	if (finish == FINISH_STOP_SEQUENCE && w->stop_sequence.len > 0)
		out_json(j, "stop_sequence", bytes_span(&w->stop_sequence));
	else
		out_null(j, "stop_sequence");
	out_close(j, '}');
	anthropic_put_usage(j, "usage", &w->usage);
	if (end_event(w, "message_delta") != 0)
		return -1;
	(void)begin_event(w, "message_stop");
	return end_event(w, "message_stop");
}

static int
write_error(struct anthropic_writer *w, const struct err *err)
{
	if (w->flavour == ANTHROPIC_BEDROCK)
		return error_event(DIALECT_BEDROCK, err, NULL, w->out);
	if (w->flavour == ANTHROPIC_DIRECT)
		return error_event(DIALECT_ANTHROPIC, err, NULL, w->out);
	(void)bytes_puts(w->out, "data: ");
	(void)error_body(DIALECT_ANTHROPIC, err, NULL, w->out);
	return bytes_puts(w->out, "\n\n");
}

static int
note_start(struct anthropic_writer *w, const struct neutral_event *e)
{
	unsigned char dice[12];

	w->started = true;
	w->usage = WIRE_USAGE_NONE;
	(void)span_copy(e->model, w->model, sizeof w->model);
	if (e->id.len > 0) {
		(void)span_copy(e->id, w->id, sizeof w->id);
		return 0;
	}
	hash_random(dice, sizeof dice);
	memcpy(w->id, "msg_", 4);
	hash_hex(dice, sizeof dice, w->id + 4);
	return 0;
}

static int
note_finish(struct anthropic_writer *w, const struct neutral_event *e)
{
	w->finish = e->finish;
	if (e->stop_sequence.at == NULL || e->stop_sequence.len >= ANTHROPIC_STOP_BYTES)
		return 0;
	bytes_free(&w->stop_sequence);
	w->stop_sequence.limit = ANTHROPIC_STOP_BYTES;
	return bytes_add(&w->stop_sequence, e->stop_sequence.at, e->stop_sequence.len);
}

int
anthropic_write_flavoured(struct anthropic_writer *w, enum anthropic_flavour flavour,
	const struct reply_options *o, const struct neutral_event *e, struct bytes *out)
{
	w->flavour = flavour;
	w->out = out;
	if (w->over || e->choice > 0)
		return 0;
	switch (e->kind) {
	case EVENT_START:
		return note_start(w, e);
	case EVENT_USAGE:
		usage_merge(&w->usage, &e->usage);
		return 0;
	case EVENT_ERROR:
		w->over = true;
		return write_error(w, e->err);
	default:
		break;
	}
	if (write_start(w, o) != 0)
		return -1;
	switch (e->kind) {
	case EVENT_PART:
		return write_part(w, &e->part);
	case EVENT_DELTA:
		return write_more(w, e);
	case EVENT_PART_END:
		return close_block(w);
	case EVENT_FINISH:
		return note_finish(w, e);
	case EVENT_PING:
		if (flavour != ANTHROPIC_DIRECT)
			return 0;
		(void)begin_event(w, "ping");
		return end_event(w, "ping");
	default:
		w->over = true;
		return write_end(w);
	}
}

int
anthropic_write_event(void *state, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	return anthropic_write_flavoured(state, ANTHROPIC_DIRECT, o, e, out);
}
