/*
 * openai_responses_fuzz.c - clients and providers of OpenAI's responses may send any bytes.
 *
 * Requests: what is read and written is valid JSON, reads back with the same calls and results, and
 * written again is the same bytes.  Answers: the same.  Streams (a frame a line): events keep their
 * order, and what our writer makes of them our reader reads back with the same text and calls.
 * The first byte chooses.
 */
#include "wire/format.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_BYTES ((size_t)256 << 20)
#define OUT_BYTES   ((size_t)64 << 20)

static const struct reply_options options = { .model = "m", .now_s = 5 };

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static bool
same(const struct bytes *a, const struct bytes *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->at, b->at, a->len) == 0);
}

static const struct format *
responses(void)
{
	return format_of(FORMAT_OPENAI_RESPONSES);
}

/* ---- requests ---- */

struct tally {
	size_t calls, results;
};

static struct tally
tally(const struct neutral_request *n)
{
	struct tally t = { 0, 0 };

	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++) {
			t.calls += n->message[m].part[i].kind == PART_TOOL_CALL;
			t.results += n->message[m].part[i].kind == PART_TOOL_RESULT;
		}
	return t;
}

/* 0; -1 refused.  *parts_lost: those that could not be written. */
static int
pass_request(
	struct arena *a, struct span body, struct bytes *out, struct tally *t, size_t *parts_lost)
{
	static const struct request_target to = { .model = "gpt-4" };
	struct request_source from = { .body = body };
	struct request_made made = { .body = out };
	struct neutral_request *n = arena_alloc(a, sizeof *n);
	struct losses lost = { 0 };
	struct err err = { 0 };

	must(n != NULL);
	neutral_request_init(n, a);
	if (responses()->read_request(&from, n, &lost, &err) != 0) {
		must((err.code == ERR_BAD_REQUEST || err.code == ERR_UNSUPPORTED) &&
			err.says[0] != '\0');
		return -1;
	}
	*t = tally(n);
	if (responses()->write_request(n, &to, &made, &lost, &err) != 0) {
		must(err.code == ERR_UNSUPPORTED && err.says[0] != '\0');
		return -1;
	}
	must(json_valid(bytes_span(out)));
	*parts_lost = lost.count;
	return 0;
}

static void
try_request(struct span body)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct bytes first = BYTES_LIMIT(OUT_BYTES), second = BYTES_LIMIT(OUT_BYTES);
	struct tally before, after;
	size_t parts_lost, none;

	must(a != NULL);
	/* a request whose every part is lost has no content left */
	if (pass_request(a, body, &first, &before, &parts_lost) == 0 &&
		before.calls + before.results < 2000 &&
		pass_request(a, bytes_span(&first), &second, &after, &none) == 0) {
		must(before.calls == after.calls && before.results == after.results);
		/* where a whole turn is lost, its neighbours become one */
		must(parts_lost > 0 || same(&first, &second));
	}
	bytes_free(&first);
	bytes_free(&second);
	arena_free(a);
}

/* ---- answers ---- */

static int
pass_reply(struct arena *a, struct span body, struct bytes *out)
{
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };
	struct err err = { 0 };

	if (responses()->read_reply(body, &r, &err) != 0) {
		must(err.code != ERR_NONE);
		return -1;
	}
	must(r.choice_count == 1);
	must(responses()->write_reply(&r, &options, out) == 0);
	must(json_valid(bytes_span(out)));
	return 0;
}

static void
try_reply(struct span body)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct bytes first = BYTES_LIMIT(OUT_BYTES), second = BYTES_LIMIT(OUT_BYTES),
		     third = BYTES_LIMIT(OUT_BYTES);

	must(a != NULL);
	if (pass_reply(a, body, &first) == 0) {
		must(pass_reply(a, bytes_span(&first), &second) == 0);
		must(pass_reply(a, bytes_span(&second), &third) == 0);
		must(same(&second, &third));
	}
	bytes_free(&first);
	bytes_free(&second);
	bytes_free(&third);
	arena_free(a);
}

