/*
 * converse_test.c - Converse's requests, answers and streams, read and written.
 */
#include "wire/converse.h"

#include "../../lib/neutral_dump.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST_BYTES ((size_t)1 << 22)

/* ---- requests, read ---- */

struct request {
	struct arena *arena;
	struct neutral_request *n;
	struct losses *lost;
	struct err err;
	int rc;
};

static struct request
read_request(const char *body)
{
	struct request r = { .arena = arena_new(MOST_BYTES) };
	struct request_source from = {
		.body = span_of(body), .path_model = SPAN_LIT("m"), .path_stream = true
	};

	r.n = arena_alloc(r.arena, sizeof *r.n);
	r.lost = arena_alloc(r.arena, sizeof *r.lost);
	neutral_request_init(r.n, r.arena);
	r.rc = converse_read_request(&from, r.n, r.lost, &r.err);
	return r;
}

static void
finish(struct request *r)
{
	arena_free(r->arena);
}

/* lost: as losses_text() has it. */
static void
request_reads_as(const char *body, const char *want, const char *lost)
{
	struct request r = read_request(body);
	struct bytes got = BYTES_LIMIT(MOST_BYTES);
	char names[512];

	if (r.rc != 0)
		fail_msg("%s\n%s", body, r.err.text);
	dump_request(&got, r.n);
	if (strcmp(got.at == NULL ? "" : got.at, want) != 0)
		fail_msg("%s\ngot\n%s", body, got.at);
	losses_of_fields(r.lost, r.n);
	losses_text(r.lost, names, sizeof names);
	if (lost != NULL)
		assert_string_equal(names, lost);
	bytes_free(&got);
	finish(&r);
}

static void
reads_messages_of_every_kind(void **state)
{
	(void)state;
	request_reads_as(
		"{\"system\":[{\"text\":\"Be "
		"\\u0062rief.\"},{\"cachePoint\":{\"type\":\"default\"}}],"
		"\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"See\"},"
		"{\"image\":{\"format\":\"jpeg\",\"source\":{\"bytes\":\"AAAA\"}}},"
		"{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}},"
		"{\"document\":{\"format\":\"pdf\",\"name\":\"a "
		"b\",\"source\":{\"bytes\":\"BBBB\"}}},"
		"{\"document\":{\"name\":\"c\",\"source\":{\"text\":\"words\"}}},"
		"{\"video\":{\"format\":\"mov\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/"
		"k\"}}}},"
		"{\"audio\":{\"format\":\"wav\",\"source\":{\"bytes\":\"CCCC\"}}}]},"
		"{\"role\":\"assistant\",\"content\":["
		"{\"reasoningContent\":{\"reasoningText\":{\"text\":\"hm\",\"signature\":\"s\\/"
		"g\"}}},"
		"{\"reasoningContent\":{\"reasoningText\":{\"text\":\"unsigned\"}}},"
		"{\"reasoningContent\":{\"redactedContent\":\"cmVk\"}},"
		"{\"toolUse\":{\"toolUseId\":\"t1\",\"name\":\"f\",\"input\":{\"a\": 1}}},"
		"{\"toolUse\":{\"toolUseId\":\"t2\",\"name\":\"g\",\"input\":[1, \"x\"]}}]},"
		"{\"role\":\"user\",\"content\":["
		"{\"toolResult\":{\"toolUseId\":\"t1\",\"content\":[{\"json\":{\"t\": 7}}],"
		"\"status\":\"success\"}},"
		"{\"toolResult\":{\"toolUseId\":\"t2\",\"status\":\"error\",\"content\":["
		"{\"text\":\"no\"},{\"image\":{\"format\":\"gif\",\"source\":{\"bytes\":\"DD\"}}}]}"
		"}]}]}",
		"system text text=\"Be \\u0062rief.\" cache=1\n"
		"user text text=\"See\"\n"
		"user image mime=\"image/jpeg\" data=\"AAAA\" cache=2\n"
		"user document mime=\"application/pdf\" data=\"BBBB\" title=\"a b\"\n"
		"user document text=\"words\" mime=\"text/plain\" title=\"c\"\n"
		"user video mime=\"video/quicktime\" file=\"s3://b/k\"\n"
		"user audio mime=\"audio/wav\" data=\"CCCC\"\n"
		"assistant reasoning text=\"hm\" signature=\"s/g\" signer=1\n"
		"assistant reasoning text=\"unsigned\"\n"
		"assistant redacted reasoning signature=\"cmVk\" signer=1\n"
		"assistant tool call id=\"t1\" name=\"f\" input={\"a\": 1}\n"
		"assistant tool call id=\"t2\" name=\"g\" input={} arguments=\"[1,\\\"x\\\"]\"\n"
		"user tool result id=\"t1\" result={\"t\": 7}\n"
		"    text text=\"{\\\"t\\\":7}\"\n"
		"user tool result id=\"t2\" error=1\n"
		"    text text=\"no\"\n"
		"    image mime=\"image/gif\" data=\"DD\"\n",
		"");
}

static void
reads_blocks_that_others_lack_as_text(void **state)
{
	(void)state;
	request_reads_as(
		"{\"messages\":[{\"role\":\"system\",\"content\":[{\"text\":\"late\"}]},"
		"{\"role\":\"user\",\"content\":["
		"{\"guardContent\":{\"text\":{\"text\":\"g\",\"qualifiers\":[\"query\"]}}},"
		"{\"searchResult\":{\"source\":\"u\",\"title\":\"t\",\"content\":[{\"text\":\"c\"}]"
		"}},"
		"{\"document\":{\"name\":\"d\",\"context\":\"x\",\"citations\":{\"enabled\":true},"
		"\"source\":{\"content\":[{\"text\":\"a\"},{\"text\":\"b\"}]}}}]},"
		"{\"role\":\"assistant\",\"content\":[{\"citationsContent\":{\"content\":"
		"[{\"text\":\"x\"},{\"text\":\"y\"}],\"citations\":[]}}]}]}",
		"system text text=\"late\"\n"
		"user text text=\"g\"\n"
		"user text text=\"t\\nu\\nc\"\n"
		"user document text=\"a\\n\\nb\" mime=\"text/plain\" title=\"d\"\n"
		"assistant text text=\"xy\"\n",
		"guardContent, searchResult, document.context, document.citations, "
		"citationsContent.citations");
}

static void
reads_settings_and_tools(void **state)
{
	(void)state;
	request_reads_as(
		"{\"messages\":[],\"inferenceConfig\":{\"maxTokens\":256,\"temperature\":0.2,"
		"\"topP\":0.9,\"stopSequences\":[\"END\",\"X\"],\"topK\":3},"
		"\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"f\",\"description\":\"d\","
		"\"inputSchema\":{\"json\":{\"type\":\"object\"}},\"strict\":true}},"
		"{\"cachePoint\":{\"type\":\"default\"}},{\"systemTool\":{\"name\":\"s\"}}],"
		"\"toolChoice\":{\"tool\":{\"name\":\"f\"}}},"
		"\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"enabled\","
		"\"budget_tokens\":2048},\"top_k\":50,\"anthropic_beta\":[\"b\"],\"seed\":\"x\"},"
		"\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\",\"structure\":"
		"{\"jsonSchema\":{\"schema\":\"{\\\"type\\\":\\\"object\\\"}\",\"name\":\"n\"}}}},"
		"\"serviceTier\":{\"type\":\"flex\"},\"performanceConfig\":{\"latency\":"
		"\"standard\"},"
		"\"guardrailConfig\":{\"guardrailIdentifier\":\"g\"},\"news\":1}",
		"tool 0 name=\"f\" description=\"d\" parameters={\"type\":\"object\"} strict=1 "
		"cache=1\n"
		"tool 2 name=\"s\"\n"
		"choice tool name=\"f\"\n"
		"max 256\n stop=\"END\"\n stop=\"X\"\n"
		"format 3 schema={\"type\":\"object\"} name=\"n\"\n"
		"reasoning budget=2048 show=1\n"
		"field converse_other value=1\n"
		"field converse_other value=3\n"
		"field temperature value=0.2\n"
		"field top_p value=0.9\n"
		"field converse_other value=\"x\"\n"
		"field top_k value=50\n"
		"field anthropic_beta value=[\"b\"]\n"
		"field service_tier value=\"flex\"\n"
		"field guardrail_config value={\"guardrailIdentifier\":\"g\"}\n"
		"field performance_config value={\"latency\":\"standard\"}\n",
		"news, topK, inferenceConfig.temperature, inferenceConfig.topP, seed, "
		"additionalModelRequestFields.top_k, additionalModelRequestFields.anthropic_beta, "
		"serviceTier, guardrailConfig, performanceConfig");
}

