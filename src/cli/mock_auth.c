/*
 * mock_auth.c - who may ask the mock: keys where each protocol has them, signatures of AWS verified
 * by the rules of SigV4, and token endpoints (SAP, Google, Entra ID) whose tokens end.
 */
#include "cli/mock-int.h"

#include "base/hash.h"
#include "base/json.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOKENS_MOST    256
#define TOKEN_PREFIX   "mock-token."
#define SKEW_SECONDS   300
#define SIGNED_HEADERS 32
#define CANONICAL_MOST (1024 * 1024)

struct mock_auth mock_auth = { .token_seconds = 3600 };
int64_t mock_tokens_asked;

static struct token {
	char text[80];
	int64_t ends_s;
} tokens[TOKENS_MOST];
static size_t tokens_given;

/* ---- tokens ---- */

static const char *
give_token(void)
{
	struct token *t = &tokens[tokens_given % TOKENS_MOST];
	uint8_t digest[SHA256_BYTES];
	char seed[32], hex[33];

	(void)snprintf(seed, sizeof seed, "mock %zu", ++tokens_given);
	hash_sha256(seed, strlen(seed), digest);
	hash_hex(digest, 16, hex);
	(void)snprintf(t->text, sizeof t->text, TOKEN_PREFIX "%zu.%s", tokens_given, hex);
	t->ends_s = mock_now_s() + mock_auth.token_seconds;
	return t->text;
}

static bool
token_lives(struct span text)
{
	for (size_t i = 0; i < TOKENS_MOST; i++)
		if (tokens[i].text[0] != '\0' && span_is(text, tokens[i].text))
			return tokens[i].ends_s > mock_now_s();
	return false;
}

void
mock_auth_expire(void)
{
	for (size_t i = 0; i < TOKENS_MOST; i++)
		tokens[i].ends_s = 0;
}

static struct span
unquoted(struct json_value v)
{
	return v.type == JSON_STRING ? (struct span){ v.raw.at + 1, v.raw.len - 2 } : SPAN_NONE;
}

/* base64url without padding, into a buffer of the caller.  Its length, or -1. */
static int
decode_url64(struct span text, unsigned char *out, size_t out_bytes)
{
	char plain[8192];
	size_t padding = (4 - text.len % 4) % 4;
	int len;

	if (text.len + padding >= sizeof plain || out_bytes < (text.len + padding) / 4 * 3)
		return -1;
	for (size_t i = 0; i < text.len; i++)
		plain[i] = text.at[i] == '-' ? '+' : text.at[i] == '_' ? '/' : text.at[i];
	memset(plain + text.len, '=', padding);
	len = EVP_DecodeBlock(out, (unsigned char *)plain, (int)(text.len + padding));
	return len < 0 ? -1 : len - (int)padding;
}

