/*
 * openai_chat_reply.c - whole answers of OpenAI's chat, in and out of the neutral form.
 */
#include "wire/openai_chat-int.h"

#include "wire/openai.h"
#include "wire/wire-int.h"
#include <string.h>

/* ---- reading ---- */

struct reader {
	struct neutral_reply *r;
	struct err *err;
	size_t choice; /* that is read */
	size_t seen;
	bool calls;    /* it holds a tool call */
	bool thinking; /* the parts read are those of a thinking part */
	int rc;
};

static int
no_answer(struct err *err, const char *why)
{
	(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "no chat completion: %s", why);
	return err_say(err, "The provider's answer could not be read.");
}

static struct neutral_part *
add(struct reader *d, enum part_kind kind)
{
	struct neutral_part *p = neutral_reply_add(d->r, d->choice, kind, d->err);

	if (p == NULL)
		d->rc = -1;
	return p;
}

static struct neutral_part *
add_reasoning(void *ctx, enum part_kind kind)
{
	return add(ctx, kind);
}

static int
add_string(struct reader *d, enum part_kind kind, struct json_value v)
{
	struct neutral_part *p;

	if (v.type != JSON_STRING || text_is_empty(v.raw))
		return 0;
	if ((p = add(d, kind)) == NULL)
		return -1;
	p->text = v.raw;
	return 0;
}

static int
add_image(struct reader *d, struct json_value image_url)
{
	struct json_value url =
		image_url.type == JSON_OBJECT ? json_get(image_url.raw, "url") : image_url;
	struct span text = text_plain(d->r->arena, url);
	struct neutral_part *p;

	if (text.len == 0)
		return 0;
	if ((p = add(d, PART_IMAGE)) == NULL)
		return -1;
	if (!chat_read_url(text, p))
		d->r->choice[d->choice].count--; /* nothing that can be shown */
	return 0;
}

static bool
each_image(void *ctx, const struct json_member *m)
{
	struct reader *d = ctx;

	d->rc = add_image(d, json_get(m->value.raw, "image_url"));
	return d->rc == 0;
}

/* Some servers answer in parts. */
static bool
each_part(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "type", "text", "refusal", "image_url", "thinking" };
	struct reader *d = ctx;
	struct json_value got[5];
	char type[24];

	/* Mistral's: parts within a thinking part */
	if (d->thinking) {
		d->rc = add_string(d, PART_REASONING, json_get(m->value.raw, "text"));
		return d->rc == 0;
	}
	if (m->value.type != JSON_OBJECT || TEXT_PICK(m->value.raw, names, got) != 0)
		return true;
	wire_copy_string(got[0], type, sizeof type);
	if (strcmp(type, "text") == 0)
		d->rc = add_string(d, PART_TEXT, got[1]);
	else if (strcmp(type, "refusal") == 0)
		d->rc = add_string(d, PART_REFUSAL, got[2]);
	else if (strcmp(type, "image_url") == 0)
		d->rc = add_image(d, got[3]);
	else if (strcmp(type, "thinking") == 0 && got[4].type == JSON_ARRAY) {
		d->thinking = true;
		(void)json_each_element(got[4].raw, each_part, d, NULL);
		d->thinking = false;
	} else if (strcmp(type, "thinking") == 0)
		d->rc = add_string(d, PART_REASONING, got[4]);
	return d->rc == 0;
}

static int
add_call(struct reader *d, struct json_value id, struct json_value name,
	struct json_value arguments, struct json_value extra, bool is_custom)
{
	struct arena *a = d->r->arena;
	struct neutral_part *p;
	struct span text = text_plain(a, name);

	if (text.len == 0)
		return no_answer(d->err, "a tool call without a name");
	if ((p = add(d, PART_TOOL_CALL)) == NULL)
		return -1;
	d->calls = true;
	p->name = text;
	p->is_custom = is_custom;
	if (chat_read_answered_call(a, id, arguments, p, d->err) != 0)
		return -1;
	p->signature = chat_thought_signature(a, extra);
	if (p->signature.at != NULL)
		p->signer = SIGNER_GEMINI;
	return 0;
}

static bool
each_call(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "id", "function", "custom", "extra_content" };
	static const char *const function[] = { "name", "arguments" };
	static const char *const custom[] = { "name", "input" };
	struct reader *d = ctx;
	struct json_value got[4], inner[2];
	bool is_custom;

	if (m->value.type != JSON_OBJECT || TEXT_PICK(m->value.raw, names, got) != 0)
		return true;
	is_custom = got[2].type == JSON_OBJECT;
	(void)text_pick(
		got[is_custom ? 2 : 1].raw, is_custom ? custom : function, 2, inner, NULL, NULL);
	d->rc = add_call(d, got[0], inner[0], inner[1], got[3], is_custom);
	return d->rc == 0;
}

