/*
 * failure.c - what a provider's failure means for the router, by a table.
 *
 * The rows are tried in order; the first that fits decides, and what no row knows is judged by its
 * status alone.  A 400 may quote the client ("Invalid value: '…'"), so its text is trusted to condemn
 * a key only where the client has no say: at the beginning of the message, or in a reason.
 */
#include "wire/error.h"

#include "base/clock.h"
#include "wire/usage.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND_MS     1000LL
#define HOUR_MS       (3600 * SECOND_MS)
#define DAY_MS        (24 * HOUR_MS)
#define WAIT_MAX_MS   (400 * DAY_MS)
#define FIELD_BYTES   96
#define MESSAGE_BYTES 640

/* What of a body the rows look at. */
struct said {
	char code[FIELD_BYTES], type[FIELD_BYTES], status[FIELD_BYTES];
	char message[MESSAGE_BYTES];
	struct span error; /* the error object, or the whole body */
	int http;          /* a status as a number in the body, or 0 */
	bool is_error;     /* the body holds an error object */
	bool html;
};

/* ---- the table ---- */

enum where {
	ANYTHING,
	WORD,    /* code, type or status is it, or holds it */
	MESSAGE, /* the message holds it */
	STARTS,  /* the message begins with it */
	REASON,  /* Google's ErrorInfo gives it as its reason */
	BODY,    /* the error object holds it, anywhere */
	HTML,
	NO_ERROR /* the body holds no error object */
};
#define ANY 0 /* whatever the status */

static const struct rule {
	int status;
	enum where where;
	const char *text; /* any case */
	enum failure failure;
} rules[] = {
	/* the key */
	{ ANY, WORD, "access_terminated", FAILURE_KEY_INVALID },
	{ 400, REASON, "API_KEY_INVALID", FAILURE_KEY_INVALID },
	{ 400, REASON, "API_KEY_EXPIRED", FAILURE_KEY_INVALID },
	{ 400, STARTS, "API key not valid", FAILURE_KEY_INVALID },
	{ 400, STARTS, "API key expired", FAILURE_KEY_INVALID },
	{ 401, ANYTHING, "", FAILURE_KEY_INVALID },

	/* money */
	{ 402, ANYTHING, "", FAILURE_NO_CREDIT },
	{ ANY, WORD, "insufficient_quota", FAILURE_NO_CREDIT },
	{ ANY, WORD, "billing_hard_limit_reached", FAILURE_NO_CREDIT },
	{ ANY, WORD, "billing_not_active", FAILURE_NO_CREDIT },
	{ ANY, WORD, "billing_error", FAILURE_NO_CREDIT },
	{ ANY, WORD, "ServiceQuotaExceeded", FAILURE_NO_CREDIT },
	{ 400, STARTS, "Your credit balance is too low", FAILURE_NO_CREDIT },
	{ 429, BODY, "_spend_limit_reached", FAILURE_NO_CREDIT },

	/* a region or a network that is not let in: no key of this provider will do */
	{ 403, WORD, "unsupported_country_region_territory", FAILURE_OVERLOADED },
	{ 400, STARTS, "User location is not supported", FAILURE_OVERLOADED },
	{ 403, HTML, "", FAILURE_TRANSIENT },

	/* 429 and what it may mean besides waiting */
	{ 429, MESSAGE, "Request too large", FAILURE_REQUEST },
	{ 429, BODY, "\"quotaValue\":\"0\"", FAILURE_MODEL },
	{ 429, BODY, "\"quotaValue\": \"0\"", FAILURE_MODEL },
	{ 429, BODY, "openrouter_free_tier_daily", FAILURE_NO_CREDIT },
	{ 429, BODY, "free-models-per-day", FAILURE_NO_CREDIT },
	{ 429, BODY, "\"provider_code\"", FAILURE_OVERLOADED },
	{ 429, BODY, "\"provider_name\"", FAILURE_OVERLOADED },
	{ 429, BODY, "upstream_provider_shared_pool", FAILURE_OVERLOADED },
	{ 429, BODY, "openrouter_shared_capacity", FAILURE_OVERLOADED },
	{ 429, WORD, "3505", FAILURE_OVERLOADED },
	{ ANY, WORD, "overloaded", FAILURE_OVERLOADED },
	{ 429, WORD, "slow_down", FAILURE_OVERLOADED },
	{ 429, ANYTHING, "", FAILURE_RATE_LIMITED },

	/* 403: who is it that may not, the key or the request? */
	{ 403, WORD, "UnrecognizedClient", FAILURE_KEY_INVALID },
	{ 403, WORD, "InvalidSignature", FAILURE_KEY_INVALID },
	{ 403, WORD, "InvalidClientTokenId", FAILURE_KEY_INVALID },
	{ 403, WORD, "ExpiredToken", FAILURE_KEY_INVALID },
	{ 403, MESSAGE, "security token included in the request is", FAILURE_KEY_INVALID },
	{ 403, MESSAGE, "signature we calculated does not match", FAILURE_KEY_INVALID },
	{ 403, BODY, "\"flagged_input\"", FAILURE_REQUEST },
	{ 403, BODY, "\"reasons\"", FAILURE_REQUEST },
	{ 403, WORD, "content_policy_violation", FAILURE_REQUEST },
	{ 403, MESSAGE, "moderation", FAILURE_REQUEST },
	{ 403, MESSAGE, "guardrail", FAILURE_REQUEST },
	{ 403, WORD, "model_not_found", FAILURE_MODEL },
	{ 403, MESSAGE, "model", FAILURE_MODEL },
	{ 403, WORD, "permission_error", FAILURE_KEY_INVALID },
	{ 403, WORD, "PERMISSION_DENIED", FAILURE_KEY_INVALID },
	{ 403, ANYTHING, "", FAILURE_MODEL },

	/* 404: a model that is not there, or a file of the client's that is not? */
	{ 404, WORD, "not_found_error", FAILURE_MODEL },
	{ 404, WORD, "model_not_found", FAILURE_MODEL },
	{ 404, WORD, "DeploymentNotFound", FAILURE_MODEL },
	{ 404, WORD, "ResourceNotFound", FAILURE_MODEL },
	{ 404, WORD, "NOT_FOUND", FAILURE_MODEL },
	{ 404, MESSAGE, "model", FAILURE_MODEL },
	{ 404, MESSAGE, "endpoints", FAILURE_MODEL },
	{ 404, MESSAGE, "deployment", FAILURE_MODEL },
	{ 404, NO_ERROR, "", FAILURE_MODEL },

	/* the rest by status */
	{ 408, ANYTHING, "", FAILURE_TRANSIENT },
	{ 409, ANYTHING, "", FAILURE_TRANSIENT },
	{ 424, ANYTHING, "", FAILURE_TRANSIENT },
	{ 425, ANYTHING, "", FAILURE_TRANSIENT },
	{ 498, ANYTHING, "", FAILURE_OVERLOADED },
	{ 503, HTML, "", FAILURE_TRANSIENT },
	{ 503, ANYTHING, "", FAILURE_OVERLOADED },
	{ 529, ANYTHING, "", FAILURE_OVERLOADED },
};

