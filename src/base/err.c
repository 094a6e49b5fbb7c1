/*
 * err.c - filling in failures.  Texts are cut to fit, at a character's border, never refused: a
 * failure about a failure helps nobody.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int status;
	const char *name;
	const char *says;
} table[ERR__COUNT] = {
#define X(code, status, name, says) [ERR_##code] = { status, name, says },
	ERR_CODES(X)
#undef X
};

/* A cut may have fallen inside a UTF-8 character; a log line must stay valid UTF-8. */
static void
trim_utf8(char *text, size_t bytes)
{
	size_t len = strlen(text), lead = len;

	if (len + 1 < bytes)
		return;
	while (lead > 0 && len - lead < 4 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
		lead--;
	if (lead == 0)
		return;

	unsigned char c = (unsigned char)text[lead - 1];
	size_t want = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;

	if (len - (lead - 1) < want)
		text[lead - 1] = '\0';
}

static void
fill(char *text, size_t bytes, const char *fmt, va_list args)
{
	if (vsnprintf(text, bytes, fmt, args) < 0)
		text[0] = '\0';
	trim_utf8(text, bytes);
}

int
err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	if (err == NULL)
		return -1;
	err->code = code;
	err->retry_boot_ms = 0;
	err->says[0] = '\0';
	err->field[0] = '\0';
	va_start(args, fmt);
	fill(err->text, sizeof err->text, fmt, args);
	va_end(args);
	return -1;
}

int
err_wrap(struct err *err, const char *fmt, ...)
{
	char old[sizeof err->text];
	va_list args;
	size_t len;

	if (err == NULL)
		return -1;
	memcpy(old, err->text, sizeof old);
	old[sizeof old - 1] = '\0';
	va_start(args, fmt);
	fill(err->text, sizeof err->text, fmt, args);
	va_end(args);
	len = strlen(err->text);
	(void)snprintf(err->text + len, sizeof err->text - len, ": %s", old);
	trim_utf8(err->text, sizeof err->text);
	return -1;
}

int
err_say(struct err *err, const char *fmt, ...)
{
	va_list args;

	if (err == NULL)
		return -1;
	va_start(args, fmt);
	fill(err->says, sizeof err->says, fmt, args);
	va_end(args);
	return -1;
}

int
err_field(struct err *err, const char *field)
{
	if (err != NULL)
		(void)snprintf(err->field, sizeof err->field, "%s", field);
	return -1;
}

/* A code out of range can only come from a damaged struct: answer as for our own failure. */
static enum err_code
known(enum err_code code)
{
	return (unsigned int)code < ERR__COUNT ? code : ERR_INTERNAL;
}

int
err_status(enum err_code code)
{
	return table[known(code)].status;
}

const char *
err_name(enum err_code code)
{
	return table[known(code)].name;
}

const char *
err_public(const struct err *err)
{
	if (err == NULL)
		return table[ERR_INTERNAL].says;
	return err->says[0] != '\0' ? err->says : table[known(err->code)].says;
}
