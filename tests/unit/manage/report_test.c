/* Requests, usage, audit, health and the price list. */
#include "fixture.h"

static struct id
id_of(const char *prefix, const char *text)
{
	struct id id;

	assert_int_equal(id_parse(prefix, text, &id), 0);
	return id;
}

static struct usage_row
booked(struct id project, struct id token, const char *model, int status_, int64_t cost)
{
	struct usage_row r = { 0 };
	bool was = false;

	r.time_ms = clock_wall_ms();
	r.exchange = id_timed(r.time_ms);
	r.project = project;
	r.token = token;
	snprintf(r.model, sizeof r.model, "%s", model);
	snprintf(r.upstream_model, sizeof r.upstream_model, "%s-real", model);
	strcpy(r.endpoint, "/v1/chat/completions");
	if (strcmp(model, "mock") == 0)
		strcpy(r.end_user, "ann");
	if (status_ == 200)
		strcpy(r.tags[0], "team=blue");
	r.status = (uint16_t)status_;
	if (status_ == 502) {
		r.err_code = ERR_UPSTREAM_UNREACHABLE;
		strcpy(r.error, "nobody answered");
	}
	r.ended_by = ENDED_DONE;
	r.usage_source = USAGE_REPORTED;
	r.attempts = 1;
	r.duration_ms = 120;
	r.ttfb_ms = 40;
	r.tokens = (struct tokens){ .input = 10, .cache_read = 5, .output = 7, .reasoning = 2 };
	r.cost_nusd = cost;
	assert_int_equal(store_book(store, &r, 1, &was, &err), 0);
	assert_true(was);
	return r;
}

static void
what_was_booked_is_seen(void **state)
{
	char project[64], token[64], path[96], next[32], first[64];
	struct usage_row r;
	struct id p, t;

	(void)state;
	snprintf(project, sizeof project, "%s", new_project("one"));
	CALL(201, "POST", "/manage/tokens", "{\"project_id\":\"one\",\"label\":\"ci\"}");
	snprintf(token, sizeof token, "%s", text_of("id"));
	p = id_of("prj_", project);
	t = id_of("tok_", token);
	(void)booked(p, t, "gpt-5", 200, 2500000);
	(void)booked(p, t, "mock", 502, 0);
	r = booked(p, t, "mock", 200, COST_UNKNOWN);

	CALL(200, "GET", "/manage/requests", "");
	assert_true(row(0)); /* newest first */
	id_text("req_", r.exchange, first);
	assert_string_equal(text_of("id"), first);
	assert_string_equal(text_of("project_id"), project);
	assert_string_equal(text_of("token_id"), token);
	assert_string_equal(text_of("endpoint"), "/v1/chat/completions");
	assert_string_equal(text_of("upstream_model"), "mock-real");
	assert_string_equal(raw_of("status"), "200");
	assert_string_equal(raw_of("error"), "null");
	assert_string_equal(raw_of("cost"), "null");
	assert_string_equal(text_of("usage"), "reported");
	assert_string_equal(text_of("ended_by"), "done");
	assert_string_equal(raw_of("tokens.cache_read"), "5");
	assert_string_equal(raw_of("tokens.reasoning"), "2");
	assert_string_equal(raw_of("duration_ms"), "120");
	snprintf(path, sizeof path, "/manage/requests/%s", first);
	CALL(200, "GET", path, "");
	assert_string_equal(text_of("model"), "mock");
	CALL(404, "GET", "/manage/requests/req_0000000000000000000000", "");
	CALL(404, "GET", "/manage/requests/nonsense", "");

	CALL(200, "GET", "/manage/requests?failed=1", "");
	assert_true(row(0));
	assert_string_equal(text_of("code"), "upstream_unreachable");
	assert_string_equal(text_of("error"), "nobody answered");
	CALL(200, "GET", "/manage/requests?failed=1", "");
	assert_false(row(1));
	CALL(200, "GET", "/manage/requests?status=5xx&project_id=one", "");
	assert_true(row(0));
	CALL(200, "GET", "/manage/requests?model=gpt-5&token_id=", "");
	assert_true(row(0));
	assert_string_equal(text_of("cost"), "0.002500000");
	CALL(200, "GET", "/manage/requests?model=nothing", "");
	assert_false(row(0));
	CALL(200, "GET", "/manage/requests?model=gp*", "");
	assert_true(row(0));
	assert_string_equal(text_of("model"), "gpt-5");
	CALL(200, "GET", "/manage/requests?model=mock-real&status=502", "");
	assert_false(row(1));
	CALL(200, "GET", "/manage/requests?end_user=ann", "");
	assert_true(row(1));
	CALL(200, "GET", "/manage/requests?end_user=ann", "");
	assert_false(row(2));
	CALL(200, "GET", "/manage/requests?tag=team%3Dblue&failed=1", "");
	assert_false(row(0));
	CALL(200, "GET", "/manage/requests?tag=team%3Dblue&status=2xx", "");
	assert_true(row(0));
	CALL(200, "GET", "/manage/requests?upstream_id=up_0000000000000000000001", "");
	assert_false(row(0));
	CALL(400, "GET", "/manage/requests?status=4", "");
	CALL(400, "GET", "/manage/requests?status=soon", "");
	CALL(404, "GET", "/manage/requests?project_id=nobody", "");

	CALL(200, "GET", "/manage/requests?limit=2", "");
	snprintf(next, sizeof next, "%s", text_of("next"));
	assert_string_not_equal(next, "");
	snprintf(path, sizeof path, "/manage/requests?limit=2&cursor=%s", next);
	CALL(200, "GET", path, "");
	assert_string_equal(raw_of("next"), "null");
	assert_true(row(0));
	assert_string_equal(text_of("model"), "gpt-5");

	snprintf(path, sizeof path, "/manage/tokens/%s", token);
	CALL(200, "GET", path, "");
	assert_string_equal(raw_of("request_count"), "3");
	assert_string_equal(text_of("cost"), "0.002500000");
	assert_string_not_equal(raw_of("last_used_at"), "null");
}

