/*
 * manage.c - the endpoint table of the management API, and the way of a call through it: find the
 * endpoint, find out who calls, run it, put an error into words.
 */
#include "manage/manage.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "conf/conf.h"
#include "manage/manage-int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024

/* What a call must bring. */
enum needs {
	NEEDS_NOTHING, /* looks after itself: signing in */
	NEEDS_ADMIN    /* signed in; and with the CSRF token when it changes something by cookie */
};

static const struct endpoint {
	const char *method, *path;
	enum needs needs;
	int64_t body_max;
	endpoint_fn *run;
} endpoints[] = {
	/* clang-format off */
	{ "GET",    "/manage/session",                    NEEDS_NOTHING, 0,         session_get },
	{ "POST",   "/manage/session",                    NEEDS_NOTHING, 4 * KIB,   session_post },
	{ "DELETE", "/manage/session",                    NEEDS_NOTHING, 4 * KIB,   session_delete },
	{ "POST",   "/manage/setup",                      NEEDS_NOTHING, 4 * KIB,   setup_post },

	{ "GET",    "/manage/projects",                   NEEDS_ADMIN,   0,         projects_list },
	{ "POST",   "/manage/projects",                   NEEDS_ADMIN,   64 * KIB,  projects_post },
	{ "GET",    "/manage/projects/{id}",              NEEDS_ADMIN,   0,         projects_get },
	{ "PATCH",  "/manage/projects/{id}",              NEEDS_ADMIN,   64 * KIB,  projects_patch },
	{ "POST",   "/manage/projects/{id}/revoke-tokens", NEEDS_ADMIN,  4 * KIB,   projects_revoke_tokens },

	{ "GET",    "/manage/tokens",                     NEEDS_ADMIN,   0,         tokens_list },
	{ "POST",   "/manage/tokens",                     NEEDS_ADMIN,   64 * KIB,  tokens_post },
	{ "POST",   "/manage/tokens/mint",                NEEDS_ADMIN,   64 * KIB,  tokens_mint },
	{ "POST",   "/manage/tokens/revoke",              NEEDS_ADMIN,   64 * KIB,  tokens_revoke_many },
	{ "POST",   "/manage/tokens/cleanup",             NEEDS_ADMIN,   4 * KIB,   tokens_cleanup },
	{ "POST",   "/manage/tokens/import",              NEEDS_ADMIN,   MANAGE_BODY_MAX, tokens_import },
	{ "GET",    "/manage/tokens/{id}",                NEEDS_ADMIN,   0,         tokens_get },
	{ "PATCH",  "/manage/tokens/{id}",                NEEDS_ADMIN,   64 * KIB,  tokens_patch },
	{ "DELETE", "/manage/tokens/{id}",                NEEDS_ADMIN,   4 * KIB,   tokens_delete },
	{ "POST",   "/manage/tokens/{id}/revoke",         NEEDS_ADMIN,   4 * KIB,   tokens_revoke },
	{ "POST",   "/manage/tokens/{id}/rotate",         NEEDS_ADMIN,   4 * KIB,   tokens_rotate },

	{ "GET",    "/manage/upstreams",                  NEEDS_ADMIN,   0,         upstreams_list },
	{ "POST",   "/manage/upstreams",                  NEEDS_ADMIN,   64 * KIB,  upstreams_post },
	{ "GET",    "/manage/upstreams/{id}",             NEEDS_ADMIN,   0,         upstreams_get },
	{ "PATCH",  "/manage/upstreams/{id}",             NEEDS_ADMIN,   64 * KIB,  upstreams_patch },
	{ "DELETE", "/manage/upstreams/{id}",             NEEDS_ADMIN,   4 * KIB,   upstreams_delete },
	{ "POST",   "/manage/upstreams/{id}/breaker",     NEEDS_ADMIN,   4 * KIB,   upstreams_breaker },

	{ "GET",    "/manage/upstreams/{id}/history",     NEEDS_ADMIN,   0,         upstreams_history },
	{ "GET",    "/manage/upstreams/{id}/models",      NEEDS_ADMIN,   0,         upstream_models_get },
	{ "POST",   "/manage/upstreams/{id}/models/refresh", NEEDS_ADMIN, 4 * KIB,  upstream_models_refresh },
	{ "GET",    "/manage/upstreams/{id}/health",      NEEDS_ADMIN,   0,         upstream_health_get },

	{ "GET",    "/manage/keys",                       NEEDS_ADMIN,   0,         keys_list },
	{ "POST",   "/manage/keys",                       NEEDS_ADMIN,   64 * KIB,  keys_post },
	{ "POST",   "/manage/keys/import",                NEEDS_ADMIN,   MANAGE_LIST_MAX, keys_import },
	{ "GET",    "/manage/keys/{id}",                  NEEDS_ADMIN,   0,         keys_get },
	{ "PATCH",  "/manage/keys/{id}",                  NEEDS_ADMIN,   64 * KIB,  keys_patch },
	{ "DELETE", "/manage/keys/{id}",                  NEEDS_ADMIN,   4 * KIB,   keys_delete },
	{ "POST",   "/manage/keys/{id}/enable",           NEEDS_ADMIN,   4 * KIB,   keys_enable },
	{ "POST",   "/manage/keys/{id}/disable",          NEEDS_ADMIN,   4 * KIB,   keys_disable },

	{ "POST",   "/manage/keys/{id}/rotate",           NEEDS_ADMIN,   64 * KIB,  keys_rotate },
	{ "POST",   "/manage/keys/{id}/revoke",           NEEDS_ADMIN,   4 * KIB,   keys_revoke },
	{ "POST",   "/manage/keys/{id}/retry",            NEEDS_ADMIN,   4 * KIB,   keys_retry },
	{ "POST",   "/manage/keys/{id}/test",             NEEDS_ADMIN,   4 * KIB,   keys_test },
	{ "GET",    "/manage/keys/{id}/history",          NEEDS_ADMIN,   0,         keys_history },
	{ "GET",    "/manage/breakers",                   NEEDS_ADMIN,   0,         breakers_list },

	{ "GET",    "/manage/prices",                     NEEDS_ADMIN,   0,         prices_list },
	{ "POST",   "/manage/prices",                     NEEDS_ADMIN,   64 * KIB,  prices_post },
	{ "POST",   "/manage/prices/import",              NEEDS_ADMIN,   MANAGE_LIST_MAX, prices_import },
	{ "GET",    "/manage/prices/{id}",                NEEDS_ADMIN,   0,         prices_get },
	{ "PATCH",  "/manage/prices/{id}",                NEEDS_ADMIN,   64 * KIB,  prices_patch },
	{ "DELETE", "/manage/prices/{id}",                NEEDS_ADMIN,   4 * KIB,   prices_delete },

	{ "GET",    "/manage/limits",                     NEEDS_ADMIN,   0,         limits_list },
	{ "POST",   "/manage/limits",                     NEEDS_ADMIN,   64 * KIB,  limits_post },
	{ "GET",    "/manage/limits/{id}",                NEEDS_ADMIN,   0,         limits_get },
	{ "PATCH",  "/manage/limits/{id}",                NEEDS_ADMIN,   64 * KIB,  limits_patch },
	{ "DELETE", "/manage/limits/{id}",                NEEDS_ADMIN,   4 * KIB,   limits_delete },
	{ "POST",   "/manage/limits/{id}/reset",          NEEDS_ADMIN,   4 * KIB,   limits_reset },
	{ "POST",   "/manage/limits/{id}/grant",          NEEDS_ADMIN,   4 * KIB,   limits_grant },
	{ "GET",    "/manage/grants",                     NEEDS_ADMIN,   0,         grants_list },
	{ "GET",    "/manage/grants/{id}",                NEEDS_ADMIN,   0,         grants_get },
	{ "DELETE", "/manage/grants/{id}",                NEEDS_ADMIN,   4 * KIB,   grants_delete },

	{ "GET",    "/manage/routes",                     NEEDS_ADMIN,   0,         routes_list },
	{ "POST",   "/manage/routes",                     NEEDS_ADMIN,   64 * KIB,  routes_post },
	{ "POST",   "/manage/routes/quote",               NEEDS_ADMIN,   MANAGE_BODY_MAX, routes_quote },
	{ "GET",    "/manage/routes/{id}",                NEEDS_ADMIN,   0,         routes_get },
	{ "PATCH",  "/manage/routes/{id}",                NEEDS_ADMIN,   64 * KIB,  routes_patch },
	{ "DELETE", "/manage/routes/{id}",                NEEDS_ADMIN,   4 * KIB,   routes_delete },
	{ "GET",    "/manage/policies",                   NEEDS_ADMIN,   0,         policies_list },
	{ "POST",   "/manage/policies",                   NEEDS_ADMIN,   64 * KIB,  policies_post },
	{ "POST",   "/manage/policies/dry-run",           NEEDS_ADMIN,   64 * KIB,  policies_dry_run },
	{ "GET",    "/manage/policies/{id}",              NEEDS_ADMIN,   0,         policies_get },
	{ "PATCH",  "/manage/policies/{id}",              NEEDS_ADMIN,   64 * KIB,  policies_patch },
	{ "DELETE", "/manage/policies/{id}",              NEEDS_ADMIN,   4 * KIB,   policies_delete },

	{ "GET",    "/manage/requests",                   NEEDS_ADMIN,   0,         requests_list },
	{ "GET",    "/manage/requests/{id}",              NEEDS_ADMIN,   0,         requests_get },
	{ "GET",    "/manage/requests/{id}/explain",      NEEDS_ADMIN,   0,         requests_explain },
	{ "GET",    "/manage/inflight",                   NEEDS_ADMIN,   0,         inflight_list },
	{ "POST",   "/manage/inflight/{id}/cut",          NEEDS_ADMIN,   4 * KIB,   inflight_cut },
	{ "GET",    "/manage/usage",                      NEEDS_ADMIN,   0,         usage_get },
	{ "GET",    "/manage/audit",                      NEEDS_ADMIN,   0,         audit_list },
	{ "GET",    "/manage/changes",                    NEEDS_ADMIN,   0,         changes_list },
	{ "POST",   "/manage/changes/{id}/undo",          NEEDS_ADMIN,   4 * KIB,   changes_undo },
	{ "GET",    "/manage/backup",                     NEEDS_ADMIN,   0,         backup_list },
	{ "POST",   "/manage/backup",                     NEEDS_ADMIN,   4 * KIB,   backup_post },
	{ "GET",    "/manage/health",                     NEEDS_ADMIN,   0,         health_get },
	/* the key service has names of its own outside too: see strip_mount() */
	{ "GET",    "/manage/get_next_key",               NEEDS_ADMIN,   0,         key_service_next },
	{ "POST",   "/manage/disable_key",                NEEDS_ADMIN,   8 * KIB,   key_service_disable },
	{ "GET",    "/get_next_key",                      NEEDS_ADMIN,   0,         key_service_next },
	{ "POST",   "/disable_key",                       NEEDS_ADMIN,   8 * KIB,   key_service_disable },
	/* clang-format on */
};

