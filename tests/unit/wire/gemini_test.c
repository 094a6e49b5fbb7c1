/*
 * gemini_test.c - Gemini's requests read and written: what its clients may send, what its models are
 * told, and what is refused by name.
 */
#include "wire/gemini.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

/* One request on its way; everything lives in the arena. */
struct ask {
	struct arena *arena;
	struct neutral_request n;
	struct losses lost;
	struct err err;
	struct bytes body;
	struct request_made made;
};

static void
begin(struct ask *a)
{
	*a = (struct ask){ .arena = arena_new(256 * MIB), .body = BYTES_LIMIT(64 * MIB) };
	assert_non_null(a->arena);
	a->made.body = &a->body;
	neutral_request_init(&a->n, a->arena);
}

static void
end(struct ask *a)
{
	bytes_free(&a->body);
	arena_free(a->arena);
}

static int
read_as(struct ask *a, const char *json)
{
	struct request_source from = { .body = span_of(json) };

	begin(a);
	return gemini_read_request(&from, &a->n, &a->lost, &a->err);
}

static void
read_well(struct ask *a, const char *json)
{
	if (read_as(a, json) != 0)
		fail_msg("%s\n  %s", json, a->err.text);
}

static int
write_for(struct ask *a, const char *model)
{
	struct request_target to = { .model = model };

	bytes_free(&a->body);
	return gemini_write_request(&a->n, &to, &a->made, &a->lost, &a->err);
}

/* The body written, or the sentence that refuses it. */
static const char *
written(struct ask *a, const char *model)
{
	if (write_for(a, model) != 0)
		return err_public(&a->err);
	assert_true(json_valid(bytes_span(&a->body)));
	return a->body.at;
}

static const char *
lost(const struct ask *a)
{
	static char text[512];

	losses_text(&a->lost, text, sizeof text);
	return text;
}

static void
equal(struct span got, const char *want)
{
	char text[512];

	assert_non_null(got.at);
	assert_true(span_copy(got, text, sizeof text));
	assert_string_equal(text, want);
}

/* ---- reading ---- */

static void
both_spellings_are_one_request(void **state)
{
	static const char *const bodies[] = {
		"{\"systemInstruction\":{\"parts\":[{\"text\":\"Be "
		"brief.\"}]},\"contents\":[{\"parts\":["
		"{\"inlineData\":{\"mimeType\":\"image/jpg\",\"data\":\"QUJD\"}}]}],"
		"\"generationConfig\":{\"maxOutputTokens\":5,\"topK\":40.0,\"stopSequences\":["
		"\"a\"]},"
		"\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\"}}}",
		"{\"system_instruction\":{\"parts\":[{\"text\":\"Be "
		"brief.\"}]},\"contents\":[{\"parts\":["
		"{\"inline_data\":{\"mime_type\":\"image/jpg\",\"data\":\"QUJD\"}}]}],"
		"\"generation_config\":{\"max_output_tokens\":5,\"top_k\":40.0,\"stop_sequences\":["
		"\"a\"]},"
		"\"tool_config\":{\"function_calling_config\":{\"mode\":\"any\"}}}",
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct ask a;
		const struct neutral_part *p;

		read_well(&a, bodies[i]);
		assert_int_equal(a.n.system_count, 1);
		equal(a.n.system[0].text, "\"Be brief.\"");
		assert_int_equal(a.n.message_count, 1);
		p = &a.n.message[0].part[0];
		assert_int_equal(p->kind, PART_IMAGE);
		equal(p->mime, "image/jpeg");
		equal(p->data, "QUJD");
		assert_int_equal(a.n.max_output, 5);
		assert_int_equal(a.n.stop_count, 1);
		assert_int_equal(a.n.choice, CHOICE_REQUIRED);
		equal(neutral_peek(&a.n, "top_k")->value.raw, "40");
		assert_string_equal(lost(&a), "");
		end(&a);
	}
}

static void
the_model_comes_in_the_path(void **state)
{
	static const char body[] = "{\"contents\":[],\"model\":\"models/gemini-x\"}";
	struct request_source from = {
		.body = span_of(body), .path_model = SPAN_LIT("gw"), .path_stream = true
	};
	struct ask a;

	(void)state;
	begin(&a);
	assert_int_equal(gemini_read_request(&from, &a.n, &a.lost, &a.err), 0);
	equal(a.n.model, "gw");
	assert_true(a.n.stream);
	assert_true(a.n.wants_usage);
	end(&a);
	read_well(&a, body);
	equal(a.n.model, "gemini-x");
	assert_false(a.n.stream);
	end(&a);
}

