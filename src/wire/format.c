/*
 * format.c - the table.
 */
#include "wire/format.h"

#include "wire/openai_chat.h"
#include "wire/openai_responses.h"
#include <string.h>

static const struct format formats[FORMAT__COUNT] = {
	[FORMAT_OPENAI_CHAT] = { "openai-chat", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream",
		.read_request = openai_chat_read_request,
		.write_request = openai_chat_write_request,
		.read_reply = openai_chat_read_reply,
		.write_reply = openai_chat_write_reply,
		.reader_bytes = &openai_chat_reader_bytes,
		.read_frame = openai_chat_read_frame,
		.read_end = openai_chat_read_end,
		.reader_free = openai_chat_reader_free,
		.writer_bytes = &openai_chat_writer_bytes,
		.write_event = openai_chat_write_event,
		.writer_free = openai_chat_writer_free,
		.usage = openai_chat_usage },
	[FORMAT_OPENAI_RESPONSES] = { "openai-responses", DIALECT_OPENAI, FRAMING_SSE,
		"text/event-stream",
		.read_request = openai_responses_read_request,
		.write_request = openai_responses_write_request,
		.read_reply = openai_responses_read_reply,
		.write_reply = openai_responses_write_reply,
		.reader_bytes = &openai_responses_reader_bytes,
		.read_frame = openai_responses_read_frame,
		.read_end = openai_responses_read_end,
		.reader_free = openai_responses_reader_free,
		.writer_bytes = &openai_responses_writer_bytes,
		.write_event = openai_responses_write_event,
		.writer_free = openai_responses_writer_free,
		.usage = openai_responses_usage },
	[FORMAT_ANTHROPIC] = { "anthropic", DIALECT_ANTHROPIC, FRAMING_SSE, "text/event-stream" },
	[FORMAT_GEMINI] = { "gemini", DIALECT_GEMINI, FRAMING_JSON, "text/event-stream" },
	[FORMAT_CONVERSE] = { "converse", DIALECT_BEDROCK, FRAMING_EVENTSTREAM,
		"application/vnd.amazon.eventstream" },
	[FORMAT_BEDROCK_INVOKE] = { "bedrock-invoke", DIALECT_BEDROCK, FRAMING_EVENTSTREAM,
		"application/vnd.amazon.eventstream" },
	[FORMAT_AZURE] = { "azure", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream",
		.read_request = openai_chat_read_request,
		.write_request = openai_chat_write_request,
		.read_reply = openai_chat_read_reply,
		.write_reply = openai_chat_write_reply,
		.reader_bytes = &openai_chat_reader_bytes,
		.read_frame = openai_chat_read_frame,
		.read_end = openai_chat_read_end,
		.reader_free = openai_chat_reader_free,
		.writer_bytes = &openai_chat_writer_bytes,
		.write_event = openai_chat_write_event,
		.writer_free = openai_chat_writer_free,
		.usage = openai_chat_usage },
	[FORMAT_OPENROUTER] = { "openrouter", DIALECT_OPENAI, FRAMING_SSE, "text/event-stream",
		.read_request = openai_chat_read_request,
		.write_request = openrouter_write_request,
		.read_reply = openai_chat_read_reply,
		.write_reply = openai_chat_write_reply,
		.reader_bytes = &openai_chat_reader_bytes,
		.read_frame = openai_chat_read_frame,
		.read_end = openai_chat_read_end,
		.reader_free = openai_chat_reader_free,
		.writer_bytes = &openai_chat_writer_bytes,
		.write_event = openai_chat_write_event,
		.writer_free = openai_chat_writer_free,
		.usage = openai_chat_usage },
	[FORMAT_SAP_CONVERSE] = { "sap-converse", DIALECT_BEDROCK, FRAMING_SAP,
		"text/event-stream" },
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
