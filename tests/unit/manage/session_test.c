/* Signing in: who gets in, who does not, and what neither of them is told. */
#include "fixture.h"

#define PASSWORD "correct horse battery"

static void
set_password(void)
{
	assert_int_equal(manage_set_password(manage, span_of(PASSWORD), &err), 0);
	as_actor = NULL;
}

static int
sign_in(const char *password)
{
	char json[128];

	snprintf(json, sizeof json, "{\"password\":\"%s\"}", password);
	return call("POST", "/sub/manage/session", json);
}

/* What a browser would send back. */
static void
keep_cookie(void)
{
	snprintf(cookie, sizeof cookie, "other=1; %.*s", (int)strcspn(reply_cookie, ";"),
		reply_cookie);
}

static void
nothing_is_answered_to_a_stranger(void **state)
{
	const struct manage_endpoint_name *list;
	size_t count = manage_endpoints(&list);

	(void)state;
	set_password();
	for (size_t i = 0; i < count; i++) {
		if (strstr(list[i].path, "session") != NULL ||
			strstr(list[i].path, "setup") != NULL)
			continue;
		CALL(401, list[i].method, list[i].path, "");
		assert_string_equal(text_of("error.code"), "missing_token");
	}
	CALL(401, "GET", "/manage/session", "");
	assert_string_equal(raw_of("initialised"), "true");
}

static void
a_password_opens_a_session(void **state)
{
	(void)state;
	set_password();
	assert_int_equal(sign_in(PASSWORD), 200);
	assert_string_equal(text_of("actor"), "admin");
	assert_true(strlen(text_of("csrf")) == 64);
	assert_non_null(strstr(reply_cookie, "; HttpOnly"));
	assert_non_null(strstr(reply_cookie, "; SameSite=Strict"));
	assert_non_null(strstr(reply_cookie, "; Path=/sub/manage/;"));
	assert_null(strstr(reply_cookie, "Secure"));
	snprintf(csrf, sizeof csrf, "%s", text_of("csrf"));
	keep_cookie();

	CALL(200, "GET", "/sub/manage/projects", "");
	CALL(200, "GET", "/sub/manage/session", "");
	assert_string_equal(text_of("csrf"), csrf);
	CALL(201, "POST", "/sub/manage/projects", "{\"name\":\"one\"}");

	CALL(204, "DELETE", "/sub/manage/session", "");
	assert_non_null(strstr(reply_cookie, "Max-Age=0"));
	CALL(401, "GET", "/sub/manage/projects", "");
}

static void
a_cookie_alone_changes_nothing(void **state)
{
	(void)state;
	set_password();
	assert_int_equal(sign_in(PASSWORD), 200);
	keep_cookie();
	CALL(403, "POST", "/manage/projects", "{\"name\":\"one\"}");
	memset(csrf, 'a', 64);
	CALL(403, "POST", "/manage/projects", "{\"name\":\"one\"}");
	CALL(403, "DELETE", "/manage/session", "");
	CALL(200, "GET", "/manage/projects", "");
	assert_false(row(0));
}

static void
over_https_the_cookie_is_secure(void **state)
{
	(void)state;
	set_password();
	https = true;
	assert_int_equal(sign_in(PASSWORD), 200);
	assert_non_null(strstr(reply_cookie, "; Secure"));
}

static void
a_mount_that_would_break_the_cookie_is_left_out(void **state)
{
	(void)state;
	set_password();
	CALL(200, "POST", "/a;b/manage/session", "{\"password\":\"" PASSWORD "\"}");
	assert_non_null(strstr(reply_cookie, "; Path=/manage/;"));
}

static void
guessing_is_held_down(void **state)
{
	int tries = 0;

	(void)state;
	set_password();
	while (sign_in("wrong horse") == 401 && tries < 30)
		tries++;
	assert_int_equal(status, 429);
	assert_true(tries >= 10 && tries <= 20); /* 20: a window may have ended in between */
	assert_true(atoi(reply_retry) > 0);
	assert_true(atoi(raw_of("error.retry_after")) > 0);
	assert_int_equal(sign_in(PASSWORD), 429); /* the right one too: an answer would tell */

	address = "192.0.2.8";
	assert_int_equal(sign_in(PASSWORD), 200);
}

