/*
 * openai_chat_stream_write.c - neutral events as a chat stream: `data:` lines, one id, one [DONE].
 */
#include "wire/openai_chat-int.h"

#include "base/hash.h"
#include <string.h>

#define HEAD_MAX  65536 /* of what all chunks have in common: the model's name is the client's */
#define ID_RANDOM 12    /* bytes of an id that we make */

struct writer {
	struct bytes head; /* data: {"id":…,"choices":[ */
	struct wire_usage usage;
	struct {
		bool begun;     /* its role was told */
		bool arguments; /* of the call under way something was told */
		bool audio;
		int64_t calls, images;
	} choice[NEUTRAL_CHOICES_MAX];
};

const size_t openai_chat_writer_bytes = sizeof(struct writer);

void
openai_chat_writer_free(void *state)
{
	bytes_free(&((struct writer *)state)->head);
}

static void
make_id(const char *prefix, char *out, size_t room)
{
	uint8_t dice[ID_RANDOM];
	size_t len = strlen(prefix);

	hash_random(dice, sizeof dice);
	(void)span_copy(span_of(prefix), out, room);
	hash_hex(dice, sizeof dice, out + len);
}

static void
begin(struct writer *w, const struct reply_options *o, const struct neutral_event *e)
{
	struct json_out j = { .to = &w->head };
	char id[64];

	w->usage = WIRE_USAGE_NONE;
	w->head.limit = HEAD_MAX;
	make_id("chatcmpl-", id, sizeof id);
	(void)bytes_puts(&w->head, "data: ");
	out_open(&j, NULL, '{');
	out_text(&j, "id", e->id.len > 0 ? e->id : span_of(id));
	out_string(&j, "object", "chat.completion.chunk");
	out_int(&j, "created", e->created_s > 0 ? e->created_s : o->now_s);
	out_text(&j, "model",
		o->model != NULL && o->model[0] != '\0' ? span_of(o->model) : e->model);
	out_open(&j, "choices", '[');
}

/* ---- one chunk of a choice ---- */

static struct json_out
open_delta(const struct writer *w, int choice, struct bytes *out)
{
	struct json_out j = { .to = out };

	(void)bytes_add(out, w->head.at, w->head.len);
	out_open(&j, NULL, '{');
	out_int(&j, "index", choice);
	out_open(&j, "delta", '{');
	return j;
}

static void
close_delta(struct json_out *j, const struct reply_options *o, const char *finish)
{
	out_close(j, '}');
	if (finish == NULL)
		out_null(j, "finish_reason");
	else
		out_string(j, "finish_reason", finish);
	out_close(j, '}');
	out_close(j, ']');
	/* as OpenAI has it: in all chunks but the last */
	if (o->include_usage)
		out_null(j, "usage");
	out_close(j, '}');
	(void)bytes_puts(j->to, "\n\n");
}

static void
put_role(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct json_out j;

	if (w->choice[e->choice].begun)
		return;
	w->choice[e->choice].begun = true;
	j = open_delta(w, e->choice, out);
	out_string(&j, "role", "assistant");
	if (e->kind == EVENT_PART && e->part.kind == PART_TOOL_CALL)
		out_null(&j, "content");
	else
		out_string(&j, "content", "");
	close_delta(&j, o, NULL);
}

static void
open_call(struct writer *w, int choice, struct json_out *j)
{
	out_open(j, "tool_calls", '[');
	out_open(j, NULL, '{');
	out_int(j, "index", w->choice[choice].calls - 1);
}

static void
close_call(struct json_out *j)
{
	out_close(j, '}');
	out_close(j, ']');
}

static void
put_part(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	const struct neutral_part *p = &e->part;
	const char *kind = p->is_custom ? "custom" : "function";
	struct json_out j;
	char id[64];

	if (p->kind != PART_TOOL_CALL && p->kind != PART_IMAGE && p->kind != PART_AUDIO)
		return;
	j = open_delta(w, e->choice, out);
	if (p->kind == PART_TOOL_CALL) {
		w->choice[e->choice].calls++;
		w->choice[e->choice].arguments = false;
		open_call(w, e->choice, &j);
		out_text(&j, "id", p->call_id);
		out_string(&j, "type", kind);
		out_open(&j, kind, '{');
		out_text(&j, "name", p->name);
		out_string(&j, p->is_custom ? "input" : "arguments", "");
		out_close(&j, '}');
		close_call(&j);
	} else if (p->kind == PART_IMAGE) {
		out_open(&j, "images", '[');
		chat_write_image(&j, p, w->choice[e->choice].images++);
		out_close(&j, ']');
	} else {
		out_open(&j, "audio", '{');
		if (!w->choice[e->choice].audio) {
			make_id("audio_", id, sizeof id);
			out_string(&j, "id", id);
		}
		w->choice[e->choice].audio = true;
		out_text(&j, "data", p->data);
		out_close(&j, '}');
	}
	close_delta(&j, o, NULL);
}

