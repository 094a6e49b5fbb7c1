/* table_test.c - which route fits, which upstreams and keys serve a model and under what name, and
 * where a fallback leads. */
#include "plans.h"

static const char *
first_name(const struct scene *s)
{
	return s->plan.candidate[0].upstream->name;
}

static void
assert_model(const struct route_candidate *c, const char *want)
{
	if (!span_is(c->model, want))
		fail_msg("'%.*s' instead of '%s'", (int)c->model.len, c->model.at, want);
}

static void
the_nearest_route_fits(void **state)
{
	static const struct {
		const char *why, *model;
		bool of_project;
		const char *want; /* the target's model tells which */
	} cases[] = {
		{ "its name", "gpt-4o", false, "by-name" },
		{ "a glob", "gpt-4o-mini", false, "by-long-glob" },
		{ "a shorter one", "gpt-5", false, "by-glob" },
		{ "a regex, found anywhere", "my-claude-9", false, "by-regex" },
		{ "regexes know digits", "my-claude-x", false, "my-claude-x" },
		{ "the project's own before all", "gpt-4o", true, "by-project" },
		{ "and the common ones", "gpt-5", true, "by-glob" },
		{ "none", "llama", false, "llama" },
	};
	static const struct {
		const char *model, *goes_to;
	} routes[] = { { "gpt-4o", "by-name" }, { "gpt-4o-*", "by-long-glob" },
		{ "gpt-*", "by-glob" }, { "/claude-[0-9]+$/", "by-regex" } };
	struct scene *s = scene_of(*state, 1, 1);
	struct project own = house_project(s->h, "own"), other = house_project(s->h, "other");
	struct route r;

	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		r = scene_route(routes[i].model, STRATEGY_WEIGHTED);
		scene_target(s, &r, 0, 1, 0, routes[i].goes_to);
		house_create(s->h, RECORD_ROUTE, &r);
	}
	r = scene_route("gpt-4*", STRATEGY_WEIGHTED);
	r.project = own.head.id;
	scene_target(s, &r, 0, 1, 0, "by-project");
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	for (int turn = 0; turn < 2; turn++) /* made, and from memory */
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			WORKS(scene_ask(
				s, &(struct route_ask){ .model = span_of(cases[i].model),
					   .is_conversation = true,
					   .project = cases[i].of_project ? own.head.id
									  : other.head.id }));
			if (!span_is(s->plan.candidate[0].model, cases[i].want))
				fail_msg("%s: %.*s", cases[i].why,
					(int)s->plan.candidate[0].model.len,
					s->plan.candidate[0].model.at);
			assert_true((s->plan.route != NULL) ==
				    (strcmp(cases[i].model, cases[i].want) != 0));
		}
	scene_free(s);
}

static void
see_place(void *ctx, const struct upstream *u, struct span model)
{
	(void)u;
	*(struct span *)ctx = model;
}

