/* Limits: what may be said of them, what they show, and what changes them for a time. */
#include "fixture.h"

#include "store/limits.h"

static char made[64]; /* id of the limit that was made last */

static void
make(const char *json)
{
	CALL(201, "POST", "/manage/limits", json);
	snprintf(made, sizeof made, "%s", text_of("id"));
}

static const char *
path_of(const char *suffix)
{
	static char path[256];

	snprintf(path, sizeof path, "/manage/limits/%s%s", made, suffix);
	return path;
}

/* Uses up so much of a counter, as an exchange does. */
static void
spend(const struct limit_values *v, int64_t amount)
{
	struct board_claim claim = { .amount = amount, .cap = INT64_MAX, .seeded = true };
	struct board_verdict verdict;
	struct board_lease lease = { 0 };
	uint8_t name[COUNTER_NAME_BYTES];
	struct limit_rule r;
	struct limit l;

	assert_int_equal(store_find(store, RECORD_LIMIT, made, &l, &err), 1);
	limit_rule(&l, NULL, &r);
	limit_window(&r, board_now_ms(board), &claim.window_start_ms, &claim.window_end_ms);
	claim.rolling_ms = limit_rolling_ms(&l);
	board_counter_key(board, name,
		limit_counter_name(
			&r, v, v->tag[0] != NULL ? v->tag[0] : "", claim.window_start_ms, name),
		claim.key);
	assert_int_equal(
		board_admit(board, id_random(), &claim, 1, NULL, NULL, 0, &lease, &verdict, &err),
		0);
	assert_int_equal(verdict.outcome, BOARD_TAKEN);
	assert_int_equal(board_settle(board, lease, &amount, 1, 0, &err), 1);
}

static void
a_scope_is_any_combination(void **state)
{
	(void)state;
	CALL(201, "POST", "/manage/projects", "{\"name\":\"acme\"}");
	CALL(201, "POST", "/manage/upstreams",
		"{\"name\":\"up\",\"base_url\":\"https://up.example/v1\"}");
	make("{\"scope\":{\"project\":\"acme\",\"end_user\":\"each\",\"model\":\"gpt-*\",\"tag\":"
	     "\"feature=*\",\"address\":\"FD00:0:0::1\",\"upstream\":\"up\",\"token\":\"total\"},"
	     "\"metric\":\"tokens\",\"window\":\"rolling:3600\",\"cap\":5,\"warn_at\":[50,80],"
	     "\"reserve\":\"expected\"}");
	assert_string_equal(text_of("scope.end_user"), "each");
	assert_string_equal(text_of("scope.address"), "fd00::1");
	assert_int_equal(strncmp(text_of("scope.upstream"), "up_", 3), 0);
	assert_string_equal(raw_of("scope.token"), "");
	assert_string_equal(text_of("window"), "rolling:3600");
	assert_string_equal(raw_of("warn_at"), "[50,80]");
	assert_string_equal(text_of("reserve"), "expected");
	assert_string_equal(raw_of("used"), "null"); /* each has its own */
	assert_string_equal(raw_of("resets_at"), "null");
	CALL(200, "PATCH", path_of(""), "{\"cap\":6,\"window\":\"rolling:3600\"}");
	CALL(400, "PATCH", path_of(""), "{\"window\":\"rolling:3601\"}");
	CALL(400, "PATCH", path_of(""), "{\"window\":\"day\"}");

	make("{\"metric\":\"cost\",\"cap\":\"1\",\"window\":\"day\",\"timezone\":\"Asia/Tokyo\"}");
	assert_non_null(strstr(text_of("resets_at"), "T15:00:00"));
}

