/*
 * failure_test.c - what a provider says, and what the router makes of it.
 */
#include "wire/error.h"

#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW "2026-01-15T12:00:00Z"
#define ANY -1 /* do not look at the wait */
#define ERROR(type, code, message)                                                                 \
	"{\"error\":{\"message\":\"" message "\",\"type\":\"" type                                 \
	"\",\"param\":null,\"code\":\"" code "\"}}"

static int64_t
ms_of(const char *text)
{
	int64_t ms;

	assert_int_equal(clock_parse_rfc3339(text, &ms), 0);
	return ms;
}

static void
judge(const char *why, int status, const char *body, enum failure want, int64_t want_wait)
{
	struct failure_headers h = { .retry_after = SPAN_NONE };
	int64_t now = ms_of(NOW), until;
	enum failure got = failure_classify(status, &h, span_of(body), now, &until);

	if (got != want)
		fail_msg("%s: %s", why, failure_name(got));
	if (want_wait != ANY && (until == 0 ? 0 : until - now) != want_wait)
		fail_msg("%s: waits %lld ms", why, (long long)(until - now));
}

static void
each_provider_s_failure_has_its_class(void **state)
{
	static const struct {
		const char *why;
		int status;
		const char *body;
		enum failure want;
		int64_t wait_ms;
	} cases[] = {
		{ "OpenAI: wrong key", 401,
			ERROR("invalid_request_error", "invalid_api_key", "Incorrect API key"),
			FAILURE_KEY_INVALID, 0 },
		{ "OpenAI: no such model", 404,
			ERROR("invalid_request_error", "model_not_found", "The model x"),
			FAILURE_MODEL, 0 },
		{ "OpenAI: no access", 403,
			ERROR("invalid_request_error", "model_not_found", "Project has no access"),
			FAILURE_MODEL, 0 },
		{ "OpenAI: no such response", 404,
			"{\"error\":{\"message\":\"Response with id 'r' not "
			"found.\",\"type\":\"invalid_request_error\",\"code\":null}}",
			FAILURE_REQUEST, 0 },
		{ "OpenAI: region", 403,
			ERROR("request_forbidden", "unsupported_country_region_territory",
				"Country not supported"),
			FAILURE_OVERLOADED, 0 },
		{ "OpenAI: no credit", 429,
			ERROR("insufficient_quota", "insufficient_quota",
				"You exceeded your quota"),
			FAILURE_NO_CREDIT, 0 },
		{ "OpenAI: billing", 429,
			ERROR("invalid_request_error", "billing_hard_limit_reached", "x"),
			FAILURE_NO_CREDIT, 0 },
		{ "OpenAI: terminated", 429, ERROR("x", "access_terminated", "x"),
			FAILURE_KEY_INVALID, 0 },
		{ "OpenAI: rate", 429,
			ERROR("tokens", "rate_limit_exceeded",
				"Rate limit. Please try again in 1.534s."),
			FAILURE_RATE_LIMITED, 1534 },
		{ "OpenAI: rate in ms", 429,
			ERROR("tokens", "rate_limit_exceeded", "Please try again in 20ms. Visit"),
			FAILURE_RATE_LIMITED, 20 },
		{ "OpenAI: rate in minutes", 429,
			ERROR("tokens", "rate_limit_exceeded", "Please try again in 6m0s"),
			FAILURE_RATE_LIMITED, 360000 },
		{ "OpenAI: too large for ever", 429,
			ERROR("tokens", "rate_limit_exceeded",
				"Request too large for gpt-4o on tokens per min"),
			FAILURE_REQUEST, 0 },
		{ "OpenAI: overloaded", 503, ERROR("server_error", "server_overloaded", "x"),
			FAILURE_OVERLOADED, 0 },
		{ "OpenAI: engine overloaded, whatever the status", 429,
			ERROR("engine_overloaded", "", "x"), FAILURE_OVERLOADED, 0 },
		{ "OpenAI: context", 400,
			ERROR("invalid_request_error", "context_length_exceeded", "x"),
			FAILURE_REQUEST, 0 },
		{ "Azure: rate", 429,
			"{\"error\":{\"code\":\"429\",\"message\":\"Requests have exceeded. Please "
			"retry after 45 seconds.\"}}",
			FAILURE_RATE_LIMITED, 45000 },
		{ "Azure: a day", 429,
			"{\"error\":{\"code\":\"429\",\"message\":\"Please retry after 86400 "
			"seconds.\"}}",
			FAILURE_NO_CREDIT, 86400000 },
		{ "Azure: deployment", 404,
			"{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"x\"}}",
			FAILURE_MODEL, 0 },
		{ "Azure: filter", 400, ERROR("", "content_filter", "filtered"), FAILURE_REQUEST,
			0 },
		{ "Anthropic: overloaded", 529,
			"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
			"\"Overloaded\"}}",
			FAILURE_OVERLOADED, 0 },
		{ "Anthropic: spend limit", 429,
			"{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":"
			"\"...\",\"details\":"
			"{\"error_code\":\"enforced_spend_limit_reached\"}}}",
			FAILURE_NO_CREDIT, 0 },
		{ "Anthropic: credit", 400,
			"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
			"\"message\":\"Your credit balance is too low to\"}}",
			FAILURE_NO_CREDIT, 0 },
		{ "Anthropic: permission", 403,
			"{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":"
			"\"Your key may not\"}}",
			FAILURE_KEY_INVALID, 0 },
		{ "Anthropic: permission for a model", 403,
			"{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":"
			"\"no access to model claude\"}}",
			FAILURE_MODEL, 0 },
		{ "Anthropic: not found", 404,
			"{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":"
			"\"claude\"}}",
			FAILURE_MODEL, 0 },
		{ "Anthropic in a stream", 200,
			"event: error\ndata: "
			"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
			"\"x\"}}\n\n",
			FAILURE_OVERLOADED, 0 },
		{ "Gemini: day", 429,
			"{\"error\":{\"code\":429,\"message\":\"quota\",\"status\":\"RESOURCE_"
			"EXHAUSTED\",\"details\":[{\"violations\":"
			"[{\"quotaId\":\"GenerateRequestsPerDayPerProjectPerModel-FreeTier\","
			"\"quotaValue\":\"20\"}]},"
			"{\"@type\":\"type.googleapis.com/"
			"google.rpc.RetryInfo\",\"retryDelay\":\"38.2s\"}]}}",
			FAILURE_NO_CREDIT, 20 * 3600000 },
		{ "Gemini: minute", 429,
			"[{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{"
			"\"quotaId\":\"XPerMinute\",\"quotaValue\":\"5\"},"
			"{\"retryDelay\": \"900ms\"}]}}]",
			FAILURE_RATE_LIMITED, 900 },
		{ "Gemini: minute, unsaid", 429,
			"{\"error\":{\"details\":[{\"quotaId\":\"XPerMinute\"}]}}",
			FAILURE_RATE_LIMITED, 60000 },
		{ "Gemini: quota of nothing", 429,
			"{\"error\":{\"details\":[{\"quotaId\":\"XPerDay\",\"quotaValue\":\"0\"}]}"
			"}",
			FAILURE_MODEL, 0 },
		{ "Gemini: key", 400,
			"{\"error\":{\"code\":400,\"message\":\"API key not valid. Please "
			"pass\",\"status\":\"INVALID_ARGUMENT\"}}",
			FAILURE_KEY_INVALID, 0 },
		{ "Gemini: key by reason", 400,
			"{\"error\":{\"code\":400,\"message\":\"x\",\"details\":[{\"reason\": "
			"\"API_KEY_INVALID\"}]}}",
			FAILURE_KEY_INVALID, 0 },
		{ "Gemini: region", 400,
			"{\"error\":{\"message\":\"User location is not supported for the API "
			"use.\",\"status\":\"FAILED_PRECONDITION\"}}",
			FAILURE_OVERLOADED, 0 },
		{ "Gemini: overloaded", 503,
			"{\"error\":{\"code\":503,\"message\":\"The model is "
			"overloaded.\",\"status\":\"UNAVAILABLE\"}}",
			FAILURE_OVERLOADED, 0 },
		{ "Gemini: denied", 403,
			"{\"error\":{\"code\":403,\"message\":\"x\",\"status\":\"PERMISSION_"
			"DENIED\"}}",
			FAILURE_KEY_INVALID, 0 },
		{ "Groq: hours", 429,
			ERROR("tokens", "rate_limit_exceeded",
				"tokens per day (TPD). Please try again in 7m12.5s."),
			FAILURE_RATE_LIMITED, 432500 },
		{ "Groq: too large", 413,
			ERROR("tokens", "rate_limit_exceeded", "Request too large for model"),
			FAILURE_REQUEST, 0 },
		{ "Groq: flex", 498, "{}", FAILURE_OVERLOADED, 0 },
		{ "Mistral: key", 401, "{\"message\":\"Unauthorized\"}", FAILURE_KEY_INVALID, 0 },
		{ "Mistral: rate", 429,
			"{\"object\":\"error\",\"message\":\"Rate limit "
			"exceeded\",\"type\":\"rate_limited\",\"param\":null,\"code\":\"1300\"}",
			FAILURE_RATE_LIMITED, 0 },
		{ "Mistral: tier", 429,
			"{\"object\":\"error\",\"message\":\"x\",\"type\":\"x\",\"code\":\"3505\"}",
			FAILURE_OVERLOADED, 0 },
		{ "OpenRouter: credit", 402,
			"{\"error\":{\"message\":\"Insufficient "
			"credits\",\"code\":402,\"metadata\":{\"error_type\":\"payment_required\"}}"
			"}",
			FAILURE_NO_CREDIT, 0 },
		{ "OpenRouter: free models of the day", 429,
			"{\"error\":{\"message\":\"Rate limit exceeded: "
			"free-models-per-day.\",\"code\":429,\"metadata\":{\"headers\":"
			"{\"X-RateLimit-Remaining\":\"0\",\"X-RateLimit-Reset\":\"1768482000000\"}}"
			"}}",
			FAILURE_NO_CREDIT, 3600000 },
		{ "OpenRouter: its own rate", 429,
			"{\"error\":{\"message\":\"x\",\"code\":429,\"metadata\":{\"headers\":{\"X-"
			"RateLimit-Reset\":\"1768478460000\"}}}}",
			FAILURE_RATE_LIMITED, 60000 },
		{ "OpenRouter: a provider's rate", 429,
			"{\"error\":{\"message\":\"x\",\"code\":429,\"metadata\":{\"provider_"
			"name\":\"P\",\"raw\":\"x\"}}}",
			FAILURE_OVERLOADED, 0 },
		{ "OpenRouter: moderation", 403,
			"{\"error\":{\"code\":403,\"message\":\"x\",\"metadata\":{\"reasons\":[],"
			"\"flagged_input\":\"y\"}}}",
			FAILURE_REQUEST, 0 },
		{ "OpenRouter: an error in a 200", 200,
			"{\"error\":{\"code\":502,\"message\":\"Provider returned error\"}}",
			FAILURE_TRANSIENT, 0 },
		{ "OpenRouter: in a stream", 200,
			": OPENROUTER PROCESSING\n\ndata: "
			"{\"error\":{\"code\":429,\"message\":\"x\"}}\n\n",
			FAILURE_RATE_LIMITED, 0 },
		{ "DeepSeek: balance", 402,
			ERROR("unknown_error", "invalid_request_error", "Insufficient Balance"),
			FAILURE_NO_CREDIT, 0 },
		{ "Bedrock: key", 403,
			"{\"message\":\"The security token included in the request is invalid.\"}",
			FAILURE_KEY_INVALID, 0 },
		{ "Bedrock: model", 403, "{\"message\":\"You are not allowed\"}", FAILURE_MODEL,
			0 },
		{ "Bedrock: quota", 400,
			"{\"__type\":\"ServiceQuotaExceededException\",\"message\":\"x\"}",
			FAILURE_NO_CREDIT, 0 },
		{ "Bedrock: tokens of the day", 429,
			"{\"message\":\"Too many tokens per day, please wait\"}", FAILURE_NO_CREDIT,
			12 * 3600000 },
		{ "Bedrock: throttled", 429, "{\"message\":\"Too many requests\"}",
			FAILURE_RATE_LIMITED, 0 },
		{ "responses: failed in the stream", 200,
			"event: response.failed\ndata: "
			"{\"type\":\"response.failed\",\"response\":{\"error\":"
			"{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}}\n\n",
			FAILURE_RATE_LIMITED, 0 },
		{ "an error of no known word in a 200", 200, "{\"error\":\"what\"}",
			FAILURE_TRANSIENT, 0 },
		{ "an answer", 200, "{\"id\":\"x\",\"error\":null,\"choices\":[]}", FAILURE_NONE,
			0 },
		{ "no answer at all", 0, "", FAILURE_TRANSIENT, 0 },
		{ "a gateway's page", 502, "<html>", FAILURE_TRANSIENT, 0 },
		{ "a firewall's page", 403, "\n<!DOCTYPE html>", FAILURE_TRANSIENT, 0 },
		{ "a page instead of overload", 503, "<html>", FAILURE_TRANSIENT, 0 },
		{ "a path that is not there", 404, "", FAILURE_MODEL, 0 },
		{ "conflict", 409, "{}", FAILURE_TRANSIENT, 0 },
		{ "timeout", 408, "{}", FAILURE_TRANSIENT, 0 },
		{ "a redirect", 302, "", FAILURE_TRANSIENT, 0 },
		{ "not processable", 422, "{}", FAILURE_REQUEST, 0 },
		{ "cloudflare", 524, "error code: 524", FAILURE_TRANSIENT, 0 },
		{ "a body cut short", 429, "{\"error\":{\"message\":\"Please try again in 2s. ",
			FAILURE_RATE_LIMITED, 2000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		judge(cases[i].why, cases[i].status, cases[i].body, cases[i].want,
			cases[i].wait_ms);
}

/* Providers quote the request in what they say of it. */
static void
a_client_s_words_condemn_no_key(void **state)
{
	(void)state;
	judge("message", 400,
		ERROR("invalid_request_error", "invalid_value",
			"Invalid value: 'API key not valid'."),
		FAILURE_REQUEST, 0);
	judge("credit", 400,
		ERROR("invalid_request_error", "invalid_value",
			"Invalid value: 'Your credit balance is too low'."),
		FAILURE_REQUEST, 0);
	judge("reason", 400,
		ERROR("invalid_request_error", "invalid_value",
			"Invalid: '\\\"reason\\\":\\\"API_KEY_INVALID\\\"'"),
		FAILURE_REQUEST, 0);
}

#define S(text)                                                                                    \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

static void
waits_are_found_wherever_they_are_stated(void **state)
{
	static const struct {
		const char *why;
		struct failure_headers h;
		int64_t wait_ms; /* 0: none */
	} cases[] = {
		{ "none", { .retry_after = S("") }, 0 },
		{ "ms before seconds", { .retry_after_ms = S("1534.0"), .retry_after = S("2") },
			1534 },
		{ "seconds",
			{ .retry_after = S("12"),
				.remaining_requests = S("0"),
				.reset_requests = S("30s") },
			12000 },
		{ "a fraction", { .retry_after = S("1.5") }, 1500 },
		{ "a date", { .retry_after = S("Thu, 15 Jan 2026 12:00:30 GMT") }, 30000 },
		{ "a date by a clock that is behind",
			{ .retry_after = S("Thu, 15 Jan 2026 11:00:30 GMT"),
				.date = S("Thu, 15 Jan 2026 11:00:00 GMT") },
			30000 },
		{ "a date that is over", { .retry_after = S("Thu, 15 Jan 2026 11:00:30 GMT") },
			-1 },
		{ "12ms", { .reset_requests = S("12ms") }, 12 },
		{ "6m0s", { .reset_requests = S("6m0s") }, 360000 },
		{ "8.64s", { .reset_requests = S("8.64s") }, 8640 },
		{ "1m30.5s", { .reset_tokens = S("1m30.5s") }, 90500 },
		{ "seconds without a unit", { .reset_tokens = S("45") }, 45000 },
		{ "what is spent, not what is later",
			{ .remaining_requests = S("0"),
				.reset_requests = S("2s"),
				.remaining_tokens = S("5"),
				.reset_tokens = S("1h") },
			2000 },
		{ "the later of two that are spent",
			{ .remaining_requests = S("0"),
				.reset_requests = S("2s"),
				.remaining_tokens = S("0"),
				.reset_tokens = S("9s") },
			9000 },
		{ "neither is spent",
			{ .remaining_requests = S("1"),
				.reset_requests = S("2s"),
				.remaining_tokens = S("1"),
				.reset_tokens = S("9s") },
			0 },
		{ "unknown to Azure", { .remaining_tokens = S("-1"), .reset_tokens = S("7") },
			7000 },
		{ "RFC 3339",
			{ .remaining_requests = S("0"),
				.reset_requests = S("2026-01-15T12:00:30Z") },
			30000 },
		{ "epoch seconds", { .unified_reset = S("1768482000") }, 3600000 },
		{ "epoch milliseconds", { .reset_requests = S("1768482000000") }, 3600000 },
		{ "a duration of years is a day", { .reset_requests = S("50000000m") }, 0 },
		{ "rubbish",
			{ .retry_after_ms = S("soon"),
				.retry_after = S("-5"),
				.reset_tokens = S("1 week") },
			0 },
		{ "rubbish numbers", { .retry_after = S("1e9"), .reset_tokens = S("1.2.3") }, 0 },
		{ "a huge number", { .retry_after_ms = S("99999999999999999999") }, 0 },
		{ "blanks", { .retry_after = S(" 3 ") }, 3000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t now = ms_of(NOW), until;
		enum failure got = failure_classify(429, &cases[i].h, SPAN_LIT("{}"), now, &until);

		if (strcmp(cases[i].why, "a duration of years is a day") == 0) {
			assert_int_equal(got, FAILURE_NO_CREDIT);
			continue;
		}
		assert_int_equal(got, FAILURE_RATE_LIMITED);
		if (cases[i].wait_ms == 0
				? until != 0
				: until - now != (cases[i].wait_ms < 0 ? 0 : cases[i].wait_ms))
			fail_msg("%s: %lld", cases[i].why, (long long)(until - now));
	}
}

static void
an_error_type_in_the_header_counts(void **state)
{
	struct failure_headers h = { .error_type = S("UnrecognizedClientException:http://x") };
	int64_t until;

	(void)state;
	assert_int_equal(failure_classify(403, &h, SPAN_LIT("{\"message\":\"x\"}"), 1, &until),
		FAILURE_KEY_INVALID);
	h.error_type = (struct span)S("AccessDeniedException");
	assert_int_equal(failure_classify(403, &h, SPAN_LIT("{\"message\":\"x\"}"), 1, &until),
		FAILURE_MODEL);
}

static void
a_quota_of_a_day_ends_at_midnight_in_california(void **state)
{
	static const struct {
		const char *now, *until;
	} cases[] = {
		{ "2026-01-15T12:00:00Z", "2026-01-16T08:00:00Z" },
		{ "2026-01-15T07:59:59Z", "2026-01-15T08:00:00Z" },
		{ "2026-01-15T08:00:00Z", "2026-01-16T08:00:00Z" },
		{ "2026-07-01T12:00:00Z", "2026-07-02T07:00:00Z" },
		{ "2026-03-08T07:30:00Z",
			"2026-03-08T08:00:00Z" }, /* half an hour before the day of the change */
		{ "2026-03-08T09:00:00Z", "2026-03-09T07:00:00Z" }, /* that day is an hour short */
		{ "2026-11-01T08:00:00Z", "2026-11-02T08:00:00Z" }, /* that day is an hour long */
		{ "2026-12-31T23:00:00Z", "2027-01-01T08:00:00Z" },
		{ "2028-03-12T09:00:00Z", "2028-03-13T07:00:00Z" },
	};
	struct failure_headers h = { .retry_after = SPAN_NONE };
	int64_t until;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(
			failure_classify(429, &h, SPAN_LIT("{\"error\":{\"quotaId\":\"PerDay\"}}"),
				ms_of(cases[i].now), &until),
			FAILURE_NO_CREDIT);
		if (until != ms_of(cases[i].until))
			fail_msg("%s: off by %lld s", cases[i].now,
				(long long)(until - ms_of(cases[i].until)) / 1000);
	}
}

static void
the_words_say_of_whom_they_speak(void **state)
{
	static const struct {
		const char *why, *model, *body;
		bool account, quota, of_model;
	} cases[] = {
		{ "OpenAI: an organization's rate at a model", "gpt-4o",
			ERROR("tokens", "rate_limit_exceeded",
				"Rate limit reached for gpt-4o in organization org-x on tokens per "
				"min (TPM)"),
			true, false, true },
		{ "a longer name is another", "gpt-4",
			ERROR("tokens", "rate_limit_exceeded", "Rate limit reached for gpt-4o"),
			false, false, false },
		{ "and so is a version", "gpt-4",
			ERROR("tokens", "rate_limit_exceeded", "for gpt-4.1, and my-gpt-4"), false,
			false, false },
		{ "the sentence may end with it", "gpt-4",
			ERROR("tokens", "rate_limit_exceeded", "for gpt-4o, and for gpt-4."), false,
			false, true },
		{ "OpenAI: no credit is no quota of a day", "gpt-4o",
			ERROR("insufficient_quota", "insufficient_quota",
				"You exceeded your current quota"),
			false, false, false },
		{ "Groq: a day's requests", "llama-3",
			ERROR("requests", "rate_limit_exceeded",
				"on requests per day (RPD): Limit 200"),
			false, true, false },
		{ "Anthropic: the organization", "claude-x",
			"{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":"
			"\"This request would exceed your organization's rate limit\"}}",
			true, false, false },
		{ "Gemini: the day of a model", "gemini-2.0-flash",
			"{\"error\":{\"code\":429,\"message\":\"Quota exceeded\",\"details\":[{"
			"\"violations\":[{\"quotaId\":\"GenerateRequestsPerDayPerProjectPerModel\","
			"\"quotaDimensions\":{\"model\":\"gemini-2.0-flash\"}}]}]}}",
			false, true, true },
		{ "Bedrock: a day's tokens", "claude", "{\"message\":\"Too many tokens per day\"}",
			false, true, false },
		{ "nothing is said", "m", "", false, false, false },
		{ "no model is asked for", "", ERROR("x", "y", "z"), false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct failure_scope got = failure_scope(span_of(cases[i].body), cases[i].model);

		if (got.is_account != cases[i].account || got.is_quota != cases[i].quota ||
			got.is_model != cases[i].of_model)
			fail_msg("%s: account %d, quota %d, model %d", cases[i].why, got.is_account,
				got.is_quota, got.is_model);
		assert_false(got.is_address);
	}
	assert_true(failure_scope(span_of(ERROR("requests", "rate_limit_exceeded",
					  "Too many requests from your IP address")),
		"m")
			    .is_address);
}

static void
every_class_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(failure_name(FAILURE_NONE), "none");
	assert_string_equal(failure_name(FAILURE_TRANSIENT), "transient");
	assert_string_equal(failure_name((enum failure)99), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_provider_s_failure_has_its_class),
		cmocka_unit_test(a_client_s_words_condemn_no_key),
		cmocka_unit_test(waits_are_found_wherever_they_are_stated),
		cmocka_unit_test(an_error_type_in_the_header_counts),
		cmocka_unit_test(a_quota_of_a_day_ends_at_midnight_in_california),
		cmocka_unit_test(the_words_say_of_whom_they_speak),
		cmocka_unit_test(every_class_has_a_name),
	};

	return cmocka_run_group_tests_name("wire/failure", tests, NULL, NULL);
}
