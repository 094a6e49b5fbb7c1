/*
 * quote.c - what would become of a request, as JSON.
 */
#include "quote/quote.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/money.h"
#include "board/waiter.h"
#include "route/record.h"
#include "store/limits.h"

#include <inttypes.h>
#include <string.h>

/* ---- would it be let in ---- */

/* Have candidates room by the limits that name them?  true: one has.  full: one has not because of the
 * calls it has running; err: why the last one has none. */
static bool
ask_candidates(struct quote *q, bool *full, struct err *err)
{
	struct admit_ask ask = *q->ask;
	struct admit_view view;
	bool any = false;

	*full = false;
	if (!admit_has_attempt_limits(q->snapshot))
		return true;
	for (int i = q->first; i < q->plan->count; i++) {
		const struct route_candidate *c = &q->plan->candidate[i];
		struct err why = { 0 };

		ask.upstream = c->upstream->head.id;
		ask.key = c->key == NULL ? ID_NONE : c->key->id;
		if (admit_would(q->store, q->board, q->snapshot, &ask, true, &view, &why) == 0) {
			any = true;
			continue;
		}
		q->refused[i] = arena_strdup(q->arena, err_public(&why));
		*full |= view.refuses >= 0 && view.hold[view.refuses].of_target;
		*err = why;
	}
	return any;
}

int
quote_limits(struct quote *q)
{
	struct err last = { 0 };
	bool full;

	q->reached_limits = true;
	if (admit_would(q->store, q->board, q->snapshot, q->ask, false, &q->view, &q->err) != 0)
		return -1;
	if (!q->nobody && !ask_candidates(q, &full, &last)) {
		if (!full || q->line.most == 0) {
			q->err = last;
			return -1;
		}
		q->waits = true;
	}
	q->waits |= q->nobody || (q->line.most > 0 && board_waits(q->board, q->line.pool));
	if (!q->waits)
		return 0;
	q->ahead = board_wait_count(q->board, q->line.pool);
	return q->ahead < q->line.most ? 0
				       : quote_refuse_full(q->board, q->plan, &q->line, &q->err);
}

/* ---- members; each begins with its comma where one is due ---- */

static void
put_name(struct bytes *out, const char *name)
{
	if (out->len > 0 && out->at[out->len - 1] != '{' && out->at[out->len - 1] != '[')
		bytes_puts(out, ",");
	bytes_printf(out, "\"%s\":", name);
}

static void
put_text(struct bytes *out, const char *name, struct span text)
{
	put_name(out, name);
	if (text.len == 0)
		bytes_puts(out, "null");
	else
		bytes_json(out, text);
}

static void
put_int(struct bytes *out, const char *name, int64_t value)
{
	put_name(out, name);
	bytes_printf(out, "%" PRId64, value);
}

static void
put_bool(struct bytes *out, const char *name, bool value)
{
	put_name(out, name);
	bytes_puts(out, value ? "true" : "false");
}

static void
put_money(struct bytes *out, const char *name, int64_t nusd)
{
	char text[MONEY_TEXT_BYTES];

	put_name(out, name);
	if (nusd == COST_UNKNOWN) {
		bytes_puts(out, "null");
		return;
	}
	money_text(nusd, text);
	bytes_json(out, span_of(text));
}

static void
put_id(struct bytes *out, const char *name, const char *prefix, struct id id)
{
	char text[ID_TEXT_BYTES];

	id_text(prefix, id, text);
	put_text(out, name, span_of(text));
}

/* Of a board time; WINDOW_FOREVER and 0: null. */
static void
put_time(struct quote *q, struct bytes *out, const char *name, int64_t board_ms)
{
	char text[CLOCK_TEXT_BYTES] = "";

	if (board_ms > 0 && board_ms != WINDOW_FOREVER) /* as refusals tell it */
		clock_rfc3339(
			(clock_wall_ms() + board_wait_ms(q->board, board_ms) + 500) / 1000 * 1000,
			text);
	put_text(out, name, span_of(text));
}

/* ---- limits ---- */

static void
put_amount(struct bytes *out, const char *name, int32_t metric, int64_t amount)
{
	if (amount == INT64_MAX) {
		put_text(out, name, SPAN_NONE);
	} else if (metric == METRIC_COST) {
		put_money(out, name, amount);
	} else {
		put_int(out, name, amount);
	}
}

