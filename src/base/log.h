/*
 * log.h - the log: one JSON line an event, on stderr or in a file.
 *
 * Callers never wait for a disk: lines go into a bounded ring that log_flush() empties (the clerk
 * thread each second, and at exit).  When it is full, lines are dropped and the next line that
 * fits tells how many.  The writer takes named, typed fields; there is no way to hand it a header.
 * Safe over threads; after fork() call log_open() again.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* path NULL: stderr.  program: named in each line.  0 or -1 with *err. */
int log_open(const char *path, const char *program, enum log_level least, struct err *err);
/* Makes log_write() write through at once: for the command and for start-up. */
void log_unbuffered(void);

/* what: a short fixed name of the event ("recovered").  The rest are printf-style plain words,
 * composed from things that are no secrets. */
void log_write(enum log_level level, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One line about an exchange: request_id may be NULL. */
void log_request(enum log_level level, const char *what, const char *request_id, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Writes out what waits.  Called by one thread at a time; may block on the disk. */
void log_flush(void);
void log_close(void);

#endif
