/*
 * strategy.c - who goes first, and who next.
 *
 * Most strategies name a class of candidates that are equally good for them; within it the shares
 * decide (share.c), so that what is alike is used alike.  What looks like chance comes from a
 * count of turns that all processes share: a quote sees what the next decision will.
 */
#include "route/route-int.h"

#include <string.h>

#define NEAR_SCORE   0.02 /* scores that close to the best are alike */
#define NEAR_LATENCY 1.1
#define EXPLORE_EVERY                                                                              \
	32              /* turns, of which one goes to each in turn, so that latencies stay known */
#define TOLERANCE     3 /* of balanced (B5) */
#define BALANCED_MOST 100 /* uses that a key may be behind: a new one is not flooded */

bool
strategy_in_order(enum route_strategy s)
{
	return s == STRATEGY_FIRST || s == STRATEGY_SAME || s == STRATEGY_SEQUENTIAL;
}

static const struct seat *
seat_of(const struct look *l, uint32_t live)
{
	return &l->pool->seats[l->live[live].seat];
}

static void
member_of(struct look *l, const struct live *who, struct share_member *m)
{
	const struct seat *s = &l->pool->seats[who->seat];

	m->word = s->word;
	m->weight = (double)who->weight;
	m->step = who->is_thin ? share_step(m->weight) : s->step;
}

/* Of those in class 0 the shares say who; the others keep their rank. */
static void
by_shares(struct look *l, const uint32_t *some, int count, bool takes)
{
	int near = 0, first;

	for (int i = 0; i < count; i++) {
		const struct live *who = &l->live[some[i]];

		if (who->class != 0)
			continue;
		l->among[near] = some[i];
		member_of(l, who, &l->member[near++]);
	}
	if (near == 0)
		return;
	first = takes ? share_pick(l->member, near) : share_look(l->member, near);
	for (int i = 0; i < near; i++)
		l->live[l->among[i]].rank = i == first ? -1e300 : (double)l->member[i].due;
}

/* ---- by groups and targets ---- */

static int
level_at(const struct level *v, const struct unit *u)
{
	return v->place[v->groups ? u->group : u->branch] - 1;
}

/* It has as much of its weight as the best of its keys has. */
static void
level_add(struct level *v, const struct unit *u, double weight)
{
	int at = level_at(v, u);

	if (at < 0) {
		at = v->count++;
		v->place[v->groups ? u->group : u->branch] = (uint16_t)v->count;
		v->member[at].word = v->groups ? u->group_word : u->word;
	} else if (v->member[at].weight >= weight) {
		return;
	}
	v->member[at].weight = weight;
	v->member[at].step = share_step(weight);
}

/* From the first that is due, at 0, to the last, below 1; whose turn it is stands before all. */
static void
rank_by_due(const struct share_member *m, int count, int first, double *rank)
{
	int64_t least = INT64_MAX, most = INT64_MIN;

	for (int i = 0; i < count; i++) {
		least = m[i].due < least ? m[i].due : least;
		most = m[i].due > most ? m[i].due : most;
	}
	for (int i = 0; i < count; i++)
		rank[i] =
			i == first ? -1 : (double)(m[i].due - least) / ((double)(most - least) + 1);
}

static void
level_fill(struct look *l, const uint32_t *some, int count, struct level *v, bool groups,
	bool weighted)
{
	memset(v->place, 0, sizeof v->place);
	v->groups = groups;
	v->count = 0;
	for (int i = 0; i < count; i++) {
		const struct live *who = &l->live[some[i]];
		const struct unit *u = unit_of(l, who);
		double part =
			who->is_thin ? (double)(who->weight / seat_of(l, some[i])->weight) : 1;

		level_add(v, u, (weighted ? u->weight : 1) * part);
	}
}

/* Ranks by a level, which outweigh those of the levels below; the candidates of whose turn it is are
 * put in front: how many they are. */
static int
level_rank(struct look *l, uint32_t *some, int count, struct level *v, double weight, bool takes)
{
	int n = 0;

	v->first = takes ? share_pick(v->member, v->count) : share_look(v->member, v->count);
	rank_by_due(v->member, v->count, v->first, v->rank);
	for (int i = 0; i < count; i++) {
		int at = level_at(v, unit_of(l, &l->live[some[i]]));

		l->live[some[i]].rank += v->rank[at] * weight;
		if (at == v->first) {
			uint32_t moved = some[n];

			some[n++] = some[i];
			some[i] = moved;
		}
	}
	return n;
}

