/*
 * converse_request.c - requests of Converse read into the neutral form.
 *
 * Whether it streams, and the model, stand in the path.
 */
#include "wire/converse-int.h"

#include "wire/effort.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

struct reading {
	struct neutral_request *n;
	struct losses *lost;
	struct err *err;
	size_t index; /* of the element under way */
	int rc;
};

/* ---- small readers ---- */

static int
fault(struct reading *r, const char *field, const char *what)
{
	if (r->rc != 0) /* the first one is told */
		return -1;
	r->rc = -1;
	(void)err_set(r->err, ERR_BAD_REQUEST, "'%s' %s", field, what);
	(void)err_say(r->err, "'%s' %s.", field, what);
	return err_field(r->err, field);
}

/* The same of an element: "%zu" stands in the field for its index. */
static int
fault_at(struct reading *r, const char *field, const char *what)
{
	char path[CONVERSE_PATH_BYTES];
	const char *mark = strstr(field, "%zu");

	(void)snprintf(
		path, sizeof path, "%.*s%zu%s", (int)(mark - field), field, r->index, mark + 3);
	return fault(r, path, what);
}

static bool
is_there(struct json_value v)
{
	return v.type != JSON_NONE && v.type != JSON_NULL;
}

static bool
is_type(struct reading *r, struct json_value v, enum json_type type, const char *field)
{
	static const char *const names[] = { [JSON_NUMBER] = "must be a number",
		[JSON_STRING] = "must be a string",
		[JSON_ARRAY] = "must be an array",
		[JSON_OBJECT] = "must be an object" };

	if (!is_there(v))
		return false;
	if (v.type == type)
		return true;
	(void)fault(r, field, names[type]);
	return false;
}

static struct span
plain(struct reading *r, struct json_value v, const char *field)
{
	struct span s;

	if (!is_type(r, v, JSON_STRING, field))
		return (struct span){ "", 0 };
	s = text_plain(r->n->arena, v);
	if (s.at == NULL)
		(void)fault(r, field, "is no text that can be read");
	return s;
}

static void
set(struct reading *r, struct json_value v, enum json_type type, const char *canonical,
	const char *field)
{
	if (is_type(r, v, type, field))
		neutral_set(r->n, canonical, span_of(field), v);
}

/* What no dialect but this has a place for; it is reported by the client's own name for it. */
static void
note_other(void *ctx, struct span key, struct json_value v)
{
	struct reading *r = ctx;

	neutral_set(r->n, "converse_other", key, v);
}

/* ---- inferenceConfig ---- */

static bool
note_stop(void *ctx, const struct json_member *m)
{
	struct reading *r = ctx;

	if (m->value.type != JSON_STRING)
		(void)fault(r, "inferenceConfig.stopSequences", "must be an array of strings");
	else if (r->n->stop_count == NEUTRAL_STOPS_MAX)
		losses_add(r->lost, SPAN_LIT("stopSequences"), true);
	else
		r->n->stop[r->n->stop_count++] = m->value.raw;
	return r->rc == 0;
}

static void
read_inference(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "maxTokens", "temperature", "topP", "stopSequences" };
	struct json_value found[4];

	if (!is_type(r, v, JSON_OBJECT, "inferenceConfig"))
		return;
	(void)text_pick(v.raw, names, 4, found, note_other, r);
	if (is_there(found[0])) {
		if (json_int(found[0], &r->n->max_output) != 0 || r->n->max_output < 1)
			(void)fault(
				r, "inferenceConfig.maxTokens", "must be a whole number above 0");
		r->n->max_output_as = SPAN_LIT("inferenceConfig.maxTokens");
	}
	set(r, found[1], JSON_NUMBER, "temperature", "inferenceConfig.temperature");
	set(r, found[2], JSON_NUMBER, "top_p", "inferenceConfig.topP");
	if (is_type(r, found[3], JSON_ARRAY, "inferenceConfig.stopSequences"))
		(void)json_each_element(found[3].raw, note_stop, r, NULL);
}

/* ---- toolConfig ---- */

