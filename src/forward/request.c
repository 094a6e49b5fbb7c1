/*
 * request.c - a request in libcurl's terms.
 *
 * An easy handle is used for many calls, so every option that request_set() touches is set by each
 * call, to its default where the call does not want it; what never differs is set once.
 */
#include "forward/forward-int.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define BUFFER_BYTES      (16 * 1024L) /* a read; a TLS record's size */
#define COPIED_BODY_BYTES (32 * 1024)  /* up to this, head and body leave in one write */
#define DNS_CACHE_S       60L          /* lookup.c's KNOWN_MS must be less */
#define MAX_IDLE_S        90L          /* a kept connection older than this is not used again */

/* Framing and coding are ours; the rest would be wrong on another hop. */
static const char *const not_forwarded[] = { "Accept-Encoding", "Connection", "Content-Length",
	"Expect", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
	"Transfer-Encoding", "Upgrade" };

/* What libcurl would add by itself is switched off by a name with nothing behind the colon. */
static const struct own_header {
	const char *line, *unless; /* unless the request lists this one */
} own_headers[] = {
	{ "Accept-Encoding: identity", NULL },
	{ "Expect:", NULL },
	{ "Accept:", "Accept" },
	{ "Content-Type:", "Content-Type" },
};

static bool
is_forwarded(const char *name)
{
	for (size_t i = 0; i < sizeof not_forwarded / sizeof not_forwarded[0]; i++)
		if (strcasecmp(name, not_forwarded[i]) == 0)
			return false;
	return true;
}

/* A token of RFC 9110, near enough: nothing that could end the name or the line. */
static bool
is_name(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= ' ' || *s == ':' || *s == ';' || *s == 127)
			return false;
	return true;
}

static bool
is_value(const char *s)
{
	return s[strcspn(s, "\r\n")] == '\0';
}

static bool
is_listed(const struct forward_request *q, const char *name)
{
	for (size_t i = 0; name != NULL && i < q->header_count; i++)
		if (strcasecmp(q->headers[i].name, name) == 0)
			return true;
	return false;
}

/* One block for all: the nodes, then their text.  libcurl only reads the list. */
static int
build_headers(struct forward_call *c, const struct forward_request *q, struct err *err)
{
	const size_t own = sizeof own_headers / sizeof own_headers[0];
	size_t nodes = q->header_count + own, bytes = nodes * sizeof(struct curl_slist), used = 0;
	char *text;

	for (size_t i = 0; i < q->header_count; i++) {
		const struct forward_header *h = &q->headers[i];

		if (!is_name(h->name) || !is_value(h->value))
			return err_set(
				err, ERR_BAD_REQUEST, "a header's name or value cannot be sent");
		bytes += strlen(h->name) + strlen(h->value) + sizeof ": ";
	}
	for (size_t i = 0; i < own; i++)
		bytes += strlen(own_headers[i].line) + 1;
	c->headers = malloc(bytes);
	if (c->headers == NULL)
		return err_set(err, ERR_MEMORY, "no memory for the request's headers");
	c->headers_bytes = bytes;
	text = (char *)(c->headers + nodes);
	for (size_t i = 0; i < own; i++) {
		if (is_listed(q, own_headers[i].unless))
			continue;
		c->headers[used++].data = text;
		text = stpcpy(text, own_headers[i].line) + 1;
	}
	for (size_t i = 0; i < q->header_count; i++) {
		const struct forward_header *h = &q->headers[i];

		if (!is_forwarded(h->name))
			continue;
		c->headers[used++].data = text;
		text = stpcpy(text, h->name);
		/* libcurl's way to say: this header, with nothing in it. */
		text = h->value[0] == '\0' ? stpcpy(text, ";")
					   : stpcpy(stpcpy(text, ": "), h->value);
		text++;
	}
	for (size_t i = 0; i < used; i++)
		c->headers[i].next = i + 1 < used ? &c->headers[i + 1] : NULL;
	return 0;
}

