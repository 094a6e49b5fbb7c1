/*
 * forecast_sum.c - the arithmetic of forecasts: a rate from use in slots of time, and what it leads to.
 *
 * Use is taken as arriving in random lumps with mean rate r and dispersion D (variance over mean; of single
 * calls of equal size that is their size).  Then use over time T has variance D r T, which gives both how
 * well r is known (seen over a span: sd(r)/r = sqrt(D / seen)) and how far the moment strays at which
 * R units are used up (sd = sqrt(D R) / r).  A slope counts only when it is three times its standard error, and
 * only for as long ahead as it was seen behind; half of what it changes is added to the uncertainty.  And
 * rates do not stay: that drift grows with the root of how much further ahead than behind one looks.
 */
#include "route/forecast.h"

#include <math.h>

#define CALLS_ENOUGH 10
#define SLOTS_TREND  5
#define TREND_ERRORS 3
#define DRIFT        0.05 /* of a rate, over as long ahead as it was seen behind */
#define TIME_MAX_MS  (400.0 * 86400000)

static double
mean_of(const int64_t *count, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += (double)count[i];
	return n == 0 ? 0 : sum / n;
}

/* Least squares over whole slots; leaves r alone where chance explains it. */
static void
find_trend(const int64_t *count, int n, int64_t slot_ms, struct forecast_rate *r)
{
	double mean = mean_of(count, n), middle = (n - 1) / 2.0, sxy = 0, sxx = 0, left = 0, g, se;

	if (n < SLOTS_TREND)
		return;
	for (int i = 0; i < n; i++) {
		sxy += (i - middle) * ((double)count[i] - mean);
		sxx += (i - middle) * (i - middle);
	}
	g = sxy / sxx;
	for (int i = 0; i < n; i++) {
		double d = (double)count[i] - mean - g * (i - middle);

		left += d * d;
	}
	/* never surer than lumps of that size allow */
	left = fmax(left / (n - 2), r->dispersion > 0 && left == 0 ? mean * 0.01 : 0);
	se = sqrt(left / sxx);
	if (fabs(g) <= TREND_ERRORS * se)
		return;
	r->slope = g / ((double)slot_ms * (double)slot_ms);
	/* at the end of the last whole slot */
	r->per_ms = fmax(mean + g * (n / 2.0), mean * 0.1) / (double)slot_ms;
	r->dispersion = mean > 0 ? fmax(left / mean, r->dispersion * 0.1) : r->dispersion;
}

void
forecast_rate(const struct forecast_series *s, struct forecast_rate *r)
{
	int64_t begin_ms = (s->now_ms / s->slot_ms - (s->slots - 1)) * s->slot_ms;
	int first = 0, whole;
	double mean, square = 0, sum = 0;

	*r = (struct forecast_rate){ .dispersion = s->call };
	/* slots from before anything was known say nothing */
	if (s->since_ms > begin_ms) {
		first = (int)((s->since_ms - begin_ms) / s->slot_ms);
		begin_ms = s->since_ms;
	}
	if (first >= s->slots)
		first = s->slots - 1;
	for (int i = first; i < s->slots; i++)
		sum += (double)s->count[i];
	r->span_ms = s->now_ms - begin_ms < 1 ? 1 : s->now_ms - begin_ms;
	r->seen = sum;
	r->per_ms = sum / (double)r->span_ms;
	r->confidence = fmin(1, (double)s->calls / CALLS_ENOUGH);
	if (s->since_ms > 0 && first > 0)
		first++; /* it began in the middle of this one */
	whole = s->slots - 1 - first;
	if (whole < 3 || sum <= 0)
		return;
	mean = mean_of(s->count + first, whole);
	for (int i = first; i < first + whole; i++)
		square += ((double)s->count[i] - mean) * ((double)s->count[i] - mean);
	if (mean > 0)
		r->dispersion = fmax(square / (whole - 1) / mean, s->call * 0.1);
	find_trend(s->count + first, whole, s->slot_ms, r);
}

/* When R is used up at rate p that changes by g for at most `most`, then stays. */
static double
solve(double left, double p, double g, double most)
{
	double root, t, then, used;

	if (g == 0)
		return p <= 0 ? -1 : left / p;
	root = p * p + 2 * g * left;
	if (root >= 0) {
		t = 2 * left / (p + sqrt(root));
		if (p + sqrt(root) > 0 && t >= 0 && t <= most)
			return t;
	}
	if (g < 0) /* it does not fall for ever */
		most = fmin(most, -0.9 * p / g);
	then = p + g * most / 2; /* half of the way back */
	used = p * most + g * most * most / 2;
	return then <= 0 || p <= 0 ? -1 : used >= left ? left / p : most + (left - used) / then;
}

int64_t
forecast_time(const struct forecast_rate *r, double remaining, double refill_per_ms,
	double capacity_sd, int64_t *spread_ms)
{
	double net = r->per_ms - refill_per_ms, t, lumps, rate, trend, drift, sd, at;

	*spread_ms = 0;
	if (remaining <= 0)
		return 0;
	if (r->seen <= 0)
		return -1;
	t = solve(remaining, net, r->slope, (double)r->span_ms);
	if (t < 0 || t > TIME_MAX_MS)
		return -1;
	at = fmax(remaining / fmax(t, 1), 1e-12); /* mean rate on the way */
	lumps = sqrt(r->dispersion * remaining) / at;
	rate = t * (r->per_ms / fmax(net, r->per_ms * 0.01)) * sqrt(r->dispersion / r->seen);
	trend = r->slope == 0 ? 0
			      : 0.5 * fabs(r->slope) * fmin(t, (double)r->span_ms) *
					fmin(t, (double)r->span_ms) / 2 / at;
	drift = t * DRIFT * sqrt(t / (double)r->span_ms);
	sd = sqrt(lumps * lumps + rate * rate + trend * trend + drift * drift +
		  capacity_sd / at * (capacity_sd / at));
	*spread_ms = (int64_t)fmin(2 * sd, TIME_MAX_MS);
	return (int64_t)t;
}
