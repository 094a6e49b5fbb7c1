/*
 * openai_request.c - what is read out of a request's body, and the two things spliced into it.
 *
 * The text is checked once, by json_each(); behind that, only strings' ends are looked for.
 */
#include "wire/openai.h"

#include "wire/weigh.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

#define CHOICES_MAX          1000000
#define TEXT_BYTES_PER_TOKEN 4

/* ---- the members ---- */

enum member {
	MODEL,
	STREAM,
	STREAM_OPTIONS,
	MAX_COMPLETION_TOKENS,
	MAX_OUTPUT_TOKENS,
	MAX_TOKENS,
	N,
	BEST_OF,
	SAFETY_IDENTIFIER,
	USER,
	METADATA,
	MESSAGES,
	INPUT,
	PROMPT,
	INSTRUCTIONS,
	TOOLS,
	FUNCTIONS,
	RESPONSE_FORMAT,
	MEMBERS
};
static const char *const names[MEMBERS] = { "model", "stream", "stream_options",
	"max_completion_tokens", "max_output_tokens", "max_tokens", "n", "best_of",
	"safety_identifier", "user", "metadata", "messages", "input", "prompt", "instructions",
	"tools", "functions", "response_format" };

struct skim {
	struct json_value found[MEMBERS];
	bool any;
};

static bool
note_member(void *ctx, const struct json_member *m)
{
	struct skim *s = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	s->any = true;
	for (size_t i = 0; i < MEMBERS; i++)
		if (span_is(key, names[i])) {
			s->found[i] = m->value;
			break;
		}
	return true;
}

static bool
is_any(const char *endpoint, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(endpoint, *list) == 0)
			return true;
	return false;
}

static bool
has_usage_option(const char *endpoint)
{
	static const char *const list[] = { "/v1/chat/completions", "/v1/completions", NULL };

	return is_any(endpoint, list);
}

bool
openai_needs_model(const char *endpoint)
{
	static const char *const list[] = { "/v1/chat/completions", "/v1/completions",
		"/v1/responses", "/v1/embeddings", "/v1/audio/speech", NULL };

	return is_any(endpoint, list);
}

static int
refuse(struct err *err, const char *says)
{
	(void)err_set(err, ERR_BAD_REQUEST, "%s", says);
	return err_say(err, "%s", says);
}

static bool
is_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F)
			return false;
	return len > 0;
}

static int
read_model(struct json_value v, bool needed, struct openai_request *out, struct err *err)
{
	ptrdiff_t len;

	if (v.type == JSON_NONE || v.type == JSON_NULL) {
		out->model_value = v;
		if (needed)
			return refuse(err,
				"The member 'model' is missing; say which model is to answer.");
		return 0;
	}
	if (v.type != JSON_STRING)
		return refuse(err, "The member 'model' must be a string.");
	len = json_string(v, out->model, sizeof out->model);
	if (len < 0 || !is_plain(out->model, (size_t)len)) {
		out->model[0] = '\0';
		return refuse(err, "The member 'model' must be a name of 1 to 127 bytes.");
	}
	out->model_value = v;
	return 0;
}

static bool
count_element(void *ctx, const struct json_member *m)
{
	int64_t *count = ctx;

	if (m->value.type == JSON_STRING || m->value.type == JSON_ARRAY)
		++*count;
	return true;
}

/* A count, or -1 where the member is none. */
static int64_t
count_of(const struct skim *s, enum member m)
{
	int64_t n;

	if (s->found[m].type != JSON_NUMBER || json_int(s->found[m], &n) != 0 || n < 0)
		return -1;
	return n;
}

static int64_t
count_choices(const struct skim *s, const char *endpoint)
{
	int64_t n = count_of(s, N), prompts = 0;

	if (n < 1)
		n = 1;
	if (strcmp(endpoint, "/v1/completions") == 0) {
		if (count_of(s, BEST_OF) > n)
			n = count_of(s, BEST_OF);
		if (s->found[PROMPT].type == JSON_ARRAY)
			(void)json_each_element(
				s->found[PROMPT].raw, count_element, &prompts, NULL);
	}
	if (n > CHOICES_MAX)
		n = CHOICES_MAX;
	if (prompts > CHOICES_MAX)
		prompts = CHOICES_MAX;
	n *= prompts > 1 ? prompts : 1;
	return n < CHOICES_MAX ? n : CHOICES_MAX;
}

