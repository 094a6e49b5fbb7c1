/*
 * neutral.c - the neutral form put together, looked through, and replayed.
 */
#include "wire/neutral.h"

#include "wire/text.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

const char *
part_name(enum part_kind k)
{
	static const char *const names[PART__COUNT] = { "text", "image", "document", "audio",
		"video", "tool call", "tool result", "reasoning", "redacted reasoning", "refusal" };

	return names[k];
}

void
neutral_request_init(struct neutral_request *n, struct arena *arena)
{
	*n = (struct neutral_request){
		.arena = arena, .max_output = -1, .parallel = -1, .schema_strict = -1, .budget = -1
	};
}

/* ---- settings ---- */

void
neutral_set(struct neutral_request *n, const char *canonical, struct span as, struct json_value v)
{
	if (n->field_count == NEUTRAL_FIELDS_MAX) {
		n->field_more++;
		return;
	}
	n->field[n->field_count++] =
		(struct neutral_field){ .canonical = canonical, .as = as, .value = v };
}

const struct neutral_field *
neutral_peek(const struct neutral_request *n, const char *canonical)
{
	for (size_t i = n->field_count; i > 0; i--)
		if (strcmp(n->field[i - 1].canonical, canonical) == 0)
			return &n->field[i - 1];
	return NULL;
}

const struct neutral_field *
neutral_take(struct neutral_request *n, const char *canonical)
{
	const struct neutral_field *found = neutral_peek(n, canonical);

	/* of members that came twice the last counts, and none of them is lost */
	for (size_t i = 0; found != NULL && i < n->field_count; i++)
		if (strcmp(n->field[i].canonical, canonical) == 0)
			n->field[i].taken = true;
	return found;
}

/* ---- parts ---- */

/* Arrays double: element `count` begins a new one where count is a power of two.  The old one stays
 * with the arena, which in all costs no more than the last. */
static void *
grow(struct arena *a, void *array, size_t count, size_t bytes)
{
	void *bigger;

	if (count > 0 && (count & (count - 1)) != 0)
		return array;
	bigger = arena_alloc(a, (count == 0 ? 1 : 2 * count) * bytes);
	if (bigger != NULL && count > 0)
		memcpy(bigger, array, count * bytes);
	return bigger;
}

static struct neutral_part *
add_part(struct arena *a, struct neutral_part **array, size_t *count, enum part_kind kind,
	struct err *err)
{
	struct neutral_part *bigger;

	if (*count >= NEUTRAL_PARTS_MAX) {
		(void)err_set(err, ERR_BAD_REQUEST, "more than %d parts", NEUTRAL_PARTS_MAX);
		(void)err_say(err, "There are more than %d parts in one message or tool result.",
			NEUTRAL_PARTS_MAX);
		return NULL;
	}
	bigger = grow(a, *array, *count, sizeof **array);
	if (bigger == NULL) {
		(void)err_set(err, ERR_MEMORY, "no memory for a part of a message");
		return NULL;
	}
	*array = bigger;
	bigger[*count] = (struct neutral_part){ .kind = kind };
	return &bigger[(*count)++];
}

struct neutral_part *
neutral_add(struct neutral_request *n, enum neutral_role role, enum part_kind kind, struct err *err)
{
	struct neutral_message *m =
		n->message_count == 0 ? NULL : &n->message[n->message_count - 1];

	if (m == NULL || m->role != role) {
		if (n->message_count >= NEUTRAL_PARTS_MAX) {
			(void)err_set(err, ERR_BAD_REQUEST, "too many messages");
			(void)err_say(err, "There are more than %d messages.", NEUTRAL_PARTS_MAX);
			return NULL;
		}
		m = grow(n->arena, n->message, n->message_count, sizeof *m);
		if (m == NULL) {
			(void)err_set(err, ERR_MEMORY, "no memory for a message");
			return NULL;
		}
		n->message = m;
		m = &n->message[n->message_count++];
		*m = (struct neutral_message){ .role = role };
	}
	return add_part(n->arena, &m->part, &m->count, kind, err);
}

struct neutral_part *
neutral_add_system(struct neutral_request *n, struct err *err)
{
	return add_part(n->arena, &n->system, &n->system_count, PART_TEXT, err);
}

struct neutral_part *
neutral_add_result(struct neutral_request *n, struct neutral_part *result, enum part_kind kind,
	struct err *err)
{
	return add_part(n->arena, &result->content, &result->content_count, kind, err);
}