static bool
no_lease(void *ctx, struct id exchange, struct roster_owner owner, const void *note)
{
	(void)ctx;
	(void)exchange;
	(void)owner;
	(void)note;
	return true;
}

static void
signing_in_leaves_nothing_on_the_board(void **state)
{
	(void)state;
	set_password();
	assert_int_equal(sign_in(PASSWORD), 200);
	assert_int_equal(sign_in("wrong horse"), 401);
	assert_int_equal(board_inflight(board, no_lease, NULL), 0);
}

static void
signing_in_rightly_is_not_counted(void **state)
{
	(void)state;
	set_password();
	for (int i = 0; i < 12; i++)
		assert_int_equal(sign_in(PASSWORD), 200);
}

static void
management_tokens_need_no_csrf(void **state)
{
	struct manage_secrets s = { 0 };
	char json[128];

	(void)state;
	assert_int_equal(manage_init_secrets(manage, &s, &err), 0);
	assert_true(strncmp(s.token, "sk-sl-mgmt-", 11) == 0);
	as_actor = NULL;
	snprintf(bearer, sizeof bearer, "Bearer %s", s.token);
	CALL(201, "POST", "/manage/projects", "{\"name\":\"one\"}");

	bearer[strlen(bearer) - 1] ^= 1;
	CALL(401, "GET", "/manage/projects", "");
	assert_string_equal(text_of("error.code"), "invalid_token");
	snprintf(bearer, sizeof bearer, "Basic abc");
	CALL(401, "GET", "/manage/projects", "");
	bearer[0] = '\0';

	snprintf(json, sizeof json, "{\"token\":\"%s\"}", s.token);
	CALL(200, "POST", "/manage/session", json);
	assert_true(strncmp(text_of("actor"), "token:", 6) == 0);
	CALL(401, "POST", "/manage/session", "{\"token\":\"sk-sl-mgmt-no\"}");
	assert_false(was_seen(s.token));
}

static void
a_token_that_was_brought_along_works(void **state)
{
	struct manage_secrets s = { .given_token = "from-the-environment-0123" };

	(void)state;
	assert_int_equal(manage_init_secrets(manage, &s, &err), 0);
	assert_string_equal(s.token, "");
	as_actor = NULL;
	snprintf(bearer, sizeof bearer, "bearer %s", s.given_token);
	CALL(200, "GET", "/manage/projects", "");
	s.given_token = "short";
	assert_int_equal(manage_init_secrets(manage, &s, &err), -1);
}

static void
init_makes_each_secret_once(void **state)
{
	struct manage_secrets s = { 0 };

	(void)state;
	assert_int_equal(manage_init_secrets(manage, &s, &err), 0);
	assert_true(s.token[0] != '\0' && s.setup_code[0] != '\0');
	assert_int_equal(manage_init_secrets(manage, &s, &err), 0);
	assert_true(s.token[0] == '\0' && s.setup_code[0] == '\0');
	s.given_password = PASSWORD;
	assert_int_equal(manage_init_secrets(manage, &s, &err), 0);
	assert_true(s.took_password);
	assert_int_equal(manage_init_secrets(manage, &s, &err), 0);
	assert_false(s.took_password); /* the one that was set since may be another */
}

