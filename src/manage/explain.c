/*
 * explain.c - why a request went where it went: its decision as JSON, and in plain sentences.
 *
 * All of it comes from the record that was kept with the row; of the records it names only their names
 * are looked up, and one that is gone is shown by its id.
 */
#include "base/clock.h"
#include "base/money.h"
#include "manage/manage-int.h"
#include "route/record.h"
#include "wire/request_rule.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX  (64 * 1024)
#define RULE_MOST 60 /* bytes of a request rule that are told */

struct explaining {
	struct call *call;
	struct usage_row row;
	bool has_record;
	struct route_record record;
	const char *rules;     /* the route's, when they are those of then; NULL */
	int64_t wall_ahead_ms; /* of board time */
};

/* What each reason says of a candidate. */
static const char *const reasons[ROUTE__REASONS] = {
	[REASON_CHOSEN] = "it was asked",
	[REASON_NEXT] = "it would have been next",
	[REASON_RESTS] = "it rests: throttled or exhausted",
	[REASON_INVALID] = "the provider refuses its key",
	[REASON_BREAKER] = "its circuit breaker is open",
	[REASON_PROBED] =
		"it rested, and another request was just finding out whether it still does",
	[REASON_FORECAST] = "its quota is used up by the forecast",
	[REASON_MODEL] = "it does not serve the model, or the model is blocked there",
	[REASON_DIALECT] = "it does not understand this path",
	[REASON_PROJECT] = "it is another project's, or the project has keys of its own",
	[REASON_POLICY] = "a policy forbids it",
	[REASON_CONSTRAINT] = "it is not within region, tenant or upstreams that the route allows",
	[REASON_COST] = "it would cost more than is allowed",
	[REASON_UNPRICED] = "its price is not known, and must be",
	[REASON_RELIABILITY] = "too many of its late calls failed",
	[REASON_PRIORITY] = "others go before it and could be asked",
	[REASON_FULL] = "it had as many calls running as it may have",
	[REASON_UNSUPPORTED] = "it cannot express what the request asks for",
	[REASON_LIMIT] = "a limit that names it was reached",
};

static const char *
reason_says(uint8_t reason)
{
	return reason < ROUTE__REASONS ? reasons[reason] : "for a reason of a newer program";
}

/* The name, or the id where the record is gone. */
static const char *
name_of(struct explaining *e, enum record_kind kind, struct id id)
{
	const char *name = resource_name(e->call, kind, id);
	char text[ID_TEXT_BYTES];
	char *copy;

	if (name[0] != '\0' || id_is_none(id))
		return name;
	id_text(record_prefix(kind), id, text);
	copy = arena_strdup(e->call->arena, text);
	return copy == NULL ? "" : copy;
}

/* "sk-…wXyZ (label)" */
static const char *
key_text(struct explaining *e, struct id id)
{
	struct key *key = arena_alloc(e->call->arena, sizeof *key);
	struct err ignored = { 0 };
	const char *text;

	if (id_is_none(id))
		return "no key";
	if (key == NULL || store_get(e->call->m->store, RECORD_KEY, id, key, &ignored) <= 0)
		return name_of(e, RECORD_KEY, id);
	text = key->label[0] == '\0'
		       ? key->masked
		       : arena_printf(e->call->arena, "%s (%s)", key->masked, key->label);
	return text == NULL ? "" : text;
}

static const char *
strategy_name(struct explaining *e)
{
	const struct field *f = shape_field_at(RECORD_ROUTE, offsetof(struct route, strategy));
	struct span name = shape_enum_name(f->values, e->record.strategy);

	return name.len == 0 ? "?" : arena_printf(e->call->arena, "%.*s", (int)name.len, name.at);
}

static int64_t
wall_of(const struct explaining *e, int64_t board_ms)
{
	return board_ms <= 0 ? 0 : board_ms + e->wall_ahead_ms;
}

/* ---- request rules ---- */

