/*
 * openai_chat_write.c - a neutral request as a chat request.
 *
 * OpenAI refuses members it does not know, so nothing is written that only some servers take; what
 * OpenRouter takes besides is written for OpenRouter alone.
 */
#include "wire/openai_write-int.h"

#include "wire/effort.h"
#include "wire/wire-int.h"
#include <string.h>

#define STOPS_MOST 4 /* R6 */

struct chat_writer {
	struct neutral_request *n;
	const struct request_target *to;
	struct losses *lost;
	struct err *err;
	struct json_out o;
	bool openrouter;
};

static const char *
model_of(const struct chat_writer *w)
{
	return w->to->model == NULL ? "" : w->to->model;
}

/* ---- parts ---- */

static void
put_cache(struct chat_writer *w, enum cache_mark cache)
{
	if (cache == CACHE_NONE)
		return;
	if (!w->openrouter) {
		losses_add(w->lost, SPAN_LIT("cache_control"), false);
		return;
	}
	out_open(&w->o, "cache_control", '{');
	out_string(&w->o, "type", "ephemeral");
	if (cache == CACHE_1H)
		out_string(&w->o, "ttl", "1h");
	out_close(&w->o, '}');
}

static void
open_part(struct chat_writer *w, const char *type)
{
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", type);
}

static void
close_part(struct chat_writer *w, const struct neutral_part *p)
{
	put_cache(w, p->cache);
	out_close(&w->o, '}');
}

static int
put_by_url(struct chat_writer *w, const struct neutral_part *p, const char *type)
{
	if (p->data.at == NULL && p->url.at == NULL)
		return chat_refuse(w->err, type,
			"The provider needs images as base64 data or by an https address; a file's "
			"id is known to its own provider alone.");
	open_part(w, type);
	out_open(&w->o, type, '{');
	if (p->data.at != NULL)
		chat_write_data_url(&w->o, "url", p->mime, p->data);
	else
		out_text(&w->o, "url", p->url);
	if (p->detail.at != NULL)
		out_text(&w->o, "detail", p->detail);
	out_close(&w->o, '}');
	close_part(w, p);
	return 0;
}

static const char *
file_name(struct span mime)
{
	return span_is(mime, "text/plain") ? "document.txt" : "document.pdf";
}

static int
put_document(struct chat_writer *w, const struct neutral_part *p)
{
	if (p->text.at != NULL) {
		open_part(w, "text");
		out_json(&w->o, "text", p->text);
		close_part(w, p);
		return 0;
	}
	if (p->data.at == NULL && (p->url.at == NULL || !w->openrouter))
		return chat_refuse(w->err, "file",
			"The provider needs documents as base64 data; an address or a file's id it "
			"cannot read.");
	open_part(w, "file");
	out_open(&w->o, "file", '{');
	if (p->title.len > 0)
		out_text(&w->o, "filename", p->title);
	else
		out_string(&w->o, "filename", file_name(p->mime));
	if (p->data.at != NULL)
		chat_write_data_url(&w->o, "file_data", p->mime, p->data);
	else
		out_text(&w->o, "file_data", p->url);
	out_close(&w->o, '}');
	close_part(w, p);
	return 0;
}

/* "wav" of audio/wav and its other names. */
static struct span
audio_format(struct span mime)
{
	static const struct {
		const char *mime;
		const char *format;
	} names[] = { { "audio/mpeg", "mp3" }, { "audio/x-wav", "wav" }, { "audio/wave", "wav" },
		{ "audio/vnd.wave", "wav" }, { "audio/mp4", "m4a" } };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (span_is_nocase(mime, names[i].mime))
			return span_of(names[i].format);
	if (span_starts(mime, "audio/"))
		return (struct span){ mime.at + 6, mime.len - 6 };
	return SPAN_NONE;
}

static int
put_audio(struct chat_writer *w, const struct neutral_part *p)
{
	struct span format = audio_format(p->mime);

	if (p->data.at == NULL || format.len == 0 ||
		(!w->openrouter && !span_is(format, "wav") && !span_is(format, "mp3")))
		return chat_refuse(w->err, "input_audio",
			"The provider takes audio as base64 data in WAV or MP3 alone.");
	open_part(w, "input_audio");
	out_open(&w->o, "input_audio", '{');
	out_text(&w->o, "data", p->data);
	out_text(&w->o, "format", format);
	out_close(&w->o, '}');
	close_part(w, p);
	return 0;
}

