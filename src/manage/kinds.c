/*
 * kinds.c - what each kind of record has beside its fields, and the endpoints of the kinds.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/money.h"
#include "conf/conf.h"
#include "manage/manage-int.h"
#include "store/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_LEAST 16 /* of a token that is brought along */
#define SECRET_MOST  512
#define KEY_MOST     3500 /* of a provider's secret: a service account in JSON fits */
#define MINUTES_MOST 525600

static void
wipe_text(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
}

/* A secret as somebody types it: visible ASCII, and no masked one pasted back. */
static int
check_secret(struct call *c, const char *field, const char *text, size_t least)
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
		e->secret = call_string(e->call, name, v, KEY_MOST);
		return e->secret != NULL && check_secret(e->call, name, e->secret, 8) == 0 ? 1 : -1;
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
	return 0;
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

struct token_ref {
	struct id id;
	bool is_active;
};

struct token_walk {
	struct id project;
	struct arena *arena;
	struct token_ref *refs;
	size_t count, room;
	bool failed;
};

static bool
note_token(void *ctx, const void *record)
{
	struct token_walk *w = ctx;
	const struct token *t = record;

	if (!id_equal(t->project, w->project))
		return true;
	if (w->count == w->room) {
		size_t room = w->room == 0 ? 64 : 2 * w->room;
		struct token_ref *more = arena_alloc(w->arena, room * sizeof *more);

		if (more == NULL) {
			w->failed = true;
			return false;
		}
		if (w->count > 0)
			memcpy(more, w->refs, w->count * sizeof *more);
		w->refs = more;
		w->room = room;
	}
	w->refs[w->count++] = (struct token_ref){ t->head.id, t->is_active };
	return true;
}

static int
revoke_one(struct call *c, void *record, void *ctx)
{
	struct token *t = record;
	const char *reason = ctx;

	(void)c;
	if (!t->is_active)
		return 0;
	t->is_active = false;
	t->revoked_ms = clock_wall_ms();
	snprintf(t->revoked_reason, sizeof t->revoked_reason, "%s", reason);
	return 1;
}

static int
project_revoke_all(struct edit *e)
{
	struct call *c = e->call;
	struct token_walk w = { .project = ((struct record *)e->record)->id, .arena = c->arena };
	struct token *t = arena_alloc(c->arena, sizeof *t);
	char reason[] = "all tokens of the project were revoked";

	if (t == NULL)
		return call_no_memory(c);
	if (store_each(c->m->store, RECORD_TOKEN, ID_NONE, note_token, &w, &c->err) < 0)
		return -1;
	if (w.failed)
		return call_no_memory(c);
	e->total = (int64_t)w.count;
	for (size_t i = 0; i < w.count; i++) {
		if (!w.refs[i].is_active) {
			e->already_revoked++;
			continue;
		}
		if (resource_change(c, RECORD_TOKEN, w.refs[i].id, "token.revoke", revoke_one,
			    reason, t) != 0)
			return -1;
		e->revoked++;
	}
	return 0;
}

