/*
 * convert.c - read, change, write: the order of things, the same for all formats.
 */
#include "wire/convert.h"

#include "wire/wire-int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVIDENCE_MAX 4096

/* ---- requests ---- */

static int
made_or_not(const struct request_made *out, struct err *err)
{
	return !out->body->failed ? 0
				  : err_set(err, ERR_MEMORY, "no memory for a converted request");
}

/* What is written is as long as what was read, within an eighth. */
static void
expect_length(struct bytes *out, struct span in)
{
	bytes_expect(out, in.len + in.len / 8);
}

static int
refuse_losses(const struct losses *lost, const struct format *to, struct err *err)
{
	(void)err_set(err, ERR_UNSUPPORTED, "%s cannot express %s", to->name, lost->meaning);
	(void)err_say(err,
		"The provider cannot be told '%s', and this route refuses to leave it out.",
		lost->meaning);
	return err_field(err, lost->meaning);
}

/* A refusal names the member as the client wrote it, in its sentence too: most dialects have no other
 * place for it.  Returns -1. */
static int
refused(const struct neutral_request *n, struct err *err)
{
	const struct neutral_field *f;
	char says[sizeof err->says], name[sizeof err->field];

	if (err == NULL || err->field[0] == '\0' || err->code == ERR_MEMORY)
		return -1;
	f = neutral_peek(n, err->field);
	if (f != NULL && f->as.at != NULL) {
		(void)span_copy(f->as, name, sizeof name);
		(void)err_field(err, name);
	}
	if (strstr(err_public(err), err->field) != NULL)
		return -1;
	(void)snprintf(says, sizeof says, "%s", err_public(err));
	return err_say(err, "%s: %s", err->field, says);
}

int
convert_request(struct arena *a, const struct convert_request *q, struct request_made *out,
	struct losses *lost, struct err *err)
{
	struct neutral_request *n;

	if (format_kin(q->from, q->to)) {
		expect_length(out->body, q->source.body);
		if (q->to->splice_request(a, &q->source, &q->target, out, lost, err) != 0 ||
			made_or_not(out, err) != 0)
			return -1;
		return q->strict && lost->meaning[0] != '\0' ? refuse_losses(lost, q->to, err) : 0;
	}
	n = arena_alloc(a, sizeof *n);
	if (n == NULL)
		return err_set(err, ERR_MEMORY, "no memory to convert a request");
	neutral_request_init(n, a);
	if (q->from->read_request(&q->source, n, lost, err) != 0)
		return refused(n, err);
	if (q->between != NULL && q->between(q->ctx, n, err) != 0)
		return -1;
	expect_length(out->body, q->source.body);
	if (q->to->write_request(n, &q->target, out, lost, err) != 0)
		return refused(n, err);
	if (made_or_not(out, err) != 0)
		return -1;
	losses_of_fields(lost, n);
	if (q->strict && lost->meaning[0] != '\0')
		return refuse_losses(lost, q->to, err);
	return 0;
}

/* ---- whole answers ---- */

/* Tools have the client's names again. */
static void
rename_back(const struct names *renamed, struct neutral_reply *r)
{
	for (size_t c = 0; renamed != NULL && renamed->count > 0 && c < r->choice_count; c++)
		for (size_t i = 0; i < r->choice[c].count; i++)
			r->choice[c].part[i].name = names_back(renamed, r->choice[c].part[i].name);
}

int
convert_reply(struct arena *a, const struct format *from, const struct format *to, struct span body,
	const struct reply_options *o, struct wire_usage *usage, struct bytes *out, struct err *err)
{
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };

	if (from->read_reply(body, &r, err) != 0)
		return -1;
	*usage = r.usage;
	rename_back(o->renamed, &r);
	if (o->see != NULL)
		o->see(o->ctx, &r);
	expect_length(out, body);
	if ((format_kin(from, to) ? to->splice_reply(body, o, out) : to->write_reply(&r, o, out)) !=
			0 ||
		out->failed)
		return err_set(err, ERR_MEMORY, "no memory for a converted answer");
	return 0;
}

static int
add_chars(void *ctx, const struct neutral_event *e)
{
	int64_t *chars = ctx;

	if (e->kind == EVENT_DELTA)
		*chars += (int64_t)text_inside(e->text).len;
	return 0;
}

int64_t
convert_reply_chars(const struct format *f, struct span body)
{
	struct arena *a = arena_new(CONVERT_REPLY_MAX);
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };
	struct err ignored = { 0 };
	int64_t chars = 0;

	if (a != NULL && f->read_reply(body, &r, &ignored) == 0)
		(void)neutral_replay(&r, add_chars, &chars);
	arena_free(a);
	return chars;
}

