/* openai_stop_test.c - a stream that is ended early ends as SDKs expect one to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/openai.h"
#include <stdlib.h>
#include <string.h>

static struct bytes out;

static const char *
stopped(struct openai_stop *s)
{
	bytes_free(&out);
	out = BYTES_LIMIT(65536);
	return openai_stop(s, &out) == 0 ? out.at : NULL;
}

/* Every data line is JSON, but the last. */
static void
assert_events(const char *text)
{
	for (const char *p = strstr(text, "data: "); p != NULL; p = strstr(p, "data: ")) {
		struct span line = { p + 6, strcspn(p + 6, "\n") };

		if (!span_is(line, "[DONE]") && !json_valid(line))
			fail_msg("no JSON: %.*s", (int)line.len, line.at);
		p += 6;
	}
	assert_string_equal(text + strlen(text) - 2, "\n\n");
}

static void
chat_ends_with_length_usage_and_done(void **state)
{
	struct openai_stop s = { .endpoint = "/v1/chat/completions",
		.model = "m \"1\"",
		.created_s = 5,
		.choices = 2,
		.input_tokens = 10,
		.output_tokens = 7 };
	static const char first[] = "data: {\"id\":\"chatcmpl-1\",\"choices\":[]}\n\n";

	(void)state;
	openai_stop_note(&s, first, sizeof first - 1);
	openai_stop_note(&s, "data: {\"id\":\"other\"}\n\n", 22);
	assert_string_equal(stopped(&s),
		"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
		"\"model\":\"m \\\"1\\\"\",\"choices\":["
		"{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"},"
		"{\"index\":1,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\n"
		"data: [DONE]\n\n");
	assert_events(out.at);
	s.wants_usage = true;
	assert_non_null(strstr(stopped(&s),
		"\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7,"
		"\"total_tokens\":17}}\n\ndata: [DONE]\n\n"));
	assert_events(out.at);
	s.choices = INT64_MAX;
	assert_events(stopped(&s));
	assert_true(out.len < 32768);
}

static void
the_others_end_in_their_own_way(void **state)
{
	struct openai_stop s = { .endpoint = "/v1/completions", .model = "m", .choices = 1 };
	static const char first[] = "event: response.created\ndata: {\"type\":\"response.created\","
				    "\"sequence_number\":0,\"response\":{\"id\":\"resp_1\"}}\n\n"
				    "data: {\"sequence_number\":41,\"delta\":\"x\"}\n\n";

	(void)state;
	assert_non_null(strstr(stopped(&s), "\"object\":\"text_completion\""));
	assert_non_null(
		strstr(out.at, "\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"length\""));
	assert_events(out.at);
	s.endpoint = "/v1/responses";
	openai_stop_note(&s, first, sizeof first - 1);
	assert_non_null(strstr(stopped(&s), "event: response.incomplete\n"));
	assert_non_null(strstr(out.at, "\"sequence_number\":42,\"response\":{\"id\":\"resp_1\""));
	assert_non_null(strstr(out.at, "\"reason\":\"max_output_tokens\""));
	assert_events(out.at);
	s.endpoint = "/v1/audio/speech";
	assert_null(stopped(&s));
	bytes_free(&out);
}

static void
nothing_in_a_stream_can_break_the_reading(void **state)
{
	static const char text[] = "\"id\":\"\"sequence_number\":\"sequence_number\":-,\"id\":\"a";
	struct openai_stop s = { .endpoint = "/v1/responses", .model = "m" };
	char long_id[300] = "\"id\":\"";

	(void)state;
	for (size_t from = 0; from < sizeof text; from++)
		for (size_t len = 0; len < sizeof text - from; len++) {
			char *copy = malloc(len + 1); /* of its own, for the sanitizers */

			memcpy(copy, text + from, len);
			openai_stop_note(&s, copy, len);
			free(copy);
		}
	s.id[0] = '\0';
	memset(long_id + 6, 'x', sizeof long_id - 6);
	openai_stop_note(&s, long_id, sizeof long_id);
	assert_string_equal(s.id, "");
	assert_events(stopped(&s));
	bytes_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chat_ends_with_length_usage_and_done),
		cmocka_unit_test(the_others_end_in_their_own_way),
		cmocka_unit_test(nothing_in_a_stream_can_break_the_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
