/*
 * error.c - our own failures in the caller's dialect.
 *
 * One table holds what each dialect's SDK knows: the status, and the word it makes a class of.
 */
#include "wire/error.h"

#include "base/clock.h"
#include "wire/eventstream.h"
#include <string.h>

/*
 * Statuses of 0 are those of err.h.  An OpenAI code of NULL is our own name.
 * The first block is the reference's table, row by row; the codes that follow take a row's name.
 */
struct row {
	int openai_status;
	const char *openai_type, *openai_code;
	int anthropic_status;
	const char *anthropic_type;
	int gemini_status;
	const char *gemini_type;
	int bedrock_status;
	const char *bedrock_type;
};

#define INVALID "invalid_request_error"
#define ROW_BAD_REQUEST(code)                                                                      \
	{                                                                                          \
		400, INVALID, code, 400, INVALID, 400, "INVALID_ARGUMENT", 400,                    \
			"ValidationException"                                                      \
	}
#define ROW_CLIENT_KEY                                                                             \
	{                                                                                          \
		401, INVALID, "invalid_api_key", 401, "authentication_error", 401,                 \
			"UNAUTHENTICATED", 403, "AccessDeniedException"                            \
	}
#define ROW_NO_CREDIT                                                                              \
	{                                                                                          \
		429, "insufficient_quota", "insufficient_quota", 402, "billing_error", 429,        \
			"RESOURCE_EXHAUSTED", 400, "ServiceQuotaExceededException"                 \
	}
#define ROW_FORBIDDEN(code)                                                                        \
	{                                                                                          \
		403, INVALID, code, 403, "permission_error", 403, "PERMISSION_DENIED", 403,        \
			"AccessDeniedException"                                                    \
	}
#define ROW_NOT_FOUND(code)                                                                        \
	{                                                                                          \
		404, INVALID, code, 404, "not_found_error", 404, "NOT_FOUND", 404,                 \
			"ResourceNotFoundException"                                                \
	}
#define ROW_TOO_LARGE                                                                              \
	{                                                                                          \
		413, INVALID, NULL, 413, "request_too_large", 413, "INVALID_ARGUMENT", 413,        \
			"ValidationException"                                                      \
	}
#define ROW_RATE_LIMITED                                                                           \
	{                                                                                          \
		429, "requests", "rate_limit_exceeded", 429, "rate_limit_error", 429,              \
			"RESOURCE_EXHAUSTED", 429, "ThrottlingException"                           \
	}
#define ROW_OVERLOADED                                                                             \
	{                                                                                          \
		503, "server_error", "server_overloaded", 529, "overloaded_error", 503,            \
			"UNAVAILABLE", 503, "ServiceUnavailableException"                          \
	}
#define ROW_BROKE(status)                                                                          \
	{                                                                                          \
		status, "server_error", NULL, 500, "api_error", 500, "INTERNAL", 500,              \
			"InternalServerException"                                                  \
	}
#define ROW_TIMEOUT                                                                                \
	{                                                                                          \
		504, "server_error", NULL, 504, "timeout_error", 504, "DEADLINE_EXCEEDED", 408,    \
			"ModelTimeoutException"                                                    \
	}
#define ROW_OTHER(gemini)                                                                          \
	{                                                                                          \
		0, INVALID, NULL, 0, INVALID, 0, gemini, 0, "ValidationException"                  \
	}

