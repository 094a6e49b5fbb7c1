/*
 * forward.c - the loop side: libcurl's sockets and timer on libuv, and the life of a call.
 *
 * libcurl's sockets live in an epoll set of our own, and libuv watches that one descriptor.  A
 * uv_poll_t for each socket costs three to five system calls a request, since libcurl forgets a
 * connection between two requests; here it simply stays in the set, and there are no handles whose
 * closing would have to be awaited.
 *
 * Nothing is asked of libcurl from inside one of its callbacks (`in_curl`): resuming, cancelling
 * and starting what waits are chores, done at the next turn of the loop.  So a sink may call
 * anything, and on_data never runs inside forward_resume().
 *
 * Pools: calls that show the same client certificate (or none) share connections to a host, even
 * if their keys differ: a key is a header and says nothing about the connection it came on.
 * libcurl holds apart what differs in certificates, trusted authorities and HTTP version, and
 * call_ready() looks at the address again, so that a call without allow_private never gets a
 * connection opened by one with it.
 */
#include "forward/forward-int.h"

#include "base/clock.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SCAN_MS          100  /* how exact timeouts are */
#define WAITING_MOST     4096 /* calls that wait for a look-up */
#define SPARE_MOST       64   /* ended calls kept for the next ones */
#define EVENTS_AT_ONCE   64
#define RESEND_WITHIN_MS 1000

TAILQ_HEAD(calls, forward_call);

/* What a descriptor is watched for: EPOLLIN | EPOLLOUT fit a byte. */
struct watched {
	uint8_t wanted;     /* by libcurl */
	uint8_t registered; /* in the epoll set; 0: not in it */
	bool ours;          /* opened by egress_open(): we learn when it is closed */
};

struct forward {
	uv_loop_t *loop;
	CURLM *multi;
	CURLSH *share; /* TLS sessions, so that a new connection is a short handshake */
	struct forward_options options;
	char *ca_file, *user_agent;
	int set_fd;
	uv_poll_t set;
	uv_timer_t curl_timer, scan_timer;
	uv_idle_t chores_idle;
	int handles_open;
	void (*on_closed)(void *ctx);
	void *on_closed_ctx;

	int in_curl;
	int calls_count, waiting_count, spare_count;
	struct calls calls, waiting, chores, spare;
	bool waiting_may_go; /* a look-up has ended */
	struct lookups *lookups;
	struct watched *watched; /* by descriptor */
	size_t watched_count;
};

int64_t
forward_now_ms(void)
{
	return clock_mono_us() / 1000;
}

/* ---- sockets and libcurl's timer ---- */

static struct watched *
watched_of(struct forward *f, int fd)
{
	size_t want = (size_t)fd + 1, count = f->watched_count == 0 ? 64 : f->watched_count;
	struct watched *grown;

	if (want <= f->watched_count)
		return &f->watched[fd];
	while (count < want)
		count *= 2;
	grown = realloc(f->watched, count * sizeof *grown);
	if (grown == NULL)
		return NULL;
	memset(grown + f->watched_count, 0, (count - f->watched_count) * sizeof *grown);
	f->watched = grown;
	f->watched_count = count;
	return &grown[fd];
}

static int
watch(struct forward *f, int fd, struct watched *w, uint8_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };
	int op = events == 0 ? EPOLL_CTL_DEL : w->registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (events == w->registered)
		return 0;
	if (epoll_ctl(f->set_fd, op, fd, &e) != 0) {
		/* A descriptor that libcurl closed by itself took its registration along. */
		if (op == EPOLL_CTL_MOD && errno == ENOENT)
			op = EPOLL_CTL_ADD;
		else if (op == EPOLL_CTL_ADD && errno == EEXIST)
			op = EPOLL_CTL_MOD;
		else if (op != EPOLL_CTL_DEL)
			return -1;
		if (op != EPOLL_CTL_DEL && epoll_ctl(f->set_fd, op, fd, &e) != 0)
			return -1;
	}
	w->registered = events;
	return 0;
}

