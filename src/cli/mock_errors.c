/*
 * mock_errors.c - what goes wrong, as each protocol says it: one table.
 */
#include "cli/mock-int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BODY_BYTES (64 * 1024)

/* In order of their dialect; the first of a dialect with that kind or status counts. */
struct row {
	enum mock_dialect dialect;
	enum mock_kind kind;
	int status;
	const char *type; /* the dialect's name for it */
	const char *
		code; /* OpenAI: "code" as JSON; Anthropic: details.error_code; Gemini: details as JSON */
	const char *message;
};

#define GOOGLE(name) "{\"@type\":\"type.googleapis.com/google.rpc." name "\","
#define QUOTA(id, metric)                                                                          \
	GOOGLE("QuotaFailure")                                                                     \
	"\"violations\":[{\"quotaMetric\":\"generativelanguage.googleapis.com/" metric             \
	"\",\"quotaId\":\"" id                                                                     \
	"\",\"quotaDimensions\":{\"location\":\"global\"},\"quotaValue\":\"20\"}]}," GOOGLE(       \
		"RetryInfo") "\"retryDelay\":\"7.5s\"}"
#define BAD_KEY(reason)                                                                            \
	GOOGLE("ErrorInfo") "\"reason\":\"" reason "\",\"domain\":\"googleapis.com\"}"

