/*
 * anthropic-int.h - what the files of Anthropic's dialect share.
 */
#ifndef WIRE_ANTHROPIC_INT_H
#define WIRE_ANTHROPIC_INT_H

#include "wire/format.h"

#define ANTHROPIC_VERSION         "2023-06-01"
#define ANTHROPIC_INVOKE_VERSION  "bedrock-2023-05-31"
#define ANTHROPIC_METRICS         "amazon-bedrock-invocationMetrics"
#define ANTHROPIC_NAME_BYTES      256               /* of an id, a model, a tool in a stream */
#define ANTHROPIC_SIGNATURE_MAX   (4 * 1024 * 1024) /* of one block's */
#define ANTHROPIC_HELD_MAX        (8 * 1024 * 1024) /* of blocks that wait for an open tool call */
#define ANTHROPIC_HELD_BLOCKS_MAX 256
#define ANTHROPIC_STOP_BYTES      4096 /* of a stop sequence in a stream */

/* Who a body or a stream is written for. */
enum anthropic_flavour { ANTHROPIC_DIRECT, ANTHROPIC_BEDROCK, ANTHROPIC_SAP };

/* ---- blocks: the members that any of them may have ---- */
enum block_member {
	BLOCK_TYPE,
	BLOCK_TEXT,
	BLOCK_CACHE,
	BLOCK_ID,
	BLOCK_NAME,
	BLOCK_INPUT,
	BLOCK_TOOL_USE_ID,
	BLOCK_CONTENT,
	BLOCK_IS_ERROR,
	BLOCK_SOURCE,
	BLOCK_TITLE,
	BLOCK_CONTEXT,
	BLOCK_CITATIONS,
	BLOCK_THINKING,
	BLOCK_SIGNATURE,
	BLOCK_DATA,
	BLOCK_MEMBERS
};
extern const char *const anthropic_block_names[BLOCK_MEMBERS];

/* ---- requests ---- */

/* ERR_BAD_REQUEST: the body is no JSON object, see this byte. */
int anthropic_no_object(struct span body, size_t at, struct err *err);
/* 405 of "anthropic.claude-sonnet-4-5-20250929-v1:0"; 0 where the name tells none. */
int anthropic_model_version(const char *model);
/* What models take from there on, and what they no longer do (reference anthropic.md, 1.1). */
#define CLAUDE_STRICT      405 /* tools may be strict */
#define CLAUDE_ADAPTIVE    406 /* decides itself how much to think */
#define CLAUDE_NO_SAMPLING 407 /* temperature, top_p and top_k are gone, effort may be xhigh */
/* What reasoning that is left out is called where losses are told. */
const char *anthropic_reasoning_name(const struct neutral_part *p);
/* A tool that must be called leaves no room for thoughts. */
bool anthropic_forces_a_tool(const struct neutral_request *n);
/* With thinking on, a turn whose tools have been run must begin with its thinking, which a client of
 * another dialect may not have kept. */
bool anthropic_lacks_thinking(const struct neutral_request *n);
int anthropic_compose(struct neutral_request *n, const struct request_target *to,
	enum anthropic_flavour flavour, struct request_made *made, struct losses *lost,
	struct err *err);
/* splice_request for any of the kin. */
int anthropic_splice(struct arena *a, const struct request_source *from,
	const struct request_target *to, enum anthropic_flavour flavour, struct request_made *made,
	struct losses *lost, struct err *err);
/* The betas of the header (of those for Bedrock and SAP what they know), else all of the body, as a JSON
 * array; SPAN_NONE: none (or no memory). */
struct span anthropic_betas(struct arena *a, const struct request_source *from,
	struct json_value in_body, enum anthropic_flavour flavour, struct losses *lost);
/* … and that array as the header's value; NULL: none. */
const char *anthropic_beta_header(struct arena *a, struct span betas);

/* ---- answers ---- */
enum finish anthropic_finish(struct json_value stop_reason);
const char *anthropic_stop_reason(enum finish f);
void anthropic_put_usage(struct json_out *o, const char *key, const struct wire_usage *u);
/* A usage object; reported figures go over what *out holds. */
void anthropic_take_usage(struct span object, struct wire_usage *out);

/* ---- streams ---- */
struct anthropic_reader;
struct anthropic_writer;
/* name: what the frame says the event is, where its JSON does not. */
int anthropic_read_event(struct anthropic_reader *r, struct span name, struct span json,
	neutral_emit *emit, void *ctx);
/* The stream fails with this, unless it is over. */
int anthropic_read_failure(
	struct anthropic_reader *r, const struct err *err, neutral_emit *emit, void *ctx);
int anthropic_write_flavoured(struct anthropic_writer *w, enum anthropic_flavour flavour,
	const struct reply_options *o, const struct neutral_event *e, struct bytes *out);
/* The event in a frame of any of the kin: {"bytes": base64 of it} is decoded into room.  SPAN_NONE: it is
 * none, or memory. */
struct span anthropic_unwrap(struct span data, struct bytes *room);
/* splice_frame for this flavour. */
int anthropic_splice_flavoured(const struct frame *f, enum anthropic_flavour flavour,
	const struct reply_options *o, struct bytes *out);
/* Frames an event: its name, and its JSON (no line ends but between tokens). */
int anthropic_put_event(
	struct bytes *out, enum anthropic_flavour flavour, const char *name, struct span json);

#endif
