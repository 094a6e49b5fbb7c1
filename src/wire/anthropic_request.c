/*
 * anthropic_request.c - a request of Anthropic's messages, read.
 *
 * One walk over each list; what a block holds is taken as it stands.  Empty texts are left out at once:
 * Anthropic itself refuses them, and other dialects make turns of them that nobody meant.
 */
#include "wire/anthropic.h"

#include "wire/anthropic-int.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const anthropic_block_names[BLOCK_MEMBERS] = { "type", "text", "cache_control", "id",
	"name", "input", "tool_use_id", "content", "is_error", "source", "title", "context",
	"citations", "thinking", "signature", "data" };

#define NOWHERE SIZE_MAX

/* Where in the body we are, for sentences, and where parts go. */
struct reading {
	struct neutral_request *n;
	struct losses *lost;
	struct err *err;
	const char *list;             /* "messages", "system", "tools"; NULL: at the top */
	size_t element, block, inner; /* messages[element].content[block].content[inner] */
	enum neutral_role role;
	bool to_system;
	struct neutral_part *result; /* the tool result that is being read, or NULL */
	struct span *texts;          /* collects texts of a nested list, or NULL */
	size_t text_count;
	bool failed;
};

/* ---- what is wrong, and where ---- */

int
anthropic_no_object(struct span body, size_t at, struct err *err)
{
	(void)err_set(err, ERR_BAD_REQUEST, "no JSON object: byte %zu of %zu", at, body.len);
	if (at >= body.len)
		return err_say(err, "The body is no JSON object: it ends at byte %zu, unfinished.",
			body.len);
	return err_say(err, "The body is no JSON object; see byte %zu.", at + 1);
}

static void
name_place(const struct reading *r, const char *member, char *out, size_t room)
{
	int n = 0;

	out[0] = '\0';
	if (r->list != NULL)
		n = snprintf(out, room, "%s", r->list);
	if (r->list != NULL && r->element != NOWHERE)
		n += snprintf(out + n, room - (size_t)n, "[%zu]", r->element);
	if (r->block != NOWHERE)
		n += snprintf(out + n, room - (size_t)n, ".content[%zu]", r->block);
	if (r->inner != NOWHERE && (size_t)n < room)
		n += snprintf(out + n, room - (size_t)n, ".content[%zu]", r->inner);
	if (member[0] != '\0' && (size_t)n < room)
		(void)snprintf(out + n, room - (size_t)n, "%s%s", n > 0 ? "." : "", member);
}

