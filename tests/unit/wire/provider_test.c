/*
 * provider_test.c - where at a provider a request goes, whatever its base URL brings along.
 */
#include "wire/provider.h"

#include "wire/skim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct provider *
named(const char *name)
{
	const struct provider *p;

	for (int i = 0; (p = provider_at(i)) != NULL; i++)
		if (strcmp(p->name, name) == 0)
			return p;
	fail_msg("no provider %s", name);
	return NULL;
}

static void
addresses_are_those_of_the_protocol(void **state)
{
	static const struct {
		const char *provider, *base, *format, *path, *model;
		bool stream, array;
		const char *query, *want;
	} cases[] = {
		{ "openai", "http://h", "openai-chat", "", "m", true, false, "",
			"http://h/v1/chat/completions" },
		{ "openai", "http://h/x/v1/", "openai-responses", "", "m", true, false, "",
			"http://h/x/v1/responses" },
		{ "openai", "http://h", "", "/embeddings", "m", false, false, "a=b",
			"http://h/v1/embeddings?a=b" },
		{ "openrouter", "http://h", "anthropic", "", "m", false, false, "",
			"http://h/api/v1/messages" },
		{ "anthropic", "http://h", "anthropic", "", "m", true, false, "beta=true",
			"http://h/v1/messages?beta=true" },
		{ "gemini", "http://h", "gemini", "", "m", false, false, "",
			"http://h/v1beta/models/m:generateContent" },
		{ "gemini", "http://h", "gemini", "", "models/m", true, false, "a=b",
			"http://h/v1beta/models/m:streamGenerateContent?alt=sse&a=b" },
		{ "gemini", "http://h", "gemini", "", "tunedModels/t", true, true, "",
			"http://h/v1beta/tunedModels/t:streamGenerateContent" },
		{ "gemini", "http://h", "", "/upload/v1beta/files", "", false, false, "u=1",
			"http://h/upload/v1beta/files?u=1" },
		{ "gemini", "http://h/v1beta", "", "/upload/v1beta/files", "", false, false, "",
			"http://h/upload/v1beta/files" },
		{ "gemini", "http://h/g/v1/", "", "/upload/v1beta/files", "", false, false, "",
			"http://h/g/upload/v1beta/files" },
		{ "openai", "http://h", "", "/upload/x", "", false, false, "",
			"http://h/v1/upload/x" },
		{ "bedrock", "http://h", "converse", "", "a.b-v1:0", true, false, "",
			"http://h/model/a.b-v1%3A0/converse-stream" },
		{ "bedrock", "http://h", "bedrock-invoke", "", "arn:aws/x", false, false, "",
			"http://h/model/arn%3Aaws%2Fx/invoke" },
		{ "sap_invoke", "http://h/v2/d", "sap-invoke", "", "m", true, false, "",
			"http://h/v2/d/invoke-with-response-stream" },
		{ "azure", "http://h", "azure", "", "d 1", false, false, "",
			"http://h/openai/deployments/d%201/chat/"
			"completions?api-version=2024-10-21" },
		{ "azure", "http://h?api-version=2025-01-01", "azure", "", "d", false, false, "",
			"http://h/openai/deployments/d/chat/completions?api-version=2025-01-01" },
		{ "azure", "http://h", "", "/embeddings", "d", false, false,
			"api-version=2023-05-15",
			"http://h/openai/deployments/d/embeddings?api-version=2023-05-15" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct provider_call call = {
			.format = cases[i].format[0] == '\0' ? NULL : format_named(cases[i].format),
			.path = span_of(cases[i].path),
			.model = span_of(cases[i].model),
			.stream = cases[i].stream,
			.array = cases[i].array,
			.query = span_of(cases[i].query),
		};
		struct bytes out = BYTES_LIMIT(4096);

		assert_int_equal(
			provider_url(named(cases[i].provider), cases[i].base, &call, &out), 0);
		(void)bytes_add(&out, "", 1);
		assert_string_equal(out.at, cases[i].want);
		bytes_free(&out);
	}
}

static void
what_is_to_be_counted_stands_deeper(void **state)
{
	static const struct {
		const char *format, *body, *want, *want_format;
	} cases[] = {
		{ "anthropic", "{\"messages\":[]}", "{\"messages\":[]}", "anthropic" },
		{ "gemini", "{\"contents\":[]}", "{\"contents\":[]}", "gemini" },
		{ "gemini", "{\"generateContentRequest\": {\"a\":1} }", "{\"a\":1}", "gemini" },
		{ "gemini", "{\"generate_content_request\":{\"a\":1}}", "{\"a\":1}", "gemini" },
		{ "gemini", "{\"generateContentRequest\":5}", "{\"generateContentRequest\":5}",
			"gemini" },
		{ "converse", "{\"input\":{\"converse\":{\"a\":1}}}", "{\"a\":1}", "converse" },
		{ "converse", "{\"input\":{\"invokeModel\":{\"body\":\"eyJhIjoxfQ==\"}}}",
			"{\"a\":1}", "bedrock-invoke" },
		{ "converse", "{\"input\":5}", "{\"input\":5}", "converse" },
		{ "converse", "no JSON", "no JSON", "converse" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct format *f = format_named(cases[i].format);
		struct arena *a = arena_new(4096);
		struct span got = skim_counted(a, &f, span_of(cases[i].body));

		if (!span_is(got, cases[i].want) || strcmp(f->name, cases[i].want_format) != 0)
			fail_msg("%s: %.*s, %s", cases[i].body, (int)got.len, got.at, f->name);
		arena_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_those_of_the_protocol),
		cmocka_unit_test(what_is_to_be_counted_stands_deeper),
	};

	return cmocka_run_group_tests_name("wire/provider", tests, NULL, NULL);
}
