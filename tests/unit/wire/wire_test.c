/*
 * wire_test.c - the small readers that the files of this room share.
 */
#include "wire/wire-int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The rule, byte by byte. */
static size_t
plain_end(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			return i + 1;
		if (text[i] == '\\')
			i++;
	}
	return len;
}

static void
strings_end_at_the_first_quote_that_is_not_escaped(void **state)
{
	static const char letters[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\\\\"";
	uint32_t dice = 1;

	(void)state;
	for (size_t turn = 0; turn < 100000; turn++) {
		size_t len = turn % 200;
		char *text = malloc(len + 1); /* the sanitizer sees a look behind its end */

		for (size_t i = 0; i < len; i++) {
			dice = dice * 1664525u + 1013904223u;
			text[i] = letters[(dice >> 8) % (sizeof letters - 1)];
		}
		/* long ones have their quotes far behind */
		for (size_t i = 0; turn % 3 == 0 && i + 20 < len; i++)
			if (text[i] == '"')
				text[i] = i % 5 == 0 ? '\\' : 'b';
		assert_int_equal(wire_string_end(text, text + len) - text, plain_end(text, len));
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_end_at_the_first_quote_that_is_not_escaped),
	};

	return cmocka_run_group_tests_name("wire/wire", tests, NULL, NULL);
}
