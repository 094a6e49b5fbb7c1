/*
 * gemini_request_write.c - a request written for Gemini.
 *
 * What depends on the model is told by its name: generations before 2.5 do not reason, 2.5 takes a
 * budget of tokens, 3 and later a level and the signatures of calls.
 */
#include "wire/gemini-int.h"

#include "wire/effort.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOPS_MOST      5    /* R6 */
#define RESPONSE_DEPTH  64   /* of a result's own JSON; deeper stays text */
#define BUDGET_AUTO     (-1) /* Gemini's word for "as much as it needs" */
#define MINIMAL_BUDGET  512  /* less than others take */
#define DUMMY_SIGNATURE "skip_thought_signature_validator"

static const struct name_rule name_rule = { 64, "_.:-", true };

/* ---- the model ---- */

enum way { REASONS_NOT, REASONS_BY_BUDGET, REASONS_BY_LEVEL };

struct family {
	enum way way;
	int major, minor; /* 0: the name does not say */
	bool pro, lite;
};

static struct family
family_of(const struct request_target *to)
{
	const char *name = to->model == NULL ? "" : to->model, *number = strstr(name, "gemini-");
	struct family f = { .pro = strstr(name, "pro") != NULL,
		.lite = strstr(name, "lite") != NULL };

	if (number != NULL)
		(void)sscanf(number, "gemini-%2d.%2d", &f.major, &f.minor);
	if (strstr(name, "image") != NULL || strstr(name, "tts") != NULL)
		f.way = REASONS_NOT;
	else if (f.major >= 3)
		f.way = REASONS_BY_LEVEL;
	else if (f.major == 2 && f.minor >= 5)
		f.way = REASONS_BY_BUDGET;
	else if (to->thinking != THINKING_UNKNOWN || f.major == 0)
		f.way = to->thinking == THINKING_ADAPTIVE ? REASONS_BY_LEVEL : REASONS_BY_BUDGET;
	return f;
}

/* Generation 3 wants each turn's first call signed. */
static bool
wants_signatures(const struct family *f)
{
	return f->major >= 3 || f->way == REASONS_BY_LEVEL;
}

/* ---- the writer ---- */

/* A call of the history, found by its id (R16). */
struct call_at {
	struct span id, name;
	size_t message, part;
	size_t answers; /* of the first with this id in its message: results that took one */
};

struct writer {
	struct neutral_request *n;
	const struct request_target *to;
	struct family family;
	struct json_out o;
	struct losses *lost;
	struct err *err;
	struct call_at *call;
	size_t call_count;
	int role; /* of the content that is open, or -1 */
};

static int
unsupported(struct writer *w, const char *field, const char *says)
{
	(void)err_set(w->err, ERR_UNSUPPORTED, "%s: %s", field, says);
	(void)err_say(w->err, "%s", says);
	return err_field(w->err, field);
}

static int
no_memory(struct writer *w)
{
	return err_set(w->err, ERR_MEMORY, "no memory to write a request");
}

static int
span_compare(struct span a, struct span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int by_bytes = len == 0 ? 0 : memcmp(a.at, b.at, len);

	return by_bytes != 0 ? by_bytes : (a.len > b.len) - (a.len < b.len);
}

static int
call_compare(const void *left, const void *right)
{
	const struct call_at *a = left, *b = right;
	int by_id = span_compare(a->id, b->id);

	if (by_id != 0)
		return by_id;
	if (a->message != b->message)
		return a->message < b->message ? -1 : 1;
	return (a->part > b->part) - (a->part < b->part);
}

static size_t
count_kind(const struct neutral_message *m, enum part_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < m->count; i++)
		count += m->part[i].kind == kind;
	return count;
}

static int
index_calls(struct writer *w)
{
	size_t all = 0;

	for (size_t m = 0; m < w->n->message_count; m++)
		all += count_kind(&w->n->message[m], PART_TOOL_CALL);
	if (all == 0)
		return 0;
	w->call = arena_alloc(w->n->arena, all * sizeof *w->call);
	if (w->call == NULL)
		return no_memory(w);
	for (size_t m = 0; m < w->n->message_count; m++)
		for (size_t i = 0; i < w->n->message[m].count; i++) {
			const struct neutral_part *p = &w->n->message[m].part[i];

			if (p->kind == PART_TOOL_CALL)
				w->call[w->call_count++] = (struct call_at){
					.id = p->call_id, .name = p->name, .message = m, .part = i
				};
		}
	qsort(w->call, w->call_count, sizeof *w->call, call_compare);
	return 0;
}

