/*
 * queue.c - QUEUE: a request waits until one of those who could serve it is free.
 *
 * Its place is on the board (board/waiter.h), so turns go by weight of project over all processes.  The
 * loop looks every few milliseconds, while anybody waits, whether one of its own is the first of its
 * line: that one is planned anew, and goes on as if it had just come.  Whom it may call is still decided
 * by the claims of the attempt, which are exact: when those refuse it waits on, in its place.
 *
 * All that share the cap of one upstream wait in one line, whatever their models are; else those wait
 * together who choose among the same (route_plan.pool).
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"
#include "board/waiter.h"

#include <inttypes.h>
#include <string.h>

#define POLL_NEAR_MS   2  /* one of ours is among the next */
#define POLL_FAR_MS    10 /* to be much less than BOARD_WAIT_BEAT_MS */
#define REPLAN_MS      10 /* while all that the plan found rest */
#define RETRY_LEAST_MS 1000

static int64_t
queue_most(const struct exchange *x)
{
	return x->plan.queue_most >= 0 ? x->plan.queue_most : x->gw->conf.queue_most;
}

int64_t
queue_wait_ms(const struct exchange *x)
{
	return x->plan.queue_wait_ms >= 0 ? x->plan.queue_wait_ms : x->gw->conf.queue_wait_ms;
}

static struct id
pool_of(const struct exchange *x)
{
	const struct route_plan *p = &x->plan;
	const struct upstream *u = p->count > 0 ? p->candidate[0].upstream : NULL;

	for (int i = 1; i < p->count && u != NULL; i++)
		if (p->candidate[i].upstream != u)
			u = NULL;
	return u != NULL && u->max_parallel > 0 ? u->head.id : p->pool;
}

bool
queue_makes_sense(const struct exchange *x, const struct err *why)
{
	struct board *b = x->gw->board;

	if (why->code != ERR_NO_KEY_AVAILABLE || x->plan.count == 0 || queue_most(x) == 0)
		return false;
	return x->plan.may_free ||
	       (x->plan.wakes_ms > 0 && board_wait_ms(b, x->plan.wakes_ms) <= queue_wait_ms(x));
}

bool
queue_must(const struct exchange *x)
{
	const struct waiting *w = &x->waiting;

	if (w->place.serial != 0 || w->over)
		return w->place.serial != 0 && !w->trying;
	if (w->nobody)
		return true;
	return x->tries == 0 && x->candidate == 0 && x->may == CANDIDATE_NEW && queue_most(x) > 0 &&
	       board_waits(x->gw->board, pool_of(x));
}

bool
queue_may(const struct exchange *x)
{
	const struct waiting *w = &x->waiting;

	/* nobody refused it, but all have begun to rest since: the next plan tells for how long */
	bool rest = x->plan.count > 0 && x->err.code == ERR_NONE;

	return (w->was_full || rest) && x->tries == 0 && !x->gone && !x->cut && !w->over &&
	       queue_most(x) > 0;
}

/* ---- coming and going ---- */

static void
link_waiter(struct exchange *x)
{
	struct gateway *gw = x->gw;

	x->waiting.next = gw->waiters;
	x->waiting.prev = NULL;
	if (gw->waiters != NULL)
		gw->waiters->waiting.prev = x;
	gw->waiters = x;
}

static void
unlink_waiter(struct exchange *x)
{
	struct waiting *w = &x->waiting;

	if (w->prev != NULL)
		w->prev->waiting.next = w->next;
	else
		x->gw->waiters = w->next;
	if (w->next != NULL)
		w->next->waiting.prev = w->prev;
	w->next = w->prev = NULL;
}

static void
leave(struct exchange *x, bool served)
{
	struct waiting *w = &x->waiting;
	int64_t waited_us;

	if (w->place.serial == 0)
		return;
	board_wait_end(x->gw->board, w->place, served);
	unlink_waiter(x);
	w->place.serial = 0;
	w->over = true;
	waited_us = clock_mono_us() - w->since_us;
	w->us = waited_us;
	x->plan.record.queued_ms = (uint32_t)(waited_us / 1000);
	board_count(x->gw->board, COUNT_QUEUED, 1);
	board_count(x->gw->board, COUNT_QUEUED_MS, waited_us / 1000);
	queue_nudge(x->gw);
}

