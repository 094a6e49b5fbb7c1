/*
 * limits.c - limits and what changes them for a time: their scopes, their use as it is now, grants and
 * resets.
 *
 * A counter is never changed from here: a reset is a grant of what had been used.  So the counter
 * always tells what was used, and a reset can be taken back like any grant.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/net.h"
#include "manage/manage-int.h"
#include "store/limits.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANTS_MOST  65536 /* what a snapshot takes */
#define WARNS_MOST   BOARD_WARNS_MAX
#define ROLLING_MOST (366 * 86400LL)
#define RESET_TRIES  4

/* ---- scopes ---- */

static const struct dimension {
	const char *name;
	enum limit_dimension at;
	enum record_kind kind; /* of the ids; RECORD__COUNT: a text */
	size_t longest;        /* of a text */
} dimensions[] = {
	{ "project", DIMENSION_PROJECT, RECORD_PROJECT, 0 },
	{ "token", DIMENSION_TOKEN, RECORD_TOKEN, 0 },
	{ "end_user", DIMENSION_END_USER, RECORD__COUNT, USER_BYTES - 1 },
	{ "model", DIMENSION_MODEL, RECORD__COUNT, MODEL_BYTES - 1 },
	{ "address", DIMENSION_ADDRESS, RECORD__COUNT, 60 },
	{ "tag", DIMENSION_TAG, RECORD__COUNT, LABEL_BYTES - 1 },
	{ "upstream", DIMENSION_UPSTREAM, RECORD_UPSTREAM, 0 },
	{ "key", DIMENSION_KEY, RECORD_KEY, 0 },
};
#define DIMENSIONS (sizeof dimensions / sizeof dimensions[0])

struct scope_in {
	struct call *call;
	char (*to)[MODEL_BYTES];
};

/* An address in the one form that servers write it in, or a network. */
static int
put_address(struct call *c, const char *text, char *to)
{
	unsigned char address[16];
	char bare[MODEL_BYTES];
	size_t len = strcspn(text, "/");

	memcpy(bare, text, len);
	bare[len] = '\0';
	if (text[len] == '\0') {
		if (inet_pton(AF_INET, text, address) == 1 &&
			inet_ntop(AF_INET, address, to, MODEL_BYTES) != NULL)
			return 0;
		if (inet_pton(AF_INET6, text, address) == 1 &&
			inet_ntop(AF_INET6, address, to, MODEL_BYTES) != NULL)
			return 0;
	} else if (strchr(text, ',') == NULL && net_in_list(text, bare)) {
		strcpy(to, text); /* its length is checked */
		return 0;
	}
	return call_refuse(c, ERR_BAD_REQUEST, "scope",
		"'%s' is neither an address nor a network such as 10.0.0.0/8.", text);
}

static bool
scope_member(void *ctx, const struct json_member *m)
{
	struct scope_in *in = ctx;
	struct call *c = in->call;
	const struct dimension *d = NULL;
	struct id id;
	char *text, *to;

	for (size_t i = 0; i < DIMENSIONS; i++)
		if (span_is(m->key, dimensions[i].name))
			d = &dimensions[i];
	if (d == NULL) {
		call_refuse(c, ERR_BAD_REQUEST, "scope",
			"A scope is made of project, token, end_user, model, address, tag, "
			"upstream "
			"and key, each a value, \"each\" or \"total\".");
		return false;
	}
	to = in->to[d->at];
	memset(to, 0, MODEL_BYTES);
	if (m->value.type == JSON_NULL)
		return true;
	text = call_string(c, "scope", m->value, d->longest > 0 ? d->longest : NAME_BYTES * 2 - 1);
	if (text == NULL)
		return false;
	if (strcmp(text, "total") == 0 || text[0] == '\0')
		return true;
	if (strcmp(text, "each") == 0) {
		strcpy(to, text);
		return true;
	}
	if (d->at == DIMENSION_ADDRESS)
		return put_address(c, text, to) == 0;
	if (d->kind == RECORD__COUNT) {
		(void)span_copy(span_of(text), to, MODEL_BYTES);
		return true;
	}
	if (resource_refer(c, d->kind, "scope", text, &id) != 0)
		return false;
	id_text(record_prefix(d->kind), id, to);
	return true;
}

