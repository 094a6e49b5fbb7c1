/*
 * oauth.c - requests for access tokens (RFC 6749, 4.4; RFC 7523 for Google) and their answers.
 */
#include "wire/oauth.h"

#include "base/json.h"
#include "wire/auth.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define PEM_MAX         4000
#define MEMBER_BYTES    1024
#define SIGNATURE_MAX   1024         /* RSA of 8192 bits */
#define CLAIM_LIFE_S    3600         /* the longest Google takes */
#define CLAIM_SKEW_S    10           /* should our clock be ahead */
#define LIFE_UNKNOWN_MS (300 * 1000) /* of a token whose life is not stated */
#define LIFE_MOST_MS    (7 * 86400 * 1000LL)

#define GOOGLE_URL   "https://oauth2.googleapis.com/token"
#define GOOGLE_SCOPE "https://www.googleapis.com/auth/cloud-platform"
#define ENTRA_URL    "https://login.microsoftonline.com/%s/oauth2/v2.0/token"
#define ENTRA_SCOPE  "https://cognitiveservices.azure.com/.default"

/* What of a secret is of use; empty: it is not in there. */
struct secret {
	char client[MEMBER_BYTES], password[MEMBER_BYTES], url[OAUTH_URL_BYTES];
	char tenant[128], key_id[128];
	char pem[PEM_MAX];
	bool by_certificate;
};

static int
refuse(enum oauth_kind kind, const char *why, struct err *err)
{
	static const char *const expected[] = {
		[OAUTH_SAP] =
			"the service key of AI Core as JSON, with clientid, clientsecret and url",
		[OAUTH_GOOGLE] = "the JSON file of a service account, with client_email and "
				 "private_key",
		[OAUTH_ENTRA] = "{\"tenant\":\"…\",\"client_id\":\"…\",\"client_secret\":\"…\"}, "
				"or TENANT:CLIENT_ID:SECRET",
	};

	(void)err_set(err, ERR_BAD_REQUEST, "a secret does not fit: %s", why);
	return err_say(err, "The secret must be %s; %s.", expected[kind], why);
}

/* ---- reading secrets ---- */

/* The first of those members that is a string.  0, also when there is none; -1: it is too long. */
static int
member(struct span object, const char *const *names, char *out, size_t room)
{
	out[0] = '\0';
	for (; *names != NULL; names++) {
		struct json_value v = json_get(object, *names);

		if (v.type == JSON_STRING)
			return json_string(v, out, room) < 0 ? -1 : 0;
	}
	return 0;
}

#define NAMES(...)                 ((const char *const[]){ __VA_ARGS__, NULL })
#define MEMBER(object, field, ...) member(object, NAMES(__VA_ARGS__), field, sizeof(field))

static int
read_sap(struct span object, struct secret *s)
{
	struct json_value inner = json_get(object, "credentials");

	if (inner.type == JSON_OBJECT) /* as some tools wrap it */
		object = inner.raw;
	if (MEMBER(object, s->client, "clientid") != 0 ||
		MEMBER(object, s->password, "clientsecret") != 0)
		return -1;
	s->by_certificate = s->password[0] == '\0';
	return s->by_certificate ? MEMBER(object, s->url, "certurl")
				 : MEMBER(object, s->url, "url");
}

static int
read_google(struct span object, struct secret *s)
{
	if (MEMBER(object, s->client, "client_email") != 0 ||
		MEMBER(object, s->pem, "private_key") != 0 ||
		MEMBER(object, s->key_id, "private_key_id") != 0 ||
		MEMBER(object, s->url, "token_uri") != 0)
		return -1;
	if (s->url[0] == '\0')
		(void)strcpy(s->url, GOOGLE_URL);
	return 0;
}

static int
read_entra(struct span given, struct secret *s)
{
	const char *client, *password;

	if (given.len > 0 && given.at[0] == '{')
		return MEMBER(given, s->tenant, "tenant", "tenant_id", "tenantId") != 0 ||
				       MEMBER(given, s->client, "client_id", "clientId", "appId") !=
					       0 ||
				       MEMBER(given, s->password, "client_secret", "clientSecret",
					       "password") != 0
			       ? -1
			       : 0;
	client = memchr(given.at, ':', given.len);
	password = client == NULL
			   ? NULL
			   : memchr(client + 1, ':', given.len - (size_t)(client + 1 - given.at));
	if (password == NULL)
		return 0;
	return span_copy((struct span){ given.at, (size_t)(client - given.at) }, s->tenant,
		       sizeof s->tenant) &&
			       span_copy(
				       (struct span){ client + 1, (size_t)(password - client - 1) },
				       s->client, sizeof s->client) &&
			       span_copy((struct span){ password + 1,
						 given.len - (size_t)(password + 1 - given.at) },
				       s->password, sizeof s->password)
		       ? 0
		       : -1;
}

