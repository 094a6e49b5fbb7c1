/*
 * weigh.h - how many tokens a request's text, images and sound may be, by their size: for a reservation
 * that the provider's own figure replaces.  Any dialect's body; one pass, nothing is decoded.
 */
#ifndef WIRE_WEIGH_H
#define WIRE_WEIGH_H

#include "base/bytes.h"
#include <stdint.h>

struct weight {
	int64_t text_bytes; /* as they stand in JSON: UTF-8, escapes counted with their backslash */
	int64_t tokens;
	int64_t images; /* that may yet be said to be looked at from afar */
};

/* Adds what one checked JSON value weighs; SPAN_NONE: nothing.  {0} to begin with. */
void weigh(struct span raw, struct weight *w);
/* Text by its length, media by kind. */
int64_t weight_tokens(const struct weight *w);

#endif
