/*
 * intake.c - the threads that read requests.
 *
 * libfcgi blocks in read(), and some web servers hand a body over as slowly as its client sends
 * it, so each request being read has a thread.  What keeps a slow one in bounds is SO_RCVTIMEO, set
 * to the time the deadline and the least rate still allow: the reading thread then learns of it
 * itself, knows why, and can answer 408.  (shutdown(SHUT_RD) would end the read as well, but on a
 * UNIX socket it gives the web server EPIPE on its next write, and it drops our answer.)
 */
#include "web/web-int.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fastcgi.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FIRST_BODY_BYTES 4096
#define LARGE_BODY_BYTES (64 * 1024) /* going through more takes long */
#define CGI_READ_BYTES   16384
#define LOOK_AHEAD_BYTES 4096
#define FIRST_BYTE_MS    5 /* a new connection that is silent longer is parked */
#define LISTEN_EVENTS    (EPOLLIN | EPOLLEXCLUSIVE)
#define STEP_BACK_EVERY  4
#define ACCEPT_REST_MS   100 /* after accept() found no descriptor or memory */
#define REARM_MS         100 /* a timeout that is right to this is not set again */

/* Reading one body. */
struct reading {
	int64_t began_ms, until_ms; /* until: the deadline */
	int64_t min_rate;
	int64_t got, stated; /* stated: INT64_MAX when not known */
	int64_t armed_ms;    /* SO_RCVTIMEO as set */
	char *buffer;        /* CGI only */
};

static int64_t
now_ms(void)
{
	return clock_mono_us() / 1000;
}

void
intake_timeout(int fd, int option, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	(void)setsockopt(fd, SOL_SOCKET, option, &tv, sizeof tv);
}

/* How long the next read may take; 0 or less: no longer. */
static int64_t
time_left(const struct reading *in)
{
	int64_t until = in->until_ms;

	if (in->min_rate > 0) {
		int64_t due = in->began_ms + RATE_GRACE_MS + in->got * 1000 / in->min_rate;

		if (due < until)
			until = due;
	}
	return until - now_ms();
}

static bool
is_ready(int fd, short what)
{
	struct pollfd pfd = { .fd = fd, .events = what };

	return poll(&pfd, 1, 0) == 1;
}

/* The next bytes of the body: their number and *at, 0 at its end, or -1 with *err. */
static ptrdiff_t
next_bytes(struct web_request *r, struct reading *in, const char **at, struct err *err)
{
	int64_t left = time_left(in);
	FCGX_Stream *stream = r->fx.in;
	ptrdiff_t n;
	bool waits;
	int error;

	if (left <= 0)
		return err_set(err, ERR_BODY_TIMEOUT, "%lld bytes of the body in %lld ms",
			(long long)in->got, (long long)(now_ms() - in->began_ms));
	if (r->cgi) {
		n = cgi_read(r, in->buffer, CGI_READ_BYTES, left);
		*at = in->buffer;
		if (n >= 0)
			return n;
		error = errno == ETIMEDOUT ? EAGAIN : errno;
	} else {
		if (stream->rdNext == stream->stop) {
			/* behind the whole body only its end is left, and that came along */
			waits = !r->body_came && in->got < in->stated &&
				!is_ready(r->watch.fd, POLLIN);
			if (waits) {
				intake_away(r->server);
				if (left + REARM_MS < in->armed_ms || left > in->armed_ms) {
					intake_timeout(r->watch.fd, SO_RCVTIMEO, left);
					in->armed_ms = left;
				}
			}
			/* Fills libfcgi's buffer with one read(); the byte it took is still there. */
			if (FCGX_GetChar(stream) != EOF)
				stream->rdNext--;
			if (waits)
				intake_back(r->server);
		}
		n = stream->stop - stream->rdNext;
		*at = (const char *)stream->rdNext;
		stream->rdNext = stream->stop;
		if (n > 0)
			return n;
		if ((error = FCGX_GetError(stream)) == 0)
			return 0;
	}
	if (error == EAGAIN)
		return err_set(err, ERR_BODY_TIMEOUT, "%lld bytes of the body in %lld ms",
			(long long)in->got, (long long)(now_ms() - in->began_ms));
	return err_set(err, ERR_CLIENT_GONE, "the body ends after %lld bytes (%d)",
		(long long)in->got, error);
}

