/*
 * target.c - targets by id, and the ids of their parts.
 */
#include "base/hash.h"
#include "board/board-int.h"

#include <stddef.h>
#include <string.h>

static struct slots
slots_of(const struct board *b)
{
	return (struct slots){ b->region[REGION_TARGETS], sizeof(struct target_slot),
		BOARD_TARGETS };
}

struct board_target *
board_target(struct board *b, struct id id)
{
	struct slots all = slots_of(b);
	bool is_new;
	struct target_slot *slot = slot_make(&all, id, &is_new);

	if (slot == NULL)
		return NULL;
	if (is_new) /* tells those who looked for it in vain */
		board_count(b, COUNT_TARGETS, 1);
	return &slot->target;
}

struct board_target *
board_target_find(struct board *b, struct id id)
{
	struct slots all = slots_of(b);
	struct target_slot *slot = slot_find(&all, id);

	return slot == NULL ? NULL : &slot->target;
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
