/* policy_test.c - whom policies of each scope keep out, what they set, and which of them counts. */
#include "plans.h"

static struct policy
policy(enum policy_scope scope)
{
	static int n;
	struct policy p;

	record_init(RECORD_POLICY, &p);
	(void)snprintf(p.name, sizeof p.name, "policy %d", n++);
	p.scope = (int32_t)scope;
	return p;
}

static void
make(struct scene *s, struct policy *p)
{
	house_create(s->h, RECORD_POLICY, p);
}

static bool
tells(const struct scene *s, const struct policy *p)
{
	for (int i = 0; i < s->plan.record.policy_count; i++)
		if (id_equal(s->plan.record.policy[i], p->head.id))
			return true;
	return false;
}

static void
deny_beats_allow_and_adds_up(void **state)
{
	struct scene *s = scene_of(*state, 4, 1);
	struct policy allow = policy(POLICY_GLOBAL), deny = policy(POLICY_GLOBAL),
		      other = policy(POLICY_OF_PROJECT);

	(void)strcpy(allow.allowed_upstreams, "a\nb\nc");
	allow.priority = 1000;
	(void)strcpy(deny.blocked_upstreams, "b");
	(void)strcpy(other.blocked_upstreams, "c");
	other.project = house_project(s->h, "other").head.id;
	make(s, &allow);
	make(s, &deny);
	make(s, &other);
	scene_compile(s);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 2);
	assert_int_equal(s->plan.record.out[REASON_POLICY], 2);
	assert_true(tells(s, &allow) && tells(s, &deny) && !tells(s, &other));
	WORKS(scene_ask(s, &(struct route_ask){ .model = span_of("m"),
				   .is_conversation = true,
				   .project = other.project }));
	assert_int_equal(s->plan.count, 1);
	assert_string_equal(s->plan.candidate[0].upstream->name, "a");
	scene_free(s);
}

static void
models_may_be_forbidden(void **state)
{
	struct scene *s = scene_of(*state, 1, 1);
	struct policy p = policy(POLICY_GLOBAL);
	struct route r = scene_route("o1", STRATEGY_WEIGHTED);

	(void)strcpy(p.blocked_models, "/^o[0-9]/");
	(void)strcpy(r.fallbacks, "error m");
	make(s, &p);
	house_create(s->h, RECORD_ROUTE, &r);
	scene_compile(s);
	WORKS(scene_plan(s, "m"));
	REFUSED(scene_plan(s, "o3"), ERR_MODEL_NOT_ALLOWED);
	assert_non_null(strstr(err.says, "'o3'"));
	REFUSED(scene_plan(s, "o1"), ERR_MODEL_NOT_ALLOWED); /* nor by way of its fallback */
	assert_int_equal(s->plan.count, 0);
	scene_free(s);
}

static void
keys_are_chosen_by_what_they_are(void **state)
{
	struct scene *s = scene_of(*state, 1, 0);
	struct policy blocks = policy(POLICY_OF_UPSTREAM), tags = policy(POLICY_GLOBAL);
	struct key k;
	char id[ID_TEXT_BYTES];

	for (int i = 0; i < 4; i++) {
		k = scene_key_draft(s, 0, 1);
		(void)snprintf(k.label, sizeof k.label, i == 1 ? "old one" : "key %d", i);
		(void)strcpy(k.tags, i == 3 ? "plan=free" : "plan=pro-2");
		(void)scene_add_key(s, k);
	}
	blocks.upstream = s->upstream[0].head.id;
	id_text("key_", s->key[0].head.id, id);
	(void)snprintf(blocks.blocked_keys, sizeof blocks.blocked_keys, "%s\nold*", id);
	(void)strcpy(tags.required_tags, "plan=pro-*");
	make(s, &blocks);
	make(s, &tags);
	scene_compile(s);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 1);
	assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), 2);
	assert_int_equal(s->plan.record.out[REASON_POLICY], 3);
	scene_free(s);
}

static void
where_an_upstream_stands_is_a_tag_too(void **state)
{
	struct scene *s = scene_of(*state, 2, 1);
	struct upstream *u = &s->upstream[1];
	struct policy p = policy(POLICY_GLOBAL);

	(void)strcpy(u->tier, "free");
	(void)strcpy(u->region, "eu-1");
	WORKS(store_update(s->h->store, RECORD_UPSTREAM, u, 0, &by_test, &err));
	(void)strcpy(p.required_tags, "tier=free\nregion=eu*");
	make(s, &p);
	scene_compile(s);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 1);
	assert_string_equal(s->plan.candidate[0].upstream->name, u->name);
	scene_free(s);
}

