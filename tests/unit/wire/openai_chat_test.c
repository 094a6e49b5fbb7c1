/*
 * openai_chat_test.c - requests, answers and streams of OpenAI's chat, and of those who speak it nearly.
 */
#include "wire/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)64 << 20)

static struct arena *arena;
static struct neutral_request n;
static struct losses lost;
static struct err err;
static struct bytes out;

static int
set_up(void **state)
{
	(void)state;
	arena = arena_new(ARENA_BYTES);
	memset(&lost, 0, sizeof lost);
	memset(&err, 0, sizeof err);
	bytes_free(&out);
	out = BYTES_LIMIT(ARENA_BYTES);
	return arena == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	arena_free(arena);
	bytes_free(&out);
	return 0;
}

static const struct format *
chat(void)
{
	return format_of(FORMAT_OPENAI_CHAT);
}

/* ---- requests ---- */

static int
read_request(const char *body)
{
	struct request_source from = { .body = span_of(body) };

	memset(&lost, 0, sizeof lost);
	memset(&err, 0, sizeof err);
	neutral_request_init(&n, arena);
	return chat()->read_request(&from, &n, &lost, &err);
}

/* The request as another format of the same kind writes it. */
static const char *
written(const char *body, enum format_id id, const char *model)
{
	struct request_target to = { .model = model };
	struct request_made made = { .body = &out };

	bytes_free(&out);
	if (read_request(body) != 0)
		fail_msg("not read: %s", err.says);
	if (format_of(id)->write_request(&n, &to, &made, &lost, &err) != 0)
		return NULL;
	losses_of_fields(&lost, &n);
	if (!json_valid(bytes_span(&out)))
		fail_msg("no JSON: %s", out.at);
	return out.at;
}

static const char *
dropped(void)
{
	static char text[1024];

	losses_text(&lost, text, sizeof text);
	return text;
}

#define assert_span(got, text)                                                                     \
	do {                                                                                       \
		struct span span_ = (got);                                                         \
		if (!span_is(span_, text))                                                         \
			fail_msg("%.*s is not %s", (int)span_.len, span_.at, text);                \
	} while (0)

static void
messages_become_turns_of_parts(void **state)
{
	(void)state;
	assert_int_equal(
		read_request(
			"{\"model\":\"m\",\"messages\":["
			"{\"role\":\"system\",\"content\":\"a\"},"
			"{\"role\":\"user\",\"content\":\"u1\"},"
			"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"u2\"}]},"
			"{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]},"
			"{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"r\","
			"\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":"
			"{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":12345678901234567890}\"}},"
			"{\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"{no\"}}]},"
			"{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"x\"},"
			"{\"role\":\"tool\",\"tool_call_id\":\"c2\"},"
			"{\"role\":\"user\",\"name\":\"Bo\",\"content\":\"u3\"}]}"),
		0);
	assert_span(n.model, "m");
	assert_int_equal(n.system_count, 2);
	assert_span(n.system[1].text, "\"b\"");
	assert_int_equal(n.message_count, 3);
	assert_int_equal(n.message[0].count, 2);
	assert_int_equal(n.message[1].role, ROLE_ASSISTANT);
	assert_int_equal(n.message[1].count, 3);
	assert_int_equal(n.message[1].part[0].kind, PART_REASONING);
	assert_span(n.message[1].part[1].call_id, "c1");
	assert_span(n.message[1].part[1].input, "{\"a\":12345678901234567890}");
	assert_span(n.message[1].part[2].input, "{}"); /* R14 */
	assert_span(n.message[1].part[2].arguments, "\"{no\"");
	assert_int_equal(n.message[2].count, 3);
	assert_int_equal(n.message[2].part[0].content_count, 1);
	assert_int_equal(n.message[2].part[1].content_count, 0);
	assert_string_equal(dropped(), "name");
}

