/*
 * eventstream.h - messages of application/vnd.amazon.eventstream: reader and writer.
 *
 * All integers big-endian, two CRC-32 each.  Facts: reference bedrock.md, section 7.
 */
#ifndef WIRE_EVENTSTREAM_H
#define WIRE_EVENTSTREAM_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stdint.h>

#define EVENTSTREAM_MESSAGE_MAX (16 * 1024 * 1024)
#define EVENTSTREAM_HEADERS_MAX (128 * 1024)
#define EVENTSTREAM_OVERHEAD    16

enum eventstream_type {
	ES_TRUE,
	ES_FALSE,
	ES_BYTE,
	ES_SHORT,
	ES_INT,
	ES_LONG,
	ES_BYTES,
	ES_STRING,
	ES_TIME,
	ES_UUID
};
struct eventstream_header {
	struct span name;
	enum eventstream_type type;
	struct span value; /* the bytes as they stand; of ES_TRUE, ES_FALSE empty */
	int64_t number;    /* of BYTE to LONG and TIME (milliseconds) */
};

/* The message at the start of these bytes.  Its length in bytes; 0: more bytes are needed; -1: broken
 * (lengths, ceilings, a CRC, headers), *why says how.  *headers and *payload point into data. */
ptrdiff_t
eventstream_message(struct span data, struct span *headers, struct span *payload, const char **why);
/* How many more bytes there must be before eventstream_message(), which gave 0 for these, can say more. */
size_t eventstream_wants(struct span start);
/* Takes the first header off *headers.  1, 0 at their end, -1 broken. */
int eventstream_header(struct span *headers, struct eventstream_header *out);

/* Appends a message with string headers :message-type (`type`: "event", "exception"), :event-type or
 * :exception-type (`name`) and :content-type application/json.  0, or -1: the payload is too long (then
 * nothing is appended), or memory. */
int eventstream_write(struct bytes *out, const char *type, const char *name, struct span payload);

#endif
