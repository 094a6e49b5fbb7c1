/*
 * python_test.c - what repr() prints becomes the JSON that json.dumps() would have printed.
 */
#include "wire/python.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
literals_become_json(void **state)
{
	static const struct {
		const char *why, *in, *want;
	} cases[] = {
		{ "single quotes", "{'a': 'b'}", "{\"a\":\"b\"}" },
		{ "an apostrophe makes the quotes double", "{'text': \"I'm\"}",
			"{\"text\":\"I'm\"}" },
		{ "double within single", "{'a': 'say \"hi\"'}", "{\"a\":\"say \\\"hi\\\"\"}" },
		{ "both kinds", "{'a': 'I\\'m \"x\"'}", "{\"a\":\"I'm \\\"x\\\"\"}" },
		{ "words", "{'a': True, 'b': False, 'c': None}",
			"{\"a\":true,\"b\":false,\"c\":null}" },
		{ "JSON's words", "{'a': true, 'b': null}", "{\"a\":true,\"b\":null}" },
		{ "numbers", "[0, -1, 2.5, 1e-05, 1e+16, inf, -inf, nan]",
			"[0,-1,2.5,1e-05,1e+16,null,null,null]" },
		{ "escapes of letters", "['\\n\\t\\r\\\\\\a\\b\\f\\v']",
			"[\"\\u000a\\u0009\\u000d\\\\\\u0007\\u0008\\u000c\\u000b\"]" },
		{ "escapes of numbers", "['\\x1f\\xe9\\u20ac\\U0001f600\\0\\101']",
			"[\"\\u001f\\u00e9\\u20ac\\ud83d\\ude00\\u0000A\"]" },
		{ "an escape of a quote by number", "['\\x22\\x5c\\x41']", "[\"\\\"\\\\A\"]" },
		{ "no escape", "['\\d\\/']", "[\"\\\\d\\\\/\"]" },
		{ "UTF-8 as it stands", "['\xC3\xA9\xF0\x9F\x98\x80']",
			"[\"\xC3\xA9\xF0\x9F\x98\x80\"]" },
		{ "a tab as it stands", "['\t']", "[\"\\u0009\"]" },
		{ "tuples and last commas",
			"{'a': (1, 2), 'b': (1,), 'c': [1, ], 'd': {'e': 1, }, }",
			"{\"a\":[1,2],\"b\":[1],\"c\":[1],\"d\":{\"e\":1}}" },
		{ "empty ones", "[{}, [], (), '']", "[{},[],[],\"\"]" },
		{ "marks within strings", "{'a': '{[(,:)]}'}", "{\"a\":\"{[(,:)]}\"}" },
		{ "a line joined", "['a\\\nb']", "[\"ab\"]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes out = BYTES_LIMIT(4096);

		if (python_to_json(span_of(cases[i].in), &out) != 0 ||
			strcmp(out.at, cases[i].want) != 0)
			fail_msg("%s: got %s", cases[i].why, out.at);
		bytes_free(&out);
	}
}

static void
all_else_is_refused(void **state)
{
	static const char *const cases[] = { "", " ", "{'a'", "{'a': }", "{'a': 'b", "{'a': 'b\\",
		"['\\x']", "['\\x1']", "['\\ud83']", "['\\U00110000']", "{'a': b}", "{1: 2}",
		"[1 2]", "(}", "[1;]", "{'a': <object at 0x7f>}", "[,]", "['a' 'b']" };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i]);
		char *exact = malloc(len + 1);
		struct bytes out = BYTES_LIMIT(4096);

		memcpy(exact, cases[i], len);
		if (python_to_json((struct span){ exact, len }, &out) != -1)
			fail_msg("%s: got %s", cases[i], out.at);
		free(exact);
		bytes_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_become_json),
		cmocka_unit_test(all_else_is_refused),
	};

	return cmocka_run_group_tests_name("wire/python", tests, NULL, NULL);
}
