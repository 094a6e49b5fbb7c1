/*
 * mock_openai.c - the mock's OpenAI: chat, completions, responses, embeddings, models, files, speech.
 *
 * Answers are the same for the same request, ids and times included, so that a test can compare
 * bytes; only the header x-request-id tells requests apart.  Tokens are counted by rule: four
 * characters of the prompt are one token, each chunk of a stream is one.
 */
#include "cli/mock-int.h"

#include "base/json.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CREATED        "1760000000"
#define JSON_TOKENS    5 /* of an answer that is not streamed */
#define EMBEDDING_DIMS 8
#define DIMS_MOST      4096
#define SPEECH_BYTES   24000
#define BIG_PIECE      8192
#define NUMBER_DIGITS  6

enum kind { CHAT, COMPLETION, RESPONSES, KINDS };

struct ask {
	enum kind kind;
	struct json_value model, stream, options, messages, instructions, input, prompt, dimensions,
		encoding, stream_options;
	int64_t prompt_tokens;
	bool include_usage;
	bool talks; /* has what only a conversation can answer */
};

static void
put(struct bytes *b, const char *s)
{
	(void)bytes_puts(b, s);
}

static void
put_span(struct bytes *b, struct span s)
{
	(void)bytes_add(b, s.at, s.len);
}

/* ---- reading what is asked ---- */

/* Characters of a JSON string: an escape is one, so is a UTF-8 sequence. */
static int64_t
characters(struct json_value v)
{
	int64_t n = 0;

	if (v.type != JSON_STRING)
		return 0;
	for (size_t i = 1; i + 1 < v.raw.len; i++) {
		unsigned char c = (unsigned char)v.raw.at[i];

		if (c == '\\' && v.raw.at[++i] == 'u')
			i += 4;
		if ((c & 0xc0) != 0x80)
			n++;
	}
	return n;
}

static int64_t count_text(struct json_value v);

static bool
count_element(void *ctx, const struct json_member *m)
{
	*(int64_t *)ctx += count_text(m->value);
	return true;
}

/* A string; an array of such; a message with a content; a part with a text; a token. */
static int64_t
count_text(struct json_value v)
{
	int64_t n = 0;

	switch (v.type) {
	case JSON_STRING:
		return characters(v);
	case JSON_NUMBER:
		return 4; /* a token */
	case JSON_ARRAY:
		(void)json_each_element(v.raw, count_element, &n, NULL);
		return n;
	case JSON_OBJECT:
		return count_text(json_get(v.raw, "content")) + characters(json_get(v.raw, "text"));
	default:
		return 0;
	}
}

static bool
read_member(void *ctx, const struct json_member *m)
{
	struct ask *a = ctx;
	const struct {
		const char *name;
		struct json_value *to;
	} fields[] = {
		{ "model", &a->model },
		{ "stream", &a->stream },
		{ "stream_options", &a->stream_options },
		{ "messages", &a->messages },
		{ "instructions", &a->instructions },
		{ "input", &a->input },
		{ "prompt", &a->prompt },
		{ "dimensions", &a->dimensions },
		{ "encoding_format", &a->encoding },
	};

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (span_is(m->key, fields[i].name))
			*fields[i].to = m->value;
	if (span_is(m->key, "tools") || span_is(m->key, "response_format") ||
		span_is(m->key, "reasoning_effort") || span_is(m->key, "reasoning") ||
		span_is(m->key, "text"))
		a->talks = true;
	return true;
}

/* ---- errors ---- */

void
openai_error(struct mock_exchange *x, int status)
{
	static const struct row {
		int status;
		const char *type, *code, *message;
	} rows[] = {
		{ 400, "invalid_request_error", NULL, "The mock was told to refuse this request." },
		{ 401, "invalid_request_error", "\"invalid_api_key\"",
			"Incorrect API key provided (by the mock)." },
		{ 402, "insufficient_quota", "\"insufficient_quota\"",
			"You exceeded your current quota (says the mock)." },
		{ 403, "request_forbidden", "\"unsupported_country_region_territory\"",
			"This is not offered where the mock thinks you are." },
		{ 404, "invalid_request_error", "\"model_not_found\"",
			"The model does not exist or you do not have access to it." },
		{ 429, "requests", "\"rate_limit_exceeded\"",
			"Rate limit reached for requests per min. Please try again in 7s." },
		{ 503, "server_error", "\"server_overloaded\"",
			"The mock plays being overloaded." },
		{ 0, "server_error", NULL, "The mock had an error while processing your request." },
	};
	char text[400];
	struct bytes body = BYTES_LIMIT(sizeof text);
	const struct row *r = rows;

	while (r->status != 0 && r->status != status)
		r++;
	(void)bytes_printf(&body,
		"{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":%s}}",
		r->message, r->type, r->code == NULL ? "null" : r->code);
	mock_reply(x, status, "application/json", bytes_span(&body));
	bytes_free(&body);
}