static void
read_tool_spec(struct reading *r, struct json_value spec, struct span raw)
{
	static const char *const names[] = { "name", "description", "inputSchema", "strict" };
	struct json_value found[4], schema;
	struct neutral_tool *t = neutral_add_tool(r->n, r->err);

	if (t == NULL) {
		r->rc = -1;
		return;
	}
	(void)TEXT_PICK(spec.raw, names, found);
	t->kind = TOOL_FUNCTION;
	t->raw = raw;
	t->name = plain(r, found[0], "toolConfig.tools.toolSpec.name");
	if (r->rc == 0 && t->name.len == 0)
		(void)fault_at(r, "toolConfig.tools[%zu].toolSpec.name", "is missing");
	if (is_type(r, found[1], JSON_STRING, "toolConfig.tools.toolSpec.description"))
		t->description = found[1].raw;
	if (found[3].type == JSON_TRUE || found[3].type == JSON_FALSE)
		t->strict = found[3].type == JSON_TRUE;
	schema = json_get(found[2].raw, "json");
	if (schema.type == JSON_OBJECT)
		t->parameters = schema.raw;
	else if (is_there(schema))
		(void)fault_at(
			r, "toolConfig.tools[%zu].toolSpec.inputSchema.json", "must be an object");
}

static void
read_system_tool(struct reading *r, struct json_value v, struct span raw)
{
	struct neutral_tool *t = neutral_add_tool(r->n, r->err);

	if (t == NULL) {
		r->rc = -1;
		return;
	}
	t->kind = TOOL_HOSTED;
	t->raw = raw;
	t->name = plain(r, json_get(v.raw, "name"), "toolConfig.tools.systemTool.name");
}

static bool
read_tool(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "toolSpec", "systemTool", "cachePoint" };
	struct reading *r = ctx;
	struct json_value found[3];
	struct span raw = m->value.raw;

	if (TEXT_PICK(raw, names, found) != 0)
		(void)fault_at(r, "toolConfig.tools[%zu]", "must be an object");
	else if (found[0].type == JSON_OBJECT)
		read_tool_spec(r, found[0], raw);
	else if (found[1].type == JSON_OBJECT)
		read_system_tool(r, found[1], raw);
	else if (found[2].type != JSON_OBJECT)
		(void)fault_at(r, "toolConfig.tools[%zu]",
			"must hold one of toolSpec, systemTool and cachePoint");
	else if (r->n->tool_count > 0)
		r->n->tool[r->n->tool_count - 1].cache = converse_cache_point(found[2]);
	r->index++;
	return r->rc == 0;
}

static void
read_tool_choice(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "auto", "any", "tool" };
	struct json_value found[3];

	if (!is_type(r, v, JSON_OBJECT, "toolConfig.toolChoice"))
		return;
	(void)TEXT_PICK(v.raw, names, found);
	if (found[2].type == JSON_OBJECT) {
		r->n->choice = CHOICE_TOOL;
		r->n->choice_name =
			plain(r, json_get(found[2].raw, "name"), "toolConfig.toolChoice.tool.name");
		if (r->rc == 0 && r->n->choice_name.len == 0)
			(void)fault(r, "toolConfig.toolChoice.tool.name", "is missing");
	} else if (found[1].type == JSON_OBJECT) {
		r->n->choice = CHOICE_REQUIRED;
	} else if (found[0].type == JSON_OBJECT) {
		r->n->choice = CHOICE_AUTO;
	} else {
		(void)fault(r, "toolConfig.toolChoice", "must hold one of auto, any and tool");
	}
}

static void
read_tools(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "tools", "toolChoice" };
	struct json_value found[2];

	if (!is_type(r, v, JSON_OBJECT, "toolConfig"))
		return;
	(void)text_pick(v.raw, names, 2, found, note_other, r);
	r->index = 0;
	if (is_type(r, found[0], JSON_ARRAY, "toolConfig.tools"))
		(void)json_each_element(found[0].raw, read_tool, r, NULL);
	if (r->rc == 0)
		read_tool_choice(r, found[1]);
}

/* ---- how much to reason ---- */

static void
read_effort(struct reading *r, struct json_value v, const char *field)
{
	struct span word = plain(r, v, field);

	if (word.len == 0)
		return;
	r->n->effort = effort_named(word);
	r->n->reasoning_set = r->n->effort != EFFORT_UNSET;
	if (!r->n->reasoning_set)
		neutral_set(r->n, "converse_other", span_of(field), v);
}

