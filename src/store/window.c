/*
 * window.c - calendar windows and counters of limits.
 *
 * Days are counted by arithmetic, not by gmtime(): no locale, no lock, any int64_t in range.
 */
#include "store/window.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/net.h"

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

/* UTC of a local midnight, by days since 1970. */
static int64_t
midnight_ms(const struct zone *zone, int64_t day)
{
	return zone == NULL ? day * DAY_MS : zone_utc_s(zone, day * (DAY_MS / 1000)) * 1000;
}

void
window_bounds(enum limit_window window, const struct zone *zone, int64_t now_ms, int64_t *start_ms,
	int64_t *end_ms)
{
	int64_t day = 0, days = 1;

	switch (window) {
	case WINDOW_MINUTE:
		*start_ms = floor_to(now_ms, MINUTE_MS);
		*end_ms = *start_ms + MINUTE_MS;
		return;
	case WINDOW_HOUR:
		*start_ms = floor_to(now_ms, HOUR_MS);
		*end_ms = *start_ms + HOUR_MS;
		return;
	case WINDOW_TOTAL:
	case WINDOW_ROLLING:
		*start_ms = 0;
		*end_ms = WINDOW_FOREVER;
		return;
	case WINDOW_DAY:
	case WINDOW_WEEK:
	case WINDOW_MONTH:
		break;
	}
	day = floor_to(now_ms + zone_offset_s(zone, floor_to(now_ms, 1000) / 1000) * 1000, DAY_MS) /
	      DAY_MS;
	if (window == WINDOW_WEEK) { /* 1970 began on a Thursday: Monday was three days before */
		day = floor_to(day + 3, 7) - 3;
		days = 7;
	} else if (window == WINDOW_MONTH) {
		int64_t month = month_of_day(day);

		day = days_of_month(month);
		days = days_of_month(month + 1) - day;
	}
	*start_ms = midnight_ms(zone, day);
	*end_ms = midnight_ms(zone, day + days);
}

void
limit_window(const struct limit_rule *r, int64_t now_ms, int64_t *start_ms, int64_t *end_ms)
{
	const struct limit *l = r->limit;

	window_bounds(l->metric == METRIC_PARALLEL ? WINDOW_TOTAL : (enum limit_window)l->window,
		r->zone, now_ms, start_ms, end_ms);
}

int64_t
limit_rolling_ms(const struct limit *l)
{
	return l->window == WINDOW_ROLLING && l->metric != METRIC_PARALLEL ? l->window_s * 1000 : 0;
}

/* ---- scopes ---- */

static enum scope_how
how_of(enum limit_dimension d, const char *scope, struct id *id)
{
	bool pattern = strpbrk(scope, "*?") != NULL;

	if (scope[0] == '\0')
		return SCOPE_ANY;
	if (strcmp(scope, "each") == 0)
		return SCOPE_EACH;
	switch (d) {
	case DIMENSION_PROJECT:
		return id_parse("prj_", scope, id) == 0 ? SCOPE_ID : SCOPE_NOBODY;
	case DIMENSION_TOKEN:
		return id_parse("tok_", scope, id) == 0 ? SCOPE_ID : SCOPE_NOBODY;
	case DIMENSION_UPSTREAM:
		return id_parse("up_", scope, id) == 0 ? SCOPE_ID : SCOPE_NOBODY;
	case DIMENSION_KEY:
		return id_parse("key_", scope, id) == 0 ? SCOPE_ID : SCOPE_NOBODY;
	case DIMENSION_MODEL:
		return pattern ? SCOPE_GLOB : SCOPE_TEXT;
	case DIMENSION_TAG:
		return pattern ? SCOPE_TAGS : SCOPE_TEXT;
	case DIMENSION_ADDRESS:
		return strpbrk(scope, "/,") != NULL ? SCOPE_NETWORK : SCOPE_TEXT;
	case DIMENSION_END_USER:
	case DIMENSION__COUNT:
		break;
	}
	return SCOPE_TEXT;
}

void
limit_rule(const struct limit *l, const struct zone *zone, struct limit_rule *out)
{
	*out = (struct limit_rule){ .limit = l, .zone = zone };
	for (int d = 0; d < DIMENSION__COUNT; d++)
		out->how[d] = (uint8_t)how_of((enum limit_dimension)d, l->scope[d], &out->id[d]);
	out->by_attempt =
		out->how[DIMENSION_UPSTREAM] != SCOPE_ANY || out->how[DIMENSION_KEY] != SCOPE_ANY;
}

void
limit_of_target(struct id target, bool is_key, int64_t max_parallel, struct limit *out)
{
	enum limit_dimension d = is_key ? DIMENSION_KEY : DIMENSION_UPSTREAM;

	record_init(RECORD_LIMIT, out);
	out->head.id = target;
	id_text(is_key ? "key_" : "up_", target, out->scope[d]);
	out->metric = METRIC_PARALLEL;
	out->window = WINDOW_TOTAL;
	out->mode = LIMIT_HARD;
	out->cap = max_parallel;
	out->is_active = true;
}

