/*
 * convert.h - from one format into another, whole: what the gateway and `sluice convert` call.
 *
 * Formats of one kin are spliced.  Same format in and out is not for here: that is passed on as bytes.
 */
#ifndef WIRE_CONVERT_H
#define WIRE_CONVERT_H

#include "wire/format.h"

#define CONVERT_REQUEST_MAX (48 * 1024 * 1024) /* of what is written */
#define CONVERT_REPLY_MAX   (32 * 1024 * 1024)

/* Reads, writes, and lists what was lost.  strict: what changes the meaning is refused
 * (ERR_UNSUPPORTED, naming the field).  between(), where not NULL, may change the neutral form in
 * between (signatures put back, documents fetched); between formats of one kin there is none.  out->body is the caller's. */
struct convert_request {
	const struct format *from, *to;
	struct request_source source;
	struct request_target target;
	bool strict;
	int (*between)(void *ctx, struct neutral_request *n, struct err *err);
	void *ctx;
};
int convert_request(struct arena *a, const struct convert_request *q, struct request_made *out,
	struct losses *lost, struct err *err);

int convert_reply(struct arena *a, const struct format *from, const struct format *to,
	struct span body, const struct reply_options *o, struct wire_usage *usage,
	struct bytes *out, struct err *err);

/* Of what a whole answer says, as JSON strings; for an estimate, where its usage is not told.  0 too
 * where it cannot be read. */
int64_t convert_reply_chars(const struct format *f, struct span body);

/* Does a whole answer hold anything to show, and how did it end?  -1: it is no answer. */
int convert_reply_content(const struct format *f, struct span body, bool *content, enum finish *finish);

/*
 * A stream on its way.  see(), where not NULL, is shown each event before it is written.  A reader's
 * ERROR is written in the client's dialect.  Bytes of `out` are the client's; take and drop them as
 * they come (its limit is STREAM_OUT_MAX between two calls of feed).
 */
#define STREAM_OUT_MAX (24 * 1024 * 1024)
struct convert_stream {
	const struct format *from, *to;
	struct reply_options options;
	struct bytes out;
	struct wire_usage usage;
	int64_t output_chars; /* of what was streamed, as JSON strings; for an estimate */
	bool content;         /* something to show came: text, a call, reasoning, media */
	enum finish finish;   /* of the choice that ended last */
	bool done;            /* END was given: from there on `out` holds the last bytes */
	bool ending;          /* nothing but figures and the end is to come: from last_at on `out` is last */
	size_t last_at;       /* since the last feed; 0 when it had begun before */
	bool failed;          /* ERROR was given */
	struct err err;       /* then */
	struct bytes evidence; /* … and the provider's words that it came of, cut; a name of theirs in it */
	int (*see)(void *ctx, const struct neutral_event *e);
	void *ctx;
	bool silent;          /* set behind init: events are seen and counted, but nothing is written */
	/* private */
	bool spliced; /* frames go on as they are, and events are only looked at */
	enum {
		CHOICE_UNSEEN,
		CHOICE_BETWEEN,
		CHOICE_IN_PART,
		CHOICE_FINISHED
	} choice[NEUTRAL_CHOICES_MAX];
	enum part_kind part[NEUTRAL_CHOICES_MAX]; /* that is open */
	int choices;
	bool started;
	struct frames *frames;
	void *reader, *writer;
};
/* 0, or -1 out of memory. */
int convert_stream_init(struct convert_stream *s, const struct format *from,
	const struct format *to, const struct reply_options *o);
void convert_stream_free(struct convert_stream *s);
/* 0, or -1 out of memory (nothing more can be had of it). */
int convert_stream_feed(struct convert_stream *s, const char *data, size_t len);
int convert_stream_end(struct convert_stream *s);
/* The last events of an answer that is ended here, as if the model had reached its ceiling; for none that
 * is spliced or silent.  input_tokens: an estimate, for where the provider has not told.  0, or -1
 * out of memory. */
int convert_stream_stop(struct convert_stream *s, int64_t input_tokens, int64_t output_tokens);
/* A whole answer where the client waits for a stream (conversion.md, trap 18). */
int convert_stream_whole(struct convert_stream *s, struct span body);

#endif
