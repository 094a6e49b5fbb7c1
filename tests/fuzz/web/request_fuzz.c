/*
 * request_fuzz.c - a client chooses the target and the headers.
 * Properties: path and query lie within the target; what is decoded is a C string, never longer than
 * what was sent, and the same from the query as on its own; a composed head holds one empty line,
 * at its end, and keeps its ceiling.
 */
#include "web/web-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct web_server nobody = { .o = { .trust_forwarded = true } };

static bool
look(void *ctx, const char *name, struct span value)
{
	(void)ctx;
	if (name[0] == '\0' && value.at == NULL)
		abort();
	return true;
}

static bool
is_inside(struct span s, const char *text)
{
	return s.len == 0 || (s.at >= text && s.at + s.len <= text + strlen(text));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *uri = malloc(size + 20), *name = malloc(size + 20), *from = malloc(size + 40);
	char *env[] = { "REQUEST_METHOD=GET", uri, name, from, NULL };
	struct web_request *r = request_new(&nobody, -1);
	char out[512], again[512];
	struct bytes head = BYTES_LIMIT(8192);
	struct web_head_line lines[2];
	struct err err;
	ptrdiff_t n;

	if (uri == NULL || name == NULL || from == NULL || r == NULL)
		abort();
	(void)snprintf(uri, size + 20, "REQUEST_URI=%.*s", (int)size, (const char *)data);
	(void)snprintf(name, size + 20, "HTTP_%.*s", (int)size, (const char *)data);
	(void)snprintf(from, size + 40, "HTTP_X_FORWARDED_FOR=%.*s", (int)size, (const char *)data);
	r->env = env;
	(void)request_check(r, &err);
	if (!is_inside(web_path(r), uri) || !is_inside(web_query(r), uri))
		abort();
	n = web_decode(web_path(r), out, sizeof out);
	if (n >= 0 && ((size_t)n > web_path(r).len || strlen(out) != (size_t)n))
		abort();
	n = web_query_get(r, "key", out, sizeof out);
	if (n >= 0 && ((size_t)n > web_query(r).len || strlen(out) != (size_t)n))
		abort();
	if (web_decode((struct span){ (const char *)data, size }, again, 4) > 3)
		abort();
	(void)web_each_header(r, look, NULL);
	(void)web_header(r, "authorization");
	lines[0] = (struct web_head_line){ "X-Value", uri };
	lines[1] = (struct web_head_line){ name, "v" };
	reply_head(&head, size > 0 ? data[0] * 3 : 0, NULL, lines, 2, -1);
	if (head.failed || head.len > WEB_REPLY_HEADERS_BYTES ||
		strstr(head.at, "\r\n\r\n") != head.at + head.len - 4)
		abort();
	bytes_free(&head);
	r->env = NULL;
	request_free(r);
	free(uri);
	free(name);
	free(from);
	return 0;
}
