/* err_test.c - a failure keeps its code, its text fits, and clients see only the public sentence. */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static void
set_fills_and_fails(void **state)
{
	struct err err = { .retry_boot_ms = 7, .says = "old" };

	(void)state;
	assert_int_equal(err_set(&err, ERR_NO_ROUTE, "no %s in %d", "x", 3), -1);
	assert_int_equal(err.code, ERR_NO_ROUTE);
	assert_string_equal(err.text, "no x in 3");
	assert_string_equal(err.says, "");
	assert_int_equal(err.retry_boot_ms, 0);
}

static void
wrap_puts_text_in_front(void **state)
{
	struct err err;

	(void)state;
	(void)err_set(&err, ERR_MEMORY, "inner");
	assert_int_equal(err_say(&err, "Try %d.", 1), -1);
	assert_int_equal(err_wrap(&err, "outer %d", 1), -1);
	assert_string_equal(err.text, "outer 1: inner");
	assert_int_equal(err.code, ERR_MEMORY);
	assert_string_equal(err.says, "Try 1.");
}

static void
nobody_listening_is_fine(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ERR_MEMORY, "x"), -1);
	assert_int_equal(err_wrap(NULL, "x"), -1);
	assert_int_equal(err_say(NULL, "x"), -1);
}

/* Whatever is cut, no half of a character remains. */
static void
long_texts_are_cut_between_characters(void **state)
{
	struct err err;
	char text[300];

	(void)state;
	for (size_t lead = 230; lead < 245; lead++) {
		size_t len;

		memset(text, 'a', lead);
		strcpy(text + lead, "\xF0\x9F\x98\x80\xE2\x82\xAC\xC3\xA9");
		(void)err_set(&err, ERR_INTERNAL, "%s", text);
		len = strlen(err.text);
		assert_true(len < sizeof err.text && len >= sizeof err.text - 4);
		assert_memory_equal(err.text, text, len);
		/* The next byte of the original begins a character. */
		assert_true((text[len] & 0xC0) != 0x80);
		(void)err_say(&err, "%s", text);
		assert_string_equal(err.says, err.text);
	}
	(void)err_set(&err, ERR_INTERNAL, "tail");
	memset(text, 'b', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	(void)err_wrap(&err, "%s", text);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void
clients_see_what_it_says_or_the_table(void **state)
{
	struct err err;

	(void)state;
	(void)err_set(&err, ERR_INVALID_TOKEN, "secret detail");
	assert_null(strstr(err_public(&err), "secret"));
	assert_string_equal(err_name(err.code), "invalid_token");
	assert_int_equal(err_status(err.code), 401);
	(void)err_say(&err, "Ask Bob.");
	assert_string_equal(err_public(&err), "Ask Bob.");
	assert_non_null(err_public(NULL));
}

static void
every_code_has_name_status_and_sentence(void **state)
{
	(void)state;
	for (int code = 1; code < ERR__COUNT; code++) {
		struct err err = { .code = (enum err_code)code };

		assert_true(err_status(err.code) >= 400 && err_status(err.code) < 600);
		assert_true(strlen(err_name(err.code)) > 3);
		assert_true(strlen(err_public(&err)) > 10);
	}
	assert_int_equal(err_status((enum err_code)9999), 500);
	assert_string_equal(err_name((enum err_code)9999), "internal");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_and_fails),
		cmocka_unit_test(wrap_puts_text_in_front),
		cmocka_unit_test(nobody_listening_is_fine),
		cmocka_unit_test(long_texts_are_cut_between_characters),
		cmocka_unit_test(clients_see_what_it_says_or_the_table),
		cmocka_unit_test(every_code_has_name_status_and_sentence),
	};

	return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
