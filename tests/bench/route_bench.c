/*
 * route_bench.c - what a decision costs, as a ratio to one bare Berkeley DB get in the same store.
 *
 * Over 10, 100 and 1,000 keys of a route: by weights alone; and with all that there is, which is
 * what the target is for: five objectives, constraints, four policies (dynamic bounds among them),
 * prices, figures and forecasts of every key, and the record of the decision encoded.
 *
 * Each figure is the median of interleaved rounds of CPU time.  Exits with 1 when 1,000 keys cost more than 40
 * gets.  Usage: route_bench [keys]: only so many keys, decisions without end (for a profiler).
 */
#include "store_bench.h"

#include "base/clock.h"
#include "route/record.h"
#include "route/route.h"
#include "settle/price.h"
#include "store/snapshot.h"
#include "store/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TARGET    40 /* gets for a decision over 1,000 keys */
#define TOKENS    1000
#define UPSTREAMS 10
#define NEXT_KEPT 3 /* as the gateway does of a request that goes as planned (decision.c) */

struct bench {
	struct place place;
	struct snapshot *snapshot;
	struct route_table *table;
	struct project project;
	int keys;
};

static void
create(struct bench *b, enum record_kind kind, void *record)
{
	struct err err = { 0 };

	((struct record *)record)->id = id_random();
	must(store_create(b->place.store, kind, record, &by_bench, &err), &err);
}

static void
make_tokens(struct bench *b)
{
	struct token *t = calloc(TOKENS, sizeof *t);
	struct err err = { 0 };

	record_init(RECORD_PROJECT, &b->project);
	strcpy(b->project.name, "bench");
	create(b, RECORD_PROJECT, &b->project);
	for (int i = 0; i < TOKENS; i++) {
		record_init(RECORD_TOKEN, &t[i]);
		t[i].head.id = id_random();
		t[i].project = b->project.head.id;
		hash_of(i, t[i].sha256);
	}
	for (int i = 0; i < TOKENS; i += 500)
		must(store_create_many(b->place.store, RECORD_TOKEN, t + i, 500, &by_bench, &err),
			&err);
	free(t);
}

static void
make_upstream(struct bench *b, int n, char *targets, size_t bytes)
{
	struct upstream u;
	struct key *k = calloc((size_t)b->keys, sizeof *k);
	struct price price;
	char id[ID_TEXT_BYTES];
	struct err err = { 0 };
	int count = 0;

	record_init(RECORD_UPSTREAM, &u);
	snprintf(u.name, sizeof u.name, "upstream-%d", n);
	strcpy(u.base_url, "https://provider.example/v1");
	strcpy(u.models, "gpt-*\n/^claude-[0-9]+/");
	strcpy(u.region, n % 2 ? "eu" : "us");
	snprintf(u.tags, sizeof u.tags, "quality=%d\nplan=pro", 50 + n);
	create(b, RECORD_UPSTREAM, &u);
	id_text("up_", u.head.id, id);
	snprintf(targets + strlen(targets), bytes - strlen(targets), "%s %d 0\n", id, 1 + n % 3);
	for (int i = n; i < b->keys; i += UPSTREAMS, count++) {
		record_init(RECORD_KEY, &k[count]);
		k[count].head.id = id_random();
		k[count].upstream = u.head.id;
		k[count].weight = 1 + i % 7;
		must(store_seal(b->place.store, k[count].head.id, span_of("sk-of-a-provider"),
			     &k[count].secret, &err),
			&err);
	}
	must(count == 0 ? 0
			: store_create_many(
				  b->place.store, RECORD_KEY, k, (size_t)count, &by_bench, &err),
		&err);
	free(k);
	record_init(RECORD_PRICE, &price);
	strcpy(price.model, "gpt-4*");
	price.upstream = u.head.id;
	price.input_nusd = 1000000000 + n * 50000000;
	price.output_nusd = 4000000000;
	create(b, RECORD_PRICE, &price);
}

