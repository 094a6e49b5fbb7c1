/*
 * standing.c - states, and what an attempt's outcome does to them.
 *
 * A candidate has up to five targets, one a scope.  An outcome speaks against one of them, at most
 * (F4 of systems.md: the evidence says which), counts for the breakers of those that may be to
 * blame, and speaks for all others that must have worked for it.
 */
#include "base/clock.h"
#include "route/forecast.h"
#include "route/standing-int.h"

#include <stdio.h>
#include <string.h>

#define DECAY 8 /* a late call weighs one eighth of all before */

_Static_assert(SCOPE__COUNT <= 8, "a bit for each target of a candidate");

struct board_target *
standing_target(const struct route_candidate *c, enum board_scope scope)
{
	switch (scope) {
	case SCOPE_KEY:
		return c->target_key;
	case SCOPE_KEY_MODEL:
		return c->target_key_model;
	case SCOPE_UPSTREAM:
		return c->target_upstream;
	case SCOPE_UPSTREAM_MODEL:
		return c->target_upstream_model;
	default:
		return c->target_group;
	}
}

/* As pool.c finds it. */
struct id
route_target_at(struct id whole, struct span model)
{
	return board_target_part(whole, "model", model.at, model.len);
}

struct id
route_target_of_group(struct span group)
{
	return group.len == 0 ? ID_NONE : board_target_part(ID_NONE, "group", group.at, group.len);
}

/* ---- states ---- */

#define BIT(s) (1u << TARGET_##s)
static const unsigned legal[TARGET__STATES] = {
	[TARGET_AVAILABLE] = BIT(THROTTLED) | BIT(EXHAUSTED) | BIT(DISABLED) | BIT(INVALID),
	[TARGET_THROTTLED] =
		BIT(AVAILABLE) | BIT(DISABLED) | BIT(INVALID) | BIT(RECOVERING) | BIT(EXHAUSTED),
	[TARGET_EXHAUSTED] = BIT(RECOVERING) | BIT(DISABLED) | BIT(INVALID),
	[TARGET_RECOVERING] =
		BIT(AVAILABLE) | BIT(EXHAUSTED) | BIT(DISABLED) | BIT(INVALID) | BIT(THROTTLED),
	[TARGET_DISABLED] = BIT(AVAILABLE) | BIT(INVALID),
	[TARGET_INVALID] = BIT(DISABLED) | BIT(RECOVERING),
};

bool
standing_is_legal(enum target_state from, enum target_state to)
{
	return from == to || (legal[from] & 1u << to) != 0;
}

/* A provider's words as one line of whole UTF-8. */
static void
copy_evidence(struct span words, char *out, size_t room)
{
	size_t n = words.len < room - 1 ? words.len : room - 1;

	if (n < words.len)
		while (n > 0 && ((unsigned char)words.at[n] & 0xc0) == 0x80)
			n--;
	for (size_t i = 0; i < n; i++)
		out[i] =
			(unsigned char)words.at[i] < ' ' || words.at[i] == 0x7f ? ' ' : words.at[i];
	out[n] = '\0';
}

void
standing_tell(const struct report *r, enum board_scope scope, enum board_event_kind kind, int from,
	int to, enum target_cause cause)
{
	const struct route_candidate *c = r->c;
	const struct board_target *t = standing_target(c, scope);
	struct board_event e;

	memset(&e, 0, sizeof e);
	e.target = board_target_id(t);
	e.kind = (uint8_t)kind;
	e.scope = (uint8_t)scope;
	e.from = (uint8_t)from;
	e.to = (uint8_t)to;
	e.cause = (uint8_t)cause;
	e.status = (uint16_t)r->o->status;
	if (peek(&t->rest_until_ms) > r->now_ms)
		e.until_ms = peek(&t->rest_until_ms);
	if (scope == SCOPE_KEY || scope == SCOPE_KEY_MODEL)
		e.record = c->key->id;
	else if (scope != SCOPE_ACCOUNT)
		e.record = c->upstream->head.id;
	if (scope == SCOPE_KEY_MODEL || scope == SCOPE_UPSTREAM_MODEL)
		(void)span_copy(c->model, e.name, sizeof e.name);
	else if (scope == SCOPE_ACCOUNT)
		(void)span_copy(span_of(c->upstream->group), e.name, sizeof e.name);
	copy_evidence(r->o->evidence, e.evidence, sizeof e.evidence);
	board_event_add(r->board, &e);
}

