/*
 * anthropic_stream_test.c - streams of Anthropic's messages: the order that is promised is kept whatever
 * a provider sends, what is written is what its SDK expects, and InvokeModel's wrapping comes on and off.
 */
#include "wire/anthropic.h"
#include "wire/bedrock_invoke.h"
#include "wire/convert.h"

#include "base/base64.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUT_BYTES (16 * 1024 * 1024)
#define MEGABYTE  (1024 * 1024)

/* ---- what a reader gives, as a line of text ---- */

struct tape {
	struct neutral_order order;
	struct bytes text;
	struct err err;
	struct wire_usage usage;
};

static int
record(void *ctx, const struct neutral_event *e)
{
	static const char *const kinds[] = { [PART_TEXT] = "text",
		[PART_REASONING] = "thinking",
		[PART_REDACTED] = "redacted",
		[PART_TOOL_CALL] = "call" };
	struct tape *t = ctx;
	const char *wrong = neutral_order_check(&t->order, e);

	if (wrong != NULL)
		fail_msg("%s behind: %s", wrong, t->text.at);
	switch (e->kind) {
	case EVENT_START:
		(void)bytes_printf(&t->text, "start %.*s %.*s", (int)e->id.len, e->id.at,
			(int)e->model.len, e->model.at);
		break;
	case EVENT_PART:
		(void)bytes_printf(&t->text, "|%s", kinds[e->part.kind]);
		if (e->part.kind == PART_TOOL_CALL)
			(void)bytes_printf(&t->text, " %.*s %.*s",
				span_starts(e->part.call_id, "toolu_") && e->part.call_id.len > 20
					? 5
					: (int)e->part.call_id.len,
				e->part.call_id.at, (int)e->part.name.len, e->part.name.at);
		if (e->part.kind == PART_REDACTED)
			(void)bytes_printf(&t->text, " %.*s", (int)e->part.signature.len,
				e->part.signature.at);
		break;
	case EVENT_DELTA:
		if (e->text.at != NULL)
			(void)bytes_printf(&t->text, " %.*s", (int)e->text.len, e->text.at);
		else
			(void)bytes_printf(
				&t->text, " sig %.*s", (int)e->signature.len, e->signature.at);
		break;
	case EVENT_PART_END:
		(void)bytes_puts(&t->text, " .");
		break;
	case EVENT_FINISH:
		(void)bytes_printf(&t->text, "|finish %d %.*s", e->finish,
			(int)e->stop_sequence.len, e->stop_sequence.at);
		break;
	case EVENT_USAGE:
		t->usage = e->usage;
		break;
	case EVENT_PING:
		(void)bytes_puts(&t->text, "|ping");
		break;
	case EVENT_ERROR:
		t->err = *e->err;
		(void)bytes_puts(&t->text, "|error");
		break;
	case EVENT_END:
		(void)bytes_puts(&t->text, "|end");
		break;
	}
	return 0;
}

/* Reads these events' JSON and ends the stream. */
static void
play(struct tape *t, const char *const *events)
{
	void *state = calloc(1, anthropic_reader_bytes);

	*t = (struct tape){ .text = BYTES_LIMIT(OUT_BYTES) };
	assert_non_null(state);
	for (; *events != NULL; events++) {
		struct frame f = { .data = span_of(*events) };

		assert_int_equal(anthropic_read_frame(state, &f, record, t), 0);
	}
	assert_int_equal(anthropic_read_end(state, record, t), 0);
	anthropic_reader_free(state);
	free(state);
}

#define PLAY(want, ...)                                                                            \
	do {                                                                                       \
		const char *const given[] = { __VA_ARGS__, NULL };                                 \
		struct tape heard;                                                                 \
		play(&heard, given);                                                               \
		assert_string_equal(heard.text.at, want);                                          \
		bytes_free(&heard.text);                                                           \
	} while (0)

#define START                                                                                      \
	"{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"usage\":"     \
	"{\"input_tokens\":5,\"output_tokens\":1}}}"
#define BLOCK(i, block)                                                                            \
	"{\"type\":\"content_block_start\",\"index\":" #i ",\"content_block\":" block "}"
