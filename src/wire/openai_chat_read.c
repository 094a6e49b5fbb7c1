/*
 * openai_chat_read.c - the messages of a chat request into the neutral form.
 */
#include "wire/openai_chat_read-int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- where we are, and what is wrong there ---- */

size_t
chat_at(struct chat_reader *r, const char *fmt, ...)
{
	size_t before = r->at_len;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(r->at + r->at_len, sizeof r->at - r->at_len, fmt, args);
	va_end(args);
	if (n > 0)
		r->at_len = strlen(r->at);
	return before;
}

void
chat_leave(struct chat_reader *r, size_t before)
{
	r->at_len = before;
	r->at[before] = '\0';
}

int
chat_bad(struct chat_reader *r, const char *member, const char *is)
{
	char where[CHAT_WHERE_BYTES + WIRE_KEY_BYTES];
	const char *dot = r->at_len > 0 && member[0] != '\0' && member[0] != '[' ? "." : "";

	(void)snprintf(where, sizeof where, "%s%s%s", r->at, dot, member);
	(void)err_set(r->err, ERR_BAD_REQUEST, "%s %s", where, is);
	(void)err_say(r->err, "'%s' %s.", where, is);
	return err_field(r->err, where);
}

bool
chat_given(struct json_value v)
{
	return v.type != JSON_NONE && v.type != JSON_NULL;
}

int
chat_plain(struct chat_reader *r, const char *member, struct json_value v, struct span *out)
{
	*out = text_plain(r->n->arena, v);
	return out->at != NULL ? 0 : chat_bad(r, member, "must be a string of valid characters");
}

static enum cache_mark
cache_mark(struct json_value control, struct json_value breakpoint)
{
	char ttl[8];

	if (control.type == JSON_OBJECT) {
		wire_copy_string(json_get(control.raw, "ttl"), ttl, sizeof ttl);
		return strcmp(ttl, "1h") == 0 ? CACHE_1H : CACHE_5M;
	}
	return breakpoint.type == JSON_OBJECT ? CACHE_5M : CACHE_NONE;
}

/* ---- parts ---- */

/* Where parts of a message's content go. */
struct sink {
	struct chat_reader *r;
	bool is_system;
	enum neutral_role role;
	struct neutral_part *result; /* of a tool; not NULL: they are what it gave */
	struct neutral_part *last;
	size_t count; /* elements seen */
	int rc;
};

static struct neutral_part *
add(struct sink *s, enum part_kind kind)
{
	struct neutral_request *n = s->r->n;

	if (s->result != NULL)
		s->last = neutral_add_result(n, s->result, kind, s->r->err);
	else if (s->is_system)
		s->last = neutral_add_system(n, s->r->err);
	else
		s->last = neutral_add(n, s->role, kind, s->r->err);
	return s->last;
}

static int
add_string(struct sink *s, enum part_kind kind, const char *member, struct json_value v)
{
	struct neutral_part *p;

	if (v.type != JSON_STRING)
		return chat_bad(s->r, member, "must be a string");
	/* no dialect wants empty text (trap 2) */
	if (text_is_empty(v.raw))
		return 0;
	if ((p = add(s, kind)) == NULL)
		return -1;
	p->text = v.raw;
	return 0;
}

enum {
	PART_TYPE,
	IN_TEXT,
	IN_IMAGE,
	IN_AUDIO,
	IN_FILE,
	IN_VIDEO,
	IN_REFUSAL,
	CONTROL,
	BREAKPOINT,
	PART_FIELDS
};
static const char *const part_fields[PART_FIELDS] = { "type", "text", "image_url", "input_audio",
	"file", "video_url", "refusal", "cache_control", "prompt_cache_breakpoint" };

