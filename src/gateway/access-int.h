/*
 * access-int.h - what the files of access tokens share.
 *
 *   access.c         entries, what exchanges ask of them, beginning and end [loop]
 *   access_fetch.c   a fetch, and what becomes of it [loop]
 *   access_thread.c  the thread that asks the store
 *
 * An entry's `job` is the thread's from access_give() until it comes back in access_take(); all else of
 * an entry is the loop's, but for the terms, which do not change.  While a job or a call is under way
 * the entry is `busy`, so there is one of them at a time.
 */
#ifndef GATEWAY_ACCESS_INT_H
#define GATEWAY_ACCESS_INT_H

#include "gateway/access.h"
#include "gateway/gateway-int.h"

#include <stdatomic.h>

#define ACCESS_BUCKETS 256

enum access_step { STEP_LOOK, STEP_PUT, STEP_FAIL };
enum access_found { FOUND_ANSWER, FOUND_CLAIM, FOUND_NO_STORE, FOUND_NO_USE };

struct access_job {
	struct access_job *next;
	enum access_step step;
	int64_t due_us;
	uint64_t refused;
	bool key_refused; /* STEP_FAIL */
	int64_t failed_ms;
	char why[ACCESS_WHY_BYTES];
	struct access_token token; /* STEP_PUT */
	/* what came of it */
	enum access_found found;
	struct access_answer answer;
	struct oauth_request request; /* when it is to be fetched */
	int64_t retry_ms;
};

struct access_entry {
	struct access_entry *next;
	struct access_desk *desk;
	uint64_t quick; /* hash of all terms */
	struct access_name name;
	enum oauth_kind kind;
	char *secret, *upstream, *token_url, *scope, *ca_file, *client_cert, *proxy;
	bool allow_private;
	int64_t connect_ms, first_byte_ms;
	int64_t used_ms;

	struct access_token token; /* number 0: none */
	int64_t look_ms;           /* not before, when it is to be renewed */
	uint64_t kept;             /* a token that the provider refused, and that stays … */
	int64_t kept_ms;           /* … until then */
	int64_t retry_ms;          /* failing until then */
	uint32_t failures;
	bool refused;
	char why[ACCESS_WHY_BYTES];

	struct access_waiter *waiters;
	bool busy;
	struct forward_call *call;
	struct bytes reply;
	int64_t asked_ms;
	struct access_job job;
};

struct access_desk {
	struct gateway *gw;
	struct access_entry *bucket[ACCESS_BUCKETS];
	size_t count, busy;   /* entries */
	_Atomic bool resting; /* the loop sets it, once */

	pthread_mutex_t mutex; /* over the rest */
	pthread_cond_t wake, idle;
	struct access_job *todo, *done;
	struct access_job *_Atomic now; /* what the thread is at */
	bool thread, stop, ended;
};

static inline struct access_entry *
access_entry_of(struct access_job *j)
{
	return (struct access_entry *)((char *)j - offsetof(struct access_entry, job));
}

/* access_thread.c [loop]: hands the entry's job over.  False: there is no thread. */
bool access_give(struct access_entry *e, enum access_step step);
/* access_fetch.c */
void access_set_busy(struct access_entry *e, bool busy);

#endif
