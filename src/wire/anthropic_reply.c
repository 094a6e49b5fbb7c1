/*
 * anthropic_reply.c - a whole answer of Anthropic's messages read and written; and what is the same in
 * streams: reasons to stop, usage, errors.
 */
#include "wire/anthropic-int.h"
#include "wire/anthropic.h"

#include "wire/wire-int.h"
#include <string.h>

/* ---- why it stopped (table 5) ---- */

static const struct {
	const char *name;
	enum finish finish;
} reasons[] = { /* the first of a finish is what is written */
	{ "end_turn", FINISH_STOP }, { "stop_sequence", FINISH_STOP_SEQUENCE },
	{ "max_tokens", FINISH_LENGTH }, { "compaction", FINISH_LENGTH },
	{ "model_context_window_exceeded", FINISH_CONTEXT }, { "tool_use", FINISH_TOOL_CALLS },
	{ "refusal", FINISH_FILTER }, { "pause_turn", FINISH_PAUSE }
};

enum finish
anthropic_finish(struct json_value stop_reason)
{
	char name[64];

	if (json_string(stop_reason, name, sizeof name) <= 0)
		return FINISH_NONE;
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (strcmp(name, reasons[i].name) == 0)
			return reasons[i].finish;
	return FINISH_STOP; /* a reason that came up later */
}

const char *
anthropic_stop_reason(enum finish f)
{
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].finish == f)
			return reasons[i].name;
	return "end_turn";
}

/* ---- usage (usage-and-limits.md, section 1) ---- */

static void
take_count(struct json_value v, int64_t *out)
{
	int64_t n;

	if (v.type == JSON_NUMBER && json_int(v, &n) == 0)
		*out = n < 0 ? 0 : n > WIRE_TOKENS_MAX ? WIRE_TOKENS_MAX : n;
}

void
anthropic_take_usage(struct span object, struct wire_usage *out)
{
	static const char *const names[] = { "input_tokens", "cache_read_input_tokens",
		"cache_creation_input_tokens", "output_tokens", "cache_creation",
		"output_tokens_details", "service_tier" };
	struct json_value v[7];
	int64_t five = -1;

	if (TEXT_PICK(object, names, v) != 0)
		return;
	for (size_t i = 0; i < 4; i++)
		out->seen = out->seen || v[i].type == JSON_NUMBER;
	take_count(v[0], &out->input);
	take_count(v[1], &out->cache_read);
	take_count(v[2], &out->cache_write);
	take_count(v[3], &out->output);
	if (v[4].type == JSON_OBJECT) {
		take_count(json_get(v[4].raw, "ephemeral_1h_input_tokens"), &out->cache_write_1h);
		take_count(json_get(v[4].raw, "ephemeral_5m_input_tokens"), &five);
		if (v[2].type != JSON_NUMBER && (five >= 0 || out->cache_write_1h >= 0))
			out->cache_write = usage_or_zero(five) + usage_or_zero(out->cache_write_1h);
	}
	if (out->cache_write_1h > usage_or_zero(out->cache_write))
		out->cache_write_1h = usage_or_zero(out->cache_write);
	if (v[5].type == JSON_OBJECT)
		take_count(json_get(v[5].raw, "thinking_tokens"), &out->reasoning);
	if (out->reasoning > out->output && out->output >= 0)
		out->reasoning = out->output;
	wire_take_tier(v[6], out);
}

/* Bedrock's own figures, where an answer had none of Anthropic's. */
static void
take_metrics(struct span object, struct wire_usage *out)
{
	static const char *const names[] = { "inputTokenCount", "outputTokenCount",
		"cacheReadInputTokenCount", "cacheWriteInputTokenCount" };
	struct json_value v[4];

	if (TEXT_PICK(object, names, v) != 0)
		return;
	if (out->input < 0)
		take_count(v[0], &out->input);
	if (out->output < 0)
		take_count(v[1], &out->output);
	if (out->cache_read < 0)
		take_count(v[2], &out->cache_read);
	if (out->cache_write < 0)
		take_count(v[3], &out->cache_write);
	out->seen = out->seen || out->input >= 0 || out->output >= 0;
}

