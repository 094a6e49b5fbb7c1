/*
 * board.c - the file: made once, checked at each opening, grown by segments.
 *
 * Making, checking and growing happen under an OFD lock on the file, which the kernel drops with its
 * holder.  A file nobody can use any more is unlinked, never changed in place: another program may
 * have it mapped.  Only after a reboot, when nobody can, it is cleared where it stands, because the
 * leases in it are still owed.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "board/board-int.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OPEN_TRIES 100

_Static_assert(sizeof(struct head) % 64 == 0, "leases start on a cache line");

static size_t
up_to_page(size_t n)
{
	return (n + 4095) / 4096 * 4096;
}

static size_t
leases_at(void)
{
	return up_to_page(sizeof(struct head));
}

static size_t
bodies_at(const struct board_options *o)
{
	return up_to_page(leases_at() + (size_t)o->leases * sizeof(struct lease_head));
}

static const struct {
	size_t bytes, count;
} regions[REGIONS] = REGION_SIZES;

/* Where a region begins; REGIONS: where the last one ends. */
static size_t
region_at(const struct board_options *o, int region)
{
	size_t at = up_to_page(bodies_at(o) + (size_t)o->leases * sizeof(struct lease_body));

	for (int i = 0; i < region; i++)
		at += up_to_page(regions[i].bytes * regions[i].count);
	return at;
}

static size_t
segments_at(const struct board_options *o)
{
	/* Segments are mapped one by one, so they start where any page size we know starts. */
	return (region_at(o, REGIONS) + 65535) / 65536 * 65536;
}

static struct layout
layout_of(const struct board_options *o)
{
	struct layout l = {
		.magic = BOARD_MAGIC,
		.version = BOARD_VERSION,
		.head_bytes = (int32_t)sizeof(struct head),
		.rows = o->rows,
		.segments_max = o->segments_max,
		.leases = o->leases,
		.region_bytes = (int64_t)(region_at(o, REGIONS) - region_at(o, 0)),
		.note_bytes = BOARD_NOTE_BYTES,
		.claims_max = BOARD_CLAIMS_MAX,
	};

	l.crc = hash_crc32(&l, offsetof(struct layout, crc));
	return l;
}

static int
read_boot_id(char out[BOOT_ID_BYTES], struct err *err)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, BOOT_ID_BYTES - 1);

	if (fd >= 0)
		close(fd);
	/* Without it a mutex of before the reboot could not be told from one that is held. */
	if (n != BOOT_ID_BYTES - 1)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"cannot read the kernel's boot id: is /proc "
			"mounted?");
	out[n] = 0;
	return 0;
}

static void
nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* type: F_RDLCK, F_WRLCK or F_UNLCK.  0, or -1 when it was not to be had in wait_ms. */
static int
lock_file(int fd, int type, int64_t wait_ms)
{
	int64_t until = clock_mono_us() + wait_ms * 1000;

	for (;;) {
		struct flock all = { .l_type = (short)type, .l_whence = SEEK_SET };

		if (fcntl(fd, F_OFD_SETLK, &all) == 0)
			return 0;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -1;
		if (clock_mono_us() >= until)
			return -1;
		nap();
	}
}

static int
allocate(int fd, size_t from, size_t to, struct err *err)
{
	int rc;

	while ((rc = posix_fallocate(fd, (off_t)from, (off_t)(to - from))) == EINTR)
		;
	if (rc == 0)
		return 0;
	return err_set(err, rc == ENOSPC || rc == EDQUOT ? ERR_OVERLOADED : ERR_STORE_UNAVAILABLE,
		"the board needs %zu bytes more on disk: %s", to - from, strerror(rc));
}

/* An empty file with its mode on, however the umask stands, appears under its name at once. */
static int
make_empty(const char *path, struct err *err)
{
	char own[PATH_MAX];
	int fd, rc;

	if (snprintf(own, sizeof own, "%s.XXXXXX", path) >= (int)sizeof own)
		return err_set(err, ERR_STORE_UNAVAILABLE, "the path %s is too long", path);
	fd = mkostemp(own, O_CLOEXEC);
	if (fd < 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"cannot make %s: %s; its folder must be writable for uid %d", path,
			strerror(errno), (int)geteuid());
	rc = fchmod(fd, 0660) == 0 && (link(own, path) == 0 || errno == EEXIST)
		     ? 0
		     : err_set(err, ERR_STORE_UNAVAILABLE, "cannot make %s: %s", path,
			       strerror(errno));
	unlink(own);
	close(fd);
	return rc;
}

enum found { FOUND_GOOD, FOUND_EMPTY, FOUND_OLD_BOOT, FOUND_BAD };

