/*
 * reap.c - what others hold: leases of the dead, what runs now, and asking it to end.
 *
 * The table of leases is looked at without the mutex; whatever is found is checked again in a
 * section.
 */
#include "board/board-int.h"
#include <string.h>

/* Its owner may be writing it: word by word, each old or new. */
static void
copy_note(const struct lease_body *body, int64_t out[BOARD_NOTE_BYTES / 8])
{
	const int64_t *words = (const int64_t *)(const void *)body->note;

	for (size_t i = 0; i < BOARD_NOTE_BYTES / 8; i++)
		out[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
}

/* ---- reaping ---- */

/* Asking the roster is a system call; leases of one owner come in crowds. */
struct deaths {
	struct {
		int64_t owner;
		bool asked, dead;
	} known[64];
};

static bool
is_dead(struct board *b, struct deaths *d, int64_t owner)
{
	size_t at = ((uint64_t)owner >> 32) % (sizeof d->known / sizeof d->known[0]);

	if (owner == 0)
		return true;
	if (!d->known[at].asked || d->known[at].owner != owner) {
		d->known[at].owner = owner;
		d->known[at].dead = roster_is_dead(b->roster, owner_unpack(owner));
		d->known[at].asked = true;
	}
	return d->known[at].dead;
}

/* Looked at without the mutex: what is seen here is checked again in the section. */
static bool
is_orphan(struct board *b, struct deaths *d, int64_t owner, int64_t reaper)
{
	if (!is_dead(b, d, owner))
		return false;
	/* Our own name: left over from an earlier call, as there is one at a time in a process. */
	return reaper == 0 || reaper == owner_pack(roster_self(b->roster)) || is_dead(b, d, reaper);
}

/* 1 when it is ours now, 0 when somebody was faster. */
static int
adopt(struct board *b, struct board_lease lease, int64_t owner, int64_t reaper,
	struct board_orphan *o, int64_t note[BOARD_NOTE_BYTES / 8], struct err *err)
{
	struct lease_head *head;
	struct lease_body *body;
	int rc = 0;

	if (section_enter(b, err) != 0)
		return -1;
	head = lease_of(b, lease);
	if (head == NULL || word_get(&head->owner) != owner || word_get(&head->reaper) != reaper)
		goto leave;
	section_change(b, &head->reaper, owner_pack(roster_self(b->roster)));
	section_commit(b);
	body = &b->bodies[lease.index];
	*o = (struct board_orphan){
		.lease = lease,
		.exchange = exchange_of(head),
		.count = (int)word_get(&head->count),
		.note = note,
	};
	for (int i = 0; i < o->count; i++)
		o->amount[i] = word_get(&body->claim[i].amount);
	copy_note(body, note);
	rc = 1;
leave:
	section_leave(b);
	return rc;
}

/* Another may try.  When the mutex is not to be had it stays ours, and our next call has it. */
static void
leave_for_later(struct board *b, struct board_lease lease)
{
	struct err ignored;
	struct lease_head *head;

	if (section_enter(b, &ignored) != 0)
		return;
	head = lease_of(b, lease);
	if (head != NULL) {
		section_change(b, &head->reaper, 0);
		section_commit(b);
	}
	section_leave(b);
}

int
board_reap(struct board *b, bool (*fn)(void *ctx, const struct board_orphan *o), void *ctx,
	struct err *err)
{
	struct deaths deaths = { 0 };
	int64_t note[BOARD_NOTE_BYTES / 8];
	struct board_orphan o;
	int handed = 0;

	/* Another thread of this process is at it. */
	if (pthread_mutex_trylock(&b->reaping) != 0)
		return 0;
	for (uint32_t i = 0; i < (uint32_t)word_get(&b->head->leases_high); i++) {
		const struct lease_head *head = &b->leases[i];
		struct board_lease lease = { i, (uint64_t)word_get(&head->serial) };
		int64_t owner = word_get(&head->owner), reaper = word_get(&head->reaper);
		int got;

		if (lease.serial == 0 || !is_orphan(b, &deaths, owner, reaper))
			continue;
		got = adopt(b, lease, owner, reaper, &o, note, err);
		if (got < 0) {
			handed = -1;
			break;
		}
		if (got == 0)
			continue;
		handed++;
		if (!fn(ctx, &o))
			leave_for_later(b, lease);
	}
	pthread_mutex_unlock(&b->reaping);
	return handed;
}

int
board_inflight(struct board *b,
	bool (*fn)(void *ctx, struct id exchange, struct roster_owner owner, const void *note),
	void *ctx)
{
	int64_t note[BOARD_NOTE_BYTES / 8];
	int shown = 0;

	for (uint32_t i = 0; i < (uint32_t)word_get(&b->head->leases_high); i++) {
		struct lease_head *head = &b->leases[i];
		struct err ignored;
		struct id exchange;
		int64_t owner, serial;

		if (word_get(&head->serial) == 0)
			continue;
		if (section_enter(b, &ignored) != 0)
			return -1;
		serial = word_get(&head->serial);
		owner = word_get(&head->owner);
		exchange = exchange_of(head);
		copy_note(&b->bodies[i], note);
		section_leave(b);
		if (serial == 0)
			continue;
		shown++;
		if (!fn(ctx, exchange, owner_unpack(owner), note))
			break;
	}
	return shown;
}

/* ---- cutting ---- */

int
board_cut(struct board *b, struct id exchange)
{
	struct err ignored;
	int rc = 0;

	for (int64_t i = 0; i < word_get(&b->head->leases_high) && rc == 0; i++) {
		struct lease_head *head = &b->leases[i];

		/* Seen without the mutex it may be half of one and half of another. */
		if (word_get(&head->serial) == 0 || !id_equal(exchange_of(head), exchange))
			continue;
		if (section_enter(b, &ignored) != 0)
			return -1;
		if (word_get(&head->serial) != 0 && id_equal(exchange_of(head), exchange)) {
			word_set(&head->cut, word_get(&head->serial));
			rc = 1;
		}
		section_leave(b);
	}
	return rc;
}

bool
board_is_cut(const struct board *b, struct board_lease lease)
{
	return lease.serial != 0 && lease.index < b->o.leases &&
	       (uint64_t)word_get(&b->leases[lease.index].cut) == lease.serial;
}
