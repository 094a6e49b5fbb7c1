/*
 * keys.c - providers' keys over the API, and what a person does to one: tries it again, gives it another
 * secret, takes it out of use.
 *
 * Its id, counters and history stay whatever becomes of its secret.  A key that is revoked has none any
 * more, and comes back by a new one alone.
 */
#include "board/target.h"
#include "manage/manage-int.h"
#include "route/standing.h"

#include <stdio.h>
#include <string.h>

#define REASON_BYTES sizeof(((struct key *)0)->disabled_reason)

static void
wipe_text(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
}

/* ---- the kind ---- */

static bool
key_passes(const void *record, const struct filter *f)
{
	const struct key *k = record;

	return (id_is_none(f->upstream) || id_equal(f->upstream, k->upstream)) &&
	       (id_is_none(f->project) || id_equal(f->project, k->project)) &&
	       (f->active < 0 || k->is_enabled == (f->active != 0));
}

static int
key_member(struct edit *e, const char *name, struct json_value v)
{
	if (strcmp(name, "secret") != 0)
		return 0;
	e->secret = call_string(e->call, name, v, AUTH_GIVEN_MOST);
	return e->secret != NULL ? 1 : -1; /* key_finish() knows what it has to be */
}

/* What the workers know of a key's failures was about the old secret. */
static void
forget_failures(struct call *c, struct id key)
{
	standing_renew(c->m->board, key);
}

