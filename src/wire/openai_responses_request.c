/*
 * openai_responses_request.c - a request for a response into the neutral form.
 */
#include "wire/openai_chat_read-int.h"
#include "wire/openai_responses-int.h"

#include <stdio.h>
#include <string.h>

/* Not `store`: here it is about answers that are referred to, which sluice does not keep. */
static const struct chat_setting settings[] = {
	{ "temperature", NULL, EXPECT_NUMBER },
	{ "top_p", NULL, EXPECT_NUMBER },
	{ "store", "responses_store", EXPECT_BOOLEAN },
	{ "metadata", NULL, EXPECT_OBJECT },
	{ "user", NULL, EXPECT_STRING },
	{ "safety_identifier", NULL, EXPECT_STRING },
	{ "service_tier", NULL, EXPECT_STRING },
	{ "prompt_cache_key", NULL, EXPECT_STRING },
	{ "stream_options", NULL, EXPECT_OBJECT },
	{ "include", NULL, EXPECT_ARRAY },
	{ "truncation", NULL, EXPECT_STRING },
	{ "max_tool_calls", NULL, EXPECT_INTEGER },
};

static int
stateful(struct chat_reader *r, const char *member)
{
	(void)err_set(r->err, ERR_UNSUPPORTED, "%s refers to what is kept", member);
	(void)err_say(r->err,
		"'%s' refers to what the provider keeps, which is not known here; send the whole "
		"conversation in 'input'.",
		member);
	return err_field(r->err, member);
}

static struct neutral_part *
add(struct chat_reader *r, enum neutral_role role, struct neutral_part *result, enum part_kind kind)
{
	return result != NULL ? neutral_add_result(r->n, result, kind, r->err)
			      : neutral_add(r->n, role, kind, r->err);
}

/* ---- parts ---- */

enum {
	TYPE,
	TEXT,
	REFUSAL,
	IMAGE_URL,
	FILE_ID,
	DETAIL,
	FILENAME,
	FILE_DATA,
	FILE_URL,
	INPUT_AUDIO,
	PART_FIELDS
};
static const char *const part_fields[PART_FIELDS] = { "type", "text", "refusal", "image_url",
	"file_id", "detail", "filename", "file_data", "file_url", "input_audio" };

struct content {
	struct chat_reader *r;
	bool is_system;
	enum neutral_role role;
	struct neutral_part *result;
	size_t count;
	int rc;
};

static int
add_text(struct content *c, enum part_kind kind, const char *member, struct json_value v)
{
	struct neutral_part *p;

	if (v.type != JSON_STRING)
		return chat_bad(c->r, member, "must be a string");
	if (text_is_empty(v.raw))
		return 0;
	p = c->is_system ? neutral_add_system(c->r->n, c->r->err)
			 : add(c->r, c->role, c->result, kind);
	if (p == NULL)
		return -1;
	p->text = v.raw;
	return 0;
}

static int
add_image(struct content *c, const struct json_value *got)
{
	struct neutral_part *p = add(c->r, c->role, c->result, PART_IMAGE);
	struct span url;

	if (p == NULL)
		return -1;
	if (chat_given(got[DETAIL]) && chat_plain(c->r, "detail", got[DETAIL], &p->detail) != 0)
		return -1;
	if (!chat_given(got[IMAGE_URL]))
		return chat_plain(c->r, "file_id", got[FILE_ID], &p->file_id);
	if (chat_plain(c->r, "image_url", got[IMAGE_URL], &url) != 0)
		return -1;
	return chat_read_url(url, p) ? 0
				     : chat_bad(c->r, "image_url",
					       "must be an https address or a base64 data URL");
}

static int
add_file(struct content *c, const struct json_value *got)
{
	struct neutral_part *p = add(c->r, c->role, c->result, PART_DOCUMENT);
	enum { DATA = FILE_DATA };
	struct span url;
	int from = chat_given(got[DATA]) ? DATA : FILE_URL;

	if (p == NULL || (chat_given(got[FILENAME]) &&
				 chat_plain(c->r, "filename", got[FILENAME], &p->title) != 0))
		return -1;
	if (!chat_given(got[from]))
		return chat_plain(c->r, "file_id", got[FILE_ID], &p->file_id);
	if (chat_plain(c->r, part_fields[from], got[from], &url) != 0)
		return -1;
	return chat_read_url(url, p) ? 0
				     : chat_bad(c->r, part_fields[from],
					       "must be a base64 data URL or an address");
}

