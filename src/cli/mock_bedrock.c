/*
 * mock_bedrock.c - the mock's Bedrock: Converse, InvokeModel for Claude (whose messages are in
 * mock_anthropic.c) and for an embedding, count-tokens; streams in event-stream messages, and the
 * text that SAP makes of them.
 */
#include "cli/mock-talk-int.h"

#include "base/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MOST 4096
#define BLOCKS_MOST   256
#define PAYLOAD_BYTES MOCK_OUT_BYTES

#define KNOWN                                                                                      \
	"messages system inferenceConfig toolConfig guardrailConfig additionalModelRequestFields " \
	"promptVariables additionalModelResponseFieldPaths requestMetadata performanceConfig "     \
	"serviceTier outputConfig"

struct reading {
	struct mock_exchange *x;
	struct talk *t;
	bool assistant, has_tools, has_tool_blocks, thinks_on;
	int message, block;
	bool first_is_reasoning, last_has_calls;
};

static struct bytes body = { .limit = MOCK_OUT_BYTES };
static struct bytes event = { .limit = PAYLOAD_BYTES };
static struct bytes framed = { .limit = PAYLOAD_BYTES };

/* ---- event-stream messages ---- */

static void
put_u32(struct bytes *to, uint32_t n)
{
	const unsigned char four[] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16),
		(unsigned char)(n >> 8), (unsigned char)n };

	(void)bytes_add(to, four, sizeof four);
}

static void
put_string_header(struct bytes *to, const char *name, const char *value)
{
	size_t name_len = strlen(name), len = strlen(value);
	const unsigned char begin = (unsigned char)name_len;
	const unsigned char kind[] = { 7, (unsigned char)(len >> 8), (unsigned char)len };

	(void)bytes_add(to, &begin, 1);
	(void)bytes_add(to, name, name_len);
	(void)bytes_add(to, kind, sizeof kind);
	(void)bytes_add(to, value, len);
}

void
mock_eventstream(struct bytes *to, const char *type, const char *name, struct span payload)
{
	struct bytes headers = BYTES_LIMIT(4096);
	size_t start = to->len;

	put_string_header(
		&headers, strcmp(type, "event") == 0 ? ":event-type" : ":exception-type", name);
	put_string_header(&headers, ":content-type", "application/json");
	put_string_header(&headers, ":message-type", type);
	put_u32(to, (uint32_t)(16 + headers.len + payload.len));
	put_u32(to, (uint32_t)headers.len);
	put_u32(to, hash_crc32(to->at + start, 8));
	(void)bytes_add(to, headers.at, headers.len);
	(void)bytes_add(to, payload.at, payload.len);
	put_u32(to, hash_crc32(to->at + start, to->len - start));
	bytes_free(&headers);
}

/* ---- reading ---- */

#define REFUSE(r, fmt, ...)                                                                        \
	(mock_error_printf((r)->x, 400, "The value at messages.%d.content.%d is invalid: " fmt,    \
		 (r)->message, (r)->block, __VA_ARGS__),                                           \
		false)

static bool
read_bytes(struct reading *r, const char *what, const char *type, struct json_value v)
{
	struct json_value format = talk_get(v, "format"), data = talk_get(v, "source.bytes");
	char word[32], media[64];

	if (!talk_copy(format, word, sizeof word) || data.type != JSON_STRING)
		return REFUSE(r, "%s needs format and source.bytes", what);
	if (strcmp(what, "image") == 0 && strcmp(word, "png") != 0 && strcmp(word, "jpeg") != 0 &&
		strcmp(word, "gif") != 0 && strcmp(word, "webp") != 0)
		return REFUSE(r, "image format '%s' is not one of [png, jpeg, gif, webp]", word);
	(void)snprintf(media, sizeof media, "%s/%s", type, word);
	talk_note(r->t, what, media, data.raw);
	return true;
}

static bool
read_document(struct reading *r, struct json_value v)
{
	char name[256];

	if (!talk_copy(talk_get(v, "name"), name, sizeof name) || name[0] == '\0' ||
		name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "
				  "-()[]")] != '\0' ||
		strstr(name, "  ") != NULL)
		return REFUSE(r,
			"The document file name '%s' can only contain alphanumeric characters, "
			"single spaces, hyphens, parentheses and square brackets",
			name);
	if (talk_get(v, "source.text").type == JSON_STRING) {
		(void)bytes_puts(&r->t->notes, " [document text: ");
		talk_hear(&r->t->notes, talk_get(v, "source.text"));
		(void)bytes_puts(&r->t->notes, "]");
		return true;
	}
	return read_bytes(r, "document", "application", v);
}

