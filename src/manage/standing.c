/*
 * standing.c - how keys and upstreams stand, for people: state, cause and until when, what became of one,
 * circuit breakers, and whether a key works when it is asked for once.
 */
#include "route/standing.h"

#include "base/clock.h"
#include "errand/errand.h"
#include "manage/manage-int.h"
#include "route/forecast.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST_MS    20000
#define TEST_BYTES (4 * 1024 * 1024) /* of a list of models */
#define PARTS_MOST 200

/* ---- shapes ---- */

static void
put_or_null(struct bytes *out, const char *name, const char *text)
{
	if (text != NULL && text[0] != '\0')
		shape_text(out, name, text);
	else
		bytes_printf(out, ",\"%s\":null", name);
}

static void
put_number(struct bytes *out, const char *name, bool known, int64_t value, int64_t divisor)
{
	if (!known)
		bytes_printf(out, ",\"%s\":null", name);
	else if (divisor == 1)
		shape_int(out, name, value);
	else
		bytes_printf(out, ",\"%s\":%.1f", name, (double)value / (double)divisor);
}

static const char *
cause_or_none(enum target_cause cause)
{
	return cause == CAUSE_NONE ? NULL : standing_cause_name(cause);
}

static void
put_standing(struct bytes *out, const struct standing *st)
{
	shape_text(out, "state", standing_state_name(st->state));
	put_or_null(out, "cause", cause_or_none(st->cause));
	put_number(out, "status", st->status > 0, st->status, 1);
	shape_time(out, "rests_until", st->until_ms);
	shape_time(out, "stated_until", st->stated_until_ms);
	bytes_printf(out, ",\"is_probed\":%s", st->is_probed ? "true" : "false");
	shape_text(out, "breaker", standing_breaker_name(st->breaker));
	put_number(out, "share_percent", true, st->share_ppm, 10000);
	shape_int(out, "inflight", st->inflight);
	shape_int(out, "rests", st->rests);
	shape_int(out, "failures", st->failures);
	put_number(out, "success_percent", st->success_ppm >= 0, st->success_ppm, 10000);
	put_number(out, "ttft_ms", st->ttft_us >= 0, st->ttft_us, 1000);
	shape_time(out, "changed_at", st->changed_ms);
	shape_time(out, "failed_at", st->failed_ms);
	shape_time(out, "ok_at", st->ok_ms);
	shape_time(out, "probed_at", st->probed_ms);
}

struct parts {
	struct bytes *out;
	int count;
};

static bool
put_part(void *ctx, enum board_scope scope, const char *model, const struct standing *st)
{
	struct parts *p = ctx;

	if (scope != SCOPE_KEY_MODEL && scope != SCOPE_UPSTREAM_MODEL)
		return true;
	bytes_puts(p->out, p->count > 0 ? ",{" : "{");
	shape_text(p->out, "model", model);
	put_standing(p->out, st);
	bytes_puts(p->out, "}");
	return ++p->count < PARTS_MOST;
}

/* ---- what became of it ---- */

/* What happened just now is in the store, too: as a gateway's clerk does it. */
static void
catch_up(struct call *c)
{
	struct err ignored = { 0 };

	(void)standing_drain(c->m->board, c->m->store, &ignored);
}

static const char *
name_of_side(const struct board_event *e, uint8_t side)
{
	if (e->kind == EVENT_BREAKER)
		return standing_breaker_name((enum standing_breaker)side);
	if (e->kind == EVENT_QUOTA)
		return forecast_stage_name((enum forecast_stage)side);
	return side < TARGET__STATES ? standing_state_name((enum target_state)side) : "";
}

struct history {
	struct board_event event[2 * STANDING_KEPT];
	int count;
};

static bool
take_event(void *ctx, const struct board_event *e)
{
	struct history *h = ctx;

	if (h->count < 2 * STANDING_KEPT)
		h->event[h->count++] = *e;
	return true;
}

