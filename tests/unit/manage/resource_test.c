/* Records over the API: made, shown, changed, refused, and never telling a secret. */
#include "fixture.h"

#include "board/target.h"
#include "store/window.h"

static void
a_project_lives(void **state)
{
	char path[128];

	(void)state;
	CALL(201, "POST", "/manage/projects",
		"{\"name\":\"web \\u00e9\",\"allowed_models\":[\"gpt-*\",\"mock\"]}");
	assert_string_equal(raw_of("is_active"), "true");
	assert_string_equal(text_of("name"), "web é");
	assert_string_equal(raw_of("allowed_models"), "[\"gpt-*\",\"mock\"]");
	assert_string_equal(raw_of("deactivated_at"), "null");
	assert_string_equal(raw_of("api_key"), "null");
	assert_true(strncmp(text_of("id"), "prj_", 4) == 0);
	assert_true(text_of("created_at")[23] == 'Z');
	assert_string_equal(reply_etag, "\"1\"");
	snprintf(path, sizeof path, "/any/mount/manage/projects/%s", text_of("id"));

	CALL(200, "GET", path, "");
	CALL(200, "GET", "/manage/projects/web%20%C3%A9", ""); /* a name is as good as an id */
	CALL(200, "PATCH", path, "{\"is_active\":false}");
	assert_string_equal(raw_of("is_active"), "false");
	assert_string_not_equal(raw_of("deactivated_at"), "null");
	CALL(200, "PUT", path, "{\"is_active\":true,\"allowed_models\":null}");
	assert_string_equal(raw_of("deactivated_at"), "null");
	assert_string_equal(raw_of("allowed_models"), "[]");
	assert_string_equal(text_of("name"), "web é"); /* PUT is PATCH */

	CALL(405, "DELETE", path, "");
	assert_non_null(strstr(text_of("error.message"), "is_active"));
	assert_non_null(strstr(reply_allow, "PATCH"));
	CALL(404, "GET", "/manage/projects/prj_0000000000000000000000", "");
	CALL(404, "GET", "/manage/projects/nobody", "");
}

static void
names_are_unique_and_no_ids(void **state)
{
	char json[128];

	(void)state;
	(void)new_project("one");
	CALL(409, "POST", "/manage/projects", "{\"name\":\"one\"}");
	assert_string_equal(text_of("error.field"), "name");
	snprintf(json, sizeof json, "{\"name\":\"%s\"}", new_project("two"));
	CALL(400, "POST", "/manage/projects", json);
	CALL(409, "PATCH", "/manage/projects/two", "{\"name\":\"one\"}");
	CALL(400, "PATCH", "/manage/projects/two", "{\"name\":\"\"}");
}