/* {"project": "…", …} into one text for each dimension. */
static int
read_scope(struct call *c, struct json_value v, char to[DIMENSION__COUNT][MODEL_BYTES])
{
	struct scope_in in = { c, to };

	memset(to, 0, DIMENSION__COUNT * sizeof to[0]);
	if (v.type != JSON_NULL && json_each(v.raw, scope_member, &in, NULL) != 0 &&
		c->err.code == ERR_NONE)
		call_refuse(c, ERR_BAD_REQUEST, "scope",
			"scope must be an object such as {\"project\": \"…\"}.");
	return c->err.code == ERR_NONE ? 0 : -1;
}

static void
put_scope(struct bytes *out, const char scope[DIMENSION__COUNT][MODEL_BYTES])
{
	bytes_puts(out, ",\"scope\":{");
	for (size_t i = 0; i < DIMENSIONS; i++)
		if (scope[dimensions[i].at][0] != '\0')
			shape_text(out, dimensions[i].name, scope[dimensions[i].at]);
	bytes_puts(out, "}");
}

/* ---- limits: in ---- */

/* A calendar window's name, or "rolling:3600". */
static int
read_window(struct edit *e, struct json_value v)
{
	static const char word[] = "rolling:";
	struct call *c = e->call;
	struct limit *l = e->record;
	const struct limit *before = e->before;
	char text[48], *end;
	long long seconds;

	if (v.type == JSON_STRING && json_string(v, text, sizeof text) >= 0 &&
		strncmp(text, word, sizeof word - 1) == 0) {
		seconds = strtoll(text + sizeof word - 1, &end, 10);
		if (end == text + sizeof word - 1 || *end != '\0' || seconds < 1 ||
			seconds > ROLLING_MOST)
			return call_refuse(c, ERR_BAD_REQUEST, "window",
				"A rolling window is \"rolling:<seconds>\", from 1 to %lld.",
				ROLLING_MOST);
		l->window = WINDOW_ROLLING;
		l->window_s = seconds;
	} else if (shape_set(c, shape_field_named(RECORD_LIMIT, "window"), v, l) != 0) {
		return -1;
	}
	if (before != NULL && (before->window != l->window || before->window_s != l->window_s))
		return call_refuse(c, ERR_BAD_REQUEST, "window",
			"window is fixed when a limit is made and cannot be changed.");
	return 1;
}

static int
limit_member(struct edit *e, const char *name, struct json_value v)
{
	struct limit *l = e->record;
	const struct limit *before = e->before;

	if (strcmp(name, "cap") == 0) {
		e->cap = v; /* the metric may come behind it */
		return 1;
	}
	if (strcmp(name, "window") == 0)
		return read_window(e, v);
	if (strcmp(name, "scope") != 0)
		return 0;
	if (read_scope(e->call, v, l->scope) != 0)
		return -1;
	if (before != NULL && memcmp(l->scope, before->scope, sizeof l->scope) != 0)
		return call_refuse(e->call, ERR_BAD_REQUEST, name,
			"scope is fixed when a limit is made; make another one.");
	return 1;
}

static int
check_window(struct call *c, struct limit *l)
{
	struct zone *zone;
	bool days =
		l->window == WINDOW_DAY || l->window == WINDOW_WEEK || l->window == WINDOW_MONTH;

	if (l->metric == METRIC_PARALLEL) { /* what runs now has no window */
		l->window = WINDOW_TOTAL;
		l->window_s = 0;
	}
	if ((l->window == WINDOW_ROLLING) != (l->window_s > 0))
		return call_refuse(c, ERR_BAD_REQUEST, "window_s",
			"A rolling window is \"rolling:<seconds>\"; only it has a length.");
	if (l->timezone[0] == '\0')
		return 0;
	if (!days)
		return call_refuse(c, ERR_BAD_REQUEST, "timezone",
			"Only days, weeks and months begin by a timezone.");
	if ((zone = zone_load(l->timezone, &c->err)) == NULL)
		return call_refuse(c, ERR_BAD_REQUEST, "timezone",
			"There is no timezone '%s'; it is named as in Europe/Berlin.", l->timezone);
	zone_free(zone);
	return 0;
}

