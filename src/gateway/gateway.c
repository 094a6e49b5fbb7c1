/*
 * gateway.c - the process: what is opened in which order, the loop, the clerk, the end.
 */
#include "gateway/gateway.h"
#include "gateway/gateway-int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "route/forecast.h"
#include "web/outage.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLERK_ROUND_MS   250
#define DESCRIPTORS_KEPT 64 /* for the store, the board, logs and spooled bodies */
#define DESCRIPTORS_EACH 3  /* of an exchange: client, provider, spooled body */
#define LOADING_WAIT_MS  1000
#define ABANDONED_MOST   16 /* threads lost to dead peers' locks; then a fresh process is cheaper */
#define LEDGER_STOP_MS   3000
#define EXPIRE_ONE_IN    64 /* CGI processes */
#define OUTAGE_MS        3000

/* ---- between threads ---- */

void
gateway_to_loop(struct exchange *x)
{
	struct gateway *gw = x->gw;
	struct exchange *first = atomic_load(&gw->inbox);

	do
		x->inbox_next = first;
	while (!atomic_compare_exchange_weak(&gw->inbox, &first, x));
	uv_async_send(&gw->wake);
}

static void
on_booked(struct ledger_item *item)
{
	gateway_to_loop(item->ctx);
}

static struct gateway *the_gateway; /* one a process: a raise may outlive its exchange */

void
gateway_raised(struct ledger_raise *r)
{
	struct gateway *gw = the_gateway;
	struct ledger_raise *first = atomic_load(&gw->raised);

	do
		r->next = first;
	while (!atomic_compare_exchange_weak(&gw->raised, &first, r));
	uv_async_send(&gw->wake);
}

static void
take_raised(struct gateway *gw)
{
	struct ledger_raise *r = atomic_exchange(&gw->raised, NULL);

	while (r != NULL) {
		struct ledger_raise *next = r->next;

		if (r->ctx != NULL)
			guard_raised(r->ctx, r);
		free(r);
		r = next;
	}
}

static void
on_forward_closed(void *ctx)
{
	(void)ctx;
}

/* No exchange is left.  A CGI process ends its fetch of an access token, as its like would only begin
 * it again; a worker leaves it to the others. */
static void
finish_drain(struct gateway *gw)
{
	int64_t waited_ms = (int64_t)uv_now(&gw->loop) - gw->drained_ms;

	if (!gw->drained || gw->closed)
		return;
	if (!access_rest(gw->access, !gw->cgi || waited_ms >= ACCESS_WAIT_MS) &&
		(access_fetches(gw->access) ||
			waited_ms < (gw->cgi ? ACCESS_WAIT_MS : 0) + LEDGER_STOP_MS))
		return;
	gw->closed = true;
	access_close(gw->access);
	uv_close((uv_handle_t *)&gw->wake, NULL);
	uv_close((uv_handle_t *)&gw->tick, NULL);
	queue_close(gw);
	pause_close(gw);
	uv_close((uv_handle_t *)&gw->term, NULL);
	forward_free(gw->forward, on_forward_closed, gw);
}

static void
on_wake(uv_async_t *wake)
{
	struct gateway *gw = wake->data;
	struct exchange *newest = atomic_exchange(&gw->inbox, NULL), *first = NULL;

	access_take(gw->access);
	finish_drain(gw);
	take_raised(gw);         /* those of exchanges that came with them are there by now */
	while (newest != NULL) { /* in the order they came */
		struct exchange *x = newest;

		newest = x->inbox_next;
		x->inbox_next = first;
		first = x;
	}
	while (first != NULL) {
		struct exchange *x = first;

		first = x->inbox_next;
		x->booked = x->submitted; /* only the ledger sends those here a second time */
		exchange_run(x);
	}
}

/* ---- the snapshot ---- */

static struct snapshot *
current_snapshot(struct gateway *gw, uint64_t generation)
{
	struct snapshot *p = NULL;

	pthread_mutex_lock(&gw->mutex);
	if (gw->snapshot != NULL && (generation == 0 || gw->snapshot->generation >= generation))
		p = snapshot_hold(gw->snapshot);
	pthread_mutex_unlock(&gw->mutex);
	return p;
}

struct snapshot *
gateway_snapshot_at_hand(struct gateway *gw)
{
	return current_snapshot(gw, 0);
}