static void
put_arguments(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct span text, struct bytes *out)
{
	struct json_out j = open_delta(w, e->choice, out);

	w->choice[e->choice].arguments = true;
	open_call(w, e->choice, &j);
	out_open(&j, e->part.is_custom ? "custom" : "function", '{');
	out_json(&j, e->part.is_custom ? "input" : "arguments", text);
	out_close(&j, '}');
	close_call(&j);
	close_delta(&j, o, NULL);
}

static void
put_signature(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct json_out j;

	if (e->part.kind != PART_TOOL_CALL || e->part.signer != SIGNER_GEMINI)
		return;
	j = open_delta(w, e->choice, out);
	open_call(w, e->choice, &j);
	chat_write_thought_signature(&j, e->signature);
	close_call(&j);
	close_delta(&j, o, NULL);
}

static void
put_delta(struct writer *w, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	const char *key = e->part.kind == PART_TEXT        ? "content"
			  : e->part.kind == PART_REASONING ? "reasoning_content"
			  : e->part.kind == PART_REFUSAL   ? "refusal"
							   : NULL;
	struct json_out j;

	if (e->signature.at != NULL)
		put_signature(w, o, e, out);
	if (text_is_empty(e->text))
		return;
	if (e->part.kind == PART_TOOL_CALL) {
		put_arguments(w, o, e, e->text, out);
	} else if (key != NULL) {
		j = open_delta(w, e->choice, out);
		out_json(&j, key, e->text);
		close_delta(&j, o, NULL);
	}
}

/* ---- the end ---- */

static void
put_end(const struct writer *w, const struct reply_options *o, struct bytes *out)
{
	struct json_out j = { .to = out };

	if (o->include_usage && w->usage.seen) {
		(void)bytes_add(out, w->head.at, w->head.len);
		out_close(&j, ']');
		chat_write_usage(&j, &w->usage);
		out_close(&j, '}');
		(void)bytes_puts(out, "\n\n");
	}
	(void)bytes_puts(out, "data: [DONE]\n\n");
}

/* No [DONE] behind it: the SDK would take the answer for whole. */
static void
put_error(const struct err *err, struct bytes *out)
{
	struct json_out j = { .to = out };

	if (strcmp(err->says, STREAM_TRUNCATED) != 0) {
		(void)error_event(DIALECT_OPENAI, err, NULL, out);
		return;
	}
	(void)bytes_puts(out, "data: ");
	out_open(&j, NULL, '{');
	out_open(&j, "error", '{');
	out_string(&j, "message", err->says);
	out_string(&j, "type", error_type(DIALECT_OPENAI, err->code));
	out_null(&j, "param");
	out_string(&j, "code", "upstream_stream_truncated");
	out_close(&j, '}');
	out_close(&j, '}');
	(void)bytes_puts(out, "\n\n");
}

int
openai_chat_write_event(void *state, const struct reply_options *o, const struct neutral_event *e,
	struct bytes *out)
{
	struct writer *w = state;
	struct json_out j;

	switch (e->kind) {
	case EVENT_START:
		begin(w, o, e);
		break;
	case EVENT_PART:
		put_role(w, o, e, out);
		put_part(w, o, e, out);
		break;
	case EVENT_DELTA:
		put_delta(w, o, e, out);
		break;
	case EVENT_PART_END:
		if (e->part.kind == PART_TOOL_CALL && !e->part.is_custom &&
			!w->choice[e->choice].arguments)
			put_arguments(w, o, e, SPAN_LIT("\"{}\""), out);
		break;
	case EVENT_FINISH:
		put_role(w, o, e, out);
		j = open_delta(w, e->choice, out);
		close_delta(&j, o, chat_finish_name(e->finish));
		break;
	case EVENT_USAGE:
		usage_merge(&w->usage, &e->usage);
		break;
	case EVENT_PING:
		(void)bytes_puts(out, ": ping\n\n");
		break;
	case EVENT_ERROR:
		put_error(e->err, out);
		break;
	default:
		put_end(w, o, out);
		break;
	}
	return out->failed || w->head.failed ? -1 : 0;
}
