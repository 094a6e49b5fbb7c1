/*
 * record.h - a decision in few bytes, as it is kept beside its row of usage, for `explain`.
 *
 * Pure and bounded; any thread.  Some 50 bytes where one key could be asked, and always at most
 * DECISION_BYTES: what does not fit is left out, first the members that were neither tried nor next
 * from the last to the first, then those that would have been next, then those tried; how many is
 * in member_left.  Attempts and counts are always there.
 */
#ifndef ROUTE_RECORD_H
#define ROUTE_RECORD_H

#include "route/route.h"
#include <stddef.h>

/* An attempt whose member found no room. */
#define ROUTE_MEMBER_LEFT UINT8_MAX

/* Leaves out those who would only have been next, but for the first `most` of them: who else was free is
 * told by few.  The others are in member_left. */
void route_record_shorten(struct route_record *r, int most);
/* Bytes written, or -1: not even the attempts fit into room (never with DECISION_BYTES). */
ptrdiff_t route_record_encode(const struct route_record *r, uint8_t *out, size_t room);
/* 0; or -1 when the bytes are none of a record, or of a program that has another form of it.  Any
 * bytes may come. */
int route_record_decode(const uint8_t *data, size_t len, struct route_record *out);

/* "?" for a number that nobody knows. */
const char *route_affinity_name(uint8_t affinity); /* "none", "new", "kept", "moved", "away" */
const char *route_on_name(uint8_t on);             /* "start", "error", "context", "filter", "price" */

#endif
