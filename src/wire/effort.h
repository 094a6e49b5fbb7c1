/*
 * effort.h - how much a model is to reason: levels by name, and what they are in tokens.
 *
 * Facts: reference conversion.md, table 3.
 */
#ifndef WIRE_EFFORT_H
#define WIRE_EFFORT_H

#include "wire/neutral.h"

#define EFFORT_BUDGET_LEAST 1024 /* tokens; the least that Anthropic's models take */

const char *effort_name(enum effort e); /* "low"; "" of UNSET */
/* UNSET: no such level. */
enum effort effort_named(struct span plain);
/* Tokens to reason with; 0 of NONE, -1 of UNSET. */
int64_t effort_budget(enum effort e);
/* The level that comes nearest to so many tokens. */
enum effort effort_of_budget(int64_t tokens);

#endif
