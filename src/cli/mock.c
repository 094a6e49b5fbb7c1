/*
 * mock.c - the mock's sockets, HTTP, timers and statistics.
 *
 * One thread, one edge-triggered epoll registration a connection: a small request costs a wait
 * (shared with others), a recv and a send.  Buffers belong to connections and grow once, so that
 * answering takes no memory.  It must be so much faster than the gateway that a benchmark through
 * the gateway never measures the mock.
 */
#include "cli/mock.h"

#include "base/clock.h"
#include "cli/mock-int.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES     (64 * 1024)        /* of a request */
#define WHOLE_BYTES    (40 * 1024 * 1024) /* bodies up to this are kept whole */
#define PART_BYTES     (64 * 1024)        /* of larger ones this is kept */
#define IN_BYTES       (WHOLE_BYTES + 2 * HEAD_BYTES)
#define READ_BYTES     16384
#define STREAM_BYTES   (64 * 1024) /* of a stream, composed ahead of a slow reader */
#define KEPT_ROOM      (64 * 1024) /* a larger buffer is given back between requests */
#define EVENTS_AT_ONCE 256
#define KEYS_MOST      1024 /* power of two; further ones share */
#define ROWS_MOST      128
#define PATH_BYTES     96
#define NUMBER_DIGITS  6

/* In two, as C lets a string be 4,095 bytes. */
static const char help_options[] =
	"usage: sluice mock [options]\n"
	"\n"
	"A provider of every protocol, for tests and first steps.  Prints its address.\n"
	"\n"
	"  --listen ADDRESS:PORT   (127.0.0.1:0, a free port)\n"
	"  --chunks N              of a stream (5)\n"
	"  --chunk-bytes N         of text in a chunk (20)\n"
	"  --interval-ms N         between two chunks (0)\n"
	"  --delay-ms N            before an answer begins (0)\n"
	"  --seconds N             ends by itself after this time (0: never)\n"
	"  --log FILE              a JSON line for each request that is over\n"
	"  --keys FILE             the keys that are good, one a line (any)\n"
	"  --strict 1              a key must stand where the real protocol has it\n"
	"  --aws ID:SECRET         AWS signatures are verified (ID:SECRET:SESSION)\n"
	"  --client ID:SECRET      what the token endpoints take (anyone)\n"
	"  --jwt-key FILE          a public key, by which they verify assertions\n"
	"  --token-seconds N       the life of their tokens (3600)\n"
	"  --quota LIST            of each key: requests/10s=20,requests/day=500; 429 beyond, and "
	"headers\n"
	"  --quota-told 0          without the headers (1)\n"
	"  --only NAME             nothing but openai, openai-chat, azure, openrouter, anthropic, "
	"gemini,\n"
	"                          vertex, bedrock, sap or plain\n"
	"  --talk 1                OpenAI too answers what was said (see below)\n"
	"\n"
	"Paths: /v1/chat/completions, completions, responses, embeddings, models, …; /v1/messages\n"
	"and its count_tokens; /v1beta/models/M:generateContent and its like (Google's platform:\n"
	"/v1/projects/…/publishers/…); /model/M/converse, converse-stream, invoke,\n"
	"invoke-with-response-stream, count-tokens; Azure's /openai/deployments/D/…; /api/v1/… as\n"
	"OpenRouter; SAP's /v2/inference/deployments/D/… and /v2/lm/deployments.  Tokens:\n"
	"POST /oauth/token (SAP), /token (Google), /TENANT/oauth2/v2.0/token (Entra ID).\n"
	"/plain/… is an API that is no model's.\n"
	"\n";
static const char help_names[] =
	"Every model is served.  These names do something else:\n"
	"\n"
	"  mock-error-STATUS       that error; 429 with Retry-After: 7\n"
	"  mock-hang               no answer\n"
	"  mock-hang-stream        a head, one chunk, then silence\n"
	"  mock-cut                the connection is closed in mid-answer\n"
	"  mock-garbage            the answer is not HTTP\n"
	"  mock-badjson            the answer is not JSON\n"
	"  mock-big-SIZE           an answer of that size: mock-big-60m (other than OpenAI: 4m at "
	"most)\n"
	"  mock-slow-MS            begins after so long\n"
	"  mock-refuse-once        the first one of each key finds the connection closed\n"
	"  mock:chunks=40,interval=50,bytes=20,delay=10,status=500,big=1000\n"
	"  mock:stream-error       an error of the protocol in mid-stream\n"
	"  mock:blank              a stream that ends without its last events\n"
	"  mock:stream-error,after=N  the same, cut, badjson, blank, hang-stream: behind N pieces\n"
	"  mock:empty, page, error-200  status 200, but no body, a page, or an error in JSON\n"
	"  mock:split=N            a stream in pieces of N bytes\n"
	"  mock:python             Converse by SAP: a stream as Python writes it\n"
	"  mock:kind=WORD          an error by its reason: key, credit, access, rate, day,\n"
	"                          overloaded, context, filter, model, timeout, internal\n"
	"  talk…, mock:talk        OpenAI answers what was said, as the other protocols always do\n"
	"\n"
	"The same words stand in a header X-Mock.  A key with bad401 (or any badSTATUS) in it\n"
	"always gets that error.  GET /mock/stats tells what came, POST /mock/reset forgets it;\n"
	"GET /mock/last (?path=/v1/messages) shows the last request, POST /mock/expire ends all\n"
	"tokens.  POST /mock/keys tells keys, by their last four characters, how to behave:\n"
	"{\"A001\":{\"status\":429,\"head\":\"retry-after: 2\\r\\n\",\"body\":\"…\"}}.\n"
	"\n"
	"Answers say what was heard: \"You said: …\", media with type and size, the results of\n"
	"tools by name; JSON that fits when a schema is asked for.  Words in the last turn steer:\n"
	"  call:N                  N calls of the tools that came along (aloud: with text)\n"
	"  cache:N                 N tokens came from a cache\n"
	"  stop:filter             refused by a filter\n"
	"  redact                  thoughts that are hidden, where a protocol has them\n"
	"signed? in the system text: the answer tells whether signed reasoning came back.\n"
	"Reasoning is signed, and an error when it comes back altered, or not, where it must.\n";

enum state { READING, HOLDING, SENDING, HANGING };

struct row { /* requests counted by path and status */
	char path[PATH_BYTES];
	int status;
	int64_t count;
};

struct key {
	char last4[8];
	int64_t requests, in_flight, most_in_flight;
	bool used;
	bool refused; /* mock-refuse-once */
	struct mock_quota_use quota;
};

