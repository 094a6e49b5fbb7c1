/* failure_rule_test.c - a rule says of which failures it speaks and what is done then; one that cannot
 * be applied is refused with its line and reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "route/failure_rule.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct span
header(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "retry-after") == 0 ? SPAN_LIT("86400") : SPAN_NONE;
}

static const struct failure_seen overloaded = { .failure = FAILURE_OVERLOADED,
	.status = 529,
	.type = { "overloaded_error", sizeof "overloaded_error" - 1 },
	.body = { "{\"error\":{\"message\":\"Overloaded: try later/now\"}}",
		sizeof "{\"error\":{\"message\":\"Overloaded: try later/now\"}}" - 1 },
	.header = header };
static const struct failure_seen refused = { .failure = FAILURE_REQUEST,
	.status = 400,
	.type = { "invalid_request_error", sizeof "invalid_request_error" - 1 },
	.body = { "quota of today is used up", sizeof "quota of today is used up" - 1 } };
static const struct failure_seen silent = { .failure = FAILURE_REQUEST, .is_timeout = true };

static void
the_first_rule_that_fits_decides(void **state)
{
	static const struct {
		const char *why, *rules, *more;
		const struct failure_seen *seen;
		bool matched, counts;
		enum failure_then then;
		int64_t rest_ms;
	} cases[] = {
		{ "none", "", NULL, &overloaded, false, true, RULE_DEFAULT, 0 },
		{ "a status", "status=529 -> stop", NULL, &overloaded, true, true, RULE_STOP, 0 },
		{ "another", "status=528 -> stop", NULL, &overloaded, false, true, RULE_DEFAULT,
			0 },
		{ "a range", "status=400,500-599 -> nocount", NULL, &overloaded, true, false,
			RULE_DEFAULT, 0 },
		{ "no answer", "status=0 -> next", NULL, &silent, true, true, RULE_NEXT, 0 },
		{ "everything", "-> cool=60", NULL, &refused, true, true, RULE_DEFAULT, 60000 },
		{ "nothing rests", "status=529 -> cool=0", NULL, &overloaded, true, true,
			RULE_DEFAULT, -1 },
		{ "a word in any case", "type=RATE,Overloaded -> next", NULL, &overloaded, true,
			true, RULE_NEXT, 0 },
		{ "a kind", "error=overloaded -> next", NULL, &overloaded, true, true, RULE_NEXT,
			0 },
		{ "a timeout", "error=timeout,connect -> next count", NULL, &silent, true, true,
			RULE_NEXT, 0 },
		{ "no timeout", "error=timeout -> next", NULL, &refused, false, true, RULE_DEFAULT,
			0 },
		{ "a body", "status=400 body=/quota.*(today|month)/ -> next nocount cool=3600",
			NULL, &refused, true, false, RULE_NEXT, 3600000 },
		{ "another body", "body=/^quota$/ -> next", NULL, &refused, false, true,
			RULE_DEFAULT, 0 },
		{ "a slash in it", "body=/later\\/now/ -> stop", NULL, &overloaded, true, true,
			RULE_STOP, 0 },
		{ "quotes, blanks", "  body=\"try later\"   ->   stop  \r", NULL, &overloaded, true,
			true, RULE_STOP, 0 },
		{ "a header in any case", "header:Retry-After=/^[0-9]{5}$/ -> cool=9", NULL,
			&overloaded, true, true, RULE_DEFAULT, 9000 },
		{ "one that is not there", "header:x-none=/.*/ -> cool=9", NULL, &overloaded, false,
			true, RULE_DEFAULT, 0 },
		{ "all must hold", "status=529 body=/nothing/ -> stop", NULL, &overloaded, false,
			true, RULE_DEFAULT, 0 },
		{ "the first one", "# why\n\nstatus=400 -> stop\nstatus=529 -> next\n-> stop\n",
			NULL, &overloaded, true, true, RULE_NEXT, 0 },
		{ "the first list", "status=400 -> stop", "status=529 -> next", &overloaded, true,
			true, RULE_NEXT, 0 },
		{ "a list that cannot be applied says nothing", "what", "status=529 -> next",
			&overloaded, true, true, RULE_NEXT, 0 },
	};

	(void)state;
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			const char *lists[] = { NULL, cases[i].rules, cases[i].more };
			struct failure_verdict v;

			failure_rules_apply(lists, 3, cases[i].seen, &v);
			if (v.matched != cases[i].matched || v.counts != cases[i].counts ||
				v.then != cases[i].then || v.rest_ms != cases[i].rest_ms)
				fail_msg("%s: matched %d, counts %d, then %d, %lld ms",
					cases[i].why, v.matched, v.counts, (int)v.then,
					(long long)v.rest_ms);
			if (v.matched && v.rule[0] == '\0')
				fail_msg("%s: without evidence", cases[i].why);
		}
}

