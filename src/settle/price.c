/* price.c - see price.h for the formula; negative counters are a reporter's mistake and count 0. */
#include "settle/price.h"

#include <string.h>

#define PER_TOKENS 1000000
#define FACTOR_ONE 1000000000LL

/* tokens times price needs more than 64 bits */
__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 unsigned_wide;

#define WIDE_MAX ((wide)(((unsigned_wide)1 << 127) - 1))

/* ---- which rows ---- */

static bool
is_base(const struct price *r)
{
	return r->tier[0] == '\0' && r->above_tokens == 0;
}

static bool
has_row(const struct price_list *l, int first, const struct price *like)
{
	for (int i = first; i < l->count; i++)
		if (l->row[i]->above_tokens == like->above_tokens &&
			strcmp(l->row[i]->tier, like->tier) == 0)
			return true;
	return false;
}

/* Of one pattern's rows, newest first, those of that upstream.  True when they price any request, so
 * that no pattern farther off can count. */
static bool
add_rows(struct price_list *l, const struct price *rows, size_t count, struct id upstream,
	int64_t at_ms)
{
	int first = l->count;
	bool any_request = false;

	for (size_t i = 0; i < count; i++) {
		const struct price *r = &rows[i];

		if (r->from_ms > at_ms || !id_equal(r->upstream, upstream) || has_row(l, first, r))
			continue;
		if (l->count < PRICE_ROWS_MAX)
			l->row[l->count++] = r;
		else if (is_base(r))
			l->row[PRICE_ROWS_MAX - 1] = r;
		any_request = any_request || is_base(r);
	}
	return any_request;
}

static bool
add_of_upstream(struct price_list *l, const struct snapshot *p, struct id upstream,
	struct span model, int64_t at_ms)
{
	size_t count;
	const struct price *row = snapshot_price_named(p, model, &count);

	if (add_rows(l, row, count, upstream, at_ms))
		return true;
	for (size_t i = 0; i < p->price_run_count; i++) {
		const struct price_run *run = &p->price_runs[i];

		row = &p->prices[run->first];
		if (model.len >= run->head_len && memcmp(model.at, run->head, run->head_len) == 0 &&
			glob_match(row->model, model) &&
			add_rows(l, row, run->count, upstream, at_ms))
			return true;
	}
	return false;
}

void
price_find(const struct snapshot *p, const struct upstream *u, struct span model, int64_t at_ms,
	struct price_list *out)
{
	out->count = 0;
	out->factor = u == NULL ? FACTOR_ONE : u->price_factor;
	if (model.len == 0 || p->price_count == 0)
		return;
	if (u != NULL && p->prices_of_upstreams &&
		add_of_upstream(out, p, u->head.id, model, at_ms))
		return;
	(void)add_of_upstream(out, p, ID_NONE, model, at_ms);
}

static bool
same_pattern(const struct price *a, const struct price *b)
{
	return id_equal(a->upstream, b->upstream) && strcmp(a->model, b->model) == 0;
}

static bool
reaches(const struct price *r, int64_t input_tokens)
{
	return r->above_tokens <= 0 || input_tokens > r->above_tokens;
}

/* The row that counts, or NULL. */
static const struct price *
nearest(const struct price_list *l, const char *tier, int64_t input_tokens)
{
	const struct price *best = NULL;

	for (int i = 0; i < l->count; i++) {
		const struct price *r = l->row[i];
		bool of_tier = r->tier[0] != '\0';

		if (best != NULL && !same_pattern(best, r))
			break;
		if (!reaches(r, input_tokens) || (of_tier && strcmp(r->tier, tier) != 0))
			continue;
		if (best == NULL || of_tier > (best->tier[0] != '\0') ||
			(of_tier == (best->tier[0] != '\0') &&
				r->above_tokens > best->above_tokens))
			best = r;
	}
	return best;
}

/* ---- arithmetic ---- */

/* Sums are held at WIDE_MAX and no sooner: a small factor may still bring them back into a word, and
 * the dearer of two must never come out cheaper. */
static wide
plus(wide a, wide b)
{
	return a > WIDE_MAX - b ? WIDE_MAX : a + b;
}

static wide
product(int64_t tokens, int64_t price_nusd)
{
	return tokens > 0 && price_nusd > 0 ? (wide)tokens * price_nusd : 0;
}

/* The same of what is not priced by the million. */
static wide
each(int64_t count, int64_t price_nusd)
{
	wide p = product(count, price_nusd);

	return p > WIDE_MAX / PER_TOKENS ? WIDE_MAX : p * PER_TOKENS;
}

static int64_t
stated(int64_t price_nusd, int64_t otherwise_nusd)
{
	return price_nusd >= 0 ? price_nusd : otherwise_nusd;
}

static int64_t
part(int64_t tokens, int64_t whole)
{
	return tokens < 0 ? 0 : tokens > whole ? whole : tokens;
}