static void
publish(struct gateway *gw, struct snapshot *p)
{
	struct snapshot *old;

	pthread_mutex_lock(&gw->mutex);
	old = gw->snapshot;
	gw->snapshot = snapshot_hold(p);
	pthread_mutex_unlock(&gw->mutex);
	snapshot_drop(old);
}

static void
free_routes(void *compiled)
{
	route_table_free(compiled);
}

static int
compile(struct gateway *gw, struct snapshot *p, struct err *err)
{
	p->compiled = route_table_new(gw->board, p, err);
	p->compiled_free = free_routes;
	return p->compiled == NULL ? -1 : 0;
}

static void
nap_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/*
 * One thread loads while the others wait for it, so that a change bites on the very next request
 * and a burst loads once.  The loader may be abandoned inside the store; then `loading` stays set,
 * and after LOADING_WAIT_MS the next one loads for itself.
 */
struct snapshot *
gateway_snapshot(struct gateway *gw, struct err *err)
{
	uint64_t generation = board_generation(gw->board);
	struct snapshot *p = current_snapshot(gw, generation);
	int idle = 0;

	if (p != NULL)
		return p;
	if (!atomic_compare_exchange_strong(&gw->loading, &idle, 1)) {
		for (int waited = 0; waited < LOADING_WAIT_MS; waited++) {
			nap_ms(1);
			if ((p = current_snapshot(gw, generation)) != NULL)
				return p;
			if (atomic_load(&gw->loading) == 0)
				break;
		}
	}
	p = snapshot_load(gw->store, generation, err);
	if (p != NULL && compile(gw, p, err) != 0) {
		snapshot_drop(p);
		p = NULL;
	}
	if (p != NULL)
		publish(gw, p);
	atomic_store(&gw->loading, 0);
	return p;
}

/* ---- the clerk: what is not urgent and touches the store ---- */

struct duty {
	int64_t each_ms, due_ms;
	void (*run)(struct gateway *gw, struct err *err);
};

static void
duty_log(struct gateway *gw, struct err *err)
{
	(void)gw;
	(void)err;
	log_flush();
}

static void
duty_tick(struct gateway *gw, struct err *err)
{
	(void)err;
	board_tick(gw->board);
}

static void
duty_forecast(struct gateway *gw, struct err *err)
{
	(void)err;
	forecast_clerk(gw->board);
}

static void
duty_flush(struct gateway *gw, struct err *err)
{
	(void)store_flush(gw->store, err);
}

static void
duty_reap(struct gateway *gw, struct err *err)
{
	(void)settle_reap(gw->store, gw->board, err);
}

static void
duty_queue(struct gateway *gw, struct err *err)
{
	(void)err;
	(void)board_wait_sweep(gw->board);
}

static void
duty_journal(struct gateway *gw, struct err *err)
{
	(void)journal_replay(gw->journal, gw->store, err);
}

static void
duty_fold(struct gateway *gw, struct err *err)
{
	(void)store_fold(gw->store, err);
}

static void
duty_checkpoint(struct gateway *gw, struct err *err)
{
	(void)store_checkpoint(gw->store, err);
}

static void
duty_expire(struct gateway *gw, struct err *err)
{
	(void)store_expire(gw->store, err);
}

static void
duty_tidy(struct gateway *gw, struct err *err)
{
	(void)store_tidy(gw->store, err);
}

static void
duty_standing(struct gateway *gw, struct err *err)
{
	(void)standing_drain(gw->board, gw->store, err);
}

static bool
count_attempt(void *ctx, struct id exchange, struct roster_owner owner, const void *note)
{
	struct settle_note n;

	(void)exchange;
	(void)owner;
	memcpy(&n, note, sizeof n);
	if (n.sent == 0 || n.follows != 0 || n.complete != 0)
		return true;
	standing_recount_add(ctx, n.row.upstream);
	standing_recount_add(ctx, n.row.key);
	return true;
}

static void
duty_recount(struct gateway *gw, struct err *err)
{
	(void)err;
	if (!standing_is_clerk(gw->board))
		return;
	if (gw->recount == NULL && (gw->recount = standing_recount_new()) == NULL)
		return;
	standing_recount_begin(gw->recount);
	if (board_inflight(gw->board, count_attempt, gw->recount) >= 0)
		(void)standing_recount_end(gw->board, gw->recount);
}

