/*
 * person.c - what a person can do to how somebody stands.
 */
#include "route/forecast.h"
#include "route/standing-int.h"

#include <string.h>

/* What a person does is told as an attempt's outcome is, by the record alone. */
struct deed {
	struct upstream upstream;
	struct snapshot_key key;
	struct route_candidate c;
	struct route_outcome o;
	struct report r;
	enum board_scope scope;
};

static void
deed_make(struct deed *d, struct board *b, struct id record, struct span model, const char *why)
{
	struct board_target *t =
		model.len == 0 ? board_target(b, record)
			       : board_target_find(b,
					 board_target_part(record, "model", model.at, model.len));

	memset(d, 0, sizeof *d);
	d->key.id = record;
	d->c = (struct route_candidate){ .upstream = &d->upstream, .key = &d->key, .model = model };
	d->scope = model.len == 0 ? SCOPE_KEY : SCOPE_KEY_MODEL;
	d->c.target_key = d->scope == SCOPE_KEY ? t : NULL;
	d->c.target_key_model = d->scope == SCOPE_KEY ? NULL : t;
	d->o.evidence = span_of(why);
	d->r = (struct report){ .board = b, .c = &d->c, .o = &d->o, .now_ms = board_now_ms(b) };
}

int
standing_retry(struct board *b, struct id record, struct span model, struct err *err)
{
	struct deed d;
	struct board_target *t;
	int64_t until;
	bool was_held;

	deed_make(&d, b, record, model, "a person asks to try again");
	if ((t = standing_target(&d.c, d.scope)) == NULL)
		return 0;
	if (state_of(t) == TARGET_DISABLED) {
		err_set(err, ERR_CONFLICT, "it is disabled");
		return err_say(err, "It is disabled; enable it.");
	}
	was_held = forecast_retry(b, record);
	until = atomic_load(&t->rest_until_ms);
	do {
		if (until <= d.r.now_ms)
			return was_held;
	} while (!atomic_compare_exchange_weak(&t->rest_until_ms, &until, d.r.now_ms));
	standing_tell(&d.r, d.scope, EVENT_REST, state_of(t), state_of(t), CAUSE_PERSON);
	return 1;
}

static int
illegal(enum target_state from, enum target_state to, struct err *err)
{
	char list[80] = "";

	for (int s = 0; s < TARGET__STATES; s++) {
		if (s == (int)from || !standing_is_legal(from, (enum target_state)s))
			continue;
		(void)strncat(list, list[0] == '\0' ? "" : ", ", sizeof list - strlen(list) - 1);
		(void)strncat(list, standing_state_name((enum target_state)s),
			sizeof list - strlen(list) - 1);
	}
	err_set(err, ERR_CONFLICT, "invalid transition from %s to %s", standing_state_name(from),
		standing_state_name(to));
	return err_say(err, "From %s it cannot become %s; it may become: %s.",
		standing_state_name(from), standing_state_name(to), list);
}

/* Whatever kept it from being asked is over. */
static void
wake(const struct deed *d, struct board_target *t)
{
	int64_t opened = atomic_exchange(&t->breaker, 0);

	poke(&t->rests, 0);
	poke(&t->stated_ms, 0);
	poke(&t->failures, 0);
	poke(&t->successes, 0);
	poke(&t->share_ppm, 0);
	atomic_store(&t->rest_until_ms, 0);
	if (opened != 0)
		standing_tell(&d->r, d->scope, EVENT_BREAKER, STANDING_OPEN, STANDING_CLOSED,
			CAUSE_PERSON);
}

int
standing_set(
	struct board *b, struct id record, enum target_state to, const char *why, struct err *err)
{
	struct deed d;
	struct board_target *t;
	enum target_state from;

	deed_make(&d, b, record, SPAN_NONE, why);
	if ((t = d.c.target_key) == NULL)
		return err_set(err, ERR_OVERLOADED, "the board has no room for this record");
	from = state_of(t);
	if (from == to)
		return 0;
	if (!standing_is_legal(from, to))
		return illegal(from, to, err);
	if (to == TARGET_AVAILABLE)
		wake(&d, t);
	return standing_move(&d.r, SCOPE_KEY, to, CAUSE_PERSON) ? 1 : illegal(from, to, err);
}

bool
standing_renew(struct board *b, struct id record, const char *why)
{
	struct deed d;
	struct board_target *t;
	bool rested;

	deed_make(&d, b, record, SPAN_NONE, why);
	if ((t = d.c.target_key) == NULL)
		return false;
	rested = !standing_is_as_ever(t);
	wake(&d, t);
	return standing_move(&d.r, SCOPE_KEY, TARGET_AVAILABLE, CAUSE_PERSON) || rested;
}

void
standing_force(struct board *b, const struct upstream *u, int before)
{
	struct board_target *t = board_target(b, u->head.id);
	struct route_candidate c = { .upstream = u, .target_upstream = t };
	struct route_outcome o = { .evidence = SPAN_LIT("forced by a person") };
	struct report r = { .board = b, .c = &c, .o = &o, .now_ms = board_now_ms(b) };
	struct standing was, is;

	if (t == NULL || before == u->breaker_forced)
		return;
	if (u->breaker_forced == BREAKER_AUTO)
		o.evidence = SPAN_LIT("no longer forced by a person");
	standing_state(b, t, true, before, &was);
	standing_state(b, t, true, u->breaker_forced, &is);
	standing_tell(
		&r, SCOPE_UPSTREAM, EVENT_BREAKER, (int)was.breaker, (int)is.breaker, CAUSE_PERSON);
}

int
standing_rest(struct board *b, struct id record, int64_t until_ms, const char *why, struct err *err)
{
	struct deed d;
	struct board_target *t;

	deed_make(&d, b, record, SPAN_NONE, why);
	if ((t = d.c.target_key) == NULL)
		return err_set(err, ERR_OVERLOADED, "the board has no room for this record");
	poke(&t->stated_ms, until_ms);
	poke(&t->rests, 1);
	(void)cooldown_raise(t, until_ms, d.r.now_ms);
	if (!standing_is_legal(state_of(t), TARGET_THROTTLED) ||
		!standing_move(&d.r, SCOPE_KEY, TARGET_THROTTLED, CAUSE_PERSON))
		standing_tell(&d.r, SCOPE_KEY, EVENT_REST, state_of(t), state_of(t), CAUSE_PERSON);
	return 0;
}
