/*
 * gemini.h - Gemini's generateContent, read and written.
 *
 * Members are taken in camelCase and in snake_case, as Google does.  Facts: reference gemini.md.
 *
 * Ids of calls: none are sent to Gemini (R15), where results stand in the order of the calls.  A
 * client's calls and results without id have one after reading (R17).
 *
 * Names of tools that Gemini refuses are changed by names_fit() and come back in the answer by
 * reply_options.renamed (names.h).
 *
 * Signatures: of Gemini's own (SIGNER_GEMINI) on reasoning, calls and text.  To models of generation
 * 3 and later the first call of a turn that has none goes with a word that Google takes instead.
 */
#ifndef WIRE_GEMINI_H
#define WIRE_GEMINI_H

#include "wire/format.h"

FORMAT_FUNCTIONS(gemini);
bool gemini_takes_url(const struct neutral_part *p); /* Google reads some addresses by itself */

/* The body of :countTokens as a request: {"contents":[…]} or {"generateContentRequest":{…}}.  As
 * gemini_read_request(). */
int gemini_read_count(const struct request_source *from, struct neutral_request *n,
	struct losses *lost, struct err *err);

#endif
