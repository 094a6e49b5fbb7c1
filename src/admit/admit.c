/*
 * admit.c - a request without a token of ours learns nothing: whatever is wrong with a secret, the
 * answer is the same until the secret is known.
 */
#include "admit/admit.h"

#include "base/clock.h"
#include "base/money.h"
#include "store/window.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEED_ROUNDS (BOARD_CLAIMS_MAX + 1) /* each round seeds one counter */

void
admit_add_secret(struct admit_secrets *s, struct span value)
{
	static const char scheme[] = "bearer";
	const size_t len = sizeof scheme - 1;

	/* the scheme alone is what an SDK without a key sends */
	if (value.len >= len && span_is_nocase((struct span){ value.at, len }, scheme) &&
		(value.len == len || value.at[len] == ' ')) {
		value.at += len;
		value.len -= len;
	}
	while (value.len > 0 && value.at[0] == ' ') {
		value.at++;
		value.len--;
	}
	while (value.len > 0 && value.at[value.len - 1] == ' ')
		value.len--;
	if (value.len == 0 || value.len >= ADMIT_SECRET_BYTES || s->count == ADMIT_SECRETS_MAX)
		return;
	for (int i = 0; i < s->count; i++)
		if (span_is(value, s->text[i]))
			return;
	span_copy(value, s->text[s->count++], ADMIT_SECRET_BYTES);
}

int
admit_identify(struct store *store, const struct admit_secrets *secrets,
	struct admit_caller *caller, bool *known, struct err *err)
{
	bool mistyped = false;
	int found = 0;

	*known = false;
	if (secrets->count == 0)
		return err_set(err, ERR_MISSING_TOKEN, "no credential in the request");
	for (int i = 0; i < secrets->count; i++) {
		const char *text = secrets->text[i];
		uint8_t sha[SHA256_BYTES];
		struct token token;
		int rc;

		if (token_mistyped(text, strlen(text))) {
			mistyped = true;
			continue;
		}
		hash_sha256(text, strlen(text), sha);
		rc = store_token_by_hash(store, sha, &token, err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			continue;
		if (found++ > 0) {
			err_set(err, ERR_BAD_REQUEST, "two different tokens in one request");
			return err_say(err, "The request carries two different tokens; send one.");
		}
		caller->token = token;
		caller->is_old_secret = rc == STORE_OLD_SECRET;
	}
	if (found == 0) {
		err_set(err, ERR_INVALID_TOKEN,
			mistyped ? "checksum of the token does not fit" : "unknown token");
		if (mistyped)
			err_say(err, "This token has a typing error or was cut; copy it again.");
		return -1;
	}
	*known = true;
	switch (store_get(store, RECORD_PROJECT, caller->token.project, &caller->project, err)) {
	case 1:
		return 0;
	case 0:
		return err_set(
			err, ERR_PROJECT_INACTIVE, "the token's project is not in the store");
	default:
		return -1;
	}
}

/* ---- limits ---- */

/* The counters one request takes from, beside the limits they come from (NULL: max_requests). */
struct taking {
	int count;
	struct board_claim claim[BOARD_CLAIMS_MAX];
	const struct limit *limit[BOARD_CLAIMS_MAX];
	int32_t metric[BOARD_CLAIMS_MAX];
	int64_t start_ms[BOARD_CLAIMS_MAX]; /* of the window */
};

static int64_t
need_of(int32_t metric, const struct admit_need *need)
{
	switch ((enum limit_metric)metric) {
	case METRIC_REQUESTS:
	case METRIC_PARALLEL:
		return 1;
	case METRIC_INPUT_TOKENS:
		return need->input_tokens;
	case METRIC_OUTPUT_TOKENS:
		return need->output_tokens;
	case METRIC_TOKENS:
		return money_add(need->input_tokens, need->output_tokens);
	case METRIC_COST:
		return need->cost_nusd == COST_UNKNOWN ? 0 : need->cost_nusd;
	}
	return 0;
}

static struct board_claim *
take(struct taking *t, const struct limit *l, int32_t metric, const struct admit_need *need)
{
	t->limit[t->count] = l;
	t->metric[t->count] = metric;
	t->claim[t->count] = (struct board_claim){ .amount = need_of(metric, need) };
	return &t->claim[t->count++];
}

/* Where a limit speaks of the request, its counter is claimed. */
static int
gather(struct taking *t, const struct snapshot *snapshot, const struct admit_caller *caller,
	const struct limit_values *values, const struct admit_need *need, int64_t now_ms,
	struct err *err)
{
	t->count = 0;
	if (caller->token.max_requests > 0) {
		struct board_claim *c = take(t, NULL, METRIC_REQUESTS, need);

		c->cap = caller->token.max_requests;
		c->window_end_ms = WINDOW_FOREVER;
		token_counter_key(caller->token.head.id, c->key);
	}
	for (size_t i = 0; i < snapshot->limit_count; i++) {
		const struct limit *l = &snapshot->limits[i];
		struct board_claim *c;

		if (!limit_applies(l, values))
			continue;
		if (t->count == BOARD_CLAIMS_MAX)
			return err_set(err, ERR_OVERLOADED, "more than %d limits bind one request",
				BOARD_CLAIMS_MAX);
		c = take(t, l, l->metric, need);
		c->cap = l->mode == LIMIT_HARD ? l->cap : INT64_MAX;
		if (l->metric == METRIC_PARALLEL) /* has no window: what runs, runs */
			c->window_end_ms = WINDOW_FOREVER;
		else
			window_bounds((enum limit_window)l->window, now_ms, &c->window_start_ms,
				&c->window_end_ms);
		t->start_ms[t->count - 1] = c->window_start_ms;
		limit_counter_key(l, values, c->window_start_ms, c->key);
		/* what was used before the limit was made counts: as old as time, the board asks */
		if (limit_has_past(l, c->window_start_ms))
			c->window_start_ms = 0;
		c->seeded = l->metric == METRIC_PARALLEL;
	}
	return 0;
}

/* What the store's rows say that counter has used, for a board that does not know it: to the
 * window's end, since the wall clock that rows have may be ahead of the board's. */
static int
seed(struct store *store, struct taking *t, int which, const struct limit_values *values,
	struct err *err)
{
	struct board_claim *c = &t->claim[which];

