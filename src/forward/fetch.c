/*
 * fetch.c - what stands at addresses that a client named.
 *
 * The client chooses the address and whoever holds that chooses the answer, so neither is believed:
 * the guard judges each socket, redirects are followed here and not by libcurl (which would read their
 * bodies to the end), and every length is looked at before a byte is kept.  A multi handle of its own
 * for each call: no connection, name or cookie outlives it.
 */
#include "forward/forward-int.h"

#include "base/clock.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define URL_BYTES      8192
#define REDIRECTS_MOST 3
#define SIDE_BY_SIDE   6 /* connections; each may be a name look-up, which is a thread */
#define POLL_MS        200
#define BUFFER_BYTES   (64 * 1024L)

struct fetching {
	struct forward_fetch *f;
	const struct forward_fetch_options *o;
	int64_t *all; /* bytes kept of all of the call */
	CURL *easy;
	bool added;
	bool over;
	bool judged;          /* the head was looked at */
	bool address_refused; /* by the guard, at least one */
	int redirects;
	char *next; /* where it is redirected to */
	char host[FORWARD_HOST_BYTES];
	bool secure;
};

/* Tells the client no more than it knows: neither addresses of names, nor what is behind the '?'. */
static int
refuse(struct fetching *g, enum err_code code, const char *says)
{
	if (g->f->err.code != ERR_NONE)
		return -1;
	(void)err_set(&g->f->err, code, "media at %.100s: %s", g->host, says);
	return err_say(&g->f->err, "%.100s %s", g->host, says);
}

static curl_socket_t
open_socket(void *fetching, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct fetching *g = fetching;
	int fd;

	(void)purpose;
	if (!g->o->allow_private && !forward_address_is_public(&address->addr)) {
		g->address_refused = true; /* libcurl goes on to the name's next address */
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		address->protocol);
	return fd == -1 ? CURL_SOCKET_BAD : fd;
}

/* ---- the address ---- */

static bool
copy_part(CURLU *u, CURLUPart part, char *out, size_t room)
{
	char *text = NULL;
	bool fits = false;

	if (curl_url_get(u, part, &text, 0) == CURLUE_OK)
		fits = span_copy(span_of(text), out, room);
	curl_free(text);
	return fits;
}

static bool
is_plain(const char *url)
{
	size_t len = strlen(url);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)url[i] <= ' ' || url[i] == 127)
			return false;
	return len > 0 && len < URL_BYTES;
}

