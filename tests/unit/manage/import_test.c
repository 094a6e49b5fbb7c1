/* Tokens of other gateways: what their rows mean here, that nobody needs another key, and that
 * nothing is lost in silence. */
#include "fixture.h"

#include "base/clock.h"
#include "base/money.h"

static struct bytes report;

/* Imports and returns manage_import_tokens()'s value; the report becomes `body`. */
static int
import(const char *from, const char *project, bool dry_run, const char *text)
{
	struct manage_token_import how = { from, project, "command:test", dry_run };
	int rc;

	bytes_free(&report);
	report = BYTES_LIMIT(1 << 20);
	err = (struct err){ 0 };
	rc = manage_import_tokens(manage, span_of(text), &how, &report, &err);
	assert_true(report.len < sizeof body);
	span_copy(bytes_span(&report), body, sizeof body);
	if (!json_valid(span_of(body)))
		fail_msg("no JSON: %s", body);
	bytes_add(&seen, report.at, report.len);
	return rc;
}

#define IMPORT(from_, project_, text_)                                                             \
	do {                                                                                       \
		if (import(from_, project_, false, text_) != 0)                                    \
			fail_msg("%s: %s", from_, err.text);                                       \
	} while (0)

static struct token
token_by(const char *secret)
{
	uint8_t sha256[32];
	struct token t;

	hash_sha256(secret, strlen(secret), sha256);
	if (store_token_by_hash(store, sha256, &t, &err) != 1)
		fail_msg("%s is not known: %s", secret, body);
	return t;
}

struct limits {
	char token[ID_TEXT_BYTES], text[512];
};

static bool
one_limit(void *ctx, const void *record)
{
	struct limits *all = ctx;
	const struct limit *l = record;
	char money[MONEY_TEXT_BYTES], line[128];

	if (strcmp(l->scope[DIMENSION_TOKEN], all->token) != 0)
		return true;
	money_text(l->cap, money);
	snprintf(line, sizeof line, "%d/%d/%lld=%s ", l->metric, l->window, (long long)l->window_s,
		l->metric == METRIC_COST ? money : "");
	if (l->metric != METRIC_COST)
		snprintf(line, sizeof line, "%d/%d/%lld=%lld ", l->metric, l->window,
			(long long)l->window_s, (long long)l->cap);
	strncat(all->text, line, sizeof all->text - strlen(all->text) - 1);
	return true;
}

/* "metric/window/seconds=cap …", in order of metric. */
static void
assert_limits(const struct token *t, const char *first, const char *second, const char *third,
	const char *fourth)
{
	const char *want[] = { first, second, third, fourth };
	struct limits all = { 0 };
	size_t len = 0;

	id_text("tok_", t->head.id, all.token);
	assert_true(store_each(store, RECORD_LIMIT, ID_NONE, one_limit, &all, &err) >= 0);
	for (int i = 0; i < 4 && want[i] != NULL; i++) {
		if (strstr(all.text, want[i]) == NULL)
			fail_msg("%s lacks %s", all.text, want[i]);
		len += strlen(want[i]) + 1;
	}
	if (len != strlen(all.text))
		fail_msg("more limits than wanted: %s", all.text);
}

static const char *
hash_of(const char *secret)
{
	static char hex[4][65];
	static unsigned next;
	uint8_t sha256[32];
	char *out = hex[next++ % 4];

	hash_sha256(secret, strlen(secret), sha256);
	hash_hex(sha256, 32, out);
	return out;
}

