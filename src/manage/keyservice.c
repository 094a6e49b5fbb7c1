/*
 * keyservice.c - the key service: other programs ask for the key that a request would use next, and tell
 * when one has to rest.
 *
 * Errors have `detail` beside our own object, where the callers of such services look for it.
 */
#include "manage/manage-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "board/target.h"
#include "conf/conf.h"
#include "route/route.h"
#include "route/standing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REST_DEFAULT_MS (INT64_C(14400) * 1000)
#define REST_MOST_MS    (INT64_C(366) * 24 * 3600 * 1000)
#define KEY_MOST        4096

/* ---- the next key ---- */

static int
none_available(struct call *c)
{
	int64_t wait_ms = c->err.retry_boot_ms == 0 ? 0 : c->err.retry_boot_ms - clock_boot_ms();
	struct bytes *out = &c->out->body;

	if (wait_ms > 0)
		call_line(c, "Retry-After", "%" PRId64, (wait_ms + 999) / 1000);
	bytes_puts(out, "{\"detail\":");
	bytes_json(out, span_of(err_public(&c->err)));
	bytes_printf(out, ",\"error\":{\"code\":\"%s\",\"message\":", err_name(c->err.code));
	bytes_json(out, span_of(err_public(&c->err)));
	bytes_puts(out, ",\"request_id\":");
	bytes_json(out, span_of(c->request_id));
	bytes_puts(out, "}}");
	c->out->status = err_status(c->err.code);
	memset(&c->err, 0, sizeof c->err);
	return 0;
}

static int
reply_key(struct call *c, const struct route_candidate *found, bool reveal)
{
	struct key *k = arena_alloc(c->arena, sizeof *k);
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES], upstream[ID_TEXT_BYTES];

	if (k == NULL)
		return call_no_memory(c);
	if (found->key == NULL)
		return call_refuse(c, ERR_CONFLICT, NULL, "The upstream %s needs no key.",
			found->upstream->name);
	if (store_get(c->m->store, RECORD_KEY, found->key->id, k, &c->err) <= 0)
		return c->err.code != ERR_NONE ? -1
					       : call_refuse(c, ERR_CONFLICT, NULL,
							 "The key was deleted just now.");
	id_text("key_", k->head.id, id);
	id_text("up_", found->upstream->head.id, upstream);
	if (reveal && store_audit_add(c->m->store, call_change(c, "key.reveal"), id, &c->err) < 0)
		return -1;
	bytes_puts(out, "{\"key\":");
	bytes_json(out, span_of(reveal ? found->key->secret : k->masked));
	shape_text(out, "id", id);
	shape_text(out, "label", k->label);
	shape_text(out, "upstream_id", upstream);
	shape_text(out, "upstream_name", found->upstream->name);
	bytes_printf(out, ",\"is_masked\":%s}", reveal ? "false" : "true");
	call_line(c, "Cache-Control", "no-store");
	c->out->status = 200;
	return 0;
}

int
key_service_next(struct call *c)
{
	char upstream[NAME_BYTES], model[MODEL_BYTES], reveal[8];
	const struct snapshot *p;
	struct route_table *t;
	struct route_plan *plan = arena_alloc(c->arena, sizeof *plan);
	struct route_ask ask = { .is_conversation = true };
	int rc;

	if (plan == NULL)
		return call_no_memory(c);
	if (call_query(c, "upstream", upstream, sizeof upstream) < 0 ||
		call_query(c, "model", model, sizeof model) < 0 ||
		call_query(c, "reveal", reveal, sizeof reveal) < 0)
		return -1;
	if (strcmp(reveal, "1") == 0 && !c->m->conf->key_service_reveal)
		return call_refuse(c, ERR_FORBIDDEN, "reveal",
			"Keys are shown masked; the setting key_service_reveal allows more.");
	if ((p = providers_snapshot(c)) == NULL ||
		(t = route_table_new(c->m->board, p, &c->err)) == NULL)
		return -1;
	ask.upstream = span_of(upstream);
	ask.model = span_of(model);
	if (route_plan(t, &ask, plan, &c->err) != 0)
		rc = c->err.code == ERR_NO_KEY_AVAILABLE ? none_available(c) : -1;
	else
		rc = reply_key(c, &plan->candidate[0], strcmp(reveal, "1") == 0);
	route_table_free(t);
	return rc;
}