static void
results_without_ids_find_their_calls(void **state)
{
	struct ask a;
	const struct neutral_part *calls, *results;

	(void)state;
	read_well(&a,
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},"
		"{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\":"
		"1}},"
		"\"thoughtSignature\":\"QUJD\"},{\"functionCall\":{\"name\":\"g\"}},"
		"{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\":2}}},"
		"{\"functionCall\":{\"id\":\"own\",\"name\":\"h\"}}]},"
		"{\"role\":\"function\",\"parts\":["
		"{\"functionResponse\":{\"id\":\"own\",\"name\":\"h\",\"response\":{}}},"
		"{\"functionResponse\":{\"name\":\"g\",\"response\":{\"error\":\"no\"}}},"
		"{\"functionResponse\":{\"id\":\"made "
		"up\",\"name\":\"f\",\"response\":{\"result\":\"one\"}}},"
		"{\"functionResponse\":{\"name\":\"f\",\"response\":{\"a\": 1, \"b\":2}}}]}]}");
	assert_int_equal(a.n.message_count, 3);
	calls = a.n.message[1].part;
	results = a.n.message[2].part;
	assert_int_equal(a.n.message[1].count, 4);
	equal(calls[0].signature, "QUJD");
	assert_int_equal(calls[0].signer, SIGNER_GEMINI);
	equal(calls[0].input, "{\"n\":1}");
	equal(calls[1].input, "{}");
	for (size_t i = 0; i < 4; i++) {
		static const size_t call[] = { 3, 1, 0, 2 };

		assert_true(calls[i].call_id.len > 0);
		assert_int_equal(results[i].call_id.len, calls[call[i]].call_id.len);
		assert_memory_equal(
			results[i].call_id.at, calls[call[i]].call_id.at, results[i].call_id.len);
	}
	equal(results[0].content[0].text, "\"\"");
	assert_true(results[1].is_error);
	equal(results[1].content[0].text, "\"no\"");
	equal(results[2].content[0].text, "\"one\"");
	assert_false(results[2].is_error);
	equal(results[3].content[0].text, "\"{\\\"a\\\":1,\\\"b\\\":2}\"");
	end(&a);
}

static void
parts_become_what_they_are(void **state)
{
	static const struct {
		const char *part;
		enum part_kind kind;
		const char *data, *url, *file_id;
	} cases[] = {
		{ "{\"inlineData\":{\"mimeType\":\"audio/wav\",\"data\":\"a-_b\"}}", PART_AUDIO,
			"a+/b", NULL, NULL },
		{ "{\"inlineData\":{\"mimeType\":\"video/mp4\",\"data\":\"AA==\"}}", PART_VIDEO,
			"AA==", NULL, NULL },
		{ "{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"AA==\"}}",
			PART_DOCUMENT, "AA==", NULL, NULL },
		{ "{\"fileData\":{\"fileUri\":\"gs://b/x\",\"mimeType\":\"image/png\"}}",
			PART_IMAGE, NULL, NULL, "gs://b/x" },
		{ "{\"fileData\":{\"fileUri\":\"https://example.com/x.png\"}}", PART_IMAGE, NULL,
			"https://example.com/x.png", NULL },
		{ "{\"fileData\":{\"fileUri\":\"https://youtu.be/x\"}}", PART_VIDEO, NULL,
			"https://youtu.be/x", NULL },
		{ "{\"fileData\":{\"fileUri\":\"https://generativelanguage.googleapis.com/v1beta/"
		  "files/"
		  "x\"}}",
			PART_DOCUMENT, NULL, NULL,
			"https://generativelanguage.googleapis.com/v1beta/files/x" },
	};
	char body[512];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct neutral_part *p;
		struct ask a;

		(void)snprintf(
			body, sizeof body, "{\"contents\":[{\"parts\":[%s]}]}", cases[i].part);
		read_well(&a, body);
		p = &a.n.message[0].part[0];
		assert_int_equal(p->kind, cases[i].kind);
		if (cases[i].data != NULL)
			equal(p->data, cases[i].data);
		if (cases[i].url != NULL)
			equal(p->url, cases[i].url);
		if (cases[i].file_id != NULL)
			equal(p->file_id, cases[i].file_id);
		end(&a);
	}
}

static void
thoughts_and_signatures_are_geminis(void **state)
{
	const struct neutral_part *p;
	struct ask a;

	(void)state;
	read_well(&a,
		"{\"contents\":[{\"role\":\"model\",\"parts\":[{\"text\":\"Hm.\",\"thought\":true},"
		"{\"text\":\"Yes\"},{\"text\":\"\"},{\"text\":\"\",\"thoughtSignature\":\"QQ==\"}]}"
		"]}");
	assert_int_equal(a.n.message[0].count, 3);
	p = a.n.message[0].part;
	assert_int_equal(p[0].kind, PART_REASONING);
	assert_int_equal(p[0].signer, SIGNER_GEMINI);
	assert_int_equal(p[1].signer, SIGNER_NONE);
	equal(p[2].text, "\"\"");
	equal(p[2].signature, "QQ==");
	assert_string_equal(written(&a, "gemini-2.5-pro"),
		"{\"contents\":[{\"role\":\"model\",\"parts\":[{\"text\":\"Hm.\",\"thought\":true},"
		"{\"text\":\"Yes\"},{\"text\":\"\",\"thoughtSignature\":\"QQ==\"}]}]}");
	end(&a);
}

