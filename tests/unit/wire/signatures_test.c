/*
 * signatures_test.c - what a model signed comes back to it, and to nobody else.
 */
#include "wire/signatures.h"

#include "wire/convert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB       ((size_t)1 << 20)
#define KEPT_MOST 300

/* What a gateway keeps. */
struct vault {
	struct {
		char key[SIGNATURES_KEY_BYTES];
		char *record;
	} kept[KEPT_MOST];
	size_t count, looks, stop_at;
};

static int
keep(void *ctx, const char *key, struct span record)
{
	struct vault *v = ctx;

	assert_true(json_valid(record));
	assert_true(record.len <= SIGNATURES_RECORD_MAX);
	assert_true(v->count < KEPT_MOST);
	(void)snprintf(v->kept[v->count].key, SIGNATURES_KEY_BYTES, "%s", key);
	v->kept[v->count].record = strndup(record.at, record.len);
	v->count++;
	return v->stop_at > 0 && v->count == v->stop_at ? -1 : 0;
}

static struct span
look(void *ctx, struct arena *a, const char *key)
{
	struct vault *v = ctx;

	(void)a;
	v->looks++;
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->kept[i].key, key) == 0)
			return span_of(v->kept[i].record);
	return SPAN_NONE;
}

static void
empty(struct vault *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->kept[i].record);
	*v = (struct vault){ 0 };
}

/* ---- an answer ---- */

static struct neutral_part
reasoning(const char *text, const char *signature, enum signer by)
{
	return (struct neutral_part){ .kind = PART_REASONING,
		.text = span_of(text),
		.signature = span_of(signature),
		.signer = by };
}

static struct neutral_part
text(const char *json)
{
	return (struct neutral_part){ .kind = PART_TEXT, .text = span_of(json) };
}

static struct neutral_part
call(const char *id)
{
	return (struct neutral_part){ .kind = PART_TOOL_CALL,
		.call_id = span_of(id),
		.name = SPAN_LIT("f"),
		.input = SPAN_LIT("{}") };
}

static struct neutral_part
redacted(const char *data)
{
	return (struct neutral_part){
		.kind = PART_REDACTED, .signature = span_of(data), .signer = SIGNER_ANTHROPIC
	};
}

static struct neutral_part
signed_by_gemini(struct neutral_part p, const char *signature)
{
	p.signature = span_of(signature);
	p.signer = SIGNER_GEMINI;
	return p;
}

static int
answer(struct vault *v, enum signer kept, const struct neutral_part *parts, size_t count)
{
	struct neutral_choice choice = { .part = (struct neutral_part *)(uintptr_t)parts,
		.count = count };
	struct arena *a = arena_new(64 * MIB);
	struct neutral_reply r = { .arena = a, .choice = &choice, .choice_count = 1 };
	int rc = signatures_of_reply(&r, kept, keep, v);

	arena_free(a);
	return rc;
}
#define ANSWER(v, kept, ...)                                                                       \
	do {                                                                                       \
		const struct neutral_part parts[] = { __VA_ARGS__ };                               \
		assert_int_equal(answer(v, kept, parts, sizeof parts / sizeof parts[0]), 0);       \
	} while (0)

/* ---- a history ---- */

static void
add(struct neutral_request *n, enum neutral_role role, struct neutral_part part)
{
	struct err err = { 0 };
	struct neutral_part *p = neutral_add(n, role, part.kind, &err);

	assert_non_null(p);
	*p = part;
}

/* "reasoning S, text, tool call a S": the parts of a message. */
static void
has(const struct neutral_message *m, const char *want)
{
	struct bytes b = BYTES_LIMIT(MIB);

	for (size_t i = 0; i < m->count; i++) {
		const struct neutral_part *p = &m->part[i];

		(void)bytes_printf(&b, "%s%s%s%.*s%s%.*s", i > 0 ? ", " : "", part_name(p->kind),
			p->call_id.len > 0 ? " " : "", (int)p->call_id.len,
			p->call_id.at == NULL ? "" : p->call_id.at, p->signature.len > 0 ? " " : "",
			(int)p->signature.len, p->signature.at == NULL ? "" : p->signature.at);
	}
	assert_string_equal(b.at, want);
	bytes_free(&b);
}