static int
project_written(struct edit *e)
{
	int rc = 0;

	if (e->secret != NULL)
		rc = project_put_key(e);
	wipe_text(e->secret);
	return rc == 0 && e->revoke_tokens ? project_revoke_all(e) : rc;
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

int
projects_revoke_tokens(struct call *c)
{
	struct edit e = { .call = c, .kind = &kind_project };
	struct project *p = arena_alloc(c->arena, sizeof *p);

	if (p == NULL)
		return call_no_memory(c);
	e.record = p;
	if (resource_find(c, RECORD_PROJECT, c->id, p) != 0 || project_revoke_all(&e) != 0 ||
		store_audit_add(
			c->m->store, call_change(c, "project.revoke_tokens"), c->id, &c->err) < 0)
		return -1;
	bytes_printf(&c->out->body,
		"{\"revoked_count\":%lld,\"already_revoked_count\":%lld,\"total_tokens\":%lld}",
		(long long)e.revoked, (long long)e.already_revoked, (long long)e.total);
	c->out->status = 200;
	return 0;
}

/* ---- tokens ---- */

static int
token_member(struct edit *e, const char *name, struct json_value v)
{
	struct call *c = e->call;
	char *text;

	if (strcmp(name, "duration_minutes") == 0) {
		if (json_int(v, &e->duration_minutes) != 0 || e->duration_minutes < 1 ||
			e->duration_minutes > MINUTES_MOST)
			return call_refuse(c, ERR_BAD_REQUEST, name,
				"duration_minutes must be from 1 to %d; without it and without "
				"expires_at a token does not expire.",
				MINUTES_MOST);
		e->has_duration = true;
		return 1;
	}
	if (e->before != NULL)
		return 0;
	if (strcmp(name, "secret") == 0) {
		e->secret = call_string(c, name, v, SECRET_MOST);
		if (e->secret == NULL || check_secret(c, name, e->secret, SECRET_LEAST) != 0)
			return -1;
		if (token_mistyped(e->secret, strlen(e->secret)))
			return call_refuse(c, ERR_BAD_REQUEST, name,
				"A secret that begins with " TOKEN_PREFIX
				" must be one that sluice made; this one has a typing error.");
		return 1;
	}
	if (strcmp(name, "secret_sha256") == 0) {
		text = call_string(c, name, v, 2 * SHA256_BYTES);
		if (text == NULL)
			return -1;
		if (hash_unhex(text, e->sha256, sizeof e->sha256) != 0)
			return call_refuse(c, ERR_BAD_REQUEST, name,
				"secret_sha256 must be 64 hexadecimal digits.");
		e->has_sha256 = true;
		return 1;
	}
	return 0;
}

static int
token_finish_new(struct edit *e)
{
	struct call *c = e->call;
	struct token *t = e->record;
	struct project *p = arena_alloc(c->arena, sizeof *p);
	const char *secret = e->secret != NULL ? e->secret : c->q->once->secret;
	int rc;

	if (p == NULL)
		return call_no_memory(c);
	rc = store_get(c->m->store, RECORD_PROJECT, t->project, p, &c->err);
	if (rc <= 0)
		return rc < 0 ? -1
			      : call_refuse(c, ERR_NOT_FOUND, "project_id",
					"There is no such project.");
	if (!p->is_active)
		return call_refuse(c, ERR_PROJECT_INACTIVE, "project_id",
			"This project is not active; activate it first.");
	if (e->secret != NULL && e->has_sha256)
		return call_refuse(c, ERR_BAD_REQUEST, "secret_sha256",
			"Send secret or secret_sha256, not both.");
	if (e->has_sha256) {
		memcpy(t->sha256, e->sha256, sizeof t->sha256);
		snprintf(t->masked, sizeof t->masked, "sha256:%02x%02x%02x%02x…", t->sha256[0],
			t->sha256[1], t->sha256[2], t->sha256[3]);
		return 0;
	}
	hash_sha256(secret, strlen(secret), t->sha256);
	token_mask(secret, strlen(secret), t->masked);
	return 0;
}

static int
token_finish(struct edit *e)
{
	struct call *c = e->call;
	struct token *t = e->record;
	int64_t now_ms = clock_wall_ms();

	if (e->has_duration) {
		if (edit_gave(e, offsetof(struct token, expires_ms)))
			return call_refuse(c, ERR_BAD_REQUEST, "expires_at",
				"Send duration_minutes or expires_at, not both.");
		t->expires_ms = now_ms + e->duration_minutes * 60000;
	} else if (e->before == NULL && t->expires_ms != 0 && t->expires_ms <= now_ms) {
		return call_refuse(
			c, ERR_BAD_REQUEST, "expires_at", "expires_at lies in the past.");
	}
	if (t->expires_ms != 0 && t->not_before_ms >= t->expires_ms)
		return call_refuse(c, ERR_BAD_REQUEST, "not_before",
			"not_before must come before expires_at.");
	if (t->is_active) {
		t->revoked_ms = 0;
		memset(t->revoked_reason, 0, sizeof t->revoked_reason);
	} else if (t->revoked_ms == 0) {
		t->revoked_ms = now_ms;
	}
	return e->before == NULL ? token_finish_new(e) : 0;
}

static bool
token_hides(const struct field *f)
{
	/* Shown as "masked": the name "token" stands for the secret, which is shown once. */
	return f->offset == offsetof(struct token, masked);
}

static int
token_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct token *t = record;
	char id[ID_TEXT_BYTES];
	struct usage_sum sum;

	(void)f;
	id_text(record_prefix(RECORD_TOKEN), t->head.id, id);
	if (store_usage_sum(c->m->store, BY_TOKEN, id, 0, clock_wall_ms() + 60000, &sum, &c->err) <
		0)
		return -1;
	shape_text(out, "masked", t->masked);
	shape_int(out, "request_count", sum.counted);
	shape_time(out, "last_used_at", sum.last_ms);
	shape_money(out, "cost", sum.cost_nusd);
	shape_int(out, "cache_hit_count", 0);
	return 0;
}

