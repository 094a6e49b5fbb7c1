/* where_test.c - the place of a value in a request's body. */
#include "gateway/where.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define URL "https://a.test/x.png"

static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
			   "{\"content\":[{\"text\":\"" URL "\"},"
			   "{\"image_url\":{\"type\":\"url\",\"url\":\"" URL "\"}}]}],"
			   "\"other\":\"https:\\/\\/b.test\\/\"}";

static void
a_text_of_the_body_is_told_by_its_place(void **state)
{
	struct span whole = span_of(body), holder;
	char path[64], cut[12];
	const char *first = strstr(body, URL), *second = strstr(first + 1, URL);

	(void)state;
	where_stands(whole, (struct span){ second, strlen(URL) }, path, sizeof path, &holder);
	assert_string_equal(path, "messages[1].content[1].image_url.url");
	assert_int_equal(holder.at[0], '{');
	assert_memory_equal(holder.at, "{\"type\":\"url\"", 13);
	assert_int_equal(holder.at[holder.len - 1], '}');
	where_stands(whole, (struct span){ first, strlen(URL) }, path, sizeof path, NULL);
	assert_string_equal(path, "messages[1].content[0].text");
	where_stands(whole, (struct span){ second, strlen(URL) }, cut, sizeof cut, NULL);
	assert_string_equal(cut, "messages[1]");
}

static void
a_text_with_escapes_is_told_by_its_content(void **state)
{
	char path[64];

	(void)state;
	where_stands(span_of(body), span_of("https://b.test/"), path, sizeof path, NULL);
	assert_string_equal(path, "other");
	where_stands(span_of(body), span_of("https://c.test/"), path, sizeof path, NULL);
	assert_string_equal(path, "");
	where_stands(span_of(body), SPAN_NONE, path, sizeof path, NULL);
	assert_string_equal(path, "");
}

static void
what_nests_too_deep_is_not_found_and_does_no_harm(void **state)
{
	char deep[400] = "{\"a\":", path[64];
	struct span holder;

	(void)state;
	for (int i = 0; i < 60; i++)
		(void)strcat(deep, "[");
	(void)strcat(deep, "\"" URL "\"");
	for (int i = 0; i < 60; i++)
		(void)strcat(deep, "]");
	(void)strcat(deep, "}");
	where_stands(span_of(deep), span_of(URL), path, sizeof path, &holder);
	assert_string_equal(path, "");
	where_stands(
		span_of(deep), (struct span){ strstr(deep, URL), 5 }, path, sizeof path, &holder);
	assert_memory_equal(path, "a[0][0]", 7);
	where_stands(span_of("{\"a\":[1,"), span_of(URL), path, sizeof path, &holder);
	assert_string_equal(path, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_of_the_body_is_told_by_its_place),
		cmocka_unit_test(a_text_with_escapes_is_told_by_its_content),
		cmocka_unit_test(what_nests_too_deep_is_not_found_and_does_no_harm),
	};

	return cmocka_run_group_tests_name("gateway/where", tests, NULL, NULL);
}
