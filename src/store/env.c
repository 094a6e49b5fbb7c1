/*
 * env.c - opening and closing the Berkeley DB environment.  The flags and sizes were measured
 * (architecture.md, section 5); what is left out, DB_REGISTER and failchk above all, is left out
 * because it hung.
 */
#include "store/store-int.h"

#include "base/hash.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The thread sanitizer sees libdb's calls of pthread functions but not its memory, and takes the
 * order of its page latches, which is that of the tree, for a danger.  Our own code stays watched.
 */
#ifdef __has_feature
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
const char *__tsan_default_suppressions(void);
const char *
__tsan_default_suppressions(void)
{
	return "called_from_lib:libdb-5.3.so\ndeadlock:libdb-5.3.so\n";
}
#endif

#define CACHE_BYTES      (8 << 20)
#define GIB              (INT64_C(1) << 30)
#define CACHE_PART_GIBS  2 /* a part of the cache must stay below 4 GiB */
#define LOG_BUFFER_BYTES (256 << 10)
#define LOG_FILE_BYTES   (4 << 20)
#define LOCKS_MAX        10000
#define LOCKERS_MAX      4000
#define TXNS_MAX         1000

static const struct table_kind {
	const char *file;
	DBTYPE type;
	u_int32_t page_bytes;
} tables[TABLE__COUNT] = {
	[TABLE_MAIN] = { "main.db", DB_BTREE, 4096 },
	[TABLE_BOOKED] = { "booked.db", DB_BTREE, 4096 },
	[TABLE_ROLLUPS] = { "rollups.db", DB_BTREE, 4096 },
	[TABLE_ROWS] = { "rows.db", DB_QUEUE, 8192 },
	[TABLE_DECISIONS] = { "decisions.db", DB_BTREE, 4096 },
};

#define EXTENT_PAGES 512 /* 4 MB of rows a file: what retention drops at once */

static void
said(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	log_write(LOG_WARN, "libdb", "%s", text);
}

/* Which files its shared memory is, so that env_drop can give the memory back. */
static void
remember_regions(const char *home, struct attach *at)
{
	at->regions = 0;
	for (int i = 1; i <= REGIONS_MAX; i++) {
		char path[4096];
		struct stat st;

		(void)snprintf(path, sizeof path, "%s/__db.%03d", home, i);
		if (stat(path, &st) != 0)
			break;
		at->device = st.st_dev;
		at->region[at->regions++] = st.st_ino;
	}
}

struct range {
	uintptr_t from, to;
	ino_t inode;
};

/* Where its regions are mapped in this process; *count 0: nothing is known.  True: each of them once. */
static bool
find_ranges(const struct attach *at, struct range range[REGIONS_MAX], int *count)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[4400];
	bool twice = false;

	*count = 0;
	if (maps == NULL)
		return false;
	while (fgets(line, sizeof line, maps) != NULL) {
		uintptr_t from, to;
		uint64_t inode;
		unsigned int major_no, minor_no;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %x:%x %" SCNu64, &from, &to,
			    &major_no, &minor_no, &inode) != 5 ||
			strstr(line, "/__db.") == NULL)
			continue;
		for (int i = 0; i < at->regions; i++) {
			if (at->region[i] != (ino_t)inode)
				continue;
			if (*count == at->regions || *count == REGIONS_MAX)
				twice = true; /* another store of this process has them open too */
			else
				range[(*count)++] = (struct range){ from, to, (ino_t)inode };
		}
	}
	(void)fclose(maps);
	return !twice;
}

/*
 * libdb maps its regions as large as they may become, and lets their files grow by their last byte: the
 * holes get their blocks when they are first touched, which on a full disk is a SIGBUS.  So all blocks
 * are taken at once, where the file system can; sizes stay as libdb made them.
 */
static int
allocate_regions(const char *home, const struct attach *at)
{
	struct range range[REGIONS_MAX];
	int count, rc = 0;

	(void)find_ranges(at, range, &count);
	for (int i = 1; i <= at->regions && rc == 0; i++) {
		char path[4096];
		int fd, which = 0;

		while (which < count && range[which].inode != at->region[i - 1])
			which++;
		(void)snprintf(path, sizeof path, "%s/__db.%03d", home, i);
		if (which == count || (fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)) < 0)
			continue;
		do
			rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0,
				     (off_t)(range[which].to - range[which].from)) == 0
				     ? 0
				     : errno;
		while (rc == EINTR);
		(void)close(fd);
		if (rc != ENOSPC && rc != EDQUOT)
			rc = 0;
	}
	return rc;
}

uint64_t
env_memory(const struct store *s)
{
	uint64_t which[2];
	char path[4096];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/__db.001", s->home);
	if (stat(path, &st) != 0)
		return 0;
	which[0] = (uint64_t)st.st_dev;
	which[1] = (uint64_t)st.st_ino;
	return hash_64(which, sizeof which, 0) | 1;
}

