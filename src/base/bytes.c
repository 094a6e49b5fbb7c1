/*
 * bytes.c - spans, patterns, and the growing buffer.
 */
#include "base/bytes.h"

#include "base/lanes.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIRST_ROOM 64 /* bytes; doubled from there */

struct span
span_of(const char *s)
{
	return s == NULL ? SPAN_NONE : (struct span){ s, strlen(s) };
}

bool
span_is(struct span s, const char *text)
{
	size_t len = strlen(text);

	return s.len == len && (len == 0 || memcmp(s.at, text, len) == 0);
}

/* By hand, because strncasecmp stops at a NUL and follows the locale. */
static unsigned char
lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool
span_is_nocase(struct span s, const char *text)
{
	if (s.len != strlen(text))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (lower(s.at[i]) != lower(text[i]))
			return false;
	return true;
}

bool
span_starts(struct span s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && (len == 0 || memcmp(s.at, prefix, len) == 0);
}

bool
span_ends(struct span s, const char *suffix)
{
	size_t len = strlen(suffix);

	return s.len >= len && (len == 0 || memcmp(s.at + s.len - len, suffix, len) == 0);
}

bool
span_copy(struct span s, char *dst, size_t dst_bytes)
{
	size_t len;

	if (dst_bytes == 0)
		return s.len == 0;
	len = s.len < dst_bytes ? s.len : dst_bytes - 1;
	if (len > 0)
		memcpy(dst, s.at, len);
	dst[len] = '\0';
	return len == s.len;
}

/*
 * Only the last star is ever tried again: what an earlier star could take more, the last one can
 * take too.  So the steps are at most pattern times text, whatever the pattern.
 */
static bool
glob(struct span pattern, struct span text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, retry = 0;

	while (t < text.len) {
		if (p < pattern.len && pattern.at[p] == '*') {
			star = p++;
			retry = t;
		} else if (p < pattern.len &&
			   (pattern.at[p] == '?' || pattern.at[p] == text.at[t])) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++retry;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.at[p] == '*')
		p++;
	return p == pattern.len;
}

bool
glob_match(const char *pattern, struct span text)
{
	return glob(span_of(pattern), text);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

bool
glob_list_match(const char *patterns, struct span text)
{
	bool any = false;

	for (const char *p = patterns; p != NULL && *p != '\0';) {
		size_t len = strcspn(p, ",\n");
		struct span item = { p, len };

		p += len + (p[len] != '\0');
		while (item.len > 0 && is_blank(item.at[0])) {
			item.at++;
			item.len--;
		}
		while (item.len > 0 && is_blank(item.at[item.len - 1]))
			item.len--;
		if (item.len == 0)
			continue;
		if (glob(item, text))
			return true;
		any = true;
	}
	return !any;
}

/* Makes room for `more` bytes and a NUL. */
static int
reserve(struct bytes *b, size_t more)
{
	size_t need, room;
	char *at;

	if (b->failed)
		return -1;
	if (b->len > b->limit || more > b->limit - b->len || b->limit == SIZE_MAX)
		goto fail;
	need = b->len + more + 1;
	if (need <= b->room)
		return 0;
	room = b->room < FIRST_ROOM ? FIRST_ROOM : b->room;
	while (room < need)
		room = room > SIZE_MAX / 2 ? need : room * 2;
	if (room > b->limit + 1)
		room = b->limit + 1;
	at = realloc(b->at, room);
	if (at == NULL)
		goto fail;
	b->at = at;
	b->room = room;
	return 0;

fail:
	b->failed = true;
	return -1;
}

void
bytes_expect(struct bytes *b, size_t more)
{
	char *at;

	if (b->failed || b->limit == SIZE_MAX || b->len > b->limit)
		return;
	if (more > b->limit - b->len)
		more = b->limit - b->len;
	if (b->len + more + 1 <= b->room || (at = realloc(b->at, b->len + more + 1)) == NULL)
		return;
	b->at = at;
	b->room = b->len + more + 1;
	b->at[b->len] = '\0';
}

int
bytes_add(struct bytes *b, const void *data, size_t len)
{
	if (reserve(b, len) != 0)
		return -1;
	if (len > 0)
		memcpy(b->at + b->len, data, len);
	b->len += len;
	b->at[b->len] = '\0';
	return 0;
}

int
bytes_puts(struct bytes *b, const char *s)
{
	return bytes_add(b, s, strlen(s));
}

int
bytes_printf(struct bytes *b, const char *fmt, ...)
{
	va_list args, again;
	size_t room;
	int len;

	if (b->failed)
		return -1;
	va_start(args, fmt);
	va_copy(again, args);
	room = b->at == NULL ? 0 : b->room - b->len;
	len = vsnprintf(room == 0 ? NULL : b->at + b->len, room, fmt, args);
	if (len < 0) {
		b->failed = true;
	} else if (reserve(b, (size_t)len) == 0) {
		if ((size_t)len >= room)
			(void)vsnprintf(b->at + b->len, (size_t)len + 1, fmt, again);
		b->len += (size_t)len;
	}
	if (b->failed && room > 0)
		b->at[b->len] = '\0'; /* the first try may have written behind the end */
	va_end(again);
	va_end(args);
	return b->failed ? -1 : 0;
}

/* Bytes of the valid UTF-8 character at s, 0 when there is none (overlong forms, surrogates and
 * what lies beyond U+10FFFF are none). */
static size_t
utf8_length(const unsigned char *s, size_t len)
{
	unsigned char lead = s[0];

	if (lead < 0x80)
		return 1;
	if (lead < 0xC2 || len < 2 || (s[1] & 0xC0) != 0x80)
		return 0;
	if (lead < 0xE0)
		return 2;
	if (lead < 0xF0) {
		if ((lead == 0xE0 && s[1] < 0xA0) || (lead == 0xED && s[1] > 0x9F))
			return 0;
		return len >= 3 && (s[2] & 0xC0) == 0x80 ? 3 : 0;
	}
	if (lead > 0xF4 || (lead == 0xF0 && s[1] < 0x90) || (lead == 0xF4 && s[1] > 0x8F))
		return 0;
	return len >= 4 && (s[2] & 0xC0) == 0x80 && (s[3] & 0xC0) == 0x80 ? 4 : 0;
}

static void
add_escape(struct bytes *b, unsigned char c)
{
	static const char letters[32] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'
	};
	char two[2] = { '\\', (char)c };

	if (c < 0x20 && letters[c] == '\0') {
		(void)bytes_printf(b, "\\u%04x", c);
		return;
	}
	if (c < 0x20)
		two[1] = letters[c];
	(void)bytes_add(b, two, sizeof two);
}

