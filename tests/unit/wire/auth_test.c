/*
 * auth_test.c - where keys go: templates, queries, and the forms of an AWS key.
 */
#include "wire/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
a_template_puts_the_key_where_it_says(void **state)
{
	static const struct {
		const char *template, *key, *name, *text; /* text NULL: it cannot stand there */
		bool in_query;
	} cases[] = {
		{ "header X-Api-Token: Token ${key}", "abc", "X-Api-Token", "Token abc", false },
		{ "header Authorization:${key}", "a b", "Authorization", "a b", false },
		{ "header X: ${key}.${key}", "k", "X", "k.k", false },
		{ "header Authorization: Basic ${base64}", "user:pass", "Authorization",
			"Basic dXNlcjpwYXNz", false },
		{ "header X: ${key}", "line\r\nX-Evil: 1", "X", NULL, false },
		{ "query api_key=${key}", "a+b/c&d=", "api_key", "a%2Bb%2Fc%26d%3D", true },
		{ "query auth=v1:${key}", "k", "auth", "v1:k", true },
		{ "query k=${base64}", "~~>", "k", "fn4%2B", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct auth_template t;
		struct bytes out = BYTES_LIMIT(256);
		struct err err = { 0 };
		int rc;

		if (auth_template_parse(cases[i].template, &t, &err) != 0)
			fail_msg("%s: %s", cases[i].template, err.text);
		assert_int_equal(t.in_query, cases[i].in_query);
		assert_true(span_is(t.name, cases[i].name));
		rc = auth_template_fill(&t, span_of(cases[i].key), &out);
		assert_int_equal(rc, cases[i].text == NULL ? -1 : 0);
		if (rc == 0)
			assert_string_equal(out.at, cases[i].text);
		bytes_free(&out);
	}
}

static void
a_template_that_cannot_work_is_refused_with_a_sentence(void **state)
{
	static const char *const cases[] = { "", "header", "header X",
		"header X:", "header X: plain", "header : ${key}", "header X Y: ${key}",
		"header Host: ${key}", "header content-length: ${key}", "header X: ${key}\n",
		"header X: ${name} ${key}", "cookie a=${key}", "query =${key}", "query a b=${key}",
		"query a=${key}&b=1", "query a=${key}#x", "query a", "header X\r\nY: ${key}" };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct auth_template t;
		struct err err = { 0 };

		if (auth_template_parse(cases[i], &t, &err) == 0)
			fail_msg("taken: %s", cases[i]);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
		assert_non_null(strstr(err.says, "${key}"));
		assert_string_equal(err.field, "auth_template");
	}
}

static void
a_parameter_takes_the_place_of_others_of_its_name(void **state)
{
	static const struct {
		const char *url, *name, *want;
	} cases[] = {
		{ "https://h/p", "key", "https://h/p?key=V" },
		{ "https://h/p?", "key", "https://h/p?key=V" },
		{ "https://h/p?a=1", "key", "https://h/p?a=1&key=V" },
		{ "https://h/p?key=mine&a=1&key=two&key", "key", "https://h/p?a=1&key=V" },
		{ "https://h/p?keys=1&&akey=2", "key", "https://h/p?keys=1&akey=2&key=V" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes out = BYTES_LIMIT(256);

		assert_int_equal(auth_add_query(span_of(cases[i].url), span_of(cases[i].name),
					 SPAN_LIT("V"), &out),
			0);
		assert_string_equal(out.at, cases[i].want);
		bytes_free(&out);
	}
}

static void
what_does_not_fit_the_buffer_is_told(void **state)
{
	struct bytes out = BYTES_LIMIT(8);
	struct auth_template t;
	struct err err;

	(void)state;
	assert_int_equal(auth_escape(SPAN_LIT("a/b/c/d"), &out), -1);
	bytes_free(&out);
	assert_int_equal(
		auth_add_query(SPAN_LIT("https://h/p"), SPAN_LIT("k"), SPAN_LIT("v"), &out), -1);
	bytes_free(&out);
	assert_int_equal(auth_template_parse("header X: ${key}", &t, &err), 0);
	assert_int_equal(auth_template_fill(&t, SPAN_LIT("0123456789"), &out), -1);
	bytes_free(&out);
}

static void
an_aws_key_has_two_or_three_parts(void **state)
{
	struct auth_aws_key k;
	struct err err;

	(void)state;
	assert_int_equal(auth_aws_key(SPAN_LIT("AKID:se/cr+et"), &k, &err), 0);
	assert_true(span_is(k.id, "AKID") && span_is(k.secret, "se/cr+et") && k.session.len == 0);
	assert_int_equal(auth_aws_key(SPAN_LIT("ASIA:secret:token==:x"), &k, &err), 0);
	assert_true(span_is(k.secret, "secret") && span_is(k.session, "token==:x"));
	for (size_t i = 0; i < 6; i++) {
		static const char *const bad[] = { "", "AKID", "AKID:", ":secret",
			"AKID:secret:", "AKID:sec ret" };

		err = (struct err){ 0 };
		assert_int_equal(auth_aws_key(span_of(bad[i]), &k, &err), -1);
		assert_non_null(strstr(err.says, "SECRET_ACCESS_KEY"));
		assert_null(strstr(err.says, "sec ret"));
	}
}

static void
an_aws_address_names_region_and_service(void **state)
{
	static const struct {
		const char *url, *region, *service;
	} cases[] = {
		{ "https://bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1", "bedrock" },
		{ "https://bedrock-runtime-fips.us-east-1.amazonaws.com/x", "us-east-1",
			"bedrock" },
		{ "https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1", "bedrock" },
		{ "https://bedrock-mantle.us-west-2.api.aws/anthropic", "us-west-2",
			"bedrock-mantle" },
		{ "https://api.example.com", "", "" },
		{ "http://127.0.0.1:8080/v1", "", "" },
		{ "https://localhost", "", "" },
		{ "nonsense", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char region[64], service[64];

		auth_aws_place(cases[i].url, region, service);
		assert_string_equal(region, cases[i].region);
		assert_string_equal(service, cases[i].service);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_template_puts_the_key_where_it_says),
		cmocka_unit_test(a_template_that_cannot_work_is_refused_with_a_sentence),
		cmocka_unit_test(a_parameter_takes_the_place_of_others_of_its_name),
		cmocka_unit_test(what_does_not_fit_the_buffer_is_told),
		cmocka_unit_test(an_aws_key_has_two_or_three_parts),
		cmocka_unit_test(an_aws_address_names_region_and_service),
	};

	return cmocka_run_group_tests_name("wire/auth", tests, NULL, NULL);
}
