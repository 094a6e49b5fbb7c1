/*
 * forecast_learn.c - how a quota comes to be known.
 *
 * Told by headers: exact.  Whether it turns all at once or refills all the time is seen by what stays the
 * same from one answer to the next: the moment of its reset, or the length that (limit - remaining) and the
 * time until it is full imply.  Each answer that fits only one of the two votes.
 *
 * Not told: what had been used when a second refusal came, for one may have any reason, and calls that
 * went well must lie between two that count; lowered at once, and raised by 5 % only after as
 * many well-used windows without one as `patience` says, which doubles with each refusal.
 */
#include "route/forecast-int.h"

#include "base/hash.h"
#include <stdlib.h>
#include <string.h>

#define VOTES_MAX    3
#define PATIENCE     4
#define PATIENCE_MAX 512
#define GUARD_MAX_MS 1000 /* a reset in whole seconds may be told a second early */
#define SAMPLE_MS    200
#define OTHERS_MS    FORECAST_MINUTE_MS /* or a fiftieth of a window: then others' use can be told */
#define WELL_USED    0.8
#define USED_LEAST   5 /* calls that say what a capacity is */

static void
window_begin(struct board_quota_window *w, int64_t length_ms, int64_t capacity)
{
	set(&w->length_ms, length_ms);
	set(&w->capacity, capacity);
	set(&w->remaining, -1);
	set(&w->told_ms, 0);
	set(&w->mark, 0);
	set(&w->reset_ms, 0);
	set(&w->votes, 0);
	set(&w->anchor_ms, 0);
	set(&w->foreign, 0);
	set(&w->ceiling, 0);
	set(&w->clean, 0);
	set(&w->patience, PATIENCE);
	set(&w->clean_ms, 0);
	set(&w->canary_ms, 0);
	set(&w->canary_step_ms, 0);
	set(&w->rate, 0);
	set(&w->dry_ms, 0);
	set(&w->stage, FORECAST_LASTS);
	set(&w->stage_ms, 0);
	for (int i = 0; i < BOARD_QUOTA_SLOTS; i++)
		set(&w->slot[i], 0);
}

/* The first free place, or that of a window of which nothing is known. */
static struct board_quota_window *
window_make(struct board_quota *q, struct window_what what, int64_t length_ms, int64_t capacity)
{
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
			struct board_quota_window *w = &q->window[i];
			int64_t old = get(&w->what);

			if (pass == 0 ? old != 0
				      : what_unpack(old).kind != FORECAST_UNKNOWN ||
						what.kind == FORECAST_UNKNOWN)
				continue;
			if (!atomic_compare_exchange_strong(&w->what, &old, what_pack(what)))
				continue;
			window_begin(w, length_ms, capacity);
			return w;
		}
	return NULL;
}

/* ---- given ---- */

static bool
next_item(const char **at, struct span *item)
{
	size_t len;

	*at += strspn(*at, ",\r\n");
	len = strcspn(*at, ",\r\n");
	*item = (struct span){ *at, len };
	*at += len;
	return len > 0;
}

static struct board_quota_window *
window_given(struct board_quota *q, const struct quota_window *g)
{
	for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
		struct window_what what = what_unpack(get(&q->window[i].what));

		if (get(&q->window[i].what) != 0 && what.kind == FORECAST_GIVEN &&
			what.unit == g->unit && get(&q->window[i].length_ms) == g->length_ms)
			return &q->window[i];
	}
	return NULL;
}

static bool
is_given_still(const char *quotas, const struct board_quota_window *w)
{
	struct quota_window g;
	struct span item;

	while (next_item(&quotas, &item))
		if (quota_parse_given(item, &g) == 0 && g.length_ms == get(&w->length_ms) &&
			g.unit == what_unpack(get(&w->what)).unit)
			return true;
	return false;
}

