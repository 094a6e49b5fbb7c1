/*
 * fetch_test.c - what stands at addresses of a client's choosing, with the egress guard in force.
 *
 * public.test resolves to a public address, and a connection to that is led to the peer: so the guard
 * is never switched off where it is not the question.
 */
#include "forward/forward.h"

#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "peer.h"

#define PUBLIC "8.8.8.8"

static struct peer peer;

int
getaddrinfo(
	const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (name != NULL && strcmp(name, "public.test") == 0)
		return real(PUBLIC, service, hints, out);
	if (name != NULL && strcmp(name, "inside.test") == 0)
		return real("127.0.0.1", service, hints, out);
	return EAI_NONAME;
}

/* By its symbol, since glibc declares connect() with a type that nobody else can write. */
int lead_home(int fd, const struct sockaddr *a, socklen_t len) __asm__("connect");

int
lead_home(int fd, const struct sockaddr *a, socklen_t len)
{
	static int (*real)(int, const struct sockaddr *, socklen_t);
	struct sockaddr_in in;

	*(void **)&real = dlsym(RTLD_NEXT, "connect");
	if (a->sa_family != AF_INET || len != sizeof in)
		return real(fd, a, len);
	memcpy(&in, a, sizeof in);
	if (in.sin_addr.s_addr == inet_addr(PUBLIC))
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return real(fd, (struct sockaddr *)&in, sizeof in);
}

static bool
refuse_all(void *ctx, size_t bytes)
{
	*(size_t *)ctx += bytes;
	return false;
}

static const struct forward_fetch_options usual = {
	.each_bytes = 1000, .all_bytes = 1500, .total_ms = 20000, .user_agent = "sluice/test"
};

static char *
address(char out[200], const char *host, const char *path)
{
	(void)snprintf(out, 200, "http://%s:%d%s", host, peer.port, path);
	return out;
}

/* One address; what it gave is freed. */
static struct err
fetch_from(const char *host, const char *path, const char *types,
	const struct forward_fetch_options *o, struct forward_fetch *out)
{
	char url[200];
	struct forward_fetch f = { .url = address(url, host, path), .types = types };
	struct err err = { 0 };
	int rc = forward_fetch(&f, 1, o, &err);

	assert_int_equal(rc, err.code == ERR_NONE ? 0 : -1);
	assert_null(strstr(err.text, "secret"));
	assert_null(strstr(err.says, "secret"));
	if (out != NULL) {
		*out = f;
		return err;
	}
	bytes_free(&f.body);
	return err;
}

static struct err
fetch(const char *path, const char *types)
{
	return fetch_from("public.test", path, types, &usual, NULL);
}

#define assert_refused(err_, code_, part_)                                                         \
	do {                                                                                       \
		struct err e_ = (err_);                                                            \
		assert_int_equal(e_.code, (code_));                                                \
		if (strstr(e_.says, (part_)) == NULL)                                              \
			fail_msg("\"%s\" does not say \"%s\"", e_.says, (part_));                  \
	} while (0)

static void
what_stands_there_is_fetched_with_its_type(void **state)
{
	struct forward_fetch f;
	struct err err = fetch_from("public.test", "/png?secret", "image/*,audio/*", &usual, &f);

	(void)state;
	assert_int_equal(err.code, ERR_NONE);
	assert_string_equal(f.content_type, "image/png");
	assert_int_equal(f.body.len, 10);
	assert_memory_equal(f.body.at, "0123456789", 10);
	bytes_free(&f.body);
	err = fetch_from("public.test", "/chunked", "image/*", &usual, &f);
	assert_int_equal(err.code, ERR_NONE); /* no type is said, and no length */
	assert_string_equal(f.content_type, "");
	assert_int_equal(f.body.len, 12);
	bytes_free(&f.body);
}

static void
nothing_of_ours_goes_along(void **state)
{
	struct forward_fetch_options o = usual;
	struct forward_fetch f;

	(void)state;
	assert_int_equal(fetch_from("public.test", "/echo", NULL, &o, &f).code, ERR_NONE);
	assert_non_null(strstr(f.body.at, "GET /echo HTTP/1.1"));
	assert_non_null(strstr(f.body.at, "User-Agent: sluice/test"));
	assert_null(strcasestr(f.body.at, "authorization"));
	assert_null(strcasestr(f.body.at, "cookie"));
	bytes_free(&f.body);
}

static void
private_addresses_are_refused_unless_allowed(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "inside.test", "0x7f.1", "2130706433",
		"[::ffff:127.0.0.1]", "no-such.test" };
	struct forward_fetch_options open = usual;
	int before = atomic_load(&peer.connections);

	(void)state;
	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) /* alike, there or not */
		assert_refused(fetch_from(hosts[i], "/png?secret", NULL, &usual, NULL),
			ERR_BAD_REQUEST, "has no public address.");
	assert_int_equal(atomic_load(&peer.connections), before);
	open.allow_private = true;
	assert_int_equal(fetch_from("inside.test", "/png", NULL, &open, NULL).code, ERR_NONE);
}

