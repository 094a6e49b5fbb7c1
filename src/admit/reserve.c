/*
 * reserve.c - what a request takes from its limits, gathered without a word of text: names, sums and
 * sentences are made only for a refusal.
 */
#include "admit/admit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/money.h"
#include "store/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED_ROUNDS (BOARD_CLAIMS_MAX + 1) /* each round seeds one counter */
#define SOFT_WARNS  100                    /* percent, where a soft limit names none */

/* The counters one request takes from, beside the limits they come from (NULL: max_requests). */
struct taking {
	const struct snapshot *snapshot;
	const struct admit_ask *ask;
	struct limit_values values;
	int64_t now_ms; /* board time */
	int count;
	struct board_claim claim[BOARD_CLAIMS_MAX];
	struct limit_hit from[BOARD_CLAIMS_MAX]; /* rule NULL: max_requests */
	int32_t metric[BOARD_CLAIMS_MAX];
	int64_t start_ms[BOARD_CLAIMS_MAX]; /* of the window */
};

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
need_of(int32_t metric, bool usual, const struct admit_need *need)
{
	int64_t output = need->output_tokens;
	int64_t cost = need->cost_nusd == COST_UNKNOWN ? 0 : need->cost_nusd;

	if (usual && need->usual_output > 0)
		output = least(output, need->usual_output);
	if (usual && need->usual_cost_nusd > 0)
		cost = least(cost, need->usual_cost_nusd);
	switch ((enum limit_metric)metric) {
	case METRIC_REQUESTS:
	case METRIC_PARALLEL:
		return 1;
	case METRIC_INPUT_TOKENS:
		return need->input_tokens;
	case METRIC_OUTPUT_TOKENS:
		return output;
	case METRIC_TOKENS:
		return money_add(need->input_tokens, output);
	case METRIC_COST:
		return cost;
	}
	return 0;
}

static struct board_claim *
add_claim(struct taking *t, struct limit_hit from, int32_t metric, bool usual)
{
	t->from[t->count] = from;
	t->metric[t->count] = metric;
	t->start_ms[t->count] = 0;
	t->claim[t->count] =
		(struct board_claim){ .amount = need_of(metric, usual, &t->ask->need) };
	return &t->claim[t->count++];
}

/* Shares of the cap, parted by line ends, as amounts. */
static void
set_warns(struct board_claim *c, const struct limit *l, int64_t cap)
{
	const char *p = l->warn_at;
	char *end;

	if (*p == '\0' && l->mode == LIMIT_SOFT)
		c->warn[0] = cap;
	for (int i = 0; i < BOARD_WARNS_MAX && *p != '\0'; i++) {
		long share = strtol(p, &end, 10);

		if (end == p)
			return;
		c->warn[i] = cap / 100 * share + cap % 100 * share / 100;
		p = *end == '\0' ? end : end + 1;
	}
}

/* A guess must not lock out what would fit: at most it takes all there is.  What is known to be too
 * much is refused as ever. */
static void
hold_guess(struct board_claim *c, int32_t metric, int64_t cap, int64_t input_tokens)
{
	int64_t sure = metric == METRIC_OUTPUT_TOKENS || metric == METRIC_COST ? 0
		       : metric == METRIC_TOKENS                               ? input_tokens
									       : c->amount;

	if (c->amount > cap && sure <= cap)
		c->amount = cap;
}

static void
take_from(struct taking *t, const struct board *board, struct limit_hit hit)
{
	const struct limit_rule *r = hit.rule;
	const struct limit *l = r->limit;
	bool usual = l->reserve == RESERVE_EXPECTED;
	struct board_claim *c = add_claim(t, hit, l->metric, usual);
	struct limit_granted granted;
	uint8_t name[COUNTER_NAME_BYTES];
	int64_t cap;
	size_t len;

	limit_window(r, t->now_ms, &c->window_start_ms, &c->window_end_ms);
	c->rolling_ms = limit_rolling_ms(l);
	t->start_ms[t->count - 1] =
		c->rolling_ms > 0 ? t->now_ms - c->rolling_ms : c->window_start_ms;
	len = limit_counter_name(r, &t->values, hit.tag, c->window_start_ms, name);
	board_counter_key(board, name, len, c->key);
	granted = limit_granted(t->snapshot->limit_index, r, name, len, t->now_ms);
	cap = limit_cap_with(l, granted);
	c->cap = l->mode == LIMIT_HARD ? cap : INT64_MAX;
	if (l->mode != LIMIT_SHADOW)
		set_warns(c, l, cap);
	if (usual)
		hold_guess(c, l->metric, cap, t->ask->need.input_tokens);
	c->seeded = l->metric == METRIC_PARALLEL;
	/* what was used before the limit was made counts: as old as time, the board asks */
	if (limit_has_past(l, c->window_start_ms, t->now_ms))
		c->window_start_ms = 0;
}