#define B_TEXT  "{\"type\":\"text\",\"text\":\"\"}"
#define B_THINK "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"
#define B_CALL(id, name)                                                                           \
	"{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":{}}"
#define DELTA(i, delta) "{\"type\":\"content_block_delta\",\"index\":" #i ",\"delta\":" delta "}"
#define D_TEXT(s)       "{\"type\":\"text_delta\",\"text\":\"" s "\"}"
#define D_THINK(s)      "{\"type\":\"thinking_delta\",\"thinking\":\"" s "\"}"
#define D_SIGN(s)       "{\"type\":\"signature_delta\",\"signature\":\"" s "\"}"
#define D_JSON(s)       "{\"type\":\"input_json_delta\",\"partial_json\":\"" s "\"}"
#define STOP(i)         "{\"type\":\"content_block_stop\",\"index\":" #i "}"
#define FINISH(reason)                                                                             \
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason                         \
	"\",\"stop_sequence\":\"X\"},\"usage\":{\"output_tokens\":9}}"
#define END "{\"type\":\"message_stop\"}"

static void
a_stream_is_read_in_order(void **state)
{
	static const char *const events[] = { START, "{\"type\":\"ping\"}", BLOCK(0, B_THINK),
		DELTA(0, D_THINK("a")), DELTA(0, D_SIGN("S\\/")), STOP(0),
		BLOCK(1, "{\"type\":\"redacted_thinking\",\"data\":\"R\"}"), STOP(1),
		BLOCK(2, B_TEXT), DELTA(2, D_TEXT("")), DELTA(2, D_TEXT("x\\n")), STOP(2),
		BLOCK(3, B_CALL("t1", "f")), DELTA(3, D_JSON("")), DELTA(3, D_JSON("{\\\"a")),
		DELTA(3, D_JSON("\\\":1}")), STOP(3), BLOCK(4, B_CALL("t2", "g")), STOP(4),
		FINISH("tool_use"), END, NULL };
	struct tape t;

	(void)state;
	play(&t, events);
	assert_string_equal(t.text.at,
		"start msg_1 m|ping|thinking \"a\" sig S/ .|redacted R .|text \"x\\n\" .|call t1 f "
		"\"{\\\"a\" \"\\\":1}\" .|call t2 g \"{}\" .|finish 5 |end");
	assert_int_equal(t.usage.input, 5);
	assert_int_equal(t.usage.output, 9);
	bytes_free(&t.text);
}

static void
what_provider_tools_do_is_passed_over(void **state)
{
	(void)state;
	PLAY("start msg_1 m|text \"a\" .|text \"b\" .|finish 1 |end", START, BLOCK(0, B_TEXT),
		DELTA(0, D_TEXT("a")), STOP(0),
		BLOCK(1, "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\"}"),
		DELTA(1, D_JSON("{}")), STOP(1), BLOCK(2, "{\"type\":\"web_search_tool_result\"}"),
		STOP(2), BLOCK(3, B_TEXT), DELTA(3, D_TEXT("b")),
		DELTA(3, "{\"type\":\"citations_delta\",\"citation\":{}}"), STOP(3),
		FINISH("end_turn"), END);
}

static void
interleaved_calls_come_one_after_the_other(void **state)
{
	(void)state;
	PLAY("start msg_1 m|call a f \"1\" \"2\" .|call b g \"xy\" .|text \"t\" .|finish 5 |end",
		START, BLOCK(0, B_CALL("a", "f")), BLOCK(1, B_CALL("b", "g")),
		DELTA(1, D_JSON("x")), DELTA(0, D_JSON("1")), DELTA(1, D_JSON("y")), STOP(1),
		BLOCK(2, B_TEXT), DELTA(2, D_TEXT("t")), DELTA(0, D_JSON("2")), STOP(0), STOP(2),
		FINISH("tool_use"), END);
	/* texts that are not stopped, of which more comes later */
	PLAY("start msg_1 m|text \"a\" .|thinking \"b\" .|text \"c\" .|finish 1 |end", START,
		BLOCK(0, B_TEXT), DELTA(0, D_TEXT("a")), BLOCK(1, B_THINK), DELTA(1, D_THINK("b")),
		DELTA(0, D_TEXT("c")), FINISH("end_turn"), END);
}

