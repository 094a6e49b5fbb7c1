/*
 * anthropic_test.c - requests and answers of Anthropic's messages: what is read is written again, what
 * Anthropic refuses is put right, and what cannot be told is said by its name.
 */
#include "wire/anthropic.h"

#include "wire/anthropic-int.h"
#include "wire/bedrock_invoke.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARENA_BYTES (64 * 1024 * 1024)
#define OLD         "claude-sonnet-4-5-20250929"

struct run {
	struct arena *a;
	struct neutral_request n;
	struct losses lost;
	struct err err;
	struct bytes body;
	struct request_made made;
	struct request_target to;
};

static void
run_init(struct run *r, const char *model)
{
	*r = (struct run){ .a = arena_new(ARENA_BYTES), .body = BYTES_LIMIT(ARENA_BYTES) };
	assert_non_null(r->a);
	neutral_request_init(&r->n, r->a);
	r->made.body = &r->body;
	r->to.model = model;
}

static void
run_free(struct run *r)
{
	bytes_free(&r->body);
	arena_free(r->a);
}

static int
read_body(struct run *r, const char *body)
{
	struct request_source from = { .body = span_of(body) };

	return anthropic_read_request(&from, &r->n, &r->lost, &r->err);
}

static int
write_body(struct run *r)
{
	return anthropic_write_request(&r->n, &r->to, &r->made, &r->lost, &r->err);
}

static const char *
lost(struct run *r)
{
	static char text[512];

	losses_of_fields(&r->lost, &r->n);
	losses_text(&r->lost, text, sizeof text);
	return text;
}

/* Reads, writes for a model, and compares the whole body. */
static void
becomes(const char *model, const char *body, const char *want)
{
	struct run r;

	run_init(&r, model);
	if (read_body(&r, body) != 0 || write_body(&r) != 0)
		fail_msg("%s: %s", body, r.err.text);
	assert_string_equal(r.body.at, want);
	assert_true(json_valid(bytes_span(&r.body)));
	run_free(&r);
}

/* The member of what is written, as it stands there; "" none. */
static void
member_is(struct run *r, const char *name, const char *want)
{
	struct json_value v = json_path(bytes_span(&r->body), name);

	if (v.raw.len != strlen(want) || (v.raw.len > 0 && memcmp(v.raw.at, want, v.raw.len) != 0))
		fail_msg("%s is %.*s, not %s", name, (int)v.raw.len, v.raw.at, want);
}

/* With these members beside a message, these are written. */
static void
gives(const char *model, const char *members, const char *name, const char *want,
	const char *dropped)
{
	struct run r;
	char body[2048];

	run_init(&r, model);
	(void)snprintf(body, sizeof body,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s%s}",
		members[0] == '\0' ? "" : ",", members);
	if (read_body(&r, body) != 0 || write_body(&r) != 0)
		fail_msg("%s: %s", body, r.err.text);
	member_is(&r, name, want);
	if (dropped != NULL)
		assert_string_equal(lost(&r), dropped);
	run_free(&r);
}

static void
refused(const char *body, enum err_code code, const char *field, const char *says)
{
	struct run r;

	run_init(&r, OLD);
	if (read_body(&r, body) == 0)
		fail_msg("not refused: %s", body);
	assert_int_equal(r.err.code, code);
	assert_string_equal(r.err.field, field);
	if (strstr(r.err.says, says) == NULL)
		fail_msg("'%s' does not say '%s'", r.err.says, says);
	run_free(&r);
}

/* ---- reading ---- */

static void
every_kind_of_block_is_read(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"max_tokens\":9,\"system\":\"be \\u0062rief\",\"messages\":["
		"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\n\",\"cache_"
		"control\":"
		"{\"type\":\"ephemeral\",\"ttl\":\"1h\"}},{\"type\":\"image\",\"source\":{\"type\":"
		"\"base64\",\"media_type\":\"image/"
		"jpg\",\"data\":\"QUJD\"}},{\"type\":\"document\","
		"\"title\":\"t\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
		"plain\",\"data\":"
		"\"words\"}},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://h/"
		"i\"}},"
		"{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"file_1\"}}]},"
		"{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\","
		"\"signature\":\"S\"},{\"type\":\"redacted_thinking\",\"data\":\"R\"},{\"type\":"
		"\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"b\": 1,\"a\":2}}]},"
		"{\"role\":\"system\",\"content\":\"later\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_"
		"1\","
		"\"is_error\":true,\"content\":[{\"type\":\"text\",\"text\":\"no\"}]}]},"
		"{\"role\":\"user\",\"content\":\"again\"}]}";
	struct run r;
	struct neutral_part *p;

	(void)state;
	run_init(&r, OLD);
	if (read_body(&r, body) != 0)
		fail_msg("%s", r.err.text);
	assert_int_equal(r.n.system_count, 2);
	assert_true(span_is(r.n.system[0].text, "\"be \\u0062rief\""));
	assert_true(span_is(r.n.system[1].text, "\"later\""));
	assert_int_equal(r.n.message_count, 3);
	p = r.n.message[0].part;
	assert_int_equal(r.n.message[0].count, 5);
	assert_true(span_is(p[0].text, "\"a\\n\"") && p[0].cache == CACHE_1H);
	assert_true(span_is(p[1].mime, "image/jpeg") && span_is(p[1].data, "QUJD"));
	assert_true(span_is(p[2].text, "\"words\"") && span_is(p[2].title, "t"));
	assert_int_equal(p[2].kind, PART_DOCUMENT);
	assert_true(span_is(p[3].url, "https://h/i") && span_is(p[4].file_id, "file_1"));
	p = r.n.message[1].part;
	assert_true(p[0].kind == PART_REASONING && span_is(p[0].signature, "S"));
	assert_int_equal(p[0].signer, SIGNER_ANTHROPIC);
	assert_true(p[1].kind == PART_REDACTED && span_is(p[1].signature, "R"));
	assert_true(span_is(p[2].input, "{\"b\": 1,\"a\":2}"));
	p = r.n.message[2].part;
	assert_int_equal(r.n.message[2].count, 2);
	assert_true(p[0].is_error && p[0].content_count == 1);
	assert_true(span_is(p[0].content[0].text, "\"no\""));
	assert_true(span_is(p[1].text, "\"again\""));
	run_free(&r);
}

