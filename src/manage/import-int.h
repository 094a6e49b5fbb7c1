/*
 * import-int.h - tokens of other gateways: import.c reads a file into rows and writes what they
 * become; import_row.c knows what the row of each gateway means.
 */
#ifndef MANAGE_IMPORT_INT_H
#define MANAGE_IMPORT_INT_H

#include "manage/manage-int.h"

#define DRAFT_LIMITS_MAX 4
#define DRAFT_NOTES_BYTES 1024

/* What one row becomes. */
struct draft {
	struct token token;      /* without project and id; with the hash of its secret */
	struct limit limits[DRAFT_LIMITS_MAX]; /* without id and scope */
	int limit_count;
	char project[NAME_BYTES]; /* the name it has there; "" none */
	char name[NAME_BYTES];    /* for the report */
	int64_t created_ms;       /* there; 0 not known */
	char refused[160];        /* why it cannot be taken; "" it can */
	struct bytes notes;       /* what is not carried over: lines */
};

/* The formats of manage_import_tokens(): "litellm|new-api|llm-proxy".  false: none of them. */
bool import_knows(const char *from);
/* row: a JSON object, or a line of a CSV file as one, every value a string then. */
void import_row(const char *from, struct span row, struct draft *d);

/* One field of CSV off the text, unquoted into out.  *last: it ends its record.  0, or -1: its quotes. */
int import_csv_field(struct span *text, struct bytes *out, bool *last);
/* Without byte order mark, and white space at both ends. */
struct span import_trimmed(struct span text);

#endif
