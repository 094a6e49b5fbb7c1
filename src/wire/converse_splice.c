/*
 * converse_splice.c - from Converse to Converse in another framing: what only they know survives.
 */
#include "wire/converse-int.h"

int
converse_splice_request(struct arena *a, const struct request_source *from,
	const struct request_target *to, struct request_made *made, struct losses *lost,
	struct err *err)
{
	(void)a;
	(void)to; /* the model stands in the path */
	(void)lost;
	if (text_pick(from->body, NULL, 0, NULL, NULL, NULL) != 0) {
		(void)err_set(err, ERR_BAD_REQUEST, "the body is no JSON object");
		return err_say(err, "The request's body is no valid JSON object.");
	}
	if (bytes_add(made->body, from->body.at, from->body.len) != 0)
		return err_set(err, ERR_MEMORY, "no memory for a request to Converse");
	return 0;
}

int
converse_splice_reply(struct span body, const struct reply_options *o, struct bytes *out)
{
	(void)o;
	return bytes_add(out, body.at, body.len);
}

/* The event's name and payload, whichever framing it came in; no name: it is none.  Exceptions do not
 * come here, as the reader makes errors of them. */
struct event {
	struct span name, payload;
};

static bool
note_first(void *ctx, const struct json_member *m)
{
	struct event *e = ctx;

	if (m->value.type != JSON_OBJECT)
		return true;
	e->name = m->key;
	e->payload = m->value.raw;
	return false;
}

static struct event
event_of(const struct frame *f)
{
	struct event e = { .name = f->name, .payload = f->data };

	if (f->name.len == 0)
		(void)json_each(f->data, note_first, &e, NULL);
	return e;
}

int
converse_splice_frame(const struct frame *f, const struct reply_options *o, struct bytes *out)
{
	struct event e = event_of(f);
	char name[128];

	(void)o;
	if (e.name.len == 0 || !span_copy(e.name, name, sizeof name))
		return 0;
	return eventstream_write(out, "event", name, e.payload);
}

int
sap_converse_splice_frame(const struct frame *f, const struct reply_options *o, struct bytes *out)
{
	struct event e = event_of(f);

	(void)o;
	if (e.name.len == 0)
		return 0;
	(void)bytes_puts(out, "data: {");
	(void)bytes_json(out, e.name);
	(void)bytes_puts(out, ":");
	(void)bytes_add(out, e.payload.at, e.payload.len);
	return bytes_puts(out, "}\n\n");
}
