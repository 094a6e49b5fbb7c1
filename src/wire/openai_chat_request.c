/*
 * openai_chat_request.c - a chat request into the neutral form: everything but its messages.
 */
#include "wire/openai_chat_read-int.h"

#include "wire/effort.h"
#include <string.h>

/* ---- settings that pass as they are ---- */

static const struct chat_setting settings[] = {
	{ "temperature", NULL, EXPECT_NUMBER },
	{ "top_p", NULL, EXPECT_NUMBER },
	{ "top_k", NULL, EXPECT_INTEGER },
	{ "seed", NULL, EXPECT_INTEGER },
	{ "n", NULL, EXPECT_INTEGER },
	{ "logprobs", NULL, EXPECT_BOOLEAN },
	{ "top_logprobs", NULL, EXPECT_INTEGER },
	{ "presence_penalty", NULL, EXPECT_NUMBER },
	{ "frequency_penalty", NULL, EXPECT_NUMBER },
	{ "logit_bias", NULL, EXPECT_OBJECT },
	{ "metadata", NULL, EXPECT_OBJECT },
	{ "user", NULL, EXPECT_STRING },
	{ "safety_identifier", NULL, EXPECT_STRING },
	{ "service_tier", NULL, EXPECT_STRING },
	{ "verbosity", NULL, EXPECT_STRING },
	{ "prompt_cache_key", NULL, EXPECT_STRING },
	{ "store", NULL, EXPECT_BOOLEAN },
	{ "modalities", NULL, EXPECT_ARRAY },
	{ "audio", NULL, EXPECT_OBJECT },
	{ "prediction", NULL, EXPECT_OBJECT },
	{ "web_search_options", NULL, EXPECT_OBJECT },
	{ "stream_options", NULL, EXPECT_OBJECT },
};

static const char *
wrong_type(enum chat_expect expect, struct json_value v)
{
	int64_t n;

	switch (expect) {
	case EXPECT_NUMBER:
		return v.type == JSON_NUMBER ? NULL : "must be a number";
	case EXPECT_INTEGER:
		return json_int(v, &n) == 0 ? NULL : "must be an integer";
	case EXPECT_BOOLEAN:
		return v.type == JSON_TRUE || v.type == JSON_FALSE ? NULL : "must be true or false";
	case EXPECT_STRING:
		return v.type == JSON_STRING ? NULL : "must be a string";
	case EXPECT_ARRAY:
		return v.type == JSON_ARRAY ? NULL : "must be an array";
	case EXPECT_OBJECT:
		return v.type == JSON_OBJECT ? NULL : "must be an object";
	default:
		return NULL;
	}
}

static const struct chat_setting *
find_setting(const struct chat_rest *rest, const char *name)
{
	for (size_t i = 0; i < rest->count; i++)
		if (strcmp(name, rest->settings[i].name) == 0)
			return &rest->settings[i];
	return NULL;
}

void
chat_note_rest(void *ctx, struct span key, struct json_value v)
{
	struct chat_rest *rest = ctx;
	struct chat_reader *r = rest->r;
	char room[WIRE_KEY_BYTES], text[WIRE_KEY_BYTES];
	const struct chat_setting *known;
	const char *canonical = NULL, *wrong;
	int64_t n;

	if (rest->rc != 0 || v.type == JSON_NULL)
		return;
	(void)span_copy(wire_key(key, room), text, sizeof text);
	if ((known = find_setting(rest, text)) != NULL) {
		canonical = known->canonical != NULL ? known->canonical : known->name;
		if ((wrong = wrong_type(known->expect, v)) != NULL) {
			rest->rc = chat_bad(r, text, wrong);
			return;
		}
	}
	if (strcmp(text, "n") == 0 && (json_int(v, &n) != 0 || n < 1 || n > NEUTRAL_CHOICES_MAX)) {
		rest->rc = chat_bad(r, text, "must be from 1 to 128");
		return;
	}
	if (canonical == NULL && r->n->field_count < NEUTRAL_FIELDS_MAX &&
		(canonical = arena_strdup(r->n->arena, text)) == NULL) {
		rest->rc = err_set(r->err, ERR_MEMORY, "no memory for a setting");
		return;
	}
	neutral_set(r->n, canonical, key, v);
}