static int
put_part(struct chat_writer *w, const struct neutral_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		open_part(w, "text");
		out_json(&w->o, "text", p->text);
		close_part(w, p);
		return 0;
	case PART_IMAGE:
		return put_by_url(w, p, "image_url");
	case PART_DOCUMENT:
		return put_document(w, p);
	case PART_AUDIO:
		return put_audio(w, p);
	case PART_VIDEO:
		if (w->openrouter)
			return put_by_url(w, p, "video_url");
		return chat_refuse(w->err, "video", "The provider takes no video.");
	default:
		return 0;
	}
}

/* ---- messages ---- */

static void
open_message(struct chat_writer *w, const char *role)
{
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "role", role);
}

static int
put_system(struct chat_writer *w)
{
	struct neutral_request *n = w->n;
	struct span all;

	if (n->system_count == 0)
		return 0;
	if (w->openrouter) {
		for (size_t i = 0; i < n->system_count; i++)
			if (n->system[i].cache != CACHE_NONE) {
				open_message(w, "system");
				out_open(&w->o, "content", '[');
				for (i = 0; i < n->system_count; i++)
					(void)put_part(w, &n->system[i]);
				out_close(&w->o, ']');
				out_close(&w->o, '}');
				return 0;
			}
	}
	if (chat_join_system(n, &all, w->err) != 0)
		return -1;
	for (size_t i = 0; i < n->system_count; i++)
		if (n->system[i].cache != CACHE_NONE)
			losses_add(w->lost, SPAN_LIT("cache_control"), false);
	open_message(w, "system");
	out_json(&w->o, "content", all);
	out_close(&w->o, '}');
	return 0;
}

static bool
is_media(enum part_kind k)
{
	return k == PART_IMAGE || k == PART_DOCUMENT || k == PART_AUDIO || k == PART_VIDEO;
}

/* Media that stands as text is text. */
static bool
is_textual(const struct neutral_part *p)
{
	return p->kind == PART_TEXT || (p->kind == PART_DOCUMENT && p->text.at != NULL);
}

static bool
keeps_mark(const struct chat_writer *w, const struct neutral_part *p)
{
	return w->openrouter && p->cache != CACHE_NONE;
}

/* Content of the parts that are text: a plain string where there is one alone, since not all servers
 * read arrays.  Nothing at all gives "" . */
static int
put_texts(struct chat_writer *w, const struct neutral_part *part, size_t count)
{
	const struct neutral_part *only = NULL;
	size_t texts = 0;

	for (size_t i = 0; i < count; i++)
		if (is_textual(&part[i])) {
			only = &part[i];
			texts++;
		}
	if (texts == 0) {
		out_string(&w->o, "content", "");
		return 0;
	}
	if (texts == 1 && !keeps_mark(w, only)) {
		out_json(&w->o, "content", only->text);
		if (only->cache != CACHE_NONE)
			losses_add(w->lost, SPAN_LIT("cache_control"), false);
		return 0;
	}
	out_open(&w->o, "content", '[');
	for (size_t i = 0; i < count; i++)
		if (is_textual(&part[i]) && put_part(w, &part[i]) != 0)
			return -1;
	out_close(&w->o, ']');
	return 0;
}

static int
put_result(struct chat_writer *w, const struct neutral_part *p)
{
	struct span id = text_clean_id(w->n->arena, p->call_id);

	if (id.at == NULL)
		return err_set(w->err, ERR_MEMORY, "no memory for a tool call's id");
	if (p->is_error)
		losses_add(w->lost, SPAN_LIT("is_error"), false);
	open_message(w, "tool");
	out_text(&w->o, "tool_call_id", id);
	if (put_texts(w, p->content, p->content_count) != 0)
		return -1;
	put_cache(w, p->cache);
	out_close(&w->o, '}');
	return 0;
}

/* What a user said besides: text alone as a string, else parts.  Images that a tool gave stand here
 * too, since its message takes text alone. */
