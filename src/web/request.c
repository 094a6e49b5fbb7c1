/*
 * request.c - what was asked, read out of the CGI variables.
 *
 * REQUEST_URI is the only variable that nine web servers agree on; SCRIPT_NAME and PATH_INFO differ
 * on every one and come decoded, so they are not looked at.  Nothing is copied: spans point into
 * the parameters.
 */
#include "web/web-int.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_NAME_BYTES 128 /* longer names are not seen */

struct web_request *
request_new(struct web_server *s, int fd)
{
	struct web_request *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->watch = (struct watch){ WATCH_REQUEST, fd };
	r->server = s;
	r->body_fd = -1;
	r->fx.ipcFd = -1;
	return r;
}

void
web_body_release(struct web_request *r)
{
	if (r->body_fd >= 0)
		(void)close(r->body_fd);
	r->body_fd = -1;
	free(r->body);
	r->body = NULL;
	r->body_len = r->body_room = 0;
	atomic_fetch_sub(&r->server->body_memory, (int64_t)r->body_counted);
	r->body_counted = 0;
}

void
request_free(struct web_request *r)
{
	web_body_release(r);
	arena_free(r->arena);
	free(r->queue.at);
	if (r->cgi)
		free(r->env);
	if (r->params != NULL)
		r->fx.paramsPtr = r->params;
	FCGX_Free(&r->fx, 0);
	free(r);
}

/* What follows prefix, or NULL.  Most variables differ in the first letters: no call for those. */
static inline const char *
behind(const char *variable, const char *prefix)
{
	for (; *prefix != '\0'; prefix++, variable++)
		if (*variable != *prefix)
			return NULL;
	return variable;
}

const char *
request_param(const struct web_request *r, const char *name)
{
	const char *rest;

	if (r->env == NULL)
		return NULL;
	for (char **p = r->env; *p != NULL; p++)
		if ((rest = behind(*p, name)) != NULL && *rest == '=')
			return rest + 1;
	return NULL;
}

static struct span
param_span(const struct web_request *r, const char *name)
{
	const char *value = request_param(r, name);

	return value == NULL ? SPAN_LIT("") : (struct span){ value, strlen(value) };
}

/* Digits only; -1 for anything else: nginx sends "", Caddy "-1" for a length it does not know. */
static int64_t
parse_length(const char *text)
{
	int64_t n = 0;

	if (text == NULL || *text == '\0')
		return -1;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || n > (INT64_MAX - 9) / 10)
			return -1;
		n = n * 10 + (*text - '0');
	}
	return n;
}

int64_t
request_length(const struct web_request *r)
{
	return parse_length(request_param(r, "CONTENT_LENGTH"));
}

const char *
web_method(const struct web_request *r)
{
	const char *method = request_param(r, "REQUEST_METHOD");

	return method == NULL ? "" : method;
}

/* The target as sent, without scheme, host and fragment. */
static struct span
target(const struct web_request *r)
{
	struct span t = param_span(r, "REQUEST_URI");
	const char *end;

	if (t.len > 0 && t.at[0] != '/') {
		const char *host = strstr(t.at, "://");
		const char *path = host == NULL ? NULL : strpbrk(host + 3, "/?#");

		if (path == NULL)
			return SPAN_LIT("");
		t.len -= (size_t)(path - t.at);
		t.at = path;
	}
	if ((end = memchr(t.at, '#', t.len)) != NULL)
		t.len = (size_t)(end - t.at);
	return t;
}

struct span
web_path(const struct web_request *r)
{
	struct span t = target(r);
	const char *mark = memchr(t.at, '?', t.len);

	if (mark != NULL)
		t.len = (size_t)(mark - t.at);
	return t;
}

struct span
web_query(const struct web_request *r)
{
	struct span t = target(r);
	const char *mark = memchr(t.at, '?', t.len);

	if (mark == NULL)
		return SPAN_LIT("");
	return (struct span){ mark + 1, t.len - (size_t)(mark + 1 - t.at) };
}

/* ---- headers ---- */

/* HTTP_PROXY is the header `Proxy`, which programs take for a setting of theirs. */
static bool
is_hidden(const char *variable)
{
	return behind(variable, "PROXY=") != NULL || behind(variable, "CONTENT_LENGTH=") != NULL ||
	       behind(variable, "CONTENT_TYPE=") != NULL;
}

/* Apache gives the variables of a request new names when it redirects inside. */
static const char *
redirected_authorization(const char *variable)
{
	bool redirected = false;

	while (strncmp(variable, "REDIRECT_", 9) == 0) {
		variable += 9;
		redirected = true;
	}
	return redirected && strncmp(variable, "HTTP_AUTHORIZATION=", 19) == 0 ? variable + 19
									       : NULL;
}