static void
take_of_token(struct taking *t, const struct board *board)
{
	const struct token *token = &t->ask->caller->token;
	struct board_claim *c =
		add_claim(t, (struct limit_hit){ NULL, "" }, METRIC_REQUESTS, false);
	uint8_t name[COUNTER_NAME_BYTES];

	c->cap = token->max_requests;
	c->window_end_ms = WINDOW_FOREVER;
	board_counter_key(board, name, token_counter_name(token->head.id, name), c->key);
}

static void
begin(struct taking *t, const struct board *board, const struct snapshot *snapshot,
	const struct admit_ask *ask)
{
	t->snapshot = snapshot;
	t->ask = ask;
	t->count = 0;
	t->now_ms = board_now_ms(board);
	t->values = (struct limit_values){ .project = ask->caller->project.head.id,
		.token = ask->caller->token.head.id,
		.upstream = ask->upstream,
		.key = ask->key,
		.end_user = ask->end_user,
		.model = ask->need.model,
		.address = ask->address };
	memcpy(t->values.tag, ask->tag, sizeof t->values.tag);
}

static int
gather(struct taking *t, const struct board *board, bool by_attempt, struct err *err)
{
	struct limit_hit hits[BOARD_CLAIMS_MAX];
	int own = !by_attempt && t->ask->caller->token.max_requests > 0, count;

	count = limit_index_find(
		t->snapshot->limit_index, &t->values, by_attempt, hits, BOARD_CLAIMS_MAX);
	if (count + own > BOARD_CLAIMS_MAX)
		return err_set(err, ERR_OVERLOADED, "more than %d limits bind one request",
			BOARD_CLAIMS_MAX);
	if (own)
		take_of_token(t, board);
	for (int i = 0; i < count; i++)
		take_from(t, board, hits[i]);
	return 0;
}

/* What the store's rows say that counter has used, for a board that does not know it: to the
 * window's end, since the wall clock that rows have may be ahead of the board's. */
static int
seed(struct store *store, struct taking *t, int which, struct err *err)
{
	struct board_claim *c = &t->claim[which];

	c->seeded = true;
	if (t->from[which].rule == NULL) {
		char token[ID_TEXT_BYTES];
		struct usage_sum sum;

		id_text("tok_", t->values.token, token);
		if (store_usage_sum(store, BY_TOKEN, token, 0, WINDOW_FOREVER, &sum, err) != 0)
			return -1;
		c->seed = limit_metric_of(METRIC_REQUESTS, &sum);
		return 0;
	}
	return limit_booked(store, t->from[which].rule, &t->values, t->from[which].tag,
		t->start_ms[which], c->window_end_ms, &c->seed, err);
}

/* A counter begun without its past would lack it for ever: it is left to the rows. */
static void
pass_over(struct taking *t, int which)
{
	for (int i = which; i + 1 < t->count; i++) {
		t->claim[i] = t->claim[i + 1];
		t->from[i] = t->from[i + 1];
		t->metric[i] = t->metric[i + 1];
		t->start_ms[i] = t->start_ms[i + 1];
	}
	t->count--;
}

/* 0 seeded, 1 passed over, -1. */
static int
seed_or_pass_over(struct store *store, struct taking *t, int which, struct err *err)
{
	if (seed(store, t, which, err) == 0)
		return 0;
	if (!t->ask->without_store || err->code != ERR_STORE_UNAVAILABLE)
		return -1;
	memset(err, 0, sizeof *err);
	pass_over(t, which);
	return 1;
}

