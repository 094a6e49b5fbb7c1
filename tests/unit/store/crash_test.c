/*
 * crash_test.c - anyone may be killed at any time: the rest goes on within a second, what was
 * acknowledged is there, nothing is there twice.
 *
 * SLUICE_LONG=1: the chaos lasts a minute instead of six seconds.
 */
#include "store_fixture.h"

#include "store/store-int.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#ifdef __SANITIZE_THREAD__
#define SLOWER 10
#elif defined(__SANITIZE_ADDRESS__)
#define SLOWER 4
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOWER 10
#else
#define SLOWER 1
#endif
#else
#define SLOWER 1
#endif
#define ANSWERS_WITHIN_MS (1000 * SLOWER)

static void
sleep_ms(int64_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&t, NULL);
}

static void *
shared_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* ---- a death with a lock in hand ---- */

struct death {
	_Atomic int stage; /* 1: the victim may take its lock, 2: it holds it, 3: all is over */
	_Atomic bool die;
};

static int
die_inside(struct attach *at, DB_TXN *txn, void *arg, struct err *e)
{
	struct death *d = arg;
	DBT key, data;

	(void)e;
	dbt_in(&key, "Vcontended", 10);
	dbt_in(&data, "new", 3);
	if (at->table[TABLE_MAIN]->put(at->table[TABLE_MAIN], txn, &key, &data, 0) != 0)
		_exit(1);
	atomic_store(&d->stage, 2);
	while (!atomic_load(&d->die))
		sleep_ms(1);
	(void)kill(getpid(), SIGKILL);
	return 0;
}

static void
wait_stage(struct death *d, int stage)
{
	while (atomic_load(&d->stage) != stage)
		sleep_ms(1);
}

/* Forked before anybody is inside; it takes the lock when it is told to. */
static pid_t
start_victim(const struct fixture *f, struct death *d)
{
	pid_t child = fork();

	if (child == 0) {
		struct store *s;

		wait_stage(d, 1);
		s = fixture_open(f, false);
		(void)store_txn(s, "test", DB_TXN_SYNC, die_inside, d, &err);
		_exit(1);
	}
	assert_true(child > 0);
	return child;
}

struct job {
	struct store *s;
	_Atomic int begun, done;
	char value[8];
	ptrdiff_t len;
	_Atomic(void *) abandoned;
};

static void *
read_contended(void *arg)
{
	struct job *j = arg;
	char value[8];
	ptrdiff_t len;

	store_working(j->s, j);
	atomic_fetch_add(&j->begun, 1);
	len = store_value_get(j->s, "contended", value, sizeof value, &err);
	/* Only a thread that came back may touch what is shared. */
	j->len = len;
	memcpy(j->value, value, sizeof value);
	atomic_fetch_add(&j->done, 1);
	return NULL;
}

static void
take_over(void *ctx, void *work)
{
	struct job *j = ctx;

	atomic_store(&j->abandoned, work);
}

static void
work_of_a_thread_that_can_never_return_is_taken_over(void **state)
{
	struct fixture *f = *state;
	struct death *d = shared_memory(sizeof *d);
	struct job *j = calloc(1, sizeof *j); /* the parked thread keeps pointing at it */
	static struct job *kept;
	struct store_health h;
	pthread_t stuck, other;
	pid_t victim;
	int64_t began;

	kept = j;
	assert_ptr_equal(kept, j);
	WORKS(store_value_put(f->s, "contended", "old", 3, &err));
	store_close(f->s);
	f->s = NULL;
	victim = start_victim(f, d);
	f->s = fixture_open(f, false);
	j->s = f->s;
	store_watch(f->s, take_over, j);
	atomic_store(&d->stage, 1);
	wait_stage(d, 2);
	assert_int_equal(pthread_create(&stuck, NULL, read_contended, j), 0);
	(void)pthread_detach(stuck);
	while (atomic_load(&j->begun) == 0)
		sleep_ms(1);
	sleep_ms(100 * SLOWER);
	assert_int_equal(atomic_load(&j->done), 0);
	assert_null(atomic_load(&j->abandoned)); /* its owner lives: it waits */

	atomic_store(&d->die, true);
	assert_int_equal(waitpid(victim, NULL, 0), victim);
	began = clock_boot_ms();
	while (atomic_load(&j->abandoned) == NULL && clock_boot_ms() - began < ANSWERS_WITHIN_MS)
		sleep_ms(1);
	assert_ptr_equal(atomic_load(&j->abandoned), j);
	assert_int_equal(pthread_create(&other, NULL, read_contended, j), 0);
	(void)pthread_join(other, NULL);
	assert_true(clock_boot_ms() - began < ANSWERS_WITHIN_MS);
	assert_int_equal(atomic_load(&j->done), 1);
	assert_int_equal(j->len, 3);
	assert_memory_equal(j->value, "old", 3); /* the dead one had not committed */
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.abandoned, 1);
	assert_int_equal(h.recoveries, 2);
	assert_int_equal(h.attached, 1);
	WORKS(store_value_put(f->s, "contended", "new", 3, &err));
	(void)munmap(d, sizeof *d);
}

