/*
 * auth.c - templates, queries and the key of an AWS account.
 */
#include "wire/auth.h"

#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#define BASE64_MAX 8192 /* bytes that ${base64} is made of */

static bool
is_unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

int
auth_escape(struct span s, struct bytes *out)
{
	for (size_t i = 0; i < s.len; i++) {
		if (is_unreserved(s.at[i]))
			bytes_add(out, s.at + i, 1);
		else
			bytes_printf(out, "%%%02X", (unsigned char)s.at[i]);
	}
	return out->failed ? -1 : 0;
}

int
auth_add_query(struct span url, struct span name, struct span value, struct bytes *out)
{
	const char *mark = memchr(url.at, '?', url.len);
	size_t path = mark == NULL ? url.len : (size_t)(mark - url.at);
	bool any = false;

	bytes_add(out, url.at, path);
	for (size_t i = path + 1, end; i < url.len; i = end + 1) {
		for (end = i; end < url.len && url.at[end] != '&'; end++)
			;
		if (end == i ||
			(end - i >= name.len && memcmp(url.at + i, name.at, name.len) == 0 &&
				(end - i == name.len || url.at[i + name.len] == '=')))
			continue;
		bytes_puts(out, any ? "&" : "?");
		bytes_add(out, url.at + i, end - i);
		any = true;
	}
	bytes_puts(out, any ? "&" : "?");
	bytes_add(out, name.at, name.len);
	bytes_puts(out, "=");
	bytes_add(out, value.at, value.len);
	return out->failed ? -1 : 0;
}

bool
auth_is_header_value(struct span s)
{
	if (s.len == 0 || s.at[0] == ' ' || s.at[s.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.at[i] < ' ' || (unsigned char)s.at[i] > '~')
			return false;
	return true;
}

/* ---- templates ---- */

static const struct place {
	const char *text;
	bool base64;
} places[] = { { "${key}", false }, { "${base64}", true } };

/* The place that begins there, or NULL. */
static const struct place *
place_at(struct span s, size_t i)
{
	for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) {
		size_t len = strlen(places[k].text);

		if (s.len - i >= len && memcmp(s.at + i, places[k].text, len) == 0)
			return &places[k];
	}
	return NULL;
}

/* Headers that say where a message ends or goes are not for a template. */
static bool
is_refused(struct span name)
{
	static const char *const refused[] = { "host", "content-length", "transfer-encoding",
		"connection", "upgrade", "te", "trailer", "expect", "keep-alive" };

	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		if (span_is_nocase(name, refused[i]))
			return true;
	return false;
}

static bool
is_name(struct span name, const char *more)
{
	for (size_t i = 0; i < name.len; i++)
		if (!is_unreserved(name.at[i]) && strchr(more, name.at[i]) == NULL)
			return false;
	return name.len > 0;
}

static int
refuse(struct err *err, const char *why)
{
	(void)err_set(err, ERR_BAD_REQUEST, "auth_template: %s", why);
	(void)err_say(err,
		"auth_template %s; write \"header Name: text ${key}\" or \"query name=${key}\".",
		why);
	return err_field(err, "auth_template");
}

int
auth_template_parse(const char *text, struct auth_template *out, struct err *err)
{
	struct span s = span_of(text);
	char until;
	const char *mark;
	bool any = false;

	*out = (struct auth_template){ .in_query = span_starts(s, "query ") };
	if (!out->in_query && !span_starts(s, "header "))
		return refuse(err, "must begin with header or query");
	s.at += out->in_query ? 6 : 7;
	s.len -= out->in_query ? 6 : 7;
	until = out->in_query ? '=' : ':';
	mark = memchr(s.at, until, s.len);
	if (mark == NULL)
		return refuse(err, "names no place for the key");
	out->name = (struct span){ s.at, (size_t)(mark - s.at) };
	out->text = (struct span){ mark + 1, s.len - out->name.len - 1 };
	while (!out->in_query && out->text.len > 0 && out->text.at[0] == ' ')
		out->text.at++, out->text.len--;
	if (!is_name(out->name, out->in_query ? "[]" : "!#$%&'*+^`|"))
		return refuse(err, "has a name with characters that cannot stand there");
	if (!out->in_query && is_refused(out->name))
		return refuse(err, "names a header that is not for you to set");
	if (!auth_is_header_value(out->text))
		return refuse(err, "may hold visible ASCII characters only");
	for (size_t i = 0; i < out->text.len; i++) {
		const struct place *p = place_at(out->text, i);

		if (p == NULL && out->text.at[i] == '$' && i + 1 < out->text.len &&
			out->text.at[i + 1] == '{')
			return refuse(err, "knows ${key} and ${base64} only");
		if (p == NULL && out->in_query && !is_unreserved(out->text.at[i]) &&
			strchr("%:/,@+", out->text.at[i]) == NULL)
			return refuse(err, "has characters that cannot stand in a query");
		if (p != NULL) {
			i += strlen(p->text) - 1;
			any = true;
		}
	}
	return any ? 0 : refuse(err, "has no ${key} in it");
}