static bool
segments_are_right(const struct board *b, const struct head *h)
{
	int64_t segments = word_get(&h->segments), of[TABLES] = { 0 };

	if (segments < 1 || segments > TABLES * b->o.segments_max)
		return false;
	for (int64_t k = 0; k < segments; k++) {
		int64_t table = word_get(&h->table_of[k]);

		if (table < 0 || table >= TABLES || ++of[table] > b->o.segments_max)
			return false;
	}
	return true;
}

static off_t
file_bytes(const struct board *b, int64_t segments)
{
	return (off_t)(b->base_bytes + (size_t)segments * segment_bytes(b));
}

static enum found
judge(const struct board *b, const char *boot_id, const char **why)
{
	struct layout want = layout_of(&b->o);
	_Alignas(64) static _Thread_local char copy[sizeof(struct head)];
	const struct head *h = (const void *)copy;
	struct stat st;

	*why = "it is cut short";
	if (fstat(b->fd, &st) != 0)
		return FOUND_BAD;
	if (st.st_size == 0)
		return FOUND_EMPTY;
	if ((size_t)st.st_size < b->base_bytes ||
		pread(b->fd, copy, sizeof copy, 0) != (ssize_t)sizeof copy)
		return FOUND_BAD;
	if (memcmp(&h->layout, &want, sizeof want) != 0) {
		*why = h->layout.magic == BOARD_MAGIC && h->layout.version != BOARD_VERSION
			       ? "it is of another version"
			       : "its head is damaged or for other sizes";
		return FOUND_BAD;
	}
	if (memcmp(h->boot_id, boot_id, BOOT_ID_BYTES) != 0)
		return FOUND_OLD_BOOT;

	if (!segments_are_right(b, h)) {
		*why = "its count of segments is damaged";
		return FOUND_BAD;
	}
	if (st.st_size < file_bytes(b, word_get(&h->segments)))
		return FOUND_BAD;
	return FOUND_GOOD;
}

static int
map_base(struct board *b, struct err *err)
{
	char *at = mmap(NULL, b->base_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);

	if (at == MAP_FAILED)
		return err_set(err, ERR_MEMORY, "cannot map the board: %s", strerror(errno));
	b->head = (void *)at;
	b->leases = (void *)(at + leases_at());
	b->bodies = (void *)(at + bodies_at(&b->o));
	for (int i = 0; i < REGIONS; i++)
		b->region[i] = at + region_at(&b->o, i);
	return 0;
}

static void
unmap(struct board *b)
{
	for (int k = 0; k < b->segments; k++)
		munmap(b->segment[k], segment_bytes(b));
	b->segments = 0;
	for (int i = 0; i < TABLES; i++)
		b->table[i].count = 0;
	if (b->head != NULL)
		munmap(b->head, b->base_bytes);
	b->head = NULL;
}

/* Leases that survive a reboot belong to nobody and hold no row; a torn one is dropped. */
static void
orphan_all(struct board *b)
{
	struct head *h = b->head;
	int64_t high = 0, used = 0, first = 0;

	for (int64_t i = b->o.leases - 1; i >= 0; i--) {
		struct lease_head *lease = &b->leases[i];
		struct lease_body *body = &b->bodies[i];
		int64_t serial = word_get(&lease->serial), count = word_get(&lease->count);

		if (serial == 0 && high == 0)
			continue;
		if (high == 0)
			high = i + 1;
		if (serial > word_get(&h->serial))
			word_set(&h->serial, serial);
		if (serial <= 0 || body->serial != serial || count < 0 ||
			count > BOARD_CLAIMS_MAX) {
			word_set(&lease->serial, 0);
			word_set(&lease->next, first);
			first = i + 1;
			continue;
		}
		used++;
		word_set(&lease->owner, 0);
		word_set(&lease->reaper, 0);
		for (int64_t c = 0; c < count; c++)
			body->claim[c].ref = -1;
	}
	word_set(&h->free_lease, first);
	word_set(&h->leases_high, high);
	word_set(&h->leases_used, used);
}

/* Counters are cleared where they stand: the file keeps its blocks. */
static int
clear_segment(struct board *b, int64_t k, struct err *err)
{
	static const char zeros[65536];
	off_t from = file_bytes(b, k), to = file_bytes(b, k + 1);

	if (fallocate(b->fd, FALLOC_FL_ZERO_RANGE, from, to - from) == 0)
		return 0;
	/* Not every file system can. */
	while (from < to) {
		off_t left = to - from, most = (off_t)sizeof zeros;
		ssize_t n = pwrite(b->fd, zeros, (size_t)(left < most ? left : most), from);

		if (n < 0 && errno != EINTR)
			return err_set(err, ERR_STORE_UNAVAILABLE, "cannot clear the board: %s",
				strerror(errno));
		from += n > 0 ? n : 0;
	}
	return 0;
}

/* Idempotency keys are still owed an answer after a reboot, so their segments stay, and with them
 * all others.  False when there are none, or the head does not say what is where. */
