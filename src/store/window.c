/*
 * window.c - calendar windows and counter keys of limits.
 *
 * Days are counted by arithmetic, not by gmtime(): no locale, no lock, any int64_t in range.
 */
#include "store/window.h"

#include "base/hash.h"

#include <string.h>

#define MINUTE_MS 60000LL
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

static int64_t
floor_to(int64_t at, int64_t step)
{
	int64_t rest = at % step;

	return at - (rest < 0 ? rest + step : rest);
}

/* Days since 1970 of the first of a month counted from year 0 (Gregorian, proleptic). */
static int64_t
days_of_month(int64_t month_number)
{
	int64_t year = month_number / 12, month = month_number % 12 + 1;
	int64_t era, of_era, of_year;

	/* The year is made to begin in March, so that the leap day is its last. */
	if (month <= 2)
		year--;
	era = (year >= 0 ? year : year - 399) / 400;
	of_era = year - era * 400;
	of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Months since year 0 of a day since 1970. */
static int64_t
month_of_day(int64_t day)
{
	/* A guess that is never too late by more than one month, then a step or two. */
	int64_t month = 1970 * 12 + day * 12 / 366;

	while (days_of_month(month + 1) <= day)
		month++;
	while (days_of_month(month) > day)
		month--;
	return month;
}

void
window_bounds(enum limit_window window, int64_t now_ms, int64_t *start_ms, int64_t *end_ms)
{
	int64_t month;

	switch (window) {
	case WINDOW_MINUTE:
		*start_ms = floor_to(now_ms, MINUTE_MS);
		*end_ms = *start_ms + MINUTE_MS;
		return;
	case WINDOW_HOUR:
		*start_ms = floor_to(now_ms, HOUR_MS);
		*end_ms = *start_ms + HOUR_MS;
		return;
	case WINDOW_DAY:
		*start_ms = floor_to(now_ms, DAY_MS);
		*end_ms = *start_ms + DAY_MS;
		return;
	case WINDOW_WEEK: /* 1970 began on a Thursday: Monday was three days before */
		*start_ms = floor_to(now_ms + 3 * DAY_MS, 7 * DAY_MS) - 3 * DAY_MS;
		*end_ms = *start_ms + 7 * DAY_MS;
		return;
	case WINDOW_MONTH:
		month = month_of_day(floor_to(now_ms, DAY_MS) / DAY_MS);
		*start_ms = days_of_month(month) * DAY_MS;
		*end_ms = days_of_month(month + 1) * DAY_MS;
		return;
	case WINDOW_TOTAL:
	case WINDOW_ROLLING:
		break;
	}
	*start_ms = 0;
	*end_ms = WINDOW_FOREVER;
}

static bool
dimension_applies(const char *scope, const char *value, bool is_glob)
{
	bool known = value != NULL && value[0] != '\0';

	if (scope[0] == '\0')
		return true;
	if (strcmp(scope, "each") == 0)
		return known;
	if (!known)
		return false;
	return is_glob ? glob_match(scope, span_of(value)) : strcmp(scope, value) == 0;
}

bool
limit_applies(const struct limit *l, const struct limit_values *v)
{
	return dimension_applies(l->scope[DIMENSION_PROJECT], v->project, false) &&
	       dimension_applies(l->scope[DIMENSION_TOKEN], v->token, false) &&
	       dimension_applies(l->scope[DIMENSION_MODEL], v->model, true);
}

/* What stands for a dimension in the key. */
static const char *
counted_value(const char *scope, const char *value)
{
	if (strcmp(scope, "each") != 0)
		return scope;
	return value != NULL ? value : "";
}

static void
key_of(struct span parts, uint64_t key[2])
{
	uint8_t digest[SHA256_BYTES];

	hash_sha256(parts.at, parts.len, digest);
	memcpy(key, digest, 2 * sizeof key[0]);
	if (key[0] == 0 && key[1] == 0) /* a key of zeros means "free" to a table */
		key[0] = 1;
}

/* Each text with its NUL, so that two neighbours cannot run into one another. */
static size_t
put_text(uint8_t *at, size_t room, const char *text)
{
	size_t len = strnlen(text, room - 1);

	memcpy(at, text, len);
	at[len] = '\0';
	return len + 1;
}

bool
limit_has_past(const struct limit *l, int64_t window_start_ms)
{
	return l->metric != METRIC_PARALLEL && l->head.created_ms > window_start_ms;
}

void
limit_counter_key(const struct limit *l, const struct limit_values *v, int64_t window_start_ms,
	uint64_t key[2])
{
	uint8_t parts[sizeof l->head.id.b + 2 * sizeof(int32_t) + sizeof(int64_t) + 3 * 256];
	int32_t window = l->metric == METRIC_PARALLEL ? WINDOW_TOTAL : l->window;
	int64_t start = l->metric == METRIC_PARALLEL ? 0 : window_start_ms;
	size_t n = 0;

	memcpy(parts + n, l->head.id.b, sizeof l->head.id.b);
	n += sizeof l->head.id.b;
	memcpy(parts + n, &l->metric, sizeof l->metric);
	n += sizeof l->metric;
	memcpy(parts + n, &window, sizeof window);
	n += sizeof window;
	memcpy(parts + n, &start, sizeof start);
	n += sizeof start;
	n += put_text(parts + n, 256, counted_value(l->scope[DIMENSION_PROJECT], v->project));
	n += put_text(parts + n, 256, counted_value(l->scope[DIMENSION_TOKEN], v->token));
	n += put_text(parts + n, 256, counted_value(l->scope[DIMENSION_MODEL], v->model));
	key_of((struct span){ (const char *)parts, n }, key);
}

void
token_counter_key(struct id token, uint64_t key[2])
{
	static const char what[] = "token.max_requests";
	uint8_t parts[sizeof what + sizeof token.b];

	memcpy(parts, what, sizeof what);
	memcpy(parts + sizeof what, token.b, sizeof token.b);
	key_of((struct span){ (const char *)parts, sizeof parts }, key);
}

int64_t
limit_metric_of(enum limit_metric metric, const struct usage_sum *sum)
{
	const struct tokens *t = &sum->tokens;
	int64_t input = t->input + t->cache_read + t->cache_write;

	switch (metric) {
	case METRIC_REQUESTS:
		return sum->counted;
	case METRIC_INPUT_TOKENS:
		return input;
	case METRIC_OUTPUT_TOKENS:
		return t->output;
	case METRIC_TOKENS:
		return input + t->output;
	case METRIC_COST:
		return sum->cost_nusd;
	case METRIC_PARALLEL:
		break;
	}
	return 0;
}

struct walk {
	const struct limit *limit;
	const struct limit_values *values;
	int64_t from_ms, to_ms;
	struct usage_sum sum;
};

/* Rows stand in order of booking, not of arrival: a long stream is booked behind younger ones, so
 * the walk ends only an hour before the window. */
#define WALK_SLACK_MS HOUR_MS

/* "each" means one counter a value: is the row's another than the one asked for? */
static bool
is_other(const char *scope, const char *want, const char *got)
{
	return strcmp(scope, "each") == 0 && strcmp(want != NULL ? want : "", got) != 0;
}

static bool
add_row(void *ctx, const struct usage_row *row)
{
	struct walk *w = ctx;
	char project[ID_TEXT_BYTES], token[ID_TEXT_BYTES];
	struct limit_values v = { project, token, row->model };
	const struct limit_values *want = w->values;

	if (row->time_ms < w->from_ms)
		return row->time_ms >= w->from_ms - WALK_SLACK_MS;
	if (row->time_ms >= w->to_ms || row->ended_by == ENDED_REFUSED)
		return true;
	id_text(record_prefix(RECORD_PROJECT), row->project, project);
	id_text(record_prefix(RECORD_TOKEN), row->token, token);
	if (!limit_applies(w->limit, &v))
		return true;
	if (is_other(w->limit->scope[DIMENSION_PROJECT], want->project, project) ||
		is_other(w->limit->scope[DIMENSION_TOKEN], want->token, token) ||
		is_other(w->limit->scope[DIMENSION_MODEL], want->model, row->model))
		return true;
	usage_sum_add(&w->sum, row);
	return true;
}

static bool
add_rollup(void *ctx, const struct rollup *r)
{
	struct walk *w = ctx;

	if (glob_match(w->limit->scope[DIMENSION_MODEL], span_of(r->name)))
		usage_sum_merge(&w->sum, &r->sum);
	return true;
}

int
limit_booked(struct store *s, const struct limit *l, const struct limit_values *v, int64_t from_ms,
	int64_t to_ms, int64_t *used, struct err *err)
{
	struct walk w = { l, v, from_ms, to_ms, { 0 } };
	const char *project = counted_value(l->scope[DIMENSION_PROJECT], v->project);
	const char *token = counted_value(l->scope[DIMENSION_TOKEN], v->token);
	const char *model = counted_value(l->scope[DIMENSION_MODEL], v->model);
	int64_t age_ms = to_ms == WINDOW_FOREVER ? INT64_MAX : to_ms - from_ms;
	uint64_t cursor = 0;
	int rc;

	*used = 0;
	if (l->metric == METRIC_PARALLEL)
		return 0;
	if (model[0] != '\0' && (project[0] != '\0' || token[0] != '\0'))
		rc = store_rows_each(s, &cursor, add_row, &w, err);
	else if (strpbrk(model, "*?") != NULL)
		rc = store_rollup_each(s, BY_MODEL,
			age_ms <= HOUR_MS      ? STEP_MINUTE
			: age_ms <= 7 * DAY_MS ? STEP_HOUR
					       : STEP_DAY,
			from_ms, to_ms, NULL, add_rollup, &w, err);
	else if (model[0] != '\0')
		rc = store_usage_sum(s, BY_MODEL, model, from_ms, to_ms, &w.sum, err);
	else if (token[0] != '\0') /* a token has one project, so it says it all */
		rc = store_usage_sum(s, BY_TOKEN, token, from_ms, to_ms, &w.sum, err);
	else if (project[0] != '\0')
		rc = store_usage_sum(s, BY_PROJECT, project, from_ms, to_ms, &w.sum, err);
	else
		rc = store_usage_sum(s, BY_TOTAL, NULL, from_ms, to_ms, &w.sum, err);
	if (rc < 0)
		return -1;
	*used = limit_metric_of((enum limit_metric)l->metric, &w.sum);
	return 0;
}
