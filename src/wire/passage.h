/*
 * passage.h - a provider's stream on its way to the client: passed on as bytes where both speak the
 * same format, converted where they do not; watched for usage, errors and its end either way.
 */
#ifndef WIRE_PASSAGE_H
#define WIRE_PASSAGE_H

#include "wire/convert.h"
#include "wire/openai.h"

enum passage_way {
	PASSAGE_CLOSED,
	PASSAGE_OPENAI,   /* any of OpenAI's streams, as bytes */
	PASSAGE_BYTES,    /* another format's, as bytes */
	PASSAGE_CONVERTED
};

struct passage {
	/* for the gateway to read */
	enum passage_way way;
	struct wire_usage usage;
	bool done;            /* the last event went by */
	bool failed;          /* … or an error in its place */
	bool cut_short;       /* it ended before its answer was complete; CONVERTED tells the client itself */
	char error[160];      /* its message, cut */
	struct span evidence; /* the provider's words that it failed with, cut; until the next call */
	bool content;         /* something to show went by: text, a call, reasoning, a refusal, media */
	enum finish finish;   /* as it was told, where nothing of that went by before */
	int64_t output_chars; /* of text that went by, as it stands in JSON */
	/* private */
	bool may_stop;
	struct openai_watch watch;
	struct openai_stop stop;
	struct convert_stream stream;
};

struct passage_options {
	const struct format *from, *to; /* of the provider, of the client; both NULL: another stream of OpenAI's */
	const char *endpoint;           /* OpenAI's, for an early end */
	bool hide_usage;                /* OpenAI chat: the client did not ask for the chunk with usage */
	bool may_stop;                  /* passage_stop() may be called */
	struct reply_options reply;
	int64_t choices;                /* asked for */
	int (*see)(void *ctx, const struct neutral_event *e); /* as in convert.h; OPENAI has none */
	void *ctx;
};
typedef void passage_pass(void *ctx, const char *data, size_t len, bool last);

/* 0, or -1 out of memory. */
int passage_init(struct passage *p, const struct passage_options *o);
void passage_free(struct passage *p); /* a zeroed one too */
/* pass gets what goes on to the client, in order.  last: from where the answer ends on, so that the
 * gateway holds it back until the charge is booked.  0, or -1 out of memory. */
int passage_feed(struct passage *p, const char *data, size_t len, passage_pass *pass, void *ctx);
/* The provider's end. */
int passage_end(struct passage *p, passage_pass *pass, void *ctx);
/* A whole answer (JSON) where the client waits for a stream; CONVERTED alone. */
int passage_whole(struct passage *p, struct span body, passage_pass *pass, void *ctx);
/* Is the client in the middle of an event, so that nothing may be put between? */
bool passage_in_event(const struct passage *p);
/* The last events of an answer that ends here, as if the model had reached its ceiling.  0; -1 where there
 * is no such thing, or out of memory. */
int passage_stop(struct passage *p, int64_t input_tokens, int64_t output_tokens, struct bytes *out);

#endif