static int64_t
at_least_0(int64_t n)
{
	return n < 0 ? 0 : n;
}

#define WHOLE         ((wide)PER_TOKENS * FACTOR_ONE)
#define ROUND_HALF_UP (WHOLE / 2)
#define ROUND_UP      (WHOLE - 1)

/* sum is in nano-dollars times PER_TOKENS; `add` decides what becomes of the rest. */
static int64_t
times_factor(wide sum, int64_t factor, wide add)
{
	if (factor <= 0 || sum <= 0)
		return 0;
	if (sum > (WIDE_MAX - add) / factor)
		return INT64_MAX;
	sum = (sum * factor + add) / WHOLE;
	return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

static int64_t
rounded(wide sum, int64_t factor)
{
	return times_factor(sum, factor, ROUND_HALF_UP);
}

static wide
input_sum(const struct price *p, const struct tokens *t)
{
	int64_t all = at_least_0(t->input), audio = part(t->audio_input, all);
	int64_t writes = at_least_0(t->cache_write), hour = part(t->cache_write_1h, writes);
	int64_t write_5m = stated(p->cache_write_5m_nusd, p->input_nusd);
	wide sum = product(all - audio, p->input_nusd);

	sum = plus(sum, product(audio, stated(p->audio_input_nusd, p->input_nusd)));
	sum = plus(sum, product(t->cache_read, stated(p->cache_read_nusd, p->input_nusd)));
	sum = plus(sum, product(writes - hour, write_5m));
	return plus(sum, product(hour, stated(p->cache_write_1h_nusd, write_5m)));
}

static wide
output_sum(const struct price *p, const struct tokens *t)
{
	int64_t all = at_least_0(t->output), audio = part(t->audio_output, all);
	int64_t reasoning = part(t->reasoning, all - audio);
	wide sum = product(all - audio - reasoning, p->output_nusd);

	sum = plus(sum, product(reasoning, stated(p->reasoning_nusd, p->output_nusd)));
	return plus(sum, product(audio, stated(p->audio_output_nusd, p->output_nusd)));
}

static int64_t
added(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(at_least_0(a), at_least_0(b), &sum) ? INT64_MAX : sum;
}

int64_t
price_cost(const struct price_list *list, const char *tier, const struct tokens *tokens)
{
	int64_t input = added(added(tokens->input, tokens->cache_read), tokens->cache_write);
	const struct price *p = nearest(list, tier, input);
	wide sum;

	if (p == NULL)
		return COST_UNKNOWN;
	sum = plus(input_sum(p, tokens), output_sum(p, tokens));
	sum = plus(sum, each(1, p->request_nusd));
	return rounded(plus(sum, each(tokens->images, p->image_nusd)), list->factor);
}

static int64_t
dearest(const int64_t *price_nusd, size_t count)
{
	int64_t most = 0;

	for (size_t i = 0; i < count; i++)
		if (price_nusd[i] > most)
			most = price_nusd[i];
	return most;
}

int64_t
price_worst(const struct price_list *list, int64_t input_tokens, int64_t output_tokens)
{
	int64_t worst = COST_UNKNOWN;

	for (int i = 0; i < list->count; i++) {
		const struct price *p = list->row[i];
		const int64_t in[] = { p->input_nusd, p->audio_input_nusd, p->cache_read_nusd,
			p->cache_write_5m_nusd, p->cache_write_1h_nusd };
		const int64_t out[] = { p->output_nusd, p->reasoning_nusd, p->audio_output_nusd };
		wide sum = product(input_tokens, dearest(in, sizeof in / sizeof in[0]));
		int64_t cost;

		if (!reaches(p, input_tokens))
			continue;
		sum = plus(sum, product(output_tokens, dearest(out, sizeof out / sizeof out[0])));
		cost = rounded(plus(sum, each(1, p->request_nusd)), list->factor);
		if (cost > worst)
			worst = cost;
	}
	return worst;
}

int64_t
price_worst_images(const struct price_list *list, int64_t images)
{
	int64_t worst = 0;

	for (int i = 0; i < list->count; i++) {
		int64_t cost = times_factor(
			each(images, list->row[i]->image_nusd), list->factor, ROUND_UP);

		if (cost > worst)
			worst = cost;
	}
	return worst;
}

bool
price_rates(const struct price_list *list, int64_t input_tokens, struct price_rates *out)
{
	const struct price *p = nearest(list, "", input_tokens);

	*out = (struct price_rates){ 0 };
	if (p == NULL)
		return false;
	out->input_nusd = times_factor(each(1, p->input_nusd), list->factor, ROUND_UP);
	out->output_nusd = times_factor(each(1, p->output_nusd), list->factor, ROUND_UP);
	out->request_nusd = times_factor(each(1, p->request_nusd), list->factor, ROUND_UP);
	return true;
}