/* It becomes a part of the address, so it must be one. */
static bool
is_tenant(const char *s)
{
	return s[0] != '\0' &&
	       strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789.-") == strlen(s) &&
	       strstr(s, "..") == NULL && s[0] != '.';
}

static bool
is_url(const char *s)
{
	const char *rest = strncmp(s, "https://", 8) == 0  ? s + 8
			   : strncmp(s, "http://", 7) == 0 ? s + 7
							   : NULL;

	if (rest == NULL || *rest == '\0' || strchr("/:?#@", *rest) != NULL)
		return false;
	for (const char *p = rest; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p > '~' || *p == '\\' || *p == '#')
			return false;
	return memchr(rest, '@', strcspn(rest, "/?")) == NULL;
}

/* "" or a path: nobody but us asks here for a passphrase. */
static int
no_passphrase(char *out, int room, int writing, void *ctx)
{
	(void)out;
	(void)room;
	(void)writing;
	(void)ctx;
	return -1;
}

static EVP_PKEY *
rsa_of(const char *pem)
{
	BIO *b = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = b == NULL ? NULL : PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);

	(void)BIO_free(b);
	if (key != NULL &&
		(EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA ||
			EVP_PKEY_get_size(key) > SIGNATURE_MAX || EVP_PKEY_get_bits(key) < 1024)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

/* Printable ASCII, and what is in `more`. */
static bool
is_plain(const char *s, const char *more)
{
	for (; *s != '\0'; s++)
		if (((unsigned char)*s < ' ' || (unsigned char)*s > '~') &&
			strchr(more, *s) == NULL)
			return false;
	return true;
}

static int
check(enum oauth_kind kind, const struct secret *s, struct err *err)
{
	EVP_PKEY *key;

	if (!is_plain(s->client, "") || !is_plain(s->password, "") || !is_plain(s->key_id, "") ||
		!is_plain(s->pem, "\r\n\t"))
		return refuse(kind, "it holds characters that are not ASCII", err);
	if (s->client[0] == '\0')
		return refuse(kind,
			kind == OAUTH_SAP      ? "it has no clientid"
			: kind == OAUTH_GOOGLE ? "it has no client_email"
					       : "it has no client id",
			err);
	if (kind != OAUTH_GOOGLE && s->password[0] == '\0' && !s->by_certificate)
		return refuse(kind, "it has no client secret", err);
	if (kind == OAUTH_ENTRA && !is_tenant(s->tenant))
		return refuse(kind, "it has no tenant id or name", err);
	if (kind != OAUTH_ENTRA && !is_url(s->url))
		return refuse(kind,
			kind == OAUTH_GOOGLE ? "its token_uri is no address"
			: s->by_certificate  ? "it has neither a clientsecret nor a certurl"
			: s->url[0] == '\0'  ? "it has no url"
					     : "its url is no address",
			err);
	if (kind != OAUTH_GOOGLE)
		return 0;
	if (s->pem[0] == '\0')
		return refuse(kind, "it has no private_key", err);
	if ((key = rsa_of(s->pem)) == NULL)
		return refuse(kind, "its private_key is no RSA key in PEM", err);
	EVP_PKEY_free(key);
	return 0;
}

static int
read_secret(enum oauth_kind kind, struct span given, struct secret *s, struct err *err)
{
	int rc;

	memset(s, 0, sizeof *s);
	while (given.len > 0 && strchr(" \t\r\n", given.at[0]) != NULL)
		given.at++, given.len--;
	while (given.len > 0 && strchr(" \t\r\n", given.at[given.len - 1]) != NULL)
		given.len--;
	if (given.len == 0 || given.len > OAUTH_GIVEN_MAX)
		return refuse(kind, given.len == 0 ? "it is empty" : "it is too long", err);
	if (given.at[0] == '{' ? !json_valid(given) : kind != OAUTH_ENTRA)
		return refuse(kind, "it is no JSON object", err);
	rc = kind == OAUTH_SAP      ? read_sap(given, s)
	     : kind == OAUTH_GOOGLE ? read_google(given, s)
				    : read_entra(given, s);
	if (rc != 0)
		return refuse(kind, "a member of it is too long", err);
	return check(kind, s, err);
}

static void
put(struct bytes *out, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	bytes_puts(out, out->len == 0 ? "{" : ",");
	bytes_json(out, span_of(name));
	bytes_puts(out, ":");
	bytes_json(out, span_of(value));
}

int
oauth_read_secret(enum oauth_kind kind, struct span given, struct bytes *out,
	char name[OAUTH_NAME_BYTES], bool *wants_certificate, struct err *err)
{
	struct secret s;
	int rc = read_secret(kind, given, &s, err);

	if (rc == 0) {
		(void)span_copy(span_of(s.client), name, OAUTH_NAME_BYTES);
		if (wants_certificate != NULL)
			*wants_certificate = s.by_certificate;
		put(out, "tenant", s.tenant);
		put(out,
			kind == OAUTH_SAP      ? "clientid"
			: kind == OAUTH_GOOGLE ? "client_email"
					       : "client_id",
			s.client);
		put(out, kind == OAUTH_SAP ? "clientsecret" : "client_secret", s.password);
		put(out, "private_key_id", s.key_id);
		put(out, "private_key", s.pem);
		put(out,
			kind == OAUTH_GOOGLE ? "token_uri"
			: s.by_certificate   ? "certurl"
					     : "url",
			s.url);
		bytes_puts(out, "}");
		if (out->failed || out->len > OAUTH_SECRET_MAX)
			rc = refuse(kind, "it is too long", err);
	}
	explicit_bzero(&s, sizeof s);
	return rc;
}

/* ---- requests ---- */

static int
base64url(const void *data, size_t len, struct bytes *out)
{
	unsigned char text[(PEM_MAX + 2) / 3 * 4 + 1];
	int n;

	if (len > PEM_MAX)
		return -1;
	n = EVP_EncodeBlock(text, data, (int)len);
	while (n > 0 && text[n - 1] == '=')
		n--;
	for (int i = 0; i < n; i++)
		text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	return bytes_add(out, text, (size_t)n);
}

static int
sign(EVP_PKEY *key, struct span data, uint8_t out[SIGNATURE_MAX], size_t *len)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	int ok;

	*len = SIGNATURE_MAX;
	ok = c != NULL && EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
	     EVP_DigestSign(c, out, len, (const unsigned char *)data.at, data.len) == 1;
	EVP_MD_CTX_free(c);
	return ok ? 0 : -1;
}