static void
what_cannot_be_understood_is_refused_by_name(void **state)
{
	static const struct {
		const char *why, *path, *json, *field;
	} cases[] = {
		{ "unknown field", "projects", "{\"name\":\"a\",\"nam\":1}", "nam" },
		{ "of another kind", "projects", "{\"name\":\"a\",\"base_url\":1}", "base_url" },
			"base_url" },
		{ "set by sluice", "projects", "{\"name\":\"a\",\"created_at\":null}",
			"created_at" },
		{ "the id too", "projects", "{\"id\":\"prj_x\",\"name\":\"a\"}", "id" },
		{ "hidden", "projects", "{\"name\":\"a\",\"version\":1}", "version" },
		{ "missing", "projects", "{}", "name" },
		{ "null is missing", "projects", "{\"name\":null}", "name" },
		{ "wrong type", "projects", "{\"name\":1}", "name" },
		{ "no boolean", "projects", "{\"name\":\"a\",\"is_active\":1}", "is_active" },
		{ "no list", "projects", "{\"name\":\"a\",\"allowed_models\":\"x\"}",
			"allowed_models" },
		{ "list of numbers", "projects", "{\"name\":\"a\",\"allowed_models\":[1]}",
			"allowed_models" },
		{ "empty entry", "projects", "{\"name\":\"a\",\"allowed_models\":[\"\"]}",
			"allowed_models" },
		{ "line end", "projects", "{\"name\":\"a\\nb\"}", "name" },
		{ "NUL", "projects", "{\"name\":\"a\\u0000b\"}", "name" },
		{ "too long", "projects",
			"{\"name\":"
			"\"0123456789012345678901234567890123456789012345678901234567890123"
			"\"}",
			"name" },
		{ "masked key", "projects", "{\"name\":\"a\",\"api_key\":\"sk-abcd...wxyz\"}",
			"api_key" },
		{ "below the range", "upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://a\",\"weight\":0}", "weight" },
		{ "above the range", "upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://a\",\"weight\":1001}", "weight" },
		{ "no whole number", "upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://a\",\"weight\":1.5}", "weight" },
		{ "no such choice", "upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://a\",\"auth\":\"basic\"}", "auth" },
		{ "another scheme", "upstreams", "{\"name\":\"u\",\"base_url\":\"file:///etc\"}",
			"base_url" },
		{ "credentials in the address", "upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://u:p@host/v1\"}", "base_url" },
		{ "a query in it", "upstreams", "{\"name\":\"u\",\"base_url\":\"https://h/?a=b\"}",
			"base_url" },
		{ "no header", "upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://h\",\"extra_headers\":[\"x\"]}",
			"extra_headers" },
		{ "Host", "upstreams",
			"{\"name\":\"u\",\"base_url\":\"https://h\",\"extra_headers\":[\"Host: "
			"x\"]}",
			"extra_headers" },
		{ "too fine money", "prices",
			"{\"model\":\"m\",\"input\":\"0.0000000001\",\"output\":\"1\"}", "input" },
		{ "negative money", "prices", "{\"model\":\"m\",\"input\":\"1\",\"output\":-1}",
			"output" },
		{ "no time", "prices",
			"{\"model\":\"m\",\"input\":1,\"output\":1,\"from\":\"soon\"}", "from" },
		{ "unknown scope", "limits",
			"{\"scope\":{\"galaxy\":\"x\"},\"metric\":\"requests\",\"cap\":1}",
			"scope" },
		{ "scope is no object", "limits",
			"{\"scope\":[],\"metric\":\"requests\",\"cap\":1}", "scope" },
		{ "scope under its inner name", "limits",
			"{\"scope_model\":\"x\",\"metric\":\"requests\",\"cap\":1}",
			"scope_model" },
		{ "no cap", "limits", "{\"metric\":\"requests\"}", "cap" },
		{ "no metric", "limits", "{\"cap\":1}", "metric" },
		{ "half a request", "limits", "{\"metric\":\"requests\",\"cap\":\"1.5\"}", "cap" },
	};
	char path[64];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(path, sizeof path, "/manage/%s", cases[i].path);
		if (call("POST", path, cases[i].json) != 400 ||
			strcmp(text_of("error.field"), cases[i].field) != 0)
			fail_msg("%s: %d %s", cases[i].why, status, body);
	}
	CALL(400, "POST", "/manage/projects", "{\"name\":\"a\"");
	CALL(400, "POST", "/manage/projects", "[]");
	CALL(413, "POST", "/manage/tokens/x/revoke", memset(body, ' ', 5000));
	CALL(404, "GET", "/manage/nothing", "");
	CALL(404, "GET", "/manage/projects/", "");
	CALL(404, "GET", "/manage/projects/%00", "");
	CALL(404, "GET", "/managed/projects", "");
	CALL(405, "PATCH", "/manage/projects", "{}");
	CALL(200, "GET", "/manage/projects", ""); /* nothing of all that was made */
	assert_false(row(0));
}