static void
redirects_are_followed_but_not_inside(void **state)
{
	(void)state;
	assert_int_equal(fetch("/to-png", "image/*").code, ERR_NONE);
	assert_refused(
		fetch("/to-private", NULL), ERR_BAD_REQUEST, "127.0.0.1 has no public address.");
	assert_refused(fetch("/to-file", NULL), ERR_BAD_REQUEST, "none of http or https");
	assert_refused(fetch("/round", NULL), ERR_BAD_REQUEST, "redirects too often");
}

static void
ceilings_hold_with_a_length_and_without(void **state)
{
	struct forward_fetch_options o = usual;
	char url[200];
	struct forward_fetch two[2] = { { .url = address(url, "public.test", "/png") },
		{ .url = url } };
	struct err err = { 0 };
	size_t asked = 0;

	(void)state;
	assert_refused(fetch("/big", NULL), ERR_UNSUPPORTED, "holds more than the 1000 bytes");
	assert_refused(fetch("/endless", NULL), ERR_UNSUPPORTED, "holds more than the 1000 bytes");
	o.all_bytes = 19;
	assert_int_equal(forward_fetch(two, 2, &o, &err), -1);
	assert_refused(err, ERR_UNSUPPORTED, "more together than is fetched");
	bytes_free(&two[0].body);
	bytes_free(&two[1].body);
	o.take = refuse_all;
	o.ctx = &asked;
	assert_refused(fetch_from("public.test", "/png", NULL, &o, NULL), ERR_OVERLOADED,
		"holds too much");
	assert_int_equal(asked, 10);
}

static void
who_hangs_is_left_in_time(void **state)
{
	static const char *const paths[] = { "/hang?secret", "/stall" };
	struct forward_fetch_options o = usual;

	(void)state;
	o.total_ms = 200;
	for (size_t i = 0; i < 2; i++)
		assert_refused(fetch_from("public.test", paths[i], NULL, &o, NULL), ERR_BAD_REQUEST,
			"did not give all within 200 ms");
}

static void
what_is_of_no_use_is_refused(void **state)
{
	(void)state;
	assert_refused(fetch("/png", "application/*,text/*"), ERR_UNSUPPORTED, "sent 'image/png'");
	assert_refused(fetch("/coded", NULL), ERR_UNSUPPORTED, "coding");
	assert_refused(fetch("/nothing?secret", NULL), ERR_BAD_REQUEST, "answered with status 404");
	assert_refused(fetch("/json", NULL), ERR_BAD_REQUEST, "answered with status 201");
	assert_refused(fetch("/cut-length", NULL), ERR_BAD_REQUEST, "broke off its answer");
	assert_refused(fetch("/garbage", NULL), ERR_BAD_REQUEST, "could not be reached");
}

static void
addresses_that_cannot_be_meant_are_refused(void **state)
{
	static const char *const urls[] = { "", "file:///etc/passwd", "ftp://public.test/x",
		"http://", "http://user@public.test/", "http://a:b@public.test/",
		"http://public.test/a b", "//public.test/x", "gopher://public.test/" };

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		struct forward_fetch f = { .url = urls[i] };
		struct err err = { 0 };

		assert_int_equal(forward_fetch(&f, 1, &usual, &err), -1);
		assert_int_equal(err.code, ERR_BAD_REQUEST);
		bytes_free(&f.body);
	}
}

static void
many_are_fetched_side_by_side(void **state)
{
	struct forward_fetch f[FORWARD_FETCH_MOST + 1];
	char url[200];
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i <= FORWARD_FETCH_MOST; i++)
		f[i] = (struct forward_fetch){ .url = address(url, "public.test", "/png") };
	assert_int_equal(forward_fetch(f, FORWARD_FETCH_MOST, &usual, &err), 0);
	for (size_t i = 0; i < FORWARD_FETCH_MOST; i++) {
		assert_int_equal(f[i].body.len, 10);
		bytes_free(&f[i].body);
	}
	assert_int_equal(forward_fetch(f, FORWARD_FETCH_MOST + 1, &usual, &err), -1);
	assert_int_equal(err.code, ERR_BAD_REQUEST);
}

static int
begin(void **state)
{
	(void)state;
	peer_start(&peer);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	peer_stop(&peer);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_stands_there_is_fetched_with_its_type),
		cmocka_unit_test(nothing_of_ours_goes_along),
		cmocka_unit_test(private_addresses_are_refused_unless_allowed),
		cmocka_unit_test(redirects_are_followed_but_not_inside),
		cmocka_unit_test(ceilings_hold_with_a_length_and_without),
		cmocka_unit_test(who_hangs_is_left_in_time),
		cmocka_unit_test(what_is_of_no_use_is_refused),
		cmocka_unit_test(addresses_that_cannot_be_meant_are_refused),
		cmocka_unit_test(many_are_fetched_side_by_side),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("forward/fetch", tests, begin, end);
}
