/*
 * rounds.c - a thread for calls of our own at providers (errand/): whatever is due, once a second.
 *
 * Beside the clerk and not on it, as such a call may take many seconds.
 */
#include "gateway/gateway-int.h"

#include "base/log.h"
#include "base/process.h"
#include "errand/errand.h"

#include <time.h>

#define ROUND_MS 1000

/* False: it is to end. */
static bool
wait_for_next(struct gateway *gw)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ROUND_MS / 1000;
	pthread_mutex_lock(&gw->mutex);
	if (!gw->clerk_stop)
		(void)pthread_cond_timedwait(&gw->clerk_wake, &gw->mutex, &until);
	stop = gw->clerk_stop;
	pthread_mutex_unlock(&gw->mutex);
	return !stop;
}

static bool
has_work(const struct snapshot *p)
{
	for (size_t i = 0; i < p->upstream_count; i++)
		if (p->upstreams[i].discover || p->upstreams[i].health_path[0] != '\0')
			return true;
	return false;
}

static void
round_once(struct gateway *gw, struct errand_desk **desk)
{
	struct err err = { 0 };
	struct snapshot *p = gateway_snapshot(gw, &err);
	int rc = p == NULL ? -1 : 0;

	if (rc == 0 && has_work(p)) {
		if (*desk == NULL) {
			*desk = errand_open(gw->store, gw->board, &gw->conf, &err);
			pthread_mutex_lock(&gw->mutex);
			gw->desk = *desk;
			if (*desk != NULL && gw->clerk_stop)
				errand_stop(*desk);
			pthread_mutex_unlock(&gw->mutex);
		}
		rc = *desk == NULL ? -1 : errand_round(*desk, p, &err);
	}
	snapshot_drop(p);
	if (rc != 0)
		log_write(LOG_WARN, "rounds", "%s", err.text);
}

static void *
run(void *arg)
{
	struct gateway *gw = arg;
	struct errand_desk *desk = NULL;

	store_working(gw->store, &gw->rounds);
	while (wait_for_next(gw))
		round_once(gw, &desk);
	store_working(gw->store, NULL);
	pthread_mutex_lock(&gw->mutex);
	gw->desk = NULL;
	pthread_mutex_unlock(&gw->mutex);
	errand_close(desk);
	pthread_mutex_lock(&gw->mutex);
	gw->rounds = ROUNDS_ENDED;
	pthread_cond_broadcast(&gw->clerk_wake);
	pthread_mutex_unlock(&gw->mutex);
	return NULL;
}

int
rounds_start(struct gateway *gw)
{
	gw->rounds = ROUNDS_RUN;
	if (process_start_thread(run, gw) == 0)
		return 0;
	gw->rounds = ROUNDS_NONE;
	return -1;
}

void
rounds_stop(struct gateway *gw)
{
	if (gw->desk != NULL)
		errand_stop(gw->desk);
}

bool
rounds_take_over(struct gateway *gw, const void *work)
{
	if (work != &gw->rounds)
		return false;
	/* the desk of the thread that is lost is lost with it */
	if (process_start_thread(run, gw) != 0)
		log_write(LOG_ERROR, "rounds", "its thread could not be replaced");
	return true;
}
