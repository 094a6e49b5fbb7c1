/* id_test.c - identifiers and tokens. */
#include "base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void
text_goes_there_and_back(void **state)
{
	struct id ids[] = {
		{ { [15] = 1 } },
		{ { [0] = 0x80 } },
		{ { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
			255 } },
		id_random(),
		id_timed(1795233906789),
	};

	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		char text[ID_TEXT_BYTES];
		struct id back;

		id_text("tok_", ids[i], text);
		assert_int_equal(strlen(text), 26);
		assert_int_equal(id_parse("tok_", text, &back), 0);
		assert_true(id_equal(back, ids[i]));
		assert_int_equal(id_parse("prj_", text, &back), -1);
	}
}

static void
forms_that_are_no_id_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"tok_",
		"tok_0000000000000000000001",
		"tok_0000000000000000000000",
		"tok_00000000000000000000001",
		"tok_000000000000000000000!1",
		"TOK_0000000000000000000001",
		"tok_zzzzzzzzzzzzzzzzzzzzzz", /* above 2^128 */
		"tok_7n42DGM5Tflk9n8mt7Fhc8", /* 2^128 itself */
		" tok_0000000000000000000001",
	};
	struct id id;
	char text[ID_TEXT_BYTES];

	(void)state;
	assert_int_equal(id_parse("tok_", bad[2], &id), 0); /* the others differ from this one */
	assert_int_equal(id_parse("tok_", "tok_7n42DGM5Tflk9n8mt7Fhc7", &id), 0); /* 2^128 - 1 */
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (i != 2 && id_parse("tok_", bad[i], &id) != -1)
			fail_msg("%s", bad[i]);
	assert_int_equal(id_parse("tok_", NULL, &id), -1);
	id_text("tok_", ID_NONE, text);
	assert_string_equal(text, "");
	id_text("a-prefix-too-long-for-it_", id_random(), text);
	assert_string_equal(text, "");
}

static void
timed_ids_sort_by_time_as_bytes_and_as_text(void **state)
{
	char before[ID_TEXT_BYTES], after[ID_TEXT_BYTES];

	(void)state;
	for (int64_t ms = 1; ms < (int64_t)1 << 47; ms *= 2) {
		struct id a = id_timed(ms), b = id_timed(ms + 1);

		assert_true(id_time_ms(a) == ms);
		assert_true(memcmp(&a, &b, sizeof a) < 0);
		id_text("req_", a, before);
		id_text("req_", b, after);
		assert_true(strcmp(before, after) < 0);
	}
}

static void
ids_do_not_repeat(void **state)
{
	(void)state;
	assert_false(id_equal(id_random(), id_random()));
	assert_false(id_equal(id_timed(5), id_timed(5)));
	assert_true(id_is_none(ID_NONE));
	assert_false(id_is_none(id_random()));
}

static void
a_single_typing_error_is_always_noticed(void **state)
{
	char token[TOKEN_BYTES], wrong[TOKEN_BYTES];

	(void)state;
	token_make(token);
	assert_int_equal(strlen(token), 46);
	assert_false(token_mistyped(token, 46));
	for (size_t i = 6; i < 46; i++)
		for (char c = '0'; c <= 'z'; c++) {
			strcpy(wrong, token);
			wrong[i] = c;
			if (c != token[i] && !token_mistyped(wrong, 46))
				fail_msg("position %zu, %c", i, c);
		}
	for (size_t i = 6; i < 45; i++) {
		strcpy(wrong, token);
		wrong[i] = token[i + 1];
		wrong[i + 1] = token[i];
		if (strcmp(wrong, token) != 0)
			assert_true(token_mistyped(wrong, 46));
	}
	for (size_t len = 6; len < 46; len++)
		assert_true(token_mistyped(token, len));
}

static void
foreign_tokens_are_left_alone(void **state)
{
	(void)state;
	assert_false(token_mistyped("sk-proj-abc", 11));
	assert_false(token_mistyped("", 0));
	assert_false(token_mistyped("sk-sl", 5));
	assert_true(token_mistyped("sk-sl-", 6));
}

static void
masks_show_little(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "sk-sl-AbCdefghijklmnopqrstuvwxyz0123456789wXyZ", "sk-sl-AbCd\xE2\x80\xA6wXyZ" },
		{ "", "\xE2\x80\xA6" },
		{ "1234567", "\xE2\x80\xA6" },
		{ "12345678", "1\xE2\x80\xA6"
			      "8" },
		{ "1234567890123456", "12\xE2\x80\xA6"
				      "56" },
		{ "sk-sl-", "sk-sl-\xE2\x80\xA6" },
		{ "sk-sl-12345678", "sk-sl-1\xE2\x80\xA6"
				    "8" },
		{ "sk-ant-api03-0123456789012345678901234567890", "sk-a\xE2\x80\xA6"
								  "7890" },
		{ "\x01\"\xFF"
		  "4567890123456789012345678901\x7F\n34",
			"?\"?4\xE2\x80\xA6??34" },
	};
	char mask[TOKEN_MASKED_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		token_mask(cases[i].text, strlen(cases[i].text), mask);
		assert_string_equal(mask, cases[i].want);
	}
}

static void
tokens_use_all_digits_evenly(void **state)
{
	int seen[128] = { 0 };
	char token[TOKEN_BYTES];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		token_make(token);
		for (size_t j = 6; j < 40; j++)
			seen[(unsigned char)token[j]]++;
	}
	for (const char *p = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
		*p != '\0'; p++) /* 1,097 expected, deviation 33 */
		assert_true(seen[(unsigned char)*p] > 850 && seen[(unsigned char)*p] < 1350);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_goes_there_and_back),
		cmocka_unit_test(forms_that_are_no_id_are_refused),
		cmocka_unit_test(timed_ids_sort_by_time_as_bytes_and_as_text),
		cmocka_unit_test(ids_do_not_repeat),
		cmocka_unit_test(a_single_typing_error_is_always_noticed),
		cmocka_unit_test(foreign_tokens_are_left_alone),
		cmocka_unit_test(masks_show_little),
		cmocka_unit_test(tokens_use_all_digits_evenly),
	};

	return cmocka_run_group_tests_name("base/id", tests, NULL, NULL);
}
