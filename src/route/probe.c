/*
 * probe.c - who may be asked, and who finds out whether somebody who rested is well again.
 *
 * The claim is one word with the claimer's process in it.  It is looked at a second time after it
 * was taken: who had it before ends by setting the rest first and giving the claim back then, so
 * what the rest says then is true.
 */
#include "route/share.h"
#include "route/standing-int.h"

#include "route/forecast.h"

enum standing_may
standing_may_through(const struct board *b, const struct upstream *u, const struct board_target *t,
	int64_t now_ms)
{
	if (u->breaker_forced == BREAKER_FORCED_OPEN)
		return STANDING_RESTS;
	if (u->breaker_forced == BREAKER_FORCED_CLOSED && t != NULL && peek(&t->breaker) != 0 &&
		state_of(t) == TARGET_AVAILABLE)
		return STANDING_MAY;
	return standing_may(b, t, now_ms);
}

static void
leave(const struct board *b, struct board_target *t)
{
	int64_t self = board_owner_word(b);

	(void)atomic_compare_exchange_strong(&t->prober, &self, 0);
}

bool
probe_claim(const struct board *b, struct board_target *t)
{
	int64_t prober = atomic_load(&t->prober), until;
	int64_t now_ms = board_now_ms(b);

	if (prober != 0 && !board_owner_is_dead(b, prober))
		return false;
	if (!atomic_compare_exchange_strong(&t->prober, &prober, board_owner_word(b)))
		return false;
	until = atomic_load(&t->rest_until_ms);
	if (until == 0 || until > now_ms) {
		leave(b, t);
		return false;
	}
	poke(&t->probed_at_ms, now_ms);
	return true;
}

void
probe_leave(struct board *b, const struct route_candidate *c)
{
	for (enum board_scope s = 0; s < SCOPE__COUNT; s++)
		if ((c->probes & 1u << s) != 0)
			leave(b, standing_target(c, s));
}

/* Nobody else probes it, and it does not rest: true, with its claim where one is needed. */
static bool
may_begin(struct board *b, struct route_candidate *c, enum board_scope scope)
{
	struct board_target *t = standing_target(c, scope);
	int64_t now_ms = board_now_ms(b);
	enum standing_may may = standing_may_through(b, c->upstream, t, now_ms);

	/* at once, though this process's snapshot may still have it */
	if (scope == SCOPE_KEY && t != NULL && state_of(t) == TARGET_DISABLED)
		return false;
	if (may == STANDING_MAY)
		return true;
	if (may != STANDING_DUE)
		return false;
	if (probe_claim(b, t)) {
		struct report r = { .board = b, .c = c, .o = &(struct route_outcome){ 0 } };

		c->probes |= (uint8_t)(1u << scope);
		if (peek(&t->breaker) != 0 && peek(&t->successes) == 0)
			standing_tell(&r, scope, EVENT_BREAKER, STANDING_OPEN, STANDING_HALF_OPEN,
				CAUSE_TIME);
		return true;
	}
	return atomic_load(&t->rest_until_ms) == 0; /* it was found to be well just now */
}

static bool
take_place(struct board_target *t, int64_t most)
{
	if (t == NULL)
		return true;
	if (atomic_fetch_add(&t->inflight, 1) < most || most <= 0)
		return true;
	(void)atomic_fetch_sub(&t->inflight, 1);
	return false;
}

static bool
take_places(const struct route_candidate *c)
{
	if (!take_place(c->target_upstream, c->upstream->max_parallel))
		return false;
	if (take_place(c->target_key, c->key == NULL ? 0 : c->key->max_parallel))
		return true;
	if (c->target_upstream != NULL)
		(void)atomic_fetch_sub(&c->target_upstream->inflight, 1);
	return false;
}

static void
count_pick(struct board_target *t)
{
	if (t != NULL)
		(void)atomic_fetch_add_explicit(&t->picks, 1, memory_order_relaxed);
}

static void
give_places(const struct route_candidate *c)
{
	if (c->target_upstream != NULL)
		(void)atomic_fetch_sub(&c->target_upstream->inflight, 1);
	if (c->target_key != NULL)
		(void)atomic_fetch_sub(&c->target_key->inflight, 1);
}

int64_t
route_rests_ms(const struct board *board, const struct route_candidate *c)
{
	int64_t now_ms = board_now_ms(board), until_ms = now_ms;

	for (enum board_scope s = 0; s < SCOPE__COUNT; s++) {
		const struct board_target *t = standing_target(c, s);

		if (t != NULL && peek(&t->rest_until_ms) > until_ms)
			until_ms = peek(&t->rest_until_ms);
	}
	return until_ms - now_ms;
}

bool
route_begin(struct board *board, struct route_candidate *c, bool is_first)
{
	bool may = true;

	c->probes = 0;
	for (enum board_scope s = 0; s < SCOPE__COUNT && may; s++)
		may = may_begin(board, c, s);
	if (may)
		may = take_places(c);
	if (may && !forecast_begin(board, c)) {
		give_places(c);
		may = false;
	}
	if (!may) {
		probe_leave(board, c);
		c->probes = 0;
		return false;
	}
	c->is_probe = c->probes != 0;
	count_pick(c->target_key);
	count_pick(c->target_upstream);
	if (!is_first)
		share_turn(board, c);
	return true;
}