/* ---- a key that is to rest ---- */

struct wish {
	struct call *call;
	char *key;
	int64_t until_ms; /* wall clock; 0: as usual */
};

static bool
take_member(void *ctx, const char *name, struct json_value v)
{
	struct wish *w = ctx;

	if (strcmp(name, "key") == 0) {
		w->key = call_string(w->call, name, v, KEY_MOST);
		return w->key != NULL;
	}
	if (strcmp(name, "reset_time_ms") == 0) {
		/* what cannot be read counts as not given, as callers pass on what they were told */
		if (json_int(v, &w->until_ms) != 0)
			w->until_ms = 0;
		return true;
	}
	(void)call_refuse(w->call, ERR_BAD_REQUEST, name,
		"There is no member '%s' here; key and reset_time_ms are.", name);
	return false;
}

struct search {
	const char *masked;
	struct key found;
	int count;
};

static bool
by_mask(void *ctx, const void *record)
{
	struct search *s = ctx;
	const struct key *k = record;

	if (strcmp(k->masked, s->masked) == 0) {
		s->found = *k;
		s->count++;
	}
	return true;
}

/* By id, by its masked text, or by the key itself, which is compared in memory alone. */
static int
find_key(struct call *c, const char *text, struct key *out)
{
	struct search *s = arena_alloc(c->arena, sizeof *s);
	const struct snapshot *p;
	size_t len = strlen(text);
	struct id id;

	if (s == NULL)
		return call_no_memory(c);
	if (id_parse("key_", text, &id) == 0)
		return resource_find(c, RECORD_KEY, text, out);
	s->masked = text;
	if (store_each(c->m->store, RECORD_KEY, ID_NONE, by_mask, s, &c->err) < 0)
		return -1;
	if (s->count > 1)
		return call_refuse(c, ERR_CONFLICT, "key",
			"%d keys are shown like that; name one by its id.", s->count);
	if (s->count == 1) {
		*out = s->found;
		return 0;
	}
	if ((p = providers_snapshot(c)) == NULL)
		return -1;
	for (size_t i = 0; i < p->key_count; i++)
		if (strlen(p->keys[i].secret) == len && hash_equal(p->keys[i].secret, text, len)) {
			int rc = store_get(c->m->store, RECORD_KEY, p->keys[i].id, out, &c->err);

			if (rc != 0)
				return rc < 0 ? -1 : 0;
		}
	return call_refuse(c, ERR_NOT_FOUND, "key", "There is no such key.");
}

static int
rest_key(struct call *c, struct id key, int64_t wall_ms)
{
	return standing_rest(c->m->board, key,
		board_now_ms(c->m->board) + (wall_ms - clock_wall_ms()), "told by the key service",
		&c->err);
}

int
key_service_disable(struct call *c)
{
	struct key *k = arena_alloc(c->arena, sizeof *k);
	struct wish w = { .call = c };
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES];
	int64_t now_ms = clock_wall_ms();
	int rc;

	if (k == NULL)
		return call_no_memory(c);
	if (call_body(c, take_member, &w) != 0)
		return -1;
	if (w.key == NULL)
		return call_refuse(c, ERR_BAD_REQUEST, "key", "key is required.");
	rc = find_key(c, w.key, k);
	explicit_bzero(w.key, strlen(w.key));
	if (rc != 0)
		return -1;
	if (w.until_ms <= now_ms)
		w.until_ms = now_ms + REST_DEFAULT_MS;
	else if (w.until_ms - now_ms > REST_MOST_MS)
		w.until_ms = now_ms + REST_MOST_MS;
	id_text("key_", k->head.id, id);
	if (rest_key(c, k->head.id, w.until_ms) != 0 ||
		store_audit_add(c->m->store, call_change(c, "key.rest"), id, &c->err) < 0)
		return -1;
	bytes_puts(out, "{\"status\":\"ok\"");
	shape_text(out, "id", id);
	shape_text(out, "masked", k->masked);
	shape_time(out, "rests_until", w.until_ms);
	bytes_puts(out, "}");
	c->out->status = 200;
	return 0;
}
