/*
 * lookup.c - how many name look-ups may be under way.
 *
 * libcurl makes a thread for each look-up and keeps what it found for a minute.  So that a thousand
 * calls arriving at once do not become a thousand threads, a name that was found lately needs no
 * permission, and others get one of a few look-ups.  A name may hold only PER_NAME of them: a
 * name server that does not answer for one provider must not hold up the others.
 *
 * A call that is cancelled leaves its thread behind (CURLOPT_QUICK_EXIT), which nobody can ask
 * whether it is still there; its look-up counts as taken for as long as a resolver usually tries.
 */
#include "forward/forward-int.h"

#include "base/hash.h"
#include <stdlib.h>
#include <string.h>

#define PER_NAME     2
#define KNOWN_MS     50000 /* less than libcurl's 60 s, so that a known name is really cached */
#define ABANDONED_MS 12000
#define BUCKETS      64 /* power of two */

struct lookup_host {
	struct lookup_host *next;
	int under_way;
	int64_t known_until_ms;
	int64_t failed_ms; /* when it was last found not to exist; 0: never */
	char name[];
};

struct lookups {
	int most;
	int under_way;
	int abandoned_count;
	struct abandoned {
		struct lookup_host *host;
		int64_t until_ms;
	} * abandoned; /* room for `most`: each is one of those under way */
	struct lookup_host *buckets[BUCKETS];
};

struct lookups *
lookups_new(int most)
{
	struct lookups *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->most = most > 0 ? most : 1;
	l->abandoned = calloc((size_t)l->most, sizeof *l->abandoned);
	if (l->abandoned == NULL) {
		free(l);
		return NULL;
	}
	return l;
}

void
lookups_free(struct lookups *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (l->buckets[i] != NULL) {
			struct lookup_host *h = l->buckets[i];

			l->buckets[i] = h->next;
			free(h);
		}
	free(l->abandoned);
	free(l);
}

/* Finds or adds; drops what is stale on the way, so that the table holds only names in use. */
static struct lookup_host *
host_of(struct lookups *l, const char *name, int64_t now_ms)
{
	size_t len = strlen(name);
	struct lookup_host **at = &l->buckets[hash_64(name, len, 0) & (BUCKETS - 1)];
	struct lookup_host *h;

	while ((h = *at) != NULL) {
		if (strcmp(h->name, name) == 0)
			return h;
		if (h->under_way == 0 && h->known_until_ms < now_ms &&
			h->failed_ms + KNOWN_MS < now_ms) {
			*at = h->next;
			free(h);
		} else {
			at = &h->next;
		}
	}
	h = calloc(1, sizeof *h + len + 1);
	if (h != NULL) {
		memcpy(h->name, name, len);
		*at = h;
	}
	return h;
}

enum lookup_verdict
lookup_ask(struct lookups *l, const char *host, int64_t since_ms, int64_t now_ms,
	struct lookup_host **held)
{
	struct lookup_host *h = host_of(l, host, now_ms);

	*held = NULL;
	if (h == NULL || h->known_until_ms > now_ms)
		return LOOKUP_GO; /* short of memory: libcurl will say so in its own way */
	if (h->failed_ms > since_ms)
		return LOOKUP_FAILED;
	if (h->under_way >= PER_NAME || l->under_way >= l->most)
		return LOOKUP_WAIT;
	h->under_way++;
	l->under_way++;
	*held = h;
	return LOOKUP_GO;
}

static void
give_back(struct lookups *l, struct lookup_host *h)
{
	h->under_way--;
	l->under_way--;
}

void
lookup_done(struct lookups *l, struct lookup_host *held, enum lookup_end end, int64_t now_ms)
{
	switch (end) {
	case LOOKUP_FOUND:
		held->known_until_ms = now_ms + KNOWN_MS;
		held->failed_ms = 0;
		break;
	case LOOKUP_NOT_FOUND:
		held->failed_ms = now_ms;
		break;
	case LOOKUP_UNUSED:
		break;
	case LOOKUP_ABANDONED:
		l->abandoned[l->abandoned_count++] =
			(struct abandoned){ held, now_ms + ABANDONED_MS };
		return;
	}
	give_back(l, held);
}

bool
lookup_sweep(struct lookups *l, int64_t now_ms)
{
	bool some = false;

	for (int i = 0; i < l->abandoned_count;) {
		if (l->abandoned[i].until_ms > now_ms) {
			i++;
			continue;
		}
		give_back(l, l->abandoned[i].host);
		l->abandoned[i] = l->abandoned[--l->abandoned_count];
		some = true;
	}
	return some;
}
