/*
 * converse.h - Amazon Bedrock's Converse and ConverseStream, and the same as SAP AI Core passes them on.
 *
 * Facts: reference bedrock.md, sections 3 to 5, 8 and 9.  The model stands in the path, not in the
 * body.  Streams: event-stream messages; with SAP server-sent events, each an object that holds the
 * event under its name, which SAP may write as Python does.  The reader takes both from either.
 */
#ifndef WIRE_CONVERSE_H
#define WIRE_CONVERSE_H

#include "wire/format.h"

FORMAT_FUNCTIONS(converse);
FORMAT_SPLICES(converse);

/* The same, but in server-sent events. */
int sap_converse_write_event(void *state, const struct reply_options *o,
	const struct neutral_event *e, struct bytes *out);
int
sap_converse_splice_frame(const struct frame *f, const struct reply_options *o, struct bytes *out);

#endif