/* ---- streams ---- */

struct digest {
	struct neutral_order order;
	bool failed, over;
	/* of each kind all text in a row, and calls with their ids and names */
	struct bytes text[PART__COUNT];
	void *writer;
	struct bytes *out;
};

static int
note(void *ctx, const struct neutral_event *e)
{
	struct digest *d = ctx;
	struct bytes *b = &d->text[e->part.kind];

	must(neutral_order_check(&d->order, e) == NULL);
	d->failed = d->failed || e->kind == EVENT_ERROR;
	d->over = d->over || e->kind == EVENT_END;
	if (e->kind == EVENT_PART && e->part.kind == PART_TOOL_CALL) {
		(void)bytes_puts(b, " call ");
		(void)bytes_json(b, e->part.call_id);
		(void)bytes_json(b, e->part.name);
	}
	if (e->kind == EVENT_DELTA && e->text.at != NULL) {
		must(json_valid(e->text));
		(void)bytes_add(b, e->text.at + 1, e->text.len - 2);
	}
	if (d->writer != NULL)
		must(responses()->write_event(d->writer, &options, e, d->out) == 0);
	return 0;
}

/* A frame a line; of what we wrote, the lines of data. */
static void
read_lines(struct span lines, bool ours, struct digest *d)
{
	void *reader = calloc(1, *responses()->reader_bytes);
	struct frame f = { .data = SPAN_NONE };

	must(reader != NULL);
	for (size_t i = 0; i < PART__COUNT; i++)
		d->text[i] = BYTES_LIMIT(OUT_BYTES);
	while (lines.len > 0) {
		const char *end = memchr(lines.at, '\n', lines.len);
		size_t len = end == NULL ? lines.len : (size_t)(end - lines.at);

		f.data = (struct span){ lines.at, len };
		if (span_starts(f.data, "data: "))
			f.data.at += 6, f.data.len -= 6;
		else if (ours)
			f.data = SPAN_NONE;
		must(!ours || f.data.len == 0 || json_valid(f.data));
		must(responses()->read_frame(reader, &f, note, d) == 0);
		lines.at += len + (end != NULL);
		lines.len -= len + (end != NULL);
	}
	must(responses()->read_end(reader, note, d) == 0);
	must(d->failed != d->over);
	responses()->reader_free(reader);
	free(reader);
}

static void
try_stream(struct span lines)
{
	static struct digest first, again;
	struct bytes out = BYTES_LIMIT(OUT_BYTES);

	memset(&first, 0, sizeof first);
	memset(&again, 0, sizeof again);
	first.out = &out;
	first.writer = calloc(1, *responses()->writer_bytes);
	must(first.writer != NULL);
	read_lines(lines, false, &first);
	if (first.over) {
		read_lines(bytes_span(&out), true, &again);
		must(again.over);
		must(same(&first.text[PART_TEXT], &again.text[PART_TEXT]));
		must(same(&first.text[PART_REASONING], &again.text[PART_REASONING]));
		must(same(&first.text[PART_REFUSAL], &again.text[PART_REFUSAL]));
		/* an empty call is given its {} */
		if (first.text[PART_TOOL_CALL].len == again.text[PART_TOOL_CALL].len)
			must(same(&first.text[PART_TOOL_CALL], &again.text[PART_TOOL_CALL]));
	}
	responses()->writer_free(first.writer);
	free(first.writer);
	bytes_free(&out);
	for (size_t i = 0; i < PART__COUNT; i++) {
		bytes_free(&first.text[i]);
		bytes_free(&again.text[i]);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest;

	if (size == 0)
		return 0;
	rest = (struct span){ (const char *)data + 1, size - 1 };
	switch (data[0] % 3) {
	case 0:
		try_request(rest);
		break;
	case 1:
		try_reply(rest);
		break;
	default:
		try_stream(rest);
		break;
	}
	return 0;
}
