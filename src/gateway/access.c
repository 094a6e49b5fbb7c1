/*
 * access.c - an entry for each key that buys tokens, and what exchanges ask of it.
 */
#include "gateway/access-int.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

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
	if (e->proxy != NULL) /* its password */
		explicit_bzero(e->proxy, strlen(e->proxy));
	free(e->proxy);
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
	h = hash_text(t->client_cert, h);
	return hash_text(t->proxy, h);
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
	e->proxy = copy_of(t->proxy, &failed);
	if (failed || access_name_of(t->key, (int)t->kind, t->token_url, t->scope, t->secret,
			      &e->name, NULL) != 0) {
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

	for (size_t i = 0; i < ACCESS_BUCKETS; i++)
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
	struct access_entry **bucket = &d->bucket[quick % ACCESS_BUCKETS], *e;

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
	access_set_busy(e, true);
	e->job.refused = refused;
	if (access_give(e, STEP_LOOK))
		return true;
	access_set_busy(e, false);
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
		out->retry_ms = e->retry_ms;
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
	for (size_t i = 0; hurry && i < ACCESS_BUCKETS; i++)
		for (struct access_entry *e = d->bucket[i]; e != NULL; e = e->next)
			if (e->call != NULL)
				forward_cancel(e->call);
	return false;
}

bool
access_fetches(const struct access_desk *d)
{
	for (size_t i = 0; i < ACCESS_BUCKETS; i++)
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
	for (size_t i = 0; d != NULL && i < ACCESS_BUCKETS; i++)
		while (d->bucket[i] != NULL) {
			struct access_entry *e = d->bucket[i];

			d->bucket[i] = e->next;
			entry_free(e);
		}
	free(d);
}
