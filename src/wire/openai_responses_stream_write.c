/*
 * openai_responses_stream_write.c - neutral events as the stream of a response (conversion.md 7.6).
 *
 * An item is told whole when it is done, and all items again at the end, so what was streamed is kept:
 * at most RESPONSE_MAX bytes of it.
 */
#include "wire/openai_responses-int.h"

#include "base/hash.h"
#include <stdio.h>
#include <string.h>

#define RESPONSE_MAX ((size_t)24 << 20)
#define HEAD_MAX     65536 /* the model's name is the client's */
#define ID_RANDOM    12    /* bytes of an id that we make */

enum item { ITEM_NONE, ITEM_MESSAGE, ITEM_REASONING, ITEM_CALL };

struct writer {
	struct bytes id, model, own; /* own: what makes ids of items this answer's */
	struct bytes items;          /* those that are done, with commas */
	struct bytes text;           /* inside of the part's JSON string, as far as it came */
	struct bytes contents;       /* of the message under way: its parts that are done */
	struct bytes signature;
	enum signer signer;
	struct wire_usage usage;
	int64_t created_s, sequence, items_done, parts_done;
	enum item item; /* that is open */
	enum finish finish;
	bool over;
};

const size_t openai_responses_writer_bytes = sizeof(struct writer);

void
openai_responses_writer_free(void *state)
{
	struct writer *w = state;

	bytes_free(&w->id);
	bytes_free(&w->model);
	bytes_free(&w->own);
	bytes_free(&w->items);
	bytes_free(&w->text);
	bytes_free(&w->contents);
	bytes_free(&w->signature);
}

/* ---- one event ---- */

static struct json_out
open_event(struct writer *w, const char *type, struct bytes *out)
{
	struct json_out j = { .to = out };

	(void)bytes_printf(out, "event: %s\ndata: ", type);
	out_open(&j, NULL, '{');
	out_string(&j, "type", type);
	out_int(&j, "sequence_number", w->sequence++);
	return j;
}

static void
close_event(struct json_out *j)
{
	out_close(j, '}');
	(void)bytes_puts(j->to, "\n\n");
}

static const char *
prefix(enum item item)
{
	return item == ITEM_MESSAGE ? "msg_" : item == ITEM_REASONING ? "rs_" : "fc_";
}

static void
put_item_id(const struct writer *w, struct json_out *j, const char *key)
{
	char number[24];

	(void)snprintf(number, sizeof number, "_%lld", (long long)w->items_done);
	out_string_begin(j, key);
	out_string_plain(j, span_of(prefix(w->item)));
	out_string_plain(j, bytes_span(&w->own));
	out_string_plain(j, span_of(number));
	out_string_end(j);
}

/* Events of a part say where it is. */
static struct json_out
open_part_event(struct writer *w, const char *type, const char *index, struct bytes *out)
{
	struct json_out j = open_event(w, type, out);

	put_item_id(w, &j, "item_id");
	out_int(&j, "output_index", w->items_done);
	if (index != NULL)
		out_int(&j, index, w->parts_done);
	return j;
}

/* ---- the response ---- */

static struct responses_head
head_of(const struct writer *w)
{
	return (struct responses_head){ .id = bytes_span(&w->id),
		.model = bytes_span(&w->model),
		.created_s = w->created_s,
		.status = "in_progress" };
}

static void
put_response(struct writer *w, const char *type, const struct responses_head *h, struct bytes *out)
{
	struct json_out j = open_event(w, type, out);

	responses_open(&j, "response", h);
	if (w->items.len > 0)
		out_json(&j, NULL, bytes_span(&w->items));
	responses_close(&j, h);
	close_event(&j);
}

