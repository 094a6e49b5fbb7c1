/*
 * sse_test.c - the reader finds the same events however the bytes are cut, and gives back each byte.
 */
#include "wire/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What was given, as one text: "name|data\n" for each event; and all raw bytes. */
struct log {
	struct bytes events, raw;
	int count, stop_after;
	bool in_long;
};

static bool
note(void *ctx, const struct sse_event *e)
{
	struct log *l = ctx;

	assert_int_equal(bytes_add(&l->raw, e->raw.at, e->raw.len), 0);
	if (e->too_long) {
		assert_int_equal(e->data.len + e->name.len, 0);
		if (!l->in_long)
			(void)bytes_puts(&l->events, "TOO LONG\n");
		l->in_long = !e->ended;
		l->count += e->ended;
		return l->count != l->stop_after;
	}
	assert_true(e->ended);
	l->count++;
	if (e->name.len + e->data.len > 0) {
		(void)bytes_add(&l->events, e->name.at, e->name.len);
		(void)bytes_puts(&l->events, "|");
		(void)bytes_add(&l->events, e->data.at, e->data.len);
		(void)bytes_puts(&l->events, "\n");
	}
	return l->count != l->stop_after;
}

static void
read_cut(struct span in, size_t first, size_t step, struct log *l)
{
	struct sse s;
	size_t at = 0;

	*l = (struct log){ .events = BYTES_LIMIT(1 << 24), .raw = BYTES_LIMIT(1 << 24) };
	sse_init(&s);
	while (at < in.len) {
		size_t n = at == 0 && first > 0 ? first : step;
		char *exact; /* so that the sanitizer sees a look behind the end */

		if (n > in.len - at)
			n = in.len - at;
		exact = malloc(n);
		memcpy(exact, in.at + at, n);
		assert_int_equal(sse_feed(&s, exact, n, note, l), (ptrdiff_t)n);
		free(exact);
		at += n;
	}
	assert_int_equal(sse_end(&s, note, l), 0);
	sse_free(&s);
	assert_false(l->in_long);
	assert_int_equal(l->raw.len, in.len);
	if (in.len > 0)
		assert_memory_equal(l->raw.at, in.at, in.len);
}

static void
done(struct log *l)
{
	bytes_free(&l->events);
	bytes_free(&l->raw);
}

static void
events_are(const char *why, struct span in, struct span want)
{
	struct log l;

	for (size_t cut = 0; cut <= in.len; cut++) {
		read_cut(in, cut, cut == 0 ? 1 : SIZE_MAX, &l);
		if (l.events.len != want.len ||
			(want.len > 0 && memcmp(l.events.at, want.at, want.len) != 0))
			fail_msg("%s, cut at %zu: got\n%s", why, cut, l.events.at);
		done(&l);
	}
}

static void
finds_the_same_events_at_every_cut(void **state)
{
	static const struct {
		const char *why, *in, *want;
	} cases[] = {
		{ "nothing", "", "" },
		{ "one", "data: a\n\n", "|a\n" },
		{ "no blank behind the colon", "data:a\n\n", "|a\n" },
		{ "only one blank goes", "data:  a\n\n", "| a\n" },
		{ "CRLF", "event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", "x|a\n|b\n" },
		{ "CR", "event: x\rdata: a\r\rdata: b\r\r", "x|a\n|b\n" },
		{ "CR then CRLF", "data: a\r\r\ndata: b\r\n\rdata: c\n\r\n", "|a\n|b\n|c\n" },
		{ "mixed ends", "data: a\n\r\ndata: b\r\n\ndata: c\r\n\r\n", "|a\n|b\n|c\n" },
		{ "several data lines", "data: a\ndata:\ndata: b\n\n", "|a\n\nb\n" },
		{ "several, CRLF", "data: a\r\ndata: b\r\n\r\n", "|a\nb\n" },
		{ "data without a colon", "data: a\ndata\n\n", "|a\n\n" },
		{ "the last name holds", "event: x\nevent: y\ndata: a\n\n", "y|a\n" },
		{ "other fields", "id: 7\nretry: 5\ndatas: z\ndata: a\n\n", "|a\n" },
		{ "a comment alone", ": ping\n\ndata: a\n\n", "|a\n" },
		{ "a comment within", "data: a\n: ping\ndata: b\n\n", "|a\nb\n" },
		{ "stray blank lines", "\n\n\r\n\rdata: a\n\n\n\n", "|a\n" },
		{ "a mark",
			"\xEF\xBB\xBF"
			"data: a\n\n",
			"|a\n" },
		{ "a mark and a comment", "\xEF\xBB\xBF: x\n\ndata: a\n\n", "|a\n" },
		{ "a mark and a blank line", "\xEF\xBB\xBF\ndata: a\n\n", "|a\n" },
		{ "half a mark",
			"\xEF\xBB"
			"data: a\n\ndata: b\n\n",
			"|b\n" },
		{ "a mark only at the start",
			"data: a\n\n\xEF\xBB\xBF"
			"data: b\n\n",
			"|a\n" },
		{ "no empty line at the end", "data: a\n\ndata: b\n", "|a\n|b\n" },
		{ "no line end at the end", "data: a\n\ndata: b", "|a\n|b\n" },
		{ "a CR at the end", "data: a\r\n\r", "|a\n" },
		{ "UTF-8", "data: \xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\n\n",
			"|\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\n" },
		{ "name without data", "event: x\n\n", "x|\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		events_are(cases[i].why, span_of(cases[i].in), span_of(cases[i].want));
	events_are("NUL bytes", SPAN_LIT("data: a\0b\n\nevent: x\0\ndata: c\n\n"),
		SPAN_LIT("|a\0b\nx\0|c\n"));
}

/* 24 bytes more than fit, and as many as just fit. */
static void
an_event_too_long_goes_by_in_pieces(void **state)
{
	static const size_t steps[] = { SIZE_MAX, 1, 7, 4096, SSE_EVENT_MAX, SSE_EVENT_MAX + 1 };
	const char *tail = "\n\ndata: after\n\n";
	char *text = malloc(2 * (SSE_EVENT_MAX + 64));

	(void)state;
	for (int over = 0; over <= 1; over++) {
		size_t fill = SSE_EVENT_MAX - 8 + (size_t)over, len = 6 + fill;

		memcpy(text, "data: ", 6);
		memset(text + 6, 'x', fill);
		memcpy(text + len, tail, strlen(tail));
		len += strlen(tail);
		for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
			struct log l;

			read_cut((struct span){ text, len }, 0, steps[i], &l);
			assert_int_equal(l.count, 2);
			if (over)
				assert_string_equal(l.events.at, "TOO LONG\n|after\n");
			else
				assert_int_equal(l.events.len, fill + 2 + strlen("|after\n"));
			done(&l);
		}
	}
	/* Two of them, and a comment that is as long. */
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		size_t len = SSE_EVENT_MAX + 20;
		struct log l;

		memset(text, 'x', 2 * len);
		text[0] = ':';
		text[len - 1] = text[2 * len - 1] = text[2 * len - 2] = '\n';
		read_cut((struct span){ text, 2 * len }, 0, steps[i], &l);
		assert_int_equal(l.count, 2);
		assert_string_equal(l.events.at, "TOO LONG\nTOO LONG\n");
		done(&l);
	}
	free(text);
}