static void
what_cannot_be_meant_is_refused_by_name(void **state)
{
	static const struct {
		const char *why, *json, *field;
	} cases[] = {
		{ "no such zone", "\"window\":\"day\",\"timezone\":\"Europe/Atlantis\"",
			"timezone" },
		{ "a file for a zone", "\"window\":\"day\",\"timezone\":\"../../etc/passwd\"",
			"timezone" },
		{ "a minute has none", "\"window\":\"minute\",\"timezone\":\"Europe/Berlin\"",
			"timezone" },
		{ "no length", "\"window\":\"rolling\"", "window_s" },
		{ "no time at all", "\"window\":\"rolling:0\"", "window" },
		{ "too long", "\"window\":\"rolling:99999999999\"", "window" },
		{ "words", "\"window\":\"rolling:an hour\"", "window" },
		{ "only rolling ones have a length", "\"window\":\"day\",\"window_s\":60",
			"window_s" },
		{ "no such window", "\"window\":\"fortnight\"", "window" },
		{ "no network", "\"scope\":{\"address\":\"10.0.0.0/33\"}", "scope" },
		{ "no address", "\"scope\":{\"address\":\"localhost\"}", "scope" },
		{ "nobody's key", "\"scope\":{\"key\":\"nobody\"}", "scope" },
		{ "a longer end user than there is",
			"\"scope\":{\"end_user\":"
			"\"0123456789012345678901234567890123456789012345678901234567890123\"}",
			"scope" },
		{ "a share of nothing", "\"warn_at\":[0]", "warn_at" },
		{ "too many shares", "\"warn_at\":[10,20,30,40]", "warn_at" },
	};
	char json[512];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(json, sizeof json, "{\"metric\":\"tokens\",\"cap\":1,%s}", cases[i].json);
		if (call("POST", "/manage/limits", json) < 400 ||
			strcmp(text_of("error.field"), cases[i].field) != 0)
			fail_msg("%s: %d %s", cases[i].why, status, body);
	}
	CALL(200, "GET", "/manage/limits", "");
	assert_false(row(0));
}

static void
a_reset_forgives_what_was_used_and_can_be_taken_back(void **state)
{
	const struct limit_values all = { 0 };
	char grant[64], path[128];

	(void)state;
	make("{\"metric\":\"cost\",\"window\":\"month\",\"cap\":\"10\",\"warn_at\":[50,90]}");
	CALL(200, "POST", path_of("/reset"), "{}"); /* nothing was used */
	spend(&all, 6000000000);
	CALL(200, "GET", path_of(""), "");
	assert_string_equal(raw_of("warned"), "[50]");
	CALL(201, "POST", path_of("/reset"), "{\"reason\":\"a mistake\"}");
	snprintf(grant, sizeof grant, "%s", text_of("id"));
	assert_string_equal(text_of("amount"), "6.000000000");
	assert_string_equal(raw_of("is_reset"), "true");
	assert_string_equal(text_of("reason"), "a mistake");
	assert_string_not_equal(raw_of("until"), "null"); /* the window's end */
	CALL(200, "GET", path_of(""), "");
	assert_string_equal(text_of("used"), "0.000000000");
	assert_string_equal(text_of("granted"), "0.000000000");
	assert_string_equal(text_of("remaining"), "10.000000000");
	CALL(200, "POST", path_of("/reset"), "{}"); /* once is enough */
	spend(&all, 1000000000);
	CALL(200, "PATCH", path_of(""), "{\"cap\":\"4\"}"); /* a new cap keeps the use */
	assert_string_equal(text_of("used"), "1.000000000");
	assert_string_equal(text_of("remaining"), "3.000000000");
	CALL(201, "POST", path_of("/reset"), "");
	assert_string_equal(text_of("amount"), "1.000000000");
	snprintf(path, sizeof path, "/manage/grants/%s", grant);
	CALL(204, "DELETE", path, "");
	CALL(200, "GET", path_of(""), "");
	assert_string_equal(text_of("used"), "6.000000000");

	CALL(200, "GET", "/manage/audit", "");
	assert_non_null(strstr(body, "limit.reset"));
	assert_non_null(strstr(body, "grant.delete"));
}

