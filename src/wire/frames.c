/*
 * frames.c - a stream cut into frames: server-sent events, event-stream messages, JSON objects.
 *
 * What lies wholly within the bytes fed is given where it stands; only what is cut is kept.  No byte
 * is looked at twice because of where it was cut.
 */
#include "wire/frames.h"

#include "base/json.h"
#include "wire/python.h"
#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES ((size_t)16 * 1024) /* buffers that grew larger are given back */

typedef int frame_fn(void *ctx, const struct frame *frame);

enum kind { KIND_UNKNOWN, KIND_SSE, KIND_MESSAGES, KIND_OBJECTS };

struct frames {
	enum framing framing;
	enum kind kind;
	int over; /* what feed answers from here on; 0: goes on */

	struct sse sse;    /* KIND_SSE */
	struct bytes rest; /* KIND_MESSAGES, KIND_OBJECTS: of the unfinished one */
	struct bytes made; /* data that was made anew */

	/* KIND_OBJECTS: where in the unfinished one we are */
	size_t depth;
	bool in_string, escaped;

	frame_fn *fn; /* of the call that runs */
	void *ctx;
};

struct frames *
frames_new(enum framing framing)
{
	struct frames *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	f->framing = framing;
	f->kind = framing == FRAMING_SSE           ? KIND_SSE
		  : framing == FRAMING_EVENTSTREAM ? KIND_MESSAGES
						   : KIND_UNKNOWN;
	f->rest = BYTES_LIMIT(FRAME_BYTES_MAX);
	f->made = BYTES_LIMIT(FRAME_BYTES_MAX);
	sse_init_max(&f->sse, FRAME_BYTES_MAX);
	return f;
}

void
frames_free(struct frames *f)
{
	if (f == NULL)
		return;
	sse_free(&f->sse);
	bytes_free(&f->rest);
	bytes_free(&f->made);
	free(f);
}

