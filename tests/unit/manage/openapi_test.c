/* htdocs/openapi.json and the endpoint table say the same. */
#include "fixture.h"

static char text[1024 * 1024];

struct walk {
	const struct manage_endpoint_name *list;
	size_t count, found;
	char path[128];
};

static bool
one_method(void *ctx, const struct json_member *m)
{
	static const char *const methods[] = { "get", "post", "patch", "put", "delete" };
	struct walk *w = ctx;
	char upper[16] = "";

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (span_is(m->key, methods[i]))
			for (size_t k = 0; methods[i][k] != '\0'; k++)
				upper[k] = (char)(methods[i][k] - 'a' + 'A');
	if (upper[0] == '\0')
		return true; /* parameters, summary */
	for (size_t i = 0; i < w->count; i++)
		if (strcmp(w->list[i].method, upper) == 0 &&
			strcmp(w->list[i].path, w->path) == 0) {
			w->found++;
			return true;
		}
	fail_msg("openapi.json has %s %s, which is not reachable", upper, w->path);
	return false;
}

static bool
one_path(void *ctx, const struct json_member *m)
{
	struct walk *w = ctx;

	assert_true(span_copy(m->key, w->path, sizeof w->path));
	assert_int_equal(json_each(m->value.raw, one_method, w, NULL), 0);
	return true;
}

static void
the_description_is_the_table(void **state)
{
	struct walk w = { 0 };
	struct json_value paths;
	FILE *f = fopen("htdocs/openapi.json", "r");
	size_t n;

	(void)state;
	assert_non_null(f);
	n = fread(text, 1, sizeof text, f);
	fclose(f);
	w.count = manage_endpoints(&w.list);
	paths = json_get((struct span){ text, n }, "paths");
	assert_int_equal(paths.type, JSON_OBJECT);
	assert_int_equal(json_each(paths.raw, one_path, &w, NULL), 0);
	for (size_t i = 0; i < w.count && w.found != w.count; i++) {
		char method[16];
		struct json_value v = { JSON_NONE, SPAN_NONE };

		for (size_t k = 0; k <= strlen(w.list[i].method); k++)
			method[k] =
				(char)(w.list[i].method[k] == '\0' ? 0
								   : w.list[i].method[k] | 0x20);
		v = json_get(paths.raw, w.list[i].path);
		if (v.type != JSON_OBJECT || json_get(v.raw, method).type != JSON_OBJECT)
			fail_msg("openapi.json lacks %s %s", w.list[i].method, w.list[i].path);
	}
	assert_int_equal(w.found, w.count);
}

/* Fields that clients see, and may set: each stands in the schemas of its kind. */
static void
the_schemas_have_every_field(void **state)
{
	static const struct {
		enum record_kind kind;
		const char *schema;
		unsigned without; /* fields with one of these flags are not in it */
	} cases[] = {
		{ RECORD_PROJECT, "Project", FIELD_HIDDEN },
		{ RECORD_PROJECT, "ProjectNew", FIELD_HIDDEN | FIELD_READ },
		{ RECORD_PROJECT, "ProjectChange", FIELD_HIDDEN | FIELD_READ | FIELD_FIXED },
		{ RECORD_TOKEN, "Token", FIELD_HIDDEN },
		{ RECORD_TOKEN, "TokenNew", FIELD_HIDDEN | FIELD_READ },
		{ RECORD_TOKEN, "TokenMint", FIELD_HIDDEN | FIELD_READ },
		{ RECORD_TOKEN, "TokenChange", FIELD_HIDDEN | FIELD_READ | FIELD_FIXED },
		{ RECORD_UPSTREAM, "Upstream", FIELD_HIDDEN },
		{ RECORD_UPSTREAM, "UpstreamNew", FIELD_HIDDEN | FIELD_READ },
		{ RECORD_UPSTREAM, "UpstreamChange", FIELD_HIDDEN | FIELD_READ | FIELD_FIXED },
		{ RECORD_KEY, "Key", FIELD_HIDDEN },
		{ RECORD_KEY, "KeyNew", FIELD_HIDDEN | FIELD_READ },
		{ RECORD_KEY, "KeyChange", FIELD_HIDDEN | FIELD_READ | FIELD_FIXED },
		{ RECORD_ROUTE, "Route", FIELD_HIDDEN },
		{ RECORD_ROUTE, "RouteNew", FIELD_HIDDEN | FIELD_READ },
		{ RECORD_ROUTE, "RouteChange", FIELD_HIDDEN | FIELD_READ | FIELD_FIXED },
		{ RECORD_POLICY, "Policy", FIELD_HIDDEN },
		{ RECORD_POLICY, "PolicyNew", FIELD_HIDDEN | FIELD_READ },
		{ RECORD_POLICY, "PolicyChange", FIELD_HIDDEN | FIELD_READ | FIELD_FIXED },
	};
	FILE *f = fopen("htdocs/openapi.json", "r");
	char path[128];
	size_t n;

	(void)state;
	assert_non_null(f);
	n = fread(text, 1, sizeof text, f);
	fclose(f);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t count;
		const struct field *fields = record_fields(cases[i].kind, &count);
		struct json_value schema;

		snprintf(path, sizeof path, "components.schemas.%s.properties", cases[i].schema);
		schema = json_path((struct span){ text, n }, path);
		assert_int_equal(schema.type, JSON_OBJECT);
		for (size_t k = 0; k < count; k++) {
			bool wanted = (fields[k].flags & cases[i].without) == 0 &&
				      strcmp(fields[k].name, "token") != 0; /* shown as masked */

			if (wanted && json_get(schema.raw, fields[k].name).type != JSON_OBJECT)
				fail_msg("%s lacks %s", cases[i].schema, fields[k].name);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_description_is_the_table),
		cmocka_unit_test(the_schemas_have_every_field),
	};

	return cmocka_run_group_tests_name("manage/openapi", tests, NULL, NULL);
}
