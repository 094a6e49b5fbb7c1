/*
 * providers.c - what providers were found to have, and whether they are well: asked for on demand, and as
 * the gateway's rounds have found it.
 */
#include "manage/manage-int.h"

#include "base/clock.h"
#include "errand/errand.h"
#include "route/standing.h"

#include <inttypes.h>
#include <string.h>

static struct upstream *
find_upstream(struct call *c)
{
	struct upstream *u = arena_alloc(c->arena, sizeof *u);

	if (u == NULL)
		(void)call_no_memory(c);
	else if (resource_find(c, RECORD_UPSTREAM, c->id, u) == 0)
		return u;
	return NULL;
}

static void
drop_snapshot(void *snapshot)
{
	snapshot_drop(snapshot);
}

struct snapshot *
providers_snapshot(struct call *c)
{
	struct snapshot *p = snapshot_load(c->m->store, board_generation(c->m->board), &c->err);

	if (p != NULL && arena_defer(c->arena, drop_snapshot, p) != 0) {
		(void)call_no_memory(c);
		return NULL;
	}
	return p;
}

/* ---- models ---- */

static void
put_models(struct bytes *out, struct span text)
{
	struct model_line m;

	bytes_puts(out, ",\"data\":[");
	for (bool any = false; models_next(&text, &m); any = true) {
		bytes_puts(out, any ? ",{\"id\":" : "{\"id\":");
		bytes_json(out, m.name);
		bytes_puts(out, ",\"context_length\":");
		if (m.context > 0)
			bytes_printf(out, "%" PRId64, m.context);
		else
			bytes_puts(out, "null");
		bytes_puts(out, ",\"modality\":");
		if (m.modality.len > 0)
			bytes_json(out, m.modality);
		else
			bytes_puts(out, "null");
		bytes_printf(out, ",\"is_free\":%s}", m.is_free ? "true" : "false");
	}
	bytes_puts(out, "],\"next\":null}");
}

static int
reply_models(struct call *c, const struct upstream *u)
{
	struct bytes *out = &c->out->body, text = BYTES_LIMIT(MODELS_TEXT_MAX);
	struct models_head head = { 0 };
	char id[ID_TEXT_BYTES];
	int rc = store_models_get(c->m->store, u->head.id, &head, &text, &c->err);

	if (rc < 0) {
		bytes_free(&text);
		return -1;
	}
	if (rc == 0 || head.of != models_of(u)) { /* of another address */
		memset(&head, 0, sizeof head);
		bytes_drop(&text, text.len);
	}
	id_text("up_", u->head.id, id);
	bytes_puts(out, "{\"upstream_id\":");
	bytes_json(out, span_of(id));
	shape_text(out, "upstream_name", u->name);
	bytes_printf(out, ",\"discover\":%s", u->discover ? "true" : "false");
	shape_time(out, "listed_at", head.at_ms);
	bytes_puts(out, ",\"age_s\":");
	if (head.at_ms > 0)
		bytes_printf(out, "%" PRId64, (board_now_ms(c->m->board) - head.at_ms) / 1000);
	else
		bytes_puts(out, "null");
	shape_time(out, "tried_at", head.tried_ms);
	if (head.why[0] != '\0')
		shape_text(out, "last_error", head.why);
	else
		bytes_puts(out, ",\"last_error\":null");
	bytes_printf(out, ",\"count\":%u", (unsigned)head.count);
	put_models(out, bytes_span(&text));
	bytes_free(&text);
	c->out->status = 200;
	return out->failed ? call_no_memory(c) : 0;
}

int
upstream_models_get(struct call *c)
{
	const struct upstream *u = find_upstream(c);

	return u == NULL ? -1 : reply_models(c, u);
}

/* The desk is closed before the reply is written, whatever came of it. */
static int
with_desk(struct call *c, struct id upstream,
	int (*fn)(struct call *c, struct errand_desk *d, const struct snapshot *p,
		const struct upstream *u))
{
	const struct snapshot *p = providers_snapshot(c);
	const struct upstream *u = p == NULL ? NULL : snapshot_upstream(p, upstream);
	struct errand_desk *d;
	int rc;

	if (p == NULL)
		return -1;
	if (u == NULL)
		return call_refuse(c, ERR_CONFLICT, NULL,
			"This upstream is not active; set is_active to true first.");
	if ((d = errand_open(c->m->store, c->m->board, c->m->conf, &c->err)) == NULL)
		return -1;
	rc = fn(c, d, p, u);
	errand_close(d);
	return rc;
}