static void
media_is_read_by_data_and_by_address(void **state)
{
	struct neutral_part *p;

	(void)state;
	assert_int_equal(
		read_request("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":["
			     "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image\\/"
			     "jpg;base64,QUJD\",\"detail\":\"low\"}},"
			     "{\"type\":\"image_url\",\"image_url\":\"https://e.org/a.png\"},"
			     "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"QUJD\","
			     "\"format\":\"mp3\"}},"
			     "{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":"
			     "\"data:application/pdf;base64,QUJD\"}},"
			     "{\"type\":\"file\",\"file\":{\"file_id\":\"file_1\"}},"
			     "{\"type\":\"text\",\"text\":\"t\",\"cache_control\":{\"type\":"
			     "\"ephemeral\",\"ttl\":\"1h\"}},"
			     "{\"type\":\"text\",\"text\":\"\"}]}]}"),
		0);
	assert_int_equal(n.message[0].count, 6);
	p = n.message[0].part;
	assert_span(p[0].mime, "image/jpeg");
	assert_span(p[0].data, "QUJD");
	assert_span(p[0].detail, "low");
	assert_span(p[1].url, "https://e.org/a.png");
	assert_span(p[2].mime, "audio/mp3");
	assert_span(p[3].title, "a.pdf");
	assert_span(p[3].mime, "application/pdf");
	assert_span(p[4].file_id, "file_1");
	assert_int_equal(p[5].cache, CACHE_1H);
}

static void
settings_have_their_place(void **state)
{
	(void)state;
	assert_int_equal(
		read_request(
			"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
			"\"max_tokens\":5,\"max_completion_tokens\":7,\"stop\":[\"a\",\"\",\"b\"],"
			"\"stream\":true,\"stream_options\":{\"include_usage\":true},"
			"\"parallel_tool_calls\":false,\"tool_choice\":{\"type\":\"allowed_tools\","
			"\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{\"type\":"
			"\"function\","
			"\"function\":{\"name\":\"f\"}}]}},\"reasoning_effort\":\"high\","
			"\"response_format\":{\"type\":\"json_object\"},\"temperature\":0.5,"
			"\"seed\":null,\"frobnicate\":[1],\"temp\\u0065rature\":1}"),
		0);
	assert_int_equal(n.max_output, 7);
	assert_span(n.max_output_as, "max_completion_tokens");
	assert_int_equal(n.stop_count, 2);
	assert_true(n.stream && n.wants_usage);
	assert_int_equal(n.parallel, 0);
	assert_int_equal(n.choice, CHOICE_ALLOWED);
	assert_true(n.choice_any);
	assert_span(n.allowed[0], "f");
	assert_int_equal(n.effort, EFFORT_HIGH);
	assert_int_equal(n.format, OUTPUT_JSON);
	assert_null(neutral_peek(&n, "seed"));
	assert_span(neutral_peek(&n, "temperature")->value.raw, "1");
	assert_non_null(neutral_peek(&n, "frobnicate"));
	losses_of_fields(&lost, &n);
	assert_non_null(strstr(dropped(), "frobnicate"));
}

static void
functions_of_before_tools_are_tools(void **state)
{
	(void)state;
	assert_string_equal(
		written("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
			"{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":"
			"\"f\",\"arguments\":\"{}\"}},"
			"{\"role\":\"function\",\"name\":\"f\",\"content\":\"7\"}],"
			"\"functions\":[{\"name\":\"f\",\"parameters\":{}}],\"function_call\":{"
			"\"name\":\"f\"}}",
			FORMAT_OPENAI_CHAT, "gpt"),
		"{\"model\":\"gpt\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1_0\","
		"\"type\":\"function\","
		"\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"call_1_0\",\"content\":\"7\"}],"
		"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}"
		"],"
		"\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}");
}

static void
what_is_wrong_is_named(void **state)
{
#define M(content) "{\"model\":\"m\",\"messages\":[" content "]}"
#define U(more)    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," more "}"
	static const struct {
		const char *body, *field;
	} cases[] = {
		{ "", "" },
		{ "[]", "" },
		{ "{\"model\":\"m\"}", "messages" },
		{ "{\"model\":\"m\",\"messages\":{}}", "messages" },
		{ "{\"model\":\"m\",\"messages\":[]}", "messages" },
		{ "{\"messages\":[]}", "model" },
		{ "{\"model\":7,\"messages\":[]}", "model" },
		{ "{\"model\":\"a\\u0000b\",\"messages\":[]}", "model" },
		{ M("7"), "messages[0]" },
		{ M("{\"content\":\"x\"}"), "messages[0].role" },
		{ M("{\"role\":\"bot\",\"content\":\"x\"}"), "messages[0].role" },
		{ M("{\"role\":\"user\"}"), "messages[0].content" },
		{ M("{\"role\":\"user\",\"content\":7}"), "messages[0].content" },
		{ M("{\"role\":\"user\",\"content\":[7]}"), "messages[0].content[0]" },
		{ M("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"),
			"messages[0].content[0].text" },
		{ M("{\"role\":\"user\",\"content\":[{\"type\":\"holo\"}]}"),
			"messages[0].content[0].type" },
		{ M("{\"role\":\"system\",\"content\":[{\"type\":\"image_url\"}]}"),
			"messages[0].content[0].type" },
		{ M("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
		    "\"url\":\"ftp://x\"}}]}"),
			"messages[0].content[0].image_url.url" },
		{ M("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":7}]}"),
			"messages[0].content[0].image_url" },
		{ M("{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{}}]}"),
			"messages[0].content[0].file" },
		{ M("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{"
		    "\"data\":\"\"}}]}"),
			"messages[0].content[0].input_audio.format" },
		{ M("{\"role\":\"tool\",\"content\":\"x\"}"), "messages[0].tool_call_id" },
		{ M("{\"role\":\"assistant\",\"tool_calls\":7}"), "messages[0].tool_calls" },
		{ M("{\"role\":\"assistant\",\"tool_calls\":[{}]}"),
			"messages[0].tool_calls[0].function" },
		{ M("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"\"}}]}"),
			"messages[0].tool_calls[0].function.name" },
		{ M("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
		    "\"arguments\":7}}]}"),
			"messages[0].tool_calls[0].function.arguments" },
		{ U("\"temperature\":\"hot\""), "temperature" },
		{ U("\"n\":0"), "n" },
		{ U("\"n\":129"), "n" },
		{ U("\"stream\":1"), "stream" },
		{ U("\"max_tokens\":0"), "max_tokens" },
		{ U("\"max_tokens\":1.5"), "max_tokens" },
		{ U("\"stop\":[7]"), "stop[0]" },
		{ U("\"tools\":{}"), "tools" },
		{ U("\"tools\":[{\"type\":\"function\"}]"), "tools[0].function" },
		{ U("\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":"
		    "7}}]"),
			"tools[0].function.parameters" },
		{ U("\"tool_choice\":\"maybe\""), "tool_choice" },
		{ U("\"response_format\":{\"type\":\"xml\"}"), "response_format.type" },
		{ U("\"response_format\":{\"type\":\"json_schema\"}"),
			"response_format.json_schema" },
		{ U("\"reasoning_effort\":\"some\""), "reasoning_effort" },
		{ U("\"logit_bias\":[]"), "logit_bias" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (read_request(cases[i].body) == 0)
			fail_msg("taken: %s", cases[i].body);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
		if (strcmp(err.field, cases[i].field) != 0 || err.says[0] == '\0')
			fail_msg("%s: field '%s', '%s'", cases[i].body, err.field, err.says);
	}
}