/* ---- tools ---- */

struct elements {
	struct chat_reader *r;
	int (*read)(struct chat_reader *r, struct json_value v);
	size_t count;
	int rc;
};

static bool
each_element(void *ctx, const struct json_member *m)
{
	struct elements *all = ctx;
	size_t before = chat_at(all->r, "[%zu]", all->count++);

	all->rc = all->read(all->r, m->value);
	chat_leave(all->r, before);
	return all->rc == 0;
}

int
chat_each(struct chat_reader *r, const char *member, struct json_value array,
	int (*read)(struct chat_reader *r, struct json_value v))
{
	struct elements all = { .r = r, .read = read };
	size_t before;

	if (array.type != JSON_ARRAY)
		return chat_bad(r, member, "must be an array");
	before = chat_at(r, r->at_len > 0 ? ".%s" : "%s", member);
	(void)json_each_element(array.raw, each_element, &all, NULL);
	chat_leave(r, before);
	return all.rc;
}

int
chat_read_function(struct chat_reader *r, struct json_value v, struct neutral_tool *t)
{
	static const char *const names[] = { "name", "description", "parameters", "strict" };
	struct json_value got[4];

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, "", "must be an object");
	if (chat_plain(r, "name", got[0], &t->name) != 0)
		return -1;
	if (t->name.len == 0)
		return chat_bad(r, "name", "must not be empty");
	if (chat_given(got[1]) && got[1].type != JSON_STRING)
		return chat_bad(r, "description", "must be a string");
	if (chat_given(got[2]) && got[2].type != JSON_OBJECT)
		return chat_bad(r, "parameters", "must be an object");
	t->description = chat_given(got[1]) ? got[1].raw : SPAN_NONE;
	t->parameters = chat_given(got[2]) ? got[2].raw : SPAN_NONE;
	t->strict = got[3].type == JSON_TRUE ? 1 : got[3].type == JSON_FALSE ? 0 : -1;
	return 0;
}

static int
read_tool(struct chat_reader *r, struct json_value v)
{
	static const char *const names[] = { "type", "function", "custom", "cache_control" };
	struct json_value got[4];
	struct neutral_tool *t;
	char type[32], ttl[8];
	size_t before;
	int rc = 0;

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, "", "must be an object");
	wire_copy_string(got[0], type, sizeof type);
	if (type[0] == '\0')
		return chat_bad(r, "type", "must be a string such as 'function'");
	if ((t = neutral_add_tool(r->n, r->err)) == NULL)
		return -1;
	t->raw = v.raw;
	if (got[3].type == JSON_OBJECT) {
		wire_copy_string(json_get(got[3].raw, "ttl"), ttl, sizeof ttl);
		t->cache = strcmp(ttl, "1h") == 0 ? CACHE_1H : CACHE_5M;
	}
	if (strcmp(type, "function") == 0) {
		before = chat_at(r, ".function");
		rc = chat_read_function(r, got[1], t);
		chat_leave(r, before);
	} else if (strcmp(type, "custom") == 0) {
		t->kind = TOOL_CUSTOM;
		before = chat_at(r, ".custom");
		rc = chat_read_function(r, got[2], t);
		chat_leave(r, before);
	} else {
		t->kind = TOOL_HOSTED;
		rc = chat_plain(r, "type", got[0], &t->name);
	}
	return rc;
}

/* The tools of before tools. */
static int
read_old_function(struct chat_reader *r, struct json_value v)
{
	struct neutral_tool *t = neutral_add_tool(r->n, r->err);

	return t == NULL ? -1 : chat_read_function(r, v, t);
}

