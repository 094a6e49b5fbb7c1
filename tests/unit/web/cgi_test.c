/* Plain CGI: this program starts itself as a web server would, with an environment and pipes. */
#include "client.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- the CGI program ---- */

static void
on_cgi_drained(void *ctx)
{
	struct house *h = ctx;

	uv_close((uv_handle_t *)&h->wake, NULL);
}

static int
run_as_cgi(void)
{
	struct house h = { 0 };
	struct err err = { 0 };
	struct web_options o = { .body_limit_bytes = 100000,
		.body_deadline_ms = 400,
		.handler = { &h, on_house_request, on_house_refused, make_house_error,
			on_cgi_drained } };

	if (!web_is_cgi() || web_init(&err) != 0)
		return 2;
	for (size_t i = 0; i < sizeof chunk_bytes; i++)
		chunk_bytes[i] = (char)('a' + i % 23);
	h.wake.data = &h;
	(void)pthread_mutex_init(&h.lock, NULL);
	(void)uv_loop_init(&h.loop);
	(void)uv_async_init(&h.loop, &h.wake, on_house_wake);
	if ((h.server = web_start_cgi(&h.loop, &o, &err)) == NULL)
		return 3;
	(void)uv_run(&h.loop, UV_RUN_DEFAULT);
	web_free(h.server);
	if (uv_loop_close(&h.loop) != 0)
		return 4;
	return atomic_load(&h.gone) > 0 ? 77 : 0;
}

/* ---- the web server ---- */

struct cgi {
	pid_t pid;
	int in, out; /* its stdin and stdout, our ends */
};