static void
what_is_missing_is_made_up(void **state)
{
	(void)state;
	/* no start, no index, no id, no stop, a whole input at once */
	PLAY("start  |text \"a\" .|call toolu f \"{\\\"x\\\": 1}\" .|finish 5 |end",
		"{\"type\":\"content_block_start\",\"content_block\":" B_TEXT "}",
		"{\"type\":\"content_block_delta\",\"delta\":" D_TEXT("a") "}",
		"{\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\","
		"\"name\":"
		"\"f\",\"input\":{\"x\": 1}}}",
		"{\"type\":\"content_block_delta\",\"delta\":" D_JSON("{}") "}", FINISH("end_turn"),
		END);
	/* a delta without its block */
	PLAY("start  |text \"a\" .|finish 2 \"X\"|end", DELTA(0, D_TEXT("a")),
		FINISH("stop_sequence"), END);
	/* the same block twice, and its start with text */
	PLAY("start msg_1 m|text \"a\" .|text \"b\" .|finish 1 |end", START, START,
		BLOCK(0, "{\"type\":\"text\",\"text\":\"a\"}"),
		BLOCK(0, "{\"type\":\"text\",\"text\":\"b\"}"), END, END, START);
}

static void
an_end_before_its_time_is_an_error(void **state)
{
	static const char *const events[] = { START, BLOCK(0, B_TEXT), DELTA(0, D_TEXT("a")),
		NULL };
	struct tape t;

	(void)state;
	play(&t, events);
	assert_string_equal(t.text.at, "start msg_1 m|text \"a\"|error");
	assert_int_equal(t.err.code, ERR_UPSTREAM_UNREACHABLE);
	assert_string_equal(
		t.err.says, "The provider's stream ended before its answer was complete.");
	bytes_free(&t.text);
	PLAY("|error", "");
}

static void
errors_in_a_stream_keep_their_kind(void **state)
{
	static const struct {
		const char *type;
		enum err_code code;
	} cases[] = { { "overloaded_error", ERR_OVERLOADED },
		{ "rate_limit_error", ERR_RATE_LIMITED },
		{ "invalid_request_error", ERR_BAD_REQUEST },
		{ "authentication_error", ERR_UPSTREAM_CREDENTIALS },
		{ "api_error", ERR_UPSTREAM_UNREACHABLE } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char error[256];
		const char *const events[] = { START, error, END, NULL };
		struct tape t;

		(void)snprintf(error, sizeof error,
			"{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"it is so\"}}",
			cases[i].type);
		play(&t, events);
		assert_string_equal(t.text.at, "start msg_1 m|error");
		assert_int_equal(t.err.code, cases[i].code);
		bytes_free(&t.text);
	}
}

static void
broken_streams_end_in_an_error(void **state)
{
	(void)state;
	PLAY("start msg_1 m|error", START, "{\"type\":", END);
	PLAY("start msg_1 m|error", START, BLOCK(0, "{\"type\":\"tool_use\",\"id\":\"a\"}"));
	PLAY("start msg_1 m|call a f \"{}\" .|error", START, BLOCK(0, B_CALL("a", "f")), STOP(0),
		DELTA(0, D_JSON("late")));
}

static void
what_waits_has_a_ceiling(void **state)
{
	char *delta = malloc(MEGABYTE + 200);
	void *reader = calloc(1, anthropic_reader_bytes);
	struct tape t = { .text = BYTES_LIMIT(OUT_BYTES) };
	const char *const starts[] = { START, BLOCK(0, B_CALL("a", "f")), BLOCK(1, B_TEXT) };

	(void)state;
	assert_non_null(delta);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(anthropic_read_frame(reader,
					 &(struct frame){ .data = span_of(starts[i]) }, record, &t),
			0);
	(void)snprintf(delta, MEGABYTE + 200, DELTA(1, D_TEXT("%*s")), MEGABYTE, "");
	for (size_t i = 0; i < 20; i++) {
		/* eight fit */
		assert_int_equal(t.err.code, i <= 8 ? ERR_NONE : ERR_UPSTREAM_UNREACHABLE);
		assert_int_equal(anthropic_read_frame(reader,
					 &(struct frame){ .data = span_of(delta) }, record, &t),
			0);
	}
	assert_string_equal(t.text.at, "start msg_1 m|call a f|error");
	anthropic_reader_free(reader);
	free(reader);
	free(delta);
	bytes_free(&t.text);
}

