/*
 * web-int.h - what the files of this room share.
 *
 * All sockets of a server hang in one epoll set of ours, and that set is the one descriptor libuv
 * polls for us.  So no request socket is ever made non-blocking (uv_poll_init would, and libfcgi
 * dies of EAGAIN), any thread may put a socket in, and a socket may be closed the moment it is out.
 */
#ifndef WEB_WEB_INT_H
#define WEB_WEB_INT_H

#include "web/web.h"

#include <fcgiapp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define FRESH_WAIT_MS   60000 /* a new connection that says nothing is closed then */
#define STOP_WAIT_MS    1000  /* the same once we are stopping */
#define PARAMS_WAIT_MS  10000 /* between two pieces of the parameters */
#define RATE_GRACE_MS   10000 /* before body_min_rate counts */
#define SEND_WAIT_MS    30000 /* of one blocking write */
#define LINGER_MS       2000  /* for the peer to read a reply that came before its body was read */
#define DISCARD_WAIT_MS 10000 /* for the rest of a body that nobody wants ... */
#define DISCARD_BYTES   (256LL << 20) /* ... and the most of it */
#define IDLE_THREAD_S   10
#define STACK_BYTES     (256 * 1024)
#define PIECE_BYTES     (WEB_WRITE_BYTES - 8) /* content of one record that fills libfcgi's buffer */
#define PIPE_BYTES      4096 /* what POLLOUT on a pipe promises */

enum watch_kind { WATCH_PARKED, WATCH_REQUEST };

/* First member of whatever an epoll event may point to. */
struct watch {
	enum watch_kind kind;
	int fd;
};

/* A connection without a request: new and silent, or kept by the web server for its next one. */
struct parked {
	struct watch watch;
	bool kept;
	int64_t since_ms;
	LIST_ENTRY(parked) link;
};

enum request_state {
	REQUEST_WAITING,  /* for an intake thread */
	REQUEST_READING,  /* an intake thread is at it */
	REQUEST_OWNED,    /* by the handler, or whom it gave it to */
	REQUEST_ATTACHED, /* the loop watches it */
	REQUEST_ENDING,   /* web_reply_end() was called, the queue is not empty yet */
	REQUEST_ENDED     /* the connection is gone; on_ended and the memory are due */
};

struct request_queue {
	char *at;
	size_t start, len, room; /* content is len bytes from start */
};

struct web_request {
	struct watch watch; /* fd: the connection; in CGI what we write to */
	enum request_state state;
	struct web_server *server;
	TAILQ_ENTRY(web_request) link; /* waiting, or due */

	FCGX_Request fx; /* in CGI unused */
	struct Params *params; /* of fx, kept until the end */
	bool cgi;
	bool overloaded;   /* to be refused as soon as its parameters are known */
	bool params_came, body_came; /* whole, before reading began: no read of it will wait */
	bool input_ended;  /* nothing of this request is left to read */
	bool detached_out; /* fx.out was closed */
	char **env;        /* NAME=value, NULL at the end */
	int64_t cgi_taken; /* bytes read of the body */
	char address[64];

	char *body;
	size_t body_len, body_room;
	size_t body_counted; /* of this server's body_memory */
	int body_fd;
	int64_t body_bytes;
	struct arena *arena;

	/* Once attached, all [loop]. */
	struct web_events events;
	struct request_queue queue;
	uint32_t mask;     /* what epoll is asked for; meaningless when not watched */
	bool watched;
	bool stuck;        /* not writable: wait for EPOLLOUT */
	bool full;         /* web_write() said so */
	bool due;          /* in server->due */
	bool head_sent;
	uint8_t pieces;    /* written so far: 0, 1, or 2 for more */
	bool cut;
	bool told;         /* on_gone was called */
	_Atomic bool gone; /* the client left */
};

struct intake_thread {
	pthread_t id;
	struct web_server *server;
	enum { SLOT_FREE, SLOT_RUNS, SLOT_LEFT } state;
};

struct web_server {
	struct web_options o;
	uv_loop_t *loop;
	bool cgi;
	_Atomic bool cgi_term; /* SIGTERM: the web server says that the client left */

