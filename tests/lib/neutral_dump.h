/*
 * neutral_dump.h - the neutral form as text, one line a thing, for tests and fuzz targets to compare.
 *
 * Only what is set is shown.  JSON stands as it is, plain text as a JSON string.
 */
#ifndef TESTS_NEUTRAL_DUMP_H
#define TESTS_NEUTRAL_DUMP_H

#include "wire/neutral.h"

#define DUMPS static inline void __attribute__((unused))

DUMPS
dump_json(struct bytes *to, const char *name, struct span json)
{
	if (json.at == NULL)
		return;
	(void)bytes_printf(to, " %s=", name);
	(void)bytes_add(to, json.at, json.len);
}

DUMPS
dump_plain(struct bytes *to, const char *name, struct span plain)
{
	if (plain.len == 0)
		return;
	(void)bytes_printf(to, " %s=", name);
	(void)bytes_json(to, plain);
}

DUMPS
dump_number(struct bytes *to, const char *name, int64_t n, int64_t unset)
{
	if (n != unset)
		(void)bytes_printf(to, " %s=%lld", name, (long long)n);
}

DUMPS
dump_part(struct bytes *to, const struct neutral_part *p)
{
	(void)bytes_puts(to, part_name(p->kind));
	dump_json(to, "text", p->text);
	dump_plain(to, "id", p->call_id);
	dump_plain(to, "name", p->name);
	dump_json(to, "input", p->input);
	dump_json(to, "arguments", p->arguments);
	dump_number(to, "custom", p->is_custom, 0);
	dump_number(to, "error", p->is_error, 0);
	dump_json(to, "result", p->result);
	dump_plain(to, "mime", p->mime);
	dump_plain(to, "data", p->data);
	dump_plain(to, "url", p->url);
	dump_plain(to, "file", p->file_id);
	dump_plain(to, "title", p->title);
	dump_plain(to, "signature", p->signature);
	dump_number(to, "signer", p->signer, 0);
	dump_number(to, "cache", p->cache, 0);
	(void)bytes_puts(to, "\n");
	for (size_t i = 0; i < p->content_count; i++) {
		(void)bytes_puts(to, "    ");
		dump_part(to, &p->content[i]);
	}
}

DUMPS
dump_tools(struct bytes *to, const struct neutral_request *n)
{
	static const char *const choices[] = { "", "auto", "required", "none", "tool", "allowed" };

	for (size_t i = 0; i < n->tool_count; i++) {
		const struct neutral_tool *t = &n->tool[i];

		(void)bytes_printf(to, "tool %d", (int)t->kind);
		dump_plain(to, "name", t->name);
		dump_json(to, "description", t->description);
		dump_json(to, "parameters", t->parameters);
		dump_number(to, "strict", t->strict, -1);
		dump_number(to, "cache", t->cache, 0);
		(void)bytes_puts(to, "\n");
	}
	if (n->choice != CHOICE_UNSET) {
		(void)bytes_printf(to, "choice %s", choices[n->choice]);
		dump_plain(to, "name", n->choice_name);
		dump_number(to, "any", n->choice_any, 0);
		for (size_t i = 0; i < n->allowed_count; i++)
			dump_plain(to, "allowed", n->allowed[i]);
		(void)bytes_puts(to, "\n");
	}
	if (n->parallel >= 0)
		(void)bytes_printf(to, "parallel %d\n", n->parallel);
}

DUMPS
dump_settings(struct bytes *to, const struct neutral_request *n)
{
	if (n->max_output >= 0)
		(void)bytes_printf(to, "max %lld\n", (long long)n->max_output);
	for (size_t i = 0; i < n->stop_count; i++) {
		dump_json(to, "stop", n->stop[i]);
		(void)bytes_puts(to, "\n");
	}
	if (n->format != OUTPUT_UNSET) {
		(void)bytes_printf(to, "format %d", (int)n->format);
		dump_json(to, "schema", n->schema);
		dump_json(to, "name", n->schema_name);
		dump_json(to, "description", n->schema_description);
		dump_number(to, "strict", n->schema_strict, -1);
		(void)bytes_puts(to, "\n");
	}
	if (n->reasoning_set) {
		(void)bytes_puts(to, "reasoning");
		dump_number(to, "effort", n->effort, EFFORT_UNSET);
		dump_number(to, "budget", n->budget, -1);
		dump_number(to, "adaptive", n->adaptive, 0);
		dump_number(to, "show", n->show_reasoning, 0);
		(void)bytes_puts(to, "\n");
	}
	for (size_t i = 0; i < n->field_count; i++) {
		(void)bytes_printf(to, "field %s", n->field[i].canonical);
		dump_json(to, "value", n->field[i].value.raw);
		(void)bytes_puts(to, "\n");
	}
}