static void
settings_have_their_place(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"stream\":true,\"max_tokens\":5,\"stop_sequences\":[\"A\",\"\"],"
		"\"temperature\":0.5,\"top_k\":3,\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\","
		"\"disable_parallel_tool_use\":true},\"tools\":[{\"name\":\"f\",\"input_schema\":{}"
		","
		"\"strict\":true,\"defer_loading\":true},{\"type\":\"web_search_20250305\","
		"\"name\":"
		"\"web_search\"}],\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048},"
		"\"output_config\":{\"effort\":\"high\",\"format\":{\"type\":\"json_schema\","
		"\"schema\":{\"type\":\"object\"}}},\"metadata\":{\"user_id\":\"u\"},"
		"\"service_tier\":\"auto\",\"speed\":\"fast\",\"messages\":[]}";
	struct run r;

	(void)state;
	run_init(&r, OLD);
	if (read_body(&r, body) != 0)
		fail_msg("%s", r.err.text);
	assert_true(r.n.stream && r.n.wants_usage && r.n.max_output == 5);
	assert_int_equal(r.n.stop_count, 1);
	assert_int_equal(r.n.choice, CHOICE_TOOL);
	assert_true(span_is(r.n.choice_name, "f") && r.n.parallel == 0);
	assert_int_equal(r.n.tool_count, 2);
	assert_int_equal(r.n.tool[0].strict, 1);
	assert_int_equal(r.n.tool[1].kind, TOOL_HOSTED);
	assert_true(span_is(r.n.tool[1].name, "web_search_20250305"));
	assert_true(r.n.reasoning_set && r.n.budget == 2048 && r.n.effort == EFFORT_HIGH);
	assert_int_equal(r.n.format, OUTPUT_SCHEMA);
	assert_true(span_is(r.n.schema, "{\"type\":\"object\"}"));
	assert_true(span_is(neutral_take(&r.n, "user")->value.raw, "\"u\""));
	assert_non_null(neutral_take(&r.n, "temperature"));
	assert_null(neutral_peek(&r.n, "service_tier"));
	assert_string_equal(lost(&r), "defer_loading, speed, top_k, service_tier");
	run_free(&r);
}

static struct span
betas(const void *ctx, const char *name)
{
	return strcmp(name, "anthropic-beta") == 0 ? span_of(ctx) : SPAN_NONE;
}

static void
betas_come_from_the_header_and_go_into_one(void **state)
{
	struct request_source from = { .body = SPAN_LIT("{\"model\":\"m\",\"messages\":[{\"role\":"
							"\"user\",\"content\":\"x\"}]}"),
		.header = betas,
		.ctx = "a-1, b-2,,bad name" };
	struct run r;

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(anthropic_read_request(&from, &r.n, &r.lost, &r.err), 0);
	assert_true(span_is(neutral_peek(&r.n, "anthropic_beta")->value.raw, "[\"a-1\",\"b-2\"]"));
	assert_int_equal(write_body(&r), 0);
	assert_int_equal(r.made.header_count, 2);
	assert_string_equal(r.made.header[0].name, "anthropic-version");
	assert_string_equal(r.made.header[0].value, "2023-06-01");
	assert_string_equal(r.made.header[1].name, "anthropic-beta");
	assert_string_equal(r.made.header[1].value, "a-1,b-2");
	run_free(&r);
}

#define ASKS(content) "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":" content "}]}"