/* {"alg":"RS256",…}.{claims}.signature */
static int
add_assertion(const struct secret *s, const char *scope, int64_t now_ms, struct bytes *out)
{
	struct bytes part = BYTES_LIMIT(PEM_MAX), jwt = BYTES_LIMIT(2 * PEM_MAX);
	EVP_PKEY *key = rsa_of(s->pem);
	uint8_t signature[SIGNATURE_MAX];
	int64_t now_s = now_ms / 1000 - CLAIM_SKEW_S;
	size_t len;
	int rc = -1;

	bytes_puts(&part, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
	if (s->key_id[0] != '\0') {
		bytes_puts(&part, ",\"kid\":");
		bytes_json(&part, span_of(s->key_id));
	}
	bytes_puts(&part, "}");
	if (key == NULL || part.failed || base64url(part.at, part.len, &jwt) != 0)
		goto out;
	bytes_drop(&part, part.len);
	bytes_puts(&part, "{\"iss\":");
	bytes_json(&part, span_of(s->client));
	bytes_puts(&part, ",\"scope\":");
	bytes_json(&part, span_of(scope));
	bytes_puts(&part, ",\"aud\":");
	bytes_json(&part, span_of(s->url));
	bytes_printf(&part, ",\"iat\":%lld,\"exp\":%lld}", (long long)now_s,
		(long long)(now_s + CLAIM_LIFE_S));
	bytes_puts(&jwt, ".");
	if (part.failed || base64url(part.at, part.len, &jwt) != 0 ||
		sign(key, bytes_span(&jwt), signature, &len) != 0)
		goto out;
	bytes_puts(&jwt, ".");
	if (base64url(signature, len, &jwt) == 0 && !jwt.failed)
		rc = bytes_add(out, jwt.at, jwt.len);
out:
	EVP_PKEY_free(key);
	bytes_free(&part);
	bytes_free(&jwt);
	return rc;
}

static void
add_field(struct bytes *form, const char *name, const char *value)
{
	bytes_puts(form, form->len == 0 ? "" : "&");
	bytes_puts(form, name);
	bytes_puts(form, "=");
	(void)auth_escape(span_of(value), form);
}

static int
make_body(enum oauth_kind kind, const struct secret *s, const char *scope, int64_t now_ms,
	struct bytes *form)
{
	if (kind == OAUTH_GOOGLE) {
		add_field(form, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
		bytes_puts(form, "&assertion=");
		return add_assertion(s, scope, now_ms, form);
	}
	add_field(form, "grant_type", "client_credentials");
	add_field(form, "client_id", s->client);
	if (!s->by_certificate)
		add_field(form, "client_secret", s->password);
	if (scope[0] != '\0')
		add_field(form, "scope", scope);
	return form->failed ? -1 : 0;
}

static bool
make_url(enum oauth_kind kind, const struct secret *s, const char *token_url,
	char out[OAUTH_URL_BYTES])
{
	size_t len = strlen(s->url);
	int n;

	while (len > 0 && s->url[len - 1] == '/')
		len--;
	if (token_url[0] != '\0')
		n = snprintf(out, OAUTH_URL_BYTES, "%s", token_url);
	else if (kind == OAUTH_SAP)
		n = snprintf(out, OAUTH_URL_BYTES, "%.*s/oauth/token", (int)len, s->url);
	else if (kind == OAUTH_ENTRA)
		n = snprintf(out, OAUTH_URL_BYTES, ENTRA_URL, s->tenant);
	else
		n = snprintf(out, OAUTH_URL_BYTES, "%s", s->url);
	return n > 0 && n < OAUTH_URL_BYTES && is_url(out);
}

int
oauth_request_make(enum oauth_kind kind, struct span secret, const char *token_url,
	const char *scope, int64_t now_ms, struct oauth_request *out, struct err *err)
{
	struct secret s;
	int rc = read_secret(kind, secret, &s, err);

	*out = (struct oauth_request){ .body = BYTES_LIMIT(OAUTH_GIVEN_MAX) };
	if (rc == 0 && !make_url(kind, &s, token_url, out->url))
		rc = err_set(err, ERR_BAD_REQUEST, "the address of the token endpoint is no URL");
	if (scope[0] == '\0')
		scope = kind == OAUTH_GOOGLE  ? GOOGLE_SCOPE
			: kind == OAUTH_ENTRA ? ENTRA_SCOPE
					      : "";
	if (rc == 0 && make_body(kind, &s, scope, now_ms, &out->body) != 0)
		rc = err_set(err, ERR_MEMORY, "no memory for a request for an access token");
	explicit_bzero(&s, sizeof s);
	if (rc != 0)
		oauth_request_free(out);
	return rc;
}

void
oauth_request_free(struct oauth_request *r)
{
	if (r->body.at != NULL)
		explicit_bzero(r->body.at, r->body.room);
	bytes_free(&r->body);
}

/* ---- answers ---- */

/* OAuth's error codes, and nothing that could be a text of somebody's choice. */
static void
read_word(struct json_value v, char out[48])
{
	if (json_string(v, out, 48) < 0 ||
		strspn(out, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") !=
			strlen(out))
		out[0] = '\0';
}

/* Was it us and not the moment? */
static bool
is_refusal(int status, const char *word)
{
	static const char *const words[] = { "invalid_client", "invalid_grant",
		"unauthorized_client", "invalid_scope", "unsupported_grant_type", "invalid_request",
		"invalid_resource", "access_denied", "unauthorized" };

	if (status == 401 || status == 403)
		return true;
	for (size_t i = 0; status == 400 && i < sizeof words / sizeof words[0]; i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

static int64_t
life_of(struct json_value v)
{
	char text[24];
	int64_t s = 0;

	if (json_string(v, text, sizeof text) > 0) /* some send it as text */
		v = (struct json_value){ JSON_NUMBER, span_of(text) };
	if (json_int(v, &s) != 0 || s <= 0)
		return LIFE_UNKNOWN_MS;
	return s > LIFE_MOST_MS / 1000 ? LIFE_MOST_MS : s * 1000;
}

enum oauth_outcome
oauth_reply_read(int status, struct span body, struct oauth_reply *out)
{
	struct json_value token = { .type = JSON_NONE };
	char word[48];

	memset(out, 0, sizeof *out);
	if (json_valid(body))
		token = json_get(body, "access_token");
	if (status == 200 && token.type == JSON_STRING) {
		if (json_string(token, out->token, sizeof out->token) > 0 &&
			strchr(out->token, ' ') == NULL &&
			auth_is_header_value(span_of(out->token))) {
			out->life_ms = life_of(json_get(body, "expires_in"));
			return OAUTH_GRANTED;
		}
		explicit_bzero(out->token, sizeof out->token);
		(void)snprintf(out->why, sizeof out->why,
			"its access_token is longer than %d bytes or cannot stand in a header",
			OAUTH_TOKEN_BYTES - 1);
		return OAUTH_FAILED;
	}
	if (status == 200) {
		(void)snprintf(out->why, sizeof out->why, "there is no access_token in its answer");
		return OAUTH_FAILED;
	}
	read_word(json_get(body, "error"), word);
	(void)snprintf(out->why, sizeof out->why, "status %d%s%s%s", status,
		word[0] == '\0' ? "" : " (", word, word[0] == '\0' ? "" : ")");
	return is_refusal(status, word) ? OAUTH_REFUSED : OAUTH_FAILED;
}
