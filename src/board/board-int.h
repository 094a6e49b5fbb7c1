/*
 * board-int.h - the layout of the file and what the room's sources share.
 *
 *   head | lease heads | lease bodies | keys | segment 0 of rows | segment 1 | ...
 *
 * All that a section changes is made of 64-bit words, so that one undo entry is {offset in the
 * file, old value}.  Heads of leases lie apart from their bodies: a scan for dead owners touches
 * 64 bytes a lease and leaves the notes' pages alone.  A file that is all zero behind its head is
 * a valid empty board, so making one costs no more than its blocks.
 */
#ifndef BOARD_BOARD_INT_H
#define BOARD_BOARD_INT_H

#include "board/board.h"
#include <pthread.h>
#include <stdatomic.h>

#define BOARD_MAGIC        INT64_C(0x31647261426c7300) /* changes with nothing; the version does */
#define BOARD_VERSION      3
#define BOARD_ROWS         262144 /* of a segment; a power of two */
#define BOARD_SEGMENTS_MAX 16
#define BOARD_LEASES       8192
#define BOARD_PROBES       32            /* rows looked at for a key in each segment */
#define BOARD_KEEP_MS      (2 * 3600000) /* a row outlives its window by this */
#define BOARD_UNDO         512           /* words one section may change */
#define BOARD_OPEN_MS      5000          /* wait for another process that is making the file */
#define BOARD_TICK_LEAST_MS 500
#define BOOT_ID_BYTES      37

/* A counter.  `life` is 0 for a row never used (it ends a probe, and never comes back but by an
 * undo), else 1 + the number of leases that hold a claim on it. */
struct row {
	_Atomic int64_t key[2];
	_Atomic int64_t spent, reserved;
	_Atomic int64_t start_ms, end_ms;
	_Atomic int64_t life;
	_Atomic int64_t told; /* the highest share of a cap that was told of */
};
_Static_assert(sizeof(struct row) == 64, "a row is a cache line");

/* serial 0: free.  owner 0 with a serial: its owner went with an earlier boot. */
struct lease_head {
	_Atomic int64_t serial;
	_Atomic int64_t owner, reaper; /* see owner_pack */
	_Atomic int64_t exchange[2];
	_Atomic int64_t count;
	_Atomic int64_t next; /* in the free list: index + 1 */
	_Atomic int64_t cut;  /* the serial that was asked to end */
};
_Static_assert(sizeof(struct lease_head) == 64, "a lease head is a cache line");

/* A page each, so that none is torn over pages when the machine dies. */
struct lease_body {
	int64_t serial; /* the head's; another one after a reboot tells a torn lease */
	int64_t spare[7];
	struct {
		int64_t row; /* its number over all segments; -1: it went with an earlier board */
		int64_t key; /* second half of the row's key */
		_Atomic int64_t amount;
		int64_t slice; /* of a rolling window, that it was taken in */
	} claim[BOARD_CLAIMS_MAX];
	_Alignas(8) unsigned char note[BOARD_NOTE_BYTES];
};
_Static_assert(sizeof(struct lease_body) == 4096, "a body fills a page");

struct key_slot {
	_Atomic int64_t id[2]; /* 0: free; the halves are set one after the other by CAS */
	struct board_key key;
};
_Static_assert(sizeof(struct key_slot) == 64, "a key is a cache line");

/* Board time as a line: base + time passed + slew, of which a tenth of the time passed is in. */
struct line {
	_Atomic int64_t boot_ms, base_ms, slew_ms;
};

/* What must be equal for two programs to share a board. */
struct layout {
	int64_t magic;
	int32_t version, head_bytes;
	int64_t rows, segments_max, leases, keys, note_bytes, claims_max;
	int64_t crc; /* of the fields before it */
};

struct head {
	struct layout layout;
	char boot_id[BOOT_ID_BYTES];
	uint64_t hash_key[2]; /* of counters' names; made with the file */
	_Atomic int64_t made_ms;
	_Atomic int64_t segments;

