/*
 * openai_responses_test.c - requests, answers and streams of OpenAI's responses.
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
static struct neutral_reply reply;
static struct losses lost;
static struct err err;
static struct bytes out;

static int
set_up(void **state)
{
	(void)state;
	arena = arena_new(ARENA_BYTES);
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
responses(void)
{
	return format_of(FORMAT_OPENAI_RESPONSES);
}

#define assert_span(got, text)                                                                     \
	do {                                                                                       \
		struct span span_ = (got);                                                         \
		if (!span_is(span_, text))                                                         \
			fail_msg("%.*s is not %s", (int)span_.len, span_.at, text);                \
	} while (0)

/* ---- requests ---- */

static int
read_as(enum format_id id, const char *body)
{
	struct request_source from = { .body = span_of(body) };

	memset(&lost, 0, sizeof lost);
	memset(&err, 0, sizeof err);
	neutral_request_init(&n, arena);
	return format_of(id)->read_request(&from, &n, &lost, &err);
}

/* NULL: refused. */
static const char *
converted(enum format_id from, enum format_id to, const char *body)
{
	struct request_target target = { .model = "m" };
	struct request_made made = { .body = &out };

	bytes_free(&out);
	if (read_as(from, body) != 0)
		fail_msg("not read: %s", err.says);
	if (format_of(to)->write_request(&n, &target, &made, &lost, &err) != 0)
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

static void
a_request_comes_out_as_it_went_in(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"instructions\":\"s\",\"input\":["
		"{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
		"\"text\":\"a\"},"
		"{\"type\":\"input_image\",\"image_url\":\"data:image/"
		"png;base64,QUJD\",\"detail\":\"low\"},"
		"{\"type\":\"input_file\",\"filename\":\"a.pdf\",\"file_data\":\"data:application/"
		"pdf;base64,QUJD\"},"
		"{\"type\":\"input_file\",\"file_url\":\"https://e.org/b.pdf\"},"
		"{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"QUJD\",\"format\":\"wav\"}}]"
		"},"
		"{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"r\"}],"
		"\"encrypted_content\":\"E\"},"
		"{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"F\"},"
		"{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_"
		"text\",\"text\":\"b\",\"annotations\":[]},"
		"{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
		"{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{"
		"\\\"a\\\": 1}\"},"
		"{\"type\":\"custom_tool_call\",\"call_id\":\"c2\",\"name\":\"g\",\"input\":"
		"\"free\"},"
		"{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"7\"},"
		"{\"type\":\"custom_tool_call_output\",\"call_id\":\"c2\",\"output\":[{\"type\":"
		"\"input_text\",\"text\":\"x\"},"
		"{\"type\":\"input_image\",\"image_url\":\"https://e.org/"
		"i\",\"detail\":\"auto\"}]}],"
		"\"max_output_tokens\":9,\"temperature\":0.5,\"top_logprobs\":2,\"metadata\":{"
		"\"a\":\"b\"},\"truncation\":\"auto\","
		"\"user\":\"u\",\"service_tier\":\"flex\",\"store\":true,\"text\":{\"format\":{"
		"\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{},\"strict\":true},"
		"\"verbosity\":\"low\"},\"reasoning\":{\"effort\":\"high\",\"summary\":\"concise\"}"
		",\"include\":[\"reasoning.encrypted_content\"],"
		"\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\","
		"\"parameters\":{},\"strict\":false},"
		"{\"type\":\"custom\",\"name\":\"g\",\"format\":{\"type\":\"grammar\",\"syntax\":"
		"\"lark\",\"definition\":\"x\"}}],"
		"\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{"
		"\"type\":\"custom\",\"name\":\"g\"}]},"
		"\"parallel_tool_calls\":false,\"stream\":true}";

	(void)state;
	assert_string_equal(
		converted(FORMAT_OPENAI_RESPONSES, FORMAT_OPENAI_RESPONSES, body), body);
	assert_string_equal(dropped(), "");
	assert_true(n.wants_usage && n.show_reasoning);
}

static void
chat_and_responses_say_the_same(void **state)
{
	static const char flat[] =
		"{\"model\":\"m\",\"instructions\":\"s\",\"input\":[{\"type\":\"message\",\"role\":"
		"\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\"}]},"
		"{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"g\",\"input\":\"i\"},"
		"{\"type\":\"custom_tool_call_output\",\"call_id\":\"c\",\"output\":\"\"}],"
		"\"store\":false,"
		"\"tools\":[{\"type\":\"custom\",\"name\":\"g\",\"format\":{\"type\":\"grammar\","
		"\"syntax\":\"lark\",\"definition\":\"x\"}}],"
		"\"tool_choice\":{\"type\":\"custom\",\"name\":\"g\"}}";
	static const char nested[] =
		"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
		"\"user\",\"content\":\"a\"},"
		"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":"
		"\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"i\"}}]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"\"}],"
		"\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"format\":{\"type\":"
		"\"grammar\",\"grammar\":{\"syntax\":\"lark\",\"definition\":\"x\"}}}}],"
		"\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}}";

	(void)state;
	assert_string_equal(converted(FORMAT_OPENAI_RESPONSES, FORMAT_OPENAI_CHAT, flat), nested);
	assert_string_equal(dropped(), "store");
	assert_string_equal(converted(FORMAT_OPENAI_CHAT, FORMAT_OPENAI_RESPONSES, nested), flat);
}

static void
signatures_of_others_pass_through_encrypted_content(void **state)
{
	(void)state;
	assert_int_equal(read_as(FORMAT_OPENAI_RESPONSES,
				 "{\"model\":\"m\",\"input\":["
				 "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
				 "\"anthropic:S\"},"
				 "{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
				 "\"anthropic-redacted:D\"},"
				 "{\"type\":\"reasoning\",\"summary\":[{\"text\":\"a\"},{\"text\":"
				 "\"b\"}],\"encrypted_content\":\"gemini:G\"},"
				 "{\"type\":\"reasoning\",\"summary\":[]}]}"),
		0);
	assert_int_equal(n.message[0].count, 3);
	assert_int_equal(n.message[0].part[0].kind, PART_REASONING);
	assert_int_equal(n.message[0].part[0].signer, SIGNER_ANTHROPIC);
	assert_span(n.message[0].part[0].signature, "S");
	assert_int_equal(n.message[0].part[1].kind, PART_REDACTED);
	assert_span(n.message[0].part[1].signature, "D");
	assert_int_equal(n.message[0].part[2].signer, SIGNER_GEMINI);
	assert_span(n.message[0].part[2].text, "\"a\\n\\nb\"");
}

static void
what_is_wrong_is_named(void **state)
{
#define I(item) "{\"model\":\"m\",\"input\":[" item "]}"
#define M(more) "{\"model\":\"m\",\"input\":\"x\"," more "}"
	static const struct {
		const char *body, *field;
		enum err_code code;
	} cases[] = {
		{ "[]", "", ERR_BAD_REQUEST },
		{ "{\"input\":\"x\"}", "model", ERR_BAD_REQUEST },
		{ "{\"model\":\"m\"}", "input", ERR_BAD_REQUEST },
		{ "{\"model\":\"m\",\"input\":\"\"}", "input", ERR_BAD_REQUEST },
		{ "{\"model\":\"m\",\"input\":[]}", "input", ERR_BAD_REQUEST },
		{ I("7"), "input[0]", ERR_BAD_REQUEST },
		{ I("{}"), "input[0].type", ERR_BAD_REQUEST },
		{ I("{\"type\":\"holo\"}"), "input[0].type", ERR_BAD_REQUEST },
		{ I("{\"type\":\"item_reference\",\"id\":\"x\"}"), "input[0]", ERR_UNSUPPORTED },
		{ I("{\"role\":\"bot\",\"content\":\"x\"}"), "input[0].role", ERR_BAD_REQUEST },
		{ I("{\"role\":\"user\",\"content\":7}"), "input[0].content", ERR_BAD_REQUEST },
		{ I("{\"role\":\"user\",\"content\":[{\"type\":\"holo\"}]}"),
			"input[0].content[0].type", ERR_BAD_REQUEST },
		{ I("{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"ftp:"
		    "x\"}]}"),
			"input[0].content[0].image_url", ERR_BAD_REQUEST },
		{ I("{\"role\":\"user\",\"content\":[{\"type\":\"input_file\"}]}"),
			"input[0].content[0].file_id", ERR_BAD_REQUEST },
		{ I("{\"type\":\"function_call\",\"name\":\"f\"}"), "input[0].call_id",
			ERR_BAD_REQUEST },
		{ I("{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"\"}"),
			"input[0].name", ERR_BAD_REQUEST },
		{ I("{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":7}"),
			"input[0].output", ERR_BAD_REQUEST },
		{ M("\"previous_response_id\":\"resp_1\""), "previous_response_id",
			ERR_UNSUPPORTED },
		{ M("\"conversation\":{\"id\":\"c\"}"), "conversation", ERR_UNSUPPORTED },
		{ M("\"background\":true"), "background", ERR_UNSUPPORTED },
		{ M("\"prompt\":{\"id\":\"p\"}"), "prompt", ERR_UNSUPPORTED },
		{ M("\"max_output_tokens\":0"), "max_output_tokens", ERR_BAD_REQUEST },
		{ M("\"tools\":[{\"type\":\"function\"}]"), "tools[0].name", ERR_BAD_REQUEST },
		{ M("\"tool_choice\":\"perhaps\""), "tool_choice", ERR_BAD_REQUEST },
		{ M("\"tool_choice\":{\"type\":\"web_search\"}"), "tool_choice", ERR_UNSUPPORTED },
		{ M("\"text\":{\"format\":{\"type\":\"xml\"}}"), "text.format.type",
			ERR_BAD_REQUEST },
		{ M("\"text\":{\"format\":{\"type\":\"json_schema\",\"schema\":7}}"),
			"text.format.schema", ERR_BAD_REQUEST },
		{ M("\"reasoning\":{\"effort\":\"some\"}"), "reasoning.effort", ERR_BAD_REQUEST },
		{ M("\"top_logprobs\":-1"), "top_logprobs", ERR_BAD_REQUEST },
		{ M("\"store\":\"yes\""), "store", ERR_BAD_REQUEST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (read_as(FORMAT_OPENAI_RESPONSES, cases[i].body) == 0)
			fail_msg("taken: %s", cases[i].body);
		if (err.code != cases[i].code || strcmp(err.field, cases[i].field) != 0 ||
			err.says[0] == '\0')
			fail_msg("%s: %s, field '%s', '%s'", cases[i].body, err_name(err.code),
				err.field, err.says);
	}
	assert_int_equal(read_as(FORMAT_OPENAI_RESPONSES,
				 M("\"background\":false,\"previous_response_id\":null")),
		0);
}

static void
what_ran_at_the_provider_is_told_lost(void **state)
{
	(void)state;
	assert_int_equal(
		read_as(FORMAT_OPENAI_RESPONSES, I("{\"role\":\"user\",\"content\":\"x\"},{"
						   "\"type\":\"web_search_call\",\"id\":\"w\"}")),
		0);
	assert_string_equal(dropped(), "web_search_call item");
	assert_string_equal(lost.meaning, "web_search_call item");
}

static void
what_cannot_be_written_is_refused(void **state)
{
	(void)state;
	assert_null(converted(FORMAT_OPENAI_CHAT, FORMAT_OPENAI_RESPONSES,
		"{\"model\":\"m\",\"n\":2,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"));
	assert_string_equal(err.field, "n");
	assert_null(converted(FORMAT_OPENAI_RESPONSES, FORMAT_OPENAI_CHAT,
		M("\"tools\":[{\"type\":\"web_search\"}]")));
	assert_non_null(strstr(err.says, "web_search"));
	assert_non_null(converted(FORMAT_OPENAI_CHAT, FORMAT_OPENAI_RESPONSES,
		"{\"model\":\"m\",\"stop\":\"x\",\"seed\":1,\"messages\":[{\"role\":\"system\","
		"\"content\":\"x\"}]}"));
	assert_string_equal(out.at, "{\"model\":\"m\",\"input\":\"x\",\"store\":false}");
	assert_string_equal(dropped(), "stop, seed");
}

/* ---- answers ---- */

static int
read_reply(const char *body)
{
	memset(&err, 0, sizeof err);
	reply = (struct neutral_reply){ .arena = arena, .usage = WIRE_USAGE_NONE };
	return responses()->read_reply(span_of(body), &reply, &err);
}

static void
answers_come_out_as_they_went_in(void **state)
{
	static const struct reply_options o = { .now_s = 5 };
	static const char body[] =
		"{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":7,\"status\":"
		"\"incomplete\",\"error\":null,"
		"\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"instructions\":null,"
		"\"max_output_tokens\":null,\"model\":\"m\",\"output\":["
		"{\"id\":\"rs_1_0\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\","
		"\"text\":\"r\"}],\"encrypted_content\":\"E\"},"
		"{\"id\":\"rs_1_1\",\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
		"\"anthropic-redacted:D\"},"
		"{\"id\":\"msg_1_2\",\"type\":\"message\",\"status\":\"incomplete\",\"role\":"
		"\"assistant\",\"content\":["
		"{\"type\":\"output_text\",\"text\":\"a\",\"annotations\":[],\"logprobs\":[]},{"
		"\"type\":\"refusal\",\"refusal\":\"no\"}]},"
		"{\"id\":\"fc_1_4\",\"type\":\"function_call\",\"status\":\"completed\",\"call_"
		"id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},"
		"{\"id\":\"ctc_1_5\",\"type\":\"custom_tool_call\",\"status\":\"completed\",\"call_"
		"id\":\"d\",\"name\":\"g\",\"input\":\"i\"},"
		"{\"id\":\"ig_1_6\",\"type\":\"image_generation_call\",\"status\":\"completed\","
		"\"result\":\"QUJD\"}],"
		"\"parallel_tool_calls\":true,\"previous_response_id\":null,\"reasoning\":{"
		"\"effort\":null,\"summary\":null},\"store\":false,"
		"\"temperature\":null,\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":"
		"\"auto\",\"tools\":[],\"top_p\":null,\"truncation\":\"disabled\","
		"\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4,"
		"\"cache_write_tokens\":0},\"output_tokens\":5,"
		"\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":15},"
		"\"metadata\":{}}";

	(void)state;
	assert_int_equal(read_reply(body), 0);
	assert_int_equal(reply.choice[0].count, 7);
	assert_int_equal(reply.choice[0].finish, FINISH_LENGTH);
	assert_int_equal(reply.usage.input, 6);
	assert_int_equal(responses()->write_reply(&reply, &o, &out), 0);
	assert_string_equal(out.at, body);
}

static void
what_is_no_answer_is_an_error(void **state)
{
	static const struct {
		const char *body;
		enum err_code code;
	} cases[] = {
		{ "", ERR_UPSTREAM_UNREACHABLE },
		{ "{}", ERR_UPSTREAM_UNREACHABLE },
		{ "{\"status\":\"in_progress\",\"output\":[]}", ERR_UPSTREAM_UNREACHABLE },
		{ "{\"status\":\"failed\",\"output\":[],\"error\":{\"code\":\"rate_limit_"
		  "exceeded\",\"message\":\"slow\"}}",
			ERR_RATE_LIMITED },
		{ "{\"output\":[{\"type\":\"function_call\"}]}", ERR_UPSTREAM_UNREACHABLE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(read_reply(cases[i].body), -1);
		if (err.code != cases[i].code)
			fail_msg("%s: %s", cases[i].body, err_name(err.code));
	}
	assert_int_equal(read_reply("{\"error\":null,\"status\":\"completed\",\"output\":[]}"), 0);
	assert_int_equal(reply.choice_count, 1);
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

/* start(id) text("a""b") stop usage(1,2) end */
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
		(void)bytes_printf(b, " %s(", kinds[e->part.kind]);
		if (e->part.kind == PART_TOOL_CALL)
			(void)bytes_printf(b, "%.*s,%.*s:", (int)e->part.call_id.len,
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
		(void)bytes_printf(b, " %s", ends[e->finish]);
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

static const char *
traced(const char *const *events)
{
	static struct trace t;
	void *reader = calloc(1, *responses()->reader_bytes);

	bytes_free(&t.text);
	memset(&t, 0, sizeof t);
	t.text = BYTES_LIMIT(1 << 20);
	assert_non_null(reader);
	for (size_t i = 0; events[i] != NULL; i++) {
		struct frame f = { .data = span_of(events[i]) };

		assert_int_equal(responses()->read_frame(reader, &f, note, &t), 0);
	}
	assert_int_equal(responses()->read_end(reader, note, &t), 0);
	responses()->reader_free(reader);
	free(reader);
	if (t.wrong != NULL)
		fail_msg("%s: %s", t.wrong, t.text.at);
	return t.text.at;
}

#define STREAM(...) traced((const char *const[]){ __VA_ARGS__, NULL })
#define CREATED                                                                                    \
	"{\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"m\",\"status\":"    \
	"\"in_progress\"}}"
#define TEXT(item, content, delta)                                                                 \
	"{\"type\":\"response.output_text.delta\",\"output_index\":" #item                         \
	",\"content_index\":" #content ",\"delta\":\"" delta "\"}"
#define DONE(item, more)                                                                           \
	"{\"type\":\"response.output_item.done\",\"output_index\":" #item ",\"item\":{" more "}}"
#define COMPLETED(more)                                                                            \
	"{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"" more "}}"

static void
streams_become_parts_in_order(void **state)
{
	(void)state;
	assert_string_equal(
		STREAM(CREATED, "{\"type\":\"response.in_progress\",\"response\":{\"id\":\"r\"}}",
			"{\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":0,"
			"\"summary_index\":0,\"delta\":\"a\"}",
			"{\"type\":\"response.reasoning_summary_text.done\",\"output_index\":0,"
			"\"summary_index\":0,\"text\":\"a\"}",
			"{\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":0,"
			"\"summary_index\":1,\"delta\":\"b\"}",
			DONE(0, "\"type\":\"reasoning\",\"summary\":[{\"text\":\"a\"},{\"text\":"
				"\"b\"}],\"encrypted_content\":\"E\""),
			TEXT(1, 0, "x"), TEXT(1, 0, "y"),
			"{\"type\":\"response.output_text.done\",\"output_index\":1,\"content_"
			"index\":0,\"text\":\"xy\"}",
			"{\"type\":\"response.refusal.delta\",\"output_index\":1,\"content_index\":"
			"1,\"delta\":\"no\"}",
			DONE(1, "\"type\":\"message\",\"content\":[{\"type\":\"output_text\","
				"\"text\":\"xy\"},{\"type\":\"refusal\",\"refusal\":\"no\"}]"),
			"{\"type\":\"response.output_item.added\",\"output_index\":2,\"item\":{"
			"\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":"
			"\"\"}}",
			"{\"type\":\"response.function_call_arguments.delta\",\"output_index\":2,"
			"\"delta\":\"{\"}",
			"{\"type\":\"response.function_call_arguments.delta\",\"output_index\":2,"
			"\"delta\":\"}\"}",
			"{\"type\":\"response.function_call_arguments.done\",\"output_index\":2,"
			"\"arguments\":\"{}\"}",
			COMPLETED(",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}"), "[DONE]"),
		"start(r) reasoning(\"a\"\"\\n\\n\"\"b\"~E) text(\"x\"\"y\") refusal(\"no\") "
		"call(c,f:\"{\"\"}\" usage(3,2)) calls end");
	/* what was not streamed counts when it is done */
	assert_string_equal(
		STREAM(CREATED,
			DONE(0, "\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
				"\"E\""),
			COMPLETED(",\"output\":[{\"type\":\"reasoning\"},{\"type\":\"message\","
				  "\"content\":[{\"text\":\"x\"}]},"
				  "{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"f\","
				  "\"input\":\"i\"},"
				  "{\"type\":\"image_generation_call\",\"result\":\"QUJD\"}]")),
		"start(r) redacted(E) text(\"x\") call(c,f:\"i\") image(QUJD) calls end");
	/* items that overlap are put in order */
	assert_string_equal(
		STREAM(TEXT(0, 0, "a"), TEXT(1, 0, "b"), TEXT(0, 0, "a"),
			"{\"type\":\"response.output_text.done\",\"output_index\":0,\"content_"
			"index\":0,\"text\":\"aa\"}",
			TEXT(1, 0, "b"),
			"{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
			"\"incomplete_details\":{\"reason\":\"content_filter\"}}}"),
		"start() text(\"a\"\"a\") text(\"b\"\"b\") filter end");
}

static void
broken_streams_end_in_an_error(void **state)
{
	(void)state;
	assert_string_equal(STREAM(CREATED, TEXT(0, 0, "a")),
		"start(r) text(\"a\" error(upstream_unreachable: The provider's stream ended "
		"before its answer was complete.)");
	assert_non_null(strstr(STREAM("nonsense"), "error("));
	assert_non_null(strstr(STREAM("{\"type\":\"response.output_text.delta\",\"output_index\":-"
				      "1,\"delta\":\"x\"}"),
		"error("));
	assert_non_null(
		strstr(STREAM("{\"type\":\"response.output_item.added\",\"output_index\":99999}"),
			"error("));
	assert_non_null(strstr(
		STREAM(CREATED,
			"{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\","
			"\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"}}}"),
		"error(rate_limited: The provider failed: slow)"));
	assert_non_null(strstr(
		STREAM("{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"boom\"}"),
		"boom"));
	assert_non_null(strstr(
		STREAM("{\"type\":\"error\",\"error\":{\"type\":\"x\",\"message\":\"boom\"}}"),
		"boom"));
	assert_non_null(strstr(
		STREAM("{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\"}",
			COMPLETED("")),
		"error("));
}

