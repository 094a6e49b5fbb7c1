/*
 * converse_reply.c - whole answers of Converse, and usage.
 */
#include "wire/converse-int.h"

#include "wire/wire-int.h"
#include <string.h>

/* ---- usage ---- */

static void
take(struct json_value v, int64_t *into)
{
	int64_t n;

	if (json_int(v, &n) == 0 && n >= 0 && n <= WIRE_TOKENS_MAX)
		*into = n;
}

/* {"ttl":"1h","inputTokens":n}: cache writes, parted by how long they live. */
static bool
note_detail(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "ttl", "inputTokens" };
	int64_t *hour = ctx, n = -1;
	struct json_value found[2];

	if (TEXT_PICK(m->value.raw, names, found) != 0 || found[0].type != JSON_STRING)
		return true;
	take(found[1], &n);
	if (n < 0)
		return true;
	if (*hour < 0)
		*hour = 0;
	if (span_is(text_inside(found[0].raw), "1h") && *hour <= WIRE_TOKENS_MAX - n)
		*hour += n;
	return true;
}

static void
take_usage(struct json_value usage, struct wire_usage *out)
{
	static const char *const names[] = { "inputTokens", "outputTokens", "cacheReadInputTokens",
		"cacheWriteInputTokens", "cacheDetails" };
	struct json_value found[5];
	int64_t hour = -1;

	if (usage.type != JSON_OBJECT || TEXT_PICK(usage.raw, names, found) != 0)
		return;
	out->seen = true;
	take(found[0], &out->input);
	take(found[1], &out->output);
	take(found[2], &out->cache_read);
	take(found[3], &out->cache_write);
	if (found[4].type != JSON_ARRAY)
		return;
	(void)json_each_element(found[4].raw, note_detail, &hour, NULL);
	if (hour >= 0)
		out->cache_write_1h = hour;
}

void
converse_usage(struct span json, struct wire_usage *out)
{
	static const char *const names[] = { "usage", "metadata", "serviceTier" };
	struct json_value found[3];

	if (TEXT_PICK(json, names, found) != 0)
		return;
	if (found[1].type == JSON_OBJECT) { /* an event under its name, as SAP sends it */
		static const char *const inner[] = { "usage", "serviceTier" };
		struct json_value v[2];

		(void)TEXT_PICK(found[1].raw, inner, v);
		found[0] = v[0];
		found[2] = v[1];
	}
	take_usage(found[0], out);
	if (found[2].type == JSON_OBJECT)
		wire_take_tier(json_get(found[2].raw, "type"), out);
}

void
converse_put_usage(struct json_out *o, const struct wire_usage *u)
{
	int64_t hour = usage_or_zero(u->cache_write_1h), all = usage_or_zero(u->cache_write);

	out_open(o, "usage", '{');
	out_int(o, "inputTokens", usage_or_zero(u->input));
	out_int(o, "outputTokens", usage_or_zero(u->output));
	out_int(o, "totalTokens", usage_input_total(u) + usage_or_zero(u->output));
	if (u->cache_read >= 0)
		out_int(o, "cacheReadInputTokens", u->cache_read);
	if (u->cache_write >= 0)
		out_int(o, "cacheWriteInputTokens", u->cache_write);
	if (u->cache_write_1h >= 0) {
		out_open(o, "cacheDetails", '[');
		for (int i = 0; i < 2; i++) {
			out_open(o, NULL, '{');
			out_string(o, "ttl", i == 0 ? "1h" : "5m");
			out_int(o, "inputTokens", i == 0 ? hour : all > hour ? all - hour : 0);
			out_close(o, '}');
		}
		out_close(o, ']');
	}
	out_close(o, '}');
}

/* ---- reading ---- */

static bool
has_calls(const struct neutral_reply *r)
{
	for (size_t i = 0; i < r->choice[0].count; i++)
		if (r->choice[0].part[i].kind == PART_TOOL_CALL)
			return true;
	return false;
}

/* One choice, even where it holds nothing. */
static int
ensure_choice(struct neutral_reply *r, struct err *err)
{
	if (r->choice_count > 0)
		return 0;
	r->choice = arena_alloc(r->arena, sizeof *r->choice);
	if (r->choice == NULL)
		return err_set(err, ERR_MEMORY, "no memory for an answer");
	r->choice_count = 1;
	return 0;
}