static int
check_warns(struct call *c, const struct limit *l)
{
	const char *p = l->warn_at;
	int count = 0;

	while (*p != '\0') {
		char *end;
		long share = strtol(p, &end, 10);

		if (++count > WARNS_MOST || share < 1 || share > 1000)
			return call_refuse(c, ERR_BAD_REQUEST, "warn_at",
				"warn_at holds at most %d shares of the cap, from 1 to 1000 "
				"percent.",
				WARNS_MOST);
		p = *end == '\0' ? end : end + 1;
	}
	return 0;
}

static int
read_amount(
	struct call *c, const char *field, const struct limit *l, struct json_value v, int64_t *out)
{
	if (l->metric == METRIC_COST)
		return shape_parse_money(c, field, v, out);
	if (json_int(v, out) != 0 || *out < 0)
		return call_refuse(c, ERR_BAD_REQUEST, field,
			"%s must be a whole number that is not negative.", field);
	return 0;
}

static int
limit_finish(struct edit *e)
{
	struct call *c = e->call;
	struct limit *l = e->record;

	if ((e->before == NULL && check_window(c, l) != 0) || check_warns(c, l) != 0)
		return -1;
	/* The wall clock, which "created" is of, may be ahead: later windows would seem half over. */
	if (e->before == NULL)
		l->since_ms = board_now_ms(c->m->board);
	if (e->cap.type == JSON_NONE)
		return e->before != NULL
			       ? 0
			       : call_refuse(c, ERR_BAD_REQUEST, "cap", "cap is required.");
	return read_amount(c, "cap", l, e->cap, &l->cap);
}

/* ---- grants, as a call sees them ---- */

static int
read_grants(struct call *c)
{
	void *records = NULL;

	if (c->has_grants)
		return 0;
	if (resource_collect(c, RECORD_GRANT, ID_NONE, GRANTS_MOST, NULL, NULL, &records,
		    &c->grant_count) != 0)
		return -1;
	c->grants = records;
	c->has_grants = true;
	return 0;
}

/* ---- limits: out ---- */

static bool
limit_hides(const struct field *f)
{
	return (f->offset >= offsetof(struct limit, scope) &&
		       f->offset <
			       offsetof(struct limit, scope) + sizeof((struct limit *)0)->scope) ||
	       f->offset == offsetof(struct limit, cap) ||
	       f->offset == offsetof(struct limit, window);
}

static void
put_amount(struct bytes *out, const char *name, const struct limit *l, int64_t amount)
{
	if (l->metric == METRIC_COST)
		shape_money(out, name, amount);
	else
		shape_int(out, name, amount);
}

/* Whose counter is asked for. */
static struct limit_values
values_of(const struct filter *f)
{
	struct limit_values v = { .end_user = "", .model = "", .address = "" };

	if (f == NULL)
		return v;
	return (struct limit_values){ .project = id_is_none(f->project) ? f->token_project
									: f->project,
		.token = f->token,
		.upstream = f->upstream,
		.key = f->key,
		.end_user = f->end_user,
		.model = f->model,
		.address = f->address,
		.tag = { f->tag } };
}