static int
add_audio(struct content *c, struct json_value v)
{
	struct neutral_part *p = add(c->r, c->role, c->result, PART_AUDIO);
	struct json_value format = json_get(v.raw, "format");
	const char *mime;
	char name[16];

	wire_copy_string(format, name, sizeof name);
	if (p == NULL)
		return -1;
	if (name[0] == '\0' || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(name))
		return chat_bad(
			c->r, "input_audio.format", "must be a format such as 'wav' or 'mp3'");
	if ((mime = arena_printf(c->r->n->arena, "audio/%s", name)) == NULL)
		return err_set(c->r->err, ERR_MEMORY, "no memory for a part's type");
	p->mime = span_of(mime);
	return chat_plain(c->r, "input_audio.data", json_get(v.raw, "data"), &p->data);
}

static int
unknown_type(struct chat_reader *r, struct json_value type)
{
	char name[64], is[128];

	if (type.type != JSON_STRING)
		return chat_bad(r, "type", "must be a string");
	wire_copy_string(type, name, sizeof name);
	(void)snprintf(is, sizeof is, "is '%s', which is not supported here", name);
	return chat_bad(r, "type", is);
}

static int
add_part(struct content *c, struct json_value v)
{
	struct json_value got[PART_FIELDS];
	char type[32];

	if (v.type != JSON_OBJECT ||
		text_pick(v.raw, part_fields, PART_FIELDS, got, NULL, NULL) != 0)
		return chat_bad(c->r, "", "must be an object");
	wire_copy_string(got[TYPE], type, sizeof type);
	if (strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0 ||
		strcmp(type, "text") == 0)
		return add_text(c, PART_TEXT, "text", got[TEXT]);
	if (c->is_system)
		return unknown_type(c->r, got[TYPE]);
	if (strcmp(type, "refusal") == 0)
		return add_text(c, PART_REFUSAL, "refusal", got[REFUSAL]);
	if (strcmp(type, "input_image") == 0)
		return add_image(c, got);
	if (strcmp(type, "input_file") == 0)
		return add_file(c, got);
	if (strcmp(type, "input_audio") == 0)
		return add_audio(c, got[INPUT_AUDIO]);
	return unknown_type(c->r, got[TYPE]);
}

static bool
each_part(void *ctx, const struct json_member *m)
{
	struct content *c = ctx;
	size_t before = chat_at(c->r, "[%zu]", c->count++);

	c->rc = add_part(c, m->value);
	chat_leave(c->r, before);
	return c->rc == 0;
}

static int
read_content(struct content *c, const char *member, struct json_value v)
{
	size_t before;

	if (v.type == JSON_STRING)
		return add_text(c, PART_TEXT, member, v);
	if (v.type != JSON_ARRAY)
		return chat_bad(c->r, member, "must be a string or an array of parts");
	before = chat_at(c->r, ".%s", member);
	(void)json_each_element(v.raw, each_part, c, NULL);
	chat_leave(c->r, before);
	return c->rc;
}

/* ---- items ---- */

enum {
	ITEM_TYPE,
	ROLE,
	CONTENT,
	CALL_ID,
	NAME,
	ARGUMENTS,
	INPUT,
	OUTPUT,
	SUMMARY,
	ENCRYPTED,
	ITEM_FIELDS
};
static const char *const item_fields[ITEM_FIELDS] = { "type", "role", "content", "call_id", "name",
	"arguments", "input", "output", "summary", "encrypted_content" };

static int
read_message(struct chat_reader *r, const struct json_value *got)
{
	struct content c = { .r = r, .role = ROLE_USER };
	char role[16];

	wire_copy_string(got[ROLE], role, sizeof role);
	if (strcmp(role, "assistant") == 0)
		c.role = ROLE_ASSISTANT;
	else if (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0)
		c.is_system = true;
	else if (strcmp(role, "user") != 0)
		return chat_bad(r, "role", "must be 'system', 'developer', 'user' or 'assistant'");
	return read_content(&c, "content", got[CONTENT]);
}