static bool
keeps_segments(const struct board *b)
{
	struct stat st;

	return segments_are_right(b, b->head) && board_segments(b, REPEATS) > 0 &&
	       fstat(b->fd, &st) == 0 && st.st_size >= file_bytes(b, word_get(&b->head->segments));
}

/* Mapped, and nothing in its counters. */
static int
prepare_segments(struct board *b, bool anew, struct err *err)
{
	/* Down and up again: the rows are zero without being written. */
	if (anew && (ftruncate(b->fd, 0) != 0))
		goto cannot;
	if (anew && allocate(b->fd, 0, (size_t)file_bytes(b, 1), err) != 0)
		return -1;
	if (map_base(b, err) != 0)
		return -1;
	if (!anew && keeps_segments(b)) {
		for (int64_t k = 0; k < word_get(&b->head->segments); k++)
			if (word_get(&b->head->table_of[k]) != REPEATS &&
				clear_segment(b, k, err) != 0)
				return -1;
		return section_map(b, err);
	}
	if (!anew && ftruncate(b->fd, file_bytes(b, 0)) != 0)
		goto cannot;
	if (!anew && allocate(b->fd, 0, (size_t)file_bytes(b, 1), err) != 0)
		return -1;
	word_set(&b->head->table_of[0], ROWS);
	word_set(&b->head->segments, 1);
	return 0;
cannot:
	return err_set(err, ERR_STORE_UNAVAILABLE, "cannot clear the board: %s", strerror(errno));
}

/* Under the exclusive lock, mapped by nobody: first use, or first use since a reboot.  The boot id
 * is written last, so that whoever dies here leaves it to be done again. */
static int
prepare(struct board *b, const char *boot_id, bool anew, struct err *err)
{
	struct head *h;
	int rc;

	if (prepare_segments(b, anew, err) != 0) {
		unmap(b);
		if (anew && ftruncate(b->fd, 0) != 0)
			log_write(LOG_WARN, "board", "an unfinished board stays behind");
		return -1;
	}
	h = b->head;
	rc = section_mutex_make(h);
	if (rc != 0) {
		unmap(b);
		return err_set(err, ERR_STORE_UNAVAILABLE, "cannot make the board's mutex: %s",
			strerror(rc));
	}
	word_set(&h->hungry_us, 0);
	word_set(&h->undo_count, 0);
	word_set(&h->used[ROWS], 0);
	word_set(&h->used[RINGS], 0);
	orphan_all(b);
	repeat_mend(b);
	if (!anew) { /* what is new is all zeros, and better not touched */
		target_after_boot(b);
		waiter_after_boot(b);
	}
	clock_make(b);
	word_set(&h->made_ms, board_now_ms(b));
	board_generation_bump(b);
	if (anew)
		hash_random(h->hash_key, sizeof h->hash_key);
	/* From here on a death leaves a board of an earlier boot, and before a damaged one. */
	h->layout = layout_of(&b->o);
	memcpy(h->boot_id, boot_id, BOOT_ID_BYTES);
	if (!anew)
		log_write(LOG_INFO, "board", "first use since a reboot: %lld leases are owed",
			(long long)word_get(&h->leases_used));
	return 0;
}

static bool
is_at(const char *path, int fd)
{
	struct stat named, open;

	return stat(path, &named) == 0 && fstat(fd, &open) == 0 && named.st_dev == open.st_dev &&
	       named.st_ino == open.st_ino;
}

/* One try with the lock of that type.  1: done; 0: look again; 2: needs the exclusive lock; -1. */
static int
open_once(struct board *b, const char *path, const char *boot_id, int type, struct err *err)
{
	const char *why;

	b->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (b->fd < 0 && errno == ENOENT)
		return make_empty(path, err);
	if (b->fd < 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"cannot open %s: %s; it must be readable and writable for uid %d", path,
			strerror(errno), (int)geteuid());
	if (lock_file(b->fd, type, BOARD_OPEN_MS) != 0)
		return err_set(
			err, ERR_STORE_UNAVAILABLE, "cannot lock %s in %d ms", path, BOARD_OPEN_MS);
	/* It may have been replaced between opening and locking. */
	if (!is_at(path, b->fd))
		return 0;

	enum found found = judge(b, boot_id, &why);

	if (found == FOUND_GOOD)
		return map_base(b, err) == 0 ? 1 : -1;
	if (type != F_WRLCK)
		return 2;
	if (found == FOUND_BAD) {
		log_write(LOG_WARN, "board", "%s is made anew: %s", path, why);
		if (unlink(path) != 0)
			return err_set(err, ERR_STORE_UNAVAILABLE, "cannot remove damaged %s: %s",
				path, strerror(errno));
		return 0;
	}
	return prepare(b, boot_id, found == FOUND_EMPTY, err) == 0 ? 1 : -1;
}