static void
keys_of_litellm_go_on(void **state)
{
	static char text[8192];
	struct token t;

	(void)state;
	(void)new_project("blue");
	snprintf(text, sizeof text,
		"{\"keys\":[{\"token\":\"%s\",\"key_name\":\"sk-...aaaa\",\"key_alias\":\"ci\","
		"\"spend\":2.5000000004,\"max_budget\":10.0,\"expires\":\"2099-01-02T03:04:05."
		"678000+"
		"00:00\","
		"\"models\":[\"gpt-4o\",\"claude-*\"],\"user_id\":\"u1\",\"team_id\":\"t-1\","
		"\"team_alias\":\"blue\",\"tpm_limit\":1000,\"rpm_limit\":60,"
		"\"max_parallel_requests\":5,\"metadata\":{\"cost_center\":\"42\",\"n\":7},"
		"\"blocked\":null,\"permissions\":{},\"aliases\":{\"a\":\"b\"},"
		"\"soft_budget\":5,\"created_at\":\"2024-05-06T07:08:09Z\"},"
		"{\"token\":\"%s\",\"key_alias\":null,\"spend\":1e-05,\"max_budget\":3,"
		"\"budget_duration\":\"30d\",\"models\":[\"all-proxy-models\"],\"blocked\":true,"
		"\"team_id\":\"new team\",\"allowed_routes\":[\"/chat/completions\"]},"
		"{\"token\":\"%s\",\"models\":[],\"team_id\":\"new team\",\"max_budget\":1,"
		"\"budget_duration\":\"45m\",\"spend\":0},"
		"{\"token\":\"%s\",\"models\":[],\"team_id\":\"x\",\"allowed_routes\":[\"info_"
		"routes\"]}]}",
		hash_of("sk-litellm-1"), hash_of("sk-litellm-2"), hash_of("sk-litellm-3"),
		hash_of("sk-litellm-4"));
	IMPORT("litellm", NULL, text);
	assert_string_equal(raw_of("read"), "4");
	assert_string_equal(raw_of("imported"), "3");
	assert_string_equal(raw_of("refused"), "1");
	assert_string_equal(raw_of("projects_made"), "[\"new team\"]");
	assert_non_null(strstr(body, "\"aliases\""));
	assert_non_null(strstr(body, "\"soft_budget\""));
	assert_null(strstr(body, "\"permissions\""));
	assert_non_null(strstr(body, "spend of the budget's present window"));
	assert_non_null(strstr(body, "group of routes"));

	t = token_by("sk-litellm-1");
	assert_string_equal(t.label, "ci");
	assert_string_equal(t.masked, "sk-...aaaa");
	assert_string_equal(t.allowed_models, "gpt-4o\nclaude-*");
	assert_string_equal(t.metadata,
		"spent_before=2.500000000\nuser_id=u1\nteam_id=t-1\ncost_center=42\nn=7");
	assert_int_equal(t.expires_ms, 4071006245678);
	assert_int_equal(id_time_ms(t.head.id), 1714979289000);
	assert_true(t.is_active);
	/* What is left of a budget for life; tokens and requests a minute; calls at once. */
	assert_limits(&t, "4/5/0=7.500000000", "3/0/0=1000", "0/0/0=60", "5/5/0=5");

	t = token_by("sk-litellm-2");
	assert_false(t.is_active);
	assert_string_equal(t.revoked_reason, "blocked in LiteLLM");
	assert_string_equal(t.allowed_models, "");
	assert_string_equal(t.allowed_endpoints, "*/chat/completions");
	assert_limits(&t, "4/4/0=3.000000000", NULL, NULL, NULL);
	t = token_by("sk-litellm-3");
	assert_limits(&t, "4/6/2700=1.000000000", NULL, NULL, NULL);

	/* Once more: nothing new. */
	IMPORT("litellm", NULL, text);
	assert_string_equal(raw_of("imported"), "0");
	assert_string_equal(raw_of("skipped"), "3");
	assert_non_null(strstr(body, "\"skipped\":\"it is here already, as tok_"));
	t = token_by("sk-litellm-1");
	assert_limits(&t, "4/5/0=7.500000000", "3/0/0=1000", "0/0/0=60", "5/5/0=5");
}

