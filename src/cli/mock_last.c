/*
 * mock_last.c - the last requests, kept whole for tests to look at.  Keys are masked when shown.
 */
#include "cli/mock-int.h"

#include <stdio.h>
#include <string.h>

#define KEPT       8
#define KEPT_BYTES (1024 * 1024) /* of a body; what is longer is cut */

static struct kept {
	struct bytes head, body;
	struct span method, path, query; /* within head */
	int64_t body_bytes;
	bool used;
} kept[KEPT];
static size_t next;

void
mock_last_keep(const struct mock_exchange *x)
{
	struct kept *k = &kept[next++ % KEPT];

	k->head.limit = k->body.limit = KEPT_BYTES;
	k->head.len = k->body.len = 0;
	k->used = bytes_add(&k->head, x->head.at, x->head.len) == 0 &&
		  bytes_add(&k->body, x->body.at,
			  x->body.len < KEPT_BYTES ? x->body.len : KEPT_BYTES - 1) == 0;
	k->body_bytes = x->body_bytes;
	if (!k->used)
		return;
	k->method = (struct span){ k->head.at, x->method.len };
	k->path = (struct span){ k->head.at + (x->path.at - x->head.at), x->path.len };
	k->query = x->query.at == NULL
			   ? SPAN_NONE
			   : (struct span){ k->head.at + (x->query.at - x->head.at), x->query.len };
}

/* "sk-p…0001": enough to tell one from another. */
static void
put_masked(struct bytes *to, struct span key)
{
	char text[32];

	if (key.len <= 8)
		(void)snprintf(text, sizeof text, "…");
	else
		(void)snprintf(text, sizeof text, "%.4s…%.4s", key.at, key.at + key.len - 4);
	(void)bytes_json(to, span_of(text));
}

static void
put_authorization(struct bytes *to, struct span v)
{
	const char *space = memchr(v.at, ' ', v.len);
	const char *signature = v.len == 0 ? NULL : memmem(v.at, v.len, "Signature=", 10);
	struct bytes text = BYTES_LIMIT(4096);
	size_t shown = signature != NULL ? (size_t)(signature - v.at) + 10
		       : space != NULL   ? (size_t)(space - v.at) + 1
					 : 0;

	(void)bytes_add(&text, v.at, shown);
	if (signature != NULL || v.len - shown <= 8)
		(void)bytes_puts(&text, "…");
	else
		(void)bytes_printf(&text, "%.4s…%.4s", v.at + shown, v.at + v.len - 4);
	(void)bytes_json(to, bytes_span(&text));
	bytes_free(&text);
}

static void
put_header(struct bytes *to, struct span name, struct span value)
{
	static const char *const keys[] = { "x-api-key", "api-key", "x-goog-api-key",
		"x-plain-token", "x-amz-security-token" };
	struct bytes lower = BYTES_LIMIT(256);

	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i] >= 'A' && name.at[i] <= 'Z' ? (char)(name.at[i] | 0x20)
								: name.at[i];

		(void)bytes_add(&lower, &c, 1);
	}
	(void)bytes_json(to, bytes_span(&lower));
	bytes_free(&lower);
	(void)bytes_puts(to, ":");
	if (span_is_nocase(name, "authorization")) {
		put_authorization(to, value);
		return;
	}
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (span_is_nocase(name, keys[i])) {
			put_masked(to, value);
			return;
		}
	(void)bytes_json(to, value);
}

static void
put_headers(struct bytes *to, struct span head)
{
	const char *line = memchr(head.at, '\n', head.len), *end = head.at + head.len;
	bool first = true;

	while (line != NULL && ++line < end) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));
		const char *stop = eol == NULL ? end : eol, *colon, *value;

		while (stop > line && (stop[-1] == '\r' || stop[-1] == ' '))
			stop--;
		colon = memchr(line, ':', (size_t)(stop - line));
		if (colon != NULL) {
			for (value = colon + 1; value < stop && *value == ' '; value++)
				;
			(void)bytes_puts(to, first ? "" : ",");
			first = false;
			put_header(to, (struct span){ line, (size_t)(colon - line) },
				(struct span){ value, (size_t)(stop - value) });
		}
		line = eol;
	}
}

static void
put_query(struct bytes *to, struct span query)
{
	struct bytes text = BYTES_LIMIT(64 * 1024);

	while (query.len > 0) {
		const char *and = memchr(query.at, '&', query.len);
		size_t len = and == NULL ? query.len : (size_t)(and-query.at);
		struct span one = { query.at, len };

		if (span_starts(one, "key=") || span_starts(one, "token="))
			(void)bytes_printf(
				&text, "%s…", span_starts(one, "key=") ? "key=" : "token=");
		else
			(void)bytes_add(&text, one.at, one.len);
		(void)bytes_puts(&text, and == NULL ? "" : "&");
		len += and != NULL;
		query.at += len;
		query.len -= len;
	}
	(void)bytes_json(to, bytes_span(&text));
	bytes_free(&text);
}

bool
mock_last_put(struct span path, struct bytes *to)
{
	for (size_t i = 1; i <= KEPT && i <= next; i++) {
		const struct kept *k = &kept[(next - i) % KEPT];

		if (!k->used ||
			(path.len > 0 && (k->path.len < path.len ||
						 memcmp(k->path.at, path.at, path.len) != 0)))
			continue;
		(void)bytes_puts(to, "{\"method\":");
		(void)bytes_json(to, k->method);
		(void)bytes_puts(to, ",\"path\":");
		(void)bytes_json(to, k->path);
		(void)bytes_puts(to, ",\"query\":");
		put_query(to, k->query);
		(void)bytes_puts(to, ",\"headers\":{");
		put_headers(to, bytes_span(&k->head));
		(void)bytes_printf(to, "},\"body_bytes\":%lld,\"body\":", (long long)k->body_bytes);
		(void)bytes_json(to, bytes_span(&k->body));
		(void)bytes_puts(to, "}");
		return true;
	}
	return false;
}

void
mock_last_free(void)
{
	for (size_t i = 0; i < KEPT; i++) {
		bytes_free(&kept[i].head);
		bytes_free(&kept[i].body);
	}
}