/* ---- where the body goes ---- */

static bool
count_memory(struct web_request *r, size_t more)
{
	struct web_server *s = r->server;
	int64_t before = atomic_fetch_add(&s->body_memory, (int64_t)more);

	if (before + (int64_t)more > s->o.body_memory_bytes) {
		atomic_fetch_sub(&s->body_memory, (int64_t)more);
		return false;
	}
	r->body_counted += more;
	return true;
}

static int
write_spool(struct web_request *r, const char *at, size_t len, struct err *err)
{
	while (len > 0) {
		ssize_t n = write(r->body_fd, at, len);

		if (n <= 0)
			return err_set(err, ERR_OVERLOADED, "cannot spool a body in %s: %s",
				r->server->o.spool_dir, strerror(errno));
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
open_spool(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char path[512];

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	if (snprintf(path, sizeof path, "%s/body.XXXXXX", dir) >= (int)sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if ((fd = mkostemp(path, O_CLOEXEC)) >= 0)
		(void)unlink(path);
	return fd;
}

/* What is in memory goes to a file, and so does the rest. */
static int
begin_spool(struct web_request *r, struct err *err)
{
	const char *dir = r->server->o.spool_dir;
	int fd;

	if (dir == NULL)
		return err_set(err, ERR_OVERLOADED, "the memory for bodies is spent");
	if ((fd = open_spool(dir)) < 0)
		return err_set(
			err, ERR_OVERLOADED, "cannot spool a body in %s: %s", dir, strerror(errno));
	r->body_fd = fd;
	if (write_spool(r, r->body, r->body_len, err) != 0)
		return -1;
	r->body_fd = -1; /* or web_body_release() would close it */
	web_body_release(r);
	r->body_fd = fd;
	return 0;
}

static int
keep_bytes(struct web_request *r, int64_t stated, const char *at, size_t len, struct err *err)
{
	size_t need = r->body_len + len, room = r->body_room;
	char *bigger;

	if (r->body_fd >= 0)
		return write_spool(r, at, len, err);
	if (need > room) {
		/* A stated length earns no memory before the bytes come. */
		room = room == 0 ? FIRST_BODY_BYTES : room * 2;
		if (stated >= 0 && room > (size_t)stated)
			room = (size_t)stated;
		if (room < need)
			room = need;
		if (!count_memory(r, room - r->body_room)) {
			if (begin_spool(r, err) != 0)
				return -1;
			return write_spool(r, at, len, err);
		}
		if ((bigger = realloc(r->body, room)) == NULL)
			return err_set(err, ERR_MEMORY, "no memory for a body of %zu bytes", room);
		r->body = bigger;
		r->body_room = room;
	}
	memcpy(r->body + r->body_len, at, len);
	r->body_len = need;
	return 0;
}

/* Gives back what doubling took too much. */
static void
fit_body(struct web_request *r)
{
	size_t spare = r->body_room - r->body_len;
	char *smaller;

	if (r->body == NULL || spare < 1024 || r->body_len == 0)
		return;
	if ((smaller = realloc(r->body, r->body_len)) == NULL)
		return;
	r->body = smaller;
	r->body_room = r->body_len;
	r->body_counted -= spare;
	atomic_fetch_sub(&r->server->body_memory, (int64_t)spare);
}

/* ---- reading ---- */

static int64_t
body_limit(const struct web_request *r)
{
	const struct web_options *o = &r->server->o;
	int64_t limit = o->body_limit_bytes, own;

	if (o->body_limit == NULL)
		return limit;
	own = o->body_limit(o->handler.ctx, web_method(r), web_path(r));
	return own > limit ? own : limit;
}

static int
too_large(struct err *err, int64_t limit, int64_t seen)
{
	(void)err_set(err, ERR_BODY_TOO_LARGE, "a body of %lld bytes or more, limit %lld",
		(long long)seen, (long long)limit);
	return err_say(err,
		"The request's body is larger than the %lld bytes that are allowed here.",
		(long long)limit);
}

/* Reads the body to its end.  0, or -1 with *err; then the rest of it may still be unread. */
static int
read_body(struct web_request *r, struct reading *in, struct err *err)
{
	int64_t stated = request_length(r), limit = body_limit(r);
	const char *at = NULL;
	ptrdiff_t n;

	if (stated > limit)
		return too_large(err, limit, stated);
	in->stated = stated >= 0 ? stated : INT64_MAX;
	while ((n = next_bytes(r, in, &at, err)) > 0) {
		in->got += n;
		if (in->got > limit)
			return too_large(err, limit, in->got);
		if (keep_bytes(r, stated, at, (size_t)n, err) != 0)
			return -1;
	}
	if (n < 0)
		return -1;
	r->input_ended = true;
	r->body_bytes = in->got;
	if (stated >= 0 && in->got != stated) {
		(void)err_set(err, ERR_BAD_REQUEST, "a body of %lld bytes, stated were %lld",
			(long long)in->got, (long long)stated);
		return err_say(
			err, "The request's body is not as long as its Content-Length says.");
	}
	if (r->body_fd >= 0 && lseek(r->body_fd, 0, SEEK_SET) != 0)
		return err_set(err, ERR_INTERNAL, "lseek: %s", strerror(errno));
	fit_body(r);
	return 0;
}

/* Web servers that hand the body over as it comes lose an answer that precedes its end. */
static void
discard_body(struct web_request *r, struct reading *in)
{
	struct err ignored;
	const char *at;
	ptrdiff_t n = 0;

	in->began_ms = now_ms();
	in->until_ms = in->began_ms + DISCARD_WAIT_MS;
	in->min_rate = 0;
	in->got = 0;
	in->stated = INT64_MAX;
	while (in->got < DISCARD_BYTES && (n = next_bytes(r, in, &at, &ignored)) > 0)
		in->got += n;
	r->input_ended = n == 0;
}

static void
refuse(struct web_request *r, struct reading *in, const struct err *why)
{
	struct web_server *s = r->server;
	const struct web_handler *h = &s->o.handler;
	struct web_head_line retry = { "Retry-After", "1" };
	struct bytes out = BYTES_LIMIT(16 * 1024);
	const char *type = "text/plain";
	int status = err_status(why->code);

	web_body_release(r);
	if (h->on_refused != NULL)
		h->on_refused(h->ctx, r, why);
	if (why->code == ERR_CLIENT_GONE) {
		atomic_store(&r->gone, true);
		reply_close(r, false);
		request_free(r);
		server_ended(s);
		return;
	}
	if (!r->input_ended && why->code != ERR_BODY_TIMEOUT)
		discard_body(r, in);
	if (h->make_error != NULL)
		type = h->make_error(h->ctx, r, why, &out);
	else
		(void)bytes_puts(&out, err_public(why));
	web_answer(r, status, type, &retry, status == 503 ? 1 : 0, bytes_span(&out));
	bytes_free(&out);
}

/* The parameters.  0; or -1: there is no request and the connection is closed. */
static int
read_params(struct web_request *r)
{
	bool accepted;

	intake_timeout(r->watch.fd, SO_RCVTIMEO, PARAMS_WAIT_MS);
	if (FCGX_InitRequest(&r->fx, -1, 0) != 0)
		return -1;
	/* An accepted connection is put in by hand.  keepConnection, or the Finish_r() with which
	 * Accept_r() begins closes it; no listening socket, so that a broken request comes back as an
	 * error; detached, so that closing after one does not wait 2 s. */
	r->fx.ipcFd = r->watch.fd;
	r->fx.keepConnection = 1;
	(void)FCGX_Detach(&r->fx);
	if (!r->params_came)
		intake_away(r->server);
	accepted = FCGX_Accept_r(&r->fx) == 0;
	if (!r->params_came)
		intake_back(r->server);
	if (!accepted) {
		r->watch.fd = -1;
		return -1;
	}
	if (r->fx.role != FCGI_RESPONDER)
		return -1;
	r->env = r->fx.envp;
	return 0;
}

/* What reading needed is not kept for the life of a stream. */
static void
free_reader(struct web_request *r)
{
	if (r->cgi)
		return;
	FCGX_FreeStream(&r->fx.in);
	(void)FCGX_FClose(r->fx.err); /* writes nothing: nothing was put in */
	FCGX_FreeStream(&r->fx.err);
}

static void
serve(struct web_server *s, struct web_request *r)
{
	const struct web_handler *h = &s->o.handler;
	struct reading in = { .min_rate = s->o.body_min_rate, .armed_ms = PARAMS_WAIT_MS };
	struct err err = { 0 };
	bool takes_long;
	int rc;

	r->state = REQUEST_READING;
	atomic_fetch_add(&s->reading, 1);
	if (!r->cgi && read_params(r) != 0) {
		atomic_fetch_sub(&s->reading, 1);
		if (r->watch.fd >= 0)
			(void)close(r->watch.fd);
		request_free(r);
		server_ended(s);
		return;
	}
	in.began_ms = now_ms();
	in.until_ms = in.began_ms + s->o.body_deadline_ms;
	if (r->cgi && (in.buffer = malloc(CGI_READ_BYTES)) == NULL)
		rc = err_set(&err, ERR_MEMORY, "no memory to read a body");
	else if ((rc = request_check(r, &err)) == 0) {
		if (r->overloaded)
			rc = err_set(&err, ERR_OVERLOADED, "%d requests are open already",
				s->o.requests_most);
		else
			rc = read_body(r, &in, &err);
	}
	if (rc != 0)
		refuse(r, &in, &err);
	else {
		free_reader(r);
		r->state = REQUEST_OWNED;
	}
	free(in.buffer);
	atomic_fetch_sub(&s->reading, 1);
	if (rc != 0)
		return;
	takes_long = s->o.requests_take_long || in.got > LARGE_BODY_BYTES;
	if (takes_long)
		intake_away(s);
	h->on_request(h->ctx, r); /* and r is not ours any more */
	if (takes_long)
		intake_back(s);
}

/* ---- the pool ----
 *
 * One idle thread leads: it waits at the listening socket, accepts a connection itself and goes on
 * to read from it, without a hand-over.  Nobody leads while it is busy: what comes meanwhile is for
 * another worker's leader or stays in the backlog until this one is back, within microseconds, with
 * warm caches.  Only a thread that is about to wait for its peer, or has a large body to go through,
 * sees to it that another one leads; more threads than that would only take turns on the same cores.
 *
 * The listening socket is exclusive in the leaders' epoll sets, so that the kernel wakes one leader
 * of one worker for each connection.
 */

int
intake_open(struct web_server *s)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = -1 };

	s->listen_fd = -1;
	s->intake_fd = epoll_create1(EPOLL_CLOEXEC);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->intake_fd < 0 || s->wake_fd < 0)
		return -1;
	return epoll_ctl(s->intake_fd, EPOLL_CTL_ADD, s->wake_fd, &event);
}

