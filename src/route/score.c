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

void
score_begin(struct look *l)
{
	l->cost = l->use = l->latency = (struct range){ .least = 1e30 };
}

void
score_figures(struct look *l, const struct seat *s, struct figures *f)
{
	const double *share = l->pool->objectives.share;
	int64_t us = now_at(&s->target->ttft_us);

	f->unit = s->unit;
	f->ttft_us = (float)us;
	f->reliability = (float)reliability(s->target);
	f->quality = s->quality >= 0 ? (float)s->quality * 0.01f : f->reliability;
	f->use = s->word == NULL || share[OBJECTIVE_FAIRNESS] <= 0
			 ? 0
			 : (float)board_share_use(now_at(&s->word->use), l->now_ms) /
				   BOARD_SHARE_ONE;
	widen(&l->use, (double)f->use);
	if (us > 0)
		widen(&l->latency, (double)us);
}

/* Costs are of units: the same number for all seats of one. */
static void
score_costs(struct look *l)
{
	struct range *r = &l->cost;

	for (size_t i = 0; i < l->pool->unit_count; i++)
		if (l->unit[i].reason == REASON_CHOSEN && l->unit[i].usual != COST_UNKNOWN)
			widen(r, (double)l->unit[i].usual);
	finish(r, 0);
	for (size_t i = 0; i < l->pool->unit_count; i++) /* a price nobody knows may be any */
		l->unit[i].cost_score = l->unit[i].usual == COST_UNKNOWN
						? 0
						: (float)low_is_good(r, (double)l->unit[i].usual);
}

static uint8_t
as_byte(double v)
{
	return (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5);
}

static double
latency_of(const struct look *l, const struct figures *f)
{
	return f->ttft_us <= 0 ? 1 : low_is_good(&l->latency, (double)f->ttft_us);
}

double
score_all(struct look *l, const uint32_t *some, int count)
{
	const double *share = l->pool->objectives.share;
	double best = 0;

	if (share[OBJECTIVE_COST] > 0)
		score_costs(l);
	finish(&l->use, USES_LEAST);
	finish(&l->latency, 0);
	for (int i = 0; i < count; i++) {
		const struct figures *f = &l->figures[some[i]];
		struct live *who = &l->live[some[i]];

		who->rank = -(share[OBJECTIVE_COST] * (double)l->unit[f->unit].cost_score +
			      share[OBJECTIVE_RELIABILITY] * (double)f->reliability +
			      share[OBJECTIVE_FAIRNESS] * low_is_good(&l->use, (double)f->use) +
			      share[OBJECTIVE_QUALITY] * (double)f->quality +
			      share[OBJECTIVE_LATENCY] * latency_of(l, f));
		if (who->class == 0 && who->rank < best)
			best = who->rank;
	}
	return best;
}

void
score_tell(const struct look *l, const struct live *who, struct route_member *m)
{
	const struct figures *f = &l->figures[who - l->live];
	const double *share = l->pool->objectives.share;
	double cost = share[OBJECTIVE_COST] > 0 ? (double)l->unit[f->unit].cost_score : 0;
	double fair = low_is_good(&l->use, (double)f->use), latency = latency_of(l, f);

	m->cost = as_byte(cost);
	m->reliability = as_byte((double)f->reliability);
	m->fairness = as_byte(fair);
	m->quality = as_byte((double)f->quality);
	m->latency = as_byte(latency);
	m->score = as_byte(share[OBJECTIVE_COST] * cost +
			   share[OBJECTIVE_RELIABILITY] * (double)f->reliability +
			   share[OBJECTIVE_FAIRNESS] * fair +
			   share[OBJECTIVE_QUALITY] * (double)f->quality +
			   share[OBJECTIVE_LATENCY] * latency);
}
