/*
 * forecast.c - calls are counted on their way, and the words of targets come of it.
 */
#include "route/forecast-int.h"

#include "base/clock.h"
#include "board/event.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORESEE_MS   1000
#define FORGET_MS    (40 * FORECAST_DAY_MS) /* nothing was asked for so long */
#define MINUTES_MS   (5 * FORECAST_MINUTE_MS)
#define CALLS_LEAST  3 /* then a longer time is looked at */
#define SHARE_LEAST  50000
#define SHARE_WHOLE  1000000
#define SURE_PPM     400000
#define DECAY        8
#define USUAL_TOKENS 1000 /* of a call, before any was seen; systems.md B2.3 */

static atomic_bool is_off;

void
forecast_switch(bool on)
{
	atomic_store(&is_off, !on);
}

const char *
forecast_kind_name(enum forecast_kind k)
{
	static const char *const names[] = { "unknown", "given", "exact", "estimated", "bounded" };

	return (size_t)k < sizeof names / sizeof names[0] ? names[k] : "unknown";
}

const char *
forecast_stage_name(enum forecast_stage s)
{
	static const char *const names[] = { "lasts", "runs_dry", "used_up" };

	return (size_t)s < sizeof names / sizeof names[0] ? names[s] : "lasts";
}

const char *
forecast_plenty_name(enum forecast_plenty p)
{
	static const char *const names[] = { "unknown", "abundant", "constrained", "critical",
		"exhausted" };

	return (size_t)p < sizeof names / sizeof names[0] ? names[p] : "unknown";
}

const char *
forecast_uncertainty_name(int level)
{
	static const char *const names[] = { "low", "medium", "high", "unknown" };

	return names[level < 0 || level > 3 ? 3 : level];
}

/* ---- the words of a target ---- */

/* Both lie in one mapping, so the way from one to the other is the same in every process. */
static void
remember_target(struct board_quota *q, const struct board_target *target)
{
	if (target != NULL)
		set(&q->target, (int64_t)((intptr_t)target - (intptr_t)q));
}

static struct board_target *
target_of(struct board *b, struct board_quota *q, struct id id)
{
	int64_t way = get(&q->target);

	if (way == 0) {
		remember_target(q, board_target(b, id));
		way = get(&q->target);
	}
	return way == 0 ? NULL : (struct board_target *)((intptr_t)q + way);
}

static void
write_hold(struct board_quota *q, int64_t now_ms)
{
	struct board_target *target =
		get(&q->target) == 0 ? NULL
				     : (struct board_target *)((intptr_t)q + get(&q->target));
	int64_t hold_ms = 0;

	if (target == NULL)
		return;
	for (int i = 0; i < BOARD_QUOTA_WINDOWS && !atomic_load(&is_off); i++) {
		struct board_quota_window *w = &q->window[i];
		int64_t until_ms;

		if (get(&w->what) == 0)
			continue;
		until_ms = window_hold(q, w, window_need(q, w), now_ms);
		if (until_ms > hold_ms)
			hold_ms = until_ms;
	}
	if (hold_ms <= now_ms)
		hold_ms = 0;
	set(&target->forecast_hold_ms, hold_ms);
}

/* ---- around an attempt ---- */

/* Every quota begins unknown; what is learned later needs to know what was used before. */
static void
begin_learning(struct board_quota *q, int64_t now_ms)
{
	static const int64_t lengths[] = { FORECAST_MINUTE_MS, FORECAST_DAY_MS };
	int64_t none = 0;

	if (get(&q->born_ms) != 0 || !atomic_compare_exchange_strong(&q->born_ms, &none, now_ms))
		return;
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
		learn_watch(q, QUOTA_REQUESTS, lengths[i]);
}

