/*
 * openai_chat.c - what requests, answers and streams of OpenAI's chat have in common.
 */
#include "wire/openai_chat-int.h"

#include "wire/openai.h"
#include "wire/wire-int.h"
#include <string.h>

/* ---- reasoning with signatures, as OpenRouter writes it ---- */

static const struct {
	const char *begins;
	enum signer signer;
	const char *written;
} formats[] = {
	{ "anthropic", SIGNER_ANTHROPIC, "anthropic-claude-v1" },
	{ "google", SIGNER_GEMINI, "google-gemini-v1" },
	{ "openai", SIGNER_OPENAI, "openai-responses-v1" },
};

enum signer
chat_signer(struct json_value format)
{
	char text[32];

	wire_copy_string(format, text, sizeof text);
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
		if (strncmp(text, formats[i].begins, strlen(formats[i].begins)) == 0)
			return formats[i].signer;
	return SIGNER_NONE;
}

const char *
chat_signer_format(enum signer s)
{
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
		if (formats[i].signer == s)
			return formats[i].written;
	return "unknown";
}

struct details {
	struct arena *arena;
	struct neutral_part *(*add)(void *ctx, enum part_kind kind);
	void *ctx;
	bool failed;
};

static bool
each_detail(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "type", "text", "summary", "data", "signature",
		"format" };
	struct details *d = ctx;
	struct json_value got[6], text;
	struct neutral_part *p;
	bool redacted;
	char type[32];

	if (m->value.type != JSON_OBJECT || TEXT_PICK(m->value.raw, names, got) != 0)
		return true;
	wire_copy_string(got[0], type, sizeof type);
	redacted = strcmp(type, "reasoning.encrypted") == 0;
	text = got[1].type == JSON_STRING ? got[1] : got[2];
	if (redacted ? got[3].type != JSON_STRING
		     : text.type != JSON_STRING && got[4].type != JSON_STRING)
		return true;
	if ((p = d->add(d->ctx, redacted ? PART_REDACTED : PART_REASONING)) == NULL) {
		d->failed = true;
		return false;
	}
	if (!redacted)
		p->text = text.type == JSON_STRING ? text.raw : SPAN_LIT("\"\"");
	p->signature = text_plain(d->arena, redacted ? got[3] : got[4]);
	if (p->signature.len == 0)
		p->signature = SPAN_NONE;
	if (p->signature.at != NULL)
		p->signer = chat_signer(got[5]);
	return true;
}

int
chat_read_reasoning_details(struct arena *a, struct json_value details,
	struct neutral_part *(*add)(void *ctx, enum part_kind kind), void *ctx)
{
	struct details d = { a, add, ctx, false };

	if (details.type != JSON_ARRAY ||
		json_each_element(details.raw, each_detail, &d, NULL) != 0)
		return -1;
	return d.failed ? -1 : 0;
}

struct span
chat_thought_signature(struct arena *a, struct json_value extra_content)
{
	struct span s;

	if (extra_content.type != JSON_OBJECT)
		return SPAN_NONE;
	s = text_plain(a, json_path(extra_content.raw, "google.thought_signature"));
	return s.len > 0 ? s : SPAN_NONE;
}

void
chat_write_thought_signature(struct json_out *o, struct span signature)
{
	out_open(o, "extra_content", '{');
	out_open(o, "google", '{');
	out_text(o, "thought_signature", signature);
	out_close(o, '}');
	out_close(o, '}');
}

/* ---- parts ---- */

bool
chat_read_url(struct span url, struct neutral_part *p)
{
	if (span_starts(url, "data:"))
		return text_data_url(url, &p->mime, &p->data) && p->data.len > 0;
	if (span_starts(url, "https://") || span_starts(url, "http://")) {
		p->url = url;
		return true;
	}
	if (span_starts(url, "gs://") || span_starts(url, "s3://")) {
		p->file_id = url;
		return true;
	}
	return false;
}

void
chat_write_data_url(struct json_out *o, const char *key, struct span mime, struct span data)
{
	out_string_begin(o, key);
	out_string_plain(o, SPAN_LIT("data:"));
	out_string_plain(o, mime.len > 0 ? mime : SPAN_LIT("application/octet-stream"));
	out_string_plain(o, SPAN_LIT(";base64,"));
	out_string_plain(o, data);
	out_string_end(o);
}

static bool
is_object(struct span json)
{
	size_t i = 0;

	while (i < json.len && strchr(" \t\r\n", json.at[i]) != NULL)
		i++;
	return i < json.len && json.at[i] == '{' && json_valid(json);
}

void
chat_read_arguments(struct arena *a, struct json_value v, struct neutral_part *p)
{
	struct span text;

	p->input = SPAN_LIT("{}");
	if (v.type == JSON_OBJECT) {
		p->input = v.raw;
		return;
	}
	p->arguments = v.type == JSON_STRING ? v.raw : SPAN_LIT("\"\"");
	if (p->is_custom)
		return;
	text = text_plain(a, v);
	if (text.at != NULL && is_object(text))
		p->input = text;
}

