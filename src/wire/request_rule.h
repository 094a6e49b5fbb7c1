/*
 * request_rule.h - what a route changes of a request: a list of rules, one a line.
 *
 *   set a.b=JSON       the member is that, whatever the client says
 *   default a.b=JSON   … where the client says nothing
 *   remove a.b         it is not sent on
 *   system TEXT        stands before the client's own instructions
 *   header NAME: TEXT  goes to the provider
 *   cap max_tokens=N   the answer's ceiling, by whichever name; also where the client names none
 *
 * They hold for the request as the client wrote it, in its own format, so members are named as that has
 * them; conversion comes later.  Nothing is built: the text is spliced, and what no rule speaks of
 * stays byte for byte.  Pure, safe over threads.
 */
#ifndef WIRE_REQUEST_RULE_H
#define WIRE_REQUEST_RULE_H

#include "wire/format.h"

#define REQUEST_RULE_DEPTH 8 /* of "a.b.c" */

/* Can that one rule be applied?  0, or -1 with ERR_BAD_REQUEST and a sentence that says what is wrong. */
int request_rule_check(struct span rule, struct err *err);

/*
 * All of the list that change a body, in order; bit i of *changed tells that the one after i others did, bit
 * 31 stands for all from there on.  f: its format, NULL where it
 * is no conversation (then `system` and `cap` say nothing).  What can not be done to that body (a member
 * of something that is no object) is left.  *body becomes the caller's span in a, or stays as it is.
 * 0, or -1 with ERR_MEMORY.
 */
int request_rules_apply(struct arena *a, const char *list, const struct format *f, struct span *body,
	uint32_t *changed, struct err *err);
/* The same bits of those that add a header. */
uint32_t request_rules_heads(const char *list);

/* The next header of the list, from *at on; false: none is left. */
bool request_rules_header(const char **at, struct span *name, struct span *value);
/* The next of all rules as it is written, of a header only its name; false: none is left. */
bool request_rules_next(const char **at, struct span *text);

#endif