static void
open_records(struct board *b, struct route_candidate *c, int64_t now_ms)
{
	struct forecast_ticket *t = &c->forecast;
	struct id id = c->key != NULL ? c->key->id : c->upstream->head.id;

	t->quota[0] = board_quota(b, id);
	if (t->quota[0] == NULL)
		return;
	remember_target(t->quota[0], c->target_key);
	set(&t->quota[0]->of_upstream, c->key == NULL);
	(void)target_of(b, t->quota[0], id);
	learn_given(b, t->quota[0], c->key == NULL ? "" : c->key->quotas);
	if (c->model.len > 0) {
		struct id part = board_target_part(id, "model", c->model.at, c->model.len);

		t->quota[1] = board_quota(b, part);
		if (t->quota[1] != NULL) {
			remember_target(t->quota[1], c->target_key_model);
			set(&t->quota[1]->of_upstream, c->key == NULL);
			(void)target_of(b, t->quota[1], part);
			board_quota_link(
				b, t->quota[0], id, t->quota[1], c->model.at, c->model.len);
		}
	}
	begin_learning(t->quota[1] != NULL ? t->quota[1] : t->quota[0], now_ms);
	for (int i = 0; i < 2; i++)
		if (t->quota[i] != NULL && get(&t->quota[i]->born_ms) == 0)
			set(&t->quota[i]->born_ms, now_ms);
}

/* Changes what is counted of a call that began at at_ms.  What is told remaining counts against `begun`,
 * which says nothing of the time before a mark: a call that failed stays in it, for that its provider
 * may know of it, and taking it back would make room for one more than there is. */
static void
count(struct board_quota *q, const int64_t add[QUOTA__UNITS], int64_t at_ms,
	int64_t mark[QUOTA__UNITS], bool in_slots_only)
{
	for (int u = 0; u < QUOTA_SHARE && !in_slots_only; u++) {
		int64_t was = add[u] == 0 ? get(&q->begun[u])
					  : atomic_fetch_add_explicit(
						    &q->begun[u], add[u], memory_order_relaxed);

		if (mark != NULL)
			mark[u] = was + add[u];
	}
	for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
		struct board_quota_window *w = &q->window[i];
		enum quota_unit unit = what_unpack(get(&w->what)).unit;

		if (get(&w->what) != 0 && add[unit] != 0)
			board_quota_slot_add(
				w->slot, BOARD_QUOTA_SLOTS, window_slot_ms(w), at_ms, add[unit]);
	}
}

/* Does what is left cover the call that is counted by now? */
static bool
is_covered(struct board_quota *q, const int64_t held[QUOTA__UNITS], bool is_probe, int64_t now_ms)
{
	for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
		struct board_quota_window *w = &q->window[i];
		enum quota_unit unit = what_unpack(get(&w->what)).unit;
		double left;

		if (get(&w->what) == 0 || !window_left(q, w, now_ms, &left) || left >= 0)
			continue;
		/* larger than the whole of it: not for us to judge */
		if (left + (double)held[unit] >= (double)get(&w->capacity) * 0.95 &&
			unit != QUOTA_REQUESTS)
			continue;
		/* a probe is one request at a time and comes seldom: it finds out */
		if (!(is_probe && window_is_guess(w)) && !window_canary(w, now_ms))
			return false;
	}
	return true;
}

static void
add_rings(struct board_quota *q, int kind, int64_t at_ms, int64_t add)
{
	board_quota_slot_add(q->minutes[kind], BOARD_QUOTA_SLOTS, MINUTES_MS, at_ms, add);
	board_quota_slot_add(q->hours[kind], BOARD_QUOTA_DAY, FORECAST_HOUR_MS, at_ms, add);
}

static void
undo(const struct forecast_ticket *t)
{
	int64_t back[QUOTA__UNITS];

	for (int u = 0; u < QUOTA__UNITS; u++)
		back[u] = -t->held[u];
	for (int i = 0; i < 2; i++)
		if (t->quota[i] != NULL)
			count(t->quota[i], back, t->begun_ms, NULL, false);
}

