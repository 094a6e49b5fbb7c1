/*
 * backup.c - see care.h.  libdb's own copying is used because the order matters: tables first, page
 * by page under its latches, then the log that has what changed meanwhile, while no log file may be
 * removed.  A copy by `cp` was inconsistent in one of three tries and more.
 */
#include "store/care-int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "store/archive-int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FORMAT      1 /* of the manifest; a reader refuses a greater one */
#define ASIDE_TRIES 100
#define ELECT_TRIES 500
#define ELECT_MS    20
#define LIST_MAX    (4 << 20) /* of the manifest */

/* ---- folders ---- */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	return at->level == 0 ? 0 : remove(path);
}

static int
clear(const char *path)
{
	return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int
care_folder_open(struct care_folder *f, const char *path, struct err *err)
{
	if (snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path - 300)
		return err_set(err, ERR_BAD_REQUEST, "the path %.100s… is too long", path);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_set(
			err, ERR_STORE_UNAVAILABLE, "%s cannot be made: %s", path, strerror(errno));
	f->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (f->fd < 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	if (flock(f->fd, LOCK_EX | LOCK_NB) != 0) {
		(void)close(f->fd);
		return err_set(err, ERR_CONFLICT, "another one is at work in %s", path);
	}
	if (clear(path) != 0) {
		(void)close(f->fd);
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s cannot be cleared: %s", path,
			strerror(errno));
	}
	return 0;
}

void
care_folder_remove(struct care_folder *f)
{
	(void)clear(f->path);
	(void)rmdir(f->path);
	(void)close(f->fd);
}

static void
below(char out[CARE_PATH_BYTES], const char *dir, const char *name)
{
	if (snprintf(out, CARE_PATH_BYTES, "%s/%s", dir, name) >= CARE_PATH_BYTES)
		out[0] = '\0'; /* care_folder_open leaves room for every name of ours */
}

static int
sync_parent(const char *path, struct err *err)
{
	char parent[CARE_PATH_BYTES];
	char *slash;
	int fd, rc = 0;

	(void)snprintf(parent, sizeof parent, "%s", path);
	slash = strrchr(parent, '/');
	if (slash == NULL)
		(void)snprintf(parent, sizeof parent, ".");
	else
		slash[slash == parent] = '\0';
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", parent, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

static bool
is_environment_file(const char *name)
{
	return name[0] != '.' && strncmp(name, "__db.", 5) != 0;
}

static int64_t
bytes_of(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int64_t sum = 0;

	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL) {
		struct stat st;

		if (is_environment_file(e->d_name) &&
			fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISREG(st.st_mode))
			sum += (int64_t)st.st_size;
	}
	(void)closedir(d);
	return sum;
}

/* ---- copying the environment ---- */

struct copying {
	struct care_run *run;
	const char *to;
};

/* libdb hands no context to its callbacks. */
static _Thread_local struct copying *copying_now;

struct target {
	int fd;
};

static int
target_open(DB_ENV *env, const char *name, const char *dir, void **handle)
{
	struct target *t = malloc(sizeof *t);
	char path[CARE_PATH_BYTES];

	(void)env;
	if (t == NULL)
		return ENOMEM;
	below(path, dir, name);
	if ((t->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0660)) < 0) {
		int rc = errno;

		free(t);
		return rc;
	}
	*handle = t;
	return 0;
}

static int
target_write(DB_ENV *env, u_int32_t gigabytes, u_int32_t offset, u_int32_t size, u_int8_t *data,
	void *handle)
{
	const struct target *t = handle;
	ssize_t n = pwrite(t->fd, data, size, (off_t)gigabytes << 30 | (off_t)offset);

	(void)env;
	if (n != (ssize_t)size)
		return n < 0 ? errno : ENOSPC;
	care_step(copying_now->run, n);
	return 0;
}

static int
target_close(DB_ENV *env, const char *name, void *handle)
{
	struct target *t = handle;
	int rc = close(t->fd) == 0 ? 0 : errno;

	(void)env;
	(void)name;
	free(t);
	return rc;
}