static bool
token_passes(const void *record, const struct filter *f)
{
	const struct token *t = record;

	return (id_is_none(f->project) || id_equal(f->project, t->project)) &&
	       (f->active < 0 || t->is_active == (f->active != 0));
}

const struct kind kind_token = {
	.record = RECORD_TOKEN,
	.member = token_member,
	.finish = token_finish,
	.hides = token_hides,
	.extra = token_extra,
	.passes = token_passes,
};

struct reason {
	struct call *call;
	char *text;
};

static bool
reason_member(void *ctx, const char *name, struct json_value v)
{
	struct reason *r = ctx;

	if (strcmp(name, "reason") != 0) {
		call_refuse(r->call, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
		return false;
	}
	if (v.type == JSON_NULL)
		return true;
	r->text = call_string(r->call, name, v, sizeof((struct token *)0)->revoked_reason - 1);
	return r->text != NULL;
}

/* Revoking twice is a success: the first reason stays. */
static int
revoke(struct call *c, struct token *t)
{
	char none[] = "";
	struct reason r = { c, none };

	if (call_body(c, reason_member, &r) != 0 || resource_find(c, RECORD_TOKEN, c->id, t) != 0)
		return -1;
	return resource_change(c, RECORD_TOKEN, t->head.id, "token.revoke", revoke_one, r.text, t);
}

int
tokens_revoke(struct call *c)
{
	struct token *t = arena_alloc(c->arena, sizeof *t);

	if (t == NULL)
		return call_no_memory(c);
	return revoke(c, t) == 0 ? resource_reply(c, 200, &kind_token, NULL, t) : -1;
}

/* A token's rows must keep their meaning, so deleting is revoking. */
int
tokens_delete(struct call *c)
{
	struct token *t = arena_alloc(c->arena, sizeof *t);

	if (t == NULL)
		return call_no_memory(c);
	if (revoke(c, t) != 0)
		return -1;
	c->out->status = 204;
	return 0;
}

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
	host = strcspn(rest, "/");
	if (host == 0 || strpbrk(rest, " ?#\\") != NULL)
		return call_refuse(c, ERR_BAD_REQUEST, "base_url",
			"base_url must be a host and a path, without query and fragment.");
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

	if (check_base_url(e) != 0 || check_extra_headers(e) != 0)
		return -1;
	if ((u->ca_file[0] != '\0' && u->ca_file[0] != '/') ||
		(u->client_cert[0] != '\0' && u->client_cert[0] != '/'))
		return call_refuse(e->call, ERR_BAD_REQUEST,
			u->ca_file[0] != '\0' && u->ca_file[0] != '/' ? "ca_file" : "client_cert",
			"Files are named by absolute paths.");
	return 0;
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
	.finish = upstream_finish,
	.written = upstream_written,
	.passes = upstream_passes,
};

static bool
key_passes(const void *record, const struct filter *f)
{
	const struct key *k = record;

	return (id_is_none(f->upstream) || id_equal(f->upstream, k->upstream)) &&
	       (id_is_none(f->project) || id_equal(f->project, k->project)) &&
	       (f->active < 0 || k->is_enabled == (f->active != 0));
}

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
		if (resource_collect(c, RECORD_KEY, ID_NONE, 1, key_passes, &f, &records, &count) !=
			0)
			return -1;
		if (count > 0)
			return call_refuse(c, ERR_CONFLICT, NULL,
				"This upstream still has keys; delete them first, or set is_active "
				"to false.");
	}
	return resource_delete(c, &kind_upstream);
}

/* ---- keys ---- */

static int
key_member(struct edit *e, const char *name, struct json_value v)
{
	if (strcmp(name, "secret") != 0)
		return 0;
	e->secret = call_string(e->call, name, v, KEY_MOST);
	return e->secret != NULL && check_secret(e->call, name, e->secret, 1) == 0 ? 1 : -1;
}

/* What the workers know of a key's failures was about the old secret. */
static void
forget_failures(struct call *c, struct id key)
{
	struct board_key *b = board_key(c->m->board, key);

	if (b == NULL)
		return;
	b->rest_until_ms = 0;
	b->failures = 0;
	b->reason = 0;
}

static int
key_finish(struct edit *e)
{
	struct key *k = e->record;
	int rc;

	if (e->secret == NULL)
		return e->before != NULL ? 0
					 : call_refuse(e->call, ERR_BAD_REQUEST, "secret",
						   "secret is required.");
	rc = seal_key(e->call, k, e->secret);
	wipe_text(e->secret);
	return rc;
}

