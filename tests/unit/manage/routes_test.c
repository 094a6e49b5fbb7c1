/* Routes over the API: their targets, what must fit together, and that nothing named goes away. */
#include "fixture.h"

static void
new_upstream(const char *name, const char *more)
{
	char json[512];

	snprintf(json, sizeof json, "{\"name\":\"%s\",\"base_url\":\"https://h/v1\"%s%s}", name,
		more[0] != '\0' ? "," : "", more);
	CALL(201, "POST", "/manage/upstreams", json);
}

static void
a_route_lives(void **state)
{
	char one[ID_TEXT_BYTES], json[512], wanted[512];

	(void)state;
	new_upstream("one", "");
	snprintf(one, sizeof one, "%s", text_of("id"));
	new_upstream("two words", "");
	CALL(201, "POST", "/manage/routes",
		"{\"name\":\"main\",\"model\":\"gpt-*\",\"targets\":[{\"upstream\":\"one\"},"
		"{\"upstream\":\"two words\",\"model\":\"my own "
		"gpt\",\"weight\":3,\"priority\":1}],"
		"\"strategy\":\"priority\",\"fallbacks\":[\"error gpt-4o-mini\",\"context big\"],"
		"\"failure_rules\":[\"status=400 body=/balance/ -> next cool=60\"],"
		"\"request_rules\":[\"set temperature=0.2\",\"cap max_tokens=100\"]}");
	snprintf(wanted, sizeof wanted,
		"{\"upstream\":\"%s\",\"upstream_name\":\"one\",\"model\":null,\"weight\":1,"
		"\"priority\":0}",
		one);
	assert_non_null(strstr(raw_of("targets"), wanted));
	assert_non_null(strstr(raw_of("targets"),
		"\"upstream_name\":\"two words\",\"model\":\"my own gpt\",\"weight\":3,"
		"\"priority\":1}"));
	assert_string_equal(text_of("strategy"), "priority");
	assert_true(strncmp(text_of("id"), "rt_", 3) == 0);

	/* what was shown may be sent back */
	snprintf(json, sizeof json, "{\"targets\":%s}", raw_of("targets"));
	CALL(200, "PATCH", "/manage/routes/main", json);
	assert_string_equal(reply_etag, "\"1\"");
	/* as the command sends them */
	CALL(200, "PATCH", "/manage/routes/main",
		"{\"targets\":[\"one 70\",\"one 30 2 other model\"],\"strategy\":\"split\"}");
	assert_non_null(strstr(
		raw_of("targets"), "\"model\":\"other model\",\"weight\":30,\"priority\":2}"));
	CALL(200, "PATCH", "/manage/routes/main", "{\"targets\":null,\"strategy\":\"latency\"}");
	assert_string_equal(raw_of("targets"), "[]");
	CALL(200, "GET", "/manage/routes?model=gpt-4o", "");
	assert_true(row(0));
	CALL(200, "GET", "/manage/routes?model=claude", "");
	assert_false(row(0));
	CALL(204, "DELETE", "/manage/routes/main", "");
	CALL(404, "GET", "/manage/routes/main", "");
}

