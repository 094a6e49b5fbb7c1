/*
 * breaker.c - circuit breakers of keys, upstreams and accounts (systems.md F3).
 *
 * Open is a rest like any other, so a decision looks at one word for both.
 *
 * An upstream is not broken because one of its keys is.  So of the members that were well lately (bits
 * of `well`, by hash) at least half must have failed since the last success (bits of `ill`) before
 * it opens.  With one key that says nothing, and the parameters hold exactly as they stand.
 */
#include "base/hash.h"
#include "route/standing-int.h"

#define OVERLOADS_TO_REST 3
#define WELL_MS           600000 /* by then who was well has to show it again */

/* A key at an upstream. */
static int64_t
member_bit(const struct report *r)
{
	const struct route_candidate *c = r->c;
	uint64_t at = hash_64(&c->upstream->head.id, sizeof(struct id), 7);

	if (c->key != NULL)
		at = hash_64(&c->key->id, sizeof(struct id), at);
	return (int64_t)(UINT64_C(1) << (at & 63));
}

static bool
has_members(enum board_scope scope)
{
	return scope == SCOPE_UPSTREAM || scope == SCOPE_UPSTREAM_MODEL || scope == SCOPE_ACCOUNT;
}

/* So many bits stand for about so many members, some of whom share one; in 96ths. */
static int
members_of(uint64_t bits)
{
	int n = __builtin_popcountll(bits);

	return n * 96 + n * n;
}

static bool
most_members_fail(const struct board_target *t)
{
	uint64_t ill = (uint64_t)peek(&t->ill), well = (uint64_t)peek(&t->well);

	return members_of(ill) * 2 >= members_of(well | ill);
}

static int64_t
window_ms(const struct report *r)
{
	return r->c->upstream->breaker_window_s * 1000;
}

/* Begins a new window where the last one is over.  Each time half of those who were well, by turns, must
 * show it again: who is gone is forgotten, and never all are at once. */
static void
turn_window(const struct report *r, struct board_target *t)
{
	int64_t began = peek(&t->window_ms), length = window_ms(r);
	int64_t half = r->now_ms / WELL_MS % 2 != 0 ? INT64_C(0x5555555555555555)
						    : ~INT64_C(0x5555555555555555);

	if (began != 0 && r->now_ms - began < (length > 0 ? length : WELL_MS))
		return;
	if (!atomic_compare_exchange_strong(&t->window_ms, &began, r->now_ms) || began == 0)
		return;
	if (length == 0 || r->now_ms / WELL_MS != began / WELL_MS)
		(void)atomic_fetch_and(&t->well, half);
	if (length == 0)
		return;
	poke(&t->failures, 0);
	poke(&t->window_calls, 0);
}

/* How many failures there are with this one. */
static int64_t
count_failure(const struct report *r, enum board_scope scope, struct board_target *t)
{
	turn_window(r, t);
	if (window_ms(r) > 0)
		(void)atomic_fetch_add(&t->window_calls, 1);
	if (has_members(scope))
		(void)atomic_fetch_or(&t->ill, member_bit(r));
	return atomic_fetch_add(&t->failures, 1) + 1;
}

static int64_t
open_ms(const struct report *r, int64_t times)
{
	int64_t ms = r->c->upstream->breaker_open_s * 1000, most = r->rests->most_ms;

	most = most > ms ? most : ms;
	while (times-- > 1 && ms < most)
		ms *= 2;
	return ms < most ? ms : most;
}

static void
open_again(struct report *r, enum board_scope scope, struct board_target *t, int64_t times,
	enum standing_breaker from)
{
	if (!atomic_compare_exchange_strong(&t->breaker, &times, times + 1))
		return;
	poke(&t->successes, 0);
	(void)cooldown_raise(t, r->now_ms + open_ms(r, times + 1), r->now_ms);
	standing_tell(r, scope, EVENT_BREAKER, from, STANDING_OPEN, CAUSE_FAILURES);
}

void
breaker_fail(struct report *r, enum board_scope scope)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t most = r->c->upstream->breaker_failures, times, failures;

	if (t == NULL)
		return;
	failures = count_failure(r, scope, t);
	times = atomic_load(&t->breaker);
	if (most == 0 || state_of(t) == TARGET_DISABLED)
		return;
	if (times > 0) { /* those that began before it opened say nothing new */
		if (is_probed_by(r, scope)) {
			r->settled |= 1u << scope;
			open_again(r, scope, t, times, STANDING_HALF_OPEN);
		}
		return;
	}
	if (failures < most || (has_members(scope) && !most_members_fail(t)) ||
		(has_members(scope) && window_ms(r) > 0 && failures * 2 < peek(&t->window_calls)))
		return;
	r->settled |= 1u << scope;
	open_again(r, scope, t, 0, STANDING_CLOSED);
}

bool
breaker_is_overloaded(struct report *r, enum board_scope scope)
{
	struct board_target *t = standing_target(r->c, scope);
	bool is_known = peek(&t->well) != 0;
	int64_t failures = count_failure(r, scope, t);

	if (is_probed_by(r, scope))
		return true; /* still */
	/* a time it states is worth more than a bare refusal, but not before anything else is known */
	if (failures < (r->stated_ms > 0 && is_known ? 1 : OVERLOADS_TO_REST))
		return false;
	return most_members_fail(t);
}

bool
breaker_succeed(struct report *r, enum board_scope scope)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t times = atomic_load(&t->breaker);

	if (times == 0)
		return true;
	if (atomic_fetch_add(&t->successes, 1) + 1 < r->c->upstream->breaker_successes) {
		(void)cooldown_raise(
			t, r->now_ms + r->c->upstream->breaker_probe_s * 1000, r->now_ms);
		return false;
	}
	if (atomic_compare_exchange_strong(&t->breaker, &times, 0)) {
		poke(&t->successes, 0);
		poke(&t->failures, 0);
		poke_new(&t->well, 0);
		standing_tell(
			r, scope, EVENT_BREAKER, STANDING_HALF_OPEN, STANDING_CLOSED, CAUSE_PROBE);
	}
	return true;
}

void
breaker_forget_member(const struct report *r, enum board_scope scope)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t bit = member_bit(r);

	if (t == NULL)
		return;
	if ((peek(&t->well) & bit) != 0)
		(void)atomic_fetch_and(&t->well, ~bit);
	if ((peek(&t->ill) & bit) != 0)
		(void)atomic_fetch_and(&t->ill, ~bit);
}

/* Whatever opens breakers begins anew: it was well. */
void
breaker_note_success(const struct report *r, enum board_scope scope, bool is_well)
{
	struct board_target *t = standing_target(r->c, scope);

	if (window_ms(r) > 0) {
		turn_window(r, t);
		(void)atomic_fetch_add_explicit(&t->window_calls, 1, memory_order_relaxed);
	} else {
		poke_new(&t->failures, 0);
	}
	if (!has_members(scope))
		return;
	poke_new(&t->ill, 0);
	if (is_well && (peek(&t->well) & member_bit(r)) == 0)
		(void)atomic_fetch_or(&t->well, member_bit(r));
}
