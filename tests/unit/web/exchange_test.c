/* Requests in and replies out over a real FastCGI socket. */
#include "client.h"

static void
what_was_asked_arrives(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	fd = client_connect(h.path);
	client_request(fd, false, "POST", "/echo?q=a%20b&m2=%2f", "HTTP_X_API_KEY", "k1",
		"CONTENT_TYPE", "application/json", "CONTENT_LENGTH", "5", "HTTP_PROXY", "evil",
		"SCRIPT_NAME", "/other", "PATH_INFO", "/wrong", "REMOTE_USER", "eve", "HTTPS", "on",
		"HTTP_X_FORWARDED_FOR", "203.0.113.9", NULL);
	assert_int_equal(client_body(fd, "hello", 5), 0);
	client_read(fd, &r, 0);
	assert_true(r.ended);
	assert_int_equal(reply_status(&r), 200);
	assert_true(reply_has(&r, "Status: 200 OK\r\n"));
	assert_true(reply_has(&r, "X-Kind: echo\r\n"));
	assert_true(reply_has(&r, "method=POST\npath=/echo\nquery=q=a%20b&m2=%2f\n"));
	assert_true(reply_has(&r, "address=192.0.2.7\nhttps=1\nuser=eve\nbody=5\n"));
	assert_true(reply_has(&r, "x-api-key: k1\n"));
	assert_true(reply_has(&r, "content-type: application/json\n"));
	assert_true(reply_has(&r, "content-length: 5\n"));
	assert_false(reply_has(&r, "evil"));
	(void)close(fd);
	bytes_free(&r.out);
	house_close(&h);
}

static void
the_end_does_not_linger(void **state)
{
	static const char *const targets[] = { "/echo", "/whole", "/stream?n=3", "/large" };
	struct house h = { 0 };

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
		struct reply r = { 0 };
		int64_t began = now_ms();
		int fd = client_connect(h.path);
		char byte;

		client_request(fd, false, "GET", targets[i], NULL);
		(void)client_body(fd, "", 0);
		client_read(fd, &r, 0);
		assert_int_equal(reply_status(&r), 200);
		/* The web server keeps its side open: the connection must end all the same. */
		assert_int_equal(recv(fd, &byte, 1, 0), 0);
		assert_true(wait_open(&h, 0, 1000));
		if (now_ms() - began > 500 * PATIENCE)
			fail_msg("%s took %lld ms", targets[i], (long long)(now_ms() - began));
		(void)close(fd);
		bytes_free(&r.out);
	}
	house_close(&h);
}

static void
chunks_come_one_by_one(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int64_t began, first;
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	fd = client_connect(h.path);
	client_request(fd, false, "GET", "/stream?n=5&size=100&ms=60", NULL);
	(void)client_body(fd, "", 0);
	began = now_ms();
	client_read(fd, &r, 1);
	first = now_ms() - began;
	client_read(fd, &r, 0);
	assert_true(first < 100 * PATIENCE);
	assert_true(now_ms() - began >= 200);
	assert_true(r.ended);
	assert_int_equal(reply_content(&r).len, 500);
	(void)close(fd);
	bytes_free(&r.out);
	house_close(&h);
}

static void
a_head_goes_out_without_a_body(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	fd = client_connect(h.path);
	client_request(fd, false, "GET", "/head", NULL);
	(void)client_body(fd, "", 0);
	client_read(fd, &r, 1);
	assert_int_equal(reply_status(&r), 200);
	assert_true(reply_has(&r, "Content-Type: text/event-stream\r\n\r\n"));
	(void)close(fd);
	assert_true(wait_for(&h.ended, 1, 1000));
	bytes_free(&r.out);
	house_close(&h);
}

static void
a_fast_stream_arrives_whole(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	fd = client_connect(h.path);
	client_request(fd, false, "GET", "/stream?n=2000&size=9999", NULL);
	(void)client_body(fd, "", 0);
	nap_ms(50); /* so that it must wait for room */
	client_read(fd, &r, 0);
	assert_true(r.ended);
	assert_int_equal(reply_content(&r).len, 2000 * 9999);
	for (size_t i = 0; i < 2000; i++)
		assert_memory_equal(reply_content(&r).at + i * 9999, chunk_bytes, 9999);
	assert_true(atomic_load(&h.full) > 0);
	(void)close(fd);
	bytes_free(&r.out);
	house_close(&h);
}