static void
a_table_of_litellm_means_the_same(void **state)
{
	static char text[4096];
	struct token t;

	(void)state;
	(void)new_project("all");
	snprintf(text, sizeof text,
		"\xEF\xBB\xBFtoken,key_alias,spend,max_budget,budget_duration,models,expires,"
		"blocked,"
		"metadata,tpm_limit\r\n"
		"%s,\"a, \"\"b\"\"\",0.1,1.3,7d,\"{gpt-4o,\"\"o 1\"\"}\",2099-01-02 03:04:05+00,f,"
		"\"{\"\"team\"\": \"\"x\"\"}\",\r\n"
		"%s,,0,,,{},,t,{},20000\r\n",
		hash_of("sk-csv-1"), hash_of("sk-csv-2"));
	IMPORT("litellm", "all", text);
	assert_string_equal(raw_of("imported"), "2");
	t = token_by("sk-csv-1");
	assert_string_equal(t.label, "a, \"b\"");
	assert_string_equal(t.allowed_models, "gpt-4o\no 1");
	assert_string_equal(t.metadata, "spent_before=0.100000000\nteam=x");
	assert_int_equal(t.expires_ms, 4071006245000);
	assert_true(t.is_active);
	assert_limits(&t, "4/3/0=1.300000000", NULL, NULL, NULL);
	t = token_by("sk-csv-2");
	assert_false(t.is_active);
	assert_limits(&t, "3/0/0=20000", NULL, NULL, NULL);

	/* As after a kill between limits and token: the next run makes the token, and no limit twice. */
	assert_int_equal(store_delete(store, RECORD_TOKEN, t.head.id, NULL, &err), 0);
	IMPORT("litellm", "all", text);
	assert_string_equal(raw_of("imported"), "1");
	t = token_by("sk-csv-2");
	assert_limits(&t, "3/0/0=20000", NULL, NULL, NULL);
}

static void
tokens_of_new_api_go_on(void **state)
{
	static const char text[] =
		"{\"success\":true,\"data\":{\"items\":["
		"{\"id\":7,\"user_id\":3,\"key\":"
		"\"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL\","
		"\"status\":1,\"name\":\"shop\",\"created_time\":1700000000,\"expired_time\":-1,"
		"\"remain_quota\":750000,\"unlimited_quota\":false,\"model_limits_enabled\":true,"
		"\"model_limits\":\"gpt-4o,gpt-4o-mini\",\"allow_ips\":\"192.0.2.7\\n10.0.0.0/8\","
		"\"used_quota\":250000,\"group\":\"vip\",\"cross_group_retry\":false,"
		"\"DeletedAt\":null},"
		"{\"key\":\"zzzzefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL\",\"status\":2,"
		"\"name\":"
		"\"off\",\"expired_time\":1900000000,\"remain_quota\":-5,\"unlimited_quota\":true,"
		"\"model_limits_enabled\":false,\"model_limits\":\"gpt-4o\",\"allow_ips\":null,"
		"\"group\":\"\"},"
		"{\"key\":\"yyyyefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL\",\"status\":4,"
		"\"remain_quota\":-5,\"unlimited_quota\":false},"
		"{\"key\":\"abcd**********wxyz\",\"status\":1,\"remain_quota\":5},"
		"{\"key\":\"xxxxefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL\",\"remain_quota\":5,"
		"\"allow_ips\":\"my house\"}"
		"],\"total\":5}}";
	struct token t;

	(void)state;
	(void)new_project("all");
	IMPORT("new-api", "all", text);
	assert_string_equal(raw_of("read"), "5");
	assert_string_equal(raw_of("imported"), "3");
	assert_string_equal(raw_of("refused"), "2");
	assert_non_null(strstr(body, "masked; export"));
	assert_non_null(strstr(body, "group (its channels and price ratio)"));
	assert_null(strstr(body, "cross_group_retry"));
	assert_false(was_seen("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL"));

	t = token_by("sk-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL");
	assert_string_equal(t.label, "shop");
	assert_string_equal(t.allowed_models, "gpt-4o\ngpt-4o-mini");
	assert_string_equal(t.allowed_networks, "192.0.2.7\n10.0.0.0/8");
	assert_string_equal(t.metadata, "spent_before=0.500000000\nuser_id=3\ngroup=vip");
	assert_int_equal(t.expires_ms, 0);
	assert_limits(&t, "4/5/0=1.500000000", NULL, NULL, NULL);
	t = token_by("sk-zzzzefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL");
	assert_false(t.is_active);
	assert_int_equal(t.expires_ms, 1900000000000);
	assert_string_equal(t.allowed_models, "");
	assert_limits(&t, NULL, NULL, NULL, NULL);
	t = token_by("sk-yyyyefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL");
	assert_true(t.is_active);
	assert_limits(&t, "4/5/0=0.000000000", NULL, NULL, NULL); /* nothing is left */
}

