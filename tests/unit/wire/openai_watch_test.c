/*
 * openai_watch_test.c - a stream goes by unchanged, however it is cut, and leaves its figures behind.
 */
#include "wire/openai.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHUNK(delta)                                                                               \
	"data: "                                                                                   \
	"{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{"        \
	"\"index\":0,"                                                                             \
	"\"delta\":" delta ",\"finish_reason\":null}],\"usage\":null}\n\n"
#define USAGE_CHUNK                                                                                \
	"data: "                                                                                   \
	"{\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":82,\"completion_tokens\":17,"   \
	"\"total_tokens\":99}}\n\n"
#define DONE "data: [DONE]\n\n"

struct passed {
	struct bytes all, last; /* last: what came with that mark */
	int calls;
};

static void
pass(void *ctx, const char *data, size_t len, bool last)
{
	struct passed *p = ctx;

	assert_true(len > 0);
	if (!last)
		assert_int_equal(p->last.len, 0);
	p->calls++;
	(void)bytes_add(&p->all, data, len);
	if (last)
		(void)bytes_add(&p->last, data, len);
}

struct want {
	const char *out, *last; /* NULL: all that came in; none */
	int64_t input, output, chars;
	bool hide, done, failed;
	const char *error;
};

static void
watch_cut(const char *why, struct span in, size_t first, size_t step, const struct want *want)
{
	struct openai_watch w;
	struct passed p = { .all = BYTES_LIMIT(1 << 24), .last = BYTES_LIMIT(1 << 24) };
	struct span out = want->out == NULL ? in : span_of(want->out);
	struct span last = span_of(want->last);

	openai_watch_init(&w, want->hide);
	for (size_t at = 0, n; at < in.len; at += n) {
		char *exact;

		n = at == 0 && first > 0 ? first : step;
		if (n > in.len - at)
			n = in.len - at;
		exact = malloc(n);
		memcpy(exact, in.at + at, n);
		assert_int_equal(openai_watch_feed(&w, exact, n, pass, &p), 0);
		free(exact);
	}
	assert_int_equal(openai_watch_end(&w, pass, &p), 0);
	if (p.all.len != out.len || (out.len > 0 && memcmp(p.all.at, out.at, out.len) != 0))
		fail_msg("%s, cut at %zu: passed\n%s", why, first, p.all.at);
	/* From the last event on; pieces of a long one have gone by before it was known. */
	if (want->last != NULL &&
		(p.last.len != last.len || memcmp(p.last.at, last.at, last.len) != 0))
		fail_msg("%s, cut at %zu: last is\n%s", why, first,
			p.last.at == NULL ? "" : p.last.at);
	if (w.done != want->done || w.failed != want->failed || w.usage.input != want->input ||
		w.usage.output != want->output)
		fail_msg("%s, cut at %zu: done %d failed %d in %lld out %lld", why, first, w.done,
			w.failed, (long long)w.usage.input, (long long)w.usage.output);
	if (want->chars >= 0 && w.output_chars != want->chars)
		fail_msg("%s: %lld bytes of text", why, (long long)w.output_chars);
	assert_string_equal(w.error, want->error == NULL ? "" : want->error);
	openai_watch_free(&w);
	bytes_free(&p.all);
	bytes_free(&p.last);
}

