/*
 * rules.c - what may stand in the lists of routes, policies, upstreams and keys: patterns, shares,
 * quotas, and the rules of failures and requests.  Each entry is judged when it is written, so that no
 * decision meets one that cannot be understood.
 */
#include "manage/manage-int.h"
#include "route/failure_rule.h"
#include "wire/quota.h"
#include "wire/request_rule.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES (LIST_BYTES + 1)
#define REGEX_MOST  256  /* bytes of one */
#define BOUND_MOST  64   /* of its {n,m}: each is that many copies of what stands before */
#define SHARE_MOST  1000 /* of an objective */
#define AMOUNT_MOST (INT64_C(1) << 50)

bool
rules_next(const char **list, char *out, size_t room)
{
	size_t len = strcspn(*list, "\n");

	(void)span_copy((struct span){ *list, len }, out, room);
	*list += len;
	*list += **list == '\n';
	return len > 0;
}

/* ---- patterns ---- */

bool
rules_is_regex(const char *pattern)
{
	size_t len = strlen(pattern);

	return len > 2 && pattern[0] == '/' && pattern[len - 1] == '/';
}

/* Bounds beyond reason, and bounds within bounds, take memory without end. */
static bool
is_bounded(const char *regex)
{
	int braces = 0;

	for (const char *p = strchr(regex, '{'); p != NULL; p = strchr(p + 1, '{')) {
		char *end;

		if (strtol(p + 1, &end, 10) > BOUND_MOST ||
			(*end == ',' && strtol(end + 1, NULL, 10) > BOUND_MOST))
			return false;
		braces++;
	}
	return braces <= 2;
}

/* Compiles "/…/".  0, or -1 with what is wrong in why. */
static int
compile(const char *pattern, regex_t *out, char *why, size_t room)
{
	char text[REGEX_MOST + 1];
	int rc;

	if (!span_copy((struct span){ pattern + 1, strlen(pattern) - 2 }, text, sizeof text)) {
		snprintf(why, room, "it has more than %d bytes", REGEX_MOST);
		return -1;
	}
	if (!is_bounded(text)) {
		snprintf(why, room, "it repeats too often");
		return -1;
	}
	rc = regcomp(out, text, REG_EXTENDED | REG_NOSUB);
	if (rc != 0)
		regerror(rc, out, why, room);
	return rc == 0 ? 0 : -1;
}

int
rules_check_pattern(struct call *c, const char *field, const char *pattern)
{
	char why[80];
	regex_t r;

	if (!rules_is_regex(pattern))
		return 0;
	if (compile(pattern, &r, why, sizeof why) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, field,
			"%s holds a regular expression that cannot be used: %.60s: %s.", field,
			pattern, why);
	regfree(&r);
	return 0;
}

static int
check_glob(struct call *c, const char *field, const char *entry)
{
	if (strpbrk(entry, ",") != NULL || entry[0] == ' ')
		return call_refuse(c, ERR_BAD_REQUEST, field,
			"%s holds patterns, one an entry and without commas; '%.60s' is none.",
			field, entry);
	return 0;
}

/* ---- pairs ---- */

static int
check_tag(struct call *c, const char *field, const char *entry)
{
	size_t name = strcspn(entry, "=");

	if (name == 0 || entry[name] != '=' || strchr(entry, ',') != NULL)
		return call_refuse(c, ERR_BAD_REQUEST, field,
			"%s holds name=value, such as region=eu; '%.60s' is none.", field, entry);
	return 0;
}

/* The index of the name before '=' in names, and the number behind it; -1: neither. */
static int
read_share(const char *entry, const char *const *names, size_t count, int64_t most, int64_t *value)
{
	size_t len = strcspn(entry, "=");
	const char *text = entry[len] == '=' ? entry + len + 1 : "";

	if (text[0] == '\0' || strlen(text) > 16 || strspn(text, "0123456789") != strlen(text))
		return -1;
	*value = strtoll(text, NULL, 10);
	for (size_t i = 0; i < count && *value <= most; i++)
		if (strlen(names[i]) == len && memcmp(names[i], entry, len) == 0)
			return (int)i;
	return -1;
}

int
rules_check_objectives(struct call *c, const char *field, const char *list, int64_t *sum)
{
	static const char *const names[] = { "cost", "reliability", "fairness", "quality",
		"latency" };
	const size_t count = sizeof names / sizeof names[0];
	char entry[ENTRY_BYTES];
	unsigned had = 0;
	int64_t value;

	*sum = 0;
	while (rules_next(&list, entry, sizeof entry)) {
		int at = read_share(entry, names, count, SHARE_MOST, &value);

		if (at < 0)
			return call_refuse(c, ERR_BAD_REQUEST, field,
				"%s holds shares from 0 to %d of cost, reliability, fairness, "
				"quality and latency, such as cost=2; '%.60s' is none.",
				field, SHARE_MOST, entry);
		if ((had & 1u << at) != 0)
			return call_refuse(
				c, ERR_BAD_REQUEST, field, "%s has %s twice.", field, names[at]);
		had |= 1u << at;
		*sum += value;
	}
	return 0;
}

static int
check_quota(struct call *c, const char *field, const char *entry)
{
	struct quota_window w;

	if (quota_parse_given(span_of(entry), &w) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, field,
			"%s holds what a key may use, such as requests/minute=60, "
			"requests/10s=20 or tokens/day=1000000; '%.60s' is none.",
			field, entry);
	return 0;
}