static const struct row rows[] = {
	{ MOCK_OPENAI, KIND_KEY, 401, "invalid_request_error", "\"invalid_api_key\"",
		"Incorrect API key provided (by the mock)." },
	{ MOCK_OPENAI, KIND_CREDIT, 429, "insufficient_quota", "\"insufficient_quota\"",
		"You exceeded your current quota, please check your plan and billing details." },
	{ MOCK_OPENAI, KIND_ACCESS, 403, "request_forbidden",
		"\"unsupported_country_region_territory\"",
		"This is not offered where the mock thinks you are." },
	{ MOCK_OPENAI, KIND_RATE, 429, "requests", "\"rate_limit_exceeded\"",
		"Rate limit reached for requests per min. Please try again in 7s." },
	{ MOCK_OPENAI, KIND_DAY, 429, "requests", "\"rate_limit_exceeded\"",
		"Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1. "
		"Please "
		"try again in 7m12s." },
	{ MOCK_OPENAI, KIND_OVERLOADED, 503, "server_error", "\"server_overloaded\"",
		"The mock plays being overloaded." },
	{ MOCK_OPENAI, KIND_CONTEXT, 400, "invalid_request_error", "\"context_length_exceeded\"",
		"This model's maximum context length is 8192 tokens. However, your messages "
		"resulted in "
		"9000 tokens. Please reduce the length of the messages." },
	{ MOCK_OPENAI, KIND_FILTER, 400, "invalid_request_error", "\"content_policy_violation\"",
		"Your request was rejected by the mock's safety system." },
	{ MOCK_OPENAI, KIND_MODEL, 404, "invalid_request_error", "\"model_not_found\"",
		"The model does not exist or you do not have access to it." },
	{ MOCK_OPENAI, KIND_TIMEOUT, 408, "server_error", "null", "The mock took too long." },
	{ MOCK_OPENAI, KIND_INTERNAL, 500, "server_error", "null",
		"The mock had an error while processing your request." },

	{ MOCK_AZURE, KIND_KEY, 401, NULL, "\"401\"",
		"Access denied due to invalid subscription key or wrong API endpoint." },
	{ MOCK_AZURE, KIND_RATE, 429, NULL, "\"429\"",
		"Requests have exceeded token rate limit of the mock. Please retry after 7 "
		"seconds." },
	{ MOCK_AZURE, KIND_DAY, 429, NULL, "\"429\"",
		"Requests have exceeded the quota of the mock. Please retry after 86400 seconds." },
	{ MOCK_AZURE, KIND_MODEL, 404, NULL, "\"DeploymentNotFound\"",
		"The API deployment for this resource does not exist." },
	{ MOCK_AZURE, KIND_FILTER, 400, NULL, "\"content_filter\"",
		"The response was filtered due to the prompt triggering the mock's content "
		"policy." },

	{ MOCK_ANTHROPIC, KIND_KEY, 401, "authentication_error", NULL, "invalid x-api-key" },
	{ MOCK_ANTHROPIC, KIND_CREDIT, 400, "invalid_request_error", NULL,
		"Your credit balance is too low to access the Anthropic API. Please go to Plans & "
		"Billing to upgrade or purchase credits." },
	{ MOCK_ANTHROPIC, KIND_ACCESS, 403, "permission_error", NULL,
		"Your API key does not have permission to use the specified resource." },
	{ MOCK_ANTHROPIC, KIND_RATE, 429, "rate_limit_error", NULL,
		"This request would exceed your organization's rate limit of 100 requests per "
		"minute." },
	{ MOCK_ANTHROPIC, KIND_DAY, 429, "rate_limit_error", "enforced_spend_limit_reached",
		"You have reached your specified API usage limits." },
	{ MOCK_ANTHROPIC, KIND_OVERLOADED, 529, "overloaded_error", NULL, "Overloaded" },
	{ MOCK_ANTHROPIC, KIND_CONTEXT, 400, "invalid_request_error", NULL,
		"prompt is too long: 210000 tokens > 200000 maximum" },
	{ MOCK_ANTHROPIC, KIND_FILTER, 400, "invalid_request_error", NULL,
		"Output blocked by content filtering policy" },
	{ MOCK_ANTHROPIC, KIND_MODEL, 404, "not_found_error", NULL, "model: it is not known" },
	{ MOCK_ANTHROPIC, KIND_TIMEOUT, 504, "timeout_error", NULL, "Request timed out" },
	{ MOCK_ANTHROPIC, KIND_INTERNAL, 500, "api_error", NULL, "Internal server error" },
	{ MOCK_ANTHROPIC, KIND_NONE, 402, "billing_error", NULL, "Billing is not active." },
	{ MOCK_ANTHROPIC, KIND_NONE, 413, "request_too_large", NULL,
		"Request exceeds the maximum size" },

	{ MOCK_GEMINI, KIND_KEY, 400, "INVALID_ARGUMENT", BAD_KEY("API_KEY_INVALID"),
		"API key not valid. Please pass a valid API key." },
	{ MOCK_GEMINI, KIND_CREDIT, 429, "RESOURCE_EXHAUSTED", NULL,
		"Your prepayment credits are depleted. Please go to AI Studio to manage your "
		"billing." },
	{ MOCK_GEMINI, KIND_ACCESS, 403, "PERMISSION_DENIED", NULL,
		"Your API key was reported as leaked. Please use another API key." },
	{ MOCK_GEMINI, KIND_RATE, 429, "RESOURCE_EXHAUSTED",
		QUOTA("GenerateRequestsPerMinutePerProjectPerModel", "generate_requests_per_model"),
		"You exceeded your current quota, please check your plan and billing details. "
		"Please "
		"retry in 7.5s." },
	{ MOCK_GEMINI, KIND_DAY, 429, "RESOURCE_EXHAUSTED",
		QUOTA("GenerateRequestsPerDayPerProjectPerModel-FreeTier",
			"generate_content_free_tier_requests"),
		"You exceeded your current quota, please check your plan and billing details. "
		"Please "
		"retry in 7.5s." },
	{ MOCK_GEMINI, KIND_OVERLOADED, 503, "UNAVAILABLE", NULL,
		"The model is overloaded. Please try again later." },
	{ MOCK_GEMINI, KIND_CONTEXT, 400, "INVALID_ARGUMENT", NULL,
		"The input token count (1200000) exceeds the maximum number of tokens allowed "
		"(1048576)." },
	{ MOCK_GEMINI, KIND_FILTER, 400, "INVALID_ARGUMENT", NULL,
		"The prompt could not be submitted. It contains sensitive words." },
	{ MOCK_GEMINI, KIND_MODEL, 404, "NOT_FOUND", NULL,
		"models/x is not found for API version v1beta, or is not supported for "
		"generateContent." },
	{ MOCK_GEMINI, KIND_TIMEOUT, 504, "DEADLINE_EXCEEDED", NULL, "Deadline expired." },
	{ MOCK_GEMINI, KIND_INTERNAL, 500, "INTERNAL", NULL, "An internal error has occurred." },
	{ MOCK_GEMINI, KIND_NONE, 401, "UNAUTHENTICATED", NULL,
		"Request had invalid authentication credentials. Expected OAuth 2 access token, "
		"login "
		"cookie or other valid authentication credential." },

	{ MOCK_BEDROCK, KIND_KEY, 403, "UnrecognizedClientException", NULL,
		"The security token included in the request is invalid." },
	{ MOCK_BEDROCK, KIND_CREDIT, 400, "ServiceQuotaExceededException", NULL,
		"The service quota of the account is exceeded." },
	{ MOCK_BEDROCK, KIND_ACCESS, 403, "AccessDeniedException", NULL,
		"You don't have access to the model with the specified model ID." },
	{ MOCK_BEDROCK, KIND_RATE, 429, "ThrottlingException", NULL,
		"Too many requests, please wait before trying again." },
	{ MOCK_BEDROCK, KIND_DAY, 429, "ThrottlingException", NULL,
		"Too many tokens per day, please wait before trying again." },
	{ MOCK_BEDROCK, KIND_OVERLOADED, 503, "ServiceUnavailableException", NULL,
		"Bedrock is unable to process your request." },
	{ MOCK_BEDROCK, KIND_CONTEXT, 400, "ValidationException", NULL,
		"Input is too long for requested model." },
	{ MOCK_BEDROCK, KIND_FILTER, 400, "ValidationException", NULL,
		"Output blocked by content filtering policy" },
	{ MOCK_BEDROCK, KIND_MODEL, 404, "ResourceNotFoundException", NULL,
		"Could not resolve the foundation model from the provided model identifier." },
	{ MOCK_BEDROCK, KIND_TIMEOUT, 408, "ModelTimeoutException", NULL,
		"Model has timed out in processing the request." },
	{ MOCK_BEDROCK, KIND_INTERNAL, 500, "InternalServerException", NULL,
		"The system encountered an unexpected error during processing." },
	{ MOCK_BEDROCK, KIND_NONE, 424, "ModelErrorException", NULL,
		"The model failed to process the request." },
};

