/*
 * openai_write.c - what requests of OpenAI's two dialects are alike in.
 */
#include "wire/openai_write-int.h"

#include "wire/effort.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

#define NAME_MOST       64 /* of a function */
#define USER_BYTES_MOST 64 /* of `user` and `safety_identifier` */

int
chat_refuse(struct err *err, const char *field, const char *says)
{
	(void)err_set(err, ERR_UNSUPPORTED, "%s: %s", field, says);
	(void)err_say(err, "%s", says);
	return err_field(err, field);
}

int
chat_refuse_hosted(struct err *err, const struct neutral_tool *t)
{
	char says[200], name[64];

	(void)span_copy(t->name, name, sizeof name);
	(void)snprintf(says, sizeof says,
		"The tool '%s' runs at another provider alone; leave it out, or name a model of "
		"that provider.",
		name);
	return chat_refuse(err, "tools", says);
}

/* ---- the whole ---- */

int
chat_open_request(struct json_out *o, struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct err *err)
{
	static const struct name_rule names = { NAME_MOST, "_-", false };

	if (names_fit(n, &names, &made->renamed) != 0)
		return err_set(err, ERR_MEMORY, "no memory for the names of tools");
	out_open(o, NULL, '{');
	out_text(o, "model", to->model != NULL ? span_of(to->model) : n->model);
	return 0;
}

int
chat_close_request(struct json_out *o, struct err *err)
{
	out_close(o, '}');
	return o->to->failed ? err_set(err, ERR_MEMORY, "no memory for a request") : 0;
}

/* ---- what is said ---- */

int
chat_join_system(const struct neutral_request *n, struct span *all, struct err *err)
{
	struct span *texts = arena_alloc(n->arena, n->system_count * sizeof *texts);

	if (texts == NULL)
		return err_set(err, ERR_MEMORY, "no memory to join system texts");
	for (size_t i = 0; i < n->system_count; i++)
		texts[i] = n->system[i].text;
	*all = text_joined(n->arena, texts, n->system_count, "\\n\\n");
	return all->at != NULL ? 0 : err_set(err, ERR_MEMORY, "no memory to join system texts");
}

int
chat_put_arguments(struct json_out *o, const struct neutral_request *n,
	const struct neutral_part *p, struct err *err)
{
	struct span input;

	if (p->arguments.at != NULL) {
		out_json(o, p->is_custom ? "input" : "arguments", p->arguments);
		return 0;
	}
	input = text_compact(n->arena, p->input);
	if (input.at == NULL)
		return err_set(err, ERR_MEMORY, "no memory for a tool call");
	out_string_begin(o, "arguments");
	out_string_plain(o, input);
	out_string_end(o);
	return 0;
}

/* ---- tools, the form of the answer, reasoning ---- */

const char *
chat_tool_type(const struct neutral_request *n, struct span name)
{
	for (size_t i = 0; i < n->tool_count; i++)
		if (n->tool[i].kind == TOOL_CUSTOM && n->tool[i].name.len == name.len &&
			memcmp(n->tool[i].name.at, name.at, name.len) == 0)
			return "custom";
	return "function";
}

void
chat_put_schema(struct json_out *o, const struct neutral_request *n)
{
	out_json(
		o, "name", text_is_empty(n->schema_name) ? SPAN_LIT("\"answer\"") : n->schema_name);
	out_json(o, "description", n->schema_description);
	out_json(o, "schema", n->schema);
	if (n->schema_strict >= 0)
		out_bool(o, "strict", n->schema_strict == 1);
}

enum effort
chat_effort(const struct neutral_request *n)
{
	if (n->effort != EFFORT_UNSET)
		return n->effort;
	if (n->budget >= 0)
		return effort_of_budget(n->budget);
	return n->adaptive ? EFFORT_MEDIUM : EFFORT_UNSET;
}

/* ---- settings ---- */

bool
chat_takes_sampling(const char *model, const struct neutral_request *n)
{
	const char *name = model == NULL ? "" : model, *slash = strrchr(name, '/');

	if (slash != NULL)
		name = slash + 1;
	if (n->effort == EFFORT_NONE || strstr(name, "chat") != NULL)
		return true;
	return !(name[0] == 'o' && name[1] >= '1' && name[1] <= '9') &&
	       strncmp(name, "gpt-5", 5) != 0;
}

void
chat_put_field(struct json_out *o, struct neutral_request *n, const char *name)
{
	const struct neutral_field *f = neutral_take(n, name);

	if (f != NULL && f->value.type > JSON_NULL)
		out_json(o, name, f->value.raw);
}

void
chat_put_user(struct json_out *o, struct neutral_request *n, const char *name)
{
	const struct neutral_field *f = neutral_take(n, name);
	struct span plain;

	if (f == NULL || f->value.type != JSON_STRING)
		return;
	plain = text_plain(n->arena, f->value);
	if (plain.len > USER_BYTES_MOST)
		out_text(o, name, text_clean_id(n->arena, plain));
	else
		out_json(o, name, f->value.raw);
}

void
chat_put_tier(struct json_out *o, struct neutral_request *n)
{
	static const char *const tiers[] = { "auto", "default", "flex", "scale", "priority" };
	const struct neutral_field *f = neutral_peek(n, "service_tier");
	char tier[16];

	if (f == NULL)
		return;
	wire_copy_string(f->value, tier, sizeof tier);
	for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++)
		if (strcmp(tier, tiers[i]) == 0)
			out_json(o, "service_tier", neutral_take(n, "service_tier")->value.raw);
}
