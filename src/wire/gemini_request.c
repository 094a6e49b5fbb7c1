/*
 * gemini_request.c - a Gemini client's request read.
 */
#include "wire/gemini-int.h"

#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WHERE_BYTES    64
#define TURN_CALLS_MAX 1024 /* of one turn of the model: each result looks for its own */
#define CHOICES_MOST   128

enum place {
	IN_BODY,
	IN_SYSTEM,
	IN_CONTENT,
	IN_PART,
	IN_TOOL,
	IN_TOOL_CONFIG,
	IN_CALLING,
	IN_CONFIG
};

struct reader {
	struct neutral_request *n;
	struct losses *lost;
	struct err *err;
	bool failed;
	enum place place;     /* under way, for sentences */
	size_t content, part; /* … and their numbers; of tools in `part` */
	enum neutral_role role;
	size_t calls; /* of the turn under way */
	bool strange; /* the part has members that are not known */
	char stranger[WIRE_KEY_BYTES];
};

/* ---- failures ---- */

/* "contents[2].parts[0]" */
static void
tell_place(const struct reader *r, char where[WHERE_BYTES])
{
	static const char *const names[] = { [IN_BODY] = "",
		[IN_SYSTEM] = "systemInstruction",
		[IN_TOOL_CONFIG] = "toolConfig",
		[IN_CALLING] = "toolConfig.functionCallingConfig",
		[IN_CONFIG] = "generationConfig" };

	if (r->place == IN_CONTENT)
		(void)snprintf(where, WHERE_BYTES, "contents[%zu]", r->content);
	else if (r->place == IN_PART)
		(void)snprintf(where, WHERE_BYTES, "contents[%zu].parts[%zu]", r->content, r->part);
	else if (r->place == IN_TOOL)
		(void)snprintf(where, WHERE_BYTES, "tools[%zu]", r->part);
	else
		(void)snprintf(where, WHERE_BYTES, "%s", names[r->place]);
}

static bool
fail(struct reader *r, enum err_code code, const char *member, const char *says)
{
	char where[WHERE_BYTES], field[2 * WHERE_BYTES];

	tell_place(r, where);
	(void)snprintf(field, sizeof field, "%s%s%s", where,
		where[0] != '\0' && member[0] != '\0' ? "." : "", member);
	(void)err_set(r->err, code, "%s %s", field, says);
	(void)err_say(r->err, "%s %s", field, says);
	(void)err_field(r->err, field);
	r->failed = true;
	return false;
}

static bool
wrong(struct reader *r, const char *member, const char *says)
{
	return fail(r, ERR_BAD_REQUEST, member, says);
}

/* Failures with a sentence of their own, or for want of memory. */
static bool
broken(struct reader *r)
{
	r->failed = true;
	return false;
}

static bool
no_memory(struct reader *r)
{
	(void)err_set(r->err, ERR_MEMORY, "no memory to read a request");
	return broken(r);
}

/* Elements of an array; what is absent has none. */
static bool
each(struct reader *r, struct json_value v, const char *member,
	bool (*fn)(void *ctx, const struct json_member *m))
{
	if (v.type == JSON_NONE)
		return true;
	if (v.type != JSON_ARRAY)
		return wrong(r, member, "must be an array.");
	(void)json_each_element(v.raw, fn, r, NULL);
	return !r->failed;
}

static void
lose(void *ctx, struct span key, struct json_value v)
{
	struct reader *r = ctx;

	if (v.type != JSON_NULL)
		losses_add(r->lost, key, false);
}

/* ---- parts ---- */

static void
note_stranger(void *ctx, struct span key, struct json_value v)
{
	struct reader *r = ctx;

	if (v.type == JSON_NULL)
		return;
	r->strange = true;
	(void)span_copy(key, r->stranger, sizeof r->stranger);
}

static struct neutral_part *
add(struct reader *r, enum part_kind kind)
{
	struct neutral_part *p = neutral_add(r->n, r->role, kind, r->err);

	if (p == NULL)
		r->failed = true;
	return p;
}

static bool
read_text(struct reader *r, struct json_value text, bool thought, struct span signature)
{
	struct neutral_part *p;

	if (text.type != JSON_STRING)
		return wrong(r, "text", "must be a string.");
	if (thought && r->role == ROLE_USER) {
		losses_add(r->lost, SPAN_LIT("thought"), false);
		return true;
	}
	if (text_is_empty(text.raw) && signature.len == 0)
		return true;
	p = add(r, thought ? PART_REASONING : PART_TEXT);
	if (p == NULL)
		return false;
	p->text = text.raw;
	if (thought || signature.len > 0)
		p->signer = SIGNER_GEMINI;
	p->signature = signature.len > 0 ? signature : SPAN_NONE;
	return true;
}