/* ---- what is said ---- */

static void
amount_text(int32_t metric, int64_t amount, char *out, size_t room)
{
	char money[MONEY_TEXT_BYTES];

	if (metric != METRIC_COST) {
		snprintf(out, room, "%" PRId64, amount);
		return;
	}
	money_text(amount, money);
	snprintf(out, room, "$%s", money);
}

/* "limit lim_… on cost in a day" */
static void
limit_text(const struct taking *t, int which, char *out, size_t room)
{
	static const char *const metrics[] = { "requests", "input tokens", "output tokens",
		"tokens", "cost", "parallel requests" };
	static const char *const windows[] = { " in a minute", " in an hour", " in a day",
		" in a week", " in a month", " in total" };
	const struct limit_rule *r = t->from[which].rule;
	char id[ID_TEXT_BYTES], window[48] = "";

	if (r == NULL) {
		snprintf(out, room, "max_requests of the token");
		return;
	}
	if (limit_is_of_target(r)) {
		snprintf(out, room, "max_parallel of the %s",
			r->how[DIMENSION_KEY] == SCOPE_ID ? "key" : "upstream");
		return;
	}
	if (limit_rolling_ms(r->limit) > 0)
		snprintf(window, sizeof window, " within %" PRId64 " s", r->limit->window_s);
	else if (r->limit->metric != METRIC_PARALLEL)
		snprintf(window, sizeof window, "%s", windows[r->limit->window]);
	id_text("lim_", r->limit->head.id, id);
	snprintf(out, room, "limit on %s%s (%s)", metrics[r->limit->metric], window, id);
}

/* Does it say how many calls an upstream or key may have at once, whoever makes them? */
static bool
is_of_target(const struct limit_rule *r)
{
	if (r->limit->metric != METRIC_PARALLEL || !r->by_attempt)
		return false;
	for (int d = 0; d < DIMENSION__COUNT; d++)
		if (d != DIMENSION_UPSTREAM && d != DIMENSION_KEY && r->how[d] != SCOPE_ANY)
			return false;
	return true;
}

static struct admit_hold
hold_of(const struct taking *t, int i, int64_t used)
{
	const struct board_claim *c = &t->claim[i];
	const struct limit_rule *r = t->from[i].rule;

	return (struct admit_hold){ .limit = r == NULL || limit_is_of_target(r) ? ID_NONE
										: r->limit->head.id,
		.of_target = r != NULL && is_of_target(r),
		.metric = t->metric[i],
		.is_hard = r == NULL || r->limit->mode == LIMIT_HARD,
		.cap = c->cap,
		.used = used,
		.amount = c->amount,
		.stops = r != NULL && r->limit->mode == LIMIT_HARD && r->limit->stops_streams,
		.resets_ms = c->rolling_ms > 0 ? t->now_ms + c->rolling_ms : c->window_end_ms };
}

/* Says which limit refuses, how much of it is used, and when it frees. */
static int
refuse(const struct taking *t, const struct board *board, const struct board_verdict *v,
	struct admit_pass *pass, struct err *err)
{
	const struct board_claim *c = &t->claim[v->which];
	int32_t metric = t->metric[v->which];
	char cap[32], used[32], want[32], when[CLOCK_TEXT_BYTES] = "", what[112];
	int64_t frees_ms = c->rolling_ms > 0 ? v->frees_ms : c->window_end_ms, wait_ms;

