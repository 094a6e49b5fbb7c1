/*
 * format.c - the table.
 */
#include "wire/format.h"

#include "wire/converse.h"
#include <string.h>

static const struct format formats[FORMAT__COUNT] = {
	[FORMAT_OPENAI_CHAT] = { "openai-chat", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream" },
	[FORMAT_OPENAI_RESPONSES] = { "openai-responses", DIALECT_OPENAI, FRAMING_SSE,
		"text/event-stream" },
	[FORMAT_ANTHROPIC] = { "anthropic", DIALECT_ANTHROPIC, FRAMING_SSE, "text/event-stream" },
	[FORMAT_GEMINI] = { "gemini", DIALECT_GEMINI, FRAMING_JSON, "text/event-stream" },
	[FORMAT_CONVERSE] = { "converse", DIALECT_BEDROCK, FRAMING_EVENTSTREAM,
		"application/vnd.amazon.eventstream",
		.read_request = converse_read_request,
		.write_request = converse_write_request,
		.read_reply = converse_read_reply,
		.write_reply = converse_write_reply,
		.reader_bytes = &converse_reader_bytes,
		.read_frame = converse_read_frame,
		.read_end = converse_read_end,
		.reader_free = converse_reader_free,
		.writer_bytes = &converse_writer_bytes,
		.write_event = converse_write_event,
		.writer_free = converse_writer_free,
		.usage = converse_usage,
		.kin = "converse",
		.splice_request = converse_splice_request,
		.splice_reply = converse_splice_reply,
		.splice_frame = converse_splice_frame },
	[FORMAT_BEDROCK_INVOKE] = { "bedrock-invoke", DIALECT_BEDROCK, FRAMING_EVENTSTREAM,
		"application/vnd.amazon.eventstream" },
	[FORMAT_AZURE] = { "azure", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream" },
	[FORMAT_OPENROUTER] = { "openrouter", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream" },
	[FORMAT_SAP_CONVERSE] = { "sap-converse", DIALECT_BEDROCK, FRAMING_SAP,
		"text/event-stream",
		.read_request = converse_read_request,
		.write_request = converse_write_request,
		.read_reply = converse_read_reply,
		.write_reply = converse_write_reply,
		.reader_bytes = &converse_reader_bytes,
		.read_frame = converse_read_frame,
		.read_end = converse_read_end,
		.reader_free = converse_reader_free,
		.writer_bytes = &converse_writer_bytes,
		.write_event = sap_converse_write_event,
		.writer_free = converse_writer_free,
		.usage = converse_usage,
		.kin = "converse",
		.splice_request = converse_splice_request,
		.splice_reply = converse_splice_reply,
		.splice_frame = sap_converse_splice_frame },
	[FORMAT_SAP_INVOKE] = { "sap-invoke", DIALECT_BEDROCK, FRAMING_SAP, "text/event-stream" },
};

const struct format *
format_of(enum format_id id)
{
	return &formats[id];
}

const struct format *
format_named(const char *name)
{
	for (size_t i = 0; i < FORMAT__COUNT; i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

bool
format_kin(const struct format *a, const struct format *b)
{
	return a->kin != NULL && b->kin != NULL && strcmp(a->kin, b->kin) == 0;
}