static void
put_limit(struct quote *q, struct bytes *out, int i)
{
	static const char *const metrics[] = { "requests", "input_tokens", "output_tokens",
		"tokens", "cost", "parallel" };
	const struct admit_hold *h = &q->view.hold[i];
	int64_t left = h->cap == INT64_MAX ? INT64_MAX : h->used < h->cap ? h->cap - h->used : 0;

	bytes_puts(out, i > 0 ? ",{" : "{");
	put_id(out, "limit_id", "lim_", h->limit); /* null: max_requests of the token */
	put_text(out, "metric", span_of(metrics[h->metric]));
	put_bool(out, "is_hard", h->is_hard);
	put_amount(out, "cap", h->metric, h->cap);
	put_amount(out, "used", h->metric, q->view.spent[i]);
	put_amount(out, "reserved", h->metric, q->view.reserved[i]);
	put_amount(out, "remaining", h->metric, left);
	put_amount(out, "takes", h->metric, h->amount);
	put_time(q, out, "resets", h->resets_ms);
	put_bool(out, "refuses", q->view.refuses == i);
	bytes_puts(out, "}");
}

static void
put_limits(struct quote *q, struct bytes *out)
{
	put_name(out, "limits");
	bytes_puts(out, "[");
	for (int i = 0; q->reached_limits && i < q->view.count; i++)
		put_limit(q, out, i);
	bytes_puts(out, "]");
}

/* ---- candidates ---- */

static void
put_costs(struct quote *q, struct bytes *out, int i)
{
	const struct admit_need *n = &q->ask->need;

	put_money(out, "worst_cost",
		quote_cost(&q->price[i], q->size, n->input_tokens, n->output_tokens));
	put_money(out, "usual_cost",
		quote_cost(&q->price[i], q->size, n->input_tokens,
			n->usual_output > 0 ? n->usual_output : n->output_tokens));
}

static void
put_candidate(struct quote *q, struct bytes *out, int i)
{
	const struct route_candidate *c = &q->plan->candidate[i];
	const char *lost;

	put_id(out, "upstream_id", "up_", c->upstream->head.id);
	put_text(out, "upstream", span_of(c->upstream->name));
	put_id(out, "key_id", "key_", c->key == NULL ? ID_NONE : c->key->id);
	if (!q->for_client)
		put_text(out, "key_label", c->key == NULL ? SPAN_NONE : span_of(c->key->label));
	put_text(out, "model", c->model);
	put_int(out, "stage", c->stage);
	put_bool(out, "probe", c->is_probe);
	if (q->price != NULL)
		put_costs(q, out, i);
	if (q->refused[i] != NULL)
		put_text(out, "refused_by", span_of(q->refused[i]));
	if (q->lost != NULL && (lost = q->lost(q->ctx, c)) != NULL) {
		put_name(out, "dropped");
		bytes_json(out, span_of(lost));
	}
}

static void
put_candidates(struct quote *q, struct bytes *out)
{
	put_name(out, "candidates");
	bytes_puts(out, "[");
	for (int i = q->first; i < q->plan->count; i++) {
		bytes_puts(out, i > q->first ? ",{" : "{");
		put_candidate(q, out, i);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "]");
}

static const char *
name_of_upstream(const struct quote *q, struct id id)
{
	const struct upstream *u = snapshot_upstream(q->snapshot, id);

	return u == NULL ? "" : u->name;
}

static const char *
label_of_key(const struct quote *q, struct id id)
{
	for (size_t i = 0; i < q->snapshot->key_count; i++)
		if (id_equal(q->snapshot->keys[i].id, id))
			return q->snapshot->keys[i].label;
	return "";
}

/* Those who would not be asked, and why. */
static void
put_others(struct quote *q, struct bytes *out)
{
	const struct route_record *r = &q->plan->record;
	bool any = false;

	put_name(out, "others");
	bytes_puts(out, "[");
	for (int i = 0; i < r->member_count; i++) {
		const struct route_member *m = &r->member[i];

		if (m->reason == REASON_CHOSEN || m->reason == REASON_NEXT)
			continue;
		bytes_puts(out, any ? ",{" : "{");
		put_id(out, "upstream_id", "up_", m->upstream);
		put_text(out, "upstream", span_of(name_of_upstream(q, m->upstream)));
		put_id(out, "key_id", "key_", m->key);
		if (!q->for_client)
			put_text(out, "key_label", span_of(label_of_key(q, m->key)));
		put_text(out, "reason", span_of(route_reason_name((enum route_reason)m->reason)));
		put_time(q, out, "until", m->until_ms);
		bytes_puts(out, "}");
		any = true;
	}
	bytes_puts(out, "]");
	put_name(out, "counts");
	bytes_puts(out, "{");
	for (int i = 0; i < ROUTE__REASONS; i++)
		if (r->out[i] > 0)
			put_int(out, route_reason_name((enum route_reason)i), r->out[i]);
	bytes_puts(out, "}");
}

