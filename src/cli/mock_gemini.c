/*
 * mock_gemini.c - the mock's Gemini: generateContent whole and streamed (SSE and a JSON array),
 * countTokens, embedContent, models.
 */
#include "cli/mock-talk-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTENTS_MOST 4096
#define PARTS_MOST    256
#define DIMS          8
#define DIMS_MOST     4096

#define KNOWN                                                                                      \
	"contents systemInstruction system_instruction tools toolConfig tool_config "              \
	"safetySettings safety_settings generationConfig generation_config cachedContent "         \
	"cached_content labels serviceTier store continuationToken model"
#define KNOWN_CONFIG                                                                               \
	"temperature topP topK candidateCount maxOutputTokens stopSequences presencePenalty "      \
	"frequencyPenalty seed responseMimeType responseSchema responseJsonSchema "                \
	"responseLogprobs logprobs responseModalities speechConfig imageConfig mediaResolution "   \
	"thinkingConfig audioTranscriptionConfig"
#define KNOWN_SCHEMA                                                                               \
	"type format title description nullable enum items properties required minItems maxItems " \
	"minProperties maxProperties minimum maximum minLength maxLength pattern anyOf "           \
	"propertyOrdering default example"

struct reading {
	struct mock_exchange *x;
	struct talk *t;
	bool signs; /* a model that demands its signatures back */
	bool shows_thoughts;
	int content, part;
	int calls, results; /* of the turn of calls that is open, and what answered it */
	bool unsigned_call; /* the open turn's first call came without its signature */
	char unsigned_name[TALK_NAME_BYTES];
};

static struct bytes body = { .limit = MOCK_OUT_BYTES };
static struct bytes piece = { .limit = MOCK_OUT_BYTES };

/* ---- reading ---- */

/* Both spellings of a name are taken. */
static struct json_value
either(struct json_value object, const char *camel, const char *snake)
{
	struct json_value v = talk_get(object, camel);

	return v.type != JSON_NONE ? v : talk_get(object, snake);
}

static bool
read_call(struct reading *r, struct json_value call, struct json_value signature)
{
	char name[TALK_NAME_BYTES], id[TALK_NAME_BYTES];
	struct json_value quoted = { JSON_STRING, { id, 0 } };
	int len;

	if (!talk_copy(talk_get(call, "name"), name, sizeof name)) {
		mock_error_printf(r->x, 400,
			"GenerateContentRequest.contents[%d].parts[%d].function_call.name: Name "
			"cannot be empty.",
			r->content, r->part);
		return false;
	}
	if (signature.type != JSON_NONE &&
		!talk_is(signature, "skip_thought_signature_validator") &&
		!talk_signed("call", span_of(name), signature)) {
		mock_error(r->x, 400, "Corrupted thought signature.");
		return false;
	}
	if (r->calls == 0 && signature.type == JSON_NONE) {
		r->unsigned_call = true;
		memcpy(r->unsigned_name, name, sizeof name);
	}
	/* Results name functions: the order is the id. */
	len = snprintf(id, sizeof id, "\"%d\"", r->calls++);
	quoted.raw.len = (size_t)len;
	talk_hear_call(r->t, quoted, talk_get(call, "name"));
	talk_count(r->t, talk_get(call, "args"));
	return true;
}

/* The first call of that name that waits. */
static bool
read_result(struct reading *r, struct json_value result)
{
	struct json_value response = talk_get(result, "response"), plain;
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);
	char name[TALK_NAME_BYTES], id[TALK_NAME_BYTES];
	struct json_value quoted = { JSON_STRING, { id, 0 } };
	bool found = false;

	if (!talk_copy(talk_get(result, "name"), name, sizeof name) ||
		response.type != JSON_OBJECT) {
		mock_error_printf(r->x, 400,
			"GenerateContentRequest.contents[%d].parts[%d].function_response: name and "
			"an object response are needed.",
			r->content, r->part);
		return false;
	}
	plain = talk_get(response, "result");
	if (plain.type != JSON_STRING)
		plain = talk_get(response, "output");
	if (plain.type == JSON_STRING)
		talk_hear(&text, plain);
	else if (talk_get(response, "error").type == JSON_STRING) {
		talk_hear(&text, talk_get(response, "error"));
		(void)bytes_puts(&text, "(error)");
	} else {
		(void)bytes_add(&text, response.raw.at, response.raw.len);
	}
	talk_count(r->t, response);
	r->results++;
	for (int i = 0; i < r->t->pending_count && !found; i++) {
		if (r->t->pending[i].id[0] == '\0' || strcmp(r->t->pending[i].name, name) != 0)
			continue;
		quoted.raw.len = (size_t)snprintf(id, sizeof id, "\"%d\"", i);
		found = talk_hear_result(r->t, quoted, bytes_span(&text)) != NULL;
	}
	bytes_free(&text);
	if (!found)
		mock_error(r->x, 400,
			"Please ensure that function response turn comes immediately after a "
			"function "
			"call turn.");
	return found;
}

