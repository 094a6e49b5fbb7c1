/*
 * score.c - how good each candidate is for an objective, 0 to 1; an objective route takes the best
 * by the sum of its shares (systems.md B2.4, with what B4 lists mended).
 *
 *   cost         1 - (c - min) / (max - min); a spread below a twentieth of the dearest counts as that much
 *   reliability  0.7 success + 0.2 state + 0.1 quota, less when more than a tenth failed; of late calls
 *   fairness     1 - (use - min) / (max - min), by uses of the last minutes
 *   quality      the tag quality=0..100 of key or upstream; else reliability
 *   latency      as cost, of the time to the first content; who has none yet is worth a try
 *
 * Nothing is clamped, so that the order of the best is kept.
 */
#include "route/route-int.h"
#include "store/usage.h"

#include <string.h>

#define SUCCESS_UNKNOWN 0.95
#define SPREAD_LEAST    0.05 /* of the greatest: less is no difference worth all of an objective */
#define USES_LEAST      4    /* so many uses more or less neither */

struct objectives
objectives_read(const char *lines)
{
	static const char *const name[OBJECTIVES] = { [OBJECTIVE_COST] = "cost",
		[OBJECTIVE_RELIABILITY] = "reliability",
		[OBJECTIVE_FAIRNESS] = "fairness",
		[OBJECTIVE_QUALITY] = "quality",
		[OBJECTIVE_LATENCY] = "latency" };
	struct objectives o = { { 0 } };
	double sum = 0;

	for (const char *at = lines; *at != '\0';) {
		size_t len = strcspn(at, ",\n"), word = strcspn(at, "=,\n ");

		for (int i = 0; i < OBJECTIVES; i++) {
			double share = 0, part = 1;
			size_t n = word;

			if (!span_is((struct span){ at, word }, name[i]))
				continue;
			if (word == len || at[word] != '=')
				share = 1;
			for (n = word + 1; n < len && n < word + 10; n++)
				if (at[n] == '.')
					part = 0.1;
				else if (at[n] < '0' || at[n] > '9')
					break;
				else if (part == 1)
					share = share * 10 + (at[n] - '0');
				else {
					share += (at[n] - '0') * part;
					part /= 10;
				}
			sum += share - o.share[i];
			o.share[i] = share;
		}
		at += len + (at[len] != '\0');
		while (*at == ' ')
			at++;
	}
	for (int i = 0; i < OBJECTIVES && sum > 0; i++)
		o.share[i] /= sum;
	return o;
}

struct range {
	double least, most, width; /* width: what counts as the whole of it */
};

static void
widen(struct range *r, double v)
{
	if (v < r->least)
		r->least = v;
	if (v > r->most)
		r->most = v;
}

static void
finish(struct range *r, double width_least)
{
	r->width = r->most - r->least;
	if (r->width < r->most * SPREAD_LEAST)
		r->width = r->most * SPREAD_LEAST;
	if (r->width < width_least)
		r->width = width_least;
}

static double
low_is_good(const struct range *r, double v)
{
	return r->width > 0 ? 1 - (v - r->least) / r->width : 1;
}

static double
reliability(const struct board_target *t)
{
	int64_t ppm = now_at(&t->success_ppm), ramp = now_at(&t->share_ppm);
	int64_t lasts = now_at(&t->forecast_share_ppm);
	double success = ppm > 0 ? (double)(ppm - 1) * 1e-6 : SUCCESS_UNKNOWN;
	double state = ramp > 0 && ramp < 1000000 ? 0.5 : 1;
	double quota = lasts > 0 && lasts < 1000000 ? (double)lasts * 1e-6 : 1;
	double score = 0.7 * success + 0.2 * state + 0.1 * quota;

	return success < 0.9 ? score * (1 - 0.5 * (1 - success)) : score;
}

static double
used(const struct look *l, const struct seat *s)
{
	return s->word == NULL ? 0
			       : (double)board_share_use(now_at(&s->word->use), l->now_ms) /
					 BOARD_SHARE_ONE;
}

/* Costs are of units: the same number for all seats of one. */
static void
cost_range(const struct look *l, const uint32_t *some, int count, struct range *r)
{
	int last = -1;

	for (int i = 0; i < count; i++) {
		int unit = l->pool->seats[l->live[some[i]].seat].unit;

		if (unit == last)
			continue;
		last = unit;
		if (l->unit[unit].usual != COST_UNKNOWN)
			widen(r, (double)l->unit[unit].usual);
	}
	finish(r, 0);
}

static uint8_t
as_byte(double v)
{
	return (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5);
}

struct ranges {
	struct range cost, use, latency;
};

static double
score_of(const struct look *l, struct live *who, const struct ranges *of)
{
	static const double none[OBJECTIVES];
	const struct seat *s = &l->pool->seats[who->seat];
	const struct unit_now *u = &l->unit[s->unit];
	const double *share = l->pool->objectives.share;
	double v[OBJECTIVES], sum = 0;

	memcpy(v, none, sizeof v);
	if (share[OBJECTIVE_RELIABILITY] > 0 || share[OBJECTIVE_QUALITY] > 0)
		v[OBJECTIVE_RELIABILITY] = v[OBJECTIVE_QUALITY] = reliability(s->target);
	if (share[OBJECTIVE_COST] > 0) /* a price nobody knows may be any */
		v[OBJECTIVE_COST] =
			u->usual == COST_UNKNOWN ? 0 : low_is_good(&of->cost, (double)u->usual);
	if (share[OBJECTIVE_FAIRNESS] > 0)
		v[OBJECTIVE_FAIRNESS] = low_is_good(&of->use, used(l, s));
	if (share[OBJECTIVE_QUALITY] > 0) {
		int tag = s->key != NULL && s->key->quality >= 0
				  ? s->key->quality
				  : l->pool->units[s->unit].upstream->quality;

		if (tag >= 0)
			v[OBJECTIVE_QUALITY] = tag / 100.0;
	}
	if (share[OBJECTIVE_LATENCY] > 0) {
		int64_t us = now_at(&s->target->ttft_us);

		v[OBJECTIVE_LATENCY] = us <= 0 ? 1 : low_is_good(&of->latency, (double)us);
	}
	for (int i = 0; i < OBJECTIVES; i++) {
		sum += share[i] * v[i];
		who->scores[i] = as_byte(v[i]);
	}
	who->score = as_byte(sum);
	return sum;
}

void
score_all(struct look *l, const uint32_t *some, int count)
{
	const double *share = l->pool->objectives.share;
	struct ranges of;

	of.cost = of.use = of.latency = (struct range){ .least = 1e30 };
	if (share[OBJECTIVE_COST] > 0)
		cost_range(l, some, count, &of.cost);
	for (int i = 0; i < count; i++) {
		const struct seat *s = &l->pool->seats[l->live[some[i]].seat];
		int64_t us = now_at(&s->target->ttft_us);

		if (share[OBJECTIVE_FAIRNESS] > 0)
			widen(&of.use, used(l, s));
		if (us > 0)
			widen(&of.latency, (double)us);
	}
	finish(&of.use, USES_LEAST);
	finish(&of.latency, 0);
	for (int i = 0; i < count; i++) {
		struct live *who = &l->live[some[i]];

		who->rank = -score_of(l, who, &of);
	}
}
