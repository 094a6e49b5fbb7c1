/*
 * share.c - the rule is that of "earliest eligible virtual deadline first": nobody is ever more than
 * one pick from its ideal share.  Words wrap around; only differences count.
 */
#include "route/share.h"

#define STEP_MOST (SHARE_ROUND * 1024) /* of a weight of a thousandth */
#define FAR       (INT64_C(1) << 60) /* differences are held within, so that sums do not overflow */
#define LAGS      2                  /* who is so many turns behind for sure was away */

int64_t
share_step(double weight)
{
	double step = (double)SHARE_ROUND / weight;

	if (!(step < (double)STEP_MOST))
		return STEP_MOST;
	return step < 1 ? 1 : (int64_t)step;
}

static int64_t
held(int64_t d)
{
	return d > FAR ? FAR : d < -FAR ? -FAR : d;
}

/*
 * Reads all words, as how far they are behind the first one's.  As no one is a whole turn ahead of V, V
 * is not before the greatest of what is a turn behind them: what has surely passed.
 */
static int64_t
read_words(struct share_member *m, int count)
{
	int64_t passed = INT64_MIN, first = 0;

	for (int i = 0; i < count; i++) {
		int64_t was = m[i].word == NULL
				      ? 0
				      : atomic_load_explicit(&m[i].word->at, memory_order_relaxed);

		if (i == 0)
			first = was;
		m[i].was = was;
		m[i].place = held((int64_t)((uint64_t)was - (uint64_t)first));
		if (was != 0 && m[i].place - m[i].step > passed)
			passed = m[i].place - m[i].step;
	}
	return passed == INT64_MIN ? 0 : passed;
}

/* Far behind; or, when the words went once around since, a new one that seems far ahead. */
static bool
was_away(const struct share_member *m, int64_t passed)
{
	return m->place + LAGS * m->step < passed ||
	       (m->was == 0 && m->place > passed + LAGS * m->step);
}

/* *lifted: how many of them were away. */
static int
look(struct share_member *m, int count, int *lifted)
{
	double sum = 0, weights = 0, mean;
	int64_t passed, v;
	int best = -1, soonest = 0;

	*lifted = 0;
	passed = read_words(m, count);
	for (int i = 0; i < count; i++) {
		if (was_away(&m[i], passed)) {
			m[i].place = passed;
			++*lifted;
		}
		m[i].due = m[i].place + m[i].step;
		sum += (double)(m[i].place - passed) * m[i].weight;
		weights += m[i].weight;
	}
	mean = sum / weights;
	v = passed + (int64_t)mean;
	for (int i = 0; i < count; i++) {
		if (m[i].due < m[soonest].due)
			soonest = i;
		/* a thousandth of a turn is rounding */
		if (m[i].place <= v + (m[i].step >> 10) + 1 && (best < 0 || m[i].due < m[best].due))
			best = i;
	}
	return best < 0 ? soonest : best;
}

int
share_look(struct share_member *m, int count)
{
	int lifted;

	return look(m, count, &lifted);
}

/* Those that were away count from here: one of little weight, whose turn is far off, would be taken to
 * have just come back at each look, and never have its turn. */
static void
keep_lifted(const struct share_member *m, int count, int but)
{
	uint64_t base = (uint64_t)m[0].was;

	for (int i = 0; i < count; i++) {
		int64_t was = m[i].was, next = (int64_t)(base + (uint64_t)m[i].place);

		if (i == but || m[i].word == NULL || next == was)
			continue;
		(void)atomic_compare_exchange_strong_explicit(&m[i].word->at, &was,
			next == 0 ? 1 : next, memory_order_relaxed, memory_order_relaxed);
	}
}

/* m is as look() left it. */
static bool
take(const struct share_member *m, int64_t base)
{
	int64_t was = m->was;
	int64_t next = (int64_t)((uint64_t)base + (uint64_t)m->due);

	return m->word == NULL ||
	       atomic_compare_exchange_strong_explicit(&m->word->at, &was, next == 0 ? 1 : next,
		       memory_order_relaxed, memory_order_relaxed);
}

int
share_pick(struct share_member *m, int count)
{
	int i = 0, lifted;

	for (int n = 0; n < SHARE_TRIES; n++) {
		i = look(m, count, &lifted);
		if (!take(&m[i], m[0].was))
			continue;
		if (lifted > 0)
			keep_lifted(m, count, i);
		return i;
	}
	share_charge(&m[i]);
	return i;
}

void
share_charge(const struct share_member *m)
{
	if (m->word != NULL)
		(void)atomic_fetch_add_explicit(&m->word->at, m->step, memory_order_relaxed);
}

void
share_turn(struct board *b, const struct route_candidate *c)
{
	struct share_member m = { .word = c->share, .step = c->share_step };

	if (c->share == NULL)
		return;
	share_charge(&m);
	board_share_used(c->share, board_now_ms(b));
}
