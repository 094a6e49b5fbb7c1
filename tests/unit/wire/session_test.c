/* Which conversation a request belongs to, and what of its prompt is cached. */
#include "wire/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct span
header_of(const void *ctx, const char *name)
{
	return strcmp(name, "x-session-id") == 0 && ctx != NULL ? span_of(ctx) : SPAN_NONE;
}

static struct session
find(const char *body, const char *header)
{
	struct request_source s = { .body = span_of(body), .header = header_of, .ctx = header };
	struct session out;

	session_find(&s, &out);
	return out;
}

static void
ids_are_found_where_clients_put_them(void **state)
{
	(void)state;
	assert_string_equal(find("{\"prompt_cache_key\":\"k\"}", "h").id, "h");
	assert_string_equal(
		find("{\"previous_response_id\":\"r\",\"prompt_cache_key\":\"k\"}", NULL).id, "k");
	assert_string_equal(
		find("{\"metadata\":{\"session_id\":\"s\"},\"previous_response_id\":\"r\"}", NULL)
			.id,
		"s");
	assert_string_equal(find("{\"previous_response_id\":\"r\"}", NULL).id, "r");
	assert_string_equal(
		find("{\"metadata\":{\"user_id\":\"user_1_account__session_0a-b\"}}", NULL).id,
		"0a-b");
	assert_string_equal(find("{\"metadata\":{\"user_id\":\"someone\"}}", NULL).id, "");
	assert_string_equal(find("no JSON", NULL).id, "");
}

static void
prompts_that_begin_alike_have_one_hash(void **state)
{
	uint64_t first = find("{\"system\":\"s\",\"tools\":[1],\"messages\":[{\"role\":\"user\","
			      "\"content\":\"a\"}]}",
		NULL)
				 .prompt_hash;

	(void)state;
	assert_int_not_equal(first, 0);
	assert_int_equal(first, find("{\"tools\":[1],\"system\":\"s\",\"messages\":[{\"role\":"
				     "\"user\",\"content\":\"a\"},"
				     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":"
				     "\"user\",\"content\":\"c\"}],\"n\":1}",
					NULL)
					.prompt_hash);
	assert_int_not_equal(first, find("{\"system\":\"t\",\"tools\":[1],\"messages\":[{\"role\":"
					 "\"user\",\"content\":\"a\"}]}",
					    NULL)
					    .prompt_hash);
	assert_int_not_equal(first, find("{\"system\":\"s\",\"tools\":[1],\"messages\":[{\"role\":"
					 "\"user\",\"content\":\"b\"}]}",
					    NULL)
					    .prompt_hash);
	assert_int_equal(find("{\"n\":1}", NULL).prompt_hash, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_found_where_clients_put_them),
		cmocka_unit_test(prompts_that_begin_alike_have_one_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
