/* prices_test.c - price lists of others: exact figures, all or nothing, hand-made prices untouched. */
#include "fixture.h"

#include "store/snapshot.h"

static struct bytes report;
static size_t changed;

static int
import(const char *json, const struct price_import *how)
{
	bytes_free(&report);
	report = BYTES_LIMIT(1 << 20);
	err = (struct err){ 0 };
	return manage_price_import(
		manage, span_of(json), "command:test", how, &changed, &report, &err);
}

static void
works(const char *json, struct price_import how)
{
	if (import(json, &how) != 0)
		fail_msg("%s: %s", json, err.text);
}

static int64_t
told(const char *name)
{
	int64_t n = -1;

	(void)json_int(json_get(bytes_span(&report), name), &n);
	return n;
}

struct found {
	const char *model, *tier;
	int64_t above, from_ms;
	struct price p;
	int count, all;
};

static bool
look(void *ctx, const void *record)
{
	struct found *f = ctx;
	const struct price *p = record;

	f->all++;
	if (strcmp(p->model, f->model) == 0 && strcmp(p->tier, f->tier) == 0 &&
		p->above_tokens == f->above && p->from_ms == f->from_ms) {
		f->p = *p;
		f->count++;
	}
	return true;
}

static struct price
the_price(const char *model, const char *tier, int64_t above, int64_t from_ms)
{
	struct found f = { .model = model, .tier = tier, .above = above, .from_ms = from_ms };

	assert_int_equal(store_each(store, RECORD_PRICE, ID_NONE, look, &f, &err), 0);
	if (f.count != 1)
		fail_msg("%s %s %lld: %d times", model, tier, (long long)above, f.count);
	return f.p;
}

static int
prices_there(void)
{
	struct found f = { .model = "", .tier = "" };

	assert_int_equal(store_each(store, RECORD_PRICE, ID_NONE, look, &f, &err), 0);
	return f.all;
}

#define COMMUNITY                                                                                  \
	"{\"sample_spec\":{\"input_cost_per_token\":\"words\"},\"note\":\"text\","                 \
	"\"tiny\":{\"litellm_provider\":\"openai\",\"mode\":\"chat\",\"max_tokens\":8192,"         \
	"\"input_cost_per_token\":1.5e-07,\"output_cost_per_token\":6e-07,"                        \
	"\"cache_read_input_token_cost\":7.5e-08,\"input_cost_per_token_batches\":7.5e-08,"        \
	"\"output_cost_per_token_batches\":3e-07,\"supports_vision\":true},"                       \
	"\"gemini/pro\":{\"litellm_provider\":\"gemini\",\"input_cost_per_token\":0.00000125,"     \
	"\"output_cost_per_token\":\"1e-05\",\"cache_read_input_token_cost\":1.25e-07,"            \
	"\"input_cost_per_token_above_200k_tokens\":2.5e-06,"                                      \
	"\"output_cost_per_token_above_200k_tokens\":1.5e-05,"                                     \
	"\"input_cost_per_token_above_200k_tokens_priority\":9e-06,"                               \
	"\"input_cost_per_token_priority\":4e-06,\"input_cost_per_audio_token\":1e-06,"            \
	"\"output_cost_per_audio_token\":2e-06,\"output_cost_per_reasoning_token\":3.5e-06,"       \
	"\"search_context_cost_per_query\":{\"low\":0.035},\"input_cost_per_image\":0.1},"         \
	"\"claude\":{\"litellm_provider\":\"anthropic\",\"input_cost_per_token\":3e-06,"           \
	"\"output_cost_per_token\":1.5e-05,\"cache_creation_input_token_cost\":3.75e-06,"          \
	"\"cache_creation_input_token_cost_above_1hr\":6e-06,\"input_cost_per_request\":0.005,"    \
	"\"cache_creation_input_token_cost_above_1hr_above_200k_tokens\":1.2e-05},"                \
	"\"painter\":{\"mode\":\"image_generation\",\"output_cost_per_image\":0.04},"              \
	"\"pixels\":{\"input_cost_per_pixel\":2e-08,\"output_cost_per_token\":0.0},"               \
	"\"gratis\":{\"input_cost_per_token\":0.0,\"output_cost_per_token\":0.0},"                 \
	"\"words\":{\"mode\":\"rerank\"},"                                                         \
	"\"one/same\":{\"litellm_provider\":\"one\",\"input_cost_per_token\":1e-06},"              \
	"\"two/same\":{\"litellm_provider\":\"two\",\"input_cost_per_token\":1e-06},"              \
	"\"one/other\":{\"litellm_provider\":\"one\",\"input_cost_per_token\":1e-06},"             \
	"\"two/other\":{\"litellm_provider\":\"two\",\"input_cost_per_token\":2e-06},"             \
	"\"one/tiny\":{\"litellm_provider\":\"one\",\"input_cost_per_token\":9e-06}}"