static int
newest_first(const void *a, const void *b)
{
	const struct board_event *x = a, *y = b;

	if (x->time_ms != y->time_ms)
		return x->time_ms > y->time_ms ? -1 : 1;
	return x->number > y->number ? -1 : x->number < y->number;
}

static void
put_event(struct bytes *out, const struct board_event *e, bool is_first)
{
	static const char *const kinds[] = { "state", "breaker", "rest", "quota" };
	static const char *const scopes[] = { "key", "key_model", "upstream", "upstream_model",
		"account" };
	bool at_model = e->scope == SCOPE_KEY_MODEL || e->scope == SCOPE_UPSTREAM_MODEL;

	bytes_puts(out, is_first ? "{" : ",{");
	shape_time(out, "time", e->time_ms);
	shape_text(out, "kind", e->kind < EVENT__COUNT ? kinds[e->kind] : "");
	shape_text(out, "scope", e->scope < SCOPE__COUNT ? scopes[e->scope] : "");
	put_or_null(out, "model", at_model ? e->name : NULL);
	put_or_null(out, "from", name_of_side(e, e->from));
	put_or_null(out, "to", name_of_side(e, e->to));
	put_or_null(out, "cause",
		e->cause < TARGET__CAUSES ? cause_or_none((enum target_cause)e->cause) : NULL);
	put_number(out, "status", e->status > 0, e->status, 1);
	shape_time(out, "until", e->until_ms);
	put_or_null(out, "evidence", e->evidence);
	bytes_puts(out, "}");
}

/* What became of a record, its parts at models and, where it is of one, its account. */
static int
reply_history(struct call *c, struct id record, struct id account)
{
	struct history *h = arena_alloc(c->arena, sizeof *h);
	struct bytes *out = &c->out->body;

	if (h == NULL)
		return call_no_memory(c);
	catch_up(c);
	if (standing_history(c->m->store, record, take_event, h, &c->err) < 0 ||
		(!id_is_none(account) &&
			standing_history(c->m->store, account, take_event, h, &c->err) < 0))
		return -1;
	qsort(h->event, (size_t)h->count, sizeof h->event[0], newest_first);
	bytes_puts(out, "{\"data\":[");
	for (int i = 0; i < h->count; i++)
		put_event(out, &h->event[i], i == 0);
	bytes_puts(out, "],\"next\":null}");
	c->out->status = 200;
	return 0;
}

int
keys_history(struct call *c)
{
	struct key *k = arena_alloc(c->arena, sizeof *k);

	if (k == NULL)
		return call_no_memory(c);
	if (resource_find(c, RECORD_KEY, c->id, k) != 0)
		return -1;
	return reply_history(c, k->head.id, ID_NONE);
}

/* ---- one upstream ---- */

int
upstreams_history(struct call *c)
{
	struct upstream *u = arena_alloc(c->arena, sizeof *u);

	if (u == NULL)
		return call_no_memory(c);
	if (resource_find(c, RECORD_UPSTREAM, c->id, u) != 0)
		return -1;
	return reply_history(c, u->head.id, route_target_of_group(span_of(u->group)));
}

/* Parts at models that are not as ever: an array. */
static int
put_models(struct call *c, struct id record, struct bytes *out)
{
	struct parts parts = { .out = out };

	bytes_puts(out, ",\"models\":[");
	if (standing_parts(c->m->board, c->m->store, record, put_part, &parts, &c->err) < 0)
		return -1;
	bytes_puts(out, "]");
	return 0;
}

int
upstream_put_standing(struct call *c, const struct upstream *u, struct bytes *out)
{
	struct board *b = c->m->board;
	struct standing st;

	catch_up(c);
	standing_state(b, board_target_find(b, u->head.id), u->is_active, u->breaker_forced, &st);
	bytes_puts(out, ",\"standing\":{");
	put_standing(out, &st);
	if (put_models(c, u->head.id, out) != 0)
		return -1;
	if (u->group[0] == '\0') {
		bytes_puts(out, ",\"account\":null}");
		return 0;
	}
	standing_state(b, board_target_find(b, route_target_of_group(span_of(u->group))), true,
		BREAKER_AUTO, &st);
	bytes_puts(out, ",\"account\":{");
	put_standing(out, &st);
	bytes_puts(out, "}}");
	return 0;
}

