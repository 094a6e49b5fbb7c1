/*
 * gemini_reply.c - Gemini's whole answers read and written, and what its streams share with them.
 *
 * A provider's answer is read tolerantly: protobuf's JSON leaves out what is 0 or empty.
 */
#include "wire/gemini-int.h"

#include "wire/wire-int.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- members in either spelling ---- */

bool
gemini_key_is(struct span key, const char *camel)
{
	size_t i = 0;

	for (; *camel != '\0'; camel++) {
		if (i < key.len && key.at[i] == *camel)
			i++;
		else if (isupper((unsigned char)*camel) && i + 1 < key.len && key.at[i] == '_' &&
			 key.at[i + 1] == (*camel | 0x20))
			i += 2;
		else
			return false;
	}
	return i == key.len;
}

int
gemini_pick(struct span object, const char *const *names, size_t count, struct json_value *found,
	void (*other)(void *ctx, struct span key, struct json_value v), void *ctx)
{
	int rc = text_pick_as(object, names, count, found, gemini_key_is, other, ctx);

	for (size_t i = 0; i < count; i++)
		if (found[i].type == JSON_NULL)
			found[i] = (struct json_value){ JSON_NONE, SPAN_NONE };
	return rc;
}

struct span
gemini_plain(struct arena *a, struct json_value v)
{
	struct span s = v.type == JSON_STRING ? text_plain(a, v) : SPAN_NONE;

	return s.at == NULL ? (struct span){ "", 0 } : s;
}

/* ---- what answers and streams hold alike ---- */

bool
gemini_read_candidate(struct json_value v, size_t nth, struct gemini_candidate *c)
{
	static const char *const names[] = { "index", "content", "finishReason" };
	static const char *const inner[] = { "parts" };
	struct json_value found[3];
	int64_t index;

	if (v.type != JSON_OBJECT)
		return false;
	(void)GEMINI_PICK(v.raw, names, found, NULL, NULL);
	*c = (struct gemini_candidate){ .choice = nth, .finish_word = found[2] };
	if (json_int(found[0], &index) == 0)
		c->choice = index < 0 || index >= NEUTRAL_CHOICES_MAX ? NEUTRAL_CHOICES_MAX
								      : (size_t)index;
	if (found[1].type == JSON_OBJECT &&
		GEMINI_PICK(found[1].raw, inner, found, NULL, NULL) == 0)
		c->parts = found[0];
	return true;
}

bool
gemini_read_part(struct arena *a, struct json_value v, struct gemini_part *out)
{
	static const char *const names[] = { "text", "thought", "thoughtSignature", "functionCall",
		"inlineData" };
	struct json_value found[5];

	if (v.type != JSON_OBJECT)
		return false;
	(void)GEMINI_PICK(v.raw, names, found, NULL, NULL);
	out->text = found[0].type == JSON_STRING ? found[0].raw : SPAN_NONE;
	out->thought = found[1].type == JSON_TRUE;
	out->signature = gemini_plain(a, found[2]);
	out->call = found[3].type == JSON_OBJECT ? found[3].raw : SPAN_NONE;
	out->media = found[4].type == JSON_OBJECT ? found[4].raw : SPAN_NONE;
	return true;
}

int
gemini_read_call(struct arena *a, struct span object, struct neutral_part *p)
{
	static const char *const names[] = { "id", "name", "args" };
	struct json_value found[3];

	(void)GEMINI_PICK(object, names, found, NULL, NULL);
	p->name = gemini_plain(a, found[1]);
	if (p->name.len == 0)
		return 0;
	p->call_id = gemini_plain(a, found[0]);
	if (p->call_id.len == 0 && (p->call_id = text_new_id(a, "call_")).at == NULL)
		return -1;
	p->input = found[2].type == JSON_OBJECT ? found[2].raw : SPAN_LIT("{}");
	return 1;
}

/* ---- media ---- */