void
anthropic_usage(struct span json, struct wire_usage *out)
{
	static const char *const names[] = { "usage", "message", ANTHROPIC_METRICS };
	struct json_value v[3];

	if (TEXT_PICK(json, names, v) != 0)
		return;
	if (v[1].type == JSON_OBJECT) {
		struct json_value first = json_get(v[1].raw, "usage");

		if (first.type == JSON_OBJECT)
			anthropic_take_usage(first.raw, out);
	}
	if (v[0].type == JSON_OBJECT)
		anthropic_take_usage(v[0].raw, out);
	if (v[2].type == JSON_OBJECT)
		take_metrics(v[2].raw, out);
}

void
anthropic_put_usage(struct json_out *o, const char *key, const struct wire_usage *u)
{
	int64_t write = usage_or_zero(u->cache_write);

	out_open(o, key, '{');
	out_int(o, "input_tokens", usage_or_zero(u->input));
	out_int(o, "cache_creation_input_tokens", write);
	out_int(o, "cache_read_input_tokens", usage_or_zero(u->cache_read));
	if (u->cache_write_1h >= 0) {
		out_open(o, "cache_creation", '{');
		out_int(o, "ephemeral_5m_input_tokens", write - u->cache_write_1h);
		out_int(o, "ephemeral_1h_input_tokens", u->cache_write_1h);
		out_close(o, '}');
	}
	out_int(o, "output_tokens", usage_or_zero(u->output));
	if (u->reasoning >= 0) {
		out_open(o, "output_tokens_details", '{');
		out_int(o, "thinking_tokens", u->reasoning);
		out_close(o, '}');
	}
	out_close(o, '}');
}

/* ---- a whole answer, read ---- */

struct reading {
	struct neutral_reply *r;
	struct err *err;
	bool calls, failed;
};

static struct neutral_part *
add(struct reading *g, enum part_kind kind)
{
	struct neutral_part *p = neutral_reply_add(g->r, 0, kind, g->err);

	if (p == NULL)
		g->failed = true;
	return p;
}

static void
read_call(struct reading *g, const struct json_value *b)
{
	struct span name = text_plain(g->r->arena, b[BLOCK_NAME]);
	struct span id = text_plain(g->r->arena, b[BLOCK_ID]);
	struct neutral_part *p;

	if (name.len == 0)
		return;
	p = add(g, PART_TOOL_CALL);
	if (p == NULL)
		return;
	p->name = name;
	p->call_id = id.len > 0 ? id : text_new_id(g->r->arena, "toolu_");
	p->input = b[BLOCK_INPUT].type == JSON_OBJECT ? b[BLOCK_INPUT].raw : SPAN_LIT("{}");
	g->calls = true;
	g->failed = g->failed || p->call_id.at == NULL;
}

/* What a provider's own tools did, and what is not known, is passed over (conversion.md 7.1). */
static bool
each_block(void *ctx, const struct json_member *m)
{
	struct reading *g = ctx;
	struct json_value b[BLOCK_MEMBERS];
	struct neutral_part *p = NULL;

	if (m->value.type != JSON_OBJECT)
		return true;
	(void)TEXT_PICK(m->value.raw, anthropic_block_names, b);
	if (span_is(b[BLOCK_TYPE].raw, "\"text\"") && b[BLOCK_TEXT].type == JSON_STRING &&
		!text_is_empty(b[BLOCK_TEXT].raw)) {
		p = add(g, PART_TEXT);
		if (p != NULL)
			p->text = b[BLOCK_TEXT].raw;
	} else if (span_is(b[BLOCK_TYPE].raw, "\"tool_use\"")) {
		read_call(g, b);
	} else if (span_is(b[BLOCK_TYPE].raw, "\"thinking\"")) {
		p = add(g, PART_REASONING);
		if (p != NULL && b[BLOCK_THINKING].type == JSON_STRING)
			p->text = b[BLOCK_THINKING].raw;
	} else if (span_is(b[BLOCK_TYPE].raw, "\"redacted_thinking\"")) {
		p = add(g, PART_REDACTED);
	}
	if (p != NULL && p->kind != PART_TEXT) {
		p->signer = SIGNER_ANTHROPIC;
		p->signature = text_plain(
			g->r->arena, b[p->kind == PART_REDACTED ? BLOCK_DATA : BLOCK_SIGNATURE]);
		if (p->signature.len == 0)
			p->signature = SPAN_NONE;
	}
	return !g->failed;
}

static int
no_answer(struct err *err, const char *text)
{
	(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "%s", text);
	return err_say(err, "The provider's answer could not be understood.");
}