bool
standing_move(const struct report *r, enum board_scope scope, enum target_state to,
	enum target_cause cause)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t old = atomic_load(&t->standing), new;
	enum target_state from, next;

	do {
		from = (enum target_state)(old & 0xff);
		next = to;
		if (!standing_is_legal(from, to))
			next = TARGET_RECOVERING;
		if (!standing_is_legal(from, next))
			return false;
		/* whoever is as ever is so for no cause */
		new = (int64_t)next |
		      (int64_t)(next == TARGET_AVAILABLE ? CAUSE_NONE : cause) << 8 |
		      (int64_t)(r->o->status & 0xffff) << 16;
		if (new == old)
			return false;
	} while (!atomic_compare_exchange_weak(&t->standing, &old, new));
	if (next == from)
		return false;
	poke(&t->changed_at_ms, r->now_ms);
	standing_tell(r, scope, EVENT_STATE, (int)from, (int)next,
		next == to || cause == CAUSE_PERSON ? cause : CAUSE_PROBE);
	return next == to || standing_move(r, scope, to, cause);
}

/* ---- what is learned of every call ---- */

static void
decay(_Atomic int64_t *word, int64_t seen)
{
	int64_t old = peek(word);
	int64_t new = old == 0 ? seen : old + (seen - old) / DECAY;

	poke_new(word, new > 0 ? new : 1);
}

/* Did the one of that scope do its part, as far as the outcome tells? */
static bool
did_its_part(const struct report *r, enum board_scope scope, bool is_well)
{
	enum failure f = r->o->failure;

	if (is_well)
		return true;
	if (scope == SCOPE_KEY || scope == SCOPE_KEY_MODEL)
		return f == FAILURE_OVERLOADED || (f == FAILURE_MODEL && scope == SCOPE_KEY);
	return f != FAILURE_OVERLOADED && f != FAILURE_TRANSIENT && f != FAILURE_REQUEST;
}

static void
learn(const struct report *r, enum board_scope scope, bool is_well)
{
	struct board_target *t = standing_target(r->c, scope);

	decay(&t->success_ppm, did_its_part(r, scope, is_well) ? 1 + 1000000 : 1);
	if (is_well && r->o->ttft_us > 0)
		decay(&t->ttft_us, r->o->ttft_us);
	/* shared lines: once a second is enough for people to read */
	if (is_well && r->now_ms - peek(&t->ok_at_ms) > 1000)
		poke(&t->ok_at_ms, r->now_ms);
	else if (!did_its_part(r, scope, is_well) && r->now_ms - peek(&t->failed_at_ms) > 1000)
		poke(&t->failed_at_ms, r->now_ms);
}

/* ---- the outcome ---- */

/* Timeouts are for the client to know of, as asking another would pay twice; but they are failures. */
static bool
is_transient(const struct route_outcome *o)
{
	return o->failure == FAILURE_TRANSIENT || (o->failure == FAILURE_REQUEST && o->is_timeout);
}

static bool
is_well(const struct route_outcome *o)
{
	return (o->failure == FAILURE_NONE || o->failure == FAILURE_REQUEST) && !o->is_timeout &&
	       o->rest_ms <= 0;
}

/* The narrowest the evidence allows; SCOPE__COUNT: there is none to rest. */
static enum board_scope
scope_of(const struct report *r)
{
	const struct route_outcome *o = r->o;
	const struct route_candidate *c = r->c;
	enum board_scope of_key = c->target_key != NULL              ? SCOPE_KEY
				  : c->target_upstream_model != NULL ? SCOPE_UPSTREAM_MODEL
				  : c->target_upstream != NULL       ? SCOPE_UPSTREAM
								     : SCOPE__COUNT;

	switch (o->failure) {
	case FAILURE_RATE_LIMITED:
	case FAILURE_NO_CREDIT:
		if (o->is_address && c->target_upstream != NULL)
			return SCOPE_UPSTREAM;
		if (o->is_model && c->target_key_model != NULL)
			return SCOPE_KEY_MODEL;
		return o->is_account && c->target_group != NULL ? SCOPE_ACCOUNT : of_key;
	case FAILURE_MODEL:
		if (c->target_key_model != NULL)
			return SCOPE_KEY_MODEL;
		return c->key == NULL && c->target_upstream_model != NULL ? SCOPE_UPSTREAM_MODEL
									  : SCOPE__COUNT;
	case FAILURE_OVERLOADED:
		/* without a model its breaker alone tells */
		return c->target_upstream_model != NULL ? SCOPE_UPSTREAM_MODEL : SCOPE__COUNT;
	default:
		return of_key;
	}
}

