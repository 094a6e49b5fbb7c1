/*
 * routes.c - routes over the API: their targets as objects, and what must fit together in one.
 */
#include "conf/conf.h"
#include "manage/manage-int.h"
#include "route/pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS_MOST   64
#define FALLBACKS_MOST 4 /* as route.h has it */
#define WEIGHT_MOST    1000
#define PRIORITY_MOST  1000
#define LINE_BYTES     (ID_TEXT_BYTES + MODEL_BYTES + 32)

/* ---- targets ---- */

struct target {
	struct id upstream;
	int64_t weight, priority;
	char model[MODEL_BYTES];
};

struct targets {
	struct edit *edit;
	struct bytes lines;
	struct target at[TARGETS_MOST];
	int count;
	bool failed;
};

/* "up_ID weight priority model".  False: it is no such line. */
static bool
read_line(const char *line, struct target *t)
{
	char id[ID_TEXT_BYTES];
	size_t len = strcspn(line, " ");
	char *end;

	*t = (struct target){ .weight = 1 };
	if (!span_copy((struct span){ line, len }, id, sizeof id) ||
		id_parse("up_", id, &t->upstream) != 0)
		return false;
	t->weight = strtoll(line + len, &end, 10);
	t->priority = strtoll(end, &end, 10);
	end += *end == ' ';
	return span_copy(span_of(end), t->model, sizeof t->model);
}

static int
refuse_target(struct targets *l, const char *says)
{
	l->failed = true;
	return call_refuse(l->edit->call, ERR_BAD_REQUEST, "targets", "%s", says);
}

static bool
is_within(int64_t n, int64_t least, int64_t most)
{
	return n >= least && n <= most;
}

static int
add_target(struct targets *l, const struct target *t)
{
	char id[ID_TEXT_BYTES];

	if (!is_within(t->weight, 0, WEIGHT_MOST))
		return refuse_target(l, "A target's weight must be from 0 to 1000.");
	if (!is_within(t->priority, 0, PRIORITY_MOST))
		return refuse_target(l, "A target's priority must be from 0 to 1000.");
	if (l->count == TARGETS_MOST)
		return refuse_target(l, "A route has 64 targets at most.");
	for (int i = 0; i < l->count; i++)
		if (id_equal(l->at[i].upstream, t->upstream) &&
			strcmp(l->at[i].model, t->model) == 0)
			return refuse_target(l, "Two targets name the same upstream and model.");
	l->at[l->count++] = *t;
	id_text("up_", t->upstream, id);
	bytes_printf(&l->lines, "%s%s %lld %lld%s%s", l->lines.len > 0 ? "\n" : "", id,
		(long long)t->weight, (long long)t->priority, t->model[0] != '\0' ? " " : "",
		t->model);
	return 0;
}

/* "UPSTREAM [WEIGHT [PRIORITY [MODEL]]]", as the command sends it. */
static int
text_target(struct targets *l, struct json_value v, struct target *t)
{
	char *text = call_string(l->edit->call, "targets", v, NAME_BYTES + LINE_BYTES), *rest, *end;

	if (text == NULL)
		return -1;
	text += strspn(text, " ");
	rest = text + strcspn(text, " ");
	if (*rest != '\0')
		*rest++ = '\0';
	if (resource_refer(l->edit->call, RECORD_UPSTREAM, "targets", text, &t->upstream) != 0)
		return -1;
	if (*rest == '\0')
		return 0;
	t->weight = strtoll(rest, &end, 10);
	if (end == rest || (*end != ' ' && *end != '\0'))
		return refuse_target(l,
			"A target is an object, or \"UPSTREAM WEIGHT PRIORITY MODEL\" of which all "
			"but the first may be left out at the end.");
	rest = end;
	t->priority = strtoll(rest, &end, 10);
	if (*end != ' ' && *end != '\0')
		return refuse_target(l, "A target's priority must be from 0 to 1000.");
	end += *end == ' ';
	if (!span_copy(span_of(end), t->model, sizeof t->model))
		return refuse_target(l, "A target's model is too long.");
	return 0;
}

struct target_in {
	struct targets *list;
	struct target *target;
};

static bool
target_member(void *ctx, const struct json_member *m)
{
	struct target_in *in = ctx;
	struct call *c = in->list->edit->call;
	struct target *t = in->target;
	char *text;

	if (m->value.type == JSON_NULL)
		return true;
	if (span_is(m->key, "upstream_name")) /* shown, and so it may come back */
		return true;
	if (span_is(m->key, "upstream")) {
		text = call_string(c, "targets", m->value, MANAGE_ID_BYTES - 1);
		in->list->failed = text == NULL || resource_refer(c, RECORD_UPSTREAM, "targets",
							   text, &t->upstream) != 0;
	} else if (span_is(m->key, "model")) {
		text = call_string(c, "targets", m->value, MODEL_BYTES - 1);
		in->list->failed = text == NULL;
		if (text != NULL)
			(void)span_copy(span_of(text), t->model, sizeof t->model);
	} else if (span_is(m->key, "weight") || span_is(m->key, "priority")) {
		if (json_int(m->value, span_is(m->key, "weight") ? &t->weight : &t->priority) != 0)
			(void)refuse_target(
				in->list, "A target's weight and priority must be whole numbers.");
	} else {
		(void)refuse_target(
			in->list, "A target has upstream, model, weight and priority only.");
	}
	return !in->list->failed;
}

