/* reprice.c - see reprice.h; the rows are walked from the newest back. */
#include "settle/reprice.h"

#include "base/money.h"
#include "settle/price.h"
#include "store/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS           (2 * REPRICE_MODELS_MAX) /* a power of two */
#define UPSTREAMS_MAX   64                       /* of those that are gone or off, remembered */
#define PROGRESS_ROWS   10000
#define BOOKED_SLACK_MS (60 * 60 * 1000) /* a row may be booked so long after its end */

struct repricing {
	struct store *store;
	struct board *board;
	const struct reprice *how;
	struct snapshot *snapshot;
	struct reprice_result *out;
	struct err *err;
	bool failed;
	uint16_t slot[SLOTS]; /* 1 + the number in out->model */
	struct upstream away[UPSTREAMS_MAX];
	int away_count;
};

static struct reprice_sum *
sum_of(struct repricing *r, const char *model)
{
	size_t at = hash_64(model, strlen(model), 0) & (SLOTS - 1);
	struct reprice_result *out = r->out;

	for (; r->slot[at] != 0; at = (at + 1) & (SLOTS - 1))
		if (strcmp(out->model[r->slot[at] - 1].model, model) == 0)
			return &out->model[r->slot[at] - 1];
	if (out->model_count >= REPRICE_MODELS_MAX - 1) { /* the last place is for the others */
		out->model_count = REPRICE_MODELS_MAX;
		model = "other";
	} else {
		r->slot[at] = (uint16_t)++out->model_count;
	}
	span_copy(
		span_of(model), out->model[out->model_count - 1].model, sizeof out->model[0].model);
	return &out->model[out->model_count - 1];
}

/* One that is switched off still has its factor; of one that is gone nobody knows it. */
static const struct upstream *
upstream_of(struct repricing *r, struct id id)
{
	const struct upstream *u = snapshot_upstream(r->snapshot, id);
	struct upstream *away;
	int there;

	if (u != NULL || id_is_none(id))
		return u;
	for (int i = 0; i < r->away_count; i++)
		if (id_equal(r->away[i].head.id, id))
			return &r->away[i];
	away = &r->away[r->away_count < UPSTREAMS_MAX ? r->away_count++ : UPSTREAMS_MAX - 1];
	there = store_get(r->store, RECORD_UPSTREAM, id, away, r->err);
	if (there < 0) {
		r->failed = true;
		return NULL;
	}
	if (there == 0)
		record_init(RECORD_UPSTREAM, away);
	away->head.id = id;
	return away;
}

static const char *
priced_model(const struct usage_row *row)
{
	return row->upstream_model[0] != '\0' ? row->upstream_model : row->model;
}

/* Nothing came back that a provider asks money for. */
static bool
is_free(const struct usage_row *row)
{
	return row->ended_by == ENDED_REFUSED || row->model[0] == '\0' ||
	       (row->usage_source == USAGE_NONE && row->cost_nusd == 0);
}

static int64_t
known(int64_t cost_nusd)
{
	return cost_nusd == COST_UNKNOWN ? 0 : cost_nusd;
}

/* What limits on cost count of that row, by so much more. */
static int
correct_board(struct repricing *r, const struct usage_row *row, int64_t add)
{
	struct limit_values v = { .project = row->project,
		.token = row->token,
		.upstream = row->upstream,
		.key = row->key,
		.end_user = row->end_user,
		.model = row->model };

	for (int i = 0; i < USAGE_TAGS_MAX; i++)
		v.tag[i] = row->tags[i][0] != '\0' ? row->tags[i] : NULL;
	for (int by_attempt = 0; by_attempt <= 1; by_attempt++) {
		struct limit_hit hits[BOARD_CLAIMS_MAX];
		int count = limit_index_find(
			r->snapshot->limit_index, &v, by_attempt != 0, hits, BOARD_CLAIMS_MAX);

		for (int i = 0; i < count && i < BOARD_CLAIMS_MAX; i++) {
			const struct limit *l = hits[i].rule->limit;
			uint8_t name[COUNTER_NAME_BYTES];
			int64_t start_ms, end_ms;
			uint64_t key[2];
			size_t len;

			if (l->metric != METRIC_COST)
				continue;
			limit_window(hits[i].rule, row->time_ms, &start_ms, &end_ms);
			len = limit_counter_name(hits[i].rule, &v, hits[i].tag, start_ms, name);
			board_counter_key(r->board, name, len, key);
			if (board_correct(r->board, key, limit_rolling_ms(l), row->time_ms, add,
				    r->err) < 0)
				return -1;
			r->out->counters++;
		}
	}
	return 0;
}

