/*
 * forward_test.c - calls against a provider that misbehaves on demand.
 */
#include "forward/forward.h"

#include "base/clock.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer.h"

/*
 * A name service of our own, in place of libc's for libcurl too: slow.test takes a second and a
 * half, NAME.test 20 ms, others do not exist.  So the tests need no network.
 */
static _Atomic int lookups, lookups_now, lookups_most;

int
getaddrinfo(
	const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	const char *dot = name == NULL ? NULL : strrchr(name, '.');
	int rc, now;

	/* Only these are counted: a cancelled look-up's thread may come late. */
	if (dot == NULL || strcmp(dot, ".test") != 0)
		return EAI_NONAME;
	now = atomic_fetch_add(&lookups_now, 1) + 1;
	atomic_fetch_add(&lookups, 1);
	if (now > atomic_load(&lookups_most))
		atomic_store(&lookups_most, now);
	(void)usleep(strcmp(name, "slow.test") == 0 ? 1500000 : 20000);
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	rc = real("127.0.0.1", service, hints, out);
	atomic_fetch_sub(&lookups_now, 1);
	return rc;
}

static struct peer peer;
static uv_loop_t loop;
static struct forward *forward;
static bool closed;

static void
on_closed(void *ctx)
{
	(void)ctx;
	closed = true;
}

static int
start(void **state)
{
	const struct forward_options o = {
		.connections_most = 100, .lookups_most = 4, .user_agent = "sluice-test"
	};
	struct err err;

	(void)state;
	peer_start(&peer);
	if (uv_loop_init(&loop) != 0)
		return -1;
	forward = forward_new(&loop, &o, &err);
	closed = false;
	return forward == NULL ? -1 : 0;
}