/* ---- streams ---- */

int
convert_stream_init(struct convert_stream *s, const struct format *from, const struct format *to,
	const struct reply_options *o)
{
	*s = (struct convert_stream){ .from = from,
		.to = to,
		.options = *o,
		.spliced = format_kin(from, to),
		.out = BYTES_LIMIT(STREAM_OUT_MAX),
		.evidence = BYTES_LIMIT(EVIDENCE_MAX),
		.usage = WIRE_USAGE_NONE };
	s->frames = frames_new(from->framing);
	s->reader = calloc(1, *from->reader_bytes);
	s->writer = calloc(1, *to->writer_bytes);
	if (s->frames != NULL && s->reader != NULL && s->writer != NULL)
		return 0;
	convert_stream_free(s);
	return -1;
}

void
convert_stream_free(struct convert_stream *s)
{
	if (s->reader != NULL && s->from->reader_free != NULL)
		s->from->reader_free(s->reader);
	if (s->writer != NULL && s->to->writer_free != NULL)
		s->to->writer_free(s->writer);
	frames_free(s->frames);
	free(s->reader);
	free(s->writer);
	bytes_free(&s->out);
	bytes_free(&s->evidence);
	s->frames = NULL;
	s->reader = s->writer = NULL;
}

static void
note_choice(struct convert_stream *s, const struct neutral_event *e)
{
	if (e->choice < 0 || e->choice >= NEUTRAL_CHOICES_MAX)
		return;
	if (e->choice >= s->choices)
		s->choices = e->choice + 1;
	s->part[e->choice] = e->part.kind;
	s->choice[e->choice] = e->kind == EVENT_PART       ? CHOICE_IN_PART
			       : e->kind == EVENT_PART_END ? CHOICE_BETWEEN
							   : CHOICE_FINISHED;
}

/* Has every choice that was begun come to its end? */
static bool
all_finished(const struct convert_stream *s)
{
	for (int i = 0; i < s->choices; i++)
		if (s->choice[i] != CHOICE_FINISHED)
			return false;
	return true;
}

static void
end_begins(struct convert_stream *s)
{
	if (!s->ending)
		s->last_at = s->out.len;
	s->ending = true;
}

static bool
is_text_part(enum part_kind k)
{
	return k == PART_TEXT || k == PART_REASONING || k == PART_REFUSAL;
}

static void
note_event(struct convert_stream *s, const struct neutral_event *e)
{
	switch (e->kind) {
	case EVENT_START:
		s->started = true;
		break;
	case EVENT_USAGE:
		usage_merge(&s->usage, &e->usage);
		break;
	case EVENT_DELTA:
		s->output_chars += (int64_t)text_inside(e->text).len;
		s->content = s->content || text_inside(e->text).len > 0 || e->signature.len > 0;
		break;
	case EVENT_FINISH:
		s->finish = e->finish;
		/* fall through */
	case EVENT_PART:
	case EVENT_PART_END:
		/* parts of text are begun before there is any */
		s->content = s->content || (e->kind == EVENT_PART && !is_text_part(e->part.kind));
		note_choice(s, e);
		if (e->kind == EVENT_FINISH && all_finished(s))
			end_begins(s);
		break;
	case EVENT_ERROR:
		s->failed = true;
		s->err = *e->err;
		end_begins(s);
		break;
	case EVENT_END:
		s->done = true;
		end_begins(s);
		break;
	case EVENT_PING:
		break;
	}
}

static int
on_event(void *ctx, const struct neutral_event *e)
{
	struct convert_stream *s = ctx;
	struct neutral_event named;

	if (s->done || s->failed)
		return 0;
	note_event(s, e);
	if (s->options.renamed != NULL && e->part.kind == PART_TOOL_CALL) {
		named = *e;
		named.part.name = names_back(s->options.renamed, e->part.name);
		e = &named;
	}
	if (s->see != NULL && s->see(s->ctx, e) != 0)
		return -1;
	if (s->silent || (s->spliced && e->kind != EVENT_ERROR))
		return 0;
	return s->to->write_event(s->writer, &s->options, e, &s->out) != 0 || s->out.failed ? -1
											    : 0;
}

static int
note_only(void *ctx, const struct neutral_event *e)
{
	note_event(ctx, e);
	return 0;
}

