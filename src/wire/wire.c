/*
 * wire.c - small readers of JSON that the files of this room share.
 */
#include "wire/wire-int.h"

#include <string.h>

#define NEAR_BYTES 64 /* a call for fewer costs more than it saves */

struct span
wire_key(struct span key, char room[WIRE_KEY_BYTES])
{
	struct json_value quoted = { JSON_STRING, { key.at - 1, key.len + 2 } };
	ptrdiff_t len;

	if (memchr(key.at, '\\', key.len) == NULL)
		return key;
	len = json_string(quoted, room, WIRE_KEY_BYTES);
	return len < 0 ? key : (struct span){ room, (size_t)len };
}

/* As much of a string's inside, by whole escapes, as fits in most bytes. */
static size_t
whole_escapes(struct span inside, size_t most)
{
	size_t at = 0;

	while (at < inside.len) {
		size_t step = 1;

		if (inside.at[at] == '\\' && at + 1 < inside.len)
			step = inside.at[at + 1] == 'u' ? 6 : 2;
		/* Both halves of a surrogate pair, or none. */
		if (step == 6 && at + 12 <= inside.len && (inside.at[at + 2] | 0x20) == 'd' &&
			strchr("89abAB", inside.at[at + 3]) != NULL)
			step = 12;
		if (at + step > most || at + step > inside.len)
			break;
		at += step;
	}
	return at;
}

void
wire_copy_string(struct json_value v, char *out, size_t room)
{
	/* An escape is at most six bytes for one, so this is enough to fill any room. */
	char quoted[6 * WIRE_CUT_MAX + 16], decoded[sizeof quoted];
	struct span inside, text;
	size_t cut;
	ptrdiff_t got;

	out[0] = '\0';
	if (v.type != JSON_STRING || v.raw.len < 2)
		return;
	inside = (struct span){ v.raw.at + 1, v.raw.len - 2 };
	cut = whole_escapes(inside, sizeof quoted - 2);
	quoted[0] = '"';
	memcpy(quoted + 1, inside.at, cut);
	quoted[cut + 1] = '"';
	got = json_string(
		(struct json_value){ JSON_STRING, { quoted, cut + 2 } }, decoded, sizeof decoded);
	/* Half a surrogate pair: better the escapes as they stand than nothing. */
	text = got < 0 ? inside : (struct span){ decoded, (size_t)got };

	cut = text.len;
	if (cut > room - 1)
		for (cut = room - 1; cut > 0 && ((unsigned char)text.at[cut] & 0xC0) == 0x80;)
			cut--;
	for (size_t i = 0; i < cut; i++)
		out[i] = (unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7F ? ' ' : text.at[i];
	out[cut] = '\0';
}

/* Is the byte at p taken by a backslash?  start: of the string's inside. */
static bool
is_escaped(const char *p, const char *start)
{
	const char *run = p;

	while (run > start && run[-1] == '\\')
		run--;
	return (p - run) % 2 != 0;
}

/* Quotes alone are looked for: there are fewer of them than of backslashes. */
const char *
wire_string_end(const char *at, const char *end)
{
	const char *p = at;

	while (end - p >= LANES && p - at < NEAR_BYTES) {
		uint32_t quotes = lanes_bits((lanes)(lanes_at(p) == '"'));

		for (; quotes != 0; quotes &= quotes - 1) {
			const char *quote = p + __builtin_ctz(quotes);

			if (!is_escaped(quote, at))
				return quote + 1;
		}
		p += LANES;
	}
	for (; p < end && (p = memchr(p, '"', (size_t)(end - p))) != NULL; p++)
		if (!is_escaped(p, at))
			return p + 1;
	return end;
}