static bool
read_result(struct reading *r, struct json_value v)
{
	struct json_value parts[BLOCKS_MOST], status = talk_get(v, "status");
	int n = talk_list(talk_get(v, "content"), parts, BLOCKS_MOST);
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);
	const char *name;

	r->has_tool_blocks = true;
	talk_count(r->t, talk_get(v, "content"));
	for (int i = 0; i < n; i++) {
		struct json_value json = talk_get(parts[i], "json");

		talk_hear(&text, talk_get(parts[i], "text"));
		(void)bytes_add(&text, json.raw.at, json.raw.len);
		if (talk_get(parts[i], "image").type == JSON_OBJECT &&
			!read_bytes(r, "image", "image", talk_get(parts[i], "image")))
			return false;
	}
	if (talk_is(status, "error"))
		(void)bytes_puts(&text, "(error)");
	name = talk_hear_result(r->t, talk_get(v, "toolUseId"), bytes_span(&text));
	bytes_free(&text);
	if (name == NULL) {
		mock_error(r->x, 400,
			"The number of toolResult blocks exceeds the number of toolUse blocks of "
			"previous turn.");
		return false;
	}
	return true;
}

static bool
read_reasoning(struct reading *r, struct json_value v)
{
	struct json_value inner = talk_get(v, "reasoningText");
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);
	bool good;

	if (inner.type != JSON_OBJECT)
		return talk_signed("redacted", SPAN_NONE, talk_get(v, "redactedContent")) ||
		       REFUSE(r, "Invalid `%s`", "redactedContent");
	talk_hear(&text, talk_get(inner, "text"));
	good = talk_signed("thinking", bytes_span(&text), talk_get(inner, "signature"));
	bytes_free(&text);
	return good || REFUSE(r, "Invalid `signature` in `%s` block", "thinking");
}

static bool
read_call(struct reading *r, struct json_value v)
{
	char id[TALK_NAME_BYTES];

	if (!talk_copy(talk_get(v, "toolUseId"), id, sizeof id) || strlen(id) > 64 ||
		id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
			      ".:")] != '\0')
		return REFUSE(r, "toolUseId '%s' does not satisfy [a-zA-Z0-9_.:-]{1,64}", id);
	if (talk_get(v, "input").type != JSON_OBJECT)
		return REFUSE(r, "%s",
			"The format of the value at toolUse.input is invalid. Provide a json "
			"object.");
	talk_hear_call(r->t, talk_get(v, "toolUseId"), talk_get(v, "name"));
	talk_count(r->t, talk_get(v, "input"));
	r->last_has_calls = r->has_tool_blocks = true;
	return true;
}

static bool
read_block(struct reading *r, struct json_value b)
{
	struct json_value text = talk_get(b, "text"), v;

	if (r->assistant && r->block == 0)
		r->first_is_reasoning = talk_get(b, "reasoningContent").type == JSON_OBJECT;
	if (text.type == JSON_STRING) {
		struct bytes plain = BYTES_LIMIT(MOCK_OUT_BYTES);
		size_t blank;

		talk_hear(&plain, text);
		blank = plain.len == 0 ? 0 : strspn(plain.at, " \t\r\n");
		if (blank == plain.len) {
			bytes_free(&plain);
			return REFUSE(r,
				"The text field in the ContentBlock object at "
				"messages.%d.content.%d is blank.",
				r->message, r->block);
		}
		if (!r->assistant)
			(void)bytes_printf(
				&r->t->text, "%s%s", r->t->text.len > 0 ? "\n" : "", plain.at);
		talk_count(r->t, text);
		bytes_free(&plain);
		return true;
	}
	if ((v = talk_get(b, "image")).type == JSON_OBJECT)
		return read_bytes(r, "image", "image", v);
	if ((v = talk_get(b, "document")).type == JSON_OBJECT)
		return read_document(r, v);
	if ((v = talk_get(b, "audio")).type == JSON_OBJECT)
		return read_bytes(r, "audio", "audio", v);
	if ((v = talk_get(b, "toolUse")).type == JSON_OBJECT && r->assistant)
		return read_call(r, v);
	if ((v = talk_get(b, "toolResult")).type == JSON_OBJECT && !r->assistant)
		return read_result(r, v);
	if ((v = talk_get(b, "reasoningContent")).type == JSON_OBJECT && r->assistant)
		return read_reasoning(r, v);
	if ((v = talk_get(b, "cachePoint")).type == JSON_OBJECT) {
		r->t->cache_marks = true;
		r->t->cache_hour = r->t->cache_hour || talk_is(talk_get(v, "ttl"), "1h");
		return true;
	}
	return REFUSE(r, "%s",
		"ContentBlock object must set one of the following keys: text, image, "
		"toolUse, toolResult, document, reasoningContent, cachePoint.");
}

