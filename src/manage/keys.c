/*
 * keys.c - providers' keys over the API, and what a person does to one: tries it again, gives it another
 * secret, takes it out of use.
 *
 * Its id, counters and history stay whatever becomes of its secret.  A key that is revoked has none any
 * more, and comes back by a new one alone.
 */
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

/* ?state=: one of a key's states, or "troubled": all but available. */
int
keys_read_filter(struct call *c, struct filter *f)
{
	const unsigned all = (1u << TARGET__STATES) - 1;
	char name[16];
	int n = call_query(c, "state", name, sizeof name);

	f->board = c->m->board;
	if (n <= 0)
		return n;
	if (strcmp(name, "troubled") == 0)
		f->states = all & ~(1u << TARGET_AVAILABLE), f->or_open = true;
	for (int i = 0; i < TARGET__STATES; i++)
		if (strcmp(name, standing_state_name((enum target_state)i)) == 0)
			f->states = 1u << i;
	if (f->states == 0)
		return call_refuse(c, ERR_BAD_REQUEST, "state",
			"state is available, throttled, exhausted, recovering, disabled, invalid "
			"or troubled.");
	return 0;
}

static bool
is_in_state(const struct key *k, const struct filter *f)
{
	struct standing st;

	standing_state(f->board, board_target_find(f->board, k->head.id), k->is_enabled,
		BREAKER_AUTO, &st);
	return (f->states & 1u << st.state) != 0 || (f->or_open && st.breaker != STANDING_CLOSED);
}

static bool
names_it(const struct key *k, const char *text)
{
	char id[ID_TEXT_BYTES];

	id_text("key_", k->head.id, id);
	return strcasestr(k->label, text) != NULL || strstr(k->masked, text) != NULL ||
	       strcmp(id, text) == 0;
}

static bool
key_passes(const void *record, const struct filter *f)
{
	const struct key *k = record;

	return (f->states == 0 || is_in_state(k, f)) &&
	       (f->text[0] == '\0' || names_it(k, f->text)) &&
	       (id_is_none(f->upstream) || id_equal(f->upstream, k->upstream)) &&
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

static void
keep_out(struct call *c, struct id key, const char *why)
{
	struct err ignored = { 0 };

	(void)standing_set(c->m->board, key, TARGET_DISABLED, why, &ignored);
}

#define NEW_SECRET "its secret is a new one"

/* The board after the record.  anew: why what is known of it does not count any more; NULL: it does.
 * True: it begins anew. */
static bool
follow(struct call *c, const struct key *k, const struct key *before, const char *anew)
{
	if (anew == NULL && before != NULL && !before->is_enabled)
		anew = "enabled";
	if (k->is_enabled)
		return anew != NULL && standing_renew(c->m->board, k->head.id, anew);
	keep_out(c, k->head.id, k->disabled_reason);
	return false;
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

	if (before != NULL || !k->is_enabled)
		(void)follow(e->call, k, before,
			before != NULL && e->secret != NULL ? NEW_SECRET : NULL);
	return 0;
}

static int
key_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct key *k = record;

	(void)f;
	shape_text(out, "upstream_name", resource_name(c, RECORD_UPSTREAM, k->upstream));
	shape_forecast(c, k->head.id, out);
	return key_put_standing(c, k, out);
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

static bool
no_member(void *ctx, const char *name, struct json_value v)
{
	(void)v;
	call_refuse(ctx, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
	return false;
}

static const char *
key_text(struct call *c, const struct key *k)
{
	char *text = arena_alloc(c->arena, ID_TEXT_BYTES);

	if (text == NULL)
		return "";
	id_text("key_", k->head.id, text);
	return text;
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
	const char *words, const char *anew)
{
	struct key *k = find_key(c), *before = arena_alloc(c->arena, sizeof *before);
	bool renewed;

	if (k == NULL)
		return -1;
	if (before == NULL)
		return call_no_memory(c);
	*before = *k;
	if (resource_change(c, RECORD_KEY, k->head.id, action, fn, (void *)words, k) != 0)
		return -1;
	renewed = follow(c, k, before, anew);
	if (renewed && k->head.version == before->head.version && /* the record says so already */
		store_audit_add(c->m->store, call_change(c, action), key_text(c, k), &c->err) != 0)
		return -1;
	return resource_reply(c, 200, &kind_key, NULL, k);
}

int
keys_enable(struct call *c)
{
	return change_key(c, "key.enable", enable, "", "enabled");
}

int
keys_disable(struct call *c)
{
	const char *reason;

	return read_reason(c, &reason) != 0 ? -1
					    : change_key(c, "key.disable", disable, reason, NULL);
}

int
keys_revoke(struct call *c)
{
	const char *reason;

	return read_reason(c, &reason) != 0 ? -1
					    : change_key(c, "key.revoke", revoke, reason, NULL);
}

int
keys_rotate(struct call *c)
{
	struct asked a = { .call = c };
	int rc = call_body(c, asked_member, &a);

	if (rc == 0 && a.secret == NULL)
		rc = call_refuse(c, ERR_BAD_REQUEST, "secret", "secret is required.");
	if (rc == 0)
		rc = change_key(c, "key.rotate", rotate, a.secret, NEW_SECRET);
	wipe_text(a.secret);
	return rc;
}

int
keys_retry(struct call *c)
{
	struct key *k = find_key(c);

	if (k == NULL || call_body(c, no_member, c) != 0)
		return -1;
	if (!k->is_enabled)
		return call_refuse(
			c, ERR_CONFLICT, NULL, "This key is disabled; enable it instead.");
	if (standing_retry(c->m->board, k->head.id, SPAN_NONE, &c->err) < 0 ||
		key_retry_parts(c, k->head.id) != 0 ||
		store_audit_add(
			c->m->store, call_change(c, "key.retry"), key_text(c, k), &c->err) != 0)
		return -1;
	return resource_reply(c, 200, &kind_key, NULL, k);
}
