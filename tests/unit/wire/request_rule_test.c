/* What a route's rules make of requests, byte for byte. */
#include "wire/request_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
made(enum format_id id, const char *list, const char *body, const char *expected, int changes)
{
	struct arena *a = arena_new(1 << 20);
	struct span now = span_of(body);
	struct err err = { 0 };
	char text[4096];
	uint32_t changed;

	assert_int_equal(request_rules_apply(a, list, id == FORMAT__COUNT ? NULL : format_of(id),
				 &now, &changed, &err),
		0);
	assert_true(span_copy(now, text, sizeof text));
	assert_string_equal(text, expected);
	assert_int_equal(__builtin_popcount(changed), changes);
	arena_free(a);
}

static void
members_are_set_and_removed(void **state)
{
	(void)state;
	made(FORMAT_OPENAI_CHAT, "set temperature=0.2", "{\"a\" : 1 }",
		"{\"a\" : 1 ,\"temperature\":0.2}", 1);
	made(FORMAT_OPENAI_CHAT, "set temperature=0.2", "{}", "{\"temperature\":0.2}", 1);
	made(FORMAT_OPENAI_CHAT, "set temperature=0.2", "{\"temp\\u0065rature\":1,\"x\":[ 1]}",
		"{\"temp\\u0065rature\":0.2,\"x\":[ 1]}", 1);
	made(FORMAT_OPENAI_CHAT, "set a.b.c=\"x\"", "{\"a\":{\"b\":{\"d\":1}}}",
		"{\"a\":{\"b\":{\"d\":1,\"c\":\"x\"}}}", 1);
	made(FORMAT_OPENAI_CHAT, "set a.b.c={}", "{\"q\":0}", "{\"q\":0,\"a\":{\"b\":{\"c\":{}}}}",
		1);
	made(FORMAT_OPENAI_CHAT, "set a.b=1", "{\"a\":[]}", "{\"a\":[]}", 0);
	made(FORMAT_OPENAI_CHAT, "default a=2\ndefault b=2", "{\"a\":1}", "{\"a\":1,\"b\":2}", 1);
	made(FORMAT_OPENAI_CHAT, "remove a", "{\"a\":1, \"b\":2}", "{ \"b\":2}", 1);
	made(FORMAT_OPENAI_CHAT, "remove b", "{\"a\":1 , \"b\":2 }", "{\"a\":1  }", 1);
	made(FORMAT_OPENAI_CHAT, "remove a", "{\"a\":1,\"b\":2,\"a\":3}", "{\"b\":2}", 1);
	made(FORMAT__COUNT, "remove a\n\n remove zz\nset c.d=1", "{\"a\":1}", "{\"c\":{\"d\":1}}",
		2);
}

static void
ceilings_are_held_down_by_every_name(void **state)
{
	(void)state;
	made(FORMAT_OPENAI_CHAT, "cap max_tokens=10",
		"{\"max_tokens\":20,\"max_completion_tokens\":30}",
		"{\"max_tokens\":10,\"max_completion_tokens\":10}", 1);
	made(FORMAT_OPENAI_CHAT, "cap max_tokens=10", "{\"max_tokens\":5}", "{\"max_tokens\":5}",
		0);
	made(FORMAT_OPENAI_CHAT, "cap max_tokens=10", "{}", "{\"max_completion_tokens\":10}", 1);
	made(FORMAT_OPENAI_RESPONSES, "cap max_tokens=10", "{\"max_output_tokens\":1e3}",
		"{\"max_output_tokens\":10}", 1);
	made(FORMAT_GEMINI, "cap max_tokens=10",
		"{\"generation_config\":{\"max_output_tokens\":99}}",
		"{\"generation_config\":{\"max_output_tokens\":10}}", 1);
	made(FORMAT_GEMINI, "cap max_tokens=10", "{\"contents\":[]}",
		"{\"contents\":[],\"generationConfig\":{\"maxOutputTokens\":10}}", 1);
	made(FORMAT_CONVERSE, "cap max_tokens=10", "{\"inferenceConfig\":{}}",
		"{\"inferenceConfig\":{\"maxTokens\":10}}", 1);
	made(FORMAT__COUNT, "cap max_tokens=10", "{\"max_tokens\":20}", "{\"max_tokens\":20}", 0);
}