static void
whoever_is_slower_hears_of_it(void **state)
{
	(void)state;
	(void)new_project("one");
	strcpy(if_match, "\"1\"");
	CALL(200, "PATCH", "/manage/projects/one", "{\"allowed_models\":[\"a\"]}");
	assert_string_equal(reply_etag, "\"2\"");
	CALL(412, "PATCH", "/manage/projects/one", "{\"allowed_models\":[\"b\"]}");
	assert_string_equal(text_of("error.code"), "stale");
	strcpy(if_match, "*");
	CALL(200, "PATCH", "/manage/projects/one", "{\"allowed_models\":[\"b\"]}");
	if_match[0] = '\0';
	CALL(200, "PATCH", "/manage/projects/one", "{\"allowed_models\":[\"b\"]}");
	assert_string_equal(reply_etag, "\"3\""); /* nothing changed: nothing written */
	CALL(400, "PATCH", "/manage/projects/one", "{}");
}

static void
lists_come_in_pages(void **state)
{
	static char page[sizeof body];
	char name[16], target[96], next[64], last[64] = "";
	int met[7] = { 0 }, pages = 0;

	(void)state;
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof name, "p%d", i);
		(void)new_project(name);
	}
	snprintf(target, sizeof target, "/manage/projects?limit=3");
	do {
		CALL(200, "GET", target, "");
		pages++;
		snprintf(next, sizeof next, "%s", text_of("next"));
		memcpy(page, body, sizeof page);
		for (int i = 0; row(i); i++) {
			met[text_of("name")[1] - '0']++;
			/* By id, whose head is the time: oldest first, to the millisecond. */
			assert_true(strcmp(text_of("id"), last) > 0);
			snprintf(last, sizeof last, "%s", text_of("id"));
			memcpy(body, page, sizeof page);
		}
		snprintf(target, sizeof target, "/manage/projects?limit=3&cursor=%s", next);
	} while (next[0] != '\0');
	assert_int_equal(pages, 3);
	for (int i = 0; i < 7; i++)
		assert_int_equal(met[i], 1);
	CALL(400, "GET", "/manage/projects?limit=0", "");
	CALL(400, "GET", "/manage/projects?cursor=zzz", "");
}

static void
a_token_is_shown_once_and_revoked_for_good(void **state)
{
	char json[512], path[128], secret[64], masked[64], id[64];
	uint8_t sha256[32];
	struct token t;

	(void)state;
	snprintf(json, sizeof json,
		"{\"project_id\":\"%s\",\"label\":\"ci\",\"duration_minutes\":60,\"max_requests\":"
		"5}",
		new_project("one"));
	CALL(201, "POST", "/manage/tokens", json);
	snprintf(secret, sizeof secret, "%s", text_of("token"));
	snprintf(masked, sizeof masked, "%s", text_of("masked"));
	snprintf(id, sizeof id, "%s", text_of("id"));
	assert_int_equal(strlen(secret), TOKEN_BYTES - 1);
	assert_false(token_mistyped(secret, strlen(secret)));
	assert_string_equal(raw_of("max_requests"), "5");
	assert_string_equal(raw_of("request_count"), "0");
	assert_string_equal(raw_of("last_used_at"), "null");
	assert_string_equal(raw_of("revoked_at"), "null");
	bytes_free(&seen); /* that one reply may show it, and no other */

	hash_sha256(secret, strlen(secret), sha256);
	assert_int_equal(store_token_by_hash(store, sha256, &t, &err), 1);
	assert_true(t.expires_ms > clock_wall_ms() + 59 * 60000 &&
		    t.expires_ms <= clock_wall_ms() + 60 * 60000);

	snprintf(path, sizeof path, "/manage/tokens/%s", id);
	CALL(200, "GET", path, "");
	assert_string_equal(text_of("masked"), masked);
	assert_string_equal(raw_of("token"), "");
	CALL(200, "PATCH", path, "{\"expires_at\":null,\"label\":\"ci 2\"}");
	assert_string_equal(raw_of("expires_at"), "null");
	snprintf(json, sizeof json, "{\"project_id\":\"%s\"}", new_project("two"));
	CALL(400, "PATCH", path, json);
	assert_string_equal(text_of("error.field"), "project_id");
	CALL(200, "PATCH", path, "{\"project_id\":\"one\"}"); /* the same: no change */

	snprintf(path, sizeof path, "/manage/tokens/%s/revoke", id);
	CALL(200, "POST", path, "{\"reason\":\"left\"}");
	assert_string_equal(raw_of("is_active"), "false");
	assert_string_equal(text_of("revoked_reason"), "left");
	CALL(200, "POST", path, "{\"reason\":\"again\"}");
	assert_string_equal(text_of("revoked_reason"), "left");
	assert_int_equal(store_token_by_hash(store, sha256, &t, &err), 1);
	assert_false(t.is_active);
	snprintf(path, sizeof path, "/manage/tokens/%s", id);
	CALL(204, "DELETE", path, "");
	CALL(200, "PATCH", path, "{\"is_active\":true}");
	assert_string_equal(raw_of("revoked_at"), "null");
	CALL(204, "DELETE", path, "");
	CALL(200, "GET", path, "");
	assert_string_equal(raw_of("is_active"), "false");

	CALL(200, "GET", "/manage/tokens?project_id=two", "");
	assert_false(row(0));
	CALL(200, "GET", "/manage/tokens?projectId=one&is_active=false", "");
	assert_true(row(0));
	CALL(200, "GET", "/manage/audit", "");
	assert_false(was_seen(secret));
}