static void
clerk_round(struct gateway *gw, struct duty *duties, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct err err = { 0 };
		int64_t now_ms = clock_boot_ms();

		if (now_ms < duties[i].due_ms)
			continue;
		duties[i].due_ms = now_ms + duties[i].each_ms;
		duties[i].run(gw, &err);
		if (err.code != ERR_NONE)
			log_write(LOG_WARN, "clerk", "%s", err.text);
	}
}

static void *
clerk_run(void *arg)
{
	struct gateway *gw = arg;
	struct duty duties[] = {
		{ 250, 0, duty_reap },
		{ 250, 0, duty_queue },
		{ 500, 0, duty_fold },
		{ 1000, 0, duty_journal },
		{ 1000, 0, duty_tick },
		{ 1000, 0, duty_forecast },
		{ 1000, 0, duty_flush },
		{ 1000, 0, duty_log },
		{ 500, 0, duty_standing },
		{ 1000, 0, duty_recount },
		{ 2000, 0, duty_checkpoint },
		{ 60000, 0, duty_expire },
		{ 300000, 0, duty_tidy },
	};
	bool stop = false;

	store_working(gw->store, gw);
	while (!stop) {
		struct timespec until;

		clerk_round(gw, duties, sizeof duties / sizeof duties[0]);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += CLERK_ROUND_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		pthread_mutex_lock(&gw->mutex);
		if (!gw->clerk_stop)
			(void)pthread_cond_timedwait(&gw->clerk_wake, &gw->mutex, &until);
		stop = gw->clerk_stop;
		pthread_mutex_unlock(&gw->mutex);
	}
	store_working(gw->store, NULL);
	pthread_mutex_lock(&gw->mutex);
	gw->clerk_ended = true;
	pthread_cond_broadcast(&gw->clerk_wake);
	pthread_mutex_unlock(&gw->mutex);
	return NULL;
}

/* A CGI process is its own clerk, after its client has been served. */
static void
clerk_once(struct gateway *gw)
{
	struct duty duties[] = { { 0, 0, duty_reap }, { 0, 0, duty_journal }, { 0, 0, duty_fold },
		{ 0, 0, duty_standing }, { 0, 0, duty_flush }, { 0, 0, duty_checkpoint },
		{ 0, 0, duty_tick }, { 0, 0, duty_expire }, { 0, 0, duty_tidy } };
	size_t count = sizeof duties / sizeof duties[0];

	/* looking for what is old costs more than a request: one process in so many does it */
	store_stay(gw->store, true);
	clerk_round(gw, duties, clock_mono_us() % EXPIRE_ONE_IN == 0 ? count : count - 2);
	store_stay(gw->store, false);
}

static void *
admit_again(void *arg)
{
	exchange_admit(arg);
	return NULL;
}

/* On the warden's thread: a thread of ours sleeps for ever on a dead process's lock (store.h). */
static void
on_abandoned(void *ctx, void *work)
{
	struct gateway *gw = ctx;

	atomic_store(&gw->loading, 0);
	if (work == NULL || ledger_take_over(gw->ledger, work) || candidate_take_over(gw, work) ||
		access_take_over(gw->access, work) || rounds_take_over(gw, work)) {
		;
	} else if (work == gw) {
		if (process_start_thread(clerk_run, gw) != 0)
			log_write(LOG_ERROR, "clerk", "its thread could not be replaced");
	} else if (process_start_thread(admit_again, work) != 0) {
		log_write(LOG_ERROR, "admit", "no thread to take an abandoned exchange over");
	}
	if (atomic_fetch_add(&gw->abandoned, 1) + 1 == ABANDONED_MOST) {
		log_write(LOG_WARN, "drain",
			"%d threads were abandoned; this worker makes way for "
			"a fresh one",
			ABANDONED_MOST);
		kill(getpid(), SIGTERM);
	}
}

/* ---- the loop ---- */

static void
on_tick(uv_timer_t *tick)
{
	struct gateway *gw = tick->data;

	exchange_tick(gw);
	web_tend(gw->web);
	finish_drain(gw);
}

static void
drain(struct gateway *gw)
{
	if (gw->draining)
		return;
	gw->draining = true;
	gw->draining_ms = (int64_t)uv_now(&gw->loop);
	log_write(LOG_INFO, "drain", "no new requests; the running ones go on");
	web_stop(gw->web);
}

