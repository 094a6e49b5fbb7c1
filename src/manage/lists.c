/*
 * lists.c - what may stand in the lists of tokens and projects, and that a token's list is not for
 * nothing: an entry that no request its project lets through could ever fit is refused by name.
 */
#include "base/net.h"
#include "manage/manage-int.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define ENTRY_BYTES 1024

/* A comma parts patterns, so a list of nothing but commas would be an empty one, and allow all. */
static bool
is_pattern(const char *entry)
{
	return strpbrk(entry, ", ") == NULL;
}

static bool
is_endpoint(const char *entry)
{
	return (entry[0] == '/' || entry[0] == '*') && is_pattern(entry);
}

static bool
is_method(const char *entry)
{
	size_t n = 0;

	while (isalpha((unsigned char)entry[n]))
		n++;
	return n > 0 && n < 16 && entry[n] == '\0';
}

static bool
is_origin(const char *entry)
{
	const char *host = strstr(entry, "://");

	if (!is_pattern(entry))
		return false;
	if (host == NULL)
		return strcmp(entry, "*") == 0 || strcmp(entry, "null") == 0;
	return host != entry && host[3] != '\0' && strchr(host + 3, '/') == NULL;
}

static bool
is_network(const char *entry)
{
	return strchr(entry, ',') == NULL && net_is_list(entry);
}

static bool
is_param(const char *entry)
{
	size_t name = strcspn(entry, "= ");

	return name > 0 && name < 128 && entry[name] == '=';
}

/* Not those that carry the token itself, or that no client chooses. */
static bool
is_header(const char *entry)
{
	static const char *const others[] = { "authorization", "x-api-key", "api-key",
		"x-goog-api-key", "cookie", "host", "content-length", "proxy" };
	size_t name =
		strspn(entry, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
	const char *value = entry + name + 1;

	if (name == 0 || name > 63 || entry[name] != ':')
		return false;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (strlen(others[i]) == name && strncasecmp(entry, others[i], name) == 0)
			return false;
	return value[strspn(value, " ")] != '\0';
}

static bool
is_pair(const char *entry)
{
	size_t name = strcspn(entry, "=");

	return name > 0 && entry[name] == '=';
}

/* Up to the first wildcard. */
static size_t
fixed_part(const char *pattern)
{
	return strcspn(pattern, "*?");
}

/* Could anything fit both patterns?  false only when certainly not. */
static bool
patterns_meet(const char *a, const char *b)
{
	size_t in_a = fixed_part(a), in_b = fixed_part(b);

	if (a[in_a] == '\0')
		return glob_match(b, span_of(a));
	if (b[in_b] == '\0')
		return glob_match(a, span_of(b));
	return strncmp(a, b, in_a < in_b ? in_a : in_b) == 0;
}

static bool
next_entry(const char **list, char out[ENTRY_BYTES])
{
	size_t len = strcspn(*list, "\n");

	(void)span_copy((struct span){ *list, len }, out, ENTRY_BYTES);
	*list += len;
	*list += **list == '\n';
	return len > 0;
}

static bool
pattern_meets_list(const char *entry, const char *list)
{
	char other[ENTRY_BYTES];

	while (next_entry(&list, other))
		if (patterns_meet(entry, other))
			return true;
	return false;
}

#define NONE             SIZE_MAX
#define OF_TOKEN(name)   offsetof(struct token, name)
#define OF_PROJECT(name) offsetof(struct project, name)

static const struct rule {
	const char *name;
	size_t token, project; /* where the list stands; NONE: nowhere */
	bool (*is)(const char *entry);
	const char *wants;
	bool (*meets)(const char *entry, const char *list);
} rules[] = {
	{ "allowed_models", OF_TOKEN(allowed_models), OF_PROJECT(allowed_models), is_pattern,
		"patterns of models, without blanks and commas", pattern_meets_list },
	{ "allowed_endpoints", OF_TOKEN(allowed_endpoints), OF_PROJECT(allowed_endpoints),
		is_endpoint, "paths such as /v1/chat/completions or /v1/files/*",
		pattern_meets_list },
	{ "allowed_methods", OF_TOKEN(allowed_methods), NONE, is_method, "methods such as POST",
		NULL },
	{ "allowed_origins", OF_TOKEN(allowed_origins), OF_PROJECT(allowed_origins), is_origin,
		"origins such as https://app.example.com, without a path", pattern_meets_list },
	{ "allowed_networks", OF_TOKEN(allowed_networks), OF_PROJECT(allowed_networks), is_network,
		"addresses, and networks such as 10.0.0.0/8", net_lists_meet },
	{ "allowed_params", OF_TOKEN(allowed_params), NONE, is_param,
		"name=pattern, such as temperature=0*", NULL },
	{ "required_headers", OF_TOKEN(required_headers), NONE, is_header,
		"\"Name: value\", of a header that is not the token's own", NULL },
	{ "metadata", OF_TOKEN(metadata), NONE, is_pair, "name=value", NULL },
};

static int
check_entries(struct call *c, const struct rule *r, const char *list)
{
	char entry[ENTRY_BYTES];

	while (next_entry(&list, entry))
		if (!r->is(entry))
			return call_refuse(c, ERR_BAD_REQUEST, r->name,
				"%s holds %s; '%.60s' is none.", r->name, r->wants, entry);
	return 0;
}

static int
check_within(struct call *c, const struct rule *r, const char *list, const char *outer)
{
	char entry[ENTRY_BYTES];

	while (outer[0] != '\0' && next_entry(&list, entry))
		if (!r->meets(entry, outer))
			return call_refuse(c, ERR_BAD_REQUEST, r->name,
				"A token can only narrow what its project allows; '%.60s' lies "
				"outside of the project's %s.",
				entry, r->name);
	return 0;
}

int
lists_check_project(struct edit *e)
{
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (rules[i].project != NONE && edit_gave(e, rules[i].project) &&
			check_entries(e->call, &rules[i],
				(const char *)e->record + rules[i].project) != 0)
			return -1;
	return 0;
}

int
lists_check_token(struct edit *e, const struct project *project)
{
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		const struct rule *r = &rules[i];
		const char *list = (const char *)e->record + r->token;

		if (!edit_gave(e, r->token))
			continue;
		if (check_entries(e->call, r, list) != 0 ||
			(r->meets != NULL && check_within(e->call, r, list,
						     (const char *)project + r->project) != 0))
			return -1;
	}
	return 0;
}
