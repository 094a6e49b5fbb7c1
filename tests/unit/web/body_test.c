/* Bodies: whole or not acted on, bounded in size, in memory and in time, and slow ones alone. */
#include "client.h"

static char *
random_body(size_t len, char hex[65])
{
	char *body = malloc(len);
	uint8_t digest[SHA256_BYTES];
	uint32_t x = 12345;

	assert_non_null(body);
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		body[i] = (char)(x >> 24);
	}
	hash_sha256(body, len, digest);
	hash_hex(digest, sizeof digest, hex);
	return body;
}

/* Posts to /digest; length NULL: none stated. */
static void
post(struct house *h, const char *length, const char *body, size_t len, struct reply *r)
{
	int fd = client_connect(h->path);

	*r = (struct reply){ 0 };
	if (length == NULL)
		client_request(fd, false, "POST", "/digest", NULL);
	else
		client_request(fd, false, "POST", "/digest", "CONTENT_LENGTH", length, NULL);
	(void)client_body(fd, body, len);
	client_read(fd, r, 0);
	(void)close(fd);
}

static void
a_body_arrives_whole_whatever_is_said_of_its_length(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 65535, 65536, 3 * MIB + 17 };
	struct house h = { 0 };

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		char hex[65], exact[24], want[80];
		char *body = random_body(sizes[i] + 1, hex);
		const char *lengths[] = { NULL, "", "-1", exact, "nonsense" };
		uint8_t digest[SHA256_BYTES];

		hash_sha256(body, sizes[i], digest);
		hash_hex(digest, sizeof digest, hex);
		(void)snprintf(exact, sizeof exact, "%zu", sizes[i]);
		(void)snprintf(want, sizeof want, "memory %s", hex);
		for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
			struct reply r;

			post(&h, lengths[k], body, sizes[i], &r);
			assert_int_equal(reply_status(&r), 200);
			if (!span_is(reply_content(&r), want))
				fail_msg("%zu bytes: %.*s", sizes[i], (int)reply_content(&r).len,
					reply_content(&r).at);
			bytes_free(&r.out);
		}
		free(body);
	}
	house_close(&h);
}

static void
a_truncated_body_is_never_acted_on(void **state)
{
	struct house h = { 0 };
	struct reply r;
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	post(&h, "10", "only 6", 6, &r);
	assert_int_equal(reply_status(&r), 400);
	bytes_free(&r.out);
	assert_int_equal(atomic_load(&h.refused_code), ERR_BAD_REQUEST);
	post(&h, "3", "more than", 9, &r);
	assert_int_equal(reply_status(&r), 400);
	bytes_free(&r.out);

	fd = client_connect(h.path);
	client_request(fd, false, "POST", "/digest", NULL);
	(void)client_record(fd, 5, "part", 4);
	nap_ms(20);
	(void)close(fd);
	assert_true(wait_for(&h.refused, 3, 1000));
	assert_int_equal(atomic_load(&h.refused_code), ERR_CLIENT_GONE);

	fd = client_connect(h.path);
	client_request(fd, false, "POST", "/digest", NULL);
	(void)client_record(fd, 5, "part", 4);
	(void)client_record(fd, 2, "", 0); /* ABORT in the middle */
	assert_true(wait_for(&h.refused, 4, 1000));
	assert_int_equal(atomic_load(&h.refused_code), ERR_CLIENT_GONE);
	(void)close(fd);
	assert_int_equal(atomic_load(&h.requests), 0);
	house_close(&h);
}

static int64_t
limit_of(void *ctx, const char *method, struct span path)
{
	(void)ctx;
	(void)method;
	return span_is(path, "/echo") ? 64 * MIB : 0;
}

