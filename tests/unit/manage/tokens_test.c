/* Tokens, one and many: another secret with a grace, batches, cleaning, lists that can only narrow. */
#include "fixture.h"

#include "base/clock.h"

static int
known_by(const char *secret, struct token *t)
{
	uint8_t sha256[32];

	hash_sha256(secret, strlen(secret), sha256);
	return store_token_by_hash(store, sha256, t, &err);
}

/* A token of that project with more members; its id. */
static const char *
new_token(const char *project, const char *more)
{
	static char id[8][ID_TEXT_BYTES];
	static unsigned next;
	char json[1024], *out = id[next++ % 8];

	snprintf(json, sizeof json, "{\"project_id\":\"%s\"%s}", project, more);
	CALL(201, "POST", "/manage/tokens", json);
	snprintf(out, ID_TEXT_BYTES, "%s", text_of("id"));
	return out;
}

static void
change_token(const char *id_of, void (*fn)(struct token *t))
{
	struct token t;
	struct id id;

	assert_int_equal(id_parse("tok_", id_of, &id), 0);
	assert_int_equal(store_get(store, RECORD_TOKEN, id, &t, &err), 1);
	fn(&t);
	assert_int_equal(store_update(store, RECORD_TOKEN, &t, 0, NULL, &err), 0);
}

static void
grace_is_over(struct token *t)
{
	t->old_until_ms = clock_wall_ms() - 1;
}

static void
a_secret_is_replaced_and_the_old_one_has_its_grace(void **state)
{
	char first[64], second[64], third[64], path[128];
	struct manage_once once;
	struct token t;
	const char *id;

	(void)state;
	(void)new_project("one");
	id = new_token("one", ",\"label\":\"ci\"");
	snprintf(first, sizeof first, "%s", text_of("token"));
	snprintf(path, sizeof path, "/manage/tokens/%s/rotate", id);

	CALL(400, "POST", path, "{\"grace_minutes\":-1}");
	CALL(400, "POST", path, "{\"grace_minutes\":525601}");
	assert_string_equal(text_of("error.field"), "grace_minutes");
	CALL(400, "POST", path, "{\"grace\":1}");
	CALL(404, "POST", "/manage/tokens/tok_0000000000000000000001/rotate", "{}");

	/* An attempt that was abandoned and made again: one new secret, one version. */
	manage_once(&once);
	once_again = &once;
	CALL(200, "POST", path, "{\"grace_minutes\":10}");
	snprintf(second, sizeof second, "%s", text_of("token"));
	assert_string_equal(reply_etag, "\"2\"");
	attempt = 1;
	CALL(200, "POST", path, "{\"grace_minutes\":10}");
	assert_string_equal(text_of("token"), second);
	assert_string_equal(reply_etag, "\"2\"");
	attempt = 0;
	once_again = NULL;
	assert_string_not_equal(first, second);
	assert_false(token_mistyped(second, strlen(second)));
	assert_int_equal(known_by(second, &t), 1);
	assert_int_equal(known_by(first, &t), STORE_OLD_SECRET);
	assert_true(t.old_until_ms > clock_wall_ms() + 9 * 60000 &&
		    t.old_until_ms <= clock_wall_ms() + 10 * 60000);
	assert_string_equal(t.label, "ci");

	/* The sweep leaves it as long as it is good, and forgets it then. */
	assert_int_equal(manage_sweep(manage, &err), 0);
	assert_int_equal(known_by(first, &t), STORE_OLD_SECRET);

	/* Rotated once more: the first is gone although its grace was not over. */
	CALL(200, "POST", path, "{\"grace_minutes\":10}");
	snprintf(third, sizeof third, "%s", text_of("token"));
	assert_int_equal(known_by(first, &t), 0);
	assert_int_equal(known_by(second, &t), STORE_OLD_SECRET);
	assert_int_equal(known_by(third, &t), 1);

	/* Without a grace the old one is gone at once. */
	CALL(200, "POST", path, "{}");
	assert_int_equal(known_by(second, &t), 0);
	assert_int_equal(known_by(third, &t), 0);
	assert_string_equal(raw_of("old_secret_until"), "null");

	snprintf(path, sizeof path, "/manage/tokens/%s/revoke", id);
	CALL(200, "POST", path, "{}");
	snprintf(path, sizeof path, "/manage/tokens/%s/rotate", id);
	CALL(409, "POST", path, "{}");
}