static void
begin(struct neutral_request *n)
{
	neutral_request_init(n, arena_new(64 * MIB));
}

static void
restore(struct neutral_request *n, enum signer target, struct vault *v)
{
	struct err err = { 0 };

	assert_int_equal(signatures_restore(n, target, look, v, &err), 0);
}

/* ---- tests ---- */

static void
thoughts_come_back_before_their_calls(void **state)
{
	struct vault v = { 0 };
	struct neutral_request n;

	(void)state;
	ANSWER(&v, SIGNER_NONE, reasoning("\"Hm \\u00e9\"", "S1", SIGNER_ANTHROPIC), redacted("R"),
		text("\"I look.\""), call("a"), call("b"),
		reasoning("\"More\"", "S2", SIGNER_ANTHROPIC), call("c"));
	assert_int_equal(v.count, 2);
	assert_string_equal(v.kept[0].key, "c:a");
	assert_string_equal(v.kept[0].record, "{\"by\":\"anthropic\",\"at\":[{\"t\":\"Hm \\u00e9\","
					      "\"s\":\"S1\"},{\"r\":\"R\"}]}");
	assert_string_equal(v.kept[1].key, "c:c");

	begin(&n);
	add(&n, ROLE_USER, text("\"q\""));
	add(&n, ROLE_ASSISTANT, text("\"I look.\""));
	add(&n, ROLE_ASSISTANT, call("a"));
	add(&n, ROLE_ASSISTANT, call("b"));
	add(&n, ROLE_ASSISTANT, call("c"));
	restore(&n, SIGNER_ANTHROPIC, &v);
	has(&n.message[1], "reasoning S1, redacted reasoning R, text, tool call a, tool call b, "
			   "reasoning S2, tool call c");
	assert_int_equal(n.message[1].part[0].signer, SIGNER_ANTHROPIC);
	assert_memory_equal(n.message[1].part[0].text.at, "\"Hm \\u00e9\"", 11);
	/* and the array still takes more */
	for (int i = 0; i < 600; i++)
		add(&n, ROLE_ASSISTANT, text("\"x\""));
	assert_int_equal(n.message[1].count, 607);
	arena_free(n.arena);
	empty(&v);
}

static void
thoughts_behind_text_stay_behind_it(void **state)
{
	struct vault v = { 0 };
	struct neutral_request n;

	(void)state;
	ANSWER(&v, SIGNER_NONE, reasoning("\"1\"", "S1", SIGNER_ANTHROPIC), text("\"t\""),
		reasoning("\"2\"", "S2", SIGNER_ANTHROPIC), call("a"));
	begin(&n);
	add(&n, ROLE_ASSISTANT, text("\"t\""));
	add(&n, ROLE_ASSISTANT, call("a"));
	restore(&n, SIGNER_ANTHROPIC, &v);
	has(&n.message[0], "reasoning S1, text, reasoning S2, tool call a");
	arena_free(n.arena);
	empty(&v);
}

static void
signatures_of_calls_and_text_come_back(void **state)
{
	struct vault v = { 0 };
	struct neutral_request n;

	(void)state;
	ANSWER(&v, SIGNER_NONE, signed_by_gemini(text("\"t\""), "T1"),
		signed_by_gemini(call("a"), "C1"), call("b"));
	assert_int_equal(v.count, 1);
	assert_string_equal(v.kept[0].record, "{\"by\":\"gemini\",\"s\":\"C1\",\"x\":\"T1\"}");
	begin(&n);
	add(&n, ROLE_ASSISTANT, text("\"t\""));
	add(&n, ROLE_ASSISTANT, call("a"));
	add(&n, ROLE_ASSISTANT, call("b"));
	restore(&n, SIGNER_GEMINI, &v);
	has(&n.message[0], "text T1, tool call a C1, tool call b");
	assert_int_equal(n.message[0].part[1].signer, SIGNER_GEMINI);
	arena_free(n.arena);
	empty(&v);
}

