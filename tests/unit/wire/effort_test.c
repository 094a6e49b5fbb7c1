/*
 * effort_test.c - levels and tokens, by the reference's table.
 */
#include "wire/effort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void
levels_have_names(void **state)
{
	(void)state;
	for (int e = EFFORT_NONE; e <= EFFORT_MAX; e++)
		assert_int_equal(effort_named(span_of(effort_name((enum effort)e))), e);
	assert_int_equal(effort_named(SPAN_LIT("")), EFFORT_UNSET);
	assert_int_equal(effort_named(SPAN_LIT("High")), EFFORT_UNSET);
	assert_string_equal(effort_name(EFFORT_UNSET), "");
}

static void
tokens_become_the_nearest_level_and_back(void **state)
{
	static const struct {
		int64_t tokens;
		enum effort want;
	} cases[] = { { -1, EFFORT_NONE }, { 0, EFFORT_NONE }, { 1, EFFORT_MINIMAL },
		{ 512, EFFORT_MINIMAL }, { 513, EFFORT_LOW }, { 1024, EFFORT_LOW },
		{ 1025, EFFORT_MEDIUM }, { 8192, EFFORT_MEDIUM }, { 8193, EFFORT_HIGH },
		{ 24576, EFFORT_HIGH }, { 24577, EFFORT_XHIGH }, { INT64_MAX, EFFORT_XHIGH } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(effort_of_budget(cases[i].tokens), cases[i].want);
	assert_int_equal(effort_budget(EFFORT_UNSET), -1);
	assert_int_equal(effort_budget(EFFORT_NONE), 0);
	for (int e = EFFORT_LOW; e <= EFFORT_XHIGH; e++)
		assert_int_equal(effort_of_budget(effort_budget((enum effort)e)), e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(tokens_become_the_nearest_level_and_back),
	};

	return cmocka_run_group_tests_name("wire/effort", tests, NULL, NULL);
}