/* Claude's own member. */
static void
read_thinking(struct reading *r, struct json_value v)
{
	static const char field[] = "additionalModelRequestFields.thinking";
	static const char *const names[] = { "type", "budget_tokens", "display" };
	struct json_value found[3];
	struct span type;

	if (!is_type(r, v, JSON_OBJECT, field))
		return;
	(void)TEXT_PICK(v.raw, names, found);
	type = text_inside(found[0].raw);
	if (span_is(type, "disabled")) {
		r->n->effort = EFFORT_NONE;
	} else if (span_is(type, "adaptive")) {
		r->n->adaptive = true;
	} else if (!span_is(type, "enabled")) {
		neutral_set(r->n, "converse_other",
			SPAN_LIT("additionalModelRequestFields.thinking"), v);
		return;
	} else if (json_int(found[1], &r->n->budget) != 0 || r->n->budget < 1) {
		(void)fault(r, "additionalModelRequestFields.thinking.budget_tokens",
			"must be a whole number above 0");
		return;
	}
	r->n->reasoning_set = true;
	r->n->show_reasoning =
		!span_is(type, "disabled") && !span_is(text_inside(found[2].raw), "omitted");
}

static bool
note_beta(void *ctx, const struct json_member *m)
{
	if (m->value.type == JSON_STRING)
		return true;
	(void)fault(
		ctx, "additionalModelRequestFields.anthropic_beta", "must be an array of strings");
	return false;
}

static void
read_model_fields(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "top_k", "thinking", "anthropic_beta",
		"reasoning_effort", "output_config" };
	struct json_value found[5];
	int64_t top_k;

	if (!is_type(r, v, JSON_OBJECT, "additionalModelRequestFields"))
		return;
	(void)text_pick(v.raw, names, 5, found, note_other, r);
	if (is_there(found[0]) && json_int(found[0], &top_k) != 0)
		(void)fault(r, "additionalModelRequestFields.top_k", "must be a whole number");
	set(r, found[0], JSON_NUMBER, "top_k", "additionalModelRequestFields.top_k");
	read_thinking(r, found[1]);
	set(r, found[2], JSON_ARRAY, "anthropic_beta",
		"additionalModelRequestFields.anthropic_beta");
	if (found[2].type == JSON_ARRAY)
		(void)json_each_element(found[2].raw, note_beta, r, NULL);
	read_effort(r, found[3], "additionalModelRequestFields.reasoning_effort");
	if (found[4].type == JSON_OBJECT)
		read_effort(r, json_get(found[4].raw, "effort"),
			"additionalModelRequestFields.output_config.effort");
}

/* ---- outputConfig ---- */

static bool
is_object(struct span json)
{
	while (json.len > 0 && strchr(" \t\r\n", json.at[0]) != NULL)
		json.at++, json.len--;
	return json.len > 0 && json.at[0] == '{' && json_valid(json);
}

static void
read_schema(struct reading *r, struct json_value v)
{
	static const char field[] = "outputConfig.textFormat.structure.jsonSchema.schema";
	static const char *const names[] = { "schema", "name", "description" };
	struct json_value found[3];

	(void)TEXT_PICK(v.raw, names, found);
	r->n->schema = plain(r, found[0], field);
	if (!is_object(r->n->schema))
		(void)fault(r, field, "must be a JSON object, written as a string");
	r->n->format = OUTPUT_SCHEMA;
	if (found[1].type == JSON_STRING)
		r->n->schema_name = found[1].raw;
	if (found[2].type == JSON_STRING)
		r->n->schema_description = found[2].raw;
}

static void
read_output(struct reading *r, struct json_value v)
{
	static const char *const names[] = { "textFormat", "effort" };
	struct json_value found[2], schema;

	if (!is_type(r, v, JSON_OBJECT, "outputConfig"))
		return;
	(void)text_pick(v.raw, names, 2, found, note_other, r);
	read_effort(r, found[1], "outputConfig.effort");
	if (!is_type(r, found[0], JSON_OBJECT, "outputConfig.textFormat"))
		return;
	schema = json_path(found[0].raw, "structure.jsonSchema");
	if (schema.type == JSON_OBJECT)
		read_schema(r, schema);
	else
		(void)fault(r, "outputConfig.textFormat", "must hold structure.jsonSchema");
}

/* ---- system and messages ---- */

static void
add_system(struct reading *r, struct json_value text)
{
	struct neutral_part *p = neutral_add_system(r->n, r->err);

	if (p == NULL)
		r->rc = -1;
	else
		p->text = text.raw;
}

static bool
read_system_block(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "text", "cachePoint", "guardContent" };
	struct reading *r = ctx;
	struct json_value found[3], guarded;

	if (TEXT_PICK(m->value.raw, names, found) != 0)
		(void)fault_at(r, "system[%zu]", "must be an object");
	else if (found[0].type == JSON_STRING)
		add_system(r, found[0]);
	else if (found[1].type == JSON_OBJECT && r->n->system_count > 0)
		r->n->system[r->n->system_count - 1].cache = converse_cache_point(found[1]);
	else if (found[2].type == JSON_OBJECT) {
		losses_add(r->lost, SPAN_LIT("guardContent"), true);
		guarded = json_path(found[2].raw, "text.text");
		if (guarded.type == JSON_STRING)
			add_system(r, guarded);
	} else if (found[1].type != JSON_OBJECT)
		(void)fault_at(r, "system[%zu]", "must hold a text");
	r->index++;
	return r->rc == 0;
}