static void
a_request_comes_out_as_it_went_in(void **state)
{
	static const char *const bodies[] = {
		"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e9\"},"
		"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
		"png;base64,QUJD\",\"detail\":\"auto\"}},"
		"{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"QUJD\",\"format\":\"wav\"}},"
		"{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":\"data:"
		"application/pdf;base64,QUJD\"}}]},"
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"
		"\"function\",\"function\":"
		"{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": "
		"1}\"}},{\"id\":\"c2\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":"
		"\"free\"}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"r\"},{\"role\":\"tool\","
		"\"tool_call_id\":\"c2\",\"content\":\"\"},"
		"{\"role\":\"user\",\"content\":\"go "
		"on\"},{\"role\":\"assistant\",\"content\":\"part\",\"refusal\":\"no\"},"
		"{\"role\":\"user\",\"content\":\"why\"}],\"max_completion_tokens\":9,\"stop\":["
		"\"X\"],\"temperature\":0.25,"
		"\"n\":2,\"seed\":3,\"presence_penalty\":0.1,\"frequency_penalty\":0.2,\"logit_"
		"bias\":{\"1\":2},\"logprobs\":true,"
		"\"top_logprobs\":3,\"store\":true,\"metadata\":{\"a\":\"b\"},\"prompt_cache_key\":"
		"\"k\",\"user\":\"u\",\"service_tier\":\"flex\","
		"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
		"\"schema\":{\"type\":\"object\"},\"strict\":true}},"
		"\"reasoning_effort\":\"low\",\"tools\":[{\"type\":\"function\",\"function\":{"
		"\"name\":\"f\",\"description\":\"d\","
		"\"parameters\":{\"type\":\"object\"},\"strict\":false}},{\"type\":\"custom\","
		"\"custom\":{\"name\":\"g\",\"format\":{\"type\":\"text\"}}}],"
		"\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}},\"parallel_tool_"
		"calls\":true,"
		"\"stream\":true,\"stream_options\":{\"include_usage\":true,\"include_"
		"obfuscation\":false}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		assert_string_equal(written(bodies[i], FORMAT_AZURE, "m"), bodies[i]);
		assert_string_equal(dropped(), "");
	}
}

static void
openrouter_takes_more(void **state)
{
	static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":["
				   "{\"type\":\"text\",\"text\":\"x\","
				   "\"cache_control\":{\"type\":\"ephemeral\"}}]},{\"role\":"
				   "\"assistant\",\"content\":\"y\",\"reasoning_details\":["
				   "{\"type\":\"reasoning.text\",\"text\":\"t\",\"signature\":"
				   "\"S\",\"format\":\"anthropic-claude-v1\"},"
				   "{\"type\":\"reasoning.encrypted\",\"data\":\"D\",\"format\":"
				   "\"openai-responses-v1\"}]}],"
				   "\"max_tokens\":9,\"top_k\":4,\"provider\":{\"sort\":\"price\"},"
				   "\"reasoning\":{\"max_tokens\":2000}}";

	(void)state;
	assert_string_equal(written(body, FORMAT_OPENROUTER, "m"), body);
	assert_string_equal(dropped(), "");
	assert_int_equal(n.message[1].part[0].signer, SIGNER_ANTHROPIC);
	assert_int_equal(n.message[1].part[1].kind, PART_REDACTED);
	assert_string_equal(written(body, FORMAT_OPENAI_CHAT, "m"),
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"
		"\"assistant\",\"content\":\"y\"}],"
		"\"max_completion_tokens\":9,\"reasoning_effort\":\"medium\"}");
	assert_string_equal(
		dropped(), "cache_control, thinking block, reasoning item, top_k, provider");
}

static void
reasoning_models_get_no_temperature(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
		"\"temperature\":0.5,\"top_p\":1}";

	(void)state;
	assert_non_null(strstr(written(body, FORMAT_OPENAI_CHAT, "gpt-4.1"), "temperature"));
	assert_null(strstr(written(body, FORMAT_OPENAI_CHAT, "gpt-5-mini"), "temperature"));
	assert_string_equal(dropped(), "temperature, top_p");
	assert_null(strstr(written(body, FORMAT_OPENAI_CHAT, "o3"), "temperature"));
	assert_non_null(strstr(written(body, FORMAT_OPENAI_CHAT, "gpt-5-chat-latest"), "top_p"));
}

static void
signatures_of_google_go_both_ways(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"
		"\"assistant\",\"content\":null,"
		"\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
		"\"arguments\":\"{}\"},"
		"\"extra_content\":{\"google\":{\"thought_signature\":\"QUJD\"}}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"1\"}]}";

	(void)state;
	assert_non_null(strstr(
		written(body, FORMAT_OPENAI_CHAT, "gemini-3"), "\"thought_signature\":\"QUJD\""));
	assert_int_equal(n.message[1].part[0].signer, SIGNER_GEMINI);
	assert_null(strstr(written(body, FORMAT_OPENAI_CHAT, "gpt-4.1"), "QUJD"));
	assert_string_equal(dropped(), "thoughtSignature");
}

/* What only other dialects can say. */
static void
other_dialects_parts_find_their_place(void **state)
{
	struct request_target to = { .model = "gpt" };
	struct request_made made = { .body = &out };
	struct neutral_part *p, *inner;

	(void)state;
	neutral_request_init(&n, arena);
	p = neutral_add(&n, ROLE_USER, PART_TEXT, &err);
	p->text = SPAN_LIT("\"t\"");
	p = neutral_add(&n, ROLE_USER, PART_TOOL_RESULT, &err);
	p->call_id = SPAN_LIT("a.b");
	p->is_error = true;
	inner = neutral_add_result(&n, p, PART_TEXT, &err);
	inner->text = SPAN_LIT("\"r\"");
	inner = neutral_add_result(&n, p, PART_IMAGE, &err);
	inner->mime = SPAN_LIT("image/png");
	inner->data = SPAN_LIT("QUJD");
	p = neutral_add(&n, ROLE_USER, PART_DOCUMENT, &err);
	p->text = SPAN_LIT("\"doc\"");
	p = neutral_add(&n, ROLE_ASSISTANT, PART_TOOL_CALL, &err);
	p->name = SPAN_LIT("f");
	p->call_id = SPAN_LIT("id");
	p->input = SPAN_LIT("{\"a\" : \"\\\"\"}");
	assert_int_equal(chat()->write_request(&n, &to, &made, &lost, &err), 0);
	assert_string_equal(out.at,
		"{\"model\":\"gpt\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"a_b\","
		"\"content\":\"r\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
		"\"data:image/png;base64,QUJD\"}},"
		"{\"type\":\"text\",\"text\":\"t\"},{\"type\":\"text\",\"text\":\"doc\"}]},"
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"id\",\"type\":"
		"\"function\","
		"\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"\\\\\\\"\\\"}\"}}]}]"
		"}");
	assert_string_equal(dropped(), "is_error");
}

