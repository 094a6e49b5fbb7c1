/*
 * openai_chat.h - OpenAI's chat completions as a format: requests, answers and streams read into the
 * neutral form and written out of it.  Azure and OpenRouter speak it too, with additions.
 *
 * Text completions (/v1/completions) are not converted.  Facts: reference openai.md 2 to 4, 9, 10.
 */
#ifndef WIRE_OPENAI_CHAT_H
#define WIRE_OPENAI_CHAT_H

#include "wire/format.h"

FORMAT_FUNCTIONS(openai_chat);

/* With what OpenRouter takes besides: top_k and its like, reasoning with its signatures, cache marks. */
int openrouter_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err);

#endif