static void
turns_without_calls_are_known_by_their_text(void **state)
{
	struct vault v = { 0 };
	struct neutral_request n;

	(void)state;
	ANSWER(&v, SIGNER_NONE, reasoning("\"Hm\"", "S1", SIGNER_ANTHROPIC),
		text("\"One \\u00e9\\n\""), text("\"two\""));
	assert_int_equal(v.count, 1);
	assert_memory_equal(v.kept[0].key, "t:", 2);
	begin(&n);
	add(&n, ROLE_ASSISTANT, text("\" One\\t\xc3\xa9 two \""));
	add(&n, ROLE_USER, text("\"q\""));
	add(&n, ROLE_ASSISTANT, text("\"One e two\""));
	restore(&n, SIGNER_ANTHROPIC, &v);
	has(&n.message[0], "reasoning S1, text");
	has(&n.message[2], "text");
	arena_free(n.arena);
	empty(&v);
}

static void
a_stream_gives_the_same_records(void **state)
{
	static const struct neutral_part thought = { .kind = PART_REASONING,
		.signer = SIGNER_ANTHROPIC };
	static const struct neutral_part said = { .kind = PART_TEXT };
	const struct neutral_event events[] = {
		{ .kind = EVENT_START },
		{ .kind = EVENT_PART, .part = thought },
		{ .kind = EVENT_DELTA, .part = thought, .text = SPAN_LIT("\"H\\\"\"") },
		{ .kind = EVENT_DELTA, .part = thought, .text = SPAN_LIT("\"m\"") },
		{ .kind = EVENT_DELTA, .part = thought, .signature = SPAN_LIT("S\"1") },
		{ .kind = EVENT_PART_END, .part = thought },
		{ .kind = EVENT_PART, .part = said },
		{ .kind = EVENT_DELTA, .part = said, .text = SPAN_LIT("\"O\"") },
		{ .kind = EVENT_DELTA, .part = said, .text = SPAN_LIT("\"K \"") },
		{ .kind = EVENT_PART_END, .part = said },
		{ .kind = EVENT_FINISH, .finish = FINISH_STOP },
		{ .kind = EVENT_END },
	};
	struct vault streamed = { 0 }, whole = { 0 };
	struct signatures *s = signatures_new(SIGNER_NONE);

	(void)state;
	assert_non_null(s);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		assert_int_equal(signatures_note(s, &events[i]), 0);
	assert_int_equal(signatures_give(s, keep, &streamed), 0);
	signatures_free(s);
	ANSWER(&whole, SIGNER_NONE, reasoning("\"H\\\"m\"", "S\"1", SIGNER_ANTHROPIC),
		text("\"OK\""));
	assert_int_equal(streamed.count, 1);
	assert_int_equal(whole.count, 1);
	assert_string_equal(streamed.kept[0].key, whole.kept[0].key);
	assert_string_equal(streamed.kept[0].record, whole.kept[0].record);
	empty(&streamed);
	empty(&whole);
}

static void
what_the_client_carries_itself_is_not_kept(void **state)
{
	struct vault v = { 0 };

	(void)state;
	ANSWER(&v, SIGNER_ANTHROPIC, reasoning("\"Hm\"", "S1", SIGNER_ANTHROPIC), redacted("R"),
		call("a"));
	ANSWER(&v, SIGNER_GEMINI, signed_by_gemini(call("a"), "C1"));
	ANSWER(&v, SIGNER_NONE, reasoning("\"unsigned\"", NULL, SIGNER_NONE), text("\"t\""),
		call("a"));
	ANSWER(&v, SIGNER_NONE, reasoning("\"unsigned\"", "", SIGNER_GEMINI), text("\"t\""));
	assert_int_equal(v.count, 0);
	assert_int_equal(signatures_of_format(format_of(FORMAT_ANTHROPIC)), SIGNER_ANTHROPIC);
	assert_int_equal(signatures_of_format(format_of(FORMAT_SAP_CONVERSE)), SIGNER_ANTHROPIC);
	assert_int_equal(signatures_of_format(format_of(FORMAT_GEMINI)), SIGNER_GEMINI);
	assert_int_equal(signatures_of_format(format_of(FORMAT_OPENAI_RESPONSES)), SIGNER_OPENAI);
	assert_int_equal(signatures_of_format(format_of(FORMAT_OPENAI_CHAT)), SIGNER_NONE);
}