	c->seeded = true;
	if (t->limit[which] == NULL) {
		struct usage_sum sum;

		if (store_usage_sum(store, BY_TOKEN, values->token, 0, WINDOW_FOREVER, &sum, err) !=
			0)
			return -1;
		c->seed = limit_metric_of(METRIC_REQUESTS, &sum);
		return 0;
	}
	return limit_booked(store, t->limit[which], values, t->start_ms[which], c->window_end_ms,
		&c->seed, err);
}

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

/* Says which limit refuses, how much of it is used, and when it frees. */
static int
refuse(const struct taking *t, const struct board_verdict *v, struct err *err)
{
	static const char *const metrics[] = { "requests", "input tokens", "output tokens",
		"tokens", "cost", "parallel requests" };
	static const char *const windows[] = { " in a minute", " in an hour", " in a day",
		" in a week", " in a month", " in total" };
	const struct board_claim *c = &t->claim[v->which];
	const struct limit *l = t->limit[v->which];
	int32_t metric = t->metric[v->which];
	int32_t window = l == NULL || metric == METRIC_PARALLEL ? WINDOW_TOTAL : l->window;
	char cap[32], used[32], want[32], when[CLOCK_TEXT_BYTES] = "", what[64];

	amount_text(metric, c->cap, cap, sizeof cap);
	amount_text(metric, money_add(v->spent, v->reserved), used, sizeof used);
	amount_text(metric, c->amount, want, sizeof want);
	snprintf(what, sizeof what, l == NULL ? "max_requests of the token" : "limit on %s%s",
		metrics[metric], metric == METRIC_PARALLEL ? "" : windows[window]);
	if (c->amount > c->cap) {
		err_set(err, ERR_EXCEEDS_LIMIT, "%s: %s wanted, cap %s", what, want, cap);
		return err_say(err,
			"This request alone may need %s, more than the %s of %s allows; make it "
			"smaller.",
			want, what, cap);
	}
	err_set(err, metric == METRIC_COST ? ERR_BUDGET_EXCEEDED : ERR_RATE_LIMITED,
		"%s: %s of %s used or held", what, used, cap);
	if (metric == METRIC_PARALLEL) {
		err->retry_at_ms = clock_wall_ms() + 1000;
		return err_say(err, "The %s is reached: %s of %s are running; wait for one to end.",
			what, used, cap);
	}
	if (c->window_end_ms == WINDOW_FOREVER)
		return err_say(err, "The %s is reached: %s of %s are used; it does not reset.",
			what, used, cap);
	err->retry_at_ms = c->window_end_ms;
	clock_rfc3339(c->window_end_ms, when);
	return err_say(err, "The %s is reached: %s of %s are used or held; it resets at %s.", what,
		used, cap, when);
}

int
admit_reserve(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_caller *caller, const struct admit_need *need, struct id exchange,
	const void *note, size_t note_bytes, struct admit_pass *pass, struct err *err)
{
	char project[ID_TEXT_BYTES], token[ID_TEXT_BYTES];
	struct limit_values values = { project, token, need->model };
	struct board_verdict verdict;
	struct taking t;
	int64_t now_ms = board_now_ms(board);

	id_text("prj_", caller->project.head.id, project);
	id_text("tok_", caller->token.head.id, token);
	if (gather(&t, snapshot, caller, &values, need, now_ms, err) != 0)
		return -1;
	for (int round = 0; round < SEED_ROUNDS; round++) {
		if (board_admit(board, exchange, t.claim, t.count, NULL, note, note_bytes,
			    &pass->lease, &verdict, err) != 0)
			return -1;
		if (verdict.outcome == BOARD_REFUSED)
			return refuse(&t, &verdict, err);
		if (verdict.outcome == BOARD_TAKEN) {
			pass->count = t.count;
			for (int i = 0; i < t.count; i++)
				pass->hold[i] = (struct admit_hold){ .metric = t.metric[i],
					.cap = t.claim[i].cap,
					.used = verdict.used[i],
					.resets_ms = t.claim[i].window_end_ms };
			return 0;
		}
		if (seed(store, &t, verdict.which, &values, err) != 0)
			return -1;
	}
	return err_set(err, ERR_OVERLOADED, "the board asked for more seeds than there are claims");
}