void
learn_given(struct board *b, struct board_quota *q, const char *quotas)
{
	int64_t hash = quotas[0] == '\0' ? 0 : (int64_t)hash_64(quotas, strlen(quotas), 1);
	int64_t old = get(&q->given), now_ms = board_now_ms(b);
	struct quota_window g;
	struct span item;

	if (old == hash || !atomic_compare_exchange_strong(&q->given, &old, hash))
		return;
	for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++)
		if (get(&q->window[i].what) != 0 &&
			what_unpack(get(&q->window[i].what)).kind == FORECAST_GIVEN &&
			!is_given_still(quotas, &q->window[i]))
			set(&q->window[i].what, 0);
	while (next_item(&quotas, &item)) {
		struct window_what what = { .kind = FORECAST_GIVEN };
		struct board_quota_window *w;

		if (quota_parse_given(item, &g) != 0)
			continue;
		what.unit = g.unit;
		what.turn = g.length_ms >= FORECAST_DAY_MS ? TURN_CALENDAR : TURN_SLIDING;
		w = window_given(q, &g);
		if (w == NULL)
			w = window_make(q, what, g.length_ms, g.limit);
		if (w == NULL)
			continue;
		set(&w->capacity, g.limit);
		if (what.turn != TURN_CALENDAR || get(&w->reset_ms) != 0)
			continue;
		set(&w->remaining, g.limit);
		set(&w->mark, get(&q->begun[g.unit]));
		set(&w->told_ms, now_ms);
		set(&w->reset_ms, window_calendar_end(g.length_ms, now_ms));
	}
}

/* ---- told ---- */

static struct board_quota_window *
window_told(struct board_quota *q, const struct quota_window *t)
{
	struct window_what what = { .unit = t->unit,
		.kind = t->limit >= 0 ? FORECAST_EXACT : FORECAST_BOUNDED,
		.turn = TURN_FIXED,
		.nameless = t->length_ms == 0 };
	struct board_quota_window *w;

	for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
		struct window_what there = what_unpack(get(&q->window[i].what));

		w = &q->window[i];
		if (get(&w->what) == 0 || there.unit != t->unit ||
			(there.kind != FORECAST_EXACT && there.kind != FORECAST_BOUNDED))
			continue;
		if (there.nameless ? t->length_ms == 0 || t->limit == get(&w->capacity)
				   : t->length_ms == get(&w->length_ms))
			return w;
	}
	w = window_make(q, what, t->length_ms, t->limit);
	if (w != NULL)
		set(&w->votes, t->refills ? VOTES_MAX - 1 : 0);
	return w;
}

/* The length that people would have chosen, at least (or about) so long. */
static int64_t
round_length(int64_t ms, bool about)
{
	static const int64_t usual[] = { 1000, 10000, FORECAST_MINUTE_MS, 5 * FORECAST_MINUTE_MS,
		15 * FORECAST_MINUTE_MS, FORECAST_HOUR_MS, 5 * FORECAST_HOUR_MS, FORECAST_DAY_MS,
		7 * FORECAST_DAY_MS, 31 * FORECAST_DAY_MS };

	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (about ? ms > usual[i] * 85 / 100 && ms < usual[i] * 115 / 100
			  : ms <= usual[i] + 1000)
			return usual[i];
	return ms;
}

/* The length of a bucket that would be full in so long, 0: it says nothing. */
static double
length_implied(int64_t capacity, int64_t remaining, int64_t reset_in_ms)
{
	return capacity <= 0 || remaining >= capacity || reset_in_ms <= 0
		       ? 0
		       : (double)capacity * (double)reset_in_ms / (double)(capacity - remaining);
}

static int64_t
apart(int64_t a, int64_t b)
{
	return a > b ? a - b : b - a;
}

struct telling {
	int64_t at_ms, remaining, reset_ms, reset_in_ms, mark, capacity;
};

