/*
 * affinity.h - whom a session, or a prompt's beginning, was sent to last.  Shared by all processes.
 *
 * A fixed number of places: a new one goes to the place near its own that was used the longest ago.
 * All of it is words; a reader that meets a place just being given away may be told the wrong
 * member, which is only a worse choice.  Any thread may, the loop too.
 */
#ifndef BOARD_AFFINITY_H
#define BOARD_AFFINITY_H

#include "board/board.h"

#define BOARD_AFFINITIES      16384
#define BOARD_AFFINITIES_NEAR 16

/* The member, never 0; or 0: none is known, or its time is over: `sliding_ms` since the last
 * call, `most_ms` since the first.  key: board_counter_key(). */
int64_t board_affinity(const struct board *b, const uint64_t key[2], int64_t sliding_ms, int64_t most_ms);
/* It went to that member now.  is_new: its times begin anew. */
void board_affinity_keep(struct board *b, const uint64_t key[2], int64_t member, bool is_new);

#endif
