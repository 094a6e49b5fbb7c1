/*
 * counter.c - what a claim counts in: a row of a calendar window, or a ring of a rolling one.
 */
#include "board/board-int.h"
#include <limits.h>

/* One key with two lengths of window names two rings. */
static int64_t
find(struct board *b, const uint64_t key[2], int64_t rolling_ms, int64_t now_ms,
	uint64_t own_key[2], int64_t *room)
{
	own_key[0] = key[0];
	own_key[1] = key[1] ^ (uint64_t)rolling_ms * RING_KEY;
	return table_find(b, rolling_ms > 0 ? RINGS : ROWS, own_key, now_ms, room);
}

static void
make_row(struct board *b, int64_t ref, const struct board_claim *c)
{
	struct row *row = table_at(b, ref);

	section_change_at(b, ref, &row->spent, c->seeded ? c->seed : 0);
	section_change_at(b, ref, &row->start_ms, c->window_start_ms);
	section_change_at(b, ref, &row->end_ms, c->window_end_ms);
}

static void
make_ring(
	struct board *b, int64_t ref, const struct board_claim *c, int64_t slice_ms, int64_t slice)
{
	struct ring *ring = table_at(b, ref);

	section_change_at(b, ref, &ring->slice_ms, slice_ms);
	if (c->seeded && c->seed > 0)
		ring_book(b, ref, slice - 1, c->seed);
}

int64_t
counter_of(struct board *b, const struct board_claim *c, int64_t now_ms)
{
	uint64_t key[2];
	int64_t room, ref = find(b, c->key, c->rolling_ms, now_ms, key, &room);
	int64_t start_ms = c->window_start_ms, slice_ms = 0;
	struct counter *counter;

	if (ref >= 0)
		return ref;
	if (c->rolling_ms > 0) {
		slice_ms = ring_slice_ms(c->rolling_ms);
		start_ms = (now_ms / slice_ms - BOARD_SLICES) * slice_ms;
	}
	if (!c->seeded && start_ms < word_get(&b->head->made_ms))
		return COUNTER_NEEDS_SEED;
	if (room < 0)
		return COUNTER_NO_ROOM;
	counter = table_at(b, room);
	/* Before anything names it anew; it said nothing under its old name either. */
	if (c->rolling_ms > 0 && word_get(&counter->e.life) != 0)
		ring_clear(table_at(b, room));
	table_make(b, room, key);
	section_change_at(b, room, &counter->reserved, 0);
	section_change_at(b, room, &counter->told, 0);
	if (c->rolling_ms > 0)
		make_ring(b, room, c, slice_ms, now_ms / slice_ms);
	else
		make_row(b, room, c);
	return room;
}

int64_t
counter_spent(const struct board *b, int64_t ref, int64_t now_ms)
{
	if (table_of(ref) == RINGS)
		return ring_spent(table_at(b, ref), now_ms);
	return word_get(&((const struct row *)table_at(b, ref))->spent);
}

int64_t
counter_slice(const struct board *b, int64_t ref, int64_t now_ms)
{
	return table_of(ref) == RINGS ? ring_slice(table_at(b, ref), now_ms) : 0;
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
counter_reserve(struct board *b, int64_t ref, int64_t amount, int64_t cap, int64_t now_ms,
	struct board_verdict *v)
{
	struct counter *counter = table_at(b, ref);
	int64_t taken;

	v->spent = counter_spent(b, ref, now_ms);
	v->reserved = word_get(&counter->reserved);
	taken = takes(amount, cap, v->spent, v->reserved);
	if (taken > 0)
		section_change_at(b, ref, &counter->reserved, v->reserved + taken);
	/* cap - reserved cannot wrap: neither is below 0. */
	if (taken < 0 && table_of(ref) == RINGS && cap - v->reserved >= amount)
		v->frees_ms = ring_frees_ms(table_at(b, ref), cap - v->reserved - amount, now_ms);
	return taken;
}

uint8_t
counter_tell(struct board *b, int64_t ref, const int64_t warn[BOARD_WARNS_MAX], int64_t before,
	int64_t used, int64_t now_ms)
{
	struct counter *counter = table_at(b, ref);
	int64_t told, most;
	uint8_t bits = 0;

	if (table_of(ref) == RINGS)
		return ring_tell(b, ref, warn, before, used, now_ms);
	told = most = word_get(&counter->told);
	for (int i = 0; i < BOARD_WARNS_MAX; i++) {
		if (warn[i] <= told || warn[i] > used)
			continue;
		bits |= (uint8_t)(1u << i);
		if (warn[i] > most)
			most = warn[i];
	}
	if (most > told)
		section_change_at(b, ref, &counter->told, most);
	return bits;
}

void
counter_settle(struct board *b, int64_t ref, int64_t reserved, int64_t slice, int64_t spent)
{
	struct counter *counter = table_at(b, ref);
	struct row *row = table_at(b, ref);

	section_change_at(b, ref, &counter->reserved, word_get(&counter->reserved) - reserved);
	table_hold(b, ref, -1);
	if (spent > 0 && table_of(ref) == RINGS)
		ring_book(b, ref, slice, spent);
	else if (spent > 0)
		section_change_at(b, ref, &row->spent, add_held(word_get(&row->spent), spent));
}

int
board_peek(struct board *b, const uint64_t key[2], int64_t rolling_ms, int64_t *spent,
	int64_t *reserved)
{
	struct err ignored;
	uint64_t own_key[2];
	int64_t ref;

	*spent = *reserved = 0;
	if (section_enter(b, &ignored) != 0)
		return -1;
	ref = find(b, key, rolling_ms, 0, own_key, NULL);
	if (ref >= 0) {
		*spent = counter_spent(b, ref, board_now_ms(b));
		*reserved = word_get(&((struct counter *)table_at(b, ref))->reserved);
	}
	section_leave(b);
	return ref >= 0;
}

static void
correct_row(struct board *b, int64_t ref, int64_t at_ms, int64_t add)
{
	struct row *row = table_at(b, ref);
	int64_t spent = word_get(&row->spent);

	if (at_ms < word_get(&row->start_ms) || at_ms >= word_get(&row->end_ms))
		return;
	spent = add >= 0 ? add_held(spent, add) : spent + add;
	section_change_at(b, ref, &row->spent, spent < 0 ? 0 : spent);
}

static void
correct_ring(struct board *b, int64_t ref, int64_t at_ms, int64_t add)
{
	int64_t now_ms = board_now_ms(b), at = counter_slice(b, ref, at_ms);
	int64_t now = counter_slice(b, ref, now_ms);

	if (at_ms < 0 || at > now || at < now - BOARD_SLICES)
		return;
	if (add >= 0)
		ring_book(b, ref, at, add);
	else
		ring_unbook(b, ref, at, add == INT64_MIN ? INT64_MAX : -add, now_ms);
}

int
board_correct(struct board *b, const uint64_t key[2], int64_t rolling_ms, int64_t at_ms,
	int64_t add, struct err *err)
{
	uint64_t own_key[2];
	int64_t ref;

	if (section_enter(b, err) != 0)
		return -1;
	ref = find(b, key, rolling_ms, 0, own_key, NULL);
	if (ref >= 0) {
		if (table_of(ref) == RINGS)
			correct_ring(b, ref, at_ms, add);
		else
			correct_row(b, ref, at_ms, add);
		section_commit(b);
	}
	section_leave(b);
	return 0;
}