static bool
is_signed_by(const char *file, struct span text, const unsigned char *signature, size_t len)
{
	FILE *f = fopen(file, "re");
	EVP_PKEY *key = f == NULL ? NULL : PEM_read_PUBKEY(f, NULL, NULL, NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = key != NULL && ctx != NULL &&
		    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		    EVP_DigestVerify(
			    ctx, signature, len, (const unsigned char *)text.at, text.len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	if (f != NULL)
		(void)fclose(f);
	return good;
}

/* NULL, or what is wrong with a service account's assertion. */
static const char *
check_assertion(const char *jwt)
{
	const char *first = strchr(jwt, '.'),
		   *second = first == NULL ? NULL : strchr(first + 1, '.');
	static unsigned char claims[8192], signature[8192];
	int64_t issued, ends;
	struct span text;
	int len;

	if (second == NULL)
		return "the assertion is no JWT";
	len = decode_url64(
		(struct span){ first + 1, (size_t)(second - first - 1) }, claims, sizeof claims);
	if (len < 0)
		return "the assertion's claims are not base64url";
	text = (struct span){ (char *)claims, (size_t)len };
	if (json_int(json_get(text, "iat"), &issued) != 0 ||
		json_int(json_get(text, "exp"), &ends) != 0 || ends <= mock_now_s() ||
		ends - issued > 3600)
		return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a "
		       "reasonable timeframe.";
	if (unquoted(json_get(text, "iss")).len == 0 || unquoted(json_get(text, "aud")).len == 0 ||
		unquoted(json_get(text, "scope")).len == 0)
		return "Invalid JWT: iss, aud and scope are required.";
	if (mock_auth.jwt_key == NULL)
		return NULL;
	len = decode_url64(span_of(second + 1), signature, sizeof signature);
	if (len < 0 ||
		!is_signed_by(mock_auth.jwt_key, (struct span){ jwt, (size_t)(second - jwt) },
			signature, (size_t)len))
		return "Invalid JWT Signature.";
	return NULL;
}

static void
refuse_token(struct mock_exchange *x, int status, const char *error, const char *why)
{
	struct bytes body = BYTES_LIMIT(4096);

	(void)bytes_printf(&body, "{\"error\":\"%s\",\"error_description\":\"%s\"}", error, why);
	mock_reply(x, status, "application/json", bytes_span(&body));
	bytes_free(&body);
}

/* The credential of a form or of HTTP Basic, as "ID:SECRET". */
static bool
read_client(const struct mock_exchange *x, char *out, size_t out_bytes)
{
	char id[512], secret[512];
	struct span a = x->keys.authorization;

	if (a.len > 6 && a.len < out_bytes && strncmp(a.at, "Basic ", 6) == 0) {
		char text[1024];
		int len;

		if (!span_copy((struct span){ a.at + 6, a.len - 6 }, text, sizeof text))
			return false;
		len = EVP_DecodeBlock(
			(unsigned char *)out, (unsigned char *)text, (int)strlen(text));
		while (len > 0 && out[len - 1] == '\0')
			len--;
		if (len < 0)
			return false;
		out[len] = '\0';
		return true;
	}
	if (!mock_parameter(x->body, "client_id", id, sizeof id) ||
		!mock_parameter(x->body, "client_secret", secret, sizeof secret))
		return false;
	return snprintf(out, out_bytes, "%s:%s", id, secret) < (int)out_bytes;
}

bool
mock_auth_answer(struct mock_exchange *x)
{
	static char assertion[16384];
	bool google = span_is(x->path, "/token"), sap = span_is(x->path, "/oauth/token"), entra;
	struct bytes body = BYTES_LIMIT(4096);
	char grant[64] = "", client[1100] = "", scope[256] = "";
	const char *wrong;

	entra = x->path.len > 18 &&
		memcmp(x->path.at + x->path.len - 18, "/oauth2/v2.0/token", 18) == 0;
	if ((!google && !sap && !entra) || !span_is(x->method, "POST"))
		return false;
	mock_tokens_asked++;
	if (mock_error_scripted(x))
		return true;
	(void)(mock_parameter(x->body, "grant_type", grant, sizeof grant) ||
		mock_parameter(x->query, "grant_type", grant, sizeof grant));
	if (google) {
		wrong = strcmp(grant, "urn:ietf:params:oauth:grant-type:jwt-bearer") != 0
				? "grant_type is not that of an assertion"
			: !mock_parameter(x->body, "assertion", assertion, sizeof assertion)
				? "assertion is missing"
				: check_assertion(assertion);
		if (wrong != NULL) {
			refuse_token(x, 400, "invalid_grant", wrong);
			return true;
		}
	} else if (strcmp(grant, "client_credentials") != 0) {
		refuse_token(x, 400, "unsupported_grant_type", "client_credentials is taken here");
		return true;
	} else if (!read_client(x, client, sizeof client) ||
		   (mock_auth.client != NULL && strcmp(client, mock_auth.client) != 0)) {
		refuse_token(x, 401, "invalid_client", "Bad client credentials");
		return true;
	} else if (entra && !mock_parameter(x->body, "scope", scope, sizeof scope)) {
		refuse_token(x, 400, "invalid_request", "The request body must contain: 'scope'.");
		return true;
	}
	(void)bytes_printf(&body,
		"{\"access_token\":\"%s\",\"token_type\":\"%s\",\"expires_in\":%lld%s}",
		give_token(), sap ? "bearer" : "Bearer", (long long)mock_auth.token_seconds,
		sap ? ",\"scope\":\"uaa.resource\",\"jti\":\"mock\"" : "");
	mock_reply(x, 200, "application/json", bytes_span(&body));
	bytes_free(&body);
	return true;
}

/* ---- signatures of AWS ---- */

static struct span
part_after(struct span text, const char *name)
{
	const char *at = text.len == 0 ? NULL : memmem(text.at, text.len, name, strlen(name));
	size_t left, len;

	if (at == NULL)
		return SPAN_NONE;
	at += strlen(name);
	left = (size_t)(text.at + text.len - at);
	for (len = 0; len < left && at[len] != ',' && at[len] != ' ';)
		len++;
	return (struct span){ at, len };
}

static void
put_encoded(struct bytes *to, struct span text, bool keep_slash)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			memchr("-._~", c, 4) != NULL || (keep_slash && c == '/'))
			(void)bytes_add(to, &c, 1);
		else
			(void)bytes_printf(to, "%%%02X", c);
	}
}

