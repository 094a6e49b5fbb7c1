/*
 * openai_responses_stream.c - a provider's stream of a response into neutral events.
 *
 * What is streamed is told again when a part, an item and the response are done; that counts only where
 * nothing was streamed.
 */
#include "wire/openai_responses-int.h"
#include "wire/queue-int.h"

#include "wire/openai.h"
#include "wire/wire-int.h"
#include <string.h>

#define ITEMS_MAX    4096 /* of a response */
#define CONTENTS_MAX 4096 /* of an item */
#define TYPE_BYTES   64

struct stream {
	struct queue q;
	int64_t summary_item, summary; /* of reasoning: the part of its summary that is under way */
	int64_t items_done;            /* those before it are done */
};

const size_t openai_responses_reader_bytes = sizeof(struct stream);

/* The members that any event may have. */
enum {
	TYPE,
	RESPONSE,
	OUTPUT_INDEX,
	CONTENT_INDEX,
	SUMMARY_INDEX,
	ITEM,
	DELTA,
	TEXT,
	REFUSAL,
	ARGUMENTS,
	INPUT,
	FIELDS
};
static const char *const fields[FIELDS] = { "type", "response", "output_index", "content_index",
	"summary_index", "item", "delta", "text", "refusal", "arguments", "input" };

static struct queue_choice *
answer(struct stream *s)
{
	return &s->q.choice[0];
}

/* What a part is called in the queue. */
static int64_t
key_of(int64_t item, int64_t content)
{
	return item * CONTENTS_MAX + content;
}

/* An index, 0 where there is none; -1: out of range. */
static int64_t
index_of(struct json_value v, int64_t most)
{
	int64_t n;

	if (json_int(v, &n) != 0)
		return 0;
	return n < 0 || n >= most ? -1 : n;
}

static int
begin(struct stream *s, struct json_value response)
{
	static const char *const names[] = { "id", "model", "created_at" };
	struct json_value got[3] = { { .type = JSON_NONE } };

	answer(s)->seen = true;
	if (s->q.started)
		return 0;
	if (response.type == JSON_OBJECT)
		(void)TEXT_PICK(response.raw, names, got);
	return queue_start(&s->q, got[0], got[1], got[2]);
}

/* ---- texts ---- */

/* more: what is told again; it counts where nothing came before. */
static int
add_text(struct stream *s, enum part_kind kind, int64_t key, struct json_value v, bool again)
{
	struct queue_part *t = again ? queue_find(answer(s), kind, key) : NULL;

	return t != NULL && t->has_text ? 0 : queue_add_text(&s->q, answer(s), kind, key, v);
}

static int
add_reasoning(struct stream *s, int64_t item, int64_t summary, struct json_value v, bool again)
{
	static const struct json_value gap = { JSON_STRING, { "\"\\n\\n\"", 6 } };
	struct queue_part *t = queue_find(answer(s), PART_REASONING, key_of(item, 0));

	if (s->summary_item != item || t == NULL) {
		s->summary_item = item;
		s->summary = summary;
	} else if (summary > s->summary && !again) {
		s->summary = summary;
		if (queue_add_text(&s->q, answer(s), PART_REASONING, key_of(item, 0), gap) != 0)
			return -1;
	}
	return s->q.over ? 0 : add_text(s, PART_REASONING, key_of(item, 0), v, again);
}

static int
complete(struct stream *s, enum part_kind kind, int64_t key)
{
	struct queue_part *t = queue_find(answer(s), kind, key);

	return t == NULL || s->q.over ? 0 : queue_complete(&s->q, answer(s), t);
}

/* ---- calls ---- */

static int
add_arguments(struct stream *s, int64_t item, struct json_value v, bool again)
{
	struct queue_piece p = { .key = key_of(item, 0), .arguments = v };
	struct queue_part *t = queue_find(answer(s), PART_TOOL_CALL, p.key);

	if (v.type != JSON_STRING || (again && t != NULL && t->has_text))
		return 0;
	return queue_add_piece(&s->q, answer(s), &p);
}

static int
add_call(struct stream *s, int64_t item, struct json_value v, bool is_custom)
{
	struct queue_piece p = { .key = key_of(item, 0), .is_custom = is_custom };

	if (queue_find(answer(s), PART_TOOL_CALL, p.key) != NULL)
		return 0;
	p.id = queue_plain(&s->q, json_get(v.raw, "call_id"));
	p.name = queue_plain(&s->q, json_get(v.raw, "name"));
	return queue_add_piece(&s->q, answer(s), &p);
}

/* ---- items ---- */

struct contents {
	struct stream *s;
	int64_t item, content;
	int rc;
};

