/*
 * roster.c - one mapped file, one OFD lock byte a slot.
 *
 * OFD locks and not POSIX locks: those would be lost when anything in the process closes another
 * descriptor of the file.  Questions about others use F_OFD_GETLK, which takes nothing: no
 * newcomer ever finds a slot busy because somebody was looking at it.
 *
 * Why "dead" is never wrong.  The incarnation of a slot is raised by whoever has just locked it,
 * before anybody can learn of the new owner.  So if the slot shows the owner's incarnation and its
 * byte is free, that owner had the lock and has lost it; if it shows another one, somebody locked
 * the slot after the owner had lost it.
 */
#include "base/roster.h"

#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC      0x7265747331ull  /* "1ster" */
#define SETUP_BYTE ((off_t)1 << 30) /* locked while the file is being made; no slot's */

struct slot {
	_Atomic uint32_t incarnation;
	_Atomic int32_t pid; /* 0: given back, or never used */
	_Atomic uint32_t attached;
	uint32_t spare;
};

struct file {
	_Atomic uint64_t magic; /* written last: the file is whole */
	uint32_t slots;
	_Atomic uint32_t high;
	uint32_t spare[12];
	struct slot slot[ROSTER_SLOTS];
};

_Static_assert(sizeof(struct slot) == 16 && sizeof(struct file) == 64 + 16 * ROSTER_SLOTS,
	"the file's layout holds over builds");

struct roster {
	int fd;
	struct file *file;
	struct roster_owner self;
};

/* type F_WRLCK, F_UNLCK.  0, or -1 with errno; EAGAIN: somebody else has it. */
static int
lock_byte(int fd, int command, int type, off_t byte)
{
	struct flock l = {
		.l_type = (short)type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};
	int rc;

	do
		rc = fcntl(fd, command, &l);
	while (rc != 0 && errno == EINTR);
	if (rc != 0 && errno == EACCES)
		errno = EAGAIN; /* POSIX allows either */
	return rc;
}

/* Held by another than us.  An error counts as held: nobody is declared dead on a doubt. */
static bool
held(const struct roster *r, uint32_t slot)
{
	struct flock l = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)slot, .l_len = 1
	};

	return fcntl(r->fd, F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}

/*
 * Under the set-up lock.  A predecessor may have died anywhere in here.
 *
 * Incarnations start at random, not at one: should the file be removed while the board's leases
 * stay, their owners must not seem to live again.
 */
static int
make(int fd, struct file *f, const char *path, struct err *err)
{
	struct stat st;
	uint32_t first[ROSTER_SLOTS];
	int rc;

	/* Others of the group share it, whatever our umask is; only the file's owner may say so. */
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid())
		(void)fchmod(fd, 0660);
	do
		rc = posix_fallocate(fd, 0, (off_t)sizeof *f);
	while (rc == EINTR);
	if (rc != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: cannot get %zu bytes: %s", path,
			sizeof *f, strerror(rc));
	hash_random(first, sizeof first);
	for (size_t i = 0; i < ROSTER_SLOTS; i++)
		f->slot[i].incarnation = first[i] >> 2; /* leaves three quarters of the numbers */
	f->slots = ROSTER_SLOTS;
	atomic_store(&f->magic, MAGIC);
	return 0;
}