static int
stop(void **state)
{
	(void)state;
	forward_free(forward, on_closed, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	peer_stop(&peer);
	return closed && uv_loop_close(&loop) == 0 ? 0 : -1;
}

/* One call and all that was seen of it. */
struct seen {
	struct forward_call *call;
	int heads, ends, status;
	int64_t content_length;
	char content_type[80];
	struct bytes body;
	int64_t bytes; /* also when body is full */
	struct forward_end end;
	bool refuse_next; /* do not take what comes next */
	bool refuse_each; /* each piece only at the second time */
	bool cancel_on_data, cancel_on_head;
	void (*on_end)(struct seen *s);
	char twice[20], id[20];
};

static void
seen_head(void *ctx, const struct forward_head *h)
{
	struct seen *s = ctx;

	s->heads++;
	s->status = h->status;
	s->content_length = h->content_length;
	(void)span_copy(h->content_type, s->content_type, sizeof s->content_type);
	(void)span_copy(forward_response_header(h->call, "x-twice"), s->twice, sizeof s->twice);
	(void)span_copy(forward_response_header(h->call, "x-request-id"), s->id, sizeof s->id);
	if (s->cancel_on_head)
		forward_cancel(h->call);
}

static bool
seen_data(void *ctx, const char *data, size_t len)
{
	struct seen *s = ctx;

	assert_int_equal(s->heads, 1);
	assert_int_equal(s->ends, 0);
	if (s->cancel_on_data) {
		forward_cancel(s->call);
		assert_int_equal(s->ends, 0);
	}
	if (s->refuse_next) {
		s->refuse_next = false;
		return false;
	}
	s->refuse_next = s->refuse_each;
	s->bytes += (int64_t)len;
	(void)bytes_add(&s->body, data, len);
	return true;
}

static void
seen_end(void *ctx, const struct forward_end *end)
{
	struct seen *s = ctx;

	s->ends++;
	s->end = *end;
	if (s->on_end != NULL)
		s->on_end(s);
	s->call = NULL;
	uv_stop(&loop); /* or the turn that brought the end would go on to sleep */
}

/* Fills in what most calls want. */
static struct forward_request
get(const char *path)
{
	static char urls[8][200];
	static unsigned next;
	char *url = urls[next++ % 8];

	(void)snprintf(url, sizeof urls[0], "http://127.0.0.1:%d%s", peer.port, path);
	return (struct forward_request){ .method = "GET",
		.url = url,
		.body_fd = -1,
		.allow_private = true,
		.connect_ms = 5000,
		.first_byte_ms = 5000,
		.idle_ms = 5000,
		.total_ms = 30000 };
}

static void
begin(struct seen *s, const struct forward_request *q)
{
	struct forward_sink sink = { s, seen_head, seen_data, seen_end };
	struct err err;

	if (s->body.limit == 0)
		s->body.limit = 256 * 1024;
	s->call = forward_start(forward, q, &sink, &err);
	if (s->call == NULL)
		fail_msg("forward_start: %s", err.text);
}

static void
wait_end(struct seen *s)
{
	while (s->ends == 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(s->ends, 1);
}

static void
run_for(int ms)
{
	int64_t until = clock_mono_us() + ms * 1000;

	while (clock_mono_us() < until) {
		(void)uv_run(&loop, UV_RUN_NOWAIT);
		(void)usleep(1000);
	}
}

static struct seen
run(const struct forward_request *q)
{
	struct seen s = { 0 };

	begin(&s, q);
	wait_end(&s);
	return s;
}

static void
expect(const char *path, enum forward_outcome want, bool sent_any)
{
	struct forward_request q = get(path);
	struct seen s = run(&q);

	if (s.end.outcome != want)
		fail_msg("%s: outcome %d (%s)", path, s.end.outcome, s.end.text);
	assert_int_equal(s.end.sent_any, sent_any);
	if (want != FORWARD_DONE)
		assert_true(s.end.text[0] != '\0');
	bytes_free(&s.body);
}

/* ---- the plain way ---- */

static void
an_answer_arrives_whole_with_its_head_first(void **state)
{
	struct forward_request q = get("/json");
	struct seen s = run(&q);

	(void)state;
	assert_int_equal(s.end.outcome, FORWARD_DONE);
	assert_int_equal(s.heads, 1);
	assert_int_equal(s.status, 201);
	assert_int_equal(s.end.status, 201);
	assert_int_equal(s.content_length, 11);
	assert_string_equal(s.content_type, "application/json");
	assert_string_equal(s.body.at, "{\"ok\":true}");
	assert_string_equal(s.end.address, "127.0.0.1");
	assert_string_equal(s.end.text, "");
	assert_int_equal(s.end.received_bytes, 11);
	assert_true(s.end.sent_any);
	assert_true(s.end.connect_us > 0 && s.end.first_byte_us >= s.end.connect_us);
	assert_true(s.end.total_us >= s.end.first_byte_us);
	bytes_free(&s.body);
}

static bool
count_header(void *ctx, struct span name, struct span value)
{
	(void)value;
	if (span_is_nocase(name, "x-twice"))
		++*(int *)ctx;
	return true;
}

static int twice_count;
static void
count_at_end(struct seen *s)
{
	(void)forward_each_response_header(s->call, count_header, &twice_count);
	assert_true(span_is(forward_response_header(s->call, "X-REQUEST-id"), "abc"));
	assert_true(forward_response_header(s->call, "empty").len == 0);
	assert_null(forward_response_header(s->call, "absent").at);
}

static void
headers_are_found_in_any_case_the_last_one_counts(void **state)
{
	struct forward_request q = get("/json");
	struct seen s = { .on_end = count_at_end };

	(void)state;
	begin(&s, &q);
	wait_end(&s);
	assert_string_equal(s.twice, "two");
	assert_string_equal(s.id, "abc");
	assert_int_equal(twice_count, 2);
	bytes_free(&s.body);
}

static void
a_chunked_answer_may_come_in_any_pieces(void **state)
{
	struct forward_request q = get("/chunked");
	struct seen s = run(&q);

	(void)state;
	assert_int_equal(s.end.outcome, FORWARD_DONE);
	assert_int_equal(s.content_length, -1);
	assert_string_equal(s.body.at, "hello, world");
	bytes_free(&s.body);
}

static void
an_interim_head_is_not_the_head(void **state)
{
	struct forward_request q = get("/early");
	struct seen s = run(&q);

	(void)state;
	assert_int_equal(s.heads, 1);
	assert_int_equal(s.status, 200);
	assert_string_equal(s.body.at, "ok");
	bytes_free(&s.body);
}

static void
an_answer_without_a_length_ends_with_its_connection(void **state)
{
	struct forward_request q = get("/until-close");
	struct seen s = run(&q);

	(void)state;
	assert_int_equal(s.end.outcome, FORWARD_DONE);
	assert_string_equal(s.body.at, "all there is");
	bytes_free(&s.body);
}

static void
redirects_are_handed_on_and_not_followed(void **state)
{
	struct forward_request q = get("/redirect");
	struct seen s = run(&q);

	(void)state;
	assert_int_equal(s.status, 302);
	assert_int_equal(atomic_load(&peer.requests), 1);
	bytes_free(&s.body);
}

/* ---- what the provider gets ---- */

static void
only_the_listed_headers_are_sent(void **state)
{
	static const struct forward_header headers[] = { { "Authorization", "Bearer k" },
		{ "Content-Type", "application/json" }, { "X-Empty", "" },
		{ "Accept-Encoding", "gzip" }, { "Transfer-Encoding", "chunked" },
		{ "Content-Length", "7" }, { "connection", "close" } };
	struct forward_request q = get("/echo?x=%2e%2e/../y");
	char want[500];
	struct seen s;

	(void)state;
	q.method = "POST";
	q.headers = headers;
	q.header_count = sizeof headers / sizeof headers[0];
	q.has_body = true;
	q.body = SPAN_LIT("{}");
	s = run(&q);
	(void)snprintf(want, sizeof want,
		"POST /echo?x=%%2e%%2e/../y HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
		"User-Agent: sluice-test\r\nAccept-Encoding: identity\r\n"
		"Authorization: Bearer k\r\nContent-Type: application/json\r\nX-Empty:\r\n"
		"Content-Length: 2\r\n\r\n",
		peer.port);
	if (strncmp(s.body.at, want, strlen(want) - 2) != 0)
		fail_msg("sent:\n%s", s.body.at);
	bytes_free(&s.body);
}

static void
every_method_is_sent_as_it_is(void **state)
{
	static const struct {
		const char *method;
		bool has_body;
	} cases[] = { { "GET", false }, { "GET", true }, { "POST", false }, { "POST", true },
		{ "PUT", true }, { "PATCH", true }, { "DELETE", false }, { "DELETE", true },
		{ "OPTIONS", false }, { "GET", false } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct forward_request q = get("/echo");
		struct seen s;

		q.method = cases[i].method;
		q.has_body = cases[i].has_body;
		q.body = SPAN_LIT("body");
		s = run(&q);
		assert_int_equal(s.end.outcome, FORWARD_DONE);
		assert_true(span_starts(bytes_span(&s.body), cases[i].method));
		assert_non_null(strstr(s.body.at, cases[i].has_body ? "body 4 " : "body 0 "));
		bytes_free(&s.body);
	}
}

static unsigned
sum_of(const char *data, size_t len)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + (unsigned char)data[i];
	return sum;
}

static void
bodies_of_any_size_arrive_from_memory_and_from_a_file(void **state)
{
	static const size_t sizes[] = { 0, 1, 32 * 1024, 32 * 1024 + 1, 3 * 1024 * 1024 + 5 };
	char *data = malloc(4 * 1024 * 1024);

	(void)state;
	for (size_t i = 0; i < 4 * 1024 * 1024; i++)
		data[i] = (char)(i * 7 + i / 1000);
	for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
		size_t len = sizes[i / 2];
		struct forward_request q = get("/echo");
		char want[60];
		struct seen s;

		q.method = "POST";
		q.has_body = true;
		if (i % 2 == 0) {
			q.body = (struct span){ data, len };
		} else {
			q.body_fd = memfd_create("body", 0);
			q.body_bytes = (int64_t)len;
			assert_true(write(q.body_fd, data, len) == (ssize_t)len);
		}
		s = run(&q);
		(void)snprintf(want, sizeof want, "body %zu sum %u\n", len, sum_of(data, len));
		if (s.end.outcome != FORWARD_DONE || strstr(s.body.at, want) == NULL)
			fail_msg("%zu bytes, %s: %d %s", len, i % 2 ? "file" : "memory",
				s.end.outcome, s.body.at);
		if (i % 2 == 1)
			(void)close(q.body_fd);
		bytes_free(&s.body);
	}
	free(data);
}

