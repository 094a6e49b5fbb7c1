/*
 * gemini_answer_test.c - Gemini's answers, whole and streamed, read and written; and what they say of
 * usage.
 */
#include "wire/convert.h"
#include "wire/gemini.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

/* ---- whole answers ---- */

struct answer {
	struct arena *arena;
	struct neutral_reply r;
	struct err err;
	struct bytes out;
};

static int
read_as(struct answer *a, const char *json)
{
	*a = (struct answer){ .arena = arena_new(64 * MIB), .out = BYTES_LIMIT(MIB) };
	assert_non_null(a->arena);
	a->r.arena = a->arena;
	a->r.usage = WIRE_USAGE_NONE;
	return gemini_read_reply(span_of(json), &a->r, &a->err);
}

static void
read_well(struct answer *a, const char *json)
{
	if (read_as(a, json) != 0)
		fail_msg("%s\n  %s", json, a->err.text);
}

static const char *
written(struct answer *a)
{
	struct reply_options o = { .model = "gw" };

	assert_int_equal(gemini_write_reply(&a->r, &o, &a->out), 0);
	assert_true(json_valid(bytes_span(&a->out)));
	return a->out.at;
}

static void
end(struct answer *a)
{
	bytes_free(&a->out);
	arena_free(a->arena);
}

static void
equal(struct span got, const char *want)
{
	char text[512];

	assert_non_null(got.at);
	assert_true(span_copy(got, text, sizeof text));
	assert_string_equal(text, want);
}

static void
an_answer_is_read_part_by_part(void **state)
{
	struct answer a;
	const struct neutral_part *p;

	(void)state;
	/* vector 22 */
	read_well(&a,
		"{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":["
		"{\"text\":\"Plan.\",\"thought\":true},{\"text\":\"OK. \"},"
		"{\"functionCall\":{\"name\":\"get_weather\",\"args\":{\"city\":\"Oslo\"}},"
		"\"thoughtSignature\":\"QUJD\"},{\"functionCall\":{\"id\":\"fc2\",\"name\":\"now\"}"
		"}]},"
		"\"finishReason\":\"STOP\",\"groundingMetadata\":{\"x\":1}}],"
		"\"usageMetadata\":{\"promptTokenCount\":80,\"cachedContentTokenCount\":30,"
		"\"candidatesTokenCount\":12,\"thoughtsTokenCount\":40,\"totalTokenCount\":132},"
		"\"modelVersion\":\"gemini-3-flash-preview\",\"responseId\":\"r1\"}");
	equal(a.r.id, "r1");
	equal(a.r.model, "gemini-3-flash-preview");
	assert_int_equal(a.r.choice_count, 1);
	assert_int_equal(a.r.choice[0].count, 4);
	assert_int_equal(a.r.choice[0].finish, FINISH_TOOL_CALLS);
	p = a.r.choice[0].part;
	assert_int_equal(p[0].kind, PART_REASONING);
	equal(p[1].text, "\"OK. \"");
	assert_memory_equal(p[2].call_id.at, "call_", 5);
	equal(p[2].input, "{\"city\":\"Oslo\"}");
	equal(p[2].signature, "QUJD");
	assert_int_equal(p[2].signer, SIGNER_GEMINI);
	equal(p[3].call_id, "fc2");
	equal(p[3].input, "{}");
	assert_int_equal(a.r.usage.input, 50);
	assert_int_equal(a.r.usage.cache_read, 30);
	assert_int_equal(a.r.usage.output, 52);
	assert_int_equal(a.r.usage.reasoning, 40);
	end(&a);
}

static void
reasons_to_stop_are_known(void **state)
{
	static const struct {
		const char *word;
		enum finish finish;
	} cases[] = {
		{ "STOP", FINISH_STOP },
		{ "MAX_TOKENS", FINISH_LENGTH },
		{ "RECITATION", FINISH_FILTER },
		{ "IMAGE_PROHIBITED_CONTENT", FINISH_FILTER },
		{ "OTHER", FINISH_FILTER },
		{ "MALFORMED_FUNCTION_CALL", FINISH_MALFORMED },
		{ "SOMETHING_NEW", FINISH_STOP },
		{ "", FINISH_STOP },
	};
	char body[256];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct answer a;

		(void)snprintf(body, sizeof body,
			"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]},"
			"\"finishReason\":\"%s\"}]}",
			cases[i].word);
		read_well(&a, body);
		assert_int_equal(a.r.choice[0].finish, cases[i].finish);
		end(&a);
	}
}