/* ---- streams written ---- */

static struct bytes stream_out;
static void *writer;

static int
put(void *ctx, const struct neutral_event *e)
{
	static const struct reply_options o = { .model = "gw", .now_s = 5 };

	(void)ctx;
	return responses()->write_event(writer, &o, e, &stream_out);
}

/* The types of the events, in order; each is JSON and has the next number. */
static void
assert_types(const char *const *types)
{
	const char *p = stream_out.at;
	char head[128];
	int64_t number;

	for (int64_t i = 0; *types != NULL; types++, i++) {
		struct span data;
		int len = snprintf(head, sizeof head, "event: %s\ndata: ", *types);

		if (strncmp(p, head, (size_t)len) != 0)
			fail_msg("%lld: not %s but %.80s", (long long)i, *types, p);
		data = (struct span){ p + len, strcspn(p + len, "\n") };
		assert_true(json_valid(data));
		assert_int_equal(json_int(json_get(data, "sequence_number"), &number), 0);
		assert_int_equal(number, i);
		p = data.at + data.len + 2;
	}
	assert_string_equal(p, "");
}

static void
a_stream_is_written_as_the_sdk_reads_it(void **state)
{
	(void)state;
	assert_int_equal(
		read_reply("{\"id\":\"resp_1\",\"output\":[{\"type\":\"reasoning\",\"summary\":[{"
			   "\"text\":\"r\"}],\"encrypted_content\":\"gemini:G\"},"
			   "{\"type\":\"message\",\"content\":[{\"text\":\"a\"},{\"refusal\":"
			   "\"no\"}]},"
			   "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\","
			   "\"arguments\":\"\"},"
			   "{\"type\":\"reasoning\",\"encrypted_content\":\"E\"},"
			   "{\"type\":\"image_generation_call\",\"result\":\"QUJD\"}],\"usage\":{"
			   "\"input_tokens\":3,\"output_tokens\":2}}"),
		0);
	stream_out = BYTES_LIMIT(1 << 20);
	writer = calloc(1, *responses()->writer_bytes);
	assert_int_equal(neutral_replay(&reply, put, NULL), 0);
	assert_types((const char *const[]){ "response.created", "response.in_progress",
		"response.output_item.added", "response.reasoning_summary_part.added",
		"response.reasoning_summary_text.delta", "response.reasoning_summary_text.done",
		"response.reasoning_summary_part.done", "response.output_item.done",
		"response.output_item.added", "response.content_part.added",
		"response.output_text.delta", "response.output_text.done",
		"response.content_part.done", "response.content_part.added",
		"response.refusal.delta", "response.refusal.done", "response.content_part.done",
		"response.output_item.done", "response.output_item.added",
		"response.function_call_arguments.delta", "response.function_call_arguments.done",
		"response.output_item.done", "response.output_item.added",
		"response.output_item.done", "response.output_item.added",
		"response.output_item.done", "response.completed", NULL });
	assert_non_null(strstr(stream_out.at, "\"encrypted_content\":\"gemini:G\""));
	assert_non_null(strstr(stream_out.at,
		"\"type\":\"response.refusal.done\",\"sequence_number\":15,\"item_id\":\"msg_1_1\","
		"\"output_index\":1,\"content_index\":1,\"refusal\":\"no\""));
	assert_non_null(strstr(stream_out.at, "\"name\":\"f\",\"arguments\":\"{}\"}}"));
	assert_non_null(
		strstr(strstr(stream_out.at, "event: response.completed"), "\"total_tokens\":5"));
	responses()->writer_free(writer);
	free(writer);
	bytes_free(&stream_out);
}