/* A CURLMOPT_SOCKETFUNCTION. */
static int
on_interest(CURL *easy, curl_socket_t fd, int what, void *forward, void *unused)
{
	struct forward *f = forward;
	struct watched *w = watched_of(f, fd);

	(void)easy;
	(void)unused;
	if (w == NULL)
		return -1;
	w->wanted = what == CURL_POLL_IN      ? EPOLLIN
		    : what == CURL_POLL_OUT   ? EPOLLOUT
		    : what == CURL_POLL_INOUT ? EPOLLIN | EPOLLOUT
					      : 0;
	/* A connection at rest stays in the set for its next request; should anything come
	 * meanwhile, on_sockets() takes it out. */
	if (w->wanted == 0 && w->ours && w->registered == EPOLLIN)
		return 0;
	return watch(f, fd, w, w->wanted);
}

void
forward_socket_opened(struct forward *f, int fd)
{
	struct watched *w = watched_of(f, fd);

	if (w != NULL)
		*w = (struct watched){ .ours = true };
}

/* A CURLOPT_CLOSESOCKETFUNCTION; may run for a connection whose call is long over. */
static int
on_close_socket(void *forward, curl_socket_t fd)
{
	struct forward *f = forward;

	if ((size_t)fd < f->watched_count)
		f->watched[fd] = (struct watched){ 0 };
	return close(fd);
}

static void finish(struct forward_call *c, enum forward_outcome outcome);
static enum forward_outcome outcome_of(const struct forward_call *c, CURLcode result);
static void later(struct forward *f);

/* Reports what libcurl has completed. */
static void
reap(struct forward *f)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(f->multi, &left)) != NULL) {
		CURLcode result = m->data.result;
		struct forward_call *c = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		finish(c, outcome_of(c, result));
	}
}

static void
act(struct forward *f, curl_socket_t fd, int bits)
{
	int running;

	f->in_curl++;
	(void)curl_multi_socket_action(f->multi, fd, bits, &running);
	f->in_curl--;
}

static void
on_sockets(uv_poll_t *handle, int status, int events)
{
	struct forward *f = handle->data;
	struct epoll_event ready[EVENTS_AT_ONCE];
	int n = epoll_wait(f->set_fd, ready, EVENTS_AT_ONCE, 0);

	(void)status;
	(void)events;
	for (int i = 0; i < n; i++) {
		int fd = ready[i].data.fd, bits = 0;
		struct watched *w = &f->watched[fd];
		uint32_t what = ready[i].events;

		if (w->wanted == 0) {
			(void)watch(f, fd, w, 0);
			continue;
		}
		/* An error is found by whoever reads or writes next. */
		if ((what & (EPOLLERR | EPOLLHUP)) != 0)
			what |= w->wanted;
		if ((what & EPOLLIN) != 0)
			bits |= CURL_CSELECT_IN;
		if ((what & EPOLLOUT) != 0)
			bits |= CURL_CSELECT_OUT;
		act(f, fd, bits);
	}
	reap(f);
}

static void
on_curl_timer(uv_timer_t *timer)
{
	struct forward *f = timer->data;

	act(f, CURL_SOCKET_TIMEOUT, 0);
	reap(f);
}

/* A CURLMOPT_TIMERFUNCTION. */
static int
on_curl_wants_timer(CURLM *multi, long ms, void *forward)
{
	struct forward *f = forward;

	(void)multi;
	if (ms < 0) {
		(void)uv_timer_stop(&f->curl_timer);
		return 0;
	}
	uv_update_time(f->loop);
	return uv_timer_start(&f->curl_timer, on_curl_timer, (uint64_t)ms, 0) == 0 ? 0 : -1;
}

/* ---- timeouts ---- */

static bool
passed(int64_t since_ms, int64_t limit_ms, int64_t now_ms)
{
	return limit_ms > 0 && now_ms - since_ms >= limit_ms;
}

static enum forward_outcome
timeout_of(const struct forward_call *c, int64_t now_ms)
{
	int64_t started_ms = c->started_us / 1000;

	if (passed(started_ms, c->total_ms, now_ms))
		return FORWARD_TIMEOUT_TOTAL;
	switch (c->stage) {
	case CALL_WAITING:
	case CALL_CONNECTING:
		return passed(started_ms, c->connect_ms, now_ms) ? FORWARD_TIMEOUT_CONNECT
								 : FORWARD_DONE;
	case CALL_SENT:
		return passed(c->mark_ms, c->first_byte_ms, now_ms) ? FORWARD_TIMEOUT_FIRST_BYTE
								    : FORWARD_DONE;
	case CALL_BODY:
		return !c->paused && passed(c->mark_ms, c->idle_ms, now_ms) ? FORWARD_TIMEOUT_IDLE
									    : FORWARD_DONE;
	case CALL_OVER:
		break;
	}
	return FORWARD_DONE;
}