static void
answers_of_nothing_have_their_reason(void **state)
{
	struct answer a;

	(void)state;
	read_well(&a, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},"
		      "\"usageMetadata\":{\"promptTokenCount\":4}}");
	assert_int_equal(a.r.choice_count, 1);
	assert_int_equal(a.r.choice[0].count, 0);
	assert_int_equal(a.r.choice[0].finish, FINISH_FILTER);
	assert_int_equal(a.r.usage.input, 4);
	end(&a);
	read_well(&a, "{\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]}");
	assert_int_equal(a.r.choice[0].count, 0);
	assert_int_equal(a.r.choice[0].finish, FINISH_LENGTH);
	end(&a);
}

static void
what_is_no_answer_is_an_error(void **state)
{
	static const struct {
		const char *body, *says;
	} cases[] = {
		{ "", "" },
		{ "[", "" },
		{ "<html>", "" },
		{ "{}", "nothing in it" },
		{ "[{\"error\":{\"code\":503,\"message\":\"Busy "
		  "now.\",\"status\":\"UNAVAILABLE\"}}]",
			"Busy now." },
		{ "{\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}",
			"try again" },
		{ "{\"candidates\":[{\"index\":128}]}", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct answer a;

		if (read_as(&a, cases[i].body) != -1)
			fail_msg("%s was read", cases[i].body);
		assert_int_equal(a.err.code, ERR_UPSTREAM_UNREACHABLE);
		assert_non_null(strstr(err_public(&a.err), cases[i].says));
		end(&a);
	}
}

static void
an_array_is_one_answer_in_pieces(void **state)
{
	struct answer a;

	(void)state;
	read_well(&a,
		"[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n,\n"
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]},"
		"\"finishReason\":\"STOP\"},{\"index\":1,\"content\":{\"parts\":[{\"inlineData\":"
		"{\"mimeType\":\"image/png\",\"data\":\"AA\"}}]},\"finishReason\":\"STOP\"}]}]");
	assert_int_equal(a.r.choice_count, 2);
	assert_int_equal(a.r.choice[0].count, 2);
	assert_int_equal(a.r.choice[1].part[0].kind, PART_IMAGE);
	end(&a);
}

static void
usage_is_made_disjoint(void **state)
{
	static const struct {
		const char *usage;
		int64_t input, cache_read, output, reasoning, audio_in, audio_out;
	} cases[] = {
		/* vector 52 */
		{ "{\"promptTokenCount\":100,\"cachedContentTokenCount\":40,"
		  "\"candidatesTokenCount\":20,"
		  "\"thoughtsTokenCount\":30,\"toolUsePromptTokenCount\":7,\"totalTokenCount\":"
		  "157}",
			67, 40, 50, 30, -1, -1 },
		{ "{\"promptTokenCount\":8,\"totalTokenCount\":8}", 8, 0, -1, -1, -1, -1 },
		{ "{\"promptTokenCount\":8,\"cachedContentTokenCount\":99,\"candidatesTokenCount\":"
		  "-5}",
			0, 8, 0, -1, -1, -1 },
		/* the rest of the total was thought */
		{ "{\"promptTokenCount\":10,\"candidatesTokenCount\":2,\"totalTokenCount\":20}", 10,
			0, 10, 8, -1, -1 },
		{ "{\"promptTokenCount\":100,\"cachedContentTokenCount\":30,"
		  "\"candidatesTokenCount\":9,"
		  "\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":20},"
		  "{\"modality\":\"AUDIO\",\"tokenCount\":80}],\"cacheTokensDetails\":["
		  "{\"modality\":\"AUDIO\",\"tokenCount\":30}],\"candidatesTokensDetails\":["
		  "{\"modality\":\"AUDIO\",\"tokenCount\":5}]}",
			70, 30, 9, -1, 50, 5 },
		{ "{\"prompt_token_count\":3}", 3, 0, -1, -1, -1, -1 },
	};
	char body[768];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wire_usage u = { 0 };

		(void)snprintf(body, sizeof body, "{\"usageMetadata\":%s}", cases[i].usage);
		gemini_usage(span_of(body), &u);
		assert_true(u.seen);
		assert_int_equal(u.input, cases[i].input);
		assert_int_equal(u.cache_read, cases[i].cache_read);
		assert_int_equal(u.output, cases[i].output);
		assert_int_equal(u.reasoning, cases[i].reasoning);
		assert_int_equal(u.audio_input, cases[i].audio_in);
		assert_int_equal(u.audio_output, cases[i].audio_out);
	}
}