static void
tokens_of_llm_proxy_go_on(void **state)
{
	static const char text[] =
		"id,token,project_id,expires_at,is_active,deactivated_at,request_count,max_"
		"requests,"
		"created_at,last_used_at,cache_hit_count\n"
		"u-1,sk-AAAAAAAAAAAAAAAAAAAAAA,p-1,2099-01-02 03:04:05,1,,40,100,2024-05-06 "
		"07:08:09,,"
		"0\n"
		"u-2,sk-BBBBBBBBBBBBBBBBBBBBBB,p-1,,1,,100,100,,,0\n"
		"u-3,sk-CCCCCCCCCCCCCCCCCCCCCC,p-2,,0,2024-05-06T07:08:09Z,1,,,,0\n"
		"u-4,sk-ABCD***WXYZ,p-2,,1,,0,,,,0\n"
		"u-5,sk-AAAAAAAAAAAAAAAAAAAAAA,p-1,,1,,0,,,,0\n"
		"u-6,sk-DDDDDDDDDDDDDDDDDDDDDD,,,1,,0,,,,0\n"
		"u-7,sk-EEEEEEEEEEEEEEEEEEEEEE,p-1,someday,1,,0,,,,0\n";
	struct token t;

	(void)state;
	IMPORT("llm-proxy", NULL, text);
	assert_string_equal(raw_of("read"), "7");
	assert_string_equal(raw_of("imported"), "3");
	assert_string_equal(raw_of("skipped"), "1");
	assert_string_equal(raw_of("refused"), "3");
	assert_string_equal(raw_of("projects_made"), "[\"p-1\",\"p-2\"]");
	t = token_by("sk-AAAAAAAAAAAAAAAAAAAAAA");
	assert_int_equal(t.max_requests, 60);
	assert_int_equal(t.expires_ms, 4071006245000);
	assert_string_equal(t.label, "u-1");
	assert_true(t.is_active);
	t = token_by("sk-BBBBBBBBBBBBBBBBBBBBBB");
	assert_false(t.is_active); /* 0 would mean no limit */
	assert_non_null(strstr(t.revoked_reason, "used up"));
	t = token_by("sk-CCCCCCCCCCCCCCCCCCCCCC");
	assert_false(t.is_active);
	assert_int_equal(t.revoked_ms, 1714979289000);
	assert_int_equal(t.max_requests, 0);
	CALL(200, "GET", "/manage/projects/p-2", "");
}

static void
a_dry_run_tells_the_same_and_changes_nothing(void **state)
{
	static const char line[] =
		"{\"token\":\"sk-0123456789abcdef\",\"project_id\":\"p-9\",\"max_requests\":5}\n"
		"\n{\"token\":\"sk-fedcba9876543210\",\"project_id\":\"p-9\"}\n";
	struct token t;
	uint8_t sha256[32];

	(void)state;
	assert_int_equal(import("llm-proxy", NULL, true, line), 0);
	assert_string_equal(raw_of("dry_run"), "true");
	assert_string_equal(raw_of("imported"), "2");
	assert_string_equal(raw_of("projects_made"), "[\"p-9\"]");
	hash_sha256("sk-0123456789abcdef", 19, sha256);
	assert_int_equal(store_token_by_hash(store, sha256, &t, &err), 0);
	CALL(404, "GET", "/manage/projects/p-9", "");
	IMPORT("llm-proxy", NULL, line);
	(void)token_by("sk-0123456789abcdef");
	(void)token_by("sk-fedcba9876543210");
}