void
queue_served(struct exchange *x)
{
	leave(x, true);
}

void
queue_leave(struct exchange *x)
{
	leave(x, false);
}

/* How long a client is told to wait before it comes again. */
static int64_t
forecast_ms(const struct exchange *x, int64_t ahead)
{
	struct board *b = x->gw->board;
	int64_t turn_ms = board_wait_forecast_ms(b, x->waiting.pool, ahead), wakes_ms = 0;

	if (!x->plan.may_free && x->plan.wakes_ms > 0)
		wakes_ms = board_wait_ms(b, x->plan.wakes_ms);
	if (turn_ms < wakes_ms)
		turn_ms = wakes_ms;
	return turn_ms < RETRY_LEAST_MS ? RETRY_LEAST_MS : turn_ms;
}

/* It gets no turn; err tells why. */
static void
give_up(struct exchange *x, int64_t ahead)
{
	int64_t retry_ms = forecast_ms(x, ahead);

	queue_leave(x);
	x->waiting.over = true;
	if (x->err.retry_boot_ms == 0)
		x->err.retry_boot_ms = clock_boot_ms() + retry_ms;
	x->attempt_err = x->err; /* nobody was asked: it was refused */
	x->candidate = x->plan.count;
}

static int
join(struct exchange *x)
{
	struct waiting *w = &x->waiting;
	struct board *b = x->gw->board;
	int64_t most = queue_most(x);
	struct board_wait_ask ask = { .project = x->caller.project.head.id,
		.exchange = x->id,
		.weight = x->caller.project.weight,
		.most = most };

	if (w->since_us == 0) {
		w->pool = pool_of(x);
		w->since_us = clock_mono_us();
		w->until_us = w->since_us + queue_wait_ms(x) * 1000;
	}
	ask.pool = w->pool;
	ask.until_ms = board_now_ms(b) + (w->until_us - clock_mono_us()) / 1000 + POLL_FAR_MS;
	if (board_wait(b, &ask, &w->place) == 0) {
		link_waiter(x);
		queue_nudge(x->gw);
		return 0;
	}
	err_set(&x->err, ERR_OVERLOADED, "%" PRId64 " requests wait already", most);
	err_say(&x->err,
		"All that could serve this request are busy, and %" PRId64
		" others wait for them already; try again later.",
		board_wait_count(b, w->pool));
	board_count(b, COUNT_QUEUE_REFUSED, 1);
	give_up(x, board_wait_count(b, w->pool));
	return -1;
}

static void
too_late(struct exchange *x)
{
	struct err last = x->attempt_err;

	/* where a limit has refused since, that is the reason */
	if (last.code != ERR_NONE && last.code != ERR_NO_KEY_AVAILABLE) {
		x->err = last;
		queue_leave(x);
		return;
	}
	err_set(&x->err, ERR_OVERLOADED, "no turn within %" PRId64 " ms%s%s", queue_wait_ms(x),
		last.code == ERR_NONE ? "" : ": ", last.text);
	err_say(&x->err,
		"All that could serve this request were busy for the %" PRId64
		" s that it may wait; try again later.",
		(queue_wait_ms(x) + 999) / 1000);
	give_up(x, 0);
}

/* ---- a turn ---- */

/* Finds anew whom to ask, within what was reserved.  False: nobody, x->attempt_err tells why. */
static bool
plan_again(struct exchange *x)
{
	memset(&x->attempt_err, 0, sizeof x->attempt_err);
	x->waiting.replan_us = 0;
	if (admission_plan(x, true, &x->attempt_err) == 0)
		return true;
	if (!x->plan.may_free)
		x->waiting.replan_us = clock_mono_us() + REPLAN_MS * 1000;
	return false;
}

enum exchange_state
queue_step(struct exchange *x)
{
	struct waiting *w = &x->waiting;

	if (x->gone || x->cut) {
		queue_leave(x);
		err_set(&x->err, x->cut ? ERR_CUT : ERR_CLIENT_GONE,
			x->cut ? "cut by the operator" : "the client left while it waited");
		return EX_SETTLE;
	}
	if (w->place.serial == 0 && join(x) != 0)
		return EX_SETTLE;
	if (clock_mono_us() >= w->until_us) {
		too_late(x);
		return EX_SETTLE;
	}
	w->trying = false;
	if (!w->turn)
		return EX_QUEUE;
	w->turn = false;
	if (!plan_again(x)) {
		if (x->plan.count == 0 || queue_makes_sense(x, &x->attempt_err))
			return EX_QUEUE;
		x->err = x->attempt_err; /* all rest for longer than it may wait */
		give_up(x, 0);
		return EX_SETTLE;
	}
	memset(&x->err, 0, sizeof x->err);
	x->candidate = 0;
	w->was_full = w->nobody = false;
	w->trying = true;
	return EX_ROUTE;
}

