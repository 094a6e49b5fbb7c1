/*
 * gate-int.h - who may be inside the Berkeley DB environment, and who recovers it.
 *
 * Debian's libdb waits on plain mutexes: whoever waits for a lock of a dead process sleeps for
 * ever.  So nobody is let in while a death inside is not recovered, and everybody leaves when one
 * is found.  A file `gate` beside the environment holds two words and a few lock bytes:
 *
 *   epoch   the environment that is good (counts recoveries); 0: never made
 *   want    the epoch asked for; want != epoch means "leave, somebody must recover"
 *   INSIDE  lock byte, shared while the environment is open, exclusive while it is recovered
 *   ELECT   lock byte, held by the one that recovers
 *   the others: elections of the clerks
 *
 * The roster's word of each slot holds the owner's incarnation while it is inside: a word whose
 * owner is dead is a death inside, whoever sits in that slot by now.  The kernel drops all locks
 * with a process, so a recoverer that dies leaves want != epoch for the next one.
 *
 * Nothing here calls Berkeley DB.  One gate a process and store; calls are serialized by the
 * caller, but for gate_want, gate_stale and gate_scan.
 */
#ifndef STORE_GATE_INT_H
#define STORE_GATE_INT_H

#include "base/err.h"
#include "base/roster.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GATE_WAIT_MS   10000 /* most to wait for others to leave or recover */
#define GATE_KILL_MS   2000  /* peers that will not leave are killed after this */

enum gate_job { GATE_FOLD, GATE_CHECKPOINT, GATE_EXPIRE, GATE_FLUSH, GATE__JOBS };

struct gate_words {
	uint32_t magic, layout;
	_Atomic uint32_t epoch, want;
	_Atomic uint32_t recoveries;
	_Atomic uint32_t recovery_us; /* of the last one */
	_Atomic int64_t recovered_ms; /* wall clock */
	_Atomic uint64_t boot;        /* hash of the boot's id: regions do not outlive a boot */
	_Atomic uint32_t unchecked;   /* rows booked since somebody looked after checkpoints */
	_Atomic uint32_t unfolded;    /* rows booked since a fold left none, about */
	_Atomic uint64_t memory;      /* names the environment's shared memory; 0: not known */
};

struct gate {
	int fd;
	struct gate_words *words;
	struct roster *roster;
	uint64_t boot;
	bool elect; /* we hold ELECT */
};

enum gate_role { GATE_JOIN, GATE_RECOVER };

int gate_open(struct gate *g, const char *dir, struct roster *roster, struct err *err);
void gate_close(struct gate *g);

/* Asks for a recovery of that epoch; nothing when it has been asked for or is over. */
void gate_want(struct gate *g, uint32_t epoch);
bool gate_stale(const struct gate *g, uint32_t epoch);
/* Looks for a death inside and asks for recovery.  True when it found one. */
bool gate_scan(struct gate *g);

/* Waits until we are inside.  GATE_JOIN: the environment of *epoch is good.  GATE_RECOVER: nobody
 * else is inside and it is ours to recover; then call gate_recovered or gate_leave. */
int gate_enter(struct gate *g, enum gate_role *role, uint32_t *epoch, struct err *err);
uint32_t gate_recovered(struct gate *g, int64_t took_us);
void gate_leave(struct gate *g);

/* For putting another environment in the place of this one: true when nobody is inside and from now
 * on nobody comes in; does not wait. */
bool gate_shut(struct gate *g);
void gate_open_again(struct gate *g);

/* An election for a clerk's job among processes (threads of one process are told apart by the
 * caller).  Does not wait. */
bool gate_elect(struct gate *g, enum gate_job job);
void gate_resign(struct gate *g, enum gate_job job);

#endif
