/*
 * table.c - finding records: buckets of 32 in each segment, segments in order.
 *
 * A key has one bucket in each segment, and goes into the first that has room.  A record that was
 * used once is never unused again, only given to another key, so a key that sits in a later segment
 * is never cut off: an unused record in its bucket proves that it is in none behind.  The tags, 16
 * bits of each key, tell in one cache line a bucket whether to look closer; so millions of others
 * cost a search next to nothing.
 */
#include "base/hash.h"
#include "board/board-int.h"

#define LOW  UINT64_C(0x0001000100010001)
#define HIGH UINT64_C(0x8000800080008000)

/* The top bit of each of four tags that is 0; of others too, but only behind one that is. */
static inline uint64_t
zero_tags(uint64_t word)
{
	return (word - LOW) & ~word & HIGH;
}

uint16_t
table_tag(uint64_t first, uint64_t second)
{
	uint16_t tag = (uint16_t)(first ^ first >> 16 ^ second);

	return tag != 0 ? tag : 1;
}

int64_t
table_segment_records(const struct board *b, enum kind table)
{
	return b->table[table].buckets * BUCKET_RECORDS;
}

int64_t
table_ref(const struct board *b, enum kind table, int64_t n)
{
	int64_t each = table_segment_records(b, table), in = n % each;

	return n / each << REF_SEGMENT | in / BUCKET_RECORDS << REF_BUCKET |
	       in % BUCKET_RECORDS << 2 | table;
}

bool
table_has(const struct board *b, int64_t ref)
{
	const struct table *t = &b->table[table_of(ref) < TABLES ? table_of(ref) : 0];

	return ref >= 0 && table_of(ref) < TABLES && ref >> REF_SEGMENT < t->count &&
	       ((ref >> REF_BUCKET) & UINT32_MAX) < t->buckets;
}

bool
table_holds(const struct board *b, int64_t ref, int64_t key)
{
	const struct entry *e;

	if (!table_has(b, ref))
		return false;
	e = table_at(b, ref);
	return word_get(&e->life) >= 2 && word_get(&e->key[1]) == key;
}

/* Nobody holds it, and its content is either over or what a new one would say. */
static bool
reclaimable(enum kind table, const struct entry *e, int64_t now_ms)
{
	const struct row *row = (const void *)e;

	if (word_get(&e->life) != 1)
		return false;
	if (table == RINGS)
		return ring_is_empty((const void *)e, now_ms);
	if (table == REPEATS)
		return repeat_is_over((const void *)e, now_ms);
	return word_get(&row->end_ms) <= now_ms - BOARD_KEEP_MS ||
	       (word_get(&row->spent) == 0 && word_get(&row->c.reserved) == 0);
}

/* The first place of the key's bucket in a segment. */
static int64_t
bucket_of(const struct table *t, enum kind table, const uint64_t key[2], int segment)
{
	/* Keys that crowd each other in one segment part in the next. */
	uint64_t h = (key[0] + (uint64_t)segment * key[1]) * UINT64_C(0x9e3779b97f4a7c15);
	int64_t bucket = (int64_t)((h >> 32) * (uint64_t)t->buckets >> 32);

	return (int64_t)segment << REF_SEGMENT | bucket << REF_BUCKET | table;
}

/* The key's record in that bucket or -1, and the first that was never used or -1. */
static int64_t
find_in(struct board *b, int64_t bucket, const uint64_t key[2], uint64_t pattern, int64_t *unused)
{
	const struct tags *tags = table_tags(&b->table[table_of(bucket)], bucket);

	*unused = -1;
	for (int w = 0; w < BUCKET_RECORDS / 4; w++) {
		uint64_t word = (uint64_t)word_get(&tags->word[w]), zero = zero_tags(word);

		for (uint64_t m = zero_tags(word ^ pattern); m != 0; m &= m - 1) {
			int64_t ref = bucket | (int64_t)(w * 4 + __builtin_ctzll(m) / 16) << 2;
			const struct entry *e = table_at(b, ref);

			if (word_get(&e->key[0]) == (int64_t)key[0] &&
				word_get(&e->key[1]) == (int64_t)key[1] && word_get(&e->life) != 0)
				return ref;
		}
		if (zero != 0) {
			*unused = bucket | (int64_t)(w * 4 + __builtin_ctzll(zero) / 16) << 2;
			return -1;
		}
	}
	return -1;
}

/* A place for a key that is not there: one whose content is over before one never used. */
static int64_t
find_room(struct board *b, enum kind table, const uint64_t key[2], int segments, int64_t unused,
	int64_t now_ms)
{
	for (int k = 0; k < segments; k++) {
		int64_t bucket = bucket_of(&b->table[table], table, key, k);

		for (int i = 0; i < BUCKET_RECORDS; i++) {
			int64_t ref = bucket | (int64_t)i << 2;

			if (ref == unused)
				return ref;
			if (reclaimable(table, table_at(b, ref), now_ms))
				return ref;
		}
	}
	return -1;
}

int64_t
table_find(struct board *b, enum kind table, const uint64_t key[2], int64_t now_ms, int64_t *room)
{
	const struct table *t = &b->table[table];
	uint64_t pattern = table_tag(key[0], key[1]) * LOW;
	int64_t unused = -1;
	int k = 0;

	while (k < t->count && unused < 0) {
		int64_t ref = find_in(b, bucket_of(t, table, key, k++), key, pattern, &unused);

		if (ref >= 0)
			return ref;
	}
	if (room != NULL)
		*room = find_room(b, table, key, k, unused, now_ms);
	return -1;
}

void
table_make(struct board *b, int64_t ref, const uint64_t key[2])
{
	struct entry *e = table_at(b, ref);
	_Atomic int64_t *used = &b->head->used[table_of(ref)];
	_Atomic int64_t *tags =
		&table_tags(&b->table[table_of(ref)], ref)->word[table_place(ref) / 4];
	int shift = table_place(ref) % 4 * 16;
	uint64_t others = (uint64_t)word_get(tags) & ~(UINT64_C(0xffff) << shift);

	if (word_get(&e->life) == 0)
		section_change(b, used, word_get(used) + 1);
	section_change_at(
		b, ref, tags, (int64_t)(others | (uint64_t)table_tag(key[0], key[1]) << shift));
	section_change_at(b, ref, &e->key[0], (int64_t)key[0]);
	section_change_at(b, ref, &e->key[1], (int64_t)key[1]);
	section_change_at(b, ref, &e->life, 1);
}

void
table_hold(struct board *b, int64_t ref, int add)
{
	struct entry *e = table_at(b, ref);

	section_change_at(b, ref, &e->life, word_get(&e->life) + add);
}

void
board_counter_key(const struct board *b, const void *data, size_t len, uint64_t key[2])
{
	hash_keyed(b->head->hash_key, data, len, key);
	if (key[0] == 0 && key[1] == 0) /* a key of zeros means "none" */
		key[0] = 1;
}
