/*
 * attach.c - how a thread goes into the environment and comes out of it again.
 *
 * One thread at a time, the mover, opens or closes; the others wait for it on s->changed.  All
 * bookkeeping is under s->lock, which nobody holds while calling Berkeley DB, so a thread that
 * sleeps for ever in there holds up nobody here.
 */
#include "store/store-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* No second try to open sooner than this after a failed one. */
#define REFUSE_MS         250
#define REFUSE_DAMAGED_MS 5000 /* a recovery that failed mostly fails again, and takes its time */

/* The slots of parked threads and the handles they sleep in: kept for ever, on purpose. */
static struct slot *parked_slots;
static struct attach *leaked;
static pthread_mutex_t leak_lock = PTHREAD_MUTEX_INITIALIZER;

static __attribute__((noreturn)) void
park(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (;;)
		(void)pause();
}

static void
slot_set(struct slot *slot, enum slot_state state)
{
	uint64_t word = atomic_load(&slot->word);

	atomic_store(&slot->word, ((word >> 2) + 1) << 2 | (uint64_t)state);
}

/* From BUSY to WAIT or IDLE, unless the warden was faster: then this does not return. */
static void
slot_come_out(struct slot *slot, enum slot_state state)
{
	uint64_t word = atomic_load(&slot->word);

	if ((word & 3) == SLOT_GONE || !atomic_compare_exchange_strong(&slot->word, &word,
					       (word & ~(uint64_t)3) | (uint64_t)state))
		park();
}

