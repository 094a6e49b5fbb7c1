/*
 * skim.c - one table for each format: where the members that matter stand.
 */
#include "wire/skim.h"

#include "base/base64.h"
#include "wire/weigh.h"
#include "wire/wire-int.h"
#include <string.h>

#define CHOICES_MOST 1000000
#define NAMES_MOST   4

/* Paths of members ("generationConfig.maxOutputTokens"), in both spellings where there are two. */
struct skim_members {
	const char *max_output[NAMES_MOST], *choices[NAMES_MOST], *end_user[NAMES_MOST];
	const char *texts[NAMES_MOST];   /* weighed as text */
	const char *schemas[NAMES_MOST]; /* weighed by their length: names and punctuation too */
	bool model_in_body;              /* and whether it streams */
};
static const struct skim_members anthropic = { .max_output = { "max_tokens" },
	.end_user = { "metadata.user_id" },
	.texts = { "messages", "system" },
	.schemas = { "tools", "output_config" },
	.model_in_body = true };
static const struct skim_members invoke = { .max_output = { "max_tokens" },
	.end_user = { "metadata.user_id" },
	.texts = { "messages", "system" },
	.schemas = { "tools", "output_config" } };
static const struct skim_members gemini = { .max_output = { "generationConfig.maxOutputTokens",
						    "generation_config.max_output_tokens" },
	.choices = { "generationConfig.candidateCount", "generation_config.candidate_count" },
	.texts = { "contents", "systemInstruction", "system_instruction" },
	.schemas = { "tools" } };
static const struct skim_members converse = { .max_output = { "inferenceConfig.maxTokens" },
	.texts = { "messages", "system" },
	.schemas = { "toolConfig", "outputConfig" } };

static const struct skim_members *
members_of(const struct format *f)
{
	if (f == format_of(FORMAT_ANTHROPIC))
		return &anthropic;
	if (f == format_of(FORMAT_GEMINI))
		return &gemini;
	return f == format_of(FORMAT_CONVERSE) ? &converse : &invoke;
}

static int
refuse(struct err *err, const char *field, const char *says)
{
	(void)err_set(err, ERR_BAD_REQUEST, "%s", says);
	(void)err_say(err, "%s", says);
	return err_field(err, field);
}

/* The body's own members, picked in one walk, as it may be large. */
static const char *const tops[] = { "model", "stream", "max_tokens", "metadata", "messages",
	"system", "tools", "output_config", "generationConfig", "generation_config", "contents",
	"systemInstruction", "system_instruction", "inferenceConfig", "toolConfig",
	"outputConfig" };
#define TOPS (sizeof tops / sizeof tops[0])

/* A member by its path. */
static struct json_value
member(const struct json_value found[TOPS], const char *path)
{
	size_t len = strcspn(path, ".");

	for (size_t i = 0; i < TOPS; i++) {
		if (strlen(tops[i]) != len || memcmp(tops[i], path, len) != 0)
			continue;
		return path[len] == '\0' ? found[i] : json_path(found[i].raw, path + len + 1);
	}
	return (struct json_value){ .type = JSON_NONE };
}

/* The first of these members that is there. */
static struct json_value
first_of(const struct json_value found[TOPS], const char *const names[NAMES_MOST])
{
	struct json_value v = { .type = JSON_NONE };

	for (size_t i = 0; i < NAMES_MOST && names[i] != NULL && v.type == JSON_NONE; i++)
		v = member(found, names[i]);
	return v;
}

static int64_t
count_at(const struct json_value found[TOPS], const char *const names[NAMES_MOST], int64_t fallback)
{
	int64_t n;

	return json_int(first_of(found, names), &n) == 0 && n >= 0 ? n : fallback;
}

static bool
is_name(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F)
			return false;
	return len > 0;
}

