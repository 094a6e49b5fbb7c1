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

#define POLL_NEAR_MS 2  /* one of ours is among the next */
#define POLL_FAR_MS  10 /* to be much less than BOARD_WAIT_BEAT_MS */
#define REPLAN_MS    10 /* while all that the plan found rest; others may go before it */
#define TURNS_MOST   64 /* of one look */
#define ROOM_UNSURE  8  /* so many ended calls may not be booked yet */

static struct quote_line
line_of(const struct exchange *x)
{
	return quote_line(&x->plan, &x->gw->conf);
}

bool
queue_makes_sense(const struct exchange *x, const struct err *why)
{
	struct quote_line line = line_of(x);

	return quote_may_wait(x->gw->board, &x->plan, &line, why);
}

bool
queue_must(const struct exchange *x)
{
	const struct waiting *w = &x->waiting;
	struct quote_line line = line_of(x);

	if (w->place.serial != 0 || w->over)
		return w->place.serial != 0 && !w->trying;
	if (w->nobody)
		return true;
	return x->tries == 0 && x->candidate == 0 && x->may == CANDIDATE_NEW && line.most > 0 &&
	       board_waits(x->gw->board, line.pool);
}

bool
queue_may(const struct exchange *x)
{
	const struct waiting *w = &x->waiting;

	/* nobody refused it, but all have begun to rest since: the next plan tells for how long */
	bool rest = x->plan.count > 0 && x->err.code == ERR_NONE;

	return (w->was_full || rest) && x->tries == 0 && !x->gone && !x->cut && !w->over &&
	       line_of(x).most > 0;
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

/* It gets no turn; err tells why. */
static void
give_up(struct exchange *x)
{
	struct quote_line line = line_of(x);
	int64_t retry_ms = quote_turn_ms(x->gw->board, &x->plan, &line);

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
	struct quote_line line = line_of(x);
	struct board_wait_ask ask = { .project = x->caller.project.head.id,
		.exchange = x->id,
		.weight = x->caller.project.weight,
		.most = line.most };

	if (w->since_us == 0) {
		w->pool = line.pool;
		w->since_us = clock_mono_us();
		w->until_us = w->since_us + line.wait_ms * 1000;
	}
	line.pool = w->pool; /* which a later plan may call otherwise */
	ask.pool = w->pool;
	ask.until_ms = board_now_ms(b) + (w->until_us - clock_mono_us()) / 1000 + POLL_FAR_MS;
	if (board_wait(b, &ask, &w->place) == 0) {
		link_waiter(x);
		queue_nudge(x->gw);
		return 0;
	}
	(void)quote_refuse_full(b, &x->plan, &line, &x->err);
	board_count(b, COUNT_QUEUE_REFUSED, 1);
	give_up(x);
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
	err_set(&x->err, ERR_OVERLOADED, "no turn within %" PRId64 " ms%s%s", line_of(x).wait_ms,
		last.code == ERR_NONE ? "" : ": ", last.text);
	err_say(&x->err,
		"All that could serve this request were busy for the %" PRId64
		" s that it may wait; try again later.",
		(line_of(x).wait_ms + 999) / 1000);
	give_up(x);
}

/* ---- a turn ---- */

/* All whom it could ask rest.  Others of its line may ask for another model, whom somebody serves: they do
 * not wait for this one, nor for those of ours that ask for the same. */
static void
let_others_pass(struct exchange *x)
{
	struct board *b = x->gw->board;
	int64_t until_ms = board_now_ms(b) + REPLAN_MS;

	for (struct exchange *y = x->gw->waiters; y != NULL; y = y->waiting.next)
		if (id_equal(y->waiting.pool, x->waiting.pool) &&
			id_equal(y->caller.project.head.id, x->caller.project.head.id) &&
			strcmp(y->ask.model, x->ask.model) == 0)
			board_wait_pass(b, y->waiting.place, until_ms);
}

/* Finds anew whom to ask, within what was reserved.  False: nobody, x->attempt_err tells why. */
static bool
plan_again(struct exchange *x)
{
	memset(&x->attempt_err, 0, sizeof x->attempt_err);
	if (admission_plan(x, true, &x->attempt_err) == 0)
		return true;
	if (!x->plan.may_free)
		let_others_pass(x);
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
		give_up(x);
		return EX_SETTLE;
	}
	memset(&x->err, 0, sizeof x->err);
	x->candidate = 0;
	w->was_full = w->nobody = false;
	w->trying = true;
	return EX_ROUTE;
}

