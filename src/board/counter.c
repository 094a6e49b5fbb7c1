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

void
counter_make(struct board *b, int64_t number, const struct board_claim *c)
{
	struct row *row = counter_row(b, number);

	if (word_get(&row->life) == 0)
		section_change(b, &b->head->rows_used, word_get(&b->head->rows_used) + 1);
	section_change_row(b, number, &row->key[0], (int64_t)c->key[0]);
	section_change_row(b, number, &row->key[1], (int64_t)c->key[1]);
	section_change_row(b, number, &row->spent, c->seeded ? c->seed : 0);
	section_change_row(b, number, &row->reserved, 0);
	section_change_row(b, number, &row->start_ms, c->window_start_ms);
	section_change_row(b, number, &row->end_ms, c->window_end_ms);
	section_change_row(b, number, &row->told, 0);
	section_change_row(b, number, &row->life, 1);
}

/* The amount to take: as asked, but only counted ones stop at the end of int64_t; -1: refused. */
static int64_t
takes(int64_t amount, int64_t cap, int64_t spent, int64_t reserved)
{
	int64_t sum;

	if (cap == INT64_MAX)
		return amount <= INT64_MAX - reserved ? amount : INT64_MAX - reserved;
	if (__builtin_add_overflow(reserved, amount, &sum))
		return -1;
	if (__builtin_add_overflow(spent, sum, &sum))
		return -1;
	return sum <= cap ? amount : -1;
}

int64_t
counter_reserve(
	struct board *b, int64_t number, int64_t amount, int64_t cap, struct board_verdict *v)
{
	struct row *row = counter_row(b, number);

	v->spent = word_get(&row->spent);
	v->reserved = word_get(&row->reserved);
	v->frees_ms = 0;
	amount = takes(amount, cap, v->spent, v->reserved);
	if (amount > 0)
		section_change_row(b, number, &row->reserved, v->reserved + amount);
	return amount;
}

uint8_t
counter_tell(struct board *b, int64_t number, const int64_t warn[BOARD_WARNS_MAX])
{
	struct row *row = counter_row(b, number);
	int64_t told = word_get(&row->told), most = told;
	int64_t used = add_held(word_get(&row->spent), word_get(&row->reserved));
	uint8_t bits = 0;

	for (int i = 0; i < BOARD_WARNS_MAX; i++) {
		if (warn[i] <= told || warn[i] > used)
			continue;
		bits |= (uint8_t)(1u << i);
		if (warn[i] > most)
			most = warn[i];
	}
	if (most > told)
		section_change_row(b, number, &row->told, most);
	return bits;
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

/* v + add, between 0 and the end of int64_t; v >= 0. */
static int64_t
add_signed(int64_t v, int64_t add)
{
	if (add >= 0)
		return add_held(v, add);
	return v + add > 0 ? v + add : 0;
}

int
board_correct(struct board *b, const uint64_t key[2], int64_t rolling_ms, int64_t at_ms,
	int64_t add, struct err *err)
{
	int64_t number;

	(void)rolling_ms;
	if (section_enter(b, err) != 0)
		return -1;
	number = counter_find(b, key, 0, NULL);
	if (number >= 0) {
		struct row *row = counter_row(b, number);

		if (at_ms >= word_get(&row->start_ms) && at_ms < word_get(&row->end_ms))
			section_change_row(
				b, number, &row->spent, add_signed(word_get(&row->spent), add));
		section_commit(b);
	}
	section_leave(b);
	return 0;
}

void
board_counter_key(const struct board *b, const void *data, size_t len, uint64_t key[2])
{
	hash_keyed(b->head->hash_key, data, len, key);
	if (key[0] == 0 && key[1] == 0) /* a key of zeros means "none" */
		key[0] = 1;
}