enum part_kind
gemini_kind_of(struct span mime)
{
	return span_starts(mime, "image/")   ? PART_IMAGE
	       : span_starts(mime, "audio/") ? PART_AUDIO
	       : span_starts(mime, "video/") ? PART_VIDEO
					     : PART_DOCUMENT;
}

/* Some clients write base64 with the letters that suit addresses; others read only the standard's. */
static struct span
standard_base64(struct arena *a, struct span data)
{
	char *copy;

	if (memchr(data.at, '-', data.len) == NULL && memchr(data.at, '_', data.len) == NULL)
		return data;
	copy = arena_strndup(a, data.at, data.len);
	for (size_t i = 0; copy != NULL && i < data.len; i++)
		if (copy[i] == '-')
			copy[i] = '+';
		else if (copy[i] == '_')
			copy[i] = '/';
	return (struct span){ copy, copy == NULL ? 0 : data.len };
}

bool
gemini_read_inline(struct arena *a, struct span object, struct neutral_part *p, const char **member)
{
	static const char *const names[] = { "mimeType", "data", "displayName" };
	struct json_value found[3];

	(void)GEMINI_PICK(object, names, found, NULL, NULL);
	*member = "mimeType";
	p->mime = text_mime(gemini_plain(a, found[0]));
	if (p->mime.len == 0)
		return false;
	*member = "data";
	p->data = gemini_plain(a, found[1]);
	if (p->data.len == 0 || (p->data = standard_base64(a, p->data)).at == NULL)
		return false;
	if (found[2].type == JSON_STRING)
		p->title = gemini_plain(a, found[2]);
	p->kind = gemini_kind_of(p->mime);
	return true;
}

static enum part_kind
kind_of_address(struct span uri)
{
	static const char *const images[] = { ".png", ".jpg", ".jpeg", ".gif", ".webp" };

	if (span_starts(uri, "https://www.youtube.com/") ||
		span_starts(uri, "https://youtube.com/") || span_starts(uri, "https://youtu.be/"))
		return PART_VIDEO;
	for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
		if (span_ends(uri, images[i]))
			return PART_IMAGE;
	return PART_DOCUMENT;
}

bool
gemini_read_file(struct arena *a, struct span object, struct neutral_part *p, const char **member)
{
	static const char *const names[] = { "mimeType", "fileUri", "displayName" };
	struct json_value found[3];
	struct span uri;

	(void)GEMINI_PICK(object, names, found, NULL, NULL);
	*member = "fileUri";
	uri = gemini_plain(a, found[1]);
	if (uri.len == 0)
		return false;
	p->mime = found[0].type == JSON_STRING ? text_mime(gemini_plain(a, found[0])) : SPAN_NONE;
	p->kind = p->mime.len > 0 ? gemini_kind_of(p->mime) : kind_of_address(uri);
	if (found[2].type == JSON_STRING)
		p->title = gemini_plain(a, found[2]);
	if ((span_starts(uri, "https://") || span_starts(uri, "http://")) &&
		!span_starts(uri, GEMINI_FILES))
		p->url = uri;
	else
		p->file_id = uri;
	return true;
}

/* ---- parts written ---- */

struct span
gemini_signature(const struct neutral_part *p)
{
	return p->signer == SIGNER_GEMINI && p->signature.len > 0 ? p->signature : SPAN_NONE;
}

static void
end_part(struct json_out *o, struct span signature)
{
	if (signature.at != NULL)
		out_text(o, "thoughtSignature", signature);
	out_close(o, '}');
}

void
gemini_put_text(struct json_out *o, struct span text, bool thought, struct span signature)
{
	out_open(o, NULL, '{');
	out_json(o, "text", text.at == NULL ? SPAN_LIT("\"\"") : text);
	if (thought)
		out_bool(o, "thought", true);
	end_part(o, signature);
}