bool
forecast_begin(struct board *b, struct route_candidate *c)
{
	struct forecast_ticket *t = &c->forecast;
	const struct board_quota *known;
	int64_t now_ms = board_now_ms(b);
	bool covered = true;

	memset(t, 0, sizeof *t);
	open_records(b, c, now_ms);
	if (t->quota[0] == NULL)
		return true;
	known = t->quota[1] != NULL ? t->quota[1] : t->quota[0];
	t->begun_ms = now_ms;
	t->held[QUOTA_REQUESTS] = 1;
	for (int u = QUOTA_TOKENS; u <= QUOTA_OUTPUT; u++)
		t->held[u] = get(&known->usual[u]);
	for (int i = 0; i < 2; i++) {
		struct board_quota *q = t->quota[i];

		if (q == NULL)
			continue;
		for (int n = 0; n < BOARD_QUOTA_WINDOWS; n++)
			if (get(&q->window[n].what) != 0)
				window_turn(b, q, &q->window[n], now_ms);
		count(q, t->held, now_ms, t->mark[i], false);
		covered = covered &&
			  (atomic_load(&is_off) || is_covered(q, t->held, c->probes != 0, now_ms));
	}
	if (!covered)
		undo(t);
	for (int i = 0; i < 2; i++) {
		if (t->quota[i] == NULL)
			continue;
		if (covered) {
			set(&t->quota[i]->seen_ms, now_ms);
			add_rings(t->quota[i], 0, now_ms, 1);
		}
		write_hold(t->quota[i], now_ms);
	}
	if (!covered)
		memset(t, 0, sizeof *t);
	return covered;
}

/* It stays counted: its provider may have had it before the client left. */
void
forecast_release(struct board *b, const struct route_candidate *c)
{
	for (int i = 0; i < 2; i++)
		if (c->forecast.quota[i] != NULL)
			write_hold(c->forecast.quota[i], board_now_ms(b));
}

static void
learn_usual(struct board_quota *q, const int64_t used[QUOTA__UNITS])
{
	for (int u = QUOTA_TOKENS; u <= QUOTA_OUTPUT; u++) {
		int64_t usual = get(&q->usual[u]), off;

		if (get(&q->usual[QUOTA_TOKENS]) == 0 || usual == 0) {
			set(&q->usual[u], used[u]);
			set(&q->deviation[u], used[u] / 4);
			continue;
		}
		off = used[u] > usual ? used[u] - usual : usual - used[u];
		set(&q->usual[u], usual + (used[u] - usual) / DECAY);
		set(&q->deviation[u],
			get(&q->deviation[u]) + (off - get(&q->deviation[u])) / DECAY);
	}
}

/* The window that an unexplained refusal is of, by how long the provider says it lasts. */
static int64_t
length_of_refusal(int64_t wait_ms, bool is_quota)
{
	if (is_quota || wait_ms > 2 * FORECAST_HOUR_MS)
		return FORECAST_DAY_MS;
	return wait_ms > 2 * FORECAST_MINUTE_MS ? FORECAST_HOUR_MS : FORECAST_MINUTE_MS;
}

/* What the answer says of the quotas; true when that explains a refusal. */
static bool
see_told(struct board *b, const struct forecast_ticket *t, const struct quota_told *told,
	const int64_t changed[QUOTA__UNITS], int64_t wait_ms, bool refused, int64_t now_ms)
{
	bool explained = false;

	for (int i = 0; i < told->count; i++) {
		struct quota_window w = told->window[i];
		int to = t->quota[1] != NULL && !w.is_account ? 1 : 0;

		if (refused && (w.exceeded || w.remaining == 0 ||
				       (w.remaining > 0 && w.remaining < t->held[w.unit]))) {
			explained = true;
			if (w.exceeded || w.remaining < t->held[w.unit])
				w.remaining = 0;
			if (w.reset_in_ms < 0)
				w.reset_in_ms = wait_ms > 0       ? wait_ms
						: w.length_ms > 0 ? w.length_ms
								  : FORECAST_MINUTE_MS;
		}
		/* of the call that was answered, all is in what it tells */
		learn_told(b, t->quota[to], &w, t->mark[to][w.unit] + changed[w.unit],
			now_ms - told->age_ms);
	}
	return explained;
}

/* ---- foresight ---- */

static double
usual_of(const struct board_quota *q, enum quota_unit unit)
{
	int64_t usual = unit == QUOTA_REQUESTS ? 1 : get(&q->usual[unit]);

	return unit != QUOTA_REQUESTS && usual == 0 ? USUAL_TOKENS : (double)usual;
}

