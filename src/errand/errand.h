/*
 * errand.h - calls of our own at providers, which no client asked for: what models there are, and whether
 * somebody is at home.
 *
 *   desk.c        calls side by side on a loop of their own; access tokens
 *   credential.c  what an upstream is to know us by (gateway's attempts too)
 *   models.c      lists of models in the providers' dialects; pure
 *   discover.c    asking for them, and keeping them in the store
 *   health.c      active health checks, and their history
 *   round.c       what is due, for a thread that does nothing else
 *
 * A desk belongs to one thread, which it blocks; it may not be a loop's.  The egress guard, TLS, time
 * limits and ceilings of forward/ hold here too.
 */
#ifndef ERRAND_ERRAND_H
#define ERRAND_ERRAND_H

#include "board/board.h"
#include "board/target.h"
#include "conf/conf.h"
#include "forward/forward.h"
#include "store/models.h"
#include "store/snapshot.h"
#include "wire/oauth.h"

/* ---- calls ---- */

#define ERRANDS_MOST 32 /* side by side */

struct arena;
struct errand_desk;
/* Borrows all three.  NULL with *err. */
struct errand_desk *errand_open(struct store *store, struct board *board, const struct conf *conf,
	struct err *err);
void errand_close(struct errand_desk *d); /* NULL too */
/* Any thread: what runs is cut off, and nothing is begun any more. */
void errand_stop(struct errand_desk *d);

struct errand {
	const struct upstream *upstream;
	const struct snapshot_key *key; /* goes along; NULL: none */
	const char *method, *url;       /* the caller's */
	int64_t total_ms;
	size_t most_bytes;              /* of the answer */
	/* filled in */
	int status;                     /* 0: no answer, err tells why */
	struct bytes body;              /* bytes_free() is the caller's */
	int64_t took_us;
	struct err err;                 /* code NONE: there is a whole answer, of any status */
};
/* At most ERRANDS_MOST.  Blocks until the last is over. */
void errand_run(struct errand_desk *d, struct errand *e, size_t count);

/* The key that an errand takes along: one that rests on nothing, of the upstream or of the one whose keys
 * it uses, rather of no project.  NULL: it has none, or all rest. */
const struct snapshot_key *errand_key(struct board *b, const struct snapshot *p,
	const struct upstream *u);

/* ---- what an upstream is to know us by ---- */

struct credential_lines {
	struct arena *arena; /* of what is put in */
	struct forward_header *line;
	size_t count, most;
};
/*
 * Puts the credential into the head or q->url, and signs what is in l and q, body included: the last
 * thing that goes in.  It replaces a line of the same name.  secret NULL: nothing.  access_token: of
 * those that are bought.  0, or -1: ERR_UPSTREAM_CREDENTIALS, ERR_MEMORY, ERR_BAD_REQUEST (no room).
 */
int credential_put(struct credential_lines *l, const struct upstream *u, const char *secret,
	const char *access_token, struct forward_request *q, struct err *err);
/* Does it take access tokens, which its keys buy, and of which kind? */
bool credential_buys(const struct upstream *u, enum oauth_kind *kind);
/* By which way it is reached: certificates, proxy, what the egress guard lets pass.  Borrowed from u. */
void credential_way(struct forward_request *q, const struct upstream *u);
/* "Name: value" lines of the upstream's settings. */
void credential_extra(struct credential_lines *l, const struct upstream *u);

/* ---- lists of models (models.c); pure ---- */

/* The address of a page of the list.  page "": the first.  0, or -1: ERR_BAD_REQUEST (there is no
 * such list for that protocol), ERR_MEMORY. */
int models_url(const struct upstream *u, struct span page, struct bytes *out, struct err *err);
struct models_page {
	uint32_t count;      /* of all pages so far */
	bool is_cut;         /* there were more than MODELS_MAX */
	char next[512];      /* the next page; "" none */
};
/* Appends lines (store/models.h) to text.  0, or -1: it is no such list (ERR_UPSTREAM_UNREACHABLE), or
 * ERR_MEMORY.  Hostile bytes: names with control characters or too long are left out. */
int models_read(const struct upstream *u, struct span body, struct models_page *page,
	struct bytes *text, struct err *err);

/* ---- discovery ---- */

/*
 * Asks for the list and keeps it; moves the board's generation when it is there.  1 got it, 0 the
 * provider did not give one (head->why tells, and that is kept too), -1 with *err (store, memory).
 */
int discover_now(struct errand_desk *d, const struct snapshot *p, const struct upstream *u,
	struct models_head *head, struct err *err);

/* ---- health ---- */

#define HEALTH_KEPT 64
struct health_check {
	int64_t at_ms;   /* board time */
	int32_t took_ms;
	int16_t status;  /* 0: no answer */
	uint8_t ok, spare;
};
struct health_history { /* as in the store; oldest first */
	uint32_t magic, count;
	struct health_check check[HEALTH_KEPT];
	char why[160];   /* of the last failure */
};
/* 1, 0 never checked, -1. */
int health_read(struct store *s, struct id upstream, struct health_history *out, struct err *err);
int health_forget(struct store *s, struct id upstream, struct err *err);
/* Checks those upstreams, at most ERRANDS_MOST, side by side, tells the board and keeps the outcome. */
int health_now(struct errand_desk *d, const struct snapshot *p, const struct upstream *const *u,
	size_t count, struct err *err);

/* ---- what is due ---- */

/* One round: checks and lists that are due, each claimed on the board so that of all processes one does
 * it.  Blocks for as long as the slowest takes.  0, or -1 with the last error. */
int errand_round(struct errand_desk *d, const struct snapshot *p, struct err *err);

#endif
