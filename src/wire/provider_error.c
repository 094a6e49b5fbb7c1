/*
 * provider_error.c - a provider's error that came too late for another provider, told to the client.
 */
#include "wire/error.h"

#include "wire/wire-int.h"
#include <string.h>
#include <strings.h>

/* The error object of {"error":{…}}, {"response":{"error":…}}, or the body where it is one itself. */
static struct span
error_object(struct span body)
{
	static const char *const paths[] = { "error", "response.error" };

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		struct json_value v = json_path(body, paths[i]);

		if (v.type == JSON_OBJECT || v.type == JSON_STRING)
			return v.raw;
	}
	return body;
}

static void
copy_message(struct span error, char *out, size_t room)
{
	struct json_value v = json_get(error, "message");

	if (v.type != JSON_STRING)
		v = json_get(error, "Message");
	if (v.type != JSON_STRING && error.len > 0 && error.at[0] == '"')
		v = (struct json_value){ JSON_STRING, error };
	wire_copy_string(v, out, room);
}

static bool
is_too_long(struct span error, const char *message)
{
	char code[64];

	wire_copy_string(json_get(error, "code"), code, sizeof code);
	if (strcmp(code, "context_length_exceeded") == 0)
		return true;
	wire_copy_string(json_path(error, "metadata.error_type"), code, sizeof code);
	return strcmp(code, "context_length_exceeded") == 0 ||
	       strcasestr(message, "prompt is too long") != NULL;
}

static enum err_code
code_of(enum failure f, struct span error, const char *message)
{
	switch (f) {
	case FAILURE_KEY_INVALID:
	case FAILURE_NO_CREDIT:
		return ERR_UPSTREAM_CREDENTIALS;
	case FAILURE_RATE_LIMITED:
		return ERR_RATE_LIMITED;
	case FAILURE_OVERLOADED:
		return ERR_OVERLOADED;
	case FAILURE_REQUEST:
		return is_too_long(error, message) ? ERR_CONTEXT_TOO_LONG : ERR_BAD_REQUEST;
	default:
		return ERR_UPSTREAM_UNREACHABLE;
	}
}

int
error_of_provider(struct span body, struct err *err)
{
	static const struct failure_headers none;
	struct span error = error_object(body);
	char message[WIRE_CUT_MAX];
	int64_t until_ms;
	enum failure f = failure_classify(200, &none, body, 0, &until_ms);

	copy_message(error, message, sizeof message);
	(void)err_set(err, code_of(f, error, message), "the provider's error (%s): %s",
		failure_name(f), message);
	if (f == FAILURE_KEY_INVALID || f == FAILURE_NO_CREDIT)
		return -1;
	if (message[0] == '\0')
		return err_say(err, "The provider failed and gave no reason.");
	return err_say(err, "The provider failed: %s", message);
}
