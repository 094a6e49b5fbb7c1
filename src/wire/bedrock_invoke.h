/*
 * bedrock_invoke.h - Bedrock's InvokeModel for Claude, and SAP's deployments of it: Anthropic's messages
 * with the model in the path, betas in the body, and each event of a stream wrapped.
 *
 * Both read a stream of either framing's content: {"bytes": base64 of an event}, or the event itself.
 * Facts: reference bedrock.md, sections 6 and 9.3.
 */
#ifndef WIRE_BEDROCK_INVOKE_H
#define WIRE_BEDROCK_INVOKE_H

#include "wire/format.h"

/* The rest is Anthropic's own: reading requests, whole answers, the states of streams. */
int bedrock_invoke_write_request(struct neutral_request *n, const struct request_target *to,
	struct request_made *made, struct losses *lost, struct err *err);
int bedrock_invoke_splice_request(struct arena *a, const struct request_source *from,
	const struct request_target *to, struct request_made *made, struct losses *lost,
	struct err *err);
void bedrock_invoke_usage(struct span json, struct wire_usage *out);

int bedrock_invoke_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx);
int bedrock_invoke_write_event(void *state, const struct reply_options *o,
	const struct neutral_event *e, struct bytes *out);
int bedrock_invoke_splice_frame(
	const struct frame *f, const struct reply_options *o, struct bytes *out);
/* SAP's streams are data lines alone. */
int sap_invoke_write_event(void *state, const struct reply_options *o,
	const struct neutral_event *e, struct bytes *out);
int
sap_invoke_splice_frame(const struct frame *f, const struct reply_options *o, struct bytes *out);

#endif
