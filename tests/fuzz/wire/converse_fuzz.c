/*
 * converse_fuzz.c - clients and providers of Converse may send anything.
 *
 * Properties: a request that is read, written and read again is the same in the neutral form, and
 * what is written is valid JSON; so is an answer; events of a stream come in the order promised
 * whatever comes, and what is written of them is read back the same.  The first byte chooses.
 */
#include "wire/converse.h"

#include "../../lib/fuzz.h"
#include "../../lib/neutral_dump.h"
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20)

static void
same(struct bytes *a, struct bytes *b)
{
	must(!a->failed && !b->failed && same_bytes(a, b));
	bytes_free(a);
	bytes_free(b);
}

/* ---- requests ---- */

struct request {
	struct arena *arena;
	struct neutral_request *n;
	struct losses *lost;
	struct err err;
};

static struct request
read_request(struct span body)
{
	struct request r = { .arena = arena_new(MOST_BYTES) };
	struct request_source from = { .body = body };

	must(r.arena != NULL);
	r.n = arena_alloc(r.arena, sizeof *r.n);
	r.lost = arena_alloc(r.arena, sizeof *r.lost);
	neutral_request_init(r.n, r.arena);
	if (converse_read_request(&from, r.n, r.lost, &r.err) == 0)
		return r;
	must(r.err.code != ERR_NONE && r.err.says[0] != '\0');
	arena_free(r.arena);
	r.arena = NULL;
	return r;
}

static bool
write_request(struct request *r, struct bytes *out)
{
	static const struct request_target to = { .model = "anthropic.claude" };
	struct request_made made = { .body = out };

	if (converse_write_request(r->n, &to, &made, r->lost, &r->err) == 0) {
		must(json_valid(bytes_span(out)));
		return true;
	}
	must(r->err.code != ERR_NONE);
	return false;
}

/* Once written what cannot stand is gone (blank texts, names of documents): from there on nothing changes. */
static void
try_request(struct span body)
{
	struct request first = read_request(body), second, third;
	struct bytes one = BYTES_LIMIT(MOST_BYTES), two = one, a = one, b = one;

	if (first.arena == NULL)
		return;
	if (write_request(&first, &one)) {
		second = read_request(bytes_span(&one));
		must(second.arena != NULL);
		dump_request(&a, second.n);
		must(write_request(&second, &two));
		third = read_request(bytes_span(&two));
		must(third.arena != NULL);
		dump_request(&b, third.n);
		same(&a, &b);
		arena_free(second.arena);
		arena_free(third.arena);
	}
	arena_free(first.arena);
	bytes_free(&one);
	bytes_free(&two);
}

/* ---- answers ---- */

static bool
read_reply(struct arena *a, struct span body, struct neutral_reply *r)
{
	struct err err = { 0 };

	*r = (struct neutral_reply){ .arena = a, .usage = WIRE_USAGE_NONE };
	if (converse_read_reply(body, r, &err) == 0)
		return true;
	must(err.code != ERR_NONE);
	return false;
}

static void
try_reply(struct span body)
{
	static const struct reply_options options = { .model = "m" };
	struct arena *arena = arena_new(MOST_BYTES);
	struct bytes one = BYTES_LIMIT(MOST_BYTES), two = one, a = one, b = one;
	struct neutral_reply r;

	must(arena != NULL);
	if (read_reply(arena, body, &r)) {
		must(converse_write_reply(&r, &options, &one) == 0 && json_valid(bytes_span(&one)));
		must(read_reply(arena, bytes_span(&one), &r));
		dump_reply(&a, &r);
		must(converse_write_reply(&r, &options, &two) == 0);
		must(read_reply(arena, bytes_span(&two), &r));
		dump_reply(&b, &r);
		same(&a, &b);
	}
	arena_free(arena);
	bytes_free(&one);
	bytes_free(&two);
}

/* ---- streams ---- */

struct seen {
	struct neutral_order order;
	struct bytes events; /* as text, whole parts; without usage, which is written last */
	struct bytes text, signature; /* of the part under way */
	struct bytes wire;            /* written */
	void *writer;
	bool sse;
};

static void
note_part_end(struct seen *s, const struct neutral_part *p)
{
	dump_part(&s->events, p);
	/* a call without arguments is written with empty ones */
	if (p->kind == PART_TOOL_CALL && s->text.len == 0)
		(void)bytes_puts(&s->text, "{}");
	dump_plain(&s->events, "text", bytes_span(&s->text));
	dump_plain(&s->events, "signature", bytes_span(&s->signature));
	(void)bytes_puts(&s->events, "\n");
}

