/*
 * remember.c - each caller has one place, by its token's id: the newest one there wins.  Looking one
 * up by its secret goes through all of them, which is done in an outage alone.
 */
#include "gateway/remember.h"

#include "base/hash.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct place {
	struct admit_caller *caller; /* NULL: free */
	int64_t seen_ms;
};

struct remember {
	pthread_mutex_t mutex;
	int count; /* of places taken; read without the mutex, where a late value does no harm */
	struct place place[REMEMBER_MOST];
};

struct remember *
remember_new(struct err *err)
{
	struct remember *r = calloc(1, sizeof *r);

	if (r == NULL)
		err_set(err, ERR_MEMORY, "no memory for callers to remember");
	else
		pthread_mutex_init(&r->mutex, NULL);
	return r;
}

static void
drop(struct remember *r, struct place *p)
{
	if (p->caller == NULL)
		return;
	free(p->caller);
	*p = (struct place){ 0 };
	__atomic_fetch_sub(&r->count, 1, __ATOMIC_RELAXED);
}

void
remember_free(struct remember *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < REMEMBER_MOST; i++)
		drop(r, &r->place[i]);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}

static struct place *
place_of(struct remember *r, struct id token)
{
	return &r->place[hash_64(&token, sizeof token, 0) % REMEMBER_MOST];
}

static bool
is_same(const struct admit_caller *a, const struct admit_caller *b)
{
	return id_equal(a->token.head.id, b->token.head.id) &&
	       a->token.head.version == b->token.head.version &&
	       a->project.head.version == b->project.head.version;
}

static void
keep(struct remember *r, struct place *p, const struct admit_caller *caller, int64_t now_ms)
{
	if (p->caller == NULL) {
		if ((p->caller = malloc(sizeof *p->caller)) == NULL)
			return;
		__atomic_fetch_add(&r->count, 1, __ATOMIC_RELAXED);
	} else if (is_same(p->caller, caller)) {
		p->seen_ms = now_ms;
		return;
	}
	*p->caller = *caller;
	p->seen_ms = now_ms;
}

void
remember_caller(struct remember *r, const struct admit_caller *caller, int64_t now_ms)
{
	struct place *p = place_of(r, caller->token.head.id);
	bool open = caller->project.fail_mode == FAIL_OPEN;

	if (!open && __atomic_load_n(&r->count, __ATOMIC_RELAXED) == 0)
		return;
	pthread_mutex_lock(&r->mutex);
	if (open)
		keep(r, p, caller, now_ms);
	else if (p->caller != NULL && id_equal(p->caller->token.head.id, caller->token.head.id))
		drop(r, p);
	pthread_mutex_unlock(&r->mutex);
}

/* Is that the token's secret now, or its old one for a while yet? */
static bool
names(const struct token *t, const uint8_t sha256[SHA256_BYTES], int64_t wall_ms)
{
	return hash_equal(t->sha256, sha256, SHA256_BYTES) ||
	       (wall_ms < t->old_until_ms && hash_equal(t->old_sha256, sha256, SHA256_BYTES));
}

void
remember_forget(struct remember *r, const struct admit_secrets *secrets)
{
	uint8_t sha256[SHA256_BYTES];

	if (__atomic_load_n(&r->count, __ATOMIC_RELAXED) == 0)
		return;
	for (int k = 0; k < secrets->count; k++) {
		hash_sha256(secrets->text[k], strlen(secrets->text[k]), sha256);
		pthread_mutex_lock(&r->mutex);
		for (size_t i = 0; i < REMEMBER_MOST; i++)
			if (r->place[i].caller != NULL &&
				names(&r->place[i].caller->token, sha256, 0))
				drop(r, &r->place[i]);
		pthread_mutex_unlock(&r->mutex);
	}
}

bool
remember_find(struct remember *r, const struct admit_secrets *secrets, int64_t now_ms,
	int64_t wall_ms, struct admit_caller *caller)
{
	uint8_t sha256[SHA256_BYTES];
	int found = 0;

	if (__atomic_load_n(&r->count, __ATOMIC_RELAXED) == 0)
		return false;
	for (int k = 0; k < secrets->count; k++) {
		hash_sha256(secrets->text[k], strlen(secrets->text[k]), sha256);
		pthread_mutex_lock(&r->mutex);
		for (size_t i = 0; i < REMEMBER_MOST; i++) {
			const struct place *p = &r->place[i];

			if (p->caller != NULL && now_ms - p->seen_ms < REMEMBER_FOR_MS &&
				names(&p->caller->token, sha256, wall_ms)) {
				*caller = *p->caller;
				caller->is_old_secret =
					!hash_equal(caller->token.sha256, sha256, SHA256_BYTES);
				found++;
			}
		}
		pthread_mutex_unlock(&r->mutex);
	}
	return found == 1;
}
