/*
 * sigv4.c - the four steps of AWS Signature Version 4: canonical request, text to sign, key, signature.
 */
#include "wire/sigv4.h"

#include "base/hash.h"
#include "wire/auth.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CANONICAL_MAX ((size_t)256 * 1024)
#define SECRET_MAX    256 /* characters; AWS's have 40 */
#define NAME_MAX_LEN  128 /* of an id, a region, a service */
#define HEX_BYTES     (2 * SHA256_BYTES + 1)
#define SCOPE_BYTES   (16 + 2 * NAME_MAX_LEN + 16)

/* ---- an address in its parts ---- */

struct address {
	struct span host, path, query;
};

static struct span
until(struct span s, const char *ends)
{
	size_t len = 0;

	while (len < s.len && (s.at[len] == '\0' || strchr(ends, s.at[len]) == NULL))
		len++;
	return (struct span){ s.at, len };
}

static struct span
behind(struct span s, size_t len)
{
	return (struct span){ s.at + len, s.len - len };
}

/* The port that the scheme implies is not sent, so it is not signed. */
static bool
parse(struct span url, struct address *a)
{
	bool tls = span_starts(url, "https://");
	const char *port = tls ? ":443" : ":80";
	size_t len = strlen(port);

	if (!tls && !span_starts(url, "http://"))
		return false;
	url = behind(url, tls ? 8 : 7);
	a->host = until(url, "/?#");
	url = behind(url, a->host.len);
	a->path = until(url, "?#");
	url = behind(url, a->path.len);
	a->query = url.len > 0 && url.at[0] == '?' ? until(behind(url, 1), "#") : SPAN_LIT("");
	if (a->host.len > len && memcmp(a->host.at + a->host.len - len, port, len) == 0)
		a->host.len -= len;
	return a->host.len > 0;
}

/* ---- the canonical request ---- */

/* Drops the last "/segment". */
static void
pop_segment(struct bytes *out, size_t start)
{
	while (out->len > start && out->at[out->len - 1] != '/')
		out->len--;
	if (out->len > start)
		out->len--;
}

/* Each segment as sent is encoded once more; empty ones and dots go, as in AWS's own signers. */
static void
put_path(struct bytes *out, struct span path)
{
	size_t start = out->len;
	bool slash = path.len > 0 && path.at[path.len - 1] == '/';

	while (path.len > 0) {
		struct span segment;

		path = behind(path, 1); /* the slash */
		segment = until(path, "/");
		path = behind(path, segment.len);
		if (segment.len == 0 || span_is(segment, "."))
			continue;
		if (span_is(segment, "..")) {
			pop_segment(out, start);
			continue;
		}
		(void)bytes_add(out, "/", 1);
		(void)auth_escape(segment, out);
	}
	if (slash || out->len == start)
		(void)bytes_add(out, "/", 1);
}

/* Decoded and encoded again, so that it is written as AWS writes it. */
static void
put_encoded(struct bytes *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];

		if (c == '%' && i + 2 < s.len && hash_hex_digit(s.at[i + 1]) >= 0 &&
			hash_hex_digit(s.at[i + 2]) >= 0) {
			c = (char)(hash_hex_digit(s.at[i + 1]) << 4 | hash_hex_digit(s.at[i + 2]));
			i += 2;
		}
		(void)auth_escape((struct span){ &c, 1 }, out);
	}
}

static int
order(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* Parameters as name, a byte that sorts before all others, value, each ending in a NUL. */
static int
put_query(struct bytes *out, struct span query)
{
	struct bytes all = BYTES_LIMIT(CANONICAL_MAX);
	size_t offset[SIGV4_QUERY_MAX], count = 0;
	const char *sorted[SIGV4_QUERY_MAX];
	int rc = -1;

	while (query.len > 0) {
		struct span one = until(query, "&"), name = until(one, "=");

		query = behind(query, one.len + (one.len < query.len));
		if (one.len == 0)
			continue;
		if (count == SIGV4_QUERY_MAX)
			goto done;
		offset[count++] = all.len;
		put_encoded(&all, name);
		(void)bytes_add(&all, "\1", 1);
		put_encoded(&all, behind(one, name.len + (name.len < one.len)));
		(void)bytes_add(&all, "", 1);
	}
	if (all.failed)
		goto done;
	for (size_t i = 0; i < count; i++)
		sorted[i] = all.at + offset[i];
	qsort(sorted, count, sizeof sorted[0], order);
	for (size_t i = 0; i < count; i++) {
		size_t name = strcspn(sorted[i], "\1");

		(void)bytes_printf(out, "%s%.*s=%s", i == 0 ? "" : "&", (int)name, sorted[i],
			sorted[i] + name + 1);
	}
	rc = 0;
done:
	bytes_free(&all);
	return rc;
}

/* Blanks around it go, and rows of them become one. */
static void
put_value(struct bytes *out, struct span value)
{
	size_t start = out->len;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.at[i];

		if (c == ' ' && (out->len == start || out->at[out->len - 1] == ' '))
			continue;
		(void)bytes_add(out, &c, 1);
	}
	while (out->len > start && out->at[out->len - 1] == ' ')
		out->len--;
}