/* The host as text for the log and for look-ups; libcurl reads the URL for itself. */
static int
read_url(struct forward_call *c, const char *url, struct err *err)
{
	const char *host, *end, *at, *stop;

	if (strncasecmp(url, "http://", 7) == 0)
		host = url + 7;
	else if (strncasecmp(url, "https://", 8) == 0)
		host = url + 8;
	else
		return err_set(err, ERR_BAD_REQUEST, "the URL is neither http nor https");
	for (const char *p = url; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 127)
			return err_set(
				err, ERR_BAD_REQUEST, "the URL has a space or control character");
	end = host + strcspn(host, "/?#\\");
	at = memchr(host, '@', (size_t)(end - host));
	if (at != NULL)
		return err_set(err, ERR_BAD_REQUEST, "the URL carries a user name");
	stop = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
	stop = stop != NULL ? stop + 1 : memchr(host, ':', (size_t)(end - host));
	if (stop == NULL)
		stop = end;
	if (stop == host)
		return err_set(err, ERR_BAD_REQUEST, "the URL names no host");
	if (!span_copy((struct span){ host, (size_t)(stop - host) }, c->host_name,
		    sizeof c->host_name))
		return err_set(err, ERR_BAD_REQUEST, "the URL's host is too long");
	return 0;
}

/* An address that stands in the URL itself, and that the guard would turn down. */
static bool
names_private(const char *host)
{
	char text[FORWARD_HOST_BYTES];
	size_t len = strlen(host);
	unsigned char room[16];

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (host[0] == '[' && len > 2)
		(void)span_copy((struct span){ host + 1, len - 2 }, text, sizeof text);
	else
		(void)span_copy(span_of(host), text, sizeof text);
	return (inet_pton(AF_INET, text, room) == 1 || inet_pton(AF_INET6, text, room) == 1) &&
	       !egress_text_is_public(text);
}

static int
check_proxy(struct forward_call *c, const struct forward_request *q, struct err *err)
{
	static const char *const schemes[] = { "http://", "https://", "socks5://", "socks5h://" };

	if (q->proxy == NULL)
		return 0;
	if (!q->allow_private && names_private(c->host_name))
		return err_set(err, ERR_UPSTREAM_UNREACHABLE,
			"%s is a private address, also behind a proxy", c->host_name);
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (strncasecmp(q->proxy, schemes[i], strlen(schemes[i])) == 0) {
			c->allow_private = true; /* of the proxy */
			return 0;
		}
	return err_set(err, ERR_UPSTREAM_UNREACHABLE,
		"a proxy's address begins with http://, https://, socks5:// or socks5h://");
}

static size_t
read_body(char *out, size_t one, size_t room, void *call)
{
	struct forward_call *c = call;
	size_t len = one * room;
	int64_t left = c->body_bytes - c->body_at;
	ssize_t got;

	if ((int64_t)len > left)
		len = (size_t)left;
	if (len == 0)
		return 0;
	if (c->body_fd == -1) {
		memcpy(out, c->body.at + c->body_at, len);
		got = (ssize_t)len;
	} else {
		/* A file, lately written by ourselves: in the kernel's cache as a rule. */
		got = pread(c->body_fd, out, len, (off_t)c->body_at);
		if (got <= 0) {
			c->fault = FORWARD_CUT;
			c->fault_text = "the request's spooled body is shorter than it should be";
			return CURL_READFUNC_ABORT;
		}
	}
	c->body_at += got;
	c->mark_ms = forward_now_ms();
	return (size_t)got;
}

/* For a request sent again because a kept connection turned out to be closed. */
static int
seek_body(void *call, curl_off_t offset, int origin)
{
	struct forward_call *c = call;

	if (origin != SEEK_SET || offset < 0 || offset > c->body_bytes)
		return CURL_SEEKFUNC_FAIL;
	c->body_at = offset;
	return CURL_SEEKFUNC_OK;
}

