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
	const char *name; /* as in an upstream's record */
	bool is_model;    /* false: plain HTTP, nothing is known of its bodies */
	enum dialect
		dialect; /* of paths that are no conversation: only callers of that dialect go there */
	unsigned speaks;     /* a bit for each enum format_id that is passed on as bytes */
	enum format_id into; /* what other formats are converted into */
	const char *root;    /* what a base URL without a path gets */
};
/* In the order of enum upstream_protocol.  NULL: there is none of that number. */
const struct provider *provider_at(int number);

/* The format in which a request of that format goes there. */
const struct format *provider_format(const struct provider *p, const struct format *from);
/* What is asked for at a provider. */
struct provider_call {
	const struct format *format; /* of provider_format(); NULL: no conversation … */
	struct span path;            /* … but this, behind the root: "/embeddings" */
	struct span model;           /* plain; may be empty where there is a path */
	bool stream;
	bool array;        /* Gemini: one JSON array instead of events */
	struct span query; /* without "?", as it is to be sent on; may be empty */
};
/*
 * Appends the whole address.  base_url may bring a path, which then takes the place of the root, and
 * a query ("?api-version=2024-10-21"), which is kept.  Models are escaped as one segment.  Azure's own
 * paths by deployment are used unless base_url ends in "/openai/v1".  0, or -1 out of memory.
 */
int provider_url(const struct provider *p, const char *base_url, const struct provider_call *call,
	struct bytes *out);
/* Does it name deployments in the path, and versions in the query, as Azure does? */
bool provider_is_azure(const struct provider *p);
/* Does the body of that format hold the model's name?  (Else the path does.) */
bool provider_model_in_body(const struct provider *p, const struct format *f);

#endif
