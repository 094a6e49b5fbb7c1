/*
 * table.c - finding records: open addressing in each segment, segments in order.
 *
 * A record that was used once is never unused again, only given to another key, so a key that sits
 * in a later segment, or behind others, is never cut off: the first unused record proves that it is
 * nowhere.  Probes are triangular (0, 1, 3, 6, ...): the first ones share cache lines' neighbourhood,
 * the later ones leave clusters.
 */
#include "base/hash.h"
#include "board/board-int.h"

bool
table_holds(const struct board *b, int64_t ref, int64_t key)
{
	const struct table *t;
	const struct entry *e;

	if (ref < 0 || table_of(ref) >= TABLES)
		return false;
	t = &b->table[table_of(ref)];
	if ((ref >> 2) >> t->shift >= t->count)
		return false;
	e = table_record(t, ref >> 2);
	return word_get(&e->life) >= 2 && word_get(&e->key[1]) == key;
}

/* Nobody holds it, and its content is either over or what a new one would say. */
static bool
reclaimable(enum kind table, const struct entry *e, int64_t now_ms)
{
	const struct row *row = (const void *)e;

	if (word_get(&e->life) != 1)
		return false;
	if (table == RINGS)
		return ring_is_empty((const void *)e, now_ms);
	if (table == REPEATS)
		return repeat_is_over((const void *)e, now_ms);
	return word_get(&row->end_ms) <= now_ms - BOARD_KEEP_MS ||
	       (word_get(&row->spent) == 0 && word_get(&row->c.reserved) == 0);
}

int64_t
table_find(struct board *b, enum kind table, const uint64_t key[2], int64_t now_ms, int64_t *room)
{
	const struct table *t = &b->table[table];
	int64_t mask = (INT64_C(1) << t->shift) - 1, free_ref = -1;

	for (int k = 0; k < t->count; k++) {
		/* Keys that crowd each other in one segment part in the next. */
		uint64_t at = key[0] ^ (key[1] >> k);

		for (uint64_t i = 0; i < BOARD_PROBES; i++) {
			at += i;

			int64_t number = ((int64_t)k << t->shift) + ((int64_t)at & mask);
			const struct entry *e = table_record(t, number);
			bool unused = word_get(&e->life) == 0;

			if (!unused && word_get(&e->key[0]) == (int64_t)key[0] &&
				word_get(&e->key[1]) == (int64_t)key[1])
				return number << 2 | table;
			if (room != NULL && free_ref < 0 &&
				(unused || reclaimable(table, e, now_ms)))
				free_ref = number << 2 | table;
			if (unused)
				goto nowhere;
		}
	}
nowhere:
	if (room != NULL)
		*room = free_ref;
	return -1;
}

void
table_make(struct board *b, int64_t ref, const uint64_t key[2])
{
	struct entry *e = table_at(b, ref);
	_Atomic int64_t *used = &b->head->used[table_of(ref)];

	if (word_get(&e->life) == 0)
		section_change(b, used, word_get(used) + 1);
	section_change_at(b, ref, &e->key[0], (int64_t)key[0]);
	section_change_at(b, ref, &e->key[1], (int64_t)key[1]);
	section_change_at(b, ref, &e->life, 1);
}

void
table_hold(struct board *b, int64_t ref, int add)
{
	struct entry *e = table_at(b, ref);

	section_change_at(b, ref, &e->life, word_get(&e->life) + add);
}

void
board_counter_key(const struct board *b, const void *data, size_t len, uint64_t key[2])
{
	hash_keyed(b->head->hash_key, data, len, key);
	if (key[0] == 0 && key[1] == 0) /* a key of zeros means "none" */
		key[0] = 1;
}