/* ---- looking who is next ---- */

/* How many may try at once: as many as have room, where the calls under way are known. */
static int
room_of(const struct exchange *x)
{
	int64_t room = 0;

	for (int i = 0; i < x->plan.count; i++) {
		const struct route_candidate *c = &x->plan.candidate[i];
		int64_t cap = c->upstream->max_parallel, runs;

		if (cap <= 0 || c->target_upstream == NULL ||
			(i > 0 && x->plan.candidate[i - 1].upstream == c->upstream))
			continue;
		runs = atomic_load_explicit(&c->target_upstream->inflight, memory_order_relaxed);
		if (runs > 0 && runs < cap)
			room += cap - runs;
	}
	return room < 1 ? 1 : room > BOARD_WAIT_FIRST ? BOARD_WAIT_FIRST : (int)room;
}

static struct exchange *
waiter_at(struct gateway *gw, struct board_waiter place)
{
	for (struct exchange *x = gw->waiters; x != NULL; x = x->waiting.next)
		if (x->waiting.place.slot == place.slot && x->waiting.place.serial == place.serial)
			return x;
	return NULL;
}

/* One line: those of ours whose turn it is.  True when one of ours is near. */
static bool
look_at_pool(struct gateway *gw, const struct exchange *of, struct id pool)
{
	struct board_waiter next[BOARD_WAIT_FIRST];
	int count = board_wait_order(gw->board, pool, next, room_of(of));
	bool near = false;

	for (int i = 0; i < count; i++) {
		struct exchange *x = waiter_at(gw, next[i]);

		if (x == NULL)
			continue;
		near = true;
		if (!x->waiting.trying && clock_mono_us() >= x->waiting.replan_us)
			x->waiting.turn = true;
	}
	return near;
}

/* Something is to be done with it now. */
static bool
is_due(struct exchange *x)
{
	struct waiting *w = &x->waiting;

	if (w->trying)
		return false;
	if (board_is_cut(x->gw->board, x->pass.lease))
		x->cut = true;
	if (!board_wait_beat(x->gw->board, w->place)) { /* its place was lost: it takes another */
		unlink_waiter(x);
		w->place.serial = 0;
		return true;
	}
	return x->gone || x->cut || w->turn || clock_mono_us() >= w->until_us;
}

static bool
look(struct gateway *gw)
{
	bool near = false;

	for (struct exchange *x = gw->waiters; x != NULL; x = x->waiting.next) {
		struct exchange *y = gw->waiters;

		/* one look for each line: the first of ours in it */
		while (!id_equal(y->waiting.pool, x->waiting.pool))
			y = y->waiting.next;
		if (y == x && look_at_pool(gw, x, x->waiting.pool))
			near = true;
	}
	return near;
}

static void
on_poll(uv_timer_t *timer)
{
	struct gateway *gw = timer->data;
	bool near = look(gw);
	struct exchange *next;

	for (struct exchange *x = gw->waiters; x != NULL; x = next) {
		next = x->waiting.next; /* running one ends that one alone */
		if (is_due(x))
			exchange_run(x);
	}
	if (gw->waiters != NULL && !uv_is_active((uv_handle_t *)timer))
		uv_timer_start(timer, on_poll, near ? POLL_NEAR_MS : POLL_FAR_MS, 0);
}

void
queue_nudge(struct gateway *gw)
{
	if (gw->waiters != NULL && !uv_is_closing((uv_handle_t *)&gw->queue_timer))
		uv_timer_start(&gw->queue_timer, on_poll, 0, 0);
}

void
queue_init(struct gateway *gw)
{
	uv_timer_init(&gw->loop, &gw->queue_timer);
	gw->queue_timer.data = gw;
}

void
queue_close(struct gateway *gw)
{
	uv_close((uv_handle_t *)&gw->queue_timer, NULL);
}