static void
the_last_usage_goes_over_the_first(void **state)
{
	struct wire_usage u = { 0 };

	(void)state;
	gemini_usage(SPAN_LIT("{\"usageMetadata\":{\"promptTokenCount\":8}}"), &u);
	gemini_usage(SPAN_LIT("{\"usageMetadata\":null}"), &u);
	gemini_usage(
		SPAN_LIT("{\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":2}}"),
		&u);
	gemini_usage(SPAN_LIT("[{\"usageMetadata\":{\"promptTokenCount\":8,"
			      "\"candidatesTokenCount\":5,\"serviceTier\":\"flex\"}}]"),
		&u);
	assert_int_equal(u.input, 8);
	assert_int_equal(u.output, 5);
	assert_string_equal(u.tier, "flex");
}

/* What is written is read back the same, and written the same again. */
static void
an_answer_survives_the_way_round(void **state)
{
	static const char body[] =
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"t\",\"thought\":true},"
		"{\"text\":\"hello\",\"thoughtSignature\":\"QQ==\"},{\"functionCall\":{\"id\":"
		"\"c1\","
		"\"name\":\"f\",\"args\":{\"x\":1}},\"thoughtSignature\":\"QUJD\"},"
		"{\"inlineData\":{\"mimeType\":\"image/"
		"png\",\"data\":\"AA==\"}}],\"role\":\"model\"},"
		"\"finishReason\":\"STOP\",\"index\":0},{\"content\":{\"parts\":[{\"text\":\"\"}],"
		"\"role\":\"model\"},\"finishReason\":\"MAX_TOKENS\",\"index\":1}],"
		"\"usageMetadata\":{\"promptTokenCount\":80,\"cachedContentTokenCount\":30,"
		"\"candidatesTokenCount\":12,\"thoughtsTokenCount\":40,\"totalTokenCount\":132,"
		"\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":60},"
		"{\"modality\":\"AUDIO\",\"tokenCount\":20}]},"
		"\"modelVersion\":\"gw\",\"responseId\":\"r1\"}";
	struct answer a;

	(void)state;
	read_well(&a, body);
	assert_string_equal(written(&a), body);
	end(&a);
}

static struct neutral_part *
add(struct answer *a, enum part_kind kind)
{
	struct neutral_part *p = neutral_reply_add(&a->r, 0, kind, &a->err);

	assert_non_null(p);
	return p;
}