static void
patterns_of_upstreams_and_keys_decide(void **state)
{
	static const struct {
		const char *why, *models, *blocked, *key_allowed, *key_blocked, *aliases, *ask;
		const char *want; /* its own name; NULL: no route, "": no key */
	} cases[] = {
		{ "all", "", "", "", "", "", "m", "m" },
		{ "a glob", "gpt-*", "", "", "", "", "gpt-4", "gpt-4" },
		{ "not among them", "gpt-*", "", "", "", "", "m", NULL },
		{ "a regex with a comma", "/^m{1,2}$/", "", "", "", "", "mm", "mm" },
		{ "which it does not fit", "/^m{1,2}$/", "", "", "", "", "mmm", NULL },
		{ "a broken regex fits nothing", "/(/\nx", "", "", "", "", "(", NULL },
		{ "and leaves the others alone", "/(/\nx", "", "", "", "", "x", "x" },
		{ "blocked", "", "*-preview", "", "", "", "m-preview", NULL },
		{ "by an alias", "gpt-4", "", "", "", "best=gpt-4", "best", "gpt-4" },
		{ "an alias admits", "none", "", "", "", "best=gpt-4", "best", "gpt-4" },
		{ "blocked by its own name", "", "gpt-*", "", "", "best=gpt-4", "best", NULL },
		{ "a chain", "", "", "", "", "a=b\nb=c\nc=d", "a", "d" },
		{ "a loop goes nowhere", "", "", "", "", "a=b\nb=a", "a", NULL },
		{ "eleven are too many", "", "", "", "",
			"a=b\nb=c\nc=d\nd=e\ne=f\nf=g\ng=h\nh=i\ni=j\nj=k\nk=l", "a", NULL },
		{ "an alias of itself is none", "", "", "", "", "a=a", "a", "a" },
		{ "the key's own list", "", "", "gpt-*", "", "", "m", "" },
		{ "of own names too", "", "", "gpt-*", "", "m=gpt-4", "m", "gpt-4" },
		{ "what the key may not", "", "", "", "/4o$/", "", "gpt-4o", "" },
		{ "by its own name neither", "", "", "", "/4o$/", "m=gpt-4o", "m", "" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct snapshot_key key = { .id = id_random(), .weight = 1 };
		struct upstream u = house_upstream_draft("u");
		struct snapshot snapshot = {
			.upstreams = &u, .upstream_count = 1, .keys = &key, .key_count = 1
		};
		struct house *h = *state;
		struct route_table *t;
		struct route_plan plan;
		struct route_ask ask = { .model = span_of(cases[i].ask), .is_conversation = true };
		struct span place;
		int rc;

		u.head.id = key.upstream = id_random();
		(void)strcpy(u.models, cases[i].models);
		(void)strcpy(u.blocked_models, cases[i].blocked);
		(void)strcpy(u.aliases, cases[i].aliases);
		(void)strcpy(key.allowed_models, cases[i].key_allowed);
		(void)strcpy(key.blocked_models, cases[i].key_blocked);
		t = route_table_new(h->board, &snapshot, &err);
		assert_non_null(t);
		rc = route_plan(t, &ask, &plan, &err);
		if (cases[i].want == NULL || cases[i].want[0] == '\0') {
			if (rc == 0 || err.code != (cases[i].want == NULL ? ERR_NO_ROUTE
									  : ERR_NO_KEY_AVAILABLE))
				fail_msg("%s: %s", cases[i].why, rc == 0 ? "asked" : err.text);
		} else if (rc != 0 || !span_is(plan.candidate[0].model, cases[i].want)) {
			fail_msg("%s: %s", cases[i].why, rc != 0 ? err.text : "another name");
		}
		place = SPAN_NONE;
		rc = route_places(t, &ask, see_place, &place, &err);
		if (rc != (cases[i].want != NULL && cases[i].want[0] != '\0') ||
			(rc == 1 && !span_is(place, cases[i].want)))
			fail_msg("%s: %d places", cases[i].why, rc);
		route_table_free(t);
	}
}

static void
a_name_may_name_the_upstream_too(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);

	(void)strcpy(scene_upstream(s, "")->models, "m\nx/y");
	(void)strcpy(scene_upstream(s, "")->models, "m\nq");
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 1, 1);
	scene_compile(s);
	WORKS(scene_plan(s, "b/m"));
	assert_int_equal(s->plan.count, 1);
	assert_string_equal(first_name(s), "b");
	assert_model(&s->plan.candidate[0], "m");
	WORKS(scene_plan(s, "a/deep/er")); /* whatever it lists */
	assert_model(&s->plan.candidate[0], "deep/er");
	WORKS(scene_plan(s, "x/y")); /* somebody serves the whole name */
	assert_model(&s->plan.candidate[0], "x/y");
	REFUSED(scene_plan(s, "nobody/m"), ERR_NO_ROUTE);
	scene_free(s);
}

static void
keys_may_be_lent(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);

	(void)strcpy(scene_upstream(s, "")->models, "mine");
	s->upstream[0].head.id = id_random();
	(void)strcpy(scene_upstream(s, "")->models, "yours");
	s->upstream[1].keys_of = s->upstream[0].head.id;
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 1, 1);
	scene_compile(s);
	WORKS(scene_plan(s, "mine"));
	assert_int_equal(s->plan.count, 1);
	WORKS(scene_plan(s, "yours"));
	assert_int_equal(s->plan.count, 2);
	for (int i = 0; i < 2; i++)
		assert_string_equal(s->plan.candidate[i].upstream->name, "b");
	scene_free(s);
}

