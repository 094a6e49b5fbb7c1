/*
 * affinity.c - places by hash; those near one are all that is ever looked at.
 */
#include "board/affinity.h"

#include "board/board-int.h"

static struct affinity *
place(const struct board *b, const uint64_t key[2], uint64_t i)
{
	struct affinity *all = b->region[REGION_AFFINITIES];

	return &all[(key[0] + i) % BOARD_AFFINITIES];
}

static bool
is_of(const struct affinity *a, const uint64_t key[2])
{
	return word_get(&a->key[0]) == (int64_t)key[0] && word_get(&a->key[1]) == (int64_t)key[1];
}

static struct affinity *
find(const struct board *b, const uint64_t key[2])
{
	for (uint64_t i = 0; i < BOARD_AFFINITIES_NEAR; i++) {
		struct affinity *a = place(b, key, i);

		if (is_of(a, key))
			return a;
	}
	return NULL;
}

int64_t
board_affinity(const struct board *b, const uint64_t key[2], int64_t sliding_ms, int64_t most_ms)
{
	const struct affinity *a = find(b, key);
	int64_t now_ms = board_now_ms(b);

	if (a == NULL || now_ms - word_get(&a->last_ms) >= sliding_ms ||
		now_ms - word_get(&a->first_ms) >= most_ms)
		return 0;
	return word_get(&a->member);
}

static struct affinity *
oldest(const struct board *b, const uint64_t key[2])
{
	struct affinity *old = place(b, key, 0);

	for (uint64_t i = 1; i < BOARD_AFFINITIES_NEAR; i++) {
		struct affinity *a = place(b, key, i);

		if (word_get(&a->last_ms) < word_get(&old->last_ms))
			old = a;
	}
	return old;
}

void
board_affinity_keep(struct board *b, const uint64_t key[2], int64_t member, bool is_new)
{
	struct affinity *a = find(b, key);
	int64_t now_ms = board_now_ms(b);

	if (a == NULL) {
		a = oldest(b, key);
		is_new = true;
		word_set(&a->member, 0); /* who meets it half written finds nobody */
		word_set(&a->key[0], (int64_t)key[0]);
		word_set(&a->key[1], (int64_t)key[1]);
	}
	if (is_new)
		word_set(&a->first_ms, now_ms);
	word_set(&a->last_ms, now_ms);
	word_set(&a->member, member);
}
