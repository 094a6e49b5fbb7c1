/* bytes_test.c - spans, patterns and the buffer with a ceiling. */
#include "base/bytes.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void
spans_compare_whole(void **state)
{
	struct span nul = { "a\0b", 3 };

	(void)state;
	assert_true(span_is(SPAN_LIT("abc"), "abc"));
	assert_false(span_is(SPAN_LIT("abc"), "ab"));
	assert_false(span_is(SPAN_LIT("ab"), "abc"));
	assert_false(span_is(nul, "a"));
	assert_true(span_is(SPAN_NONE, ""));
	assert_true(span_is(span_of(NULL), ""));
	assert_true(span_is_nocase(SPAN_LIT("Content-TYPE"), "content-type"));
	assert_false(span_is_nocase(SPAN_LIT("[x"), "{x")); /* differ by the same bit as letters */
	assert_true(span_starts(SPAN_LIT("Bearer x"), "Bearer "));
	assert_false(span_starts(SPAN_LIT("Bear"), "Bearer"));
	assert_true(span_starts(SPAN_NONE, ""));
	assert_true(span_ends(SPAN_LIT("/openai/v1"), "/v1"));
	assert_false(span_ends(SPAN_LIT("v1"), "/v1"));
	assert_false(span_ends(SPAN_LIT("/v1/"), "/v1"));
	assert_true(span_ends(SPAN_NONE, ""));
}

static void
copy_tells_when_it_cut(void **state)
{
	char out[4] = "xxx";

	(void)state;
	assert_true(span_copy(SPAN_LIT("abc"), out, sizeof out));
	assert_string_equal(out, "abc");
	assert_false(span_copy(SPAN_LIT("abcd"), out, sizeof out));
	assert_string_equal(out, "abc");
	assert_true(span_copy(SPAN_NONE, out, sizeof out));
	assert_string_equal(out, "");
	assert_false(span_copy(SPAN_LIT("a"), out, 0));
}

static void
patterns_match(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool want;
	} cases[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "*", "abc", true },
		{ "gpt-4o", "gpt-4o", true },
		{ "gpt-4o", "gpt-4o-mini", false },
		{ "gpt-4o*", "gpt-4o-mini", true },
		{ "*-mini", "gpt-4o-mini", true },
		{ "*-mini", "gpt-4o-minis", false },
		{ "g?t", "gpt", true },
		{ "g?t", "gt", false },
		{ "a*b*c", "a-b-b-c", true },
		{ "a*b*c", "a-c-b", false },
		{ "**a**", "a", true },
		{ "*ab", "aab", true },
		{ "*aab", "aaab", true },
		{ "a*", "", false },
		{ "?*", "", false },
		{ "*?", "x", true },
		{ "A", "a", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (glob_match(cases[i].pattern, span_of(cases[i].text)) != cases[i].want)
			fail_msg("%s against %s", cases[i].pattern, cases[i].text);
	assert_true(glob_match("a?b", (struct span){ "a\0b", 3 }));
}

static void
hostile_pattern_costs_no_more_than_its_length_times_text(void **state)
{
	static char text[20000];
	char pattern[128];
	int64_t started = clock_mono_us();

	(void)state;
	memset(text, 'a', sizeof text);
	for (size_t i = 0; i + 1 < sizeof pattern; i++)
		pattern[i] = i % 2 == 0 ? '*' : 'a';
	strcpy(pattern + 100, "b");
	assert_false(glob_match(pattern, (struct span){ text, sizeof text }));
	assert_true(
		clock_mono_us() - started < 2000000); /* 2.5 M steps; exponential would be ages */
}

