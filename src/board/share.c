/*
 * share.c - finding shares: open addressing with few places for each, the oldest makes room.
 */
#include "board/share.h"

#include "base/hash.h"
#include "board/board-int.h"

#define TOUCH_S 600 /* how stale the time of use may be: lookups write no more often */

static int64_t
tag_of(struct id pool, struct id member)
{
	int64_t tag = (int64_t)hash_64(&member, sizeof member, hash_64(&pool, sizeof pool, 3));

	return tag == 0 ? 1 : tag;
}

static int64_t
use_word(int64_t use, int64_t now_ms)
{
	if (use > INT32_MAX)
		use = INT32_MAX;
	return (int64_t)((uint64_t)use << 32 | (uint32_t)(now_ms / 1000));
}

static uint32_t
age_s(const struct board_share *s, int64_t now_ms)
{
	uint32_t age = (uint32_t)(now_ms / 1000) - (uint32_t)word_get(&s->use);

	return age > UINT32_MAX / 2 ? 0 : age;
}

/* Only a change that nobody crosses counts: a lost use is no harm. */
static void
touch(struct board_share *s, int64_t now_ms, int64_t add)
{
	int64_t was = word_get(&s->use);

	(void)atomic_compare_exchange_strong(
		&s->use, &was, use_word(board_share_use(was, now_ms) + add, now_ms));
}

void
board_share_used(struct board_share *s, int64_t now_ms)
{
	touch(s, now_ms, BOARD_SHARE_ONE);
}

/* The place is of that tag now, whoever put it there. */
static bool
claim(struct board_share *s, int64_t was, int64_t tag, int64_t now_ms)
{
	if (!atomic_compare_exchange_strong(&s->tag, &was, tag))
		return was == tag;
	word_set(&s->at, 0);
	word_set(&s->use, use_word(0, now_ms));
	return true;
}

/* What a search went past. */
struct search {
	int64_t tag, now_ms;
	struct board_share *oldest;
	uint32_t oldest_s;
};

static struct board_share *
search(struct board_share *all, uint64_t from, struct search *f)
{
	for (uint64_t i = 0; i < BOARD_SHARES_NEAR; i++) {
		struct board_share *s = &all[(from + i) % BOARD_SHARES];
		uint32_t age;

		if (word_get(&s->tag) == 0 && claim(s, 0, f->tag, f->now_ms))
			return s;
		age = age_s(s, f->now_ms);
		if (word_get(&s->tag) == f->tag) {
			if (age > TOUCH_S)
				touch(s, f->now_ms, 0);
			return s;
		}
		if (age > f->oldest_s) {
			f->oldest = s;
			f->oldest_s = age;
		}
	}
	return NULL;
}

/*
 * A decision reads the words of all members of a pool, so they lie in the same few pages, while there
 * is room; else anywhere.
 */
struct board_share *
board_share(struct board *b, struct id pool, struct id member)
{
	struct board_share *all = b->region[REGION_SHARES], *s;
	struct search f = { .tag = tag_of(pool, member),
		.now_ms = board_now_ms(b),
		.oldest_s = BOARD_SHARE_OLD_S };
	uint64_t home = hash_64(&pool, sizeof pool, 4);

	s = search(all, home + (uint64_t)f.tag % BOARD_SHARES_SPAN, &f);
	if (s == NULL)
		s = search(all, (uint64_t)f.tag / BOARD_SHARES_SPAN, &f);
	if (s == NULL && f.oldest != NULL &&
		claim(f.oldest, word_get(&f.oldest->tag), f.tag, f.now_ms))
		s = f.oldest;
	return s;
}
