/*
 * eventstream.c - messages of application/vnd.amazon.eventstream.
 *
 *   total length 4 | headers' length 4 | CRC of these eight 4 | headers | payload | CRC of all before 4
 *
 * The lengths are held to their ceilings before anybody waits for, or keeps, that many bytes.
 */
#include "wire/eventstream.h"

#include "base/hash.h"
#include <string.h>

#define LENGTHS_BYTES   8
#define PRELUDE_BYTES   12 /* the lengths and their CRC */
#define CRC_BYTES       4
#define VALUE_MAX_BYTES 32767 /* what readers of the SDKs take, though the field holds more */

static uint64_t
big_endian(const char *at, size_t bytes)
{
	uint64_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | (unsigned char)at[i];
	return n;
}

/* ---- reading ---- */

size_t
eventstream_wants(struct span start)
{
	size_t whole = start.len < PRELUDE_BYTES ? PRELUDE_BYTES : big_endian(start.at, 4);

	return whole > start.len ? whole - start.len : 0;
}

/* A type's fixed size; of those with a length in front -1. */
static const int value_bytes[] = { [ES_TRUE] = 0,
	[ES_FALSE] = 0,
	[ES_BYTE] = 1,
	[ES_SHORT] = 2,
	[ES_INT] = 4,
	[ES_LONG] = 8,
	[ES_BYTES] = -1,
	[ES_STRING] = -1,
	[ES_TIME] = 8,
	[ES_UUID] = 16 };

static bool
take(struct span *from, size_t len, struct span *out)
{
	if (from->len < len)
		return false;
	*out = (struct span){ from->at, len };
	from->at += len;
	from->len -= len;
	return true;
}

static bool
take_size(struct span *from, size_t bytes, size_t *out)
{
	struct span size;

	if (!take(from, bytes, &size))
		return false;
	*out = (size_t)big_endian(size.at, bytes);
	return true;
}

/* Two's complement of that many bytes. */
static int64_t
signed_number(struct span value)
{
	uint64_t n = big_endian(value.at, value.len), sign = UINT64_C(1) << (8 * value.len - 1);

	return (int64_t)((n ^ sign) - sign);
}

int
eventstream_header(struct span *headers, struct eventstream_header *out)
{
	struct span rest = *headers;
	size_t len, type;

	if (rest.len == 0)
		return 0;
	*out = (struct eventstream_header){ .name = SPAN_NONE };
	if (!take_size(&rest, 1, &len) || len == 0 || !take(&rest, len, &out->name) ||
		!take_size(&rest, 1, &type) || type > ES_UUID)
		return -1;
	out->type = (enum eventstream_type)type;
	if (value_bytes[type] >= 0)
		len = (size_t)value_bytes[type];
	else if (!take_size(&rest, 2, &len))
		return -1;
	if (!take(&rest, len, &out->value))
		return -1;
	if ((type >= ES_BYTE && type <= ES_LONG) || type == ES_TIME)
		out->number = signed_number(out->value);
	*headers = rest;
	return 1;
}

static bool
headers_are_whole(struct span headers)
{
	struct eventstream_header h;
	int rc;

	do
		rc = eventstream_header(&headers, &h);
	while (rc > 0);
	return rc == 0;
}

static ptrdiff_t
broken(const char **why, const char *how)
{
	*why = how;
	return -1;
}

ptrdiff_t
eventstream_message(struct span data, struct span *headers, struct span *payload, const char **why)
{
	size_t total, headers_len;

	if (data.len < LENGTHS_BYTES)
		return 0;
	total = (size_t)big_endian(data.at, 4);
	headers_len = (size_t)big_endian(data.at + 4, 4);
	if (total < EVENTSTREAM_OVERHEAD)
		return broken(why, "a message is shorter than its own frame");
	if (total > EVENTSTREAM_MESSAGE_MAX)
		return broken(why, "a message is longer than is allowed");
	if (headers_len > EVENTSTREAM_HEADERS_MAX || headers_len > total - EVENTSTREAM_OVERHEAD)
		return broken(why, "the headers of a message are longer than is allowed");
	if (data.len < PRELUDE_BYTES)
		return 0;
	if (hash_crc32(data.at, LENGTHS_BYTES) != big_endian(data.at + LENGTHS_BYTES, CRC_BYTES))
		return broken(why, "the checksum of a message's lengths is wrong");
	if (data.len < total)
		return 0;
	if (hash_crc32(data.at, total - CRC_BYTES) !=
		big_endian(data.at + total - CRC_BYTES, CRC_BYTES))
		return broken(why, "the checksum of a message is wrong");
	*headers = (struct span){ data.at + PRELUDE_BYTES, headers_len };
	*payload = (struct span){ data.at + PRELUDE_BYTES + headers_len,
		total - EVENTSTREAM_OVERHEAD - headers_len };
	if (!headers_are_whole(*headers))
		return broken(why, "the headers of a message cannot be read");
	return (ptrdiff_t)total;
}

/* ---- writing ---- */

static void
put_number(struct bytes *out, uint64_t n, size_t bytes)
{
	char at[8];

	for (size_t i = bytes; i-- > 0; n >>= 8)
		at[i] = (char)(n & 0xFF);
	(void)bytes_add(out, at, bytes);
}

static size_t
header_bytes(const char *name, const char *value)
{
	return 1 + strlen(name) + 1 + 2 + strlen(value);
}

static void
put_header(struct bytes *out, const char *name, const char *value)
{
	put_number(out, strlen(name), 1);
	(void)bytes_puts(out, name);
	put_number(out, ES_STRING, 1);
	put_number(out, strlen(value), 2);
	(void)bytes_puts(out, value);
}

int
eventstream_write(struct bytes *out, const char *type, const char *name, struct span payload)
{
	static const char content_type[] = "application/json";
	bool event = strcmp(type, "event") == 0;
	const char *kind = event ? ":event-type" : ":exception-type";
	size_t start = out->len, headers_len;

	if (strlen(name) > VALUE_MAX_BYTES)
		return -1;
	headers_len = header_bytes(kind, name) + header_bytes(":content-type", content_type) +
		      header_bytes(":message-type", type);
	if (payload.len > EVENTSTREAM_MESSAGE_MAX - EVENTSTREAM_OVERHEAD - headers_len)
		return -1;
	put_number(out, EVENTSTREAM_OVERHEAD + headers_len + payload.len, 4);
	put_number(out, headers_len, 4);
	if (out->failed)
		return -1;
	put_number(out, hash_crc32(out->at + start, LENGTHS_BYTES), CRC_BYTES);
	put_header(out, kind, name);
	put_header(out, ":content-type", content_type);
	put_header(out, ":message-type", type);
	(void)bytes_add(out, payload.at, payload.len);
	if (out->failed)
		return -1;
	put_number(out, hash_crc32(out->at + start, out->len - start), CRC_BYTES);
	return out->failed ? -1 : 0;
}
