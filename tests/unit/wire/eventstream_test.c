/*
 * eventstream_test.c - messages are read as the reference writes them, and nothing else is.
 */
#include "wire/eventstream.h"

#include "base/hash.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DELTA                                                                                      \
	"0000009400000057b4ab9aee0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c7461" \
	"0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74" \
	"7970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b22" \
	"74657874223a224869227d7d1f944657"
#define STOP                                                                                       \
	"0000007a00000051ca2c46650b3a6576656e742d7479706507000b6d65737361676553746f700d3a636f6e74" \
	"656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070005" \
	"6576656e747b2273746f70526561736f6e223a22656e645f7475726e227d5fbf09fc"
#define THROTTLED                                                                                  \
	"00000090000000618e91a9b70f3a657863657074696f6e2d747970650700137468726f74746c696e67457863" \
	"657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573" \
	"736167652d74797065070009657863657074696f6e7b226d657373616765223a22546f6f206d616e79207265" \
	"717565737473227de67f8005"
#define EMPTY "000000100000000005c248eb7d98c8ff"
#define TYPES                                                                                      \
	"0000006200000050edbbaab0017400016601016202fe017303fffe016904fffffffd016c05ffffffffffffff" \
	"fc0179060002010203737472070002c3a9027473080000019bc186de00017509000102030405060708090a0b" \
	"0c0d0e0f7b7d7bfb5bc7"

/* In memory of its own size, so that the sanitizer sees a look behind the end. */
static struct span
from_hex(const char *hex)
{
	size_t len = strlen(hex) / 2;
	char *at = malloc(len);

	assert_int_equal(hash_unhex(hex, at, len), 0);
	return (struct span){ at, len };
}

static void
done(struct span s)
{
	free((char *)s.at);
}

/* "name=value\n" for each header, then the payload. */
static void
show(struct span headers, struct span payload, char *out, size_t room)
{
	struct eventstream_header h;
	size_t n = 0;
	int rc;

	while ((rc = eventstream_header(&headers, &h)) > 0) {
		char value[64];

		if (h.type == ES_STRING)
			(void)span_copy(h.value, value, sizeof value);
		else if (h.type == ES_BYTES || h.type == ES_UUID)
			hash_hex(h.value.at, h.value.len, value);
		else
			(void)snprintf(value, sizeof value, "%lld", (long long)h.number);
		n += (size_t)snprintf(out + n, room - n, "%.*s:%d=%s\n", (int)h.name.len, h.name.at,
			(int)h.type, value);
	}
	assert_int_equal(rc, 0);
	(void)snprintf(out + n, room - n, "%.*s", (int)payload.len, payload.at);
}

