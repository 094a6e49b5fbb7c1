/*
 * failure_rule.h - rules by which certain failures mean something else than they usually do.
 *
 * A list of rules is text, one a line; upstreams and policies have one each:
 *
 *   status=529,500-599 type=overloaded body=/regex/ header:retry-after=/regex/ error=timeout -> next nocount cool=60
 *
 * Left of the arrow are conditions that must all hold (none: every failure), right of it what then is
 * so.  The first rule that fits decides.  Blank lines, and lines that begin with #, say nothing.
 *
 *   status=   codes and ranges of what was answered; 0 stands for no answer
 *   type=     words, one of which the error's code, type or status is or holds; any case
 *   error=    timeout, connect, empty, stream, or the kind: key_invalid, no_credit, rate_limited,
 *             overloaded, model, request, transient
 *   body=, header:NAME=   POSIX extended regular expressions between slashes, or quotes; "\/" for a slash
 *   next / stop           somebody else is asked / the client gets this answer
 *   count / nocount       it counts for circuit breakers, or does not
 *   cool=N                what the failure's kind puts to rest rests so many seconds (0: not at all)
 *
 * Any thread, the loop too: what was compiled once is kept for the process.
 */
#ifndef ROUTE_FAILURE_RULE_H
#define ROUTE_FAILURE_RULE_H

#include "base/bytes.h"
#include "base/err.h"
#include "wire/error.h"

#include <stdint.h>

#define FAILURE_RULES_MAX      32   /* of one list */
#define FAILURE_RULE_BYTES     512  /* of a line */
#define FAILURE_REGEX_BYTES    200  /* without back references, and with bounded repetition once at most */
#define FAILURE_BODY_BYTES     4096 /* looked at of a body or a header's value */
#define FAILURE_COOL_MAX_S     (30 * 86400)

struct failure_seen {
	enum failure failure;
	int status;                  /* 0: no answer */
	struct span type, body;      /* the error's own words for itself, with blanks between; what was read */
	bool is_timeout, is_connect;
	bool is_empty;               /* a success that holds nothing */
	bool is_stream_error;        /* an error event, or an end without content, in a stream */
	struct span (*header)(void *ctx, const char *name); /* "" where absent; NULL: there are none */
	void *ctx;
};

enum failure_then { RULE_DEFAULT, RULE_NEXT, RULE_STOP };

struct failure_verdict {
	bool matched;     /* false: the rest is as usual */
	bool counts;      /* for breakers */
	enum failure_then then;
	int64_t rest_ms;  /* as in struct route_outcome: 0 as usual, -1 nothing rests */
	char rule[96];    /* the line, cut: the evidence */
};

/* Is the list one that can be applied?  0, or -1 with ERR_BAD_REQUEST that names the line and says what is
 * wrong with it, or ERR_MEMORY. */
int failure_rules_check(struct span text, struct err *err);

/* The first rule that fits, the lists in their order (NULL or "": none).  A list that cannot be applied
 * is passed over. */
void failure_rules_apply(const char *const *lists, int n, const struct failure_seen *seen,
	struct failure_verdict *v);

#endif