/* Is every value there that tells one counter of the limit from another? */
static bool
names_one(const struct limit_rule *r, const struct limit_values *v)
{
	const bool known[DIMENSION__COUNT] = {
		[DIMENSION_PROJECT] = !id_is_none(v->project),
		[DIMENSION_TOKEN] = !id_is_none(v->token),
		[DIMENSION_UPSTREAM] = !id_is_none(v->upstream),
		[DIMENSION_KEY] = !id_is_none(v->key),
		[DIMENSION_END_USER] = v->end_user != NULL && v->end_user[0] != '\0',
		[DIMENSION_MODEL] = v->model != NULL && v->model[0] != '\0',
		[DIMENSION_ADDRESS] = v->address != NULL && v->address[0] != '\0',
		[DIMENSION_TAG] = v->tag[0] != NULL && v->tag[0][0] != '\0',
	};

	for (int d = 0; d < DIMENSION__COUNT; d++)
		if ((r->how[d] == SCOPE_EACH || r->how[d] == SCOPE_TAGS) && !known[d])
			return false;
	return true;
}

/* One counter as it stands now. */
struct use {
	bool known; /* else each value has its own, and none was named */
	int64_t spent, reserved;
	struct limit_granted granted;
	int64_t start_ms, end_ms; /* of the window; rolling: from one length ago on */
	uint8_t name[COUNTER_NAME_BYTES];
	size_t name_len;
};

static int
read_use(struct call *c, const struct limit_index *x, const struct limit_values *v, struct use *u)
{
	const struct limit_rule *r = limit_index_rule(x, 0);
	int64_t now_ms = board_now_ms(c->m->board), rolling_ms = limit_rolling_ms(r->limit);
	const char *tag = v->tag[0] != NULL ? v->tag[0] : "";
	struct board_health board;
	uint64_t key[2];
	int rc;

	*u = (struct use){ .known = names_one(r, v) };
	limit_window(r, now_ms, &u->start_ms, &u->end_ms);
	if (!u->known)
		return 0;
	u->name_len = limit_counter_name(r, v, tag, u->start_ms, u->name);
	u->granted = limit_granted(x, r, u->name, u->name_len, now_ms);
	if (rolling_ms > 0)
		u->start_ms = now_ms - rolling_ms;
	board_counter_key(c->m->board, u->name, u->name_len, key);
	rc = board_peek(c->m->board, key, rolling_ms, &u->spent, &u->reserved);
	if (rc < 0)
		return err_set(&c->err, ERR_OVERLOADED, "the board is not to be had");
	if (rc > 0)
		return 0;
	/* No row yet: one that is made now begins with the booked use if its window is older than
	 * the board or the limit, else at nothing (board.h, claim.seeded). */
	board_health(c->m->board, &board);
	if (u->start_ms >= board.remade_ms && !limit_has_past(r->limit, u->start_ms, now_ms))
		return 0;
	return limit_booked(c->m->store, r, v, tag, u->start_ms, u->end_ms, &u->spent, &c->err);
}

/* An index of one limit and the grants there are. */
static struct limit_index *
index_one(struct call *c, const struct limit *l)
{
	struct grant *own;
	size_t count = 0;

	if (read_grants(c) != 0)
		return NULL;
	own = arena_alloc(c->arena, (c->grant_count + 1) * sizeof *own);
	if (own == NULL) {
		call_no_memory(c);
		return NULL;
	}
	for (size_t i = 0; i < c->grant_count; i++)
		if (id_equal(c->grants[i].limit, l->head.id))
			own[count++] = c->grants[i];
	return limit_index_new(l, 1, own, count, clock_wall_ms(), &c->err);
}

static void
put_window(struct bytes *out, const struct limit *l)
{
	if (l->window == WINDOW_ROLLING)
		bytes_printf(out, ",\"window\":\"rolling:%lld\"", (long long)l->window_s);
	else
		shape_member(out, shape_field_named(RECORD_LIMIT, "window"), l);
}

