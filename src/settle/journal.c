/*
 * journal.c - a file is made under another name, locked, and only then given its own: whoever gets
 * the lock of a file of that name knows that its writer is gone for good.
 */
#include "settle/journal.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX    ".ndjson"
#define FRESH     ".new"
#define CRC_CHARS 8
#define TEXT_MAX  1024 /* of one text while it is read, before it is cut to its field */
#define READ_MAX  (JOURNAL_BYTES_MAX + JOURNAL_LINE_MAX)

struct journal {
	char dir[PATH_MAX - 64];
	pthread_mutex_t mutex; /* over the rest */
	int fd;                /* -1: no file is open */
	char path[PATH_MAX];
	int64_t bytes;
	struct usage_row first; /* of the file */
};

/* ---- a row as a line ---- */

enum piece_type { PIECE_ID, PIECE_TEXT, PIECE_8, PIECE_16, PIECE_32, PIECE_64, PIECE_DECISION };

struct piece {
	const char *name;
	enum piece_type type;
	size_t at, size;
};

#define PIECE(name_, type_, field)                                                                 \
	{                                                                                          \
		name_, PIECE_##type_, offsetof(struct usage_row, field),                           \
			sizeof(((struct usage_row *)0)->field)                                     \
	}

static const struct piece pieces[] = {
	PIECE("id", ID, exchange),
	PIECE("time_ms", 64, time_ms),
	PIECE("project", ID, project),
	PIECE("token", ID, token),
	PIECE("upstream", ID, upstream),
	PIECE("key", ID, key),
	PIECE("model", TEXT, model),
	PIECE("upstream_model", TEXT, upstream_model),
	PIECE("endpoint", TEXT, endpoint),
	PIECE("upstream_request_id", TEXT, upstream_request_id),
	PIECE("session", TEXT, session),
	PIECE("end_user", TEXT, end_user),
	PIECE("tag_0", TEXT, tags[0]),
	PIECE("tag_1", TEXT, tags[1]),
	PIECE("tag_2", TEXT, tags[2]),
	PIECE("tag_3", TEXT, tags[3]),
	PIECE("tier", TEXT, tier),
	PIECE("address", 64, address),
	PIECE("error", TEXT, error),
	PIECE("status", 16, status),
	PIECE("err_code", 16, err_code),
	PIECE("ended_by", 8, ended_by),
	PIECE("usage_source", 8, usage_source),
	PIECE("stream", 8, stream),
	PIECE("attempts", 8, attempts),
	PIECE("duration_ms", 32, duration_ms),
	PIECE("ttfb_ms", 32, ttfb_ms),
	PIECE("input", 64, tokens.input),
	PIECE("cache_read", 64, tokens.cache_read),
	PIECE("cache_write", 64, tokens.cache_write),
	PIECE("cache_write_1h", 64, tokens.cache_write_1h),
	PIECE("output", 64, tokens.output),
	PIECE("reasoning", 64, tokens.reasoning),
	PIECE("audio_input", 64, tokens.audio_input),
	PIECE("audio_output", 64, tokens.audio_output),
	PIECE("images", 64, tokens.images),
	PIECE("cost_nusd", 64, cost_nusd),
	PIECE("cost_stated", 8, cost_stated),
	PIECE("dropped", TEXT, dropped),
	PIECE("decision", DECISION, decision_len),
};
#define PIECES (sizeof pieces / sizeof pieces[0])
_Static_assert(USAGE_TAGS_MAX == 4, "a piece for each tag");
_Static_assert(offsetof(struct usage_row, decision) ==
		       offsetof(struct usage_row, decision_len) + sizeof(uint16_t),
	"the bytes behind their number");

static void
write_decision(struct bytes *out, const char *name, const char *from)
{
	char text[2 * DECISION_BYTES + 1];
	uint16_t len;

	memcpy(&len, from, sizeof len);
	if (len == 0 || len > DECISION_BYTES)
		return;
	hash_hex(from + sizeof len, len, text);
	bytes_printf(out, ",\"%s\":\"%s\"", name, text);
}

static int
read_decision(struct json_value v, char *to)
{
	char text[2 * DECISION_BYTES + 1];
	ptrdiff_t chars = json_string(v, text, sizeof text);
	uint16_t len = (uint16_t)(chars / 2);

	if (chars < 0 || chars % 2 != 0 || hash_unhex(text, to + sizeof len, len) != 0)
		return -1;
	memcpy(to, &len, sizeof len);
	return 0;
}

