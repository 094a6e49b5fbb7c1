/*
 * access.h - access tokens that provider keys bought, one row a key, shared by all processes: sealed
 * under the master key, with the claim that lets one process at a time fetch a new one.
 *
 * Blocking, threads and abandonment as store.h says; every function may be repeated.  Times are the
 * board's (board_now_ms), so that a step of the wall clock ages nothing.
 */
#ifndef STORE_ACCESS_H
#define STORE_ACCESS_H

#include "base/hash.h"
#include "store/store.h"

#define ACCESS_TOKEN_BYTES 8192          /* with NUL */
#define ACCESS_WHY_BYTES   240
#define ACCESS_CLAIM_MS    20000         /* one who fetches has so long; then another may */
#define ACCESS_RENEW_MS    30000         /* refused tokens are replaced this often at most */

struct access_token {
	uint64_t number;      /* names it; not 0 */
	int64_t refresh_ms;   /* a new one is wanted from then on */
	int64_t until_ms;     /* of no use from then on */
	char text[ACCESS_TOKEN_BYTES];
};

/* Which token: the key's, bought with what that hash is of (secret, address, scope). */
struct access_name {
	struct id key;
	uint8_t of[SHA256_BYTES];
};

/* What a key buys for these terms has a name of its own.  0, or -1 with ERR_MEMORY. */
int access_name_of(struct id key, int kind, const char *token_url, const char *scope,
	const char *secret, struct access_name *out, struct err *err);

struct access_answer {
	enum {
		ACCESS_THERE,   /* token; when it is past its refresh_ms, somebody fetches a new one, or
		                   may not yet */
		ACCESS_CLAIMED, /* the caller is to fetch one, and to call put or fail; token: the one
		                   before it, where that is still good, else its number is 0 */
		ACCESS_BUSY,    /* another process fetches one: ask again */
		ACCESS_FAILING, /* none, and none to be fetched before retry_ms: why, refused */
		ACCESS_KEPT     /* the one that the provider refused is young: it stays until retry_ms */
	} what;
	struct access_token token;
	int64_t retry_ms;
	bool refused;         /* the key itself was refused */
	char why[ACCESS_WHY_BYTES];
};

/* refused: number of a token that the provider does not take, or 0.  0, or -1. */
int store_access_claim(struct store *s, const struct access_name *name, uint64_t refused,
	int64_t now_ms, struct access_answer *out, struct err *err);
/* The claim's end.  Does nothing when the claim is another's by now.  0, or -1. */
int store_access_put(struct store *s, const struct access_name *name,
	const struct access_token *token, struct err *err);
/* The same without one: nobody asks again before *retry_ms, which is later after each failure in a
 * row.  A token that is there stays. */
int store_access_fail(struct store *s, const struct access_name *name, bool refused, int64_t now_ms,
	const char *why, int64_t *retry_ms, struct err *err);
/* How long to wait after so many failures in a row. */
int64_t access_wait_ms(uint32_t failures, bool refused);

#endif
