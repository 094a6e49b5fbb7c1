/*
 * kinds.c - what each kind of record has beside its fields, and the endpoints of the kinds.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/money.h"
#include "conf/conf.h"
#include "manage/manage-int.h"
#include "store/snapshot.h"
#include "store/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
wipe_text(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
}

int
call_check_secret(struct call *c, const char *field, const char *text, size_t least)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x21 || (unsigned char)text[i] > 0x7e)
			return call_refuse(c, ERR_BAD_REQUEST, field,
				"%s may hold visible ASCII characters only; is it a masked one?",
				field);
	if (strstr(text, "...") != NULL || strstr(text, "****") != NULL)
		return call_refuse(c, ERR_BAD_REQUEST, field,
			"%s looks masked; send the secret itself.", field);
	if (len < least)
		return call_refuse(c, ERR_BAD_REQUEST, field,
			"%s is too short: at least %zu bytes.", field, least);
	return 0;
}

/* ---- projects ---- */

struct project_key {
	struct project_key *next;
	struct id project, key;
	char masked[TOKEN_MASKED_BYTES];
};

#define PROJECT_UPSTREAM  "openai"
#define PROJECT_KEY_LABEL "api_key"

static bool
is_project_key(const void *record, const struct filter *f)
{
	const struct key *k = record;

	(void)f;
	return !id_is_none(k->project) && strcmp(k->label, PROJECT_KEY_LABEL) == 0;
}

/* The keys that projects were given as api_key, read once a call. */
static const struct project_key *
project_key(struct call *c, struct id project)
{
	void *records = NULL;
	size_t count = 0;

	if (!c->has_project_keys && resource_collect(c, RECORD_KEY, ID_NONE, 4096, is_project_key,
					    NULL, &records, &count) == 0) {
		for (size_t i = 0; i < count; i++) {
			const struct key *k = (const struct key *)records + i;
			struct project_key *p = arena_alloc(c->arena, sizeof *p);

			if (p == NULL)
				break;
			p->project = k->project;
			p->key = k->head.id;
			memcpy(p->masked, k->masked, sizeof p->masked);
			p->next = c->project_keys;
			c->project_keys = p;
		}
		c->has_project_keys = true;
	}
	for (const struct project_key *p = c->project_keys; p != NULL; p = p->next)
		if (id_equal(p->project, project))
			return p;
	return NULL;
}

static int
project_member(struct edit *e, const char *name, struct json_value v)
{
	if (strcmp(name, "api_key") == 0) {
		e->secret = call_string(e->call, name, v, AUTH_KEY_MOST);
		return e->secret != NULL && call_check_secret(e->call, name, e->secret, 8) == 0
			       ? 1
			       : -1;
	}
	if (strcmp(name, "revoke_tokens") == 0)
		return call_bool(e->call, name, v, &e->revoke_tokens) == 0 ? 1 : -1;
	return 0;
}

static int
project_finish(struct edit *e)
{
	struct project *p = e->record;
	int64_t drain_ms;

	if (e->revoke_tokens &&
		(p->is_active || !edit_gave(e, offsetof(struct project, is_active))))
		return call_refuse(e->call, ERR_BAD_REQUEST, "revoke_tokens",
			"revoke_tokens goes together with \"is_active\": false.");
	if (p->disconnect[0] != '\0' && conf_disconnect(p->disconnect, &drain_ms) != 0)
		return call_refuse(e->call, ERR_BAD_REQUEST, "disconnect",
			"disconnect must be cancel, drain or drain:<seconds>.");
	if (p->is_active)
		p->deactivated_ms = 0;
	else if (p->deactivated_ms == 0)
		p->deactivated_ms = clock_wall_ms();
	return lists_check_project(e);
}

/* The upstream that a bare OpenAI key is for: made when it is missing. */
static int
openai_upstream(struct call *c, struct id *id)
{
	struct upstream *u = arena_alloc(c->arena, sizeof *u);
	int rc;

	if (u == NULL)
		return call_no_memory(c);
	rc = store_find(c->m->store, RECORD_UPSTREAM, PROJECT_UPSTREAM, u, &c->err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		record_init(RECORD_UPSTREAM, u);
		u->head.id = c->q->once->record[2];
		strcpy(u->name, PROJECT_UPSTREAM);
		strcpy(u->base_url, "https://api.openai.com/v1");
		if (resource_create(c, RECORD_UPSTREAM, u, "upstream.create") != 0)
			return -1;
	}
	*id = u->head.id;
	return 0;
}

static int
seal_key(struct call *c, struct key *k, const char *secret)
{
	size_t len = strlen(secret);

	token_mask(secret, len, k->masked);
	return store_seal(
		c->m->store, k->head.id, (struct span){ secret, len }, &k->secret, &c->err);
}