static void
tools_are_read_with_json_schemas(void **state)
{
	struct ask a;

	(void)state;
	read_well(&a, "{\"contents\":[],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\","
		      "\"description\":\"d\","
		      "\"parameters\":{\"type\":\"OBJECT\",\"properties\":{\"type\":{\"type\" : "
		      "\"STRING\","
		      "\"minLength\":\"3\",\"enum\":[\"STRING\"]},\"minItems\":{\"type\":\"array\","
		      "\"minItems\":\"1\"}}}},"
		      "{\"name\":\"g\",\"parametersJsonSchema\":{\"type\":\"object\"}}],"
		      "\"googleSearch\":{}}],"
		      "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"VALIDATED\","
		      "\"allowedFunctionNames\":[\"f\",\"g\"]}}}");
	assert_int_equal(a.n.tool_count, 3);
	equal(a.n.tool[0].name, "f");
	equal(a.n.tool[0].parameters,
		"{\"type\":\"object\",\"properties\":{\"type\":{\"type\" : "
		"\"string\",\"minLength\": 3 ,"
		"\"enum\":[\"STRING\"]},\"minItems\":{\"type\":\"array\",\"minItems\": 1 }}}");
	equal(a.n.tool[1].parameters, "{\"type\":\"object\"}");
	assert_int_equal(a.n.tool[2].kind, TOOL_HOSTED);
	equal(a.n.tool[2].name, "googleSearch");
	equal(a.n.tool[2].raw, "{\"googleSearch\":{}}");
	assert_int_equal(a.n.choice, CHOICE_ALLOWED);
	assert_false(a.n.choice_any);
	assert_int_equal(a.n.allowed_count, 2);
	end(&a);
}

static void
reasoning_is_read(void **state)
{
	static const struct {
		const char *config;
		enum effort effort;
		int64_t budget;
		bool adaptive, show;
	} cases[] = {
		{ "{\"thinkingBudget\":0}", EFFORT_NONE, -1, false, false },
		{ "{\"thinkingBudget\":-1,\"includeThoughts\":true}", EFFORT_UNSET, -1, true,
			true },
		{ "{\"thinkingBudget\":2048}", EFFORT_UNSET, 2048, false, false },
		{ "{\"thinkingLevel\":\"low\"}", EFFORT_LOW, -1, false, false },
	};
	char body[256];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ask a;

		(void)snprintf(body, sizeof body,
			"{\"contents\":[],\"generationConfig\":{\"thinkingConfig\":%s}}",
			cases[i].config);
		read_well(&a, body);
		assert_true(a.n.reasoning_set);
		assert_int_equal(a.n.effort, cases[i].effort);
		assert_int_equal(a.n.budget, cases[i].budget);
		assert_int_equal(a.n.adaptive, cases[i].adaptive);
		assert_int_equal(a.n.show_reasoning, cases[i].show);
		end(&a);
	}
}

static void
schemas_of_answers_are_read(void **state)
{
	struct ask a;

	(void)state;
	read_well(&a,
		"{\"contents\":[],\"generationConfig\":{\"responseMimeType\":\"application/json\","
		"\"responseSchema\":{\"type\":\"STRING\"}}}");
	assert_int_equal(a.n.format, OUTPUT_SCHEMA);
	equal(a.n.schema, "{\"type\":\"string\"}");
	end(&a);
	read_well(&a, "{\"contents\":[],\"generationConfig\":{\"responseMimeType\":\"text/x.enum\","
		      "\"responseModalities\":[\"TEXT\", "
		      "\"IMAGE\"],\"audioTimestamp\":true},\"future\":1}");
	assert_int_equal(a.n.format, OUTPUT_UNSET);
	equal(neutral_peek(&a.n, "modalities")->value.raw, "[\"text\",\"image\"]");
	losses_of_fields(&a.lost, &a.n);
	assert_string_equal(lost(&a),
		"generationConfig.audioTimestamp, generationConfig.responseMimeType, future, "
		"generationConfig.responseModalities");
	assert_string_equal(a.lost.meaning, "generationConfig.responseMimeType");
	end(&a);
}

static void
what_cannot_be_read_is_named(void **state)
{
	static const struct {
		const char *body, *field;
		enum err_code code;
	} cases[] = {
		{ "", "", ERR_BAD_REQUEST },
		{ "[]", "", ERR_BAD_REQUEST },
		{ "{}", "contents", ERR_BAD_REQUEST },
		{ "{\"contents\":{}}", "contents", ERR_BAD_REQUEST },
		{ "{\"contents\":[1]}", "contents[0]", ERR_BAD_REQUEST },
		{ "{\"contents\":[{},{\"role\":\"system\"}]}", "contents[1].role",
			ERR_BAD_REQUEST },
		{ "{\"contents\":[{\"parts\":[{},{\"text\":1}]}]}", "contents[0].parts[1].text",
			ERR_BAD_REQUEST },
		{ "{\"contents\":[{\"parts\":[{\"hologram\":{}}]}]}",
			"contents[0].parts[0].hologram", ERR_BAD_REQUEST },
		{ "{\"contents\":[{\"parts\":[{\"inlineData\":{\"data\":\"AA==\"}}]}]}",
			"contents[0].parts[0].inlineData.mimeType", ERR_BAD_REQUEST },
		{ "{\"contents\":[{\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]}]}",
			"contents[0].parts[0].functionCall", ERR_BAD_REQUEST },
		{ "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\","
		  "\"args\":[]}}]}]}",
			"contents[0].parts[0].functionCall.args", ERR_BAD_REQUEST },
		{ "{\"contents\":[{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":1}"
		  "}]}]}",
			"contents[0].parts[0].functionResponse.response", ERR_BAD_REQUEST },
		{ "{\"contents\":[],\"generationConfig\":{\"topP\":\"x\"}}",
			"generationConfig.topP", ERR_BAD_REQUEST },
		{ "{\"contents\":[],\"generationConfig\":{\"candidateCount\":0}}",
			"generationConfig.candidateCount", ERR_BAD_REQUEST },
		{ "{\"contents\":[],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"x\"}}}",
			"toolConfig.functionCallingConfig.mode", ERR_BAD_REQUEST },
		{ "{\"contents\":[],\"tools\":[{\"functionDeclarations\":[{}]}]}",
			"tools[0].functionDeclarations", ERR_BAD_REQUEST },
		{ "{\"contents\":[],\"systemInstruction\":{\"parts\":[{\"inlineData\":{}}]}}",
			"systemInstruction.parts", ERR_BAD_REQUEST },
		{ "{\"contents\":[],\"cachedContent\":\"cachedContents/x\"}", "cachedContent",
			ERR_UNSUPPORTED },
		{ "{\"contents\":[],\"safetySettings\":{}}", "safetySettings", ERR_BAD_REQUEST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ask a;

		if (read_as(&a, cases[i].body) != -1)
			fail_msg("%s was read", cases[i].body);
		assert_int_equal(a.err.code, cases[i].code);
		assert_string_equal(a.err.field, cases[i].field);
		assert_non_null(strstr(err_public(&a.err), cases[i].field));
		end(&a);
	}
}

