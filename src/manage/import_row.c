/*
 * import_row.c - what a row that another gateway exported means here.
 *
 * Two rules.  A restriction that cannot be kept is never dropped in silence: it is noted, and where
 * a list would come out wider than it was, the row is refused.  A value means the same in JSON and
 * in CSV, where everything is text: lists as {a,b} (PostgreSQL), ["a","b"] or a,b; truth as t, 1 or
 * true; times as RFC 3339, with a blank for the T, or as seconds.
 */
#include "manage/import-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/money.h"
#include "base/net.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_BYTES   8192 /* of one value */
#define QUOTA_NUSD   2000 /* new-api: 500,000 of its units are a dollar */
#define SECRET_LEAST 8
#define SECRET_MOST  511
#define ROLLING_MOST (366 * 86400LL)

/* ---- values ---- */

/* As text, "" for null and what is not there.  Length, or -1: too long or broken. */
static ptrdiff_t
value_text(struct json_value v, char *out, size_t room)
{
	out[0] = '\0';
	if (v.type == JSON_NONE || v.type == JSON_NULL)
		return 0;
	if (v.type == JSON_STRING)
		return json_string(v, out, room);
	return span_copy(v.raw, out, room) ? (ptrdiff_t)v.raw.len : -1;
}

static void note(struct draft *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
note(struct draft *d, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (d->notes.len + strlen(text) + 1 < DRAFT_NOTES_BYTES)
		bytes_printf(&d->notes, "%s%s", d->notes.len > 0 ? "\n" : "", text);
}

static void
refuse(struct draft *d, const char *why)
{
	if (d->refused[0] == '\0')
		snprintf(d->refused, sizeof d->refused, "%s", why);
}

static ptrdiff_t
text_of(struct draft *d, struct span row, const char *name, char *out, size_t room)
{
	ptrdiff_t len = value_text(json_get(row, name), out, room);

	if (len < 0) {
		out[0] = '\0';
		note(d, "%s (too long)", name);
		return 0;
	}
	return len;
}

/* "\N" is how PostgreSQL writes null. */
static bool
is_nothing(const char *text)
{
	return text[0] == '\0' || strcmp(text, "null") == 0 || strcmp(text, "NULL") == 0 ||
	       strcmp(text, "\\N") == 0 || strcmp(text, "{}") == 0 || strcmp(text, "[]") == 0;
}

static bool
truth_of(struct span row, const char *name, bool fallback)
{
	char text[16];

	if (value_text(json_get(row, name), text, sizeof text) <= 0 || is_nothing(text))
		return fallback;
	return strcasecmp(text, "true") == 0 || strcasecmp(text, "t") == 0 ||
	       strcasecmp(text, "yes") == 0 || strcmp(text, "1") == 0;
}

/* 1 with *out, 0 not there, -1 no whole number. */
static int
whole_of(struct span row, const char *name, int64_t *out)
{
	char text[64];
	struct json_value v = { .type = JSON_NUMBER };

	if (value_text(json_get(row, name), text, sizeof text) < 0)
		return -1;
	if (is_nothing(text))
		return 0;
	v.raw = span_of(text);
	return json_valid(v.raw) && json_int(v, out) == 0 ? 1 : -1;
}

/* Dollars; other gateways keep them as floating point, so what is finer than ours is rounded.
 * 1, 0 not there, -1. */
static int
dollars_of(struct span row, const char *name, int64_t *nusd)
{
	char text[64], *end;
	long double value;

	if (value_text(json_get(row, name), text, sizeof text) < 0)
		return -1;
	if (is_nothing(text))
		return 0;
	if (money_parse(text, nusd) == 0)
		return 1;
	value = strtold(text, &end);
	if (*end != '\0' || !(value <= 9e9L && value >= -9e9L)) /* no number is neither */
		return -1;
	*nusd = (int64_t)(value * (long double)NUSD_PER_USD + (value < 0 ? -0.5L : 0.5L));
	return 1;
}

static int
time_of_words(const char *text, int64_t *ms)
{
	char word[64];
	size_t len = strlen(text);
	const char *zone;

	if (len < 10 || len + 4 > sizeof word)
		return -1;
	strcpy(word, text);
	if (len > 10 && word[10] == ' ')
		word[10] = 'T';
	zone = len > 19 ? strpbrk(word + 19, "Z+-") : NULL;
	if (len > 10 && zone == NULL)
		strcat(word, "Z");
	else if (zone != NULL && zone[0] != 'Z' && strlen(zone) == 3) /* "+00" */
		strcat(word, ":00");
	return time_of_text(word, ms);
}

/* 1 with *ms, 0 never or not there, -1. */
static int
time_of(struct span row, const char *name, int64_t *ms)
{
	char text[64], *end;
	long long seconds;

	if (value_text(json_get(row, name), text, sizeof text) < 0)
		return -1;
	if (is_nothing(text))
		return 0;
	if (time_of_words(text, ms) == 0)
		return 1;
	seconds = strtoll(text, &end, 10);
	if (*end != '\0' && *end != '.')
		return -1;
	if (seconds <= 0)
		return 0;
	*ms = seconds > 100000000000LL ? seconds : seconds * 1000; /* some count milliseconds */
	return *ms < 253402300800000LL ? 1 : -1;
}

/* ---- lists ---- */

struct list {
	char *out; /* entries parted by line ends */
	size_t room, len;
	bool failed;
};

static void
list_add(struct list *l, struct span entry)
{
	while (entry.len > 0 && strchr(" \t\r\"'", entry.at[0]) != NULL) {
		entry.at++;
		entry.len--;
	}
	while (entry.len > 0 && strchr(" \t\r\"'", entry.at[entry.len - 1]) != NULL)
		entry.len--;
	if (entry.len == 0)
		return;
	for (size_t i = 0; i < entry.len; i++)
		if ((unsigned char)entry.at[i] < 0x20 || entry.at[i] == ',')
			l->failed = true; /* it would be another list */
	if (l->len + entry.len + 2 > l->room)
		l->failed = true;
	if (l->failed)
		return;
	if (l->len > 0)
		l->out[l->len++] = '\n';
	memcpy(l->out + l->len, entry.at, entry.len);
	l->len += entry.len;
	l->out[l->len] = '\0';
}

static bool
list_element(void *ctx, const struct json_member *m)
{
	struct list *l = ctx;
	char text[512];

	if (value_text(m->value, text, sizeof text) < 0)
		l->failed = true;
	else
		list_add(l, span_of(text));
	return true;
}

static void
list_words(struct list *l, const char *text)
{
	size_t len = strlen(text);

	if (len >= 2 && text[0] == '{' && text[len - 1] == '}') {
		text++;
		len -= 2;
	}
	while (len > 0) {
		size_t n = 0;

		while (n < len && text[n] != ',' && text[n] != '\n')
			n++;
		list_add(l, (struct span){ text, n });
		n += n < len;
		text += n;
		len -= n;
	}
}

/* 0, or -1: it cannot be read or does not fit. */
static int
list_of(struct span row, const char *name, char *out, size_t room)
{
	struct json_value v = json_get(row, name);
	struct list l = { .out = out, .room = room };
	char text[TEXT_BYTES];

	out[0] = '\0';
	if (v.type == JSON_ARRAY)
		return json_each_element(v.raw, list_element, &l, NULL) == 0 && !l.failed ? 0 : -1;
	if (value_text(v, text, sizeof text) < 0)
		return -1;
	if (is_nothing(text))
		return 0;
	if (text[0] == '[')
		return json_each_element(span_of(text), list_element, &l, NULL) == 0 && !l.failed
			       ? 0
			       : -1;
	list_words(&l, text);
	return l.failed ? -1 : 0;
}

/* The next entry, taken off the list. */
static bool
list_next(const char **list, char *out, size_t room)
{
	size_t len = strcspn(*list, "\n");

	(void)span_copy((struct span){ *list, len }, out, room);
	*list += len;
	*list += **list == '\n';
	return len > 0;
}

/* ---- parts of a draft ---- */

static void
add_metadata(struct draft *d, const char *name, const char *value)
{
	char *to = d->token.metadata;
	size_t len = strlen(to), more = strlen(name) + strlen(value) + 2;

	if (is_nothing(value))
		return;
	for (const char *p = value; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			note(d, "%.64s (control characters)", name);
			return;
		}
	if (len + more >= sizeof d->token.metadata) {
		note(d, "%.64s (metadata is full)", name);
		return;
	}
	sprintf(to + len, "%s%s=%s", len > 0 ? "\n" : "", name, value);
}

static void
keep_as_metadata(struct draft *d, struct span row, const char *name)
{
	char text[256];

	if (text_of(d, row, name, text, sizeof text) > 0)
		add_metadata(d, name, text);
}

static bool
metadata_member(void *ctx, const struct json_member *m)
{
	struct json_value key = { JSON_STRING, { m->key.at - 1, m->key.len + 2 } };
	struct draft *d = ctx;
	char name[64], value[256];

	if (json_string(key, name, sizeof name) <= 0 || strpbrk(name, "=\n") != NULL)
		note(d, "a member of metadata (its name)");
	else if (value_text(m->value, value, sizeof value) < 0)
		note(d, "metadata.%s (too long)", name);
	else
		add_metadata(d, name, value);
	return true;
}

static void
take_metadata(struct draft *d, struct span row)
{
	struct json_value v = json_get(row, "metadata");
	char text[TEXT_BYTES];

	if (value_text(v, text, sizeof text) < 0)
		note(d, "metadata (too long)");
	else if (!is_nothing(text) && json_each(span_of(text), metadata_member, d, NULL) != 0)
		note(d, "metadata (no JSON object)");
}

static struct limit *
add_limit(struct draft *d, int32_t metric, int32_t window, int64_t cap)
{
	struct limit *l = &d->limits[d->limit_count++];

	record_init(RECORD_LIMIT, l);
	l->metric = metric;
	l->window = window;
	l->cap = cap < 0 ? 0 : cap;
	/* Elsewhere tokens are counted when they were used; to hold the worst case back could refuse
	 * what has always passed. */
	l->reserve = metric == METRIC_TOKENS ? RESERVE_EXPECTED : RESERVE_WORST;
	return l;
}

static void
take_limit(struct draft *d, struct span row, const char *name, int32_t metric, int32_t window)
{
	int64_t cap;
	int rc = whole_of(row, name, &cap);

	if (rc < 0)
		refuse(d, "one of its limits is no whole number");
	else if (rc > 0)
		(void)add_limit(d, metric, window, cap);
}

static void
take_time(struct draft *d, struct span row, const char *name, int64_t *ms)
{
	if (time_of(row, name, ms) < 0)
		refuse(d, "one of its times cannot be read");
}

/* By its text, or as a digest that was kept for it. */
static void
take_secret(struct draft *d, const char *text)
{
	size_t len = strlen(text);

	if (len == 0) {
		refuse(d, "it has neither a secret nor the hash of one");
	} else if (len == 2 * SHA256_BYTES &&
		   hash_unhex(text, d->token.sha256, sizeof d->token.sha256) == 0) {
		if (d->token.masked[0] == '\0')
			snprintf(d->token.masked, sizeof d->token.masked, "sha256:%.8s…", text);
	} else if (strstr(text, "...") != NULL || strstr(text, "***") != NULL) {
		refuse(d, "its secret is masked; export the secrets themselves or their hashes");
	} else if (len < SECRET_LEAST || len > SECRET_MOST || token_mistyped(text, len)) {
		refuse(d, "its secret is too short, too long or mistyped");
	} else {
		for (size_t i = 0; i < len; i++)
			if ((unsigned char)text[i] < 0x21 || (unsigned char)text[i] > 0x7e)
				refuse(d, "its secret has characters that no client can send");
		hash_sha256(text, len, d->token.sha256);
		token_mask(text, len, d->token.masked);
	}
}

static void
take_label(struct draft *d, struct span row, const char *name)
{
	char text[TEXT_BYTES];

	(void)text_of(d, row, name, text, sizeof text);
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	if (!span_copy(span_of(text), d->token.label, sizeof d->token.label))
		note(d, "%s (cut to %zu bytes)", name, sizeof d->token.label - 1);
	memcpy(d->name, d->token.label, sizeof d->name);
}

static void
take_project(struct draft *d, struct span row, const char *name)
{
	if (d->project[0] == '\0' &&
		value_text(json_get(row, name), d->project, sizeof d->project) < 0)
		d->project[0] = '\0';
}

static void
revoke(struct draft *d, const char *why)
{
	d->token.is_active = false;
	if (d->token.revoked_ms == 0)
		d->token.revoked_ms = clock_wall_ms();
	snprintf(d->token.revoked_reason, sizeof d->token.revoked_reason, "%s", why);
}

static void
note_others(struct draft *d, struct span row, const char *const *names)
{
	char text[TEXT_BYTES];

	for (; *names != NULL; names++)
		if (value_text(json_get(row, *names), text, sizeof text) != 0 &&
			!is_nothing(text) && strcasecmp(text, "false") != 0 &&
			strcmp(text, "f") != 0 && strcmp(text, "0") != 0)
			note(d, "%s", *names);
}

/* ---- LiteLLM: virtual keys ---- */

/* Their words for a calendar window, whose turns are at midnight, Monday and the first there too. */
static int
budget_window(const char *text, struct limit *l)
{
	static const struct {
		const char *unit;
		int64_t seconds;
	} units[] = { { "mo", 30 * 86400 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 },
		{ "w", 7 * 86400 } };
	static const struct {
		int64_t seconds;
		int32_t window;
	} windows[] = { { 60, WINDOW_MINUTE }, { 3600, WINDOW_HOUR }, { 86400, WINDOW_DAY },
		{ 7 * 86400, WINDOW_WEEK }, { 30 * 86400, WINDOW_MONTH } };
	char *end;
	int64_t n = strtoll(text, &end, 10), seconds = 0;

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(end, units[i].unit) == 0 && n > 0 && n <= ROLLING_MOST)
			seconds = n * units[i].seconds;
	if (seconds <= 0 || seconds > ROLLING_MOST)
		return -1;
	for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++)
		if (windows[i].seconds == seconds) {
			l->window = windows[i].window;
			return 0;
		}
	l->window = WINDOW_ROLLING;
	l->window_s = seconds;
	return 0;
}

