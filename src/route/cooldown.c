/*
 * cooldown.c - how long somebody rests, and how he comes back.
 *
 * rest_until_ms is written first, the state behind it: a death between leaves somebody who rests
 * under the name of what he was before, which the next report mends.
 */
#include "route/standing-int.h"

#define INVALID_MS (5 * 60 * 1000)
#define ALL_PPM    1000000
/* Rests that differ by less are one. */
#define SAME_MS 1000

static int64_t
doubled(int64_t ms, int64_t times, int64_t most_ms)
{
	while (times-- > 0 && ms < most_ms)
		ms *= 2;
	return ms < most_ms ? ms : most_ms;
}

int64_t
cooldown_ms(enum cooldown kind, int64_t rests_in_a_row, int64_t stated_ms,
	const struct route_rests *rests, int64_t rule_ms)
{
	static const int ladder[] = { 1, 3, 6, 12 };
	const int64_t steps = sizeof ladder / sizeof ladder[0];
	int64_t most = rests->most_ms, ms = 0;
	int64_t first_cap = rests->hint_cap_ms > 0 ? rests->hint_cap_ms : most;

	if (kind == COOLDOWN_RULE)
		return rule_ms;
	if (stated_ms > 0) {
		int64_t cap = doubled(first_cap, rests_in_a_row, most);

		return stated_ms < cap ? stated_ms : cap;
	}
	switch (kind) {
	case COOLDOWN_LONG:
		return doubled(first_cap, rests_in_a_row, most);
	case COOLDOWN_INVALID:
		return doubled(rests->invalid_ms > 0 ? rests->invalid_ms : INVALID_MS,
			rests_in_a_row, most);
	default:
		ms = rests->default_ms *
		     ladder[rests_in_a_row < steps ? rests_in_a_row : steps - 1];
		return ms < most ? ms : most;
	}
}

bool
cooldown_raise(struct board_target *t, int64_t until_ms, int64_t now_ms)
{
	int64_t old = atomic_load(&t->rest_until_ms);

	do {
		if (old > now_ms && until_ms <= old)
			return false;
	} while (!atomic_compare_exchange_weak(&t->rest_until_ms, &old, until_ms));
	return old <= now_ms || until_ms - old > SAME_MS;
}

static int
severity(enum target_state s)
{
	static const int of[TARGET__STATES] = { [TARGET_AVAILABLE] = 0,
		[TARGET_RECOVERING] = 0,
		[TARGET_THROTTLED] = 1,
		[TARGET_EXHAUSTED] = 2,
		[TARGET_INVALID] = 3,
		[TARGET_DISABLED] = 4 };

	return of[s];
}

void
cooldown_rest(struct report *r, enum board_scope scope, enum cooldown kind, enum target_state state,
	enum target_cause cause)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t in_a_row = peek(&t->rests), stated = peek(&t->stated_ms), rest_ms;
	bool rests = peek(&t->rest_until_ms) > r->now_ms;
	enum target_state is = state_of(t);
	bool is_later;

	r->settled |= 1u << scope;
	if (is == TARGET_DISABLED || (rests && severity(state) < severity(is)))
		return;
	if (rests && in_a_row > 0)
		in_a_row--; /* it was in flight before: the same rest */
	if (stated < r->stated_ms || stated <= r->now_ms)
		stated = r->stated_ms;
	rest_ms = cooldown_ms(
		kind, in_a_row, stated > 0 ? stated - r->now_ms : 0, r->rests, r->o->rest_ms);
	if (rest_ms <= 0)
		return;
	poke_new(&t->stated_ms, stated);
	is_later = cooldown_raise(t, r->now_ms + rest_ms, r->now_ms);
	if (is_later) {
		poke(&t->rests, in_a_row + 1);
		poke(&t->successes, 0);
		poke(&t->share_ppm, 0);
	}
	if (!standing_move(r, scope, state, cause) && is_later)
		standing_tell(r, scope, EVENT_REST, is, is, cause);
}

/* It answered as it should while it had a part of its share only. */
static void
climb(struct report *r, enum board_scope scope)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t share = peek(&t->share_ppm);
	int64_t next = share > 0 && share * 2 < ALL_PPM ? share * 2 : 0;

	if (share > 0 && !atomic_compare_exchange_strong(&t->share_ppm, &share, next))
		return; /* by somebody else just now */
	if (next == 0)
		(void)standing_move(r, scope, TARGET_AVAILABLE, CAUSE_PROBE);
}

void
cooldown_succeed(struct report *r, enum board_scope scope)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t until = atomic_load(&t->rest_until_ms), ramp = r->c->upstream->ramp_percent;
	enum target_state is = state_of(t);

	if (until == 0 && is == TARGET_AVAILABLE && peek(&t->share_ppm) == 0)
		return;
	/* What began before the rest proves nothing. */
	if (until > r->now_ms && !is_probed_by(r, scope))
		return;
	if (!breaker_succeed(r, scope))
		return;
	if (is == TARGET_DISABLED)
		return;
	if (until == 0) {
		climb(r, scope);
		return;
	}
	ramp = ramp > 0 && ramp < 100 ? ramp * (ALL_PPM / 100) : 0;
	poke(&t->rests, 0);
	poke(&t->stated_ms, 0);
	poke(&t->share_ppm, ramp);
	(void)atomic_compare_exchange_strong(&t->rest_until_ms, &until, 0);
	if (is == TARGET_AVAILABLE) /* its breaker alone was open */
		return;
	(void)standing_move(r, scope, TARGET_RECOVERING, CAUSE_PROBE);
	if (ramp == 0)
		(void)standing_move(r, scope, TARGET_AVAILABLE, CAUSE_PROBE);
}
