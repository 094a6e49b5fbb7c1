/*
 * mock_anthropic.c - the mock's Anthropic: messages, count_tokens, models; and the same messages as
 * Bedrock, SAP and Google's platform carry them.  Requests are held to what the real one refuses.
 */
#include "cli/mock-talk-int.h"

#include <stdio.h>
#include <string.h>

#define MESSAGES_MOST 4096
#define BLOCKS_MOST   256
#define EVENT_BYTES   MOCK_OUT_BYTES

#define KNOWN                                                                                      \
	"model max_tokens messages system stop_sequences stream temperature top_p top_k tools "    \
	"tool_choice thinking output_config metadata service_tier cache_control container "        \
	"inference_geo speed diagnostics context_management mcp_servers"
#define KNOWN_INVOKE                                                                               \
	"anthropic_version anthropic_beta max_tokens messages system stop_sequences temperature "  \
	"top_p top_k tools tool_choice thinking output_config metadata context_management"
#define KNOWN_COUNT                                                                                \
	"model messages system tools tool_choice thinking output_config cache_control speed"

struct reading {
	struct mock_exchange *x;
	struct talk *t;
	bool assistant, thinking_on, platform; /* platform: not Anthropic's own host */
	int message, block;
	char first_type[32]; /* of the last assistant turn's first block */
	int last_assistant;
	bool last_has_calls;
	char seen[TALK_TOOLS_MOST][TALK_NAME_BYTES]; /* ids of all calls */
	int seen_count;
};

static struct bytes body = { .limit = MOCK_OUT_BYTES };

/* ---- reading ---- */

#define REFUSE(r, fmt, ...)                                                                        \
	(mock_error_printf((r)->x, 400, "messages.%d.content.%d" fmt, (r)->message, (r)->block,    \
		 __VA_ARGS__),                                                                     \
		false)

static void
see_cache(struct talk *t, struct json_value v)
{
	struct json_value mark = talk_get(v, "cache_control");

	if (mark.type != JSON_OBJECT)
		return;
	t->cache_marks = true;
	if (talk_is(talk_get(mark, "ttl"), "1h"))
		t->cache_hour = true;
}

static bool
read_media(struct reading *r, struct json_value b, const char *what)
{
	struct json_value source = talk_get(b, "source"), data = talk_get(source, "data");
	char type[64] = "", media[64] = "";

	(void)talk_copy(talk_get(source, "type"), type, sizeof type);
	(void)talk_copy(talk_get(source, "media_type"), media, sizeof media);
	if (strcmp(type, "url") == 0) {
		if (r->platform)
			return REFUSE(r, ".%s.source: URL sources are not supported", what);
		(void)bytes_printf(&r->t->notes, " [%s by url]", what);
	} else if (strcmp(type, "text") == 0) {
		(void)bytes_printf(&r->t->notes, " [%s %s: ", what, media);
		talk_hear(&r->t->notes, data);
		(void)bytes_puts(&r->t->notes, "]");
		talk_count(r->t, data);
	} else if (strcmp(type, "base64") == 0 && media[0] != '\0' && data.raw.len > 2) {
		if (strcmp(what, "image") == 0 && strcmp(media, "image/png") != 0 &&
			strcmp(media, "image/jpeg") != 0 && strcmp(media, "image/gif") != 0 &&
			strcmp(media, "image/webp") != 0)
			return REFUSE(r,
				".image.source.base64.media_type: Input should be 'image/jpeg', "
				"'image/png', 'image/gif' or 'image/webp' (not %s)",
				media);
		talk_note(r->t, what, media, data.raw);
	} else {
		return REFUSE(r, ".%s.source: Field required", what);
	}
	return true;
}

static bool
read_call(struct reading *r, struct json_value b)
{
	struct json_value id = talk_get(b, "id");
	char text[TALK_NAME_BYTES];

	if (!talk_copy(id, text, sizeof text) ||
		text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				  "_-")] != '\0')
		return REFUSE(
			r, ".tool_use.id: String should match pattern '%s'", "^[a-zA-Z0-9_-]+$");
	if (talk_get(b, "input").type != JSON_OBJECT)
		return REFUSE(r, ".tool_use.input: %s", "Input should be a valid dictionary");
	for (int i = 0; i < r->seen_count; i++)
		if (strcmp(r->seen[i], text) == 0)
			return REFUSE(r, ": `tool_use` ids must be unique%s", "");
	if (r->seen_count < TALK_TOOLS_MOST)
		(void)snprintf(r->seen[r->seen_count++], TALK_NAME_BYTES, "%s", text);
	talk_hear_call(r->t, id, talk_get(b, "name"));
	talk_count(r->t, talk_get(b, "input"));
	r->last_has_calls = true;
	return true;
}

