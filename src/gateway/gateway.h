/*
 * gateway.h - the corridor: the only place that knows the order of the rooms.
 *
 *   gateway.c    the process: threads, loop, snapshot, clerk
 *   endpoint.c   what is reachable
 *   exchange.c   one request's way: states, who owns it when
 *
 *   admission.c  ADMIT: from bytes to a lease and a plan; on intake threads
 *   tags.c       X-Sluice-Tag;  remember.c  who may pass when the store is not to be had
 *   dry.c        X-Sluice-Dry-Run
 *   queue.c      QUEUE: waiting until one of those who could serve it is free
 *   walk.c       the way along a plan: who is next, how often, how long
 *   candidate.c  limits of the upstream and the key that are next
 *   credential.c what an upstream is to know us by: keys, signatures;  access*.c  access tokens that
 *                keys buy: kept, renewed ahead, shared
 *   translate.c  the request as that provider wants it;  where.c, media.c  what it names by address;
 *                signed.c  what models signed
 *   attempt.c    FORWARD: the provider's bytes and what becomes of them; on the loop
 *   guard.c      a stream that goes beyond what its budgets hold
 *   judge.c      what an attempt's end means;  spent.c  what it cost;  decision.c  what is kept of why
 *
 *   answer.c     what the client is told: heads, errors, lists
 *   listing.c    lists of models and upstreams, as each caller knows them;  openrouter.c  as OpenRouter has them
 *   rounds.c     calls of our own at providers, when they are due
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

/* Runs sluice.fcgi: FastCGI on fd 0, or one request as plain CGI.  Returns the exit code. */
int gateway_main(int argc, char **argv);

#endif