/* ---- one key ---- */

struct last_words {
	char evidence[sizeof((struct board_event *)0)->evidence];
};

static bool
take_evidence(void *ctx, const struct board_event *e)
{
	struct last_words *w = ctx;

	if (e->evidence[0] == '\0' || e->cause == CAUSE_PERSON || e->kind == EVENT_QUOTA)
		return true;
	memcpy(w->evidence, e->evidence, sizeof w->evidence);
	return false;
}

static void
put_last_error(struct call *c, const struct key *k, const struct standing *st, bool is_one,
	struct bytes *out)
{
	struct last_words w = { .evidence = "" };
	struct err ignored = { 0 };
	char text[sizeof w.evidence + 32], status[24] = "";

	if (st->state == TARGET_AVAILABLE || st->cause == CAUSE_NONE || st->cause == CAUSE_PERSON) {
		put_or_null(out, "last_error", NULL);
		return;
	}
	if (is_one)
		(void)standing_history(c->m->store, k->head.id, take_evidence, &w, &ignored);
	if (st->status > 0)
		snprintf(status, sizeof status, "HTTP %d", st->status);
	snprintf(text, sizeof text, "%s%s%s",
		status[0] != '\0' ? status : standing_cause_name(st->cause),
		w.evidence[0] != '\0' ? ": " : "", w.evidence);
	shape_text(out, "last_error", text);
}

static int
put_counters(struct call *c, const struct key *k, struct bytes *out)
{
	struct usage_sum sum;
	char id[ID_TEXT_BYTES];

	id_text("key_", k->head.id, id);
	if (store_usage_sum(c->m->store, BY_KEY, id, 0, clock_wall_ms(), &sum, &c->err) != 0)
		return -1;
	bytes_puts(out, ",\"counters\":{");
	shape_int(out, "requests", sum.requests);
	shape_int(out, "errors", sum.errors);
	shape_tokens(out, &sum.tokens);
	shape_money(out, "cost", sum.cost_nusd);
	bytes_puts(out, "}");
	return 0;
}

int
key_put_standing(struct call *c, const struct key *k, struct bytes *out)
{
	bool is_one = c->id[0] != '\0';
	struct standing st;

	standing_state(c->m->board, board_target_find(c->m->board, k->head.id), k->is_enabled,
		BREAKER_AUTO, &st);
	if (is_one)
		catch_up(c);
	put_standing(out, &st);
	put_last_error(c, k, &st, is_one, out);
	if (!is_one)
		return 0;
	if (put_models(c, k->head.id, out) != 0)
		return -1;
	return put_counters(c, k, out);
}

struct retrying {
	struct call *call;
	struct id key;
};

static bool
retry_part(void *ctx, enum board_scope scope, const char *model, const struct standing *st)
{
	struct retrying *r = ctx;
	struct err ignored = { 0 };

	(void)st;
	if (scope == SCOPE_KEY_MODEL)
		(void)standing_retry(r->call->m->board, r->key, span_of(model), &ignored);
	return true;
}

int
key_retry_parts(struct call *c, struct id key)
{
	struct retrying r = { c, key };

	return standing_parts(c->m->board, c->m->store, key, retry_part, &r, &c->err) < 0 ? -1 : 0;
}

/* ---- circuit breakers ---- */

struct breaker {
	struct breaker *next;
	enum record_kind kind;
	struct id id, upstream;
	char name[NAME_BYTES];
	struct standing st;
};

struct breakers {
	struct call *call;
	enum record_kind kind;
	struct breaker *first, **last;
	bool failed;
};

