/* json_test.c - RFC 8259 to the letter, in one pass, whatever comes. */
#include "base/clock.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A copy without a byte to spare, so that the sanitizer sees any look behind the end. */
static struct span
exact(const char *text, size_t len)
{
	char *copy = malloc(len == 0 ? 1 : len);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return (struct span){ copy, len };
}

static bool
valid(const char *text, size_t len)
{
	struct span s = exact(text, len);
	bool ok = json_valid(s);

	free((void *)(uintptr_t)s.at);
	return ok;
}

static void
grammar_is_kept_to_the_letter(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} cases[] = {
		{ "{}", true },
		{ "[]", true },
		{ "null", true },
		{ "true", true },
		{ "false", true },
		{ "0", true },
		{ "\"\"", true },
		{ " \t\r\n{ \t\r\n} \t\r\n", true },
		{ "[1,2,3]", true },
		{ "{\"a\":1,\"b\":[{}]}", true },
		{ "[[],[[]],{}]", true },
		{ "-0", true },
		{ "-0.0e-0", true },
		{ "1E+5", true },
		{ "123.456e789", true },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\"", true },
		{ "\"\x7f\xff\"", true },
		{ "{\"a\":1,\"a\":2}", true },
		{ "{\"\":0}", true },

		{ "", false },
		{ " ", false },
		{ "{", false },
		{ "}", false },
		{ "[", false },
		{ "]", false },
		{ "[1", false },
		{ "[1,", false },
		{ "[1,]", false },
		{ "[,1]", false },
		{ "[1 2]", false },
		{ "[1,,2]", false },
		{ "{\"a\"}", false },
		{ "{\"a\":}", false },
		{ "{\"a\":1,}", false },
		{ "{,}", false },
		{ "{a:1}", false },
		{ "{1:1}", false },
		{ "{\"a\" 1}", false },
		{ "{\"a\":1 \"b\":2}", false },
		{ "[1}", false },
		{ "{\"a\":1]", false },
		{ "[{]}", false },
		{ "{}{}", false },
		{ "{} x", false },
		{ "null null", false },
		{ "nul", false },
		{ "nulL", false },
		{ "True", false },
		{ "truefalse", false },
		{ "undefined", false },
		{ "NaN", false },
		{ "-Infinity", false },
		{ "+1", false },
		{ "01", false },
		{ "-01", false },
		{ "-", false },
		{ "1.", false },
		{ ".5", false },
		{ "1e", false },
		{ "1e+", false },
		{ "1.e5", false },
		{ "0x10", false },
		{ "1_000", false },
		{ "--1", false },
		{ "'a'", false },
		{ "\"", false },
		{ "\"a", false },
		{ "\"\\\"", false },
		{ "\"\\x41\"", false },
		{ "\"\\u12\"", false },
		{ "\"\\u12G4\"", false },
		{ "\"\\", false },
		{ "\"\\u", false },
		{ "\"a\nb\"", false },
		{ "\"\t\"", false },
		{ "\"\x1f\"", false },
		{ "[1]//c", false },
		{ "/**/1", false },
		{ "\xEF\xBB\xBF{}", false },
		{ "\x0b{}", false },
		{ "\xC2\xA0{}", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (valid(cases[i].text, strlen(cases[i].text)) != cases[i].want)
			fail_msg("%s", cases[i].text);
	assert_false(valid("\"a\0b\"", 5));
	assert_false(valid("{}\0", 3));
	assert_false(valid("\"\\\0\"", 4));
	assert_false(json_valid(SPAN_NONE));
}

static const char sample[] = "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":"
			     "\"user\",\"content\":\"a \\\"b\\\" "
			     "\\u00e9 \xC3\xA9 and some more text to be longer than a "
			     "vector\"}],\"n\":-1.5e+3,\"o\":{\"x\":"
			     "[null,false,{}]} , \"z\" : 0 }";

static void
every_beginning_of_a_text_is_no_text(void **state)
{
	(void)state;
	assert_true(valid(sample, sizeof sample - 1));
	for (size_t len = 0; len < sizeof sample - 1; len++)
		if (valid(sample, len))
			fail_msg("cut at %zu", len);
}

