/*
 * lease.c - admission, settlement, and what the dead leave behind.
 *
 * Admission takes claim by claim and, at the first that cannot be had, undoes what it took by the
 * same log that a crash would use.  So two claims on one counter add up, and the way back after a
 * death is walked a thousand times a day.
 */
#include "board/board-int.h"
#include <string.h>

static int64_t
owner_pack(struct roster_owner o)
{
	return (int64_t)((uint64_t)o.slot << 32 | o.incarnation);
}

static struct roster_owner
owner_unpack(int64_t packed)
{
	return (struct roster_owner){
		.slot = (uint32_t)((uint64_t)packed >> 32),
		.incarnation = (uint32_t)((uint64_t)packed & UINT32_MAX),
	};
}

static struct id
exchange_of(const struct lease_head *lease)
{
	int64_t half[2] = { word_get(&lease->exchange[0]), word_get(&lease->exchange[1]) };
	struct id id;

	memcpy(&id, half, sizeof id);
	return id;
}

static struct lease_head *
lease_of(struct board *b, struct board_lease lease)
{
	if (lease.serial == 0 || lease.index >= b->o.leases)
		return NULL;
	if ((uint64_t)word_get(&b->leases[lease.index].serial) != lease.serial)
		return NULL;
	return &b->leases[lease.index];
}

/* ---- admission, in its section ---- */

/* Also NO_ROOM: the table must grow first. */
enum { TAKE_NO_ROOM = BOARD_NEEDS_SEED + 1 };

static int
take(struct board *b, const struct board_claim *c, int64_t now_ms, struct lease_body *body, int i,
	struct board_verdict *v)
{
	int64_t room, amount, number = counter_find(b, c->key, now_ms, &room);
	struct row *row;

	v->which = i;
	if (number < 0) {
		if (!c->seeded && c->window_start_ms < word_get(&b->head->made_ms))
			return BOARD_NEEDS_SEED;
		if (room < 0)
			return TAKE_NO_ROOM;
		number = room;
		counter_make(b, number, c);
	}
	amount = counter_reserve(b, number, c->amount, c->cap, v);
	if (amount < 0)
		return BOARD_REFUSED;
	row = counter_row(b, number);
	section_change_row(b, number, &row->life, word_get(&row->life) + 1);
	body->claim[i].row = number;
	body->claim[i].key = (int64_t)c->key[1];
	word_set(&body->claim[i].amount, amount);
	v->warned[i] = counter_tell(b, number, c->warn);
	return BOARD_TAKEN;
}

/* Index of a lease that is free, or -1.  Its link stays as it is: an undo puts it back in place. */
static int64_t
next_free(struct board *b)
{
	struct head *h = b->head;
	int64_t first = word_get(&h->free_lease), high = word_get(&h->leases_high);

	if (first != 0)
		return first - 1;
	return high < b->o.leases ? high : -1;
}

static uint64_t
lease_out(struct board *b, int64_t index, struct id exchange, int count)
{
	struct head *h = b->head;
	struct lease_head *lease = &b->leases[index];
	int64_t half[2], serial = word_get(&h->serial) + 1;

	if (word_get(&h->free_lease) != 0)
		section_change(b, &h->free_lease, word_get(&lease->next));
	else
		section_change(b, &h->leases_high, index + 1);
	section_change(b, &h->leases_used, word_get(&h->leases_used) + 1);
	section_change(b, &h->serial, serial);
	memcpy(half, &exchange, sizeof half);
	word_set(&lease->owner, owner_pack(roster_self(b->roster)));
	word_set(&lease->reaper, 0);
	word_set(&lease->cut, 0);
	word_set(&lease->exchange[0], half[0]);
	word_set(&lease->exchange[1], half[1]);
	word_set(&lease->count, count);
	b->bodies[index].serial = serial;
	section_change(b, &lease->serial, serial);
	return (uint64_t)serial;
}

/* Taken: what each claim's counter now says. */
static void
tell_use(const struct board *b, const struct lease_body *body, int count, struct board_verdict *v)
{
	v->outcome = BOARD_TAKEN;
	v->which = 0;
	v->spent = v->reserved = 0;
	for (int i = 0; i < count; i++) {
		const struct row *row;

		if (body->claim[i].row < 0)
			continue;
		row = counter_row(b, body->claim[i].row);
		v->held[i] = word_get(&row->reserved);
		v->used[i] = add_held(word_get(&row->spent), v->held[i]);
	}
}

/* 0, -1, or 1 when a row found no room. */
static int
admit_once(struct board *b, struct id exchange, const struct board_claim *claims, int count,
	const void *note, size_t note_bytes, struct board_lease *lease, struct board_verdict *v,
	struct err *err)
{
	int64_t index, now_ms = board_now_ms(b);
	int rc = 0, outcome = BOARD_TAKEN;

	if (section_enter(b, err) != 0)
		return -1;
	index = next_free(b);
	if (index < 0) {
		rc = err_set(err, ERR_OVERLOADED, "all %lld leases of the board are in use",
			(long long)b->o.leases);
		goto leave;
	}
	for (int i = 0; i < count && outcome == BOARD_TAKEN; i++)
		outcome = take(b, &claims[i], now_ms, &b->bodies[index], i, v);
	if (outcome != BOARD_TAKEN) {
		section_undo(b);
		if (outcome == TAKE_NO_ROOM)
			rc = 1;
		else
			v->outcome = outcome == BOARD_REFUSED ? BOARD_REFUSED : BOARD_NEEDS_SEED;
		goto leave;
	}
	if (note_bytes > 0)
		memcpy(b->bodies[index].note, note, note_bytes);
	memset(b->bodies[index].note + note_bytes, 0, BOARD_NOTE_BYTES - note_bytes);
	lease->index = (uint32_t)index;
	lease->serial = lease_out(b, index, exchange, count);
	section_commit(b);
	tell_use(b, &b->bodies[index], count, v);
leave:
	section_leave(b);
	return rc;
}