/* Of upstreams all, of keys those whose breaker is not closed. */
static bool
look_at_breaker(void *ctx, const void *record)
{
	struct breakers *l = ctx;
	struct board *b = l->call->m->board;
	const struct upstream *u = record;
	const struct key *k = record;
	bool is_upstream = l->kind == RECORD_UPSTREAM;
	struct breaker found = { .kind = l->kind, .id = u->head.id, .upstream = u->head.id }, *kept;

	if (is_upstream) {
		standing_state(b, board_target_find(b, u->head.id), u->is_active, u->breaker_forced,
			&found.st);
		memcpy(found.name, u->name, sizeof found.name);
	} else {
		standing_state(b, board_target_find(b, k->head.id), k->is_enabled, BREAKER_AUTO,
			&found.st);
		found.upstream = k->upstream;
		(void)span_copy(span_of(k->label[0] != '\0' ? k->label : k->masked), found.name,
			sizeof found.name);
		if (found.st.breaker == STANDING_CLOSED)
			return true;
	}
	if ((kept = arena_alloc(l->call->arena, sizeof *kept)) == NULL) {
		l->failed = true;
		return false;
	}
	*kept = found;
	*l->last = kept;
	l->last = &kept->next;
	return true;
}

static bool
is_shut(const struct breaker *b)
{
	return b->st.breaker != STANDING_CLOSED && b->st.breaker != STANDING_FORCED_CLOSED;
}

static void
put_breaker(struct call *c, const struct breaker *b, bool *any)
{
	struct bytes *out = &c->out->body;
	char id[ID_TEXT_BYTES];

	id_text(record_prefix(b->kind), b->id, id);
	bytes_puts(out, *any ? ",{" : "{");
	*any = true;
	shape_text(out, "id", id);
	shape_text(out, "name", b->name);
	shape_text(out, "kind", record_name(b->kind));
	shape_text(out, "upstream", resource_name(c, RECORD_UPSTREAM, b->upstream));
	shape_text(out, "breaker", standing_breaker_name(b->st.breaker));
	shape_text(out, "state", standing_state_name(b->st.state));
	put_or_null(out, "cause", cause_or_none(b->st.cause));
	shape_int(out, "failures", b->st.failures);
	shape_time(out, "opened_at", b->st.breaker == STANDING_CLOSED ? 0 : b->st.changed_ms);
	shape_time(out, "until", b->st.until_ms);
	bytes_puts(out, "}");
}

int
breakers_list(struct call *c)
{
	static const enum record_kind kinds[] = { RECORD_UPSTREAM, RECORD_KEY };
	struct breakers l = { .call = c, .last = &l.first };
	bool any = false;

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		l.kind = kinds[i];
		if (store_each(c->m->store, l.kind, ID_NONE, look_at_breaker, &l, &c->err) < 0)
			return -1;
	}
	if (l.failed)
		return call_no_memory(c);
	bytes_puts(&c->out->body, "{\"data\":[");
	for (int shut = 1; shut >= 0; shut--)
		for (const struct breaker *b = l.first; b != NULL; b = b->next)
			if (is_shut(b) == (shut != 0))
				put_breaker(c, b, &any);
	bytes_puts(&c->out->body, "],\"next\":null}");
	c->out->status = 200;
	return 0;
}

/* ---- does a key work? ---- */

struct trial {
	struct upstream upstream;
	struct snapshot_key key;
	char secret[SEALED_BYTES];
	struct errand errand;
};