/* The vector loop and the byte loop must stop at the same bytes, wherever these stand. */
static void
stop_bytes_are_seen_at_every_offset(void **state)
{
	char text[202];

	(void)state;
	for (size_t at = 1; at < 200; at++)
		for (int c = 0; c < 256; c++) {
			bool want = c >= 0x20 && c != '"' && c != '\\';

			memset(text, 'x', sizeof text);
			text[0] = text[200] = '"';
			text[at] = (char)c;
			if (at == 199 && c == '\\')
				continue; /* hides the closing quote: also no text, but another one */
			if (valid(text, 201) != want)
				fail_msg("byte %d at %zu", c, at);
		}
}

static uint32_t
dice(uint32_t *state, uint32_t sides)
{
	*state = *state * 1664525u + 1013904223u;
	return (*state >> 8) % sides;
}

/* The rule, byte by byte: where the string that begins at `at` ends, or is wrong (then *ok is false). */
static size_t
plain_end(const char *text, size_t at, size_t len, bool *ok)
{
	*ok = false;
	for (at++; at < len; at++) {
		if (text[at] == '"') {
			*ok = true;
			return at + 1;
		}
		if ((unsigned char)text[at] < 0x20)
			return at;
		if (text[at] != '\\')
			continue;
		if (++at == len)
			return at;
		if (text[at] == 'u') {
			for (int digits = 0; digits < 4; digits++)
				if (++at == len ||
					strchr("0123456789abcdefABCDEF", text[at]) == NULL)
					return at;
		} else if (strchr("\"\\/bfnrt", text[at]) == NULL) {
			return at;
		}
	}
	return at;
}

static bool
keep_end(void *ctx, const struct json_member *m)
{
	*(size_t *)ctx = m->end;
	return true;
}

