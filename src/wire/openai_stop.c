/*
 * openai_stop.c - a stream that is ended before its model was done looks like one whose max_tokens
 * was reached: every SDK takes that for a complete answer, and tells its caller why it is short.
 */
#include "wire/openai.h"

#include <inttypes.h>
#include <string.h>

#define CHOICES_MOST 128

/* The text behind the first `name` in it, up to `end`; empty when there is none. */
static struct span
behind(const char *data, size_t len, const char *name, const char *end)
{
	const char *at = memmem(data, len, name, strlen(name));
	struct span s;

	if (at == NULL)
		return SPAN_NONE;
	s.at = at + strlen(name);
	for (s.len = 0; s.at + s.len < data + len && strchr(end, s.at[s.len]) == NULL; s.len++)
		;
	return s;
}

static void
note_sequence(struct openai_stop *s, const char *data, size_t len)
{
	struct span n = behind(data, len, "\"sequence_number\":", ",} ");

	while (n.len > 0) {
		struct json_value v = { JSON_NUMBER, n };
		size_t gone = (size_t)(n.at + n.len - data);

		(void)json_int(v, &s->sequence);
		data += gone;
		len -= gone;
		n = behind(data, len, "\"sequence_number\":", ",} ");
	}
}

void
openai_stop_note(struct openai_stop *s, const char *data, size_t len)
{
	if (s->id[0] == '\0') {
		struct span id = behind(data, len, "\"id\":\"", "\"\\");

		if (id.len < sizeof s->id)
			(void)span_copy(id, s->id, sizeof s->id);
	}
	if (strcmp(s->endpoint, "/v1/responses") == 0)
		note_sequence(s, data, len);
}

static void
put_head(const struct openai_stop *s, const char *object, struct bytes *out)
{
	bytes_puts(out, "data: {\"id\":");
	bytes_json(out, span_of(s->id));
	bytes_printf(
		out, ",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", object, s->created_s);
	bytes_json(out, span_of(s->model));
}

static void
put_usage(const struct openai_stop *s, struct bytes *out)
{
	bytes_printf(out,
		"\"usage\":{\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64
		",\"total_tokens\":%" PRId64 "}",
		s->input_tokens, s->output_tokens, s->input_tokens + s->output_tokens);
}

static void
put_choices(const struct openai_stop *s, const char *object, const char *delta, struct bytes *out)
{
	int64_t count = s->choices < CHOICES_MOST ? s->choices : CHOICES_MOST;

	put_head(s, object, out);
	bytes_puts(out, ",\"choices\":[");
	for (int64_t i = 0; i < count; i++)
		bytes_printf(out,
			"%s{\"index\":%" PRId64 ",%s,\"logprobs\":null,"
			"\"finish_reason\":\"length\"}",
			i == 0 ? "" : ",", i, delta);
	bytes_puts(out, s->wants_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
	if (s->wants_usage) {
		put_head(s, object, out);
		bytes_puts(out, ",\"choices\":[],");
		put_usage(s, out);
		bytes_puts(out, "}\n\n");
	}
	bytes_puts(out, "data: [DONE]\n\n");
}

static void
put_incomplete(const struct openai_stop *s, struct bytes *out)
{
	bytes_printf(out,
		"event: response.incomplete\n"
		"data: {\"type\":\"response.incomplete\",\"sequence_number\":%" PRId64
		",\"response\":{\"id\":",
		s->sequence + 1);
	bytes_json(out, span_of(s->id));
	bytes_printf(out,
		",\"object\":\"response\",\"created_at\":%" PRId64
		",\"status\":\"incomplete\",\"error\":null,"
		"\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"model\":",
		s->created_s);
	bytes_json(out, span_of(s->model));
	bytes_printf(out,
		",\"output\":[],\"usage\":{\"input_tokens\":%" PRId64
		",\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":%" PRId64
		",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%" PRId64
		"}}}\n\n",
		s->input_tokens, s->output_tokens, s->input_tokens + s->output_tokens);
}

int
openai_stop(const struct openai_stop *s, struct bytes *out)
{
	if (strcmp(s->endpoint, "/v1/chat/completions") == 0)
		put_choices(s, "chat.completion.chunk", "\"delta\":{}", out);
	else if (strcmp(s->endpoint, "/v1/completions") == 0)
		put_choices(s, "text_completion", "\"text\":\"\"", out);
	else if (strcmp(s->endpoint, "/v1/responses") == 0)
		put_incomplete(s, out);
	else
		return -1;
	return out->failed ? -1 : 0;
}