static void
litellm_budget(struct draft *d, struct span row)
{
	char duration[32], text[MONEY_TEXT_BYTES];
	int64_t cap = 0, spent = 0;
	int rc = dollars_of(row, "max_budget", &cap);
	struct limit *l;

	if (dollars_of(row, "spend", &spent) > 0 && spent > 0) {
		money_text(spent, text);
		add_metadata(d, "spent_before", text);
	}
	if (rc == 0)
		return;
	if (rc < 0 || cap < 0) {
		refuse(d, "its max_budget cannot be read");
		return;
	}
	l = add_limit(d, METRIC_COST, WINDOW_TOTAL, cap);
	(void)text_of(d, row, "budget_duration", duration, sizeof duration);
	if (is_nothing(duration)) {
		l->cap = spent < cap ? cap - spent : 0; /* what is left of it */
		return;
	}
	if (budget_window(duration, l) != 0)
		refuse(d, "its budget_duration cannot be read");
	else if (spent > 0)
		note(d, "spend of the budget's present window");
}

static void
litellm_models(struct draft *d, struct span row)
{
	char list[LIST_BYTES], name[MODEL_BYTES * 2];
	struct list l = { .out = d->token.allowed_models, .room = sizeof d->token.allowed_models };
	const char *rest = list;
	bool all = false;

	if (list_of(row, "models", list, sizeof list) != 0) {
		refuse(d, "its list of models is too long or cannot be read");
		return;
	}
	while (list_next(&rest, name, sizeof name)) {
		if (strcmp(name, "all-proxy-models") == 0 || strcmp(name, "all-team-models") == 0 ||
			strcmp(name, "*") == 0)
			all = true;
		else /* "no-default-models" stays: it is no model's name, so it allows none */
			list_add(&l, span_of(name));
	}
	if (all)
		d->token.allowed_models[0] = '\0';
}

