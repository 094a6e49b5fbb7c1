/*
 * openai_responses_write.c - a neutral request as a request for a response.
 *
 * Nothing is kept at the provider (store false) unless the client says so; reasoning comes back encrypted
 * and goes in again.
 */
#include "wire/openai_responses-int.h"
#include "wire/openai_write-int.h"

#include "wire/effort.h"
#include "wire/wire-int.h"

struct response_writer {
	struct neutral_request *n;
	const struct request_target *to;
	struct losses *lost;
	struct err *err;
	struct json_out o;
	bool custom_calls; /* the history holds some */
	bool encrypted;    /* … or reasoning of OpenAI's */
	bool in_message;   /* an assistant's message item is open */
};

static void
note_cache(struct response_writer *w, enum cache_mark cache)
{
	if (cache != CACHE_NONE)
		losses_add(w->lost, SPAN_LIT("cache_control"), false);
}

/* ---- parts ---- */

static void
put_typed_text(struct response_writer *w, const char *type, struct span text)
{
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", type);
	out_json(&w->o, "text", text);
	out_close(&w->o, '}');
}

static int
put_image(struct response_writer *w, const struct neutral_part *p)
{
	if (p->data.at == NULL && p->url.at == NULL)
		return chat_refuse(w->err, "input_image",
			"The provider needs images as base64 data or by an https address; a file's "
			"id is known to its own provider alone.");
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "input_image");
	if (p->data.at != NULL)
		chat_write_data_url(&w->o, "image_url", p->mime, p->data);
	else
		out_text(&w->o, "image_url", p->url);
	out_text(&w->o, "detail", p->detail.at != NULL ? p->detail : SPAN_LIT("auto"));
	out_close(&w->o, '}');
	return 0;
}

static int
put_file(struct response_writer *w, const struct neutral_part *p)
{
	if (p->text.at != NULL) {
		put_typed_text(w, "input_text", p->text);
		return 0;
	}
	if (p->data.at == NULL && p->url.at == NULL)
		return chat_refuse(w->err, "input_file",
			"The provider needs documents as base64 data or by an https address; a "
			"file's id is known to its own provider alone.");
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "input_file");
	if (p->data.at != NULL) {
		out_text(&w->o, "filename", p->title.len > 0 ? p->title : SPAN_LIT("document.pdf"));
		chat_write_data_url(&w->o, "file_data", p->mime, p->data);
	} else {
		out_text(&w->o, "file_url", p->url);
	}
	out_close(&w->o, '}');
	return 0;
}

static int
put_audio(struct response_writer *w, const struct neutral_part *p)
{
	const char *format = span_is(p->mime, "audio/mp3") || span_is(p->mime, "audio/mpeg") ? "mp3"
			     : span_is(p->mime, "audio/wav") || span_is(p->mime, "audio/x-wav")
				     ? "wav"
				     : NULL;

	if (p->data.at == NULL || format == NULL)
		return chat_refuse(w->err, "input_audio",
			"The provider takes audio as base64 data in WAV or MP3 alone.");
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "input_audio");
	out_open(&w->o, "input_audio", '{');
	out_text(&w->o, "data", p->data);
	out_string(&w->o, "format", format);
	out_close(&w->o, '}');
	out_close(&w->o, '}');
	return 0;
}

static bool
is_said(enum part_kind k)
{
	return k == PART_TEXT || k == PART_REFUSAL || k == PART_IMAGE || k == PART_DOCUMENT ||
	       k == PART_AUDIO || k == PART_VIDEO;
}

static int
put_said(struct response_writer *w, const struct neutral_part *p)
{
	note_cache(w, p->cache);
	switch (p->kind) {
	case PART_IMAGE:
		return put_image(w, p);
	case PART_DOCUMENT:
		return put_file(w, p);
	case PART_AUDIO:
		return put_audio(w, p);
	case PART_VIDEO:
		return chat_refuse(w->err, "video", "The provider takes no video.");
	default:
		put_typed_text(w, "input_text", p->text);
		return 0;
	}
}

/* ---- a user's turn ---- */

static bool
is_plain_text(const struct neutral_part *part, size_t count)
{
	return count == 0 || (count == 1 && part[0].kind == PART_TEXT);
}

