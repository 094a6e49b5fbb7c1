/*
 * tables_test.c - the tables among the conversion vectors: failures and waits, usage, event-stream frames.
 *
 * The tests of each of these know more cases; here the files themselves are read.
 */
#include "wire/format.h"

#include "../../lib/vectors.h"
#include "base/clock.h"
#include "wire/eventstream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW "2026-01-15T12:00:00Z"

static int64_t
ms_of(const char *text)
{
	int64_t ms;

	assert_int_equal(clock_parse_rfc3339(text, &ms), 0);
	return ms;
}

static void
each_row(const char *file, bool (*fn)(void *ctx, const struct json_member *m), size_t *rows)
{
	struct span table = vector_file(file);

	*rows = 0;
	assert_int_equal(json_each_element(table, fn, rows, NULL), 0);
	free((char *)table.at);
}

/* ---- failures ---- */

/* A row's headers, with room for their text. */
struct said {
	struct failure_headers h;
	char room[16][64];
	size_t used;
};

/* Each provider's names for what means the same. */
static struct span *
header_named(struct failure_headers *h, struct span name)
{
	const struct {
		const char *name;
		struct span *at;
	} known[] = { { "retry-after", &h->retry_after }, { "retry-after-ms", &h->retry_after_ms },
		{ "x-ratelimit-reset-requests", &h->reset_requests },
		{ "x-ratelimit-reset-tokens", &h->reset_tokens },
		{ "anthropic-ratelimit-requests-reset", &h->reset_requests },
		{ "anthropic-ratelimit-requests-remaining", &h->remaining_requests },
		{ "anthropic-ratelimit-unified-reset", &h->unified_reset },
		{ "x-amzn-errortype", &h->error_type } };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (span_is(name, known[i].name))
			return known[i].at;
	fail_msg("%.*s: a header that this test does not know", (int)name.len, name.at);
	return NULL;
}

static bool
take_header(void *ctx, const struct json_member *m)
{
	struct said *s = ctx;
	char *room = s->room[s->used++];
	ptrdiff_t len = json_string(m->value, room, sizeof s->room[0]);

	assert_true(len >= 0);
	*header_named(&s->h, m->key) = (struct span){ room, (size_t)len };
	return true;
}

/* Of the words in the table that are not ours. */
static const char *
class_of(const char *theirs)
{
	static const char *const names[][2] = { { "KEY_INVALID", "key_invalid" },
		{ "NO_CREDIT", "no_credit" }, { "RATE_LIMITED", "rate_limited" },
		{ "MODEL_UNAVAILABLE", "model" }, { "OVERLOADED", "overloaded" } };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(theirs, names[i][0]) == 0)
			return names[i][1];
	fail_msg("%s: a class that this test does not know", theirs);
	return NULL;
}

static bool
classify(void *ctx, const struct json_member *m)
{
	struct span row = m->value.raw;
	struct json_value headers = json_get(row, "headers");
	char want[32], until_text[40], now_text[40];
	struct said s = { .used = 0 };
	int64_t now, until, wait;
	enum failure got;

	vector_string(row, "class", want, sizeof want);
	vector_string(row, "until", until_text, sizeof until_text);
	vector_string(row, "now", now_text, sizeof now_text);
	if (headers.type == JSON_OBJECT)
		assert_int_equal(json_each(headers.raw, take_header, &s, NULL), 0);
	now = ms_of(now_text[0] == '\0' ? NOW : now_text);
	got = failure_classify(
		(int)vector_number(row, "status", 0), &s.h, json_get(row, "body").raw, now, &until);
	if (strcmp(failure_name(got), class_of(want)) != 0)
		fail_msg("%.*s: %s", (int)row.len, row.at, failure_name(got));
	wait = vector_number(row, "wait_ms", -1);
	if (until_text[0] != '\0')
		wait = ms_of(until_text) - now;
	if (wait >= 0 && until - now != wait)
		fail_msg("%.*s: waits %lld", (int)row.len, row.at, (long long)(until - now));
	++*(size_t *)ctx;
	return true;
}