/* ---- what an answer holds ---- */

const char *const chat_answer_members[CHAT_ANSWER_MEMBERS] = { "content", "refusal",
	"reasoning_content", "reasoning", "reasoning_details", "tool_calls", "function_call",
	"audio", "images" };

struct json_value
chat_reasoning_of(const struct json_value got[CHAT_ANSWER_MEMBERS])
{
	return got[CHAT_REASONING_CONTENT].type == JSON_STRING ? got[CHAT_REASONING_CONTENT]
							       : got[CHAT_REASONING];
}

int
chat_read_answered_call(struct arena *a, struct json_value id, struct json_value arguments,
	struct neutral_part *p, struct err *err)
{
	p->call_id = text_plain(a, id);
	if (p->call_id.len == 0)
		p->call_id = text_new_id(a, "call_");
	if (p->call_id.at == NULL)
		return err_set(err, ERR_MEMORY, "no memory for a tool call's id");
	chat_read_arguments(a, arguments, p);
	return 0;
}

void
chat_write_answered_arguments(struct json_out *o, struct arena *a, const struct neutral_part *p)
{
	if (p->arguments.at != NULL && (p->is_custom || !text_is_empty(p->arguments))) {
		out_json(o, p->is_custom ? "input" : "arguments", p->arguments);
	} else {
		out_string_begin(o, "arguments");
		out_string_plain(
			o, p->input.at != NULL ? text_compact(a, p->input) : SPAN_LIT("{}"));
		out_string_end(o);
	}
}

bool
chat_is_blank(struct span data)
{
	for (size_t i = 0; i < data.len; i++)
		if (strchr(" \t\r\n", data.at[i]) == NULL)
			return false;
	return true;
}

/* ---- how an answer ends ---- */

/* OpenAI's words first: these are written, too. */
static const struct {
	const char *word;
	enum finish finish;
} finishes[] = {
	{ "stop", FINISH_STOP },
	{ "length", FINISH_LENGTH },
	{ "tool_calls", FINISH_TOOL_CALLS },
	{ "content_filter", FINISH_FILTER },
	{ "function_call", FINISH_TOOL_CALLS },
	/* what servers that follow OpenAI have been seen to say */
	{ "max_tokens", FINISH_LENGTH },
	{ "model_length", FINISH_CONTEXT },
	{ "tool_use", FINISH_TOOL_CALLS },
	{ "safety", FINISH_FILTER },
	{ "SAFETY", FINISH_FILTER },
};

enum finish
chat_finish(struct json_value v, bool *failed)
{
	char word[40];

	*failed = false;
	wire_copy_string(v, word, sizeof word);
	if (word[0] == '\0')
		return FINISH_NONE;
	for (size_t i = 0; i < sizeof finishes / sizeof finishes[0]; i++)
		if (strcmp(word, finishes[i].word) == 0)
			return finishes[i].finish;
	*failed = strcmp(word, "error") == 0 || strcmp(word, "insufficient_system_resource") == 0;
	return FINISH_STOP;
}

const char *
chat_finish_name(enum finish f)
{
	switch (f) {
	case FINISH_LENGTH:
	case FINISH_CONTEXT:
		return "length";
	case FINISH_TOOL_CALLS:
		return "tool_calls";
	case FINISH_FILTER:
		return "content_filter";
	default:
		return "stop";
	}
}

bool
chat_is_error(struct json_value error)
{
	if (error.type == JSON_OBJECT)
		return json_get(error.raw, "message").type == JSON_STRING ||
		       json_get(error.raw, "code").type > JSON_NULL ||
		       json_get(error.raw, "type").type > JSON_NULL;
	return error.type == JSON_STRING && !text_is_empty(error.raw);
}

/* ---- usage ---- */

static void
write_known(struct json_out *o, const char *key, int64_t n)
{
	if (n >= 0)
		out_int(o, key, n);
}

void
chat_write_usage(struct json_out *o, const struct wire_usage *u)
{
	int64_t input = usage_input_total(u), output = usage_or_zero(u->output);

	out_open(o, "usage", '{');
	out_int(o, "prompt_tokens", input);
	out_int(o, "completion_tokens", output);
	out_int(o, "total_tokens", input + output);
	out_open(o, "prompt_tokens_details", '{');
	out_int(o, "cached_tokens", usage_or_zero(u->cache_read));
	write_known(o, "cache_write_tokens", u->cache_write);
	write_known(o, "audio_tokens", u->audio_input);
	out_close(o, '}');
	out_open(o, "completion_tokens_details", '{');
	out_int(o, "reasoning_tokens", usage_or_zero(u->reasoning));
	write_known(o, "audio_tokens", u->audio_output);
	out_close(o, '}');
	out_close(o, '}');
}

void
openai_chat_usage(struct span json, struct wire_usage *out)
{
	openai_usage(json, out);
}
