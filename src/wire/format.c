/*
 * format.c - the table.
 */
#include "wire/format.h"

#include "wire/anthropic.h"
#include "wire/bedrock_invoke.h"
#include <string.h>

static const struct format formats[FORMAT__COUNT] = {
	[FORMAT_OPENAI_CHAT] = { "openai-chat", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream" },
	[FORMAT_OPENAI_RESPONSES] = { "openai-responses", DIALECT_OPENAI, FRAMING_SSE,
		"text/event-stream" },
	[FORMAT_ANTHROPIC] = { "anthropic", DIALECT_ANTHROPIC, FRAMING_SSE, "text/event-stream",
		.read_request = anthropic_read_request,
		.write_request = anthropic_write_request,
		.read_reply = anthropic_read_reply,
		.write_reply = anthropic_write_reply,
		.reader_bytes = &anthropic_reader_bytes,
		.read_frame = anthropic_read_frame,
		.read_end = anthropic_read_end,
		.reader_free = anthropic_reader_free,
		.writer_bytes = &anthropic_writer_bytes,
		.write_event = anthropic_write_event,
		.writer_free = anthropic_writer_free,
		.usage = anthropic_usage,
		.kin = ANTHROPIC_KIN,
		.splice_request = anthropic_splice_request,
		.splice_reply = anthropic_splice_reply,
		.splice_frame = anthropic_splice_frame },
	[FORMAT_GEMINI] = { "gemini", DIALECT_GEMINI, FRAMING_JSON, "text/event-stream" },
	[FORMAT_CONVERSE] = { "converse", DIALECT_BEDROCK, FRAMING_EVENTSTREAM,
		"application/vnd.amazon.eventstream" },
	[FORMAT_BEDROCK_INVOKE] = { "bedrock-invoke", DIALECT_BEDROCK, FRAMING_EVENTSTREAM,
		"application/vnd.amazon.eventstream",
		.read_request = anthropic_read_request,
		.write_request = bedrock_invoke_write_request,
		.read_reply = anthropic_read_reply,
		.write_reply = anthropic_write_reply,
		.reader_bytes = &anthropic_reader_bytes,
		.read_frame = bedrock_invoke_read_frame,
		.read_end = anthropic_read_end,
		.reader_free = anthropic_reader_free,
		.writer_bytes = &anthropic_writer_bytes,
		.write_event = bedrock_invoke_write_event,
		.writer_free = anthropic_writer_free,
		.usage = bedrock_invoke_usage,
		.kin = ANTHROPIC_KIN,
		.splice_request = bedrock_invoke_splice_request,
		.splice_reply = anthropic_splice_reply,
		.splice_frame = bedrock_invoke_splice_frame },
	[FORMAT_AZURE] = { "azure", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream" },
	[FORMAT_OPENROUTER] = { "openrouter", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream" },
	[FORMAT_SAP_CONVERSE] = { "sap-converse", DIALECT_BEDROCK, FRAMING_SAP,
		"text/event-stream" },
	[FORMAT_SAP_INVOKE] = { "sap-invoke", DIALECT_BEDROCK, FRAMING_SAP, "text/event-stream",
		.read_request = anthropic_read_request,
		.write_request = bedrock_invoke_write_request,
		.read_reply = anthropic_read_reply,
		.write_reply = anthropic_write_reply,
		.reader_bytes = &anthropic_reader_bytes,
		.read_frame = bedrock_invoke_read_frame,
		.read_end = anthropic_read_end,
		.reader_free = anthropic_reader_free,
		.writer_bytes = &anthropic_writer_bytes,
		.write_event = sap_invoke_write_event,
		.writer_free = anthropic_writer_free,
		.usage = bedrock_invoke_usage,
		.kin = ANTHROPIC_KIN,
		.splice_request = bedrock_invoke_splice_request,
		.splice_reply = anthropic_splice_reply,
		.splice_frame = sap_invoke_splice_frame },
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
