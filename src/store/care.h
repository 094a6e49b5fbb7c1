/*
 * care.h - what an operator does with a whole store: back it up, check it, bring it back, carry it
 * to another program.
 *
 * A backup is one tar file that any tar unpacks:
 *
 *   sluice-backup/README         how to bring it back by hand
 *   sluice-backup/manifest.json  when and by what it was made; size and SHA-256 of each file
 *   sluice-backup/db/…           the Berkeley DB environment, recovered and checked
 *   sluice-backup/master.key     only when asked for: with it the provider keys can be read
 *
 * The board is not in it: it is made anew from the sums and rows.  Backing up works while others
 * write: the environment is copied (data files, then its log), the copy is recovered from its log,
 * every table of it is verified, and only then does the file get its name.  It takes the store's
 * size twice over, beside the file, for as long as it is being made.
 *
 * All of these block for as long as the store is large, and may be called from one thread each.
 */
#ifndef STORE_CARE_H
#define STORE_CARE_H

#include "store/store.h"
#include <stdio.h>

struct care {
	/* May be NULL.  `what` is being done, `done` of `total` bytes or rows of it; total 0: not
	 * known. */
	void (*progress)(void *ctx, const char *what, int64_t done, int64_t total);
	/* Something wrong in what is checked; at most CARE_PROBLEMS_MAX are told of. */
	void (*problem)(void *ctx, const char *text);
	void *ctx;
};
#define CARE_PROBLEMS_MAX 50

struct care_report {
	int64_t made_ms;  /* of a backup or dump: when */
	int64_t bytes;    /* of the file; of files in all */
	int64_t records[RECORD__COUNT];
	int64_t values, audit, rows, sums;
	int64_t problems; /* found by checking */
	bool has_key;     /* the master key is in it */
	bool sums_checked; /* rows and sums were complete enough to be compared */
	char aside[512];  /* restore: where the store before went; "" nowhere */
};

/* Makes `file`, mode 0600, in place of one of that name.  key_file: the master key to take along,
 * or NULL.  ERR_STORE_UNAVAILABLE when the copy does not stand the check: then no file is made. */
int store_backup(struct store *s, const char *file, const char *key_file, const struct care *care,
	struct care_report *out, struct err *err);

/* Checks a store as a backup of it would be: on a copy, made in the state directory. */
int store_verify(struct store *s, const struct care *care, struct care_report *out, struct err *err);
/* Checks a backup.  scratch: a directory with room for it, or NULL: that of the file.
 * 0 with out->problems, or -1 when it cannot be read or is none. */
int store_verify_backup(const char *file, const char *scratch, const struct care *care,
	struct care_report *out, struct err *err);

/*
 * Brings a backup back into o->dir.  The store that is there is moved aside, into a directory
 * beside it (out->aside); the board is removed.  Checks the backup first, and does nothing at all
 * unless it is sound and fits the master key.  A master key in the backup is put in place where
 * there is none.  ERR_CONFLICT while other processes work on this state directory.
 */
int store_restore(const struct store_options *o, const char *file, const struct care *care,
	struct care_report *out, struct err *err);
/* The same from the tables that are there, without their log: for a log that is damaged or lost.
 * What stands in the log alone is gone.  Refuses tables that are damaged themselves. */
int store_rebuild(const struct store_options *o, const struct care *care, struct care_report *out,
	struct err *err);

/* ---- portable form: NDJSON, one object a line (dump.c) ---- */

enum dump_secrets {
	DUMP_NO_SECRETS,  /* neither provider keys nor the password's hash */
	DUMP_SEALED,      /* as they are: of use only with this master key */
	DUMP_PASSPHRASE   /* provider keys sealed under a passphrase */
};
struct dump_options {
	enum dump_secrets secrets;
	const char *passphrase; /* DUMP_PASSPHRASE; loading: of such a dump */
};
/* All of the store but signed-in sessions and signatures (vault.h).  Rows and sums are those of one moment each; stop sluice
 * where they must agree to the last request. */
int store_dump(struct store *s, FILE *out, const struct dump_options *o, const struct care *care,
	struct care_report *report, struct err *err);
/* Into a store that holds no record: ERR_CONFLICT otherwise.  ERR_BAD_REQUEST names the line that
 * cannot be read; what was loaded before it stays. */
int store_load(struct store *s, FILE *in, const struct dump_options *o, const struct care *care,
	struct care_report *report, struct err *err);

#endif