static int
read_body_model(const struct json_value found[TOPS], struct openai_request *out, struct err *err)
{
	struct json_value model = member(found, "model"), stream = member(found, "stream");
	ptrdiff_t len;

	if (model.type == JSON_NONE || model.type == JSON_NULL)
		return refuse(err, "model",
			"The member 'model' is missing; say which model is to answer.");
	len = json_string(model, out->model, sizeof out->model);
	if (len < 0 || !is_name(out->model, (size_t)len)) {
		out->model[0] = '\0';
		return refuse(err, "model", "The member 'model' must be a name of 1 to 127 bytes.");
	}
	if (stream.type > JSON_TRUE)
		return refuse(err, "stream", "The member 'stream' must be true or false.");
	out->model_value = model;
	out->stream = stream.type == JSON_TRUE;
	return 0;
}

static int
read_path_model(const struct request_source *source, struct openai_request *out, struct err *err)
{
	if (!is_name(source->path_model.at, source->path_model.len) ||
		!span_copy(source->path_model, out->model, sizeof out->model)) {
		out->model[0] = '\0';
		return refuse(err, "model", "The path must name a model of 1 to 127 bytes.");
	}
	out->stream = source->path_stream;
	return 0;
}

static int64_t
estimate(const struct json_value found[TOPS], const struct skim_members *m)
{
	struct weight w = { 0 };

	for (size_t i = 0; i < NAMES_MOST && m->texts[i] != NULL; i++)
		weigh(member(found, m->texts[i]).raw, &w);
	for (size_t i = 0; i < NAMES_MOST && m->schemas[i] != NULL; i++)
		w.text_bytes += (int64_t)member(found, m->schemas[i]).raw.len;
	return weight_tokens(&w);
}

int
skim_request(const struct format *f, const struct request_source *source, const char *endpoint,
	struct openai_request *out, struct err *err)
{
	struct json_value found[TOPS];
	const struct skim_members *m;
	int rc;

	if (f->dialect == DIALECT_OPENAI)
		return openai_skim_named(source->body, endpoint, source->path_model, out, err);
	*out = (struct openai_request){ .max_output = -1, .choices = 1, .wants_usage = true };
	if (TEXT_PICK(source->body, tops, found) != 0)
		return refuse(err, "", "The body is no JSON object.");
	m = members_of(f);
	rc = m->model_in_body ? read_body_model(found, out, err)
			      : read_path_model(source, out, err);
	if (rc != 0)
		return -1;
	out->max_output = count_at(found, m->max_output, -1);
	out->choices = count_at(found, m->choices, 1);
	if (out->choices < 1 || out->choices > CHOICES_MOST)
		out->choices = out->choices < 1 ? 1 : CHOICES_MOST;
	wire_copy_string(first_of(found, m->end_user), out->end_user, sizeof out->end_user);
	out->input_estimate = estimate(found, m);
	return 0;
}

/* ---- counting ---- */

/* {"input": {"converse": {…}}}, or {"input": {"invokeModel": {"body": base64 of a request}}}. */
static struct span
counted_by_bedrock(struct arena *a, const struct format **f, struct span body)
{
	struct json_value it = json_path(body, "input.converse");
	struct bytes room = BYTES_LIMIT(body.len + 1);
	const char *copy = NULL;

	if (it.type == JSON_OBJECT)
		return it.raw;
	it = json_path(body, "input.invokeModel.body");
	if (it.type != JSON_STRING)
		return body;
	if (base64_decode(&room, text_inside(it.raw)) == 0)
		copy = arena_strndup(a, room.at, room.len);
	*f = format_of(FORMAT_BEDROCK_INVOKE);
	it.raw = copy == NULL ? body : (struct span){ copy, room.len };
	bytes_free(&room);
	return it.raw;
}

struct span
skim_counted(struct arena *a, const struct format **f, struct span body)
{
	struct json_value whole;

	if (*f == format_of(FORMAT_CONVERSE))
		return counted_by_bedrock(a, f, body);
	if (*f != format_of(FORMAT_GEMINI))
		return body;
	whole = json_get(body, "generateContentRequest");
	if (whole.type == JSON_NONE)
		whole = json_get(body, "generate_content_request");
	return whole.type == JSON_OBJECT ? whole.raw : body;
}
