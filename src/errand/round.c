/*
 * round.c - what is due.  Of all processes the one does it that moves the word of its last time on the
 * board: who dies at it has only missed one.
 */
#include "errand/errand-int.h"

#include "base/hash.h"

#define FAILED_MS (10 * 60 * 1000) /* a list that could not be had is asked for again */

/* Is it that long since the last time, and is this time ours? */
static bool
claim(struct board *b, struct id what, int64_t each_ms)
{
	struct board_target *t = board_target(b, what);
	int64_t now_ms = board_now_ms(b), last_ms;

	if (t == NULL)
		return false;
	last_ms = atomic_load(&t->probed_at_ms);
	return (last_ms == 0 || now_ms - last_ms >= each_ms) &&
	       atomic_compare_exchange_strong(&t->probed_at_ms, &last_ms, now_ms);
}

static bool
list_is_due(struct errand_desk *d, const struct snapshot *p, size_t i)
{
	const struct upstream *u = &p->upstreams[i];
	uint64_t of = models_of(u);

	if (!u->discover || (p->lists[i].at_ms != 0 &&
				    board_now_ms(d->board) - p->lists[i].at_ms < MODELS_KEPT_MS))
		return false;
	if (u->auth != AUTH_NONE && errand_key(d->board, p, u) == NULL)
		return false; /* it gets one soon */
	return claim(
		d->board, board_target_part(u->head.id, "discover", &of, sizeof of), FAILED_MS);
}

static bool
check_is_due(struct errand_desk *d, const struct upstream *u)
{
	return u->health_path[0] != '\0' && u->health_interval_s > 0 &&
	       claim(d->board, board_target_part(u->head.id, "health", "", 0),
		       u->health_interval_s * 1000);
}

int
errand_round(struct errand_desk *d, const struct snapshot *p, struct err *err)
{
	const struct upstream *due[ERRANDS_MOST];
	size_t count = 0;
	int rc = 0;

	for (size_t i = 0; i < p->upstream_count && count < ERRANDS_MOST; i++)
		if (check_is_due(d, &p->upstreams[i]))
			due[count++] = &p->upstreams[i];
	if (count > 0 && health_now(d, p, due, count, err) != 0)
		rc = -1;
	/* one list a round, so that checks do not wait for many */
	for (size_t i = 0; i < p->upstream_count && !atomic_load(&d->stopped); i++) {
		struct models_head head = { 0 };

		if (!list_is_due(d, p, i))
			continue;
		if (discover_now(d, p, &p->upstreams[i], &head, err) < 0)
			rc = -1;
		break;
	}
	return rc;
}
