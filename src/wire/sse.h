/*
 * sse.h - a reader of server-sent events that is fed any split of the bytes and finds the same events.
 *
 * Line ends LF, CRLF, CR; comments; several data lines joined by LF; one space after the colon
 * dropped; a byte-order mark at the start skipped; a last event without its empty line is given by
 * sse_end().  Source: WHATWG HTML, server-sent events; reference openai.md, section 1.
 */
#ifndef WIRE_SSE_H
#define WIRE_SSE_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stddef.h>

#define SSE_EVENT_MAX (256 * 1024) /* a longer event is passed on, but not parsed; see sse_init_max */

struct sse_event {
	struct span name; /* of "event:", or empty */
	struct span data; /* empty when too long */
	struct span raw;  /* the bytes as they came, the closing empty line included; see sse_feed */
	bool too_long;
	bool ended; /* false: more pieces of this long event follow */
};

struct sse {
	struct bytes raw;  /* of the unfinished event; its limit is the longest that is parsed */
	struct bytes data; /* scratch for joined data lines */
	/* the rest is private to sse.c */
	size_t line_len;  /* bytes of the current line so far */
	char line_first;  /* its first byte */
	int mark;         /* bytes of a byte-order mark seen at the start of the stream; -1: past it */
	bool mark_ahead;  /* the next event given may begin with the mark */
	bool any_field;   /* the current event has a line that is no comment */
	bool after_cr;    /* the last byte was a CR that ended a line; a LF would belong to it */
	bool due;         /* … and that line completes what waits */
	bool lone_cr;     /* the line before ended in a CR alone */
	bool overflowed;  /* pieces of the current event are given as they come */
};

void sse_init(struct sse *s);
/* The same with another ceiling than SSE_EVENT_MAX; all else that is said of that holds for it. */
void sse_init_max(struct sse *s, size_t event_max);
void sse_free(struct sse *s);
/*
 * Calls fn for each event that ends within these bytes.  raw of all events and comments, one after
 * the other, are exactly the bytes fed: what is no event (stray blank lines, comments outside of
 * an event) is given too, line by line, as an event with empty name and data.  Of an event longer
 * than SSE_EVENT_MAX pieces are given as they come (too_long, raw set, name and data empty; the last
 * has ended set).  raw points into `data` when the event lies wholly within it; all spans are valid
 * until fn returns.  fn returning false stops after that event; returns how many bytes were used
 * (all, unless stopped).  -1 when out of memory, and the reader is of no more use.
 */
ptrdiff_t sse_feed(struct sse *s, const char *data, size_t len,
	bool (*fn)(void *ctx, const struct sse_event *e), void *ctx);
/* The end of the stream: what is left is given as the last event.  0, or -1 out of memory. */
int sse_end(struct sse *s, bool (*fn)(void *ctx, const struct sse_event *e), void *ctx);

#endif