static void
constraints_keep_out(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);
	struct route r = scene_route("m", STRATEGY_WEIGHTED);
	struct key k;

	(void)strcpy(scene_upstream(s, "")->region, "eu-1");
	(void)strcpy(scene_upstream(s, "")->region, "us-1");
	(void)scene_upstream(s, "");
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 1, 1);
	k = scene_key_draft(s, 1, 1); /* the key's own goes before its upstream's */
	(void)strcpy(k.tags, "plan=pro\nregion=eu-2");
	(void)scene_add_key(s, k);
	(void)scene_key(s, 2, 1);
	(void)strcpy(r.regions, "eu-*");
	(void)strcpy(r.blocked_upstreams, "c*");
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 2);
	for (int i = 0; i < 2; i++)
		assert_in_range(scene_key_of(s, &s->plan.candidate[i]) % 2, 0, 0);
	assert_int_equal(s->plan.record.out[REASON_CONSTRAINT], 2);
	assert_int_equal(s->plan.record.considered, 4);
	scene_free(s);
}

static int64_t
cost_by_name(void *ctx, const struct upstream *u, struct span model, bool usual)
{
	(void)ctx;
	(void)u;
	if (span_is(model, "unpriced"))
		return INT64_MIN;
	if (span_is(model, "free"))
		return 0;
	return (span_is(model, "dear") ? 1000 : 10) / (usual ? 2 : 1);
}

static int
ask_priced(struct scene *s, const char *model)
{
	return scene_ask(s,
		&(struct route_ask){
			.model = span_of(model), .is_conversation = true, .cost = cost_by_name });
}

static void
costs_are_kept_to(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);
	struct route r = scene_route("*", STRATEGY_WEIGHTED);

	(void)scene_upstream(s, "");
	scene_upstream(s, "")->free_only = true;
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)scene_key(s, 1, 1);
	r.max_cost_nusd = 100;
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	WORKS(ask_priced(s, "cheap"));
	assert_int_equal(s->plan.count, 1); /* the other one has free models alone */
	assert_int_equal(s->plan.record.out[REASON_COST], 1);
	WORKS(ask_priced(s, "free"));
	assert_int_equal(s->plan.count, 2);
	REFUSED(ask_priced(s, "dear"), ERR_MODEL_NOT_ALLOWED);
	assert_non_null(strstr(err.says, "costs more"));
	assert_int_equal(err.retry_boot_ms, 0);
	REFUSED(ask_priced(s, "unpriced"), ERR_MODEL_NOT_ALLOWED);
	assert_true(s->plan.record.out[REASON_UNPRICED] > 0);
	WORKS(ask_priced(s, "cheap:free"));
	assert_int_equal(s->plan.count, 2);
	scene_free(s);
}

static void
fallbacks_are_stages_by_what_went_wrong(void **state)
{
	struct scene *s = scene_of(*state, 2, 1);
	struct route r = scene_route("m", STRATEGY_WEIGHTED),
		     other = scene_route("wide", STRATEGY_WEIGHTED);

	scene_target(s, &r, 0, 1, 0, "");
	scene_target(s, &other, 1, 1, 0, "its-own-route");
	(void)strcpy(r.fallbacks, "error spare\ncontext wide\nfilter mild\nprice cheap");
	r.max_cost_nusd = 100;
	house_create(s->h, RECORD_ROUTE, &r);
	house_create(s->h, RECORD_ROUTE, &other);
	scene_compile(s);
	WORKS(ask_priced(s, "m"));
	/* m; spare at both; wide by its own route; mild at both */
	assert_model(&s->plan.candidate[0], "m");
	assert_int_equal(s->plan.candidate[0].stage, 0);
	{
		int error = route_next(&s->plan, 0, FAILURE_TRANSIENT, false, false);
		int context = route_next(&s->plan, 0, FAILURE_REQUEST, true, false);
		int filter = route_next(&s->plan, 0, FAILURE_REQUEST, false, true);

		assert_int_equal(error, 1);
		assert_model(&s->plan.candidate[error], "spare");
		assert_int_equal(
			s->plan.record.stages_on[s->plan.candidate[error].stage], ON_ERROR);
		assert_model(&s->plan.candidate[context], "its-own-route");
		assert_string_equal(s->plan.candidate[context].upstream->name, "b");
		assert_model(&s->plan.candidate[filter], "mild");
		assert_int_equal(
			route_next(&s->plan, 0, FAILURE_REQUEST, false, false), s->plan.count);
		/* where the longer context failed too, nothing else is tried */
		assert_int_equal(
			route_next(&s->plan, context, FAILURE_REQUEST, true, false), s->plan.count);
		/* of one stage the next one first */
		assert_int_equal(
			route_next(&s->plan, filter, FAILURE_TRANSIENT, false, false), filter + 1);
		assert_int_equal(route_next(&s->plan, filter + 1, FAILURE_TRANSIENT, false, false),
			s->plan.count);
	}
	for (int i = 1; i < s->plan.count; i++)
		assert_true(s->plan.candidate[i].stage >= s->plan.candidate[i - 1].stage);
	/* all of it rests: the spare model at the other one begins */
	scene_rest(s, 0, 60000);
	WORKS(ask_priced(s, "m"));
	assert_model(&s->plan.candidate[0], "spare");
	assert_string_equal(first_name(s), "b");
	scene_free(s);
}

