/*
 * log.c - lines are composed on the caller's stack and copied into the ring under a mutex that
 * nobody holds while waiting; the disk is met in log_flush() alone.
 *
 * The flusher writes straight from the ring: what waits there is not touched by others until the
 * flusher itself moves `tail` on.
 */
#include "base/log.h"

#include "base/bytes.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define RING_BYTES    (1024 * 1024) /* some 5,000 lines: what a second of trouble writes */
#define TEXT_BYTES    1024          /* of the words of one line; the rest is cut */
#define NAME_BYTES    64            /* of event, request id, program */
#define LINE_BYTES    8192          /* all of these at six bytes for one (\u0001), and the frame */
#define DEFAULT_LEAST LOG_INFO

_Static_assert(6 * (TEXT_BYTES + 3 * NAME_BYTES) + 256 < LINE_BYTES, "every line fits");

static struct {
	pthread_mutex_t lock;     /* head, tail, dropped: held for copies in memory only */
	pthread_mutex_t flushing; /* fd; taken before lock, held while writing */
	char ring[RING_BYTES];
	size_t head, tail; /* bytes ever put in and taken out */
	uint64_t dropped;  /* lines since the last one that fitted */
	int fd;
	pid_t pid; /* who opened it; 0: nobody yet */
	char program[NAME_BYTES];
	atomic_int least;
	atomic_bool through; /* write at once; true until log_open(), as nobody flushes before */
} lg = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.flushing = PTHREAD_MUTEX_INITIALIZER,
	.fd = STDERR_FILENO,
	.program = "sluice",
	.least = DEFAULT_LEAST,
	.through = true,
};

int
log_open(const char *path, const char *program, enum log_level least, struct err *err)
{
	int fd = STDERR_FILENO;
	bool stderr_only = path == NULL || path[0] == '\0';

	if (!stderr_only) {
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
		if (fd < 0)
			return err_set(err, ERR_INTERNAL, "log file %s: %s", path, strerror(errno));
	}

	if (lg.pid != 0 && lg.pid != getpid()) {
		/* After fork() another thread of the parent may hold the locks for ever, and what
		 * waits in the ring is the parent's to write. */
		(void)pthread_mutex_init(&lg.lock, NULL);
		(void)pthread_mutex_init(&lg.flushing, NULL);
		lg.head = lg.tail = 0;
		lg.dropped = 0;
	} else {
		log_flush();
	}

	(void)pthread_mutex_lock(&lg.flushing);
	if (lg.fd != STDERR_FILENO)
		(void)close(lg.fd);
	lg.fd = fd;
	lg.pid = getpid();
	(void)pthread_mutex_lock(&lg.lock);
	/* At a HUP it is the same, and other threads are reading it. */
	if (strcmp(program, lg.program) != 0)
		(void)span_copy(span_of(program), lg.program, sizeof lg.program);
	(void)pthread_mutex_unlock(&lg.lock);
	(void)pthread_mutex_unlock(&lg.flushing);
	atomic_store(&lg.least, (int)least);
	atomic_store(&lg.through, false);
	return 0;
}

void
log_unbuffered(void)
{
	atomic_store(&lg.through, true);
	log_flush();
}

/* ---- lines ---- */

/* What is longer is cut, not refused. */
static void
add_json(struct bytes *line, const char *text, size_t most)
{
	(void)bytes_json(line, (struct span){ text, strnlen(text, most) });
}

static void
compose(struct bytes *line, enum log_level level, const char *what, const char *request_id,
	const char *text)
{
	static const char *const levels[] = { "debug", "info", "warn", "error" };
	char now[CLOCK_TEXT_BYTES];

	clock_rfc3339(clock_wall_ms(), now);
	(void)bytes_printf(
		line, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":", now, levels[level]);
	add_json(line, lg.program, NAME_BYTES);
	(void)bytes_printf(line, ",\"pid\":%ld,\"event\":", (long)getpid());
	add_json(line, what, NAME_BYTES);
	if (request_id != NULL) {
		(void)bytes_puts(line, ",\"request_id\":");
		add_json(line, request_id, NAME_BYTES);
	}
	(void)bytes_puts(line, ",\"text\":");
	add_json(line, text, TEXT_BYTES);
	(void)bytes_puts(line, "}\n");
}