	uv_poll_t poll; /* of epoll_fd */
	uv_idle_t idle; /* runs while `due` holds something */
	uv_async_t async;
	uv_timer_t timer;
	uv_signal_t term; /* CGI only */
	int handles;
	int epoll_fd;
	bool ticking, closing;
	int intake_fd; /* epoll set of the leading intake thread: listener and wake_fd */
	int wake_fd;   /* eventfd: `waiting` holds something, or quit */
	int listen_fd; /* -1: none, or no longer */
	_Atomic bool stopping;
	TAILQ_HEAD(, web_request) due; /* [loop] */
	LIST_HEAD(, parked) swept;     /* [loop] closed while a batch of events may point to them */
	bool in_batch;
	struct web_request *cgi_request; /* [loop] while attached */

	_Atomic int open, reading;
	_Atomic int64_t body_memory;

	pthread_mutex_t lock; /* of all that follows */
	TAILQ_HEAD(, web_request) waiting;
	int waiting_count, live_threads;
	int idle_threads;      /* they wait for idle_wake */
	int away;              /* they wait for a peer, or do what takes long */
	bool led;              /* one waits for connections */
	bool roused;           /* one has been called and did not come yet */
	unsigned accepted;
	unsigned turns, turns_tended; /* of leading; those web_tend() has seen */
	pthread_cond_t idle_wake;
	bool quit;
	struct intake_thread *threads; /* o.threads_most */
	LIST_HEAD(, parked) parked;
	int fresh_count, kept_count;
};

/* ---- request.c ---- */

struct web_request *request_new(struct web_server *s, int fd);
/* Frees all but the connection. */
void request_free(struct web_request *r);
/* Looks at the parameters once they are there.  0, or -1 with *err. */
int request_check(struct web_request *r, struct err *err);
/* The value of a parameter, or NULL. */
const char *request_param(const struct web_request *r, const char *name);
/* Stated length of the body, or -1 when it is not known. */
int64_t request_length(const struct web_request *r);

/* ---- intake.c ---- */

int intake_open(struct web_server *s); /* 0 or -1 with errno */
void intake_close(struct web_server *s);
/* Lets idle threads accept from that socket, or no longer.  [loop] */
void intake_listen(struct web_server *s, int listen_fd);
void intake_unlisten(struct web_server *s);
/* The calling intake thread will wait for its peer, or is busy for long, and another one must be
 * there to go on; until intake_back(). */
void intake_away(struct web_server *s);
void intake_back(struct web_server *s);
/* Hands a request to an intake thread, starting one if all are busy.  [loop] */
void intake_give(struct web_server *s, struct web_request *r);
/* Ends and joins all of them. */
void intake_stop(struct web_server *s);
/* Sets SO_RCVTIMEO or SO_SNDTIMEO. */
void intake_timeout(int fd, int option, int64_t ms);

/* ---- server.c ---- */

/* Puts a connection away until it is readable.  Closes it when the server stops.  Any thread. */
void server_park(struct web_server *s, int fd, bool kept);
/* 1 when there is something to read, 0 when not yet, -1 when the peer is gone. */
int server_has_spoken(int fd);
/* Counts one request out; any thread, after the request was freed. */
void server_ended(struct web_server *s);
/* Asks for reply_due(r) soon, from the loop and not from within a call.  [loop] */
void server_due(struct web_server *s, struct web_request *r);
void server_watch(struct web_request *r, uint32_t mask); /* [loop] */
void server_unwatch(struct web_request *r);              /* [loop] */

/* ---- reply.c ---- */

void reply_event(struct web_request *r, uint32_t events); /* [loop] */
void reply_due(struct web_request *r);                    /* [loop] */
/* The client left: no more is written.  [loop] */
void reply_gone(struct web_request *r);
/* Composes the head of a reply into out: checked, within WEB_REPLY_HEADERS_BYTES. */
void reply_head(struct bytes *out, int status, const char *content_type,
	const struct web_head_line *lines, size_t count, int64_t content_length);
/* Closes or parks the connection.  complete: the reply was written whole. */
void reply_close(struct web_request *r, bool complete);

/* ---- cgi.c ---- */

struct web_request *cgi_request_new(struct web_server *s);
/* As read(2) on stdin, but waits wait_ms at most: then -1 with ETIMEDOUT; ECANCELED on SIGTERM. */
ptrdiff_t cgi_read(struct web_request *r, void *out, size_t room, int64_t wait_ms);
/* 0, or -1 when it could not be written; waits SEND_WAIT_MS at most for each piece. */
int cgi_write(struct web_request *r, const void *data, size_t len);
/* Ends stdout, so that the web server sees the end before this process ends. */
void cgi_close(struct web_request *r);

#endif