/* What its provider's answer means, and a sentence where it means trouble. */
static const char *
judge(const struct errand *e, char *says, size_t room)
{
	static const struct {
		enum failure failure;
		const char *verdict, *says;
	} verdicts[] = {
		{ FAILURE_KEY_INVALID, "invalid", "Its provider does not know this key." },
		{ FAILURE_NO_CREDIT, "no_credit", "The account has no credit." },
		{ FAILURE_RATE_LIMITED, "rate_limited", "The key is limited just now." },
		{ FAILURE_OVERLOADED, "overloaded", "Its provider is overloaded." },
		{ FAILURE_MODEL, "forbidden", "The key may not do that." },
	};
	struct failure_headers none = { 0 };
	int64_t until_ms;
	enum failure f;

	says[0] = '\0';
	if (e->err.code != ERR_NONE || e->status == 0) {
		snprintf(says, room, "%s", err_public(&e->err));
		return e->err.code == ERR_UPSTREAM_CREDENTIALS ? "invalid" : "unreachable";
	}
	f = failure_classify(e->status, &none, bytes_span(&e->body), clock_wall_ms(), &until_ms);
	if (f == FAILURE_NONE && e->status < 300)
		return "works";
	for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++)
		if (verdicts[i].failure == f) {
			snprintf(says, room, "%s", verdicts[i].says);
			return verdicts[i].verdict;
		}
	snprintf(says, room, "Its provider answered with status %d.", e->status);
	return "failed";
}

static void
put_trial(struct call *c, const struct trial *t)
{
	const struct errand *e = &t->errand;
	struct bytes *out = &c->out->body, text = BYTES_LIMIT(MODELS_TEXT_MAX);
	struct models_page page = { 0 };
	struct err ignored = { 0 };
	char says[200];
	const char *verdict = judge(e, says, sizeof says);
	bool works = strcmp(verdict, "works") == 0;
	bool is_list = works &&
		       models_read(&t->upstream, bytes_span(&e->body), &page, &text, &ignored) == 0;

	bytes_printf(out, "{\"ok\":%s", works ? "true" : "false");
	shape_text(out, "verdict", verdict);
	put_number(out, "status", e->status > 0, e->status, 1);
	shape_int(out, "duration_ms", (e->took_us + 500) / 1000);
	put_number(out, "models", is_list, page.count, 1);
	put_or_null(out, "message", says);
	bytes_puts(out, "}");
	c->out->status = 200;
	bytes_free(&text);
}

static int
run_trial(struct call *c, struct trial *t)
{
	struct bytes url = BYTES_LIMIT(2 * URL_BYTES);
	struct errand_desk *d;

	if (models_url(&t->upstream, SPAN_NONE, &url, &c->err) != 0) {
		bytes_free(&url);
		return call_refuse(c, ERR_CONFLICT, NULL,
			"This upstream's protocol has no call that would prove a key without cost; "
			"send a request through it instead.");
	}
	if ((d = errand_open(c->m->store, c->m->board, c->m->conf, &c->err)) == NULL) {
		bytes_free(&url);
		return -1;
	}
	t->errand = (struct errand){ .upstream = &t->upstream,
		.key = t->upstream.auth == AUTH_NONE ? NULL : &t->key,
		.method = "GET",
		.url = url.at,
		.total_ms = TEST_MS,
		.most_bytes = TEST_BYTES };
	errand_run(d, &t->errand, 1);
	errand_close(d);
	put_trial(c, t);
	bytes_free(&t->errand.body);
	bytes_free(&url);
	return 0;
}

int
keys_test(struct call *c)
{
	struct key *k = arena_alloc(c->arena, sizeof *k);
	struct trial *t = arena_alloc(c->arena, sizeof *t);
	int rc;

	if (k == NULL || t == NULL)
		return call_no_memory(c);
	if (resource_find(c, RECORD_KEY, c->id, k) != 0)
		return -1;
	if (k->secret.len == 0)
		return call_refuse(
			c, ERR_CONFLICT, NULL, "This key was revoked and has no secret any more.");
	if (store_get(c->m->store, RECORD_UPSTREAM, k->upstream, &t->upstream, &c->err) <= 0)
		return c->err.code != ERR_NONE
			       ? -1
			       : call_refuse(c, ERR_CONFLICT, NULL, "The key's upstream is gone.");
	if (store_unseal(
		    c->m->store, k->head.id, &k->secret, t->secret, sizeof t->secret, &c->err) < 0)
		return -1;
	t->key.id = k->head.id;
	t->key.upstream = k->upstream;
	t->key.secret = t->secret;
	rc = run_trial(c, t);
	explicit_bzero(t->secret, sizeof t->secret);
	return rc;
}
