/*
 * mock_chat.c - the mock's OpenAI where it answers what was said: chat completions and responses,
 * and what Azure and OpenRouter add to them.
 */
#include "cli/mock-talk-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MOST 4096
#define PARTS_MOST    256
#define CREATED       "1760000000"

#define KNOWN_CHAT                                                                                 \
	"model messages max_completion_tokens max_tokens temperature top_p n stop "                \
	"presence_penalty frequency_penalty logit_bias logprobs top_logprobs seed user stream "    \
	"stream_options tools tool_choice functions function_call parallel_tool_calls "            \
	"response_format reasoning_effort verbosity modalities audio prediction "                  \
	"web_search_options service_tier store metadata prompt_cache_key prompt_cache_options "    \
	"prompt_cache_retention moderation safety_identifier"
#define KNOWN_RESPONSES                                                                            \
	"model input instructions previous_response_id conversation store stream stream_options "  \
	"max_output_tokens temperature top_p top_logprobs truncation tools tool_choice "           \
	"parallel_tool_calls max_tool_calls text reasoning include background metadata "           \
	"service_tier safety_identifier prompt_cache_key prompt_cache_options prompt "             \
	"prompt_cache_retention context_management moderation user"

struct reading {
	struct mock_exchange *x;
	struct talk *t;
	bool answers;              /* responses: the last item was of an answer */
	bool shows_reasoning;      /* as others than OpenAI do */
	bool summarises, encrypts; /* responses: what was asked of the reasoning */
	bool saw_reasoning, saw_reasoned_call;
	bool include_usage;
	int message, choices;
};

static struct bytes body = { .limit = MOCK_OUT_BYTES };
static struct bytes event = { .limit = MOCK_OUT_BYTES };

/* ---- parts ---- */

/* "data:image/png;base64,…", or an address. */
static bool
read_data_url(struct reading *r, const char *what, struct json_value url)
{
	struct span text = url.raw;
	const char *comma;
	char media[64];

	if (url.type != JSON_STRING)
		return false;
	if (!span_starts(text, "\"data:")) {
		(void)bytes_printf(&r->t->notes, " [%s by url]", what);
		return span_starts(text, "\"http");
	}
	comma = memchr(text.at, ',', text.len);
	if (comma == NULL)
		return false;
	(void)span_copy(
		(struct span){ text.at + 6, strcspn(text.at + 6, ";,") }, media, sizeof media);
	/* talk_note takes a string with its quotes: the comma stands for the first one */
	talk_note(r->t, what, media, (struct span){ comma, text.len - (size_t)(comma - text.at) });
	return true;
}

static bool
read_part(struct reading *r, struct json_value p, bool user)
{
	struct json_value text = talk_get(p, "text"), v;
	char type[32], media[32];

	(void)talk_copy(talk_get(p, "type"), type, sizeof type);
	if (strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 ||
		strcmp(type, "output_text") == 0) {
		if (user && r->t->text.len > 0)
			(void)bytes_puts(&r->t->text, "\n");
		if (user)
			talk_hear(&r->t->text, text);
		talk_count(r->t, text);
		return text.type == JSON_STRING;
	}
	if (strcmp(type, "refusal") == 0)
		return true;
	if (strcmp(type, "image_url") == 0)
		return read_data_url(r, "image", talk_get(p, "image_url.url"));
	if (strcmp(type, "input_image") == 0)
		return read_data_url(r, "image", talk_get(p, "image_url"));
	if (strcmp(type, "input_audio") == 0) {
		v = talk_get(p, "input_audio");
		(void)talk_copy(talk_get(v, "format"), media, sizeof media);
		talk_note(r->t, "audio", media, talk_get(v, "data").raw);
		return true;
	}
	if (strcmp(type, "file") == 0)
		return read_data_url(r, "document", talk_get(p, "file.file_data"));
	if (strcmp(type, "input_file") == 0)
		return read_data_url(r, "document", talk_get(p, "file_data"));
	return false;
}

static bool
read_content(struct reading *r, struct json_value content, bool user)
{
	struct json_value parts[PARTS_MOST];
	int n = talk_list(content, parts, PARTS_MOST);

	talk_count(r->t, content.type == JSON_STRING
				 ? content
				 : (struct json_value){ JSON_NULL, { NULL, 0 } });
	if (content.type == JSON_STRING && user) {
		if (r->t->text.len > 0)
			(void)bytes_puts(&r->t->text, "\n");
		talk_hear(&r->t->text, content);
	}
	for (int i = 0; i < n; i++)
		if (!read_part(r, parts[i], user)) {
			mock_error_printf(r->x, 400,
				"Invalid value at messages[%d].content[%d]: it is no part that is "
				"supported here.",
				r->message, i);
			return false;
		}
	return true;
}

