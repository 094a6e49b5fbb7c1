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

static inline uint64_t
spread(const uint64_t key[2], int segment)
{
	return (key[0] + (uint64_t)segment * key[1]) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The first place of the key's bucket in a segment. */
static int64_t
bucket_of(const struct table *t, enum kind table, const uint64_t key[2], int segment)
{
	/* Keys that crowd each other in one segment part in the next. */
	uint64_t h = spread(key, segment) >> 32;
	int64_t bucket = (int64_t)(h * (uint64_t)t->buckets >> 32);

	return (int64_t)segment << REF_SEGMENT | bucket << REF_BUCKET | table;
}

static inline bool
is_of(const struct entry *e, const uint64_t key[2])
{
	return word_get(&e->key[0]) == (int64_t)key[0] && word_get(&e->key[1]) == (int64_t)key[1] &&
	       word_get(&e->life) != 0;
}

/* The key's record in that bucket or -1. */
static int64_t
find_in(struct board *b, int64_t bucket, const uint64_t key[2], uint64_t pattern)
{
	const struct tags *tags = table_tags(&b->table[table_of(bucket)], bucket);

	for (int w = 0; w < BUCKET_RECORDS / 4; w++) {
		uint64_t m = zero_tags((uint64_t)word_get(&tags->word[w]) ^ pattern);

		for (; m != 0; m &= m - 1) {
			int64_t ref = bucket | (int64_t)(w * 4 + __builtin_ctzll(m) / 16) << 2;

			if (is_of(table_at(b, ref), key))
				return ref;
		}
	}
	return -1;
}

/* Records of a bucket are used in order: the last one tells. */
static bool
is_full(const struct board *b, int64_t bucket)
{
	const struct tags *tags = table_tags(&b->table[table_of(bucket)], bucket);

	return (uint64_t)word_get(&tags->word[BUCKET_RECORDS / 4 - 1]) >> 48 != 0;
}

/* A place for a key that is not there: one whose content is over before one never used. */
static int64_t
find_room(struct board *b, enum kind table, const uint64_t key[2], int segments, int64_t now_ms)
{
	for (int k = 0; k < segments; k++) {
		int64_t bucket = bucket_of(&b->table[table], table, key, k);

		for (int i = 0; i < BUCKET_RECORDS; i++) {
			int64_t ref = bucket | (int64_t)i << 2;
			const struct entry *e = table_at(b, ref);

			if (word_get(&e->life) == 0 || reclaimable(table, e, now_ms))
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
	/* Where it was seen last: a record says itself whose it is. */
	int64_t *hint = &b->hint[spread(key, 0) % BOARD_HINTS];
	bool full = true;
	int k = 0;

	if (table_of(*hint) == table && t->count > 0 && is_of(table_at(b, *hint), key))
		return *hint;
	while (k < t->count && full) {
		int64_t bucket = bucket_of(t, table, key, k++);
		int64_t ref = find_in(b, bucket, key, pattern);

		if (ref >= 0) {
			*hint = ref;
			return ref;
		}
		full = is_full(b, bucket);
	}
	if (room != NULL)
		*room = find_room(b, table, key, k, now_ms);
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