#define ENDPOINTS (sizeof endpoints / sizeof endpoints[0])

/* What to do instead of a method that a path does not take. */
static const struct {
	const char *method, *path, *says;
} hints[] = {
	{ "DELETE", "/manage/projects/{id}",
		"A project is never deleted, since its history must stay; "
		"PATCH it with {\"is_active\": false} instead." },
	{ "DELETE", "/manage/requests/{id}", "Requests are a record; they cannot be changed." },
};

/* ---- small helpers of a call ---- */

int
call_refuse(struct call *c, enum err_code code, const char *field, const char *says, ...)
{
	char text[sizeof c->err.says];
	va_list ap;

	va_start(ap, says);
	vsnprintf(text, sizeof text, says, ap);
	va_end(ap);
	snprintf(c->field, sizeof c->field, "%s", field != NULL ? field : "");
	err_set(&c->err, code, "%s", text);
	return err_say(&c->err, "%s", text);
}

int
call_no_memory(struct call *c)
{
	return err_set(&c->err, ERR_MEMORY, "a management call ran out of memory");
}

struct span
call_header(const struct call *c, const char *name)
{
	return c->q->header != NULL ? c->q->header(c->q->header_ctx, name) : SPAN_NONE;
}

void
call_line(struct call *c, const char *name, const char *fmt, ...)
{
	struct manage_line *line;
	va_list ap;

	if (c->out->line_count == MANAGE_LINES_MAX)
		return;
	line = &c->out->lines[c->out->line_count++];
	line->name = name;
	va_start(ap, fmt);
	vsnprintf(line->value, sizeof line->value, fmt, ap);
	va_end(ap);
}

