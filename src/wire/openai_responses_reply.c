/*
 * openai_responses_reply.c - whole responses, in and out of the neutral form.
 */
#include "wire/openai_responses-int.h"

#include "wire/openai.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

struct reader {
	struct neutral_reply *r;
	struct err *err;
	bool calls;
	int rc;
};

static int
no_answer(struct err *err, const char *why)
{
	(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "no response: %s", why);
	return err_say(err, "The provider's answer could not be read.");
}

static struct neutral_part *
add(struct reader *d, enum part_kind kind)
{
	struct neutral_part *p = neutral_reply_add(d->r, 0, kind, d->err);

	if (p == NULL)
		d->rc = -1;
	return p;
}

static void
add_string(struct reader *d, enum part_kind kind, struct json_value v)
{
	struct neutral_part *p;

	if (v.type != JSON_STRING || text_is_empty(v.raw) || (p = add(d, kind)) == NULL)
		return;
	p->text = v.raw;
}

static bool
each_part(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "text", "refusal" };
	struct reader *d = ctx;
	struct json_value got[2];

	if (m->value.type != JSON_OBJECT || TEXT_PICK(m->value.raw, names, got) != 0)
		return true;
	add_string(d, PART_TEXT, got[0]);
	if (d->rc == 0)
		add_string(d, PART_REFUSAL, got[1]);
	return d->rc == 0;
}

enum {
	TYPE,
	CONTENT,
	CALL_ID,
	NAME,
	ARGUMENTS,
	INPUT,
	SUMMARY,
	ENCRYPTED,
	RESULT,
	FORMAT,
	ITEM_FIELDS
};
static const char *const item_fields[ITEM_FIELDS] = { "type", "content", "call_id", "name",
	"arguments", "input", "summary", "encrypted_content", "result", "output_format" };

static int
read_call(struct reader *d, const struct json_value *got, bool is_custom)
{
	struct arena *a = d->r->arena;
	struct span name = text_plain(a, got[NAME]);
	struct neutral_part *p;

	if (name.len == 0)
		return no_answer(d->err, "a tool call without a name");
	if ((p = add(d, PART_TOOL_CALL)) == NULL)
		return -1;
	d->calls = true;
	p->name = name;
	p->is_custom = is_custom;
	return chat_read_answered_call(
		a, got[CALL_ID], got[is_custom ? INPUT : ARGUMENTS], p, d->err);
}

static int
read_reasoning(struct reader *d, const struct json_value *got)
{
	struct span text = responses_reasoning_text(d->r->arena, got[SUMMARY], got[CONTENT]);
	struct neutral_part *p;

	if (text.at == NULL && got[ENCRYPTED].type != JSON_STRING)
		return 0;
	if ((p = add(d, PART_REASONING)) == NULL)
		return -1;
	p->text = text.at != NULL ? text : SPAN_LIT("\"\"");
	responses_read_encrypted(d->r->arena, got[ENCRYPTED], p);
	return 0;
}

struct span
responses_image_mime(struct json_value format)
{
	char name[8];

	wire_copy_string(format, name, sizeof name);
	return strcmp(name, "jpeg") == 0   ? SPAN_LIT("image/jpeg")
	       : strcmp(name, "webp") == 0 ? SPAN_LIT("image/webp")
					   : SPAN_LIT("image/png");
}

static int
read_item(struct reader *d, struct json_value v)
{
	struct json_value got[ITEM_FIELDS];
	struct neutral_part *p;
	char type[32];

	if (v.type != JSON_OBJECT ||
		text_pick(v.raw, item_fields, ITEM_FIELDS, got, NULL, NULL) != 0)
		return 0;
	wire_copy_string(got[TYPE], type, sizeof type);
	if (strcmp(type, "message") == 0 && got[CONTENT].type == JSON_ARRAY) {
		(void)json_each_element(got[CONTENT].raw, each_part, d, NULL);
		return d->rc;
	}
	if (strcmp(type, "function_call") == 0)
		return read_call(d, got, false);
	if (strcmp(type, "custom_tool_call") == 0)
		return read_call(d, got, true);
	if (strcmp(type, "reasoning") == 0)
		return read_reasoning(d, got);
	if (strcmp(type, "image_generation_call") == 0 && got[RESULT].type == JSON_STRING) {
		if ((p = add(d, PART_IMAGE)) == NULL)
			return -1;
		p->mime = responses_image_mime(got[FORMAT]);
		p->data = text_plain(d->r->arena, got[RESULT]);
	}
	return 0;
}

static bool
each_item(void *ctx, const struct json_member *m)
{
	struct reader *d = ctx;

	d->rc = read_item(d, m->value);
	return d->rc == 0;
}

enum finish
responses_finish(struct json_value status, struct json_value incomplete, bool has_calls)
{
	char word[24];

	wire_copy_string(status, word, sizeof word);
	if (strcmp(word, "incomplete") != 0)
		return neutral_finish(FINISH_STOP, has_calls);
	wire_copy_string(
		incomplete.type == JSON_OBJECT ? json_get(incomplete.raw, "reason") : incomplete,
		word, sizeof word);
	return strcmp(word, "content_filter") == 0 ? FINISH_FILTER : FINISH_LENGTH;
}

