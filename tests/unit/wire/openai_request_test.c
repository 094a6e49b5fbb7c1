/*
 * openai_request_test.c - what is read out of a request, and that nothing else of it changes.
 */
#include "wire/openai.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHAT "/v1/chat/completions"

static struct openai_request
skim(const char *body, const char *endpoint)
{
	struct openai_request q;
	struct err err = { .code = ERR_NONE };

	if (openai_skim(span_of(body), endpoint, &q, &err) != 0)
		fail_msg("%s: %s", body, err.text);
	return q;
}

static void
reads_the_members_that_matter(void **state)
{
	struct openai_request q =
		skim(" {\"model\":\"gpt\\u002d4\",\"stream\":true,"
		     "\"stream_options\":{\"include_usage\":true},\"max_tokens\":100,"
		     "\"n\":3,\"user\":\"u1\",\"messages\":[]} ",
			CHAT);

	(void)state;
	assert_string_equal(q.model, "gpt-4");
	assert_true(q.stream && q.wants_usage);
	assert_int_equal(q.max_output, 100);
	assert_int_equal(q.choices, 3);
	assert_string_equal(q.end_user, "u1");
	assert_false(q.empty_object);

	q = skim("{\"model\":\"a\"}", CHAT);
	assert_false(q.stream || q.wants_usage);
	assert_int_equal(q.max_output, -1);
	assert_int_equal(q.choices, 1);
	assert_string_equal(q.end_user, "");
	assert_int_equal(q.object_end, 12);

	q = skim("{}", "/v1/files");
	assert_true(q.empty_object);
	assert_string_equal(q.model, "");
}

static void
the_last_of_two_members_counts_however_it_is_written(void **state)
{
	struct openai_request q =
		skim("{\"model\":\"cheap\",\"mod\\u0065l\":\"dear\",\"max_tokens\":1,"
		     "\"stream\":false,\"\\u0073tream\":true,\"max_tokens\":9}",
			CHAT);

	(void)state;
	assert_string_equal(q.model, "dear");
	assert_true(q.stream);
	assert_int_equal(q.max_output, 9);
}

