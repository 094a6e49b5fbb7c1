/*
 * gemini_stream.c - Gemini's streams read and written.
 *
 * Each chunk is a whole response with the next parts.  Some models repeat finishReason in every
 * chunk, so that a choice is finished only when the stream is.
 */
#include "wire/gemini-int.h"

#include "base/id.h"
#include <string.h>

#define FRAME_ARENA_MAX ((size_t)8 * FRAME_BYTES_MAX) /* a call's arguments are quoted: 6 for 1 */
#define CALL_BYTES_MAX  FRAME_BYTES_MAX               /* of one call's arguments, gathered */
#define ID_BYTES        160
#define SIGNATURE_MAX   (1024 * 1024) /* a longer one is left out */

/* ---- reading ---- */

struct choice {
	bool seen, open, called, any;
	enum part_kind kind; /* of the open part */
	enum finish finish;
};

struct reader {
	bool started, over, blocked;
	struct wire_usage usage;
	struct err err;
	struct choice choice[NEUTRAL_CHOICES_MAX];
	/* while a frame is read */
	struct arena *arena;
	neutral_emit *emit;
	void *ctx;
	int rc; /* what the frame's reading gives back */
	size_t at, nth;
};

const size_t gemini_reader_bytes = sizeof(struct reader);

/* True: go on. */
static bool
give(struct reader *r, const struct neutral_event *e)
{
	if (r->rc == 0 && r->emit(r->ctx, e) != 0)
		r->rc = -1;
	return r->rc == 0;
}

/* ERROR with what stands in r->err, and nothing after it. */
static bool
give_error(struct reader *r)
{
	struct neutral_event e = { .kind = EVENT_ERROR, .err = &r->err };

	r->over = true;
	(void)give(r, &e);
	return false;
}

static bool
no_memory(struct reader *r)
{
	r->rc = -1;
	return false;
}

static bool
close_part(struct reader *r, size_t at)
{
	struct choice *c = &r->choice[at];
	struct neutral_event e = {
		.kind = EVENT_PART_END, .choice = (int)at, .part = { .kind = c->kind }
	};

	if (!c->open)
		return true;
	c->open = false;
	return give(r, &e);
}

static bool
open_part(struct reader *r, const struct neutral_part *p)
{
	struct choice *c = &r->choice[r->at];
	struct neutral_event e = { .kind = EVENT_PART, .choice = (int)r->at, .part = *p };

	if (c->open && c->kind == p->kind && (p->kind == PART_TEXT || p->kind == PART_REASONING))
		return true;
	if (!close_part(r, r->at))
		return false;
	c->open = true;
	c->kind = p->kind;
	return give(r, &e);
}

static bool
give_signature(struct reader *r, const struct neutral_part *p, struct span signature)
{
	struct neutral_event e = {
		.kind = EVENT_DELTA, .choice = (int)r->at, .part = *p, .signature = signature
	};

	e.part.signer = SIGNER_GEMINI;
	return signature.len == 0 || give(r, &e);
}

static bool
give_text(struct reader *r, struct span text, bool thought, struct span signature)
{
	struct neutral_part p = { .kind = thought ? PART_REASONING : PART_TEXT };
	struct neutral_event e = {
		.kind = EVENT_DELTA, .choice = (int)r->at, .part = p, .text = text
	};

	if (text_is_empty(text) && signature.len == 0)
		return true;
	if (!open_part(r, &p))
		return false;
	if (!text_is_empty(text)) {
		r->choice[r->at].any = true;
		if (!give(r, &e))
			return false;
	}
	return give_signature(r, &p, signature);
}

static bool
give_call(struct reader *r, struct span object, struct span signature)
{
	struct neutral_part p = { .kind = PART_TOOL_CALL };
	struct neutral_event e = { .kind = EVENT_DELTA, .choice = (int)r->at };
	int rc = gemini_read_call(r->arena, object, &p);

	if (rc == 0)
		return true;
	e.text = rc < 0 ? SPAN_NONE : text_compact(r->arena, p.input);
	e.text = e.text.at == NULL ? SPAN_NONE : text_quoted(r->arena, e.text);
	if (e.text.at == NULL)
		return no_memory(r);
	p.input = SPAN_NONE; /* in a stream arguments come as text */
	e.part = p;
	r->choice[r->at].any = r->choice[r->at].called = true;
	if (!open_part(r, &p) || !give(r, &e) || !give_signature(r, &p, signature))
		return false;
	e.kind = EVENT_PART_END;
	e.text = SPAN_NONE;
	r->choice[r->at].open = false;
	return give(r, &e);
}