/* The shares of the cap that have been reached. */
static void
put_warned(struct bytes *out, const struct limit *l, int64_t used, int64_t cap)
{
	const char *p = l->warn_at, *comma = "";

	bytes_puts(out, ",\"warned\":[");
	while (*p != '\0') {
		char *end;
		long share = strtol(p, &end, 10);

		if (end == p)
			break;
		if (used >= cap / 100 * share + cap % 100 * share / 100) {
			bytes_printf(out, "%s%ld", comma, share);
			comma = ",";
		}
		p = *end == '\0' ? end : end + 1;
	}
	bytes_puts(out, "]");
}

static void
put_use(struct bytes *out, const struct limit *l, const struct use *u)
{
	int64_t used = u->spent > u->granted.forgiven ? u->spent - u->granted.forgiven : 0;
	int64_t cap = limit_cap_with(l, u->granted), taken, left;

	if (__builtin_add_overflow(u->spent, u->reserved, &taken))
		taken = INT64_MAX;
	left = cap > taken ? cap - taken : 0;
	if (l->metric == METRIC_PARALLEL)
		shape_int(out, "inflight", u->reserved);
	put_amount(out, "used", l, used);
	put_amount(out, "reserved", l, u->reserved);
	put_amount(out, "granted", l, u->granted.granted - u->granted.forgiven);
	put_amount(out, "remaining", l, left);
	put_warned(out, l, taken, cap);
}

static int
limit_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct limit *l = record;
	struct limit_values v = values_of(f);
	struct limit_index *x = index_one(c, l);
	struct use u;
	int rc;

	if (x == NULL)
		return -1;
	rc = read_use(c, x, &v, &u);
	limit_index_free(x);
	if (rc != 0)
		return -1;
	put_scope(out, l->scope);
	put_window(out, l);
	put_amount(out, "cap", l, l->cap);
	if (u.known)
		put_use(out, l, &u);
	else
		bytes_puts(out, ",\"used\":null,\"reserved\":null,\"granted\":null,"
				"\"remaining\":null,\"warned\":[]");
	shape_time(out, "resets_at", u.end_ms == WINDOW_FOREVER ? 0 : u.end_ms);
	return 0;
}

/* ---- which limits a list is about ---- */

int
limits_read_filter(struct call *c, struct filter *f)
{
	char scope[16];
	int n;

	if (resource_query(c, "key", RECORD_KEY, &f->key) != 0 ||
		resource_query(c, "limit_id", RECORD_LIMIT, &f->limit) != 0 ||
		call_query(c, "end_user", f->end_user, sizeof f->end_user) < 0 ||
		call_query(c, "tag", f->tag, sizeof f->tag) < 0 ||
		call_query(c, "address", f->address, sizeof f->address) < 0)
		return -1;
	n = call_query(c, "scope", scope, sizeof scope);
	if (n <= 0)
		return n;
	if (strcmp(scope, "project") == 0)
		return resource_query(c, "id", RECORD_PROJECT, &f->project);
	if (strcmp(scope, "token") == 0)
		return resource_query(c, "id", RECORD_TOKEN, &f->token);
	if (strcmp(scope, "upstream") == 0)
		return resource_query(c, "id", RECORD_UPSTREAM, &f->upstream);
	if (strcmp(scope, "key") == 0)
		return resource_query(c, "id", RECORD_KEY, &f->key);
	if (strcmp(scope, "model") == 0)
		n = call_query(c, "id", f->model, sizeof f->model);
	else if (strcmp(scope, "end_user") == 0)
		n = call_query(c, "id", f->end_user, sizeof f->end_user);
	else if (strcmp(scope, "tag") == 0)
		n = call_query(c, "id", f->tag, sizeof f->tag);
	else if (strcmp(scope, "address") == 0)
		n = call_query(c, "id", f->address, sizeof f->address);
	else
		return call_refuse(c, ERR_BAD_REQUEST, "scope",
			"scope must be project, token, end_user, model, address, tag, upstream or "
			"key.");
	return n < 0 ? -1 : 0;
}

static bool
binds_id(const char *scope, enum record_kind kind, struct id id)
{
	char text[ID_TEXT_BYTES];

	if (id_is_none(id))
		return true;
	id_text(record_prefix(kind), id, text);
	return strcmp(scope, "each") == 0 || strcmp(scope, text) == 0;
}

