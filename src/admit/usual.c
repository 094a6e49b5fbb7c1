/*
 * usual.c - how long answers usually are: for each token and model, and each model, a histogram whose
 * steps grow by half an octave.  When it has counted USUAL_FULL it is halved, so old answers fade.
 *
 * One table for the process; places are taken by compare-and-swap and never given back, counts are
 * relaxed: a lost one among hundreds moves no percentile that a reservation would notice.
 */
#include "admit/admit.h"

#include "base/hash.h"
#include "store/limits.h"

#include <stdatomic.h>
#include <string.h>

#define PLACES      4096 /* a power of two; those that find none are judged by their model */
#define PROBES      8
#define STEPS       48 /* up to 2^24 tokens */
#define USUAL_FULL  512
#define USUAL_LEAST 8   /* answers, before they say anything */
#define ROWS_MOST   256 /* of the store, to begin with */

struct habit {
	_Atomic uint64_t of; /* 0: free */
	_Atomic uint32_t total;
	_Atomic uint16_t count[STEPS];
};

static struct habit table[PLACES];
static _Atomic bool began;

static uint64_t
habit_name(struct id token, const char *model)
{
	uint64_t hash = hash_64(model, strlen(model), hash_64(token.b, sizeof token.b, 0));

	return hash == 0 ? 1 : hash;
}

static struct habit *
find(uint64_t of, bool make)
{
	for (uint64_t i = 0; i < PROBES; i++) {
		struct habit *h = &table[(of + i) & (PLACES - 1)];
		uint64_t there = atomic_load_explicit(&h->of, memory_order_relaxed);

		if (there == 0 && make)
			(void)atomic_compare_exchange_strong(&h->of, &there, of);
		if (there == 0)
			there = atomic_load_explicit(&h->of, memory_order_relaxed);
		if (there == of)
			return h;
		if (there == 0)
			return NULL;
	}
	return NULL;
}

/* The most that counts in that step: 1, 1, 2, 2 (3), 4, 5 (6), 8, 11 (12) … */
static int64_t
step_end(int step)
{
	int64_t octave = (int64_t)1 << (step / 2);

	return step % 2 == 0 ? octave : octave + octave / 2;
}

static int
step_of(int64_t tokens)
{
	int step = 0;

	while (step < STEPS - 1 && step_end(step) < tokens)
		step++;
	return step;
}

static void
halve(struct habit *h)
{
	uint32_t total = 0;

	for (int i = 0; i < STEPS; i++) {
		uint16_t n = atomic_load_explicit(&h->count[i], memory_order_relaxed) / 2;

		atomic_store_explicit(&h->count[i], n, memory_order_relaxed);
		total += n;
	}
	atomic_store_explicit(&h->total, total, memory_order_relaxed);
}

static void
count(uint64_t of, int step)
{
	struct habit *h = find(of, true);

	if (h == NULL)
		return;
	atomic_fetch_add_explicit(&h->count[step], 1, memory_order_relaxed);
	/* exactly one thread sees it full */
	if (atomic_fetch_add_explicit(&h->total, 1, memory_order_relaxed) + 1 == USUAL_FULL)
		halve(h);
}

void
admit_learn(struct id token, const char *model, int64_t output_tokens)
{
	int step = step_of(output_tokens);

	if (model[0] == '\0' || output_tokens <= 0)
		return;
	count(habit_name(token, model), step);
	count(habit_name(ID_NONE, model), step);
}

/* 0 while too few are known. */
static int64_t
percentile_95(uint64_t of)
{
	const struct habit *h = find(of, false);
	uint32_t total = 0, seen = 0;
	uint16_t counts[STEPS];

	if (h == NULL)
		return 0;
	for (int i = 0; i < STEPS; i++)
		total += counts[i] = atomic_load_explicit(&h->count[i], memory_order_relaxed);
	if (total < USUAL_LEAST)
		return 0;
	for (int i = 0; i < STEPS; i++)
		if ((seen += counts[i]) * 100 >= total * 95)
			return step_end(i);
	return step_end(STEPS - 1);
}

struct looking_back {
	int left;
};

static bool
learn_row(void *ctx, const struct usage_row *row)
{
	struct looking_back *l = ctx;

	if (row->usage_source == USAGE_REPORTED && row->ended_by == ENDED_DONE)
		admit_learn(row->token, row->model, row->tokens.output);
	return --l->left > 0;
}

int64_t
admit_usual_output(struct store *store, const struct snapshot *snapshot, struct id token,
	const char *model, int64_t worst)
{
	int64_t usual;

	if (!limit_index_expects(snapshot->limit_index) || worst <= 0 || model[0] == '\0')
		return worst;
	if (!atomic_exchange(&began, true)) {
		struct looking_back l = { ROWS_MOST };
		struct err ignored = { 0 };
		uint64_t cursor = 0;

		/* a guess can do without them */
		(void)store_rows_each(store, &cursor, learn_row, &l, &ignored);
	}
	usual = percentile_95(habit_name(token, model));
	if (usual == 0)
		usual = percentile_95(habit_name(ID_NONE, model));
	if (usual == 0)
		usual = ADMIT_USUAL_START;
	return usual < worst ? usual : worst;
}