static void
note_event(struct seen *s, const struct neutral_event *e)
{
	struct span inside = text_inside(e->text);

	switch (e->kind) {
	case EVENT_PART:
		/* what comes with it alone */
		if (e->part.signature.at != NULL || e->part.data.at != NULL)
			dump_event(&s->events, e);
		bytes_drop(&s->text, s->text.len);
		bytes_drop(&s->signature, s->signature.len);
		break;
	case EVENT_DELTA:
		(void)bytes_add(&s->text, inside.at, inside.len);
		(void)bytes_add(&s->signature, e->signature.at, e->signature.len);
		break;
	case EVENT_PART_END:
		if (e->part.kind != PART_REDACTED && e->part.kind != PART_IMAGE)
			note_part_end(s, &e->part);
		break;
	case EVENT_USAGE:
	case EVENT_ERROR:
		break;
	default:
		dump_event(&s->events, e);
		break;
	}
}

static int
on_event(void *ctx, const struct neutral_event *e)
{
	static const struct reply_options options = { .model = "m" };
	struct seen *s = ctx;

	must(neutral_order_check(&s->order, e) == NULL);
	note_event(s, e);
	if (e->kind != EVENT_ERROR && s->writer != NULL)
		must((s->sse ? sap_converse_write_event : converse_write_event)(
			     s->writer, &options, e, &s->wire) == 0);
	return 0;
}

struct reading {
	void *reader;
	struct seen *seen;
};

static int
on_frame(void *ctx, const struct frame *f)
{
	struct reading *r = ctx;

	must(converse_read_frame(r->reader, f, on_event, r->seen) == 0);
	return 0;
}

static void
read_stream(enum framing framing, struct span in, struct seen *seen)
{
	struct reading r = { .reader = calloc(1, converse_reader_bytes), .seen = seen };
	struct frames *f = frames_new(framing);

	must(f != NULL && r.reader != NULL);
	if (frames_feed(f, in.at, in.len, on_frame, &r) == 0)
		(void)frames_end(f, on_frame, &r);
	must(converse_read_end(r.reader, on_event, seen) == 0);
	must(seen->order.over);
	frames_free(f);
	converse_reader_free(r.reader);
	free(r.reader);
}

/* Each line is the payload of an event; its first letter is the event's name. */
static void
make_messages(struct span lines, struct bytes *out)
{
	static const char *const names[] = { "messageStart", "contentBlockStart",
		"contentBlockDelta", "contentBlockStop", "messageStop", "metadata",
		"throttlingException" };

	while (lines.len > 1) {
		const char *end = memchr(lines.at, '\n', lines.len);
		size_t len = end == NULL ? lines.len : (size_t)(end - lines.at);

		if (len > 0) {
			size_t which = (unsigned char)lines.at[0] % 7;

			must(eventstream_write(out, which == 6 ? "exception" : "event",
				     names[which], (struct span){ lines.at + 1, len - 1 }) == 0);
		}
		len += len < lines.len;
		lines.at += len;
		lines.len -= len;
	}
}

static void
try_stream(struct span in, bool messages, bool sse)
{
	struct bytes made = BYTES_LIMIT(MOST_BYTES);
	struct seen first = { .events = BYTES_LIMIT(MOST_BYTES),
		.wire = BYTES_LIMIT(MOST_BYTES),
		.writer = calloc(1, converse_writer_bytes),
		.sse = sse };
	struct seen second = { .events = BYTES_LIMIT(MOST_BYTES) };

	first.text = first.signature = second.text = second.signature = BYTES_LIMIT(MOST_BYTES);

	must(first.writer != NULL);
	if (messages) {
		make_messages(in, &made);
		in = bytes_span(&made);
	}
	read_stream(messages ? FRAMING_EVENTSTREAM : FRAMING_SAP, in, &first);
	read_stream(sse ? FRAMING_SAP : FRAMING_EVENTSTREAM, bytes_span(&first.wire), &second);
	/* an error stops what is written where it stands */
	if (first.events.len >= 5 &&
		memcmp(first.events.at + first.events.len - 5, "over\n", 5) == 0)
		same(&first.events, &second.events);
	bytes_free(&made);
	bytes_free(&first.events);
	bytes_free(&first.wire);
	bytes_free(&second.events);
	bytes_free(&first.text);
	bytes_free(&first.signature);
	bytes_free(&second.text);
	bytes_free(&second.signature);
	converse_writer_free(first.writer);
	free(first.writer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data + 1, size - 1 };

	if (size == 0)
		return 0;
	switch (data[0] % 6) {
	case 0:
		try_request(text);
		break;
	case 1:
		try_reply(text);
		break;
	case 2:
		try_stream(text, false, false);
		break;
	case 3:
		try_stream(text, false, true);
		break;
	case 4:
		try_stream(text, true, false);
		break;
	default:
		try_stream(text, true, true);
		break;
	}
	return 0;
}
