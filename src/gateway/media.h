/*
 * media.h - images, documents and audio that a request names by their address, for providers that need the
 * bytes: refused with a sentence that says what to do, or fetched where the upstream says fetch_media.
 *
 * What was fetched is kept until the exchange is over, so that a second candidate needs no second fetch.
 * Fetching blocks, for media_fetch_seconds at most: an intake thread does it by itself, the others
 * leave it to a thread of its own.  So many requests fetch at once as MEDIA_FETCHES_MAX and the number
 * of intake threads allow, and all of a worker hold no more than body_memory; beyond it is 503.
 */
#ifndef GATEWAY_MEDIA_H
#define GATEWAY_MEDIA_H

#include "wire/format.h"

#define MEDIA_FETCHES_MAX 16

struct exchange;
struct media; /* one of them; a list, in the exchange's arena */
struct upstream;

/* Could making a request for that upstream, of that format, need a fetch? */
bool media_may_fetch(const struct exchange *x, const struct upstream *u, const struct format *to);

/* Puts the bytes into all parts of n that need them.  0, or -1 with *err: UNSUPPORTED (not fetched here,
 * too long, of another type), BAD_REQUEST (nothing to be had there), OVERLOADED, MEMORY.
 * Whoever owns x; where it may not block and something is not there yet, -1 and media_waits(). */
int media_fill(struct exchange *x, const struct upstream *u, const struct format *to,
	struct neutral_request *n, struct err *err);
/* The same for a body that is spliced into another format of its kin; *body is changed where needed, and
 * lives in a as long as that. */
int media_splice(struct exchange *x, const struct upstream *u, const struct format *to,
	struct arena *a, struct span *body, struct err *err);

/* Was a conversion broken off because something has to be fetched first? */
bool media_waits(const struct exchange *x);
/* Fetches on a thread of its own, which then calls done(x) and has x no more.  0, or -1 with *err and
 * x is still the caller's. */
int media_fetch_aside(struct exchange *x, void (*done)(struct exchange *x), struct err *err);

#endif