/* What the route says now is not what it said before it was changed. */
static void
find_rules(struct explaining *e)
{
	struct route *route = arena_alloc(e->call->arena, sizeof *route);
	struct err ignored = { 0 };

	if (e->record.rules != 0 && route != NULL &&
		store_get(e->call->m->store, RECORD_ROUTE, e->record.route, route, &ignored) > 0 &&
		route->head.updated_ms <= e->row.time_ms)
		e->rules = route->request_rules;
}

static struct span
beginning(struct span text)
{
	if (text.len <= RULE_MOST)
		return text;
	text.len = RULE_MOST;
	while (text.len > 0 && (text.at[text.len] & 0xc0) == 0x80)
		text.len--; /* not within a character */
	return text;
}

/* The next that applied behind *number, which becomes its number from 1; text: SPAN_NONE where it is not
 * known any more.  at: where the list is read.  False: no more. */
static bool
next_applied(const struct explaining *e, const char **at, int *number, struct span *text)
{
	do {
		if (*number == 32)
			return false;
		if (*at == NULL || !request_rules_next(at, text))
			*text = SPAN_NONE;
	} while ((e->record.rules >> (*number)++ & 1) == 0);
	*text = beginning(*text);
	return true;
}

/* ---- JSON ---- */

static void
put_ref(struct explaining *e, const char *id_name, const char *name, enum record_kind kind,
	struct id id)
{
	struct bytes *out = &e->call->out->body;
	char text[ID_TEXT_BYTES];

	if (id_is_none(id)) {
		bytes_printf(out, "%s\"%s\":null,\"%s\":null",
			out->at[out->len - 1] == '{' ? "" : ",", id_name, name);
		return;
	}
	id_text(record_prefix(kind), id, text);
	shape_text(out, id_name, text);
	shape_text(out, name, kind == RECORD_KEY ? key_text(e, id) : name_of(e, kind, id));
}