int
converse_read_reply(struct span body, struct neutral_reply *r, struct err *err)
{
	static const char *const names[] = { "output", "stopReason",
		"additionalModelResponseFields" };
	struct converse_blocks b = { .arena = r->arena, .reply = r, .err = err };
	struct json_value found[3], content, sequence;

	if (TEXT_PICK(body, names, found) != 0)
		return err_set(err, ERR_UPSTREAM_UNREACHABLE, "the answer is no JSON object");
	content = json_path(found[0].raw, "message.content");
	if (content.type != JSON_ARRAY)
		return error_of_provider(body, err);
	(void)strcpy(b.path, "output.message.content");
	(void)json_each_element(content.raw, converse_read_block, &b, NULL);
	if (b.rc != 0 || ensure_choice(r, err) != 0)
		return -1;
	r->choice[0].finish = neutral_finish(converse_finish(found[1]), has_calls(r));
	sequence = json_get(found[2].raw, "stop_sequence");
	if (sequence.type == JSON_STRING)
		r->choice[0].stop_sequence = sequence.raw;
	r->usage = WIRE_USAGE_NONE;
	converse_usage(body, &r->usage);
	return 0;
}

/* ---- writing ---- */

static void
put_wrapped(struct json_out *o, const char *outer, const char *key, struct span json)
{
	out_open(o, NULL, '{');
	out_open(o, outer, '{');
	out_json(o, key, json);
	out_close(o, '}');
	out_close(o, '}');
}

static void
put_reasoning(struct json_out *o, const struct neutral_part *p)
{
	out_open(o, NULL, '{');
	out_open(o, "reasoningContent", '{');
	out_open(o, "reasoningText", '{');
	out_json(o, "text", p->text.at != NULL ? p->text : SPAN_LIT("\"\""));
	if (p->signer == SIGNER_ANTHROPIC && p->signature.len > 0)
		out_text(o, "signature", p->signature);
	out_close(o, '}');
	out_close(o, '}');
	out_close(o, '}');
}

static void
put_call(struct json_out *o, struct arena *a, const struct neutral_part *p)
{
	out_open(o, NULL, '{');
	out_open(o, "toolUse", '{');
	out_text(o, "toolUseId", text_clean_id(a, p->call_id));
	out_text(o, "name", p->name);
	out_json(o, "input", p->input.at != NULL ? p->input : SPAN_LIT("{}"));
	out_close(o, '}');
	out_close(o, '}');
}

static void
put_image(struct json_out *o, const struct neutral_part *p)
{
	const char *format = converse_format(PART_IMAGE, p->mime);

	if (format == NULL || p->data.at == NULL)
		return;
	out_open(o, NULL, '{');
	out_open(o, "image", '{');
	out_string(o, "format", format);
	out_open(o, "source", '{');
	out_text(o, "bytes", p->data);
	out_close(o, '}');
	out_close(o, '}');
	out_close(o, '}');
}

static void
put_part(struct json_out *o, struct arena *a, const struct neutral_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		if (text_is_empty(p->text))
			return;
		out_open(o, NULL, '{');
		out_json(o, "text", p->text);
		out_close(o, '}');
		return;
	case PART_REASONING:
		put_reasoning(o, p);
		return;
	case PART_REDACTED:
		if (p->signer == SIGNER_ANTHROPIC)
			put_wrapped(o, "reasoningContent", "redactedContent",
				text_quoted(a, p->signature));
		return;
	case PART_TOOL_CALL:
		put_call(o, a, p);
		return;
	case PART_IMAGE:
		put_image(o, p);
		return;
	default: /* nothing else has a place here */
		return;
	}
}

int
converse_write_reply(
	const struct neutral_reply *r, const struct reply_options *options, struct bytes *out)
{
	static const struct neutral_choice none;
	const struct neutral_choice *c = r->choice_count == 0 ? &none : &r->choice[0];
	struct json_out o = { .to = out };

	(void)options;
	out_open(&o, NULL, '{');
	out_open(&o, "output", '{');
	out_open(&o, "message", '{');
	out_string(&o, "role", "assistant");
	out_open(&o, "content", '[');
	for (size_t i = 0; i < c->count; i++)
		put_part(&o, r->arena, &c->part[i]);
	out_close(&o, ']');
	out_close(&o, '}');
	out_close(&o, '}');
	out_string(&o, "stopReason", converse_stop_reason(c->finish));
	if (c->stop_sequence.at != NULL) {
		out_open(&o, "additionalModelResponseFields", '{');
		out_json(&o, "stop_sequence", c->stop_sequence);
		out_close(&o, '}');
	}
	if (r->usage.seen)
		converse_put_usage(&o, &r->usage);
	converse_put_metrics(&o);
	out_close(&o, '}');
	return out->failed ? -1 : 0;
}

/* Clients read it without asking whether it is there; how long it took is not known here. */
void
converse_put_metrics(struct json_out *o)
{
	out_open(o, "metrics", '{');
	out_int(o, "latencyMs", 0);
	out_close(o, '}');
}
