/*
 * access_fetch.c - a call of a token endpoint, and what becomes of it.
 */
#include "gateway/access-int.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define LOOK_AGAIN_MS 5000   /* at a token that is to be renewed, and is not yet */
#define SPARE_MOST_MS 30000  /* a token is not used so shortly before its end */
#define AHEAD_MS      300000 /* before its end a new one is wanted */

void
access_set_busy(struct access_entry *e, bool busy)
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
	if (!access_give(e, STEP_FAIL))
		access_set_busy(e, false);
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
	if (!access_give(e, STEP_PUT))
		access_set_busy(e, false);
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
		access_set_busy(e, false);
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
		.proxy = e->proxy,
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
	struct access_job *j = &e->job;
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
	access_set_busy(e, false);
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
	access_set_busy(e, false);
	wake_all(e);
}

void
access_take(struct access_desk *d)
{
	struct access_job *j;

	pthread_mutex_lock(&d->mutex);
	j = d->done;
	d->done = NULL;
	pthread_mutex_unlock(&d->mutex);
	while (j != NULL) {
		struct access_job *next = j->next;

		take_job(access_entry_of(j));
		j = next;
	}
}