/* {"url":…,"detail":…}, or the URL itself as some write it. */
static int
add_by_url(struct sink *s, enum part_kind kind, const char *member, struct json_value v)
{
	static const char *const names[] = { "url", "detail" };
	struct json_value got[2] = { v };
	struct neutral_part *p;
	struct span url;
	size_t before;
	int rc = 0;

	if (v.type != JSON_STRING && TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(s->r, member, "must be an object with a 'url'");
	before = chat_at(s->r, ".%s", member);
	if (chat_plain(s->r, "url", got[0], &url) != 0 || (p = add(s, kind)) == NULL) {
		rc = -1;
	} else if (!chat_read_url(url, p)) {
		rc = chat_bad(s->r, "url", "must be an https address or a base64 data URL");
	} else if (kind == PART_IMAGE && chat_given(got[1])) {
		rc = chat_plain(s->r, "detail", got[1], &p->detail);
	}
	chat_leave(s->r, before);
	return rc;
}

static int
add_audio(struct sink *s, struct json_value v)
{
	static const char *const names[] = { "data", "format" };
	struct json_value got[2];
	struct neutral_part *p;
	char format[16];
	const char *mime;

	if (TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(s->r, "input_audio", "must be an object with 'data' and 'format'");
	wire_copy_string(got[1], format, sizeof format);
	if (format[0] == '\0' ||
		strspn(format, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(format))
		return chat_bad(
			s->r, "input_audio.format", "must be a format such as 'wav' or 'mp3'");
	if ((p = add(s, PART_AUDIO)) == NULL ||
		chat_plain(s->r, "input_audio.data", got[0], &p->data) != 0)
		return -1;
	mime = arena_printf(s->r->n->arena, "audio/%s", format);
	if (mime == NULL)
		return err_set(s->r->err, ERR_MEMORY, "no memory for a part's type");
	p->mime = span_of(mime);
	return 0;
}

static bool
ends_in(struct span name, const char *suffix)
{
	size_t len = strlen(suffix);

	return name.len >= len &&
	       span_is_nocase((struct span){ name.at + name.len - len, len }, suffix);
}

static int
add_file(struct sink *s, struct json_value v)
{
	static const char *const names[] = { "file_data", "file_id", "filename" };
	struct json_value got[3];
	struct neutral_part *p;
	struct span data = SPAN_NONE;

	if (TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(s->r, "file", "must be an object with 'file_data' or 'file_id'");
	if (!chat_given(got[0]) && !chat_given(got[1]))
		return chat_bad(s->r, "file", "needs 'file_data' or 'file_id'");
	if ((p = add(s, PART_DOCUMENT)) == NULL ||
		(chat_given(got[2]) && chat_plain(s->r, "file.filename", got[2], &p->title) != 0))
		return -1;
	if (!chat_given(got[0]))
		return chat_plain(s->r, "file.file_id", got[1], &p->file_id);
	if (chat_plain(s->r, "file.file_data", got[0], &data) != 0)
		return -1;
	if (chat_read_url(data, p))
		return 0;
	/* bare base64, as early clients had it */
	if (!ends_in(p->title, ".pdf") || span_starts(data, "data:"))
		return chat_bad(s->r, "file.file_data", "must be a base64 data URL");
	p->mime = SPAN_LIT("application/pdf");
	p->data = data;
	return 0;
}

static int
bad_type(struct sink *s, struct json_value type)
{
	char name[64], is[128];

	if (type.type != JSON_STRING)
		return chat_bad(s->r, "type", "must be a string");
	wire_copy_string(type, name, sizeof name);
	(void)snprintf(is, sizeof is, "is '%s', which is not supported here", name);
	return chat_bad(s->r, "type", is);
}

static int
add_part(struct sink *s, struct json_value v)
{
	struct json_value got[PART_FIELDS];
	char type[32];

	if (v.type == JSON_STRING)
		return add_string(s, PART_TEXT, "", v);
	if (v.type != JSON_OBJECT ||
		text_pick(v.raw, part_fields, PART_FIELDS, got, NULL, NULL) != 0)
		return chat_bad(s->r, "", "must be an object");
	wire_copy_string(got[PART_TYPE], type, sizeof type);
	s->last = NULL;
	if (strcmp(type, "text") == 0) {
		if (add_string(s, PART_TEXT, "text", got[IN_TEXT]) != 0)
			return -1;
	} else if (strcmp(type, "refusal") == 0 && s->role == ROLE_ASSISTANT && !s->is_system) {
		if (add_string(s, PART_REFUSAL, "refusal", got[IN_REFUSAL]) != 0)
			return -1;
	} else if (s->is_system) {
		return bad_type(s, got[PART_TYPE]);
	} else if (strcmp(type, "image_url") == 0) {
		if (add_by_url(s, PART_IMAGE, "image_url", got[IN_IMAGE]) != 0)
			return -1;
	} else if (strcmp(type, "video_url") == 0) {
		if (add_by_url(s, PART_VIDEO, "video_url", got[IN_VIDEO]) != 0)
			return -1;
	} else if (strcmp(type, "input_audio") == 0) {
		if (add_audio(s, got[IN_AUDIO]) != 0)
			return -1;
	} else if (strcmp(type, "file") == 0) {
		if (add_file(s, got[IN_FILE]) != 0)
			return -1;
	} else {
		return bad_type(s, got[PART_TYPE]);
	}
	if (s->last != NULL)
		s->last->cache = cache_mark(got[CONTROL], got[BREAKPOINT]);
	return 0;
}

static bool
each_part(void *ctx, const struct json_member *m)
{
	struct sink *s = ctx;
	size_t before = chat_at(s->r, "[%zu]", s->count++);

	s->rc = add_part(s, m->value);
	chat_leave(s->r, before);
	return s->rc == 0;
}

static int
read_content(struct sink *s, struct json_value content)
{
	size_t before;

	if (content.type == JSON_STRING)
		return add_string(s, PART_TEXT, "content", content);
	if (content.type != JSON_ARRAY)
		return chat_bad(s->r, "content", "must be a string or an array of parts");
	before = chat_at(s->r, ".content");
	s->count = 0;
	s->rc = 0;
	(void)json_each_element(content.raw, each_part, s, NULL);
	chat_leave(s->r, before);
	return s->rc;
}

/* ---- what the assistant said ---- */

static int
add_call(struct sink *s, struct json_value id, struct json_value name, struct json_value arguments,
	struct json_value extra, bool is_custom)
{
	struct neutral_part *p = add(s, PART_TOOL_CALL);

	if (p == NULL || chat_plain(s->r, "name", name, &p->name) != 0)
		return -1;
	if (p->name.len == 0)
		return chat_bad(s->r, "name", "must not be empty");
	if (chat_given(id) && chat_plain(s->r, "id", id, &p->call_id) != 0)
		return -1;
	if (chat_given(arguments) && arguments.type != JSON_STRING &&
		(is_custom || arguments.type != JSON_OBJECT))
		return chat_bad(s->r, is_custom ? "input" : "arguments", "must be a string");
	p->is_custom = is_custom;
	chat_read_arguments(s->r->n->arena, arguments, p);
	p->signature = chat_thought_signature(s->r->n->arena, extra);
	if (p->signature.at != NULL)
		p->signer = SIGNER_GEMINI;
	return 0;
}

static int
read_call(struct sink *s, struct json_value v)
{
	static const char *const names[] = { "id", "type", "function", "custom", "extra_content" };
	static const char *const function[] = { "name", "arguments" };
	static const char *const custom[] = { "name", "input" };
	struct json_value got[5], inner[2];
	bool is_custom;
	size_t before;
	int rc;

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(s->r, "", "must be an object");
	is_custom = got[3].type == JSON_OBJECT;
	if (!is_custom && got[2].type != JSON_OBJECT)
		return chat_bad(s->r, "function", "must be an object");
	(void)text_pick(
		got[is_custom ? 3 : 2].raw, is_custom ? custom : function, 2, inner, NULL, NULL);
	before = chat_at(s->r, is_custom ? ".custom" : ".function");
	rc = add_call(s, got[0], inner[0], inner[1], got[4], is_custom);
	chat_leave(s->r, before);
	return rc;
}

static bool
each_call(void *ctx, const struct json_member *m)
{
	struct sink *s = ctx;
	size_t before = chat_at(s->r, "[%zu]", s->count++);

	s->rc = read_call(s, m->value);
	chat_leave(s->r, before);
	return s->rc == 0;
}

static int
read_calls(struct sink *s, struct json_value calls)
{
	size_t before;

	if (!chat_given(calls))
		return 0;
	if (calls.type != JSON_ARRAY)
		return chat_bad(s->r, "tool_calls", "must be an array");
	before = chat_at(s->r, ".tool_calls");
	s->count = 0;
	s->rc = 0;
	(void)json_each_element(calls.raw, each_call, s, NULL);
	chat_leave(s->r, before);
	return s->rc;
}

static bool
each_image(void *ctx, const struct json_member *m)
{
	struct sink *s = ctx;
	size_t before = chat_at(s->r, ".images[%zu]", s->count++);

	s->rc = add_by_url(s, PART_IMAGE, "image_url", json_get(m->value.raw, "image_url"));
	chat_leave(s->r, before);
	return s->rc == 0;
}

static struct neutral_part *
add_reasoning(void *ctx, enum part_kind kind)
{
	struct sink *s = ctx;
	struct neutral_part *p = add(s, kind);

	s->rc = p == NULL ? -1 : 0;
	return p;
}

enum {
	ROLE,
	CONTENT,
	NAME,
	TOOL_CALLS,
	TOOL_CALL_ID,
	REFUSAL,
	FUNCTION_CALL,
	AUDIO,
	REASONING_CONTENT,
	REASONING,
	REASONING_DETAILS,
	CACHE_CONTROL,
	IMAGES,
	MESSAGE_FIELDS
};
static const char *const message_fields[MESSAGE_FIELDS] = { "role", "content", "name", "tool_calls",
	"tool_call_id", "refusal", "function_call", "audio", "reasoning_content", "reasoning",
	"reasoning_details", "cache_control", "images" };

/* The same text comes under up to three names; the one that keeps signatures wins. */
static int
read_reasoning(struct sink *s, const struct json_value *got)
{
	if (got[REASONING_DETAILS].type == JSON_ARRAY) {
		(void)chat_read_reasoning_details(
			s->r->n->arena, got[REASONING_DETAILS], add_reasoning, s);
		if (s->rc != 0 || s->last != NULL)
			return s->rc;
	}
	if (got[REASONING_CONTENT].type == JSON_STRING)
		return add_string(s, PART_REASONING, "reasoning_content", got[REASONING_CONTENT]);
	if (got[REASONING].type == JSON_STRING)
		return add_string(s, PART_REASONING, "reasoning", got[REASONING]);
	return 0;
}

static int
read_assistant(struct sink *s, const struct json_value *got)
{
	static const char *const names[] = { "name", "arguments" };
	struct json_value call[2];
	struct neutral_part *p;

	if (read_reasoning(s, got) != 0 ||
		(chat_given(got[CONTENT]) && read_content(s, got[CONTENT]) != 0) ||
		(chat_given(got[REFUSAL]) &&
			add_string(s, PART_REFUSAL, "refusal", got[REFUSAL]) != 0))
		return -1;
	if (got[IMAGES].type == JSON_ARRAY) {
		s->count = 0;
		(void)json_each_element(got[IMAGES].raw, each_image, s, NULL);
		if (s->rc != 0)
			return -1;
	}
	if (chat_given(got[AUDIO])) {
		if ((p = add(s, PART_AUDIO)) == NULL ||
			chat_plain(s->r, "audio.id", json_get(got[AUDIO].raw, "id"), &p->file_id) !=
				0)
			return -1;
	}
	if (read_calls(s, got[TOOL_CALLS]) != 0)
		return -1;
	if (!chat_given(got[FUNCTION_CALL]))
		return 0;
	if (got[FUNCTION_CALL].type != JSON_OBJECT ||
		TEXT_PICK(got[FUNCTION_CALL].raw, names, call) != 0)
		return chat_bad(s->r, "function_call", "must be an object");
	return add_call(
		s, (struct json_value){ 0 }, call[0], call[1], (struct json_value){ 0 }, false);
}

/* ---- what a tool gave ---- */

static int
read_result(struct sink *s, const struct json_value *got, bool is_legacy)
{
	struct neutral_part *result = add(s, PART_TOOL_RESULT);
	int rc = 0;

	if (result == NULL)
		return -1;
	if (is_legacy) {
		if (chat_plain(s->r, "name", got[NAME], &result->name) != 0)
			return -1;
		result->call_id = SPAN_LIT("");
	} else {
		if (!chat_given(got[TOOL_CALL_ID]))
			return chat_bad(s->r, "tool_call_id", "is missing");
		if (chat_plain(s->r, "tool_call_id", got[TOOL_CALL_ID], &result->call_id) != 0)
			return -1;
		if (got[NAME].type == JSON_STRING)
			result->name = text_plain(s->r->n->arena, got[NAME]);
	}
	s->result = result;
	if (chat_given(got[CONTENT]))
		rc = read_content(s, got[CONTENT]);
	s->last = result;
	return rc;
}

/* ---- messages ---- */

static int
read_message(struct chat_reader *r, struct json_value v)
{
	struct json_value got[MESSAGE_FIELDS];
	struct sink s = { .r = r, .role = ROLE_USER };
	enum cache_mark cache;
	char role[32];
	int rc;

	if (v.type != JSON_OBJECT ||
		text_pick(v.raw, message_fields, MESSAGE_FIELDS, got, NULL, NULL) != 0)
		return chat_bad(r, "", "must be an object");
	if (got[ROLE].type != JSON_STRING)
		return chat_bad(r, "role", "must be a string");
	wire_copy_string(got[ROLE], role, sizeof role);
	if (strcmp(role, "user") == 0) {
		rc = read_content(&s, got[CONTENT]);
	} else if (strcmp(role, "assistant") == 0) {
		s.role = ROLE_ASSISTANT;
		rc = read_assistant(&s, got);
	} else if (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0) {
		s.is_system = true;
		rc = read_content(&s, got[CONTENT]);
	} else if (strcmp(role, "tool") == 0 || strcmp(role, "function") == 0) {
		rc = read_result(&s, got, strcmp(role, "function") == 0);
	} else {
		return chat_bad(
			r, "role", "must be 'system', 'developer', 'user', 'assistant' or 'tool'");
	}
	if (rc != 0)
		return -1;
	cache = cache_mark(got[CACHE_CONTROL], (struct json_value){ 0 });
	if (cache != CACHE_NONE && s.last != NULL)
		s.last->cache = cache;
	if (got[NAME].type == JSON_STRING && s.result == NULL)
		losses_add(r->lost, SPAN_LIT("name"), false);
	return 0;
}

struct messages {
	struct chat_reader *r;
	size_t count;
	int rc;
};

static bool
each_message(void *ctx, const struct json_member *m)
{
	struct messages *all = ctx;
	size_t before = chat_at(all->r, "messages[%zu]", all->count++);

	all->rc = read_message(all->r, m->value);
	chat_leave(all->r, before);
	return all->rc == 0;
}

int
chat_read_messages(struct chat_reader *r, struct json_value messages)
{
	struct messages all = { r, 0, 0 };

	if (messages.type != JSON_ARRAY)
		return chat_bad(r, "messages", "must be an array");
	(void)json_each_element(messages.raw, each_message, &all, NULL);
	if (all.rc != 0)
		return -1;
	if (r->n->message_count == 0 && r->n->system_count == 0)
		return chat_bad(r, "messages", "must hold a message with content");
	return 0;
}
