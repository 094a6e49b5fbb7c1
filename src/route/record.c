/*
 * record.c - numbers are varints, an id stands once and is a number after that, and parts that are
 * empty take a bit.  In order:
 *
 *   1, parts, [route], strategy + affinity, [stages], [policies], considered, [counts], [queued],
 *   [rules], attempts, [base of times], members left out, members
 *
 * The members come last, so that what is left for them is known when they are chosen.  Behind them
 * a newer program may put more: this one passes over it.
 */
#include "route/record.h"

#include <string.h>

#define LAYOUT      1
#define MEMBERS_MAX (ROUTE_ATTEMPTS_MAX + ROUTE_SHOWN_MAX)
#define IDS_MAX     (1 + 4 + 2 * MEMBERS_MAX)
#define POLICIES    (sizeof((struct route_record *)0)->policy / sizeof(struct id))
#define TERMS       7

enum part {
	PART_ROUTE = 1,
	PART_STAGES = 2,
	PART_POLICIES = 4,
	PART_COUNTS = 8,
	PART_QUEUED = 16,
	PART_RULES = 32,
	PART_TIMES = 64
};
/* Of a member; the low bits are its terms' */
enum member_part { MEMBER_UNTIL = 1 << TERMS, MEMBER_SHARE = 2 << TERMS };

static const char *const reason_names[ROUTE__REASONS] = {
	[REASON_CHOSEN] = "chosen",
	[REASON_NEXT] = "next",
	[REASON_RESTS] = "rests",
	[REASON_INVALID] = "invalid",
	[REASON_BREAKER] = "breaker",
	[REASON_PROBED] = "probed",
	[REASON_FORECAST] = "forecast",
	[REASON_MODEL] = "model",
	[REASON_DIALECT] = "dialect",
	[REASON_PROJECT] = "project",
	[REASON_POLICY] = "policy",
	[REASON_CONSTRAINT] = "constraint",
	[REASON_COST] = "cost",
	[REASON_UNPRICED] = "unpriced",
	[REASON_RELIABILITY] = "reliability",
	[REASON_PRIORITY] = "priority",
	[REASON_FULL] = "full",
	[REASON_UNSUPPORTED] = "unsupported",
	[REASON_LIMIT] = "limit",
};

const char *
route_reason_name(enum route_reason r)
{
	return (size_t)r < ROUTE__REASONS ? reason_names[r] : "?";
}

const char *
route_affinity_name(uint8_t affinity)
{
	static const char *const names[] = { "none", "new", "kept", "moved", "away" };

	return affinity < sizeof names / sizeof names[0] ? names[affinity] : "?";
}

const char *
route_on_name(uint8_t on)
{
	static const char *const names[] = { "start", "error", "context", "filter", "price" };

	return on < sizeof names / sizeof names[0] ? names[on] : "?";
}

/* ---- writing ---- */

struct ids {
	size_t count;
	struct id id[IDS_MAX];
};

struct writer {
	uint8_t *at;
	size_t len, room;
	bool full;
	struct ids ids;
};

static void
put_bytes(struct writer *w, const void *data, size_t len)
{
	if (w->full || len > w->room - w->len) {
		w->full = true;
		return;
	}
	memcpy(w->at + w->len, data, len);
	w->len += len;
}

static void
put_byte(struct writer *w, unsigned int byte)
{
	uint8_t b = (uint8_t)byte;

	put_bytes(w, &b, 1);
}

static void
put_number(struct writer *w, uint64_t n)
{
	for (; n > 0x7f; n >>= 7)
		put_byte(w, (unsigned int)(n & 0x7f) | 0x80);
	put_byte(w, (unsigned int)n);
}

/* Like id_equal(), for a loop: nearly all differ in their first byte. */
static inline bool
is_same(const struct id *a, const struct id *b)
{
	return a->b[0] == b->b[0] && id_equal(*a, *b);
}