static void
a_body_of_33_mb_is_413(void **state)
{
	size_t len = 33 * (size_t)MIB;
	char *body = calloc(1, len), exact[24];
	struct house h = { 0 };
	struct reply r;
	int fd;

	(void)state;
	assert_non_null(body);
	(void)snprintf(exact, sizeof exact, "%zu", len);
	house_open(&h, (struct web_options){ .body_limit = limit_of });
	for (int stated = 0; stated < 2; stated++) {
		post(&h, stated ? exact : NULL, body, len, &r);
		assert_int_equal(reply_status(&r), 413);
		assert_true(reply_has(&r, "{\"error\":\"body_too_large\"}"));
		bytes_free(&r.out);
		assert_int_equal(atomic_load(&h.refused_code), ERR_BODY_TOO_LARGE);
	}
	assert_int_equal(atomic_load(&h.requests), 0);

	r = (struct reply){ 0 };
	fd = client_connect(h.path);
	client_request(fd, false, "POST", "/echo", NULL);
	assert_int_equal(client_body(fd, body, len), 0);
	client_read(fd, &r, 0);
	assert_int_equal(reply_status(&r), 200); /* the path has a limit of its own */
	bytes_free(&r.out);
	(void)close(fd);
	free(body);
	house_close(&h);
}

static void
bodies_beyond_the_memory_go_to_a_file(void **state)
{
	char hex[65], want[80];
	char *body = random_body(2 * MIB, hex);
	struct house h = { 0 };
	struct reply r;

	(void)state;
	house_open(&h, (struct web_options){ .body_memory_bytes = MIB, .spool_dir = "/tmp" });
	post(&h, NULL, body, 2 * MIB, &r);
	assert_int_equal(reply_status(&r), 200);
	(void)snprintf(want, sizeof want, "spooled %s", hex);
	assert_true(span_is(reply_content(&r), want));
	bytes_free(&r.out);
	post(&h, "5", "small", 5, &r); /* the memory was given back */
	assert_true(span_starts(reply_content(&r), "memory "));
	bytes_free(&r.out);
	house_close(&h);

	h = (struct house){ 0 };
	house_open(&h, (struct web_options){ .body_memory_bytes = MIB, .spool_dir = "/nowhere" });
	post(&h, NULL, body, 2 * MIB, &r);
	assert_int_equal(reply_status(&r), 503);
	bytes_free(&r.out);
	house_close(&h);
	free(body);
}

static void
a_body_past_its_deadline_is_408(void **state)
{
	struct house h = { 0 };
	struct reply r = { 0 };
	int64_t began;
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ .body_deadline_ms = 400 });
	/* Silent after some bytes, and trickling: both end when the deadline is there. */
	for (int trickle = 0; trickle < 2; trickle++) {
		r = (struct reply){ 0 };
		fd = client_connect(h.path);
		client_request(fd, false, "POST", "/digest", "CONTENT_LENGTH", "1000", NULL);
		(void)client_record(fd, 5, "some", 4);
		began = now_ms();
		for (int i = 0; trickle && i < 200; i++) {
			struct pollfd answered = { .fd = fd, .events = POLLIN };

			if (poll(&answered, 1, 30) > 0)
				break;
			assert_int_equal(client_record(fd, 5, "x", 1), 0);
		}
		client_read(fd, &r, 0);
		assert_int_equal(reply_status(&r), 408);
		assert_true(r.ended);
		assert_true(now_ms() - began >= 300 && now_ms() - began < 600 * PATIENCE);
		assert_int_equal(atomic_load(&h.refused_code), ERR_BODY_TIMEOUT);
		bytes_free(&r.out);
		(void)close(fd);
	}
	assert_int_equal(atomic_load(&h.requests), 0);
	house_close(&h);
}

