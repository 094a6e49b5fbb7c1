/*
 * walk.c - the way along a plan: whom to ask next, how often, how long, and what is told of each.
 *
 * From walk_begin() on a candidate counts as in flight, and may be somebody's only probe.  One flag says
 * that it is owed an end, and only the two functions that clear it call the room that counts; whoever
 * forgets is caught by exchange_free().
 */
#include "gateway/gateway-int.h"

#include "base/clock.h"

static int64_t
passed_ms(const struct exchange *x)
{
	return (clock_mono_us() - x->began_us) / 1000;
}

static uint32_t
clip32(int64_t n)
{
	return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

const struct route_candidate *
walk_candidate(const struct exchange *x)
{
	return &x->plan.candidate[x->candidate];
}

int64_t
walk_left_ms(const struct exchange *x)
{
	const struct conf *conf = &x->gw->conf;
	int64_t tries = x->plan.tries > 0 ? x->plan.tries : conf->tries;
	int64_t most_ms = x->plan.deadline_ms > 0 ? x->plan.deadline_ms : conf->retry_deadline_ms;
	int64_t left_ms = most_ms - passed_ms(x);

	return x->tries >= tries || left_ms < 0 ? 0 : left_ms;
}

static bool
may_ask(const struct exchange *x, int candidate)
{
	return candidate < x->plan.count && (x->tries == 0 || walk_left_ms(x) > 0);
}

bool
walk_has_more(const struct exchange *x)
{
	return may_ask(x, x->candidate);
}

bool
walk_begin(struct exchange *x)
{
	struct route_record *r = &x->plan.record;
	struct route_candidate *c = &x->plan.candidate[x->candidate];

	if (!route_begin(x->gw->board, c, x->candidate == 0 && x->tries == 0 && !x->waiting.again))
		return false;
	x->begun = true;
	x->asked = x->candidate;
	x->tries++;
	x->try_us = clock_mono_us();
	if (r->attempt_count < ROUTE_ATTEMPTS_MAX)
		r->attempt[r->attempt_count] = (struct route_attempt){ .member = c->member,
			.is_probe = c->is_probe,
			.began_ms = clip32(passed_ms(x)) };
	return true;
}

/* How the attempt under way ended, into the record. */
static void
note_end(struct exchange *x, enum failure failure, int status)
{
	struct route_record *r = &x->plan.record;
	struct route_attempt *a = &r->attempt[r->attempt_count];

	if (r->attempt_count == ROUTE_ATTEMPTS_MAX)
		return;
	a->failure = (uint8_t)failure;
	a->status = (uint16_t)status;
	a->took_ms = clip32((clock_mono_us() - x->try_us) / 1000);
	r->attempt_count++;
}

void
walk_report(struct exchange *x, const struct route_outcome *o)
{
	const struct conf *conf = &x->gw->conf;
	struct route_rests rests = { conf->rest_default_ms, conf->rest_max_ms,
		conf->rest_hint_cap_ms, conf->rest_invalid_ms };

	if (!x->begun)
		return;
	x->begun = false;
	note_end(x, o->failure, o->status);
	route_report(x->gw->board, &x->plan.candidate[x->asked], o, &rests);
}

void
walk_release(struct exchange *x)
{
	if (!x->begun)
		return;
	x->begun = false;
	note_end(x, FAILURE_NONE, 0);
	route_release(x->gw->board, &x->plan.candidate[x->asked]);
}

void
walk_pass_over(struct exchange *x)
{
	walk_release(x);
	x->candidate = route_next(&x->plan, x->candidate, FAILURE_TRANSIENT, false, false);
}

/* Behind the candidate at hand, by what it failed with. */
static int
next_of(const struct exchange *x)
{
	bool forced = x->rules.then == RULE_NEXT && !route_goes_on(x->failure);

	return route_next(&x->plan, x->candidate, forced ? FAILURE_TRANSIENT : x->failure,
		x->is_context, x->is_filter);
}

bool
walk_could_go_on(const struct exchange *x)
{
	return !x->one_try && x->rules.then != RULE_STOP && may_ask(x, next_of(x));
}

bool
walk_go_on(struct exchange *x)
{
	bool more = walk_could_go_on(x);

	/* where the fault is the request's own it stays with whom said so */
	if (!more && x->failure == FAILURE_REQUEST)
		return false;
	x->candidate = more ? next_of(x) : x->plan.count;
	return more;
}