static void
table_sizes(struct board *b)
{
	static const size_t bytes[TABLES] = { sizeof(struct row), sizeof(struct ring),
		sizeof(struct repeat) };

	for (int i = 0; i < TABLES; i++) {
		b->table[i].record_bytes = bytes[i];
		b->table[i].bucket_bytes = sizeof(struct tags) + BUCKET_RECORDS * bytes[i];
		b->table[i].buckets = (int64_t)(segment_bytes(b) / b->table[i].bucket_bytes);
		assert(b->table[i].buckets >= 1);
	}
}

struct board *
board_open_sized(
	const char *dir, struct roster *roster, const struct board_options *o, struct err *err)
{
	char path[PATH_MAX], boot_id[BOOT_ID_BYTES] = { 0 };
	struct board *b = calloc(1, sizeof *b);
	int type = F_RDLCK, rc = 0;

	if (b == NULL) {
		err_set(err, ERR_MEMORY, "no memory for the board");
		return NULL;
	}
	b->roster = roster;
	b->o = *o;
	b->fd = -1;
	if (b->o.rows == 0)
		b->o.rows = BOARD_ROWS;
	if (b->o.segments_max == 0)
		b->o.segments_max = BOARD_SEGMENTS_MAX;
	if (b->o.leases == 0)
		b->o.leases = BOARD_LEASES;
	assert(b->o.segments_max <= BOARD_SEGMENTS_MAX);
	assert(segment_bytes(b) % 4096 == 0);
	b->base_bytes = segments_at(&b->o);
	table_sizes(b);
	pthread_mutex_init(&b->growing, NULL);
	pthread_mutex_init(&b->reaping, NULL);

	if (o->boot_id != NULL)
		strncpy(boot_id, o->boot_id, BOOT_ID_BYTES - 1);
	else if (read_boot_id(boot_id, err) != 0)
		goto fail;
	if (snprintf(path, sizeof path, "%s/board", dir) >= (int)sizeof path) {
		err_set(err, ERR_STORE_UNAVAILABLE, "the path %s is too long", dir);
		goto fail;
	}
	for (int i = 0; i < OPEN_TRIES; i++) {
		rc = open_once(b, path, boot_id, type, err);
		if (rc < 0)
			goto fail;
		if (rc == 1) {
			lock_file(b->fd, F_UNLCK, 0);
			board_tick(b);
			return b;
		}
		if (rc == 2)
			type = F_WRLCK;
		if (b->fd >= 0)
			close(b->fd);
		b->fd = -1;
	}
	err_set(err, ERR_STORE_UNAVAILABLE, "%s is replaced again and again", path);
fail:
	board_close(b);
	return NULL;
}

struct board *
board_open(const char *dir, struct roster *roster, struct err *err)
{
	return board_open_sized(dir, roster, &(struct board_options){ 0 }, err);
}

void
board_close(struct board *b)
{
	if (b == NULL)
		return;
	unmap(b);
	if (b->fd >= 0)
		close(b->fd);
	pthread_mutex_destroy(&b->growing);
	pthread_mutex_destroy(&b->reaping);
	free(b);
}

int64_t
board_segments(const struct board *b, enum kind table)
{
	int64_t count = 0;

	for (int64_t k = 0; k < word_get(&b->head->segments); k++)
		count += word_get(&b->head->table_of[k]) == table;
	return count;
}

static const char *const record_names[TABLES] = { "counter rows", "rolling counters",
	"idempotency keys" };

static int
grow_locked(struct board *b, enum kind table, int had, struct err *err)
{
	int64_t all = word_get(&b->head->segments), of = board_segments(b, table);

	if (of > had)
		return 0;
	if (allocate(b->fd, (size_t)file_bytes(b, all), (size_t)file_bytes(b, all + 1), err) != 0)
		return -1;
	word_set(&b->head->table_of[all], table);
	word_set(&b->head->segments, all + 1);
	log_write(LOG_INFO, "board", "grown to %lld %s",
		(long long)(of + 1) * table_segment_records(b, table), record_names[table]);
	return 0;
}

int
board_grow(struct board *b, enum kind table, int had, struct err *err)
{
	int rc = -1;

	if (had >= b->o.segments_max)
		return err_set(err, ERR_OVERLOADED, "all %lld %s of the board are in use",
			(long long)had * table_segment_records(b, table), record_names[table]);
	if (section_lock(&b->growing) != 0)
		return err_set(err, ERR_OVERLOADED, "the board is growing");
	if (lock_file(b->fd, F_WRLCK, BOARD_LOCK_MS) != 0)
		err_set(err, ERR_OVERLOADED, "the board is growing");
	else {
		rc = grow_locked(b, table, had, err);
		lock_file(b->fd, F_UNLCK, 0);
	}
	pthread_mutex_unlock(&b->growing);
	return rc;
}