static void
a_one_shot_process_that_is_stuck_ends_and_says_so(void **state)
{
	struct fixture *f = *state;
	struct death *d = shared_memory(sizeof *d);
	pid_t victim, one_shot;
	int status;

	WORKS(store_value_put(f->s, "contended", "old", 3, &err));
	store_close(f->s);
	f->s = NULL;
	victim = start_victim(f, d);
	if ((one_shot = fork()) == 0) {
		char out[8];
		struct store_options o = fixture_options(f);
		struct store *s;

		(void)!freopen("/dev/null", "w", stderr);
		o.brief = true;
		s = store_open(&o, NULL, &err);
		atomic_store(&d->stage, 1);
		wait_stage(d, 2);
		(void)store_value_get(s, "contended", out, sizeof out, &err);
		_exit(0);
	}
	wait_stage(d, 2);
	sleep_ms(50 * SLOWER);
	atomic_store(&d->die, true);
	assert_int_equal(waitpid(victim, NULL, 0), victim);
	assert_int_equal(waitpid(one_shot, &status, 0), one_shot);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 75);
	f->s = fixture_open(f, false);
	(void)munmap(d, sizeof *d);
}

static void
an_idle_process_leaves_for_a_recovery_and_comes_back(void **state)
{
	struct fixture *f = *state;
	struct death *d = shared_memory(sizeof *d);
	struct store_health h;
	pid_t victim, idle;
	int64_t began;
	int status;

	store_close(f->s);
	f->s = NULL;
	victim = start_victim(f, d);
	if ((idle = fork()) == 0) {
		struct store *s = fixture_open(f, false);
		char out[8];

		atomic_store(&d->stage, 1);
		wait_stage(d, 3);
		_exit(store_value_get(s, "after", out, sizeof out, &err) == 3 ? 0 : 1);
	}
	wait_stage(d, 2);
	atomic_store(&d->die, true);
	assert_int_equal(waitpid(victim, NULL, 0), victim);
	began = clock_boot_ms();
	f->s = fixture_open(f, false);
	assert_true(clock_boot_ms() - began < ANSWERS_WITHIN_MS);
	WORKS(store_value_put(f->s, "after", "yes", 3, &err));
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.recoveries, 2);
	atomic_store(&d->stage, 3);
	assert_int_equal(waitpid(idle, &status, 0), idle);
	assert_int_equal(status, 0);
	(void)munmap(d, sizeof *d);
}

static void
a_death_outside_disturbs_nobody(void **state)
{
	struct fixture *f = *state;
	struct store_options o = fixture_options(f);
	struct store_health h;
	pid_t child;

	store_close(f->s);
	f->s = NULL;
	if ((child = fork()) == 0) {
		struct store *s;
		char out[8];

		o.brief = true;
		s = store_open(&o, NULL, &err);
		(void)store_value_get(s, "x", out, sizeof out, &err);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	f->s = fixture_open(f, false);
	sleep_ms(60);
	WORKS(store_health(f->s, &h, &err));
	assert_int_equal(h.recoveries, 1);
}

static int
count_regions(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4400];
	int count = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof line, maps) != NULL)
		count += strstr(line, "/__db.") != NULL;
	(void)fclose(maps);
	return count;
}

static void
recoveries_do_not_pile_up_memory_or_descriptors(void **state)
{
	struct fixture *f = *state;
	char out[8];
	int regions, fds;

	WORKS(store_value_put(f->s, "x", "1", 1, &err));
	regions = count_regions();
	fds = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)close(fds);
	for (int i = 0; i < 20; i++) {
		int fd;

		gate_want(&f->s->gate, f->s->gate.words->epoch);
		assert_int_equal(store_value_get(f->s, "x", out, sizeof out, &err), 1);
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		(void)close(fd);
		assert_in_range(fd, 0, fds + 2);
	}
	assert_int_equal(f->s->gate.words->recoveries, 21);
	assert_int_equal(count_regions(), regions);
}