static void
not_json(struct mock_exchange *x)
{
	mock_reply(x, 400, "application/json",
		SPAN_LIT("{\"error\":{\"message\":\"We could not parse the JSON body of your "
			 "request.\","
			 "\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"));
}

/* ---- text answers, whole ---- */

static void
put_model(struct bytes *b, const struct ask *a)
{
	if (a->model.type == JSON_STRING)
		put_span(b, a->model.raw);
	else
		put(b, "\"mock\"");
}

static void
put_usage(struct bytes *b, const struct ask *a, int64_t out)
{
	bool responses = a->kind == RESPONSES;

	put(b, responses ? "\"usage\":{\"input_tokens\":" : "\"usage\":{\"prompt_tokens\":");
	mock_number(b, a->prompt_tokens);
	put(b, responses ? ",\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":"
			 : ",\"completion_tokens\":");
	mock_number(b, out);
	put(b, responses ? ",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":"
			 : ",\"total_tokens\":");
	mock_number(b, a->prompt_tokens + out);
	put(b, responses ? "}"
			 : ",\"prompt_tokens_details\":{\"cached_tokens\":0},"
			   "\"completion_tokens_details\":{\"reasoning_tokens\":0}}");
}

#define RESPONSE_REST                                                                              \
	",\"error\":null,\"incomplete_details\":null,\"instructions\":null,\"metadata\":{},"       \
	"\"parallel_tool_calls\":true,\"temperature\":1,\"top_p\":1,\"tool_choice\":\"auto\","     \
	"\"tools\":[],\"previous_response_id\":null,\"truncation\":\"disabled\",\"store\":true"

/* Up to where the text begins. */
static void
put_before_text(struct bytes *b, const struct ask *a)
{
	static const char *const begin[KINDS] = {
		[CHAT] = "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\","
			 "\"created\":" CREATED ",\"model\":",
		[COMPLETION] =
			"{\"id\":\"cmpl-mock\",\"object\":\"text_completion\",\"created\":" CREATED
			",\"model\":",
		[RESPONSES] =
			"{\"id\":\"resp_mock\",\"object\":\"response\",\"created_at\":" CREATED
			",\"status\":\"completed\"" RESPONSE_REST ",\"model\":",
	};
	static const char *const text[KINDS] = {
		[CHAT] = ",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"logprobs\":null,"
			 "\"message\":{\"role\":\"assistant\",\"refusal\":null,\"content\":\"",
		[COMPLETION] =
			",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"logprobs\":null,"
			"\"text\":\"",
		[RESPONSES] = ",\"output\":[{\"id\":\"msg_mock\",\"type\":\"message\","
			      "\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{"
			      "\"type\":\"output_text\",\"annotations\":[],\"text\":\"",
	};

	put(b, begin[a->kind]);
	put_model(b, a);
	put(b, text[a->kind]);
}

static void
put_after_text(struct bytes *b, const struct ask *a)
{
	static const char *const after[KINDS] = {
		[CHAT] = "\"}}],",
		[COMPLETION] = "\"}],",
		[RESPONSES] = "\"}]}],",
	};

	put(b, after[a->kind]);
	put_usage(b, a, JSON_TOKENS);
	put(b, "}");
}

/* Lives as long as the process: composing an answer takes no memory once it has grown. */
static struct bytes scratch = { .limit = MOCK_OUT_BYTES };