static void
litellm_routes(struct draft *d, struct span row)
{
	char list[SHORT_LIST_BYTES], route[256], pattern[258];
	struct list l = { .out = d->token.allowed_endpoints,
		.room = sizeof d->token.allowed_endpoints };
	const char *rest = list;

	if (list_of(row, "allowed_routes", list, sizeof list) != 0) {
		refuse(d, "its list of routes is too long or cannot be read");
		return;
	}
	while (list_next(&rest, route, sizeof route)) {
		if (route[0] ==
			'/') { /* there /chat/completions and /v1/chat/completions are one */
			snprintf(pattern, sizeof pattern, "*%s", route);
			list_add(&l, span_of(pattern));
		} else if (strcmp(route, "llm_api_routes") != 0) {
			refuse(d,
				"its allowed_routes name a group of routes that is not known here");
		}
	}
	if (l.failed)
		refuse(d, "its list of routes is too long");
}

static void
litellm_row(struct span row, struct draft *d)
{
	static const char *const others[] = { "soft_budget", "model_max_budget", "aliases",
		"config", "permissions", "guardrails", "router_settings", "object_permission_id",
		"object_permission", "budget_id", "access_group_ids", "allowed_cache_controls",
		"policies", "auto_rotate", NULL };
	char text[TEXT_BYTES];

	/* the last letters of the secret are all that is known of it there */
	if (text_of(d, row, "key_name", text, sizeof text) > 0 &&
		strlen(text) < sizeof d->token.masked)
		strcpy(d->token.masked, text);
	(void)text_of(d, row, "token", text, sizeof text);
	take_secret(d, text);
	explicit_bzero(text, sizeof text);
	take_label(d, row, "key_alias");
	take_project(d, row, "team_alias");
	take_project(d, row, "team_id");
	take_time(d, row, "expires", &d->token.expires_ms);
	take_time(d, row, "created_at", &d->created_ms);
	litellm_models(d, row);
	litellm_routes(d, row);
	litellm_budget(d, row);
	take_limit(d, row, "tpm_limit", METRIC_TOKENS, WINDOW_MINUTE);
	take_limit(d, row, "rpm_limit", METRIC_REQUESTS, WINDOW_MINUTE);
	take_limit(d, row, "max_parallel_requests", METRIC_PARALLEL, WINDOW_TOTAL);
	keep_as_metadata(d, row, "user_id");
	keep_as_metadata(d, row, "team_id");
	keep_as_metadata(d, row, "organization_id");
	take_metadata(d, row);
	if (truth_of(row, "blocked", false))
		revoke(d, "blocked in LiteLLM");
	note_others(d, row, others);
}