static size_t
ring_free(void)
{
	return RING_BYTES - (lg.head - lg.tail);
}

static void
ring_put(const char *data, size_t len)
{
	size_t at = lg.head % RING_BYTES, first = RING_BYTES - at;

	if (first > len)
		first = len;
	memcpy(lg.ring + at, data, first);
	memcpy(lg.ring, data + first, len - first);
	lg.head += len;
}

static void
put(const struct bytes *line)
{
	char room[LINE_BYTES];
	struct bytes note = { .at = room, .room = sizeof room, .limit = sizeof room - 1 };
	char text[64];

	(void)pthread_mutex_lock(&lg.lock);
	if (lg.dropped > 0) {
		(void)snprintf(text, sizeof text, "%llu lines were lost: the log was full",
			(unsigned long long)lg.dropped);
		compose(&note, LOG_WARN, "log_full", NULL, text);
	}
	if (line->failed || ring_free() < note.len + line->len) {
		lg.dropped++;
	} else {
		ring_put(note.at, note.len);
		ring_put(line->at, line->len);
		lg.dropped = 0;
	}
	(void)pthread_mutex_unlock(&lg.lock);
}

static void
write_line(enum log_level level, const char *what, const char *request_id, const char *fmt,
	va_list args)
{
	char room[LINE_BYTES], text[TEXT_BYTES + 1];
	struct bytes line = { .at = room, .room = sizeof room, .limit = sizeof room - 1 };

	if ((int)level < atomic_load_explicit(&lg.least, memory_order_relaxed))
		return;
	if (level > LOG_ERROR)
		level = LOG_ERROR;
	if (vsnprintf(text, sizeof text, fmt, args) < 0)
		text[0] = '\0';
	compose(&line, level, what, request_id, text);
	put(&line);
	if (atomic_load_explicit(&lg.through, memory_order_relaxed))
		log_flush();
}

void
log_write(enum log_level level, const char *what, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	write_line(level, what, NULL, fmt, args);
	va_end(args);
}

void
log_request(enum log_level level, const char *what, const char *request_id, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	write_line(level, what, request_id, fmt, args);
	va_end(args);
}

/* ---- the disk ---- */

void
log_flush(void)
{
	(void)pthread_mutex_lock(&lg.flushing);
	for (;;) {
		struct iovec part[2];
		size_t at, len;
		ssize_t n;

		(void)pthread_mutex_lock(&lg.lock);
		at = lg.tail % RING_BYTES;
		len = lg.head - lg.tail;
		(void)pthread_mutex_unlock(&lg.lock);
		if (len == 0)
			break;

		/* In one call, so that a line that wraps is not cut by another process's. */
		part[0].iov_base = lg.ring + at;
		part[0].iov_len = len < RING_BYTES - at ? len : RING_BYTES - at;
		part[1].iov_base = lg.ring;
		part[1].iov_len = len - part[0].iov_len;
		n = writev(lg.fd, part, part[1].iov_len > 0 ? 2 : 1);
		if (n < 0 && errno == EINTR)
			continue;
		/* Disk full, pipe full, nobody reads: what waits is tried again at the next flush. */
		if (n <= 0)
			break;
		(void)pthread_mutex_lock(&lg.lock);
		lg.tail += (size_t)n;
		(void)pthread_mutex_unlock(&lg.lock);
	}
	(void)pthread_mutex_unlock(&lg.flushing);
}

void
log_close(void)
{
	log_flush();
	(void)pthread_mutex_lock(&lg.flushing);
	if (lg.fd != STDERR_FILENO)
		(void)close(lg.fd);
	lg.fd = STDERR_FILENO;
	lg.pid = 0;
	(void)pthread_mutex_unlock(&lg.flushing);
	atomic_store(&lg.through, true);
}