/* libdb keeps 48 bytes of each copying of a queue that has no files of rows (__qam_gen_filelist). */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define LEAK_BEGINS() __lsan_disable()
#define LEAK_ENDS()   __lsan_enable()
#else
#define LEAK_BEGINS() ((void)0)
#define LEAK_ENDS()   ((void)0)
#endif

static int
copy_environment(struct attach *at, void *arg, struct err *err)
{
	struct copying *c = arg;
	DB_ENV *env = at->env;
	int rc;

	if (clear(c->to) != 0) { /* what a try before a recovery has left */
		(void)err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", c->to, strerror(errno));
		return WORK_FAILED;
	}
	c->run->done = 0;
	copying_now = c;
	rc = env->set_backup_callbacks(env, target_open, target_write, target_close);
	/* libdb removes files of the log while it copies: what the tables' copies need to be whole.
	 * This goes for all processes, until it is set again here or by the recovery of our death. */
	if (rc == 0)
		rc = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 0);
	LEAK_BEGINS();
	if (rc == 0)
		rc = env->backup(env, c->to, 0);
	LEAK_ENDS();
	(void)env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1);
	copying_now = NULL;
	if (rc == ENOSPC || rc == EDQUOT) {
		(void)err_set(err, ERR_STORE_UNAVAILABLE,
			"there is no room for a copy in %s (%s); it takes what the store takes",
			c->to, strerror(rc));
		return WORK_FAILED;
	}
	return rc;
}

/* 0 when it is ours, or somebody else has it all the time. */
static int
elect(struct store *s, enum gate_job job, struct err *err)
{
	for (int i = 0; i < ELECT_TRIES; i++) {
		if (store_elect(s, job))
			return 0;
		(void)nanosleep(&(struct timespec){ .tv_nsec = ELECT_MS * 1000000L }, NULL);
	}
	return err_set(err, ERR_CONFLICT,
		"retention, or another backup, is at work; try again in a minute");
}