static void
the_community_list_becomes_exact_rows(void **state)
{
	struct price p;

	(void)state;
	works(COMMUNITY, (struct price_import){ 0 });
	p = the_price("tiny", "", 0, 0);
	assert_int_equal(p.input_nusd, 150000000); /* 0.15 dollars a million */
	assert_int_equal(p.output_nusd, 600000000);
	assert_int_equal(p.cache_read_nusd, 75000000);
	assert_int_equal(p.cache_write_5m_nusd, -1);
	assert_true(p.is_imported);
	assert_false(p.is_builtin);
	p = the_price("tiny", "batch", 0, 0);
	assert_int_equal(p.input_nusd, 75000000);
	assert_int_equal(p.output_nusd, 300000000);
	assert_int_equal(p.cache_read_nusd, 75000000); /* as without a tier */
	p = the_price("pro", "", 0, 0);                /* called so at its provider */
	assert_int_equal(p.input_nusd, 1250000000);
	assert_int_equal(p.output_nusd, 10000000000);
	assert_int_equal(p.audio_input_nusd, 1000000000);
	assert_int_equal(p.audio_output_nusd, 2000000000);
	assert_int_equal(p.reasoning_nusd, 3500000000);
	p = the_price("gemini/pro", "", 200000, 0);
	assert_int_equal(p.input_nusd, 2500000000);
	assert_int_equal(p.output_nusd, 15000000000);
	assert_int_equal(p.cache_read_nusd, 125000000); /* as without the step */
	p = the_price("pro", "priority", 200000, 0);
	assert_int_equal(p.input_nusd, 9000000000);
	p = the_price("pro", "priority", 0, 0);
	assert_int_equal(p.input_nusd, 4000000000);
	assert_int_equal(p.output_nusd, 10000000000);
	p = the_price("claude", "", 0, 0);
	assert_int_equal(p.cache_write_5m_nusd, 3750000000);
	assert_int_equal(p.cache_write_1h_nusd, 6000000000);
	assert_int_equal(p.request_nusd, 5000000);
	p = the_price("claude", "", 200000, 0);
	assert_int_equal(p.cache_write_1h_nusd, 12000000000);
	assert_int_equal(p.input_nusd, 3000000000);
	p = the_price("painter", "", 0, 0);
	assert_int_equal(p.image_nusd, 40000000);
	assert_int_equal(p.input_nusd, 0);
	p = the_price("gratis", "", 0, 0);
	assert_int_equal(p.input_nusd, 0);
	p = the_price("same", "", 0, 0);
	assert_int_equal(p.input_nusd, 1000000000);
	p = the_price("one/tiny", "", 0, 0);
	assert_int_equal(p.input_nusd, 9000000000);
	assert_int_equal(told("models"), 12);
	assert_int_equal(told("skipped"), 2);   /* pixels, words */
	assert_int_equal(told("ambiguous"), 1); /* other; tiny has an entry of its own */
	assert_int_equal(told("ignored"), 3);
	assert_non_null(strstr(report.at, "{\"name\":\"input_cost_per_pixel\",\"count\":1}"));
	/* tiny 2, pro 4 twice, claude 2, painter, gratis, one/ and two/ same and other, same, one/tiny */
	assert_int_equal(prices_there(), 2 + 8 + 2 + 1 + 1 + 4 + 1 + 1);
	assert_int_equal(told("added"), prices_there());
	works(COMMUNITY, (struct price_import){ 0 });
	assert_int_equal(changed, 0);
	assert_int_equal(told("same"), prices_there());
}

static void
one_provider_alone_is_without_its_prefix(void **state)
{
	struct price p;

	(void)state;
	works(COMMUNITY, (struct price_import){ .provider = "two" });
	assert_int_equal(prices_there(), 2);
	p = the_price("other", "", 0, 0);
	assert_int_equal(p.input_nusd, 2000000000);
	assert_int_equal(import(COMMUNITY, &(struct price_import){ .provider = "none" }), -1);
}