static void
streams_go_by_whole_at_every_cut(void **state)
{
	static const struct {
		const char *why, *in;
		struct want want;
	} cases[] = {
		{ "chat, the client asked",
			CHUNK("{\"role\":\"assistant\",\"content\":\"\"}")
				CHUNK("{\"content\":\"Hi \\\"you\\\"\"}") USAGE_CHUNK DONE,
			{ NULL, DONE, 82, 17, 10, false, true, false, NULL } },
		{ "chat, the client did not ask", CHUNK("{\"content\":\"Hi\"}") USAGE_CHUNK DONE,
			{ CHUNK("{\"content\":\"Hi\"}") DONE, DONE, 82, 17, 2, true, true, false,
				NULL } },
		{ "CRLF",
			"data: {\"choices\":[ "
			"],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\r\n\r\ndata: "
			"[DONE] \r\n\r\n",
			{ "data: [DONE] \r\n\r\n", "data: [DONE] \r\n\r\n", 1, 2, 0, true, true,
				false, NULL } },
		{ "comments stay where the usage went",
			": OPENROUTER PROCESSING\n\n" USAGE_CHUNK ": x\n\n" DONE,
			{ ": OPENROUTER PROCESSING\n\n: x\n\n" DONE, DONE, 82, 17, 0, true, true,
				false, NULL } },
		{ "usage beside content is not hidden",
			"data: "
			"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_"
			"tokens\":1,\"completion_tokens\":1}}\n\n"
			"data: "
			"{\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1,\"completion_"
			"tokens\":2}}\n\n" DONE,
			{ NULL, DONE, 1, 2, 1, true, true, false, NULL } },
		{ "Azure's first chunk has no choices either",
			"data: "
			"{\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\n\n" DONE,
			{ NULL, DONE, -1, -1, 0, true, true, false, NULL } },
		{ "Groq",
			"data: "
			"{\"choices\":[{\"delta\":{}}],\"x_groq\":{\"usage\":{\"prompt_tokens\":3,"
			"\"completion_tokens\":4}}}\n\n" DONE,
			{ NULL, DONE, 3, 4, 0, true, true, false, NULL } },
		{ "text that speaks of usage and error",
			CHUNK("{\"content\":\"{\\\"usage\\\":{\\\"prompt_tokens\\\":5},"
			      "\\\"error\\\":{}}\"}") CHUNK("{\"content\":\"error\"}")
				CHUNK("{\"content\":\"usage\"}"),
			{ NULL, NULL, -1, -1, 56, true, false, false, NULL } },
		{ "tool calls",
			CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":"
			      "\"function\",\"function\":"
			      "{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\"}}]}")
				CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
				      "\"1}\"}}]}"),
			{ NULL, NULL, -1, -1, 10, false, false, false, NULL } },
		{ "thinking, told twice",
			CHUNK("{\"reasoning\":\"abc\",\"reasoning_details\":[{\"type\":\"reasoning."
			      "text\",\"text\":\"abc\"}]}"),
			{ NULL, NULL, -1, -1, 3, false, false, false, NULL } },
		{ "bytes as they stand", CHUNK("{\"content\":\"\xE2\x82\xAC\\u20ac\\n\"}"),
			{ NULL, NULL, -1, -1, 11, false, false, false, NULL } },
		{ "completions",
			"data: "
			"{\"object\":\"text_completion\",\"choices\":[{\"text\":\"Hi\",\"index\":0}"
			"]}\n\n" USAGE_CHUNK DONE,
			{ NULL, DONE, 82, 17, 2, false, true, false, NULL } },
		{ "an error in the stream",
			CHUNK("{\"content\":\"Hi\"}") "data: {\"error\":{\"message\":\"it "
						      "\\u0042roke\",\"type\":\"server_error\"}}"
						      "\n\n",
			{ NULL,
				"data: {\"error\":{\"message\":\"it "
				"\\u0042roke\",\"type\":\"server_error\"}}\n\n",
				-1, -1, 2, false, true, true, "it Broke" } },
		{ "an error of OpenRouter",
			"data: {\"id\":\"g\",\"error\":{\"code\":429,\"message\":\"Rate "
			"limit\"},\"choices\":[{\"index\":0,"
			"\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
			{ NULL, NULL, -1, -1, 0, true, true, true, "Rate limit" } },
		{ "an error that is a string", "data: {\"error\" : \"no\"}\n\n",
			{ NULL, "data: {\"error\" : \"no\"}\n\n", -1, -1, 0, false, true, true,
				"no" } },
		{ "no error", "data: {\"error\":null,\"error_code\":0}\n\n",
			{ NULL, NULL, -1, -1, 0, false, false, false, NULL } },
		{ "responses",
			"event: response.created\ndata: "
			"{\"type\":\"response.created\",\"response\":{\"error\":null,\"usage\":"
			"null}}\n\n"
			"event: response.output_text.delta\ndata: "
			"{\"type\":\"response.output_text.delta\",\"delta\":\"Hi you\"}\n\n"
			"event: response.output_text.done\ndata: "
			"{\"type\":\"response.output_text.done\",\"text\":\"Hi you\"}\n\n"
			"event: response.completed\ndata: "
			"{\"type\":\"response.completed\",\"response\":{\"error\":null,"
			"\"usage\":{\"input_tokens\":20,\"output_tokens\":5}}}\n\n",
			{ NULL,
				"event: response.completed\ndata: "
				"{\"type\":\"response.completed\",\"response\":{\"error\":null,"
				"\"usage\":{\"input_tokens\":20,\"output_tokens\":5}}}\n\n",
				20, 5, 6, true, true, false, NULL } },
		{ "responses, data only, and a [DONE] too many",
			"data: "
			"{\"sequence_number\":9,\"type\":\"response.incomplete\",\"response\":{"
			"\"usage\":{\"input_tokens\":2,"
			"\"output_tokens\":5}}}\n\n" DONE,
			{ NULL,
				"data: "
				"{\"sequence_number\":9,\"type\":\"response.incomplete\","
				"\"response\":{\"usage\":{\"input_tokens\":2,"
				"\"output_tokens\":5}}}\n\n" DONE,
				2, 5, 0, true, true, false, NULL } },
		{ "responses, failed",
			"event: response.failed\ndata: "
			"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_"
			"error\","
			"\"message\":\"sorry\"},\"usage\":null}}\n\n",
			{ NULL, NULL, -1, -1, 0, true, true, true, "sorry" } },
		{ "an error event, flat",
			"event: error\ndata: "
			"{\"type\":\"error\",\"code\":\"x\",\"message\":\"flat\",\"param\":null}"
			"\n\n",
			{ NULL, NULL, -1, -1, 0, true, true, true, "flat" } },
		{ "an error event, nested",
			"event: error\ndata: "
			"{\"type\":\"error\",\"sequence_number\":1,\"error\":{\"message\":"
			"\"nested\"}}\n\n",
			{ NULL, NULL, -1, -1, 0, true, true, true, "nested" } },
		{ "a terminal event without JSON", "event: response.completed\ndata: x\n\n",
			{ NULL, "event: response.completed\ndata: x\n\n", -1, -1, 0, true, true,
				false, NULL } },
		{ "audio is no text",
			"event: response.audio.delta\ndata: "
			"{\"type\":\"response.audio.delta\",\"delta\":\"AAAA\"}\n\n"
			"event: response.audio.transcript.delta\ndata: "
			"{\"type\":\"response.audio.transcript.delta\",\"delta\":\"Hey\"}\n\n",
			{ NULL, NULL, -1, -1, 3, true, false, false, NULL } },
		{ "transcription",
			"data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\n"
			"data: "
			"{\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":"
			"\"tokens\",\"input_tokens\":14,"
			"\"output_tokens\":45}}\n\n",
			{ NULL, NULL, 14, 45, 2, true, true, false, NULL } },
		{ "images",
			"event: image_generation.partial_image\ndata: "
			"{\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n"
			"event: image_generation.completed\ndata: "
			"{\"type\":\"image_generation.completed\",\"b64_json\":\"AA\","
			"\"usage\":{\"input_tokens\":1,\"output_tokens\":9}}\n\n",
			{ NULL, NULL, 1, 9, 0, false, true, false, NULL } },
		{ "a delta within a delta counts once",
			CHUNK("{\"content\":\"Hi\",\"delta\":{\"text\":\"you\"}}"),
			{ NULL, NULL, -1, -1, 5, false, false, false, NULL } },
		{ "cut off", CHUNK("{\"content\":\"Hi\"}") "data: {\"choices\":[{\"del",
			{ NULL, NULL, -1, -1, 2, true, false, false, NULL } },
		{ "cut off behind usage",
			"data: "
			"{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}"
			"\n",
			{ "", NULL, 1, 2, 0, true, false, false, NULL } },
		{ "garbage",
			"data: {\"usage\":{\n\ndata: \"delta\":{\n\ndata: {\"delta\":\"\n\ndata: "
			"\"delta\":[\"content\":\"\n\n",
			{ NULL, NULL, -1, -1, -1, true, false, false, NULL } },
		{ "nothing", "", { NULL, NULL, -1, -1, 0, true, false, false, NULL } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span in = span_of(cases[i].in);

		for (size_t cut = 0; cut <= in.len; cut++)
			watch_cut(cases[i].why, in, cut, cut == 0 ? 1 : SIZE_MAX, &cases[i].want);
	}
}

