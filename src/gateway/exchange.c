/*
 * exchange.c - one request's way through the rooms.
 *
 * An exchange has one owner at a time.  An intake thread owns it through ADMIT, then the loop.
 * Between those two it lies in the gateway's inbox.  While it waits for the ledger the loop still
 * owns it; the ledger owns the item alone.
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define X(name, next) #name,
	EXCHANGE_STATES(X)
#undef X
};

static const unsigned allowed[] = {
#define X(name, next) (next),
	EXCHANGE_STATES(X)
#undef X
};

/* The only place that writes x->state. */
static void
enter(struct exchange *x, enum exchange_state next)
{
	assert((allowed[x->state] & 1u << next) != 0);
	log_request(LOG_DEBUG, "state", x->request_id, "%s -> %s", names[x->state], names[next]);
	x->state = next;
}

/* ---- on an intake thread ---- */

static void
exchange_free(void *object)
{
	struct exchange *x = object;

	walk_release(x);
	queue_leave(x);
	pause_leave(x);
	guard_end(x);
	signed_forget(x);
	passage_free(&x->passage);
	bytes_free(&x->answer);
	bytes_free(&x->held);
	bytes_free(&x->quote);
	bytes_free(&x->early);
	snapshot_drop(x->snapshot);
	free(x->item);
	arena_free(x->arena);
	free(x);
}

static struct exchange *
exchange_new(struct gateway *gw, struct web_request *r, const struct endpoint_match *m)
{
	struct exchange *x = calloc(1, sizeof *x);

	if (x == NULL)
		return NULL;
	x->arena = arena_new(EXCHANGE_ARENA_BYTES + BODY_COPIES * (size_t)web_body_bytes(r));
	if (x->arena == NULL) {
		free(x);
		return NULL;
	}
	x->gw = gw;
	x->request = r;
	x->match = *m;
	endpoint_plain_path(m, x->plain_path, sizeof x->plain_path);
	x->began_us = clock_mono_us();
	x->id = id_timed(clock_wall_ms());
	id_text("req_", x->id, x->request_id);
	x->answer = BYTES_LIMIT(ANSWER_HOLD_BYTES);
	x->held = BYTES_LIMIT(HELD_BYTES);
	x->early = BYTES_LIMIT(EARLY_BYTES);
	return x;
}

void
exchange_admit(struct exchange *x)
{
	enum exchange_state next;

	store_working(x->gw->store, x);
	if (admission_run(x) == 0)
		next = x->match.kind == ENDPOINT_FORWARD ? EX_ROUTE : EX_DONE;
	else
		next = x->known && x->match.kind == ENDPOINT_FORWARD ? EX_SETTLE : EX_DONE;
	store_working(x->gw->store, NULL);
	x->admitted_us = clock_mono_us();
	if (next != EX_DONE && x->is_dry)
		next = EX_DONE;
	else
		x->is_dry = false; /* there is nothing to be quoted */
	enter(x, next);
	if (next != EX_DONE) {
		gateway_to_loop(x); /* not ours any more */
		return;
	}
	if (x->is_dry)
		dry_answer(x);
	else
		answer_now(x);
	exchange_free(x);
}

void
exchange_on_request(void *ctx, struct web_request *r)
{
	struct gateway *gw = ctx;
	struct endpoint_match m = { 0 };
	struct exchange *x;
	int found = endpoint_find(web_method(r), web_path(r), gw->conf.proxy_prefix, &m);

	endpoint_see_version(&m, web_header(r, "anthropic-version"));
	board_count(gw->board, COUNT_EXCHANGES, 1);
	board_count(gw->board, COUNT_BYTES_IN, web_body_bytes(r));
	if (found != 200 || strcmp(web_method(r), "OPTIONS") == 0 || m.kind >= ENDPOINT_HEALTH ||
		(x = exchange_new(gw, r, &m)) == NULL) {
		answer_plain(gw, r, found, &m);
		return;
	}
	enter(x, EX_ADMIT);
	exchange_admit(x);
}

/* ---- on the loop ---- */

static void
link_open(struct exchange *x)
{
	x->next = x->gw->open;
	if (x->next != NULL)
		x->next->prev = x;
	x->gw->open = x;
}

static void
unlink_open(struct exchange *x)
{
	if (x->prev != NULL)
		x->prev->next = x->next;
	else
		x->gw->open = x->next;
	if (x->next != NULL)
		x->next->prev = x->prev;
}