static void
put_bool(struct bytes *out, const char *name, bool value)
{
	bytes_printf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static void
put_policies(struct explaining *e)
{
	struct bytes *out = &e->call->out->body;

	bytes_puts(out, ",\"policies\":[");
	for (int i = 0; i < e->record.policy_count; i++) {
		bytes_puts(out, i > 0 ? ",{" : "{");
		put_ref(e, "policy_id", "policy", RECORD_POLICY, e->record.policy[i]);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "]");
}

/* Terms of a score are parts of 255; shown from 0 to 1. */
static const struct {
	const char *name;
	size_t at;
} terms[] = {
	{ "score", offsetof(struct route_member, score) },
	{ "cost", offsetof(struct route_member, cost) },
	{ "reliability", offsetof(struct route_member, reliability) },
	{ "fairness", offsetof(struct route_member, fairness) },
	{ "quality", offsetof(struct route_member, quality) },
	{ "latency", offsetof(struct route_member, latency) },
	{ "forecast", offsetof(struct route_member, forecast) },
};
#define TERMS (sizeof terms / sizeof terms[0])

static int
term_permille(const struct route_member *m, size_t term)
{
	return (*((const uint8_t *)m + terms[term].at) * 1000 + 127) / 255;
}

static void
put_stage(struct explaining *e, uint8_t stage)
{
	struct bytes *out = &e->call->out->body;

	shape_int(out, "stage", stage);
	shape_text(out, "stage_on",
		route_on_name(
			stage <= ROUTE_FALLBACKS_MAX ? e->record.stages_on[stage] : UINT8_MAX));
}

static void
put_member(struct explaining *e, const struct route_member *m)
{
	struct bytes *out = &e->call->out->body;
	bool any = false;

	put_ref(e, "upstream_id", "upstream", RECORD_UPSTREAM, m->upstream);
	put_ref(e, "key_id", "key", RECORD_KEY, m->key);
	put_stage(e, m->stage);
	shape_text(out, "reason", route_reason_name((enum route_reason)m->reason));
	shape_text(out, "says", reason_says(m->reason));
	shape_time(out, "until", wall_of(e, m->until_ms));
	bytes_puts(out, ",\"terms\":{");
	for (size_t i = 0; i < TERMS; i++) {
		int n = term_permille(m, i);

		if (n == 0)
			continue;
		bytes_printf(
			out, "%s\"%s\":%d.%03d", any ? "," : "", terms[i].name, n / 1000, n % 1000);
		any = true;
	}
	bytes_printf(
		out, "},\"share\":%d.%03d", m->share_permille / 1000, m->share_permille % 1000);
}

static void
put_attempt(struct explaining *e, const struct route_attempt *a)
{
	struct bytes *out = &e->call->out->body;
	const struct route_member *m =
		a->member < e->record.member_count ? &e->record.member[a->member] : NULL;

	put_ref(e, "upstream_id", "upstream", RECORD_UPSTREAM, m == NULL ? ID_NONE : m->upstream);
	put_ref(e, "key_id", "key", RECORD_KEY, m == NULL ? ID_NONE : m->key);
	put_stage(e, m == NULL ? 0 : m->stage);
	shape_int(out, "status", a->status);
	if (a->failure == FAILURE_NONE)
		bytes_puts(out, ",\"failure\":null");
	else
		shape_text(out, "failure", failure_name((enum failure)a->failure));
	shape_int(out, "began_ms", a->began_ms);
	shape_int(out, "took_ms", a->took_ms);
	put_bool(out, "probe", a->is_probe);
}

static void
put_rules(struct explaining *e)
{
	struct bytes *out = &e->call->out->body;
	const char *at = e->rules;
	struct span text;
	bool any = false;

	bytes_puts(out, ",\"rules\":[");
	for (int number = 0; next_applied(e, &at, &number, &text); any = true) {
		bytes_puts(out, any ? ",{" : "{");
		bytes_printf(out, "\"number\":%d,\"rule\":", number);
		if (text.len == 0)
			bytes_puts(out, "null");
		else
			bytes_json(out, text);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "]");
}

static void
put_lists(struct explaining *e)
{
	const struct route_record *r = &e->record;
	struct bytes *out = &e->call->out->body;
	bool any = false;

	shape_int(out, "considered", r->considered);
	bytes_puts(out, ",\"counts\":{");
	for (int i = 0; i < ROUTE__REASONS; i++) {
		if (r->out[i] == 0)
			continue;
		bytes_printf(out, "%s\"%s\":%d", any ? "," : "",
			route_reason_name((enum route_reason)i), r->out[i]);
		any = true;
	}
	bytes_puts(out, "},\"candidates\":[");
	for (int i = 0; i < r->member_count; i++) {
		bytes_puts(out, i > 0 ? ",{" : "{");
		put_member(e, &r->member[i]);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "]");
	shape_int(out, "not_told", r->member_left);
	bytes_puts(out, ",\"attempts\":[");
	for (int i = 0; i < r->attempt_count; i++) {
		bytes_puts(out, i > 0 ? ",{" : "{");
		put_attempt(e, &r->attempt[i]);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "]");
}

/* ---- sentences ---- */

static void
say_time(struct bytes *t, int64_t wall_ms)
{
	char text[CLOCK_TEXT_BYTES];

	clock_rfc3339(wall_ms, text);
	bytes_puts(t, text);
}

static void
say_request(struct explaining *e, struct bytes *t)
{
	const struct usage_row *r = &e->row;
	char id[ID_TEXT_BYTES], cost[MONEY_TEXT_BYTES];

	id_text("req_", r->exchange, id);
	bytes_printf(t, "REQUEST\n  %s of ", id);
	say_time(t, r->time_ms);
	bytes_printf(
		t, ", %s, by project %s.\n", r->endpoint, name_of(e, RECORD_PROJECT, r->project));
	if (r->model[0] != '\0')
		bytes_printf(t, "  It asked for the model %s.\n", r->model);
	bytes_printf(t, "  Its client got status %d after %u ms", r->status, r->duration_ms);
	if (r->cost_nusd != COST_UNKNOWN && r->cost_nusd != 0) {
		money_text(r->cost_nusd, cost);
		bytes_printf(t, "; it cost $%s", cost);
	}
	bytes_puts(t, ".\n");
	if (r->error[0] != '\0')
		bytes_printf(t, "  What went wrong: %s.\n", r->error);
}

static void
say_rules(struct explaining *e, struct bytes *t)
{
	const char *at = e->rules;
	struct span text;
	int number = 0;

	while (next_applied(e, &at, &number, &text))
		if (text.len > 0)
			bytes_printf(t, "  The route's request rule %d applied: %.*s.\n", number,
				(int)text.len, text.at);
		else
			bytes_printf(t,
				"  The route's request rule %d applied; the route was changed "
				"since.\n",
				number);
}

static void
say_objective(struct explaining *e, struct bytes *t)
{
	const struct route_record *r = &e->record;
	static const char *const affinity[] = { NULL, "Its session was new.",
		"Its session stayed where it was.",
		"Its session moved, as a better place was free.",
		"Its session had to leave, as its key could not be asked." };

	bytes_puts(t, "\nOBJECTIVE\n");
	if (id_is_none(r->route))
		bytes_puts(t, "  No route fits: all upstreams that serve the model make the pool");
	else
		bytes_printf(t, "  The route %s", name_of(e, RECORD_ROUTE, r->route));
	bytes_printf(t, "; strategy %s.\n", strategy_name(e));
	if (r->affinity > 0 && r->affinity < sizeof affinity / sizeof affinity[0])
		bytes_printf(t, "  %s\n", affinity[r->affinity]);
	for (int i = 0; i < r->policy_count; i++)
		bytes_printf(
			t, "  The policy %s applied.\n", name_of(e, RECORD_POLICY, r->policy[i]));
	say_rules(e, t);
	if (e->row.dropped[0] != '\0')
		bytes_printf(t, "  Conversion had to leave out: %s.\n", e->row.dropped);
	if (r->queued_ms > 0)
		bytes_printf(t, "  It waited %u ms for its turn.\n", r->queued_ms);
}

static void
say_terms(struct bytes *t, const struct route_member *m)
{
	const char *parts = "";

	if (m->share_permille > 0) {
		bytes_printf(t, "%sshare of the turns %d.%d %%", parts, m->share_permille / 10,
			m->share_permille % 10);
		parts = ", ";
	}
	for (size_t i = 0; i < TERMS; i++) {
		int n = term_permille(m, i);

		if (n == 0)
			continue;
		bytes_printf(t, "%s%s %d.%02d", parts, terms[i].name, n / 1000, n % 1000 / 10);
		parts = ", ";
	}
}

static void
say_member(struct explaining *e, struct bytes *t, const struct route_member *m)
{
	bytes_printf(t, "%s, %s", name_of(e, RECORD_UPSTREAM, m->upstream), key_text(e, m->key));
	if (m->stage > 0)
		bytes_printf(t, ", fallback %d (on %s)", m->stage,
			route_on_name(m->stage <= ROUTE_FALLBACKS_MAX
					      ? e->record.stages_on[m->stage]
					      : UINT8_MAX));
}

/* Who answered in the end, or was the last to be asked; NULL: nobody. */
static const struct route_member *
last_asked(const struct explaining *e)
{
	const struct route_record *r = &e->record;
	uint8_t at = r->attempt_count == 0 ? UINT8_MAX : r->attempt[r->attempt_count - 1].member;

	return at < r->member_count ? &r->member[at] : NULL;
}

/* How far it is from the best of the others.  Those whose scores are near take turns. */
static void
say_distance(const struct route_record *r, struct bytes *t, const struct route_member *m)
{
	const struct route_member *other = NULL;
	double ahead;

	for (int i = 0; i < r->member_count; i++)
		if (r->member[i].reason == REASON_NEXT &&
			(other == NULL || r->member[i].score > other->score))
			other = &r->member[i];
	if (m->score == 0 || other == NULL)
		return;
	ahead = ((double)m->score - (double)other->score) / 255;
	if (ahead >= 0)
		bytes_printf(t, "; ahead of the next by %.2f", ahead);
	else
		bytes_printf(t,
			"; another scores %.2f higher, but those near each other take turns",
			-ahead);
}

static void
say_chosen(struct explaining *e, struct bytes *t)
{
	const struct route_record *r = &e->record;
	const struct route_member *m = last_asked(e);

	bytes_puts(t, "\nCHOSEN\n  ");
	if (m == NULL) {
		bytes_puts(t, r->attempt_count > 0 ? "Somebody of whom no more is kept.\n"
						   : "Nobody was asked.\n");
		return;
	}
	say_member(e, t, m);
	if (e->row.upstream_model[0] != '\0' && strcmp(e->row.upstream_model, e->row.model) != 0)
		bytes_printf(t, ", as the model %s", e->row.upstream_model);
	bytes_puts(t, ".\n\nWHY\n  ");
	if (r->attempt_count > 1)
		bytes_printf(t, "It was attempt %d; those before it failed.\n  ", r->attempt_count);
	else if (r->attempt[0].is_probe)
		bytes_puts(t, "It had rested, and this request was the one to find out whether it "
			      "is back.\n  ");
	else
		bytes_puts(t, "It was the first in order of those that could be asked.\n  ");
	say_terms(t, m);
	if (r->attempt_count == 1 && !r->attempt[0].is_probe)
		say_distance(r, t, m);
	bytes_puts(t, ".\n");
}

static void
say_others(struct explaining *e, struct bytes *t)
{
	const struct route_record *r = &e->record;
	bool any = false;

	bytes_printf(t, "\nTHE OTHERS\n  %d key%s looked at.\n", r->considered,
		r->considered == 1 ? " was" : "s were");
	for (int i = 0; i < r->member_count; i++) {
		const struct route_member *m = &r->member[i];

		if (m->reason == REASON_CHOSEN)
			continue;
		bytes_puts(t, "  ");
		say_member(e, t, m);
		bytes_printf(t, ": %s", reason_says(m->reason));
		if (m->until_ms > 0) {
			bytes_puts(t, ", until ");
			say_time(t, wall_of(e, m->until_ms));
		}
		if (m->share_permille > 0 || m->score > 0) {
			bytes_puts(t, " (");
			say_terms(t, m);
			bytes_puts(t, ")");
		}
		bytes_puts(t, ".\n");
		any = true;
	}
	for (int i = 0; i < ROUTE__REASONS; i++)
		if (r->out[i] > 0) {
			bytes_printf(t, "  In all %d: %s.\n", r->out[i], reason_says((uint8_t)i));
			any = true;
		}
	if (r->member_left > 0)
		bytes_printf(t, "  Of %d more nothing is told.\n", r->member_left);
	if (!any)
		bytes_puts(t, "  There was nobody else.\n");
}

static void
say_attempts(struct explaining *e, struct bytes *t)
{
	const struct route_record *r = &e->record;

	bytes_puts(t, "\nATTEMPTS\n");
	for (int i = 0; i < r->attempt_count; i++) {
		const struct route_attempt *a = &r->attempt[i];

		bytes_printf(t, "  %d. after %u ms: ", i + 1, a->began_ms);
		if (a->member < r->member_count)
			say_member(e, t, &r->member[a->member]);
		else
			bytes_puts(t, "somebody of whom no more is kept");
		if (a->status > 0)
			bytes_printf(t, " answered %d", a->status);
		else
			bytes_puts(t, " did not answer");
		bytes_printf(t, " within %u ms", a->took_ms);
		if (a->failure != FAILURE_NONE)
			bytes_printf(t, " (%s)", failure_name((enum failure)a->failure));
		bytes_puts(t, a->is_probe ? ", as a probe.\n" : ".\n");
	}
	if (r->attempt_count == 0)
		bytes_puts(t, "  None.\n");
}

/* What the last one asked did for the client. */
static const char *
last_word(const struct explaining *e)
{
	const struct route_record *r = &e->record;

	if (r->attempt[r->attempt_count - 1].failure == FAILURE_NONE)
		return "had the last word";
	return e->row.err_code == ERR_NONE && e->row.status < 400
		       ? "failed too, and its answer went to the client as it was,"
		       : "was the last to fail";
}

static void
say_summary(struct explaining *e, struct bytes *t)
{
	const struct route_record *r = &e->record;
	const struct route_member *m = last_asked(e);
	const char *ended = ended_by_name((enum ended_by)e->row.ended_by);

	bytes_puts(t, "\nSUMMARY\n  ");
	if (r->attempt_count == 0)
		bytes_printf(t, "It was not sent to anybody (%s).\n", ended);
	else if (m == NULL)
		bytes_printf(t, "It took %d attempts and ended as: %s.\n", r->attempt_count, ended);
	else
		bytes_printf(t, "%s %s after %d attempt%s; it ended as: %s.\n",
			name_of(e, RECORD_UPSTREAM, m->upstream), last_word(e), r->attempt_count,
			r->attempt_count == 1 ? "" : "s", ended);
}

static void
say_all(struct explaining *e, struct bytes *t)
{
	say_request(e, t);
	if (!e->has_record) {
		bytes_puts(t,
			"\nNo decision is kept of it: it was refused before anybody was looked "
			"for, or it is of a time when none were kept.\n");
		return;
	}
	say_objective(e, t);
	say_chosen(e, t);
	say_others(e, t);
	say_attempts(e, t);
	say_summary(e, t);
}

/* ---- the endpoint ---- */

static int
put_all(struct explaining *e)
{
	struct call *c = e->call;
	struct bytes *out = &c->out->body, text = BYTES_LIMIT(TEXT_MAX);

	bytes_puts(out, "{\"request\":");
	requests_put(c, &e->row);
	put_bool(out, "has_record", e->has_record);
	if (e->has_record) {
		put_ref(e, "route_id", "route", RECORD_ROUTE, e->record.route);
		shape_text(out, "strategy", strategy_name(e));
		shape_text(out, "affinity", route_affinity_name(e->record.affinity));
		put_policies(e);
		put_lists(e);
		shape_int(out, "queued_ms", e->record.queued_ms);
		put_rules(e);
	}
	say_all(e, &text);
	shape_text(out, "text", text.at == NULL ? "" : text.at);
	bytes_puts(out, "}");
	if (text.failed)
		call_no_memory(c);
	bytes_free(&text);
	c->out->status = 200;
	return c->err.code == ERR_NONE ? 0 : -1;
}

int
requests_explain(struct call *c)
{
	struct explaining *e = arena_alloc(c->arena, sizeof *e);
	struct id id;
	int rc = 0;

	if (e == NULL)
		return call_no_memory(c);
	memset(e, 0, sizeof *e);
	e->call = c;
	if (id_parse("req_", c->id, &id) == 0)
		rc = store_row_get(c->m->store, id, &e->row, &c->err);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return call_refuse(c, ERR_NOT_FOUND, NULL,
			"There is no such request, or it runs still, or it is past its keeping.");
	e->has_record = e->row.decision_len > 0 &&
			route_record_decode(e->row.decision, e->row.decision_len, &e->record) == 0;
	find_rules(e);
	e->wall_ahead_ms = clock_wall_ms() - board_now_ms(c->m->board);
	return put_all(e);
}
