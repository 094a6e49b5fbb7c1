/*
 * settle.c - a crash after the request went out may have cost money at the provider, so it is
 * charged by estimate; before that, it cost nothing and everything is given back.
 */
#include "settle/settle.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/money.h"
#include "board/target.h"
#include "settle/price.h"
#include "store/window.h"
#include "wire/openai.h"

#include <string.h>
#include <time.h>

#define FIRST_HOUR_MS 3600000
#define FIRST_NAP_MS  10
#define FOLLOWS_MS    (48 * 3600000LL)  /* a row that never came by then never comes */
#define TOKENS_MAX    ((1LL << 40) - 1) /* what the store keeps of a count (store_book) */

static int64_t
kept(int64_t tokens)
{
	return tokens < 0 ? 0 : tokens > TOKENS_MAX ? TOKENS_MAX : tokens;
}

/* Of the row as the store keeps it, so that a lost board is told the same that is charged here. */
void
settle_charge(const uint8_t *metric, int count, const struct usage_row *row,
	int64_t spent[BOARD_CLAIMS_MAX])
{
	struct usage_row stored = *row;
	struct usage_sum sum = { 0 };

	stored.tokens = (struct tokens){ .input = kept(row->tokens.input),
		.cache_read = kept(row->tokens.cache_read),
		.cache_write = kept(row->tokens.cache_write),
		.cache_write_1h = kept(row->tokens.cache_write_1h),
		.output = kept(row->tokens.output),
		.reasoning = kept(row->tokens.reasoning) };
	usage_sum_add(&sum, &stored);
	for (int i = 0; i < count; i++) {
		int64_t used = limit_metric_of((enum limit_metric)metric[i], &sum);

		spent[i] = used < 0 ? 0 : used;
	}
}

int
settle_status(const struct usage_row *row)
{
	bool failed = row->ended_by != ENDED_DONE || row->status >= 400 || row->err_code != 0;

	if (failed && row->cost_nusd == 0)
		return 0;
	return row->status == 0 ? 500 : row->status;
}

/* The row of an exchange whose process died while it ran. */
static void
crash_row(const struct settle_note *n, struct id exchange, struct usage_row *row)
{
	int64_t now_ms = clock_wall_ms();

	*row = n->row;
	row->exchange = exchange;
	if (atomic_load(&n->complete) != 0) /* only its booking was left, as on a full disk */
		return;
	row->ended_by = ENDED_CRASH;
	row->status = 0;
	row->err_code = ERR_INTERNAL;
	row->duration_ms = now_ms > row->time_ms && now_ms - row->time_ms < UINT32_MAX
				   ? (uint32_t)(now_ms - row->time_ms)
				   : 0;
	span_copy(span_of("the gateway's process died while this ran"), row->error,
		sizeof row->error);
	if (n->sent == 0) {
		row->usage_source = USAGE_NONE;
		row->cost_nusd = 0;
		memset(&row->tokens, 0, sizeof row->tokens);
		return;
	}
	row->usage_source = USAGE_ESTIMATED;
	row->tokens = (struct tokens){ .input = n->input_estimate,
		.output = openai_estimate_tokens(n->output_chars) };
	row->cost_nusd = COST_UNKNOWN;
	if (n->priced != 0) {
		struct price price = { .input_nusd = n->input_nusd,
			.output_nusd = n->output_nusd,
			.request_nusd = n->request_nusd,
			.cache_read_nusd = -1,
			.cache_write_5m_nusd = -1,
			.cache_write_1h_nusd = -1,
			.reasoning_nusd = -1,
			.audio_input_nusd = -1,
			.audio_output_nusd = -1 };
		struct price_list list = { 1, { &price }, NUSD_PER_USD };

		row->cost_nusd = price_cost(&list, "", &row->tokens);
	}
}

struct reaping {
	struct store *store;
	struct board *board;
	struct err *err;
	bool failed;
};