/* The status that an error in a 200 would have had. */
static const struct {
	const char *word;
	int status;
} words[] = {
	{ "rate_limit", 429 },
	{ "RESOURCE_EXHAUSTED", 429 },
	{ "Throttling", 429 },
	{ "insufficient_quota", 429 },
	{ "invalid_api_key", 401 },
	{ "authentication", 401 },
	{ "UNAUTHENTICATED", 401 },
	{ "payment_required", 402 },
	{ "billing", 402 },
	{ "permission", 403 },
	{ "model_not_found", 404 },
	{ "not_found", 404 },
	{ "overloaded", 529 },
	{ "UNAVAILABLE", 503 },
	{ "timeout", 504 },
	{ "server_error", 500 },
	{ "api_error", 500 },
	{ "INTERNAL", 500 },
	{ "invalid_", 400 },
	{ "context_length_exceeded", 400 },
	{ "content_filter", 400 },
	{ "content_policy", 400 },
	{ "image_", 400 },
};

/* ---- reading the body ---- */

static const char *
find_nocase(struct span in, const char *what)
{
	size_t len = strlen(what);
	char low = what[0], high = what[0];

	if (len == 0)
		return in.at;
	if (low >= 'A' && low <= 'Z')
		low = (char)(low | 0x20);
	if (high >= 'a' && high <= 'z')
		high = (char)(high & ~0x20);
	for (size_t i = 0; i + len <= in.len; i++)
		if ((in.at[i] == low || in.at[i] == high) && strncasecmp(in.at + i, what, len) == 0)
			return in.at + i;
	return NULL;
}

