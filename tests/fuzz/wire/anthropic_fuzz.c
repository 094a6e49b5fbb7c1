/*
 * anthropic_fuzz.c - clients and providers may send any bytes.
 *
 * The first byte chooses what the rest is.  A request that is read and written is read again, and then
 * written the same, byte for byte; so is an answer.  Spliced, a request is valid JSON and splicing it
 * again changes nothing.  A stream's events (one a line) come in the promised order; written and read
 * again they still do, and the end is the same.
 */
#include "wire/anthropic.h"

#include "../../lib/fuzz.h"
#include "wire/bedrock_invoke.h"
#include <string.h>

#define ARENA_BYTES (256 * 1024 * 1024)
#define OUT_BYTES   (64 * 1024 * 1024)

/* ---- requests ---- */

/* -1: refused. */
static int
rewrite(struct span body, const char *model, struct bytes *out)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct neutral_request *n = arena_alloc(a, sizeof *n);
	struct request_source from = { .body = body };
	struct request_target to = { .model = model };
	struct request_made made = { .body = out };
	struct losses lost = { 0 };
	struct err err = { .code = ERR_NONE };
	int rc;

	neutral_request_init(n, a);
	rc = anthropic_read_request(&from, n, &lost, &err);
	if (rc == 0)
		rc = anthropic_write_request(n, &to, &made, &lost, &err);
	must(rc == 0 || err.code != ERR_NONE);
	must(rc != 0 || json_valid(bytes_span(out)));
	arena_free(a);
	return rc;
}

static void
fuzz_request(struct span body, const char *model)
{
	struct bytes first = BYTES_LIMIT(OUT_BYTES), second = BYTES_LIMIT(OUT_BYTES);
	struct bytes third = BYTES_LIMIT(OUT_BYTES);

	if (rewrite(body, model, &first) == 0) {
		must(rewrite(bytes_span(&first), model, &second) == 0);
		must(rewrite(bytes_span(&second), model, &third) == 0);
		must(second.len == third.len && memcmp(second.at, third.at, second.len) == 0);
		/* newer models' effort has no place beside thinking that was turned off */
		must(strcmp(model, "claude-opus-4-7") == 0 ||
			(first.len == second.len && memcmp(first.at, second.at, first.len) == 0));
	}
	bytes_free(&first);
	bytes_free(&second);
	bytes_free(&third);
}

static int
splice(struct span body, const struct format *f, struct bytes *out)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct request_source from = { .body = body };
	struct request_target to = { .model = "m" };
	struct request_made made = { .body = out };
	struct losses lost = { 0 };
	struct err err = { .code = ERR_NONE };
	int rc = f->splice_request(a, &from, &to, &made, &lost, &err);

	must(rc != 0 || json_valid(bytes_span(out)));
	arena_free(a);
	return rc;
}

static void
fuzz_splice(struct span body, const struct format *f)
{
	struct bytes first = BYTES_LIMIT(OUT_BYTES), second = BYTES_LIMIT(OUT_BYTES);

	if (splice(body, f, &first) == 0) {
		must(splice(bytes_span(&first), f, &second) == 0);
		must(first.len == second.len && memcmp(first.at, second.at, first.len) == 0);
	}
	bytes_free(&first);
	bytes_free(&second);
}

/* ---- answers ---- */

static int
rewrite_reply(struct span body, struct bytes *out)
{
	struct neutral_reply r = { .arena = arena_new(ARENA_BYTES), .usage = WIRE_USAGE_NONE };
	struct reply_options o = { .model = "m" };
	struct err err = { .code = ERR_NONE };
	int rc = anthropic_read_reply(body, &r, &err);

	must(rc == 0 ? r.choice_count == 1 : err.code != ERR_NONE);
	if (rc == 0)
		must(anthropic_write_reply(&r, &o, out) == 0 && json_valid(bytes_span(out)));
	arena_free(r.arena);
	return rc;
}

static void
fuzz_reply(struct span body)
{
	struct bytes first = BYTES_LIMIT(OUT_BYTES), second = BYTES_LIMIT(OUT_BYTES);
	struct bytes third = BYTES_LIMIT(OUT_BYTES);

	/* ids that are missing are made up in the first */
	if (rewrite_reply(body, &first) == 0) {
		must(rewrite_reply(bytes_span(&first), &second) == 0);
		must(rewrite_reply(bytes_span(&second), &third) == 0);
		must(second.len == third.len && memcmp(second.at, third.at, second.len) == 0);
	}
	bytes_free(&first);
	bytes_free(&second);
	bytes_free(&third);
}