/* 0: none, up to how many there were: that one, one more: it follows. */
static void
put_id(struct writer *w, struct id id)
{
	size_t i = 0;

	if (id_is_none(id)) {
		put_byte(w, 0);
		return;
	}
	while (i < w->ids.count && !is_same(&w->ids.id[i], &id))
		i++;
	put_number(w, i + 1);
	if (i < w->ids.count || i == IDS_MAX)
		return;
	w->ids.id[w->ids.count++] = id;
	put_bytes(w, id.b, sizeof id.b);
}

static const uint8_t *
terms_of(const struct route_member *m, uint8_t terms[TERMS])
{
	const uint8_t all[TERMS] = { m->score, m->cost, m->reliability, m->fairness, m->quality,
		m->latency, m->forecast };

	return memcpy(terms, all, TERMS);
}

static void
put_member(struct writer *w, const struct route_member *m, int64_t base_ms)
{
	uint8_t terms[TERMS];
	unsigned int parts = 0;

	terms_of(m, terms);
	for (int i = 0; i < TERMS; i++)
		parts |= terms[i] != 0 ? 1u << i : 0;
	parts |= m->until_ms > 0 ? MEMBER_UNTIL : 0;
	parts |= m->share_permille != 0 ? MEMBER_SHARE : 0;
	put_id(w, m->upstream);
	put_id(w, m->key);
	put_number(w, (uint64_t)m->reason | (uint64_t)m->stage << 5);
	put_number(w, parts);
	for (int i = 0; i < TERMS; i++)
		if (terms[i] != 0)
			put_byte(w, terms[i]);
	if (parts & MEMBER_UNTIL)
		put_number(w, (uint64_t)(m->until_ms - base_ms));
	if (parts & MEMBER_SHARE)
		put_number(w, m->share_permille);
}

/* Who is left out last; and the least time that any of them has, which the others count from. */
enum { RANK_TRIED, RANK_NEXT, RANK_OTHER, RANK__COUNT };

static int64_t
rank_members(const struct route_record *r, size_t count, uint8_t rank[MEMBERS_MAX])
{
	int64_t base_ms = 0;

	for (size_t i = 0; i < count; i++) {
		int64_t until_ms = r->member[i].until_ms;

		rank[i] = r->member[i].reason == REASON_CHOSEN ? RANK_TRIED
			  : r->member[i].reason == REASON_NEXT ? RANK_NEXT
							       : RANK_OTHER;
		if (until_ms > 0 && (base_ms == 0 || until_ms < base_ms))
			base_ms = until_ms;
	}
	for (size_t i = 0; i < r->attempt_count && i < ROUTE_ATTEMPTS_MAX; i++)
		if (r->attempt[i].member < count)
			rank[r->attempt[i].member] = RANK_TRIED;
	return base_ms;
}

/*
 * Which members to keep so that they take at most `room`: each in the order of its rank, until one
 * does not fit.  What one takes does not depend on the order in which they stand later, as an id
 * stands once wherever that is.
 */
static size_t
choose_members(const struct route_record *r, size_t count, const uint8_t rank[MEMBERS_MAX],
	int64_t base_ms, const struct writer *so_far, size_t room, bool kept[MEMBERS_MAX])
{
	uint8_t scratch[DECISION_BYTES];
	struct writer w = { .at = scratch,
		.room = room < sizeof scratch ? room : sizeof scratch,
		.ids = so_far->ids };
	size_t chosen = 0;

	memset(kept, 0, MEMBERS_MAX);
	for (int turn = 0; turn < RANK__COUNT; turn++) {
		for (size_t i = 0; i < count; i++) {
			if (rank[i] != turn)
				continue;
			put_member(&w, &r->member[i], base_ms);
			if (w.full)
				return chosen;
			kept[i] = true;
			chosen++;
		}
	}
	return chosen;
}