static void
judge_rest(struct report *r)
{
	static const struct {
		enum cooldown kind;
		enum target_state state;
		enum target_cause cause;
	} of[] = {
		[FAILURE_KEY_INVALID] = { COOLDOWN_INVALID, TARGET_INVALID, CAUSE_INVALID },
		[FAILURE_NO_CREDIT] = { COOLDOWN_LONG, TARGET_EXHAUSTED, CAUSE_NO_CREDIT },
		[FAILURE_RATE_LIMITED] = { COOLDOWN_LADDER, TARGET_THROTTLED, CAUSE_RATE_LIMIT },
		[FAILURE_OVERLOADED] = { COOLDOWN_LADDER, TARGET_THROTTLED, CAUSE_OVERLOADED },
		[FAILURE_MODEL] = { COOLDOWN_INVALID, TARGET_INVALID, CAUSE_MODEL },
		[FAILURE_TRANSIENT] = { COOLDOWN_LADDER, TARGET_THROTTLED, CAUSE_FAILURES },
	};
	const struct route_outcome *o = r->o;
	enum failure f = o->failure;
	enum board_scope scope = scope_of(r);
	bool by_rule = o->rest_ms > 0;

	if (scope == SCOPE__COUNT || o->rest_ms < 0)
		return;
	if (by_rule) {
		enum failure as = f == FAILURE_NONE || f == FAILURE_REQUEST ? FAILURE_TRANSIENT : f;

		cooldown_rest(r, scope, COOLDOWN_RULE, of[as].state, of[as].cause);
	} else if (f == FAILURE_OVERLOADED) {
		if (breaker_is_overloaded(r, scope))
			cooldown_rest(r, scope, of[f].kind, of[f].state, of[f].cause);
	} else if ((f == FAILURE_RATE_LIMITED || f == FAILURE_NO_CREDIT) && o->is_quota) {
		cooldown_rest(r, scope, COOLDOWN_LONG, TARGET_EXHAUSTED, CAUSE_QUOTA);
	} else if (!is_transient(o)) {
		cooldown_rest(r, scope, of[f].kind, of[f].state, of[f].cause);
	}
}

static void
judge_breakers(struct report *r)
{
	const struct route_outcome *o = r->o;

	if (!o->counts)
		return;
	if (is_transient(o))
		breaker_fail(r, SCOPE_KEY);
	if (is_transient(o) || o->failure == FAILURE_OVERLOADED ||
		(o->failure == FAILURE_KEY_INVALID && r->c->key == NULL)) {
		breaker_fail(r, SCOPE_UPSTREAM);
		breaker_fail(r, SCOPE_ACCOUNT);
	} else {
		breaker_forget_member(r, SCOPE_UPSTREAM);
		breaker_forget_member(r, SCOPE_UPSTREAM_MODEL);
		breaker_forget_member(r, SCOPE_ACCOUNT);
	}
}

/* An answer that refuses this key says that those beyond it are there. */
static bool
speaks_for(const struct report *r, enum board_scope scope)
{
	if (is_well(r->o))
		return true;
	if (scope != SCOPE_UPSTREAM && scope != SCOPE_UPSTREAM_MODEL && scope != SCOPE_ACCOUNT)
		return false;
	return r->o->status != 0 && r->c->key != NULL && (r->settled & 1u << scope) == 0 &&
	       did_its_part(r, scope, false) && scope_of(r) != scope;
}

