/*
 * openai_usage_test.c - every endpoint's and every vendor's figures become the same disjoint counters.
 */
#include "wire/openai.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define USED(s, in, read, written, out, thought, cost, ms, heard, spoken, t)                       \
	{                                                                                          \
		.seen = (s), .input = (in), .cache_read = (read), .cache_write = (written),        \
		.output = (out), .cache_write_1h = -1, .reasoning = (thought),                     \
		.audio_input = (heard), .audio_output = (spoken), .cost_nusd = (cost),             \
		.duration_ms = (ms), .tier = t                                                     \
	}

static void
is(const char *why, const struct wire_usage *u, const struct wire_usage *want)
{
	if (u->seen != want->seen || u->input != want->input || u->cache_read != want->cache_read ||
		u->cache_write != want->cache_write || u->output != want->output ||
		u->reasoning != want->reasoning || u->cost_nusd != want->cost_nusd ||
		u->duration_ms != want->duration_ms || u->audio_input != want->audio_input ||
		u->audio_output != want->audio_output || strcmp(u->tier, want->tier) != 0)
		fail_msg("%s: in %lld read %lld write %lld out %lld reasoning %lld cost %lld ms "
			 "%lld audio %lld %lld tier %s",
			why, (long long)u->input, (long long)u->cache_read,
			(long long)u->cache_write, (long long)u->output, (long long)u->reasoning,
			(long long)u->cost_nusd, (long long)u->duration_ms,
			(long long)u->audio_input, (long long)u->audio_output, u->tier);
}