static void
hostile_input_is_refused_by_its_place(void **state)
{
	(void)state;
	refused("", ERR_BAD_REQUEST, "", "byte 0");
	refused("[]", ERR_BAD_REQUEST, "", "no JSON object");
	refused("{\"model\":", ERR_BAD_REQUEST, "", "byte 9");
	refused("{\"messages\":[]}", ERR_BAD_REQUEST, "model", "missing");
	refused("{\"model\":\"m\"}", ERR_BAD_REQUEST, "messages", "missing");
	refused("{\"model\":\"m\",\"messages\":{}}", ERR_BAD_REQUEST, "messages", "array");
	refused("{\"model\":\"m\",\"messages\":[1]}", ERR_BAD_REQUEST, "messages[0]", "object");
	refused("{\"model\":\"m\",\"messages\":[{\"role\":\"x\",\"content\":\"\"}]}",
		ERR_BAD_REQUEST, "messages[0].role", "'user'");
	refused(ASKS("7"), ERR_BAD_REQUEST, "messages[0].content", "string or an array");
	refused(ASKS("[{\"type\":\"text\",\"text\":\"\"},{\"type\":\"text\"}]"), ERR_BAD_REQUEST,
		"messages[0].content[1].text", "string");
	refused(ASKS("[{\"type\":\"bash_code_execution_tool_result\"}]"), ERR_UNSUPPORTED,
		"messages[0].content[0].type", "bash_code_execution_tool_result");
	refused(ASKS("[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\",\"input\":{}}]"),
		ERR_BAD_REQUEST, "messages[0].content[0].type", "assistant");
	refused(ASKS("[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
		     "\"text\",\"text\":1}]}]"),
		ERR_BAD_REQUEST, "messages[0].content[0].content[0].text", "string");
	refused(ASKS("[{\"type\":\"tool_result\",\"tool_use_id\":\"a\\u0000\"}]"), ERR_BAD_REQUEST,
		"messages[0].content[0].tool_use_id", "NUL");
	refused(ASKS("[{\"type\":\"image\",\"source\":{\"type\":\"wax\"}}]"), ERR_UNSUPPORTED,
		"messages[0].content[0].source.type", "wax");
	refused("{\"model\":\"m\",\"system\":[{\"type\":\"image\"}],\"messages\":[]}",
		ERR_BAD_REQUEST, "system[0].type", "text");
	refused("{\"model\":\"m\",\"tools\":[{\"name\":1}],\"messages\":[]}", ERR_BAD_REQUEST,
		"tools[0].name", "string");
	refused("{\"model\":\"m\",\"max_tokens\":-1,\"messages\":[]}", ERR_BAD_REQUEST,
		"max_tokens", "at least 0");
	refused("{\"model\":\"m\",\"thinking\":{\"type\":\"hard\"},\"messages\":[]}",
		ERR_BAD_REQUEST, "thinking.type", "adaptive");
	refused("{\"model\":\"m\",\"mcp_servers\":[{}],\"messages\":[]}", ERR_UNSUPPORTED,
		"mcp_servers", "provider");
	refused("{\"model\":\"m\",\"container\":\"c\",\"messages\":[]}", ERR_UNSUPPORTED,
		"container", "provider");
}

static void
search_results_and_texts_of_documents_keep_their_words(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(
		read_body(&r,
			ASKS("[{\"type\":\"search_result\",\"source\":\"https://s\",\"title\":"
			     "\"T\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":"
			     "\"text\",\"text\":\"two\"}]},{\"type\":\"document\",\"source\":"
			     "{\"type\":\"content\",\"content\":[{\"type\":\"text\",\"text\":"
			     "\"p\"},{\"type\":\"text\",\"text\":\"q\"}]}}]")),
		0);
	assert_true(span_is(r.n.message[0].part[0].text, "\"T\\nhttps://s\\none\\ntwo\""));
	assert_true(span_is(r.n.message[0].part[1].text, "\"p\\n\\nq\""));
	assert_string_equal(lost(&r), "search_result");
	run_free(&r);
}

/* ---- writing ---- */

static void
a_request_comes_back(void **state)
{
	(void)state;
	becomes(OLD,
		"{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"system\":[{\"type\":\"text\","
		"\"text\":\"s\",\"cache_control\":{\"type\":\"ephemeral\"}}],\"messages\":[{"
		"\"role\":"
		"\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Ä\\n\"},{\"type\":"
		"\"document\","
		"\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":"
		"\"JVBERi0\"},\"title\":\"a.pdf\"}]}],\"tools\":[{\"name\":\"f\",\"description\":"
		"\"d\","
		"\"input_schema\":{ \"type\": \"object\" "
		"},\"cache_control\":{\"type\":\"ephemeral\","
		"\"ttl\":\"1h\"}}],\"tool_choice\":{\"type\":\"any\"},\"stop_sequences\":[\"E\"],"
		"\"top_k\":5}",
		"{\"model\":\"" OLD
		"\",\"stream\":true,\"max_tokens\":9,\"system\":[{\"type\":\"text\","
		"\"text\":\"s\",\"cache_control\":{\"type\":\"ephemeral\"}}],\"tools\":[{\"name\":"
		"\"f\","
		"\"description\":\"d\",\"input_schema\":{ \"type\": \"object\" },\"cache_control\":"
		"{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}],\"tool_choice\":{\"type\":\"any\"},"
		"\"top_k\":5,\"stop_sequences\":[\"E\"],\"messages\":[{\"role\":\"user\","
		"\"content\":["
		"{\"type\":\"text\",\"text\":\"Ä\\n\"},{\"type\":\"document\",\"source\":{\"type\":"
		"\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0\"},\"title\":"
		"\"a.pdf\"}]}]}");
}

#define CALL(id, input)                                                                            \
	"{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":" input "}"
#define RESULT(id, text)                                                                           \
	"{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":\"" text "\"}"
#define TEXT(text)    "{\"type\":\"text\",\"text\":\"" text "\"}"
#define USER(blocks)  "{\"role\":\"user\",\"content\":[" blocks "]}"
#define MODEL(blocks) "{\"role\":\"assistant\",\"content\":[" blocks "]}"

static void
messages_become(const char *messages, const char *want)
{
	struct run r;
	char body[4096];

	run_init(&r, OLD);
	(void)snprintf(body, sizeof body, "{\"model\":\"m\",\"messages\":[%s]}", messages);
	if (read_body(&r, body) != 0 || write_body(&r) != 0)
		fail_msg("%s: %s", body, r.err.text);
	(void)snprintf(body, sizeof body, "[%s]", want);
	member_is(&r, "messages", body);
	run_free(&r);
}

