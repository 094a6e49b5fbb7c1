/*
 * anthropic_compose.c - a request of Anthropic's messages, written.
 *
 * What Anthropic refuses is put right first (empty texts, thinking without its signature, ids that come
 * twice, results behind other parts), so that writing is one walk.
 */
#include "wire/anthropic-int.h"
#include "wire/anthropic.h"

#include "base/base64.h"
#include "base/money.h"
#include "wire/effort.h"
#include <stdio.h>
#include <string.h>

#define DEFAULT_MAX_TOKENS 4096
#define MILLION            1000000

struct plan {
	enum { THINK_UNSAID, THINK_OFF, THINK_BUDGET, THINK_ADAPTIVE } thinking;
	int64_t budget, max_tokens;
	const char *effort;
	bool show;
};

struct composing {
	struct neutral_request *n;
	const struct request_target *to;
	enum anthropic_flavour flavour;
	struct losses *lost;
	struct err *err;
	int version;
	struct plan plan;
	struct json_out o;
};

static int
refuse(struct err *err, enum err_code code, const char *field, const char *says)
{
	(void)err_set(err, code, "%s", says);
	(void)err_say(err, "%s", says);
	return err_field(err, field);
}

/* ---- models ---- */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t
digits_at(const char *p)
{
	size_t n = 0;

	while (is_digit(p[n]))
		n++;
	return n;
}

static int
one_or_two(const char *p, size_t digits)
{
	return digits == 1 ? p[0] - '0' : (p[0] - '0') * 10 + p[1] - '0';
}

/* The first number of one or two digits behind "claude" that is a word of its own, and what stands
 * behind it with a dot or a dash; dates have more digits. */
int
anthropic_model_version(const char *model)
{
	const char *p = strstr(model, "claude");

	for (p = p == NULL ? "" : p + 6; *p != '\0'; p++) {
		size_t major = digits_at(p), minor;

		if (major == 0)
			continue;
		if (major <= 2 && strchr("-.@/", p[-1]) != NULL) {
			int version = one_or_two(p, major) * 100;

			p += major;
			minor = *p == '-' || *p == '.' ? digits_at(p + 1) : 0;
			return version + (minor == 1 || minor == 2 ? one_or_two(p + 1, minor) : 0);
		}
		p += major - 1;
	}
	return 0;
}

/* ---- what a message may hold ---- */

const char *
anthropic_reasoning_name(const struct neutral_part *p)
{
	switch (p->signer) {
	case SIGNER_ANTHROPIC:
		return "thinking block";
	case SIGNER_OPENAI:
		return "reasoning item";
	case SIGNER_GEMINI:
		return "thought";
	default:
		return p->kind == PART_REDACTED ? "redacted reasoning" : "reasoning_content";
	}
}

/* Thinking goes back to its maker alone, and no text may be empty (R24). */
static bool
is_kept(struct composing *c, const struct neutral_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		return !text_is_empty(p->text);
	case PART_REASONING:
	case PART_REDACTED:
		if (p->signer == SIGNER_ANTHROPIC && p->signature.len > 0)
			return true;
		losses_add(c->lost, span_of(anthropic_reasoning_name(p)), false);
		return false;
	default:
		return true;
	}
}

static void
sift(struct composing *c)
{
	struct neutral_request *n = c->n;
	size_t messages = 0;

	for (size_t m = 0; m < n->message_count; m++) {
		struct neutral_message *message = &n->message[m];
		size_t kept = 0;

		for (size_t i = 0; i < message->count; i++)
			if (is_kept(c, &message->part[i]))
				message->part[kept++] = message->part[i];
		message->count = kept;
		if (kept > 0)
			n->message[messages++] = *message;
	}
	n->message_count = messages;
}