static void
counters_are_disjoint_for_every_vendor(void **state)
{
	static const struct {
		const char *why, *json;
		struct wire_usage
			want; /* input, cache read, cache write, output, reasoning, cost, ms */
	} cases[] = {
		{ "chat",
			"{\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":200,\"total_"
			"tokens\":1200,"
			"\"prompt_tokens_details\":{\"cached_tokens\":600,\"cache_write_tokens\":"
			"100},"
			"\"completion_tokens_details\":{\"reasoning_tokens\":150}}}",
			USED(true, 300, 600, 100, 200, 150, -1, -1, -1, -1, "") },
		{ "chat without details",
			"{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}",
			USED(true, 5, -1, -1, 7, -1, -1, -1, -1, -1, "") },
		{ "responses",
			"{\"usage\":{\"input_tokens\":20,\"input_tokens_details\":{\"cached_"
			"tokens\":8},"
			"\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":2},"
			"\"total_tokens\":25}}",
			USED(true, 12, 8, -1, 5, 2, -1, -1, -1, -1, "") },
		{ "an event of responses",
			"{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_"
			"tokens\":20,\"output_tokens\":5}}}",
			USED(true, 20, -1, -1, 5, -1, -1, -1, -1, -1, "") },
		{ "embeddings", "{\"data\":[],\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}",
			USED(true, 9, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "images",
			"{\"data\":[{\"b64_json\":\"AA==\"}],\"usage\":{\"input_tokens\":50,"
			"\"output_tokens\":4160,"
			"\"input_tokens_details\":{\"text_tokens\":10,\"image_tokens\":40},\"total_"
			"tokens\":4210}}",
			USED(true, 50, -1, -1, 4160, -1, -1, -1, -1, -1, "") },
		{ "transcription by tokens",
			"{\"text\":\"x\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,"
			"\"output_tokens\":45,"
			"\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14},\"total_"
			"tokens\":59}}",
			USED(true, 14, -1, -1, 45, -1, -1, -1, 14, -1, "") },
		{ "transcription by duration",
			"{\"text\":\"x\",\"usage\":{\"type\":\"duration\",\"seconds\":12.5}}",
			USED(true, -1, -1, -1, -1, -1, -1, 12500, -1, -1, "") },
		{ "audio both ways, in a tier",
			"{\"service_tier\":\"flex\",\"usage\":{\"prompt_tokens\":100,"
			"\"completion_tokens\":50,"
			"\"prompt_tokens_details\":{\"cached_tokens\":20,\"audio_tokens\":30},"
			"\"completion_tokens_details\":{\"audio_tokens\":40}}}",
			USED(true, 80, 20, -1, 50, -1, -1, -1, 30, 40, "flex") },
		{ "more audio than there is of all",
			"{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,"
			"\"prompt_tokens_details\":{\"cached_tokens\":4,\"audio_tokens\":30},"
			"\"completion_tokens_details\":{\"audio_tokens\":40}}}",
			USED(true, 6, 4, -1, 5, -1, -1, -1, 6, 5, "") },
		{ "the tier of an event of responses",
			"{\"response\":{\"service_tier\":\"priority\",\"usage\":{\"input_tokens\":"
			"2}}}",
			USED(true, 2, -1, -1, -1, -1, -1, -1, -1, -1, "priority") },
		{ "a tier that is too long to be one",
			"{\"service_tier\":\"012345678901234567890123\",\"usage\":{\"input_"
			"tokens\":2}}",
			USED(true, 2, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "DeepSeek",
			"{\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_"
			"tokens\":110,"
			"\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":36}}",
			USED(true, 36, 64, -1, 10, -1, -1, -1, -1, -1, "") },
		{ "DeepSeek, only hits and misses",
			"{\"usage\":{\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":"
			"36,\"completion_tokens\":1}}",
			USED(true, 36, 64, -1, 1, -1, -1, -1, -1, -1, "") },
		{ "details before hits",
			"{\"usage\":{\"prompt_tokens\":100,\"prompt_tokens_details\":{\"cached_"
			"tokens\":10},"
			"\"prompt_cache_hit_tokens\":64,\"completion_tokens\":1}}",
			USED(true, 90, 10, -1, 1, -1, -1, -1, -1, -1, "") },
		{ "Groq",
			"{\"usage\":{\"queue_time\":0.1,\"prompt_tokens\":3,\"prompt_time\":0.2,"
			"\"completion_tokens\":4,"
			"\"total_tokens\":7,\"total_time\":0.5}}",
			USED(true, 3, -1, -1, 4, -1, -1, -1, -1, -1, "") },
		{ "Groq in a stream",
			"{\"choices\":[{}],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":3,"
			"\"completion_tokens\":4}}}",
			USED(true, 3, -1, -1, 4, -1, -1, -1, -1, -1, "") },
		{ "Mistral with audio",
			"{\"usage\":{\"prompt_audio_seconds\":3,\"prompt_tokens\":4,\"completion_"
			"tokens\":5,\"total_tokens\":9}}",
			USED(true, 4, -1, -1, 5, -1, -1, 3000, -1, -1, "") },
		{ "OpenRouter",
			"{\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5,\"cost\":0."
			"00012345678949,\"is_byok\":false,"
			"\"cost_details\":{\"upstream_inference_cost\":null}}}",
			USED(true, 4, -1, -1, 5, -1, 123457, -1, -1, -1, "") },
		{ "OpenRouter, exponent",
			"{\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5,\"cost\":2.5e-7}}",
			USED(true, 4, -1, -1, 5, -1, 250, -1, -1, -1, "") },
		{ "xAI: reasoning beside the output",
			"{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":"
			"115,"
			"\"completion_tokens_details\":{\"reasoning_tokens\":100}}}",
			USED(true, 10, -1, -1, 105, 100, -1, -1, -1, -1, "") },
		{ "a total with something unnamed",
			"{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":"
			"20}}",
			USED(true, 10, -1, -1, 10, 5, -1, -1, -1, -1, "") },
		{ "negative is nothing",
			"{\"usage\":{\"prompt_tokens\":-10,\"completion_tokens\":-5,\"cost\":-1}}",
			USED(true, 0, -1, -1, 0, -1, -1, -1, -1, -1, "") },
		{ "more cached than there was",
			"{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,"
			"\"prompt_tokens_details\":{\"cached_tokens\":8,\"cache_write_tokens\":8}}"
			"}",
			USED(true, 0, 8, 2, 5, -1, -1, -1, -1, -1, "") },
		{ "more reasoning than output",
			"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":5,"
			"\"completion_tokens_details\":{\"reasoning_tokens\":9}}}",
			USED(true, 1, -1, -1, 5, 5, -1, -1, -1, -1, "") },
		{ "too large to be true",
			"{\"usage\":{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":"
			"9223372036854775807,"
			"\"total_tokens\":9223372036854775807,\"cost\":1e300}}",
			USED(true, 1000000000000, -1, -1, 1000000000000, -1, -1, -1, -1, -1, "") },
		{ "nulls",
			"{\"usage\":{\"prompt_tokens\":null,\"completion_tokens\":null,\"prompt_"
			"tokens_details\":null}}",
			USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "strings", "{\"usage\":{\"prompt_tokens\":\"5\",\"cost\":\"1\"}}",
			USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "null", "{\"usage\":null}", USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "no object", "[1]", USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "nothing", "", USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "escaped names", "{\"us\\u0061ge\":{\"prompt\\u005ftokens\":5}}",
			USED(true, 5, -1, -1, -1, -1, -1, -1, -1, -1, "") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wire_usage u = { .seen = false };

		openai_usage(span_of(cases[i].json), &u);
		is(cases[i].why, &u, &cases[i].want);
	}
}

