/*
 * report.c - what has happened: requests, usage, health.
 */
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "manage/manage-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MOST    500
#define ROWS_USUAL   50
#define LOOK_MOST    50000 /* rows looked at in one call, when few of them pass the filter */
#define ROLLUPS_MOST 20000

#define MINUTE_MS 60000LL
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* ---- requests ---- */

struct rows {
	struct rows_filter filter;
	char text[ROWS__COUNT][128]; /* what its values point at */
	char models[128];            /* a pattern: no posting says it */
	size_t most, count, looked;
	bool ended; /* by us, before the store came to its end */
	struct usage_row *at;
};

static bool
take_row(void *ctx, const struct usage_row *r)
{
	struct rows *l = ctx;

	if (l->models[0] == '\0' || glob_match(l->models, span_of(r->model)))
		l->at[l->count++] = *r;
	l->ended = l->count == l->most || ++l->looked == LOOK_MOST;
	return !l->ended;
}

static void
put_id(struct bytes *out, const char *name, const char *prefix, struct id id)
{
	char text[ID_TEXT_BYTES];

	id_text(prefix, id, text);
	if (id_is_none(id))
		bytes_printf(out, ",\"%s\":null", name);
	else
		shape_text(out, name, text);
}

static void
put_text_or_null(struct bytes *out, const char *name, const char *text)
{
	if (text[0] != '\0')
		shape_text(out, name, text);
	else
		bytes_printf(out, ",\"%s\":null", name);
}

static void
put_tags(struct bytes *out, const struct usage_row *r)
{
	bool any = false;

	bytes_puts(out, ",\"tags\":[");
	for (size_t i = 0; i < USAGE_TAGS_MAX; i++)
		if (r->tags[i][0] != '\0') {
			bytes_puts(out, any ? "," : "");
			bytes_json(out, span_of(r->tags[i]));
			any = true;
		}
	bytes_puts(out, "]");
}

/* The client's dialect: its paths tell. */
static const char *
protocol_of(const char *endpoint)
{
	static const struct {
		const char *begins, *name;
	} paths[] = { { "/v1/messages", "anthropic" }, { "/v1beta/", "gemini" },
		{ "/model/", "bedrock" } };

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (strncmp(endpoint, paths[i].begins, strlen(paths[i].begins)) == 0)
			return paths[i].name;
	return "openai";
}

void
requests_put(struct call *c, const struct usage_row *r)
{
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES];

	id_text("req_", r->exchange, id);
	bytes_puts(out, "{");
	shape_text(out, "id", id);
	put_text_or_null(out, "upstream_request_id", r->upstream_request_id);
	put_text_or_null(out, "session_id", r->session);
	put_text_or_null(out, "end_user", r->end_user);
	put_tags(out, r);
	shape_time(out, "time", r->time_ms);
	put_id(out, "project_id", record_prefix(RECORD_PROJECT), r->project);
	put_text_or_null(out, "project", resource_name(c, RECORD_PROJECT, r->project));
	put_id(out, "token_id", record_prefix(RECORD_TOKEN), r->token);
	shape_text(out, "endpoint", r->endpoint);
	shape_text(out, "protocol", protocol_of(r->endpoint));
	put_text_or_null(out, "model", r->model);
	put_text_or_null(out, "upstream", resource_name(c, RECORD_UPSTREAM, r->upstream));
	put_id(out, "upstream_id", record_prefix(RECORD_UPSTREAM), r->upstream);
	put_text_or_null(out, "upstream_model", r->upstream_model);
	put_id(out, "key_id", record_prefix(RECORD_KEY), r->key);
	shape_int(out, "status", r->status);
	put_text_or_null(out, "code", r->err_code < ERR__COUNT ? err_name(r->err_code) : "");
	put_text_or_null(out, "error", r->error);
	put_text_or_null(out, "dropped", r->dropped);
	bytes_printf(out, ",\"stream\":%s", r->stream != 0 ? "true" : "false");
	shape_int(out, "attempts", r->attempts);
	shape_int(out, "duration_ms", r->duration_ms);
	shape_int(out, "ttfb_ms", r->ttfb_ms);
	shape_tokens(out, &r->tokens);
	shape_text(out, "usage", usage_source_name((enum usage_source)r->usage_source));
	shape_money(out, "cost", r->cost_nusd);
	bytes_printf(out, ",\"cost_stated\":%s", r->cost_stated != 0 ? "true" : "false");
	put_text_or_null(out, "tier", r->tier);
	shape_text(out, "ended_by", ended_by_name((enum ended_by)r->ended_by));
	bytes_puts(out, "}");
}