	pass->count = 1;
	pass->hold[0] = hold_of(t, v->which, money_add(v->spent, v->reserved));
	amount_text(metric, c->cap, cap, sizeof cap);
	amount_text(metric, pass->hold[0].used, used, sizeof used);
	amount_text(metric, c->amount, want, sizeof want);
	limit_text(t, v->which, what, sizeof what);
	if (c->amount > c->cap) {
		err_set(err, ERR_EXCEEDS_LIMIT, "%s: %s wanted, cap %s", what, want, cap);
		return err_say(err,
			"This request alone may need %s, more than the %s of %s allows; make it "
			"smaller.",
			want, what, cap);
	}
	err_set(err,
		pass->hold[0].of_target ? ERR_NO_KEY_AVAILABLE
		: metric == METRIC_COST ? ERR_BUDGET_EXCEEDED
					: ERR_RATE_LIMITED,
		"%s: %s of %s used or held", what, used, cap);
	if (metric == METRIC_PARALLEL || frees_ms == 0) { /* held by what runs: soon */
		err->retry_boot_ms = clock_boot_ms() + 1000;
		return err_say(err, "The %s is reached: %s of %s are %s; wait for one to end.",
			what, used, cap,
			metric == METRIC_PARALLEL ? "running" : "used or held by running requests");
	}
	if (frees_ms == WINDOW_FOREVER)
		return err_say(err, "The %s is reached: %s of %s are used; it does not reset.",
			what, used, cap);
	/* The board's clock may be behind or ahead of the wall's, by which people wait: its whole
	 * seconds are told as such. */
	wait_ms = board_wait_ms(board, frees_ms);
	err->retry_boot_ms = clock_boot_ms() + wait_ms;
	clock_rfc3339((clock_wall_ms() + wait_ms + 500) / 1000 * 1000, when);
	return err_say(err, "The %s is reached: %s of %s are used or held; it %s at %s.", what,
		used, cap, c->rolling_ms > 0 ? "frees" : "resets", when);
}

static int
refuse_repeat(const struct board_verdict *v, struct admit_pass *pass, struct err *err)
{
	char first[ID_TEXT_BYTES];

	id_text("req_", v->first, first);
	pass->count = 0;
	pass->first = v->first;
	pass->status = v->outcome == BOARD_REPEATED ? v->status : 0;
	switch (v->outcome) {
	case BOARD_RUNNING:
		err_set(err, ERR_REQUEST_RUNNING, "idempotency key of %s, which runs", first);
		return err_say(err,
			"The request %s with this Idempotency-Key is still running; wait for it.",
			first);
	case BOARD_REPEATED:
		err_set(err, ERR_REQUEST_REPEATED, "idempotency key of %s, status %d", first,
			v->status);
		return err_say(err,
			"This Idempotency-Key was used by the request %s, which was answered with "
			"status %d; use another key to send it again.",
			first, v->status);
	default:
		err_set(err, ERR_IDEMPOTENCY_KEY_REUSED, "idempotency key of %s, another body",
			first);
		return err_say(err,
			"This Idempotency-Key was used by the request %s with another body; use a "
			"key of its own for each request.",
			first);
	}
}

/* A threshold was crossed by this request: told once. */
static void
warn(const struct taking *t, int which, const struct board_verdict *v, struct id exchange)
{
	const struct limit_rule *r = t->from[which].rule;
	char what[112], used[32], cap[32], request[ID_TEXT_BYTES], token[ID_TEXT_BYTES];

	if (r == NULL)
		return;
	id_text("req_", exchange, request);
	id_text("tok_", t->values.token, token);
	limit_text(t, which, what, sizeof what);
	amount_text(t->metric[which], v->used[which], used, sizeof used);
	amount_text(t->metric[which], r->limit->cap, cap, sizeof cap);
	log_request(LOG_WARN, "limit", request, "%s: %s of %s used or held, now by %s", what, used,
		cap, token);
}

static void
passed(const struct taking *t, const struct board_verdict *v, struct id exchange,
	struct admit_pass *pass)
{
	pass->count = t->count;
	for (int i = 0; i < t->count; i++) {
		pass->hold[i] = hold_of(t, i, v->used[i]);
		if (v->warned[i] != 0)
			warn(t, i, v, exchange);
	}
}

/* ---- taking ---- */

/* What it is taken for: by whom, and with what note. */
struct taker {
	bool only_asks;
	const struct board_repeat *repeat;
	struct id exchange;
	const void *note;
	size_t note_bytes;
};

/* A rolling counter is as old as its first use here: of a limit younger than its window the board
 * cannot know that there is a past. */
static int
seed_young(struct store *store, struct board *board, struct taking *t, struct err *err)
{
	for (int i = 0; i < t->count; i++) {
		struct board_claim *c = &t->claim[i];
		int64_t spent, reserved;
		int rc;

		if (c->rolling_ms == 0 || c->seeded ||
			!limit_has_past(t->from[i].rule->limit, 0, t->now_ms) ||
			board_peek(board, c->key, c->rolling_ms, &spent, &reserved) != 0)
			continue;
		if ((rc = seed_or_pass_over(store, t, i, err)) < 0)
			return -1;
		i -= rc;
	}
	return 0;
}