static void
lists_match_any_item(void **state)
{
	static const struct {
		const char *patterns, *text;
		bool want;
	} cases[] = {
		{ NULL, "x", true },
		{ "", "x", true },
		{ " , \n", "x", true },
		{ "a,b", "b", true },
		{ "a,b", "c", false },
		{ "a\nb*\r\nc", "bee", true },
		{ "  a  ,  b ", "a", true },
		{ "a b", "a b", true },
		{ ",a", "", false },
		{ "*", "anything", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (glob_list_match(cases[i].patterns, span_of(cases[i].text)) != cases[i].want)
			fail_msg("row %zu", i);
}

static void
buffer_grows_to_its_ceiling_and_no_further(void **state)
{
	(void)state;
	for (size_t limit = 0; limit < 300; limit++) {
		struct bytes b = BYTES_LIMIT(limit);

		for (size_t i = 0; i < limit; i++)
			assert_int_equal(bytes_add(&b, "x", 1), 0);
		assert_int_equal(b.len, limit);
		assert_int_equal(bytes_add(&b, "", 0), 0);
		assert_int_equal(strlen(b.at), limit);
		assert_int_equal(bytes_add(&b, "x", 1), -1);
		assert_true(b.failed);
		assert_int_equal(bytes_add(&b, "", 0), -1); /* a series needs one check */
		assert_int_equal(bytes_printf(&b, "%d", 1), -1);
		assert_int_equal(b.len, limit);
		bytes_free(&b);
		assert_false(b.failed);
		assert_int_equal(b.limit, limit);
		assert_null(b.at);
	}
}

static void
what_is_expected_is_no_promise(void **state)
{
	struct bytes b = BYTES_LIMIT(100);
	const char *at;

	(void)state;
	bytes_expect(&b, 60);
	at = b.at;
	assert_int_equal(bytes_puts(&b, "as it was"), 0);
	bytes_expect(&b, 10);
	assert_ptr_equal(b.at, at);
	for (int i = 0; i < 9; i++)
		assert_int_equal(bytes_puts(&b, "0123456789"), 0);
	bytes_expect(&b, SIZE_MAX);
	assert_false(b.failed);
	assert_int_equal(b.room, 101);
	assert_int_equal(bytes_puts(&b, "!"), 0);
	assert_int_equal(bytes_puts(&b, "!"), -1);
	bytes_expect(&b, 1);
	assert_int_equal(strlen(b.at), 100);
	bytes_free(&b);
}

static void
huge_lengths_do_not_wrap(void **state)
{
	struct bytes b = BYTES_LIMIT(SIZE_MAX);
	struct bytes c = BYTES_LIMIT(100);

	(void)state;
	assert_int_equal(bytes_add(&b, "x", 1), -1); /* no room for the NUL could be promised */
	assert_int_equal(bytes_puts(&c, "abc"), 0);
	assert_int_equal(bytes_add(&c, "x", SIZE_MAX), -1);
	assert_int_equal(bytes_add(&c, "x", SIZE_MAX - 2), -1);
	bytes_free(&c);
}

static void
printf_appends_or_leaves_all_as_it_was(void **state)
{
	struct bytes b = BYTES_LIMIT(200);

	(void)state;
	assert_int_equal(bytes_printf(&b, "%s=%d;", "a", 1), 0);
	assert_int_equal(bytes_printf(&b, "%0100d", 7), 0);
	assert_int_equal(b.len, 104);
	assert_int_equal(bytes_printf(&b, "%0100d", 7), -1);
	assert_int_equal(b.len, 104);
	assert_int_equal(strlen(b.at), 104);
	assert_memory_equal(b.at, "a=1;000", 7);
	bytes_free(&b);
}

static void
drop_takes_from_the_front(void **state)
{
	struct bytes b = BYTES_LIMIT(100);

	(void)state;
	bytes_drop(&b, 5);
	assert_int_equal(bytes_puts(&b, "abcdef"), 0);
	bytes_drop(&b, 2);
	assert_string_equal(b.at, "cdef");
	bytes_drop(&b, 0);
	assert_int_equal(bytes_span(&b).len, 4);
	bytes_drop(&b, SIZE_MAX);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.at, "");
	bytes_free(&b);
}

static void
callers_array_is_used_and_never_moved(void **state)
{
	char room[8];
	struct bytes b = { .at = room, .room = sizeof room, .limit = sizeof room - 1 };

	(void)state;
	assert_int_equal(bytes_puts(&b, "1234567"), 0);
	assert_ptr_equal(b.at, room);
	assert_int_equal(bytes_puts(&b, "8"), -1);
	assert_ptr_equal(b.at, room);
	assert_string_equal(room, "1234567");
}

static void
json_strings_are_escaped_and_valid_utf8(void **state)
{
	static const struct {
		const char *why;
		struct span in;
		const char *want;
	} cases[] = {
		{ "empty", { "", 0 }, "\"\"" },
		{ "plain", { "abc", 3 }, "\"abc\"" },
		{ "named escapes", { "\"\\\b\f\n\r\t", 7 }, "\"\\\"\\\\\\b\\f\\n\\r\\t\"" },
		{ "control", { "a\0\x1f", 3 }, "\"a\\u0000\\u001f\"" },
		{ "delete is no control", { "\x7f", 1 }, "\"\x7f\"" },
		{ "two to four bytes", { "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9 },
			"\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"" },
		{ "lone continuation", { "a\x80z", 3 }, "\"a\xEF\xBF\xBDz\"" },
		{ "overlong", { "\xC0\xAF", 2 }, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
		{ "overlong of three", { "\xE0\x80\xAF", 3 },
			"\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" },
		{ "surrogate", { "\xED\xA0\x80", 3 }, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" },
		{ "above U+10FFFF", { "\xF4\x90\x80\x80", 4 },
			"\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" },
		{ "cut off at the end", { "a\xE2\x82", 3 }, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"" },
		{ "cut off by a letter", { "\xF0\x9F\x98z", 4 },
			"\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes b = BYTES_LIMIT(200);
		/* Exactly as long as the span: the sanitizer sees a look behind its end. */
		char *exact = malloc(cases[i].in.len + (cases[i].in.len == 0));

		memcpy(exact, cases[i].in.at, cases[i].in.len);
		assert_int_equal(bytes_json(&b, (struct span){ exact, cases[i].in.len }), 0);
		if (strcmp(b.at, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].why, b.at);
		bytes_free(&b);
		free(exact);
	}
}

/* One character at a time goes another way through it than a long text. */
static void
long_texts_are_written_as_their_characters(void **state)
{
	static const char *const pieces[] = { "a", "\"", "\\", "\n", "\x01", "\x7F", "\xC3\xA9",
		"\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xFF", "b", "c", "d", "e", "f", "g", "h" };
	uint32_t dice = 1;

	(void)state;
	for (int turn = 0; turn < 3000; turn++) {
		struct bytes text = BYTES_LIMIT(1000), got = BYTES_LIMIT(10000),
			     want = BYTES_LIMIT(10000);
		char *exact;

		for (int i = 0; i < turn % 100; i++) {
			const char *piece;

			dice = dice * 1664525u + 1013904223u;
			piece = pieces[(dice >> 8) % (sizeof pieces / sizeof pieces[0])];
			(void)bytes_puts(&text, piece);
			(void)bytes_json_inside(&want, span_of(piece));
		}
		exact = malloc(text.len + 1);
		if (text.len > 0)
			memcpy(exact, text.at, text.len);
		assert_int_equal(bytes_json_inside(&got, (struct span){ exact, text.len }), 0);
		assert_int_equal(got.len, want.len);
		if (want.len > 0)
			assert_memory_equal(got.at, want.at, want.len);
		free(exact);
		bytes_free(&text);
		bytes_free(&got);
		bytes_free(&want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_compare_whole),
		cmocka_unit_test(copy_tells_when_it_cut),
		cmocka_unit_test(patterns_match),
		cmocka_unit_test(hostile_pattern_costs_no_more_than_its_length_times_text),
		cmocka_unit_test(lists_match_any_item),
		cmocka_unit_test(buffer_grows_to_its_ceiling_and_no_further),
		cmocka_unit_test(what_is_expected_is_no_promise),
		cmocka_unit_test(huge_lengths_do_not_wrap),
		cmocka_unit_test(printf_appends_or_leaves_all_as_it_was),
		cmocka_unit_test(drop_takes_from_the_front),
		cmocka_unit_test(callers_array_is_used_and_never_moved),
		cmocka_unit_test(json_strings_are_escaped_and_valid_utf8),
		cmocka_unit_test(long_texts_are_written_as_their_characters),
	};

	return cmocka_run_group_tests_name("base/bytes", tests, NULL, NULL);
}