/* One condition of the list, as it was asked. */
static int
query_text(struct call *c, const char *name, enum rows_by by, struct rows *l)
{
	int n = call_query(c, name, l->text[by], sizeof l->text[by]);

	if (n > 0)
		l->filter.value[by] = l->text[by];
	return n < 0 ? -1 : 0;
}

/* Rows keep the ids of records that are gone, so an id need not be found; a name must. */
static int
query_ref(struct call *c, const char *name, enum rows_by by, enum record_kind kind, struct rows *l)
{
	struct id id;

	if (query_text(c, name, by, l) != 0)
		return -1;
	if (l->filter.value[by] == NULL || id_parse(record_prefix(kind), l->text[by], &id) == 0)
		return 0;
	if (resource_refer(c, kind, name, l->text[by], &id) != 0)
		return -1;
	id_text(record_prefix(kind), id, l->text[by]);
	return 0;
}

/* "429", or a class: "4xx". */
static int
query_status(struct call *c, struct rows *l)
{
	const char *text = l->text[ROWS_STATUS];
	int status;

	if (query_text(c, "status", ROWS_STATUS, l) != 0)
		return -1;
	if (text[0] == '\0')
		return 0;
	if (text[0] >= '1' && text[0] <= '5' && strcmp(text + 1, "xx") == 0)
		return 0;
	status = atoi(text);
	if (status < 100 || status > 599 || strlen(text) != 3)
		return call_refuse(c, ERR_BAD_REQUEST, "status",
			"status must be a status such as 429, or a class such as 4xx.");
	return 0;
}

static int
query_model(struct call *c, struct rows *l)
{
	const char *text = l->text[ROWS_MODEL];

	if (query_text(c, "model", ROWS_MODEL, l) != 0)
		return -1;
	if (strpbrk(text, "*?") != NULL) {
		(void)span_copy(span_of(text), l->models, sizeof l->models);
		l->filter.value[ROWS_MODEL] = NULL;
	}
	return 0;
}

static int
query_rows(struct call *c, struct rows *l)
{
	int64_t failed;

	if (call_query_int(c, "failed", 0, 1, 0, &failed) != 0)
		return -1;
	l->filter.value[ROWS_FAILED] = failed != 0 ? "1" : NULL;
	return query_ref(c, "project_id", ROWS_PROJECT, RECORD_PROJECT, l) != 0 ||
			       query_ref(c, "token_id", ROWS_TOKEN, RECORD_TOKEN, l) != 0 ||
			       query_ref(c, "upstream_id", ROWS_UPSTREAM, RECORD_UPSTREAM, l) !=
				       0 ||
			       query_ref(c, "key_id", ROWS_KEY, RECORD_KEY, l) != 0 ||
			       query_text(c, "end_user", ROWS_END_USER, l) != 0 ||
			       query_text(c, "tag", ROWS_TAG, l) != 0 || query_model(c, l) != 0 ||
			       query_status(c, l) != 0
		       ? -1
		       : 0;
}