static int
put_said(struct chat_writer *w, const struct neutral_message *m)
{
	const struct neutral_part *only = NULL;
	size_t said = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct neutral_part *p = &m->part[i];

		if (p->kind == PART_TEXT || p->kind == PART_REFUSAL || is_media(p->kind)) {
			only = p;
			said++;
		}
		for (size_t k = 0; k < p->content_count; k++)
			said += is_media(p->content[k].kind) && !is_textual(&p->content[k]) ? 2 : 0;
	}
	if (said == 0)
		return 0;
	open_message(w, "user");
	if (said == 1 && is_textual(only) && !keeps_mark(w, only)) {
		if (put_texts(w, only, 1) != 0)
			return -1;
		out_close(&w->o, '}');
		return 0;
	}
	out_open(&w->o, "content", '[');
	for (size_t i = 0; i < m->count; i++) {
		const struct neutral_part *p = &m->part[i];

		for (size_t k = 0; k < p->content_count; k++)
			if (is_media(p->content[k].kind) && !is_textual(&p->content[k]) &&
				put_part(w, &p->content[k]) != 0)
				return -1;
	}
	for (size_t i = 0; i < m->count; i++)
		if (put_part(w, &m->part[i]) != 0)
			return -1;
	out_close(&w->o, ']');
	out_close(&w->o, '}');
	return 0;
}

static int
put_user(struct chat_writer *w, const struct neutral_message *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->part[i].kind == PART_TOOL_RESULT && put_result(w, &m->part[i]) != 0)
			return -1;
	return put_said(w, m);
}

/* ---- what the assistant said ---- */

static const char *
reasoning_name(const struct neutral_part *p)
{
	switch (p->signer) {
	case SIGNER_ANTHROPIC:
		return p->kind == PART_REDACTED ? "redacted thinking block" : "thinking block";
	case SIGNER_OPENAI:
		return "reasoning item";
	case SIGNER_GEMINI:
		return "thought";
	default:
		return "reasoning";
	}
}

static void
put_detail(struct chat_writer *w, const struct neutral_part *p)
{
	out_open(&w->o, NULL, '{');
	if (p->kind == PART_REDACTED) {
		out_string(&w->o, "type", "reasoning.encrypted");
		out_text(&w->o, "data", p->signature);
	} else {
		out_string(&w->o, "type", "reasoning.text");
		out_json(&w->o, "text", p->text);
		if (p->signature.at != NULL)
			out_text(&w->o, "signature", p->signature);
	}
	if (p->signer != SIGNER_NONE)
		out_string(&w->o, "format", chat_signer_format(p->signer));
	out_close(&w->o, '}');
}

/* R24: OpenAI takes none back.  OpenRouter takes all with their signatures, and DeepSeek wants the text
 * of its own within a tool loop. */
static int
put_reasoning(struct chat_writer *w, const struct neutral_message *m)
{
	bool deepseek = !w->openrouter && strcasestr(model_of(w), "deepseek") != NULL;
	struct span *texts;
	size_t count = 0;

	for (size_t i = 0; i < m->count; i++)
		count += m->part[i].kind == PART_REASONING || m->part[i].kind == PART_REDACTED;
	if (count == 0)
		return 0;
	if (w->openrouter) {
		out_open(&w->o, "reasoning_details", '[');
		for (size_t i = 0; i < m->count; i++)
			if (m->part[i].kind == PART_REASONING || m->part[i].kind == PART_REDACTED)
				put_detail(w, &m->part[i]);
		out_close(&w->o, ']');
		return 0;
	}
	if ((texts = arena_alloc(w->n->arena, count * sizeof *texts)) == NULL)
		return err_set(w->err, ERR_MEMORY, "no memory for reasoning");
	count = 0;
	for (size_t i = 0; i < m->count; i++) {
		const struct neutral_part *p = &m->part[i];

		if (p->kind == PART_REASONING && deepseek)
			texts[count++] = p->text;
		else if (p->kind == PART_REASONING || p->kind == PART_REDACTED)
			losses_add(w->lost, span_of(reasoning_name(p)), false);
	}
	if (count > 0)
		out_json(&w->o, "reasoning_content", text_joined(w->n->arena, texts, count, ""));
	return 0;
}