/* A copy in dir/db, recovered and checked. */
static int
copy_and_check(struct store *s, struct care_run *r, const char *dir, struct err *err)
{
	char db[CARE_PATH_BYTES];
	struct copying c = { .run = r, .to = db };
	int rc;

	below(db, dir, "db");
	if (mkdir(db, 0700) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", db, strerror(errno));
	/* Retention must not take files away from under the copy, nor a checkpoint those of the log. */
	if (elect(s, GATE_EXPIRE, err) != 0)
		return -1;
	if ((rc = elect(s, GATE_CHECKPOINT, err)) == 0) {
		care_begin(r, "copying", bytes_of(s->home));
		rc = store_call(s, "backing up", copy_environment, &c, err);
		store_resign(s, GATE_CHECKPOINT);
	}
	store_resign(s, GATE_EXPIRE);
	if (rc != 0)
		return -1;
	if (care_check(r, dir, NULL, err) != 0)
		return err_wrap(err, "the copy cannot be read");
	return 0;
}

int
store_verify(struct store *s, const struct care *care, struct care_report *out, struct err *err)
{
	struct care_run r = { .care = care, .out = out };
	struct care_folder folder = { .fd = -1 };
	char path[CARE_PATH_BYTES], db[CARE_PATH_BYTES];
	int rc;

	memset(out, 0, sizeof *out);
	below(path, s->dir, "verify.part");
	if (care_folder_open(&folder, path, err) != 0)
		return -1;
	rc = copy_and_check(s, &r, path, err);
	below(db, path, "db");
	out->bytes = bytes_of(db);
	care_folder_remove(&folder);
	return rc;
}

/* ---- making the file ---- */

static const char readme[] = "A backup of sluice's store.\n"
			     "\n"
			     "  sluice verify FILE     is it whole?\n"
			     "  sluice restore FILE    stop sluice, then bring it back\n"
			     "\n"
			     "By hand: stop sluice; move the folder db of the state directory "
			     "aside; put the folder db of\n"
			     "this archive in its place, for the same user and group, folder mode "
			     "2770, files 0660; remove\n"
			     "the file board of the state directory; start sluice.\n"
			     "\n"
			     "Provider keys in it are sealed with the master key (master.key of "
			     "the state directory). It is\n"
			     "in here only when it was asked for. Keep a copy of it elsewhere.\n";

struct listed {
	char name[ARCHIVE_NAME_BYTES];
	int64_t bytes;
	uint8_t sha256[SHA256_BYTES];
	bool found;
};

struct listing {
	struct listed *file;
	size_t count;
};

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

static struct listed *
list_add(struct listing *l, const char *name)
{
	struct listed *more;

	if (l->count == ARCHIVE_FILES_MAX || strlen(name) >= ARCHIVE_NAME_BYTES - 20)
		return NULL;
	if ((more = realloc(l->file, (l->count + 1) * sizeof more[0])) == NULL)
		return NULL;
	l->file = more;
	memset(&more[l->count], 0, sizeof more[0]);
	(void)snprintf(more[l->count].name, ARCHIVE_NAME_BYTES, "%s", name);
	return &more[l->count++];
}

static int
list_folder(struct listing *l, struct care_run *r, const char *dir, struct err *err)
{
	char db[CARE_PATH_BYTES], path[CARE_PATH_BYTES], name[300];
	struct dirent *e;
	DIR *d;
	int rc = 0;

	below(db, dir, "db");
	if ((d = opendir(db)) == NULL)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", db, strerror(errno));
	while (rc == 0 && (e = readdir(d)) != NULL) {
		struct listed *f;

		if (!is_environment_file(e->d_name))
			continue;
		(void)snprintf(name, sizeof name, "db/%s", e->d_name);
		if ((f = list_add(l, name)) == NULL) {
			rc = err_set(err, ERR_INTERNAL, "%s holds too many files", db);
			break;
		}
		below(path, db, e->d_name);
		rc = archive_digest(path, f->sha256, &f->bytes, err);
		care_step(r, f->bytes);
	}
	(void)closedir(d);
	if (l->count > 0)
		qsort(l->file, l->count, sizeof l->file[0], by_name);
	return rc;
}

static void
write_manifest(struct bytes *b, const struct listing *l, int64_t now, bool has_key)
{
	char made[CLOCK_TEXT_BYTES], hex[2 * SHA256_BYTES + 1];

	clock_rfc3339(now, made);
	(void)bytes_printf(b,
		"{\"format\":%d,\"sluice\":\"%s\",\"schema\":%d,\"made_at\":\"%s\","
		"\"has_master_key\":%s,\"files\":[",
		FORMAT, SLUICE_VERSION, STORE_SCHEMA_MAJOR, made, has_key ? "true" : "false");
	for (size_t i = 0; i < l->count; i++) {
		hash_hex(l->file[i].sha256, SHA256_BYTES, hex);
		(void)bytes_puts(b, i == 0 ? "\n{\"name\":" : ",\n{\"name\":");
		(void)bytes_json(b, span_of(l->file[i].name));
		(void)bytes_printf(
			b, ",\"bytes\":%" PRId64 ",\"sha256\":\"%s\"}", l->file[i].bytes, hex);
	}
	(void)bytes_puts(b, "\n]}\n");
}

static int
add_files(struct archive_writer *w, struct care_run *r, const struct listing *l, const char *dir,
	struct err *err)
{
	char path[CARE_PATH_BYTES];

	for (size_t i = 0; i < l->count; i++) {
		below(path, dir, l->file[i].name);
		if (archive_add_file(
			    w, l->file[i].name, path, l->file[i].bytes, care_step, r, err) != 0)
			return -1;
	}
	return 0;
}

static int
write_archive(struct archive_writer *w, struct care_run *r, const char *dir, const char *key_file,
	struct err *err)
{
	struct bytes manifest = BYTES_LIMIT(LIST_MAX);
	struct listing l = { 0 };
	uint8_t sha256[SHA256_BYTES];
	int64_t now = clock_wall_ms(), key_bytes = 0;
	int rc;

	care_begin(r, "writing", 2 * r->out->bytes);
	w->time_s = now / 1000;
	rc = list_folder(&l, r, dir, err);
	write_manifest(&manifest, &l, now, key_file != NULL);
	if (rc == 0 && manifest.failed)
		rc = err_set(err, ERR_MEMORY, "no memory for the list of files");
	if (rc == 0 && key_file != NULL)
		rc = archive_digest(key_file, sha256, &key_bytes, err);
	if (rc != 0 || archive_add_text(w, "README", span_of(readme), err) != 0 ||
		archive_add_text(w, "manifest.json", bytes_span(&manifest), err) != 0 ||
		(key_file != NULL && archive_add_file(w, "master.key", key_file, key_bytes,
					     care_step, r, err) != 0) ||
		add_files(w, r, &l, dir, err) != 0 || archive_finish(w, err) != 0)
		rc = -1;
	free(l.file);
	bytes_free(&manifest);
	r->out->made_ms = now;
	r->out->has_key = key_file != NULL;
	return rc;
}

static int
make_file(struct care_run *r, const char *dir, const char *file, const char *key_file,
	struct err *err)
{
	char path[CARE_PATH_BYTES], db[CARE_PATH_BYTES];
	struct archive_writer w = { 0 };
	int fd, rc;

	below(db, dir, "db");
	r->out->bytes = bytes_of(db);
	below(path, dir, "backup.tar");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || (w.out = fdopen(fd, "w")) == NULL) {
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return rc;
	}
	rc = write_archive(&w, r, dir, key_file, err);
	if (fclose(w.out) != 0 && rc == 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	if (rc == 0 && rename(path, file) != 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", file, strerror(errno));
	if (rc == 0)
		rc = sync_parent(file, err);
	r->out->bytes = w.bytes;
	return rc;
}

int
store_backup(struct store *s, const char *file, const char *key_file, const struct care *care,
	struct care_report *out, struct err *err)
{
	struct care_run r = { .care = care, .out = out };
	struct care_folder folder = { .fd = -1 };
	char path[CARE_PATH_BYTES];
	int rc;

	memset(out, 0, sizeof *out);
	if (strlen(file) >= sizeof path - 300)
		return err_set(err, ERR_BAD_REQUEST, "the file's path is too long");
	(void)snprintf(path, sizeof path, "%s.part", file);
	if (care_folder_open(&folder, path, err) != 0)
		return -1;
	rc = copy_and_check(s, &r, path, err);
	if (rc == 0 && out->problems > 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE,
			"the copy is not sound (%" PRId64 " problems), so no backup was made; "
			"keep the backups there are and see `sluice verify`",
			out->problems);
	if (rc == 0)
		rc = make_file(&r, path, file, key_file, err);
	care_folder_remove(&folder);
	return rc;
}

/* ---- reading the file ---- */

struct manifest {
	const char *path;
	int64_t format, schema, made_ms;
	struct listing files;
	bool failed;
};

static bool
manifest_file(void *ctx, const struct json_member *m)
{
	struct manifest *to = ctx;
	char name[ARCHIVE_NAME_BYTES], hex[2 * SHA256_BYTES + 1];
	struct listed *f = NULL;

	if (json_string(json_get(m->value.raw, "name"), name, sizeof name) > 0)
		f = list_add(&to->files, name);
	to->failed = f == NULL || json_int(json_get(m->value.raw, "bytes"), &f->bytes) != 0 ||
		     json_string(json_get(m->value.raw, "sha256"), hex, sizeof hex) < 0 ||
		     hash_unhex(hex, f->sha256, SHA256_BYTES) != 0;
	return !to->failed;
}

static int
read_manifest(struct manifest *to, struct span text, struct err *err)
{
	char made[64];

	if (json_int(json_get(text, "format"), &to->format) != 0 ||
		json_int(json_get(text, "schema"), &to->schema) != 0 ||
		json_string(json_get(text, "made_at"), made, sizeof made) < 0 ||
		clock_parse_rfc3339(made, &to->made_ms) != 0 ||
		json_each_element(json_get(text, "files").raw, manifest_file, to, NULL) != 0 ||
		to->failed)
		return err_set(err, ERR_BAD_REQUEST,
			"%.150s is no whole backup: its list of files is damaged", to->path);
	if (to->format > FORMAT || to->schema > STORE_SCHEMA_MAJOR)
		return err_set(err, ERR_BAD_REQUEST,
			"%.150s was made by a newer sluice; restore it with that version",
			to->path);
	return 0;
}

static struct listed *
listed_as(struct manifest *m, const char *name)
{
	for (size_t i = 0; i < m->files.count; i++)
		if (strcmp(m->files.file[i].name, name) == 0)
			return &m->files.file[i];
	return NULL;
}

static int
unpack_member(struct archive_reader *a, struct manifest *m, struct care_run *r, const char *dir,
	const char *name, int64_t bytes, struct err *err)
{
	char path[CARE_PATH_BYTES];
	uint8_t sha256[SHA256_BYTES];
	struct listed *f = listed_as(m, name);
	bool is_key = strcmp(name, "master.key") == 0;

	if (strcmp(name, "README") == 0)
		return 0;
	if (!is_key && (f == NULL || f->bytes != bytes || strncmp(name, "db/", 3) != 0 ||
			       strchr(name + 3, '/') != NULL))
		return err_set(err, ERR_BAD_REQUEST,
			"%.150s is no whole backup: %s is not in its list of files, or of another "
			"size",
			m->path, name);
	below(path, dir, name);
	if (archive_extract(a, path, sha256, care_step, r, err) != 0)
		return -1;
	if (is_key) {
		r->out->has_key = true;
		if (chmod(path, 0600) != 0)
			return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
		return 0;
	}
	if (memcmp(sha256, f->sha256, SHA256_BYTES) != 0)
		return err_set(err, ERR_BAD_REQUEST,
			"%.150s is damaged: %s is not what was written; take an older backup",
			m->path, name);
	f->found = true;
	return 0;
}

/* Into dir, each file as it was written or not at all. */
static int
unpack(struct care_run *r, const char *file, const char *dir, struct err *err)
{
	struct archive_reader a = { .path = file };
	struct manifest m = { .path = file };
	char name[ARCHIVE_NAME_BYTES], db[CARE_PATH_BYTES];
	struct bytes text = BYTES_LIMIT(ARCHIVE_SMALL_MAX);
	struct stat st;
	int64_t bytes;
	int rc;

	below(db, dir, "db");
	if (mkdir(db, 0700) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", db, strerror(errno));
	if ((a.in = fopen(file, "re")) == NULL || fstat(fileno(a.in), &st) != 0) {
		if (a.in != NULL)
			(void)fclose(a.in);
		return err_set(err, ERR_NOT_FOUND, "%.200s: %s", file, strerror(errno));
	}
	r->out->bytes = st.st_size;
	care_begin(r, "unpacking", st.st_size);
	while ((rc = archive_next(&a, name, &bytes, err)) == 1) {
		if (strcmp(name, "manifest.json") == 0 && m.format == 0) {
			if (archive_read_text(&a, &text, err) != 0 ||
				read_manifest(&m, bytes_span(&text), err) != 0)
				break;
		} else if (unpack_member(&a, &m, r, dir, name, bytes, err) != 0) {
			break;
		}
	}
	rc = rc == 0 ? 0 : -1;
	if (rc == 0 && m.format == 0)
		rc = err_set(
			err, ERR_BAD_REQUEST, "%.150s is no backup: it has no list of files", file);
	for (size_t i = 0; rc == 0 && i < m.files.count; i++)
		if (!m.files.file[i].found)
			rc = err_set(err, ERR_BAD_REQUEST,
				"%.150s is no whole backup: %s is missing", file,
				m.files.file[i].name);
	r->out->made_ms = m.made_ms;
	bytes_free(&text);
	free(m.files.file);
	(void)fclose(a.in);
	return rc;
}

int
store_verify_backup(const char *file, const char *scratch, const struct care *care,
	struct care_report *out, struct err *err)
{
	struct care_run r = { .care = care, .out = out };
	struct care_folder folder = { .fd = -1 };
	const char *slash = strrchr(file, '/');
	char path[CARE_PATH_BYTES];
	int64_t bytes;
	int rc;

	memset(out, 0, sizeof *out);
	if (scratch != NULL)
		(void)snprintf(path, sizeof path, "%s/%s.verify", scratch,
			slash == NULL ? file : slash + 1);
	else
		(void)snprintf(path, sizeof path, "%s.verify", file);
	if (access(file, R_OK) != 0)
		return err_set(err, ERR_NOT_FOUND, "%.200s: %s", file, strerror(errno));
	if (care_folder_open(&folder, path, err) != 0)
		return -1;
	rc = unpack(&r, file, path, err);
	bytes = out->bytes;
	if (rc == 0 && care_check(&r, path, NULL, err) != 0)
		rc = err_wrap(err, "%.100s does not recover", file);
	out->bytes = bytes;
	care_folder_remove(&folder);
	return rc;
}

/* ---- bringing it back ---- */

struct restoring {
	const struct store_options *o;
	struct care_run run;
	struct care_folder folder;
	struct roster *roster;
	struct gate gate;
	bool gate_open;
	char db[CARE_PATH_BYTES]; /* of the state directory */
};

/* Nobody is inside, and nobody comes in while we hold the gate. */
static int
shut_out_others(struct restoring *x, struct err *err)
{
	struct roster_owner self = roster_self(x->roster);
	char who[120] = "";
	size_t len = 0;
	int count = 0;

	if (!gate_shut(&x->gate))
		return err_set(err, ERR_CONFLICT,
			"sluice is at work on %s; stop it first (sluice serve, the web server's "
			"programs), then restore",
			x->o->dir);
	for (uint32_t i = 0; i < roster_high(x->roster); i++) {
		pid_t pid = i == self.slot ? 0 : roster_pid(x->roster, i);

		if (pid == 0)
			continue;
		count++;
		if (len < sizeof who - 12)
			len += (size_t)snprintf(
				who + len, sizeof who - len, "%s%d", len > 0 ? ", " : "", (int)pid);
	}
	if (count == 0)
		return 0;
	gate_open_again(&x->gate);
	return err_set(err, ERR_CONFLICT,
		"%d processes work on %s (%s); stop sluice first, then restore", count, x->o->dir,
		who);
}

static int
restore_begin(struct restoring *x, struct err *err)
{
	char path[CARE_PATH_BYTES];

	(void)umask(007);
	if (mkdir(x->o->dir, 0770) == 0)
		(void)chmod(x->o->dir, 02770);
	else if (errno != EEXIST)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s cannot be made: %s", x->o->dir,
			strerror(errno));
	below(x->db, x->o->dir, "db");
	below(path, x->o->dir, "restore.part");
	if (care_folder_open(&x->folder, path, err) != 0)
		return -1;
	if ((x->roster = roster_join(x->o->dir, err)) == NULL ||
		gate_open(&x->gate, x->o->dir, x->roster, err) != 0)
		return -1;
	x->gate_open = true;
	/* now, before the long work, and again when it is done */
	if (shut_out_others(x, err) != 0)
		return -1;
	gate_open_again(&x->gate);
	return 0;
}

static void
restore_end(struct restoring *x)
{
	if (x->gate_open)
		gate_close(&x->gate);
	if (x->roster != NULL)
		roster_leave(x->roster);
	if (x->folder.fd >= 0)
		care_folder_remove(&x->folder);
}

/* The master key: that of the backup where there is none here. */
static int
restore_key(struct restoring *x, struct err *err)
{
	char packed[CARE_PATH_BYTES];

	below(packed, x->folder.path, "master.key");
	if (x->o->master_key_file == NULL || access(x->o->master_key_file, F_OK) == 0)
		return 0;
	if (access(packed, F_OK) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"the master key %.150s is missing, and the backup does not hold it; put "
			"back the one that sealed the provider keys",
			x->o->master_key_file);
	return 0;
}

static _Thread_local struct stat heir; /* nftw() hands no context on */

static int
give_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return lchown(path, heir.st_uid, heir.st_gid);
}

/* Restored by root, it must still be whose the state directory is. */
static int
give_to_owner(struct restoring *x, struct err *err)
{
	char fresh[CARE_PATH_BYTES];

	below(fresh, x->folder.path, "db");
	if (geteuid() != 0)
		return 0;
	if (stat(x->o->dir, &heir) != 0 || nftw(fresh, give_one, 16, FTW_PHYS) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: chown: %s", fresh, strerror(errno));
	return 0;
}

static int
install_key(struct restoring *x, struct err *err)
{
	char packed[CARE_PATH_BYTES], key[64];
	FILE *in;
	size_t n;
	int fd, rc = 0;

	below(packed, x->folder.path, "master.key");
	if (x->o->master_key_file == NULL || access(x->o->master_key_file, F_OK) == 0)
		return 0;
	if ((in = fopen(packed, "re")) == NULL)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", packed, strerror(errno));
	n = fread(key, 1, sizeof key, in);
	(void)fclose(in);
	fd = open(
		x->o->master_key_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, key, n) != (ssize_t)n || fsync(fd) != 0 ||
		(geteuid() == 0 && fchown(fd, heir.st_uid, heir.st_gid) != 0)) {
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", x->o->master_key_file,
			strerror(errno));
		if (fd >= 0)
			(void)unlink(x->o->master_key_file);
	}
	if (fd >= 0)
		(void)close(fd);
	explicit_bzero(key, sizeof key);
	return rc;
}