/* ---- new-api: tokens ---- */

static void
new_api_quota(struct draft *d, struct span row)
{
	int64_t quota = 0, used = 0, nusd;
	char text[MONEY_TEXT_BYTES];

	if (whole_of(row, "used_quota", &used) > 0 && used > 0 &&
		!__builtin_mul_overflow(used, (int64_t)QUOTA_NUSD, &nusd)) {
		money_text(nusd, text);
		add_metadata(d, "spent_before", text);
	}
	if (truth_of(row, "unlimited_quota", false))
		return;
	if (whole_of(row, "remain_quota", &quota) <= 0 ||
		__builtin_mul_overflow(quota, (int64_t)QUOTA_NUSD, &nusd))
		refuse(d, "its remain_quota cannot be read");
	else
		(void)add_limit(d, METRIC_COST, WINDOW_TOTAL, nusd);
}

static void
new_api_row(struct span row, struct draft *d)
{
	static const char *const others[] = { "cross_group_retry", NULL };
	char key[TEXT_BYTES], text[TEXT_BYTES + 4], group[NAME_BYTES];
	int64_t status = 1;

	(void)text_of(d, row, "key", key, sizeof key);
	/* it is kept without the sk- that its clients send */
	snprintf(text, sizeof text, "%s%s",
		key[0] == '\0' || strncmp(key, "sk-", 3) == 0 ? "" : "sk-", key);
	take_secret(d, text);
	explicit_bzero(key, sizeof key);
	explicit_bzero(text, sizeof text);
	take_label(d, row, "name");
	take_project(d, row, "group");
	take_time(d, row, "expired_time", &d->token.expires_ms);
	take_time(d, row, "created_time", &d->created_ms);
	new_api_quota(d, row);
	if (truth_of(row, "model_limits_enabled", false) &&
		(list_of(row, "model_limits", d->token.allowed_models,
			 sizeof d->token.allowed_models) != 0 ||
			d->token.allowed_models[0] == '\0'))
		refuse(d, "its list of models is empty, too long or cannot be read");
	if (list_of(row, "allow_ips", d->token.allowed_networks,
		    sizeof d->token.allowed_networks) != 0 ||
		!net_is_list(d->token.allowed_networks))
		refuse(d, "its list of addresses is too long or holds something else");
	keep_as_metadata(d, row, "user_id");
	if (text_of(d, row, "group", group, sizeof group) > 0 && !is_nothing(group)) {
		add_metadata(d, "group", group);
		if (strcmp(group, "default") != 0)
			note(d, "group (its channels and price ratio)");
	}
	if (whole_of(row, "status", &status) < 0)
		refuse(d, "its status cannot be read");
	/* 3 and 4 are expired and exhausted, which time and quota say as well */
	if (status == 2)
		revoke(d, "disabled in new-api");
	if ((text_of(d, row, "deleted_at", text, sizeof text) > 0 ||
		    text_of(d, row, "DeletedAt", text, sizeof text) > 0) &&
		!is_nothing(text))
		refuse(d, "it was deleted there");
	note_others(d, row, others);
}

