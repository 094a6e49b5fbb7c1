/* allow_test.c - each rule of a token or its project refuses what it names and lets the rest pass. */
#include "house.h"

#include "admit/allow.h"

#define NOW 1000000

/* A request and what is set of token and project; what is not named is empty. */
struct rule {
	const char *why;
	enum err_code want;
	const char *says; /* a part of what the client is told */
	struct {
		const char *models, *endpoints, *networks, *origins;
	} project;
	struct {
		const char *models, *endpoints, *methods, *networks, *origins, *params, *headers;
	} token;
	const char *method, *path, *model, *address, *body;
	const char *header[4]; /* name, value, name, value */
	bool other_body, form;
	bool old_secret;
	int64_t old_until_ms;
};

static struct span
header_of(const void *ctx, const char *name)
{
	const struct rule *r = ctx;

	for (int i = 0; i < 4 && r->header[i] != NULL; i += 2)
		if (span_is_nocase(span_of(r->header[i]), name))
			return span_of(r->header[i + 1]);
	return SPAN_NONE;
}

#define SET(to, from) (void)snprintf(to, sizeof to, "%s", (from) != NULL ? (from) : "")

static void
each_rule_refuses_what_it_names_and_nothing_else(void **state)
{
	static const struct rule rules[] = {
		{ .why = "nothing is asked" },

		{ "an endpoint of the project", .project.endpoints = "/v1/chat/*\n/v1/models" },
		{ "none of the project's", ERR_ENDPOINT_NOT_ALLOWED, "/v1/chat/completions",
			.project.endpoints = "/v1/embeddings" },
		{ "an endpoint of the token", .token.endpoints = "/v1/chat/completions" },
		{ "none of the token's", ERR_ENDPOINT_NOT_ALLOWED, "/v1/chat/completions",
			.token.endpoints = "/v1/models\n/v1/chat" },
		{ "the token cannot widen", ERR_ENDPOINT_NOT_ALLOWED, "",
			.project.endpoints = "/v1/embeddings", .token.endpoints = "*" },
		{ "an escaped path is another", ERR_ENDPOINT_NOT_ALLOWED, "",
			.token.endpoints = "/v1/chat/completions",
			.path = "/v1/chat%2Fcompletions" },

		{ "a method", .token.methods = "GET\nPOST" },
		{ "in small letters", .token.methods = "post" },
		{ "another method", ERR_ENDPOINT_NOT_ALLOWED, "POST", .token.methods = "GET" },
		{ "part of a method", ERR_ENDPOINT_NOT_ALLOWED, "", .token.methods = "POSTS" },
		{ "HEAD goes with GET", .token.methods = "GET", .method = "HEAD" },
		{ "GET goes not with HEAD", ERR_ENDPOINT_NOT_ALLOWED, "", .token.methods = "HEAD",
			.method = "GET" },

		{ "no page at all", .project.origins = "https://a.example" },
		{ "a page of the project", .project.origins = "https://*.a.example\nhttps://b",
			.header = { "Origin", "https://x.a.example" } },
		{ "another page", ERR_ORIGIN_NOT_ALLOWED, "https://evil.example",
			.project.origins = "https://a.example",
			.header = { "Origin", "https://evil.example" } },
		{ "a page of the project, not the token's", ERR_ORIGIN_NOT_ALLOWED, "",
			.project.origins = "https://a\nhttps://b", .token.origins = "https://a",
			.header = { "Origin", "https://b" } },
		{ "the token's", .project.origins = "https://a\nhttps://b",
			.token.origins = "https://a", .header = { "origin", "https://a" } },

		{ "a network", .token.networks = "10.0.0.0/8\n192.0.2.7" },
		{ "the project's", .project.networks = "192.0.2.0/24" },
		{ "another network", ERR_FORBIDDEN, "192.0.2.7", .token.networks = "10.0.0.0/8" },
		{ "another than the project's", ERR_FORBIDDEN, "", .project.networks = "10.0.0.0/8",
			.token.networks = "192.0.2.0/24" },
		{ "IPv4 within IPv6", .token.networks = "10.0.0.0/8",
			.address = "::ffff:10.1.2.3" },
		{ "IPv6", ERR_FORBIDDEN, "", .token.networks = "0.0.0.0/0",
			.address = "2001:db8::1" },
		{ "no address known", ERR_FORBIDDEN, "", .token.networks = "0.0.0.0/0",
			.address = "" },

		{ "a header repeated", .token.headers = "X-PROXY-USER-ID: u 1",
			.header = { "x-proxy-user-id", "u 1" } },
		{ "blanks do not count", .token.headers = "X-PROXY-USER-ID:   u1  ",
			.header = { "x-proxy-user-id", "u1" } },
		{ "both of two", .token.headers = "X-A: 1\nX-B: 2",
			.header = { "x-b", "2", "x-a", "1" } },
		{ "one of two", ERR_FORBIDDEN, "X-B", .token.headers = "X-A: 1\nX-B: 2",
			.header = { "x-a", "1" } },
		{ "another value", ERR_FORBIDDEN, "X-PROXY-USER-ID",
			.token.headers = "X-PROXY-USER-ID: u1",
			.header = { "x-proxy-user-id", "u2" } },
		{ "its case counts", ERR_FORBIDDEN, "", .token.headers = "X-A: u",
			.header = { "x-a", "U" } },
		{ "more than the value", ERR_FORBIDDEN, "", .token.headers = "X-A: u",
			.header = { "x-a", "uu" } },
		{ "no value is none", ERR_FORBIDDEN, "",
			.token.headers = "X-A:", .header = { "x-a", "" } },
		{ "no header is none that fits", ERR_FORBIDDEN, "", .token.headers = "X-A",
			.header = { "x-a", "" } },
		{ "a page that must be one", ERR_FORBIDDEN, "Origin",
			.token.headers = "Origin: https://a" },

		{ "a model", .token.models = "gpt-*", .model = "gpt-4" },
		{ "another model", ERR_MODEL_NOT_ALLOWED, "llama", .token.models = "gpt-*",
			.model = "llama" },
		{ "no body, no model", .token.models = "gpt-*" },
		{ "a form without a model", .token.models = "gpt-*", .form = true },
		{ "a form with one", ERR_MODEL_NOT_ALLOWED, "", .token.models = "gpt-*",
			.form = true, .model = "llama" },
		{ "a model that hides", ERR_MODEL_NOT_ALLOWED, "application/json",
			.token.models = "gpt-*", .other_body = true },
		{ "from the project too", ERR_MODEL_NOT_ALLOWED, "application/json",
			.project.models = "gpt-*", .other_body = true },
		{ "where every model may be used it may hide", .other_body = true },

		{ "a parameter", .token.params = "temperature=0*",
			.body = "{\"temperature\":0.5}" },
		{ "another value", ERR_PARAM_NOT_ALLOWED, "temperature",
			.token.params = "temperature=0*", .body = "{\"temperature\":1}" },
		{ "one of two patterns", .token.params = "n=1\nn=2", .body = "{\"n\":2}" },
		{ "none of two", ERR_PARAM_NOT_ALLOWED, "'n'", .token.params = "n=1\nn=2",
			.body = "{\"n\":3}" },
		{ "what is not listed is free", .token.params = "n=1",
			.body = "{\"m\":3,\"nn\":4}" },
		{ "what is absent is free", .token.params = "n=1", .body = "{}" },
		{ "no body", .token.params = "n=1" },
		{ "text", .token.params = "tier=flex", .body = "{\"tier\":\"flex\"}" },
		{ "text with escapes", .token.params = "tier=flex",
			.body = "{\"tier\":\"fle\\u0078\"}" },
		{ "other text with escapes", ERR_PARAM_NOT_ALLOWED, "", .token.params = "tier=flex",
			.body = "{\"tier\":\"fle\\u0079\"}" },
		{ "a name with escapes", ERR_PARAM_NOT_ALLOWED, "tier", .token.params = "tier=flex",
			.body = "{\"tie\\u0072\":\"priority\"}" },
		{ "the first of two of a name", ERR_PARAM_NOT_ALLOWED, "", .token.params = "n=1",
			.body = "{\"n\":3,\"n\":1}" },
		{ "the last of two of a name", ERR_PARAM_NOT_ALLOWED, "", .token.params = "n=1",
			.body = "{\"n\":1,\"n\":3}" },
		{ "a member that may not be", ERR_PARAM_NOT_ALLOWED, "tools",
			.token.params = "tools=", .body = "{\"tools\":[{}]}" },
		{ "as it was sent", .token.params = "stop=[\"a\"]", .body = "{\"stop\":[\"a\"]}" },
		{ "only at the top", .token.params = "n=1", .body = "{\"a\":{\"n\":3}}" },
		{ "a pattern with =", .token.params = "q=a=b", .body = "{\"q\":\"a=b\"}" },
		{ "a name that cannot be read", ERR_PARAM_NOT_ALLOWED, "", .token.params = "n=1",
			.body = "{\"\\u0000n\":3}" },
		{ "a form", ERR_PARAM_NOT_ALLOWED, "JSON", .token.params = "n=1", .form = true },
		{ "a body of another kind", ERR_PARAM_NOT_ALLOWED, "JSON", .token.params = "n=1",
			.other_body = true },

		{ "an old secret in its grace", .old_secret = true, .old_until_ms = NOW + 1 },
		{ "and after it", ERR_TOKEN_EXPIRED, "1970-01-01T00:16:40", .old_secret = true,
			.old_until_ms = NOW },
		{ "the new one after it", .old_until_ms = NOW - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		const struct rule *u = &rules[i];
		struct admit_caller c = { .is_old_secret = u->old_secret };
		struct admit_request r = { .method = u->method != NULL ? u->method : "POST",
			.path = span_of(u->path != NULL ? u->path : "/v1/chat/completions"),
			.model = span_of(u->model),
			.body = span_of(u->body),
			.has_other_body = u->other_body,
			.has_form = u->form,
			.address = u->address != NULL ? u->address : "192.0.2.7",
			.header = header_of,
			.header_ctx = u };

		record_init(RECORD_TOKEN, &c.token);
		record_init(RECORD_PROJECT, &c.project);
		c.token.old_until_ms = u->old_until_ms;
		SET(c.project.allowed_models, u->project.models);
		SET(c.project.allowed_endpoints, u->project.endpoints);
		SET(c.project.allowed_networks, u->project.networks);
		SET(c.project.allowed_origins, u->project.origins);
		SET(c.token.allowed_models, u->token.models);
		SET(c.token.allowed_endpoints, u->token.endpoints);
		SET(c.token.allowed_methods, u->token.methods);
		SET(c.token.allowed_networks, u->token.networks);
		SET(c.token.allowed_origins, u->token.origins);
		SET(c.token.allowed_params, u->token.params);
		SET(c.token.required_headers, u->token.headers);
		err = (struct err){ 0 };
		if ((admit_allow_request(&c, &r, NOW, &err) == 0) != (u->want == ERR_NONE) ||
			err.code != u->want)
			fail_msg("%s: %s: %s", u->why, err_name(err.code), err.text);
		if (u->says != NULL && strstr(err_public(&err), u->says) == NULL)
			fail_msg("%s: says '%s'", u->why, err_public(&err));
	}
}

static void
what_a_header_should_say_is_not_told(void **state)
{
	struct rule u = { .header = { "x-user", "wrong" } };
	struct admit_caller c = { 0 };
	struct admit_request r = { .method = "POST",
		.path = span_of("/v1/chat/completions"),
		.address = "192.0.2.7",
		.header = header_of,
		.header_ctx = &u };

	(void)state;
	record_init(RECORD_TOKEN, &c.token);
	record_init(RECORD_PROJECT, &c.project);
	SET(c.token.required_headers, "X-User: agreed-on");
	REFUSED(admit_allow_request(&c, &r, NOW, &err), ERR_FORBIDDEN);
	assert_null(strstr(err.says, "agreed-on"));
	assert_null(strstr(err.text, "agreed-on"));
}

static void
a_secret_that_was_replaced_is_known_as_such(void **state)
{
	struct house *h = *state;
	struct project project = house_project(h, "acme");
	struct token token = house_token(h, project.head.id, "first-secret");
	struct admit_secrets old = { 0 }, new = { 0 };
	struct admit_caller caller;
	bool known;

	admit_add_secret(&old, span_of("first-secret"));
	admit_add_secret(&new, span_of("second-secret"));
	memcpy(token.old_sha256, token.sha256, sizeof token.old_sha256);
	hash_sha256("second-secret", strlen("second-secret"), token.sha256);
	token.old_until_ms = clock_wall_ms() + 60000;
	WORKS(store_update(h->store, RECORD_TOKEN, &token, 0, &by_test, &err));
	WORKS(admit_identify(h->store, &new, &caller, &known, &err));
	assert_false(caller.is_old_secret);
	WORKS(admit_identify(h->store, &old, &caller, &known, &err));
	assert_true(caller.is_old_secret);
	WORKS(admit_allow(&caller, SPAN_NONE, clock_wall_ms(), &err));
	REFUSED(admit_allow(&caller, SPAN_NONE, token.old_until_ms, &err), ERR_TOKEN_EXPIRED);

	/* Swept: then it is like any other that is not known. */
	memset(token.old_sha256, 0, sizeof token.old_sha256);
	token.old_until_ms = 0;
	WORKS(store_update(h->store, RECORD_TOKEN, &token, 0, &by_test, &err));
	REFUSED(admit_identify(h->store, &old, &caller, &known, &err), ERR_INVALID_TOKEN);
	WORKS(admit_identify(h->store, &new, &caller, &known, &err));

	/* And free for another. */
	(void)house_token(h, project.head.id, "first-secret");
	WORKS(admit_identify(h->store, &old, &caller, &known, &err));
	assert_false(caller.is_old_secret);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule_refuses_what_it_names_and_nothing_else),
		cmocka_unit_test(what_a_header_should_say_is_not_told),
		TEST(a_secret_that_was_replaced_is_known_as_such),
	};

	return cmocka_run_group_tests_name("admit/allow", tests, NULL, NULL);
}