static bool
each_content(void *ctx, const struct json_member *m)
{
	static const char *const names[] = { "text", "refusal" };
	static const enum part_kind kinds[] = { PART_TEXT, PART_REFUSAL };
	struct contents *c = ctx;
	struct json_value got[2];
	int64_t key = key_of(c->item, c->content++);

	if (c->content > CONTENTS_MAX || m->value.type != JSON_OBJECT ||
		TEXT_PICK(m->value.raw, names, got) != 0)
		return true;
	for (size_t i = 0; i < 2 && c->rc == 0 && !c->s->q.over; i++) {
		c->rc = add_text(c->s, kinds[i], key, got[i], true);
		if (c->rc == 0)
			c->rc = complete(c->s, kinds[i], key);
	}
	return c->rc == 0 && !c->s->q.over;
}

static int
call_done(struct stream *s, int64_t item, struct json_value v, bool is_custom)
{
	if (add_call(s, item, v, is_custom) != 0 || s->q.over ||
		add_arguments(s, item, json_get(v.raw, is_custom ? "input" : "arguments"), true) !=
			0)
		return s->q.over ? 0 : -1;
	return complete(s, PART_TOOL_CALL, key_of(item, 0));
}

static int
reasoning_done(struct stream *s, int64_t item, struct json_value v)
{
	struct arena *a = queue_arena(&s->q);
	struct queue_part *t = queue_find(answer(s), PART_REASONING, key_of(item, 0));
	struct neutral_part p = { .kind = PART_REASONING };
	struct span text;

	if (a == NULL)
		return -1;
	text = responses_reasoning_text(a, json_get(v.raw, "summary"), json_get(v.raw, "content"));
	p.text = text.at != NULL ? text : SPAN_LIT("\"\"");
	responses_read_encrypted(a, json_get(v.raw, "encrypted_content"), &p);
	if (t != NULL && t->has_text) { /* it was streamed */
		p.kind = PART_REASONING;
		p.text = SPAN_NONE;
	}
	if (p.kind == PART_REASONING && text_is_empty(p.text) && p.signature.len == 0)
		return complete(s, PART_REASONING, key_of(item, 0));
	if (queue_add_reasoning(&s->q, answer(s), key_of(item, 0), &p) != 0)
		return -1;
	return complete(s, PART_REASONING, key_of(item, 0));
}

static int
image_done(struct stream *s, struct json_value v)
{
	struct neutral_part p = { .kind = PART_IMAGE };

	p.data = queue_plain(&s->q, json_get(v.raw, "result"));
	p.mime = responses_image_mime(json_get(v.raw, "output_format"));
	return p.data.len == 0 ? 0 : queue_add_media(&s->q, answer(s), &p);
}

static int
item_done(struct stream *s, int64_t item, struct json_value v)
{
	struct contents c = { s, item, 0, 0 };
	struct json_value content;
	char type[TYPE_BYTES];

	if (v.type != JSON_OBJECT || item < s->items_done)
		return 0;
	s->items_done = item + 1;
	wire_copy_string(json_get(v.raw, "type"), type, sizeof type);
	if (strcmp(type, "function_call") == 0)
		return call_done(s, item, v, false);
	if (strcmp(type, "custom_tool_call") == 0)
		return call_done(s, item, v, true);
	if (strcmp(type, "reasoning") == 0)
		return reasoning_done(s, item, v);
	if (strcmp(type, "image_generation_call") == 0)
		return image_done(s, v);
	content = json_get(v.raw, "content");
	if (strcmp(type, "message") == 0 && content.type == JSON_ARRAY)
		(void)json_each_element(content.raw, each_content, &c, NULL);
	return c.rc;
}

/* ---- the end ---- */

static bool
each_item(void *ctx, const struct json_member *m)
{
	struct contents *c = ctx;

	if (c->item == ITEMS_MAX)
		return false;
	c->rc = item_done(c->s, c->item++, m->value);
	return c->rc == 0 && !c->s->q.over;
}

static int
over(struct stream *s, struct span data, struct json_value response)
{
	static const char *const names[] = { "status", "incomplete_details", "output" };
	struct contents c = { s, 0, 0, 0 };
	struct json_value got[3] = { { .type = JSON_NONE } };

	if (response.type == JSON_OBJECT)
		(void)TEXT_PICK(response.raw, names, got);
	if (got[2].type == JSON_ARRAY)
		(void)json_each_element(got[2].raw, each_item, &c, NULL);
	if (c.rc != 0 || s->q.over)
		return c.rc;
	openai_usage(data, &s->q.usage);
	if (queue_tell_usage(&s->q) != 0)
		return -1;
	answer(s)->finish = responses_finish(got[0], got[1], false);
	return queue_finish(&s->q);
}

/* ---- events ---- */