static void
what_googles_tools_did_is_told_as_lost(void **state)
{
	struct ask a;

	(void)state;
	read_well(&a, "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"executableCode\":{\"code\":"
		      "\"1\"}},"
		      "{\"text\":\"x\",\"partMetadata\":{}}]},{\"parts\":[{\"text\":\"y\","
		      "\"videoMetadata\":{}}]}]}");
	assert_string_equal(lost(&a), "executableCode, partMetadata, videoMetadata");
	assert_string_equal(a.lost.meaning, "executableCode");
	end(&a);
}

static void
too_many_calls_of_one_turn_are_refused(void **state)
{
	static const char call[] = "{\"functionCall\":{\"name\":\"f\"}},";
	struct bytes b = BYTES_LIMIT(MIB);
	struct ask a;

	(void)state;
	(void)bytes_puts(&b, "{\"contents\":[{\"role\":\"model\",\"parts\":[");
	for (size_t i = 0; i < 1025; i++)
		(void)bytes_puts(&b, call);
	b.at[b.len - 1] = ' ';
	(void)bytes_puts(&b, "]}]}");
	assert_int_equal(read_as(&a, b.at), -1);
	assert_string_equal(a.err.field, "contents[0].parts[1024].functionCall");
	bytes_free(&b);
	end(&a);
}

static void
a_count_has_the_request_within(void **state)
{
	struct request_source from = { .body = SPAN_LIT("{\"generateContentRequest\":{\"model\":"
							"\"models/m\",\"contents\":[{\"parts\":["
							"{\"text\":\"a\"}]}]}}") };
	struct ask a;

	(void)state;
	begin(&a);
	assert_int_equal(gemini_read_count(&from, &a.n, &a.lost, &a.err), 0);
	assert_int_equal(a.n.message_count, 1);
	equal(a.n.model, "m");
	end(&a);
	from.body = SPAN_LIT("{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}]}");
	begin(&a);
	assert_int_equal(gemini_read_count(&from, &a.n, &a.lost, &a.err), 0);
	assert_int_equal(a.n.message_count, 1);
	end(&a);
}

/* ---- writing ---- */

static struct neutral_part *
add(struct ask *a, enum neutral_role role, enum part_kind kind, const char *text)
{
	struct neutral_part *p = neutral_add(&a->n, role, kind, &a->err);

	assert_non_null(p);
	p->text = span_of(text);
	return p;
}

static void
add_call(struct ask *a, const char *id, const char *name, const char *input)
{
	struct neutral_part *p = add(a, ROLE_ASSISTANT, PART_TOOL_CALL, NULL);

	p->call_id = span_of(id);
	p->name = span_of(name);
	p->input = span_of(input);
}

static struct neutral_part *
add_result(struct ask *a, const char *id, const char *text)
{
	struct neutral_part *p = add(a, ROLE_USER, PART_TOOL_RESULT, NULL), *content;

	p->call_id = span_of(id);
	content = neutral_add_result(&a->n, p, PART_TEXT, &a->err);
	assert_non_null(content);
	content->text = span_of(text);
	return p;
}

static void
results_stand_in_the_order_of_the_calls(void **state)
{
	struct ask a;

	(void)state;
	begin(&a);
	(void)add(&a, ROLE_USER, PART_TEXT, "\"q\"");
	add_call(&a, "a", "f", "{\"x\":1}");
	add_call(&a, "b", "g", "{}");
	(void)add_result(&a, "b", "\"{\\\"t\\\":12}\"");
	(void)add(&a, ROLE_USER, PART_TEXT, "\"and\"");
	add_result(&a, "a", "\"7 C\"")->is_error = true;
	assert_string_equal(written(&a, "gemini-2.5-flash"),
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]},"
		"{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"x\":"
		"1}}},"
		"{\"functionCall\":{\"name\":\"g\",\"args\":{}}}]},"
		"{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":"
		"{\"error\":\"7 "
		"C\"}}},{\"functionResponse\":{\"name\":\"g\",\"response\":{\"t\":12}}},"
		"{\"text\":\"and\"}]}]}");
	end(&a);
}