static void
what_cannot_be_is_refused_by_name(void **state)
{
	static const struct {
		const char *why, *json, *field;
	} cases[] = {
		{ "no model", "{\"name\":\"r\"}", "model" },
		{ "two models", "{\"name\":\"r\",\"model\":\"a,b\"}", "model" },
		{ "broken regex", "{\"name\":\"r\",\"model\":\"/gpt(/\"}", "model" },
		{ "regex without end",
			"{\"name\":\"r\",\"model\":\"/(((a{1,99}){1,99}){1,99}){1,99}/\"}",
			"model" },
		{ "no upstream", "{\"name\":\"r\",\"model\":\"m\",\"targets\":[{}]}", "targets" },
		{ "unknown upstream",
			"{\"name\":\"r\",\"model\":\"m\",\"targets\":[{\"upstream\":\"x\"}]}",
			"targets" },
		{ "unknown member",
			"{\"name\":\"r\",\"model\":\"m\",\"targets\":[{\"upstream\":\"u\",\"key\":"
			"1}"
			"]}",
			"targets" },
		{ "no list", "{\"name\":\"r\",\"model\":\"m\",\"targets\":{}}", "targets" },
		{ "weight",
			"{\"name\":\"r\",\"model\":\"m\",\"targets\":[{\"upstream\":\"u\","
			"\"weight\":1001}]}",
			"targets" },
		{ "twice",
			"{\"name\":\"r\",\"model\":\"m\",\"targets\":[\"u\",{\"upstream\":\"u\"}]}",
			"targets" },
		{ "split of 90",
			"{\"name\":\"r\",\"model\":\"m\",\"strategy\":\"split\",\"targets\":[\"u "
			"90\"]}",
			"targets" },
		{ "unknown objective",
			"{\"name\":\"r\",\"model\":\"m\",\"objectives\":[\"beauty=1\"]}",
			"objectives" },
		{ "great share", "{\"name\":\"r\",\"model\":\"m\",\"objectives\":[\"cost=1001\"]}",
			"objectives" },
		{ "twice the same",
			"{\"name\":\"r\",\"model\":\"m\",\"objectives\":[\"cost=1\","
			"\"cost=2\"]}",
			"objectives" },
		{ "no objectives", "{\"name\":\"r\",\"model\":\"m\",\"strategy\":\"objective\"}",
			"objectives" },
		{ "fallback on what", "{\"name\":\"r\",\"model\":\"m\",\"fallbacks\":[\"rain x\"]}",
			"fallbacks" },
		{ "fallback to nothing",
			"{\"name\":\"r\",\"model\":\"m\",\"fallbacks\":[\"error\"]}", "fallbacks" },
		{ "fallback to itself",
			"{\"name\":\"r\",\"model\":\"m\",\"fallbacks\":[\"error m\"]}",
			"fallbacks" },
		{ "fallback to many",
			"{\"name\":\"r\",\"model\":\"m\",\"fallbacks\":[\"error a*\"]}",
			"fallbacks" },
		{ "five of them",
			"{\"name\":\"r\",\"model\":\"m\",\"fallbacks\":[\"error a\",\"error b\","
			"\"error c\",\"error d\",\"error e\"]}",
			"fallbacks" },
		{ "request rule",
			"{\"name\":\"r\",\"model\":\"m\",\"request_rules\":[\"be nice\"]}",
			"request_rules" },
		{ "failure rule",
			"{\"name\":\"r\",\"model\":\"m\",\"failure_rules\":[\"status=529\"]}",
			"failure_rules" },
		{ "second failure rule",
			"{\"name\":\"r\",\"model\":\"m\",\"failure_rules\":[\"status=529 -> "
			"next\",\"body=/(/ -> stop\"]}",
			"failure_rules" },
		{ "affinity",
			"{\"name\":\"r\",\"model\":\"m\",\"affinity_s\":100,\"affinity_most_s\":"
			"50}",
			"affinity_s" },
		{ "disconnect", "{\"name\":\"r\",\"model\":\"m\",\"disconnect\":\"stay\"}",
			"disconnect" },
		{ "comma in a glob",
			"{\"name\":\"r\",\"model\":\"m\",\"blocked_upstreams\":[\"a,b\"]}",
			"blocked_upstreams" },
	};

	(void)state;
	new_upstream("u", "");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (call("POST", "/manage/routes", cases[i].json) != 400 ||
			strcmp(text_of("error.field"), cases[i].field) != 0)
			fail_msg("%s: %d %s", cases[i].why, status, body);
	CALL(201, "POST", "/manage/routes",
		"{\"name\":\"r\",\"model\":\"/^gpt-[45]o?$/\",\"strategy\":\"objective\","
		"\"objectives\":[\"cost=2\",\"latency=0\"]}");
}