bool
limit_is_of_target(const struct limit_rule *r)
{
	enum limit_dimension d =
		r->how[DIMENSION_KEY] == SCOPE_ID ? DIMENSION_KEY : DIMENSION_UPSTREAM;

	return r->how[d] == SCOPE_ID && id_equal(r->id[d], r->limit->head.id);
}

static bool
id_fits(const struct limit_rule *r, enum limit_dimension d, struct id value)
{
	switch ((enum scope_how)r->how[d]) {
	case SCOPE_ANY:
		return true;
	case SCOPE_EACH:
		return !id_is_none(value);
	case SCOPE_ID:
		return id_equal(r->id[d], value);
	default:
		return false;
	}
}

static bool
text_fits(const struct limit_rule *r, enum limit_dimension d, const char *value)
{
	const char *scope = r->limit->scope[d];

	if (r->how[d] == SCOPE_ANY)
		return true;
	if (value == NULL || value[0] == '\0')
		return false;
	switch ((enum scope_how)r->how[d]) {
	case SCOPE_EACH:
		return true;
	case SCOPE_TEXT:
		return strcmp(scope, value) == 0;
	case SCOPE_GLOB:
	case SCOPE_TAGS:
		return glob_match(scope, span_of(value));
	case SCOPE_NETWORK:
		return net_in_list(scope, value);
	default:
		return false;
	}
}

/* Is there a counter for every value of that dimension? */
static bool
tells_apart(const struct limit_rule *r, enum limit_dimension d)
{
	return r->how[d] == SCOPE_EACH || r->how[d] == SCOPE_TAGS;
}

int
limit_counters(
	const struct limit_rule *r, const struct limit_values *v, const char *tag[USAGE_TAGS_MAX])
{
	int count = 0;

	if (!id_fits(r, DIMENSION_TOKEN, v->token) || !id_fits(r, DIMENSION_PROJECT, v->project) ||
		!id_fits(r, DIMENSION_UPSTREAM, v->upstream) ||
		!id_fits(r, DIMENSION_KEY, v->key) ||
		!text_fits(r, DIMENSION_END_USER, v->end_user) ||
		!text_fits(r, DIMENSION_MODEL, v->model) ||
		!text_fits(r, DIMENSION_ADDRESS, v->address))
		return 0;
	tag[0] = "";
	if (r->how[DIMENSION_TAG] == SCOPE_ANY)
		return 1;
	for (int i = 0; i < USAGE_TAGS_MAX; i++) {
		if (!text_fits(r, DIMENSION_TAG, v->tag[i]))
			continue;
		if (!tells_apart(r, DIMENSION_TAG))
			return 1;
		tag[count++] = v->tag[i];
	}
	return count;
}

/* ---- counters ---- */

static size_t
put_id(uint8_t *at, struct id id)
{
	memcpy(at, id.b, sizeof id.b);
	return sizeof id.b;
}

/* With its NUL, so that two neighbours cannot run into one another. */
static size_t
put_text(uint8_t *at, const char *text)
{
	size_t len = text == NULL ? 0 : strnlen(text, MODEL_BYTES - 1);

	if (len > 0)
		memcpy(at, text, len);
	at[len] = '\0';
	return len + 1;
}

_Static_assert(COUNTER_NAME_WINDOW + 4 * 16 + 3 * MODEL_BYTES < COUNTER_NAME_BYTES,
	"four ids and four texts, of which only models are as long as that");

size_t
limit_counter_name(const struct limit_rule *r, const struct limit_values *v, const char *tag,
	int64_t window_start_ms, uint8_t out[COUNTER_NAME_BYTES])
{
	size_t n = put_id(out, r->limit->head.id);

	memcpy(out + n, &window_start_ms, sizeof window_start_ms);
	n += sizeof window_start_ms;
	if (tells_apart(r, DIMENSION_PROJECT))
		n += put_id(out + n, v->project);
	if (tells_apart(r, DIMENSION_TOKEN))
		n += put_id(out + n, v->token);
	if (tells_apart(r, DIMENSION_UPSTREAM))
		n += put_id(out + n, v->upstream);
	if (tells_apart(r, DIMENSION_KEY))
		n += put_id(out + n, v->key);
	if (tells_apart(r, DIMENSION_END_USER))
		n += put_text(out + n, v->end_user);
	if (tells_apart(r, DIMENSION_MODEL))
		n += put_text(out + n, v->model);
	if (tells_apart(r, DIMENSION_ADDRESS))
		n += put_text(out + n, v->address);
	if (tells_apart(r, DIMENSION_TAG))
		n += put_text(out + n, tag);
	return n;
}