/* The transcript is what other dialects have as text. */
static int
add_audio(struct reader *d, struct json_value audio, bool has_text)
{
	static const char *const names[] = { "id", "data", "transcript" };
	struct json_value got[3];
	struct neutral_part *p;

	if (audio.type != JSON_OBJECT || TEXT_PICK(audio.raw, names, got) != 0)
		return 0;
	if (!has_text && add_string(d, PART_TEXT, got[2]) != 0)
		return -1;
	if ((p = add(d, PART_AUDIO)) == NULL)
		return -1;
	p->data = text_plain(d->r->arena, got[1]);
	p->file_id = text_plain(d->r->arena, got[0]);
	return 0;
}

static int
read_reasoning(struct reader *d, const struct json_value *got)
{
	if (got[CHAT_REASONING_DETAILS].type == JSON_ARRAY) {
		(void)chat_read_reasoning_details(
			d->r->arena, got[CHAT_REASONING_DETAILS], add_reasoning, d);
		if (d->rc != 0 ||
			(d->choice < d->r->choice_count && d->r->choice[d->choice].count > 0))
			return d->rc;
	}
	return add_string(d, PART_REASONING, chat_reasoning_of(got));
}

static int
read_message(struct reader *d, struct json_value message)
{
	static const char *const names[] = { "name", "arguments" };
	static const struct json_value none;
	struct json_value got[CHAT_ANSWER_MEMBERS], call[2];
	bool has_text;

	if (text_pick(message.raw, chat_answer_members, CHAT_ANSWER_MEMBERS, got, NULL, NULL) != 0)
		return no_answer(d->err, "a choice without a message");
	if (read_reasoning(d, got) != 0)
		return -1;
	has_text = got[CHAT_CONTENT].type == JSON_STRING && !text_is_empty(got[CHAT_CONTENT].raw);
	if (got[CHAT_CONTENT].type == JSON_ARRAY)
		(void)json_each_element(got[CHAT_CONTENT].raw, each_part, d, NULL);
	if (d->rc != 0 || add_string(d, PART_TEXT, got[CHAT_CONTENT]) != 0 ||
		add_string(d, PART_REFUSAL, got[CHAT_REFUSAL]) != 0 ||
		add_audio(d, got[CHAT_AUDIO], has_text) != 0)
		return -1;
	if (got[CHAT_IMAGES].type == JSON_ARRAY)
		(void)json_each_element(got[CHAT_IMAGES].raw, each_image, d, NULL);
	if (d->rc == 0 && got[CHAT_TOOL_CALLS].type == JSON_ARRAY)
		(void)json_each_element(got[CHAT_TOOL_CALLS].raw, each_call, d, NULL);
	if (d->rc != 0)
		return -1;
	if (got[CHAT_FUNCTION_CALL].type == JSON_OBJECT &&
		TEXT_PICK(got[CHAT_FUNCTION_CALL].raw, names, call) == 0)
		return add_call(d, none, call[0], call[1], none, false);
	return 0;
}

static int
read_choice(struct reader *d, struct json_value v)
{
	static const char *const names[] = { "index", "message", "finish_reason", "error" };
	struct json_value got[4];
	int64_t index;
	enum finish said;
	bool failed;

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return no_answer(d->err, "a choice that is no object");
	if (chat_is_error(got[3]))
		return error_of_provider(v.raw, d->err);
	said = chat_finish(got[2], &failed);
	if (failed)
		return error_of_provider(v.raw, d->err);
	if (json_int(got[0], &index) != 0)
		index = (int64_t)d->seen;
	if (index < 0 || index >= NEUTRAL_CHOICES_MAX)
		return no_answer(d->err, "a choice out of range");
	d->choice = (size_t)index;
	d->calls = false;
	if (read_message(d, got[1]) != 0)
		return -1;
	/* also where it holds nothing: the choice must be there */
	if (d->choice >= d->r->choice_count) {
		if (add(d, PART_TEXT) == NULL)
			return -1;
		d->r->choice[d->choice].count--;
	}
	d->r->choice[d->choice].finish = neutral_finish(said, d->calls);
	return 0;
}

static bool
each_choice(void *ctx, const struct json_member *m)
{
	struct reader *d = ctx;

	d->rc = read_choice(d, m->value);
	d->seen++;
	return d->rc == 0;
}

int
openai_chat_read_reply(struct span body, struct neutral_reply *r, struct err *err)
{
	static const char *const names[] = { "id", "model", "created", "choices", "error",
		"object" };
	struct reader d = { .r = r, .err = err };
	struct json_value got[6];
	char object[16];

	if (TEXT_PICK(body, names, got) != 0)
		return no_answer(err, "no JSON object");
	wire_copy_string(got[5], object, sizeof object);
	if (chat_is_error(got[4]) || strcmp(object, "error") == 0)
		return error_of_provider(body, err);
	if (got[3].type != JSON_ARRAY)
		return no_answer(err, "no choices");
	r->id = text_plain(r->arena, got[0]);
	r->model = text_plain(r->arena, got[1]);
	if (json_int(got[2], &r->created_s) != 0)
		r->created_s = 0;
	openai_usage(body, &r->usage);
	(void)json_each_element(got[3].raw, each_choice, &d, NULL);
	if (d.rc != 0)
		return -1;
	return r->choice_count > 0 ? 0 : no_answer(err, "no choice");
}