static void
read_system(struct reading *r, struct json_value content)
{
	struct json_value parts[PARTS_MOST];
	int n = talk_list(content, parts, PARTS_MOST);

	if (r->t->system.len > 0)
		(void)bytes_puts(&r->t->system, "\n\n");
	talk_hear(&r->t->system, content);
	talk_count(r->t, content);
	for (int i = 0; i < n; i++) {
		if (i > 0)
			(void)bytes_puts(&r->t->system, "\n\n");
		talk_hear(&r->t->system, talk_get(parts[i], "text"));
	}
}

static bool
read_result(struct reading *r, struct json_value id, struct json_value content)
{
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);
	struct json_value parts[PARTS_MOST];
	int n = talk_list(content, parts, PARTS_MOST);
	bool known;

	talk_hear(&text, content);
	talk_count(r->t, content);
	for (int i = 0; i < n; i++)
		talk_hear(&text, talk_get(parts[i], "text"));
	known = talk_hear_result(r->t, id, bytes_span(&text)) != NULL;
	bytes_free(&text);
	return known;
}

/* ---- chat ---- */

static bool
read_calls(struct reading *r, struct json_value message)
{
	struct json_value calls[TALK_TOOLS_MOST];
	int n = talk_list(talk_get(message, "tool_calls"), calls, TALK_TOOLS_MOST);

	for (int i = 0; i < n; i++) {
		struct json_value arguments = talk_get(calls[i], "function.arguments");

		if (talk_get(calls[i], "id").type != JSON_STRING || arguments.type != JSON_STRING) {
			mock_error_printf(r->x, 400,
				"Invalid type for "
				"'messages[%d].tool_calls[%d].function.arguments': "
				"expected a string.",
				r->message, i);
			return false;
		}
		talk_hear_call(r->t, talk_get(calls[i], "id"), talk_get(calls[i], "function.name"));
		talk_count(r->t, arguments);
	}
	return true;
}

static bool
all_answered(struct reading *r)
{
	const char *id = talk_unanswered(r->t);

	if (id == NULL)
		return true;
	mock_error_printf(r->x, 400,
		"An assistant message with 'tool_calls' must be followed by tool messages "
		"responding to "
		"each 'tool_call_id'. The following tool_call_ids did not have response messages: "
		"%s",
		id);
	return false;
}

static bool
read_message(struct reading *r, struct json_value m)
{
	struct json_value content = talk_get(m, "content");
	char role[16];

	(void)talk_copy(talk_get(m, "role"), role, sizeof role);
	if (strcmp(role, "tool") == 0) {
		if (read_result(r, talk_get(m, "tool_call_id"), content))
			return true;
		mock_error(r->x, 400,
			"Invalid parameter: messages with role 'tool' must be a response to a "
			"preceeding "
			"message with 'tool_calls'.");
		return false;
	}
	if (!all_answered(r))
		return false;
	if (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0) {
		read_system(r, content);
		return true;
	}
	if (strcmp(role, "assistant") == 0) {
		talk_answer_turn(r->t);
		r->t->pending_count = 0;
		return read_content(r, content, false) && read_calls(r, m);
	}
	if (strcmp(role, "user") == 0)
		return read_content(r, content, true);
	mock_error_printf(r->x, 400,
		"Invalid value: '%s'. Supported values are: 'system', 'assistant', 'user', "
		"'function', "
		"'tool', and 'developer'.",
		role);
	return false;
}

/* Chat nests a function, responses do not; the same with the choice and the schema. */
static void
read_tools(struct reading *r, struct json_value request, const char *name, const char *parameters)
{
	struct json_value tools[TALK_TOOLS_MOST], choice = talk_get(request, "tool_choice");
	int n = talk_list(talk_get(request, "tools"), tools, TALK_TOOLS_MOST);

	for (int i = 0; i < n; i++)
		if (talk_is(talk_get(tools[i], "type"), "function"))
			talk_hear_tool(
				r->t, talk_get(tools[i], name), talk_get(tools[i], parameters));
	r->t->calls_none = talk_is(choice, "none");
	r->t->calls_must = talk_is(choice, "required");
	(void)talk_copy(talk_get(choice, name), r->t->only, sizeof r->t->only);
	r->t->calls_one = talk_get(request, "parallel_tool_calls").type == JSON_FALSE;
}