static bool
read_media(struct reader *r, struct json_value v, bool file, struct span signature)
{
	const char *name = file ? "fileData" : "inlineData", *member = "";
	struct neutral_part media = { .kind = PART_DOCUMENT }, *p;
	char field[WHERE_BYTES];
	bool read;

	if (v.type != JSON_OBJECT)
		return wrong(r, name, "must be an object.");
	read = file ? gemini_read_file(r->n->arena, v.raw, &media, &member)
		    : gemini_read_inline(r->n->arena, v.raw, &media, &member);
	if (!read) {
		(void)snprintf(field, sizeof field, "%s.%s", name, member);
		return wrong(r, field, "must be a string that is not empty.");
	}
	if (signature.len > 0) {
		media.signature = signature;
		media.signer = SIGNER_GEMINI;
	}
	p = add(r, media.kind);
	if (p != NULL)
		*p = media;
	return p != NULL;
}

static bool
read_call(struct reader *r, struct json_value v, struct span signature)
{
	static const char *const names[] = { "id", "name", "args" };
	struct json_value found[3];
	struct neutral_part *p;
	struct span name;

	if (v.type != JSON_OBJECT)
		return wrong(r, "functionCall", "must be an object.");
	if (r->role != ROLE_ASSISTANT)
		return wrong(r, "functionCall", "belongs into content of role \"model\".");
	(void)GEMINI_PICK(v.raw, names, found, lose, r);
	name = gemini_plain(r->n->arena, found[1]);
	if (name.len == 0)
		return wrong(r, "functionCall.name", "must be a string that is not empty.");
	if (found[2].type != JSON_NONE && found[2].type != JSON_OBJECT)
		return wrong(r, "functionCall.args", "must be an object.");
	if (++r->calls > TURN_CALLS_MAX)
		return wrong(r, "functionCall", "is one of too many calls in one turn.");
	p = add(r, PART_TOOL_CALL);
	if (p == NULL)
		return false;
	p->call_id = gemini_plain(r->n->arena, found[0]);
	p->name = name;
	p->input = found[2].type == JSON_OBJECT ? found[2].raw : SPAN_LIT("{}");
	if (signature.len > 0) {
		p->signature = signature;
		p->signer = SIGNER_GEMINI;
	}
	return true;
}

static bool
same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* The message before the one that a part of this role goes into. */
static const struct neutral_message *
turn_before(const struct reader *r)
{
	const struct neutral_request *n = r->n;
	size_t count = n->message_count;

	if (count > 0 && n->message[count - 1].role == r->role)
		count--;
	return count == 0 ? NULL : &n->message[count - 1];
}

/* An id that no call of the turn has is the client's own: the call goes by name then (R17). */
static struct span
known_id(const struct reader *r, struct span id)
{
	const struct neutral_message *m = turn_before(r);

	for (size_t i = 0; id.len > 0 && m != NULL && i < m->count; i++)
		if (m->part[i].kind == PART_TOOL_CALL && same(m->part[i].call_id, id))
			return id;
	return m == NULL || m->count == 0 ? id : (struct span){ "", 0 };
}

/* What a result's object holds: its only member, if it has but one. */
struct response {
	size_t count;
	struct span key;
	struct json_value value;
};

static bool
note_response(void *ctx, const struct json_member *m)
{
	struct response *s = ctx;

	s->key = m->key;
	s->value = m->value;
	return ++s->count < 2;
}

/* R18: a text that was wrapped is taken out, all else is text as JSON.  SPAN_NONE: no memory. */
static struct span
result_text(struct arena *a, struct span response, bool *is_error)
{
	struct response s = { 0 };

	(void)json_each(response, note_response, &s, NULL);
	if (s.count == 0)
		return SPAN_LIT("\"\"");
	*is_error = s.count == 1 && span_is(s.key, "error");
	if (s.count == 1 && s.value.type == JSON_STRING &&
		(*is_error || span_is(s.key, "result") || span_is(s.key, "output")))
		return s.value.raw;
	return text_quoted(a, text_compact(a, response));
}

/* The part of a tool result under way: kept by index, as arrays move while they grow. */
static struct neutral_part *
current(struct reader *r)
{
	struct neutral_message *m = &r->n->message[r->n->message_count - 1];

	return &m->part[m->count - 1];
}

static bool
read_result_part(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "inlineData", "fileData" };
	struct reader *r = ctx;
	struct neutral_part media = { .kind = PART_DOCUMENT }, *p;
	struct json_value found[2];
	const char *member = "";
	bool read = false;

	if (m->value.type != JSON_OBJECT)
		return wrong(r, "functionResponse.parts", "must hold objects.");
	(void)GEMINI_PICK(m->value.raw, names, found, lose, r);
	if (found[0].type == JSON_OBJECT)
		read = gemini_read_inline(r->n->arena, found[0].raw, &media, &member);
	else if (found[1].type == JSON_OBJECT)
		read = gemini_read_file(r->n->arena, found[1].raw, &media, &member);
	if (!read)
		return wrong(r, "functionResponse.parts", "must hold inlineData or fileData.");
	p = neutral_add_result(r->n, current(r), media.kind, r->err);
	if (p == NULL)
		return broken(r);
	*p = media;
	return true;
}

