/*
 * csv.h - reading a table of comma-separated values, row by row, without building it.
 */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include "base/bytes.h"

#define CSV_FIELDS_MAX 128
#define CSV_ROW_BYTES  65536 /* all fields of a row */

struct csv {
	struct span text; /* the caller's; outlives it */
	size_t at;
	int line;         /* of the row last read, from 1; a field with line ends counts as one */
	int count;
	const char *field[CSV_FIELDS_MAX]; /* good until the next row */
	bool too_long;    /* this row has more than there is room for: it is cut */
	char mark;
	char room[CSV_ROW_BYTES];
};

void csv_begin(struct csv *c, struct span text);
bool csv_row(struct csv *c); /* false: no more */

#endif