static bool
check_known(struct reading *r, struct json_value request, const char *words)
{
	const char *unknown =
		r->x->dialect == MOCK_OPENROUTER ? NULL : talk_unknown(request, words);

	if (unknown != NULL)
		mock_error_printf(r->x, 400, "Unrecognized request argument supplied: %s", unknown);
	return unknown == NULL;
}

static bool
read_chat(struct reading *r, struct json_value request)
{
	static struct json_value messages[MESSAGES_MOST];
	struct json_value format = talk_get(request, "response_format"),
			  effort = talk_get(request, "reasoning_effort"),
			  limit = talk_get(request, "max_completion_tokens");
	int n = talk_list(talk_get(request, "messages"), messages, MESSAGES_MOST);
	int64_t choices = 1;

	if (!check_known(r, request, KNOWN_CHAT))
		return false;
	if (n == 0) {
		mock_error(r->x, 400, "Missing required parameter: 'messages'.");
		return false;
	}
	if (talk_get(request, "stream_options").type == JSON_OBJECT &&
		talk_get(request, "stream").type != JSON_TRUE) {
		mock_error(r->x, 400,
			"The 'stream_options' parameter is only allowed when 'stream' is enabled.");
		return false;
	}
	if (limit.type != JSON_NUMBER)
		limit = talk_get(request, "max_tokens");
	(void)json_int(limit, &r->t->most_output);
	(void)json_int(talk_get(request, "n"), &choices);
	r->choices = choices < 1 || choices > 8 ? 1 : (int)choices;
	talk_hear_stops(r->t, talk_get(request, "stop"));
	r->include_usage = talk_get(request, "stream_options.include_usage").type == JSON_TRUE;
	r->t->json = talk_is(talk_get(format, "type"), "json_schema") ||
		     talk_is(talk_get(format, "type"), "json_object");
	r->t->schema = talk_get(format, "json_schema.schema").raw;
	if (talk_is(talk_get(format, "type"), "json_schema") &&
		talk_get(format, "json_schema.name").type != JSON_STRING) {
		mock_error(r->x, 400,
			"Missing required parameter: 'response_format.json_schema.name'.");
		return false;
	}
	r->t->thinks = (effort.type == JSON_STRING && !talk_is(effort, "none")) ||
		       talk_get(request, "reasoning").type == JSON_OBJECT;
	read_tools(r, request, "function.name", "function.parameters");
	for (; r->message < n; r->message++)
		if (!read_message(r, messages[r->message]))
			return false;
	return all_answered(r);
}

static void
put_usage(struct bytes *b, const struct talk *t, bool responses)
{
	int64_t written = t->cache_write_5m + t->cache_write_1h,
		in = t->input + t->cache_read + written;
	static const char *const names[2][4] = {
		{ "prompt_tokens", "completion_tokens", "prompt_tokens_details",
			"completion_tokens_details" },
		{ "input_tokens", "output_tokens", "input_tokens_details",
			"output_tokens_details" },
	};
	const char *const *n = names[responses];

	(void)bytes_printf(b,
		"\"usage\":{\"%s\":%lld,\"%s\":%lld,\"total_tokens\":%lld,\"%s\":{\"cached_"
		"tokens\":%lld,"
		"\"cache_write_tokens\":%lld},\"%s\":{\"reasoning_tokens\":%lld}}",
		n[0], (long long)in, n[1], (long long)t->output, (long long)(in + t->output), n[2],
		(long long)t->cache_read, (long long)written, n[3], (long long)t->reasoning);
}

static const char *
finish_reason(const struct talk *t)
{
	static const char *const reasons[] = { [STOP_END] = "stop",
		[STOP_LENGTH] = "length",
		[STOP_SEQUENCE] = "stop",
		[STOP_CALLS] = "tool_calls",
		[STOP_FILTER] = "content_filter" };

	return reasons[t->stop];
}

#define FILTERS                                                                                    \
	"{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},"                                    \
	"\"violence\":{\"filtered\":false,\"severity\":\"safe\"}}"

