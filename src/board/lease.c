/*
 * lease.c - admission, more for one that runs, and settlement.
 *
 * Admission takes claim by claim and, at the first that cannot be had, undoes what it took by the
 * same log that a crash would use.  So two claims on one counter add up, and the way back after a
 * death is walked a thousand times a day.
 */
#include "board/board-int.h"
#include <string.h>

int64_t
owner_pack(struct roster_owner o)
{
	return (int64_t)((uint64_t)o.slot << 32 | o.incarnation);
}

struct roster_owner
owner_unpack(int64_t packed)
{
	return (struct roster_owner){
		.slot = (uint32_t)((uint64_t)packed >> 32),
		.incarnation = (uint32_t)((uint64_t)packed & UINT32_MAX),
	};
}

struct id
exchange_of(const struct lease_head *lease)
{
	return id_of_words(lease->exchange);
}

struct lease_head *
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
enum { TAKE_NO_ROOM = BOARD_OTHER_BODY + 1 };

struct admission {
	struct id exchange;
	const struct board_claim *claims;
	int count;
	const struct board_repeat *repeat; /* NULL: none */
	const void *note;
	size_t note_bytes;
	bool only_asks; /* all is undone, whatever comes of it */
	/* no room: of which table, that had so many segments */
	enum kind full;
	int had;
};

static int
no_room(const struct board *b, struct admission *a, enum kind table)
{
	a->full = table;
	a->had = b->table[table].count;
	return TAKE_NO_ROOM;
}

static int
take(struct board *b, struct admission *a, int i, int64_t now_ms, struct lease_body *body,
	struct board_verdict *v)
{
	const struct board_claim *c = &a->claims[i];
	const struct counter *counter;
	int64_t amount, ref = counter_of(b, c, now_ms);

	v->which = i;
	if (ref == COUNTER_NEEDS_SEED)
		return BOARD_NEEDS_SEED;
	if (ref == COUNTER_NO_ROOM)
		return no_room(b, a, c->rolling_ms > 0 ? RINGS : ROWS);
	amount = counter_reserve(b, ref, c->amount, c->cap, now_ms, v);
	if (amount < 0)
		return BOARD_REFUSED;
	table_hold(b, ref, 1);
	counter = table_at(b, ref);
	body->claim[i].ref = ref;
	body->claim[i].key = word_get(&counter->e.key[1]);
	body->claim[i].slice = counter_slice(b, ref, now_ms);
	word_set(&body->claim[i].amount, amount);
	v->used[i] = v->spent;
	if ((c->warn[0] | c->warn[1] | c->warn[2]) != 0)
		v->warned[i] = counter_tell(b, ref, c->warn, add_held(v->spent, v->reserved),
			add_held(v->spent, v->reserved + amount), now_ms);
	return BOARD_TAKEN;
}

/* The idempotency key first: who repeats a request is told so, whatever the limits say. */
static int
take_all(struct board *b, struct admission *a, int64_t now_ms, struct lease_body *body,
	struct board_verdict *v)
{
	int outcome = BOARD_TAKEN;

