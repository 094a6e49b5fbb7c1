/*
 * slot.c - places of ids in a region: open addressing, never given back.
 *
 * The first half of the id claims the place, the second half completes it.  Whoever looks for the same
 * id meanwhile, or after a death between the two, completes it with the same value.
 */
#include "board/board-int.h"

#include "base/hash.h"
#include <string.h>

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

static void
halves_of(struct id id, int64_t half[2])
{
	memcpy(half, &id, sizeof id);
	for (int i = 0; i < 2; i++)
		if (half[i] == 0)
			half[i] = 1;
}

void *
slot_make(const struct slots *s, struct id id, bool *is_new)
{
	uint64_t from = hash_64(&id, sizeof id, 0);
	int64_t half[2];

	halves_of(id, half);
	for (uint64_t i = 0; i < s->count; i++) {
		_Atomic int64_t *word = slot_at(s, (from + i) % s->count);

		*is_new = word_get(&word[1]) == 0;
		if (claim(&word[0], half[0]) && claim(&word[1], half[1]))
			return word;
	}
	return NULL;
}

void *
slot_find(const struct slots *s, struct id id)
{
	uint64_t from = hash_64(&id, sizeof id, 0);
	int64_t half[2];

	halves_of(id, half);
	for (uint64_t i = 0; i < s->count; i++) {
		_Atomic int64_t *word = slot_at(s, (from + i) % s->count);

		if (word_get(&word[0]) == 0)
			return NULL;
		if (word_get(&word[0]) == half[0] && word_get(&word[1]) == half[1])
			return word;
	}
	return NULL;
}
