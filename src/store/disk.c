/*
 * disk.c - the file system below the store: whether it is fit to carry one, and what is done when
 * it is full.
 *
 * A recovery needs room: on a full disk it fails, and without it nobody comes in.  So a ballast
 * lies beside the store from the beginning, and a recovery that finds no room throws it away.
 */
#include "store/store-int.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BALLAST_BYTES (24 << 20)   /* regions with the usual cache, and a file of the log */
#define BALLAST_ROOM  (64LL << 20) /* free beside it, or it would be the one to fill the disk */
#define LOOK_MS       100          /* between two looks whether there is room again */
#define TRY_MS        1000         /* a quota shows in no figure: then it is tried */
#define ROOM_BYTES    (1LL << 20)

#define SHARED "shared memory and locks cannot be trusted there"
#define OPEN   "files there have no owner and no mode, so secrets would be open to everybody"

/* statfs(2), and each file system's own header. */
static const struct {
	uint32_t type;
	const char *name, *why;
} unfit[] = {
	{ 0x00006969, "NFS", SHARED },
	{ 0x0000517b, "SMB", SHARED },
	{ 0xff534d42, "CIFS", SHARED },
	{ 0xfe534d42, "SMB", SHARED },
	{ 0x0000564c, "NCP", SHARED },
	{ 0x65735546, "FUSE", SHARED },
	{ 0x01021997, "9P", SHARED },
	{ 0x786f4256, "a folder of VirtualBox's host", SHARED },
	{ 0x5346414f, "AFS", SHARED },
	{ 0x6b414653, "AFS", SHARED },
	{ 0x73757245, "Coda", SHARED },
	{ 0x00c36400, "Ceph", SHARED },
	{ 0x01161970, "GFS2", SHARED },
	{ 0x7461636f, "OCFS2", SHARED },
	{ 0x0bd00bd0, "Lustre", SHARED },
	{ 0x47504653, "GPFS", SHARED },
	{ 0x19830326, "BeeGFS", SHARED },
	{ 0x00004d44, "FAT", OPEN },
	{ 0x2011bab0, "exFAT", OPEN },
	{ 0x7366746e, "NTFS", OPEN },
};

int
disk_check_kind(const char *dir, struct err *err)
{
	struct statfs fs;

	if (statfs(dir, &fs) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < sizeof unfit / sizeof unfit[0]; i++)
		if ((uint32_t)fs.f_type == unfit[i].type)
			return err_set(err, ERR_STORE_UNAVAILABLE,
				"%.80s is on %s: %s; choose a state directory on a local disk", dir,
				unfit[i].name, unfit[i].why);
	return 0;
}

/* Free to us, in bytes; 0 too when there is no inode left.  -1: not known. */
static int64_t
free_bytes(const char *dir)
{
	struct statvfs v;

	if (statvfs(dir, &v) != 0)
		return -1;
	if (v.f_files != 0 && v.f_favail == 0)
		return 0;
	return (int64_t)v.f_bavail * (int64_t)v.f_frsize;
}

/* ---- full or not ---- */

void
disk_was_full(struct store *s)
{
	int64_t now = clock_boot_ms();

	if (atomic_exchange(&s->full_since_ms, now) == 0)
		log_write(
			LOG_ERROR, "store", "the disk of %s is full: new work is refused", s->home);
	atomic_store(&s->full_look_ms, now + LOOK_MS);
}

bool
store_is_full(struct store *s)
{
	int64_t since = atomic_load(&s->full_since_ms), look, now;

	if (since == 0)
		return false;
	look = atomic_load(&s->full_look_ms);
	now = clock_boot_ms();
	if (now < look || !atomic_compare_exchange_strong(&s->full_look_ms, &look, now + LOOK_MS))
		return true;
	/* A quota shows in no figure: there the next write tells, once in a while. */
	if (now - since < TRY_MS || free_bytes(s->home) < ROOM_BYTES)
		return true;
	if (atomic_compare_exchange_strong(&s->full_since_ms, &since, 0))
		log_write(LOG_INFO, "store", "the disk of %s has room again", s->home);
	return false;
}

/* ---- ballast ---- */

static void
ballast_path(const struct store *s, char out[4096])
{
	(void)snprintf(out, 4096, "%s/ballast", s->dir);
}

void
disk_keep_ballast(struct store *s)
{
	char path[4096];
	struct stat st;
	int fd;

	ballast_path(s, path);
	if (stat(path, &st) == 0 && st.st_size >= BALLAST_BYTES)
		return;
	if (free_bytes(s->dir) < BALLAST_ROOM + BALLAST_BYTES)
		return;
	if ((fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660)) < 0)
		return;
	if (posix_fallocate(fd, 0, BALLAST_BYTES) != 0)
		(void)unlink(path);
	(void)close(fd);
}

bool
disk_drop_ballast(struct store *s)
{
	char path[4096];

	ballast_path(s, path);
	if (unlink(path) != 0)
		return false;
	log_write(LOG_WARN, "store",
		"the disk of %s is full: %d MB kept for that are given up, so that it can recover; "
		"free some space",
		s->home, BALLAST_BYTES >> 20);
	return true;
}
