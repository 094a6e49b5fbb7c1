/*
 * upstreams.c - what an upstream's fields for routing may hold, and its proxy, whose password is shown
 * to nobody.
 */
#include "manage/manage-int.h"
#include "route/standing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN_PASSWORD "***"

/* ---- the proxy ---- */

/* Where the password stands in it: its offset, *len filled in; 0: there is none. */
static size_t
password_at(const char *proxy, size_t *len)
{
	const char *host = strstr(proxy, "://"), *at, *colon;

	if (host == NULL)
		return 0;
	host += 3;
	at = memrchr(host, '@', strcspn(host, "/"));
	colon = at != NULL ? memchr(host, ':', (size_t)(at - host)) : NULL;
	if (colon == NULL)
		return 0;
	*len = (size_t)(at - colon - 1);
	return (size_t)(colon + 1 - proxy);
}

static void
mask_proxy(const char *proxy, char out[URL_BYTES + sizeof HIDDEN_PASSWORD])
{
	size_t len = 0, at = password_at(proxy, &len);

	if (at == 0)
		snprintf(out, URL_BYTES, "%s", proxy);
	else
		snprintf(out, URL_BYTES + sizeof HIDDEN_PASSWORD, "%.*s%s%s", (int)at, proxy,
			HIDDEN_PASSWORD, proxy + at + len);
}

/* "host", "host:80", "[::1]:80", with or without a user in front. */
static bool
is_proxy_address(const char *text)
{
	const char *at = strrchr(text, '@'), *host = at != NULL ? at + 1 : text, *port;
	size_t len;

	if (host[0] == '[') {
		len = strcspn(host, "]");
		if (host[len] != ']' || strspn(host + 1, "0123456789abcdefABCDEF:.") != len - 1 ||
			len < 3)
			return false;
		port = host + len + 1;
	} else {
		len = strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789-._");
		if (len == 0)
			return false;
		port = host + len;
	}
	if (*port == '\0')
		return true;
	return port[0] == ':' && port[1] != '\0' && strlen(port) <= 6 &&
	       strspn(port + 1, "0123456789") == strlen(port + 1) && atoi(port + 1) > 0 &&
	       atoi(port + 1) < 65536;
}

static int
check_proxy(struct edit *e, struct upstream *u)
{
	static const char *const schemes[] = { "http://", "https://", "socks5://", "socks5h://" };
	size_t len = strlen(u->proxy);

	if (len == 0)
		return 0;
	if (u->proxy[len - 1] == '/')
		u->proxy[len - 1] = '\0';
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncmp(u->proxy, schemes[i], strlen(schemes[i])) == 0 &&
			strpbrk(u->proxy, " \t?#\\") == NULL &&
			is_proxy_address(u->proxy + strlen(schemes[i])))
			return 0;
	return call_refuse(e->call, ERR_BAD_REQUEST, "proxy",
		"proxy must be an address such as http://host:3128 or socks5h://host:1080, with "
		"user:password@ in front of the host where it wants one.");
}

int
upstream_member(struct edit *e, const char *name, struct json_value v)
{
	const struct field *f;
	struct upstream *u = e->record;
	const struct upstream *before = e->before;
	char masked[URL_BYTES + sizeof HIDDEN_PASSWORD];

	if (strcmp(name, "proxy") != 0)
		return 0;
	f = shape_field_at(RECORD_UPSTREAM, offsetof(struct upstream, proxy));
	if (shape_set(e->call, f, v, u) != 0)
		return -1;
	if (before == NULL || before->proxy[0] == '\0')
		return 1;
	mask_proxy(before->proxy, masked);
	if (strcmp(u->proxy, masked) == 0) /* as it was shown: it stays */
		memcpy(u->proxy, before->proxy, sizeof u->proxy);
	return 1;
}

bool
upstream_hides(const struct field *f)
{
	return f->offset == offsetof(struct upstream, proxy);
}

int
upstream_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct upstream *u = record;
	char masked[URL_BYTES + sizeof HIDDEN_PASSWORD];

	(void)f;
	mask_proxy(u->proxy, masked);
	shape_text(out, "proxy", masked);
	return c->id[0] == '\0' ? 0 : upstream_put_standing(c, u, out);
}

