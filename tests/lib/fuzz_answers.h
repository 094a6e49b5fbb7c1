/*
 * fuzz_answers.h - answers and streams of any bytes through a dialect's reader and writer and back.
 */
#ifndef TESTS_FUZZ_ANSWERS_H
#define TESTS_FUZZ_ANSWERS_H

#include "wire/format.h"

#include "fuzz.h"

#define FUZZ_ARENA_BYTES ((size_t)256 << 20)
#define FUZZ_OUT_BYTES   ((size_t)64 << 20)

/* ---- whole answers ---- */

/* 0; -1: it is none. */
FUZZ int
fuzz_pass_reply(const struct format *f, const struct reply_options *o, struct arena *a,
	struct span body, struct bytes *out)
{
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };
	struct err err = { 0 };

	if (f->read_reply(body, &r, &err) != 0) {
		must(err.code != ERR_NONE);
		return -1;
	}
	must(f == format_of(FORMAT_OPENAI_RESPONSES) ? r.choice_count == 1 : r.choice_count > 0);
	must(f->write_reply(&r, o, out) == 0);
	must(json_valid(bytes_span(out)));
	return 0;
}

/* What was read and written reads back, and written again is the same bytes. */
FUZZ void
fuzz_reply(enum format_id id, const struct reply_options *o, struct span body)
{
	const struct format *f = format_of(id);
	struct arena *a = arena_new(FUZZ_ARENA_BYTES);
	struct bytes first = BYTES_LIMIT(FUZZ_OUT_BYTES), second = BYTES_LIMIT(FUZZ_OUT_BYTES),
		     third = BYTES_LIMIT(FUZZ_OUT_BYTES);

	must(a != NULL);
	if (fuzz_pass_reply(f, o, a, body, &first) == 0) {
		must(fuzz_pass_reply(f, o, a, bytes_span(&first), &second) == 0);
		/* ids that were made are there by now, and usage is as we write it */
		must(fuzz_pass_reply(f, o, a, bytes_span(&second), &third) == 0);
		must(same_bytes(&second, &third));
	}
	bytes_free(&first);
	bytes_free(&second);
	bytes_free(&third);
	arena_free(a);
}

/* ---- streams ---- */

struct fuzz_digest {
	const struct format *format;
	const struct reply_options *options;
	struct neutral_order order;
	bool failed, over;
	/* of each kind all text in a row, and calls with their ids and names */
	struct bytes text[PART__COUNT];
	void *writer;
	struct bytes *out;
};

FUZZ int
fuzz_note(void *ctx, const struct neutral_event *e)
{
	struct fuzz_digest *d = ctx;
	struct bytes *b = &d->text[e->part.kind];

	must(neutral_order_check(&d->order, e) == NULL);
	d->failed = d->failed || e->kind == EVENT_ERROR;
	d->over = d->over || e->kind == EVENT_END;
	if (e->kind == EVENT_PART && e->part.kind == PART_TOOL_CALL && e->choice == 0) {
		(void)bytes_puts(b, " call ");
		(void)bytes_json(b, e->part.call_id);
		(void)bytes_json(b, e->part.name);
	}
	if (e->kind == EVENT_DELTA && e->text.at != NULL) {
		must(json_valid(e->text));
		if (e->choice == 0)
			(void)bytes_add(b, e->text.at + 1, e->text.len - 2);
	}
	if (d->writer != NULL)
		must(d->format->write_event(d->writer, d->options, e, d->out) == 0);
	return 0;
}

/* A frame a line, with or without the "data: " before it; of what we wrote, those with it. */
FUZZ void
fuzz_read_lines(struct span lines, bool ours, struct fuzz_digest *d)
{
	void *reader = calloc(1, *d->format->reader_bytes);
	struct frame f = { .data = SPAN_NONE };

	must(reader != NULL);
	for (size_t i = 0; i < PART__COUNT; i++)
		d->text[i] = BYTES_LIMIT(FUZZ_OUT_BYTES);
	while (lines.len > 0) {
		const char *end = memchr(lines.at, '\n', lines.len);
		size_t len = end == NULL ? lines.len : (size_t)(end - lines.at);

		f.data = (struct span){ lines.at, len };
		if (span_starts(f.data, "data: "))
			f.data.at += 6, f.data.len -= 6;
		else if (ours)
			f.data = SPAN_NONE;
		must(!ours || f.data.len == 0 || json_valid(f.data) ||
			(d->format == format_of(FORMAT_OPENAI_CHAT) && span_is(f.data, "[DONE]")));
		must(d->format->read_frame(reader, &f, fuzz_note, d) == 0);
		lines.at += len + (end != NULL);
		lines.len -= len + (end != NULL);
	}
	must(d->format->read_end(reader, fuzz_note, d) == 0);
	must(d->failed != d->over);
	d->format->reader_free(reader);
	free(reader);
}

/* Events keep their order, and what is written of them reads back with the same text and calls. */
FUZZ void
fuzz_stream(enum format_id id, const struct reply_options *o, struct span lines)
{
	static struct fuzz_digest first, again;
	const struct format *f = format_of(id);
	struct bytes out = BYTES_LIMIT(FUZZ_OUT_BYTES);

	first = (struct fuzz_digest){ .format = f, .options = o, .out = &out };
	again = (struct fuzz_digest){ .format = f, .options = o };
	first.writer = calloc(1, *f->writer_bytes);
	must(first.writer != NULL);
	fuzz_read_lines(lines, false, &first);
	if (first.over) {
		fuzz_read_lines(bytes_span(&out), true, &again);
		must(again.over);
		must(same_bytes(&first.text[PART_TEXT], &again.text[PART_TEXT]));
		must(same_bytes(&first.text[PART_REASONING], &again.text[PART_REASONING]));
		must(same_bytes(&first.text[PART_REFUSAL], &again.text[PART_REFUSAL]));
		/* an empty call is given its {} */
		if (first.text[PART_TOOL_CALL].len == again.text[PART_TOOL_CALL].len)
			must(same_bytes(&first.text[PART_TOOL_CALL], &again.text[PART_TOOL_CALL]));
	}
	f->writer_free(first.writer);
	free(first.writer);
	bytes_free(&out);
	for (size_t i = 0; i < PART__COUNT; i++) {
		bytes_free(&first.text[i]);
		bytes_free(&again.text[i]);
	}
}

#endif
