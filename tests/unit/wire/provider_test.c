/*
 * provider_test.c - where a request goes, at every kind of provider.
 */
#include "wire/provider.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct provider *
provider_named(const char *name)
{
	const struct provider *p;

	for (int i = 0; (p = provider_at(i)) != NULL; i++)
		if (strcmp(p->name, name) == 0)
			return p;
	fail_msg("there is no provider %s", name);
	return NULL;
}

static void
an_address_is_that_of_the_provider_s_own_paths(void **state)
{
	static const struct {
		const char *provider, *base, *from, *path, *model;
		bool stream, array;
		const char *query, *want;
	} cases[] = {
		{ "openai", "https://api.openai.com", "openai-chat", "", "gpt-5", false, false, "",
			"https://api.openai.com/v1/chat/completions" },
		{ "openai", "https://api.openai.com/v1/", "openai-responses", "", "gpt-5", true,
			false, "a=b", "https://api.openai.com/v1/responses?a=b" },
		{ "openai", "http://h/x", NULL, "/embeddings", "m", false, false, "",
			"http://h/x/embeddings" },
		{ "openai_chat", "https://h", "openai-responses", "", "m", false, false, "",
			"https://h/v1/chat/completions" },
		{ "anthropic", "https://api.anthropic.com", "openai-chat", "", "claude", true,
			false, "", "https://api.anthropic.com/v1/messages" },
		{ "anthropic", "https://api.anthropic.com", "anthropic", "", "claude", true, false,
			"beta=true", "https://api.anthropic.com/v1/messages?beta=true" },
		{ "gemini", "https://g", "openai-chat", "", "gemini-2.5-flash", false, false, "",
			"https://g/v1beta/models/gemini-2.5-flash:generateContent" },
		{ "gemini", "https://g", "gemini", "", "models/m", true, false, "x=1",
			"https://g/v1beta/models/m:streamGenerateContent?alt=sse&x=1" },
		{ "gemini", "https://g/v1beta", "gemini", "", "tunedModels/a b", true, true, "",
			"https://g/v1beta/tunedModels/a%20b:streamGenerateContent" },
		{ "gemini", "https://g/v1beta", NULL, "/upload/v1beta/files", "", false, false,
			"u=1", "https://g/upload/v1beta/files?u=1" },
		{ "vertex", "https://h/v1/projects/p/locations/l", "anthropic", "", "gemini-3-pro",
			false, false, "",
			"https://h/v1/projects/p/locations/l/publishers/google/models/"
			"gemini-3-pro:generateContent" },
		{ "bedrock", "https://b", "openai-chat", "", "anthropic.claude-v1:0", false, false,
			"", "https://b/model/anthropic.claude-v1%3A0/converse" },
		{ "bedrock", "https://b", "bedrock-invoke", "", "a/b", true, false, "",
			"https://b/model/a%2Fb/invoke-with-response-stream" },
		{ "bedrock_invoke", "https://b", "anthropic", "", "m", true, false, "",
			"https://b/model/m/invoke-with-response-stream" },
		{ "bedrock_invoke", "https://b", "converse", "", "m", true, false, "",
			"https://b/model/m/converse-stream" },
		{ "sap_converse", "https://s/v2/inference/deployments/d1", "openai-chat", "", "m",
			true, false, "", "https://s/v2/inference/deployments/d1/converse-stream" },
		{ "sap_invoke", "https://s/d", "anthropic", "", "m", false, false, "",
			"https://s/d/invoke" },
		{ "sap_openai", "https://s/d", "openai-chat", "", "m", false, false, "",
			"https://s/d/chat/completions" },
		{ "sap_gemini", "https://s/d", "openai-chat", "", "m", false, false, "",
			"https://s/d/models/m:generateContent" },
		{ "azure", "https://r.openai.azure.com", "anthropic", "", "dep", false, false, "",
			"https://r.openai.azure.com/openai/deployments/dep/chat/completions"
			"?api-version=2024-10-21" },
		{ "azure", "https://r?api-version=2025-01-01", NULL, "/embeddings", "dep", false,
			false, "",
			"https://r/openai/deployments/dep/embeddings?api-version=2025-01-01" },
		{ "azure", "https://r", NULL, "/files", "", false, false, "api-version=x",
			"https://r/openai/files?api-version=x" },
		{ "azure", "https://r/openai/v1", "openai-chat", "", "dep", false, false, "",
			"https://r/openai/v1/chat/completions" },
		{ "openrouter", "https://openrouter.ai", "openai-chat", "", "a/b", false, false, "",
			"https://openrouter.ai/api/v1/chat/completions" },
		{ "http", "https://h/api", NULL, "/things", "", false, false, "q=1",
			"https://h/api/things?q=1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct provider *p = provider_named(cases[i].provider);
		struct provider_call call = { .path = span_of(cases[i].path),
			.model = span_of(cases[i].model),
			.stream = cases[i].stream,
			.array = cases[i].array,
			.query = span_of(cases[i].query) };
		struct bytes url = BYTES_LIMIT(4096);

		if (cases[i].from != NULL)
			call.format = provider_format(p, format_named(cases[i].from));
		assert_int_equal(provider_url(p, cases[i].base, &call, &url), 0);
		if (strcmp(url.at, cases[i].want) != 0)
			fail_msg("%s: %s, not %s", cases[i].provider, url.at, cases[i].want);
		bytes_free(&url);
	}
}

static void
an_address_too_long_is_told(void **state)
{
	struct provider_call call = { .path = SPAN_LIT("/embeddings") };
	struct bytes url = BYTES_LIMIT(10);

	(void)state;
	assert_int_equal(provider_url(provider_named("openai"), "https://h", &call, &url), -1);
	bytes_free(&url);
}

static void
who_has_the_model_in_its_body(void **state)
{
	(void)state;
	assert_true(provider_model_in_body(
		provider_named("openai"), format_of(FORMAT_OPENAI_RESPONSES)));
	assert_true(
		provider_model_in_body(provider_named("anthropic"), format_of(FORMAT_ANTHROPIC)));
	assert_false(provider_model_in_body(provider_named("gemini"), format_of(FORMAT_GEMINI)));
	assert_false(provider_model_in_body(provider_named("bedrock"), format_of(FORMAT_CONVERSE)));
	assert_false(provider_model_in_body(provider_named("azure"), format_of(FORMAT_AZURE)));
}

static void
numbers_beyond_the_table_are_none(void **state)
{
	(void)state;
	assert_null(provider_at(-1));
	assert_null(provider_at(14));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_that_of_the_provider_s_own_paths),
		cmocka_unit_test(an_address_too_long_is_told),
		cmocka_unit_test(who_has_the_model_in_its_body),
		cmocka_unit_test(numbers_beyond_the_table_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
