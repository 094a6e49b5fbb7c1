/* How upstreams know us: fields that belong together, and keys that fit them, sealed and masked. */
#include "fixture.h"

#define SERVICE_KEY                                                                                \
	"{\\\"clientid\\\":\\\"sb-a-rather-long-client-id!b1\\\",\\\"clientsecret\\\":"            \
	"\\\"hush-hush\\\",\\\"url\\\":\\\"https://sso.example\\\",\\\"verificationkey\\\":"       \
	"\\\"unneeded\\\"}"

static void
make_upstream(const char *name, const char *more)
{
	char json[512];

	snprintf(json, sizeof json,
		"{\"name\":\"%s\",\"base_url\":\"https://api.example.com\"%s%s}", name,
		more[0] == '\0' ? "" : ",", more);
	CALL(201, "POST", "/manage/upstreams", json);
}

/* The newest key's secret, as it is kept. */
static const char *
kept_secret(void)
{
	static char text[4096];
	static struct key k;

	if (store_find(store, RECORD_KEY, text_of("id"), &k, &err) != 1)
		fail_msg("no key: %s", err.text);
	assert_true(store_unseal(store, k.head.id, &k.secret, text, sizeof text, &err) > 0);
	return text;
}

static void
a_service_key_is_kept_as_far_as_it_is_needed(void **state)
{
	(void)state;
	make_upstream("sap", "\"auth\":\"sap-oauth\",\"resource_group\":\"team\"");
	CALL(201, "POST", "/manage/keys", "{\"upstream\":\"sap\",\"secret\":\"" SERVICE_KEY "\"}");
	assert_string_equal(kept_secret(),
		"{\"clientid\":\"sb-a-rather-long-client-id!b1\",\"clientsecret\":\"hush-hush\","
		"\"url\":\"https://sso.example\"}");
	assert_string_equal(text_of("masked"), "sb-a-rather-long-cli\xE2\x80\xA6");
	assert_false(was_seen("hush"));
}

static void
what_is_usual_depends_on_the_protocol(void **state)
{
	(void)state;
	make_upstream("plain", "");
	assert_string_equal(text_of("auth"), "bearer");
	make_upstream("by-template", "\"auth_template\":\"query token=${key}\"");
	assert_string_equal(text_of("auth"), "template");
	make_upstream("stated", "\"auth\":\"none\",\"auth_template\":\"query token=${key}\"");
	assert_string_equal(text_of("auth"), "none");
	/* once it is made, nothing is guessed any more */
	CALL(200, "PATCH", "/manage/upstreams/plain", "{\"auth_template\":\"header X: ${key}\"}");
	assert_string_equal(text_of("auth"), "bearer");
}

static void
fields_that_belong_together_are_checked_together(void **state)
{
	static const struct {
		const char *json, *field;
	} cases[] = {
		{ "{\"auth\":\"template\"}", "auth_template" },
		{ "{\"auth_template\":\"nonsense\"}", "auth_template" },
		{ "{\"auth\":\"aws-sigv4\"}", "region" },
		{ "{\"region\":\"eu central\"}", "region" },
		{ "{\"signing_service\":\"a/b\"}", "signing_service" },
		{ "{\"auth_parameter\":\"a&b\"}", "auth_parameter" },
		{ "{\"auth_parameter\":\"\"}", "auth_parameter" },
		{ "{\"resource_group\":\" x\"}", "resource_group" },
		{ "{\"token_url\":\"http://sso.example/token\"}", "token_url" },
		{ "{\"token_url\":\"sso.example\"}", "token_url" },
		{ "{\"auth\":\"magic\"}", "auth" },
	};

	(void)state;
	make_upstream("one", "");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CALL(400, "PATCH", "/manage/upstreams/one", cases[i].json);
		assert_string_equal(text_of("error.field"), cases[i].field);
	}
	CALL(200, "PATCH", "/manage/upstreams/one",
		"{\"token_url\":\"http://sso.example/token\",\"allow_private\":true}");
	CALL(200, "PATCH", "/manage/upstreams/one",
		"{\"auth\":\"aws-sigv4\",\"base_url\":\"https://bedrock-runtime.us-east-1."
		"amazonaws.com\"}");
}