/* Use over a ring, the oldest slot first; how many calls that is. */
static void
series_of(const board_quota_slot *ring, int slots, int64_t slot_ms, double scale, double call,
	int64_t now_ms, int64_t *out, struct forecast_series *s)
{
	double sum = 0;

	for (int i = 0; i < slots; i++) {
		out[i] = (int64_t)((double)board_quota_slot_get(
					   ring, slots, now_ms / slot_ms - (slots - 1 - i)) *
				   scale);
		sum += (double)out[i];
	}
	s->count = out;
	s->slots = slots;
	s->slot_ms = slot_ms;
	s->call = call;
	s->calls = (int64_t)(sum / (call > 0 ? call : 1) + 0.5);
}

/* At which rate it is used: over its own length when that is short, else over an hour, or a day when
 * that is too few calls to tell. */
static void
rate_of(const struct board_quota *q, const struct board_quota_window *w, enum quota_unit unit,
	int64_t now_ms, struct forecast_rate *r)
{
	int64_t counts[BOARD_QUOTA_DAY], length_ms = get(&w->length_ms);
	int kind = unit == QUOTA_REQUESTS ? 0 : 1;
	double call = usual_of(q, unit), scale = 1;
	struct forecast_series s = { .now_ms = now_ms, .since_ms = get(&q->born_ms) };

	if (unit == QUOTA_SHARE) { /* only what leaves it is known */
		*r = (struct forecast_rate){ .dispersion = (double)get(&w->capacity) / 200,
			.span_ms = get(&w->told_ms) - get(&w->anchor_ms) + 1,
			.confidence = 0.5 };
		r->seen = (double)(get(&w->anchor_remaining) - get(&w->remaining));
	} else {
		if (unit == QUOTA_INPUT || unit == QUOTA_OUTPUT)
			scale = call / usual_of(q, QUOTA_TOKENS);
		if (length_ms > 0 && length_ms < FORECAST_HOUR_MS)
			series_of(w->slot, BOARD_QUOTA_SLOTS, window_slot_ms(w), 1, call, now_ms,
				counts, &s);
		if (s.calls < CALLS_LEAST)
			series_of(q->minutes[kind], BOARD_QUOTA_SLOTS, MINUTES_MS, scale, call,
				now_ms, counts, &s);
		if (s.calls < CALLS_LEAST)
			series_of(q->hours[kind], BOARD_QUOTA_DAY, FORECAST_HOUR_MS, scale, call,
				now_ms, counts, &s);
		forecast_rate(&s, r);
		if (s.calls < CALLS_LEAST)
			r->seen = 0; /* a rate for people, but nothing is foreseen of it */
	}
	r->per_ms += (double)get(&w->foreign) / 1e9;
}

struct outlook {
	int64_t dry_ms, share_ppm;
};

/* By kind of capacity and confidence of the rate (systems.md B2.3): 0 low, 1 medium, 2 high, 3 unknown. */
static int
uncertainty_of(enum forecast_kind kind, double confidence)
{
	static const int of_kind[] = { 3, 0, 0, 1, 2 };
	int level = of_kind[kind] + (confidence < 0.5);

	return level > 3 ? 3 : level;
}

/* Of the time that is left so much is counted on … */
static const double safety_of[] = { 1.0, 0.9, 0.75, 0.5 };
/* … and what is foreseen is worth so much. */
static const double worth_of[] = { 1.0, 0.85, 0.7, 0.5 };

/* So much of its weight that it lasts: what is left of the quota against what is left of the time. */
static int64_t
share_of(const struct board_quota_window *w, double left, int64_t now_ms, int64_t end_ms)
{
	double of_time = (double)(end_ms - now_ms) / (double)get(&w->length_ms);
	double share = left / (double)get(&w->capacity) / (of_time < 1e-6 ? 1e-6 : of_time);

	return share >= 1                  ? SHARE_WHOLE
	       : share * 1e6 < SHARE_LEAST ? SHARE_LEAST
					   : (int64_t)(share * 1e6);
}