static unsigned int
parts_of(const struct route_record *r, int64_t base_ms, size_t stages)
{
	unsigned int parts = 0;

	parts |= id_is_none(r->route) ? 0 : PART_ROUTE;
	parts |= stages > 0 ? PART_STAGES : 0;
	parts |= r->policy_count > 0 ? PART_POLICIES : 0;
	for (int i = 0; i < ROUTE__REASONS; i++)
		parts |= r->out[i] > 0 ? PART_COUNTS : 0;
	parts |= r->queued_ms > 0 ? PART_QUEUED : 0;
	parts |= r->rules > 0 ? PART_RULES : 0;
	parts |= base_ms > 0 ? PART_TIMES : 0;
	return parts;
}

static void
put_counts(struct writer *w, const struct route_record *r)
{
	unsigned int pairs = 0;

	for (int i = 0; i < ROUTE__REASONS; i++)
		pairs += r->out[i] > 0;
	put_byte(w, pairs);
	for (int i = 0; i < ROUTE__REASONS; i++) {
		if (r->out[i] == 0)
			continue;
		put_byte(w, (unsigned int)i);
		put_number(w, r->out[i]);
	}
}

/* As far as the stages go; the first one always is the model asked for. */
static size_t
stages_of(const struct route_record *r)
{
	size_t count = ROUTE_FALLBACKS_MAX;

	while (count > 0 && r->stages_on[count] == ON_START)
		count--;
	return count;
}

static void
put_head(struct writer *w, const struct route_record *r, int64_t base_ms)
{
	size_t stages = stages_of(r);
	size_t policies = r->policy_count < POLICIES ? r->policy_count : POLICIES;
	unsigned int parts = parts_of(r, base_ms, stages);

	put_byte(w, LAYOUT);
	put_byte(w, parts);
	if (parts & PART_ROUTE)
		put_id(w, r->route);
	put_number(w, (uint64_t)r->strategy | (uint64_t)r->affinity << 5);
	if (parts & PART_STAGES) {
		put_byte(w, (unsigned int)stages);
		put_bytes(w, r->stages_on + 1, stages);
	}
	if (parts & PART_POLICIES) {
		put_byte(w, (unsigned int)policies);
		for (size_t i = 0; i < policies; i++)
			put_id(w, r->policy[i]);
	}
	put_number(w, r->considered);
	if (parts & PART_COUNTS)
		put_counts(w, r);
	if (parts & PART_QUEUED)
		put_number(w, r->queued_ms);
	if (parts & PART_RULES)
		put_number(w, r->rules);
}

static void
put_attempts(struct writer *w, const struct route_record *r, const uint8_t place[MEMBERS_MAX])
{
	size_t count =
		r->attempt_count < ROUTE_ATTEMPTS_MAX ? r->attempt_count : ROUTE_ATTEMPTS_MAX;

	put_byte(w, (unsigned int)count);
	for (size_t i = 0; i < count; i++) {
		const struct route_attempt *a = &r->attempt[i];

		put_byte(w, a->member < MEMBERS_MAX ? place[a->member] : ROUTE_MEMBER_LEFT);
		put_byte(w, (unsigned int)a->failure << 1 | a->is_probe);
		put_number(w, a->status);
		put_number(w, a->began_ms);
		put_number(w, a->took_ms);
	}
}

/* What comes behind the head: attempts, and those members. */
static void
put_rest(struct writer *w, const struct route_record *r, size_t count, const bool *kept,
	size_t chosen, int64_t base_ms)
{
	size_t left = count - chosen + r->member_left;
	uint8_t place[MEMBERS_MAX];

	memset(place, ROUTE_MEMBER_LEFT, sizeof place);
	for (size_t i = 0, next = 0; i < count; i++)
		if (kept[i])
			place[i] = (uint8_t)next++;
	put_attempts(w, r, place);
	if (base_ms > 0)
		put_number(w, (uint64_t)base_ms);
	put_byte(w, (unsigned int)chosen);
	put_byte(w, left < UINT8_MAX ? (unsigned int)left : UINT8_MAX);
	for (size_t i = 0; i < count; i++)
		if (kept[i])
			put_member(w, &r->member[i], base_ms);
}