/* ---- chaos ---- */

#define WORKERS  4
#define THREADS  3       /* two book, one changes records */
#define ACKS_MAX 2000000 /* pages come when they are used */

struct oracle {
	_Atomic uint32_t intents, acks, records;
	_Atomic uint64_t progress[WORKERS];
	_Atomic int64_t abandoned, failures;
	_Atomic bool stop;
	char failure[240];
	struct id intent[ACKS_MAX], ack[ACKS_MAX], record[ACKS_MAX];
};

struct worker {
	struct oracle *o;
	struct store *s;
	int number;
};

struct task {
	struct worker *w;
	int thread;
};

static void *run_task(void *arg);

static void
task_abandoned(void *ctx, void *work)
{
	struct worker *w = ctx;
	pthread_t t;

	atomic_fetch_add(&w->o->abandoned, 1);
	if (work == NULL)
		return; /* the clerk's */
	if (pthread_create(&t, NULL, run_task, work) == 0)
		(void)pthread_detach(t);
}

static void
failed(struct oracle *o)
{
	if (atomic_fetch_add(&o->failures, 1) == 0)
		memcpy(o->failure, err.text, sizeof o->failure);
}

static void
book_some(struct worker *w)
{
	struct oracle *o = w->o;
	struct usage_row rows[4];
	bool booked[4];
	uint32_t n = 1 + (uint32_t)clock_mono_us() % 4, at = atomic_fetch_add(&o->intents, n);
	struct usage_sum sum;

	if (at + n > ACKS_MAX) {
		sleep_ms(20);
		return;
	}
	memset(rows, 0, sizeof rows);
	for (uint32_t i = 0; i < n; i++) {
		rows[i].exchange = id_timed(clock_wall_ms());
		rows[i].time_ms = clock_wall_ms();
		rows[i].project.b[0] = (uint8_t)(1 + w->number);
		rows[i].tokens.output = 1;
		(void)snprintf(rows[i].model, sizeof rows[i].model, "m%u", (at + i) % 50);
		o->intent[at + i] = rows[i].exchange;
	}
	if (store_book(w->s, rows, n, booked, &err) != 0) {
		failed(o);
		return;
	}
	at = atomic_fetch_add(&o->acks, n);
	for (uint32_t i = 0; i < n; i++)
		o->ack[at + i] = rows[i].exchange;
	if (at % 16 == 0 &&
		store_usage_sum(w->s, BY_PROJECT, "prj_0000000000000000000001", 0, INT64_MAX, &sum,
			&err) != 0 &&
		err.code != ERR_BAD_REQUEST)
		failed(o);
}

static void
change_some(struct worker *w)
{
	struct oracle *o = w->o;
	struct project p;
	uint32_t at;

	record_init(RECORD_PROJECT, &p);
	p.head.id = id_random();
	id_text("n", p.head.id, p.name);
	if (store_create(w->s, RECORD_PROJECT, &p, NULL, &err) != 0) {
		failed(o);
		return;
	}
	if ((at = atomic_fetch_add(&o->records, 1)) < ACKS_MAX)
		o->record[at] = p.head.id;
	sleep_ms(2);
}

static void *
run_task(void *arg)
{
	struct task *t = arg;

	store_working(t->w->s, t);
	while (!atomic_load(&t->w->o->stop)) {
		if (t->thread == 0)
			change_some(t->w);
		else
			book_some(t->w);
		atomic_fetch_add(&t->w->o->progress[t->w->number], 1);
		if (t->thread == 2)
			sleep_ms(1);
	}
	return NULL;
}

static void *
run_clerk(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&w->o->stop)) {
		if (store_fold(w->s, &err) < 0 || store_flush(w->s, &err) < 0 ||
			store_checkpoint(w->s, &err) < 0 || store_expire(w->s, &err) < 0)
			failed(w->o);
		sleep_ms(30);
	}
	return NULL;
}

