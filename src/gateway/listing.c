/*
 * listing.c - what a token may use, in its dialect: names of models and upstreams.  Nothing here asks a
 * provider or the store. [intake]
 */
#include "gateway/listing-int.h"

#include "admit/allow.h"
#include "base/clock.h"
#include "base/hash.h"
#include "route/pattern.h"
#include "wire/provider.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX 20000 /* names of one list; what comes later is left out */
#define SLOTS      65536 /* a power of two, more than twice as many */

/* ---- names, each once ---- */

struct listing {
	struct exchange *x;
	struct bytes *out;
	struct span one; /* only this model; empty: all */
	bool free_only;
	struct patterns blocked; /* of the upstream at hand */
	size_t count;
	struct listed *name;
	uint32_t *slot; /* 1 + index, 0 free */
};

static bool
is_pattern(struct span name)
{
	return name.at[0] == '/' || memchr(name.at, '*', name.len) != NULL ||
	       memchr(name.at, '?', name.len) != NULL;
}

bool
listed_is_free(const struct listed *m)
{
	static const char suffix[] = ":free";
	size_t len = sizeof suffix - 1;

	return (m->found != NULL && m->found->is_free) ||
	       (m->name.len > len && memcmp(m->name.at + m->name.len - len, suffix, len) == 0);
}

static bool
may_see(const struct listing *l, const struct listed *m)
{
	struct err ignored;

	if (l->one.len > 0 &&
		(l->one.len != m->name.len || memcmp(l->one.at, m->name.at, m->name.len) != 0))
		return false;
	if ((l->free_only || (m->upstream != NULL && m->upstream->free_only)) && !listed_is_free(m))
		return false;
	return !l->x->known || admit_allow(&l->x->caller, m->name, clock_wall_ms(), &ignored) == 0;
}

static void
add(struct listing *l, const struct listed *m)
{
	size_t at = hash_64(m->name.at, m->name.len, 0) & (SLOTS - 1);

	if (m->name.len == 0 || m->name.len >= MODEL_BYTES || is_pattern(m->name) ||
		l->count == LISTED_MAX)
		return;
	for (; l->slot[at] != 0; at = (at + 1) & (SLOTS - 1)) {
		const struct span *had = &l->name[l->slot[at] - 1].name;

		if (had->len == m->name.len && memcmp(had->at, m->name.at, had->len) == 0)
			return;
	}
	if (!may_see(l, m))
		return;
	l->name[l->count] = *m;
	l->slot[at] = (uint32_t)++l->count;
}

static void
add_of(struct listing *l, const struct upstream *u, struct span name)
{
	if (!patterns_fit(&l->blocked, name))
		add(l, &(struct listed){ .name = name,
			       .upstream = u,
			       .found = snapshot_discovered(l->x->snapshot, u->head.id, name),
			       .created_ms = u->head.created_ms });
}

/* The names that upstreams state in full; a glob is a promise without a list. */
static void
add_stated(struct listing *l, const struct upstream *u)
{
	for (const char *at = u->models; *at != '\0';) {
		size_t len = strcspn(at, "\n,");

		add_of(l, u, (struct span){ at, len });
		at += len + (at[len] != '\0');
	}
}

/* "alias=its own name" lines. */
static void
add_aliases(struct listing *l, const struct upstream *u)
{
	for (const char *at = u->aliases; *at != '\0';) {
		size_t len = strcspn(at, "\n");
		const char *equals = memchr(at, '=', len);

		if (equals != NULL)
			add_of(l, u, (struct span){ at, (size_t)(equals - at) });
		at += len + (at[len] != '\0');
	}
}

static void
add_discovered(struct listing *l, size_t upstream)
{
	const struct snapshot *p = l->x->snapshot;
	const struct snapshot_list *list = p->lists == NULL ? NULL : &p->lists[upstream];

	for (size_t i = 0; list != NULL && i < list->count; i++)
		add_of(l, &p->upstreams[upstream], p->discovered[list->first + i].name);
}

static void
add_routes(struct listing *l)
{
	const struct snapshot *p = l->x->snapshot;

	for (size_t i = 0; i < p->route_count; i++) {
		const struct route *r = &p->routes[i];

		if (!id_is_none(r->project) &&
			(!l->x->known || !id_equal(r->project, l->x->caller.project.head.id)))
			continue;
		if (r->model[0] != '\0')
			add(l, &(struct listed){ .name = span_of(r->model),
				       .created_ms = r->head.created_ms });
	}
}

