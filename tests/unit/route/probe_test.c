/* probe_test.c - one live request over all processes finds out, whoever is killed when. */
#include "standing_fixture.h"

#define WORKERS     8
#define SHORT_RUN   3000
#define LONG_RUN    60000
#define KILLS_LEAST 20 /* however slow the machine is */

/* What all see. */
struct arena_seen {
	_Atomic int64_t probing; /* the pid that probes now; 0: nobody */
	_Atomic int64_t killed;  /* the last one that was */
	_Atomic int64_t probes, doubles, refused, asked_while_resting;
	_Atomic int stop;
	struct pool p;
};

/* As the provider would see it: is another probe under way, of somebody who is not being killed? */
static void
enter_probe(struct arena_seen *a)
{
	int64_t other = 0;

	while (!atomic_compare_exchange_strong(&a->probing, &other, (int64_t)getpid())) {
		/* who was killed before the last one may still stand there: nobody probed since */
		if (other != 0 && other != a->killed && kill((pid_t)other, 0) == 0) {
			atomic_fetch_add(&a->doubles, 1);
			return;
		}
	}
	atomic_fetch_add(&a->probes, 1);
}

static void
leave_probe(struct arena_seen *a)
{
	int64_t self = (int64_t)getpid();

	(void)atomic_compare_exchange_strong(&a->probing, &self, 0);
}

/* With the board alone, so that a death makes nobody recover the store. */
static pid_t
child(struct house *h, int (*fn)(struct house *h, void *ctx), void *ctx)
{
	static const struct board_options small = {
		.rows = 1024, .segments_max = 2, .leases = 256
	};
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid != 0)
		return pid;
	(void)alarm(120);
	h->roster = roster_join(h->dir, &err);
	h->board = h->roster == NULL ? NULL : board_open_sized(h->dir, h->roster, &small, &err);
	_exit(h->board == NULL ? 99 : fn(h, ctx));
}

/* Asks as fast as it can; every probe fails, so that there is always another one to make. */
static int
hammers(struct house *h, void *ctx)
{
	static const struct route_rests brief = { .default_ms = 1, .most_ms = 2, .hint_cap_ms = 2 };
	struct arena_seen *a = ctx;
	unsigned n = (unsigned)getpid();

	while (a->stop == 0) {
		struct route_candidate c = candidate(h, &a->p, 0, "m");
		struct route_outcome o = {
			.failure = FAILURE_RATE_LIMITED, .status = 429, .counts = true
		};

		if (!route_begin(h->board, &c, true)) {
			atomic_fetch_add(&a->refused, 1);
			continue;
		}
		if (!c.is_probe) /* the first ones, before anything rests */
			atomic_fetch_add(&a->asked_while_resting, 1);
		else
			enter_probe(a);
		n = n * 1103515245 + 12345;
		if (n >> 16 & 1)
			(void)usleep(n >> 16 & 1023);
		if (c.is_probe)
			leave_probe(a);
		if ((n >> 16 & 6) == 0)
			route_release(h->board, &c); /* its client left */
		else
			route_report(h->board, &c, &o, &brief);
	}
	return 0;
}

static void
never_two_probes_whoever_is_killed(void **state)
{
	const char *many = getenv("SLUICE_LONG");
	struct house *h = *state;
	struct arena_seen *a =
		mmap(NULL, sizeof *a, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[WORKERS];
	struct board_target *t;
	int64_t end, before;
	unsigned n = 1;
	int kills = 0;

	assert_true(a != MAP_FAILED);
	pool_make(&a->p, "");
	t = board_target(h->board, a->p.key[0].id);
	assert_true(fails(h, &a->p, 0, FAILURE_RATE_LIMITED, 429));
	t->rest_until_ms = 1; /* long due */
	house_close(h);
	for (int i = 0; i < WORKERS; i++)
		pid[i] = child(h, hammers, a);
	end = clock_boot_ms() + (many != NULL ? LONG_RUN : SHORT_RUN);
	while (clock_boot_ms() < end || kills <= KILLS_LEAST) {
		int i;

		(void)usleep(10000);
		n = n * 1103515245 + 12345;
		i = (int)(n >> 16) % WORKERS;
		/* sometimes the prober, sometimes anybody */
		for (int k = 0; (n >> 20 & 1) && k < WORKERS; k++)
			if (pid[k] == (pid_t)a->probing)
				i = k;
		a->killed = pid[i];
		house_kill(pid[i]);
		kills++;
		pid[i] = child(h, hammers, a);
	}
	before = a->probes;
	/* nothing is stuck: probes go on */
	for (int i = 0; i < 30000 && a->probes < before + 10; i++)
		(void)usleep(1000);
	assert_true(a->probes >= before + 10);
	a->stop = 1;
	for (int i = 0; i < WORKERS; i++)
		house_wait(pid[i], 0);
	print_message("%lld probes, %lld refused, %d kills, %lld at once\n", (long long)a->probes,
		(long long)a->refused, kills, (long long)a->doubles);
	assert_int_equal(a->doubles, 0);
	assert_int_equal(a->asked_while_resting, 0);
	assert_true(a->probes > 100);
	assert_true(kills > KILLS_LEAST);
	(void)munmap(a, sizeof *a);
}

static int
probes_and_waits(struct house *h, void *ctx)
{
	struct arena_seen *a = ctx;
	struct route_candidate c = candidate(h, &a->p, 0, "m");

	if (!route_begin(h->board, &c, true) || !c.is_probe)
		return 1;
	a->probing = getpid();
	(void)pause();
	return 2;
}

static void
a_killed_prober_leaves_nothing_stuck(void **state)
{
	struct house *h = *state;
	struct arena_seen *a =
		mmap(NULL, sizeof *a, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct board_target *t;
	pid_t pid;

	assert_true(a != MAP_FAILED);
	pool_make(&a->p, "");
	t = board_target(h->board, a->p.key[0].id);
	assert_true(fails(h, &a->p, 0, FAILURE_RATE_LIMITED, 429));
	t->rest_until_ms = 1;
	house_close(h);
	pid = child(h, probes_and_waits, a);
	while (a->probing == 0 && waitpid(pid, NULL, WNOHANG) == 0)
		(void)usleep(1000);
	house_open(h);
	t = board_target(h->board, a->p.key[0].id);
	assert_int_equal(standing_may(h->board, t, board_now_ms(h->board)), STANDING_PROBED);
	assert_false(works(h, &a->p, 0));
	house_kill(pid);
	assert_int_equal(stands(t), TARGET_THROTTLED); /* no cooldown is lost */
	assert_int_equal(standing_may(h->board, t, board_now_ms(h->board)), STANDING_DUE);
	assert_true(works(h, &a->p, 0));
	assert_int_equal(t->rest_until_ms, 0);
	assert_int_equal(t->prober, 0);
	(void)munmap(a, sizeof *a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(never_two_probes_whoever_is_killed),
		TEST(a_killed_prober_leaves_nothing_stuck),
	};

	return cmocka_run_group_tests_name("route/probe", tests, NULL, NULL);
}