void
intake_close(struct web_server *s)
{
	if (s->intake_fd >= 0)
		(void)close(s->intake_fd);
	if (s->wake_fd >= 0)
		(void)close(s->wake_fd);
}

static int start_thread(struct web_server *s);

/* Nobody leads: an idle thread is to, or a new one where those at work will not be back soon.  lock
 * held. */
static void
rouse(struct web_server *s, bool urgent)
{
	if (s->quit || s->roused || s->led)
		return;
	if (s->idle_threads > 0) {
		s->roused = true;
		(void)pthread_cond_signal(&s->idle_wake);
	} else if ((urgent || s->away >= s->live_threads) && s->live_threads < s->o.threads_most)
		s->roused = start_thread(s) == 0;
}

void
intake_away(struct web_server *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->away++;
	rouse(s, false);
	(void)pthread_mutex_unlock(&s->lock);
}

void
intake_back(struct web_server *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->away--;
	(void)pthread_mutex_unlock(&s->lock);
}

void
web_away(const struct web_request *r)
{
	intake_away(r->server);
}

void
web_back(const struct web_request *r)
{
	intake_back(r->server);
}

void
web_tend(struct web_server *s)
{
	(void)pthread_mutex_lock(&s->lock);
	if (s->turns == s->turns_tended)
		rouse(s, true);
	s->turns_tended = s->turns;
	(void)pthread_mutex_unlock(&s->lock);
}