/* ---- llm-proxy: tokens ---- */

static void
llm_proxy_count(struct draft *d, struct span row)
{
	int64_t most = 0, used = 0;

	if (whole_of(row, "max_requests", &most) < 0 || whole_of(row, "request_count", &used) < 0)
		refuse(d, "its counts cannot be read");
	else if (most > 0 && used >= most)
		revoke(d, "all its requests were used up in llm-proxy");
	else if (most > 0)
		d->token.max_requests = most - used; /* counted from now on */
}

static void
llm_proxy_row(struct span row, struct draft *d)
{
	static const char *const secrets[] = { "token", "token_hash", "secret", NULL };
	char text[TEXT_BYTES] = "";

	for (size_t i = 0; secrets[i] != NULL && text[0] == '\0'; i++)
		(void)text_of(d, row, secrets[i], text, sizeof text);
	take_secret(d, text);
	explicit_bzero(text, sizeof text);
	take_label(d, row, "label");
	if (d->token.label[0] == '\0')
		take_label(d, row, "id");
	take_project(d, row, "project_name");
	take_project(d, row, "project");
	take_project(d, row, "project_id");
	take_time(d, row, "expires_at", &d->token.expires_ms);
	take_time(d, row, "created_at", &d->created_ms);
	take_time(d, row, "deactivated_at", &d->token.revoked_ms);
	llm_proxy_count(d, row);
	keep_as_metadata(d, row, "id");
	keep_as_metadata(d, row, "request_count");
	if (!truth_of(row, "is_active", true))
		revoke(d, "not active in llm-proxy");
	else if (d->token.is_active)
		d->token.revoked_ms = 0;
}

static const struct source {
	const char *name;
	void (*read)(struct span row, struct draft *d);
} sources[] = {
	{ "litellm", litellm_row },
	{ "new-api", new_api_row },
	{ "llm-proxy", llm_proxy_row },
};

bool
import_knows(const char *from)
{
	for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
		if (strcmp(sources[i].name, from) == 0)
			return true;
	return false;
}

void
import_row(const char *from, struct span row, struct draft *d)
{
	memset(d, 0, sizeof *d);
	record_init(RECORD_TOKEN, &d->token);
	d->notes = BYTES_LIMIT(DRAFT_NOTES_BYTES);
	for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
		if (strcmp(sources[i].name, from) == 0)
			sources[i].read(row, d);
}
