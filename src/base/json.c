/*
 * json.c - a checker that walks, and a reader on top of it.
 *
 * One pass, a bit for each open bracket instead of recursion.  Nearly all bytes of a chat request
 * are inside strings, so only the scan of strings is tuned.
 */
#include "base/json.h"

#include "base/decimal-int.h"
#include "base/lanes.h"
#include <string.h>

/* What is being read, and where; on failure `at` is the offending byte. */
struct scan {
	const char *at;
	const char *end;
};

static void
skip_blanks(struct scan *s)
{
	while (s->at < s->end &&
		(*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
		s->at++;
}

static bool
take(struct scan *s, char c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

/* ---- strings ---- */

/* Set where a byte ends a run: quote, backslash, control character. */
static inline lanes
stops_of(lanes v)
{
	return (lanes)(v == '"') | (lanes)(v == '\\') | (lanes)(v < 0x20);
}

static inline bool
is_stop(char c)
{
	return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

static const char *
skip_plain(const char *p, const char *end)
{
	while (end - p >= LANES) {
		uint32_t stops = lanes_bits(stops_of(lanes_at(p)));

		if (stops != 0)
			return p + __builtin_ctz(stops);
		p += LANES;
		while (end - p >= 4 * LANES &&
			!lanes_any(stops_of(lanes_at(p)) | stops_of(lanes_at(p + LANES)) |
				   stops_of(lanes_at(p + 2 * LANES)) |
				   stops_of(lanes_at(p + 3 * LANES))))
			p += 4 * LANES;
	}
	while (p < end && !is_stop(*p))
		p++;
	return p;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four hexadecimal digits, or -1 with at on the first that is none. */
static int
take_hex4(struct scan *s)
{
	int value = 0;

	for (int i = 0; i < 4; i++, s->at++) {
		int d = s->at < s->end ? hex_digit(*s->at) : -1;

		if (d < 0)
			return -1;
		value = value << 4 | d;
	}
	return value;
}

/* Byte by byte from where s stands, within the string: the one that tells where it is wrong. */
static bool
skip_inside(struct scan *s)
{
	for (;;) {
		s->at = skip_plain(s->at, s->end);
		if (s->at == s->end || (*s->at != '"' && *s->at != '\\'))
			return false;
		if (*s->at++ == '"')
			return true;
		if (s->at == s->end)
			return false;
		switch (*s->at) {
		case '"':
		case '\\':
		case '/':
		case 'b':
		case 'f':
		case 'n':
		case 'r':
		case 't':
			s->at++;
			break;
		case 'u':
			s->at++;
			if (take_hex4(s) < 0)
				return false;
			break;
		default:
			return false;
		}
	}
}

/* 64 bytes of a string's inside, a bit for each. */
struct block {
	uint64_t quotes, slashes, controls;
	uint64_t letters; /* n and t: with quotes, nearly all that is escaped in texts */
};

/* False: nothing in it ends, escapes or is wrong. */
static inline bool
block_read(const char *p, struct block *out)
{
	lanes a = lanes_at(p), b = lanes_at(p + LANES), c = lanes_at(p + 2 * LANES),
	      d = lanes_at(p + 3 * LANES);

	if (!lanes_any(stops_of(a) | stops_of(b) | stops_of(c) | stops_of(d)))
		return false;
	out->quotes = lanes_bits64(
		(lanes)(a == '"'), (lanes)(b == '"'), (lanes)(c == '"'), (lanes)(d == '"'));
	out->slashes = lanes_bits64(
		(lanes)(a == '\\'), (lanes)(b == '\\'), (lanes)(c == '\\'), (lanes)(d == '\\'));
	out->controls = lanes_bits64(
		(lanes)(a < 0x20), (lanes)(b < 0x20), (lanes)(c < 0x20), (lanes)(d < 0x20));
	out->letters = lanes_bits64((lanes)(a == 'n') | (lanes)(a == 't'),
		(lanes)(b == 'n') | (lanes)(b == 't'), (lanes)(c == 'n') | (lanes)(c == 't'),
		(lanes)(d == 'n') | (lanes)(d == 't'));
	return true;
}

/* Is it an escape, its backslash at p?  Wrong is also what the end cuts. */
static inline bool
is_escape(const char *p, const char *end)
{
	static const bool letters[256] = { ['"'] = true,
		['\\'] = true,
		['/'] = true,
		['b'] = true,
		['f'] = true,
		['n'] = true,
		['r'] = true,
		['t'] = true };

	if (end - p < 2)
		return false;
	if (p[1] != 'u')
		return letters[(unsigned char)p[1]];
	return end - p >= 6 && hex_digit(p[2]) >= 0 && hex_digit(p[3]) >= 0 &&
	       hex_digit(p[4]) >= 0 && hex_digit(p[5]) >= 0;
}

/*
 * Escapes in long texts are many and stand anywhere, so a branch on each would be guessed wrong.
 * Here all of a block's bytes are looked at before the first branch.
 */
static bool
skip_long(struct scan *s)
{
	uint64_t used = 0; /* the first byte belongs to an escape of the block before */

	for (; s->end - s->at >= 64; s->at += 64) {
		const char *behind = s->at + (used != 0);
		struct block b;

		if (!block_read(s->at, &b)) {
			used = 0;
			continue;
		}
		b.quotes &= ~used;
		b.slashes &= ~used;
		used = 0;
		/* all at once, where none stands beside another or at the end */
		if ((b.slashes & (b.slashes << 1)) == 0 && b.slashes >> 63 == 0 &&
			(b.slashes << 1 & ~(b.letters | b.quotes)) == 0) {
			b.quotes &= ~(b.slashes << 1);
			b.slashes = 0;
		}
		/* each backslash in front of the first quote takes the byte behind it */
		while (b.slashes != 0 && (b.quotes & (b.slashes ^ (b.slashes - 1))) == 0) {
			int i = __builtin_ctzll(b.slashes);

			if (!is_escape(s->at + i, s->end)) {
				s->at = behind;
				return skip_inside(s);
			}
			b.slashes &= ~((uint64_t)3 << i);
			b.quotes &= ~((uint64_t)3 << i);
			used = (uint64_t)i / 63;
		}
		/* (x & -x) - 1: what stands in front of the first; all, where there is none */
		if ((b.controls & ((b.quotes & -b.quotes) - 1)) != 0) {
			s->at = behind;
			return skip_inside(s);
		}
		if (b.quotes != 0) {
			s->at += __builtin_ctzll(b.quotes) + 1;
			return true;
		}
	}
	s->at += used;
	return skip_inside(s);
}

static bool
skip_string(struct scan *s)
{
	if (!take(s, '"'))
		return false;
	/* Most strings are names and short words. */
	if (s->end - s->at >= LANES) {
		uint32_t stops = lanes_bits(stops_of(lanes_at(s->at)));
		int first = stops == 0 ? 0 : __builtin_ctz(stops);

		if (stops != 0 && s->at[first] == '"') {
			s->at += first + 1;
			return true;
		}
		return skip_long(s);
	}
	return skip_inside(s);
}

/* ---- values ---- */

static bool
skip_digits(struct scan *s)
{
	const char *from = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return s->at > from;
}

static bool
skip_number(struct scan *s)
{
	(void)take(s, '-');
	if (!take(s, '0') && !skip_digits(s))
		return false;
	if (take(s, '.') && !skip_digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '-'))
			(void)take(s, '+');
		return skip_digits(s);
	}
	return true;
}

static bool
skip_word(struct scan *s, const char *word)
{
	for (; *word != '\0'; word++)
		if (!take(s, *word))
			return false;
	return true;
}

static enum json_type
type_of(char first)
{
	switch (first) {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't':
		return JSON_TRUE;
	case 'f':
		return JSON_FALSE;
	case 'n':
		return JSON_NULL;
	default:
		return first == '-' || (first >= '0' && first <= '9') ? JSON_NUMBER : JSON_NONE;
	}
}

/* What is open: one bit each, 1 for an object. */
struct nest {
	unsigned char bits[JSON_DEPTH_MAX / 8];
	unsigned int depth;
};

static bool
nest_open(struct nest *n, bool object)
{
	unsigned char bit = (unsigned char)(1u << (n->depth & 7));

	if (n->depth == JSON_DEPTH_MAX)
		return false;
	if (object)
		n->bits[n->depth >> 3] |= bit;
	else
		n->bits[n->depth >> 3] &= (unsigned char)~bit;
	n->depth++;
	return true;
}

static bool
nest_in_object(const struct nest *n)
{
	return (n->bits[(n->depth - 1) >> 3] >> ((n->depth - 1) & 7) & 1) != 0;
}

static bool
skip_scalar(struct scan *s)
{
	switch (s->at < s->end ? type_of(*s->at) : JSON_NONE) {
	case JSON_STRING:
		return skip_string(s);
	case JSON_NUMBER:
		return skip_number(s);
	case JSON_TRUE:
		return skip_word(s, "true");
	case JSON_FALSE:
		return skip_word(s, "false");
	case JSON_NULL:
		return skip_word(s, "null");
	default:
		return false;
	}
}

static bool
skip_name(struct scan *s)
{
	if (!skip_string(s))
		return false;
	skip_blanks(s);
	if (!take(s, ':'))
		return false;
	skip_blanks(s);
	return true;
}

/* One value, from its first byte to behind its last; `outer` brackets are open around it. */
static bool
skip_value(struct scan *s, unsigned int outer)
{
	struct nest nest = { .depth = outer };

	for (;;) {
		/* At a value. */
		bool object = s->at < s->end && *s->at == '{';

		if (object || (s->at < s->end && *s->at == '[')) {
			if (!nest_open(&nest, object))
				return false;
			s->at++;
			skip_blanks(s);
			if (!take(s, object ? '}' : ']')) {
				if (object && !skip_name(s))
					return false;
				continue;
			}
			nest.depth--;
		} else if (!skip_scalar(s)) {
			return false;
		}

		/* Behind a value: close what ends here, then on to the next one. */
		for (;;) {
			if (nest.depth == outer)
				return true;
			object = nest_in_object(&nest);
			skip_blanks(s);
			if (!take(s, object ? '}' : ']'))
				break;
			nest.depth--;
		}
		if (!take(s, ','))
			return false;
		skip_blanks(s);
		if (object && !skip_name(s))
			return false;
	}
}

/* ---- members and elements ---- */

typedef bool visit(void *ctx, const struct json_member *m);

/* 1 when fn ended the walk, 0 at the end of the text, -1 when it is not valid. */
static int
walk(struct scan *s, bool object, visit *fn, void *ctx)
{
	const char *text = s->at;
	char close = object ? '}' : ']';

	skip_blanks(s);
	if (!take(s, object ? '{' : '['))
		return -1;
	skip_blanks(s);
	if (!take(s, close)) {
		do {
			struct json_member m = { .key = SPAN_NONE };
			const char *from;

			skip_blanks(s);
			from = s->at;
			m.start = (size_t)(from - text);
			if (object) {
				if (!skip_string(s))
					return -1;
				m.key = (struct span){ from + 1, (size_t)(s->at - from) - 2 };
				skip_blanks(s);
				if (!take(s, ':'))
					return -1;
				skip_blanks(s);
				from = s->at;
			}
			if (!skip_value(s, 1))
				return -1;
			m.value.type = type_of(*from);
			m.value.raw = (struct span){ from, (size_t)(s->at - from) };
			m.end = (size_t)(s->at - text);
			if (!fn(ctx, &m))
				return 1;
			skip_blanks(s);
		} while (take(s, ','));
		if (!take(s, close))
			return -1;
	}
	skip_blanks(s);
	return s->at == s->end ? 0 : -1;
}

static int
each(struct span text, bool object, visit *fn, void *ctx, size_t *at_byte)
{
	/* Arithmetic on a null pointer is undefined, even by zero. */
	const char *at = text.len == 0 ? "" : text.at;
	struct scan s = { at, at + text.len };

	if (walk(&s, object, fn, ctx) >= 0)
		return 0;
	if (at_byte != NULL)
		*at_byte = (size_t)(s.at - at);
	return -1;
}

int
json_each(struct span text, bool (*fn)(void *ctx, const struct json_member *m), void *ctx,
	size_t *at_byte)
{
	return each(text, true, fn, ctx, at_byte);
}

int
json_each_element(struct span text, bool (*fn)(void *ctx, const struct json_member *m), void *ctx,
	size_t *at_byte)
{
	return each(text, false, fn, ctx, at_byte);
}

bool
json_valid(struct span text)
{
	const char *at = text.len == 0 ? "" : text.at;
	struct scan s = { at, at + text.len };

	skip_blanks(&s);
	if (!skip_value(&s, 0))
		return false;
	skip_blanks(&s);
	return s.at == s.end;
}

/* ---- decoding ---- */

/* The code point of the escape whose backslash is behind us; -1 when there is none, and for half
 * a surrogate pair, which has no UTF-8. */
static int32_t
take_escape(struct scan *s)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *name;
	int32_t high, low;

	if (s->at == s->end)
		return -1;
	if (*s->at != 'u') {
		name = *s->at == '\0' ? NULL : strchr(names, *s->at);
		s->at++;
		return name == NULL ? -1 : values[name - names];
	}
	s->at++;
	high = take_hex4(s);
	if (high < 0xD800 || high > 0xDFFF)
		return high;
	if (high > 0xDBFF || !take(s, '\\') || !take(s, 'u'))
		return -1;
	low = take_hex4(s);
	if (low < 0xDC00 || low > 0xDFFF)
		return -1;
	return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static size_t
utf8_write(int32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3F));
	out[2] = (char)(0x80 | (c >> 6 & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

/* The next run of decoded bytes of a string's inside: a plain run as it stands, or one escape in
 * `room`.  1, 0 at the end, -1 when it is not valid. */
static int
next_run(struct scan *s, char room[4], struct span *run)
{
	const char *from = s->at;
	int32_t c;

	if (s->at == s->end)
		return 0;
	s->at = skip_plain(from, s->end);
	if (s->at > from) {
		*run = (struct span){ from, (size_t)(s->at - from) };
		return 1;
	}
	if (!take(s, '\\') || (c = take_escape(s)) < 0)
		return -1;
	*run = (struct span){ room, utf8_write(c, room) };
	return 1;
}

static bool
key_is(struct span key, struct span name)
{
	struct scan s = { key.at, key.at + key.len };
	struct span run;
	char room[4];
	int got;

	if (key.len < name.len)
		return false; /* decoding only shortens */
	while ((got = next_run(&s, room, &run)) == 1) {
		if (run.len > name.len || memcmp(run.at, name.at, run.len) != 0)
			return false;
		name.at += run.len;
		name.len -= run.len;
	}
	return got == 0 && name.len == 0;
}

struct wanted {
	struct span name;
	struct json_value found;
};

static bool
keep_if_wanted(void *ctx, const struct json_member *m)
{
	struct wanted *w = ctx;

	if (key_is(m->key, w->name))
		w->found = m->value;
	return true;
}

static struct json_value
get(struct span object, struct span name)
{
	struct wanted w = { .name = name };

	if (json_each(object, keep_if_wanted, &w, NULL) != 0)
		return (struct json_value){ .type = JSON_NONE };
	return w.found;
}

struct json_value
json_get(struct span object, const char *name)
{
	return get(object, span_of(name));
}

struct json_value
json_path(struct span object, const char *path)
{
	for (;;) {
		size_t len = strcspn(path, ".");
		struct json_value v = get(object, (struct span){ path, len });

		if (path[len] == '\0' || v.type == JSON_NONE)
			return v;
		object = v.raw;
		path += len + 1;
	}
}

ptrdiff_t
json_string(struct json_value v, char *out, size_t out_bytes)
{
	struct span run = v.raw;
	struct scan s;
	size_t len = 0;
	char room[4];
	int got;

	if (v.type != JSON_STRING || run.len < 2 || run.at[0] != '"' || run.at[run.len - 1] != '"')
		return -1;
	s = (struct scan){ run.at + 1, run.at + run.len - 1 };
	while ((got = next_run(&s, room, &run)) == 1) {
		/* Callers compare with C strings: an inner NUL would hide what follows it. */
		if (run.len == 1 && run.at[0] == '\0')
			return -1;
		if (out_bytes - len <= run.len)
			return -1;
		memcpy(out + len, run.at, run.len);
		len += run.len;
	}
	if (got < 0 || out_bytes == 0 || len > PTRDIFF_MAX)
		return -1;
	out[len] = '\0';
	return (ptrdiff_t)len;
}

/* ---- numbers ---- */

int
json_int(struct json_value v, int64_t *out)
{
	struct scan s;
	struct decimal d;

	if (v.type != JSON_NUMBER)
		return -1;
	s = (struct scan){ v.raw.at, v.raw.at + v.raw.len };
	if (!skip_number(&s) || s.at != s.end)
		return -1;
	return decimal_read(v.raw, &d) == 0 ? decimal_scale(&d, 0, out) : -1;
}