void
intake_listen(struct web_server *s, int listen_fd)
{
	struct epoll_event event = { .events = LISTEN_EVENTS, .data.fd = listen_fd };

	(void)pthread_mutex_lock(&s->lock);
	s->listen_fd = listen_fd;
	while (s->live_threads < s->o.threads_least && start_thread(s) == 0)
		;
	(void)pthread_mutex_unlock(&s->lock);
	(void)epoll_ctl(s->intake_fd, EPOLL_CTL_ADD, listen_fd, &event);
}

void
intake_unlisten(struct web_server *s)
{
	(void)pthread_mutex_lock(&s->lock);
	if (s->listen_fd >= 0)
		(void)epoll_ctl(s->intake_fd, EPOLL_CTL_DEL, s->listen_fd, NULL);
	s->listen_fd = -1;
	(void)pthread_mutex_unlock(&s->lock);
}

/* The kernel wakes whoever has waited longest in the listening socket's queue, and leaves it there:
 * without stepping back, one worker would get all connections while it keeps up with them.  One
 * request at a time does stay where the caches are warm.  lock held. */
static void
step_back(struct web_server *s)
{
	struct epoll_event event = { .events = LISTEN_EVENTS, .data.fd = s->listen_fd };

	if (s->listen_fd < 0 || atomic_load(&s->open) <= 1 || ++s->accepted % STEP_BACK_EVERY != 0)
		return;
	(void)epoll_ctl(s->intake_fd, EPOLL_CTL_DEL, s->listen_fd, NULL);
	(void)epoll_ctl(s->intake_fd, EPOLL_CTL_ADD, s->listen_fd, &event);
}