static void
a_spooled_body_shorter_than_stated_is_an_error(void **state)
{
	struct forward_request q = get("/echo");
	struct seen s;

	(void)state;
	q.method = "POST";
	q.has_body = true;
	q.body_fd = memfd_create("body", 0);
	q.body_bytes = 100;
	assert_true(write(q.body_fd, "short", 5) == 5);
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_CUT);
	assert_non_null(strstr(s.end.text, "spooled"));
	(void)close(q.body_fd);
}

static void
what_could_forge_a_header_is_not_sent(void **state)
{
	static const struct forward_header bad[] = { { "X", "a\r\nY: b" }, { "X", "a\nb" },
		{ "X: y", "a" }, { "X\r\nY", "a" }, { "", "a" }, { "X;", "" } };
	static const char *const urls[] = { "ftp://127.0.0.1/", "http://", "http:///x",
		"http://a b/", "http://u:p@127.0.0.1/", "file:///etc/passwd", "127.0.0.1",
		"http://127.0.0.1/\r\nX: y" };
	struct seen seen = { 0 };
	struct forward_sink sink = { &seen, seen_head, seen_data, seen_end };
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct forward_request q = get("/json");

		q.headers = &bad[i];
		q.header_count = 1;
		assert_null(forward_start(forward, &q, &sink, &err));
	}
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		struct forward_request q = get("/json");

		q.url = urls[i];
		if (forward_start(forward, &q, &sink, &err) != NULL)
			fail_msg("%s was taken", urls[i]);
		assert_null(strstr(err.text, "u:p"));
	}
	run_for(20);
	assert_int_equal(seen.ends, 0);
	assert_int_equal(atomic_load(&peer.connections), 0);
}

