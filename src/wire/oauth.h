/*
 * oauth.h - keys that are not sent themselves but buy access tokens: SAP AI Core's service keys,
 * Google's service accounts, Entra ID's client credentials.  What is asked of the token endpoint and
 * what it answers; who calls it, and when, is for others.  Pure; safe over threads; never blocks.
 */
#ifndef WIRE_OAUTH_H
#define WIRE_OAUTH_H

#include "base/bytes.h"
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

enum oauth_kind {
	OAUTH_SAP,    /* client credentials; the secret is a service key of AI Core */
	OAUTH_GOOGLE, /* an assertion signed with RS256; the JSON file of a service account */
	OAUTH_ENTRA   /* client credentials; {"tenant","client_id","client_secret"}, what `az ad sp
	                 create-for-rbac` prints, or TENANT:CLIENT_ID:SECRET */
};

#define OAUTH_GIVEN_MAX   16384 /* of a secret as somebody pastes it */
#define OAUTH_SECRET_MAX  4000  /* of what is kept of it */
#define OAUTH_NAME_BYTES  64
#define OAUTH_URL_BYTES   512
#define OAUTH_TOKEN_BYTES 8192  /* with NUL */
#define OAUTH_REPLY_MAX   (64 * 1024)

/*
 * A secret as somebody pastes it becomes JSON with no more than is needed.  name: whom it is of, for
 * people to tell keys apart; nothing secret.  wants_certificate (may be NULL): it is a service key
 * without a client secret, and of use only with the certificate it was made for.  out: BYTES_LIMIT;
 * wipe it.  0, or -1 with a sentence that says what is expected and nothing of what was given.
 */
int oauth_read_secret(enum oauth_kind kind, struct span given, struct bytes *out,
	char name[OAUTH_NAME_BYTES], bool *wants_certificate, struct err *err);

struct oauth_request {
	char url[OAUTH_URL_BYTES]; /* http or https; whether the first will do is the caller's choice */
	struct bytes body;         /* application/x-www-form-urlencoded; holds secrets */
};
/* secret: as oauth_read_secret() made it.  token_url, scope: "" what is usual.  now_ms: wall clock.
 * 0, or -1: the secret does not fit (ERR_BAD_REQUEST), memory. */
int oauth_request_make(enum oauth_kind kind, struct span secret, const char *token_url,
	const char *scope, int64_t now_ms, struct oauth_request *out, struct err *err);
void oauth_request_free(struct oauth_request *r); /* wipes it; zeros are fine */

/* REFUSED: the key itself will not do.  FAILED: another time it may. */
enum oauth_outcome { OAUTH_GRANTED, OAUTH_REFUSED, OAUTH_FAILED };
struct oauth_reply {
	char token[OAUTH_TOKEN_BYTES]; /* fit for a header; wipe it */
	int64_t life_ms;
	char why[128]; /* refused, failed: "status 401 (invalid_client)" */
};
enum oauth_outcome oauth_reply_read(int status, struct span body, struct oauth_reply *out);

#endif