static void
strings_end_where_they_do_byte_by_byte(void **state)
{
	static const char *const pieces[] = { "plain text", "a", "\\n", "\\\\", "\\\"", "\\\\\\\"",
		"\\u00e9", "\\uD83d\\uDE00", "\xC3\xA9", "/",
		"a longer run of nothing else in it" };
	static const char *const wrong[] = { "\x01", "\n", "\\x", "\\u12g4", "\\", "\\u", "\x1F" };
	uint32_t seed = 1;
	char text[1024];

	(void)state;
	for (int turn = 0; turn < 30000; turn++) {
		size_t len = 2, want, got = 0, at_byte = 0, count = dice(&seed, 20);
		struct span whole;
		bool ok;

		memcpy(text, "[\"", 2);
		for (size_t i = 0; i < count; i++) {
			bool bad = dice(&seed, 60) == 0;
			const char *piece =
				bad ? wrong[dice(&seed, sizeof wrong / sizeof wrong[0])]
				    : pieces[dice(&seed, sizeof pieces / sizeof pieces[0])];

			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		text[len++] = '"';
		for (size_t blanks = dice(&seed, 80); blanks > 0; blanks--)
			text[len++] = ' ';
		text[len++] = ']';
		text[len] = '\0';
		want = plain_end(text, 1, len, &ok);
		whole = exact(text, len);
		if (json_each_element(whole, keep_end, &got, &at_byte) == 0) {
			assert_true(ok);
			assert_int_equal(got, want);
		} else if (ok && strspn(text + want, " ") == len - 1 - want) {
			fail_msg("%.*s: refused at %zu", (int)len, text, at_byte);
		} else if (!ok && at_byte != want) {
			fail_msg("%.*s: %zu, not %zu", (int)len, text, at_byte, want);
		}
		free((void *)(uintptr_t)whole.at);
	}
}

static void
depth_has_a_ceiling_and_no_recursion(void **state)
{
	size_t huge = 1000000;
	char *text = malloc(huge * 6);
	bool object;

	(void)state;
	assert_non_null(text);
	for (int kind = 0; kind < 2; kind++)
		for (size_t depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
			char *p = text;

			object = kind == 1;
			for (size_t i = 0; i < depth; i++)
				p += sprintf(p, "%s", object ? "{\"\":" : "[");
			p += sprintf(p, "0");
			for (size_t i = 0; i < depth; i++)
				*p++ = object ? '}' : ']';
			assert_true(valid(text, (size_t)(p - text)) == (depth <= JSON_DEPTH_MAX));
		}
	memset(text, '[', huge);
	assert_false(valid(text, huge));
	free(text);
}

struct seen {
	struct span text;
	int count;
	int stop_after; /* 0: never */
	size_t end;
	char keys[256];
};

static bool
record(void *ctx, const struct json_member *m)
{
	struct seen *s = ctx;
	size_t used = strlen(s->keys);

	assert_true(m->start >= s->end && m->end > m->start && m->end <= s->text.len);
	assert_true(m->value.raw.at + m->value.raw.len == s->text.at + m->end);
	assert_true(m->value.type != JSON_NONE);
	assert_true(json_valid(m->value.raw));
	if (m->key.at != NULL) {
		assert_true(s->text.at[m->start] == '"');
		assert_true(m->key.at == s->text.at + m->start + 1);
	} else {
		assert_true(m->value.raw.at == s->text.at + m->start);
	}
	s->end = m->end;
	s->count++;
	(void)snprintf(s->keys + used, sizeof s->keys - used, "%.*s=%.*s;", (int)m->key.len,
		m->key.at, (int)m->value.raw.len, m->value.raw.at);
	return s->count != s->stop_after;
}

static void
members_come_in_order_with_their_places(void **state)
{
	struct span text =
		SPAN_LIT(" { \"a\" : 1 , \"b\\n\":[1,{\"a\":2}],\"a\":\"}\" , \"\":null } ");
	struct seen s = { .text = text };

	(void)state;
	assert_int_equal(json_each(text, record, &s, NULL), 0);
	assert_string_equal(s.keys, "a=1;b\\n=[1,{\"a\":2}];a=\"}\";=null;");
}

static void
elements_come_in_order(void **state)
{
	struct span text = SPAN_LIT("[1, \"a,]\" ,[2,3],{\"k\":[4]},null]");
	struct seen s = { .text = text };

	(void)state;
	assert_int_equal(json_each_element(text, record, &s, NULL), 0);
	assert_string_equal(s.keys, "=1;=\"a,]\";=[2,3];={\"k\":[4]};=null;");
	s = (struct seen){ .text = SPAN_LIT("[ ]") };
	assert_int_equal(json_each_element(s.text, record, &s, NULL), 0);
	assert_int_equal(s.count, 0);
}

static void
walk_ends_when_told(void **state)
{
	struct span text = SPAN_LIT("{\"a\":1,\"b\":2, garbage");
	struct seen s = { .text = text, .stop_after = 2 };

	(void)state;
	assert_int_equal(json_each(text, record, &s, NULL), 0);
	assert_int_equal(s.count, 2);
}

static void
errors_tell_their_byte(void **state)
{
	static const struct {
		const char *text;
		size_t at;
	} cases[] = {
		{ "", 0 },
		{ "[]", 0 },
		{ "  x", 2 },
		{ "{\"a\":1,}", 7 },
		{ "{\"a\":tru}", 8 },
		{ "{\"a\":\"b\x01\"}", 7 },
		{ "{} x", 3 },
		{ "{\"a\":[1,2}", 9 },
		{ "{\"a\":01}", 6 },
		{ "{\"a\":\"\\q\"}", 7 },
		{ "{\"a\"", 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct seen s = { .text = span_of(cases[i].text) };
		size_t at = 999;

		assert_int_equal(json_each(s.text, record, &s, &at), -1);
		if (at != cases[i].at)
			fail_msg("%s: %zu", cases[i].text, at);
	}
}

static bool
is_raw(struct json_value v, const char *raw)
{
	return span_is(v.raw, raw);
}

static void
get_finds_the_last_of_a_name(void **state)
{
	static const char text[] =
		"{\"a\":1,\"\\u0061\":2,\"b\":{\"a\":9},\"ab\":3,\"\\uD83D\\uDE00\":4,"
		"\"\\ud83d\":5,\"\":6,\"n\\u0000\":7}";

	(void)state;
	assert_true(is_raw(json_get(span_of(text), "a"), "2"));
	assert_true(is_raw(json_get(span_of(text), "ab"), "3"));
	assert_true(is_raw(json_get(span_of(text), "\xF0\x9F\x98\x80"), "4"));
	assert_true(is_raw(json_get(span_of(text), ""), "6"));
	assert_int_equal(json_get(span_of(text), "n").type, JSON_NONE); /* an inner NUL is no end */
	assert_int_equal(json_get(span_of(text), "c").type, JSON_NONE);
	assert_int_equal(json_get(span_of(text), "\\u0061").type, JSON_NONE);
	assert_int_equal(json_get(SPAN_LIT("[1]"), "a").type, JSON_NONE);
	assert_int_equal(json_get(SPAN_NONE, "a").type, JSON_NONE);
	assert_int_equal(json_get(SPAN_LIT("{\"a\":1"), "a").type, JSON_NONE); /* broken: nothing */
}

static void
types_are_told(void **state)
{
	struct span text = SPAN_LIT(
		"{\"a\":null,\"b\":false,\"c\":true,\"d\":-1,\"e\":\"\",\"f\":[],\"g\":{}}");

	(void)state;
	assert_int_equal(json_get(text, "a").type, JSON_NULL);
	assert_int_equal(json_get(text, "b").type, JSON_FALSE);
	assert_int_equal(json_get(text, "c").type, JSON_TRUE);
	assert_int_equal(json_get(text, "d").type, JSON_NUMBER);
	assert_int_equal(json_get(text, "e").type, JSON_STRING);
	assert_int_equal(json_get(text, "f").type, JSON_ARRAY);
	assert_int_equal(json_get(text, "g").type, JSON_OBJECT);
}

static void
paths_go_down(void **state)
{
	struct span text =
		SPAN_LIT("{\"usage\":{\"d\":{\"cached\":5,\"\":6}},\"s\":\"x\",\"\":{\"\":7}}");

	(void)state;
	assert_true(is_raw(json_path(text, "usage.d.cached"), "5"));
	assert_true(is_raw(json_path(text, "s"), "\"x\""));
	assert_true(is_raw(json_path(text, "usage.d."), "6"));
	assert_true(is_raw(json_path(text, "."), "7"));
	assert_int_equal(json_path(text, "usage.x.cached").type, JSON_NONE);
	assert_int_equal(json_path(text, "s.t").type, JSON_NONE);
	assert_int_equal(json_path(text, "usage.d.cached.more").type, JSON_NONE);
}

static void
strings_are_decoded(void **state)
{
	static const struct {
		const char *raw, *want; /* NULL: refused */
	} cases[] = {
		{ "\"\"", "" },
		{ "\"abc\"", "abc" },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
		{ "\"\\u0041\\u00e9\\u20AC\"", "A\xC3\xA9\xE2\x82\xAC" },
		{ "\"\\uD83D\\uDE00!\"", "\xF0\x9F\x98\x80!" },
		{ "\"\\uFFFF\"", "\xEF\xBF\xBF" },
		{ "\"\xC3\xA9\"", "\xC3\xA9" },
		{ "\"\\uD83D\"", NULL },
		{ "\"\\uDE00\"", NULL },
		{ "\"\\uD83Dx\"", NULL },
		{ "\"\\uD83D\\n\"", NULL },
		{ "\"\\uD83D\\uD83D\"", NULL },
		{ "\"\\u0000\"", NULL },
		{ "\"a\\u0000b\"", NULL },
		{ "\"\\x\"", NULL },
		{ "\"\\\"", NULL },
		{ "\"", NULL },
		{ "\"a\"b\"", NULL },
		{ "\"\n\"", NULL },
		{ "\"\\u12\"", NULL },
		{ "abc", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span raw = exact(cases[i].raw, strlen(cases[i].raw));
		char out[32] = "untouched";
		ptrdiff_t len =
			json_string((struct json_value){ JSON_STRING, raw }, out, sizeof out);

		if (cases[i].want == NULL ? len != -1
					  : len != (ptrdiff_t)strlen(cases[i].want) ||
						    strcmp(out, cases[i].want) != 0)
			fail_msg("%s: %td", cases[i].raw, len);
		free((void *)(uintptr_t)raw.at);
	}
	assert_int_equal(json_string((struct json_value){ JSON_NUMBER, SPAN_LIT("\"a\"") },
				 (char[4]){ 0 }, 4),
		-1);
}

static void
strings_fit_or_are_refused(void **state)
{
	struct json_value v = { JSON_STRING, SPAN_LIT("\"ab\\u20acd\"") }; /* six bytes */

	(void)state;
	for (size_t room = 0; room < 12; room++) {
		char *out = malloc(room == 0 ? 1 : room);

		assert_int_equal(json_string(v, out, room), room >= 7 ? 6 : -1);
		free(out);
	}
}

static void
whole_numbers_are_read_exactly(void **state)
{
	static const struct {
		const char *raw;
		int64_t want; /* -999: refused */
	} cases[] = {
		{ "0", 0 },
		{ "-0", 0 },
		{ "42", 42 },
		{ "-42", -42 },
		{ "1e3", 1000 },
		{ "5.0", 5 },
		{ "1.5e1", 15 },
		{ "1500e-2", 15 },
		{ "0.0e-99999999999999999999", 0 },
		{ "9223372036854775807", INT64_MAX },
		{ "-9223372036854775808", INT64_MIN },
		{ "9.223372036854775807e18", INT64_MAX },
		{ "100000000000000000000e-20", 1 },
		{ "9223372036854775808", -999 },
		{ "-9223372036854775809", -999 },
		{ "1e19", -999 },
		{ "1.5", -999 },
		{ "15e-1", -999 },
		{ "1e-1", -999 },
		{ "1e99999999999999999999", -999 },
		{ "01", -999 },
		{ "+1", -999 },
		{ "1 ", -999 },
		{ "", -999 },
		{ "1.", -999 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t got = -999;
		int rc = json_int((struct json_value){ JSON_NUMBER, span_of(cases[i].raw) }, &got);

		if (got != cases[i].want || rc != (cases[i].want == -999 ? -1 : 0))
			fail_msg("%s: %d %lld", cases[i].raw, rc, (long long)got);
	}
	assert_int_equal(
		json_int((struct json_value){ JSON_STRING, SPAN_LIT("\"1\"") }, &(int64_t){ 0 }),
		-1);
}

/* Megabytes made to cost most: the time grows with the length alone.  The bound is some fifty times
 * what this takes, and thousands of times below anything quadratic. */
static void
hostile_megabytes_cost_their_length(void **state)
{
	static const char *const units[] = { "\"\\u0061\":0,", "\"a\":[],", "\"a\":\"\\\\\\\\\",",
		"\"a\":1e1,", "\"a\":{\"a\":[{}]},", "\"a\":0 , " };
	size_t bytes = 4000000;
	char *text = malloc(bytes + 64);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		char *p = text;
		int64_t started = clock_mono_us();

		*p++ = '{';
		while ((size_t)(p - text) < bytes)
			p = stpcpy(p, units[i]);
		p = stpcpy(p, "\"z\":1}");
		assert_true(is_raw(json_get((struct span){ text, (size_t)(p - text) }, "z"), "1"));
		if (clock_mono_us() - started > 5000000)
			fail_msg("%s: %lld us", units[i], (long long)(clock_mono_us() - started));
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grammar_is_kept_to_the_letter),
		cmocka_unit_test(every_beginning_of_a_text_is_no_text),
		cmocka_unit_test(stop_bytes_are_seen_at_every_offset),
		cmocka_unit_test(strings_end_where_they_do_byte_by_byte),
		cmocka_unit_test(depth_has_a_ceiling_and_no_recursion),
		cmocka_unit_test(members_come_in_order_with_their_places),
		cmocka_unit_test(elements_come_in_order),
		cmocka_unit_test(walk_ends_when_told),
		cmocka_unit_test(errors_tell_their_byte),
		cmocka_unit_test(get_finds_the_last_of_a_name),
		cmocka_unit_test(types_are_told),
		cmocka_unit_test(paths_go_down),
		cmocka_unit_test(strings_are_decoded),
		cmocka_unit_test(strings_fit_or_are_refused),
		cmocka_unit_test(whole_numbers_are_read_exactly),
		cmocka_unit_test(hostile_megabytes_cost_their_length),
	};

	return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
