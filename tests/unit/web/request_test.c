/* Reading the CGI variables, and composing the head of a reply: no socket needed. */
#include "client.h"
#include "web/web-int.h"

static struct web_server nobody;

static struct web_request *
request_of(char **env)
{
	struct web_request *r = request_new(&nobody, -1);
	struct err err;

	assert_non_null(r);
	r->env = env;
	(void)request_check(r, &err);
	return r;
}

#define ENV(...) ((char *[]){ __VA_ARGS__, NULL })

static void
path_and_query_come_from_the_target_alone(void **state)
{
	static const struct {
		char *uri;
		const char *path, *query;
	} cases[] = {
		{ "REQUEST_URI=/v1/models", "/v1/models", "" },
		{ "REQUEST_URI=/v1//a%2Fb/c%20d+e?q=a%20b&m2=%2f", "/v1//a%2Fb/c%20d+e",
			"q=a%20b&m2=%2f" },
		{ "REQUEST_URI=/x?", "/x", "" },
		{ "REQUEST_URI=/x?a?b", "/x", "a?b" },
		{ "REQUEST_URI=/x?a#frag?c", "/x", "a" },
		{ "REQUEST_URI=http://host:80/v1/x?y", "/v1/x", "y" },
		{ "REQUEST_URI=http://host", "", "" },
		{ "REQUEST_URI=*", "", "" },
		{ "REQUEST_URI=", "", "" },
		{ "OTHER=1", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char **env = ENV("SCRIPT_NAME=/s", "PATH_INFO=/p", "QUERY_STRING=no",
			"REQUEST_METHOD=GET", cases[i].uri);
		struct web_request *r = request_of(env);

		if (!span_is(web_path(r), cases[i].path) || !span_is(web_query(r), cases[i].query))
			fail_msg("%s: %.*s ? %.*s", cases[i].uri, (int)web_path(r).len,
				web_path(r).at, (int)web_query(r).len, web_query(r).at);
		request_free(r);
	}
}

static void
headers_are_found_by_their_own_names(void **state)
{
	char **env = ENV("HTTP_X_API_KEY=k1", "HTTP_X_API_KEY=k2", "HTTP_PROXY=evil",
		"CONTENT_TYPE=", "CONTENT_LENGTH=-1", "HTTP_CONTENT_LENGTH=7",
		"REDIRECT_REDIRECT_HTTP_AUTHORIZATION=Bearer t", "AUTH_TYPE=x", "HTTP_X=");
	struct web_request *r = request_of(env);
	struct bytes b = BYTES_LIMIT(1000);

	(void)state;
	assert_true(span_is(web_header(r, "X-Api-Key"), "k1"));
	assert_true(span_is(web_header(r, "x-api-key"), "k1"));
	assert_true(span_is(web_header(r, "x-api-ke"), ""));
	assert_true(span_is(web_header(r, "proxy"), ""));
	assert_true(span_is(web_header(r, "content-length"), ""));
	assert_true(span_is(web_header(r, "authorization"), "Bearer t"));
	assert_true(web_each_header(r, echo_header, &b));
	assert_string_equal(b.at, "x-api-key: k1\nx-api-key: k2\nx: \nauthorization: Bearer t\n");
	bytes_free(&b);
	request_free(r);

	r = request_of(ENV("REDIRECT_HTTP_AUTHORIZATION=old", "HTTP_AUTHORIZATION=new",
		"CONTENT_TYPE=a/b", "CONTENT_LENGTH=12"));
	b = BYTES_LIMIT(1000);
	assert_true(span_is(web_header(r, "authorization"), "new"));
	assert_int_equal(request_length(r), 12);
	assert_true(web_each_header(r, echo_header, &b));
	assert_string_equal(b.at, "authorization: new\ncontent-type: a/b\ncontent-length: 12\n");
	bytes_free(&b);
	request_free(r);
}

static void
the_address_is_the_web_servers_word_unless_told(void **state)
{
	static const struct {
		bool trust;
		char *forwarded;
		const char *want;
	} cases[] = {
		{ false, "HTTP_X_FORWARDED_FOR=203.0.113.9", "192.0.2.1" },
		{ true, "HTTP_X_FORWARDED_FOR=203.0.113.9", "203.0.113.9" },
		{ true, "HTTP_X_FORWARDED_FOR= 10.0.0.1 , 203.0.113.9 ", "203.0.113.9" },
		{ true, "HTTP_X_FORWARDED_FOR=203.0.113.9:4711", "203.0.113.9" },
		{ true, "HTTP_X_FORWARDED_FOR=[2001:db8::1]:4711", "2001:db8::1" },
		{ true, "HTTP_X_FORWARDED_FOR=2001:db8::1", "2001:db8::1" },
		{ true, "HTTP_X_FORWARDED_FOR=unknown", "192.0.2.1" },
		{ true, "HTTP_X_FORWARDED_FOR=", "192.0.2.1" },
		{ true, "HTTP_X_FORWARDED_FOR=203.0.113.9evil", "192.0.2.1" },
		{ true, "OTHER=1", "192.0.2.1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char **env = ENV("REMOTE_ADDR=192.0.2.1", cases[i].forwarded);
		struct web_request *r;

		nobody.o.trust_forwarded = cases[i].trust;
		r = request_of(env);
		if (strcmp(web_address(r), cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].forwarded, web_address(r));
		request_free(r);
	}
	nobody.o.trust_forwarded = false;
}

static void
https_is_what_the_web_server_says(void **state)
{
	static const struct {
		bool trust, want;
		char *variable;
	} cases[] = {
		{ false, true, "HTTPS=on" },
		{ false, true, "HTTPS=1" },
		{ false, false, "HTTPS=off" },
		{ false, false, "HTTPS=" },
		{ false, true, "REQUEST_SCHEME=https" },
		{ false, false, "REQUEST_SCHEME=http" },
		{ false, false, "HTTP_X_FORWARDED_PROTO=https" },
		{ true, true, "HTTP_X_FORWARDED_PROTO=https" },
		{ true, true, "HTTP_X_FORWARDED_PROTO=https,http" },
		{ true, false, "HTTP_X_FORWARDED_PROTO=http" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char **env = ENV(cases[i].variable);
		struct web_request *r;

		nobody.o.trust_forwarded = cases[i].trust;
		r = request_of(env);
		if (web_is_https(r) != cases[i].want)
			fail_msg("%s", cases[i].variable);
		request_free(r);
	}
	nobody.o.trust_forwarded = false;
}

static void
percent_signs_are_decoded_strictly(void **state)
{
	static const struct {
		const char *raw, *want; /* NULL: refused */
	} cases[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "a%20b", "a b" },
		{ "a+b", "a+b" },
		{ "%2f%2F%41", "//A" },
		{ "%", NULL },
		{ "%4", NULL },
		{ "%4g", NULL },
		{ "%%41", NULL },
		{ "a%00b", NULL },
		{ "0123456789abcde", "0123456789abcde" },
		{ "0123456789abcdef", NULL },
		{ "%30123456789abcde", "0123456789abcde" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char out[16];
		ptrdiff_t n = web_decode(span_of(cases[i].raw), out, sizeof out);

		if (cases[i].want == NULL ? n != -1
					  : n != (ptrdiff_t)strlen(cases[i].want) ||
						    strcmp(out, cases[i].want) != 0)
			fail_msg("%s: %td", cases[i].raw, n);
	}
	assert_int_equal(web_decode(SPAN_LIT("a\0b"), (char[9]){ 0 }, 9), -1);
	assert_int_equal(web_decode(SPAN_LIT(""), (char[1]){ 0 }, 0), -1);
}

static void
query_parameters_are_found_by_name(void **state)
{
	char **env = ENV("REQUEST_URI=/x?a=1&b=%C3%A9+x&flag&=odd&a=2&n%61me=v&bad=%zz&empty=");
	struct web_request *r = request_of(env);
	char out[8];

	(void)state;
	assert_int_equal(web_query_get(r, "a", out, sizeof out), 1);
	assert_string_equal(out, "1");
	assert_int_equal(web_query_get(r, "b", out, sizeof out), 4);
	assert_string_equal(out, "\xc3\xa9 x");
	assert_int_equal(web_query_get(r, "flag", out, sizeof out), 0);
	assert_int_equal(web_query_get(r, "empty", out, sizeof out), 0);
	assert_int_equal(web_query_get(r, "name", out, sizeof out), 1);
	assert_int_equal(web_query_get(r, "bad", out, sizeof out), -1);
	assert_int_equal(web_query_get(r, "none", out, sizeof out), -1);
	assert_int_equal(web_query_get(r, "b", out, 4), -1);
	request_free(r);
}

static void
a_head_can_not_be_split_or_grow_too_long(void **state)
{
	char long_value[3000], other[1200];
	const struct web_head_line lines[] = {
		{ "X-Good", "yes\twith tab" },
		{ "X-Split", "a\r\nSet-Cookie: evil" },
		{ "X-Feed", "a\nb" },
		{ "X Space", "v" },
		{ "", "v" },
		{ "X-Colon:", "v" },
		{ "Status", "500" },
		{ NULL, "v" },
		{ "X-Null", NULL },
		{ "X-Long", long_value },
		{ "X-Other", other },
		{ "X-Utf8", "\xc3\xa9" },
	};
	struct bytes b = BYTES_LIMIT(8192);

	(void)state;
	memset(long_value, 'l', sizeof long_value - 1);
	long_value[sizeof long_value - 1] = '\0';
	memset(other, 'o', sizeof other - 1);
	other[sizeof other - 1] = '\0';
	reply_head(&b, 529, "text/plain", lines, sizeof lines / sizeof lines[0], 12);
	assert_true(b.len <= WEB_REPLY_HEADERS_BYTES);
	assert_ptr_equal(
		strstr(b.at, "Status: 529 Overloaded\r\nContent-Type: text/plain\r\n"), b.at);
	assert_non_null(
		strstr(b.at, "Content-Length: 12\r\nX-Good: yes\twith tab\r\nX-Other: ooo"));
	assert_non_null(strstr(b.at, "\r\nX-Utf8: \xc3\xa9\r\n\r\n"));
	assert_null(strstr(b.at, "evil"));
	assert_null(strstr(b.at, "X-Feed"));
	assert_null(strstr(b.at, "X-Long"));
	assert_null(strstr(b.at, "Space"));
	assert_null(strstr(b.at, "500"));
	bytes_free(&b);

	b = BYTES_LIMIT(8192);
	reply_head(&b, 100, NULL, NULL, 0, -1); /* never an interim status */
	assert_string_equal(b.at, "Status: 500 Internal Server Error\r\n\r\n");
	bytes_free(&b);
	b = BYTES_LIMIT(8192);
	reply_head(&b, 204, NULL, NULL, 0, 0);
	assert_string_equal(b.at, "Status: 204 No Content\r\n\r\n");
	bytes_free(&b);
}

static void
every_status_has_a_reason(void **state)
{
	(void)state;
	for (int status = 200; status < 600; status++)
		assert_true(strlen(web_reason(status)) > 0);
	assert_string_equal(web_reason(413), "Content Too Large");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(path_and_query_come_from_the_target_alone),
		cmocka_unit_test(headers_are_found_by_their_own_names),
		cmocka_unit_test(the_address_is_the_web_servers_word_unless_told),
		cmocka_unit_test(https_is_what_the_web_server_says),
		cmocka_unit_test(percent_signs_are_decoded_strictly),
		cmocka_unit_test(query_parameters_are_found_by_name),
		cmocka_unit_test(a_head_can_not_be_split_or_grow_too_long),
		cmocka_unit_test(every_status_has_a_reason),
	};

	return cmocka_run_group_tests_name("web/request", tests, set_up, NULL);
}
