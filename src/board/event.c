/*
 * event.c - a ring of events.
 *
 * A writer takes a number, marks its slot as being written, writes, and gives the slot the number.
 * One that dies between leaves a slot without its number; the reader passes over it when it has
 * waited EVENT_WAIT_MS for it.  All is words, so that whoever reads while somebody writes reads
 * nonsense at worst, and sees by the number that he did.
 */
#include "base/clock.h"
#include "board/board-int.h"

#include <string.h>

#define EVENT_WAIT_MS 1000 /* for a writer between its first and its last word */

#define WORDS (sizeof(struct board_event) / sizeof(int64_t))
_Static_assert(sizeof(struct board_event) % sizeof(int64_t) == 0, "an event is words");
_Static_assert(WORDS <= 29, "it fits its slot, with the time its reader saw it first");

static struct event_head *
head_of(const struct board *b)
{
	return b->region[REGION_EVENTS];
}

static struct event_slot *
slot_of(const struct board *b, int64_t number)
{
	struct event_slot *slots = b->region[REGION_EVENTS];

	return &slots[1 + (number - 1) % BOARD_EVENTS];
}

void
board_event_add(struct board *b, struct board_event *e)
{
	struct event_head *h = head_of(b);
	int64_t number = atomic_fetch_add_explicit(&h->next, 1, memory_order_acq_rel) + 1;
	struct event_slot *slot = slot_of(b, number);
	int64_t word[WORDS];

	e->number = (uint64_t)number;
	e->time_ms = board_now_ms(b);
	memcpy(word, e, sizeof word);
	atomic_store_explicit(&slot->number, 0, memory_order_relaxed);
	for (size_t i = 0; i < WORDS; i++) /* whoever sees one of them sees the number gone */
		atomic_store_explicit(&slot->word[i], word[i], memory_order_release);
	atomic_store_explicit(&slot->number, number, memory_order_release);
}

bool
board_events_read(struct board *b)
{
	struct event_head *h = head_of(b);
	int64_t self = board_owner_word(b), now = word_get(&h->reader);

	if (now == self) /* left by a thread of ours that was abandoned */
		return true;
	if (now != 0 && !board_owner_is_dead(b, now))
		return false;
	return atomic_compare_exchange_strong(&h->reader, &now, self);
}

void
board_events_leave(struct board *b)
{
	int64_t self = board_owner_word(b);

	(void)atomic_compare_exchange_strong(&head_of(b)->reader, &self, 0);
}

static bool
copy_event(const struct event_slot *slot, int64_t number, struct board_event *e)
{
	int64_t word[WORDS];

	if (word_get(&slot->number) != number)
		return false;
	for (size_t i = 0; i < WORDS; i++)
		word[i] = atomic_load_explicit(&slot->word[i], memory_order_acquire);
	if (atomic_load_explicit(&slot->number, memory_order_relaxed) != number)
		return false;
	memcpy(e, word, sizeof *e);
	e->name[sizeof e->name - 1] = e->evidence[sizeof e->evidence - 1] = '\0';
	return e->number == (uint64_t)number && e->kind < EVENT__COUNT && e->scope < SCOPE__COUNT;
}

/* How long has the reader waited for that slot's writer?  The slot's last words remember. */
static bool
has_waited(struct event_slot *slot, int64_t number)
{
	int64_t now_ms = clock_boot_ms();

	if (word_get(&slot->word[30]) != number) {
		word_set(&slot->word[29], now_ms);
		word_set(&slot->word[30], number);
	}
	return now_ms - word_get(&slot->word[29]) >= EVENT_WAIT_MS ||
	       now_ms < word_get(&slot->word[29]); /* a reboot was between */
}

int
board_events_next(struct board *b, struct board_event *e, int64_t *lost)
{
	struct event_head *h = head_of(b);

	for (;;) {
		int64_t done = word_get(&h->done), next = word_get(&h->next);
		struct event_slot *slot = slot_of(b, done + 1);

		if (done >= next)
			return 0;
		if (next - done > BOARD_EVENTS) {
			*lost += next - done - BOARD_EVENTS;
			word_set(&h->done, next - BOARD_EVENTS);
			continue;
		}
		if (copy_event(slot, done + 1, e))
			return 1;
		if (!has_waited(slot, done + 1))
			return 0;
		++*lost;
		word_set(&h->done, done + 1);
	}
}

void
board_events_done(struct board *b, const struct board_event *e)
{
	word_set(&head_of(b)->done, (int64_t)e->number);
}

bool
board_is_restored(const struct board *b)
{
	return word_get(&head_of(b)->restored) != 0;
}

void
board_set_restored(struct board *b)
{
	word_set(&head_of(b)->restored, 1);
}