static int
put_result(struct response_writer *w, size_t message, const struct neutral_part *p)
{
	const struct neutral_part *call =
		w->custom_calls ? neutral_call(w->n, message, p->call_id) : NULL;
	bool is_custom = call != NULL && call->is_custom;
	struct span id = text_clean_id(w->n->arena, p->call_id);

	if (id.at == NULL)
		return err_set(w->err, ERR_MEMORY, "no memory for a tool call's id");
	if (p->is_error)
		losses_add(w->lost, SPAN_LIT("is_error"), false);
	note_cache(w, p->cache);
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", is_custom ? "custom_tool_call_output" : "function_call_output");
	out_text(&w->o, "call_id", id);
	if (is_plain_text(p->content, p->content_count)) {
		out_json(&w->o, "output",
			p->content_count == 0 ? SPAN_LIT("\"\"") : p->content[0].text);
	} else {
		out_open(&w->o, "output", '[');
		for (size_t i = 0; i < p->content_count; i++)
			if (put_said(w, &p->content[i]) != 0)
				return -1;
		out_close(&w->o, ']');
	}
	out_close(&w->o, '}');
	return 0;
}

static int
put_user(struct response_writer *w, size_t message)
{
	const struct neutral_message *m = &w->n->message[message];
	size_t said = 0;

	for (size_t i = 0; i < m->count; i++) {
		if (m->part[i].kind == PART_TOOL_RESULT && put_result(w, message, &m->part[i]) != 0)
			return -1;
		said += is_said(m->part[i].kind);
	}
	if (said == 0)
		return 0;
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "message");
	out_string(&w->o, "role", "user");
	out_open(&w->o, "content", '[');
	for (size_t i = 0; i < m->count; i++)
		if (is_said(m->part[i].kind) && put_said(w, &m->part[i]) != 0)
			return -1;
	out_close(&w->o, ']');
	out_close(&w->o, '}');
	return 0;
}

/* ---- the assistant's ---- */

static void
close_message(struct response_writer *w)
{
	if (!w->in_message)
		return;
	w->in_message = false;
	out_close(&w->o, ']');
	out_close(&w->o, '}');
}

static void
put_answer(struct response_writer *w, const struct neutral_part *p)
{
	if (!w->in_message) {
		w->in_message = true;
		out_open(&w->o, NULL, '{');
		out_string(&w->o, "type", "message");
		out_string(&w->o, "role", "assistant");
		out_open(&w->o, "content", '[');
	}
	out_open(&w->o, NULL, '{');
	if (p->kind == PART_REFUSAL) {
		out_string(&w->o, "type", "refusal");
		out_json(&w->o, "refusal", p->text);
	} else {
		out_string(&w->o, "type", "output_text");
		out_json(&w->o, "text", p->text);
		out_json(&w->o, "annotations", SPAN_LIT("[]"));
	}
	out_close(&w->o, '}');
}

/* OpenAI takes its own back alone. */
static void
put_reasoning(struct response_writer *w, const struct neutral_part *p)
{
	if (p->signer != SIGNER_OPENAI || p->signature.at == NULL) {
		losses_add(w->lost,
			p->signer == SIGNER_ANTHROPIC ? SPAN_LIT("thinking block")
			: p->signer == SIGNER_GEMINI  ? SPAN_LIT("thought")
						      : SPAN_LIT("reasoning"),
			false);
		return;
	}
	close_message(w);
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "reasoning");
	out_open(&w->o, "summary", '[');
	if (!text_is_empty(p->text))
		put_typed_text(w, "summary_text", p->text);
	out_close(&w->o, ']');
	responses_write_encrypted(&w->o, p);
	out_close(&w->o, '}');
}

static int
put_call(struct response_writer *w, const struct neutral_part *p)
{
	struct span id = text_clean_id(w->n->arena, p->call_id);

	if (id.at == NULL)
		return err_set(w->err, ERR_MEMORY, "no memory for a tool call");
	if (p->signer == SIGNER_GEMINI && p->signature.at != NULL)
		losses_add(w->lost, SPAN_LIT("thoughtSignature"), false);
	close_message(w);
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", p->is_custom ? "custom_tool_call" : "function_call");
	out_text(&w->o, "call_id", id);
	out_text(&w->o, "name", p->name);
	if (chat_put_arguments(&w->o, w->n, p, w->err) != 0)
		return -1;
	out_close(&w->o, '}');
	return 0;
}

static int
put_assistant(struct response_writer *w, const struct neutral_message *m)
{
	int rc = 0;

	for (size_t i = 0; i < m->count && rc == 0; i++) {
		const struct neutral_part *p = &m->part[i];

		if (p->kind == PART_TEXT || p->kind == PART_REFUSAL)
			put_answer(w, p);
		else if (p->kind == PART_TOOL_CALL)
			rc = put_call(w, p);
		else if (p->kind == PART_REASONING || p->kind == PART_REDACTED)
			put_reasoning(w, p);
		else
			losses_add(w->lost, span_of(part_name(p->kind)), true);
	}
	close_message(w);
	return rc;
}