static void
begin(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct responses_head h;
	uint8_t dice[ID_RANDOM];
	char made[2 * ID_RANDOM + 1];
	struct span model = o->model != NULL && o->model[0] != '\0' ? span_of(o->model) : e->model;
	struct span own = e->id;

	w->usage = WIRE_USAGE_NONE;
	w->id.limit = w->model.limit = w->own.limit = HEAD_MAX;
	w->items.limit = w->text.limit = w->contents.limit = w->signature.limit = RESPONSE_MAX;
	w->created_s = e->created_s > 0 ? e->created_s : o->now_s;
	if (own.len == 0) {
		hash_random(dice, sizeof dice);
		hash_hex(dice, sizeof dice, made);
		own = span_of(made);
		(void)bytes_puts(&w->id, "resp_");
	}
	(void)bytes_add(&w->id, own.at, own.len);
	if (span_starts(own, "resp_"))
		own.at += 5, own.len -= 5;
	(void)bytes_add(&w->own, own.at, own.len);
	(void)bytes_add(&w->model, model.at, model.len);
	h = head_of(w);
	put_response(w, "response.created", &h, out);
	put_response(w, "response.in_progress", &h, out);
}

/* ---- items ---- */

static void
put_text_string(const struct writer *w, struct json_out *j, const char *key)
{
	out_string_begin(j, key);
	out_string_inside(j, bytes_span(&w->text));
	out_string_end(j);
}

/* The part of a message, whole or to begin with. */
static void
put_content(const struct writer *w, struct json_out *j, const char *key, enum part_kind kind)
{
	out_open(j, key, '{');
	out_string(j, "type", kind == PART_REFUSAL ? "refusal" : "output_text");
	put_text_string(w, j, kind == PART_REFUSAL ? "refusal" : "text");
	if (kind != PART_REFUSAL) {
		out_json(j, "annotations", SPAN_LIT("[]"));
		out_json(j, "logprobs", SPAN_LIT("[]"));
	}
	out_close(j, '}');
}

static void
put_summary(const struct writer *w, struct json_out *j, const char *key)
{
	out_open(j, key, '{');
	out_string(j, "type", "summary_text");
	put_text_string(w, j, "text");
	out_close(j, '}');
}

/* The item under way; p: of a call its id and name. */
static void
put_item(const struct writer *w, struct json_out *j, const char *key, const char *status,
	const struct neutral_part *p)
{
	static const struct neutral_part nothing = { .kind = PART_TEXT };
	struct neutral_part signature = { .kind = p == NULL ? PART_REASONING : p->kind,
		.signer = w->signer,
		.signature = w->signature.len > 0 ? bytes_span(&w->signature) : SPAN_NONE };

	if (p == NULL) /* of a message nothing is asked */
		p = &nothing;
	out_open(j, key, '{');
	put_item_id(w, j, "id");
	switch (w->item) {
	case ITEM_MESSAGE:
		out_string(j, "type", "message");
		out_string(j, "status", status);
		out_string(j, "role", "assistant");
		out_open(j, "content", '[');
		if (w->contents.len > 0)
			out_json(j, NULL, bytes_span(&w->contents));
		out_close(j, ']');
		break;
	case ITEM_REASONING:
		out_string(j, "type", "reasoning");
		out_open(j, "summary", '[');
		if (w->text.len > 0)
			put_summary(w, j, NULL);
		out_close(j, ']');
		responses_write_encrypted(j, &signature);
		break;
	default:
		out_string(j, "type", p->is_custom ? "custom_tool_call" : "function_call");
		out_string(j, "status", status);
		out_text(j, "call_id", p->call_id);
		out_text(j, "name", p->name);
		put_text_string(w, j, p->is_custom ? "input" : "arguments");
		break;
	}
	out_close(j, '}');
}

static void
add_item(struct writer *w, enum item item, const struct neutral_part *p, struct bytes *out)
{
	struct json_out j;

	w->item = item;
	w->parts_done = 0;
	w->contents.len = w->text.len = w->signature.len = 0;
	j = open_event(w, "response.output_item.added", out);
	out_int(&j, "output_index", w->items_done);
	put_item(w, &j, "item", "in_progress", p);
	close_event(&j);
}

static void
end_item(struct writer *w, const struct neutral_part *p, struct bytes *out)
{
	struct json_out j, kept = { .to = &w->items, .comma = w->items.len > 0 };

	if (w->item == ITEM_NONE)
		return;
	j = open_event(w, "response.output_item.done", out);
	out_int(&j, "output_index", w->items_done);
	put_item(w, &j, "item", "completed", p);
	close_event(&j);
	put_item(w, &kept, NULL, "completed", p);
	w->item = ITEM_NONE;
	w->items_done++;
	w->text.len = 0;
}

/* ---- parts ---- */

