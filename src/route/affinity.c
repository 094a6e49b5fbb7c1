/*
 * affinity.c - the same session, or the same beginning of a prompt, goes where it went the last time,
 * for what a provider keeps of it is there.
 */
#include "base/hash.h"
#include "board/affinity.h"
#include "route/route-int.h"

#include <string.h>

static bool
name_it(const struct look *l, const struct route_ask *ask, uint64_t key[2])
{
	const struct route *r = l->pool->route == NULL ? NULL : l->pool->route->record;
	struct {
		struct id project, pool;
		uint64_t kind, what[2];
	} name;

	if (r == NULL || r->affinity == AFFINITY_NONE)
		return false;
	if (r->affinity == AFFINITY_SESSION ? ask->session.len == 0 : ask->prompt_hash == 0)
		return false;
	memset(&name, 0, sizeof name);
	name.project = ask->project;
	name.pool = l->pool->id;
	name.kind = (uint64_t)r->affinity;
	if (r->affinity == AFFINITY_SESSION)
		board_counter_key(l->board, ask->session.at, ask->session.len, name.what);
	else
		name.what[0] = ask->prompt_hash;
	board_counter_key(l->board, &name, sizeof name, key);
	return true;
}

/* It would be cheap to begin anew, and those it should have gone to are there again. */
static bool
moves(const struct look *l, const struct route_ask *ask, const struct live *kept)
{
	int64_t below = l->pool->route->record->migrate_below_tokens;

	if (below <= 0 || ask->input_tokens >= below)
		return false;
	for (int i = 0; i < l->count; i++)
		if (l->live[i].standing == STANDS_LIVE && l->live[i].tier < kept->tier)
			return true;
	return false;
}

int
affinity_find(struct look *l, const struct route_ask *ask, uint64_t key[2], uint8_t *how)
{
	const struct route *r;
	int64_t member;

	*how = AFFINITY_IS_NONE;
	if (!name_it(l, ask, key))
		return -1;
	r = l->pool->route->record;
	member = board_affinity(l->board, key, r->affinity_s * 1000, r->affinity_most_s * 1000);
	*how = member == 0 ? AFFINITY_IS_NEW : AFFINITY_IS_LOST;
	for (int i = 0; member != 0 && i < l->count; i++) {
		const struct live *who = &l->live[i];
		const struct seat *s = &l->pool->seats[who->seat];

		if (s->tag != member)
			continue;
		if (who->standing != STANDS_LIVE)
			return -1;
		*how = moves(l, ask, who) ? AFFINITY_IS_MOVED : AFFINITY_IS_KEPT;
		return *how == AFFINITY_IS_KEPT ? i : -1;
	}
	return -1;
}

void
affinity_keep(struct look *l, const uint64_t key[2], uint32_t seat, uint8_t how)
{
	const struct seat *s = &l->pool->seats[seat];

	if (how != AFFINITY_IS_NONE && s->tag != 0)
		board_affinity_keep(l->board, key, s->tag, how != AFFINITY_IS_KEPT);
}
