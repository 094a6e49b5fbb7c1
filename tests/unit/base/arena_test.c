/* arena_test.c - one lifetime, a ceiling, and foreign objects that are always given back. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

static char order[32]; /* what the deferred calls wrote */

static void
note(void *obj)
{
	strcat(order, obj);
}

static void
memory_is_zeroed_aligned_and_apart(void **state)
{
	struct arena *a = arena_new(1 << 20);
	unsigned char *seen[200];

	(void)state;
	for (size_t i = 0; i < 200; i++) {
		size_t bytes = 1 + i * 7 % 3000;

		seen[i] = arena_alloc(a, bytes);
		assert_non_null(seen[i]);
		assert_int_equal((uintptr_t)seen[i] % alignof(max_align_t), 0);
		for (size_t j = 0; j < bytes; j++)
			assert_int_equal(seen[i][j], 0);
		memset(seen[i], (int)i, bytes);
	}
	for (size_t i = 0; i < 200; i++)
		for (size_t j = 0; j < 1 + i * 7 % 3000; j++)
			assert_int_equal(seen[i][j], (unsigned char)i);
	arena_free(a);
}

static void
used_memory_is_zeroed_again(void **state)
{
	static const size_t sizes[] = { 100, 1000, 5000, 100000 };

	(void)state;
	for (int turn = 0; turn < 3; turn++) {
		struct arena *a = arena_new(1 << 20);

		for (size_t i = 0; i < 4; i++) {
			const char *zeroed = arena_alloc(a, sizes[i]);
			char *room = arena_room(a, sizes[i]);

			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(zeroed[k], 0);
			memset(room, 0xFF, sizes[i]);
		}
		assert_null(arena_room(a, 1 << 20));
		arena_free(a);
	}
}

static void
ceiling_holds_over_all_blocks(void **state)
{
	static const size_t sizes[] = { 1, 16, 100, 2047, 2048, 9000, 70000 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct arena *a = arena_new(100000);
		size_t got = 0;

		while (arena_alloc(a, sizes[i]) != NULL)
			got += sizes[i];
		assert_true(got <= 100000);
		assert_true(arena_used(a) >= got && arena_used(a) <= 100000);
		/* The headers may cost something, but not much: small pieces leave at most a
		 * fifth for alignment and headers, or less than one more piece. */
		if (sizes[i] >= 16)
			assert_true(got + sizes[i] > 80000);
		arena_free(a);
	}
}

static void
impossible_sizes_are_refused(void **state)
{
	static const size_t sizes[] = { 0, 1001, SIZE_MAX, SIZE_MAX - 8, SIZE_MAX / 2 };
	struct arena *a = arena_new(1000), *boundless = arena_new(SIZE_MAX);

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		assert_null(arena_alloc(a, sizes[i]));
	assert_null(arena_alloc(boundless, SIZE_MAX));
	assert_null(arena_alloc(boundless, SIZE_MAX - 15));
	assert_null(arena_strndup(boundless, "x", SIZE_MAX));
	assert_non_null(arena_alloc(a, 900)); /* and the arena still works */
	arena_free(boundless);
	arena_free(a);
	arena_free(NULL);
}

static void
texts_are_copied(void **state)
{
	struct arena *a = arena_new(4096);
	char text[] = "abc";
	char *copy = arena_strdup(a, text), *part = arena_strndup(a, text, 2);

	(void)state;
	text[0] = 'x';
	assert_string_equal(copy, "abc");
	assert_string_equal(part, "ab");
	assert_string_equal(arena_strndup(a, NULL, 0), "");
	assert_null(arena_strdup(a, NULL));
	assert_string_equal(arena_printf(a, "%s-%d", "n", 42), "n-42");
	assert_null(arena_printf(a, "%5000d", 1));
	arena_free(a);
}

static void
deferred_calls_run_last_first(void **state)
{
	struct arena *a = arena_new(4096);

	(void)state;
	order[0] = '\0';
	assert_int_equal(arena_defer(a, note, "a"), 0);
	assert_int_equal(arena_defer(a, note, "b"), 0);
	assert_int_equal(arena_defer(a, note, "c"), 0);
	assert_string_equal(order, "");
	arena_free(a);
	assert_string_equal(order, "cba");
}

static void
ownership_passes_even_on_failure(void **state)
{
	struct arena *a = arena_new(8);

	(void)state;
	order[0] = '\0';
	assert_int_equal(arena_defer(a, note, "x"), -1);
	assert_string_equal(order, "x");
	arena_free(a);
	assert_string_equal(order, "x");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_aligned_and_apart),
		cmocka_unit_test(used_memory_is_zeroed_again),
		cmocka_unit_test(ceiling_holds_over_all_blocks),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(texts_are_copied),
		cmocka_unit_test(deferred_calls_run_last_first),
		cmocka_unit_test(ownership_passes_even_on_failure),
	};

	return cmocka_run_group_tests_name("base/arena", tests, NULL, NULL);
}