static void
usage_is_summed_by_what_is_asked_for(void **state)
{
	char project[64];
	struct id p;

	(void)state;
	snprintf(project, sizeof project, "%s", new_project("one"));
	p = id_of("prj_", project);
	(void)booked(p, ID_NONE, "gpt-5", 200, 2500000);
	(void)booked(p, ID_NONE, "gpt-5", 502, 0);
	(void)booked(p, ID_NONE, "mock", 200, COST_UNKNOWN);

	CALL(200, "GET", "/manage/usage?by=project&step=day", "");
	assert_true(row(0));
	assert_string_equal(text_of("value"), project);
	assert_string_equal(text_of("label"), "one");
	assert_string_equal(raw_of("requests"), "3");
	assert_string_equal(raw_of("errors"), "1");
	assert_string_equal(raw_of("unpriced"), "1");
	assert_string_equal(raw_of("tokens.output"), "21");
	assert_string_equal(text_of("cost"), "0.002500000");
	assert_string_equal(text_of("from") + 10, "T00:00:00.000Z");
	CALL(200, "GET", "/manage/usage?by=model&step=minute", "");
	assert_true(row(1));
	CALL(200, "GET", "/manage/usage?by=model&step=minute&value=mock", "");
	assert_false(row(1));
	CALL(200, "GET", "/manage/usage?by=end_user&step=hour", "");
	assert_true(row(0));
	assert_string_equal(text_of("value"), "ann");
	assert_string_equal(raw_of("requests"), "1");
	CALL(200, "GET", "/manage/usage?by=tag&step=day&value=team%3Dblue", "");
	assert_true(row(0));
	assert_string_equal(text_of("label"), "team=blue");
	assert_string_equal(raw_of("requests"), "2");
	CALL(200, "GET", "/manage/usage?from=2001-01-01&to=2001-01-02", "");
	assert_false(row(0));
	CALL(400, "GET", "/manage/usage?by=colour", "");
	CALL(400, "GET", "/manage/usage?step=year", "");
	CALL(400, "GET", "/manage/usage?from=2001-01-02&to=2001-01-01", "");
}

static void
every_change_is_in_the_audit(void **state)
{
	char path[64];

	(void)state;
	address = "198.51.100.9";
	(void)new_project("one");
	CALL(200, "PATCH", "/manage/projects/one", "{\"is_active\":false}");
	CALL(200, "GET", "/manage/audit", "");
	assert_true(row(0));
	assert_string_equal(text_of("action"), "project.update");
	assert_string_equal(text_of("actor"), "command:test");
	assert_string_equal(text_of("address"), "198.51.100.9");
	assert_true(strncmp(text_of("object"), "prj_", 4) == 0);
	assert_true(strncmp(text_of("request_id"), "req_", 4) == 0);

	CALL(200, "GET", "/manage/audit?limit=1", "");
	snprintf(path, sizeof path, "/manage/audit?limit=1&cursor=%s", text_of("next"));
	CALL(200, "GET", path, "");
	assert_true(row(0));
	assert_string_equal(text_of("action"), "project.create");
	CALL(200, "GET", "/manage/audit?action=token.*", "");
	assert_false(row(0));
}