static int
add_allowed(struct chat_reader *r, struct json_value tool)
{
	struct neutral_request *n = r->n;
	struct json_value name = json_path(tool.raw, "function.name");

	if (name.type != JSON_STRING)
		name = json_path(tool.raw, "custom.name");
	if (n->allowed_count == NEUTRAL_TOOLS_MAX)
		return chat_bad(r, "", "holds too many tools");
	if (n->allowed == NULL && (n->allowed = arena_alloc(n->arena,
					   NEUTRAL_TOOLS_MAX * sizeof *n->allowed)) == NULL)
		return err_set(r->err, ERR_MEMORY, "no memory for allowed tools");
	if (chat_plain(r, "function.name", name, &n->allowed[n->allowed_count]) != 0)
		return -1;
	n->allowed_count++;
	return 0;
}

static int
read_allowed(struct chat_reader *r, struct json_value v)
{
	static const char *const names[] = { "mode", "tools" };
	struct json_value got[2];
	char mode[16];

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, "tool_choice.allowed_tools", "must be an object");
	wire_copy_string(got[0], mode, sizeof mode);
	if (strcmp(mode, "auto") != 0 && strcmp(mode, "required") != 0)
		return chat_bad(
			r, "tool_choice.allowed_tools.mode", "must be 'auto' or 'required'");
	r->n->choice = CHOICE_ALLOWED;
	r->n->choice_any = mode[0] == 'r';
	return chat_each(r, "tool_choice.allowed_tools.tools", got[1], add_allowed);
}

/* Also the values of function_call, which was tool_choice before there were tools. */
static int
read_choice(struct chat_reader *r, const char *member, struct json_value v)
{
	static const struct {
		const char *word;
		enum tool_choice choice;
	} words[] = { { "auto", CHOICE_AUTO }, { "none", CHOICE_NONE },
		{ "required", CHOICE_REQUIRED }, { "any", CHOICE_REQUIRED } };
	static const char *const names[] = { "function", "custom", "allowed_tools", "name",
		"type" };
	struct json_value got[5];
	char word[32];

	if (!chat_given(v))
		return 0;
	if (v.type == JSON_STRING) {
		wire_copy_string(v, word, sizeof word);
		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
			if (strcmp(word, words[i].word) == 0) {
				r->n->choice = words[i].choice;
				return 0;
			}
		return chat_bad(r, member, "must be 'auto', 'none', 'required' or an object");
	}
	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, member, "must be a string or an object");
	wire_copy_string(got[4], word, sizeof word);
	if (strcmp(word, "allowed_tools") == 0)
		return read_allowed(r, got[2]);
	r->n->choice = CHOICE_TOOL;
	for (size_t i = 0; i < 2; i++)
		if (got[i].type == JSON_OBJECT)
			got[3] = json_get(got[i].raw, "name");
	return chat_plain(r, member, got[3], &r->n->choice_name);
}

/* ---- the form of the answer ---- */

/* Of {name,description,schema,strict}. */
static int
read_schema(struct chat_reader *r, struct json_value v)
{
	static const char *const names[] = { "name", "description", "schema", "strict" };
	struct json_value got[4];
	struct neutral_request *n = r->n;

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, "", "must be an object");
	if (chat_given(got[0]) && got[0].type != JSON_STRING)
		return chat_bad(r, "name", "must be a string");
	if (chat_given(got[1]) && got[1].type != JSON_STRING)
		return chat_bad(r, "description", "must be a string");
	if (chat_given(got[2]) && got[2].type != JSON_OBJECT)
		return chat_bad(r, "schema", "must be an object");
	n->format = OUTPUT_SCHEMA;
	n->schema_name = chat_given(got[0]) ? got[0].raw : SPAN_NONE;
	n->schema_description = chat_given(got[1]) ? got[1].raw : SPAN_NONE;
	n->schema = chat_given(got[2]) ? got[2].raw : SPAN_LIT("{\"type\":\"object\"}");
	n->schema_strict = got[3].type == JSON_TRUE ? 1 : got[3].type == JSON_FALSE ? 0 : -1;
	return 0;
}

