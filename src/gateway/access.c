/*
 * access.c - an entry for each key that buys tokens, and the thread that asks the store for them.
 *
 * An entry's `job` is the thread's from give() until it comes back in access_take(); all else of an
 * entry is the loop's, but for the terms, which do not change.  While a job or a call is under way
 * the entry is `busy`, so there is one of them at a time.
 */
#include "gateway/access.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "gateway/gateway-int.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUCKETS       256
#define LOOK_AGAIN_MS 5000   /* at a token that is to be renewed, and is not yet */
#define SPARE_MOST_MS 30000  /* a token is not used so shortly before its end */
#define AHEAD_MS      300000 /* before its end a new one is wanted */

enum step { STEP_LOOK, STEP_PUT, STEP_FAIL };
enum found { FOUND_ANSWER, FOUND_CLAIM, FOUND_NO_STORE, FOUND_NO_USE };

struct job {
	struct job *next;
	enum step step;
	int64_t due_us;
	uint64_t refused;
	bool key_refused; /* STEP_FAIL */
	int64_t failed_ms;
	char why[ACCESS_WHY_BYTES];
	struct access_token token; /* STEP_PUT */
	/* what came of it */
	enum found found;
	struct access_answer answer;
	struct oauth_request request; /* when it is to be fetched */
	int64_t retry_ms;
};

struct access_entry {
	struct access_entry *next;
	struct access_desk *desk;
	uint64_t quick; /* hash of all terms */
	struct access_name name;
	enum oauth_kind kind;
	char *secret, *upstream, *token_url, *scope, *ca_file, *client_cert;
	bool allow_private;
	int64_t connect_ms, first_byte_ms;
	int64_t used_ms;

	struct access_token token; /* number 0: none */
	int64_t look_ms;           /* not before, when it is to be renewed */
	uint64_t kept;             /* a token that the provider refused, and that stays … */
	int64_t kept_ms;           /* … until then */
	int64_t retry_ms;          /* failing until then */
	uint32_t failures;
	bool refused;
	char why[ACCESS_WHY_BYTES];

	struct access_waiter *waiters;
	bool busy;
	struct forward_call *call;
	struct bytes reply;
	int64_t asked_ms;
	struct job job;
};

struct access_desk {
	struct gateway *gw;
	struct access_entry *bucket[BUCKETS];
	size_t count, busy;   /* entries */
	_Atomic bool resting; /* the loop sets it, once */

	pthread_mutex_t mutex; /* over the rest */
	pthread_cond_t wake, idle;
	struct job *todo, *done;
	struct job *_Atomic now; /* what the thread is at */
	bool thread, stop, ended;
};

static struct access_entry *
entry_of(struct job *j)
{
	return (struct access_entry *)((char *)j - offsetof(struct access_entry, job));
}

/* ---- the thread ---- */

static bool
build_request(struct access_entry *e, struct job *j)
{
	struct err err = { 0 };

	if (oauth_request_make(e->kind, span_of(e->secret), e->token_url, e->scope, clock_wall_ms(),
		    &j->request, &err) != 0)
		return false;
	return e->allow_private || strncmp(j->request.url, "https://", 8) == 0;
}