static void
slow_uploads_hold_up_nobody(void **state)
{
	enum { SLOW = 200 };
	struct house h = { 0 };
	struct web_stats stats;
	int fds[SLOW];
	int64_t worst = 0;

	(void)state;
	house_open(&h, (struct web_options){ 0 });
	for (int i = 0; i < SLOW; i++) {
		fds[i] = client_connect(h.path);
		client_request(fds[i], false, "POST", "/digest", "CONTENT_LENGTH", "4", NULL);
	}
	for (int byte = 0; byte < 4; byte++) {
		for (int i = 0; i < SLOW; i++)
			assert_int_equal(client_record(fds[i], 5, "x", 1), 0);
		for (int i = 0; i < 10; i++) {
			int64_t began = now_ms();

			assert_int_equal(client_get(h.path, "/echo", NULL), 200);
			if (now_ms() - began > worst)
				worst = now_ms() - began;
			nap_ms(10);
		}
		web_stats(h.server, &stats);
		assert_int_equal(stats.reading, SLOW);
		assert_true(stats.threads >= SLOW);
	}
	if (worst > 400 * PATIENCE)
		fail_msg("a quick request waited %lld ms", (long long)worst);
	for (int i = 0; i < SLOW; i++) {
		struct reply r = { 0 };

		assert_int_equal(client_record(fds[i], 5, "", 0), 0);
		client_read(fds[i], &r, 0);
		assert_int_equal(reply_status(&r), 200);
		bytes_free(&r.out);
		(void)close(fds[i]);
	}
	house_close(&h);
}

static void
silent_connections_cost_no_thread(void **state)
{
	enum { SILENT = 300 };
	struct house h = { 0 };
	struct web_stats stats;
	int fds[SILENT];

	(void)state;
	house_open(&h, (struct web_options){ .threads_least = 1, .threads_most = 2 });
	for (int i = 0; i < SILENT; i++)
		fds[i] = client_connect(h.path);
	assert_int_equal(client_get(h.path, "/echo", NULL), 200);
	web_stats(h.server, &stats);
	assert_true(stats.threads <= 2);
	for (int i = 0; i < SILENT; i++) {
		struct reply r = { 0 };

		client_request(fds[i], false, "GET", "/echo", NULL);
		(void)client_body(fds[i], "", 0);
		client_read(fds[i], &r, 0);
		assert_int_equal(reply_status(&r), 200);
		bytes_free(&r.out);
		(void)close(fds[i]);
	}
	house_close(&h);
}

static void
overload_reads_a_body_before_it_refuses(void **state)
{
	char hex[65];
	char *body = random_body(5 * MIB, hex);
	struct house h = { 0 };
	struct reply r;
	int fd;

	(void)state;
	house_open(&h, (struct web_options){ .requests_most = 1 });
	fd = client_connect(h.path);
	client_request(fd, false, "GET", "/silent", NULL);
	(void)client_body(fd, "", 0);
	assert_true(wait_for(&h.requests, 1, 1000));
	post(&h, NULL, body, 5 * MIB, &r);
	assert_int_equal(reply_status(&r), 503);
	assert_true(r.ended);
	bytes_free(&r.out);
	(void)close(fd);
	free(body);
	house_close(&h);
}

static void
too_many_header_bytes_are_refused(void **state)
{
	char *value = malloc(40001);
	struct house h = { 0 };
	struct reply r = { 0 };
	int fd;

	(void)state;
	assert_non_null(value);
	memset(value, 'v', 40000);
	value[40000] = '\0';
	house_open(&h, (struct web_options){ 0 });
	fd = client_connect(h.path);
	client_request(fd, false, "GET", "/echo", "HTTP_X_LONG", value, NULL);
	(void)client_body(fd, "", 0);
	client_read(fd, &r, 0);
	assert_int_equal(reply_status(&r), 400);
	assert_int_equal(atomic_load(&h.requests), 0);
	bytes_free(&r.out);
	(void)close(fd);
	free(value);
	house_close(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_body_arrives_whole_whatever_is_said_of_its_length),
		cmocka_unit_test(a_truncated_body_is_never_acted_on),
		cmocka_unit_test(a_body_of_33_mb_is_413),
		cmocka_unit_test(bodies_beyond_the_memory_go_to_a_file),
		cmocka_unit_test(a_body_past_its_deadline_is_408),
		cmocka_unit_test(slow_uploads_hold_up_nobody),
		cmocka_unit_test(silent_connections_cost_no_thread),
		cmocka_unit_test(overload_reads_a_body_before_it_refuses),
		cmocka_unit_test(too_many_header_bytes_are_refused),
	};

	return cmocka_run_group_tests_name("web/body", tests, set_up, NULL);
}