/* ---- connections ---- */

static void
connections_are_used_again(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		expect("/json", FORWARD_DONE, true);
	assert_int_equal(atomic_load(&peer.requests), 20);
	assert_int_equal(atomic_load(&peer.connections), 1);
}

static void
a_request_is_sent_again_whole_when_the_kept_connection_was_just_closed(void **state)
{
	enum { BYTES = 200000 };
	static char body[BYTES] = "begin";

	(void)state;
	for (int from_file = 0; from_file < 2; from_file++) {
		struct forward_request q = get("/second-closes");
		char want[60];
		struct seen s;

		expect("/second-closes", FORWARD_DONE, true);
		q.method = "POST";
		q.has_body = true;
		q.body = (struct span){ body, BYTES };
		if (from_file) {
			q.body_fd = memfd_create("body", 0);
			q.body_bytes = BYTES;
			assert_true(write(q.body_fd, body, BYTES) == BYTES);
		}
		s = run(&q);
		(void)snprintf(want, sizeof want, "body %d sum %u\n", BYTES, sum_of(body, BYTES));
		if (s.end.outcome != FORWARD_DONE || strstr(s.body.at, want) == NULL)
			fail_msg("%d %s", s.end.outcome, s.end.text);
		if (from_file)
			(void)close(q.body_fd);
		bytes_free(&s.body);
	}
}

static void
a_request_is_not_sent_again_when_the_provider_took_its_time(void **state)
{
	(void)state;
	expect("/second-thinks-then-closes", FORWARD_DONE, true);
	expect("/second-thinks-then-closes", FORWARD_CUT, true);
	assert_int_equal(atomic_load(&peer.requests), 2);
}

static void
a_thousand_calls_at_once_all_get_their_answer(void **state)
{
	enum { CALLS = 1000 };
	struct seen *all = calloc(CALLS, sizeof *all);
	struct forward_request q = get("/tick");

	(void)state;
	for (int i = 0; i < CALLS; i++)
		begin(&all[i], &q);
	for (int i = 0; i < CALLS; i++) {
		wait_end(&all[i]);
		assert_int_equal(all[i].end.outcome, FORWARD_DONE);
		assert_string_equal(all[i].body.at, "..........");
		bytes_free(&all[i].body);
	}
	free(all);
}

/* ---- the guard ---- */

static void
private_addresses_are_refused_unless_allowed(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "[::1]", "0x7f.1",
		"2130706433", "[::ffff:127.0.0.1]" };

	(void)state;
	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
		struct forward_request q = get("/json");
		char url[100];
		struct seen s;

		(void)snprintf(url, sizeof url, "http://%s:%d/json", hosts[i], peer.port);
		q.url = url;
		q.allow_private = false;
		s = run(&q);
		if (s.end.outcome != FORWARD_REFUSED_ADDRESS)
			fail_msg("%s: %d %s", hosts[i], s.end.outcome, s.end.text);
		assert_false(s.end.sent_any);
	}
	assert_int_equal(atomic_load(&peer.connections), 0);
}