static const struct row rows[ERR__COUNT] = {
	[ERR_BAD_REQUEST] = ROW_BAD_REQUEST(NULL),
	[ERR_PARAM_NOT_ALLOWED] = ROW_BAD_REQUEST("unsupported_value"),
	[ERR_CONTEXT_TOO_LONG] = ROW_BAD_REQUEST("context_length_exceeded"),
	[ERR_EXCEEDS_LIMIT] = ROW_BAD_REQUEST(NULL),
	[ERR_UNKNOWN_UPSTREAM] = ROW_BAD_REQUEST(NULL),
	[ERR_MISSING_TOKEN] = ROW_CLIENT_KEY,
	[ERR_INVALID_TOKEN] = ROW_CLIENT_KEY,
	[ERR_TOKEN_EXPIRED] = ROW_CLIENT_KEY,
	[ERR_TOKEN_REVOKED] = ROW_CLIENT_KEY,
	[ERR_FORBIDDEN] = ROW_FORBIDDEN(NULL),
	[ERR_PROJECT_INACTIVE] = ROW_FORBIDDEN(NULL),
	[ERR_MODEL_NOT_ALLOWED] = ROW_FORBIDDEN("model_not_found"),
	[ERR_ENDPOINT_NOT_ALLOWED] = ROW_FORBIDDEN(NULL),
	[ERR_ORIGIN_NOT_ALLOWED] = ROW_FORBIDDEN(NULL),
	[ERR_NOT_FOUND] = ROW_NOT_FOUND(NULL),
	[ERR_NO_ROUTE] = ROW_NOT_FOUND("model_not_found"),
	[ERR_METHOD_NOT_ALLOWED] = ROW_OTHER("INVALID_ARGUMENT"),
	[ERR_BODY_TIMEOUT] = ROW_OTHER("DEADLINE_EXCEEDED"),
	[ERR_CONFLICT] = ROW_OTHER("ABORTED"),
	[ERR_STALE] = ROW_OTHER("FAILED_PRECONDITION"),
	[ERR_BODY_TOO_LARGE] = ROW_TOO_LARGE,
	[ERR_RATE_LIMITED] = ROW_RATE_LIMITED,
	[ERR_BUDGET_EXCEEDED] = ROW_NO_CREDIT,
	[ERR_CLIENT_GONE] = ROW_OTHER("CANCELLED"),
	[ERR_INTERNAL] = ROW_BROKE(500),
	[ERR_UPSTREAM_CREDENTIALS] = ROW_BROKE(502),
	[ERR_UPSTREAM_UNREACHABLE] = ROW_BROKE(502),
	[ERR_MEMORY] = ROW_OVERLOADED,
	[ERR_OVERLOADED] = ROW_OVERLOADED,
	[ERR_NO_KEY_AVAILABLE] = ROW_OVERLOADED,
	[ERR_STORE_UNAVAILABLE] = ROW_OVERLOADED,
	[ERR_UPSTREAM_TIMEOUT] = ROW_TIMEOUT,
	[ERR_REQUEST_RUNNING] = ROW_OTHER("ABORTED"),
	[ERR_REQUEST_REPEATED] = ROW_OTHER("ALREADY_EXISTS"),
	[ERR_IDEMPOTENCY_KEY_REUSED] = ROW_OTHER("INVALID_ARGUMENT"),
	[ERR_CUT] = ROW_OTHER("CANCELLED"),
	[ERR_UNSUPPORTED] = ROW_BAD_REQUEST("unsupported_parameter"),
};

static const struct row *
row_of(enum err_code code)
{
	if ((int)code < 0 || code >= ERR__COUNT || rows[code].openai_type == NULL)
		return &rows[ERR_INTERNAL];
	return &rows[code];
}

int
error_status(enum dialect d, enum err_code code)
{
	const struct row *r = row_of(code);
	int status = d == DIALECT_ANTHROPIC ? r->anthropic_status
		     : d == DIALECT_GEMINI  ? r->gemini_status
		     : d == DIALECT_BEDROCK ? r->bedrock_status
					    : r->openai_status;

	return status != 0 ? status : err_status(code);
}

const char *
error_type(enum dialect d, enum err_code code)
{
	const struct row *r = row_of(code);

	return d == DIALECT_ANTHROPIC ? r->anthropic_type
	       : d == DIALECT_GEMINI  ? r->gemini_type
	       : d == DIALECT_BEDROCK ? r->bedrock_type
				      : r->openai_type;
}

/* ,"name":"value" */
static void
put(struct bytes *out, const char *name, const char *value)
{
	(void)bytes_printf(out, ",\"%s\":", name);
	(void)bytes_json(out, span_of(value));
}

static void
put_message(struct bytes *out, const struct err *e)
{
	(void)bytes_puts(out, "\"message\":");
	(void)bytes_json(out, span_of(err_public(e)));
}

static void
put_ours(struct bytes *out, const struct err *e, const char *request_id)
{
	put(out, "sluice_code", err_name(e->code));
	if (request_id != NULL && request_id[0] != '\0')
		put(out, "request_id", request_id);
}

