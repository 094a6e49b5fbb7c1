/*
 * archive.c - see archive-int.h.  A reader of our own, because a backup may come from anywhere:
 * it takes regular files below one folder and nothing else, and says what is wrong with the rest.
 */
#include "store/archive-int.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK      512
#define PIECE      (64 << 10)
#define SIZE_MAX_8 077777777777LL /* what 11 octal digits hold */

/* POSIX.1-1988, "Extended tar Format" */
struct tar_head {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct tar_head) == BLOCK, "a tar header is one block");

static unsigned
head_sum(const struct tar_head *h)
{
	const unsigned char *p = (const unsigned char *)h;
	unsigned sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= offsetof(struct tar_head, sum) && i < offsetof(struct tar_head, type)
			       ? ' '
			       : p[i];
	return sum;
}

/* ---- writing ---- */

static int
put(struct archive_writer *w, const void *data, size_t len, struct err *err)
{
	if (fwrite(data, 1, len, w->out) != len)
		return err_set(err, ERR_STORE_UNAVAILABLE, "the backup cannot be written: %s",
			strerror(errno));
	w->bytes += (int64_t)len;
	return 0;
}

static int
put_pad(struct archive_writer *w, struct err *err)
{
	static const char zeros[BLOCK];

	return w->bytes % BLOCK == 0 ? 0 : put(w, zeros, (size_t)(BLOCK - w->bytes % BLOCK), err);
}

static int
put_head(struct archive_writer *w, const char *name, int64_t bytes, struct err *err)
{
	struct tar_head h;
	char sum[sizeof h.sum];

	memset(&h, 0, sizeof h);
	if (strlen(ARCHIVE_ROOT) + strlen(name) >= sizeof h.name || bytes > SIZE_MAX_8)
		return err_set(
			err, ERR_INTERNAL, "%s is too long or too large for a tar file", name);
	(void)snprintf(h.name, sizeof h.name, "%s%s", ARCHIVE_ROOT, name);
	memcpy(h.mode, "0000600", 8);
	memcpy(h.uid, "0000000", 8);
	memcpy(h.gid, "0000000", 8);
	(void)snprintf(h.size, sizeof h.size, "%011llo", (unsigned long long)bytes);
	(void)snprintf(h.mtime, sizeof h.mtime, "%011llo", (unsigned long long)w->time_s);
	h.type = '0';
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	(void)snprintf(sum, sizeof sum, "%06o", head_sum(&h));
	memcpy(h.sum, sum, 7);
	h.sum[7] = ' ';
	return put(w, &h, sizeof h, err);
}

int
archive_add_text(struct archive_writer *w, const char *name, struct span text, struct err *err)
{
	return put_head(w, name, (int64_t)text.len, err) != 0 ||
			       put(w, text.at, text.len, err) != 0 || put_pad(w, err) != 0
		       ? -1
		       : 0;
}

int
archive_add_file(struct archive_writer *w, const char *name, const char *path, int64_t bytes,
	void (*step)(void *ctx, int64_t bytes), void *ctx, struct err *err)
{
	FILE *in = fopen(path, "re");
	char *piece = malloc(PIECE);
	int64_t done = 0;
	int rc = -1;

	if (in == NULL || piece == NULL) {
		(void)err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	} else if (put_head(w, name, bytes, err) == 0) {
		size_t n;

		rc = 0;
		while (rc == 0 && (n = fread(piece, 1, PIECE, in)) > 0) {
			done += (int64_t)n;
			if (done > bytes)
				break;
			rc = put(w, piece, n, err);
			step(ctx, (int64_t)n);
		}
		if (rc == 0 && (done != bytes || ferror(in)))
			rc = err_set(
				err, ERR_STORE_UNAVAILABLE, "%s changed while it was read", path);
		if (rc == 0)
			rc = put_pad(w, err);
	}
	free(piece);
	if (in != NULL)
		(void)fclose(in);
	return rc;
}

int
archive_finish(struct archive_writer *w, struct err *err)
{
	static const char end[2 * BLOCK];

	if (put(w, end, sizeof end, err) != 0)
		return -1;
	if (fflush(w->out) != 0 || fsync(fileno(w->out)) != 0)
		return err_set(err, ERR_STORE_UNAVAILABLE, "the backup cannot be written: %s",
			strerror(errno));
	return 0;
}

/* ---- reading ---- */

static int
broken(const struct archive_reader *r, const char *why, struct err *err)
{
	return err_set(err, ERR_BAD_REQUEST, "%.150s is no whole backup: %s", r->path, why);
}

static int
get(struct archive_reader *r, void *data, size_t len, struct err *err)
{
	if (fread(data, 1, len, r->in) == len)
		return 0;
	if (ferror(r->in))
		return err_set(err, ERR_STORE_UNAVAILABLE, "%.150s: %s", r->path, strerror(errno));
	return broken(r, "it ends too early", err);
}

/* Digits in octal, ended by a blank or NUL, or filling the field. */
static int
octal(const char *text, size_t room, int64_t *out)
{
	int64_t n = 0;
	size_t i = 0;

	while (i < room && text[i] == ' ')
		i++;
	for (; i < room && text[i] >= '0' && text[i] <= '7'; i++)
		n = n << 3 | (text[i] - '0');
	*out = n;
	return i == room || text[i] == ' ' || text[i] == '\0' ? 0 : -1;
}