static void
an_id_used_again_means_the_nearest_call(void **state)
{
	struct ask a;
	const char *body;

	(void)state;
	begin(&a);
	add_call(&a, "x", "f", "{}");
	(void)add_result(&a, "x", "\"1\"");
	add_call(&a, "x", "g", "{}");
	add_call(&a, "x", "h", "{}");
	(void)add_result(&a, "x", "\"2\"");
	(void)add_result(&a, "x", "\"3\"");
	body = written(&a, "gemini-2.5-flash");
	assert_non_null(strstr(body, "{\"name\":\"f\",\"response\":{\"result\":\"1\"}}"));
	assert_non_null(strstr(body, "{\"name\":\"g\",\"response\":{\"result\":\"2\"}}"));
	assert_non_null(strstr(body, "{\"name\":\"h\",\"response\":{\"result\":\"3\"}}"));
	end(&a);
}

static void
a_result_without_its_call_is_refused(void **state)
{
	struct ask a;

	(void)state;
	begin(&a);
	add_call(&a, "a", "f", "{}");
	(void)add_result(&a, "b", "\"1\"");
	assert_int_equal(write_for(&a, "gemini-2.5-flash"), -1);
	assert_int_equal(a.err.code, ERR_BAD_REQUEST);
	assert_non_null(strstr(err_public(&a.err), "'b'"));
	end(&a);
}

static void
generation_3_gets_levels_and_signed_calls(void **state)
{
	struct ask a;

	(void)state;
	begin(&a);
	add_call(&a, "a", "f", "{}");
	add_call(&a, "b", "f", "{}");
	a.n.reasoning_set = true;
	a.n.effort = EFFORT_LOW;
	assert_string_equal(written(&a, "gemini-3-pro-preview"),
		"{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\","
		"\"args\":{}},"
		"\"thoughtSignature\":\"skip_thought_signature_validator\"},"
		"{\"functionCall\":{\"name\":\"f\",\"args\":{}}}]}],"
		"\"generationConfig\":{\"thinkingConfig\":{\"thinkingLevel\":\"LOW\","
		"\"includeThoughts\":true}}}");
	a.n.message[0].part[0].signature = SPAN_LIT("QUJD");
	a.n.message[0].part[0].signer = SIGNER_ANTHROPIC;
	assert_non_null(strstr(written(&a, "gemini-3-pro-preview"), "skip_thought"));
	a.n.message[0].part[0].signer = SIGNER_GEMINI;
	assert_non_null(
		strstr(written(&a, "gemini-3-pro-preview"), "\"thoughtSignature\":\"QUJD\""));
	assert_null(strstr(a.body.at, "skip_thought"));
	end(&a);
}

static void
reasoning_is_told_as_the_model_takes_it(void **state)
{
	static const struct {
		const char *model;
		enum effort effort;
		int64_t budget;
		bool adaptive;
		const char *want; /* of generationConfig; NULL: none */
	} cases[] = {
		{ "gemini-2.5-flash", EFFORT_LOW, -1, false,
			"{\"thinkingBudget\":1024,\"includeThoughts\":true}" },
		{ "gemini-2.5-flash", EFFORT_MINIMAL, -1, false,
			"{\"thinkingBudget\":512,\"includeThoughts\":true}" },
		{ "gemini-2.5-flash", EFFORT_XHIGH, -1, false,
			"{\"thinkingBudget\":24576,\"includeThoughts\":true}" },
		{ "gemini-2.5-pro", EFFORT_XHIGH, -1, false,
			"{\"thinkingBudget\":32768,\"includeThoughts\":true}" },
		{ "gemini-2.5-pro", EFFORT_NONE, -1, false, "{\"thinkingBudget\":128}" },
		{ "gemini-2.5-flash", EFFORT_NONE, -1, false, "{\"thinkingBudget\":0}" },
		{ "gemini-2.5-flash-lite", EFFORT_UNSET, 100, false,
			"{\"thinkingBudget\":512,\"includeThoughts\":true}" },
		{ "models/gemini-2.5-flash", EFFORT_UNSET, -1, true,
			"{\"thinkingBudget\":-1,\"includeThoughts\":true}" },
		{ "gemini-3-flash", EFFORT_NONE, -1, false, "{\"thinkingLevel\":\"MINIMAL\"}" },
		{ "gemini-3-pro", EFFORT_NONE, -1, false, "{\"thinkingLevel\":\"LOW\"}" },
		{ "gemini-3-pro", EFFORT_MEDIUM, -1, false,
			"{\"thinkingLevel\":\"HIGH\",\"includeThoughts\":true}" },
		{ "gemini-3.1-pro", EFFORT_MEDIUM, -1, false,
			"{\"thinkingLevel\":\"MEDIUM\",\"includeThoughts\":true}" },
		{ "gemini-3-flash", EFFORT_UNSET, 5000, false,
			"{\"thinkingLevel\":\"MEDIUM\",\"includeThoughts\":true}" },
		{ "gemini-4-flash", EFFORT_UNSET, -1, true, "{\"includeThoughts\":true}" },
		{ "gemini-2.0-flash", EFFORT_HIGH, -1, false, NULL },
		{ "tunedModels/mine", EFFORT_HIGH, -1, false,
			"{\"thinkingBudget\":24576,\"includeThoughts\":true}" },
	};
	char want[256];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ask a;
		const char *body;

		begin(&a);
		(void)add(&a, ROLE_USER, PART_TEXT, "\"q\"");
		a.n.reasoning_set = true;
		a.n.effort = cases[i].effort;
		a.n.budget = cases[i].budget;
		a.n.adaptive = cases[i].adaptive;
		body = written(&a, cases[i].model);
		if (cases[i].want == NULL) {
			assert_null(strstr(body, "generationConfig"));
			assert_string_equal(lost(&a), "reasoning_effort");
		} else {
			(void)snprintf(want, sizeof want,
				"\"generationConfig\":{\"thinkingConfig\":%s}", cases[i].want);
			if (strstr(body, want) == NULL)
				fail_msg("%s: %s", cases[i].model, body);
		}
		end(&a);
	}
}

