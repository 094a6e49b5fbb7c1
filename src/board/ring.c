/*
 * ring.c - a rolling window as slices of board time, each in the slot its number falls on.
 *
 * A slot counts as long as the slice it names is not older than BOARD_SLICES before the one that
 * now lies in.  So nothing is ever swept: an old slot is passed over until another slice needs it.
 */
#include "board/board-int.h"

int64_t
ring_slice_ms(int64_t rolling_ms)
{
	/* Rounded up: the slices must cover the window. */
	return rolling_ms / BOARD_SLICES + (rolling_ms % BOARD_SLICES != 0);
}

int64_t
ring_slice(const struct ring *ring, int64_t ms)
{
	int64_t slice_ms = word_get(&ring->slice_ms);

	/* Never 0 but in a damaged file, and that must end nobody. */
	return slice_ms > 0 ? ms / slice_ms : 0;
}

static int64_t
oldest(const struct ring *ring, int64_t now_ms)
{
	return ring_slice(ring, now_ms) - BOARD_SLICES;
}

/* What was spent in a slice. */
static int64_t
spent_in(const struct ring *ring, int64_t slice)
{
	int64_t at = slice % RING_SLOTS;

	return word_get(&ring->slot[at].slice) == slice ? word_get(&ring->slot[at].spent) : 0;
}

bool
ring_is_empty(const struct ring *ring, int64_t now_ms)
{
	int64_t from = oldest(ring, now_ms);

	for (int i = 0; i < RING_SLOTS; i++)
		if (word_get(&ring->slot[i].slice) >= from && word_get(&ring->slot[i].spent) > 0)
			return false;
	return true;
}

void
ring_clear(struct ring *ring)
{
	for (int i = 0; i < RING_SLOTS; i++) {
		word_set(&ring->slot[i].spent, 0);
		word_set(&ring->slot[i].slice, 0);
	}
}

int64_t
ring_spent(const struct ring *ring, int64_t now_ms)
{
	int64_t from = oldest(ring, now_ms), sum = 0;
	bool held = false;

	for (int i = 0; i < RING_SLOTS; i++) {
		int64_t spent = word_get(&ring->slot[i].spent);

		spent = word_get(&ring->slot[i].slice) >= from ? spent : 0;
		held |= __builtin_add_overflow(sum, spent, &sum);
	}
	return held ? INT64_MAX : sum;
}

int64_t
ring_frees_ms(const struct ring *ring, int64_t most, int64_t now_ms)
{
	int64_t now = ring_slice(ring, now_ms);

	/* From the newest on: the first that is too much must have left, and all before it. */
	for (int64_t slice = now; slice >= now - BOARD_SLICES; slice--) {
		int64_t spent = spent_in(ring, slice);

		if (spent > most)
			return (slice + RING_SLOTS) * word_get(&ring->slice_ms);
		most -= spent;
	}
	return now_ms;
}

void
ring_book(struct board *b, int64_t ref, int64_t slice, int64_t spent)
{
	struct ring *ring = table_at(b, ref);
	int64_t at = slice % RING_SLOTS, there = word_get(&ring->slot[at].slice);

	/* A later slice has the slot: this one has left the window. */
	if (there > slice)
		return;
	if (there == slice) {
		spent = add_held(word_get(&ring->slot[at].spent), spent);
	} else {
		section_change_at(b, ref, &ring->slot[at].slice, slice);
	}
	section_change_at(b, ref, &ring->slot[at].spent, spent);
}

static int64_t
less_in(struct board *b, int64_t ref, int64_t slice, int64_t less)
{
	struct ring *ring = table_at(b, ref);
	int64_t spent = spent_in(ring, slice), takes = spent < less ? spent : less;

	if (takes > 0)
		section_change_at(b, ref, &ring->slot[slice % RING_SLOTS].spent, spent - takes);
	return less - takes;
}

void
ring_unbook(struct board *b, int64_t ref, int64_t slice, int64_t less, int64_t now_ms)
{
	int64_t from = oldest(table_at(b, ref), now_ms);

	less = less_in(b, ref, slice, less);
	for (slice = from + BOARD_SLICES; slice >= from && less > 0; slice--)
		less = less_in(b, ref, slice, less);
}

/*
 * Use falls by age and rises again, many times at one share of the cap.  `told` is the slice of the
 * last telling << 3 | a bit for each share that was told of; a bit goes when use was seen below its
 * share a whole window later.
 */
uint8_t
ring_tell(struct board *b, int64_t ref, const int64_t warn[BOARD_WARNS_MAX], int64_t before,
	int64_t used, int64_t now_ms)
{
	struct ring *ring = table_at(b, ref);
	int64_t told = word_get(&ring->c.told), from = oldest(ring, now_ms);
	uint8_t had = (uint8_t)(told & 7), bits = 0;

	_Static_assert(BOARD_WARNS_MAX == 3, "a bit each");
	for (int i = 0; i < BOARD_WARNS_MAX; i++) {
		uint8_t bit = (uint8_t)(1u << i);

		if (warn[i] <= 0)
			continue;
		if (before < warn[i] && told >> 3 < from)
			had &= (uint8_t)~bit;
		if (used >= warn[i] && (had & bit) == 0)
			bits |= bit;
	}
	if (bits != 0)
		section_change_at(b, ref, &ring->c.told, (from + BOARD_SLICES) << 3 | had | bits);
	return bits;
}