/* "messages[2].content[1].text must be a string." */
static int refuse(struct reading *r, enum err_code code, const char *member, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int
refuse(struct reading *r, enum err_code code, const char *member, const char *fmt, ...)
{
	char place[128], why[128];
	va_list args;

	name_place(r, member, place, sizeof place);
	va_start(args, fmt);
	(void)vsnprintf(why, sizeof why, fmt, args);
	va_end(args);
	r->failed = true;
	(void)err_set(r->err, code, "%s %s", place, why);
	(void)err_say(r->err, "'%s' %s.", place, why);
	return err_field(r->err, place);
}

static int
no_memory(struct reading *r)
{
	r->failed = true;
	return err_set(r->err, ERR_MEMORY, "no memory to read a request");
}

static int
bad(struct reading *r, const char *member, const char *why)
{
	return refuse(r, ERR_BAD_REQUEST, member, "%s", why);
}

static bool
is_set(struct json_value v)
{
	return v.type != JSON_NONE && v.type != JSON_NULL;
}

static int
plain(struct reading *r, struct json_value v, const char *member, struct span *out)
{
	if (v.type != JSON_STRING)
		return bad(r, member, "must be a string");
	*out = text_plain(r->n->arena, v);
	return out->at != NULL ? 0 : bad(r, member, "must be text without NUL or half characters");
}

static int
plain_or_none(struct reading *r, struct json_value v, const char *member, struct span *out)
{
	return is_set(v) ? plain(r, v, member, out) : 0;
}

static int
take_int(struct reading *r, struct json_value v, const char *member, int64_t least, int64_t *out)
{
	if (!is_set(v))
		return 0;
	if (v.type != JSON_NUMBER || json_int(v, out) != 0 || *out < least)
		return refuse(r, ERR_BAD_REQUEST, member, "must be a whole number of at least %lld",
			(long long)least);
	return 0;
}

/* ---- parts ---- */

static struct neutral_part *
add(struct reading *r, enum part_kind kind)
{
	struct neutral_part *p = r->result != NULL
					 ? neutral_add_result(r->n, r->result, kind, r->err)
				 : r->to_system ? neutral_add_system(r->n, r->err)
						: neutral_add(r->n, r->role, kind, r->err);

	if (p == NULL)
		r->failed = true;
	return p;
}

static int
read_cache(struct reading *r, struct json_value v, enum cache_mark *out)
{
	static const char *const names[] = { "type", "ttl" };
	struct json_value m[2];

	if (!is_set(v))
		return 0;
	if (v.type != JSON_OBJECT)
		return bad(r, "cache_control", "must be an object");
	(void)TEXT_PICK(v.raw, names, m);
	*out = m[1].type == JSON_STRING && span_is(m[1].raw, "\"1h\"") ? CACHE_1H : CACHE_5M;
	return 0;
}

static int
read_text(struct reading *r, const struct json_value *b)
{
	struct neutral_part *p;

	if (b[BLOCK_TEXT].type != JSON_STRING)
		return bad(r, "text", "must be a string");
	if (b[BLOCK_CITATIONS].type == JSON_ARRAY && b[BLOCK_CITATIONS].raw.len > 2)
		losses_add(r->lost, SPAN_LIT("citations"), false);
	if (text_is_empty(b[BLOCK_TEXT].raw))
		return 0;
	p = add(r, PART_TEXT);
	if (p == NULL)
		return -1;
	p->text = b[BLOCK_TEXT].raw;
	return read_cache(r, b[BLOCK_CACHE], &p->cache);
}

static int read_list(struct reading *r, struct span array);

/* A document's texts become one; its images parts of their own behind it. */
static bool
collect_text(void *ctx, const struct json_member *m)
{
	struct reading *r = ctx;
	struct json_value b[BLOCK_MEMBERS];

	if (m->value.type != JSON_OBJECT) {
		(void)bad(r, "source.content", "must hold objects");
		return false;
	}
	(void)TEXT_PICK(m->value.raw, anthropic_block_names, b);
	if (span_is(b[BLOCK_TYPE].raw, "\"text\"") && b[BLOCK_TEXT].type == JSON_STRING) {
		if (r->texts != NULL)
			r->texts[r->text_count] = b[BLOCK_TEXT].raw;
		r->text_count++;
	} else {
		(void)refuse(r, ERR_UNSUPPORTED, "source.content",
			"holds more than text, which cannot be told to this model's provider");
	}
	return !r->failed;
}

/* Texts of an array of text blocks as one JSON string. */
static int
join_texts(struct reading *r, struct span array, const char *between, struct span *out)
{
	struct span *texts = NULL;

	for (int pass = 0; pass < 2; pass++) {
		r->texts = texts;
		r->text_count = 0;
		(void)json_each_element(array, collect_text, r, NULL);
		if (r->failed)
			return -1;
		if (pass == 0 && r->text_count > 0) {
			texts = arena_alloc(r->n->arena, r->text_count * sizeof *texts);
			if (texts == NULL)
				return no_memory(r);
		}
	}
	*out = text_joined(r->n->arena, texts, r->text_count, between);
	return out->at != NULL ? 0 : no_memory(r);
}

static int
read_source_content(struct reading *r, struct json_value v, struct span *text)
{
	if (v.type == JSON_STRING) {
		*text = v.raw;
		return 0;
	}
	if (v.type != JSON_ARRAY)
		return bad(r, "source.content", "must be a string or an array");
	return join_texts(r, v.raw, "\\n\\n", text);
}

/* image and document: where their bytes are. */
static int
read_source(struct reading *r, struct json_value source, struct neutral_part *p)
{
	static const char *const names[] = { "type", "media_type", "data", "url", "file_id",
		"content" };
	struct json_value m[6];
	struct span type = SPAN_NONE;

	if (source.type != JSON_OBJECT)
		return bad(r, "source", "must be an object");
	(void)TEXT_PICK(source.raw, names, m);
	if (plain(r, m[0], "source.type", &type) != 0)
		return -1;
	if (span_is(type, "base64")) {
		if (plain(r, m[1], "source.media_type", &p->mime) != 0)
			return -1;
		p->mime = text_mime(p->mime);
		return plain(r, m[2], "source.data", &p->data);
	}
	if (span_is(type, "url"))
		return plain(r, m[3], "source.url", &p->url);
	if (span_is(type, "file"))
		return plain(r, m[4], "source.file_id", &p->file_id);
	if (span_is(type, "text") && p->kind == PART_DOCUMENT) {
		p->mime = SPAN_LIT("text/plain");
		p->text = m[2].raw;
		return m[2].type == JSON_STRING ? 0 : bad(r, "source.data", "must be a string");
	}
	if (span_is(type, "content") && p->kind == PART_DOCUMENT) {
		p->mime = SPAN_LIT("text/plain");
		return read_source_content(r, m[5], &p->text);
	}
	return refuse(r, ERR_UNSUPPORTED, "source.type", "is not known: '%.*s'",
		(int)(type.len < 40 ? type.len : 40), type.at);
}

static int
read_media(struct reading *r, const struct json_value *b, enum part_kind kind)
{
	struct neutral_part *p = add(r, kind);

	if (p == NULL || read_source(r, b[BLOCK_SOURCE], p) != 0 ||
		plain_or_none(r, b[BLOCK_TITLE], "title", &p->title) != 0)
		return -1;
	if (is_set(b[BLOCK_CONTEXT]))
		losses_add(r->lost, SPAN_LIT("context"), false);
	if (b[BLOCK_CITATIONS].type == JSON_OBJECT &&
		json_get(b[BLOCK_CITATIONS].raw, "enabled").type == JSON_TRUE)
		losses_add(r->lost, SPAN_LIT("citations"), false);
	return read_cache(r, b[BLOCK_CACHE], &p->cache);
}

static int
read_tool_use(struct reading *r, const struct json_value *b)
{
	struct neutral_part *p;

	if (r->role != ROLE_ASSISTANT || r->result != NULL)
		return bad(r, "type", "is 'tool_use', which belongs in a message of the assistant");
	p = add(r, PART_TOOL_CALL);
	if (p == NULL || plain(r, b[BLOCK_ID], "id", &p->call_id) != 0 ||
		plain(r, b[BLOCK_NAME], "name", &p->name) != 0)
		return -1;
	if (p->name.len == 0)
		return bad(r, "name", "must not be empty");
	if (b[BLOCK_INPUT].type != JSON_OBJECT)
		return bad(r, "input", "must be an object");
	p->input = b[BLOCK_INPUT].raw;
	return read_cache(r, b[BLOCK_CACHE], &p->cache);
}

static int
read_tool_result(struct reading *r, const struct json_value *b)
{
	struct json_value content = b[BLOCK_CONTENT];
	struct neutral_part *p, *inner;
	int rc = 0;

	if (r->role != ROLE_USER || r->result != NULL)
		return bad(r, "type", "is 'tool_result', which belongs in a message of the user");
	p = add(r, PART_TOOL_RESULT);
	if (p == NULL || plain(r, b[BLOCK_TOOL_USE_ID], "tool_use_id", &p->call_id) != 0 ||
		read_cache(r, b[BLOCK_CACHE], &p->cache) != 0)
		return -1;
	p->is_error = b[BLOCK_IS_ERROR].type == JSON_TRUE;
	if (!is_set(content))
		return 0;
	if (content.type != JSON_STRING && content.type != JSON_ARRAY)
		return bad(r, "content", "must be a string or an array");
	r->result = p;
	if (content.type == JSON_ARRAY) {
		rc = read_list(r, content.raw);
	} else if (!text_is_empty(content.raw)) {
		inner = add(r, PART_TEXT);
		if (inner != NULL)
			inner->text = content.raw;
		rc = inner == NULL ? -1 : 0;
	}
	r->result = NULL;
	r->inner = NOWHERE;
	return rc;
}

static int
read_thinking(struct reading *r, const struct json_value *b, bool redacted)
{
	struct neutral_part *p;

	if (r->role != ROLE_ASSISTANT || r->result != NULL)
		return bad(r, "type", "is thinking, which belongs in a message of the assistant");
	p = add(r, redacted ? PART_REDACTED : PART_REASONING);
	if (p == NULL)
		return -1;
	p->signer = SIGNER_ANTHROPIC;
	if (redacted)
		return plain(r, b[BLOCK_DATA], "data", &p->signature);
	if (b[BLOCK_THINKING].type != JSON_STRING)
		return bad(r, "thinking", "must be a string");
	p->text = b[BLOCK_THINKING].raw;
	return plain_or_none(r, b[BLOCK_SIGNATURE], "signature", &p->signature);
}

/* Its words are kept; that answers cite it is not. */
static int
read_search_result(struct reading *r, const struct json_value *b)
{
	struct span pieces[3] = { SPAN_NONE, SPAN_NONE, SPAN_NONE };
	struct neutral_part *p;

	if (b[BLOCK_CONTENT].type != JSON_ARRAY)
		return bad(r, "content", "must be an array");
	if (b[BLOCK_TITLE].type == JSON_STRING)
		pieces[0] = b[BLOCK_TITLE].raw;
	if (b[BLOCK_SOURCE].type == JSON_STRING)
		pieces[1] = b[BLOCK_SOURCE].raw;
	if (join_texts(r, b[BLOCK_CONTENT].raw, "\\n", &pieces[2]) != 0)
		return -1;
	losses_add(r->lost, SPAN_LIT("search_result"), false);
	p = add(r, PART_TEXT);
	if (p == NULL)
		return -1;
	p->text = text_joined(r->n->arena, pieces, 3, "\\n");
	if (p->text.at == NULL)
		return no_memory(r);
	if (text_is_empty(p->text))
		p->text = SPAN_LIT("\" \"");
	return read_cache(r, b[BLOCK_CACHE], &p->cache);
}

static int
read_block(struct reading *r, struct json_value v)
{
	struct json_value b[BLOCK_MEMBERS];
	struct span type = SPAN_NONE;

	if (v.type != JSON_OBJECT)
		return bad(r, "", "must be an object");
	(void)TEXT_PICK(v.raw, anthropic_block_names, b);
	if (plain(r, b[BLOCK_TYPE], "type", &type) != 0)
		return -1;
	if (span_is(type, "text"))
		return read_text(r, b);
	if (r->to_system)
		return bad(r, "type", "must be 'text'");
	if (span_is(type, "image"))
		return read_media(r, b, PART_IMAGE);
	if (span_is(type, "document"))
		return read_media(r, b, PART_DOCUMENT);
	if (span_is(type, "tool_use"))
		return read_tool_use(r, b);
	if (span_is(type, "tool_result"))
		return read_tool_result(r, b);
	if (span_is(type, "thinking"))
		return read_thinking(r, b, false);
	if (span_is(type, "redacted_thinking"))
		return read_thinking(r, b, true);
	if (span_is(type, "search_result"))
		return read_search_result(r, b);
	return refuse(r, ERR_UNSUPPORTED, "type",
		"is '%.*s', which cannot be told to this model's provider",
		(int)(type.len < 40 ? type.len : 40), type.at);
}

static bool
each_block(void *ctx, const struct json_member *m)
{
	struct reading *r = ctx;
	size_t *at = r->result != NULL                ? &r->inner
		     : strcmp(r->list, "system") == 0 ? &r->element
						      : &r->block;

	++*at; /* from NOWHERE to 0 */
	return read_block(r, m->value) == 0;
}

static int
read_list(struct reading *r, struct span array)
{
	(void)json_each_element(array, each_block, r, NULL);
	return r->failed ? -1 : 0;
}

/* A string, or an array of blocks. */
static int
read_content(struct reading *r, struct json_value v, const char *member)
{
	struct neutral_part *p;

	if (v.type == JSON_ARRAY)
		return read_list(r, v.raw);
	if (v.type != JSON_STRING)
		return bad(r, member, "must be a string or an array");
	if (text_is_empty(v.raw))
		return 0;
	p = add(r, PART_TEXT);
	if (p != NULL)
		p->text = v.raw;
	return p == NULL ? -1 : 0;
}

static bool
each_message(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "role", "content" };
	struct reading *r = ctx;
	struct json_value v[2];

	r->element++;
	r->block = r->inner = NOWHERE;
	if (m->value.type != JSON_OBJECT)
		return bad(r, "", "must be an object") == 0;
	(void)TEXT_PICK(m->value.raw, names, v);
	r->to_system = span_is(v[0].raw, "\"system\"");
	r->role = span_is(v[0].raw, "\"assistant\"") ? ROLE_ASSISTANT : ROLE_USER;
	if (!r->to_system && r->role == ROLE_USER && !span_is(v[0].raw, "\"user\""))
		return bad(r, "role", "must be 'user', 'assistant' or 'system'") == 0;
	return read_content(r, v[1], "content") == 0;
}