static bool
holds(const char *text, const char *what)
{
	return find_nocase(span_of(text), what) != NULL;
}

static void
read_word(struct json_value v, char out[FIELD_BYTES])
{
	if (v.type == JSON_NUMBER)
		(void)span_copy(v.raw, out, FIELD_BYTES);
	else if (v.type == JSON_STRING)
		wire_copy_string(v, out, FIELD_BYTES);
}

/* Long enough for the sentence about waiting, which stands at the end. */
static void
read_message(struct json_value v, char out[MESSAGE_BYTES])
{
	if (v.type != JSON_STRING)
		return;
	if (json_string(v, out, MESSAGE_BYTES) < 0)
		(void)span_copy(v.raw, out, MESSAGE_BYTES);
}

static bool
note_field(void *ctx, const struct json_member *m)
{
	struct said *s = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);
	int64_t n;

	if (span_is(key, "code")) {
		read_word(m->value, s->code);
		if (json_int(m->value, &n) == 0 && n >= 400 && n <= 599)
			s->http = (int)n;
	} else if (span_is(key, "type") || span_is(key, "__type")) {
		read_word(m->value, s->type);
	} else if (span_is(key, "status")) {
		read_word(m->value, s->status);
	} else if (span_is(key, "message") || span_is(key, "detail") || span_is(key, "Message")) {
		read_message(m->value, s->message);
	}
	return true;
}

struct envelope {
	struct json_value error, response;
};

static bool
note_error(void *ctx, const struct json_member *m)
{
	struct envelope *e = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	if (span_is(key, "error"))
		e->error = m->value;
	else if (span_is(key, "response"))
		e->response = m->value;
	return true;
}

static bool
note_first(void *ctx, const struct json_member *m)
{
	*(struct json_value *)ctx = m->value;
	return false;
}

/* [JSON], and "data: JSON" behind whatever lines of a stream. */
static struct span
unwrapped(struct span body)
{
	struct json_value first = { .type = JSON_NONE };
	const char *p, *end;

	while (body.len > 0 && strchr(" \t\r\n", *body.at) != NULL && *body.at != '\0')
		body.at++, body.len--;
	if (body.len > 0 && *body.at == '[') {
		(void)json_each_element(body, note_first, &first, NULL);
		return first.type == JSON_OBJECT ? first.raw : body;
	}
	if (!span_starts(body, "data:") && !span_starts(body, "event:") &&
		!span_starts(body, ":") && !span_starts(body, "id:"))
		return body;
	p = memmem(body.at, body.len, "data:", 5);
	if (p == NULL)
		return body;
	p += 5;
	end = memchr(p, '\n', body.len - (size_t)(p - body.at));
	if (end == NULL)
		end = body.at + body.len;
	return (struct span){ p, (size_t)(end - p) };
}

static void
read_said(struct span body, struct said *s)
{
	struct envelope e = { .error = { .type = JSON_NONE } };

	memset(s, 0, sizeof *s);
	body = unwrapped(body);
	s->error = body;
	s->html = body.len > 0 && *body.at == '<';
	if (json_each(body, note_error, &e, NULL) != 0) {
		(void)span_copy(body, s->message, sizeof s->message); /* text, or cut short */
		return;
	}
	if (e.error.type != JSON_OBJECT && e.error.type != JSON_STRING &&
		e.response.type == JSON_OBJECT) /* response.failed */
		(void)json_each(e.response.raw, note_error, &e, NULL);
	(void)json_each(body, note_field, s, NULL);
	if (e.error.type == JSON_OBJECT) {
		s->error = e.error.raw;
		/* {"type":"error"} around it says nothing */
		s->type[0] = s->code[0] = s->status[0] = '\0';
		s->http = 0;
		(void)json_each(e.error.raw, note_field, s, NULL);
		s->is_error = true;
	} else if (e.error.type == JSON_STRING) {
		read_message(e.error, s->message);
		s->is_error = true;
	} else {
		s->is_error = strcmp(s->type, "error") == 0;
	}
}

/* ---- waits ---- */

static const char *
text_of(struct span s, char room[64])
{
	while (s.len > 0 && (*s.at == ' ' || *s.at == '\t'))
		s.at++, s.len--;
	while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	if (!span_copy(s, room, 64))
		room[0] = '\0';
	return room;
}