static void
wake_leader(struct web_server *s)
{
	const uint64_t one = 1;

	(void)!write(s->wake_fd, &one, sizeof one);
}

/* Looks at what has come, without taking it: has all that reading will ask for?  Its bytes, as of
 * recv(). */
static ptrdiff_t
look_ahead(struct web_request *r)
{
	unsigned char bytes[LOOK_AHEAD_BYTES];
	ptrdiff_t n = recv(r->watch.fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);

	for (ptrdiff_t at = 0; at + FCGI_HEADER_LEN <= n;) {
		const unsigned char *header = bytes + at;
		ptrdiff_t content = header[4] << 8 | header[5];

		at += FCGI_HEADER_LEN + content + header[6];
		if (content == 0 && header[1] == FCGI_PARAMS)
			r->params_came = true;
		if (content == 0 && header[1] == FCGI_STDIN)
			r->body_came = true;
	}
	return n;
}

/* A request from the listening socket, or NULL: another was faster, or the peer stays silent. */
static struct web_request *
accept_request(struct web_server *s, int listen_fd)
{
	struct pollfd pfd = { .events = POLLIN };
	struct web_request *r = NULL;
	ptrdiff_t came;

	/* counted first: whoever waits for the last request to end must not overlook this one */
	bool overloaded = atomic_fetch_add(&s->open, 1) >= s->o.requests_most;

	if (atomic_load(&s->stopping))
		goto none;
	if ((pfd.fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* It stays in the backlog; asking again at once would spin. */
			log_write(LOG_ERROR, "web", "cannot accept: %s", strerror(errno));
			(void)poll(NULL, 0, ACCEPT_REST_MS);
		}
		goto none;
	}
	if ((r = request_new(s, pfd.fd)) == NULL) {
		log_write(LOG_ERROR, "web", "out of memory for a request");
		goto close;
	}
	if ((came = look_ahead(r)) < 0 && errno == EAGAIN) {
		if (poll(&pfd, 1, FIRST_BYTE_MS) != 1) {
			server_park(s, pfd.fd, false);
			goto free;
		}
		came = look_ahead(r);
	}
	if (came <= 0)
		goto close;
	r->overloaded = overloaded;
	return r;
close:
	(void)close(pfd.fd);
free:
	if (r != NULL)
		request_free(r);
none:
	server_ended(s);
	return NULL;
}

/* Waits at the door.  A request, or NULL after a while or when something else is to be done. */
static struct web_request *
lead(struct web_server *s, int listen_fd)
{
	struct epoll_event event;
	uint64_t count;
	struct web_request *r = listen_fd < 0 ? NULL : accept_request(s, listen_fd);

	if (r != NULL || epoll_wait(s->intake_fd, &event, 1, IDLE_THREAD_S * 1000) <= 0)
		return r;
	if (event.data.fd >= 0)
		return accept_request(s, event.data.fd);
	(void)!read(s->wake_fd, &count, sizeof count);
	return NULL;
}