static bool
read_part(struct reading *r, struct json_value p, bool model)
{
	struct json_value text = talk_get(p, "text"), v,
			  signature = either(p, "thoughtSignature", "thought_signature");
	char media[64];

	if ((v = either(p, "functionCall", "function_call")).type == JSON_OBJECT && model)
		return read_call(r, v, signature);
	if (signature.type != JSON_NONE &&
		!talk_is(signature, "skip_thought_signature_validator") &&
		!talk_signed("text", SPAN_NONE, signature)) {
		mock_error(r->x, 400, "Corrupted thought signature.");
		return false;
	}
	if (text.type == JSON_STRING) {
		if (!model && r->t->text.len > 0)
			(void)bytes_puts(&r->t->text, "\n");
		if (!model)
			talk_hear(&r->t->text, text);
		talk_count(r->t, text);
		return true;
	}
	if ((v = either(p, "functionResponse", "function_response")).type == JSON_OBJECT && !model)
		return read_result(r, v);
	if ((v = either(p, "inlineData", "inline_data")).type == JSON_OBJECT) {
		if (!talk_copy(either(v, "mimeType", "mime_type"), media, sizeof media)) {
			mock_error(r->x, 400, "Unable to determine the MIME type of inline_data.");
			return false;
		}
		talk_note(r->t,
			strncmp(media, "image/", 6) == 0   ? "image"
			: strncmp(media, "audio/", 6) == 0 ? "audio"
							   : "document",
			media, talk_get(v, "data").raw);
		return true;
	}
	if ((v = either(p, "fileData", "file_data")).type == JSON_OBJECT) {
		(void)bytes_puts(&r->t->notes, " [file by uri]");
		return true;
	}
	mock_error_printf(r->x, 400,
		"GenerateContentRequest.contents[%d].parts[%d].data: required oneof field 'data' "
		"must "
		"have one initialized field",
		r->content, r->part);
	return false;
}

static bool
check_turn(struct reading *r)
{
	if (r->calls > 0 && r->results != r->calls) {
		mock_error(r->x, 400,
			"Please ensure that the number of function response parts is equal to the "
			"number of function call parts of the function call turn.");
		return false;
	}
	return true;
}

static bool
read_content(struct reading *r, struct json_value c)
{
	struct json_value parts[PARTS_MOST], role = talk_get(c, "role");
	int n = talk_list(talk_get(c, "parts"), parts, PARTS_MOST);
	bool model = talk_is(role, "model");

	if (!model && role.type != JSON_NONE && !talk_is(role, "user") &&
		!talk_is(role, "function")) {
		mock_error(r->x, 400, "Please use a valid role: user, model.");
		return false;
	}
	if (n == 0) {
		mock_error_printf(r->x, 400,
			"GenerateContentRequest.contents[%d].parts: contents.parts must not be "
			"empty.",
			r->content);
		return false;
	}
	if (model) {
		talk_answer_turn(r->t);
		r->t->pending_count = r->calls = r->results = 0;
	}
	for (r->part = 0; r->part < n; r->part++)
		if (!read_part(r, parts[r->part], model))
			return false;
	/* A user's own words begin a turn: signatures of those before are not asked for. */
	if (!model && r->results == 0)
		r->unsigned_call = false;
	return model || check_turn(r);
}