int
openai_responses_read_reply(struct span body, struct neutral_reply *r, struct err *err)
{
	static const char *const names[] = { "id", "model", "created_at", "output", "error",
		"status", "incomplete_details" };
	struct reader d = { .r = r, .err = err };
	struct json_value got[7];
	char status[24];

	if (TEXT_PICK(body, names, got) != 0)
		return no_answer(err, "no JSON object");
	wire_copy_string(got[5], status, sizeof status);
	if (chat_is_error(got[4]) || strcmp(status, "failed") == 0)
		return error_of_provider(body, err);
	if (got[3].type != JSON_ARRAY || strcmp(status, "queued") == 0 ||
		strcmp(status, "in_progress") == 0 || strcmp(status, "cancelled") == 0)
		return no_answer(err, "no output");
	r->id = text_plain(r->arena, got[0]);
	r->model = text_plain(r->arena, got[1]);
	if (json_int(got[2], &r->created_s) != 0 || r->created_s < 0)
		r->created_s = 0;
	openai_usage(body, &r->usage);
	(void)json_each_element(got[3].raw, each_item, &d, NULL);
	if (d.rc != 0)
		return -1;
	if (r->choice_count == 0) { /* an answer of nothing is one */
		if (add(&d, PART_TEXT) == NULL)
			return -1;
		r->choice[0].count--;
	}
	r->choice[0].finish = responses_finish(got[5], got[6], d.calls);
	return 0;
}

/* ---- writing ---- */

/* "fc_" and the answer's own number of the item: unlike any other of the same answer. */
static void
put_item(struct json_out *o, const char *type, const char *prefix, struct span response, size_t at)
{
	char number[24];

	(void)snprintf(number, sizeof number, "_%zu", at);
	out_open(o, NULL, '{');
	out_string_begin(o, "id");
	out_string_plain(o, span_of(prefix));
	out_string_plain(o, response);
	out_string_plain(o, span_of(number));
	out_string_end(o);
	out_string(o, "type", type);
}

static bool
is_said(const struct neutral_part *p)
{
	return (p->kind == PART_TEXT || p->kind == PART_REFUSAL) && !text_is_empty(p->text);
}

static void
put_content(struct json_out *o, const struct neutral_part *p)
{
	out_open(o, NULL, '{');
	if (p->kind == PART_REFUSAL) {
		out_string(o, "type", "refusal");
		out_json(o, "refusal", p->text);
	} else {
		out_string(o, "type", "output_text");
		out_json(o, "text", p->text);
		out_json(o, "annotations", SPAN_LIT("[]"));
		out_json(o, "logprobs", SPAN_LIT("[]"));
	}
	out_close(o, '}');
}

/* Neighbouring texts are one message.  Gives how many parts it took. */
static size_t
put_message(struct json_out *o, struct span id, const struct neutral_choice *c, size_t at,
	const char *status)
{
	size_t end = at;

	put_item(o, "message", "msg_", id, at);
	out_string(o, "status", status);
	out_string(o, "role", "assistant");
	out_open(o, "content", '[');
	for (; end < c->count && is_said(&c->part[end]); end++)
		put_content(o, &c->part[end]);
	out_close(o, ']');
	out_close(o, '}');
	return end - at;
}

static void
put_call(struct json_out *o, struct arena *a, struct span id, const struct neutral_part *p,
	size_t at)
{
	struct span call_id = p->call_id.len > 0 ? p->call_id : text_new_id(a, "call_");

	put_item(o, p->is_custom ? "custom_tool_call" : "function_call",
		p->is_custom ? "ctc_" : "fc_", id, at);
	out_string(o, "status", "completed");
	out_text(o, "call_id", call_id);
	out_text(o, "name", p->name);
	chat_write_answered_arguments(o, a, p);
	out_close(o, '}');
}

static void
put_reasoning(struct json_out *o, struct span id, const struct neutral_part *p, size_t at)
{
	put_item(o, "reasoning", "rs_", id, at);
	out_open(o, "summary", '[');
	if (!text_is_empty(p->text)) {
		out_open(o, NULL, '{');
		out_string(o, "type", "summary_text");
		out_json(o, "text", p->text);
		out_close(o, '}');
	}
	out_close(o, ']');
	responses_write_encrypted(o, p);
	out_close(o, '}');
}

static void
put_output(struct json_out *o, struct arena *a, struct span id, const struct neutral_choice *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct neutral_part *p = &c->part[i];

		if (is_said(p)) {
			i += put_message(o, id, c, i, responses_status(c->finish)) - 1;
		} else if (p->kind == PART_TOOL_CALL) {
			put_call(o, a, id, p, i);
		} else if (p->kind == PART_REASONING || p->kind == PART_REDACTED) {
			put_reasoning(o, id, p, i);
		} else if (p->kind == PART_IMAGE && p->data.at != NULL) {
			put_item(o, "image_generation_call", "ig_", id, i);
			out_string(o, "status", "completed");
			out_text(o, "result", p->data);
			out_close(o, '}');
		}
	}
}

int
openai_responses_write_reply(
	const struct neutral_reply *r, const struct reply_options *o, struct bytes *out)
{
	static const struct neutral_choice nothing = { .finish = FINISH_STOP };
	const struct neutral_choice *c = r->choice_count > 0 ? &r->choice[0] : &nothing;
	struct responses_head h = { .id = r->id,
		.model = o->model != NULL && o->model[0] != '\0' ? span_of(o->model) : r->model,
		.created_s = r->created_s > 0 ? r->created_s : o->now_s,
		.status = responses_status(c->finish),
		.incomplete = responses_incomplete(c->finish),
		.usage = &r->usage };
	struct json_out j = { .to = out };
	struct span own;

	if (h.id.len == 0)
		h.id = text_new_id(r->arena, "resp_");
	own = h.id;
	if (span_starts(own, "resp_"))
		own.at += 5, own.len -= 5;
	responses_open(&j, NULL, &h);
	put_output(&j, r->arena, own, c);
	responses_close(&j, &h);
	return out->failed || h.id.at == NULL ? -1 : 0;
}