static int
put_call(struct chat_writer *w, const struct neutral_part *p)
{
	struct span id = text_clean_id(w->n->arena, p->call_id);
	bool gemini = strcasestr(model_of(w), "gemini") != NULL;

	if (id.at == NULL)
		return err_set(w->err, ERR_MEMORY, "no memory for a tool call");
	out_open(&w->o, NULL, '{');
	out_text(&w->o, "id", id);
	out_string(&w->o, "type", p->is_custom ? "custom" : "function");
	out_open(&w->o, p->is_custom ? "custom" : "function", '{');
	out_text(&w->o, "name", p->name);
	if (chat_put_arguments(&w->o, w->n, p, w->err) != 0)
		return -1;
	out_close(&w->o, '}');
	/* Google's servers of this dialect take it back; others refuse it. */
	if (p->signer == SIGNER_GEMINI && p->signature.at != NULL) {
		if (gemini)
			chat_write_thought_signature(&w->o, p->signature);
		else
			losses_add(w->lost, SPAN_LIT("thoughtSignature"), false);
	}
	out_close(&w->o, '}');
	return 0;
}

static int
put_refusals(struct chat_writer *w, const struct neutral_message *m, size_t count)
{
	struct span *texts = arena_alloc(w->n->arena, count * sizeof *texts), all;

	if (texts == NULL)
		return err_set(w->err, ERR_MEMORY, "no memory for refusals");
	count = 0;
	for (size_t i = 0; i < m->count; i++)
		if (m->part[i].kind == PART_REFUSAL)
			texts[count++] = m->part[i].text;
	all = text_joined(w->n->arena, texts, count, "\\n\\n");
	if (all.at == NULL)
		return err_set(w->err, ERR_MEMORY, "no memory for refusals");
	out_json(&w->o, "refusal", all);
	return 0;
}

static int
put_assistant(struct chat_writer *w, const struct neutral_message *m)
{
	size_t has[PART__COUNT] = { 0 }, texts = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct neutral_part *p = &m->part[i];

		has[p->kind]++;
		texts += is_textual(p);
		if (is_media(p->kind) && !is_textual(p) &&
			!(p->kind == PART_AUDIO && p->file_id.at != NULL)) {
			/* no member of this dialect holds what a model drew */
			losses_add(w->lost, span_of(part_name(p->kind)), true);
			has[p->kind]--;
		}
	}
	open_message(w, "assistant");
	if (texts > 0 || (has[PART_REFUSAL] + has[PART_TOOL_CALL] + has[PART_AUDIO] == 0)) {
		if (put_texts(w, m->part, m->count) != 0)
			return -1;
	} else {
		out_null(&w->o, "content");
	}
	if (put_reasoning(w, m) != 0 ||
		(has[PART_REFUSAL] > 0 && put_refusals(w, m, has[PART_REFUSAL]) != 0))
		return -1;
	for (size_t i = 0; i < m->count; i++)
		if (m->part[i].kind == PART_AUDIO && m->part[i].file_id.at != NULL) {
			out_open(&w->o, "audio", '{');
			out_text(&w->o, "id", m->part[i].file_id);
			out_close(&w->o, '}');
			break;
		}
	if (has[PART_TOOL_CALL] > 0) {
		out_open(&w->o, "tool_calls", '[');
		for (size_t i = 0; i < m->count; i++)
			if (m->part[i].kind == PART_TOOL_CALL && put_call(w, &m->part[i]) != 0)
				return -1;
		out_close(&w->o, ']');
	}
	out_close(&w->o, '}');
	return 0;
}

static int
put_messages(struct chat_writer *w)
{
	if (neutral_fill_ids(w->n, w->err) != 0)
		return -1;
	out_open(&w->o, "messages", '[');
	if (put_system(w) != 0)
		return -1;
	for (size_t i = 0; i < w->n->message_count; i++) {
		const struct neutral_message *m = &w->n->message[i];

		if ((m->role == ROLE_USER ? put_user(w, m) : put_assistant(w, m)) != 0)
			return -1;
	}
	out_close(&w->o, ']');
	return 0;
}

/* ---- tools ---- */

