/*
 * quota.c - a header's name is cut at its dashes; each word says unit, length or what its value is.  A
 * name with a word that is not known tells of something else and is passed over.
 */
#include "wire/quota.h"

#include "base/clock.h"
#include "base/json.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MINUTE_MS   60000LL
#define HOUR_MS     (60 * MINUTE_MS)
#define DAY_MS      (24 * HOUR_MS)
#define RESET_MAX   (400 * DAY_MS)
#define NUMBER_MAX  1000000000000000LL /* of units: no provider has more */
#define WORDS_BYTES 64
#define SHARE_ALL   1000000

static const struct {
	const char *word;
	int64_t ms;
} lengths[] = {
	{ "second", 1000 },
	{ "sec", 1000 },
	{ "minute", MINUTE_MS },
	{ "min", MINUTE_MS },
	{ "hour", HOUR_MS },
	{ "day", DAY_MS },
	{ "week", 7 * DAY_MS },
	{ "month", 30 * DAY_MS },
	{ "5h", 5 * HOUR_MS },
	{ "7d", 7 * DAY_MS },
};

enum what { WHAT_NONE, WHAT_LIMIT, WHAT_REMAINING, WHAT_RESET, WHAT_UTILIZATION, WHAT_STATUS };

static const struct {
	const char *word;
	enum what what;
} whats[] = {
	{ "limit", WHAT_LIMIT },
	{ "remaining", WHAT_REMAINING },
	{ "reset", WHAT_RESET },
	{ "timeremaining", WHAT_RESET },
	{ "utilization", WHAT_UTILIZATION },
	{ "status", WHAT_STATUS },
};

/* The families, the longer prefix first. */
static const struct family {
	const char *prefix;
	enum quota_unit unit; /* where no word names one */
	bool refills;
} families[] = {
	{ "anthropic-ratelimit-unified-", QUOTA_SHARE, false },
	{ "anthropic-ratelimit-", QUOTA_REQUESTS, true },
	{ "x-ratelimitbysize-", QUOTA_TOKENS, false },
	{ "ratelimitbysize-", QUOTA_TOKENS, false },
	{ "x-ratelimit-", QUOTA_REQUESTS, false },
	{ "x-rate-limit-", QUOTA_REQUESTS, false },
	{ "ratelimit-", QUOTA_REQUESTS, false },
};

struct meaning {
	enum what what;
	enum quota_unit unit;
	bool unit_named;
	int64_t length_ms;
};

static int64_t
length_of(struct span word)
{
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
		if (span_is_nocase(word, lengths[i].word))
			return lengths[i].ms;
	return 0;
}

static bool
read_word(struct span word, struct meaning *m)
{
	int64_t length = length_of(word);

	if (length != 0) {
		m->length_ms = length;
		return true;
	}
	for (size_t i = 0; i < sizeof whats / sizeof whats[0]; i++)
		if (span_is_nocase(word, whats[i].word)) {
			m->what = whats[i].what;
			return true;
		}
	if (span_is_nocase(word, "requests") || span_is_nocase(word, "req")) {
		m->unit = QUOTA_REQUESTS;
	} else if (span_is_nocase(word, "input")) {
		m->unit = QUOTA_INPUT;
	} else if (span_is_nocase(word, "output")) {
		m->unit = QUOTA_OUTPUT;
	} else if (span_is_nocase(word, "tokens")) {
		if (m->unit != QUOTA_INPUT && m->unit != QUOTA_OUTPUT)
			m->unit = QUOTA_TOKENS;
	} else {
		return false;
	}
	m->unit_named = true;
	return true;
}

static bool
read_words(struct span rest, struct meaning *m)
{
	while (rest.len > 0) {
		const char *dash = memchr(rest.at, '-', rest.len);
		size_t len = dash == NULL ? rest.len : (size_t)(dash - rest.at);

		if (!read_word((struct span){ rest.at, len }, m))
			return false;
		len += dash != NULL;
		rest.at += len, rest.len -= len;
	}
	return m->what != WHAT_NONE;
}