/* All calls are looked at ten times a second: a thousand of them take some 10 us, and a call that
 * never times out costs nothing when its bytes come. */
static void
on_scan(uv_timer_t *timer)
{
	struct forward *f = timer->data;
	int64_t now_ms = forward_now_ms();
	struct forward_call *c, *next;

	if (lookup_sweep(f->lookups, now_ms)) {
		f->waiting_may_go = true;
		later(f);
	}
	/* on_end may start calls (at the list's end) or cancel some (as a chore): `next` stays. */
	for (c = TAILQ_FIRST(&f->calls); c != NULL; c = next) {
		enum forward_outcome outcome = c->cancelled ? FORWARD_DONE : timeout_of(c, now_ms);

		next = TAILQ_NEXT(c, every);
		if (outcome != FORWARD_DONE)
			finish(c, outcome);
	}
}

/* ---- chores ---- */

static void start_waiting(struct forward *f);

static void
rest_over(struct forward_call *c)
{
	struct forward *f = c->f;
	CURLcode result;

	c->resume_wanted = false;
	if (!c->paused)
		return;
	c->paused = false;
	c->mark_ms = forward_now_ms();
	/* Hands over what was not taken, so on_data runs in here. */
	f->in_curl++;
	result = curl_easy_pause(c->easy, CURLPAUSE_CONT);
	f->in_curl--;
	/* That on_data cancelled: the chore follows, libcurl itself does not end the transfer. */
	if (result != CURLE_OK && !c->cancelled)
		finish(c, outcome_of(c, result));
}

static void
on_chores(uv_idle_t *idle)
{
	struct forward *f = idle->data;
	struct calls todo = TAILQ_HEAD_INITIALIZER(todo);
	struct forward_call *c;

	(void)uv_idle_stop(idle);
	/* Those that come up meanwhile are for the next turn. */
	TAILQ_CONCAT(&todo, &f->chores, chore);
	while ((c = TAILQ_FIRST(&todo)) != NULL) {
		TAILQ_REMOVE(&todo, c, chore);
		c->on_chores = false;
		if (c->cancelled)
			finish(c, FORWARD_CANCELLED);
		else if (c->resume_wanted)
			rest_over(c);
	}
	if (f->waiting_may_go)
		start_waiting(f);
	reap(f);
}

static void
later(struct forward *f)
{
	(void)uv_idle_start(&f->chores_idle, on_chores);
}

static void
add_chore(struct forward_call *c)
{
	if (!c->on_chores) {
		c->on_chores = true;
		TAILQ_INSERT_TAIL(&c->f->chores, c, chore);
	}
	later(c->f);
}

void
forward_resume(struct forward_call *c)
{
	if (c->stage == CALL_OVER || c->cancelled)
		return;
	c->resume_wanted = true;
	add_chore(c);
}

void
forward_cancel(struct forward_call *c)
{
	if (c->stage == CALL_OVER || c->cancelled)
		return;
	c->cancelled = true;
	add_chore(c);
}

/* ---- what libcurl tells of a call ---- */

void
call_looked_up(struct forward_call *c, enum lookup_end end)
{
	struct forward *f = c->f;

	if (c->host == NULL)
		return;
	lookup_done(f->lookups, c->host, end, forward_now_ms());
	c->host = NULL;
	if (!TAILQ_EMPTY(&f->waiting)) {
		f->waiting_may_go = true;
		later(f);
	}
}

static int
give_up(struct forward_call *c, enum forward_outcome outcome, const char *why)
{
	c->fault = outcome;
	c->fault_text = why;
	return CURL_PREREQFUNC_ABORT;
}

/*
 * A CURLOPT_PREREQFUNCTION: there is a connection, new or kept, and the request goes out next.
 * A second time for the same call means that a kept connection was closed without an answer and
 * libcurl sends the request again.  That is right when the provider closed it while the request
 * was on its way; when it took its time first, it may have acted on it, and it is not our choice.
 */