static bool
read_tools(struct reading *r, struct json_value request)
{
	struct json_value tools[TALK_TOOLS_MOST], functions[TALK_TOOLS_MOST], names[4],
		config = either(either(request, "toolConfig", "tool_config"),
			"functionCallingConfig", "function_calling_config");
	int n = talk_list(talk_get(request, "tools"), tools, TALK_TOOLS_MOST);
	struct json_value mode = talk_get(config, "mode");

	for (int i = 0; i < n; i++) {
		int count =
			talk_list(either(tools[i], "functionDeclarations", "function_declarations"),
				functions, TALK_TOOLS_MOST);

		for (int f = 0; f < count; f++) {
			struct json_value own = talk_get(functions[f], "parameters"),
					  schema = either(functions[f], "parametersJsonSchema",
						  "parameters_json_schema");
			const char *unknown = talk_unknown(own, KNOWN_SCHEMA);

			if (unknown != NULL) {
				mock_error_printf(r->x, 400,
					"Invalid JSON payload received. Unknown name \"%s\" at "
					"'tools[%d].function_declarations[%d].parameters': Cannot "
					"find "
					"field.",
					unknown, i, f);
				return false;
			}
			talk_hear_tool(r->t, talk_get(functions[f], "name"),
				own.type == JSON_OBJECT ? own : schema);
		}
	}
	r->t->calls_none = talk_is(mode, "NONE");
	r->t->calls_must = talk_is(mode, "ANY");
	if (r->t->calls_must &&
		talk_list(either(config, "allowedFunctionNames", "allowed_function_names"), names,
			4) == 1)
		(void)talk_copy(names[0], r->t->only, sizeof r->t->only);
	return true;
}

static bool
read_config(struct reading *r, struct json_value config)
{
	struct json_value thinking = either(config, "thinkingConfig", "thinking_config"),
			  schema = either(config, "responseJsonSchema", "response_json_schema"),
			  own = either(config, "responseSchema", "response_schema"),
			  type = either(config, "responseMimeType", "response_mime_type");
	struct json_value budget = either(thinking, "thinkingBudget", "thinking_budget");
	const char *unknown = talk_unknown(config, KNOWN_CONFIG);
	int64_t n = -1;

	if (unknown != NULL && strchr(unknown, '_') == NULL) { /* snake_case is taken too */
		mock_error_printf(r->x, 400,
			"Invalid JSON payload received. Unknown name \"%s\" at "
			"'generation_config': "
			"Cannot find field.",
			unknown);
		return false;
	}
	(void)json_int(either(config, "maxOutputTokens", "max_output_tokens"), &r->t->most_output);
	talk_hear_stops(r->t, either(config, "stopSequences", "stop_sequences"));
	if ((schema.type == JSON_OBJECT || own.type == JSON_OBJECT) &&
		!talk_is(type, "application/json")) {
		mock_error(r->x, 400,
			"Response schema is only supported with response mime type: "
			"'application/json'.");
		return false;
	}
	r->t->json = talk_is(type, "application/json");
	r->t->schema = own.type == JSON_OBJECT      ? own.raw
		       : schema.type == JSON_OBJECT ? schema.raw
						    : SPAN_NONE;
	(void)json_int(budget, &n);
	r->t->thinks = thinking.type == JSON_OBJECT && n != 0;
	r->shows_thoughts =
		either(thinking, "includeThoughts", "include_thoughts").type == JSON_TRUE;
	return true;
}

static bool
read_request(struct reading *r, struct json_value request)
{
	static struct json_value contents[CONTENTS_MOST];
	struct json_value parts[PARTS_MOST];
	const char *unknown = talk_unknown(request, KNOWN);
	int n = talk_list(talk_get(request, "contents"), contents, CONTENTS_MOST);
	int systems = talk_list(
		talk_get(either(request, "systemInstruction", "system_instruction"), "parts"),
		parts, PARTS_MOST);

	if (unknown != NULL) {
		mock_error_printf(r->x, 400,
			"Invalid JSON payload received. Unknown name \"%s\": Cannot find field.",
			unknown);
		return false;
	}
	if (n == 0) {
		mock_error(
			r->x, 400, "* GenerateContentRequest.contents: contents is not specified");
		return false;
	}
	for (int i = 0; i < systems; i++) {
		if (i > 0)
			(void)bytes_puts(&r->t->system, "\n\n");
		talk_hear(&r->t->system, talk_get(parts[i], "text"));
		talk_count(r->t, talk_get(parts[i], "text"));
	}
	if (!read_tools(r, request) ||
		!read_config(r, either(request, "generationConfig", "generation_config")))
		return false;
	for (; r->content < n; r->content++)
		if (!read_content(r, contents[r->content]))
			return false;
	if (r->signs && r->unsigned_call && r->t->results.len > 0) {
		mock_error_printf(r->x, 400,
			"Function call is missing a thought_signature in functionCall parts. This "
			"is "
			"required for tools to work correctly. Function call `%s`.",
			r->unsigned_name);
		return false;
	}
	return true;
}

