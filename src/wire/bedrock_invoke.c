/*
 * bedrock_invoke.c - InvokeModel for Claude at Bedrock and SAP: what is around Anthropic's messages.
 */
#include "wire/bedrock_invoke.h"

#include "wire/anthropic-int.h"
#include "wire/anthropic.h"
#include "wire/wire-int.h"
#include <strings.h>

/* ---- requests ---- */

int
bedrock_invoke_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err)
{
	return anthropic_compose(n, to, ANTHROPIC_BEDROCK, made, lost, err);
}

int
bedrock_invoke_splice_request(struct arena *a, const struct request_source *from,
	const struct request_target *to, struct request_made *made, struct losses *lost,
	struct err *err)
{
	return anthropic_splice(a, from, to, ANTHROPIC_BEDROCK, made, lost, err);
}

void
bedrock_invoke_usage(struct span json, struct wire_usage *out)
{
	struct bytes room = BYTES_LIMIT(FRAME_BYTES_MAX);
	struct span event = anthropic_unwrap(json, &room);

	if (event.at != NULL)
		anthropic_usage(event, out);
	bytes_free(&room);
}

/* ---- streams ---- */

static const struct {
	const char *name;
	enum err_code code;
} exceptions[] = { { "throttlingException", ERR_RATE_LIMITED },
	{ "serviceUnavailableException", ERR_OVERLOADED },
	{ "modelNotReadyException", ERR_OVERLOADED },
	{ "modelTimeoutException", ERR_UPSTREAM_TIMEOUT },
	{ "validationException", ERR_BAD_REQUEST },
	{ "serviceQuotaExceededException", ERR_RATE_LIMITED },
	{ "accessDeniedException", ERR_UPSTREAM_CREDENTIALS } };

static void
read_exception(const struct frame *f, struct err *err)
{
	static const char *const names[] = { "message", "Message", "originalMessage" };
	struct json_value v[3] = { { JSON_NONE, SPAN_NONE } };
	enum err_code code = ERR_UPSTREAM_UNREACHABLE;
	char name[64], says[WIRE_CUT_MAX];

	(void)span_copy(f->name, name, sizeof name);
	for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
		if (strcasecmp(name, exceptions[i].name) == 0)
			code = exceptions[i].code;
	(void)TEXT_PICK(f->data, names, v);
	for (size_t i = 0; i < 2 && v[0].type != JSON_STRING; i++)
		v[0] = v[i + 1];
	wire_copy_string(v[0], says, sizeof says);
	(void)err_set(err, code, "the provider's exception: %s: %s", name, says);
	if (code != ERR_UPSTREAM_CREDENTIALS && says[0] != '\0')
		(void)err_say(err, "%s", says);
	else if (code == ERR_UPSTREAM_UNREACHABLE)
		(void)err_say(err, "The provider failed in the middle of its answer.");
}

int
bedrock_invoke_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx)
{
	struct bytes room = BYTES_LIMIT(FRAME_BYTES_MAX);
	struct err err = { .code = ERR_NONE };
	struct span event;
	int rc = 0;

	if (f->exception) {
		read_exception(f, &err);
		return anthropic_read_failure(state, &err, emit, ctx);
	}
	event = anthropic_unwrap(f->data, &room);
	if (event.at != NULL) {
		rc = anthropic_read_event(state, SPAN_LIT(""), event, emit, ctx);
	} else {
		(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "a chunk that is no base64");
		(void)err_say(&err, "The provider sent an event that could not be read.");
		rc = anthropic_read_failure(state, &err, emit, ctx);
	}
	bytes_free(&room);
	return rc;
}

int
bedrock_invoke_write_event(void *state, const struct reply_options *o,
	const struct neutral_event *e, struct bytes *out)
{
	return anthropic_write_flavoured(state, ANTHROPIC_BEDROCK, o, e, out);
}

int
sap_invoke_write_event(void *state, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	return anthropic_write_flavoured(state, ANTHROPIC_SAP, o, e, out);
}

int
bedrock_invoke_splice_frame(const struct frame *f, const struct reply_options *o, struct bytes *out)
{
	return anthropic_splice_flavoured(f, ANTHROPIC_BEDROCK, o, out);
}

int
sap_invoke_splice_frame(const struct frame *f, const struct reply_options *o, struct bytes *out)
{
	return anthropic_splice_flavoured(f, ANTHROPIC_SAP, o, out);
}