static int
call_ready(void *call, char *address, char *local, int port, int local_port)
{
	struct forward_call *c = call;
	int64_t now_ms = forward_now_ms();

	(void)local;
	(void)port;
	(void)local_port;
	call_looked_up(c, LOOKUP_UNUSED);
	if (c->cancelled)
		return CURL_PREREQFUNC_ABORT;
	(void)span_copy(span_of(address), c->address, sizeof c->address);
	if (!c->allow_private && !egress_text_is_public(address))
		return give_up(c, FORWARD_REFUSED_ADDRESS, NULL);
	if (!c->sent_any) {
		c->connect_us = clock_mono_us() - c->started_us;
		c->sent_ms = now_ms;
	} else if (now_ms - c->sent_ms > RESEND_WITHIN_MS) {
		return give_up(c, FORWARD_CUT, "the kept connection was closed without an answer");
	}
	c->sent_any = true;
	c->stage = CALL_SENT;
	c->mark_ms = now_ms;
	return CURL_PREREQFUNC_OK;
}

/* -1 when it is not stated, or not so that one could rely on it. */
static int64_t
content_length(const struct forward_call *c)
{
	struct span s = forward_response_header(c, "content-length");
	int64_t n = 0;

	if (s.len == 0 || s.len > 18)
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return -1;
		n = n * 10 + (s.at[i] - '0');
	}
	return n;
}

bool
head_complete(struct forward_call *c)
{
	struct forward_head head = {
		.status = c->status,
		.content_type = forward_response_header(c, "content-type"),
		.content_length = content_length(c),
		.waited_ms = forward_now_ms() - c->mark_ms,
		.call = c,
	};

	c->stage = CALL_BODY;
	c->mark_ms = forward_now_ms();
	c->first_byte_us = clock_mono_us() - c->started_us;
	c->sink.on_head(c->sink.ctx, &head);
	return !c->cancelled;
}

/* A CURLOPT_WRITEFUNCTION. */
static size_t
on_body(char *data, size_t one, size_t len, void *call)
{
	struct forward_call *c = call;
	bool taken;

	(void)one;
	if (c->cancelled)
		return CURL_WRITEFUNC_ERROR;
	c->mark_ms = forward_now_ms();
	taken = c->sink.on_data(c->sink.ctx, data, len);
	if (c->cancelled)
		return CURL_WRITEFUNC_ERROR;
	if (!taken) {
		c->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	c->received_bytes += (int64_t)len;
	return len;
}

/* ---- the end of a call ---- */

const char *
forward_outcome_text(enum forward_outcome o)
{
	switch (o) {
	case FORWARD_DONE:
		return "the provider answered";
	case FORWARD_REFUSED_ADDRESS:
		return "the address is private or special and this upstream may not call such";
	case FORWARD_NO_HOST:
		return "the host's name was not found";
	case FORWARD_NO_CONNECT:
		return "the connection was refused or failed";
	case FORWARD_TLS:
		return "no trusted TLS connection could be made";
	case FORWARD_TIMEOUT_CONNECT:
		return "no connection in time";
	case FORWARD_TIMEOUT_FIRST_BYTE:
		return "no answer began in time";
	case FORWARD_TIMEOUT_IDLE:
		return "the answer stalled for too long";
	case FORWARD_TIMEOUT_TOTAL:
		return "the answer took too long in all";
	case FORWARD_CUT:
		return "the connection ended before the answer was complete";
	case FORWARD_GARBAGE:
		return "the answer was not HTTP";
	case FORWARD_CANCELLED:
		return "cancelled by us";
	case FORWARD_MEMORY:
		return "memory or descriptors are spent";
	}
	return "unknown";
}

static enum forward_outcome
outcome_of(const struct forward_call *c, CURLcode result)
{
	if (c->cancelled)
		return FORWARD_CANCELLED;
	if (result == CURLE_OK)
		return c->head_done ? FORWARD_DONE : FORWARD_CUT;
	if (c->fault != FORWARD_DONE)
		return c->fault;
	switch (result) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_URL_MALFORMAT:
		return FORWARD_NO_HOST;
	case CURLE_COULDNT_CONNECT:
		return c->address_refused ? FORWARD_REFUSED_ADDRESS : FORWARD_NO_CONNECT;
	case CURLE_OPERATION_TIMEDOUT: /* libcurl's only limit is the one for connecting */
		return FORWARD_TIMEOUT_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CLIENTCERT:
		return FORWARD_TLS;
	case CURLE_OUT_OF_MEMORY:
		return FORWARD_MEMORY;
	case CURLE_UNSUPPORTED_PROTOCOL: /* also "HTTP/0.9", which is anything at all */
	case CURLE_WEIRD_SERVER_REPLY:
		return FORWARD_GARBAGE;
	case CURLE_RECV_ERROR: /* libcurl has no code of its own for a malformed chunk */
		if (strstr(c->error, "chunked-encoding") != NULL)
			return FORWARD_GARBAGE;
		break;
	default:
		break;
	}
	return c->sent_any ? FORWARD_CUT : FORWARD_NO_CONNECT;
}

