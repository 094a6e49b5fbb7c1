/*
 * standing_fixture.h - an upstream of a few keys on a board whose clock the test turns.
 */
#ifndef TESTS_STANDING_FIXTURE_H
#define TESTS_STANDING_FIXTURE_H

#include "../admit/house.h"

#include "route/standing.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static const struct route_rests rests = {
	.default_ms = 10 * SECOND, .most_ms = HOUR, .hint_cap_ms = 15 * MINUTE, .invalid_ms = 5 * MINUTE
};

static int64_t ahead_ms; /* of the real clock */

static inline int64_t
test_boot_ms(void)
{
	return clock_boot_ms() + ahead_ms;
}

#define KEYS 50
struct pool {
	struct upstream u;
	struct snapshot_key key[KEYS];
};

/* The board of the house, with a clock that can be turned. */
static inline void
turnable(struct house *h)
{
	static const struct board_options o = {
		.rows = 1024, .segments_max = 2, .leases = 256, .boot_ms = test_boot_ms
	};

	ahead_ms = 0;
	board_close(h->board);
	h->board = board_open_sized(h->dir, h->roster, &o, &err);
	assert_non_null(h->board);
}

static inline void
pool_make(struct pool *p, const char *group)
{
	record_init(RECORD_UPSTREAM, &p->u);
	p->u.head.id = id_random();
	(void)snprintf(p->u.name, sizeof p->u.name, "one");
	(void)snprintf(p->u.group, sizeof p->u.group, "%s", group);
	for (int i = 0; i < KEYS; i++)
		p->key[i] = (struct snapshot_key){
			.id = id_random(), .upstream = p->u.head.id, .weight = 1
		};
}

/* n < 0: without a key. */
static inline struct route_candidate
candidate(struct house *h, struct pool *p, int n, const char *model)
{
	struct route_candidate c = { .upstream = &p->u,
		.key = n < 0 ? NULL : &p->key[n],
		.model = span_of(model),
		.target_upstream = board_target(h->board, p->u.head.id) };

	if (n >= 0)
		c.target_key = board_target(h->board, p->key[n].id);
	if (model[0] != '\0' && n >= 0)
		c.target_key_model = board_target(h->board,
			board_target_part(p->key[n].id, "model", model, strlen(model)));
	if (model[0] != '\0')
		c.target_upstream_model = board_target(h->board,
			board_target_part(p->u.head.id, "model", model, strlen(model)));
	if (p->u.group[0] != '\0')
		c.target_group = board_target(h->board,
			board_target_part(ID_NONE, "group", p->u.group, strlen(p->u.group)));
	return c;
}

/* One attempt: false when nobody may be asked. */
static inline bool
attempt(struct house *h, struct pool *p, int n, const struct route_outcome *o)
{
	struct route_candidate c = candidate(h, p, n, "m");

	if (!route_begin(h->board, &c, true))
		return false;
	route_report(h->board, &c, o, &rests);
	return true;
}

static inline bool
fails(struct house *h, struct pool *p, int n, enum failure f, int status)
{
	return attempt(h, p, n,
		&(struct route_outcome){ .failure = f, .status = status, .counts = true });
}

static inline bool
works(struct house *h, struct pool *p, int n)
{
	return fails(h, p, n, FAILURE_NONE, 200);
}

static inline int64_t
rest_of(struct house *h, const struct board_target *t)
{
	int64_t until = t->rest_until_ms;

	return until == 0 ? 0 : until - board_now_ms(h->board);
}

static inline enum target_state
stands(const struct board_target *t)
{
	return (enum target_state)(t->standing & 0xff);
}

/* To the end of the rest. */
static inline void
wait_out(struct house *h, const struct board_target *t)
{
	int64_t ms = rest_of(h, t);

	ahead_ms += ms > 0 ? ms : 0;
}

#endif
