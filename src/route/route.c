/*
 * route.c - what an attempt's outcome means for its key.
 */
#include "route/route.h"

#include "base/clock.h"

#define REST_TRANSIENT_MS  2000
#define REST_OVERLOADED_MS 5000
#define FAILURES_TO_REST   3 /* in a row, for failures that may be chance */

bool
route_goes_on(enum failure failure)
{
	return failure != FAILURE_NONE && failure != FAILURE_REQUEST;
}

bool
route_begin(struct board *board, struct route_candidate *c, bool is_first)
{
	(void)is_first;
	return c->target_key == NULL || atomic_load_explicit(&c->target_key->rest_until_ms,
						memory_order_relaxed) <= board_now_ms(board);
}

void
route_release(struct board *board, const struct route_candidate *c)
{
	(void)board;
	(void)c;
}

void
route_report(struct board *board, const struct route_candidate *c, const struct route_outcome *o,
	const struct route_rests *rests)
{
	struct board_target *k = c->target_key;
	int64_t now_ms = board_now_ms(board), rest_ms = 0, stated_ms, failures;

	if (k == NULL)
		return;
	if (o->failure == FAILURE_NONE || o->failure == FAILURE_REQUEST) {
		atomic_store_explicit(&k->failures, 0, memory_order_relaxed);
		atomic_store_explicit(&k->rest_until_ms, 0, memory_order_relaxed);
		/* shared line: written once a second is enough for people to read */
		if (now_ms - atomic_load_explicit(&k->ok_at_ms, memory_order_relaxed) > 1000)
			atomic_store_explicit(&k->ok_at_ms, now_ms, memory_order_relaxed);
		return;
	}
	if (o->failure == FAILURE_MODEL) /* says nothing about the key's other models */
		return;
	failures = atomic_fetch_add_explicit(&k->failures, 1, memory_order_relaxed) + 1;
	atomic_store_explicit(&k->standing, (int64_t)o->status << 16, memory_order_relaxed);
	atomic_store_explicit(&k->failed_at_ms, now_ms, memory_order_relaxed);
	stated_ms = o->until_ms == 0 ? 0 : o->until_ms - clock_wall_ms();
	switch (o->failure) {
	case FAILURE_KEY_INVALID:
	case FAILURE_NO_CREDIT:
		rest_ms = stated_ms > 0 ? stated_ms : rests->most_ms;
		break;
	case FAILURE_RATE_LIMITED:
		rest_ms = stated_ms > 0 ? stated_ms : rests->default_ms;
		break;
	case FAILURE_OVERLOADED:
		rest_ms = stated_ms > 0                  ? stated_ms
			  : failures >= FAILURES_TO_REST ? REST_OVERLOADED_MS
							 : 0;
		break;
	case FAILURE_TRANSIENT:
		rest_ms = failures >= FAILURES_TO_REST ? REST_TRANSIENT_MS : 0;
		break;
	case FAILURE_MODEL:
	case FAILURE_NONE:
	case FAILURE_REQUEST:
		break;
	}
	if (rest_ms > rests->most_ms)
		rest_ms = rests->most_ms;
	if (rest_ms > 0)
		atomic_store_explicit(&k->rest_until_ms, now_ms + rest_ms, memory_order_relaxed);
}