void
gemini_put_call(struct json_out *o, struct span id, struct span name, struct span args,
	struct span signature)
{
	out_open(o, NULL, '{');
	out_open(o, "functionCall", '{');
	if (id.len > 0)
		out_text(o, "id", id);
	out_text(o, "name", name);
	out_json(o, "args", args.at == NULL ? SPAN_LIT("{}") : args);
	out_close(o, '}');
	end_part(o, signature);
}

void
gemini_put_inline(struct json_out *o, const struct neutral_part *p)
{
	struct span uri = p->url.at != NULL ? p->url : p->file_id;

	out_open(o, NULL, '{');
	out_open(o, p->data.at != NULL ? "inlineData" : "fileData", '{');
	if (p->mime.len > 0)
		out_text(o, "mimeType", p->mime);
	out_text(o, p->data.at != NULL ? "data" : "fileUri", p->data.at != NULL ? p->data : uri);
	out_close(o, '}');
	end_part(o, gemini_signature(p));
}

/* ---- why it ended ---- */

static const struct {
	const char *word;
	enum finish finish;
} finishes[] = {
	{ "STOP", FINISH_STOP },
	{ "MAX_TOKENS", FINISH_LENGTH },
	{ "SAFETY", FINISH_FILTER },
	{ "RECITATION", FINISH_FILTER },
	{ "BLOCKLIST", FINISH_FILTER },
	{ "PROHIBITED_CONTENT", FINISH_FILTER },
	{ "SPII", FINISH_FILTER },
	{ "IMAGE_SAFETY", FINISH_FILTER },
	{ "IMAGE_PROHIBITED_CONTENT", FINISH_FILTER },
	{ "IMAGE_RECITATION", FINISH_FILTER },
	{ "LANGUAGE", FINISH_FILTER },
	{ "OTHER", FINISH_FILTER },
	{ "IMAGE_OTHER", FINISH_FILTER },
	{ "NO_IMAGE", FINISH_FILTER },
	{ "ESCALATION", FINISH_FILTER },
	{ "MALFORMED_FUNCTION_CALL", FINISH_MALFORMED },
	{ "MALFORMED_RESPONSE", FINISH_MALFORMED },
	{ "UNEXPECTED_TOOL_CALL", FINISH_MALFORMED },
	{ "TOO_MANY_TOOL_CALLS", FINISH_MALFORMED },
	{ "MISSING_THOUGHT_SIGNATURE", FINISH_MALFORMED },
	{ "CONTINUATION", FINISH_LENGTH },
};

enum finish
gemini_finish_of(struct span word)
{
	if (word.len == 0 || span_is(word, "FINISH_REASON_UNSPECIFIED"))
		return FINISH_NONE;
	for (size_t i = 0; i < sizeof finishes / sizeof finishes[0]; i++)
		if (span_is(word, finishes[i].word))
			return finishes[i].finish;
	return FINISH_STOP; /* a word of tomorrow: it did end */
}

const char *
gemini_finish_word(enum finish f)
{
	switch (f) {
	case FINISH_LENGTH:
	case FINISH_CONTEXT:
		return "MAX_TOKENS";
	case FINISH_FILTER:
		return "SAFETY";
	case FINISH_MALFORMED:
		return "MALFORMED_FUNCTION_CALL";
	default:
		return "STOP";
	}
}

/* ---- usage ---- */

static int64_t
tokens(struct json_value v)
{
	int64_t n;

	if (json_int(v, &n) != 0)
		return -1;
	return n < 0 ? 0 : n > WIRE_TOKENS_MAX ? WIRE_TOKENS_MAX : n;
}

static bool
note_detail(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "modality", "tokenCount" };
	struct json_value found[2];
	int64_t *audio = ctx, n;
	char modality[16];

	if (GEMINI_PICK(m->value.raw, names, found, NULL, NULL) != 0 ||
		json_string(found[0], modality, sizeof modality) < 0 ||
		strcmp(modality, "AUDIO") != 0)
		return true;
	n = tokens(found[1]);
	if (n > 0 && *audio < WIRE_TOKENS_MAX)
		*audio += n;
	return true;
}

