/*
 * format.c - the table.
 */
#include "wire/format.h"

#include "wire/anthropic.h"
#include "wire/bedrock_invoke.h"
#include "wire/converse.h"
#include "wire/gemini.h"
#include "wire/openai_chat.h"
#include "wire/openai_responses.h"
#include <string.h>

#define SSE          "text/event-stream"
#define EVENT_STREAM "application/vnd.amazon.eventstream"

/* Whole pieces of a row; what variants do each in their own way stands behind them. */
#define READS(prefix)                                                                              \
	.read_request = prefix##_read_request, .read_reply = prefix##_read_reply,                  \
	.reader_bytes = &prefix##_reader_bytes, .read_end = prefix##_read_end,                     \
	.reader_free = prefix##_reader_free
#define WRITES(prefix)                                                                             \
	.write_reply = prefix##_write_reply, .writer_bytes = &prefix##_writer_bytes,               \
	.writer_free = prefix##_writer_free

/* ---- who fetches what by itself ---- */

static bool
any_url(const struct neutral_part *p)
{
	(void)p;
	return true;
}

static bool
no_url(const struct neutral_part *p)
{
	(void)p;
	return false;
}

static bool
url_of_image(const struct neutral_part *p)
{
	return p->kind == PART_IMAGE;
}

static bool
url_of_no_audio(const struct neutral_part *p)
{
	return p->kind != PART_AUDIO;
}

static const struct format formats[FORMAT__COUNT] = {
	[FORMAT_OPENAI_CHAT] = { "openai-chat", DIALECT_OPENAI, FRAMING_SSE, SSE,
		READS(openai_chat), WRITES(openai_chat), .write_request = openai_chat_write_request,
		.takes_url = url_of_image, .read_frame = openai_chat_read_frame,
		.write_event = openai_chat_write_event, .usage = openai_chat_usage },
	[FORMAT_OPENAI_RESPONSES] = { "openai-responses", DIALECT_OPENAI, FRAMING_SSE, SSE,
		READS(openai_responses), WRITES(openai_responses),
		.write_request = openai_responses_write_request, .takes_url = url_of_no_audio,
		.read_frame = openai_responses_read_frame,
		.write_event = openai_responses_write_event, .usage = openai_responses_usage },
	[FORMAT_ANTHROPIC] = { "anthropic", DIALECT_ANTHROPIC, FRAMING_SSE, SSE, READS(anthropic),
		WRITES(anthropic), .write_request = anthropic_write_request, .takes_url = any_url,
		.read_frame = anthropic_read_frame, .write_event = anthropic_write_event,
		.usage = anthropic_usage, .kin = ANTHROPIC_KIN,
		.splice_request = anthropic_splice_request, .splice_reply = anthropic_splice_reply,
		.splice_frame = anthropic_splice_frame },
	[FORMAT_GEMINI] = { "gemini", DIALECT_GEMINI, FRAMING_JSON, SSE, READS(gemini),
		WRITES(gemini), .write_request = gemini_write_request,
		.takes_url = gemini_takes_url, .read_frame = gemini_read_frame,
		.write_event = gemini_write_event, .usage = gemini_usage },
	[FORMAT_CONVERSE] = { "converse", DIALECT_BEDROCK, FRAMING_EVENTSTREAM, EVENT_STREAM,
		READS(converse), WRITES(converse), .write_request = converse_write_request,
		.takes_url = no_url, .read_frame = converse_read_frame,
		.write_event = converse_write_event, .usage = converse_usage, .kin = "converse",
		.splice_request = converse_splice_request, .splice_reply = converse_splice_reply,
		.splice_frame = converse_splice_frame },
	[FORMAT_BEDROCK_INVOKE] = { "bedrock-invoke", DIALECT_BEDROCK, FRAMING_EVENTSTREAM,
		EVENT_STREAM, READS(anthropic), WRITES(anthropic),
		.write_request = bedrock_invoke_write_request, .takes_url = no_url,
		.read_frame = bedrock_invoke_read_frame, .write_event = bedrock_invoke_write_event,
		.usage = bedrock_invoke_usage, .kin = ANTHROPIC_KIN,
		.splice_request = bedrock_invoke_splice_request,
		.splice_reply = anthropic_splice_reply,
		.splice_frame = bedrock_invoke_splice_frame },
	[FORMAT_AZURE] = { "azure", DIALECT_OPENAI, FRAMING_SSE, SSE, READS(openai_chat),
		WRITES(openai_chat), .write_request = openai_chat_write_request,
		.takes_url = url_of_image, .read_frame = openai_chat_read_frame,
		.write_event = openai_chat_write_event, .usage = openai_chat_usage },
	[FORMAT_OPENROUTER] = { "openrouter", DIALECT_OPENAI, FRAMING_SSE, SSE, READS(openai_chat),
		WRITES(openai_chat), .write_request = openrouter_write_request,
		.takes_url = url_of_no_audio, .read_frame = openai_chat_read_frame,
		.write_event = openai_chat_write_event, .usage = openai_chat_usage },
	[FORMAT_SAP_CONVERSE] = { "sap-converse", DIALECT_BEDROCK, FRAMING_SAP, SSE,
		READS(converse), WRITES(converse), .write_request = converse_write_request,
		.takes_url = no_url, .read_frame = converse_read_frame,
		.write_event = sap_converse_write_event, .usage = converse_usage, .kin = "converse",
		.splice_request = converse_splice_request, .splice_reply = converse_splice_reply,
		.splice_frame = sap_converse_splice_frame },
	[FORMAT_SAP_INVOKE] = { "sap-invoke", DIALECT_BEDROCK, FRAMING_SAP, SSE, READS(anthropic),
		WRITES(anthropic), .write_request = bedrock_invoke_write_request,
		.takes_url = no_url, .read_frame = bedrock_invoke_read_frame,
		.write_event = sap_invoke_write_event, .usage = bedrock_invoke_usage,
		.kin = ANTHROPIC_KIN, .splice_request = bedrock_invoke_splice_request,
		.splice_reply = anthropic_splice_reply, .splice_frame = sap_invoke_splice_frame },
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