/* Trimmed, runs of blanks made one. */
static void
put_trimmed(struct bytes *to, struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] != ' ' || (i + 1 < value.len && value.at[i + 1] != ' '))
			(void)bytes_add(to, value.at + i, 1);
}

static void
put_hash(struct bytes *to, struct span text)
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	hash_sha256(text.at, text.len, digest);
	hash_hex(digest, sizeof digest, hex);
	(void)bytes_puts(to, hex);
}

/* false: a header that is said to be signed is not there. */
static bool
put_canonical(struct bytes *to, const struct mock_exchange *x, struct span signed_headers)
{
	struct span left = signed_headers;

	(void)bytes_printf(to, "%.*s\n", (int)x->method.len, x->method.at);
	put_encoded(to, x->path, true);
	/* Queries of this service are empty; another's is taken as it stands, in its order. */
	(void)bytes_printf(to, "\n%.*s\n", (int)x->query.len, x->query.len == 0 ? "" : x->query.at);
	while (left.len > 0) {
		const char *semicolon = memchr(left.at, ';', left.len);
		size_t len = semicolon == NULL ? left.len : (size_t)(semicolon - left.at);
		char name[128];
		struct span value;

		if (!span_copy((struct span){ left.at, len }, name, sizeof name))
			return false;
		value = mock_header(x, name);
		if (value.at == NULL)
			return false;
		(void)bytes_printf(to, "%s:", name);
		put_trimmed(to, value);
		(void)bytes_puts(to, "\n");
		len += semicolon != NULL;
		left.at += len;
		left.len -= len;
	}
	(void)bytes_printf(to, "\n%.*s\n", (int)signed_headers.len, signed_headers.at);
	if (mock_header(x, "x-amz-content-sha256").len > 0)
		put_trimmed(to, mock_header(x, "x-amz-content-sha256"));
	else
		put_hash(to, x->body);
	return !to->failed;
}

/* The scope: "20260115/us-east-1/bedrock/aws4_request". */
static void
make_signature(
	const char *secret, struct span scope, struct span to_sign, char hex[2 * SHA256_BYTES + 1])
{
	uint8_t key[SHA256_BYTES];
	char first[256];

	(void)snprintf(first, sizeof first, "AWS4%s", secret);
	for (bool begun = false; scope.len > 0; begun = true) {
		const char *slash = memchr(scope.at, '/', scope.len);
		size_t len = slash == NULL ? scope.len : (size_t)(slash - scope.at);

		hash_hmac(begun ? (void *)key : first, begun ? sizeof key : strlen(first), scope.at,
			len, key);
		len += slash != NULL;
		scope.at += len;
		scope.len -= len;
	}
	hash_hmac(key, sizeof key, to_sign.at, to_sign.len, key);
	hash_hex(key, sizeof key, hex);
}

static bool
date_is_near(struct span date)
{
	struct tm tm = { 0 };
	char text[32];
	int64_t at;

	if (!span_copy(date, text, sizeof text) || strptime(text, "%Y%m%dT%H%M%SZ", &tm) == NULL)
		return false;
	at = (int64_t)timegm(&tm);
	return at > mock_now_s() - SKEW_SECONDS && at < mock_now_s() + SKEW_SECONDS;
}