static void
answer_whole(struct mock_exchange *x, const struct ask *a)
{
	size_t before;

	scratch.len = 0;
	put_before_text(&scratch, a);
	if (x->script.fault == MOCK_BADJSON) {
		put(&scratch, "and here it ends");
		mock_reply(x, 200, "application/json", bytes_span(&scratch));
		return;
	}
	before = scratch.len;
	if (x->script.big_bytes == 0)
		put(&scratch, "Hello from the mock.");
	put_after_text(&scratch, a);
	if (x->script.big_bytes > 0) {
		/* Only what is not filler is composed; the length counts it all. */
		x->filler = x->script.big_bytes;
		x->tail.len = 0;
		(void)bytes_add(&x->tail, scratch.at + before, scratch.len - before);
		scratch.len = before;
	}
	mock_reply(x, 200, "application/json", bytes_span(&scratch));
	if (x->script.fault == MOCK_CUT) {
		x->out->len -= 20;
		x->cut = true;
	}
}

/* ---- streams ---- */

static void
put_chunk_begin(struct bytes *b, const struct ask *a)
{
	put(b, a->kind == CHAT
			? "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\","
			  "\"created\":" CREATED ",\"model\":"
			: "data: {\"id\":\"cmpl-mock\",\"object\":\"text_completion\","
			  "\"created\":" CREATED ",\"model\":");
	put_model(b, a);
}

static const char *
chunk_end(const struct ask *a)
{
	return a->include_usage ? "],\"usage\":null}\n\n" : "]}\n\n";
}

static void
put_event(struct bytes *b, const char *name, int64_t sequence)
{
	(void)bytes_printf(b, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":", name, name);
	mock_number(b, sequence);
	put(b, ",");
}

/* What every stream has of its text: "000001 aaaa", as long as was asked for. */
static void
put_numbered(struct mock_stream *s, int64_t bytes)
{
	s->number_digits = bytes > NUMBER_DIGITS ? NUMBER_DIGITS : (int)bytes;
	s->number_at = s->event.len;
	for (int64_t i = 0; i < bytes; i++)
		put(&s->event, i < NUMBER_DIGITS ? "0" : i == NUMBER_DIGITS ? " " : "a");
}

#define ITEM    "\"item_id\":\"msg_mock\",\"output_index\":0,\"content_index\":0,"
#define MESSAGE "\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\","

static void
put_response(struct bytes *b, const struct ask *a, const char *status, const char *output)
{
	(void)bytes_printf(b,
		"\"response\":{\"id\":\"resp_mock\",\"object\":\"response\",\"created_at\":" CREATED
		",\"status\":\"%s\"" RESPONSE_REST ",\"model\":",
		status);
	put_model(b, a);
	(void)bytes_printf(b, ",\"output\":[%s]", output);
}

/* The whole text, as the closing events of a response repeat it. */
static void
put_all_text(struct bytes *b, const struct mock_script *s)
{
	char digits[NUMBER_DIGITS + 2];

	for (int64_t n = 0; n < s->chunks; n++)
		for (int64_t i = 0; i < s->chunk_bytes; i++) {
			if (i == 0)
				(void)snprintf(digits, sizeof digits, "%0*d", NUMBER_DIGITS,
					(int)((n + 1) % 1000000));
			(void)bytes_add(b,
				i < NUMBER_DIGITS    ? digits + i
				: i == NUMBER_DIGITS ? " "
						     : "a",
				1);
		}
}

static void
stream_response(struct mock_exchange *x, const struct ask *a, struct bytes *b)
{
	struct mock_stream *s = &x->stream;
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);
	struct bytes *e = &s->ending;
	int64_t n = x->script.chunks;

	put_all_text(&text, &x->script);
	(void)bytes_add(&text, "", 0);
	put_event(b, "response.created", 0);
	put_response(b, a, "in_progress", "");
	put(b, ",\"usage\":null}}\n\n");
	put_event(b, "response.in_progress", 1);
	put_response(b, a, "in_progress", "");
	put(b, ",\"usage\":null}}\n\n");
	put_event(b, "response.output_item.added", 2);
	put(b, "\"output_index\":0,\"item\":{" MESSAGE
	       "\"status\":\"in_progress\",\"content\":[]}}\n\n");
	put_event(b, "response.content_part.added", 3);
	put(b, ITEM "\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}\n\n");

	put(&s->event, "event: response.output_text.delta\n"
		       "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":1");
	s->sequence_at = s->event.len;
	s->sequence_first = 4;
	put(&s->event, "000000," ITEM "\"logprobs\":[],\"delta\":\"");
	put_numbered(s, x->script.chunk_bytes);
	put(&s->event, "\"}\n\n");

	put_event(e, "response.output_text.done", 1000000 + n + 4);
	(void)bytes_printf(e, ITEM "\"logprobs\":[],\"text\":\"%s\"}\n\n", text.at);
	put_event(e, "response.content_part.done", 1000000 + n + 5);
	(void)bytes_printf(e,
		ITEM "\"part\":{\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}}\n\n",
		text.at);
	put_event(e, "response.output_item.done", 1000000 + n + 6);
	(void)bytes_printf(e,
		"\"output_index\":0,\"item\":{" MESSAGE "\"status\":\"completed\",\"content\":[{"
		"\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}]}}\n\n",
		text.at);
	put_event(e, "response.completed", 1000000 + n + 7);
	put_response(e, a, "completed",
		"{" MESSAGE "\"status\":\"completed\",\"content\":[{"
		"\"type\":\"output_text\",\"annotations\":[],\"text\":\"");
	e->len--; /* the bracket that closes `output` comes behind the text */
	put(e, text.at);
	put(e, "\"}]}],");
	put_usage(e, a, n);
	put(e, "}}\n\n");
	bytes_free(&text);
}