/* The keys of whoever is first, by shares. */
static void
keys_in_turn(struct look *l, uint32_t *some, int count, bool weighted, bool takes)
{
	int first;

	for (int i = 0; i < count; i++) {
		const struct seat *s = seat_of(l, some[i]);
		double weight = (double)(l->live[some[i]].weight / s->weight); /* ramps alone */

		if (weighted && s->key != NULL)
			weight *= (double)s->key->record->weight;
		l->member[i].word = s->word;
		l->member[i].weight = weight;
		l->member[i].step = share_step(weight);
	}
	first = takes ? share_pick(l->member, count) : share_look(l->member, count);
	for (int i = 0; i < count; i++) /* a turn is never longer than this */
		l->live[some[i]].rank +=
			i == first ? -1
				   : (double)(l->member[i].due - l->member[first].due) * 0x1p-60;
}

#define OUTWEIGHS 1e6

static void
round_robin(struct look *l, uint32_t *some, int count, bool takes)
{
	struct level *v = &l->level;
	int n;

	level_fill(l, some, count, v, true, false);
	n = level_rank(l, some, count, v, OUTWEIGHS * OUTWEIGHS, takes);
	level_fill(l, some, n, v, false, false);
	n = level_rank(l, some, n, v, OUTWEIGHS, takes);
	keys_in_turn(l, some, n, false, takes);
}

static void
split(struct look *l, uint32_t *some, int count, bool takes)
{
	struct level *v = &l->level;
	int n;

	level_fill(l, some, count, v, false, true);
	n = level_rank(l, some, count, v, OUTWEIGHS, takes);
	keys_in_turn(l, some, n, true, takes);
}

/* ---- in order ---- */

static void
in_order(struct look *l, const uint32_t *some, int count, uint32_t from)
{
	for (int i = 0; i < count; i++) {
		uint32_t seat = l->live[some[i]].seat;

		l->live[some[i]].rank =
			seat >= from ? seat - from : (double)seat + (double)SEATS_MAX;
	}
}

/* The seat that went last, of those that the pool has; -1: it is not among them. */
static ptrdiff_t
last_seat(const struct look *l)
{
	int64_t tag = l->pool->last == NULL ? 0 : now_at(&l->pool->last->at);

	for (size_t i = 0; tag != 0 && i < l->pool->seat_count; i++)
		if (l->pool->seats[i].tag == tag)
			return (ptrdiff_t)i;
	return -1;
}

static void
same_again(struct look *l, uint32_t *some, int count, bool takes)
{
	ptrdiff_t last = last_seat(l);

	for (int i = 0; i < count; i++) {
		if ((ptrdiff_t)l->live[some[i]].seat != last)
			continue;
		by_shares(l, some, count, false);
		for (int k = 0; k < count; k++)
			l->live[some[k]].class = k != i;
		return;
	}
	by_shares(l, some, count, takes);
}

/* ---- by chance and figures ---- */

static double
use_of(const struct look *l, const struct seat *s)
{
	return s->word == NULL ? 0
			       : (double)board_share_use(
					 now_at(&s->word->use), (uint32_t)(l->now_ms / 1000)) /
					 BOARD_SHARE_ONE;
}

/* A number from 0 to 1, not 1, that the turn decides. */
static double
chance(const struct look *l, uint64_t salt)
{
	return (double)(mixed((uint64_t)l->turn * 0x9E3779B97F4A7C15 + salt) >> 11) * 0x1p-53;
}

static void
at_random(struct look *l, const uint32_t *some, int count)
{
	for (int i = 0; i < count; i++)
		l->live[some[i]].rank = chance(l, ~(uint64_t)seat_of(l, some[i])->tag);
}

/* Random, by how much less than the busiest each was used. */
static void
balanced(struct look *l, const uint32_t *some, int count)
{
	double most = 0, sum = 0, at;
	int last = count - 1;

	for (int i = 0; i < count; i++) {
		double use = use_of(l, seat_of(l, some[i]));

		l->live[some[i]].rank = use;
		most = use > most ? use : most;
		last = l->live[some[i]].class == 0 ? i : last;
	}
	for (int pass = 0; pass < 2; pass++) {
		at = pass == 0 ? 0 : chance(l, 1) * sum;
		for (int i = 0; i < count; i++) {
			struct live *who = &l->live[some[i]];
			double behind = most - who->rank;
			double weight =
				(behind > BALANCED_MOST ? BALANCED_MOST : behind) + TOLERANCE + 1;

			if (who->class != 0)
				continue;
			if (pass == 0) {
				sum += weight;
				continue;
			}
			at -= weight;
			if (at < 0 || i == last) {
				who->rank = -1;
				return;
			}
		}
	}
}

/* Those that are no longer alike with the best get class 1. */
static void
near_least(struct look *l, const uint32_t *some, int count, double most)
{
	for (int i = 0; i < count; i++)
		if (l->live[some[i]].rank > most)
			l->live[some[i]].class = 1;
}