static void
the_setup_code_works_once(void **state)
{
	struct manage_secrets s = { 0 };
	char json[256], file[128], token[64];
	struct stat st;

	(void)state;
	assert_int_equal(manage_init_secrets(manage, &s, &err), 0);
	snprintf(file, sizeof file, "%s/setup.code", dir);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	as_actor = NULL;

	CALL(401, "GET", "/manage/session", "");
	assert_string_equal(raw_of("initialised"), "false");
	CALL(403, "POST", "/manage/setup", "{\"code\":\"\",\"password\":\"" PASSWORD "\"}");
	CALL(403, "POST", "/manage/setup",
		"{\"code\":\"000000000000000000000000\",\"password\":\"" PASSWORD "\"}");
	snprintf(json, sizeof json, "{\"code\":\"%s\",\"password\":\"short\"}", s.setup_code);
	CALL(400, "POST", "/manage/setup", json);
	snprintf(
		json, sizeof json, "{\"code\":\"%s\",\"password\":\"" PASSWORD "\"}", s.setup_code);
	CALL(200, "POST", "/manage/setup", json);
	snprintf(token, sizeof token, "%s", text_of("management_token"));
	assert_int_equal(stat(file, &st), -1);

	CALL(409, "POST", "/manage/setup", json);
	assert_int_equal(sign_in(PASSWORD), 200);
	snprintf(bearer, sizeof bearer, "Bearer %s", token);
	CALL(200, "GET", "/manage/projects", "");
}

static void
without_its_file_there_is_no_setup(void **state)
{
	(void)state;
	as_actor = NULL;
	CALL(403, "POST", "/manage/setup", "{\"code\":\"\",\"password\":\"" PASSWORD "\"}");
}

static void
sessions_end_and_are_swept(void **state)
{
	static const char stale[] = "1000 admin";
	uint8_t secret[32] = { 1 }, digest[32];
	char hex[65], name[96], text[64];

	(void)state;
	set_password();
	hash_sha256(secret, sizeof secret, digest);
	hash_hex(digest, sizeof digest, hex);
	snprintf(name, sizeof name, "session.%s", hex);
	assert_int_equal(store_value_put(store, name, stale, sizeof stale - 1, &err), 0);
	hash_hex(secret, sizeof secret, hex);
	snprintf(cookie, sizeof cookie, "sluice_session=%s", hex);
	CALL(401, "GET", "/manage/projects", "");

	assert_int_equal(sign_in(PASSWORD), 200);
	assert_int_equal(manage_sweep(manage, &err), 0);
	assert_int_equal(store_value_get(store, name, text, sizeof text, &err), 0);
	keep_cookie();
	CALL(200, "GET", "/manage/projects", "");

	/* A new password ends those that the old one opened. */
	assert_int_equal(manage_set_password(manage, span_of("another password"), &err), 0);
	CALL(401, "GET", "/manage/projects", "");
}

static bool
holds_secret(void *ctx, const char *name, struct span value)
{
	(void)name;
	return memmem(value.at, value.len, ctx, strlen(ctx)) == NULL;
}

static bool
any_value(void *ctx, const char *name, struct span value)
{
	bool *clean = ctx;
	char password[] = PASSWORD;

	*clean = *clean && holds_secret(password, name, value) &&
		 strstr(name, strchr(cookie, '=') + 1) == NULL;
	return true;
}

static void
neither_password_nor_cookie_is_stored(void **state)
{
	bool clean = true;

	(void)state;
	set_password();
	assert_int_equal(sign_in(PASSWORD), 200);
	snprintf(cookie, sizeof cookie, "%.*s", (int)strcspn(reply_cookie, ";"), reply_cookie);
	assert_int_equal(store_value_each(store, "", any_value, &clean, &err), 0);
	assert_true(clean);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_answered_to_a_stranger),
		TEST(a_password_opens_a_session),
		TEST(a_cookie_alone_changes_nothing),
		TEST(over_https_the_cookie_is_secure),
		TEST(a_mount_that_would_break_the_cookie_is_left_out),
		TEST(guessing_is_held_down),
		TEST(signing_in_rightly_is_not_counted),
		TEST(signing_in_leaves_nothing_on_the_board),
		TEST(management_tokens_need_no_csrf),
		TEST(a_token_that_was_brought_along_works),
		TEST(init_makes_each_secret_once),
		TEST(the_setup_code_works_once),
		TEST(without_its_file_there_is_no_setup),
		TEST(sessions_end_and_are_swept),
		TEST(neither_password_nor_cookie_is_stored),
	};

	return cmocka_run_group_tests_name("manage/session", tests, NULL, NULL);
}
