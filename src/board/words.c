/*
 * words.c - what needs no mutex: one word each, changed by one atomic operation.
 */
#include "base/hash.h"
#include "board/board-int.h"
#include <string.h>

uint64_t
board_generation(const struct board *b)
{
	return atomic_load_explicit(&b->head->generation, memory_order_acquire);
}

void
board_generation_bump(struct board *b)
{
	atomic_fetch_add_explicit(&b->head->generation, 1, memory_order_acq_rel);
}

/* Puts `want` where nothing is; true when it stands there then. */
static bool
claim(_Atomic int64_t *word, int64_t want)
{
	int64_t there = word_get(word);

	/* Looking is most of it, and leaves the cache line shared. */
	if (there != 0)
		return there == want;
	return atomic_compare_exchange_strong(word, &there, want) || there == want;
}

/*
 * The first half of the id claims the slot, the second half completes it.  Whoever looks for the
 * same key meanwhile, or after a death between the two, completes it with the same value.
 */
struct board_key *
board_key(struct board *b, struct id key)
{
	int64_t half[2];
	uint64_t at = hash_64(&key, sizeof key, 0);

	memcpy(half, &key, sizeof half);
	for (int i = 0; i < 2; i++)
		if (half[i] == 0)
			half[i] = 1;
	for (uint64_t i = 0; i < BOARD_KEYS; i++) {
		struct key_slot *slot = &b->keys[(at + i) % BOARD_KEYS];

		if (claim(&slot->id[0], half[0]) && claim(&slot->id[1], half[1]))
			return &slot->key;
	}
	return NULL;
}

void
board_count(struct board *b, enum board_count m, int64_t add)
{
	atomic_fetch_add_explicit(&b->head->count[m].n, add, memory_order_relaxed);
}

int64_t
board_counted(const struct board *b, enum board_count m)
{
	return atomic_load_explicit(&b->head->count[m].n, memory_order_relaxed);
}

void
board_health(struct board *b, struct board_health *out)
{
	const struct head *h = b->head;

	*out = (struct board_health){
		.rows = board_segments(b, ROWS) * table_segment_records(b, ROWS),
		.rows_used = word_get(&h->used[ROWS]),
		.rings = board_segments(b, RINGS) * table_segment_records(b, RINGS),
		.rings_used = word_get(&h->used[RINGS]),
		.repeats = board_segments(b, REPEATS) * table_segment_records(b, REPEATS),
		.repeats_used = word_get(&h->used[REPEATS]),
		.leases = b->o.leases,
		.leases_used = word_get(&h->leases_used),
		.rollbacks = word_get(&h->rollbacks),
		.remade_ms = word_get(&h->made_ms),
	};
}