static void
fill_end(const struct forward_call *c, enum forward_outcome outcome, struct forward_end *end)
{
	const char *said = forward_outcome_text(outcome), *cause = c->error;
	char line[sizeof c->host_name + 2 * sizeof c->error];

	*end = (struct forward_end){
		.outcome = outcome,
		.status = c->head_done ? c->status : 0,
		.connect_us = c->connect_us,
		.first_byte_us = c->first_byte_us,
		.total_us = clock_mono_us() - c->started_us,
		.received_bytes = c->received_bytes,
		.sent_any = c->sent_any,
	};
	memcpy(end->address, c->address, sizeof end->address);
	if (outcome == FORWARD_DONE)
		return;
	/* libcurl's words name hosts, ports and certificates, but never a path or a header.  Where
	 * the end was our decision they tell of something else. */
	if (c->fault == outcome && c->fault_text != NULL)
		cause = c->fault_text;
	else if (outcome == FORWARD_REFUSED_ADDRESS || outcome == FORWARD_CANCELLED ||
		 (outcome >= FORWARD_TIMEOUT_CONNECT && outcome <= FORWARD_TIMEOUT_TOTAL))
		cause = "";
	(void)snprintf(line, sizeof line, "%s: %s%s%s%s", c->host_name, said,
		cause[0] != '\0' ? " (" : "", cause, cause[0] != '\0' ? ")" : "");
	(void)span_copy(span_of(line), end->text, sizeof end->text);
	for (char *p = end->text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = ' ';
}

static void
drop_call(struct forward_call *c)
{
	if (c->easy != NULL)
		curl_easy_cleanup(c->easy);
	bytes_free(&c->head);
	free(c);
}

/* Keeps the struct and its easy handle, set up as they are, or frees both. */
static void
put_away(struct forward_call *c)
{
	struct forward *f = c->f;

	request_drop(c);
	if (f->spare_count >= SPARE_MOST) {
		drop_call(c);
		return;
	}
	bytes_free(&c->head);
	TAILQ_INSERT_HEAD(&f->spare, c, chore);
	f->spare_count++;
}

static void
finish(struct forward_call *c, enum forward_outcome outcome)
{
	struct forward *f = c->f;
	struct forward_end end;

	if (c->stage == CALL_WAITING) {
		TAILQ_REMOVE(&f->waiting, c, waiting);
		f->waiting_count--;
	} else {
		/* A look-up that libcurl has not reported goes on in a thread of its own. */
		call_looked_up(c, outcome == FORWARD_NO_HOST ? LOOKUP_NOT_FOUND
				  : outcome == FORWARD_CANCELLED ||
						  outcome == FORWARD_TIMEOUT_CONNECT ||
						  outcome == FORWARD_TIMEOUT_TOTAL
					  ? LOOKUP_ABANDONED
					  : LOOKUP_UNUSED);
		f->in_curl++;
		(void)curl_multi_remove_handle(f->multi, c->easy);
		f->in_curl--;
	}
	if (c->on_chores)
		TAILQ_REMOVE(&f->chores, c, chore);
	c->on_chores = false;
	c->stage = CALL_OVER;
	TAILQ_REMOVE(&f->calls, c, every);
	if (--f->calls_count == 0)
		(void)uv_timer_stop(&f->scan_timer);
	fill_end(c, outcome, &end);
	c->sink.on_end(c->sink.ctx, &end);
	put_away(c);
}

/* ---- the beginning of a call ---- */

static int
set_up_handle(struct forward_call *c, struct err *err)
{
	CURL *e = c->easy;

	if (request_common(c, &c->f->options, err) != 0)
		return -1;
	if (curl_easy_setopt(e, CURLOPT_SHARE, c->f->share) == CURLE_OK &&
		curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
		curl_easy_setopt(e, CURLOPT_WRITEDATA, c) == CURLE_OK &&
		curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, call_ready) == CURLE_OK &&
		curl_easy_setopt(e, CURLOPT_PREREQDATA, c) == CURLE_OK &&
		curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket) == CURLE_OK &&
		curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, c->f) == CURLE_OK)
		return 0;
	return err_set(err, ERR_MEMORY, "libcurl refused to set up a handle");
}

