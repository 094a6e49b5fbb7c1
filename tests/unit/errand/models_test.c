/*
 * models_test.c - what is taken from the lists of each provider, and nothing from hostile ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "errand/errand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct upstream
of(int protocol, const char *base_url)
{
	struct upstream u;

	record_init(RECORD_UPSTREAM, &u);
	u.protocol = protocol;
	(void)snprintf(u.base_url, sizeof u.base_url, "%s", base_url);
	return u;
}

static void
addresses(void **state)
{
	static const struct {
		int protocol;
		const char *base, *page, *url;
	} rows[] = {
		{ PROTOCOL_OPENAI, "https://api.openai.com", "",
			"https://api.openai.com/v1/models" },
		{ PROTOCOL_OPENAI_CHAT, "http://h:1/x/v1/", "", "http://h:1/x/v1/models" },
		{ PROTOCOL_OPENROUTER, "https://openrouter.ai", "",
			"https://openrouter.ai/api/v1/models" },
		{ PROTOCOL_ANTHROPIC, "https://api.anthropic.com", "a b&c",
			"https://api.anthropic.com/v1/models?limit=1000&after_id=a%20b%26c" },
		{ PROTOCOL_GEMINI, "https://g.example/v1beta", "t",
			"https://g.example/v1beta/models?pageSize=1000&pageToken=t" },
		{ PROTOCOL_VERTEX,
			"https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu", "",
			"https://eu-aiplatform.googleapis.com/v1beta1/publishers/google/models"
			"?pageSize=100" },
		{ PROTOCOL_AZURE, "https://r.openai.azure.com?api-version=2024-10-21", "",
			"https://r.openai.azure.com/openai/deployments?api-version="
			"2023-03-15-preview" },
		{ PROTOCOL_AZURE, "https://r.openai.azure.com/openai/v1", "",
			"https://r.openai.azure.com/openai/v1/models" },
		{ PROTOCOL_BEDROCK, "https://bedrock-runtime.eu-west-1.amazonaws.com", "",
			"https://bedrock.eu-west-1.amazonaws.com/foundation-models" },
		{ PROTOCOL_BEDROCK, "http://127.0.0.1:9", "",
			"http://127.0.0.1:9/foundation-models" },
		{ PROTOCOL_SAP_OPENAI, "https://api.ai.example/v2/inference/deployments/d1", "",
			"https://api.ai.example/v2/lm/deployments?status=RUNNING" },
		{ PROTOCOL_SAP_CONVERSE, "https://api.ai.example/v2", "",
			"https://api.ai.example/v2/lm/deployments?status=RUNNING" },
	};
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct upstream u = of(rows[i].protocol, rows[i].base);
		struct bytes url = BYTES_LIMIT(4096);

		assert_int_equal(models_url(&u, span_of(rows[i].page), &url, &err), 0);
		assert_string_equal(url.at, rows[i].url);
		bytes_free(&url);
	}
	{
		struct upstream u = of(PROTOCOL_HTTP, "https://h");
		struct bytes url = BYTES_LIMIT(4096);

		assert_int_equal(models_url(&u, SPAN_NONE, &url, &err), -1);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
	}
}

static void
lists(void **state)
{
	static const struct {
		int protocol;
		const char *base, *body, *text, *next;
	} rows[] = {
		{ PROTOCOL_OPENAI, "https://h",
			"{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o\",\"object\":\"model\"},"
			"{\"id\":\"o3\",\"context_window\":200000}]}",
			"0 - - gpt-4o\n200000 - - o3\n", "" },
		{ PROTOCOL_OPENAI, "https://h", " [{\"id\":\"alone\"}]", "0 - - alone\n", "" },
		{ PROTOCOL_OPENROUTER, "https://h",
			"{\"data\":["
			"{\"id\":\"a/b:free\",\"context_length\":8192,\"architecture\":{"
			"\"modality\":\"text+image->text\"},\"pricing\":{\"prompt\":\"1\"}},"
			"{\"id\":\"zero\",\"pricing\":{\"prompt\":\"0\",\"completion\":\"0.0\","
			"\"request\":\"0\",\"image\":0}},"
			"{\"id\":\"asks\",\"pricing\":{\"prompt\":\"0\",\"completion\":\"0\","
			"\"request\":\"0.01\"}},"
			"{\"id\":\"unsaid\",\"pricing\":{}}]}",
			"8192 f text+image->text a/b:free\n0 f - zero\n0 - - asks\n0 - - unsaid\n",
			"" },
		{ PROTOCOL_ANTHROPIC, "https://h",
			"{\"data\":[{\"type\":\"model\",\"id\":\"claude-x\"}],\"has_more\":true,"
			"\"last_id\":\"claude-x\"}",
			"0 - - claude-x\n", "claude-x" },
		{ PROTOCOL_ANTHROPIC, "https://h",
			"{\"data\":[],\"has_more\":false,\"last_id\":\"claude-x\"}", "", "" },
		{ PROTOCOL_GEMINI, "https://h",
			"{\"models\":[{\"name\":\"models/gemini-2.5-pro\",\"inputTokenLimit\":"
			"1048576}],\"nextPageToken\":\"tok\"}",
			"1048576 - - gemini-2.5-pro\n", "tok" },
		{ PROTOCOL_VERTEX, "https://h",
			"{\"publisherModels\":[{\"name\":\"publishers/google/models/gemini-x\"}]}",
			"0 - - gemini-x\n", "" },
		{ PROTOCOL_AZURE, "https://h",
			"{\"data\":[{\"id\":\"mine\",\"model\":\"gpt-4o\",\"status\":\"succeeded\"}"
			","
			"{\"id\":\"not-yet\",\"status\":\"running\"}]}",
			"0 - - mine\n", "" },
		{ PROTOCOL_BEDROCK, "https://h",
			"{\"modelSummaries\":[{\"modelId\":\"anthropic.claude-v1:0\"}]}",
			"0 - - anthropic.claude-v1:0\n", "" },
		{ PROTOCOL_SAP_OPENAI, "https://h/v2/inference/deployments/d2",
			"{\"resources\":[{\"id\":\"d1\",\"status\":\"RUNNING\",\"details\":{"
			"\"resources\":{\"backend_details\":{\"model\":{\"name\":\"gpt-4.1\"}}}}},"
			"{\"id\":\"d2\",\"status\":\"RUNNING\",\"details\":{\"resources\":{"
			"\"backendDetails\":{\"model\":{\"name\":\"gpt-5\"}}}}}]}",
			"0 - - gpt-5\n", "" },
		{ PROTOCOL_SAP_OPENAI, "https://h/v2",
			"{\"resources\":[{\"id\":\"d1\",\"status\":\"STOPPED\",\"details\":{"
			"\"resources\":{\"backend_details\":{\"model\":{\"name\":\"old\"}}}}},"
			"{\"id\":\"d2\",\"details\":{}},"
			"{\"id\":\"d3\",\"status\":\"RUNNING\",\"details\":{\"resources\":{"
			"\"backend_details\":{\"model\":{\"name\":\"gpt-4.1\"}}}}}]}",
			"0 - - gpt-4.1\n", "" },
		/* what is no model is passed over */
		{ PROTOCOL_OPENAI, "https://h",
			"{\"data\":[1,null,[],\"x\",{},{\"id\":7},{\"id\":\"\"},{\"id\":\"a\\nb\"},"
			"{\"id\":\"a\\u0000b\"},{\"id\":\"good\",\"context_length\":-1,"
			"\"architecture\":{\"modality\":\"a b\"}}]}",
			"0 - - good\n", "" },
	};
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct upstream u = of(rows[i].protocol, rows[i].base);
		struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX);
		struct models_page page = { 0 };

		if (models_read(&u, span_of(rows[i].body), &page, &text, &err) != 0)
			fail_msg("row %zu: %s", i, err.text);
		assert_string_equal(text.at == NULL ? "" : text.at, rows[i].text);
		assert_string_equal(page.next, rows[i].next);
		bytes_free(&text);
	}
}