static int64_t
audio_in(struct json_value details)
{
	int64_t audio = 0;

	if (details.type == JSON_ARRAY)
		(void)json_each_element(details.raw, note_detail, &audio, NULL);
	return audio;
}

enum {
	U_PROMPT,
	U_CACHED,
	U_ANSWER,
	U_THOUGHTS,
	U_TOOLS,
	U_TOTAL,
	U_PROMPT_DETAILS,
	U_ANSWER_DETAILS,
	U_CACHE_DETAILS,
	U_TOOLS_DETAILS,
	U_TIER,
	U__COUNT
};
static const char *const usage_members[U__COUNT] = { "promptTokenCount", "cachedContentTokenCount",
	"candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount", "totalTokenCount",
	"promptTokensDetails", "candidatesTokensDetails", "cacheTokensDetails",
	"toolUsePromptTokensDetails", "serviceTier" };

static int64_t
or_zero(int64_t n)
{
	return n < 0 ? 0 : n;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void
take_prompt(const struct json_value v[U__COUNT], struct wire_usage *out)
{
	int64_t prompt = tokens(v[U_PROMPT]), tools = tokens(v[U_TOOLS]), audio;

	if (prompt < 0 && tools < 0)
		return;
	out->cache_read = least(or_zero(tokens(v[U_CACHED])), or_zero(prompt));
	out->input = least(or_zero(prompt) - out->cache_read + or_zero(tools),
		WIRE_TOKENS_MAX - out->cache_read);
	audio = audio_in(v[U_PROMPT_DETAILS]) - audio_in(v[U_CACHE_DETAILS]) +
		audio_in(v[U_TOOLS_DETAILS]);
	if (audio > 0)
		out->audio_input = least(audio, out->input);
	out->seen = true;
}

static void
take_answer(const struct json_value v[U__COUNT], struct wire_usage *out)
{
	int64_t answer = tokens(v[U_ANSWER]), thoughts = tokens(v[U_THOUGHTS]);
	int64_t prompt = tokens(v[U_PROMPT]), total = tokens(v[U_TOTAL]), known, audio;

	known = or_zero(prompt) + or_zero(tokens(v[U_TOOLS])) + or_zero(answer) + or_zero(thoughts);
	if (answer < 0 && thoughts < 0 && total <= known)
		return;
	/* what the total has more than its parts is thought that was not named */
	if (prompt >= 0 && total > known)
		thoughts = or_zero(thoughts) + total - known;
	out->output = least(or_zero(answer) + or_zero(thoughts), WIRE_TOKENS_MAX);
	if (thoughts >= 0)
		out->reasoning = least(thoughts, out->output);
	audio = audio_in(v[U_ANSWER_DETAILS]);
	if (audio > 0)
		out->audio_output = least(audio, out->output);
	out->seen = true;
}

static void
take_usage(struct span object, struct wire_usage *out)
{
	struct json_value found[U__COUNT];

	if (GEMINI_PICK(object, usage_members, found, NULL, NULL) != 0)
		return;
	take_prompt(found, out);
	take_answer(found, out);
	wire_take_tier(found[U_TIER], out);
}

static bool
usage_element(void *ctx, const struct json_member *m)
{
	if (m->value.type == JSON_OBJECT)
		gemini_usage(m->value.raw, ctx);
	return true;
}

void
gemini_usage(struct span json, struct wire_usage *out)
{
	static const char *const names[] = { "usageMetadata" };
	struct json_value found[1];

	if (!out->seen)
		*out = WIRE_USAGE_NONE;
	if (GEMINI_PICK(json, names, found, NULL, NULL) != 0)
		(void)json_each_element(json, usage_element, out, NULL);
	else if (found[0].type == JSON_OBJECT)
		take_usage(found[0].raw, out);
}

static void
put_details(struct json_out *o, const char *key, int64_t total, int64_t audio)
{
	if (audio <= 0)
		return;
	out_open(o, key, '[');
	out_open(o, NULL, '{');
	out_string(o, "modality", "TEXT");
	out_int(o, "tokenCount", total - audio);
	out_close(o, '}');
	out_open(o, NULL, '{');
	out_string(o, "modality", "AUDIO");
	out_int(o, "tokenCount", audio);
	out_close(o, '}');
	out_close(o, ']');
}

void
gemini_put_usage(struct json_out *o, const struct wire_usage *u)
{
	int64_t prompt = usage_input_total(u), output = usage_or_zero(u->output);
	int64_t thoughts = least(usage_or_zero(u->reasoning), output);

	if (!u->seen)
		return;
	out_open(o, "usageMetadata", '{');
	out_int(o, "promptTokenCount", prompt);
	if (u->cache_read > 0)
		out_int(o, "cachedContentTokenCount", u->cache_read);
	out_int(o, "candidatesTokenCount", output - thoughts);
	if (thoughts > 0)
		out_int(o, "thoughtsTokenCount", thoughts);
	out_int(o, "totalTokenCount", prompt + output);
	put_details(o, "promptTokensDetails", prompt, u->audio_input);
	put_details(o, "candidatesTokensDetails", output - thoughts, u->audio_output);
	if (u->tier[0] != '\0')
		out_string(o, "serviceTier", u->tier);
	out_close(o, '}');
}

/* ---- whole answers read ---- */

struct answer {
	struct neutral_reply *r;
	struct err *err;
	size_t choice, nth; /* the candidate under way, and how many came before it */
	bool failed, blocked, any;
};

static bool
stop(struct answer *a)
{
	a->failed = true;
	return false;
}

static bool
out_of_memory(struct answer *a)
{
	(void)err_set(a->err, ERR_MEMORY, "no memory to read an answer");
	return stop(a);
}

static struct neutral_part *
add(struct answer *a, enum part_kind kind, struct span signature)
{
	struct neutral_part *p = neutral_reply_add(a->r, a->choice, kind, a->err);

	if (p == NULL) {
		(void)stop(a);
		return NULL;
	}
	if (signature.len > 0) {
		p->signature = signature;
		p->signer = SIGNER_GEMINI;
	}
	return p;
}

static bool
add_call(struct answer *a, struct span object, struct span signature)
{
	struct neutral_part call = { .kind = PART_TOOL_CALL }, *p;
	int rc = gemini_read_call(a->r->arena, object, &call);

	if (rc < 0)
		return out_of_memory(a);
	if (rc == 0)
		return true;
	p = add(a, PART_TOOL_CALL, signature);
	if (p == NULL)
		return false;
	p->call_id = call.call_id;
	p->name = call.name;
	p->input = call.input;
	return true;
}

static bool
add_media(struct answer *a, struct span object, struct span signature)
{
	struct neutral_part media = { .kind = PART_DOCUMENT }, *p;
	const char *member;

	if (!gemini_read_inline(a->r->arena, object, &media, &member))
		return true;
	media.signature = signature.len > 0 ? signature : SPAN_NONE;
	media.signer = signature.len > 0 ? SIGNER_GEMINI : SIGNER_NONE;
	p = add(a, media.kind, SPAN_NONE);
	if (p != NULL)
		*p = media;
	return p != NULL;
}

static bool
read_part(void *ctx, const struct json_member *m)
{
	struct answer *a = ctx;
	struct gemini_part got;
	struct neutral_part *p;

	if (!gemini_read_part(a->r->arena, m->value, &got))
		return true;
	if (got.call.at != NULL)
		return add_call(a, got.call, got.signature);
	if (got.media.at != NULL)
		return add_media(a, got.media, got.signature);
	if (text_is_empty(got.text) && got.signature.len == 0)
		return true;
	p = add(a, got.thought ? PART_REASONING : PART_TEXT, got.signature);
	if (p == NULL)
		return false;
	p->text = got.text.at != NULL ? got.text : SPAN_LIT("\"\"");
	if (got.thought)
		p->signer = SIGNER_GEMINI;
	return true;
}

/* The choice exists though it may hold nothing. */
static bool
have_choice(struct answer *a)
{
	struct neutral_part *p;

	if (a->choice < a->r->choice_count)
		return true;
	p = neutral_reply_add(a->r, a->choice, PART_TEXT, a->err);
	if (p == NULL)
		return stop(a);
	a->r->choice[a->choice].count = 0;
	return true;
}

static bool
read_candidate(void *ctx, const struct json_member *m)
{
	struct answer *a = ctx;
	struct gemini_candidate c;
	enum finish finish;

	if (!gemini_read_candidate(m->value, a->nth, &c))
		return true;
	a->nth++;
	a->choice = c.choice;
	if (!have_choice(a))
		return false;
	a->any = true;
	if (c.parts.type == JSON_ARRAY)
		(void)json_each_element(c.parts.raw, read_part, a, NULL);
	finish = gemini_finish_of(gemini_plain(a->r->arena, c.finish_word));
	if (finish != FINISH_NONE && !a->failed)
		a->r->choice[a->choice].finish = finish;
	return !a->failed;
}

static bool
read_object(struct answer *a, struct span object)
{
	static const char *const names[] = { "candidates", "promptFeedback", "error",
		"modelVersion", "responseId", "usageMetadata" };
	struct json_value found[6];

	if (GEMINI_PICK(object, names, found, NULL, NULL) != 0) {
		(void)err_set(a->err, ERR_UPSTREAM_UNREACHABLE, "the answer is no JSON object");
		return stop(a);
	}
	if (found[2].type != JSON_NONE) {
		(void)error_of_provider(object, a->err);
		a->err->code = ERR_UPSTREAM_UNREACHABLE;
		return stop(a);
	}
	a->nth = 0;
	a->blocked = a->blocked || found[1].type == JSON_OBJECT;
	if (found[3].type == JSON_STRING)
		a->r->model = gemini_plain(a->r->arena, found[3]);
	if (found[4].type == JSON_STRING)
		a->r->id = gemini_plain(a->r->arena, found[4]);
	if (found[5].type == JSON_OBJECT)
		take_usage(found[5].raw, &a->r->usage);
	if (found[0].type == JSON_ARRAY)
		(void)json_each_element(found[0].raw, read_candidate, a, NULL);
	return !a->failed;
}

/* A stream in array form that was gathered whole; each element holds the next parts. */
static bool
read_element(void *ctx, const struct json_member *m)
{
	return read_object(ctx, m->value.raw);
}

static bool
has_call(const struct neutral_choice *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->part[i].kind == PART_TOOL_CALL)
			return true;
	return false;
}