/* Change n of the newest entry as {"field":…}. */
static const char *
change_of(int n)
{
	static char text[2048];
	struct json_value all;
	struct nth nth = { n, text, sizeof text };

	CALL(200, "GET", "/manage/audit?limit=1", "");
	assert_true(row(0));
	all = json_get(span_of(body), "changes");
	text[0] = '\0';
	assert_int_equal(json_each_element(all.raw, take_nth, &nth, NULL), 0);
	return text;
}

static void
the_audit_tells_before_and_after_in_the_shapes_of_the_api(void **state)
{
	char id[ID_TEXT_BYTES], path[96];

	(void)state;
	(void)new_project("one");
	assert_string_equal(change_of(0), "{\"field\":\"name\",\"before\":null,\"after\":\"one\"}");
	CALL(200, "PATCH", "/manage/projects/one",
		"{\"allowed_models\":[\"gpt-*\"],\"fail_mode\":\"open\"}");
	assert_string_equal(
		change_of(0), "{\"field\":\"allowed_models\",\"before\":[],\"after\":[\"gpt-*\"]}");
	assert_string_equal(
		change_of(1), "{\"field\":\"fail_mode\",\"before\":\"closed\",\"after\":\"open\"}");
	assert_string_equal(text_of("action"), "project.update");
	assert_string_equal(raw_of("changes_cut"), "false");
	assert_true(strncmp(text_of("id"), "chg_", 4) == 0);

	CALL(201, "POST", "/manage/limits",
		"{\"scope\":{\"project\":\"one\"},\"metric\":\"cost\",\"window\":\"rolling:60\","
		"\"cap\":\"2.5\"}");
	snprintf(id, sizeof id, "%s", text_of("id"));
	assert_non_null(strstr(change_of(0), "{\"field\":\"scope.project\",\"before\":null,"
					     "\"after\":\"prj_"));
	assert_string_equal(
		change_of(2), "{\"field\":\"window\",\"before\":null,\"after\":\"rolling:60\"}");
	snprintf(path, sizeof path, "/manage/limits/%s", id);
	CALL(200, "PATCH", path, "{\"cap\":\"4\"}");
	assert_string_equal(change_of(0), "{\"field\":\"cap\",\"before\":\"2.500000000\","
					  "\"after\":\"4.000000000\"}");

	CALL(201, "POST", "/manage/tokens", "{\"project_id\":\"one\",\"label\":\"a\"}");
	snprintf(id, sizeof id, "%s", text_of("id"));
	snprintf(path, sizeof path, "/manage/tokens/%s", id);
	CALL(200, "PATCH", path, "{\"expires_at\":\"2040-01-02T03:04:05Z\"}");
	assert_string_equal(change_of(0), "{\"field\":\"expires_at\",\"before\":null,"
					  "\"after\":\"2040-01-02T03:04:05.000Z\"}");
	snprintf(path, sizeof path, "/manage/tokens/%s/rotate", id);
	CALL(200, "POST", path, "{}");
	assert_string_equal(change_of(0), "{\"field\":\"secret_sha256\",\"before\":null,"
					  "\"after\":null,\"is_secret\":true}");
	assert_non_null(strstr(change_of(1), "{\"field\":\"masked\",\"before\":\"sk-sl-"));
}

static void
health_tells_of_store_and_board(void **state)
{
	(void)state;
	CALL(200, "GET", "/manage/health", "");
	assert_true(atoi(raw_of("store.attached")) > 0);
	assert_true(atoi(raw_of("store.bytes_capped")) > 0);
	assert_true(atoi(raw_of("store.bytes_capped")) <= atoi(raw_of("store.bytes_on_disk")));
	assert_int_equal(atoll(raw_of("store.store_cap_bytes")), conf.store_cap_bytes);
	assert_string_equal(raw_of("store.vault_bytes"), "0");
	assert_true(atoi(raw_of("board.leases")) > 0);
	assert_string_equal(raw_of("board.rings"), "0"); /* made with the first */
	assert_string_equal(raw_of("board.rings_used"), "0");
	assert_true(raw_of("board.repeats")[0] != '\0' && raw_of("board.repeats_used")[0] != '\0');
	assert_string_equal(text_of("version"), SLUICE_VERSION);
}