static struct span
trim_end(struct arena *a, struct span text)
{
	struct span inside = text_inside(text);
	size_t end = 0; /* behind the last that is no white space */
	char *out;

	for (size_t i = 0; i < inside.len;) {
		size_t step = 1;
		bool blank = inside.at[i] == ' ';

		if (inside.at[i] == '\\') {
			char kind = inside.at[i + 1];

			step = kind == 'u' ? 6 : 2;
			blank = kind == 'n' || kind == 'r' || kind == 't' || kind == 'f';
			if (kind == 'u' && i + 6 <= inside.len)
				blank = memcmp(inside.at + i + 2, "0020", 4) == 0 ||
					memcmp(inside.at + i + 2, "00a0", 4) == 0 ||
					(memcmp(inside.at + i + 2, "000", 3) == 0 &&
						strchr("9aAbBcCdD", inside.at[i + 5]) != NULL);
		}
		i += step;
		if (!blank)
			end = i;
	}
	if (end == inside.len)
		return text;
	out = arena_alloc(a, end + 2);
	if (out == NULL)
		return SPAN_NONE;
	out[0] = '"';
	memcpy(out + 1, inside.at, end);
	out[end + 1] = '"';
	return (struct span){ out, end + 2 };
}

/* A beginning that the model is to go on with must not end in white space (trap 4). */
static int
trim_prefill(struct composing *c)
{
	struct neutral_request *n = c->n;

	while (n->message_count > 0) {
		struct neutral_message *m = &n->message[n->message_count - 1];
		struct neutral_part *last = &m->part[m->count - 1];

		if (m->role != ROLE_ASSISTANT ||
			(last->kind != PART_TEXT && last->kind != PART_REFUSAL))
			return 0;
		last->text = trim_end(n->arena, last->text);
		if (last->text.at == NULL)
			return err_set(c->err, ERR_MEMORY, "no memory for a message");
		if (!text_is_empty(last->text))
			return 0;
		if (--m->count == 0)
			n->message_count--;
	}
	return 0;
}

/* ---- thinking (table 3) ---- */

static const char *
effort_of(const struct composing *c)
{
	enum effort e = c->n->effort;

	if (e == EFFORT_UNSET && c->n->budget >= 0)
		e = effort_of_budget(c->n->budget);
	if (e == EFFORT_MINIMAL || e == EFFORT_NONE)
		e = EFFORT_LOW; /* the least there is */
	if (e == EFFORT_XHIGH && c->version > 0 && c->version < CLAUDE_NO_SAMPLING)
		e = EFFORT_HIGH;
	return e == EFFORT_UNSET ? NULL : effort_name(e);
}

/* A budget is at least 1024 and leaves room for an answer: the ceiling is raised, or where the model's
 * own is in the way, the budget lowered. */
static void
plan_budget(struct composing *c)
{
	struct plan *p = &c->plan;
	int64_t wanted = p->max_tokens > 0 ? p->max_tokens : 1, most = c->to->most_output;

	p->budget = c->n->budget >= 0 ? c->n->budget
				      : effort_budget(c->n->effort == EFFORT_UNSET ? EFFORT_MEDIUM
										   : c->n->effort);
	if (p->budget > INT32_MAX)
		p->budget = INT32_MAX;
	if (p->max_tokens <= p->budget && p->max_tokens <= INT32_MAX) {
		p->max_tokens = p->budget + wanted;
		if (most > 0 && p->max_tokens > most) {
			p->max_tokens = wanted > most ? wanted : most;
			if (p->budget > p->max_tokens - wanted)
				p->budget = wanted > most / 2 ? most / 2 : most - wanted;
		}
	}
	p->thinking = THINK_BUDGET;
	if (p->budget < EFFORT_BUDGET_LEAST) {
		p->thinking = THINK_OFF;
		p->max_tokens = wanted;
	}
}

bool
anthropic_forces_a_tool(const struct neutral_request *n)
{
	return n->tool_count > 0 && (n->choice == CHOICE_REQUIRED || n->choice == CHOICE_TOOL ||
					    (n->choice == CHOICE_ALLOWED && n->choice_any));
}

bool
anthropic_lacks_thinking(const struct neutral_request *n)
{
	for (size_t m = n->message_count; m > 0; m--) {
		const struct neutral_message *last = &n->message[m - 1];
		bool calls = false;

		if (last->role != ROLE_ASSISTANT || last->count == 0)
			continue;
		for (size_t i = 0; i < last->count; i++)
			calls = calls || last->part[i].kind == PART_TOOL_CALL;
		return calls && last->part[0].kind != PART_REASONING &&
		       last->part[0].kind != PART_REDACTED;
	}
	return false;
}