static void
a_price_above_the_limit_leads_to_the_cheaper_model(void **state)
{
	struct scene *s = scene_of(*state, 1, 1);
	struct route r = scene_route("dear", STRATEGY_WEIGHTED);

	(void)strcpy(r.fallbacks, "context wide\nprice cheap");
	r.max_cost_nusd = 100;
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	WORKS(ask_priced(s, "dear"));
	assert_int_equal(s->plan.count, 1);
	assert_model(&s->plan.candidate[0], "cheap");
	assert_int_equal(s->plan.record.stages_on[s->plan.candidate[0].stage], ON_PRICE);
	scene_free(s);
}

static void
who_is_refused_is_told_the_fallbacks_too(void **state)
{
	struct scene *s = scene_of(*state, 0, 0);
	struct upstream *u = scene_upstream(s, "");
	struct route r = scene_route("m-*", STRATEGY_WEIGHTED);

	(void)strcpy(u->models, "here");
	scene_create_upstreams(s);
	(void)scene_key(s, 0, 1);
	(void)strcpy(r.fallbacks, "error gone-large\nerror gone\ncontext gone");
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	REFUSED(scene_plan(s, "m-1"), ERR_NO_ROUTE);
	assert_non_null(strstr(err.says, "'m-1' nor its fallbacks gone-large, gone;"));
	REFUSED(scene_plan(s, "other"), ERR_NO_ROUTE);
	assert_non_null(strstr(err.says, "'other';"));
	scene_free(s);
}

static void
what_rests_at_a_model_rests_there_alone(void **state)
{
	struct scene *s = scene_of(*state, 2, 1);
	struct board_target *at;

	scene_compile(s);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 2);
	at = board_target(s->h->board, board_target_part(s->key[0].head.id, "model", "m", 1));
	at->rest_until_ms = board_now_ms(s->h->board) + 60000;
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 1);
	assert_int_equal(s->plan.record.out[REASON_RESTS], 1);
	WORKS(scene_plan(s, "other"));
	assert_int_equal(s->plan.count, 2);
	at = board_target(s->h->board, board_target_part(s->upstream[1].head.id, "model", "m", 1));
	at->rest_until_ms = board_now_ms(s->h->board) + 60000;
	REFUSED(scene_plan(s, "m"), ERR_NO_KEY_AVAILABLE);
	scene_free(s);
}

/* More models than a table keeps views of; each is still decided alike. */
static void
many_models_do_not_fill_the_memory(void **state)
{
	struct scene *s = scene_of(*state, 2, 2);
	char model[600];

	scene_compile(s);
	for (int i = 0; i < 3 * VIEWS_MAX; i++) {
		(void)snprintf(model, sizeof model, "model-%d", i);
		WORKS(scene_plan(s, model));
		assert_int_equal(s->plan.count, 4);
		assert_ptr_equal(s->plan.candidate[0].model.at, model); /* the asker's own text */
	}
	assert_in_range(s->table->view_count, 1, VIEWS_MAX);
	memset(model, 'x', sizeof model - 1);
	model[sizeof model - 1] = '\0';
	WORKS(scene_plan(s, model));
	assert_int_equal(s->plan.candidate[0].model.len, sizeof model - 1);
	scene_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_nearest_route_fits),
		TEST(patterns_of_upstreams_and_keys_decide),
		TEST(a_name_may_name_the_upstream_too),
		TEST(keys_may_be_lent),
		TEST(constraints_keep_out),
		TEST(costs_are_kept_to),
		TEST(fallbacks_are_stages_by_what_went_wrong),
		TEST(who_is_refused_is_told_the_fallbacks_too),
		TEST(a_price_above_the_limit_leads_to_the_cheaper_model),
		TEST(what_rests_at_a_model_rests_there_alone),
		TEST(many_models_do_not_fill_the_memory),
	};

	return cmocka_run_group_tests_name("route/table", tests, NULL, NULL);
}