static void
look_through(struct response_writer *w)
{
	for (size_t m = 0; m < w->n->message_count; m++)
		for (size_t i = 0; i < w->n->message[m].count; i++) {
			const struct neutral_part *p = &w->n->message[m].part[i];

			w->custom_calls = w->custom_calls || p->is_custom;
			w->encrypted = w->encrypted ||
				       (p->signer == SIGNER_OPENAI && p->signature.at != NULL);
		}
}

static int
put_system(struct response_writer *w)
{
	struct neutral_request *n = w->n;
	struct span all;

	if (n->system_count == 0)
		return 0;
	if (chat_join_system(n, &all, w->err) != 0)
		return -1;
	for (size_t i = 0; i < n->system_count; i++)
		note_cache(w, n->system[i].cache);
	/* an answer to nothing is refused: what there is to say is said by the user then (R1) */
	if (n->message_count == 0)
		out_json(&w->o, "input", all);
	else
		out_json(&w->o, "instructions", all);
	return 0;
}

static int
put_input(struct response_writer *w)
{
	if (neutral_fill_ids(w->n, w->err) != 0)
		return -1;
	look_through(w);
	if (put_system(w) != 0)
		return -1;
	if (w->n->message_count == 0)
		return 0;
	out_open(&w->o, "input", '[');
	for (size_t i = 0; i < w->n->message_count; i++) {
		const struct neutral_message *m = &w->n->message[i];

		if ((m->role == ROLE_USER ? put_user(w, i) : put_assistant(w, m)) != 0)
			return -1;
	}
	out_close(&w->o, ']');
	return 0;
}

/* ---- tools ---- */

/* Flat: what chat nests comes out of it. */
static void
put_custom(struct response_writer *w, const struct neutral_tool *t)
{
	struct json_value custom = json_get(t->raw, "custom"), format, grammar;

	if (custom.type != JSON_OBJECT) {
		out_json(&w->o, NULL, t->raw);
		return;
	}
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "custom");
	out_text(&w->o, "name", t->name);
	out_json(&w->o, "description", t->description);
	format = json_get(custom.raw, "format");
	grammar = json_get(format.raw, "grammar");
	if (grammar.type == JSON_OBJECT) {
		out_open(&w->o, "format", '{');
		out_string(&w->o, "type", "grammar");
		out_json(&w->o, "syntax", json_get(grammar.raw, "syntax").raw);
		out_json(&w->o, "definition", json_get(grammar.raw, "definition").raw);
		out_close(&w->o, '}');
	} else if (format.type == JSON_OBJECT) {
		out_json(&w->o, "format", format.raw);
	}
	out_close(&w->o, '}');
}

static int
put_tool(struct response_writer *w, const struct neutral_tool *t)
{
	note_cache(w, t->cache);
	if (t->kind == TOOL_CUSTOM) {
		put_custom(w, t);
		return 0;
	}
	if (t->kind == TOOL_HOSTED)
		return chat_refuse_hosted(w->err, t);
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "type", "function");
	out_text(&w->o, "name", t->name);
	out_json(&w->o, "description", t->description);
	out_json(&w->o, "parameters",
		t->parameters.at != NULL ? t->parameters
					 : SPAN_LIT("{\"type\":\"object\",\"properties\":{}}"));
	/* here it is on unless it is off, and then most schemas are refused */
	out_bool(&w->o, "strict", t->strict == 1);
	out_close(&w->o, '}');
	return 0;
}

static void
put_named(struct response_writer *w, const char *key, struct span name)
{
	const char *kind = chat_tool_type(w->n, name);

	out_open(&w->o, key, '{');
	out_string(&w->o, "type", kind);
	out_text(&w->o, "name", name);
	out_close(&w->o, '}');
}

static int
put_tools(struct response_writer *w)
{
	struct neutral_request *n = w->n;

	if (n->tool_count == 0)
		return 0;
	out_open(&w->o, "tools", '[');
	for (size_t i = 0; i < n->tool_count; i++)
		if (put_tool(w, &n->tool[i]) != 0)
			return -1;
	out_close(&w->o, ']');
	if (n->choice == CHOICE_TOOL) {
		put_named(w, "tool_choice", n->choice_name);
	} else if (n->choice == CHOICE_ALLOWED) {
		out_open(&w->o, "tool_choice", '{');
		out_string(&w->o, "type", "allowed_tools");
		out_string(&w->o, "mode", n->choice_any ? "required" : "auto");
		out_open(&w->o, "tools", '[');
		for (size_t i = 0; i < n->allowed_count; i++)
			put_named(w, NULL, n->allowed[i]);
		out_close(&w->o, ']');
		out_close(&w->o, '}');
	} else if (n->choice != CHOICE_UNSET) {
		out_string(&w->o, "tool_choice",
			n->choice == CHOICE_AUTO   ? "auto"
			: n->choice == CHOICE_NONE ? "none"
						   : "required");
	}
	if (n->parallel >= 0)
		out_bool(&w->o, "parallel_tool_calls", n->parallel == 1);
	return 0;
}