/* ---- all of it ---- */

/* null: it would not wait. */
static void
put_queue(struct quote *q, struct bytes *out)
{
	int64_t turn_ms = board_wait_forecast_ms(q->board, q->line.pool, q->ahead);

	put_name(out, "queue");
	if (!q->waits) {
		bytes_puts(out, "null");
		return;
	}
	bytes_puts(out, "{");
	put_int(out, "ahead", q->ahead);
	put_int(out, "most", q->line.most);
	put_int(out, "may_wait_ms", q->line.wait_ms);
	put_amount(out, "turn_in_ms", METRIC_REQUESTS, turn_ms > 0 ? turn_ms : INT64_MAX);
	bytes_puts(out, "}");
}

static void
put_refusal(struct quote *q, struct bytes *out)
{
	int64_t wait_ms = q->err.retry_boot_ms - clock_boot_ms();
	char when[CLOCK_TEXT_BYTES];

	put_name(out, "error");
	bytes_puts(out, "{");
	put_text(out, "code", span_of(err_name(q->err.code)));
	put_text(out, "message", span_of(err_public(&q->err)));
	put_int(out, "status", err_status(q->err.code));
	bytes_puts(out, "}");
	if (q->err.retry_boot_ms == 0) {
		put_text(out, "may_go", SPAN_NONE);
		put_text(out, "retry_after", SPAN_NONE);
		return;
	}
	wait_ms = wait_ms < 0 ? 0 : wait_ms;
	clock_rfc3339((clock_wall_ms() + wait_ms + 500) / 1000 * 1000, when);
	put_text(out, "may_go", span_of(when));
	put_int(out, "retry_after", (wait_ms + 999) / 1000);
}

static const struct policy *
policy_of(const struct quote *q, struct id id)
{
	for (size_t i = 0; i < q->snapshot->policy_count; i++)
		if (id_equal(q->snapshot->policies[i].head.id, id))
			return &q->snapshot->policies[i];
	return NULL;
}

static void
put_route(struct quote *q, struct bytes *out)
{
	const struct route *r = q->plan->route;
	const struct route_record *record = &q->plan->record;

	put_id(out, "route_id", "rt_", r == NULL ? ID_NONE : r->head.id);
	put_text(out, "route", r == NULL ? SPAN_NONE : span_of(r->name));
	put_name(out, "policies");
	bytes_puts(out, "[");
	for (int i = 0; i < record->policy_count; i++) {
		const struct policy *p = policy_of(q, record->policy[i]);

		bytes_puts(out, i > 0 ? "," : "");
		bytes_json(out, span_of(p == NULL ? "" : p->name));
	}
	bytes_puts(out, "]");
}

int
quote_put(struct quote *q, struct bytes *out)
{
	const struct admit_need *n = &q->ask->need;
	bool admitted = q->err.code == ERR_NONE;

	bytes_puts(out, "{");
	put_text(out, "object", span_of("sluice.quote"));
	put_bool(out, "would_admit", admitted);
	if (!admitted)
		put_refusal(q, out);
	put_text(out, "model", span_of(q->size->model));
	put_int(out, "input_tokens", q->size->input_tokens);
	put_int(out, "output_tokens", n->output_tokens);
	if (q->price != NULL && q->plan->count > q->first) {
		put_money(out, "worst_cost", n->cost_nusd);
		put_money(
			out, "usual_cost", n->usual_output > 0 ? n->usual_cost_nusd : n->cost_nusd);
	}
	put_queue(q, out);
	put_route(q, out);
	put_candidates(q, out);
	put_others(q, out);
	put_limits(q, out);
	bytes_puts(out, "}");
	return out->failed ? -1 : 0;
}
