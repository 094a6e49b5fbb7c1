/*
 * forecast_window.c - one window of a quota: when it turns, what is left in it, until when to wait.
 *
 * What is told remaining is of the call that was answered; what was begun since (the difference of
 * `begun` and `mark`) is taken off, and what others were seen to use.  That a call which began before that
 * answer came may be in both makes it too careful by a few calls under way, never too bold.
 */
#include "route/forecast-int.h"

#include "base/clock.h"
#include <time.h>

#define CANARY_MS     (15 * FORECAST_MINUTE_MS)
#define CANARY_MAX_MS (8 * FORECAST_HOUR_MS)
#define NEARLY_ALL    0.95

int64_t
window_calendar_end(int64_t length_ms, int64_t now_ms)
{
	time_t s = (time_t)(now_ms / 1000);
	struct tm t;

	if (length_ms < 28 * FORECAST_DAY_MS)
		return (now_ms / length_ms + 1) * length_ms;
	if (gmtime_r(&s, &t) == NULL)
		return now_ms + length_ms;
	return (int64_t)timegm(
		       &(struct tm){ .tm_year = t.tm_year, .tm_mon = t.tm_mon + 1, .tm_mday = 1 }) *
	       1000;
}

void
window_turn(struct board *b, struct board_quota *q, struct board_quota_window *w, int64_t now_ms)
{
	struct window_what what = what_unpack(get(&w->what));
	int64_t end_ms = get(&w->reset_ms), length_ms = get(&w->length_ms), next_ms = 0;
	int64_t capacity = get(&w->capacity);

	if (!is_turning(what.turn) || end_ms == 0 || now_ms < end_ms || !board_quota_claim(b, w))
		return;
	if (get(&w->reset_ms) == end_ms) { /* nobody was quicker */
		if (what.turn == TURN_CALENDAR)
			next_ms = window_calendar_end(length_ms, now_ms);
		else if (length_ms > 0)
			next_ms = end_ms + ((now_ms - end_ms) / length_ms + 1) * length_ms;
		set(&w->remaining, capacity);
		set(&w->told_ms, now_ms);
		set(&w->mark, get(&q->begun[what.unit]));
		set(&w->anchor_ms, 0);
		set(&w->canary_ms, 0);
		set(&w->canary_step_ms, 0);
		set(&w->reset_ms, next_ms);
	}
	board_quota_release(w);
}

int64_t
window_used(const struct board_quota_window *w, int64_t now_ms)
{
	int64_t n = now_ms / window_slot_ms(w), sum = 0;

	for (int i = 0; i < BOARD_QUOTA_SLOTS; i++)
		sum += board_quota_slot_get(w->slot, BOARD_QUOTA_SLOTS, n - i);
	return sum;
}

double
window_refill(const struct board_quota_window *w)
{
	int64_t capacity = get(&w->capacity), length_ms = get(&w->length_ms);

	return what_unpack(get(&w->what)).turn != TURN_BUCKET || capacity <= 0 || length_ms <= 0
		       ? 0
		       : (double)capacity / (double)length_ms;
}

bool
window_left(const struct board_quota *q, const struct board_quota_window *w, int64_t now_ms,
	double *left)
{
	struct window_what what = what_unpack(get(&w->what));
	int64_t capacity = get(&w->capacity), remaining = get(&w->remaining);
	double since = (double)(now_ms - get(&w->told_ms)), refill = window_refill(w);

	if (what.turn == TURN_SLIDING) {
		*left = (double)(capacity - window_used(w, now_ms));
		return capacity >= 0;
	}
	if (remaining < 0)
		return false;
	since = since < 0 ? 0 : since;
	*left = (double)remaining + since * refill;
	if (refill > 0 && *left > (double)capacity)
		*left = (double)capacity;
	*left -= (double)(get(&q->begun[what.unit]) - get(&w->mark)) +
		 (double)get(&w->foreign) / 1e9 * since;
	if (capacity > 0 && *left > (double)capacity)
		*left = (double)capacity;
	return true;
}

int64_t
window_need(const struct board_quota *q, const struct board_quota_window *w)
{
	enum quota_unit unit = what_unpack(get(&w->what)).unit;
	int64_t capacity = get(&w->capacity), need;

	if (unit == QUOTA_REQUESTS)
		return 1;
	if (unit == QUOTA_SHARE)
		return capacity / 200;
	need = get(&q->usual[unit]) + get(&q->deviation[unit]);
	/* a call that is larger than the whole is not for us to judge */
	if (capacity > 0 && (double)need > (double)capacity * NEARLY_ALL)
		need = (int64_t)((double)capacity * NEARLY_ALL);
	return need < 1 ? 1 : need;
}

/* When enough of what was used has aged. */
static int64_t
sliding_hold(const struct board_quota_window *w, double missing, int64_t now_ms)
{
	int64_t slot_ms = window_slot_ms(w), n = now_ms / slot_ms;

	for (int i = BOARD_QUOTA_SLOTS - 1; i >= 0; i--) {
		missing -= (double)board_quota_slot_get(w->slot, BOARD_QUOTA_SLOTS, n - i);
		if (missing <= 0)
			return (n - i + BOARD_QUOTA_SLOTS) * slot_ms;
	}
	return (n + BOARD_QUOTA_SLOTS) * slot_ms;
}

int64_t
window_hold(struct board_quota *q, struct board_quota_window *w, int64_t need, int64_t now_ms)
{
	struct window_what what = what_unpack(get(&w->what));
	int64_t until_ms = get(&w->reset_ms), canary_ms = get(&w->canary_ms), none = 0;
	double left, refill = window_refill(w);

	if (!window_left(q, w, now_ms, &left) || left >= (double)need) {
		set(&w->canary_ms, 0);
		return 0;
	}
	if (canary_ms != 0 && canary_ms <= now_ms)
		return 0;
	if (what.turn == TURN_SLIDING)
		until_ms = sliding_hold(w, (double)need - left, now_ms);
	else if (refill > 0)
		until_ms = now_ms + (int64_t)(((double)need - left) / refill) + 1;
	else if (until_ms <= now_ms)
		until_ms = now_ms + FORECAST_MINUTE_MS;
	if (what.kind == FORECAST_GIVEN || until_ms - now_ms <= CANARY_MS)
		return until_ms;
	/* However sure it looks: now and then one call finds out, of what a provider told, once. */
	if (canary_ms == 0) {
		int64_t step_ms = what.kind == FORECAST_EXACT ? (until_ms - now_ms) / 2 : 0;

		step_ms = step_ms < CANARY_MS ? CANARY_MS : step_ms;
		canary_ms = now_ms + step_ms;
		if (atomic_compare_exchange_strong(&w->canary_ms, &none, canary_ms))
			set(&w->canary_step_ms, step_ms);
		else
			canary_ms = none;
	}
	return canary_ms < until_ms ? canary_ms : until_ms;
}

bool
window_canary(struct board_quota_window *w, int64_t now_ms)
{
	int64_t due_ms = get(&w->canary_ms), step_ms = get(&w->canary_step_ms) * 2;

	if (due_ms == 0 || now_ms < due_ms)
		return false;
	step_ms = step_ms < CANARY_MS       ? CANARY_MS
		  : step_ms > CANARY_MAX_MS ? CANARY_MAX_MS
					    : step_ms;
	if (!atomic_compare_exchange_strong(&w->canary_ms, &due_ms, now_ms + step_ms))
		return false;
	set(&w->canary_step_ms, step_ms);
	return true;
}

bool
window_is_guess(const struct board_quota_window *w)
{
	return what_unpack(get(&w->what)).kind == FORECAST_ESTIMATED;
}
