/*
 * ledger_bench.c - what the ledger costs, as ratios to one bare Berkeley DB get in the same store.
 *
 *   admission   six limits checked and reserved, a lease written (admit_reserve)
 *   caller      the token found by its secret, its project read, both checked
 *   settlement  a row booked with 63 others in one transaction, its lease settled
 *
 * Each figure is the median of interleaved rounds.  First with a thousand tokens, then with as many
 * as asked for; then with several processes, each on tokens of its own and all on one.
 *
 * Usage: ledger_bench [tokens [processes [bytes of a decision]]]
 */
#include "store_bench.h"

#include "admit/admit.h"
#include "base/clock.h"
#include "settle/settle.h"
#include "store/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FEW_TOKENS     1000
#define IN_USE         1000 /* tokens that have counters on the board */
#define CALLS          GETS /* a round; a multiple of STORE_BOOK_MAX */
#define CREATE_AT_ONCE 500
#define PROCESSES_MAX  16

struct bench {
	struct place place;
	struct snapshot *snapshot;
	struct project project;
	int64_t tokens;
};

struct figures {
	double get_ns, caller_ns, admission_ns, settlement_ns;
};

static void
load_snapshot(struct bench *b)
{
	struct err err = { 0 };

	b->snapshot = snapshot_load(b->place.store, 1, &err);
	must(b->snapshot == NULL ? -1 : 0, &err);
}

static void
make_records(struct bench *b)
{
	static const struct {
		int32_t metric, window;
		enum limit_dimension scope;
	} limits[] = { { METRIC_COST, WINDOW_MONTH, DIMENSION_TOKEN },
		{ METRIC_REQUESTS, WINDOW_MINUTE, DIMENSION_TOKEN },
		{ METRIC_REQUESTS, WINDOW_DAY, DIMENSION_TOKEN },
		{ METRIC_TOKENS, WINDOW_MINUTE, DIMENSION_TOKEN },
		{ METRIC_PARALLEL, WINDOW_TOTAL, DIMENSION_TOKEN },
		{ METRIC_COST, WINDOW_DAY, DIMENSION_PROJECT } };
	struct err err = { 0 };

	record_init(RECORD_PROJECT, &b->project);
	b->project.head.id = id_random();
	strcpy(b->project.name, "bench");
	must(store_create(b->place.store, RECORD_PROJECT, &b->project, &by_bench, &err), &err);
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct limit l;

		record_init(RECORD_LIMIT, &l);
		l.head.id = id_random();
		strcpy(l.scope[limits[i].scope], "each");
		l.metric = limits[i].metric;
		l.window = limits[i].window;
		l.cap = INT64_MAX / 4;
		must(store_create(b->place.store, RECORD_LIMIT, &l, &by_bench, &err), &err);
	}
}

static void
find_project(struct bench *b)
{
	struct err err = { 0 };

	must(store_find(b->place.store, RECORD_PROJECT, "bench", &b->project, &err) - 1, &err);
}

static void
make_tokens(struct bench *b, int64_t upto)
{
	struct token *t = calloc(CREATE_AT_ONCE, sizeof *t);
	struct err err = { 0 };

	while (b->tokens < upto) {
		size_t n = 0;

		for (; n < CREATE_AT_ONCE && b->tokens < upto; n++, b->tokens++) {
			record_init(RECORD_TOKEN, &t[n]);
			t[n].head.id = id_random();
			t[n].project = b->project.head.id;
			hash_of(b->tokens, t[n].sha256);
			snprintf(t[n].label, sizeof t[n].label, "token %lld", (long long)b->tokens);
		}
		must(store_create_many(b->place.store, RECORD_TOKEN, t, n, &by_bench, &err), &err);
		if (b->tokens % 50000 == 0)
			fprintf(stderr, "  %lld tokens\n", (long long)b->tokens);
	}
	free(t);
}

/* ---- what is measured ---- */

static double
per_call_ns(int64_t began_us)
{
	return (double)(clock_mono_us() - began_us) * 1000.0 / CALLS;
}

/* One of the tokens that are in use, which lie anywhere among all, or always the same. */
static int64_t
pick(const struct bench *b, uint64_t *seed, bool one)
{
	uint64_t n;

	*seed = hash_64(seed, sizeof *seed, 1);
	n = one ? 0 : *seed % IN_USE;
	return (int64_t)(hash_64(&n, sizeof n, 2) % (uint64_t)b->tokens);
}

static void
admit(struct bench *b, const struct admit_caller *caller, struct id exchange,
	struct admit_pass *pass)
{
	static struct settle_note note;
	struct admit_ask ask = { .caller = caller,
		.need = { .model = "gpt-4o-mini",
			.input_tokens = 100,
			.output_tokens = 100,
			.cost_nusd = 1000 } };
	struct err err = { 0 };

	while (admit_reserve(b->place.store, b->place.board, b->snapshot, &ask, exchange, &note,
		       sizeof note, pass, &err) != 0)
		if (err.code !=
			ERR_OVERLOADED) /* more processes than cores: a holder may not run */
			must(-1, &err);
}

static uint16_t decision = 53; /* bytes: as it usually is */