static void
on_term(uv_signal_t *term, int number)
{
	(void)number;
	drain(term->data);
}

static void
on_drained(void *ctx)
{
	struct gateway *gw = ctx;

	gw->drained = true;
	gw->drained_ms = (int64_t)uv_now(&gw->loop);
	finish_drain(gw);
}

static void
on_refused(void *ctx, struct web_request *r, const struct err *why)
{
	struct gateway *gw = ctx;

	board_count(gw->board, COUNT_REFUSED, 1);
	log_write(LOG_INFO, "refused", "%s %.*s: %s", web_method(r), (int)web_path(r).len,
		web_path(r).at, why->text);
}

static int
open_loop(struct gateway *gw, struct err *err)
{
	struct forward_options forward = { .connections_most = gw->cgi ? 1 : 4096,
		.lookups_most = 64,
		.ca_file = gw->conf.ca_file[0] == '\0' ? NULL : gw->conf.ca_file,
		.user_agent = "sluice/" SLUICE_VERSION };
	int64_t descriptors = process_raise_descriptors();
	int64_t most = (descriptors - DESCRIPTORS_KEPT) / DESCRIPTORS_EACH;
	struct web_options web = { .listen_fd = 0,
		.threads_least = 2,
		.threads_most = (int)gw->conf.intake_threads_max,
		.requests_most = (int)(gw->conf.exchanges_max > 0 && gw->conf.exchanges_max < most
					       ? gw->conf.exchanges_max
				       : most > 16384 ? 16384
						      : most),
		.body_limit_bytes = gw->conf.body_limit_bytes,
		.body_limit = answer_body_limit,
		.body_memory_bytes = gw->conf.body_memory_bytes,
		.body_deadline_ms = gw->conf.body_deadline_ms,
		.body_min_rate = gw->conf.body_min_rate_bytes,
		.spool_dir = gw->conf.state_dir,
		.trust_forwarded = gw->conf.trust_forwarded,
		.handler = { gw, exchange_on_request, on_refused, answer_error_body, on_drained } };

	uv_loop_init(&gw->loop);
	gw->forward = forward_new(&gw->loop, &forward, err);
	if (gw->forward == NULL)
		return -1;
	uv_async_init(&gw->loop, &gw->wake, on_wake);
	uv_timer_init(&gw->loop, &gw->tick);
	uv_signal_init(&gw->loop, &gw->term);
	queue_init(gw);
	pause_init(gw);
	gw->wake.data = gw->tick.data = gw->term.data = gw;
	uv_timer_start(&gw->tick, on_tick, TICK_MS, TICK_MS);
	if (!gw->cgi) /* there SIGTERM says that the client left, and web listens to it */
		uv_signal_start(&gw->term, on_term, SIGTERM);
	gw->web = gw->cgi ? web_start_cgi(&gw->loop, &web, err) : web_start(&gw->loop, &web, err);
	return gw->web == NULL ? -1 : 0;
}

static void
on_change(void *ctx, enum record_kind kind)
{
	(void)kind;
	board_generation_bump(((struct gateway *)ctx)->board);
}

/* Seeds of the first admissions must know what ran before a reboot. */
static void
reap_first(struct gateway *gw)
{
	struct err err = { 0 };
	int owed = settle_reap_first(gw->store, gw->board, &err);

	if (owed != 0)
		log_write(LOG_WARN, "start", "what ran before the reboot is not settled yet: %s",
			owed < 0 ? err.text : "somebody else is at it");
}

