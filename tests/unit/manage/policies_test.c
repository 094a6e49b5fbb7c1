/* Policies over the API: fields belong to types, ids to scopes. */
#include "fixture.h"

static void
a_policy_lives(void **state)
{
	(void)state;
	(void)new_project("web");
	CALL(201, "POST", "/manage/policies",
		"{\"name\":\"cheap\",\"type\":\"cost_control\",\"scope\":\"project\",\"project_"
		"id\":"
		"\"web\",\"max_cost\":\"0.05\",\"refuse_unpriced\":true,\"priority\":3}");
	assert_true(strncmp(text_of("id"), "pol_", 4) == 0);
	assert_string_equal(text_of("max_cost"), "0.050000000");
	assert_string_equal(text_of("scope_name"), "web");
	CALL(200, "PATCH", "/manage/policies/cheap", "{\"is_active\":false}");
	assert_string_equal(raw_of("is_active"), "false");
	CALL(200, "GET", "/manage/policies?is_active=true", "");
	assert_false(row(0));
	CALL(200, "GET", "/manage/policies?project_id=web", "");
	assert_true(row(0));
	CALL(200, "PATCH", "/manage/policies/cheap", "{\"scope\":\"global\",\"project_id\":null}");
	assert_string_equal(raw_of("scope_name"), "null");
	CALL(204, "DELETE", "/manage/policies/cheap", "");
}

static void
what_does_not_belong_is_refused_by_name(void **state)
{
	static const struct {
		const char *why, *json, *field;
	} cases[] = {
		{ "no type", "{\"name\":\"p\",\"tries\":2}", "type" },
		{ "nothing decided", "{\"name\":\"p\",\"type\":\"routing\"}", "" },
		{ "tries of routing", "{\"name\":\"p\",\"type\":\"routing\",\"tries\":2}",
			"tries" },
		{ "cost of routing", "{\"name\":\"p\",\"type\":\"routing\",\"max_cost\":1}",
			"max_cost" },
		{ "keys of routing",
			"{\"name\":\"p\",\"type\":\"routing\",\"blocked_keys\":[\"x\"]}",
			"blocked_keys" },
		{ "upstreams of cost",
			"{\"name\":\"p\",\"type\":\"cost_control\",\"blocked_upstreams\":[\"x\"]}",
			"blocked_upstreams" },
		{ "objectives of failures",
			"{\"name\":\"p\",\"type\":\"failure_handling\",\"objectives\":[\"cost=1\"]"
			"}",
			"objectives" },
		{ "no such state",
			"{\"name\":\"p\",\"type\":\"key_selection\",\"allowed_states\":[\"tired\"]"
			"}",
			"allowed_states" },
		{ "scope without its id",
			"{\"name\":\"p\",\"type\":\"failure_handling\",\"scope\":\"project\","
			"\"tries\":1}",
			"project_id" },
		{ "id without its scope",
			"{\"name\":\"p\",\"type\":\"failure_handling\",\"project_id\":\"web\","
			"\"tries\":1}",
			"project_id" },
		{ "id of another scope",
			"{\"name\":\"p\",\"type\":\"failure_handling\",\"scope\":\"upstream\","
			"\"upstream\":\"up\",\"project_id\":\"web\",\"tries\":1}",
			"project_id" },
		{ "unknown upstream",
			"{\"name\":\"p\",\"type\":\"failure_handling\",\"scope\":\"upstream\","
			"\"upstream\":\"nobody\",\"tries\":1}",
			"upstream" },
		{ "split", "{\"name\":\"p\",\"type\":\"routing\",\"strategy\":\"split\"}",
			"strategy" },
		{ "objective of nothing",
			"{\"name\":\"p\",\"type\":\"routing\",\"strategy\":\"objective\"}",
			"objectives" },
		{ "tries of an upstream",
			"{\"name\":\"p\",\"type\":\"failure_handling\",\"scope\":\"upstream\","
			"\"upstream\":\"up\",\"tries\":1}",
			"tries" },
		{ "regex", "{\"name\":\"p\",\"type\":\"routing\",\"blocked_models\":[\"/*(/\"]}",
			"blocked_models" },
	};

	(void)state;
	(void)new_project("web");
	CALL(201, "POST", "/manage/upstreams", "{\"name\":\"up\",\"base_url\":\"https://h\"}");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (call("POST", "/manage/policies", cases[i].json) != 400 ||
			strcmp(text_of("error.field"), cases[i].field) != 0)
			fail_msg("%s: %d %s", cases[i].why, status, body);
	CALL(201, "POST", "/manage/policies",
		"{\"name\":\"p\",\"type\":\"key_selection\",\"scope\":\"upstream\",\"upstream\":"
		"\"up\",\"allowed_states\":[\"available\"],\"required_tags\":[\"region=eu*\"]}");
	/* of another type its fields do not belong to it any more */
	CALL(400, "PATCH", "/manage/policies/p", "{\"type\":\"cost_control\",\"max_cost\":1}");
	CALL(200, "PATCH", "/manage/policies/p",
		"{\"type\":\"cost_control\",\"max_cost\":1,\"allowed_states\":null,"
		"\"required_tags\":null}");
}

