/*
 * forward-int.h - what the files of this room share.
 *
 *   forward.c   the loop side: sockets, timers, starting, resting, ending
 *   request.c   a request in libcurl's terms: options, header list, body
 *   head.c      the response's head: collected, bounded, looked up
 *   lookup.c    how many name look-ups may be under way
 *   egress.c    which addresses may be called
 *   fetch.c     what a client names by address: blocking, off the loop
 */
#ifndef FORWARD_FORWARD_INT_H
#define FORWARD_FORWARD_INT_H

#include "forward/forward.h"
#include <curl/curl.h>
#include <sys/queue.h>

#define FORWARD_HOST_BYTES 256

/*
 *   WAITING -> CONNECTING -> SENT -> BODY -> OVER
 *
 * WAITING: for a free name look-up.  CONNECTING: in libcurl's hands, up to the end of the TLS
 * handshake.  SENT: the provider may have seen the request.  BODY: the head was handed on.
 */
enum call_stage { CALL_WAITING, CALL_CONNECTING, CALL_SENT, CALL_BODY, CALL_OVER };

struct forward_call {
	struct forward *f;
	CURL *easy; /* kept with the struct when both are used again */
	struct forward_sink sink;
	enum call_stage stage;

	TAILQ_ENTRY(forward_call) every;  /* all that are not over, oldest first */
	TAILQ_ENTRY(forward_call) waiting; /* in WAITING */
	TAILQ_ENTRY(forward_call) chore;  /* while on_chores; spare calls are chained by it too */
	bool on_chores;
	bool resume_wanted;
	bool cancelled;
	bool paused;
	bool allow_private;
	bool address_refused; /* the guard turned at least one address down */
	bool sent_any;

	/* Why a callback of ours made libcurl fail; FORWARD_DONE: it did not. */
	enum forward_outcome fault;
	const char *fault_text;

	int64_t connect_ms, first_byte_ms, idle_ms, total_ms;
	int64_t started_us, connect_us, first_byte_us;
	int64_t mark_ms; /* the running stage's clock; each received or sent piece moves it on */
	int64_t sent_ms; /* when the request was first handed to a connection */
	int64_t received_bytes;

	struct lookup_host *host; /* holds one of its look-ups, or NULL */
	struct curl_slist *headers; /* one block: nodes and text */
	size_t headers_bytes;
	struct span body;
	int body_fd;
	int64_t body_bytes, body_at;

	struct bytes head; /* name NUL value NUL ..., the last of a series of heads */
	bool in_head;
	bool head_done;
	int status;

	char address[64];
	char host_name[FORWARD_HOST_BYTES];
	char error[CURL_ERROR_SIZE];
};

/* forward.c */
int64_t forward_now_ms(void);

/* request.c */
/* What every call needs alike; once for each easy handle. */
int request_common(struct forward_call *c, const struct forward_options *o, struct err *err);
int request_set(struct forward_call *c, const struct forward_request *q, const char *ca_file,
	struct err *err); /* ca_file: for those that name none; NULL: the system's */
void request_drop(struct forward_call *c); /* forgets headers and body; secrets are wiped */

/* head.c */
/* A CURLOPT_HEADERFUNCTION.  Calls head_complete() at the end of the final head. */
size_t head_line(char *line, size_t one, size_t len, void *call);
/* forward.c: false when the transfer must end. */
bool head_complete(struct forward_call *c);

/* lookup.c */
struct lookups;
struct lookups *lookups_new(int most);
void lookups_free(struct lookups *l);
enum lookup_verdict { LOOKUP_GO, LOOKUP_WAIT, LOOKUP_FAILED };
/*
 * May a call that began at since_ms ask for this name now?  GO with *held set: it holds a look-up
 * and must give it back.  FAILED: the name was found not to exist while this call waited.
 */
enum lookup_verdict lookup_ask(struct lookups *l, const char *host, int64_t since_ms, int64_t now_ms,
	struct lookup_host **held);
/* UNUSED: a kept connection made it needless. */
enum lookup_end { LOOKUP_FOUND, LOOKUP_NOT_FOUND, LOOKUP_UNUSED, LOOKUP_ABANDONED };
void lookup_done(struct lookups *l, struct lookup_host *held, enum lookup_end end, int64_t now_ms);
/* Look-ups abandoned long enough ago are free again.  True when some became so. */
bool lookup_sweep(struct lookups *l, int64_t now_ms);

/* egress.c */
/* A CURLOPT_OPENSOCKETFUNCTION whose pointer is the call. */
curl_socket_t egress_open(void *call, curlsocktype purpose, struct curl_sockaddr *address);
/* forward.c: a socket of libcurl's connections came to be. */
void forward_socket_opened(struct forward *f, int fd);
/* The same judgement of an address in text, as libcurl tells it of a connection used again. */
bool egress_text_is_public(const char *address);
/* forward.c: the name is known, or was not needed. */
void call_looked_up(struct forward_call *c, enum lookup_end end);

#endif