/* ---- writing ---- */

static void
put_usage(struct bytes *b, const struct talk *t, bool complete)
{
	long long prompt = (long long)(t->input + t->cache_read);

	/* zeroes are left out, as the real one does */
	(void)bytes_printf(b, "\"usageMetadata\":{\"promptTokenCount\":%lld", prompt);
	if (t->cache_read > 0)
		(void)bytes_printf(
			b, ",\"cachedContentTokenCount\":%lld", (long long)t->cache_read);
	if (complete && t->output > t->reasoning)
		(void)bytes_printf(
			b, ",\"candidatesTokenCount\":%lld", (long long)(t->output - t->reasoning));
	if (complete && t->reasoning > 0)
		(void)bytes_printf(b, ",\"thoughtsTokenCount\":%lld", (long long)t->reasoning);
	(void)bytes_printf(b,
		",\"totalTokenCount\":%lld,\"promptTokensDetails\":[{\"modality\":\"TEXT\","
		"\"tokenCount\":%lld}]}",
		complete ? prompt + (long long)t->output : prompt, prompt);
}

static void
put_end(struct bytes *b, const struct talk *t, bool complete)
{
	(void)bytes_puts(b, ",");
	put_usage(b, t, complete);
	(void)bytes_puts(b, ",\"modelVersion\":");
	(void)bytes_json(b, span_of(t->model));
	(void)bytes_puts(b, ",\"responseId\":\"mock\"}");
}

static void
put_finish(struct bytes *b, const struct talk *t)
{
	(void)bytes_printf(b, ",\"finishReason\":\"%s\"",
		t->stop == STOP_LENGTH   ? "MAX_TOKENS"
		: t->stop == STOP_FILTER ? "SAFETY"
					 : "STOP");
}

static void
put_call(struct bytes *b, const struct reading *r, int i)
{
	const struct talk_call *c = &r->t->calls[i];
	char signature[64];

	(void)bytes_printf(
		b, "{\"functionCall\":{\"name\":\"%s\",\"args\":%s}", c->name, c->args.at);
	if (i == 0 && (r->signs || r->t->thinks)) {
		talk_sign("call", span_of(c->name), signature);
		(void)bytes_printf(b, ",\"thoughtSignature\":\"%s\"", signature);
	}
	(void)bytes_puts(b, "}");
}

static void
put_text(struct bytes *b, struct span text, bool thought)
{
	(void)bytes_puts(b, "{\"text\":");
	(void)bytes_json(b, text);
	(void)bytes_puts(b, thought ? ",\"thought\":true}" : "}");
}

static void
answer_whole(struct mock_exchange *x, const struct reading *r)
{
	const struct talk *t = r->t;
	const char *comma = "";

	body.len = 0;
	(void)bytes_puts(&body, "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[");
	if (x->script.fault == MOCK_BADJSON) {
		mock_reply(x, 200, "application/json; charset=UTF-8", bytes_span(&body));
		return;
	}
	if (t->thinks && r->shows_thoughts) {
		put_text(&body, bytes_span(&t->thinking), true);
		comma = ",";
	}
	if (t->said.len > 0) {
		(void)bytes_puts(&body, comma);
		put_text(&body, bytes_span(&t->said), false);
		comma = ",";
	}
	for (int i = 0; i < t->call_count; i++) {
		(void)bytes_puts(&body, comma);
		put_call(&body, r, i);
		comma = ",";
	}
	(void)bytes_puts(&body, "]}");
	put_finish(&body, t);
	(void)bytes_puts(&body, "}]");
	put_end(&body, t, true);
	mock_reply(x, 200, "application/json; charset=UTF-8", bytes_span(&body));
	if (x->script.fault == MOCK_CUT) {
		x->out->len -= 20;
		x->cut = true;
	}
}

/* ---- streams ---- */

struct streaming {
	struct mock_exchange *x;
	const struct reading *r;
	bool sse, begun;
};

/* One part, or none in the last chunk; a comma within an array stands in front. */
static void
begin_chunk(struct streaming *s)
{
	piece.len = 0;
	if (s->sse)
		(void)bytes_puts(&piece, "data: ");
	else
		(void)bytes_puts(&piece, s->begun ? ",\r\n" : "[");
	s->begun = true;
	(void)bytes_puts(&piece, "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[");
}