/* By libcurl's own reading of it, so that what is judged is what is asked. */
static int
read_url(struct fetching *g, const char *url)
{
	CURLU *u = curl_url();
	char scheme[8] = "", *user = NULL;
	bool was_secure = g->secure;
	int rc = 0;

	(void)strcpy(g->host, "The address");
	if (u == NULL)
		return refuse(g, ERR_MEMORY, "could not be read for want of memory");
	if (!is_plain(url) || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK ||
		!copy_part(u, CURLUPART_SCHEME, scheme, sizeof scheme) ||
		(strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		rc = refuse(g, ERR_BAD_REQUEST, "is none of http or https that can be read.");
	else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
		rc = refuse(g, ERR_BAD_REQUEST, "carries a user name.");
	else if (!copy_part(u, CURLUPART_HOST, g->host, sizeof g->host))
		rc = refuse(g, ERR_BAD_REQUEST, "has no host that can be read.");
	g->secure = strcmp(scheme, "https") == 0;
	if (rc == 0 && was_secure && !g->secure)
		rc = refuse(g, ERR_BAD_REQUEST, "is where a secure address leads without TLS.");
	curl_free(user);
	curl_url_cleanup(u);
	return rc;
}

/* ---- the answer ---- */

static void
read_type(struct fetching *g)
{
	char *type = NULL, *out = g->f->content_type;
	size_t len;

	out[0] = '\0';
	if (curl_easy_getinfo(g->easy, CURLINFO_CONTENT_TYPE, &type) != CURLE_OK || type == NULL)
		return;
	len = strcspn(type, "; \t,");
	if (len == 0 || len >= sizeof g->f->content_type)
		return;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)tolower((unsigned char)type[i]);
	out[len] = '\0';
}

static bool
is_encoded(CURL *easy)
{
	struct curl_header *h;

	return curl_easy_header(easy, "Content-Encoding", 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
	       strcasecmp(h->value, "identity") != 0;
}

static int
too_long(struct fetching *g)
{
	char says[120];

	(void)snprintf(says, sizeof says, "holds more than the %lld bytes that are fetched.",
		(long long)g->o->each_bytes);
	return refuse(g, ERR_UNSUPPORTED, says);
}

static int
all_too_long(struct fetching *g)
{
	return refuse(g, ERR_UNSUPPORTED,
		"and the others of this request hold more together than is fetched.");
}

static bool
is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* What the head says, before anything of the body is kept. */
static int
judge(struct fetching *g)
{
	curl_off_t length = -1;
	long status = 0;
	char says[160];

	g->judged = true;
	(void)curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(g->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	read_type(g);
	if (status != 200) {
		(void)snprintf(says, sizeof says, "answered with status %ld.", status);
		return refuse(g, ERR_BAD_REQUEST, says);
	}
	if (g->f->types != NULL && g->f->content_type[0] != '\0' &&
		!glob_list_match(g->f->types, span_of(g->f->content_type))) {
		(void)snprintf(says, sizeof says,
			"sent '%.60s', which is not the type of this part.", g->f->content_type);
		return refuse(g, ERR_UNSUPPORTED, says);
	}
	if (is_encoded(g->easy))
		return refuse(g, ERR_UNSUPPORTED, "sent it in a coding that was not asked for.");
	if (length > g->o->each_bytes)
		return too_long(g);
	if (length > g->o->all_bytes - *g->all)
		return all_too_long(g);
	if (length > 0)
		bytes_expect(&g->f->body, (size_t)length);
	return 0;
}

static size_t
on_body(char *data, size_t one, size_t count, void *fetching)
{
	struct fetching *g = fetching;
	size_t len = one * count;
	long status = 0;

	(void)curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &status);
	if (is_redirect(status)) /* of its body nothing is wanted */
		return CURL_WRITEFUNC_ERROR;
	if (!g->judged && judge(g) != 0)
		return CURL_WRITEFUNC_ERROR;
	if ((int64_t)(g->f->body.len + len) > g->o->each_bytes)
		(void)too_long(g);
	else if ((int64_t)len > g->o->all_bytes - *g->all)
		(void)all_too_long(g);
	else if (g->o->take != NULL && !g->o->take(g->o->ctx, len))
		(void)refuse(g, ERR_OVERLOADED, "could not be kept: the gateway holds too much.");
	else if (bytes_add(&g->f->body, data, len) != 0)
		(void)refuse(g, ERR_MEMORY, "could not be kept for want of memory.");
	if (g->f->err.code != ERR_NONE)
		return CURL_WRITEFUNC_ERROR;
	*g->all += (int64_t)len;
	return len;
}

/* ---- one transfer ---- */

#define SET(option, value) (rc = rc != CURLE_OK ? rc : curl_easy_setopt(g->easy, option, value))

static CURLcode
set_options(struct fetching *g, struct curl_slist *headers)
{
	const struct forward_fetch_options *o = g->o;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_PRIVATE, g);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTPGET, 1L);
	SET(CURLOPT_USERAGENT, o->user_agent);
	SET(CURLOPT_HTTPHEADER, headers);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, g);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, g);
	if (o->ca_file != NULL) {
		SET(CURLOPT_CAINFO, o->ca_file);
		SET(CURLOPT_CAPATH, NULL);
	}
	return rc;
}

static int
start(struct fetching *g, CURLM *multi, const char *url)
{
	CURLcode rc = CURLE_OK;

	g->judged = g->address_refused = false;
	if (read_url(g, url) != 0)
		return -1;
	SET(CURLOPT_URL, url);
	if (rc != CURLE_OK || curl_multi_add_handle(multi, g->easy) != CURLM_OK)
		return refuse(g, ERR_MEMORY, "could not be asked for want of memory.");
	g->added = true;
	return 0;
}

/* Where the answer leads to; by libcurl's own reading again.  NULL: nowhere.  To be freed. */
static char *
location(struct fetching *g)
{
	const char *from = g->next != NULL ? g->next : g->f->url;
	struct curl_header *h;
	CURLU *u = curl_url();
	char *whole = NULL, *to = NULL;

	if (u != NULL &&
		curl_easy_header(g->easy, "Location", 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
		curl_url_set(u, CURLUPART_URL, from, 0) == CURLUE_OK &&
		curl_url_set(u, CURLUPART_URL, h->value, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
		curl_url_get(u, CURLUPART_URL, &whole, 0) == CURLUE_OK)
		to = strdup(whole);
	curl_free(whole);
	curl_url_cleanup(u);
	return to;
}

static int
redirect(struct fetching *g, CURLM *multi)
{
	char *to = location(g);

	if (to == NULL)
		return refuse(g, ERR_BAD_REQUEST, "redirects to nowhere.");
	free(g->next);
	g->next = to;
	if (++g->redirects > REDIRECTS_MOST)
		return refuse(g, ERR_BAD_REQUEST, "redirects too often.");
	return start(g, multi, to);
}

static int
failed(struct fetching *g, CURLcode code)
{
	const char *says = "could not be reached.";

	switch (code) {
	case CURLE_OUT_OF_MEMORY:
		return refuse(g, ERR_MEMORY, "could not be asked for want of memory.");
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
		says = "has no certificate that is trusted here.";
		break;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_WEIRD_SERVER_REPLY:
		says = "broke off its answer.";
		break;
	case CURLE_COULDNT_RESOLVE_HOST:
		says = "has no public address."; /* which names exist inside is nobody's business */
		break;
	default:
		if (g->address_refused)
			says = "has no public address.";
		break;
	}
	(void)err_set(&g->f->err, ERR_BAD_REQUEST, "media at %.100s: %s%s", g->host,
		curl_easy_strerror(code),
		g->address_refused ? " (the egress guard refused an address)" : "");
	return err_say(&g->f->err, "%.100s %s", g->host, says);
}

/* 0: it goes on, or was fetched.  -1: it failed. */
static int
ended(struct fetching *g, CURLM *multi, CURLcode code)
{
	long status = 0;

	(void)curl_multi_remove_handle(multi, g->easy);
	g->added = false;
	(void)curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &status);
	if (is_redirect(status) && (code == CURLE_OK || code == CURLE_WRITE_ERROR))
		return redirect(g, multi);
	g->over = true;
	if (g->f->err.code != ERR_NONE)
		return -1;
	if (code != CURLE_OK)
		return failed(g, code);
	if (!g->judged && judge(g) != 0)
		return -1;
	if (g->f->body.len == 0)
		return refuse(g, ERR_BAD_REQUEST, "has nothing there.");
	return 0;
}

/* ---- the call ---- */

static int
reap(CURLM *multi, size_t *left)
{
	CURLMsg *m;
	int queued;

	while ((m = curl_multi_info_read(multi, &queued)) != NULL) {
		struct fetching *g = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &g);
		if (ended(g, multi, m->data.result) != 0)
			return -1;
		*left -= g->over ? 1 : 0;
	}
	return 0;
}