static bool
give_media(struct reader *r, struct span object)
{
	struct neutral_part p = { .kind = PART_IMAGE };
	const char *member;

	if (!gemini_read_inline(r->arena, object, &p, &member) ||
		(p.kind != PART_IMAGE && p.kind != PART_AUDIO))
		return true;
	r->choice[r->at].any = true;
	return open_part(r, &p) && close_part(r, r->at);
}

static bool
read_part(void *ctx, const struct json_member *m)
{
	struct reader *r = ctx;
	struct gemini_part got;

	if (!gemini_read_part(r->arena, m->value, &got))
		return true;
	if (got.call.at != NULL)
		return give_call(r, got.call, got.signature);
	if (got.media.at != NULL)
		return give_media(r, got.media);
	return give_text(r, got.text, got.thought, got.signature);
}

static bool
read_candidate(void *ctx, const struct json_member *m)
{
	struct reader *r = ctx;
	struct gemini_candidate c;
	enum finish finish;

	if (!gemini_read_candidate(m->value, r->nth, &c))
		return true;
	r->nth++;
	r->at = c.choice;
	if (r->at >= NEUTRAL_CHOICES_MAX) {
		(void)err_set(&r->err, ERR_UPSTREAM_UNREACHABLE, "more than %d choices",
			NEUTRAL_CHOICES_MAX);
		return give_error(r);
	}
	r->choice[r->at].seen = true;
	if (c.parts.type == JSON_ARRAY)
		(void)json_each_element(c.parts.raw, read_part, r, NULL);
	finish = gemini_finish_of(gemini_plain(r->arena, c.finish_word));
	if (finish != FINISH_NONE)
		r->choice[r->at].finish = finish;
	return r->rc == 0 && !r->over;
}

static bool
start(struct reader *r, struct json_value id, struct json_value model)
{
	struct neutral_event e = { .kind = EVENT_START,
		.id = gemini_plain(r->arena, id),
		.model = gemini_plain(r->arena, model) };

	if (r->started)
		return true;
	r->started = true;
	return give(r, &e);
}

static bool
give_usage(struct reader *r, struct span object)
{
	struct neutral_event e = { .kind = EVENT_USAGE };

	gemini_usage(object, &r->usage);
	e.usage = r->usage;
	return give(r, &e);
}

static bool
read_chunk(struct reader *r, struct span object)
{
	static const char *const names[] = { "candidates", "promptFeedback", "error",
		"modelVersion", "responseId", "usageMetadata" };
	struct json_value found[6];

	if (GEMINI_PICK(object, names, found, NULL, NULL) != 0) {
		(void)err_set(&r->err, ERR_UPSTREAM_UNREACHABLE, "a chunk is no JSON object");
		(void)err_say(&r->err, "The provider's stream could not be read.");
		return give_error(r);
	}
	if (found[2].type != JSON_NONE) {
		(void)error_of_provider(object, &r->err);
		return give_error(r);
	}
	if (!start(r, found[4], found[3]))
		return false;
	r->nth = 0;
	r->blocked = r->blocked || found[1].type == JSON_OBJECT;
	if (found[0].type == JSON_ARRAY)
		(void)json_each_element(found[0].raw, read_candidate, r, NULL);
	if (r->rc != 0 || r->over)
		return false;
	return found[5].type != JSON_OBJECT || give_usage(r, object);
}

static bool
read_element(void *ctx, const struct json_member *m)
{
	return read_chunk(ctx, m->value.raw);
}

int
gemini_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx)
{
	struct reader *r = state;

	if (r->over || f->data.len == 0 || span_is(f->data, "[DONE]"))
		return 0;
	r->arena = arena_new(FRAME_ARENA_MAX);
	if (r->arena == NULL)
		return -1;
	r->emit = emit;
	r->ctx = ctx;
	r->rc = 0;
	/* errors come in an array of one now and then */
	if (f->data.at[0] != '[' || json_each_element(f->data, read_element, r, NULL) != 0)
		if (!r->over && r->rc == 0)
			(void)read_chunk(r, f->data);
	arena_free(r->arena);
	r->arena = NULL;
	return r->rc;
}

/* True, with r->err, when it cannot be said to have ended well. */
static bool
ended_badly(struct reader *r)
{
	bool seen = r->blocked, any = false, malformed = false, cut = false;

	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++) {
		const struct choice *c = &r->choice[i];

		seen = seen || c->seen;
		any = any || c->any;
		malformed = malformed || c->finish == FINISH_MALFORMED;
		cut = cut || (c->seen && c->finish == FINISH_NONE);
	}
	if (cut || !seen) {
		(void)err_set(&r->err, ERR_UPSTREAM_UNREACHABLE, "the stream ended early");
		(void)err_say(
			&r->err, "The provider's stream ended before its answer was complete.");
	} else if (malformed && !any) {
		(void)gemini_came_to_nothing(&r->err);
	}
	return r->err.code != ERR_NONE;
}