/* A response.completed repeats the whole answer; its usage stands near its end. */
static void
a_terminal_event_too_long_to_keep_still_tells_its_usage(void **state)
{
	static const size_t steps[] = { SIZE_MAX, 16384, 4096, 1000, 13, 1 };
	static const char head[] = "event: response.completed\ndata: "
				   "{\"type\":\"response.completed\",\"response\":{\"text\":\"";
	static const char tail[] =
		"\",\"text2\":\"\\\"usage\\\":{}\",\"usage\":{\"input_tokens\":20,"
		"\"input_tokens_details\":{\"cached_tokens\":5},\"output_tokens\":6},\"metadata\":{"
		"}}}\n\n";
	size_t fill = SSE_EVENT_MAX, len;
	char *text = malloc(fill + OPENAI_TAIL_BYTES + sizeof head + sizeof tail);
	struct want want = { NULL, NULL, 15, 6, 0, true, true, false, NULL };

	(void)state;
	memcpy(text, head, sizeof head - 1);
	memset(text + sizeof head - 1, 'x', fill);
	memcpy(text + sizeof head - 1 + fill, tail, sizeof tail - 1);
	len = sizeof head - 1 + fill + sizeof tail - 1;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		watch_cut("long", (struct span){ text, len }, 0, steps[i], &want);
	/* Wherever the kept end happens to be moved. */
	for (size_t more = 0; more < OPENAI_TAIL_BYTES; more += 100) {
		memset(text + sizeof head - 1, 'x', fill + more);
		memcpy(text + sizeof head - 1 + fill + more, tail, sizeof tail - 1);
		watch_cut("long", (struct span){ text, len + more }, 0, 64, &want);
	}
	free(text);
}