/* What a probe could not find out rests on, as it did. */
static void
rest_unsettled(struct report *r, enum board_scope scope)
{
	struct board_target *t = standing_target(r->c, scope);
	int64_t in_a_row = peek(&t->rests), stated = peek(&t->stated_ms);
	int64_t rest_ms = cooldown_ms(COOLDOWN_LADDER, in_a_row,
		stated > r->now_ms ? stated - r->now_ms : 0, r->rests, 0);

	if (peek(&t->rest_until_ms) > r->now_ms || rest_ms <= 0)
		return;
	if (!cooldown_raise(t, r->now_ms + rest_ms, r->now_ms))
		return;
	poke(&t->rests, in_a_row + 1);
	poke(&t->successes, 0);
	standing_tell(r, scope, EVENT_REST, state_of(t), state_of(t), cause_of(t));
}

void
standing_judge(struct report *r)
{
	const struct route_outcome *o = r->o;

	if (!is_well(o)) {
		judge_rest(r);
		judge_breakers(r);
	}
	for (enum board_scope s = 0; s < SCOPE__COUNT; s++) {
		if (standing_target(r->c, s) == NULL)
			continue;
		learn(r, s, is_well(o));
		if (speaks_for(r, s)) {
			breaker_note_success(r, s, is_well(o));
			cooldown_succeed(r, s);
		} else if (is_probed_by(r, s) && (r->settled & 1u << s) == 0) {
			rest_unsettled(r, s);
		}
	}
}

static void
no_more_in_flight(const struct route_candidate *c)
{
	if (c->target_key != NULL)
		(void)atomic_fetch_sub(&c->target_key->inflight, 1);
	if (c->target_upstream != NULL)
		(void)atomic_fetch_sub(&c->target_upstream->inflight, 1);
}

/* Clients choose names of models: the last quarter is for keys and upstreams alone. */
#define PARTS_MOST (BOARD_TARGETS / 4 * 3)

static struct board_target *
part_at_model(struct board *b, struct id whole, struct span model)
{
	struct id id = route_target_at(whole, model);
	struct board_target *t = board_target_find(b, id);

	return t != NULL || board_counted(b, COUNT_TARGETS) >= PARTS_MOST ? t : board_target(b, id);
}

/* Those come into being when there is something to say of them. */
static void
make_parts(struct board *b, struct route_candidate *c, const struct route_outcome *o)
{
	enum failure f = o->failure;

	if (c->model.len == 0)
		return;
	if (c->key != NULL && c->target_key_model == NULL &&
		(f == FAILURE_MODEL ||
			(o->is_model && (f == FAILURE_RATE_LIMITED || f == FAILURE_NO_CREDIT))))
		c->target_key_model = part_at_model(b, c->key->id, c->model);
	if (c->target_upstream_model == NULL &&
		(f == FAILURE_OVERLOADED || (f == FAILURE_MODEL && c->key == NULL)))
		c->target_upstream_model = part_at_model(b, c->upstream->head.id, c->model);
}

void
route_report(struct board *board, const struct route_candidate *planned,
	const struct route_outcome *o, const struct route_rests *rests)
{
	struct route_candidate whole = *planned, *c = &whole;
	struct report r = {
		.board = board, .c = c, .o = o, .rests = rests, .now_ms = board_now_ms(board)
	};

	make_parts(board, c, o);

	if (o->until_ms != 0) {
		int64_t wait_ms = o->until_ms - clock_wall_ms();

		r.stated_ms = wait_ms > 0 ? r.now_ms + wait_ms : 0;
	}
	standing_judge(&r);
	forecast_see(board, c, o);
	no_more_in_flight(c);
	probe_leave(board, c);
}

void
route_release(struct board *board, const struct route_candidate *c)
{
	forecast_release(board, c);
	no_more_in_flight(c);
	probe_leave(board, c);
}

bool
route_goes_on(enum failure failure)
{
	return failure != FAILURE_NONE && failure != FAILURE_REQUEST;
}

