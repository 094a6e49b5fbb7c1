/*
 * frames_fuzz.c - a provider may send any bytes in any framing, cut anywhere.
 *
 * Properties: however the bytes are cut, the same frames come out and the stream ends alike; what
 * was made JSON of Python's is JSON; event-stream messages that we write are read back equal.  The
 * first byte chooses the framing, the second the cuts.
 */
#include "wire/frames.h"

#include "../../lib/fuzz.h"
#include "base/json.h"
#include "wire/python.h"
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20)

static int
note(void *ctx, const struct frame *f)
{
	struct bytes *b = ctx;

	note_span(b, f->name);
	note_span(b, f->data);
	return bytes_add(b, f->exception ? "!" : "|", 1);
}

static int
read_in_steps(enum framing framing, struct span in, size_t step, uint32_t vary, struct bytes *found)
{
	struct frames *f = frames_new(framing);
	int rc;

	must(f != NULL);
	*found = BYTES_LIMIT(MOST_BYTES);
	for (size_t at = 0, n; at < in.len; at += n) {
		char *exact; /* so that the sanitizer sees a look past its end */

		n = cut_next(step, &vary, in.len - at);
		exact = malloc(n);
		must(exact != NULL);
		memcpy(exact, in.at + at, n);
		rc = frames_feed(f, exact, n, note, found);
		free(exact);
		must(rc == 0 || rc == -2);
	}
	rc = frames_end(f, note, found);
	frames_free(f);
	return rc;
}

static void
same(const struct bytes *a, struct bytes *b)
{
	must(same_bytes(a, b));
	bytes_free(b);
}

static void
any_cut_gives_the_same(enum framing framing, struct span in, unsigned int cuts)
{
	struct bytes whole, cut;
	int rc = read_in_steps(framing, in, in.len + 1, 0, &whole);

	must(read_in_steps(framing, in, 1, 0, &cut) == rc);
	same(&whole, &cut);
	must(read_in_steps(framing, in, 1 + cuts, cuts + 1, &cut) == rc);
	same(&whole, &cut);
	bytes_free(&whole);
}

static void
python_gives_json(struct span in)
{
	struct bytes out = BYTES_LIMIT(MOST_BYTES);

	if (python_to_json(in, &out) == 0)
		must(json_valid(bytes_span(&out)));
	bytes_free(&out);
}

/* The text in pieces of a chosen length, each the payload of one message. */
static void
messages_come_back(struct span text, unsigned int cuts)
{
	static const char *const names[] = { "messageStart", "chunk", "throttlingException" };
	struct bytes wire = BYTES_LIMIT(MOST_BYTES), want = BYTES_LIMIT(MOST_BYTES), got;
	size_t piece = 1 + cuts % 61;

	for (size_t at = 0, i = 0; at < text.len; at += piece, i++) {
		struct span payload = { text.at + at,
			text.len - at < piece ? text.len - at : piece };
		struct frame f = { span_of(names[i % 3]), payload, i % 3 == 2 };

		must(eventstream_write(&wire, f.exception ? "exception" : "event", names[i % 3],
			     payload) == 0);
		must(note(&want, &f) == 0);
	}
	must(read_in_steps(FRAMING_EVENTSTREAM, bytes_span(&wire), 1 + cuts, cuts + 1, &got) == 0);
	same(&want, &got);
	bytes_free(&want);
	/* Its first byte is 0: the same where text is usual. */
	any_cut_gives_the_same(FRAMING_SAP, bytes_span(&wire), cuts);
	bytes_free(&wire);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum framing framings[] = { FRAMING_SSE, FRAMING_EVENTSTREAM, FRAMING_JSON,
		FRAMING_SAP };
	struct span text = { (const char *)data + 2, size - 2 };

	if (size < 2)
		return 0;
	if (data[0] % 5 < 4)
		any_cut_gives_the_same(framings[data[0] % 5], text, data[1]);
	else
		messages_come_back(text, data[1]);
	python_gives_json(text);
	return 0;
}