static struct forward_call *
new_call(struct forward *f, struct err *err)
{
	struct forward_call *c = TAILQ_FIRST(&f->spare);

	if (c != NULL) {
		TAILQ_REMOVE(&f->spare, c, chore);
		f->spare_count--;
		*c = (struct forward_call){ .f = f, .easy = c->easy };
	} else {
		c = calloc(1, sizeof *c);
		if (c == NULL || (c->easy = curl_easy_init()) == NULL) {
			free(c);
			(void)err_set(err, ERR_MEMORY, "no memory for a call");
			return NULL;
		}
		c->f = f;
		if (set_up_handle(c, err) != 0) {
			drop_call(c);
			return NULL;
		}
	}
	c->body_fd = -1;
	c->head = BYTES_LIMIT(FORWARD_RESPONSE_HEADERS_BYTES);
	return c;
}

/* Into libcurl's hands: it begins at the next turn of the loop. */
static int
begin(struct forward_call *c)
{
	c->stage = CALL_CONNECTING;
	if (curl_multi_add_handle(c->f->multi, c->easy) == CURLM_OK)
		return 0;
	c->stage = CALL_WAITING;
	return -1;
}

static bool
is_literal(const char *host)
{
	struct in_addr in;

	return host[0] == '[' || inet_pton(AF_INET, host, &in) == 1;
}

/* 0: begun.  1: it waits.  -1: it cannot be, for the reason in *outcome. */
static int
try_to_begin(struct forward_call *c, enum forward_outcome *outcome)
{
	struct forward *f = c->f;

	if (!is_literal(c->host_name)) {
		switch (lookup_ask(f->lookups, c->host_name, c->started_us / 1000, forward_now_ms(),
			&c->host)) {
		case LOOKUP_WAIT:
			return 1;
		case LOOKUP_FAILED:
			*outcome = FORWARD_NO_HOST;
			return -1;
		case LOOKUP_GO:
			break;
		}
	}
	if (begin(c) == 0)
		return 0;
	call_looked_up(c, LOOKUP_UNUSED);
	*outcome = FORWARD_MEMORY;
	return -1;
}

static void
start_waiting(struct forward *f)
{
	struct forward_call *c, *next;

	f->waiting_may_go = false;
	for (c = TAILQ_FIRST(&f->waiting); c != NULL; c = next) {
		enum forward_outcome outcome = FORWARD_MEMORY;
		int rc;

		next = TAILQ_NEXT(c, waiting);
		if (c->cancelled)
			continue;
		rc = try_to_begin(c, &outcome);
		if (rc == 0) {
			TAILQ_REMOVE(&f->waiting, c, waiting);
			f->waiting_count--;
		} else if (rc < 0) {
			finish(c, outcome);
		}
	}
}

struct forward_call *
forward_start(struct forward *f, const struct forward_request *q, const struct forward_sink *sink,
	struct err *err)
{
	struct forward_call *c = new_call(f, err);
	enum forward_outcome outcome;
	int rc;

	if (c == NULL)
		return NULL;
	c->sink = *sink;
	c->allow_private = q->allow_private;
	c->connect_ms = q->connect_ms;
	c->first_byte_ms = q->first_byte_ms;
	c->idle_ms = q->idle_ms;
	c->total_ms = q->total_ms;
	c->started_us = clock_mono_us();
	if (request_set(c, q, f->ca_file, err) != 0)
		goto failed;
	/* libcurl takes no new transfer while it is calling us. */
	rc = f->in_curl > 0 ? 1 : try_to_begin(c, &outcome);
	if (rc < 0) {
		(void)err_set(err, ERR_MEMORY, "libcurl took no further call");
		goto failed;
	}
	if (rc > 0) {
		if (f->waiting_count >= WAITING_MOST) {
			(void)err_set(
				err, ERR_OVERLOADED, "too many calls wait for a name look-up");
			goto failed;
		}
		c->stage = CALL_WAITING;
		TAILQ_INSERT_TAIL(&f->waiting, c, waiting);
		f->waiting_count++;
		if (f->in_curl > 0) {
			f->waiting_may_go = true;
			later(f);
		}
	}
	TAILQ_INSERT_TAIL(&f->calls, c, every);
	if (f->calls_count++ == 0)
		(void)uv_timer_start(&f->scan_timer, on_scan, SCAN_MS, SCAN_MS);
	return c;

failed:
	put_away(c);
	return NULL;
}