static void
failures_have_the_class_of_the_table(void **state)
{
	size_t rows;

	(void)state;
	each_row("50-classify-errors.json", classify, &rows);
	assert_int_equal(rows, 13);
}

/* ---- waits ---- */

/* A body that says it as its provider does. */
static void
body_that_says(const char *where, const char *value, char *out, size_t room)
{
	if (strcmp(where, "gemini RetryInfo") == 0)
		(void)snprintf(out, room,
			"{\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_"
			"EXHAUSTED\","
			"\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
			"\"retryDelay\":\"%s\"}]}}",
			value);
	else
		(void)snprintf(
			out, room, "{\"error\":{\"code\":\"429\",\"message\":\"%s\"}}", value);
}

static bool
parse_wait(void *ctx, const struct json_member *m)
{
	struct span row = m->value.raw;
	char where[48], header[48], value[64], now_text[40], body[512] = "{}";
	struct failure_headers h = { .retry_after = SPAN_NONE };
	int64_t now, until, want = vector_number(row, "ms", -1);

	vector_string(row, "body", where, sizeof where);
	vector_string(row, "header", header, sizeof header);
	vector_string(row, "value", value, sizeof value);
	vector_string(row, "now", now_text, sizeof now_text);
	if (header[0] != '\0')
		*header_named(&h, span_of(header)) = span_of(value);
	else
		body_that_says(where, value, body, sizeof body);
	now = ms_of(now_text[0] == '\0' ? NOW : now_text);
	assert_int_equal(
		failure_classify(429, &h, span_of(body), now, &until), FAILURE_RATE_LIMITED);
	if (until - now != want)
		fail_msg("%.*s: %lld", (int)row.len, row.at, (long long)(until - now));
	++*(size_t *)ctx;
	return true;
}

static void
waits_are_as_long_as_the_table_says(void **state)
{
	size_t rows;

	(void)state;
	each_row("51-parse-waits.json", parse_wait, &rows);
	assert_int_equal(rows, 11);
}

/* ---- usage ---- */

static void
check_counter(struct span row, const char *path, int64_t got)
{
	int64_t want = vector_number(row, path, 0);

	if (usage_or_zero(got) != want)
		fail_msg("%.*s: %s is %lld", (int)row.len, row.at, path, (long long)got);
}

/* As it stands in an answer of that dialect. */
static bool
count_usage(void *ctx, const struct json_member *m)
{
	struct span row = m->value.raw, usage = json_get(row, "usage").raw;
	char protocol[32], answer[1024];
	struct wire_usage u = WIRE_USAGE_NONE;
	const struct format *f;

	vector_string(row, "protocol", protocol, sizeof protocol);
	if (protocol[0] == '\0') /* what it costs: tests/unit/settle/price_test.c */
		return true;
	f = format_named(protocol);
	assert_non_null(f);
	++*(size_t *)ctx;
	if (f->usage == NULL)
		return true;
	(void)snprintf(answer, sizeof answer, "{\"%s\":%.*s}",
		f == format_of(FORMAT_GEMINI) ? "usageMetadata" : "usage", (int)usage.len,
		usage.at);
	f->usage(span_of(answer), &u);
	assert_true(u.seen);
	check_counter(row, "ir.uncached", u.input);
	check_counter(row, "ir.cache_read", u.cache_read);
	check_counter(row, "ir.cache_write_1h", u.cache_write_1h);
	check_counter(row, "ir.cache_write_5m",
		usage_or_zero(u.cache_write) - usage_or_zero(u.cache_write_1h));
	check_counter(row, "ir.output", u.output);
	check_counter(row, "ir.reasoning", u.reasoning);
	return true;
}