static void
an_error_is_a_failed_response(void **state)
{
	struct neutral_event e = { .kind = EVENT_ERROR, .err = &err };
	struct neutral_event more = { .kind = EVENT_END };

	(void)state;
	stream_out = BYTES_LIMIT(1 << 20);
	writer = calloc(1, *responses()->writer_bytes);
	(void)err_set(&err, ERR_RATE_LIMITED, "x");
	assert_int_equal(put(NULL, &e), 0);
	assert_int_equal(put(NULL, &more), 0);
	assert_types((const char *const[]){
		"response.created", "response.in_progress", "response.failed", NULL });
	assert_non_null(strstr(stream_out.at,
		"\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":"));
	responses()->writer_free(writer);
	free(writer);
	bytes_free(&stream_out);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_request_comes_out_as_it_went_in),
		T(chat_and_responses_say_the_same),
		T(signatures_of_others_pass_through_encrypted_content),
		T(what_is_wrong_is_named),
		T(what_ran_at_the_provider_is_told_lost),
		T(what_cannot_be_written_is_refused),
		T(answers_come_out_as_they_went_in),
		T(what_is_no_answer_is_an_error),
		T(streams_become_parts_in_order),
		T(broken_streams_end_in_an_error),
		T(a_stream_is_written_as_the_sdk_reads_it),
		T(an_error_is_a_failed_response),
	};

	return cmocka_run_group_tests_name("wire/openai_responses", tests, NULL, NULL);
}