static void
plan_thinking(struct composing *c)
{
	const struct neutral_request *n = c->n;
	struct plan *p = &c->plan;
	enum thinking kind = c->to->thinking;
	int64_t stated =
		c->to->default_max_output > 0 ? c->to->default_max_output : DEFAULT_MAX_TOKENS;

	p->max_tokens = n->max_output >= 0       ? n->max_output
			: c->to->most_output > 0 ? c->to->most_output
						 : stated;
	if (!n->reasoning_set)
		return;
	if (kind == THINKING_UNKNOWN)
		kind = c->version >= CLAUDE_ADAPTIVE ? THINKING_ADAPTIVE : THINKING_BUDGET;
	if (n->effort == EFFORT_NONE) {
		p->thinking = THINK_OFF;
		return;
	}
	if (kind == THINKING_ADAPTIVE) {
		p->thinking = THINK_ADAPTIVE;
		p->effort = effort_of(c);
		p->show = n->show_reasoning;
	} else {
		plan_budget(c);
	}
	if (anthropic_forces_a_tool(n) ||
		(p->thinking == THINK_BUDGET && anthropic_lacks_thinking(n))) {
		int64_t wanted = n->max_output >= 0 ? n->max_output : p->max_tokens;

		p->thinking = THINK_OFF;
		p->max_tokens = wanted;
		losses_add(c->lost, SPAN_LIT("thinking"), false);
	}
}

/* ---- blocks ---- */

static void
put_cache(struct json_out *o, enum cache_mark cache)
{
	if (cache == CACHE_NONE)
		return;
	out_open(o, "cache_control", '{');
	out_string(o, "type", "ephemeral");
	if (cache == CACHE_1H)
		out_string(o, "ttl", "1h");
	out_close(o, '}');
}

static void
put_text(struct json_out *o, struct span text, enum cache_mark cache)
{
	out_open(o, NULL, '{');
	out_string(o, "type", "text");
	out_json(o, "text", text);
	put_cache(o, cache);
	out_close(o, '}');
}

static struct span
image_type(const struct neutral_part *p)
{
	static const char *const starts[][2] = { { "iVBORw0KGgo", "image/png" },
		{ "/9j/", "image/jpeg" }, { "R0lGOD", "image/gif" }, { "UklGR", "image/webp" } };

	for (size_t i = 0; p->mime.len == 0 && i < sizeof starts / sizeof starts[0]; i++)
		if (span_starts(p->data, starts[i][0]))
			return span_of(starts[i][1]);
	return p->mime;
}

static void
put_base64(struct json_out *o, struct span mime, struct span data)
{
	out_open(o, "source", '{');
	out_string(o, "type", "base64");
	out_text(o, "media_type", mime);
	out_text(o, "data", data);
	out_close(o, '}');
}

/* By its address or its provider's handle; -1: that cannot be told. */
static int
put_elsewhere(struct composing *c, const struct neutral_part *p)
{
	if (p->url.len == 0)
		return refuse(c->err, ERR_UNSUPPORTED, "messages",
			"A file's id or storage address is no use to this model's provider; send "
			"the file itself in base64.");
	if (c->flavour != ANTHROPIC_DIRECT)
		return refuse(c->err, ERR_UNSUPPORTED, "messages",
			"This model's provider does not fetch addresses; send the file itself in "
			"base64.");
	out_open(&c->o, "source", '{');
	out_string(&c->o, "type", "url");
	out_text(&c->o, "url", p->url);
	out_close(&c->o, '}');
	return 0;
}

static int
put_image(struct composing *c, const struct neutral_part *p)
{
	struct span mime = image_type(p);

	if (p->detail.len > 0 && !span_is(p->detail, "auto"))
		losses_add(c->lost, SPAN_LIT("detail"), false);
	if (p->data.len > 0 && mime.len == 0)
		return refuse(c->err, ERR_BAD_REQUEST, "messages",
			"It is not said of what type an image is; give its media type.");
	out_open(&c->o, NULL, '{');
	out_string(&c->o, "type", "image");
	if (p->data.len > 0)
		put_base64(&c->o, mime, p->data);
	else if (put_elsewhere(c, p) != 0)
		return -1;
	put_cache(&c->o, p->cache);
	out_close(&c->o, '}');
	return 0;
}