static bool
read_result(struct reader *r, struct json_value v)
{
	static const char *const names[] = { "id", "name", "response", "parts" };
	struct neutral_part *p, *text;
	struct json_value found[4];
	struct span name, said;
	bool is_error = false;

	if (v.type != JSON_OBJECT)
		return wrong(r, "functionResponse", "must be an object.");
	if (r->role != ROLE_USER)
		return wrong(r, "functionResponse", "belongs into content of role \"user\".");
	(void)GEMINI_PICK(v.raw, names, found, lose, r);
	name = gemini_plain(r->n->arena, found[1]);
	if (name.len == 0)
		return wrong(r, "functionResponse.name", "must be a string that is not empty.");
	if (found[2].type != JSON_NONE && found[2].type != JSON_OBJECT)
		return wrong(r, "functionResponse.response", "must be an object.");
	p = add(r, PART_TOOL_RESULT);
	if (p == NULL)
		return false;
	p->call_id = known_id(r, gemini_plain(r->n->arena, found[0]));
	p->name = name;
	p->result = found[2].type == JSON_OBJECT ? found[2].raw : SPAN_LIT("{}");
	said = result_text(r->n->arena, p->result, &is_error);
	p->is_error = is_error;
	text = said.at == NULL ? NULL : neutral_add_result(r->n, p, PART_TEXT, r->err);
	if (text == NULL)
		return said.at == NULL ? no_memory(r) : broken(r);
	text->text = said;
	return each(r, found[3], "functionResponse.parts", read_result_part);
}

enum {
	P_TEXT,
	P_THOUGHT,
	P_SIGNATURE,
	P_INLINE,
	P_FILE,
	P_CALL,
	P_RESULT,
	P_VIDEO,
	P_RESOLUTION,
	P_METADATA,
	P_CODE,
	P_CODE_RESULT,
	P_TOOL_CALL,
	P_TOOL_RESPONSE,
	P__COUNT
};
static const char *const part_members[P__COUNT] = { "text", "thought", "thoughtSignature",
	"inlineData", "fileData", "functionCall", "functionResponse", "videoMetadata",
	"mediaResolution", "partMetadata", "executableCode", "codeExecutionResult", "toolCall",
	"toolResponse" };

/* What Google's own tools did is nothing that another provider could be told. */
static void
lose_members(struct reader *r, const struct json_value found[P__COUNT])
{
	for (size_t i = P_VIDEO; i < P__COUNT; i++)
		if (found[i].type != JSON_NONE)
			losses_add(r->lost, span_of(part_members[i]),
				i != P_RESOLUTION && i != P_METADATA);
}

static bool
read_payload(struct reader *r, const struct json_value found[P__COUNT])
{
	struct span signature = gemini_plain(r->n->arena, found[P_SIGNATURE]);
	bool any = false;

	for (size_t i = 0; i < P__COUNT && !r->failed; i++) {
		if (found[i].type == JSON_NONE)
			continue;
		any = any || (i != P_THOUGHT && i != P_SIGNATURE);
		if (i == P_TEXT)
			(void)read_text(r, found[i], found[P_THOUGHT].type == JSON_TRUE, signature);
		else if (i == P_INLINE || i == P_FILE)
			(void)read_media(r, found[i], i == P_FILE, signature);
		else if (i == P_CALL)
			(void)read_call(r, found[i], signature);
		else if (i == P_RESULT)
			(void)read_result(r, found[i]);
	}
	if (r->failed)
		return false;
	if (!any && r->strange)
		return wrong(r, r->stranger, "is a kind of part that is not known here.");
	if (!any && signature.len > 0 && r->role == ROLE_ASSISTANT)
		return read_text(
			r, (struct json_value){ JSON_STRING, SPAN_LIT("\"\"") }, false, signature);
	if (r->strange)
		losses_add(r->lost, span_of(r->stranger), false);
	return true;
}

static bool
read_part(void *ctx, const struct json_member *m)
{
	struct reader *r = ctx;
	struct json_value found[P__COUNT];

	r->place = IN_PART;
	if (m->value.type != JSON_OBJECT)
		return wrong(r, "", "must be an object.");
	r->strange = false;
	(void)GEMINI_PICK(m->value.raw, part_members, found, note_stranger, r);
	lose_members(r, found);
	if (!read_payload(r, found))
		return false;
	r->part++;
	return true;
}

/* ---- contents ---- */

static bool
read_role(struct reader *r, struct json_value v)
{
	struct span role = gemini_plain(r->n->arena, v);

	if (v.type == JSON_NONE || span_is(role, "user") || span_is(role, "function"))
		r->role = ROLE_USER;
	else if (span_is(role, "model"))
		r->role = ROLE_ASSISTANT;
	else
		return wrong(r, "role", "must be \"user\" or \"model\".");
	return true;
}