static void
read_content(struct reading *r, enum neutral_role role, struct json_value content)
{
	struct converse_blocks b = {
		.arena = r->n->arena, .request = r->n, .role = role, .lost = r->lost, .err = r->err
	};

	(void)snprintf(b.path, sizeof b.path, "messages[%zu].content", r->index);
	(void)json_each_element(content.raw, converse_read_block, &b, NULL);
	if (b.rc != 0)
		r->rc = -1;
}

static bool
read_message(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "role", "content" };
	struct reading *r = ctx;
	struct json_value found[2];
	struct span role;
	size_t index = r->index;

	if (TEXT_PICK(m->value.raw, names, found) != 0)
		return fault_at(r, "messages[%zu]", "must be an object") == 0;
	if (found[1].type != JSON_ARRAY)
		return fault_at(r, "messages[%zu].content", "must be an array") == 0;
	role = text_inside(found[0].raw);
	if (span_is(role, "user"))
		read_content(r, ROLE_USER, found[1]);
	else if (span_is(role, "assistant"))
		read_content(r, ROLE_ASSISTANT, found[1]);
	else if (span_is(role, "system"))
		(void)json_each_element(found[1].raw, read_system_block, r, NULL);
	else
		(void)fault_at(r, "messages[%zu].role", "must be user, assistant or system");
	r->index = index + 1;
	return r->rc == 0;
}

/* ---- all of it ---- */

/* Members that are passed down as they are: no writer of another dialect knows them. */
static void
read_own(struct reading *r, const struct json_value found[], size_t count)
{
	static const struct {
		const char *canonical, *name;
		enum json_type type;
	} own[] = {
		{ "guardrail_config", "guardrailConfig", JSON_OBJECT },
		{ "prompt", "promptVariables", JSON_OBJECT },
		{ "request_metadata", "requestMetadata", JSON_OBJECT },
		{ "performance_config", "performanceConfig", JSON_OBJECT },
		{ "response_field_paths", "additionalModelResponseFieldPaths", JSON_ARRAY },
	};

	for (size_t i = 0; i < count && i < sizeof own / sizeof own[0]; i++)
		set(r, found[i], own[i].type, own[i].canonical, own[i].name);
}

static void
read_tier(struct reading *r, struct json_value v)
{
	struct json_value type;

	if (!is_type(r, v, JSON_OBJECT, "serviceTier"))
		return;
	type = json_get(v.raw, "type");
	if (type.type == JSON_STRING)
		neutral_set(r->n, "service_tier", SPAN_LIT("serviceTier"), type);
}

int
converse_read_request(const struct request_source *from, struct neutral_request *n,
	struct losses *lost, struct err *err)
{
	static const char *const names[] = { "system", "messages", "inferenceConfig", "toolConfig",
		"additionalModelRequestFields", "outputConfig", "serviceTier", "guardrailConfig",
		"promptVariables", "requestMetadata", "performanceConfig",
		"additionalModelResponseFieldPaths" };
	struct json_value found[12];
	struct reading r = { .n = n, .lost = lost, .err = err };

	n->model = from->path_model;
	n->stream = from->path_stream;
	n->wants_usage = true;
	if (text_pick(from->body, names, 12, found, note_other, &r) != 0) {
		(void)err_set(err, ERR_BAD_REQUEST, "the body is no JSON object");
		return err_say(err, "The request's body is no valid JSON object.");
	}
	if (is_type(&r, found[0], JSON_ARRAY, "system"))
		(void)json_each_element(found[0].raw, read_system_block, &r, NULL);
	r.index = 0;
	if (r.rc == 0 && is_type(&r, found[1], JSON_ARRAY, "messages"))
		(void)json_each_element(found[1].raw, read_message, &r, NULL);
	if (r.rc == 0)
		read_inference(&r, found[2]);
	if (r.rc == 0)
		read_tools(&r, found[3]);
	if (r.rc == 0)
		read_model_fields(&r, found[4]);
	if (r.rc == 0)
		read_output(&r, found[5]);
	if (r.rc == 0)
		read_tier(&r, found[6]);
	if (r.rc == 0)
		read_own(&r, found + 7, 5);
	return r.rc;
}
