/*
 * board-int.h - the layout of the file and what the room's sources share.
 *
 *   head | lease heads | lease bodies | regions | segment | segment | ...
 *
 * A region is an array of records that are reached by words alone (enum region); all zero is empty.
 *
 * A segment holds records of one of the three tables; the head says of which.  A table has as many
 * as it came to need.
 *
 * All that a section changes is made of 64-bit words, so that one undo entry is {offset in the
 * file, old value}.  Heads of leases lie apart from their bodies: a scan for dead owners touches
 * 64 bytes a lease and leaves the notes' pages alone.  A file that is all zero behind its head is
 * a valid empty board, so making one costs no more than its blocks.
 */
#ifndef BOARD_BOARD_INT_H
#define BOARD_BOARD_INT_H

#include "board/affinity.h"
#include "board/board.h"
#include "board/event.h"
#include "board/quota.h"
#include "board/share.h"
#include "board/target.h"
#include "board/waiter.h"
#include <pthread.h>
#include <stdatomic.h>

#define BOARD_MAGIC        INT64_C(0x31647261426c7300) /* changes with nothing; the version does */
#define BOARD_VERSION      4
#define BOARD_ROWS         262144 /* of the size of a row, make a segment */
#define BOARD_SEGMENTS_MAX 16     /* of each table: 4 million rows or keys, 256 thousand rings */
#define BOARD_LEASES       8192
#define BUCKET_RECORDS     32
#define BOARD_HINTS        4096          /* refs a process remembers */
#define BOARD_KEEP_MS      (2 * 3600000) /* a row outlives its window by this */
#define BOARD_UNDO         512           /* words one section may change, see UNDO_WORST */
#define BOARD_HUNGRY_MS    5             /* wait for the mutex that others shall make way for */
#define BOARD_OPEN_MS      5000          /* wait for another process that is making the file */
#define BOARD_TICK_LEAST_MS 500
#define BOOT_ID_BYTES      37

enum kind { ROWS, RINGS, REPEATS, TABLES };

/* A bucket is this and BUCKET_RECORDS records: 16 bits of each one's key, 0 for one never used. */
struct tags {
	_Atomic int64_t word[BUCKET_RECORDS / 4];
};
_Static_assert(sizeof(struct tags) == 64, "the tags of a bucket are a cache line");

/* What the records of all tables begin with.  `life` is 0 for one never used (it ends a search, and
 * never comes back but by an undo), else 1 + the number of leases that hold it. */
struct entry {
	_Atomic int64_t key[2];
	_Atomic int64_t life;
};

/* What counters of both kinds begin with. */
struct counter {
	struct entry e;
	_Atomic int64_t reserved;
	_Atomic int64_t told; /* row: the highest share of a cap told of; ring: see ring_tell() */
};

/* A counter over a calendar window, or for ever. */
struct row {
	struct counter c;
	_Atomic int64_t spent;
	_Atomic int64_t start_ms, end_ms;
};
_Static_assert(sizeof(struct row) == 64, "a row is a cache line");

#define RING_SLOTS (BOARD_SLICES + 1)
#define RING_KEY   UINT64_C(0x9e3779b97f4a7c15) /* times its length is in a ring's key */

/* A counter over a rolling window.  What was spent in slice n of board time is in slot
 * n % RING_SLOTS, which says so; so ageing writes nothing. */
struct ring {
	struct counter c;
	_Atomic int64_t slice_ms;
	struct {
		_Atomic int64_t slice, spent;
	} slot[RING_SLOTS];
};
_Static_assert(sizeof(struct ring) == 1024, "rings fill a segment");

/* An idempotency key.  Its lease holds it while the exchange runs. */
struct repeat {
	struct entry e;
	_Atomic int64_t body[2];
	_Atomic int64_t exchange[2];
	_Atomic int64_t until; /* of one that ended: board time << 16 | status; 0: free */
};
_Static_assert(sizeof(struct repeat) == 64, "an idempotency key is a cache line");

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
	int64_t serial;      /* the head's; another one after a reboot tells a torn lease */
	int64_t repeat;      /* ref of the idempotency key it holds, or -1 */
	int64_t noted_bytes; /* of the note that may be other than zero */
	int64_t spare[5];
	struct {
		int64_t ref; /* of its counter; -1: it went with an earlier board */
		int64_t key; /* second half of the counter's key */
		_Atomic int64_t amount;
		int64_t slice; /* of a rolling window, that it was taken in */
	} claim[BOARD_CLAIMS_MAX];
	_Alignas(8) unsigned char note[BOARD_NOTE_BYTES];
};
_Static_assert(sizeof(struct lease_body) == 4096, "a body fills a page");

/* ---- regions ---- */