static int64_t
estimate_input(const struct skim *s)
{
	static const enum member texts[] = { MESSAGES, INPUT, PROMPT, INSTRUCTIONS };
	static const enum member schemas[] = { TOOLS, FUNCTIONS, RESPONSE_FORMAT };
	struct weight w = { 0 };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (s->found[texts[i]].type != JSON_NONE)
			weigh(s->found[texts[i]].raw, &w);
	/* The model reads a schema's names and punctuation too. */
	for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
		if (s->found[schemas[i]].type > JSON_NULL)
			w.text_bytes += (int64_t)s->found[schemas[i]].raw.len;
	return weight_tokens(&w);
}

int64_t
openai_estimate_tokens(int64_t characters)
{
	if (characters <= 0)
		return 0;
	return characters / TEXT_BYTES_PER_TOKEN + (characters % TEXT_BYTES_PER_TOKEN != 0);
}

static void
read_end_user(const struct skim *s, struct openai_request *out)
{
	struct json_value v = s->found[SAFETY_IDENTIFIER];

	if (v.type != JSON_STRING)
		v = s->found[USER];
	if (v.type != JSON_STRING && s->found[METADATA].type == JSON_OBJECT)
		v = json_get(s->found[METADATA].raw, "user_id");
	wire_copy_string(v, out->end_user, sizeof out->end_user);
}

static int
skim(struct span body, const char *endpoint, bool model_needed, struct openai_request *out,
	struct err *err)
{
	static const enum member ceilings[] = { MAX_COMPLETION_TOKENS, MAX_OUTPUT_TOKENS,
		MAX_TOKENS };
	struct skim s = { .any = false };
	size_t at = 0;

	*out = (struct openai_request){ .max_output = -1, .choices = 1 };
	if (json_each(body, note_member, &s, &at) != 0) {
		(void)err_set(
			err, ERR_BAD_REQUEST, "no JSON object: byte %zu of %zu", at, body.len);
		if (at >= body.len)
			return err_say(err,
				"The body is no JSON object: it ends at byte %zu, unfinished.",
				body.len);
		return err_say(err, "The body is no JSON object; see byte %zu.", at + 1);
	}
	if (read_model(s.found[MODEL], model_needed, out, err) != 0)
		return -1;

	if (openai_needs_model(endpoint) && s.found[STREAM].type > JSON_TRUE)
		return refuse(err, "The member 'stream' must be true or false.");
	out->stream = s.found[STREAM].type == JSON_TRUE;
	out->stream_options = s.found[STREAM_OPTIONS];
	if (out->stream_options.type == JSON_OBJECT)
		out->wants_usage =
			json_get(out->stream_options.raw, "include_usage").type == JSON_TRUE;
	for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
		int64_t most = count_of(&s, ceilings[i]);

		if (most > out->max_output)
			out->max_output = most;
	}
	out->choices = count_choices(&s, endpoint);
	read_end_user(&s, out);
	out->input_estimate = estimate_input(&s);
	out->object_end = body.len;
	while (body.at[--out->object_end] != '}')
		;
	out->empty_object = !s.any;
	return 0;
}

int
openai_skim(struct span body, const char *endpoint, struct openai_request *out, struct err *err)
{
	return skim(body, endpoint, openai_needs_model(endpoint), out, err);
}

int
openai_skim_named(struct span body, const char *endpoint, struct span path_model,
	struct openai_request *out, struct err *err)
{
	if (path_model.at == NULL)
		return openai_skim(body, endpoint, out, err);
	if (skim(body, endpoint, false, out, err) != 0)
		return -1;
	(void)span_copy(path_model, out->model, sizeof out->model);
	return 0;
}

/* ---- splicing ---- */

struct splice {
	size_t from, to; /* bytes of the body that go */
	struct span with;
};