ptrdiff_t
route_record_encode(const struct route_record *r, uint8_t *out, size_t room)
{
	struct writer w;
	size_t head_len, head_ids;
	size_t count = r->member_count < MEMBERS_MAX ? r->member_count : MEMBERS_MAX, chosen;
	uint8_t rank[MEMBERS_MAX];
	bool kept[MEMBERS_MAX];
	int64_t base_ms = rank_members(r, count, rank);

	w.at = out;
	w.len = w.ids.count = 0;
	w.room = room;
	w.full = false;
	put_head(&w, r, base_ms);
	if (w.full)
		return -1;
	head_len = w.len;
	head_ids = w.ids.count;
	memset(kept, 1, sizeof kept);
	put_rest(&w, r, count, kept, count, base_ms);
	if (!w.full)
		return (ptrdiff_t)w.len;
	/* Not all find room.  Behind the first ids there are only others' in the table. */
	w.full = false;
	w.len = head_len;
	w.ids.count = head_ids;
	memset(kept, 0, sizeof kept);
	put_rest(&w, r, count, kept, 0, base_ms);
	if (w.full)
		return -1;
	w.ids.count = head_ids;
	chosen = choose_members(r, count, rank, base_ms, &w, room - w.len, kept);
	w.len = head_len;
	put_rest(&w, r, count, kept, chosen, base_ms);
	return w.full ? -1 : (ptrdiff_t)w.len;
}

void
route_record_shorten(struct route_record *r, int most)
{
	size_t count = r->member_count < MEMBERS_MAX ? r->member_count : MEMBERS_MAX, kept = 0;
	uint8_t place[MEMBERS_MAX], rank[MEMBERS_MAX];

	(void)rank_members(r, count, rank);
	for (size_t i = 0; i < count; i++) {
		place[i] = ROUTE_MEMBER_LEFT;
		if (rank[i] == RANK_NEXT && most-- <= 0) {
			r->member_left = (uint8_t)(r->member_left + (r->member_left < UINT8_MAX));
			continue;
		}
		place[i] = (uint8_t)kept;
		r->member[kept++] = r->member[i];
	}
	r->member_count = (uint8_t)kept;
	for (size_t i = 0; i < r->attempt_count && i < ROUTE_ATTEMPTS_MAX; i++)
		r->attempt[i].member = r->attempt[i].member < count ? place[r->attempt[i].member]
								    : ROUTE_MEMBER_LEFT;
}

/* ---- reading ---- */

struct reader {
	const uint8_t *at, *end;
	bool bad;
	struct ids ids;
};

static uint8_t
get_byte(struct reader *r)
{
	if (r->at == r->end) {
		r->bad = true;
		return 0;
	}
	return *r->at++;
}

/* At most `most`. */
static uint64_t
get_number(struct reader *r, uint64_t most)
{
	uint64_t n = 0;

	for (int shift = 0; shift < 63; shift += 7) {
		uint8_t byte = get_byte(r);

		n |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (n <= most)
			return n;
		break;
	}
	r->bad = true;
	return 0;
}

static struct id
get_id(struct reader *r)
{
	size_t n = (size_t)get_number(r, IDS_MAX);
	struct id id;

	if (r->bad || n == 0)
		return ID_NONE;
	if (n <= r->ids.count)
		return r->ids.id[n - 1];
	if (n != r->ids.count + 1 || (size_t)(r->end - r->at) < sizeof id.b) {
		r->bad = true;
		return ID_NONE;
	}
	memcpy(id.b, r->at, sizeof id.b);
	r->at += sizeof id.b;
	if (id_is_none(id))
		r->bad = true;
	r->ids.id[r->ids.count++] = id;
	return id;
}

static void
get_counts(struct reader *r, struct route_record *out)
{
	for (uint8_t pairs = get_byte(r); !r->bad && pairs > 0; pairs--) {
		uint8_t reason = get_byte(r);
		uint16_t count = (uint16_t)get_number(r, UINT16_MAX);

		if (reason < ROUTE__REASONS) /* newer programs may know more of them */
			out->out[reason] = count;
	}
}