	_Alignas(64) pthread_mutex_t mutex;
	/* under the mutex */
	_Alignas(64) _Atomic int64_t serial; /* last one given */
	_Atomic int64_t free_lease;          /* index + 1 */
	_Atomic int64_t leases_high, leases_used;
	_Atomic int64_t rows_used;
	_Atomic int64_t undo_count;
	struct {
		int64_t offset, old;
	} undo[BOARD_UNDO];

	_Alignas(64) struct line line[2];
	_Atomic uint64_t line_turn; /* line[turn & 1] is the one in force */
	_Alignas(64) _Atomic uint64_t generation;
	_Alignas(64) _Atomic int64_t rollbacks;
	struct {
		_Alignas(64) _Atomic int64_t n;
	} count[BOARD_COUNTS];
};

/* Zeros mean the real thing; tests make boards small and clocks their own. */
struct board_options {
	int64_t rows, segments_max, leases;
	const char *boot_id;
	int64_t (*wall_ms)(void);
	int64_t (*boot_ms)(void);
	void (*step)(void); /* called between the changes of a section: a place to die in */
};

struct board {
	struct roster *roster;
	struct board_options o;
	int fd;
	struct head *head;
	struct lease_head *leases;
	struct lease_body *bodies;
	struct key_slot *keys;
	size_t base_bytes; /* of the file before its rows */
	struct row *segment[BOARD_SEGMENTS_MAX];
	int segments;            /* mapped here; changed in a section only */
	pthread_mutex_t growing; /* of this process: its threads share one descriptor */
	pthread_mutex_t reaping;
};

struct board *board_open_sized(const char *dir, struct roster *roster,
	const struct board_options *o, struct err *err);
/* Makes one segment more unless there are more than `had` by now. */
int board_grow(struct board *b, int64_t had, struct err *err);

/* ---- section.c ---- */

/* Begins a section with everything mapped and whole.  0 or -1. */
int section_enter(struct board *b, struct err *err);
void section_commit(struct board *b); /* what was changed stays */
void section_undo(struct board *b);   /* as if the section had not been */
void section_leave(struct board *b);
/* Changes a word in the head, the leases, or row `number`. */
void section_change(struct board *b, _Atomic int64_t *word, int64_t value);
void section_change_row(struct board *b, int64_t number, _Atomic int64_t *word, int64_t value);
int section_mutex_make(struct head *head);
/* Waits BOARD_LOCK_MS at most: 0, ETIMEDOUT, EOWNERDEAD or another errno. */
int section_lock(pthread_mutex_t *m);

/* ---- counter.c ---- */

/* In a section.  The row's number, or -1 with *room (may be NULL) a row to make it in, or -1. */
int64_t counter_find(struct board *b, const uint64_t key[2], int64_t now_ms, int64_t *room);
struct row *counter_row(const struct board *b, int64_t number);
/* Makes the claim's row where counter_find() had room. */
void counter_make(struct board *b, int64_t number, const struct board_claim *c);
/* Reserves `amount`, or all there is room for when the cap is INT64_MAX, and says in *v what was
 * there before.  How much it took, or -1: too much for the cap. */
int64_t counter_reserve(struct board *b, int64_t number, int64_t amount, int64_t cap,
	struct board_verdict *v);
/* Which of the shares in `warn` the counter's use reaches for the first time, as bits. */
uint8_t counter_tell(struct board *b, int64_t number, const int64_t warn[BOARD_WARNS_MAX]);

/* v + add, which is >= 0, held at the end of int64_t. */
static inline int64_t
add_held(int64_t v, int64_t add)
{
	int64_t sum;

	return __builtin_add_overflow(v, add, &sum) ? INT64_MAX : sum;
}

/* ---- slew.c ---- */
void clock_make(struct board *b);

static inline int64_t
word_get(const _Atomic int64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static inline void
word_set(_Atomic int64_t *word, int64_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

#endif