/* False: somebody else is at it. */
static bool
do_look(struct access_desk *d, struct access_entry *e, struct job *j)
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
do_put(struct access_desk *d, struct access_entry *e, struct job *j)
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
do_fail(struct access_desk *d, struct access_entry *e, struct job *j)
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
do_job(struct access_desk *d, struct job *j)
{
	struct access_entry *e = entry_of(j);

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
static struct job *
next_job(struct access_desk *d)
{
	struct job *j = NULL;

	pthread_mutex_lock(&d->mutex);
	for (;;) {
		struct job **at = &d->todo;
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
hand_back(struct access_desk *d, struct job *j, bool done)
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
		struct job *j = atomic_load(&d->now);
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

/* ---- the loop: jobs and calls ---- */

static bool
give(struct access_entry *e, enum step step)
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

static void
set_busy(struct access_entry *e, bool busy)
{
	if (e->busy != busy)
		e->desk->busy += busy ? (size_t)1 : (size_t)-1;
	e->busy = busy;
}

static void
wake_all(struct access_entry *e)
{
	struct access_waiter *w = e->waiters;

	/* whoever is woken may ask again, and stands in the new list then */
	e->waiters = NULL;
	for (struct access_waiter *at = w; at != NULL; at = at->next)
		at->entry = NULL;
	while (w != NULL) {
		struct access_waiter *one = w;

		w = one->next;
		if (w != NULL)
			w->prev = NULL;
		one->prev = one->next = NULL;
		one->wake(one->ctx);
	}
}

static void
note_failure(struct access_entry *e, bool refused, const char *why)
{
	char key[ID_TEXT_BYTES];

	id_text("key_", e->name.key, key);
	e->failures++;
	e->refused = refused;
	e->retry_ms = board_now_ms(e->desk->gw->board) + access_wait_ms(e->failures, refused);
	(void)span_copy(span_of(why), e->why, sizeof e->why);
	log_write(
		LOG_WARN, "access", "upstream %s, %s: no access token: %s", e->upstream, key, why);
}

/* A fetch ended without a token: everybody is told. */
static void
fail(struct access_entry *e, bool refused, const char *why)
{
	note_failure(e, refused, why);
	e->job.key_refused = refused;
	e->job.failed_ms = board_now_ms(e->desk->gw->board);
	(void)span_copy(span_of(why), e->job.why, sizeof e->job.why);
	if (!give(e, STEP_FAIL))
		set_busy(e, false);
	wake_all(e);
}

static void
grant(struct access_entry *e, const struct oauth_reply *r)
{
	int64_t life_ms = r->life_ms, half_ms = life_ms / 2;
	int64_t spare_ms = life_ms / 10 < SPARE_MOST_MS ? life_ms / 10 : SPARE_MOST_MS;
	int64_t ahead_ms = half_ms < AHEAD_MS ? half_ms : AHEAD_MS;
	struct access_token *t = &e->token;

	if (ahead_ms < life_ms / 5)
		ahead_ms = life_ms / 5;
	memset(t, 0, sizeof *t);
	memcpy(t->text, r->token, strlen(r->token));
	t->number = hash_64(t->text, strlen(t->text), 0) | 1;
	t->refresh_ms = e->asked_ms + life_ms - ahead_ms;
	t->until_ms = e->asked_ms + life_ms - spare_ms;
	e->failures = 0;
	e->retry_ms = 0;
	log_write(LOG_INFO, "access", "upstream %s: a new access token, good for %lld s",
		e->upstream, (long long)(life_ms / 1000));
	e->job.token = *t;
	if (!give(e, STEP_PUT))
		set_busy(e, false);
	wake_all(e);
}

static bool
on_data(void *ctx, const char *data, size_t len)
{
	struct access_entry *e = ctx;

	if (bytes_add(&e->reply, data, len) != 0)
		forward_cancel(e->call);
	return true;
}

static void
on_head(void *ctx, const struct forward_head *head)
{
	(void)ctx;
	(void)head;
}

static void
on_end(void *ctx, const struct forward_end *end)
{
	struct access_entry *e = ctx;
	struct oauth_reply reply;
	enum oauth_outcome outcome = OAUTH_FAILED;
	char why[ACCESS_WHY_BYTES];
	bool cut_off;

	e->call = NULL;
	memset(&reply, 0, sizeof reply);
	if (end->outcome == FORWARD_DONE)
		outcome = oauth_reply_read(end->status, bytes_span(&e->reply), &reply);
	if (end->outcome == FORWARD_DONE)
		(void)snprintf(
			why, sizeof why, "the token endpoint did not give one: %s", reply.why);
	else
		(void)snprintf(why, sizeof why, "the token endpoint: %s",
			e->reply.failed ? "its answer is too long" : end->text);
	cut_off = end->outcome == FORWARD_CANCELLED && !e->reply.failed;
	if (e->reply.at != NULL)
		explicit_bzero(e->reply.at, e->reply.room);
	bytes_free(&e->reply);
	oauth_request_free(&e->job.request);
	if (cut_off) { /* the process ends: with it the claim */
		set_busy(e, false);
		wake_all(e);
	} else if (outcome == OAUTH_GRANTED) {
		grant(e, &reply);
	} else {
		fail(e, outcome == OAUTH_REFUSED, why);
	}
	explicit_bzero(reply.token, sizeof reply.token);
}

static int64_t
at_most(int64_t ms, int64_t most)
{
	return ms > 0 && ms < most ? ms : most;
}

static void
fetch(struct access_entry *e)
{
	static const struct forward_header headers[] = {
		{ "Content-Type", "application/x-www-form-urlencoded" },
		{ "Accept", "application/json" },
	};
	struct forward_request q = { .method = "POST",
		.url = e->job.request.url,
		.headers = headers,
		.header_count = sizeof headers / sizeof headers[0],
		.body = bytes_span(&e->job.request.body),
		.body_fd = -1,
		.has_body = true,
		.connect_ms = at_most(e->connect_ms, ACCESS_FETCH_MS),
		.first_byte_ms = at_most(e->first_byte_ms, ACCESS_FETCH_MS),
		.idle_ms = ACCESS_FETCH_MS,
		.total_ms = ACCESS_FETCH_MS,
		.allow_private = e->allow_private,
		.ca_file = e->ca_file,
		.client_cert = e->client_cert,
		.pool = e->upstream };
	struct forward_sink sink = { e, on_head, on_data, on_end };
	struct err err = { 0 };

	e->asked_ms = board_now_ms(e->desk->gw->board);
	e->reply = BYTES_LIMIT(OAUTH_REPLY_MAX);
	e->call = forward_start(e->desk->gw->forward, &q, &sink, &err);
	if (e->call == NULL) {
		oauth_request_free(&e->job.request);
		fail(e, false, err.text);
	}
}

/* ---- what the thread found ---- */

static void
take_look(struct access_entry *e)
{
	struct job *j = &e->job;
	int64_t now_ms = board_now_ms(e->desk->gw->board);

	if (j->answer.token.number != 0)
		e->token = j->answer.token;
	explicit_bzero(j->answer.token.text, sizeof j->answer.token.text);
	e->look_ms = now_ms + LOOK_AGAIN_MS;
	if (j->found == FOUND_CLAIM || j->found == FOUND_NO_STORE) {
		fetch(e);
		/* where the one before is still good, or nobody needs a new one yet, nobody waits */
		if (e->call != NULL && e->token.number != 0)
			wake_all(e);
		return;
	}
	set_busy(e, false);
	if (j->found == FOUND_NO_USE) {
		note_failure(e, true, "the key does not fit the upstream's auth");
		e->retry_ms = j->retry_ms;
	} else if (j->answer.what == ACCESS_FAILING) {
		e->refused = j->answer.refused;
		e->retry_ms = j->answer.retry_ms;
		memcpy(e->why, j->answer.why, sizeof e->why);
	} else if (j->answer.what == ACCESS_KEPT) {
		e->kept = j->refused;
		e->kept_ms = j->answer.retry_ms;
	}
	wake_all(e);
}

static void
take_job(struct access_entry *e)
{
	switch (e->job.step) {
	case STEP_LOOK:
		take_look(e);
		return;
	case STEP_FAIL:
		if (e->job.retry_ms > e->retry_ms)
			e->retry_ms = e->job.retry_ms;
		break;
	case STEP_PUT:
		break;
	}
	set_busy(e, false);
	wake_all(e);
}

void
access_take(struct access_desk *d)
{
	struct job *j;

	pthread_mutex_lock(&d->mutex);
	j = d->done;
	d->done = NULL;
	pthread_mutex_unlock(&d->mutex);
	while (j != NULL) {
		struct job *next = j->next;

		take_job(entry_of(j));
		j = next;
	}
}

/* ---- entries ---- */

static void
entry_free(struct access_entry *e)
{
	if (e->secret != NULL)
		explicit_bzero(e->secret, strlen(e->secret));
	free(e->secret);
	free(e->upstream);
	free(e->token_url);
	free(e->scope);
	free(e->ca_file);
	free(e->client_cert);
	oauth_request_free(&e->job.request);
	bytes_free(&e->reply);
	explicit_bzero(e, sizeof *e);
	free(e);
}

static uint64_t
hash_text(const char *s, uint64_t seed)
{
	return hash_64(s == NULL ? "" : s, s == NULL ? 0 : strlen(s), seed);
}

static uint64_t
hash_terms(const struct access_terms *t)
{
	const int64_t numbers[] = { t->kind, t->allow_private, t->connect_ms, t->first_byte_ms };
	uint64_t h = hash_64(&t->key, sizeof t->key, hash_64(numbers, sizeof numbers, 0));

	h = hash_text(t->secret, h);
	h = hash_text(t->upstream, h);
	h = hash_text(t->token_url, h);
	h = hash_text(t->scope, h);
	h = hash_text(t->ca_file, h);
	return hash_text(t->client_cert, h);
}

/* What was bought for other terms is another token. */
static int
name_token(const struct access_terms *t, struct access_name *out)
{
	struct bytes text = BYTES_LIMIT(16384);
	bool failed;

	out->key = t->key;
	bytes_printf(&text, "%d\n%s\n%s\n%s", (int)t->kind, t->token_url, t->scope, t->secret);
	if (!text.failed)
		hash_sha256(text.at, text.len, out->of);
	if (text.at != NULL)
		explicit_bzero(text.at, text.room);
	failed = text.failed;
	bytes_free(&text);
	return failed ? -1 : 0;
}

static char *
copy_of(const char *s, bool *failed)
{
	char *copy = s == NULL ? NULL : strdup(s);

	*failed |= s != NULL && copy == NULL;
	return copy;
}

static struct access_entry *
entry_new(struct access_desk *d, const struct access_terms *t, uint64_t quick)
{
	struct access_entry *e = calloc(1, sizeof *e);
	bool failed = false;

	if (e == NULL)
		return NULL;
	e->desk = d;
	e->quick = quick;
	e->kind = t->kind;
	e->allow_private = t->allow_private;
	e->connect_ms = t->connect_ms;
	e->first_byte_ms = t->first_byte_ms;
	e->secret = copy_of(t->secret, &failed);
	e->upstream = copy_of(t->upstream, &failed);
	e->token_url = copy_of(t->token_url, &failed);
	e->scope = copy_of(t->scope, &failed);
	e->ca_file = copy_of(t->ca_file, &failed);
	e->client_cert = copy_of(t->client_cert, &failed);
	if (failed || name_token(t, &e->name) != 0) {
		entry_free(e);
		return NULL;
	}
	return e;
}

/* The one that nobody asked for longest goes. */
static void
make_room(struct access_desk *d)
{
	struct access_entry **oldest = NULL, *gone;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct access_entry **at = &d->bucket[i]; *at != NULL; at = &(*at)->next)
			if (!(*at)->busy && (*at)->waiters == NULL &&
				(oldest == NULL || (*at)->used_ms < (*oldest)->used_ms))
				oldest = at;
	if (oldest == NULL)
		return;
	gone = *oldest;
	*oldest = gone->next;
	d->count--;
	entry_free(gone);
}

static struct access_entry *
find(struct access_desk *d, const struct access_terms *t)
{
	uint64_t quick = hash_terms(t);
	struct access_entry **bucket = &d->bucket[quick % BUCKETS], *e;

	for (e = *bucket; e != NULL; e = e->next)
		if (e->quick == quick && id_equal(e->name.key, t->key))
			return e;
	if (d->count >= ACCESS_ENTRIES)
		make_room(d);
	if (d->count >= ACCESS_ENTRIES || (e = entry_new(d, t, quick)) == NULL)
		return NULL;
	e->next = *bucket;
	*bucket = e;
	d->count++;
	return e;
}

/* ---- what an exchange asks ---- */

static bool
look(struct access_entry *e, uint64_t refused)
{
	set_busy(e, true);
	e->job.refused = refused;
	if (give(e, STEP_LOOK))
		return true;
	set_busy(e, false);
	return false;
}

static void
wait_for(struct access_entry *e, struct access_waiter *w)
{
	if (w->entry == e)
		return;
	access_leave(w);
	w->entry = e;
	w->prev = NULL;
	w->next = e->waiters;
	if (w->next != NULL)
		w->next->prev = w;
	e->waiters = w;
}

void
access_leave(struct access_waiter *w)
{
	if (w->entry == NULL)
		return;
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		w->entry->waiters = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	w->entry = NULL;
	w->prev = w->next = NULL;
}

static enum access_verdict
fails(struct access_hold *out, bool refused, const char *why)
{
	out->refused = refused;
	(void)span_copy(span_of(why), out->why, sizeof out->why);
	return ACCESS_FAILS;
}

enum access_verdict
access_ask(struct access_desk *d, const struct access_terms *t, uint64_t refused,
	struct access_waiter *w, struct access_hold *out)
{
	struct access_entry *e = find(d, t);
	int64_t now_ms = board_now_ms(d->gw->board);

	memset(out, 0, sizeof *out);
	if (e == NULL)
		return fails(out, false, "no memory for an access token");
	e->used_ms = now_ms;
	if (e->token.number != 0 && e->token.number != refused && now_ms < e->token.until_ms) {
		if (now_ms >= e->token.refresh_ms && !e->busy && !atomic_load(&d->resting) &&
			now_ms >= e->look_ms && now_ms >= e->retry_ms)
			(void)look(e, 0);
		access_leave(w);
		out->token = e->token.text;
		out->number = e->token.number;
		return ACCESS_READY;
	}
	if (refused != 0 && e->kept == refused && now_ms < e->kept_ms) {
		access_leave(w);
		return ACCESS_KEEPS;
	}
	if (now_ms < e->retry_ms) {
		access_leave(w);
		return fails(out, e->refused, e->why);
	}
	if (!e->busy && !look(e, refused)) {
		access_leave(w);
		return fails(out, false, "no thread to ask for an access token");
	}
	wait_for(e, w);
	return ACCESS_WAITS;
}

/* ---- beginning and end ---- */

struct access_desk *
access_new(struct gateway *gw, struct err *err)
{
	struct access_desk *d = calloc(1, sizeof *d);
	pthread_condattr_t monotonic;

	if (d == NULL) {
		(void)err_set(err, ERR_MEMORY, "no memory for access tokens");
		return NULL;
	}
	d->gw = gw;
	pthread_mutex_init(&d->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&d->wake, &monotonic);
	pthread_cond_init(&d->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return d;
}

bool
access_rest(struct access_desk *d, bool hurry)
{
	atomic_store(&d->resting, true);
	if (d->busy == 0)
		return true;
	for (size_t i = 0; hurry && i < BUCKETS; i++)
		for (struct access_entry *e = d->bucket[i]; e != NULL; e = e->next)
			if (e->call != NULL)
				forward_cancel(e->call);
	return false;
}

bool
access_fetches(const struct access_desk *d)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct access_entry *e = d->bucket[i]; e != NULL; e = e->next)
			if (e->call != NULL)
				return true;
	return false;
}

void
access_close(struct access_desk *d)
{
	pthread_mutex_lock(&d->mutex);
	d->stop = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->mutex);
}

bool
access_ended(struct access_desk *d, int wait_ms)
{
	struct timespec until;
	int64_t end_us = clock_mono_us() + (int64_t)wait_ms * 1000;
	bool ended;

	until = (struct timespec){ end_us / 1000000, end_us % 1000000 * 1000 };
	pthread_mutex_lock(&d->mutex);
	while (d->thread && !d->ended &&
		pthread_cond_timedwait(&d->idle, &d->mutex, &until) != ETIMEDOUT)
		;
	ended = !d->thread || d->ended;
	pthread_mutex_unlock(&d->mutex);
	return ended;
}

void
access_free(struct access_desk *d)
{
	for (size_t i = 0; d != NULL && i < BUCKETS; i++)
		while (d->bucket[i] != NULL) {
			struct access_entry *e = d->bucket[i];

			d->bucket[i] = e->next;
			entry_free(e);
		}
	free(d);
}