/* ---- looking who is next ---- */

#define NOT_KNOWN INT64_MAX

static int64_t
room_at(const struct board_target *t, int64_t cap)
{
	int64_t runs;

	if (t == NULL || cap <= 0)
		return NOT_KNOWN;
	runs = atomic_load_explicit(&t->inflight, memory_order_relaxed);
	return runs < 0 ? cap : runs < cap ? cap - runs : 0;
}

/* Of the upstream of candidate `first`, by its own cap and by those of its keys. */
static int64_t
room_at_upstream(const struct route_plan *p, int first)
{
	const struct upstream *u = p->candidate[first].upstream;
	int64_t room = room_at(p->candidate[first].target_upstream, u->max_parallel), of_keys = 0;

	for (int i = first; i < p->count && p->candidate[i].stage == 0; i++) {
		const struct route_candidate *c = &p->candidate[i];
		int64_t more;

		if (c->upstream != u)
			continue;
		more = c->key == NULL ? NOT_KNOWN : room_at(c->target_key, c->key->max_parallel);
		if (more == NOT_KNOWN)
			return room;
		of_keys += more;
	}
	return of_keys < room ? of_keys : room;
}

static bool
is_first_of_upstream(const struct route_plan *p, int at)
{
	for (int i = 0; i < at; i++)
		if (p->candidate[i].upstream == p->candidate[at].upstream)
			return false;
	return true;
}

/* How many may try at once: as many as surely have room, where that is known.  More would race for it, and
 * then it would not go by turns.  A call that has ended counts no more in the figures read here, but holds
 * its claim until it is booked. */
static int
room_of(const struct route_plan *p)
{
	int64_t room = 0;

	for (int i = 0; i < p->count && p->candidate[i].stage == 0; i++) {
		int64_t more = is_first_of_upstream(p, i) ? room_at_upstream(p, i) : 0;

		if (more != NOT_KNOWN)
			room += more;
	}
	room -= ROOM_UNSURE;
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

/* Those whose turn it is, in the order in which they are to try. */
struct turns {
	struct exchange *of[TURNS_MOST];
	int count;
};

/* The line that x is in.  True when one of ours is near. */
static bool
look_at_line(const struct exchange *x, struct turns *t)
{
	struct board_waiter next[BOARD_WAIT_FIRST];
	int count = board_wait_order(x->gw->board, x->waiting.pool, next, BOARD_WAIT_FIRST);
	int room = room_of(&x->plan);
	bool near = false;

	for (int i = 0; i < count && t->count < TURNS_MOST; i++) {
		struct exchange *y = waiter_at(x->gw, next[i]);

		if (y == NULL)
			continue;
		near = true;
		if (i >= room || y->waiting.trying)
			continue;
		y->waiting.turn = true;
		t->of[t->count++] = y;
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
look(struct gateway *gw, struct turns *t)
{
	bool near = false;

	t->count = 0;
	for (struct exchange *x = gw->waiters; x != NULL; x = x->waiting.next) {
		struct exchange *y = gw->waiters;

		/* one look for each line: the first of ours in it */
		while (!id_equal(y->waiting.pool, x->waiting.pool))
			y = y->waiting.next;
		if (y == x && look_at_line(x, t))
			near = true;
	}
	return near;
}

static void
run_due(struct exchange *x)
{
	if (is_due(x))
		exchange_run(x);
}

static void
on_poll(uv_timer_t *timer)
{
	struct gateway *gw = timer->data;
	struct turns turns;
	bool near = look(gw, &turns);
	struct exchange *next;

	/* running one ends that one alone */
	for (int i = 0; i < turns.count; i++)
		run_due(turns.of[i]);
	for (struct exchange *x = gw->waiters; x != NULL; x = next) {
		next = x->waiting.next;
		run_due(x);
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
