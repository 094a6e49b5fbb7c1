/* Changes, and taking them back. */
#include "fixture.h"

/* The id of the n-th newest change. */
static const char *
change(int n)
{
	static char id[8][ID_TEXT_BYTES];
	static unsigned next;
	char *out = id[next++ % 8];

	CALL(200, "GET", "/manage/changes", "");
	assert_true(row(n));
	snprintf(out, ID_TEXT_BYTES, "%s", text_of("id"));
	return out;
}

static void
undo(int wanted, const char *id)
{
	char path[128];

	snprintf(path, sizeof path, "/manage/changes/%s/undo", id);
	CALL(wanted, "POST", path, "");
}

static void
values_come_back(void **state)
{
	const char *first, *second;

	(void)state;
	CALL(201, "POST", "/manage/routes", "{\"name\":\"r\",\"model\":\"m\"}");
	CALL(200, "PATCH", "/manage/routes/r",
		"{\"strategy\":\"latency\",\"tries\":3,\"regions\":[\"eu*\",\"us*\"]}");
	first = change(0);
	CALL(200, "PATCH", "/manage/routes/r", "{\"affinity_s\":60}"); /* of another field */
	undo(200, first);
	assert_string_equal(text_of("undone"), first);
	assert_non_null(strstr(body, "\"did\":\"put back\",\"fields\":[\"strategy\",\"regions\","
				     "\"tries\"]"));
	assert_string_equal(raw_of("not_undone"), "null");
	CALL(200, "GET", "/manage/routes/r", "");
	assert_string_equal(text_of("strategy"), "weighted");
	assert_string_equal(raw_of("regions"), "[]");
	assert_string_equal(raw_of("affinity_s"), "60");

	/* the undo is a change as any other */
	second = change(0);
	CALL(200, "GET", "/manage/changes", "");
	assert_true(row(0));
	assert_string_equal(text_of("action"), "route.undo");
	undo(409, first); /* not twice */
	assert_non_null(strstr(text_of("error.message"), second));
	undo(200, second);
	CALL(200, "GET", "/manage/routes/r", "");
	assert_string_equal(text_of("strategy"), "latency");
	assert_string_equal(raw_of("regions"), "[\"eu*\",\"us*\"]");
}

static void
a_later_change_is_named(void **state)
{
	const char *first, *later;

	(void)state;
	CALL(201, "POST", "/manage/routes", "{\"name\":\"r\",\"model\":\"m\"}");
	CALL(200, "PATCH", "/manage/routes/r", "{\"tries\":3,\"deadline_ms\":500}");
	first = change(0);
	CALL(200, "PATCH", "/manage/routes/r", "{\"tries\":4}");
	later = change(0);
	undo(409, first);
	assert_string_equal(text_of("error.field"), "tries");
	assert_non_null(strstr(text_of("error.message"), later));
	CALL(200, "GET", "/manage/routes/r", ""); /* nothing of it was done */
	assert_string_equal(raw_of("deadline_ms"), "500");
	undo(200, later);
	undo(200, first);
	CALL(200, "GET", "/manage/routes/r", "");
	assert_string_equal(raw_of("tries"), "0");
	assert_string_equal(raw_of("deadline_ms"), "0");
	undo(404, "chg_0000000000000000000000");
	undo(404, "nonsense");
}