static bool
read_content(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "role", "parts" };
	struct reader *r = ctx;
	enum neutral_role before = r->role;
	struct json_value found[2];

	r->place = IN_CONTENT;
	if (m->value.type != JSON_OBJECT)
		return wrong(r, "", "must be an object.");
	(void)GEMINI_PICK(m->value.raw, names, found, lose, r);
	if (!read_role(r, found[0]))
		return false;
	if (r->role == ROLE_ASSISTANT && before == ROLE_USER)
		r->calls = 0;
	r->part = 0;
	if (!each(r, found[1], "parts", read_part))
		return false;
	r->content++;
	return true;
}

static bool
read_system_part(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "text" };
	struct reader *r = ctx;
	struct neutral_part *p;
	struct json_value found[1] = { { JSON_NONE, SPAN_NONE } };

	if (m->value.type == JSON_OBJECT)
		(void)GEMINI_PICK(m->value.raw, names, found, lose, r);
	if (found[0].type != JSON_STRING)
		return wrong(r, "parts", "must hold text alone.");
	if (text_is_empty(found[0].raw))
		return true;
	p = neutral_add_system(r->n, r->err);
	if (p == NULL)
		return broken(r);
	p->text = found[0].raw;
	return true;
}

static bool
read_system(struct reader *r, struct json_value v)
{
	static const char *const names[] = { "parts", "role" };
	struct json_value found[2];

	if (v.type == JSON_NONE)
		return true;
	r->place = IN_SYSTEM;
	if (v.type != JSON_OBJECT)
		return wrong(r, "", "must be an object.");
	(void)GEMINI_PICK(v.raw, names, found, lose, r);
	return each(r, found[0], "parts", read_system_part);
}

/* ---- tools ---- */

/* Gemini's types in capitals made JSON Schema's; and counts, which protobuf writes as strings, made
 * numbers.  Nothing gets longer or shorter, so a copy is changed where it stands. */
static void
lower_type(char *inside, size_t len)
{
	static const char *const types[] = { "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY",
		"OBJECT", "NULL" };

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (span_is((struct span){ inside, len }, types[i]))
			for (size_t k = 0; k < len; k++)
				inside[k] = (char)(inside[k] | 0x20);
}

static bool
is_count(struct span key)
{
	return (span_starts(key, "min") || span_starts(key, "max")) &&
	       (gemini_key_is(key, "minItems") || gemini_key_is(key, "maxItems") ||
		       gemini_key_is(key, "minLength") || gemini_key_is(key, "maxLength") ||
		       gemini_key_is(key, "minProperties") || gemini_key_is(key, "maxProperties"));
}

static void
unquote_count(char *inside, size_t len)
{
	if (len == 0 || len > 18 || (inside[0] == '0' && len > 1) ||
		strspn(inside, "0123456789") != len)
		return;
	inside[-1] = inside[len] = ' ';
}

static char *
behind_blanks(char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* SPAN_NONE: no memory. */
static struct span
json_schema_of(struct arena *a, struct span schema)
{
	char *copy = arena_strndup(a, schema.at, schema.len), *p = copy;
	const char *end = copy == NULL ? NULL : copy + schema.len;

	while (p < end && (p = memchr(p, '"', (size_t)(end - p))) != NULL) {
		char *close = p + (wire_string_end(p + 1, end) - p);
		struct span key = { p + 1, (size_t)(close - p) - 2 };
		char *value;

		p = behind_blanks(close, end);
		if (p == end || *p != ':')
			continue;
		p = value = behind_blanks(p + 1, end);
		if (p == end || *p != '"')
			continue;
		p = value + (wire_string_end(value + 1, end) - value);
		if (span_is(key, "type"))
			lower_type(value + 1, (size_t)(p - value) - 2);
		else if (is_count(key))
			unquote_count(value + 1, (size_t)(p - value) - 2);
	}
	return copy == NULL ? SPAN_NONE : (struct span){ copy, schema.len };
}

static bool
read_function(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "name", "description", "parameters",
		"parametersJsonSchema" };
	struct reader *r = ctx;
	struct json_value found[4];
	struct neutral_tool *t;
	struct span name;

	if (m->value.type != JSON_OBJECT)
		return wrong(r, "functionDeclarations", "must hold objects.");
	(void)GEMINI_PICK(m->value.raw, names, found, lose, r);
	name = gemini_plain(r->n->arena, found[0]);
	if (name.len == 0)
		return wrong(r, "functionDeclarations",
			"must each have a name that is a string and not empty.");
	if (found[1].type != JSON_NONE && found[1].type != JSON_STRING)
		return wrong(
			r, "functionDeclarations", "have a description that must be a string.");
	if ((found[2].type != JSON_NONE && found[2].type != JSON_OBJECT) ||
		(found[3].type != JSON_NONE && found[3].type != JSON_OBJECT))
		return wrong(r, "functionDeclarations", "have parameters that must be an object.");
	t = neutral_add_tool(r->n, r->err);
	if (t == NULL)
		return broken(r);
	t->kind = TOOL_FUNCTION;
	t->name = name;
	t->description = found[1].type == JSON_STRING ? found[1].raw : SPAN_NONE;
	t->raw = m->value.raw;
	if (found[3].type == JSON_OBJECT)
		t->parameters = found[3].raw;
	else if (found[2].type == JSON_OBJECT &&
		 (t->parameters = json_schema_of(r->n->arena, found[2].raw)).at == NULL)
		return no_memory(r);
	return true;
}

