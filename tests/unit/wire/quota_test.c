/* quota_test.c - what each provider's headers and bodies tell of its quotas. */
#include "wire/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define NOW INT64_C(1768478400000) /* 2026-01-15T12:00:00Z */

/* "unit/length limit remaining reset flags", windows in order, parted by "; ". */
static void
as_text(const struct quota_told *t, char *out, size_t room)
{
	size_t at = 0;

	out[0] = '\0';
	for (int i = 0; i < t->count; i++) {
		const struct quota_window *w = &t->window[i];

		at += (size_t)snprintf(out + at, room - at, "%s%s/%lld %lld %lld %lld%s%s%s",
			i == 0 ? "" : "; ", quota_unit_name(w->unit),
			(long long)w->length_ms / 1000, (long long)w->limit,
			(long long)w->remaining, (long long)w->reset_in_ms,
			w->refills ? " refills" : "", w->is_account ? " account" : "",
			w->exceeded ? " exceeded" : "");
	}
}

static void
headers_of_all_providers_are_understood(void **state)
{
	static const struct {
		const char *why, *headers[10], *want;
	} cases[] = {
		{ "OpenAI",
			{ "x-ratelimit-limit-requests: 10000", "x-ratelimit-limit-tokens: 2000000",
				"x-ratelimit-remaining-requests: 9999",
				"x-ratelimit-remaining-tokens: 1999850",
				"x-ratelimit-reset-requests: 6ms",
				"x-ratelimit-reset-tokens: 6m0s" },
			"requests/0 10000 9999 6 refills; tokens/0 2000000 1999850 360000 "
			"refills" },
		{ "Azure: whole seconds, -1 is not known",
			{ "x-ratelimit-remaining-requests: -1", "x-ratelimit-remaining-tokens: 900",
				"x-ratelimit-reset-tokens: 12" },
			"requests/0 -1 -1 -1; tokens/0 -1 900 12000" },
		{ "Anthropic",
			{ "anthropic-ratelimit-requests-limit: 50",
				"anthropic-ratelimit-requests-remaining: 49",
				"anthropic-ratelimit-requests-reset: 2026-01-15T12:00:30Z",
				"Anthropic-Ratelimit-Input-Tokens-Limit: 40000",
				"anthropic-ratelimit-input-tokens-remaining: 39000",
				"anthropic-ratelimit-output-tokens-remaining: 7000" },
			"requests/0 50 49 30000 refills; input_tokens/0 40000 39000 -1 refills; "
			"output_tokens/0 -1 7000 -1 refills" },
		{ "its clock goes 10 s late",
			{ "date: Thu, 15 Jan 2026 11:59:50 GMT",
				"anthropic-ratelimit-requests-reset: 2026-01-15T12:00:30Z" },
			"requests/0 -1 -1 40000 refills" },
		{ "Claude's subscription",
			{ "anthropic-ratelimit-unified-status: allowed",
				"anthropic-ratelimit-unified-5h-utilization: 0.25",
				"anthropic-ratelimit-unified-5h-reset: 1768482000",
				"anthropic-ratelimit-unified-7d-status: rejected" },
			"share/18000 1000000 750000 3600000 account; "
			"share/604800 1000000 0 -1 account" },
		{ "Groq", { "x-ratelimit-reset-requests: 2m59.56s" },
			"requests/0 -1 -1 179560 refills" },
		{ "Mistral",
			{ "x-ratelimit-limit-tokens-minute: 500000",
				"x-ratelimit-remaining-tokens-minute: 499000",
				"x-ratelimit-tokens-query-cost: 12",
				"x-ratelimit-remaining-req-minute: 59" },
			"tokens/60 500000 499000 -1; requests/60 -1 59 -1" },
		{ "OpenRouter, milliseconds since 1970",
			{ "X-RateLimit-Limit: 20", "X-RateLimit-Remaining: 0",
				"X-RateLimit-Reset: 1768478460000" },
			"requests/0 20 0 60000 account" },
		{ "since 1970 in seconds", { "x-ratelimit-reset: 1768478405" },
			"requests/0 -1 -1 5000 account" },
		{ "a reset that has been", { "x-ratelimit-reset: 1768478000" },
			"requests/0 -1 -1 0 account" },
		{ "a draft's, with a policy behind the number",
			{ "RateLimit-Limit: 100;w=60", "RateLimit-Remaining: 40",
				"RateLimit-Reset: 7" },
			"requests/0 100 40 7000 account" },
		{ "what is no number", { "x-ratelimit-remaining-tokens: many" },
			"tokens/0 -1 -1 -1" },
		{ "too large", { "x-ratelimit-limit-tokens: 99999999999999999999999" },
			"tokens/0 1000000000000000 -1 -1" },
		{ "others",
			{ "x-ratelimit: 1", "x-request-id: 1", "x-ratelimit-", "content-type: x" },
			"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct quota_told t = { 0 };
		struct span date = SPAN_NONE;
		char text[600];

		for (int n = 0; n < 10 && cases[i].headers[n] != NULL; n++) {
			const char *h = cases[i].headers[n], *colon = strchr(h, ':');
			struct span name = { h, colon == NULL ? strlen(h) : (size_t)(colon - h) };
			struct span value = span_of(colon == NULL ? "" : colon + 2);

			if (span_is(name, "date"))
				date = value;
			quota_read_header(&t, name, value, date, NOW);
		}
		as_text(&t, text, sizeof text);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s: got '%s', want '%s'", cases[i].why, text, cases[i].want);
	}
}

static void
the_last_of_those_used_up_says_when(void **state)
{
	static const struct {
		const char *headers[5];
		int64_t want;
	} cases[] = {
		{ { "anthropic-ratelimit-requests-remaining: 0",
			  "anthropic-ratelimit-requests-reset: 2026-01-15T12:00:30Z",
			  "anthropic-ratelimit-tokens-remaining: 0",
			  "anthropic-ratelimit-tokens-reset: 2026-01-15T12:00:45Z" },
			45000 },
		{ { "x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 2s",
			  "x-ratelimit-remaining-tokens: 500", "x-ratelimit-reset-tokens: 6m" },
			2000 },
		{ { "ratelimit-remaining: 0", "ratelimit-reset: 7" }, 7000 },
		{ { "x-ratelimit-remaining: 3", "x-ratelimit-reset: 7" }, 0 },
		{ { "x-ratelimit-remaining: 0" }, 0 },
		{ { NULL }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct quota_told t = { 0 };

		for (int n = 0; n < 5 && cases[i].headers[n] != NULL; n++) {
			struct span h = span_of(cases[i].headers[n]);
			size_t colon = (size_t)(strchr(h.at, ':') - h.at);

			quota_read_header(&t, (struct span){ h.at, colon },
				(struct span){ h.at + colon + 2, h.len - colon - 2 }, SPAN_NONE,
				NOW);
		}
		assert_int_equal(quota_reset_ms(&t), cases[i].want);
	}
}

static void
bodies_name_the_quota_that_is_exceeded(void **state)
{
	static const struct {
		const char *why, *body, *want;
	} cases[] = {
		{ "OpenAI's tokens",
			"{\"error\":{\"message\":\"Rate limit reached for gpt-4o in organization "
			"org-x "
			"on tokens per min (TPM): Limit 200000, Used 199500, Requested 600. Please "
			"try "
			"again in 30ms.\",\"type\":\"tokens\"}}",
			"tokens/60 200000 500 -1 exceeded" },
		{ "OpenAI's requests of a day",
			"{\"error\":{\"message\":\"Rate limit reached on requests per day (RPD): "
			"Limit "
			"200, Used 200, Requested 1.\"}}",
			"requests/86400 200 0 -1 exceeded" },
		{ "Anthropic, thousands parted",
			"{\"error\":{\"message\":\"This request would exceed your organization's "
			"rate "
			"limit of 40,000 input tokens per minute\"}}",
			"input_tokens/60 40000 0 -1 exceeded" },
		{ "Gemini",
			"{\"error\":{\"details\":[{\"violations\":[{\"quotaMetric\":\"x/"
			"generate_requests\","
			"\"quotaId\":\"GenerateRequestsPerDayPerProjectPerModel-FreeTier\","
			"\"quotaValue\":"
			"\"20\"},{\"quotaId\":\"GenerateContentInputTokensPerModelPerMinute\","
			"\"quotaValue\":"
			"\"250000\"}]},{\"retryDelay\":\"7.5s\"}]}}",
			"requests/86400 20 0 -1 exceeded; input_tokens/60 250000 0 -1 exceeded" },
		{ "no length", "{\"error\":{\"message\":\"Rate limit exceeded\"}}", "" },
		{ "no JSON", "rate limit of 7 requests per minute", "requests/60 7 0 -1 exceeded" },
		{ "nothing", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct quota_told t = { 0 };
		char text[600];

		quota_read_body(&t, span_of(cases[i].body));
		as_text(&t, text, sizeof text);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s: got '%s', want '%s'", cases[i].why, text, cases[i].want);
	}
}

static void
what_a_person_gives_is_read_whole_or_not_at_all(void **state)
{
	static const struct {
		const char *text;
		int unit;
		int64_t length_ms, limit; /* 0: refused */
	} cases[] = {
		{ "requests/minute=60", QUOTA_REQUESTS, 60000, 60 },
		{ " tokens/day=1000000 ", QUOTA_TOKENS, 86400000, 1000000 },
		{ "requests/10s=20", QUOTA_REQUESTS, 10000, 20 },
		{ "input_tokens/month=5", QUOTA_INPUT, 2592000000, 5 },
		{ "requests/minute", 0, 0, 0 },
		{ "requests=5", 0, 0, 0 },
		{ "calls/minute=5", 0, 0, 0 },
		{ "requests/eon=5", 0, 0, 0 },
		{ "requests/minute=0", 0, 0, 0 },
		{ "requests/minute=5x", 0, 0, 0 },
		{ "share/day=5", 0, 0, 0 },
		{ "", 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct quota_window w;
		int rc = quota_parse_given(span_of(cases[i].text), &w);

		if (rc != (cases[i].limit == 0 ? -1 : 0))
			fail_msg("'%s': %d", cases[i].text, rc);
		if (rc != 0)
			continue;
		assert_int_equal(w.unit, cases[i].unit);
		assert_int_equal(w.length_ms, cases[i].length_ms);
		assert_int_equal(w.limit, cases[i].limit);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_of_all_providers_are_understood),
		cmocka_unit_test(the_last_of_those_used_up_says_when),
		cmocka_unit_test(bodies_name_the_quota_that_is_exceeded),
		cmocka_unit_test(what_a_person_gives_is_read_whole_or_not_at_all),
	};

	return cmocka_run_group_tests_name("wire/quota", tests, NULL, NULL);
}