static struct cgi
start(const char *uri, const char *length, bool socket_out)
{
	int in[2], out[2];
	char target[256], stated[64];
	char *env[] = { "GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=POST", "HTTP_PROXY=evil",
		"HTTP_X_TEST=yes", "REMOTE_ADDR=192.0.2.7", target, length == NULL ? NULL : stated,
		NULL };
	struct cgi c;

	(void)snprintf(target, sizeof target, "REQUEST_URI=%s", uri);
	(void)snprintf(stated, sizeof stated, "CONTENT_LENGTH=%s", length == NULL ? "" : length);
	assert_int_equal(pipe(in), 0);
	if (socket_out) {
		/* As Apache's cgid does: the side that we write to is shut from the start. */
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
		(void)shutdown(out[0], SHUT_WR);
	} else
		assert_int_equal(pipe(out), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		(void)dup2(in[0], 0);
		(void)dup2(out[1], 1);
		(void)close(in[0]);
		(void)close(in[1]);
		(void)close(out[0]);
		(void)close(out[1]);
		(void)execle("/proc/self/exe", "cgi", (char *)NULL, env);
		_exit(99);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	c.in = in[1];
	c.out = out[0];
	return c;
}

static void
give(struct cgi *c, const char *data, size_t len, bool end)
{
	while (len > 0) {
		ssize_t n = write(c->in, data, len);

		if (n <= 0)
			break;
		data += n;
		len -= (size_t)n;
	}
	if (end) {
		(void)close(c->in);
		c->in = -1;
	}
}

/* Reads its output to the end; then its exit status. */
static int
finish_cgi(struct cgi *c, struct reply *r)
{
	char piece[65536];
	int status;
	ssize_t n;

	*r = (struct reply){ .out = BYTES_LIMIT(256 * MIB) };
	while (c->out >= 0 && (n = read(c->out, piece, sizeof piece)) > 0)
		(void)bytes_add(&r->out, piece, (size_t)n);
	if (c->in >= 0)
		(void)close(c->in);
	if (c->out >= 0)
		(void)close(c->out);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
one_request_one_process(void **state)
{
	(void)state;
	for (int socket_out = 0; socket_out < 2; socket_out++)
		for (int i = 0; i < 3; i++) {
			static const char *const lengths[] = { "5", NULL, "-1" };
			struct cgi c = start("/echo?x", lengths[i], socket_out);
			struct reply r;

			/* With a stated length stdin may stay open. */
			give(&c, "hello", 5, i != 0);
			assert_int_equal(finish_cgi(&c, &r), 0);
			assert_int_equal(reply_status(&r), 200);
			assert_true(reply_has(&r, "method=POST\npath=/echo\nquery=x\n"));
			assert_true(reply_has(&r, "body=5\n"));
			assert_true(reply_has(&r, "x-test: yes\n"));
			assert_false(reply_has(&r, "evil"));
			bytes_free(&r.out);
		}
}

static void
a_stream_goes_out_as_it_comes(void **state)
{
	(void)state;
	for (int socket_out = 0; socket_out < 2; socket_out++) {
		struct cgi c = start("/stream?n=4&size=10&ms=60", "0", socket_out);
		struct pollfd pfd = { .fd = c.out, .events = POLLIN };
		struct reply r;
		char piece[4096];
		int64_t first;

		assert_int_equal(poll(&pfd, 1, 3000), 1);
		first = now_ms();
		assert_true(read(c.out, piece, sizeof piece) > 0);
		assert_int_equal(finish_cgi(&c, &r), 0);
		assert_true(now_ms() - first >= 150);
		bytes_free(&r.out);

		c = start("/stream?n=2000&size=9999", "0", socket_out);
		nap_ms(100);
		assert_int_equal(finish_cgi(&c, &r), 0);
		assert_int_equal(reply_content(&r).len, 2000 * 9999);
		bytes_free(&r.out);
		c = start("/large", "0", socket_out);
		assert_int_equal(finish_cgi(&c, &r), 0);
		assert_int_equal(reply_content(&r).len, MIB);
		bytes_free(&r.out);
	}
}

static void
what_can_not_be_acted_on_is_refused(void **state)
{
	static char big[100001];
	struct cgi c = start("/digest", "10", false);
	struct reply r;

	(void)state;
	give(&c, "short", 5, true);
	assert_int_equal(finish_cgi(&c, &r), 0);
	assert_int_equal(reply_status(&r), 400);
	bytes_free(&r.out);
	c = start("/digest", NULL, false);
	give(&c, big, sizeof big, true);
	assert_int_equal(finish_cgi(&c, &r), 0);
	assert_int_equal(reply_status(&r), 413);
	bytes_free(&r.out);
	c = start("/digest", "10", false);
	give(&c, "slow", 4, false);
	assert_int_equal(finish_cgi(&c, &r), 0);
	assert_int_equal(reply_status(&r), 408);
	bytes_free(&r.out);
}

static void
a_client_that_leaves_is_noticed(void **state)
{
	struct reply r;

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct cgi c = start(i < 2 ? "/silent" : "/head", "0", i % 2 != 0);
		int64_t began;

		nap_ms(150);
		began = now_ms();
		if (i < 2)
			(void)kill(c.pid, SIGTERM); /* what lighttpd and cgid do */
		else {
			(void)close(c.out);
			c.out = -1;
		}
		assert_int_equal(finish_cgi(&c, &r), 77);
		assert_true(now_ms() - began < 500 * PATIENCE); /* its own end included */
		bytes_free(&r.out);
	}
}

static void
a_signal_while_reading_ends_it(void **state)
{
	struct cgi c = start("/digest", "10", false);
	struct reply r;

	(void)state;
	give(&c, "some", 4, false);
	nap_ms(150);
	(void)kill(c.pid, SIGTERM);
	assert_int_equal(finish_cgi(&c, &r), 0);
	assert_int_equal(r.out.len, 0);
	bytes_free(&r.out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_request_one_process),
		cmocka_unit_test(a_stream_goes_out_as_it_comes),
		cmocka_unit_test(what_can_not_be_acted_on_is_refused),
		cmocka_unit_test(a_client_that_leaves_is_noticed),
		cmocka_unit_test(a_signal_while_reading_ends_it),
	};

	if (getenv("GATEWAY_INTERFACE") != NULL)
		return run_as_cgi();
	return cmocka_run_group_tests_name("web/cgi", tests, set_up, NULL);
}
