/*
 * error_test.c - our failures in words that each dialect's SDK knows.
 */
#include "wire/error.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const enum dialect dialects[] = { DIALECT_OPENAI, DIALECT_ANTHROPIC, DIALECT_GEMINI,
	DIALECT_BEDROCK };

static void
each_class_has_the_status_and_type_of_the_dialect(void **state)
{
	static const struct {
		enum err_code code;
		int openai;
		const char *openai_type;
		int anthropic;
		const char *anthropic_type;
		int gemini;
		const char *gemini_type;
		int bedrock;
		const char *bedrock_type;
	} cases[] = {
		{ ERR_BAD_REQUEST, 400, "invalid_request_error", 400, "invalid_request_error", 400,
			"INVALID_ARGUMENT", 400, "ValidationException" },
		{ ERR_CONTEXT_TOO_LONG, 400, "invalid_request_error", 400, "invalid_request_error",
			400, "INVALID_ARGUMENT", 400, "ValidationException" },
		{ ERR_INVALID_TOKEN, 401, "invalid_request_error", 401, "authentication_error", 401,
			"UNAUTHENTICATED", 403, "AccessDeniedException" },
		{ ERR_MODEL_NOT_ALLOWED, 403, "invalid_request_error", 403, "permission_error", 403,
			"PERMISSION_DENIED", 403, "AccessDeniedException" },
		{ ERR_NO_ROUTE, 404, "invalid_request_error", 404, "not_found_error", 404,
			"NOT_FOUND", 404, "ResourceNotFoundException" },
		{ ERR_METHOD_NOT_ALLOWED, 405, "invalid_request_error", 405,
			"invalid_request_error", 405, "INVALID_ARGUMENT", 405,
			"ValidationException" },
		{ ERR_BODY_TOO_LARGE, 413, "invalid_request_error", 413, "request_too_large", 413,
			"INVALID_ARGUMENT", 413, "ValidationException" },
		{ ERR_RATE_LIMITED, 429, "requests", 429, "rate_limit_error", 429,
			"RESOURCE_EXHAUSTED", 429, "ThrottlingException" },
		{ ERR_BUDGET_EXCEEDED, 429, "insufficient_quota", 402, "billing_error", 429,
			"RESOURCE_EXHAUSTED", 400, "ServiceQuotaExceededException" },
		{ ERR_INTERNAL, 500, "server_error", 500, "api_error", 500, "INTERNAL", 500,
			"InternalServerException" },
		{ ERR_UPSTREAM_CREDENTIALS, 502, "server_error", 500, "api_error", 500, "INTERNAL",
			500, "InternalServerException" },
		{ ERR_OVERLOADED, 503, "server_error", 529, "overloaded_error", 503, "UNAVAILABLE",
			503, "ServiceUnavailableException" },
		{ ERR_UPSTREAM_TIMEOUT, 504, "server_error", 504, "timeout_error", 504,
			"DEADLINE_EXCEEDED", 408, "ModelTimeoutException" },
		{ ERR__COUNT, 500, "server_error", 500, "api_error", 500, "INTERNAL", 500,
			"InternalServerException" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const int status[] = { cases[i].openai, cases[i].anthropic, cases[i].gemini,
			cases[i].bedrock };
		const char *const type[] = { cases[i].openai_type, cases[i].anthropic_type,
			cases[i].gemini_type, cases[i].bedrock_type };

		for (size_t d = 0; d < 4; d++) {
			assert_int_equal(error_status(dialects[d], cases[i].code), status[d]);
			assert_string_equal(error_type(dialects[d], cases[i].code), type[d]);
		}
	}
}

static void
says(const char *json, const char *path, const char *want)
{
	char got[400];

	if (json_string(json_path(span_of(json), path), got, sizeof got) < 0 ||
		strcmp(got, want) != 0)
		fail_msg("%s of %s", path, json);
}

static void
bodies_have_the_shape_of_the_dialect(void **state)
{
	struct bytes b = BYTES_LIMIT(4096);
	struct err e = { .code = ERR_BUDGET_EXCEEDED };

	(void)state;
	(void)err_say(&e, "The budget of \"x\"\n is spent.");
	assert_int_equal(error_body(DIALECT_OPENAI, &e, "req_1", &b), 0);
	says(b.at, "error.message", e.says);
	says(b.at, "error.type", "insufficient_quota");
	says(b.at, "error.code", "insufficient_quota");
	says(b.at, "error.sluice_code", "budget_exceeded");
	says(b.at, "error.request_id", "req_1");
	assert_int_equal(json_path(bytes_span(&b), "error.param").type, JSON_NULL);
	bytes_free(&b);

	assert_int_equal(error_body(DIALECT_ANTHROPIC, &e, "req_1", &b), 0);
	says(b.at, "type", "error");
	says(b.at, "error.type", "billing_error");
	says(b.at, "error.message", e.says);
	says(b.at, "error.sluice_code", "budget_exceeded");
	says(b.at, "request_id", "req_1");
	bytes_free(&b);

	assert_int_equal(error_body(DIALECT_BEDROCK, &e, NULL, &b), 0);
	says(b.at, "message", e.says);
	says(b.at, "__type", "ServiceQuotaExceededException");
	assert_int_equal(json_get(bytes_span(&b), "request_id").type, JSON_NONE);
	bytes_free(&b);

	e = (struct err){ .code = ERR_RATE_LIMITED, .retry_boot_ms = clock_boot_ms() + 90900 };
	assert_int_equal(error_body(DIALECT_GEMINI, &e, "req_1", &b), 0);
	says(b.at, "error.status", "RESOURCE_EXHAUSTED");
	says(b.at, "error.message", "Too many requests; wait and try again.");
	assert_non_null(strstr(b.at, "google.rpc.RetryInfo\",\"retryDelay\":\"90."));
	assert_true(span_is(json_path(bytes_span(&b), "error.code").raw, "429"));
	bytes_free(&b);
	e.retry_boot_ms = 1; /* long ago */
	assert_int_equal(error_body(DIALECT_GEMINI, &e, "req_1", &b), 0);
	assert_null(strstr(b.at, "RetryInfo"));
	bytes_free(&b);
}

static void
every_failure_is_valid_json_everywhere(void **state)
{
	(void)state;
	for (int code = 0; code < ERR__COUNT; code++)
		for (size_t d = 0; d < 4; d++) {
			struct bytes b = BYTES_LIMIT(4096);
			struct err e = { .code = (enum err_code)code, .says = "a\xFF\"\\" };

			assert_int_equal(error_body(dialects[d], &e, "req_1", &b), 0);
			assert_true(json_valid(bytes_span(&b)));
			assert_non_null(strstr(b.at, err_name(e.code)));
			bytes_free(&b);
			b.limit = 40;
			assert_int_equal(error_body(dialects[d], &e, "req_1", &b), -1);
			bytes_free(&b);
			assert_int_equal(error_event(dialects[d], &e, "req_1", &b), -1);
			bytes_free(&b);
			assert_true(error_status(dialects[d], e.code) >= 400);
		}
}

static void
events_end_in_an_empty_line(void **state)
{
	static const struct {
		enum dialect dialect;
		const char *begins;
	} cases[] = {
		{ DIALECT_OPENAI,
			"data: {\"type\":\"error\",\"error\":{\"message\":\"The gateway is full" },
		{ DIALECT_ANTHROPIC,
			"event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"The "
			"gateway is full" },
		{ DIALECT_GEMINI,
			"data: {\"error\":{\"code\":503,\"message\":\"The gateway is full" },
	};
	struct err e = { .code = ERR_OVERLOADED };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bytes b = BYTES_LIMIT(4096);
		const char *json;

		assert_int_equal(error_event(cases[i].dialect, &e, "req_1", &b), 0);
		assert_memory_equal(b.at, cases[i].begins, strlen(cases[i].begins));
		assert_string_equal(b.at + b.len - 3, "}\n\n");
		json = strstr(b.at, "data: ") + 6;
		assert_true(json_valid((struct span){ json, strlen(json) - 2 }));
		bytes_free(&b);
	}
}

