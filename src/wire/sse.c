/*
 * sse.c - finds where events end, line by line, then reads the fields of a whole event.
 *
 * What is known about the unfinished line is kept in a few words, so no byte is looked at again
 * when the next ones come.  Bytes are copied only when an event does not lie wholly in one feed.
 *
 * A CR may be half of a CRLF whose LF comes with the next feed.  An event closed by a CR waits for
 * the byte behind it, unless its line before ended in a CR alone: whoever writes lone CRs would
 * otherwise be kept waiting for his next event.  Only bytes decide, never where they were cut.
 */
#include "wire/sse.h"

#include <string.h>

#define KEEP_BYTES ((size_t)16 * 1024) /* buffers that grew larger are given back */

/* Where the next line ends; for each kind of end every byte is looked at once. */
struct ends {
	const char *lf, *cr, *end;
};

void
sse_init(struct sse *s)
{
	sse_init_max(s, SSE_EVENT_MAX);
}

void
sse_init_max(struct sse *s, size_t event_max)
{
	*s = (struct sse){
		.raw = BYTES_LIMIT(event_max),
		.data = BYTES_LIMIT(event_max),
		.mark_ahead = true,
	};
}

void
sse_free(struct sse *s)
{
	bytes_free(&s->raw);
	bytes_free(&s->data);
}

static const char *
find(const char *from, const char *end, char c)
{
	const char *at = from == end ? NULL : memchr(from, c, (size_t)(end - from));

	return at == NULL ? end : at;
}

static struct ends
ends_from(const char *from, const char *end)
{
	return (struct ends){ find(from, end, '\n'), find(from, end, '\r'), end };
}

static const char *
line_end(struct ends *e, const char *from)
{
	if (e->lf < from)
		e->lf = find(from, e->end, '\n');
	if (e->cr < from)
		e->cr = find(from, e->end, '\r');
	return e->lf < e->cr ? e->lf : e->cr;
}

static const char *
skip_mark(const char *at, const char *end)
{
	return end - at >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0 ? at + 3 : at;
}

/* ---- the fields of a whole event ---- */

/* The value behind "name:", less one blank. */
static bool
field(struct span line, const char *name, size_t name_len, struct span *value)
{
	if (line.len < name_len || memcmp(line.at, name, name_len) != 0)
		return false;
	*value = (struct span){ line.at + name_len, line.len - name_len };
	if (value->len == 0)
		return true;
	if (*value->at != ':')
		return false;
	value->at++, value->len--;
	if (value->len > 0 && *value->at == ' ')
		value->at++, value->len--;
	return true;
}

static int
read_fields(struct sse *s, struct sse_event *e)
{
	const char *end = e->raw.at + e->raw.len, *p = e->raw.at;
	struct ends ends = ends_from(p, end);
	int data_lines = 0;

	if (s->mark_ahead)
		p = skip_mark(p, end);
	while (p < end) {
		const char *q = line_end(&ends, p);
		struct span line = { p, (size_t)(q - p) }, value;

		p = q < end ? q + 1 : q;
		if (field(line, "data", 4, &value)) {
			if (data_lines++ == 0) {
				e->data = value;
				continue;
			}
			if (data_lines == 2) {
				bytes_drop(&s->data, s->data.len);
				bytes_add(&s->data, e->data.at, e->data.len);
			}
			bytes_add(&s->data, "\n", 1);
			bytes_add(&s->data, value.at, value.len);
		} else if (field(line, "event", 5, &value)) {
			e->name = value;
		}
	}
	if (data_lines > 1) {
		if (s->data.failed)
			return -1;
		e->data = bytes_span(&s->data);
	}
	return 0;
}

/* ---- giving ---- */

static void
empty(struct bytes *b)
{
	if (b->room > KEEP_BYTES)
		bytes_free(b);
	else
		b->len = 0;
}

static void
give_piece(struct sse *s, struct span raw, bool (*fn)(void *, const struct sse_event *), void *ctx)
{
	struct sse_event e = { .raw = raw, .too_long = true };

	s->overflowed = true;
	if (raw.len > 0)
		(void)fn(ctx, &e);
}