static void
put_plain_source(struct json_out *o, struct span text)
{
	out_open(o, "source", '{');
	out_string(o, "type", "text");
	out_string(o, "media_type", "text/plain");
	out_json(o, "data", text);
	out_close(o, '}');
}

/* Text that came as bytes. */
static int
put_decoded(struct composing *c, struct span data)
{
	struct bytes text = BYTES_LIMIT(data.len);
	struct span quoted = SPAN_NONE;
	int rc = base64_decode(&text, data);

	if (rc == 0)
		quoted = text_quoted(c->n->arena, bytes_span(&text));
	bytes_free(&text);
	if (rc != 0)
		return refuse(
			c->err, ERR_BAD_REQUEST, "messages", "A document's data is no base64.");
	if (quoted.at == NULL)
		return err_set(c->err, ERR_MEMORY, "no memory for a document");
	put_plain_source(&c->o, quoted);
	return 0;
}

static bool
is_pdf(const struct neutral_part *p)
{
	return span_is_nocase(p->mime, "application/pdf") ||
	       (p->mime.len == 0 && span_starts(p->data, "JVBERi"));
}

static bool
is_text_type(struct span mime)
{
	return span_starts(mime, "text/") || span_is_nocase(mime, "application/json") ||
	       span_is_nocase(mime, "application/xml") || span_is_nocase(mime, "application/yaml");
}

static int
put_document(struct composing *c, const struct neutral_part *p)
{
	out_open(&c->o, NULL, '{');
	out_string(&c->o, "type", "document");
	if (p->text.at != NULL)
		put_plain_source(&c->o, p->text);
	else if (p->data.len == 0) {
		if (put_elsewhere(c, p) != 0)
			return -1;
	} else if (is_pdf(p))
		put_base64(&c->o, SPAN_LIT("application/pdf"), p->data);
	else if (!is_text_type(p->mime))
		return refuse(c->err, ERR_UNSUPPORTED, "messages",
			"This model's provider reads documents of PDF or plain text alone.");
	else if (put_decoded(c, p->data) != 0)
		return -1;
	if (p->title.len > 0)
		out_text(&c->o, "title", p->title);
	put_cache(&c->o, p->cache);
	out_close(&c->o, '}');
	return 0;
}

static int
put_call(struct composing *c, const struct neutral_part *p)
{
	if (p->is_custom)
		return refuse(c->err, ERR_UNSUPPORTED, "messages",
			"Custom tools, which take free text, cannot be told to this model's "
			"provider.");
	if (p->signature.len > 0)
		losses_add(c->lost, SPAN_LIT("thought signature"), false);
	out_open(&c->o, NULL, '{');
	out_string(&c->o, "type", "tool_use");
	out_text(&c->o, "id", p->call_id);
	out_text(&c->o, "name", p->name);
	out_json(&c->o, "input", p->input.at != NULL ? p->input : SPAN_LIT("{}"));
	put_cache(&c->o, p->cache);
	out_close(&c->o, '}');
	return 0;
}

static int put_part(struct composing *c, const struct neutral_part *p);

/* Texts alone are one string, as they were before they were cut (vector 02). */
static int
put_result_content(struct composing *c, const struct neutral_part *p)
{
	bool texts = true, any = false;

	for (size_t i = 0; i < p->content_count; i++) {
		const struct neutral_part *in = &p->content[i];

		texts = texts && in->kind == PART_TEXT && in->cache == CACHE_NONE;
		any = any || in->kind != PART_TEXT || !text_is_empty(in->text);
	}
	if (!any) {
		/* nothing is refused where it stands for an error */
		out_string(&c->o, "content", p->is_error ? "error" : "");
		return 0;
	}
	if (texts) {
		out_string_begin(&c->o, "content");
		for (size_t i = 0; i < p->content_count; i++)
			out_string_inside(&c->o, text_inside(p->content[i].text));
		out_string_end(&c->o);
		return 0;
	}
	out_open(&c->o, "content", '[');
	for (size_t i = 0; i < p->content_count; i++)
		if (put_part(c, &p->content[i]) != 0)
			return -1;
	out_close(&c->o, ']');
	return 0;
}

