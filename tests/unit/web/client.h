/*
 * client.h - for the tests of this room: a web server's side of FastCGI in raw records over a UNIX
 * socket, and a real web_server whose loop runs in a thread, with a handler for a few paths.
 *
 * Static functions, because each test is linked from its own file only.
 */
#ifndef TESTS_WEB_CLIENT_H
#define TESTS_WEB_CLIENT_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "web/web.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MAYBE __attribute__((unused))
#define MIB   (1024 * 1024)

/* What a promise in ms is worth on a machine that has other things to do. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define PATIENCE 10
#else
#define PATIENCE 2
#endif

static MAYBE int64_t
now_ms(void)
{
	return clock_mono_us() / 1000;
}

static MAYBE void
nap_ms(int ms)
{
	(void)poll(NULL, 0, ms);
}

static MAYBE int
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}

static MAYBE long
resident_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long total = 0, resident = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &total, &resident), 2);
	(void)fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- the client ---- */

struct reply {
	struct bytes out; /* stdout of all records */
	bool ended;       /* END_REQUEST came */
	bool closed;      /* end of file or an error */
	bool broken;      /* a record that is none, which every web server takes for an error */
};

static MAYBE int
client_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval guard = { .tv_sec = 60 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &guard, sizeof guard);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &guard, sizeof guard);
	return fd;
}

static MAYBE int
client_send(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static MAYBE int
client_record(int fd, int type, const void *data, size_t len)
{
	unsigned char header[8] = { 1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8),
		(unsigned char)len, 0, 0 };

	if (client_send(fd, header, sizeof header) != 0)
		return -1;
	return client_send(fd, data, len);
}

static MAYBE void
add_param(struct bytes *b, const char *name, const char *value)
{
	size_t lens[2] = { strlen(name), strlen(value) };

	for (int i = 0; i < 2; i++) {
		unsigned char big[4] = { (unsigned char)(0x80 | lens[i] >> 24),
			(unsigned char)(lens[i] >> 16), (unsigned char)(lens[i] >> 8),
			(unsigned char)lens[i] };

		(void)bytes_add(b, lens[i] < 128 ? big + 3 : big, lens[i] < 128 ? 1 : 4);
	}
	(void)bytes_puts(b, name);
	(void)bytes_puts(b, value);
}

/* Begin and parameters: method, target, then NAME, value ..., NULL. */
static MAYBE void
client_request(int fd, bool keep, const char *method, const char *uri, ...)
{
	unsigned char begin[8] = { 0, 1, keep ? 1 : 0 };
	struct bytes params = BYTES_LIMIT(MIB);
	const char *name;
	va_list ap;

	add_param(&params, "REQUEST_METHOD", method);
	add_param(&params, "REQUEST_URI", uri);
	add_param(&params, "REMOTE_ADDR", "192.0.2.7");
	va_start(ap, uri);
	while ((name = va_arg(ap, const char *)) != NULL)
		add_param(&params, name, va_arg(ap, const char *));
	va_end(ap);
	assert_int_equal(client_record(fd, 1, begin, sizeof begin), 0);
	for (size_t at = 0; at < params.len; at += 60000)
		assert_int_equal(client_record(fd, 4, params.at + at,
					 params.len - at < 60000 ? params.len - at : 60000),
			0);
	assert_int_equal(client_record(fd, 4, "", 0), 0);
	bytes_free(&params);
}

/* A whole body and its end.  0, or -1 when the peer does not take it. */
static MAYBE int
client_body(int fd, const char *data, size_t len)
{
	for (size_t at = 0; at < len; at += 65535)
		if (client_record(fd, 5, data + at, len - at < 65535 ? len - at : 65535) != 0)
			return -1;
	return client_record(fd, 5, "", 0);
}