int
chat_read_format(struct chat_reader *r, const char *member, struct json_value type,
	const char *schema_at, struct json_value schema)
{
	char word[32];
	size_t before;
	int rc = 0;

	wire_copy_string(type, word, sizeof word);
	if (strcmp(word, "json_schema") == 0) {
		before = chat_at(r, "%s", schema_at);
		rc = read_schema(r, schema);
	} else {
		before = chat_at(r, "%s", member);
		if (strcmp(word, "text") == 0)
			r->n->format = OUTPUT_TEXT;
		else if (strcmp(word, "json_object") == 0)
			r->n->format = OUTPUT_JSON;
		else
			rc = chat_bad(r, "type", "must be 'text', 'json_object' or 'json_schema'");
	}
	chat_leave(r, before);
	return rc;
}

static int
read_format(struct chat_reader *r, struct json_value v)
{
	static const char *const names[] = { "type", "json_schema" };
	struct json_value got[2];

	if (!chat_given(v))
		return 0;
	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, "response_format", "must be an object");
	return chat_read_format(
		r, "response_format", got[0], "response_format.json_schema", got[1]);
}

/* ---- how long ---- */

int
chat_read_most(struct chat_reader *r, const char *name, struct json_value v)
{
	int64_t most;

	if (json_int(v, &most) != 0 || most < 1)
		return chat_bad(r, name, "must be an integer of at least 1");
	r->n->max_output = most;
	r->n->max_output_as = span_of(name);
	return 0;
}

static int
add_stop(struct chat_reader *r, struct json_value v)
{
	if (v.type != JSON_STRING)
		return chat_bad(r, "", "must be a string");
	if (text_is_empty(v.raw))
		return 0;
	if (r->n->stop_count == NEUTRAL_STOPS_MAX)
		return chat_bad(r, "", "is one stop sequence too many");
	r->n->stop[r->n->stop_count++] = v.raw;
	return 0;
}

static int
read_stop(struct chat_reader *r, struct json_value v)
{
	if (!chat_given(v))
		return 0;
	if (v.type == JSON_STRING)
		return add_stop(r, v);
	return chat_each(r, "stop", v, add_stop);
}

/* ---- reasoning ---- */

int
chat_read_effort(struct chat_reader *r, const char *member, struct json_value v)
{
	enum effort effort;
	char word[16];

	if (!chat_given(v))
		return 0;
	wire_copy_string(v, word, sizeof word);
	if ((effort = effort_named(span_of(word))) == EFFORT_UNSET)
		return chat_bad(r, member,
			"must be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'");
	r->n->reasoning_set = true;
	r->n->effort = effort;
	r->n->show_reasoning = effort != EFFORT_NONE;
	return 0;
}

/* OpenRouter's way to say it. */
static int
read_reasoning(struct chat_reader *r, struct json_value v)
{
	static const char *const names[] = { "effort", "max_tokens", "enabled", "exclude" };
	struct json_value got[4];
	struct neutral_request *n = r->n;

	if (!chat_given(v))
		return 0;
	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return chat_bad(r, "reasoning", "must be an object");
	if (chat_read_effort(r, "reasoning.effort", got[0]) != 0)
		return -1;
	if (chat_given(got[1])) {
		if (json_int(got[1], &n->budget) != 0 || n->budget < 0)
			return chat_bad(
				r, "reasoning.max_tokens", "must be an integer of at least 0");
		n->reasoning_set = n->show_reasoning = true;
	}
	if (got[2].type == JSON_FALSE) {
		n->reasoning_set = true;
		n->effort = EFFORT_NONE;
		n->budget = -1;
		n->show_reasoning = false;
	} else if (got[2].type == JSON_TRUE) {
		n->reasoning_set = n->show_reasoning = true;
		n->adaptive = n->effort == EFFORT_UNSET && n->budget < 0;
	}
	if (got[3].type == JSON_TRUE)
		n->show_reasoning = false;
	return 0;
}

/* ---- the whole ---- */

