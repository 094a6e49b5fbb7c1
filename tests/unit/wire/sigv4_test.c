/*
 * sigv4_test.c - signatures as AWS's own signer makes them.
 */
#include "wire/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST "https://bedrock-runtime.us-east-1.amazonaws.com"
#define PATH "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"
#define BODY                                                                                       \
	"{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"Hi\"}]}],"                     \
	"\"inferenceConfig\":{\"maxTokens\":16}}"
#define NOON_MS 1768478400000

static struct sigv4_request
example(const char *url)
{
	return (struct sigv4_request){ .method = "POST",
		.url = span_of(url),
		.content_type = SPAN_LIT("application/json"),
		.body = SPAN_LIT(BODY),
		.id = SPAN_LIT("AKIDEXAMPLE"),
		.secret = SPAN_LIT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
		.session = SPAN_LIT(""),
		.region = SPAN_LIT("us-east-1"),
		.service = SPAN_LIT("bedrock"),
		.now_ms = NOON_MS };
}

static void
signs_the_worked_examples(void **state)
{
	static const struct {
		const char *url, *session, *signed_headers, *signature;
	} cases[] = {
		{ HOST PATH, "", "content-type;host;x-amz-date",
			"431b7250fe4573c91fa81b5611fb908d18095d1399646a6b9956c7977c67f878" },
		{ HOST PATH, "FwoGZXIvEXAMPLETOKEN==",
			"content-type;host;x-amz-date;x-amz-security-token",
			"cd6dc0a02ed0291422ee64470735fd15c058cc1f78e99a6b4b53421a6738f6be" },
		{ HOST "/model/"
		       "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F"
		       "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
			"", "content-type;host;x-amz-date",
			"7731121476662fcef2541183a4acb3e9ec36dc049c153abf22ad7125662fc127" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sigv4_request q = example(cases[i].url);
		struct sigv4_headers got;
		char want[SIGV4_AUTHORIZATION_BYTES];

		q.session = span_of(cases[i].session);
		(void)snprintf(want, sizeof want,
			"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260115/us-east-1/bedrock/"
			"aws4_request, SignedHeaders=%s, Signature=%s",
			cases[i].signed_headers, cases[i].signature);
		assert_int_equal(sigv4_sign(&q, &got), 0);
		assert_string_equal(got.x_amz_date, "20260115T120000Z");
		assert_string_equal(got.authorization, want);
	}
}

static void
signature_of(struct sigv4_request q, char out[65])
{
	struct sigv4_headers got;

	assert_int_equal(sigv4_sign(&q, &got), 0);
	(void)snprintf(out, 65, "%s", strstr(got.authorization, "Signature=") + 10);
}

static void
addresses_that_mean_the_same_are_signed_alike(void **state)
{
	static const struct {
		const char *why, *one, *other;
		bool same;
	} cases[] = {
		{ "the port of the scheme", "https://h.example/a", "https://h.example:443/a",
			true },
		{ "its own port", "https://h.example/a", "https://h.example:8443/a", false },
		{ "no path", "http://h.example", "http://h.example:80/", true },
		{ "empty segments and dots", "https://h/a/b", "https://h//a/./c/../b", true },
		{ "not above the root", "https://h/b", "https://h/../b", true },
		{ "a last slash", "https://h/a", "https://h/a/", false },
		{ "encoded or not is another path", "https://h/a:b", "https://h/a%3Ab", false },
		{ "order of parameters", "https://h/?b=2&a=1", "https://h/?a=1&b=2", true },
		{ "a name that begins another", "https://h/?a=2&a-b=1", "https://h/?a-b=1&a=2",
			true },
		{ "values of one name", "https://h/?a=2&a=1", "https://h/?a=1&a=2", true },
		{ "how a parameter is encoded", "https://h/?a=%3a%7E", "https://h/?a=:~", true },
		{ "no value", "https://h/?a", "https://h/?a=", true },
		{ "a fragment", "https://h/?a=1#x", "https://h/?a=1", true },
		{ "another value", "https://h/?a=1", "https://h/?a=2", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char one[65], other[65];

		signature_of(example(cases[i].one), one);
		signature_of(example(cases[i].other), other);
		if ((strcmp(one, other) == 0) != cases[i].same)
			fail_msg("%s", cases[i].why);
	}
}

static void
each_part_counts(void **state)
{
	struct sigv4_request base = example(HOST PATH), q[8];
	char want[65], got[65];

	(void)state;
	signature_of(base, want);
	for (size_t i = 0; i < 8; i++)
		q[i] = base;
	q[0].method = "GET";
	q[1].body = SPAN_LIT("");
	q[2].content_type = SPAN_LIT("");
	q[3].secret = SPAN_LIT("another");
	q[4].region = SPAN_LIT("eu-west-1");
	q[5].service = SPAN_LIT("bedrock-mantle");
	q[6].now_ms += 1000;
	q[7].session = SPAN_LIT("s");
	for (size_t i = 0; i < 8; i++) {
		signature_of(q[i], got);
		if (strcmp(got, want) == 0)
			fail_msg("part %zu does not count", i);
	}
	/* blanks are none of a header's value */
	base.content_type = SPAN_LIT("  application/json ");
	signature_of(base, got);
	assert_string_equal(got, want);
}

static void
refuses_what_cannot_be_signed(void **state)
{
	static char longer[300];
	struct sigv4_request q[8];
	struct sigv4_headers got;
	char many[1024] = "https://h/?";

	(void)state;
	memset(longer, 'x', sizeof longer);
	for (size_t i = 0; i < 8; i++)
		q[i] = example(HOST PATH);
	q[0].url = SPAN_LIT("ftp://h/");
	q[1].url = SPAN_LIT("https:///path");
	q[2].url = SPAN_LIT("");
	q[3].id = SPAN_LIT("");
	q[4].secret = (struct span){ longer, sizeof longer };
	q[5].region = (struct span){ longer, sizeof longer };
	q[6].service = SPAN_LIT("");
	for (int i = 0; i <= SIGV4_QUERY_MAX; i++)
		(void)strcat(many, "a=1&");
	q[7].url = span_of(many);
	for (size_t i = 0; i < 8; i++)
		if (sigv4_sign(&q[i], &got) != -1)
			fail_msg("case %zu was signed", i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_the_worked_examples),
		cmocka_unit_test(addresses_that_mean_the_same_are_signed_alike),
		cmocka_unit_test(each_part_counts),
		cmocka_unit_test(refuses_what_cannot_be_signed),
	};

	return cmocka_run_group_tests_name("wire/sigv4", tests, NULL, NULL);
}
