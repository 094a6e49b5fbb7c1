/*
 * endpoint.h - what the gateway answers to.  Nothing is reachable that is not in its table.
 *
 * Only REQUEST_URI is the same behind all web servers and it holds the mount prefix, so the
 * leftmost place at a segment's start where an endpoint's path fits decides: everything before
 * it is the mount.  Pure; safe over threads.
 */
#ifndef GATEWAY_ENDPOINT_H
#define GATEWAY_ENDPOINT_H

#include "base/bytes.h"
#include "wire/format.h"

enum endpoint_kind {
	ENDPOINT_FORWARD,   /* to a provider */
	ENDPOINT_MODELS,    /* what this token may use */
	ENDPOINT_MODEL,     /* one of them */
	ENDPOINT_MODEL_COUNT,
	ENDPOINT_PLACES,    /* the upstreams that serve one of them */
	ENDPOINT_UPSTREAMS, /* their names */
	ENDPOINT_PROVIDERS, /* the same, as OpenRouter has them */
	ENDPOINT_KEY,       /* the caller's own token */
	ENDPOINT_KEYS,      /* the same, as a list */
	ENDPOINT_CREDITS,   /* what it may spend */
	ENDPOINT_COUNT,     /* how many tokens a conversation has */
	ENDPOINT_HEALTH,    /* open to all */
	ENDPOINT_METRICS,   /* to those the settings name */
	ENDPOINT_SINK       /* takes what clients tell of themselves, and forgets it */
};

/* Where a path that ends in "*" names a model. */
enum endpoint_shape {
	SHAPE_PLAIN,
	SHAPE_GEMINI,  /* "gemini-2.5-flash:generateContent" */
	SHAPE_BEDROCK, /* "anthropic.claude-3-haiku-20240307-v1%3A0/converse" */
	SHAPE_AZURE,   /* "my-deployment/chat/completions" */
	SHAPE_PLACES   /* "author/model/endpoints", or one without that end */
};
#define ENDPOINT_PLACES_TAIL "/endpoints"

/* Other gateways' addresses: what their clients look for in an error stands beside ours. */
enum endpoint_face { FACE_PLAIN, FACE_PROXY, FACE_OPENROUTER };

struct endpoint {
	const char *methods; /* "GET POST"; "*" any */
	const char *path;    /* a last segment of "*" takes any rest */
	enum endpoint_kind kind;
	enum dialect dialect;
	const char *provider_path; /* what stands for `path` at the provider: "/chat/completions" */
	bool by_prefix;            /* stands below the proxy prefix */
	bool upload;               /* the larger body limit */
	enum endpoint_shape shape;
	enum endpoint_face face;
	const char *
		format; /* of a conversation, as wire/format.h names it; NULL: none, or by its shape */
};

struct endpoint_match {
	const struct endpoint *endpoint;
	struct span mount; /* before it */
	struct span
		path; /* from the endpoint on, without the proxy prefix: "/v1/chat/completions" */
	struct span rest; /* what "*" stood for */
	enum endpoint_kind kind;
	enum dialect dialect;        /* the caller's */
	const struct format *format; /* of a conversation; NULL: none */
	struct span model;           /* that the path names, still percent-encoded; or SPAN_NONE */
	struct span action;          /* … and what is to be done with it: "generateContent" */
	bool stream;                 /* the path says that the answer is to stream */
};

/* Which dialect's errors the caller reads. */
enum dialect endpoint_dialect(const struct endpoint_match *m);
/* Anthropic's SDK asks for lists and files at paths that are OpenAI's too; the header
 * "anthropic-version", which it always sends, tells (empty: absent). */
void endpoint_see_version(struct endpoint_match *m, struct span anthropic_version);
/* The path of OpenAI's as their documentation has it, whatever stands before it:
 * "/v1/embeddings".  Of other dialects: the path.  Cut where it does not fit. */
void endpoint_plain_path(const struct endpoint_match *m, char *out, size_t room);

/* Returns 200 with *found set, 404, or 405 (path known, method not; *found is set). */
int endpoint_find(const char *method, struct span path, const char *proxy_prefix,
	struct endpoint_match *found);

/* No "." or ".." segment and no backslash, dots, slashes and backslashes plain or percent-encoded: a
 * path that stays below its base at the provider. */
bool endpoint_path_is_clean(struct span path);

#endif