static void
begin_part(struct writer *w, const struct neutral_event *e, struct bytes *out)
{
	enum part_kind kind = e->part.kind;
	struct json_out j;

	/* a message goes on while texts follow one another */
	if (w->item == ITEM_MESSAGE && kind != PART_TEXT && kind != PART_REFUSAL)
		end_item(w, NULL, out);
	switch (kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		if (w->item != ITEM_MESSAGE)
			add_item(w, ITEM_MESSAGE, NULL, out);
		w->text.len = 0;
		j = open_part_event(w, "response.content_part.added", "content_index", out);
		put_content(w, &j, "part", kind);
		close_event(&j);
		break;
	case PART_TOOL_CALL:
		add_item(w, ITEM_CALL, &e->part, out);
		break;
	case PART_REASONING:
	case PART_REDACTED:
		add_item(w, ITEM_REASONING, &e->part, out);
		if (kind == PART_REDACTED) {
			w->signer = e->part.signer;
			(void)bytes_add(&w->signature, e->part.signature.at, e->part.signature.len);
		}
		break;
	default:
		break;
	}
}

static void
more_of_part(struct writer *w, const struct neutral_event *e, struct bytes *out)
{
	enum part_kind kind = e->part.kind;
	struct span inside = text_inside(e->text);
	struct json_out j;

	if (e->signature.at != NULL && kind == PART_REASONING) {
		w->signer = e->part.signer;
		w->signature.len = 0;
		(void)bytes_add(&w->signature, e->signature.at, e->signature.len);
	}
	if (inside.len == 0 || w->item == ITEM_NONE)
		return;
	if (kind == PART_REASONING && w->text.len == 0) {
		j = open_part_event(
			w, "response.reasoning_summary_part.added", "summary_index", out);
		put_summary(w, &j, "part");
		close_event(&j);
	}
	(void)bytes_add(&w->text, inside.at, inside.len);
	if (kind == PART_TOOL_CALL) {
		j = open_part_event(w,
			e->part.is_custom ? "response.custom_tool_call_input.delta"
					  : "response.function_call_arguments.delta",
			NULL, out);
	} else {
		j = open_part_event(w,
			kind == PART_REASONING ? "response.reasoning_summary_text.delta"
			: kind == PART_REFUSAL ? "response.refusal.delta"
					       : "response.output_text.delta",
			kind == PART_REASONING ? "summary_index" : "content_index", out);
	}
	out_json(&j, "delta", e->text);
	if (kind == PART_TEXT)
		out_json(&j, "logprobs", SPAN_LIT("[]"));
	close_event(&j);
}

static void
end_text(struct writer *w, enum part_kind kind, struct bytes *out)
{
	struct json_out j, kept = { .to = &w->contents, .comma = w->contents.len > 0 };

	j = open_part_event(w,
		kind == PART_REFUSAL ? "response.refusal.done" : "response.output_text.done",
		"content_index", out);
	put_text_string(w, &j, kind == PART_REFUSAL ? "refusal" : "text");
	if (kind == PART_TEXT)
		out_json(&j, "logprobs", SPAN_LIT("[]"));
	close_event(&j);
	j = open_part_event(w, "response.content_part.done", "content_index", out);
	put_content(w, &j, "part", kind);
	close_event(&j);
	put_content(w, &kept, NULL, kind);
	w->parts_done++;
}

static void
end_reasoning(struct writer *w, const struct neutral_part *p, struct bytes *out)
{
	struct json_out j;

	if (w->text.len > 0) {
		j = open_part_event(
			w, "response.reasoning_summary_text.done", "summary_index", out);
		put_text_string(w, &j, "text");
		close_event(&j);
		j = open_part_event(
			w, "response.reasoning_summary_part.done", "summary_index", out);
		put_summary(w, &j, "part");
		close_event(&j);
	}
	end_item(w, p, out);
}

static void
end_call(struct writer *w, const struct neutral_event *e, struct bytes *out)
{
	struct neutral_event empty = *e;
	struct json_out j;

	if (w->text.len == 0 && !e->part.is_custom) {
		empty.text = SPAN_LIT("\"{}\"");
		more_of_part(w, &empty, out);
	}
	j = open_part_event(w,
		e->part.is_custom ? "response.custom_tool_call_input.done"
				  : "response.function_call_arguments.done",
		NULL, out);
	if (!e->part.is_custom)
		out_text(&j, "name", e->part.name);
	put_text_string(w, &j, e->part.is_custom ? "input" : "arguments");
	close_event(&j);
	end_item(w, &e->part, out);
}