static void
only_its_maker_gets_a_signature_back(void **state)
{
	static const enum signer others[] = { SIGNER_NONE, SIGNER_GEMINI, SIGNER_OPENAI };
	struct vault v = { 0 };

	(void)state;
	ANSWER(&v, SIGNER_NONE, reasoning("\"Hm\"", "S1", SIGNER_ANTHROPIC), call("a"));
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		struct neutral_request n;

		begin(&n);
		add(&n, ROLE_ASSISTANT, call("a"));
		restore(&n, others[i], &v);
		has(&n.message[0], "tool call a");
		arena_free(n.arena);
	}
	empty(&v);
}

static void
a_turn_that_kept_its_own_is_left_alone(void **state)
{
	struct vault v = { 0 };
	struct neutral_request n;

	(void)state;
	ANSWER(&v, SIGNER_NONE, reasoning("\"Hm\"", "S1", SIGNER_ANTHROPIC), call("a"));
	begin(&n);
	add(&n, ROLE_ASSISTANT, reasoning("\"Hm\"", "S1", SIGNER_ANTHROPIC));
	add(&n, ROLE_ASSISTANT, call("a"));
	restore(&n, SIGNER_ANTHROPIC, &v);
	has(&n.message[0], "reasoning S1, tool call a");
	assert_int_equal(v.looks, 0);
	arena_free(n.arena);
	/* what somebody else signed is not its own */
	begin(&n);
	add(&n, ROLE_ASSISTANT, reasoning("\"Hm\"", "G", SIGNER_GEMINI));
	add(&n, ROLE_ASSISTANT, call("a"));
	restore(&n, SIGNER_ANTHROPIC, &v);
	has(&n.message[0], "reasoning S1, reasoning G, tool call a");
	arena_free(n.arena);
	empty(&v);
}

static void
ids_that_were_cleaned_on_the_way_are_found(void **state)
{
	struct vault v = { 0 };
	struct neutral_request n;
	char longest[200];

	(void)state;
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	ANSWER(&v, SIGNER_NONE, reasoning("\"1\"", "S1", SIGNER_ANTHROPIC), call("a.b:1"),
		reasoning("\"2\"", "S2", SIGNER_ANTHROPIC), call(longest));
	begin(&n);
	add(&n, ROLE_ASSISTANT, call("a_b_1"));
	add(&n, ROLE_ASSISTANT, call(longest));
	restore(&n, SIGNER_ANTHROPIC, &v);
	assert_int_equal(n.message[0].count, 4);
	arena_free(n.arena);
	empty(&v);
}

static void
broken_records_are_passed_over(void **state)
{
	static const char *const records[] = { "", "[]", "{", "{\"by\":1}",
		"{\"by\":\"anthropic\",\"at\":{},\"s\":7}",
		"{\"by\":\"anthropic\",\"at\":[1,{\"t\":\"x\"},{\"r\":\"\"}]}" };

	(void)state;
	for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
		struct vault v = { .count = 1 };
		struct neutral_request n;

		(void)snprintf(v.kept[0].key, SIGNATURES_KEY_BYTES, "c:a");
		v.kept[0].record = strdup(records[i]);
		begin(&n);
		add(&n, ROLE_ASSISTANT, call("a"));
		restore(&n, SIGNER_ANTHROPIC, &v);
		has(&n.message[0], "tool call a");
		arena_free(n.arena);
		empty(&v);
	}
}

/* A JSON string of so many letters. */
static char *
letters(size_t count)
{
	char *s = malloc(count + 3);

	assert_non_null(s);
	memset(s, 'x', count + 2);
	s[0] = s[count + 1] = '"';
	s[count + 2] = '\0';
	return s;
}

