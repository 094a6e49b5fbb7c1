/*
 * web.h - requests in from a web server by FastCGI or CGI, replies out.
 *
 * The only room that includes <fcgiapp.h>.  Knows HTTP, not what sluice is for.
 *
 * Threads.  The loop thread polls and accepts, watches every open request for the client's
 * leaving, and does all streamed writing.  An intake thread adopts an accepted connection, reads
 * parameters and body to the end, and calls handler.on_request; a request then belongs to whoever
 * the handler gives it to: one owner at a time, moved by pointer.  libfcgi only blocks and dies of
 * EAGAIN or EINTR, so every write follows a POLLOUT and is at most WEB_WRITE_BYTES.
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define WEB_WRITE_BYTES 8192           /* of one write after a POLLOUT */
#define WEB_QUEUE_BYTES (64 * 1024)    /* most that waits for a slow client */
#define WEB_HEADERS_BYTES (32 * 1024)  /* most of all request headers */
#define WEB_REPLY_HEADERS_BYTES 3584   /* nginx and Apache fail above 4 to 8 KB */
#define WEB_ARENA_BYTES (4 * 1024 * 1024) /* ceiling of one request's arena */

struct web_server;
struct web_request;

struct web_handler {
	void *ctx;
	/* On an intake thread; may block.  The body is complete.  The handler, or whoever it hands the
	 * request to, must end in web_answer() or web_reply_end(). */
	void (*on_request)(void *ctx, struct web_request *r);
	/* On an intake thread: reading failed (too large, too slow, cut short).  The request is answered
	 * by web itself where a client is left to answer, with the body that make_error gives. */
	void (*on_refused)(void *ctx, struct web_request *r, const struct err *why);
	/* Fills out with the body of an error for this request's path; returns its content type. */
	const char *(*make_error)(void *ctx, const struct web_request *r, const struct err *why,
		struct bytes *out);
	/* On the loop: stopped, and the last request has ended. */
	void (*on_drained)(void *ctx);
};

/* What is 0 or NULL gets the default in brackets. */
struct web_options {
	int listen_fd;               /* FastCGI socket, usually 0 */
	int threads_least, threads_most; /* intake pool: grows while all are busy [4, 256] */
	int requests_most;           /* beyond: 503 without looking further [1000] */
	int64_t body_limit_bytes;    /* body_limit() may raise it for a path [32 MB] */
	int64_t (*body_limit)(void *ctx, const char *method, struct span path); /* or NULL */
	int64_t body_memory_bytes;   /* all bodies in memory together; beyond it to temporary files [256 MB] */
	int64_t body_deadline_ms;    /* for the whole body [300 s] */
	int64_t body_min_rate;       /* bytes a second after the first 10 s; 0: none */
	const char *spool_dir;       /* [NULL: no spooling, such bodies are refused with 503] */
	bool requests_take_long;     /* on_request often blocks: another thread waits meanwhile */
	bool trust_forwarded;        /* the client's address is the last of X-Forwarded-For */
	struct web_handler handler;
};

/* True when this process was started as a plain CGI program. */
bool web_is_cgi(void);
/* Must be called once before any thread is started.  Ignores SIGPIPE; leaves SIGTERM and SIGUSR1
 * as they are. */
int web_init(struct err *err);
/* Opens a listening UNIX socket of mode 0660; a live one there is an error, a dead one replaced. */
int web_listen(const char *path, struct err *err);
struct web_server *web_start(uv_loop_t *loop, const struct web_options *o, struct err *err);
/* CGI: the one request of this process, read by an intake thread, with the same handler. */
struct web_server *web_start_cgi(uv_loop_t *loop, const struct web_options *o, struct err *err);
/* Stops accepting; running requests go on; handler.on_drained follows, never from within this
 * call.  In CGI it follows the one request by itself.  The listening socket stays open.  [loop] */
void web_stop(struct web_server *s);
/* To be called a few times a second: sees to it that new connections are taken although the thread
 * that took the last one is still busy with it.  [loop] */
void web_tend(struct web_server *s);
/* After on_drained, or in it.  All handles on the loop are closed by then; waits for the intake
 * threads, which must have come back from on_request. */