/* ---- tools ---- */

static void
lose_member(void *ctx, struct span key, struct json_value v)
{
	struct reading *r = ctx;

	if (is_set(v) && v.type != JSON_FALSE)
		losses_add(r->lost, key, false);
}

static bool
each_tool(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "type", "name", "description", "input_schema",
		"strict", "cache_control" };
	struct reading *r = ctx;
	struct json_value v[6];
	struct neutral_tool *t;

	r->element++;
	if (m->value.type != JSON_OBJECT)
		return bad(r, "", "must be an object") == 0;
	(void)TEXT_PICK(m->value.raw, names, v);
	t = neutral_add_tool(r->n, r->err);
	if (t == NULL) {
		r->failed = true;
		return false;
	}
	t->raw = m->value.raw;
	if (is_set(v[0]) && !span_is(v[0].raw, "\"custom\"")) {
		t->kind = TOOL_HOSTED;
		return plain(r, v[0], "type", &t->name) == 0;
	}
	(void)text_pick(m->value.raw, names, 6, v, lose_member, r);
	if (plain(r, v[1], "name", &t->name) != 0)
		return false;
	if (t->name.len == 0)
		return bad(r, "name", "must not be empty") == 0;
	if (is_set(v[2]) && v[2].type != JSON_STRING)
		return bad(r, "description", "must be a string") == 0;
	if (is_set(v[3]) && v[3].type != JSON_OBJECT)
		return bad(r, "input_schema", "must be an object") == 0;
	t->description = is_set(v[2]) && !text_is_empty(v[2].raw) ? v[2].raw : SPAN_NONE;
	t->parameters = is_set(v[3]) ? v[3].raw : SPAN_NONE;
	t->strict = v[4].type == JSON_TRUE ? 1 : v[4].type == JSON_FALSE ? 0 : -1;
	return read_cache(r, v[5], &t->cache) == 0;
}