static void
ids_are_clean_and_come_once(void **state)
{
	(void)state;
	messages_become(
		USER(TEXT("q")) "," MODEL(CALL("c.1", "{}") "," CALL("c.1", "{\"a\":1}")) "," USER(
			RESULT("c.1", "x") "," RESULT("c.1", "y")) "," MODEL(CALL("c.1",
			"{}")) "," USER(RESULT("c.1", "z") "," RESULT("nobody", "w")),
		USER(TEXT("q")) "," MODEL(
			CALL("c_1", "{}") "," CALL("c_1_2", "{\"a\":1}")) "," USER(RESULT("c_1",
			"x") "," RESULT("c_1_2", "y")) "," MODEL(CALL("c_1_3",
			"{}")) "," USER(RESULT("c_1_3", "z") "," RESULT("nobody", "w")));
}

static void
results_come_first_and_nothing_is_empty(void **state)
{
	(void)state;
	messages_become(
		USER(TEXT("q")) "," MODEL(CALL("a", "{}") "," TEXT("")) "," USER(
			TEXT("more") "," RESULT("a", "")) "," MODEL(TEXT("")) "," USER(TEXT("end")),
		USER(TEXT("q")) "," MODEL(CALL("a", "{}")) "," USER(
			RESULT("a", "") "," TEXT("more") "," TEXT("end")));
}

static void
an_error_without_words_is_none_there(void **state)
{
	(void)state;
	messages_become(USER("{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"is_error\":true}"),
		USER("{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"error\","
		     "\"is_error\":true}"));
}

static void
empty_texts_are_not_even_read(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(read_body(&r, "{\"model\":\"m\",\"system\":\"\",\"messages\":[" USER(
					       TEXT("")) ",{\"role\":\"user\",\"content\":\"\"}]}"),
		0);
	assert_int_equal(r.n.system_count, 0);
	assert_int_equal(r.n.message_count, 0);
	run_free(&r);
}

static void
invoke_has_its_own_wrapping(void **state)
{
	struct request_target to = { .model = OLD };
	struct run r;

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(
		read_body(&r, "{\"model\":\"m\",\"stream\":true,\"service_tier\":\"auto\","
			      "\"anthropic_beta\":[\"b\"],\"messages\":[" USER(TEXT("q")) "]}"),
		0);
	assert_int_equal(bedrock_invoke_write_request(&r.n, &to, &r.made, &r.lost, &r.err), 0);
	assert_string_equal(r.body.at,
		"{\"anthropic_version\":\"bedrock-2023-05-31\",\"anthropic_beta\":[\"b\"],"
		"\"max_tokens\":4096,\"messages\":[" USER(TEXT("q")) "]}");
	assert_int_equal(r.made.header_count, 0);
	assert_string_equal(lost(&r), "service_tier");
	/* and nobody there who fetches an image */
	neutral_add(&r.n, ROLE_USER, PART_IMAGE, &r.err)->url = SPAN_LIT("https://h/i");
	assert_int_equal(bedrock_invoke_write_request(&r.n, &to, &r.made, &r.lost, &r.err), -1);
	assert_int_equal(r.err.code, ERR_UNSUPPORTED);
	run_free(&r);
}

static void
a_beginning_loses_white_space_at_its_end(void **state)
{
	(void)state;
	messages_become(USER(TEXT("q")) "," MODEL(TEXT("So \\n\\u0020\\t")),
		USER(TEXT("q")) "," MODEL(TEXT("So")));
	messages_become(USER(TEXT("q")) "," MODEL(TEXT("a\\\\n")),
		USER(TEXT("q")) "," MODEL(TEXT("a\\\\n")));
	messages_become(USER(TEXT("q")) "," MODEL(TEXT("a ") "," TEXT(" ")),
		USER(TEXT("q")) "," MODEL(TEXT("a")));
	messages_become(USER(TEXT("q")) "," MODEL(TEXT("\\n")), USER(TEXT("q")));
	messages_become(USER(TEXT("q ")), USER(TEXT("q ")));
}

static void
sampling_is_what_the_model_takes(void **state)
{
	(void)state;
	gives(OLD, "\"temperature\":0.25,\"top_p\":0.9", "temperature", "0.25", "top_p");
	gives(OLD, "\"temperature\":1.7", "temperature", "1", "");
	gives(OLD, "\"top_p\":0.9,\"top_k\":4", "top_p", "0.9", "");
	gives("claude-opus-4-7", "\"temperature\":0.2,\"top_p\":0.5,\"top_k\":4", "temperature", "",
		"temperature, top_p, top_k");
	gives("claude-opus-4-7", "\"temperature\":1,\"top_p\":0.995", "top_p", "", "");
	gives("claude-opus-5", "\"temperature\":1.0", "temperature", "", "");
	gives(OLD,
		"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024},\"temperature\":0,"
		"\"top_k\":4,\"top_p\":0.1",
		"temperature", "1", "top_p, top_k");
	gives(OLD, "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024},\"top_p\":0.96",
		"top_p", "0.96", "");
}