static int
open_state(struct gateway *gw, struct err *err)
{
	struct store_options store = { .dir = gw->conf.state_dir,
		.master_key_file = gw->conf.master_key_file,
		.brief = gw->conf.brief == BRIEF_YES || (gw->cgi && gw->conf.brief == BRIEF_AUTO),
		.cache_bytes = gw->conf.cache_bytes,
		.rows_cap_bytes = gw->conf.store_cap_bytes,
		.rows_kept_ms = gw->conf.row_days * 24 * 3600 * 1000 };

	if ((gw->roster = roster_join(gw->conf.state_dir, err)) == NULL ||
		(gw->store = store_open(&store, gw->roster, err)) == NULL ||
		(gw->board = board_open(gw->conf.state_dir, gw->roster, err)) == NULL ||
		(gw->ledger = ledger_new(gw->store, gw->board, on_booked, err)) == NULL ||
		(gw->journal = journal_new(gw->conf.state_dir, err)) == NULL ||
		(gw->remember = remember_new(err)) == NULL ||
		(gw->access = access_new(gw, err)) == NULL || candidate_init(gw, err) != 0)
		return -1;
	forecast_switch(gw->conf.forecast);
	ledger_keep_journal(gw->ledger, gw->journal);
	store_on_change(gw->store, on_change, gw);
	store_watch(gw->store, on_abandoned, gw);
	reap_first(gw);
	if (standing_restore(gw->board, gw->store, err) < 0) /* then the clerk does it */
		log_write(LOG_WARN, "start", "who rests is not known yet: %s", err->text);
	*err = (struct err){ 0 };
	return 0;
}

/* What is left undone here stays owing on the board, for whoever lives. */
static void
close_state(struct gateway *gw)
{
	int left = ledger_stop(gw->ledger, LEDGER_STOP_MS);

	if (left > 0)
		log_write(LOG_WARN, "drain", "%d exchanges are left to be settled by others", left);
	if (gw->cgi) {
		clerk_once(gw);
	} else {
		pthread_mutex_lock(&gw->mutex);
		gw->clerk_stop = true;
		rounds_stop(gw);
		pthread_cond_broadcast(&gw->clerk_wake);
		for (int i = 0; i < LEDGER_STOP_MS / CLERK_ROUND_MS * 10 &&
				(!gw->clerk_ended || gw->rounds == ROUNDS_RUN);
			i++) {
			pthread_mutex_unlock(&gw->mutex);
			nap_ms(CLERK_ROUND_MS / 10);
			pthread_mutex_lock(&gw->mutex);
		}
		pthread_mutex_unlock(&gw->mutex);
	}
	if (!access_ended(gw->access, LEDGER_STOP_MS) || atomic_load(&gw->abandoned) > 0)
		return; /* threads that never return hold parts of the rest: the end frees it */
	web_free(gw->web);
	uv_loop_close(&gw->loop);
	snapshot_drop(gw->snapshot);
	remember_free(gw->remember);
	standing_recount_free(gw->recount);
	access_free(gw->access);
	board_close(gw->board);
	store_close(gw->store);
	roster_leave(gw->roster);
}

/* Clients are told in their dialect for a while; then whoever keeps us alive starts us again. */
static int
fail(struct gateway *gw, struct err *err)
{
	log_write(LOG_ERROR, "start", "%s", err->text);
	log_flush();
	if (err_status(err->code) < 500)
		err->code = ERR_STORE_UNAVAILABLE;
	web_outage(err, OUTAGE_MS, gw, answer_error_body);
	return 1;
}

int
gateway_main(int argc, char **argv)
{
	static struct gateway gw; /* one a process; large */
	pthread_condattr_t monotonic;
	struct err err = { 0 };

	(void)argc;
	the_gateway = &gw;
	process_keep_secrets();
	gw.cgi = web_is_cgi();
	if (conf_load(&gw.conf, NULL, &err) != 0 ||
		log_open(gw.conf.log_file[0] == '\0' ? NULL : gw.conf.log_file, argv[0],
			(enum log_level)gw.conf.log_level, &err) != 0 ||
		web_init(&err) != 0)
		return fail(&gw, &err);
	pthread_mutex_init(&gw.mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&gw.clerk_wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (open_state(&gw, &err) != 0 || open_loop(&gw, &err) != 0)
		return fail(&gw, &err);
	if (!gw.cgi && process_start_thread(clerk_run, &gw) != 0) {
		err_set(&err, ERR_MEMORY, "the clerk's thread could not be started");
		return fail(&gw, &err);
	}
	if (!gw.cgi && rounds_start(&gw) != 0)
		log_write(
			LOG_ERROR, "rounds", "no thread: providers are not checked by this worker");
	log_write(LOG_INFO, "start", "sluice %s, %s", SLUICE_VERSION, gw.cgi ? "CGI" : "FastCGI");
	uv_run(&gw.loop, UV_RUN_DEFAULT);
	close_state(&gw);
	log_write(LOG_INFO, "end", "drained");
	log_flush();
	log_close();
	return 0;
}