/* A decimal number and nothing else, times scale.  Negative ones are no waits. */
static bool
number(const char *text, double scale, int64_t *out)
{
	char *end;
	double d;

	if ((text[0] < '0' || text[0] > '9') && text[0] != '.')
		return false;
	if (strspn(text, "0123456789.") != strlen(text))
		return false;
	d = strtod(text, &end);
	if (*end != '\0' || end == text || d * scale > 9e15)
		return false;
	*out = (int64_t)(d * scale + 0.5);
	return true;
}

/* now: the provider's clock for its dates, ours for what we return. */
struct clocks {
	int64_t ours, theirs;
};

static int64_t
by_date(int64_t theirs, const struct clocks *c)
{
	return c->ours + (theirs - c->theirs);
}

static int64_t
after(int64_t ms, const struct clocks *c)
{
	return c->ours + (ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS);
}

/* A reset in any form that providers use: duration, date, seconds, epoch seconds or ms. */
static bool
parse_reset(struct span value, const struct clocks *c, int64_t *until)
{
	char room[64];
	const char *text = text_of(value, room);
	int64_t ms;

	if (number(text, 1000, &ms)) {
		if (ms > 1000000000000LL * 1000)
			*until = by_date(ms / 1000, c); /* epoch ms */
		else if (ms > 1000000000LL * 1000)
			*until = by_date(ms, c); /* epoch s */
		else
			*until = after(ms, c);
		return true;
	}
	if (clock_parse_duration(text, &ms) == 0) {
		*until = after(ms, c);
		return true;
	}
	if (clock_parse_rfc3339(text, &ms) == 0 || clock_parse_http_date(text, &ms) == 0) {
		*until = by_date(ms, c);
		return true;
	}
	return false;
}

/* A dimension that is spent, or may be: its remaining is 0, or not told ("-1" at Azure). */
static bool
is_spent(struct span remaining, bool *told)
{
	char room[64];
	int64_t n;

	*told = number(text_of(remaining, room), 1, &n);
	return *told && n == 0;
}

static bool
reset_of_headers(const struct failure_headers *h, const struct clocks *c, int64_t *until)
{
	const struct span resets[] = { h->reset_requests, h->reset_tokens };
	const struct span remaining[] = { h->remaining_requests, h->remaining_tokens };
	int64_t spent = 0, untold = 0, at;
	bool told, is;

	if (h->unified_reset.len > 0 && parse_reset(h->unified_reset, c, until))
		return true;
	for (size_t i = 0; i < 2; i++) {
		is = is_spent(remaining[i], &told);
		if (resets[i].len == 0 || !parse_reset(resets[i], c, &at))
			continue;
		if (is && at > spent)
			spent = at;
		else if (!told && at > untold)
			untold = at;
	}
	*until = spent > 0 ? spent : untold;
	return *until > 0;
}

/* A duration behind some words: "try again in 1.5s", "retry after 45 seconds". */
static bool
wait_behind(const char *text, const char *words_before, int64_t *ms)
{
	const char *p = find_nocase(span_of(text), words_before);
	char room[64];
	size_t len;

	if (p == NULL)
		return false;
	p += strlen(words_before);
	len = strspn(p, "0123456789.hmsuµn");
	if (len == 0 || len >= sizeof room)
		return false;
	memcpy(room, p, len);
	while (len > 0 && room[len - 1] == '.') /* the sentence's */
		len--;
	room[len] = '\0';
	if (number(room, 1000, ms)) {
		p += len;
		p += *p == ' ';
		if (strncasecmp(p, "minute", 6) == 0)
			*ms *= 60;
		else if (strncasecmp(p, "hour", 4) == 0)
			*ms *= 3600;
		else if (strncasecmp(p, "milli", 5) == 0 || strncasecmp(p, "ms", 2) == 0)
			*ms /= 1000;
		return true;
	}
	return clock_parse_duration(room, ms) == 0;
}

/* The string behind a name anywhere in the error object. */
static bool
string_behind(struct span in, const char *name, struct span *found)
{
	const char *p = find_nocase(in, name), *end = in.at + in.len, *q;

	if (p == NULL)
		return false;
	for (p += strlen(name); p < end && strchr("\": \t\r\n", *p) != NULL && *p != '\0'; p++)
		;
	for (q = p; q < end && *q != '"' && *q != ',' && *q != '}'; q++)
		;
	*found = (struct span){ p, (size_t)(q - p) };
	return q > p;
}

