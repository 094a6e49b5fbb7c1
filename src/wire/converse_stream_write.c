/*
 * converse_stream_write.c - ConverseStream's events, written: as messages, or as server-sent events.
 *
 * Text and reasoning begin with their first delta, as Bedrock does it; blocks are counted from 0
 * without holes; what turns out to be empty is no block.
 */
#include "wire/converse-int.h"

#include <string.h>

#define KEEP_PAYLOAD ((size_t)16 * 1024) /* a larger one is given back */

struct converse_writer {
	struct bytes payload; /* of the event under way */
	struct json_out json; /* into it */
	bool sse;
	int64_t index; /* of the block under way */
	bool shown;    /* something of it was written */
	bool argued;   /* of a call: arguments */
	struct wire_usage usage;
	bool usage_set;
};

const size_t converse_writer_bytes = sizeof(struct converse_writer);

void
converse_writer_free(void *state)
{
	struct converse_writer *w = state;

	bytes_free(&w->payload);
}

/* ---- framing ---- */

static void
begin(struct converse_writer *w)
{
	w->payload.limit = FRAME_BYTES_MAX;
	bytes_drop(&w->payload, w->payload.len);
	w->json = (struct json_out){ .to = &w->payload };
	out_open(&w->json, NULL, '{');
}

static int
send_text(const char *name, struct span payload, struct bytes *out)
{
	(void)bytes_puts(out, "data: {\"");
	(void)bytes_puts(out, name);
	(void)bytes_puts(out, "\":");
	(void)bytes_add(out, payload.at, payload.len);
	return bytes_puts(out, "}\n\n");
}

static int
end(struct converse_writer *w, const char *name, struct bytes *out)
{
	int rc;

	out_close(&w->json, '}');
	if (w->payload.failed)
		rc = -1;
	else if (w->sse)
		rc = send_text(name, bytes_span(&w->payload), out);
	else
		rc = eventstream_write(out, "event", name, bytes_span(&w->payload));
	if (rc != 0)
		out->failed = true;
	if (w->payload.room > KEEP_PAYLOAD)
		bytes_free(&w->payload);
	return rc;
}

static void
begin_delta(struct converse_writer *w)
{
	w->shown = true;
	begin(w);
	out_int(&w->json, "contentBlockIndex", w->index);
	out_open(&w->json, "delta", '{');
}

static int
end_delta(struct converse_writer *w, struct bytes *out)
{
	out_close(&w->json, '}');
	return end(w, "contentBlockDelta", out);
}

/* ---- parts ---- */

static int
start_call(struct converse_writer *w, const struct neutral_part *p, struct bytes *out)
{
	w->shown = true;
	begin(w);
	out_int(&w->json, "contentBlockIndex", w->index);
	out_open(&w->json, "start", '{');
	out_open(&w->json, "toolUse", '{');
	out_text(&w->json, "toolUseId", p->call_id);
	out_text(&w->json, "name", p->name);
	out_close(&w->json, '}');
	out_close(&w->json, '}');
	return end(w, "contentBlockStart", out);
}

static int
put_image(struct converse_writer *w, const struct neutral_part *p, struct bytes *out)
{
	const char *format = converse_format(PART_IMAGE, p->mime);

	if (format == NULL || p->data.len == 0)
		return 0;
	begin(w);
	out_int(&w->json, "contentBlockIndex", w->index);
	out_open(&w->json, "start", '{');
	out_open(&w->json, "image", '{');
	out_string(&w->json, "format", format);
	out_close(&w->json, '}');
	out_close(&w->json, '}');
	if (end(w, "contentBlockStart", out) != 0)
		return -1;
	begin_delta(w);
	out_open(&w->json, "image", '{');
	out_open(&w->json, "source", '{');
	out_text(&w->json, "bytes", p->data);
	out_close(&w->json, '}');
	out_close(&w->json, '}');
	return end_delta(w, out);
}

static int
put_reasoning(struct converse_writer *w, const char *key, struct span json, struct span plain,
	struct bytes *out)
{
	begin_delta(w);
	out_open(&w->json, "reasoningContent", '{');
	if (json.at != NULL)
		out_json(&w->json, key, json);
	else
		out_text(&w->json, key, plain);
	out_close(&w->json, '}');
	return end_delta(w, out);
}

static int
put_arguments(struct converse_writer *w, struct span json, struct bytes *out)
{
	w->argued = true;
	begin_delta(w);
	out_open(&w->json, "toolUse", '{');
	out_json(&w->json, "input", json);
	out_close(&w->json, '}');
	return end_delta(w, out);
}

