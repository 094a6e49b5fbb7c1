/*
 * wire.c - small readers of JSON that the files of this room share.
 */
#include "wire/wire-int.h"

#include <string.h>

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

static inline lanes
stops_at(const char *p)
{
	lanes v;

	memcpy(&v, p, sizeof v);
	return (lanes)(v == '"') | (lanes)(v == '\\');
}

const char *
wire_string_end(const char *at, const char *end)
{
	while (end - at >= LANES) {
		lanes stops = stops_at(at);

		if (!lanes_any(stops)) {
			at += LANES;
			while (end - at >= 4 * LANES &&
				!lanes_any(stops_at(at) | stops_at(at + LANES) |
					   stops_at(at + 2 * LANES) | stops_at(at + 3 * LANES)))
				at += 4 * LANES;
			continue;
		}
		at += lanes_first(stops);
		if (*at == '"')
			return at + 1;
		at += 2;
	}
	for (; at < end; at++) {
		if (*at == '"')
			return at + 1;
		if (*at == '\\')
			at++;
	}
	return end;
}