static void
the_last_report_wins_but_nulls_do_not(void **state)
{
	struct wire_usage u = WIRE_USAGE_NONE;

	(void)state;
	openai_usage(SPAN_LIT("{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1,"
			      "\"prompt_tokens_details\":{\"cached_tokens\":4}}}"),
		&u);
	is("first", &u, &(struct wire_usage)USED(true, 6, 4, -1, 1, -1, -1, -1, -1, -1, ""));
	openai_usage(SPAN_LIT("{\"usage\":{\"prompt_tokens\":null,\"completion_tokens\":2}}"), &u);
	is("null stays", &u, &(struct wire_usage)USED(true, 6, 4, -1, 2, -1, -1, -1, -1, -1, ""));
	openai_usage(SPAN_LIT("{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}"), &u);
	is("cached stays apart", &u,
		&(struct wire_usage)USED(true, 6, 4, -1, 3, -1, -1, -1, -1, -1, ""));
	openai_usage(SPAN_LIT("{\"usage\":null}"), &u);
	is("no report", &u, &(struct wire_usage)USED(true, 6, 4, -1, 3, -1, -1, -1, -1, -1, ""));
}

static void
a_tail_is_enough(void **state)
{
	static const struct {
		const char *why, *tail;
		struct wire_usage want;
	} cases[] = {
		{ "the end of an answer",
			"AAA\"}],\"usage\" : "
			"{\"input_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":2},"
			"\"output_tokens\":9},\"x\":{}}",
			USED(true, 3, 2, -1, 9, -1, -1, -1, -1, -1, "") },
		{ "the tier behind it",
			"\"usage\":{\"prompt_tokens\":1},\"service_tier\": \"flex\",\"x\":1}",
			USED(true, 1, -1, -1, -1, -1, -1, -1, -1, -1, "flex") },
		{ "the tier cut off", "\"usage\":{\"prompt_tokens\":1},\"service_tier\":\"fle",
			USED(true, 1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "the last of two",
			"\"usage\":{\"prompt_tokens\":1}},{\"usage\":{\"prompt_tokens\":2}}",
			USED(true, 2, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "words about usage",
			"x \\\"usage\\\":{\\\"prompt_tokens\\\":5}\",\"usage\":null}",
			USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "cut off", "\"usage\":{\"prompt_tokens\":1",
			USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
		{ "nothing", NULL, USED(false, -1, -1, -1, -1, -1, -1, -1, -1, -1, "") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wire_usage u = { .seen = false };

		openai_usage_tail(span_of(cases[i].tail), &u);
		is(cases[i].why, &u, &cases[i].want);
	}
}

static void
four_characters_are_a_token(void **state)
{
	(void)state;
	assert_int_equal(openai_estimate_tokens(-4), 0);
	assert_int_equal(openai_estimate_tokens(0), 0);
	assert_int_equal(openai_estimate_tokens(1), 1);
	assert_int_equal(openai_estimate_tokens(4), 1);
	assert_int_equal(openai_estimate_tokens(5), 2);
	assert_int_equal(openai_estimate_tokens(INT64_MAX), INT64_MAX / 4 + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_are_disjoint_for_every_vendor),
		cmocka_unit_test(the_last_report_wins_but_nulls_do_not),
		cmocka_unit_test(a_tail_is_enough),
		cmocka_unit_test(four_characters_are_a_token),
	};

	return cmocka_run_group_tests_name("wire/openai_usage", tests, NULL, NULL);
}