static void
thinking_fits_its_model_and_ceiling(void **state)
{
	static const char think[] = "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000},"
				    "\"max_tokens\":500";

	(void)state;
	gives(OLD, think, "thinking", "{\"type\":\"enabled\",\"budget_tokens\":2000}", NULL);
	gives(OLD, think, "max_tokens", "2500", NULL);
	gives(OLD, "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":100}", "thinking",
		"{\"type\":\"disabled\"}", NULL);
	gives(OLD, "\"thinking\":{\"type\":\"disabled\"}", "thinking", "{\"type\":\"disabled\"}",
		NULL);
	gives("claude-opus-4-7",
		"\"thinking\":{\"type\":\"disabled\"},\"output_config\":{\"effort\":\"high\"}",
		"thinking", "{\"type\":\"disabled\"}", NULL);
	gives(OLD, "\"output_config\":{\"effort\":\"medium\"}", "thinking",
		"{\"type\":\"enabled\",\"budget_tokens\":8192}", NULL);
	gives("claude-opus-4-6", think, "thinking", "{\"type\":\"adaptive\"}", NULL);
	gives("claude-opus-4-6", think, "output_config", "{\"effort\":\"medium\"}", NULL);
	gives("claude-opus-4-6", think, "max_tokens", "500", NULL);
	gives("claude-opus-4-8", think, "thinking",
		"{\"type\":\"adaptive\",\"display\":\"summarized\"}", NULL);
	gives("claude-opus-4-8", "\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"}",
		"thinking", "{\"type\":\"adaptive\"}", NULL);
	gives("claude-opus-4-6", "\"output_config\":{\"effort\":\"xhigh\"}", "output_config",
		"{\"effort\":\"high\"}", NULL);
	gives("claude-opus-4-7", "\"output_config\":{\"effort\":\"xhigh\"}", "output_config",
		"{\"effort\":\"xhigh\"}", NULL);
}

static void
budget(int64_t max, int64_t most, int64_t asked, const char *thinking, const char *max_tokens)
{
	struct run r;

	run_init(&r, OLD);
	r.to.most_output = most;
	assert_int_equal(read_body(&r, ASKS("\"x\"")), 0);
	r.n.reasoning_set = true;
	r.n.budget = asked;
	r.n.max_output = max;
	assert_int_equal(write_body(&r), 0);
	member_is(&r, "thinking", thinking);
	member_is(&r, "max_tokens", max_tokens);
	run_free(&r);
}

static void
a_budget_stays_below_the_models_own_ceiling(void **state)
{
	(void)state;
	budget(1000, 8000, 4000, "{\"type\":\"enabled\",\"budget_tokens\":4000}", "5000");
	budget(1000, 8000, 20000, "{\"type\":\"enabled\",\"budget_tokens\":7000}", "8000");
	budget(6000, 8000, 20000, "{\"type\":\"enabled\",\"budget_tokens\":4000}", "8000");
	budget(1500, 1600, 20000, "{\"type\":\"disabled\"}", "1500");
	budget(-1, 8000, 2000, "{\"type\":\"enabled\",\"budget_tokens\":2000}", "8000");
	budget(1024, 0, 1024, "{\"type\":\"enabled\",\"budget_tokens\":1024}", "2048");
}

static void
thinking_gives_way(void **state)
{
	static const char tools[] = "\"tools\":[{\"name\":\"f\",\"input_schema\":{}}],"
				    "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}";
	struct run r;
	char body[1024];

	(void)state;
	/* to a tool that must be called */
	(void)snprintf(body, sizeof body, "%s,\"tool_choice\":{\"type\":\"any\"}", tools);
	gives(OLD, body, "thinking", "{\"type\":\"disabled\"}", "thinking");
	(void)snprintf(body, sizeof body, "%s,\"tool_choice\":{\"type\":\"auto\"}", tools);
	gives(OLD, body, "thinking", "{\"type\":\"enabled\",\"budget_tokens\":2000}", "");
	/* and to a turn whose thinking was not kept */
	for (int kept = 0; kept < 2; kept++) {
		run_init(&r, OLD);
		(void)snprintf(body, sizeof body,
			"{\"model\":\"m\",\"messages\":[%s,%s%s%s,%s],%s}", USER(TEXT("q")),
			"{\"role\":\"assistant\",\"content\":[",
			kept ? "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"s\"},"
			     : "",
			CALL("a", "{}") "]}", USER(RESULT("a", "1")), tools);
		assert_int_equal(read_body(&r, body), 0);
		assert_int_equal(write_body(&r), 0);
		member_is(&r, "thinking.type", kept ? "\"enabled\"" : "\"disabled\"");
		assert_string_equal(lost(&r), kept ? "" : "thinking");
		run_free(&r);
	}
}

static void
only_its_own_signed_thinking_goes_back(void **state)
{
	struct run r;
	struct neutral_part *p;

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(read_body(&r, ASKS("\"q\"")), 0);
	for (int signer = SIGNER_NONE; signer <= SIGNER_OPENAI; signer++) {
		p = neutral_add(&r.n, ROLE_ASSISTANT, PART_REASONING, &r.err);
		p->text = SPAN_LIT("\"t\"");
		p->signer = (enum signer)signer;
		p->signature = SPAN_LIT("s");
	}
	neutral_add(&r.n, ROLE_ASSISTANT, PART_TEXT, &r.err)->text = SPAN_LIT("\"a\"");
	assert_int_equal(write_body(&r), 0);
	member_is(&r, "messages",
		"[" USER(TEXT("q")) "," MODEL(
			"{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}," TEXT(
				"a")) "]");
	assert_string_equal(lost(&r), "reasoning_content, thought, reasoning item");
	run_free(&r);
}