int
gemini_came_to_nothing(struct err *err)
{
	(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "the model wrote a call that cannot be read");
	return err_say(err, "The model's answer could not be read by its provider; try again.");
}

static int
finish_choices(struct answer *a)
{
	bool any = false, malformed = false;

	for (size_t i = 0; i < a->r->choice_count; i++) {
		struct neutral_choice *c = &a->r->choice[i];

		any = any || c->count > 0;
		malformed = malformed || c->finish == FINISH_MALFORMED;
		c->finish = neutral_finish(c->finish, has_call(c));
	}
	return malformed && !any ? gemini_came_to_nothing(a->err) : 0;
}

int
gemini_read_reply(struct span body, struct neutral_reply *r, struct err *err)
{
	struct answer a = { .r = r, .err = err };
	const char *p = body.len == 0 ? "" : body.at, *end = p + body.len;

	if (!r->usage.seen)
		r->usage = WIRE_USAGE_NONE;
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	if (p == end || *p != '[')
		(void)read_object(&a, body);
	else if (json_each_element(body, read_element, &a, NULL) != 0 && !a.failed) {
		(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "the answer is no JSON");
		(void)stop(&a);
	}
	if (a.failed)
		return -1;
	if (!a.any && !a.blocked) {
		(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "the answer has no candidates");
		return err_say(err, "The provider gave an answer with nothing in it; try again.");
	}
	if (!a.any) {
		a.choice = 0;
		if (!have_choice(&a))
			return -1;
		r->choice[0].finish = FINISH_FILTER;
	}
	return finish_choices(&a);
}