static struct span
spliced(struct arena *a, struct span body, const struct splice *edits, size_t count)
{
	size_t len = body.len, at = 0;
	char *out, *to;

	if (count == 0)
		return body;
	for (size_t i = 0; i < count; i++)
		len += edits[i].with.len - (edits[i].to - edits[i].from);
	out = to = arena_room(a, len);
	if (out == NULL)
		return SPAN_NONE;
	for (size_t i = 0; i < count; i++) {
		memcpy(to, body.at + at, edits[i].from - at);
		to += edits[i].from - at;
		memcpy(to, edits[i].with.at, edits[i].with.len);
		to += edits[i].with.len;
		at = edits[i].to;
	}
	memcpy(to, body.at + at, body.len - at);
	return (struct span){ out, len };
}

struct option {
	struct json_value found;
	bool any;
};

static bool
note_option(void *ctx, const struct json_member *m)
{
	struct option *o = ctx;
	char room[WIRE_KEY_BYTES];

	o->any = true;
	if (span_is(wire_key(m->key, room), "include_usage"))
		o->found = m->value;
	return true;
}

/* False when it can stay as it is. */
static bool
splice_options(struct span body, const struct openai_request *q, struct splice *edit)
{
	struct option o = { .any = false };
	size_t at;

	switch (q->stream_options.type) {
	case JSON_NONE:
		*edit = (struct splice){ q->object_end, q->object_end,
			SPAN_LIT(",\"stream_options\":{\"include_usage\":true}") };
		return true;
	case JSON_NULL:
		at = (size_t)(q->stream_options.raw.at - body.at);
		*edit = (struct splice){ at, at + q->stream_options.raw.len,
			SPAN_LIT("{\"include_usage\":true}") };
		return true;
	case JSON_OBJECT:
		break;
	default:
		return false; /* the provider will say what is wrong with it */
	}
	(void)json_each(q->stream_options.raw, note_option, &o, NULL);
	if (o.found.type != JSON_NONE) {
		at = (size_t)(o.found.raw.at - body.at);
		*edit = (struct splice){ at, at + o.found.raw.len, SPAN_LIT("true") };
	} else {
		at = (size_t)(q->stream_options.raw.at - body.at) + 1;
		*edit = (struct splice){ at, at, SPAN_LIT("\"include_usage\":true,") };
		if (!o.any)
			edit->with.len--;
	}
	return true;
}

/* As JSON with its quotes, in the arena; at is NULL when out of memory. */
static struct span
json_text(struct arena *a, const char *s)
{
	struct bytes b = BYTES_LIMIT(6 * strlen(s) + 3);
	struct span text = SPAN_NONE;

	if (bytes_json(&b, span_of(s)) == 0)
		text = (struct span){ arena_strndup(a, b.at, b.len), b.len };
	bytes_free(&b);
	return text;
}

static bool
is_name(struct json_value v, const char *name)
{
	char text[sizeof((struct openai_request *)0)->model];

	return v.type == JSON_STRING && json_string(v, text, sizeof text) >= 0 &&
	       strcmp(text, name) == 0;
}

struct span
openai_rewrite(struct arena *a, struct span body, const struct openai_request *q,
	const char *endpoint, const char *upstream_model)
{
	struct splice edits[2];
	size_t count = 0;

	if (upstream_model != NULL && q->model_value.type != JSON_NONE &&
		!is_name(q->model_value, upstream_model)) {
		size_t at = (size_t)(q->model_value.raw.at - body.at);
		struct span text = json_text(a, upstream_model);

		if (text.at == NULL)
			return SPAN_NONE;
		edits[count++] = (struct splice){ at, at + q->model_value.raw.len, text };
	} else if (upstream_model != NULL && q->model_value.type == JSON_NONE &&
		   q->model[0] != '\0') {
		/* Azure's clients say it in the path */
		size_t at = (size_t)((const char *)memchr(body.at, '{', body.len) - body.at) + 1;
		char *text = arena_printf(a, "\"model\":%s%s", json_text(a, upstream_model).at,
			q->empty_object ? "" : ",");

		if (text == NULL)
			return SPAN_NONE;
		edits[count++] = (struct splice){ at, at, span_of(text) };
	}
	if (q->stream && !q->wants_usage && has_usage_option(endpoint) &&
		splice_options(body, q, &edits[count])) {
		if (count == 1 && edits[1].from < edits[0].from) {
			struct splice first = edits[1];

			edits[1] = edits[0];
			edits[0] = first;
		}
		count++;
	}
	return spliced(a, body, edits, count);
}
