/*
 * store.c - opening a store with an answer of its own for everything that can be wrong with it,
 * and the care it needs.
 */
#include "store/store-int.h"
#include "store/vault.h"

#include "base/clock.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- what can be wrong before libdb is asked ---- */

static int
make_dir(const char *dir, struct err *err)
{
	if (mkdir(dir, 0770) != 0) {
		if (errno == EEXIST)
			return 0;
		return err_set(
			err, ERR_STORE_UNAVAILABLE, "%s cannot be made: %s", dir, strerror(errno));
	}
	/* Set-gid: all files get the directory's group, whoever makes them. */
	if (chmod(dir, 02770) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: chmod: %s", dir, strerror(errno));
	return 0;
}

static int
check_dir(const char *dir, const char *missing, struct err *err)
{
	struct stat st;

	if (stat(dir, &st) != 0) {
		if (errno == ENOENT)
			return err_set(err, ERR_STORE_UNAVAILABLE, missing, dir);
		return err_set(
			err, ERR_STORE_UNAVAILABLE, "state directory %s: %s", dir, strerror(errno));
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s is not a directory", dir);
	if ((st.st_mode & S_IWOTH) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"everybody may write to %s (mode %04o); chmod 2770 it", dir,
			(unsigned int)(st.st_mode & 07777));
	if (faccessat(AT_FDCWD, dir, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s (owner %d, group %d, mode %04o) is not writable for uid %d gid %d: %s; "
			"give "
			"it the group of the web server and mode 2770",
			dir, (int)st.st_uid, (int)st.st_gid, (unsigned int)(st.st_mode & 07777),
			(int)geteuid(), (int)getegid(), strerror(errno));
	return 0;
}

static int
check_place(struct store *s, struct err *err)
{
	char path[4096];
	struct stat st;

	if (s->create && make_dir(s->dir, err) != 0)
		return -1;
	if (check_dir(s->dir,
		    "state directory %s does not exist; run 'sluice init', or correct the setting",
		    err) != 0 ||
		disk_check_kind(s->dir, err) != 0)
		return -1;
	if (s->create && make_dir(s->home, err) != 0)
		return -1;
	if (check_dir(s->home,
		    "%s does not exist: this store was never initialised; run 'sluice init'",
		    err) != 0)
		return -1;
	(void)snprintf(path, sizeof path, "%s/main.db", s->home);
	if (!s->create && stat(path, &st) != 0 && errno == ENOENT)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s is missing: this store was never initialised; run 'sluice init'", path);
	return 0;
}

/* ---- schema and key check ---- */

#define CHECK_BYTES (16 + 32)

struct self_check {
	struct store *s;
	bool create;
	uint32_t major, minor; /* found; 0: nothing there */
	bool wrong_key;
};

static int
self_entry(struct attach *at, DB_TXN *txn, const char *name, void *data, size_t len, bool put)
{
	DB *db = at->table[TABLE_MAIN];
	uint8_t k[32] = { KEY_SELF };
	DBT key, value;

	memcpy(k + 1, name, strlen(name));
	dbt_in(&key, k, 1 + strlen(name));
	if (put) {
		dbt_in(&value, data, len);
		return db->put(db, txn, &key, &value, 0);
	}
	dbt_out(&value, data, len);
	return db->get(db, txn, &key, &value, 0);
}

static int
self_check(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct self_check *c = arg;
	uint8_t schema[8], check[CHECK_BYTES], expected[32];
	int rc = self_entry(at, txn, "schema", schema, sizeof schema, false);

	(void)err;
	c->major = c->minor = 0;
	c->wrong_key = false;
	if (rc != 0 && rc != DB_NOTFOUND)
		return rc;
	if (rc == DB_NOTFOUND && !c->create)
		return 0;
	if (rc == DB_NOTFOUND) {
		put_be32(schema, STORE_SCHEMA_MAJOR);
		put_be32(schema + 4, STORE_SCHEMA_MINOR);
		if ((rc = self_entry(at, txn, "schema", schema, sizeof schema, true)) != 0)
			return rc;
	}
	c->major = get_be32(schema);
	c->minor = get_be32(schema + 4);
	if (!c->s->has_key || c->major > STORE_SCHEMA_MAJOR)
		return 0;
	rc = self_entry(at, txn, "key", check, sizeof check, false);
	if (rc == DB_NOTFOUND && c->create) {
		hash_random(check, 16);
		seal_check_value(c->s, check, check + 16);
		return self_entry(at, txn, "key", check, sizeof check, true);
	}
	if (rc != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	seal_check_value(c->s, check, expected);
	c->wrong_key = !hash_equal(expected, check + 16, sizeof expected);
	return 0;
}

static int
check_self(struct store *s, const struct store_options *o, struct err *err)
{
	struct self_check c = { .s = s, .create = o->create };

	if (store_txn(s, "opening", o->create ? DB_TXN_SYNC : DB_TXN_WRITE_NOSYNC, self_check, &c,
		    err) != 0)
		return -1;
	if (c.major == 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s is empty: 'sluice init' did not come to its end; run it again",
			s->home);
	if (c.major > STORE_SCHEMA_MAJOR)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"%s was written by a newer sluice (schema %u.%u, this one knows %d); "
			"install that "
			"version, or restore a backup made before the upgrade",
			s->home, c.major, c.minor, STORE_SCHEMA_MAJOR);
	if (c.wrong_key)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"master key %s is not the one that %s was made with; put the right one "
			"back",
			o->master_key_file, s->home);
	return 0;
}

/* ---- opening and closing ---- */

static int
start(struct store *s, const struct store_options *o, struct err *err)
{
	if (check_place(s, err) != 0)
		return -1;
	if (o->master_key_file != NULL && seal_read_key(s, o->master_key_file, o->create, err) != 0)
		return -1;
	if (s->roster == NULL) {
		if ((s->roster = roster_join(s->dir, err)) == NULL)
			return -1;
		s->own_roster = true;
	}
	if (gate_open(&s->gate, s->dir, s->roster, err) != 0)
		return -1;
	if (warden_start(s, err) != 0)
		return -1;
	if (check_self(s, o, err) != 0)
		return -1;
	if (s->create)
		disk_keep_ballast(s);
	return 0;
}

static struct store *
open_store(const struct store_options *o, struct roster *roster, bool copy, struct err *err)
{
	struct store *s = calloc(1, sizeof *s);
	pthread_condattr_t monotonic;
	size_t len = strlen(o->dir);

	if (s == NULL || (s->dir = strdup(o->dir)) == NULL || (s->home = malloc(len + 4)) == NULL) {
		if (s != NULL)
			free(s->dir);
		free(s);
		(void)err_set(err, ERR_MEMORY, "store: out of memory");
		return NULL;
	}
	(void)umask(007);
	(void)snprintf(s->home, len + 4, "%s/db", o->dir);
	s->gate.fd = -1;
	s->roster = roster;
	s->brief = o->brief;
	s->create = o->create;
	s->copy = copy;
	s->cache_bytes = o->cache_bytes;
	s->rows_cap_bytes = o->rows_cap_bytes;
	s->rows_kept_ms = o->rows_kept_ms;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->changed, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (pthread_key_create(&s->slot_key, store_thread_ends) != 0) {
		(void)err_set(err, ERR_MEMORY, "store: no thread key left");
		free(s->home);
		free(s->dir);
		free(s);
		return NULL;
	}
	if (start(s, o, err) != 0) {
		store_close(s);
		return NULL;
	}
	return s;
}

struct store *
store_open(const struct store_options *o, struct roster *roster, struct err *err)
{
	return open_store(o, roster, false, err);
}

struct store *
store_open_copy(const struct store_options *o, struct err *err)
{
	return open_store(o, NULL, true, err);
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	if (s->warden_runs)
		store_detach(s);
	(void)pthread_key_delete(s->slot_key);
	if (s->gate.fd >= 0)
		gate_close(&s->gate);
	if (s->own_roster)
		roster_leave(s->roster);
	OPENSSL_cleanse(s->master_key, sizeof s->master_key);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->home);
	free(s->dir);
	free(s);
}

void
store_watch(struct store *s, void (*abandoned)(void *ctx, void *work), void *ctx)
{
	(void)pthread_mutex_lock(&s->lock);
	s->abandoned = abandoned;
	s->abandoned_ctx = ctx;
	(void)pthread_mutex_unlock(&s->lock);
}

/* ---- care ---- */

static int
checkpoint(struct attach *at, void *arg, struct err *err)
{
	(void)arg;
	(void)err;
	return at->env->txn_checkpoint(at->env, 4096, 1, 0);
}

int
store_checkpoint(struct store *s, struct err *err)
{
	int rc;

	if (!store_elect(s, GATE_CHECKPOINT))
		return 0;
	atomic_store(&s->gate.words->unchecked, 0);
	disk_keep_ballast(s);
	rc = store_call(s, "checkpoint", checkpoint, NULL, err);
	store_resign(s, GATE_CHECKPOINT);
	return rc;
}

static int
flush(struct attach *at, void *arg, struct err *err)
{
	(void)arg;
	(void)err;
	return at->env->log_flush(at->env, NULL);
}

int
store_flush(struct store *s, struct err *err)
{
	int rc;

	if (!store_elect(s, GATE_FLUSH))
		return 0;
	rc = store_call(s, "flushing", flush, NULL, err);
	store_resign(s, GATE_FLUSH);
	return rc;
}

struct measuring {
	uint32_t first, next, epoch;
	struct folded folded;
};

static int
measure(struct attach *at, void *arg, struct err *err)
{
	struct measuring *m = arg;
	int rc = rows_bounds(at, &m->first, &m->next);

	(void)err;
	m->epoch = at->epoch;
	return rc != 0 ? rc : fold_position(at, NULL, 0, &m->folded);
}

static bool
is_capped(const char *name)
{
	return strcmp(name, "booked.db") == 0 || strcmp(name, "rollups.db") == 0 ||
	       strcmp(name, "decisions.db") == 0 || strcmp(name, "rows.db") == 0 ||
	       strncmp(name, "__dbq.rows.db.", 14) == 0;
}

static int64_t
bytes_in(const char *dir, int64_t *capped)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int64_t sum = 0;

	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		struct stat st;

		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode))
			continue;
		sum += (int64_t)st.st_blocks * 512;
		if (is_capped(e->d_name))
			*capped += (int64_t)st.st_blocks * 512;
	}
	(void)closedir(d);
	return sum;
}

int
store_health(struct store *s, struct store_health *out, struct err *err)
{
	struct measuring m = { 0 };
	uint32_t high, position;

	memset(out, 0, sizeof *out);
	if (store_call(s, "measuring", measure, &m, err) != 0)
		return -1;
	if ((out->vault_bytes = store_vault_bytes(s, err)) < 0)
		return -1;
	out->bytes_on_disk = bytes_in(s->home, &out->bytes_capped);
	out->rows = (int64_t)(uint32_t)(m.next - m.first);
	position = m.folded.position;
	out->rows_unfolded = position == 0 || recno_before(position, m.first)
				     ? out->rows
				     : (int64_t)(uint32_t)(m.next - position) - 1;
	out->epoch = m.epoch;
	high = roster_high(s->roster);
	for (uint32_t i = 0; i < high; i++)
		out->attached += atomic_load(roster_attached(s->roster, i)) != 0;
	out->recoveries = atomic_load(&s->gate.words->recoveries);
	out->last_recovery_ms = atomic_load(&s->gate.words->recovery_us) / 1000;
	out->abandoned = atomic_load(&s->abandonments);
	out->schema = STORE_SCHEMA_MAJOR;
	return 0;
}
