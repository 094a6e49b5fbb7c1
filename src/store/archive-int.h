/*
 * archive-int.h - a backup's file: a tar (POSIX.1-1988 "ustar") of regular files, read strictly.
 * Knows no Berkeley DB.
 */
#ifndef STORE_ARCHIVE_INT_H
#define STORE_ARCHIVE_INT_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define ARCHIVE_ROOT       "sluice-backup/"
#define ARCHIVE_NAME_BYTES 100       /* of a member, root included, with NUL */
#define ARCHIVE_FILES_MAX  20000     /* 80 GB of rows */
#define ARCHIVE_SMALL_MAX  (8 << 20) /* of a member that is read into memory */

/* ---- writing ---- */
struct archive_writer {
	FILE *out;
	int64_t bytes;
	int64_t time_s; /* of every member */
};
/* name: below ARCHIVE_ROOT.  0 or -1 with *err. */
int archive_add_text(struct archive_writer *w, const char *name, struct span text, struct err *err);
/* A file of exactly `bytes`; fails when it is another size by now. */
int archive_add_file(struct archive_writer *w, const char *name, const char *path, int64_t bytes,
	void (*step)(void *ctx, int64_t bytes), void *ctx, struct err *err);
int archive_finish(struct archive_writer *w, struct err *err);

/* ---- reading ---- */
struct archive_reader {
	FILE *in;
	int64_t left; /* of the member that is being read */
	int64_t pad;
	const char *path; /* for messages */
};
/* The next member: 1 with its name below the root and its size, 0 at the end, -1.  Names that
 * lead out of the archive's own folder are refused. */
int archive_next(struct archive_reader *r, char name[ARCHIVE_NAME_BYTES], int64_t *bytes,
	struct err *err);
int archive_read_text(struct archive_reader *r, struct bytes *out, struct err *err);
/* Into a new file of mode 0660; its SHA-256 tells whether it came through whole. */
int archive_extract(struct archive_reader *r, const char *path, uint8_t sha256[SHA256_BYTES],
	void (*step)(void *ctx, int64_t bytes), void *ctx, struct err *err);

/* SHA-256 and size of a file. */
int archive_digest(const char *path, uint8_t sha256[SHA256_BYTES], int64_t *bytes, struct err *err);

#endif