static void
keys_that_do_not_fit_are_refused(void **state)
{
	static const struct {
		const char *upstream, *secret, *says;
	} cases[] = {
		{ "sap", "hush", "clientsecret" },
		{ "sap", "{\\\"clientid\\\":\\\"hush\\\",\\\"certurl\\\":\\\"https://x\\\"}",
			"client_cert" },
		{ "sap",
			"{\\\"clientid\\\":\\\"a\\\",\\\"clientsecret\\\":\\\"hush\\\",\\\"url\\\":"
			"\\\"http://x\\\"}",
			"TLS" },
		{ "entra", "only-hush", "TENANT" },
		{ "google", "{\\\"private_key\\\":\\\"hush\\\"}", "service account" },
		{ "aws", "hush", "SECRET_ACCESS_KEY" },
		{ "bearer", "{\\\"clientsecret\\\":\\\"hush\\\"}", "sap-oauth" },
		{ "bearer", "hush hush", "visible ASCII" },
	};
	char json[512];

	(void)state;
	make_upstream("sap", "\"auth\":\"sap-oauth\"");
	make_upstream("entra", "\"auth\":\"entra-id\"");
	make_upstream("google", "\"auth\":\"google-account\"");
	make_upstream("aws", "\"auth\":\"aws-sigv4\",\"region\":\"eu-west-1\"");
	make_upstream("bearer", "\"auth\":\"bearer\"");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(json, sizeof json, "{\"upstream\":\"%s\",\"secret\":\"%s\"}",
			cases[i].upstream, cases[i].secret);
		CALL(400, "POST", "/manage/keys", json);
		assert_string_equal(text_of("error.field"), "secret");
		if (strstr(text_of("error.message"), cases[i].says) == NULL)
			fail_msg("%s: %s", cases[i].upstream, text_of("error.message"));
	}
	CALL(201, "POST", "/manage/keys",
		"{\"upstream\":\"aws\",\"secret\":\"AKIDEXAMPLE000001:hush/hush:hush\"}");
	assert_null(strstr(text_of("masked"), "hush"));
	CALL(201, "POST", "/manage/keys",
		"{\"upstream\":\"entra\",\"secret\":\"t.example:client-id:hush\"}");
	assert_string_equal(text_of("masked"), "client-id");
	assert_false(was_seen("hush"));
}

static void
upstreams_of_the_settings_have_their_providers_ways(void **state)
{
	static const char json[] =
		"[{\"name\":\"a\",\"provider\":\"Anthropic\",\"base_url\":\"https://"
		"a\",\"api_key\":\"k\"},"
		"{\"name\":\"b\",\"provider\":\"groq\",\"base_url\":\"https://"
		"b\",\"api_key\":\"k\"},"
		"{\"name\":\"c\",\"provider\":\"sap_invoke\",\"base_url\":\"https://c\","
		"\"api_key\":\"" SERVICE_KEY "\"},"
		"{\"name\":\"d\",\"base_url\":\"https://d\"}]";
	static const struct {
		const char *name, *protocol, *auth;
	} want[] = { { "a", "anthropic", "x-api-key" }, { "b", "openai", "bearer" },
		{ "c", "sap_invoke", "sap-oauth" }, { "d", "openai", "none" } };
	size_t made = 0;
	char path[64];

	(void)state;
	if (manage_import_upstreams(manage, span_of(json), "test", &made, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(made, 4);
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "/manage/upstreams/%s", want[i].name);
		CALL(200, "GET", path, "");
		assert_string_equal(text_of("protocol"), want[i].protocol);
		assert_string_equal(text_of("auth"), want[i].auth);
	}
	CALL(200, "GET", "/manage/keys?upstream=c", "");
	assert_non_null(strstr(body, "\"masked\":\"{\xE2\x80\xA6}\""));
	assert_false(was_seen("hush"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_service_key_is_kept_as_far_as_it_is_needed),
		TEST(what_is_usual_depends_on_the_protocol),
		TEST(fields_that_belong_together_are_checked_together),
		TEST(keys_that_do_not_fit_are_refused),
		TEST(upstreams_of_the_settings_have_their_providers_ways),
	};

	return cmocka_run_group_tests_name("manage/auth", tests, NULL, NULL);
}