static bool
reset_of_body(const struct said *s, const struct clocks *c, int64_t *until)
{
	static const char *const sentences[] = { "try again in ", "retry after ", "retry in " };
	struct span text;
	int64_t ms;

	if ((string_behind(s->error, "\"retryDelay\"", &text) ||
		    string_behind(s->error, "\"X-RateLimit-Reset\"", &text) ||
		    string_behind(s->error, "\"retry_after\"", &text)) &&
		parse_reset(text, c, until))
		return true;
	for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++)
		if (wait_behind(s->message, sentences[i], &ms)) {
			*until = after(ms, c);
			return true;
		}
	return false;
}

static bool
stated_reset(const struct failure_headers *h, const struct said *s, const struct clocks *c,
	int64_t *until)
{
	char room[64];
	int64_t ms;

	if (number(text_of(h->retry_after_ms, room), 1, &ms)) {
		*until = after(ms, c);
		return true;
	}
	if (number(text_of(h->retry_after, room), 1000, &ms)) {
		*until = after(ms, c);
		return true;
	}
	if (clock_parse_http_date(room, &ms) == 0) {
		*until = by_date(ms, c);
		return true;
	}
	return reset_of_headers(h, c, until) || reset_of_body(s, c, until);
}

/* ---- quotas of a day ---- */

/* Days since 1970 to the first Sunday on or after that day of a month. */
static int64_t
sunday_from(int64_t year, int month, int day)
{
	/* Howard Hinnant's days_from_civil, for March and November only. */
	int64_t era = year / 400, yoe = year - era * 400;
	int64_t doy = (153 * (month - 3) + 2) / 5 + day - 1;
	int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;

	return days + (10 - days % 7) % 7; /* day 0 was a Thursday */
}

static int64_t
year_of(int64_t ms)
{
	char text[CLOCK_TEXT_BYTES];

	clock_rfc3339(ms, text);
	return strtoll(text, NULL, 10);
}

/* Pacific time: summer from the second Sunday of March to the first of November, at 2 o'clock. */
static int64_t
pacific_offset_ms(int64_t ms)
{
	int64_t year = year_of(ms - 8 * HOUR_MS);
	int64_t begins = sunday_from(year, 3, 8) * DAY_MS + 10 * HOUR_MS;
	int64_t ends = sunday_from(year, 11, 1) * DAY_MS + 9 * HOUR_MS;

	return ms >= begins && ms < ends ? -7 * HOUR_MS : -8 * HOUR_MS;
}

static int64_t
next_pacific_midnight(int64_t now)
{
	int64_t local = now + pacific_offset_ms(now);
	int64_t midnight = (local / DAY_MS + 1) * DAY_MS;

	/* The offset of then, not of now. */
	return midnight - pacific_offset_ms(midnight + 8 * HOUR_MS);
}

/* ---- the judgement ---- */

static bool
fits(const struct rule *r, int status, const struct said *s, struct span header_type)
{
	struct span reason;

	if (r->status != ANY && r->status != status)
		return false;
	switch (r->where) {
	case WORD:
		return holds(s->code, r->text) || holds(s->type, r->text) ||
		       holds(s->status, r->text) || find_nocase(header_type, r->text) != NULL;
	case MESSAGE:
		return holds(s->message, r->text);
	case STARTS:
		return strncasecmp(s->message, r->text, strlen(r->text)) == 0;
	case REASON:
		return string_behind(s->error, "\"reason\"", &reason) && span_is(reason, r->text);
	case BODY:
		return find_nocase(s->error, r->text) != NULL;
	case HTML:
		return s->html;
	case NO_ERROR:
		return !s->is_error;
	default:
		return true;
	}
}

static int
status_of_words(const struct said *s)
{
	if (s->http != 0)
		return s->http;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (holds(s->code, words[i].word) || holds(s->type, words[i].word) ||
			holds(s->status, words[i].word))
			return words[i].status;
	return 500;
}

static enum failure
by_rules(int status, const struct said *s, struct span header_type)
{
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (fits(&rules[i], status, s, header_type))
			return rules[i].failure;
	return status >= 400 && status < 500 ? FAILURE_REQUEST : FAILURE_TRANSIENT;
}