static void
calls_that_cannot_be_read_are_said_to_be_malformed(void **state)
{
	struct answer a;
	struct neutral_part *p;

	(void)state;
	(void)read_as(&a, "");
	p = add(&a, PART_TOOL_CALL);
	p->call_id = SPAN_LIT("a");
	p->name = SPAN_LIT("f");
	p->arguments = SPAN_LIT("\" \"");
	p = add(&a, PART_TOOL_CALL);
	p->call_id = SPAN_LIT("b");
	p->name = SPAN_LIT("f");
	p->input = SPAN_LIT("{}");
	p->arguments = SPAN_LIT("\"{\\\"x\\\":\"");
	a.r.choice[0].finish = FINISH_TOOL_CALLS;
	(void)written(&a);
	assert_non_null(
		strstr(a.out.at, "[{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}}}]"));
	assert_non_null(strstr(a.out.at, "\"finishReason\":\"MALFORMED_FUNCTION_CALL\""));
	assert_non_null(strstr(a.out.at, "\"responseId\":\"resp_"));
	end(&a);
}

/* ---- streams ---- */

/* Events as text, one a line, and a watch over their order. */
struct log {
	struct bytes text;
	struct neutral_order order;
	int stop_after;
};

static void
say(struct log *l, const char *word, struct span s)
{
	assert_int_equal(bytes_puts(&l->text, word), 0);
	assert_int_equal(bytes_add(&l->text, s.at == NULL ? "" : s.at, s.len), 0);
}

static int
note(void *ctx, const struct neutral_event *e)
{
	static const char *const kinds[] = { "start", "part", "delta", "end", "finish", "usage",
		"ping", "error", "END" };
	struct log *l = ctx;
	const char *wrong = neutral_order_check(&l->order, e);
	char number[64];

	if (wrong != NULL)
		fail_msg("%s behind\n%s", wrong, l->text.at);
	say(l, kinds[e->kind], SPAN_NONE);
	(void)snprintf(number, sizeof number, " %d", e->choice);
	switch (e->kind) {
	case EVENT_START:
		say(l, " ", e->id);
		say(l, " ", e->model);
		break;
	case EVENT_PART:
		say(l, number, SPAN_NONE);
		say(l, " ", span_of(part_name(e->part.kind)));
		say(l, " ", e->part.name);
		if (e->part.data.at != NULL)
			say(l, " ", e->part.data);
		assert_true(e->part.kind != PART_TOOL_CALL || e->part.call_id.len > 0);
		break;
	case EVENT_DELTA:
		say(l, number, SPAN_NONE);
		say(l, " ", e->text);
		if (e->signature.at != NULL) {
			assert_int_equal(e->part.signer, SIGNER_GEMINI);
			say(l, " signed ", e->signature);
		}
		break;
	case EVENT_FINISH:
		(void)snprintf(number, sizeof number, " %d %d", e->choice, (int)e->finish);
		say(l, number, SPAN_NONE);
		break;
	case EVENT_USAGE:
		(void)snprintf(number, sizeof number, " %lld %lld", (long long)e->usage.input,
			(long long)e->usage.output);
		say(l, number, SPAN_NONE);
		break;
	case EVENT_ERROR:
		say(l, " ", span_of(err_name(e->err->code)));
		say(l, ": ", span_of(err_public(e->err)));
		break;
	default:
		break;
	}
	say(l, "\n", SPAN_NONE);
	return --l->stop_after == 0 ? -1 : 0;
}

/* The events of these chunks, and of the end behind them. */
static struct log
events_of(const char *const *chunks, size_t count)
{
	struct log l = { .text = BYTES_LIMIT(MIB) };
	void *state = calloc(1, gemini_reader_bytes);

	assert_non_null(state);
	for (size_t i = 0; i < count; i++) {
		struct frame f = { .data = span_of(chunks[i]) };

		assert_int_equal(gemini_read_frame(state, &f, note, &l), 0);
	}
	assert_int_equal(gemini_read_end(state, note, &l), 0);
	assert_int_equal(gemini_read_end(state, note, &l), 0); /* nothing more */
	gemini_reader_free(state);
	free(state);
	return l;
}

static void
gives(const char *const *chunks, size_t count, const char *want)
{
	struct log l = events_of(chunks, count);

	assert_string_equal(l.text.at, want);
	bytes_free(&l.text);
}
#define GIVES(want, ...)                                                                           \
	do {                                                                                       \
		static const char *const chunks[] = { __VA_ARGS__ };                               \
		gives(chunks, sizeof chunks / sizeof chunks[0], want);                             \
	} while (0)

