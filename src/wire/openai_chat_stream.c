/*
 * openai_chat_stream.c - a provider's chat stream into neutral events.
 */
#include "wire/openai_chat-int.h"
#include "wire/queue-int.h"

#include "wire/openai.h"
#include "wire/wire-int.h"
#include <string.h>

#define DETAILS_MAX 64   /* reasoning details of one chunk */
#define LEGACY      (-2) /* the key of delta.function_call */

const size_t openai_chat_reader_bytes = sizeof(struct queue);

struct walk {
	struct queue *q;
	struct queue_choice *c;
	enum part_kind kind; /* of text */
	int rc;
};

static int
read_piece(struct queue *q, struct queue_choice *c, struct json_value v)
{
	static const char *const names[] = { "index", "id", "function", "custom", "extra_content" };
	static const char *const function[] = { "name", "arguments" };
	static const char *const custom[] = { "name", "input" };
	struct json_value got[5], inner[2];
	struct queue_piece p = { .key = QUEUE_NO_KEY };

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return 0;
	p.is_custom = got[3].type == JSON_OBJECT;
	(void)text_pick(got[p.is_custom ? 3 : 2].raw, p.is_custom ? custom : function, 2, inner,
		NULL, NULL);
	if (json_int(got[0], &p.key) != 0 || p.key < 0)
		p.key = QUEUE_NO_KEY;
	p.id = queue_plain(q, got[1]);
	p.name = queue_plain(q, inner[0]);
	p.arguments = inner[1];
	if (got[4].type == JSON_OBJECT && queue_arena(q) != NULL)
		p.signature = chat_thought_signature(q->frame, got[4]);
	if (p.arguments.type == JSON_OBJECT) {
		struct arena *a = queue_arena(q);

		/* Some give the object itself. */
		p.arguments = (struct json_value){ JSON_STRING,
			a == NULL ? SPAN_NONE : text_quoted(a, p.arguments.raw) };
		if (p.arguments.raw.at == NULL)
			return -1;
	}
	return queue_add_piece(q, c, &p);
}

static bool
each_piece(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;

	w->rc = read_piece(w->q, w->c, m->value);
	return w->rc == 0 && !w->q->over;
}

static int
read_function_call(struct queue *q, struct queue_choice *c, struct json_value v)
{
	static const char *const names[] = { "name", "arguments" };
	struct json_value got[2];
	struct queue_piece p = { .key = LEGACY };

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return 0;
	p.name = queue_plain(q, got[0]);
	p.arguments = got[1];
	return queue_add_piece(q, c, &p);
}

/* ---- reasoning ---- */

struct details {
	struct neutral_part part[DETAILS_MAX];
	size_t count;
};

static struct neutral_part *
note_detail(void *ctx, enum part_kind kind)
{
	struct details *d = ctx;

	if (d->count == DETAILS_MAX)
		return NULL;
	d->part[d->count] = (struct neutral_part){ .kind = kind };
	return &d->part[d->count++];
}

/* True when something of it was taken. */
static int
read_details(struct queue *q, struct queue_choice *c, struct json_value v, bool *any)
{
	struct details d;
	struct arena *a = queue_arena(q);

	d.count = 0;
	*any = false;
	if (a == NULL)
		return -1;
	(void)chat_read_reasoning_details(a, v, note_detail, &d);
	for (size_t i = 0; i < d.count && !q->over; i++) {
		*any = true;
		if (queue_add_reasoning(q, c, QUEUE_NO_KEY, &d.part[i]) != 0)
			return -1;
	}
	return 0;
}

/* ---- the rest of a delta ---- */

/* Parts, as Mistral streams them; `thinking` is text, or parts again. */
static bool
each_part(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "type", "text", "thinking" };
	struct walk *w = ctx, inner = { w->q, w->c, PART_REASONING, 0 };
	struct json_value got[3];
	bool is_thinking;

	if (m->value.type != JSON_OBJECT || TEXT_PICK(m->value.raw, names, got) != 0)
		return true;
	is_thinking = got[2].type != JSON_NONE;
	if (is_thinking && got[2].type == JSON_ARRAY && w->kind == PART_TEXT) {
		(void)json_each_element(got[2].raw, each_part, &inner, NULL);
		w->rc = inner.rc;
	} else {
		w->rc = queue_add_text(w->q, w->c, is_thinking ? PART_REASONING : w->kind,
			QUEUE_NO_KEY, is_thinking ? got[2] : got[1]);
	}
	return w->rc == 0 && !w->q->over;
}

static bool
each_image(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;
	struct json_value url = json_path(m->value.raw, "image_url.url");
	struct neutral_part p = { .kind = PART_IMAGE };
	struct span text = queue_plain(w->q, url);

	if (text.len == 0 || !chat_read_url(text, &p))
		return true;
	w->rc = queue_add_media(w->q, w->c, &p);
	return w->rc == 0 && !w->q->over;
}

/* Streams carry raw samples, a piece in each chunk; the transcript is what others have as text. */
static int
read_audio(struct queue *q, struct queue_choice *c, struct json_value v)
{
	static const char *const names[] = { "data", "transcript" };
	struct neutral_part p = { .kind = PART_AUDIO, .mime = SPAN_LIT("audio/pcm") };
	struct json_value got[2];

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return 0;
	if (queue_add_text(q, c, PART_TEXT, QUEUE_NO_KEY, got[1]) != 0)
		return -1;
	p.data = queue_plain(q, got[0]);
	return q->over || p.data.len == 0 ? 0 : queue_add_media(q, c, &p);
}