static void
health_warns_of_a_state_that_could_be_fetched(void **state)
{
	char kept[128] = "";

	(void)state;
	web_root = "/usr";
	CALL(200, "GET", "/manage/health", "");
	assert_string_equal(raw_of("warnings"), "[]");
	close_all();
	open_all(false);
	web_root = dir;
	CALL(200, "GET", "/manage/health", "");
	assert_non_null(strstr(raw_of("warnings"), "inside the web root"));
	assert_true(store_value_get(store, WEB_ROOT_VALUE, kept, sizeof kept, &err) > 0);
	assert_string_equal(kept, dir);
}

static void
a_price_list_is_imported_once(void **state)
{
	static const char list[] =
		"{\"prices\":[{\"model\":\"a*\",\"input\":\"1\",\"output\":\"2\"},"
		"{\"model\":\"b*\",\"input\":\"1\",\"output\":\"2\"}]}";
	static const char dearer[] =
		"{\"prices\":[{\"model\":\"a*\",\"input\":\"3\",\"output\":2}]}";
	size_t changed;
	char path[64];

	(void)state;
	assert_int_equal(
		manage_import_prices(manage, span_of(list), "command:test", &changed, &err), 0);
	assert_int_equal(changed, 2);
	assert_int_equal(
		manage_import_prices(manage, span_of(list), "command:test", &changed, &err), 0);
	assert_int_equal(changed, 0);
	CALL(200, "GET", "/manage/prices?model=bbb", "");
	assert_true(row(0));
	assert_string_equal(raw_of("is_builtin"), "true");
	snprintf(path, sizeof path, "/manage/prices/%s", text_of("id"));
	CALL(200, "PATCH", path, "{\"input\":\"9\"}");
	assert_string_equal(raw_of("is_builtin"), "false");

	assert_int_equal(
		manage_import_prices(manage, span_of(dearer), "command:test", &changed, &err), 0);
	assert_int_equal(changed, 1);
	CALL(200, "GET", path, ""); /* made by hand: stays */
	assert_string_equal(text_of("input"), "9.000000000");
	CALL(200, "GET", "/manage/prices?model=aaa", "");
	assert_true(row(0));
	assert_string_equal(text_of("input"), "3.000000000");

	assert_int_equal(manage_import_prices(manage, SPAN_LIT("{\"prices\":[{\"modl\":1}]}"), "x",
				 &changed, &err),
		-1);
	assert_int_equal(manage_import_prices(manage, SPAN_LIT("[]"), "x", &changed, &err), -1);
}

static void
the_list_that_comes_along_is_valid(void **state)
{
	static char text[64 * 1024];
	FILE *f = fopen("conf/prices.json", "r");
	size_t n, changed;

	(void)state;
	assert_non_null(f); /* the tests run in the source tree */
	n = fread(text, 1, sizeof text, f);
	fclose(f);
	if (manage_import_prices(manage, (struct span){ text, n }, "test", &changed, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(changed > 40);
	CALL(200, "GET", "/manage/prices?model=mock-large", "");
	assert_true(row(0));
	assert_string_equal(text_of("output"), "2.000000000");
}

static void
the_master_key_is_made_once(void **state)
{
	static const char hex[] =
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	char path[128];
	uint8_t key[64];
	struct stat st;
	FILE *f;

	(void)state;
	snprintf(path, sizeof path, "%s/other.key", dir);
	assert_int_equal(manage_make_master_key(path, "nonsense", &err), -1);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(manage_make_master_key(path, hex, &err), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 32);
	assert_int_equal(manage_make_master_key(path, NULL, &err), 0); /* never another one */
	f = fopen(path, "r");
	assert_int_equal(fread(key, 1, sizeof key, f), 32);
	fclose(f);
	assert_int_equal(key[31], 0x1f);
	(void)unlink(path);
	assert_int_equal(
		manage_make_master_key(path, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", &err),
		1);
	f = fopen(path, "r");
	assert_int_equal(fread(key, 1, sizeof key, f), 32);
	fclose(f);
	assert_int_equal(key[31], 0x1f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_booked_is_seen),
		TEST(usage_is_summed_by_what_is_asked_for),
		TEST(every_change_is_in_the_audit),
		TEST(the_audit_tells_before_and_after_in_the_shapes_of_the_api),
		TEST(health_tells_of_store_and_board),
		TEST(health_warns_of_a_state_that_could_be_fetched),
		TEST(a_price_list_is_imported_once),
		TEST(the_list_that_comes_along_is_valid),
		TEST(the_master_key_is_made_once),
	};

	return cmocka_run_group_tests_name("manage/report", tests, NULL, NULL);
}