static int
read_choice(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "type", "name", "disable_parallel_tool_use" };
	static const struct {
		const char *name;
		enum tool_choice choice;
	} kinds[] = { { "\"auto\"", CHOICE_AUTO }, { "\"any\"", CHOICE_REQUIRED },
		{ "\"none\"", CHOICE_NONE }, { "\"tool\"", CHOICE_TOOL } };
	struct json_value m[3];

	if (!is_set(v))
		return 0;
	if (v.type != JSON_OBJECT)
		return bad(r, "tool_choice", "must be an object");
	(void)TEXT_PICK(v.raw, names, m);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (span_is(m[0].raw, kinds[i].name))
			r->n->choice = kinds[i].choice;
	if (r->n->choice == CHOICE_UNSET)
		return bad(r, "tool_choice.type", "must be 'auto', 'any', 'none' or 'tool'");
	if (is_set(m[2]))
		r->n->parallel = m[2].type != JSON_TRUE;
	if (r->n->choice != CHOICE_TOOL)
		return 0;
	return plain(r, m[1], "tool_choice.name", &r->n->choice_name);
}

/* ---- thinking, output ---- */

static int
read_thinking_setting(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "type", "budget_tokens", "display" };
	struct neutral_request *n = r->n;
	struct json_value m[3];

	if (!is_set(v))
		return 0;
	if (v.type != JSON_OBJECT)
		return bad(r, "thinking", "must be an object");
	(void)TEXT_PICK(v.raw, names, m);
	n->reasoning_set = true;
	if (span_is(m[0].raw, "\"disabled\"")) {
		n->effort = EFFORT_NONE;
		return 0;
	}
	n->show_reasoning = !span_is(m[2].raw, "\"omitted\"");
	if (span_is(m[0].raw, "\"enabled\"")) {
		if (!is_set(m[1]))
			return bad(r, "thinking.budget_tokens", "is missing");
		return take_int(r, m[1], "thinking.budget_tokens", 0, &n->budget);
	}
	/* between_tools: how much and when is the model's matter too */
	if (!span_is(m[0].raw, "\"adaptive\"") && !span_is(m[0].raw, "\"between_tools\""))
		return bad(r, "thinking.type", "must be 'enabled', 'adaptive' or 'disabled'");
	n->adaptive = true;
	return 0;
}