/* Opens and maps the file, whole and of our version. */
static int
attach(struct roster *r, const char *path, struct err *err)
{
	struct stat st;
	int rc = 0;

	r->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	if (r->fd < 0)
		return errno == ENOENT ? err_set(err, ERR_STORE_UNAVAILABLE,
						 "%s: its folder, the state_dir of sluice.conf, "
						 "does not exist; "
						 "`sluice init` makes it",
						 path)
				       : err_set(err, ERR_STORE_UNAVAILABLE,
						 "%s: %s; it and its folder must be readable "
						 "and writable for uid %d",
						 path, strerror(errno), (int)geteuid());
	r->file = mmap(NULL, sizeof *r->file, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->file == MAP_FAILED) {
		r->file = NULL;
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: mmap: %s", path, strerror(errno));
	}

	/* Nothing may be read before the size is known to be there: it would be SIGBUS. */
	if (fstat(r->fd, &st) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	if (st.st_size < (off_t)sizeof *r->file || atomic_load(&r->file->magic) == 0) {
		if (lock_byte(r->fd, F_OFD_SETLKW, F_WRLCK, SETUP_BYTE) != 0)
			return err_set(err, ERR_STORE_UNAVAILABLE, "%s: locks do not work here: %s",
				path, strerror(errno));
		if (fstat(r->fd, &st) != 0 || st.st_size < (off_t)sizeof *r->file ||
			atomic_load(&r->file->magic) == 0)
			rc = make(r->fd, r->file, path, err);
		(void)lock_byte(r->fd, F_OFD_SETLK, F_UNLCK, SETUP_BYTE);
	}
	if (rc == 0 && (atomic_load(&r->file->magic) != MAGIC || r->file->slots != ROSTER_SLOTS))
		rc = err_set(err, ERR_STORE_UNAVAILABLE,
			"%s: not made by this version; end all of sluice, then remove it", path);
	return rc;
}

/* 1 taken, 0 not to be had, -1 with errno. */
static int
take(struct roster *r, uint32_t i)
{
	struct slot *slot = &r->file->slot[i];
	uint32_t high = atomic_load(&r->file->high);

	if (lock_byte(r->fd, F_OFD_SETLK, F_WRLCK, (off_t)i) != 0)
		return errno == EAGAIN ? 0 : -1;

	/* Died inside the store: the slot is the gate's proof that recovery is due, and the
	 * recoverer frees it.  Read under the lock, when it cannot change any more. */
	if (atomic_load(&slot->attached) != 0 || atomic_load(&slot->incarnation) == UINT32_MAX) {
		(void)lock_byte(r->fd, F_OFD_SETLK, F_UNLCK, (off_t)i);
		return 0;
	}
	while (high <= i && !atomic_compare_exchange_weak(&r->file->high, &high, i + 1))
		;
	atomic_store(&slot->pid, (int32_t)getpid());
	r->self.slot = i;
	r->self.incarnation = atomic_fetch_add(&slot->incarnation, 1) + 1;
	return 1;
}

/* A hint, and cheap: the kernel walks all locks of the file for each question about one.  A process
 * of another pid namespace looks dead here; then its lock says no. */
static bool
looks_dead(const struct slot *slot)
{
	pid_t pid = (pid_t)atomic_load(&slot->pid);

	return pid > 0 && kill(pid, 0) != 0 && errno == ESRCH;
}

/*
 * Slots given back first, then those of the dead, new ones last: so `high`, and with it every scan,
 * stays near the most that ever lived at once.  Only when all that fails is every slot tried: a
 * dead owner's pid may be some other program's by now.
 */
static int
take_any(struct roster *r)
{
	struct slot *slot = r->file->slot;
	uint32_t high = atomic_load(&r->file->high);
	int rc = 0;

	for (uint32_t i = 0; i < high && rc == 0; i++)
		if (atomic_load(&slot[i].pid) == 0)
			rc = take(r, i);
	for (uint32_t i = 0; i < high && rc == 0; i++)
		if (looks_dead(&slot[i]))
			rc = take(r, i);
	for (uint32_t i = high; i < ROSTER_SLOTS && rc == 0; i++)
		rc = take(r, i);
	for (uint32_t i = 0; i < high && rc == 0; i++)
		rc = take(r, i);
	return rc;
}

static void
drop(struct roster *r)
{
	if (r->file != NULL)
		(void)munmap(r->file, sizeof *r->file);
	if (r->fd >= 0)
		(void)close(r->fd); /* and with it every lock */
	free(r);
}

struct roster *
roster_join(const char *dir, struct err *err)
{
	char path[4096];
	struct roster *r;
	int n, rc;

	n = snprintf(path, sizeof path, "%s/roster", dir);
	if (n < 0 || (size_t)n >= sizeof path) {
		(void)err_set(err, ERR_STORE_UNAVAILABLE, "the state directory's name is too long");
		return NULL;
	}
	r = calloc(1, sizeof *r);
	if (r == NULL) {
		(void)err_set(err, ERR_MEMORY, "roster: out of memory");
		return NULL;
	}
	r->fd = -1;
	if (attach(r, path, err) != 0)
		goto fail;
	rc = take_any(r);
	if (rc < 0) {
		(void)err_set(err, ERR_STORE_UNAVAILABLE, "%s: locks do not work here: %s", path,
			strerror(errno));
		goto fail;
	}
	if (rc == 0) {
		(void)err_set(
			err, ERR_OVERLOADED, "%s: all %d slots are taken", path, ROSTER_SLOTS);
		goto fail;
	}
	return r;

fail:
	drop(r);
	return NULL;
}

void
roster_leave(struct roster *r)
{
	struct slot *slot;

	if (r == NULL)
		return;
	slot = &r->file->slot[r->self.slot];
	atomic_store(&slot->attached, 0);
	atomic_store(&slot->pid, 0);
	drop(r);
}

struct roster_owner
roster_self(const struct roster *r)
{
	return r->self;
}

bool
roster_is_dead(struct roster *r, struct roster_owner owner)
{
	if (owner.incarnation == 0 || owner.slot >= ROSTER_SLOTS)
		return true; /* nobody */
	if (atomic_load(&r->file->slot[owner.slot].incarnation) != owner.incarnation)
		return true;
	/* Our own lock does not show, and we live. */
	return owner.slot != r->self.slot && !held(r, owner.slot);
}

pid_t
roster_pid(struct roster *r, uint32_t slot)
{
	if (slot >= ROSTER_SLOTS)
		return 0;
	if (slot == r->self.slot)
		return getpid();
	return held(r, slot) ? (pid_t)atomic_load(&r->file->slot[slot].pid) : 0;
}

_Atomic uint32_t *
roster_attached(struct roster *r, uint32_t slot)
{
	return slot < ROSTER_SLOTS ? &r->file->slot[slot].attached : NULL;
}

uint32_t
roster_high(const struct roster *r)
{
	return atomic_load(&r->file->high);
}