/* A tool of Google's own: an element of its own, whatever stood beside it. */
static bool
add_hosted(struct reader *r, const struct json_member *m)
{
	size_t len = m->key.len + m->value.raw.len + 5;
	struct neutral_tool *t = neutral_add_tool(r->n, r->err);
	char *raw, *at;

	if (t == NULL)
		return broken(r);
	raw = at = arena_alloc(r->n->arena, len);
	if (raw == NULL)
		return no_memory(r);
	*at++ = '{';
	*at++ = '"';
	memcpy(at, m->key.at, m->key.len);
	at += m->key.len;
	*at++ = '"';
	*at++ = ':';
	memcpy(at, m->value.raw.at, m->value.raw.len);
	at[m->value.raw.len] = '}';
	t->kind = TOOL_HOSTED;
	t->name = m->key;
	t->raw = (struct span){ raw, len };
	return true;
}

static bool
read_tool_member(void *ctx, const struct json_member *m)
{
	struct reader *r = ctx;
	char room[WIRE_KEY_BYTES];

	if (m->value.type == JSON_NULL)
		return true;
	if (gemini_key_is(wire_key(m->key, room), "functionDeclarations"))
		return each(r, m->value, "functionDeclarations", read_function);
	return add_hosted(r, m);
}

static bool
read_tool(void *ctx, const struct json_member *m)
{
	struct reader *r = ctx;

	r->place = IN_TOOL;
	if (m->value.type != JSON_OBJECT)
		return wrong(r, "", "must be an object.");
	(void)json_each(m->value.raw, read_tool_member, r, NULL);
	r->part++;
	return !r->failed;
}

static bool
read_tools(struct reader *r, struct json_value v)
{
	r->place = IN_BODY;
	r->part = 0;
	return each(r, v, "tools", read_tool);
}

static bool
read_allowed(void *ctx, const struct json_member *m)
{
	struct reader *r = ctx;
	struct neutral_request *n = r->n;
	struct span name = gemini_plain(n->arena, m->value);

	if (name.len == 0)
		return wrong(r, "allowedFunctionNames", "must hold names.");
	if (n->allowed == NULL)
		n->allowed = arena_alloc(n->arena, NEUTRAL_TOOLS_MAX * sizeof *n->allowed);
	if (n->allowed == NULL)
		return no_memory(r);
	if (n->allowed_count == NEUTRAL_TOOLS_MAX)
		return wrong(r, "allowedFunctionNames", "holds too many names.");
	n->allowed[n->allowed_count++] = name;
	return true;
}

static bool
choose(struct reader *r, struct span mode)
{
	struct neutral_request *n = r->n;

	if (span_is_nocase(mode, "NONE")) {
		n->choice = CHOICE_NONE;
	} else if (span_is_nocase(mode, "ANY")) {
		n->choice = n->allowed_count == 0   ? CHOICE_REQUIRED
			    : n->allowed_count == 1 ? CHOICE_TOOL
						    : CHOICE_ALLOWED;
		n->choice_any = true;
		if (n->allowed_count == 1)
			n->choice_name = n->allowed[0];
	} else if (span_is_nocase(mode, "AUTO") || span_is_nocase(mode, "VALIDATED")) {
		n->choice = n->allowed_count == 0 ? CHOICE_AUTO : CHOICE_ALLOWED;
	} else if (mode.len > 0 && !span_is_nocase(mode, "MODE_UNSPECIFIED")) {
		return wrong(r, "mode", "must be AUTO, ANY, NONE or VALIDATED.");
	}
	if (n->choice != CHOICE_ALLOWED) {
		n->choice_any = false;
		n->allowed_count = 0;
	}
	return true;
}