/* libcurl's setters fail for want of memory only, given constants of the right kind. */
#define SET(option, value)                                                                         \
	do {                                                                                       \
		if (curl_easy_setopt(c->easy, option, value) != CURLE_OK)                          \
			return err_set(err, ERR_MEMORY, "libcurl refused " #option);               \
	} while (0)

int
request_common(struct forward_call *c, const struct forward_options *o, struct err *err)
{
	SET(CURLOPT_PRIVATE, c);
	SET(CURLOPT_ERRORBUFFER, c->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* keys are not the proxy's to see */
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
	SET(CURLOPT_MAXAGE_CONN, MAX_IDLE_S);
	SET(CURLOPT_USERAGENT, o->user_agent);
	SET(CURLOPT_HEADERFUNCTION, head_line);
	SET(CURLOPT_HEADERDATA, c);
	SET(CURLOPT_READFUNCTION, read_body);
	SET(CURLOPT_READDATA, c);
	SET(CURLOPT_SEEKFUNCTION, seek_body);
	SET(CURLOPT_SEEKDATA, c);
	SET(CURLOPT_OPENSOCKETFUNCTION, egress_open);
	SET(CURLOPT_OPENSOCKETDATA, c);
	return 0;
}

static int
set_body(struct forward_call *c, const struct forward_request *q, struct err *err)
{
	bool copied = !q->has_body || (q->body_fd == -1 && q->body.len <= COPIED_BODY_BYTES);

	c->body = q->body;
	c->body_fd = q->body_fd;
	c->body_bytes = !q->has_body ? 0 : q->body_fd == -1 ? (int64_t)q->body.len : q->body_bytes;
	c->body_at = 0;
	/* Small ones go with the head; others are pulled, which tells that the upload goes on. */
	SET(CURLOPT_POSTFIELDS, !copied ? NULL : c->body_bytes > 0 ? c->body.at : "");
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_bytes);
	return 0;
}

static int
set_method(struct forward_call *c, const struct forward_request *q, struct err *err)
{
	const char *method = q->method;
	bool posts = q->has_body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
		     strcmp(method, "PATCH") == 0;

	if (!is_name(method))
		return err_set(err, ERR_BAD_REQUEST, "the method cannot be sent");
	SET(CURLOPT_NOBODY, 0L);
	if (posts)
		SET(CURLOPT_POST, 1L);
	else
		SET(CURLOPT_HTTPGET, 1L);
	if (strcmp(method, "HEAD") == 0 && !q->has_body)
		SET(CURLOPT_NOBODY, 1L);
	SET(CURLOPT_CUSTOMREQUEST, strcmp(method, posts ? "POST" : "GET") == 0 ? NULL : method);
	return 0;
}

int
request_set(struct forward_call *c, const struct forward_request *q, const char *ca_file,
	struct err *err)
{
	const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
	const char *ca = q->ca_file != NULL ? q->ca_file : ca_file;

	if (read_url(c, q->url, err) != 0 || check_proxy(c, q, err) != 0 ||
		build_headers(c, q, err) != 0 || set_body(c, q, err) != 0 ||
		set_method(c, q, err) != 0)
		return -1;
	SET(CURLOPT_URL, q->url);
	SET(CURLOPT_HTTPHEADER, c->headers);
	SET(CURLOPT_CONNECTTIMEOUT_MS,
		q->connect_ms > 0 && q->connect_ms < LONG_MAX ? (long)q->connect_ms : 0L);
	SET(CURLOPT_HTTP_VERSION,
		(long)(q->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	SET(CURLOPT_PIPEWAIT, q->http2 ? 1L : 0L);
	/* Without a directory libcurl keeps what it read of the file for the next connections. */
	SET(CURLOPT_CAINFO, ca != NULL ? ca : v->cainfo);
	SET(CURLOPT_CAPATH, ca != NULL || v->cainfo != NULL ? NULL : v->capath);
	SET(CURLOPT_PROXY,
		q->proxy != NULL ? q->proxy : ""); /* "": none of the environment's either */
	SET(CURLOPT_PROXY_CAINFO, ca != NULL ? ca : v->cainfo);
	/* One PEM file with certificate and key; a connection is shared only by calls with the same. */
	SET(CURLOPT_SSLCERT, q->client_cert);
	SET(CURLOPT_SSLKEY, q->client_cert);
	return 0;
}

void
request_drop(struct forward_call *c)
{
	if (c->headers != NULL) {
		explicit_bzero(c->headers, c->headers_bytes);
		free(c->headers);
	}
	c->headers = NULL;
	c->body = SPAN_NONE;
	c->body_fd = -1;
}