static void
anchor_set(struct board_quota_window *w, const struct telling *t)
{
	set(&w->anchor_ms, t->at_ms);
	set(&w->anchor_remaining, t->remaining);
	set(&w->anchor_mark, t->mark);
	set(&w->anchor_reset_ms, t->reset_ms);
}

/* Against an earlier answer of the same window: does it turn, or refill? */
static void
vote(struct board_quota_window *w, const struct telling *t)
{
	int64_t tolerance = t->reset_in_ms % 1000 == 0 ? 1100 : 150, votes = get(&w->votes);
	double then = length_implied(t->capacity, get(&w->anchor_remaining),
		get(&w->anchor_reset_ms) - get(&w->anchor_ms));
	double now = length_implied(t->capacity, t->remaining, t->reset_in_ms);
	bool fixed = apart(t->reset_ms, get(&w->anchor_reset_ms)) <= tolerance;
	bool bucket = then > 0 && now > 0 && now > then * 0.9 && now < then * 1.1;

	if (fixed && !bucket && now > 0 && votes > -VOTES_MAX)
		set(&w->votes, votes - 1);
	if (bucket && !fixed && votes < VOTES_MAX)
		set(&w->votes, votes + 1);
}

/* What left the window beside what we used since the earlier answer, by time. */
static void
watch_others(struct board_quota_window *w, enum quota_unit unit, const struct telling *t)
{
	int64_t length_ms = get(&w->length_ms), past_ms = t->at_ms - get(&w->anchor_ms);
	double own = unit == QUOTA_SHARE ? 0 : (double)(t->mark - get(&w->anchor_mark)), others;
	double all = (double)(get(&w->anchor_remaining) - t->remaining);

	if (past_ms < 1000 || past_ms < (length_ms < OTHERS_MS * 50 ? length_ms / 50 : OTHERS_MS))
		return;
	if (window_refill(w) > 0) {
		if ((double)get(&w->anchor_remaining) > (double)t->capacity * 0.95 ||
			(double)t->remaining > (double)t->capacity * 0.95) {
			set(&w->foreign, 0); /* it was full: what came back is not known */
			return;
		}
		all += window_refill(w) * (double)past_ms;
	}
	others = all - own;
	/* how providers count tokens is never quite how they are reported */
	if (others < 2 || others < own * 0.1)
		others = 0;
	set(&w->foreign, (int64_t)(others / (double)past_ms * 1e9));
}

static void
tell(struct board_quota *q, struct board_quota_window *w, const struct quota_window *told,
	struct telling *t)
{
	struct window_what what = what_unpack(get(&w->what));
	int64_t length_ms = get(&w->length_ms), anchor_ms = get(&w->anchor_ms), implied;
	bool turned = anchor_ms != 0 && get(&w->anchor_reset_ms) <= t->at_ms;