static void
time_out(struct fetching *g, size_t count, int64_t total_ms)
{
	char says[80];

	(void)snprintf(says, sizeof says, "did not give all within %lld ms.", (long long)total_ms);
	for (size_t i = 0; i < count; i++)
		if (!g[i].over) {
			(void)refuse(&g[i], ERR_BAD_REQUEST, says);
			return;
		}
}

static void
run(CURLM *multi, struct fetching *g, size_t count, const struct forward_fetch_options *o)
{
	int64_t until_ms = clock_boot_ms() + o->total_ms, left_ms;
	size_t left = count;
	int running;

	while (left > 0) {
		if (curl_multi_perform(multi, &running) != CURLM_OK) {
			(void)refuse(g, ERR_MEMORY, "could not be asked for want of memory.");
			return;
		}
		if (reap(multi, &left) != 0)
			return;
		left_ms = until_ms - clock_boot_ms();
		if (left > 0 && left_ms <= 0) {
			time_out(g, count, o->total_ms);
			return;
		}
		if (left > 0)
			(void)curl_multi_poll(
				multi, NULL, 0, (int)(left_ms < POLL_MS ? left_ms : POLL_MS), NULL);
	}
}

static int
prepare(struct fetching *g, CURLM *multi, struct curl_slist *headers)
{
	g->f->err = (struct err){ 0 };
	g->f->content_type[0] = '\0';
	g->f->body = BYTES_LIMIT((size_t)g->o->each_bytes);
	g->easy = curl_easy_init();
	if (g->easy == NULL || set_options(g, headers) != CURLE_OK)
		return refuse(g, ERR_MEMORY, "could not be asked for want of memory.");
	return start(g, multi, g->f->url);
}

static int
first_failure(const struct forward_fetch *f, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		if (f[i].err.code != ERR_NONE) {
			*err = f[i].err;
			return -1;
		}
	return 0;
}

int
forward_fetch(struct forward_fetch *f, size_t count, const struct forward_fetch_options *o,
	struct err *err)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Accept-Encoding: identity");
	struct fetching g[FORWARD_FETCH_MOST] = { 0 };
	CURLM *multi = curl_multi_init();
	int64_t all = 0;
	size_t started = 0;
	int rc = 0;

	if (count > FORWARD_FETCH_MOST || multi == NULL || headers == NULL) {
		curl_slist_free_all(headers);
		(void)curl_multi_cleanup(multi);
		return err_set(err, count > FORWARD_FETCH_MOST ? ERR_BAD_REQUEST : ERR_MEMORY,
			"%zu addresses to fetch at once, or no memory", count);
	}
	(void)curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)SIDE_BY_SIDE);
	for (; started < count && rc == 0; started++) {
		g[started] = (struct fetching){ .f = &f[started], .o = o, .all = &all };
		(void)strcpy(g[started].host, "The address");
		rc = prepare(&g[started], multi, headers);
	}
	if (rc == 0)
		run(multi, g, count, o);
	for (size_t i = 0; i < started; i++) {
		if (g[i].added)
			(void)curl_multi_remove_handle(multi, g[i].easy);
		curl_easy_cleanup(g[i].easy);
		free(g[i].next);
	}
	(void)curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	for (size_t i = started; i < count; i++)
		f[i].body = BYTES_LIMIT(0), f[i].err = (struct err){ 0 };
	return first_failure(f, count, err);
}