#define CHUNK(parts, more) "{\"candidates\":[{\"content\":{\"parts\":[" parts "]}" more "}]}"

static void
a_stream_is_read_in_order(void **state)
{
	(void)state;
	/* vector 37, and a signature at its end */
	GIVES("start r1 gemini-2.5-flash\npart 0 reasoning \ndelta 0 \"Plan.\"\nusage 8 -1\n"
	      "end\npart 0 text \ndelta 0 \"Sure, \"\nusage 8 17\n"
	      "end\npart 0 tool call f\ndelta 0 \"{\\\"n\\\":1}\"\ndelta 0  signed QUJD\nend\n"
	      "part 0 tool call f\ndelta 0 \"{}\"\nend\n"
	      "part 0 text \ndelta 0  signed QQ==\nend\nfinish 0 5\nEND\n",
		"{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"Plan.\","
		"\"thought\":true}]},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":8,"
		"\"totalTokenCount\":8},\"modelVersion\":\"gemini-2.5-flash\",\"responseId\":"
		"\"r1\"}",
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Sure, "
		"\"}]}}],\"usageMetadata\":"
		"{\"promptTokenCount\":8,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":15}}",
		CHUNK("{\"functionCall\":{\"name\":\"f\",\"args\":{ \"n\" : 1 }},"
		      "\"thoughtSignature\":\"QUJD\"},{\"functionCall\":{\"name\":\"f\"}}",
			""),
		CHUNK("{\"text\":\"\",\"thoughtSignature\":\"QQ==\"}",
			",\"finishReason\":\"STOP\",\"index\":0"));
}

static void
a_finish_in_every_chunk_is_one(void **state)
{
	(void)state;
	GIVES("start  \npart 0 text \ndelta 0 \"a\"\ndelta 0 \"b\"\nend\nfinish 0 1\nEND\n",
		CHUNK("{\"text\":\"a\"}", ",\"finishReason\":\"STOP\""),
		CHUNK("{\"text\":\"b\"}", ",\"finishReason\":\"STOP\""), "[DONE]");
}

static void
choices_alternate(void **state)
{
	(void)state;
	GIVES("start  \npart 0 text \ndelta 0 \"a\"\npart 1 text \ndelta 1 \"x\"\ndelta 0 \"b\"\n"
	      "end\nfinish 0 1\nend\nfinish 1 3\nEND\n",
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"index\":1,"
		"\"content\":"
		"{\"parts\":[{\"text\":\"x\"}]},\"finishReason\":\"MAX_TOKENS\"}]}",
		CHUNK("{\"text\":\"b\"}", ",\"finishReason\":\"STOP\""));
}

static void
streams_that_end_badly_are_errors(void **state)
{
	static const char cut[] =
		"error upstream_unreachable: The provider's stream ended before its answer was "
		"complete.\n";
	char want[256];

	(void)state;
	gives(NULL, 0, cut);
	(void)snprintf(want, sizeof want, "start  \npart 0 text \ndelta 0 \"a\"\n%s", cut);
	GIVES(want, CHUNK("{\"text\":\"a\"}", ""));
	GIVES(want, CHUNK("{\"text\":\"a\"}", ",\"finishReason\":\"\""));
	GIVES("start  \nerror upstream_unreachable: The model's answer could not be read by its "
	      "provider; try again.\n",
		CHUNK("", ",\"finishReason\":\"MALFORMED_FUNCTION_CALL\""));
	GIVES("start  \npart 0 text \ndelta 0 \"a\"\nend\nfinish 0 8\nEND\n",
		CHUNK("{\"text\":\"a\"}", ",\"finishReason\":\"MALFORMED_FUNCTION_CALL\""));
	GIVES("error upstream_unreachable: The provider's stream could not be read.\n", "{\"a\"",
		CHUNK("{\"text\":\"a\"}", ""));
	GIVES("start  \nerror upstream_unreachable: No provider could be reached; try again "
	      "soon.\n",
		CHUNK("", ",\"index\":128"));
}