static __attribute__((noreturn)) void
worker_main(const struct fixture *f, struct oracle *o, int number)
{
	struct store_options options = fixture_options(f);
	static struct worker w;
	static struct task tasks[THREADS];
	pthread_t t, clerk;

	w = (struct worker){ .o = o, .number = number };
	while ((w.s = store_open(&options, NULL, &err)) == NULL)
		failed(o);
	store_watch(w.s, task_abandoned, &w);
	for (int i = 0; i < THREADS; i++) {
		tasks[i] = (struct task){ .w = &w, .thread = i };
		if (pthread_create(&t, NULL, run_task, &tasks[i]) != 0)
			_exit(1);
		(void)pthread_detach(t);
	}
	if (pthread_create(&clerk, NULL, run_clerk, &w) != 0)
		_exit(1);
	(void)pthread_detach(clerk); /* it may be abandoned too */
	while (!atomic_load(&o->stop))
		sleep_ms(20);
	sleep_ms(500);
	store_close(w.s);
	_exit(0);
}

/* Also one-shot processes, which come and go. */
static __attribute__((noreturn)) void
one_shot_main(const struct fixture *f, struct oracle *o)
{
	struct store_options options = fixture_options(f);
	static struct worker w;

	(void)!freopen("/dev/null", "w", stderr);
	options.brief = true;
	w = (struct worker){ .o = o };
	if ((w.s = store_open(&options, NULL, &err)) == NULL)
		_exit(2);
	book_some(&w);
	change_some(&w);
	store_close(w.s);
	_exit(0);
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct id));
}

struct found {
	struct id *ids;
	uint32_t count;
};

static bool
find_row(void *ctx, const struct usage_row *row)
{
	struct found *f = ctx;

	assert_in_range(f->count, 0, ACKS_MAX - 1);
	f->ids[f->count++] = row->exchange;
	return true;
}

static pid_t
start_worker(const struct fixture *f, struct oracle *o, int number)
{
	pid_t pid = fork();

	if (pid == 0)
		worker_main(f, o, number);
	assert_true(pid > 0);
	return pid;
}

/* How long until somebody answers, and until every worker does, each with what it began after the
 * death: of the calls that count, the first of each thread may have been in hand. */
static void
wait_answers(const struct fixture *f, struct oracle *o, pid_t pid[WORKERS],
	const uint64_t before[WORKERS], int64_t began, int64_t *first_ms, int64_t *all_ms)
{
	int answering = 0;

	*first_ms = 0;
	while (answering < WORKERS && clock_boot_ms() - began < 20000) {
		answering = 0;
		for (int i = 0; i < WORKERS; i++)
			if (waitpid(pid[i], NULL, WNOHANG) == pid[i])
				pid[i] = start_worker(f, o, i); /* was stuck while it opened */
		for (int i = 0; i < WORKERS; i++)
			answering += atomic_load(&o->progress[i]) > before[i] + THREADS;
		if (answering > 0 && *first_ms == 0)
			*first_ms = clock_boot_ms() - began;
		sleep_ms(1);
	}
	*all_ms = clock_boot_ms() - began;
}

