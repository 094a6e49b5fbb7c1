/*
 * cgi.c - one request from the environment, stdin and stdout.
 *
 * libfcgi only emulates CGI in its stdio layer, so this is plain read(2) and write(2).  Of stdout
 * only POLLERR and POLLHUP tell that the client left: Apache's cgid passes a socket whose other
 * side was half closed from the start.  The usual news is SIGTERM, which server.c watches.
 */
#include "web/web-int.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TERM_LOOK_MS 50 /* how often a read that waits looks whether SIGTERM came */

struct web_request *
cgi_request_new(struct web_server *s)
{
	struct web_request *r = request_new(s, STDOUT_FILENO);
	size_t n = 0;

	if (r == NULL)
		return NULL;
	r->cgi = true;
	while (environ != NULL && environ[n] != NULL)
		n++;
	/* The strings stay; the array moves when somebody calls setenv(). */
	if ((r->env = calloc(n + 1, sizeof *r->env)) == NULL) {
		free(r);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		r->env[i] = environ[i];
	return r;
}

ptrdiff_t
cgi_read(struct web_request *r, void *out, size_t room, int64_t wait_ms)
{
	int64_t stated = request_length(r), until = clock_mono_us() / 1000 + wait_ms;
	struct pollfd pfd = { .fd = STDIN_FILENO, .events = POLLIN };
	ssize_t n;

	/* Not every web server closes stdin behind the body. */
	if (stated >= 0 && (int64_t)room > stated - r->cgi_taken)
		room = (size_t)(stated - r->cgi_taken);
	if (room == 0)
		return 0;
	for (;;) {
		int64_t left = until - clock_mono_us() / 1000;
		int rc;

		if (atomic_load(&r->server->cgi_term)) {
			errno = ECANCELED;
			return -1;
		}
		if (left <= 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		rc = poll(&pfd, 1, left < TERM_LOOK_MS ? (int)left : TERM_LOOK_MS);
		if (rc < 0 && errno != EINTR)
			return -1;
		if (rc <= 0)
			continue;
		n = read(STDIN_FILENO, out, room);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n > 0)
			r->cgi_taken += n;
		return n;
	}
}

int
cgi_write(struct web_request *r, const void *data, size_t len)
{
	struct pollfd pfd = { .fd = r->watch.fd, .events = POLLOUT };
	const char *at = data;

	while (len > 0) {
		int rc = poll(&pfd, 1, SEND_WAIT_MS);
		ssize_t n;

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0 || (pfd.revents & (POLLERR | POLLNVAL)) != 0)
			return -1;
		n = write(r->watch.fd, at, len < PIPE_BYTES ? len : PIPE_BYTES);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

void
cgi_close(struct web_request *r)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	/* The number stays taken, or the next file opened would become stdout. */
	if (null >= 0) {
		(void)dup2(null, r->watch.fd);
		(void)close(null);
	} else
		(void)close(r->watch.fd);
}
