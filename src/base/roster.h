/*
 * roster.h - who is alive: one file of slots, each held by a live process through an OFD byte lock.
 *
 * The kernel drops the lock at death, whatever the death was, so "is this owner dead" has one
 * exact answer and no deadline.  store's gate and board's leases both name owners by it.
 * File `roster` in the state directory, ROSTER_SLOTS slots, allocated whole, mode 0660.
 * Join after fork(); never fork without exec while joined (OFD locks are inherited).
 */
#ifndef BASE_ROSTER_H
#define BASE_ROSTER_H

#include "base/err.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ROSTER_SLOTS 4096

struct roster;

/* Names an owner for ever: a slot is used again, its incarnation is not. */
struct roster_owner {
	uint32_t slot;
	uint32_t incarnation; /* 0: nobody */
};

/* Creates the file if need be and takes a free slot; one whose owner died attached is not free, it
 * is left to the gate, which clears the word.  ERR_OVERLOADED when there is none. */
struct roster *roster_join(const char *dir, struct err *err);
/* Gives the slot back.  The caller holds nothing under it any more. */
void roster_leave(struct roster *r);

struct roster_owner roster_self(const struct roster *r);
/* True when that owner is gone for sure; false while it lives (or while it is us). */
bool roster_is_dead(struct roster *r, struct roster_owner owner);
/* Who holds the slot, 0 when nobody does.  Trust it with a signal only where the slot shows more of
 * its owner (attached): in the instant between lock and entry it may still name the one before. */
pid_t roster_pid(struct roster *r, uint32_t slot);

/* The gate's word for each slot: 1 while that process is inside the store's environment. */
_Atomic uint32_t *roster_attached(struct roster *r, uint32_t slot);
/* Upper bound of slots ever used, so that scans stay short. */
uint32_t roster_high(const struct roster *r);

#endif
