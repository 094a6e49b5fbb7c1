/*
 * counter.c - finding rows: open addressing in each segment, segments in order.
 *
 * A row that was used once is never unused again, only given to another key, so a key that sits in
 * a later segment, or behind others, is never cut off: the first unused row proves that it is
 * nowhere.  Probes are triangular (0, 1, 3, 6, ...): the first ones share cache lines' neighbourhood,
 * the later ones leave clusters.
 */
#include "base/hash.h"
#include "board/board-int.h"

struct row *
counter_row(const struct board *b, int64_t number)
{
	return &b->segment[number / b->o.rows][number % b->o.rows];
}

/* Nobody holds it, and its content is either over or what a new row would say. */
static bool
reclaimable(const struct row *row, int64_t now_ms)
{
	if (word_get(&row->life) != 1)
		return false;
	if (word_get(&row->end_ms) <= now_ms - BOARD_KEEP_MS)
		return true;
	return word_get(&row->spent) == 0 && word_get(&row->reserved) == 0;
}

int64_t
counter_find(struct board *b, const uint64_t key[2], int64_t now_ms, int64_t *room)
{
	int64_t free_row = -1;

	for (int k = 0; k < b->segments; k++) {
		/* Keys that crowd each other in one segment part in the next. */
		uint64_t at = key[0] ^ (key[1] >> k);

		for (uint64_t i = 0; i < BOARD_PROBES; i++) {
			at += i;

			int64_t index = (int64_t)(at & (uint64_t)(b->o.rows - 1));
			const struct row *row = &b->segment[k][index];
			int64_t number = k * b->o.rows + index;
			bool unused = word_get(&row->life) == 0;

			if (!unused && word_get(&row->key[0]) == (int64_t)key[0] &&
				word_get(&row->key[1]) == (int64_t)key[1])
				return number;
			if (free_row < 0 && (unused || reclaimable(row, now_ms)))
				free_row = number;
			if (unused)
				goto nowhere;
		}
	}
nowhere:
	if (room != NULL)
		*room = free_row;
	return -1;
}

int
board_peek(struct board *b, const uint64_t key[2], int64_t rolling_ms, int64_t *spent,
	int64_t *reserved)
{
	struct err ignored;
	int64_t number;

	(void)rolling_ms;
	*spent = *reserved = 0;
	if (section_enter(b, &ignored) != 0)
		return -1;
	number = counter_find(b, key, 0, NULL);
	if (number >= 0) {
		*spent = word_get(&counter_row(b, number)->spent);
		*reserved = word_get(&counter_row(b, number)->reserved);
	}
	section_leave(b);
	return number >= 0;
}

void
board_counter_key(const struct board *b, const void *data, size_t len, uint64_t key[2])
{
	hash_keyed(b->head->hash_key, data, len, key);
	if (key[0] == 0 && key[1] == 0) /* a key of zeros means "none" */
		key[0] = 1;
}