static void
a_slow_reader_holds_little_and_stops_nobody(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	long before;
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	before = resident_kb();
	fd = client_connect(h.path);
	client_request(fd, false, "GET", "/stream?n=6000&size=10000", NULL); /* 60 MB */
	(void)client_body(fd, "", 0);
	client_read(fd, &r, 1000);
	for (int i = 0; i < 100; i++) {
		int64_t began = now_ms();

		assert_int_equal(client_get(h.path, "/stream?n=3", NULL), 200);
		if (now_ms() - began > 300 * PATIENCE)
			fail_msg("waited %lld ms", (long long)(now_ms() - began));
	}
	assert_true(atomic_load(&h.most_waiting) <= WEB_QUEUE_BYTES + 10000);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	if (resident_kb() - before > 2048)
		fail_msg("grew by %ld KB", resident_kb() - before);
#else
	(void)before;
#endif
	(void)close(fd);
	bytes_free(&r.out);
	house_close(&h);
	assert_int_equal(atomic_load(&h.gone), 1);
}

static void
a_client_that_leaves_is_noticed_at_once(void **state)
{
	static const char *const targets[] = { "/silent", "/head", "/stream?n=1000&ms=1000" };
	struct house h = { 0 };

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	for (int i = 0; i < 3; i++) {
		int fd = client_connect(h.path);
		int64_t left;

		client_request(fd, false, "GET", targets[i], NULL);
		(void)client_body(fd, "", 0);
		assert_true(wait_for(&h.requests, i + 1, 1000));
		nap_ms(20);
		left = clock_mono_us();
		(void)close(fd);
		assert_true(wait_for(&h.gone, i + 1, 1000));
		if (atomic_load(&h.gone_at_us) - left > 50000 * PATIENCE)
			fail_msg("noticed after %lld us",
				(long long)(atomic_load(&h.gone_at_us) - left));
		assert_true(wait_for(&h.ended, i + 1, 1000));
	}
	house_close(&h);
}

static void
a_half_closed_connection_and_an_abort_are_leaving_too(void **state)
{
	struct house h = { 0 };
	int fd[2];

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	for (int i = 0; i < 2; i++) {
		fd[i] = client_connect(h.path);
		client_request(fd[i], false, "GET", "/silent", NULL);
		(void)client_body(fd[i], "", 0);
	}
	assert_true(wait_for(&h.requests, 2, 1000));
	(void)shutdown(fd[0], SHUT_WR);
	assert_true(wait_for(&h.gone, 1, 1000));
	(void)client_record(fd[1], 2, "", 0);
	assert_true(wait_for(&h.gone, 2, 1000));
	(void)close(fd[0]);
	(void)close(fd[1]);
	house_close(&h);
}

static void
a_cut_reply_does_not_look_complete(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	fd = client_connect(h.path);
	client_request(fd, true, "GET", "/stream?n=1&cut=1", NULL);
	(void)client_body(fd, "", 0);
	client_read(fd, &r, 0);
	assert_true(r.closed);
	assert_true(r.broken);
	assert_false(r.ended);
	(void)close(fd);
	bytes_free(&r.out);
	house_close(&h);
}

static void
kept_connections_are_parked_and_used_again(void **state)
{
	enum { KEPT = 40, ROUNDS = 3 };
	struct house h = { 0 };
	int fds[KEPT];

	(void)state;
	house_open(&h, (struct web_options){ .threads_most = 4 });
	for (int i = 0; i < KEPT; i++)
		fds[i] = client_connect(h.path);
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < KEPT; i++) {
			struct reply r = { 0 };

			client_request(fds[i], true, "POST",
				i % 3 == 0   ? "/digest"
				: i % 3 == 1 ? "/whole"
					     : "/stream?n=2",
				"CONTENT_LENGTH", "4", NULL);
			assert_int_equal(client_body(fds[i], "body", 4), 0);
			client_read(fds[i], &r, 0);
			assert_true(r.ended);
			assert_int_equal(reply_status(&r), 200);
			bytes_free(&r.out);
		}
	/* They hold no thread: with four threads and forty kept ones, another is served at once. */
	assert_int_equal(client_get(h.path, "/echo", NULL), 200);
	assert_true(wait_open(&h, 0, 1000));
	house_stop(&h);
	for (int i = 0; i < KEPT; i++) {
		char byte;

		assert_int_equal(recv(fds[i], &byte, 1, 0), 0);
		(void)close(fds[i]);
	}
	house_close(&h);
}

static void
stopping_lets_the_running_ones_finish(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int64_t began;
	int fd, silent;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	silent = client_connect(h.path);
	fd = client_connect(h.path);
	client_request(fd, false, "GET", "/stream?n=10&ms=50", NULL);
	(void)client_body(fd, "", 0);
	client_read(fd, &r, 1);
	house_stop(&h);
	nap_ms(100);
	assert_int_equal(atomic_load(&h.drained), 0);
	client_read(fd, &r, 0);
	assert_true(r.ended);
	assert_int_equal(reply_content(&r).len, 100);
	began = now_ms();
	assert_true(wait_for(&h.drained, 1, 3000));
	assert_true(now_ms() - began < 2500 * PATIENCE); /* the silent one gets its second */
	(void)close(fd);
	(void)close(silent);
	bytes_free(&r.out);
	house_close(&h);
}