/* In either of OpenAI's dialects: chat nests what Responses has flat. */
static void
put_custom(struct chat_writer *w, const struct neutral_tool *t)
{
	static const char *const names[] = { "type", "syntax", "definition", "grammar" };
	struct json_value format = json_get(t->raw, "format"), got[4];

	if (json_get(t->raw, "custom").type == JSON_OBJECT) {
		out_json(&w->o, NULL, t->raw);
		return;
	}
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "custom");
	out_open(&w->o, "custom", '{');
	out_text(&w->o, "name", t->name);
	out_json(&w->o, "description", t->description);
	if (format.type == JSON_OBJECT && TEXT_PICK(format.raw, names, got) == 0) {
		if (got[1].type == JSON_STRING && got[3].type == JSON_NONE) {
			out_open(&w->o, "format", '{');
			out_string(&w->o, "type", "grammar");
			out_open(&w->o, "grammar", '{');
			out_json(&w->o, "syntax", got[1].raw);
			out_json(&w->o, "definition", got[2].raw);
			out_close(&w->o, '}');
			out_close(&w->o, '}');
		} else {
			out_json(&w->o, "format", format.raw);
		}
	}
	out_close(&w->o, '}');
	out_close(&w->o, '}');
}

static int
put_tool(struct chat_writer *w, const struct neutral_tool *t)
{
	if (t->kind == TOOL_CUSTOM) {
		put_custom(w, t);
		return 0;
	}
	if (t->kind == TOOL_HOSTED)
		return chat_refuse_hosted(w->err, t);
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "function");
	out_open(&w->o, "function", '{');
	out_text(&w->o, "name", t->name);
	out_json(&w->o, "description", t->description);
	out_json(&w->o, "parameters", t->parameters);
	if (t->strict >= 0)
		out_bool(&w->o, "strict", t->strict == 1);
	out_close(&w->o, '}');
	put_cache(w, t->cache);
	out_close(&w->o, '}');
	return 0;
}

static void
put_named(struct chat_writer *w, const char *key, struct span name)
{
	const char *kind = chat_tool_type(w->n, name);

	out_open(&w->o, key, '{');
	out_string(&w->o, "type", kind);
	out_open(&w->o, kind, '{');
	out_text(&w->o, "name", name);
	out_close(&w->o, '}');
	out_close(&w->o, '}');
}

static void
put_choice(struct chat_writer *w)
{
	struct neutral_request *n = w->n;

	switch (n->choice) {
	case CHOICE_AUTO:
		out_string(&w->o, "tool_choice", "auto");
		break;
	case CHOICE_REQUIRED:
		out_string(&w->o, "tool_choice", "required");
		break;
	case CHOICE_NONE:
		out_string(&w->o, "tool_choice", "none");
		break;
	case CHOICE_TOOL:
		put_named(w, "tool_choice", n->choice_name);
		break;
	case CHOICE_ALLOWED:
		out_open(&w->o, "tool_choice", '{');
		out_string(&w->o, "type", "allowed_tools");
		out_open(&w->o, "allowed_tools", '{');
		out_string(&w->o, "mode", n->choice_any ? "required" : "auto");
		out_open(&w->o, "tools", '[');
		for (size_t i = 0; i < n->allowed_count; i++)
			put_named(w, NULL, n->allowed[i]);
		out_close(&w->o, ']');
		out_close(&w->o, '}');
		out_close(&w->o, '}');
		break;
	default:
		break;
	}
}

/* A choice without tools is refused, so nothing is said of it then. */
static int
put_tools(struct chat_writer *w)
{
	struct neutral_request *n = w->n;

	if (n->tool_count == 0)
		return 0;
	out_open(&w->o, "tools", '[');
	for (size_t i = 0; i < n->tool_count; i++)
		if (put_tool(w, &n->tool[i]) != 0)
			return -1;
	out_close(&w->o, ']');
	put_choice(w);
	if (n->parallel >= 0)
		out_bool(&w->o, "parallel_tool_calls", n->parallel == 1);
	return 0;
}

/* ---- the form of the answer, reasoning ---- */

static void
put_format(struct chat_writer *w)
{
	struct neutral_request *n = w->n;

	if (n->format == OUTPUT_UNSET)
		return;
	out_open(&w->o, "response_format", '{');
	if (n->format == OUTPUT_SCHEMA) {
		out_string(&w->o, "type", "json_schema");
		out_open(&w->o, "json_schema", '{');
		chat_put_schema(&w->o, n);
		out_close(&w->o, '}');
	} else {
		out_string(&w->o, "type", n->format == OUTPUT_JSON ? "json_object" : "text");
	}
	out_close(&w->o, '}');
}