static bool
read_tool_config(struct reader *r, struct json_value v)
{
	static const char *const outer[] = { "functionCallingConfig" };
	static const char *const inner[] = { "mode", "allowedFunctionNames" };
	struct json_value calling[1], found[2];

	if (v.type == JSON_NONE)
		return true;
	r->place = IN_TOOL_CONFIG;
	if (v.type != JSON_OBJECT)
		return wrong(r, "", "must be an object.");
	(void)GEMINI_PICK(v.raw, outer, calling, lose, r);
	if (calling[0].type == JSON_NONE)
		return true;
	r->place = IN_CALLING;
	if (calling[0].type != JSON_OBJECT)
		return wrong(r, "", "must be an object.");
	(void)GEMINI_PICK(calling[0].raw, inner, found, lose, r);
	if (found[0].type != JSON_NONE && found[0].type != JSON_STRING)
		return wrong(r, "mode", "must be a string.");
	return each(r, found[1], "allowedFunctionNames", read_allowed) &&
	       choose(r, gemini_plain(r->n->arena, found[0]));
}

/* ---- generationConfig ---- */

enum want { WANT_NUMBER, WANT_INTEGER, WANT_BOOL, WANT_STRING, WANT_OBJECT };

static const struct setting {
	const char *member, *canonical;
	enum want want;
} settings[] = {
	{ "temperature", "temperature", WANT_NUMBER },
	{ "topP", "top_p", WANT_NUMBER },
	{ "topK", "top_k", WANT_INTEGER },
	{ "candidateCount", "n", WANT_INTEGER },
	{ "presencePenalty", "presence_penalty", WANT_NUMBER },
	{ "frequencyPenalty", "frequency_penalty", WANT_NUMBER },
	{ "seed", "seed", WANT_INTEGER },
	{ "responseLogprobs", "logprobs", WANT_BOOL },
	{ "logprobs", "top_logprobs", WANT_INTEGER },
	{ "speechConfig", "speech_config", WANT_OBJECT },
	{ "imageConfig", "image_config", WANT_OBJECT },
	{ "mediaResolution", "media_resolution", WANT_STRING },
};

/* "generationConfig.topK", for whoever is told that it was lost. */
static struct span
in_config(struct reader *r, struct span key)
{
	return span_of(arena_printf(
		r->n->arena, "generationConfig.%.*s", key.len > 64 ? 64 : (int)key.len, key.at));
}

static bool
read_setting(struct reader *r, const struct setting *s, const struct json_member *m)
{
	static const char *const must[] = { "must be a number.", "must be an integer.",
		"must be true or false.", "must be a string.", "must be an object." };
	struct json_value v = m->value;
	int64_t number;
	bool right = s->want == WANT_NUMBER    ? v.type == JSON_NUMBER
		     : s->want == WANT_INTEGER ? json_int(v, &number) == 0
		     : s->want == WANT_BOOL    ? v.type == JSON_TRUE || v.type == JSON_FALSE
		     : s->want == WANT_STRING  ? v.type == JSON_STRING
					       : v.type == JSON_OBJECT;

	if (right && s->want == WANT_INTEGER) {
		/* "40.0" is one too, but not to all */
		v.raw = span_of(arena_printf(r->n->arena, "%lld", (long long)number));
		if (v.raw.at == NULL)
			return no_memory(r);
		if (strcmp(s->canonical, "n") == 0 && (number < 1 || number > CHOICES_MOST))
			return wrong(r, s->member, "must be from 1 to 128.");
	}
	if (!right)
		return wrong(r, s->member, must[s->want]);
	neutral_set(r->n, s->canonical, in_config(r, m->key), v);
	return true;
}

static bool
read_stop(void *ctx, const struct json_member *m)
{
	struct reader *r = ctx;

	if (m->value.type != JSON_STRING)
		return wrong(r, "stopSequences", "must hold strings.");
	if (text_is_empty(m->value.raw))
		return true;
	if (r->n->stop_count == NEUTRAL_STOPS_MAX)
		return wrong(r, "stopSequences", "holds too many strings.");
	r->n->stop[r->n->stop_count++] = m->value.raw;
	return true;
}

static bool
read_level(struct reader *r, struct json_value v)
{
	static const struct {
		const char *word;
		enum effort effort;
	} levels[] = { { "MINIMAL", EFFORT_MINIMAL }, { "LOW", EFFORT_LOW },
		{ "MEDIUM", EFFORT_MEDIUM }, { "HIGH", EFFORT_HIGH },
		{ "THINKING_LEVEL_UNSPECIFIED", EFFORT_UNSET } };
	struct span word = gemini_plain(r->n->arena, v);

	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
		if (span_is_nocase(word, levels[i].word)) {
			r->n->effort = levels[i].effort;
			return true;
		}
	return wrong(r, "thinkingConfig.thinkingLevel", "must be MINIMAL, LOW, MEDIUM or HIGH.");
}

static bool
read_thinking(struct reader *r, struct json_value v)
{
	static const char *const names[] = { "includeThoughts", "thinkingBudget", "thinkingLevel" };
	struct json_value found[3];
	int64_t budget;

	if (v.type != JSON_OBJECT)
		return wrong(r, "thinkingConfig", "must be an object.");
	(void)GEMINI_PICK(v.raw, names, found, lose, r);
	r->n->reasoning_set = true;
	r->n->show_reasoning = found[0].type == JSON_TRUE;
	if (found[2].type != JSON_NONE && !read_level(r, found[2]))
		return false;
	if (found[1].type == JSON_NONE)
		return true;
	if (json_int(found[1], &budget) != 0 || budget < -1)
		return wrong(r, "thinkingConfig.thinkingBudget", "must be an integer from -1 up.");
	if (budget > 0)
		r->n->budget = budget;
	else if (budget == 0)
		r->n->effort = EFFORT_NONE;
	else
		r->n->adaptive = true;
	return true;
}