static int
read_call(struct chat_reader *r, const struct json_value *got, bool is_custom)
{
	struct json_value arguments = got[is_custom ? INPUT : ARGUMENTS];
	struct neutral_part *p = neutral_add(r->n, ROLE_ASSISTANT, PART_TOOL_CALL, r->err);

	if (p == NULL || chat_plain(r, "call_id", got[CALL_ID], &p->call_id) != 0 ||
		chat_plain(r, "name", got[NAME], &p->name) != 0)
		return -1;
	if (p->name.len == 0)
		return chat_bad(r, "name", "must not be empty");
	if (chat_given(arguments) && arguments.type != JSON_STRING)
		return chat_bad(r, is_custom ? "input" : "arguments", "must be a string");
	p->is_custom = is_custom;
	chat_read_arguments(r->n->arena, arguments, p);
	return 0;
}

static int
read_output(struct chat_reader *r, const struct json_value *got)
{
	struct content c = { .r = r, .role = ROLE_USER };
	struct neutral_part *p = neutral_add(r->n, ROLE_USER, PART_TOOL_RESULT, r->err);

	if (p == NULL || chat_plain(r, "call_id", got[CALL_ID], &p->call_id) != 0)
		return -1;
	c.result = p;
	return chat_given(got[OUTPUT]) ? read_content(&c, "output", got[OUTPUT]) : 0;
}

static int
read_reasoning_item(struct chat_reader *r, const struct json_value *got)
{
	struct neutral_part *p;
	struct span text = responses_reasoning_text(r->n->arena, got[SUMMARY], got[CONTENT]);

	if (text.at == NULL && got[ENCRYPTED].type != JSON_STRING)
		return 0;
	if ((p = neutral_add(r->n, ROLE_ASSISTANT, PART_REASONING, r->err)) == NULL)
		return -1;
	p->text = text.at != NULL ? text : SPAN_LIT("\"\"");
	responses_read_encrypted(r->n->arena, got[ENCRYPTED], p);
	return 0;
}

/* Calls that ran at the provider, and what came of them: other providers know nothing of these. */
static bool
is_hosted(const char *type)
{
	size_t len = strlen(type);
	static const char *const ends[] = { "_call", "_call_output", "mcp_list_tools",
		"mcp_approval_request", "mcp_approval_response", "tool_search_output" };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (len >= strlen(ends[i]) && strcmp(type + len - strlen(ends[i]), ends[i]) == 0)
			return true;
	return false;
}

static int
read_item(struct chat_reader *r, struct json_value v)
{
	struct json_value got[ITEM_FIELDS];
	char type[48], name[64];

	if (v.type != JSON_OBJECT ||
		text_pick(v.raw, item_fields, ITEM_FIELDS, got, NULL, NULL) != 0)
		return chat_bad(r, "", "must be an object");
	wire_copy_string(got[ITEM_TYPE], type, sizeof type);
	if (strcmp(type, "message") == 0 ||
		(!chat_given(got[ITEM_TYPE]) && got[ROLE].type == JSON_STRING))
		return read_message(r, got);
	if (strcmp(type, "function_call") == 0)
		return read_call(r, got, false);
	if (strcmp(type, "custom_tool_call") == 0)
		return read_call(r, got, true);
	if (strcmp(type, "function_call_output") == 0 ||
		strcmp(type, "custom_tool_call_output") == 0)
		return read_output(r, got);
	if (strcmp(type, "reasoning") == 0)
		return read_reasoning_item(r, got);
	if (strcmp(type, "item_reference") == 0)
		return stateful(r, r->at);
	if (!is_hosted(type))
		return unknown_type(r, got[ITEM_TYPE]);
	(void)snprintf(name, sizeof name, "%s item", type);
	losses_add(r->lost, span_of(name), true);
	return 0;
}

static int
read_input(struct chat_reader *r, struct json_value v)
{
	struct content c = { .r = r, .role = ROLE_USER };
	int rc;

	if (v.type == JSON_STRING)
		rc = add_text(&c, PART_TEXT, "input", v);
	else
		rc = chat_each(r, "input", v, read_item);
	if (rc == 0 && r->n->message_count == 0 && r->n->system_count == 0)
		return chat_bad(r, "input", "must hold a message with content");
	return rc;
}

/* ---- tools ---- */