static void
rows_may_be_of_one_upstream(void **state)
{
	struct price p;

	(void)state;
	CALL(201, "POST", "/manage/upstreams",
		"{\"name\":\"mine\",\"base_url\":\"https://a.example\"}");
	works(COMMUNITY, (struct price_import){ .provider = "one", .upstream = "mine" });
	p = the_price("same", "", 0, 0);
	assert_false(id_is_none(p.upstream));
	assert_int_equal(import(COMMUNITY, &(struct price_import){ .upstream = "no" }), -1);
	assert_int_equal(err.code, ERR_UNKNOWN_UPSTREAM);
}

#define ONE(member) "{\"m\":{\"input_cost_per_token\":1e-6},\"bad\":{" member "}}"

static void
one_wrong_figure_and_nothing_is_taken(void **state)
{
	static const struct {
		const char *why, *json;
		enum err_code want;
	} cases[] = {
		{ "no end of zeros", ONE("\"input_cost_per_token\":1e400"), ERR_BAD_REQUEST },
		{ "negative", ONE("\"input_cost_per_token\":-1e-6"), ERR_BAD_REQUEST },
		{ "no number, though JavaScript has it", ONE("\"input_cost_per_token\":NaN"),
			ERR_BAD_REQUEST },
		{ "a word", ONE("\"input_cost_per_token\":\"NaN\""), ERR_BAD_REQUEST },
		{ "a list", ONE("\"input_cost_per_token\":[1]"), ERR_BAD_REQUEST },
		{ "true", ONE("\"output_cost_per_token_flex\":true"), ERR_BAD_REQUEST },
		{ "more than a word holds", ONE("\"input_cost_per_token\":9300"), ERR_BAD_REQUEST },
		{ "the same model twice",
			"{\"m\":{\"input_cost_per_token\":1},\"m\":{\"input_cost_per_token\":1}}",
			ERR_CONFLICT },
		{ "cut off", "{\"m\":{\"input_cost_per_token\":1e-6}", ERR_BAD_REQUEST },
		{ "nothing in it", "{}", ERR_BAD_REQUEST },
		{ "no object", "[]", ERR_BAD_REQUEST },
		{ "no JSON", "", ERR_BAD_REQUEST },
		{ "own: no input", "{\"prices\":[{\"model\":\"m\",\"output\":1}]}",
			ERR_BAD_REQUEST },
		{ "own: no model", "{\"prices\":[{\"input\":1,\"output\":1}]}", ERR_BAD_REQUEST },
		{ "own: unknown member",
			"{\"prices\":[{\"model\":\"m\",\"input\":1,\"output\":1,\"x\":1}]}",
			ERR_BAD_REQUEST },
		{ "own: negative", "{\"prices\":[{\"model\":\"m\",\"input\":-1,\"output\":1}]}",
			ERR_BAD_REQUEST },
		{ "own: too large", "{\"prices\":[{\"model\":\"m\",\"input\":1e400,\"output\":1}]}",
			ERR_BAD_REQUEST },
		{ "own: twice",
			"{\"prices\":[{\"model\":\"m\",\"input\":1,\"output\":1},"
			"{\"model\":\"m\",\"input\":2,\"output\":1}]}",
			ERR_CONFLICT },
		{ "own: no such upstream",
			"{\"prices\":[{\"model\":\"m\",\"upstream\":\"u\",\"input\":1,\"output\":1}"
			"]}",
			ERR_UNKNOWN_UPSTREAM },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (import(cases[i].json, &(struct price_import){ 0 }) == 0 ||
			err.code != cases[i].want || prices_there() != 0)
			fail_msg("%s: code %s, %d prices", cases[i].why, err_name(err.code),
				prices_there());
		if (err.text[0] == '\0')
			fail_msg("%s: says nothing", cases[i].why);
	}
}

static void
too_many_prices_are_refused_before_any_is_written(void **state)
{
	struct bytes text = BYTES_LIMIT(16 << 20);
	int rc;

	(void)state;
	bytes_puts(&text, "{");
	for (int i = 0; i < 20000; i++)
		bytes_printf(
			&text, "%s\"m%d\":{\"input_cost_per_token\":1e-6}", i == 0 ? "" : ",", i);
	bytes_puts(&text, "}");
	rc = import(text.at, &(struct price_import){ 0 });
	bytes_free(&text);
	assert_int_equal(rc, -1);
	assert_int_equal(err.code, ERR_EXCEEDS_LIMIT);
	assert_int_equal(prices_there(), 0);
}

