/*
 * frames_test.c - the same frames come out however the bytes are cut, and a stream that is none ends.
 */
#include "wire/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "name|data\n" for each frame, "name!data\n" for exceptions. */
struct log {
	struct bytes frames;
	int stop_after;
	int rc;
};

static int
note(void *ctx, const struct frame *f)
{
	struct log *l = ctx;

	assert_int_equal(bytes_add(&l->frames, f->name.at, f->name.len), 0);
	assert_int_equal(bytes_puts(&l->frames, f->exception ? "!" : "|"), 0);
	assert_int_equal(bytes_add(&l->frames, f->data.at, f->data.len), 0);
	assert_int_equal(bytes_puts(&l->frames, "\n"), 0);
	return --l->stop_after == 0 ? -1 : 0;
}

/* A piece of `first` bytes, then pieces of `step`. */
static struct log
read_cut(enum framing framing, struct span in, size_t first, size_t step, int stop_after)
{
	struct log l = { .frames = BYTES_LIMIT(64 << 20), .stop_after = stop_after };
	struct frames *f = frames_new(framing);
	size_t at = 0;

	assert_non_null(f);
	while (at < in.len) {
		size_t n = at == 0 && first > 0 ? first : step;
		char *exact; /* so that the sanitizer sees a look behind the end */
		int rc;

		if (n > in.len - at)
			n = in.len - at;
		exact = malloc(n);
		memcpy(exact, in.at + at, n);
		rc = frames_feed(f, exact, n, note, &l);
		free(exact);
		if (l.rc != 0)
			assert_int_equal(rc, l.rc);
		l.rc = rc;
		at += n;
	}
	l.rc = frames_end(f, note, &l);
	frames_free(f);
	return l;
}

static void
frames_are(const char *why, enum framing framing, struct span in, const char *want, int rc)
{
	for (size_t cut = 0; cut <= in.len; cut++) {
		struct log l = read_cut(framing, in, cut, cut == 0 ? 1 : SIZE_MAX, 0);
		const char *got = l.frames.at == NULL ? "" : l.frames.at;

		if (l.rc != rc || strcmp(got, want) != 0)
			fail_msg("%s, cut at %zu: %d and\n%s", why, cut, l.rc, got);
		bytes_free(&l.frames);
	}
}