static void
put_reasoning(struct bytes *b, const struct reading *r, struct span text)
{
	if (r->x->dialect == MOCK_OPENROUTER) {
		(void)bytes_puts(b, ",\"reasoning\":");
		(void)bytes_json(b, text);
		(void)bytes_puts(
			b, ",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":");
		(void)bytes_json(b, text);
		(void)bytes_puts(b, ",\"format\":null,\"index\":0}]");
	} else {
		(void)bytes_puts(b, ",\"reasoning_content\":");
		(void)bytes_json(b, text);
	}
}

static void
put_choice(struct bytes *b, const struct reading *r, int index)
{
	const struct talk *t = r->t;

	(void)bytes_printf(b, "%s{\"index\":%d,\"logprobs\":null,\"finish_reason\":\"%s\",",
		index == 0 ? "" : ",", index, finish_reason(t));
	if (r->x->dialect == MOCK_AZURE)
		(void)bytes_puts(b, "\"content_filter_results\":" FILTERS ",");
	(void)bytes_puts(b, "\"message\":{\"role\":\"assistant\",\"refusal\":null,\"annotations\":["
			    "],\"content\":");
	if (t->call_count > 0 && t->said.len == 0)
		(void)bytes_puts(b, "null");
	else
		(void)bytes_json(b, bytes_span(&t->said));
	if (t->thinks && r->shows_reasoning)
		put_reasoning(b, r, bytes_span(&t->thinking));
	for (int i = 0; i < t->call_count; i++) {
		const struct talk_call *c = &t->calls[i];

		(void)bytes_printf(b,
			"%s{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":\"%s\","
			"\"arguments\":",
			i == 0 ? ",\"tool_calls\":[" : ",", c->id, c->name);
		(void)bytes_json(b, bytes_span(&c->args));
		(void)bytes_puts(b, i + 1 == t->call_count ? "}}]" : "}}");
	}
	(void)bytes_puts(b, "}}");
}

static void
put_chat_head(struct bytes *b, const struct talk *t, const char *object)
{
	(void)bytes_printf(b,
		"{\"id\":\"chatcmpl-mock\",\"object\":\"%s\",\"created\":" CREATED
		",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\",\"model\":",
		object);
	(void)bytes_json(b, span_of(t->model));
	(void)bytes_puts(b, ",\"choices\":[");
}

static void
send_whole(struct mock_exchange *x)
{
	if (x->script.fault == MOCK_BADJSON)
		body.len /= 2;
	mock_reply(x, 200, "application/json", bytes_span(&body));
	if (x->script.fault == MOCK_CUT) {
		x->out->len -= 20;
		x->cut = true;
	}
}

static void
chat_whole(struct mock_exchange *x, const struct reading *r)
{
	body.len = 0;
	put_chat_head(&body, r->t, "chat.completion");
	for (int i = 0; i < r->choices; i++)
		put_choice(&body, r, i);
	(void)bytes_puts(&body, "],");
	if (x->dialect == MOCK_AZURE)
		(void)bytes_puts(&body, "\"prompt_filter_results\":[{\"prompt_index\":0,"
					"\"content_filter_results\":" FILTERS "}],");
	put_usage(&body, r->t, false);
	(void)bytes_puts(&body, "}");
	send_whole(x);
}

/* One chunk: the delta of a choice, which `body` holds. */
static void
chat_chunk(const struct reading *r, int choice, const char *finish)
{
	event.len = 0;
	(void)bytes_puts(&event, "data: ");
	put_chat_head(&event, r->t, "chat.completion.chunk");
	(void)bytes_printf(&event,
		"{\"index\":%d,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":", choice,
		body.len == 0 ? "" : body.at);
	(void)bytes_printf(
		&event, finish == NULL ? "null}" : "\"%s\"}", finish == NULL ? "" : finish);
	(void)bytes_puts(&event, r->include_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
	mock_stream_piece(r->x, bytes_span(&event));
	body.len = 0;
	(void)bytes_add(&body, "", 0);
}

static void
chat_stream_calls(const struct reading *r, int choice)
{
	for (int i = 0; i < r->t->call_count; i++) {
		const struct talk_call *c = &r->t->calls[i];
		int n = talk_pieces(&r->x->script, bytes_span(&c->args));

		(void)bytes_printf(&body,
			"\"tool_calls\":[{\"index\":%d,\"id\":\"%s\",\"type\":\"function\","
			"\"function\":{\"name\":\"%s\",\"arguments\":\"\"}}]",
			i, c->id, c->name);
		chat_chunk(r, choice, NULL);
		for (int p = 0; p < n; p++) {
			(void)bytes_printf(&body,
				"\"tool_calls\":[{\"index\":%d,\"function\":{\"arguments\":", i);
			(void)bytes_json(&body, talk_piece(&r->x->script, bytes_span(&c->args), p));
			(void)bytes_puts(&body, "}}]");
			chat_chunk(r, choice, NULL);
		}
	}
}

static void
chat_stream_choice(const struct reading *r, int choice)
{
	const struct talk *t = r->t;
	struct span thinking = bytes_span(&t->thinking), said = bytes_span(&t->said);
	int thoughts = t->thinks && r->shows_reasoning ? talk_pieces(&r->x->script, thinking) : 0;

	(void)bytes_printf(&body, "\"role\":\"assistant\",\"content\":%s,\"refusal\":null",
		t->call_count > 0 && said.len == 0 ? "null" : "\"\"");
	chat_chunk(r, choice, NULL);
	for (int i = 0; i < thoughts; i++) {
		(void)bytes_puts(&body, "\"content\":null");
		put_reasoning(&body, r, talk_piece(&r->x->script, thinking, i));
		chat_chunk(r, choice, NULL);
	}
	for (int i = 0; i < talk_pieces(&r->x->script, said); i++) {
		(void)bytes_puts(&body, "\"content\":");
		(void)bytes_json(&body, talk_piece(&r->x->script, said, i));
		chat_chunk(r, choice, NULL);
	}
	chat_stream_calls(r, choice);
	chat_chunk(r, choice, finish_reason(t));
}

static void
chat_stream(struct mock_exchange *x, const struct reading *r)
{
	mock_stream_begin(x, "text/event-stream; charset=utf-8");
	body.len = 0;
	if (x->dialect == MOCK_OPENROUTER)
		mock_stream_piece(x, SPAN_LIT(": OPENROUTER PROCESSING\n\n"));
	if (x->dialect == MOCK_AZURE)
		mock_stream_piece(x,
			SPAN_LIT("data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\","
				 "\"object\":\"\",\"prompt_filter_results\":[{\"prompt_index\":0,"
				 "\"content_filter_results\":" FILTERS "}]}\n\n"));
	for (int i = 0; i < r->choices; i++)
		chat_stream_choice(r, i);
	if (r->include_usage || x->dialect == MOCK_OPENROUTER) {
		event.len = 0;
		(void)bytes_puts(&event, "data: ");
		put_chat_head(&event, r->t, "chat.completion.chunk");
		(void)bytes_puts(&event, "],");
		put_usage(&event, r->t, false);
		(void)bytes_puts(&event, "}\n\n");
		mock_stream_piece(x, bytes_span(&event));
	}
	mock_stream_piece(x, SPAN_LIT("data: [DONE]\n\n"));
	mock_stream_end(x,
		SPAN_LIT(
			"data: {\"error\":{\"message\":\"The mock had an error while processing "
			"your "
			"request.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"));
}

/* ---- responses ---- */

static bool
read_item(struct reading *r, struct json_value item)
{
	struct json_value role = talk_get(item, "role"), content = talk_get(item, "content"), v;
	char type[32] = "message", id[TALK_NAME_BYTES] = "";

	(void)talk_copy(talk_get(item, "id"), id, sizeof id);
	if (talk_get(item, "type").type == JSON_STRING)
		(void)talk_copy(talk_get(item, "type"), type, sizeof type);
	if (strcmp(type, "function_call_output") == 0) {
		r->answers = false;
		if (read_result(r, talk_get(item, "call_id"), talk_get(item, "output")))
			return true;
		mock_error(r->x, 400,
			"No tool call found for function call output with that call_id.");
		return false;
	}
	if (strcmp(type, "message") == 0 && !talk_is(role, "assistant")) {
		r->answers = false;
		if (!talk_is(role, "user")) {
			read_system(r, content);
			return true;
		}
		return read_content(r, content, true);
	}
	if (!r->answers) { /* items of one answer follow one another */
		talk_answer_turn(r->t);
		r->t->pending_count = 0;
		r->saw_reasoning = r->saw_reasoned_call = false;
		r->answers = true;
	}
	if (strcmp(type, "message") == 0)
		return read_content(r, content, false);
	if (strcmp(type, "function_call") == 0) {
		talk_hear_call(r->t, talk_get(item, "call_id"), talk_get(item, "name"));
		talk_count(r->t, talk_get(item, "arguments"));
		if (strncmp(id, "fc_mock_reasoned", 16) == 0)
			r->saw_reasoned_call = true;
		if (!r->saw_reasoned_call || r->saw_reasoning)
			return true;
		mock_error_printf(r->x, 400,
			"Item '%s' of type 'function_call' was provided without its required "
			"'reasoning' "
			"item.",
			id);
		return false;
	}
	if (strcmp(type, "reasoning") == 0) {
		r->saw_reasoning = true;
		v = talk_get(item, "encrypted_content");
		if (v.type != JSON_STRING || talk_signed("reasoning", SPAN_NONE, v))
			return true;
		mock_error(r->x, 400,
			"The encrypted content could not be verified. Reason: it is not what the "
			"mock "
			"wrote.");
		return false;
	}
	mock_error_printf(
		r->x, 400, "Invalid value: '%s'. It is no input item that the mock knows.", type);
	return false;
}

static bool
read_responses(struct reading *r, struct json_value request)
{
	static struct json_value items[MESSAGES_MOST];
	struct json_value input = talk_get(request, "input"),
			  format = talk_get(request, "text.format"),
			  reasoning = talk_get(request, "reasoning"), include[16];
	int n = talk_list(input, items, MESSAGES_MOST);
	int includes = talk_list(talk_get(request, "include"), include, 16);
	const char *id;

	if (!check_known(r, request, KNOWN_RESPONSES))
		return false;
	if (n == 0 && input.type != JSON_STRING) {
		mock_error(r->x, 400, "Missing required parameter: 'input'.");
		return false;
	}
	if (talk_get(request, "previous_response_id").type == JSON_STRING) {
		mock_error(r->x, 400, "Previous response with that id not found.");
		return false;
	}
	if (talk_get(request, "instructions").type == JSON_STRING)
		read_system(r, talk_get(request, "instructions"));
	(void)json_int(talk_get(request, "max_output_tokens"), &r->t->most_output);
	r->t->json = talk_is(talk_get(format, "type"), "json_schema") ||
		     talk_is(talk_get(format, "type"), "json_object");
	r->t->schema = talk_get(format, "schema").raw;
	r->t->thinks =
		reasoning.type == JSON_OBJECT && !talk_is(talk_get(reasoning, "effort"), "none");
	r->summarises = talk_get(reasoning, "summary").type == JSON_STRING;
	for (int i = 0; i < includes; i++)
		if (talk_is(include[i], "reasoning.encrypted_content"))
			r->encrypts = true;
	read_tools(r, request, "name", "parameters");
	if (input.type == JSON_STRING && !read_content(r, input, true))
		return false;
	for (; r->message < n; r->message++)
		if (!read_item(r, items[r->message]))
			return false;
	if ((id = talk_unanswered(r->t)) != NULL) {
		mock_error_printf(r->x, 400, "No tool output found for function call %s.", id);
		return false;
	}
	return true;
}

/* The items of an answer, by their place in it. */
enum item { ITEM_REASONING, ITEM_MESSAGE, ITEM_CALL };

static enum item
item_at(const struct talk *t, int index, int *call)
{
	if (t->thinks && index-- == 0)
		return ITEM_REASONING;
	if (t->said.len > 0 && index-- == 0)
		return ITEM_MESSAGE;
	*call = index;
	return ITEM_CALL;
}

static int
item_count(const struct talk *t)
{
	return t->thinks + (t->said.len > 0) + t->call_count;
}

static void
put_item_id(struct bytes *b, const struct talk *t, enum item kind, int call)
{
	if (kind == ITEM_REASONING)
		(void)bytes_printf(b, "rs_mock_%d", t->turns);
	else if (kind == ITEM_MESSAGE)
		(void)bytes_printf(b, "msg_mock_%d", t->turns);
	else
		(void)bytes_printf(
			b, "fc_mock_%s%d_%d", t->thinks ? "reasoned_" : "", t->turns, call + 1);
}

static void
put_text_part(struct bytes *b, struct span text)
{
	(void)bytes_puts(
		b, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
	(void)bytes_json(b, text);
	(void)bytes_puts(b, "}");
}

/* full: as it is when done, else as it begins. */
static void
put_item(struct bytes *b, const struct reading *r, int index, bool full)
{
	const struct talk *t = r->t;
	char sealed[64];
	int call = 0;
	enum item kind = item_at(t, index, &call);

	(void)bytes_puts(b, "{\"id\":\"");
	put_item_id(b, t, kind, call);
	(void)bytes_printf(b, "\",\"status\":\"%s\",", full ? "completed" : "in_progress");
	switch (kind) {
	case ITEM_REASONING:
		b->len -=
			strlen(full ? "\"status\":\"completed\"," : "\"status\":\"in_progress\",");
		(void)bytes_puts(b, "\"type\":\"reasoning\",\"summary\":[");
		if (full && r->summarises) {
			(void)bytes_puts(b, "{\"type\":\"summary_text\",\"text\":");
			(void)bytes_json(b, bytes_span(&t->thinking));
			(void)bytes_puts(b, "}");
		}
		(void)bytes_puts(b, "]");
		talk_sign("reasoning", SPAN_NONE, sealed);
		if (r->encrypts)
			(void)bytes_printf(b, ",\"encrypted_content\":\"%s\"", sealed);
		break;
	case ITEM_MESSAGE:
		(void)bytes_puts(b, "\"type\":\"message\",\"role\":\"assistant\",\"content\":[");
		if (full)
			put_text_part(b, bytes_span(&t->said));
		(void)bytes_puts(b, "]");
		break;
	case ITEM_CALL:
		(void)bytes_printf(b,
			"\"type\":\"function_call\",\"call_id\":\"%s\",\"name\":\"%s\","
			"\"arguments\":",
			t->calls[call].id, t->calls[call].name);
		(void)bytes_json(b, full ? bytes_span(&t->calls[call].args) : SPAN_NONE);
		break;
	}
	(void)bytes_puts(b, "}");
}

static void
put_response(struct bytes *b, const struct reading *r, bool done)
{
	const struct talk *t = r->t;
	const char *why = t->stop == STOP_LENGTH ? "max_output_tokens" : "content_filter";
	bool cut = done && (t->stop == STOP_LENGTH || t->stop == STOP_FILTER);

	(void)bytes_printf(b,
		"{\"id\":\"resp_mock_%d\",\"object\":\"response\",\"created_at\":" CREATED
		",\"status\":\"%s\",\"error\":null,\"instructions\":null,\"metadata\":{},"
		"\"parallel_tool_calls\":true,\"temperature\":1,\"top_p\":1,\"tool_choice\":"
		"\"auto\","
		"\"tools\":[],\"previous_response_id\":null,\"truncation\":\"disabled\",\"store\":"
		"true,"
		"\"text\":{\"format\":{\"type\":\"text\"}},\"incomplete_details\":",
		t->turns,
		!done ? "in_progress"
		: cut ? "incomplete"
		      : "completed");
	if (cut)
		(void)bytes_printf(b, "{\"reason\":\"%s\"}", why);
	else
		(void)bytes_puts(b, "null");
	(void)bytes_puts(b, ",\"model\":");
	(void)bytes_json(b, span_of(t->model));
	(void)bytes_puts(b, ",\"output\":[");
	for (int i = 0; done && i < item_count(t); i++) {
		(void)bytes_puts(b, i == 0 ? "" : ",");
		put_item(b, r, i, true);
	}
	(void)bytes_puts(b, "],");
	if (done)
		put_usage(b, t, true);
	else
		(void)bytes_puts(b, "\"usage\":null");
	(void)bytes_puts(b, "}");
}

struct streaming {
	const struct reading *r;
	int sequence, index;
	char id[64];
};

static void
begin_event(struct streaming *s, const char *name)
{
	event.len = 0;
	(void)bytes_printf(&event, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d,",
		name, name, s->sequence++);
}

static void
end_event(struct streaming *s)
{
	(void)bytes_puts(&event, "}\n\n");
	mock_stream_piece(s->r->x, bytes_span(&event));
}

/* What every event within an item says of its place; more: the rest of that, with its comma. */
static void
put_place(struct streaming *s, const char *more)
{
	(void)bytes_printf(
		&event, "\"item_id\":\"%s\",\"output_index\":%d,%s", s->id, s->index, more);
}

static void
item_event(struct streaming *s, const char *name, bool full)
{
	begin_event(s, name);
	(void)bytes_printf(&event, "\"output_index\":%d,\"item\":", s->index);
	put_item(&event, s->r, s->index, full);
	end_event(s);
}

/* The deltas of a text, and the event that repeats it whole. */
static void
text_events(struct streaming *s, const char *kind, const char *more, const char *field,
	struct span text)
{
	const struct mock_script *script = &s->r->x->script;
	char name[80];

	for (int i = 0; i < talk_pieces(script, text); i++) {
		(void)snprintf(name, sizeof name, "response.%s.delta", kind);
		begin_event(s, name);
		put_place(s, more);
		(void)bytes_puts(&event, "\"delta\":");
		(void)bytes_json(&event, talk_piece(script, text, i));
		end_event(s);
	}
	(void)snprintf(name, sizeof name, "response.%s.done", kind);
	begin_event(s, name);
	put_place(s, more);
	(void)bytes_printf(&event, "\"%s\":", field);
	(void)bytes_json(&event, text);
	end_event(s);
}

static void
part_event(struct streaming *s, const char *name, const char *place, const char *type,
	struct span text)
{
	begin_event(s, name);
	put_place(s, place);
	(void)bytes_printf(&event, "\"part\":{\"type\":\"%s\",\"text\":", type);
	(void)bytes_json(&event, text);
	(void)bytes_puts(&event, strcmp(type, "output_text") == 0 ? ",\"annotations\":[]}" : "}");
	end_event(s);
}

static void
stream_item(struct streaming *s)
{
	const struct talk *t = s->r->t;
	struct bytes id = BYTES_LIMIT(64);
	int call = 0;
	enum item kind = item_at(t, s->index, &call);

	put_item_id(&id, t, kind, call);
	(void)snprintf(s->id, sizeof s->id, "%s", id.at);
	bytes_free(&id);
	item_event(s, "response.output_item.added", false);
	if (kind == ITEM_MESSAGE) {
		static const char place[] = "\"content_index\":0,";

		part_event(s, "response.content_part.added", place, "output_text", SPAN_NONE);
		text_events(s, "output_text", "\"content_index\":0,\"logprobs\":[],", "text",
			bytes_span(&t->said));
		part_event(s, "response.content_part.done", place, "output_text",
			bytes_span(&t->said));
	} else if (kind == ITEM_CALL) {
		text_events(s, "function_call_arguments", "", "arguments",
			bytes_span(&t->calls[call].args));
	} else if (s->r->summarises) {
		static const char place[] = "\"summary_index\":0,";

		part_event(s, "response.reasoning_summary_part.added", place, "summary_text",
			SPAN_NONE);
		text_events(s, "reasoning_summary_text", place, "text", bytes_span(&t->thinking));
		part_event(s, "response.reasoning_summary_part.done", place, "summary_text",
			bytes_span(&t->thinking));
	}
	item_event(s, "response.output_item.done", true);
}

static void
response_event(struct streaming *s, const char *name, bool done)
{
	begin_event(s, name);
	(void)bytes_puts(&event, "\"response\":");
	put_response(&event, s->r, done);
	end_event(s);
}

static void
responses_stream(struct mock_exchange *x, const struct reading *r)
{
	struct streaming s = { .r = r };

	mock_stream_begin(x, "text/event-stream; charset=utf-8");
	response_event(&s, "response.created", false);
	response_event(&s, "response.in_progress", false);
	for (; s.index < item_count(r->t); s.index++)
		stream_item(&s);
	response_event(&s,
		r->t->stop == STOP_LENGTH || r->t->stop == STOP_FILTER ? "response.incomplete"
								       : "response.completed",
		true);
	mock_stream_end(x,
		/* nested: the SDK takes a flat one for an event like any other */
		SPAN_LIT(
			"event: error\ndata: {\"type\":\"error\",\"sequence_number\":99,\"error\":{"
			"\"type\":\"server_error\",\"code\":\"server_error\",\"message\":\"The "
			"mock "
			"had an error while processing your request.\",\"param\":null}}\n\n"));
}

void
chat_answer(struct mock_exchange *x, bool responses)
{
	static struct reading r;
	struct json_value request = { JSON_OBJECT, x->body };
	bool stream = talk_get(request, "stream").type == JSON_TRUE;

	r = (struct reading){ .x = x, .t = talk_begin(), .choices = 1 };
	if (!talk_copy(talk_get(request, "model"), r.t->model, sizeof r.t->model))
		(void)snprintf(r.t->model, sizeof r.t->model, "%s",
			x->deployment[0] != '\0' ? x->deployment : "mock");
	r.shows_reasoning = x->dialect == MOCK_OPENROUTER || strstr(r.t->model, "think") != NULL ||
			    strstr(x->deployment, "think") != NULL;
	if (responses ? !read_responses(&r, request) : !read_chat(&r, request))
		return;
	talk_think(r.t, &x->script, "call_mock_%d_%d");
	if (responses && stream) {
		responses_stream(x, &r);
	} else if (responses) {
		body.len = 0;
		put_response(&body, &r, true);
		send_whole(x);
	} else if (stream) {
		chat_stream(x, &r);
	} else {
		chat_whole(x, &r);
	}
}
