/*
 * zone.h - time zones by their IANA names, read from the system's files without touching TZ, so that
 * any number of them serve one process.  A zone is immutable once loaded: safe over threads.
 */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include "base/err.h"
#include <stdint.h>

#define ZONE_NAME_BYTES 48
#define ZONE_FILE_MAX   65536 /* of a zone's file */

struct zone;

/* "Europe/Berlin".  NULL with *err: ERR_BAD_REQUEST for a name there is no zone of, else ERR_MEMORY
 * or ERR_INTERNAL for a damaged file.  Reads a file. */
struct zone *zone_load(const char *name, struct err *err);
void zone_free(struct zone *z); /* NULL is fine */

/* Seconds that local time is ahead of UTC at that moment.  z NULL: UTC. */
int64_t zone_offset_s(const struct zone *z, int64_t utc_s);
/* The first moment at which clocks there show that local time (seconds since 1970 as if local time
 * were UTC) or, where they skip it, the moment they skip. */
int64_t zone_utc_s(const struct zone *z, int64_t local_s);

#endif