static void
instructions_alone_are_the_question(void **state)
{
	struct ask a;

	(void)state;
	begin(&a);
	neutral_add_system(&a.n, &a.err)->text = SPAN_LIT("\"do\"");
	assert_string_equal(written(&a, "gemini-2.5-flash"),
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"do\"}]}]}");
	(void)add(&a, ROLE_ASSISTANT, PART_TEXT, "\"\"");
	(void)add(&a, ROLE_USER, PART_TEXT, "\"q\"");
	assert_string_equal(written(&a, "gemini-2.5-flash"),
		"{\"systemInstruction\":{\"parts\":[{\"text\":\"do\"}]},"
		"\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}]}");
	end(&a);
	begin(&a);
	assert_int_equal(write_for(&a, "gemini-2.5-flash"), -1);
	assert_int_equal(a.err.code, ERR_BAD_REQUEST);
	end(&a);
}

static struct neutral_tool *
add_tool(struct ask *a, const char *name)
{
	struct neutral_tool *t = neutral_add_tool(&a->n, &a->err);

	assert_non_null(t);
	t->name = span_of(name);
	return t;
}

static void
names_that_gemini_refuses_come_back(void **state)
{
	static const char odd[] = "mcp/très long…";
	char longest[100];
	struct ask a;
	struct span sent;

	(void)state;
	begin(&a);
	memset(longest, 'n', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	(void)add_tool(&a, "fine.name:x-1");
	(void)add_tool(&a, odd);
	(void)add_tool(&a, longest);
	(void)add_tool(&a, "1st");
	add_call(&a, "a", odd, "{}");
	(void)add_result(&a, "a", "\"1\"");
	a.n.choice = CHOICE_TOOL;
	a.n.choice_name = span_of(longest);
	(void)written(&a, "gemini-2.5-flash");
	assert_int_equal(a.made.renamed.count, 3);
	for (size_t i = 1; i < 4; i++) {
		sent = a.n.tool[i].name;
		assert_true(sent.len <= 64);
		assert_true(sent.at[0] == '_' || (sent.at[0] >= 'a' && sent.at[0] <= 'z'));
		for (size_t k = 0; k < sent.len; k++)
			assert_non_null(
				strchr("abcdefghijklmnopqrstuvwxyz0123456789_.:-", sent.at[k]));
	}
	equal(names_back(&a.made.renamed, a.n.tool[1].name), odd);
	equal(names_back(&a.made.renamed, a.n.tool[2].name), longest);
	equal(names_back(&a.made.renamed, SPAN_LIT("fine.name:x-1")), "fine.name:x-1");
	assert_int_equal(a.n.message[0].part[0].name.len, a.n.tool[1].name.len);
	assert_memory_equal(
		a.n.message[0].part[0].name.at, a.n.tool[1].name.at, a.n.tool[1].name.len);
	assert_memory_equal(a.n.choice_name.at, a.n.tool[2].name.at, 64);
	end(&a);
}

static void
tools_of_others_are_refused(void **state)
{
	struct ask a;
	struct neutral_tool *t;

	(void)state;
	begin(&a);
	(void)add(&a, ROLE_USER, PART_TEXT, "\"q\"");
	t = add_tool(&a, "googleSearch");
	t->kind = TOOL_HOSTED;
	t->raw = SPAN_LIT("{\"googleSearch\":{}}");
	a.n.choice = CHOICE_AUTO;
	a.n.parallel = 0;
	assert_string_equal(written(&a, "gemini-2.5-flash"),
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],"
		"\"tools\":[{\"googleSearch\":{}}]}");
	assert_string_equal(lost(&a), "parallel_tool_calls");
	t = add_tool(&a, "web_search");
	t->kind = TOOL_HOSTED;
	assert_int_equal(write_for(&a, "gemini-2.5-flash"), -1);
	assert_int_equal(a.err.code, ERR_UNSUPPORTED);
	assert_string_equal(a.err.field, "tools");
	assert_non_null(strstr(err_public(&a.err), "web_search"));
	end(&a);
}