static void
errors_in_the_stream_have_their_kind(void **state)
{
	(void)state;
	/* vector 39 */
	GIVES("start  \npart 0 text \ndelta 0 \"A\"\nerror overloaded: The provider failed: The "
	      "model "
	      "is overloaded.\n",
		CHUNK("{\"text\":\"A\"}", ""),
		"{\"error\":{\"code\":503,\"message\":\"The model is overloaded.\","
		"\"status\":\"UNAVAILABLE\"}}",
		CHUNK("{\"text\":\"late\"}", ""));
	GIVES("error rate_limited: The provider failed: Slow down.\n",
		"[{\"error\":{\"code\":429,\"message\":\"Slow down.\",\"status\":"
		"\"RESOURCE_EXHAUSTED\"}}]");
}

static void
a_blocked_prompt_is_filtered(void **state)
{
	(void)state;
	GIVES("start r \nusage 4 -1\nfinish 0 6\nEND\n",
		"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"responseId\":\"r\","
		"\"usageMetadata\":{\"promptTokenCount\":4}}");
}

static void
images_come_with_their_part(void **state)
{
	(void)state;
	GIVES("start  \npart 0 text \ndelta 0 \"see\"\nend\npart 0 image  AA\nend\nfinish 0 "
	      "1\nEND\n",
		CHUNK("{\"text\":\"see\"},{\"inlineData\":{\"mimeType\":\"image/"
		      "png\",\"data\":\"AA\"}},"
		      "{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"AA\"}}",
			",\"finishReason\":\"STOP\""));
}

static void
a_reader_stops_when_told(void **state)
{
	static const char chunk[] = CHUNK("{\"text\":\"a\"},{\"functionCall\":{\"name\":\"f\"}}",
		",\"finishReason\":\"STOP\"");

	(void)state;
	for (int i = 1; i < 9; i++) {
		struct log l = { .text = BYTES_LIMIT(MIB), .stop_after = i };
		struct frame f = { .data = SPAN_LIT(CHUNK("{\"text\":\"a\"},{\"functionCall\":{"
							  "\"name\":\"f\"}}",
					   ",\"finishReason\":\"STOP\"")) };
		void *reader = calloc(1, gemini_reader_bytes);
		int rc;

		assert_int_equal(f.data.len, sizeof chunk - 1);
		assert_non_null(reader);
		rc = gemini_read_frame(reader, &f, note, &l);
		if (rc == 0)
			rc = gemini_read_end(reader, note, &l);
		assert_int_equal(rc, -1);
		free(reader);
		bytes_free(&l.text);
	}
}

/* ---- streams written ---- */

/* A stream of ours out of Gemini's chunks. */
static struct bytes
passed_on(const char *const *chunks, size_t count, bool array)
{
	const struct format *gemini = format_of(FORMAT_GEMINI);
	struct reply_options o = { .model = "gw", .array = array };
	struct convert_stream s;
	struct bytes out;

	assert_int_equal(convert_stream_init(&s, gemini, gemini, &o), 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(convert_stream_feed(&s, "data: ", 6), 0);
		assert_int_equal(convert_stream_feed(&s, chunks[i], strlen(chunks[i])), 0);
		assert_int_equal(convert_stream_feed(&s, "\r\n\r\n", 4), 0);
	}
	assert_int_equal(convert_stream_end(&s), 0);
	out = s.out;
	s.out = BYTES_LIMIT(1);
	convert_stream_free(&s);
	return out;
}

#define WRAP(parts, more)                                                                          \
	"{\"candidates\":[{\"content\":{\"parts\":[" parts "],\"role\":\"model\"}" more            \
	"\"index\":0}],"
#define WHO "\"modelVersion\":\"gw\",\"responseId\":\"r\"}"

