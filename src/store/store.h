/*
 * store.h - the gateway's records, in one Berkeley DB environment under the state directory.
 *
 * The only room that includes <db.h>; callers see records, not pages.
 *
 * Processes and threads.  Open it after fork().  Any number of processes share one directory and
 * any of them may be killed at any time: a gate beside the environment (gate.c) makes one of the
 * survivors recover, and a warden thread in each process watches for it.  Every function below
 * may be called from any thread but the loop's; it blocks on disk, short locks, and for the time
 * of a recovery (38 ms median, 173 ms worst), never on the network.
 *
 * Abandonment.  A thread caught asleep inside Berkeley DB on a dead process's lock can never
 * return.  Then the warden abandons it: the function it called DOES NOT RETURN, the thread parks,
 * and `abandoned(ctx, work)` of store_watch() is called on the warden's thread with the pointer the
 * thread had declared by store_working(), so that another thread can take the work over and call
 * again.  So: pass only buffers on your own stack, hold no lock of yours across a call, and touch
 * shared state only after the call has returned.  All changes can be repeated: creating a record
 * whose id and content are there already is a success, settling an exchange twice books it once.
 *
 * Errors: ERR_STORE_UNAVAILABLE unless another is named.  "Not there" is never an error of reading:
 * it is the return value 0.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/roster.h"
#include "store/records.h"
#include "store/usage.h"

struct store;

struct store_options {
	const char *dir;             /* state directory; environment in dir/db, 2770 */
	const char *master_key_file; /* 32 bytes, or their text; mode 0600 */
	bool create;                 /* init: make what is missing */
	bool brief;                  /* CGI, mod_fcgid: leave the environment after each call, so that
	                                being killed elsewhere makes nobody recover */
	int64_t cache_bytes;         /* of Berkeley DB; 0: 8 MB */
	int64_t rows_cap_bytes;      /* rows, booked ids, rollups and postings stay below it: see
	                                store_expire(); 0: 500 MB */
	int64_t rows_kept_ms;        /* rows older than that go too; 0: only by the cap */
};

/* Checks directory, file system, permissions, schema version and master key, and says in *err
 * which of them is wrong and what to do.  Starts the warden, and sets the umask to 007: libdb makes
 * files at any time, and they belong to the group.
 * roster NULL: joins one of its own.  master_key_file NULL: nothing can be sealed or unsealed. */
struct store *store_open(const struct store_options *o, struct roster *roster, struct err *err);
void store_close(struct store *s);

/* abandoned may be NULL: the process then ends with a message and exit code 75, for one-shot
 * programs.  abandoned must not call the store: it runs on the warden, which has more to do. */
void store_watch(struct store *s, void (*abandoned)(void *ctx, void *work), void *ctx);
/* Declares what this thread is working on (NULL: nothing), until the next call. */
void store_working(struct store *s, void *work);
/* With `brief`: several calls in one visit.  true before them, false after (which leaves). */
void store_stay(struct store *s, bool stay);

/* True after a write has found the disk full, until there is room: refuse new work meanwhile rather
 * than have it wait for a commit that cannot come.  Any thread; at worst one statvfs(). */
bool store_is_full(struct store *s);

/* ---- records ---- */

/* 1 found, 0 not, -1 error.  *record is a struct of that kind. */
int store_get(struct store *s, enum record_kind kind, struct id id, void *record, struct err *err);
/* By unique name (project, upstream); id text is accepted too. */
int store_find(struct store *s, enum record_kind kind, const char *name_or_id, void *record,
	struct err *err);
/* The hot path: one plain get by SHA-256, no cache, so that a change bites on the next request.
 * 1 the token's secret; STORE_OLD_SECRET the one before its last rotation, whose time
 * (old_until_ms) the caller looks at; 0 not there; -1. */
#define STORE_OLD_SECRET 2
int store_token_by_hash(struct store *s, const uint8_t sha256[SHA256_BYTES], struct token *out,
	struct err *err);