static void
empty(struct bytes *b)
{
	if (b->room > KEEP_BYTES || b->failed)
		bytes_free(b);
	else
		b->len = 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int
give(struct frames *f, const struct frame *frame)
{
	return f->fn(f->ctx, frame) == 0 ? 0 : -1;
}

/* ---- server-sent events ---- */

static struct span
trimmed(struct span s)
{
	while (s.len > 0 && is_blank(s.at[0]))
		s.at++, s.len--;
	while (s.len > 0 && is_blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

/* An object that is no JSON is made JSON where it is Python's; what is neither, the reader refuses. */
static int
made_json(struct frames *f, struct span *data)
{
	if (data->at[0] != '{' || json_valid(*data))
		return 0;
	if (python_to_json(*data, &f->made) == 0)
		*data = bytes_span(&f->made);
	return f->made.failed ? -2 : 0;
}

static bool
on_event(void *ctx, const struct sse_event *e)
{
	struct frames *f = ctx;
	struct frame frame = { .name = e->name, .data = e->data };

	if (e->too_long) {
		f->over = -2;
		return false;
	}
	if (frame.data.len == 0) {
		frame.data = trimmed(e->raw);
		if (frame.data.len == 0 || frame.data.at[0] != '{')
			return true;
		frame.name = SPAN_NONE;
	}
	if (f->framing == FRAMING_SAP)
		f->over = made_json(f, &frame.data);
	if (f->over == 0)
		f->over = give(f, &frame);
	empty(&f->made);
	return f->over == 0;
}

static int
feed_events(struct frames *f, const char *data, size_t len)
{
	return sse_feed(&f->sse, data, len, on_event, f) < 0 ? -1 : f->over;
}

/* ---- event-stream messages ---- */

struct message_head {
	struct span message_type, event_type, exception_type, error_code, error_message;
};

static struct message_head
read_head(struct span headers)
{
	struct message_head head = { .message_type = SPAN_NONE };
	const struct {
		const char *name;
		struct span *value;
	} known[] = { { ":message-type", &head.message_type }, { ":event-type", &head.event_type },
		{ ":exception-type", &head.exception_type }, { ":error-code", &head.error_code },
		{ ":error-message", &head.error_message } };
	struct eventstream_header h;

	while (eventstream_header(&headers, &h) > 0)
		for (size_t i = 0; h.type == ES_STRING && i < sizeof known / sizeof known[0]; i++)
			if (span_is(h.name, known[i].name))
				*known[i].value = h.value;
	return head;
}

static int
give_message(struct frames *f, struct span headers, struct span payload)
{
	struct message_head head = read_head(headers);
	struct frame frame = { .name = head.event_type, .data = payload };
	int rc;

	if (span_is(head.message_type, "exception")) {
		frame.name = head.exception_type;
		frame.exception = true;
	} else if (span_is(head.message_type, "error")) {
		frame.name = head.error_code;
		frame.exception = true;
		(void)bytes_puts(&f->made, "{\"message\":");
		(void)bytes_json(&f->made, head.error_message);
		if (bytes_puts(&f->made, "}") != 0)
			return -1;
		frame.data = bytes_span(&f->made);
	}
	rc = give(f, &frame);
	empty(&f->made);
	return rc;
}

/* The first message of these bytes.  Bytes used; 0 when it is not whole; -1 and -2 as frames_feed. */
static ptrdiff_t
take_message(struct frames *f, struct span data)
{
	struct span headers, payload;
	const char *why;
	ptrdiff_t used = eventstream_message(data, &headers, &payload, &why);

	if (used < 0)
		return -2;
	return used > 0 && give_message(f, headers, payload) != 0 ? -1 : used;
}

static int
feed_messages(struct frames *f, const char *data, size_t len)
{
	while (len > 0) {
		ptrdiff_t used = 0;
		size_t n;

		if (f->rest.len == 0)
			used = take_message(f, (struct span){ data, len });
		if (used < 0)
			return (int)used;
		if (used > 0) {
			data += used;
			len -= (size_t)used;
			continue;
		}
		n = eventstream_wants(bytes_span(&f->rest));
		if (n > len)
			n = len;
		if (bytes_add(&f->rest, data, n) != 0)
			return -1;
		data += n;
		len -= n;
		used = take_message(f, bytes_span(&f->rest));
		if (used < 0)
			return (int)used;
		if (used > 0)
			empty(&f->rest);
	}
	return 0;
}

/* ---- JSON objects, in an array or one after the other ---- */

/* Behind the object that is open, or NULL when it goes on. */
static const char *
object_end(struct frames *f, const char *at, const char *end)
{
	for (; at < end; at++) {
		if (f->escaped)
			f->escaped = false;
		else if (f->in_string && *at == '\\')
			f->escaped = true;
		else if (*at == '"')
			f->in_string = !f->in_string;
		else if (f->in_string)
			continue;
		else if (*at == '{' || *at == '[')
			f->depth++;
		else if ((*at == '}' || *at == ']') && --f->depth == 0)
			return at + 1;
	}
	return NULL;
}

static int
give_object(struct frames *f, struct span piece)
{
	struct frame frame = { .name = SPAN_NONE, .data = piece };
	int rc;

	if (f->rest.len + piece.len > FRAME_BYTES_MAX)
		return -2;
	if (f->rest.len > 0) {
		if (bytes_add(&f->rest, piece.at, piece.len) != 0)
			return -1;
		frame.data = bytes_span(&f->rest);
	}
	rc = give(f, &frame);
	empty(&f->rest);
	return rc;
}

/* Between objects.  The first byte of the next one, `end`, or NULL for what is no JSON. */
static const char *
next_object(const char *at, const char *end)
{
	for (; at < end && *at != '{'; at++)
		if (!is_blank(*at) && *at != ',' && *at != '[' && *at != ']')
			return NULL;
	return at;
}

static int
feed_objects(struct frames *f, const char *data, size_t len)
{
	const char *at = data, *end = data + len;

	while (at < end) {
		const char *behind;
		int rc;

		if (f->depth == 0) {
			at = next_object(at, end);
			if (at == NULL)
				return -2;
			if (at == end)
				break;
		}
		behind = object_end(f, at, end);
		if (behind == NULL) {
			if (f->rest.len + (size_t)(end - at) > FRAME_BYTES_MAX)
				return -2;
			return bytes_add(&f->rest, at, (size_t)(end - at));
		}
		rc = give_object(f, (struct span){ at, (size_t)(behind - at) });
		if (rc != 0)
			return rc;
		at = behind;
	}
	return 0;
}

/* ---- all of them ---- */

/* The first byte that is no white space tells; what comes before it says nothing in any of them. */
static enum kind
kind_of(enum framing framing, char first)
{
	if (framing == FRAMING_SAP)
		return first == '\0' ? KIND_MESSAGES : KIND_SSE;
	return first == '{' || first == '[' ? KIND_OBJECTS : KIND_SSE;
}

static int
feed_kind(struct frames *f, const char *data, size_t len)
{
	switch (f->kind) {
	case KIND_SSE:
		return feed_events(f, data, len);
	case KIND_MESSAGES:
		return feed_messages(f, data, len);
	case KIND_OBJECTS:
		return feed_objects(f, data, len);
	default:
		return 0;
	}
}

int
frames_feed(struct frames *f, const char *data, size_t len, frame_fn *fn, void *ctx)
{
	f->fn = fn;
	f->ctx = ctx;
	if (f->kind == KIND_UNKNOWN) {
		while (len > 0 && is_blank(*data))
			data++, len--;
		if (len > 0)
			f->kind = kind_of(f->framing, *data);
	}
	if (f->over == 0 && len > 0)
		f->over = feed_kind(f, data, len);
	return f->over;
}

int
frames_end(struct frames *f, frame_fn *fn, void *ctx)
{
	f->fn = fn;
	f->ctx = ctx;
	if (f->over == 0 && f->kind == KIND_SSE && sse_end(&f->sse, on_event, f) != 0)
		f->over = -1;
	if (f->over == 0 && f->rest.len > 0)
		f->over = -2;
	return f->over;
}

bool
frames_between(const struct frames *f)
{
	return f->rest.len == 0 && f->sse.raw.len == 0 && f->sse.line_len == 0;
}