/* Idle while another one leads.  False: it was for so long that this thread is to leave.  lock
 * held. */
static bool
rest(struct web_server *s)
{
	struct timespec until;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_THREAD_S;
	s->idle_threads++;
	rc = pthread_cond_timedwait(&s->idle_wake, &s->lock, &until);
	s->idle_threads--;
	return rc != ETIMEDOUT || s->live_threads <= s->o.threads_least || s->roused;
}

/* The next request, or NULL: this thread is to leave.  lock held. */
static struct web_request *
wait_for_request(struct web_server *s)
{
	struct web_request *r;

	while ((r = TAILQ_FIRST(&s->waiting)) == NULL) {
		int listen_fd = s->listen_fd;

		if (s->quit)
			return NULL;
		if (s->led) {
			if (!rest(s))
				return NULL;
			continue;
		}
		s->led = true;
		s->turns++;
		s->roused = false;
		(void)pthread_mutex_unlock(&s->lock);
		r = lead(s, listen_fd);
		(void)pthread_mutex_lock(&s->lock);
		s->led = false;
		if (r != NULL) {
			step_back(s);
			if (s->waiting_count > 0)
				rouse(s, false);
			return r;
		}
	}
	TAILQ_REMOVE(&s->waiting, r, link);
	s->roused = false;
	if (--s->waiting_count > 0)
		rouse(s, false);
	return r;
}

static void *
run_thread(void *arg)
{
	struct intake_thread *self = arg;
	struct web_server *s = self->server;
	struct web_request *r;

	(void)pthread_mutex_lock(&s->lock);
	while ((r = wait_for_request(s)) != NULL) {
		(void)pthread_mutex_unlock(&s->lock);
		serve(s, r);
		(void)pthread_mutex_lock(&s->lock);
	}
	s->live_threads--;
	self->state = SLOT_LEFT;
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* lock held. */
static int
start_thread(struct web_server *s)
{
	struct intake_thread *slot = NULL;
	sigset_t all, before;
	pthread_attr_t attr;
	int rc;

	for (int i = 0; i < s->o.threads_most && slot == NULL; i++)
		if (s->threads[i].state != SLOT_RUNS)
			slot = &s->threads[i];
	if (slot == NULL)
		return -1;
	if (slot->state ==
		SLOT_LEFT) { /* it has let the lock go for good: this waits for nothing */
		(void)pthread_join(slot->id, NULL);
		slot->state = SLOT_FREE;
	}
	slot->server = s;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* A signal that interrupts a blocked write() would end that reply: libfcgi takes EINTR for
	 * good. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&slot->id, &attr, run_thread, slot);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	if (rc != 0) {
		log_write(LOG_ERROR, "web", "cannot start a thread: %s", strerror(rc));
		return -1;
	}
	slot->state = SLOT_RUNS;
	s->live_threads++;
	return 0;
}

void
intake_give(struct web_server *s, struct web_request *r)
{
	bool lost;

	(void)pthread_mutex_lock(&s->lock);
	TAILQ_INSERT_TAIL(&s->waiting, r, link);
	s->waiting_count++;
	if (s->led)
		wake_leader(s);
	else
		rouse(s, s->live_threads == 0);
	lost = s->live_threads == 0;
	if (lost) {
		TAILQ_REMOVE(&s->waiting, r, link);
		s->waiting_count--;
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (lost) {
		if (!r->cgi)
			(void)close(r->watch.fd);
		request_free(r);
		server_ended(s);
	}
}

void
intake_stop(struct web_server *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->quit = true;
	wake_leader(s);
	(void)pthread_cond_broadcast(&s->idle_wake);
	(void)pthread_mutex_unlock(&s->lock);
	for (int i = 0; i < s->o.threads_most; i++) {
		bool used;

		(void)pthread_mutex_lock(&s->lock);
		used = s->threads[i].state != SLOT_FREE;
		(void)pthread_mutex_unlock(&s->lock);
		if (used)
			(void)pthread_join(s->threads[i].id, NULL);
	}
}