/* ---- whole answers written ---- */

struct span
gemini_arguments(struct arena *a, struct span json_string)
{
	struct span plain = text_plain(a, (struct json_value){ JSON_STRING, json_string });

	while (plain.len > 0 && strchr(" \n\r\t", plain.at[0]) != NULL)
		plain = (struct span){ plain.at + 1, plain.len - 1 };
	if (plain.at == NULL)
		return SPAN_NONE;
	if (plain.len == 0)
		return SPAN_LIT("{}");
	return plain.at[0] == '{' && json_valid(plain) ? plain : SPAN_NONE;
}

/* False: the model's arguments are no JSON object. */
static bool
put_part(struct arena *a, struct json_out *o, const struct neutral_part *p)
{
	struct span args = p->input;

	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
	case PART_REASONING:
		if (!text_is_empty(p->text) || gemini_signature(p).at != NULL)
			gemini_put_text(o, p->text, p->kind == PART_REASONING, gemini_signature(p));
		return true;
	case PART_TOOL_CALL:
		if (p->arguments.at != NULL)
			args = gemini_arguments(a, p->arguments);
		if (args.at == NULL)
			return false;
		gemini_put_call(o, p->call_id, p->name, args, gemini_signature(p));
		return true;
	case PART_IMAGE:
	case PART_AUDIO:
	case PART_VIDEO:
	case PART_DOCUMENT:
		if (p->data.at != NULL || p->url.at != NULL || p->file_id.at != NULL)
			gemini_put_inline(o, p);
		return true;
	default:
		return true;
	}
}

