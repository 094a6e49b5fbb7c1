/*
 * reply.c - what goes back: at once from any thread, or as a stream on the loop.
 *
 * On the loop nothing may block, and libfcgi only knows blocking writes.  A write of at most one
 * full libfcgi buffer after poll() said POLLOUT never does (checked on UNIX and TCP sockets; pipes
 * promise less, so less is written there).  Success is judged by FCGX_FFlush(): FCGX_PutStr()
 * accepts bytes after an error.
 *
 * After libfcgi's writer failed it is only freed, never closed: closing it would send the rest of
 * its buffer again, into the middle of a broken record.
 */
#include "web/web-int.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fastcgi.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINES_MOST       64
#define PIECES_A_TURN    8  /* so that one fast reader does not keep the loop */
#define END_RECORD_BYTES 24 /* end of the stream and of the request */

/* ---- the head ---- */

const char *
web_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 203, "Non-Authoritative Information" },
		{ 204, "No Content" },
		{ 205, "Reset Content" },
		{ 206, "Partial Content" },
		{ 207, "Multi-Status" },
		{ 300, "Multiple Choices" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 303, "See Other" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 402, "Payment Required" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 411, "Length Required" },
		{ 412, "Precondition Failed" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 416, "Range Not Satisfiable" },
		{ 417, "Expectation Failed" },
		{ 421, "Misdirected Request" },
		{ 422, "Unprocessable Content" },
		{ 423, "Locked" },
		{ 424, "Failed Dependency" },
		{ 425, "Too Early" },
		{ 426, "Upgrade Required" },
		{ 428, "Precondition Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 451, "Unavailable For Legal Reasons" },
		{ 499, "Client Closed Request" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 507, "Insufficient Storage" },
		{ 529, "Overloaded" },
	};

	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	if (status >= 200 && status < 300)
		return "Success";
	if (status >= 300 && status < 400)
		return "Redirect";
	return status >= 500 ? "Server Error" : "Client Error";
}

static bool
is_token(const char *name)
{
	if (*name == '\0')
		return false;
	for (; *name != '\0'; name++) {
		bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
			      (*name >= '0' && *name <= '9');

		if (!letter && strchr("!#$%&'*+-.^_`|~", *name) == NULL)
			return false;
	}
	return true;
}