static void
stream_chat(struct mock_exchange *x, const struct ask *a, struct bytes *b)
{
	struct mock_stream *s = &x->stream;
	bool chat = a->kind == CHAT;

	if (chat) {
		put_chunk_begin(b, a);
		put(b, ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":"
		       "\"\"},"
		       "\"logprobs\":null,\"finish_reason\":null}");
		put(b, chunk_end(a));
	}
	put_chunk_begin(&s->event, a);
	put(&s->event, chat ? ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\""
			    : ",\"choices\":[{\"index\":0,\"text\":\"");
	put_numbered(s, x->script.chunk_bytes);
	put(&s->event, chat ? "\"},\"logprobs\":null,\"finish_reason\":null}"
			    : "\",\"logprobs\":null,\"finish_reason\":null}");
	put(&s->event, chunk_end(a));

	put_chunk_begin(&s->ending, a);
	put(&s->ending, chat ? ",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_"
			       "reason\":\"stop\"}"
			     : ",\"choices\":[{\"index\":0,\"text\":\"\",\"logprobs\":null,"
			       "\"finish_reason\":\"stop\"}");
	put(&s->ending, chunk_end(a));
	if (a->include_usage) {
		put_chunk_begin(&s->ending, a);
		put(&s->ending, ",\"choices\":[],");
		put_usage(&s->ending, a, x->script.chunks);
		put(&s->ending, "}\n\n");
	}
	put(&s->ending, "data: [DONE]\n\n");
}

static void
answer_stream(struct mock_exchange *x, const struct ask *a)
{
	struct mock_stream *s = &x->stream;

	if (x->script.big_bytes > 0) {
		x->script.chunk_bytes = BIG_PIECE;
		x->script.chunks = (x->script.big_bytes + BIG_PIECE - 1) / BIG_PIECE;
	}
	x->streams = true;
	s->event.len = s->ending.len = s->number_at = s->sequence_at = 0;
	s->next = 0;
	s->count = x->script.chunks;
	scratch.len = 0;
	if (a->kind == RESPONSES)
		stream_response(x, a, &scratch);
	else
		stream_chat(x, a, &scratch);
	mock_stream_head(x, "text/event-stream; charset=utf-8");
	mock_piece(x, x->out, bytes_span(&scratch));
	if (x->script.fault == MOCK_CUT) {
		s->count = s->count / 2 > 0 ? s->count / 2 : 1;
		x->cut = true;
	} else if (x->script.fault == MOCK_HANG_STREAM) {
		s->count = 1;
	} else if (x->script.fault == MOCK_BADJSON) {
		s->ending.len = 0;
		put(&s->ending,
			"data: {\"id\":\"chatcmpl-mock\",\"choices\":[{\n\ndata: [DONE]\n\n");
	}
}

static void
answer_text(struct mock_exchange *x, struct ask *a)
{
	int64_t n = count_text(a->messages) + count_text(a->instructions) + count_text(a->input) +
		    count_text(a->prompt);

	a->prompt_tokens = n > 4 ? (n + 3) / 4 : 1;
	a->include_usage = a->stream_options.type == JSON_OBJECT &&
			   json_get(a->stream_options.raw, "include_usage").type == JSON_TRUE;
	if (a->stream.type == JSON_TRUE || x->script.fault == MOCK_HANG_STREAM)
		answer_stream(x, a);
	else
		answer_whole(x, a);
}