/* A whole batch, as the ledger's thread does it. */
static void
settle(struct bench *b, int64_t now_ms, const struct admit_caller *callers,
	const struct id *exchange, const struct admit_pass *pass)
{
	static struct usage_row rows[STORE_BOOK_MAX];
	static const int64_t spent[BOARD_CLAIMS_MAX] = { 1000, 1, 1, 200, 0, 1000 };
	bool booked[STORE_BOOK_MAX];
	struct err err = { 0 };

	for (int k = 0; k < STORE_BOOK_MAX; k++)
		rows[k] = (struct usage_row){ .exchange = exchange[k],
			.time_ms = now_ms,
			.project = b->project.head.id,
			.token = callers[k].token.head.id,
			.model = "gpt-4o-mini",
			.status = 200,
			.usage_source = USAGE_REPORTED,
			.tokens = { .input = 100, .output = 100 },
			.cost_nusd = 1000,
			.decision_len = decision };
	must(store_book(b->place.store, rows, STORE_BOOK_MAX, booked, &err), &err);
	for (int k = 0; k < STORE_BOOK_MAX; k++)
		while (board_settle(
			       b->place.board, pass[k].lease, spent, pass[k].count, 200, &err) < 0)
			if (err.code != ERR_OVERLOADED)
				must(-1, &err);
}

static struct figures
measure(struct bench *b, bool one)
{
	static struct gets gets;
	static struct admit_caller callers[CALLS];
	static struct admit_pass pass[STORE_BOOK_MAX];
	double get[ROUNDS], caller[ROUNDS], admission[ROUNDS], settlement[ROUNDS];
	uint64_t seed = (uint64_t)getpid();
	struct err err = { 0 };

	/* the first one fills the caches and makes the counters: it is not kept */
	for (int turn = 0; turn <= ROUNDS; turn++) {
		int round = turn == 0 ? 0 : turn - 1;
		int64_t began;
		int64_t now_ms = clock_wall_ms();
		struct id exchange[CALLS];

		for (int i = 0; i < CALLS; i++) {
			gets.which[i] = pick(b, &seed, one);
			exchange[i] = id_timed(now_ms);
		}
		gets_prepare(&gets);
		began = clock_mono_us();
		gets_run(b->place.store, &gets);
		get[round] = per_call_ns(began);
		began = clock_mono_us();
		for (int i = 0; i < CALLS; i++) {
			must(store_token_by_hash(
				     b->place.store, gets.key[i] + 1, &callers[i].token, &err) -
					1,
				&err);
			must(store_get(b->place.store, RECORD_PROJECT, callers[i].token.project,
				     &callers[i].project, &err) -
					1,
				&err);
		}
		caller[round] = per_call_ns(began);
		admission[round] = settlement[round] = 0;
		for (int i = 0; i < CALLS; i += STORE_BOOK_MAX) {
			int64_t middle;

			began = clock_mono_us();
			for (int k = 0; k < STORE_BOOK_MAX; k++)
				admit(b, &callers[i + k], exchange[i + k], &pass[k]);
			middle = clock_mono_us();
			settle(b, now_ms, &callers[i], &exchange[i], pass);
			settlement[round] += (double)(clock_mono_us() - middle) * 1000.0 / CALLS;
			admission[round] += (double)(middle - began) * 1000.0 / CALLS;
		}
		while (store_fold(b->place.store, &err) > 0) /* a clerk's work */
			;
	}
	return (struct figures){ median(get), median(caller), median(admission),
		median(settlement) };
}

static void
show(const char *what, int64_t tokens, const struct figures *f)
{
	printf("%-34s %8lld tokens: get %5.0f ns; admission %.2f gets (%.0f ns), caller %.2f, "
	       "settlement %.2f\n",
		what, (long long)tokens, f->get_ns, f->admission_ns / f->get_ns, f->admission_ns,
		f->caller_ns / f->get_ns, f->settlement_ns / f->get_ns);
	fflush(stdout);
}

/* All at once; the mean of what each measured. */
static void
measure_processes(struct bench *b, int processes, bool one)
{
	struct figures *all = mmap(NULL, sizeof *all * PROCESSES_MAX, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct figures mean = { 0 };
	char what[64];

	for (int i = 0; i < processes; i++)
		if (fork() == 0) {
			struct bench mine = *b;

			place_attach(&mine.place, false);
			find_project(&mine);
			load_snapshot(&mine);
			all[i] = measure(&mine, one);
			store_close(mine.place.store); /* or the others would recover */
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < processes; i++) {
		mean.get_ns += all[i].get_ns / processes;
		mean.caller_ns += all[i].caller_ns / processes;
		mean.admission_ns += all[i].admission_ns / processes;
		mean.settlement_ns += all[i].settlement_ns / processes;
	}
	snprintf(what, sizeof what, "%d processes, %s", processes,
		one ? "all on one token" : "any token");
	show(what, b->tokens, &mean);
	(void)munmap(all, sizeof *all * PROCESSES_MAX);
}

int
main(int argc, char **argv)
{
	struct bench b = { 0 };
	int64_t many = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000;
	int processes = argc > 2 ? atoi(argv[2]) : 4;
	int bytes = argc > 3 ? atoi(argv[3]) : decision;

	if (processes < 1 || processes > PROCESSES_MAX || bytes < 0 || bytes > DECISION_BYTES)
		return 1;
	decision = (uint16_t)bytes;
	place_make(&b.place, "ledger_bench");
	/* Each attachment in a process of its own: none is open across a fork. */
	for (int64_t tokens = FEW_TOKENS; tokens <= many;
		tokens = tokens < many ? many : many + 1) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			place_attach(&b.place, true);
			b.tokens = tokens == FEW_TOKENS ? 0 : FEW_TOKENS;
			if (b.tokens == 0)
				make_records(&b);
			else
				find_project(&b);
			make_tokens(&b, tokens);
			load_snapshot(&b);
			struct figures f = measure(&b, false);

			show("1 process, any token", tokens, &f);
			store_close(b.place.store);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
		b.tokens = tokens;
		measure_processes(&b, processes, false);
		measure_processes(&b, processes, true);
	}
	place_remove(&b.place);
	return 0;
}