static void
token_members_that_clash_are_refused(void **state)
{
	static const struct {
		const char *members, *field;
		int status;
	} cases[] = {
		{ "\"duration_minutes\":0", "duration_minutes", 400 },
		{ "\"duration_minutes\":525601", "duration_minutes", 400 },
		{ "\"duration_minutes\":5,\"expires_at\":\"2999-01-01T00:00:00Z\"", "expires_at",
			400 },
		{ "\"expires_at\":\"2001-01-01T00:00:00Z\"", "expires_at", 400 },
		{ "\"expires_at\":\"2999-01-01T00:00:00Z\",\"not_before\":\"2999-01-02\"",
			"not_before", 400 },
		{ "\"max_requests\":-1", "max_requests", 400 },
		{ "\"secret\":\"short\"", "secret", 400 },
		{ "\"secret\":\"has a space in the middle\"", "secret", 400 },
		{ "\"secret\":\"sk-sl-0000000000000000000000000000000000000000\"", "secret", 400 },
		{ "\"secret_sha256\":\"12\"", "secret_sha256", 400 },
	};
	char json[512];

	(void)state;
	(void)new_project("one");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(json, sizeof json, "{\"project_id\":\"one\",%s}", cases[i].members);
		if (call("POST", "/manage/tokens", json) != cases[i].status ||
			strcmp(text_of("error.field"), cases[i].field) != 0)
			fail_msg("%s: %d %s", cases[i].members, status, body);
	}
	CALL(404, "POST", "/manage/tokens", "{\"project_id\":\"nobody\"}");
	CALL(400, "POST", "/manage/tokens", "{}");
	CALL(200, "PATCH", "/manage/projects/one", "{\"is_active\":false}");
	CALL(403, "POST", "/manage/tokens", "{\"project_id\":\"one\"}");
	assert_string_equal(text_of("error.code"), "project_inactive");
}

static void
a_token_may_be_brought_along(void **state)
{
	static const char secret[] = "sk-or-v1-0123456789abcdef0123456789abcdef";
	char json[512], hex[65];
	uint8_t sha256[32];
	struct token t;

	(void)state;
	(void)new_project("one");
	snprintf(json, sizeof json, "{\"project_id\":\"one\",\"secret\":\"%s\"}", secret);
	CALL(201, "POST", "/manage/tokens", json);
	assert_string_equal(raw_of("token"), "");
	assert_false(was_seen(secret));
	hash_sha256(secret, sizeof secret - 1, sha256);
	assert_int_equal(store_token_by_hash(store, sha256, &t, &err), 1);
	CALL(409, "POST", "/manage/tokens", json);

	sha256[0] ^= 1;
	hash_hex(sha256, 32, hex);
	snprintf(json, sizeof json, "{\"project_id\":\"one\",\"secret_sha256\":\"%s\"}", hex);
	CALL(201, "POST", "/manage/tokens", json);
	assert_int_equal(store_token_by_hash(store, sha256, &t, &err), 1);
	assert_true(strncmp(text_of("masked"), "sha256:", 7) == 0);
}

