/*
 * remember.h - callers that this process has let pass lately, for projects that go on when the store
 * is not to be had (project.fail_mode open).  Asked then, never otherwise: a revoked token must be
 * refused on the next request.
 *
 * Holds records, no secrets.  Safe over threads; never blocks on anything but a short mutex.
 */
#ifndef GATEWAY_REMEMBER_H
#define GATEWAY_REMEMBER_H

#include "admit/admit.h"

#define REMEMBER_MOST   512     /* callers; another one takes the place of one of them */
#define REMEMBER_FOR_MS 3600000 /* since the store last knew of it */

struct remember;

struct remember *remember_new(struct err *err);
void remember_free(struct remember *r);

/* The store has just told of this caller: kept when its project goes on without the store, forgotten
 * when not.  now_ms: clock_boot_ms(). */
void remember_caller(struct remember *r, const struct admit_caller *caller, int64_t now_ms);
/* The store has just said that these are no tokens. */
void remember_forget(struct remember *r, const struct admit_secrets *secrets);
/* The caller one of the secrets names; false when none does, or two do.  wall_ms: for a rotated
 * secret that is good for a while. */
bool remember_find(struct remember *r, const struct admit_secrets *secrets, int64_t now_ms,
	int64_t wall_ms, struct admit_caller *caller);

#endif