static bool
count_values(void *ctx, const char *name, struct span value)
{
	(void)name;
	(void)value;
	++*(int *)ctx;
	return true;
}

static void
the_sweep_forgets_what_is_out_of_its_grace(void **state)
{
	char first[64], path[128], name[80];
	struct token t;
	const char *id;
	int notes = 0;

	(void)state;
	(void)new_project("one");
	id = new_token("one", "");
	snprintf(first, sizeof first, "%s", text_of("token"));
	snprintf(path, sizeof path, "/manage/tokens/%s/rotate", id);
	CALL(200, "POST", path, "{\"grace_minutes\":1}");
	change_token(id, grace_is_over);
	assert_int_equal(known_by(first, &t), STORE_OLD_SECRET);
	assert_int_equal(manage_sweep(manage, &err), 0);
	assert_int_equal(known_by(first, &t), STORE_OLD_SECRET); /* its note is not due */
	snprintf(name, sizeof name, "rotated/%015lld/%s", (long long)clock_wall_ms() - 1, id);
	assert_int_equal(store_value_put(store, name, "1", 1, &err), 0);
	assert_int_equal(manage_sweep(manage, &err), 0);
	assert_int_equal(known_by(first, &t), 0);
	assert_int_equal(store_value_each(store, "rotated/0", count_values, &notes, &err), 0);
	assert_int_equal(notes, 1); /* the one that is not due */
}

struct minted {
	int count;
	char last_id[ID_TEXT_BYTES];
	char third_secret[64];
};

static bool
check_minted(void *ctx, const struct json_member *m)
{
	struct minted *all = ctx;
	char id[ID_TEXT_BYTES], secret[64], label[64], want[64];
	struct token t;

	assert_true(json_string(json_get(m->value.raw, "id"), id, sizeof id) > 0);
	assert_true(json_string(json_get(m->value.raw, "token"), secret, sizeof secret) > 0);
	assert_true(json_string(json_get(m->value.raw, "label"), label, sizeof label) > 0);
	assert_false(token_mistyped(secret, strlen(secret)));
	assert_true(strcmp(id, all->last_id) > 0); /* lists show them in this order */
	snprintf(all->last_id, sizeof all->last_id, "%s", id);
	snprintf(want, sizeof want, "seat %d of 9", ++all->count);
	assert_string_equal(label, want);
	if (all->count == 3)
		snprintf(all->third_secret, sizeof all->third_secret, "%s", secret);
	if (all->count % 100 == 1) {
		assert_int_equal(known_by(secret, &t), 1);
		assert_string_equal(t.label, want);
		assert_int_equal(t.max_requests, 7);
	}
	return true;
}

