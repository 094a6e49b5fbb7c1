/* Provider keys over the API: what a person does to one, and a thousand at once. */
#include "fixture.h"

#include "board/target.h"
#include "route/standing.h"

static char key_path[128];

static void
new_key(void)
{
	if (call("GET", "/manage/upstreams/u", "") == 404)
		CALL(201, "POST", "/manage/upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://h\",\"weight\":7}");
	CALL(201, "POST", "/manage/keys",
		"{\"upstream\":\"u\",\"secret\":\"sk-first-secret-0001\",\"label\":\"one\","
		"\"quotas\":[\"requests/minute=60\"],\"tags\":[\"region=eu\"]}");
	snprintf(key_path, sizeof key_path, "/manage/keys/%s", text_of("id"));
}

static int
act(const char *what, const char *json)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", key_path, what);
	return call("POST", path, json);
}

static void
secret_is(const char *wanted)
{
	char out[SEALED_BYTES];
	struct key k;

	CALL(200, "GET", key_path, "");
	assert_int_equal(store_find(store, RECORD_KEY, text_of("id"), &k, &err), 1);
	assert_true(store_unseal(store, k.head.id, &k.secret, out, sizeof out, &err) > 0);
	assert_string_equal(out, wanted);
}

static void
a_key_gets_another_secret(void **state)
{
	char id[ID_TEXT_BYTES];

	(void)state;
	new_key();
	snprintf(id, sizeof id, "%s", text_of("id"));
	assert_int_equal(act("rotate", "{}"), 400);
	assert_string_equal(text_of("error.field"), "secret");
	assert_int_equal(act("rotate", "{\"secret\":\"sk-****\"}"), 400);
	assert_int_equal(act("rotate", "{\"secret\":\"sk-second-secret-0002\"}"), 200);
	assert_string_equal(text_of("id"), id);
	assert_string_not_equal(text_of("masked"), "");
	secret_is("sk-second-secret-0002");
	assert_false(was_seen("sk-second-secret"));
	assert_false(was_seen("sk-first-secret"));
}

static void
a_key_is_taken_out_with_a_reason(void **state)
{
	(void)state;
	new_key();
	assert_int_equal(act("disable", "{\"reason\":\"bill\\nunpaid\"}"), 400);
	assert_int_equal(act("disable", "{\"reason\":\"the bill is unpaid\"}"), 200);
	assert_string_equal(raw_of("is_enabled"), "false");
	assert_string_equal(text_of("disabled_reason"), "the bill is unpaid");
	assert_string_equal(text_of("state"), "disabled");
	CALL(200, "GET", "/manage/keys?state=disabled&q=ON", "");
	assert_true(row(0));
	CALL(200, "GET", "/manage/keys?state=troubled", "");
	assert_true(row(0));
	CALL(200, "GET", "/manage/keys?state=available", "");
	assert_false(row(0));
	CALL(200, "GET", "/manage/keys?q=two", "");
	assert_false(row(0));
	CALL(400, "GET", "/manage/keys?state=asleep", "");
	assert_int_equal(act("enable", ""), 200);
	assert_string_equal(text_of("disabled_reason"), "");
	assert_int_equal(act("disable", ""), 200);
	CALL(200, "PATCH", key_path, "{\"is_enabled\":true}");

	assert_int_equal(act("revoke", "{\"reason\":\"it leaked\"}"), 200);
	assert_string_equal(text_of("disabled_reason"), "revoked: it leaked");
	assert_string_equal(raw_of("is_enabled"), "false");
	assert_int_equal(act("enable", ""), 409);
	CALL(409, "PATCH", key_path, "{\"is_enabled\":true}");
	{
		struct key k;
		char *id = strrchr(key_path, '/') + 1;

		assert_int_equal(store_find(store, RECORD_KEY, id, &k, &err), 1);
		assert_int_equal(k.secret.len, 0);
	}
	assert_int_equal(act("rotate", "{\"secret\":\"sk-third-secret-0003\"}"), 200);
	assert_string_equal(raw_of("is_enabled"), "true");
	secret_is("sk-third-secret-0003");
}

static struct board_target *
target(void)
{
	struct key k;

	assert_int_equal(store_find(store, RECORD_KEY, strrchr(key_path, '/') + 1, &k, &err), 1);
	return board_target(board, k.head.id);
}