static int
read_delta(struct stream *s, const char *type, const struct json_value *got)
{
	/* told: the member that holds the whole when it is done */
	static const struct {
		const char *type;
		enum part_kind kind;
		int told;
	} texts[] = {
		{ "response.output_text", PART_TEXT, TEXT },
		{ "response.refusal", PART_REFUSAL, REFUSAL },
		{ "response.reasoning_summary_text", PART_REASONING, TEXT },
		{ "response.reasoning_text", PART_REASONING, TEXT },
		{ "response.function_call_arguments", PART_TOOL_CALL, ARGUMENTS },
		{ "response.custom_tool_call_input", PART_TOOL_CALL, INPUT },
	};
	int64_t item = index_of(got[OUTPUT_INDEX], ITEMS_MAX);
	int64_t content = index_of(got[CONTENT_INDEX], CONTENTS_MAX);
	int64_t summary = index_of(got[SUMMARY_INDEX], CONTENTS_MAX);
	const char *dot = strrchr(type, '.');
	bool done = strcmp(dot, ".done") == 0;
	struct json_value v;

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (strncmp(type, texts[i].type, (size_t)(dot - type)) != 0 ||
			strlen(texts[i].type) != (size_t)(dot - type))
			continue;
		if (item < 0 || content < 0 || summary < 0)
			return queue_unreadable(&s->q, "an index out of range");
		if (begin(s, got[RESPONSE]) != 0)
			return -1;
		v = done ? got[texts[i].told] : got[DELTA];
		/* a summary has several parts: it is complete with its item */
		if (texts[i].kind == PART_REASONING)
			return add_reasoning(s, item, summary, v, done);
		if (texts[i].kind == PART_TOOL_CALL)
			content = 0;
		if ((texts[i].kind == PART_TOOL_CALL
				    ? add_arguments(s, item, v, done)
				    : add_text(s, texts[i].kind, key_of(item, content), v, done)) !=
			0)
			return -1;
		return done ? complete(s, texts[i].kind, key_of(item, content)) : 0;
	}
	return 0;
}

static int
read_item_event(struct stream *s, const struct json_value *got, bool done)
{
	int64_t item = index_of(got[OUTPUT_INDEX], ITEMS_MAX);
	char type[TYPE_BYTES];

	if (item < 0)
		return queue_unreadable(&s->q, "an index out of range");
	if (begin(s, got[RESPONSE]) != 0)
		return -1;
	if (done)
		return item_done(s, item, got[ITEM]);
	if (got[ITEM].type != JSON_OBJECT)
		return 0;
	wire_copy_string(json_get(got[ITEM].raw, "type"), type, sizeof type);
	if (strcmp(type, "function_call") == 0 || strcmp(type, "custom_tool_call") == 0)
		return add_call(s, item, got[ITEM], type[0] == 'c');
	return 0;
}

static int
read_event(struct stream *s, const struct frame *f)
{
	struct json_value got[FIELDS];
	char type[TYPE_BYTES];

	if (text_pick(f->data, fields, FIELDS, got, NULL, NULL) != 0)
		return queue_unreadable(&s->q, "an event that is no JSON object");
	if (got[TYPE].type == JSON_STRING)
		wire_copy_string(got[TYPE], type, sizeof type);
	else
		(void)span_copy(f->name, type, sizeof type);
	if (strcmp(type, "error") == 0 || strcmp(type, "response.failed") == 0 ||
		strcmp(type, "response.cancelled") == 0 ||
		(type[0] == '\0' && chat_is_error(json_get(f->data, "error"))))
		return queue_fail_of_provider(&s->q, f->data);
	if (strcmp(type, "response.created") == 0 || strcmp(type, "response.in_progress") == 0)
		return begin(s, got[RESPONSE]);
	if (strcmp(type, "response.output_item.added") == 0)
		return read_item_event(s, got, false);
	if (strcmp(type, "response.output_item.done") == 0)
		return read_item_event(s, got, true);
	if (strcmp(type, "response.completed") == 0 || strcmp(type, "response.incomplete") == 0)
		return begin(s, got[RESPONSE]) != 0 ? -1 : over(s, f->data, got[RESPONSE]);
	if (strchr(type, '.') == NULL)
		return 0;
	return read_delta(s, type, got);
}

int
openai_responses_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx)
{
	struct stream *s = state;
	int rc;

	if (s->q.over || chat_is_blank(f->data))
		return 0;
	queue_begin_frame(&s->q, emit, ctx);
	rc = span_starts(f->data, "[DONE]") ? queue_truncated(&s->q) : read_event(s, f);
	queue_end_frame(&s->q);
	return rc;
}

int
openai_responses_read_end(void *state, neutral_emit *emit, void *ctx)
{
	struct stream *s = state;

	if (s->q.over)
		return 0;
	queue_begin_frame(&s->q, emit, ctx);
	return queue_truncated(&s->q);
}

void
openai_responses_reader_free(void *state)
{
	queue_free(&((struct stream *)state)->q);
}