static void
media_goes_as_data_or_not_at_all(void **state)
{
	const struct {
		struct neutral_part part;
		const char *want; /* a part, or what the refusal says */
	} cases[] = {
		{ { .kind = PART_IMAGE, .data = SPAN_LIT("iVBORw0KGgoAAA") },
			"{\"inlineData\":{\"mimeType\":\"image/"
			"png\",\"data\":\"iVBORw0KGgoAAA\"}}" },
		{ { .kind = PART_AUDIO, .mime = SPAN_LIT("audio/mpeg"), .data = SPAN_LIT("AA") },
			"{\"inlineData\":{\"mimeType\":\"audio/mp3\",\"data\":\"AA\"}}" },
		{ { .kind = PART_VIDEO, .url = SPAN_LIT("https://youtu.be/x") },
			"{\"fileData\":{\"fileUri\":\"https://youtu.be/x\"}}" },
		{ { .kind = PART_DOCUMENT, .text = SPAN_LIT("\"plain\"") },
			"{\"text\":\"plain\"}" },
		{ { .kind = PART_IMAGE, .data = SPAN_LIT("AAAA") }, "media type" },
		{ { .kind = PART_IMAGE, .url = SPAN_LIT("https://example.com/x") }, "data: URL" },
		{ { .kind = PART_DOCUMENT, .file_id = SPAN_LIT("file-123") }, "file's id" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ask a;

		begin(&a);
		*add(&a, ROLE_USER, cases[i].part.kind, NULL) = cases[i].part;
		if (strstr(written(&a, "gemini-2.5-flash"), cases[i].want) == NULL)
			fail_msg("%s: %s", cases[i].want, written(&a, "gemini-2.5-flash"));
		if (cases[i].want[0] != '{')
			assert_int_equal(a.err.code, ERR_UNSUPPORTED);
		end(&a);
	}
}

static void
images_of_results_stand_where_the_model_looks(void **state)
{
	struct ask a;
	struct neutral_part *image;

	(void)state;
	begin(&a);
	add_call(&a, "a", "f", "{}");
	image = neutral_add_result(&a.n, add_result(&a, "a", "\"see\""), PART_IMAGE, &a.err);
	image->mime = SPAN_LIT("image/png");
	image->data = SPAN_LIT("AA");
	assert_non_null(strstr(written(&a, "gemini-2.5-flash"),
		"{\"functionResponse\":{\"name\":\"f\",\"response\":{\"result\":\"see\"}}},"
		"{\"inlineData\":"));
	assert_non_null(strstr(written(&a, "gemini-3-flash"),
		"\"response\":{\"result\":\"see\"},\"parts\":[{\"inlineData\":"));
	end(&a);
}

static void
set(struct ask *a, const char *name, enum json_type type, const char *raw)
{
	neutral_set(&a->n, name, span_of(name), (struct json_value){ type, span_of(raw) });
}

static void
settings_have_geminis_names(void **state)
{
	struct ask a;

	(void)state;
	begin(&a);
	(void)add(&a, ROLE_USER, PART_TEXT, "\"q\"");
	set(&a, "temperature", JSON_NUMBER, "0.0");
	set(&a, "top_p", JSON_NUMBER, "0.5");
	set(&a, "n", JSON_NUMBER, "2");
	set(&a, "seed", JSON_NUMBER, "3");
	set(&a, "logprobs", JSON_TRUE, "true");
	set(&a, "top_logprobs", JSON_NUMBER, "4");
	set(&a, "logit_bias", JSON_OBJECT, "{}");
	set(&a, "user", JSON_STRING, "\"u\"");
	set(&a, "modalities", JSON_ARRAY, "[\"text\",\"audio\"]");
	set(&a, "safety_settings", JSON_ARRAY, "[{}]");
	a.n.max_output = 64;
	for (a.n.stop_count = 0; a.n.stop_count < 6; a.n.stop_count++)
		a.n.stop[a.n.stop_count] = SPAN_LIT("\"s\"");
	a.n.format = OUTPUT_SCHEMA;
	a.n.schema = SPAN_LIT("{\"type\":\"object\"}");
	assert_string_equal(written(&a, "gemini-2.5-flash"),
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],"
		"\"generationConfig\":{"
		"\"temperature\":0.0,\"topP\":0.5,\"responseLogprobs\":true,\"logprobs\":4,"
		"\"candidateCount\":2,\"seed\":3,\"maxOutputTokens\":64,"
		"\"stopSequences\":[\"s\",\"s\",\"s\",\"s\",\"s\"],"
		"\"responseMimeType\":\"application/"
		"json\",\"responseJsonSchema\":{\"type\":\"object\"}},"
		"\"safetySettings\":[{}]}");
	losses_of_fields(&a.lost, &a.n);
	assert_string_equal(lost(&a), "stop, logit_bias, user, modalities");
	end(&a);

	begin(&a);
	add(&a, ROLE_USER, PART_TEXT, "\"q\"")->cache = CACHE_5M;
	set(&a, "seed", JSON_NUMBER, "4294967296");
	set(&a, "modalities", JSON_ARRAY, "[\"text\",\"image\"]");
	assert_string_equal(written(&a, "gemini-2.5-flash-image"),
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]}],"
		"\"generationConfig\":{\"responseModalities\":[\"TEXT\",\"IMAGE\"]}}");
	losses_of_fields(&a.lost, &a.n);
	assert_string_equal(lost(&a), "cache_control, seed");
	end(&a);
}

