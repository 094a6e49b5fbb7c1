/*
 * provider.h - whom an upstream can be: which formats it speaks, into which others' requests are
 * converted for it, and where at it they go.
 *
 * Facts: reference openai.md 1, 9, 10; anthropic.md 1; gemini.md 1; bedrock.md 1 and its part on SAP.
 * Pure, safe over threads.
 */
#ifndef WIRE_PROVIDER_H
#define WIRE_PROVIDER_H

#include "wire/format.h"

struct provider {
	const char *name;       /* as in an upstream's record */
	bool is_model;          /* false: plain HTTP, nothing is known of its bodies */
	enum dialect dialect;   /* of paths that are no conversation: only callers of that dialect go there */
	unsigned speaks;        /* a bit for each enum format_id that is passed on as bytes */
	enum format_id into;    /* what other formats are converted into */
	const char *root;       /* what a base URL without a path gets */
};
/* In the order of enum upstream_protocol.  NULL: there is none of that number. */
const struct provider *provider_at(int number);

/* The format in which a request of that format goes there. */
const struct format *provider_format(const struct provider *p, const struct format *from);
/*
 * Appends the path behind the base URL, with a query where the format has one:
 * "/models/gemini-2.5-flash:streamGenerateContent?alt=sse".  f: of provider_format().  The model is escaped
 * as one segment.  0, or -1 out of memory.
 */
int provider_path(const struct provider *p, const struct format *f, struct span model, bool stream,
	struct bytes *out);
/* Does the body of that format hold the model's name?  (Else the path does.) */
bool provider_model_in_body(const struct provider *p, const struct format *f);

#endif