static int
read_effort(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "\"low\"", "\"medium\"", "\"high\"", "\"xhigh\"",
		"\"max\"" };

	if (!is_set(v))
		return 0;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (span_is(v.raw, names[i])) {
			r->n->reasoning_set = true;
			if (r->n->effort != EFFORT_NONE) /* thinking that is off stays off */
				r->n->effort = (enum effort)((int)EFFORT_LOW + (int)i);
			return 0;
		}
	return bad(r, "output_config.effort", "must be 'low', 'medium', 'high', 'xhigh' or 'max'");
}

static int
read_output_format(struct reading *r, struct json_value v, const char *member)
{
	static const char *const names[] = { "type", "schema" };
	struct json_value m[2];

	if (!is_set(v))
		return 0;
	if (v.type != JSON_OBJECT)
		return bad(r, member, "must be an object");
	(void)TEXT_PICK(v.raw, names, m);
	if (!span_is(m[0].raw, "\"json_schema\"") || m[1].type != JSON_OBJECT)
		return bad(r, member, "must be of type 'json_schema' and hold a schema");
	r->n->format = OUTPUT_SCHEMA;
	r->n->schema = m[1].raw;
	return 0;
}

static int
read_output_config(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "effort", "format" };
	struct json_value m[2];

	if (!is_set(v))
		return 0;
	if (v.type != JSON_OBJECT)
		return bad(r, "output_config", "must be an object");
	(void)text_pick(v.raw, names, 2, m, lose_member, r);
	if (read_effort(r, m[0]) != 0)
		return -1;
	return read_output_format(r, m[1], "output_config.format");
}