static void
foresee_window(
	struct board_quota *q, struct board_quota_window *w, int64_t now_ms, struct outlook *o)
{
	static const double of_kind[] = { 0.3, 1.0, 1.0, 0.8, 0.6 };
	static const double sd_of_kind[] = { 0.5, 0, 0, 0.05, 0.1 };
	struct window_what what = what_unpack(get(&w->what));
	int64_t length_ms = get(&w->length_ms), end_ms = get(&w->reset_ms), spread_ms, time_ms;
	int64_t dry_ms = 0, old_dry_ms = get(&w->dry_ms);
	bool ends = is_turning(what.turn) && end_ms > now_ms;
	double left, refill = window_refill(w), capacity = (double)get(&w->capacity);
	struct forecast_rate r;
	int level;

	rate_of(q, w, what.unit, now_ms, &r);
	set(&w->rate, (int64_t)(r.per_ms * 60000 * 1000));
	if (!window_left(q, w, now_ms, &left)) {
		set(&w->dry_ms, 0);
		return;
	}
	if (what.turn == TURN_SLIDING && length_ms > 0)
		refill = (double)window_used(w, now_ms) / (double)length_ms;
	time_ms = forecast_time(
		&r, left, refill, capacity > 0 ? capacity * sd_of_kind[what.kind] : 0, &spread_ms);
	if (left < (double)window_need(q, w))
		dry_ms = old_dry_ms > 0 && old_dry_ms <= now_ms ? old_dry_ms : now_ms;
	else if (time_ms >= 0 && (!ends || now_ms + time_ms < end_ms))
		dry_ms = now_ms + time_ms;
	if (length_ms > FORECAST_HOUR_MS && r.span_ms < FORECAST_HOUR_MS)
		r.confidence *= 0.8;
	level = uncertainty_of(what.kind, r.confidence);
	set(&w->confidence_ppm,
		(int64_t)(r.confidence * of_kind[what.kind] * worth_of[level] * 1e6));
	set(&w->uncertainty, level);
	set(&w->spread_ms, spread_ms);
	set(&w->dry_ms, dry_ms);
	if (dry_ms > 0 && (o->dry_ms == 0 || dry_ms < o->dry_ms))
		o->dry_ms = dry_ms;
	if (ends && length_ms >= FORECAST_HOUR_MS && capacity > 0 && time_ms >= 0 &&
		(double)time_ms * safety_of[level] < (double)(end_ms - now_ms)) {
		int64_t share = share_of(w, left, now_ms, end_ms);

		if (share < o->share_ppm)
			o->share_ppm = share;
	}
}

/* ---- what people are told ---- */

static void
words_for(const struct board_quota_window *w, enum forecast_stage to, char *out, size_t room)
{
	const char *unit = quota_unit_name(what_unpack(get(&w->what)).unit);
	char dry[FORECAST_SAID_BYTES], end[CLOCK_TEXT_BYTES];
	const char *reset = get(&w->reset_ms) > 0 ? "; reset at " : "";

	forecast_say(get(&w->dry_ms), get(&w->spread_ms), dry);
	clock_rfc3339(get(&w->reset_ms), end);
	end[10] = ' ';
	end[*reset == '\0' ? 0 : 16] = '\0';
	if (to == FORECAST_RUNS_DRY)
		(void)snprintf(
			out, room, "its quota of %s runs dry at %s%s%s", unit, dry, reset, end);
	else
		(void)snprintf(out, room, "its quota of %s is %s%s%s", unit,
			to == FORECAST_USED_UP ? "used up" : "there again", reset, end);
}

static void
put_event(struct board *b, const struct board_quota *q, const struct board_quota_window *w,
	const struct board_target *target, struct id id, enum forecast_stage from,
	enum forecast_stage to)
{
	int64_t words[BOARD_QUOTA_MODEL / 8], whole[2] = { get(&q->whole[0]), get(&q->whole[1]) };
	bool is_part = get(&q->linked) != 0, is_upstream = get(&q->of_upstream) != 0;
	char text[160];
	struct board_event e;

