/*
 * neutral_ids.c - ids for tool calls of dialects that have none (R15, R17).
 */
#include "wire/neutral.h"

#include <string.h>

static bool
same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* The calls of one turn, and which of them have a result. */
struct turn {
	const struct neutral_message *message;
	bool *answered;
	size_t first; /* none that is open stands before it */
};

static bool
is_open(const struct turn *t, size_t i)
{
	return t->message->part[i].kind == PART_TOOL_CALL && !t->answered[i];
}

/* The place of the first open call of that name, or of any; the message's count when there is none. */
static size_t
find_open(struct turn *t, struct span name)
{
	size_t count = t->message->count, i;

	while (t->first < count && !is_open(t, t->first))
		t->first++;
	for (i = t->first; name.len > 0 && i < count; i++)
		if (is_open(t, i) && same(t->message->part[i].name, name))
			return i;
	return t->first;
}

static int
give_id(struct neutral_request *n, struct neutral_part *p, size_t message, size_t at,
	struct err *err)
{
	const char *id = arena_printf(n->arena, "call_%zu_%zu", message, at);

	if (id == NULL)
		return err_set(err, ERR_MEMORY, "no memory for the id of a tool call");
	p->call_id = span_of(id);
	return 0;
}

static bool
lacks_ids(const struct neutral_message *m, enum part_kind kind)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->part[i].kind == kind && m->part[i].call_id.len == 0)
			return true;
	return false;
}

/* Results that have an id take their call from those that are open. */
static void
note_answered(struct turn *t, const struct neutral_message *results)
{
	for (size_t r = 0; r < results->count; r++) {
		if (results->part[r].kind != PART_TOOL_RESULT || results->part[r].call_id.len == 0)
			continue;
		for (size_t i = 0; i < t->message->count; i++)
			if (is_open(t, i) &&
				same(t->message->part[i].call_id, results->part[r].call_id)) {
				t->answered[i] = true;
				break;
			}
	}
}

static int
fill_results(struct neutral_request *n, size_t m, struct err *err)
{
	static const struct neutral_message nobody;
	struct neutral_message *results = &n->message[m];
	struct turn t = { .message = m == 0 ? &nobody : &n->message[m - 1] };

	t.answered = arena_alloc(n->arena, t.message->count + 1);
	if (t.answered == NULL)
		return err_set(err, ERR_MEMORY, "no memory to match tool results");
	note_answered(&t, results);
	for (size_t i = 0; i < results->count; i++) {
		struct neutral_part *p = &results->part[i];
		size_t found;

		if (p->kind != PART_TOOL_RESULT || p->call_id.len > 0)
			continue;
		found = find_open(&t, p->name);
		if (found == t.message->count) {
			if (give_id(n, p, m, i, err) != 0)
				return -1;
			continue;
		}
		t.answered[found] = true;
		p->call_id = t.message->part[found].call_id;
	}
	return 0;
}

int
neutral_fill_ids(struct neutral_request *n, struct err *err)
{
	for (size_t m = 0; m < n->message_count; m++) {
		struct neutral_message *message = &n->message[m];

		for (size_t i = 0; i < message->count; i++)
			if (message->part[i].kind == PART_TOOL_CALL &&
				message->part[i].call_id.len == 0 &&
				give_id(n, &message->part[i], m, i, err) != 0)
				return -1;
		if (lacks_ids(message, PART_TOOL_RESULT) && fill_results(n, m, err) != 0)
			return -1;
	}
	return 0;
}