/* The current event ends with `rest`.  1 go on, 0 stop, -1 out of memory. */
static int
give(struct sse *s, struct span rest, bool (*fn)(void *, const struct sse_event *), void *ctx)
{
	struct sse_event e = { .raw = rest, .ended = true };
	bool more;

	if (!s->overflowed && s->raw.len + rest.len > s->raw.limit)
		give_piece(s, bytes_span(&s->raw), fn, ctx);
	e.too_long = s->overflowed;
	if (!s->overflowed) {
		if (s->raw.len > 0) {
			if (bytes_add(&s->raw, rest.at, rest.len) != 0)
				return -1;
			e.raw = bytes_span(&s->raw);
		}
		if (s->any_field && read_fields(s, &e) != 0)
			return -1;
	}
	s->overflowed = s->any_field = s->mark_ahead = false;
	more = fn(ctx, &e);
	empty(&s->raw);
	empty(&s->data);
	return more ? 1 : 0;
}

/* `rest` belongs to an event that goes on. */
static int
keep(struct sse *s, struct span rest, bool (*fn)(void *, const struct sse_event *), void *ctx)
{
	if (!s->overflowed && s->raw.len + rest.len <= s->raw.limit)
		return rest.len == 0 ? 0 : bytes_add(&s->raw, rest.at, rest.len);
	if (!s->overflowed) {
		give_piece(s, bytes_span(&s->raw), fn, ctx);
		empty(&s->raw);
	}
	give_piece(s, rest, fn, ctx);
	return 0;
}

/* ---- lines ---- */

static void
grow_line(struct sse *s, const char *at, const char *end)
{
	/* Once in the life of a stream: its first three bytes. */
	for (; s->mark >= 0 && at < end; at++) {
		if (*at != "\xEF\xBB\xBF"[s->mark]) {
			s->mark = -1;
			break;
		}
		if (s->line_len++ == 0)
			s->line_first = *at;
		if (++s->mark == 3) {
			s->mark = -1;
			s->line_len = 0;
		}
	}
	if (at < end && s->line_len == 0)
		s->line_first = *at;
	s->line_len += (size_t)(end - at);
}

/* True when the line that ends here completes something to be given. */
static bool
end_line(struct sse *s)
{
	bool blank = s->line_len == 0, comment = !blank && s->line_first == ':';

	s->line_len = 0;
	s->mark = -1;
	if (!blank && !comment)
		s->any_field = true;
	return blank || (comment && !s->any_field);
}

ptrdiff_t
sse_feed(struct sse *s, const char *data, size_t len,
	bool (*fn)(void *ctx, const struct sse_event *e), void *ctx)
{
	const char *from = data, *p = data; /* from: of the current event */
	const char *end = len == 0 ? data : data + len;
	struct ends ends;

	if (len == 0)
		return 0;
	ends = ends_from(data, end);
	while (p < end) {
		const char *q;
		bool due;

		if (s->after_cr) {
			s->after_cr = false;
			s->lone_cr = *p != '\n';
			if (!s->lone_cr)
				p++;
			due = s->due;
			s->due = false;
		} else {
			q = line_end(&ends, p);
			grow_line(s, p, q);
			p = q;
			if (q == end)
				break;
			p++;
			due = end_line(s);
			if (*q == '\n') {
				s->lone_cr = false;
			} else {
				s->after_cr = true;
				s->due = due && !s->lone_cr;
				due = due && s->lone_cr;
			}
		}
		if (due) {
			int rc = give(s, (struct span){ from, (size_t)(p - from) }, fn, ctx);

			from = p;
			s->lone_cr = false;
			if (rc <= 0)
				return rc < 0 ? -1 : p - data;
		}
	}
	if (keep(s, (struct span){ from, (size_t)(end - from) }, fn, ctx) != 0)
		return -1;
	return (ptrdiff_t)len;
}

int
sse_end(struct sse *s, bool (*fn)(void *ctx, const struct sse_event *e), void *ctx)
{
	if (s->line_len > 0)
		(void)end_line(s);
	s->after_cr = s->due = false;
	if (s->raw.len == 0 && !s->overflowed)
		return 0;
	return give(s, SPAN_LIT(""), fn, ctx) < 0 ? -1 : 0;
}