	memset(&e, 0, sizeof e);
	e.target = board_target_id(target);
	e.record = id;
	e.kind = EVENT_QUOTA;
	e.scope = is_upstream ? is_part ? SCOPE_UPSTREAM_MODEL : SCOPE_UPSTREAM
		  : is_part   ? SCOPE_KEY_MODEL
			      : SCOPE_KEY;
	e.from = (uint8_t)from;
	e.to = (uint8_t)to;
	e.until_ms = to == FORECAST_RUNS_DRY ? get(&w->dry_ms) : get(&w->reset_ms);
	if (is_part) {
		for (int i = 0; i < BOARD_QUOTA_MODEL / 8; i++)
			words[i] = get(&q->model[i]);
		memcpy(&e.record, whole, sizeof e.record);
		memcpy(e.name, words, sizeof e.name);
		e.name[sizeof e.name - 1] = '\0';
	}
	words_for(w, to, text, sizeof text);
	(void)snprintf(e.evidence, sizeof e.evidence, "%.*s", (int)sizeof e.evidence - 1, text);
	board_event_add(b, &e);
}

/* Worse at once, better only when the window is over: it must not flutter. */
static void
tell_people(struct board *b, const struct board_quota *q, struct board_quota_window *w,
	const struct board_target *target, struct id id, int64_t now_ms)
{
	int64_t was = get(&w->stage), end_ms = get(&w->reset_ms), dry_ms = get(&w->dry_ms);
	struct window_what what = what_unpack(get(&w->what));
	enum forecast_stage to = FORECAST_LASTS;

	if (get(&w->length_ms) < FORECAST_HOUR_MS || what.kind == FORECAST_UNKNOWN)
		return;
	if (dry_ms > 0 && dry_ms <= now_ms)
		to = FORECAST_USED_UP;
	else if (dry_ms > 0 && get(&w->confidence_ppm) >= SURE_PPM &&
		 get(&w->spread_ms) < dry_ms - now_ms)
		to = FORECAST_RUNS_DRY;
	if ((int64_t)to == was || ((int64_t)to < was && get(&w->stage_ms) > now_ms) ||
		!atomic_compare_exchange_strong(&w->stage, &was, to))
		return;
	if (to != FORECAST_LASTS)
		set(&w->stage_ms, is_turning(what.turn) && end_ms > now_ms
					  ? end_ms
					  : now_ms + get(&w->length_ms));
	if (to > was || was == FORECAST_USED_UP)
		put_event(b, q, w, target, id, (enum forecast_stage)was, to);
}

static void
foresee(struct board *b, struct board_quota *q, struct id id, int64_t now_ms)
{
	struct outlook o = { .share_ppm = SHARE_WHOLE };
	struct board_target *target = target_of(b, q, id);

	for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
		struct board_quota_window *w = &q->window[i];

		if (get(&w->what) == 0)
			continue;
		window_turn(b, q, w, now_ms);
		learn_raise(b, q, w, now_ms);
		foresee_window(q, w, now_ms, &o);
		if (target != NULL)
			tell_people(b, q, w, target, id, now_ms);
	}
	if (target == NULL)
		return;
	write_hold(q, now_ms);
	set(&target->forecast_dry_ms, o.dry_ms);
	set(&target->forecast_share_ppm,
		atomic_load(&is_off) || o.share_ppm == SHARE_WHOLE ? 0 : o.share_ppm);
}

/* When it is due, the seldomer the longer nobody asks; whoever says so first does it. */
static bool
foresee_once(struct board *b, struct board_quota *q, struct id id, int64_t now_ms)
{
	int64_t made_ms = get(&q->made_ms), idle_ms = now_ms - get(&q->seen_ms);
	int64_t each_ms = idle_ms < 2 * FORECAST_MINUTE_MS ? FORESEE_MS
			  : idle_ms < FORECAST_HOUR_MS     ? 10 * FORESEE_MS
							   : 60 * FORESEE_MS;

	if ((now_ms - made_ms < each_ms && now_ms >= made_ms) ||
		!atomic_compare_exchange_strong(&q->made_ms, &made_ms, now_ms))
		return false;
	foresee(b, q, id, now_ms);
	return true;
}