static bool
give_finish(struct reader *r, size_t at)
{
	struct choice *c = &r->choice[at];
	struct neutral_event e = { .kind = EVENT_FINISH,
		.choice = (int)at,
		.finish = neutral_finish(c->finish, c->called) };

	return close_part(r, at) && give(r, &e);
}

int
gemini_read_end(void *state, neutral_emit *emit, void *ctx)
{
	struct reader *r = state;
	struct neutral_event end = { .kind = EVENT_END };
	bool any = false;

	if (r->over)
		return 0;
	r->emit = emit;
	r->ctx = ctx;
	r->rc = 0;
	if (ended_badly(r)) {
		(void)give_error(r);
		return r->rc;
	}
	r->over = true;
	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++) {
		if (!r->choice[i].seen)
			continue;
		any = true;
		if (!give_finish(r, i))
			return r->rc;
	}
	if (!any) { /* the prompt was blocked */
		r->choice[0].finish = FINISH_FILTER;
		if (!give_finish(r, 0))
			return r->rc;
	}
	(void)give(r, &end);
	return r->rc;
}

void
gemini_reader_free(void *state)
{
	(void)state; /* nothing outlives a frame */
}

/* ---- writing ---- */

/* A call that is gathered: Gemini's come whole. */
struct call {
	struct bytes arguments; /* a JSON string, its closing quote yet to come */
	struct bytes signature;
};

struct writer {
	bool any; /* a chunk was written */
	char id[ID_BYTES], model[ID_BYTES];
	struct wire_usage usage;
	struct {
		bool over, malformed;
		enum finish finish;
		struct call call;
	} choice[NEUTRAL_CHOICES_MAX];
};

const size_t gemini_writer_bytes = sizeof(struct writer);

static void
free_call(struct call *c)
{
	bytes_free(&c->arguments);
	bytes_free(&c->signature);
}

void
gemini_writer_free(void *state)
{
	struct writer *w = state;

	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++)
		free_call(&w->choice[i].call);
}

/* What stands before a chunk, and behind it. */
static void
begin_frame(struct writer *w, const struct reply_options *o, struct bytes *out)
{
	(void)bytes_puts(out, !o->array ? "data: " : w->any ? ",\n" : "[");
	w->any = true;
}

static void
end_frame(const struct reply_options *o, struct bytes *out)
{
	if (!o->array)
		(void)bytes_puts(out, "\n\n");
}

static void
open_candidate(struct json_out *to)
{
	out_open(to, NULL, '{');
	out_open(to, "content", '{');
	out_open(to, "parts", '[');
}

static void
close_candidate(struct json_out *to, const char *finish, size_t index)
{
	out_close(to, ']');
	out_string(to, "role", "model");
	out_close(to, '}');
	if (finish != NULL)
		out_string(to, "finishReason", finish);
	out_int(to, "index", (int64_t)index);
	out_close(to, '}');
}

static void
close_chunk(struct writer *w, const struct reply_options *o, struct json_out *to)
{
	bool named = o->model != NULL && o->model[0] != '\0';

	out_string(to, "modelVersion", named ? o->model : w->model);
	out_string(to, "responseId", w->id);
	out_close(to, '}');
	end_frame(o, to->to);
}

/* A chunk of one candidate, up to its parts. */
static struct json_out
begin_chunk(struct writer *w, const struct reply_options *o, struct bytes *out)
{
	struct json_out to = { out, false };

	begin_frame(w, o, out);
	out_open(&to, NULL, '{');
	out_open(&to, "candidates", '[');
	open_candidate(&to);
	return to;
}

static void
end_chunk(struct writer *w, const struct reply_options *o, struct json_out *to, int choice)
{
	close_candidate(to, NULL, (size_t)choice);
	out_close(to, ']');
	close_chunk(w, o, to);
}

static void
write_start(struct writer *w, const struct neutral_event *e)
{
	char made[ID_TEXT_BYTES];

	(void)span_copy(e->id, w->id, sizeof w->id);
	(void)span_copy(e->model, w->model, sizeof w->model);
	if (w->id[0] == '\0') {
		id_text("resp_", id_random(), made);
		memcpy(w->id, made, sizeof made);
	}
}

static void
write_part(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct call *c = &w->choice[e->choice].call;
	struct json_out to;

	switch (e->part.kind) {
	case PART_TOOL_CALL:
		free_call(c);
		c->arguments = BYTES_LIMIT(CALL_BYTES_MAX);
		c->signature = BYTES_LIMIT(SIGNATURE_MAX);
		(void)bytes_puts(&c->arguments, "\"");
		break;
	case PART_IMAGE:
	case PART_DOCUMENT:
	case PART_AUDIO:
	case PART_VIDEO:
		if (e->part.data.at == NULL && e->part.url.at == NULL && e->part.file_id.at == NULL)
			break;
		to = begin_chunk(w, o, out);
		gemini_put_inline(&to, &e->part);
		end_chunk(w, o, &to, e->choice);
		break;
	default:
		break;
	}
}