static void
ceilings_hold(void **state)
{
	char *huge = letters(SIGNATURES_RECORD_MAX), *long_text = letters(SIGNATURES_TEXT_MAX + 1);
	struct neutral_part many[2 * (SIGNATURES_CALLS_MAX + 5)];
	char id[SIGNATURES_CALLS_MAX + 5][16];
	struct vault v = { 0 };
	struct neutral_request n;

	(void)state;
	/* a turn of which part would be missing is not kept at all */
	ANSWER(&v, SIGNER_NONE, reasoning("\"1\"", "S1", SIGNER_ANTHROPIC), call("a"),
		reasoning(huge, "S2", SIGNER_ANTHROPIC), call("b"));
	ANSWER(&v, SIGNER_NONE, reasoning("\"1\"", "S1", SIGNER_ANTHROPIC), text(long_text));
	assert_int_equal(v.count, 0);
	/* later calls have no record */
	for (size_t i = 0; i < SIGNATURES_CALLS_MAX + 5; i++) {
		(void)snprintf(id[i], sizeof id[i], "id%zu", i);
		many[2 * i] = reasoning("\"1\"", "S", SIGNER_ANTHROPIC);
		many[2 * i + 1] = call(id[i]);
	}
	assert_int_equal(answer(&v, SIGNER_NONE, many, sizeof many / sizeof many[0]), 0);
	assert_int_equal(v.count, SIGNATURES_CALLS_MAX);
	/* so many looks, the newest turns first */
	begin(&n);
	for (size_t i = 0; i < SIGNATURES_LOOKS_MAX + 5; i++) {
		add(&n, ROLE_ASSISTANT, call(i < 5 ? "id0" : "unknown"));
		add(&n, ROLE_USER, text("\"q\""));
	}
	restore(&n, SIGNER_ANTHROPIC, &v);
	assert_int_equal(v.looks, SIGNATURES_LOOKS_MAX);
	has(&n.message[0], "tool call id0");
	arena_free(n.arena);
	empty(&v);
	free(huge);
	free(long_text);
}

static void
who_keeps_them_may_stop(void **state)
{
	const struct neutral_part parts[] = { reasoning("\"1\"", "S1", SIGNER_ANTHROPIC), call("a"),
		reasoning("\"2\"", "S2", SIGNER_ANTHROPIC), call("b") };
	struct vault v = { .stop_at = 1 };

	(void)state;
	assert_int_equal(answer(&v, SIGNER_NONE, parts, 4), -1);
	assert_int_equal(v.count, 1);
	empty(&v);
}

/* ---- the whole way ---- */

static int
note_event(void *ctx, const struct neutral_event *e)
{
	return signatures_note(ctx, e);
}

/* A provider's stream on its way to a client of OpenAI's chat, which loses what was signed. */
static void
stream_to_chat(enum format_id from, const char *bytes, struct vault *v)
{
	const struct reply_options o = { .model = "gw" };
	struct signatures *s = signatures_new(SIGNER_NONE);
	struct convert_stream c;

	assert_non_null(s);
	assert_int_equal(
		convert_stream_init(&c, format_of(from), format_of(FORMAT_OPENAI_CHAT), &o), 0);
	c.see = note_event;
	c.ctx = s;
	assert_int_equal(convert_stream_feed(&c, bytes, strlen(bytes)), 0);
	assert_int_equal(convert_stream_end(&c), 0);
	assert_true(c.done);
	assert_int_equal(signatures_give(s, keep, v), 0);
	convert_stream_free(&c);
	signatures_free(s);
}

struct back {
	enum signer target;
	struct vault *vault;
};

static int
put_back(void *ctx, struct neutral_request *n, struct err *err)
{
	struct back *b = ctx;

	return signatures_restore(n, b->target, look, b->vault, err);
}

/* The client's next request, as the provider gets it. */
static struct bytes
next_request(enum format_id to, const char *model, const char *json, struct vault *v)
{
	struct back back = { signatures_of_format(format_of(to)), v };
	struct convert_request q = { .from = format_of(FORMAT_OPENAI_CHAT),
		.to = format_of(to),
		.source = { .body = span_of(json) },
		.target = { .model = model, .thinking = THINKING_BUDGET },
		.between = put_back,
		.ctx = &back };
	struct bytes body = BYTES_LIMIT(MIB);
	struct request_made made = { .body = &body };
	struct arena *a = arena_new(64 * MIB);
	struct losses lost = { 0 };
	struct err err = { 0 };

	if (convert_request(a, &q, &made, &lost, &err) != 0)
		fail_msg("%s", err.text);
	arena_free(a);
	return body;
}

#define HISTORY(id)                                                                                \
	"{\"model\":\"gw\",\"reasoning_effort\":\"high\",\"messages\":[{\"role\":\"user\","        \
	"\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"Look.\",\"tool_calls\":[{"       \
	"\"id\":"                                                                                  \
	"\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"  \
	"{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"7\"}],\"tools\":[{\"type\":" \
	"\"function\",\"function\":{\"name\":\"f\"}}]}"