static int
on_part(struct converse_writer *w, const struct neutral_part *p, struct bytes *out)
{
	w->shown = w->argued = false;
	switch (p->kind) {
	case PART_TOOL_CALL:
		return start_call(w, p, out);
	case PART_IMAGE:
		return put_image(w, p, out);
	case PART_REDACTED:
		if (p->signer != SIGNER_ANTHROPIC || p->signature.len == 0)
			return 0;
		return put_reasoning(w, "redactedContent", SPAN_NONE, p->signature, out);
	default:
		return 0;
	}
}

static int
on_text(struct converse_writer *w, const struct neutral_event *e, struct bytes *out)
{
	if (text_is_empty(e->text))
		return 0;
	switch (e->part.kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		begin_delta(w);
		out_json(&w->json, "text", e->text);
		return end_delta(w, out);
	case PART_REASONING:
		return put_reasoning(w, "text", e->text, SPAN_NONE, out);
	case PART_TOOL_CALL:
		return put_arguments(w, e->text, out);
	default:
		return 0;
	}
}

static int
on_delta(struct converse_writer *w, const struct neutral_event *e, struct bytes *out)
{
	if (on_text(w, e, out) != 0)
		return -1;
	/* others' signatures would come back as Anthropic's */
	if (e->signature.len == 0 || e->part.kind != PART_REASONING ||
		e->part.signer != SIGNER_ANTHROPIC)
		return 0;
	return put_reasoning(w, "signature", SPAN_NONE, e->signature, out);
}

static int
on_part_end(struct converse_writer *w, const struct neutral_event *e, struct bytes *out)
{
	/* clients parse what they gathered */
	if (e->part.kind == PART_TOOL_CALL && !w->argued &&
		put_arguments(w, SPAN_LIT("\"{}\""), out) != 0)
		return -1;
	if (!w->shown)
		return 0;
	begin(w);
	out_int(&w->json, "contentBlockIndex", w->index);
	w->index++;
	return end(w, "contentBlockStop", out);
}

/* ---- the whole ---- */

static int
on_start(struct converse_writer *w, struct bytes *out)
{
	begin(w);
	out_string(&w->json, "role", "assistant");
	return end(w, "messageStart", out);
}

static int
on_finish(struct converse_writer *w, const struct neutral_event *e, struct bytes *out)
{
	begin(w);
	out_string(&w->json, "stopReason", converse_stop_reason(e->finish));
	if (e->stop_sequence.at != NULL) {
		out_open(&w->json, "additionalModelResponseFields", '{');
		out_json(&w->json, "stop_sequence", e->stop_sequence);
		out_close(&w->json, '}');
	}
	return end(w, "messageStop", out);
}

static void
on_usage(struct converse_writer *w, const struct wire_usage *usage)
{
	if (!w->usage_set)
		w->usage = WIRE_USAGE_NONE;
	w->usage_set = true;
	usage_merge(&w->usage, usage);
}

static int
on_end(struct converse_writer *w, struct bytes *out)
{
	if (!w->usage_set)
		return 0;
	begin(w);
	converse_put_usage(&w->json, &w->usage);
	converse_put_metrics(&w->json);
	return end(w, "metadata", out);
}

static int
on_error(struct converse_writer *w, const struct err *err, struct bytes *out)
{
	struct bytes payload = BYTES_LIMIT(8192);
	int rc;

	if (!w->sse)
		return error_event(DIALECT_BEDROCK, err, NULL, out);
	rc = error_body(DIALECT_BEDROCK, err, NULL, &payload);
	if (rc == 0)
		rc = send_text(error_exception(err->code), bytes_span(&payload), out);
	bytes_free(&payload);
	return rc;
}

static int
write_event(struct converse_writer *w, const struct neutral_event *e, struct bytes *out)
{
	/* there is one answer here */
	if (e->choice != 0)
		return 0;
	switch (e->kind) {
	case EVENT_START:
		return on_start(w, out);
	case EVENT_PART:
		return on_part(w, &e->part, out);
	case EVENT_DELTA:
		return on_delta(w, e, out);
	case EVENT_PART_END:
		return on_part_end(w, e, out);
	case EVENT_FINISH:
		return on_finish(w, e, out);
	case EVENT_USAGE:
		on_usage(w, &e->usage);
		return 0;
	case EVENT_END:
		return on_end(w, out);
	case EVENT_ERROR:
		return on_error(w, e->err, out);
	default:
		return 0;
	}
}

int
converse_write_event(void *state, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	(void)o;
	return write_event(state, e, out);
}

int
sap_converse_write_event(void *state, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct converse_writer *w = state;

	(void)o;
	w->sse = true;
	return write_event(w, e, out);
}
