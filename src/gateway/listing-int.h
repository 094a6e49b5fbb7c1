/*
 * listing-int.h - what listing.c and openrouter.c share: one model of a list.
 */
#ifndef GATEWAY_LISTING_INT_H
#define GATEWAY_LISTING_INT_H

#include "gateway/gateway-int.h"

struct listed {
	struct span name;
	const struct upstream *upstream;    /* the first that has it; NULL: a route of all */
	const struct snapshot_model *found; /* what its provider says of it; NULL: nothing */
	int64_t created_ms;
};

bool listed_is_free(const struct listed *m);
/* Whom OpenAI's clients are told as its owner. */
struct span listed_owner(const struct listed *m);

/* openrouter.c: it as OpenRouter's list has it, and with the upstreams that serve it (0, or -1 with x->err).
 * [intake] */
void openrouter_model(struct bytes *out, const struct snapshot *p, const struct listed *m);
int openrouter_places(struct exchange *x, const struct listed *m, struct bytes *out);

#endif
