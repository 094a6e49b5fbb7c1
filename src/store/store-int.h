/*
 * store-int.h - the room's inside: attachments, how a thread goes in and comes out, the tables.
 *
 * A thread calls Berkeley DB only inside store_call() or store_txn(), in a function that takes
 * nothing but its own arguments, and never calls back out of it.  Between going in and coming out
 * the thread's word is BUSY.  The warden may change BUSY to GONE; the thread that finds GONE when
 * it comes out parks for ever, so what it had in hand is nobody's but the warden's.
 */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "store/gate-int.h"
#include "store/store.h"
#include <db.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define STORE_SCHEMA_MAJOR 1 /* a store of a newer one is refused */
#define STORE_SCHEMA_MINOR 0
#define TXN_TRIES          20
#define REGIONS_MAX        48 /* files of shared memory: 5, and one for each 2 GiB of cache up to 64 */

/* MAIN holds all that is written rarely, told apart by the key's first byte; see KEY_*. */
enum table { TABLE_MAIN, TABLE_BOOKED, TABLE_ROLLUPS, TABLE_ROWS,
	TABLE_DECISIONS, /* came later: NULL where it could not be opened (env.c) */
	TABLE__COUNT };

#define KEY_RECORD  'R' /* kind, id -> record */
#define KEY_NAME    'N' /* kind, name -> id */
#define KEY_HASH    'H' /* SHA-256 of a token -> id */
#define KEY_VALUE   'V' /* name -> bytes */
#define KEY_AUDIT   'A' /* number, big-endian -> entry */
#define KEY_COUNTER 'C' /* name -> 8 bytes, big-endian */
#define KEY_WORD    'W' /* dimension, text -> number of the word */
#define KEY_WORD_NO 'w' /* dimension, number -> text */
#define KEY_ACCESS  'T' /* id of a provider key -> its access token and who fetches one */
#define KEY_VAULT   'G' /* digest of project and key -> what a model signed (vault.c) */
#define KEY_VAULT_AGE 'g' /* when it came, digest -> its end */
#define KEY_SELF    'S' /* schema, key check */
#define KEY_MAX     300

struct words; /* cache of the dictionary (words.c) */

/* One opening of the environment.  Under store.lock but for env and table, which stand still
 * while anybody is inside. */
struct attach {
	struct attach *next; /* in store.retired, or among the leaked */
	DB_ENV *env;
	DB *table[TABLE__COUNT];
	uint32_t epoch;
	int inside;   /* threads in it */
	int stuck;    /* threads abandoned in it: it can never be closed */
	bool gated;   /* holds our place inside the gate */
	bool retired; /* nobody goes in any more */
	bool opened;  /* env is whole */
	int64_t retired_ms;
	struct words *words;
	dev_t device;
	ino_t region[REGIONS_MAX]; /* files of its shared memory */
	int regions;
};

enum slot_state { SLOT_IDLE, SLOT_WAIT, SLOT_BUSY, SLOT_GONE };

/* One for each thread that ever called. */
struct slot {
	struct slot *next;
	struct store *store;
	_Atomic uint64_t word; /* count of entries << 2 | enum slot_state */
	pid_t tid;
	bool taken;
	bool closing;         /* in store_close(): there is nobody to take over */
	void *work;
	struct attach *at;
	uint64_t asleep_word; /* what the warden saw last */
	int asleep_seen;
	unsigned jobs;        /* elections won, bits of enum gate_job */
};

struct store {
	char *dir, *home;
	struct gate gate;
	struct roster *roster;
	bool own_roster, brief, create;
	bool copy; /* nobody else's, made while others wrote: recovered from the whole log */
	int64_t cache_bytes, rows_cap_bytes, rows_kept_ms;
	struct expiry {
		int level;           /* how much sooner sums go than they should */
		int64_t sums_bytes;  /* the most their file had */
	} expiry; /* of who holds GATE_EXPIRE */
	struct {
		struct id limits, grants; /* where the last call came to */
	} tidy; /* the same */
	bool has_key;
	uint8_t master_key[MASTER_KEY_BYTES];