static struct slot *
slot_mine(struct store *s)
{
	struct slot *slot = pthread_getspecific(s->slot_key);

	if (slot != NULL)
		return slot;
	(void)pthread_mutex_lock(&s->lock);
	for (slot = s->slots; slot != NULL && slot->taken; slot = slot->next)
		;
	if (slot == NULL && (slot = calloc(1, sizeof *slot)) != NULL) {
		slot->store = s;
		slot->next = s->slots;
		s->slots = slot;
	}
	if (slot != NULL) {
		slot->taken = true;
		slot->work = NULL;
		slot->tid = gettid();
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (slot != NULL && pthread_setspecific(s->slot_key, slot) != 0) {
		(void)pthread_mutex_lock(&s->lock);
		slot->taken = false;
		(void)pthread_mutex_unlock(&s->lock);
		return NULL;
	}
	return slot;
}

/* A thread that ends gives its slot back; the thread key calls this. */
void
store_thread_ends(void *mine)
{
	struct slot *slot = mine;
	struct store *s = slot->store;

	(void)pthread_mutex_lock(&s->lock);
	slot->taken = false;
	slot->work = NULL;
	(void)pthread_mutex_unlock(&s->lock);
}

void
store_working(struct store *s, void *work)
{
	struct slot *slot = slot_mine(s);

	if (slot == NULL)
		return;
	(void)pthread_mutex_lock(&s->lock);
	slot->work = work;
	(void)pthread_mutex_unlock(&s->lock);
}

void
store_stay(struct store *s, bool stay)
{
	(void)pthread_mutex_lock(&s->lock);
	s->staying += stay ? 1 : -1;
	(void)pthread_mutex_unlock(&s->lock);
	if (!stay && s->brief)
		(void)store_call(s, "leave", NULL, NULL, NULL);
}

/* ---- under s->lock ---- */

/* Nobody of ours is in it any more, or never will come out: our place inside the gate is free. */
void
attach_left(struct store *s, struct attach *at)
{
	if (at->retired && at->inside == 0 && at->gated) {
		at->gated = false;
		gate_leave(&s->gate);
	}
	(void)pthread_cond_broadcast(&s->changed);
}

void
attach_retire(struct store *s, struct attach *at)
{
	if (at->retired)
		return;
	at->retired = true;
	at->retired_ms = clock_boot_ms();
	if (s->current == at)
		s->current = NULL;
	at->next = s->retired;
	s->retired = at;
	/* Threads of ours in a call find it out soon, and one that wakes too late does no harm. */
	if (at->opened)
		env_panic(at);
	attach_left(s, at);
}

/* The warden has made the slot GONE. */
void
attach_thread_gone(struct store *s, struct slot *slot)
{
	struct attach *at = slot->at;

	attach_retire(s, at); /* one that is being opened or closed is not yet */
	at->inside--;
	at->stuck++;
	if (s->mover == slot)
		s->mover = NULL;
	for (int job = 0; job < GATE__JOBS; job++) {
		if (slot->jobs & 1u << job) {
			slot->jobs &= ~(1u << job);
			s->jobs &= ~(1u << job);
			gate_resign(&s->gate, (enum gate_job)job);
		}
	}
	attach_left(s, at);
}

static void
leak(struct attach *at)
{
	(void)pthread_mutex_lock(&leak_lock);
	at->next = leaked;
	leaked = at;
	(void)pthread_mutex_unlock(&leak_lock);
}

/* Takes one off the list that nobody is in and that holds no place inside the gate. */
static struct attach *
retired_next(struct store *s)
{
	for (struct attach **p = &s->retired; *p != NULL; p = &(*p)->next) {
		struct attach *at = *p;

		if (at->inside == 0) {
			*p = at->next;
			return at;
		}
	}
	return NULL;
}

static bool
gate_held(const struct store *s)
{
	if (s->current != NULL)
		return true;
	for (const struct attach *at = s->retired; at != NULL; at = at->next)
		if (at->gated)
			return true;
	return false;
}

static void
wait_changed(struct store *s, int64_t most_ms)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += most_ms / 1000;
	until.tv_nsec += (most_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

/* ---- the mover ---- */

/* Frees what earlier openings left behind.  Called and left without the lock, slot in WAIT. */
static void
bury(struct store *s, struct slot *slot)
{
	for (;;) {
		struct attach *at;

		(void)pthread_mutex_lock(&s->lock);
		at = retired_next(s);
		if (at != NULL && at->stuck == 0 && at->opened) {
			at->next = s->retired; /* back: the warden must find it should we stick */
			s->retired = at;
			at->inside = 1;
			slot->at = at;
			slot_set(slot, SLOT_BUSY);
		}
		(void)pthread_mutex_unlock(&s->lock);
		if (at == NULL)
			return;
		if (at->stuck != 0 || !at->opened) {
			if (at->stuck == 0) {
				words_free(at->words);
				at->words = NULL;
			}
			leak(at);
			continue;
		}
		env_drop(at);
		slot_come_out(slot, SLOT_WAIT);
		(void)pthread_mutex_lock(&s->lock);
		at->opened = false; /* the next round takes it off the list and keeps it */
		at->inside = 0;
		(void)pthread_mutex_unlock(&s->lock);
	}
}

/* An error of opening that a recovery could cure. */
static bool
curable(int rc)
{
	switch (rc) {
	case EACCES:
	case EPERM:
	case EROFS:
	case ENOSPC:
	case EDQUOT:
	case EMFILE:
	case ENFILE:
	case ENOENT:
	case DB_OLD_VERSION:
		return false;
	default:
		return true;
	}
}

/*
 * Pages that are changed live in the shared memory until a checkpoint.  Where that was removed, or
 * is a copy, what is on disk is an old state, and joining would make it the new one.
 */
static bool
memory_is_not_ours(struct store *s)
{
	uint64_t known = atomic_load(&s->gate.words->memory), is = env_memory(s);

	return is == 0 || (known != 0 && known != is);
}

/* One try.  0 and *out, or what went wrong. */
static int
open_once(struct store *s, struct slot *slot, bool *again, struct attach **out, struct err *err)
{
	struct attach *at = calloc(1, sizeof *at);
	enum gate_role role;
	int64_t began;
	int rc;

	*again = false;
	if (at == NULL || (at->words = words_new()) == NULL) {
		free(at);
		return err_set(err, ERR_MEMORY, "store: out of memory");
	}
	if (gate_enter(&s->gate, &role, &at->epoch, err) != 0) {
		words_free(at->words);
		free(at);
		return -1;
	}
	if (role == GATE_JOIN && memory_is_not_ours(s)) {
		log_write(LOG_WARN, "store",
			"the shared memory of %s was removed or replaced: recovery asked for",
			s->home);
		gate_want(&s->gate, at->epoch);
		gate_leave(&s->gate);
		words_free(at->words);
		free(at);
		*again = true;
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"the shared memory of %s disappears again and again", s->home);
	}
	began = clock_mono_us();
	(void)pthread_mutex_lock(&s->lock);
	at->gated = true;
	at->inside = 1;
	slot->at = at;
	/* While we recover, nothing of a dead process is in our way, and it may take its time. */
	slot_set(slot, role == GATE_JOIN ? SLOT_BUSY : SLOT_WAIT);
	(void)pthread_mutex_unlock(&s->lock);

	rc = env_open(s, at, role == GATE_RECOVER);
	if (rc == 0 && (rc = env_open_tables(s, at)) != 0) {
		if (rc != DB_RUNRECOVERY)
			env_close(at);
		else
			env_drop(at);
	}

	if (role == GATE_JOIN)
		slot_come_out(slot, SLOT_WAIT);
	(void)pthread_mutex_lock(&s->lock);
	at->inside = 0;
	if (rc == 0) {
		if (role == GATE_RECOVER) {
			atomic_store(&s->gate.words->memory, env_memory(s));
			at->epoch = gate_recovered(&s->gate, clock_mono_us() - began);
			log_write(LOG_INFO, "store", "recovered: epoch %u, %" PRId64 " ms",
				at->epoch, (clock_mono_us() - began) / 1000);
		}
		at->opened = true;
		*out = at;
		(void)pthread_mutex_unlock(&s->lock);
		return 0;
	}
	if (role == GATE_JOIN && curable(rc)) {
		log_write(LOG_WARN, "store",
			"joining the environment failed (%s): recovery asked for", db_strerror(rc));
		gate_want(&s->gate, at->epoch);
		*again = true;
	}
	at->gated = false;
	gate_leave(&s->gate);
	(void)pthread_mutex_unlock(&s->lock);
	at->opened = false;
	leak(at); /* a handle whose opening failed half-way is not always freed by libdb */
	(void)store_fail(s, role == GATE_RECOVER ? "recovery" : "opening", rc, err);
	if (role == GATE_RECOVER && (rc == ENOSPC || rc == EDQUOT))
		*again = disk_drop_ballast(s);
	if (role == GATE_RECOVER && curable(rc)) {
		(void)err_set(err, ERR_STORE_UNAVAILABLE,
			"%.80s is damaged (%.60s): stop sluice, then 'sluice restore FILE' (or "
			"--last) "
			"brings back a backup, 'sluice restore --rebuild' what its tables hold",
			s->home, db_strerror(rc));
		s->refuse_for_ms = REFUSE_DAMAGED_MS;
	}
	return -1;
}

/* With the lock held, s->mover == slot; the same afterwards.  0 with s->current set, or -1. */
static int
move_in(struct store *s, struct slot *slot, struct err *err)
{
	struct attach *at = NULL;
	bool again = true;
	int rc = -1;

	(void)pthread_mutex_unlock(&s->lock);
	bury(s, slot);
	for (int i = 0; i < 3 && rc != 0 && again; i++)
		rc = open_once(s, slot, &again, &at, err);
	(void)pthread_mutex_lock(&s->lock);
	slot->at = NULL;
	if (rc != 0)
		return -1;
	s->current = at;
	return 0;
}

/* Closes s->current properly.  Lock held, s->mover == slot, nobody inside; slot ends in WAIT. */
static void
move_out(struct store *s, struct slot *slot)
{
	struct attach *at = s->current;

	s->current = NULL;
	at->inside = 1;
	at->opened = false;
	slot->at = at;
	slot_set(slot, SLOT_BUSY);
	(void)pthread_mutex_unlock(&s->lock);
	if (gate_stale(&s->gate, at->epoch))
		env_drop(at);
	else
		env_close(at);
	slot_come_out(slot, SLOT_WAIT);
	(void)pthread_mutex_lock(&s->lock);
	slot->at = NULL;
	at->inside = 0;
	if (at->gated)
		gate_leave(&s->gate);
	at->gated = false;
	if (at->env != NULL) {
		leak(at);
		return;
	}
	words_free(at->words);
	free(at);
}

/* ---- going in and coming out ---- */

static int
go_in(struct store *s, struct slot *slot, struct err *err)
{
	int64_t began = clock_boot_ms();
	int rc = 0;

	(void)pthread_mutex_lock(&s->lock);
	for (;;) {
		if (s->current != NULL && gate_stale(&s->gate, s->current->epoch))
			attach_retire(s, s->current);
		if (s->current != NULL && s->mover == NULL)
			break;
		if (clock_boot_ms() < s->refuse_until_ms) {
			*err = s->refusal;
			rc = -1;
			break;
		}
		if (clock_boot_ms() - began > GATE_WAIT_MS) {
			rc = err_set(err, ERR_STORE_UNAVAILABLE,
				"%s: threads of this process do not leave for a recovery", s->dir);
			break;
		}
		if (s->mover != NULL || gate_held(s)) {
			wait_changed(s, 50);
			continue;
		}
		s->mover = slot;
		slot_set(slot, SLOT_WAIT);
		s->refuse_for_ms = REFUSE_MS;
		rc = move_in(s, slot, err);
		slot_set(slot, SLOT_IDLE);
		s->mover = NULL;
		if (rc != 0) {
			s->refuse_until_ms = clock_boot_ms() + s->refuse_for_ms;
			s->refusal = *err;
		}
		(void)pthread_cond_broadcast(&s->changed);
		if (rc != 0)
			break;
	}
	if (rc == 0) {
		assert(s->current != NULL);
		slot->at = s->current;
		slot->at->inside++;
		slot_set(slot, SLOT_BUSY);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return rc;
}

static void
come_out(struct store *s, struct slot *slot, int rc)
{
	struct attach *at = slot->at;

	slot_come_out(slot, SLOT_WAIT);
	(void)pthread_mutex_lock(&s->lock);
	slot->at = NULL;
	at->inside--;
	if (rc == DB_RUNRECOVERY) {
		if (!gate_stale(&s->gate, at->epoch))
			log_write(LOG_WARN, "store", "the environment asks for a recovery");
		gate_want(&s->gate, at->epoch);
		attach_retire(s, at);
	}
	attach_left(s, at);
	if (s->brief && s->staying <= 0 && s->current == at && at->inside == 0 &&
		s->mover == NULL) {
		s->mover = slot;
		move_out(s, slot);
		s->mover = NULL;
		(void)pthread_cond_broadcast(&s->changed);
	}
	slot_set(slot, SLOT_IDLE);
	(void)pthread_mutex_unlock(&s->lock);
}

/* After a deadlock: longer each time, and not all losers alike. */
static void
step_aside(int tries)
{
	uint32_t jitter;
	struct timespec t = { 0 };

	if (tries == 1)
		return;
	hash_random(&jitter, sizeof jitter);
	t.tv_nsec = (long)(jitter % 100000u) * tries;
	(void)nanosleep(&t, NULL);
}

/* fn NULL: only leaves, if that is due. */
int
store_call(struct store *s, const char *what,
	int (*fn)(struct attach *at, void *arg, struct err *err), void *arg, struct err *err)
{
	struct slot *slot = slot_mine(s);
	struct err scratch;
	int64_t began = clock_boot_ms();
	int tries = 0;

	if (err == NULL)
		err = &scratch;
	if (slot == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	if (fn == NULL) {
		(void)pthread_mutex_lock(&s->lock);
		if (s->current == NULL) {
			(void)pthread_mutex_unlock(&s->lock);
			return 0;
		}
		(void)pthread_mutex_unlock(&s->lock);
	}
	for (;;) {
		int rc;

		if (go_in(s, slot, err) != 0)
			return -1;
		rc = fn == NULL ? 0 : fn(slot->at, arg, err);
		come_out(s, slot, rc);
		switch (rc) {
		case 0:
			return 0;
		case WORK_FAILED:
			return -1;
		case DB_RUNRECOVERY:
			if (clock_boot_ms() - began < GATE_WAIT_MS)
				continue;
			break;
		case DB_LOCK_DEADLOCK:
		case DB_LOCK_NOTGRANTED:
			if (++tries < TXN_TRIES) {
				step_aside(tries);
				continue;
			}
			break;
		default:
			break;
		}
		return store_fail(s, what, rc, err);
	}
}

struct txn_work {
	u_int32_t commit_flags;
	int (*fn)(struct attach *at, DB_TXN *txn, void *arg, struct err *err);
	void *arg;
};

static int
run_txn(struct attach *at, void *arg, struct err *err)
{
	const struct txn_work *w = arg;
	DB_TXN *txn;
	int rc = at->env->txn_begin(at->env, NULL, &txn, 0);

	if (rc != 0)
		return rc;
	if ((rc = w->fn(at, txn, w->arg, err)) == 0)
		return txn->commit(txn, w->commit_flags);
	{
		int aborted = txn->abort(txn);

		return aborted == DB_RUNRECOVERY ? aborted : rc;
	}
}

int
store_txn(struct store *s, const char *what, u_int32_t commit_flags,
	int (*fn)(struct attach *at, DB_TXN *txn, void *arg, struct err *err), void *arg,
	struct err *err)
{
	struct txn_work w = { .commit_flags = commit_flags, .fn = fn, .arg = arg };

	return store_call(s, what, run_txn, &w, err);
}

int
store_fail(struct store *s, const char *what, int rc, struct err *err)
{
	switch (rc) {
	case ENOSPC:
	case EDQUOT:
		disk_was_full(s);
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s: the disk of %s is full (%s); free some space, nothing else is needed",
			what, s->home, strerror(rc));
	case EACCES:
	case EPERM:
	case EROFS:
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s: %s is not writable for uid %d gid %d (%s); its files must belong to "
			"that "
			"group with mode 0660, the directory 2770",
			what, s->home, (int)geteuid(), (int)getegid(), strerror(rc));
	case ENOENT:
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s: files are missing in %s; run 'sluice init', or restore a backup", what,
			s->home);
	case ENOMEM:
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s: %s is out of locks or shared memory for a moment", what, s->home);
	default:
		return err_set(
			err, ERR_STORE_UNAVAILABLE, "%s: %s: %s", what, s->home, db_strerror(rc));
	}
}