/* ---- the top ---- */

enum member {
	MODEL,
	MAX_TOKENS,
	MESSAGES,
	SYSTEM,
	STOP_SEQUENCES,
	STREAM,
	TEMPERATURE,
	TOP_P,
	TOP_K,
	TOOLS,
	TOOL_CHOICE,
	THINKING,
	OUTPUT_CONFIG,
	OUTPUT_FORMAT,
	METADATA,
	SERVICE_TIER,
	BETA,
	VERSION,
	CONTAINER,
	MCP_SERVERS,
	MEMBERS
};
static const char *const names[MEMBERS] = { "model", "max_tokens", "messages", "system",
	"stop_sequences", "stream", "temperature", "top_p", "top_k", "tools", "tool_choice",
	"thinking", "output_config", "output_format", "metadata", "service_tier", "anthropic_beta",
	"anthropic_version", "container", "mcp_servers" };

static void
keep_other(void *ctx, struct span key, struct json_value v)
{
	struct reading *r = ctx;
	char *name = arena_strndup(r->n->arena, key.at, key.len);

	if (name == NULL)
		(void)no_memory(r);
	else if (is_set(v))
		neutral_set(r->n, name, key, v);
}

static bool
each_stop(void *ctx, const struct json_member *m)
{
	struct reading *r = ctx;

	if (m->value.type != JSON_STRING)
		return bad(r, "stop_sequences", "must hold strings") == 0;
	if (r->n->stop_count == NEUTRAL_STOPS_MAX)
		return refuse(r, ERR_BAD_REQUEST, "stop_sequences", "holds more than %d",
			       NEUTRAL_STOPS_MAX) == 0;
	if (!text_is_empty(m->value.raw))
		r->n->stop[r->n->stop_count++] = m->value.raw;
	return true;
}

