/*
 * passage.c - one of three ways, and what is the same for all.
 *
 * As bytes, pieces go on the moment they come; the reader of their format looks at a copy, and the
 * piece in which the answer's end is complete is the first that is held back.
 */
#include "wire/passage.h"

#include <stdio.h>
#include <string.h>

int
passage_init(struct passage *p, const struct passage_options *o)
{
	bool same = o->from == o->to;

	*p = (struct passage){ .usage = WIRE_USAGE_NONE, .may_stop = o->may_stop };
	if (o->from == NULL || (same && o->from->dialect == DIALECT_OPENAI)) {
		p->way = PASSAGE_OPENAI;
		openai_watch_init(&p->watch, o->hide_usage);
		p->watch.any_content = o->from == NULL;
		p->stop = (struct openai_stop){ .endpoint = o->endpoint,
			.model = o->reply.model,
			.created_s = o->reply.now_s,
			.choices = o->choices,
			.wants_usage = o->reply.include_usage };
		return 0;
	}
	/* an early end is written by a writer that has written all of it */
	p->way = same && !o->may_stop ? PASSAGE_BYTES : PASSAGE_CONVERTED;
	if (convert_stream_init(&p->stream, o->from, o->to, &o->reply) != 0) {
		p->way = PASSAGE_CLOSED;
		return -1;
	}
	p->stream.see = o->see;
	p->stream.ctx = o->ctx;
	p->stream.silent = p->way == PASSAGE_BYTES;
	if (o->may_stop)
		p->stream.spliced = false;
	return 0;
}

void
passage_free(struct passage *p)
{
	if (p->way == PASSAGE_OPENAI)
		openai_watch_free(&p->watch);
	else if (p->way != PASSAGE_CLOSED)
		convert_stream_free(&p->stream);
	p->way = PASSAGE_CLOSED;
	p->evidence = SPAN_NONE;
	p->content = p->failed = p->done = p->cut_short = false;
}

static enum finish
finish_of(const char *reason)
{
	if (reason[0] == '\0')
		return FINISH_NONE;
	if (strcmp(reason, "length") == 0 || strcmp(reason, "max_output_tokens") == 0)
		return FINISH_LENGTH;
	return strcmp(reason, "content_filter") == 0 ? FINISH_FILTER : FINISH_STOP;
}

static void
take_watch(struct passage *p)
{
	p->usage = p->watch.usage;
	p->done = p->watch.done;
	p->output_chars = p->watch.output_chars;
	p->content = p->watch.content;
	p->finish = finish_of(p->watch.finish);
	p->evidence = bytes_span(&p->watch.evidence);
	if (p->watch.failed && !p->failed) {
		p->failed = true;
		(void)snprintf(p->error, sizeof p->error, "%s", p->watch.error);
	}
}

static void
take_stream(struct passage *p)
{
	p->usage = p->stream.usage;
	p->done = p->stream.done;
	p->output_chars = p->stream.output_chars;
	p->content = p->stream.content;
	p->finish = p->stream.finish;
	p->evidence = bytes_span(&p->stream.evidence);
	if (p->stream.failed && !p->failed) {
		p->failed = true;
		(void)snprintf(p->error, sizeof p->error, "%.*s", 159, err_public(&p->stream.err));
	}
}

/* What was written goes on; from last_at on it is the end. */
static void
pass_written(struct passage *p, passage_pass *pass, void *ctx)
{
	struct convert_stream *s = &p->stream;
	size_t first = s->ending ? s->last_at : s->out.len;

	if (p->way == PASSAGE_CONVERTED && first > 0)
		pass(ctx, s->out.at, first, false);
	if (p->way == PASSAGE_CONVERTED && s->out.len > first)
		pass(ctx, s->out.at + first, s->out.len - first, true);
	bytes_drop(&s->out, s->out.len);
}

/* What openai_stop() needs to know goes by on the way to the client. */
struct noted {
	struct passage *p;
	passage_pass *pass;
	void *ctx;
};

static void
pass_noted(void *ctx, const char *data, size_t len, bool last)
{
	struct noted *n = ctx;

	openai_stop_note(&n->p->stop, data, len);
	n->pass(n->ctx, data, len, last);
}

int
passage_feed(struct passage *p, const char *data, size_t len, passage_pass *pass, void *ctx)
{
	struct noted noted = { p, pass, ctx };
	int rc;

	if (p->way == PASSAGE_OPENAI) {
		rc = p->may_stop ? openai_watch_feed(&p->watch, data, len, pass_noted, &noted)
				 : openai_watch_feed(&p->watch, data, len, pass, ctx);
		take_watch(p);
		return rc;
	}
	rc = convert_stream_feed(&p->stream, data, len);
	take_stream(p);
	if (p->way == PASSAGE_BYTES)
		pass(ctx, data, len, p->stream.ending);
	pass_written(p, pass, ctx);
	return rc;
}

int
passage_end(struct passage *p, passage_pass *pass, void *ctx)
{
	int rc;

	if (p->way == PASSAGE_CLOSED)
		return 0;
	if (p->way == PASSAGE_OPENAI) {
		rc = openai_watch_end(&p->watch, pass, ctx);
		take_watch(p);
		return rc;
	}
	p->cut_short = !p->stream.failed;
	rc = convert_stream_end(&p->stream);
	p->cut_short = p->cut_short && p->stream.failed;
	take_stream(p);
	pass_written(p, pass, ctx);
	return rc;
}

int
passage_whole(struct passage *p, struct span body, passage_pass *pass, void *ctx)
{
	int rc = convert_stream_whole(&p->stream, body);

	take_stream(p);
	pass_written(p, pass, ctx);
	return rc;
}

bool
passage_in_event(const struct passage *p)
{
	switch (p->way) {
	case PASSAGE_OPENAI:
		return p->watch.sse.overflowed;
	case PASSAGE_BYTES:
		/* pieces go on as they come, and only between frames is there nothing begun */
		return !frames_between(p->stream.frames);
	default:
		return false;
	}
}

int
passage_stop(struct passage *p, int64_t input_tokens, int64_t output_tokens, struct bytes *out)
{
	struct convert_stream *s = &p->stream;

	if (p->way == PASSAGE_OPENAI) {
		p->stop.input_tokens = input_tokens;
		p->stop.output_tokens = output_tokens;
		return openai_stop(&p->stop, out);
	}
	if (p->way == PASSAGE_CLOSED || s->silent || s->spliced || s->done || s->failed)
		return -1;
	if (convert_stream_stop(s, input_tokens, output_tokens) != 0)
		return -1;
	(void)bytes_add(out, s->out.at, s->out.len);
	bytes_drop(&s->out, s->out.len);
	return out->failed ? -1 : 0;
}