enum {
	MODEL,
	MESSAGES,
	STREAM,
	MAX_TOKENS,
	MAX_COMPLETION_TOKENS,
	STOP,
	TOOLS,
	FUNCTIONS,
	TOOL_CHOICE,
	FUNCTION_CALL,
	PARALLEL,
	RESPONSE_FORMAT,
	REASONING_EFFORT,
	REASONING,
	REQUEST_FIELDS
};
static const char *const request_fields[REQUEST_FIELDS] = { "model", "messages", "stream",
	"max_tokens", "max_completion_tokens", "stop", "tools", "functions", "tool_choice",
	"function_call", "parallel_tool_calls", "response_format", "reasoning_effort",
	"reasoning" };

int
chat_read_flag(struct chat_reader *r, const char *member, struct json_value v, bool *out)
{
	if (chat_given(v) && v.type != JSON_TRUE && v.type != JSON_FALSE)
		return chat_bad(r, member, "must be true or false");
	*out = v.type == JSON_TRUE;
	return 0;
}

int
chat_read_parallel(struct chat_reader *r, struct json_value v)
{
	bool parallel = false;

	if (chat_read_flag(r, "parallel_tool_calls", v, &parallel) != 0)
		return -1;
	if (chat_given(v))
		r->n->parallel = parallel ? 1 : 0;
	return 0;
}

int
chat_read_body(const struct request_source *from, const char *const *names, size_t count,
	struct json_value *got, struct chat_rest *rest)
{
	struct err *err = rest->r->err;

	if (text_pick(from->body, names, count, got, chat_note_rest, rest) != 0) {
		(void)err_set(err, ERR_BAD_REQUEST, "the body is no JSON object");
		return err_say(err, "The request's body must be one JSON object.");
	}
	return rest->rc;
}

int
chat_read_model(struct chat_reader *r, const struct request_source *from, struct json_value v)
{
	if (from->path_model.at != NULL) {
		r->n->model = from->path_model;
		return 0;
	}
	return chat_plain(r, "model", v, &r->n->model);
}

static int
read_fields(struct chat_reader *r, const struct json_value *got)
{
	struct neutral_request *n = r->n;

	if (chat_read_flag(r, "stream", got[STREAM], &n->stream) != 0)
		return -1;
	/* the newer name wins, whatever it says */
	if (chat_given(got[MAX_COMPLETION_TOKENS])) {
		if (chat_read_most(r, "max_completion_tokens", got[MAX_COMPLETION_TOKENS]) != 0)
			return -1;
	} else if (chat_given(got[MAX_TOKENS]) &&
		   chat_read_most(r, "max_tokens", got[MAX_TOKENS]) != 0) {
		return -1;
	}
	if (read_stop(r, got[STOP]) != 0 ||
		(chat_given(got[TOOLS]) && chat_each(r, "tools", got[TOOLS], read_tool) != 0) ||
		(chat_given(got[FUNCTIONS]) &&
			chat_each(r, "functions", got[FUNCTIONS], read_old_function) != 0) ||
		read_choice(r, "function_call", got[FUNCTION_CALL]) != 0 ||
		read_choice(r, "tool_choice", got[TOOL_CHOICE]) != 0 ||
		chat_read_parallel(r, got[PARALLEL]) != 0 ||
		read_format(r, got[RESPONSE_FORMAT]) != 0 ||
		read_reasoning(r, got[REASONING]) != 0 ||
		chat_read_effort(r, "reasoning_effort", got[REASONING_EFFORT]) != 0)
		return -1;
	return 0;
}

int
openai_chat_read_request(const struct request_source *from, struct neutral_request *n,
	struct losses *lost, struct err *err)
{
	struct chat_reader r = { .n = n, .lost = lost, .err = err };
	struct chat_rest rest = { &r, settings, sizeof settings / sizeof settings[0], 0 };
	struct json_value got[REQUEST_FIELDS];
	const struct neutral_field *options;

	if (chat_read_body(from, request_fields, REQUEST_FIELDS, got, &rest) != 0 ||
		chat_read_model(&r, from, got[MODEL]) != 0 || read_fields(&r, got) != 0 ||
		chat_read_messages(&r, got[MESSAGES]) != 0)
		return -1;
	options = neutral_peek(n, "stream_options");
	n->wants_usage =
		options != NULL && json_get(options->value.raw, "include_usage").type == JSON_TRUE;
	return 0;
}