static int64_t
number_of(const struct piece *p, const void *from)
{
	uint8_t n8;
	uint16_t n16;
	uint32_t n32;
	int64_t n64;

	switch (p->type) {
	case PIECE_8:
		memcpy(&n8, from, sizeof n8);
		return n8;
	case PIECE_16:
		memcpy(&n16, from, sizeof n16);
		return n16;
	case PIECE_32:
		memcpy(&n32, from, sizeof n32);
		return n32;
	default:
		memcpy(&n64, from, sizeof n64);
		return n64;
	}
}

static int
put_number(const struct piece *p, int64_t n, void *to)
{
	uint8_t n8 = (uint8_t)n;
	uint16_t n16 = (uint16_t)n;
	uint32_t n32 = (uint32_t)n;

	switch (p->type) {
	case PIECE_8:
		memcpy(to, &n8, sizeof n8);
		return n8 == n ? 0 : -1;
	case PIECE_16:
		memcpy(to, &n16, sizeof n16);
		return n16 == n ? 0 : -1;
	case PIECE_32:
		memcpy(to, &n32, sizeof n32);
		return n32 == n ? 0 : -1;
	default:
		memcpy(to, &n, sizeof n);
		return 0;
	}
}

/* What is empty or 0 is left out. */
static void
write_piece(struct bytes *out, const struct piece *p, const char *from)
{
	char text[ID_TEXT_BYTES];
	struct id id;

	switch (p->type) {
	case PIECE_ID:
		memcpy(&id, from, sizeof id);
		if (id_is_none(id))
			return;
		id_text("", id, text);
		bytes_printf(out, ",\"%s\":\"%s\"", p->name, text);
		return;
	case PIECE_TEXT:
		if (from[0] == '\0')
			return;
		bytes_printf(out, ",\"%s\":", p->name);
		bytes_json(out, (struct span){ from, strnlen(from, p->size) });
		return;
	case PIECE_DECISION:
		write_decision(out, p->name, from);
		return;
	default:
		if (number_of(p, from) != 0)
			bytes_printf(out, ",\"%s\":%" PRId64, p->name, number_of(p, from));
		return;
	}
}

static int
read_piece(struct json_value v, const struct piece *p, char *to)
{
	char text[TEXT_MAX];
	struct id id;
	int64_t n;

	switch (p->type) {
	case PIECE_ID:
		if (json_string(v, text, sizeof text) < 0 || id_parse("", text, &id) != 0)
			return -1;
		memcpy(to, &id, sizeof id);
		return 0;
	case PIECE_TEXT:
		if (json_string(v, text, sizeof text) < 0)
			return -1;
		(void)span_copy(span_of(text), to, p->size);
		return 0;
	case PIECE_DECISION:
		return read_decision(v, to);
	default:
		return json_int(v, &n) != 0 ? -1 : put_number(p, n, to);
	}
}

int
journal_write_line(const struct usage_row *row, struct bytes *out)
{
	struct bytes json = BYTES_LIMIT(JOURNAL_LINE_MAX - CRC_CHARS - 2);
	int rc = -1;

	bytes_puts(&json, "{\"journal\":1");
	for (size_t i = 0; i < PIECES; i++)
		write_piece(&json, &pieces[i], (const char *)row + pieces[i].at);
	bytes_puts(&json, "}");
	if (!json.failed)
		rc = bytes_printf(
			out, "%08" PRIx32 " %s\n", hash_crc32(json.at, json.len), json.at);
	bytes_free(&json);
	return rc;
}

struct reading {
	struct usage_row *row;
	bool damaged;
};

static bool
take_member(void *ctx, const struct json_member *m)
{
	struct reading *r = ctx;

	for (size_t i = 0; i < PIECES; i++)
		if (span_is(m->key, pieces[i].name))
			r->damaged |= read_piece(m->value, &pieces[i],
					      (char *)r->row + pieces[i].at) != 0;
	return true;
}

int
journal_read_line(struct span line, struct usage_row *row)
{
	struct reading r = { row, false };
	char want[CRC_CHARS + 1];

	memset(row, 0, sizeof *row);
	if (line.len > 0 && line.at[line.len - 1] == '\n')
		line.len--;
	if (line.len < CRC_CHARS + 2 || line.at[CRC_CHARS] != ' ')
		return -1;
	(void)snprintf(want, sizeof want, "%08" PRIx32,
		hash_crc32(line.at + CRC_CHARS + 1, line.len - CRC_CHARS - 1));
	if (memcmp(want, line.at, CRC_CHARS) != 0)
		return -1;
	line.at += CRC_CHARS + 1;
	line.len -= CRC_CHARS + 1;
	if (json_each(line, take_member, &r, NULL) != 0 || r.damaged || id_is_none(row->exchange))
		return -1;
	return 0;
}