static int
put_result(struct composing *c, const struct neutral_part *p)
{
	out_open(&c->o, NULL, '{');
	out_string(&c->o, "type", "tool_result");
	out_text(&c->o, "tool_use_id", p->call_id);
	if (put_result_content(c, p) != 0)
		return -1;
	if (p->is_error)
		out_bool(&c->o, "is_error", true);
	put_cache(&c->o, p->cache);
	out_close(&c->o, '}');
	return 0;
}

static void
put_thinking(struct json_out *o, const struct neutral_part *p)
{
	out_open(o, NULL, '{');
	if (p->kind == PART_REDACTED) {
		out_string(o, "type", "redacted_thinking");
		out_text(o, "data", p->signature);
	} else {
		out_string(o, "type", "thinking");
		out_json(o, "thinking", p->text.at != NULL ? p->text : SPAN_LIT("\"\""));
		out_text(o, "signature", p->signature);
	}
	out_close(o, '}');
}

static int
put_part(struct composing *c, const struct neutral_part *p)
{
	switch (p->kind) {
	case PART_REFUSAL:
		losses_add(c->lost, SPAN_LIT("refusal"), false);
		/* fall through */
	case PART_TEXT:
		if (!text_is_empty(p->text))
			put_text(&c->o, p->text, p->cache);
		return 0;
	case PART_IMAGE:
		return put_image(c, p);
	case PART_DOCUMENT:
		return put_document(c, p);
	case PART_TOOL_CALL:
		return put_call(c, p);
	case PART_TOOL_RESULT:
		return put_result(c, p);
	case PART_REASONING:
	case PART_REDACTED:
		put_thinking(&c->o, p);
		return 0;
	case PART_AUDIO:
		return refuse(c->err, ERR_UNSUPPORTED, "messages",
			"This model's provider takes no audio.");
	default:
		return refuse(c->err, ERR_UNSUPPORTED, "messages",
			"This model's provider takes no video.");
	}
}

/* ---- messages ---- */

/* Neighbours of one role: what stood between them was left out.  Results come first in their turn. */
static int
put_turn(struct composing *c, size_t from, size_t to)
{
	out_open(&c->o, NULL, '{');
	out_string(&c->o, "role", c->n->message[from].role == ROLE_USER ? "user" : "assistant");
	out_open(&c->o, "content", '[');
	for (int results = 1; results >= 0; results--)
		for (size_t m = from; m < to; m++)
			for (size_t i = 0; i < c->n->message[m].count; i++) {
				const struct neutral_part *p = &c->n->message[m].part[i];

				if ((p->kind == PART_TOOL_RESULT) == (results == 1) &&
					put_part(c, p) != 0)
					return -1;
			}
	out_close(&c->o, ']');
	out_close(&c->o, '}');
	return 0;
}

static int
put_messages(struct composing *c)
{
	const struct neutral_request *n = c->n;

	out_open(&c->o, "messages", '[');
	for (size_t from = 0, to; from < n->message_count; from = to) {
		for (to = from + 1;
			to < n->message_count && n->message[to].role == n->message[from].role;)
			to++;
		if (put_turn(c, from, to) != 0)
			return -1;
	}
	out_close(&c->o, ']');
	return 0;
}

/* Nothing but a system text is the user's turn (R1). */
static int
put_system(struct composing *c, bool as_turn)
{
	const struct neutral_request *n = c->n;
	bool json = n->format == OUTPUT_JSON;
	bool any = json;

	for (size_t i = 0; i < n->system_count; i++)
		any = any || !text_is_empty(n->system[i].text);
	if (as_turn) {
		if (!any)
			return refuse(c->err, ERR_BAD_REQUEST, "messages",
				"There is no message in it that says something.");
		out_open(&c->o, "messages", '[');
		out_open(&c->o, NULL, '{');
		out_string(&c->o, "role", "user");
		out_open(&c->o, "content", '[');
	} else if (any) {
		out_open(&c->o, "system", '[');
	}
	for (size_t i = 0; i < n->system_count; i++)
		if (!text_is_empty(n->system[i].text))
			put_text(&c->o, n->system[i].text, n->system[i].cache);
	if (json)
		put_text(&c->o, SPAN_LIT("\"Answer with one valid JSON object and nothing else.\""),
			CACHE_NONE);
	if (any)
		out_close(&c->o, ']');
	if (as_turn) {
		out_close(&c->o, '}');
		out_close(&c->o, ']');
	}
	return 0;
}