/* The first byte that cannot be copied as it is, or end. */
static const char *
skip_clean(const char *p, const char *end)
{
	while (end - p >= LANES) {
		lanes v = lanes_at(p);
		uint32_t stops = lanes_bits((lanes)(v == '"') | (lanes)(v == '\\') |
					    (lanes)(v < 0x20) | (lanes)(v > 0x7F));

		if (stops != 0)
			return p + __builtin_ctz(stops);
		p += LANES;
	}
	while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' && (unsigned char)*p < 0x80)
		p++;
	return p;
}

int
bytes_json_inside(struct bytes *b, struct span s)
{
	const char *clean = s.at; /* start of what can be copied as it is */
	const char *p = s.at, *end = s.len == 0 ? s.at : s.at + s.len;

	while ((p = skip_clean(p, end)) < end && !b->failed) {
		size_t n = utf8_length((const unsigned char *)p, (size_t)(end - p));

		if (n > 1) {
			p += n;
			continue;
		}
		(void)bytes_add(b, clean, (size_t)(p - clean));
		if (n == 0)
			(void)bytes_puts(b, "\xEF\xBF\xBD");
		else
			add_escape(b, (unsigned char)*p);
		clean = ++p;
	}
	if (clean < end)
		(void)bytes_add(b, clean, (size_t)(end - clean));
	return b->failed ? -1 : 0;
}

int
bytes_json(struct bytes *b, struct span s)
{
	(void)bytes_add(b, "\"", 1);
	(void)bytes_json_inside(b, s);
	return bytes_add(b, "\"", 1);
}

void
bytes_drop(struct bytes *b, size_t n)
{
	if (n == 0 || b->at == NULL)
		return;
	if (n > b->len)
		n = b->len;
	memmove(b->at, b->at + n, b->len - n);
	b->len -= n;
	b->at[b->len] = '\0';
}

void
bytes_free(struct bytes *b)
{
	free(b->at);
	*b = BYTES_LIMIT(b->limit);
}

struct span
bytes_span(const struct bytes *b)
{
	return (struct span){ b->at, b->len };
}