static int
keep_number(struct reading *r, struct json_value v, const char *name, bool whole)
{
	int64_t n;

	if (!is_set(v))
		return 0;
	if (v.type != JSON_NUMBER || (whole && json_int(v, &n) != 0))
		return bad(r, name, whole ? "must be a whole number" : "must be a number");
	neutral_set(r->n, name, span_of(name), v);
	return 0;
}

static int
keep_user(struct reading *r, struct json_value metadata)
{
	struct json_value id;

	if (!is_set(metadata))
		return 0;
	if (metadata.type != JSON_OBJECT)
		return bad(r, "metadata", "must be an object");
	id = json_get(metadata.raw, "user_id");
	if (!is_set(id))
		return 0;
	if (id.type != JSON_STRING)
		return bad(r, "metadata.user_id", "must be a string");
	neutral_set(r->n, "user", SPAN_LIT("metadata.user_id"), id);
	return 0;
}

static bool
skip_member(void *ctx, const struct json_member *m)
{
	(void)ctx;
	(void)m;
	return true;
}

static int
read_settings(struct reading *r, const struct json_value *m, const struct request_source *from)
{
	struct neutral_request *n = r->n;
	struct span betas = anthropic_betas(n->arena, from, m[BETA], ANTHROPIC_DIRECT, r->lost);

	if (take_int(r, m[MAX_TOKENS], "max_tokens", 0, &n->max_output) != 0 ||
		keep_number(r, m[TEMPERATURE], "temperature", false) != 0 ||
		keep_number(r, m[TOP_P], "top_p", false) != 0 ||
		keep_number(r, m[TOP_K], "top_k", true) != 0 || keep_user(r, m[METADATA]) != 0)
		return -1;
	n->max_output_as = SPAN_LIT("max_tokens");
	if (is_set(m[STOP_SEQUENCES])) {
		if (m[STOP_SEQUENCES].type != JSON_ARRAY)
			return bad(r, "stop_sequences", "must be an array");
		(void)json_each_element(m[STOP_SEQUENCES].raw, each_stop, r, NULL);
	}
	/* Its values are Anthropic's own, so it is no service_tier of another's. */
	if (is_set(m[SERVICE_TIER]))
		neutral_set(n, "anthropic_service_tier", SPAN_LIT("service_tier"), m[SERVICE_TIER]);
	if (betas.at != NULL)
		neutral_set(n, "anthropic_beta", SPAN_LIT("anthropic-beta"),
			(struct json_value){ JSON_ARRAY, betas });
	return r->failed ? -1 : 0;
}