static int
add_base64(struct span key, struct bytes *out)
{
	unsigned char text[BASE64_MAX / 3 * 4 + 8];
	int len;

	if (key.len > BASE64_MAX)
		return -1;
	len = EVP_EncodeBlock(text, (const unsigned char *)key.at, (int)key.len);
	bytes_add(out, text, (size_t)len);
	explicit_bzero(text, sizeof text);
	return 0;
}

/* The key, or its base64, as it stands in that place. */
static int
add_key(const struct auth_template *t, const struct place *p, struct span key, struct bytes *out)
{
	struct bytes plain = BYTES_LIMIT(2 * BASE64_MAX);
	int rc = 0;

	if (p->base64 && add_base64(key, &plain) != 0)
		return -1;
	if (t->in_query)
		rc = auth_escape(p->base64 ? bytes_span(&plain) : key, out);
	else if (p->base64)
		rc = bytes_add(out, plain.at, plain.len);
	else
		rc = bytes_add(out, key.at, key.len);
	if (plain.at != NULL)
		explicit_bzero(plain.at, plain.room);
	bytes_free(&plain);
	return rc;
}

int
auth_template_fill(const struct auth_template *t, struct span key, struct bytes *out)
{
	size_t first = out->len;

	for (size_t i = 0; i < t->text.len; i++) {
		const struct place *p = place_at(t->text, i);

		if (p == NULL) {
			bytes_add(out, t->text.at + i, 1);
			continue;
		}
		if (add_key(t, p, key, out) != 0)
			return -1;
		i += strlen(p->text) - 1;
	}
	if (out->failed)
		return -1;
	return t->in_query || auth_is_header_value(
				      (struct span){ out->at + first, out->len - first })
		       ? 0
		       : -1;
}

/* ---- AWS ---- */

static bool
is_word(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.at[i] <= ' ' || (unsigned char)s.at[i] > '~')
			return false;
	return s.len > 0;
}

int
auth_aws_key(struct span secret, struct auth_aws_key *out, struct err *err)
{
	struct span *const parts[] = { &out->id, &out->secret, &out->session };
	size_t count = 0, from = 0;
	bool good = true;

	*out = (struct auth_aws_key){ .session = SPAN_LIT("") };
	for (size_t i = 0; i <= secret.len && count < 3; i++) {
		if (i < secret.len && (secret.at[i] != ':' || count == 2))
			continue;
		*parts[count] = (struct span){ secret.at + from, i - from };
		good = good && is_word(*parts[count]);
		count++;
		from = i + 1;
	}
	if (good && count >= 2)
		return 0;
	(void)err_set(err, ERR_BAD_REQUEST, "no key of an AWS account");
	return err_say(err, "This upstream signs its requests: the secret must be "
			    "ACCESS_KEY_ID:SECRET_ACCESS_KEY, or "
			    "ACCESS_KEY_ID:SECRET_ACCESS_KEY:SESSION_TOKEN.");
}

void
auth_aws_place(const char *url, char region[64], char service[64])
{
	const char *host = strstr(url, "://"), *dot, *next;
	size_t len;

	region[0] = service[0] = '\0';
	if (host == NULL)
		return;
	host += 3;
	len = strcspn(host, "/:?");
	dot = memchr(host, '.', len);
	next = dot == NULL ? NULL : memchr(dot + 1, '.', len - (size_t)(dot + 1 - host));
	if (next == NULL ||
		(strncmp(next, ".amazonaws.com", 14) != 0 && strncmp(next, ".api.aws", 8) != 0))
		return;
	(void)span_copy((struct span){ dot + 1, (size_t)(next - dot - 1) }, region, 64);
	if (strncmp(host, "bedrock-mantle", 14) == 0)
		(void)span_copy(SPAN_LIT("bedrock-mantle"), service, 64);
	else if (strncmp(host, "bedrock", 7) == 0)
		(void)span_copy(SPAN_LIT("bedrock"), service, 64);
}