	body->repeat = -1;
	if (a->repeat != NULL && (a->repeat->key[0] | a->repeat->key[1]) != 0)
		outcome = repeat_hold(b, a->repeat, a->exchange, now_ms, &body->repeat, v);
	if (outcome < 0)
		return no_room(b, a, REPEATS);
	for (int i = 0; i < a->count && outcome == BOARD_TAKEN; i++)
		outcome = take(b, a, i, now_ms, body, v);
	return outcome;
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

/* What an earlier lease noted behind the end of this one's note goes.  Notes are mostly of one
 * length, so there is mostly nothing to clear. */
static void
write_note(struct lease_body *body, const void *note, size_t note_bytes)
{
	size_t noted = (size_t)body->noted_bytes;

	if (noted < note_bytes || noted > BOARD_NOTE_BYTES)
		body->noted_bytes = BOARD_NOTE_BYTES;
	if (noted > BOARD_NOTE_BYTES)
		noted = BOARD_NOTE_BYTES;
	/* The length first: who dies in here leaves one that is too long, never too short. */
	atomic_signal_fence(memory_order_seq_cst);
	if (note_bytes > 0)
		memcpy(body->note, note, note_bytes);
	if (noted > note_bytes)
		memset(body->note + note_bytes, 0, noted - note_bytes);
	atomic_signal_fence(memory_order_seq_cst);
	body->noted_bytes = (int64_t)note_bytes;
}

static uint64_t
lease_out(struct board *b, int64_t index, const struct admission *a)
{
	struct head *h = b->head;
	struct lease_head *lease = &b->leases[index];
	int64_t half[2], serial = word_get(&h->serial) + 1;

	write_note(&b->bodies[index], a->note, a->note_bytes);
	if (word_get(&h->free_lease) != 0)
		section_change(b, &h->free_lease, word_get(&lease->next));
	else
		section_change(b, &h->leases_high, index + 1);
	section_change(b, &h->leases_used, word_get(&h->leases_used) + 1);
	section_change(b, &h->serial, serial);
	memcpy(half, &a->exchange, sizeof half);
	word_set(&lease->owner, owner_pack(roster_self(b->roster)));
	word_set(&lease->reaper, 0);
	word_set(&lease->cut, 0);
	word_set(&lease->exchange[0], half[0]);
	word_set(&lease->exchange[1], half[1]);
	word_set(&lease->count, a->count);
	b->bodies[index].serial = serial;
	section_change(b, &lease->serial, serial);
	return (uint64_t)serial;
}

static bool
holds(const struct board *b, const struct lease_body *body, int i)
{
	return table_holds(b, body->claim[i].ref, body->claim[i].key);
}

/* v->used has what is spent.  Two claims may be on one counter, so the rest is asked when all are
 * taken. */
static void
tell_held(const struct board *b, const struct lease_body *body, int count, struct board_verdict *v)
{
	v->outcome = BOARD_TAKEN;
	v->which = 0;
	v->spent = v->reserved = 0;
	for (int i = 0; i < count; i++) {
		const struct counter *counter = table_at(b, body->claim[i].ref);

		v->held[i] = word_get(&counter->reserved);
		v->used[i] = add_held(v->used[i], v->held[i]);
	}
}

/* 0, -1, or 1 when a table has no room. */
static int
admit_once(struct board *b, struct admission *a, struct board_lease *lease, struct board_verdict *v,
	struct err *err)
{
	struct lease_body *body;
	int64_t index;
	int rc = 0, outcome;

	if (section_enter(b, err) != 0)
		return -1;
	index = next_free(b);
	if (index < 0) {
		rc = err_set(err, ERR_OVERLOADED, "all %lld leases of the board are in use",
			(long long)b->o.leases);
		goto leave;
	}
	body = &b->bodies[index];
	/* The time is taken inside, so that it never runs backwards from one section to the next. */
	outcome = take_all(b, a, board_now_ms(b), body, v);
	if (outcome == BOARD_TAKEN && a->only_asks)
		tell_held(b, body, a->count, v);
	if (outcome != BOARD_TAKEN || a->only_asks) {
		section_undo(b);
		memset(v->warned, 0, sizeof v->warned);
		if (outcome == TAKE_NO_ROOM)
			rc = 1;
		else
			v->outcome = outcome;
		goto leave;
	}
	lease->index = (uint32_t)index;
	lease->serial = lease_out(b, index, a);
	section_commit(b);
	tell_held(b, body, a->count, v);
leave:
	section_leave(b);
	return rc;
}

static int
admit(struct board *b, struct admission *a, struct board_lease *lease,
	struct board_verdict *verdict, struct err *err)
{
	*lease = (struct board_lease){ 0 };
	*verdict = (struct board_verdict){ 0 };
	if (a->count < 0 || a->count > BOARD_CLAIMS_MAX || a->note_bytes > BOARD_NOTE_BYTES)
		return err_set(err, ERR_INTERNAL, "%d claims with a note of %zu bytes do not fit",
			a->count, a->note_bytes);
	for (int i = 0; i < a->count; i++)
		if (a->claims[i].amount < 0 || a->claims[i].rolling_ms < 0)
			return err_set(err, ERR_INTERNAL,
				"claim %d is for a negative amount or window", i);

