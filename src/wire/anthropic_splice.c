/*
 * anthropic_splice.c - between Anthropic's messages and InvokeModel: the same content, other wrapping.
 *
 * Members are copied one by one as they stand; of messages not a byte is looked at but to see where they end.
 */
#include "wire/anthropic-int.h"
#include "wire/anthropic.h"

#include "base/base64.h"
#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

#define BETAS_MAX 64

/* ---- betas ---- */

/* What goes into a header must not end it. */
static bool
is_beta(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.at[i] <= 0x20 || (unsigned char)s.at[i] >= 0x7F ||
			strchr(",\"\\", s.at[i]) != NULL)
			return false;
	return s.len > 0;
}

static struct span
kept(struct arena *a, struct bytes *b)
{
	struct span s = SPAN_NONE;

	if (!b->failed)
		s = (struct span){ arena_strndup(a, b->at, b->len), b->len };
	bytes_free(b);
	return s.at == NULL ? SPAN_NONE : s;
}

/* Bedrock refuses betas that it does not know, and clients name all that they would like: Claude Code
 * those of its sign-in too.  The dates change. */
static bool
is_beta_of_bedrock(struct span beta)
{
	static const char *const known[] = { "interleaved-thinking-", "context-1m-",
		"context-management-", "compact-", "computer-use-", "token-efficient-tools-",
		"output-128k-", "dev-full-thinking-", "effort-", "tool-search-tool-",
		"tool-examples-" };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (span_starts(beta, known[i]))
			return true;
	return false;
}

/* "a, b" as ["a","b"]. */
static struct span
header_as_array(
	struct arena *a, struct span list, enum anthropic_flavour flavour, struct losses *lost)
{
	struct bytes b = BYTES_LIMIT(2 * list.len + 16);
	struct json_out o = { .to = &b };
	size_t count = 0;

	out_open(&o, NULL, '[');
	for (size_t at = 0; at < list.len;) {
		const char *comma = memchr(list.at + at, ',', list.len - at);
		size_t end = comma == NULL ? list.len : (size_t)(comma - list.at);
		struct span item = { list.at + at, end - at };

		at = end + 1;
		while (item.len > 0 && (item.at[0] == ' ' || item.at[0] == '\t'))
			item.at++, item.len--;
		while (item.len > 0 &&
			(item.at[item.len - 1] == ' ' || item.at[item.len - 1] == '\t'))
			item.len--;
		if (!is_beta(item) || count == BETAS_MAX)
			continue;
		if (flavour != ANTHROPIC_DIRECT && !is_beta_of_bedrock(item)) {
			losses_add(lost, item, false);
			continue;
		}
		out_text(&o, NULL, item);
		count++;
	}
	out_close(&o, ']');
	if (count == 0) {
		bytes_free(&b);
		return SPAN_NONE;
	}
	return kept(a, &b);
}

struct betas {
	struct arena *arena;
	struct bytes list;
	size_t count;
};

static bool
each_beta(void *ctx, const struct json_member *m)
{
	struct betas *b = ctx;
	struct span beta = text_plain(b->arena, m->value);

	if (beta.at == NULL || !is_beta(beta) || b->count == BETAS_MAX)
		return true;
	if (b->count++ > 0)
		(void)bytes_add(&b->list, ",", 1);
	(void)bytes_add(&b->list, beta.at, beta.len);
	return true;
}

const char *
anthropic_beta_header(struct arena *a, struct span betas)
{
	struct betas b = { .arena = a, .list = BYTES_LIMIT(betas.len) };
	const char *text = NULL;

	if (betas.at == NULL)
		return NULL;
	(void)json_each_element(betas, each_beta, &b, NULL);
	if (b.count > 0 && !b.list.failed)
		text = arena_strndup(a, b.list.at, b.list.len);
	bytes_free(&b.list);
	return text;
}

struct span
anthropic_betas(struct arena *a, const struct request_source *from, struct json_value in_body,
	enum anthropic_flavour flavour, struct losses *lost)
{
	struct span list = SPAN_NONE;

	if (from->header != NULL)
		list = from->header(from->ctx, "anthropic-beta");
	if (list.len > 0)
		return header_as_array(a, list, flavour, lost);
	return in_body.type == JSON_ARRAY && in_body.raw.len > 2 ? in_body.raw : SPAN_NONE;
}

/* ---- requests ---- */

/* What InvokeModel takes; anything else is "Extra inputs are not permitted" there. */
static const char *const invoke_members[] = { "max_tokens", "messages", "system", "stop_sequences",
	"temperature", "top_p", "top_k", "tools", "tool_choice", "thinking", "output_config",
	"output_format", "metadata", "context_management" };

