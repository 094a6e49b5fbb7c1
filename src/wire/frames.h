/*
 * frames.h - a stream cut into what its dialect calls an event, whatever the framing: server-sent
 * events, AWS event-stream messages, elements of one JSON array.
 *
 * Fed any split of the bytes it gives the same frames.  Facts: reference openai.md section 1,
 * bedrock.md section 7, gemini.md section 4.
 */
#ifndef WIRE_FRAMES_H
#define WIRE_FRAMES_H

#include "base/bytes.h"
#include "wire/eventstream.h"
#include "wire/sse.h"

/* Of one frame: an answer's image in base64 may be long. */
#define FRAME_BYTES_MAX (16 * 1024 * 1024)

enum framing {
	FRAMING_SSE,
	FRAMING_EVENTSTREAM,
	FRAMING_JSON, /* SSE, or a JSON array's elements, or one JSON object: the first byte tells */
	FRAMING_SAP /* SSE whose data may be written as Python writes a dict; made JSON */
};
/* FRAMING_SAP is event-stream messages where the first byte is 0. */
/* In server-sent events a JSON object that stands alone, without "data:", is a frame too: so come
 * errors in the midst of a stream.  Events without data are none. */

struct frame {
	/* SSE: "event:"; event-stream: :event-type, or :exception-type; else empty. */
	struct span name;
	/* The payload; never empty but in event-stream messages. */
	struct span data;
	/* Event-stream: :message-type is exception, or error: that has no payload, so name is its
	 * :error-code and data {"message":…}. */
	bool exception;
};

struct frames;
/* NULL: out of memory. */
struct frames *frames_new(enum framing f);
void frames_free(struct frames *f);
/* fn gives 0, or -1 to stop.  0; -1 stopped or out of memory; -2 the bytes are no such stream (a checksum
 * that is wrong, a frame above the ceiling), and nothing more comes of it. */
int frames_feed(struct frames *f, const char *data, size_t len,
	int (*fn)(void *ctx, const struct frame *frame), void *ctx);
/* The end of the stream: a last event without its empty line is given.  As above; -2: cut within a frame. */
int frames_end(struct frames *f, int (*fn)(void *ctx, const struct frame *frame), void *ctx);
/* Do all bytes fed belong to frames that are complete? */
bool frames_between(const struct frames *f);

#endif