static void
end_chunk(struct streaming *s, bool last)
{
	(void)bytes_puts(&piece, "]}");
	if (last)
		put_finish(&piece, s->r->t);
	(void)bytes_puts(&piece, "}]");
	put_end(&piece, s->r->t, last);
	if (s->sse)
		(void)bytes_puts(&piece, "\r\n\r\n");
	mock_stream_piece(s->x, bytes_span(&piece));
}

static void
stream_text(struct streaming *s, struct span text, bool thought)
{
	int n = talk_pieces(&s->x->script, text);

	for (int i = 0; i < n; i++) {
		begin_chunk(s);
		put_text(&piece, talk_piece(&s->x->script, text, i), thought);
		end_chunk(s, false);
	}
}

static void
answer_stream(struct mock_exchange *x, const struct reading *r)
{
	char alt[16] = "", signature[64];
	struct streaming s = { .x = x, .r = r };
	const struct talk *t = r->t;

	s.sse = mock_parameter(x->query, "alt", alt, sizeof alt) && strcmp(alt, "sse") == 0;
	mock_stream_begin(x, s.sse ? "text/event-stream" : "application/json; charset=UTF-8");
	if (t->thinks && r->shows_thoughts)
		stream_text(&s, bytes_span(&t->thinking), true);
	stream_text(&s, bytes_span(&t->said), false);
	for (int i = 0; i < t->call_count; i++) {
		begin_chunk(&s);
		put_call(&piece, r, i);
		end_chunk(&s, false);
	}
	begin_chunk(&s);
	if (t->thinks && t->call_count == 0) {
		/* the signature of an answer without calls comes on an empty text */
		talk_sign("text", SPAN_NONE, signature);
		(void)bytes_printf(
			&piece, "{\"text\":\"\",\"thoughtSignature\":\"%s\"}", signature);
	} else {
		put_text(&piece, SPAN_LIT(""), false);
	}
	end_chunk(&s, true);
	if (!s.sse)
		mock_stream_piece(x, SPAN_LIT("]"));
	mock_stream_end(x,
		s.sse ? SPAN_LIT("data: {\"error\":{\"code\":503,\"message\":\"The model is "
				 "overloaded. "
				 "Please try again later.\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n")
		      : SPAN_LIT(",\r\n{\"error\":{\"code\":503,\"message\":\"The model is "
				 "overloaded. "
				 "Please try again later.\",\"status\":\"UNAVAILABLE\"}}]"));
}

/* ---- the methods ---- */

static void
answer_generate(struct mock_exchange *x, struct json_value request, const char *model, bool stream)
{
	static struct reading r;

	r = (struct reading){
		.x = x, .t = talk_begin(), .signs = strstr(model, "gemini-3") != NULL
	};
	(void)snprintf(r.t->model, sizeof r.t->model, "%s", model);
	if (x->script.kind == KIND_FILTER) {
		mock_reply(x, 200, "application/json; charset=UTF-8",
			SPAN_LIT("{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},"
				 "\"usageMetadata\":{\"promptTokenCount\":5,\"totalTokenCount\":5},"
				 "\"modelVersion\":\"mock\"}"));
		return;
	}
	if (mock_error_scripted(x) || !read_request(&r, request))
		return;
	talk_think(r.t, &x->script, "%d_%d");
	if (stream)
		answer_stream(x, &r);
	else
		answer_whole(x, &r);
}

static void
answer_count(struct mock_exchange *x, struct json_value request)
{
	static struct reading r;
	struct json_value inner =
		either(request, "generateContentRequest", "generate_content_request");

	if (mock_error_scripted(x))
		return;
	r = (struct reading){ .x = x, .t = talk_begin() };
	if (!read_request(&r, inner.type == JSON_OBJECT ? inner : request))
		return;
	talk_think(r.t, &x->script, "%d_%d");
	body.len = 0;
	(void)bytes_printf(&body,
		"{\"totalTokens\":%lld,\"promptTokensDetails\":[{\"modality\":\"TEXT\","
		"\"tokenCount\":%lld}]}",
		(long long)r.t->input, (long long)r.t->input);
	mock_reply(x, 200, "application/json; charset=UTF-8", bytes_span(&body));
}

static void
put_values(struct bytes *b, struct json_value request, int shift)
{
	int64_t dims = DIMS;

	if (json_int(either(request, "outputDimensionality", "output_dimensionality"), &dims) !=
			0 ||
		dims < 1 || dims > DIMS_MOST)
		dims = DIMS;
	(void)bytes_puts(b, "{\"values\":[");
	for (int64_t i = 0; i < dims; i++)
		(void)bytes_printf(
			b, "%s%.4f", i == 0 ? "" : ",", (double)((i + shift) % 8 + 1) / 16);
	(void)bytes_puts(b, "]}");
}