/* A name for the store that is there: "db.before-20261121T080910Z". */
static int
name_aside(struct restoring *x, struct err *err)
{
	char *out = x->run.out->aside, stamp[32];
	size_t room = sizeof x->run.out->aside;
	time_t now = time(NULL);
	struct tm utc;

	(void)gmtime_r(&now, &utc);
	(void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
	for (int i = 1; i < ASIDE_TRIES; i++) {
		char more[16] = "";

		if (i > 1)
			(void)snprintf(more, sizeof more, "-%d", i);
		if (snprintf(out, room, "%s.before-%s%s", x->db, stamp, more) >= (int)room)
			break;
		if (access(out, F_OK) != 0)
			return 0;
	}
	return err_set(err, ERR_STORE_UNAVAILABLE, "%.200s: no name left for it", x->db);
}

/* From now on db/ is the new one: in one step, so that there is always a store. */
static int
swap(struct restoring *x, struct err *err)
{
	char fresh[CARE_PATH_BYTES];

	below(fresh, x->folder.path, "db");
	if (chmod(fresh, 02770) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", fresh, strerror(errno));
	if (access(x->db, F_OK) != 0) {
		if (rename(fresh, x->db) != 0)
			return err_set(
				err, ERR_STORE_UNAVAILABLE, "%s: %s", x->db, strerror(errno));
		return sync_parent(x->db, err);
	}
	if (name_aside(x, err) != 0)
		return -1;
	if (renameat2(AT_FDCWD, fresh, AT_FDCWD, x->db, RENAME_EXCHANGE) != 0) {
		/* a file system that cannot: a moment without a store, in which nobody comes in */
		if (rename(x->db, x->run.out->aside) != 0 || rename(fresh, x->db) != 0)
			return err_set(
				err, ERR_STORE_UNAVAILABLE, "%s: %s", x->db, strerror(errno));
	} else if (rename(fresh, x->run.out->aside) != 0) {
		return err_set(err, ERR_STORE_UNAVAILABLE, "%.180s: %s", x->run.out->aside,
			strerror(errno));
	}
	return sync_parent(x->db, err);
}

static int
check_and_install(struct restoring *x, struct err *err)
{
	char board[CARE_PATH_BYTES], key[CARE_PATH_BYTES];
	const char *key_file = x->o->master_key_file;
	int64_t bytes = x->run.out->bytes;
	int rc;

	if (restore_key(x, err) != 0)
		return -1;
	below(key, x->folder.path, "master.key");
	if (key_file != NULL && access(key_file, F_OK) != 0)
		key_file = key;
	if (care_check(&x->run, x->folder.path, key_file, err) != 0)
		return -1;
	x->run.out->bytes = bytes;
	if (x->run.out->problems > 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"it is not sound (%" PRId64 " problems); nothing was changed",
			x->run.out->problems);
	if (shut_out_others(x, err) != 0)
		return -1;
	/* before the first step, so that a death in between is recovered as any other */
	gate_want(&x->gate, atomic_load(&x->gate.words->epoch));
	rc = give_to_owner(x, err);
	if (rc == 0)
		rc = install_key(x, err);
	if (rc == 0)
		rc = swap(x, err);
	if (rc == 0) {
		below(board, x->o->dir, "board");
		if (unlink(board) != 0 && errno != ENOENT)
			rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s; remove it by hand", board,
				strerror(errno));
		log_write(LOG_INFO, "store", "restored; the store before is in %s",
			x->run.out->aside);
	}
	gate_open_again(&x->gate);
	return rc;
}

int
store_restore(const struct store_options *o, const char *file, const struct care *care,
	struct care_report *out, struct err *err)
{
	struct restoring x = { .o = o, .run = { .care = care, .out = out }, .folder.fd = -1 };
	int rc;

	memset(out, 0, sizeof *out);
	rc = restore_begin(&x, err);
	if (rc == 0)
		rc = unpack(&x.run, file, x.folder.path, err);
	if (rc == 0)
		rc = check_and_install(&x, err);
	restore_end(&x);
	return rc;
}

/* ---- from the tables alone ---- */

static int
copy_file(struct care_run *r, const char *from, const char *to, struct err *err)
{
	FILE *in = fopen(from, "re"), *out = NULL;
	char piece[65536];
	int rc = 0;
	size_t n;

	if (in == NULL || (out = fopen(to, "wxe")) == NULL)
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", in == NULL ? from : to,
			strerror(errno));
	while (rc == 0 && (n = fread(piece, 1, sizeof piece, in)) > 0) {
		if (fwrite(piece, 1, n, out) != n)
			rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", to, strerror(errno));
		care_step(r, (int64_t)n);
	}
	if (rc == 0 && ferror(in))
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", from, strerror(errno));
	if (in != NULL)
		(void)fclose(in);
	if (out != NULL && fclose(out) != 0 && rc == 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", to, strerror(errno));
	return rc;
}

/* Copies what is no log, and makes the copies forget where in the log they were. */
static int
tables_without_log(struct restoring *x, struct err *err)
{
	char db[CARE_PATH_BYTES], from[CARE_PATH_BYTES], to[CARE_PATH_BYTES];
	struct dirent *e;
	DIR *d;
	int rc = 0;

	below(db, x->folder.path, "db");
	if (mkdir(db, 0700) != 0 || (d = opendir(x->db)) == NULL)
		return err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", x->db, strerror(errno));
	care_begin(&x->run, "copying tables", bytes_of(x->db));
	while (rc == 0 && (e = readdir(d)) != NULL) {
		if (!is_environment_file(e->d_name) || strncmp(e->d_name, "log.", 4) == 0)
			continue;
		below(from, x->db, e->d_name);
		below(to, db, e->d_name);
		rc = copy_file(&x->run, from, to, err);
	}
	(void)closedir(d);
	if (rc != 0)
		return rc;
	rc = env_forget_log(db);
	if (rc != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE,
			"the tables in %s cannot be read without their log either (%s); restore a "
			"backup",
			x->db, db_strerror(rc));
	return 0;
}

int
store_rebuild(const struct store_options *o, const struct care *care, struct care_report *out,
	struct err *err)
{
	struct restoring x = { .o = o, .run = { .care = care, .out = out }, .folder.fd = -1 };
	int rc;

	memset(out, 0, sizeof *out);
	rc = restore_begin(&x, err);
	if (rc == 0)
		rc = tables_without_log(&x, err);
	if (rc == 0)
		rc = check_and_install(&x, err);
	restore_end(&x);
	return rc;
}