enum failure
failure_classify(int status, const struct failure_headers *h, struct span body, int64_t now_ms,
	int64_t *until_ms)
{
	struct clocks c = { now_ms, now_ms };
	struct said s;
	enum failure failure;
	char room[64];
	int64_t until = 0;
	bool stated;

	*until_ms = 0;
	read_said(body, &s);
	if (status >= 200 && status < 300) {
		if (!s.is_error)
			return FAILURE_NONE;
		status = status_of_words(&s);
	}
	failure = by_rules(status, &s, h->error_type);
	if (failure == FAILURE_REQUEST || failure == FAILURE_KEY_INVALID ||
		failure == FAILURE_MODEL)
		return failure;

	(void)clock_parse_http_date(text_of(h->date, room), &c.theirs);
	stated = stated_reset(h, &s, &c, &until);
	if (failure == FAILURE_RATE_LIMITED && status == 429) {
		if (find_nocase(s.error, "\"quotaId\"") != NULL &&
			(find_nocase(s.error, "PerDay") != NULL ||
				find_nocase(s.error, "Daily") != NULL)) {
			/* Gemini: the delay it states is that of the minute */
			failure = FAILURE_NO_CREDIT;
			stated = true;
			until = next_pacific_midnight(now_ms);
		} else if (stated && until - now_ms >= DAY_MS) {
			failure = FAILURE_NO_CREDIT; /* no rate has such a window */
		} else if (!stated && !s.is_error && holds(s.message, "per day")) {
			failure = FAILURE_NO_CREDIT; /* Bedrock */
			stated = true;
			until = (now_ms / DAY_MS + 1) * DAY_MS;
		} else if (!stated && find_nocase(s.error, "PerMinute") != NULL) {
			stated = true;
			until = now_ms + 60 * SECOND_MS;
		}
	}
	if (failure != FAILURE_NO_CREDIT && until > now_ms + DAY_MS)
		until = now_ms + DAY_MS;
	if (stated)
		*until_ms = until > now_ms ? until : now_ms;
	return failure;
}

const char *
failure_name(enum failure f)
{
	static const char *const list[] = { "none", "key_invalid", "no_credit", "rate_limited",
		"overloaded", "model", "request", "transient" };

	return (size_t)f < sizeof list / sizeof list[0] ? list[f] : "unknown";
}

/* ---- what the client is told ---- */

/* Words by which providers say that a prompt does not fit their model. */
static bool
is_context(const struct said *s)
{
	static const char *const phrases[] = { "prompt is too long", "maximum context length",
		"context length", "context window", "input is too long",
		"exceeds the maximum number of tokens", "too many input tokens" };

	if (holds(s->code, "context_length_exceeded") || holds(s->type, "context_length_exceeded"))
		return true;
	for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
		if (holds(s->message, phrases[i]))
			return true;
	return false;
}

bool
failure_is_context(struct span body)
{
	struct said s;

	read_said(body, &s);
	return is_context(&s);
}

bool
failure_is_filter(struct span body)
{
	static const char *const kinds[] = { "content_filter", "content_policy", "moderation",
		"ResponsibleAI", "sensitive_words", "data_inspection_failed", "flagged" };
	static const char *const phrases[] = { "content filter", "content management policy",
		"content policy", "safety system", "moderation", "guardrail" };
	struct said s;

	read_said(body, &s);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (holds(s.code, kinds[i]) || holds(s.type, kinds[i]) || holds(s.status, kinds[i]))
			return true;
	for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
		if (holds(s.message, phrases[i]))
			return true;
	return find_nocase(s.error, "\"flagged_input\"") != NULL;
}

static bool
is_of_a_name(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '_';
}

/* The name, and not a longer one that holds it: "gpt-4" is not named by "gpt-4o" or "gpt-4.1". */
static bool
names(struct span in, const char *name)
{
	size_t len = strlen(name);
	const char *end = in.at + in.len, *at;

	while (len > 0 && (at = find_nocase(in, name)) != NULL) {
		const char *behind = at + len;
		bool goes_on = behind < end &&
			       (is_of_a_name(*behind) || (*behind == '.' && behind + 1 < end &&
								 is_of_a_name(behind[1])));

		if (!goes_on && (at == in.at || (!is_of_a_name(at[-1]) && at[-1] != '.')))
			return true;
		in = (struct span){ behind, (size_t)(end - behind) };
	}
	return false;
}