static int
read_tool(struct chat_reader *r, struct json_value v)
{
	struct neutral_tool *t;
	struct json_value type = json_get(v.raw, "type");
	char word[32];

	if (v.type != JSON_OBJECT)
		return chat_bad(r, "", "must be an object");
	wire_copy_string(type, word, sizeof word);
	if (word[0] == '\0')
		return chat_bad(r, "type", "must be a string such as 'function'");
	if ((t = neutral_add_tool(r->n, r->err)) == NULL)
		return -1;
	t->raw = v.raw;
	if (strcmp(word, "function") == 0)
		return chat_read_function(r, v, t);
	if (strcmp(word, "custom") == 0) {
		t->kind = TOOL_CUSTOM;
		return chat_read_function(r, v, t);
	}
	t->kind = TOOL_HOSTED;
	return chat_plain(r, "type", type, &t->name);
}

static int
add_allowed(struct chat_reader *r, struct json_value tool)
{
	struct neutral_request *n = r->n;

	if (n->allowed_count == NEUTRAL_TOOLS_MAX)
		return chat_bad(r, "", "is one tool too many");
	if (n->allowed == NULL && (n->allowed = arena_alloc(n->arena,
					   NEUTRAL_TOOLS_MAX * sizeof *n->allowed)) == NULL)
		return err_set(r->err, ERR_MEMORY, "no memory for allowed tools");
	if (chat_plain(r, "name", json_get(tool.raw, "name"), &n->allowed[n->allowed_count]) != 0)
		return -1;
	n->allowed_count++;
	return 0;
}

static int
read_choice(struct chat_reader *r, struct json_value v)
{
	static const char *const names[] = { "type", "name", "mode", "tools" };
	struct json_value got[4];
	char word[32], says[160];

	if (!chat_given(v))
		return 0;
	wire_copy_string(v, word, sizeof word);
	if (v.type == JSON_STRING) {
		r->n->choice = strcmp(word, "auto") == 0       ? CHOICE_AUTO
			       : strcmp(word, "none") == 0     ? CHOICE_NONE
			       : strcmp(word, "required") == 0 ? CHOICE_REQUIRED
							       : CHOICE_UNSET;
		if (r->n->choice != CHOICE_UNSET)
			return 0;
	}
	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(
			r, "tool_choice", "must be 'auto', 'none', 'required' or an object");
	wire_copy_string(got[0], word, sizeof word);
	if (strcmp(word, "function") == 0 || strcmp(word, "custom") == 0) {
		r->n->choice = CHOICE_TOOL;
		return chat_plain(r, "tool_choice.name", got[1], &r->n->choice_name);
	}
	if (strcmp(word, "allowed_tools") == 0) {
		wire_copy_string(got[2], word, sizeof word);
		r->n->choice = CHOICE_ALLOWED;
		r->n->choice_any = strcmp(word, "required") == 0;
		return chat_each(r, "tool_choice.tools", got[3], add_allowed);
	}
	(void)snprintf(
		says, sizeof says, "names '%s', a tool that runs at its own provider alone", word);
	(void)chat_bad(r, "tool_choice", says);
	r->err->code = ERR_UNSUPPORTED;
	return -1;
}

/* ---- the form of the answer, reasoning ---- */

static int
read_text_options(struct chat_reader *r, struct json_value v)
{
	struct json_value format, verbosity;

	if (!chat_given(v))
		return 0;
	if (v.type != JSON_OBJECT)
		return chat_bad(r, "text", "must be an object");
	verbosity = json_get(v.raw, "verbosity");
	if (chat_given(verbosity)) {
		if (verbosity.type != JSON_STRING)
			return chat_bad(r, "text.verbosity", "must be a string");
		neutral_set(r->n, "verbosity", SPAN_LIT("text.verbosity"), verbosity);
	}
	format = json_get(v.raw, "format");
	if (!chat_given(format))
		return 0;
	if (format.type != JSON_OBJECT)
		return chat_bad(r, "text.format", "must be an object");
	return chat_read_format(
		r, "text.format", json_get(format.raw, "type"), "text.format", format);
}