void
standing_health(struct board *b, const struct upstream *u, bool is_up, int status,
	struct span evidence, const struct route_rests *rests)
{
	struct route_candidate c = { .upstream = u,
		.target_upstream = board_target(b, u->head.id) };
	struct route_outcome o = { .failure = is_up ? FAILURE_NONE : FAILURE_TRANSIENT,
		.status = status,
		.counts = true,
		.evidence = evidence };
	struct report r = {
		.board = b, .c = &c, .o = &o, .rests = rests, .now_ms = board_now_ms(b)
	};

	if (c.target_upstream == NULL)
		return;
	/* it may be the probe that is due; nobody else's */
	c.probes = probe_claim(b, c.target_upstream) ? 1u << SCOPE_UPSTREAM : 0;
	standing_judge(&r);
	probe_leave(b, &c);
}

/* ---- how it stands ---- */

const char *
standing_state_name(enum target_state s)
{
	static const char *const names[TARGET__STATES] = { "available", "throttled", "exhausted",
		"recovering", "disabled", "invalid" };

	return (unsigned)s < TARGET__STATES ? names[s] : "unknown";
}

const char *
standing_cause_name(enum target_cause c)
{
	static const char *const names[TARGET__CAUSES] = { "none", "rate_limit", "quota",
		"no_credit", "invalid", "overloaded", "model", "failures", "health", "person",
		"probe", "time" };

	return (unsigned)c < TARGET__CAUSES ? names[c] : "unknown";
}

const char *
standing_breaker_name(enum standing_breaker b)
{
	static const char *const names[] = { "closed", "open", "half_open", "forced_open",
		"forced_closed" };

	return (unsigned)b < sizeof names / sizeof names[0] ? names[b] : "unknown";
}

static enum standing_breaker
breaker_of(const struct board_target *t, int forced, int64_t now_ms)
{
	if (forced == BREAKER_FORCED_OPEN)
		return STANDING_FORCED_OPEN;
	if (forced == BREAKER_FORCED_CLOSED)
		return STANDING_FORCED_CLOSED;
	if (t == NULL || peek(&t->breaker) == 0)
		return STANDING_CLOSED;
	return peek(&t->rest_until_ms) > now_ms && peek(&t->successes) == 0 ? STANDING_OPEN
									    : STANDING_HALF_OPEN;
}

void
standing_state(const struct board *b, const struct board_target *t, bool is_enabled, int forced,
	struct standing *out)
{
	int64_t now_ms = board_now_ms(b), word;

	*out = (struct standing){ .state = is_enabled ? TARGET_AVAILABLE : TARGET_DISABLED,
		.breaker = breaker_of(t, forced, now_ms),
		.share_ppm = 1000000,
		.ttft_us = -1,
		.success_ppm = -1 };
	if (t == NULL)
		return;
	word = peek(&t->standing);
	if (is_enabled)
		out->state = state_of(t);
	out->cause = cause_of(t);
	out->status = (int)(word >> 16 & 0xffff);
	out->is_probed = peek(&t->prober) != 0 && !board_owner_is_dead(b, peek(&t->prober));
	out->until_ms = peek(&t->rest_until_ms);
	out->stated_until_ms = peek(&t->stated_ms);
	out->changed_ms = peek(&t->changed_at_ms);
	out->ok_ms = peek(&t->ok_at_ms);
	out->failed_ms = peek(&t->failed_at_ms);
	out->probed_ms = peek(&t->probed_at_ms);
	out->rests = peek(&t->rests);
	out->failures = peek(&t->failures);
	out->inflight = peek(&t->inflight);
	if (out->inflight < 0)
		out->inflight = 0;
	if (peek(&t->share_ppm) > 0)
		out->share_ppm = peek(&t->share_ppm);
	if (peek(&t->ttft_us) > 0)
		out->ttft_us = peek(&t->ttft_us);
	if (peek(&t->success_ppm) > 0)
		out->success_ppm = peek(&t->success_ppm) - 1;
}

enum route_reason
standing_reason(const struct board_target *t, enum standing_may may)
{
	if (may == STANDING_PROBED)
		return REASON_PROBED;
	if (t != NULL && state_of(t) == TARGET_INVALID)
		return REASON_INVALID;
	if (t == NULL || peek(&t->breaker) != 0 || peek(&t->rest_until_ms) == 0)
		return REASON_BREAKER; /* rests without a time: a person forced it */
	return REASON_RESTS;
}
