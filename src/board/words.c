/*
 * words.c - what needs no mutex: one word each, changed by one atomic operation.
 */
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