static bool
read_message(struct reading *r, struct json_value m)
{
	struct json_value blocks[BLOCKS_MOST];
	int n = talk_list(talk_get(m, "content"), blocks, BLOCKS_MOST);
	bool assistant = talk_is(talk_get(m, "role"), "assistant");

	if (!assistant && !talk_is(talk_get(m, "role"), "user")) {
		mock_error(r->x, 400,
			"Value at 'messages.role' must satisfy enum value set: [user, assistant]");
		return false;
	}
	if ((r->message == 0 && assistant) || (r->message > 0 && assistant == r->assistant)) {
		mock_error(r->x, 400,
			r->message == 0
				? "A conversation must start with a user message. Try again "
				  "with a conversation that starts with a user message."
				: "A conversation must alternate between user and assistant "
				  "roles. Make sure the conversation alternates between user "
				  "and assistant roles and try again.");
		return false;
	}
	if (n == 0) {
		mock_error_printf(r->x, 400,
			"The content field in the Message object at messages.%d "
			"is empty.",
			r->message);
		return false;
	}
	r->assistant = assistant;
	if (assistant) {
		talk_answer_turn(r->t);
		r->t->pending_count = 0;
		r->last_has_calls = r->first_is_reasoning = false;
	}
	for (r->block = 0; r->block < n; r->block++)
		if (!read_block(r, blocks[r->block]))
			return false;
	if (!assistant && talk_unanswered(r->t) != NULL) {
		mock_error_printf(r->x, 400,
			"messages.%d: Expected toolResult blocks at messages.%d.content for the "
			"following Ids: %s",
			r->message, r->message, talk_unanswered(r->t));
		return false;
	}
	return true;
}

static bool
read_tools(struct reading *r, struct json_value config)
{
	struct json_value tools[TALK_TOOLS_MOST], choice = talk_get(config, "toolChoice");
	int n = talk_list(talk_get(config, "tools"), tools, TALK_TOOLS_MOST);

	if (config.type == JSON_OBJECT && n == 0) {
		mock_error(r->x, 400, "The value at toolConfig.tools must have at least 1 member.");
		return false;
	}
	r->has_tools = n > 0;
	for (int i = 0; i < n; i++) {
		struct json_value spec = talk_get(tools[i], "toolSpec");
		struct json_value schema = talk_get(spec, "inputSchema.json");

		if (talk_get(tools[i], "cachePoint").type == JSON_OBJECT) {
			r->t->cache_marks = true;
			continue;
		}
		if (schema.type != JSON_OBJECT || talk_is(talk_get(spec, "description"), "")) {
			mock_error_printf(r->x, 400,
				"The value at toolConfig.tools.%d.toolSpec is invalid: "
				"inputSchema.json "
				"is needed, and a description must not be empty.",
				i);
			return false;
		}
		talk_hear_tool(r->t, talk_get(spec, "name"), schema);
	}
	r->t->calls_must = talk_get(choice, "any").type == JSON_OBJECT;
	(void)talk_copy(talk_get(choice, "tool.name"), r->t->only, sizeof r->t->only);
	return true;
}