static void
an_idle_server_stops_at_once(void **state)
{
	struct house h = { 0 };
	int64_t began;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	assert_int_equal(client_get(h.path, "/echo", NULL), 200);
	began = now_ms();
	house_stop(&h);
	assert_true(wait_for(&h.drained, 1, 1000));
	assert_true(now_ms() - began < 200 * PATIENCE);
	house_close(&h);
}

static void
beyond_the_most_requests_is_503(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int fds[5];

	(void)state;
	house_open(&h, (struct web_options){ .requests_most = 5 });
	for (int i = 0; i < 5; i++) {
		fds[i] = client_connect(h.path);
		client_request(fds[i], false, "GET", "/silent", NULL);
		(void)client_body(fds[i], "", 0);
	}
	assert_true(wait_for(&h.requests, 5, 1000));
	assert_int_equal(client_get(h.path, "/echo", &r), 503);
	assert_true(reply_has(&r, "Status: 503 Service Unavailable\r\n"));
	assert_true(reply_has(&r, "Retry-After: 1\r\n"));
	assert_true(reply_has(&r, "{\"error\":\"overloaded\"}"));
	bytes_free(&r.out);
	assert_int_equal(atomic_load(&h.refused_code), ERR_OVERLOADED);
	(void)close(fds[0]);
	assert_true(wait_open(&h, 4, 1000));
	assert_int_equal(client_get(h.path, "/echo", NULL), 200);
	for (int i = 1; i < 5; i++)
		(void)close(fds[i]);
	house_close(&h);
}

static void
broken_records_cost_only_their_own_connection(void **state)
{
	static const char garbage[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	static const unsigned char authorizer[] = { 1, 1, 0, 1, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0,
		1, 4, 0, 1, 0, 0, 0, 0 };
	struct house h = { 0 };
	char byte;
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	fd = client_connect(h.path);
	(void)client_send(fd, garbage, sizeof garbage - 1);
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	(void)close(fd);
	fd = client_connect(h.path);
	(void)client_send(fd, authorizer, sizeof authorizer);
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	(void)close(fd);
	fd = client_connect(h.path);
	(void)close(fd);
	assert_int_equal(client_get(h.path, "/echo", NULL), 200);
	assert_int_equal(client_get(h.path, "*", NULL), 400);
	assert_int_equal(atomic_load(&h.requests), 1);
	house_close(&h);
}

static void
many_requests_leave_nothing_behind(void **state)
{
	struct house h = { 0 };
	long before;
	int rounds = 2000;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	for (int i = 0; i < 200; i++)
		assert_int_equal(client_get(h.path, i % 2 ? "/echo" : "/stream?n=3", NULL), 200);
	before = resident_kb();
	for (int i = 0; i < rounds; i++)
		assert_int_equal(client_get(h.path, i % 2 ? "/echo" : "/stream?n=3", NULL), 200);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	if (resident_kb() - before > 1024)
		fail_msg("grew by %ld KB", resident_kb() - before);
#else
	(void)before;
#endif
	house_close(&h); /* counts the descriptors */
}

static void
a_live_socket_is_not_taken_over_and_a_dead_one_is(void **state)
{
	struct err err = { 0 };
	char dir[] = "/tmp/web-test.XXXXXX", path[64];
	int fd, again;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/s", dir);
	assert_true((fd = web_listen(path, &err)) >= 0);
	assert_int_equal(web_listen(path, &err), -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	(void)close(fd);
	assert_true((again = web_listen(path, &err)) >= 0);
	(void)close(again);
	(void)unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	(void)close(fd);
	assert_int_equal(web_listen(path, &err), -1);
	(void)unlink(path);
	(void)rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_asked_arrives),
		cmocka_unit_test(the_end_does_not_linger),
		cmocka_unit_test(chunks_come_one_by_one),
		cmocka_unit_test(a_head_goes_out_without_a_body),
		cmocka_unit_test(a_fast_stream_arrives_whole),
		cmocka_unit_test(a_slow_reader_holds_little_and_stops_nobody),
		cmocka_unit_test(a_client_that_leaves_is_noticed_at_once),
		cmocka_unit_test(a_half_closed_connection_and_an_abort_are_leaving_too),
		cmocka_unit_test(a_cut_reply_does_not_look_complete),
		cmocka_unit_test(kept_connections_are_parked_and_used_again),
		cmocka_unit_test(stopping_lets_the_running_ones_finish),
		cmocka_unit_test(an_idle_server_stops_at_once),
		cmocka_unit_test(beyond_the_most_requests_is_503),
		cmocka_unit_test(broken_records_cost_only_their_own_connection),
		cmocka_unit_test(many_requests_leave_nothing_behind),
		cmocka_unit_test(a_live_socket_is_not_taken_over_and_a_dead_one_is),
	};

	return cmocka_run_group_tests_name("web/exchange", tests, set_up, NULL);
}
