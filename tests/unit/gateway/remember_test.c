/* remember_test.c - who may pass without the store: only whom it told of lately, and only there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "gateway/remember.h"
#include <stdio.h>
#include <string.h>

static struct err err;
static struct admit_caller found;

static struct admit_caller
caller_of(const char *secret, int32_t fail_mode)
{
	struct admit_caller c = { 0 };

	c.token.head.id = id_random();
	c.token.head.version = 1;
	c.project.head.id = id_random();
	c.project.fail_mode = fail_mode;
	hash_sha256(secret, strlen(secret), c.token.sha256);
	return c;
}

static struct admit_secrets
secrets_of(const char *one, const char *two)
{
	struct admit_secrets s = { 0 };

	admit_add_secret(&s, span_of(one));
	admit_add_secret(&s, span_of(two));
	return s;
}

static bool
finds(struct remember *r, const char *secret, int64_t now_ms)
{
	struct admit_secrets s = secrets_of(secret, "");

	return remember_find(r, &s, now_ms, 0, &found);
}

static void
only_open_projects_are_remembered_and_for_an_hour(void **state)
{
	struct remember *r = remember_new(&err);
	struct admit_caller open = caller_of("open", FAIL_OPEN),
			    shut = caller_of("shut", FAIL_CLOSED);

	(void)state;
	assert_false(finds(r, "open", 5));
	remember_caller(r, &open, 1000);
	remember_caller(r, &shut, 1000);
	assert_true(finds(r, "open", 1000 + REMEMBER_FOR_MS - 1));
	assert_true(id_equal(found.token.head.id, open.token.head.id));
	assert_false(finds(r, "open", 1000 + REMEMBER_FOR_MS));
	assert_false(finds(r, "shut", 1001));
	assert_false(finds(r, "other", 1001));
	/* seen again: the hour begins anew, and what has changed counts */
	open.token.head.version = 2;
	open.token.expires_ms = 77;
	remember_caller(r, &open, 5000);
	assert_true(finds(r, "open", 4999 + REMEMBER_FOR_MS));
	assert_int_equal(found.token.expires_ms, 77);
	remember_free(r);
}

static void
what_the_store_denies_is_forgotten(void **state)
{
	struct remember *r = remember_new(&err);
	struct admit_caller a = caller_of("a", FAIL_OPEN), b = caller_of("b", FAIL_OPEN);
	struct admit_secrets gone = secrets_of("x", "a");

	(void)state;
	remember_caller(r, &a, 1);
	remember_caller(r, &b, 1);
	remember_forget(r, &gone);
	assert_false(finds(r, "a", 2));
	assert_true(finds(r, "b", 2));
	b.project.fail_mode = FAIL_CLOSED; /* its project was closed */
	remember_caller(r, &b, 3);
	assert_false(finds(r, "b", 4));
	remember_free(r);
}

static void
two_tokens_in_one_request_are_nobody(void **state)
{
	struct remember *r = remember_new(&err);
	struct admit_caller a = caller_of("a", FAIL_OPEN), b = caller_of("b", FAIL_OPEN);
	struct admit_secrets both = secrets_of("a", "b"), one = secrets_of("a", "z");

	(void)state;
	remember_caller(r, &a, 1);
	remember_caller(r, &b, 1);
	assert_false(remember_find(r, &both, 2, 0, &found));
	assert_true(remember_find(r, &one, 2, 0, &found));
	remember_free(r);
}

static void
an_old_secret_is_good_for_its_while(void **state)
{
	struct remember *r = remember_new(&err);
	struct admit_caller a = caller_of("new", FAIL_OPEN);
	struct admit_secrets old = secrets_of("old", "");

	(void)state;
	hash_sha256("old", 3, a.token.old_sha256);
	a.token.old_until_ms = 500;
	remember_caller(r, &a, 1);
	assert_true(remember_find(r, &old, 2, 499, &found));
	assert_true(found.is_old_secret);
	assert_false(remember_find(r, &old, 2, 500, &found));
	assert_true(finds(r, "new", 2));
	assert_false(found.is_old_secret);
	remember_free(r);
}

static void
it_never_grows_beyond_its_ceiling(void **state)
{
	struct remember *r = remember_new(&err);
	char secret[16];
	int known = 0;

	(void)state;
	for (int i = 0; i < 3 * REMEMBER_MOST; i++) {
		struct admit_caller c;

		(void)snprintf(secret, sizeof secret, "s%d", i);
		c = caller_of(secret, FAIL_OPEN);
		remember_caller(r, &c, 1);
		assert_true(finds(r, secret, 2)); /* the newest is always there */
	}
	for (int i = 0; i < 3 * REMEMBER_MOST; i++) {
		(void)snprintf(secret, sizeof secret, "s%d", i);
		known += finds(r, secret, 2);
	}
	assert_true(known > REMEMBER_MOST / 2 && known <= REMEMBER_MOST);
	remember_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_open_projects_are_remembered_and_for_an_hour),
		cmocka_unit_test(what_the_store_denies_is_forgotten),
		cmocka_unit_test(two_tokens_in_one_request_are_nobody),
		cmocka_unit_test(an_old_secret_is_good_for_its_while),
		cmocka_unit_test(it_never_grows_beyond_its_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