/* Other dialects have these words in lower case; text alone is what all give. */
static bool
read_modalities(struct reader *r, const struct json_member *m)
{
	struct span small = text_compact(r->n->arena, m->value.raw);
	char *copy;

	if (m->value.type != JSON_ARRAY)
		return wrong(r, "responseModalities", "must be an array.");
	copy = arena_strndup(r->n->arena, small.at, small.len);
	if (copy == NULL)
		return no_memory(r);
	for (size_t i = 0; i < small.len; i++)
		if (copy[i] >= 'A' && copy[i] <= 'Z')
			copy[i] = (char)(copy[i] | 0x20);
	if (strcmp(copy, "[\"text\"]") != 0 && strcmp(copy, "[]") != 0)
		neutral_set(r->n, "modalities", in_config(r, m->key),
			(struct json_value){ JSON_ARRAY, { copy, small.len } });
	return true;
}

/* Those that are more than a setting. */
enum { C_MAX, C_STOP, C_MIME, C_SCHEMA, C_JSON_SCHEMA, C_THINKING, C_MODALITIES, C__COUNT };
static const char *const config_members[C__COUNT] = { "maxOutputTokens", "stopSequences",
	"responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig",
	"responseModalities" };

struct config {
	struct reader *r;
	struct json_value mime, schema, json_schema;
};

static bool
read_special(struct config *c, size_t which, const struct json_member *m)
{
	struct reader *r = c->r;
	int64_t most;

	switch (which) {
	case C_MAX:
		if (json_int(m->value, &most) != 0 || most < 0)
			return wrong(r, "maxOutputTokens", "must be an integer from 0 up.");
		r->n->max_output = most == 0 ? -1 : most; /* protobuf's 0 is "not said" */
		r->n->max_output_as = in_config(r, m->key);
		return true;
	case C_STOP:
		r->n->stop_count = 0;
		return each(r, m->value, "stopSequences", read_stop);
	case C_MIME:
		c->mime = m->value;
		return true;
	case C_SCHEMA:
		c->schema = m->value;
		return true;
	case C_JSON_SCHEMA:
		c->json_schema = m->value;
		return true;
	case C_THINKING:
		return read_thinking(r, m->value);
	default:
		return read_modalities(r, m);
	}
}

static bool
read_config_member(void *ctx, const struct json_member *m)
{
	struct config *c = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	if (m->value.type == JSON_NULL)
		return true;
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
		if (gemini_key_is(key, settings[i].member))
			return read_setting(c->r, &settings[i], m);
	for (size_t i = 0; i < C__COUNT; i++)
		if (gemini_key_is(key, config_members[i]))
			return read_special(c, i, m);
	losses_add(c->r->lost, in_config(c->r, m->key), false);
	return true;
}

static bool
read_format(struct reader *r, const struct config *c)
{
	struct span mime = gemini_plain(r->n->arena, c->mime);
	struct neutral_request *n = r->n;

	if (c->mime.type != JSON_NONE && c->mime.type != JSON_STRING)
		return wrong(r, "responseMimeType", "must be a string.");
	if ((c->schema.type != JSON_NONE && c->schema.type != JSON_OBJECT) ||
		(c->json_schema.type != JSON_NONE && c->json_schema.type != JSON_OBJECT))
		return wrong(r, "responseSchema", "must be an object.");
	if (span_is(mime, "application/json")) {
		n->format = OUTPUT_JSON;
		if (c->json_schema.type == JSON_OBJECT)
			n->schema = c->json_schema.raw;
		else if (c->schema.type == JSON_OBJECT &&
			 (n->schema = json_schema_of(n->arena, c->schema.raw)).at == NULL)
			return no_memory(r);
		if (n->schema.at != NULL)
			n->format = OUTPUT_SCHEMA;
	} else if (span_is(mime, "text/plain")) {
		n->format = OUTPUT_TEXT;
	} else if (mime.len > 0) {
		losses_add(r->lost, SPAN_LIT("generationConfig.responseMimeType"), true);
	}
	return true;
}

static bool
read_config(struct reader *r, struct json_value v)
{
	struct config c = { .r = r };

	if (v.type == JSON_NONE)
		return true;
	r->place = IN_CONFIG;
	if (v.type != JSON_OBJECT)
		return wrong(r, "", "must be an object.");
	(void)json_each(v.raw, read_config_member, &c, NULL);
	return !r->failed && read_format(r, &c);
}