static void
on_room(void *ctx)
{
	struct exchange *x = ctx;

	x->full = false;
	if (x->call != NULL)
		forward_resume(x->call);
}

/* How long the provider is still listened to; 0: not at all. */
static int64_t
drain_ms(const struct exchange *x)
{
	const char *own[] = { x->caller.project.disconnect,
		x->plan.route == NULL ? "" : x->plan.route->disconnect };
	int64_t ms;

	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		if (own[i][0] != '\0' && conf_disconnect(own[i], &ms) == 0)
			return ms;
	return conf_disconnect(x->gw->conf.disconnect, &ms) == 0 ? ms : 0;
}

/* The provider does not charge less for an answer that nobody hears, so a project may want to hear
 * it out: then the cost is what the provider says and no estimate.  The request stays open, as its
 * body may still be on its way to the provider. */
static void
on_gone(void *ctx)
{
	struct exchange *x = ctx;
	int64_t now_ms = (int64_t)uv_now(&x->gw->loop), ms;

	if (x->gone)
		return;
	x->gone = true;
	board_count(x->gw->board, COUNT_CLIENT_GONE, 1);
	if (x->call == NULL)
		return;
	if ((ms = drain_ms(x)) == 0) {
		forward_cancel(x->call);
		return;
	}
	atomic_store_explicit(&x->note->leaving, 1, memory_order_relaxed);
	x->drain_until_ms = ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + ms;
	x->full = false;
	forward_resume(x->call);
}

/* Has the time of an exchange come whose client has left? */
static bool
has_drained(const struct exchange *x, int64_t now_ms)
{
	return now_ms >= x->drain_until_ms ||
	       (x->gw->draining && now_ms - x->gw->draining_ms >= DRAIN_STOP_MS);
}

/* Why a call that runs is to be ended now, by whoever is not its client. */
static bool
must_end(struct exchange *x, int64_t now_ms)
{
	if (board_is_cut(x->gw->board, x->pass.lease) ||
		board_is_cut(x->gw->board, x->attempt.lease))
		x->cut = true;
	return x->cut || (x->gone && has_drained(x, now_ms)) ||
	       (x->done_ms != 0 && now_ms - x->done_ms >= AFTER_DONE_MS);
}

static void
on_ended(void *ctx)
{
	struct exchange *x = ctx;

	unlink_open(x);
	exchange_free(x);
}

/* Nobody can be asked now. */
static enum exchange_state
step_nobody(struct exchange *x)
{
	candidate_release(x);
	if (x->gone)
		err_set(&x->err, ERR_CLIENT_GONE, "the client left before a provider answered");
	else if (x->tries == 0 && x->err.code == ERR_NONE) {
		err_set(&x->err, ERR_NO_KEY_AVAILABLE, "all of %d candidates rest by now",
			x->plan.count);
		if (x->plan.wakes_ms > 0)
			x->err.retry_boot_ms =
				clock_boot_ms() + board_wait_ms(x->gw->board, x->plan.wakes_ms);
	}
	return EX_SETTLE;
}

static enum exchange_state
step_route(struct exchange *x)
{
	if (queue_must(x))
		return EX_QUEUE;
	while (!x->gone && walk_has_more(x)) {
		if (x->may == CANDIDATE_NEW && (x->by_attempt || translate_may_block(x)) &&
			candidate_ask(x))
			return EX_ROUTE; /* not ours until it comes back */
		if (x->may == CANDIDATE_REFUSED) {
			x->err = x->attempt_err;
			decision_skip(
				x, x->candidate, candidate_is_full(x) ? REASON_FULL : REASON_LIMIT);
			x->waiting.was_full |= candidate_is_full(x);
		} else if (translate_request(x) != 0) {
			decision_skip(x, x->candidate, REASON_UNSUPPORTED);
		} else if (!walk_begin(x)) {
			decision_skip(x, x->candidate, REASON_RESTS);
		} else {
			memset(&x->err, 0, sizeof x->err);
			queue_served(x);
			credential_begin(x);
			return EX_CREDENTIAL;
		}
		candidate_release(x);
		walk_pass_over(x);
	}
	if (queue_may(x))
		return EX_QUEUE;
	return pause_may(x) ? EX_PAUSE : step_nobody(x);
}

/* The attempt is over, and reported. */
static enum exchange_state
after_attempt(struct exchange *x)
{
	enum exchange_state next = EX_ROUTE;

	if (x->content_sent || x->gone || x->cut || x->failure == FAILURE_NONE)
		return EX_SETTLE;
	pause_note(x);
	if (!walk_go_on(x)) {
		if (!pause_may(x))
			return EX_SETTLE;
		next = EX_PAUSE;
	}
	candidate_release(x);
	return next;
}