/* ---- writing ---- */

static void
write_all(const struct format *f, const struct neutral_event *e, size_t count, struct bytes *out)
{
	struct reply_options o = { .model = "gw" };
	void *writer = calloc(1, *f->writer_bytes);

	assert_non_null(writer);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(f->write_event(writer, &o, &e[i], out), 0);
	f->writer_free(writer);
	free(writer);
}

static const struct neutral_event answer[] = {
	{ .kind = EVENT_START, .id = { "msg_1", 5 } },
	{ .kind = EVENT_PART, .part = { .kind = PART_TEXT } },
	{ .kind = EVENT_DELTA, .part = { .kind = PART_TEXT }, .text = { "\"\"", 2 } },
	{ .kind = EVENT_PART_END, .part = { .kind = PART_TEXT } },
	{ .kind = EVENT_PART, .part = { .kind = PART_REASONING, .signer = SIGNER_ANTHROPIC } },
	{ .kind = EVENT_DELTA,
		.part = { .kind = PART_REASONING, .signer = SIGNER_ANTHROPIC },
		.text = { "\"t\"", 3 } },
	{ .kind = EVENT_DELTA,
		.part = { .kind = PART_REASONING, .signer = SIGNER_ANTHROPIC },
		.signature = { "S\"", 2 } },
	{ .kind = EVENT_PART_END, .part = { .kind = PART_REASONING } },
	{ .kind = EVENT_PART, .part = { .kind = PART_IMAGE } },
	{ .kind = EVENT_PART_END, .part = { .kind = PART_IMAGE } },
	{ .kind = EVENT_PART,
		.part = { .kind = PART_TOOL_CALL, .call_id = { "c", 1 }, .name = { "f", 1 } } },
	{ .kind = EVENT_DELTA, .part = { .kind = PART_TOOL_CALL }, .text = { "\"{}\"", 4 } },
	{ .kind = EVENT_PART_END, .part = { .kind = PART_TOOL_CALL } },
	{ .kind = EVENT_FINISH, .finish = FINISH_STOP },
	{ .kind = EVENT_USAGE,
		.usage = { .seen = true,
			.input = 20,
			.cache_read = 10,
			.cache_write = -1,
			.cache_write_1h = -1,
			.reasoning = -1,
			.output = 2 } },
	{ .kind = EVENT_END },
};
#define ANSWER_EVENTS (sizeof answer / sizeof answer[0])

