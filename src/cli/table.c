/*
 * table.c - JSON for people: aligned columns, widths counted in characters and not in bytes.
 */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_BYTES  256
#define COLUMNS_MAX 16

/* Any value as a person reads it; null and absent are a dash. */
static void
cell_text(struct json_value v, char out[CELL_BYTES])
{
	switch (v.type) {
	case JSON_NONE:
	case JSON_NULL:
		strcpy(out, "-");
		return;
	case JSON_STRING:
		if (json_string(v, out, CELL_BYTES) < 0)
			snprintf(out, CELL_BYTES, "%.*s", CELL_BYTES - 1, v.raw.at);
		if (out[0] == '\0')
			strcpy(out, "-");
		for (char *p = out; *p != '\0'; p++) /* no control bytes to a terminal */
			if ((unsigned char)*p < ' ' || *p == 127)
				*p = ' ';
		return;
	case JSON_TRUE:
		strcpy(out, "yes");
		return;
	case JSON_FALSE:
		strcpy(out, "no");
		return;
	default:
		span_copy(v.raw, out, CELL_BYTES);
		return;
	}
}

static int
characters(const char *s)
{
	int n = 0;

	for (; *s != '\0'; s++)
		n += (*s & 0xC0) != 0x80;
	return n;
}

static void
cut_to(char *s, int most)
{
	int n = 0;

	if (most <= 0 || characters(s) <= most)
		return;
	for (; *s != '\0'; s++)
		if ((*s & 0xC0) != 0x80 && ++n == most) {
			strcpy(s, "~");
			return;
		}
}

struct printing {
	const struct column *columns;
	size_t count;
	int width[COLUMNS_MAX];
	bool measure;
	int rows;
};

static void
put_cell(const struct printing *p, size_t i, const char *text)
{
	int fill = p->width[i] - characters(text);

	if (p->columns[i].right)
		printf("%*s%s", fill, "", text);
	else if (i + 1 == p->count)
		fputs(text, stdout);
	else
		printf("%s%*s", text, fill, "");
	fputs(i + 1 == p->count ? "\n" : "  ", stdout);
}

static bool
on_row(void *ctx, const struct json_member *m)
{
	struct printing *p = ctx;

	p->rows++;
	for (size_t i = 0; i < p->count; i++) {
		char text[CELL_BYTES];
		int width;

		cell_text(json_path(m->value.raw, p->columns[i].path), text);
		cut_to(text, p->columns[i].cut);
		width = characters(text);
		if (!p->measure)
			put_cell(p, i, text);
		else if (width > p->width[i])
			p->width[i] = width;
	}
	return true;
}

void
table_print(struct span json, const struct column *columns, size_t count)
{
	struct printing p = { .columns = columns, .count = count, .measure = true };
	struct span list = json_get(json, "data").raw;

	if (count > COLUMNS_MAX)
		return;
	for (size_t i = 0; i < count; i++)
		p.width[i] = (int)strlen(columns[i].title);
	json_each_element(list, on_row, &p, NULL);
	if (p.rows == 0) {
		puts("nothing yet");
		return;
	}
	for (size_t i = 0; i < count; i++)
		put_cell(&p, i, columns[i].title);
	p.measure = false;
	json_each_element(list, on_row, &p, NULL);
	if (json_get(json, "next").type == JSON_STRING)
		puts("(there is more: --limit N)");
}

static bool
on_member(void *ctx, const struct json_member *m)
{
	char text[CELL_BYTES];

	(void)ctx;
	if (m->value.type == JSON_OBJECT || m->value.type == JSON_ARRAY)
		printf("%.*s: %.*s\n", (int)m->key.len, m->key.at, (int)m->value.raw.len,
			m->value.raw.at);
	else {
		cell_text(m->value, text);
		printf("%.*s: %s\n", (int)m->key.len, m->key.at, text);
	}
	return true;
}

void
table_record(struct span object)
{
	json_each(object, on_member, NULL, NULL);
}

struct span
member_text(struct span object, const char *member)
{
	struct json_value v = json_get(object, member);

	if (v.type == JSON_NONE || v.type == JSON_NULL)
		return span_of("-");
	return v.type == JSON_STRING ? (struct span){ v.raw.at + 1, v.raw.len - 2 } : v.raw;
}

void
show_member(const char *before, struct span object, const char *member)
{
	struct span text = member_text(object, member);

	printf("%s%.*s", before, (int)text.len, text.at);
}