static enum exchange_state
step_credential(struct exchange *x)
{
	if (x->gone || x->cut) {
		credential_leave(x);
		walk_release(x);
		if (x->cut)
			err_set(&x->err, ERR_CUT, "cut by the operator");
		else
			err_set(&x->err, ERR_CLIENT_GONE,
				"the client left before a provider answered");
		return EX_SETTLE;
	}
	switch (credential_ask(x)) {
	case CREDENTIAL_WAIT:
		return EX_CREDENTIAL;
	case CREDENTIAL_READY:
		if (attempt_start(x) == 0)
			return EX_FORWARD;
		walk_pass_over(x);
		candidate_release(x);
		return EX_ROUTE;
	case CREDENTIAL_NONE:
		break;
	case CREDENTIAL_KEPT:
		judge_conclude(x);
		break;
	}
	return after_attempt(x);
}

static enum exchange_state
step_forward(struct exchange *x)
{
	if (!x->ended)
		return EX_FORWARD;
	return x->renewing ? EX_CREDENTIAL : after_attempt(x);
}

static void
make_row(struct exchange *x)
{
	struct usage_row *row = &x->row;
	int64_t now_us = clock_mono_us();

	row->attempts = (uint8_t)(x->tries > UINT8_MAX ? UINT8_MAX : x->tries);
	row->duration_ms = (uint32_t)((now_us - x->began_us) / 1000);
	row->ttfb_ms = (uint32_t)(x->first_byte_us / 1000);
	if (x->gone && x->err.code == ERR_NONE) /* it was read to its end all the same */
		err_set(&x->err, ERR_CLIENT_GONE, "the client left before the end");
	row->err_code = (uint16_t)x->err.code;
	decision_keep(x);
	losses_text(&x->out.lost, row->dropped, sizeof row->dropped);
	row->status = (uint16_t)(x->err.code == ERR_NONE || x->head_sent
					 ? x->answer_status
					 : error_status(endpoint_dialect(&x->match), x->err.code));
	if (x->err.code != ERR_NONE)
		span_copy(span_of(x->err.text), row->error, sizeof row->error);
	if (x->note == NULL) {
		row->ended_by = ENDED_REFUSED;
		return;
	}
	if (x->passage.failed)
		span_copy(span_of(x->passage.error), row->error, sizeof row->error);
	if (x->guard.stopped) {
		row->ended_by = ENDED_BUDGET;
		span_copy(
			span_of("a budget was spent in the stream"), row->error, sizeof row->error);
	} else if (x->gone || x->cut)
		row->ended_by = ENDED_CLIENT;
	else if (x->attempt_err.code != ERR_NONE && !x->sent)
		row->ended_by = ENDED_REFUSED; /* by limits of all that could be asked */
	else if (x->err.code == ERR_UPSTREAM_TIMEOUT)
		row->ended_by = ENDED_TIMEOUT;
	else if (x->err.code != ERR_NONE || x->passage.failed)
		row->ended_by = ENDED_PROVIDER;
	else
		row->ended_by = ENDED_DONE;
	spent_usage(x);
	if (row->ended_by == ENDED_DONE && row->usage_source == USAGE_REPORTED)
		admit_learn(row->token, row->model, row->tokens.output);
}

/* Hands the ledger a copy of all it needs: the exchange may be over before it is booked. */
static bool
submit(struct exchange *x)
{
	struct ledger_item *item = calloc(1, sizeof *item);

	if (item == NULL) {
		log_request(LOG_ERROR, "settle", x->request_id, "no memory; the lease stays owing");
		return false;
	}
	item->row = x->row;
	item->ctx = x;
	item->keep = signed_keep(x);
	item->may_journal = x->caller.project.fail_mode == FAIL_OPEN;
	if (x->note != NULL) {
		item->lease = x->pass.lease;
		item->count = x->pass.count;
		/* should this process die before it is booked, whoever finds the lease books the same */
		x->note->row = x->row;
		atomic_store(&x->note->complete, 1);
		settle_charge(x->note->metric, x->pass.count, &x->row, item->spent);
	}
	if (x->attempt.lease.serial != 0) {
		uint8_t metric[BOARD_CLAIMS_MAX];

		for (int i = 0; i < x->attempt.count; i++)
			metric[i] = (uint8_t)x->attempt.hold[i].metric;
		item->attempt = x->attempt.lease;
		item->attempt_count = x->attempt.count;
		settle_charge(metric, x->attempt.count, &x->row, item->attempt_spent);
	}
	x->item = item;
	x->submitted = true;
	x->submitted_ms = (int64_t)uv_now(&x->gw->loop);
	ledger_submit(x->gw->ledger, item);
	return true;
}

