/*
 * endpoint.c - the table is searched in order, so the narrower path stands first.
 */
#include "gateway/endpoint.h"

#include <string.h>

#define OPENAI(methods, path, kind, to, upload)                                                    \
	{                                                                                          \
		methods, path, kind, DIALECT_OPENAI, to, false, upload                             \
	}

static const struct endpoint endpoints[] = {
	OPENAI("GET", "/v1/models", ENDPOINT_MODELS, NULL, false),
	OPENAI("GET", "/v1/models/*", ENDPOINT_MODEL, NULL, false),
	OPENAI("*", "/v1/files", ENDPOINT_FORWARD, "/files", true),
	OPENAI("*", "/v1/files/*", ENDPOINT_FORWARD, "/files/", true),
	OPENAI("*", "/v1/uploads/*", ENDPOINT_FORWARD, "/uploads/", true),
	OPENAI("*", "/v1/audio/*", ENDPOINT_FORWARD, "/audio/", true),
	OPENAI("*", "/v1/images/*", ENDPOINT_FORWARD, "/images/", true),
	OPENAI("*", "/v1/*", ENDPOINT_FORWARD, "/", false),
	{ "GET", "/v1/upstreams", ENDPOINT_UPSTREAMS, DIALECT_OPENAI, NULL, true, false },
	{ "*", "/v1/*", ENDPOINT_FORWARD, DIALECT_OPENAI, "/", true, false },
	OPENAI("GET", "/api/v1/models", ENDPOINT_MODELS, NULL, false),
	OPENAI("*", "/api/v1/*", ENDPOINT_FORWARD, "/", false),
	OPENAI("GET", "/health", ENDPOINT_HEALTH, NULL, false),
	OPENAI("GET", "/api/health", ENDPOINT_HEALTH, NULL, false),
	OPENAI("GET", "/ready", ENDPOINT_HEALTH, NULL, false),
	OPENAI("GET", "/live", ENDPOINT_HEALTH, NULL, false),
	OPENAI("GET", "/metrics", ENDPOINT_METRICS, NULL, false),
};
#define COUNT (sizeof endpoints / sizeof endpoints[0])

static bool
takes_method(const char *methods, const char *method)
{
	size_t len = strlen(method);

	if (methods[0] == '*')
		return true;
	if (len == 0)
		return false;
	for (const char *at = methods; (at = strstr(at, method)) != NULL; at += len)
		if ((at == methods || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	/* whoever may GET may ask for the head alone */
	return strcmp(method, "HEAD") == 0 && takes_method(methods, "GET");
}

/* Does pattern fit all of path?  rest is what its "*" stands for. */
static bool
fits(const char *pattern, struct span path, struct span *rest)
{
	size_t len = strlen(pattern);

	*rest = SPAN_NONE;
	if (pattern[len - 1] != '*')
		return span_is(path, pattern);
	len--;
	if (path.len <= len || memcmp(path.at, pattern, len) != 0)
		return false;
	*rest = (struct span){ path.at + len, path.len - len };
	return true;
}

/* Looks whether an endpoint begins right here.  404, 405 or 200. */
static int
find_here(const char *method, struct span path, const char *proxy_prefix,
	struct endpoint_match *found)
{
	size_t prefix_len = strlen(proxy_prefix);
	bool prefixed = prefix_len > 0 && path.len > prefix_len &&
			span_starts(path, proxy_prefix) && path.at[prefix_len] == '/';
	struct span behind =
		prefixed ? (struct span){ path.at + prefix_len, path.len - prefix_len } : path;
	int status = 404;

	for (size_t i = 0; i < COUNT; i++) {
		const struct endpoint *e = &endpoints[i];
		struct span at = e->by_prefix ? behind : path;
		struct span rest;

		if ((e->by_prefix && !prefixed) || !fits(e->path, at, &rest))
			continue;
		found->endpoint = e;
		found->path = at;
		found->rest = rest;
		if (takes_method(e->methods, method))
			return 200;
		status = 405;
	}
	return status;
}

int
endpoint_find(const char *method, struct span path, const char *proxy_prefix,
	struct endpoint_match *found)
{
	for (size_t i = 0; i < path.len; i++) {
		int status;

		if (path.at[i] != '/')
			continue;
		status = find_here(
			method, (struct span){ path.at + i, path.len - i }, proxy_prefix, found);
		if (status != 404) {
			found->mount = (struct span){ path.at, i };
			return status;
		}
	}
	return 404;
}

/* Bytes at which the character stands there, plain or percent-encoded; 0: another one. */
static size_t
is_at(struct span s, char c, const char *encoded)
{
	if (s.len >= 1 && s.at[0] == c)
		return 1;
	return s.len >= 3 && span_is_nocase((struct span){ s.at, 3 }, encoded) ? 3 : 0;
}

static bool
is_dots(struct span segment)
{
	int dots = 0;

	for (size_t n; (n = is_at(segment, '.', "%2e")) > 0; dots++) {
		segment.at += n;
		segment.len -= n;
	}
	return segment.len == 0 && (dots == 1 || dots == 2);
}

/* An encoded slash parts segments too: a server may decode it before it climbs. */
bool
endpoint_path_is_clean(struct span path)
{
	size_t start = 0, i = 0;

	for (;;) {
		struct span rest = { path.at + i, path.len - i };
		size_t slash = is_at(rest, '/', "%2f");

		if (is_at(rest, '\\', "%5c") > 0)
			return false;
		if (slash == 0 && rest.len > 0) {
			i++;
			continue;
		}
		if (is_dots((struct span){ path.at + start, i - start }))
			return false;
		if (rest.len == 0)
			return true;
		start = i += slash;
	}
}