static void
stops_where_it_is_told(void **state)
{
	static const char in[] = "data: a\n\ndata: b\n\ndata: c\n\n";
	struct sse s;
	struct log l = { .events = BYTES_LIMIT(100), .raw = BYTES_LIMIT(100), .stop_after = 2 };
	ptrdiff_t used;

	(void)state;
	sse_init(&s);
	used = sse_feed(&s, in, sizeof in - 1, note, &l);
	assert_int_equal(used, 18);
	assert_string_equal(l.events.at, "|a\n|b\n");
	l.stop_after = 0;
	assert_int_equal(sse_feed(&s, in + used, sizeof in - 1 - (size_t)used, note, &l), 9);
	assert_string_equal(l.events.at, "|a\n|b\n|c\n");
	assert_int_equal(sse_end(&s, note, &l), 0);
	assert_int_equal(l.count, 3);
	sse_free(&s);
	done(&l);
}

/* A reader that waited for the byte behind would hold back the last event of each burst. */
static void
an_event_comes_with_its_last_byte(void **state)
{
	static const struct {
		const char *why, *in;
		int count;
	} cases[] = {
		{ "LF", "data: a\n\n", 1 },
		{ "CRLF", "data: a\r\n\r\n", 1 },
		{ "lone CR", "data: a\r\r", 1 },
		{ "half a CRLF", "data: a\r\n\r", 0 },
		{ "a comment and its blank line", ": ping\n\n", 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sse s;
		struct log l = { .events = BYTES_LIMIT(100), .raw = BYTES_LIMIT(100) };

		sse_init(&s);
		(void)sse_feed(&s, cases[i].in, strlen(cases[i].in), note, &l);
		if (l.count != cases[i].count)
			fail_msg("%s: %d events", cases[i].why, l.count);
		sse_free(&s);
		done(&l);
	}
}

static bool
lies_in(void *ctx, const struct sse_event *e)
{
	const char *in = ctx;

	assert_true(e->raw.at >= in && e->raw.at + e->raw.len <= in + strlen(in));
	return true;
}

static void
whole_events_are_not_copied(void **state)
{
	char in[] = ": x\n\ndata: a\n\ndata: b\r\n\r\n";
	struct sse s;

	(void)state;
	sse_init(&s);
	assert_int_equal(sse_feed(&s, in, strlen(in), lies_in, in), (ptrdiff_t)strlen(in));
	assert_null(s.raw.at);
	sse_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_same_events_at_every_cut),
		cmocka_unit_test(an_event_too_long_goes_by_in_pieces),
		cmocka_unit_test(stops_where_it_is_told),
		cmocka_unit_test(an_event_comes_with_its_last_byte),
		cmocka_unit_test(whole_events_are_not_copied),
	};

	return cmocka_run_group_tests_name("wire/sse", tests, NULL, NULL);
}