static int
read_model(struct reading *r, const struct json_value *m, const struct request_source *from)
{
	struct neutral_request *n = r->n;

	n->wants_usage = true;
	if (from->path_model.at != NULL) {
		n->model = from->path_model;
		n->stream = from->path_stream;
		return 0;
	}
	if (!is_set(m[MODEL]))
		return bad(r, "model", "is missing; say which model is to answer");
	if (is_set(m[STREAM]) && m[STREAM].type != JSON_TRUE && m[STREAM].type != JSON_FALSE)
		return bad(r, "stream", "must be true or false");
	n->stream = m[STREAM].type == JSON_TRUE;
	return plain(r, m[MODEL], "model", &n->model);
}

static int
read_system(struct reading *r, struct json_value v)
{
	int rc;

	if (!is_set(v))
		return 0;
	r->to_system = true;
	r->list = "system";
	rc = read_content(r, v, "");
	r->to_system = false;
	r->element = NOWHERE;
	return rc;
}

static int
read_lists(struct reading *r, const struct json_value *m)
{
	if (read_system(r, m[SYSTEM]) != 0)
		return -1;
	r->list = "messages";
	if (m[MESSAGES].type != JSON_ARRAY)
		return bad(r, "", is_set(m[MESSAGES]) ? "must be an array" : "is missing");
	(void)json_each_element(m[MESSAGES].raw, each_message, r, NULL);
	if (r->failed)
		return -1;
	r->list = "tools";
	r->element = r->block = r->inner = NOWHERE;
	if (is_set(m[TOOLS])) {
		if (m[TOOLS].type != JSON_ARRAY)
			return bad(r, "", "must be an array");
		(void)json_each_element(m[TOOLS].raw, each_tool, r, NULL);
	}
	r->list = NULL;
	r->element = NOWHERE;
	return r->failed ? -1 : 0;
}

/* What lives on Anthropic's side and cannot be had elsewhere. */
static int
refuse_servers(struct reading *r, const struct json_value *m)
{
	if (is_set(m[CONTAINER]))
		return refuse(
			r, ERR_UNSUPPORTED, "container", "cannot be told to this model's provider");
	if (is_set(m[MCP_SERVERS]) && m[MCP_SERVERS].raw.len > 2)
		return refuse(r, ERR_UNSUPPORTED, "mcp_servers",
			"cannot be told to this model's provider");
	return 0;
}

int
anthropic_read_request(const struct request_source *from, struct neutral_request *n,
	struct losses *lost, struct err *err)
{
	struct reading r = { .n = n,
		.lost = lost,
		.err = err,
		.element = NOWHERE,
		.block = NOWHERE,
		.inner = NOWHERE };
	struct json_value m[MEMBERS];
	size_t at = 0;

	if (text_pick(from->body, names, MEMBERS, m, keep_other, &r) != 0) {
		(void)json_each(from->body, skip_member, NULL, &at);
		return anthropic_no_object(from->body, at, err);
	}
	if (r.failed || read_model(&r, m, from) != 0 || refuse_servers(&r, m) != 0 ||
		read_settings(&r, m, from) != 0 || read_lists(&r, m) != 0 ||
		read_choice(&r, m[TOOL_CHOICE]) != 0 ||
		read_thinking_setting(&r, m[THINKING]) != 0 ||
		read_output_config(&r, m[OUTPUT_CONFIG]) != 0 ||
		read_output_format(&r, m[OUTPUT_FORMAT], "output_format") != 0)
		return -1;
	return 0;
}