static void
put_choice(struct arena *a, struct json_out *o, const struct neutral_choice *c, size_t index)
{
	bool readable = true;

	out_open(o, NULL, '{');
	out_open(o, "content", '{');
	out_open(o, "parts", '[');
	for (size_t i = 0; i < c->count; i++)
		readable = put_part(a, o, &c->part[i]) && readable;
	if (!o->comma) /* SDKs drop a turn without parts from their history */
		gemini_put_text(o, SPAN_NONE, false, SPAN_NONE);
	out_close(o, ']');
	out_string(o, "role", "model");
	out_close(o, '}');
	out_string(o, "finishReason", gemini_finish_word(readable ? c->finish : FINISH_MALFORMED));
	out_int(o, "index", (int64_t)index);
	out_close(o, '}');
}

int
gemini_write_reply(const struct neutral_reply *r, const struct reply_options *o, struct bytes *out)
{
	struct json_out to = { out, false };

	out_open(&to, NULL, '{');
	out_open(&to, "candidates", '[');
	for (size_t i = 0; i < r->choice_count; i++)
		put_choice(r->arena, &to, &r->choice[i], i);
	out_close(&to, ']');
	gemini_put_usage(&to, &r->usage);
	if (o->model != NULL && o->model[0] != '\0')
		out_string(&to, "modelVersion", o->model);
	else
		out_text(&to, "modelVersion", r->model);
	out_text(&to, "responseId", r->id.len > 0 ? r->id : text_new_id(r->arena, "resp_"));
	out_close(&to, '}');
	return out->failed ? -1 : 0;
}