static double
least_rank(const struct look *l, const uint32_t *some, int count)
{
	double least = 1e300;

	for (int i = 0; i < count; i++)
		if (l->live[some[i]].class == 0 && l->live[some[i]].rank < least)
			least = l->live[some[i]].rank;
	return least;
}

static void
least_inflight(struct look *l, uint32_t *some, int count, bool takes)
{
	for (int i = 0; i < count; i++)
		l->live[some[i]].rank = (double)now_at(&seat_of(l, some[i])->target->inflight);
	near_least(l, some, count, least_rank(l, some, count));
	by_shares(l, some, count, takes);
}

static void
lowest_latency(struct look *l, uint32_t *some, int count, bool takes)
{
	for (int i = 0; i < count; i++)
		l->live[some[i]].rank = (double)now_at(&seat_of(l, some[i])->target->ttft_us);
	if (l->turn % EXPLORE_EVERY == EXPLORE_EVERY - 1)
		for (int i = 0; i < count; i++)
			l->live[some[i]].class = i != l->turn / EXPLORE_EVERY % count;
	else
		near_least(l, some, count, least_rank(l, some, count) * NEAR_LATENCY);
	by_shares(l, some, count, takes);
}

static void
best_score(struct look *l, uint32_t *some, int count, bool takes)
{
	if (l->wants_figures)
		near_least(l, some, count, score_all(l, some, count) + NEAR_SCORE);
	by_shares(l, some, count, takes);
}

bool
strategy_has_sitting_out(enum route_strategy s)
{
	return s != STRATEGY_WEIGHTED && s != STRATEGY_PRIORITY && s != STRATEGY_ROUND_ROBIN &&
	       s != STRATEGY_SPLIT;
}

/* The one that is to be spent is not left for good because of a turn. */
bool
strategy_sits_out(const struct look *l, const struct live *who, const struct seat *s)
{
	if (l->pool->strategy == STRATEGY_SEQUENTIAL && l->pool->last != NULL &&
		now_at(&l->pool->last->at) == s->tag)
		return false;
	return chance(l, (uint64_t)s->tag) * (double)s->weight >= (double)who->weight;
}

/* Where all sit out, none does. */
static void
sit_down(struct look *l, const uint32_t *some, int count)
{
	for (int i = 0; i < count; i++)
		if (l->live[some[i]].class == 0)
			return;
	for (int i = 0; i < count; i++)
		l->live[some[i]].class = 0;
}

void
strategy_rank(struct look *l, uint32_t *some, int count, bool takes)
{
	enum route_strategy strategy = l->pool->strategy;

	sit_down(l, some, count);
	switch (strategy) {
	case STRATEGY_ROUND_ROBIN:
		round_robin(l, some, count, takes);
		return;
	case STRATEGY_SPLIT:
		split(l, some, count, takes);
		return;
	case STRATEGY_FIRST:
		in_order(l, some, count, 0);
		return;
	case STRATEGY_SEQUENTIAL: {
		ptrdiff_t last = last_seat(l);

		in_order(l, some, count, last < 0 ? 0 : (uint32_t)last);
		return;
	}
	case STRATEGY_SAME:
		same_again(l, some, count, takes);
		return;
	case STRATEGY_RANDOM:
		at_random(l, some, count);
		return;
	case STRATEGY_BALANCED:
		balanced(l, some, count);
		return;
	case STRATEGY_LEAST_INFLIGHT:
		least_inflight(l, some, count, takes);
		return;
	case STRATEGY_LATENCY:
		lowest_latency(l, some, count, takes);
		return;
	case STRATEGY_OBJECTIVE:
		best_score(l, some, count, takes);
		return;
	case STRATEGY_WEIGHTED:
	case STRATEGY_PRIORITY:
	case STRATEGY__COUNT:
		break;
	}
	by_shares(l, some, count, takes);
}

void
strategy_chosen(struct look *l, const struct live *who)
{
	const struct seat *s = &l->pool->seats[who->seat];
	enum route_strategy strategy = l->pool->strategy;

	if (s->word != NULL)
		board_share_used(s->word, l->now_ms);
	if (l->pool->turn != NULL && strategy != STRATEGY_WEIGHTED &&
		strategy != STRATEGY_PRIORITY && strategy != STRATEGY_ROUND_ROBIN &&
		strategy != STRATEGY_SPLIT)
		(void)atomic_fetch_add_explicit(&l->pool->turn->at, 1, memory_order_relaxed);
	if (l->pool->last != NULL &&
		(strategy == STRATEGY_SAME || strategy == STRATEGY_SEQUENTIAL) &&
		now_at(&l->pool->last->at) != s->tag)
		atomic_store_explicit(&l->pool->last->at, s->tag, memory_order_relaxed);
}