static bool
read_result(struct reading *r, struct json_value b)
{
	struct json_value content = talk_get(b, "content"), parts[BLOCKS_MOST];
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);
	int n = talk_list(content, parts, BLOCKS_MOST);
	const char *name;

	talk_hear(&text, content);
	talk_count(r->t, content);
	for (int i = 0; i < n; i++) {
		if (talk_is(talk_get(parts[i], "type"), "text"))
			talk_hear(&text, talk_get(parts[i], "text"));
		else if (!read_media(r, parts[i], "image"))
			return false;
	}
	if (talk_get(b, "is_error").type == JSON_TRUE)
		(void)bytes_puts(&text, "(error)");
	name = talk_hear_result(r->t, talk_get(b, "tool_use_id"), bytes_span(&text));
	bytes_free(&text);
	if (name == NULL)
		return REFUSE(r,
			": unexpected `tool_use_id` found in `tool_result` blocks: %.*s. Each "
			"`tool_result` block must have a corresponding `tool_use` block in the "
			"previous message.",
			(int)talk_get(b, "tool_use_id").raw.len, talk_get(b, "tool_use_id").raw.at);
	return true;
}

static bool
read_thinking(struct reading *r, struct json_value b)
{
	struct json_value thinking = talk_get(b, "thinking"), signature = talk_get(b, "signature");
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);
	bool good;

	if (signature.type != JSON_STRING)
		return REFUSE(r, ".thinking.signature: %s", "Field required");
	talk_hear(&text, thinking);
	good = talk_signed("thinking", bytes_span(&text), signature);
	bytes_free(&text);
	if (!good)
		return REFUSE(r, ": Invalid `signature` in `%s` block", "thinking");
	return true;
}

static bool
read_block(struct reading *r, struct json_value b)
{
	struct json_value text = talk_get(b, "text");
	char type[32];

	see_cache(r->t, b);
	if (!talk_copy(talk_get(b, "type"), type, sizeof type))
		return REFUSE(r, ".type: %s", "Field required");
	if (r->assistant && r->block == 0)
		memcpy(r->first_type, type, sizeof type);
	if (strcmp(type, "text") == 0) {
		if (text.type != JSON_STRING || text.raw.len == 2)
			return REFUSE(r, ": text content blocks must be %s", "non-empty");
		if (!r->assistant && r->t->text.len > 0)
			(void)bytes_puts(&r->t->text, "\n");
		if (!r->assistant)
			talk_hear(&r->t->text, text);
		talk_count(r->t, text);
		return true;
	}
	if (strcmp(type, "redacted_thinking") == 0)
		return talk_signed("redacted", SPAN_NONE, talk_get(b, "data")) ||
		       REFUSE(r, ": Invalid `data` in `%s` block", type);
	if (strcmp(type, "thinking") == 0 && r->assistant)
		return read_thinking(r, b);
	if (strcmp(type, "tool_use") == 0 && r->assistant)
		return read_call(r, b);
	if (strcmp(type, "tool_result") == 0 && !r->assistant)
		return read_result(r, b);
	if (strcmp(type, "image") == 0 || strcmp(type, "document") == 0)
		return read_media(r, b, type);
	return REFUSE(r,
		": Input tag '%s' found using 'type' does not match any of the expected tags",
		type);
}

/* Every call of the last answer must have its result by now. */
static bool
all_answered(struct reading *r)
{
	const char *id = talk_unanswered(r->t);

	if (id == NULL)
		return true;
	mock_error_printf(r->x, 400,
		"messages.%d: `tool_use` ids were found without `tool_result` blocks immediately "
		"after: %s. Each `tool_use` block must have a corresponding `tool_result` block in "
		"the next message.",
		r->message, id);
	return false;
}

