/*
 * openai_responses.h - OpenAI's responses as a format: requests, answers and streams read into the
 * neutral form and written out of it.
 *
 * Without state: whoever refers to an answer of before is told to send the whole conversation.  Facts:
 * reference openai.md 5, conversion.md 7.6.
 */
#ifndef WIRE_OPENAI_RESPONSES_H
#define WIRE_OPENAI_RESPONSES_H

#include "wire/format.h"

FORMAT_FUNCTIONS(openai_responses);

#endif