static void
usage_is_what_the_table_says(void **state)
{
	size_t rows;

	(void)state;
	each_row("52-usage.json", count_usage, &rows);
	assert_int_equal(rows, 4);
}

/* ---- event-stream messages ---- */

/* A value as the table writes it. */
static void
show_value(const struct eventstream_header *h, char *out, size_t room)
{
	char hex[64];

	assert_true(h->type == ES_STRING || 2 * h->value.len < sizeof hex);
	switch (h->type) {
	case ES_TRUE:
	case ES_FALSE:
		(void)snprintf(out, room, "%s", h->type == ES_TRUE ? "true" : "false");
		break;
	case ES_STRING:
		(void)span_copy(h->value, out, room);
		break;
	case ES_BYTES:
		hash_hex(h->value.at, h->value.len, hex);
		(void)snprintf(out, room, "bytes:%s", hex);
		break;
	case ES_TIME:
		(void)snprintf(out, room, "ms:%lld", (long long)h->number);
		break;
	case ES_UUID:
		hash_hex(h->value.at, h->value.len, hex);
		(void)snprintf(out, room, "uuid:%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
			hex + 16, hex + 20);
		break;
	default:
		(void)snprintf(out, room, "%lld", (long long)h->number);
		break;
	}
}

struct expected {
	const struct eventstream_header *header;
	bool found;
};

static bool
is_expected(void *ctx, const struct json_member *m)
{
	struct expected *e = ctx;
	char want[128], got[128];

	if (m->key.len != e->header->name.len ||
		memcmp(m->key.at, e->header->name.at, m->key.len) != 0)
		return true;
	e->found = true;
	if (json_string(m->value, want, sizeof want) < 0)
		(void)span_copy(m->value.raw, want, sizeof want);
	show_value(e->header, got, sizeof got);
	assert_string_equal(got, want);
	return true;
}

static bool
count_one(void *ctx, const struct json_member *m)
{
	(void)m;
	++*(size_t *)ctx;
	return true;
}

static void
check_message(struct span row, struct span headers, struct span payload)
{
	struct span want = json_get(row, "headers").raw;
	struct eventstream_header h;
	size_t wanted = 0, given = 0;
	char text[256];
	int rc;

	while ((rc = eventstream_header(&headers, &h)) > 0) {
		struct expected e = { .header = &h };

		assert_int_equal(json_each(want, is_expected, &e, NULL), 0);
		assert_true(e.found);
		given++;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(json_each(want, count_one, &wanted, NULL), 0);
	assert_int_equal(given, wanted);
	vector_string(row, "payload", text, sizeof text);
	assert_int_equal(payload.len, strlen(text));
	assert_memory_equal(payload.at, text, payload.len);
}

static bool
read_message(void *ctx, const struct json_member *m)
{
	struct span row = m->value.raw, headers, payload;
	char hex[1024], data[512];
	const char *why = "";
	size_t len;
	ptrdiff_t got;

	vector_string(row, "hex", hex, sizeof hex);
	len = strlen(hex) / 2;
	assert_int_equal(hash_unhex(hex, data, len), 0);
	got = eventstream_message((struct span){ data, len }, &headers, &payload, &why);
	if (json_get(row, "error").type == JSON_STRING) {
		assert_int_equal(got, -1);
		assert_true(why[0] != '\0');
	} else {
		assert_int_equal(got, len);
		check_message(row, headers, payload);
	}
	++*(size_t *)ctx;
	return true;
}

static void
frames_are_read_as_the_table_says(void **state)
{
	size_t rows;

	(void)state;
	each_row("54-eventstream-frames.json", read_message, &rows);
	assert_int_equal(rows, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_have_the_class_of_the_table),
		cmocka_unit_test(waits_are_as_long_as_the_table_says),
		cmocka_unit_test(usage_is_what_the_table_says),
		cmocka_unit_test(frames_are_read_as_the_table_says),
	};

	return cmocka_run_group_tests_name("wire/tables", tests, NULL, NULL);
}