static int
take_all(struct store *store, struct board *board, struct taking *t, const struct taker *by,
	struct admit_pass *pass, struct err *err)
{
	struct board_verdict v;
	int rc;

	if (seed_young(store, board, t, err) != 0)
		return -1;
	for (int round = 0; round < SEED_ROUNDS; round++) {
		rc = by->only_asks
			     ? board_would(board, t->claim, t->count, by->repeat, &v, err)
			     : board_admit(board, by->exchange, t->claim, t->count, by->repeat,
				       by->note, by->note_bytes, &pass->lease, &v, err);
		if (rc != 0)
			return -1;
		switch (v.outcome) {
		case BOARD_TAKEN:
			passed(t, &v, by->exchange, pass);
			return 0;
		case BOARD_REFUSED:
			return refuse(t, board, &v, pass, err);
		case BOARD_RUNNING:
		case BOARD_REPEATED:
		case BOARD_OTHER_BODY:
			return refuse_repeat(&v, pass, err);
		case BOARD_NEEDS_SEED:
			if (seed_or_pass_over(store, t, v.which, err) < 0)
				return -1;
			break;
		}
	}
	return err_set(err, ERR_OVERLOADED, "the board asked for more seeds than there are claims");
}

static void
empty(struct admit_pass *pass)
{
	pass->lease = (struct board_lease){ 0 };
	pass->count = 0;
	pass->first = ID_NONE;
	pass->status = 0;
}

int
admit_reserve(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_ask *ask, struct id exchange, const void *note, size_t note_bytes,
	struct admit_pass *pass, struct err *err)
{
	struct taking t;

	empty(pass);
	begin(&t, board, snapshot, ask);
	if (gather(&t, board, false, err) != 0)
		return -1;
	return take_all(store, board, &t,
		&(struct taker){ false, ask->repeat, exchange, note, note_bytes }, pass, err);
}

bool
admit_has_attempt_limits(const struct snapshot *snapshot)
{
	return limit_index_by_attempt(snapshot->limit_index);
}

int
admit_attempt(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_ask *ask, struct id exchange, const void *note, size_t note_bytes,
	struct admit_pass *pass, struct err *err)
{
	struct taking t;

	empty(pass);
	if (!admit_has_attempt_limits(snapshot))
		return 0;
	begin(&t, board, snapshot, ask);
	if (gather(&t, board, true, err) != 0)
		return -1;
	if (t.count == 0)
		return 0;
	return take_all(store, board, &t,
		&(struct taker){ false, NULL, exchange, note, note_bytes }, pass, err);
}

int
admit_would(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_ask *ask, bool by_attempt, struct admit_view *view, struct err *err)
{
	struct taking t;
	struct admit_pass pass;
	struct taker nobody = { .only_asks = true, .repeat = by_attempt ? NULL : ask->repeat };
	int rc;

	empty(&pass);
	memset(view, 0, sizeof *view);
	view->refuses = -1;
	begin(&t, board, snapshot, ask);
	if (gather(&t, board, by_attempt, err) != 0)
		return -1;
	rc = t.count == 0 && nobody.repeat == NULL
		     ? 0
		     : take_all(store, board, &t, &nobody, &pass, err);
	view->count = t.count;
	for (int i = 0; i < t.count; i++) {
		const struct board_claim *c = &t.claim[i];

		/* a counter nobody used yet is not on the board: then its past is what it was seeded with */
		if (board_peek(board, c->key, c->rolling_ms, &view->spent[i], &view->reserved[i]) ==
			0)
			view->spent[i] = c->seed;
		view->hold[i] = hold_of(&t, i, money_add(view->spent[i], view->reserved[i]));
		if (rc != 0 && pass.count > 0 &&
			id_equal(pass.hold[0].limit, view->hold[i].limit) &&
			pass.hold[0].metric == view->hold[i].metric && view->refuses < 0)
			view->refuses = i;
	}
	return rc;
}
