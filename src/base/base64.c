/*
 * base64.c - by blocks on the stack, so that the buffer grows seldom.
 */
#include "base/base64.h"

#include <stdint.h>

#define BLOCK 3072 /* bytes decoded at a time, a multiple of three */

int
base64_encode(struct bytes *out, struct span data)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)data.at;
	size_t left = data.len;
	char text[BLOCK / 3 * 4];

	while (left > 0 && !out->failed) {
		size_t n = 0;

		for (; left >= 3 && n < sizeof text; p += 3, left -= 3) {
			text[n++] = letters[p[0] >> 2];
			text[n++] = letters[(p[0] & 3) << 4 | p[1] >> 4];
			text[n++] = letters[(p[1] & 15) << 2 | p[2] >> 6];
			text[n++] = letters[p[2] & 63];
		}
		if (left > 0 && left < 3 && n + 4 <= sizeof text) {
			unsigned second = left == 2 ? p[1] : 0;

			text[n++] = letters[p[0] >> 2];
			text[n++] = letters[(p[0] & 3) << 4 | second >> 4];
			text[n++] = left == 2 ? letters[(second & 15) << 2] : '=';
			text[n++] = '=';
			left = 0;
		}
		(void)bytes_add(out, text, n);
	}
	return out->failed ? -1 : 0;
}

/* Six bits; 64 for what is passed over; -1 for what is none. */
static int
sextet(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' ? 64 : -1;
}

int
base64_decode(struct bytes *out, struct span text)
{
	unsigned char block[BLOCK];
	size_t n = 0, i = 0, pads = 0;
	uint32_t bits = 0;
	int have = 0;

	for (; i < text.len; i++) {
		int six;

		if (text.at[i] == '=')
			break;
		six = sextet((unsigned char)text.at[i]);
		if (six < 0)
			return -1;
		if (six == 64)
			continue;
		bits = bits << 6 | (uint32_t)six;
		if (++have < 4)
			continue;
		block[n++] = (unsigned char)(bits >> 16);
		block[n++] = (unsigned char)(bits >> 8);
		block[n++] = (unsigned char)bits;
		bits = 0;
		have = 0;
		if (n == sizeof block) {
			(void)bytes_add(out, block, n);
			n = 0;
		}
	}
	for (; i < text.len; i++) {
		if (text.at[i] != '=' && sextet((unsigned char)text.at[i]) != 64)
			return -1;
		pads += text.at[i] == '=';
	}
	if (have == 1 || pads > 2)
		return -1;
	if (have >= 2) {
		bits <<= 6 * (4 - have);
		block[n++] = (unsigned char)(bits >> 16);
		if (have == 3)
			block[n++] = (unsigned char)(bits >> 8);
	}
	return n == 0 && !out->failed ? 0 : bytes_add(out, block, n);
}