static const char *const three[] = {
	"{\"responseId\":\"r\",\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"t\","
	"\"thought\":"
	"true}]}}]}",
	CHUNK("{\"text\":\"a\"},{\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{\"n\":"
	      "\"\\\"\"}},"
	      "\"thoughtSignature\":\"QUJD\"}",
		""),
	"{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":5,"
	"\"candidatesTokenCount\":2,\"thoughtsTokenCount\":1}}",
};

static void
a_stream_is_written_as_sdks_read_it(void **state)
{
	struct bytes sse = passed_on(three, 3, false), array = passed_on(three, 3, true);
	static const char last[] = WRAP("{\"text\":\"\"}",
		",\"finishReason\":\"STOP\",") "\"usageMetadata\":{"
					       "\"promptTokenCount\":5,\"candidatesTokenCount\":2,"
					       "\"thoughtsTokenCount\":1,"
					       "\"totalTokenCount\":8}," WHO;
	char want[2048];

	(void)state;
	(void)snprintf(want, sizeof want, "data: %s\n\ndata: %s\n\ndata: %s\n\ndata: %s\n\n",
		WRAP("{\"text\":\"t\",\"thought\":true}", ",") WHO,
		WRAP("{\"text\":\"a\"}", ",") WHO,
		WRAP("{\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{\"n\":\"\\\"\"}},"
		     "\"thoughtSignature\":\"QUJD\"}",
			",") WHO,
		last);
	assert_string_equal(sse.at, want);
	(void)snprintf(want, sizeof want, "[%s,\n%s,\n%s,\n%s]",
		WRAP("{\"text\":\"t\",\"thought\":true}", ",") WHO,
		WRAP("{\"text\":\"a\"}", ",") WHO,
		WRAP("{\"functionCall\":{\"id\":\"c\",\"name\":\"f\",\"args\":{\"n\":\"\\\"\"}},"
		     "\"thoughtSignature\":\"QUJD\"}",
			",") WHO,
		last);
	assert_string_equal(array.at, want);
	assert_true(json_valid(bytes_span(&array)));
	bytes_free(&sse);
	bytes_free(&array);
}

static void
errors_are_written_in_either_framing(void **state)
{
	static const char *const chunks[] = { "{\"error\":{\"code\":503,\"message\":\"Busy.\","
					      "\"status\":\"UNAVAILABLE\"}}" };
	struct bytes sse = passed_on(chunks, 1, false), array = passed_on(chunks, 1, true);

	(void)state;
	assert_memory_equal(sse.at, "data: {\"error\":{\"code\":503,", 27);
	assert_memory_equal(array.at, "[{\"error\":{\"code\":503,", 22);
	assert_true(json_valid(bytes_span(&array)));
	bytes_free(&sse);
	bytes_free(&array);
}

/* Events given by hand, as another dialect's reader would give them. */
static struct bytes
written_of(const struct neutral_event *events, size_t count)
{
	struct reply_options o = { .model = "gw" };
	struct bytes out = BYTES_LIMIT(MIB);
	void *writer = calloc(1, gemini_writer_bytes);

	assert_non_null(writer);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(gemini_write_event(writer, &o, &events[i], &out), 0);
	gemini_writer_free(writer);
	free(writer);
	return out;
}