int
board_admit(struct board *b, struct id exchange, const struct board_claim *claims, int count,
	const struct board_repeat *repeat, const void *note, size_t note_bytes,
	struct board_lease *lease, struct board_verdict *verdict, struct err *err)
{
	(void)repeat;
	*lease = (struct board_lease){ 0 };
	*verdict = (struct board_verdict){ 0 };
	if (count < 0 || count > BOARD_CLAIMS_MAX || note_bytes > BOARD_NOTE_BYTES)
		return err_set(err, ERR_INTERNAL, "%d claims with a note of %zu bytes do not fit",
			count, note_bytes);
	for (int i = 0; i < count; i++)
		if (claims[i].amount < 0)
			return err_set(err, ERR_INTERNAL, "claim %d is for a negative amount", i);

	for (;;) {
		int64_t had = word_get(&b->head->segments);
		int rc = admit_once(
			b, exchange, claims, count, note, note_bytes, lease, verdict, err);

		if (rc <= 0)
			return rc;
		if (board_grow(b, had, err) != 0)
			return -1;
	}
}

/* The row of a lease's claim, or -1: it went with an earlier board.  A lease always holds its rows;
 * damage must not spread from one. */
static int64_t
held_row(const struct board *b, const struct lease_body *body, int i)
{
	int64_t number = body->claim[i].row;
	const struct row *row;

	if (number < 0 || number >= b->segments * b->o.rows)
		return -1;
	row = counter_row(b, number);
	return word_get(&row->life) >= 2 && word_get(&row->key[1]) == body->claim[i].key ? number
											 : -1;
}

/* ---- more for one that runs ---- */

static bool
raise_claim(struct board *b, struct lease_body *body, int i, int64_t amount, int64_t cap,
	struct board_verdict *v)
{
	int64_t number = held_row(b, body, i), taken;

	if (number < 0)
		return true;
	v->which = i;
	taken = counter_reserve(b, number, amount, cap, v);
	if (taken < 0)
		return false;
	section_change(b, &body->claim[i].amount, word_get(&body->claim[i].amount) + taken);
	return true;
}

int
board_raise(struct board *b, struct board_lease lease, const int64_t *amount, const int64_t *cap,
	int count, struct board_verdict *v, struct err *err)
{
	struct lease_head *head;
	struct lease_body *body;
	bool fits = true;
	int rc = 0;

	*v = (struct board_verdict){ .outcome = BOARD_TAKEN };
	for (int i = 0; i < count; i++)
		if (amount[i] < 0)
			return err_set(
				err, ERR_INTERNAL, "claim %d is raised by a negative amount", i);
	if (section_enter(b, err) != 0)
		return -1;
	head = lease_of(b, lease);
	if (head == NULL)
		goto leave;
	if (count > (int)word_get(&head->count)) {
		rc = err_set(err, ERR_INTERNAL, "%d claims to raise where %d are held", count,
			(int)word_get(&head->count));
		goto leave;
	}
	body = &b->bodies[lease.index];
	/* Who asks for no more is not held up by what others have used up. */
	for (int i = 0; i < count && fits; i++)
		fits = amount[i] == 0 || raise_claim(b, body, i, amount[i], cap[i], v);
	if (fits) {
		section_commit(b);
		tell_use(b, body, (int)word_get(&head->count), v);
	} else {
		section_undo(b);
		v->outcome = BOARD_REFUSED;
	}
leave:
	section_leave(b);
	return rc;
}

/* ---- settlement ---- */

static void
give_back(struct board *b, const struct lease_body *body, int i, int64_t spent)
{
	int64_t number = held_row(b, body, i);
	struct row *row;

	if (number < 0)
		return;
	row = counter_row(b, number);
	section_change_row(b, number, &row->reserved,
		word_get(&row->reserved) - word_get(&body->claim[i].amount));
	if (spent > 0)
		section_change_row(b, number, &row->spent, add_held(word_get(&row->spent), spent));
	section_change_row(b, number, &row->life, word_get(&row->life) - 1);
}

int
board_settle(struct board *b, struct board_lease lease, const int64_t *spent, int count, int status,
	struct err *err)
{
	struct lease_head *head;
	int rc = 0;

	(void)status;
	for (int i = 0; i < count; i++)
		if (spent[i] < 0)
			return err_set(err, ERR_INTERNAL, "claim %d spent a negative amount", i);
	if (section_enter(b, err) != 0)
		return -1;
	head = lease_of(b, lease);
	if (head == NULL)
		goto leave;

	int held = (int)word_get(&head->count);

	if (count > held) {
		rc = err_set(
			err, ERR_INTERNAL, "%d claims to settle where %d are held", count, held);
		goto leave;
	}
	for (int i = 0; i < held; i++)
		give_back(b, &b->bodies[lease.index], i, i < count ? spent[i] : 0);
	section_change(b, &head->serial, 0);
	section_change(b, &head->next, word_get(&b->head->free_lease));
	section_change(b, &b->head->free_lease, (int64_t)lease.index + 1);
	section_change(b, &b->head->leases_used, word_get(&b->head->leases_used) - 1);
	section_commit(b);
	rc = 1;
leave:
	section_leave(b);
	return rc;
}

void *
board_note(struct board *b, struct board_lease lease)
{
	return lease_of(b, lease) != NULL ? b->bodies[lease.index].note : NULL;
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
