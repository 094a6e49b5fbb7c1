/*
 * sse_fuzz.c - a provider may send any bytes, cut anywhere.
 *
 * Properties: however the bytes are cut, the same events are found; and the raw spans, one after the
 * other, are the bytes that came.  The first byte chooses the cuts.
 */
#include "wire/sse.h"

#include "../../lib/fuzz.h"
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20)

struct found {
	struct bytes events, raw;
	bool in_long;
};

static bool
note(void *ctx, const struct sse_event *e)
{
	struct found *f = ctx;

	must(bytes_add(&f->raw, e->raw.at, e->raw.len) == 0);
	must(e->too_long || e->ended);
	if (e->too_long) {
		must(e->name.len == 0 && e->data.len == 0);
		f->in_long = !e->ended;
		if (!e->ended)
			return true; /* pieces depend on the cuts, their end does not */
	}
	note_span(&f->events, e->name);
	note_span(&f->events, e->data);
	must(bytes_add(&f->events, e->too_long ? "L" : "S", 1) == 0);
	if (!e->too_long)
		note_span(&f->events, e->raw);
	return true;
}

static void
feed(struct sse *s, const char *data, size_t len, struct found *f)
{
	/* A copy of its own, so that the sanitizer sees a look past its end. */
	char *exact = malloc(len == 0 ? 1 : len);

	must(exact != NULL);
	memcpy(exact, data, len);
	must(sse_feed(s, exact, len, note, f) == (ptrdiff_t)len);
	free(exact);
}

static void
read_in_steps(const char *data, size_t size, size_t step, uint32_t vary, struct found *f)
{
	struct sse s;

	*f = (struct found){ .events = BYTES_LIMIT(MOST_BYTES), .raw = BYTES_LIMIT(MOST_BYTES) };
	sse_init(&s);
	for (size_t at = 0, n; at < size; at += n) {
		n = cut_next(step, &vary, size - at);
		feed(&s, data + at, n, f);
	}
	must(sse_end(&s, note, f) == 0);
	sse_free(&s);
	must(!f->in_long);
	must(f->raw.len == size && (size == 0 || memcmp(f->raw.at, data, size) == 0));
}

static void
same(const struct found *a, struct found *b)
{
	must(same_bytes(&a->events, &b->events));
	bytes_free(&b->events);
	bytes_free(&b->raw);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct found whole, cut;

	if (size == 0)
		return 0;
	size--;
	read_in_steps(text, size, size + 1, 0, &whole);
	read_in_steps(text, size, 1, 0, &cut);
	same(&whole, &cut);
	read_in_steps(text, size, 1u + data[0], (uint32_t)data[0] + 1, &cut);
	same(&whole, &cut);
	bytes_free(&whole.events);
	bytes_free(&whole.raw);
	return 0;
}