static void
arguments_are_gathered_until_they_are_whole(void **state)
{
	const struct neutral_part call = {
		.kind = PART_TOOL_CALL, .call_id = SPAN_LIT("c"), .name = SPAN_LIT("f")
	};
	const struct neutral_part theirs = { .kind = PART_REASONING, .signer = SIGNER_ANTHROPIC };
	const struct neutral_event events[] = {
		{ .kind = EVENT_START },
		{ .kind = EVENT_PING },
		{ .kind = EVENT_PART, .part = theirs },
		{ .kind = EVENT_DELTA, .part = theirs, .signature = SPAN_LIT("QUJD") },
		{ .kind = EVENT_PART_END, .part = theirs },
		{ .kind = EVENT_PART, .part = call },
		{ .kind = EVENT_DELTA,
			.part = call,
			.text = SPAN_LIT("\"{\\\"n\\\":\\\"\\\\u00\"") },
		{ .kind = EVENT_DELTA, .part = call, .text = SPAN_LIT("\"e9\\\"}\"") },
		{ .kind = EVENT_PART_END, .part = call },
		{ .kind = EVENT_PART, .part = call },
		{ .kind = EVENT_PART_END, .part = call },
		{ .kind = EVENT_PART, .part = call },
		{ .kind = EVENT_DELTA, .part = call, .text = SPAN_LIT("\"{\"") },
		{ .kind = EVENT_PART_END, .part = call },
		{ .kind = EVENT_FINISH, .finish = FINISH_TOOL_CALLS },
		{ .kind = EVENT_END },
	};
	struct bytes out = written_of(events, sizeof events / sizeof events[0]);

	(void)state;
	assert_non_null(strstr(out.at, "\"args\":{\"n\":\"\\u00e9\"}}}]"));
	assert_non_null(strstr(out.at, "\"args\":{}}}]"));
	assert_non_null(strstr(out.at, "\"finishReason\":\"MALFORMED_FUNCTION_CALL\""));
	assert_non_null(strstr(out.at, "\"responseId\":\"resp_"));
	assert_null(strstr(out.at, "QUJD"));
	assert_null(strstr(out.at, "usageMetadata"));
	bytes_free(&out);
}

static void
a_renamed_tool_comes_back_by_its_name(void **state)
{
	const struct format *gemini = format_of(FORMAT_GEMINI);
	struct name_pair pair = { SPAN_LIT("the/client's"), SPAN_LIT("f") };
	struct names renamed = { &pair, 1 };
	struct reply_options o = { .model = "gw", .renamed = &renamed };
	struct wire_usage usage;
	struct err err = { 0 };
	struct answer a;
	struct convert_stream s;

	(void)state;
	(void)read_as(&a, "");
	assert_int_equal(
		convert_reply(a.arena, gemini, gemini, span_of(three[1]), &o, &usage, &a.out, &err),
		0);
	assert_non_null(strstr(a.out.at, "\"name\":\"the/client's\""));
	end(&a);
	assert_int_equal(convert_stream_init(&s, gemini, gemini, &o), 0);
	assert_int_equal(convert_stream_feed(&s, three[1], strlen(three[1])), 0);
	assert_int_equal(convert_stream_end(&s), 0);
	assert_non_null(strstr(s.out.at, "\"name\":\"the/client's\""));
	convert_stream_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_read_part_by_part),
		cmocka_unit_test(reasons_to_stop_are_known),
		cmocka_unit_test(answers_of_nothing_have_their_reason),
		cmocka_unit_test(what_is_no_answer_is_an_error),
		cmocka_unit_test(an_array_is_one_answer_in_pieces),
		cmocka_unit_test(usage_is_made_disjoint),
		cmocka_unit_test(the_last_usage_goes_over_the_first),
		cmocka_unit_test(an_answer_survives_the_way_round),
		cmocka_unit_test(calls_that_cannot_be_read_are_said_to_be_malformed),
		cmocka_unit_test(a_stream_is_read_in_order),
		cmocka_unit_test(a_finish_in_every_chunk_is_one),
		cmocka_unit_test(choices_alternate),
		cmocka_unit_test(streams_that_end_badly_are_errors),
		cmocka_unit_test(errors_in_the_stream_have_their_kind),
		cmocka_unit_test(a_blocked_prompt_is_filtered),
		cmocka_unit_test(images_come_with_their_part),
		cmocka_unit_test(a_reader_stops_when_told),
		cmocka_unit_test(a_stream_is_written_as_sdks_read_it),
		cmocka_unit_test(errors_are_written_in_either_framing),
		cmocka_unit_test(arguments_are_gathered_until_they_are_whole),
		cmocka_unit_test(a_renamed_tool_comes_back_by_its_name),
	};

	return cmocka_run_group_tests_name("wire/gemini-answers", tests, NULL, NULL);
}