void
forecast_see(struct board *b, const struct route_candidate *c, const struct route_outcome *o)
{
	const struct forecast_ticket *t = &c->forecast;
	struct id id = c->key != NULL ? c->key->id : c->upstream->head.id;
	int64_t now_ms = board_now_ms(b), used[QUOTA__UNITS] = { 0 }, changed[QUOTA__UNITS];
	int64_t wait_ms = o->until_ms == 0 ? 0 : o->until_ms - clock_wall_ms();
	bool refused = o->failure == FAILURE_RATE_LIMITED ||
		       (o->failure == FAILURE_NO_CREDIT && o->is_quota),
	     explained = false;

	if (t->quota[0] == NULL)
		return;
	if (o->failure == FAILURE_NONE && o->tokens > 0) {
		used[QUOTA_TOKENS] = o->tokens;
		used[QUOTA_OUTPUT] = o->output_tokens;
		used[QUOTA_INPUT] = o->tokens - o->output_tokens;
		for (int i = 0; i < 2; i++)
			if (t->quota[i] != NULL)
				learn_usual(t->quota[i], used);
	} else if (o->failure == FAILURE_NONE) {
		memcpy(used, t->held, sizeof used);
	}
	used[QUOTA_REQUESTS] = refused ? 0 : 1;
	for (int u = 0; u < QUOTA__UNITS; u++)
		changed[u] = used[u] - t->held[u];
	for (int i = 0; i < 2; i++) {
		if (t->quota[i] == NULL)
			continue;
		count(t->quota[i], changed, t->begun_ms, NULL, o->failure != FAILURE_NONE);
		add_rings(t->quota[i], 1, t->begun_ms, used[QUOTA_TOKENS]);
		if (refused)
			add_rings(t->quota[i], 0, t->begun_ms, -1);
	}
	if (o->failure != FAILURE_NONE)
		memset(changed, 0, sizeof changed);
	if (o->told != NULL)
		explained = see_told(b, t, o->told, changed, wait_ms, refused, now_ms);
	if (refused && !explained && !o->is_address)
		learn_refusal(b, t->quota[t->quota[1] != NULL && !o->is_account ? 1 : 0],
			QUOTA_REQUESTS, length_of_refusal(wait_ms, o->is_quota),
			wait_ms > 0 ? now_ms + wait_ms : 0);
	for (int i = 0; i < 2; i++)
		if (t->quota[i] != NULL && !foresee_once(b, t->quota[i], id, now_ms))
			write_hold(t->quota[i], now_ms);
}

bool
forecast_retry(struct board *b, struct id key)
{
	struct board_quota *q = board_quota_find(b, key);
	int64_t now_ms = board_now_ms(b);
	bool any = false;

	for (int n = 0; q != NULL && n < BOARD_QUOTAS; n++) {
		for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
			struct board_quota_window *w = &q->window[i];

			if (get(&w->what) == 0 || window_hold(q, w, window_need(q, w), now_ms) == 0)
				continue;
			set(&w->canary_ms, now_ms);
			any = true;
		}
		write_hold(q, now_ms);
		q = board_quota_part(b, q);
	}
	return any;
}

void
forecast_clerk(struct board *b)
{
	int64_t now_ms = board_now_ms(b);
	struct id id;

	for (int n = 0; n < BOARD_QUOTAS; n++) {
		struct board_quota *q = board_quota_at(b, n, &id);

		if (q != NULL && now_ms - get(&q->seen_ms) < FORGET_MS)
			(void)foresee_once(b, q, id, now_ms);
	}
}

/* ---- for people ---- */

bool
forecast_is_news(const struct forecast_quota *q)
{
	return q->dry_ms > 0 && q->length_ms >= FORECAST_HOUR_MS && q->confidence_ppm >= SURE_PPM;
}

/* By how long it goes where that is known, else by what is left.  A window that lasts is never called
 * critical: at its end little is left of any. */