struct connection {
	int fd;
	enum state state;
	struct connection *next_free;
	struct connection *next_made;
	struct bytes in, out, body;
	size_t in_used;  /* bytes of `in` that are dealt with */
	size_t in_want;  /* no need to parse before there are so many; 0: unknown */
	int64_t discard; /* of an oversized body, still to come */
	bool continued;  /* 100 Continue was said */
	bool eof, last;  /* the client's end; close after this answer */
	size_t out_sent;
	struct mock_exchange x;
	int64_t tail_sent;
	int64_t due_us;
	size_t heap_at; /* 1-based place in the heap; 0: not in it */
	char path[PATH_BYTES];
	struct key *key;
	struct row *row; /* of the last request, likely the next one's too */
	int64_t sent_bytes;
};

static struct {
	struct mock_script script;
	int listen_fd, epoll_fd, log_fd;
	bool quotas;
	int64_t until_us, now_us;
	struct connection *free;
	struct connection *made; /* every one there is, open or free */
	struct connection **heap;
	size_t heap_count, heap_room;
	char **good_keys;
	size_t good_count;
	struct bytes log;

	struct key keys[KEYS_MOST];
	struct row rows[ROWS_MOST];
	int row_count;
	uint64_t number;
	int64_t completed, client_gone, open, max_open, connections;
} mock;

static volatile sig_atomic_t ended;

/* ---- text ---- */

void
mock_number(struct bytes *to, int64_t n)
{
	char digits[24], *p = digits + sizeof digits;
	uint64_t u = n < 0 ? (uint64_t)-n : (uint64_t)n;

	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) > 0);
	if (n < 0)
		*--p = '-';
	(void)bytes_add(to, p, (size_t)(digits + sizeof digits - p));
}

static int64_t
read_number(const char *at, size_t len)
{
	char text[24] = "";
	char *end;
	int64_t n;

	(void)span_copy((struct span){ at, len }, text, sizeof text);
	n = strtoll(text, &end, 10);
	if (*end == 'k' || *end == 'K')
		n *= 1024;
	else if (*end == 'm' || *end == 'M')
		n *= 1024 * 1024;
	return n < 0 ? 0 : n;
}

void
mock_script_read(struct mock_script *s, struct span text)
{
	static const struct {
		const char *word;
		enum mock_fault fault;
	} faults[] = {
		{ "hang", MOCK_HANG },
		{ "hang-stream", MOCK_HANG_STREAM },
		{ "cut", MOCK_CUT },
		{ "garbage", MOCK_GARBAGE },
		{ "badjson", MOCK_BADJSON },
		{ "refuse-once", MOCK_REFUSE_ONCE },
		{ "stream-error", MOCK_STREAM_ERROR },
		{ "blank", MOCK_BLANK },
		{ "empty", MOCK_EMPTY },
		{ "page", MOCK_PAGE },
		{ "error-200", MOCK_ERROR_200 },
	};
	const struct {
		const char *word;
		bool *to;
	} flags[] = {
		{ "talk", &s->talks },
		{ "python", &s->python },
	};
	const struct {
		const char *word;
		int64_t *to;
	} numbers[] = {
		{ "chunks=", &s->chunks },
		{ "bytes=", &s->chunk_bytes },
		{ "interval=", &s->interval_ms },
		{ "delay=", &s->delay_ms },
		{ "status=", &s->status },
		{ "big=", &s->big_bytes },
		{ "split=", &s->split },
		{ "after=", &s->after },
	};

	while (text.len > 0) {
		const char *comma = memchr(text.at, ',', text.len);
		size_t len = comma == NULL ? text.len : (size_t)(comma - text.at);
		struct span word = { text.at, len };

		for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
			size_t name = strlen(numbers[i].word);

			if (span_starts(word, numbers[i].word))
				*numbers[i].to = read_number(word.at + name, word.len - name);
		}
		for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
			if (span_is(word, faults[i].word))
				s->fault = faults[i].fault;
		for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
			if (span_is(word, flags[i].word))
				*flags[i].to = true;
		if (span_starts(word, "kind="))
			s->kind = mock_kind_named((struct span){ word.at + 5, word.len - 5 });
		s->has_after = s->has_after || span_starts(word, "after=");
		s->numbered =
			s->numbered || span_starts(word, "chunks=") || span_starts(word, "bytes=");
		len += comma != NULL;
		text.at += len;
		text.len -= len;
	}
	if (s->chunk_bytes < 1)
		s->chunk_bytes = 1;
	if (s->chunk_bytes > STREAM_BYTES)
		s->chunk_bytes = STREAM_BYTES;
	if (s->status < 200 || s->status > 599)
		s->status = 200;
}

void
mock_script_model(struct mock_exchange *x, const char *model)
{
	static const struct {
		const char *name;
		enum mock_fault fault;
	} faults[] = {
		{ "mock-hang-stream", MOCK_HANG_STREAM },
		{ "mock-hang", MOCK_HANG },
		{ "mock-cut", MOCK_CUT },
		{ "mock-garbage", MOCK_GARBAGE },
		{ "mock-badjson", MOCK_BADJSON },
		{ "mock-refuse-once", MOCK_REFUSE_ONCE },
	};

	if (strncmp(model, "talk", 4) == 0)
		x->script.talks = true;
	if (strncmp(model, "mock", 4) != 0)
		return;
	if (model[4] == ':')
		mock_script_read(&x->script, span_of(model + 5));
	else if (strncmp(model, "mock-error-", 11) == 0)
		x->script.status = strtol(model + 11, NULL, 10);
	else if (strncmp(model, "mock-slow-", 10) == 0)
		x->script.delay_ms = strtol(model + 10, NULL, 10);
	else if (strncmp(model, "mock-big-", 9) == 0)
		x->script.big_bytes = read_number(model + 9, strlen(model + 9));
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		if (strncmp(model, faults[i].name, strlen(faults[i].name)) == 0) {
			x->script.fault = faults[i].fault;
			return;
		}
}

/* ---- what goes out ---- */

static const char *
reason(int status)
{
	switch (status) {
	case 200:
		return "200 OK";
	case 401:
		return "401 Unauthorized";
	case 429:
		return "429 Too Many Requests";
	case 500:
		return "500 Internal Server Error";
	default:
		return NULL;
	}
}

static void
put_status(struct mock_exchange *x, int status, const char *type)
{
	const char *line = reason(status);

	x->status = status;
	(void)bytes_puts(x->out, "HTTP/1.1 ");
	if (line != NULL)
		(void)bytes_puts(x->out, line);
	else
		(void)bytes_printf(x->out, "%d Status", status);
	(void)bytes_puts(x->out, "\r\nContent-Type: ");
	(void)bytes_puts(x->out, type);
	(void)bytes_puts(x->out, "\r\n");
	mock_error_headers(x, status, x->out);
	(void)bytes_puts(x->out, "x-request-id: req_mock_");
	mock_number(x->out, (int64_t)x->number);
	if (status == 429 && !mock.quotas &&
		(x->dialect == MOCK_OPENAI || x->dialect == MOCK_OPENROUTER))
		(void)bytes_puts(x->out,
			"\r\nRetry-After: 7\r\nx-ratelimit-limit-requests: 100\r\n"
			"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 7s\r\n"
			"x-ratelimit-limit-tokens: 10000\r\n"
			"x-ratelimit-remaining-tokens: 9000\r\nx-ratelimit-reset-tokens: 600ms");
}