/* NULL, or what is wrong with the signature. */
static const char *
check_signature(const struct mock_exchange *x)
{
	struct span a = x->keys.authorization, credential = part_after(a, "Credential="),
		    headers = part_after(a, "SignedHeaders="), given = part_after(a, "Signature="),
		    scope, date = mock_header(x, "x-amz-date");
	struct bytes canonical = BYTES_LIMIT(CANONICAL_MOST), to_sign = BYTES_LIMIT(4096);
	char id[128], secret[128] = "", session[1024] = "", hex[2 * SHA256_BYTES + 1];
	const char *slash = credential.len == 0 ? NULL : memchr(credential.at, '/', credential.len);
	bool complete;

	if (slash == NULL || headers.len == 0 || given.len != sizeof hex - 1)
		return "Authorization header requires 'Credential', 'SignedHeaders' and "
		       "'Signature' "
		       "parameters.";
	if (!date_is_near(date))
		return "Signature expired or not yet current: x-amz-date is not near the present.";
	if (mock_auth.aws == NULL)
		return NULL;
	if (sscanf(mock_auth.aws, "%127[^:]:%127[^:]:%1023s", id, secret, session) < 2)
		return "The mock's --aws is not ID:SECRET.";
	if (!span_is((struct span){ credential.at, (size_t)(slash - credential.at) }, id))
		return "The security token included in the request is invalid.";
	if (session[0] != '\0' && !span_is(mock_header(x, "x-amz-security-token"), session))
		return "The security token included in the request is invalid.";
	scope = (struct span){ slash + 1, credential.len - (size_t)(slash + 1 - credential.at) };
	complete = put_canonical(&canonical, x, headers);
	(void)bytes_printf(&to_sign, "AWS4-HMAC-SHA256\n%.*s\n%.*s\n", (int)date.len, date.at,
		(int)scope.len, scope.at);
	put_hash(&to_sign, bytes_span(&canonical));
	make_signature(secret, scope, bytes_span(&to_sign), hex);
	bytes_free(&canonical);
	bytes_free(&to_sign);
	if (!complete || memmem(headers.at, headers.len, "host", 4) == NULL)
		return "The signed headers are not all there, or host is not one of them.";
	if (memmem(scope.at, scope.len, "/bedrock/aws4_request", 21) == NULL)
		return "Credential should be scoped to correct service: 'bedrock'.";
	if (!span_is(given, hex))
		return "The request signature we calculated does not match the signature you "
		       "provided. Check your AWS Secret Access Key and signing method.";
	return NULL;
}

/* ---- the door ---- */

/* The key where this protocol has it. */
static struct span
own_key(const struct mock_exchange *x)
{
	const struct mock_keys *k = &x->keys;

	if (x->sap || x->vertex || x->openrouter)
		return k->bearer;
	switch (x->dialect) {
	case MOCK_ANTHROPIC:
		return k->x_api_key.len > 0 ? k->x_api_key : k->bearer;
	case MOCK_GEMINI:
		return k->goog_key.len > 0 ? k->goog_key : k->query_key;
	case MOCK_AZURE:
		return k->api_key.len > 0 ? k->api_key : k->bearer;
	default:
		return k->bearer;
	}
}

void
mock_auth_refuse(struct mock_exchange *x)
{
	if (x->sap)
		mock_reply(x, 401, "text/plain", SPAN_LIT("Jwt is missing or expired"));
	else if (x->vertex)
		mock_error(x, 401, NULL);
	else
		mock_error_kind(x, KIND_KEY, NULL);
}

bool
mock_auth_admits(struct mock_exchange *x)
{
	struct span key = own_key(x);
	bool issued = span_starts(x->keys.bearer, TOKEN_PREFIX);

	if (x->dialect == MOCK_BEDROCK && !x->sap &&
		span_starts(x->keys.authorization, "AWS4-HMAC-SHA256 ")) {
		const char *wrong = check_signature(x);

		if (wrong == NULL)
			return true;
		x->exception = "InvalidSignatureException";
		mock_error(x, 403, wrong);
		return false;
	}
	if (issued && !token_lives(x->keys.bearer)) {
		mock_auth_refuse(x);
		return false;
	}
	if (!mock_auth.strict)
		return true;
	if (x->dialect == MOCK_ANTHROPIC && !x->sap && !x->vertex && !x->openrouter &&
		mock_header(x, "anthropic-version").len == 0) {
		mock_error(x, 400, "anthropic-version: header is required");
		return false;
	}
	if (x->sap && mock_header(x, "ai-resource-group").len == 0) {
		mock_reply(x, 403, "text/plain", SPAN_LIT("RBAC: access denied"));
		return false;
	}
	if (x->sap || x->vertex ? issued : issued || (key.len > 0 && mock_key_is_good(key)))
		return true;
	mock_auth_refuse(x);
	return false;
}