/* ---- streams ---- */

struct heard {
	struct neutral_order order;
	void *writer; /* NULL: only heard */
	struct bytes out;
	bool ended, failed;
};

static int
hear(void *ctx, const struct neutral_event *e)
{
	static const struct reply_options o = { .model = "m" };
	struct heard *h = ctx;

	must(neutral_order_check(&h->order, e) == NULL);
	must(e->text.at == NULL || json_valid(e->text));
	h->ended = h->ended || e->kind == EVENT_END;
	h->failed = h->failed || e->kind == EVENT_ERROR;
	if (h->writer != NULL)
		must(anthropic_write_event(h->writer, &o, e, &h->out) == 0);
	return 0;
}

static int
hear_frame(void *ctx, const struct frame *f)
{
	void **both = ctx;

	return anthropic_read_frame(both[0], f, hear, both[1]);
}

/* What is no UTF-8 is written as U+FFFD, and may be longer than a ceiling then. */
static bool
is_utf8(struct span s)
{
	static const char mark[] = "\xEF\xBF\xBD";
	struct bytes b = BYTES_LIMIT(OUT_BYTES);
	bool same;

	(void)bytes_json_inside(&b, s);
	same = b.len == 0 || memmem(b.at, b.len, mark, 3) == NULL;
	bytes_free(&b);
	return same;
}

static void
fuzz_stream(struct span lines, const struct format *f)
{
	struct heard first = { .out = BYTES_LIMIT(OUT_BYTES) }, second = { .writer = NULL };
	void *reader = calloc(1, anthropic_reader_bytes),
	     *again = calloc(1, anthropic_reader_bytes);
	struct frames *frames = frames_new(FRAMING_SSE);
	void *both[2] = { again, &second };
	bool clean = is_utf8(lines);

	first.writer = calloc(1, anthropic_writer_bytes);
	must(reader != NULL && again != NULL && frames != NULL && first.writer != NULL);
	while (lines.len > 0) {
		const char *end = memchr(lines.at, '\n', lines.len);
		size_t len = end == NULL ? lines.len : (size_t)(end - lines.at);
		struct frame frame = { .data = { lines.at, len } };

		if (len > 0 && lines.at[0] == '!')
			frame = (struct frame){ .name = { lines.at, len },
				.data = { lines.at + 1, len - 1 },
				.exception = true };
		must(f->read_frame(reader, &frame, hear, &first) == 0);
		lines.at += len + (end != NULL);
		lines.len -= len + (end != NULL);
	}
	must(f->read_end(reader, hear, &first) == 0);
	must(first.ended != first.failed);
	if (first.out.len > 0)
		must(frames_feed(frames, first.out.at, first.out.len, hear_frame, both) == 0);
	must(frames_end(frames, hear_frame, both) == 0);
	must(anthropic_read_end(again, hear, &second) == 0);
	must(!clean || (first.ended == second.ended && first.failed == second.failed));

	frames_free(frames);
	anthropic_reader_free(reader);
	anthropic_reader_free(again);
	anthropic_writer_free(first.writer);
	free(reader);
	free(again);
	free(first.writer);
	bytes_free(&first.out);
}

static void
fuzz_splice_frame(struct span event, const struct format *f)
{
	struct reply_options o = { .model = "m" };
	struct frame frame = { .data = event };
	struct bytes out = BYTES_LIMIT(OUT_BYTES);
	struct wire_usage u = WIRE_USAGE_NONE;

	must(f->splice_frame(&frame, &o, &out) == 0);
	f->usage(event, &u);
	bytes_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data + 1, size - 1 };

	if (size < 2)
		return 0;
	switch (data[0] % 9) {
	case 0:
		fuzz_request(rest, "claude-sonnet-4-5");
		break;
	case 1:
		fuzz_request(rest, "claude-opus-4-7");
		break;
	case 2:
		fuzz_reply(rest);
		break;
	case 3:
		fuzz_stream(rest, format_of(FORMAT_ANTHROPIC));
		break;
	case 4:
		fuzz_stream(rest, format_of(FORMAT_BEDROCK_INVOKE));
		break;
	case 5:
		fuzz_splice(rest, format_of(FORMAT_ANTHROPIC));
		break;
	case 6:
		fuzz_splice(rest, format_of(FORMAT_BEDROCK_INVOKE));
		break;
	case 7:
		fuzz_splice_frame(rest, format_of(FORMAT_ANTHROPIC));
		break;
	default:
		fuzz_splice_frame(rest, format_of(FORMAT_BEDROCK_INVOKE));
		break;
	}
	return 0;
}