/* ---- tools ---- */

static bool
is_allowed(const struct neutral_request *n, struct span name)
{
	if (n->choice != CHOICE_ALLOWED)
		return true;
	for (size_t i = 0; i < n->allowed_count; i++)
		if (n->allowed[i].len == name.len &&
			(name.len == 0 || memcmp(n->allowed[i].at, name.at, name.len) == 0))
			return true;
	return false;
}

/* Anthropic's own carry a date: "web_search_20250305". */
static bool
is_ours(struct span type)
{
	if (type.len < 9 || type.at[type.len - 9] != '_')
		return false;
	for (size_t i = 1; i <= 8; i++)
		if (!is_digit(type.at[type.len - i]))
			return false;
	return true;
}

static int
put_tool(struct composing *c, const struct neutral_tool *t)
{
	if (t->kind == TOOL_HOSTED && is_ours(t->name)) {
		out_json(&c->o, NULL, t->raw);
		return 0;
	}
	if (t->kind != TOOL_FUNCTION)
		return refuse(c->err, ERR_UNSUPPORTED, "tools",
			"Only tools of type 'function' can be told to this model's provider.");
	out_open(&c->o, NULL, '{');
	out_text(&c->o, "name", t->name);
	if (!text_is_empty(t->description))
		out_json(&c->o, "description", t->description);
	out_json(&c->o, "input_schema",
		t->parameters.at != NULL ? t->parameters
					 : SPAN_LIT("{\"type\":\"object\",\"properties\":{}}"));
	if (t->strict == 1 && c->version >= CLAUDE_STRICT)
		out_bool(&c->o, "strict", true);
	else if (t->strict == 1)
		losses_add(c->lost, SPAN_LIT("strict"), false);
	put_cache(&c->o, t->cache);
	out_close(&c->o, '}');
	return 0;
}

static void
put_choice(struct composing *c)
{
	const struct neutral_request *n = c->n;
	const char *type = n->choice == CHOICE_TOOL     ? "tool"
			   : n->choice == CHOICE_NONE   ? "none"
			   : anthropic_forces_a_tool(n) ? "any"
							: "auto";

	if (n->choice == CHOICE_UNSET && n->parallel != 0)
		return;
	out_open(&c->o, "tool_choice", '{');
	out_string(&c->o, "type", type);
	if (n->choice == CHOICE_TOOL)
		out_text(&c->o, "name", n->choice_name);
	if (n->parallel == 0 && n->choice != CHOICE_NONE)
		out_bool(&c->o, "disable_parallel_tool_use", true);
	out_close(&c->o, '}');
}

static int
put_tools(struct composing *c)
{
	const struct neutral_request *n = c->n;
	bool any = false;

	for (size_t i = 0; i < n->tool_count; i++) {
		if (!is_allowed(n, n->tool[i].name))
			continue;
		if (!any)
			out_open(&c->o, "tools", '[');
		any = true;
		if (put_tool(c, &n->tool[i]) != 0)
			return -1;
	}
	if (any) {
		out_close(&c->o, ']');
		put_choice(c);
	}
	return 0;
}

/* ---- settings ---- */

static bool
number_of(const struct neutral_request *n, const char *name, int64_t *millionths)
{
	const struct neutral_field *f = neutral_peek(n, name);

	return f != NULL && f->value.type == JSON_NUMBER &&
	       money_scaled(f->value.raw, 6, millionths) == 0;
}

static void
put_number(struct composing *c, const char *name)
{
	const struct neutral_field *f = neutral_peek(c->n, name);

	if (f == NULL || f->value.type != JSON_NUMBER)
		return;
	(void)neutral_take(c->n, name);
	out_json(&c->o, name, f->value.raw);
}