static bool
read_wishes(struct reading *r, struct json_value request)
{
	struct json_value more = talk_get(request, "additionalModelRequestFields"),
			  thinking = talk_get(more, "thinking"),
			  limits = talk_get(request, "inferenceConfig"),
			  schema = talk_get(
				  request, "outputConfig.textFormat.structure.jsonSchema.schema");
	const char *unknown = talk_unknown(limits, "maxTokens temperature topP stopSequences");
	static struct bytes text = { .limit = MOCK_OUT_BYTES };
	int64_t budget = 0;

	if (unknown != NULL) {
		mock_error_printf(r->x, 400,
			"inferenceConfig: extraneous key [%s] is not permitted", unknown);
		return false;
	}
	(void)json_int(talk_get(limits, "maxTokens"), &r->t->most_output);
	talk_hear_stops(r->t, talk_get(limits, "stopSequences"));
	if (thinking.type == JSON_OBJECT && !talk_is(talk_get(thinking, "type"), "disabled")) {
		r->t->thinks = true;
		(void)json_int(talk_get(thinking, "budget_tokens"), &budget);
		if (talk_is(talk_get(thinking, "type"), "enabled") && budget < 1024) {
			mock_error(r->x, 400,
				"thinking.enabled.budget_tokens: Input should be greater than or "
				"equal to 1024");
			return false;
		}
		if (budget > 0 && r->t->most_output > 0 && budget >= r->t->most_output) {
			mock_error(r->x, 400,
				"`max_tokens` must be greater than `thinking.budget_tokens`.");
			return false;
		}
		if (talk_get(limits, "temperature").type == JSON_NUMBER &&
			!span_is(talk_get(limits, "temperature").raw, "1")) {
			mock_error(r->x, 400,
				"`temperature` may only be set to 1 when thinking is enabled.");
			return false;
		}
	}
	if (schema.type == JSON_STRING) {
		text.len = 0;
		talk_hear(&text, schema);
		if (!json_valid(bytes_span(&text))) {
			mock_error(r->x, 400, "outputConfig: the schema is not valid JSON");
			return false;
		}
		r->t->json = true;
		r->t->schema = bytes_span(&text);
	}
	return true;
}

static bool
read_request(struct reading *r, struct json_value request)
{
	static struct json_value messages[MESSAGES_MOST];
	struct json_value system[BLOCKS_MOST];
	const char *unknown = talk_unknown(request, KNOWN);
	int n = talk_list(talk_get(request, "messages"), messages, MESSAGES_MOST);
	int systems = talk_list(talk_get(request, "system"), system, BLOCKS_MOST);

	if (unknown != NULL || n == 0) {
		mock_error_printf(r->x, 400,
			unknown != NULL ? "Malformed input request: #: extraneous key [%s] is not "
					  "permitted, please reformat your input and try again."
					: "The value at messages must not be empty%s.",
			unknown != NULL ? unknown : "");
		return false;
	}
	for (int i = 0; i < systems; i++) {
		struct json_value text = talk_get(system[i], "text");

		if (text.type != JSON_STRING) {
			r->t->cache_marks = true;
			continue;
		}
		if (r->t->system.len > 0)
			(void)bytes_puts(&r->t->system, "\n\n");
		talk_hear(&r->t->system, text);
		talk_count(r->t, text);
	}
	if (!read_tools(r, talk_get(request, "toolConfig")) || !read_wishes(r, request))
		return false;
	for (; r->message < n; r->message++)
		if (!read_message(r, messages[r->message]))
			return false;
	if (r->has_tool_blocks && !r->has_tools) {
		mock_error(r->x, 400,
			"The toolConfig field must be defined when using toolUse and toolResult "
			"content "
			"blocks.");
		return false;
	}
	if (r->t->thinks && r->last_has_calls && !r->assistant && r->t->results.len > 0 &&
		!r->first_is_reasoning) {
		mock_error(r->x, 400,
			"Expected `thinking` or `redacted_thinking`, but found `tool_use`. When "
			"`thinking` is enabled, a final `assistant` message must start with a "
			"thinking "
			"block.");
		return false;
	}
	return true;
}

/* ---- writing ---- */

static const char *
stop_reason(const struct talk *t)
{
	static const char *const reasons[] = { [STOP_END] = "end_turn",
		[STOP_LENGTH] = "max_tokens",
		[STOP_SEQUENCE] = "stop_sequence",
		[STOP_CALLS] = "tool_use",
		[STOP_FILTER] = "content_filtered" };

	return reasons[t->stop];
}