static void
a_chat_client_keeps_what_anthropic_signed(void **state)
{
	struct vault v = { 0 };
	struct bytes body;

	(void)state;
	stream_to_chat(FORMAT_ANTHROPIC,
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\","
		"\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":1}}}\n\n"
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
		"\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}"
		"\n\n"
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
		"\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Hm.\"}}\n\n"
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
		"\"delta\":{\"type\":\"signature_delta\",\"signature\":\"U0lH\"}}\n\n"
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,"
		"\"content_block\":{\"type\":\"text\",\"text\":\"Look.\"}}\n\n"
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,"
		"\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\","
		"\"input\":{}}}\n\n"
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n"
		"event: message_delta\ndata: "
		"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
		"\"tool_use\"},\"usage\":{\"output_tokens\":5}}\n\n"
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		&v);
	assert_int_equal(v.count, 1);
	body = next_request(FORMAT_ANTHROPIC, "claude-sonnet-4-5", HISTORY("toolu_1"), &v);
	if (strstr(body.at,
		    "[{\"type\":\"thinking\",\"thinking\":\"Hm.\",\"signature\":\"U0lH\"},"
		    "{\"type\":\"text\",\"text\":\"Look.\"},{\"type\":\"tool_use\"") == NULL)
		fail_msg("%s", body.at);
	bytes_free(&body);
	/* and Converse, which signs as Anthropic does */
	body = next_request(FORMAT_CONVERSE, "anthropic.claude-sonnet-4-5", HISTORY("toolu_1"), &v);
	if (strstr(body.at, "\"signature\":\"U0lH\"") == NULL)
		fail_msg("%s", body.at);
	bytes_free(&body);
	/* not Gemini */
	body = next_request(FORMAT_GEMINI, "gemini-3-flash", HISTORY("toolu_1"), &v);
	assert_null(strstr(body.at, "U0lH"));
	assert_non_null(strstr(body.at, "skip_thought_signature_validator"));
	bytes_free(&body);
	empty(&v);
}

static void
a_chat_client_keeps_what_gemini_signed(void **state)
{
	struct vault v = { 0 };
	struct bytes body;

	(void)state;
	stream_to_chat(FORMAT_GEMINI,
		"data: "
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hm.\",\"thought\":true},"
		"{\"text\":\"Look.\"},{\"functionCall\":{\"id\":\"g1\",\"name\":\"f\"},"
		"\"thoughtSignature\":\"R0VN\"}]},\"finishReason\":\"STOP\"}]}\r\n\r\n",
		&v);
	assert_int_equal(v.count, 1);
	body = next_request(FORMAT_GEMINI, "gemini-3-flash", HISTORY("g1"), &v);
	if (strstr(body.at, "[{\"text\":\"Look.\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}},"
			    "\"thoughtSignature\":\"R0VN\"}]") == NULL)
		fail_msg("%s", body.at);
	bytes_free(&body);
	empty(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thoughts_come_back_before_their_calls),
		cmocka_unit_test(thoughts_behind_text_stay_behind_it),
		cmocka_unit_test(signatures_of_calls_and_text_come_back),
		cmocka_unit_test(turns_without_calls_are_known_by_their_text),
		cmocka_unit_test(a_stream_gives_the_same_records),
		cmocka_unit_test(what_the_client_carries_itself_is_not_kept),
		cmocka_unit_test(only_its_maker_gets_a_signature_back),
		cmocka_unit_test(a_turn_that_kept_its_own_is_left_alone),
		cmocka_unit_test(ids_that_were_cleaned_on_the_way_are_found),
		cmocka_unit_test(broken_records_are_passed_over),
		cmocka_unit_test(ceilings_hold),
		cmocka_unit_test(who_keeps_them_may_stop),
		cmocka_unit_test(a_chat_client_keeps_what_anthropic_signed),
		cmocka_unit_test(a_chat_client_keeps_what_gemini_signed),
	};

	return cmocka_run_group_tests_name("wire/signatures", tests, NULL, NULL);
}
