/*
 * endpoint.c - the table is searched in order, so the narrower path stands first.
 */
#include "gateway/endpoint.h"

#include <stdio.h>
#include <string.h>

#define ROW(how, where, what, whose, to)                                                           \
	.methods = (how), .path = (where), .kind = ENDPOINT_##what, .dialect = DIALECT_##whose,    \
	.provider_path = (to)

static const struct endpoint endpoints[] = {
	/* ours */
	{ ROW("GET", "/health", HEALTH, OPENAI, NULL) },
	{ ROW("GET", "/api/health", HEALTH, OPENAI, NULL) },
	{ ROW("GET", "/ready", HEALTH, OPENAI, NULL) },
	{ ROW("GET", "/live", HEALTH, OPENAI, NULL) },
	{ ROW("GET", "/metrics", METRICS, OPENAI, NULL) },
	{ ROW("POST", "/api/event_logging/batch", SINK, ANTHROPIC, NULL) },
	{ ROW("GET", "/v1/upstreams", UPSTREAMS, OPENAI, NULL), .by_prefix = true,
		.face = FACE_PROXY },
	/* Anthropic */
	{ ROW("POST", "/v1/messages", FORWARD, ANTHROPIC, "/messages"), .format = "anthropic" },
	{ ROW("POST", "/v1/messages/count_tokens", COUNT, ANTHROPIC, "/messages/count_tokens"),
		.format = "anthropic" },
	{ ROW("*", "/v1/messages/*", FORWARD, ANTHROPIC, "/messages/") },
	/* OpenAI */
	{ ROW("GET", "/v1/models", MODELS, OPENAI, NULL) },
	{ ROW("GET", "/v1/models/*", MODEL, OPENAI, NULL) },
	{ ROW("POST", "/v1/chat/completions", FORWARD, OPENAI, "/chat/completions"),
		.format = "openai-chat" },
	{ ROW("POST", "/v1/responses", FORWARD, OPENAI, "/responses"),
		.format = "openai-responses" },
	{ ROW("*", "/v1/files", FORWARD, OPENAI, "/files"), .upload = true },
	{ ROW("*", "/v1/files/*", FORWARD, OPENAI, "/files/"), .upload = true },
	{ ROW("*", "/v1/uploads/*", FORWARD, OPENAI, "/uploads/"), .upload = true },
	{ ROW("*", "/v1/audio/*", FORWARD, OPENAI, "/audio/"), .upload = true },
	{ ROW("*", "/v1/images/*", FORWARD, OPENAI, "/images/"), .upload = true },
	/* Gemini's first version stands below /v1 too */
	{ ROW("POST", "/v1/models/*", FORWARD, GEMINI, "/models/"), .shape = SHAPE_GEMINI },
	{ ROW("*", "/v1/*", FORWARD, OPENAI, "/") },
	{ ROW("POST", "/v1/chat/completions", FORWARD, OPENAI, "/chat/completions"),
		.format = "openai-chat", .by_prefix = true, .face = FACE_PROXY },
	{ ROW("POST", "/v1/responses", FORWARD, OPENAI, "/responses"), .format = "openai-responses",
		.by_prefix = true, .face = FACE_PROXY },
	{ ROW("POST", "/v1/messages", FORWARD, ANTHROPIC, "/messages"), .format = "anthropic",
		.by_prefix = true, .face = FACE_PROXY },
	{ ROW("*", "/v1/*", FORWARD, OPENAI, "/"), .by_prefix = true, .face = FACE_PROXY },
	/* OpenRouter */
	{ ROW("GET", "/api/v1/models", MODELS, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("GET", "/api/v1/models/count", MODEL_COUNT, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("GET", "/api/v1/models/user", MODELS, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("GET", "/api/v1/models/*", MODEL, OPENAI, NULL), .face = FACE_OPENROUTER,
		.shape = SHAPE_PLACES },
	{ ROW("GET", "/api/v1/providers", PROVIDERS, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("GET", "/api/v1/key", KEY, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("GET", "/api/v1/auth/key", KEY, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("GET", "/api/v1/keys", KEYS, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("GET", "/api/v1/credits", CREDITS, OPENAI, NULL), .face = FACE_OPENROUTER },
	{ ROW("POST", "/api/v1/chat/completions", FORWARD, OPENAI, "/chat/completions"),
		.format = "openai-chat", .face = FACE_OPENROUTER },
	{ ROW("POST", "/api/v1/responses", FORWARD, OPENAI, "/responses"),
		.format = "openai-responses", .face = FACE_OPENROUTER },
	{ ROW("*", "/api/v1/*", FORWARD, OPENAI, "/"), .face = FACE_OPENROUTER },
	/* Gemini */
	{ ROW("GET", "/v1beta/models", MODELS, GEMINI, NULL) },
	{ ROW("GET", "/v1beta/models/*", MODEL, GEMINI, NULL) },
	{ ROW("POST", "/v1beta/models/*", FORWARD, GEMINI, "/models/"), .shape = SHAPE_GEMINI },
	{ ROW("*", "/v1beta/*", FORWARD, GEMINI, "/") },
	{ ROW("*", "/upload/v1beta/*", FORWARD, GEMINI, "/upload/v1beta/"), .upload = true },
	/* Bedrock */
	{ ROW("POST", "/model/*", FORWARD, BEDROCK, "/model/"), .shape = SHAPE_BEDROCK },
	/* Azure */
	{ ROW("*", "/openai/deployments/*", FORWARD, OPENAI, "/"), .shape = SHAPE_AZURE,
		.upload = true },
	{ ROW("POST", "/openai/v1/chat/completions", FORWARD, OPENAI, "/chat/completions"),
		.format = "openai-chat" },
	{ ROW("POST", "/openai/v1/responses", FORWARD, OPENAI, "/responses"),
		.format = "openai-responses" },
	{ ROW("GET", "/openai/v1/models", MODELS, OPENAI, NULL) },
	{ ROW("GET", "/openai/v1/models/*", MODEL, OPENAI, NULL) },
	{ ROW("*", "/openai/v1/*", FORWARD, OPENAI, "/") },
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

/* Bytes at which the character stands there, plain or percent-encoded; 0: another one. */
static size_t
is_at(struct span s, char c, const char *encoded)
{
	if (s.len >= 1 && s.at[0] == c)
		return 1;
	return s.len >= 3 && span_is_nocase((struct span){ s.at, 3 }, encoded) ? 3 : 0;
}

/* The text before the last mark, and what stands behind it. */
static bool
part_at(struct span s, const char *plain, const char *encoded, struct span *before,
	struct span *behind)
{
	for (size_t i = s.len; i > 0; i--) {
		struct span at = { s.at + i - 1, s.len - i + 1 };
		size_t mark = is_at(at, *plain, encoded);

		if (mark == 0)
			continue;
		*before = (struct span){ s.at, i - 1 };
		*behind = (struct span){ at.at + mark, at.len - mark };
		return true;
	}
	return false;
}

static bool
is_action(struct span action, const char *whole, const char *stream, bool *streams)
{
	*streams = span_is(action, stream);
	return *streams || span_is(action, whole);
}

static void
read_gemini(struct endpoint_match *m)
{
	m->model = m->rest;
	if (!part_at(m->rest, ":", "%3a", &m->model, &m->action))
		return;
	if (is_action(m->action, "generateContent", "streamGenerateContent", &m->stream))
		m->format = format_of(FORMAT_GEMINI);
	else if (span_is(m->action, "countTokens"))
		m->kind = ENDPOINT_COUNT, m->format = format_of(FORMAT_GEMINI);
}

static void
read_bedrock(struct endpoint_match *m)
{
	const char *slash = memrchr(m->rest.at, '/', m->rest.len);

	m->model = m->rest;
	if (slash == NULL)
		return;
	m->model.len = (size_t)(slash - m->rest.at);
	m->action = (struct span){ slash + 1, m->rest.len - m->model.len - 1 };
	if (is_action(m->action, "converse", "converse-stream", &m->stream))
		m->format = format_of(FORMAT_CONVERSE);
	else if (is_action(m->action, "invoke", "invoke-with-response-stream", &m->stream))
		m->format = format_of(FORMAT_BEDROCK_INVOKE);
	else if (span_is(m->action, "count-tokens"))
		m->kind = ENDPOINT_COUNT, m->format = format_of(FORMAT_CONVERSE);
}

static void
read_azure(struct endpoint_match *m)
{
	const char *slash = memchr(m->rest.at, '/', m->rest.len);

	m->model = m->rest;
	if (slash == NULL)
		return;
	m->model.len = (size_t)(slash - m->rest.at);
	m->action = (struct span){ slash + 1, m->rest.len - m->model.len - 1 };
	if (span_is(m->action, "chat/completions"))
		m->format = format_of(FORMAT_OPENAI_CHAT);
}

/* What the rest of the path says. */
static void
resolve(struct endpoint_match *m)
{
	m->kind = m->endpoint->kind;
	m->dialect = m->endpoint->dialect;
	m->format = m->endpoint->format == NULL ? NULL : format_named(m->endpoint->format);
	m->model = m->action = SPAN_NONE;
	m->stream = false;
	switch (m->endpoint->shape) {
	case SHAPE_PLAIN:
		break;
	case SHAPE_GEMINI:
		read_gemini(m);
		break;
	case SHAPE_BEDROCK:
		read_bedrock(m);
		break;
	case SHAPE_AZURE:
		read_azure(m);
		break;
	case SHAPE_PLACES:
		if (span_ends(m->rest, ENDPOINT_PLACES_TAIL))
			m->kind = ENDPOINT_PLACES;
		break;
	}
}

enum dialect
endpoint_dialect(const struct endpoint_match *m)
{
	return m->endpoint == NULL ? DIALECT_OPENAI : m->dialect;
}

void
endpoint_see_version(struct endpoint_match *m, struct span anthropic_version)
{
	if (anthropic_version.len > 0 && m->endpoint != NULL && m->dialect == DIALECT_OPENAI &&
		m->format == NULL && m->endpoint->shape == SHAPE_PLAIN)
		m->dialect = DIALECT_ANTHROPIC;
}

void
endpoint_plain_path(const struct endpoint_match *m, char *out, size_t room)
{
	struct span rest = m->endpoint->shape == SHAPE_AZURE ? m->action : m->rest;

	if (m->endpoint->dialect != DIALECT_OPENAI || m->endpoint->provider_path == NULL)
		(void)span_copy(m->path, out, room);
	else
		(void)snprintf(out, room, "/v1%s%.*s", m->endpoint->provider_path, (int)rest.len,
			rest.at == NULL ? "" : rest.at);
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
			resolve(found);
			return status;
		}
	}
	return 404;
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