static bool
read_message(struct reading *r, struct json_value m)
{
	struct json_value content = talk_get(m, "content"), blocks[BLOCKS_MOST];
	bool assistant = talk_is(talk_get(m, "role"), "assistant");
	int n;

	if (!assistant && !talk_is(talk_get(m, "role"), "user")) {
		mock_error_printf(r->x, 400,
			"messages.%d.role: Input should be 'user' or 'assistant'", r->message);
		return false;
	}
	if (assistant && !r->assistant) {
		if (!all_answered(r))
			return false;
		talk_answer_turn(r->t);
		r->t->pending_count = 0;
		r->last_assistant = r->message;
		r->last_has_calls = false;
		r->first_type[0] = '\0';
	}
	r->assistant = assistant;
	r->block = 0;
	if (content.type == JSON_STRING) {
		if (content.raw.len == 2)
			return REFUSE(r, ": text content blocks must be %s", "non-empty");
		if (!assistant && r->t->text.len > 0)
			(void)bytes_puts(&r->t->text, "\n");
		if (!assistant)
			talk_hear(&r->t->text, content);
		talk_count(r->t, content);
		return true;
	}
	n = talk_list(content, blocks, BLOCKS_MOST);
	for (; r->block < n; r->block++)
		if (!read_block(r, blocks[r->block]))
			return false;
	return true;
}

static void
read_system(struct talk *t, struct json_value system)
{
	struct json_value blocks[BLOCKS_MOST];
	int n = talk_list(system, blocks, BLOCKS_MOST);

	talk_hear(&t->system, system);
	talk_count(t, system);
	for (int i = 0; i < n; i++) {
		if (i > 0)
			(void)bytes_puts(&t->system, "\n\n");
		talk_hear(&t->system, talk_get(blocks[i], "text"));
		see_cache(t, blocks[i]);
	}
}

static bool
read_tools(struct reading *r, struct json_value request)
{
	struct json_value tools[TALK_TOOLS_MOST], choice = talk_get(request, "tool_choice"),
						  type = talk_get(choice, "type");
	int n = talk_list(talk_get(request, "tools"), tools, TALK_TOOLS_MOST);

	for (int i = 0; i < n; i++) {
		struct json_value schema = talk_get(tools[i], "input_schema");
		struct json_value kind = talk_get(tools[i], "type");

		see_cache(r->t, tools[i]);
		if (kind.type == JSON_STRING && !talk_is(kind, "custom"))
			continue;
		if (schema.type != JSON_OBJECT || !talk_is(talk_get(schema, "type"), "object")) {
			mock_error_printf(
				r->x, 400, "tools.%d.custom.input_schema.type: Field required", i);
			return false;
		}
		talk_hear_tool(r->t, talk_get(tools[i], "name"), schema);
	}
	if (choice.type == JSON_OBJECT && n == 0) {
		mock_error(r->x, 400, "tool_choice may only be specified while providing tools.");
		return false;
	}
	r->t->calls_none = talk_is(type, "none");
	r->t->calls_must = talk_is(type, "any");
	if (talk_is(type, "tool"))
		(void)talk_copy(talk_get(choice, "name"), r->t->only, sizeof r->t->only);
	r->t->calls_one = talk_get(choice, "disable_parallel_tool_use").type == JSON_TRUE;
	return true;
}

static bool
read_thinking_wish(struct reading *r, struct json_value request)
{
	struct json_value thinking = talk_get(request, "thinking"),
			  type = talk_get(thinking, "type");
	int64_t budget = 0;

	if (thinking.type != JSON_OBJECT || talk_is(type, "disabled"))
		return true;
	r->thinking_on = r->t->thinks = true;
	r->t->thinks_hidden = talk_is(talk_get(thinking, "display"), "omitted");
	if (talk_is(type, "enabled") &&
		(json_int(talk_get(thinking, "budget_tokens"), &budget) != 0 || budget < 1024)) {
		mock_error(r->x, 400,
			"thinking.enabled.budget_tokens: Input should be greater than or equal to "
			"1024");
		return false;
	}
	if (budget >= r->t->most_output && budget > 0) {
		mock_error(
			r->x, 400, "`max_tokens` must be greater than `thinking.budget_tokens`.");
		return false;
	}
	if (r->t->calls_must || r->t->only[0] != '\0') {
		mock_error(
			r->x, 400, "Thinking may not be enabled when tool_choice forces tool use.");
		return false;
	}
	return true;
}