static int
collect(struct listing *l)
{
	const struct snapshot *p = l->x->snapshot;

	l->name = calloc(LISTED_MAX, sizeof *l->name);
	l->slot = calloc(SLOTS, sizeof *l->slot);
	if (l->name == NULL || l->slot == NULL)
		return -1;
	for (size_t i = 0; i < p->upstream_count; i++) {
		int rc = patterns_new(p->upstreams[i].blocked_models, &l->blocked);

		if (rc == 0) {
			add_stated(l, &p->upstreams[i]);
			add_aliases(l, &p->upstreams[i]);
			add_discovered(l, i);
		}
		patterns_free(&l->blocked);
		if (rc != 0)
			return -1;
	}
	add_routes(l);
	return 0;
}

static void
release(struct listing *l)
{
	free(l->name);
	free(l->slot);
}

/* ---- a model in each dialect ---- */

static void
put_anthropic(struct bytes *out, const struct listed *m)
{
	char when[CLOCK_TEXT_BYTES];

	clock_rfc3339(m->created_ms, when);
	bytes_puts(out, "{\"type\":\"model\",\"id\":");
	bytes_json(out, m->name);
	bytes_puts(out, ",\"display_name\":");
	bytes_json(out, m->name);
	bytes_printf(out, ",\"created_at\":\"%s\"}", when);
}

static void
put_gemini(struct bytes *out, const struct listed *m)
{
	bytes_puts(out, "{\"name\":\"models/");
	bytes_json_inside(out, m->name);
	bytes_puts(out, "\",\"displayName\":");
	bytes_json(out, m->name);
	if (m->found != NULL && m->found->context > 0)
		bytes_printf(out, ",\"inputTokenLimit\":%" PRId64, m->found->context);
	bytes_puts(out, ",\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"]}");
}

struct span
listed_owner(const struct listed *m)
{
	return span_of(m->upstream == NULL ? "sluice" : m->upstream->name);
}

static void
put_openai(struct bytes *out, const struct listed *m)
{
	bytes_puts(out, "{\"id\":");
	bytes_json(out, m->name);
	bytes_printf(out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":",
		m->created_ms / 1000);
	bytes_json(out, listed_owner(m));
	bytes_puts(out, "}");
}

static void
put_model(const struct listing *l, const struct listed *m)
{
	switch (endpoint_dialect(&l->x->match)) {
	case DIALECT_ANTHROPIC:
		put_anthropic(l->out, m);
		break;
	case DIALECT_GEMINI:
		put_gemini(l->out, m);
		break;
	default:
		if (l->x->match.endpoint->face == FACE_OPENROUTER)
			openrouter_model(l->out, l->x->snapshot, m);
		else
			put_openai(l->out, m);
	}
}

/* ---- lists ---- */

static void
put_name_or_null(struct bytes *out, const struct listing *l, size_t i)
{
	if (i < l->count)
		bytes_json(out, l->name[i].name);
	else
		bytes_puts(out, "null");
}

static void
put_all(const struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		bytes_puts(l->out, i == 0 ? "" : ",");
		put_model(l, &l->name[i]);
	}
}

int
listing_models(struct exchange *x, struct bytes *out)
{
	struct listing l = { .x = x, .out = out };
	char free_only[8];

	l.free_only = web_query_get(x->request, "free_only", free_only, sizeof free_only) > 0 &&
		      (strcmp(free_only, "true") == 0 || strcmp(free_only, "1") == 0);
	if (collect(&l) != 0) {
		release(&l);
		return err_set(&x->err, ERR_MEMORY, "no memory for a list of models");
	}
	switch (endpoint_dialect(&x->match)) {
	case DIALECT_ANTHROPIC:
		bytes_puts(out, "{\"data\":[");
		put_all(&l);
		bytes_puts(out, "],\"has_more\":false,\"first_id\":");
		put_name_or_null(out, &l, 0);
		bytes_puts(out, ",\"last_id\":");
		put_name_or_null(out, &l, l.count == 0 ? 0 : l.count - 1);
		bytes_puts(out, "}");
		break;
	case DIALECT_GEMINI:
		bytes_puts(out, "{\"models\":[");
		put_all(&l);
		bytes_puts(out, "]}");
		break;
	default:
		if (x->match.kind == ENDPOINT_MODEL_COUNT) {
			bytes_printf(out, "{\"data\":{\"count\":%zu}}", l.count);
			break;
		}
		bytes_puts(out, "{\"object\":\"list\",\"data\":[");
		put_all(&l);
		bytes_puts(out, "]}");
	}
	release(&l);
	return out->failed ? err_set(&x->err, ERR_MEMORY, "no memory for a list of models") : 0;
}