	if (told->limit >= 0) {
		set(&w->capacity, told->limit);
		what.kind = FORECAST_EXACT;
	} else if (t->remaining > 0 && t->remaining > get(&w->capacity)) {
		set(&w->capacity, t->remaining);
	}
	t->capacity = get(&w->capacity);
	if (t->remaining < 0)
		return;
	if (get(&w->remaining) >= 0 && t->mark < get(&w->mark) && !turned &&
		t->at_ms < get(&w->told_ms) + FORECAST_MINUTE_MS)
		return; /* an answer to a call that began before the one we know of */
	if (anchor_ms != 0 && !turned && t->at_ms - anchor_ms >= SAMPLE_MS && t->reset_ms != 0)
		vote(w, t);
	/* in doubt nothing comes back before the reset */
	what.turn = get(&w->votes) == VOTES_MAX && t->capacity > 0 ? TURN_BUCKET : TURN_FIXED;
	if (what.turn != what_unpack(get(&w->what)).turn && told->length_ms == 0)
		length_ms = 0;
	if (what.turn == TURN_BUCKET) {
		implied = (int64_t)length_implied(t->capacity, t->remaining, t->reset_in_ms);
		/* near the top it is mostly rounding */
		if (told->length_ms == 0 && implied >= 500 &&
			(length_ms == 0 || t->remaining < t->capacity * 9 / 10))
			length_ms = round_length(implied, true);
		if (length_ms == 0)
			length_ms = FORECAST_MINUTE_MS;
	} else if (told->length_ms == 0 && t->reset_in_ms > length_ms) {
		length_ms = round_length(t->reset_in_ms, false);
	}
	set(&w->what, what_pack(what));
	set(&w->length_ms, length_ms);
	if (what.turn == TURN_FIXED && t->reset_ms == 0 && get(&w->reset_ms) <= t->at_ms)
		t->reset_ms = t->at_ms + (length_ms > 0 ? length_ms : FORECAST_MINUTE_MS);
	else if (what.turn == TURN_FIXED && t->reset_ms > 0 && t->reset_in_ms % 1000 == 0)
		t->reset_ms += length_ms / 50 < GUARD_MAX_MS ? length_ms / 50 : GUARD_MAX_MS;
	if (anchor_ms != 0 && !turned)
		watch_others(w, told->unit, t);
	if (anchor_ms == 0 || turned ||
		(what.turn == TURN_BUCKET && t->at_ms - anchor_ms > length_ms))
		anchor_set(w, t);
	set(&w->remaining, t->remaining);
	set(&w->told_ms, t->at_ms);
	set(&w->mark, t->mark);
	if (t->reset_ms != 0)
		set(&w->reset_ms, t->reset_ms);
	/* there is more than was thought */
	if (t->remaining > window_need(q, w)) {
		set(&w->canary_ms, 0);
		set(&w->canary_step_ms, 0);
	}
}

void
learn_told(struct board *b, struct board_quota *q, const struct quota_window *told, int64_t mark,
	int64_t at_ms)
{
	struct board_quota_window *w;
	struct telling t = { .at_ms = at_ms,
		.remaining = told->remaining,
		.reset_in_ms = told->reset_in_ms,
		.reset_ms = told->reset_in_ms < 0 ? 0 : at_ms + told->reset_in_ms,
		.mark = mark };

	if (told->limit < 0 && told->remaining < 0)
		return;
	w = window_told(q, told);
	if (w == NULL || !board_quota_claim(b, w))
		return;
	tell(q, w, told, &t);
	board_quota_release(w);
}

/* ---- refused ---- */

static struct board_quota_window *
window_learned(struct board_quota *q, enum quota_unit unit, int64_t length_ms)
{
	struct window_what what = { .unit = unit };

	for (int i = 0; i < BOARD_QUOTA_WINDOWS; i++) {
		struct window_what there = what_unpack(get(&q->window[i].what));

		if (get(&q->window[i].what) != 0 && there.unit == unit &&
			(there.kind == FORECAST_UNKNOWN || there.kind == FORECAST_ESTIMATED) &&
			get(&q->window[i].length_ms) == length_ms)
			return &q->window[i];
	}
	what.turn = length_ms >= FORECAST_DAY_MS ? TURN_CALENDAR : TURN_SLIDING;
	return window_make(q, what, length_ms, -1);
}

void
learn_watch(struct board_quota *q, enum quota_unit unit, int64_t length_ms)
{
	struct board_quota_window *w = window_learned(q, unit, length_ms);

	if (w != NULL)
		set(&w->clean_ms, 1);
}

/* Does that refusal say anything that the last one did not? */
static bool
is_new_refusal(struct board_quota *q, struct board_quota_window *w, struct window_what what,
	int64_t used, int64_t now_ms)
{
	int64_t begun = get(&q->begun[what.unit]), first_ms = get(&w->anchor_ms);
	int64_t went_well = begun - get(&w->anchor_mark) - get(&w->votes);
	bool is_sure = what.turn == TURN_CALENDAR || what.kind == FORECAST_ESTIMATED;

	if (first_ms != 0 && went_well < USED_LEAST) {
		set(&w->votes, get(&w->votes) + 1);
		return false;
	}
	is_sure |= first_ms != 0 && used >= get(&w->anchor_remaining) / 2;
	set(&w->anchor_ms, now_ms);
	set(&w->anchor_mark, begun);
	set(&w->anchor_remaining, used);
	set(&w->votes, 0);
	return is_sure;
}