static void
a_stream_is_written_as_its_sdk_expects(void **state)
{
	struct bytes out = BYTES_LIMIT(OUT_BYTES);

	(void)state;
	write_all(format_of(FORMAT_ANTHROPIC), answer, ANSWER_EVENTS, &out);
	assert_string_equal(out.at,
		"event: message_start\ndata: "
		"{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\","
		"\"type\":\"message\",\"role\":\"assistant\",\"model\":\"gw\",\"content\":[],"
		"\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":0,"
		"\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":"
		"0}}}"
		"\n\nevent: content_block_start\ndata: "
		"{\"type\":\"content_block_start\",\"index\":0,"
		"\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}"
		"\n\n"
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
		"\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"t\"}}\n\n"
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
		"\"delta\":{\"type\":\"signature_delta\",\"signature\":\"S\\\"\"}}\n\n"
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,"
		"\"content_block\":{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}"
		"}\n\n"
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,"
		"\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n"
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
		"event: message_delta\ndata: "
		"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
		"\"tool_use\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":20,"
		"\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":10,\"output_"
		"tokens\":2}}"
		"\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
	bytes_free(&out);
}

static void
figures_known_at_the_start_stand_there(void **state)
{
	static const struct neutral_event events[] = {
		{ .kind = EVENT_START },
		{ .kind = EVENT_USAGE, .usage = { .seen = true, .input = 7, .output = 1 } },
		{ .kind = EVENT_USAGE, .usage = { .seen = true, .input = -1, .output = 2 } },
		{ .kind = EVENT_PING },
	};
	struct bytes out = BYTES_LIMIT(OUT_BYTES);

	(void)state;
	write_all(format_of(FORMAT_ANTHROPIC), events, 4, &out);
	assert_non_null(strstr(out.at, "\"usage\":{\"input_tokens\":7,"));
	assert_non_null(strstr(out.at, "\"output_tokens\":2"));
	assert_non_null(strstr(out.at, "\"id\":\"msg_"));
	assert_non_null(strstr(out.at, "event: ping\ndata: {\"type\":\"ping\"}\n\n"));
	bytes_free(&out);
}

static void
an_error_is_the_last_that_is_written(void **state)
{
	struct err err = { .code = ERR_NONE };
	struct neutral_event events[] = { { .kind = EVENT_START },
		{ .kind = EVENT_ERROR, .err = &err }, { .kind = EVENT_END } };
	static const enum format_id ids[] = { FORMAT_ANTHROPIC, FORMAT_SAP_INVOKE,
		FORMAT_BEDROCK_INVOKE };
	static const char *const want[] = { "event: error\ndata: {\"type\":\"error\"",
		"data: {\"type\":\"error\"", "throttlingException" };

	(void)state;
	(void)err_set(&err, ERR_RATE_LIMITED, "slow");
	for (size_t i = 0; i < 3; i++) {
		struct bytes out = BYTES_LIMIT(OUT_BYTES);

		write_all(format_of(ids[i]), events, 3, &out);
		assert_non_null(memmem(out.at, out.len, want[i], strlen(want[i])));
		assert_null(memmem(out.at, out.len, "message_st", 10));
		bytes_free(&out);
	}
}

/* ---- of one kin ---- */

static int
convert_all(enum format_id from, enum format_id to, struct span in, size_t step, struct bytes *out,
	struct convert_stream *s)
{
	struct reply_options o = { .model = "gw" };
	int rc = convert_stream_init(s, format_of(from), format_of(to), &o);

	for (size_t at = 0; rc == 0 && at < in.len; at += step)
		rc = convert_stream_feed(s, in.at + at, in.len - at < step ? in.len - at : step);
	if (rc == 0)
		rc = convert_stream_end(s);
	(void)bytes_add(out, s->out.at, s->out.len);
	return rc;
}

static const char cited[] =
	"event: message_start\ndata: "
	"{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":"
	"\"gw\",\"usage\":{\"input_tokens\":3}}}\n\n"
	"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
	"\"content_block\":{\"type\":\"text\",\"text\":\"\",\"citations\":[]}}\n\n"
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
	"{\"type\":\"citations_delta\",\"citation\":{\"n\": 1.50}}}\n\n"
	"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
	"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
	"\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n"
	"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

static void
between_kin_events_stay_as_they_are(void **state)
{
	static const enum format_id others[] = { FORMAT_BEDROCK_INVOKE, FORMAT_SAP_INVOKE };
	static const size_t steps[] = { 1, 7, 100000 };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t k = 0; k < 3; k++) {
			struct bytes wrapped = BYTES_LIMIT(OUT_BYTES),
				     back = BYTES_LIMIT(OUT_BYTES);
			struct convert_stream s;

			assert_int_equal(convert_all(FORMAT_ANTHROPIC, others[i], span_of(cited),
						 steps[k], &wrapped, &s),
				0);
			assert_true(s.done && !s.failed);
			convert_stream_free(&s);
			assert_null(memmem(wrapped.at, wrapped.len, "event: ", 7));
			assert_int_equal(convert_all(others[i], FORMAT_ANTHROPIC,
						 bytes_span(&wrapped), steps[k], &back, &s),
				0);
			assert_true(s.done && !s.failed);
			assert_int_equal(s.usage.input, 3);
			assert_int_equal(s.usage.output, 4);
			convert_stream_free(&s);
			assert_string_equal(back.at, cited);
			bytes_free(&wrapped);
			bytes_free(&back);
		}
}