/* Walks all of a kind in order of id, or from behind `after`.  fn returning false ends it. */
int store_each(struct store *s, enum record_kind kind, struct id after,
	bool (*fn)(void *ctx, const void *record), void *ctx, struct err *err);

struct store_change {
	const char *actor;  /* "admin", "command:root", "token:…" */
	const char *action; /* "token.create" */
	const char *address; /* of the client, or "" */
	struct id request;
};

/* Writes a record durably (fsync), with its audit entry that tells what changed, in one transaction, and moves the
 * generation (see store_on_change).
 * create: ERR_CONFLICT when the name, hash or id is taken by another.
 * update: version 0 writes over; otherwise ERR_STALE unless the stored version is that one;
 * ERR_NOT_FOUND when it is not there.  Sets head.version, created_ms, updated_ms. */
int store_create(struct store *s, enum record_kind kind, void *record, const struct store_change *c,
	struct err *err);
int store_update(struct store *s, enum record_kind kind, void *record, int64_t version,
	const struct store_change *c, struct err *err);
int store_delete(struct store *s, enum record_kind kind, struct id id, const struct store_change *c,
	struct err *err);
/* Many creations in one transaction (price import): all or none. */
int store_create_many(struct store *s, enum record_kind kind, void *records, size_t count,
	const struct store_change *c, struct err *err);
/* Writes all of those records over what is there or anew, and removes those of `gone` that are there,
 * in one transaction with one audit entry: all or nothing. */
int store_replace_many(struct store *s, enum record_kind kind, void *records, size_t count,
	const struct id *gone, size_t gone_count, const struct store_change *c, struct err *err);
/* Called after each committed change, on the thread that made it; gateway bumps the board's
 * generation word there. */
void store_on_change(struct store *s, void (*fn)(void *ctx, enum record_kind kind), void *ctx);

/* A master key as text: 64 hexadecimal digits, or base64.  0, or -1 when it is neither. */
#define MASTER_KEY_BYTES 32
int store_master_key_of(const char *text, uint8_t key[MASTER_KEY_BYTES]);

/* ---- secrets: sealed with AES-256-GCM under the master key, bound to the record's id ---- */
int store_seal(struct store *s, struct id owner, struct span secret, struct sealed *out, struct err *err);
/* Into out (NUL-terminated); wipe it after use.  Length, or -1. */
ptrdiff_t store_unseal(struct store *s, struct id owner, const struct sealed *in, char *out,
	size_t room, struct err *err);

/* ---- small values: settings, sessions, password hashes ---- */
#define SETTING_BYTES 4096
/* Length, 0 when absent, -1 on error; not NUL-terminated. */
ptrdiff_t store_value_get(struct store *s, const char *name, void *out, size_t room, struct err *err);
int store_value_put(struct store *s, const char *name, const void *data, size_t len, struct err *err);
int store_value_delete(struct store *s, const char *name, struct err *err);
/* Names with that prefix, in order. */
int store_value_each(struct store *s, const char *prefix,
	bool (*fn)(void *ctx, const char *name, struct span value), void *ctx, struct err *err);

/* ---- audit ---- */
#define AUDIT_CHANGES_MAX 16384 /* of an entry, in bytes; what does not fit is cut */
#define AUDIT_VALUE_MAX   2000  /* of one value of a text or a list */
struct audit_entry {
	int64_t time_ms;
	uint64_t number;
	char actor[64], action[48], object[ID_TEXT_BYTES], address[48];
	struct id request;
	uint16_t changes_len; /* 0: written without, or by an older program */
	uint8_t changes[AUDIT_CHANGES_MAX];
};
int store_audit_add(struct store *s, const struct store_change *c, const char *object, struct err *err);
/* Newest first, from before `before` (0: from the end). */
int store_audit_each(struct store *s, uint64_t before, bool (*fn)(void *ctx, const struct audit_entry *e),
	void *ctx, struct err *err);