struct failure_scope
failure_scope(struct span body, const char *model)
{
	static const char *const accounts[] = { "organization", "your account", "workspace",
		"account-wide", "subscription" };
	static const char *const quotas[] = { "PerDay", "per day", "Daily", "(RPD)", "(TPD)",
		"per month", "monthly", "PerMonth" };
	static const char *const addresses[] = { "your IP", "IP address", "per IP", "this IP" };
	struct failure_scope out = { .is_model = false };
	struct said s;

	read_said(body, &s);
	for (size_t i = 0; i < sizeof accounts / sizeof accounts[0]; i++)
		out.is_account = out.is_account || holds(s.message, accounts[i]);
	for (size_t i = 0; i < sizeof quotas / sizeof quotas[0]; i++)
		out.is_quota = out.is_quota || find_nocase(s.error, quotas[i]) != NULL;
	for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
		out.is_address = out.is_address || holds(s.message, addresses[i]);
	out.is_model = names(s.error, model);
	return out;
}

char *
failure_words(struct span body, char *out, size_t room)
{
	struct said s;

	read_said(body, &s);
	(void)snprintf(out, room, "%s %s %s", s.code, s.type, s.status);
	return out;
}

/* The two largest numbers of a sentence about a full context: what came, and what fits. */
static bool
two_numbers(const char *text, int64_t *more, int64_t *less)
{
	*more = *less = 0;
	while (*text != '\0') {
		char *end;
		long long n;

		if (*text < '0' || *text > '9') {
			text++;
			continue;
		}
		n = strtoll(text, &end, 10);
		text = end;
		if (n > *more)
			*less = *more, *more = n;
		else if (n > *less && n < *more)
			*less = n;
	}
	return *less >= 1000 && *more < WIRE_TOKENS_MAX;
}

static void
tell_request(int status, const struct said *s, struct err *err)
{
	enum err_code code = status == 413   ? ERR_BODY_TOO_LARGE
			     : status == 404 ? ERR_NOT_FOUND
					     : ERR_BAD_REQUEST;
	int64_t came, fits_in;

	if (is_context(s)) {
		(void)err_set(err, ERR_CONTEXT_TOO_LONG, "the prompt is too long");
		if (two_numbers(s->message, &came, &fits_in))
			/* agents look for just this sentence (interfaces.md, Errors) */
			(void)err_say(err, "prompt is too long: %lld tokens > %lld maximum",
				(long long)came, (long long)fits_in);
		else
			(void)err_say(err, "prompt is too long: %.180s", s->message);
		return;
	}
	(void)err_set(err, code, "the provider refused the request with status %d", status);
	if (s->message[0] != '\0' && !s->html)
		(void)err_say(err, "The provider refused this request: %.190s", s->message);
	else
		(void)err_say(err, "The provider refused this request with status %d.", status);
}

int
failure_tell(enum failure f, int status, int64_t retry_boot_ms, const char *upstream,
	struct span body, struct err *err)
{
	struct said s;

	switch (f) {
	case FAILURE_KEY_INVALID:
	case FAILURE_NO_CREDIT:
		return err_set(err, ERR_UPSTREAM_CREDENTIALS,
			"upstream %s refused our key: status %d, %s", upstream, status,
			failure_name(f));
	case FAILURE_RATE_LIMITED:
		(void)err_set(err, ERR_RATE_LIMITED, "upstream %s limits our key's rate", upstream);
		(void)err_say(err, "The provider limits the rate now; wait and try again.");
		break;
	case FAILURE_OVERLOADED:
		(void)err_set(err, ERR_OVERLOADED, "upstream %s is overloaded: status %d", upstream,
			status);
		(void)err_say(err, "The provider is overloaded; try again soon.");
		break;
	case FAILURE_MODEL:
		(void)err_set(err, ERR_NO_ROUTE, "upstream %s does not serve the model: status %d",
			upstream, status);
		return err_say(err, "The provider does not serve this model to us.");
	case FAILURE_NONE:
	case FAILURE_REQUEST:
		read_said(body, &s);
		tell_request(status, &s, err);
		return -1;
	case FAILURE_TRANSIENT:
		(void)err_set(err, ERR_UPSTREAM_UNREACHABLE, "upstream %s failed with status %d",
			upstream, status);
		return err_say(err, "The provider failed with status %d; try again soon.", status);
	}
	if (err != NULL)
		err->retry_boot_ms = retry_boot_ms;
	return -1;
}
