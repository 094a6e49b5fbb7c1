/*
 * openai_responses.c - what requests, answers and streams of OpenAI's responses have in common.
 */
#include "wire/openai_responses-int.h"

#include "wire/openai.h"
#include <string.h>

/* ---- reasoning ---- */

static const struct {
	const char *prefix;
	enum signer signer;
	bool redacted;
} marks[] = {
	{ "anthropic:", SIGNER_ANTHROPIC, false },
	{ "anthropic-redacted:", SIGNER_ANTHROPIC, true },
	{ "gemini:", SIGNER_GEMINI, false },
};

void
responses_read_encrypted(struct arena *a, struct json_value v, struct neutral_part *p)
{
	struct span text = text_plain(a, v);
	size_t len;

	if (text.len == 0)
		return;
	p->signer = SIGNER_OPENAI;
	p->signature = text;
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		len = strlen(marks[i].prefix);
		if (!span_starts(text, marks[i].prefix))
			continue;
		p->signer = marks[i].signer;
		p->signature = (struct span){ text.at + len, text.len - len };
		if (marks[i].redacted)
			p->kind = PART_REDACTED;
	}
	if (p->signer == SIGNER_OPENAI && text_is_empty(p->text))
		p->kind = PART_REDACTED;
}

void
responses_write_encrypted(struct json_out *o, const struct neutral_part *p)
{
	if (p->signature.at == NULL)
		return;
	out_string_begin(o, "encrypted_content");
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
		if (marks[i].signer == p->signer && marks[i].redacted == (p->kind == PART_REDACTED))
			out_string_plain(o, span_of(marks[i].prefix));
	out_string_plain(o, p->signature);
	out_string_end(o);
}

struct texts {
	struct span *at;
	size_t count;
};

static bool
count_text(void *ctx, const struct json_member *m)
{
	(void)m;
	((struct texts *)ctx)->count++;
	return true;
}

static bool
take_text(void *ctx, const struct json_member *m)
{
	struct texts *t = ctx;
	struct json_value text = json_get(m->value.raw, "text");

	if (text.type == JSON_STRING)
		t->at[t->count++] = text.raw;
	return true;
}

static struct span
joined_texts(struct arena *a, struct json_value array)
{
	struct texts t = { NULL, 0 };
	struct span all;

	if (array.type != JSON_ARRAY || json_each_element(array.raw, count_text, &t, NULL) != 0 ||
		t.count == 0)
		return SPAN_NONE;
	if ((t.at = arena_alloc(a, t.count * sizeof *t.at)) == NULL)
		return SPAN_NONE;
	t.count = 0;
	(void)json_each_element(array.raw, take_text, &t, NULL);
	all = text_joined(a, t.at, t.count, "\\n\\n");
	return text_is_empty(all) ? SPAN_NONE : all;
}

struct span
responses_reasoning_text(struct arena *a, struct json_value summary, struct json_value content)
{
	struct span text = joined_texts(a, summary);

	return text.at != NULL ? text : joined_texts(a, content);
}

/* ---- how an answer ends ---- */

const char *
responses_incomplete(enum finish f)
{
	switch (f) {
	case FINISH_LENGTH:
	case FINISH_CONTEXT:
		return "max_output_tokens";
	case FINISH_FILTER:
		return "content_filter";
	default:
		return NULL;
	}
}

const char *
responses_status(enum finish f)
{
	return responses_incomplete(f) == NULL ? "completed" : "incomplete";
}

/* ---- the response object ---- */

void
responses_write_usage(struct json_out *o, const struct wire_usage *u)
{
	int64_t input = usage_input_total(u), output = usage_or_zero(u->output);

	out_open(o, "usage", '{');
	out_int(o, "input_tokens", input);
	out_open(o, "input_tokens_details", '{');
	out_int(o, "cached_tokens", usage_or_zero(u->cache_read));
	out_int(o, "cache_write_tokens", usage_or_zero(u->cache_write));
	out_close(o, '}');
	out_int(o, "output_tokens", output);
	out_open(o, "output_tokens_details", '{');
	out_int(o, "reasoning_tokens", usage_or_zero(u->reasoning));
	out_close(o, '}');
	out_int(o, "total_tokens", input + output);
	out_close(o, '}');
}

/* The codes that OpenAI knows here. */
static const char *
failure_code(enum err_code code)
{
	return code == ERR_RATE_LIMITED                                  ? "rate_limit_exceeded"
	       : code == ERR_BAD_REQUEST || code == ERR_CONTEXT_TOO_LONG ? "invalid_prompt"
									 : "server_error";
}

void
responses_open(struct json_out *o, const char *key, const struct responses_head *h)
{
	out_open(o, key, '{');
	out_text(o, "id", h->id);
	out_string(o, "object", "response");
	out_int(o, "created_at", h->created_s);
	out_string(o, "status", h->status);
	if (h->failed == NULL) {
		out_null(o, "error");
	} else {
		out_open(o, "error", '{');
		out_string(o, "code", failure_code(h->failed->code));
		out_string(o, "message", err_public(h->failed));
		out_close(o, '}');
	}
	if (h->incomplete == NULL) {
		out_null(o, "incomplete_details");
	} else {
		out_open(o, "incomplete_details", '{');
		out_string(o, "reason", h->incomplete);
		out_close(o, '}');
	}
	out_null(o, "instructions");
	out_null(o, "max_output_tokens");
	out_text(o, "model", h->model);
	out_open(o, "output", '[');
}

void
responses_close(struct json_out *o, const struct responses_head *h)
{
	out_close(o, ']');
	out_bool(o, "parallel_tool_calls", true);
	out_null(o, "previous_response_id");
	out_json(o, "reasoning", SPAN_LIT("{\"effort\":null,\"summary\":null}"));
	out_bool(o, "store", false);
	out_null(o, "temperature");
	out_json(o, "text", SPAN_LIT("{\"format\":{\"type\":\"text\"}}"));
	out_string(o, "tool_choice", "auto");
	out_json(o, "tools", SPAN_LIT("[]"));
	out_null(o, "top_p");
	out_string(o, "truncation", "disabled");
	if (h->usage != NULL && h->usage->seen)
		responses_write_usage(o, h->usage);
	else
		out_null(o, "usage");
	out_json(o, "metadata", SPAN_LIT("{}"));
	out_close(o, '}');
}

void
openai_responses_usage(struct span json, struct wire_usage *out)
{
	openai_usage(json, out);
}