static enum forecast_plenty
plenty_of(const struct forecast_quota *f, int64_t need, int64_t now_ms)
{
	int64_t ahead_ms = f->dry_ms - now_ms;

	if (f->remaining < 0)
		return PLENTY_UNKNOWN;
	if (f->remaining < need)
		return PLENTY_EXHAUSTED;
	if (forecast_is_news(f) && ahead_ms < 4 * FORECAST_HOUR_MS)
		return PLENTY_CRITICAL;
	return (forecast_is_news(f) && ahead_ms < FORECAST_DAY_MS) ||
			       (f->capacity > 0 && f->remaining * 5 <= f->capacity)
		       ? PLENTY_CONSTRAINED
		       : PLENTY_ABUNDANT;
}

void
forecast_say(int64_t dry_ms, int64_t spread_ms, char out[FORECAST_SAID_BYTES])
{
	char at[CLOCK_TEXT_BYTES];
	long long s = (long long)(spread_ms + 999) / 1000;

	clock_rfc3339(dry_ms, at);
	at[10] = ' ';
	if (s < 90)
		(void)snprintf(out, FORECAST_SAID_BYTES, "%.16s ± %lld s", at, s);
	else if (s < 90 * 60)
		(void)snprintf(out, FORECAST_SAID_BYTES, "%.16s ± %lld min", at, (s + 30) / 60);
	else
		(void)snprintf(out, FORECAST_SAID_BYTES, "%.16s ± %lld h", at, (s + 1800) / 3600);
}

static int
show(const struct board_quota *q, int64_t now_ms, struct forecast_quota *out, int most)
{
	int64_t words[BOARD_QUOTA_MODEL / 8];
	int count = 0;

	for (int i = 0; i < BOARD_QUOTA_MODEL / 8; i++)
		words[i] = get(&q->model[i]);
	for (int i = 0; i < BOARD_QUOTA_WINDOWS && count < most; i++) {
		const struct board_quota_window *w = &q->window[i];
		struct window_what what = what_unpack(get(&w->what));
		struct forecast_quota *f = &out[count];
		double left;

		if (get(&w->what) == 0 || what.kind == FORECAST_UNKNOWN)
			continue;
		*f = (struct forecast_quota){ .unit = what.unit,
			.kind = what.kind,
			.length_ms = get(&w->length_ms),
			.capacity = get(&w->capacity),
			.remaining = -1,
			.rate_milli = get(&w->rate),
			.dry_ms = get(&w->dry_ms),
			.spread_ms = get(&w->spread_ms),
			.uncertainty = (int)get(&w->uncertainty),
			.confidence_ppm = get(&w->confidence_ppm) };
		(void)memcpy(f->model, words, sizeof f->model);
		f->model[sizeof f->model - 1] = '\0';
		if (window_left(q, w, now_ms, &left))
			f->remaining = left < 0 ? 0 : (int64_t)left;
		f->used = what.turn != TURN_SLIDING && f->remaining >= 0 && f->capacity >= 0
				  ? f->capacity - f->remaining
				  : window_used(w, now_ms);
		f->used = f->used < 0 ? 0 : f->used;
		f->reset_ms = what.turn == TURN_SLIDING || get(&w->reset_ms) <= now_ms
				      ? 0
				      : get(&w->reset_ms);
		f->plenty = plenty_of(f, window_need(q, w), now_ms);
		count++;
	}
	return count;
}

int
forecast_quotas(struct board *b, struct id key, struct forecast_quota *out, int most)
{
	const struct board_quota *q = board_quota_find(b, key);
	int64_t now_ms = board_now_ms(b);
	int count = 0;

	/* a chain that damage made a ring of ends too: each of its records shows something or ends it */
	for (int n = 0; q != NULL && count < most && n < BOARD_QUOTAS; n++) {
		count += show(q, now_ms, out + count, most - count);
		q = board_quota_part(b, q);
	}
	return count;
}

bool
forecast_key_at(struct board *b, int n, struct id *key, bool *is_upstream)
{
	const struct board_quota *q = board_quota_at(b, n, key);

	if (q == NULL || get(&q->linked) != 0)
		return false;
	*is_upstream = get(&q->of_upstream) != 0;
	return true;
}