/* Newer models know but the values that change nothing; thinking wants temperature 1; others take one
 * of temperature and top_p (R7).  What is not taken is told as lost. */
static void
put_sampling(struct composing *c)
{
	bool thinks = c->plan.thinking == THINK_BUDGET || c->plan.thinking == THINK_ADAPTIVE;
	bool gone = c->version >= CLAUDE_NO_SAMPLING;
	int64_t temperature = -1, top_p = -1;
	bool has_temperature = number_of(c->n, "temperature", &temperature);
	bool has_top_p = number_of(c->n, "top_p", &top_p);

	if (has_temperature && gone && temperature == MILLION)
		(void)neutral_take(c->n, "temperature");
	if (has_top_p && gone && top_p >= MILLION * 99 / 100)
		(void)neutral_take(c->n, "top_p");
	if (gone)
		return;
	if (has_temperature) {
		(void)neutral_take(c->n, "temperature");
		if (thinks || temperature > MILLION)
			out_int(&c->o, "temperature", 1);
		else
			put_number(c, "temperature");
	} else if (has_top_p && (!thinks || top_p >= MILLION * 95 / 100)) {
		put_number(c, "top_p");
	}
	if (!thinks)
		put_number(c, "top_k");
}

static void
put_thinking_setting(struct composing *c)
{
	const struct plan *p = &c->plan;
	const struct neutral_request *n = c->n;

	if (p->thinking != THINK_UNSAID) {
		out_open(&c->o, "thinking", '{');
		out_string(&c->o, "type",
			p->thinking == THINK_BUDGET     ? "enabled"
			: p->thinking == THINK_ADAPTIVE ? "adaptive"
							: "disabled");
		if (p->thinking == THINK_BUDGET)
			out_int(&c->o, "budget_tokens", p->budget);
		/* newer models keep it to themselves unless asked */
		if (p->thinking == THINK_ADAPTIVE && p->show && c->version >= CLAUDE_NO_SAMPLING)
			out_string(&c->o, "display", "summarized");
		out_close(&c->o, '}');
	}
	if (p->effort == NULL && n->format != OUTPUT_SCHEMA)
		return;
	out_open(&c->o, "output_config", '{');
	if (p->effort != NULL)
		out_string(&c->o, "effort", p->effort);
	if (n->format == OUTPUT_SCHEMA) {
		out_open(&c->o, "format", '{');
		out_string(&c->o, "type", "json_schema");
		out_json(&c->o, "schema",
			n->schema.at != NULL ? n->schema : SPAN_LIT("{\"type\":\"object\"}"));
		out_close(&c->o, '}');
	}
	out_close(&c->o, '}');
}

static bool
is_blank_text(struct arena *a, struct span text)
{
	return text_is_empty(trim_end(a, text));
}

static void
put_stops(struct composing *c)
{
	const struct neutral_request *n = c->n;
	bool any = false;

	for (size_t i = 0; i < n->stop_count; i++) {
		if (is_blank_text(n->arena, n->stop[i])) { /* refused there */
			losses_add(c->lost, SPAN_LIT("stop"), false);
			continue;
		}
		if (!any)
			out_open(&c->o, "stop_sequences", '[');
		any = true;
		out_json(&c->o, NULL, n->stop[i]);
	}
	if (any)
		out_close(&c->o, ']');
}

static void
put_user(struct composing *c)
{
	const struct neutral_field *id = neutral_take(c->n, "safety_identifier");
	const struct neutral_field *user = neutral_take(c->n, "user");

	if (id == NULL || id->value.type != JSON_STRING)
		id = user;
	if (id == NULL || id->value.type != JSON_STRING)
		return;
	out_open(&c->o, "metadata", '{');
	out_json(&c->o, "user_id", id->value.raw);
	out_close(&c->o, '}');
}

static void
put_service_tier(struct composing *c)
{
	const struct neutral_field *f;

	if (c->flavour != ANTHROPIC_DIRECT)
		return;
	f = neutral_take(c->n, "anthropic_service_tier");
	if (f != NULL)
		out_json(&c->o, "service_tier", f->value.raw);
	f = neutral_take(c->n, "cache_control");
	if (f != NULL)
		out_json(&c->o, "cache_control", f->value.raw);
}