static void
finds_events(void **state)
{
	static const struct {
		const char *why, *in, *want;
	} cases[] = {
		{ "nothing", "", "" },
		{ "one", "data: {}\n\n", "|{}\n" },
		{ "names and comments", ": hi\n\nevent: a\ndata: 1\n\n:x\ndata: 2\n\n",
			"a|1\n|2\n" },
		{ "no data, no frame", "event: a\n\nid: 3\n\ndata: 1\n\n", "|1\n" },
		{ "the last without its empty line", "data: 1\r\n\r\ndata: 2", "|1\n|2\n" },
		{ "an error that stands alone",
			"data: 1\r\n\r\n{\r\n \"error\": {\"code\": 503}\r\n}\r\n\r\ndata: "
			"2\r\n\r\n",
			"|1\n|{\r\n \"error\": {\"code\": 503}\r\n}\n|2\n" },
		{ "an error that stands last", "data: 1\n\n{\"error\":{}}",
			"|1\n|{\"error\":{}}\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		frames_are(cases[i].why, FRAMING_SSE, span_of(cases[i].in), cases[i].want, 0);
		frames_are(cases[i].why, FRAMING_JSON, span_of(cases[i].in), cases[i].want, 0);
		frames_are(cases[i].why, FRAMING_SAP, span_of(cases[i].in), cases[i].want, 0);
	}
}

static void
finds_objects_of_json(void **state)
{
	static const struct {
		const char *why, *in, *want;
		int rc;
	} cases[] = {
		{ "an array", "[{\"a\":1}\n,\r\n{\"b\":[{}]}\n]\n", "|{\"a\":1}\n|{\"b\":[{}]}\n",
			0 },
		{ "an array in lines", "\n [\n{\n \"a\": 1\n}\n,\n{}]", "|{\n \"a\": 1\n}\n|{}\n",
			0 },
		{ "brackets in strings", "[{\"a}]\":\"\\\"}{\\\\\"},{\"b\":\"\\\\\"}]",
			"|{\"a}]\":\"\\\"}{\\\\\"}\n|{\"b\":\"\\\\\"}\n", 0 },
		{ "an object", "  {\"error\":{\"code\":400}}\n", "|{\"error\":{\"code\":400}}\n",
			0 },
		{ "objects in lines", "{}\n{\"a\":{}}\n", "|{}\n|{\"a\":{}}\n", 0 },
		{ "an empty array", "[]", "", 0 },
		{ "an array not closed", "[{}", "|{}\n", 0 },
		{ "cut within an object", "[{},{\"a\":", "|{}\n", -2 },
		{ "other values", "[{},1]", "|{}\n", -2 },
		{ "other text behind", "[{}] <html>", "|{}\n", -2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		frames_are(cases[i].why, FRAMING_JSON, span_of(cases[i].in), cases[i].want,
			cases[i].rc);
}

static void
makes_json_of_python(void **state)
{
	static const struct {
		const char *why, *in, *want;
	} cases[] = {
		{ "a literal",
			"data: {'contentBlockDelta': {'delta': {'text': \"I'm\"}, "
			"'contentBlockIndex': 0}}\n\n",
			"|{\"contentBlockDelta\":{\"delta\":{\"text\":\"I'm\"},"
			"\"contentBlockIndex\":0}}\n" },
		{ "JSON stays as it is", "data: {\"a\" : [1, 2 ], \"b\": \"\\/\"}\n\n",
			"|{\"a\" : [1, 2 ], \"b\": \"\\/\"}\n" },
		{ "each on its own",
			"data: {'a': None}\n\ndata: {\"a\":null}\n\ndata: {'b': 1}\n\n",
			"|{\"a\":null}\n|{\"a\":null}\n|{\"b\":1}\n" },
		{ "what is neither stays", "data: {'a': b}\n\ndata: [DONE]\n\n",
			"|{'a': b}\n|[DONE]\n" },
		{ "only there", "data: ['a']\n\n", "|['a']\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		frames_are(cases[i].why, FRAMING_SAP, span_of(cases[i].in), cases[i].want, 0);
	frames_are("not where it is not asked for", FRAMING_SSE, SPAN_LIT("data: {'a': 1}\n\n"),
		"|{'a': 1}\n", 0);
}

/* The header :message-type error, with an error's code and words; in no writer of ours. */
static const char error_message[] = "\x00\x00\x00\x59"
				    "\x00\x00\x00\x49"
				    "\x5f\x21\x8b\xe7"
				    "\x0d:message-type\x07\0\x05"
				    "error"
				    "\x0b:error-code\x07\0\x08"
				    "Internal"
				    "\x0e:error-message\x07\0\x0a"
				    "It \"broke\"";

static void
finds_messages(void **state)
{
	struct bytes in = BYTES_LIMIT(4096);
	const char *want = "messageStart|{\"role\":\"assistant\"}\n"
			   "messageStop|{}\n"
			   "throttlingException!{\"message\":\"slow\"}\n";
	size_t whole;

	(void)state;
	assert_int_equal(eventstream_write(&in, "event", "messageStart",
				 SPAN_LIT("{\"role\":\"assistant\"}")),
		0);
	assert_int_equal(eventstream_write(&in, "event", "messageStop", SPAN_LIT("{}")), 0);
	assert_int_equal(eventstream_write(&in, "exception", "throttlingException",
				 SPAN_LIT("{\"message\":\"slow\"}")),
		0);
	frames_are("three", FRAMING_EVENTSTREAM, bytes_span(&in), want, 0);
	frames_are("three where text is usual", FRAMING_SAP, bytes_span(&in), want, 0);

	whole = in.len;
	assert_int_equal(bytes_add(&in, "\0\0\0", 3), 0);
	frames_are("cut within the fourth", FRAMING_EVENTSTREAM, bytes_span(&in), want, -2);
	in.len = whole;
	assert_int_equal(bytes_add(&in, "HTTP/1.1 200 OK\r\n\r\n", 19), 0);
	frames_are("other bytes behind", FRAMING_EVENTSTREAM, bytes_span(&in), want, -2);
	in.len = whole;
	in.at[whole - 1] = (char)(in.at[whole - 1] ^ 1);
	frames_are("a wrong checksum", FRAMING_EVENTSTREAM, bytes_span(&in),
		"messageStart|{\"role\":\"assistant\"}\nmessageStop|{}\n", -2);
	bytes_free(&in);
}

static void
an_error_message_has_its_words_in_headers(void **state)
{
	struct bytes in = BYTES_LIMIT(4096);
	static const unsigned char crc[] = { 0x70, 0xA8, 0x68, 0x79 };

	(void)state;
	assert_int_equal(bytes_add(&in, error_message, sizeof error_message - 1), 0);
	assert_int_equal(bytes_add(&in, crc, sizeof crc), 0);
	frames_are("an error", FRAMING_EVENTSTREAM, bytes_span(&in),
		"Internal!{\"message\":\"It \\\"broke\\\"\"}\n", 0);
	bytes_free(&in);
}

static void
stops_when_told(void **state)
{
	static const struct {
		enum framing framing;
		const char *in;
	} cases[] = {
		{ FRAMING_SSE, "data: 1\n\ndata: 2\n\ndata: 3\n\n" },
		{ FRAMING_SAP, "data: 1\n\ndata: 2\n\ndata: 3\n\n" },
		{ FRAMING_JSON, "[{},{},{}]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t step = 1; step < 40; step++) {
			struct log l =
				read_cut(cases[i].framing, span_of(cases[i].in), step, step, 2);
			size_t lines = 0;

			for (size_t at = 0; at < l.frames.len; at++)
				lines += l.frames.at[at] == '\n';
			assert_int_equal(l.rc, -1);
			assert_int_equal(lines, 2);
			bytes_free(&l.frames);
		}
}

/* A frame of `len` bytes in all; one more is too many. */
static void
holds_frames_to_their_ceiling(void **state)
{
	static const struct {
		enum framing framing;
		const char *before, *after;
		size_t most; /* of the whole event, or of the object */
	} cases[] = {
		{ FRAMING_SSE, "data: {\"a\":\"", "\"}\n\n", FRAME_BYTES_MAX },
		{ FRAMING_JSON, "{\"a\":\"", "\"}", FRAME_BYTES_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t more = 0; more < 2; more++) {
			size_t ends = strlen(cases[i].before) + strlen(cases[i].after);
			size_t len = cases[i].most + more;
			char *text = malloc(len);

			memset(text, 'x', len);
			memcpy(text, cases[i].before, strlen(cases[i].before));
			memcpy(text + len - strlen(cases[i].after), cases[i].after,
				strlen(cases[i].after));
			for (size_t step = 100000; step <= 100000000; step *= 1000) {
				struct log l = read_cut(
					cases[i].framing, (struct span){ text, len }, 0, step, 0);

				assert_int_equal(l.rc, more == 0 ? 0 : -2);
				assert_true(
					more == 0 ? l.frames.len > len - ends : l.frames.len == 0);
				bytes_free(&l.frames);
			}
			free(text);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_events),
		cmocka_unit_test(finds_objects_of_json),
		cmocka_unit_test(makes_json_of_python),
		cmocka_unit_test(finds_messages),
		cmocka_unit_test(an_error_message_has_its_words_in_headers),
		cmocka_unit_test(stops_when_told),
		cmocka_unit_test(holds_frames_to_their_ceiling),
	};

	return cmocka_run_group_tests_name("wire/frames", tests, NULL, NULL);
}