/* ---- whose keys it uses ---- */

struct lender {
	struct id id;
	char by[NAME_BYTES];
};

static bool
find_borrower(void *ctx, const void *record)
{
	struct lender *l = ctx;
	const struct upstream *u = record;

	if (id_equal(u->keys_of, l->id))
		memcpy(l->by, u->name, sizeof l->by);
	return l->by[0] == '\0';
}

static int
check_keys_of(struct edit *e, const struct upstream *u)
{
	struct call *c = e->call;
	struct lender l = { .id = u->head.id };
	struct upstream *other;

	if (id_is_none(u->keys_of) || !edit_gave(e, offsetof(struct upstream, keys_of)))
		return 0;
	if (id_equal(u->keys_of, u->head.id))
		return call_refuse(c, ERR_BAD_REQUEST, "keys_of",
			"An upstream uses its own keys anyway; keys_of names another one.");
	if ((other = arena_alloc(c->arena, sizeof *other)) == NULL)
		return call_no_memory(c);
	if (store_get(c->m->store, RECORD_UPSTREAM, u->keys_of, other, &c->err) < 0 ||
		store_each(c->m->store, RECORD_UPSTREAM, ID_NONE, find_borrower, &l, &c->err) < 0)
		return -1;
	if (!id_is_none(other->keys_of))
		return call_refuse(c, ERR_BAD_REQUEST, "keys_of",
			"%s uses another upstream's keys itself; name that one.", other->name);
	if (l.by[0] != '\0')
		return call_refuse(c, ERR_BAD_REQUEST, "keys_of",
			"%s uses the keys of this upstream, so it must have its own.", l.by);
	return 0;
}

int
upstream_check_routing(struct edit *e)
{
	struct upstream *u = e->record;

	if (rules_check(e) != 0 || check_proxy(e, u) != 0 || check_keys_of(e, u) != 0)
		return -1;
	if (u->health_path[0] != '\0' &&
		(u->health_path[0] != '/' || strpbrk(u->health_path, " #\\") != NULL))
		return call_refuse(e->call, ERR_BAD_REQUEST, "health_path",
			"health_path must be a path behind base_url, such as /models.");
	return 0;
}

/* ---- its circuit breaker, by hand ---- */

struct forcing {
	struct call *call;
	int32_t state;
	bool given;
};

static bool
forcing_member(void *ctx, const char *name, struct json_value v)
{
	struct forcing *f = ctx;
	struct upstream *u;

	if (strcmp(name, "state") != 0) {
		call_refuse(f->call, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
		return false;
	}
	if ((u = arena_alloc(f->call->arena, sizeof *u)) == NULL)
		return call_no_memory(f->call) == 0;
	if (shape_set(f->call,
		    shape_field_at(RECORD_UPSTREAM, offsetof(struct upstream, breaker_forced)), v,
		    u) != 0)
		return false;
	f->state = u->breaker_forced;
	f->given = true;
	return true;
}

static int
force(struct call *c, void *record, void *state)
{
	struct upstream *u = record;

	(void)c;
	if (u->breaker_forced == *(const int32_t *)state)
		return 0;
	u->breaker_forced = *(const int32_t *)state;
	return 1;
}

void
upstream_follow(struct call *c, const struct upstream *u, const struct upstream *before)
{
	standing_force(c->m->board, u, before == NULL ? BREAKER_AUTO : before->breaker_forced);
}

int
upstreams_breaker(struct call *c)
{
	struct upstream *u = arena_alloc(c->arena, sizeof *u);
	struct upstream *before = arena_alloc(c->arena, sizeof *before);
	struct forcing f = { .call = c };

	if (u == NULL || before == NULL)
		return call_no_memory(c);
	if (call_body(c, forcing_member, &f) != 0)
		return -1;
	if (!f.given)
		return call_refuse(
			c, ERR_BAD_REQUEST, "state", "state is required: auto, open or closed.");
	if (resource_find(c, RECORD_UPSTREAM, c->id, before) != 0 ||
		resource_change(c, RECORD_UPSTREAM, before->head.id, "upstream.breaker", force,
			&f.state, u) != 0)
		return -1;
	upstream_follow(c, u, before);
	return resource_reply(c, 200, &kind_upstream, NULL, u);
}
