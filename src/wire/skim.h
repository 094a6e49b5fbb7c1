/*
 * skim.h - what sluice needs to know of a conversation's request before anything is decided, in
 * whatever format it comes: model, stream, ceilings, end user, size.  Nothing is built.
 */
#ifndef WIRE_SKIM_H
#define WIRE_SKIM_H

#include "wire/format.h"
#include "wire/openai.h"

/* openai_skim() for OpenAI's formats, the same of the others.  model_value is set where the body
 * holds the model, so that openai_rewrite() can replace it.  0, or -1 with ERR_BAD_REQUEST. */
int skim_request(const struct format *f, const struct request_source *source, const char *endpoint,
	struct openai_request *out, struct err *err);

/* What is to be counted, out of the body of a request for a number of tokens: the conversation, which
 * may stand deeper in it, or in base64 and then in another format (*f, which is the caller's).  In
 * a, where it has to be decoded. */
struct span skim_counted(struct arena *a, const struct format **f, struct span body);

#endif
