/*
 * quota.h - what is known of the quotas of a provider key, or of a key at one model, and how it is used.
 *
 * One record each, shared by all processes, found by the id of its target (board/target.h).  All of it
 * is words, changed one by one by atomic operations: no mutex, and any thread may, the loop too.  What
 * belongs together and is written together is written by whoever has the window's `busy` word
 * (board_quota_claim); a reader may see half of such a change, and what it then concludes holds until the
 * next answer.  What the words mean is route's business (route/forecast.h); this room only keeps them.
 */
#ifndef BOARD_QUOTA_H
#define BOARD_QUOTA_H

#include "board/target.h"
#include <stdatomic.h>

#define BOARD_QUOTAS        4096
#define BOARD_QUOTA_WINDOWS 6
#define BOARD_QUOTA_SLOTS   12 /* of a ring */
#define BOARD_QUOTA_DAY     24 /* of the ring of hours */
#define BOARD_QUOTA_UNITS   5  /* requests, tokens, input, output, share: as enum quota_unit */
#define BOARD_QUOTA_MODEL   64

/* Use in one slot of time: the slot's number (24 bits) and what was used in it (40 bits), in one word, so
 * that ageing writes nothing. */
typedef _Atomic int64_t board_quota_slot;

struct board_quota_window {
	_Atomic int64_t busy;      /* board time at which somebody began to write; 0: nobody */
	_Atomic int64_t what;      /* route's: unit, kind, how it turns; 0: not used */
	_Atomic int64_t length_ms; /* 0: not known yet */
	_Atomic int64_t capacity;  /* -1: not known */
	_Atomic int64_t remaining; /* as last told, or what a new window began with; -1: never */
	_Atomic int64_t told_ms;   /* board time of that */
	_Atomic int64_t mark;      /* of `begun` at that: what was begun since is not in it */
	_Atomic int64_t reset_ms;  /* board time: the window's end, or when a bucket is full; 0: not known */
	_Atomic int64_t votes;     /* > 0: it refills all the time; < 0: it turns at its reset */
	_Atomic int64_t anchor_ms, anchor_remaining, anchor_mark, anchor_reset_ms; /* an earlier telling */
	_Atomic int64_t foreign;   /* used by others, in millionths a second */
	_Atomic int64_t ceiling;   /* learned: what it was when it was exceeded last */
	_Atomic int64_t clean;     /* learned: windows in a row, well used, that went well */
	_Atomic int64_t patience;  /* learned: so many of them before more is tried */
	_Atomic int64_t clean_ms;  /* learned: when the last of them was counted */
	_Atomic int64_t canary_ms, canary_step_ms; /* used up: when one call may find out, and the next after */
	_Atomic int64_t rate;      /* foreseen: use in thousandths a minute, others' included; for people */
	_Atomic int64_t dry_ms, spread_ms, confidence_ppm, uncertainty; /* … 0: it does not run dry before its reset */
	_Atomic int64_t stage;     /* route's: what people were told of it */
	_Atomic int64_t stage_ms;  /* until then nothing better is said */
	board_quota_slot slot[BOARD_QUOTA_SLOTS]; /* of length / (SLOTS - 1) each */
};

struct board_quota {
	_Alignas(64) _Atomic int64_t whole[2]; /* the key's id: of a record at one model, else its own */
	_Atomic int64_t model[BOARD_QUOTA_MODEL / 8]; /* its name, cut; zeros: of all */
	_Atomic int64_t parts; /* of a key: 1 + index of its latest record at a model; 0: none */
	_Atomic int64_t next;  /* of such a record: the key's next one, the same way */
	_Atomic int64_t linked;
	_Atomic int64_t of_upstream; /* 1: `whole` is an upstream without keys */
	_Atomic int64_t target; /* bytes from here to its target, in the same mapping; 0: not known yet */
	_Atomic int64_t born_ms, seen_ms, made_ms; /* first and last call; when it was foreseen last */
	_Atomic int64_t given; /* hash of what a person gave */
	_Atomic int64_t begun[BOARD_QUOTA_UNITS];     /* used since ever, calls under way included */
	_Atomic int64_t usual[BOARD_QUOTA_UNITS];     /* of a call, decayed */
	_Atomic int64_t deviation[BOARD_QUOTA_UNITS]; /* mean, decayed */
	board_quota_slot minutes[2][BOARD_QUOTA_SLOTS]; /* requests and tokens, in slots of five minutes … */
	board_quota_slot hours[2][BOARD_QUOTA_DAY];     /* … and of an hour */
	struct board_quota_window window[BOARD_QUOTA_WINDOWS];
};

/* Made when it is not there; never goes.  NULL when the table is full.  [loop] */
struct board_quota *board_quota(struct board *b, struct id id);
/* NULL when it is not there.  [loop] */
struct board_quota *board_quota_find(struct board *b, struct id id);
/* The nth place of the table, 0 to BOARD_QUOTAS - 1, with the id of its target; NULL: empty. */
struct board_quota *board_quota_at(struct board *b, int n, struct id *id);
/* Says that `part` is of the key at that model; once is enough.  [loop] */
void board_quota_link(struct board *b, struct board_quota *key, struct id key_id,
	struct board_quota *part, const char *model, size_t len);
/* The first, and the next, record at a model of a key; NULL: no more. */
struct board_quota *board_quota_part(struct board *b, const struct board_quota *q);

/* May this thread write what belongs together?  Never waits; a death within is mended after a second. */
bool board_quota_claim(struct board *b, struct board_quota_window *w);
void board_quota_release(struct board_quota_window *w);

/* Adds to the slot that at_ms is in; add may be < 0 (what is there never gets below 0). */
void board_quota_slot_add(board_quota_slot *ring, int slots, int64_t slot_ms, int64_t at_ms, int64_t add);
/* What slot number n (time / slot_ms) holds: 0 when the ring has none of it. */
int64_t board_quota_slot_get(const board_quota_slot *ring, int slots, int64_t n);

#endif