/* ---- aliases ---- */

/* What an alias stands for in that list; NULL: nothing. */
static const char *
alias_of(const char *list, const char *name, char *entry, size_t room)
{
	while (rules_next(&list, entry, room)) {
		size_t len = strcspn(entry, "=");

		if (entry[len] == '=' && strlen(name) == len && memcmp(entry, name, len) == 0)
			return entry + len + 1;
	}
	return NULL;
}

#define ALIAS_CHAIN_MOST 10

int
rules_check_aliases(struct call *c, const char *field, const char *list)
{
	const char *rest = list, *next;
	char first[ENTRY_BYTES], at[ENTRY_BYTES], entry[ENTRY_BYTES];

	while (rules_next(&rest, first, sizeof first)) {
		size_t len = strcspn(first, "=");
		int steps = 1;

		if (len == 0 || len >= MODEL_BYTES || first[len] != '=' || first[len + 1] == '\0' ||
			strlen(first + len + 1) >= MODEL_BYTES)
			return call_refuse(c, ERR_BAD_REQUEST, field,
				"%s holds alias=name, each a model; '%.60s' is none.", field,
				first);
		first[len] = '\0';
		if (alias_of(rest, first, entry, sizeof entry) != NULL)
			return call_refuse(
				c, ERR_BAD_REQUEST, field, "%s has %.60s twice.", field, first);
		snprintf(at, sizeof at, "%s", first + len + 1);
		while ((next = alias_of(list, at, entry, sizeof entry)) != NULL) {
			if (strcmp(next, first) == 0 || ++steps > ALIAS_CHAIN_MOST)
				return call_refuse(c, ERR_BAD_REQUEST, field,
					steps > ALIAS_CHAIN_MOST
						? "The alias %.60s goes on over more than %d "
						  "others, or "
						  "in a circle."
						: "The alias %.60s leads back to itself.",
					first, ALIAS_CHAIN_MOST);
			memmove(at, next, strlen(next) + 1);
		}
		if (strcmp(at, first) == 0)
			return call_refuse(c, ERR_BAD_REQUEST, field,
				"The alias %.60s leads back to itself.", first);
	}
	return 0;
}

/* ---- states of keys ---- */

static int
check_state(struct call *c, const char *field, const char *entry)
{
	static const char *const states[] = { "available", "throttled", "exhausted", "recovering",
		"disabled", "invalid" };

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		if (strcmp(entry, states[i]) == 0)
			return 0;
	return call_refuse(c, ERR_BAD_REQUEST, field,
		"%s holds states of keys: available, throttled, exhausted, recovering; '%.60s' is "
		"none.",
		field, entry);
}

/* ---- rules of failures and of requests ---- */

static int
check_failures(struct call *c, const char *field, const char *list)
{
	struct err why = { 0 };

	if (failure_rules_check(span_of(list), &why) == 0)
		return 0;
	if (why.code != ERR_BAD_REQUEST) {
		c->err = why;
		return -1;
	}
	return call_refuse(c, ERR_BAD_REQUEST, field, "%s", err_public(&why));
}

int
rules_check_requests(struct call *c, const char *field, const char *list)
{
	char entry[ENTRY_BYTES];
	struct err why = { 0 };

	while (rules_next(&list, entry, sizeof entry))
		if (request_rule_check(span_of(entry), &why) != 0) {
			if (why.code == ERR_BAD_REQUEST)
				return call_refuse(
					c, ERR_BAD_REQUEST, field, "%s", err_public(&why));
			c->err = why;
			return -1;
		}
	return 0;
}

/* ---- all of a record ---- */

/* Lists that mean the same wherever they stand.  A kind's own file looks at the others. */
static const struct {
	const char *name;
	int (*check)(struct call *c, const char *field, const char *entry);
} lists[] = {
	{ "models", rules_check_pattern },
	{ "allowed_models", rules_check_pattern },
	{ "blocked_models", rules_check_pattern },
	{ "allowed_upstreams", check_glob },
	{ "blocked_upstreams", check_glob },
	{ "blocked_keys", check_glob },
	{ "regions", check_glob },
	{ "tenants", check_glob },
	{ "required_tags", check_glob },
	{ "tags", check_tag },
	{ "quotas", check_quota },
	{ "allowed_states", check_state },
};

static int
check_list(struct edit *e, const struct field *f)
{
	const char *list = (const char *)e->record + f->offset;
	char entry[ENTRY_BYTES];
	int64_t sum;

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		for (const char *rest = list; strcmp(lists[i].name, f->name) == 0 &&
					      rules_next(&rest, entry, sizeof entry);)
			if (lists[i].check(e->call, f->name, entry) != 0)
				return -1;
	if (strcmp(f->name, "objectives") == 0)
		return rules_check_objectives(e->call, f->name, list, &sum);
	if (strcmp(f->name, "failure_rules") == 0)
		return check_failures(e->call, f->name, list);
	if (strcmp(f->name, "aliases") == 0)
		return rules_check_aliases(e->call, f->name, list);
	return 0;
}

int
rules_check(struct edit *e)
{
	size_t count;
	const struct field *f = record_fields(e->kind->record, &count);

	for (size_t i = 0; i < count; i++)
		if (f[i].type == FIELD_LIST && edit_gave(e, f[i].offset) &&
			check_list(e, &f[i]) != 0)
			return -1;
	return 0;
}
