/*
 * anthropic.h - Anthropic's messages: what a request, an answer and a stream say, and how they are written.
 *
 * Facts: reference anthropic.md; bedrock.md section 6 for the kin in bedrock_invoke.h.
 */
#ifndef WIRE_ANTHROPIC_H
#define WIRE_ANTHROPIC_H

#include "wire/format.h"

#define ANTHROPIC_KIN "anthropic messages"

FORMAT_FUNCTIONS(anthropic);
FORMAT_SPLICES(anthropic);

#endif