/* What a change did to one field. */
struct audit_change {
	enum record_kind kind;
	struct id record;
	const struct field *field;
	/* Records of that kind in which the fields told of have their values, the others those of a
	 * new one.  NULL: there was none before, there is none after. */
	const void *before, *after;
	bool is_secret; /* only that it changed is known */
	bool is_cut;    /* of a value only its beginning is there */
	bool is_money;  /* of FIELD_AMOUNT: nano-dollars */
};
/* The fields of an entry, record by record; fn returning false ends it.  ERR_MEMORY. */
int audit_changes_each(const struct audit_entry *e, bool (*fn)(void *ctx, const struct audit_change *c),
	void *ctx, struct err *err);
/* Did it change more than is told? */
bool audit_is_cut(const struct audit_entry *e);

/* ---- usage ---- */
/*
 * Books rows in one transaction (write-no-sync: survives any kill; the log is fsynced each second).
 * booked[i] is set to true when this call booked row i, false when the exchange was booked before:
 * exactly once on every path.  (After a recovery in the middle of the call, a row of ours whose
 * commit had got through shows as booked before.)  At most STORE_BOOK_MAX rows.
 *
 * Kept of a row: names up to their dictionary's ceiling (beyond it "other"), tokens up to 2^40, and
 * of the texts (upstream_request_id, session, error, in this order) at least 108 bytes together,
 * 145 without address, tier and tags.  It takes 315 bytes, and some 60 for its id and postings.  Its
 * decision stands in what the texts leave of it; one that finds no room there takes its length and
 * some 15 bytes more.
 */
#define STORE_BOOK_MAX 64
int store_book(struct store *s, const struct usage_row *rows, size_t count, bool *booked,
	struct err *err);
/* Is that exchange booked?  1, 0, -1. */
int store_is_booked(struct store *s, struct id exchange, struct err *err);

/* Rows newest first, before position *cursor (0: from the end); *cursor moves along. */
int store_rows_each(struct store *s, uint64_t *cursor,
	bool (*fn)(void *ctx, const struct usage_row *row), void *ctx, struct err *err);
/* The same of the rows that pass the filter.  Each part of it that is not NULL must hold.  What is
 * folded is found by postings, not by looking: 10 million rows cost some milliseconds, whatever the
 * filter, even when none passes. */
enum rows_by {
	ROWS_PROJECT, ROWS_TOKEN, ROWS_UPSTREAM, ROWS_KEY, /* id text */
	ROWS_MODEL,    /* name, as asked for or as sent on */
	ROWS_END_USER, ROWS_TAG,
	ROWS_STATUS,   /* "429", or a class: "4xx" */
	ROWS_FAILED,   /* any text: see usage_row_failed() */
	ROWS__COUNT
};
struct rows_filter {
	const char *value[ROWS__COUNT];
};
/* filter NULL: all.  ERR_BAD_REQUEST: a value that is no such id or status. */
int store_rows_find(struct store *s, const struct rows_filter *filter, uint64_t *cursor,
	bool (*fn)(void *ctx, const struct usage_row *row), void *ctx, struct err *err);
/* With its decision, which the rows of the others above have not.  1, 0, -1. */
int store_row_get(struct store *s, struct id exchange, struct usage_row *out, struct err *err);

/* Gives a booked row another cost (or COST_UNKNOWN) and corrects every sum it is in, in one
 * transaction: after a kill both are changed or neither; doing it again changes nothing.  Sums that
 * are expired stay so.  Returns 1 with the cost before it in *was_nusd (may be NULL), 0 when there is
 * no such row any more, -1.  Beside it the board's counters are as they were. */
int store_row_reprice(struct store *s, struct id exchange, int64_t cost_nusd, int64_t *was_nusd,
	struct err *err);

