/* tags_test.c - X-Sluice-Tag is read strictly and never beyond its row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/tags.h"
#include <string.h>

static char tags[USAGE_TAGS_MAX][TAG_BYTES];
static struct err err;

static int
read_text(const char *text)
{
	memset(&err, 0, sizeof err);
	memset(tags, 'x', sizeof tags);
	return tags_read(span_of(text), tags, &err);
}

static void
tags_are_parted_trimmed_and_counted_once(void **state)
{
	(void)state;
	assert_int_equal(read_text(""), 0);
	assert_string_equal(tags[0], "");
	assert_int_equal(read_text(" feature=search ,, team=a/b:c,feature=search"), 0);
	assert_string_equal(tags[0], "feature=search");
	assert_string_equal(tags[1], "team=a/b:c");
	assert_string_equal(tags[2], "");
	assert_string_equal(tags[3], "");
	assert_int_equal(read_text("a=1,b=2,c=3,d=4,a=1"), 0);
	assert_string_equal(tags[3], "d=4");
}

static void
what_is_no_tag_is_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = { "search", "=x", "a=", "a b=c", "a=b c", "a=\"b\"",
		"a=\xC3\xA4", "a=1,b=2,c=3,d=4,e=5", NULL };
	char text[80];

	(void)state;
	for (size_t i = 0; bad[i] != NULL; i++) {
		if (read_text(bad[i]) == 0)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
		assert_non_null(strstr(err.says, "X-Sluice-Tag"));
	}
	memset(text, 'v', sizeof text);
	memcpy(text, "a=", 2);
	text[63] = '\0';
	assert_int_equal(read_text(text), 0);
	assert_int_equal(strlen(tags[0]), 63);
	text[63] = 'v';
	text[64] = '\0';
	assert_int_equal(read_text(text), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_are_parted_trimmed_and_counted_once),
		cmocka_unit_test(what_is_no_tag_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