static void
the_largest_ceiling_is_reserved(void **state)
{
	static const struct {
		const char *body;
		int64_t want;
	} cases[] = {
		{ "{\"model\":\"a\",\"max_completion_tokens\":1,\"max_tokens\":5000}", 5000 },
		{ "{\"model\":\"a\",\"max_output_tokens\":7,\"max_tokens\":null}", 7 },
		{ "{\"model\":\"a\",\"max_tokens\":\"7\"}", -1 },
		{ "{\"model\":\"a\",\"max_tokens\":-7}", -1 },
		{ "{\"model\":\"a\",\"max_tokens\":1e3}", 1000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(skim(cases[i].body, CHAT).max_output, cases[i].want);
}

static void
counts_the_answers_asked_for(void **state)
{
	static const struct {
		const char *endpoint, *body;
		int64_t want;
	} cases[] = {
		{ CHAT, "{\"model\":\"a\",\"n\":0}", 1 },
		{ CHAT, "{\"model\":\"a\",\"n\":null}", 1 },
		{ CHAT, "{\"model\":\"a\",\"n\":2,\"best_of\":9,\"prompt\":[\"x\",\"y\"]}", 2 },
		{ "/v1/completions", "{\"model\":\"a\",\"n\":2,\"best_of\":9,\"prompt\":\"x\"}",
			9 },
		{ "/v1/completions", "{\"model\":\"a\",\"n\":2,\"prompt\":[\"x\",\"y\",\"z\"]}",
			6 },
		{ "/v1/completions", "{\"model\":\"a\",\"prompt\":[1,2,3]}", 1 },
		{ "/v1/completions", "{\"model\":\"a\",\"prompt\":[[1],[2,3]]}", 2 },
		{ CHAT, "{\"model\":\"a\",\"n\":9000000000000000000}", 1000000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(skim(cases[i].body, cases[i].endpoint).choices, cases[i].want);
}

static void
refuses_in_words_that_name_the_place(void **state)
{
	static const struct {
		const char *endpoint, *body, *says;
	} cases[] = {
		{ CHAT, "", "byte 0" },
		{ CHAT, "[]", "byte 1" },
		{ CHAT, "{\"model\":\"a\",}", "byte 14" },
		{ CHAT, "{\"model\":\"a\"", "unfinished" },
		{ CHAT, "{\"model\":\"a\"} x", "byte 15" },
		{ CHAT, "{\"stream\":true}", "'model' is missing" },
		{ CHAT, "{\"model\":null}", "'model' is missing" },
		{ CHAT, "{\"model\":5}", "'model' must be a string" },
		{ "/v1/files", "{\"model\":5}", "'model' must be a string" },
		{ CHAT, "{\"model\":\"\"}", "1 to 127" },
		{ CHAT, "{\"model\":\"a\\u0000b\"}", "1 to 127" },
		{ CHAT, "{\"model\":\"a\\n\"}", "1 to 127" },
		{ CHAT, "{\"model\":\"a\",\"stream\":\"true\"}", "'stream'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct openai_request q;
		struct err err = { .code = ERR_NONE };

		if (openai_skim(span_of(cases[i].body), cases[i].endpoint, &q, &err) == 0)
			fail_msg("taken: %s", cases[i].body);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
		if (strstr(err.says, cases[i].says) == NULL)
			fail_msg("%s: says %s", cases[i].body, err.says);
	}
}

static void
the_end_user_is_cut_between_characters(void **state)
{
	char body[4000] = "{\"model\":\"a\",\"user\":\"u\",\"safety_identifier\":\"";
	struct openai_request q;

	(void)state;
	for (int i = 0; i < 300; i++)
		strcat(body, "\\u20ac"); /* three bytes each */
	strcat(body, "\"}");
	q = skim(body, CHAT);
	assert_int_equal(strlen(q.end_user), 63);
	assert_memory_equal(q.end_user + 60, "\xE2\x82\xAC", 4);

	q = skim("{\"model\":\"a\",\"metadata\":{\"a\":1,\"user_id\":\"m\"}}", CHAT);
	assert_string_equal(q.end_user, "m");
	q = skim("{\"model\":\"a\",\"metadata\":{\"user_id\":\"m\"},\"user\":\"u\"}", CHAT);
	assert_string_equal(q.end_user, "u");
	q = skim("{\"model\":\"a\",\"metadata\":\"user_id\"}", CHAT);
	assert_string_equal(q.end_user, "");
	q = skim("{\"model\":\"a\",\"user\":\"a\\nb\",\"safety_identifier\":null}", CHAT);
	assert_string_equal(q.end_user, "a b");
	/* Half a pair is no character, and still tells users apart. */
	q = skim("{\"model\":\"a\",\"user\":\"\\ud800x\"}", CHAT);
	assert_string_equal(q.end_user, "\\ud800x");
}

static void
estimates_text_by_its_size_and_media_by_kind(void **state)
{
	char *big = malloc(400000), *at;
	int64_t tokens;
	static const struct {
		const char *why, *body;
		int64_t want;
	} cases[] = {
		{ "nothing", "{\"model\":\"a\"}", 0 },
		{ "eight characters", "{\"model\":\"a\",\"input\":\"12345678\"}", 2 },
		{ "a part of a token is one", "{\"model\":\"a\",\"input\":\"12345\"}", 2 },
		{ "a message",
			"{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":"
			"\"12345678\"}]}",
			5 },
		{ "tokens as numbers", "{\"model\":\"a\",\"input\":[1, 22,333]}", 3 },
		{ "instructions too",
			"{\"model\":\"a\",\"input\":\"1234\",\"instructions\":\"1234\"}", 2 },
		{ "the whole of tools", "{\"model\":\"a\",\"tools\":[{\"name\":1}]}", 3 },
		{ "an image by address",
			"{\"model\":\"a\",\"messages\":[{\"content\":[{\"type\":\"image_url\","
			"\"image_url\":{\"url\":\"\"}}]}]}",
			765 },
		{ "an image of low detail",
			"{\"model\":\"a\",\"messages\":[{\"content\":[{\"type\":\"image_url\","
			"\"image_url\":"
			"{\"url\":\"data:image/"
			"png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"detail\":\"low\"}}]}]}",
			85 },
		{ "a file by its id",
			"{\"model\":\"a\",\"input\":[{\"type\":\"input_file\",\"file_id\":\"1234\"}"
			"]}",
			2001 },
		{ "a data URL as text is text",
			"{\"model\":\"a\",\"input\":\"data:image/"
			"png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
			13 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		tokens = skim(cases[i].body, CHAT).input_estimate;
		if (tokens != cases[i].want)
			fail_msg("%s: %lld", cases[i].why, (long long)tokens);
	}

	/* 300 KB of base64 in each kind */
	static const struct {
		const char *before;
		int64_t least, most;
	} kinds[] = {
		{ "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,", 765,
			765 },
		{ "{\"type\":\"input_audio\",\"input_audio\":{\"format\":\"mp3\",\"data\":\"", 281,
			283 },
		{ "{\"type\":\"input_audio\",\"input_audio\":{\"format\":\"wav\",\"data\":\"UklGR",
			70, 73 },
		{ "{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,", 7030,
			7033 },
		{ "{\"type\":\"file\",\"file\":{\"file_data\":\"data:text/plain;base64,", 56249,
			56251 },
	};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		strcpy(big, "{\"model\":\"a\",\"messages\":[{\"content\":[");
		strcat(big, kinds[i].before);
		at = big + strlen(big);
		memset(at, 'A', 300000);
		strcpy(at + 300000, "\"}}]}]}");
		tokens = skim(big, CHAT).input_estimate;
		if (tokens < kinds[i].least || tokens > kinds[i].most)
			fail_msg("%s: %lld", kinds[i].before, (long long)tokens);
	}
	free(big);
}

static void
splices_and_leaves_the_rest(void **state)
{
	static const struct {
		const char *endpoint, *model, *in, *want; /* NULL: the same span */
	} cases[] = {
		{ CHAT, NULL, "{\"model\":\"a\"}", NULL },
		{ CHAT, "a", "{\"model\":\"a\"}", NULL },
		{ CHAT, "a", "{\"model\":\"\\u0061\"}", NULL },
		{ CHAT, "b\"/\xC3\xA4", "{ \"x\" : 1.50, \"model\" : \"a\" , \"y\":[ ] }",
			"{ \"x\" : 1.50, \"model\" : \"b\\\"/\xC3\xA4\" , \"y\":[ ] }" },
		{ CHAT, NULL, "{\"model\":\"a\",\"stream\":true}",
			"{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":"
			"true}}" },
		{ CHAT, NULL, "{\"model\":\"a\",\"stream\":true }\n",
			"{\"model\":\"a\",\"stream\":true "
			",\"stream_options\":{\"include_usage\":true}}\n" },
		{ "/v1/completions", "b",
			"{\"stream_options\":null,\"model\":\"a\",\"stream\":true}",
			"{\"stream_options\":{\"include_usage\":true},\"model\":\"b\",\"stream\":"
			"true}" },
		{ CHAT, NULL, "{\"model\":\"a\",\"stream\":true,\"stream_options\":{}}",
			"{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":"
			"true}}" },
		{ CHAT, NULL, "{\"model\":\"a\",\"stream\":true,\"stream_options\":{ }}",
			"{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":"
			"true }}" },
		{ CHAT, NULL, "{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"x\":1}}",
			"{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":"
			"true,\"x\":1}}" },
		{ CHAT, "b",
			"{\"stream\":true,\"stream_options\":{\"include_usage\":false,\"x\":{}},"
			"\"model\":\"a\"}",
			"{\"stream\":true,\"stream_options\":{\"include_usage\":true,\"x\":{}},"
			"\"model\":\"b\"}" },
		{ CHAT, NULL,
			"{\"model\":\"a\",\"stream\":true,\"stream_options\":{"
			"\"include\\u005fusage\":null}}",
			"{\"model\":\"a\",\"stream\":true,\"stream_options\":{"
			"\"include\\u005fusage\":true}}" },
		{ CHAT, NULL,
			"{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":"
			"true}}",
			NULL },
		{ CHAT, NULL, "{\"model\":\"a\",\"stream\":false}", NULL },
		{ CHAT, NULL, "{\"model\":\"a\",\"stream\":true,\"stream_options\":7}", NULL },
		{ "/v1/responses", NULL, "{\"model\":\"a\",\"stream\":true}", NULL },
		{ "/v1/files", "b", "{\"x\":1}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct arena *a = arena_new(1 << 16);
		struct span in = span_of(cases[i].in), out;
		struct openai_request q = skim(cases[i].in, cases[i].endpoint);

		out = openai_rewrite(a, in, &q, cases[i].endpoint, cases[i].model);
		if (cases[i].want == NULL ? out.at != in.at || out.len != in.len
					  : !span_is(out, cases[i].want))
			fail_msg("%s\ngave %.*s", cases[i].in, (int)out.len, out.at);
		arena_free(a);
	}
}

static void
no_memory_is_no_body(void **state)
{
	struct arena *a = arena_new(16);
	const char *body = "{\"model\":\"a\",\"stream\":true,\"pad\":"
			   "\"0123456789012345678901234567890123456789\"}";
	struct openai_request q = skim(body, CHAT);

	(void)state;
	assert_null(openai_rewrite(a, span_of(body), &q, CHAT, NULL).at);
	arena_free(a);
}

/* ---- multipart ---- */

#define TYPE "multipart/form-data; boundary=XyZ"
#define FILE_PART                                                                                  \
	"--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a; "                   \
	"name=\\\"model\\\"\"\r\n"                                                                 \
	"Content-Type: audio/wav\r\n\r\nRIFF\0--XyZ\r\n--Xy\r\n\r\nmodel\r\n"
#define MODEL_PART "--XyZ\r\ncontent-disposition: form-data; NAME=model\r\n\r\nwhisper-1\r\n"
#define QUOTED     "--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n"

static void
finds_the_model_in_any_part(void **state)
{
	const struct {
		const char *why, *type;
		struct span body;
		int rc;
	} cases[] = {
		{ "before the file", TYPE, SPAN_LIT(MODEL_PART FILE_PART "--XyZ--\r\n"), 0 },
		{ "behind the file", TYPE, SPAN_LIT(FILE_PART QUOTED "--XyZ--"), 0 },
		{ "quoted boundary", "Multipart/Form-Data; charset=x; boundary=\"XyZ\"",
			SPAN_LIT(QUOTED "--XyZ--"), 0 },
		{ "a preamble", TYPE, SPAN_LIT("hello\r\n" QUOTED "--XyZ--\r\nbye"), 0 },
		{ "none", TYPE, SPAN_LIT(FILE_PART "--XyZ--"), 1 },
		{ "no part at all", TYPE, SPAN_LIT("--XyZ--"), 1 },
		{ "cut short", TYPE, SPAN_LIT(QUOTED "--Xy"), -1 },
		{ "cut in the file", TYPE, SPAN_LIT(QUOTED "--XyZ\r\nA: b\r\n\r\nRIFF"), -1 },
		{ "two models", TYPE, SPAN_LIT(QUOTED MODEL_PART "--XyZ--"), -1 },
		{ "no boundary named", "multipart/form-data", SPAN_LIT(QUOTED "--XyZ--"), -1 },
		{ "another type", "application/json; boundary=XyZ", SPAN_LIT(QUOTED "--XyZ--"),
			-1 },
		{ "headers without end", TYPE, SPAN_LIT("--XyZ\r\nA: b\r\n--XyZ--"), -1 },
		{ "an empty name", TYPE,
			SPAN_LIT("--XyZ\r\nContent-Disposition: form-data; "
				 "name=model\r\n\r\n\r\n--XyZ--"),
			-1 },
		{ "nothing", TYPE, SPAN_LIT(""), -1 },
		{ "no type", NULL, SPAN_LIT(""), -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char model[64];
		struct err err = { .code = ERR_NONE };
		int rc = openai_skim_multipart(
			cases[i].body, cases[i].type, model, sizeof model, &err);

		if (rc != cases[i].rc)
			fail_msg("%s: %d %s", cases[i].why, rc, err.text);
		assert_string_equal(model, rc == 0 ? "whisper-1" : "");
		assert_int_equal(err.code, rc < 0 ? ERR_BAD_REQUEST : ERR_NONE);
	}
}

static void
replaces_the_model_in_a_part(void **state)
{
	struct arena *a = arena_new(4096);
	struct span in = SPAN_LIT(FILE_PART QUOTED "--XyZ--"), out;
	struct err err = { .code = ERR_NONE };
	char model[64];

	(void)state;
	out = openai_rewrite_multipart(a, in, TYPE, "other/model");
	assert_int_equal(out.len, in.len + 2);
	assert_memory_equal(out.at, in.at, sizeof FILE_PART - 1);
	assert_int_equal(openai_skim_multipart(out, TYPE, model, sizeof model, &err), 0);
	assert_string_equal(model, "other/model");
	assert_ptr_equal(openai_rewrite_multipart(a, in, TYPE, "whisper-1").at, in.at);
	assert_null(openai_rewrite_multipart(a, SPAN_LIT("--XyZ--"), TYPE, "x").at);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_members_that_matter),
		cmocka_unit_test(the_last_of_two_members_counts_however_it_is_written),
		cmocka_unit_test(the_largest_ceiling_is_reserved),
		cmocka_unit_test(counts_the_answers_asked_for),
		cmocka_unit_test(refuses_in_words_that_name_the_place),
		cmocka_unit_test(the_end_user_is_cut_between_characters),
		cmocka_unit_test(estimates_text_by_its_size_and_media_by_kind),
		cmocka_unit_test(splices_and_leaves_the_rest),
		cmocka_unit_test(no_memory_is_no_body),
		cmocka_unit_test(finds_the_model_in_any_part),
		cmocka_unit_test(replaces_the_model_in_a_part),
	};

	return cmocka_run_group_tests_name("wire/openai_request", tests, NULL, NULL);
}
