/*
 * neutral_unique.c - ids of tool calls: each once in a request, and results follow theirs (R15, and
 * reference conversion.md section 10, trap 6).
 */
#include "wire/neutral.h"

#include "base/hash.h"
#include "wire/text.h"
#include <stdio.h>
#include <string.h>

#define ID_MOST 64 /* characters */

/* A call under the id its dialect gave it; of several with one id in a turn, results come in order. */
struct call {
	struct span id;
	struct call *next;
};
struct entry {
	bool taken;
	struct span key;
	size_t turn; /* of the calls below; those of earlier turns are over */
	struct call *due, *last;
	int64_t suffix; /* the next to try where the id is used already */
};
struct ids {
	struct entry *used, *origin;
	size_t room; /* a power of two, at most half full */
	uint64_t seed;
};

static struct entry *
entry_of(struct entry *table, const struct ids *ids, struct span key)
{
	size_t at = (size_t)hash_64(key.at, key.len, ids->seed) & (ids->room - 1);

	while (table[at].taken &&
		(table[at].key.len != key.len || memcmp(table[at].key.at, key.at, key.len) != 0))
		at = (at + 1) & (ids->room - 1);
	return &table[at];
}

static struct span
unused_id(struct arena *a, struct ids *ids, struct span id)
{
	struct span base = text_clean_id(a, id);
	struct span try = base;
	struct entry *first, *e;

	if (base.at == NULL)
		return SPAN_NONE;
	first = e = entry_of(ids->used, ids, base);
	while (e->taken) {
		char suffix[24];
		int len = snprintf(suffix, sizeof suffix, "_%lld", (long long)++first->suffix + 1);
		size_t keep = base.len + (size_t)len <= ID_MOST ? base.len : ID_MOST - (size_t)len;

		try.at = arena_printf(a, "%.*s%s", (int)keep, base.at, suffix);
		if (try.at == NULL)
			return SPAN_NONE;
		try.len = keep + (size_t)len;
		e = entry_of(ids->used, ids, try);
	}
	e->taken = true;
	e->key = try;
	return try;
}

static int
settle_call(struct arena *a, struct ids *ids, size_t turn, struct neutral_part *p)
{
	struct span id = unused_id(a, ids, p->call_id);
	struct call *call = arena_alloc(a, sizeof *call);
	struct entry *e;

	if (id.at == NULL || call == NULL)
		return -1;
	call->id = id;
	e = entry_of(ids->origin, ids, p->call_id);
	if (!e->taken || e->turn != turn)
		e->due = e->last = NULL;
	e->taken = true;
	e->key = p->call_id;
	e->turn = turn;
	if (e->due == NULL)
		e->due = call;
	else
		e->last->next = call;
	e->last = call;
	p->call_id = id;
	return 0;
}

static int
settle_result(struct arena *a, struct ids *ids, struct neutral_part *p)
{
	struct entry *e;

	e = entry_of(ids->origin, ids, p->call_id);
	if (!e->taken) { /* the provider will say that nobody called */
		p->call_id = text_clean_id(a, p->call_id);
		return p->call_id.at == NULL ? -1 : 0;
	}
	p->call_id = e->due->id;
	if (e->due->next != NULL)
		e->due = e->due->next;
	return 0;
}

int
neutral_unique_ids(struct neutral_request *n, struct err *err)
{
	struct ids ids = { .room = 16 };
	size_t calls = 0, turn = 0;

	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++)
			calls += n->message[m].part[i].kind == PART_TOOL_CALL;
	while (ids.room < 2 * calls + 2)
		ids.room *= 2;
	hash_random(&ids.seed, sizeof ids.seed);
	ids.used = arena_alloc(n->arena, ids.room * sizeof *ids.used);
	ids.origin = arena_alloc(n->arena, ids.room * sizeof *ids.origin);
	if (ids.used == NULL || ids.origin == NULL)
		return err_set(err, ERR_MEMORY, "no memory for the ids of tool calls");
	for (size_t m = 0; m < n->message_count; m++) {
		turn += m > 0 && n->message[m].role != n->message[m - 1].role;
		for (size_t i = 0; i < n->message[m].count; i++) {
			struct neutral_part *p = &n->message[m].part[i];
			int rc = p->kind == PART_TOOL_CALL ? settle_call(n->arena, &ids, turn, p)
				 : p->kind == PART_TOOL_RESULT ? settle_result(n->arena, &ids, p)
							       : 0;

			if (rc != 0)
				return err_set(
					err, ERR_MEMORY, "no memory for the ids of tool calls");
		}
	}
	return 0;
}
