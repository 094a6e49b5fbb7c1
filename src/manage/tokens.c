/*
 * tokens.c - tokens: made, changed, given another secret, revoked and cleaned away, one or many.
 *
 * What is done to many has a ceiling for each call and says when there is more: whoever calls goes
 * on until there is not.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "manage/manage-int.h"
#include "store/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_LEAST 16 /* of one that is brought along */
#define SECRET_MOST  512
#define MINUTES_MOST 525600
#define MINT_MOST    1000 /* in one call */
#define MANY_MOST    1000 /* revoked or cleaned away in one call */
#define DAYS_MOST    36500

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
	if (strcmp(name, "count") == 0 && e->count > 0) {
		if (json_int(v, &e->count) != 0 || e->count < 1 || e->count > MINT_MOST)
			return call_refuse(
				c, ERR_BAD_REQUEST, name, "count must be from 1 to %d.", MINT_MOST);
		return 1;
	}
	if (strcmp(name, "secret") == 0) {
		e->secret = call_string(c, name, v, SECRET_MOST);
		if (e->secret == NULL || call_check_secret(c, name, e->secret, SECRET_LEAST) != 0)
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
	if (lists_check_token(e, p) != 0)
		return -1;
	if (e->count > 0 && (e->secret != NULL || e->has_sha256))
		return call_refuse(c, ERR_BAD_REQUEST,
			e->secret != NULL ? "secret" : "secret_sha256",
			"A secret can be brought along for one token only; sluice token import "
			"takes "
			"many.");
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
token_finish_change(struct edit *e)
{
	const struct token *t = e->record;
	struct project *p = arena_alloc(e->call->arena, sizeof *p);

	if (p == NULL)
		return call_no_memory(e->call);
	if (store_get(e->call->m->store, RECORD_PROJECT, t->project, p, &e->call->err) < 0)
		return -1;
	return lists_check_token(e, p); /* a project that is gone allows nothing anyway */
}

static int
token_finish(struct edit *e)
{
	struct call *c = e->call;
	struct token *t = e->record;
	/* the same over all attempts */
	int64_t now_ms = id_time_ms(c->q->once->request);

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
	if (e->before == NULL)
		return token_finish_new(e);
	return token_finish_change(e);
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
	if (store_usage_sum(c->m->store, BY_TOKEN, id, 0, WINDOW_FOREVER, &sum, &c->err) < 0)
		return -1;
	shape_text(out, "masked", t->masked);
	shape_int(out, "request_count", sum.counted);
	shape_time(out, "last_used_at", sum.last_ms);
	shape_money(out, "cost", sum.cost_nusd);
	shape_int(out, "cache_hit_count", 0);
	return 0;
}

/* In what a person sees of it; no pattern, and case does not count. */
static bool
has_text(const struct token *t, const char *text)
{
	char id[ID_TEXT_BYTES];

	id_text(record_prefix(RECORD_TOKEN), t->head.id, id);
	return strcasestr(t->label, text) != NULL || strcasestr(t->masked, text) != NULL ||
	       strcasestr(id, text) != NULL;
}

static bool
token_passes(const void *record, const struct filter *f)
{
	const struct token *t = record;

	return (id_is_none(f->project) || id_equal(f->project, t->project)) &&
	       (f->active < 0 || t->is_active == (f->active != 0)) &&
	       (f->text[0] == '\0' || has_text(t, f->text));
}

const struct kind kind_token = {
	.record = RECORD_TOKEN,
	.member = token_member,
	.finish = token_finish,
	.hides = token_hides,
	.extra = token_extra,
	.passes = token_passes,
};

/* ---- revoking ---- */

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

int
tokens_revoke_all(struct edit *e)
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

int
projects_revoke_tokens(struct call *c)
{
	struct edit e = { .call = c, .kind = &kind_project };
	struct project *p = arena_alloc(c->arena, sizeof *p);

	if (p == NULL)
		return call_no_memory(c);
	e.record = p;
	if (resource_find(c, RECORD_PROJECT, c->id, p) != 0 || tokens_revoke_all(&e) != 0 ||
		store_audit_add(
			c->m->store, call_change(c, "project.revoke_tokens"), c->id, &c->err) < 0)
		return -1;
	bytes_printf(&c->out->body,
		"{\"revoked_count\":%lld,\"already_revoked_count\":%lld,\"total_tokens\":%lld}",
		(long long)e.revoked, (long long)e.already_revoked, (long long)e.total);
	c->out->status = 200;
	return 0;
}

/* ---- another secret ---- */

struct rotation {
	struct call *call;
	int64_t grace_minutes;
};

static bool
rotation_member(void *ctx, const char *name, struct json_value v)
{
	struct rotation *r = ctx;

	if (strcmp(name, "grace_minutes") != 0) {
		call_refuse(r->call, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
		return false;
	}
	if (json_int(v, &r->grace_minutes) == 0 && r->grace_minutes >= 0 &&
		r->grace_minutes <= MINUTES_MOST)
		return true;
	call_refuse(r->call, ERR_BAD_REQUEST, name, "grace_minutes must be from 0 to %d.",
		MINUTES_MOST);
	return false;
}

static int
rotate_one(struct call *c, void *record, void *ctx)
{
	const struct rotation *r = ctx;
	const char *secret = c->q->once->secret;
	struct token *t = record;
	uint8_t sha256[SHA256_BYTES];

	hash_sha256(secret, strlen(secret), sha256);
	if (memcmp(t->sha256, sha256, sizeof sha256) == 0)
		return 0; /* an attempt before this one did it */
	if (!t->is_active)
		return call_refuse(c, ERR_CONFLICT, NULL,
			"This token is revoked; reactivate it first, or make another one.");
	memset(t->old_sha256, 0, sizeof t->old_sha256);
	t->old_until_ms = 0;
	if (r->grace_minutes > 0) {
		memcpy(t->old_sha256, t->sha256, sizeof t->old_sha256);
		t->old_until_ms = id_time_ms(c->q->once->request) + r->grace_minutes * 60000;
		if (store_note_rotation(c->m->store, t->head.id, t->old_until_ms, &c->err) != 0)
			return -1;
	}
	memcpy(t->sha256, sha256, sizeof t->sha256);
	token_mask(secret, strlen(secret), t->masked);
	return 1;
}

/* The secret before this one goes at once, even when its own grace is not over. */
int
tokens_rotate(struct call *c)
{
	struct token *t = arena_alloc(c->arena, sizeof *t);
	struct rotation r = { c, 0 };
	struct edit shown = { .call = c, .kind = &kind_token };

	if (t == NULL)
		return call_no_memory(c);
	if (call_body(c, rotation_member, &r) != 0 ||
		resource_find(c, RECORD_TOKEN, c->id, t) != 0 ||
		resource_change(c, RECORD_TOKEN, t->head.id, "token.rotate", rotate_one, &r, t) !=
			0)
		return -1;
	return resource_reply(c, 200, &kind_token, &shown, t);
}

/* ---- many at once ---- */

/* "student-{n}" with n in its place; a label without it is the same for all. */
static void
number_label(char *label, size_t room, const char *pattern, size_t n)
{
	const char *at = strstr(pattern, "{n}");
	int head = at == NULL ? (int)strlen(pattern) : (int)(at - pattern);

	if (at == NULL)
		snprintf(label, room, "%s", pattern);
	else
		snprintf(label, room, "%.*s%zu%s", head, pattern, n, at + 3);
}

static void
put_minted(struct call *c, const struct token *t, const char *secret)
{
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES], project[ID_TEXT_BYTES];

	id_text(record_prefix(RECORD_TOKEN), t->head.id, id);
	id_text(record_prefix(RECORD_PROJECT), t->project, project);
	bytes_puts(out, "{");
	shape_text(out, "id", id);
	shape_text(out, "token", secret);
	shape_text(out, "label", t->label);
	shape_text(out, "masked", t->masked);
	shape_text(out, "project_id", project);
	shape_time(out, "expires_at", t->expires_ms);
	bytes_puts(out, "}");
}

/* The secrets of a batch are drawn beforehand too, as manage.h says: all from one. */
int
tokens_mint(struct call *c)
{
	struct edit e = { .call = c, .kind = &kind_token, .count = 1 };
	struct token *t = arena_alloc(c->arena, sizeof *t), *all;
	char secret[TOKEN_BYTES];

	if (t == NULL)
		return call_no_memory(c);
	record_init(RECORD_TOKEN, t);
	e.record = t;
	if (resource_apply(&e) != 0)
		return -1;
	if ((all = arena_alloc(c->arena, (size_t)e.count * sizeof *all)) == NULL)
		return call_no_memory(c);
	for (size_t i = 0; i < (size_t)e.count; i++) {
		all[i] = *t;
		/* Timed, and in order: what id_timed() drew is the same but for the number. */
		all[i].head.id = c->q->once->record[0];
		all[i].head.id.b[6] = (uint8_t)(i >> 8);
		all[i].head.id.b[7] = (uint8_t)i;
		token_make_nth(c->q->once->session, i, secret);
		hash_sha256(secret, strlen(secret), all[i].sha256);
		token_mask(secret, strlen(secret), all[i].masked);
		memset(all[i].label, 0, sizeof all[i].label);
		number_label(all[i].label, sizeof all[i].label, t->label, i + 1);
	}
	if (store_create_many(c->m->store, RECORD_TOKEN, all, (size_t)e.count,
		    call_change(c, "token.mint"), &c->err) != 0)
		return -1;
	bytes_puts(&c->out->body, "{\"data\":[");
	for (size_t i = 0; i < (size_t)e.count; i++) {
		if (i > 0)
			bytes_puts(&c->out->body, ",");
		token_make_nth(c->q->once->session, i, secret);
		put_minted(c, &all[i], secret);
	}
	bytes_printf(&c->out->body, "],\"count\":%lld}", (long long)e.count);
	explicit_bzero(secret, sizeof secret);
	c->out->status = 201;
	return 0;
}

/* Which tokens a call is about, and what it found of them. */
struct many {
	struct call *call;
	bool has_ids, has_project, dry_run;
	struct id project;
	char label[NAME_BYTES]; /* a glob; "" any */
	bool is_expired;        /* only those that are */
	int64_t days;           /* only those revoked or expired for so long; 0: not asked */
	char reason[sizeof((struct token *)0)->revoked_reason];
	int64_t now_ms;
	/* found */
	struct token *tokens; /* room for MANY_MOST */
	size_t count;
	int64_t total, inactive;
	bool more;
	struct bytes unknown; /* ids without a token: "\"a\",\"b\"" */
};

static bool
one_id(void *ctx, const struct json_member *member)
{
	struct many *m = ctx;
	struct call *c = m->call;
	char text[MANAGE_ID_BYTES];
	struct id id;
	int rc = 0;

	if (json_string(member->value, text, sizeof text) < 0) {
		call_refuse(c, ERR_BAD_REQUEST, "ids", "ids must be a list of ids.");
		return false;
	}
	if (m->total++ >= MANY_MOST) {
		call_refuse(c, ERR_BAD_REQUEST, "ids", "At most %d ids a call.", MANY_MOST);
		return false;
	}
	if (id_parse(record_prefix(RECORD_TOKEN), text, &id) == 0)
		rc = store_get(c->m->store, RECORD_TOKEN, id, &m->tokens[m->count], &c->err);
	if (rc < 0)
		return false;
	if (rc == 0) {
		bytes_puts(&m->unknown, m->unknown.len > 0 ? "," : "");
		bytes_json(&m->unknown, span_of(text));
	} else if (!m->tokens[m->count].is_active) {
		m->inactive++;
	} else {
		m->count++;
	}
	return true;
}

static bool
take_ids(struct many *m, struct json_value v)
{
	struct call *c = m->call;

	m->has_ids = true;
	if (v.type == JSON_ARRAY && json_each_element(v.raw, one_id, m, NULL) == 0)
		return c->err.code == ERR_NONE;
	if (c->err.code == ERR_NONE)
		call_refuse(c, ERR_BAD_REQUEST, "ids", "ids must be a list of ids.");
	return false;
}

static bool
many_text(struct many *m, const char *name, struct json_value v, char *out, size_t room)
{
	const char *text = call_string(m->call, name, v, room - 1);

	if (text == NULL)
		return false;
	snprintf(out, room, "%s", text);
	return true;
}

/* What both calls take. */
static int
many_member(struct many *m, const char *name, struct json_value v)
{
	struct call *c = m->call;
	char text[MANAGE_ID_BYTES];

	if (strcmp(name, "dry_run") == 0)
		return call_bool(c, name, v, &m->dry_run) == 0 ? 1 : -1;
	if (strcmp(name, "project_id") == 0) {
		m->has_project = true;
		return many_text(m, name, v, text, sizeof text) &&
				       resource_refer(c, RECORD_PROJECT, name, text, &m->project) ==
					       0
			       ? 1
			       : -1;
	}
	if (strcmp(name, "label") == 0)
		return many_text(m, name, v, m->label, sizeof m->label) ? 1 : -1;
	return 0;
}

static bool
revoke_many_member(void *ctx, const char *name, struct json_value v)
{
	struct many *m = ctx;
	int rc = many_member(m, name, v);

	if (rc != 0)
		return rc > 0;
	if (strcmp(name, "ids") == 0)
		return take_ids(m, v);
	if (strcmp(name, "is_expired") == 0)
		return call_bool(m->call, name, v, &m->is_expired) == 0;
	if (strcmp(name, "reason") == 0)
		return many_text(m, name, v, m->reason, sizeof m->reason);
	call_refuse(m->call, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
	return false;
}

static bool
is_one_of(const struct many *m, const struct token *t)
{
	return (!m->has_project || id_equal(m->project, t->project)) &&
	       (m->label[0] == '\0' || glob_match(m->label, span_of(t->label))) &&
	       (!m->is_expired || (t->expires_ms != 0 && t->expires_ms <= m->now_ms));
}

static bool
keep(struct many *m, const struct token *t)
{
	if (m->count == MANY_MOST) {
		m->more = true;
		return false;
	}
	m->tokens[m->count++] = *t;
	return true;
}

static bool
find_active(void *ctx, const void *record)
{
	struct many *m = ctx;
	const struct token *t = record;

	if (!is_one_of(m, t))
		return true;
	if (t->is_active && !keep(m, t))
		return false;
	m->total++;
	m->inactive += !t->is_active;
	return true;
}

static int
many_begin(struct many *m, struct call *c)
{
	*m = (struct many){ .call = c, .now_ms = clock_wall_ms() };
	m->unknown = BYTES_LIMIT(MANY_MOST * (size_t)MANAGE_ID_BYTES);
	m->tokens = arena_alloc(c->arena, MANY_MOST * sizeof *m->tokens);
	return m->tokens == NULL ? call_no_memory(c) : 0;
}

static int
find_many_to_revoke(struct many *m)
{
	struct call *c = m->call;
	bool filtered;

	if (call_body(c, revoke_many_member, m) != 0)
		return -1;
	filtered = m->has_project || m->label[0] != '\0' || m->is_expired;
	if (filtered == m->has_ids)
		return call_refuse(c, ERR_BAD_REQUEST, "ids",
			"Say which: either ids, or one or more of project_id, label and "
			"is_expired.");
	if (m->has_ids)
		return 0;
	return store_each(c->m->store, RECORD_TOKEN, ID_NONE, find_active, m, &c->err) < 0 ? -1 : 0;
}

int
tokens_revoke_many(struct call *c)
{
	struct many *m = arena_alloc(c->arena, sizeof *m);
	int64_t revoked = 0;
	int rc;

	if (m == NULL)
		return call_no_memory(c);
	rc = many_begin(m, c);
	if (rc == 0)
		rc = find_many_to_revoke(m);
	for (size_t i = 0; rc == 0 && !m->dry_run && i < m->count; i++)
		rc = resource_change(c, RECORD_TOKEN, m->tokens[i].head.id, "token.revoke",
			revoke_one, m->reason, &m->tokens[i]);
	revoked = (int64_t)m->count;
	if (rc == 0)
		bytes_printf(&c->out->body,
			"{\"dry_run\":%s,\"revoked_count\":%lld,\"already_revoked_count\":%lld,"
			"\"total_tokens\":%lld,\"more\":%s,\"not_found\":[%s]}",
			m->dry_run ? "true" : "false", (long long)revoked, (long long)m->inactive,
			(long long)m->total, m->more ? "true" : "false",
			m->unknown.len > 0 ? m->unknown.at : "");
	bytes_free(&m->unknown);
	c->out->status = 200;
	return rc;
}

/* ---- cleaning away ---- */

static bool
cleanup_member(void *ctx, const char *name, struct json_value v)
{
	struct many *m = ctx;
	int rc = many_member(m, name, v);

	if (rc != 0)
		return rc > 0;
	if (strcmp(name, "days") != 0) {
		call_refuse(m->call, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
		return false;
	}
	if (json_int(v, &m->days) == 0 && m->days >= 1 && m->days <= DAYS_MOST)
		return true;
	call_refuse(m->call, ERR_BAD_REQUEST, name, "days must be from 1 to %d.", DAYS_MOST);
	return false;
}

/* Since when it is of no use: the earlier of revoked and expired; 0: it is of use. */
static int64_t
dead_since(const struct token *t, int64_t now_ms, const char **why)
{
	int64_t expired = t->expires_ms != 0 && t->expires_ms <= now_ms ? t->expires_ms : 0;
	int64_t revoked = t->is_active ? 0 : t->revoked_ms;

	*why = revoked != 0 && (expired == 0 || revoked < expired) ? "revoked" : "expired";
	return revoked != 0 && (expired == 0 || revoked < expired) ? revoked : expired;
}

static bool
is_long_dead(const struct many *m, const struct token *t)
{
	const char *why;
	int64_t since = dead_since(t, m->now_ms, &why);

	return since != 0 && since <= m->now_ms - m->days * 86400000;
}

static bool
find_dead(void *ctx, const void *record)
{
	struct many *m = ctx;
	const struct token *t = record;

	return !is_one_of(m, t) || !is_long_dead(m, t) || keep(m, t);
}

static int
put_dead(struct many *m, const struct token *t)
{
	struct call *c = m->call;
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES], project[ID_TEXT_BYTES];
	struct usage_sum sum;
	const char *why;
	int64_t since = dead_since(t, m->now_ms, &why);

	id_text(record_prefix(RECORD_TOKEN), t->head.id, id);
	id_text(record_prefix(RECORD_PROJECT), t->project, project);
	if (store_usage_sum(c->m->store, BY_TOKEN, id, 0, WINDOW_FOREVER, &sum, &c->err) < 0)
		return -1;
	if (out->at[out->len - 1] == '}')
		bytes_puts(out, ",");
	bytes_puts(out, "{");
	shape_text(out, "id", id);
	shape_text(out, "label", t->label);
	shape_text(out, "masked", t->masked);
	shape_text(out, "project_id", project);
	shape_text(out, "why", why);
	shape_time(out, "since", since);
	shape_int(out, "request_count", sum.counted);
	shape_money(out, "cost", sum.cost_nusd);
	bytes_puts(out, "}");
	return 0;
}

/* Deletes it unless it came back to life meanwhile; *gone says whether this call did. */
static int
clean_one(struct many *m, const struct token *t, struct token *now, bool *gone)
{
	struct call *c = m->call;
	int rc = store_get(c->m->store, RECORD_TOKEN, t->head.id, now, &c->err);

	*gone = false;
	if (rc < 0)
		return -1;
	if (rc == 0 || !is_long_dead(m, now))
		return 0;
	*gone = true;
	return store_delete(
		c->m->store, RECORD_TOKEN, t->head.id, call_change(c, "token.cleanup"), &c->err);
}

/* Only the tokens go, and soon the limits that are for one of them alone: their requests and sums
 * stay under their ids. */
int
tokens_cleanup(struct call *c)
{
	struct many *m = arena_alloc(c->arena, sizeof *m);
	struct token *now = arena_alloc(c->arena, sizeof *now);
	struct err later = { 0 };
	int64_t count = 0;

	if (m == NULL || now == NULL)
		return call_no_memory(c);
	if (many_begin(m, c) != 0)
		return -1;
	m->dry_run = true; /* unless it is said */
	if (call_body(c, cleanup_member, m) != 0)
		return -1;
	if (m->days == 0)
		return call_refuse(c, ERR_BAD_REQUEST, "days",
			"days is required: how long a token must be revoked or expired.");
	if (store_each(c->m->store, RECORD_TOKEN, ID_NONE, find_dead, m, &c->err) < 0)
		return -1;
	bytes_puts(&c->out->body, "{\"data\":[");
	for (size_t i = 0; i < m->count; i++) {
		bool gone = m->dry_run;

		if (!m->dry_run && clean_one(m, &m->tokens[i], now, &gone) != 0)
			return -1;
		if (gone && put_dead(m, &m->tokens[i]) != 0)
			return -1;
		count += gone;
	}
	if (count > 0 && !m->dry_run)
		(void)store_tidy(c->m->store, &later); /* else a clerk does it */
	bytes_printf(&c->out->body, "],\"dry_run\":%s,\"deleted_count\":%lld,\"more\":%s}",
		m->dry_run ? "true" : "false", (long long)count, m->more ? "true" : "false");
	c->out->status = 200;
	return 0;
}

/* ---- the endpoints that all kinds have ---- */

int
tokens_list(struct call *c)
{
	return resource_list(c, &kind_token);
}

int
tokens_get(struct call *c)
{
	return resource_get(c, &kind_token);
}

int
tokens_post(struct call *c)
{
	return resource_post(c, &kind_token);
}

int
tokens_patch(struct call *c)
{
	return resource_patch(c, &kind_token);
}
