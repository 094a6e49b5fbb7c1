/*
 * gate.c - see gate-int.h.  Open file description locks, because a POSIX lock is lost when any
 * descriptor of the file is closed anywhere in the process.  All waits poll: a blocking lock could
 * not be given up, and half a millisecond is little beside a recovery.
 */
#include "store/gate-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define GATE_MAGIC  0x65746167u /* "gate" */
#define GATE_LAYOUT 1
#define GATE_BYTES  4096

/* Lock bytes lie behind the content, so that they never meet a lock of anybody reading it. */
enum { BYTE_INSIDE = GATE_BYTES, BYTE_ELECT, BYTE_JOBS };

static int
lock_byte(const struct gate *g, short type, int byte)
{
	struct flock l = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};
	int rc;

	while ((rc = fcntl(g->fd, F_OFD_SETLK, &l)) != 0 && errno == EINTR)
		;
	return rc;
}

static void
pause_us(long us)
{
	struct timespec t = { .tv_sec = 0, .tv_nsec = us * 1000 };

	(void)nanosleep(&t, NULL);
}

static uint64_t
boot_hash(void)
{
	char text[64];
	ssize_t n;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 1;
	n = read(fd, text, sizeof text);
	(void)close(fd);
	return n <= 0 ? 1 : hash_64(text, (size_t)n, 0) | 1;
}

int
gate_open(struct gate *g, const char *dir, struct roster *roster, struct err *err)
{
	char path[4096];
	int rc;

	memset(g, 0, sizeof *g);
	g->roster = roster;
	g->boot = boot_hash();
	(void)snprintf(path, sizeof path, "%s/gate", dir);
	if ((g->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660)) < 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s: %s; it must be readable and writable for uid %d", path,
			strerror(errno), (int)geteuid());
	/* Allocated, not only sized: a full disk must not become a SIGBUS. */
	if ((rc = posix_fallocate(g->fd, 0, GATE_BYTES)) != 0) {
		(void)close(g->fd);
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s%s", path, strerror(rc),
			rc == ENOSPC ? "; free some space on this file system" : "");
	}
	g->words = mmap(NULL, GATE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
	if (g->words == MAP_FAILED) {
		(void)close(g->fd);
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: cannot be mapped: %s", path,
			strerror(errno));
	}
	/* Zeros are a valid start: epoch 0 makes the first comer recover, which stamps the rest. */
	if (g->words->magic != 0 &&
		(g->words->magic != GATE_MAGIC || g->words->layout != GATE_LAYOUT)) {
		gate_close(g);
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s: not a gate this version knows; stop every sluice process on this "
			"directory, then remove the file",
			path);
	}
	return 0;
}

void
gate_close(struct gate *g)
{
	(void)munmap(g->words, GATE_BYTES);
	(void)close(g->fd);
	g->fd = -1;
}

void
gate_want(struct gate *g, uint32_t epoch)
{
	uint32_t expected = epoch;

	(void)atomic_compare_exchange_strong(&g->words->want, &expected, epoch + 1);
}

bool
gate_stale(const struct gate *g, uint32_t epoch)
{
	return atomic_load(&g->words->want) != epoch;
}

static bool
dead_inside(struct gate *g, uint32_t slot)
{
	struct roster_owner self = roster_self(g->roster);
	_Atomic uint32_t *word = roster_attached(g->roster, slot);
	struct roster_owner owner = { .slot = slot, .incarnation = atomic_load(word) };

	if (owner.incarnation == 0)
		return false;
	if (slot == self.slot)
		return owner.incarnation != self.incarnation;
	/* Whoever leaves clears the word before it gives up its slot, so a word that stands after
	 * its owner was found dead tells of a death inside. */
	return roster_is_dead(g->roster, owner) && atomic_load(word) == owner.incarnation;
}

bool
gate_scan(struct gate *g)
{
	uint32_t epoch = atomic_load(&g->words->epoch);
	uint32_t high = roster_high(g->roster);

	for (uint32_t i = 0; i < high; i++) {
		if (dead_inside(g, i)) {
			gate_want(g, epoch);
			return true;
		}
	}
	return false;
}

static void
kill_laggards(struct gate *g)
{
	uint32_t high = roster_high(g->roster);
	struct roster_owner self = roster_self(g->roster);

	for (uint32_t i = 0; i < high; i++) {
		struct roster_owner owner = { .slot = i,
			.incarnation = atomic_load(roster_attached(g->roster, i)) };
		pid_t pid = roster_pid(g->roster, i);

		if (owner.incarnation == 0 || i == self.slot || pid <= 1 ||
			roster_is_dead(g->roster, owner))
			continue;
		log_write(LOG_WARN, "store", "process %d does not leave for a recovery: killed",
			(int)pid);
		if (kill(pid, SIGKILL) != 0)
			log_write(LOG_ERROR, "store", "process %d cannot be killed: %s", (int)pid,
				strerror(errno));
	}
}