size_t
token_counter_name(struct id token, uint8_t out[COUNTER_NAME_BYTES])
{
	static const char what[] = "token.max_requests";

	memcpy(out, what, sizeof what);
	return sizeof what + put_id(out + sizeof what, token);
}

uint64_t
limit_address_hash(const char *address)
{
	uint64_t hash;

	if (address == NULL || address[0] == '\0')
		return 0;
	hash = hash_64(address, strlen(address), 0);
	return hash == 0 ? 1 : hash; /* 0 stands for "unknown" */
}

bool
limit_has_past(const struct limit *l, int64_t window_start_ms, int64_t now_ms)
{
	int64_t rolling_ms = limit_rolling_ms(l);
	int64_t made_ms = l->since_ms != 0 ? l->since_ms : l->head.created_ms;

	return l->metric != METRIC_PARALLEL &&
	       made_ms > (rolling_ms > 0 ? now_ms - rolling_ms : window_start_ms);
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

/* ---- what is booked ---- */

struct walk {
	const struct limit_rule *rule;
	const struct limit_values *values;
	const char *tag;
	int64_t from_ms, to_ms;
	struct usage_sum sum;
};

/* Rows stand in order of booking, not of arrival: a long stream is booked behind younger ones, so
 * the walk ends only an hour before the window. */
#define WALK_SLACK_MS HOUR_MS

static bool
same_text(const struct limit_rule *r, enum limit_dimension d, const char *want, const char *got)
{
	return !tells_apart(r, d) || strcmp(want != NULL ? want : "", got) == 0;
}

static bool
same_id(const struct limit_rule *r, enum limit_dimension d, struct id want, struct id got)
{
	return !tells_apart(r, d) || id_equal(want, got);
}

/* Rows keep an address' hash: enough to tell one from another. */
static bool
address_fits(const struct walk *w, const struct usage_row *row)
{
	switch ((enum scope_how)w->rule->how[DIMENSION_ADDRESS]) {
	case SCOPE_ANY:
		return true;
	case SCOPE_EACH:
		return row->address != 0 && row->address == limit_address_hash(w->values->address);
	case SCOPE_TEXT:
		return row->address == limit_address_hash(w->rule->limit->scope[DIMENSION_ADDRESS]);
	default:
		return false;
	}
}

static bool
tag_fits(const struct walk *w, const struct usage_row *row)
{
	const char *want =
		tells_apart(w->rule, DIMENSION_TAG) ? w->tag : w->rule->limit->scope[DIMENSION_TAG];

	if (w->rule->how[DIMENSION_TAG] == SCOPE_ANY)
		return true;
	for (int i = 0; i < USAGE_TAGS_MAX; i++)
		if (row->tags[i][0] != '\0' && strcmp(row->tags[i], want) == 0)
			return true;
	return false;
}

static bool
row_fits(const struct walk *w, const struct usage_row *row)
{
	const struct limit_rule *r = w->rule;
	const struct limit_values *v = w->values;

	return id_fits(r, DIMENSION_PROJECT, row->project) &&
	       id_fits(r, DIMENSION_TOKEN, row->token) &&
	       id_fits(r, DIMENSION_UPSTREAM, row->upstream) &&
	       id_fits(r, DIMENSION_KEY, row->key) &&
	       text_fits(r, DIMENSION_END_USER, row->end_user) &&
	       text_fits(r, DIMENSION_MODEL, row->model) &&
	       same_id(r, DIMENSION_PROJECT, v->project, row->project) &&
	       same_id(r, DIMENSION_TOKEN, v->token, row->token) &&
	       same_id(r, DIMENSION_UPSTREAM, v->upstream, row->upstream) &&
	       same_id(r, DIMENSION_KEY, v->key, row->key) &&
	       same_text(r, DIMENSION_END_USER, v->end_user, row->end_user) &&
	       same_text(r, DIMENSION_MODEL, v->model, row->model) && tag_fits(w, row) &&
	       address_fits(w, row);
}

static bool
add_row(void *ctx, const struct usage_row *row)
{
	struct walk *w = ctx;

	if (row->time_ms < w->from_ms)
		return row->time_ms >= w->from_ms - WALK_SLACK_MS;
	if (row->time_ms < w->to_ms && row->ended_by != ENDED_REFUSED && row_fits(w, row))
		usage_sum_add(&w->sum, row);
	return true;
}

static bool
add_rollup(void *ctx, const struct rollup *r)
{
	struct walk *w = ctx;

	if (glob_match(w->rule->limit->scope[DIMENSION_MODEL], span_of(r->name)))
		usage_sum_merge(&w->sum, &r->sum);
	return true;
}

/* The dimension that alone tells a row of the counter from others; DIMENSION__COUNT: none does, -1:
 * it takes several. */
static int
only_dimension(const struct limit_rule *r)
{
	int only = DIMENSION__COUNT;

	for (int d = 0; d < DIMENSION__COUNT; d++) {
		if (r->how[d] == SCOPE_ANY)
			continue;
		/* a token has one project, so it says it all */
		if (d == DIMENSION_TOKEN && only == DIMENSION_PROJECT)
			only = DIMENSION__COUNT;
		if (only != DIMENSION__COUNT)
			return -1;
		only = d;
	}
	return only;
}

static const char *
id_name(const struct limit_rule *r, enum limit_dimension d, const char *prefix, struct id value,
	char text[ID_TEXT_BYTES])
{
	id_text(prefix, r->how[d] == SCOPE_ID ? r->id[d] : value, text);
	return text;
}

/* How rollups are kept of it: false where they are not. */
static bool
rollup_of(const struct walk *w, int d, enum rollup_by *by, const char **value,
	char text[ID_TEXT_BYTES])
{
	const struct limit_rule *r = w->rule;
	const struct limit_values *v = w->values;
	const char *scope = d < 0 || d == DIMENSION__COUNT ? "" : r->limit->scope[d];

	switch (d) {
	case DIMENSION__COUNT:
		*by = BY_TOTAL;
		*value = NULL;
		return true;
	case DIMENSION_PROJECT:
		*by = BY_PROJECT;
		*value = id_name(r, DIMENSION_PROJECT, "prj_", v->project, text);
		return true;
	case DIMENSION_TOKEN:
		*by = BY_TOKEN;
		*value = id_name(r, DIMENSION_TOKEN, "tok_", v->token, text);
		return true;
	case DIMENSION_UPSTREAM:
		*by = BY_UPSTREAM;
		*value = id_name(r, DIMENSION_UPSTREAM, "up_", v->upstream, text);
		return true;
	case DIMENSION_KEY:
		*by = BY_KEY;
		*value = id_name(r, DIMENSION_KEY, "key_", v->key, text);
		return true;
	case DIMENSION_MODEL:
		*by = BY_MODEL;
		*value = r->how[d] == SCOPE_EACH ? v->model : scope;
		return true;
	case DIMENSION_END_USER:
		*by = BY_END_USER;
		*value = r->how[d] == SCOPE_EACH ? v->end_user : scope;
		return true;
	case DIMENSION_TAG:
		*by = BY_TAG;
		*value = tells_apart(r, DIMENSION_TAG) ? w->tag : scope;
		return true;
	default:
		return false;
	}
}

/* Of rollups, by how far they reach back (store_usage_sum()). */
static enum rollup_step
step_of(int64_t from_ms, int64_t now_ms)
{
	int64_t age_ms = now_ms - from_ms;

	if (age_ms < 47 * HOUR_MS)
		return age_ms > 2 * HOUR_MS && from_ms % HOUR_MS == 0 ? STEP_HOUR : STEP_MINUTE;
	return age_ms < 89 * DAY_MS ? STEP_HOUR : STEP_DAY;
}

static int64_t
step_floor(int64_t from_ms, enum rollup_step step)
{
	return floor_to(from_ms, step == STEP_MINUTE ? MINUTE_MS
				 : step == STEP_HOUR ? HOUR_MS
						     : DAY_MS);
}

int
limit_booked(struct store *s, const struct limit_rule *r, const struct limit_values *v,
	const char *tag, int64_t from_ms, int64_t to_ms, int64_t *used, struct err *err)
{
	struct walk w = { r, v, tag != NULL ? tag : "", from_ms, to_ms, { 0 } };
	enum rollup_step step = step_of(from_ms, clock_wall_ms());
	int d = only_dimension(r);
	char text[ID_TEXT_BYTES];
	const char *value = NULL;
	enum rollup_by by;
	uint64_t cursor = 0;
	int rc;

	*used = 0;
	if (r->limit->metric == METRIC_PARALLEL || r->how[DIMENSION_ADDRESS] == SCOPE_NETWORK)
		return 0;
	if (from_ms < 0)
		from_ms = w.from_ms = 0;
	if (d == DIMENSION_MODEL && r->how[d] == SCOPE_GLOB)
		rc = store_rollup_each(s, BY_MODEL, step, step_floor(from_ms, step), to_ms, NULL,
			add_rollup, &w, err);
	else if (rollup_of(&w, d, &by, &value, text))
		rc = store_usage_sum(s, by, value, step_floor(from_ms, step), to_ms, &w.sum, err);
	else
		rc = store_rows_each(s, &cursor, add_row, &w, err);
	if (rc < 0)
		return -1;
	*used = limit_metric_of((enum limit_metric)r->limit->metric, &w.sum);
	return 0;
}
