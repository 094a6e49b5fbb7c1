/*
 * converse_write.c - requests written for Converse.
 *
 * Converse is one dialect for the models of many makers, and refuses what a model does not know.  So
 * what is not in inferenceConfig is written only for the makers that are known to take it; where the
 * model's name tells no maker (an inference profile's ARN), what was asked for is taken at its word.
 */
#include "wire/converse-int.h"

#include "wire/anthropic-int.h"
#include "wire/effort.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DOCUMENTS_NAMED_MAX 64 /* whose names are held apart by looking; Bedrock takes five */
#define DOCUMENT_NAME_BYTES 128
#define NUMBER_BYTES        64

enum maker { MAKER_UNKNOWN, MAKER_ANTHROPIC, MAKER_NOVA, MAKER_OPENAI, MAKER_OTHER };

struct writing {
	struct neutral_request *n;
	const struct request_target *to;
	struct losses *lost;
	struct err *err;
	struct json_out out;
	enum maker maker;
	int version; /* of Claude; 0 not known */

	bool thinks;    /* thinking is written */
	bool adaptive;  /* of its own measure */
	int64_t budget; /* otherwise */
	int64_t max_output;

	bool open; /* a message is */
	enum neutral_role role;
	char document[DOCUMENTS_NAMED_MAX][DOCUMENT_NAME_BYTES];
	size_t documents;
	int rc;
};

/* ---- errors ---- */

static int
refuse(struct writing *w, enum err_code code, const char *field, const char *says)
{
	w->rc = -1;
	(void)err_set(w->err, code, "%s: %s", field, says);
	(void)err_say(w->err, "%s", says);
	return err_field(w->err, field);
}

/* A part of a message that cannot be written. */
static int
refuse_part(struct writing *w, const struct neutral_part *p, const char *why)
{
	char says[200];

	(void)snprintf(says, sizeof says, "The provider's Converse API takes no %s %s.",
		part_name(p->kind), why);
	/* no number: the client's messages were counted before they were put right */
	return refuse(w, ERR_UNSUPPORTED, "messages", says);
}

static int
no_memory(struct writing *w)
{
	w->rc = -1;
	return err_set(w->err, ERR_MEMORY, "no memory for a request to Converse");
}

static void
lose(struct writing *w, const char *name, bool matters)
{
	losses_add(w->lost, span_of(name), matters);
}

/* ---- whose model it is ---- */

static enum maker
maker_of(const struct request_target *to)
{
	static const struct {
		const char *within;
		enum maker maker;
	} marks[] = { { "claude", MAKER_ANTHROPIC }, { "anthropic", MAKER_ANTHROPIC },
		{ "nova", MAKER_NOVA }, { "gpt-oss", MAKER_OPENAI }, { "openai", MAKER_OPENAI },
		{ "llama", MAKER_OTHER }, { "mistral", MAKER_OTHER }, { "mixtral", MAKER_OTHER },
		{ "magistral", MAKER_OTHER }, { "pixtral", MAKER_OTHER }, { "cohere", MAKER_OTHER },
		{ "command-r", MAKER_OTHER }, { "jamba", MAKER_OTHER }, { "ai21", MAKER_OTHER },
		{ "deepseek", MAKER_OTHER }, { "qwen", MAKER_OTHER }, { "titan", MAKER_OTHER },
		{ "palmyra", MAKER_OTHER }, { "writer.", MAKER_OTHER }, { "gemma", MAKER_OTHER },
		{ "kimi", MAKER_OTHER }, { "moonshot", MAKER_OTHER }, { "minimax", MAKER_OTHER },
		{ "nemotron", MAKER_OTHER }, { "zai.", MAKER_OTHER } };
	const char *model = to->model == NULL ? "" : to->model;

	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
		if (strcasestr(model, marks[i].within) != NULL)
			return marks[i].maker;
	return to->thinking != THINKING_UNKNOWN ? MAKER_ANTHROPIC : MAKER_UNKNOWN;
}

/* Newer models know only the values that change nothing. */
static bool
has_no_sampling(const struct writing *w)
{
	if (w->maker != MAKER_ANTHROPIC)
		return false;
	return w->version == 0 ? w->to->thinking == THINKING_ADAPTIVE
			       : w->version >= CLAUDE_NO_SAMPLING;
}

static bool
may_be_claude(const struct writing *w)
{
	return w->maker == MAKER_ANTHROPIC || w->maker == MAKER_UNKNOWN;
}

/* ---- text ---- */