static struct quota_window *
window_of(struct quota_told *t, enum quota_unit unit, int64_t length_ms)
{
	struct quota_window *w;

	for (int i = 0; i < t->count; i++)
		if (t->window[i].unit == unit && t->window[i].length_ms == length_ms)
			return &t->window[i];
	if (t->count == QUOTA_TOLD_MAX)
		return NULL;
	w = &t->window[t->count++];
	*w = (struct quota_window){ .unit = unit,
		.length_ms = length_ms,
		.limit = -1,
		.remaining = -1,
		.reset_in_ms = -1 };
	return w;
}

/* ---- values ---- */

/* A number at the beginning, thousands parted by commas or not; -1: none.  *len: of its text. */
static int64_t
count_at(const char *at, size_t room, size_t *len)
{
	int64_t n = 0;
	size_t i = 0;

	while (i < room) {
		bool comma = at[i] == ',' && i > 0 && i + 3 < room && at[i + 1] >= '0' &&
			     at[i + 1] <= '9' && at[i + 2] >= '0' && at[i + 2] <= '9' &&
			     at[i + 3] >= '0' && at[i + 3] <= '9';

		if (comma) {
			i++;
			continue;
		}
		if (at[i] < '0' || at[i] > '9')
			break;
		n = n * 10 + (at[i++] - '0');
		if (n > NUMBER_MAX)
			n = NUMBER_MAX;
	}
	if (len != NULL)
		*len = i;
	return i == 0 ? -1 : n;
}

static const char *
text_of(struct span s, char room[WORDS_BYTES])
{
	while (s.len > 0 && (*s.at == ' ' || *s.at == '\t'))
		s.at++, s.len--;
	while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	if (!span_copy(s, room, WORDS_BYTES))
		room[0] = '\0';
	return room;
}

static bool
decimal(const char *text, double *out)
{
	char *end;

	if (text[0] == '\0' || strspn(text, "0123456789.") != strlen(text))
		return false;
	*out = strtod(text, &end);
	return *end == '\0' && *out < 9e15;
}

/* Milliseconds from the head on, of any form of a reset; -1: none of them. */
static int64_t
reset_in(struct span value, struct span date, int64_t now_ms)
{
	char room[WORDS_BYTES], dated[WORDS_BYTES];
	const char *text = text_of(value, room);
	int64_t theirs = now_ms, ms;
	double d;

	(void)clock_parse_http_date(text_of(date, dated), &theirs);
	if (decimal(text, &d)) {
		if (d > 1e12)
			ms = (int64_t)d - theirs;
		else if (d > 1e9)
			ms = (int64_t)(d * 1000) - theirs;
		else
			ms = d < 1e8 ? (int64_t)(d * 1000 + 0.5) : RESET_MAX;
	} else if (clock_parse_rfc3339(text, &ms) == 0 || clock_parse_http_date(text, &ms) == 0) {
		ms -= theirs;
	} else if (clock_parse_duration(text, &ms) != 0) {
		return -1;
	}
	return ms < 0 ? 0 : ms < RESET_MAX ? ms : RESET_MAX;
}

static void
put_value(
	struct quota_window *w, enum what what, struct span value, struct span date, int64_t now_ms)
{
	char room[WORDS_BYTES];
	const char *text = text_of(value, room);
	double d;

	switch (what) {
	case WHAT_LIMIT:
		w->limit = count_at(text, strlen(text), NULL);
		break;
	case WHAT_REMAINING:
		w->remaining = count_at(text, strlen(text), NULL); /* Azure's -1 is none */
		break;
	case WHAT_RESET:
		w->reset_in_ms = reset_in(value, date, now_ms);
		break;
	case WHAT_UTILIZATION:
		if (!decimal(text, &d))
			break;
		w->limit = SHARE_ALL;
		w->remaining = d >= 1 ? 0 : SHARE_ALL - (int64_t)(d * SHARE_ALL);
		break;
	case WHAT_STATUS:
		if (strcmp(text, "rejected") == 0) {
			w->limit = SHARE_ALL;
			w->remaining = 0;
		}
		break;
	case WHAT_NONE:
		break;
	}
}

