/*
 * inflight.c - what runs now, over all processes, as its leases on the board tell it; and cutting
 * one, which its owner does within a quarter of a second.
 */
#include "base/clock.h"
#include "board/waiter.h"
#include "manage/manage-int.h"
#include "settle/settle.h"
#include "wire/openai.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN_MOST  1000
#define SHOWN_USUAL 200

/* One exchange; its note is a copy. */
struct running {
	struct usage_row row;
	int64_t output_chars, bytes;
	bool leaving;
	const struct board_waiting *waits; /* for its turn; NULL: it does not */
};

struct running_list {
	struct running *at;
	size_t count, most, total, waits; /* shown, at most, all, of all those that wait */
	struct id project, token;
	struct board_waiting *waiting; /* by id of their exchanges */
	size_t waiting_count;
};

static int
by_exchange(const void *a, const void *b)
{
	const struct board_waiting *x = a, *y = b;

	return memcmp(&x->exchange, &y->exchange, sizeof x->exchange);
}

static int
load_waiting(struct call *c, struct running_list *l)
{
	int count = board_waiting(c->m->board, NULL, 0);

	if (count == 0)
		return 0;
	l->waiting = arena_alloc(c->arena, (size_t)count * sizeof *l->waiting);
	if (l->waiting == NULL)
		return call_no_memory(c);
	l->waiting_count = (size_t)count;
	count = board_waiting(c->m->board, l->waiting, count);
	if ((size_t)count < l->waiting_count)
		l->waiting_count = (size_t)count;
	qsort(l->waiting, l->waiting_count, sizeof *l->waiting, by_exchange);
	return 0;
}

static bool
take_running(void *ctx, struct id exchange, struct roster_owner owner, const void *bytes)
{
	const struct settle_note *n = bytes;
	struct running_list *l = ctx;
	const struct board_waiting *waits = NULL;
	struct running *r;

	(void)owner;
	if (n->row.time_ms == 0 || n->follows != 0 || /* a lease of something else */
		(!id_is_none(l->project) && !id_equal(l->project, n->row.project)) ||
		(!id_is_none(l->token) && !id_equal(l->token, n->row.token)))
		return true;
	if (l->waiting_count > 0)
		waits = bsearch(&(struct board_waiting){ .exchange = exchange }, l->waiting,
			l->waiting_count, sizeof *l->waiting, by_exchange);
	l->total++;
	l->waits += waits != NULL;
	if (l->count == l->most)
		return true;
	r = &l->at[l->count++];
	r->row = n->row;
	r->row.exchange = exchange;
	r->output_chars = n->output_chars;
	r->bytes = n->bytes;
	r->leaving = n->leaving != 0;
	r->waits = waits;
	return true;
}

static int
older_first(const void *a, const void *b)
{
	const struct running *x = a, *y = b;

	return (x->row.time_ms > y->row.time_ms) - (x->row.time_ms < y->row.time_ms);
}

static void
put_ref(struct call *c, const char *id_name, const char *name, enum record_kind kind, struct id id)
{
	struct bytes *out = &c->out->body;
	char text[ID_TEXT_BYTES];

	if (id_is_none(id)) {
		bytes_printf(out, ",\"%s\":null", id_name);
		if (name != NULL)
			bytes_printf(out, ",\"%s\":null", name);
		return;
	}
	id_text(record_prefix(kind), id, text);
	shape_text(out, id_name, text);
	if (name != NULL)
		shape_text(out, name, resource_name(c, kind, id));
}

static void
put_running(struct call *c, const struct running *r, int64_t now_ms)
{
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES];

	id_text("req_", r->row.exchange, id);
	bytes_puts(out, "{");
	shape_text(out, "id", id);
	shape_time(out, "time", r->row.time_ms);
	shape_int(out, "age_ms", now_ms > r->row.time_ms ? now_ms - r->row.time_ms : 0);
	put_ref(c, "project_id", "project", RECORD_PROJECT, r->row.project);
	put_ref(c, "token_id", "token", RECORD_TOKEN, r->row.token);
	put_ref(c, "upstream_id", "upstream", RECORD_UPSTREAM, r->row.upstream);
	put_ref(c, "key_id", NULL, RECORD_KEY, r->row.key);
	shape_text(out, "endpoint", r->row.endpoint);
	shape_text(out, "model", r->row.model);
	shape_text(out, "end_user", r->row.end_user);
	bytes_printf(out, ",\"stream\":%s", r->row.stream != 0 ? "true" : "false");
	shape_text(out, "state", r->waits != NULL ? "waiting" : "running");
	if (r->waits != NULL) {
		shape_int(out, "position", r->waits->position);
		shape_time(out, "waiting_since",
			clock_wall_ms() - board_now_ms(c->m->board) + r->waits->since_ms);
	}
	shape_int(out, "bytes", r->bytes);
	shape_int(out, "output_tokens", openai_estimate_tokens(r->output_chars));
	bytes_printf(out, ",\"client_gone\":%s}", r->leaving ? "true" : "false");
}

int
inflight_list(struct call *c)
{
	struct running_list l = { 0 };
	char text[MANAGE_ID_BYTES];
	int64_t most;
	int n;

	if (call_query_int(c, "limit", 1, SHOWN_MOST, SHOWN_USUAL, &most) != 0 ||
		(n = call_query(c, "project_id", text, sizeof text)) < 0 ||
		(n > 0 && resource_refer(c, RECORD_PROJECT, "project_id", text, &l.project) != 0) ||
		(n = call_query(c, "token_id", text, sizeof text)) < 0 ||
		(n > 0 && resource_refer(c, RECORD_TOKEN, "token_id", text, &l.token) != 0))
		return -1;
	l.most = (size_t)most;
	l.at = arena_alloc(c->arena, l.most * sizeof *l.at);
	if (l.at == NULL)
		return call_no_memory(c);
	if (load_waiting(c, &l) != 0)
		return -1;
	if (board_inflight(c->m->board, take_running, &l) < 0)
		return err_set(&c->err, ERR_OVERLOADED, "the board's mutex was not to be had");
	qsort(l.at, l.count, sizeof *l.at, older_first);
	bytes_puts(&c->out->body, "{\"data\":[");
	for (size_t i = 0; i < l.count; i++) {
		bytes_puts(&c->out->body, i > 0 ? "," : "");
		put_running(c, &l.at[i], clock_wall_ms());
	}
	bytes_printf(
		&c->out->body, "],\"next\":null,\"total\":%zu,\"waiting\":%zu}", l.total, l.waits);
	c->out->status = 200;
	return 0;
}

int
inflight_cut(struct call *c)
{
	struct id id;
	int rc = 0;

	if (id_parse("req_", c->id, &id) == 0)
		rc = board_cut(c->m->board, id);
	if (rc < 0)
		return err_set(&c->err, ERR_OVERLOADED, "the board's mutex was not to be had");
	if (rc == 0)
		return call_refuse(c, ERR_NOT_FOUND, NULL,
			"No such request runs now; GET /manage/requests/%s tells how it ended.",
			c->id);
	if (store_audit_add(c->m->store, call_change(c, "request.cut"), c->id, &c->err) < 0)
		return -1;
	bytes_puts(&c->out->body, "{");
	shape_text(&c->out->body, "id", c->id);
	bytes_puts(&c->out->body, ",\"cut\":true}");
	c->out->status = 202;
	return 0;
}
