/*
 * names.h - names of tools that a dialect refuses, made fit for it, and the way back.
 *
 * A writer of requests calls names_fit() first; what it had to change stands in request_made.renamed.
 * The answer is turned back by convert.c, before it is written, through reply_options.renamed: so no
 * reader or writer of answers knows of it.  Facts: reference conversion.md, section 10, trap 7.
 */
#ifndef WIRE_NAMES_H
#define WIRE_NAMES_H

#include "wire/neutral.h"

struct name_rule {
	size_t most;       /* characters; at least 32 */
	const char *extra; /* allowed beside letters and digits: "_-" */
	bool letter_first; /* the first must be a letter or "_" */
};

/* Those of the tools offered that were changed; in the request's arena. */
struct name_pair {
	struct span client, sent;
};
struct names {
	struct name_pair *pair;
	size_t count;
};

/* Changes every name of a function in n that breaks the rule: other characters become "_", and a digest
 * of the whole ends it, so that different ones stay different and one name always becomes the same.
 * 0, or -1 out of memory. */
int names_fit(struct neutral_request *n, const struct name_rule *rule, struct names *out);
/* The client's name for one that a provider called; the same where it was not changed.  names may be NULL. */
struct span names_back(const struct names *names, struct span sent);

#endif