/* What a status is when its dialect has no row for it. */
static const struct row others[MOCK_DIALECTS][2] = {
	[MOCK_ANTHROPIC] = { { .type = "invalid_request_error",
				     .message = "The request is not valid." },
		{ .type = "api_error", .message = "Internal server error" } },
	[MOCK_GEMINI] = { { .type = "INVALID_ARGUMENT", .message = "The request is not valid." },
		{ .type = "INTERNAL", .message = "An internal error has occurred." } },
	[MOCK_BEDROCK] = { { .type = "ValidationException",
				   .message = "The request is not valid." },
		{ .type = "InternalServerException", .message = "An unexpected error." } },
	[MOCK_OPENAI] = { { .type = "invalid_request_error",
				  .code = "null",
				  .message = "The mock was told to refuse this request." },
		{ .type = "server_error",
			.code = "null",
			.message = "The mock had an error while processing your request." } },
};

enum mock_kind
mock_kind_named(struct span word)
{
	static const char *const names[KIND__COUNT] = { "", "key", "credit", "access", "rate",
		"day", "overloaded", "context", "filter", "model", "timeout", "internal" };

	for (int i = 1; i < KIND__COUNT; i++)
		if (span_is(word, names[i]))
			return (enum mock_kind)i;
	return KIND_NONE;
}

static enum mock_dialect
family(enum mock_dialect d)
{
	return d == MOCK_AZURE || d == MOCK_OPENROUTER ? MOCK_OPENAI : d;
}

static const struct row *
find(enum mock_dialect dialect, int status, enum mock_kind kind)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].dialect == dialect &&
			(kind != KIND_NONE ? rows[i].kind == kind : rows[i].status == status))
			return &rows[i];
	if (family(dialect) != dialect)
		return find(family(dialect), status, kind);
	return &others[dialect][status >= 500];
}

/* As the protocol numbers its own kinds: a plain 400 is the request's fault, not one of credit. */
static const struct row *
find_status(enum mock_dialect dialect, int status)
{
	if (status == 400)
		return &others[family(dialect)][0];
	if (status == 403 && dialect == MOCK_BEDROCK)
		return find(dialect, 0, KIND_ACCESS);
	return status == 429 ? find(dialect, 0, KIND_RATE) : find(dialect, status, KIND_NONE);
}