static uint32_t
u32(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void
bedrock_gets_a_frame_with_both_checksums(void **state)
{
	struct bytes b = BYTES_LIMIT(4096);
	struct err e = { .code = ERR_RATE_LIMITED };
	uint32_t headers;

	(void)state;
	(void)bytes_puts(&b, "before");
	assert_int_equal(error_event(DIALECT_BEDROCK, &e, "req_1", &b), 0);
	assert_int_equal(u32(b.at + 6), b.len - 6);
	headers = u32(b.at + 10);
	assert_int_equal(u32(b.at + 14), hash_crc32(b.at + 6, 8));
	assert_int_equal(u32(b.at + b.len - 4), hash_crc32(b.at + 6, b.len - 10));
	assert_memory_equal(
		b.at + 18, "\x0F:exception-type\x07\0\x13throttlingException", 16 + 3 + 19);
	assert_memory_equal(b.at + 18 + headers - 26,
		"\x0D:message-type\x07\0\x09"
		"exception",
		26);
	assert_true(json_valid((struct span){ b.at + 18 + headers, b.len - 22 - headers }));
	bytes_free(&b);
}

static void
a_stream_of_bedrock_knows_five_exceptions(void **state)
{
	static const char *const known[] = { "internalServerException", "modelStreamErrorException",
		"validationException", "throttlingException", "serviceUnavailableException" };

	(void)state;
	for (int code = ERR_NONE + 1; code < ERR__COUNT; code++) {
		size_t i = 0;

		while (i < 5 && strcmp(error_exception((enum err_code)code), known[i]) != 0)
			i++;
		if (i == 5)
			fail_msg("%s is %s", err_name((enum err_code)code),
				error_exception((enum err_code)code));
	}
	assert_string_equal(error_exception(ERR_RATE_LIMITED), "throttlingException");
	assert_string_equal(error_exception(ERR_BUDGET_EXCEEDED), "throttlingException");
	assert_string_equal(error_exception(ERR_OVERLOADED), "serviceUnavailableException");
	assert_string_equal(error_exception(ERR_BAD_REQUEST), "validationException");
	assert_string_equal(error_exception(ERR_UPSTREAM_TIMEOUT), "modelStreamErrorException");
	assert_string_equal(error_exception(ERR_UPSTREAM_UNREACHABLE), "internalServerException");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_class_has_the_status_and_type_of_the_dialect),
		cmocka_unit_test(bodies_have_the_shape_of_the_dialect),
		cmocka_unit_test(every_failure_is_valid_json_everywhere),
		cmocka_unit_test(events_end_in_an_empty_line),
		cmocka_unit_test(bedrock_gets_a_frame_with_both_checksums),
		cmocka_unit_test(a_stream_of_bedrock_knows_five_exceptions),
	};

	return cmocka_run_group_tests_name("wire/error", tests, NULL, NULL);
}