/* ---- the room ---- */

/* Closes every connection; the callbacks this causes still find everything in place. */
static void
close_curl(struct forward *f)
{
	struct forward_call *c;

	while ((c = TAILQ_FIRST(&f->spare)) != NULL) {
		TAILQ_REMOVE(&f->spare, c, chore);
		drop_call(c);
	}
	f->spare_count = SPARE_MOST;
	if (f->multi != NULL)
		(void)curl_multi_cleanup(f->multi);
	if (f->share != NULL)
		(void)curl_share_cleanup(f->share);
}

static void
free_rest(struct forward *f)
{
	if (f->set_fd != -1)
		(void)close(f->set_fd);
	lookups_free(f->lookups);
	free(f->watched);
	free(f->ca_file);
	free(f->user_agent);
	free(f);
}

static int
copy_text(char **to, const char *from)
{
	if (from == NULL)
		return 0;
	*to = strdup(from);
	return *to == NULL ? -1 : 0;
}

static int
set_up_curl(struct forward *f)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
		(f->multi = curl_multi_init()) == NULL || (f->share = curl_share_init()) == NULL)
		return -1;
	if (curl_share_setopt(f->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) !=
			CURLSHE_OK ||
		curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_interest) != CURLM_OK ||
		curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f) != CURLM_OK ||
		curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_curl_wants_timer) !=
			CURLM_OK ||
		curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f) != CURLM_OK ||
		curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS,
			(long)f->options.connections_most) != CURLM_OK)
		return -1;
	return 0;
}

struct forward *
forward_new(uv_loop_t *loop, const struct forward_options *o, struct err *err)
{
	struct forward *f = calloc(1, sizeof *f);

	if (f == NULL) {
		(void)err_set(err, ERR_MEMORY, "no memory for the forwarder");
		return NULL;
	}
	f->loop = loop;
	f->options = *o;
	TAILQ_INIT(&f->calls);
	TAILQ_INIT(&f->waiting);
	TAILQ_INIT(&f->chores);
	TAILQ_INIT(&f->spare);
	f->set_fd = epoll_create1(EPOLL_CLOEXEC);
	f->lookups = lookups_new(o->lookups_most);
	if (f->set_fd == -1 || f->lookups == NULL || copy_text(&f->ca_file, o->ca_file) != 0 ||
		copy_text(&f->user_agent, o->user_agent) != 0 || set_up_curl(f) != 0 ||
		uv_poll_init(loop, &f->set, f->set_fd) != 0) {
		(void)err_set(err, ERR_MEMORY, "the forwarder could not be set up");
		close_curl(f);
		free_rest(f);
		return NULL;
	}
	f->options.ca_file = f->ca_file;
	f->options.user_agent = f->user_agent;
	/* From here on the loop knows its handles; none of these calls can fail. */
	(void)uv_timer_init(loop, &f->curl_timer);
	(void)uv_timer_init(loop, &f->scan_timer);
	(void)uv_idle_init(loop, &f->chores_idle);
	f->set.data = f->curl_timer.data = f->scan_timer.data = f->chores_idle.data = f;
	f->handles_open = 4;
	(void)uv_poll_start(&f->set, UV_READABLE, on_sockets);
	return f;
}

static void
on_handle_closed(uv_handle_t *handle)
{
	struct forward *f = handle->data;
	void (*on_closed)(void *) = f->on_closed;
	void *ctx = f->on_closed_ctx;

	if (--f->handles_open > 0)
		return;
	free_rest(f);
	if (on_closed != NULL)
		on_closed(ctx);
}

void
forward_free(struct forward *f, void (*on_closed)(void *ctx), void *ctx)
{
	assert(TAILQ_EMPTY(&f->calls));
	f->on_closed = on_closed;
	f->on_closed_ctx = ctx;
	close_curl(f);
	uv_close((uv_handle_t *)&f->set, on_handle_closed);
	uv_close((uv_handle_t *)&f->curl_timer, on_handle_closed);
	uv_close((uv_handle_t *)&f->scan_timer, on_handle_closed);
	uv_close((uv_handle_t *)&f->chores_idle, on_handle_closed);
}