/* How many stand before (id, message, 0). */
static size_t
calls_below(const struct writer *w, struct span id, size_t message)
{
	const struct call_at key = { .id = id, .message = message };
	size_t low = 0, high = w->call_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (call_compare(&w->call[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The call that a result in this message answers: the nearest before it; of several in one turn with
 * the same id each gets one.  NULL: none. */
static const struct call_at *
take_call(struct writer *w, struct span id, size_t message)
{
	size_t behind = calls_below(w, id, message), first, which;

	if (behind == 0 || span_compare(w->call[behind - 1].id, id) != 0)
		return NULL;
	first = calls_below(w, id, w->call[behind - 1].message);
	which = first + w->call[first].answers;
	if (which + 1 < behind)
		w->call[first].answers++;
	return &w->call[which];
}

/* ---- contents ---- */

static void
end_content(struct writer *w)
{
	if (w->role < 0)
		return;
	out_close(&w->o, ']');
	out_close(&w->o, '}');
	w->role = -1;
}

/* Contents are opened by their first part, so that none is empty and no two neighbours have one role. */
static void
begin_part(struct writer *w, enum neutral_role role)
{
	if (w->role == (int)role)
		return;
	end_content(w);
	out_open(&w->o, NULL, '{');
	out_string(&w->o, "role", role == ROLE_USER ? "user" : "model");
	out_open(&w->o, "parts", '[');
	w->role = (int)role;
}

/* The kind by the first bytes, as base64 has them; where a client did not say. */
static struct span
mime_of(const struct neutral_part *p)
{
	static const struct {
		const char *starts, *mime;
	} known[] = { { "iVBORw0KGgo", "image/png" }, { "/9j/", "image/jpeg" },
		{ "R0lGOD", "image/gif" }, { "UklGR", "image/webp" },
		{ "JVBERi", "application/pdf" } };

	if (p->mime.len > 0)
		return span_is(p->mime, "audio/mpeg") ? SPAN_LIT("audio/mp3") : p->mime;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (span_starts(p->data, known[i].starts))
			return span_of(known[i].mime);
	return SPAN_NONE;
}

/* Addresses that Google reads by itself (R20). */
static bool
google_reads(struct span uri)
{
	static const char *const places[] = { GEMINI_FILES, "gs://", "https://www.youtube.com/",
		"https://youtube.com/", "https://youtu.be/" };

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (span_starts(uri, places[i]))
			return true;
	return false;
}

bool
gemini_takes_url(const struct neutral_part *p)
{
	return google_reads(p->url);
}

/* True when it can be written; else *says why. */
static bool
media_fits(const struct neutral_part *p, const char **says)
{
	*says = NULL;
	if (p->data.at != NULL) {
		if (mime_of(p).len == 0)
			*says = "Gemini needs the media type of what it is sent; name it.";
	} else if (p->file_id.at != NULL) {
		if (!google_reads(p->file_id))
			*says = "A file's id is known only to the provider it was sent to; send "
				"the content itself.";
	} else if (p->url.at != NULL) {
		if (!google_reads(p->url))
			*says = "Gemini takes images and documents as data, not by their address; "
				"send a data: URL.";
	} else if (p->text.at == NULL) {
		*says = "A part of a message has no content.";
	}
	return *says == NULL;
}

static int
put_media(struct writer *w, const struct neutral_part *p)
{
	struct neutral_part known = *p;
	const char *says;

	if (!media_fits(p, &says))
		return unsupported(w, "messages", says);
	known.mime = mime_of(p);
	if (p->data.at == NULL && p->file_id.at == NULL && p->url.at == NULL)
		gemini_put_text(&w->o, p->text, false, SPAN_NONE);
	else
		gemini_put_inline(&w->o, &known);
	return 0;
}

static bool
is_media(enum part_kind k)
{
	return k == PART_IMAGE || k == PART_DOCUMENT || k == PART_AUDIO || k == PART_VIDEO;
}

/* Media that stands for itself, and no text in a document's clothes. */
static bool
has_bytes(const struct neutral_part *p)
{
	return is_media(p->kind) &&
	       (p->data.at != NULL || p->url.at != NULL || p->file_id.at != NULL);
}

/* ---- tool results ---- */

/* R18's text: all there is of it. */
static struct span
result_text(struct writer *w, const struct neutral_part *p)
{
	struct span *texts;
	size_t count = 0;

	if (p->content_count == 0)
		return SPAN_LIT("\"\"");
	texts = arena_alloc(w->n->arena, p->content_count * sizeof *texts);
	if (texts == NULL)
		return SPAN_NONE;
	for (size_t i = 0; i < p->content_count; i++)
		if (p->content[i].text.at != NULL)
			texts[count++] = p->content[i].text;
	return text_joined(w->n->arena, texts, count, "\\n\\n");
}

static bool
is_deep(struct span json)
{
	const char *p = json.at, *end = json.at + json.len;
	int depth = 0;

	while (p < end && depth <= RESPONSE_DEPTH) {
		if (*p == '"') {
			p = wire_string_end(p + 1, end);
			continue;
		}
		depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
		p++;
	}
	return depth > RESPONSE_DEPTH;
}

/* The text as the JSON object that it is, or SPAN_NONE. */
static struct span
object_in(struct writer *w, struct span text)
{
	struct span inside = text_inside(text), plain;

	if (inside.len == 0 || strchr("{ \\", inside.at[0]) == NULL)
		return SPAN_NONE;
	plain = text_plain(w->n->arena, (struct json_value){ JSON_STRING, text });
	while (plain.len > 0 && strchr(" \n\r\t", plain.at[0]) != NULL)
		plain = (struct span){ plain.at + 1, plain.len - 1 };
	if (plain.len == 0 || plain.at[0] != '{' || !json_valid(plain) || is_deep(plain))
		return SPAN_NONE;
	return plain;
}

static int
put_response(struct writer *w, const struct neutral_part *p)
{
	struct span text, object;

	if (p->result.at != NULL) {
		out_json(&w->o, "response", p->result);
		return 0;
	}
	text = result_text(w, p);
	if (text.at == NULL)
		return no_memory(w);
	object = p->is_error ? SPAN_NONE : object_in(w, text);
	if (object.at != NULL) {
		out_json(&w->o, "response", object);
		return 0;
	}
	out_open(&w->o, "response", '{');
	out_json(&w->o, p->is_error ? "error" : "result", text);
	out_close(&w->o, '}');
	return 0;
}

static int
put_result_media(struct writer *w, const struct neutral_part *p)
{
	for (size_t i = 0; i < p->content_count; i++)
		if (has_bytes(&p->content[i]) && put_media(w, &p->content[i]) != 0)
			return -1;
	return 0;
}

static bool
holds_media(const struct neutral_part *p)
{
	for (size_t i = 0; i < p->content_count; i++)
		if (has_bytes(&p->content[i]))
			return true;
	return false;
}

static int
put_result(struct writer *w, const struct neutral_part *p, struct span name)
{
	out_open(&w->o, NULL, '{');
	out_open(&w->o, "functionResponse", '{');
	out_text(&w->o, "name", name);
	if (put_response(w, p) != 0)
		return -1;
	if (wants_signatures(&w->family) && holds_media(p)) { /* generation 3 */
		out_open(&w->o, "parts", '[');
		if (put_result_media(w, p) != 0)
			return -1;
		out_close(&w->o, ']');
	}
	out_close(&w->o, '}');
	out_close(&w->o, '}');
	return 0;
}

/* A result and where its call stood. */
struct placed {
	const struct neutral_part *part;
	struct span name;
	size_t call, came;
};

static int
placed_compare(const void *left, const void *right)
{
	const struct placed *a = left, *b = right;

	if (a->call != b->call)
		return a->call < b->call ? -1 : 1;
	return (a->came > b->came) - (a->came < b->came);
}

/* One user turn's results, in the order of the calls: without ids that is what tells them apart. */
static int
put_results(struct writer *w, size_t message)
{
	const struct neutral_message *m = &w->n->message[message];
	size_t all = count_kind(m, PART_TOOL_RESULT), count = 0;
	struct placed *placed;

	if (all == 0)
		return 0;
	placed = arena_alloc(w->n->arena, all * sizeof *placed);
	if (placed == NULL)
		return no_memory(w);
	for (size_t i = 0; i < m->count; i++) {
		const struct neutral_part *p = &m->part[i];
		const struct call_at *c;

		if (p->kind != PART_TOOL_RESULT)
			continue;
		c = take_call(w, p->call_id, message);
		if (c == NULL && p->name.len == 0) {
			(void)err_set(w->err, ERR_BAD_REQUEST, "a result without its call");
			(void)err_say(w->err,
				"A tool result answers the call '%.*s', which is not in the "
				"messages before it.",
				p->call_id.len > 64 ? 64 : (int)p->call_id.len, p->call_id.at);
			return err_field(w->err, "tool_call_id");
		}
		placed[count] = (struct placed){ p, c == NULL ? p->name : c->name, SIZE_MAX, i };
		if (c != NULL && c->message + 1 == message)
			placed[count].call = c->part;
		count++;
	}
	qsort(placed, count, sizeof *placed, placed_compare);
	begin_part(w, ROLE_USER);
	for (size_t i = 0; i < count; i++)
		if (put_result(w, placed[i].part, placed[i].name) != 0)
			return -1;
	for (size_t i = 0; i < count && !wants_signatures(&w->family); i++)
		if (put_result_media(w, placed[i].part) != 0)
			return -1;
	return 0;
}

/* ---- parts ---- */

static int
put_user_part(struct writer *w, const struct neutral_part *p)
{
	if (p->kind == PART_TOOL_RESULT)
		return 0; /* they stood first */
	if (is_media(p->kind)) {
		begin_part(w, ROLE_USER);
		return put_media(w, p);
	}
	if ((p->kind == PART_TEXT || p->kind == PART_REFUSAL) && !text_is_empty(p->text)) {
		begin_part(w, ROLE_USER);
		gemini_put_text(&w->o, p->text, false, SPAN_NONE);
	}
	return 0;
}

static void
put_call(struct writer *w, const struct neutral_part *p, bool first)
{
	struct span signature = gemini_signature(p);

	if (signature.at == NULL && first && wants_signatures(&w->family))
		signature = SPAN_LIT(DUMMY_SIGNATURE);
	if (p->is_custom) {
		out_open(&w->o, NULL, '{');
		out_open(&w->o, "functionCall", '{');
		out_text(&w->o, "name", p->name);
		out_open(&w->o, "args", '{');
		out_json(&w->o, "input", p->arguments);
		out_close(&w->o, '}');
		out_close(&w->o, '}');
		if (signature.at != NULL)
			out_text(&w->o, "thoughtSignature", signature);
		out_close(&w->o, '}');
		return;
	}
	gemini_put_call(&w->o, SPAN_NONE, p->name, p->input, signature);
}

static int
put_model_part(struct writer *w, const struct neutral_part *p, bool first_call)
{
	struct span signature = gemini_signature(p);

	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		if (text_is_empty(p->text) && signature.at == NULL)
			return 0;
		begin_part(w, ROLE_ASSISTANT);
		gemini_put_text(&w->o, p->text, false, signature);
		return 0;
	case PART_REASONING:
		if (p->signer != SIGNER_GEMINI) {
			losses_add(w->lost, SPAN_LIT("thinking block"), false);
			return 0;
		}
		begin_part(w, ROLE_ASSISTANT);
		gemini_put_text(&w->o, p->text, true, signature);
		return 0;
	case PART_REDACTED:
		losses_add(w->lost, SPAN_LIT("thinking block"), false);
		return 0;
	case PART_TOOL_CALL:
		begin_part(w, ROLE_ASSISTANT);
		put_call(w, p, first_call);
		return 0;
	case PART_TOOL_RESULT:
		return 0;
	default:
		begin_part(w, ROLE_ASSISTANT);
		return put_media(w, p);
	}
}

static void
note_cache(struct writer *w, enum cache_mark mark)
{
	if (mark != CACHE_NONE)
		losses_add(w->lost, SPAN_LIT("cache_control"), false);
}

static int
put_message(struct writer *w, size_t which)
{
	const struct neutral_message *m = &w->n->message[which];
	bool called = false;

	if (m->role == ROLE_USER && put_results(w, which) != 0)
		return -1;
	for (size_t i = 0; i < m->count; i++) {
		const struct neutral_part *p = &m->part[i];

		note_cache(w, p->cache);
		if ((m->role == ROLE_USER ? put_user_part(w, p) : put_model_part(w, p, !called)) !=
			0)
			return -1;
		called = called || p->kind == PART_TOOL_CALL;
	}
	return 0;
}

static void
put_system(struct writer *w)
{
	for (size_t i = 0; i < w->n->system_count; i++) {
		note_cache(w, w->n->system[i].cache);
		gemini_put_text(&w->o, w->n->system[i].text, false, SPAN_NONE);
	}
}

/* A request of instructions alone: they are what is asked (R1). */
static bool
says_nothing(const struct neutral_request *n)
{
	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++) {
			const struct neutral_part *p = &n->message[m].part[i];

			if (p->kind != PART_TEXT || !text_is_empty(p->text) ||
				gemini_signature(p).at != NULL)
				return false;
		}
	return true;
}

static int
put_contents(struct writer *w)
{
	bool alone = says_nothing(w->n);
	size_t before;

	if (alone && w->n->system_count == 0) {
		(void)err_set(w->err, ERR_BAD_REQUEST, "no message says anything");
		(void)err_say(w->err, "The request holds no message that says anything.");
		return err_field(w->err, "messages");
	}
	if (!alone && w->n->system_count > 0) {
		out_open(&w->o, "systemInstruction", '{');
		out_open(&w->o, "parts", '[');
		put_system(w);
		out_close(&w->o, ']');
		out_close(&w->o, '}');
	}
	out_open(&w->o, "contents", '[');
	before = w->o.to->len;
	if (alone) {
		begin_part(w, ROLE_USER);
		put_system(w);
	}
	for (size_t m = 0; m < w->n->message_count && !alone; m++)
		if (put_message(w, m) != 0)
			return -1;
	end_content(w);
	if (w->o.to->len == before && !w->o.to->failed) {
		(void)err_set(w->err, ERR_BAD_REQUEST, "nothing of the messages is for Gemini");
		(void)err_say(w->err, "The request holds no message that this provider can read.");
		return err_field(w->err, "messages");
	}
	out_close(&w->o, ']');
	return 0;
}

/* ---- tools ---- */

static bool
is_googles(struct span name)
{
	static const char *const names[] = { "googleSearch", "googleSearchRetrieval",
		"codeExecution", "urlContext", "fileSearch", "googleMaps", "computerUse",
		"mcpServers" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (gemini_key_is(name, names[i]))
			return true;
	return false;
}

static int
check_tools(struct writer *w, size_t *functions)
{
	char says[160];

	*functions = 0;
	for (size_t i = 0; i < w->n->tool_count; i++) {
		const struct neutral_tool *t = &w->n->tool[i];

		note_cache(w, t->cache);
		if (t->kind == TOOL_FUNCTION) {
			++*functions;
			if (t->strict == 1)
				losses_add(w->lost, SPAN_LIT("strict"), false);
		} else if (t->kind == TOOL_CUSTOM || !is_googles(t->name)) {
			(void)snprintf(says, sizeof says,
				"Gemini has no tool of the kind '%.*s'; offer a function instead.",
				t->name.len > 64 ? 64 : (int)t->name.len, t->name.at);
			return unsupported(w, "tools", says);
		}
	}
	return 0;
}

static void
put_function(struct writer *w, const struct neutral_tool *t)
{
	out_open(&w->o, NULL, '{');
	out_text(&w->o, "name", t->name);
	if (!text_is_empty(t->description))
		out_json(&w->o, "description", t->description);
	out_json(&w->o, "parametersJsonSchema",
		t->parameters.at != NULL ? t->parameters
					 : SPAN_LIT("{\"type\":\"object\",\"properties\":{}}"));
	out_close(&w->o, '}');
}

static void
put_choice(struct writer *w)
{
	struct neutral_request *n = w->n;
	bool named = n->choice == CHOICE_TOOL || n->choice == CHOICE_ALLOWED;
	const char *mode = n->choice == CHOICE_AUTO                        ? "AUTO"
			   : n->choice == CHOICE_NONE                      ? "NONE"
			   : n->choice == CHOICE_ALLOWED && !n->choice_any ? "VALIDATED"
									   : "ANY";

	if (n->choice == CHOICE_UNSET)
		return;
	out_open(&w->o, "toolConfig", '{');
	out_open(&w->o, "functionCallingConfig", '{');
	out_string(&w->o, "mode", mode);
	if (named) {
		out_open(&w->o, "allowedFunctionNames", '[');
		if (n->choice == CHOICE_TOOL)
			out_text(&w->o, NULL, n->choice_name);
		else
			for (size_t i = 0; i < n->allowed_count; i++)
				out_text(&w->o, NULL, n->allowed[i]);
		out_close(&w->o, ']');
	}
	out_close(&w->o, '}');
	out_close(&w->o, '}');
}

static int
put_tools(struct writer *w)
{
	size_t functions;

	if (check_tools(w, &functions) != 0)
		return -1;
	if (w->n->parallel == 0)
		losses_add(w->lost, SPAN_LIT("parallel_tool_calls"), true);
	if (w->n->tool_count == 0)
		return 0;
	out_open(&w->o, "tools", '[');
	if (functions > 0) {
		out_open(&w->o, NULL, '{');
		out_open(&w->o, "functionDeclarations", '[');
		for (size_t i = 0; i < w->n->tool_count; i++)
			if (w->n->tool[i].kind == TOOL_FUNCTION)
				put_function(w, &w->n->tool[i]);
		out_close(&w->o, ']');
		out_close(&w->o, '}');
	}
	for (size_t i = 0; i < w->n->tool_count; i++)
		if (w->n->tool[i].kind == TOOL_HOSTED)
			out_json(&w->o, NULL, w->n->tool[i].raw);
	out_close(&w->o, ']');
	if (functions > 0) /* a choice among no functions is refused */
		put_choice(w);
	return 0;
}

/* ---- settings ---- */

struct given {
	const char *canonical, *member;
};

static void
put_given(struct writer *w, const struct given *g)
{
	const struct neutral_field *f = neutral_take(w->n, g->canonical);

	if (f != NULL && f->value.type != JSON_NULL)
		out_json(&w->o, g->member, f->value.raw);
}

static void
put_sampling(struct writer *w)
{
	static const struct given rows[] = { { "temperature", "temperature" }, { "top_p", "topP" },
		{ "top_k", "topK" }, { "presence_penalty", "presencePenalty" },
		{ "frequency_penalty", "frequencyPenalty" }, { "logprobs", "responseLogprobs" },
		{ "top_logprobs", "logprobs" }, { "speech_config", "speechConfig" },
		{ "image_config", "imageConfig" }, { "media_resolution", "mediaResolution" } };
	const struct neutral_field *f;
	int64_t number;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		put_given(w, &rows[i]);
	f = neutral_take(w->n, "n");
	if (f != NULL && json_int(f->value, &number) == 0 && number > 1)
		out_int(&w->o, "candidateCount", number);
	/* Google's seed has 32 bits. */
	f = neutral_peek(w->n, "seed");
	if (f != NULL && json_int(f->value, &number) == 0 && number >= INT32_MIN &&
		number <= INT32_MAX) {
		(void)neutral_take(w->n, "seed");
		out_int(&w->o, "seed", number);
	}
}

static void
put_limits(struct writer *w)
{
	int64_t most = w->n->max_output;
	size_t stops = w->n->stop_count;

	if (w->to->most_output > 0 && most > w->to->most_output)
		most = w->to->most_output;
	if (most > 0)
		out_int(&w->o, "maxOutputTokens", most);
	if (stops > STOPS_MOST) {
		losses_add(w->lost, SPAN_LIT("stop"), true);
		stops = STOPS_MOST;
	}
	if (stops == 0)
		return;
	out_open(&w->o, "stopSequences", '[');
	for (size_t i = 0; i < stops; i++)
		out_json(&w->o, NULL, w->n->stop[i]);
	out_close(&w->o, ']');
}

static void
put_format(struct writer *w)
{
	if (w->n->format != OUTPUT_JSON && w->n->format != OUTPUT_SCHEMA)
		return;
	out_string(&w->o, "responseMimeType", "application/json");
	if (w->n->format == OUTPUT_SCHEMA)
		out_json(&w->o, "responseJsonSchema", w->n->schema);
}

struct modalities {
	bool image, other;
};

static bool
note_modality(void *ctx, const struct json_member *m)
{
	struct modalities *seen = ctx;
	char word[16];

	if (json_string(m->value, word, sizeof word) < 0)
		word[0] = '\0';
	if (strcmp(word, "image") == 0)
		seen->image = true;
	else if (strcmp(word, "text") != 0)
		seen->other = true;
	return true;
}

/* Speech comes in a form that other dialects' clients do not expect: not asked for, and so lost. */
static void
put_modalities(struct writer *w)
{
	const struct neutral_field *f = neutral_peek(w->n, "modalities");
	struct modalities seen = { false, false };

	if (f == NULL || json_each_element(f->value.raw, note_modality, &seen, NULL) != 0 ||
		seen.other)
		return;
	(void)neutral_take(w->n, "modalities");
	if (seen.image)
		out_json(&w->o, "responseModalities", SPAN_LIT("[\"TEXT\",\"IMAGE\"]"));
}

/* ---- reasoning (conversion.md, table 3) ---- */

static int64_t
clamp(int64_t n, int64_t least, int64_t most)
{
	return n < least ? least : n > most ? most : n;
}

static int64_t
budget_of(enum effort e)
{
	return e == EFFORT_MINIMAL ? MINIMAL_BUDGET : effort_budget(e);
}

static void
put_budget(struct writer *w)
{
	const struct neutral_request *n = w->n;
	int64_t least = w->family.pro ? 128 : w->family.lite ? 512 : 1;
	int64_t most = w->family.pro ? 32768 : 24576;

	if (n->effort == EFFORT_NONE)
		out_int(&w->o, "thinkingBudget", w->family.pro ? least : 0);
	else if (n->budget > 0)
		out_int(&w->o, "thinkingBudget", clamp(n->budget, least, most));
	else if (n->effort != EFFORT_UNSET)
		out_int(&w->o, "thinkingBudget", clamp(budget_of(n->effort), least, most));
	else if (n->adaptive)
		out_int(&w->o, "thinkingBudget", BUDGET_AUTO);
}

/* The larger models have no MINIMAL, and the first of them no MEDIUM. */
static void
put_level(struct writer *w)
{
	const struct neutral_request *n = w->n;
	enum effort e = n->effort == EFFORT_UNSET && n->budget > 0 ? effort_of_budget(n->budget)
								   : n->effort;
	bool first = w->family.pro && w->family.major == 3 && w->family.minor == 0;

	if (e == EFFORT_UNSET)
		return;
	if (e <= EFFORT_MINIMAL && w->family.pro)
		e = EFFORT_LOW;
	if (e == EFFORT_MEDIUM && first)
		e = EFFORT_HIGH;
	out_string(&w->o, "thinkingLevel",
		e <= EFFORT_MINIMAL  ? "MINIMAL"
		: e == EFFORT_LOW    ? "LOW"
		: e == EFFORT_MEDIUM ? "MEDIUM"
				     : "HIGH");
}

static void
put_thinking(struct writer *w)
{
	if (!w->n->reasoning_set)
		return;
	if (w->family.way == REASONS_NOT) {
		if (w->n->effort != EFFORT_NONE)
			losses_add(w->lost, SPAN_LIT("reasoning_effort"), false);
		return;
	}
	out_open(&w->o, "thinkingConfig", '{');
	if (w->family.way == REASONS_BY_LEVEL)
		put_level(w);
	else
		put_budget(w);
	if (w->n->effort != EFFORT_NONE)
		out_bool(&w->o, "includeThoughts", true);
	out_close(&w->o, '}');
}

static void
put_config(struct writer *w)
{
	size_t before = w->o.to->len;

	out_open(&w->o, "generationConfig", '{');
	put_sampling(w);
	put_limits(w);
	put_format(w);
	put_modalities(w);
	put_thinking(w);
	if (!w->o.comma && !w->o.to->failed) {
		/* nothing was set */
		w->o.to->len = before;
		w->o.to->at[before] = '\0';
		w->o.comma = true;
		return;
	}
	out_close(&w->o, '}');
}

int
gemini_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err)
{
	struct writer w = { .n = n,
		.to = to,
		.family = family_of(to),
		.o = { made->body, false },
		.lost = lost,
		.err = err,
		.role = -1 };
	static const struct given outer[] = { { "safety_settings", "safetySettings" },
		{ "labels", "labels" } };

	if (names_fit(n, &name_rule, &made->renamed) != 0)
		return no_memory(&w);
	if (index_calls(&w) != 0)
		return -1;
	out_open(&w.o, NULL, '{');
	if (put_contents(&w) != 0 || put_tools(&w) != 0)
		return -1;
	put_config(&w);
	for (size_t i = 0; i < sizeof outer / sizeof outer[0]; i++)
		put_given(&w, &outer[i]);
	out_close(&w.o, '}');
	return made->body->failed ? no_memory(&w) : 0;
}