int
requests_list(struct call *c)
{
	struct rows l = { 0 };
	char text[32], *end;
	uint64_t cursor = 0;
	int64_t limit;

	if (call_query_int(c, "limit", 1, ROWS_MOST, ROWS_USUAL, &limit) != 0 ||
		query_rows(c, &l) != 0 || call_query(c, "cursor", text, sizeof text) < 0)
		return -1;
	if (text[0] != '\0') {
		cursor = strtoull(text, &end, 10);
		if (*end != '\0' || cursor == 0)
			return call_refuse(c, ERR_BAD_REQUEST, "cursor",
				"cursor must be the next of an earlier answer.");
	}
	l.most = (size_t)limit;
	l.at = arena_alloc(c->arena, l.most * sizeof *l.at);
	if (l.at == NULL)
		return call_no_memory(c);
	if (store_rows_find(c->m->store, &l.filter, &cursor, take_row, &l, &c->err) < 0)
		return -1;
	bytes_puts(&c->out->body, "{\"data\":[");
	for (size_t i = 0; i < l.count; i++) {
		if (i > 0)
			bytes_puts(&c->out->body, ",");
		requests_put(c, &l.at[i]);
	}
	if (l.ended && cursor > 0)
		bytes_printf(&c->out->body, "],\"next\":\"%llu\"}", (unsigned long long)cursor);
	else
		bytes_puts(&c->out->body, "],\"next\":null}");
	c->out->status = 200;
	return 0;
}

int
requests_get(struct call *c)
{
	struct usage_row *row = arena_alloc(c->arena, sizeof *row);
	struct id id;
	int rc = 0;

	if (row == NULL)
		return call_no_memory(c);
	if (id_parse("req_", c->id, &id) == 0)
		rc = store_row_get(c->m->store, id, row, &c->err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return call_refuse(c, ERR_NOT_FOUND, NULL,
			"There is no such request, or it is past its keeping.");
	requests_put(c, row);
	c->out->status = 200;
	return 0;
}

/* ---- usage ---- */

struct rollups {
	struct arena *arena;
	struct rollup *at;
	size_t count, room;
	bool no_memory, too_many;
};

static bool
take_rollup(void *ctx, const struct rollup *r)
{
	struct rollups *l = ctx;

	if (l->count == ROLLUPS_MOST) {
		l->too_many = true;
		return false;
	}
	if (l->count == l->room) {
		size_t room = l->room == 0 ? 64 : 2 * l->room;
		struct rollup *more = arena_alloc(l->arena, room * sizeof *more);

		if (more == NULL) {
			l->no_memory = true;
			return false;
		}
		if (l->count > 0)
			memcpy(more, l->at, l->count * sizeof *more);
		l->at = more;
		l->room = room;
	}
	l->at[l->count++] = *r;
	return true;
}

static const struct by {
	const char *name;
	enum rollup_by by;
	enum record_kind kind; /* of the value; RECORD__COUNT: a name */
} bys[] = {
	{ "total", BY_TOTAL, RECORD__COUNT },
	{ "project", BY_PROJECT, RECORD_PROJECT },
	{ "token", BY_TOKEN, RECORD_TOKEN },
	{ "model", BY_MODEL, RECORD__COUNT },
	{ "upstream", BY_UPSTREAM, RECORD_UPSTREAM },
	{ "key", BY_KEY, RECORD_KEY },
	{ "end_user", BY_END_USER, RECORD__COUNT },
	{ "tag", BY_TAG, RECORD__COUNT },
};

static const struct step {
	const char *name;
	enum rollup_step step;
	int64_t step_ms, usual_ms; /* looked back without `from` */
} steps[] = {
	{ "minute", STEP_MINUTE, MINUTE_MS, HOUR_MS },
	{ "hour", STEP_HOUR, HOUR_MS, DAY_MS },
	{ "day", STEP_DAY, DAY_MS, 30 * DAY_MS },
};

static int
query_time(struct call *c, const char *name, int64_t *out)
{
	char text[64];
	int n = call_query(c, name, text, sizeof text);

	if (n > 0 && time_of_text(text, out) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, name,
			"%s must be a time such as 2027-01-31T00:00:00Z, or a day.", name);
	return n < 0 ? -1 : 0;
}

static void
put_rollup(struct call *c, const struct by *by, const struct rollup *r)
{
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES] = "";

	bytes_puts(out, "{");
	shape_time(out, "from", r->from_ms);
	if (by->kind != RECORD__COUNT && !id_is_none(r->id)) {
		id_text(record_prefix(by->kind), r->id, id);
		shape_text(out, "value", id);
		shape_text(out, "label", resource_name(c, by->kind, r->id));
	} else {
		shape_text(out, "value", r->name);
		shape_text(out, "label", r->name);
	}
	shape_int(out, "requests", r->sum.requests);
	shape_int(out, "errors", r->sum.errors);
	shape_tokens(out, &r->sum.tokens);
	shape_money(out, "cost", r->sum.cost_nusd);
	shape_int(out, "unpriced", r->sum.unpriced);
	shape_int(out, "duration_ms", r->sum.duration_ms);
	shape_int(out, "ttfb_ms", r->sum.ttfb_ms);
	bytes_puts(out, "}");
}