/* ---- the rest ---- */

struct vectors {
	struct bytes *to;
	int64_t dims, index;
	bool base64;
};

static bool
put_vector(void *ctx, const struct json_member *m)
{
	struct vectors *v = ctx;
	static unsigned char text[DIMS_MOST * 4 * 4 / 3 + 8];
	static float numbers[DIMS_MOST];

	(void)m;
	if (v->index > 0)
		put(v->to, ",");
	put(v->to, "{\"object\":\"embedding\",\"index\":");
	mock_number(v->to, v->index);
	put(v->to, ",\"embedding\":");
	for (int64_t i = 0; i < v->dims; i++)
		numbers[i] = (float)((i + v->index) % 8 + 1) / 16.0F;
	if (v->base64) {
		int len = EVP_EncodeBlock(text, (const unsigned char *)numbers, (int)v->dims * 4);

		put(v->to, "\"");
		(void)bytes_add(v->to, text, (size_t)len);
		put(v->to, "\"}");
	} else {
		for (int64_t i = 0; i < v->dims; i++)
			(void)bytes_printf(v->to, "%s%.4f", i == 0 ? "[" : ",", (double)numbers[i]);
		put(v->to, "]}");
	}
	v->index++;
	return true;
}

static bool
first_is_number(void *ctx, const struct json_member *m)
{
	*(bool *)ctx = m->value.type == JSON_NUMBER;
	return false;
}

static void
answer_embeddings(struct mock_exchange *x, const struct ask *a)
{
	struct vectors v = { .to = &scratch, .dims = EMBEDDING_DIMS };
	int64_t n = count_text(a->input);
	bool tokens = false;

	if (json_int(a->dimensions, &v.dims) != 0 || v.dims < 1 || v.dims > DIMS_MOST)
		v.dims = EMBEDDING_DIMS;
	v.base64 = a->encoding.type == JSON_STRING && span_is(a->encoding.raw, "\"base64\"");
	scratch.len = 0;
	put(&scratch, "{\"object\":\"list\",\"data\":[");
	if (a->input.type == JSON_ARRAY)
		(void)json_each_element(a->input.raw, first_is_number, &tokens, NULL);
	if (a->input.type == JSON_ARRAY && !tokens)
		(void)json_each_element(a->input.raw, put_vector, &v, NULL);
	else
		(void)put_vector(&v, NULL);
	put(&scratch, "],\"model\":");
	put_model(&scratch, a);
	n = n > 4 ? (n + 3) / 4 : 1;
	(void)bytes_printf(&scratch, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}",
		(long long)n, (long long)n);
	mock_reply(x, 200, "application/json", bytes_span(&scratch));
}

static void
put_model_object(struct bytes *b, struct span id)
{
	put(b, "{\"id\":");
	(void)bytes_json(b, id);
	put(b, ",\"object\":\"model\",\"created\":" CREATED ",\"owned_by\":\"mock\"}");
}

static void
answer_models(struct mock_exchange *x, struct span path)
{
	static const char *const ids[] = { "mock-chat", "mock-embedding", "gpt-4o", "gpt-4o-mini",
		"gpt-4.1", "text-embedding-3-small", "tts-1" };
	const size_t prefix = sizeof "/models/" - 1;

	scratch.len = 0;
	if (path.len > prefix) {
		put_model_object(&scratch, (struct span){ path.at + prefix, path.len - prefix });
	} else {
		put(&scratch, "{\"object\":\"list\",\"data\":[");
		for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
			put(&scratch, i == 0 ? "" : ",");
			put_model_object(&scratch, span_of(ids[i]));
		}
		put(&scratch, "]}");
	}
	mock_reply(x, 200, "application/json", bytes_span(&scratch));
}

/* Every byte value in turn: nothing that mangles text gets it through unchanged. */
static void
answer_speech(struct mock_exchange *x)
{
	scratch.len = 0;
	for (int i = 0; i < SPEECH_BYTES; i++)
		(void)bytes_add(&scratch, &(char){ (char)i }, 1);
	mock_reply(x, 200, "audio/mpeg", bytes_span(&scratch));
}