static uint8_t
get_count(struct reader *r, size_t most)
{
	uint8_t n = get_byte(r);

	if (n > most) {
		r->bad = true;
		n = 0;
	}
	return n;
}

static void
get_head(struct reader *r, unsigned int parts, struct route_record *out)
{
	uint64_t n;

	if (parts & PART_ROUTE)
		out->route = get_id(r);
	n = get_number(r, 0xff << 5 | 0x1f);
	out->strategy = n & 0x1f;
	out->affinity = (uint8_t)(n >> 5);
	if (parts & PART_STAGES) {
		uint8_t stages = get_count(r, ROUTE_FALLBACKS_MAX);

		for (int i = 1; i <= stages; i++)
			out->stages_on[i] = get_byte(r);
	}
	if (parts & PART_POLICIES) {
		out->policy_count = get_count(r, POLICIES);
		for (int i = 0; i < out->policy_count; i++)
			out->policy[i] = get_id(r);
	}
	out->considered = (uint16_t)get_number(r, UINT16_MAX);
	if (parts & PART_COUNTS)
		get_counts(r, out);
	if (parts & PART_QUEUED)
		out->queued_ms = (uint32_t)get_number(r, UINT32_MAX);
	if (parts & PART_RULES)
		out->rules = (uint32_t)get_number(r, UINT32_MAX);
}

static void
get_attempts(struct reader *r, struct route_record *out)
{
	out->attempt_count = get_count(r, ROUTE_ATTEMPTS_MAX);
	for (int i = 0; i < out->attempt_count; i++) {
		struct route_attempt *a = &out->attempt[i];
		uint8_t byte;

		a->member = get_byte(r);
		byte = get_byte(r);
		a->failure = byte >> 1;
		a->is_probe = byte & 1;
		a->status = (uint16_t)get_number(r, UINT16_MAX);
		a->began_ms = (uint32_t)get_number(r, UINT32_MAX);
		a->took_ms = (uint32_t)get_number(r, UINT32_MAX);
	}
}

static void
get_member(struct reader *r, struct route_member *m, int64_t base_ms)
{
	uint8_t *const terms[TERMS] = { &m->score, &m->cost, &m->reliability, &m->fairness,
		&m->quality, &m->latency, &m->forecast };
	uint64_t n, parts;

	m->upstream = get_id(r);
	m->key = get_id(r);
	n = get_number(r, 0xff << 5 | 0x1f);
	m->reason = n & 0x1f;
	m->stage = (uint8_t)(n >> 5);
	parts = get_number(r, (MEMBER_SHARE << 1) - 1);
	for (int i = 0; i < TERMS; i++)
		if (parts & 1u << i)
			*terms[i] = get_byte(r);
	if (parts & MEMBER_UNTIL)
		m->until_ms = base_ms + (int64_t)get_number(r, (uint64_t)(INT64_MAX - base_ms));
	if (parts & MEMBER_SHARE)
		m->share_permille = (uint16_t)get_number(r, UINT16_MAX);
}

int
route_record_decode(const uint8_t *data, size_t len, struct route_record *out)
{
	struct reader r = { .at = data, .end = data + len };
	unsigned int parts;
	int64_t base_ms = 0;

	memset(out, 0, sizeof *out);
	if (get_byte(&r) != LAYOUT)
		return -1;
	parts = get_byte(&r);
	get_head(&r, parts, out);
	get_attempts(&r, out);
	if (parts & PART_TIMES)
		base_ms = (int64_t)get_number(&r, INT64_MAX);
	out->member_count = get_count(&r, MEMBERS_MAX);
	out->member_left = get_byte(&r);
	for (int i = 0; i < out->member_count && !r.bad; i++)
		get_member(&r, &out->member[i], base_ms);
	for (int i = 0; i < out->attempt_count; i++)
		if (out->attempt[i].member >= out->member_count)
			out->attempt[i].member = ROUTE_MEMBER_LEFT;
	return r.bad ? -1 : 0;
}