void
learn_refusal(struct board *b, struct board_quota *q, enum quota_unit unit, int64_t length_ms,
	int64_t until_ms)
{
	struct board_quota_window *w = window_learned(q, unit, length_ms);
	int64_t now_ms = board_now_ms(b), used, capacity, patience;
	struct window_what what;

	if (w == NULL || !board_quota_claim(b, w))
		return;
	what = what_unpack(get(&w->what));
	if (get(&w->clean_ms) == 0) { /* it was not watched: what had been used is not known */
		set(&w->clean_ms, 1);
		board_quota_release(w);
		return;
	}
	if (what.turn == TURN_CALENDAR && what.kind == FORECAST_ESTIMATED &&
		get(&w->remaining) == 0 && get(&w->reset_ms) > now_ms) { /* so it was known */
		if (until_ms > get(&w->reset_ms))
			set(&w->reset_ms, until_ms);
		board_quota_release(w);
		return;
	}
	used = what.turn == TURN_CALENDAR && get(&w->told_ms) > 0
		       ? get(&q->begun[unit]) - get(&w->mark)
		       : window_used(w, now_ms);
	capacity = get(&w->capacity);
	/* somebody else's use, or another reason */
	if ((used < USED_LEAST && capacity < 0) || !is_new_refusal(q, w, what, used, now_ms)) {
		board_quota_release(w);
		return;
	}
	used = used < 1 ? 1 : used;
	if (what.kind == FORECAST_UNKNOWN || capacity < 0) {
		capacity = used;
	} else if (used < capacity) {
		/* others use it too, or it was less than thought */
		capacity = now_ms - get(&w->clean_ms) > length_ms / 4 && used < capacity * 9 / 10
				   ? capacity * 9 / 10
				   : used;
	}
	patience = get(&w->patience) * (now_ms - get(&w->clean_ms) > length_ms / 4 ? 2 : 1);
	set(&w->ceiling, get(&w->capacity));
	set(&w->capacity, capacity < 1 ? 1 : capacity);
	set(&w->patience, patience > PATIENCE_MAX ? PATIENCE_MAX : patience);
	set(&w->clean, 0);
	set(&w->clean_ms, now_ms);
	what.kind = FORECAST_ESTIMATED;
	if (what.turn == TURN_CALENDAR) {
		set(&w->remaining, 0);
		set(&w->mark, get(&q->begun[unit]));
		set(&w->told_ms, now_ms);
		set(&w->reset_ms,
			until_ms > now_ms ? until_ms : window_calendar_end(length_ms, now_ms));
	}
	set(&w->what, what_pack(what));
	board_quota_release(w);
}

void
learn_raise(struct board *b, struct board_quota *q, struct board_quota_window *w, int64_t now_ms)
{
	int64_t capacity = get(&w->capacity), length_ms = get(&w->length_ms);

	(void)q;
	if (what_unpack(get(&w->what)).kind != FORECAST_ESTIMATED || length_ms <= 0 ||
		now_ms - get(&w->clean_ms) < length_ms ||
		(double)window_used(w, now_ms) < (double)capacity * WELL_USED ||
		!board_quota_claim(b, w))
		return;
	if (get(&w->clean) + 1 < get(&w->patience)) {
		set(&w->clean, get(&w->clean) + 1);
	} else {
		set(&w->capacity, capacity + (capacity < 40 ? 1 : capacity / 20));
		set(&w->clean, 0);
	}
	set(&w->clean_ms, now_ms);
	board_quota_release(w);
}