static void
a_connection_made_by_permission_is_not_lent_to_others(void **state)
{
	struct forward_request q = get("/json");
	struct seen s;

	(void)state;
	expect("/json", FORWARD_DONE, true);
	q.allow_private = false;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_REFUSED_ADDRESS);
	assert_false(s.end.sent_any);
	assert_int_equal(atomic_load(&peer.requests), 1);
}

/* ---- what can go wrong ---- */

static void
each_way_to_break_an_answer_has_its_outcome(void **state)
{
	static const struct {
		const char *path;
		enum forward_outcome want;
	} cases[] = {
		{ "/cut-length", FORWARD_CUT },
		{ "/cut-chunk", FORWARD_CUT },
		{ "/cut-head", FORWARD_CUT },
		{ "/close", FORWARD_CUT },
		{ "/garbage", FORWARD_GARBAGE },
		{ "/bad-chunk", FORWARD_GARBAGE },
		{ "/huge-head", FORWARD_GARBAGE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect(cases[i].path, cases[i].want, true);
}

static void
a_refused_connection_says_so_and_nothing_was_sent(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct forward_request q = get("/");
	char url[100];
	struct seen s;

	(void)state;
	/* Bound but not listening: nobody else gets the port meanwhile. */
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	(void)snprintf(url, sizeof url, "http://127.0.0.1:%d/v1?key=secret", ntohs(a.sin_port));
	q.url = url;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_NO_CONNECT);
	assert_false(s.end.sent_any);
	assert_null(strstr(s.end.text, "secret"));
	assert_non_null(strstr(s.end.text, "127.0.0.1"));
	(void)close(fd);
}

static void
an_unknown_host_is_no_host(void **state)
{
	struct forward_request q = get("/");
	struct seen s;

	(void)state;
	q.url = "http://nowhere.invalid/v1?key=secret";
	s = run(&q);
	if (s.end.outcome != FORWARD_NO_HOST)
		fail_msg("%d %s", s.end.outcome, s.end.text);
	assert_false(s.end.sent_any);
	assert_null(strstr(s.end.text, "secret"));
}

static void
many_calls_to_an_unknown_host_all_end(void **state)
{
	struct seen all[200] = { 0 };
	struct forward_request q = get("/");

	(void)state;
	q.url = "http://nowhere.invalid/";
	for (int i = 0; i < 200; i++)
		begin(&all[i], &q);
	for (int i = 0; i < 200; i += 2)
		forward_cancel(all[i].call);
	for (int i = 0; i < 200; i++) {
		wait_end(&all[i]);
		assert_int_equal(all[i].end.outcome == FORWARD_CANCELLED, i % 2 == 0);
		if (i % 2 == 1)
			assert_int_equal(all[i].end.outcome, FORWARD_NO_HOST);
	}
}

/* A call to that host at the test's provider. */
static void
begin_at(struct seen *s, const char *host)
{
	struct forward_request q = get("/json");
	char url[100];

	(void)snprintf(url, sizeof url, "http://%s:%d/json", host, peer.port);
	q.url = url;
	begin(s, &q);
}

static void
calls_to_one_name_at_once_share_a_look_up(void **state)
{
	enum { CALLS = 200 };
	static struct seen all[CALLS];

	(void)state;
	atomic_store(&lookups, 0);
	for (int i = 0; i < CALLS; i++)
		begin_at(&all[i], "one.test");
	for (int i = 0; i < CALLS; i++) {
		wait_end(&all[i]);
		assert_int_equal(all[i].end.outcome, FORWARD_DONE);
		bytes_free(&all[i].body);
	}
	assert_in_range(atomic_load(&lookups), 1, 2);
}

static void
look_ups_under_way_are_bounded(void **state)
{
	enum { CALLS = 100 };
	static struct seen all[CALLS];

	(void)state;
	atomic_store(&lookups_most, 0);
	for (int i = 0; i < CALLS; i++) {
		char host[40];

		(void)snprintf(host, sizeof host, "host-%d.test", i);
		begin_at(&all[i], host);
	}
	for (int i = 0; i < CALLS; i++) {
		wait_end(&all[i]);
		assert_int_equal(all[i].end.outcome, FORWARD_DONE);
		bytes_free(&all[i].body);
	}
	assert_in_range(atomic_load(&lookups_most), 1, 4);
}

static void
a_slow_name_server_holds_up_neither_cancelling_nor_other_hosts(void **state)
{
	struct seen slow[10] = { 0 }, other = { 0 };
	int64_t at;

	(void)state;
	for (int i = 0; i < 10; i++)
		begin_at(&slow[i], "slow.test");
	run_for(30);
	at = clock_mono_us();
	for (int i = 0; i < 10; i++)
		forward_cancel(slow[i].call);
	for (int i = 0; i < 10; i++) {
		wait_end(&slow[i]);
		assert_int_equal(slow[i].end.outcome, FORWARD_CANCELLED);
		assert_false(slow[i].end.sent_any);
	}
	begin_at(&other, "other.test");
	wait_end(&other);
	assert_int_equal(other.end.outcome, FORWARD_DONE);
	assert_in_range(clock_mono_us() - at, 0, 1000000);
	bytes_free(&other.body);
	/* The threads left behind end by themselves; let them, for the leak checkers. */
	while (atomic_load(&lookups_now) > 0)
		(void)usleep(1000);
	(void)usleep(20000);
}

/* ---- timeouts ---- */

static void
a_full_backlog_is_a_connect_timeout(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), fill[4];
	struct forward_request q = get("/");
	char url[100];
	struct seen s;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	for (int i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fill[i], (struct sockaddr *)&a, sizeof a);
	}
	(void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
	q.url = url;
	q.connect_ms = 250;
	s = run(&q);
	if (s.end.outcome != FORWARD_TIMEOUT_CONNECT)
		fail_msg("%d %s", s.end.outcome, s.end.text);
	assert_false(s.end.sent_any);
	assert_in_range(s.end.total_us, 240000, 600000);
	for (int i = 0; i < 4; i++)
		(void)close(fill[i]);
	(void)close(fd);
}