/* ---- writing ---- */

/* Strings of one kind as one; false: there is none. */
static bool
put_joined(struct json_out *o, const char *key, const struct neutral_choice *c, enum part_kind kind)
{
	bool any = false;

	for (size_t i = 0; i < c->count; i++) {
		if (c->part[i].kind != kind || text_is_empty(c->part[i].text))
			continue;
		if (!any)
			out_string_begin(o, key);
		any = true;
		out_string_inside(o, text_inside(c->part[i].text));
	}
	if (any)
		out_string_end(o);
	return any;
}

static bool
has_kind(const struct neutral_choice *c, enum part_kind kind)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->part[i].kind == kind)
			return true;
	return false;
}

static void
put_call(struct json_out *o, struct arena *a, const struct neutral_part *p)
{
	const char *kind = p->is_custom ? "custom" : "function";
	struct span id = p->call_id;

	if (id.len == 0)
		id = text_new_id(a, "call_");
	out_open(o, NULL, '{');
	out_text(o, "id", id);
	out_string(o, "type", kind);
	out_open(o, kind, '{');
	out_text(o, "name", p->name);
	chat_write_answered_arguments(o, a, p);
	out_close(o, '}');
	if (p->signer == SIGNER_GEMINI && p->signature.at != NULL)
		chat_write_thought_signature(o, p->signature);
	out_close(o, '}');
}

void
chat_write_image(struct json_out *o, const struct neutral_part *p, int64_t index)
{
	out_open(o, NULL, '{');
	if (index >= 0)
		out_int(o, "index", index);
	out_string(o, "type", "image_url");
	out_open(o, "image_url", '{');
	if (p->data.at != NULL)
		chat_write_data_url(
			o, "url", p->mime.len > 0 ? p->mime : SPAN_LIT("image/png"), p->data);
	else
		out_text(o, "url", p->url.at != NULL ? p->url : p->file_id);
	out_close(o, '}');
	out_close(o, '}');
}

static void
put_audio(struct json_out *o, struct arena *a, const struct neutral_choice *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct neutral_part *p = &c->part[i];

		if (p->kind != PART_AUDIO)
			continue;
		out_open(o, "audio", '{');
		out_text(o, "id", p->file_id.len > 0 ? p->file_id : text_new_id(a, "audio_"));
		out_text(o, "data", p->data);
		out_string(o, "transcript", "");
		out_int(o, "expires_at", 0);
		out_close(o, '}');
		return;
	}
}

static void
put_message(struct json_out *o, struct arena *a, const struct neutral_choice *c)
{
	bool calls = has_kind(c, PART_TOOL_CALL);

	out_open(o, "message", '{');
	out_string(o, "role", "assistant");
	if (!put_joined(o, "content", c, PART_TEXT)) {
		if (calls || has_kind(c, PART_REFUSAL) || has_kind(c, PART_AUDIO))
			out_null(o, "content");
		else
			out_string(o, "content", "");
	}
	if (!put_joined(o, "refusal", c, PART_REFUSAL))
		out_null(o, "refusal");
	(void)put_joined(o, "reasoning_content", c, PART_REASONING);
	if (calls) {
		out_open(o, "tool_calls", '[');
		for (size_t i = 0; i < c->count; i++)
			if (c->part[i].kind == PART_TOOL_CALL)
				put_call(o, a, &c->part[i]);
		out_close(o, ']');
	}
	if (has_kind(c, PART_IMAGE)) {
		out_open(o, "images", '[');
		for (size_t i = 0; i < c->count; i++)
			if (c->part[i].kind == PART_IMAGE)
				chat_write_image(o, &c->part[i], -1);
		out_close(o, ']');
	}
	put_audio(o, a, c);
	out_close(o, '}');
}

int
openai_chat_write_reply(
	const struct neutral_reply *r, const struct reply_options *o, struct bytes *out)
{
	struct json_out j = { .to = out };
	const char *model = o->model;

	out_open(&j, NULL, '{');
	out_text(&j, "id", r->id.len > 0 ? r->id : text_new_id(r->arena, "chatcmpl-"));
	out_string(&j, "object", "chat.completion");
	out_int(&j, "created", r->created_s > 0 ? r->created_s : o->now_s);
	out_text(&j, "model", model != NULL && model[0] != '\0' ? span_of(model) : r->model);
	out_open(&j, "choices", '[');
	for (size_t i = 0; i < r->choice_count; i++) {
		const struct neutral_choice *c = &r->choice[i];

		out_open(&j, NULL, '{');
		out_int(&j, "index", (int64_t)i);
		put_message(&j, r->arena, c);
		out_null(&j, "logprobs");
		out_string(&j, "finish_reason",
			chat_finish_name(neutral_finish(c->finish, has_kind(c, PART_TOOL_CALL))));
		out_close(&j, '}');
	}
	out_close(&j, ']');
	if (r->usage.seen)
		chat_write_usage(&j, &r->usage);
	out_close(&j, '}');
	return out->failed ? -1 : 0;
}