DUMPS
dump_request(struct bytes *to, const struct neutral_request *n)
{
	for (size_t i = 0; i < n->system_count; i++) {
		(void)bytes_puts(to, "system ");
		dump_part(to, &n->system[i]);
	}
	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++) {
			(void)bytes_puts(
				to, n->message[m].role == ROLE_USER ? "user " : "assistant ");
			dump_part(to, &n->message[m].part[i]);
		}
	dump_tools(to, n);
	dump_settings(to, n);
}

DUMPS
dump_usage(struct bytes *to, const struct wire_usage *u)
{
	(void)bytes_puts(to, "usage");
	dump_number(to, "input", u->input, -1);
	dump_number(to, "read", u->cache_read, -1);
	dump_number(to, "write", u->cache_write, -1);
	dump_number(to, "write_1h", u->cache_write_1h, -1);
	dump_number(to, "output", u->output, -1);
	dump_number(to, "reasoning", u->reasoning, -1);
	dump_plain(to, "tier", span_of(u->tier));
	(void)bytes_puts(to, "\n");
}

static const char *const dump_finishes[FINISH__COUNT] = { "none", "stop", "stop sequence", "length",
	"context", "tool calls", "filter", "pause", "malformed" };

DUMPS
dump_reply(struct bytes *to, const struct neutral_reply *r)
{
	dump_plain(to, "id", r->id);
	dump_plain(to, "model", r->model);
	for (size_t c = 0; c < r->choice_count; c++) {
		for (size_t i = 0; i < r->choice[c].count; i++)
			dump_part(to, &r->choice[c].part[i]);
		(void)bytes_printf(to, "finish %s", dump_finishes[r->choice[c].finish]);
		dump_json(to, "sequence", r->choice[c].stop_sequence);
		(void)bytes_puts(to, "\n");
	}
	if (r->usage.seen)
		dump_usage(to, &r->usage);
}

/* "part", "delta" and "end" of a part; finish; usage; over; error. */
DUMPS
dump_event(struct bytes *to, const struct neutral_event *e)
{
	if (e->choice > 0)
		(void)bytes_printf(to, "%d: ", e->choice);
	switch (e->kind) {
	case EVENT_START:
		(void)bytes_puts(to, "start");
		dump_plain(to, "id", e->id);
		dump_plain(to, "model", e->model);
		(void)bytes_puts(to, "\n");
		break;
	case EVENT_PART:
		(void)bytes_puts(to, "part ");
		dump_part(to, &e->part);
		break;
	case EVENT_DELTA:
		(void)bytes_puts(to, "delta");
		dump_json(to, "text", e->text);
		dump_plain(to, "signature", e->signature);
		(void)bytes_puts(to, "\n");
		break;
	case EVENT_PART_END:
		(void)bytes_puts(to, "end\n");
		break;
	case EVENT_FINISH:
		(void)bytes_printf(to, "finish %s", dump_finishes[e->finish]);
		dump_json(to, "sequence", e->stop_sequence);
		(void)bytes_puts(to, "\n");
		break;
	case EVENT_USAGE:
		dump_usage(to, &e->usage);
		break;
	case EVENT_PING:
		(void)bytes_puts(to, "ping\n");
		break;
	case EVENT_ERROR:
		(void)bytes_printf(
			to, "error %s: %s\n", err_name(e->err->code), err_public(e->err));
		break;
	case EVENT_END:
		(void)bytes_puts(to, "over\n");
		break;
	}
}

#endif