/* ---- the whole ---- */

enum {
	T_CONTENTS,
	T_SYSTEM,
	T_TOOLS,
	T_TOOL_CONFIG,
	T_CONFIG,
	T_SAFETY,
	T_CACHED,
	T_CONTINUE,
	T_MODEL,
	T_TIER,
	T_STORE,
	T_LABELS,
	T__COUNT
};
static const char *const top_members[T__COUNT] = { "contents", "systemInstruction", "tools",
	"toolConfig", "generationConfig", "safetySettings", "cachedContent", "continuationToken",
	"model", "serviceTier", "store", "labels" };

/* What Google alone keeps cannot be told another provider; to Google's own such a request is passed
 * on as it is. */
static bool
refuse_kept(struct reader *r, const struct json_value found[T__COUNT])
{
	r->place = IN_BODY;
	if (found[T_CACHED].type != JSON_NONE)
		return fail(r, ERR_UNSUPPORTED, "cachedContent",
			"names content that only Google keeps; send the content itself.");
	if (found[T_CONTINUE].type != JSON_NONE)
		return fail(r, ERR_UNSUPPORTED, "continuationToken",
			"continues an answer that only Google keeps.");
	return true;
}

static bool
read_others(struct reader *r, const struct json_value found[T__COUNT])
{
	static const struct {
		size_t at;
		const char *canonical;
		enum json_type type;
		const char *must;
	} rows[] = { { T_SAFETY, "safety_settings", JSON_ARRAY, "must be an array." },
		{ T_TIER, "service_tier", JSON_STRING, "must be a string." },
		{ T_LABELS, "labels", JSON_OBJECT, "must be an object." } };

	r->place = IN_BODY;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *name = top_members[rows[i].at];
		struct json_value v = found[rows[i].at];

		if (v.type == JSON_NONE)
			continue;
		if (v.type != rows[i].type)
			return wrong(r, name, rows[i].must);
		neutral_set(r->n, rows[i].canonical, span_of(name), v);
	}
	if (found[T_STORE].type == JSON_TRUE || found[T_STORE].type == JSON_FALSE)
		neutral_set(r->n, "store", SPAN_LIT("store"), found[T_STORE]);
	else if (found[T_STORE].type != JSON_NONE)
		return wrong(r, "store", "must be true or false.");
	return true;
}

static void
keep_unknown(void *ctx, struct span key, struct json_value v)
{
	struct reader *r = ctx;
	char *name = arena_strndup(r->n->arena, key.at, key.len);

	if (v.type != JSON_NULL && name != NULL)
		neutral_set(r->n, name, key, v);
}

static struct span
model_of(const struct request_source *from, struct arena *a, struct json_value in_body)
{
	struct span model =
		from->path_model.at != NULL ? from->path_model : gemini_plain(a, in_body);

	if (span_starts(model, "models/"))
		model = (struct span){ model.at + 7, model.len - 7 };
	return model;
}

static bool
pass(void *ctx, const struct json_member *m)
{
	(void)ctx;
	(void)m;
	return true;
}

static int
no_json(struct span body, struct err *err)
{
	size_t at = 0;

	(void)json_each(body, pass, NULL, &at);
	(void)err_set(err, ERR_BAD_REQUEST, "the body is no JSON object: byte %zu", at);
	return err_say(err, "The request's body is not a valid JSON object (at byte %zu).", at);
}

int
gemini_read_request(const struct request_source *from, struct neutral_request *n,
	struct losses *lost, struct err *err)
{
	struct reader r = { .n = n, .lost = lost, .err = err };
	struct json_value found[T__COUNT];

	if (GEMINI_PICK(from->body, top_members, found, keep_unknown, &r) != 0)
		return no_json(from->body, err);
	n->model = model_of(from, n->arena, found[T_MODEL]);
	n->stream = from->path_stream;
	n->wants_usage = true;
	if (found[T_CONTENTS].type == JSON_NONE) {
		(void)wrong(&r, "contents", "is missing.");
		return -1;
	}
	if (refuse_kept(&r, found) && each(&r, found[T_CONTENTS], "contents", read_content) &&
		read_system(&r, found[T_SYSTEM]) && read_tools(&r, found[T_TOOLS]) &&
		read_tool_config(&r, found[T_TOOL_CONFIG]) && read_config(&r, found[T_CONFIG]))
		(void)read_others(&r, found);
	return r.failed ? -1 : neutral_fill_ids(n, err);
}

int
gemini_read_count(const struct request_source *from, struct neutral_request *n, struct losses *lost,
	struct err *err)
{
	static const char *const names[] = { "generateContentRequest" };
	struct request_source whole = *from;
	struct json_value found[1];

	if (GEMINI_PICK(from->body, names, found, NULL, NULL) == 0 && found[0].type == JSON_OBJECT)
		whole.body = found[0].raw;
	return gemini_read_request(&whole, n, lost, err);
}
