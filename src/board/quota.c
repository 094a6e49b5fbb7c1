/*
 * quota.c - the records of quotas by id, and their rings.
 */
#include "board/quota.h"

#include "board/board-int.h"
#include <string.h>

#define CLAIM_MS   1000
#define STAMP_BITS 24
#define COUNT_BITS 40
#define COUNT_MAX  ((INT64_C(1) << (COUNT_BITS - 1)) - 1)
#define STAMP_MASK ((INT64_C(1) << STAMP_BITS) - 1)
#define COUNT_MASK ((INT64_C(1) << COUNT_BITS) - 1)

static struct slots
slots_of(const struct board *b)
{
	return (struct slots){ b->region[REGION_QUOTAS], sizeof(struct quota_slot), BOARD_QUOTAS };
}

struct board_quota *
board_quota(struct board *b, struct id id)
{
	struct slots all = slots_of(b);
	bool is_new;
	struct quota_slot *slot = slot_make(&all, id, &is_new);

	return slot == NULL ? NULL : &slot->quota;
}

struct board_quota *
board_quota_find(struct board *b, struct id id)
{
	struct slots all = slots_of(b);
	struct quota_slot *slot = slot_find(&all, id);

	return slot == NULL ? NULL : &slot->quota;
}

struct board_quota *
board_quota_at(struct board *b, int n, struct id *id)
{
	struct quota_slot *slots = b->region[REGION_QUOTAS];

	if (n < 0 || n >= BOARD_QUOTAS || word_get(&slots[n].id[1]) == 0)
		return NULL;
	*id = id_of_words(slots[n].id);
	return &slots[n].quota;
}

static int64_t
index_of(const struct board *b, const struct board_quota *q)
{
	const struct quota_slot *slots = b->region[REGION_QUOTAS];

	return (int64_t)((const char *)q - (const char *)slots) / (int64_t)sizeof *slots;
}

void
board_quota_link(struct board *b, struct board_quota *key, struct id key_id,
	struct board_quota *part, const char *model, size_t len)
{
	int64_t half[2], none = 0, first, text[BOARD_QUOTA_MODEL / 8] = { 0 };

	if (word_get(&part->linked) != 0 ||
		!atomic_compare_exchange_strong(&part->linked, &none, 1))
		return;
	memcpy(half, &key_id, sizeof half);
	memcpy(text, model, len < BOARD_QUOTA_MODEL ? len : BOARD_QUOTA_MODEL - 1);
	for (int i = 0; i < 2; i++)
		word_set(&part->whole[i], half[i]);
	for (int i = 0; i < BOARD_QUOTA_MODEL / 8; i++)
		word_set(&part->model[i], text[i]);
	first = word_get(&key->parts);
	do
		word_set(&part->next, first);
	while (!atomic_compare_exchange_weak(&key->parts, &first, index_of(b, part) + 1));
}

struct board_quota *
board_quota_part(struct board *b, const struct board_quota *q)
{
	struct quota_slot *slots = b->region[REGION_QUOTAS];
	int64_t n = word_get(word_get(&q->linked) != 0 ? &q->next : &q->parts);

	return n < 1 || n > BOARD_QUOTAS ? NULL : &slots[n - 1].quota;
}

bool
board_quota_claim(struct board *b, struct board_quota_window *w)
{
	int64_t now_ms = board_now_ms(b), since = word_get(&w->busy);

	if (since != 0 && now_ms - since < CLAIM_MS)
		return false;
	return atomic_compare_exchange_strong(&w->busy, &since, now_ms);
}

void
board_quota_release(struct board_quota_window *w)
{
	word_set(&w->busy, 0);
}

/* ---- rings ---- */

void
board_quota_slot_add(board_quota_slot *ring, int slots, int64_t slot_ms, int64_t at_ms, int64_t add)
{
	int64_t n = at_ms / slot_ms;
	board_quota_slot *slot = &ring[n % slots];
	int64_t old = word_get(slot), stamp = n & STAMP_MASK, count;

	do {
		int64_t ahead = (((old >> COUNT_BITS) & STAMP_MASK) - stamp) & STAMP_MASK;
		bool same = ahead == 0;

		if (!same && (add <= 0 || (old != 0 && ahead < STAMP_MASK / 2)))
			return; /* it has aged */
		count = add_held(same ? old & COUNT_MASK : 0, add);
		count = count < 0 ? 0 : count > COUNT_MAX ? COUNT_MAX : count;
	} while (!atomic_compare_exchange_weak(
		slot, &old, (int64_t)((uint64_t)stamp << COUNT_BITS | (uint64_t)count)));
}

int64_t
board_quota_slot_get(const board_quota_slot *ring, int slots, int64_t n)
{
	int64_t word = word_get(&ring[n % slots]);

	return ((word >> COUNT_BITS) & STAMP_MASK) == (n & STAMP_MASK) ? word & COUNT_MASK : 0;
}