static void
how_it_stands_is_told(void **state)
{
	char path[160];
	int64_t now_ms;

	(void)state;
	new_key();
	CALL(200, "GET", key_path, "");
	assert_string_equal(text_of("state"), "available");
	assert_string_equal(raw_of("cause"), "null");
	assert_string_equal(text_of("breaker"), "closed");
	assert_string_equal(raw_of("share_percent"), "100.0");
	assert_string_equal(raw_of("success_percent"), "null");
	assert_string_equal(raw_of("counters.requests"), "0");
	assert_string_equal(raw_of("models"), "[]");

	now_ms = board_now_ms(board);
	target()->rest_until_ms = now_ms + 60000;
	target()->standing = TARGET_THROTTLED | CAUSE_RATE_LIMIT << 8 | 429 << 16;
	CALL(200, "GET", key_path, "");
	assert_string_equal(text_of("state"), "throttled");
	assert_string_equal(text_of("cause"), "rate_limit");
	assert_string_equal(raw_of("status"), "429");
	assert_string_equal(text_of("last_error"), "HTTP 429");
	assert_string_not_equal(raw_of("rests_until"), "null");

	/* the next request finds out */
	assert_int_equal(act("retry", ""), 200);
	assert_true(target()->rest_until_ms <= board_now_ms(board));
	assert_string_equal(text_of("state"), "throttled");
	/* what it was left out for does not outlive a person's word */
	assert_int_equal(act("disable", "{\"reason\":\"not today\"}"), 200);
	assert_string_equal(text_of("state"), "disabled");
	assert_int_equal(act("retry", ""), 409);
	assert_int_equal(act("enable", ""), 200);
	assert_string_equal(text_of("state"), "available");
	assert_int_equal(target()->rest_until_ms, 0);

	snprintf(path, sizeof path, "%s/history", key_path);
	CALL(200, "GET", path, "");
	assert_true(row(0)); /* the newest */
	assert_string_equal(text_of("from"), "disabled");
	assert_string_equal(text_of("to"), "available");
	assert_string_equal(text_of("cause"), "person");
	CALL(200, "GET", path, "");
	assert_non_null(strstr(body, "not today"));
	assert_non_null(strstr(body, "\"from\":\"throttled\",\"to\":\"disabled\""));
	CALL(200, "GET", "/manage/audit?action=key.retry", "");
	assert_true(row(0));

	/* a new secret knows nothing of the old one's trouble */
	target()->standing = TARGET_INVALID | CAUSE_INVALID << 8 | 401 << 16;
	target()->rest_until_ms = now_ms + 3600000;
	assert_int_equal(act("rotate", "{\"secret\":\"sk-second-secret-0002\"}"), 200);
	assert_string_equal(text_of("state"), "available");
}

static void
breakers_are_listed_open_ones_first(void **state)
{
	(void)state;
	new_key();
	CALL(201, "POST", "/manage/upstreams", "{\"name\":\"v\",\"base_url\":\"https://v\"}");
	CALL(200, "POST", "/manage/upstreams/v/breaker", "{\"state\":\"open\"}");
	CALL(200, "GET", "/manage/breakers", "");
	assert_true(row(0));
	assert_string_equal(text_of("name"), "v");
	assert_string_equal(text_of("breaker"), "forced_open");
	CALL(200, "GET", "/manage/breakers", "");
	assert_true(row(1));
	assert_string_equal(text_of("breaker"), "closed");
	CALL(200, "GET", "/manage/breakers", "");
	assert_false(row(2)); /* the key's is closed */
	target()->breaker = 1;
	target()->rest_until_ms = board_now_ms(board) + 60000;
	CALL(200, "GET", "/manage/breakers", "");
	assert_true(row(1));
	assert_string_equal(text_of("kind"), "key");
	assert_string_equal(text_of("breaker"), "open");
	assert_string_equal(text_of("upstream"), "u");
}

static void
a_key_that_nobody_hears_does_not_work(void **state)
{
	(void)state;
	new_key();
	CALL(200, "PATCH", "/manage/upstreams/u", "{\"base_url\":\"http://127.0.0.1:1/v1\"}");
	assert_int_equal(act("test", ""), 200); /* the guard does not let it out */
	assert_string_equal(raw_of("ok"), "false");
	assert_string_equal(text_of("verdict"), "unreachable");
	assert_string_equal(raw_of("status"), "null");
	assert_string_not_equal(text_of("message"), "");
	assert_int_equal(act("revoke", ""), 200);
	assert_int_equal(act("test", ""), 409);
}

static void
what_it_may_use_is_judged(void **state)
{
	static const char *const bad[] = { "requests/minute", "requests/minute=0", "calls/day=5",
		"requests/fortnight=5", "tokens/day=1e6", "tokens/day=-5" };
	char json[128];

	(void)state;
	new_key();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(json, sizeof json, "{\"quotas\":[\"%s\"]}", bad[i]);
		CALL(400, "PATCH", key_path, json);
		assert_string_equal(text_of("error.field"), "quotas");
	}
	CALL(200, "PATCH", key_path,
		"{\"quotas\":[\"tokens/day=1000000\",\"input_tokens/minute=5\"]}");
	CALL(400, "PATCH", key_path, "{\"allowed_models\":[\"/(/\"]}");
}