struct target_slot {
	_Atomic int64_t id[2]; /* 0: free; the halves are set one after the other by CAS */
	_Alignas(64) struct board_target target;
};
_Static_assert(sizeof(struct target_slot) == 256, "targets keep to cache lines");

/* What happened, in a ring; event.c. */
struct event_head {
	_Atomic int64_t next;     /* events that were begun */
	_Atomic int64_t done;     /* of those, how many a reader is through with */
	_Atomic int64_t reader;   /* owner word */
	_Atomic int64_t restored; /* what was kept is back on this board */
	_Atomic int64_t spare[28];
};
struct event_slot {
	_Atomic int64_t number; /* 0: being written */
	_Atomic int64_t word[31];
};
_Static_assert(sizeof(struct event_head) == sizeof(struct event_slot), "the head is the first slot");

struct quota_slot {
	_Atomic int64_t id[2]; /* as a target's */
	struct board_quota quota;
};
_Static_assert(sizeof(struct quota_slot) % 64 == 0, "records of quotas keep to cache lines");

/* waiter.c tells what the words of the next four mean together. */
#define BOARD_FLOWS 8192

struct wait_head {
	_Alignas(64) _Atomic int64_t serial; /* last one given */
	_Atomic int64_t high;                /* places from here on are free */
};

struct wait_place {
	_Alignas(64) _Atomic int64_t owner; /* 0: free */
	_Atomic int64_t queue;              /* which, 0: none yet */
	_Atomic int64_t serial;
	_Atomic int64_t flow; /* key of it */
	_Atomic int64_t step; /* what a turn takes in virtual time */
	_Atomic int64_t until_ms, beat_ms, since_ms;
	_Atomic int64_t exchange[2];
	_Atomic int64_t passed_ms; /* it is passed over until then */
};
_Static_assert(sizeof(struct wait_place) == 128, "what a scan reads is one cache line");

struct wait_queue {
	_Alignas(64) _Atomic int64_t key;
	_Atomic int64_t generation; /* how often it was given to a pool */
	_Atomic int64_t present;    /* virtual time: where the last turn started */
	_Atomic int64_t seen_ms;    /* somebody waited */
	_Atomic int64_t turned_ms, interval_us;
};
_Static_assert(sizeof(struct wait_queue) == 64, "a queue is a cache line");

struct wait_flow {
	_Atomic int64_t key, queue, next;
	int64_t spare;
};
_Static_assert(sizeof(struct wait_flow) == 32, "flows fill cache lines");

struct affinity {
	_Atomic int64_t key[2], member, first_ms, last_ms, spare[3];
};
_Static_assert(sizeof(struct affinity) == 64, "an affinity is a cache line");

/* In this order in the file; a new one comes last. */
enum region {
	REGION_TARGETS,
	REGION_EVENTS,
	REGION_QUOTAS,
	REGION_WAIT_HEAD, REGION_WAITERS, REGION_QUEUES, REGION_FLOWS,
	REGION_SHARES,
	REGION_AFFINITIES,
	REGIONS
};
#define REGION_SIZES { /* of a record, and how many */ \
	{ sizeof(struct target_slot), BOARD_TARGETS }, \
	{ sizeof(struct event_slot), BOARD_EVENTS + 1 }, \
	{ sizeof(struct quota_slot), BOARD_QUOTAS }, \
	{ sizeof(struct wait_head), 1 }, \
	{ sizeof(struct wait_place), BOARD_WAITERS }, \
	{ sizeof(struct wait_queue), BOARD_QUEUES }, \
	{ sizeof(struct wait_flow), BOARD_FLOWS }, \
	{ sizeof(struct board_share), BOARD_SHARES }, \
	{ sizeof(struct affinity), BOARD_AFFINITIES }, \
}

/* Places of ids (slot.c): each begins with the id's two words, 0 while it is free. */
struct slots {
	void *at;
	size_t bytes; /* of each */
	uint64_t count;
};
static inline void *
slot_at(const struct slots *s, uint64_t n)
{
	return (char *)s->at + n * s->bytes;
}
/* That id's place; NULL: none is free.  is_new: nobody had it before, as far as could be seen. */
void *slot_make(const struct slots *s, struct id id, bool *is_new);
void *slot_find(const struct slots *s, struct id id);

/* Board time as a line: base + time passed + slew, of which a tenth of the time passed is in. */
struct line {
	_Atomic int64_t boot_ms, base_ms, slew_ms;
};

/* The most words a section changes: an admission that makes a ring or row for each of its claims and
 * a place for its idempotency key. */
enum {
	UNDO_MAKE = 5,             /* used, tag, key, life */
	UNDO_CLAIM = UNDO_MAKE + 2 /* reserved, told */ + 3 /* slice_ms, seed */ + 3 /* taken */,
	UNDO_REPEAT = UNDO_MAKE + 6,
	UNDO_LEASE = 5,
	UNDO_WORST = BOARD_CLAIMS_MAX * UNDO_CLAIM + UNDO_REPEAT + UNDO_LEASE,
};
_Static_assert(UNDO_WORST <= BOARD_UNDO, "an admission fits the undo log");
_Static_assert(RING_SLOTS <= BOARD_UNDO, "so does a correction");