/* ---- settings ---- */

static void
put_format(struct response_writer *w)
{
	struct neutral_request *n = w->n;
	bool verbosity = neutral_peek(n, "verbosity") != NULL;

	if (n->format == OUTPUT_UNSET && !verbosity)
		return;
	out_open(&w->o, "text", '{');
	if (n->format != OUTPUT_UNSET) {
		out_open(&w->o, "format", '{');
		out_string(&w->o, "type",
			n->format == OUTPUT_SCHEMA ? "json_schema"
			: n->format == OUTPUT_JSON ? "json_object"
						   : "text");
		if (n->format == OUTPUT_SCHEMA)
			chat_put_schema(&w->o, n);
		out_close(&w->o, '}');
	}
	chat_put_field(&w->o, w->n, "verbosity");
	out_close(&w->o, '}');
}

static void
put_reasoning_settings(struct response_writer *w)
{
	struct neutral_request *n = w->n;
	enum effort effort = chat_effort(n);
	const struct neutral_field *summary = neutral_take(n, "reasoning_summary");
	bool thinks = n->reasoning_set && effort != EFFORT_NONE;

	if (n->reasoning_set || summary != NULL) {
		out_open(&w->o, "reasoning", '{');
		if (effort != EFFORT_UNSET)
			out_string(&w->o, "effort", effort_name(effort));
		if (summary != NULL)
			out_json(&w->o, "summary", summary->value.raw);
		else if (n->show_reasoning && thinks)
			out_string(&w->o, "summary", "auto");
		out_close(&w->o, '}');
	}
	/* models that do not reason refuse to be asked for it */
	if (thinks || w->encrypted)
		out_json(&w->o, "include", SPAN_LIT("[\"reasoning.encrypted_content\"]"));
	(void)neutral_take(n, "include");
}

static int
put_settings(struct response_writer *w)
{
	struct neutral_request *n = w->n;
	const struct neutral_field *f = neutral_take(n, "n");
	int64_t choices;

	if (f != NULL && json_int(f->value, &choices) == 0 && choices > 1)
		return chat_refuse(w->err, "n",
			"The provider gives one answer to a request; ask with 'n' of 1.");
	if (n->max_output >= 0)
		out_int(&w->o, "max_output_tokens", n->max_output);
	if (n->stop_count > 0)
		losses_add(w->lost, SPAN_LIT("stop"), true);
	if (chat_takes_sampling(w->to->model, n)) {
		chat_put_field(&w->o, w->n, "temperature");
		chat_put_field(&w->o, w->n, "top_p");
	}
	chat_put_field(&w->o, w->n, "top_logprobs");
	(void)neutral_take(n, "logprobs");
	(void)neutral_take(n, "stream_options");
	chat_put_field(&w->o, w->n, "metadata");
	chat_put_field(&w->o, w->n, "prompt_cache_key");
	chat_put_field(&w->o, w->n, "prompt_cache_retention");
	chat_put_field(&w->o, w->n, "truncation");
	chat_put_field(&w->o, w->n, "max_tool_calls");
	chat_put_user(&w->o, n, "user");
	chat_put_user(&w->o, n, "safety_identifier");
	chat_put_tier(&w->o, n);
	f = neutral_take(n, "responses_store");
	out_bool(&w->o, "store", f != NULL && f->value.type == JSON_TRUE);
	return 0;
}

int
openai_responses_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err)
{
	struct response_writer w = {
		.n = n, .to = to, .lost = lost, .err = err, .o = { .to = made->body }
	};

	if (chat_open_request(&w.o, n, to, made, err) != 0)
		return -1;
	if (put_input(&w) != 0 || put_settings(&w) != 0)
		return -1;
	put_format(&w);
	put_reasoning_settings(&w);
	if (put_tools(&w) != 0)
		return -1;
	if (n->stream)
		out_bool(&w.o, "stream", true);
	return chat_close_request(&w.o, err);
}