static void
a_thousand_are_minted_at_once(void **state)
{
	static const char json[] =
		"{\"project_id\":\"one\",\"count\":1000,\"label\":\"seat {n} of 9\","
		"\"max_requests\":7,\"duration_minutes\":60}";
	struct minted all = { 0 };
	struct manage_once once;
	char again[64];

	(void)state;
	(void)new_project("one");
	manage_once(&once);
	once_again = &once;
	CALL(201, "POST", "/manage/tokens/mint", json);
	assert_int_equal(
		json_each_element(json_get(span_of(body), "data").raw, check_minted, &all, NULL),
		0);
	assert_int_equal(all.count, 1000);
	assert_string_equal(raw_of("count"), "1000");
	snprintf(again, sizeof again, "%s", all.third_secret);

	/* Abandoned and made again: the same thousand. */
	usleep(2000);
	attempt = 1;
	CALL(201, "POST", "/manage/tokens/mint", json);
	all = (struct minted){ 0 };
	assert_int_equal(
		json_each_element(json_get(span_of(body), "data").raw, check_minted, &all, NULL),
		0);
	assert_string_equal(all.third_secret, again);
	attempt = 0;
	once_again = NULL;

	CALL(400, "POST", "/manage/tokens/mint", "{\"project_id\":\"one\",\"count\":1001}");
	assert_string_equal(text_of("error.field"), "count");
	CALL(400, "POST", "/manage/tokens/mint", "{\"project_id\":\"one\",\"count\":0}");
	CALL(400, "POST", "/manage/tokens/mint",
		"{\"project_id\":\"one\",\"count\":2,\"secret\":\"0123456789abcdef\"}");
	CALL(400, "POST", "/manage/tokens", "{\"project_id\":\"one\",\"count\":2}");
	CALL(400, "POST", "/manage/tokens/mint", "{\"count\":2}");

	/* Revoked again: by a pattern, a thousand a call at most. */
	(void)new_token("one", ",\"label\":\"seat x\"");
	CALL(200, "POST", "/manage/tokens/revoke", "{\"label\":\"seat*\",\"dry_run\":true}");
	assert_string_equal(raw_of("revoked_count"), "1000");
	assert_string_equal(raw_of("more"), "true");
	CALL(200, "GET", "/manage/tokens?is_active=false", "");
	assert_false(row(0));
	CALL(200, "POST", "/manage/tokens/revoke",
		"{\"label\":\"seat*\",\"reason\":\"term over\"}");
	assert_string_equal(raw_of("revoked_count"), "1000");
	assert_int_equal(known_by(again, &(struct token){ 0 }), 1);
	CALL(200, "POST", "/manage/tokens/revoke", "{\"label\":\"seat*\"}");
	assert_string_equal(raw_of("revoked_count"), "1");
	assert_string_equal(raw_of("already_revoked_count"), "1000");
	assert_string_equal(raw_of("total_tokens"), "1001");
	assert_string_equal(raw_of("more"), "false");
	CALL(200, "GET", "/manage/tokens?q=SEAT%2077&is_active=false", "");
	assert_true(row(0));
	assert_string_equal(text_of("revoked_reason"), "term over");
	assert_string_equal(text_of("label"), "seat 77 of 9");
}

static void
many_are_revoked_by_what_they_are(void **state)
{
	char a[32], b[32], c[32], d[32], json[256];

	(void)state;
	(void)new_project("one");
	(void)new_project("two");
	strcpy(a, new_token("one", ",\"label\":\"a1\""));
	strcpy(b, new_token("one", ",\"label\":\"b1\""));
	strcpy(c, new_token("two", ",\"label\":\"a2\""));
	strcpy(d, new_token("two", ",\"label\":\"b2\""));

	CALL(400, "POST", "/manage/tokens/revoke", "{}");
	CALL(400, "POST", "/manage/tokens/revoke", "{\"reason\":\"all?\"}");
	CALL(400, "POST", "/manage/tokens/revoke", "{\"is_expired\":false}");
	CALL(400, "POST", "/manage/tokens/revoke", "{\"ids\":[],\"label\":\"*\"}");
	CALL(400, "POST", "/manage/tokens/revoke", "{\"ids\":[1]}");
	CALL(400, "POST", "/manage/tokens/revoke", "{\"ids\":\"x\"}");
	CALL(404, "POST", "/manage/tokens/revoke", "{\"project_id\":\"nobody\"}");
	CALL(400, "POST", "/manage/tokens/revoke", "{\"labels\":\"a\"}");

	CALL(200, "POST", "/manage/tokens/revoke", "{\"project_id\":\"two\",\"label\":\"a*\"}");
	assert_string_equal(raw_of("revoked_count"), "1");
	snprintf(json, sizeof json,
		"{\"ids\":[\"%s\",\"%s\",\"tok_0000000000000000000001\",\"nonsense\"],\"reason\":"
		"\"leak\"}",
		a, c);
	CALL(200, "POST", "/manage/tokens/revoke", json);
	assert_string_equal(raw_of("revoked_count"), "1");
	assert_string_equal(raw_of("already_revoked_count"), "1");
	assert_string_equal(raw_of("not_found"), "[\"tok_0000000000000000000001\",\"nonsense\"]");
	CALL(200, "GET", "/manage/tokens?is_active=true", "");
	assert_non_null(strstr(body, b));
	assert_non_null(strstr(body, d));
	assert_null(strstr(body, a));
	CALL(200, "GET", "/manage/audit", "");
	assert_non_null(strstr(body, "token.revoke"));
}