/* The header's name as a variable has it, up to '='; NULL when the variable is no header. */
static const char *
header_of(const char *variable)
{
	const char *rest;

	if ((rest = behind(variable, "HTTP_")) != NULL)
		return is_hidden(rest) ? NULL : rest;
	if ((rest = behind(variable, "CONTENT_TYPE=")) != NULL)
		return *rest == '\0' ? NULL : variable;
	if ((rest = behind(variable, "CONTENT_LENGTH=")) != NULL)
		return parse_length(rest) < 0 ? NULL : variable;
	return NULL;
}

static bool
same_header(const char *variable, const char *name)
{
	for (; *name != '\0'; name++, variable++) {
		char want = *name == '-' ? '_' : (char)toupper((unsigned char)*name);

		if (toupper((unsigned char)*variable) != want)
			return false;
	}
	return *variable == '=';
}

static const char *
find_authorization(const struct web_request *r)
{
	for (char **p = r->env; p != NULL && *p != NULL; p++) {
		const char *value = redirected_authorization(*p);

		if (value != NULL && *value != '\0')
			return value;
	}
	return NULL;
}

struct span
web_header(const struct web_request *r, const char *name)
{
	const char *value = NULL;

	for (char **p = r->env; p != NULL && *p != NULL; p++) {
		const char *variable = header_of(*p);

		if (variable != NULL && same_header(variable, name)) {
			value = strchr(variable, '=') + 1;
			break;
		}
	}
	if ((value == NULL || *value == '\0') && strcasecmp(name, "authorization") == 0)
		value = find_authorization(r);
	return value == NULL ? SPAN_LIT("") : (struct span){ value, strlen(value) };
}

bool
web_each_header(const struct web_request *r,
	bool (*fn)(void *ctx, const char *name, struct span value), void *ctx)
{
	bool authorized = false;
	const char *value;

	for (char **p = r->env; p != NULL && *p != NULL; p++) {
		const char *variable = header_of(*p);
		char name[HEADER_NAME_BYTES];
		size_t n = 0;

		if (variable == NULL)
			continue;
		for (; *variable != '=' && *variable != '\0' && n < sizeof name - 1; variable++)
			name[n++] =
				*variable == '_' ? '-' : (char)tolower((unsigned char)*variable);
		if (*variable != '=')
			continue;
		name[n] = '\0';
		value = variable + 1;
		if (strcmp(name, "authorization") == 0) {
			if (*value == '\0')
				continue;
			authorized = true;
		}
		if (!fn(ctx, name, (struct span){ value, strlen(value) }))
			return false;
	}
	if (!authorized && (value = find_authorization(r)) != NULL)
		return fn(ctx, "authorization", (struct span){ value, strlen(value) });
	return true;
}