static void
reads_how_much_to_reason(void **state)
{
	static const struct {
		const char *fields, *want;
	} cases[] = {
		{ "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"adaptive\"}},"
		  "\"outputConfig\":{\"effort\":\"high\"}",
			"reasoning effort=5 adaptive=1 show=1\n" },
		{ "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"disabled\"}}",
			"reasoning effort=1\n" },
		{ "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"adaptive\","
		  "\"display\":\"omitted\"}}",
			"reasoning adaptive=1\n" },
		{ "\"additionalModelRequestFields\":{\"reasoning_effort\":\"low\"}",
			"reasoning effort=3\n" },
		{ "\"additionalModelRequestFields\":{\"output_config\":{\"effort\":\"max\"}}",
			"reasoning effort=7\n" },
		{ "\"outputConfig\":{\"effort\":\"enormous\"}",
			"field converse_other value=\"enormous\"\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[512];

		(void)snprintf(body, sizeof body, "{%s}", cases[i].fields);
		request_reads_as(body, cases[i].want, NULL);
	}
}

static void
takes_model_and_stream_from_the_path(void **state)
{
	struct request r = read_request("{}");

	(void)state;
	assert_int_equal(r.rc, 0);
	assert_true(span_is(r.n->model, "m") && r.n->stream && r.n->wants_usage);
	finish(&r);
}

static void
refuses_requests_and_names_the_member(void **state)
{
#define IN_MESSAGE(block)                                                                          \
	"{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"a\"}," block "]}]}"
	static const struct {
		const char *body, *field;
	} cases[] = {
		{ "", "" },
		{ "[]", "" },
		{ "{\"messages\":[}", "" },
		{ "{\"messages\":{}}", "messages" },
		{ "{\"messages\":[1]}", "messages[0]" },
		{ "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "messages[0].content" },
		{ "{\"messages\":[{\"role\":\"tool\",\"content\":[]}]}", "messages[0].role" },
		{ IN_MESSAGE("1"), "messages[0].content[1]" },
		{ IN_MESSAGE("{}"), "messages[0].content[1]" },
		{ IN_MESSAGE("{\"text\":\"a\",\"image\":{}}"), "messages[0].content[1]" },
		{ IN_MESSAGE("{\"text\":1}"), "messages[0].content[1].text" },
		{ IN_MESSAGE("{\"toolAddition\":{}}"), "messages[0].content[1]" },
		{ IN_MESSAGE("{\"image\":{\"format\":\"png\"}}"), "messages[0].content[1].source" },
		{ IN_MESSAGE("{\"image\":{\"source\":{}}}"), "messages[0].content[1].source" },
		{ IN_MESSAGE("{\"image\":{\"source\":{\"bytes\":1}}}"),
			"messages[0].content[1].source.bytes" },
		{ IN_MESSAGE("{\"image\":{\"source\":{\"s3Location\":{}}}}"),
			"messages[0].content[1].source.s3Location.uri" },
		{ IN_MESSAGE("{\"toolUse\":{\"name\":\"f\"}}"),
			"messages[0].content[1].toolUse.toolUseId" },
		{ IN_MESSAGE("{\"toolUse\":{\"toolUseId\":\"a\\u0000b\",\"name\":\"f\"}}"),
			"messages[0].content[1].toolUse.toolUseId" },
		{ IN_MESSAGE("{\"toolUse\":{\"toolUseId\":\"a\"}}"),
			"messages[0].content[1].toolUse.name" },
		{ IN_MESSAGE("{\"toolUse\":{\"toolUseId\":\"a\",\"name\":\"f\","
			     "\"type\":\"server_tool_use\"}}"),
			"messages[0].content[1].toolUse.type" },
		{ IN_MESSAGE("{\"toolResult\":{\"toolUseId\":\"a\",\"content\":[{\"text\":\"\"},"
			     "{\"toolUse\":{}}]}}"),
			"messages[0].content[1].toolResult.content[1]" },
		{ IN_MESSAGE("{\"reasoningContent\":{}}"),
			"messages[0].content[1].reasoningContent.reasoningText" },
		{ "{\"system\":[{\"image\":{}}]}", "system[0]" },
		{ "{\"inferenceConfig\":1}", "inferenceConfig" },
		{ "{\"inferenceConfig\":{\"maxTokens\":0}}", "inferenceConfig.maxTokens" },
		{ "{\"inferenceConfig\":{\"temperature\":\"1\"}}", "inferenceConfig.temperature" },
		{ "{\"inferenceConfig\":{\"stopSequences\":[1]}}",
			"inferenceConfig.stopSequences" },
		{ "{\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"a\"}},{}]}}",
			"toolConfig.tools[1]" },
		{ "{\"toolConfig\":{\"tools\":[{\"toolSpec\":{}}]}}",
			"toolConfig.tools[0].toolSpec.name" },
		{ "{\"toolConfig\":{\"toolChoice\":{\"none\":{}}}}", "toolConfig.toolChoice" },
		{ "{\"additionalModelRequestFields\":{\"top_k\":1.5}}",
			"additionalModelRequestFields.top_k" },
		{ "{\"additionalModelRequestFields\":{\"anthropic_beta\":[1]}}",
			"additionalModelRequestFields.anthropic_beta" },
		{ "{\"outputConfig\":{\"textFormat\":{\"structure\":{\"jsonSchema\":"
		  "{\"schema\":\"[]\"}}}}}",
			"outputConfig.textFormat.structure.jsonSchema.schema" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct request r = read_request(cases[i].body);
		char want[sizeof r.err.field];

		(void)span_copy(span_of(cases[i].field), want, sizeof want);
		if (r.rc != -1 || r.err.code != ERR_BAD_REQUEST || r.err.says[0] == '\0' ||
			strcmp(r.err.field, want) != 0)
			fail_msg("%s: %d %s at '%s'", cases[i].body, r.rc, r.err.text, r.err.field);
		finish(&r);
	}
}

/* ---- requests, written ---- */

static const struct request_target claude = { .model = "us.anthropic.claude-sonnet-4-5-v1:0" };
static const struct request_target adaptive = { .model = "anthropic.claude-opus-4-7",
	.thinking = THINKING_ADAPTIVE };
static const struct request_target nova = { .model = "amazon.nova-pro-v1:0" };
static const struct request_target llama = { .model = "meta.llama3-3-70b-instruct-v1:0" };
static const struct request_target gpt = { .model = "openai.gpt-oss-120b-1:0" };
static const struct request_target arn = {
	.model = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x"
};

/* The request is read, changed by change(), and written. */
static void
request_writes_as(const struct request_target *to, const char *body,
	void (*change)(struct neutral_request *n), const char *want, const char *lost)
{
	struct request r = read_request(body);
	struct bytes out = BYTES_LIMIT(MOST_BYTES);
	struct request_made made = { .body = &out };
	char names[512];

	assert_int_equal(r.rc, 0);
	if (change != NULL)
		change(r.n);
	if (converse_write_request(r.n, to, &made, r.lost, &r.err) != 0)
		fail_msg("%s: %s", body, r.err.text);
	if (strcmp(out.at, want) != 0)
		fail_msg("%s for %s\ngot\n%s", body, to->model, out.at);
	losses_of_fields(r.lost, r.n);
	losses_text(r.lost, names, sizeof names);
	assert_string_equal(names, lost == NULL ? "" : lost);
	bytes_free(&out);
	finish(&r);
}

#define USER(text)      "{\"role\":\"user\",\"content\":[{\"text\":\"" text "\"}]}"
#define ASSISTANT(text) "{\"role\":\"assistant\",\"content\":[{\"text\":\"" text "\"}]}"

static void
writes_back_what_it_read(void **state)
{
	static const char *const bodies[] = {
		"{\"messages\":[" USER("Hi") "],\"inferenceConfig\":{\"maxTokens\":16}}",
		"{\"system\":[{\"text\":\"s\"},{\"cachePoint\":{\"type\":\"default\",\"ttl\":"
		"\"1h\"}}],"
		"\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"a\"},"
		"{\"cachePoint\":{\"type\":\"default\"}},"
		"{\"image\":{\"format\":\"webp\",\"source\":{\"bytes\":\"AA\"}}},"
		"{\"document\":{\"format\":\"docx\",\"name\":\"a "
		"(1)\",\"source\":{\"bytes\":\"AA\"}}},"
		"{\"document\":{\"format\":\"txt\",\"name\":\"b\",\"source\":{\"text\":\"x\"}}},"
		"{\"video\":{\"format\":\"three_gp\",\"source\":{\"s3Location\":{\"uri\":\"s3://"
		"a\"}}}},"
		"{\"audio\":{\"format\":\"mp3\",\"source\":{\"bytes\":\"AA\"}}}]},"
		"{\"role\":\"assistant\",\"content\":["
		"{\"reasoningContent\":{\"reasoningText\":{\"text\":\"r\",\"signature\":\"s\"}}},"
		"{\"reasoningContent\":{\"redactedContent\":\"cmVk\"}},"
		"{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{\"a\": 1}}}]},"
		"{\"role\":\"user\",\"content\":[{\"toolResult\":{\"toolUseId\":\"t\","
		"\"content\":[{\"json\":{\"t\": 7}}],\"status\":\"success\"}},"
		"{\"toolResult\":{\"toolUseId\":\"u\",\"content\":[{\"text\":\"no\"}],"
		"\"status\":\"error\"}}]}],"
		"\"inferenceConfig\":{\"maxTokens\":4000,\"temperature\":1,\"stopSequences\":["
		"\"X\"]},"
		"\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"f\",\"description\":\"d\","
		"\"inputSchema\":{\"json\":{\"type\":\"object\"}},\"strict\":true}},"
		"{\"cachePoint\":{\"type\":\"default\"}},{\"systemTool\":{\"name\":\"s\"}}],"
		"\"toolChoice\":{\"auto\":{}}},"
		"\"additionalModelRequestFields\":{\"anthropic_beta\":[\"b\"],"
		"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}},"
		"\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{"
		"\"jsonSchema\":"
		"{\"schema\":\"{\\\"type\\\":\\\"object\\\"}\",\"name\":\"n\",\"description\":"
		"\"d\"}}}},"
		"\"serviceTier\":{\"type\":\"flex\"},\"guardrailConfig\":{\"g\":1},"
		"\"promptVariables\":{},\"requestMetadata\":{\"a\":\"b\"},"
		"\"performanceConfig\":{\"latency\":\"optimized\"},"
		"\"additionalModelResponseFieldPaths\":[\"/stop_sequence\"]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		request_writes_as(&claude, bodies[i], NULL, bodies[i], NULL);
}

static void
leaves_out_what_bedrock_refuses(void **state)
{
	(void)state;
	/* blank texts, and the messages that are nothing else; what ends an answer begun */
	request_writes_as(&claude,
		"{\"system\":[{\"text\":\" \\n\"}],\"messages\":[" USER("a") "," ASSISTANT(
			"\\t ") "," USER("b") "," ASSISTANT("c\\\\n \\n\\r ") "]}",
		NULL,
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"a\"},{\"text\":\"b\"}]}"
		"," ASSISTANT("c\\\\n") "]}",
		NULL);
	/* reasoning that nobody signed */
	request_writes_as(&claude,
		"{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"reasoningContent\":"
		"{\"reasoningText\":{\"text\":\"r\"}}},{\"text\":\"a\"}]}]}",
		NULL, "{\"messages\":[" ASSISTANT("a") "]}", "reasoning_content");
	/* and what another's model cannot read */
	request_writes_as(&llama,
		"{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"reasoningContent\":"
		"{\"redactedContent\":\"cg==\"}},{\"text\":\"a\"},"
		"{\"cachePoint\":{\"type\":\"default\"}}]}]}",
		NULL, "{\"messages\":[" ASSISTANT("a") "]}", "thinking block, cache_control");
	/* a request of system text alone is the user's turn */
	request_writes_as(&claude, "{\"system\":[{\"text\":\"s\"}]}", NULL,
		"{\"messages\":[" USER("s") "]}", NULL);
	/* a document without a word beside it */
	request_writes_as(&claude,
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"document\":{\"format\":\"pdf\","
		"\"name\":\"a\",\"source\":{\"bytes\":\"AA\"}}}]}]}",
		NULL,
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"document\":{\"format\":\"pdf\","
		"\"name\":\"a\",\"source\":{\"bytes\":\"AA\"}}},{\"text\":\"See the "
		"document.\"}]}]}",
		NULL);
}

static void
names_documents_as_bedrock_wants_them(void **state)
{
	static const char *const titles[] = { "report.pdf", "my  file_v2.PDF", "report",
		"\\u00fcber.txt", "", "a/b:c (1) [x]-", "\\u00fc" };
	static const char *const want[] = { "report", "my file-v2", "report (2)", "ber",
		"document-5", "a-b-c (1) [x]", "document-7" };
	struct bytes body = BYTES_LIMIT(MOST_BYTES), out = body;
	struct request_made made = { .body = &out };
	const char *at;
	struct request r;

	(void)state;
	(void)bytes_puts(&body, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"a\"}");
	for (size_t i = 0; i < 7; i++)
		(void)bytes_printf(&body,
			",{\"document\":{\"format\":\"pdf\",\"name\":\"%s\","
			"\"source\":{\"bytes\":\"AA\"}}}",
			titles[i]);
	(void)bytes_puts(&body, "]}]}");
	r = read_request(body.at);
	assert_int_equal(r.rc, 0);
	assert_int_equal(converse_write_request(r.n, &claude, &made, r.lost, &r.err), 0);
	at = out.at;
	for (size_t i = 0; i < 7; i++) {
		char mark[64];

		(void)snprintf(mark, sizeof mark, "\"name\":\"%s\"", want[i]);
		at = strstr(at, "\"name\":");
		assert_non_null(at);
		if (strncmp(at, mark, strlen(mark)) != 0)
			fail_msg("%s is named %.40s", titles[i], at);
		at++;
	}
	bytes_free(&body);
	bytes_free(&out);
	finish(&r);
}

static void
unknown_kind_of_file(struct neutral_request *n)
{
	n->message[0].part[0].mime = SPAN_LIT("");
}

static void
finds_formats_by_name_and_first_bytes(void **state)
{
	(void)state;
	request_writes_as(&claude,
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"document\":{\"format\":\"pdf\","
		"\"name\":\"x.csv\",\"source\":{\"bytes\":\"AA\"}}},{\"text\":\"a\"}]}]}",
		unknown_kind_of_file,
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"document\":{\"format\":\"csv\","
		"\"name\":\"x\",\"source\":{\"bytes\":\"AA\"}}},{\"text\":\"a\"}]}]}",
		NULL);
	request_writes_as(&claude,
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"image\":{\"format\":\"png\","
		"\"source\":{\"bytes\":\"/9j/4AAQ\"}}}]}]}",
		unknown_kind_of_file,
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"image\":{\"format\":\"jpeg\","
		"\"source\":{\"bytes\":\"/9j/4AAQ\"}}}]}]}",
		NULL);
}

/* What only other dialects can say. */
#define CALLS                                                                                      \
	"{\"messages\":[" USER("a") ",{\"role\":\"assistant\",\"content\":[{\"toolUse\":"          \
				    "{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{}}}]},"        \
				    "{\"role\":\"user\",\"content\":[{\"toolResult\":"             \
				    "{\"toolUseId\":\"t\",\"content\":[{\"text\":\"7\"}],"         \
				    "\"status\":\"success\"}}]}]"
#define SPEC(name)                                                                                 \
	"{\"toolSpec\":{\"name\":\"" name                                                          \
	"\",\"inputSchema\":{\"json\":{\"type\":\"object\",\"properties\":{}}}}}"

static void
choose_none(struct neutral_request *n)
{
	n->choice = CHOICE_NONE;
}

static void
allow_g(struct neutral_request *n)
{
	static struct span names[] = { { "g", 1 } };

	n->choice = CHOICE_ALLOWED;
	n->choice_any = true;
	n->allowed = names;
	n->allowed_count = 1;
}

static void
one_call_at_a_time(struct neutral_request *n)
{
	n->parallel = 0;
}

static void
no_ids(struct neutral_request *n)
{
	n->message[1].part[0].call_id = SPAN_LIT("");
	n->message[2].part[0].call_id = SPAN_LIT("");
	n->message[2].part[0].name = SPAN_LIT("f");
}

static void
odd_ids(struct neutral_request *n)
{
	n->message[1].part[0].call_id = SPAN_LIT("call.2");
	n->message[2].part[0].call_id = SPAN_LIT("call.2");
}

static void
offers_tools_as_bedrock_has_them(void **state)
{
	static const char tools[] = "{\"messages\":[" USER(
		"a") "],\"toolConfig\":{\"tools\":[" SPEC("f") "," SPEC("g") "]}}";

	(void)state;
	/* no "none": no tools */
	request_writes_as(&claude, tools, choose_none, "{\"messages\":[" USER("a") "]}", NULL);
	/* but where the history calls some they stay */
	request_writes_as(&claude, CALLS ",\"toolConfig\":{\"tools\":[" SPEC("f") "]}}",
		choose_none, CALLS ",\"toolConfig\":{\"tools\":[" SPEC("f") "]}}", "tool_choice");
	/* or one is made up */
	request_writes_as(&claude, CALLS "}", NULL,
		CALLS ",\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"no_tool\","
		      "\"description\":\"Not to be called.\",\"inputSchema\":{\"json\":"
		      "{\"type\":\"object\",\"properties\":{}}}}}]}}",
		NULL);
	request_writes_as(&claude, tools, allow_g,
		"{\"messages\":[" USER("a") "],\"toolConfig\":{\"tools\":[" SPEC(
			"g") "],"
			     "\"toolChoice\":{\"any\":{}}}}",
		NULL);
	request_writes_as(&claude, "{\"messages\":[" USER("a") "]}", one_call_at_a_time,
		"{\"messages\":[" USER("a") "]}", "parallel_tool_calls");
	/* empty descriptions are refused, and the success of a result by those who do not know it */
	request_writes_as(&llama,
		CALLS ",\"toolConfig\":{\"tools\":[{\"toolSpec\":{\"name\":\"f\",\"description\":"
		      "\"\"}}]}}",
		NULL,
		"{\"messages\":[" USER(
			"a") ",{\"role\":\"assistant\",\"content\":[{\"toolUse\":"
			     "{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{}}}]},"
			     "{\"role\":\"user\",\"content\":[{\"toolResult\":"
			     "{\"toolUseId\":\"t\",\"content\":[{\"text\":\"7\"}]}}]}],"
			     "\"toolConfig\":{\"tools\":[" SPEC("f") "]}}",
		NULL);
}

static void
gives_calls_ids_that_bedrock_takes(void **state)
{
	(void)state;
#define WITH_ID(id)                                                                                \
	"{\"messages\":[" USER("a") ",{\"role\":\"assistant\",\"content\":[{\"toolUse\":"          \
				    "{\"toolUseId\":\"" id "\",\"name\":\"f\",\"input\":{}}}]},"   \
				    "{\"role\":\"user\",\"content\":[{\"toolResult\":"             \
				    "{\"toolUseId\":\"" id "\",\"content\":[{\"text\":\"7\"}],"    \
				    "\"status\":\"success\"}}]}],"                                 \
				    "\"toolConfig\":{\"tools\":[" SPEC("f") "]}}"
	request_writes_as(&claude, CALLS ",\"toolConfig\":{\"tools\":[" SPEC("f") "]}}", odd_ids,
		WITH_ID("call_2"), NULL);
	request_writes_as(&claude, CALLS ",\"toolConfig\":{\"tools\":[" SPEC("f") "]}}", no_ids,
		WITH_ID("call_1_0"), NULL);
}

static void
low_effort(struct neutral_request *n)
{
	n->reasoning_set = true;
	n->effort = EFFORT_LOW;
}

#define CALL_OF(id) "{\"toolUse\":{\"toolUseId\":\"" id "\",\"name\":\"f\",\"input\":{}}}"
#define RESULT_OF(id)                                                                              \
	"{\"toolResult\":{\"toolUseId\":\"" id                                                     \
	"\",\"content\":[{\"text\":\"7\"}],\"status\":\"success\"}}"
#define TOOLS_F ",\"toolConfig\":{\"tools\":[" SPEC("f") "]}"

static void
puts_right_what_bedrock_refuses_of_calls(void **state)
{
	static const struct request_target thinking = { .model = "anthropic.claude",
		.thinking = THINKING_BUDGET };

	(void)state;
	/* an id that comes again, and a result behind other words */
	request_writes_as(&claude,
		"{\"messages\":[" USER("a") ",{\"role\":\"assistant\",\"content\":[" CALL_OF("c") "]},{\"role\":\"user\",\"content\":[{\"text\":\"so\"}," RESULT_OF("c") "]},{\"role\":\"assistant\",\"content\":[" CALL_OF(
			"c") "," CALL_OF("d") "]},{\"role\":\"user\",\"content\":[" RESULT_OF("c") ",{\"text\":\"x\"}," RESULT_OF("d") "]}]" TOOLS_F
																       "}",
		NULL,
		"{\"messages\":[" USER("a") ",{\"role\":\"assistant\",\"content\":[" CALL_OF("c") "]},{\"role\":\"user\",\"content\":[" RESULT_OF(
			"c") ",{\"text\":\"so\"}"
			     "]},{\"role\":\"assistant\",\"content\":[" CALL_OF("c_2") "," CALL_OF(
				     "d") "]},{\"role\":\"user\",\"content\":"
					  "[" RESULT_OF("c_2") "," RESULT_OF(
						  "d") ",{\"text\":\"x\"}]}]" TOOLS_F "}",
		NULL);
	/* a model that thinks wants the thoughts that led to a call, or none at all */
	request_writes_as(&thinking,
		"{\"messages\":[" USER("a") ",{\"role\":\"assistant\",\"content\":[" CALL_OF(
			"c") "]},{\"role\":\"user\",\"content\":[" RESULT_OF("c") "]}]" TOOLS_F "}",
		low_effort,
		"{\"messages\":[" USER("a") ",{\"role\":\"assistant\",\"content\":[" CALL_OF(
			"c") "]},{\"role\":\"user\",\"content\":[" RESULT_OF("c") "]}]" TOOLS_F
										  ",\"additionalMod"
										  "elRequestFields"
										  "\":{"
										  "\"thinking\":{"
										  "\"type\":"
										  "\"disabled\"}}}",
		"reasoning_effort");
}

static void
asks_json(struct neutral_request *n)
{
	n->format = OUTPUT_JSON;
}

static void
settings_go_where_the_model_takes_them(void **state)
{
	static const char all[] =
		"{\"messages\":[" USER("a") "],\"inferenceConfig\":{"
					    "\"temperature\":1.5,\"topP\":0.5},"
					    "\"additionalModelRequestFields\":{\"top_k\":5}}";

	(void)state;
	request_writes_as(&claude, all, NULL,
		"{\"messages\":[" USER("a") "],\"inferenceConfig\":{\"temperature\":1},"
					    "\"additionalModelRequestFields\":{\"top_k\":5}}",
		"inferenceConfig.topP");
	request_writes_as(&adaptive, all, NULL, "{\"messages\":[" USER("a") "]}",
		"inferenceConfig.temperature, inferenceConfig.topP, "
		"additionalModelRequestFields.top_k");
	request_writes_as(&arn, all, NULL,
		"{\"messages\":[" USER("a") "],\"inferenceConfig\":{\"temperature\":1}}",
		"inferenceConfig.topP, additionalModelRequestFields.top_k");
	request_writes_as(&nova, all, NULL,
		"{\"messages\":[" USER(
			"a") "],\"inferenceConfig\":{\"temperature\":1,\"topP\":0.5}}",
		"additionalModelRequestFields.top_k");
	request_writes_as(&claude, "{\"messages\":[" USER("a") "]}", asks_json,
		"{\"system\":[{\"text\":\"Answer with one valid JSON object and nothing else.\"}],"
		"\"messages\":[" USER("a") "]}",
		"response_format");
}

static void
high_effort_of_little(struct neutral_request *n)
{
	n->reasoning_set = true;
	n->effort = EFFORT_HIGH;
	n->max_output = 100;
}

static void
forced_call(struct neutral_request *n)
{
	low_effort(n);
	n->choice = CHOICE_REQUIRED;
}

static void
reasoning_is_asked_for_in_the_model_s_words(void **state)
{
	static const char plain[] =
		"{\"messages\":[" USER("a") "],\"inferenceConfig\":{"
					    "\"maxTokens\":3000,\"temperature\":0.2}}";
	static const struct request_target small = { .model = "anthropic.claude",
		.most_output = 9000 };
	static const struct request_target tiny = { .model = "anthropic.claude",
		.most_output = 1000 };

	(void)state;
	request_writes_as(&claude, plain, low_effort,
		"{\"messages\":[" USER(
			"a") "],\"inferenceConfig\":{\"maxTokens\":3000,"
			     "\"temperature\":1},\"additionalModelRequestFields\":{\"thinking\":"
			     "{\"type\":\"enabled\",\"budget_tokens\":1024}}}",
		NULL);
	/* the answer's room is on top; where the model ends there are fewer thoughts, or none */
	request_writes_as(&claude, "{\"messages\":[" USER("a") "]}", high_effort_of_little,
		"{\"messages\":[" USER(
			"a") "],\"inferenceConfig\":{\"maxTokens\":24676},"
			     "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"enabled\","
			     "\"budget_tokens\":24576}}}",
		NULL);
	request_writes_as(&small, "{\"messages\":[" USER("a") "]}", high_effort_of_little,
		"{\"messages\":[" USER(
			"a") "],\"inferenceConfig\":{\"maxTokens\":9000},"
			     "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"enabled\","
			     "\"budget_tokens\":8900}}}",
		NULL);
	request_writes_as(&tiny, "{\"messages\":[" USER("a") "]}", high_effort_of_little,
		"{\"messages\":[" USER("a") "],\"inferenceConfig\":{\"maxTokens\":100},"
					    "\"additionalModelRequestFields\":{\"thinking\":{"
					    "\"type\":\"disabled\"}}}",
		NULL);
	request_writes_as(&adaptive, plain, low_effort,
		"{\"messages\":[" USER(
			"a") "],\"inferenceConfig\":{\"maxTokens\":3000,"
			     "\"temperature\":1},\"additionalModelRequestFields\":{\"thinking\":"
			     "{\"type\":\"adaptive\"}},\"outputConfig\":{\"effort\":\"low\"}}",
		NULL);
	request_writes_as(&gpt, plain, low_effort,
		"{\"messages\":[" USER("a") "],\"inferenceConfig\":{\"maxTokens\":3000,"
					    "\"temperature\":0.2},\"additionalModelRequestFields\":"
					    "{\"reasoning_effort\":\"low\"}}",
		NULL);
	request_writes_as(&llama, "{\"messages\":[" USER("a") "]}", low_effort,
		"{\"messages\":[" USER("a") "]}", "reasoning_effort");
	request_writes_as(&claude,
		"{\"messages\":[" USER("a") "],\"toolConfig\":{\"tools\":[" SPEC("f") "]}}",
		forced_call,
		"{\"messages\":[" USER("a") "],\"toolConfig\":{\"tools\":[" SPEC(
			"f") "],"
			     "\"toolChoice\":{\"any\":{}}},\"additionalModelRequestFields\":{"
			     "\"thinking\":"
			     "{\"type\":\"disabled\"}}}",
		"reasoning_effort");
}

/* ---- requests that cannot be written ---- */

static void
two_answers(struct neutral_request *n)
{
	neutral_set(n, "n", SPAN_LIT("n"), (struct json_value){ JSON_NUMBER, SPAN_LIT("2") });
}

static void
audio_out(struct neutral_request *n)
{
	neutral_set(n, "modalities", SPAN_LIT("modalities"),
		(struct json_value){ JSON_ARRAY, SPAN_LIT("[\"text\",\"audio\"]") });
}

static void
image_by_url(struct neutral_request *n)
{
	n->message[0].part[0].kind = PART_IMAGE;
	n->message[0].part[0].url = SPAN_LIT("https://h/x.png");
}

static void
file_of_another(struct neutral_request *n)
{
	n->message[0].part[0] =
		(struct neutral_part){ .kind = PART_DOCUMENT, .file_id = SPAN_LIT("file-1") };
}

static void
image_of_no_kind(struct neutral_request *n)
{
	n->message[0].part[0] = (struct neutral_part){
		.kind = PART_IMAGE, .mime = SPAN_LIT("image/bmp"), .data = SPAN_LIT("Qk0=")
	};
}

static void
anothers_tool(struct neutral_request *n)
{
	struct neutral_tool *t = neutral_add_tool(n, NULL);

	t->kind = TOOL_HOSTED;
	t->name = SPAN_LIT("web_search_20250305");
	t->raw = SPAN_LIT("{\"type\":\"web_search_20250305\"}");
}

static void
custom_tool(struct neutral_request *n)
{
	struct neutral_tool *t = neutral_add_tool(n, NULL);

	t->kind = TOOL_CUSTOM;
	t->name = SPAN_LIT("shell");
}

static void
says_what_cannot_be_written(void **state)
{
	static const struct {
		void (*change)(struct neutral_request *n);
		const char *field;
	} cases[] = { { two_answers, "n" }, { audio_out, "modalities" },
		{ image_by_url, "messages" }, { file_of_another, "messages" },
		{ image_of_no_kind, "messages" }, { anothers_tool, "tools[0]" },
		{ custom_tool, "tools[0]" } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct request r = read_request("{\"messages\":[" USER("a") "]}");
		struct bytes out = BYTES_LIMIT(MOST_BYTES);
		struct request_made made = { .body = &out };

		cases[i].change(r.n);
		if (i == 2)
			r.n->message[0].part[0].text = SPAN_NONE;
		assert_int_equal(converse_write_request(r.n, &claude, &made, r.lost, &r.err), -1);
		assert_int_equal(r.err.code, ERR_UNSUPPORTED);
		assert_string_equal(r.err.field, cases[i].field);
		assert_true(r.err.says[0] != '\0');
		bytes_free(&out);
		finish(&r);
	}
}

/* ---- answers ---- */

static const char whole_answer[] =
	"{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":["
	"{\"reasoningContent\":{\"reasoningText\":{\"text\":\"t\",\"signature\":\"s\"}}},"
	"{\"reasoningContent\":{\"redactedContent\":\"cg==\"}},"
	"{\"text\":\"7 "
	"C\"},{\"toolUse\":{\"toolUseId\":\"t1\",\"name\":\"f\",\"input\":{\"a\":1}}},"
	"{\"image\":{\"format\":\"png\",\"source\":{\"bytes\":\"AA\"}}}]}},"
	"\"stopReason\":\"tool_use\",\"additionalModelResponseFields\":{\"stop_sequence\":\"X\"},"
	"\"usage\":{\"inputTokens\":30,\"outputTokens\":12,\"totalTokens\":1342,"
	"\"cacheReadInputTokens\":1200,\"cacheWriteInputTokens\":100,"
	"\"cacheDetails\":[{\"ttl\":\"1h\",\"inputTokens\":40},{\"ttl\":\"5m\",\"inputTokens\":60}]"
	"},"
	"\"metrics\":{\"latencyMs\":0}}";

static void
reply_reads_as(const char *body, const char *want)
{
	struct arena *a = arena_new(MOST_BYTES);
	struct neutral_reply r = { .arena = a, .usage = WIRE_USAGE_NONE };
	struct bytes got = BYTES_LIMIT(MOST_BYTES);
	struct err err = { 0 };

	if (converse_read_reply(span_of(body), &r, &err) != 0)
		fail_msg("%s: %s", body, err.text);
	dump_reply(&got, &r);
	assert_string_equal(got.at, want);
	bytes_free(&got);
	arena_free(a);
}

static void
reads_answers(void **state)
{
	(void)state;
	reply_reads_as(whole_answer, "reasoning text=\"t\" signature=\"s\" signer=1\n"
				     "redacted reasoning signature=\"cg==\" signer=1\n"
				     "text text=\"7 C\"\n"
				     "tool call id=\"t1\" name=\"f\" input={\"a\":1}\n"
				     "image mime=\"image/png\" data=\"AA\"\n"
				     "finish tool calls sequence=\"X\"\n"
				     "usage input=30 read=1200 write=100 write_1h=40 output=12\n");
	/* nothing in it, blocks nobody knows, numbers nobody believes */
	reply_reads_as("{\"output\":{\"message\":{\"content\":[]}},\"stopReason\":\"max_tokens\"}",
		"finish length\n");
	reply_reads_as("{\"output\":{\"message\":{\"content\":[{\"news\":{}},{\"text\":\"a\"}]}},"
		       "\"usage\":{\"inputTokens\":-1,\"outputTokens\":2e15},"
		       "\"serviceTier\":{\"type\":\"flex\"}}",
		"text text=\"a\"\nfinish stop\nusage tier=\"flex\"\n");
	/* a call ends it whatever was said, and none does not */
	reply_reads_as("{\"output\":{\"message\":{\"content\":[{\"toolUse\":{\"toolUseId\":\"t\","
		       "\"name\":\"f\",\"input\":{}}}]}},\"stopReason\":\"end_turn\"}",
		"tool call id=\"t\" name=\"f\" input={}\nfinish tool calls\n");
	reply_reads_as("{\"output\":{\"message\":{\"content\":[{\"text\":\"a\"}]}},"
		       "\"stopReason\":\"tool_use\"}",
		"text text=\"a\"\nfinish stop\n");
}

static void
refuses_what_is_no_answer(void **state)
{
	static const char *const bodies[] = { "", "[]", "{}", "{\"message\":\"no\"}",
		"{\"output\":{\"message\":{\"content\":[{\"toolUse\":{}}]}}}",
		"{\"output\":{\"message\":{\"content\":[{\"text\":7}]}}}", "<html>" };

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct arena *a = arena_new(MOST_BYTES);
		struct neutral_reply r = { .arena = a };
		struct err err = { 0 };

		assert_int_equal(converse_read_reply(span_of(bodies[i]), &r, &err), -1);
		assert_int_equal(err.code, ERR_UPSTREAM_UNREACHABLE);
		arena_free(a);
	}
}

static void
writes_answers(void **state)
{
	static const struct reply_options options = { .model = "m" };
	struct arena *a = arena_new(MOST_BYTES);
	struct neutral_reply r = { .arena = a };
	struct bytes out = BYTES_LIMIT(MOST_BYTES);
	struct err err = { 0 };

	(void)state;
	assert_int_equal(converse_read_reply(span_of(whole_answer), &r, &err), 0);
	assert_int_equal(converse_write_reply(&r, &options, &out), 0);
	assert_string_equal(out.at, whole_answer);
	bytes_free(&out);

	/* others' signatures are not ours to give, and empty texts are none */
	r.choice[0].part[0].signer = SIGNER_GEMINI;
	r.choice[0].part[1].signer = SIGNER_OPENAI;
	r.choice[0].part[2].text = SPAN_LIT("\"\"");
	r.choice[0].count = 3;
	r.choice[0].finish = FINISH_CONTEXT;
	r.choice[0].stop_sequence = SPAN_NONE;
	r.usage.seen = false;
	assert_int_equal(converse_write_reply(&r, &options, &out), 0);
	assert_string_equal(out.at,
		"{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":["
		"{\"reasoningContent\":{\"reasoningText\":{\"text\":\"t\"}}}]}},"
		"\"stopReason\":\"model_context_window_exceeded\",\"metrics\":{\"latencyMs\":0}}");
	bytes_free(&out);
	arena_free(a);
}

/* ---- streams ---- */

struct seen {
	struct neutral_order order;
	struct bytes events;
	void *reader, *writer;
	struct bytes wire;
	bool sse;
};

static int
on_event(void *ctx, const struct neutral_event *e)
{
	static const struct reply_options options = { .model = "m" };
	struct seen *s = ctx;
	const char *wrong = neutral_order_check(&s->order, e);

	if (wrong != NULL)
		fail_msg("%s", wrong);
	dump_event(&s->events, e);
	if (s->writer == NULL)
		return 0;
	return (s->sse ? sap_converse_write_event : converse_write_event)(
		s->writer, &options, e, &s->wire);
}

static int
on_frame(void *ctx, const struct frame *f)
{
	struct seen *s = ctx;

	return converse_read_frame(s->reader, f, on_event, s);
}

/* Reads it in pieces of `step`, and writes it where sse is not -1. */
static struct seen
read_stream(enum framing framing, struct span in, size_t step, int sse)
{
	struct seen s = { .events = BYTES_LIMIT(MOST_BYTES),
		.wire = BYTES_LIMIT(MOST_BYTES),
		.reader = calloc(1, converse_reader_bytes),
		.writer = sse < 0 ? NULL : calloc(1, converse_writer_bytes),
		.sse = sse > 0 };
	struct frames *f = frames_new(framing);

	for (size_t at = 0; at < in.len; at += step)
		assert_int_equal(frames_feed(f, in.at + at, in.len - at < step ? in.len - at : step,
					 on_frame, &s),
			0);
	assert_int_equal(frames_end(f, on_frame, &s), 0);
	assert_int_equal(converse_read_end(s.reader, on_event, &s), 0);
	assert_true(s.order.over);
	/* behind the end nothing comes */
	assert_int_equal(
		converse_read_frame(s.reader,
			&(struct frame){ .name = SPAN_LIT("messageStart"), .data = SPAN_LIT("{}") },
			on_event, &s),
		0);
	frames_free(f);
	converse_reader_free(s.reader);
	free(s.reader);
	if (s.writer != NULL)
		converse_writer_free(s.writer);
	free(s.writer);
	return s;
}

static void
done(struct seen *s)
{
	bytes_free(&s->events);
	bytes_free(&s->wire);
}

/* Lines of an event's name, a blank, its payload; "!" before the name of an exception. */
static struct bytes
messages_of(const char *lines)
{
	struct bytes out = BYTES_LIMIT(MOST_BYTES);

	while (*lines != '\0') {
		bool exception = *lines == '!';
		const char *blank = strchr(lines, ' '), *end = strchr(lines, '\n');
		char name[64];

		lines += exception;
		(void)span_copy((struct span){ lines, (size_t)(blank - lines) }, name, sizeof name);
		assert_int_equal(eventstream_write(&out, exception ? "exception" : "event", name,
					 (struct span){ blank + 1, (size_t)(end - blank) - 1 }),
			0);
		lines = end + 1;
	}
	return out;
}

static void
stream_reads_as(const char *lines, const char *want)
{
	struct bytes in = messages_of(lines);
	struct seen s = read_stream(FRAMING_EVENTSTREAM, bytes_span(&in), 7, -1);

	if (strcmp(s.events.at, want) != 0)
		fail_msg("%s\ngot\n%s", lines, s.events.at);
	done(&s);
	bytes_free(&in);
}

/* Vector 41 and more: reasoning, its signature, text, a call, usage behind the stop. */
#define STREAM                                                                                     \
	"messageStart {\"role\":\"assistant\"}\n"                                                  \
	"contentBlockDelta "                                                                       \
	"{\"contentBlockIndex\":0,\"delta\":{\"reasoningContent\":{\"text\":\"hm\"}}}\n"           \
	"contentBlockDelta "                                                                       \
	"{\"contentBlockIndex\":0,\"delta\":{\"reasoningContent\":{\"signature\":\"U0lH\"}}}\n"    \
	"contentBlockStop {\"contentBlockIndex\":0}\n"                                             \
	"contentBlockDelta "                                                                       \
	"{\"contentBlockIndex\":1,\"delta\":{\"reasoningContent\":{\"redactedContent\":"           \
	"\"cg==\"}}}\n"                                                                            \
	"contentBlockStop {\"contentBlockIndex\":1}\n"                                             \
	"contentBlockDelta {\"contentBlockIndex\":2,\"delta\":{\"text\":\"H\xC3\xA9\\n\"}}\n"      \
	"contentBlockDelta {\"contentBlockIndex\":2,\"delta\":{\"text\":\"llo\"}}\n"               \
	"contentBlockStop {\"contentBlockIndex\":2}\n"                                             \
	"contentBlockStart "                                                                       \
	"{\"contentBlockIndex\":3,\"start\":{\"toolUse\":{\"toolUseId\":\"t1\",\"name\":\"f\"}}}"  \
	"\n"                                                                                       \
	"contentBlockDelta "                                                                       \
	"{\"contentBlockIndex\":3,\"delta\":{\"toolUse\":{\"input\":\"{\\\"city\\\":\"}}}\n"       \
	"contentBlockDelta "                                                                       \
	"{\"contentBlockIndex\":3,\"delta\":{\"toolUse\":{\"input\":\"\\\"Oslo\\\"}\"}}}\n"        \
	"contentBlockStop {\"contentBlockIndex\":3}\n"                                             \
	"messageStop {\"stopReason\":\"tool_use\"}\n"                                              \
	"metadata {\"usage\":{\"inputTokens\":10,\"outputTokens\":20,\"totalTokens\":130,"         \
	"\"cacheReadInputTokens\":100,\"cacheWriteInputTokens\":0},"                               \
	"\"metrics\":{\"latencyMs\":0}}\n"
#define STREAM_EVENTS                                                                              \
	"start\n"                                                                                  \
	"part reasoning\ndelta text=\"hm\"\ndelta signature=\"U0lH\"\nend\n"                       \
	"part redacted reasoning signature=\"cg==\" signer=1\nend\n"                               \
	"part text\ndelta text=\"H\xC3\xA9\\n\"\ndelta text=\"llo\"\nend\n"                        \
	"part tool call id=\"t1\" name=\"f\"\ndelta text=\"{\\\"city\\\":\"\n"                     \
	"delta text=\"\\\"Oslo\\\"}\"\nend\n"                                                      \
	"finish tool calls\n"                                                                      \
	"usage input=10 read=100 write=0 output=20\n"                                              \
	"over\n"

static void
reads_streams_and_writes_the_same_bytes(void **state)
{
	struct bytes in = messages_of(STREAM);

	(void)state;
	for (size_t step = 1; step <= in.len; step = step < 40 ? step + 1 : step * 2) {
		struct seen s = read_stream(FRAMING_EVENTSTREAM, bytes_span(&in), step, 0);

		assert_string_equal(s.events.at, STREAM_EVENTS);
		assert_int_equal(s.wire.len, in.len);
		assert_memory_equal(s.wire.at, in.at, in.len);
		done(&s);
	}
	bytes_free(&in);
}

static void
speaks_to_sap_in_events_under_their_name(void **state)
{
	struct bytes in = messages_of(STREAM);
	struct seen out = read_stream(FRAMING_EVENTSTREAM, bytes_span(&in), in.len, 1);
	struct seen back = read_stream(FRAMING_SAP, bytes_span(&out.wire), 5, 0);

	(void)state;
	assert_true(span_starts(bytes_span(&out.wire),
		"data: {\"messageStart\":{\"role\":\"assistant\"}}\n\n"
		"data: {\"contentBlockDelta\":{\"contentBlockIndex\":0,"));
	assert_string_equal(back.events.at, STREAM_EVENTS);
	assert_int_equal(back.wire.len, in.len);
	assert_memory_equal(back.wire.at, in.at, in.len);
	done(&out);
	done(&back);
	bytes_free(&in);
}

static void
sap_reads_as(const char *in, const char *want)
{
	struct seen s = read_stream(FRAMING_SAP, span_of(in), 3, -1);

	if (strcmp(s.events.at, want) != 0)
		fail_msg("%s\ngot\n%s", in, s.events.at);
	done(&s);
}

static void
reads_what_sap_sends(void **state)
{
	(void)state;
	sap_reads_as("data: {'messageStart': {'role': 'assistant'}}\n\n"
		     "data: {'contentBlockDelta': {'delta': {'text': \"I'm\"}, "
		     "'contentBlockIndex': 0}}\n\n"
		     "data: {\"contentBlockStop\":{\"contentBlockIndex\":0}}\n\n"
		     "data: {'messageStop': {'stopReason': 'end_turn', 'x': None}}\n\n"
		     "data: {'metadata': {'usage': {'inputTokens': 1, 'outputTokens': 2, "
		     "'totalTokens': 3}}}\n\n",
		"start\npart text\ndelta text=\"I'm\"\nend\nfinish stop\nusage input=1 output=2\n"
		"over\n");
	sap_reads_as("data: {\"throttlingException\":{\"message\":\"slow\"}}\n\n",
		"error rate_limited: The provider failed: slow\n");
	sap_reads_as("data: [DONE]\n\ndata: {'a': <b>}\n\n",
		"error upstream_unreachable: The provider's stream could not be read to its "
		"end.\n");
}

static void
puts_blocks_one_after_the_other(void **state)
{
	(void)state;
#define CALL(i, id)                                                                                \
	"contentBlockStart {\"contentBlockIndex\":" #i                                             \
	",\"start\":{\"toolUse\":{\"toolUseId\":\"" id "\",\"name\":\"f\"}}}\n"
#define ARGS(i, text)                                                                              \
	"contentBlockDelta {\"contentBlockIndex\":" #i                                             \
	",\"delta\":{\"toolUse\":{\"input\":\"" text "\"}}}\n"
#define TEXT(i, text)                                                                              \
	"contentBlockDelta {\"contentBlockIndex\":" #i ",\"delta\":{\"text\":\"" text "\"}}\n"
#define END(i)       "contentBlockStop {\"contentBlockIndex\":" #i "}\n"
#define STOP(reason) "messageStop {\"stopReason\":\"" reason "\"}\n"
	/* in turns; the second ends first; the third begins at 7 */
	stream_reads_as(CALL(0, "a") CALL(1, "b") ARGS(1, "1") ARGS(0, "2") ARGS(1, "3") END(1)
				ARGS(0, "4") TEXT(7, "x") END(0) TEXT(7, "y") STOP("tool_use"),
		"start\n"
		"part tool call id=\"a\" name=\"f\"\ndelta text=\"2\"\ndelta text=\"4\"\nend\n"
		"part tool call id=\"b\" name=\"f\"\ndelta text=\"1\"\ndelta text=\"3\"\nend\n"
		"part text\ndelta text=\"x\"\ndelta text=\"y\"\nend\n"
		"finish tool calls\nover\n");
	/* no ends, no start of the message, no index, empty deltas */
	stream_reads_as("contentBlockDelta {\"delta\":{\"text\":\"\"}}\n"
			"contentBlockDelta {\"delta\":{\"text\":\"a\"}}\n"
			"contentBlockDelta {\"delta\":{\"text\":\"b\"}}\n" STOP("end_turn"),
		"start\npart text\ndelta text=\"a\"\ndelta text=\"b\"\nend\nfinish stop\nover\n");
	/* reasoning and text of one index are two parts; an empty block is none */
	stream_reads_as("contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
			"{\"reasoningContent\":{\"text\":\"r\"}}}\n" TEXT(0, "t") END(0) TEXT(1, "")
				END(1) STOP("stop_sequence"),
		"start\npart reasoning\ndelta text=\"r\"\nend\npart text\ndelta text=\"t\"\nend\n"
		"finish stop sequence\nover\n");
	/* an index begun twice is two blocks */
	stream_reads_as(CALL(0, "a") CALL(0, "b") ARGS(0, "{}") END(0) STOP("end_turn"),
		"start\npart tool call id=\"a\" name=\"f\"\nend\n"
		"part tool call id=\"b\" name=\"f\"\ndelta text=\"{}\"\nend\n"
		"finish tool calls\nover\n");
	/* a signature in pieces is given whole */
	stream_reads_as("contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
			"{\"reasoningContent\":{\"signature\":\"a\\/\"}}}\n"
			"contentBlockDelta {\"contentBlockIndex\":0,\"delta\":"
			"{\"reasoningContent\":{\"signature\":\"b\"}}}\n" STOP("end_turn"),
		"start\npart reasoning\ndelta signature=\"a/b\"\nend\nfinish stop\nover\n");
	stream_reads_as("contentBlockStart {\"contentBlockIndex\":0,\"start\":{\"image\":"
			"{\"format\":\"jpeg\"}}}\n"
			"contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"image\":"
			"{\"source\":{\"bytes\":\"AA\"}}}}\n" STOP("end_turn"),
		"start\npart image mime=\"image/jpeg\" data=\"AA\"\nend\nfinish stop\nover\n");
	/* what comes behind the stop, but for usage, is nothing */
	stream_reads_as(STOP("max_tokens") TEXT(0, "late")
				STOP("end_turn") "metadata {\"usage\":{\"inputTokens\":1}}\n" TEXT(
					0, "later"),
		"start\nfinish length\nusage input=1\nover\n");
}

static void
a_call_without_an_id_gets_one(void **state)
{
	struct bytes in = messages_of("contentBlockStart {\"contentBlockIndex\":0,\"start\":"
				      "{\"toolUse\":{\"name\":\"f\"}}}\n" STOP("tool_use"));
	struct seen s = read_stream(FRAMING_EVENTSTREAM, bytes_span(&in), in.len, -1);

	(void)state;
	assert_non_null(strstr(s.events.at, "part tool call id=\"tooluse_"));
	done(&s);
	bytes_free(&in);
}

static void
streams_that_fail_say_so(void **state)
{
#define UNREADABLE                                                                                 \
	"error upstream_unreachable: The provider's stream could not be read to its end.\n"
	static const struct {
		const char *lines, *want;
	} cases[] = {
		{ "messageStart {}\n" TEXT(0, "a"),
			"start\npart text\ndelta text=\"a\"\nerror upstream_unreachable: The "
			"provider's "
			"stream ended before its answer was complete.\n" },
		{ "!throttlingException {\"message\":\"Too many\"}\n",
			"error rate_limited: The provider failed: Too many\n" },
		{ TEXT(0, "a") "!serviceUnavailableException {\"message\":\"busy\"}\n" TEXT(0, "b"),
			"start\npart text\ndelta text=\"a\"\nerror overloaded: The provider "
			"failed: "
			"busy\n" },
		{ "!validationException {\"message\":\"Input is too long for requested model.\"}\n",
			"error context_too_long: The provider failed: Input is too long for "
			"requested "
			"model.\n" },
		{ "!validationException {\"message\":\"bad\"}\n",
			"error bad_request: The provider failed: bad\n" },
		{ "!modelStreamErrorException {\"originalStatusCode\":529,"
		  "\"originalMessage\":\"full\"}\n",
			"error overloaded: The provider failed: full\n" },
		{ "!internalServerException {}\n",
			"error upstream_unreachable: The provider failed and gave no reason.\n" },
		{ "!expiredTokenException {\"message\":\"AKID\"}\n",
			"error upstream_credentials: The provider refused the gateway's own key; "
			"tell "
			"its operator.\n" },
		{ ARGS(0, "{}"), "start\n" UNREADABLE },
		{ "contentBlockStart {\"start\":{\"toolUse\":{\"toolUseId\":\"a\"}}}\n",
			"start\n" UNREADABLE },
		{ "contentBlockDelta {\"delta\"\n", "start\n" UNREADABLE },
		{ CALL(0, "a") END(0) ARGS(0, "1"),
			"start\npart tool call id=\"a\" name=\"f\"\nend\n" UNREADABLE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		stream_reads_as(cases[i].lines, cases[i].want);
}

static void
holds_what_waits_to_its_ceiling(void **state)
{
	static char delta[1 << 20];
	struct seen s = { .events = BYTES_LIMIT(MOST_BYTES), .wire = BYTES_LIMIT(0) };
	int len, sent = 0;

	(void)state;
	s.reader = calloc(1, converse_reader_bytes);
	len = snprintf(delta, sizeof delta, "{\"contentBlockIndex\":1,\"delta\":{\"text\":\"");
	memset(delta + len, 'x', sizeof delta - (size_t)len);
	memcpy(delta + sizeof delta - 3, "\"}}", 3);
	assert_int_equal(on_frame(&s, &(struct frame){ .name = SPAN_LIT("contentBlockDelta"),
					      .data = SPAN_LIT("{\"contentBlockIndex\":0,\"delta\":"
							       "{\"text\":\"a\"}}") }),
		0);
	while (!s.order.over && sent++ < 100)
		assert_int_equal(
			on_frame(&s, &(struct frame){ .name = SPAN_LIT("contentBlockDelta"),
					     .data = { delta, sizeof delta } }),
			0);
	assert_int_equal(sent, 17);
	converse_reader_free(s.reader);
	free(s.reader);
	done(&s);
}

/* ---- streams, written from others' events ---- */

struct given {
	void *state;
	struct bytes out;
};

static void
give(struct given *g, struct neutral_event e)
{
	static const struct reply_options options = { .model = "m" };

	assert_int_equal(sap_converse_write_event(g->state, &options, &e, &g->out), 0);
}

static void
writes_contiguous_blocks_whatever_comes(void **state)
{
	struct given g = { calloc(1, converse_writer_bytes), BYTES_LIMIT(MOST_BYTES) };
	struct neutral_part text = { .kind = PART_TEXT };
	struct neutral_part call = {
		.kind = PART_TOOL_CALL, .call_id = SPAN_LIT("c"), .name = SPAN_LIT("f")
	};
	struct neutral_part thought = { .kind = PART_REASONING, .signer = SIGNER_GEMINI };
	struct err err = { .code = ERR_OVERLOADED };

	(void)state;
	give(&g, (struct neutral_event){ .kind = EVENT_START });
	/* an empty text is no block; another's signature is not given; a call has arguments */
	give(&g, (struct neutral_event){ .kind = EVENT_PART, .part = text });
	give(&g, (struct neutral_event){ .kind = EVENT_PART_END, .part = text });
	give(&g, (struct neutral_event){ .kind = EVENT_PART, .part = thought });
	give(&g, (struct neutral_event){
			 .kind = EVENT_DELTA, .part = thought, .signature = SPAN_LIT("g") });
	give(&g, (struct neutral_event){ .kind = EVENT_PART_END, .part = thought });
	give(&g, (struct neutral_event){ .kind = EVENT_PART, .part = call });
	give(&g, (struct neutral_event){ .kind = EVENT_PART_END, .part = call });
	/* a second choice has no place */
	give(&g, (struct neutral_event){ .kind = EVENT_PART, .part = call, .choice = 1 });
	give(&g, (struct neutral_event){ .kind = EVENT_PART, .part = text });
	give(&g, (struct neutral_event){
			 .kind = EVENT_DELTA, .part = text, .text = SPAN_LIT("\"a\"") });
	give(&g, (struct neutral_event){ .kind = EVENT_PART_END, .part = text });
	give(&g, (struct neutral_event){ .kind = EVENT_PING });
	give(&g, (struct neutral_event){ .kind = EVENT_ERROR, .err = &err });
	assert_string_equal(g.out.at,
		"data: {\"messageStart\":{\"role\":\"assistant\"}}\n\n"
		"data: {\"contentBlockStart\":{\"contentBlockIndex\":0,\"start\":{\"toolUse\":"
		"{\"toolUseId\":\"c\",\"name\":\"f\"}}}}\n\n"
		"data: {\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"toolUse\":"
		"{\"input\":\"{}\"}}}}\n\n"
		"data: {\"contentBlockStop\":{\"contentBlockIndex\":0}}\n\n"
		"data: "
		"{\"contentBlockDelta\":{\"contentBlockIndex\":1,\"delta\":{\"text\":\"a\"}}}\n\n"
		"data: {\"contentBlockStop\":{\"contentBlockIndex\":1}}\n\n"
		"data: {\"serviceUnavailableException\":{\"message\":\"The gateway is full; try "
		"again "
		"soon.\",\"__type\":\"ServiceUnavailableException\",\"sluice_code\":\"overloaded\"}"
		"}\n\n");
	converse_writer_free(g.state);
	free(g.state);
	bytes_free(&g.out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_messages_of_every_kind),
		cmocka_unit_test(reads_blocks_that_others_lack_as_text),
		cmocka_unit_test(reads_settings_and_tools),
		cmocka_unit_test(reads_how_much_to_reason),
		cmocka_unit_test(takes_model_and_stream_from_the_path),
		cmocka_unit_test(refuses_requests_and_names_the_member),
		cmocka_unit_test(writes_back_what_it_read),
		cmocka_unit_test(leaves_out_what_bedrock_refuses),
		cmocka_unit_test(names_documents_as_bedrock_wants_them),
		cmocka_unit_test(finds_formats_by_name_and_first_bytes),
		cmocka_unit_test(offers_tools_as_bedrock_has_them),
		cmocka_unit_test(gives_calls_ids_that_bedrock_takes),
		cmocka_unit_test(puts_right_what_bedrock_refuses_of_calls),
		cmocka_unit_test(settings_go_where_the_model_takes_them),
		cmocka_unit_test(reasoning_is_asked_for_in_the_model_s_words),
		cmocka_unit_test(says_what_cannot_be_written),
		cmocka_unit_test(reads_answers),
		cmocka_unit_test(refuses_what_is_no_answer),
		cmocka_unit_test(writes_answers),
		cmocka_unit_test(reads_streams_and_writes_the_same_bytes),
		cmocka_unit_test(speaks_to_sap_in_events_under_their_name),
		cmocka_unit_test(reads_what_sap_sends),
		cmocka_unit_test(puts_blocks_one_after_the_other),
		cmocka_unit_test(a_call_without_an_id_gets_one),
		cmocka_unit_test(streams_that_fail_say_so),
		cmocka_unit_test(holds_what_waits_to_its_ceiling),
		cmocka_unit_test(writes_contiguous_blocks_whatever_comes),
	};

	return cmocka_run_group_tests_name("wire/converse", tests, NULL, NULL);
}