static void
many_come_at_once(void **state)
{
	static char json[200 * 1024];
	int n = snprintf(json, sizeof json, "{\"keys\":[");

	(void)state;

	new_key();
	for (int i = 0; i < 1000; i++)
		n += snprintf(json + n, sizeof json - (size_t)n,
			"%s{\"upstream\":\"u\",\"secret\":\"sk-many-secret-%06d\",\"label\":\"k%"
			"d\","
			"\"weight\":%d}",
			i > 0 ? "," : "", i, i, 1 + i % 9);
	snprintf(json + n, sizeof json - (size_t)n,
		",{\"upstream\":\"u\",\"secret\":\"sk-first-secret-0001\"}"
		",{\"upstream\":\"u\",\"secret\":\"sk-many-secret-000007\"}"
		",{\"upstream\":\"x\",\"secret\":\"sk-of-nobody-000000001\"}"
		",{\"upstream\":\"u\",\"secret\":\"sk-of-nobody-000000002\",\"weight\":0}]}");
	CALL(200, "POST", "/manage/keys/import", json);
	assert_string_equal(raw_of("read"), "1004");
	assert_string_equal(raw_of("imported"), "1000");
	assert_string_equal(raw_of("skipped"), "2");
	assert_string_equal(raw_of("refused"), "2");
	assert_false(was_seen("sk-many-secret"));
	assert_false(was_seen("sk-of-nobody"));
	CALL(200, "POST", "/manage/keys/import", json); /* repeated */
	assert_string_equal(raw_of("imported"), "0");
	assert_string_equal(raw_of("skipped"), "1002");
	CALL(200, "GET", "/manage/changes?limit=2", "");
	assert_non_null(strstr(body, "\"key.import\""));
	CALL(200, "GET", "/manage/keys?limit=101", "");
	assert_true(row(100));
}

static void
a_table_is_read_too(void **state)
{
	(void)state;
	new_key();
	CALL(200, "POST", "/manage/keys/import",
		"{\"dry_run\":true,\"upstream\":\"u\",\"text\":\"secret,label,tags,weight\\n"
		"sk-from-a-table-01,\\\"with, comma\\\",region=eu;tier=free,5\\n\\n"
		"sk-from-a-table-02,,,\\n\"}");
	assert_string_equal(raw_of("imported"), "2");
	CALL(200, "GET", "/manage/keys", "");
	assert_false(row(1)); /* it was only told */
	CALL(200, "POST", "/manage/keys/import",
		"{\"upstream\":\"u\",\"text\":\"secret,label,tags,weight\\n"
		"sk-from-a-table-01,\\\"with, comma\\\",region=eu;tier=free,5\\n\"}");
	CALL(200, "POST", "/manage/keys/import",
		"{\"text\":\"u,sk-from-a-table-03,third,9,1\"}"); /* without names */
	assert_string_equal(raw_of("imported"), "1");
	CALL(200, "GET", "/manage/keys", "");
	assert_non_null(strstr(body, "\"label\":\"with, comma\""));
	assert_non_null(strstr(body, "[\"region=eu\",\"tier=free\"]"));
	assert_non_null(strstr(body, "\"weight\":9,\"priority\":1"));

	CALL(400, "POST", "/manage/keys/import", "{}");
	CALL(400, "POST", "/manage/keys/import", "{\"keys\":[1]}");
	CALL(400, "POST", "/manage/keys/import", "{\"keys\":{}}");
	CALL(400, "POST", "/manage/keys/import", "{\"text\":\"a,\\\"b\"}");
	CALL(400, "POST", "/manage/keys/import", "{\"text\":\"\",\"key\":1}");
	CALL(200, "POST", "/manage/keys/import",
		"{\"text\":\"secret,colour\\nsk-from-a-table-04,red\"}");
	assert_string_equal(raw_of("refused"), "1");
	assert_false(was_seen("sk-from-a-table"));
}

static void
a_breaker_is_forced(void **state)
{
	(void)state;
	new_key();
	CALL(400, "POST", "/manage/upstreams/u/breaker", "{}");
	CALL(400, "POST", "/manage/upstreams/u/breaker", "{\"state\":\"ajar\"}");
	CALL(200, "POST", "/manage/upstreams/u/breaker", "{\"state\":\"open\"}");
	assert_string_equal(text_of("breaker"), "open");
	assert_string_equal(raw_of("weight"), "7");
	CALL(200, "GET", "/manage/audit?action=upstream.breaker", "");
	assert_true(row(0));
	CALL(404, "POST", "/manage/upstreams/none/breaker", "{\"state\":\"open\"}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_gets_another_secret),
		TEST(a_key_is_taken_out_with_a_reason),
		TEST(how_it_stands_is_told),
		TEST(breakers_are_listed_open_ones_first),
		TEST(a_key_that_nobody_hears_does_not_work),
		TEST(what_it_may_use_is_judged),
		TEST(many_come_at_once),
		TEST(a_table_is_read_too),
		TEST(a_breaker_is_forced),
	};

	return cmocka_run_group_tests_name("manage/keys", tests, NULL, NULL);
}