static void
choices_of_tools_are_told(void **state)
{
	static const struct {
		enum tool_choice choice;
		bool any;
		const char *want;
	} cases[] = {
		{ CHOICE_AUTO, false, "{\"mode\":\"AUTO\"}" },
		{ CHOICE_REQUIRED, false, "{\"mode\":\"ANY\"}" },
		{ CHOICE_NONE, false, "{\"mode\":\"NONE\"}" },
		{ CHOICE_TOOL, false, "{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}" },
		{ CHOICE_ALLOWED, true,
			"{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\",\"g\"]}" },
		{ CHOICE_ALLOWED, false,
			"{\"mode\":\"VALIDATED\",\"allowedFunctionNames\":[\"f\",\"g\"]}" },
	};
	struct span allowed[] = { SPAN_LIT("f"), SPAN_LIT("g") };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ask a;

		begin(&a);
		(void)add(&a, ROLE_USER, PART_TEXT, "\"q\"");
		add_tool(&a, "f")->description = SPAN_LIT("\"\"");
		a.n.choice = cases[i].choice;
		a.n.choice_any = cases[i].any;
		a.n.choice_name = SPAN_LIT("f");
		a.n.allowed = allowed;
		a.n.allowed_count = 2;
		if (strstr(written(&a, "gemini-2.5-flash"), cases[i].want) == NULL)
			fail_msg("%s: %s", cases[i].want, a.body.at);
		assert_non_null(strstr(a.body.at,
			"[{\"name\":\"f\",\"parametersJsonSchema\":{\"type\":\"object\","
			"\"properties\":{}}}]"));
		end(&a);
	}
}

/* What is written is read as it was meant, and written the same again. */
static void
a_request_survives_the_way_round(void **state)
{
	static const char body[] =
		"{\"systemInstruction\":{\"parts\":[{\"text\":\"S\"}]},\"contents\":["
		"{\"role\":\"user\",\"parts\":[{\"text\":\"q "
		"\\u00e9\"},{\"inlineData\":{\"mimeType\":"
		"\"image/png\",\"data\":\"AA==\"}}]},"
		"{\"role\":\"model\",\"parts\":[{\"text\":\"t\",\"thought\":true,"
		"\"thoughtSignature\":\"QQ==\"},"
		"{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\":12345678901234567890}}}]},"
		"{\"role\":\"user\",\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":"
		"{\"x\":[1]}}},{\"text\":\"more\"}]}],"
		"\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\","
		"\"parametersJsonSchema\":{\"type\":\"object\"}}]},{\"codeExecution\":{}}],"
		"\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"AUTO\"}},"
		"\"generationConfig\":{\"temperature\":1,\"topK\":3,\"maxOutputTokens\":9,"
		"\"stopSequences\":[\"x\"],\"responseMimeType\":\"application/json\","
		"\"thinkingConfig\":{\"thinkingBudget\":2000,\"includeThoughts\":true}},"
		"\"safetySettings\":[{\"category\":\"c\"}],\"labels\":{\"a\":\"b\"}}";
	struct ask a;

	(void)state;
	read_well(&a, body);
	assert_string_equal(written(&a, "gemini-2.5-flash"), body);
	assert_string_equal(lost(&a), "");
	end(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_spellings_are_one_request),
		cmocka_unit_test(the_model_comes_in_the_path),
		cmocka_unit_test(results_without_ids_find_their_calls),
		cmocka_unit_test(parts_become_what_they_are),
		cmocka_unit_test(thoughts_and_signatures_are_geminis),
		cmocka_unit_test(tools_are_read_with_json_schemas),
		cmocka_unit_test(reasoning_is_read),
		cmocka_unit_test(schemas_of_answers_are_read),
		cmocka_unit_test(what_cannot_be_read_is_named),
		cmocka_unit_test(what_googles_tools_did_is_told_as_lost),
		cmocka_unit_test(too_many_calls_of_one_turn_are_refused),
		cmocka_unit_test(a_count_has_the_request_within),
		cmocka_unit_test(results_stand_in_the_order_of_the_calls),
		cmocka_unit_test(an_id_used_again_means_the_nearest_call),
		cmocka_unit_test(a_result_without_its_call_is_refused),
		cmocka_unit_test(generation_3_gets_levels_and_signed_calls),
		cmocka_unit_test(reasoning_is_told_as_the_model_takes_it),
		cmocka_unit_test(instructions_alone_are_the_question),
		cmocka_unit_test(names_that_gemini_refuses_come_back),
		cmocka_unit_test(tools_of_others_are_refused),
		cmocka_unit_test(media_goes_as_data_or_not_at_all),
		cmocka_unit_test(images_of_results_stand_where_the_model_looks),
		cmocka_unit_test(settings_have_geminis_names),
		cmocka_unit_test(choices_of_tools_are_told),
		cmocka_unit_test(a_request_survives_the_way_round),
	};

	return cmocka_run_group_tests_name("wire/gemini", tests, NULL, NULL);
}