static enum exchange_state
step_settle(struct exchange *x)
{
	if (!x->submitted) {
		queue_leave(x);
		make_row(x);
		if (!submit(x))
			return EX_DONE;
	}
	return x->booked ? EX_DONE : EX_SETTLE;
}

static enum exchange_state
step_done(struct exchange *x)
{
	if (!x->closing) {
		x->closing = true;
		queue_nudge(x->gw); /* whom it called is free */
		answer_finish(x);   /* may end in on_ended, so x may be gone */
	}
	return EX_DONE;
}

void
exchange_run(struct exchange *x)
{
	static enum exchange_state (*const steps[EX__COUNT])(struct exchange *) = {
		[EX_ROUTE] = step_route,
		[EX_QUEUE] = queue_step,
		[EX_PAUSE] = pause_step,
		[EX_CREDENTIAL] = step_credential,
		[EX_FORWARD] = step_forward,
		[EX_SETTLE] = step_settle,
	};
	enum exchange_state next;

	if (x->prev == NULL && x->gw->open != x) { /* first time on the loop */
		struct web_events ev = { x, on_room, on_gone, on_ended };

		link_open(x);
		web_attach(x->request, &ev);
	}
	while (x->state != EX_DONE && (next = steps[x->state](x)) != x->state)
		enter(x, next);
	if (x->state == EX_DONE)
		(void)step_done(x);
}

/* NULL where there is none: a binary stream, or a JSON array. */
static const char *
heartbeat_of(const struct exchange *x)
{
	enum dialect d = endpoint_dialect(&x->match);

	if (d == DIALECT_BEDROCK || translate_to_array(x))
		return NULL;
	return d == DIALECT_ANTHROPIC ? "event: ping\ndata: {\"type\":\"ping\"}\n\n" : ": ping\n\n";
}

/* A heartbeat where a provider is silent: between events, so that it never splits one. */
static void
heartbeat(struct exchange *x, int64_t now_ms)
{
	const char *ping = heartbeat_of(x);
	int64_t wait_ms = x->head_sent ? x->gw->conf.heartbeat_ms : x->gw->conf.first_heartbeat_ms;

	if ((x->state != EX_FORWARD && x->state != EX_PAUSE) || x->gone || wait_ms <= 0 ||
		now_ms - x->wrote_ms < wait_ms || x->full || ping == NULL ||
		(!x->holding && passage_in_event(&x->passage)))
		return;
	if (!x->head_sent) {
		if (!x->ask.stream)
			return;
		x->answer_status = 200;
		span_copy(span_of("text/event-stream; charset=utf-8"), x->content_type,
			sizeof x->content_type);
		answer_stream_head(x);
	} else if (!x->is_events || x->mode == ANSWER_BYTES) {
		return;
	}
	x->full = !web_write(x->request, ping, strlen(ping));
	x->wrote_ms = now_ms;
}

void
exchange_tick(struct gateway *gw)
{
	int64_t now_ms = (int64_t)uv_now(&gw->loop);

	for (struct exchange *x = gw->open, *next; x != NULL; x = next) {
		next = x->next;
		heartbeat(x, now_ms);
		if (x->state == EX_FORWARD && x->holding && x->call != NULL)
			attempt_tick(x, now_ms);
		if (x->state == EX_FORWARD && x->call != NULL && must_end(x, now_ms))
			forward_cancel(x->call);
		if ((x->state == EX_CREDENTIAL && (must_end(x, now_ms) || credential_is_late(x))) ||
			(x->state == EX_PAUSE && (x->gone || must_end(x, now_ms)))) {
			exchange_run(x);
			continue;
		}
		if (x->state == EX_SETTLE && x->submitted && !x->booked &&
			now_ms - x->submitted_ms >= SETTLE_WAIT_MS && ledger_forget(x->item)) {
			log_request(LOG_WARN, "settle", x->request_id,
				"not booked within %d ms; the lease stays owing", SETTLE_WAIT_MS);
			x->item = NULL;
			x->booked = true;
			exchange_run(x);
		}
	}
}
