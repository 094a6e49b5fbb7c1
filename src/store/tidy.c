/*
 * tidy.c - records that have had their time: secrets out of their grace, limits of tokens that are
 * gone, grants that ended long ago, signatures.  A little at each call, from where the last one came to.
 */
#include "store/store-int.h"
#include "store/vault.h"

#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MOST     5000              /* records of a kind in one call */
#define CHANGES_MOST  64                /* of each sort in one call */
#define SWEEPS_MOST   16                /* of the vault, VAULT_SWEEP_MOST each */
#define GRANT_KEPT_MS (30LL * 86400000) /* after its end, to be looked up */

/* Names of the small values that tell when an old secret's time is up, soonest first. */
#define ROTATED_VALUE "rotated/"
#define ROTATED_BYTES 64

static const struct store_change *
change_of(const char *action, struct store_change *c)
{
	*c = (struct store_change){ .actor = "sluice", .action = action, .address = "" };
	return c;
}

/* ---- old secrets ---- */

int
store_note_rotation(struct store *s, struct id token, int64_t until_ms, struct err *err)
{
	char id[ID_TEXT_BYTES], name[ROTATED_BYTES];

	id_text(record_prefix(RECORD_TOKEN), token, id);
	(void)snprintf(name, sizeof name, ROTATED_VALUE "%015lld/%s", (long long)until_ms, id);
	return store_value_put(s, name, "1", 1, err);
}

struct due {
	int64_t now_ms;
	size_t count;
	char names[CHANGES_MOST][ROTATED_BYTES];
};

static bool
collect_due(void *ctx, const char *name, struct span value)
{
	struct due *d = ctx;

	(void)value;
	if (strlen(name) >= sizeof d->names[0] ||
		strtoll(name + strlen(ROTATED_VALUE), NULL, 10) > d->now_ms)
		return false;
	strcpy(d->names[d->count++], name);
	return d->count < CHANGES_MOST;
}

/* 0 done or nothing to do, 1 changed by somebody meanwhile: the next call does it, -1. */
static int
forget_old_secret(struct store *s, const char *name, int64_t now_ms, struct err *err)
{
	const char *slash = strrchr(name, '/');
	struct token t;
	struct id id;
	int rc;

	if (slash == NULL || id_parse(record_prefix(RECORD_TOKEN), slash + 1, &id) != 0)
		return 0;
	rc = store_get(s, RECORD_TOKEN, id, &t, err);
	if (rc <= 0 || t.old_until_ms == 0 || t.old_until_ms > now_ms)
		return rc < 0 ? -1 : 0; /* rotated again: that has a note of its own */
	memset(t.old_sha256, 0, sizeof t.old_sha256);
	t.old_until_ms = 0;
	rc = store_update(s, RECORD_TOKEN, &t, t.head.version, NULL, err);
	if (rc != 0 && (err->code == ERR_STALE || err->code == ERR_NOT_FOUND)) {
		*err = (struct err){ 0 };
		return 1;
	}
	return rc;
}

static int
tidy_secrets(struct store *s, int64_t now_ms, struct err *err)
{
	struct due d = { .now_ms = now_ms };
	int rc = store_value_each(s, ROTATED_VALUE, collect_due, &d, err);

	for (size_t i = 0; rc >= 0 && i < d.count; i++) {
		rc = forget_old_secret(s, d.names[i], now_ms, err);
		if (rc == 0)
			rc = store_value_delete(s, d.names[i], err);
	}
	return rc < 0 ? -1 : 0;
}

/* ---- limits and grants ---- */

/* What one call has found of a kind, to be looked at outside the walk. */
struct found {
	int64_t now_ms;
	size_t looked, count;
	struct id last;
	struct {
		struct id id, needs; /* needs: a record without which it is for nothing */
		bool ended;
	} at[LOOK_MOST];
};

static bool
look_at_limit(void *ctx, const void *record)
{
	struct found *f = ctx;
	const struct limit *l = record;
	struct id token;

	f->last = l->head.id;
	if (id_parse(record_prefix(RECORD_TOKEN), l->scope[DIMENSION_TOKEN], &token) == 0) {
		f->at[f->count].id = l->head.id;
		f->at[f->count].needs = token;
		f->at[f->count++].ended = false;
	}
	return ++f->looked < LOOK_MOST;
}

static bool
look_at_grant(void *ctx, const void *record)
{
	struct found *f = ctx;
	const struct grant *g = record;

	f->last = g->head.id;
	f->at[f->count].id = g->head.id;
	f->at[f->count].needs = g->limit;
	f->at[f->count++].ended = g->until_ms != 0 && g->until_ms < f->now_ms - GRANT_KEPT_MS;
	return ++f->looked < LOOK_MOST;
}

static int
is_there(struct store *s, enum record_kind kind, struct id id, struct err *err)
{
	union {
		struct token token;
		struct limit limit;
	} room;

	return store_get(s, kind, id, &room, err);
}

static int
tidy_kind(struct store *s, enum record_kind kind, enum record_kind needs, const char *action,
	bool (*look)(void *ctx, const void *record), int64_t now_ms, struct id *after,
	struct err *err)
{
	struct found *f = calloc(1, sizeof *f);
	struct store_change change;
	int rc, changes = 0;

	if (f == NULL)
		return err_set(err, ERR_MEMORY, "no memory to tidy up");
	f->now_ms = now_ms;
	rc = store_each(s, kind, *after, look, f, err);
	for (size_t i = 0; rc >= 0 && i < f->count && changes < CHANGES_MOST; i++) {
		if (!f->at[i].ended && (rc = is_there(s, needs, f->at[i].needs, err)) != 0)
			continue;
		rc = store_delete(s, kind, f->at[i].id, change_of(action, &change), err);
		changes++;
		if (rc != 0 && err->code == ERR_NOT_FOUND) { /* somebody else did */
			*err = (struct err){ 0 };
			rc = 0;
		}
	}
	/* Where more is left to delete it begins at the same place again. */
	if (changes < CHANGES_MOST)
		*after = f->looked == LOOK_MOST ? f->last : ID_NONE;
	free(f);
	return rc < 0 ? -1 : 0;
}

/* ---- signatures ---- */

static int
tidy_vault(struct store *s, int64_t now_ms, struct err *err)
{
	int swept = VAULT_SWEEP_MOST;

	for (int i = 0; i < SWEEPS_MOST && swept == VAULT_SWEEP_MOST; i++)
		swept = store_vault_sweep(s, now_ms, err);
	return swept < 0 ? -1 : 0;
}

int
store_tidy(struct store *s, struct err *err)
{
	int64_t now_ms = clock_wall_ms();
	int rc;

	if (!store_elect(s, GATE_EXPIRE))
		return 0;
	rc = tidy_secrets(s, now_ms, err);
	if (rc == 0)
		rc = tidy_kind(s, RECORD_LIMIT, RECORD_TOKEN, "limit.cleanup", look_at_limit,
			now_ms, &s->tidy.limits, err);
	if (rc == 0)
		rc = tidy_kind(s, RECORD_GRANT, RECORD_LIMIT, "grant.cleanup", look_at_grant,
			now_ms, &s->tidy.grants, err);
	if (rc == 0)
		rc = tidy_vault(s, now_ms, err);
	store_resign(s, GATE_EXPIRE);
	return rc;
}
