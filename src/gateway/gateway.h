/*
 * gateway.h - the corridor: the only place that knows the order of the rooms.
 *
 *   exchange.c   one request's way: states, who owns it when
 *   admission.c  ADMIT: from bytes to a lease and a plan; on intake threads
 *   attempt.c    FORWARD: the provider's bytes and what becomes of them; on the loop
 *   judge.c      what an attempt's end means;  spent.c  what it cost
 *   walk.c       the way along a plan: who is next, how often, how long
 *   credential.c what an upstream is to know us by: keys, access tokens, signatures
 *   access*.c    access tokens that keys buy: kept, renewed ahead, shared
 *   candidate.c  limits of the upstream and the key that are next
 *   guard.c      a stream that goes beyond what its budgets hold
 *   remember.c   who may pass when the store is not to be had
 *   tags.c       X-Sluice-Tag
 *   answer.c     what the client is told: heads, errors, lists
 *   listing.c    lists of models and upstreams, as each caller knows them
 *   rounds.c     calls of our own at providers, when they are due
 *   gateway.c    the process: threads, loop, snapshot, clerk
 *   endpoint.c   what is reachable
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

/* Runs sluice.fcgi: FastCGI on fd 0, or one request as plain CGI.  Returns the exit code. */
int gateway_main(int argc, char **argv);

#endif