static int
key_written(struct edit *e)
{
	const struct key *k = e->record, *before = e->before;

	if (before != NULL && (e->secret != NULL || (k->is_enabled && !before->is_enabled)))
		forget_failures(e->call, k->head.id);
	return 0;
}

static int
key_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct key *k = record;
	struct board_key *b = board_key(c->m->board, k->head.id);
	int64_t now_ms = board_now_ms(c->m->board);
	int64_t rest_ms = b != NULL ? b->rest_until_ms : 0;
	uint32_t failures = b != NULL ? b->failures : 0, reason = b != NULL ? b->reason : 0;
	const char *state = !k->is_enabled     ? "disabled"
			    : rest_ms > now_ms ? "resting"
			    : failures > 0     ? "failing"
					       : "live";
	char why[64];

	(void)f;
	shape_text(out, "upstream_name", resource_name(c, RECORD_UPSTREAM, k->upstream));
	shape_text(out, "state", state);
	shape_time(out, "rests_until", rest_ms > now_ms ? rest_ms : 0);
	/* Statuses are three digits, our own codes fewer. */
	if (reason >= 100)
		snprintf(why, sizeof why, "HTTP %u", reason);
	else
		snprintf(why, sizeof why, "%s", reason < ERR__COUNT ? err_name(reason) : "");
	if (why[0] != '\0' && (failures > 0 || rest_ms > now_ms))
		shape_text(out, "last_error", why);
	else
		bytes_puts(out, ",\"last_error\":null");
	shape_time(out, "failed_at", b != NULL ? b->failed_at_ms : 0);
	shape_time(out, "ok_at", b != NULL ? b->ok_at_ms : 0);
	return 0;
}

const struct kind kind_key = {
	.record = RECORD_KEY,
	.member = key_member,
	.finish = key_finish,
	.written = key_written,
	.extra = key_extra,
	.passes = key_passes,
};

static int
switch_key(struct call *c, void *record, void *ctx)
{
	struct key *k = record;
	bool on = *(bool *)ctx;

	(void)c;
	if (k->is_enabled == on)
		return 0;
	k->is_enabled = on;
	return 1;
}

static int
keys_switch(struct call *c, bool on)
{
	struct key *k = arena_alloc(c->arena, sizeof *k);

	if (k == NULL)
		return call_no_memory(c);
	if (resource_find(c, RECORD_KEY, c->id, k) != 0 ||
		resource_change(c, RECORD_KEY, k->head.id, on ? "key.enable" : "key.disable",
			switch_key, &on, k) != 0)
		return -1;
	if (on)
		forget_failures(c, k->head.id);
	return resource_reply(c, 200, &kind_key, NULL, k);
}

int
keys_enable(struct call *c)
{
	return keys_switch(c, true);
}

int
keys_disable(struct call *c)
{
	return keys_switch(c, false);
}

/* ---- prices ---- */