static int
read_reasoning(struct queue *q, struct queue_choice *c, const struct json_value *got)
{
	bool any = false;

	if (got[CHAT_REASONING_DETAILS].type == JSON_ARRAY &&
		read_details(q, c, got[CHAT_REASONING_DETAILS], &any) != 0)
		return -1;
	if (any || q->over)
		return 0;
	return queue_add_text(q, c, PART_REASONING, QUEUE_NO_KEY, chat_reasoning_of(got));
}

static int
read_delta(struct queue *q, struct queue_choice *c, struct json_value delta)
{
	struct walk w = { q, c, PART_TEXT, 0 };
	struct json_value got[CHAT_ANSWER_MEMBERS];

	if (delta.type != JSON_OBJECT || text_pick(delta.raw, chat_answer_members,
						 CHAT_ANSWER_MEMBERS, got, NULL, NULL) != 0)
		return 0;
	if (read_reasoning(q, c, got) != 0)
		return -1;
	if (!q->over && got[CHAT_CONTENT].type == JSON_ARRAY)
		(void)json_each_element(got[CHAT_CONTENT].raw, each_part, &w, NULL);
	if (w.rc != 0 ||
		(!q->over &&
			queue_add_text(q, c, PART_TEXT, QUEUE_NO_KEY, got[CHAT_CONTENT]) != 0) ||
		(!q->over &&
			queue_add_text(q, c, PART_REFUSAL, QUEUE_NO_KEY, got[CHAT_REFUSAL]) != 0) ||
		(!q->over && read_audio(q, c, got[CHAT_AUDIO]) != 0))
		return -1;
	if (!q->over && got[CHAT_IMAGES].type == JSON_ARRAY)
		(void)json_each_element(got[CHAT_IMAGES].raw, each_image, &w, NULL);
	if (w.rc == 0 && !q->over && got[CHAT_TOOL_CALLS].type == JSON_ARRAY)
		(void)json_each_element(got[CHAT_TOOL_CALLS].raw, each_piece, &w, NULL);
	if (w.rc != 0)
		return -1;
	return q->over ? 0 : read_function_call(q, c, got[CHAT_FUNCTION_CALL]);
}

/* ---- chunks ---- */

static int
read_choice(struct queue *q, struct json_value v)
{
	static const char *const names[] = { "index", "delta", "message", "finish_reason",
		"error" };
	struct json_value got[5];
	struct queue_choice *c;
	enum finish said;
	int64_t index = 0;
	bool failed;

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, got) != 0)
		return queue_unreadable(q, "a choice that is no object");
	if (chat_is_error(got[4]))
		return queue_fail_of_provider(q, v.raw);
	(void)json_int(got[0], &index);
	if (index < 0 || index >= NEUTRAL_CHOICES_MAX)
		return queue_unreadable(q, "a choice out of range");
	c = &q->choice[index];
	c->seen = true;
	if (read_delta(q, c, got[1].type == JSON_OBJECT ? got[1] : got[2]) != 0)
		return -1;
	if (q->over)
		return 0;
	said = chat_finish(got[3], &failed);
	if (failed)
		return queue_fail_of_provider(q, v.raw);
	if (said != FINISH_NONE)
		c->finish = said;
	return 0;
}

static bool
each_choice(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;

	w->rc = read_choice(w->q, m->value);
	return w->rc == 0 && !w->q->over;
}

static bool
note_any(void *ctx, const struct json_member *m)
{
	(void)m;
	*(bool *)ctx = true;
	return false;
}

static int
read_chunk(struct queue *q, struct span data)
{
	static const char *const names[] = { "id", "model", "created", "choices", "error", "usage",
		"x_groq", "service_tier", "object" };
	struct walk w = { .q = q };
	struct json_value got[9];
	char object[16];
	bool any = false;

	if (TEXT_PICK(data, names, got) != 0)
		return queue_unreadable(q, "an event that is no JSON object");
	wire_copy_string(got[8], object, sizeof object);
	if (chat_is_error(got[4]) || strcmp(object, "error") == 0)
		return queue_fail_of_provider(q, data);
	if (got[3].type == JSON_ARRAY)
		(void)json_each_element(got[3].raw, note_any, &any, NULL);
	/* Azure's first chunk has no choices and says nothing of the answer. */
	if (!q->started && any && queue_start(q, got[0], got[1], got[2]) != 0)
		return -1;
	if (any)
		(void)json_each_element(got[3].raw, each_choice, &w, NULL);
	if (w.rc != 0 || q->over)
		return w.rc;
	if (got[5].type != JSON_OBJECT && got[6].type != JSON_OBJECT && got[7].type != JSON_STRING)
		return 0;
	openai_usage(data, &q->usage);
	if (got[7].type == JSON_STRING && got[5].type != JSON_OBJECT && got[6].type != JSON_OBJECT)
		return 0; /* the tier alone, in every chunk: goes with the figures */
	return queue_tell_usage(q);
}

/* ---- the end ---- */

static int
end(struct queue *q, bool is_said)
{
	if (!q->started)
		return queue_truncated(q);
	for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++)
		if (q->choice[i].seen && q->choice[i].finish == FINISH_NONE && !is_said)
			return queue_truncated(q);
	return queue_finish(q);
}

int
openai_chat_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx)
{
	struct queue *q = state;
	int rc;

	if (q->over || chat_is_blank(f->data))
		return 0;
	queue_begin_frame(q, emit, ctx);
	rc = span_starts(f->data, "[DONE]") ? end(q, true) : read_chunk(q, f->data);
	queue_end_frame(q);
	return rc;
}

int
openai_chat_read_end(void *state, neutral_emit *emit, void *ctx)
{
	struct queue *q = state;
	int rc;

	if (q->over)
		return 0;
	queue_begin_frame(q, emit, ctx);
	rc = end(q, false);
	queue_end_frame(q);
	return rc;
}

void
openai_chat_reader_free(void *state)
{
	queue_free(state);
}