static void
what_cannot_be_written_is_refused(void **state)
{
	static const struct {
		enum part_kind kind;
		const char *field;
	} cases[] = { { PART_IMAGE, "image_url" }, { PART_DOCUMENT, "file" },
		{ PART_VIDEO, "video" }, { PART_AUDIO, "input_audio" } };
	struct request_target to = { .model = "gpt" };
	struct request_made made = { .body = &out };
	struct neutral_tool *t;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		neutral_request_init(&n, arena);
		neutral_add(&n, ROLE_USER, cases[i].kind, &err)->file_id = SPAN_LIT("file_1");
		assert_int_equal(chat()->write_request(&n, &to, &made, &lost, &err), -1);
		assert_int_equal(err.code, ERR_UNSUPPORTED);
		assert_string_equal(err.field, cases[i].field);
	}
	neutral_request_init(&n, arena);
	neutral_add(&n, ROLE_USER, PART_TEXT, &err)->text = SPAN_LIT("\"x\"");
	t = neutral_add_tool(&n, &err);
	t->kind = TOOL_HOSTED;
	t->name = SPAN_LIT("web_search_20250305");
	assert_int_equal(chat()->write_request(&n, &to, &made, &lost, &err), -1);
	assert_string_equal(err.field, "tools");
	assert_non_null(strstr(err.says, "web_search_20250305"));
}

static void
long_names_of_users_are_made_to_fit(void **state)
{
	(void)state;
	(void)written(
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"user\":\""
		"user_0123456789012345678901234567890123456789_account__session_0123456789\"}",
		FORMAT_OPENAI_CHAT, "m");
	assert_int_equal(json_get(bytes_span(&out), "user").raw.len, 64 + 2);
}

/* ---- answers ---- */

static struct neutral_reply reply;

static int
read_reply(const char *body)
{
	memset(&err, 0, sizeof err);
	reply = (struct neutral_reply){ .arena = arena, .usage = WIRE_USAGE_NONE };
	return chat()->read_reply(span_of(body), &reply, &err);
}

static const char *
rewritten(const char *model)
{
	struct reply_options o = { .model = model, .now_s = 5 };

	bytes_free(&out);
	assert_int_equal(chat()->write_reply(&reply, &o, &out), 0);
	if (!json_valid(bytes_span(&out)))
		fail_msg("no JSON: %s", out.at);
	return out.at;
}

static void
answers_come_out_as_they_went_in(void **state)
{
	static const char body[] =
		"{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":7,\"model\":"
		"\"m\",\"choices\":["
		"{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":"
		"null,\"reasoning_content\":\"r\","
		"\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
		"\"arguments\":\"{\\\"a\\\":1}\"},"
		"\"extra_content\":{\"google\":{\"thought_signature\":\"QUJD\"}}}],"
		"\"images\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
		"png;base64,QUJD\"}}]},"
		"\"logprobs\":null,\"finish_reason\":\"tool_calls\"},"
		"{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":"
		"\"no\"},\"logprobs\":null,\"finish_reason\":\"stop\"},"
		"{\"index\":2,\"message\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":"
		"null},\"logprobs\":null,\"finish_reason\":\"content_filter\"}],"
		"\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,"
		"\"prompt_tokens_details\":{\"cached_tokens\":4},"
		"\"completion_tokens_details\":{\"reasoning_tokens\":2}}}";

	(void)state;
	assert_int_equal(read_reply(body), 0);
	assert_int_equal(reply.choice_count, 3);
	assert_int_equal(reply.usage.input, 6);
	assert_string_equal(rewritten(NULL), body);
}

static void
answers_of_many_servers_are_read(void **state)
{
	(void)state;
	/* OpenRouter */
	assert_int_equal(read_reply("{\"choices\":[{\"native_finish_reason\":\"STOP\",\"finish_"
				    "reason\":\"stop\",\"message\":{\"content\":\"x\","
				    "\"reasoning\":\"r\",\"reasoning_details\":[{\"type\":"
				    "\"reasoning.text\",\"text\":\"r\",\"signature\":\"S\","
				    "\"format\":\"anthropic-claude-v1\"}]}}],\"usage\":{\"prompt_"
				    "tokens\":1,\"completion_tokens\":1,\"cost\":0.000123}}"),
		0);
	assert_int_equal(reply.choice[0].count, 2);
	assert_span(reply.choice[0].part[0].signature, "S");
	assert_int_equal(reply.usage.cost_nusd, 123000);
	/* a server that says stop, and gives a call without an id and with an object */
	assert_int_equal(
		read_reply("{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":"
			   "null,\"tool_calls\":"
			   "[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]}}]}"),
		0);
	assert_int_equal(reply.choice[0].finish, FINISH_TOOL_CALLS);
	assert_int_equal(reply.choice[0].part[0].call_id.len, 5 + 24);
	assert_span(reply.choice[0].part[0].input, "{\"a\":1}");
	/* Mistral */
	assert_int_equal(read_reply("{\"choices\":[{\"message\":{\"content\":[{\"type\":"
				    "\"thinking\",\"thinking\":[{\"type\":\"text\","
				    "\"text\":\"t\"}]},{\"type\":\"text\",\"text\":\"x\"}]}}]}"),
		0);
	assert_int_equal(reply.choice[0].part[0].kind, PART_REASONING);
	assert_int_equal(reply.choice[0].part[1].kind, PART_TEXT);
	assert_int_equal(reply.choice[0].finish, FINISH_STOP);
	/* the old way, and audio */
	assert_int_equal(read_reply("{\"choices\":[{\"message\":{\"function_call\":{\"name\":\"f\","
				    "\"arguments\":\"\"}}}]}"),
		0);
	assert_non_null(strstr(rewritten("m"), "\"arguments\":\"{}\""));
	assert_int_equal(read_reply("{\"choices\":[{\"message\":{\"content\":null,\"audio\":{"
				    "\"id\":\"a\",\"data\":\"QUJD\","
				    "\"transcript\":\"said\"}}}]}"),
		0);
	assert_span(reply.choice[0].part[0].text, "\"said\"");
	assert_span(reply.choice[0].part[1].data, "QUJD");
}