static int
price_finish(struct edit *e)
{
	((struct price *)e->record)->is_builtin = false; /* made by hand now: an import leaves it */
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

/* ---- limits ---- */

struct scope_walk {
	struct edit *edit;
};

static bool
scope_member(void *ctx, const struct json_member *m)
{
	struct edit *e = ((struct scope_walk *)ctx)->edit;
	struct call *c = e->call;
	struct limit *l = e->record;
	enum record_kind kind = RECORD_PROJECT;
	char *text, *to;
	struct id id;
	size_t room;

	if (span_is(m->key, "project")) {
		to = l->scope[DIMENSION_PROJECT];
		room = sizeof l->scope[DIMENSION_PROJECT];
	} else if (span_is(m->key, "token")) {
		kind = RECORD_TOKEN;
		to = l->scope[DIMENSION_TOKEN];
		room = sizeof l->scope[DIMENSION_TOKEN];
	} else if (span_is(m->key, "model")) {
		kind = RECORD__COUNT;
		to = l->scope[DIMENSION_MODEL];
		room = sizeof l->scope[DIMENSION_MODEL];
	} else {
		call_refuse(c, ERR_BAD_REQUEST, "scope",
			"A scope is made of project, token and model, each an id, \"each\" or "
			"\"total\".");
		return false;
	}
	if (m->value.type == JSON_NULL)
		return true;
	text = call_string(c, "scope", m->value, NAME_BYTES * 2 - 1);
	if (text == NULL)
		return false;
	if (strcmp(text, "total") == 0 || text[0] == '\0')
		return true;
	if (kind != RECORD__COUNT && strcmp(text, "each") != 0) {
		if (resource_refer(c, kind, "scope", text, &id) != 0)
			return false;
		id_text(record_prefix(kind), id, to);
	} else {
		(void)span_copy(span_of(text), to, room);
	}
	return true;
}

static int
limit_member(struct edit *e, const char *name, struct json_value v)
{
	struct call *c = e->call;
	struct limit *l = e->record;
	const struct limit *before = e->before;
	struct scope_walk walk = { e };

	if (strcmp(name, "cap") == 0) {
		e->cap = v; /* the metric may come behind it */
		return 1;
	}
	if (strcmp(name, "scope") != 0)
		return 0;
	memset(l->scope[DIMENSION_PROJECT], 0, sizeof l->scope[DIMENSION_PROJECT]);
	memset(l->scope[DIMENSION_TOKEN], 0, sizeof l->scope[DIMENSION_TOKEN]);
	memset(l->scope[DIMENSION_MODEL], 0, sizeof l->scope[DIMENSION_MODEL]);
	if (v.type != JSON_NULL && json_each(v.raw, scope_member, &walk, NULL) != 0 &&
		c->err.code == ERR_NONE)
		call_refuse(c, ERR_BAD_REQUEST, name,
			"scope must be an object such as {\"project\": \"…\"}.");
	if (c->err.code != ERR_NONE)
		return -1;
	if (before != NULL &&
		(strcmp(l->scope[DIMENSION_PROJECT], before->scope[DIMENSION_PROJECT]) != 0 ||
			strcmp(l->scope[DIMENSION_TOKEN], before->scope[DIMENSION_TOKEN]) != 0 ||
			strcmp(l->scope[DIMENSION_MODEL], before->scope[DIMENSION_MODEL]) != 0))
		return call_refuse(c, ERR_BAD_REQUEST, name,
			"scope is fixed when a limit is made; make another one.");
	return 1;
}

static int
limit_finish(struct edit *e)
{
	struct call *c = e->call;
	struct limit *l = e->record;
	int64_t cap;

	if (l->metric == METRIC_PARALLEL) /* what runs now has no window */
		l->window = WINDOW_TOTAL;
	if (e->cap.type == JSON_NONE)
		return e->before != NULL
			       ? 0
			       : call_refuse(c, ERR_BAD_REQUEST, "cap", "cap is required.");
	if (l->metric == METRIC_COST)
		return shape_parse_money(c, "cap", e->cap, &l->cap);
	if (json_int(e->cap, &cap) != 0 || cap < 0)
		return call_refuse(c, ERR_BAD_REQUEST, "cap",
			"cap must be a whole number that is not negative.");
	l->cap = cap;
	return 0;
}

static bool
limit_hides(const struct field *f)
{
	return f->offset == offsetof(struct limit, scope[DIMENSION_PROJECT]) ||
	       f->offset == offsetof(struct limit, scope[DIMENSION_TOKEN]) ||
	       f->offset == offsetof(struct limit, scope[DIMENSION_MODEL]) ||
	       f->offset == offsetof(struct limit, cap);
}

static void
put_amount(struct bytes *out, const char *name, const struct limit *l, int64_t amount)
{
	if (l->metric == METRIC_COST)
		shape_money(out, name, amount);
	else
		shape_int(out, name, amount);
}

static void
put_scope(struct bytes *out, const struct limit *l)
{
	bytes_puts(out, ",\"scope\":{");
	if (l->scope[DIMENSION_PROJECT][0] != '\0')
		shape_text(out, "project", l->scope[DIMENSION_PROJECT]);
	if (l->scope[DIMENSION_TOKEN][0] != '\0')
		shape_text(out, "token", l->scope[DIMENSION_TOKEN]);
	if (l->scope[DIMENSION_MODEL][0] != '\0')
		shape_text(out, "model", l->scope[DIMENSION_MODEL]);
	bytes_puts(out, "}");
}

/* What the counter holds now: 1 known, 0 not one counter ("each" without a value), -1. */
static int
limit_use(struct call *c, const struct limit *l, const struct limit_values *v, int64_t *used,
	int64_t *reserved, int64_t *end_ms)
{
	int64_t now_ms = board_now_ms(c->m->board), start_ms;
	struct board_health board;
	uint64_t key[2];
	int rc;

	window_bounds(l->metric == METRIC_PARALLEL ? WINDOW_TOTAL : (enum limit_window)l->window,
		now_ms, &start_ms, end_ms);
	if ((strcmp(l->scope[DIMENSION_PROJECT], "each") == 0 && v->project[0] == '\0') ||
		(strcmp(l->scope[DIMENSION_TOKEN], "each") == 0 && v->token[0] == '\0') ||
		(strcmp(l->scope[DIMENSION_MODEL], "each") == 0 && v->model[0] == '\0'))
		return 0;
	limit_counter_key(l, v, start_ms, key);
	rc = board_peek(c->m->board, key, 0, used, reserved);
	if (rc < 0)
		return err_set(&c->err, ERR_OVERLOADED, "the board is not to be had");
	if (rc > 0)
		return 1;
	/* No row yet: one that is made now begins with the booked use if its window is older than
	 * the board or the limit, else at nothing (board.h, claim.seeded). */
	board_health(c->m->board, &board);
	if (start_ms >= board.remade_ms && !limit_has_past(l, start_ms))
		return 1;
	return limit_booked(c->m->store, l, v, start_ms, *end_ms, used, &c->err) == 0 ? 1 : -1;
}

static int
limit_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct limit *l = record;
	char project[ID_TEXT_BYTES] = "", token[ID_TEXT_BYTES] = "";
	struct limit_values v = { project, token, f != NULL ? f->model : "" };
	int64_t used = 0, reserved = 0, end_ms, left;
	int rc;

	if (f != NULL) {
		id_text(record_prefix(RECORD_TOKEN), f->token, token);
		id_text(record_prefix(RECORD_PROJECT),
			id_is_none(f->project) ? f->token_project : f->project, project);
	}
	rc = limit_use(c, l, &v, &used, &reserved, &end_ms);
	if (rc < 0)
		return -1;
	put_scope(out, l);
	put_amount(out, "cap", l, l->cap);
	if (rc > 0) {
		left = l->cap - used - reserved;
		put_amount(out, "used", l, used);
		put_amount(out, "reserved", l, reserved);
		put_amount(out, "remaining", l, left > 0 ? left : 0);
	} else {
		bytes_puts(out, ",\"used\":null,\"reserved\":null,\"remaining\":null");
	}
	shape_time(out, "resets_at", end_ms == WINDOW_FOREVER ? 0 : end_ms);
	return 0;
}