static int
key_finish(struct edit *e)
{
	struct key *k = e->record;
	int rc;

	if (k->is_enabled)
		k->disabled_reason[0] = '\0';
	if (rules_check(e) != 0)
		return -1;
	if (k->is_enabled && e->secret == NULL && e->before != NULL && k->secret.len == 0)
		return call_refuse(e->call, ERR_CONFLICT, "is_enabled",
			"This key was revoked and has no secret any more; give it a new one.");
	if (e->secret == NULL)
		return e->before != NULL ? 0
					 : call_refuse(e->call, ERR_BAD_REQUEST, "secret",
						   "secret is required.");
	rc = auth_seal_key(e->call, k, e->secret);
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
	struct board_target *b = board_target(c->m->board, k->head.id);
	int64_t now_ms = board_now_ms(c->m->board);
	int64_t rest_ms = b != NULL ? b->rest_until_ms : 0;
	int64_t failures = b != NULL ? b->failures : 0;
	unsigned reason = b != NULL ? (unsigned)(b->standing >> 16) : 0;
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

/* ---- the endpoints of every kind ---- */

int
keys_list(struct call *c)
{
	return resource_list(c, &kind_key);
}

int
keys_get(struct call *c)
{
	return resource_get(c, &kind_key);
}

int
keys_post(struct call *c)
{
	return resource_post(c, &kind_key);
}

int
keys_patch(struct call *c)
{
	return resource_patch(c, &kind_key);
}

int
keys_delete(struct call *c)
{
	struct key *k = arena_alloc(c->arena, sizeof *k);

	if (k == NULL)
		return call_no_memory(c);
	if (store_find(c->m->store, RECORD_KEY, c->id, k, &c->err) > 0 &&
		refuse_when_named(c, RECORD_KEY, k->head.id) != 0)
		return -1;
	return c->err.code != ERR_NONE ? -1 : resource_delete(c, &kind_key);
}

/* ---- what a person does ---- */

/* One of these, as the endpoint allows; the others stay NULL. */
struct asked {
	struct call *call;
	bool takes_reason;
	char *reason, *secret;
};

static bool
asked_member(void *ctx, const char *name, struct json_value v)
{
	struct asked *a = ctx;

	if (a->takes_reason && strcmp(name, "reason") == 0)
		return v.type == JSON_NULL ||
		       (a->reason = call_string(a->call, name, v, REASON_BYTES - 1)) != NULL;
	if (!a->takes_reason && strcmp(name, "secret") == 0)
		return (a->secret = call_string(a->call, name, v, AUTH_GIVEN_MOST)) != NULL;
	call_refuse(a->call, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
	return false;
}

static int
read_reason(struct call *c, const char **reason)
{
	struct asked a = { .call = c, .takes_reason = true };

	if (call_body(c, asked_member, &a) != 0)
		return -1;
	*reason = a.reason != NULL ? a.reason : "";
	for (const char *p = *reason; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return call_refuse(c, ERR_BAD_REQUEST, "reason",
				"reason may hold no control characters.");
	return 0;
}

static struct key *
find_key(struct call *c)
{
	struct key *k = arena_alloc(c->arena, sizeof *k);

	if (k == NULL)
		call_no_memory(c);
	return k != NULL && resource_find(c, RECORD_KEY, c->id, k) == 0 ? k : NULL;
}

static int
enable(struct call *c, void *record, void *ctx)
{
	struct key *k = record;

	(void)ctx;
	if (k->secret.len == 0)
		return call_refuse(c, ERR_CONFLICT, NULL,
			"This key was revoked and has no secret any more; rotate it to give it a "
			"new one.");
	if (k->is_enabled)
		return 0;
	k->is_enabled = true;
	memset(k->disabled_reason, 0, sizeof k->disabled_reason);
	return 1;
}

static int
disable(struct call *c, void *record, void *reason)
{
	struct key *k = record;

	(void)c;
	if (!k->is_enabled)
		return 0;
	k->is_enabled = false;
	memset(k->disabled_reason, 0, sizeof k->disabled_reason);
	snprintf(k->disabled_reason, sizeof k->disabled_reason, "%s", (const char *)reason);
	return 1;
}

static int
revoke(struct call *c, void *record, void *reason)
{
	struct key *k = record;
	const char *why = reason;

	(void)c;
	if (k->secret.len == 0)
		return 0;
	k->is_enabled = false;
	memset(&k->secret, 0, sizeof k->secret);
	memset(k->disabled_reason, 0, sizeof k->disabled_reason);
	snprintf(k->disabled_reason, sizeof k->disabled_reason, "revoked%s%.110s",
		why[0] != '\0' ? ": " : "", why);
	return 1;
}

static int
rotate(struct call *c, void *record, void *secret)
{
	struct key *k = record;

	if (auth_seal_key(c, k, secret) != 0)
		return -1;
	if (strncmp(k->disabled_reason, "revoked", 7) == 0) {
		k->is_enabled = true;
		memset(k->disabled_reason, 0, sizeof k->disabled_reason);
	}
	return 1;
}

static int
change_key(struct call *c, const char *action, int (*fn)(struct call *c, void *record, void *ctx),
	const char *words)
{
	struct key *k = find_key(c);

	if (k == NULL ||
		resource_change(c, RECORD_KEY, k->head.id, action, fn, (void *)words, k) != 0)
		return -1;
	if (k->is_enabled)
		forget_failures(c, k->head.id);
	else
		(void)standing_set(
			c->m->board, k->head.id, TARGET_DISABLED, k->disabled_reason, NULL);
	return resource_reply(c, 200, &kind_key, NULL, k);
}

int
keys_enable(struct call *c)
{
	return change_key(c, "key.enable", enable, "");
}

int
keys_disable(struct call *c)
{
	const char *reason;

	return read_reason(c, &reason) != 0 ? -1 : change_key(c, "key.disable", disable, reason);
}

int
keys_revoke(struct call *c)
{
	const char *reason;

	return read_reason(c, &reason) != 0 ? -1 : change_key(c, "key.revoke", revoke, reason);
}

int
keys_rotate(struct call *c)
{
	struct asked a = { .call = c };
	int rc = call_body(c, asked_member, &a);

	if (rc == 0 && a.secret == NULL)
		rc = call_refuse(c, ERR_BAD_REQUEST, "secret", "secret is required.");
	if (rc == 0)
		rc = change_key(c, "key.rotate", rotate, a.secret);
	wipe_text(a.secret);
	return rc;
}