int
usage_get(struct call *c)
{
	struct rollups l = { .arena = c->arena };
	const struct by *by = &bys[0];
	const struct step *step = &steps[1];
	char text[16], only[128];
	int64_t from_ms, to_ms = clock_wall_ms();
	size_t i;
	int n;

	if ((n = call_query(c, "by", text, sizeof text)) < 0)
		return -1;
	for (i = 0; n > 0 && i < sizeof bys / sizeof bys[0]; i++)
		if (strcmp(bys[i].name, text) == 0)
			break;
	if (n > 0 && i == sizeof bys / sizeof bys[0])
		return call_refuse(c, ERR_BAD_REQUEST, "by",
			"by must be total, project, token, model, upstream, key, end_user or tag.");
	by = n > 0 ? &bys[i] : by;

	if ((n = call_query(c, "step", text, sizeof text)) < 0)
		return -1;
	for (i = 0; n > 0 && i < sizeof steps / sizeof steps[0]; i++)
		if (strcmp(steps[i].name, text) == 0)
			break;
	if (n > 0 && i == sizeof steps / sizeof steps[0])
		return call_refuse(c, ERR_BAD_REQUEST, "step", "step must be minute, hour or day.");
	step = n > 0 ? &steps[i] : step;

	if (query_time(c, "to", &to_ms) != 0)
		return -1;
	from_ms = to_ms - step->usual_ms;
	if (query_time(c, "from", &from_ms) != 0 || call_query(c, "value", only, sizeof only) < 0)
		return -1;
	if (from_ms > to_ms)
		return call_refuse(c, ERR_BAD_REQUEST, "from", "from must not be later than to.");
	/* Whole steps: the one that `from` falls in counts from its start, that of `to` to its end. */
	from_ms -= from_ms % step->step_ms;
	to_ms += step->step_ms - 1;
	to_ms -= to_ms % step->step_ms;
	if (store_rollup_each(c->m->store, by->by, step->step, from_ms, to_ms,
		    only[0] != '\0' ? only : NULL, take_rollup, &l, &c->err) < 0)
		return -1;
	if (l.no_memory)
		return call_no_memory(c);
	if (l.too_many)
		return call_refuse(c, ERR_BAD_REQUEST, "step",
			"That is more than %d sums; ask for a longer step or a shorter time.",
			ROLLUPS_MOST);
	bytes_puts(&c->out->body, "{\"data\":[");
	for (i = 0; i < l.count; i++) {
		if (i > 0)
			bytes_puts(&c->out->body, ",");
		put_rollup(c, by, &l.at[i]);
	}
	bytes_puts(&c->out->body, "],\"next\":null}");
	c->out->status = 200;
	return 0;
}

/* ---- health ---- */

static bool
is_exposed(const struct call *c)
{
	const struct manage_request *q = c->q;

	return q->web_root != NULL && q->web_root[0] != '\0' &&
	       conf_is_exposed(c->m->conf, q->web_root, q->web_server != NULL ? q->web_server : "");
}