static bool
one_target(void *ctx, const struct json_member *m)
{
	struct targets *l = ctx;
	struct target t = { .weight = 1 };
	struct target_in in = { l, &t };

	if (m->value.type == JSON_STRING)
		l->failed = text_target(l, m->value, &t) != 0;
	else if (m->value.type != JSON_OBJECT ||
		 (json_each(m->value.raw, target_member, &in, NULL) != 0 && !l->failed))
		(void)refuse_target(l, "targets must be a list of objects.");
	if (!l->failed && id_is_none(t.upstream))
		(void)refuse_target(l, "Each target needs its upstream.");
	if (!l->failed && strpbrk(t.model, "\n\r\t") != NULL)
		(void)refuse_target(l, "A target's model may hold no control characters.");
	if (!l->failed)
		l->failed = add_target(l, &t) != 0;
	return !l->failed;
}

static int
take_targets(struct edit *e, struct json_value v)
{
	struct route *r = e->record;
	struct targets *l = arena_alloc(e->call->arena, sizeof *l);
	int rc = 0;

	if (l == NULL)
		return call_no_memory(e->call);
	l->edit = e;
	l->lines = BYTES_LIMIT(sizeof r->targets - 1);
	if (v.type != JSON_NULL &&
		(v.type != JSON_ARRAY ||
			(json_each_element(v.raw, one_target, l, NULL) != 0 && !l->failed)))
		(void)refuse_target(l, "targets must be a list of objects.");
	if (l->failed)
		rc = -1;
	else if (l->lines.failed)
		rc = refuse_target(l, "These are too many targets for one route.");
	if (rc == 0) {
		memset(r->targets, 0, sizeof r->targets);
		(void)span_copy(bytes_span(&l->lines), r->targets, sizeof r->targets);
	}
	bytes_free(&l->lines);
	return rc == 0 ? 1 : -1;
}

static void
put_targets(struct call *c, const struct route *r, struct bytes *out)
{
	const char *list = r->targets;
	char line[LINE_BYTES], id[ID_TEXT_BYTES];
	struct target t;

	bytes_puts(out, ",\"targets\":[");
	for (bool first = true; rules_next(&list, line, sizeof line);) {
		if (!read_line(line, &t))
			continue;
		bytes_puts(out, first ? "{" : ",{");
		first = false;
		id_text("up_", t.upstream, id);
		shape_text(out, "upstream", id);
		shape_text(out, "upstream_name", resource_name(c, RECORD_UPSTREAM, t.upstream));
		if (t.model[0] != '\0')
			shape_text(out, "model", t.model);
		else
			bytes_puts(out, ",\"model\":null");
		shape_int(out, "weight", t.weight);
		shape_int(out, "priority", t.priority);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "]");
}

bool
route_names_upstream(const struct route *r, struct id upstream)
{
	const char *list = r->targets;
	char line[LINE_BYTES];
	struct target t;

	while (rules_next(&list, line, sizeof line))
		if (read_line(line, &t) && id_equal(t.upstream, upstream))
			return true;
	return false;
}

/* ---- what fits together ---- */

static int
check_split(struct edit *e, const struct route *r)
{
	const char *list = r->targets;
	char line[LINE_BYTES];
	struct target t;
	int64_t sum = 0;

	if (r->strategy != STRATEGY_SPLIT)
		return 0;
	while (rules_next(&list, line, sizeof line))
		sum += read_line(line, &t) ? t.weight : 0;
	if (sum != 100)
		return call_refuse(e->call, ERR_BAD_REQUEST, "targets",
			"With strategy split the targets' weights are percentages: they must sum "
			"up "
			"to 100, and are %lld.",
			(long long)sum);
	return 0;
}

