/*
 * share.h - words of a pool's members: how far each is with its turns, and how much it was used
 * lately.  Shared by all processes, found by pool and member; the pool of a route is the route.
 *
 * What the words mean together is route's business (route/share.c).  Any thread may, the loop too.
 */
#ifndef BOARD_SHARE_H
#define BOARD_SHARE_H

#include "board/board.h"
#include <stdatomic.h>

#define BOARD_SHARES      65536
#define BOARD_SHARES_NEAR 64       /* places looked at for one member */
#define BOARD_SHARES_SPAN 2048     /* where those of one pool lie, if they can */
#define BOARD_SHARE_OLD_S 86400    /* one not used for so long may be given to another member */
#define BOARD_SHARE_HALF_S 256     /* after which a use counts half */
#define BOARD_SHARE_ONE   256      /* a use in `use` */

struct board_share {
	_Atomic int64_t tag;  /* of pool and member; 0: free */
	_Atomic int64_t at;   /* 0: never had a turn */
	_Atomic int64_t use;  /* uses, decayed, in BOARD_SHARE_ONEs << 32 | second of board time */
	_Atomic int64_t spare;
};
_Static_assert(sizeof(struct board_share) == 32, "two to a cache line");

/* Found, or made.  When all places near its own are taken it gets the one of a member that had no
 * turn for a day, who then shares it for as long as somebody still remembers it: its shares are
 * wrong for a while, nothing else.  NULL when there is none either. */
struct board_share *board_share(struct board *b, struct id pool, struct id member);
/* Counts a use. */
void board_share_used(struct board_share *s, int64_t now_ms);

/* How much of `use` is left now. */
static inline int64_t
board_share_use(int64_t use, int64_t now_ms)
{
	uint32_t passed = (uint32_t)(now_ms / 1000) - (uint32_t)use;
	int64_t left = (int64_t)((uint64_t)use >> 32);

	/* A clock that is a little behind another process's has nothing passed. */
	if (passed > UINT32_MAX / 2)
		return left;
	if (passed / BOARD_SHARE_HALF_S > 31)
		return 0;
	left >>= passed / BOARD_SHARE_HALF_S;
	return left - left * (int64_t)(passed % BOARD_SHARE_HALF_S) / (2 * BOARD_SHARE_HALF_S);
}

#endif