static int
ask_models(
	struct call *c, struct errand_desk *d, const struct snapshot *p, const struct upstream *u)
{
	struct models_head head = { 0 };
	int rc;

	if (u->protocol == PROTOCOL_HTTP)
		return call_refuse(c, ERR_BAD_REQUEST, NULL,
			"An upstream of protocol http has no list of models that is known.");
	rc = discover_now(d, p, u, &head, &c->err);
	if (rc == 0)
		return call_refuse(c, ERR_UPSTREAM_UNREACHABLE, NULL,
			"The provider gave no list of models: %s.", head.why);
	return rc < 0 ? -1 : 0;
}

int
upstream_models_refresh(struct call *c)
{
	const struct upstream *u = find_upstream(c);
	char id[ID_TEXT_BYTES];

	if (u == NULL || with_desk(c, u->head.id, ask_models) != 0)
		return -1;
	id_text("up_", u->head.id, id);
	if (store_audit_add(c->m->store, call_change(c, "upstream.models"), id, &c->err) < 0)
		return -1;
	return reply_models(c, u);
}

/* ---- health ---- */

static void
put_checks(struct bytes *out, const struct health_history *h)
{
	bytes_puts(out, ",\"checks\":[");
	for (uint32_t i = h->count; i > 0; i--) { /* newest first */
		const struct health_check *k = &h->check[i - 1];
		char when[CLOCK_TEXT_BYTES];

		clock_rfc3339(k->at_ms, when);
		bytes_printf(out,
			"%s{\"time\":\"%s\",\"is_healthy\":%s,\"status\":", i < h->count ? "," : "",
			when, k->ok ? "true" : "false");
		if (k->status > 0)
			bytes_printf(out, "%d", k->status);
		else
			bytes_puts(out, "null");
		bytes_printf(out, ",\"took_ms\":%" PRId32 "}", k->took_ms);
	}
	bytes_puts(out, "]}");
}

static int
reply_health(struct call *c, const struct upstream *u)
{
	struct bytes *out = &c->out->body;
	struct health_history h;
	struct standing st;
	char id[ID_TEXT_BYTES];
	uint32_t healthy = 0;

	if (health_read(c->m->store, u->head.id, &h, &c->err) < 0)
		return -1;
	for (uint32_t i = 0; i < h.count; i++)
		healthy += h.check[i].ok;
	id_text("up_", u->head.id, id);
	bytes_puts(out, "{\"upstream_id\":");
	bytes_json(out, span_of(id));
	shape_text(out, "upstream_name", u->name);
	shape_text(out, "health_path", u->health_path);
	shape_int(out, "health_interval_s", u->health_interval_s);
	bytes_puts(out, ",\"is_healthy\":");
	bytes_puts(out, h.count == 0 ? "null" : h.check[h.count - 1].ok != 0 ? "true" : "false");
	shape_time(out, "checked_at", h.count == 0 ? 0 : h.check[h.count - 1].at_ms);
	shape_int(out, "healthy_count", healthy);
	shape_int(out, "count", h.count);
	if (h.why[0] != '\0')
		shape_text(out, "last_error", h.why);
	else
		bytes_puts(out, ",\"last_error\":null");
	standing_state(c->m->board, board_target_find(c->m->board, u->head.id), u->is_active,
		u->breaker_forced, &st);
	shape_text(out, "breaker", standing_breaker_name(st.breaker));
	shape_time(out, "open_until", st.until_ms);
	put_checks(out, &h);
	c->out->status = 200;
	return 0;
}

int
upstream_health_get(struct call *c)
{
	const struct upstream *u = find_upstream(c);

	return u == NULL ? -1 : reply_health(c, u);
}

int
providers_forget(struct call *c, struct id upstream)
{
	return store_models_forget(c->m->store, upstream, &c->err) < 0 ||
			       health_forget(c->m->store, upstream, &c->err) < 0
		       ? -1
		       : 0;
}