static void
instructions_stand_in_front(void **state)
{
	static const char rule[] = "system Be \"brief\".";

	(void)state;
	made(FORMAT_OPENAI_CHAT, rule, "{\"messages\":[{\"role\":\"user\"}]}",
		"{\"messages\":[{\"role\":\"system\",\"content\":\"Be "
		"\\\"brief\\\".\"},{\"role\":\"user\"}]}",
		1);
	made(FORMAT_OPENAI_RESPONSES, rule, "{\"instructions\":\"Sing.\"}",
		"{\"instructions\":\"Be \\\"brief\\\".\\n\\nSing.\"}", 1);
	made(FORMAT_OPENAI_RESPONSES, rule, "{\"input\":\"x\"}",
		"{\"input\":\"x\",\"instructions\":\"Be \\\"brief\\\".\"}", 1);
	made(FORMAT_ANTHROPIC, rule, "{\"system\":\"Sing.\"}",
		"{\"system\":\"Be \\\"brief\\\".\\n\\nSing.\"}", 1);
	made(FORMAT_ANTHROPIC, rule, "{\"system\":[{\"type\":\"text\",\"text\":\"a\"}]}",
		"{\"system\":[{\"type\":\"text\",\"text\":\"Be "
		"\\\"brief\\\".\"},{\"type\":\"text\",\"text\":\"a\"}]}",
		1);
	made(FORMAT_ANTHROPIC, rule, "{}", "{\"system\":\"Be \\\"brief\\\".\"}", 1);
	made(FORMAT_GEMINI, rule, "{\"system_instruction\":{\"parts\":[]}}",
		"{\"system_instruction\":{\"parts\":[{\"text\":\"Be \\\"brief\\\".\"}]}}", 1);
	made(FORMAT_GEMINI, rule, "{}",
		"{\"systemInstruction\":{\"parts\":[{\"text\":\"Be \\\"brief\\\".\"}]}}", 1);
	made(FORMAT_CONVERSE, rule, "{}", "{\"system\":[{\"text\":\"Be \\\"brief\\\".\"}]}", 1);
}

static void
bad_rules_are_refused(void **state)
{
	static const char *const bad[] = { "", "sett a=1", "set a", "set a=b", "set .a=1",
		"set a..b=1", "set model=\"x\"", "remove stream", "cap max_tokens=0",
		"cap max_tokens=ten", "cap n=1", "system ", "header Authorization: x", "header X-A",
		"header X A: b", "set a\"b=1", "set a.b.c.d.e.f.g.h.i=1" };
	static const char *const good[] = { "set a=1", " set  a.b = \"x=y\" ",
		"default stop=[\"a\"]", "remove a.b", "system Be kind.", "header X-A: b: c",
		"cap max_tokens=4096" };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct err err = { 0 };

		assert_int_equal(request_rule_check(span_of(bad[i]), &err), -1);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct err err = { 0 };

		assert_int_equal(request_rule_check(span_of(good[i]), &err), 0);
	}
}

static void
headers_are_listed(void **state)
{
	const char *at = "set a=1\nheader X-One: 1\nheader host: x\nheader X-Two: a: b";
	struct span name, value;

	(void)state;
	assert_true(request_rules_header(&at, &name, &value));
	assert_true(span_is(name, "X-One") && span_is(value, "1"));
	assert_true(request_rules_header(&at, &name, &value));
	assert_true(span_is(name, "X-Two") && span_is(value, "a: b"));
	assert_false(request_rules_header(&at, &name, &value));
}

static void
rules_are_told_by_number(void **state)
{
	static const char list[] = "set a=1\n\nheader X-One: secret\nremove b\nnonsense\nset c=2";
	static const char *const told[] = { "set a=1", "header X-One", "remove b", "set c=2" };
	struct arena *a = arena_new(1 << 20);
	struct span body = span_of("{\"a\":2}"), text;
	struct err err = { 0 };
	const char *at = list;
	uint32_t changed;

	(void)state;
	for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
		assert_true(request_rules_next(&at, &text) && span_is(text, told[i]));
	assert_false(request_rules_next(&at, &text));
	assert_int_equal(request_rules_heads(list), 2);
	assert_int_equal(request_rules_apply(a, list, NULL, &body, &changed, &err), 0);
	assert_int_equal(changed, 1 | 8); /* b is not there */
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_set_and_removed),
		cmocka_unit_test(ceilings_are_held_down_by_every_name),
		cmocka_unit_test(instructions_stand_in_front),
		cmocka_unit_test(bad_rules_are_refused),
		cmocka_unit_test(headers_are_listed),
		cmocka_unit_test(rules_are_told_by_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