static void
silence_before_the_head_is_a_first_byte_timeout(void **state)
{
	struct forward_request q = get("/hang");
	struct seen s;

	(void)state;
	q.first_byte_ms = 200;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_TIMEOUT_FIRST_BYTE);
	assert_int_equal(s.end.status, 0);
	assert_true(s.end.sent_any);
	assert_in_range(s.end.total_us, 190000, 500000);
}

static void
silence_within_the_body_is_an_idle_timeout(void **state)
{
	struct forward_request q = get("/stall");
	struct seen s;

	(void)state;
	q.idle_ms = 200;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_TIMEOUT_IDLE);
	assert_int_equal(s.end.status, 200);
	assert_string_equal(s.body.at, "hello");
	assert_in_range(s.end.total_us, 190000, 500000);
	bytes_free(&s.body);
}

static void
bytes_that_keep_coming_are_not_idle_but_count_in_all(void **state)
{
	struct forward_request q = get("/tick");
	struct seen s;

	(void)state;
	q.idle_ms = 300;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_DONE);
	bytes_free(&s.body);
	q.total_ms = 400;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_TIMEOUT_TOTAL);
	bytes_free(&s.body);
}

static void
a_rest_is_not_idle(void **state)
{
	struct forward_request q = get("/stall");
	struct seen s = { .refuse_next = true };

	(void)state;
	q.idle_ms = 200;
	begin(&s, &q);
	run_for(600);
	assert_int_equal(s.ends, 0);
	assert_int_equal(s.bytes, 0);
	forward_resume(s.call);
	assert_int_equal(s.bytes, 0); /* not from within */
	run_for(50);
	assert_int_equal(s.bytes, 5);
	assert_int_equal(s.ends, 0);
	wait_end(&s);
	assert_int_equal(s.end.outcome, FORWARD_TIMEOUT_IDLE);
	bytes_free(&s.body);
}

/* ---- resting ---- */

static void
a_slow_reader_costs_little_memory_and_loses_nothing(void **state)
{
	struct forward_request q = get("/big");
	struct seen s = { .refuse_each = true, .refuse_next = true, .body.limit = 1 };
	size_t before, peak = 0;
	int64_t unread;

	(void)state;
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	begin(&s, &q);
	run_for(300);
	/* All that is under way lies in the kernel's socket buffers and one buffer of ours. */
	unread = atomic_load(&peer.unread_bytes);
	assert_true(unread < 16 * 1024 * 1024);
	run_for(100);
	assert_true(atomic_load(&peer.unread_bytes) == unread);
	while (s.ends == 0) {
		size_t now = mallinfo2().uordblks + mallinfo2().hblkhd;

		if (now > before && now - before > peak)
			peak = now - before;
		forward_resume(s.call);
		(void)uv_run(&loop, UV_RUN_ONCE);
	}
	assert_int_equal(s.end.outcome, FORWARD_DONE);
	assert_int_equal(s.bytes, PEER_BIG_BYTES);
	assert_int_equal(s.end.received_bytes, PEER_BIG_BYTES);
	print_message("60 MB to a resting reader: at most %zu bytes held\n", peak);
	assert_true(peak < 1024 * 1024);
	bytes_free(&s.body);
}