static int
write_cost(struct repricing *r, const struct usage_row *row, int64_t cost)
{
	int64_t was;
	int rc = store_row_reprice(r->store, row->exchange, cost, &was, r->err);

	if (rc <= 0 || was == cost)
		return rc < 0 ? -1 : 0;
	return correct_board(r, row, known(cost) - known(was));
}

static void
count(struct reprice_sum *s, const struct usage_row *row, int64_t cost)
{
	s->rows++;
	s->changed += cost != row->cost_nusd;
	s->unpriced += row->cost_nusd == COST_UNKNOWN;
	s->before_nusd = money_add(s->before_nusd, known(row->cost_nusd));
	s->after_nusd = money_add(s->after_nusd, known(cost));
}

static bool
reprice_one(struct repricing *r, const struct usage_row *row)
{
	const struct upstream *u = upstream_of(r, row->upstream);
	struct price_list list;
	int64_t cost;

	if (r->failed)
		return false;
	price_find(r->snapshot, u, span_of(priced_model(row)), row->time_ms, &list);
	cost = price_cost(&list, row->tier, &row->tokens);
	if (row->cost_stated) {
		r->out->stated++;
		cost = row->cost_nusd;
	} else if (cost == COST_UNKNOWN) {
		r->out->unknown++;
		cost = row->cost_nusd; /* what was known once is not forgotten */
	}
	count(sum_of(r, priced_model(row)), row, cost);
	count(&r->out->total, row, cost);
	if (cost == row->cost_nusd)
		return true;
	if (!r->how->dry_run && write_cost(r, row, cost) != 0) {
		r->failed = true;
		return false;
	}
	r->out->changed++;
	return true;
}

static bool
each_row(void *ctx, const struct usage_row *row)
{
	struct repricing *r = ctx;
	const struct reprice *how = r->how;

	if (row->time_ms < how->from_ms) /* rows stand in the order of their end */
		return row->time_ms + row->duration_ms + BOOKED_SLACK_MS >= how->from_ms;
	if (how->to_ms > 0 && row->time_ms >= how->to_ms)
		return true;
	if (++r->out->rows % PROGRESS_ROWS == 0 && how->progress != NULL)
		how->progress(how->ctx, r->out->rows);
	return is_free(row) || reprice_one(r, row);
}

static int
by_model(const void *a, const void *b)
{
	const struct reprice_sum *x = a, *y = b;

	return strcmp(x->model, y->model);
}

int
reprice_rows(struct store *store, struct board *board, const struct reprice *how,
	const struct store_change *change, struct reprice_result *out, struct err *err)
{
	struct repricing *r = calloc(1, sizeof *r);
	char object[ID_TEXT_BYTES];
	uint64_t cursor = 0;
	int rc = -1;

	*out = (struct reprice_result){ .total.model = "" };
	out->model = calloc(REPRICE_MODELS_MAX, sizeof *out->model);
	if (r == NULL || out->model == NULL) {
		err_set(err, ERR_MEMORY, "no memory to price rows anew");
		goto out;
	}
	r->store = store;
	r->board = board;
	r->how = how;
	r->out = out;
	r->err = err;
	if ((r->snapshot = snapshot_load(store, 0, err)) == NULL)
		goto out;
	rc = store_rows_each(store, &cursor, each_row, r, err) < 0 || r->failed ? -1 : 0;
	if (out->changed > 0 && !how->dry_run) {
		(void)snprintf(object, sizeof object, "%lld rows", (long long)out->changed);
		if (store_audit_add(store, change, object, rc == 0 ? err : NULL) != 0)
			rc = -1;
	}
	qsort(out->model, out->model_count, sizeof *out->model, by_model);
out:
	if (r != NULL)
		snapshot_drop(r->snapshot);
	free(r);
	return rc;
}
