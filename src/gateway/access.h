/*
 * access.h - access tokens for provider keys that are not sent themselves (SAP AI Core, Google, Entra
 * ID): bought when they are needed, renewed ahead of their end while the old one still works, and
 * shared by all processes through the store.
 *
 * The loop asks and never waits: what it knows lies in memory.  A thread of its own asks the store,
 * where one process at a time claims the right to fetch (store/access.h); the loop of that process
 * fetches, through the egress guard and by the upstream's own settings; the others look again every
 * ACCESS_LOOK_MS.  Without the store each process fetches for itself.
 */
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include "forward/forward.h"
#include "store/access.h"
#include "wire/oauth.h"

#define ACCESS_LOOK_MS    40    /* is the one that somebody else fetches there? */
#define ACCESS_FETCH_MS   12000 /* for the endpoint to answer, connection and all; less than
                                   ACCESS_CLAIM_MS */
#define ACCESS_WAIT_MS    15000 /* one exchange waits so long for a token */
#define ACCESS_ENTRIES    4096  /* keys that are known here at a time */
_Static_assert(ACCESS_FETCH_MS < ACCESS_WAIT_MS && ACCESS_WAIT_MS < ACCESS_CLAIM_MS,
	"who waits sees the end of a fetch, and nobody claims what is being fetched");

struct gateway;
struct access_desk;

/* One exchange's place among those that wait for a token.  Zeros: it waits for none. */
struct access_waiter {
	struct access_entry *entry;
	struct access_waiter *prev, *next;
	/* Something has changed: ask again.  May ask from within. */
	void (*wake)(void *ctx);
	void *ctx;
};

/* What buys tokens, and of whom. */
struct access_terms {
	enum oauth_kind kind;
	struct id key;
	const char *secret; /* as oauth_read_secret() made it */
	const char *upstream, *token_url, *scope;
	const char *ca_file, *client_cert, *proxy; /* or NULL */
	bool allow_private;
	int64_t connect_ms, first_byte_ms;
};

enum access_verdict {
	ACCESS_READY, ACCESS_WAITS, ACCESS_FAILS,
	ACCESS_KEEPS /* the refused token is too young to be replaced: it is not to blame */
};
struct access_hold {
	const char *token; /* READY: good until the loop goes on */
	uint64_t number;
	bool refused;      /* FAILS: the key itself will not do */
	int64_t retry_ms;  /* FAILS: board time before which nobody asks for one again; 0: it is our own fault */
	char why[ACCESS_WHY_BYTES]; /* FAILS: names no secret */
};

struct access_desk *access_new(struct gateway *gw, struct err *err);
void access_free(struct access_desk *d);

/* [loop] refused: the number of a token that the provider did not take, or 0.  WAITS: w is kept until
 * it is woken or leaves. */
enum access_verdict access_ask(struct access_desk *d, const struct access_terms *t, uint64_t refused,
	struct access_waiter *w, struct access_hold *out);
void access_leave(struct access_waiter *w); /* [loop] */
void access_take(struct access_desk *d);    /* [loop] what the thread has done; on gw->wake */

/* Work taken over from an abandoned thread (store.h).  True when it was of here. */
bool access_take_over(struct access_desk *d, const void *work);

/* [loop] The process comes to its end and no exchange is left: nothing new is fetched, and with hurry
 * what is being fetched is cut off.  True: nothing is under way any more. */
bool access_rest(struct access_desk *d, bool hurry);
bool access_fetches(const struct access_desk *d); /* a call of forward's runs */
/* [loop] Nothing reaches the loop any more; the thread ends when it has kept what there is to keep. */
void access_close(struct access_desk *d);
/* Waits for that.  False: it is stuck in the store. */
bool access_ended(struct access_desk *d, int wait_ms);

#endif