static void
cancelling_a_resting_call_ends_it(void **state)
{
	struct forward_request q = get("/stall");
	struct seen s = { .refuse_next = true };

	(void)state;
	begin(&s, &q);
	run_for(100);
	forward_resume(s.call);
	forward_cancel(s.call);
	wait_end(&s);
	assert_int_equal(s.end.outcome, FORWARD_CANCELLED);
	assert_int_equal(s.bytes, 0);
}

/* ---- cancelling ---- */

static void
the_provider_notices_a_cancelled_call_at_once(void **state)
{
	static const char *const paths[] = { "/hang", "/stall" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct forward_request q = get(paths[i]);
		struct seen s = { 0 };
		int64_t at;

		begin(&s, &q);
		run_for(100);
		atomic_store(&peer.gone_us, 0);
		at = clock_mono_us();
		forward_cancel(s.call);
		assert_int_equal(s.ends, 0); /* not from within */
		wait_end(&s);
		assert_int_equal(s.end.outcome, FORWARD_CANCELLED);
		assert_true(s.end.sent_any);
		while (atomic_load(&peer.gone_us) == 0 && clock_mono_us() < at + 1000000)
			(void)usleep(100);
		assert_in_range(atomic_load(&peer.gone_us), at, at + 50000);
		bytes_free(&s.body);
	}
}

static void
a_sink_may_cancel_from_its_callbacks(void **state)
{
	struct forward_request q = get("/stall");
	struct seen on_data = { .cancel_on_data = true }, on_head = { .cancel_on_head = true };

	(void)state;
	begin(&on_data, &q);
	begin(&on_head, &q);
	wait_end(&on_data);
	wait_end(&on_head);
	assert_int_equal(on_data.end.outcome, FORWARD_CANCELLED);
	assert_int_equal(on_head.end.outcome, FORWARD_CANCELLED);
	assert_int_equal(on_head.bytes, 0);
	bytes_free(&on_data.body);
}

static void
a_call_cancelled_before_it_began_ends_unsent(void **state)
{
	struct forward_request q = get("/json");
	struct seen s = { 0 };

	(void)state;
	begin(&s, &q);
	forward_cancel(s.call);
	forward_cancel(s.call);
	forward_resume(s.call);
	assert_int_equal(s.ends, 0);
	wait_end(&s);
	run_for(20);
	assert_int_equal(s.ends, 1);
	assert_int_equal(s.end.outcome, FORWARD_CANCELLED);
	assert_int_equal(atomic_load(&peer.requests), 0);
}

static struct seen follower;
static void
start_another(struct seen *s)
{
	struct forward_request q = get("/json");

	(void)s;
	begin(&follower, &q);
}

static void
the_end_of_one_call_may_start_the_next(void **state)
{
	struct forward_request q = get("/close");
	struct seen s = { .on_end = start_another };

	(void)state;
	memset(&follower, 0, sizeof follower);
	begin(&s, &q);
	wait_end(&s);
	wait_end(&follower);
	assert_int_equal(follower.end.outcome, FORWARD_DONE);
	bytes_free(&follower.body);
}

/* ---- TLS ---- */

static char tls_dir[] = "/tmp/sluice-forward-XXXXXX";
static char tls_cert[64], tls_key[64];

/* openssl s_server on a free port, which it prints. */
static pid_t
tls_server(int *port)
{
	int out[2];
	char line[200];
	FILE *from;
	pid_t pid;

	*port = 0;
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(out[1], 1);
		(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		(void)close(out[0]);
		(void)close(out[1]);
		(void)execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert",
			tls_cert, "-key", tls_key, "-www", "-naccept", "20", (char *)NULL);
		_exit(127);
	}
	(void)close(out[1]);
	from = fdopen(out[0], "r");
	while (*port == 0 && fgets(line, sizeof line, from) != NULL)
		if (strncmp(line, "ACCEPT", 6) == 0)
			*port = atoi(strrchr(line, ':') + 1);
	(void)fclose(from);
	return pid;
}