static void
all_tokens_of_a_project_are_revoked_at_once(void **state)
{
	char one[64], other[128];

	(void)state;
	snprintf(one, sizeof one, "%s", new_project("one"));
	(void)new_project("two");
	for (int i = 0; i < 3; i++)
		CALL(201, "POST", "/manage/tokens", "{\"project_id\":\"one\"}");
	snprintf(other, sizeof other, "/manage/tokens/%s/revoke", text_of("id"));
	CALL(200, "POST", other, "");
	CALL(201, "POST", "/manage/tokens", "{\"project_id\":\"two\"}");
	snprintf(other, sizeof other, "/manage/tokens/%s", text_of("id"));

	CALL(200, "POST", "/manage/projects/one/revoke-tokens", "");
	assert_string_equal(raw_of("revoked_count"), "2");
	assert_string_equal(raw_of("already_revoked_count"), "1");
	assert_string_equal(raw_of("total_tokens"), "3");
	CALL(200, "GET", other, "");
	assert_string_equal(raw_of("is_active"), "true");

	CALL(400, "PATCH", "/manage/projects/two", "{\"revoke_tokens\":true}");
	CALL(200, "PATCH", "/manage/projects/two", "{\"is_active\":false,\"revoke_tokens\":true}");
	assert_string_equal(raw_of("revoked_count"), "1");
}

static void
a_key_is_sealed_and_masked(void **state)
{
	static const char secret[] = "sk-proj-VerySecretIndeed0123456789",
			  second[] = "sk-Another-9876543210";
	char json[512], path[128], out[128];
	struct key k;
	struct id id;

	(void)state;
	CALL(201, "POST", "/manage/upstreams",
		"{\"name\":\"up\",\"base_url\":\"https://api.example.com/v1/\"}");
	assert_string_equal(text_of("base_url"), "https://api.example.com/v1");
	snprintf(json, sizeof json, "{\"upstream\":\"up\",\"secret\":\"%s\",\"label\":\"l\"}",
		secret);
	CALL(201, "POST", "/manage/keys", json);
	assert_string_equal(text_of("upstream_name"), "up");
	assert_true(strncmp(text_of("upstream"), "up_", 3) == 0);
	assert_string_equal(text_of("state"), "available");
	assert_string_equal(raw_of("rests_until"), "null");
	assert_string_equal(raw_of("last_error"), "null");
	assert_int_equal(id_parse("key_", text_of("id"), &id), 0);
	assert_int_equal(store_get(store, RECORD_KEY, id, &k, &err), 1);
	assert_int_equal(
		store_unseal(store, id, &k.secret, out, sizeof out, &err), sizeof secret - 1);
	assert_string_equal(out, secret);
	snprintf(path, sizeof path, "/manage/keys/%s", text_of("id"));

	board_target(board, id)->rest_until_ms = board_now_ms(board) + 60000;
	board_target(board, id)->standing = TARGET_THROTTLED | CAUSE_RATE_LIMIT << 8 | 429 << 16;
	CALL(200, "GET", path, "");
	assert_string_equal(text_of("state"), "throttled");
	assert_string_equal(text_of("last_error"), "HTTP 429");
	assert_string_not_equal(raw_of("rests_until"), "null");
	snprintf(json, sizeof json, "{\"secret\":\"%s\"}", second);
	CALL(200, "PATCH", path, json);
	assert_string_equal(text_of("state"), "available"); /* what failed was the old one */
	assert_int_equal(store_get(store, RECORD_KEY, id, &k, &err), 1);
	(void)store_unseal(store, id, &k.secret, out, sizeof out, &err);
	assert_string_equal(out, second);

	strcat(path, "/disable");
	CALL(200, "POST", path, "");
	assert_string_equal(text_of("state"), "disabled");
	*strrchr(path, '/') = '\0';
	strcat(path, "/enable");
	CALL(200, "POST", path, "");
	assert_string_equal(text_of("state"), "available");
	CALL(409, "DELETE", "/manage/upstreams/up", "");
	*strrchr(path, '/') = '\0';
	CALL(204, "DELETE", path, "");
	CALL(404, "GET", path, "");
	CALL(204, "DELETE", "/manage/upstreams/up", "");

	CALL(400, "POST", "/manage/keys", "{\"upstream\":\"nowhere\",\"secret\":\"x\"}");
	assert_string_equal(text_of("error.code"), "unknown_upstream");
	CALL(200, "GET", "/manage/keys", "");
	CALL(200, "GET", "/manage/audit", "");
	assert_false(was_seen(secret));
	assert_false(was_seen(second));
}