/* ---- the whole ---- */

/* What nobody can be asked for here. */
static int
check_answers(struct composing *c)
{
	const struct neutral_field *n = neutral_peek(c->n, "n");
	const struct neutral_field *modalities = neutral_peek(c->n, "modalities");
	int64_t count = 1;
	char field[64];

	if (n != NULL && n->value.type == JSON_NUMBER && json_int(n->value, &count) == 0 &&
		count > 1) {
		(void)span_copy(
			n->as.at == NULL ? span_of(n->canonical) : n->as, field, sizeof field);
		return refuse(c->err, ERR_UNSUPPORTED, field,
			"This model's provider gives one answer to a request; ask for one.");
	}
	(void)neutral_take(c->n, "n");
	if (modalities != NULL && modalities->value.type == JSON_ARRAY) {
		struct span v = modalities->value.raw;

		if (memmem(v.at, v.len, "\"audio\"", 7) != NULL ||
			memmem(v.at, v.len, "\"image\"", 7) != NULL) {
			(void)span_copy(modalities->as, field, sizeof field);
			return refuse(c->err, ERR_UNSUPPORTED, field,
				"This model answers with text alone.");
		}
		(void)neutral_take(c->n, "modalities");
	}
	return 0;
}

static int
put_head(struct composing *c, struct request_made *made)
{
	const struct neutral_field *f = neutral_take(c->n, "anthropic_beta");
	struct span betas = f != NULL ? f->value.raw : SPAN_NONE;
	const char *header;

	if (c->flavour != ANTHROPIC_DIRECT) {
		out_string(&c->o, "anthropic_version", ANTHROPIC_INVOKE_VERSION);
		out_json(&c->o, "anthropic_beta", betas);
		return 0;
	}
	out_string(&c->o, "model", c->to->model);
	if (c->n->stream)
		out_bool(&c->o, "stream", true);
	made->header[made->header_count].name = "anthropic-version";
	made->header[made->header_count++].value = ANTHROPIC_VERSION;
	header = betas.at == NULL ? NULL : anthropic_beta_header(c->n->arena, betas);
	if (header != NULL) {
		made->header[made->header_count].name = "anthropic-beta";
		made->header[made->header_count++].value = header;
	}
	return 0;
}

static const struct name_rule tool_names = { .most = 128, .extra = "_-" };

int
anthropic_compose(struct neutral_request *n, const struct request_target *to,
	enum anthropic_flavour flavour, struct request_made *made, struct losses *lost,
	struct err *err)
{
	struct composing c = { .n = n,
		.to = to,
		.flavour = flavour,
		.lost = lost,
		.err = err,
		.version = anthropic_model_version(to->model),
		.o = { .to = made->body } };
	bool any;

	if (check_answers(&c) != 0 || neutral_fill_ids(n, err) != 0)
		return -1;
	if (names_fit(n, &tool_names, &made->renamed) != 0)
		return err_set(err, ERR_MEMORY, "no memory for the names of tools");
	sift(&c);
	if (trim_prefill(&c) != 0 || neutral_unique_ids(n, err) != 0)
		return -1;
	any = n->message_count > 0;
	plan_thinking(&c);
	if (n->format == OUTPUT_JSON)
		losses_add(lost, SPAN_LIT("response_format"), false);

	out_open(&c.o, NULL, '{');
	(void)put_head(&c, made);
	out_int(&c.o, "max_tokens", c.plan.max_tokens);
	if (any && put_system(&c, false) != 0)
		return -1;
	if (put_tools(&c) != 0)
		return -1;
	put_thinking_setting(&c);
	put_sampling(&c);
	put_stops(&c);
	put_user(&c);
	put_service_tier(&c);
	if (any ? put_messages(&c) != 0 : put_system(&c, true) != 0)
		return -1;
	out_close(&c.o, '}');
	return made->body->failed ? err_set(err, ERR_MEMORY, "no memory for a request") : 0;
}

int
anthropic_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err)
{
	return anthropic_compose(n, to, ANTHROPIC_DIRECT, made, lost, err);
}