void
mock_reply(struct mock_exchange *x, int status, const char *type, struct span body)
{
	put_status(x, status, type);
	(void)bytes_puts(x->out, "\r\nContent-Length: ");
	mock_number(
		x->out, (int64_t)body.len + x->filler + (x->filler > 0 ? (int64_t)x->tail.len : 0));
	(void)bytes_puts(x->out, "\r\n\r\n");
	(void)bytes_add(x->out, body.at, body.len);
}

void
mock_stream_head(struct mock_exchange *x, const char *type)
{
	put_status(x, 200, type);
	(void)bytes_puts(x->out, "\r\nCache-Control: no-cache");
	(void)bytes_puts(x->out, x->http11 ? "\r\nTransfer-Encoding: chunked\r\n\r\n" : "\r\n\r\n");
}

void
mock_piece(const struct mock_exchange *x, struct bytes *to, struct span piece)
{
	char size[20];

	if (piece.len == 0)
		return;
	if (!x->http11) {
		(void)bytes_add(to, piece.at, piece.len);
		return;
	}
	(void)bytes_add(to, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", piece.len));
	(void)bytes_add(to, piece.at, piece.len);
	(void)bytes_add(to, "\r\n", 2);
}

/* ---- streams of pieces ---- */

void
mock_stream_begin(struct mock_exchange *x, const char *type)
{
	struct mock_stream *s = &x->stream;

	s->event.len = s->ending.len = s->number_at = s->sequence_at = 0;
	s->pieces.len = s->ends.len = 0;
	s->count = s->next = 0;
	x->streams = true;
	mock_stream_head(x, type);
}

void
mock_stream_piece(struct mock_exchange *x, struct span piece)
{
	struct mock_stream *s = &x->stream;
	size_t most = x->script.split > 0 ? (size_t)x->script.split : piece.len;

	while (piece.len > 0) {
		size_t len = piece.len < most ? piece.len : most;

		mock_piece(x, &s->pieces, (struct span){ piece.at, len });
		(void)bytes_add(&s->ends, &s->pieces.len, sizeof s->pieces.len);
		s->count++;
		piece.at += len;
		piece.len -= len;
	}
}

void
mock_stream_end(struct mock_exchange *x, struct span error)
{
	struct mock_stream *s = &x->stream;
	int64_t half = s->count / 2 > 0 ? s->count / 2 : 1;

	if (x->script.has_after)
		half = x->script.after < s->count ? x->script.after : s->count;
	switch (x->script.fault) {
	case MOCK_CUT:
		s->count = half;
		x->cut = true;
		break;
	case MOCK_HANG_STREAM:
		s->count = x->script.has_after ? half : s->count < 3 ? s->count : 3;
		break;
	case MOCK_BLANK:
		s->count = half;
		break;
	case MOCK_STREAM_ERROR:
		s->count = half;
		mock_piece(x, &s->ending, error);
		break;
	case MOCK_BADJSON:
		s->count = half;
		mock_piece(x, &s->ending, SPAN_LIT("data: {\"and here it ends\n\n"));
		break;
	default:
		break;
	}
}

static size_t
piece_end(const struct mock_stream *s, int64_t i)
{
	size_t end;

	memcpy(&end, s->ends.at + (size_t)i * sizeof end, sizeof end);
	return end;
}

/* ---- the heap of those who wait for a moment ---- */

static void
heap_set(size_t at, struct connection *c)
{
	mock.heap[at] = c;
	c->heap_at = at;
}

static void
heap_settle(size_t at)
{
	struct connection *c = mock.heap[at];

	while (at > 1 && mock.heap[at / 2]->due_us > c->due_us) {
		heap_set(at, mock.heap[at / 2]);
		at /= 2;
	}
	for (size_t child; (child = at * 2) <= mock.heap_count; at = child) {
		if (child < mock.heap_count &&
			mock.heap[child + 1]->due_us < mock.heap[child]->due_us)
			child++;
		if (mock.heap[child]->due_us >= c->due_us)
			break;
		heap_set(at, mock.heap[child]);
	}
	heap_set(at, c);
}

static void
heap_remove(struct connection *c)
{
	size_t at = c->heap_at;
	struct connection *last;

	if (at == 0)
		return;
	c->heap_at = 0;
	last = mock.heap[mock.heap_count--];
	if (last == c)
		return;
	heap_set(at, last);
	heap_settle(at);
}

static void
wake_at(struct connection *c, int64_t due_us)
{
	c->due_us = due_us;
	if (c->heap_at == 0) {
		if (mock.heap_count + 2 > mock.heap_room) {
			size_t room = mock.heap_room == 0 ? 256 : mock.heap_room * 2;
			struct connection **grown = realloc(mock.heap, room * sizeof(*grown));

			if (grown == NULL)
				abort(); /* a test's tool: nothing to save */
			mock.heap = grown;
			mock.heap_room = room;
		}
		heap_set(++mock.heap_count, c);
	}
	heap_settle(c->heap_at);
}

/* ---- statistics ---- */

static struct key *
key_of(struct span text)
{
	char last4[8] = "";
	uint32_t at = 0;

	if (text.len > 4)
		text = (struct span){ text.at + text.len - 4, 4 };
	(void)span_copy(text, last4, sizeof last4);
	memcpy(&at, last4, sizeof at);
	at = (at * 2654435761U) >> 16;
	for (unsigned tries = 0; tries < 64; tries++) {
		struct key *k = &mock.keys[(at + tries) & (KEYS_MOST - 1)];

		if (!k->used)
			memcpy(k->last4, last4, sizeof last4);
		k->used = true;
		if (memcmp(k->last4, last4, sizeof last4) == 0)
			return k;
	}
	return &mock.keys[at & (KEYS_MOST - 1)];
}

static void
count_request(struct connection *c, int status)
{
	struct row *r = c->row;

	if (r == NULL || r->status != status || strcmp(r->path, c->path) != 0) {
		r = NULL;
		for (int i = 0; i < mock.row_count && r == NULL; i++)
			if (mock.rows[i].status == status &&
				strcmp(mock.rows[i].path, c->path) == 0)
				r = &mock.rows[i];
		if (r == NULL) {
			r = &mock.rows[mock.row_count < ROWS_MOST - 1 ? mock.row_count++
								      : ROWS_MOST - 1];
			memcpy(r->path, c->path, sizeof r->path);
			r->status = status;
		}
		c->row = r;
	}
	r->count++;
}

static void
put_stats(struct bytes *b)
{
	bool first = true;

	(void)bytes_printf(b,
		"{\"completed\":%lld,\"client_gone\":%lld,\"open\":%lld,\"max_open\":%lld,"
		"\"connections\":%lld,\"requests\":{",
		(long long)mock.completed, (long long)mock.client_gone, (long long)mock.open,
		(long long)mock.max_open, (long long)mock.connections);
	for (int i = 0; i < mock.row_count; i++) {
		bool seen = mock.rows[i].count == 0;

		for (int j = 0; j < i; j++)
			seen = seen || (mock.rows[j].count > 0 &&
					       strcmp(mock.rows[j].path, mock.rows[i].path) == 0);
		if (seen)
			continue;
		(void)bytes_puts(b, first ? "" : ",");
		first = false;
		(void)bytes_json(b, span_of(mock.rows[i].path));
		(void)bytes_puts(b, ":{");
		for (int j = i, n = 0; j < mock.row_count; j++)
			if (mock.rows[j].count > 0 &&
				strcmp(mock.rows[j].path, mock.rows[i].path) == 0)
				(void)bytes_printf(b, "%s\"%d\":%lld", n++ == 0 ? "" : ",",
					mock.rows[j].status, (long long)mock.rows[j].count);
		(void)bytes_puts(b, "}");
	}
	(void)bytes_printf(b, "},\"tokens_asked\":%lld,\"keys\":{", (long long)mock_tokens_asked);
	first = true;
	for (size_t i = 0; i < KEYS_MOST; i++) {
		const struct key *k = &mock.keys[i];

		if (k->requests == 0 && k->in_flight == 0)
			continue;
		(void)bytes_puts(b, first ? "" : ",");
		first = false;
		(void)bytes_json(b, span_of(k->last4));
		(void)bytes_printf(b,
			":{\"requests\":%lld,\"in_flight\":%lld,\"max_in_flight\":%lld}",
			(long long)k->requests, (long long)k->in_flight,
			(long long)k->most_in_flight);
	}
	(void)bytes_puts(b, "}}");
}

static void
reset_stats(void)
{
	mock.completed = mock.client_gone = mock.connections = mock_tokens_asked = 0;
	mock.max_open = mock.open;
	for (int i = 0; i < mock.row_count; i++)
		mock.rows[i].count = 0;
	for (size_t i = 0; i < KEYS_MOST; i++) {
		mock.keys[i].requests = 0;
		mock.keys[i].most_in_flight = mock.keys[i].in_flight;
		mock.keys[i].refused = false;
		mock.keys[i].quota = (struct mock_quota_use){ 0 };
	}
}

static void
write_log(void)
{
	if (mock.log.len > 0 && write(mock.log_fd, mock.log.at, mock.log.len) == -1)
		perror("sluice: mock: log");
	mock.log.len = 0;
}

static void
end_exchange(struct connection *c, bool client_gone)
{
	if (c->key != NULL) { /* else one of /mock/... */
		c->key->in_flight--;
		mock.open--;
		if (client_gone)
			mock.client_gone++;
		else
			mock.completed++;
		count_request(c, c->x.status);
		if (mock.log_fd != -1) {
			(void)bytes_printf(&mock.log,
				"{\"id\":%llu,\"path\":", (unsigned long long)c->x.number);
			(void)bytes_json(&mock.log, span_of(c->path));
			(void)bytes_puts(&mock.log, ",\"key\":");
			(void)bytes_json(&mock.log, span_of(c->key->last4));
			(void)bytes_printf(&mock.log,
				",\"status\":%d,\"bytes\":%lld,\"ended_by\":\"%s\"}\n", c->x.status,
				(long long)c->sent_bytes, client_gone ? "client" : "done");
			if (mock.log.len > STREAM_BYTES)
				write_log();
		}
	}
	c->key = NULL;
	c->out.len = c->out_sent = 0;
	c->state = READING;
	heap_remove(c);
	if (c->out.room > KEPT_ROOM)
		bytes_free(&c->out);
}

static void
close_connection(struct connection *c)
{
	if (c->state != READING)
		end_exchange(c, true);
	(void)close(c->fd);
	c->fd = -1;
	if (c->in.room > KEPT_ROOM)
		bytes_free(&c->in);
	c->next_free = mock.free; /* its buffers serve the next one */
	mock.free = c;
}

/* ---- sending ---- */

/* false: not all could be sent; *gone when there is nobody to send it to. */
static bool
send_all(struct connection *c, const char *at, size_t len, size_t *sent, bool *gone)
{
	while (*sent < len) {
		ssize_t n = send(c->fd, at + *sent, len - *sent, MSG_NOSIGNAL);

		if (n < 0) {
			*gone = errno != EAGAIN && errno != EINTR;
			return false;
		}
		*sent += (size_t)n;
		c->sent_bytes += n;
	}
	return true;
}

static bool
send_filler(struct connection *c, bool *gone)
{
	static char block[STREAM_BYTES];

	if (block[0] == 0)
		memset(block, 'x', sizeof block);
	while (c->x.filler > 0) {
		size_t len = c->x.filler < STREAM_BYTES ? (size_t)c->x.filler : sizeof block;
		size_t sent = 0;
		bool all = send_all(c, block, len, &sent, gone);

		c->x.filler -= (int64_t)sent;
		if (c->x.filler == 0)
			c->out_sent = 0;
		if (!all)
			return false;
	}
	return true;
}

static void
write_digits(struct bytes *event, size_t at, int digits, int64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%0*d", NUMBER_DIGITS, (int)(n % 1000000));
	memcpy(event->at + at, text, (size_t)digits);
}

/* Puts what is due of the stream into `out`, which is empty. */
static void
compose_stream(struct connection *c)
{
	struct mock_stream *s = &c->x.stream;
	int64_t interval_us = c->x.script.interval_ms * 1000;

	c->out.len = c->out_sent = 0;
	while (s->next < s->count && c->due_us <= mock.now_us && c->out.len < STREAM_BYTES) {
		s->next++;
		c->due_us += interval_us;
		if (s->ends.len > 0) {
			size_t from = s->next == 1 ? 0 : piece_end(s, s->next - 2);

			(void)bytes_add(
				&c->out, s->pieces.at + from, piece_end(s, s->next - 1) - from);
			continue;
		}
		write_digits(&s->event, s->number_at, s->number_digits, s->next);
		if (s->sequence_at != 0)
			write_digits(&s->event, s->sequence_at, NUMBER_DIGITS,
				s->sequence_first + s->next - 1);
		mock_piece(&c->x, &c->out, bytes_span(&s->event));
	}
	if (s->next < s->count)
		return;
	c->x.streams = false;
	if (c->x.script.fault == MOCK_HANG_STREAM || c->x.cut)
		return;
	if (s->ends.len > 0) /* framed already */
		(void)bytes_add(&c->out, s->ending.at, s->ending.len);
	else
		mock_piece(&c->x, &c->out, bytes_span(&s->ending));
	if (c->x.http11)
		(void)bytes_add(&c->out, "0\r\n\r\n", 5);
}

/* As far as it goes now.  false: the connection was closed. */
static bool
proceed(struct connection *c)
{
	bool gone = false;

	for (;;) {
		if (!send_all(c, c->out.at, c->out.len, &c->out_sent, &gone))
			break;
		if (c->x.filler > 0) {
			if (!send_filler(c, &gone))
				break;
			c->out.len = 0;
			(void)bytes_add(&c->out, c->x.tail.at, c->x.tail.len);
			c->out_sent = 0;
			continue;
		}
		if (c->x.streams) {
			if (c->x.stream.next < c->x.stream.count && c->due_us > mock.now_us) {
				wake_at(c, c->due_us);
				return true;
			}
			compose_stream(c);
			continue;
		}
		if (c->x.script.fault == MOCK_HANG_STREAM &&
			(c->x.stream.count > 0 || c->x.script.has_after)) {
			c->state = HANGING;
			return true;
		}
		if (!c->x.http11 || c->x.cut)
			c->last = true;
		end_exchange(c, false);
		if (!c->last)
			return true;
		close_connection(c);
		return false;
	}
	if (gone) {
		close_connection(c);
		return false;
	}
	return true; /* EPOLLOUT brings it back */
}

/* ---- what comes in ---- */

static bool
is_good_key(struct span key)
{
	if (mock.good_keys == NULL)
		return true;
	for (size_t i = 0; i < mock.good_count; i++)
		if (span_is(key, mock.good_keys[i]))
			return true;
	return false;
}

bool
mock_key_is_good(struct span key)
{
	return is_good_key(key);
}

int64_t
mock_now_s(void)
{
	return clock_wall_ms() / 1000;
}

/* "sk-bad429-1": 429.  0: nothing of the kind. */
static int
status_of_key(struct span key)
{
	const char *at = key.len < 6 ? NULL : memmem(key.at, key.len, "bad", 3);

	if (at == NULL || at + 6 > key.at + key.len)
		return 0;
	for (int i = 3; i < 6; i++)
		if (at[i] < '0' || at[i] > '9')
			return 0;
	return (at[3] - '0') * 100 + (at[4] - '0') * 10 + (at[5] - '0');
}

struct span
mock_header(const struct mock_exchange *x, const char *name)
{
	const char *end = x->head.at + x->head.len, *line = memchr(x->head.at, '\n', x->head.len);
	size_t len = strlen(name);

	while (line != NULL && ++line < end) {
		const char *eol = memchr(line, '\n', (size_t)(end - line)), *stop = eol;

		if (eol == NULL)
			break;
		if ((size_t)(eol - line) > len && line[len] == ':' &&
			strncasecmp(line, name, len) == 0) {
			line += len + 1;
			while (stop > line && (stop[-1] == '\r' || stop[-1] == ' '))
				stop--;
			while (line < stop && *line == ' ')
				line++;
			return (struct span){ line, (size_t)(stop - line) };
		}
		line = eol;
	}
	return SPAN_NONE;
}

/* As it stands in the query. */
static struct span
raw_parameter(struct span query, const char *name)
{
	size_t len = strlen(name);

	while (query.len > 0) {
		const char *and = memchr(query.at, '&', query.len);
		size_t one = and == NULL ? query.len : (size_t)(and-query.at);

		if (one > len && query.at[len] == '=' && memcmp(query.at, name, len) == 0)
			return (struct span){ query.at + len + 1, one - len - 1 };
		one += and != NULL;
		query.at += one;
		query.len -= one;
	}
	return SPAN_NONE;
}

bool
mock_parameter(struct span query, const char *name, char *out, size_t out_bytes)
{
	struct span raw = raw_parameter(query, name);
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.at[i] == '+' ? ' ' : raw.at[i], hex[3] = "";

		if (c == '%' && i + 2 < raw.len) {
			memcpy(hex, raw.at + i + 1, 2);
			c = (char)strtol(hex, NULL, 16);
			i += 2;
		}
		if (n + 1 >= out_bytes)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return raw.at != NULL;
}

struct request {
	struct span key;
	int64_t content_length; /* -1: chunked */
	bool expects, closes;
};

static bool
header_is(const char *line, size_t name_len, const char *name)
{
	return strlen(name) == name_len && strncasecmp(line, name, name_len) == 0;
}

static void
read_header(struct connection *c, struct request *r, const char *line, size_t name, struct span v)
{
	switch (name) { /* most lines are told apart by the length of their names */
	case 7:
		if (header_is(line, name, "api-key"))
			r->key = c->x.keys.api_key = v;
		break;
	case 9:
		if (header_is(line, name, "x-api-key"))
			r->key = c->x.keys.x_api_key = v;
		break;
	case 6:
		if (header_is(line, name, "expect"))
			r->expects = true;
		else if (header_is(line, name, "x-mock"))
			mock_script_read(&c->x.script, v);
		break;
	case 10:
		if (header_is(line, name, "connection"))
			r->closes = v.len == 5 && strncasecmp(v.at, "close", 5) == 0;
		break;
	case 13:
		if (!header_is(line, name, "authorization"))
			break;
		c->x.keys.authorization = v;
		if (v.len > 7 && strncasecmp(v.at, "Bearer ", 7) == 0)
			r->key = c->x.keys.bearer = (struct span){ v.at + 7, v.len - 7 };
		else if (v.len > 0 && (v.at = memmem(v.at, v.len, "Credential=", 11)) != NULL)
			r->key = (struct span){ v.at + 11, strcspn(v.at + 11, "/,\r") };
		break;
	case 14:
		if (header_is(line, name, "content-length"))
			r->content_length = read_number(v.at, v.len);
		else if (header_is(line, name, "x-goog-api-key"))
			r->key = c->x.keys.goog_key = v;
		break;
	case 17:
		if (header_is(line, name, "transfer-encoding"))
			r->content_length = -1;
		break;
	default:
		break;
	}
}

/* at: the request line; end: behind the last header's line end.  false: not HTTP. */
static bool
read_head(struct connection *c, struct request *r, const char *at, const char *end)
{
	const char *eol = memchr(at, '\n', (size_t)(end - at)), *space, *target, *query;
	struct mock_exchange *x = &c->x;

	x->head = (struct span){ at, (size_t)(end - at) };
	space = memchr(at, ' ', (size_t)(eol - at));
	if (space == NULL || space == at)
		return false;
	x->method = (struct span){ at, (size_t)(space - at) };
	target = space + 1;
	space = memchr(target, ' ', (size_t)(eol - target));
	if (space == NULL || *target != '/')
		return false;
	query = memchr(target, '?', (size_t)(space - target));
	x->path = (struct span){ target, (size_t)((query != NULL ? query : space) - target) };
	x->query =
		query == NULL ? SPAN_NONE : (struct span){ query + 1, (size_t)(space - query - 1) };
	x->http11 = eol - space > 8 && memcmp(space + 1, "HTTP/1.1", 8) == 0;
	x->script = mock.script;
	x->keys = (struct mock_keys){ .query_key = raw_parameter(x->query, "key") };
	r->key = x->keys.query_key;
	for (const char *line = eol + 1; line < end;) {
		const char *colon, *stop;
		struct span v;

		eol = memchr(line, '\n', (size_t)(end - line));
		colon = memchr(line, ':', (size_t)(eol - line));
		if (colon == NULL)
			return false;
		stop = eol > line && eol[-1] == '\r' ? eol - 1 : eol;
		v.at = colon + 1;
		while (v.at < stop && *v.at == ' ')
			v.at++;
		v.len = (size_t)(stop - v.at);
		read_header(c, r, line, (size_t)(colon - line), v);
		line = eol + 1;
	}
	return true;
}

/* 1: decoded into c->body, *used bytes long; 0: more is needed; -1: malformed. */
static int
decode_chunks(struct connection *c, const char *at, size_t len, size_t *used)
{
	size_t i = 0;

	c->body.len = 0;
	for (;;) {
		const char *eol = memchr(at + i, '\n', len - i);
		char *stop;
		unsigned long size;

		if (eol == NULL)
			return len - i > 100 ? -1 : 0;
		size = strtoul(at + i, &stop, 16);
		if (stop == at + i || size > WHOLE_BYTES)
			return -1;
		i = (size_t)(eol - at) + 1;
		if (size == 0)
			break;
		if (len - i < size + 2)
			return 0;
		if (bytes_add(&c->body, at + i, size) != 0)
			return -1;
		i += size + 2;
	}
	for (;;) { /* trailers, then an empty line */
		const char *eol = memchr(at + i, '\n', len - i);
		size_t line;

		if (eol == NULL)
			return 0;
		line = (size_t)(eol - (at + i));
		i += line + 1;
		if (line <= 1)
			break;
	}
	*used = i;
	return 1;
}

static void
answer_own(struct connection *c)
{
	struct bytes text = BYTES_LIMIT(MOCK_OUT_BYTES);

	if (span_is(c->x.path, "/mock/reset") && span_is(c->x.method, "POST")) {
		reset_stats();
		mock_reply(&c->x, 200, "application/json", SPAN_LIT("{}"));
	} else if (span_is(c->x.path, "/mock/stats")) {
		put_stats(&text);
		mock_reply(&c->x, 200, "application/json", bytes_span(&text));
	} else if (span_is(c->x.path, "/mock/expire") && span_is(c->x.method, "POST")) {
		mock_auth_expire();
		mock_reply(&c->x, 200, "application/json", SPAN_LIT("{}"));
	} else if (span_is(c->x.path, "/mock/keys") && span_is(c->x.method, "POST")) {
		if (mock_keys_tell(c->x.body))
			mock_reply(&c->x, 200, "application/json", SPAN_LIT("{}"));
		else
			openai_error(&c->x, 400);
	} else if (span_is(c->x.path, "/mock/keys")) {
		mock_keys_put(&text);
		mock_reply(&c->x, 200, "application/json", bytes_span(&text));
	} else if (span_is(c->x.path, "/mock/last")) {
		char path[PATH_BYTES * 4];

		(void)mock_parameter(c->x.query, "path", path, sizeof path);
		if (!mock_last_put(span_of(path), &text))
			(void)bytes_puts(&text, "null");
		mock_reply(&c->x, 200, "application/json", bytes_span(&text));
	} else {
		openai_error(&c->x, 404);
	}
	bytes_free(&text);
}

/* The request is whole: composes the answer.  false: the connection was closed. */
/* In place of the answer there would have been. */
static void
say_200(struct mock_exchange *x, const char *type, const char *body)
{
	x->out->len = 0;
	x->streams = false;
	x->filler = 0;
	(void)bytes_printf(x->out,
		"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", type,
		strlen(body), body);
}

static bool
answer(struct connection *c, const struct request *r)
{
	struct mock_exchange *x = &c->x;
	int bad = status_of_key(r->key);

	(void)span_copy(x->path, c->path, sizeof c->path);
	c->out.len = c->out_sent = 0;
	c->sent_bytes = 0;
	c->last = r->closes;
	x->out = &c->out;
	x->number = ++mock.number;
	x->filler = 0;
	x->streams = x->cut = false;
	x->stream.count = 0;
	x->stream.ends.len = 0;
	x->status = 0;
	x->dialect = MOCK_OPENAI;
	x->sap = x->vertex = x->openrouter = false;
	x->exception = NULL;
	x->deployment = "";
	c->state = SENDING;
	c->due_us = mock.now_us;
	if (span_starts(x->path, "/mock/")) {
		answer_own(c);
		return proceed(c);
	}
	c->key = key_of(r->key);
	c->key->requests++;
	x->quota = &c->key->quota;
	if (++c->key->in_flight > c->key->most_in_flight)
		c->key->most_in_flight = c->key->in_flight;
	if (++mock.open > mock.max_open)
		mock.max_open = mock.open;
	mock_last_keep(x);
	mock_route(x, bad, is_good_key(r->key));
	switch (mock_keys_answer(x, c->key->last4)) {
	case MOCK_TOLD_HANG:
		x->status = 0;
		c->state = HANGING;
		return true;
	case MOCK_TOLD_ANSWER:
		x->script.fault = MOCK_FINE;
		break;
	default:
		break;
	}
	switch (x->script.fault) {
	case MOCK_HANG:
		x->status = 0;
		c->state = HANGING;
		return true;
	case MOCK_REFUSE_ONCE:
		if (!c->key->refused) {
			c->key->refused = true;
			end_exchange(c, false);
			close_connection(c);
			return false;
		}
		break;
	case MOCK_EMPTY:
		say_200(x, x->streams ? "text/event-stream" : "application/json", "");
		break;
	case MOCK_PAGE:
		say_200(x, "text/html", "<html><body>The mock is being mended.</body></html>");
		break;
	case MOCK_ERROR_200:
		say_200(x, "application/json",
			"{\"error\":{\"message\":\"The mock plays being overloaded.\","
			"\"code\":503}}");
		break;
	case MOCK_GARBAGE:
		c->out.len = 0;
		(void)bytes_puts(&c->out, "I am a mock and this is not HTTP.\r\n\r\n");
		x->streams = false;
		x->cut = true;
		break;
	default:
		break;
	}
	if (x->script.delay_ms > 0) {
		c->state = HOLDING;
		wake_at(c, mock.now_us + x->script.delay_ms * 1000);
		return true;
	}
	return proceed(c);
}

static void
drop_input(struct connection *c)
{
	if (c->in_used < c->in.len)
		return;
	c->in.len = c->in_used = 0;
	if (c->in.room > KEPT_ROOM)
		bytes_free(&c->in);
}

/* Answers the requests that are there whole.  false: the connection was closed. */
static bool
take_requests(struct connection *c)
{
	while (c->state == READING && c->in_used < c->in.len && c->in.len >= c->in_want) {
		char *at = c->in.at + c->in_used, *end;
		size_t have = c->in.len - c->in_used, head, used = 0;
		struct request r = { 0 };

		c->in_want = 0;
		end = memmem(at, have, "\r\n\r\n", 4);
		if (end == NULL && have < HEAD_BYTES)
			return true;
		if (end == NULL || !read_head(c, &r, at, end + 2)) {
			close_connection(c);
			return false;
		}
		head = (size_t)(end - at) + 4;
		c->x.body = (struct span){ at + head, have - head };
		if (r.expects && !c->continued) {
			c->continued = true;
			(void)!send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
		}
		if (r.content_length < 0) {
			int rc = decode_chunks(c, at + head, have - head, &used);

			if (rc < 0 || (rc == 0 && have > WHOLE_BYTES)) {
				close_connection(c);
				return false;
			}
			if (rc == 0)
				return true;
			c->x.body = bytes_span(&c->body);
			c->x.body_bytes = (int64_t)c->body.len;
			used += head;
		} else if (r.content_length <= WHOLE_BYTES) {
			used = head + (size_t)r.content_length;
			if (have < used) {
				c->in_want = c->in_used + used;
				return true;
			}
			c->x.body.len = (size_t)r.content_length;
			c->x.body_bytes = r.content_length;
		} else {
			int64_t missing = r.content_length - (int64_t)(have - head);

			/* Its beginning stays in `in`; the rest is read and thrown away. */
			if (c->discard == 0 && have < head + PART_BYTES)
				return true;
			if (c->discard == 0)
				c->discard = missing;
			if (c->discard > 0)
				return true;
			c->x.body_bytes = r.content_length;
			used = have;
			c->discard = 0;
		}
		c->continued = false;
		c->in_used += used;
		if (!answer(c, &r))
			return false;
	}
	if (c->state == READING)
		drop_input(c);
	return true;
}

/* Reads what there is.  false: nothing more now. */
static bool
receive(struct connection *c)
{
	static char trash[1024 * 1024];
	size_t room;
	ssize_t n;

	if (c->discard > 0) {
		n = recv(c->fd, trash,
			c->discard < (int64_t)sizeof trash ? (size_t)c->discard : sizeof trash, 0);
		if (n > 0 && (c->discard -= n) == 0)
			c->discard = -1; /* it is whole */
	} else {
		room = c->in.room - c->in.len;
		if (c->in.at == NULL || room < READ_BYTES / 2) {
			size_t len = c->in.len;
			size_t more = len > READ_BYTES ? len : READ_BYTES;
			static const char nothing[READ_BYTES];

			/* Grows the buffer by appending; the length is put back. */
			for (size_t i = 0; i < more; i += READ_BYTES)
				if (bytes_add(&c->in, nothing, READ_BYTES) != 0) {
					c->eof = true;
					return false;
				}
			c->in.len = len;
			room = c->in.room - len;
		}
		n = recv(c->fd, c->in.at + c->in.len, room - 1, 0);
		if (n > 0) {
			c->in.len += (size_t)n;
			c->in.at[c->in.len] = '\0';
			return (size_t)n == room - 1;
		}
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		c->eof = true;
	return n > 0;
}

static void
on_event(struct connection *c, uint32_t events)
{
	/* Edge-triggered: with a hang-up behind the data, reading goes on to the end. */
	bool to_end = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

	if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
		for (;;) {
			bool more = receive(c);

			if (c->in.len - c->in_used > IN_BYTES - READ_BYTES)
				c->eof = true; /* pipelines more than anyone should */
			if (!take_requests(c))
				return;
			if (c->eof || (!more && !to_end && c->discard <= 0))
				break;
			if (!more && c->discard <= 0 && errno == EAGAIN)
				break;
			if (!more && c->discard > 0)
				break;
		}
	}
	if (c->eof) {
		close_connection(c);
		return;
	}
	if ((events & EPOLLOUT) != 0 && c->state == SENDING && c->heap_at == 0 && proceed(c))
		(void)take_requests(c);
}

static void
on_due(struct connection *c)
{
	heap_remove(c);
	c->state = SENDING;
	if (proceed(c))
		(void)take_requests(c);
}

static void
accept_all(void)
{
	for (;;) {
		int fd = accept4(mock.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
		struct connection *c = mock.free;

		if (fd == -1)
			return;
		if (c != NULL) {
			struct bytes in = c->in, out = c->out, body = c->body, tail = c->x.tail,
				     event = c->x.stream.event, ending = c->x.stream.ending,
				     pieces = c->x.stream.pieces, ends = c->x.stream.ends;
			struct connection *next_made = c->next_made;

			mock.free = c->next_free;
			memset(c, 0, sizeof *c);
			c->next_made = next_made;
			c->in = in;
			c->out = out;
			c->body = body;
			c->x.tail = tail;
			c->x.stream.event = event;
			c->x.stream.ending = ending;
			c->x.stream.pieces = pieces;
			c->x.stream.ends = ends;
			c->in.len = c->out.len = 0;
		} else if ((c = calloc(1, sizeof *c)) != NULL) {
			c->in.limit = IN_BYTES;
			c->body.limit = WHOLE_BYTES;
			c->out.limit = c->x.tail.limit = c->x.stream.event.limit =
				c->x.stream.ending.limit = c->x.stream.pieces.limit =
					c->x.stream.ends.limit = MOCK_OUT_BYTES;
			c->next_made = mock.made;
			mock.made = c;
		}
		if (c == NULL) {
			(void)close(fd);
			return;
		}
		c->fd = fd;
		e.data.ptr = c;
		mock.connections++;
		if (epoll_ctl(mock.epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0)
			close_connection(c);
	}
}

/* ---- the command ---- */

static int
fail(const char *what, const char *why)
{
	(void)fprintf(stderr, "sluice: mock: %s: %s\n", what, why);
	return 1;
}

static int
listen_on(const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;
	char host[64];
	const char *colon = strrchr(text, ':');
	int one = 1;

	if (colon == NULL ||
		!span_copy((struct span){ text, (size_t)(colon - text) }, host, sizeof host) ||
		inet_pton(AF_INET, host, &a.sin_addr) != 1)
		return fail(text, "not ADDRESS:PORT");
	a.sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10));
	mock.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (mock.listen_fd == -1)
		return fail("socket", strerror(errno));
	(void)setsockopt(mock.listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	/* Connections inherit it. */
	(void)setsockopt(mock.listen_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (bind(mock.listen_fd, (struct sockaddr *)&a, sizeof a) != 0 ||
		listen(mock.listen_fd, 4096) != 0 ||
		getsockname(mock.listen_fd, (struct sockaddr *)&a, &len) != 0)
		return fail(text, strerror(errno));
	(void)printf("mock listening on http://%s:%d\n", host, ntohs(a.sin_port));
	(void)fflush(stdout);
	return 0;
}

static int
load_keys(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[512];

	if (f == NULL)
		return fail(path, strerror(errno));
	/* one more than there are: no keys at all are told from an empty file */
	mock.good_keys = calloc(1, sizeof *mock.good_keys);
	while (fgets(line, sizeof line, f) != NULL) {
		char **grown = realloc(mock.good_keys, (mock.good_count + 1) * sizeof(*grown));

		line[strcspn(line, "\r\n")] = '\0';
		if (grown == NULL)
			break;
		mock.good_keys = grown;
		mock.good_keys[mock.good_count++] = strdup(line);
	}
	(void)fclose(f);
	return 0;
}

static void
on_signal(int number)
{
	(void)number;
	ended = 1;
}

/* Nothing is left for a leak checker to tell from a leak. */
static void
free_all(void)
{
	struct connection *c;

	while ((c = mock.made) != NULL) {
		mock.made = c->next_made;
		bytes_free(&c->in);
		bytes_free(&c->out);
		bytes_free(&c->body);
		bytes_free(&c->x.tail);
		bytes_free(&c->x.stream.event);
		bytes_free(&c->x.stream.ending);
		bytes_free(&c->x.stream.pieces);
		bytes_free(&c->x.stream.ends);
		free(c);
	}
	free(mock.heap);
	bytes_free(&mock.log);
	mock_last_free();
}

static int
run(void)
{
	struct epoll_event e = { .events = EPOLLIN }, ready[EVENTS_AT_ONCE];

	mock.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (mock.epoll_fd == -1 || epoll_ctl(mock.epoll_fd, EPOLL_CTL_ADD, mock.listen_fd, &e) != 0)
		return fail("epoll", strerror(errno));
	while (!ended) {
		int64_t next_us = mock.until_us;
		int n, wait_ms = -1;

		mock.now_us = clock_mono_us();
		while (mock.heap_count > 0 && mock.heap[1]->due_us <= mock.now_us)
			on_due(mock.heap[1]);
		write_log();
		if (mock.heap_count > 0 && (next_us == 0 || mock.heap[1]->due_us < next_us))
			next_us = mock.heap[1]->due_us;
		if (mock.until_us > 0 && mock.now_us >= mock.until_us)
			break;
		if (next_us > 0)
			wait_ms = (int)((next_us - mock.now_us + 999) / 1000);
		n = epoll_wait(mock.epoll_fd, ready, EVENTS_AT_ONCE, wait_ms);
		mock.now_us = clock_mono_us();
		for (int i = 0; i < n; i++) {
			struct connection *c = ready[i].data.ptr;

			if (c == NULL)
				accept_all();
			else if (c->fd != -1) /* else an earlier event closed it */
				on_event(c, ready[i].events);
		}
	}
	write_log();
	free_all();
	return 0;
}

int
mock_main(int argc, char **argv)
{
	struct rlimit files;
	struct sigaction quit = { .sa_handler = on_signal };
	const char *where = "127.0.0.1:0", *log = NULL, *keys = NULL, *quota = "";
	int64_t told = 1, seconds = 0, strict = 0, talk = 0;
	const struct {
		const char *name;
		int64_t *number;
		const char **text;
	} options[] = {
		{ "--listen", NULL, &where },
		{ "--chunks", &mock.script.chunks, NULL },
		{ "--chunk-bytes", &mock.script.chunk_bytes, NULL },
		{ "--interval-ms", &mock.script.interval_ms, NULL },
		{ "--delay-ms", &mock.script.delay_ms, NULL },
		{ "--seconds", &seconds, NULL },
		{ "--log", NULL, &log },
		{ "--keys", NULL, &keys },
		{ "--strict", &strict, NULL },
		{ "--talk", &talk, NULL },
		{ "--aws", NULL, &mock_auth.aws },
		{ "--client", NULL, &mock_auth.client },
		{ "--jwt-key", NULL, &mock_auth.jwt_key },
		{ "--only", NULL, &mock_auth.only },
		{ "--token-seconds", &mock_auth.token_seconds, NULL },
		{ "--quota", NULL, &quota },
		{ "--quota-told", &told, NULL },
	};

	mock.script = (struct mock_script){ .chunks = 5, .chunk_bytes = 20, .status = 200 };
	for (int i = 1; i < argc; i++) {
		size_t o = 0;

		if (strcmp(argv[i], "--help") == 0) {
			(void)fputs(help_options, stdout);
			(void)fputs(help_names, stdout);
			return 0;
		}
		while (o < sizeof options / sizeof options[0] &&
			strcmp(argv[i], options[o].name) != 0)
			o++;
		if (o == sizeof options / sizeof options[0] || i + 1 == argc) {
			(void)fail(argv[i], "no such option, or its value is missing");
			return 2;
		}
		i++;
		if (options[o].text != NULL)
			*options[o].text = argv[i];
		else
			*options[o].number = read_number(argv[i], strlen(argv[i]));
	}
	mock_auth.strict = strict != 0;
	mock.quotas = quota[0] != '\0';
	if (!mock_quota_read(quota, told == 0)) {
		(void)fail(quota, "quotas are requests/TIME=COUNT, parted by commas, four at most");
		return 2;
	}
	mock.script.talks = talk != 0;
	mock_script_read(&mock.script, SPAN_NONE); /* holds it to sensible values */
	mock.log.limit = MOCK_OUT_BYTES;
	mock.log_fd = -1;
	if (log != NULL &&
		(mock.log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) == -1)
		return fail(log, strerror(errno));
	if (keys != NULL && load_keys(keys) != 0)
		return 1;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)sigaction(SIGTERM, &quit, NULL);
	(void)sigaction(SIGINT, &quit, NULL);
	if (listen_on(where) != 0)
		return 1;
	mock.until_us = seconds > 0 ? clock_mono_us() + seconds * 1000000 : 0;
	return run();
}