static void
a_projects_own_key_goes_to_openai(void **state)
{
	static const char secret[] = "sk-proj-OfTheProject0123456789",
			  second[] = "sk-proj-TheNext9876543210";
	struct upstream u;

	(void)state;
	CALL(201, "POST", "/manage/projects",
		"{\"name\":\"one\",\"api_key\":\"sk-proj-OfTheProject0123456789\"}");
	assert_string_not_equal(raw_of("api_key"), "null");
	assert_int_equal(store_find(store, RECORD_UPSTREAM, "openai", &u, &err), 1);
	assert_string_equal(u.base_url, "https://api.openai.com/v1");
	CALL(200, "GET", "/manage/keys?project_id=one", "");
	assert_true(row(0));
	assert_string_equal(text_of("upstream_name"), "openai");
	CALL(200, "PATCH", "/manage/projects/one", "{\"api_key\":\"sk-proj-TheNext9876543210\"}");
	CALL(200, "GET", "/manage/keys?project_id=one", "");
	assert_false(row(1)); /* replaced, not added */
	assert_false(was_seen(secret));
	assert_false(was_seen(second));
}

static void
there_is_one_default_upstream(void **state)
{
	(void)state;
	CALL(201, "POST", "/manage/upstreams",
		"{\"name\":\"a\",\"base_url\":\"http://a\",\"default\":true}");
	CALL(201, "POST", "/manage/upstreams",
		"{\"name\":\"b\",\"base_url\":\"http://b\",\"default\":true}");
	CALL(200, "GET", "/manage/upstreams/a", "");
	assert_string_equal(raw_of("default"), "false");
	CALL(200, "GET", "/manage/upstreams/b", "");
	assert_string_equal(raw_of("default"), "true");
}

static void
prices_are_exact(void **state)
{
	char path[128];

	(void)state;
	CALL(201, "POST", "/manage/prices",
		"{\"model\":\"m*\",\"input\":2.5,\"output\":\"0.000000001\",\"cache_read\":\"0\"}");
	assert_string_equal(text_of("input"), "2.500000000");
	assert_string_equal(text_of("output"), "0.000000001");
	assert_string_equal(text_of("cache_read"), "0.000000000");
	assert_string_equal(raw_of("cache_write_5m"), "null"); /* not stated */
	assert_string_equal(raw_of("is_builtin"), "false");
	snprintf(path, sizeof path, "/manage/prices/%s", text_of("id"));
	CALL(200, "PATCH", path, "{\"cache_read\":null,\"input\":\"9223372036.854775807\"}");
	assert_string_equal(raw_of("cache_read"), "null");
	assert_string_equal(text_of("input"), "9223372036.854775807");
	CALL(400, "PATCH", path, "{\"input\":\"9223372036.854775808\"}");
	CALL(204, "DELETE", path, "");
}