static void
put_usage(struct bytes *b, const struct talk *t)
{
	int64_t written = t->cache_write_5m + t->cache_write_1h;

	(void)bytes_printf(b,
		"\"usage\":{\"inputTokens\":%lld,\"outputTokens\":%lld,\"totalTokens\":%lld,"
		"\"cacheReadInputTokens\":%lld,\"cacheWriteInputTokens\":%lld",
		(long long)t->input, (long long)t->output,
		(long long)(t->input + t->cache_read + written + t->output),
		(long long)t->cache_read, (long long)written);
	if (written > 0)
		(void)bytes_printf(b, ",\"cacheDetails\":[{\"ttl\":\"%s\",\"inputTokens\":%lld}]",
			t->cache_hour ? "1h" : "5m", (long long)written);
	(void)bytes_puts(b, "},\"metrics\":{\"latencyMs\":12}");
}

static void
put_content(struct bytes *b, const struct talk *t)
{
	const char *comma = "";
	char signature[64];

	if (t->thinks) {
		talk_sign("thinking", bytes_span(&t->thinking), signature);
		(void)bytes_puts(b, "{\"reasoningContent\":{\"reasoningText\":{\"text\":");
		(void)bytes_json(b, bytes_span(&t->thinking));
		(void)bytes_printf(b, ",\"signature\":\"%s\"}}}", signature);
		comma = ",";
	}
	if (t->said.len > 0) {
		(void)bytes_printf(b, "%s{\"text\":", comma);
		(void)bytes_json(b, bytes_span(&t->said));
		(void)bytes_puts(b, "}");
		comma = ",";
	}
	for (int i = 0; i < t->call_count; i++) {
		const struct talk_call *c = &t->calls[i];

		(void)bytes_printf(b,
			"%s{\"toolUse\":{\"toolUseId\":\"%s\",\"name\":\"%s\",\"input\":%s}}",
			comma, c->id, c->name, c->args.at);
		comma = ",";
	}
}

static void
answer_whole(struct mock_exchange *x, const struct talk *t)
{
	body.len = 0;
	(void)bytes_puts(&body, "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[");
	if (x->script.fault != MOCK_BADJSON) {
		put_content(&body, t);
		(void)bytes_printf(&body, "]}},\"stopReason\":\"%s\",", stop_reason(t));
		put_usage(&body, t);
		(void)bytes_puts(&body, "}");
	}
	mock_reply(x, 200, "application/json", bytes_span(&body));
	if (x->script.fault == MOCK_CUT) {
		x->out->len -= 20;
		x->cut = true;
	}
}

/* ---- streams ---- */

/* A string as Python's repr() writes it. */
static void
put_python_string(struct bytes *to, struct json_value string)
{
	struct bytes text = BYTES_LIMIT(PAYLOAD_BYTES);
	char quote = '\'';

	talk_hear(&text, string);
	if (text.len > 0 && memchr(text.at, '\'', text.len) != NULL &&
		memchr(text.at, '"', text.len) == NULL)
		quote = '"';
	(void)bytes_add(to, &quote, 1);
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];

		if (c == quote || c == '\\')
			(void)bytes_printf(to, "\\%c", c);
		else if (c == '\n')
			(void)bytes_puts(to, "\\n");
		else if (c == '\r')
			(void)bytes_puts(to, "\\r");
		else if (c == '\t')
			(void)bytes_puts(to, "\\t");
		else if ((unsigned char)c < 0x20)
			(void)bytes_printf(to, "\\x%02x", (unsigned char)c);
		else
			(void)bytes_add(to, &c, 1);
	}
	(void)bytes_add(to, &quote, 1);
	bytes_free(&text);
}

static size_t
string_end(struct span json, size_t at)
{
	for (at++; at < json.len && json.at[at] != '"'; at++)
		if (json.at[at] == '\\')
			at++;
	return at + 1;
}

static void
put_python(struct bytes *to, struct span json)
{
	static const char *const words[][2] = { { "true", "True" }, { "false", "False" },
		{ "null", "None" } };

	for (size_t i = 0; i < json.len;) {
		struct span rest = { json.at + i, json.len - i };
		bool word = false;

		if (json.at[i] == '"') {
			size_t end = string_end(json, i);

			put_python_string(
				to, (struct json_value){ JSON_STRING, { json.at + i, end - i } });
			i = end;
			continue;
		}
		for (size_t w = 0; w < 3 && !word; w++)
			if (span_starts(rest, words[w][0])) {
				(void)bytes_puts(to, words[w][1]);
				i += strlen(words[w][0]);
				word = true;
			}
		if (word)
			continue;
		(void)bytes_add(to, json.at + i, 1);
		if (json.at[i] == ':' || json.at[i] == ',')
			(void)bytes_puts(to, " ");
		i++;
	}
}