/* ---- writing ---- */

struct journal *
journal_new(const char *dir, struct err *err)
{
	struct journal *j = calloc(1, sizeof *j);

	if (j == NULL || snprintf(j->dir, sizeof j->dir, "%s/journal", dir) >= (int)sizeof j->dir) {
		free(j);
		err_set(err, ERR_MEMORY, "no memory for the journal");
		return NULL;
	}
	j->fd = -1;
	pthread_mutex_init(&j->mutex, NULL);
	return j;
}

/* The lock goes with the descriptor: from here on the file is anybody's. */
static void
let_go(struct journal *j)
{
	if (j->fd >= 0)
		(void)close(j->fd);
	j->fd = -1;
	j->bytes = 0;
}

void
journal_free(struct journal *j)
{
	if (j == NULL)
		return;
	let_go(j);
	pthread_mutex_destroy(&j->mutex);
	free(j);
}

static int
fail(struct err *err, const char *what, const char *path)
{
	return err_set(
		err, ERR_STORE_UNAVAILABLE, "journal: %s %s: %s", what, path, strerror(errno));
}

static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	(void)close(fd);
	return rc;
}

static int
begin_file(struct journal *j, struct err *err)
{
	char fresh[PATH_MAX], name[ID_TEXT_BYTES];

	id_text("", id_random(), name);
	if (snprintf(j->path, sizeof j->path, "%s/%d-%s" SUFFIX, j->dir, (int)getpid(), name) >=
			(int)sizeof j->path ||
		snprintf(fresh, sizeof fresh, "%s/%d-%s" FRESH, j->dir, (int)getpid(), name) >=
			(int)sizeof fresh)
		return err_set(err, ERR_STORE_UNAVAILABLE, "journal: the path is too long");
	if (mkdir(j->dir, 02770) != 0 && errno != EEXIST)
		return fail(err, "cannot make", j->dir);
	j->fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0660);
	if (j->fd < 0)
		return fail(err, "cannot make", fresh);
	if (flock(j->fd, LOCK_EX | LOCK_NB) != 0 || rename(fresh, j->path) != 0 ||
		sync_dir(j->dir) != 0) {
		(void)fail(err, "cannot begin", fresh);
		(void)unlink(fresh);
		let_go(j);
		return -1;
	}
	j->bytes = 0;
	return 0;
}