/* ---- decoding ---- */

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static ptrdiff_t
decode(struct span raw, char *out, size_t room, bool plus)
{
	size_t n = 0;

	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.at[i];

		if (c == '%') {
			int high = i + 2 < raw.len ? hex(raw.at[i + 1]) : -1;
			int low = i + 2 < raw.len ? hex(raw.at[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -1;
			c = (char)(high * 16 + low);
			i += 2;
		} else if (c == '+' && plus)
			c = ' ';
		if (c == '\0' || n + 1 >= room)
			return -1;
		out[n++] = c;
	}
	if (room == 0)
		return -1;
	out[n] = '\0';
	return (ptrdiff_t)n;
}

ptrdiff_t
web_decode(struct span raw, char *out, size_t room)
{
	return decode(raw, out, room, false);
}

static bool
same_name(struct span raw, const char *name)
{
	char text[256];

	return decode(raw, text, sizeof text, true) >= 0 && strcmp(text, name) == 0;
}

ptrdiff_t
web_query_get(const struct web_request *r, const char *name, char *out, size_t room)
{
	struct span rest = web_query(r);

	while (rest.len > 0) {
		const char *amp = memchr(rest.at, '&', rest.len);
		struct span pair = { rest.at, amp == NULL ? rest.len : (size_t)(amp - rest.at) };
		const char *eq = memchr(pair.at, '=', pair.len);
		struct span key = { pair.at, eq == NULL ? pair.len : (size_t)(eq - pair.at) };

		if (same_name(key, name)) {
			struct span value = SPAN_LIT("");

			if (eq != NULL)
				value = (struct span){ eq + 1, pair.len - key.len - 1 };
			return decode(value, out, room, true);
		}
		if (amp == NULL)
			break;
		rest.len -= pair.len + 1;
		rest.at = amp + 1;
	}
	return -1;
}

/* ---- who asks ---- */

/* One entry of X-Forwarded-For as an address, without port and brackets.  False when it is none. */
static bool
parse_address(struct span entry, char *out, size_t room)
{
	unsigned char binary[sizeof(struct in6_addr)];
	const char *colon;

	while (entry.len > 0 && (entry.at[0] == ' ' || entry.at[0] == '\t'))
		entry.at++, entry.len--;
	while (entry.len > 0 && (entry.at[entry.len - 1] == ' ' || entry.at[entry.len - 1] == '\t'))
		entry.len--;
	if (entry.len > 0 && entry.at[0] == '[') {
		const char *end = memchr(entry.at, ']', entry.len);

		if (end == NULL)
			return false;
		entry = (struct span){ entry.at + 1, (size_t)(end - entry.at - 1) };
	} else if ((colon = memchr(entry.at, ':', entry.len)) != NULL &&
		   memchr(colon + 1, ':', entry.len - (size_t)(colon + 1 - entry.at)) == NULL)
		entry.len = (size_t)(colon - entry.at);
	if (entry.len == 0 || !span_copy(entry, out, room))
		return false;
	return inet_pton(AF_INET, out, binary) == 1 || inet_pton(AF_INET6, out, binary) == 1;
}

static void
find_address(struct web_request *r)
{
	if (r->server->o.trust_forwarded) {
		struct span list = web_header(r, "x-forwarded-for");
		const char *comma = memrchr(list.at, ',', list.len);

		/* the last entry is the trusted proxy's own; what is before it anybody may have sent */
		if (comma != NULL) {
			list.len -= (size_t)(comma + 1 - list.at);
			list.at = comma + 1;
		}
		if (parse_address(list, r->address, sizeof r->address))
			return;
	}
	(void)span_copy(param_span(r, "REMOTE_ADDR"), r->address, sizeof r->address);
}

const char *
web_address(const struct web_request *r)
{
	return r->address;
}

const char *
web_document_root(const struct web_request *r)
{
	const char *root = request_param(r, "DOCUMENT_ROOT");

	return root == NULL ? "" : root;
}

const char *
web_server_software(const struct web_request *r)
{
	const char *software = request_param(r, "SERVER_SOFTWARE");

	return software == NULL ? "" : software;
}

const char *
web_remote_user(const struct web_request *r)
{
	const char *user = request_param(r, "REMOTE_USER");

	return user == NULL ? "" : user;
}

bool
web_is_https(const struct web_request *r)
{
	struct span https = param_span(r, "HTTPS");

	if (https.len > 0 && !span_is_nocase(https, "off") && !span_is(https, "0"))
		return true;
	if (span_is_nocase(param_span(r, "REQUEST_SCHEME"), "https"))
		return true;
	if (r->server->o.trust_forwarded) {
		struct span list = web_header(r, "x-forwarded-proto");
		const char *comma = memchr(list.at, ',', list.len);

		if (comma != NULL)
			list.len = (size_t)(comma - list.at);
		return span_is_nocase(list, "https");
	}
	return false;
}

/* ---- the rest ---- */

int
request_check(struct web_request *r, struct err *err)
{
	size_t total = 0;

	find_address(r);
	for (char **p = r->env; *p != NULL; p++)
		if (behind(*p, "HTTP_") != NULL)
			total += strlen(*p);
	if (total > WEB_HEADERS_BYTES) {
		(void)err_set(err, ERR_BAD_REQUEST, "%zu bytes of request headers", total);
		(void)err_say(err, "The headers of the request are larger than %d bytes.",
			WEB_HEADERS_BYTES);
		return -1;
	}
	if (web_method(r)[0] == '\0')
		return err_set(err, ERR_BAD_REQUEST, "the web server sends no REQUEST_METHOD");
	if (web_path(r).len == 0)
		return err_set(err, ERR_BAD_REQUEST,
			"the web server sends no REQUEST_URI, or one without a path");
	return 0;
}

struct span
web_body(const struct web_request *r)
{
	if (r->body_fd >= 0)
		return SPAN_NONE;
	return r->body == NULL ? SPAN_LIT("") : (struct span){ r->body, r->body_len };
}

int
web_body_fd(const struct web_request *r)
{
	return r->body_fd;
}

int64_t
web_body_bytes(const struct web_request *r)
{
	return r->body_bytes;
}

struct arena *
web_arena(struct web_request *r)
{
	if (r->arena == NULL)
		r->arena = arena_new(WEB_ARENA_BYTES);
	return r->arena;
}

bool
web_is_gone(const struct web_request *r)
{
	return atomic_load(&r->gone) || (r->cgi && atomic_load(&r->server->cgi_term));
}