/* What is written anew, if at all. */
static const char *const wrapping[] = { "model", "stream", "anthropic_version", "anthropic_beta" };
enum { WRAP_MODEL, WRAP_STREAM, WRAP_VERSION, WRAP_BETA, WRAPPINGS };

struct splicing {
	struct span body;
	enum anthropic_flavour flavour;
	struct json_value wrap[WRAPPINGS];
	struct losses *lost; /* NULL: the first walk */
	struct json_out *o;
};

static bool
is_taken(enum anthropic_flavour flavour, struct span key)
{
	if (flavour == ANTHROPIC_DIRECT)
		return true;
	for (size_t i = 0; i < sizeof invoke_members / sizeof invoke_members[0]; i++)
		if (span_is(key, invoke_members[i]))
			return true;
	return false;
}

/* The member as it stands, key and all. */
static void
put_member(struct json_out *o, struct span text, const struct json_member *m)
{
	out_json(o, NULL, (struct span){ text.at + m->start, m->end - m->start });
}

static bool
each_member(void *ctx, const struct json_member *m)
{
	struct splicing *s = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	for (size_t i = 0; i < WRAPPINGS; i++)
		if (span_is(key, wrapping[i])) {
			s->wrap[i] = m->value;
			return true;
		}
	if (s->lost == NULL)
		return true;
	if (is_taken(s->flavour, key))
		put_member(s->o, s->body, m);
	else if (m->value.type != JSON_NULL)
		losses_add(
			s->lost, m->key, span_is(key, "container") || span_is(key, "mcp_servers"));
	return true;
}

static bool
asks_stream(const struct splicing *s, const struct request_source *from)
{
	return from->path_model.at != NULL ? from->path_stream
					   : s->wrap[WRAP_STREAM].type == JSON_TRUE;
}

static void
put_wrapping(struct arena *a, const struct splicing *s, const struct request_source *from,
	const struct request_target *to, struct request_made *made)
{
	struct span betas = anthropic_betas(a, from, s->wrap[WRAP_BETA], s->flavour, s->lost);
	const char *header = NULL;

	if (s->flavour != ANTHROPIC_DIRECT) {
		out_string(s->o, "anthropic_version", ANTHROPIC_INVOKE_VERSION);
		out_json(s->o, "anthropic_beta", betas);
		return;
	}
	out_string(s->o, "model", to->model);
	if (asks_stream(s, from))
		out_bool(s->o, "stream", true);
	made->header[made->header_count].name = "anthropic-version";
	made->header[made->header_count++].value = ANTHROPIC_VERSION;
	header = anthropic_beta_header(a, betas);
	if (header != NULL) {
		made->header[made->header_count].name = "anthropic-beta";
		made->header[made->header_count++].value = header;
	}
}

int
anthropic_splice(struct arena *a, const struct request_source *from,
	const struct request_target *to, enum anthropic_flavour flavour, struct request_made *made,
	struct losses *lost, struct err *err)
{
	struct json_out o = { .to = made->body };
	struct splicing s = { .body = from->body, .flavour = flavour, .o = &o };
	size_t at = 0;

	if (json_each(from->body, each_member, &s, &at) != 0)
		return anthropic_no_object(from->body, at, err);
	s.lost = lost;
	out_open(&o, NULL, '{');
	put_wrapping(a, &s, from, to, made);
	(void)json_each(from->body, each_member, &s, NULL);
	out_close(&o, '}');
	return made->body->failed ? err_set(err, ERR_MEMORY, "no memory for a request") : 0;
}

int
anthropic_splice_request(struct arena *a, const struct request_source *from,
	const struct request_target *to, struct request_made *made, struct losses *lost,
	struct err *err)
{
	return anthropic_splice(a, from, to, ANTHROPIC_DIRECT, made, lost, err);
}

/* ---- answers ---- */

/* An object with another model and without Amazon's own figures. */
struct relabel {
	struct span text;
	const char *model;
	struct json_out o;
	const char
		*inside; /* the member that holds the object to change: "message"; NULL: this one */
};

static bool relabel_member(void *ctx, const struct json_member *m);

static void
relabel_object(struct span text, const char *model, const char *inside, struct bytes *out)
{
	struct relabel r = { .text = text, .model = model, .o = { .to = out }, .inside = inside };

	out_open(&r.o, NULL, '{');
	(void)json_each(text, relabel_member, &r, NULL);
	out_close(&r.o, '}');
}

