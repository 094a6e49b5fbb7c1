/*
 * neutral_ids_test.c - calls and results without ids find each other (R17).
 */
#include "wire/neutral.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena *arena;
static struct neutral_request n;
static struct err err;

static int
set_up(void **state)
{
	(void)state;
	arena = arena_new(1 << 20);
	neutral_request_init(&n, arena);
	return arena == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static void
call(const char *name, const char *id)
{
	struct neutral_part *p = neutral_add(&n, ROLE_ASSISTANT, PART_TOOL_CALL, &err);

	p->name = span_of(name);
	p->call_id = span_of(id);
}

static void
result(const char *name, const char *id)
{
	struct neutral_part *p = neutral_add(&n, ROLE_USER, PART_TOOL_RESULT, &err);

	p->name = span_of(name);
	p->call_id = span_of(id);
}

static void
expect(size_t message, size_t part, const char *id)
{
	struct span got = n.message[message].part[part].call_id;

	if (!span_is(got, id))
		fail_msg("%zu.%zu: %.*s is not %s", message, part, (int)got.len, got.at, id);
}

static void
results_answer_calls_by_name_then_by_place(void **state)
{
	(void)state;
	call("f", "");
	call("g", "");
	call("f", "");
	call("h", "");
	result("g", "");
	result("f", "");
	result("f", "");
	result("other", "");
	assert_int_equal(neutral_fill_ids(&n, &err), 0);
	expect(0, 0, "call_0_0");
	expect(0, 3, "call_0_3");
	expect(1, 0, "call_0_1");
	expect(1, 1, "call_0_0");
	expect(1, 2, "call_0_2");
	expect(1, 3, "call_0_3");
}

static void
ids_that_are_there_stay(void **state)
{
	(void)state;
	call("f", "a");
	call("f", "");
	result("f", "a");
	result("f", "");
	assert_int_equal(neutral_fill_ids(&n, &err), 0);
	expect(0, 0, "a");
	expect(0, 1, "call_0_1");
	expect(1, 0, "a");
	expect(1, 1, "call_0_1");
}

static void
a_result_of_nothing_has_an_id_of_its_own(void **state)
{
	(void)state;
	result("f", "");
	call("f", "");
	result("f", "");
	result("f", "");
	assert_int_equal(neutral_fill_ids(&n, &err), 0);
	expect(0, 0, "call_0_0");
	expect(2, 0, "call_1_0");
	expect(2, 1, "call_2_1");
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(results_answer_calls_by_name_then_by_place),
		T(ids_that_are_there_stay),
		T(a_result_of_nothing_has_an_id_of_its_own),
	};

	return cmocka_run_group_tests_name("wire/neutral_ids", tests, NULL, NULL);
}
