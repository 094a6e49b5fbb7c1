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
	struct repeat *repeat;

	if (!table_has(b, ref) || table_of(ref) != REPEATS)
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

/* Its page and that of its tag need not be of one time.  `behind`: one behind it in its bucket is
 * used, so it is too.  Says whether it is. */
static bool
mend(struct board *b, int64_t ref, bool behind)
{
	struct repeat *repeat = table_at(b, ref);
	_Atomic int64_t *tags = &table_tags(&b->table[REPEATS], ref)->word[table_place(ref) / 4];
	int64_t life = word_get(&repeat->e.life), first = word_get(&repeat->e.key[0]),
		second = word_get(&repeat->e.key[1]);
	bool used = behind || life != 0 || first != 0 || second != 0;
	uint64_t tag = used ? table_tag((uint64_t)first, (uint64_t)second) : 0;
	int shift = table_place(ref) % 4 * 16;
	uint64_t others = (uint64_t)word_get(tags) & ~(UINT64_C(0xffff) << shift);

	word_set(tags, (int64_t)(others | tag << shift));
	/* Whatever was half done: its place is used, and nothing is known of it. */
	if (life != 1)
		word_set(&repeat->until, 0);
	word_set(&repeat->e.life, used);
	return used;
}

void
repeat_mend(struct board *b)
{
	int64_t used = 0, all = b->table[REPEATS].count * table_segment_records(b, REPEATS);
	bool behind = false;

	for (int64_t n = all - 1; n >= 0; n--) {
		int64_t ref = table_ref(b, REPEATS, n);

		behind = mend(b, ref, behind && table_place(ref) != BUCKET_RECORDS - 1);
		used += behind;
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
