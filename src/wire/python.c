/*
 * python.c - token by token from Python's way of writing into JSON's.
 *
 * The brackets stand where JSON's do, so no stack is kept: whether it all makes one value is left to
 * the check of JSON at the end.
 */
#include "wire/python.h"

#include "base/hash.h"
#include "base/json.h"
#include <ctype.h>
#include <stdint.h>
#include <string.h>

struct reading {
	const char *at, *end;
	struct bytes *out;
};

/* ---- strings ---- */

static bool
take_hex(struct reading *r, int digits, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < digits; i++, r->at++) {
		int d = r->at < r->end ? hash_hex_digit(*r->at) : -1;

		if (d < 0)
			return false;
		*out = *out << 4 | (uint32_t)d;
	}
	return true;
}

static void
put_code(struct bytes *out, uint32_t code)
{
	if (code > 0xFFFF) {
		code -= 0x10000;
		(void)bytes_printf(
			out, "\\u%04x\\u%04x", 0xD800u + (code >> 10), 0xDC00u + (code & 0x3FF));
	} else if (code == '"' || code == '\\') {
		(void)bytes_printf(out, "\\%c", (int)code);
	} else if (code >= 0x20 && code < 0x7F) {
		char c = (char)code;

		(void)bytes_add(out, &c, 1);
	} else {
		(void)bytes_printf(out, "\\u%04x", (unsigned int)code);
	}
}

static uint32_t
take_octal(struct reading *r, char first)
{
	uint32_t code = (uint32_t)(first - '0');

	for (int i = 0; i < 2 && r->at < r->end && *r->at >= '0' && *r->at <= '7'; i++)
		code = code << 3 | (uint32_t)(*r->at++ - '0');
	return code;
}

/* Behind a backslash. */
static bool
take_escape(struct reading *r)
{
	static const char letters[] = "abfnrtv\\'\"", codes[] = "\a\b\f\n\r\t\v\\'\"";
	const char *known;
	uint32_t code;
	char c;

	if (r->at == r->end)
		return false;
	c = *r->at++;
	if (c == '\n')
		return true;
	if (c == 'x' || c == 'u' || c == 'U') {
		if (!take_hex(r, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code) || code > 0x10FFFF)
			return false;
	} else if (c >= '0' && c <= '7') {
		code = take_octal(r, c);
	} else if (c != '\0' && (known = strchr(letters, c)) != NULL) {
		code = (uint32_t)codes[known - letters];
	} else { /* no escape: the backslash stands for itself */
		(void)bytes_puts(r->out, "\\\\");
		r->at--;
		return true;
	}
	put_code(r->out, code);
	return true;
}

static bool
take_string(struct reading *r)
{
	char quote = *r->at++;

	(void)bytes_add(r->out, "\"", 1);
	for (;;) {
		const char *from = r->at;
		char c;

		while (r->at < r->end && *r->at != quote && *r->at != '\\' && *r->at != '"' &&
			(unsigned char)*r->at >= 0x20)
			r->at++;
		(void)bytes_add(r->out, from, (size_t)(r->at - from));
		if (r->at == r->end)
			return false;
		c = *r->at++;
		if (c == quote)
			break;
		if (c != '\\')
			put_code(r->out, (unsigned char)c);
		else if (!take_escape(r))
			return false;
	}
	(void)bytes_add(r->out, "\"", 1);
	return true;
}

/* ---- all else ---- */

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '+' || c == '-';
}

static void
take_word(struct reading *r)
{
	static const char *const words[][2] = { { "True", "true" }, { "False", "false" },
		{ "None", "null" }, { "inf", "null" }, { "-inf", "null" }, { "nan", "null" } };
	struct span word = { r->at, 0 };

	while (r->at < r->end && is_word(*r->at))
		r->at++;
	word.len = (size_t)(r->at - word.at);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (span_is(word, words[i][0]))
			word = span_of(words[i][1]);
	/* Two of them side by side must not become one. */
	if (r->out->len > 0 && is_word(r->out->at[r->out->len - 1]))
		(void)bytes_add(r->out, " ", 1);
	(void)bytes_add(r->out, word.at, word.len);
}

static void
skip_blanks(struct reading *r)
{
	while (r->at < r->end && *r->at != '\0' && strchr(" \t\r\n", *r->at) != NULL)
		r->at++;
}

/* Brackets, colons and commas; of these one before a closing bracket says nothing. */
static bool
take_mark(struct reading *r)
{
	static const char marks[] = "{}[]():,", json[] = "{}[][]:,";
	char c = *r->at++;
	const char *known = c == '\0' ? NULL : strchr(marks, c);

	if (known == NULL)
		return false;
	if (c == ',' && r->out->len > 0 && strchr("{[:,", r->out->at[r->out->len - 1]) == NULL) {
		skip_blanks(r);
		if (r->at < r->end && *r->at != '\0' && strchr("}])", *r->at) != NULL)
			return true;
	}
	(void)bytes_add(r->out, &json[known - marks], 1);
	return true;
}

int
python_to_json(struct span literal, struct bytes *out)
{
	struct reading r = { literal.at, literal.at + literal.len, out };
	size_t start = out->len;

	if (literal.len == 0)
		return -1;
	for (;;) {
		bool ok = true;

		skip_blanks(&r);
		if (r.at == r.end)
			break;
		if (*r.at == '\'' || *r.at == '"')
			ok = take_string(&r);
		else if (is_word(*r.at))
			take_word(&r);
		else
			ok = take_mark(&r);
		if (!ok || out->failed)
			return -1;
	}
	if (out->len == start)
		return -1; /* white space alone */
	return json_valid((struct span){ out->at + start, out->len - start }) ? 0 : -1;
}