static void
what_one_would_change_is_told_and_not_done(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		char json[256];

		snprintf(
			json, sizeof json, "{\"name\":\"u%d\",\"base_url\":\"https://h%d\"}", i, i);
		CALL(201, "POST", "/manage/upstreams", json);
		snprintf(json, sizeof json,
			"{\"upstream\":\"u%d\",\"secret\":\"sk-of-upstream-%d-0000\"}", i, i);
		CALL(201, "POST", "/manage/keys", json);
	}
	CALL(200, "POST", "/manage/policies/dry-run",
		"{\"policy\":{\"name\":\"p\",\"type\":\"routing\",\"blocked_upstreams\":[\"u0\"]},"
		"\"ask\":{\"model\":\"m\"}}");
	assert_string_equal(raw_of("same"), "false");
	assert_non_null(strstr(raw_of("without.candidates"), "\"u0\""));
	assert_null(strstr(raw_of("with.candidates"), "\"u0\""));
	assert_non_null(strstr(raw_of("with.candidates"), "\"u1\""));
	assert_string_equal(raw_of("with.out.policy"), "1");
	CALL(200, "POST", "/manage/policies/dry-run",
		"{\"policy\":{\"name\":\"p\",\"type\":\"routing\",\"blocked_models\":[\"m*\"]},"
		"\"ask\":{\"model\":\"m\",\"input_tokens\":5}}");
	assert_string_not_equal(text_of("with.refused"), "");
	assert_string_equal(raw_of("with.candidates"), "[]");
	CALL(200, "GET", "/manage/policies", "");
	assert_false(row(0));

	/* one that is there: as if it were not */
	CALL(201, "POST", "/manage/policies",
		"{\"name\":\"p\",\"type\":\"routing\",\"blocked_upstreams\":[\"u1\"]}");
	CALL(200, "POST", "/manage/policies/dry-run",
		"{\"policy_id\":\"p\",\"ask\":{\"model\":\"m\"}}");
	assert_non_null(strstr(raw_of("without.candidates"), "\"u1\""));
	assert_null(strstr(raw_of("with.candidates"), "\"u1\""));

	/* the same with a change that is not saved */
	CALL(200, "POST", "/manage/policies/dry-run",
		"{\"policy_id\":\"p\",\"policy\":{\"blocked_upstreams\":[\"u0\"]},\"ask\":{"
		"\"model\":\"m\"}}");
	assert_null(strstr(raw_of("with.candidates"), "\"u0\""));
	assert_non_null(strstr(raw_of("with.candidates"), "\"u1\""));

	/* what is set shows, too: a name is not needed */
	CALL(200, "POST", "/manage/policies/dry-run",
		"{\"policy\":{\"type\":\"failure_handling\",\"tries\":1,\"failure_rules\":["
		"\"status=529 "
		"-> stop\"]},\"ask\":{\"model\":\"m\"}}");
	assert_string_equal(raw_of("same"), "false");
	assert_string_equal(raw_of("without.tries"), "null");
	assert_string_equal(raw_of("with.tries"), "1");
	assert_non_null(strstr(raw_of("with.candidates"), "[\"status=529 -> stop\"]"));
	assert_null(strstr(raw_of("without.candidates"), "529"));
	assert_non_null(strstr(raw_of("with.policies"), "tried"));
	CALL(200, "POST", "/manage/policies/dry-run",
		"{\"policy\":{\"type\":\"routing\",\"blocked_models\":[\"x*\"]},"
		"\"ask\":{\"model\":\"m\",\"output_tokens\":7}}");
	assert_string_equal(raw_of("same"), "true");

	CALL(400, "POST", "/manage/policies/dry-run", "{\"ask\":{\"model\":\"m\"}}");
	CALL(400, "POST", "/manage/policies/dry-run", "{\"policy_id\":\"p\"}");
	CALL(400, "POST", "/manage/policies/dry-run",
		"{\"policy\":{\"name\":\"p\",\"type\":\"routing\",\"tries\":1},\"ask\":{\"model\":"
		"\"m\"}}");
	assert_string_equal(text_of("error.field"), "tries");
	CALL(400, "POST", "/manage/policies/dry-run",
		"{\"policy_id\":\"p\",\"ask\":{\"model\":\"m\",\"key\":1}}");
	CALL(404, "POST", "/manage/policies/dry-run",
		"{\"policy_id\":\"nobody\",\"ask\":{\"model\":\"m\"}}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_policy_lives),
		TEST(what_does_not_belong_is_refused_by_name),
		TEST(what_one_would_change_is_told_and_not_done),
	};

	return cmocka_run_group_tests_name("manage/policies", tests, NULL, NULL);
}