static bool
read_sampling(struct reading *r, struct json_value request)
{
	struct json_value temperature = talk_get(request, "temperature"),
			  top_p = talk_get(request, "top_p");
	int64_t one = 0;

	if (temperature.type == JSON_NUMBER && top_p.type == JSON_NUMBER) {
		mock_error(r->x, 400,
			"`temperature` and `top_p` cannot both be specified for this model. Please "
			"use only one.");
		return false;
	}
	if (r->thinking_on && temperature.type == JSON_NUMBER &&
		(json_int(temperature, &one) != 0 || one != 1)) {
		mock_error(
			r->x, 400, "`temperature` may only be set to 1 when thinking is enabled.");
		return false;
	}
	return true;
}

static bool
read_request(struct reading *r, struct json_value request, const char *known, bool counts)
{
	static struct json_value messages[MESSAGES_MOST];
	struct json_value format = talk_get(request, "output_config.format");
	const char *unknown = talk_unknown(request, known);
	int n = talk_list(talk_get(request, "messages"), messages, MESSAGES_MOST);

	if (unknown != NULL) {
		mock_error_printf(r->x, 400, "%s: Extra inputs are not permitted", unknown);
		return false;
	}
	if (!counts && (json_int(talk_get(request, "max_tokens"), &r->t->most_output) != 0 ||
			       r->t->most_output < 0)) {
		mock_error(r->x, 400, "max_tokens: Field required");
		return false;
	}
	if (n == 0) {
		mock_error(r->x, 400, "messages: at least one message is required");
		return false;
	}
	read_system(r->t, talk_get(request, "system"));
	talk_hear_stops(r->t, talk_get(request, "stop_sequences"));
	see_cache(r->t, request);
	if (format.type == JSON_OBJECT) {
		r->t->json = true;
		r->t->schema = talk_get(format, "schema").raw;
	}
	if (!read_tools(r, request) || !read_thinking_wish(r, request) ||
		!read_sampling(r, request))
		return false;
	for (r->last_assistant = -1; r->message < n; r->message++)
		if (!read_message(r, messages[r->message]))
			return false;
	if (!all_answered(r))
		return false;
	if (r->thinking_on && r->last_has_calls && !r->assistant && r->t->results.len > 0 &&
		strstr(r->first_type, "thinking") == NULL) {
		mock_error_printf(r->x, 400,
			"messages.%d.content.0.type: Expected `thinking` or `redacted_thinking`, "
			"but "
			"found `%s`. When `thinking` is enabled, a final `assistant` message must "
			"start with a thinking block.",
			r->last_assistant, r->first_type);
		return false;
	}
	return true;
}

/* ---- writing ---- */

static void
put_usage(struct bytes *b, const struct talk *t, bool start)
{
	(void)bytes_printf(b,
		"{\"input_tokens\":%lld,\"cache_creation_input_tokens\":%lld,"
		"\"cache_read_input_tokens\":%lld,\"cache_creation\":{"
		"\"ephemeral_5m_input_tokens\":%lld,\"ephemeral_1h_input_tokens\":%lld},",
		(long long)t->input, (long long)(t->cache_write_5m + t->cache_write_1h),
		(long long)t->cache_read, (long long)t->cache_write_5m,
		(long long)t->cache_write_1h);
	if (start)
		(void)bytes_puts(b, "\"output_tokens\":1,\"service_tier\":\"standard\"}");
	else
		(void)bytes_printf(b,
			"\"output_tokens\":%lld,\"output_tokens_details\":{\"thinking_tokens\":%"
			"lld},"
			"\"server_tool_use\":null,\"service_tier\":\"standard\"}",
			(long long)t->output, (long long)t->reasoning);
}

static void
put_stop(struct bytes *b, const struct talk *t)
{
	static const char *const reasons[] = { [STOP_END] = "end_turn",
		[STOP_LENGTH] = "max_tokens",
		[STOP_SEQUENCE] = "stop_sequence",
		[STOP_CALLS] = "tool_use",
		[STOP_FILTER] = "refusal" };

	(void)bytes_printf(b, "\"stop_reason\":\"%s\",\"stop_sequence\":", reasons[t->stop]);
	if (t->stop == STOP_SEQUENCE)
		(void)bytes_json(b, span_of(t->stopped_by));
	else
		(void)bytes_puts(b, "null");
}

static void
sign_thinking(const struct talk *t, char signature[64])
{
	talk_sign("thinking", t->thinks_hidden ? SPAN_NONE : bytes_span(&t->thinking), signature);
}

static bool
redacts(const struct talk *t)
{
	return t->thinks && t->text.len > 0 && memmem(t->text.at, t->text.len, "redact", 6) != NULL;
}