void
health_look_at_root(struct call *c)
{
	char known[CONF_PATH_BYTES] = "";
	struct err err = { 0 };
	ptrdiff_t len;

	if (c->q->web_root == NULL || atomic_exchange(&c->m->looked_at_root, true) ||
		!is_exposed(c))
		return;
	log_write(LOG_ERROR, "exposed",
		"the state in %.300s lies inside the web root %.300s, where anybody might fetch "
		"it: "
		"move it out and set state_dir, or see by `sluice check --url` that it is refused",
		c->m->conf->state_dir, c->q->web_root);
	len = store_value_get(c->m->store, WEB_ROOT_VALUE, known, sizeof known - 1, &err);
	if (len >= 0 && strlen(c->q->web_root) < sizeof known && strcmp(known, c->q->web_root) != 0)
		(void)store_value_put(
			c->m->store, WEB_ROOT_VALUE, c->q->web_root, strlen(c->q->web_root), &err);
}

static void
put_warnings(struct call *c)
{
	struct bytes *out = &c->out->body;

	bytes_puts(out, ",\"warnings\":[");
	if (is_exposed(c))
		bytes_json(out,
			span_of("The state lies inside the web root, where anybody might fetch it: "
				"move it out and set state_dir, or see by `sluice check --url` "
				"that it is refused."));
	bytes_puts(out, "]");
}

int
health_get(struct call *c)
{
	struct bytes *out = &c->out->body;
	struct store_health s;
	struct board_health b;

	if (store_health(c->m->store, &s, &c->err) < 0)
		return -1;
	board_health(c->m->board, &b);
	bytes_puts(out, "{\"store\":{");
	shape_int(out, "bytes_on_disk", s.bytes_on_disk);
	shape_int(out, "bytes_capped", s.bytes_capped);
	shape_int(out, "store_cap_bytes", c->m->conf->store_cap_bytes);
	shape_int(out, "vault_bytes", s.vault_bytes);
	shape_int(out, "rows", s.rows);
	shape_int(out, "rows_unfolded", s.rows_unfolded);
	shape_int(out, "epoch", s.epoch);
	shape_int(out, "attached", s.attached);
	shape_int(out, "recoveries", s.recoveries);
	shape_int(out, "last_recovery_ms", s.last_recovery_ms);
	shape_int(out, "abandoned", s.abandoned);
	shape_int(out, "schema", s.schema);
	bytes_puts(out, "},\"board\":{");
	shape_int(out, "rows", b.rows);
	shape_int(out, "rows_used", b.rows_used);
	shape_int(out, "rings", b.rings);
	shape_int(out, "rings_used", b.rings_used);
	shape_int(out, "repeats", b.repeats);
	shape_int(out, "repeats_used", b.repeats_used);
	shape_int(out, "leases", b.leases);
	shape_int(out, "leases_used", b.leases_used);
	shape_int(out, "rollbacks", b.rollbacks);
	shape_time(out, "remade_at", b.remade_ms);
	bytes_puts(out, "},\"counts\":{");
	shape_int(out, "exchanges", board_counted(c->m->board, COUNT_EXCHANGES));
	shape_int(out, "refused", board_counted(c->m->board, COUNT_REFUSED));
	shape_int(out, "failed", board_counted(c->m->board, COUNT_FAILED));
	shape_int(out, "attempts", board_counted(c->m->board, COUNT_ATTEMPTS));
	shape_int(out, "streams", board_counted(c->m->board, COUNT_STREAMS));
	shape_int(out, "bytes_in", board_counted(c->m->board, COUNT_BYTES_IN));
	shape_int(out, "bytes_out", board_counted(c->m->board, COUNT_BYTES_OUT));
	shape_int(out, "client_gone", board_counted(c->m->board, COUNT_CLIENT_GONE));
	shape_int(out, "reaped", board_counted(c->m->board, COUNT_REAPED));
	bytes_printf(out, "},\"version\":\"%s\"", SLUICE_VERSION);
	put_warnings(c);
	bytes_puts(out, "}");
	c->out->status = 200;
	return 0;
}