static int
wait_alone(struct gate *g, struct err *err)
{
	int64_t began = clock_boot_ms();
	bool killed = false;

	while (lock_byte(g, F_WRLCK, BYTE_INSIDE) != 0) {
		int64_t waited = clock_boot_ms() - began;

		if (waited > GATE_KILL_MS && !killed) {
			kill_laggards(g);
			killed = true;
		}
		if (waited > GATE_WAIT_MS)
			return err_set(err, ERR_STORE_UNAVAILABLE,
				"a recovery waits for a process that does not leave the store; "
				"stop every "
				"sluice process on this directory");
		pause_us(500);
	}
	return 0;
}

int
gate_enter(struct gate *g, enum gate_role *role, uint32_t *epoch, struct err *err)
{
	struct gate_words *w = g->words;
	int64_t began = clock_boot_ms();

	while (clock_boot_ms() - began < GATE_WAIT_MS) {
		uint32_t e = atomic_load(&w->epoch);

		if (e == 0 || atomic_load(&w->boot) != g->boot)
			gate_want(g, e);
		if (atomic_load(&w->want) == e) {
			if (lock_byte(g, F_RDLCK, BYTE_INSIDE) != 0) {
				pause_us(500);
				continue;
			}
			e = atomic_load(&w->epoch);
			if (!gate_scan(g) && atomic_load(&w->want) == e) {
				struct roster_owner self = roster_self(g->roster);

				atomic_store(
					roster_attached(g->roster, self.slot), self.incarnation);
				*role = GATE_JOIN;
				*epoch = e;
				return 0;
			}
			(void)lock_byte(g, F_UNLCK, BYTE_INSIDE);
		}
		if (lock_byte(g, F_WRLCK, BYTE_ELECT) != 0) {
			pause_us(500);
			continue;
		}
		g->elect = true;
		if (atomic_load(&w->want) != atomic_load(&w->epoch)) {
			if (wait_alone(g, err) != 0) {
				gate_leave(g);
				return -1;
			}
			*role = GATE_RECOVER;
			*epoch = atomic_load(&w->want);
			return 0;
		}
		(void)lock_byte(g, F_UNLCK, BYTE_ELECT); /* somebody else has done it */
		g->elect = false;
	}
	return err_set(err, ERR_STORE_UNAVAILABLE,
		"a recovery by another process does not come to an end; see its log");
}

uint32_t
gate_recovered(struct gate *g, int64_t took_us)
{
	struct gate_words *w = g->words;
	struct roster_owner self = roster_self(g->roster);
	uint32_t high = roster_high(g->roster);
	uint32_t epoch = atomic_load(&w->want);

	/* We are alone, so every word but ours tells of the dead. */
	for (uint32_t i = 0; i < high; i++)
		if (i != self.slot)
			atomic_store(roster_attached(g->roster, i), 0);
	atomic_store(roster_attached(g->roster, self.slot), self.incarnation);
	w->magic = GATE_MAGIC;
	w->layout = GATE_LAYOUT;
	atomic_store(&w->boot, g->boot);
	atomic_store(&w->recovered_ms, clock_wall_ms());
	atomic_store(&w->recovery_us, took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us);
	atomic_fetch_add(&w->recoveries, 1);
	atomic_store(&w->epoch, epoch);
	(void)lock_byte(g, F_RDLCK, BYTE_INSIDE); /* from exclusive to shared in one step */
	(void)lock_byte(g, F_UNLCK, BYTE_ELECT);
	g->elect = false;
	return epoch;
}

void
gate_leave(struct gate *g)
{
	struct roster_owner self = roster_self(g->roster);
	_Atomic uint32_t *word = roster_attached(g->roster, self.slot);

	/* Only our own mark: the word may still tell of the slot's last owner. */
	if (atomic_load(word) == self.incarnation)
		atomic_store(word, 0);
	(void)lock_byte(g, F_UNLCK, BYTE_INSIDE);
	if (g->elect)
		(void)lock_byte(g, F_UNLCK, BYTE_ELECT);
	g->elect = false;
}

bool
gate_shut(struct gate *g)
{
	if (lock_byte(g, F_WRLCK, BYTE_ELECT) != 0)
		return false;
	if (lock_byte(g, F_WRLCK, BYTE_INSIDE) != 0) {
		(void)lock_byte(g, F_UNLCK, BYTE_ELECT);
		return false;
	}
	g->elect = true;
	return true;
}

void
gate_open_again(struct gate *g)
{
	(void)lock_byte(g, F_UNLCK, BYTE_INSIDE);
	(void)lock_byte(g, F_UNLCK, BYTE_ELECT);
	g->elect = false;
}

bool
gate_elect(struct gate *g, enum gate_job job)
{
	return lock_byte(g, F_WRLCK, BYTE_JOBS + (int)job) == 0;
}

void
gate_resign(struct gate *g, enum gate_job job)
{
	(void)lock_byte(g, F_UNLCK, BYTE_JOBS + (int)job);
}