static void
nothing_is_lost_or_doubled_in_chaos(void **state)
{
	struct fixture *f = *state;
	bool lasting = getenv("SLUICE_LONG") != NULL;
	struct oracle *o = shared_memory(sizeof *o);
	struct found rows = { .ids = calloc(ACKS_MAX, sizeof(struct id)) };
	pid_t pid[WORKERS];
	int64_t first_worst = 0, worst = 0, total = 0, end;
	struct usage_sum sum = { 0 };
	struct store_health h;
	int kills = 0, one_shots = 0;
	uint32_t intents;
	double load;

	assert_non_null(rows.ids);
	store_close(f->s);
	f->s = NULL;
	srand((unsigned int)getpid());
	for (int i = 0; i < WORKERS; i++)
		pid[i] = start_worker(f, o, i);
	end = clock_boot_ms() + (lasting ? 60000 : 6000);
	while (clock_boot_ms() < end) {
		uint64_t before[WORKERS];
		int victims = rand() % 4 == 0 ? 2 : 1, first = rand() % WORKERS;
		pid_t one_shot;
		int64_t began, first_ms, all_ms;

		sleep_ms(50 + rand() % 300);
		if ((one_shot = fork()) == 0)
			one_shot_main(f, o);
		one_shots++;
		if (rand() % 3 == 0) {
			sleep_ms(rand() % 3);
			(void)kill(one_shot, SIGKILL);
		}
		for (int v = 0; v < victims; v++) {
			int i = (first + v) % WORKERS;

			(void)kill(pid[i], SIGKILL);
			assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
			kills++;
		}
		began = clock_boot_ms();
		for (int v = 0; v < victims; v++)
			pid[(first + v) % WORKERS] = start_worker(f, o, (first + v) % WORKERS);
		for (int i = 0; i < WORKERS; i++)
			before[i] = atomic_load(&o->progress[i]);
		wait_answers(f, o, pid, before, began, &first_ms, &all_ms);
		total += all_ms;
		first_worst = first_ms > first_worst ? first_ms : first_worst;
		worst = all_ms > worst ? all_ms : worst;
		assert_int_equal(waitpid(one_shot, NULL, 0), one_shot);
	}
	atomic_store(&o->stop, true);
	for (int i = 0; i < WORKERS; i++) {
		int status;

		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 75);
	}

	f->s = fixture_open(f, false);
	WORKS(store_health(f->s, &h, &err));
	print_message(
		"%d kills, %d one-shots, %lld recoveries, %lld abandoned, %u rows, %u records; "
		"all answer again in %lld ms on average, %lld worst (somebody: %lld); recovery "
		"%lld ms\n",
		kills, one_shots, (long long)h.recoveries, (long long)atomic_load(&o->abandoned),
		atomic_load(&o->acks), atomic_load(&o->records), (long long)(total / kills),
		(long long)worst, (long long)first_worst, (long long)h.last_recovery_ms);
	if (atomic_load(&o->failures) != 0)
		fail_msg("%lld calls failed, the first: %s", (long long)atomic_load(&o->failures),
			o->failure);
	/* The promise is for a machine that does not do much else. */
	if (getloadavg(&load, 1) == 1 && load > 2 * (double)sysconf(_SC_NPROCESSORS_ONLN))
		print_message("load %.1f: time not judged\n", load);
	else
		assert_true(worst <= ANSWERS_WITHIN_MS);

	/* Every acknowledged row once, and no row that nobody asked for. */
	WORKS(store_rows_each(f->s, &(uint64_t){ 0 }, find_row, &rows, &err));
	qsort(rows.ids, rows.count, sizeof rows.ids[0], compare_ids);
	for (uint32_t i = 1; i < rows.count; i++)
		if (id_equal(rows.ids[i], rows.ids[i - 1]))
			fail_msg("a row is there twice");
	for (uint32_t i = 0; i < atomic_load(&o->acks); i++)
		if (!id_is_none(o->ack[i]) && bsearch(&o->ack[i], rows.ids, rows.count,
						      sizeof rows.ids[0], compare_ids) == NULL)
			fail_msg("an acknowledged row is lost");
	intents = atomic_load(&o->intents) < ACKS_MAX ? atomic_load(&o->intents) : ACKS_MAX;
	qsort(o->intent, intents, sizeof o->intent[0], compare_ids);
	for (uint32_t i = 0; i < rows.count; i++)
		if (bsearch(&rows.ids[i], o->intent, intents, sizeof o->intent[0], compare_ids) ==
			NULL)
			fail_msg("a row nobody booked");
	for (uint32_t i = 0; i < atomic_load(&o->records); i++) {
		struct project p;

		if (!id_is_none(o->record[i]))
			assert_int_equal(
				store_get(f->s, RECORD_PROJECT, o->record[i], &p, &err), 1);
	}

	/* And the sums agree, folded in part and wholly. */
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, rows.count);
	while (store_fold(f->s, &err) > 0)
		;
	WORKS(store_usage_sum(f->s, BY_TOTAL, NULL, 0, INT64_MAX, &sum, &err));
	assert_int_equal(sum.requests, rows.count);
	assert_int_equal(sum.tokens.output, rows.count);
	free(rows.ids);
	(void)munmap(o, sizeof *o);
}

int
main(void)
{
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		IN_STORE(a_one_shot_process_that_is_stuck_ends_and_says_so),
		IN_STORE(an_idle_process_leaves_for_a_recovery_and_comes_back),
		IN_STORE(a_death_outside_disturbs_nobody),
		IN_STORE(recoveries_do_not_pile_up_memory_or_descriptors),
		IN_STORE(nothing_is_lost_or_doubled_in_chaos),
		/* Last: its thread stays, and the thread sanitizer allows no fork from then on. */
		IN_STORE(work_of_a_thread_that_can_never_return_is_taken_over),
	};
	char path[64] = "/dev/null";
	struct err e;

	if (getenv("SLUICE_TEST_LOG") != NULL)
		log_unbuffered();
	else
		(void)log_open(path, "crash_test", LOG_ERROR, &e);
	return cmocka_run_group_tests_name("store/crash", tests, NULL, NULL);
}