int
convert_reply_content(const struct format *f, struct span body, bool *content, enum finish *finish)
{
	struct arena *a = arena_new(CONVERT_REPLY_MAX);
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };
	struct convert_stream seen = { .usage = WIRE_USAGE_NONE };
	struct err ignored = { 0 };
	int rc = -1;

	if (a != NULL && f->read_reply(body, &r, &ignored) == 0)
		rc = neutral_replay(&r, note_only, &seen);
	arena_free(a);
	*content = seen.content;
	*finish = seen.finish;
	return rc;
}

/* ---- an early end ---- */

static int
stop_choice(struct convert_stream *s, int i)
{
	struct neutral_event e = {
		.kind = EVENT_PART_END, .choice = i, .part = { .kind = s->part[i] }
	};

	if (s->choice[i] == CHOICE_IN_PART && on_event(s, &e) != 0)
		return -1;
	e.kind = EVENT_FINISH;
	e.finish = FINISH_LENGTH;
	return s->choice[i] == CHOICE_FINISHED ? 0 : on_event(s, &e);
}

int
convert_stream_stop(struct convert_stream *s, int64_t input_tokens, int64_t output_tokens)
{
	struct neutral_event start = { .kind = EVENT_START }, end = { .kind = EVENT_END };
	struct neutral_event usage = { .kind = EVENT_USAGE, .usage = s->usage };
	int choices = s->choices == 0 ? 1 : s->choices;

	if (!s->started && on_event(s, &start) != 0)
		return -1;
	for (int i = 0; i < choices; i++)
		if (stop_choice(s, i) != 0)
			return -1;
	usage.usage.seen = true;
	if (usage.usage.input < 0)
		usage.usage.input = input_tokens;
	usage.usage.output = output_tokens;
	return on_event(s, &usage) != 0 ? -1 : on_event(s, &end);
}

static int
fail(struct convert_stream *s, const char *text)
{
	struct err err = { 0 };
	struct neutral_event e = { .kind = EVENT_ERROR, .err = &err };

	if (s->done || s->failed)
		return 0;
	(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "%s", text);
	(void)err_say(&err, "The provider's stream could not be read to its end.");
	return on_event(s, &e);
}

/* An exception's name stands beside its payload; here it becomes a part of it. */
static void
keep_evidence(struct convert_stream *s, const struct frame *f)
{
	struct span data = f->data;

	if (data.len > EVIDENCE_MAX / 2)
		data.len = EVIDENCE_MAX / 2;
	if (!f->exception) {
		(void)bytes_add(&s->evidence, data.at, data.len);
		return;
	}
	(void)bytes_puts(&s->evidence, "{\"error\":{\"type\":");
	(void)bytes_json(&s->evidence, f->name);
	if (data.len > 2 && data.at[0] == '{')
		(void)bytes_printf(&s->evidence, ",%.*s}", (int)data.len - 1, data.at + 1);
	else
		(void)bytes_puts(&s->evidence, "}}");
}

static int
on_frame(void *ctx, const struct frame *f)
{
	struct convert_stream *s = ctx;
	bool over = s->done || s->failed;

	if (s->from->read_frame(s->reader, f, on_event, s) != 0)
		return -1;
	if (s->failed && !over)
		keep_evidence(s, f);
	if (!s->spliced || s->silent || over || s->failed)
		return 0;
	return s->to->splice_frame(f, &s->options, &s->out) != 0 || s->out.failed ? -1 : 0;
}

int
convert_stream_feed(struct convert_stream *s, const char *data, size_t len)
{
	int rc;

	s->last_at = 0;
	rc = frames_feed(s->frames, data, len, on_frame, s);

	return rc == -2 ? fail(s, "a broken stream") : rc;
}

int
convert_stream_end(struct convert_stream *s)
{
	int rc;

	s->last_at = 0;
	rc = frames_end(s->frames, on_frame, s);

	if (rc == -2)
		return fail(s, "a stream cut within a frame");
	return rc != 0 ? rc : s->from->read_end(s->reader, on_event, s);
}

int
convert_stream_whole(struct convert_stream *s, struct span body)
{
	struct arena *a = arena_new(CONVERT_REPLY_MAX);
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };
	struct err err = { 0 };
	int rc;

	if (a == NULL)
		return -1;
	s->spliced = false; /* there are no frames to pass on */
	if (s->from->read_reply(body, &r, &err) != 0) {
		struct neutral_event e = { .kind = EVENT_ERROR, .err = &err };

		rc = on_event(s, &e);
	} else {
		rc = neutral_replay(&r, on_event, s);
	}
	arena_free(a);
	return rc;
}