static void
expired_two_days_ago(struct token *t)
{
	t->expires_ms = clock_wall_ms() - 2 * 86400000LL;
}

static void
revoked_three_days_ago(struct token *t)
{
	t->is_active = false;
	t->revoked_ms = clock_wall_ms() - 3 * 86400000LL;
	t->expires_ms = clock_wall_ms() + 1;
}

static void
only_what_is_long_dead_is_cleaned_away(void **state)
{
	char expired[32], revoked[32], alive[32], fresh[32], path[128];

	(void)state;
	(void)new_project("one");
	strcpy(expired, new_token("one", ",\"label\":\"expired\""));
	strcpy(revoked, new_token("one", ",\"label\":\"revoked\""));
	strcpy(alive, new_token("one", ",\"label\":\"alive\""));
	strcpy(fresh, new_token("one", ",\"label\":\"fresh\""));
	change_token(expired, expired_two_days_ago);
	change_token(revoked, revoked_three_days_ago);
	snprintf(path, sizeof path, "/manage/tokens/%s", fresh);
	CALL(204, "DELETE", path, "");

	CALL(400, "POST", "/manage/tokens/cleanup", "{}");
	assert_string_equal(text_of("error.field"), "days");
	CALL(400, "POST", "/manage/tokens/cleanup", "{\"days\":0}");
	CALL(400, "POST", "/manage/tokens/cleanup", "{\"days\":1,\"force\":true}");

	/* Dry unless it is said. */
	CALL(200, "POST", "/manage/tokens/cleanup", "{\"days\":1}");
	assert_string_equal(raw_of("dry_run"), "true");
	assert_string_equal(raw_of("deleted_count"), "2");
	CALL(200, "POST", "/manage/tokens/cleanup", "{\"days\":3,\"dry_run\":false}");
	assert_string_equal(raw_of("deleted_count"), "1");
	assert_true(row(0));
	assert_string_equal(text_of("id"), revoked);
	assert_string_equal(text_of("why"), "revoked");
	assert_string_equal(raw_of("request_count"), "0");
	CALL(200, "POST", "/manage/tokens/cleanup", "{\"days\":1,\"dry_run\":false}");
	assert_string_equal(raw_of("deleted_count"), "1");
	assert_true(row(0));
	assert_string_equal(text_of("why"), "expired");

	snprintf(path, sizeof path, "/manage/tokens/%s", expired);
	CALL(404, "GET", path, "");
	snprintf(path, sizeof path, "/manage/tokens/%s", revoked);
	CALL(404, "GET", path, "");
	snprintf(path, sizeof path, "/manage/tokens/%s", alive);
	CALL(200, "GET", path, "");
	snprintf(path, sizeof path, "/manage/tokens/%s", fresh);
	CALL(200, "GET", path, "");
	CALL(200, "GET", "/manage/audit", "");
	assert_non_null(strstr(body, "token.cleanup"));
}