static void
what_is_named_stays(void **state)
{
	(void)state;
	new_upstream("a", "");
	new_upstream("b", "\"keys_of\":\"a\"");
	CALL(201, "POST", "/manage/routes",
		"{\"name\":\"first\",\"model\":\"m\",\"targets\":[\"b\"]}");
	CALL(409, "DELETE", "/manage/upstreams/b", "");
	assert_non_null(strstr(text_of("error.message"), "route first"));
	CALL(409, "DELETE", "/manage/upstreams/a", "");
	assert_non_null(strstr(text_of("error.message"), "upstream b"));
	CALL(201, "POST", "/manage/policies",
		"{\"name\":\"p\",\"type\":\"failure_handling\",\"scope\":\"route\",\"route\":"
		"\"first\",\"tries\":2}");
	assert_string_equal(text_of("scope_name"), "first");
	CALL(409, "DELETE", "/manage/routes/first", "");
	assert_non_null(strstr(text_of("error.message"), "policy p"));
	CALL(204, "DELETE", "/manage/policies/p", "");
	CALL(204, "DELETE", "/manage/routes/first", "");
	CALL(204, "DELETE", "/manage/upstreams/b", "");
	CALL(204, "DELETE", "/manage/upstreams/a", "");
}

static void
an_upstream_says_how_it_is_reached(void **state)
{
	static const struct {
		const char *more, *field;
	} refused[] = {
		{ "\"proxy\":\"ftp://h\"", "proxy" },
		{ "\"proxy\":\"socks5://\"", "proxy" },
		{ "\"proxy\":\"http://h:99999\"", "proxy" },
		{ "\"proxy\":\"http://h/path\"", "proxy" },
		{ "\"health_path\":\"models\"", "health_path" },
		{ "\"aliases\":[\"a\"]", "aliases" },
		{ "\"aliases\":[\"a=b\",\"a=c\"]", "aliases" },
		{ "\"aliases\":[\"a=a\"]", "aliases" },
		{ "\"aliases\":[\"a=b\",\"b=c\",\"c=a\"]", "aliases" },
		{ "\"aliases\":[\"x=b\",\"b=c\",\"c=b\"]", "aliases" },
		{ "\"tags\":[\"nothing\"]", "tags" },
		{ "\"models\":[\"/(/\"]", "models" },
		{ "\"blocked_models\":[\"/[/\"]", "blocked_models" },
		{ "\"keys_of\":\"borrows\"", "keys_of" },
	};
	char json[512], chain[512] = "{\"aliases\":[";

	(void)state;
	new_upstream("lends", "");
	new_upstream("borrows", "\"keys_of\":\"lends\"");
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		snprintf(json, sizeof json, "{\"name\":\"u\",\"base_url\":\"https://h\",%s}",
			refused[i].more);
		if (call("POST", "/manage/upstreams", json) != 400 ||
			strcmp(text_of("error.field"), refused[i].field) != 0)
			fail_msg("%s: %d %s", refused[i].more, status, body);
	}
	CALL(400, "PATCH", "/manage/upstreams/lends", "{\"keys_of\":\"lends\"}");
	new_upstream("third", "");
	CALL(400, "PATCH", "/manage/upstreams/lends", "{\"keys_of\":\"third\"}");
	for (int i = 0; i < 10; i++)
		snprintf(chain + strlen(chain), sizeof chain - strlen(chain), "%s\"m%d=m%d\"",
			i > 0 ? "," : "", i, i + 1);
	snprintf(json, sizeof json, "%s]}", chain);
	CALL(200, "PATCH", "/manage/upstreams/third", json);
	snprintf(json, sizeof json, "%s,\"m10=m11\"]}", chain);
	CALL(400, "PATCH", "/manage/upstreams/third", json);

	/* a proxy's password is shown to nobody, and stays when the mask comes back */
	CALL(200, "PATCH", "/manage/upstreams/third",
		"{\"proxy\":\"socks5h://me:hidden-word@[::1]:1080\"}");
	assert_string_equal(text_of("proxy"), "socks5h://me:***@[::1]:1080");
	CALL(200, "PATCH", "/manage/upstreams/third",
		"{\"proxy\":\"socks5h://me:***@[::1]:1080\",\"tier\":\"free\"}");
	{
		struct upstream u;

		assert_int_equal(store_find(store, RECORD_UPSTREAM, "third", &u, &err), 1);
		assert_string_equal(u.proxy, "socks5h://me:hidden-word@[::1]:1080");
	}
	CALL(200, "GET", "/manage/audit", "");
	assert_false(was_seen("hidden-word"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_route_lives),
		TEST(what_cannot_be_is_refused_by_name),
		TEST(what_is_named_stays),
		TEST(an_upstream_says_how_it_is_reached),
	};

	return cmocka_run_group_tests_name("manage/routes", tests, NULL, NULL);
}