/* The quoted text behind `before` in a multipart body, or instead. */
static struct span
form_text(struct span body, const char *before, char end, struct span instead)
{
	const char *at = body.len == 0 ? NULL : memmem(body.at, body.len, before, strlen(before));
	const char *stop;

	if (at == NULL)
		return instead;
	at += strlen(before);
	stop = memchr(at, end, body.len - (size_t)(at - body.at));
	return stop == NULL ? instead : (struct span){ at, (size_t)(stop - at) };
}

static void
answer_file(struct mock_exchange *x)
{
	scratch.len = 0;
	(void)bytes_printf(&scratch,
		"{\"id\":\"file-mock\",\"object\":\"file\",\"bytes\":%lld,\"created_at\":" CREATED
		",\"status\":\"processed\",\"filename\":",
		(long long)x->body_bytes);
	(void)bytes_json(&scratch, form_text(x->body, "filename=\"", '"', SPAN_LIT("upload")));
	put(&scratch, ",\"purpose\":");
	(void)bytes_json(&scratch,
		form_text(x->body, "name=\"purpose\"\r\n\r\n", '\r', SPAN_LIT("assistants")));
	put(&scratch, "}");
	mock_reply(x, 200, "application/json", bytes_span(&scratch));
}

static void
answer_echo(struct mock_exchange *x)
{
	const char *line = memchr(x->head.at, '\n', x->head.len), *end = x->head.at + x->head.len;
	bool first = true;

	scratch.len = 0;
	put(&scratch, "{\"method\":");
	(void)bytes_json(&scratch, x->method);
	put(&scratch, ",\"path\":");
	(void)bytes_json(&scratch, x->path);
	put(&scratch, ",\"query\":");
	(void)bytes_json(&scratch, x->query);
	put(&scratch, ",\"headers\":[");
	while (line != NULL && ++line < end) {
		const char *colon = memchr(line, ':', (size_t)(end - line));

		if (colon == NULL)
			break;
		put(&scratch, first ? "" : ",");
		first = false;
		(void)bytes_json(&scratch, (struct span){ line, (size_t)(colon - line) });
		line = memchr(line, '\n', (size_t)(end - line));
	}
	(void)bytes_printf(&scratch, "],\"body_bytes\":%lld}", (long long)x->body_bytes);
	mock_reply(x, 200, "application/json", bytes_span(&scratch));
}

/* The plain answers are for speed and sizes; the others need a conversation's features, or are asked for. */
static bool
talks(const struct mock_exchange *x, const struct ask *a)
{
	return (a->kind == CHAT || a->kind == RESPONSES) &&
	       (x->script.talks || a->talks || x->dialect != MOCK_OPENAI);
}

void
openai_answer(struct mock_exchange *x, struct span path)
{
	static const struct {
		const char *path;
		enum kind kind;
	} texts[] = {
		{ "/chat/completions", CHAT },
		{ "/completions", COMPLETION },
		{ "/responses", RESPONSES },
	};
	struct ask a = { .kind = KINDS };
	bool embeds = span_is(path, "/embeddings"), posts = span_is(x->method, "POST");
	bool json = true;
	char model[256];

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (span_is(path, texts[i].path))
			a.kind = texts[i].kind;
	if (x->body.len > 0 && x->body.at[0] == '{') {
		json = (int64_t)x->body.len == x->body_bytes &&
		       json_each(x->body, read_member, &a, NULL) == 0;
		if (json_string(a.model, model, sizeof model) >= 0)
			mock_script_model(x, model);
	} else {
		json = false;
	}
	if (mock_error_scripted(x))
		return;
	if (posts && (a.kind != KINDS || embeds) && !json)
		not_json(x);
	else if (posts && talks(x, &a))
		chat_answer(x, a.kind == RESPONSES);
	else if (posts && a.kind != KINDS)
		answer_text(x, &a);
	else if (posts && embeds)
		answer_embeddings(x, &a);
	else if (span_is(x->method, "GET") &&
		 (span_is(path, "/models") || span_starts(path, "/models/")))
		answer_models(x, path);
	else if (posts && span_is(path, "/audio/speech"))
		answer_speech(x);
	else if (posts && span_is(path, "/files"))
		answer_file(x);
	else if (path.at != NULL)
		answer_echo(x);
	else
		mock_error(x, 404, NULL);
}