static void
amazons_figures_are_taken_off_and_counted(void **state)
{
	static const char in[] =
		"data: "
		"{\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"id\":\"x\"}}\n\n"
		"data: {\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":"
		"{\"inputTokenCount\":12,\"outputTokenCount\":4}}\n\n";
	struct bytes out = BYTES_LIMIT(OUT_BYTES);
	struct convert_stream s;

	(void)state;
	assert_int_equal(
		convert_all(FORMAT_SAP_INVOKE, FORMAT_ANTHROPIC, span_of(in), 5, &out, &s), 0);
	assert_string_equal(out.at,
		"event: message_start\ndata: "
		"{\"type\":\"message_start\",\"message\":{\"model\":\"gw\","
		"\"id\":\"x\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
	assert_int_equal(s.usage.input, 12);
	assert_int_equal(s.usage.output, 4);
	convert_stream_free(&s);
	bytes_free(&out);
}

static void
line_ends_between_tokens_do_not_end_the_event(void **state)
{
	struct frame f = { .data = SPAN_LIT("{\"type\":\"x\",\r\n\"a\":\n1}") };
	struct reply_options o = { .model = "gw" };
	struct bytes out = BYTES_LIMIT(4096);

	(void)state;
	assert_int_equal(anthropic_splice_frame(&f, &o, &out), 0);
	assert_string_equal(out.at, "event: x\ndata: {\"type\":\"x\",  \"a\": 1}\n\n");
	bytes_free(&out);
}

static void
exceptions_become_errors(void **state)
{
	struct bytes in = BYTES_LIMIT(OUT_BYTES), out = BYTES_LIMIT(OUT_BYTES);
	struct convert_stream s;

	(void)state;
	assert_int_equal(eventstream_write(&in, "exception", "throttlingException",
				 SPAN_LIT("{\"message\":\"Too many\"}")),
		0);
	assert_int_equal(
		convert_all(FORMAT_BEDROCK_INVOKE, FORMAT_ANTHROPIC, bytes_span(&in), 9, &out, &s),
		0);
	assert_true(s.failed);
	assert_int_equal(s.err.code, ERR_RATE_LIMITED);
	assert_non_null(strstr(out.at, "event: error\ndata: {\"type\":\"error\""));
	assert_non_null(strstr(out.at, "rate_limit_error"));
	convert_stream_free(&s);
	bytes_free(&in);
	bytes_free(&out);
}

static struct span
beta(const void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "anthropic-beta") == 0 ? SPAN_LIT("oauth-2025-04-20, effort-1")
						   : SPAN_NONE;
}

static void
requests_between_kin_keep_their_messages(void **state)
{
	static const char body[] =
		"{ \"model\":\"gw\", \"max_tokens\": 10,\"stream\":true,\"mes\\u0073ages\":"
		"[{\"role\":\"user\",  \"content\":[{\"type\":\"new\",\"n\":1e2}]}],"
		"\"service_tier\":\"auto\",\"anthropic_beta\":[]}";
	struct convert_request q = { .from = format_of(FORMAT_ANTHROPIC),
		.to = format_of(FORMAT_BEDROCK_INVOKE),
		.source = { .body = span_of(body), .header = beta },
		.target = { .model = "m" } };
	struct arena *a = arena_new(1024 * 1024);
	struct bytes out = BYTES_LIMIT(65536), back = BYTES_LIMIT(65536);
	struct request_made made = { .body = &out };
	struct losses lost = { 0 };
	struct err err = { .code = ERR_NONE };

	(void)state;
	assert_int_equal(convert_request(a, &q, &made, &lost, &err), 0);
	assert_string_equal(out.at,
		"{\"anthropic_version\":\"bedrock-2023-05-31\",\"anthropic_beta\":[\"effort-1\"],"
		"\"max_tokens\": 10,\"mes\\u0073ages\":[{\"role\":\"user\",  "
		"\"content\":[{\"type\":"
		"\"new\",\"n\":1e2}]}]}");
	assert_int_equal(made.header_count, 0);
	assert_int_equal(lost.count, 2);
	assert_string_equal(lost.name[0], "oauth-2025-04-20");
	assert_string_equal(lost.name[1], "service_tier");
	/* and the other way, where the path tells the rest */
	q.from = q.to;
	q.to = format_of(FORMAT_ANTHROPIC);
	q.source = (struct request_source){
		.body = bytes_span(&out), .path_model = SPAN_LIT("x"), .path_stream = true
	};
	made.body = &back;
	assert_int_equal(convert_request(a, &q, &made, &lost, &err), 0);
	assert_string_equal(back.at,
		"{\"model\":\"m\",\"stream\":true,\"max_tokens\": 10,"
		"\"mes\\u0073ages\":[{\"role\":\"user\",  \"content\":[{\"type\":"
		"\"new\",\"n\":1e2}]}]}");
	assert_int_equal(made.header_count, 2);
	assert_string_equal(made.header[1].value, "effort-1");
	bytes_free(&out);
	bytes_free(&back);
	arena_free(a);
}