static void
make_policies(struct bench *b)
{
	struct policy p;

	record_init(RECORD_POLICY, &p);
	strcpy(p.name, "costs");
	p.type = POLICY_COST_CONTROL;
	p.max_cost_nusd = 1000000000;
	p.refuse_unpriced = true;
	create(b, RECORD_POLICY, &p);
	record_init(RECORD_POLICY, &p);
	strcpy(p.name, "keys");
	p.type = POLICY_KEY_SELECTION;
	strcpy(p.allowed_states, "available\nrecovering");
	p.min_reliability = 50;
	create(b, RECORD_POLICY, &p);
	record_init(RECORD_POLICY, &p);
	strcpy(p.name, "upstreams");
	p.type = POLICY_ROUTING;
	p.scope = POLICY_OF_PROJECT;
	p.project = b->project.head.id;
	strcpy(p.blocked_upstreams, "none-*");
	strcpy(p.required_tags, "plan=pro");
	create(b, RECORD_POLICY, &p);
	record_init(RECORD_POLICY, &p);
	strcpy(p.name, "tries");
	p.type = POLICY_FAILURE_HANDLING;
	p.tries = 5;
	create(b, RECORD_POLICY, &p);
}

static void
make_routes(struct bench *b)
{
	struct route r;
	char targets[LIST_BYTES] = "";

	for (int n = 0; n < UPSTREAMS; n++)
		make_upstream(b, n, targets, sizeof targets);
	make_policies(b);
	record_init(RECORD_ROUTE, &r);
	strcpy(r.name, "all that there is");
	strcpy(r.model, "gpt-4o");
	strcpy(r.targets, targets);
	r.strategy = STRATEGY_OBJECTIVE;
	strcpy(r.objectives, "cost=2\nreliability=3\nfairness=1\nquality=1\nlatency=2");
	strcpy(r.regions, "eu\nus");
	r.min_reliability = 60;
	create(b, RECORD_ROUTE, &r);
	record_init(RECORD_ROUTE, &r);
	strcpy(r.name, "weights alone");
	strcpy(r.model, "gpt-4.1");
	strcpy(r.targets, targets);
	create(b, RECORD_ROUTE, &r);
}

/* What headers tell is of a key at a model, what a person gave is of the key: half of them each. */
static void
set_forecast(struct board_target *t, int64_t n, int64_t now_ms)
{
	t->forecast_dry_ms = now_ms + 600000 + n;
	t->forecast_share_ppm = n % 3 == 0 ? 700000 : 0;
	if (n % 20 == 3)
		t->forecast_hold_ms = now_ms + 3600000;
}

static struct board_target *
target_at(struct bench *b, struct id key, const char *model)
{
	return board_target(b->place.board, board_target_part(key, "model", model, strlen(model)));
}

/* What reports and forecasts would have written of each key. */
static void
set_figures(struct bench *b)
{
	int64_t now_ms = board_now_ms(b->place.board);

	for (size_t i = 0; i < b->snapshot->key_count; i++) {
		struct board_target *t = board_target(b->place.board, b->snapshot->keys[i].id);
		struct board_target *at[] = { target_at(b, b->snapshot->keys[i].id, "gpt-4o"),
			target_at(b, b->snapshot->keys[i].id, "gpt-4.1") };
		int64_t n = (int64_t)i;

		at[0]->success_ppm = at[1]->success_ppm = 1 + 1000000;
		t->ttft_us = 200000 + n * 7919 % 400000;
		t->success_ppm = 1 + 1000000 - n * 31 % 60000;
		t->picks = 1000 + n;
		t->share_ppm = n % 50 == 1 ? 100000 : 0;
		set_forecast(n % 2 == 0 ? t : at[0], n, now_ms);
		set_forecast(n % 2 == 0 ? t : at[1], n, now_ms);
		if (n % 25 == 4)
			t->rest_until_ms = now_ms + 3600000;
	}
}