/* What a model drew comes as one item, whole. */
static void
put_image(struct writer *w, const struct neutral_part *p, struct bytes *out)
{
	struct json_out j, kept = { .to = &w->items, .comma = w->items.len > 0 };
	struct bytes item = BYTES_LIMIT(RESPONSE_MAX);
	struct json_out i = { .to = &item };
	char number[24];

	if (p->data.at == NULL)
		return;
	(void)snprintf(number, sizeof number, "_%lld", (long long)w->items_done);
	out_open(&i, NULL, '{');
	out_string_begin(&i, "id");
	out_string_plain(&i, SPAN_LIT("ig_"));
	out_string_plain(&i, bytes_span(&w->own));
	out_string_plain(&i, span_of(number));
	out_string_end(&i);
	out_string(&i, "type", "image_generation_call");
	out_string(&i, "status", "completed");
	out_text(&i, "result", p->data);
	out_close(&i, '}');
	for (int done = 0; done < 2; done++) {
		j = open_event(
			w, done ? "response.output_item.done" : "response.output_item.added", out);
		out_int(&j, "output_index", w->items_done);
		out_json(&j, "item", bytes_span(&item));
		close_event(&j);
	}
	out_json(&kept, NULL, bytes_span(&item));
	w->items_done++;
	out->failed = out->failed || item.failed;
	bytes_free(&item);
}

static void
end_part(struct writer *w, const struct neutral_event *e, struct bytes *out)
{
	switch (e->part.kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		end_text(w, e->part.kind, out);
		break;
	case PART_TOOL_CALL:
		end_call(w, e, out);
		break;
	case PART_REASONING:
	case PART_REDACTED:
		end_reasoning(w, &e->part, out);
		break;
	default:
		break;
	}
}

/* ---- the end ---- */

static void
put_end(struct writer *w, struct bytes *out)
{
	struct responses_head h = head_of(w);

	if (w->item == ITEM_MESSAGE)
		end_item(w, NULL, out);
	h.status = responses_status(w->finish);
	h.incomplete = responses_incomplete(w->finish);
	h.usage = &w->usage;
	put_response(
		w, h.incomplete == NULL ? "response.completed" : "response.incomplete", &h, out);
}

static void
put_failure(
	struct writer *w, const struct reply_options *o, const struct err *err, struct bytes *out)
{
	struct neutral_event nothing = { .kind = EVENT_START };
	struct responses_head h;

	if (w->id.len == 0)
		begin(w, o, &nothing, out);
	h = head_of(w);
	h.status = "failed";
	h.failed = err;
	h.usage = &w->usage;
	put_response(w, "response.failed", &h, out);
}

int
openai_responses_write_event(void *state, const struct reply_options *o,
	const struct neutral_event *e, struct bytes *out)
{
	struct writer *w = state;

	/* there is one answer here */
	if (e->choice != 0 || w->over)
		return 0;
	switch (e->kind) {
	case EVENT_START:
		begin(w, o, e, out);
		break;
	case EVENT_PART:
		begin_part(w, e, out);
		if (e->part.kind == PART_IMAGE)
			put_image(w, &e->part, out);
		break;
	case EVENT_DELTA:
		more_of_part(w, e, out);
		break;
	case EVENT_PART_END:
		end_part(w, e, out);
		break;
	case EVENT_FINISH:
		w->finish = e->finish;
		break;
	case EVENT_USAGE:
		usage_merge(&w->usage, &e->usage);
		break;
	case EVENT_PING:
		(void)bytes_puts(out, ": ping\n\n");
		break;
	case EVENT_ERROR:
		put_failure(w, o, e->err, out);
		w->over = true;
		break;
	default:
		put_end(w, out);
		w->over = true;
		break;
	}
	return out->failed || w->items.failed || w->text.failed || w->contents.failed ||
			       w->signature.failed || w->model.failed || w->id.failed ||
			       w->own.failed
		       ? -1
		       : 0;
}