static int
reseal(struct call *c, void *record, void *secret)
{
	return seal_key(c, record, secret) == 0 ? 1 : -1;
}

static int
project_put_key(struct edit *e)
{
	struct call *c = e->call;
	const struct project *p = e->record;
	const struct project_key *had = project_key(c, p->head.id);
	struct key *k = arena_alloc(c->arena, sizeof *k);

	c->has_project_keys = false; /* so that the reply reads them anew */
	c->project_keys = NULL;
	if (k == NULL)
		return call_no_memory(c);
	if (had != NULL)
		return resource_change(c, RECORD_KEY, had->key, "key.update", reseal, e->secret, k);
	record_init(RECORD_KEY, k);
	k->head.id = c->q->once->record[1];
	k->project = p->head.id;
	strcpy(k->label, PROJECT_KEY_LABEL);
	if (openai_upstream(c, &k->upstream) != 0 || seal_key(c, k, e->secret) != 0)
		return -1;
	return resource_create(c, RECORD_KEY, k, "key.create");
}

static int
project_written(struct edit *e)
{
	int rc = 0;

	if (e->secret != NULL)
		rc = project_put_key(e);
	wipe_text(e->secret);
	return rc == 0 && e->revoke_tokens ? tokens_revoke_all(e) : rc;
}

static int
project_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct project_key *k = project_key(c, ((const struct record *)record)->id);

	(void)f;
	if (k != NULL)
		shape_text(out, "api_key", k->masked);
	else
		bytes_puts(out, ",\"api_key\":null");
	return c->err.code == ERR_NONE ? 0 : -1;
}

static bool
project_passes(const void *record, const struct filter *f)
{
	return f->active < 0 || ((const struct project *)record)->is_active == (f->active != 0);
}

const struct kind kind_project = {
	.record = RECORD_PROJECT,
	.member = project_member,
	.finish = project_finish,
	.written = project_written,
	.extra = project_extra,
	.passes = project_passes,
};

/* ---- upstreams ---- */

static int
check_base_url(struct edit *e)
{
	struct call *c = e->call;
	struct upstream *u = e->record;
	const char *rest;
	size_t len = strlen(u->base_url), host;

	while (len > 0 && u->base_url[len - 1] == '/')
		u->base_url[--len] = '\0';
	if (strncmp(u->base_url, "https://", 8) == 0)
		rest = u->base_url + 8;
	else if (strncmp(u->base_url, "http://", 7) == 0)
		rest = u->base_url + 7;
	else
		return call_refuse(c, ERR_BAD_REQUEST, "base_url",
			"base_url must begin with https:// or http://.");
	host = strcspn(rest, "/?");
	if (host == 0 || strpbrk(rest, " #\\") != NULL ||
		(strchr(rest, '?') != NULL && u->protocol != PROTOCOL_AZURE))
		return call_refuse(c, ERR_BAD_REQUEST, "base_url",
			"base_url must be a host and a path, without query and fragment; Azure's "
			"alone "
			"may end in ?api-version=….");
	if (memchr(rest, '@', host) != NULL)
		return call_refuse(c, ERR_BAD_REQUEST, "base_url",
			"base_url may hold no user and password; add a key instead.");
	return 0;
}

/* Each line "Name: value", and none that HTTP itself depends on. */
static int
check_extra_headers(struct edit *e)
{
	static const char *const refused[] = { "host", "content-length", "transfer-encoding",
		"connection", "upgrade", "te", "trailer" };
	const struct upstream *u = e->record;

	for (const char *line = u->extra_headers; *line != '\0';) {
		size_t len = strcspn(line, "\n"), name = strcspn(line, ":\n ");
		struct span word = { line, name };

		if (name == 0 || name >= len || line[name] != ':')
			return call_refuse(e->call, ERR_BAD_REQUEST, "extra_headers",
				"extra_headers needs entries such as \"Name: value\".");
		for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
			if (span_is_nocase(word, refused[i]))
				return call_refuse(e->call, ERR_BAD_REQUEST, "extra_headers",
					"The header %s is not for you to set.", refused[i]);
		line += len;
		line += *line == '\n';
	}
	return 0;
}

static int
upstream_finish(struct edit *e)
{
	const struct upstream *u = e->record;

	if (check_base_url(e) != 0 || check_extra_headers(e) != 0 || auth_check_upstream(e) != 0)
		return -1;
	if ((u->ca_file[0] != '\0' && u->ca_file[0] != '/') ||
		(u->client_cert[0] != '\0' && u->client_cert[0] != '/'))
		return call_refuse(e->call, ERR_BAD_REQUEST,
			u->ca_file[0] != '\0' && u->ca_file[0] != '/' ? "ca_file" : "client_cert",
			"Files are named by absolute paths.");
	return upstream_check_routing(e);
}

static bool
is_default(const void *record, const struct filter *f)
{
	(void)f;
	return ((const struct upstream *)record)->is_default;
}