static void
a_grant_adds_to_the_cap_for_a_time(void **state)
{
	char path[128], day[CLOCK_TEXT_BYTES], json[256];
	int64_t until = clock_wall_ms() + 86400000;

	(void)state;
	make("{\"metric\":\"tokens\",\"window\":\"total\",\"cap\":100}");
	clock_rfc3339(until, day);
	snprintf(json, sizeof json, "{\"amount\":40,\"until\":\"%s\",\"reason\":\"a fair\"}", day);
	CALL(201, "POST", path_of("/grant"), json);
	assert_string_equal(raw_of("amount"), "40");
	assert_string_equal(text_of("until"), day);
	assert_string_equal(raw_of("is_active"), "true");
	CALL(200, "GET", path_of(""), "");
	assert_string_equal(raw_of("granted"), "40");
	assert_string_equal(raw_of("remaining"), "140");
	CALL(400, "POST", path_of("/grant"), "{}");
	CALL(400, "POST", path_of("/grant"), "{\"amount\":0}");
	CALL(400, "POST", path_of("/grant"), "{\"amount\":-1}");
	CALL(400, "POST", path_of("/grant"), "{\"amount\":1,\"until\":\"2020-01-01\"}");
	CALL(400, "POST", path_of("/grant"), "{\"amount\":1,\"scope\":{\"token\":\"each\"}}");
	CALL(400, "POST", path_of("/grant"), "{\"amount\":1,\"scope\":{\"model\":\"m\"}}");
	CALL(400, "POST", path_of("/grant"), "{\"amount\":1,\"from\":\"2020-01-01\"}");
	CALL(400, "POST", path_of("/reset"), "{\"amount\":1}");
	CALL(404, "POST", "/manage/limits/lim_0000000000000000000000/grant", "{\"amount\":1}");
	snprintf(path, sizeof path, "/manage/grants?limit_id=%s&is_active=true", made);
	CALL(200, "GET", path, "");
	assert_true(row(0));
	assert_string_equal(text_of("reason"), "a fair");
	make("{\"metric\":\"parallel\",\"cap\":1}");
	CALL(400, "POST", path_of("/reset"), "");
	snprintf(path, sizeof path, "/manage/grants?limit_id=%s", made);
	CALL(200, "GET", path, "");
	assert_false(row(0));
}

static void
of_a_limit_on_each_one_counter_is_meant(void **state)
{
	struct limit_values ann = { .end_user = "ann", .model = "m 1" };
	char path[256];

	(void)state;
	make("{\"scope\":{\"end_user\":\"each\",\"model\":\"each\"},\"metric\":\"requests\","
	     "\"window\":\"day\",\"cap\":5}");
	spend(&ann, 4);
	CALL(400, "POST", path_of("/reset"), "{}"); /* whose? */
	CALL(400, "POST", path_of("/reset"), "{\"scope\":{\"end_user\":\"ann\"}}");
	CALL(400, "POST", path_of("/grant"),
		"{\"amount\":1,\"scope\":{\"end_user\":\"ann\"}}"); /* all, or one */
	CALL(200, "GET", path_of("?end_user=ann&model=m+1"), "");
	assert_string_equal(raw_of("used"), "4");
	CALL(201, "POST", path_of("/reset"),
		"{\"scope\":{\"end_user\":\"ann\",\"model\":\"m 1\"}}");
	assert_string_equal(text_of("scope.end_user"), "ann");
	CALL(201, "POST", path_of("/grant"),
		"{\"amount\":7,\"scope\":{\"end_user\":\"ann\",\"model\":\"m 1\"}}");
	CALL(201, "POST", path_of("/grant"), "{\"amount\":10}");
	CALL(200, "GET", path_of("?end_user=ann&model=m+1"), "");
	assert_string_equal(raw_of("used"), "0");
	assert_string_equal(raw_of("remaining"), "22");
	CALL(200, "GET", path_of("?end_user=bob&model=m+1"), "");
	assert_string_equal(raw_of("remaining"), "15");
	snprintf(path, sizeof path, "/manage/limits?scope=end_user&id=ann");
	CALL(200, "GET", path, "");
	assert_true(row(0));
	CALL(200, "GET", "/manage/limits?tag=x", "");
	assert_false(row(0));
	CALL(400, "GET", "/manage/limits?scope=galaxy&id=x", "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_scope_is_any_combination),
		TEST(what_cannot_be_meant_is_refused_by_name),
		TEST(a_reset_forgives_what_was_used_and_can_be_taken_back),
		TEST(a_grant_adds_to_the_cap_for_a_time),
		TEST(of_a_limit_on_each_one_counter_is_meant),
	};

	return cmocka_run_group_tests_name("manage/limits", tests, NULL, NULL);
}
