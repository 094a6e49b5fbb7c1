/*
 * candidate.c - what has to be done before a candidate can be asked, and would hold the loop up.
 *
 * A long request is written anew in its provider's format, and so is one that may need something fetched
 * (media.c), which takes as long as its server pleases and so has a thread of its own.  And may it be asked: limits whose scope
 * names an upstream or a key bind only when it is known whom a request goes to, so each attempt has a
 * lease of its own for them.  Taking it needs the board's mutex and sometimes the store, so the loop
 * hands the exchange to a thread of its own, which is started by the first that needs it.
 */
#include "gateway/gateway-int.h"

#include "base/log.h"
#include "base/process.h"

#include <string.h>

int
candidate_init(struct gateway *gw, struct err *err)
{
	gw->candidates_end = &gw->candidates;
	if (pthread_mutex_init(&gw->candidate_mutex, NULL) != 0 ||
		pthread_cond_init(&gw->candidate_wake, NULL) != 0)
		return err_set(err, ERR_MEMORY, "no memory for the candidates' queue");
	return 0;
}

static void
reserve(struct exchange *x)
{
	const struct route_candidate *c = walk_candidate(x);
	struct admit_ask ask = { .caller = &x->caller,
		.need = x->need,
		.end_user = x->row.end_user,
		.address = web_address(x->request),
		.upstream = c->upstream->head.id,
		.key = c->key == NULL ? ID_NONE : c->key->id,
		.without_store = x->from_memory };
	struct gateway *gw = x->gw;
	struct settle_note note = { .follows = 1 };

	for (int i = 0; i < USAGE_TAGS_MAX; i++)
		ask.tag[i] = x->row.tags[i];
	note.row = x->row;
	note.row.upstream = ask.upstream;
	note.row.key = ask.key;
	if (admit_attempt(gw->store, gw->board, x->snapshot, &ask, x->id, &note, sizeof note,
		    &x->attempt, &x->attempt_err) != 0) {
		x->may = CANDIDATE_REFUSED;
		return;
	}
	x->attempt_note = board_note(gw->board, x->attempt.lease);
	for (int i = 0; x->attempt_note != NULL && i < x->attempt.count; i++)
		x->attempt_note->metric[i] = (uint8_t)x->attempt.hold[i].metric;
	if (x->attempt_note != NULL)
		x->attempt_note->count = x->attempt.count;
	x->may = CANDIDATE_MAY;
}

static void
ask_again(struct exchange *x)
{
	(void)candidate_ask(x); /* the thread runs: it has asked for this */
}

/* On the thread; may be done again from the start after an abandonment.  False: it comes back later. */
static bool
prepare(struct exchange *x)
{
	memset(&x->attempt_err, 0, sizeof x->attempt_err);
	if (translate_request(x) != 0) {
		if (media_waits(x) && media_fetch_aside(x, ask_again, &x->err) == 0)
			return false;
		x->attempt_err = x->err;
		x->may = CANDIDATE_REFUSED;
		return true;
	}
	x->may = CANDIDATE_MAY;
	if (x->by_attempt)
		reserve(x);
	return true;
}

static struct exchange *
next_candidate(struct gateway *gw)
{
	struct exchange *x;

	pthread_mutex_lock(&gw->candidate_mutex);
	while ((x = gw->candidates) == NULL)
		pthread_cond_wait(&gw->candidate_wake, &gw->candidate_mutex);
	gw->candidates = x->inbox_next;
	if (gw->candidates == NULL)
		gw->candidates_end = &gw->candidates;
	pthread_mutex_unlock(&gw->candidate_mutex);
	return x;
}

static void *
run(void *arg)
{
	struct gateway *gw = arg;

	for (;;) {
		/* one that another thread was abandoned with comes first */
		struct exchange *x = atomic_load(&gw->candidate_now);
		bool ready;

		if (x == NULL) {
			x = next_candidate(gw);
			atomic_store(&gw->candidate_now, x);
		}
		store_working(gw->store, x);
		ready = prepare(x);
		store_working(gw->store, NULL);
		atomic_store(&gw->candidate_now, NULL);
		if (ready)
			gateway_to_loop(x); /* not ours any more */
	}
	return NULL;
}

bool
candidate_ask(struct exchange *x)
{
	struct gateway *gw = x->gw;
	bool runs;

	x->inbox_next = NULL;
	pthread_mutex_lock(&gw->candidate_mutex);
	if (!gw->candidate_thread)
		gw->candidate_thread = process_start_thread(run, gw) == 0;
	runs = gw->candidate_thread;
	if (runs) {
		*gw->candidates_end = x;
		gw->candidates_end = &x->inbox_next;
	} else {
		x->may = CANDIDATE_REFUSED;
		err_set(&x->attempt_err, ERR_MEMORY, "no thread to look at an upstream's limits");
	}
	pthread_mutex_unlock(&gw->candidate_mutex);
	if (runs)
		pthread_cond_signal(&gw->candidate_wake);
	return runs;
}

bool
candidate_is_full(const struct exchange *x)
{
	/* a cap of nothing is never free */
	return x->may == CANDIDATE_REFUSED && x->attempt.count == 1 &&
	       x->attempt.hold[0].of_target && x->attempt_err.code == ERR_NO_KEY_AVAILABLE;
}

void
candidate_release(struct exchange *x)
{
	ledger_release(x->gw->ledger, x->attempt.lease);
	x->attempt.lease = (struct board_lease){ 0 };
	x->attempt.count = 0;
	x->attempt_note = NULL;
	x->may = CANDIDATE_NEW;
}

bool
candidate_take_over(struct gateway *gw, const void *work)
{
	if (atomic_load(&gw->candidate_now) != work)
		return false;
	if (process_start_thread(run, gw) != 0)
		log_write(LOG_ERROR, "admit", "no thread to take an abandoned attempt over");
	return true;
}
