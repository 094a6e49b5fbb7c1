/*
 * server.c - the loop's side: parked connections, stopping.
 *
 * Idle intake threads accept (intake.c).  A connection that stays silent is parked here, and goes
 * back to an intake thread when it has something to read, so it costs a descriptor and nothing
 * else.  Most web servers write at once; then the connection never enters the epoll set before its
 * request is attached.
 */
#include "web/web-int.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS_A_TURN 128
#define TICK_MS       500

static int64_t
now_ms(void)
{
	return clock_mono_us() / 1000;
}

/* ---- starting ---- */

bool
web_is_cgi(void)
{
	int listens = 0;
	socklen_t len = sizeof listens;

	if (getsockopt(0, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens != 0)
		return false;
	return getenv("GATEWAY_INTERFACE") != NULL && getenv("REQUEST_METHOD") != NULL;
}

int
web_init(struct err *err)
{
	struct sigaction usr1, term, ignore = { .sa_handler = SIG_IGN };

	/* FCGX_Init() takes these two for itself, and only to set a flag that nobody here reads. */
	(void)sigaction(SIGUSR1, NULL, &usr1);
	(void)sigaction(SIGTERM, NULL, &term);
	if (FCGX_Init() != 0)
		return err_set(err, ERR_INTERNAL, "libfcgi cannot start: %s", strerror(errno));
	(void)sigaction(SIGUSR1, &usr1, NULL);
	(void)sigaction(SIGTERM, &term, NULL);
	(void)sigaction(SIGPIPE, &ignore, NULL); /* a client that left is an EPIPE, not a signal */
	return 0;
}

/* True when somebody accepts connections at addr. */
static bool
is_alive(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive;

	if (fd < 0)
		return true;
	alive = connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 || errno == EAGAIN;
	(void)close(fd);
	return alive;
}

int
web_listen(const char *path, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX }, temp = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (strlen(path) >= sizeof addr.sun_path ||
		snprintf(temp.sun_path, sizeof temp.sun_path, "%s.%d", path, (int)getpid()) >=
			(int)sizeof temp.sun_path)
		return err_set(err, ERR_INTERNAL, "%s: too long for a socket's name", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, ERR_CONFLICT, "%s is there and is no socket", path);
		if (is_alive(&addr))
			return err_set(err, ERR_CONFLICT, "%s is in use by another process", path);
	}
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return err_set(err, ERR_INTERNAL, "socket: %s", strerror(errno));
	/* Nobody can connect before listen(), so the mode is right from the first moment on; and
	 * rename() replaces a dead socket without a moment in which the name is missing. */
	(void)unlink(temp.sun_path);
	if (bind(fd, (struct sockaddr *)&temp, sizeof temp) != 0 ||
		chmod(temp.sun_path, 0660) != 0 || listen(fd, SOMAXCONN) != 0 ||
		rename(temp.sun_path, path) != 0) {
		(void)err_set(err, ERR_INTERNAL, "%s: %s", path, strerror(errno));
		(void)unlink(temp.sun_path);
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void
fill_defaults(struct web_options *o)
{
	if (o->threads_least <= 0)
		o->threads_least = 4;
	if (o->threads_most <= 0)
		o->threads_most = 256;
	if (o->threads_most < o->threads_least)
		o->threads_most = o->threads_least;
	if (o->requests_most <= 0)
		o->requests_most = 1000;
	if (o->body_limit_bytes <= 0)
		o->body_limit_bytes = 32 << 20;
	if (o->body_memory_bytes <= 0)
		o->body_memory_bytes = 256 << 20;
	if (o->body_deadline_ms <= 0)
		o->body_deadline_ms = 300 * 1000;
}

/* ---- the epoll set ---- */

static void
set_event(struct web_server *s, int how, struct watch *w, uint32_t mask)
{
	struct epoll_event event = { .events = mask, .data.ptr = w };

	(void)epoll_ctl(s->epoll_fd, how, w->fd, &event);
}

void
server_watch(struct web_request *r, uint32_t mask)
{
	if (r->watched && r->mask == mask)
		return;
	set_event(r->server, r->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, &r->watch, mask);
	r->watched = true;
	r->mask = mask;
}

void
server_unwatch(struct web_request *r)
{
	if (r->watched)
		set_event(r->server, EPOLL_CTL_DEL, &r->watch, 0);
	r->watched = false;
}

/* ---- the end ---- */

static void
on_handle_closed(uv_handle_t *handle)
{
	struct web_server *s = handle->data;

	if (--s->handles == 0 && s->o.handler.on_drained != NULL)
		s->o.handler.on_drained(s->o.handler.ctx);
}

static void
close_handle(struct web_server *s, uv_handle_t *handle)
{
	handle->data = s;
	s->handles++;
	uv_close(handle, on_handle_closed);
}

static void
check_drained(struct web_server *s)
{
	bool parked;

	if (!atomic_load(&s->stopping) || s->closing || atomic_load(&s->open) > 0)
		return;
	(void)pthread_mutex_lock(&s->lock);
	parked = !LIST_EMPTY(&s->parked);
	(void)pthread_mutex_unlock(&s->lock);
	if (parked)
		return;
	s->closing = true;
	close_handle(s, (uv_handle_t *)&s->poll);
	close_handle(s, (uv_handle_t *)&s->idle);
	close_handle(s, (uv_handle_t *)&s->async);
	close_handle(s, (uv_handle_t *)&s->timer);
	if (s->cgi)
		close_handle(s, (uv_handle_t *)&s->term);
}

void
server_ended(struct web_server *s)
{
	/* check_drained() takes the lock too, so the server outlives this even for the last one. */
	(void)pthread_mutex_lock(&s->lock);
	if (atomic_fetch_sub(&s->open, 1) == 1 && (atomic_load(&s->stopping) || s->cgi))
		(void)uv_async_send(&s->async);
	(void)pthread_mutex_unlock(&s->lock);
}

/* ---- what is due ---- */

static void
on_idle(uv_idle_t *idle)
{
	struct web_server *s = idle->data;
	TAILQ_HEAD(, web_request) now = TAILQ_HEAD_INITIALIZER(now);
	struct web_request *r;

	/* What a callback adds is for the next turn. */
	TAILQ_CONCAT(&now, &s->due, link);
	(void)uv_idle_stop(idle);
	while ((r = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, r, link);
		r->due = false;
		reply_due(r);
	}
}

void
server_due(struct web_server *s, struct web_request *r)
{
	if (r->due)
		return;
	r->due = true;
	TAILQ_INSERT_TAIL(&s->due, r, link);
	(void)uv_idle_start(&s->idle, on_idle);
}

/* ---- connections ---- */

static void
dispatch(struct web_server *s, int fd)
{
	struct web_request *r = request_new(s, fd);

	if (r == NULL) {
		log_write(LOG_ERROR, "web", "out of memory for a request");
		(void)close(fd);
		return;
	}
	r->overloaded = atomic_fetch_add(&s->open, 1) >= s->o.requests_most;
	intake_give(s, r);
}

int
server_has_spoken(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0)
		return 1;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void on_tick(uv_timer_t *timer);

static void
tick(struct web_server *s)
{
	if (!s->ticking && !s->closing)
		(void)uv_timer_start(&s->timer, on_tick, TICK_MS, TICK_MS);
	s->ticking = true;
}

/* lock held.  The socket stays open. */
static void
forget_parked(struct web_server *s, struct parked *p)
{
	set_event(s, EPOLL_CTL_DEL, &p->watch, 0);
	LIST_REMOVE(p, link);
	*(p->kept ? &s->kept_count : &s->fresh_count) -= 1;
}

void
server_park(struct web_server *s, int fd, bool kept)
{
	struct parked *p = NULL;
	bool stay;

	(void)pthread_mutex_lock(&s->lock);
	stay = !atomic_load(&s->stopping) && s->kept_count + s->fresh_count < s->o.requests_most &&
	       (p = calloc(1, sizeof *p)) != NULL;
	if (stay) {
		*p = (struct parked){
			.watch = { WATCH_PARKED, fd }, .kept = kept, .since_ms = now_ms()
		};
		LIST_INSERT_HEAD(&s->parked, p, link);
		*(kept ? &s->kept_count : &s->fresh_count) += 1;
		/* Under the lock, or the loop could see the event before the list has it. */
		set_event(s, EPOLL_CTL_ADD, &p->watch, EPOLLIN | EPOLLRDHUP);
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (!stay)
		(void)close(fd);
	else if (!kept)
		(void)uv_async_send(&s->async); /* somebody has to look at its age */
}

static void
on_parked(struct web_server *s, struct parked *p)
{
	int fd = p->watch.fd;

	if (fd < 0)
		return; /* swept in this very batch */
	(void)pthread_mutex_lock(&s->lock);
	forget_parked(s, p);
	(void)pthread_mutex_unlock(&s->lock);
	free(p);
	if (server_has_spoken(fd) > 0)
		dispatch(s, fd);
	else
		(void)close(fd);
}

static void
free_swept(struct web_server *s)
{
	struct parked *p;

	while ((p = LIST_FIRST(&s->swept)) != NULL) {
		LIST_REMOVE(p, link);
		free(p);
	}
}

/* Ends parked connections that stayed silent for wait_ms: new ones, or kept ones too. */
static void
sweep(struct web_server *s, int64_t wait_ms, bool kept)
{
	int64_t now = now_ms();
	struct parked *p, *next;
	LIST_HEAD(, parked) gone = LIST_HEAD_INITIALIZER(gone);

	(void)pthread_mutex_lock(&s->lock);
	for (p = LIST_FIRST(&s->parked); p != NULL; p = next) {
		next = LIST_NEXT(p, link);
		if (p->kept ? !kept : now - p->since_ms < wait_ms)
			continue;
		forget_parked(s, p);
		LIST_INSERT_HEAD(&gone, p, link);
	}
	(void)pthread_mutex_unlock(&s->lock);
	while ((p = LIST_FIRST(&gone)) != NULL) {
		LIST_REMOVE(p, link);
		if (server_has_spoken(p->watch.fd) > 0)
			dispatch(s, p->watch.fd);
		else
			(void)close(p->watch.fd);
		p->watch.fd = -1;
		LIST_INSERT_HEAD(&s->swept, p, link);
	}
	if (!s->in_batch)
		free_swept(s);
}

static void
on_tick(uv_timer_t *timer)
{
	struct web_server *s = timer->data;
	bool stopping = atomic_load(&s->stopping);

	sweep(s, stopping ? STOP_WAIT_MS : FRESH_WAIT_MS, stopping);
	(void)pthread_mutex_lock(&s->lock);
	s->ticking = s->fresh_count > 0;
	(void)pthread_mutex_unlock(&s->lock);
	if (!s->ticking)
		(void)uv_timer_stop(timer);
	check_drained(s);
}

static void
on_events(uv_poll_t *poll, int status, int what)
{
	struct web_server *s = poll->data;
	struct epoll_event events[EVENTS_A_TURN];
	int n = epoll_wait(s->epoll_fd, events, EVENTS_A_TURN, 0);

	(void)status;
	(void)what;
	/* What later events of a batch point to must outlive the earlier ones: requests are freed when
	 * they are due, which is after the batch, and swept connections likewise. */
	s->in_batch = true;
	for (int i = 0; i < n; i++) {
		struct watch *w = events[i].data.ptr;

		switch (w->kind) {
		case WATCH_PARKED:
			on_parked(s, (struct parked *)w);
			break;
		case WATCH_REQUEST:
			reply_event((struct web_request *)w, events[i].events);
			break;
		}
	}
	s->in_batch = false;
	free_swept(s);
	check_drained(s);
}

static void
on_async(uv_async_t *async)
{
	struct web_server *s = async->data;

	if (s->cgi && atomic_load(&s->open) == 0)
		atomic_store(&s->stopping, true);
	tick(s);
	check_drained(s);
}

static void
on_term(uv_signal_t *handle, int signo)
{
	struct web_server *s = handle->data;

	(void)signo;
	atomic_store(&s->cgi_term, true);
	if (s->cgi_request != NULL)
		reply_gone(s->cgi_request);
}

/* ---- one server ---- */

static void
destroy(struct web_server *s)
{
	if (s->epoll_fd >= 0)
		(void)close(s->epoll_fd);
	intake_close(s);
	(void)pthread_mutex_destroy(&s->lock);
	(void)pthread_cond_destroy(&s->idle_wake);
	free(s->threads);
	free(s);
}

static struct web_server *
server_new(uv_loop_t *loop, const struct web_options *o, bool cgi, struct err *err)
{
	struct web_server *s = calloc(1, sizeof *s);
	pthread_condattr_t monotonic;

	if (s == NULL) {
		(void)err_set(err, ERR_MEMORY, "no memory for the server");
		return NULL;
	}
	s->o = *o;
	fill_defaults(&s->o);
	s->loop = loop;
	s->cgi = cgi;
	TAILQ_INIT(&s->due);
	TAILQ_INIT(&s->waiting);
	LIST_INIT(&s->parked);
	LIST_INIT(&s->swept);
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->idle_wake, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->threads = calloc((size_t)s->o.threads_most, sizeof *s->threads);
	if (s->epoll_fd < 0 || s->threads == NULL || intake_open(s) != 0 ||
		uv_poll_init(loop, &s->poll, s->epoll_fd) != 0) {
		(void)err_set(err, ERR_INTERNAL, "cannot poll: %s", strerror(errno));
		destroy(s);
		return NULL;
	}
	(void)uv_idle_init(loop, &s->idle);
	(void)uv_timer_init(loop, &s->timer);
	if (uv_async_init(loop, &s->async, on_async) != 0)
		abort(); /* only without descriptors, at start */
	s->poll.data = s->idle.data = s->timer.data = s->async.data = s;
	(void)uv_poll_start(&s->poll, UV_READABLE, on_events);
	return s;
}

struct web_server *
web_start(uv_loop_t *loop, const struct web_options *o, struct err *err)
{
	struct web_server *s = server_new(loop, o, false, err);
	int flags;

	if (s == NULL)
		return NULL;
	/* Shared with the other workers, who all wait for it: any may take the connection first. */
	flags = fcntl(o->listen_fd, F_GETFL);
	if (flags >= 0)
		(void)fcntl(o->listen_fd, F_SETFL, flags | O_NONBLOCK);
	intake_listen(s, o->listen_fd);
	return s;
}

struct web_server *
web_start_cgi(uv_loop_t *loop, const struct web_options *o, struct err *err)
{
	struct web_options one = *o;
	struct web_server *s;
	struct web_request *r;

	one.threads_least = one.threads_most = 1;
	if ((s = server_new(loop, &one, true, err)) == NULL)
		return NULL;
	(void)uv_signal_init(loop, &s->term);
	s->term.data = s;
	(void)uv_signal_start(&s->term, on_term, SIGTERM);
	if ((r = cgi_request_new(s)) == NULL) {
		log_write(LOG_ERROR, "web", "out of memory for a request");
		web_stop(s);
		return s;
	}
	atomic_fetch_add(&s->open, 1);
	intake_give(s, r);
	return s;
}

void
web_stop(struct web_server *s)
{
	if (atomic_exchange(&s->stopping, true))
		return;
	intake_unlisten(s);
	/* A web server tries again when a kept connection closes; on a new one its request is on
	 * the way, so that gets a moment. */
	sweep(s, STOP_WAIT_MS, true);
	tick(s);
	(void)uv_async_send(&s->async);
}

void
web_free(struct web_server *s)
{
	if (s == NULL)
		return;
	intake_stop(s);
	destroy(s);
}

void
web_stats(const struct web_server *s, struct web_stats *out)
{
	struct web_server *all = (struct web_server *)(uintptr_t)s;

	(void)pthread_mutex_lock(&all->lock);
	out->threads = all->live_threads;
	(void)pthread_mutex_unlock(&all->lock);
	out->open = atomic_load(&all->open);
	out->reading = atomic_load(&all->reading);
	out->body_memory_bytes = atomic_load(&all->body_memory);
}