	pthread_mutex_t lock; /* never held over Berkeley DB or a callback */
	pthread_cond_t changed;
	struct attach *current, *retired;
	struct slot *slots, *mover; /* mover: the thread that opens or closes */
	int staying;
	unsigned jobs; /* elections held by a thread of ours */
	int64_t refuse_until_ms; /* after a failed opening: the same answer for a while */
	int64_t refuse_for_ms;
	struct err refusal;
	_Atomic int64_t full_since_ms; /* a write found the disk full; 0: no */
	_Atomic int64_t full_look_ms;  /* when somebody may look again */
	_Atomic int64_t abandonments;
	void (*abandoned)(void *ctx, void *work);
	void *abandoned_ctx;
	void (*on_change)(void *ctx, enum record_kind kind);
	void *on_change_ctx;

	pthread_key_t slot_key;
	pthread_t warden;
	bool warden_runs;
	_Atomic bool warden_stop;
};

/* ---- attach.c ---- */

/* What a piece of work returns beside 0, an errno or a DB_ code: *err is filled already. */
#define WORK_FAILED (-1)

/* Runs fn inside the environment, again after a deadlock or a recovery.  what: for err.text. */
int store_call(struct store *s, const char *what, int (*fn)(struct attach *at, void *arg, struct err *err),
	void *arg, struct err *err);
/* The same in a transaction, committed when fn returns 0 with commit_flags (DB_TXN_SYNC or
 * DB_TXN_WRITE_NOSYNC). */
int store_txn(struct store *s, const char *what, u_int32_t commit_flags,
	int (*fn)(struct attach *at, DB_TXN *txn, void *arg, struct err *err), void *arg, struct err *err);
int store_fail(struct store *s, const char *what, int rc, struct err *err);
/* Elections, in this process and among all. */
bool store_elect(struct store *s, enum gate_job job);
void store_resign(struct store *s, enum gate_job job);
void store_detach(struct store *s); /* the end */
void store_thread_ends(void *slot);

/* Under s->lock. */
void attach_retire(struct store *s, struct attach *at);
void attach_thread_gone(struct store *s, struct slot *slot);
void attach_left(struct store *s, struct attach *at);

/* ---- store.c ---- */
/* A copy in a state directory of its own (care-int.h). */
struct store *store_open_copy(const struct store_options *o, struct err *err);

/* ---- disk.c ---- */
/* Is the file system of that directory one that can carry a store? */
int disk_check_kind(const char *dir, struct err *err);
void disk_was_full(struct store *s);
/* 16 MB beside the store, where there is plenty; given up for a recovery that finds no room: true
 * when there was one. */
void disk_keep_ballast(struct store *s);
bool disk_drop_ballast(struct store *s);

/* ---- warden.c ---- */
int warden_start(struct store *s, struct err *err);
void warden_end(struct store *s);

/* ---- env.c: the only opening and closing of handles ---- */
int env_open(struct store *s, struct attach *at, bool recover);
int env_open_tables(struct store *s, struct attach *at);
const char *env_table_file(enum table table); /* "main.db" */
/* Makes the tables there forget their places in a log that is gone.  Nobody else may be in them. */
int env_forget_log(const char *home);
/* Names the files of the shared memory that is there; 0: there is none. */
uint64_t env_memory(const struct store *s);
void env_close(struct attach *at);        /* a good one */
void env_panic(struct attach *at);        /* a store to memory, no more: the warden may */
void env_drop(struct attach *at);         /* one that may hold a dead process's locks */

/* ---- seal.c ---- */
int seal_read_key(struct store *s, const char *path, bool create, struct err *err);
void seal_check_value(const struct store *s, const uint8_t salt[16], uint8_t out[32]);

/* ---- changes.c: what the audit keeps of a change ---- */
struct changes {
	size_t len;
	uint8_t at[AUDIT_CHANGES_MAX];
};
void changes_begin(struct changes *c);
/* One record: NULL before when it is new, NULL after when it goes.  money: its amounts are. */
void changes_add(struct changes *c, enum record_kind kind, const void *before, const void *after,
	bool money);
bool changes_full(const struct changes *c); /* more would be cut */

/* ---- access.c ---- */
/* Forgets the access token of a provider key: in its transaction. */
int access_forget(struct attach *at, DB_TXN *txn, struct id key);

/* ---- words.c: names of rows as numbers ---- */
/* Numbers on disk. */
enum dimension {
	WORD_MODEL, WORD_UPSTREAM_MODEL, WORD_ENDPOINT, WORD_END_USER, WORD_TAG, WORD_TIER,
	WORD__DIMENSIONS
};
#define WORD_NONE  0u
#define WORD_OTHER 1u /* beyond the ceiling */
#define WORD_BYTES 128
struct words *words_new(void);
void words_free(struct words *w);
/* The number of a text, made when it is new. */
int words_number(struct store *s, enum dimension d, const char *text, uint32_t *number, struct err *err);
/* The number if there is one, else WORD_NONE: inside a call. */
int words_lookup(struct attach *at, enum dimension d, const char *text, uint32_t *number);
/* Its text: inside a call. */
int words_text(struct attach *at, enum dimension d, uint32_t number, char out[WORD_BYTES]);