static void
reads_the_worked_examples(void **state)
{
	static const struct {
		const char *hex, *want;
	} cases[] = {
		{ DELTA, ":event-type:7=contentBlockDelta\n:content-type:7=application/json\n"
			 ":message-type:7=event\n{\"contentBlockIndex\":0,\"delta\":{\"text\":"
			 "\"Hi\"}}" },
		{ STOP, ":event-type:7=messageStop\n:content-type:7=application/json\n"
			":message-type:7=event\n{\"stopReason\":\"end_turn\"}" },
		{ THROTTLED, ":exception-type:7=throttlingException\n"
			     ":content-type:7=application/json\n:message-type:7=exception\n"
			     "{\"message\":\"Too many requests\"}" },
		{ EMPTY, "" },
		{ TYPES, "t:0=0\nf:1=0\nb:2=-2\ns:3=-2\ni:4=-3\nl:5=-4\ny:6=0102\nstr:7=\xC3\xA9\n"
			 "ts:8=1768478400000\nu:9=000102030405060708090a0b0c0d0e0f\n{}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span data = from_hex(cases[i].hex), headers, payload;
		const char *why;
		char got[1024];

		assert_int_equal(eventstream_message(data, &headers, &payload, &why), data.len);
		show(headers, payload, got, sizeof got);
		assert_string_equal(got, cases[i].want);
		done(data);
	}
}

static void
waits_for_a_whole_message_and_knows_for_how_much(void **state)
{
	struct span data = from_hex(DELTA), headers, payload;
	const char *why;

	(void)state;
	for (size_t len = 0; len < data.len; len++) {
		char *exact = malloc(len + 1);
		struct span start = { exact, len };

		memcpy(exact, data.at, len);
		assert_int_equal(eventstream_message(start, &headers, &payload, &why), 0);
		assert_int_equal(eventstream_wants(start), len < 12 ? 12 - len : data.len - len);
		free(exact);
	}
	assert_int_equal(eventstream_wants(data), 0);
	done(data);
}

static void
refuses_every_message_with_one_byte_changed(void **state)
{
	struct span data = from_hex(STOP), headers, payload;
	const char *why;

	(void)state;
	for (size_t at = 0; at < data.len; at++)
		for (int bit = 0; bit < 8; bit++) {
			char *byte = (char *)data.at + at;
			ptrdiff_t rc;

			*byte = (char)(*byte ^ (1 << bit));
			rc = eventstream_message(data, &headers, &payload, &why);
			assert_int_equal(rc, -1);
			assert_true(why[0] != '\0');
			*byte = (char)(*byte ^ (1 << bit));
		}
	done(data);
}

static void
judges_lengths_before_the_rest_comes(void **state)
{
	static const struct {
		const char *hex, *want;
	} cases[] = {
		{ "0000000f00000000", "shorter" },
		{ "0000001000000001", "headers" },
		{ "0100000100000000", "longer than" },
		{ "ffffffff00000000", "longer than" },
		{ "0010000000020001", "headers" },
		{ "0000007a00000051cb2c4665", "checksum of a message's lengths" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span data = from_hex(cases[i].hex), headers, payload;
		const char *why = "";

		assert_int_equal(eventstream_message(data, &headers, &payload, &why), -1);
		if (strstr(why, cases[i].want) == NULL)
			fail_msg("%s: %s", cases[i].hex, why);
		done(data);
	}
}

/* A message around these headers, its checksums right. */
static struct span
message_of(const char *headers_hex)
{
	size_t len = strlen(headers_hex) / 2, total = len + 16;
	char *at = malloc(total);
	uint32_t crc;

	memset(at, 0, total);
	at[3] = (char)total;
	at[7] = (char)len;
	crc = __builtin_bswap32(hash_crc32(at, 8));
	memcpy(at + 8, &crc, 4);
	assert_int_equal(hash_unhex(headers_hex, at + 12, len), 0);
	crc = __builtin_bswap32(hash_crc32(at, total - 4));
	memcpy(at + total - 4, &crc, 4);
	return (struct span){ at, total };
}

static void
refuses_headers_that_cannot_be_read(void **state)
{
	static const struct {
		const char *why, *headers;
		bool good;
	} cases[] = {
		{ "a boolean", "016100", true },
		{ "no name", "0000", false },
		{ "a name cut", "0261", false },
		{ "no type", "0161", false },
		{ "a type nobody knows", "01610a", false },
		{ "a number cut", "016104000000", false },
		{ "a length cut", "01610700", false },
		{ "a string cut", "016107000361", false },
		{ "a UUID cut", "01610900", false },
		{ "the second cut", "01610001", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span data = message_of(cases[i].headers), headers, payload;
		const char *why = "";
		ptrdiff_t rc = eventstream_message(data, &headers, &payload, &why);

		if (rc != (cases[i].good ? (ptrdiff_t)data.len : -1))
			fail_msg("%s: %zd", cases[i].why, rc);
		done(data);
	}
}

static void
writes_the_worked_examples(void **state)
{
	static const struct {
		const char *type, *name, *payload, *hex;
	} cases[] = {
		{ "event", "contentBlockDelta",
			"{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Hi\"}}", DELTA },
		{ "event", "messageStop", "{\"stopReason\":\"end_turn\"}", STOP },
		{ "exception", "throttlingException", "{\"message\":\"Too many requests\"}",
			THROTTLED },
	};
	struct bytes out = BYTES_LIMIT(4096);

	(void)state;
	assert_int_equal(bytes_puts(&out, "before"), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span want = from_hex(cases[i].hex);
		size_t start = out.len;

		assert_int_equal(eventstream_write(&out, cases[i].type, cases[i].name,
					 span_of(cases[i].payload)),
			0);
		assert_int_equal(out.len - start, want.len);
		assert_memory_equal(out.at + start, want.at, want.len);
		done(want);
	}
	bytes_free(&out);
}

static void
writes_no_message_that_a_reader_would_refuse(void **state)
{
	struct bytes out = BYTES_LIMIT(32 << 20), tight = BYTES_LIMIT(64);
	size_t most = EVENTSTREAM_MESSAGE_MAX - 16 - 0x51;
	char *payload = malloc(most + 1);
	struct span headers, got;
	const char *why;

	(void)state;
	memset(payload, 'x', most + 1);
	assert_int_equal(
		eventstream_write(&out, "event", "messageStop", (struct span){ payload, most + 1 }),
		-1);
	assert_int_equal(out.len, 0);
	assert_int_equal(
		eventstream_write(&out, "event", "messageStop", (struct span){ payload, most }), 0);
	assert_int_equal(eventstream_message(bytes_span(&out), &headers, &got, &why),
		EVENTSTREAM_MESSAGE_MAX);
	assert_int_equal(got.len, most);
	assert_int_equal(eventstream_write(&tight, "event", "messageStop", SPAN_LIT("{}")), -1);
	bytes_free(&out);
	bytes_free(&tight);
	free(payload);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_worked_examples),
		cmocka_unit_test(waits_for_a_whole_message_and_knows_for_how_much),
		cmocka_unit_test(refuses_every_message_with_one_byte_changed),
		cmocka_unit_test(judges_lengths_before_the_rest_comes),
		cmocka_unit_test(refuses_headers_that_cannot_be_read),
		cmocka_unit_test(writes_the_worked_examples),
		cmocka_unit_test(writes_no_message_that_a_reader_would_refuse),
	};

	return cmocka_run_group_tests_name("wire/eventstream", tests, NULL, NULL);
}