#define LIST(input, rest)                                                                          \
	"{\"prices\":[{\"model\":\"a\",\"input\":\"" input "\",\"output\":\"2\"}" rest "]}"
#define DAY 86400000LL

static void
a_dated_import_keeps_what_held_before(void **state)
{
	(void)state;
	works(LIST("1", ",{\"model\":\"b\",\"input\":\"1\",\"output\":\"2\"}"),
		(struct price_import){ 0 });
	works(LIST("1", ",{\"model\":\"b\",\"input\":\"3\",\"output\":\"2\"}"),
		(struct price_import){ .from_ms = 10 * DAY });
	assert_int_equal(told("added"), 1);
	assert_int_equal(told("same"), 1);
	assert_int_equal(the_price("b", "", 0, 0).input_nusd, 1000000000);
	assert_int_equal(the_price("b", "", 0, 10 * DAY).input_nusd, 3000000000);
	/* the next week's list says the same again: nothing to add */
	works(LIST("1", ",{\"model\":\"b\",\"input\":\"3\",\"output\":\"2\"}"),
		(struct price_import){ .from_ms = 17 * DAY });
	assert_int_equal(changed, 0);
	/* a row's own date goes before --from */
	works(LIST("1", ",{\"model\":\"b\",\"from\":\"1970-01-06\",\"input\":\"7\",\"output\":"
			"\"2\"}"),
		(struct price_import){ .from_ms = 17 * DAY });
	assert_int_equal(changed, 1);
	assert_int_equal(the_price("b", "", 0, 5 * DAY).input_nusd, 7000000000);
	assert_int_equal(prices_there(), 4);
}

static void
a_dry_run_tells_and_writes_nothing(void **state)
{
	(void)state;
	works(LIST("1", ""), (struct price_import){ 0 });
	works(LIST("1.5", ",{\"model\":\"c\",\"tier\":\"flex\",\"above_tokens\":7,\"input\":\"1\","
			  "\"output\":\"2\"}"),
		(struct price_import){ .dry_run = true });
	assert_int_equal(changed, 2);
	assert_int_equal(prices_there(), 1);
	assert_int_equal(the_price("a", "", 0, 0).input_nusd, 1000000000);
	assert_non_null(strstr(report.at, "\"dry_run\":true"));
	assert_non_null(strstr(report.at, "\"change\":\"change\",\"model\":\"a\""));
	assert_non_null(strstr(report.at, "\"before\":{\"input\":\"1.000000000\""));
	assert_non_null(strstr(report.at, "\"after\":{\"input\":\"1.500000000\""));
	assert_non_null(strstr(report.at, "\"change\":\"add\",\"model\":\"c\",\"upstream\":null,"
					  "\"tier\":\"flex\",\"above_tokens\":7"));
	assert_true(json_valid(bytes_span(&report)));
}

static void
what_was_made_by_hand_stays(void **state)
{
	char path[64];

	(void)state;
	CALL(201, "POST", "/manage/prices", "{\"model\":\"a\",\"input\":\"9\",\"output\":\"9\"}");
	works(LIST("1", ""), (struct price_import){ 0 });
	assert_int_equal(told("kept"), 1);
	works(LIST("1", ""), (struct price_import){ .from_ms = DAY });
	assert_int_equal(told("kept"), 1);
	assert_int_equal(the_price("a", "", 0, 0).input_nusd, 9000000000);

	/* an imported one, made into the price of something else */
	works("{\"prices\":[{\"model\":\"b\",\"input\":1,\"output\":1}]}",
		(struct price_import){ 0 });
	CALL(200, "GET", "/manage/prices?model=b", "");
	assert_true(row(0));
	assert_string_equal(raw_of("is_imported"), "true");
	snprintf(path, sizeof path, "/manage/prices/%s", text_of("id"));
	CALL(200, "PATCH", path, "{\"model\":\"mine\",\"input\":\"5\"}");
	assert_string_equal(raw_of("is_imported"), "false");
	works("{\"prices\":[{\"model\":\"b\",\"input\":1,\"output\":1}]}",
		(struct price_import){ 0 });
	assert_int_equal(told("added"), 1);
	assert_int_equal(the_price("mine", "", 0, 0).input_nusd, 5000000000);
	assert_int_equal(the_price("b", "", 0, 0).input_nusd, 1000000000);
}

