/*
 * fields.h - one table for each kind of record drives its binary form in the store, its JSON in
 * the management API and its columns in the command: the lists cannot drift apart.
 *
 * Binary form: version byte, then {u16 tag, u32 length, value} in any order.  A reader skips tags
 * it does not know and keeps them (`rest`), so a record written by a newer program survives a
 * round trip through an older one.
 */
#ifndef STORE_FIELDS_H
#define STORE_FIELDS_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/id.h"
#include <stddef.h>
#include <stdint.h>

enum field_type {
	FIELD_ID,     /* struct id; `kind` says of what */
	FIELD_TEXT,   /* char[], NUL-terminated */
	FIELD_LIST,   /* char[]: patterns or names parted by '\n'; a JSON array of strings outside */
	FIELD_BOOL,   /* bool */
	FIELD_INT,    /* int64_t */
	FIELD_MS,     /* int64_t, a duration in milliseconds */
	FIELD_TIME,   /* int64_t, wall clock ms; 0 is "none", null outside */
	FIELD_MONEY,  /* int64_t nano-dollars */
	FIELD_HASH,   /* uint8_t[32]; never leaves the store */
	FIELD_SEALED, /* struct sealed; never leaves the store */
	FIELD_ENUM,   /* int32_t; `values` has the names parted by '|' */
	FIELD_LIST_INT /* char[]: integers parted by '\n'; a JSON array of numbers outside */
};

enum field_flags {
	FIELD_REQUIRED = 1,   /* when created */
	FIELD_FIXED    = 2,   /* may be given when created, never changed */
	FIELD_READ     = 4,   /* set by sluice itself, refused from outside */
	FIELD_HIDDEN   = 8,   /* stays inside */
	FIELD_SECRET   = 16,  /* may hold one: the audit keeps no values of it */
	FIELD_AMOUNT   = 32   /* in the unit of a limit's metric: money when that is cost */
};

struct field {
	uint16_t tag;      /* never reused for another meaning */
	const char *name;  /* in JSON, and as the command's --option with '-' for '_' */
	enum field_type type;
	unsigned flags;
	size_t offset, size;
	int64_t min, max;  /* of numbers, when max > min */
	const char *values; /* FIELD_ENUM: "hard|soft"; FIELD_ID: the kind's prefix, "prj_" */
	const char *fallback; /* value of a new record as text, or NULL */
	const char *help;  /* one line for the manual, the page and --help */
};

/* Fields this program does not know, carried along. */
#define RECORD_REST_BYTES 512
struct record_rest {
	uint16_t len;
	uint8_t data[RECORD_REST_BYTES];
};

#define SEALED_BYTES 4096 /* most of a secret, sealed: nonce, text, tag */
struct sealed {
	uint16_t len; /* 0: none */
	uint8_t data[SEALED_BYTES];
};

#endif