	for (;;) {
		int rc = admit_once(b, a, lease, verdict, err);

		if (rc <= 0)
			return rc;
		if (board_grow(b, a->full, a->had, err) != 0)
			return -1;
	}
}

int
board_admit(struct board *b, struct id exchange, const struct board_claim *claims, int count,
	const struct board_repeat *repeat, const void *note, size_t note_bytes,
	struct board_lease *lease, struct board_verdict *verdict, struct err *err)
{
	struct admission a = { .exchange = exchange,
		.claims = claims,
		.count = count,
		.repeat = repeat,
		.note = note,
		.note_bytes = note_bytes };

	return admit(b, &a, lease, verdict, err);
}

int
board_would(struct board *b, const struct board_claim *claims, int count,
	const struct board_repeat *repeat, struct board_verdict *verdict, struct err *err)
{
	struct admission a = {
		.claims = claims, .count = count, .repeat = repeat, .only_asks = true
	};
	struct board_lease none;

	return admit(b, &a, &none, verdict, err);
}

/* ---- more for one that runs ---- */

static bool
raise_claim(struct board *b, struct lease_body *body, int i, int64_t amount, int64_t cap,
	int64_t now_ms, struct board_verdict *v)
{
	int64_t taken;

	v->which = i;
	taken = counter_reserve(b, body->claim[i].ref, amount, cap, now_ms, v);
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
	int64_t now_ms;
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

	int held = (int)word_get(&head->count);

	if (count > held) {
		rc = err_set(
			err, ERR_INTERNAL, "%d claims to raise where %d are held", count, held);
		goto leave;
	}
	body = &b->bodies[lease.index];
	now_ms = board_now_ms(b);
	/* They may have gone with an earlier boot. */
	for (int i = 0; i < held; i++)
		if (!holds(b, body, i))
			goto leave;
	/* Who asks for no more is not held up by what others have used up. */
	for (int i = 0; i < count && fits; i++)
		fits = amount[i] == 0 || raise_claim(b, body, i, amount[i], cap[i], now_ms, v);
	if (fits) {
		section_commit(b);
		for (int i = 0; i < held; i++)
			v->used[i] = counter_spent(b, body->claim[i].ref, now_ms);
		tell_held(b, body, held, v);
	} else {
		section_undo(b);
		v->outcome = BOARD_REFUSED;
	}
leave:
	section_leave(b);
	return rc;
}

/* ---- settlement ---- */

int
board_settle(struct board *b, struct board_lease lease, const int64_t *spent, int count, int status,
	struct err *err)
{
	struct lease_head *head;
	struct lease_body *body;
	int rc = 0;

	for (int i = 0; i < count; i++)
		if (spent[i] < 0)
			return err_set(err, ERR_INTERNAL, "claim %d spent a negative amount", i);
	if (status < 0 || status > UINT16_MAX)
		return err_set(err, ERR_INTERNAL, "a status of %d", status);
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
	body = &b->bodies[lease.index];
	for (int i = 0; i < held; i++)
		if (holds(b, body, i))
			counter_settle(b, body->claim[i].ref, word_get(&body->claim[i].amount),
				body->claim[i].slice, i < count ? spent[i] : 0);
	if (body->repeat >= 0)
		repeat_end(b, body->repeat, exchange_of(head), status, board_now_ms(b));
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