static bool
binds_text(const char *scope, const char *value)
{
	return value[0] == '\0' || strcmp(scope, "each") == 0 ||
	       (scope[0] != '\0' && glob_match(scope, span_of(value)));
}

static bool
limit_passes(const void *record, const struct filter *f)
{
	const struct limit *l = record;
	const char(*scope)[MODEL_BYTES] = l->scope;

	if (f->active >= 0 && l->is_active != (f->active != 0))
		return false;
	if (!binds_id(scope[DIMENSION_PROJECT], RECORD_PROJECT, f->project) ||
		!binds_id(scope[DIMENSION_UPSTREAM], RECORD_UPSTREAM, f->upstream) ||
		!binds_id(scope[DIMENSION_KEY], RECORD_KEY, f->key) ||
		!binds_text(scope[DIMENSION_MODEL], f->model) ||
		!binds_text(scope[DIMENSION_END_USER], f->end_user) ||
		!binds_text(scope[DIMENSION_TAG], f->tag))
		return false;
	if (f->address[0] != '\0' && strcmp(scope[DIMENSION_ADDRESS], "each") != 0 &&
		!net_in_list(scope[DIMENSION_ADDRESS], f->address))
		return false;
	/* Of a token: its own, and those its project puts on it. */
	return id_is_none(f->token) || binds_id(scope[DIMENSION_TOKEN], RECORD_TOKEN, f->token) ||
	       (scope[DIMENSION_TOKEN][0] == '\0' && scope[DIMENSION_PROJECT][0] != '\0' &&
		       binds_id(scope[DIMENSION_PROJECT], RECORD_PROJECT, f->token_project));
}

const struct kind kind_limit = {
	.record = RECORD_LIMIT,
	.member = limit_member,
	.finish = limit_finish,
	.hides = limit_hides,
	.extra = limit_extra,
	.passes = limit_passes,
};

int
limits_list(struct call *c)
{
	return resource_list(c, &kind_limit);
}

/* With the list's parameters: the counter of one value of a limit on each. */
int
limits_get(struct call *c)
{
	return resource_get(c, &kind_limit);
}

int
limits_post(struct call *c)
{
	return resource_post(c, &kind_limit);
}

int
limits_patch(struct call *c)
{
	return resource_patch(c, &kind_limit);
}

int
limits_delete(struct call *c)
{
	return resource_delete(c, &kind_limit);
}

/* ---- grants ---- */

static bool
grant_hides(const struct field *f)
{
	return (f->offset >= offsetof(struct grant, value) &&
		       f->offset <
			       offsetof(struct grant, value) + sizeof((struct grant *)0)->value) ||
	       f->offset == offsetof(struct grant, amount);
}

static int
grant_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	const struct grant *g = record;
	struct limit *l = arena_alloc(c->arena, sizeof *l);
	int64_t now_ms = board_now_ms(c->m->board);
	bool holds = now_ms >= g->from_ms && (g->until_ms == 0 || now_ms < g->until_ms);
	int rc;

	(void)f;
	if (l == NULL)
		return call_no_memory(c);
	rc = store_get(c->m->store, RECORD_LIMIT, g->limit, l, &c->err);
	if (rc < 0)
		return -1;
	put_scope(out, g->value);
	put_amount(out, "amount", l, g->amount); /* of a limit that is gone: as it stands */
	bytes_printf(out, ",\"is_active\":%s", rc > 0 && holds ? "true" : "false");
	return 0;
}

static bool
grant_passes(const void *record, const struct filter *f)
{
	const struct grant *g = record;
	int64_t now_ms = clock_wall_ms();

	return (id_is_none(f->limit) || id_equal(f->limit, g->limit)) &&
	       (f->active < 0 || (f->active != 0) == (g->until_ms == 0 || now_ms < g->until_ms));
}