struct neutral_tool *
neutral_add_tool(struct neutral_request *n, struct err *err)
{
	struct neutral_tool *bigger;

	if (n->tool_count >= NEUTRAL_TOOLS_MAX) {
		(void)err_set(err, ERR_BAD_REQUEST, "more than %d tools", NEUTRAL_TOOLS_MAX);
		(void)err_say(err, "There are more than %d tools.", NEUTRAL_TOOLS_MAX);
		return NULL;
	}
	bigger = grow(n->arena, n->tool, n->tool_count, sizeof *bigger);
	if (bigger == NULL) {
		(void)err_set(err, ERR_MEMORY, "no memory for a tool");
		return NULL;
	}
	n->tool = bigger;
	bigger[n->tool_count] = (struct neutral_tool){ .strict = -1 };
	return &bigger[n->tool_count++];
}

static bool
spans_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

const struct neutral_part *
neutral_call(const struct neutral_request *n, size_t before, struct span call_id)
{
	if (before > n->message_count)
		before = n->message_count;
	/* the nearest, as some clients use an id again */
	for (size_t m = before; m > 0; m--) {
		const struct neutral_message *message = &n->message[m - 1];

		for (size_t i = 0; i < message->count; i++)
			if (message->part[i].kind == PART_TOOL_CALL &&
				spans_equal(message->part[i].call_id, call_id))
				return &message->part[i];
	}
	return NULL;
}

bool
neutral_has_calls(const struct neutral_request *n)
{
	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++) {
			enum part_kind kind = n->message[m].part[i].kind;

			if (kind == PART_TOOL_CALL || kind == PART_TOOL_RESULT)
				return true;
		}
	return false;
}

/* ---- what is lost ---- */

void
losses_add(struct losses *l, struct span name, bool matters)
{
	char clean[LOSS_NAME_BYTES];

	(void)span_copy(name, clean, sizeof clean);
	for (char *c = clean; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7F || *c == ',')
			*c = ' ';
	if (matters && l->meaning[0] == '\0')
		(void)snprintf(l->meaning, sizeof l->meaning, "%s", clean);
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->name[i], clean) == 0)
			return;
	if (l->count == LOSSES_MAX) {
		l->more++;
		return;
	}
	(void)snprintf(l->name[l->count++], LOSS_NAME_BYTES, "%s", clean);
}

/* Without these an answer is another one, not only in style, price or place (R8 to R10). */
static bool
changes_meaning(const char *canonical)
{
	static const char *const names[] = { "logit_bias", "logprobs", "top_logprobs", "seed",
		"modalities", "audio", "web_search_options", "cached_content", "mcp_servers",
		"guardrail_config", "prompt", "plugins" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(canonical, names[i]) == 0)
			return true;
	return false;
}

/* null is what nobody asked for. */
static bool
asks_something(struct json_value v)
{
	return v.type != JSON_NULL && v.type != JSON_FALSE;
}

void
losses_of_fields(struct losses *l, const struct neutral_request *n)
{
	for (size_t i = 0; i < n->field_count; i++) {
		const struct neutral_field *f = &n->field[i];

		if (!f->taken && f->value.type != JSON_NULL)
			losses_add(l, f->as.at == NULL ? span_of(f->canonical) : f->as,
				asks_something(f->value) && changes_meaning(f->canonical));
	}
	l->more += n->field_more;
}

void
losses_text(const struct losses *l, char *out, size_t room)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < l->count; i++) {
		int n = snprintf(out + at, room - at, "%s%s", i == 0 ? "" : ", ", l->name[i]);

		if (n < 0 || (size_t)n >= room - at) {
			if (i > 0) /* whole names; of the first as much as fits */
				out[at] = '\0';
			return;
		}
		at += (size_t)n;
	}
	if (l->more > 0)
		(void)snprintf(out + at, room - at, ", and %zu more", l->more);
}

/* ---- answers ---- */

struct neutral_part *
neutral_reply_add(struct neutral_reply *r, size_t choice, enum part_kind kind, struct err *err)
{
	if (choice >= NEUTRAL_CHOICES_MAX) {
		(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "more than %d choices in an answer",
			NEUTRAL_CHOICES_MAX);
		return NULL;
	}
	while (r->choice_count <= choice) {
		struct neutral_choice *bigger =
			grow(r->arena, r->choice, r->choice_count, sizeof *bigger);

		if (bigger == NULL) {
			(void)err_set(err, ERR_MEMORY, "no memory for an answer");
			return NULL;
		}
		r->choice = bigger;
		r->choice[r->choice_count++] = (struct neutral_choice){ 0 };
	}
	return add_part(r->arena, &r->choice[choice].part, &r->choice[choice].count, kind, err);
}

enum finish
neutral_finish(enum finish said, bool has_calls)
{
	switch (said) {
	case FINISH_NONE:
	case FINISH_STOP:
	case FINISH_STOP_SEQUENCE:
	case FINISH_TOOL_CALLS:
		if (has_calls)
			return FINISH_TOOL_CALLS;
		return said == FINISH_STOP_SEQUENCE ? said : FINISH_STOP;
	default:
		return said;
	}
}