static void
what_was_made_goes_and_what_went_comes(void **state)
{
	char id[ID_TEXT_BYTES];
	const char *made, *went;

	(void)state;
	CALL(201, "POST", "/manage/upstreams",
		"{\"name\":\"u\",\"base_url\":\"https://h\",\"tags\":[\"a=b\"],\"weight\":7}");
	snprintf(id, sizeof id, "%s", text_of("id"));
	made = change(0);
	CALL(201, "POST", "/manage/routes", "{\"name\":\"r\",\"model\":\"m\",\"targets\":[\"u\"]}");
	undo(409, made); /* somebody names it */
	assert_non_null(strstr(text_of("error.message"), "route r"));
	undo(200, change(0));
	CALL(404, "GET", "/manage/routes/r", "");
	undo(200, made);
	CALL(404, "GET", "/manage/upstreams/u", "");
	went = change(0);
	CALL(200, "GET", "/manage/changes", "");
	assert_true(row(0));
	assert_string_equal(text_of("action"), "upstream.undo");
	undo(200, went);
	assert_non_null(strstr(body, "made again"));
	CALL(200, "GET", "/manage/upstreams/u", "");
	assert_string_equal(text_of("id"), id);
	assert_string_equal(raw_of("tags"), "[\"a=b\"]");
	assert_string_equal(raw_of("weight"), "7");

	/* a route comes back only where its upstream still is */
	CALL(201, "POST", "/manage/policies",
		"{\"name\":\"p\",\"type\":\"failure_handling\",\"scope\":\"upstream\",\"upstream\":"
		"\"u\",\"failure_rules\":[\"-> next\"]}");
	CALL(204, "DELETE", "/manage/policies/p", "");
	went = change(0);
	CALL(204, "DELETE", "/manage/upstreams/u", "");
	undo(409, went);
	assert_string_equal(text_of("error.field"), "upstream");

	(void)new_project("web");
	undo(409, change(0));
	assert_non_null(strstr(text_of("error.message"), "is_active"));
}

static void
secrets_stay_gone(void **state)
{
	const char *mixed, *rotated;
	char path[128];

	(void)state;
	CALL(201, "POST", "/manage/upstreams", "{\"name\":\"u\",\"base_url\":\"https://h\"}");
	CALL(200, "PATCH", "/manage/upstreams/u",
		"{\"extra_headers\":[\"X-Key: hidden-word\"],\"weight\":5}");
	mixed = change(0);
	undo(200, mixed);
	assert_string_equal(text_of("not_undone"), "extra_headers");
	CALL(200, "GET", "/manage/upstreams/u", "");
	assert_string_equal(raw_of("weight"), "1");

	CALL(201, "POST", "/manage/keys", "{\"upstream\":\"u\",\"secret\":\"sk-one-and-only\"}");
	snprintf(path, sizeof path, "/manage/keys/%s", text_of("id"));
	CALL(200, "PATCH", path, "{\"secret\":\"sk-two-and-another\"}");
	rotated = change(0);
	undo(409, rotated);
	assert_non_null(strstr(text_of("error.message"), "secret"));
	CALL(204, "DELETE", path, "");
	undo(409, change(0));
	assert_non_null(strstr(text_of("error.message"), "secret"));
	assert_false(was_seen("sk-one-and-only"));
}

static void
a_long_list_is_kept_whole(void **state)
{
	char json[3000] = "{\"allowed_models\":[\"first\"", name[32];

	(void)state;
	for (int i = 0; i < 120; i++) {
		snprintf(name, sizeof name, ",\"model-%04d-x\"", i);
		strcat(json, name);
	}
	strcat(json, "]}");
	(void)new_project("web");
	CALL(200, "PATCH", "/manage/projects/web", json);
	CALL(200, "PATCH", "/manage/projects/web", "{\"allowed_models\":[]}");
	undo(200, change(0));
	CALL(200, "GET", "/manage/projects/web", "");
	assert_non_null(strstr(raw_of("allowed_models"), "\"model-0119-x\"]"));
}

static void
repeated_it_is_done_once(void **state)
{
	struct manage_once once;

	(void)state;
	CALL(201, "POST", "/manage/routes", "{\"name\":\"r\",\"model\":\"m\"}");
	CALL(200, "PATCH", "/manage/routes/r", "{\"tries\":3}");
	manage_once(&once);
	{
		const char *id = change(0);

		once_again = &once;
		undo(200, id);
		attempt = 1;
		undo(200, id);
	}
	CALL(200, "GET", "/manage/routes/r", "");
	assert_string_equal(raw_of("tries"), "0");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(values_come_back),
		TEST(a_later_change_is_named),
		TEST(what_was_made_goes_and_what_went_comes),
		TEST(secrets_stay_gone),
		TEST(a_long_list_is_kept_whole),
		TEST(repeated_it_is_done_once),
	};

	return cmocka_run_group_tests_name("manage/changes", tests, NULL, NULL);
}