const struct kind kind_grant = {
	.record = RECORD_GRANT,
	.hides = grant_hides,
	.extra = grant_extra,
	.passes = grant_passes,
};

int
grants_list(struct call *c)
{
	return resource_list(c, &kind_grant);
}

int
grants_get(struct call *c)
{
	return resource_get(c, &kind_grant);
}

/* What was granted is granted no more; a reset is taken back. */
int
grants_delete(struct call *c)
{
	return resource_delete(c, &kind_grant);
}

/* The body of a grant or a reset. */
struct giving {
	struct call *call;
	struct grant *grant;
	struct json_value amount;
	bool is_reset;
};

static bool
giving_member(void *ctx, const char *name, struct json_value v)
{
	struct giving *g = ctx;
	struct call *c = g->call;
	char *text;

	if (strcmp(name, "scope") == 0)
		return read_scope(c, v, g->grant->value) == 0;
	if (strcmp(name, "reason") == 0) {
		if (v.type == JSON_NULL)
			return true;
		text = call_string(c, name, v, sizeof g->grant->reason - 1);
		if (text == NULL)
			return false;
		(void)span_copy(span_of(text), g->grant->reason, sizeof g->grant->reason);
		return true;
	}
	if (!g->is_reset && strcmp(name, "amount") == 0) {
		g->amount = v;
		return true;
	}
	if (!g->is_reset && strcmp(name, "until") == 0)
		return shape_parse_time(c, name, v, &g->grant->until_ms) == 0;
	call_refuse(c, ERR_BAD_REQUEST, name, "There is no member %s here.", name);
	return false;
}

/* The scope of a grant names the counter: a value for each dimension that the limit tells apart, and
 * for no other. */
static int
check_selection(struct call *c, const struct limit_rule *r, const struct grant *g, bool may_be_all,
	struct limit_values *v)
{
	bool any = false;

	for (size_t i = 0; i < DIMENSIONS; i++) {
		enum limit_dimension d = dimensions[i].at;

		if (g->value[d][0] == '\0')
			continue;
		any = true;
		if (r->how[d] != SCOPE_EACH && r->how[d] != SCOPE_TAGS)
			return call_refuse(c, ERR_BAD_REQUEST, "scope",
				"This limit does not count each %s by itself.", dimensions[i].name);
		if (strcmp(g->value[d], "each") == 0)
			return call_refuse(c, ERR_BAD_REQUEST, "scope",
				"Name one %s; \"each\" is none.", dimensions[i].name);
	}
	if (!grant_values(g, v))
		return call_refuse(c, ERR_BAD_REQUEST, "scope", "scope names no counter.");
	if (names_one(r, v) || (!any && may_be_all))
		return 0;
	return call_refuse(c, ERR_BAD_REQUEST, "scope",
		"This limit has a counter for each value; say in scope which one is meant, for "
		"every dimension that says \"each\".");
}

static int
begin_giving(struct call *c, bool is_reset, struct limit *l, struct giving *g)
{
	*g = (struct giving){
		.call = c, .grant = arena_alloc(c->arena, sizeof *g->grant), .is_reset = is_reset
	};
	if (g->grant == NULL)
		return call_no_memory(c);
	record_init(RECORD_GRANT, g->grant);
	if (call_body(c, giving_member, g) != 0 || resource_find(c, RECORD_LIMIT, c->id, l) != 0)
		return -1;
	if (l->metric == METRIC_PARALLEL && is_reset)
		return call_refuse(c, ERR_BAD_REQUEST, NULL,
			"What runs, runs: a limit on parallel requests cannot be reset.");
	g->grant->head.id = c->q->once->record[0];
	g->grant->limit = l->head.id;
	g->grant->is_reset = is_reset;
	return 0;
}