static void
put_header(struct bytes *out, const char *name, struct span value)
{
	(void)bytes_printf(out, "%s:", name);
	put_value(out, value);
	(void)bytes_add(out, "\n", 1);
}

static void
hex_of(struct span data, char out[HEX_BYTES])
{
	uint8_t digest[SHA256_BYTES];

	hash_sha256(data.at, data.len, digest);
	hash_hex(digest, sizeof digest, out);
}

static const char *
signed_headers(const struct sigv4_request *q)
{
	if (q->content_type.len > 0)
		return q->session.len > 0 ? "content-type;host;x-amz-date;x-amz-security-token"
					  : "content-type;host;x-amz-date";
	return q->session.len > 0 ? "host;x-amz-date;x-amz-security-token" : "host;x-amz-date";
}

/* The hash of it. */
static int
canonical_hash(const struct sigv4_request *q, const char *date, char hash[HEX_BYTES])
{
	struct bytes out = BYTES_LIMIT(CANONICAL_MAX);
	struct address a;
	char body[HEX_BYTES];
	int rc = -1;

	if (!parse(q->url, &a))
		return -1;
	(void)bytes_printf(&out, "%s\n", q->method);
	put_path(&out, a.path);
	(void)bytes_add(&out, "\n", 1);
	if (put_query(&out, a.query) != 0)
		goto done;
	(void)bytes_add(&out, "\n", 1);
	if (q->content_type.len > 0)
		put_header(&out, "content-type", q->content_type);
	put_header(&out, "host", a.host);
	put_header(&out, "x-amz-date", span_of(date));
	if (q->session.len > 0)
		put_header(&out, "x-amz-security-token", q->session);
	hex_of(q->body, body);
	if (bytes_printf(&out, "\n%s\n%s", signed_headers(q), body) != 0)
		goto done;
	hex_of(bytes_span(&out), hash);
	rc = 0;
done:
	bytes_free(&out);
	return rc;
}

/* ---- the key and the signature ---- */

static void
hmac_text(const uint8_t *key, size_t key_len, struct span text, uint8_t out[SHA256_BYTES])
{
	hash_hmac(key, key_len, text.at, text.len, out);
}

static void
sign_text(const struct sigv4_request *q, const char *date, struct span text, char out[HEX_BYTES])
{
	char secret[4 + SECRET_MAX] = "AWS4";
	uint8_t key[SHA256_BYTES], next[SHA256_BYTES];
	const struct span steps[] = { { date, 8 }, q->region, q->service, SPAN_LIT("aws4_request"),
		text };

	memcpy(secret + 4, q->secret.at, q->secret.len);
	hmac_text((const uint8_t *)secret, 4 + q->secret.len, steps[0], key);
	for (size_t i = 1; i < sizeof steps / sizeof steps[0]; i++) {
		hmac_text(key, sizeof key, steps[i], next);
		memcpy(key, next, sizeof key);
	}
	hash_hex(key, sizeof key, out);
	explicit_bzero(secret, sizeof secret);
	explicit_bzero(key, sizeof key);
	explicit_bzero(next, sizeof next);
}

static bool
fits(struct span s)
{
	return s.len > 0 && s.len <= NAME_MAX_LEN;
}

int
sigv4_sign(const struct sigv4_request *q, struct sigv4_headers *out)
{
	time_t now = (time_t)(q->now_ms / 1000);
	char hash[HEX_BYTES], signature[HEX_BYTES], scope[SCOPE_BYTES], text[SCOPE_BYTES + 128];
	struct tm utc;
	int len;

	if (!fits(q->id) || !fits(q->region) || !fits(q->service) || q->secret.len == 0 ||
		q->secret.len > SECRET_MAX || gmtime_r(&now, &utc) == NULL ||
		strftime(out->x_amz_date, sizeof out->x_amz_date, "%Y%m%dT%H%M%SZ", &utc) == 0 ||
		canonical_hash(q, out->x_amz_date, hash) != 0)
		return -1;
	(void)snprintf(scope, sizeof scope, "%.8s/%.*s/%.*s/aws4_request", out->x_amz_date,
		(int)q->region.len, q->region.at, (int)q->service.len, q->service.at);
	(void)snprintf(
		text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", out->x_amz_date, scope, hash);
	sign_text(q, out->x_amz_date, span_of(text), signature);
	len = snprintf(out->authorization, sizeof out->authorization,
		"AWS4-HMAC-SHA256 Credential=%.*s/%s, SignedHeaders=%s, Signature=%s",
		(int)q->id.len, q->id.at, scope, signed_headers(q), signature);
	return len > 0 && (size_t)len < sizeof out->authorization ? 0 : -1;
}