/* The level of the summary has no place elsewhere; that there is to be one has. */
static int
read_reasoning(struct chat_reader *r, struct json_value v)
{
	static const char *const names[] = { "effort", "summary", "generate_summary" };
	struct json_value got[3], summary;

	if (!chat_given(v))
		return 0;
	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, "reasoning", "must be an object");
	if (chat_read_effort(r, "reasoning.effort", got[0]) != 0)
		return -1;
	summary = chat_given(got[1]) ? got[1] : got[2];
	r->n->show_reasoning = chat_given(summary);
	if (!chat_given(summary))
		return 0;
	if (summary.type != JSON_STRING)
		return chat_bad(r, "reasoning.summary", "must be a string");
	neutral_set(r->n, "reasoning_summary", SPAN_LIT("reasoning.summary"), summary);
	return 0;
}

/* ---- the whole ---- */

enum {
	MODEL,
	INPUT_ITEMS,
	INSTRUCTIONS,
	STREAM,
	MAX_OUTPUT,
	TOOLS,
	TOOL_CHOICE,
	PARALLEL,
	TEXT_OPTIONS,
	REASONING,
	TOP_LOGPROBS,
	PREVIOUS,
	CONVERSATION,
	BACKGROUND,
	PROMPT,
	REQUEST_FIELDS
};
static const char *const request_fields[REQUEST_FIELDS] = { "model", "input", "instructions",
	"stream", "max_output_tokens", "tools", "tool_choice", "parallel_tool_calls", "text",
	"reasoning", "top_logprobs", "previous_response_id", "conversation", "background",
	"prompt" };

static int
read_instructions(struct chat_reader *r, struct json_value v)
{
	struct content c = { .r = r, .is_system = true };

	return chat_given(v) ? add_text(&c, PART_TEXT, "instructions", v) : 0;
}

/* Chat asks for them in two members. */
static int
read_logprobs(struct chat_reader *r, struct json_value v)
{
	static const struct json_value yes = { JSON_TRUE, { "true", 4 } };
	int64_t n;

	if (!chat_given(v))
		return 0;
	if (json_int(v, &n) != 0 || n < 0)
		return chat_bad(r, "top_logprobs", "must be an integer of at least 0");
	if (n == 0)
		return 0;
	neutral_set(r->n, "logprobs", SPAN_LIT("top_logprobs"), yes);
	neutral_set(r->n, "top_logprobs", SPAN_LIT("top_logprobs"), v);
	return 0;
}

static int
refuse_state(struct chat_reader *r, const struct json_value *got)
{
	if (got[BACKGROUND].type == JSON_TRUE)
		return stateful(r, "background");
	for (int i = PREVIOUS; i <= CONVERSATION; i++)
		if (chat_given(got[i]))
			return stateful(r, request_fields[i]);
	return chat_given(got[PROMPT]) ? stateful(r, "prompt") : 0;
}

static int
read_fields(struct chat_reader *r, const struct json_value *got)
{
	struct neutral_request *n = r->n;

	if (refuse_state(r, got) != 0 ||
		chat_read_flag(r, "stream", got[STREAM], &n->stream) != 0 ||
		(chat_given(got[MAX_OUTPUT]) &&
			chat_read_most(r, "max_output_tokens", got[MAX_OUTPUT]) != 0) ||
		(chat_given(got[TOOLS]) && chat_each(r, "tools", got[TOOLS], read_tool) != 0) ||
		read_choice(r, got[TOOL_CHOICE]) != 0 ||
		chat_read_parallel(r, got[PARALLEL]) != 0 ||
		read_text_options(r, got[TEXT_OPTIONS]) != 0 ||
		read_reasoning(r, got[REASONING]) != 0 || read_logprobs(r, got[TOP_LOGPROBS]) != 0)
		return -1;
	return 0;
}

int
openai_responses_read_request(const struct request_source *from, struct neutral_request *n,
	struct losses *lost, struct err *err)
{
	struct chat_reader r = { .n = n, .lost = lost, .err = err };
	struct chat_rest rest = { &r, settings, sizeof settings / sizeof settings[0], 0 };
	struct json_value got[REQUEST_FIELDS];

	n->wants_usage = true;
	if (chat_read_body(from, request_fields, REQUEST_FIELDS, got, &rest) != 0 ||
		chat_read_model(&r, from, got[MODEL]) != 0 || read_fields(&r, got) != 0 ||
		read_instructions(&r, got[INSTRUCTIONS]) != 0)
		return -1;
	return read_input(&r, got[INPUT_ITEMS]);
}
