/*
 * csv.c - tables as spreadsheets and bills have them: RFC 4180, but any of , ; and tab between fields,
 * any line end, and a byte order mark before the first.
 */
#include "cli/csv.h"

#include <string.h>

void
csv_begin(struct csv *c, struct span text)
{
	size_t line;

	*c = (struct csv){ .text = text, .mark = ',' };
	if (span_starts(c->text, "\xEF\xBB\xBF"))
		c->at = 3;
	for (line = c->at; line < text.len && text.at[line] != '\n'; line++)
		if (strchr(",;\t", text.at[line]) != NULL && text.at[line] != '\0') {
			c->mark = text.at[line];
			return;
		}
}

/* Puts one byte of the row's fields; what is too much is told by `too_long`. */
static void
put(struct csv *c, size_t *used, char byte)
{
	if (*used + 1 < sizeof c->room)
		c->room[(*used)++] = byte;
	else
		c->too_long = true;
}

static void
read_field(struct csv *c, size_t *used)
{
	const char *p = c->text.at;
	size_t len = c->text.len;
	bool quoted = c->at < len && p[c->at] == '"';

	c->at += quoted;
	for (; c->at < len; c->at++) {
		if (quoted && p[c->at] == '"') {
			if (c->at + 1 < len && p[c->at + 1] == '"') {
				c->at++;
			} else {
				quoted = false;
				continue;
			}
		} else if (!quoted &&
			   (p[c->at] == c->mark || p[c->at] == '\n' || p[c->at] == '\r')) {
			break;
		}
		put(c, used, p[c->at]);
	}
	put(c, used, '\0');
}

bool
csv_row(struct csv *c)
{
	size_t used = 0;

	do {
		const char *p = c->text.at;

		c->count = 0;
		c->too_long = false;
		used = 0;
		if (c->at >= c->text.len)
			return false;
		c->line++;
		for (;;) {
			if (c->count < CSV_FIELDS_MAX)
				c->field[c->count++] = c->room + used;
			else
				c->too_long = true;
			read_field(c, &used);
			if (c->at >= c->text.len || p[c->at] != c->mark)
				break;
			c->at++;
		}
		if (c->at < c->text.len && p[c->at] == '\r')
			c->at++;
		if (c->at < c->text.len && p[c->at] == '\n')
			c->at++;
		c->room[sizeof c->room - 1] = '\0';
	} while (c->count == 1 && c->field[0][0] == '\0'); /* an empty line */
	return true;
}