const struct store_change *
call_change(struct call *c, const char *action)
{
	c->change.actor = c->actor;
	c->change.action = action;
	c->change.address = c->q->address != NULL ? c->q->address : "";
	c->change.request = c->q->once->request;
	return &c->change;
}

/* Undoes percent escapes ('+' too in a query).  Length, or -1: broken, a NUL, or no room. */
static int
decode(struct span raw, bool is_query, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < raw.len; i++) {
		char ch = raw.at[i];

		if (ch == '%') {
			int high = i + 2 < raw.len ? hash_hex_digit(raw.at[i + 1]) : -1;
			int low = i + 2 < raw.len ? hash_hex_digit(raw.at[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -1;
			ch = (char)(high * 16 + low);
			i += 2;
		} else if (ch == '+' && is_query) {
			ch = ' ';
		}
		if (ch == '\0' || n + 1 >= room)
			return -1;
		out[n++] = ch;
	}
	out[n] = '\0';
	return (int)n;
}

int
call_query(struct call *c, const char *name, char *out, size_t room)
{
	struct span rest = c->q->query;
	size_t name_len = strlen(name);

	out[0] = '\0';
	while (rest.len > 0) {
		const char *end = memchr(rest.at, '&', rest.len);
		size_t len = end != NULL ? (size_t)(end - rest.at) : rest.len;

		if (len > name_len && memcmp(rest.at, name, name_len) == 0 &&
			rest.at[name_len] == '=') {
			struct span raw = { rest.at + name_len + 1, len - name_len - 1 };
			int n = decode(raw, true, out, room);

			if (n < 0)
				return call_refuse(c, ERR_BAD_REQUEST, name,
					"The parameter %s is too long or wrongly escaped.", name);
			return n;
		}
		len += end != NULL ? 1 : 0;
		rest.at += len;
		rest.len -= len;
	}
	return 0;
}

int
call_query_int(
	struct call *c, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *out)
{
	char text[32];
	char *end;
	int n = call_query(c, name, text, sizeof text);

	*out = fallback;
	if (n <= 0)
		return n;
	*out = strtoll(text, &end, 10);
	if (*end != '\0' || *out < min || *out > max)
		return call_refuse(c, ERR_BAD_REQUEST, name,
			"The parameter %s must be a whole number from %lld to %lld.", name,
			(long long)min, (long long)max);
	return 0;
}

char *
call_string(struct call *c, const char *field, struct json_value v, size_t longest)
{
	char *text;
	ptrdiff_t n;

	if (v.type != JSON_STRING) {
		call_refuse(c, ERR_BAD_REQUEST, field, "%s must be a string.", field);
		return NULL;
	}
	text = arena_alloc(c->arena, v.raw.len + 1);
	if (text == NULL) {
		call_no_memory(c);
		return NULL;
	}
	n = json_string(v, text, v.raw.len + 1);
	if (n < 0 || memchr(text, '\0', (size_t)n) != NULL) {
		call_refuse(c, ERR_BAD_REQUEST, field, "%s is not valid text.", field);
		return NULL;
	}
	if ((size_t)n > longest) {
		call_refuse(c, ERR_BAD_REQUEST, field, "%s is too long: at most %zu bytes.", field,
			longest);
		return NULL;
	}
	return text;
}

int
call_bool(struct call *c, const char *field, struct json_value v, bool *out)
{
	if (v.type != JSON_TRUE && v.type != JSON_FALSE)
		return call_refuse(c, ERR_BAD_REQUEST, field, "%s must be true or false.", field);
	*out = v.type == JSON_TRUE;
	return 0;
}

struct members {
	struct call *call;
	bool (*fn)(void *ctx, const char *name, struct json_value v);
	void *ctx;
	bool failed;
};

static bool
one_member(void *ctx, const struct json_member *m)
{
	struct members *all = ctx;
	/* The key as a value of its own, so that its escapes are undone by the same code. */
	struct json_value key = { JSON_STRING, { m->key.at - 1, m->key.len + 2 } };
	char name[64];

	if (json_string(key, name, sizeof name) < 0) {
		call_refuse(all->call, ERR_BAD_REQUEST, NULL,
			"The body has a member whose name is too long or broken.");
		all->failed = true;
	} else {
		all->failed = !all->fn(all->ctx, name, m->value);
	}
	return !all->failed;
}

int
call_body(struct call *c, bool (*fn)(void *ctx, const char *name, struct json_value v), void *ctx)
{
	struct members all = { c, fn, ctx, false };
	struct span body = c->q->body;
	size_t at = 0;

	if (body.len == 0)
		body = SPAN_LIT("{}");
	if (json_each(body, one_member, &all, &at) != 0 && !all.failed)
		return call_refuse(c, ERR_BAD_REQUEST, NULL,
			"The body is not a JSON object; it goes wrong at byte %zu.", at);
	return all.failed ? -1 : 0;
}

/* ---- finding the endpoint ---- */

/* The key service's own paths, below any mount. */
static bool
strip_key_service(struct span path, struct span *mount, struct span *rest)
{
	static const char *const names[] = { "/get_next_key", "/disable_key" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t len = strlen(names[i]);

		if (path.len < len || memcmp(path.at + path.len - len, names[i], len) != 0)
			continue;
		*mount = (struct span){ path.at, path.len - len };
		*rest = (struct span){ path.at + mount->len, len };
		return true;
	}
	return false;
}

/* Splits off the mount: the leftmost "/manage/". */
static bool
strip_mount(struct span path, struct span *mount, struct span *rest)
{
	static const char word[] = "/manage/";
	const char *at = NULL;

	if (path.at != NULL)
		at = memmem(path.at, path.len, word, sizeof word - 1);
	if (at == NULL)
		return strip_key_service(path, mount, rest);
	*mount = (struct span){ path.at, (size_t)(at - path.at) };
	*rest = (struct span){ at, path.len - mount->len };
	return true;
}

/* id: the raw segment that stands for {id}. */
static bool
path_matches(const char *pattern, struct span path, struct span *id)
{
	static const char hole[] = "{id}";
	size_t i = 0;

	*id = SPAN_NONE;
	while (*pattern != '\0') {
		if (strncmp(pattern, hole, sizeof hole - 1) == 0) {
			size_t from = i;

			while (i < path.len && path.at[i] != '/')
				i++;
			if (i == from)
				return false;
			*id = (struct span){ path.at + from, i - from };
			pattern += sizeof hole - 1;
		} else if (i < path.len && path.at[i] == *pattern) {
			pattern++;
			i++;
		} else {
			return false;
		}
	}
	return i == path.len;
}

/* PUT is PATCH here: fields that are not sent stay as they are. */
static const char *
plain_method(const char *method)
{
	return strcmp(method, "PUT") == 0 ? "PATCH" : method;
}

/* The endpoint, or NULL with *allow filled ("" when nothing has that path). */
static const struct endpoint *
endpoint_find(const char *method, struct span path, struct span *id, char *allow, size_t room)
{
	size_t used = 0;

	allow[0] = '\0';
	for (size_t i = 0; i < ENDPOINTS; i++) {
		const struct endpoint *e = &endpoints[i];

		if (!path_matches(e->path, path, id))
			continue;
		if (strcmp(e->method, plain_method(method)) == 0)
			return e;
		used += (size_t)snprintf(
			allow + used, room - used, "%s%s", used > 0 ? ", " : "", e->method);
		if (strcmp(e->method, "PATCH") == 0)
			used += (size_t)snprintf(allow + used, room - used, ", PUT");
	}
	return NULL;
}

size_t
manage_endpoints(const struct manage_endpoint_name **list)
{
	static struct manage_endpoint_name names[ENDPOINTS + 1];

	for (size_t i = 0; i < ENDPOINTS; i++)
		names[i] = (struct manage_endpoint_name){ endpoints[i].method, endpoints[i].path };
	*list = names;
	return ENDPOINTS;
}

int64_t
manage_body_limit(const char *method, struct span path)
{
	struct span mount, rest, id;
	char allow[64];
	const struct endpoint *e = NULL;

	if (strip_mount(path, &mount, &rest))
		e = endpoint_find(method, rest, &id, allow, sizeof allow);
	return e != NULL ? e->body_max : 4 * KIB;
}

/* ---- answering ---- */

static void
put_error(struct bytes *out, const struct err *why, const char *field, const char *request_id)
{
	bytes_puts(out, "{\"error\":{\"code\":");
	bytes_json(out, span_of(err_name(why->code)));
	bytes_puts(out, ",\"message\":");
	bytes_json(out, span_of(err_public(why)));
	if (field[0] != '\0') {
		bytes_puts(out, ",\"field\":");
		bytes_json(out, span_of(field));
	}
	bytes_puts(out, ",\"request_id\":");
	bytes_json(out, span_of(request_id));
}

void
manage_error_body(const struct err *why, const char *request_id, struct bytes *out)
{
	put_error(out, why, "", request_id);
	bytes_puts(out, "}}");
}

static void
answer_error(struct call *c)
{
	struct manage_reply *out = c->out;
	struct err ignored = { 0 };

	out->status = err_status(c->err.code);
	if (out->status >= 500)
		log_request(LOG_ERROR, "manage", c->request_id, "%s", c->err.text);
	bytes_free(&out->body);
	out->body = BYTES_LIMIT(MANAGE_REPLY_MAX);
	put_error(&out->body, &c->err, c->field, c->request_id);
	if (c->retry_after_s > 0)
		bytes_printf(&out->body, ",\"retry_after\":%d", c->retry_after_s);
	bytes_puts(&out->body, "}");
	if (c->tells_initialised)
		bytes_printf(&out->body, ",\"initialised\":%s",
			password_exists(c->m, &ignored) > 0 ? "true" : "false");
	bytes_puts(&out->body, "}");
	if (c->retry_after_s > 0)
		call_line(c, "Retry-After", "%d", c->retry_after_s);
	if (out->status == 401)
		call_line(c, "WWW-Authenticate", "Bearer realm=\"sluice\"");
}

/* Only what a Path attribute can hold without an escape; anything else is served at the root. */
static void
keep_mount(struct call *c, struct span mount)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/_.-~%";

	if (!span_copy(mount, c->mount, sizeof c->mount) ||
		strspn(c->mount, plain) != strlen(c->mount))
		c->mount[0] = '\0';
}