static void
what_is_no_list_is_refused(void **state)
{
	static const char *const bodies[] = { "", "null", "<html>", "{}", "{\"data\":{}}",
		"{\"data\":[{\"id\":\"a\"}", "[{\"id\":\"a\"},]", "{\"data\":[]}x", "\"data\"" };
	struct upstream u = of(PROTOCOL_OPENAI, "https://h");

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		struct bytes text = BYTES_LIMIT(MODELS_TEXT_MAX);
		struct models_page page = { 0 };
		struct err err = { 0 };

		assert_int_equal(models_read(&u, span_of(bodies[i]), &page, &text, &err), -1);
		assert_int_equal(err.code, ERR_UPSTREAM_UNREACHABLE);
		bytes_free(&text);
	}
}

/* 6,000 names, some far too long: 5,000 stay, and fit the room there is for them. */
static void
a_list_has_a_ceiling(void **state)
{
	struct upstream u = of(PROTOCOL_OPENAI, "https://h");
	struct bytes body = BYTES_LIMIT(16 << 20), text = BYTES_LIMIT(MODELS_TEXT_MAX);
	struct models_page page = { 0 };
	struct span rest;
	struct model_line line;
	struct err err = { 0 };
	size_t count = 0;

	(void)state;
	(void)bytes_puts(&body, "{\"data\":[");
	for (int i = 0; i < 6000; i++)
		(void)bytes_printf(&body,
			"{\"id\":\"%0200d\"},{\"id\":\"%0127d\",\"context_length\":999999999999,"
			"\"architecture\":{\"modality\":\"%047d\"}}%s",
			i, i, i, i < 5999 ? "," : "]}");
	assert_false(body.failed);
	assert_int_equal(models_read(&u, bytes_span(&body), &page, &text, &err), 0);
	assert_int_equal(page.count, MODELS_MAX);
	assert_true(page.is_cut);
	assert_true(text.len <= MODELS_TEXT_MAX);
	rest = bytes_span(&text);
	while (models_next(&rest, &line))
		count++;
	assert_int_equal(count, MODELS_MAX);
	bytes_free(&body);
	bytes_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(lists),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(a_list_has_a_ceiling),
	};

	return cmocka_run_group_tests_name("errand/models", tests, NULL, NULL);
}