struct streaming {
	struct mock_exchange *x;
	enum mock_frame frame;
	int index;
};

/* What `event` holds, in the frame of whoever carries it: SAP's has the event's name around it. */
static void
emit(struct streaming *s, const char *name)
{
	framed.len = 0;
	if (s->frame == FRAME_BINARY) {
		event.len--; /* its last bracket: padding stands in front of it */
		(void)bytes_puts(
			&event, event.len > 1 ? ",\"p\":\"abcdefgh\"}" : "\"p\":\"abcdefgh\"}");
		mock_eventstream(&framed, "event", name, bytes_span(&event));
	} else {
		struct bytes whole = BYTES_LIMIT(PAYLOAD_BYTES);

		(void)bytes_printf(&whole, "{\"%s\":%s}", name, event.at);
		(void)bytes_puts(&framed, "data: ");
		if (s->x->script.python)
			put_python(&framed, bytes_span(&whole));
		else
			(void)bytes_add(&framed, whole.at, whole.len);
		(void)bytes_puts(&framed, "\n\n");
		bytes_free(&whole);
	}
	mock_stream_piece(s->x, bytes_span(&framed));
	event.len = 0;
}

/* before and after: the JSON around the text. */
static void
deltas(struct streaming *s, const char *before, struct span text, const char *after)
{
	int n = talk_pieces(&s->x->script, text);

	for (int i = 0; i < n; i++) {
		(void)bytes_printf(
			&event, "{\"contentBlockIndex\":%d,\"delta\":{%s", s->index, before);
		(void)bytes_json(&event, talk_piece(&s->x->script, text, i));
		(void)bytes_printf(&event, "%s}}", after);
		emit(s, "contentBlockDelta");
	}
}

static void
end_block(struct streaming *s)
{
	(void)bytes_printf(&event, "{\"contentBlockIndex\":%d}", s->index++);
	emit(s, "contentBlockStop");
}

static void
stream_blocks(struct streaming *s, const struct talk *t)
{
	char signature[64];

	if (t->thinks) {
		talk_sign("thinking", bytes_span(&t->thinking), signature);
		deltas(s, "\"reasoningContent\":{\"text\":", bytes_span(&t->thinking), "}");
		(void)bytes_printf(&event,
			"{\"contentBlockIndex\":%d,\"delta\":{\"reasoningContent\":{\"signature\":"
			"\"%s\"}}}",
			s->index, signature);
		emit(s, "contentBlockDelta");
		end_block(s);
	}
	if (t->said.len > 0) {
		deltas(s, "\"text\":", bytes_span(&t->said), "");
		end_block(s);
	}
	for (int i = 0; i < t->call_count; i++) {
		const struct talk_call *c = &t->calls[i];

		(void)bytes_printf(&event,
			"{\"contentBlockIndex\":%d,\"start\":{\"toolUse\":{\"toolUseId\":\"%s\","
			"\"name\":\"%s\"}}}",
			s->index, c->id, c->name);
		emit(s, "contentBlockStart");
		deltas(s, "\"toolUse\":{\"input\":", bytes_span(&c->args), "}");
		end_block(s);
	}
}

static void
answer_stream(struct mock_exchange *x, const struct talk *t, enum mock_frame frame)
{
	struct streaming s = { x, frame, 0 };

	mock_stream_begin(x,
		frame == FRAME_BINARY ? "application/vnd.amazon.eventstream" : "text/event-stream");
	event.len = 0;
	(void)bytes_puts(&event, "{\"role\":\"assistant\"}");
	emit(&s, "messageStart");
	stream_blocks(&s, t);
	(void)bytes_printf(&event, "{\"stopReason\":\"%s\"}", stop_reason(t));
	emit(&s, "messageStop");
	(void)bytes_puts(&event, "{");
	put_usage(&event, t);
	(void)bytes_puts(&event, "}");
	emit(&s, "metadata");
	framed.len = 0;
	if (frame == FRAME_BINARY)
		mock_eventstream(&framed, "exception", "serviceUnavailableException",
			SPAN_LIT("{\"message\":\"Bedrock is unable to process your request.\"}"));
	else
		(void)bytes_puts(&framed,
			"data: {\"serviceUnavailableException\":{\"message\":\"Bedrock is unable "
			"to "
			"process your request.\"}}\n\n");
	mock_stream_end(x, bytes_span(&framed));
}