static int
refuse_method(struct call *c, const char *method, struct span path, const char *allow)
{
	struct span id;

	call_line(c, "Allow", "%s", allow);
	for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
		if (strcmp(hints[i].method, method) == 0 && path_matches(hints[i].path, path, &id))
			return call_refuse(c, ERR_METHOD_NOT_ALLOWED, NULL, "%s", hints[i].says);
	return call_refuse(c, ERR_METHOD_NOT_ALLOWED, NULL, "This path takes: %s.", allow);
}

static bool
changes(const char *method)
{
	return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

/* Finds the endpoint, checks what it needs, runs it.  0, or -1 with c->err. */
static int
run(struct call *c)
{
	const char *method = strcmp(c->q->method, "HEAD") == 0 ? "GET" : c->q->method;
	struct span mount, path, id;
	const struct endpoint *e;
	char allow[64];

	if (!strip_mount(c->q->path, &mount, &path))
		return err_set(&c->err, ERR_NOT_FOUND, "no /manage/ in the path");
	keep_mount(c, mount);
	e = endpoint_find(method, path, &id, allow, sizeof allow);
	if (e == NULL && allow[0] != '\0')
		return refuse_method(c, method, path, allow);
	if (e == NULL)
		return err_set(&c->err, ERR_NOT_FOUND, "unknown path");
	if (c->q->body.len > (size_t)e->body_max)
		return call_refuse(c, ERR_BODY_TOO_LARGE, NULL,
			"The body may have %lld bytes at most here.", (long long)e->body_max);
	if (id.at != NULL && decode(id, false, c->id, sizeof c->id) < 0)
		return err_set(&c->err, ERR_NOT_FOUND, "an id that is none");

	if (c->q->actor != NULL) {
		span_copy(span_of(c->q->actor), c->actor, sizeof c->actor);
	} else if (e->needs == NEEDS_ADMIN) {
		int rc = session_identify(c);

		if (rc < 0)
			return -1;
		if (rc == 0)
			return c->err.code != ERR_NONE
				       ? -1
				       : call_refuse(c, ERR_MISSING_TOKEN, NULL,
						 "Sign in, or send a management token as "
						 "'Authorization: Bearer <token>'.");
		if (changes(method) && session_check_csrf(c) != 0)
			return -1;
	}
	return e->run(c);
}

void
manage_once(struct manage_once *once)
{
	int64_t now_ms = clock_wall_ms();

	once->request = id_timed(now_ms);
	/* Timed, so that lists, which go by id, stand in order of creation. */
	for (size_t i = 0; i < sizeof once->record / sizeof once->record[0]; i++)
		once->record[i] = id_timed(now_ms);
	token_make(once->secret);
	hash_random(once->session, sizeof once->session);
}

void
manage_handle(struct manage *m, const struct manage_request *q, struct manage_reply *out)
{
	struct call *c;
	struct arena *arena = arena_new(CALL_ARENA_MAX);
	struct call small = { 0 }; /* to answer with when there is no memory */

	*out = (struct manage_reply){ .body = BYTES_LIMIT(MANAGE_REPLY_MAX) };
	c = arena != NULL ? arena_alloc(arena, sizeof *c) : NULL;
	if (c == NULL)
		c = &small;
	c->m = m;
	c->q = q;
	c->out = out;
	c->arena = arena;
	id_text("req_", q->once->request, c->request_id);
	call_line(c, "Sluice-Api", "1");
	call_line(c, "Cache-Control", "no-store");
	call_line(c, "X-Request-Id", "%s", c->request_id);

	health_look_at_root(c);
	if (c == &small)
		call_no_memory(c);
	else if (run(c) == 0 && out->body.failed)
		call_no_memory(c);
	if (c->err.code != ERR_NONE)
		answer_error(c);
	arena_free(arena);
}

/* ---- making and ending ---- */

struct manage *
manage_new(struct store *store, struct board *board, const struct conf *conf, struct err *err)
{
	struct manage *m = calloc(1, sizeof *m);

	if (m == NULL) {
		err_set(err, ERR_MEMORY, "no memory for the management API");
		return NULL;
	}
	m->store = store;
	m->board = board;
	m->conf = conf;
	m->session_ms = conf->session_hours * 60 * 60 * 1000;
	snprintf(m->code_file, sizeof m->code_file, "%s/setup.code", conf->state_dir);
	return m;
}

int
manage_offer_setup(struct manage *m, struct err *err)
{
	char code[64];
	int rc = password_exists(m, err);

	if (rc == 0)
		rc = setup_code_make(m, code, err);
	return rc < 0 ? -1 : 0;
}

void
manage_free(struct manage *m)
{
	free(m);
}
