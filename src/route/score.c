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

#define SUCCESS_UNKNOWN 0.95f
#define SPREAD_LEAST    0.05f /* of the greatest: less is no difference worth all of an objective */
#define USES_LEAST      4     /* so many uses more or less neither */

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

/* Without branches, which would go either way. */
static inline void
widen(struct range *r, float v)
{
	r->least = v < r->least ? v : r->least;
	r->most = v > r->most ? v : r->most;
}

static void
finish(struct range *r, float width_least)
{
	r->width = r->most - r->least;
	if (r->width < r->most * SPREAD_LEAST)
		r->width = r->most * SPREAD_LEAST;
	if (r->width < width_least)
		r->width = width_least;
}

static float
low_is_good(const struct range *r, float v)
{
	return r->width > 0 ? 1 - (v - r->least) / r->width : 1;
}

static inline float
reliability(const struct seat *s, bool is_thin)
{
	int64_t ppm = now_at(&s->target->success_ppm);
	float success = ppm > 0 ? (float)(ppm - 1) * 1e-6f : SUCCESS_UNKNOWN;
	float score = 0.7f * success + 0.3f;

	if (is_thin) {
		if (seat_ramp_ppm(s) < PPM_ALL)
			score -= 0.1f;
		score -= 0.1f - (float)seat_lasts_ppm(s) * 1e-7f;
	}
	return success < 0.9f ? score * (0.5f + 0.5f * success) : score;
}

void
score_begin(struct look *l)
{
	l->cost = l->use = l->latency = (struct range){ .least = 1e30f };
}

void
score_figures(struct look *l, int from)
{
	const bool fairly = l->pool->objectives.share[OBJECTIVE_FAIRNESS] > 0;
	const struct seat *seats = l->pool->seats;
	const struct live *who = &l->live[from], *end = &l->live[l->count];
	const uint32_t now_s = (uint32_t)(l->now_ms / 1000);
	struct range use = l->use, latency = l->latency;

	for (struct figures *f = &l->figures[from]; who < end; who++, f++) {
		const struct seat *s = &seats[who->seat];
		int64_t us = now_at(&s->target->ttft_us);

		f->unit = s->unit;
		f->ttft_us = (float)us;
		f->reliability = reliability(s, who->is_thin);
		f->quality = s->quality >= 0 ? (float)s->quality * 0.01f : f->reliability;
		f->use = !fairly || s->word == NULL
				 ? 0
				 : (float)board_share_use(now_at(&s->word->use), now_s) *
					   (1.0f / BOARD_SHARE_ONE);
		widen(&use, f->use);
		if (us > 0)
			widen(&latency, f->ttft_us);
	}
	l->use = use;
	l->latency = latency;
}

/* Costs are of units: the same number for all seats of one. */
static void
score_costs(struct look *l)
{
	struct range *r = &l->cost;

	for (size_t i = 0; i < l->pool->unit_count; i++)
		if (l->unit[i].reason == REASON_CHOSEN && l->unit[i].usual != COST_UNKNOWN)
			widen(r, (float)l->unit[i].usual);
	finish(r, 0);
	for (size_t i = 0; i < l->pool->unit_count; i++) /* a price nobody knows may be any */
		l->unit[i].cost_score = l->unit[i].usual == COST_UNKNOWN
						? 0
						: low_is_good(r, (float)l->unit[i].usual);
}

static uint8_t
as_byte(double v)
{
	return (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5);
}

static float
latency_of(const struct look *l, const struct figures *f)
{
	return f->ttft_us <= 0 ? 1 : low_is_good(&l->latency, f->ttft_us);
}

double
score_all(struct look *l, const uint32_t *some, int count)
{
	const double *share = l->pool->objectives.share;
	const float cost = (float)share[OBJECTIVE_COST];
	const float reliable = (float)share[OBJECTIVE_RELIABILITY];
	const float quality = (float)share[OBJECTIVE_QUALITY];
	float by_use, by_ttft, fastest, all_good, best = 0;

	if (share[OBJECTIVE_COST] > 0)
		score_costs(l);
	finish(&l->use, USES_LEAST);
	finish(&l->latency, 0);
	by_use = (float)share[OBJECTIVE_FAIRNESS] / l->use.width;
	by_ttft = l->latency.width > 0 ? (float)share[OBJECTIVE_LATENCY] / l->latency.width : 0;
	fastest = l->latency.least;
	all_good = (float)share[OBJECTIVE_FAIRNESS] * (1 + l->use.least / l->use.width) +
		   (float)share[OBJECTIVE_LATENCY];
	for (int i = 0; i < count; i++) {
		const struct figures *f = &l->figures[some[i]];
		struct live *who = &l->live[some[i]];
		/* as low_is_good(), taken apart so that a thousand of them are quick */
		float rank = by_use * f->use - cost * l->unit[f->unit].cost_score -
			     reliable * f->reliability - quality * f->quality - all_good;

		if (f->ttft_us > 0)
			rank += by_ttft * (f->ttft_us - fastest);
		who->rank = (double)rank;
		if (who->class == 0 && rank < best)
			best = rank;
	}
	return (double)best;
}

void
score_tell(const struct look *l, const struct live *who, struct route_member *m)
{
	const struct figures *f = &l->figures[who - l->live];
	const double *share = l->pool->objectives.share;
	double cost = share[OBJECTIVE_COST] > 0 ? (double)l->unit[f->unit].cost_score : 0;
	double fair = (double)low_is_good(&l->use, f->use);
	double latency = (double)latency_of(l, f);

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
