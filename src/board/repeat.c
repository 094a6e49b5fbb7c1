/*
 * repeat.c - idempotency keys: held by a lease while the exchange runs, remembered when it ended.
 */
#include "board/board-int.h"
#include <limits.h>

#define STATUS_BITS 16

bool
repeat_is_over(const struct repeat *repeat, int64_t now_ms)
{
	return word_get(&repeat->e.life) < 2 && word_get(&repeat->until) >> STATUS_BITS <= now_ms;
}

/* Somebody had it first. */
static int
answer(const struct repeat *had, const struct board_repeat *repeat, struct board_verdict *v)
{
	v->first = id_of_words(had->exchange);
	if (word_get(&had->body[0]) != (int64_t)repeat->body[0] ||
		word_get(&had->body[1]) != (int64_t)repeat->body[1])
		return BOARD_OTHER_BODY;
	if (word_get(&had->e.life) >= 2)
		return BOARD_RUNNING;
	v->status = (int)(word_get(&had->until) & ((1 << STATUS_BITS) - 1));
	return BOARD_REPEATED;
}

int
repeat_hold(struct board *b, const struct board_repeat *repeat, struct id exchange, int64_t now_ms,
	int64_t *ref, struct board_verdict *v)
{
	struct repeat *had;
	int64_t half[2], room;

	*ref = table_find(b, REPEATS, repeat->key, now_ms, &room);
	if (*ref >= 0) {
		had = table_at(b, *ref);
		if (!repeat_is_over(had, now_ms))
			return answer(had, repeat, v);
	} else {
		if (room < 0)
			return -1;
		*ref = room;
		had = table_at(b, room);
		table_make(b, room, repeat->key);
	}
	__builtin_memcpy(half, &exchange, sizeof half);
	for (int i = 0; i < 2; i++) {
		section_change_at(b, *ref, &had->body[i], (int64_t)repeat->body[i]);
		section_change_at(b, *ref, &had->exchange[i], half[i]);
	}
	section_change_at(b, *ref, &had->until, 0);
	table_hold(b, *ref, 1);
	return BOARD_TAKEN;
}

/* Held by the lease of that exchange? */
static struct repeat *
held_by(const struct board *b, int64_t ref, struct id exchange)
{
	const struct table *t = &b->table[REPEATS];
	struct repeat *repeat;

	if (ref < 0 || table_of(ref) != REPEATS || (ref >> 2) >> t->shift >= t->count)
		return NULL;
	repeat = table_at(b, ref);
	return id_equal(id_of_words(repeat->exchange), exchange) ? repeat : NULL;
}

void
repeat_end(struct board *b, int64_t ref, struct id exchange, int status, int64_t now_ms)
{
	struct repeat *repeat = held_by(b, ref, exchange);

	if (repeat == NULL || word_get(&repeat->e.life) < 2)
		return;
	if (status != 0)
		section_change_at(
			b, ref, &repeat->until, (now_ms + BOARD_REPEAT_MS) << STATUS_BITS | status);
	table_hold(b, ref, -1);
}

static void
mend(struct repeat *repeat)
{
	int64_t life = word_get(&repeat->e.life);

	if (life == 0 && word_get(&repeat->e.key[0]) == 0 && word_get(&repeat->e.key[1]) == 0)
		return;
	/* Whatever was half done: its place is used, and nothing is known of it. */
	if (life != 1)
		word_set(&repeat->until, 0);
	word_set(&repeat->e.life, 1);
}

void
repeat_mend(struct board *b)
{
	const struct table *t = &b->table[REPEATS];
	int64_t used = 0;

	for (int64_t n = 0; n < (int64_t)t->count << t->shift; n++) {
		struct repeat *repeat = table_at(b, n << 2 | REPEATS);

		mend(repeat);
		used += word_get(&repeat->e.life);
	}
	word_set(&b->head->used[REPEATS], used);
	for (int64_t i = 0; i < word_get(&b->head->leases_high); i++) {
		struct lease_body *body = &b->bodies[i];
		struct repeat *repeat;

		if (word_get(&b->leases[i].serial) == 0)
			continue;
		repeat = held_by(b, body->repeat, exchange_of(&b->leases[i]));
		if (repeat != NULL && word_get(&repeat->e.life) == 1 &&
			word_get(&repeat->until) == 0)
			word_set(&repeat->e.life, 2);
		else
			body->repeat = -1;
	}
}