static void
put_body(struct mock_exchange *x, struct bytes *b, const struct row *r, int status,
	const char *message)
{
	struct span text = span_of(message != NULL ? message : r->message);

	switch (x->dialect) {
	case MOCK_ANTHROPIC:
		(void)bytes_printf(
			b, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", r->type);
		(void)bytes_json(b, text);
		if (r->code != NULL && message == NULL)
			(void)bytes_printf(b, ",\"details\":{\"error_code\":\"%s\"}", r->code);
		(void)bytes_printf(
			b, "},\"request_id\":\"req_mock_%llu\"}", (unsigned long long)x->number);
		break;
	case MOCK_GEMINI:
		(void)bytes_printf(b, "{\"error\":{\"code\":%d,\"message\":", status);
		(void)bytes_json(b, text);
		(void)bytes_printf(b, ",\"status\":\"%s\"", r->type);
		if (r->code != NULL && message == NULL)
			(void)bytes_printf(b, ",\"details\":[%s]", r->code);
		(void)bytes_puts(b, "}}");
		break;
	case MOCK_BEDROCK:
		x->exception = r->type;
		(void)bytes_puts(b, "{\"message\":");
		(void)bytes_json(b, text);
		(void)bytes_puts(b, "}");
		break;
	case MOCK_OPENROUTER:
		(void)bytes_printf(b, "{\"error\":{\"code\":%d,\"message\":", status);
		(void)bytes_json(b, text);
		(void)bytes_puts(b, "}}");
		break;
	default:
		(void)bytes_puts(b, "{\"error\":{\"message\":");
		(void)bytes_json(b, text);
		if (r->type != NULL)
			(void)bytes_printf(b, ",\"type\":\"%s\"", r->type);
		(void)bytes_printf(
			b, ",\"param\":null,\"code\":%s", r->code == NULL ? "null" : r->code);
		if (x->dialect == MOCK_AZURE && r->kind == KIND_FILTER)
			(void)bytes_puts(b, ",\"status\":400,\"innererror\":{\"code\":"
					    "\"ResponsibleAIPolicyViolation\","
					    "\"content_filter_result\":{\"hate\":{\"filtered\":"
					    "true,\"severity\":"
					    "\"high\"}}}");
		(void)bytes_puts(b, "}}");
	}
}

static void
answer(struct mock_exchange *x, const struct row *r, int status, const char *message)
{
	struct bytes body = BYTES_LIMIT(BODY_BYTES);

	put_body(x, &body, r, status, message);
	mock_reply(x, status, "application/json", bytes_span(&body));
	bytes_free(&body);
}

void
mock_error(struct mock_exchange *x, int status, const char *message)
{
	if (x->dialect == MOCK_OPENAI && message == NULL)
		openai_error(x, status);
	else
		answer(x, find_status(x->dialect, status), status, message);
}

void
mock_error_kind(struct mock_exchange *x, enum mock_kind kind, const char *message)
{
	const struct row *r = find(x->dialect, 0, kind);

	answer(x, r, r->status, message);
}

void
mock_error_printf(struct mock_exchange *x, int status, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	mock_error(x, status, text);
}

bool
mock_error_scripted(struct mock_exchange *x)
{
	if (x->script.kind != KIND_NONE)
		mock_error_kind(x, x->script.kind, NULL);
	else if (x->script.status != 200)
		mock_error(x, (int)x->script.status, NULL);
	else
		return false;
	return true;
}

/* Those of rate limits are OpenAI's in mock.c already, unless there are quotas. */
void
mock_error_headers(const struct mock_exchange *x, int status, struct bytes *to)
{
	unsigned long long n = (unsigned long long)x->number;
	bool told = mock_quota_headers(x, status, to);

	switch (x->dialect) {
	case MOCK_ANTHROPIC:
		(void)bytes_printf(
			to, "request-id: req_mock_%llu\r\nanthropic-organization-id: mock\r\n", n);
		if (told)
			break;
		(void)bytes_printf(to,
			"anthropic-ratelimit-requests-limit: 100\r\n"
			"anthropic-ratelimit-requests-remaining: %d\r\n"
			"anthropic-ratelimit-requests-reset: 2026-01-15T12:00:30Z\r\n",
			status == 429 ? 0 : 99);
		if (status == 429)
			(void)bytes_puts(to, "retry-after: 7\r\n");
		break;
	case MOCK_BEDROCK:
		(void)bytes_printf(to, "x-amzn-RequestId: mock-%llu\r\n", n);
		if (x->exception != NULL)
			(void)bytes_printf(to,
				"x-amzn-ErrorType: %s:http://internal.amazon.com/coral/mock/\r\n",
				x->exception);
		break;
	case MOCK_AZURE:
		(void)bytes_printf(
			to, "apim-request-id: mock-%llu\r\nx-ms-region: Mock Central\r\n", n);
		if (status == 429 && !told)
			(void)bytes_puts(to,
				"retry-after: 7\r\nx-ratelimit-remaining-requests: 0\r\n"
				"x-ratelimit-reset-requests: 7\r\n");
		break;
	default:
		break;
	}
}