/* Bytes of the white space that ends (or is all of) a JSON string's inside. */
static size_t
blank_end(struct span inside)
{
	size_t len = inside.len;

	for (;;) {
		size_t slashes = 0;

		if (len > 0 && inside.at[len - 1] == ' ') {
			len--;
			continue;
		}
		if (len < 2 || strchr("ntr", inside.at[len - 1]) == NULL)
			break;
		while (slashes < len - 1 && inside.at[len - 2 - slashes] == '\\')
			slashes++;
		if (slashes % 2 == 0)
			break;
		len -= 2;
	}
	return inside.len - len;
}

static bool
is_blank(struct span json_string)
{
	struct span inside = text_inside(json_string);
	size_t at = 0;

	/* from the front: mostly the first byte tells */
	while (at < inside.len) {
		if (inside.at[at] == ' ')
			at++;
		else if (inside.at[at] == '\\' && at + 1 < inside.len &&
			 strchr("ntr", inside.at[at + 1]) != NULL)
			at += 2;
		else
			return false;
	}
	return true;
}

static void
put_cache_point(struct writing *w, enum cache_mark mark)
{
	if (mark == CACHE_NONE)
		return;
	if (!may_be_claude(w) && w->maker != MAKER_NOVA) {
		lose(w, "cache_control", false);
		return;
	}
	out_open(&w->out, NULL, '{');
	out_open(&w->out, "cachePoint", '{');
	out_string(&w->out, "type", "default");
	if (mark == CACHE_1H)
		out_string(&w->out, "ttl", "1h");
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

static void
put_text(struct writing *w, struct span text)
{
	out_open(&w->out, NULL, '{');
	out_json(&w->out, "text", text);
	out_close(&w->out, '}');
}

/* ---- images, documents, audio, video ---- */

/* What the first bytes say, in base64. */
static const char *
sniffed(enum part_kind kind, struct span data)
{
	static const struct {
		enum part_kind kind;
		const char *start, *format;
	} marks[] = { { PART_IMAGE, "/9j/", "jpeg" }, { PART_IMAGE, "iVBORw0KGgo", "png" },
		{ PART_IMAGE, "R0lGOD", "gif" }, { PART_IMAGE, "UklGR", "webp" },
		{ PART_DOCUMENT, "JVBERi", "pdf" } };

	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
		if (marks[i].kind == kind && span_starts(data, marks[i].start))
			return marks[i].format;
	return NULL;
}

static const char *
extension_of(struct span title)
{
	const char *dot = title.len == 0 ? NULL : memrchr(title.at, '.', title.len);

	if (dot == NULL)
		return NULL;
	return converse_format(PART_DOCUMENT,
		span_of(converse_mime(PART_DOCUMENT,
			(struct span){ dot + 1, (size_t)(title.at + title.len - dot) - 1 })));
}

static const char *
format_of_part(const struct neutral_part *p)
{
	const char *format = converse_format(p->kind, text_mime(p->mime));

	if (format == NULL && p->kind == PART_DOCUMENT && p->text.at != NULL)
		format = "txt";
	if (format == NULL && p->kind == PART_DOCUMENT)
		format = extension_of(p->title);
	return format != NULL ? format : sniffed(p->kind, p->data);
}

static void
put_source(struct writing *w, const struct neutral_part *p)
{
	out_open(&w->out, "source", '{');
	if (p->data.at != NULL) {
		out_text(&w->out, "bytes", p->data);
	} else if (p->text.at != NULL) {
		out_json(&w->out, "text", p->text);
	} else {
		out_open(&w->out, "s3Location", '{');
		out_text(&w->out, "uri", p->file_id);
		out_close(&w->out, '}');
	}
	out_close(&w->out, '}');
}

/* Letters, digits, single blanks, - ( ) [ ]; what ends a file's name is told by the format. */
static void
clean_title(struct span title, char *out, size_t room)
{
	const char *ext = extension_of(title);
	size_t len = title.len - (ext == NULL ? 0 : strlen(ext) + 1), n = 0;

	for (size_t i = 0; i < len && n + 1 < room; i++) {
		char c = title.at[i];
		bool fine = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			    (c >= '0' && c <= '9') || (c != '\0' && strchr(" -()[]", c) != NULL);

		if (!fine)
			c = '-';
		if ((c == ' ' || !fine) && (n == 0 || out[n - 1] == c))
			continue;
		out[n++] = c;
	}
	while (n > 0 && (out[n - 1] == ' ' || out[n - 1] == '-'))
		n--;
	out[n] = '\0';
}

static bool
is_taken(const struct writing *w, const char *name)
{
	for (size_t i = 0; i < w->documents && i < DOCUMENTS_NAMED_MAX; i++)
		if (strcmp(w->document[i], name) == 0)
			return true;
	return false;
}

/* No two of a request have one name. */
static void
name_document(struct writing *w, struct span title, char name[DOCUMENT_NAME_BYTES])
{
	char clean[DOCUMENT_NAME_BYTES - 24];
	size_t number = w->documents + 1;

	clean_title(title, clean, sizeof clean);
	if (clean[0] == '\0')
		(void)snprintf(clean, sizeof clean, "document-%zu", number);
	(void)snprintf(name, DOCUMENT_NAME_BYTES, "%s", clean);
	if (w->documents >= DOCUMENTS_NAMED_MAX)
		(void)snprintf(name, DOCUMENT_NAME_BYTES, "%s (%zu)", clean, number);
	for (size_t i = 2; w->documents < DOCUMENTS_NAMED_MAX && is_taken(w, name); i++)
		(void)snprintf(name, DOCUMENT_NAME_BYTES, "%s (%zu)", clean, i);
	if (w->documents < DOCUMENTS_NAMED_MAX)
		(void)snprintf(w->document[w->documents], DOCUMENT_NAME_BYTES, "%s", name);
	w->documents++;
}

static void
put_medium(struct writing *w, const struct neutral_part *p)
{
	static const char *const keys[PART__COUNT] = { [PART_IMAGE] = "image",
		[PART_DOCUMENT] = "document",
		[PART_AUDIO] = "audio",
		[PART_VIDEO] = "video" };
	const char *format = format_of_part(p);
	char name[DOCUMENT_NAME_BYTES];

	if (p->data.at == NULL && p->text.at == NULL && !span_starts(p->file_id, "s3://")) {
		(void)refuse_part(w, p,
			p->url.at != NULL ? "by URL: send its bytes in base64"
					  : "by another provider's file id: send its bytes");
		return;
	}
	if (format == NULL) {
		(void)refuse_part(w, p, "of this type");
		return;
	}
	out_open(&w->out, NULL, '{');
	out_open(&w->out, keys[p->kind], '{');
	out_string(&w->out, "format", format);
	if (p->kind == PART_DOCUMENT) {
		name_document(w, p->title, name);
		out_string(&w->out, "name", name);
	}
	put_source(w, p);
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

/* ---- tool calls and their results ---- */

static void
put_call(struct writing *w, const struct neutral_part *p)
{
	out_open(&w->out, NULL, '{');
	out_open(&w->out, "toolUse", '{');
	out_text(&w->out, "toolUseId", p->call_id);
	out_text(&w->out, "name", p->name);
	if (p->is_custom) { /* free text, which this dialect has no place for */
		out_open(&w->out, "input", '{');
		out_json(&w->out, "input", p->arguments);
		out_close(&w->out, '}');
	} else {
		out_json(&w->out, "input", p->input.at != NULL ? p->input : SPAN_LIT("{}"));
	}
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

/* The result's one text is its JSON object, written out: then it goes as that. */
static bool
is_json_result(struct writing *w, const struct neutral_part *p)
{
	struct span compact, text;

	if (p->result.at == NULL || p->content_count != 1 || p->content[0].kind != PART_TEXT)
		return false;
	compact = text_compact(w->n->arena, p->result);
	text = text_plain(w->n->arena, (struct json_value){ JSON_STRING, p->content[0].text });
	return compact.at != NULL && text.at != NULL && compact.len == text.len &&
	       memcmp(compact.at, text.at, text.len) == 0;
}

static void
put_result_content(struct writing *w, const struct neutral_part *p)
{
	size_t written = 0;

	if (is_json_result(w, p)) {
		out_open(&w->out, NULL, '{');
		out_json(&w->out, "json", p->result);
		out_close(&w->out, '}');
		return;
	}
	for (size_t i = 0; i < p->content_count && w->rc == 0; i++, written++) {
		const struct neutral_part *c = &p->content[i];

		switch (c->kind) {
		case PART_TEXT:
		case PART_REFUSAL:
			put_text(w, c->text);
			break;
		case PART_IMAGE:
		case PART_DOCUMENT:
		case PART_VIDEO:
			put_medium(w, c);
			break;
		default:
			(void)refuse_part(w, c, "in a tool's result");
			break;
		}
	}
	if (written == 0)
		put_text(w, SPAN_LIT("\"\""));
}

static void
put_result(struct writing *w, const struct neutral_part *p)
{
	out_open(&w->out, NULL, '{');
	out_open(&w->out, "toolResult", '{');
	out_text(&w->out, "toolUseId", p->call_id);
	out_open(&w->out, "content", '[');
	put_result_content(w, p);
	out_close(&w->out, ']');
	if (may_be_claude(w) || w->maker == MAKER_NOVA)
		out_string(&w->out, "status", p->is_error ? "error" : "success");
	else if (p->is_error)
		lose(w, "is_error", false);
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

/* ---- reasoning of turns before ---- */

static void
put_reasoning(struct writing *w, const struct neutral_part *p)
{
	out_open(&w->out, NULL, '{');
	out_open(&w->out, "reasoningContent", '{');
	if (p->kind == PART_REDACTED) {
		out_text(&w->out, "redactedContent", p->signature);
	} else {
		out_open(&w->out, "reasoningText", '{');
		out_json(&w->out, "text", p->text.at != NULL ? p->text : SPAN_LIT("\"\""));
		out_text(&w->out, "signature", p->signature);
		out_close(&w->out, '}');
	}
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

/* ---- what a message may hold ---- */

static bool
is_kept(struct writing *w, enum neutral_role role, const struct neutral_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		return !is_blank(p->text);
	case PART_REASONING:
	case PART_REDACTED:
		if (p->signer == SIGNER_ANTHROPIC && p->signature.len > 0 && may_be_claude(w) &&
			role == ROLE_ASSISTANT)
			return true;
		lose(w, anthropic_reasoning_name(p), false);
		return false;
	default:
		return true;
	}
}

/* Tools' results come first in their turn; all keep their order. */
static int
put_results_first(struct writing *w, struct neutral_message *m)
{
	struct neutral_part *sorted;
	size_t results = 0, at = 0, rest;

	for (size_t i = 0; i < m->count; i++) {
		results += m->part[i].kind == PART_TOOL_RESULT;
		at = m->part[i].kind == PART_TOOL_RESULT ? i + 1 : at;
	}
	if (results == at) /* behind the last of them stands none that is none */
		return 0;
	sorted = arena_alloc(w->n->arena, m->count * sizeof *sorted);
	if (sorted == NULL)
		return no_memory(w);
	at = 0;
	rest = results;
	for (size_t i = 0; i < m->count; i++)
		sorted[m->part[i].kind == PART_TOOL_RESULT ? at++ : rest++] = m->part[i];
	m->part = sorted;
	return 0;
}

/* What the provider would refuse, and says nothing, goes. */
static int
sift(struct writing *w)
{
	struct neutral_request *n = w->n;
	size_t messages = 0;

	for (size_t i = 0; i < n->message_count; i++) {
		struct neutral_message *m = &n->message[i];
		size_t kept = 0;

		for (size_t k = 0; k < m->count; k++)
			if (is_kept(w, m->role, &m->part[k]))
				m->part[kept++] = m->part[k];
		m->count = kept;
		if (m->role == ROLE_USER && put_results_first(w, m) != 0)
			return -1;
		if (kept > 0)
			n->message[messages++] = *m;
	}
	n->message_count = messages;
	return 0;
}

/* ---- messages ---- */

static void
open_message(struct writing *w, enum neutral_role role)
{
	if (w->open && w->role == role)
		return;
	if (w->open) {
		out_close(&w->out, ']');
		out_close(&w->out, '}');
	}
	w->open = true;
	w->role = role;
	out_open(&w->out, NULL, '{');
	out_string(&w->out, "role", role == ROLE_USER ? "user" : "assistant");
	out_open(&w->out, "content", '[');
}

static void
put_part(struct writing *w, const struct neutral_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		put_text(w, p->text);
		break;
	case PART_TOOL_CALL:
		put_call(w, p);
		break;
	case PART_TOOL_RESULT:
		put_result(w, p);
		break;
	case PART_REASONING:
	case PART_REDACTED:
		put_reasoning(w, p);
		break;
	default:
		put_medium(w, p);
		break;
	}
	put_cache_point(w, p->cache);
}

/* A document needs words beside it. */
static bool
lacks_words(const struct neutral_message *m)
{
	bool document = false;

	for (size_t i = 0; i < m->count; i++) {
		if (m->part[i].kind == PART_DOCUMENT)
			document = true;
		else if (m->part[i].kind == PART_TEXT && !is_blank(m->part[i].text))
			return false;
	}
	return document;
}

static void
put_message(struct writing *w, const struct neutral_message *m)
{
	for (size_t i = 0; i < m->count && w->rc == 0; i++) {
		open_message(w, m->role);
		put_part(w, &m->part[i]);
	}
	if (w->rc == 0 && lacks_words(m))
		put_text(w, SPAN_LIT("\"See the document.\""));
}

/* An answer begun by the client must not end in white space. */
static int
trim_last(struct writing *w)
{
	struct neutral_message *m =
		w->n->message_count == 0 ? NULL : &w->n->message[w->n->message_count - 1];
	struct neutral_part *p;
	size_t blank;
	char *cut;

	if (m == NULL || m->role != ROLE_ASSISTANT)
		return 0;
	p = &m->part[m->count - 1];
	if (p->kind != PART_TEXT)
		return 0;
	blank = blank_end(text_inside(p->text));
	if (blank == 0)
		return 0;
	cut = arena_strndup(w->n->arena, p->text.at, p->text.len - blank);
	if (cut == NULL)
		return no_memory(w);
	cut[p->text.len - blank - 1] = '"';
	p->text = (struct span){ cut, p->text.len - blank };
	return 0;
}

static void
put_system_texts(struct writing *w)
{
	for (size_t i = 0; i < w->n->system_count; i++) {
		if (is_blank(w->n->system[i].text))
			continue;
		put_text(w, w->n->system[i].text);
		put_cache_point(w, w->n->system[i].cache);
	}
}

static bool
has_system(const struct neutral_request *n)
{
	for (size_t i = 0; i < n->system_count; i++)
		if (!is_blank(n->system[i].text))
			return true;
	return false;
}

static void
put_system(struct writing *w)
{
	/* A request that is nothing but that: it is the user's turn (R1). */
	bool texts = has_system(w->n) && w->n->message_count > 0;
	bool wants_json = w->n->format == OUTPUT_JSON;

	if (!texts && !wants_json)
		return;
	out_open(&w->out, "system", '[');
	if (texts)
		put_system_texts(w);
	if (wants_json) { /* there is no such setting: it is said in words (R26) */
		put_text(w, SPAN_LIT("\"Answer with one valid JSON object and nothing else.\""));
		lose(w, "response_format", false);
	}
	out_close(&w->out, ']');
}

static void
put_messages(struct writing *w)
{
	out_open(&w->out, "messages", '[');
	if (w->n->message_count == 0 && has_system(w->n)) {
		open_message(w, ROLE_USER);
		put_system_texts(w);
	}
	for (size_t i = 0; i < w->n->message_count && w->rc == 0; i++)
		put_message(w, &w->n->message[i]);
	if (w->open) {
		out_close(&w->out, ']');
		out_close(&w->out, '}');
	}
	out_close(&w->out, ']');
}

/* ---- how much to reason ---- */

/* Room for the answer beside the thoughts: more in all where the model can, else fewer thoughts. */
static void
fit_budget(struct writing *w)
{
	int64_t wanted = w->max_output, most = w->to->most_output;

	if (wanted < 0 || wanted > w->budget)
		return;
	w->max_output = w->budget > INT64_MAX - wanted ? INT64_MAX : w->budget + wanted;
	if (most > 0 && w->max_output > most)
		w->max_output = most > wanted ? most : wanted;
	if (w->budget > w->max_output - wanted)
		w->budget = w->max_output - wanted;
	w->thinks = w->budget >= EFFORT_BUDGET_LEAST;
	if (!w->thinks)
		w->max_output = wanted;
}

static bool
decides_itself(const struct writing *w)
{
	if (w->to->thinking != THINKING_UNKNOWN)
		return w->to->thinking == THINKING_ADAPTIVE;
	return w->version == 0 ? w->n->adaptive : w->version >= CLAUDE_ADAPTIVE;
}

static void
plan_thinking(struct writing *w)
{
	const struct neutral_request *n = w->n;

	w->max_output = n->max_output;
	if (!n->reasoning_set || !may_be_claude(w) || n->effort == EFFORT_NONE || n->budget == 0)
		return;
	w->adaptive = decides_itself(w);
	if (anthropic_forces_a_tool(n) || (!w->adaptive && anthropic_lacks_thinking(n))) {
		lose(w, n->effort != EFFORT_UNSET ? "reasoning_effort" : "thinking", false);
		return;
	}
	w->thinks = true;
	if (w->adaptive)
		return;
	w->budget = n->budget > 0
			    ? n->budget
			    : effort_budget(n->effort == EFFORT_UNSET ? EFFORT_MEDIUM : n->effort);
	if (w->budget < EFFORT_BUDGET_LEAST)
		w->budget = EFFORT_BUDGET_LEAST;
	fit_budget(w);
}

static void
put_thinking(struct writing *w)
{
	const struct neutral_request *n = w->n;

	out_open(&w->out, "thinking", '{');
	if (!w->thinks) {
		out_string(&w->out, "type", "disabled");
	} else if (w->adaptive) {
		out_string(&w->out, "type", "adaptive");
		/* newer models keep it to themselves unless asked */
		if (n->show_reasoning && has_no_sampling(w))
			out_string(&w->out, "display", "summarized");
	} else {
		out_string(&w->out, "type", "enabled");
		out_int(&w->out, "budget_tokens", w->budget);
	}
	out_close(&w->out, '}');
}

/* Levels that this model's maker has. */
static const char *
effort_word(const struct writing *w)
{
	enum effort e = w->n->effort;

	if (e == EFFORT_UNSET && w->n->budget > 0)
		e = effort_of_budget(w->n->budget);
	if (e == EFFORT_MINIMAL || (e == EFFORT_NONE && w->maker == MAKER_OPENAI))
		e = EFFORT_LOW;
	if (w->version > 0 && w->version < CLAUDE_NO_SAMPLING && e == EFFORT_XHIGH)
		e = EFFORT_HIGH;
	if (w->maker == MAKER_OPENAI && (e == EFFORT_XHIGH || e == EFFORT_MAX))
		e = EFFORT_HIGH;
	return effort_name(e);
}

/* ---- settings ---- */

static double
number_of(struct json_value v)
{
	char text[NUMBER_BYTES];

	(void)span_copy(v.raw, text, sizeof text);
	return strtod(text, NULL);
}

/* 0 to 1 here; some count to 2 (R7).  A model that thinks takes 1 alone. */
static void
put_temperature(struct writing *w)
{
	const struct neutral_field *f = neutral_peek(w->n, "temperature");
	bool only_one =
		w->thinks || (w->maker == MAKER_ANTHROPIC && w->to->thinking == THINKING_ADAPTIVE);

	if (f == NULL || f->value.type != JSON_NUMBER)
		return;
	if (only_one && !w->thinks && number_of(f->value) != 1)
		return;
	f = neutral_take(w->n, "temperature");
	if (only_one || number_of(f->value) > 1)
		out_int(&w->out, "temperature", 1);
	else
		out_json(&w->out, "temperature", f->value.raw);
}

static void
put_top_p(struct writing *w)
{
	const struct neutral_field *f = neutral_peek(w->n, "top_p");

	if (f == NULL || f->value.type != JSON_NUMBER)
		return;
	/* Claude refuses both together, and this one when it thinks. */
	if (may_be_claude(w) &&
		(w->thinks || has_no_sampling(w) || neutral_peek(w->n, "temperature") != NULL))
		return;
	out_json(&w->out, "topP", neutral_take(w->n, "top_p")->value.raw);
}

static void
put_stops(struct writing *w)
{
	if (w->n->stop_count == 0)
		return;
	out_open(&w->out, "stopSequences", '[');
	for (size_t i = 0; i < w->n->stop_count; i++)
		out_json(&w->out, NULL, w->n->stop[i]);
	out_close(&w->out, ']');
}

/* An object that is not written when it stays empty. */
struct optional {
	size_t start, inside;
	bool comma;
};

static struct optional
begin_optional(struct writing *w, const char *key)
{
	struct optional o = { .start = w->out.to->len, .comma = w->out.comma };

	out_open(&w->out, key, '{');
	o.inside = w->out.to->len;
	return o;
}

static void
end_optional(struct writing *w, struct optional o)
{
	if (w->out.to->failed || w->out.to->len > o.inside) {
		out_close(&w->out, '}');
		return;
	}
	w->out.to->len = o.start;
	w->out.to->at[o.start] = '\0';
	w->out.comma = o.comma;
}

static void
put_inference(struct writing *w)
{
	struct optional o = begin_optional(w, "inferenceConfig");

	if (w->max_output >= 0)
		out_int(&w->out, "maxTokens", w->max_output);
	put_temperature(w);
	put_top_p(w);
	put_stops(w);
	end_optional(w, o);
}

static void
put_model_fields(struct writing *w)
{
	struct optional o = begin_optional(w, "additionalModelRequestFields");
	const struct neutral_request *n = w->n;
	const struct neutral_field *f;

	if (w->maker == MAKER_ANTHROPIC && !w->thinks && !has_no_sampling(w) &&
		(f = neutral_take(w->n, "top_k")) != NULL && f->value.type == JSON_NUMBER)
		out_json(&w->out, "top_k", f->value.raw);
	if (may_be_claude(w) && (f = neutral_take(w->n, "anthropic_beta")) != NULL)
		out_json(&w->out, "anthropic_beta", f->value.raw);
	if (n->reasoning_set) {
		if (may_be_claude(w))
			put_thinking(w);
		else if (w->maker == MAKER_OPENAI && effort_word(w)[0] != '\0')
			out_string(&w->out, "reasoning_effort", effort_word(w));
		else
			lose(w, n->effort != EFFORT_UNSET ? "reasoning_effort" : "thinking", false);
	}
	end_optional(w, o);
}

static void
put_schema(struct writing *w)
{
	const struct neutral_request *n = w->n;

	out_open(&w->out, "textFormat", '{');
	out_string(&w->out, "type", "json_schema");
	out_open(&w->out, "structure", '{');
	out_open(&w->out, "jsonSchema", '{');
	out_text(&w->out, "schema", n->schema);
	out_json(&w->out, "name", n->schema_name);
	out_json(&w->out, "description", n->schema_description);
	out_close(&w->out, '}');
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

static void
put_output(struct writing *w)
{
	struct optional o = begin_optional(w, "outputConfig");

	if (w->n->format == OUTPUT_SCHEMA && w->n->schema.at != NULL)
		put_schema(w);
	if (w->thinks && w->adaptive && effort_word(w)[0] != '\0')
		out_string(&w->out, "effort", effort_word(w));
	end_optional(w, o);
}

/* ---- tools ---- */

static bool
is_offered(const struct neutral_request *n, const struct neutral_tool *t)
{
	if (n->choice != CHOICE_ALLOWED)
		return true;
	for (size_t i = 0; i < n->allowed_count; i++)
		if (n->allowed[i].len == t->name.len &&
			memcmp(n->allowed[i].at, t->name.at, t->name.len) == 0)
			return true;
	return false;
}

static void
put_function(struct writing *w, const struct neutral_tool *t)
{
	out_open(&w->out, NULL, '{');
	out_open(&w->out, "toolSpec", '{');
	out_text(&w->out, "name", t->name);
	if (!is_blank(t->description))
		out_json(&w->out, "description", t->description);
	out_open(&w->out, "inputSchema", '{');
	out_json(&w->out, "json",
		t->parameters.at != NULL ? t->parameters
					 : SPAN_LIT("{\"type\":\"object\",\"properties\":{}}"));
	out_close(&w->out, '}');
	if (t->strict == 1 && w->version >= CLAUDE_STRICT)
		out_bool(&w->out, "strict", true);
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

static void
refuse_tool(struct writing *w, const struct neutral_tool *t, size_t index)
{
	char field[32], says[160];

	(void)snprintf(field, sizeof field, "tools[%zu]", index);
	(void)snprintf(says, sizeof says,
		"The tool '%.*s' is one of another provider's own, or takes free text: this one "
		"has none such.",
		(int)(t->name.len < 40 ? t->name.len : 40), t->name.len == 0 ? "" : t->name.at);
	(void)refuse(w, ERR_UNSUPPORTED, field, says);
}

static size_t
put_tools(struct writing *w)
{
	size_t written = 0;

	for (size_t i = 0; i < w->n->tool_count && w->rc == 0; i++) {
		const struct neutral_tool *t = &w->n->tool[i];

		if (!is_offered(w->n, t))
			continue;
		if (t->kind == TOOL_FUNCTION) {
			put_function(w, t);
		} else if (t->kind == TOOL_HOSTED &&
			   json_get(t->raw, "systemTool").type == JSON_OBJECT) {
			out_json(&w->out, NULL, t->raw);
		} else {
			refuse_tool(w, t, i);
			break;
		}
		/* Nova takes none among its tools. */
		if (w->maker != MAKER_NOVA)
			put_cache_point(w, t->cache);
		else if (t->cache != CACHE_NONE)
			lose(w, "cache_control", false);
		written++;
	}
	return written;
}

static void
put_choice(struct writing *w)
{
	const struct neutral_request *n = w->n;
	enum tool_choice choice = n->choice;

	if (choice == CHOICE_ALLOWED)
		choice = n->choice_any ? CHOICE_REQUIRED : CHOICE_AUTO;
	if (choice == CHOICE_UNSET || choice == CHOICE_NONE)
		return;
	out_open(&w->out, "toolChoice", '{');
	out_open(&w->out,
		choice == CHOICE_AUTO       ? "auto"
		: choice == CHOICE_REQUIRED ? "any"
					    : "tool",
		'{');
	if (choice == CHOICE_TOOL)
		out_text(&w->out, "name", n->choice_name);
	out_close(&w->out, '}');
	out_close(&w->out, '}');
}

/* There is no "none": then no tool is offered, unless the history calls some, which cannot be told
 * without offering tools (R13).  If it does and there are none left, one that says so. */
static void
put_tool_config(struct writing *w)
{
	static const struct neutral_tool nothing = { .kind = TOOL_FUNCTION,
		.name = { "no_tool", 7 },
		.description = { "\"Not to be called.\"", 19 } };
	bool called = neutral_has_calls(w->n);

	if (!called && (w->n->tool_count == 0 || w->n->choice == CHOICE_NONE))
		return;
	if (w->n->choice == CHOICE_NONE && w->n->tool_count > 0)
		lose(w, "tool_choice", true);
	out_open(&w->out, "toolConfig", '{');
	out_open(&w->out, "tools", '[');
	if (put_tools(w) == 0 && w->rc == 0)
		put_function(w, &nothing);
	out_close(&w->out, ']');
	if (w->n->tool_count > 0)
		put_choice(w);
	out_close(&w->out, '}');
}

/* ---- all of it ---- */

static int
check_settings(struct writing *w)
{
	const struct neutral_field *n = neutral_take(w->n, "n");
	const struct neutral_field *modalities = neutral_peek(w->n, "modalities");
	int64_t count;

	if (n != NULL && json_int(n->value, &count) == 0 && count > 1)
		return refuse(w, ERR_UNSUPPORTED, "n", "The provider gives one answer a request.");
	if (modalities == NULL || modalities->value.type != JSON_ARRAY)
		return 0;
	if (memmem(modalities->value.raw.at, modalities->value.raw.len, "\"audio\"", 7) != NULL)
		return refuse(
			w, ERR_UNSUPPORTED, "modalities", "The provider answers in text alone.");
	(void)neutral_take(w->n, "modalities");
	return 0;
}

static void
put_own(struct writing *w)
{
	static const struct {
		const char *canonical, *name;
	} own[] = {
		{ "guardrail_config", "guardrailConfig" },
		{ "prompt", "promptVariables" },
		{ "request_metadata", "requestMetadata" },
		{ "performance_config", "performanceConfig" },
		{ "response_field_paths", "additionalModelResponseFieldPaths" },
	};

	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
		const struct neutral_field *f = neutral_peek(w->n, own[i].canonical);

		if (f != NULL && span_is(f->as, own[i].name))
			out_json(&w->out, own[i].name,
				neutral_take(w->n, own[i].canonical)->value.raw);
	}
}

static void
put_tier(struct writing *w)
{
	const struct neutral_field *f = neutral_peek(w->n, "service_tier");

	/* Others' tiers have other names, or none that the model is sold in. */
	if (f == NULL || !span_is(f->as, "serviceTier"))
		return;
	out_open(&w->out, "serviceTier", '{');
	out_json(&w->out, "type", neutral_take(w->n, "service_tier")->value.raw);
	out_close(&w->out, '}');
}

int
converse_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err)
{
	static const struct name_rule rule = { .most = 64, .extra = "_-" };
	struct writing *w = arena_alloc(n->arena, sizeof *w);

	if (w == NULL || names_fit(n, &rule, &made->renamed) != 0)
		return err_set(err, ERR_MEMORY, "no memory for a request to Converse");
	*w = (struct writing){ .n = n,
		.to = to,
		.lost = lost,
		.err = err,
		.out = { .to = made->body },
		.maker = maker_of(to),
		.version = anthropic_model_version(to->model == NULL ? "" : to->model) };
	if (check_settings(w) != 0 || neutral_fill_ids(n, err) != 0 || sift(w) != 0 ||
		neutral_unique_ids(n, err) != 0 || trim_last(w) != 0)
		return -1;
	plan_thinking(w);
	if (n->parallel == 0)
		lose(w, "parallel_tool_calls", false);
	out_open(&w->out, NULL, '{');
	put_system(w);
	put_messages(w);
	put_inference(w);
	put_tool_config(w);
	put_model_fields(w);
	put_output(w);
	put_tier(w);
	put_own(w);
	out_close(&w->out, '}');
	if (w->rc == 0 && made->body->failed)
		return no_memory(w);
	return w->rc;
}