/* ---- row.c: rows on disk ---- */
#define ROW_BYTES       311 /* 312 with the queue's flag byte: 26 in a page of 8 KB */
#define ROW_DISK_BYTES  315
#define ROW_QUEUE_FIELD 0x20
struct row_disk {
	uint8_t at[ROW_BYTES];
};
/* The words of a row; the first four in the order of their dimensions. */
enum {
	ROW_MODEL, ROW_UPSTREAM_MODEL, ROW_ENDPOINT, ROW_END_USER, ROW_TIER, ROW_TAG,
	ROW_WORDS = ROW_TAG + USAGE_TAGS_MAX
};
enum dimension row_dimension(int word);
const char *row_word(const struct usage_row *row, int word);

/* A row as it is stored: its names as numbers, the texts of `row` empty until row_name(). */
struct stored_row {
	uint32_t recno;
	uint32_t words[ROW_WORDS];
	struct usage_row row;
};
/* True: the decision is in it, or there is none; false: it found no room. */
bool row_write(struct row_disk *disk, const struct usage_row *row, const uint32_t words[ROW_WORDS]);
/* 0, DB_NOTFOUND: behind the end.  *there false: a hole, or a row that is damaged. */
int row_load(struct attach *at, DB_TXN *txn, u_int32_t flags, uint32_t recno,
	struct stored_row *out, bool *there);
int row_name(struct attach *at, struct stored_row *r);
int row_set_cost(struct attach *at, DB_TXN *txn, uint32_t recno, int64_t cost_nusd);
/* Both of them. */
int row_read(struct attach *at, uint32_t recno, struct usage_row *row, bool *there);
/* Fills in the decision of a row that was read; decision_len 0: there is none. */
int row_decision(struct attach *at, uint32_t recno, struct usage_row *row);

/* ---- usage.c ---- */
/* Which record an exchange was booked in, or DB_NOTFOUND. */
int booked_row(struct attach *at, DB_TXN *txn, struct id exchange, uint32_t *recno);
/* First and next free record of the queue. */
int rows_bounds(struct attach *at, uint32_t *first, uint32_t *next);
static inline bool
recno_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0; /* numbers wrap; the queue never holds half of them */
}

/* ---- fold.c ---- */
#define FOLD_HOLES 240
struct folded {
	uint32_t position; /* last row that is in the rollups; 0 none */
	uint64_t total;    /* rows in them */
	/* Records passed over because they held no row, of this epoch: see fold.c. */
	uint32_t epoch;
	uint32_t holes;
	uint32_t hole[FOLD_HOLES];
	uint32_t layout;            /* FOLD_LAYOUT of who folded last */
	uint32_t posted;            /* the first row that has postings; 0: all */
	uint32_t changes;           /* of rows that were not folded yet */
	uint32_t values[BY__COUNT]; /* ids that have sums */
};
int fold_position(struct attach *at, DB_TXN *txn, u_int32_t flags, struct folded *folded);

/* ---- small things ---- */
static inline void
dbt_in(DBT *d, const void *data, size_t len)
{
	*d = (DBT){ .data = (void *)(uintptr_t)data, .size = (u_int32_t)len, .ulen = (u_int32_t)len,
		.flags = DB_DBT_USERMEM };
}
static inline void
dbt_out(DBT *d, void *data, size_t room)
{
	*d = (DBT){ .data = data, .ulen = (u_int32_t)room, .flags = DB_DBT_USERMEM };
}
static inline void
put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}
static inline void
put_be64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}
/* Seven bits a byte, the low ones first: where the next one goes. */
#define VARINT_BYTES 10
static inline uint8_t *
put_varint(uint8_t *p, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}
/* 0 at the end.  *p moves along. */
static inline uint64_t
get_varint(const uint8_t **p, const uint8_t *end)
{
	uint64_t v = 0;

	for (int shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t byte = *(*p)++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			break;
	}
	return v;
}
static inline uint32_t
get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t
get_be64(const uint8_t *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

#endif