static void
answer_embed(struct mock_exchange *x, struct json_value request, bool batch)
{
	struct json_value requests[PARTS_MOST];
	int n = talk_list(talk_get(request, "requests"), requests, PARTS_MOST);

	if (mock_error_scripted(x))
		return;
	if (batch ? n == 0 : talk_get(request, "content").type != JSON_OBJECT) {
		mock_error(x, 400, "* EmbedContentRequest.content: content is not specified");
		return;
	}
	body.len = 0;
	(void)bytes_puts(&body, batch ? "{\"embeddings\":[" : "{\"embedding\":");
	for (int i = 0; i < n; i++) {
		(void)bytes_puts(&body, i == 0 ? "" : ",");
		put_values(&body, requests[i], i);
	}
	if (!batch)
		put_values(&body, request, 0);
	(void)bytes_puts(&body, batch ? "]}" : "}");
	mock_reply(x, 200, "application/json; charset=UTF-8", bytes_span(&body));
}

static void
put_model(struct bytes *b, const char *id)
{
	(void)bytes_printf(b,
		"{\"name\":\"models/%s\",\"version\":\"001\",\"displayName\":\"%s\","
		"\"inputTokenLimit\":1048576,\"outputTokenLimit\":65536,"
		"\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"],"
		"\"temperature\":1,\"maxTemperature\":2,\"topP\":0.95,\"topK\":64,\"thinking\":"
		"true}",
		id, id);
}

static void
answer_models(struct mock_exchange *x, const char *id)
{
	static const char *const ids[] = { "gemini-2.5-flash", "gemini-3-pro", "mock-gemini" };

	body.len = 0;
	if (id[0] != '\0') {
		put_model(&body, id);
	} else {
		(void)bytes_puts(&body, "{\"models\":[");
		for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
			(void)bytes_puts(&body, i == 0 ? "" : ",");
			put_model(&body, ids[i]);
		}
		(void)bytes_puts(&body, "]}");
	}
	mock_reply(x, 200, "application/json; charset=UTF-8", bytes_span(&body));
}

/* "models/m:method", and %3A as some send the colon.  false: no such path. */
static bool
split_path(struct span path, char *model, size_t model_bytes, char *method, size_t method_bytes)
{
	char text[512];
	char *colon;

	if (!span_starts(path, "models") || path.len >= sizeof text)
		return false;
	model[0] = method[0] = '\0';
	if (path.len <= 7)
		return true;
	for (size_t i = 7, n = 0; i < path.len; i++) {
		char hex[3] = "";

		if (path.at[i] == '%' && i + 2 < path.len) {
			memcpy(hex, path.at + i + 1, 2);
			text[n++] = (char)strtol(hex, NULL, 16);
			i += 2;
		} else {
			text[n++] = path.at[i];
		}
		text[n] = '\0';
	}
	colon = strrchr(text, ':');
	if (colon != NULL)
		*colon = '\0';
	(void)span_copy(span_of(text), model, model_bytes);
	if (colon != NULL)
		(void)span_copy(span_of(colon + 1), method, method_bytes);
	return true;
}

void
gemini_answer(struct mock_exchange *x, struct span path)
{
	struct json_value request = { JSON_OBJECT, x->body };
	char model[256], method[64];
	bool posts = span_is(x->method, "POST");

	if (!split_path(path, model, sizeof model, method, sizeof method)) {
		mock_error(x, 404, NULL);
		return;
	}
	mock_script_model(x, model);
	if (!posts) {
		answer_models(x, model);
		return;
	}
	if (x->body.len == 0 || x->body.at[0] != '{' || !json_valid(x->body)) {
		mock_error(x, 400, "Invalid JSON payload received.");
		return;
	}
	if (strcmp(method, "generateContent") == 0 || strcmp(method, "streamGenerateContent") == 0)
		answer_generate(x, request, model, method[0] == 's');
	else if (strcmp(method, "countTokens") == 0)
		answer_count(x, request);
	else if (strcmp(method, "embedContent") == 0 || strcmp(method, "batchEmbedContents") == 0)
		answer_embed(x, request, method[0] == 'b');
	else
		mock_error(x, 404, NULL);
}