static void
calls_without_ids_get_them(void **state)
{
	struct run r;
	struct neutral_part *p;

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(read_body(&r, ASKS("\"q\"")), 0);
	for (int i = 0; i < 2; i++) {
		p = neutral_add(&r.n, ROLE_ASSISTANT, PART_TOOL_CALL, &r.err);
		p->name = i == 0 ? SPAN_LIT("f") : SPAN_LIT("g.h");
		p->input = SPAN_LIT("{}");
	}
	for (int i = 0; i < 2; i++) {
		p = neutral_add(&r.n, ROLE_USER, PART_TOOL_RESULT, &r.err);
		p->name = i == 1 ? SPAN_LIT("f") : SPAN_LIT("g.h");
	}
	assert_int_equal(write_body(&r), 0);
	p = r.n.message[1].part;
	assert_true(p[0].call_id.len > 0 && p[1].call_id.len > 0);
	assert_string_equal(p[0].call_id.at, r.n.message[2].part[1].call_id.at);
	assert_string_equal(p[1].call_id.at, r.n.message[2].part[0].call_id.at);
	assert_null(strstr(r.body.at, "g.h"));
	run_free(&r);
}

static void
what_another_dialect_says_is_told_or_refused(void **state)
{
	static const struct {
		enum part_kind kind;
		const char *mime, *data, *file_id, *want; /* NULL: refused */
	} cases[] = {
		{ PART_IMAGE, "", "/9j/AAAA", NULL,
			"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
			"\"image/jpeg\",\"data\":\"/9j/AAAA\"}}" },
		{ PART_IMAGE, "", "AAAA", NULL, NULL },
		{ PART_IMAGE, "", NULL, "file-1", NULL },
		{ PART_DOCUMENT, "text/markdown", "YSJi", NULL,
			"{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":"
			"\"text/plain\",\"data\":\"a\\\"b\"}}" },
		{ PART_DOCUMENT, "text/plain", "**", NULL, NULL },
		{ PART_DOCUMENT, "application/msword", "AAAA", NULL, NULL },
		{ PART_AUDIO, "audio/wav", "AAAA", NULL, NULL },
		{ PART_VIDEO, "video/mp4", "AAAA", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct run r;
		struct neutral_part *p;
		char want[512];

		run_init(&r, OLD);
		p = neutral_add(&r.n, ROLE_USER, cases[i].kind, &r.err);
		p->mime = span_of(cases[i].mime);
		p->data = span_of(cases[i].data);
		p->file_id = span_of(cases[i].file_id);
		if (cases[i].want == NULL) {
			assert_int_equal(write_body(&r), -1);
			assert_string_equal(r.err.field, "messages");
			assert_true(r.err.says[0] != '\0');
		} else {
			assert_int_equal(write_body(&r), 0);
			(void)snprintf(want, sizeof want, "[{\"role\":\"user\",\"content\":[%s]}]",
				cases[i].want);
			member_is(&r, "messages", want);
		}
		run_free(&r);
	}
}

static void
a_field_is(const char *name, enum json_type type, const char *value, const char *refused_by)
{
	struct run r;

	run_init(&r, OLD);
	assert_int_equal(read_body(&r, ASKS("\"q\"")), 0);
	neutral_set(&r.n, name, SPAN_LIT("theirName"), (struct json_value){ type, span_of(value) });
	if (write_body(&r) == 0)
		assert_null(refused_by);
	else
		assert_string_equal(r.err.field, refused_by);
	assert_true(refused_by == NULL || r.err.code == ERR_UNSUPPORTED);
	run_free(&r);
}

static void
more_than_one_answer_or_sound_is_refused(void **state)
{
	(void)state;
	a_field_is("n", JSON_NUMBER, "2", "theirName");
	a_field_is("n", JSON_NUMBER, "1", NULL);
	a_field_is("modalities", JSON_ARRAY, "[\"text\",\"audio\"]", "theirName");
	a_field_is("modalities", JSON_ARRAY, "[\"text\"]", NULL);
}

static void
tools_are_told_or_refused(void **state)
{
	struct run r;
	struct neutral_tool *t;
	struct span allowed = SPAN_LIT("b");

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(read_body(&r, ASKS("\"q\"")), 0);
	for (int i = 0; i < 2; i++) {
		t = neutral_add_tool(&r.n, &r.err);
		t->name = i == 0 ? SPAN_LIT("a") : SPAN_LIT("b");
	}
	r.n.choice = CHOICE_ALLOWED;
	r.n.choice_any = true;
	r.n.allowed = &allowed;
	r.n.allowed_count = 1;
	r.n.parallel = 0;
	assert_int_equal(write_body(&r), 0);
	member_is(&r, "tools",
		"[{\"name\":\"b\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}}]");
	member_is(&r, "tool_choice", "{\"type\":\"any\",\"disable_parallel_tool_use\":true}");
	t->kind = TOOL_CUSTOM;
	assert_int_equal(write_body(&r), -1);
	assert_string_equal(r.err.field, "tools");
	t->kind = TOOL_HOSTED;
	t->name = allowed = SPAN_LIT("web_search_preview");
	assert_int_equal(write_body(&r), -1);
	t->name = allowed = SPAN_LIT("web_search_20250305");
	t->raw = SPAN_LIT("{\"type\":\"web_search_20250305\"}");
	r.body.len = 0;
	assert_int_equal(write_body(&r), 0);
	member_is(&r, "tools", "[{\"type\":\"web_search_20250305\"}]");
	run_free(&r);
	gives(OLD,
		"\"tools\":[{\"name\":\"f\",\"input_schema\":{}}],\"tool_choice\":{\"type\":"
		"\"none\"}",
		"tool_choice", "{\"type\":\"none\"}", NULL);
	gives(OLD, "\"tool_choice\":{\"type\":\"auto\"}", "tool_choice", "", NULL);
	gives(OLD, "\"stop_sequences\":[\"\\n\",\"x\"]", "stop_sequences", "[\"x\"]", "stop");
}

static void
a_system_text_alone_is_the_users_turn(void **state)
{
	struct run r;

	(void)state;
	becomes("m", "{\"model\":\"m\",\"system\":\"s\",\"messages\":[]}",
		"{\"model\":\"m\",\"max_tokens\":4096,\"messages\":[" USER(TEXT("s")) "]}");
	run_init(&r, OLD);
	assert_int_equal(read_body(&r, "{\"model\":\"m\",\"messages\":[]}"), 0);
	assert_int_equal(write_body(&r), -1);
	assert_string_equal(r.err.field, "messages");
	run_free(&r);
}

static void
versions_are_read_out_of_names(void **state)
{
	static const struct {
		const char *name;
		int version;
	} cases[] = { { "claude-sonnet-4-5-20250929", 405 }, { "claude-3-5-sonnet-20241022", 305 },
		{ "claude-3-opus-20240229", 300 }, { "claude-opus-4-20250514", 400 },
		{ "us.anthropic.claude-opus-4-6-v1:0", 406 },
		{ "anthropic--claude-4.5-sonnet", 405 }, { "anthropic/claude-sonnet-4.6", 406 },
		{ "claude-fable-5", 500 }, { "claude-haiku-4-5@20251001", 405 },
		{ "claude-2.1", 201 }, { "gw-claude", 0 }, { "gpt-4.1", 0 }, { "", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (anthropic_model_version(cases[i].name) != cases[i].version)
			fail_msg("%s: %d", cases[i].name, anthropic_model_version(cases[i].name));
}

static void
many_calls_of_one_id_cost_what_they_weigh(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, OLD);
	assert_int_equal(read_body(&r, ASKS("\"q\"")), 0);
	for (int i = 0; i < NEUTRAL_PARTS_MAX; i++) {
		struct neutral_part *p = neutral_add(&r.n, ROLE_ASSISTANT, PART_TOOL_CALL, &r.err);

		assert_non_null(p);
		p->name = SPAN_LIT("f");
		p->call_id = SPAN_LIT("call_0");
	}
	for (int i = 0; i < NEUTRAL_PARTS_MAX; i++)
		neutral_add(&r.n, ROLE_USER, PART_TOOL_RESULT, &r.err)->call_id =
			SPAN_LIT("call_0");
	assert_int_equal(write_body(&r), 0);
	assert_non_null(strstr(r.body.at, "\"tool_use_id\":\"call_0_20000\""));
	run_free(&r);
}

/* ---- answers ---- */

static void
answers_are_read_and_written(void **state)
{
	static const char body[] =
		"{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
		"\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"S\"},{"
		"\"type\":"
		"\"redacted_thinking\",\"data\":\"R\"},{\"type\":\"text\",\"text\":\"a\"},{"
		"\"type\":"
		"\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"x\":1}}],\"stop_"
		"reason\":"
		"\"tool_use\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,"
		"\"cache_creation_input_tokens\":300,\"cache_read_input_tokens\":500,"
		"\"cache_creation\":{\"ephemeral_5m_input_tokens\":100,\"ephemeral_1h_input_"
		"tokens\":"
		"200},\"output_tokens\":70,\"output_tokens_details\":{\"thinking_tokens\":30}}}";
	struct reply_options o = { .model = NULL };
	struct neutral_reply r = { .arena = arena_new(ARENA_BYTES), .usage = WIRE_USAGE_NONE };
	struct bytes out = BYTES_LIMIT(65536);
	struct err err = { .code = ERR_NONE };

	(void)state;
	assert_int_equal(anthropic_read_reply(span_of(body), &r, &err), 0);
	assert_int_equal(r.choice_count, 1);
	assert_int_equal(r.choice[0].finish, FINISH_TOOL_CALLS);
	assert_int_equal(r.usage.input, 10);
	assert_int_equal(r.usage.cache_write, 300);
	assert_int_equal(r.usage.cache_write_1h, 200);
	assert_int_equal(r.usage.reasoning, 30);
	assert_int_equal(anthropic_write_reply(&r, &o, &out), 0);
	assert_string_equal(out.at, body);
	bytes_free(&out);
	o.model = "gw";
	assert_int_equal(anthropic_write_reply(&r, &o, &out), 0);
	assert_non_null(strstr(out.at, "\"model\":\"gw\""));
	bytes_free(&out);
	arena_free(r.arena);
}

static void
reasons_to_stop_have_their_counterpart(void **state)
{
	static const struct {
		const char *reason;
		bool call;
		enum finish finish;
		const char *back;
	} cases[] = { { "end_turn", false, FINISH_STOP, "end_turn" },
		{ "end_turn", true, FINISH_TOOL_CALLS, "tool_use" },
		{ "tool_use", false, FINISH_STOP, "end_turn" },
		{ "max_tokens", true, FINISH_LENGTH, "max_tokens" },
		{ "stop_sequence", false, FINISH_STOP_SEQUENCE, "stop_sequence" },
		{ "refusal", false, FINISH_FILTER, "refusal" },
		{ "pause_turn", false, FINISH_PAUSE, "pause_turn" },
		{ "model_context_window_exceeded", false, FINISH_CONTEXT,
			"model_context_window_exceeded" },
		{ "compaction", false, FINISH_LENGTH, "max_tokens" },
		{ "of tomorrow", false, FINISH_STOP, "end_turn" } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct neutral_reply r = { .arena = arena_new(ARENA_BYTES),
			.usage = WIRE_USAGE_NONE };
		struct reply_options o = { .model = "m" };
		struct bytes out = BYTES_LIMIT(65536);
		struct err err = { .code = ERR_NONE };
		char body[512], back[64];

		(void)snprintf(body, sizeof body,
			"{\"content\":[%s],\"stop_reason\":\"%s\",\"stop_sequence\":\"X\"}",
			cases[i].call ? CALL("", "[]") : "", cases[i].reason);
		assert_int_equal(anthropic_read_reply(span_of(body), &r, &err), 0);
		assert_int_equal(r.choice_count, 1);
		assert_int_equal(r.choice[0].finish, cases[i].finish);
		if (cases[i].call) {
			assert_true(span_starts(r.choice[0].part[0].call_id, "toolu_"));
			assert_true(span_is(r.choice[0].part[0].input, "{}"));
		}
		assert_int_equal(anthropic_write_reply(&r, &o, &out), 0);
		(void)json_string(json_get(bytes_span(&out), "stop_reason"), back, sizeof back);
		assert_string_equal(back, cases[i].back);
		assert_int_equal(json_get(bytes_span(&out), "stop_sequence").type,
			cases[i].finish == FINISH_STOP_SEQUENCE ? JSON_STRING : JSON_NULL);
		bytes_free(&out);
		arena_free(r.arena);
	}
}

static void
what_is_no_answer_is_told(void **state)
{
	static const char *const cases[] = { "", "[]", "{}", "{\"content\":\"x\"}",
		"{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"boo\"}}" };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct neutral_reply r = { .arena = arena_new(ARENA_BYTES) };
		struct err err = { .code = ERR_NONE };

		assert_int_equal(anthropic_read_reply(span_of(cases[i]), &r, &err), -1);
		assert_int_equal(err.code, ERR_UPSTREAM_UNREACHABLE);
		arena_free(r.arena);
	}
}

static void
figures_of_an_answer_go_over_those_of_before(void **state)
{
	struct wire_usage u = WIRE_USAGE_NONE;

	(void)state;
	anthropic_usage(
		span_of("{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":"
			"12,\"cache_read_input_tokens\":1800,\"output_tokens\":1,"
			"\"service_tier\":\"standard\"}}}"),
		&u);
	anthropic_usage(span_of("{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":9,"
				"\"input_tokens\":null,\"cache_read_input_tokens\":-4}}"),
		&u);
	assert_true(u.seen);
	assert_int_equal(u.input, 12);
	assert_int_equal(u.cache_read, 0);
	assert_int_equal(u.output, 9);
	assert_int_equal(u.cache_write, -1);
	assert_string_equal(u.tier, "standard");
	anthropic_usage(span_of("{\"usage\":{\"cache_creation\":{\"ephemeral_1h_input_tokens\":5,"
				"\"ephemeral_5m_input_tokens\":2}}}"),
		&u);
	assert_int_equal(u.cache_write, 7);
	assert_int_equal(u.cache_write_1h, 5);
	anthropic_usage(span_of("{\"usage\":{\"cache_creation_input_tokens\":3,\"cache_creation\":"
				"{\"ephemeral_1h_input_tokens\":9}}}"),
		&u);
	assert_int_equal(u.cache_write, 3);
	assert_int_equal(u.cache_write_1h, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_block_is_read),
		cmocka_unit_test(settings_have_their_place),
		cmocka_unit_test(betas_come_from_the_header_and_go_into_one),
		cmocka_unit_test(hostile_input_is_refused_by_its_place),
		cmocka_unit_test(search_results_and_texts_of_documents_keep_their_words),
		cmocka_unit_test(a_request_comes_back),
		cmocka_unit_test(ids_are_clean_and_come_once),
		cmocka_unit_test(results_come_first_and_nothing_is_empty),
		cmocka_unit_test(an_error_without_words_is_none_there),
		cmocka_unit_test(empty_texts_are_not_even_read),
		cmocka_unit_test(invoke_has_its_own_wrapping),
		cmocka_unit_test(a_beginning_loses_white_space_at_its_end),
		cmocka_unit_test(sampling_is_what_the_model_takes),
		cmocka_unit_test(thinking_fits_its_model_and_ceiling),
		cmocka_unit_test(a_budget_stays_below_the_models_own_ceiling),
		cmocka_unit_test(thinking_gives_way),
		cmocka_unit_test(only_its_own_signed_thinking_goes_back),
		cmocka_unit_test(calls_without_ids_get_them),
		cmocka_unit_test(what_another_dialect_says_is_told_or_refused),
		cmocka_unit_test(more_than_one_answer_or_sound_is_refused),
		cmocka_unit_test(tools_are_told_or_refused),
		cmocka_unit_test(a_system_text_alone_is_the_users_turn),
		cmocka_unit_test(versions_are_read_out_of_names),
		cmocka_unit_test(many_calls_of_one_id_cost_what_they_weigh),
		cmocka_unit_test(answers_are_read_and_written),
		cmocka_unit_test(reasons_to_stop_have_their_counterpart),
		cmocka_unit_test(what_is_no_answer_is_told),
		cmocka_unit_test(figures_of_an_answer_go_over_those_of_before),
	};

	return cmocka_run_group_tests_name("wire/anthropic", tests, NULL, NULL);
}
