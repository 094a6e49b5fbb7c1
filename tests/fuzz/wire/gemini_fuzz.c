/*
 * gemini_fuzz.c - a client or a provider may send any bytes in Gemini's dialect.
 *
 * The first byte chooses.  A request: what was read is written, read and written again, and both
 * are the same bytes.  An answer: likewise.  A stream: the events keep their order, whatever the
 * chunks say, and what is written of them is an array that is JSON, and is read again without an
 * error where the first was.
 */
#include "wire/gemini.h"

#include "../../lib/fuzz.h"
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20)

/* ---- requests ---- */

static const char *const models[] = { "gemini-2.5-flash", "gemini-3-pro", "gemini-2.0-flash-image",
	"other" };

/* 0 and the body that was made of it. */
static int
round_trip(struct arena *a, struct span body, const char *model, struct bytes *out)
{
	struct neutral_request *n = arena_alloc(a, sizeof *n);
	struct request_source from = { .body = body };
	struct request_target to = { .model = model };
	struct request_made made = { .body = out };
	struct losses lost = { 0 };
	struct err err = { 0 };

	must(n != NULL);
	neutral_request_init(n, a);
	if (gemini_read_request(&from, n, &lost, &err) != 0 ||
		gemini_write_request(n, &to, &made, &lost, &err) != 0) {
		must(err.code == ERR_BAD_REQUEST || err.code == ERR_UNSUPPORTED);
		must(err_public(&err)[0] != '\0');
		return -1;
	}
	return 0;
}

static void
try_request(struct span body, const char *model)
{
	struct arena *a = arena_new(MOST_BYTES);
	struct bytes once = BYTES_LIMIT(MOST_BYTES), twice = BYTES_LIMIT(MOST_BYTES);
	struct bytes thrice = BYTES_LIMIT(MOST_BYTES);

	must(a != NULL);
	if (round_trip(a, body, model, &once) == 0) {
		must(json_valid(bytes_span(&once)));
		must(round_trip(a, bytes_span(&once), model, &twice) == 0);
		must(round_trip(a, bytes_span(&twice), model, &thrice) == 0);
		must(same_bytes(&twice, &thrice));
		/* "none" is told some models as "little", which is then asked to be shown */
		must(same_bytes(&once, &twice) ||
			memmem(once.at, once.len, "thinkingConfig", 14) != NULL);
	}
	bytes_free(&thrice);
	bytes_free(&once);
	bytes_free(&twice);
	arena_free(a);
}

/* ---- answers ---- */

static int
round_reply(struct arena *a, struct span body, struct bytes *out)
{
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };
	struct reply_options o = { .model = "gw" };
	struct err err = { 0 };

	if (gemini_read_reply(body, &r, &err) != 0) {
		must(err.code == ERR_UPSTREAM_UNREACHABLE);
		return -1;
	}
	must(r.choice_count >= 1);
	if (r.id.len == 0)
		r.id = SPAN_LIT("r"); /* one made up would not be the same again */
	must(gemini_write_reply(&r, &o, out) == 0);
	return 0;
}

static void
try_reply(struct span body)
{
	struct arena *a = arena_new(MOST_BYTES);
	struct bytes once = BYTES_LIMIT(MOST_BYTES), twice = BYTES_LIMIT(MOST_BYTES);

	must(a != NULL);
	if (round_reply(a, body, &once) == 0) {
		must(json_valid(bytes_span(&once)));
		if (round_reply(a, bytes_span(&once), &twice) == 0)
			must(same_bytes(&once, &twice));
		else
			must(memmem(once.at, once.len, "MALFORMED", 9) != NULL);
	}
	bytes_free(&once);
	bytes_free(&twice);
	arena_free(a);
}

/* ---- streams ---- */

struct watch {
	struct neutral_order order;
	bool failed, ended;
	void *writer;
	struct reply_options options;
	struct bytes out;
};

static int
watch(void *ctx, const struct neutral_event *e)
{
	struct watch *w = ctx;

	must(neutral_order_check(&w->order, e) == NULL);
	w->failed = w->failed || e->kind == EVENT_ERROR;
	w->ended = w->ended || e->kind == EVENT_END;
	must(gemini_write_event(w->writer, &w->options, e, &w->out) == 0);
	return 0;
}

static int
read_frame(void *ctx, const struct frame *f)
{
	void **both = ctx;

	return gemini_read_frame(both[0], f, watch, both[1]);
}

static struct watch
read_stream(struct span body)
{
	struct watch w = { .writer = calloc(1, gemini_writer_bytes),
		.options = { .model = "gw", .array = true },
		.out = BYTES_LIMIT(MOST_BYTES) };
	void *reader = calloc(1, gemini_reader_bytes), *both[2] = { reader, &w };
	struct frames *frames = frames_new(FRAMING_JSON);

	must(frames != NULL && reader != NULL && w.writer != NULL);
	if (frames_feed(frames, body.at, body.len, read_frame, both) == 0)
		(void)frames_end(frames, read_frame, both);
	must(gemini_read_end(reader, watch, &w) == 0);
	must(w.failed != w.ended);
	frames_free(frames);
	gemini_reader_free(reader);
	gemini_writer_free(w.writer);
	free(reader);
	free(w.writer);
	return w;
}

static void
try_stream(struct span body)
{
	struct watch first = read_stream(body), second;

	must(json_valid(bytes_span(&first.out)));
	second = read_stream(bytes_span(&first.out));
	if (second.failed && !first.failed)
		must(memmem(first.out.at, first.out.len, "MALFORMED", 9) != NULL);
	bytes_free(&first.out);
	bytes_free(&second.out);
}

static size_t
brackets(const uint8_t *data, size_t size)
{
	size_t most = 0, depth = 0;

	for (size_t i = 0; i < size; i++) {
		if (data[i] == '[' || data[i] == '{')
			depth++;
		else if ((data[i] == ']' || data[i] == '}') && depth > 0)
			depth--;
		if (depth > most)
			most = depth;
	}
	return most;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_usage usage = { 0 };
	struct span body;
	char *exact;

	/* What we write may hold an answer one level deeper than it came. */
	if (size < 2 || brackets(data, size) > JSON_DEPTH_MAX / 2)
		return 0;
	/* A copy of its own, so that the sanitizer sees a look past its end. */
	exact = malloc(size - 1);
	must(exact != NULL);
	memcpy(exact, data + 1, size - 1);
	body = (struct span){ exact, size - 1 };
	switch (data[0] % 4) {
	case 0:
		try_request(body, models[(data[0] >> 2) % 4]);
		break;
	case 1:
		try_reply(body);
		break;
	default:
		try_stream(body);
		break;
	}
	gemini_usage(body, &usage);
	must(usage.input <= 2 * WIRE_TOKENS_MAX && usage.reasoning <= usage.output);
	free(exact);
	return 0;
}