int
anthropic_read_reply(struct span body, struct neutral_reply *r, struct err *err)
{
	enum { TYPE, ERROR, CONTENT, ID, MODEL, STOP_REASON, STOP_SEQUENCE, MEMBERS };
	static const char *const names[MEMBERS] = { "type", "error", "content", "id", "model",
		"stop_reason", "stop_sequence" };
	struct reading g = { .r = r, .err = err };
	struct json_value v[MEMBERS];

	if (TEXT_PICK(body, names, v) != 0)
		return no_answer(err, "the answer is no JSON object");
	if (v[ERROR].type == JSON_OBJECT) {
		(void)error_of_provider(body, err);
		err->code = ERR_UPSTREAM_UNREACHABLE;
		return -1;
	}
	if (v[CONTENT].type != JSON_ARRAY)
		return no_answer(err, "the answer has no content");
	r->id = text_plain(r->arena, v[ID]);
	r->model = text_plain(r->arena, v[MODEL]);
	r->choice = arena_alloc(r->arena, sizeof *r->choice);
	if (r->choice == NULL)
		return err_set(err, ERR_MEMORY, "no memory for an answer");
	r->choice_count = 1;
	(void)json_each_element(v[CONTENT].raw, each_block, &g, NULL);
	if (g.failed)
		return err->code == ERR_NONE ? err_set(err, ERR_MEMORY, "no memory for an answer")
					     : -1;
	r->choice[0].finish = neutral_finish(anthropic_finish(v[STOP_REASON]), g.calls);
	if (v[STOP_SEQUENCE].type == JSON_STRING)
		r->choice[0].stop_sequence = v[STOP_SEQUENCE].raw;
	anthropic_usage(body, &r->usage);
	return 0;
}

/* ---- a whole answer, written ---- */

static void
put_part(struct json_out *o, struct arena *a, const struct neutral_part *p)
{
	struct span id;

	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		if (text_is_empty(p->text))
			return;
		out_open(o, NULL, '{');
		out_string(o, "type", "text");
		out_json(o, "text", p->text);
		break;
	case PART_REASONING:
		out_open(o, NULL, '{');
		out_string(o, "type", "thinking");
		out_json(o, "thinking", p->text.at != NULL ? p->text : SPAN_LIT("\"\""));
		/* another maker's is no use to who reads this (R25) */
		out_text(o, "signature", p->signer == SIGNER_ANTHROPIC ? p->signature : SPAN_NONE);
		break;
	case PART_REDACTED:
		if (p->signer != SIGNER_ANTHROPIC)
			return;
		out_open(o, NULL, '{');
		out_string(o, "type", "redacted_thinking");
		out_text(o, "data", p->signature);
		break;
	case PART_TOOL_CALL:
		id = p->call_id.len > 0 ? text_clean_id(a, p->call_id) : text_new_id(a, "toolu_");
		out_open(o, NULL, '{');
		out_string(o, "type", "tool_use");
		out_text(o, "id", id);
		out_text(o, "name", p->name);
		out_json(o, "input", p->input.at != NULL ? p->input : SPAN_LIT("{}"));
		break;
	default:
		return; /* images and sound have no place in such an answer */
	}
	out_close(o, '}');
}

int
anthropic_write_reply(
	const struct neutral_reply *r, const struct reply_options *o, struct bytes *out)
{
	static const struct neutral_choice nothing = { 0 };
	const struct neutral_choice *c = r->choice_count > 0 ? &r->choice[0] : &nothing;
	struct span id = r->id.len > 0 ? r->id : text_new_id(r->arena, "msg_");
	struct json_out w = { .to = out };
	bool calls = false;
	enum finish finish;

	out_open(&w, NULL, '{');
	out_text(&w, "id", id);
	out_string(&w, "type", "message");
	out_string(&w, "role", "assistant");
	if (o->model != NULL)
		out_string(&w, "model", o->model);
	else
		out_text(&w, "model", r->model);
	out_open(&w, "content", '[');
	for (size_t i = 0; i < c->count; i++) {
		put_part(&w, r->arena, &c->part[i]);
		calls = calls || c->part[i].kind == PART_TOOL_CALL;
	}
	out_close(&w, ']');
	finish = neutral_finish(c->finish, calls);
	out_string(&w, "stop_reason", anthropic_stop_reason(finish));
	if (finish == FINISH_STOP_SEQUENCE && c->stop_sequence.at != NULL)
		out_json(&w, "stop_sequence", c->stop_sequence);
	else
		out_null(&w, "stop_sequence");
	anthropic_put_usage(&w, "usage", &r->usage);
	out_close(&w, '}');
	return out->failed ? -1 : 0;
}