/* What a failed write left is cut off, so that the next line begins on a line of its own. */
static int
append(struct journal *j, const struct bytes *lines, struct err *err)
{
	size_t done = 0;

	while (done < lines->len) {
		ssize_t n = write(j->fd, lines->at + done, lines->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto failed;
		done += (size_t)n;
	}
	if (fdatasync(j->fd) != 0)
		goto failed;
	j->bytes += (int64_t)lines->len;
	return 0;
failed:
	(void)fail(err, "cannot write", j->path);
	if (ftruncate(j->fd, j->bytes) != 0)
		let_go(j);
	return -1;
}

int
journal_add(struct journal *j, const struct usage_row *rows, size_t count, struct err *err)
{
	struct bytes lines = BYTES_LIMIT(count * JOURNAL_LINE_MAX);
	int rc = -1;

	for (size_t i = 0; i < count; i++)
		if (journal_write_line(&rows[i], &lines) != 0) {
			bytes_free(&lines);
			return err_set(err, ERR_MEMORY, "no memory for a line of the journal");
		}
	if (count == 0)
		return 0;
	pthread_mutex_lock(&j->mutex);
	if (j->fd >= 0 && j->bytes + (int64_t)lines.len > JOURNAL_BYTES_MAX) {
		(void)err_set(err, ERR_STORE_UNAVAILABLE, "journal: %s is full", j->path);
		goto unlock;
	}
	if (j->fd < 0 && begin_file(j, err) != 0)
		goto unlock;
	if (j->bytes == 0)
		j->first = rows[0];
	rc = append(j, &lines, err);
unlock:
	pthread_mutex_unlock(&j->mutex);
	bytes_free(&lines);
	return rc;
}

/* ---- replaying ---- */

struct replay {
	struct store *store;
	struct err *err;
	struct usage_row rows[STORE_BOOK_MAX];
	size_t count;
	int booked, damaged;
};

static int
book_rows(struct replay *r)
{
	bool booked[STORE_BOOK_MAX];

	if (r->count == 0)
		return 0;
	if (store_book(r->store, r->rows, r->count, booked, r->err) != 0)
		return -1;
	for (size_t i = 0; i < r->count; i++)
		r->booked += booked[i];
	r->count = 0;
	return 0;
}

/* A last line without its end was never promised to anybody. */
static int
replay_text(struct replay *r, struct span text)
{
	const char *end;

	while (text.len > 0 && (end = memchr(text.at, '\n', text.len)) != NULL) {
		size_t len = (size_t)(end - text.at) + 1;

		if (journal_read_line((struct span){ text.at, len }, &r->rows[r->count]) == 0)
			r->count++;
		else
			r->damaged++;
		if (r->count == STORE_BOOK_MAX && book_rows(r) != 0)
			return -1;
		text.at += len;
		text.len -= len;
	}
	return book_rows(r);
}

static int
read_all(int fd, struct bytes *out)
{
	char piece[65536];
	ssize_t n;

	while ((n = read(fd, piece, sizeof piece)) > 0)
		if (bytes_add(out, piece, (size_t)n) != 0)
			return -1;
	return n == 0 ? 0 : -1;
}

/* 0, also when its writer lives or another was faster; -1. */
static int
replay_file(struct replay *r, const char *path)
{
	struct bytes text = BYTES_LIMIT(READ_MAX);
	char kept[PATH_MAX + 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : fail(r->err, "cannot read", path);
	if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
		(void)close(fd);
		return 0;
	}
	if (read_all(fd, &text) != 0)
		rc = fail(r->err, "cannot read", path);
	(void)close(fd); /* and with it the lock: no call of the store is made under it */
	r->count = 0;
	r->damaged = 0;
	if (rc == 0)
		rc = replay_text(r, bytes_span(&text));
	bytes_free(&text);
	if (rc != 0)
		return -1;
	if (r->damaged > 0) {
		(void)snprintf(kept, sizeof kept, "%s.damaged", path);
		log_write(LOG_ERROR, "journal", "%d lines of %s cannot be read; see %s", r->damaged,
			path, kept);
		(void)rename(path, kept);
	} else {
		(void)unlink(path);
	}
	return 0;
}

/* Our own file is let go when the store takes its first row. */
static int
end_own(struct journal *j, struct store *store, struct err *err)
{
	struct usage_row first;
	bool booked, any;

	pthread_mutex_lock(&j->mutex);
	any = j->fd >= 0;
	first = j->first;
	pthread_mutex_unlock(&j->mutex);
	if (!any)
		return 0;
	if (store_book(store, &first, 1, &booked, err) != 0)
		return -1;
	pthread_mutex_lock(&j->mutex);
	let_go(j);
	pthread_mutex_unlock(&j->mutex);
	return booked;
}

static bool
is_journal(const char *name)
{
	size_t len = strlen(name);

	return len > sizeof SUFFIX - 1 && strcmp(name + len - (sizeof SUFFIX - 1), SUFFIX) == 0;
}

int
journal_replay(struct journal *j, struct store *store, struct err *err)
{
	struct replay *r;
	struct dirent *e;
	DIR *dir = opendir(j->dir);
	int rc = 0, booked;

	if (dir == NULL)
		return 0; /* never needed */
	booked = end_own(j, store, err);
	r = booked < 0 ? NULL : calloc(1, sizeof *r);
	if (r == NULL) {
		(void)closedir(dir);
		return booked < 0 ? -1 : err_set(err, ERR_MEMORY, "no memory for a replay");
	}
	r->store = store;
	r->err = err;
	r->booked = booked;
	while (rc == 0 && (e = readdir(dir)) != NULL) {
		char path[PATH_MAX];

		if (is_journal(e->d_name) &&
			snprintf(path, sizeof path, "%s/%s", j->dir, e->d_name) < (int)sizeof path)
			rc = replay_file(r, path);
	}
	(void)closedir(dir);
	booked = r->booked;
	free(r);
	if (booked > 0)
		log_write(LOG_INFO, "journal", "%d exchanges of an outage are booked", booked);
	return rc != 0 ? -1 : booked;
}