int
limits_grant(struct call *c)
{
	struct limit *l = arena_alloc(c->arena, sizeof *l);
	struct giving g;
	struct limit_rule r;
	struct limit_values v;

	if (l == NULL)
		return call_no_memory(c);
	if (begin_giving(c, false, l, &g) != 0)
		return -1;
	limit_rule(l, NULL, &r);
	if (check_selection(c, &r, g.grant, true, &v) != 0)
		return -1;
	if (g.amount.type == JSON_NONE)
		return call_refuse(c, ERR_BAD_REQUEST, "amount", "amount is required.");
	if (read_amount(c, "amount", l, g.amount, &g.grant->amount) != 0)
		return -1;
	if (g.grant->amount == 0)
		return call_refuse(c, ERR_BAD_REQUEST, "amount", "amount must be more than 0.");
	if (g.grant->until_ms != 0 && g.grant->until_ms <= clock_wall_ms())
		return call_refuse(c, ERR_BAD_REQUEST, "until", "until lies in the past.");
	if (read_grants(c) != 0)
		return -1;
	if (c->grant_count >= GRANTS_MOST)
		return call_refuse(c, ERR_CONFLICT, NULL, "There are %d grants; delete old ones.",
			GRANTS_MOST);
	if (resource_create(c, RECORD_GRANT, g.grant, "limit.grant") != 0)
		return -1;
	return resource_reply(c, 201, &kind_grant, NULL, g.grant);
}

/* Of two resets at once the second finds the first's id taken, and looks again at what is used. */
static struct id
reset_id(const struct call *c, const struct use *u)
{
	uint8_t digest[SHA256_BYTES];
	struct {
		uint8_t name[COUNTER_NAME_BYTES];
		int64_t forgiven, start_ms;
	} what;
	struct id id;

	(void)c;
	memset(&what, 0, sizeof what);
	memcpy(what.name, u->name, u->name_len);
	what.forgiven = u->granted.forgiven;
	what.start_ms = u->start_ms;
	hash_sha256(&what, sizeof what, digest);
	memcpy(&id, digest, sizeof id);
	return id;
}

/* 1 made, 0 there is nothing to reset, -1. */
static int
reset_once(struct call *c, const struct limit *l, struct giving *g)
{
	struct limit_values v;
	struct limit_index *x = index_one(c, l);
	int64_t rolling_ms = limit_rolling_ms(l);
	struct use u;
	int rc = -1;

	if (x == NULL)
		return -1;
	if (check_selection(c, limit_index_rule(x, 0), g->grant, false, &v) == 0)
		rc = read_use(c, x, &v, &u);
	limit_index_free(x);
	if (rc != 0)
		return -1;
	if (u.spent <= u.granted.forgiven)
		return 0;
	g->grant->amount = u.spent - u.granted.forgiven;
	g->grant->from_ms = board_now_ms(c->m->board);
	g->grant->until_ms = rolling_ms > 0               ? g->grant->from_ms + rolling_ms
			     : u.end_ms == WINDOW_FOREVER ? 0
							  : u.end_ms;
	/* A rolling window has no beginning that two calls would share. */
	g->grant->head.id = rolling_ms > 0 ? c->q->once->record[0] : reset_id(c, &u);
	return resource_create(c, RECORD_GRANT, g->grant, "limit.reset") == 0 ? 1 : -1;
}

int
limits_reset(struct call *c)
{
	struct limit *l = arena_alloc(c->arena, sizeof *l);
	struct giving g;

	if (l == NULL)
		return call_no_memory(c);
	if (begin_giving(c, true, l, &g) != 0)
		return -1;
	for (int i = 0; i < RESET_TRIES; i++) {
		int rc = reset_once(c, l, &g);

		if (rc > 0)
			return resource_reply(c, 201, &kind_grant, NULL, g.grant);
		if (rc == 0) {
			bytes_puts(&c->out->body, "{\"amount\":0}");
			c->out->status = 200;
			return 0;
		}
		if (c->err.code != ERR_CONFLICT)
			return -1;
		c->err = (struct err){ 0 };
		c->has_grants = false;
	}
	return call_refuse(c, ERR_CONFLICT, NULL, "Others reset this limit at the same time.");
}