static MAYBE bool
receive(int fd, void *out, size_t len)
{
	char *at = out;

	while (len > 0) {
		ssize_t n = recv(fd, at, len, 0);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* Reads records until END_REQUEST or the end; with enough > 0 until that much of stdout came. */
static MAYBE void
client_read(int fd, struct reply *r, size_t enough)
{
	unsigned char header[8];
	static _Thread_local char content[65536 + 256];

	if (r->out.limit == 0)
		r->out.limit = 256 * MIB;
	while (!r->ended && !r->closed && (enough == 0 || r->out.len < enough)) {
		size_t len;

		if (!receive(fd, header, sizeof header)) {
			r->closed = true;
			return;
		}
		len = (size_t)(header[4] << 8 | header[5]);
		if (!receive(fd, content, len + header[6])) {
			r->closed = true;
			return;
		}
		if (header[1] == 6)
			assert_int_equal(bytes_add(&r->out, content, len), 0);
		r->ended = header[1] == 3;
		r->broken = header[0] != 1;
	}
}

static MAYBE int
reply_status(const struct reply *r)
{
	return r->out.at != NULL && strncmp(r->out.at, "Status: ", 8) == 0 ? atoi(r->out.at + 8)
									     : -1;
}

static MAYBE struct span
reply_content(const struct reply *r)
{
	const char *end = r->out.at == NULL ? NULL : strstr(r->out.at, "\r\n\r\n");

	if (end == NULL)
		return SPAN_LIT("");
	return (struct span){ end + 4, r->out.len - (size_t)(end + 4 - r->out.at) };
}

static MAYBE bool
reply_has(const struct reply *r, const char *text)
{
	return r->out.at != NULL && strstr(r->out.at, text) != NULL;
}

/* A GET on a connection of its own; its status. */
static MAYBE int
client_get(const char *path, const char *uri, struct reply *out)
{
	struct reply mine = { 0 }, *r = out == NULL ? &mine : out;
	int fd = client_connect(path), status;

	*r = (struct reply){ 0 };
	client_request(fd, false, "GET", uri, NULL);
	(void)client_body(fd, "", 0);
	client_read(fd, r, 0);
	status = r->ended ? reply_status(r) : -1;
	(void)close(fd);
	bytes_free(&mine.out);
	return status;
}

/* ---- the server ---- */

struct house;

/* One streamed reply. */
struct stream {
	struct house *house;
	struct web_request *request;
	uv_timer_t timer;
	struct stream *next; /* on the way to the loop */
	char path[16];
	long count, size, every_ms, sent;
	bool cut, closing;
};

struct house {
	char dir[64], path[96];
	int listen_fd, fds_before;
	uv_loop_t loop;
	uv_async_t wake;
	pthread_t thread;
	struct web_server *server;
	pthread_mutex_t lock;
	struct stream *waiting;
	bool stop;
	_Atomic int requests, drained, refused, refused_code, ended, gone, full, most_waiting;
	_Atomic int64_t gone_at_us;
};

static MAYBE char chunk_bytes[MIB];

static MAYBE void
on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static MAYBE void
on_stream_ended(void *ctx)
{
	struct stream *s = ctx;

	atomic_fetch_add(&s->house->ended, 1);
	s->timer.data = s;
	uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static MAYBE void
on_stream_gone(void *ctx)
{
	struct stream *s = ctx;

	atomic_store(&s->house->gone_at_us, clock_mono_us());
	atomic_fetch_add(&s->house->gone, 1);
	(void)uv_timer_stop(&s->timer);
	web_reply_end(s->request, false);
}

/* As much as there is room for, or one chunk a tick. */
static MAYBE void
stream_on(struct stream *s)
{
	bool room = true;

	while (room && s->sent < s->count) {
		s->sent++;
		room = web_write(s->request, chunk_bytes, (size_t)s->size);
		if (!room)
			atomic_fetch_add(&s->house->full, 1);
		if ((int)web_waiting(s->request) > atomic_load(&s->house->most_waiting))
			atomic_store(&s->house->most_waiting, (int)web_waiting(s->request));
		if (s->every_ms > 0)
			break;
	}
	if (s->sent >= s->count) {
		(void)uv_timer_stop(&s->timer);
		web_reply_end(s->request, s->cut);
	}
}

static MAYBE void
on_stream_room(void *ctx)
{
	stream_on(ctx);
}

static MAYBE void
on_stream_timer(uv_timer_t *timer)
{
	stream_on(timer->data);
}

static MAYBE void
begin_stream(struct stream *s)
{
	static const struct web_head_line lines[] = { { "Content-Type", "text/event-stream" } };
	struct web_events events = { s, on_stream_room, on_stream_gone, on_stream_ended };

	(void)uv_timer_init(&s->house->loop, &s->timer);
	s->timer.data = s;
	web_attach(s->request, &events);
	if (strcmp(s->path, "/whole") == 0) {
		web_reply(s->request, 200, "text/plain", NULL, 0, SPAN_LIT("whole"));
		return;
	}
	if (strcmp(s->path, "/silent") == 0)
		return;
	web_head(s->request, 200, lines, 1);
	if (strcmp(s->path, "/head") == 0)
		return;
	if (s->every_ms > 0)
		(void)uv_timer_start(&s->timer, on_stream_timer, 0, (uint64_t)s->every_ms);
	else
		stream_on(s);
}

static MAYBE void
on_house_drained(void *ctx)
{
	struct house *h = ctx;

	atomic_fetch_add(&h->drained, 1);
	uv_close((uv_handle_t *)&h->wake, NULL);
}

static MAYBE void
on_house_wake(uv_async_t *wake)
{
	struct house *h = wake->data;
	struct stream *list;
	bool stop;

	(void)pthread_mutex_lock(&h->lock);
	list = h->waiting;
	h->waiting = NULL;
	stop = h->stop;
	(void)pthread_mutex_unlock(&h->lock);
	while (list != NULL) {
		struct stream *s = list;

		list = s->next;
		begin_stream(s);
	}
	if (stop)
		web_stop(h->server);
}

static MAYBE bool
echo_header(void *ctx, const char *name, struct span value)
{
	(void)bytes_printf(ctx, "%s: %.*s\n", name, (int)value.len, value.at);
	return true;
}

static MAYBE void
answer_echo(struct web_request *r)
{
	struct bytes b = BYTES_LIMIT(256 * 1024);
	struct web_head_line lines[] = { { "X-Kind", "echo" } };

	(void)bytes_printf(&b, "method=%s\npath=%.*s\nquery=%.*s\naddress=%s\nhttps=%d\nuser=%s\nbody=%lld\n",
		web_method(r), (int)web_path(r).len, web_path(r).at, (int)web_query(r).len,
		web_query(r).at, web_address(r), web_is_https(r), web_remote_user(r),
		(long long)web_body_bytes(r));
	(void)web_each_header(r, echo_header, &b);
	web_answer(r, 200, "text/plain", lines, 1, bytes_span(&b));
	bytes_free(&b);
}

/* Where the body was, and its digest. */
static MAYBE void
answer_digest(struct web_request *r)
{
	char *all = malloc((size_t)web_body_bytes(r) + 1), text[200], hex[65];
	uint8_t digest[SHA256_BYTES];
	bool spooled = web_body_fd(r) >= 0;

	assert_non_null(all);
	if (spooled)
		assert_int_equal(read(web_body_fd(r), all, (size_t)web_body_bytes(r) + 1),
			web_body_bytes(r));
	else if (web_body(r).len > 0)
		memcpy(all, web_body(r).at, web_body(r).len);
	hash_sha256(all, (size_t)web_body_bytes(r), digest);
	hash_hex(digest, sizeof digest, hex);
	(void)snprintf(text, sizeof text, "%s %s", spooled ? "spooled" : "memory", hex);
	free(all);
	web_answer(r, 200, "text/plain", NULL, 0, span_of(text));
}

static MAYBE long
number_of(const struct web_request *r, const char *name, long other)
{
	char text[32];

	return web_query_get(r, name, text, sizeof text) < 0 ? other : atol(text);
}

static MAYBE void
on_house_request(void *ctx, struct web_request *r)
{
	struct house *h = ctx;
	struct span path = web_path(r);
	struct stream *s;

	atomic_fetch_add(&h->requests, 1);
	if (span_is(path, "/echo")) {
		answer_echo(r);
		return;
	}
	if (span_is(path, "/digest")) {
		answer_digest(r);
		return;
	}
	if (span_is(path, "/nap")) {
		nap_ms((int)number_of(r, "ms", 100));
		web_answer(r, 200, "text/plain", NULL, 0, SPAN_LIT("slept"));
		return;
	}
	if (span_is(path, "/large")) {
		web_answer(r, 200, "text/plain", NULL, 0, (struct span){ chunk_bytes, MIB });
		return;
	}
	s = calloc(1, sizeof *s);
	assert_non_null(s);
	s->house = h;
	s->request = r;
	s->count = number_of(r, "n", 1);
	s->size = number_of(r, "size", 10);
	s->every_ms = number_of(r, "ms", 0);
	s->cut = number_of(r, "cut", 0) != 0;
	(void)span_copy(path, s->path, sizeof s->path);
	/* From here on the request is the loop's. */
	(void)pthread_mutex_lock(&h->lock);
	s->next = h->waiting;
	h->waiting = s;
	(void)pthread_mutex_unlock(&h->lock);
	(void)uv_async_send(&h->wake);
}

static MAYBE void
on_house_refused(void *ctx, struct web_request *r, const struct err *why)
{
	struct house *h = ctx;

	(void)r;
	atomic_store(&h->refused_code, (int)why->code);
	atomic_fetch_add(&h->refused, 1);
}

static MAYBE const char *
make_house_error(void *ctx, const struct web_request *r, const struct err *why, struct bytes *out)
{
	(void)ctx;
	(void)r;
	(void)bytes_printf(out, "{\"error\":\"%s\"}", err_name(why->code));
	return "application/json";
}

static MAYBE void *
run_house(void *arg)
{
	struct house *h = arg;

	(void)uv_run(&h->loop, UV_RUN_DEFAULT);
	return NULL;
}

/* o: what differs from the defaults; socket and handler are put in. */
static MAYBE void
house_open(struct house *h, struct web_options o)
{
	struct err err = { 0 };

	h->fds_before = count_fds();
	(void)snprintf(h->dir, sizeof h->dir, "/tmp/web-test.XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	(void)snprintf(h->path, sizeof h->path, "%s/s", h->dir);
	for (size_t i = 0; i < sizeof chunk_bytes; i++)
		chunk_bytes[i] = (char)('a' + i % 23);
	h->listen_fd = web_listen(h->path, &err);
	if (h->listen_fd < 0)
		fail_msg("%s", err.text);
	assert_int_equal(uv_loop_init(&h->loop), 0);
	h->wake.data = h;
	(void)pthread_mutex_init(&h->lock, NULL);
	assert_int_equal(uv_async_init(&h->loop, &h->wake, on_house_wake), 0);
	o.listen_fd = h->listen_fd;
	o.handler = (struct web_handler){ h, on_house_request, on_house_refused, make_house_error,
		on_house_drained };
	h->server = web_start(&h->loop, &o, &err);
	if (h->server == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(pthread_create(&h->thread, NULL, run_house, h), 0);
}

static MAYBE void
house_stop(struct house *h)
{
	(void)pthread_mutex_lock(&h->lock);
	h->stop = true;
	(void)pthread_mutex_unlock(&h->lock);
	(void)uv_async_send(&h->wake);
}

/* Stops, waits until drained, and looks whether anything was left behind. */
static MAYBE void
house_close(struct house *h)
{
	struct web_stats stats;

	if (!h->stop)
		house_stop(h);
	(void)pthread_join(h->thread, NULL);
	assert_int_equal(atomic_load(&h->drained), 1);
	web_stats(h->server, &stats);
	assert_int_equal(stats.open, 0);
	assert_int_equal(stats.reading, 0);
	assert_int_equal(stats.body_memory_bytes, 0);
	web_free(h->server);
	assert_int_equal(uv_loop_close(&h->loop), 0);
	(void)pthread_mutex_destroy(&h->lock);
	(void)close(h->listen_fd);
	(void)unlink(h->path);
	assert_int_equal(rmdir(h->dir), 0);
	assert_int_equal(count_fds(), h->fds_before);
}

/* Waits until *value reaches want, at most ms. */
static MAYBE bool
wait_for(_Atomic int *value, int want, int ms)
{
	int64_t until = now_ms() + ms;

	while (atomic_load(value) < want)
		if (now_ms() > until)
			return false;
		else
			nap_ms(1);
	return true;
}

static MAYBE bool
wait_open(struct house *h, int want, int ms)
{
	int64_t until = now_ms() + ms;
	struct web_stats stats;

	for (;;) {
		web_stats(h->server, &stats);
		if (stats.open == want)
			return true;
		if (now_ms() > until)
			return false;
		nap_ms(1);
	}
}

static MAYBE int
set_up(void **state)
{
	struct err err;
	uv_loop_t first;

	(void)state;
	log_unbuffered();
	/* libuv opens a pipe for signals with the first loop, for good. */
	if (uv_loop_init(&first) != 0 || uv_loop_close(&first) != 0)
		return -1;
	return web_init(&err);
}

#endif