static void
what_is_no_answer_is_an_error(void **state)
{
	static const struct {
		const char *body;
		enum err_code code;
	} cases[] = {
		{ "", ERR_UPSTREAM_UNREACHABLE },
		{ "<html>", ERR_UPSTREAM_UNREACHABLE },
		{ "{}", ERR_UPSTREAM_UNREACHABLE },
		{ "{\"choices\":[]}", ERR_UPSTREAM_UNREACHABLE },
		{ "{\"choices\":[7]}", ERR_UPSTREAM_UNREACHABLE },
		{ "{\"choices\":[{\"index\":500,\"message\":{}}]}", ERR_UPSTREAM_UNREACHABLE },
		{ "{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{}}]}}]}",
			ERR_UPSTREAM_UNREACHABLE },
		{ "{\"error\":{\"code\":429,\"message\":\"slow\"}}", ERR_RATE_LIMITED },
		{ "{\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}",
			ERR_UPSTREAM_UNREACHABLE },
		{ "{\"error\":{\"code\":401,\"message\":\"sk-secret\"}}",
			ERR_UPSTREAM_CREDENTIALS },
		{ "{\"choices\":[{\"error\":{\"code\":503,\"message\":\"x\"},\"message\":{}}]}",
			ERR_OVERLOADED },
		{ "{\"choices\":[{\"finish_reason\":\"error\",\"message\":{}}]}",
			ERR_UPSTREAM_UNREACHABLE },
		{ "{\"object\":\"error\",\"message\":\"x\"}", ERR_UPSTREAM_UNREACHABLE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(read_reply(cases[i].body), -1);
		if (err.code != cases[i].code)
			fail_msg("%s: %s", cases[i].body, err_name(err.code));
		assert_null(strstr(err_public(&err), "sk-secret"));
	}
	assert_int_equal(
		read_reply("{\"error\":null,\"choices\":[{\"message\":{\"content\":\"x\"}}]}"), 0);
}

/* ---- streams read ---- */

struct trace {
	struct bytes text;
	struct neutral_order order;
	const char *wrong;
};

static const char *const kinds[] = { "text", "image", "document", "audio", "video", "call",
	"result", "reasoning", "redacted", "refusal" };
static const char *const ends[] = { "none", "stop", "sequence", "length", "context", "calls",
	"filter", "pause", "malformed" };

/* One word an event: "start(id) 0:text("a""b") 0:stop usage(1,2) end". */
static int
note(void *ctx, const struct neutral_event *e)
{
	struct trace *t = ctx;
	struct bytes *b = &t->text;
	const char *wrong = neutral_order_check(&t->order, e);

	if (t->wrong == NULL)
		t->wrong = wrong;
	switch (e->kind) {
	case EVENT_START:
		(void)bytes_printf(b, "start(%.*s)", (int)e->id.len, e->id.len > 0 ? e->id.at : "");
		break;
	case EVENT_PART:
		(void)bytes_printf(b, " %d:%s(", e->choice, kinds[e->part.kind]);
		if (e->part.kind == PART_TOOL_CALL)
			(void)bytes_printf(b, "%.*s,%.*s:",
				e->part.call_id.len == 29 ? 4 : (int)e->part.call_id.len,
				e->part.call_id.at, (int)e->part.name.len, e->part.name.at);
		if (e->part.data.at != NULL)
			(void)bytes_add(b, e->part.data.at, e->part.data.len);
		if (e->part.kind == PART_REDACTED)
			(void)bytes_add(b, e->part.signature.at, e->part.signature.len);
		break;
	case EVENT_DELTA:
		if (e->text.at != NULL)
			(void)bytes_add(b, e->text.at, e->text.len);
		else
			(void)bytes_printf(b, "~%.*s", (int)e->signature.len, e->signature.at);
		break;
	case EVENT_PART_END:
		(void)bytes_puts(b, ")");
		break;
	case EVENT_FINISH:
		(void)bytes_printf(b, " %d:%s", e->choice, ends[e->finish]);
		break;
	case EVENT_USAGE:
		(void)bytes_printf(b, " usage(%lld,%lld)", (long long)usage_input_total(&e->usage),
			(long long)e->usage.output);
		break;
	case EVENT_ERROR:
		(void)bytes_printf(b, " error(%s: %s)", err_name(e->err->code), err_public(e->err));
		break;
	case EVENT_END:
		(void)bytes_puts(b, " end");
		break;
	default:
		break;
	}
	return 0;
}

/* What a stream of these chunks gives; NULL at the end, or "EOF" for a stream that is just over. */
static const char *
traced(const char *const *chunks)
{
	static struct trace t;
	void *reader = calloc(1, *chat()->reader_bytes);

	bytes_free(&t.text);
	memset(&t, 0, sizeof t);
	t.text = BYTES_LIMIT(1 << 20);
	assert_non_null(reader);
	for (size_t i = 0; chunks[i] != NULL; i++) {
		struct frame f = { .data = span_of(chunks[i]) };

		assert_int_equal(chat()->read_frame(reader, &f, note, &t), 0);
	}
	assert_int_equal(chat()->read_end(reader, note, &t), 0);
	chat()->reader_free(reader);
	free(reader);
	if (t.wrong != NULL)
		fail_msg("%s: %s", t.wrong, t.text.at);
	return t.text.at;
}

#define CHUNK(delta) "{\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":" delta "}]}"
#define CALLS(calls) CHUNK("{\"tool_calls\":[" calls "]}")
#define FINISH(word)                                                                               \
	"{\"id\":\"i\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" word "\"}]}"
#define STREAM(...) traced((const char *const[]){ __VA_ARGS__, NULL })

static void
streams_become_parts_in_order(void **state)
{
	(void)state;
	assert_string_equal(
		STREAM(CHUNK("{\"role\":\"assistant\",\"content\":\"\"}"),
			CHUNK("{\"reasoning_content\":\"h\"}"),
			CHUNK("{\"reasoning_content\":\"m\"}"), CHUNK("{\"content\":\"a\"}"),
			CHUNK("{\"content\":\"b\"}"), FINISH("stop"),
			"{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}",
			"[DONE]"),
		"start(i) 0:reasoning(\"h\"\"m\") 0:text(\"a\"\"b\" usage(3,2)) 0:stop end");
	/* nothing behind [DONE]; usage in every chunk; an empty finish_reason */
	assert_string_equal(
		STREAM("{\"id\":\"i\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_"
		       "reason\":\"\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}",
			"{\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"length\"}"
			"],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
			"[DONE] ", CHUNK("{\"content\":\"c\"}")),
		"start(i) 0:text(\"a\" usage(1,1)\"b\" usage(1,2)) 0:length end");
	/* no [DONE] */
	assert_string_equal(STREAM(CHUNK("{\"content\":\"a\"}"), FINISH("stop")),
		"start(i) 0:text(\"a\") 0:stop end");
	/* no finish_reason, but [DONE] */
	assert_string_equal(STREAM(CHUNK("{\"content\":\"a\"}"), "[DONE]"),
		"start(i) 0:text(\"a\") 0:stop end");
	/* several choices */
	assert_string_equal(
		STREAM("{\"id\":\"i\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}},{"
		       "\"index\":0,\"delta\":{\"content\":\"a\"}}]}",
			"{\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}",
			FINISH("length"), "[DONE]"),
		"start(i) 1:text(\"b\" 0:text(\"a\") 0:length) 1:stop end");
}

static void
calls_are_put_in_order(void **state)
{
	(void)state;
	/* as OpenAI has it */
	assert_string_equal(STREAM(CALLS("{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
					 "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}"),
				    CALLS("{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\"}}"),
				    CALLS("{\"index\":0,\"function\":{\"arguments\":\"\\\":1}\"}}"),
				    CALLS("{\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"g\","
					  "\"arguments\":\"{\"}}"),
				    CALLS("{\"index\":1,\"function\":{\"arguments\":\"}\"}}"),
				    FINISH("tool_calls"), "[DONE]"),
		"start(i) 0:call(c1,f:\"{\\\"a\"\"\\\":1}\") 0:call(c2,g:\"{\"\"}\") 0:calls end");
	/* interleaved: the second waits until the first is whole */
	assert_string_equal(
		STREAM(CALLS("{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\","
			     "\"arguments\":\"{\"}},"
			     "{\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"g\","
			     "\"arguments\":\"{\"}}"),
			CALLS("{\"index\":1,\"function\":{\"arguments\":\"\\\"}\\\"\"}}"),
			CALLS("{\"index\":0,\"function\":{\"arguments\":\"\\\"\\\\\\\"}\\\":1\"}}"),
			CHUNK("{\"content\":\"x\"}"),
			CALLS("{\"index\":0,\"function\":{\"arguments\":\"}\"}}"),
			CALLS("{\"index\":1,\"function\":{\"arguments\":\":2}\"}}"), FINISH("stop"),
			"[DONE]"),
		"start(i) 0:call(c1,f:\"{\"\"\\\"\\\\\\\"}\\\":1\"\"}\") "
		"0:call(c2,g:\"{\\\"}\\\"\"\":2}\") 0:text(\"x\") 0:calls end");
	/* no index, no id, the name in every chunk, whole calls at once */
	assert_string_equal(STREAM(CALLS("{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{"
					 "\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
				    CALLS("{\"function\":{\"name\":\"\",\"arguments\":\"}\"}}"),
				    FINISH("tool_calls"), "[DONE]"),
		"start(i) 0:call(call,f:\"{}\") 0:call(call,f:\"{\"\"}\") 0:calls end");
	/* Google: one index for all */
	assert_string_equal(
		STREAM(CALLS("{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":"
			     "\"{}\"}}"),
			CALLS("{\"index\":0,\"id\":\"y\",\"function\":{\"name\":\"g\","
			      "\"arguments\":\"{}\"},"
			      "\"extra_content\":{\"google\":{\"thought_signature\":\"QQ\"}}}"),
			FINISH("stop"), "[DONE]"),
		"start(i) 0:call(x,f:\"{}\") 0:call(y,g:\"{}\"~QQ) 0:calls end");
	/* id and name late; the same again at the end; pieces behind the finish */
	assert_string_equal(
		STREAM(CALLS("{\"index\":0,\"function\":{\"arguments\":\"{\"}}"),
			CALLS("{\"index\":0,\"id\":\"c\"}"),
			CALLS("{\"index\":0,\"id\":\"d\",\"function\":{\"name\":\"f\"}}"),
			FINISH("tool_calls"),
			CALLS("{\"index\":0,\"function\":{\"arguments\":\"}\"}}"),
			CALLS("{\"index\":0,\"function\":{\"arguments\":\"{}\"}}"), "[DONE]"),
		"start(i) 0:call(c,f:\"{\"\"}\") 0:calls end");
	/* the old way; custom tools */
	assert_string_equal(STREAM(CHUNK("{\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}}"),
				    CHUNK("{\"function_call\":{\"arguments\":\"{}\"}}"),
				    FINISH("function_call")),
		"start(i) 0:call(call,f:\"{}\") 0:calls end");
	assert_string_equal(STREAM(CALLS("{\"index\":0,\"id\":\"c\",\"type\":\"custom\",\"custom\":"
					 "{\"name\":\"f\",\"input\":\"a}\"}}"),
				    CHUNK("{\"content\":\"x\"}"), FINISH("stop")),
		"start(i) 0:call(c,f:\"a}\") 0:text(\"x\") 0:calls end");
	/* cut short: length stays what it is */
	assert_string_equal(STREAM(CALLS("{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\","
					 "\"arguments\":\"{\"}}"),
				    FINISH("length")),
		"start(i) 0:call(c,f:\"{\") 0:length end");
	/* never a name */
	assert_non_null(strstr(
		STREAM(CALLS("{\"index\":0,\"id\":\"c\",\"function\":{\"arguments\":\"{\"}}"),
			FINISH("stop")),
		"error("));
}

static void
azure_and_openrouter_stream_with_additions(void **state)
{
	(void)state;
	assert_string_equal(
		STREAM("{\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\","
		       "\"prompt_filter_results\":[{\"prompt_index\":0}]}",
			CHUNK("{\"content\":\"a\"}"),
			"{\"id\":\"\",\"choices\":[{\"index\":0,\"finish_reason\":null,\"content_"
			"filter_offsets\":{\"end_offset\":9},\"content_filter_results\":{}}]}",
			FINISH("content_filter"), "[DONE]"),
		"start(i) 0:text(\"a\") 0:filter end");
	assert_string_equal(
		STREAM(CHUNK("{\"content\":\"\",\"reasoning\":\"t\",\"reasoning_details\":[{"
			     "\"type\":\"reasoning.text\",\"text\":\"t\"}]}"),
			CHUNK("{\"reasoning\":null,\"reasoning_details\":[{\"type\":\"reasoning."
			      "text\",\"signature\":\"S\",\"format\":\"anthropic-claude-v1\"}]}"),
			CHUNK("{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":"
			      "\"E\"}]}"),
			CHUNK("{\"content\":\"a\"}"),
			CHUNK("{\"images\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:"
			      "image/png;base64,QUJD\"}}]}"),
			FINISH("stop"), "[DONE]"),
		"start(i) 0:reasoning(\"t\"~S) 0:redacted(E) 0:text(\"a\") 0:image(QUJD) 0:stop "
		"end");
	assert_string_equal(
		STREAM(CHUNK("{\"content\":\"a\"}"),
			"{\"id\":\"gen-1\",\"error\":{\"code\":429,\"message\":\"Rate limit "
			"exceeded\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},"
			"\"finish_reason\":\"error\"}]}",
			"[DONE]"),
		"start(i) 0:text(\"a\" error(rate_limited: The provider failed: Rate limit "
		"exceeded)");
	assert_string_equal(
		STREAM(CHUNK("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":"
			     "\"text\",\"text\":\"t\"}]},{\"type\":\"text\",\"text\":\"x\"}]}"),
			FINISH("stop")),
		"start(i) 0:reasoning(\"t\") 0:text(\"x\") 0:stop end");
	assert_string_equal(STREAM(CHUNK("{\"audio\":{\"id\":\"a\",\"transcript\":\"said\"}}"),
				    CHUNK("{\"audio\":{\"data\":\"QUJD\"}}"), FINISH("stop")),
		"start(i) 0:text(\"said\") 0:audio(QUJD) 0:stop end");
}

static void
broken_streams_end_in_an_error(void **state)
{
	(void)state;
	assert_string_equal(STREAM(CHUNK("{\"content\":\"a\"}")),
		"start(i) 0:text(\"a\" error(upstream_unreachable: The provider's stream ended "
		"before its answer was complete.)");
	assert_non_null(strstr(STREAM("[DONE]"), "ended before"));
	assert_non_null(strstr(STREAM("nonsense"), "error(upstream_unreachable"));
	assert_non_null(strstr(STREAM("{\"choices\":[{\"index\":128}]}"), "error("));
	assert_non_null(strstr(STREAM("{\"choices\":[{\"index\":-1}]}"), "error("));
	assert_non_null(strstr(STREAM("{\"choices\":[7]}"), "error("));
	assert_non_null(
		strstr(STREAM("{\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}"),
			"error(overloaded"));
	assert_non_null(strstr(
		STREAM("{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"long\"}}"),
		"error(context_too_long"));
	assert_non_null(strstr(STREAM("{\"error\":\"boom\"}"), "boom"));
	assert_non_null(strstr(STREAM("{\"object\":\"error\",\"message\":\"boom\"}"), "boom"));
}

/* ---- streams written ---- */

static struct bytes stream_out;
static void *writer;
static struct reply_options options;

static int
put(void *ctx, const struct neutral_event *e)
{
	(void)ctx;
	return chat()->write_event(writer, &options, e, &stream_out);
}

/* The reply as a stream. */
static const char *
streamed(const char *body, bool include_usage)
{
	assert_int_equal(read_reply(body), 0);
	options =
		(struct reply_options){ .model = "gw", .include_usage = include_usage, .now_s = 5 };
	bytes_free(&stream_out);
	stream_out = BYTES_LIMIT(1 << 20);
	writer = calloc(1, *chat()->writer_bytes);
	assert_int_equal(neutral_replay(&reply, put, NULL), 0);
	chat()->writer_free(writer);
	free(writer);
	return stream_out.at;
}

static void
a_stream_is_written_as_the_sdk_reads_it(void **state)
{
#define HEAD                                                                                       \
	"data: "                                                                                   \
	"{\"id\":\"i\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"gw\","       \
	"\"choices\":["
#define D(delta)                                                                                   \
	HEAD "{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}],\"usage\":null}\n\n"
	(void)state;
	assert_string_equal(
		streamed("{\"id\":\"i\",\"choices\":[{\"finish_reason\":\"stop\",\"message\":{"
			 "\"reasoning_content\":\"r\",\"content\":\"x\\n\",\"tool_calls\":["
			 "{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"\"},\"extra_"
			 "content\":{\"google\":{\"thought_signature\":\"QQ\"}}},"
			 "{\"id\":\"d\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"a\\\":1}"
			 "\"}}]}}],"
			 "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}",
			true),
		D("\"role\":\"assistant\",\"content\":\"\"") D("\"reasoning_content\":\"r\"") D(
			"\"content\":\"x\\n\"") D("\"tool_calls\":[{\"index\":0,\"id\":\"c\","
						  "\"type\":\"function\",\"function\":{\"name\":"
						  "\"f\",\"arguments\":\"\"}}]")
			D("\"tool_calls\":[{\"index\":0,\"extra_content\":{\"google\":{\"thought_"
			  "signature\":\"QQ\"}}}]") D("\"tool_calls\":[{\"index\":0,\"function\":{"
						      "\"arguments\":\"{}\"}}]")
				D("\"tool_calls\":[{\"index\":1,\"id\":\"d\",\"type\":\"function\","
				  "\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]")
					D("\"tool_calls\":[{\"index\":1,\"function\":{"
					  "\"arguments\":\"{\\\"a\\\":1}\"}}]") HEAD
		"{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}],\"usage\":null}"
		"\n\n" HEAD "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_"
		"tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":0},"
		"\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n"
		"data: [DONE]\n\n");
}

static void
usage_is_for_those_who_ask(void **state)
{
	const char *text;

	(void)state;
	text = streamed("{\"choices\":[{\"finish_reason\":\"length\",\"message\":{\"content\":"
			"\"x\"}},{\"index\":1,\"message\":{\"refusal\":\"no\"}}],"
			"\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}",
		false);
	assert_null(strstr(text, "usage"));
	assert_non_null(strstr(
		text, "{\"index\":1,\"delta\":{\"refusal\":\"no\"},\"finish_reason\":null}"));
	assert_non_null(strstr(text, "{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}"));
	assert_non_null(strstr(text, "data: [DONE]\n\n"));
	assert_non_null(strstr(text, "\"id\":\"chatcmpl-"));
	/* a first part that is a call: content is null, as OpenAI has it */
	text = streamed("{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":\"c\",\"custom\":{"
			"\"name\":\"f\",\"input\":\"\"}}]}}]}",
		false);
	assert_non_null(strstr(text, "\"role\":\"assistant\",\"content\":null"));
	assert_non_null(
		strstr(text, "\"type\":\"custom\",\"custom\":{\"name\":\"f\",\"input\":\"\"}"));
	assert_null(strstr(text, "{}\"}}]"));
}

static void
an_error_has_no_done_behind_it(void **state)
{
	static const char cut[] = "The provider's stream ended before its answer was complete.";
	struct neutral_event e = { .kind = EVENT_ERROR, .err = &err };

	(void)state;
	options = (struct reply_options){ .model = "gw" };
	writer = calloc(1, *chat()->writer_bytes);
	bytes_free(&stream_out);
	stream_out = BYTES_LIMIT(1 << 20);
	(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "x");
	(void)err_say(&err, "%s", cut);
	assert_int_equal(put(NULL, &e), 0);
	assert_non_null(strstr(stream_out.at,
		"\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_stream_truncated\""));
	(void)err_set(&err, ERR_OVERLOADED, "x");
	assert_int_equal(put(NULL, &e), 0);
	assert_non_null(strstr(stream_out.at, "\"code\":\"server_overloaded\""));
	assert_null(strstr(stream_out.at, "[DONE]"));
	chat()->writer_free(writer);
	free(writer);
	bytes_free(&stream_out);
}

/* ---- ceilings ---- */

/* Held bytes are bounded: an unfinished call with others behind it. */
static void
what_waits_has_a_ceiling(void **state)
{
	static char chunk[(1 << 20) + 256];
	struct trace t = { .text = BYTES_LIMIT(1 << 20) };
	void *reader = calloc(1, *chat()->reader_bytes);
	struct frame f = { .data = SPAN_LIT(CALLS("{\"index\":0,\"id\":\"c\",\"function\":{"
						  "\"name\":\"f\",\"arguments\":\"{\"}}")) };
	int len;

	(void)state;
	assert_int_equal(chat()->read_frame(reader, &f, note, &t), 0);
	len = snprintf(chunk, sizeof chunk, "{\"choices\":[{\"delta\":{\"content\":\"");
	memset(chunk + len, 'x', 1 << 20);
	(void)snprintf(chunk + len + (1 << 20), sizeof chunk - (size_t)len - (1 << 20), "\"}}]}");
	f.data = span_of(chunk);
	for (int i = 0; i < 20; i++)
		assert_int_equal(chat()->read_frame(reader, &f, note, &t), 0);
	assert_non_null(strstr(t.text.at, "error("));
	assert_null(t.wrong);
	chat()->reader_free(reader);
	free(reader);
	bytes_free(&t.text);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(messages_become_turns_of_parts),
		T(media_is_read_by_data_and_by_address),
		T(settings_have_their_place),
		T(functions_of_before_tools_are_tools),
		T(what_is_wrong_is_named),
		T(a_request_comes_out_as_it_went_in),
		T(openrouter_takes_more),
		T(reasoning_models_get_no_temperature),
		T(signatures_of_google_go_both_ways),
		T(other_dialects_parts_find_their_place),
		T(what_cannot_be_written_is_refused),
		T(long_names_of_users_are_made_to_fit),
		T(answers_come_out_as_they_went_in),
		T(answers_of_many_servers_are_read),
		T(what_is_no_answer_is_an_error),
		T(streams_become_parts_in_order),
		T(calls_are_put_in_order),
		T(azure_and_openrouter_stream_with_additions),
		T(broken_streams_end_in_an_error),
		T(a_stream_is_written_as_the_sdk_reads_it),
		T(usage_is_for_those_who_ask),
		T(an_error_has_no_done_behind_it),
		T(what_waits_has_a_ceiling),
	};

	return cmocka_run_group_tests_name("wire/openai_chat", tests, NULL, NULL);
}