int
listing_model(struct exchange *x, struct bytes *out)
{
	struct listing l = { .x = x, .out = out };
	char name[MODEL_BYTES];
	struct span rest = x->match.rest;
	int rc = 0;

	if (x->match.kind == ENDPOINT_PLACES)
		rest.len -= sizeof ENDPOINT_PLACES_TAIL - 1;
	if (web_decode(rest, name, sizeof name) < 0)
		name[0] = '\0';
	l.one = span_of(name[0] == '\0' ? "?" : name);
	if (collect(&l) != 0) {
		rc = err_set(&x->err, ERR_MEMORY, "no memory for a list of models");
	} else if (l.count == 0) {
		err_set(&x->err, ERR_NO_ROUTE, "model %s asked for", name);
		rc = err_say(
			&x->err, "There is no model '%s' here; GET /v1/models lists all.", name);
	} else if (x->match.kind == ENDPOINT_PLACES) {
		rc = openrouter_places(x, &l.name[0], out);
	} else {
		put_model(&l, &l.name[0]);
	}
	release(&l);
	return rc;
}

/* Names and what speaks there; never addresses or keys. */
void
listing_upstreams(const struct exchange *x, struct bytes *out)
{
	const struct snapshot *p = x->snapshot;

	bytes_puts(out, "{\"upstreams\":[");
	for (size_t i = 0; i < p->upstream_count; i++) {
		const struct provider *provider = provider_at(p->upstreams[i].protocol);

		bytes_puts(out, i == 0 ? "{\"name\":" : ",{\"name\":");
		bytes_json(out, span_of(p->upstreams[i].name));
		bytes_puts(out, ",\"provider\":");
		bytes_json(out, span_of(provider == NULL ? "" : provider->name));
		bytes_printf(
			out, ",\"is_default\":%s}", p->upstreams[i].is_default ? "true" : "false");
	}
	bytes_puts(out, "]}");
}

/* ---- errors, where other gateways' clients look for them ---- */

static const char *
detail_name(const struct err *e)
{
	switch (e->code) {
	case ERR_UNKNOWN_UPSTREAM:
		return "upstream_not_found";
	case ERR_UPSTREAM_TIMEOUT:
		return "gateway_timeout";
	case ERR_UPSTREAM_UNREACHABLE:
	case ERR_UPSTREAM_CREDENTIALS:
		return "bad_gateway";
	case ERR_INTERNAL:
		return "internal_error";
	default:
		return err_name(e->code);
	}
}

static void
put_available(const struct snapshot *p, struct bytes *out)
{
	bytes_puts(out, ",\"available_upstreams\":[");
	for (size_t i = 0; p != NULL && i < p->upstream_count; i++) {
		bytes_puts(out, i == 0 ? "" : ",");
		bytes_json(out, span_of(p->upstreams[i].name));
	}
	bytes_puts(out, "]");
}

void
listing_add_detail(const struct endpoint_match *m, const struct snapshot *p, const struct err *e,
	struct bytes *out)
{
	enum endpoint_face face = m->endpoint == NULL ? FACE_PLAIN : m->endpoint->face;

	if (face == FACE_PLAIN || out->failed || out->len == 0 || out->at[out->len - 1] != '}')
		return;
	out->len--;
	bytes_puts(out, ",\"detail\":");
	if (face == FACE_OPENROUTER) {
		bytes_json(out, span_of(err_public(e)));
	} else {
		bytes_printf(out, "{\"error\":\"%s\",\"message\":", detail_name(e));
		bytes_json(out, span_of(err_public(e)));
		if (e->code == ERR_UNKNOWN_UPSTREAM)
			put_available(p, out);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "}");
}

/* ---- metrics ---- */

void
listing_key_gauges(struct gateway *gw, struct bytes *out)
{
	struct snapshot *p = gateway_snapshot_at_hand(gw);
	int64_t now_ms = board_now_ms(gw->board);
	size_t resting = 0, count = p == NULL ? 0 : p->key_count;

	for (size_t i = 0; i < count; i++) {
		const struct board_target *t = board_target_find(gw->board, p->keys[i].id);

		resting += t != NULL && t->rest_until_ms > now_ms;
	}
	snapshot_drop(p);
	bytes_printf(out,
		"# HELP kms_active_keys provider keys that may be asked\n"
		"# TYPE kms_active_keys gauge\nkms_active_keys %zu\n"
		"# HELP kms_cooldown_keys provider keys that rest\n"
		"# TYPE kms_cooldown_keys gauge\nkms_cooldown_keys %zu\n",
		count - resting, resting);
}
