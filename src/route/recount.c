/*
 * recount.c - attempts in flight, counted from what really runs.
 *
 * Attempts begin and end while it counts, so a difference alone proves nothing.  What death left
 * behind stays: the smallest difference seen in RECOUNTS counts in a row is taken off.
 */
#include "base/hash.h"
#include "route/standing-int.h"

#include <stdlib.h>
#include <string.h>

#define RECOUNTS 4
#define SLOTS    8192 /* keys and upstreams that attempts run at */

struct standing_recount {
	int round; /* of RECOUNTS */
	int used;
	struct counted {
		struct id id;
		int64_t runs;
	} slot[SLOTS];
	struct drift {
		struct board_target *t;
		int64_t least, most; /* of the differences */
	} drift[BOARD_TARGETS];
	int drifts;
};

struct standing_recount *
standing_recount_new(void)
{
	return calloc(1, sizeof(struct standing_recount));
}

void
standing_recount_free(struct standing_recount *r)
{
	free(r);
}

void
standing_recount_begin(struct standing_recount *r)
{
	memset(r->slot, 0, sizeof r->slot);
	r->used = 0;
}

static struct counted *
counted_of(struct standing_recount *r, struct id id)
{
	uint64_t at = hash_64(&id, sizeof id, 0);

	for (int i = 0; i < SLOTS; i++) {
		struct counted *c = &r->slot[(at + (uint64_t)i) % SLOTS];

		if (id_is_none(c->id) || id_equal(c->id, id))
			return c;
	}
	return NULL;
}

void
standing_recount_add(struct standing_recount *r, struct id id)
{
	struct counted *c = id_is_none(id) || r->used == SLOTS - 1 ? NULL : counted_of(r, id);

	if (c == NULL)
		return;
	r->used += id_is_none(c->id);
	c->id = id;
	c->runs++;
}

static struct drift *
drift_of(struct standing_recount *r, struct board_target *t)
{
	for (int i = 0; i < r->drifts; i++)
		if (r->drift[i].t == t)
			return &r->drift[i];
	return NULL;
}

/* The part of both differences that has the same sign. */
static int64_t
common(int64_t least, int64_t most)
{
	return least > 0 ? least : most < 0 ? most : 0;
}

int
standing_recount_end(struct board *b, struct standing_recount *r)
{
	struct board_target *t;
	int at = 0, mended = 0;

	if (r->used == SLOTS - 1)
		return 0; /* more than we count */
	while ((t = board_target_next(b, &at)) != NULL) {
		struct id id = board_target_id(t);
		const struct counted *c = counted_of(r, id);
		int64_t off = peek(&t->inflight) - (c == NULL ? 0 : c->runs);
		struct drift *d = off == 0 && r->drifts == 0 ? NULL : drift_of(r, t);

		if (r->round == 0 && off != 0)
			r->drift[r->drifts++] = (struct drift){ t, off, off };
		if (d == NULL || r->round == 0)
			continue;
		d->least = off < d->least ? off : d->least;
		d->most = off > d->most ? off : d->most;
	}
	if (++r->round < RECOUNTS)
		return 0;
	for (int i = 0; i < r->drifts; i++) {
		int64_t off = common(r->drift[i].least, r->drift[i].most);

		if (off == 0)
			continue;
		(void)atomic_fetch_sub(&r->drift[i].t->inflight, off);
		mended++;
	}
	r->round = r->drifts = 0;
	return mended;
}