static void
failure_rules_come_narrowest_first(void **state)
{
	struct scene *s = scene_of(*state, 1, 1);
	struct policy all = policy(POLICY_GLOBAL), own = policy(POLICY_OF_KEY),
		      other = policy(POLICY_OF_PROJECT);
	const char *lists[3];

	other.project = id_timed(1);
	own.key = s->key[0].head.id;
	(void)strcpy(all.failure_rules, "-> next");
	(void)strcpy(own.failure_rules, "-> stop");
	(void)strcpy(other.failure_rules, "-> nocount");
	make(s, &all);
	make(s, &own);
	make(s, &other);
	scene_compile(s);
	WORKS(scene_plan(s, "m"));
	assert_int_equal(
		route_failure_rules(s->h->snapshot, NULL, ID_NONE, &s->plan.candidate[0], lists, 3),
		2);
	assert_string_equal(lists[0], "-> stop");
	assert_string_equal(lists[1], "-> next");
	assert_int_equal(route_failure_rules(s->h->snapshot, NULL, other.project,
				 &s->plan.candidate[0], lists, 3),
		3);
	assert_string_equal(lists[1], "-> nocount");
	assert_int_equal(route_failure_rules(s->h->snapshot, NULL, other.project,
				 &s->plan.candidate[0], lists, 1),
		1);
	scene_free(s);
}

static void
states_and_bounds_are_looked_at_each_time(void **state)
{
	struct scene *s = scene_of(*state, 1, 3);
	struct policy p = policy(POLICY_GLOBAL), own = policy(POLICY_OF_KEY);

	(void)strcpy(p.allowed_states, "available");
	own.key = s->key[1].head.id;
	own.min_reliability = 99;
	make(s, &p);
	make(s, &own);
	scene_compile(s);
	for (int i = 0; i < 3; i++) {
		scene_board(s, i)->success_ppm = 1 + 980000;
		scene_board(s, i)->picks = 100;
	}
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 2);
	assert_int_equal(s->plan.record.out[REASON_RELIABILITY], 1);
	scene_board(s, 0)->standing = TARGET_RECOVERING;
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 1);
	assert_int_equal(scene_key_of(s, &s->plan.candidate[0]), 2);
	scene_board(s, 0)->standing = TARGET_AVAILABLE;
	scene_board(s, 1)->success_ppm = 1 + 1000000;
	WORKS(scene_plan(s, "m"));
	assert_int_equal(s->plan.count, 3);
	scene_free(s);
}

static int64_t
fifty(void *ctx, const struct upstream *u, struct span model, bool usual)
{
	(void)ctx;
	(void)u;
	(void)model;
	(void)usual;
	return 50;
}

static void
the_lowest_cost_of_all_binds(void **state)
{
	struct scene *s = scene_of(*state, 2, 1);
	struct policy wide = policy(POLICY_GLOBAL), narrow = policy(POLICY_OF_UPSTREAM);
	struct route_ask ask = { .model = span_of("m"), .is_conversation = true, .cost = fifty };

	wide.max_cost_nusd = 100;
	narrow.upstream = s->upstream[0].head.id;
	narrow.max_cost_nusd = 40;
	make(s, &wide);
	make(s, &narrow);
	scene_compile(s);
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.count, 1);
	assert_string_equal(s->plan.candidate[0].upstream->name, "b");
	assert_int_equal(s->plan.record.out[REASON_COST], 1);
	scene_free(s);
}

static void
what_is_set_is_set_by_the_narrowest(void **state)
{
	struct scene *s = scene_of(*state, 1, 3);
	struct policy global = policy(POLICY_GLOBAL), first = policy(POLICY_GLOBAL),
		      project = policy(POLICY_OF_PROJECT), route = policy(POLICY_OF_ROUTE);
	struct route r = scene_route("m", STRATEGY_WEIGHTED);
	struct route_ask ask = { .model = span_of("m"), .is_conversation = true };

	r.tries = 9;
	r.deadline_ms = 1234;
	house_create(s->h, RECORD_ROUTE, &r);
	project.project = house_project(s->h, "p").head.id;
	route.route = r.head.id;
	global.tries = 2;
	first.tries = 3;
	first.priority = 5;
	project.tries = 4;
	project.strategy = 1 + STRATEGY_FIRST;
	route.strategy = 1 + STRATEGY_SAME;
	make(s, &global);
	scene_compile(s);
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.tries, 2);
	assert_int_equal(s->plan.deadline_ms, 1234);
	make(s, &first);
	make(s, &project);
	scene_compile(s);
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.tries, 3);
	assert_int_equal(s->plan.record.strategy, STRATEGY_WEIGHTED);
	ask.project = project.project;
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.tries, 4);
	assert_int_equal(s->plan.record.strategy, STRATEGY_FIRST);
	make(s, &route);
	scene_compile(s);
	WORKS(scene_ask(s, &ask));
	assert_int_equal(s->plan.record.strategy, STRATEGY_SAME);
	assert_true(tells(s, &route));
	scene_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(deny_beats_allow_and_adds_up),
		TEST(models_may_be_forbidden),
		TEST(keys_are_chosen_by_what_they_are),
		TEST(where_an_upstream_stands_is_a_tag_too),
		TEST(failure_rules_come_narrowest_first),
		TEST(states_and_bounds_are_looked_at_each_time),
		TEST(the_lowest_cost_of_all_binds),
		TEST(what_is_set_is_set_by_the_narrowest),
	};

	return cmocka_run_group_tests_name("route/policy", tests, NULL, NULL);
}