/* Takes from the counter of a limit as admission does; the lease stays open. */
static struct board_lease
take(const char *limit, const char *project, int64_t amount)
{
	struct limit l;
	struct limit_values v = { 0 };
	uint8_t name[COUNTER_NAME_BYTES];
	struct limit_rule r;
	struct board_claim claim = { .amount = amount, .seeded = true };
	struct board_verdict verdict;
	struct board_lease lease = { 0 };

	assert_int_equal(store_find(store, RECORD_LIMIT, limit, &l, &err), 1);
	claim.cap = l.cap;
	window_bounds((enum limit_window)l.window, NULL, board_now_ms(board),
		&claim.window_start_ms, &claim.window_end_ms);
	limit_rule(&l, NULL, &r);
	if (project != NULL)
		assert_int_equal(id_parse("prj_", project, &v.project), 0);
	board_counter_key(board, name, limit_counter_name(&r, &v, "", claim.window_start_ms, name),
		claim.key);
	assert_int_equal(
		board_admit(board, id_random(), &claim, 1, NULL, NULL, 0, &lease, &verdict, &err),
		0);
	assert_int_equal(verdict.outcome, BOARD_TAKEN);
	return lease;
}

static void
limits_show_what_is_used(void **state)
{
	const int64_t spent = 1250000000;
	char one[64], path[128], id[64];
	struct board_lease lease;

	(void)state;
	snprintf(one, sizeof one, "%s", new_project("one"));
	CALL(201, "POST", "/manage/limits",
		"{\"scope\":{\"project\":\"one\"},\"cap\":\"10.5\",\"window\":\"month\",\"metric\":"
		"\"cost\"}");
	assert_string_equal(text_of("scope.project"), one); /* kept by id: names change */
	assert_string_equal(text_of("cap"), "10.500000000");
	assert_string_equal(text_of("used"), "0.000000000");
	assert_string_equal(text_of("remaining"), "10.500000000");
	assert_string_not_equal(raw_of("resets_at"), "null");
	snprintf(id, sizeof id, "%s", text_of("id"));
	snprintf(path, sizeof path, "/manage/limits/%s", id);

	lease = take(id, one, 2 * spent);
	CALL(200, "GET", path, "");
	assert_string_equal(text_of("used"), "0.000000000");
	assert_string_equal(text_of("reserved"), "2.500000000");
	assert_string_equal(text_of("remaining"), "8.000000000");
	assert_int_equal(board_settle(board, lease, &spent, 1, 0, &err), 1);
	CALL(200, "GET", path, "");
	assert_string_equal(text_of("used"), "1.250000000");
	assert_string_equal(text_of("reserved"), "0.000000000");

	CALL(200, "PATCH", path, "{\"cap\":1}"); /* a new cap keeps the use */
	assert_string_equal(text_of("used"), "1.250000000");
	assert_string_equal(text_of("remaining"), "0.000000000");
	CALL(400, "PATCH", path, "{\"metric\":\"tokens\"}");
	CALL(400, "PATCH", path, "{\"scope\":{}}");
	CALL(200, "PATCH", path, "{\"scope\":{\"project\":\"one\"},\"mode\":\"soft\"}");
	CALL(204, "DELETE", path, "");
}

static void
a_limit_on_each_shows_the_use_of_the_one_asked_for(void **state)
{
	char one[64], id[64];
	struct board_lease lease;
	const int64_t spent = 3;

	(void)state;
	snprintf(one, sizeof one, "%s", new_project("one"));
	CALL(201, "POST", "/manage/limits",
		"{\"scope\":{\"project\":\"each\"},\"metric\":\"requests\",\"window\":\"day\","
		"\"cap\":5}");
	assert_string_equal(raw_of("used"), "null");
	assert_string_equal(raw_of("cap"), "5");
	snprintf(id, sizeof id, "%s", text_of("id"));
	lease = take(id, one, 3);
	assert_int_equal(board_settle(board, lease, &spent, 1, 0, &err), 1);

	CALL(200, "GET", "/manage/limits?project_id=one", "");
	assert_true(row(0));
	assert_string_equal(raw_of("used"), "3");
	assert_string_equal(raw_of("remaining"), "2");
	(void)new_project("two");
	CALL(200, "GET", "/manage/limits?scope=project&id=two", "");
	assert_true(row(0));
	assert_string_equal(raw_of("used"), "0");
	CALL(200, "GET", "/manage/limits?scope=model&id=gpt", "");
	assert_false(row(0));
	CALL(201, "POST", "/manage/limits",
		"{\"metric\":\"parallel\",\"window\":\"day\",\"cap\":5}");
	assert_string_equal(text_of("window"), "total");
	assert_string_equal(raw_of("resets_at"), "null");
	assert_string_equal(raw_of("scope"), "{}");
}