static bool
relabel_member(void *ctx, const struct json_member *m)
{
	struct relabel *r = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	if (span_is(key, ANTHROPIC_METRICS))
		return true;
	if (r->inside != NULL && span_is(key, r->inside) && m->value.type == JSON_OBJECT) {
		(void)bytes_printf(r->o.to, "%s\"%s\":", r->o.comma ? "," : "", r->inside);
		relabel_object(m->value.raw, r->model, NULL, r->o.to);
		r->o.comma = true;
	} else if (r->inside == NULL && span_is(key, "model") && r->model != NULL) {
		out_string(&r->o, "model", r->model);
	} else {
		put_member(&r->o, r->text, m);
	}
	return true;
}

int
anthropic_splice_reply(struct span body, const struct reply_options *o, struct bytes *out)
{
	relabel_object(body, o->model, NULL, out);
	return out->failed ? -1 : 0;
}

/* ---- streams ---- */

/* JSON may have line ends between its tokens; a data line may not. */
static void
put_line(struct bytes *out, struct span json)
{
	size_t at = out->len;

	(void)bytes_add(out, json.at, json.len);
	for (; !out->failed && at < out->len; at++)
		if (out->at[at] == '\n' || out->at[at] == '\r')
			out->at[at] = ' ';
}

static int
put_chunk(struct bytes *out, struct span json)
{
	struct bytes payload = BYTES_LIMIT(2 * json.len + 64);

	(void)bytes_puts(&payload, "{\"bytes\":\"");
	(void)base64_encode(&payload, json);
	(void)bytes_puts(&payload, "\"}");
	if (payload.failed || eventstream_write(out, "event", "chunk", bytes_span(&payload)) != 0)
		out->failed = true;
	bytes_free(&payload);
	return out->failed ? -1 : 0;
}

int
anthropic_put_event(
	struct bytes *out, enum anthropic_flavour flavour, const char *name, struct span json)
{
	if (flavour == ANTHROPIC_BEDROCK)
		return put_chunk(out, json);
	if (flavour == ANTHROPIC_DIRECT)
		(void)bytes_printf(out, "event: %s\n", name);
	(void)bytes_puts(out, "data: ");
	put_line(out, json);
	return bytes_puts(out, "\n\n");
}

struct span
anthropic_unwrap(struct span data, struct bytes *room)
{
	static const char *const wrap[] = { "bytes" };
	struct json_value bytes;
	struct span inside;

	if (text_pick(data, wrap, 1, &bytes, NULL, NULL) != 0 || bytes.type != JSON_STRING)
		return data;
	inside = text_inside(bytes.raw);
	/* base64 needs no escapes, but a slash may be written as one */
	if (memchr(inside.at, '\\', inside.len) != NULL) {
		struct bytes plain = BYTES_LIMIT(inside.len);
		int rc;

		for (size_t i = 0; i < inside.len; i++)
			if (inside.at[i] != '\\')
				(void)bytes_add(&plain, inside.at + i, 1);
		rc = plain.failed ? -1 : base64_decode(room, bytes_span(&plain));
		bytes_free(&plain);
		return rc == 0 ? bytes_span(room) : SPAN_NONE;
	}
	return base64_decode(room, inside) == 0 ? bytes_span(room) : SPAN_NONE;
}

static int
splice_event(struct span json, enum anthropic_flavour flavour, const struct reply_options *o,
	struct bytes *out)
{
	struct bytes changed = BYTES_LIMIT(FRAME_BYTES_MAX);
	char name[WIRE_KEY_BYTES];
	int rc;

	if (json_string(json_get(json, "type"), name, sizeof name) <= 0 ||
		strpbrk(name, "\r\n") != NULL)
		return 0; /* what says not what it is, is passed over */
	if (strcmp(name, "ping") == 0 && flavour != ANTHROPIC_DIRECT)
		return 0; /* these providers send none */
	if (strcmp(name, "message_start") == 0)
		relabel_object(json, o->model, "message", &changed);
	else if (strcmp(name, "message_stop") == 0)
		relabel_object(json, NULL, NULL, &changed);
	if (changed.failed)
		out->failed = true;
	rc = anthropic_put_event(out, flavour, name, changed.len > 0 ? bytes_span(&changed) : json);
	bytes_free(&changed);
	return rc;
}

int
anthropic_splice_flavoured(const struct frame *f, enum anthropic_flavour flavour,
	const struct reply_options *o, struct bytes *out)
{
	struct bytes room = BYTES_LIMIT(FRAME_BYTES_MAX);
	struct span json = anthropic_unwrap(f->data, &room);
	int rc = 0;

	if (room.failed && room.len < room.limit)
		out->failed = true;
	else if (json.at != NULL)
		rc = splice_event(json, flavour, o, out);
	bytes_free(&room);
	return out->failed ? -1 : rc;
}

int
anthropic_splice_frame(const struct frame *f, const struct reply_options *o, struct bytes *out)
{
	return anthropic_splice_flavoured(f, ANTHROPIC_DIRECT, o, out);
}