static void
put_effort(struct chat_writer *w)
{
	struct neutral_request *n = w->n;
	enum effort effort = chat_effort(n);

	if (!n->reasoning_set)
		return;
	if (!w->openrouter) {
		if (effort != EFFORT_UNSET)
			out_string(&w->o, "reasoning_effort", effort_name(effort));
		return;
	}
	out_open(&w->o, "reasoning", '{');
	/* one of both is taken, and the budget is the more exact */
	if (n->budget > 0)
		out_int(&w->o, "max_tokens", n->budget);
	else if (effort != EFFORT_UNSET)
		out_string(&w->o, "effort", effort_name(effort));
	else
		out_bool(&w->o, "enabled", true);
	if (!n->show_reasoning && effort != EFFORT_NONE)
		out_bool(&w->o, "exclude", true);
	out_close(&w->o, '}');
}

/* ---- settings ---- */

static bool
each_option(void *ctx, const struct json_member *m)
{
	struct chat_writer *w = ctx;
	char room[WIRE_KEY_BYTES];

	if (span_is(wire_key(m->key, room), "include_obfuscation"))
		out_json(&w->o, "include_obfuscation", m->value.raw);
	return true;
}

/* Usage is always asked for: the gateway counts, whatever the client wants to see. */
static void
put_stream(struct chat_writer *w)
{
	const struct neutral_field *f = neutral_take(w->n, "stream_options");

	if (!w->n->stream)
		return;
	out_bool(&w->o, "stream", true);
	out_open(&w->o, "stream_options", '{');
	out_bool(&w->o, "include_usage", true);
	if (f != NULL && f->value.type == JSON_OBJECT)
		(void)json_each(f->value.raw, each_option, w, NULL);
	out_close(&w->o, '}');
}

static void
put_limits(struct chat_writer *w)
{
	struct neutral_request *n = w->n;

	if (n->max_output >= 0)
		out_int(&w->o, w->openrouter ? "max_tokens" : "max_completion_tokens",
			n->max_output);
	if (n->stop_count == 0)
		return;
	out_open(&w->o, "stop", '[');
	for (size_t i = 0; i < n->stop_count && i < STOPS_MOST; i++)
		out_json(&w->o, NULL, n->stop[i]);
	out_close(&w->o, ']');
	if (n->stop_count > STOPS_MOST)
		losses_add(w->lost, SPAN_LIT("stop"), true);
}

static void
put_settings(struct chat_writer *w)
{
	static const char *const plain[] = { "n", "seed", "presence_penalty", "frequency_penalty",
		"logit_bias", "logprobs", "top_logprobs", "modalities", "audio", "prediction",
		"verbosity", "web_search_options", "store", "metadata", "prompt_cache_key",
		"prompt_cache_options", "prompt_cache_retention", "moderation" };
	static const char *const openrouter[] = { "top_k", "top_a", "min_p", "repetition_penalty",
		"models", "provider", "plugins", "transforms", "route", "session_id", "trace" };

	if (w->openrouter || chat_takes_sampling(w->to->model, w->n)) {
		chat_put_field(&w->o, w->n, "temperature");
		chat_put_field(&w->o, w->n, "top_p");
	}
	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
		chat_put_field(&w->o, w->n, plain[i]);
	chat_put_user(&w->o, w->n, "user");
	chat_put_user(&w->o, w->n, "safety_identifier");
	chat_put_tier(&w->o, w->n);
	for (size_t i = 0; w->openrouter && i < sizeof openrouter / sizeof openrouter[0]; i++)
		chat_put_field(&w->o, w->n, openrouter[i]);
}

/* ---- the whole ---- */

static int
write_request(struct neutral_request *n, const struct request_target *to, struct request_made *made,
	struct losses *lost, struct err *err, bool openrouter)
{
	struct chat_writer w = { .n = n,
		.to = to,
		.lost = lost,
		.err = err,
		.o = { .to = made->body },
		.openrouter = openrouter };

	if (chat_open_request(&w.o, n, to, made, err) != 0)
		return -1;
	if (put_messages(&w) != 0)
		return -1;
	put_limits(&w);
	put_settings(&w);
	put_format(&w);
	put_effort(&w);
	if (put_tools(&w) != 0)
		return -1;
	put_stream(&w);
	return chat_close_request(&w.o, err);
}

int
openai_chat_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err)
{
	return write_request(n, to, made, lost, err, false);
}

int
openrouter_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err)
{
	return write_request(n, to, made, lost, err, true);
}
