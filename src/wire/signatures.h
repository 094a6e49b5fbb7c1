/*
 * signatures.h - what a model signed and a client's dialect cannot carry: kept out of an answer,
 * and put back when the history returns without it.
 *
 * Of each turn of the model records are made: one for each tool call, under its id, with the signed
 * reasoning that came before it and its own signature; or of a turn without calls one under a digest
 * of its text (white space does not count: clients trim and join).  Who calls this keeps the records,
 * apart for each project, and finds them again; nothing is stored here.
 *
 * Only what is signed is kept: without its signature no provider takes reasoning back (R24).
 * Not safe over threads, but two collectors know nothing of one another.  Nothing blocks but look().
 */
#ifndef WIRE_SIGNATURES_H
#define WIRE_SIGNATURES_H

#include "wire/format.h"

#define SIGNATURES_KEY_BYTES   72            /* "c:" or "t:", an id or digest, NUL */
#define SIGNATURES_RECORD_MAX  (256 * 1024)  /* bytes; a turn with more is not kept at all */
#define SIGNATURES_ANSWER_MAX  (1024 * 1024) /* of records of calls in one answer; the turn that goes beyond is not kept */
#define SIGNATURES_TEXT_MAX    (1024 * 1024) /* of a turn's text, for the digest */
#define SIGNATURES_CALLS_MAX   128           /* of one turn; later ones have no record */
#define SIGNATURES_CHOICES_MAX 8             /* of one answer */
#define SIGNATURES_PARTS_MAX   512           /* put back into one message */
#define SIGNATURES_LOOKS_MAX   256           /* for one request, from its end backwards */

/* Whose signatures that dialect carries by itself, and its providers take back. */
enum signer signatures_of_format(const struct format *f);

/* ---- out of an answer ---- */
struct signatures;
/* kept: what the client's own dialect carries is not kept here.  NULL: out of memory. */
struct signatures *signatures_new(enum signer kept);
void signatures_free(struct signatures *s);
/* Shown each event of a stream (convert_stream.see).  0, or -1 out of memory. */
int signatures_note(struct signatures *s, const struct neutral_event *e);
/* The records of what was seen, to be called once, at the stream's end.  record: JSON without white
 * space.  put() gives 0, or -1 to stop; so does this. */
typedef int signatures_put(void *ctx, const char *key, struct span record);
int signatures_give(struct signatures *s, signatures_put *put, void *ctx);
/* The same for a whole answer.  -1: stopped, or out of memory. */
int signatures_of_reply(
	const struct neutral_reply *r, enum signer kept, signatures_put *put, void *ctx);

/* ---- back into a request ---- */
/* The record under that key, valid as long as the request's arena; SPAN_NONE: there is none. */
typedef struct span signatures_look(void *ctx, struct arena *a, const char *key);
/* Puts back what the target takes and the history has lost: reasoning before the calls, signatures on
 * calls and text.  Turns that still have theirs are left alone, and so are records that are broken or
 * another's.  0, or -1 with ERR_MEMORY. */
int signatures_restore(struct neutral_request *n, enum signer target, signatures_look *look,
	void *ctx, struct err *err);

#endif
