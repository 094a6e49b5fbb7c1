/* endpoint_test.c - nothing is reachable that is not in the table, from whatever mount. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/endpoint.h"
#include <stdio.h>
#include <string.h>

/* The path at the provider, of both pieces together; of our own endpoints the rest alone. */
static bool
leads_to(const struct endpoint_match *m, const char *to, const char *rest)
{
	const char *own = m->endpoint->provider_path;
	char want[128], got[128];

	if ((own == NULL) != (to == NULL))
		return false;
	(void)snprintf(want, sizeof want, "%s%s", to == NULL ? "" : to, rest);
	(void)snprintf(got, sizeof got, "%s%.*s", own == NULL ? "" : own, (int)m->rest.len,
		m->rest.at == NULL ? "" : m->rest.at);
	return strcmp(want, got) == 0;
}

/* What a path says of model, format and stream. */
static void
a_path_names_model_and_format(void **state)
{
	static const struct {
		const char *method, *path;
		enum endpoint_kind kind;
		const char *format, *model, *action; /* format NULL: no conversation */
		bool stream;
	} cases[] = {
		{ "POST", "/v1/messages", ENDPOINT_FORWARD, "anthropic", "", "", false },
		{ "POST", "/v1/messages/count_tokens", ENDPOINT_COUNT, "anthropic", "", "", false },
		{ "GET", "/v1/messages/batches", ENDPOINT_FORWARD, NULL, "", "", false },
		{ "POST", "/x/v1/responses", ENDPOINT_FORWARD, "openai-responses", "", "", false },
		{ "POST", "/v1beta/models/gemini-2.5-flash:generateContent", ENDPOINT_FORWARD,
			"gemini", "gemini-2.5-flash", "generateContent", false },
		{ "POST", "/v1beta/models/gemini-2.5-flash%3AstreamGenerateContent",
			ENDPOINT_FORWARD, "gemini", "gemini-2.5-flash", "streamGenerateContent",
			true },
		{ "POST", "/v1/models/m:generateContent", ENDPOINT_FORWARD, "gemini", "m",
			"generateContent", false },
		{ "POST", "/v1beta/models/m:countTokens", ENDPOINT_COUNT, "gemini", "m",
			"countTokens", false },
		{ "POST", "/v1beta/models/m:embedContent", ENDPOINT_FORWARD, NULL, "m",
			"embedContent", false },
		{ "POST", "/model/a.b-v1%3A0/converse-stream", ENDPOINT_FORWARD, "converse",
			"a.b-v1%3A0", "converse-stream", true },
		{ "POST", "/g/model/arn%3Aaws%2Fx/invoke", ENDPOINT_FORWARD, "bedrock-invoke",
			"arn%3Aaws%2Fx", "invoke", false },
		{ "POST", "/model/m/count-tokens", ENDPOINT_COUNT, "converse", "m", "count-tokens",
			false },
		{ "POST", "/openai/deployments/d/chat/completions", ENDPOINT_FORWARD, "openai-chat",
			"d", "chat/completions", false },
		{ "POST", "/openai/deployments/d/embeddings", ENDPOINT_FORWARD, NULL, "d",
			"embeddings", false },
		{ "POST", "/api/event_logging/batch", ENDPOINT_SINK, NULL, "", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct format *want =
			cases[i].format == NULL ? NULL : format_named(cases[i].format);
		struct endpoint_match m = { 0 };

		if (endpoint_find(cases[i].method, span_of(cases[i].path), "", &m) != 200 ||
			m.kind != cases[i].kind || m.format != want ||
			!span_is(m.model, cases[i].model) || !span_is(m.action, cases[i].action) ||
			m.stream != cases[i].stream)
			fail_msg("%s: kind %d, model '%.*s', action '%.*s'", cases[i].path, m.kind,
				(int)m.model.len, m.model.at, (int)m.action.len, m.action.at);
	}
}

static void
a_path_finds_its_endpoint_behind_any_mount(void **state)
{
	static const struct {
		const char *why, *method, *path;
		int status;
		enum endpoint_kind kind;
		const char *mount, *rest, *to; /* to: the provider's, without the rest */
	} cases[] = {
		{ "at the root", "POST", "/v1/chat/completions", 200, ENDPOINT_FORWARD, "",
			"chat/completions", "/" },
		{ "below a folder", "POST", "/ai/v1/chat/completions", 200, ENDPOINT_FORWARD, "/ai",
			"chat/completions", "/" },
		{ "below many", "POST", "/a/b.fcgi/c/v1/embeddings", 200, ENDPOINT_FORWARD,
			"/a/b.fcgi/c", "embeddings", "/" },
		{ "a path nobody knows passes through", "PATCH", "/v1/new/thing", 200,
			ENDPOINT_FORWARD, "", "new/thing", "/" },
		{ "the leftmost fit decides", "POST", "/v1/x/v1/chat/completions", 200,
			ENDPOINT_FORWARD, "", "x/v1/chat/completions", "/" },
		{ "a mount called like an endpoint", "GET", "/health/v1/models", 200,
			ENDPOINT_MODELS, "/health", "", NULL },
		{ "our list of models", "GET", "/v1/models", 200, ENDPOINT_MODELS, "", "", NULL },
		{ "and its head", "HEAD", "/x/v1/models", 200, ENDPOINT_MODELS, "/x", "", NULL },
		{ "one of them, its name with slashes", "GET", "/v1/models/a/b:c", 200,
			ENDPOINT_MODEL, "", "a/b:c", NULL },
		{ "a model is removed at the provider", "DELETE", "/v1/models/ft:a", 200,
			ENDPOINT_FORWARD, "", "models/ft:a", "/" },
		{ "an upload", "POST", "/v1/files", 200, ENDPOINT_FORWARD, "", "", "/files" },
		{ "and what is below it", "GET", "/v1/files/f-1/content", 200, ENDPOINT_FORWARD, "",
			"f-1/content", "/files/" },
		{ "no upload that only begins like one", "GET", "/v1/filesystem", 200,
			ENDPOINT_FORWARD, "", "filesystem", "/" },
		{ "OpenRouter's form", "POST", "/api/v1/chat/completions", 200, ENDPOINT_FORWARD,
			"", "chat/completions", "/" },
		{ "its models", "GET", "/x/api/v1/models", 200, ENDPOINT_MODELS, "/x", "", NULL },
		{ "what it tells of a key", "GET", "/api/v1/key", 200, ENDPOINT_KEY, "", "", NULL },
		{ "at its old address too", "GET", "/api/v1/auth/key", 200, ENDPOINT_KEY, "", "",
			NULL },
		{ "keys of a token are itself", "GET", "/api/v1/keys", 200, ENDPOINT_KEYS, "", "",
			NULL },
		{ "others are made at the provider", "POST", "/api/v1/keys", 200, ENDPOINT_FORWARD,
			"", "keys", "/" },
		{ "credits", "GET", "/x/api/v1/credits", 200, ENDPOINT_CREDITS, "/x", "", NULL },
		{ "providers", "GET", "/api/v1/providers", 200, ENDPOINT_PROVIDERS, "", "", NULL },
		{ "how many models", "GET", "/api/v1/models/count", 200, ENDPOINT_MODEL_COUNT, "",
			"", NULL },
		{ "a user's models", "GET", "/api/v1/models/user", 200, ENDPOINT_MODELS, "", "",
			NULL },
		{ "one of them", "GET", "/api/v1/models/lab/m", 200, ENDPOINT_MODEL, "", "lab/m",
			NULL },
		{ "who serves it", "GET", "/api/v1/models/lab/m/endpoints", 200, ENDPOINT_PLACES,
			"", "lab/m/endpoints", NULL },
		{ "a model of that name", "GET", "/api/v1/models/endpoints", 200, ENDPOINT_MODEL,
			"", "endpoints", NULL },
		{ "below the proxy prefix", "POST", "/proxy/v1/chat/completions", 200,
			ENDPOINT_FORWARD, "", "chat/completions", "/" },
		{ "and a mount", "POST", "/ai/proxy/v1/responses", 200, ENDPOINT_FORWARD, "/ai",
			"responses", "/" },
		{ "the names of upstreams", "GET", "/ai/proxy/v1/upstreams", 200,
			ENDPOINT_UPSTREAMS, "/ai", "", NULL },
		{ "without the prefix that is the provider's", "GET", "/v1/upstreams", 200,
			ENDPOINT_FORWARD, "", "upstreams", "/" },
		{ "a longer word is not the prefix", "GET", "/proxyx/v1/upstreams", 200,
			ENDPOINT_FORWARD, "/proxyx", "upstreams", "/" },
		{ "health", "GET", "/health", 200, ENDPOINT_HEALTH, "", "", NULL },
		{ "health by another name", "HEAD", "/x/api/health", 200, ENDPOINT_HEALTH, "/x", "",
			NULL },
		{ "ready", "GET", "/ready", 200, ENDPOINT_HEALTH, "", "", NULL },
		{ "live", "GET", "/x/live", 200, ENDPOINT_HEALTH, "/x", "", NULL },
		{ "health takes no POST", "POST", "/x/health", 405, ENDPOINT_HEALTH, "/x", "",
			NULL },
		{ "a method that is a part of one", "ET", "/health", 405, ENDPOINT_HEALTH, "", "",
			NULL },
		{ "one that one is a part of", "GETS", "/health", 405, ENDPOINT_HEALTH, "", "",
			NULL },
		{ "methods are in capitals", "get", "/health", 405, ENDPOINT_HEALTH, "", "", NULL },
		{ "no method at all", "", "/health", 405, ENDPOINT_HEALTH, "", "", NULL },
		{ "nothing behind the version", "GET", "/v1/", 404, 0, NULL, NULL, NULL },
		{ "nor the slash", "GET", "/v1", 404, 0, NULL, NULL, NULL },
		{ "another version", "GET", "/v2/models", 404, 0, NULL, NULL, NULL },
		{ "within a segment", "GET", "/xv1/models", 404, 0, NULL, NULL, NULL },
		{ "in capitals", "GET", "/V1/models", 404, 0, NULL, NULL, NULL },
		{ "health has nothing below it", "GET", "/health/x", 404, 0, NULL, NULL, NULL },
		{ "the root", "GET", "/", 404, 0, NULL, NULL, NULL },
		{ "nothing", "GET", "", 404, 0, NULL, NULL, NULL },
		{ "no path", "GET", "*", 404, 0, NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct endpoint_match m = { 0 };
		int status = endpoint_find(cases[i].method, span_of(cases[i].path), "/proxy", &m);

		if (status != cases[i].status)
			fail_msg("%s: status %d", cases[i].why, status);
		if (status == 404)
			continue;
		if (m.kind != cases[i].kind || !span_is(m.mount, cases[i].mount) ||
			!leads_to(&m, cases[i].to, cases[i].rest))
			fail_msg("%s: kind %d, mount '%.*s', to '%s', rest '%.*s'", cases[i].why,
				m.kind, (int)m.mount.len, m.mount.at,
				m.endpoint->provider_path == NULL ? "" : m.endpoint->provider_path,
				(int)m.rest.len, m.rest.at);
	}
}

static void
the_path_starts_at_the_endpoint_without_mount_and_prefix(void **state)
{
	struct endpoint_match m;

	(void)state;
	assert_int_equal(
		endpoint_find("POST", span_of("/ai/proxy/v1/responses"), "/proxy", &m), 200);
	assert_true(span_is(m.path, "/v1/responses"));
	assert_true(m.endpoint->by_prefix);
	assert_int_equal(endpoint_find("POST", span_of("/ai/v1/responses"), "/proxy", &m), 200);
	assert_true(span_is(m.path, "/v1/responses"));
	assert_false(m.endpoint->by_prefix);
}

static void
the_prefix_can_be_long_or_none(void **state)
{
	struct endpoint_match m;

	(void)state;
	assert_int_equal(endpoint_find("GET", span_of("/x/a/b/v1/upstreams"), "/a/b", &m), 200);
	assert_int_equal(m.kind, ENDPOINT_UPSTREAMS);
	assert_true(span_is(m.mount, "/x"));
	/* switched off: the same path is the provider's, mounted there */
	assert_int_equal(endpoint_find("GET", span_of("/proxy/v1/upstreams"), "", &m), 200);
	assert_int_equal(m.kind, ENDPOINT_FORWARD);
	assert_true(span_is(m.mount, "/proxy"));
}

static void
uploads_are_those_that_carry_files(void **state)
{
	static const struct {
		const char *path;
		bool upload;
	} cases[] = {
		{ "/v1/files", true },
		{ "/v1/uploads/u/parts", true },
		{ "/v1/audio/transcriptions", true },
		{ "/v1/images/edits", true },
		{ "/v1/chat/completions", false },
		{ "/v1/embeddings", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct endpoint_match m;

		assert_int_equal(endpoint_find("POST", span_of(cases[i].path), "/proxy", &m), 200);
		if (m.endpoint->upload != cases[i].upload)
			fail_msg("%s", cases[i].path);
	}
}

static void
a_path_that_could_climb_is_not_clean(void **state)
{
	static const struct {
		const char *path;
		bool clean;
	} cases[] = {
		{ "/v1/chat/completions", true },
		{ "", true },
		{ "/", true },
		{ "/v1//x", true },
		{ "/v1/...", true },
		{ "/v1/..x/x../.x/x.", true },
		{ "/v1/models/gpt-4.1", true },
		{ "/v1/models/meta%2Fllama-3.1", true }, /* SDKs send names with slashes so */
		{ "/v1/a%20b/%2efoo", true },
		{ "/v1/%", true },
		{ "/v1/%2", true },
		{ "/v1/..", false },
		{ "/v1/../x", false },
		{ "..", false },
		{ ".", false },
		{ "/v1/./x", false },
		{ "/v1/%2e%2e/x", false },
		{ "/v1/%2E%2e/x", false },
		{ "/v1/.%2E/x", false },
		{ "/v1/%2e./x", false },
		{ "/v1/%2e", false },
		{ "/v1/x\\y", false },
		{ "/v1/..\\..\\y", false },
		{ "/v1/..%2fadmin", false }, /* a server that decodes before it climbs */
		{ "/v1/x%2F..%2Fadmin", false },
		{ "/v1/x%2f%2e%2e", false },
		{ "/v1/x%5c..", false },
		{ "/v1/x%5Cy", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (endpoint_path_is_clean(span_of(cases[i].path)) != cases[i].clean)
			fail_msg("%s: should be %s", cases[i].path,
				cases[i].clean ? "clean" : "refused");
}

static void
openai_calls_it_the_same_wherever_it_stands(void **state)
{
	static const struct {
		const char *path, *plain;
	} cases[] = {
		{ "/v1/embeddings", "/v1/embeddings" },
		{ "/x/openai/v1/embeddings", "/v1/embeddings" },
		{ "/api/v1/completions", "/v1/completions" },
		{ "/proxy/v1/chat/completions", "/v1/chat/completions" },
		{ "/openai/deployments/d/chat/completions", "/v1/chat/completions" },
		{ "/openai/deployments/d/images/generations", "/v1/images/generations" },
		{ "/v1/messages", "/v1/messages" },
		{ "/x/v1beta/models/m:embedContent", "/v1beta/models/m:embedContent" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct endpoint_match m = { 0 };
		char plain[64];

		assert_int_equal(endpoint_find("POST", span_of(cases[i].path), "/proxy", &m), 200);
		endpoint_plain_path(&m, plain, sizeof plain);
		assert_string_equal(plain, cases[i].plain);
	}
}

static void
a_header_tells_anthropic_from_openai_where_both_have_the_path(void **state)
{
	static const struct {
		const char *method, *path, *version;
		enum dialect dialect;
	} cases[] = {
		{ "GET", "/v1/models", "", DIALECT_OPENAI },
		{ "GET", "/v1/models", "2023-06-01", DIALECT_ANTHROPIC },
		{ "POST", "/v1/files", "2023-06-01", DIALECT_ANTHROPIC },
		{ "POST", "/v1/chat/completions", "2023-06-01", DIALECT_OPENAI },
		{ "POST", "/openai/deployments/d/embeddings", "2023-06-01", DIALECT_OPENAI },
		{ "GET", "/v1beta/models", "2023-06-01", DIALECT_GEMINI },
		{ "POST", "/v1/messages", "", DIALECT_ANTHROPIC },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct endpoint_match m = { 0 };

		assert_int_equal(
			endpoint_find(cases[i].method, span_of(cases[i].path), "", &m), 200);
		endpoint_see_version(&m, span_of(cases[i].version));
		if (endpoint_dialect(&m) != cases[i].dialect)
			fail_msg("%s %s: dialect %d", cases[i].path, cases[i].version,
				endpoint_dialect(&m));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_finds_its_endpoint_behind_any_mount),
		cmocka_unit_test(a_path_names_model_and_format),
		cmocka_unit_test(the_path_starts_at_the_endpoint_without_mount_and_prefix),
		cmocka_unit_test(the_prefix_can_be_long_or_none),
		cmocka_unit_test(uploads_are_those_that_carry_files),
		cmocka_unit_test(a_path_that_could_climb_is_not_clean),
		cmocka_unit_test(openai_calls_it_the_same_wherever_it_stands),
		cmocka_unit_test(a_header_tells_anthropic_from_openai_where_both_have_the_path),
	};

	return cmocka_run_group_tests_name("gateway/endpoint", tests, NULL, NULL);
}