static void
put_head(struct bytes *b, const struct talk *t)
{
	(void)bytes_puts(
		b, "{\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
	(void)bytes_json(b, span_of(t->model));
	(void)bytes_puts(b, ",\"content\":[");
}

static void
put_content(struct bytes *b, const struct talk *t)
{
	char signature[64];
	const char *comma = "";

	if (t->thinks) {
		sign_thinking(t, signature);
		(void)bytes_puts(b, "{\"type\":\"thinking\",\"thinking\":");
		(void)bytes_json(b, t->thinks_hidden ? SPAN_NONE : bytes_span(&t->thinking));
		(void)bytes_printf(b, ",\"signature\":\"%s\"}", signature);
		comma = ",";
	}
	if (redacts(t)) {
		talk_sign("redacted", SPAN_NONE, signature);
		(void)bytes_printf(
			b, "%s{\"type\":\"redacted_thinking\",\"data\":\"%s\"}", comma, signature);
	}
	if (t->said.len > 0) {
		(void)bytes_printf(b, "%s{\"type\":\"text\",\"text\":", comma);
		(void)bytes_json(b, bytes_span(&t->said));
		(void)bytes_puts(b, "}");
		comma = ",";
	}
	for (int i = 0; i < t->call_count; i++) {
		const struct talk_call *c = &t->calls[i];

		(void)bytes_printf(b,
			"%s{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":\"%s\",\"input\":%s}",
			comma, c->id, c->name, c->args.at);
		comma = ",";
	}
}

static void
answer_whole(struct mock_exchange *x, const struct talk *t)
{
	body.len = 0;
	put_head(&body, t);
	if (x->script.fault != MOCK_BADJSON) {
		put_content(&body, t);
		(void)bytes_puts(&body, "],");
		put_stop(&body, t);
		(void)bytes_puts(&body, ",\"usage\":");
		put_usage(&body, t, false);
		(void)bytes_puts(&body, "}");
	}
	mock_reply(x, 200, "application/json", bytes_span(&body));
	if (x->script.fault == MOCK_CUT) {
		x->out->len -= 20;
		x->cut = true;
	}
}

/* ---- streams ---- */

static struct bytes event = { .limit = EVENT_BYTES };
static struct bytes framed = { .limit = EVENT_BYTES };

/* What `event` holds, in the frame of whoever carries it. */
static struct span
frame_event(const char *name, enum mock_frame frame)
{
	framed.len = 0;
	switch (frame) {
	case FRAME_SSE:
		(void)bytes_printf(&framed, "event: %s\ndata: ", name);
		break;
	case FRAME_DATA:
		(void)bytes_puts(&framed, "data: ");
		break;
	case FRAME_BINARY: {
		struct bytes payload = BYTES_LIMIT(EVENT_BYTES);

		(void)bytes_puts(&payload, "{\"bytes\":\"");
		talk_base64(&payload, bytes_span(&event));
		(void)bytes_puts(&payload, "\",\"p\":\"abcdefghij\"}");
		mock_eventstream(&framed, "event", "chunk", bytes_span(&payload));
		bytes_free(&payload);
		return bytes_span(&framed);
	}
	}
	(void)bytes_add(&framed, event.at, event.len);
	(void)bytes_puts(&framed, "\n\n");
	return bytes_span(&framed);
}

struct streaming {
	struct mock_exchange *x;
	enum mock_frame frame;
	int index;
};

static void
emit(struct streaming *s, const char *name)
{
	mock_stream_piece(s->x, frame_event(name, s->frame));
	event.len = 0;
}

static void
begin_block(struct streaming *s, const char *block)
{
	event.len = 0;
	(void)bytes_printf(&event,
		"{\"type\":\"content_block_start\",\"index\":%d,\"content_block\":%s}", s->index,
		block);
	emit(s, "content_block_start");
}

static void
delta(struct streaming *s, const char *type, const char *field, struct span text)
{
	event.len = 0;
	(void)bytes_printf(&event,
		"{\"type\":\"content_block_delta\",\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":",
		s->index, type, field);
	(void)bytes_json(&event, text);
	(void)bytes_puts(&event, "}}");
	emit(s, "content_block_delta");
}

static void
deltas(struct streaming *s, const char *type, const char *field, struct span text)
{
	int n = talk_pieces(&s->x->script, text);

	for (int i = 0; i < n; i++)
		delta(s, type, field, talk_piece(&s->x->script, text, i));
}

static void
end_block(struct streaming *s)
{
	event.len = 0;
	(void)bytes_printf(&event, "{\"type\":\"content_block_stop\",\"index\":%d}", s->index++);
	emit(s, "content_block_stop");
}

static void
stream_thinking(struct streaming *s, const struct talk *t)
{
	char signature[64], block[160];

	begin_block(s, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
	sign_thinking(t, signature);
	if (!t->thinks_hidden)
		deltas(s, "thinking_delta", "thinking", bytes_span(&t->thinking));
	delta(s, "signature_delta", "signature", span_of(signature));
	end_block(s);
	if (redacts(t)) {
		talk_sign("redacted", SPAN_NONE, signature);
		(void)snprintf(block, sizeof block,
			"{\"type\":\"redacted_thinking\",\"data\":\"%s\"}", signature);
		begin_block(s, block);
		end_block(s);
	}
}

static void
stream_call(struct streaming *s, const struct talk_call *c)
{
	char block[400];

	(void)snprintf(block, sizeof block,
		"{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":\"%s\",\"input\":{}}", c->id,
		c->name);
	begin_block(s, block);
	delta(s, "input_json_delta", "partial_json", SPAN_LIT(""));
	if (c->args.len > 2)
		deltas(s, "input_json_delta", "partial_json", bytes_span(&c->args));
	end_block(s);
}

static struct span
stream_error(struct streaming *s)
{
	if (s->frame == FRAME_BINARY) {
		framed.len = 0;
		mock_eventstream(&framed, "exception", "serviceUnavailableException",
			SPAN_LIT("{\"message\":\"Bedrock is unable to process your request.\"}"));
		return bytes_span(&framed);
	}
	event.len = 0;
	(void)bytes_puts(&event, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
				 "\"message\":\"Overloaded\"}}");
	return frame_event("error", s->frame);
}

static void
stream_end(struct streaming *s, const struct talk *t)
{
	event.len = 0;
	(void)bytes_puts(&event, "{\"type\":\"message_delta\",\"delta\":{");
	put_stop(&event, t);
	(void)bytes_puts(&event, "},\"usage\":");
	put_usage(&event, t, false);
	(void)bytes_puts(&event, "}");
	emit(s, "message_delta");
	(void)bytes_puts(&event, "{\"type\":\"message_stop\"");
	if (s->frame == FRAME_BINARY)
		(void)bytes_printf(&event,
			",\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":%lld,"
			"\"outputTokenCount\":%lld,\"invocationLatency\":12,\"firstByteLatency\":"
			"3}",
			(long long)t->input, (long long)t->output);
	(void)bytes_puts(&event, "}");
	emit(s, "message_stop");
}

static void
answer_stream(struct mock_exchange *x, const struct talk *t, enum mock_frame frame)
{
	struct streaming s = { x, frame, 0 };

	mock_stream_begin(x, frame == FRAME_BINARY ? "application/vnd.amazon.eventstream"
						   : "text/event-stream; charset=utf-8");
	event.len = 0;
	(void)bytes_puts(&event, "{\"type\":\"message_start\",\"message\":");
	put_head(&event, t);
	(void)bytes_puts(&event, "],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
	put_usage(&event, t, true);
	(void)bytes_puts(&event, "}}");
	emit(&s, "message_start");
	if (t->thinks)
		stream_thinking(&s, t);
	if (t->said.len > 0) {
		begin_block(&s, "{\"type\":\"text\",\"text\":\"\"}");
		if (frame == FRAME_SSE) {
			(void)bytes_puts(&event, "{\"type\":\"ping\"}");
			emit(&s, "ping");
		}
		deltas(&s, "text_delta", "text", bytes_span(&t->said));
		end_block(&s);
	}
	for (int i = 0; i < t->call_count; i++)
		stream_call(&s, &t->calls[i]);
	stream_end(&s, t);
	mock_stream_end(x, stream_error(&s));
}

/* ---- the rest ---- */

static struct json_value
read_json(struct mock_exchange *x)
{
	struct json_value v = { .type = JSON_NONE };

	if (x->body.len > 0 && x->body.at[0] == '{' && (int64_t)x->body.len == x->body_bytes &&
		json_valid(x->body))
		v = (struct json_value){ JSON_OBJECT, x->body };
	else
		mock_error(x, 400, "The request body is not valid JSON");
	return v;
}

static void
answer_count(struct mock_exchange *x)
{
	static struct reading r;
	struct json_value request = read_json(x);

	if (request.type == JSON_NONE)
		return;
	r = (struct reading){ .x = x, .t = talk_begin() };
	(void)talk_copy(talk_get(request, "model"), r.t->model, sizeof r.t->model);
	mock_script_model(x, r.t->model);
	r.t->most_output = INT64_MAX;
	if (mock_error_scripted(x) || !read_request(&r, request, KNOWN_COUNT, true))
		return;
	talk_think(r.t, &x->script, "toolu_mock_%d_%d");
	body.len = 0;
	(void)bytes_printf(&body, "{\"input_tokens\":%lld}",
		(long long)(r.t->input + r.t->cache_read + r.t->cache_write_5m +
			    r.t->cache_write_1h));
	mock_reply(x, 200, "application/json", bytes_span(&body));
}

static void
answer_messages(struct mock_exchange *x)
{
	static struct reading r;
	struct json_value request = read_json(x);

	if (request.type == JSON_NONE)
		return;
	r = (struct reading){ .x = x, .t = talk_begin() };
	if (!talk_copy(talk_get(request, "model"), r.t->model, sizeof r.t->model)) {
		mock_error(x, 400, "model: Field required");
		return;
	}
	mock_script_model(x, r.t->model);
	if (mock_error_scripted(x) || !read_request(&r, request, KNOWN, false))
		return;
	talk_think(r.t, &x->script, "toolu_mock_%d_%d");
	if (talk_get(request, "stream").type == JSON_TRUE)
		answer_stream(x, r.t, FRAME_SSE);
	else
		answer_whole(x, r.t);
}

void
anthropic_invoke(struct mock_exchange *x, const char *model, bool stream, enum mock_frame frame)
{
	static struct reading r;
	struct json_value request = read_json(x);

	if (request.type == JSON_NONE)
		return;
	mock_script_model(x, model);
	if (mock_error_scripted(x))
		return;
	r = (struct reading){ .x = x, .t = talk_begin(), .platform = true };
	(void)snprintf(r.t->model, sizeof r.t->model, "%s", model);
	if (talk_get(request, "anthropic_version").type != JSON_STRING) {
		mock_error(x, 400, "anthropic_version: Field required");
		return;
	}
	/* Google's platform has the stream's wish in the body too. */
	if (!read_request(&r, request, x->vertex ? KNOWN_INVOKE " stream" : KNOWN_INVOKE, false))
		return;
	talk_think(r.t, &x->script, "toolu_bdrk_mock_%d_%d");
	if (stream)
		answer_stream(x, r.t, frame);
	else
		answer_whole(x, r.t);
}

static void
put_model(struct bytes *b, const char *id)
{
	(void)bytes_puts(b, "{\"type\":\"model\",\"id\":");
	(void)bytes_json(b, span_of(id));
	(void)bytes_puts(b, ",\"display_name\":");
	(void)bytes_json(b, span_of(id));
	(void)bytes_puts(b, ",\"created_at\":\"2025-09-29T00:00:00Z\"}");
}

static void
answer_models(struct mock_exchange *x, struct span path)
{
	static const char *const ids[] = { "claude-sonnet-4-5", "claude-opus-4-6", "mock-claude" };
	char id[256];

	body.len = 0;
	if (path.len > sizeof "/models/" - 1) {
		(void)span_copy((struct span){ path.at + 8, path.len - 8 }, id, sizeof id);
		put_model(&body, id);
	} else {
		(void)bytes_puts(&body, "{\"data\":[");
		for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
			(void)bytes_puts(&body, i == 0 ? "" : ",");
			put_model(&body, ids[i]);
		}
		(void)bytes_printf(&body,
			"],\"has_more\":false,\"first_id\":\"%s\",\"last_id\":\"%s\"}", ids[0],
			ids[sizeof ids / sizeof ids[0] - 1]);
	}
	mock_reply(x, 200, "application/json", bytes_span(&body));
}

void
anthropic_answer(struct mock_exchange *x, struct span path)
{
	bool posts = span_is(x->method, "POST");

	if (posts && span_is(path, "/messages"))
		answer_messages(x);
	else if (posts && span_is(path, "/messages/count_tokens"))
		answer_count(x);
	else if (!posts && span_starts(path, "/models"))
		answer_models(x, path);
	else
		mock_error(x, 404, "Not found");
}
