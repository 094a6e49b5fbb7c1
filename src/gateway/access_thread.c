/*
 * access_thread.c - asks the store, which may block, for what the loop wants to know or to keep.
 */
#include "gateway/access-int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"

#include <string.h>
#include <time.h>

static bool
build_request(struct access_entry *e, struct access_job *j)
{
	struct err err = { 0 };

	if (oauth_request_make(e->kind, span_of(e->secret), e->token_url, e->scope, clock_wall_ms(),
		    &j->request, &err) != 0)
		return false;
	return e->allow_private || strncmp(j->request.url, "https://", 8) == 0;
}

/* False: somebody else is at it. */
static bool
do_look(struct access_desk *d, struct access_entry *e, struct access_job *j)
{
	struct access_name name = e->name;
	struct access_answer answer; /* the store writes to stacks alone */
	struct err err = { 0 };
	int64_t now_ms = board_now_ms(d->gw->board);
	int rc = store_access_claim(d->gw->store, &name, j->refused, now_ms, &answer, &err);

	if (rc == 0 && answer.what == ACCESS_BUSY)
		return false;
	if (rc != 0) {
		log_write(LOG_WARN, "access", "each process fetches for itself: %s", err.text);
		memset(&answer, 0, sizeof answer);
	}
	j->found = rc != 0                         ? FOUND_NO_STORE
		   : answer.what == ACCESS_CLAIMED ? FOUND_CLAIM
						   : FOUND_ANSWER;
	if (j->found != FOUND_ANSWER && !build_request(e, j)) {
		j->found = FOUND_NO_USE;
		j->retry_ms = now_ms + access_wait_ms(1, true);
		(void)store_access_fail(d->gw->store, &name, true, now_ms,
			"the key does not fit the upstream's auth", &j->retry_ms, &err);
	}
	j->answer = answer;
	explicit_bzero(answer.token.text, sizeof answer.token.text);
	return true;
}

static void
do_put(struct access_desk *d, struct access_entry *e, struct access_job *j)
{
	struct access_name name = e->name;
	struct access_token token = j->token;
	struct err err = { 0 };

	if (store_access_put(d->gw->store, &name, &token, &err) != 0)
		log_write(LOG_WARN, "access", "a new access token stays in this process: %s",
			err.text);
	explicit_bzero(token.text, sizeof token.text);
	explicit_bzero(j->token.text, sizeof j->token.text);
}

static void
do_fail(struct access_desk *d, struct access_entry *e, struct access_job *j)
{
	struct access_name name = e->name;
	char why[ACCESS_WHY_BYTES];
	int64_t retry_ms = 0;
	struct err err = { 0 };

	memcpy(why, j->why, sizeof why);
	if (store_access_fail(
		    d->gw->store, &name, j->key_refused, j->failed_ms, why, &retry_ms, &err) != 0)
		log_write(LOG_WARN, "access", "a failure is known to this process alone: %s",
			err.text);
	j->retry_ms = retry_ms;
}

static bool
do_job(struct access_desk *d, struct access_job *j)
{
	struct access_entry *e = access_entry_of(j);

	switch (j->step) {
	case STEP_LOOK:
		return do_look(d, e, j);
	case STEP_PUT:
		do_put(d, e, j);
		return true;
	case STEP_FAIL:
		do_fail(d, e, j);
		return true;
	}
	return true;
}

/* The job that is due; waits for one.  NULL: it is to end. */
static struct access_job *
next_job(struct access_desk *d)
{
	struct access_job *j = NULL;

	pthread_mutex_lock(&d->mutex);
	for (;;) {
		struct access_job **at = &d->todo;
		int64_t now_us = clock_mono_us(), due_us = INT64_MAX;
		struct timespec until;

		for (; *at != NULL && (*at)->due_us > now_us; at = &(*at)->next)
			if ((*at)->due_us < due_us)
				due_us = (*at)->due_us;
		if ((j = *at) != NULL) {
			*at = j->next;
			break;
		}
		if (d->stop)
			break;
		if (due_us == INT64_MAX) {
			(void)pthread_cond_wait(&d->wake, &d->mutex);
			continue;
		}
		until = (struct timespec){ due_us / 1000000, due_us % 1000000 * 1000 };
		(void)pthread_cond_timedwait(&d->wake, &d->mutex, &until);
	}
	if (j == NULL) {
		d->ended = true;
		(void)pthread_cond_signal(&d->idle);
	}
	pthread_mutex_unlock(&d->mutex);
	return j;
}

static void
hand_back(struct access_desk *d, struct access_job *j, bool done)
{
	if (!done && atomic_load(&d->resting)) {
		memset(&j->answer, 0, sizeof j->answer); /* nobody waits any more */
		j->found = FOUND_ANSWER;
		done = true;
	}
	pthread_mutex_lock(&d->mutex);
	if (!done && !d->stop) {
		j->due_us = clock_mono_us() + ACCESS_LOOK_MS * 1000;
		j->next = d->todo;
		d->todo = j;
	} else if (!d->stop) {
		j->next = d->done;
		d->done = j;
		uv_async_send(&d->gw->wake);
	}
	pthread_mutex_unlock(&d->mutex);
}

static void *
run(void *arg)
{
	struct access_desk *d = arg;

	for (;;) {
		/* one that another thread was abandoned with comes first */
		struct access_job *j = atomic_load(&d->now);
		bool done;

		if (j == NULL && (j = next_job(d)) == NULL)
			return NULL;
		atomic_store(&d->now, j);
		store_working(d->gw->store, j);
		done = do_job(d, j);
		store_working(d->gw->store, NULL);
		atomic_store(&d->now, NULL);
		hand_back(d, j, done);
	}
}

bool
access_take_over(struct access_desk *d, const void *work)
{
	if (work == NULL || atomic_load(&d->now) != work)
		return false;
	if (process_start_thread(run, d) != 0)
		log_write(LOG_ERROR, "access", "no thread to take an abandoned look-up over");
	return true;
}

bool
access_give(struct access_entry *e, enum access_step step)
{
	struct access_desk *d = e->desk;
	bool runs;

	e->job.step = step;
	e->job.due_us = 0;
	pthread_mutex_lock(&d->mutex);
	if (!d->thread)
		d->thread = process_start_thread(run, d) == 0;
	runs = d->thread;
	if (runs) {
		e->job.next = d->todo;
		d->todo = &e->job;
	}
	pthread_mutex_unlock(&d->mutex);
	if (runs)
		pthread_cond_signal(&d->wake);
	return runs;
}
