/*
 * target.c - finding targets: open addressing over ids, slots never given back.
 */
#include "base/hash.h"
#include "board/board-int.h"

#include <stddef.h>
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

/*
 * The first half of the id claims the slot, the second half completes it.  Whoever looks for the
 * same id meanwhile, or after a death between the two, completes it with the same value.
 */
struct board_target *
board_target(struct board *b, struct id id)
{
	struct target_slot *slots = b->region[REGION_TARGETS];
	uint64_t at = hash_64(&id, sizeof id, 0);
	int64_t half[2];

	halves_of(id, half);
	for (uint64_t i = 0; i < BOARD_TARGETS; i++) {
		struct target_slot *slot = &slots[(at + i) % BOARD_TARGETS];
		bool is_new = word_get(&slot->id[1]) == 0;

		if (!claim(&slot->id[0], half[0]) || !claim(&slot->id[1], half[1]))
			continue;
		if (is_new) /* tells those who looked for it in vain */
			board_count(b, COUNT_TARGETS, 1);
		return &slot->target;
	}
	return NULL;
}

struct board_target *
board_target_find(struct board *b, struct id id)
{
	struct target_slot *slots = b->region[REGION_TARGETS];
	uint64_t at = hash_64(&id, sizeof id, 0);
	int64_t half[2];

	halves_of(id, half);
	for (uint64_t i = 0; i < BOARD_TARGETS; i++) {
		struct target_slot *slot = &slots[(at + i) % BOARD_TARGETS];
		int64_t there = word_get(&slot->id[0]);

		if (there == 0)
			return NULL;
		if (there == half[0] && word_get(&slot->id[1]) == half[1])
			return &slot->target;
	}
	return NULL;
}

struct id
board_target_part(struct id whole, const char *kind, const void *name, size_t len)
{
	uint64_t half[2] = { hash_64(&whole, sizeof whole, hash_64(name, len, 1)),
		hash_64(name, len, hash_64(&whole, sizeof whole, 2)) };
	struct id part;

	for (int i = 0; i < 2; i++)
		half[i] = hash_64(kind, strlen(kind), half[i]);
	memcpy(&part, half, sizeof part);
	return part;
}

struct id
board_target_id(const struct board_target *t)
{
	const struct target_slot *slot =
		(const void *)((const char *)t - offsetof(struct target_slot, target));

	return id_of_words(slot->id);
}

struct board_target *
board_target_next(struct board *b, int *at)
{
	struct target_slot *slots = b->region[REGION_TARGETS];

	while (*at < BOARD_TARGETS) {
		struct target_slot *slot = &slots[(*at)++];

		if (word_get(&slot->id[0]) != 0 && word_get(&slot->id[1]) != 0)
			return &slot->target;
	}
	return NULL;
}

int64_t
board_owner_word(const struct board *b)
{
	return owner_pack(roster_self(b->roster));
}

bool
board_owner_is_dead(const struct board *b, int64_t word)
{
	return word == 0 || roster_is_dead(b->roster, owner_unpack(word));
}

void
target_after_boot(struct board *b)
{
	struct target_slot *slots = b->region[REGION_TARGETS];

	for (int i = 0; i < BOARD_TARGETS; i++) {
		word_set(&slots[i].target.inflight, 0);
		word_set(&slots[i].target.prober, 0);
	}
}