static bool
is_text(const char *value)
{
	for (; *value != '\0'; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

static bool
is_sendable(const struct web_head_line *line)
{
	/* A `Status` among the lines would be a second one. */
	return line->name != NULL && line->value != NULL && is_token(line->name) &&
	       is_text(line->value) && strcasecmp(line->name, "status") != 0;
}

/* Bytes of a line with ": " and the line's end. */
static size_t
line_bytes(const struct web_head_line *line)
{
	return strlen(line->name) + strlen(line->value) + 4;
}

void
reply_head(struct bytes *out, int status, const char *content_type,
	const struct web_head_line *lines, size_t count, int64_t content_length)
{
	struct web_head_line all[LINES_MOST];
	char length[24];
	size_t n = 0, total = 64; /* status line and the empty one */

	if (status < 200 || status > 599) {
		log_write(LOG_ERROR, "web", "a reply of status %d is sent as 500", status);
		status = 500;
	}
	if (content_type != NULL)
		all[n++] = (struct web_head_line){ "Content-Type", content_type };
	if (content_length >= 0 && status != 204 && status != 304) {
		(void)snprintf(length, sizeof length, "%lld", (long long)content_length);
		all[n++] = (struct web_head_line){ "Content-Length", length };
	}
	for (size_t i = 0; i < count; i++)
		if (n == LINES_MOST || !is_sendable(&lines[i]))
			log_write(LOG_WARN, "web", "dropped a reply header: %s",
				n == LINES_MOST ? "too many" : "not a valid one");
		else
			all[n++] = lines[i];
	for (size_t i = 0; i < n; i++)
		total += line_bytes(&all[i]);
	/* Some web servers fail the whole reply above a few KB: better without its longest line. */
	while (total > WEB_REPLY_HEADERS_BYTES) {
		size_t longest = 0;

		for (size_t i = 1; i < n; i++)
			if (line_bytes(&all[i]) > line_bytes(&all[longest]))
				longest = i;
		log_write(LOG_WARN, "web", "dropped reply header %.40s of %zu bytes: too long",
			all[longest].name, strlen(all[longest].value));
		total -= line_bytes(&all[longest]);
		memmove(&all[longest], &all[longest + 1], (--n - longest) * sizeof all[0]);
	}
	(void)bytes_printf(out, "Status: %d %s\r\n", status, web_reason(status));
	for (size_t i = 0; i < n; i++) {
		(void)bytes_puts(out, all[i].name);
		(void)bytes_add(out, ": ", 2);
		(void)bytes_puts(out, all[i].value);
		(void)bytes_add(out, "\r\n", 2);
	}
	(void)bytes_add(out, "\r\n", 2);
}

/* ---- the connection's end ---- */

/* A reply that came before its body was read: closing now would reset the connection under it. */
static void
linger(int fd)
{
	char waste[4096];
	int64_t until = clock_mono_us() / 1000 + LINGER_MS;

	(void)shutdown(fd, SHUT_WR);
	intake_timeout(fd, SO_RCVTIMEO, LINGER_MS / 8);
	while (clock_mono_us() / 1000 < until) {
		ssize_t n = recv(fd, waste, sizeof waste, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return;
	}
}

void
reply_close(struct web_request *r, bool complete)
{
	static const char no_record[FCGI_HEADER_LEN];
	int fd = r->watch.fd;
	bool parks = complete && r->input_ended && r->fx.keepConnection != 0;

	if (parks || r->cgi)
		server_unwatch(r);
	r->watched = false; /* closing takes it out of the set */
	r->state = REQUEST_ENDED;
	if (r->cgi) {
		if (r->server->cgi_request == r)
			r->server->cgi_request = NULL;
		cgi_close(r);
		return;
	}
	r->params = r->fx.paramsPtr; /* spans into them stay good until the memory goes */
	r->fx.paramsPtr = NULL;
	FCGX_Free(&r->fx, 0);
	r->fx.ipcFd = -1;
	r->watch.fd = -1;
	if (parks) {
		server_park(r->server, fd, true);
		return;
	}
	if (complete && !r->input_ended)
		linger(fd);
	/* nginx without buffering takes the end of the connection for the end of the reply, even
	 * without an end-of-request record; a record of no known version it takes for an error. */
	if (r->cut && !atomic_load(&r->gone))
		(void)send(fd, no_record, sizeof no_record, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd);
}

/* Ends the writer with what it holds and the end-of-request record.  0 or -1. */
static int
close_writer(struct web_request *r)
{
	if (r->cgi)
		return 0;
	if (r->fx.err != NULL)
		(void)FCGX_FClose(r->fx.err);
	return FCGX_FClose(r->fx.out) == 0 && FCGX_GetError(r->fx.out) == 0 ? 0 : -1;
}

/* ---- at once ---- */

static bool
is_writable(const struct web_request *r)
{
	struct pollfd pfd = { .fd = r->watch.fd, .events = POLLOUT };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT) != 0;
}

static int
write_all(struct web_request *r, const char *at, size_t len)
{
	if (r->cgi)
		return cgi_write(r, at, len);
	while (len > 0) {
		size_t piece = len < PIECE_BYTES ? len : PIECE_BYTES;

		if (FCGX_PutStr(at, (int)piece, r->fx.out) < 0)
			return -1;
		at += piece;
		len -= piece;
	}
	return 0;
}

void
web_answer(struct web_request *r, int status, const char *content_type,
	const struct web_head_line *lines, size_t count, struct span body)
{
	struct web_server *s = r->server;
	struct bytes head = BYTES_LIMIT(WEB_REPLY_HEADERS_BYTES + 1024);
	bool attached = r->state == REQUEST_ATTACHED;
	bool waits = !attached && (body.len > PIECE_BYTES || !is_writable(r));
	int rc = -1;

	if (waits) {
		intake_away(s);
		if (!r->cgi)
			intake_timeout(r->watch.fd, SO_SNDTIMEO, SEND_WAIT_MS);
	}
	reply_head(&head, status, content_type, lines, count, (int64_t)body.len);
	if (status == 204 || status == 304)
		body.len = 0;
	/* One write for all that fits into libfcgi's buffer, the end of the request included. */
	if (!head.failed && !web_is_gone(r) && write_all(r, head.at, head.len) == 0 &&
		write_all(r, body.at, body.len) == 0)
		rc = close_writer(r);
	bytes_free(&head);
	reply_close(r, rc == 0);
	if (waits)
		intake_back(s);
	if (attached) {
		server_due(s, r);
		return;
	}
	request_free(r);
	server_ended(s);
}

/* ---- the queue ---- */

static int
queue_add(struct request_queue *q, const char *at, size_t len)
{
	if (q->start > 0 && q->start + q->len + len > q->room) {
		memmove(q->at, q->at + q->start, q->len);
		q->start = 0;
	}
	if (q->len + len > q->room) {
		size_t room = q->room == 0 ? 1024 : q->room;
		char *bigger;

		while (room < q->len + len)
			room *= 2;
		if ((bigger = realloc(q->at, room)) == NULL)
			return -1;
		q->at = bigger;
		q->room = room;
	}
	memcpy(q->at + q->start + q->len, at, len);
	q->len += len;
	return 0;
}

static void
queue_drop(struct request_queue *q, size_t n)
{
	q->start += n;
	q->len -= n;
	if (q->len == 0) { /* most streams have nothing waiting most of the time */
		free(q->at);
		*q = (struct request_queue){ 0 };
	}
}

/* ---- as a stream ---- */

static uint32_t
base_mask(const struct web_request *r)
{
	/* Of a CGI's stdout only what comes unasked: errors and hang-up. */
	return r->cgi ? 0 : EPOLLIN | EPOLLRDHUP;
}

/* Bytes that may be written in one go without blocking. */
static size_t
piece_of(const struct web_request *r, size_t len)
{
	size_t most = r->cgi ? PIPE_BYTES : PIECE_BYTES;

	return len < most ? len : most;
}

static int
write_piece(struct web_request *r, const char *at, size_t len)
{
	if (r->cgi)
		return cgi_write(r, at, len);
	/* most replies are one piece, which a new connection always has room for */
	if (r->pieces < 2 && ++r->pieces == 2)
		intake_timeout(r->watch.fd, SO_SNDTIMEO, SEND_WAIT_MS);
	if (FCGX_PutStr(at, (int)len, r->fx.out) < 0)
		return -1;
	return FCGX_FFlush(r->fx.out);
}

static void
wait_for_room(struct web_request *r, bool wait)
{
	r->stuck = wait;
	if (r->watched)
		server_watch(r, wait ? r->mask | EPOLLOUT : r->mask & ~(uint32_t)EPOLLOUT);
}

/* No more is read or written.  on_gone follows when it is due. */
static void
mark_gone(struct web_request *r)
{
	if (atomic_exchange(&r->gone, true) && !r->watched)
		return;
	server_unwatch(r); /* a hang-up is reported for ever */
	queue_drop(&r->queue, r->queue.len);
	r->stuck = false;
	server_due(r->server, r);
}

/* The last of it: complete, or broken on purpose or by the client. */
static void
finish(struct web_request *r)
{
	bool complete = false;

	if (!atomic_load(&r->gone) && !r->cut) {
		struct request_queue *q = &r->queue;

		if (q->len == 0 || r->cgi)
			complete = close_writer(r) == 0;
		else
			complete = FCGX_PutStr(q->at + q->start, (int)q->len, r->fx.out) >= 0 &&
				   close_writer(r) == 0;
	}
	queue_drop(&r->queue, r->queue.len);
	reply_close(r, complete);
	server_due(r->server, r);
}

/* Writes what fits of the queue.  writable: epoll just said so. */
static void
pump(struct web_request *r, bool writable)
{
	struct request_queue *q = &r->queue;
	bool ending = r->state == REQUEST_ENDING;

	for (int i = 0; i < PIECES_A_TURN && (q->len > 0 || ending); i++) {
		size_t piece = piece_of(r, q->len);

		if (!writable && !is_writable(r)) {
			wait_for_room(r, true);
			return;
		}
		writable = false;
		if (ending && !r->cgi && q->len + END_RECORD_BYTES <= PIECE_BYTES) {
			finish(r);
			return;
		}
		if (piece > 0 && write_piece(r, q->at + q->start, piece) != 0) {
			mark_gone(r);
			if (ending)
				finish(r);
			return;
		}
		queue_drop(q, piece);
		if (ending && q->len == 0 && r->cgi) {
			finish(r);
			return;
		}
	}
	wait_for_room(r, q->len > 0 || ending);
}

void
web_attach(struct web_request *r, const struct web_events *ev)
{
	r->events = *ev;
	r->state = REQUEST_ATTACHED;
	if (r->cgi) {
		r->server->cgi_request = r;
		if (atomic_load(&r->server->cgi_term)) {
			mark_gone(r);
			server_due(r->server, r);
			return;
		}
	}
	server_watch(r, base_mask(r));
}

void
web_head(struct web_request *r, int status, const struct web_head_line *lines, size_t count)
{
	struct bytes head = BYTES_LIMIT(WEB_REPLY_HEADERS_BYTES + 1024);

	if (atomic_load(&r->gone) || r->head_sent)
		return;
	r->head_sent = true;
	reply_head(&head, status, NULL, lines, count, -1);
	if (head.failed || queue_add(&r->queue, head.at, head.len) != 0) {
		log_write(LOG_ERROR, "web", "out of memory for a reply");
		mark_gone(r);
	} else
		server_due(r->server, r); /* with the first bytes of the body, if they come now */
	bytes_free(&head);
}

bool
web_write(struct web_request *r, const void *data, size_t len)
{
	const char *at = data;

	if (atomic_load(&r->gone) || r->state != REQUEST_ATTACHED)
		return true;
	/* Straight from the caller's memory as long as it goes. */
	for (int i = 0; i < PIECES_A_TURN && len > 0 && r->queue.len == 0 && !r->stuck; i++) {
		size_t piece = piece_of(r, len);

		if (!is_writable(r))
			break;
		if (write_piece(r, at, piece) != 0) {
			mark_gone(r);
			return true;
		}
		at += piece;
		len -= piece;
	}
	if (len > 0) {
		if (queue_add(&r->queue, at, len) != 0) {
			log_write(LOG_ERROR, "web", "out of memory for a reply");
			mark_gone(r);
			return true;
		}
		if (!r->stuck)
			pump(r, false);
	}
	if (r->queue.len >= WEB_QUEUE_BYTES)
		r->full = true;
	return !r->full;
}

size_t
web_waiting(const struct web_request *r)
{
	return r->queue.len;
}

void
web_reply_end(struct web_request *r, bool cut)
{
	if (r->state != REQUEST_ATTACHED)
		return;
	r->state = REQUEST_ENDING;
	r->cut = cut;
	r->full = false;
	if (cut || atomic_load(&r->gone))
		finish(r);
	else if (!r->stuck)
		pump(r, false);
}

void
web_reply(struct web_request *r, int status, const char *content_type,
	const struct web_head_line *lines, size_t count, struct span body)
{
	struct bytes head = BYTES_LIMIT(WEB_REPLY_HEADERS_BYTES + 1024);

	if (!atomic_load(&r->gone) && !r->head_sent) {
		r->head_sent = true;
		reply_head(&head, status, content_type, lines, count, (int64_t)body.len);
		if (status == 204 || status == 304)
			body.len = 0;
		if (head.failed || queue_add(&r->queue, head.at, head.len) != 0 ||
			(body.len > 0 && queue_add(&r->queue, body.at, body.len) != 0)) {
			log_write(LOG_ERROR, "web", "out of memory for a reply");
			mark_gone(r);
		}
		bytes_free(&head);
	}
	web_reply_end(r, false);
}

/* ---- from the loop ---- */

void
reply_gone(struct web_request *r)
{
	mark_gone(r);
	if (r->state == REQUEST_ENDING)
		finish(r);
}

/* POLLIN after the body: an end of file, an ABORT record, or noise that need not wake us again. */
static bool
is_farewell(struct web_request *r)
{
	unsigned char header[8];
	ssize_t n = recv(r->watch.fd, header, sizeof header, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	return n == 0 || (n == (ssize_t)sizeof header && header[1] == FCGI_ABORT_REQUEST);
}

void
reply_event(struct web_request *r, uint32_t events)
{
	if (!r->watched)
		return; /* ended by an earlier event of this batch */
	if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0 ||
		((events & EPOLLIN) != 0 && is_farewell(r))) {
		reply_gone(r);
		return;
	}
	if ((events & EPOLLIN) != 0)
		server_watch(r, r->mask & ~(uint32_t)EPOLLIN);
	if ((events & EPOLLOUT) != 0) {
		r->stuck = false;
		pump(r, true);
		if (r->full && r->queue.len < WEB_QUEUE_BYTES / 2 && r->state == REQUEST_ATTACHED &&
			!atomic_load(&r->gone)) {
			r->full = false;
			if (r->events.on_room != NULL)
				r->events.on_room(r->events.ctx);
		}
	}
}

void
reply_due(struct web_request *r)
{
	struct web_server *s = r->server;

	if (r->state == REQUEST_ENDED) {
		struct web_events events = r->events;

		if (events.on_ended != NULL)
			events.on_ended(events.ctx);
		request_free(r);
		server_ended(s);
		return;
	}
	if (atomic_load(&r->gone)) {
		if (!r->told && r->state == REQUEST_ATTACHED) {
			r->told = true;
			if (r->events.on_gone != NULL)
				r->events.on_gone(r->events.ctx);
		}
		return;
	}
	if (r->queue.len > 0 && !r->stuck)
		pump(r, false);
}