/* The store may abandon a thread after it has committed: the same call comes again. */
static void
a_call_that_was_abandoned_is_made_once(void **state)
{
	struct manage_once once;
	char first[64], secret[64], json[128], path[128];

	(void)state;
	manage_once(&once);
	once_again = &once;
	CALL(201, "POST", "/manage/projects", "{\"name\":\"one\",\"api_key\":\"sk-12345678\"}");
	snprintf(first, sizeof first, "%s", text_of("id"));
	attempt = 1;
	CALL(201, "POST", "/manage/projects", "{\"name\":\"one\",\"api_key\":\"sk-12345678\"}");
	assert_string_equal(text_of("id"), first);

	manage_once(&once);
	attempt = 0;
	snprintf(json, sizeof json, "{\"project_id\":\"%s\"}", first);
	CALL(201, "POST", "/manage/tokens", json);
	snprintf(secret, sizeof secret, "%s", text_of("token"));
	snprintf(path, sizeof path, "/manage/tokens/%s", text_of("id"));
	attempt = 1;
	CALL(201, "POST", "/manage/tokens", json);
	assert_string_equal(text_of("token"), secret);

	attempt = 0;
	strcpy(if_match, "\"1\"");
	CALL(200, "PATCH", path, "{\"label\":\"x\"}");
	attempt = 1;
	CALL(200, "PATCH", path, "{\"label\":\"x\"}");
	CALL(412, "PATCH", path, "{\"label\":\"y\"}");
	if_match[0] = '\0';

	attempt = 0;
	CALL(201, "POST", "/manage/upstreams", "{\"name\":\"a\",\"base_url\":\"http://a\"}");
	manage_once(&once);
	CALL(201, "POST", "/manage/keys", "{\"upstream\":\"a\",\"secret\":\"sk-987654321\"}");
	snprintf(first, sizeof first, "%s", text_of("id"));
	attempt = 1; /* sealed anew, so not the same content */
	CALL(201, "POST", "/manage/keys", "{\"upstream\":\"a\",\"secret\":\"sk-987654321\"}");
	assert_string_equal(text_of("id"), first);
	attempt = 0;
	snprintf(path, sizeof path, "/manage/keys/%s", first);
	CALL(204, "DELETE", path, "");
	CALL(204, "DELETE", "/manage/upstreams/a", "");
	attempt = 1;
	CALL(204, "DELETE", "/manage/upstreams/a", "");
	attempt = 0;
	CALL(404, "DELETE", "/manage/upstreams/a", "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_project_lives),
		TEST(names_are_unique_and_no_ids),
		TEST(what_cannot_be_understood_is_refused_by_name),
		TEST(whoever_is_slower_hears_of_it),
		TEST(lists_come_in_pages),
		TEST(a_token_is_shown_once_and_revoked_for_good),
		TEST(token_members_that_clash_are_refused),
		TEST(a_token_may_be_brought_along),
		TEST(all_tokens_of_a_project_are_revoked_at_once),
		TEST(a_key_is_sealed_and_masked),
		TEST(a_projects_own_key_goes_to_openai),
		TEST(there_is_one_default_upstream),
		TEST(prices_are_exact),
		TEST(limits_show_what_is_used),
		TEST(a_limit_on_each_shows_the_use_of_the_one_asked_for),
		TEST(a_call_that_was_abandoned_is_made_once),
	};

	return cmocka_run_group_tests_name("manage/resource", tests, NULL, NULL);
}
