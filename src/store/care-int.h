/*
 * care-int.h - what backup.c, verify.c and dump.c share: telling how far the work is, and a folder
 * to work in.
 */
#ifndef STORE_CARE_INT_H
#define STORE_CARE_INT_H

#include "store/care.h"
#include "store/store-int.h"

#define CARE_PATH_BYTES 4096

struct care_run {
	const struct care *care; /* may be NULL */
	struct care_report *out;
	const char *what;
	int64_t done, total, told_us;
};
void care_begin(struct care_run *r, const char *what, int64_t total);
void care_step(void *run, int64_t amount);
void care_problem(struct care_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A folder that is ours alone while fd is open: an advisory lock tells a work under way from what a
 * killed one left behind, which is cleared.
 */
struct care_folder {
	char path[CARE_PATH_BYTES];
	int fd;
};
int care_folder_open(struct care_folder *f, const char *path, struct err *err);
void care_folder_remove(struct care_folder *f); /* with all that is in it */

/*
 * verify.c.  dir: a state directory that nobody else knows, its db/ a copy.  Recovers it from the
 * whole of its log, compares what belongs together, ends its log and verifies each table's pages.
 * key_file: NULL, or the master key that must fit.  0, problems counted in r->out; -1 when it
 * cannot be opened or read at all.  What is left in db/ needs no log older than the one there.
 */
int care_check(struct care_run *r, const char *dir, const char *key_file, struct err *err);

/* tables.c: as they are, times and versions included, without an audit entry of their own. */
int tables_load_records(struct store *s, enum record_kind kind, void *records, size_t count,
	struct err *err);
int tables_load_audit(struct store *s, const struct audit_entry *e, struct err *err);

#endif
