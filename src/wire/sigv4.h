/*
 * sigv4.h - AWS Signature Version 4: a request in, the values of its headers out.
 *
 * Pure: the time is an argument.  Facts: reference bedrock.md, section 2.2.  Signed are host,
 * x-amz-date, content-type and x-amz-security-token, as far as they are there; other headers may be
 * sent beside them.  Safe over threads.
 */
#ifndef WIRE_SIGV4_H
#define WIRE_SIGV4_H

#include "base/bytes.h"
#include <stdint.h>

#define SIGV4_DATE_BYTES          sizeof "20260115T120000Z"
#define SIGV4_AUTHORIZATION_BYTES 640
#define SIGV4_QUERY_MAX           64 /* parameters */

struct sigv4_request {
	const char *method;
	struct span url; /* as it is sent: https://host[:port]/path[?query], percent-encoded */
	struct span content_type; /* as it is sent; "" none */
	struct span body;
	struct span id, secret;
	struct span session; /* of temporary credentials; "" none */
	struct span region, service;
	int64_t now_ms; /* wall clock */
};

struct sigv4_headers {
	char x_amz_date[SIGV4_DATE_BYTES];
	char authorization[SIGV4_AUTHORIZATION_BYTES];
	/* and, where there is a session, x-amz-security-token with it as it is */
};

/* 0, or -1: the address is none, something is too long, or memory is spent. */
int sigv4_sign(const struct sigv4_request *q, struct sigv4_headers *out);

#endif
