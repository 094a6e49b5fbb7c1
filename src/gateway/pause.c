/*
 * pause.c - PAUSE: all that could be asked have failed or rest, some of them in a way that may pass.  After
 * a moment the request goes along its plan once more, from the beginning.
 *
 * Only when nobody else is left, so a pool with another key never waits here; and only while the client
 * has been sent nothing.  Each wait is twice the one before, less a random part, so that those who failed
 * together do not come back together; where all rest it lasts until the first of them may be asked.  All
 * waits of a request end within queue_wait, and within the deadline of its attempts.  [loop]
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/hash.h"

#define DOUBLED_MOST 16

/* ---- is it worth one ---- */

void
pause_note(struct exchange *x)
{
	x->pause.may_help |= x->failure == FAILURE_RATE_LIMITED ||
			     x->failure == FAILURE_OVERLOADED || x->failure == FAILURE_TRANSIENT;
}

/* Until the first of the plan may be asked. */
static int64_t
all_rest_ms(const struct exchange *x)
{
	int64_t least = INT64_MAX;

	for (int i = 0; i < x->plan.count && least > 0; i++) {
		int64_t ms = route_rests_ms(x->gw->board, &x->plan.candidate[i]);

		least = ms < least ? ms : least;
	}
	return least;
}

static int64_t
wait_us(const struct exchange *x)
{
	int64_t times = x->pause.count < DOUBLED_MOST ? x->pause.count : DOUBLED_MOST;
	int64_t full_us = x->gw->conf.retry_wait_ms * 1000 << times, rest_us;
	uint64_t random;

	hash_random(&random, sizeof random);
	random %= (uint64_t)full_us / 2 + 1;
	rest_us = all_rest_ms(x) * 1000;
	return rest_us > full_us ? rest_us + (int64_t)random : full_us - (int64_t)random;
}

bool
pause_may(struct exchange *x)
{
	struct pause *p = &x->pause;
	int64_t now_us = clock_mono_us(), until_us, ends_us = p->ends_us;

	if (!p->may_help || p->count >= x->gw->conf.retry_waits || x->plan.count == 0 ||
		x->tries == 0 || x->failure == FAILURE_NONE || x->failure == FAILURE_REQUEST ||
		x->one_try || x->rules.then == RULE_STOP || x->gone || x->cut || x->gw->draining)
		return false;
	if (ends_us == 0)
		ends_us = now_us + quote_line(&x->plan, &x->gw->conf).wait_ms * 1000;
	until_us = now_us + wait_us(x);
	if (until_us > ends_us || until_us - now_us >= walk_left_ms(x) * 1000)
		return false;
	p->ends_us = ends_us;
	p->until_us = until_us;
	return true;
}

/* ---- waiting ---- */

static void on_timer(uv_timer_t *timer);

/* For the first that is to go on. */
static void
set_timer(struct gateway *gw)
{
	int64_t first_us = INT64_MAX, left_us;

	for (struct exchange *x = gw->pausing; x != NULL; x = x->pause.next)
		first_us = x->pause.until_us < first_us ? x->pause.until_us : first_us;
	if (gw->pausing == NULL || uv_is_closing((uv_handle_t *)&gw->pause_timer))
		return;
	left_us = first_us - clock_mono_us();
	uv_timer_start(
		&gw->pause_timer, on_timer, left_us > 0 ? (uint64_t)(left_us + 999) / 1000 : 0, 0);
}

static void
on_timer(uv_timer_t *timer)
{
	struct gateway *gw = timer->data;
	int64_t now_us = clock_mono_us();
	struct exchange *next;

	for (struct exchange *x = gw->pausing; x != NULL; x = next) {
		next = x->pause.next; /* running one takes out that one alone */
		if (x->pause.until_us <= now_us)
			exchange_run(x);
	}
	set_timer(gw);
}

static void
join(struct exchange *x)
{
	struct gateway *gw = x->gw;
	struct pause *p = &x->pause;

	p->on = true;
	p->count++;
	p->prev = NULL;
	p->next = gw->pausing;
	if (p->next != NULL)
		p->next->pause.prev = x;
	gw->pausing = x;
	set_timer(gw);
}

void
pause_leave(struct exchange *x)
{
	struct pause *p = &x->pause;

	if (!p->on)
		return;
	p->on = false;
	if (p->prev != NULL)
		p->prev->pause.next = p->next;
	else
		x->gw->pausing = p->next;
	if (p->next != NULL)
		p->next->pause.prev = p->prev;
}

enum exchange_state
pause_step(struct exchange *x)
{
	struct pause *p = &x->pause;

	if (x->gone || x->cut) {
		pause_leave(x);
		err_set(&x->err, x->cut ? ERR_CUT : ERR_CLIENT_GONE,
			x->cut ? "cut by the operator" : "the client left while it waited");
		return EX_SETTLE;
	}
	if (!p->on)
		join(x);
	if (clock_mono_us() < p->until_us)
		return EX_PAUSE;
	pause_leave(x);
	x->candidate = 0;
	return EX_ROUTE;
}

void
pause_init(struct gateway *gw)
{
	uv_timer_init(&gw->loop, &gw->pause_timer);
	gw->pause_timer.data = gw;
}

void
pause_close(struct gateway *gw)
{
	uv_close((uv_handle_t *)&gw->pause_timer, NULL);
}
