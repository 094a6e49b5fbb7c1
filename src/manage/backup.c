/*
 * backup.c - backups that are asked for over the API: into backups/ of the state directory, the
 * newest few of them.  Never with the master key in them: who holds a management token may see what
 * is booked, not the provider keys.
 */
#include "manage/manage-int.h"

#include "base/clock.h"
#include "store/care.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKUPS_KEPT 7
#define BACKUPS_MAX  1000 /* that are looked at */
#define NAME_LETTERS 40   /* "sluice-20261121T080910Z.tar" */

struct names {
	char name[BACKUPS_MAX][NAME_LETTERS];
	size_t count;
};

/* setup.code lies in the state directory. */
static int
backups_path(struct call *c, char out[4096])
{
	const char *slash = strrchr(c->m->code_file, '/');
	int n = snprintf(out, 4096, "%.*s/backups",
		slash == NULL ? 1 : (int)(slash - c->m->code_file),
		slash == NULL ? "." : c->m->code_file);

	if (n >= 4096 - NAME_LETTERS - 2)
		return err_set(&c->err, ERR_INTERNAL, "the state directory's path is too long");
	return 0;
}

static bool
is_backup_name(const char *name)
{
	if (strlen(name) != strlen("sluice-20261121T080910Z.tar"))
		return false;
	return strncmp(name, "sluice-", 7) == 0 && name[15] == 'T' &&
	       strcmp(name + 22, "Z.tar") == 0;
}

static int
newest_first(const void *a, const void *b)
{
	return -strcmp(a, b);
}

static int
read_names(struct call *c, const char *dir, struct names **out)
{
	struct names *n = arena_alloc(c->arena, sizeof *n);
	struct dirent *e;
	DIR *d;

	if ((*out = n) == NULL)
		return call_no_memory(c);
	if ((d = opendir(dir)) == NULL)
		return errno == ENOENT ? 0
				       : err_set(&c->err, ERR_STORE_UNAVAILABLE, "%s: %s", dir,
						 strerror(errno));
	while ((e = readdir(d)) != NULL && n->count < BACKUPS_MAX)
		if (is_backup_name(e->d_name))
			(void)snprintf(n->name[n->count++], NAME_LETTERS, "%.39s", e->d_name);
	closedir(d);
	qsort(n->name, n->count, NAME_LETTERS, newest_first);
	return 0;
}

int
backup_list(struct call *c)
{
	struct bytes *out = &c->out->body;
	char dir[4096], path[4096 + NAME_LETTERS + 2];
	struct names *n;
	bool first = true;

	if (backups_path(c, dir) != 0 || read_names(c, dir, &n) != 0)
		return -1;
	bytes_puts(out, "{\"data\":[");
	for (size_t i = 0; i < n->count; i++) {
		struct stat st;

		(void)snprintf(path, sizeof path, "%s/%s", dir, n->name[i]);
		if (stat(path, &st) != 0)
			continue;
		bytes_puts(out, first ? "{" : ",{");
		first = false;
		shape_text(out, "file", n->name[i]);
		shape_time(out, "made_at",
			(int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
		shape_int(out, "bytes", st.st_size);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "],\"next\":null}");
	c->out->status = 200;
	return 0;
}

/* The newest stay. */
static void
remove_old(struct call *c, const char *dir)
{
	char path[4096 + NAME_LETTERS + 2];
	struct names *n;

	if (read_names(c, dir, &n) != 0)
		return;
	for (size_t i = BACKUPS_KEPT; i < n->count; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", dir, n->name[i]);
		(void)unlink(path);
	}
}

int
backup_post(struct call *c)
{
	struct bytes *out = &c->out->body;
	char dir[4096], file[4096 + NAME_LETTERS + 2], name[NAME_LETTERS];
	struct care_report r;
	time_t now = time(NULL);
	struct tm utc;
	int64_t records = 0;

	if (backups_path(c, dir) != 0)
		return -1;
	if (mkdir(dir, 0770) != 0 && errno != EEXIST)
		return err_set(&c->err, ERR_STORE_UNAVAILABLE, "%s: %s", dir, strerror(errno));
	gmtime_r(&now, &utc);
	(void)strftime(name, sizeof name, "sluice-%Y%m%dT%H%M%SZ.tar", &utc);
	(void)snprintf(file, sizeof file, "%s/%s", dir, name);
	if (store_backup(c->m->store, file, NULL, NULL, &r, &c->err) != 0) {
		if (c->err.code == ERR_CONFLICT)
			err_say(&c->err, "A backup is being made already; try again in a minute.");
		return -1;
	}
	remove_old(c, dir);
	if (store_audit_add(c->m->store, call_change(c, "store.backup"), "", &c->err) != 0)
		return -1;
	for (int kind = 0; kind < RECORD__COUNT; kind++)
		records += r.records[kind];
	bytes_puts(out, "{");
	shape_text(out, "file", name);
	shape_time(out, "made_at", r.made_ms);
	shape_int(out, "bytes", r.bytes);
	shape_int(out, "records", records);
	shape_int(out, "rows", r.rows);
	bytes_puts(out, "}");
	c->out->status = 201;
	return 0;
}