static int
undefault(struct call *c, void *record, void *ctx)
{
	struct upstream *u = record;

	(void)c;
	(void)ctx;
	if (!u->is_default)
		return 0;
	u->is_default = false;
	return 1;
}

/* There is one default: the one that was named last. */
static int
upstream_written(struct edit *e)
{
	struct call *c = e->call;
	const struct upstream *u = e->record;
	struct upstream *other = arena_alloc(c->arena, sizeof *other);
	void *records = NULL;
	size_t count = 0;

	upstream_follow(c, u, e->before);
	if (!u->is_default || !edit_gave(e, offsetof(struct upstream, is_default)))
		return 0;
	if (other == NULL)
		return call_no_memory(c);
	if (resource_collect(
		    c, RECORD_UPSTREAM, ID_NONE, 1024, is_default, NULL, &records, &count) != 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct id id = ((struct upstream *)records)[i].head.id;

		if (!id_equal(id, u->head.id) &&
			resource_change(c, RECORD_UPSTREAM, id, "upstream.update", undefault, NULL,
				other) != 0)
			return -1;
	}
	return 0;
}

static bool
upstream_passes(const void *record, const struct filter *f)
{
	return f->active < 0 || ((const struct upstream *)record)->is_active == (f->active != 0);
}

const struct kind kind_upstream = {
	.record = RECORD_UPSTREAM,
	.member = upstream_member,
	.hides = upstream_hides,
	.extra = upstream_extra,
	.finish = upstream_finish,
	.written = upstream_written,
	.passes = upstream_passes,
};

int
upstreams_delete(struct call *c)
{
	struct upstream *u = arena_alloc(c->arena, sizeof *u);
	struct filter f = { .active = -1 };
	void *records = NULL;
	size_t count = 0;

	if (u == NULL)
		return call_no_memory(c);
	if (store_find(c->m->store, RECORD_UPSTREAM, c->id, u, &c->err) > 0) {
		f.upstream = u->head.id;
		if (resource_collect(
			    c, RECORD_KEY, ID_NONE, 1, kind_key.passes, &f, &records, &count) != 0)
			return -1;
		if (count > 0)
			return call_refuse(c, ERR_CONFLICT, NULL,
				"This upstream still has keys; delete them first, or set is_active "
				"to false.");
		if (refuse_when_named(c, RECORD_UPSTREAM, u->head.id) != 0 ||
			providers_forget(c, u->head.id) != 0)
			return -1;
	}
	return c->err.code != ERR_NONE ? -1 : resource_delete(c, &kind_upstream);
}

/* ---- prices ---- */

static bool
count_one(void *ctx, const void *record)
{
	(void)record;
	return ++*(int64_t *)ctx < SNAPSHOT_PRICES_MAX;
}

/* The gateway looks at no more: what came beyond would be charged by another row, or by none. */
static int
check_price_room(struct call *c)
{
	int64_t count = 0;

	if (store_each(c->m->store, RECORD_PRICE, ID_NONE, count_one, &count, &c->err) < 0)
		return -1;
	if (count >= SNAPSHOT_PRICES_MAX)
		return call_refuse(c, ERR_CONFLICT, NULL,
			"There are %d prices, which is the most; delete some that no request needs "
			"any more.",
			SNAPSHOT_PRICES_MAX);
	return 0;
}

static int
price_finish(struct edit *e)
{
	struct price *p = e->record;

	if (e->before == NULL && check_price_room(e->call) != 0)
		return -1;
	p->is_builtin = p->is_imported = false; /* made by hand now: an import leaves it */
	return 0;
}

static bool
price_passes(const void *record, const struct filter *f)
{
	const struct price *p = record;

	return (id_is_none(f->upstream) || id_equal(f->upstream, p->upstream)) &&
	       (f->model[0] == '\0' || strcmp(f->model, p->model) == 0 ||
		       glob_match(p->model, span_of(f->model)));
}

const struct kind kind_price = {
	.record = RECORD_PRICE,
	.finish = price_finish,
	.passes = price_passes,
};

/* ---- the endpoints of all kinds ---- */

#define ENDPOINT(name, does, kind)                                                                 \
	int name(struct call *c)                                                                   \
	{                                                                                          \
		return resource_##does(c, &kind);                                                  \
	}
#define ENDPOINTS(plural, kind)                                                                    \
	ENDPOINT(plural##_list, list, kind)                                                        \
	ENDPOINT(plural##_get, get, kind)                                                          \
	ENDPOINT(plural##_post, post, kind)                                                        \
	ENDPOINT(plural##_patch, patch, kind)

ENDPOINTS(projects, kind_project)
ENDPOINTS(upstreams, kind_upstream)
ENDPOINTS(prices, kind_price)
ENDPOINT(prices_delete, delete, kind_price)