enum rollup_by {
	BY_TOTAL, BY_PROJECT, BY_TOKEN, BY_MODEL, BY_UPSTREAM, BY_KEY, BY_END_USER, BY_TAG, BY__COUNT
};
enum rollup_step { STEP_MINUTE, STEP_HOUR, STEP_DAY };
struct rollup {
	int64_t from_ms;          /* start of the step, UTC */
	struct id id;             /* of project, token, upstream, key */
	char name[128];           /* of model, end user, tag; "other" of all beyond a ceiling */
	struct usage_sum sum;
};
/* A row counts under each of its tags.  A dimension has at most 2,000 models, 50,000 end users, 5,000
 * tags, 20,000 projects, 1,000,000 tokens, 2,000 upstreams, 20,000 keys; what comes later is "other".
 *
 * Sums by step and value in [from, to), the unfolded tail included, in order of time then value.
 * only: NULL, or one value's id text or name. */
int store_rollup_each(struct store *s, enum rollup_by by, enum rollup_step step, int64_t from_ms,
	int64_t to_ms, const char *only, bool (*fn)(void *ctx, const struct rollup *r), void *ctx,
	struct err *err);
/* The sum of one value over [from, to) (from 0: since ever), exact, tail included. from must be
 * a whole minute within two days, else a whole hour within 90 days, else a whole day; so must to,
 * unless it lies in the present or later: then the minute it falls in counts whole.
 * value: id text; of BY_MODEL, BY_END_USER and BY_TAG the name; of BY_TOTAL NULL. */
int store_usage_sum(struct store *s, enum rollup_by by, const char *value, int64_t from_ms,
	int64_t to_ms, struct usage_sum *out, struct err *err);

/* ---- care: called by a clerk thread; each does nothing when another process's clerk is at it ---- */
int store_fold(struct store *s, struct err *err);        /* rows into rollups for at most 200 ms: rows folded, or -1 */
int store_checkpoint(struct store *s, struct err *err);  /* at 4 MB of log or 60 s */
int store_flush(struct store *s, struct err *err);       /* fsync of the log: each second */
/*
 * Forgets what has had its time: minutes after 2 days, hours after 90; days stay for ever.  And keeps
 * the files of rows, booked ids, rollups and postings together below rows_cap_bytes (the log, at most
 * some checkpoints of 4 MB, and records, names and audit are not counted): rows go oldest first,
 * those that are folded only, and their files of 4 MB with them.  store_fold() does it as well when
 * there are too many, so that the cap holds under load.  Rows older than rows_kept_ms go as well, but
 * for the last one; their sums stay.
 *
 * Booked ids live as long as their rows and at least an hour, ten minutes once their file has a
 * quarter of the cap.  Rollups that take half of the cap and still grow lose their finest steps
 * sooner: down to minutes of 2 hours, hours of 3 days and days of a month.
 */
int store_expire(struct store *s, struct err *err);

/*
 * Takes away records that have had their time: replaced secrets out of their grace, limits of one
 * token that is gone, grants of limits that are gone, or that ended 30 days ago.  At most 64 of each
 * in a call, each audited (secrets are not) as done by "sluice".  Every few minutes.
 */
int store_tidy(struct store *s, struct err *err);
/* Before a token's secret is replaced with a grace: so that store_tidy() finds it then.  A note too
 * many does no harm. */
int store_note_rotation(struct store *s, struct id token, int64_t until_ms, struct err *err);

/* What `check` and /manage/health show. */
struct store_health {
	int64_t bytes_on_disk, rows, rows_unfolded;
	int64_t bytes_capped; /* of those, what rows_cap_bytes counts */
	int64_t vault_bytes;  /* held by vault.h */
	uint32_t epoch, attached;
	int64_t recoveries, last_recovery_ms, abandoned; /* last_recovery_ms: how long it took */
	int schema;
};
int store_health(struct store *s, struct store_health *out, struct err *err);

#endif