/* What must be equal for two programs to share a board. */
struct layout {
	int64_t magic;
	int32_t version, head_bytes;
	int64_t rows, segments_max, leases, region_bytes, note_bytes, claims_max;
	int64_t crc; /* of the fields before it */
};

struct head {
	struct layout layout;
	char boot_id[BOOT_ID_BYTES];
	uint64_t hash_key[2]; /* of counters' names; made with the file */
	_Atomic int64_t made_ms;
	_Atomic int64_t segments;
	_Atomic int64_t table_of[TABLES * BOARD_SEGMENTS_MAX]; /* enum kind of each segment */

	_Alignas(64) pthread_mutex_t mutex;
	_Atomic int64_t hungry_us; /* monotonic: until then one that waits long goes first; 0: none */
	/* under the mutex */
	_Alignas(64) _Atomic int64_t serial; /* last one given */
	_Atomic int64_t free_lease;          /* index + 1 */
	_Atomic int64_t leases_high, leases_used;
	_Atomic int64_t used[TABLES]; /* records that were ever used */
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

/* A table as it is mapped here; changed in a section only. */
struct table {
	int count;
	int64_t buckets; /* of a segment */
	size_t record_bytes, bucket_bytes;
	struct {
		char *at;
		int64_t offset; /* in the file */
	} segment[BOARD_SEGMENTS_MAX];
};

struct board {
	struct roster *roster;
	struct board_options o;
	int fd;
	struct head *head;
	struct lease_head *leases;
	struct lease_body *bodies;
	void *region[REGIONS];
	size_t base_bytes; /* of the file before its segments */
	struct table table[TABLES];
	int64_t hint[BOARD_HINTS]; /* where a key was found last; see table_find() */
	char *segment[TABLES * BOARD_SEGMENTS_MAX]; /* the same, in the file's order */
	int segments;
	pthread_mutex_t growing; /* of this process: its threads share one descriptor */
	pthread_mutex_t reaping;
};

struct board *board_open_sized(const char *dir, struct roster *roster,
	const struct board_options *o, struct err *err);
/* Gives the table one segment more unless it has more than `had` by now. */
int board_grow(struct board *b, enum kind table, int had, struct err *err);
/* The segments of a table in the file. */
int64_t board_segments(const struct board *b, enum kind table);

static inline size_t
segment_bytes(const struct board *b)
{
	return (size_t)b->o.rows * sizeof(struct row);
}

/* ---- section.c ---- */

/* Begins a section with everything mapped and whole.  0 or -1. */
int section_enter(struct board *b, struct err *err);
void section_commit(struct board *b); /* what was changed stays */
void section_undo(struct board *b);   /* as if the section had not been */
void section_leave(struct board *b);
/* Changes a word in the head or the leases, or in the record `ref`. */
void section_change(struct board *b, _Atomic int64_t *word, int64_t value);
void section_change_at(struct board *b, int64_t ref, _Atomic int64_t *word, int64_t value);
int section_map(struct board *b, struct err *err); /* all segments there are: 0 or -1 */
int section_mutex_make(struct head *head);
/* Waits BOARD_LOCK_MS at most: 0, ETIMEDOUT, EOWNERDEAD or another errno. */
int section_lock(pthread_mutex_t *m);

/* ---- table.c: records by key ---- */

/* Names a record of all tables: segment << 39 | bucket << 7 | place in it << 2 | table; -1: none. */
#define REF_BUCKET  7
#define REF_SEGMENT 39

/* In a section.  The record's ref, or -1 with *room (may be NULL) where to make it, or -1. */
int64_t table_find(struct board *b, enum kind table, const uint64_t key[2], int64_t now_ms,
	int64_t *room);
/* In the file, and held by a lease that knows its key: damage must not spread from one lease. */
bool table_holds(const struct board *b, int64_t ref, int64_t key);
/* Names a record that table_find() had room for. */
void table_make(struct board *b, int64_t ref, const uint64_t key[2]);
void table_hold(struct board *b, int64_t ref, int add); /* 1: one lease more, -1: one less */
bool table_has(const struct board *b, int64_t ref); /* in the file? */
int64_t table_ref(const struct board *b, enum kind table, int64_t n); /* of the nth of all */
int64_t table_segment_records(const struct board *b, enum kind table);
uint16_t table_tag(uint64_t first, uint64_t second); /* half of a key each; never 0 */

static inline enum kind
table_of(int64_t ref)
{
	return (enum kind)(ref & 3);
}

static inline struct tags *
table_tags(const struct table *t, int64_t ref)
{
	int64_t bucket = (ref >> REF_BUCKET) & ((INT64_C(1) << (REF_SEGMENT - REF_BUCKET)) - 1);

	return (void *)(t->segment[ref >> REF_SEGMENT].at + (size_t)bucket * t->bucket_bytes);
}

static inline int
table_place(int64_t ref)
{
	return (int)(ref >> 2) & (BUCKET_RECORDS - 1);
}

static inline void *
table_at(const struct board *b, int64_t ref)
{
	const struct table *t = &b->table[table_of(ref)];

	return (char *)(table_tags(t, ref) + 1) + (size_t)table_place(ref) * t->record_bytes;
}

/* ---- counter.c: rows and rings alike, in a section ---- */

enum { COUNTER_NO_ROOM = -1, COUNTER_NEEDS_SEED = -2 };
/* The claim's counter, made when it is not there; or one of the above. */
int64_t counter_of(struct board *b, const struct board_claim *c, int64_t now_ms);
/* Reserves `amount`, or all there is room for when the cap is INT64_MAX.  How much it took, or -1:
 * too much for the cap.  *v says what was there before, and when there is room. */
int64_t counter_reserve(struct board *b, int64_t ref, int64_t amount, int64_t cap, int64_t now_ms,
	struct board_verdict *v);
/* Which of the shares in `warn` are to be told of now that `before` became `used`, as bits. */
uint8_t counter_tell(struct board *b, int64_t ref, const int64_t warn[BOARD_WARNS_MAX],
	int64_t before, int64_t used, int64_t now_ms);
int64_t counter_spent(const struct board *b, int64_t ref, int64_t now_ms);
/* The slice that an admission of now belongs to; 0 in a calendar window. */
int64_t counter_slice(const struct board *b, int64_t ref, int64_t now_ms);
/* What was reserved goes, what was spent stays. */
void counter_settle(struct board *b, int64_t ref, int64_t reserved, int64_t slice, int64_t spent);

/* v + add, which is >= 0, held at the end of int64_t. */
static inline int64_t
add_held(int64_t v, int64_t add)
{
	int64_t sum;

	return __builtin_add_overflow(v, add, &sum) ? INT64_MAX : sum;
}

/* ---- ring.c, in a section ---- */

int64_t ring_slice_ms(int64_t rolling_ms);
int64_t ring_slice(const struct ring *ring, int64_t ms); /* the slice a moment lies in */
bool ring_is_empty(const struct ring *ring, int64_t now_ms);
/* Makes the slots of one that is empty say nothing at all. */
void ring_clear(struct ring *ring);
int64_t ring_spent(const struct ring *ring, int64_t now_ms);
/* When no more than `most` >= 0 of what was spent is left. */
int64_t ring_frees_ms(const struct ring *ring, int64_t most, int64_t now_ms);
void ring_book(struct board *b, int64_t ref, int64_t slice, int64_t spent);
/* Takes from that slice first, then from the newest on. */
void ring_unbook(struct board *b, int64_t ref, int64_t slice, int64_t less, int64_t now_ms);
uint8_t ring_tell(struct board *b, int64_t ref, const int64_t warn[BOARD_WARNS_MAX],
	int64_t before, int64_t used, int64_t now_ms);

/* ---- repeat.c, in a section ---- */

/* Holds the idempotency key: BOARD_TAKEN with its ref; or what is to be answered, with *v; or
 * -1: no room. */
int repeat_hold(struct board *b, const struct board_repeat *repeat, struct id exchange,
	int64_t now_ms, int64_t *ref, struct board_verdict *v);
/* The exchange that holds it ended: remembered with its status, or free when that is 0. */
void repeat_end(struct board *b, int64_t ref, struct id exchange, int status, int64_t now_ms);
bool repeat_is_over(const struct repeat *repeat, int64_t now_ms);
/* After a reboot: only what is over, and what a lease still holds, is right. */
void repeat_mend(struct board *b);

/* ---- lease.c ---- */

int64_t owner_pack(struct roster_owner o);
struct roster_owner owner_unpack(int64_t packed);
struct id exchange_of(const struct lease_head *lease);
struct lease_head *lease_of(struct board *b, struct board_lease lease);

static inline struct id
id_of_words(const _Atomic int64_t word[2])
{
	int64_t half[2] = { atomic_load_explicit(&word[0], memory_order_acquire),
		atomic_load_explicit(&word[1], memory_order_acquire) };
	struct id id;

	__builtin_memcpy(&id, half, sizeof id);
	return id;
}

/* ---- target.c ---- */
/* What was under way before a reboot is not any more; rests and breakers hold. */
void target_after_boot(struct board *b);

/* ---- waiter.c ---- */
void waiter_after_boot(struct board *b); /* nobody waits */

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