/* ---- a whole answer as events ---- */

static struct span
arguments_of(struct arena *a, const struct neutral_part *p)
{
	return p->arguments.at != NULL ? p->arguments : text_quoted(a, text_compact(a, p->input));
}

static int
replay_part(
	struct arena *a, int choice, const struct neutral_part *p, neutral_emit *emit, void *ctx)
{
	struct neutral_event e = { .kind = EVENT_PART, .choice = choice, .part = *p };

	if (emit(ctx, &e) != 0)
		return -1;
	e.kind = EVENT_DELTA;
	e.text = p->kind == PART_TOOL_CALL ? arguments_of(a, p) : p->text;
	if (e.text.at != NULL && e.text.len > 2 && emit(ctx, &e) != 0)
		return -1;
	e.text = SPAN_NONE;
	if (p->signature.at != NULL && p->kind != PART_REDACTED) {
		e.signature = p->signature;
		if (emit(ctx, &e) != 0)
			return -1;
		e.signature = SPAN_NONE;
	}
	e.kind = EVENT_PART_END;
	return emit(ctx, &e);
}

static int
replay_choice(const struct neutral_reply *r, size_t which, neutral_emit *emit, void *ctx)
{
	const struct neutral_choice *c = &r->choice[which];
	struct neutral_event e = { .kind = EVENT_FINISH,
		.choice = (int)which,
		.finish = c->finish,
		.stop_sequence = c->stop_sequence };

	for (size_t i = 0; i < c->count; i++)
		if (replay_part(r->arena, (int)which, &c->part[i], emit, ctx) != 0)
			return -1;
	return emit(ctx, &e);
}

int
neutral_replay(const struct neutral_reply *r, neutral_emit *emit, void *ctx)
{
	struct neutral_event start = {
		.kind = EVENT_START, .id = r->id, .model = r->model, .created_s = r->created_s
	};
	struct neutral_event usage = { .kind = EVENT_USAGE, .usage = r->usage };
	struct neutral_event end = { .kind = EVENT_END };

	if (emit(ctx, &start) != 0)
		return -1;
	for (size_t i = 0; i < r->choice_count; i++)
		if (replay_choice(r, i, emit, ctx) != 0)
			return -1;
	if (r->usage.seen && emit(ctx, &usage) != 0)
		return -1;
	return emit(ctx, &end);
}

/* ---- the order of events ---- */

static const char *
check_choice(struct neutral_order *o, const struct neutral_event *e)
{
	if (e->choice < 0 || e->choice >= NEUTRAL_CHOICES_MAX)
		return "a choice out of range";
	if (o->choice[e->choice].finished)
		return "something of a choice behind its finish";
	switch (e->kind) {
	case EVENT_PART:
		if (o->choice[e->choice].open)
			return "a part begins within another";
		if (e->part.kind == PART_TOOL_CALL &&
			(e->part.call_id.len == 0 || e->part.name.len == 0))
			return "a tool call without id or name";
		o->choice[e->choice].open = true;
		o->choice[e->choice].kind = e->part.kind;
		return NULL;
	case EVENT_DELTA:
	case EVENT_PART_END:
		if (!o->choice[e->choice].open)
			return "more of a part that is not open";
		if (o->choice[e->choice].kind != e->part.kind)
			return "more of a part of another kind";
		if (e->kind == EVENT_PART_END)
			o->choice[e->choice].open = false;
		else if (e->text.at == NULL && e->signature.at == NULL)
			return "a delta of nothing";
		return NULL;
	default:
		if (o->choice[e->choice].open)
			return "a finish within a part";
		o->choice[e->choice].finished = true;
		return NULL;
	}
}

const char *
neutral_order_check(struct neutral_order *o, const struct neutral_event *e)
{
	if (o->over)
		return "something behind the end";
	switch (e->kind) {
	case EVENT_ERROR:
		o->over = true;
		return e->err == NULL || e->err->code == ERR_NONE ? "an error of nothing" : NULL;
	case EVENT_START:
		if (o->started)
			return "a second start";
		o->started = true;
		return NULL;
	default:
		break;
	}
	if (!o->started)
		return "something before the start";
	switch (e->kind) {
	case EVENT_USAGE:
	case EVENT_PING:
		return NULL;
	case EVENT_END:
		o->over = true;
		for (size_t i = 0; i < NEUTRAL_CHOICES_MAX; i++)
			if (o->choice[i].open)
				return "the end within a part";
		return NULL;
	default:
		return check_choice(o, e);
	}
}
