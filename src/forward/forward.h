/*
 * forward.h - the provider's bytes: one call is one attempt, on the loop, by libcurl's multi.
 *
 * The only room that includes <curl/curl.h>.  Knows HTTP and sockets, not what a model is.
 * Everything here belongs to the loop thread, and nothing blocks.
 *
 * TLS is verified, redirects are off, connections are kept and used again.  The egress guard looks
 * at the resolved address in the socket callback: loopback, private, link-local, multicast,
 * carrier-grade and other special ranges (IPv4, IPv6, mapped and NAT64 forms) are refused unless
 * the target says allow_private.
 */
#ifndef FORWARD_FORWARD_H
#define FORWARD_FORWARD_H

#include "base/bytes.h"
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define FORWARD_RESPONSE_HEADERS_BYTES (64 * 1024)

struct forward;
struct forward_call;

struct forward_options {
	int connections_most;   /* beyond it those at rest are closed; no call is refused */
	int lookups_most;       /* name look-ups under way, two a name; further calls wait */
	const char *ca_file;    /* or NULL: the system's */
	const char *user_agent;
};
struct forward *forward_new(uv_loop_t *loop, const struct forward_options *o, struct err *err);
/* Ends: all calls must be over.  on_closed runs when the loop holds nothing of it any more. */
void forward_free(struct forward *f, void (*on_closed)(void *ctx), void *ctx);

/*
 * Copied as needed by forward_start(), but for the body, which must live until on_end.
 *
 * What is listed is sent, and User-Agent, Host and Content-Length by us; listed framing and
 * coding (Content-Length, Transfer-Encoding, Connection, Expect, Accept-Encoding ...) is passed
 * over.  The limits run one after the other: connect from the start to the end of the TLS
 * handshake, waiting for a look-up included; first byte from there, or from the last piece of a
 * long body sent, to the head; idle from the head or the last byte, not while the sink rests.
 * Exact to 0.1 s.
 */
struct forward_request {
	const char *method, *url;
	const struct forward_header { const char *name, *value; } *headers;
	size_t header_count;
	struct span body;      /* or */
	int body_fd;           /* -1; a spooled body, read from offset 0 */
	int64_t body_bytes;    /* of the spooled one */
	bool has_body;
	int64_t connect_ms, first_byte_ms, idle_ms, total_ms; /* 0: none */
	bool allow_private, http2;
	const char *ca_file, *client_cert; /* or NULL; PEM, the latter with its key */
	/* http, https, socks5 (names are looked up here) or socks5h (by the proxy), with a name and password
	 * where it wants them; NULL: none.  All goes through a tunnel, so the proxy sees no header of the
	 * request.  It is the operator's word: its own address may be private.  What it then connects to is
	 * out of the guard's sight; a URL that names a private address outright is refused all the same. */
	const char *proxy;
	/* Upstream and key.  Not needed now: calls to a host with the same ca_file and client_cert
	 * share connections, since a key in a header says nothing about its connection. */
	const char *pool;
};

struct forward_head {
	int status;
	struct span content_type;
	int64_t content_length; /* -1: not stated */
	int64_t waited_ms;      /* on the first byte's clock */
	struct forward_call *call; /* for forward_response_header() */
};

enum forward_outcome { FORWARD_DONE, FORWARD_REFUSED_ADDRESS, FORWARD_NO_HOST, FORWARD_NO_CONNECT, FORWARD_TLS,
	FORWARD_TIMEOUT_CONNECT, FORWARD_TIMEOUT_FIRST_BYTE, FORWARD_TIMEOUT_IDLE, FORWARD_TIMEOUT_TOTAL,
	FORWARD_CUT, FORWARD_GARBAGE, FORWARD_CANCELLED, FORWARD_MEMORY };
const char *forward_outcome_text(enum forward_outcome o); /* "the connection was refused" … */

struct forward_end {
	enum forward_outcome outcome;
	int status;               /* 0 when no head came */
	char text[200];           /* for the log: host and cause, no header, no secret */
	char address[64];         /* the peer's */
	int64_t connect_us, first_byte_us, total_us; /* since the start */
	int64_t received_bytes;
	bool sent_any;            /* the provider may have acted on it */
};

struct forward_sink {
	void *ctx;
	/* Once, before data.  The idle clock starts here. */
	void (*on_head)(void *ctx, const struct forward_head *head);
	/* true: taken.  false: not taken; the transfer rests until forward_resume() and the same bytes
	 * come again.  May call forward_cancel(). */
	bool (*on_data)(void *ctx, const char *data, size_t len);
	/* Last of all, exactly once, also after forward_cancel() (then from the loop, not from within
	 * it).  The call is no more when it returns. */
	void (*on_end)(void *ctx, const struct forward_end *end);
};

/* NULL with *err when it could not be started: bad URL or header, memory, too many waiting (then
 * no callback runs).  No callback runs before it returns.  May be called from any callback. */
struct forward_call *forward_start(struct forward *f, const struct forward_request *q,
	const struct forward_sink *sink, struct err *err);
/* on_data follows from the loop, not from within. */
void forward_resume(struct forward_call *c);
/* Closes the provider's connection at once; on_end follows. */
void forward_cancel(struct forward_call *c);
/* A header of the response (last one of that name), any case; valid until on_end returns. */
struct span forward_response_header(const struct forward_call *c, const char *name);
bool forward_each_response_header(const struct forward_call *c,
	bool (*fn)(void *ctx, struct span name, struct span value), void *ctx);

/* Off the loop, and it blocks, 5 s at most: the status and Content-Length (-1: not stated) of a HEAD
 * for that address, no redirect followed.  ERR_UPSTREAM_UNREACHABLE, ERR_MEMORY. */
int forward_probe(const char *url, int *status, int64_t *length, struct err *err);

/*
 * What stands at addresses that a client named: GET only, several side by side.  Off the loop, and it
 * blocks, total_ms at most.  Nothing of ours goes along: no credential, no header, no cookie, no proxy.
 * Each connection, also one that a redirect leads to (three at most, never from https to http), goes
 * through the egress guard.  What is too long is refused by its Content-Length, before it is read.
 */
#define FORWARD_FETCH_MOST 20
struct forward_fetch {
	const char *url;       /* the caller's */
	const char *types;     /* media types taken, as patterns parted by commas; an answer that names
	                        * none is taken.  NULL: any */
	/* filled in */
	char content_type[96]; /* in lower case, without parameters; "" not said */
	struct bytes body;     /* the caller's to free, also behind a failure */
	struct err err;        /* code NONE: it was fetched */
};
struct forward_fetch_options {
	int64_t each_bytes, all_bytes, total_ms;
	bool allow_private;
	const char *ca_file;   /* or NULL: the system's */
	const char *user_agent;
	/* Asked before so many bytes more are kept; false: no.  May be NULL. */
	bool (*take)(void *ctx, size_t bytes);
	void *ctx;
};
/*
 * 0: all were fetched.  -1: *err is that of the first that failed, and the others were given up
 * (their err may be NONE).  BAD_REQUEST: the address is no good or answered so; UNSUPPORTED: what stands
 * there is too long or of another type; OVERLOADED: take() said no; MEMORY.  err's text is for the log;
 * its sentence for the client names the host alone, as an address may hold a secret.
 */
int forward_fetch(struct forward_fetch *f, size_t count, const struct forward_fetch_options *o,
	struct err *err);

/* The egress guard's judgement, for tests and for `check`: may this address be called? */
struct sockaddr;
bool forward_address_is_public(const struct sockaddr *a);

#endif