/* "db/main.db": letters, digits and a few marks, no part that begins with a dot. */
static bool
is_harmless(const char *name)
{
	if (name[0] == '\0')
		return false;
	for (const char *p = name; *p != '\0'; p++) {
		bool start = p == name || p[-1] == '/';

		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/",
			    *p) == NULL ||
			(start && (*p == '.' || *p == '/')))
			return false;
	}
	return true;
}

static int
skip(struct archive_reader *r, struct err *err)
{
	char piece[4096];

	while (r->left + r->pad > 0) {
		int64_t n = r->left + r->pad;

		if (n > (int64_t)sizeof piece)
			n = sizeof piece;
		if (get(r, piece, (size_t)n, err) != 0)
			return -1;
		if (n > r->left) {
			r->pad -= n - r->left;
			r->left = 0;
		} else {
			r->left -= n;
		}
	}
	return 0;
}

int
archive_next(
	struct archive_reader *r, char name[ARCHIVE_NAME_BYTES], int64_t *bytes, struct err *err)
{
	static const struct tar_head end;
	struct tar_head h;

	for (;;) {
		char full[sizeof h.name + 1];
		int64_t sum;

		if (skip(r, err) != 0 || get(r, &h, sizeof h, err) != 0)
			return -1;
		if (memcmp(&h, &end, sizeof h) == 0)
			return 0;
		if (octal(h.sum, sizeof h.sum, &sum) != 0 || sum != head_sum(&h) ||
			octal(h.size, sizeof h.size, bytes) != 0)
			return broken(r, "a header is damaged, or it is no tar file", err);
		r->left = *bytes;
		r->pad = (BLOCK - *bytes % BLOCK) % BLOCK;
		if (h.type == '5') /* folders, where somebody packed it again */
			continue;
		memcpy(full, h.name, sizeof h.name);
		full[sizeof h.name] = '\0';
		if ((h.type != '0' && h.type != '\0') || h.prefix[0] != '\0' ||
			strncmp(full, ARCHIVE_ROOT, strlen(ARCHIVE_ROOT)) != 0 ||
			!is_harmless(full + strlen(ARCHIVE_ROOT)))
			return broken(r, "it holds something that no backup holds", err);
		(void)snprintf(name, ARCHIVE_NAME_BYTES, "%s", full + strlen(ARCHIVE_ROOT));
		return 1;
	}
}

int
archive_read_text(struct archive_reader *r, struct bytes *out, struct err *err)
{
	char piece[4096];

	if (r->left > ARCHIVE_SMALL_MAX)
		return broken(r, "its list of files is too long", err);
	while (r->left > 0) {
		size_t n = r->left > (int64_t)sizeof piece ? sizeof piece : (size_t)r->left;

		if (get(r, piece, n, err) != 0)
			return -1;
		if (bytes_add(out, piece, n) != 0)
			return err_set(err, ERR_MEMORY, "no memory for the list of files");
		r->left -= (int64_t)n;
	}
	return 0;
}

int
archive_extract(struct archive_reader *r, const char *path, uint8_t sha256[SHA256_BYTES],
	void (*step)(void *ctx, int64_t bytes), void *ctx, struct err *err)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	char *piece = malloc(PIECE);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660), rc = 0;

	if (fd < 0)
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	else if (digest == NULL || piece == NULL ||
		 EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
		rc = err_set(err, ERR_MEMORY, "no memory to unpack");
	while (rc == 0 && r->left > 0) {
		size_t n = r->left > PIECE ? PIECE : (size_t)r->left;

		if ((rc = get(r, piece, n, err)) != 0)
			break;
		(void)EVP_DigestUpdate(digest, piece, n);
		errno = 0;
		if (write(fd, piece, n) != (ssize_t)n)
			rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path,
				strerror(errno == 0 ? ENOSPC : errno));
		r->left -= (int64_t)n;
		step(ctx, (int64_t)n);
	}
	if (rc == 0 && (EVP_DigestFinal_ex(digest, sha256, NULL) != 1 || fsync(fd) != 0))
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	free(piece);
	EVP_MD_CTX_free(digest);
	return rc;
}

int
archive_digest(const char *path, uint8_t sha256[SHA256_BYTES], int64_t *bytes, struct err *err)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	char *piece = malloc(PIECE);
	FILE *in = fopen(path, "re");
	int rc = 0;
	size_t n;

	*bytes = 0;
	if (in == NULL)
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	else if (digest == NULL || piece == NULL ||
		 EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
		rc = err_set(err, ERR_MEMORY, "no memory to read %.150s", path);
	while (rc == 0 && (n = fread(piece, 1, PIECE, in)) > 0) {
		(void)EVP_DigestUpdate(digest, piece, n);
		*bytes += (int64_t)n;
	}
	if (rc == 0 && (ferror(in) || EVP_DigestFinal_ex(digest, sha256, NULL) != 1))
		rc = err_set(err, ERR_STORE_UNAVAILABLE, "%s: %s", path, strerror(errno));
	if (in != NULL)
		(void)fclose(in);
	free(piece);
	EVP_MD_CTX_free(digest);
	return rc;
}