/* Does that dimension bind the value that is asked for? */
static bool
binds(const char *scope, const char *value)
{
	return strcmp(scope, "each") == 0 || strcmp(scope, value) == 0;
}

static bool
limit_passes(const void *record, const struct filter *f)
{
	const struct limit *l = record;
	char project[ID_TEXT_BYTES], token[ID_TEXT_BYTES];

	if (f->active >= 0 && l->is_active != (f->active != 0))
		return false;
	if (f->model[0] != '\0' &&
		(l->scope[DIMENSION_MODEL][0] == '\0' ||
			(strcmp(l->scope[DIMENSION_MODEL], "each") != 0 &&
				!glob_match(l->scope[DIMENSION_MODEL], span_of(f->model)))))
		return false;
	if (!id_is_none(f->project)) {
		id_text(record_prefix(RECORD_PROJECT), f->project, project);
		if (!binds(l->scope[DIMENSION_PROJECT], project))
			return false;
	}
	if (!id_is_none(f->token)) {
		/* Of a token: its own, and those its project puts on it. */
		id_text(record_prefix(RECORD_TOKEN), f->token, token);
		id_text(record_prefix(RECORD_PROJECT), f->token_project, project);
		if (!binds(l->scope[DIMENSION_TOKEN], token) &&
			!(l->scope[DIMENSION_TOKEN][0] == '\0' &&
				l->scope[DIMENSION_PROJECT][0] != '\0' &&
				binds(l->scope[DIMENSION_PROJECT], project)))
			return false;
	}
	return true;
}

const struct kind kind_limit = {
	.record = RECORD_LIMIT,
	.member = limit_member,
	.finish = limit_finish,
	.hides = limit_hides,
	.extra = limit_extra,
	.passes = limit_passes,
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
ENDPOINTS(tokens, kind_token)
ENDPOINTS(upstreams, kind_upstream)
ENDPOINTS(keys, kind_key)
ENDPOINTS(prices, kind_price)
ENDPOINTS(limits, kind_limit)
ENDPOINT(keys_delete, delete, kind_key)
ENDPOINT(prices_delete, delete, kind_price)
ENDPOINT(limits_delete, delete, kind_limit)