static void
a_token_can_only_narrow(void **state)
{
	static const struct {
		const char *why, *lists, *field; /* field "": fits */
	} cases[] = {
		{ "nothing", "", "" },
		{ "a model of the project's", "\"allowed_models\":[\"gpt-4\"]", "" },
		{ "a pattern within", "\"allowed_models\":[\"gpt-4*\"]", "" },
		{ "a wider pattern only narrows", "\"allowed_models\":[\"*\"]", "" },
		{ "a model outside", "\"allowed_models\":[\"gpt-4\",\"llama\"]", "allowed_models" },
		{ "a pattern outside", "\"allowed_models\":[\"llama*\"]", "allowed_models" },
		{ "a comma would part it", "\"allowed_models\":[\",\"]", "allowed_models" },
		{ "a blank is no pattern", "\"allowed_models\":[\" \"]", "allowed_models" },
		{ "an endpoint within", "\"allowed_endpoints\":[\"/v1/chat/completions\"]", "" },
		{ "one outside", "\"allowed_endpoints\":[\"/v1/files\"]", "allowed_endpoints" },
		{ "no path", "\"allowed_endpoints\":[\"chat\"]", "allowed_endpoints" },
		{ "methods", "\"allowed_methods\":[\"POST\",\"get\"]", "" },
		{ "no method", "\"allowed_methods\":[\"PO ST\"]", "allowed_methods" },
		{ "an origin", "\"allowed_origins\":[\"https://a.example\"]", "" },
		{ "one outside", "\"allowed_origins\":[\"https://b.example\"]", "allowed_origins" },
		{ "one with a path", "\"allowed_origins\":[\"https://a.example/x\"]",
			"allowed_origins" },
		{ "a network within", "\"allowed_networks\":[\"10.1.0.0/16\"]", "" },
		{ "an address within", "\"allowed_networks\":[\"10.1.2.3\"]", "" },
		{ "a wider network", "\"allowed_networks\":[\"0.0.0.0/0\"]", "" },
		{ "one outside", "\"allowed_networks\":[\"192.0.2.0/24\"]", "allowed_networks" },
		{ "no network", "\"allowed_networks\":[\"10.0.0.0/33\"]", "allowed_networks" },
		{ "two in one", "\"allowed_networks\":[\"10.0.0.1,10.0.0.2\"]",
			"allowed_networks" },
		{ "params", "\"allowed_params\":[\"temperature=0*\",\"tools=\"]", "" },
		{ "no param", "\"allowed_params\":[\"temperature\"]", "allowed_params" },
		{ "a param without a name", "\"allowed_params\":[\"=1\"]", "allowed_params" },
		{ "headers", "\"required_headers\":[\"X-PROXY-USER-ID: 12\"]", "" },
		{ "a header without a value", "\"required_headers\":[\"X-A: \"]",
			"required_headers" },
		{ "the token's own", "\"required_headers\":[\"Authorization: x\"]",
			"required_headers" },
		{ "metadata", "\"metadata\":[\"team=blue\",\"note=\"]", "" },
		{ "no metadata", "\"metadata\":[\"team\"]", "metadata" },
	};
	char json[512], path[128];

	(void)state;
	CALL(201, "POST", "/manage/projects",
		"{\"name\":\"one\",\"allowed_models\":[\"gpt-*\",\"o1\"],"
		"\"allowed_endpoints\":[\"/v1/chat/*\"],\"allowed_origins\":[\"https://"
		"a.example\"],"
		"\"allowed_networks\":[\"10.0.0.0/8\"]}");
	snprintf(path, sizeof path, "/manage/tokens/%s", new_token("one", ""));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool fits = cases[i].field[0] == '\0';

		snprintf(json, sizeof json, "{\"project_id\":\"one\"%s%s}",
			cases[i].lists[0] != '\0' ? "," : "", cases[i].lists);
		if (call("POST", "/manage/tokens", json) != (fits ? 201 : 400) ||
			(!fits && strcmp(text_of("error.field"), cases[i].field) != 0))
			fail_msg("%s: %d %s", cases[i].why, status, body);
		if (cases[i].lists[0] == '\0')
			continue;
		snprintf(json, sizeof json, "{%s}", cases[i].lists);
		if (call("PATCH", path, json) != (fits ? 200 : 400) ||
			(!fits && strcmp(text_of("error.field"), cases[i].field) != 0))
			fail_msg("changed, %s: %d %s", cases[i].why, status, body);
	}
	CALL(400, "PATCH", "/manage/projects/one", "{\"allowed_networks\":[\"nonsense\"]}");
	assert_string_equal(text_of("error.field"), "allowed_networks");
	/* What the project forbids later is checked on each request; the token's label may change. */
	CALL(200, "PATCH", "/manage/projects/one", "{\"allowed_models\":[\"llama\"]}");
	CALL(200, "PATCH", path, "{\"label\":\"still\"}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_secret_is_replaced_and_the_old_one_has_its_grace),
		TEST(the_sweep_forgets_what_is_out_of_its_grace),
		TEST(a_thousand_are_minted_at_once),
		TEST(many_are_revoked_by_what_they_are),
		TEST(only_what_is_long_dead_is_cleaned_away),
		TEST(a_token_can_only_narrow),
	};

	return cmocka_run_group_tests_name("manage/tokens", tests, NULL, NULL);
}
