/*
 * journal.h - rows that could not be booked, for projects that go on without the store: one file of
 * lines in dir/journal for each process and outage, replayed once the store works.
 *
 * A line is a checksum and a row as JSON by names, so that any version reads it.  A file belongs to
 * its writer as long as that holds its lock; afterwards any process may replay it, and removes it
 * when all of it is booked.  Booking is idempotent by the exchange's id, so two that replay one file
 * do no harm, nor does a row that a reaper has booked.
 *
 * Safe over threads.  journal_add() blocks on the disk, journal_replay() as store.h says; no lock
 * is held across a call of the store.
 */
#ifndef SETTLE_JOURNAL_H
#define SETTLE_JOURNAL_H

#include "base/bytes.h"
#include "store/store.h"

#define JOURNAL_BYTES_MAX (64 * 1024 * 1024) /* of one file; some 70,000 rows */
#define JOURNAL_LINE_MAX  16384

struct journal;

/* dir: the state directory.  Nothing is made before it is needed. */
struct journal *journal_new(const char *dir, struct err *err);
/* What is in its file stays, for whoever replays it. */
void journal_free(struct journal *j);

/* Durable when it returns 0: all of them, or -1 with ERR_STORE_UNAVAILABLE and at worst some. */
int journal_add(struct journal *j, const struct usage_row *rows, size_t count, struct err *err);

/* Books what lies in the directory, this process's own file too as soon as the store takes its
 * first row.  Returns how many rows were booked by this call, -1 when the store does not take them.
 * A damaged file is kept as NAME.damaged once its good lines are booked, and logged. */
int journal_replay(struct journal *j, struct store *store, struct err *err);

/* One row as a line, "\n" included; and back: 0, or -1 when the line is damaged. */
int journal_write_line(const struct usage_row *row, struct bytes *out);
int journal_read_line(struct span line, struct usage_row *row);

#endif