/* Names within names: whoever went over them again for each would need minutes. */
static void
hostile_events_cost_no_more_than_their_length(void **state)
{
	static const char *const units[] = { "{\"delta\":", "\"usage\":{", "{\"usage\":{}",
		"{\"error\":", "\"delta\"", "\"", "\\" };
	size_t len = SSE_EVENT_MAX - 100;
	char *text = malloc(2 * SSE_EVENT_MAX);

	(void)state;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		for (int longer = 0; longer < 2; longer++) {
			struct openai_watch w;
			struct passed p = { .all = BYTES_LIMIT(1 << 20),
				.last = BYTES_LIMIT(1 << 20) };
			size_t n = strlen(units[i]), at = 6, most = longer ? len + 4096 : len;

			memcpy(text, "data: ", 6);
			for (; at + n < most; at += n)
				memcpy(text + at, units[i], n);
			openai_watch_init(&w, true);
			assert_int_equal(openai_watch_feed(&w, text, at, pass, &p), 0);
			assert_int_equal(openai_watch_end(&w, pass, &p), 0);
			assert_int_equal(p.all.len, at);
			openai_usage_tail((struct span){ text, at }, &w.usage);
			openai_watch_free(&w);
			bytes_free(&p.all);
			bytes_free(&p.last);
		}
	free(text);
}

static void
events_of_one_feed_go_on_together(void **state)
{
	static const char in[] = CHUNK("{\"content\":\"a\"}")
		CHUNK("{\"content\":\"b\"}") ": c\n\n" CHUNK("{\"content\":\"d\"}");
	static const char hidden[] = CHUNK("{}") USAGE_CHUNK DONE DONE;
	struct openai_watch w;
	struct passed p = { .all = BYTES_LIMIT(1 << 16), .last = BYTES_LIMIT(1 << 16) };

	(void)state;
	openai_watch_init(&w, true);
	assert_int_equal(openai_watch_feed(&w, in, sizeof in - 1, pass, &p), 0);
	assert_int_equal(p.calls, 1);
	/* around the hidden one, and the last two together */
	assert_int_equal(openai_watch_feed(&w, hidden, sizeof hidden - 1, pass, &p), 0);
	assert_int_equal(p.calls, 3);
	assert_string_equal(p.last.at, DONE DONE);
	openai_watch_free(&w);
	bytes_free(&p.all);
	bytes_free(&p.last);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_go_by_whole_at_every_cut),
		cmocka_unit_test(a_terminal_event_too_long_to_keep_still_tells_its_usage),
		cmocka_unit_test(hostile_events_cost_no_more_than_their_length),
		cmocka_unit_test(events_of_one_feed_go_on_together),
	};

	return cmocka_run_group_tests_name("wire/openai_watch", tests, NULL, NULL);
}