static void
write_delta(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct call *c = &w->choice[e->choice].call;
	bool ours = e->signature.len > 0 && e->part.signer == SIGNER_GEMINI;
	struct span inside = text_inside(e->text);
	struct json_out to;

	switch (e->part.kind) {
	case PART_TOOL_CALL:
		if (inside.len > 0)
			(void)bytes_add(&c->arguments, inside.at, inside.len);
		if (ours && c->signature.len == 0)
			(void)bytes_add(&c->signature, e->signature.at, e->signature.len);
		break;
	case PART_TEXT:
	case PART_REASONING:
	case PART_REFUSAL:
		if (inside.len == 0 && !ours)
			break;
		to = begin_chunk(w, o, out);
		gemini_put_text(&to, e->text, e->part.kind == PART_REASONING,
			ours ? e->signature : SPAN_NONE);
		end_chunk(w, o, &to, e->choice);
		break;
	default:
		break;
	}
}

/* 0, or -1 out of memory. */
static int
write_call(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct call *c = &w->choice[e->choice].call;
	struct arena *a = arena_new((size_t)2 * CALL_BYTES_MAX);
	struct span args = SPAN_NONE;
	struct json_out to;

	if (a == NULL)
		return -1;
	(void)bytes_puts(&c->arguments, "\"");
	if (!c->arguments.failed)
		args = gemini_arguments(a, bytes_span(&c->arguments));
	if (args.at == NULL) {
		w->choice[e->choice].malformed = true;
	} else {
		to = begin_chunk(w, o, out);
		gemini_put_call(&to, e->part.call_id, e->part.name, args,
			c->signature.len > 0 ? bytes_span(&c->signature) : SPAN_NONE);
		end_chunk(w, o, &to, e->choice);
	}
	free_call(c);
	arena_free(a);
	return 0;
}

/* Nothing but a sign of life: a chunk without text, for not all clients pass over comments. */
static void
write_ping(struct writer *w, const struct reply_options *o, struct bytes *out)
{
	struct json_out to = begin_chunk(w, o, out);

	gemini_put_text(&to, SPAN_NONE, false, SPAN_NONE);
	end_chunk(w, o, &to, 0);
}

/* The last chunk: why each ended, and the usage, where SDKs look for both. */
static void
write_end(struct writer *w, const struct reply_options *o, struct bytes *out)
{
	struct json_out to = { out, false };

	begin_frame(w, o, out);
	out_open(&to, NULL, '{');
	out_open(&to, "candidates", '[');
	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++) {
		enum finish f = w->choice[i].malformed ? FINISH_MALFORMED : w->choice[i].finish;

		if (!w->choice[i].over)
			continue;
		open_candidate(&to);
		gemini_put_text(&to, SPAN_NONE, false, SPAN_NONE);
		close_candidate(&to, gemini_finish_word(f), i);
	}
	out_close(&to, ']');
	gemini_put_usage(&to, &w->usage);
	close_chunk(w, o, &to);
	if (o->array)
		(void)bytes_puts(out, "]");
}

static void
write_error(
	struct writer *w, const struct reply_options *o, const struct err *err, struct bytes *out)
{
	if (!o->array) {
		(void)error_event(DIALECT_GEMINI, err, NULL, out);
		return;
	}
	begin_frame(w, o, out);
	(void)error_body(DIALECT_GEMINI, err, NULL, out);
	(void)bytes_puts(out, "]");
}

int
gemini_write_event(void *state, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct writer *w = state;

	switch (e->kind) {
	case EVENT_START:
		w->usage = WIRE_USAGE_NONE;
		write_start(w, e);
		break;
	case EVENT_PART:
		write_part(w, o, e, out);
		break;
	case EVENT_DELTA:
		write_delta(w, o, e, out);
		break;
	case EVENT_PART_END:
		if (e->part.kind == PART_TOOL_CALL && write_call(w, o, e, out) != 0)
			return -1;
		break;
	case EVENT_FINISH:
		w->choice[e->choice].over = true;
		w->choice[e->choice].finish = e->finish;
		break;
	case EVENT_USAGE:
		usage_merge(&w->usage, &e->usage);
		break;
	case EVENT_PING:
		write_ping(w, o, out);
		break;
	case EVENT_ERROR:
		write_error(w, o, e->err, out);
		break;
	case EVENT_END:
		write_end(w, o, out);
		break;
	}
	return out->failed ? -1 : 0;
}