/* One attempt's lease: charged by the exchange's row, if that is of this attempt. */
static bool
reap_follower(struct reaping *r, const struct board_orphan *o, const struct settle_note *n)
{
	int64_t spent[BOARD_CLAIMS_MAX] = { 0 };
	struct usage_row row;
	int found = store_row_get(r->store, o->exchange, &row, r->err);

	if (found < 0) {
		r->failed = true;
		return false;
	}
	if (found == 0 && clock_wall_ms() - n->row.time_ms < FOLLOWS_MS)
		return false; /* until the exchange itself is settled */
	if (found > 0 && id_equal(row.upstream, n->row.upstream) && id_equal(row.key, n->row.key))
		settle_charge(n->metric, (int)n->count, &row, spent);
	if (board_settle(r->board, o->lease, spent, o->count, 0, r->err) < 0)
		r->failed = true;
	return !r->failed;
}

static void
one_less(struct board *b, struct id id)
{
	struct board_target *t = id_is_none(id) ? NULL : board_target_find(b, id);
	int64_t n = t == NULL ? 0 : atomic_load_explicit(&t->inflight, memory_order_relaxed);

	while (n > 0 && !atomic_compare_exchange_weak(&t->inflight, &n, n - 1))
		;
}

/* Whom it called has room again at once: what counts the calls anew takes seconds. */
static void
end_call(struct board *b, const struct settle_note *n)
{
	if (n->sent == 0 || n->complete != 0)
		return;
	one_less(b, n->row.upstream);
	one_less(b, n->row.key);
}

static bool
reap_one(void *ctx, const struct board_orphan *o)
{
	struct reaping *r = ctx;
	struct settle_note note;
	struct usage_row row;
	int64_t spent[BOARD_CLAIMS_MAX] = { 0 };
	char request[ID_TEXT_BYTES];
	bool booked = false;

	memcpy(&note, o->note, sizeof note);
	if (note.count > o->count)
		note.count = 0;    /* died before the note was complete: nothing had been sent */
	if (note.row.time_ms == 0) /* no exchange: what somebody else holds on the board */
		return board_settle(r->board, o->lease, spent, o->count, 0, r->err) >= 0;
	if (note.follows != 0)
		return reap_follower(r, o, &note);
	crash_row(&note, o->exchange, &row);
	if (store_book(r->store, &row, 1, &booked, r->err) != 0)
		goto failed;
	if (!booked && store_row_get(r->store, o->exchange, &row, r->err) < 0)
		goto failed;
	settle_charge(note.metric, (int)note.count, &row, spent);
	if (board_settle(r->board, o->lease, spent, o->count, settle_status(&row), r->err) < 0)
		goto failed;
	end_call(r->board, &note);
	board_count(r->board, COUNT_REAPED, 1);
	id_text("req_", o->exchange, request);
	log_request(LOG_WARN, "reaped", request, "settled for a process that died, %s",
		booked ? "by estimate" : "its row was there");
	return true;
failed:
	r->failed = true;
	return false;
}

int
settle_reap(struct store *store, struct board *board, struct err *err)
{
	struct reaping r = { store, board, err, false };
	int handed = board_reap(board, reap_one, &r, err);

	return r.failed ? -1 : handed;
}

/* ---- the first of all ---- */

static bool
count_ownerless(void *ctx, struct id exchange, struct roster_owner owner, const void *note)
{
	int *count = ctx;

	(void)exchange;
	(void)note;
	*count += owner.incarnation == 0;
	return true;
}

int
settle_reap_first(struct store *store, struct board *board, struct err *err)
{
	const struct timespec nap = { 0, FIRST_NAP_MS * 1000000L };
	struct board_health health;
	int owed = 0;

	board_health(board, &health);
	if (health.leases_used == 0 || board_now_ms(board) - health.remade_ms > FIRST_HOUR_MS)
		return 0;
	for (int waited = 0; waited < SETTLE_FIRST_MS; waited += FIRST_NAP_MS) {
		owed = 0;
		if (settle_reap(store, board, err) < 0 ||
			board_inflight(board, count_ownerless, &owed) < 0)
			return -1;
		if (owed == 0)
			break;
		nanosleep(&nap, NULL);
	}
	return owed;
}