static void
what_is_wrong_is_said_with_its_line(void **state)
{
	static const struct {
		const char *rules, *says; /* NULL: it is right */
	} cases[] = {
		{ "status=529 -> next", NULL },
		{ "", NULL },
		{ "# nothing", NULL },
		{ "status=529", "Line 1 of the failure rules: an arrow" },
		{ "\n\nstatus=529 ->", "Line 3" },
		{ "status=abc -> next", "'abc' is no status" },
		{ "status=599-500 -> next", "no status or range" },
		{ "status=1000 -> next", "no status" },
		{ "status=-5 -> next", "no status" },
		{ "what=5 -> next", "there is no condition 'what'" },
		{ "error=flood -> next", "'flood' is no error" },
		{ "body=abc -> next", "between slashes" },
		{ "body=/abc -> next", "does not end" },
		{ "body=// -> next", "is empty" },
		{ "body=/(/ -> next", "cannot be read" },
		{ "body=/(a)\\1/ -> next", "refers back" },
		{ "body=/(a{1,9}){1,9}/ -> next", "more than one {" },
		{ "body=/a{1,999}/ -> next", "more than 64 times" },
		{ "body=/((((((((((((((((((a))))))))))))))))))/ -> next", "brackets in brackets" },
		{ "-> next stop", "exclude each other" },
		{ "-> cool=", "takes seconds" },
		{ "-> cool=5x", "takes seconds" },
		{ "-> cool=99999999", "takes seconds" },
		{ "-> dance", "'dance' cannot be done" },
		{ "type= -> next", "type= names none" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err err = { 0 };
		int rc = failure_rules_check(span_of(cases[i].rules), &err);

		if ((rc == 0) != (cases[i].says == NULL))
			fail_msg("'%s': %d: %s", cases[i].rules, rc, err.says);
		if (rc != 0 &&
			(err.code != ERR_BAD_REQUEST || strstr(err.says, cases[i].says) == NULL))
			fail_msg("'%s': %s", cases[i].rules, err.says);
	}
}

static void
lists_and_lines_have_ceilings(void **state)
{
	struct bytes text = BYTES_LIMIT(1 << 20);
	struct err err = { 0 };

	(void)state;
	for (int i = 0; i < FAILURE_RULES_MAX; i++)
		assert_int_equal(bytes_puts(&text, "status=529 -> next\n"), 0);
	assert_int_equal(failure_rules_check(bytes_span(&text), &err), 0);
	(void)bytes_puts(&text, "-> stop");
	assert_int_equal(failure_rules_check(bytes_span(&text), &err), -1);
	assert_non_null(strstr(err.says, "32 rules"));
	bytes_free(&text);
	(void)bytes_puts(&text, "type=");
	for (int i = 0; i < 600; i++)
		(void)bytes_puts(&text, "x");
	(void)bytes_puts(&text, " -> next");
	assert_int_equal(failure_rules_check(bytes_span(&text), &err), -1);
	assert_non_null(strstr(err.says, "511 bytes"));
	bytes_free(&text);
	assert_int_equal(failure_rules_check((struct span){ "-> next\0", 8 }, &err), -1);
}

static void *
applies(void *arg)
{
	char rules[40];

	for (int i = 0; i < 400; i++) {
		const char *lists[] = { rules };
		struct failure_verdict v;

		/* more lists than are kept */
		(void)snprintf(rules, sizeof rules, "status=529 -> cool=%d", 1 + i % 100);
		failure_rules_apply(lists, 1, &overloaded, &v);
		if (v.rest_ms != (1 + i % 100) * 1000)
			return arg;
	}
	return NULL;
}

static void
threads_share_what_is_compiled(void **state)
{
	pthread_t t[4];
	int wrong = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, applies, &wrong), 0);
	for (int i = 0; i < 4; i++) {
		void *got;

		assert_int_equal(pthread_join(t[i], &got), 0);
		assert_null(got);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_rule_that_fits_decides),
		cmocka_unit_test(what_is_wrong_is_said_with_its_line),
		cmocka_unit_test(lists_and_lines_have_ceilings),
		cmocka_unit_test(threads_share_what_is_compiled),
	};

	return cmocka_run_group_tests_name("route/failure_rule", tests, NULL, NULL);
}