int
env_open(struct store *s, struct attach *at, bool recover)
{
	u_int32_t flags =
		DB_INIT_TXN | DB_INIT_LOCK | DB_INIT_LOG | DB_INIT_MPOOL | DB_THREAD | DB_CREATE;
	/* What a copy's log began before its last checkpoint may be missing from its tables. */
	u_int32_t recovery = !recover ? 0 : s->copy ? DB_RECOVER_FATAL : DB_RECOVER;
	int64_t cache = s->cache_bytes > 0 ? s->cache_bytes : CACHE_BYTES;
	u_int32_t gibs = (u_int32_t)(cache / GIB), rest = (u_int32_t)(cache % GIB);
	DB_ENV *env;
	int rc = db_env_create(&env, 0);

	at->env = NULL;
	if (rc != 0)
		return rc;
	env->set_errcall(env, said);
	if ((rc = env->set_cachesize(env, gibs, rest, 1 + (int)gibs / CACHE_PART_GIBS)) != 0 ||
		(rc = env->set_lk_detect(env, DB_LOCK_DEFAULT)) != 0 ||
		(rc = env->set_lk_max_locks(env, LOCKS_MAX)) != 0 ||
		(rc = env->set_lk_max_objects(env, LOCKS_MAX)) != 0 ||
		(rc = env->set_lk_max_lockers(env, LOCKERS_MAX)) != 0 ||
		(rc = env->set_tx_max(env, TXNS_MAX)) != 0 ||
		(rc = env->set_lg_bsize(env, LOG_BUFFER_BYTES)) != 0 ||
		(rc = env->set_lg_max(env, LOG_FILE_BYTES)) != 0 ||
		(rc = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1)) != 0 ||
		(rc = env->set_flags(env, DB_TXN_WRITE_NOSYNC, 1)) != 0 ||
		/* A full disk is an error here and not a SIGBUS later; allocate_regions() too. */
		(rc = env->set_flags(env, DB_REGION_INIT, 1)) != 0 ||
		(rc = env->open(env, s->home, flags | recovery, 0660)) != 0) {
		(void)env->close(env, 0);
		return rc;
	}
	remember_regions(s->home, at);
	if (recover && (rc = allocate_regions(s->home, at)) != 0) {
		(void)env->close(env, 0);
		return rc;
	}
	at->env = env;
	return 0;
}

const char *
env_table_file(enum table table)
{
	return tables[table].file;
}

int
env_open_tables(struct store *s, struct attach *at)
{
	u_int32_t flags = DB_AUTO_COMMIT | DB_THREAD | (s->create ? (u_int32_t)DB_CREATE : 0);

	for (int i = 0; i < TABLE__COUNT; i++) {
		const struct table_kind *kind = &tables[i];
		DB *db;
		int rc = db_create(&db, at->env, 0);

		if (rc != 0)
			return rc;
		if ((rc = db->set_pagesize(db, kind->page_bytes)) == 0 && kind->type == DB_QUEUE &&
			(rc = db->set_re_len(db, ROW_BYTES)) == 0)
			rc = db->set_q_extentsize(db, EXTENT_PAGES);
		if (rc == 0 && kind->type == DB_BTREE)
			rc = db->set_flags(db, DB_CHKSUM);
		if (i == TABLE_DECISIONS) /* a store of an older program has none yet */
			flags |= DB_CREATE;
		if (rc == 0)
			rc = db->open(db, NULL, kind->file, NULL, kind->type, flags, 0660);
		if (rc == 0) {
			at->table[i] = db;
			continue;
		}
		(void)db->close(db, DB_NOSYNC);
		if (i != TABLE_DECISIONS || rc != EINVAL)
			return rc;
		/* An older program restored the store: the log is new, this table it did not know. */
		log_write(LOG_WARN, "store",
			"%s/%s does not belong to this store any more: decisions with many keys "
			"are "
			"not kept; remove it while nothing runs, and it is made anew",
			s->home, kind->file);
	}
	return 0;
}

/* A copy of an older program has no decisions. */
static int
forget_log(DB_ENV *env, const char *home, enum table table)
{
	char path[4096];

	(void)snprintf(path, sizeof path, "%s/%s", home, tables[table].file);
	if (table == TABLE_DECISIONS && access(path, F_OK) != 0 && errno == ENOENT)
		return 0;
	return env->lsn_reset(env, tables[table].file, 0);
}

int
env_forget_log(const char *home)
{
	DB_ENV *env;
	int rc = db_env_create(&env, 0), closed;

	if (rc != 0)
		return rc;
	env->set_errcall(env, said);
	/* No log and no transactions: with them no table could be opened that is ahead of its log. */
	rc = env->open(env, home, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0660);
	for (int i = 0; rc == 0 && i < TABLE__COUNT; i++)
		rc = forget_log(env, home, (enum table)i);
	closed = env->close(env, 0);
	return rc != 0 ? rc : closed;
}

void
env_close(struct attach *at)
{
	DB_ENV *env = at->env;

	if (env == NULL)
		return;
	for (int i = TABLE__COUNT - 1; i >= 0; i--) {
		DB *db = at->table[i];

		at->table[i] = NULL;
		if (db != NULL)
			(void)db->close(db, DB_NOSYNC);
	}
	at->env = NULL;
	(void)env->close(env, 0);
}

void
env_panic(struct attach *at)
{
	(void)at->env->set_flags(at->env, DB_PANIC_ENVIRONMENT, 1);
}

/*
 * libdb closes only the files of an environment that has panicked and keeps the memory: each
 * recovery would cost every process the shared regions again, whose files are unlinked by then.
 * Nobody is in them any more, so they can go.  Its few handles in the heap stay.
 */
static void
unmap_regions(const struct attach *at)
{
	struct range range[REGIONS_MAX];
	int count;

	if (!find_ranges(at, range, &count))
		return;
	for (int i = 0; i < count; i++)
		(void)munmap((void *)range[i].from, range[i].to - range[i].from);
}

void
env_drop(struct attach *at)
{
	DB_ENV *env = at->env;

	if (env == NULL)
		return;
	env_panic(at);
	env->set_errcall(env, NULL);
	(void)env->close(env, 0);
	unmap_regions(at);
}