void
quota_read_header(
	struct quota_told *t, struct span name, struct span value, struct span date, int64_t now_ms)
{
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		const struct family *f = &families[i];
		size_t len = strlen(f->prefix);
		struct meaning m = { .unit = f->unit };
		struct quota_window *w;

		if (name.len <= len || strncasecmp(name.at, f->prefix, len) != 0)
			continue;
		if (!read_words((struct span){ name.at + len, name.len - len }, &m))
			return;
		if (f->unit == QUOTA_SHARE && m.length_ms == 0)
			return; /* of the window that counts now, which is told apart too */
		w = window_of(t, m.unit, m.length_ms);
		if (w == NULL)
			return;
		put_value(w, m.what, value, date, now_ms);
		/* OpenAI's own are durations ("6m0s"); numbers are of those that came later */
		if (f->refills || (m.what == WHAT_RESET && m.unit_named && m.length_ms == 0 &&
					  value.len > 1 && value.at[value.len - 1] == 's'))
			w->refills = true;
		w->is_account |= f->unit == QUOTA_SHARE || !m.unit_named;
		return;
	}
}

/* ---- bodies ---- */

static const char *
find(struct span in, const char *what)
{
	size_t len = strlen(what);

	for (size_t i = 0; i + len <= in.len; i++)
		if (strncasecmp(in.at + i, what, len) == 0)
			return in.at + i;
	return NULL;
}

/* The number behind some words; -1: they are not there. */
static int64_t
count_behind(struct span in, const char *words)
{
	const char *p = find(in, words);

	if (p == NULL)
		return -1;
	p += strlen(words);
	while (p < in.at + in.len && (*p == ' ' || *p == ':'))
		p++;
	return count_at(p, (size_t)(in.at + in.len - p), NULL);
}

/* What a text is about, by the words in it; true when it names a length. */
static bool
read_sentence(struct span text, struct meaning *m)
{
	static const struct {
		const char *words;
		int64_t ms;
	} pers[] = { { "per min", MINUTE_MS }, { "perminute", MINUTE_MS }, { "per day", DAY_MS },
		{ "perday", DAY_MS }, { "per hour", HOUR_MS }, { "perhour", HOUR_MS },
		{ "per month", 30 * DAY_MS }, { "(rpm)", MINUTE_MS }, { "(tpm)", MINUTE_MS },
		{ "(rpd)", DAY_MS }, { "(tpd)", DAY_MS } };

	if (find(text, "input token") != NULL || find(text, "inputtoken") != NULL ||
		find(text, "input_token") != NULL)
		m->unit = QUOTA_INPUT;
	else if (find(text, "output token") != NULL)
		m->unit = QUOTA_OUTPUT;
	else if (find(text, "token") != NULL)
		m->unit = QUOTA_TOKENS;
	else
		m->unit = QUOTA_REQUESTS;
	for (size_t i = 0; i < sizeof pers / sizeof pers[0] && m->length_ms == 0; i++)
		if (find(text, pers[i].words) != NULL)
			m->length_ms = pers[i].ms;
	return m->length_ms != 0;
}

static bool
note_violation(void *ctx, const struct json_member *member)
{
	struct quota_told *t = ctx;
	struct span v = member->value.raw;
	struct meaning m = { .unit = QUOTA_REQUESTS };
	struct quota_window *w;
	char text[32];
	int64_t limit = -1;

	if (!read_sentence(v, &m))
		return true;
	if (json_string(json_get(v, "quotaValue"), text, sizeof text) > 0)
		limit = count_at(text, strlen(text), NULL);
	w = window_of(t, m.unit, m.length_ms);
	if (w == NULL)
		return false;
	w->limit = limit;
	w->remaining = 0;
	w->exceeded = true;
	return true;
}