static void
a_large_file_goes_in_by_parts(void **state)
{
	struct bytes text = BYTES_LIMIT(1 << 20);
	char hex[65];
	struct token t;

	(void)state;
	(void)new_project("all");
	bytes_puts(&text, "token,key_alias,rpm_limit,tpm_limit,max_budget,max_parallel_requests\n");
	for (int i = 0; i < 300; i++) {
		char secret[32];

		snprintf(secret, sizeof secret, "sk-many-%d", i);
		strcpy(hex, hash_of(secret));
		bytes_printf(&text, "%s,k%d,%d,1000,5,3\n", hex, i, i + 1);
	}
	IMPORT("litellm", "all", text.at);
	assert_string_equal(raw_of("imported"), "300");
	assert_string_equal(raw_of("limits"), "1200");
	t = token_by("sk-many-299");
	assert_limits(&t, "0/0/0=300", "3/0/0=1000", "4/5/0=5.000000000", "5/5/0=3");
	bytes_free(&text);
}

static void
what_is_no_export_is_refused(void **state)
{
	static const struct {
		const char *why, *from, *project, *text;
		enum err_code want;
	} cases[] = {
		{ "another gateway", "portkey", "all", "[]", ERR_BAD_REQUEST },
		{ "no such project", "litellm", "nobody", "[]", ERR_NOT_FOUND },
		{ "broken JSON", "litellm", "all", "[{\"token\":", ERR_BAD_REQUEST },
		{ "no names", "litellm", "all", "hello", ERR_BAD_REQUEST },
		{ "a quote left open", "litellm", "all", "token,x\n\"a,b\n", ERR_BAD_REQUEST },
		{ "too many fields", "litellm", "all", "token,x\na,b,c\n", ERR_BAD_REQUEST },
		{ "too few fields", "litellm", "all", "token,x,y\na,b\n", ERR_BAD_REQUEST },
		{ "something behind a quote", "litellm", "all", "token,x\n\"a\"b,c\n",
			ERR_BAD_REQUEST },
	};

	(void)state;
	(void)new_project("all");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (import(cases[i].from, cases[i].project, false, cases[i].text) != -1 ||
			err.code != cases[i].want)
			fail_msg("%s: %s", cases[i].why, err.text);
	assert_int_equal(import("litellm", "all", false, "  \n"), 0);
	assert_int_equal(import("litellm", "all", false, "[]"), 0);
	assert_string_equal(raw_of("read"), "0");
	IMPORT("litellm", "all", "[1,\"x\",{},{\"token\":5}]");
	assert_string_equal(raw_of("refused"), "4");
	bytes_free(&report);
}

static void
the_api_imports_too(void **state)
{
	(void)state;
	(void)new_project("all");
	CALL(200, "POST", "/manage/tokens/import",
		"{\"from\":\"llm-proxy\",\"project_id\":\"all\",\"text\":\"token,max_requests\\n"
		"sk-0123456789abcdef,7\\n\"}");
	assert_string_equal(raw_of("imported"), "1");
	assert_int_equal(token_by("sk-0123456789abcdef").max_requests, 7);
	assert_false(was_seen("sk-0123456789abcdef"));
	CALL(400, "POST", "/manage/tokens/import", "{\"from\":\"llm-proxy\"}");
	assert_string_equal(text_of("error.field"), "text");
	CALL(400, "POST", "/manage/tokens/import", "{\"from\":\"x\",\"text\":\"[]\"}");
	assert_non_null(strstr(text_of("error.message"), "litellm, new-api"));
	CALL(400, "POST", "/manage/tokens/import", "{\"from\":\"litellm\",\"text\":\"x\"}");
	CALL(404, "POST", "/manage/tokens/import",
		"{\"from\":\"litellm\",\"text\":\"[]\",\"project_id\":\"nobody\"}");
	CALL(400, "POST", "/manage/tokens/import", "{\"file\":\"/etc/passwd\"}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_of_litellm_go_on),
		TEST(a_table_of_litellm_means_the_same),
		TEST(tokens_of_new_api_go_on),
		TEST(tokens_of_llm_proxy_go_on),
		TEST(a_dry_run_tells_the_same_and_changes_nothing),
		TEST(a_large_file_goes_in_by_parts),
		TEST(what_is_no_export_is_refused),
		TEST(the_api_imports_too),
	};

	return cmocka_run_group_tests_name("manage/import", tests, NULL, NULL);
}