static void
tls_is_verified(void **state)
{
	char command[600], url[100], wrong[100];
	struct forward_request q = get("/");
	struct seen s;
	pid_t pid;
	int port;

	(void)state;
	assert_non_null(mkdtemp(tls_dir));
	(void)snprintf(tls_cert, sizeof tls_cert, "%s/cert.pem", tls_dir);
	(void)snprintf(tls_key, sizeof tls_key, "%s/key.pem", tls_dir);
	(void)snprintf(command, sizeof command,
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
		" -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s "
		"2>/dev/null",
		tls_key, tls_cert);
	assert_int_equal(system(command), 0);
	pid = tls_server(&port);
	assert_true(port > 0);
	(void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", port);
	(void)snprintf(wrong, sizeof wrong, "https://localhost:%d/", port);
	q.url = url;

	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_TLS);
	assert_false(s.end.sent_any);
	print_message("%s\n", s.end.text);

	q.ca_file = tls_cert;
	s = run(&q);
	if (s.end.outcome != FORWARD_DONE)
		fail_msg("%d %s", s.end.outcome, s.end.text);
	assert_int_equal(s.status, 200);
	bytes_free(&s.body);

	/* The certificate is trusted, but it is not for this name. */
	q.url = wrong;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_TLS);

	/* And what one upstream trusts, another does not. */
	q.url = url;
	q.ca_file = NULL;
	s = run(&q);
	assert_int_equal(s.end.outcome, FORWARD_TLS);

	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, NULL, 0);
	(void)unlink(tls_cert);
	(void)unlink(tls_key);
	(void)rmdir(tls_dir);
}

#define PROMISE(name) cmocka_unit_test_setup_teardown(name, start, stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PROMISE(an_answer_arrives_whole_with_its_head_first),
		PROMISE(headers_are_found_in_any_case_the_last_one_counts),
		PROMISE(a_chunked_answer_may_come_in_any_pieces),
		PROMISE(an_interim_head_is_not_the_head),
		PROMISE(an_answer_without_a_length_ends_with_its_connection),
		PROMISE(redirects_are_handed_on_and_not_followed),
		PROMISE(only_the_listed_headers_are_sent),
		PROMISE(every_method_is_sent_as_it_is),
		PROMISE(bodies_of_any_size_arrive_from_memory_and_from_a_file),
		PROMISE(a_spooled_body_shorter_than_stated_is_an_error),
		PROMISE(what_could_forge_a_header_is_not_sent),
		PROMISE(connections_are_used_again),
		PROMISE(a_request_is_sent_again_whole_when_the_kept_connection_was_just_closed),
		PROMISE(a_request_is_not_sent_again_when_the_provider_took_its_time),
		PROMISE(a_thousand_calls_at_once_all_get_their_answer),
		PROMISE(private_addresses_are_refused_unless_allowed),
		PROMISE(a_connection_made_by_permission_is_not_lent_to_others),
		PROMISE(each_way_to_break_an_answer_has_its_outcome),
		PROMISE(a_refused_connection_says_so_and_nothing_was_sent),
		PROMISE(an_unknown_host_is_no_host),
		PROMISE(many_calls_to_an_unknown_host_all_end),
		PROMISE(calls_to_one_name_at_once_share_a_look_up),
		PROMISE(look_ups_under_way_are_bounded),
		PROMISE(a_slow_name_server_holds_up_neither_cancelling_nor_other_hosts),
		PROMISE(a_full_backlog_is_a_connect_timeout),
		PROMISE(silence_before_the_head_is_a_first_byte_timeout),
		PROMISE(silence_within_the_body_is_an_idle_timeout),
		PROMISE(bytes_that_keep_coming_are_not_idle_but_count_in_all),
		PROMISE(a_rest_is_not_idle),
		PROMISE(a_slow_reader_costs_little_memory_and_loses_nothing),
		PROMISE(cancelling_a_resting_call_ends_it),
		PROMISE(the_provider_notices_a_cancelled_call_at_once),
		PROMISE(a_sink_may_cancel_from_its_callbacks),
		PROMISE(a_call_cancelled_before_it_began_ends_unsent),
		PROMISE(the_end_of_one_call_may_start_the_next),
		PROMISE(tls_is_verified),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("forward/forward", tests, NULL, NULL);
}