/* ---- elections ---- */

bool
store_elect(struct store *s, enum gate_job job)
{
	struct slot *slot = slot_mine(s);
	bool won = false;

	if (slot == NULL)
		return false;
	(void)pthread_mutex_lock(&s->lock);
	if (!(s->jobs & 1u << job) && gate_elect(&s->gate, job)) {
		s->jobs |= 1u << job;
		slot->jobs |= 1u << job;
		won = true;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return won;
}

void
store_resign(struct store *s, enum gate_job job)
{
	struct slot *slot = slot_mine(s);

	(void)pthread_mutex_lock(&s->lock);
	if (slot->jobs & 1u << job) {
		slot->jobs &= ~(1u << job);
		s->jobs &= ~(1u << job);
		gate_resign(&s->gate, job);
	}
	(void)pthread_mutex_unlock(&s->lock);
}

/* ---- the end ---- */

void
store_detach(struct store *s)
{
	struct slot *slot = slot_mine(s);
	int64_t began = clock_boot_ms();

	if (slot == NULL)
		return; /* dies inside, which a peer cures */
	(void)pthread_mutex_lock(&s->lock);
	slot->closing = true;
	if (s->current != NULL && gate_stale(&s->gate, s->current->epoch))
		attach_retire(s, s->current);
	while ((s->mover != NULL || (s->current != NULL && s->current->inside != 0) ||
		       (s->current == NULL && gate_held(s))) &&
		clock_boot_ms() - began < GATE_WAIT_MS)
		wait_changed(s, 50);
	slot_set(slot, SLOT_WAIT);
	if (s->current != NULL && s->current->inside == 0 && s->mover == NULL) {
		s->mover = slot;
		move_out(s, slot);
		s->mover = NULL;
	}
	(void)pthread_mutex_unlock(&s->lock);
	bury(s, slot);
	slot_set(slot, SLOT_IDLE);

	warden_end(s);
	(void)pthread_mutex_lock(&s->lock);
	for (struct slot *p = s->slots, *next; p != NULL; p = next) {
		next = p->next;
		if ((atomic_load(&p->word) & 3) == SLOT_GONE) {
			(void)pthread_mutex_lock(&leak_lock);
			p->next = parked_slots;
			parked_slots = p;
			(void)pthread_mutex_unlock(&leak_lock);
		} else {
			free(p);
		}
	}
	s->slots = NULL;
	for (struct attach *at = s->retired, *next; at != NULL; at = next) {
		next = at->next;
		leak(at);
	}
	s->retired = NULL;
	(void)pthread_mutex_unlock(&s->lock);
}