static void
an_answer_between_kin_keeps_its_blocks(void **state)
{
	static const char body[] = "{\"model\":\"claude\",\"content\":[{\"type\":\"text\",\"text\":"
				   "\"a\",\"citations\":["
				   "1]}],\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}";
	struct reply_options o = { .model = "gw" };
	struct arena *a = arena_new(1024 * 1024);
	struct bytes out = BYTES_LIMIT(65536);
	struct wire_usage usage;
	struct err err = { .code = ERR_NONE };

	(void)state;
	assert_int_equal(
		convert_reply(a, format_of(FORMAT_BEDROCK_INVOKE), format_of(FORMAT_ANTHROPIC),
			span_of(body), &o, &usage, &out, &err),
		0);
	assert_string_equal(out.at, "{\"model\":\"gw\",\"content\":[{\"type\":\"text\",\"text\":"
				    "\"a\",\"citations\":[1]}],"
				    "\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}");
	assert_int_equal(usage.output, 4);
	bytes_free(&out);
	arena_free(a);
}

static void
the_usage_in_a_wrapped_event_is_found(void **state)
{
	struct wire_usage u = WIRE_USAGE_NONE;
	struct bytes b = BYTES_LIMIT(4096);

	(void)state;
	(void)bytes_puts(&b, "{\"bytes\":\"");
	(void)base64_encode(
		&b, SPAN_LIT("{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":8}}"));
	(void)bytes_puts(&b, "\",\"p\":\"abc\"}");
	bedrock_invoke_usage(bytes_span(&b), &u);
	assert_int_equal(u.output, 8);
	bytes_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_is_read_in_order),
		cmocka_unit_test(what_provider_tools_do_is_passed_over),
		cmocka_unit_test(interleaved_calls_come_one_after_the_other),
		cmocka_unit_test(what_is_missing_is_made_up),
		cmocka_unit_test(an_end_before_its_time_is_an_error),
		cmocka_unit_test(errors_in_a_stream_keep_their_kind),
		cmocka_unit_test(broken_streams_end_in_an_error),
		cmocka_unit_test(what_waits_has_a_ceiling),
		cmocka_unit_test(a_stream_is_written_as_its_sdk_expects),
		cmocka_unit_test(figures_known_at_the_start_stand_there),
		cmocka_unit_test(an_error_is_the_last_that_is_written),
		cmocka_unit_test(between_kin_events_stay_as_they_are),
		cmocka_unit_test(amazons_figures_are_taken_off_and_counted),
		cmocka_unit_test(line_ends_between_tokens_do_not_end_the_event),
		cmocka_unit_test(exceptions_become_errors),
		cmocka_unit_test(requests_between_kin_keep_their_messages),
		cmocka_unit_test(an_answer_between_kin_keeps_its_blocks),
		cmocka_unit_test(the_usage_in_a_wrapped_event_is_found),
	};

	return cmocka_run_group_tests_name("wire/anthropic_stream", tests, NULL, NULL);
}