/* ---- the operations ---- */

/* Binary, but for SAP, which makes text of it unless asked for the frames. */
static enum mock_frame
frame_for(const struct mock_exchange *x)
{
	return !x->sap || span_is(mock_header(x, "accept"), "application/vnd.amazon.eventstream")
		       ? FRAME_BINARY
		       : FRAME_DATA;
}

static bool
read_converse(
	struct mock_exchange *x, struct reading *r, struct json_value request, const char *model)
{
	*r = (struct reading){ .x = x, .t = talk_begin() };
	(void)snprintf(r->t->model, sizeof r->t->model, "%s", model);
	if (!read_request(r, request))
		return false;
	talk_think(r->t, &x->script, "tooluse_mock_%d_%d");
	return true;
}

static void
answer_count(struct mock_exchange *x, struct json_value request, const char *model)
{
	static struct reading r;
	struct json_value converse = talk_get(request, "input.converse"),
			  invoke = talk_get(request, "input.invokeModel.body");
	int64_t n = (int64_t)invoke.raw.len * 3 / 16 + 1;

	if (converse.type == JSON_OBJECT) {
		if (!read_converse(x, &r, converse, model))
			return;
		n = r.t->input + r.t->cache_read + r.t->cache_write_5m + r.t->cache_write_1h;
	} else if (invoke.type != JSON_STRING) {
		mock_error(x, 400, "input must be converse or invokeModel.");
		return;
	}
	body.len = 0;
	(void)bytes_printf(&body, "{\"inputTokens\":%lld}", (long long)n);
	mock_reply(x, 200, "application/json", bytes_span(&body));
}

/* Titan's way of embedding. */
static void
answer_embedding(struct mock_exchange *x, struct json_value request)
{
	struct json_value text = talk_get(request, "inputText");

	if (text.type != JSON_STRING) {
		mock_error(
			x, 400, "Malformed input request: #: required key [inputText] not found");
		return;
	}
	body.len = 0;
	(void)bytes_printf(&body,
		"{\"embedding\":[0.0625,0.125,0.1875,0.25,0.3125,0.375,0.4375,0.5],"
		"\"inputTextTokenCount\":%lld}",
		(long long)(text.raw.len + 1) / 4);
	mock_reply(x, 200, "application/json", bytes_span(&body));
}

static void
answer_converse(struct mock_exchange *x, struct json_value request, const char *model, bool stream)
{
	static struct reading r;

	if (!read_converse(x, &r, request, model))
		return;
	if (stream)
		answer_stream(x, r.t, frame_for(x));
	else
		answer_whole(x, r.t);
}

void
bedrock_answer(struct mock_exchange *x, const char *model, struct span operation)
{
	struct json_value request = { JSON_OBJECT, x->body };
	bool stream;

	if (!span_is(x->method, "POST") || operation.len == 0) {
		x->exception = "UnknownOperationException";
		mock_reply(x, 404, "application/json",
			SPAN_LIT("{\"message\":\"Unknown operation\"}"));
		return;
	}
	if (mock_error_scripted(x))
		return;
	if (x->body.len == 0 || x->body.at[0] != '{' || !json_valid(x->body)) {
		x->exception = "SerializationException";
		mock_reply(x, 400, "application/json",
			SPAN_LIT("{\"message\":\"The body is not JSON\"}"));
		return;
	}
	stream = span_is(operation, "converse-stream") ||
		 span_is(operation, "invoke-with-response-stream");
	if (span_starts(operation, "converse"))
		answer_converse(x, request, model, stream);
	else if (span_is(operation, "count-tokens"))
		answer_count(x, request, model);
	else if (strstr(model, "embed") != NULL)
		answer_embedding(x, request);
	else if (span_starts(operation, "invoke"))
		anthropic_invoke(x, model, stream, frame_for(x));
	else
		mock_error(x, 404, NULL);
}