static int
check_fallbacks(struct edit *e, const struct route *r)
{
	static const char *const on[] = { "error ", "context ", "filter ", "price " };
	const char *list = r->fallbacks, *rest;
	char line[sizeof r->fallbacks], other[sizeof r->fallbacks];
	int count = 0;

	while (rules_next(&list, line, sizeof line)) {
		const char *model = strchr(line, ' ');
		bool known = false;

		for (size_t i = 0; i < sizeof on / sizeof on[0]; i++)
			known |= strncmp(line, on[i], strlen(on[i])) == 0;
		model = model != NULL ? model + strspn(model, " ") : "";
		if (!known || *model == '\0' || strlen(model) >= MODEL_BYTES)
			return call_refuse(e->call, ERR_BAD_REQUEST, "fallbacks",
				"fallbacks holds \"error NAME\", \"context NAME\", \"filter NAME\" "
				"or \"price NAME\"; '%.60s' is none.",
				line);
		if (strpbrk(model, "*?") != NULL || rules_is_regex(model))
			return call_refuse(e->call, ERR_BAD_REQUEST, "fallbacks",
				"A fallback is one model, not a pattern: '%.60s'.", model);
		if (strcmp(model, r->model) == 0)
			return call_refuse(e->call, ERR_BAD_REQUEST, "fallbacks",
				"The route is for %.60s itself: falling back to it would go in a "
				"circle.",
				model);
		for (rest = list; rules_next(&rest, other, sizeof other);)
			if (strcmp(other, line) == 0)
				return call_refuse(e->call, ERR_BAD_REQUEST, "fallbacks",
					"fallbacks has '%.60s' twice.", line);
		if (++count > FALLBACKS_MOST)
			return call_refuse(e->call, ERR_BAD_REQUEST, "fallbacks",
				"A route has %d fallbacks at most.", FALLBACKS_MOST);
	}
	return 0;
}

static int
check_model(struct edit *e, const struct route *r)
{
	if (!rules_is_regex(r->model) && strchr(r->model, ',') != NULL)
		return call_refuse(e->call, ERR_BAD_REQUEST, "model",
			"model is one name or pattern; make a route for each, or use /a|b/.");
	return rules_check_pattern(e->call, "model", r->model);
}

static int
route_member(struct edit *e, const char *name, struct json_value v)
{
	return strcmp(name, "targets") == 0 ? take_targets(e, v) : 0;
}

static int
route_finish(struct edit *e)
{
	const struct route *r = e->record;
	struct call *c = e->call;
	int64_t drain_ms, sum;

	if (check_model(e, r) != 0 || rules_check(e) != 0 || check_split(e, r) != 0 ||
		check_fallbacks(e, r) != 0 ||
		rules_check_requests(c, "request_rules", r->request_rules) != 0 ||
		rules_check_objectives(c, "objectives", r->objectives, &sum) != 0)
		return -1;
	if (r->strategy == STRATEGY_OBJECTIVE && sum == 0)
		return call_refuse(c, ERR_BAD_REQUEST, "objectives",
			"Strategy objective needs objectives, such as [\"cost=2\", "
			"\"reliability=1\"].");
	if (r->affinity_s > r->affinity_most_s)
		return call_refuse(c, ERR_BAD_REQUEST, "affinity_s",
			"affinity_s may not be longer than affinity_most_s.");
	if (r->disconnect[0] != '\0' && conf_disconnect(r->disconnect, &drain_ms) != 0)
		return call_refuse(c, ERR_BAD_REQUEST, "disconnect",
			"disconnect must be cancel, drain or drain:<seconds>.");
	return 0;
}

static bool
route_hides(const struct field *f)
{
	return f->offset == offsetof(struct route, targets);
}

static int
route_extra(struct call *c, const void *record, const struct filter *f, struct bytes *out)
{
	(void)f;
	put_targets(c, record, out);
	return 0;
}

static bool
route_passes(const void *record, const struct filter *f)
{
	const struct route *r = record;

	return (id_is_none(f->project) || id_equal(f->project, r->project)) &&
	       (id_is_none(f->upstream) || route_names_upstream(r, f->upstream)) &&
	       (f->active < 0 || r->is_active == (f->active != 0)) &&
	       (f->model[0] == '\0' || strcmp(f->model, r->model) == 0 ||
		       pattern_fits(r->model, span_of(f->model))) &&
	       (f->text[0] == '\0' || strcasestr(r->name, f->text) != NULL ||
		       strcasestr(r->model, f->text) != NULL);
}

const struct kind kind_route = {
	.record = RECORD_ROUTE,
	.member = route_member,
	.finish = route_finish,
	.hides = route_hides,
	.extra = route_extra,
	.passes = route_passes,
};

int
routes_list(struct call *c)
{
	return resource_list(c, &kind_route);
}

int
routes_get(struct call *c)
{
	return resource_get(c, &kind_route);
}

int
routes_post(struct call *c)
{
	return resource_post(c, &kind_route);
}

int
routes_patch(struct call *c)
{
	return resource_patch(c, &kind_route);
}

int
routes_delete(struct call *c)
{
	struct route *r = arena_alloc(c->arena, sizeof *r);

	if (r == NULL)
		return call_no_memory(c);
	if (store_find(c->m->store, RECORD_ROUTE, c->id, r, &c->err) > 0 &&
		refuse_when_named(c, RECORD_ROUTE, r->head.id) != 0)
		return -1;
	return c->err.code != ERR_NONE ? -1 : resource_delete(c, &kind_route);
}