void web_free(struct web_server *s);

struct web_stats { int open, reading, threads; int64_t body_memory_bytes; };
void web_stats(const struct web_server *s, struct web_stats *out); /* any thread */

/* ---- what was asked: valid until the request ends ---- */
const char *web_method(const struct web_request *r);
struct span web_path(const struct web_request *r);   /* raw, as in REQUEST_URI, without the query */
struct span web_query(const struct web_request *r);  /* raw, without '?' */
/* Any case; "" none; the first where it came twice.  `Proxy` is never seen. */
struct span web_header(const struct web_request *r, const char *name);
/* All headers, names in lower case with '-'; content-type and content-length among them. */
bool web_each_header(const struct web_request *r,
	bool (*fn)(void *ctx, const char *name, struct span value), void *ctx);
/* [intake] A handler is about to wait for others than the client, and is back: another thread takes what
 * comes meanwhile.  In pairs. */
void web_away(const struct web_request *r);
void web_back(const struct web_request *r);

/* The named query parameter, percent-decoded into out.  Length, or -1 absent or too long. */
ptrdiff_t web_query_get(const struct web_request *r, const char *name, char *out, size_t room);
const char *web_address(const struct web_request *r); /* the client's, as text */
const char *web_remote_user(const struct web_request *r); /* the web server's sign-in, "" none */
/* The web server's DOCUMENT_ROOT and SERVER_SOFTWARE, "" not told. */
const char *web_document_root(const struct web_request *r);
const char *web_server_software(const struct web_request *r);
bool web_is_https(const struct web_request *r);
struct span web_body(const struct web_request *r);  /* SPAN_NONE when spooled */
int web_body_fd(const struct web_request *r);       /* -1 when in memory */
int64_t web_body_bytes(const struct web_request *r);
/* Frees the body, in memory or spooled, before the request ends: for long streams. */
void web_body_release(struct web_request *r);
/* The request's arena: lives as long as it.  NULL when out of memory. */
struct arena *web_arena(struct web_request *r);
/* Percent-decodes into out with NUL; -1 when it does not fit or holds %00 or broken escapes. */
ptrdiff_t web_decode(struct span raw, char *out, size_t room);

/* ---- answering at once, on any thread that owns it; ends the request.  May block up to 30 s, so
 * not on the loop: web_reply() is for that.  Content-Length is added. ---- */
struct web_head_line { const char *name, *value; };
void web_answer(struct web_request *r, int status, const char *content_type,
	const struct web_head_line *lines, size_t count, struct span body);

/* ---- answering as a stream: all [loop] ---- */
struct web_events {
	void *ctx;
	void (*on_room)(void *ctx);  /* the queue fell below half after web_write() said full */
	void (*on_gone)(void *ctx);  /* the client left; end it by web_reply_end() all the same */
	void (*on_ended)(void *ctx); /* after web_reply_end(): the request is no more */
};
/* The callbacks come from the loop, never from within a call of this header.  web_write() on a
 * request whose client is gone is harmless and returns true. */

/* The loop takes the request over and watches it. */
void web_attach(struct web_request *r, const struct web_events *ev);
/* Head of the reply; a reason phrase is always sent.  Name and value are checked: no CR, LF. */
void web_head(struct web_request *r, int status, const struct web_head_line *lines, size_t count);
/* Queues and writes what fits.  Returns false when the queue is full now: then wait for on_room.
 * All of data is taken in any case; so send at most a chunk of 16 KB after a false. */
bool web_write(struct web_request *r, const void *data, size_t len);
size_t web_waiting(const struct web_request *r); /* bytes in the queue */
/* A whole reply without blocking: head with Content-Length, body, end. */
void web_reply(struct web_request *r, int status, const char *content_type,
	const struct web_head_line *lines, size_t count, struct span body);
/* Writes out the queue, ends the request, then on_ended, after which it is freed.  cut: ends the connection so
 * that the client sees a broken answer instead of a complete one (CGI has no means for that). */
void web_reply_end(struct web_request *r, bool cut);
bool web_is_gone(const struct web_request *r);
/* Reason phrase of a status; never empty. */
const char *web_reason(int status);

#endif