static int64_t
cost(void *ctx, const struct upstream *u, struct span model, bool usual)
{
	const struct bench *b = ctx;
	struct tokens tokens = { .input = 900, .output = 300 };
	struct price_list list;

	price_find(b->snapshot, u, model, clock_wall_ms(), &list);
	return usual ? price_cost(&list, "", &tokens) : price_worst(&list, 1000, 4000);
}

static struct route_ask
ask_for(struct bench *b, const char *model)
{
	return (struct route_ask){ .model = span_of(model),
		.project = b->project.head.id,
		.is_conversation = true,
		.cost = cost,
		.ctx = b };
}

static void
decide(struct bench *b, const char *model)
{
	static struct route_plan plan;
	struct route_ask ask = ask_for(b, model);
	uint8_t out[480];
	struct err err = { 0 };

	must(route_plan(b->table, &ask, &plan, &err), &err);
	route_record_shorten(&plan.record, NEXT_KEPT);
	if (route_record_encode(&plan.record, out, sizeof out) < 0)
		exit(1);
}

/* Of this thread: others may use the machine too. */
static double
cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double
get_ns(struct bench *b, uint64_t *seed)
{
	static struct gets gets;
	double began;

	for (int i = 0; i < GETS; i++) {
		*seed = hash_64(seed, sizeof *seed, 1);
		gets.which[i] = (int64_t)(*seed % TOKENS);
	}
	gets_prepare(&gets);
	began = cpu_ns();
	gets_run(b->place.store, &gets);
	return (cpu_ns() - began) / GETS;
}

static double
decision_ns(struct bench *b, const char *model)
{
	int calls = 200000 / (b->keys + 100);
	double began = cpu_ns();

	for (int i = 0; i < calls; i++)
		decide(b, model);
	return (cpu_ns() - began) / calls;
}

/* True when it is within the target. */
static bool
measure(struct bench *b)
{
	double get[ROUNDS], all[ROUNDS], weights[ROUNDS], get_is, all_is, weights_is;
	uint64_t seed = 1;
	bool misses;

	for (int turn = 0; turn <= ROUNDS; turn++) { /* the first fills the caches */
		int round = turn == 0 ? 0 : turn - 1;

		get[round] = get_ns(b, &seed);
		all[round] = decision_ns(b, "gpt-4o");
		weights[round] = decision_ns(b, "gpt-4.1");
	}
	get_is = median(get);
	all_is = median(all);
	weights_is = median(weights);
	misses = b->keys == 1000 && all_is > TARGET * get_is;
	printf("decision over %4d keys: %.1f gets (%.1f us), by weights alone %.1f gets (%.1f us); "
	       "get %.0f ns%s\n",
		b->keys, all_is / get_is, all_is / 1000, weights_is / get_is, weights_is / 1000,
		get_is, misses ? "; above the target of 40" : "");
	return !misses;
}

static bool
bench(int keys, bool profile)
{
	struct bench b = { .keys = keys };
	struct err err = { 0 };
	bool good = true;

	place_make(&b.place, "route_bench");
	place_attach(&b.place, true);
	make_tokens(&b);
	make_routes(&b);
	b.snapshot = snapshot_load(b.place.store, 1, &err);
	must(b.snapshot == NULL ? -1 : 0, &err);
	b.table = route_table_new(b.place.board, b.snapshot, &err);
	must(b.table == NULL ? -1 : 0, &err);
	set_figures(&b);
	do
		good = measure(&b);
	while (profile);
	route_table_free(b.table);
	snapshot_drop(b.snapshot);
	place_detach(&b.place);
	place_remove(&b.place);
	return good;
}

int
main(int argc, char **argv)
{
	bool good = true;

	if (argc > 1)
		return bench(atoi(argv[1]), true) ? 0 : 1;
	for (int keys = 10; keys <= 1000; keys *= 10) {
		int status = 0;
		pid_t pid = fork(); /* a store is not open across a fork */

		if (pid == 0)
			exit(bench(keys, false) ? 0 : 1);
		if (waitpid(pid, &status, 0) != pid || status != 0)
			good = false;
	}
	return good ? 0 : 1;
}