static void
put_openai(struct bytes *out, const struct err *e, const char *request_id)
{
	const char *code = row_of(e->code)->openai_code;

	(void)bytes_puts(out, "\"error\":{");
	put_message(out, e);
	put(out, "type", error_type(DIALECT_OPENAI, e->code));
	(void)bytes_puts(out, ",\"param\":");
	if (e->field[0] == '\0')
		(void)bytes_puts(out, "null");
	else
		(void)bytes_json(out, span_of(e->field));
	put(out, "code", code != NULL ? code : err_name(e->code));
	put_ours(out, e, request_id);
	(void)bytes_puts(out, "}");
}

static void
put_anthropic(struct bytes *out, const struct err *e, const char *request_id)
{
	(void)bytes_puts(out, "{\"type\":\"error\",\"error\":{");
	put_message(out, e);
	put(out, "type", error_type(DIALECT_ANTHROPIC, e->code));
	put(out, "sluice_code", err_name(e->code));
	(void)bytes_puts(out, "}");
	if (request_id != NULL && request_id[0] != '\0')
		put(out, "request_id", request_id);
	(void)bytes_puts(out, "}");
}

static void
put_gemini(struct bytes *out, const struct err *e, const char *request_id)
{
	int64_t wait = e->retry_boot_ms == 0 ? 0 : e->retry_boot_ms - clock_boot_ms();

	(void)bytes_printf(out, "{\"error\":{\"code\":%d,", error_status(DIALECT_GEMINI, e->code));
	put_message(out, e);
	put(out, "status", error_type(DIALECT_GEMINI, e->code));
	if (wait > 0)
		(void)bytes_printf(out,
			",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
			"\"retryDelay\":\"%lld.%03llds\"}]",
			(long long)(wait / 1000), (long long)(wait % 1000));
	put_ours(out, e, request_id);
	(void)bytes_puts(out, "}}");
}

static void
put_bedrock(struct bytes *out, const struct err *e, const char *request_id)
{
	(void)bytes_puts(out, "{");
	put_message(out, e);
	put(out, "__type", error_type(DIALECT_BEDROCK, e->code));
	put_ours(out, e, request_id);
	(void)bytes_puts(out, "}");
}

int
error_body(enum dialect d, const struct err *e, const char *request_id, struct bytes *out)
{
	switch (d) {
	case DIALECT_ANTHROPIC:
		put_anthropic(out, e, request_id);
		break;
	case DIALECT_GEMINI:
		put_gemini(out, e, request_id);
		break;
	case DIALECT_BEDROCK:
		put_bedrock(out, e, request_id);
		break;
	default:
		(void)bytes_puts(out, "{");
		put_openai(out, e, request_id);
		(void)bytes_puts(out, "}");
		break;
	}
	return out->failed ? -1 : 0;
}

/* ---- AWS event-stream ---- */

const char *
error_exception(enum err_code code)
{
	static const struct {
		const char *type, *exception;
	} exceptions[] = {
		{ "ThrottlingException", "throttlingException" },
		{ "ServiceQuotaExceededException", "throttlingException" },
		{ "ServiceUnavailableException", "serviceUnavailableException" },
		{ "ModelTimeoutException", "modelStreamErrorException" },
		{ "ValidationException", "validationException" },
		{ "AccessDeniedException", "validationException" },
		{ "ResourceNotFoundException", "validationException" },
	};

	for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
		if (strcmp(error_type(DIALECT_BEDROCK, code), exceptions[i].type) == 0)
			return exceptions[i].exception;
	return "internalServerException";
}

static int
put_exception(struct bytes *out, const struct err *e, const char *request_id)
{
	struct bytes payload = BYTES_LIMIT(8192);

	put_bedrock(&payload, e, request_id);
	if (payload.failed || eventstream_write(out, "exception", error_exception(e->code),
				      bytes_span(&payload)) != 0)
		out->failed = true;
	bytes_free(&payload);
	return out->failed ? -1 : 0;
}

int
error_event(enum dialect d, const struct err *e, const char *request_id, struct bytes *out)
{
	if (d == DIALECT_BEDROCK)
		return put_exception(out, e, request_id);
	if (d == DIALECT_ANTHROPIC)
		(void)bytes_puts(out, "event: error\n");
	(void)bytes_puts(out, "data: ");
	if (d == DIALECT_OPENAI) {
		/* The type is what readers of /v1/responses look at; those of chat look at "error". */
		(void)bytes_puts(out, "{\"type\":\"error\",");
		put_openai(out, e, request_id);
		(void)bytes_puts(out, "}");
	} else {
		(void)error_body(d, e, request_id, out);
	}
	return bytes_puts(out, "\n\n");
}