static void
the_list_that_comes_along_gives_way_to_an_imported_one(void **state)
{
	(void)state;
	assert_int_equal(manage_import_prices(manage,
				 span_of(LIST("1", ",{\"model\":\"b\",\"input\":1,\"output\":1}")),
				 "setup", &changed, &err),
		0);
	assert_int_equal(changed, 2);
	works(LIST("4", ""), (struct price_import){ 0 });
	assert_int_equal(told("updated"), 1);
	assert_int_equal(the_price("b", "", 0, 0).input_nusd, 1000000000); /* not named: stays */
	/* init once more, with a newer program */
	assert_int_equal(
		manage_import_prices(manage, span_of(LIST("2", "")), "setup", &changed, &err), 0);
	assert_int_equal(changed, 1); /* b came along no more */
	assert_int_equal(prices_there(), 1);
	assert_int_equal(the_price("a", "", 0, 0).input_nusd, 4000000000);
}

static bool
count_audit(void *ctx, const struct audit_entry *e)
{
	*(int *)ctx += strcmp(e->action, "price.import") == 0;
	return true;
}

static void
one_import_is_one_audit_entry(void **state)
{
	int entries = 0;

	(void)state;
	works(COMMUNITY, (struct price_import){ 0 });
	works(COMMUNITY, (struct price_import){ 0 }); /* nothing to do */
	assert_int_equal(store_audit_each(store, 0, count_audit, &entries, &err), 0);
	assert_int_equal(entries, 1);
}

static void
the_api_imports_too(void **state)
{
	(void)state;
	CALL(200, "POST", "/manage/prices/import?provider=two&dry_run=1", COMMUNITY);
	assert_string_equal(raw_of("added"), "2");
	assert_int_equal(prices_there(), 0);
	CALL(200, "POST", "/manage/prices/import?provider=two&from=2027-01-01", COMMUNITY);
	assert_string_equal(raw_of("added"), "2");
	assert_int_equal(the_price("same", "", 0, 1798761600000).input_nusd, 1000000000);
	CALL(400, "POST", "/manage/prices/import", ONE("\"input_cost_per_token\":-1"));
	CALL(400, "POST", "/manage/prices/import?from=soon", COMMUNITY);
	CALL(400, "POST", "/manage/prices/import?upstream=nobody", COMMUNITY);
	assert_int_equal(prices_there(), 2);
}

/* What the gateway would not look at is not taken. */
static void
there_are_no_more_prices_than_the_gateway_looks_at(void **state)
{
	struct price *all = calloc(SNAPSHOT_PRICES_MAX, sizeof *all);
	static const char one[] = "{\"model\":\"more\",\"input\":\"1\",\"output\":\"1\"}";
	char path[64];

	(void)state;
	assert_non_null(all);
	for (int i = 0; i < SNAPSHOT_PRICES_MAX - 1; i++) {
		record_init(RECORD_PRICE, &all[i]);
		snprintf(all[i].model, sizeof all[i].model, "model-%d", i);
	}
	assert_int_equal(
		store_create_many(store, RECORD_PRICE, all, SNAPSHOT_PRICES_MAX - 1, NULL, &err),
		0);
	free(all);
	CALL(201, "POST", "/manage/prices", one);
	snprintf(path, sizeof path, "/manage/prices/%s", text_of("id"));
	CALL(409, "POST", "/manage/prices", one);
	assert_non_null(strstr(text_of("error.message"), "16384"));
	CALL(200, "PATCH", path, "{\"input\":\"2\"}");
	CALL(204, "DELETE", path, "");
	CALL(201, "POST", "/manage/prices", one);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_community_list_becomes_exact_rows),
		TEST(one_provider_alone_is_without_its_prefix),
		TEST(rows_may_be_of_one_upstream),
		TEST(one_wrong_figure_and_nothing_is_taken),
		TEST(too_many_prices_are_refused_before_any_is_written),
		TEST(a_dated_import_keeps_what_held_before),
		TEST(a_dry_run_tells_and_writes_nothing),
		TEST(what_was_made_by_hand_stays),
		TEST(the_list_that_comes_along_gives_way_to_an_imported_one),
		TEST(one_import_is_one_audit_entry),
		TEST(there_are_no_more_prices_than_the_gateway_looks_at),
		TEST(the_api_imports_too),
	};
	int failed = cmocka_run_group_tests_name("manage/prices", tests, NULL, NULL);

	bytes_free(&report);
	return failed;
}