static bool
note_detail(void *ctx, const struct json_member *m)
{
	struct json_value violations = json_get(m->value.raw, "violations");

	if (violations.type == JSON_ARRAY)
		(void)json_each_element(violations.raw, note_violation, ctx, NULL);
	return true;
}

static struct span
sentence_of(struct span body)
{
	const char *p = find(body, "rate limit");
	const char *end = body.at + body.len, *q;

	if (p == NULL)
		return SPAN_NONE;
	for (q = p; q < end && *q != '"' && q - p < 600; q++)
		;
	return (struct span){ p, (size_t)(q - p) };
}

void
quota_read_body(struct quota_told *t, struct span body)
{
	struct json_value details = json_path(body, "error.details");
	struct meaning m = { .unit = QUOTA_REQUESTS };
	struct span text = sentence_of(body);
	struct quota_window *w = NULL;
	int64_t limit, used;

	if (details.type == JSON_ARRAY)
		(void)json_each_element(details.raw, note_detail, t, NULL);
	if (text.len == 0 || !read_sentence(text, &m))
		return;
	limit = count_behind(text, "limit of");
	if (limit < 0)
		limit = count_behind(text, "): limit");
	if (limit < 0)
		limit = count_behind(text, " limit:");
	used = count_behind(text, "used");
	/* headers that name no length tell of the same window */
	for (int i = 0; i < t->count && w == NULL; i++)
		if (t->window[i].unit == m.unit &&
			(t->window[i].limit == limit || (limit < 0 && t->window[i].remaining == 0)))
			w = &t->window[i];
	if (w == NULL && limit >= 0)
		w = window_of(t, m.unit, m.length_ms);
	if (w == NULL)
		return;
	w->exceeded = true;
	if (limit >= 0)
		w->limit = limit;
	if (w->remaining < 0)
		w->remaining = used < 0 || used > limit ? 0 : limit - used;
}

/* ---- what a person says ---- */

int64_t
quota_reset_ms(const struct quota_told *t)
{
	int64_t most_ms = 0;

	for (int i = 0; i < t->count; i++)
		if (t->window[i].remaining == 0 && t->window[i].reset_in_ms > most_ms)
			most_ms = t->window[i].reset_in_ms;
	return most_ms;
}

const char *
quota_unit_name(enum quota_unit u)
{
	static const char *const names[QUOTA__UNITS] = { "requests", "tokens", "input_tokens",
		"output_tokens", "share" };

	return u < QUOTA__UNITS ? names[u] : "unknown";
}

int
quota_parse_given(struct span text, struct quota_window *w)
{
	char room[WORDS_BYTES], *slash, *equals;
	size_t len;

	*w = (struct quota_window){ .limit = -1, .remaining = -1, .reset_in_ms = -1 };
	(void)text_of(text, room);
	slash = strchr(room, '/');
	equals = slash == NULL ? NULL : strchr(slash, '=');
	if (equals == NULL)
		return -1;
	*slash = *equals = '\0';
	for (w->unit = 0; w->unit < QUOTA_SHARE; w->unit++)
		if (strcmp(room, quota_unit_name(w->unit)) == 0)
			break;
	w->length_ms = length_of(span_of(slash + 1));
	if (w->length_ms == 0 && clock_parse_duration(slash + 1, &w->length_ms) != 0)
		return -1;
	w->limit = count_at(equals + 1, strlen(equals + 1), &len);
	return w->unit == QUOTA_SHARE || w->limit <= 0 || equals[1 + len] != '\0' ||
			       w->length_ms < 1000 || w->length_ms > RESET_MAX
		       ? -1
		       : 0;
}
