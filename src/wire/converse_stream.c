/*
 * converse_stream.c - ConverseStream's events, read.
 *
 * Blocks of an answer have an index each, and nothing forbids a provider to send them in turns, while
 * the neutral form wants one after the other.  So the block that began first is passed on as it comes,
 * and what comes for others waits, as it stands, until those before have ended.
 */
#include "wire/converse-int.h"

#include "wire/wire-int.h"
#include <stdlib.h>
#include <string.h>

#define BLOCKS_MAX    256                       /* that wait */
#define HELD_MAX      ((size_t)FRAME_BYTES_MAX) /* bytes of what waits, all blocks together */
#define SIGNATURE_MAX ((size_t)1 << 20)
#define NAME_MAX_LEN  1024 /* of a tool's name, or a call's id */

struct block {
	struct block *next;
	int64_t index;
	bool ended; /* no more comes */
	bool is_call;
	bool open;           /* a part of it is */
	enum part_kind kind; /* of that part */
	char *id, *name;     /* of a call */
	const char *mime;    /* of an image, or NULL */
	struct bytes signature;
	struct bytes held; /* deltas that wait: a length and a JSON object each */
};

struct converse_reader {
	struct block *first; /* is passed on; the others wait */
	size_t count;
	size_t held;
	int64_t last_index;
	bool started, called, stopped, over;
	neutral_emit *emit; /* of the call that runs */
	void *ctx;
};

const size_t converse_reader_bytes = sizeof(struct converse_reader);

/* ---- blocks ---- */

static void
free_block(struct block *b)
{
	free(b->id);
	free(b->name);
	bytes_free(&b->signature);
	bytes_free(&b->held);
	free(b);
}

void
converse_reader_free(void *state)
{
	struct converse_reader *r = state;

	while (r->first != NULL) {
		struct block *next = r->first->next;

		free_block(r->first);
		r->first = next;
	}
	r->count = 0;
}

/* The block of that index that has not ended. */
static struct block *
find_block(struct converse_reader *r, int64_t index)
{
	struct block *b = r->first;

	while (b != NULL && (b->index != index || b->ended))
		b = b->next;
	return b;
}

/* ---- giving ---- */

static int
give(struct converse_reader *r, const struct neutral_event *e)
{
	return r->emit(r->ctx, e) == 0 ? 0 : -1;
}

static int
give_error(struct converse_reader *r, const struct err *err)
{
	struct neutral_event e = { .kind = EVENT_ERROR, .err = err };

	r->over = true;
	return give(r, &e);
}

static int
fail(struct converse_reader *r, const char *text)
{
	struct err err = { 0 };

	(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "a stream of Converse: %s", text);
	(void)err_say(&err, "The provider's stream could not be read to its end.");
	return give_error(r, &err);
}

static int
start(struct converse_reader *r)
{
	struct neutral_event e = { .kind = EVENT_START, .id = { "", 0 }, .model = { "", 0 } };

	if (r->started)
		return 0;
	r->started = true;
	return give(r, &e);
}

static struct neutral_event
event_of(const struct block *b, enum event_kind kind)
{
	struct neutral_event e = { .kind = kind, .part.kind = b->kind };

	if (b->kind == PART_TOOL_CALL) {
		e.part.call_id = span_of(b->id);
		e.part.name = span_of(b->name);
	}
	return e;
}

static int
end_part(struct converse_reader *r, struct block *b)
{
	struct neutral_event e = event_of(b, EVENT_DELTA);

	if (!b->open)
		return 0;
	b->open = false;
	if (b->signature.len > 0) {
		e.signature = bytes_span(&b->signature);
		e.part.signer = SIGNER_ANTHROPIC;
		if (give(r, &e) != 0)
			return -1;
		bytes_free(&b->signature);
		e = event_of(b, EVENT_DELTA);
	}
	e.kind = EVENT_PART_END;
	return give(r, &e);
}

static int
open_part(struct converse_reader *r, struct block *b, enum part_kind kind)
{
	struct neutral_event e;

	if (b->open && b->kind == kind)
		return 0;
	if (end_part(r, b) != 0)
		return -1;
	b->open = true;
	b->kind = kind;
	e = event_of(b, EVENT_PART);
	return give(r, &e);
}

static int
give_text(struct converse_reader *r, struct block *b, enum part_kind kind, struct json_value v)
{
	struct neutral_event e;

	if (v.type != JSON_STRING || text_is_empty(v.raw))
		return 0;
	if (open_part(r, b, kind) != 0)
		return -1;
	e = event_of(b, EVENT_DELTA);
	e.text = v.raw;
	return give(r, &e);
}

/* A part that comes whole: PART and PART_END. */
static int
give_whole(struct converse_reader *r, struct block *b, const struct neutral_part *part)
{
	struct neutral_event e = { .kind = EVENT_PART, .part = *part };

	if (end_part(r, b) != 0 || give(r, &e) != 0)
		return -1;
	e.kind = EVENT_PART_END;
	return give(r, &e);
}

/* ---- deltas ---- */

/* Runs fn with the string decoded; only escapes cost memory. */
static int
with_plain(struct converse_reader *r, struct block *b, struct json_value v,
	int (*fn)(struct converse_reader *r, struct block *b, struct span plain))
{
	struct arena *a =
		memchr(v.raw.at, '\\', v.raw.len) == NULL ? NULL : arena_new(v.raw.len + 4096);
	struct span plain;
	int rc;

	if (a == NULL && memchr(v.raw.at, '\\', v.raw.len) != NULL)
		return -1;
	plain = text_plain(a, v);
	rc = plain.at == NULL ? fail(r, "a string that cannot be decoded") : fn(r, b, plain);
	arena_free(a);
	return rc;
}

static int
add_signature(struct converse_reader *r, struct block *b, struct span plain)
{
	if (plain.len == 0)
		return 0;
	if (open_part(r, b, PART_REASONING) != 0)
		return -1;
	if (plain.len > SIGNATURE_MAX - b->signature.len)
		return fail(r, "a signature that is too long");
	b->signature.limit = SIGNATURE_MAX;
	return bytes_add(&b->signature, plain.at, plain.len);
}

static int
give_redacted(struct converse_reader *r, struct block *b, struct span plain)
{
	struct neutral_part part = {
		.kind = PART_REDACTED, .signature = plain, .signer = SIGNER_ANTHROPIC
	};

	return plain.len == 0 ? 0 : give_whole(r, b, &part);
}

static int
give_image(struct converse_reader *r, struct block *b, struct span plain)
{
	struct neutral_part part = { .kind = PART_IMAGE, .data = plain };

	part.mime = span_of(b->mime == NULL ? "image/png" : b->mime);
	return plain.len == 0 ? 0 : give_whole(r, b, &part);
}

static int
give_reasoning(struct converse_reader *r, struct block *b, struct json_value v)
{
	static const char *const names[] = { "text", "signature", "redactedContent" };
	struct json_value found[3];

	(void)TEXT_PICK(v.raw, names, found);
	if (give_text(r, b, PART_REASONING, found[0]) != 0)
		return -1;
	if (!r->over && found[1].type == JSON_STRING &&
		with_plain(r, b, found[1], add_signature) != 0)
		return -1;
	if (!r->over && found[2].type == JSON_STRING)
		return with_plain(r, b, found[2], give_redacted);
	return 0;
}

static int
give_arguments(struct converse_reader *r, struct block *b, struct json_value v)
{
	struct json_value input = json_get(v.raw, "input");

	if (input.type != JSON_STRING || text_is_empty(input.raw))
		return 0;
	if (!b->open || b->kind != PART_TOOL_CALL)
		return fail(r, "arguments of a call that did not begin");
	return give_text(r, b, PART_TOOL_CALL, input);
}

static int
give_delta(struct converse_reader *r, struct block *b, struct span delta)
{
	static const char *const names[] = { "text", "toolUse", "reasoningContent", "image" };
	struct json_value found[4], bytes;

	(void)TEXT_PICK(delta, names, found);
	if (found[1].type == JSON_OBJECT)
		return give_arguments(r, b, found[1]);
	if (found[2].type == JSON_OBJECT)
		return give_reasoning(r, b, found[2]);
	if (found[3].type == JSON_OBJECT) {
		bytes = json_path(found[3].raw, "source.bytes");
		return bytes.type == JSON_STRING ? with_plain(r, b, bytes, give_image) : 0;
	}
	return give_text(r, b, PART_TEXT, found[0]);
}

/* ---- blocks in their order ---- */

/* It is this one's turn: it begins, and what waited is given. */
static int
begin(struct converse_reader *r, struct block *b)
{
	struct span held = bytes_span(&b->held);
	size_t at = 0, len;

	if (b->is_call && open_part(r, b, PART_TOOL_CALL) != 0)
		return -1;
	while (at < held.len && !r->over) {
		memcpy(&len, held.at + at, sizeof len);
		at += sizeof len;
		if (give_delta(r, b, (struct span){ held.at + at, len }) != 0)
			return -1;
		at += len;
	}
	r->held -= held.len;
	bytes_free(&b->held);
	return 0;
}

static int
drop_first(struct converse_reader *r)
{
	struct block *b = r->first;

	if (end_part(r, b) != 0)
		return -1;
	r->first = b->next;
	r->count--;
	free_block(b);
	return r->first == NULL ? 0 : begin(r, r->first);
}

static int
drop_ended(struct converse_reader *r)
{
	while (r->first != NULL && r->first->ended && !r->over)
		if (drop_first(r) != 0)
			return -1;
	return 0;
}

/* NULL: out of memory, or an ERROR was given (r->over). */
static struct block *
add_block(struct converse_reader *r, int64_t index)
{
	struct block **end = &r->first, *b;

	if (r->count == BLOCKS_MAX) {
		(void)fail(r, "too many blocks that do not end");
		return NULL;
	}
	b = calloc(1, sizeof *b);
	if (b == NULL)
		return NULL;
	b->index = index;
	while (*end != NULL)
		end = &(*end)->next;
	*end = b;
	r->count++;
	if (index > r->last_index)
		r->last_index = index;
	return b;
}

static int
hold(struct converse_reader *r, struct block *b, struct span delta)
{
	if (delta.len > HELD_MAX - sizeof delta.len ||
		r->held > HELD_MAX - sizeof delta.len - delta.len)
		return fail(r, "too much of a block before its turn");
	b->held.limit = HELD_MAX;
	r->held += sizeof delta.len + delta.len;
	if (bytes_add(&b->held, &delta.len, sizeof delta.len) != 0)
		return -1;
	return bytes_add(&b->held, delta.at, delta.len);
}

/* ---- events ---- */

static int64_t
index_of(struct json_value v, int64_t otherwise)
{
	int64_t index;

	return json_int(v, &index) == 0 && index >= 0 ? index : otherwise;
}

/* Of a delta or stop that does not say: the block that began last. */
static int64_t
current_index(const struct converse_reader *r)
{
	const struct block *b = r->first;

	if (b == NULL)
		return r->last_index + 1;
	while (b->next != NULL)
		b = b->next;
	return b->index;
}

/* A copy with a NUL; a new id where there is none. */
static char *
copy_plain(struct json_value v, const char *prefix)
{
	struct arena *a = arena_new(2 * NAME_MAX_LEN + 4096);
	struct span s = a == NULL || v.raw.len > NAME_MAX_LEN ? SPAN_NONE : text_plain(a, v);
	char *copy;

	if (a != NULL && s.len == 0 && prefix != NULL)
		s = text_new_id(a, prefix);
	copy = s.len == 0 ? NULL : strndup(s.at, s.len);
	arena_free(a);
	return copy;
}

static int
on_start(struct converse_reader *r, struct span data)
{
	static const char *const names[] = { "contentBlockIndex", "start" };
	static const char *const kinds[] = { "toolUse", "image" };
	static const char *const inner[] = { "toolUseId", "name" };
	struct json_value found[2], kind[2], call[2];
	struct block *b, *before;
	int64_t index;

	if (TEXT_PICK(data, names, found) != 0)
		return fail(r, "an event that is no JSON object");
	index = index_of(found[0], r->last_index + 1);
	before = find_block(r, index);
	if (before != NULL)
		before->ended = true;
	if (drop_ended(r) != 0)
		return -1;
	if (r->over || (b = add_block(r, index)) == NULL)
		return r->over ? 0 : -1;
	(void)TEXT_PICK(found[1].raw, kinds, kind);
	if (kind[0].type == JSON_OBJECT) {
		(void)TEXT_PICK(kind[0].raw, inner, call);
		b->is_call = true;
		b->id = copy_plain(call[0], "tooluse_");
		b->name = copy_plain(call[1], NULL);
		if (b->id == NULL || b->name == NULL)
			return fail(r, "a tool call without a name");
		r->called = true;
	} else if (kind[1].type == JSON_OBJECT) {
		b->mime =
			converse_mime(PART_IMAGE, text_inside(json_get(kind[1].raw, "format").raw));
	}
	return b == r->first ? begin(r, b) : 0;
}

static int
on_delta(struct converse_reader *r, struct span data)
{
	static const char *const names[] = { "contentBlockIndex", "delta" };
	struct json_value found[2];
	struct block *b;
	int64_t index;

	if (TEXT_PICK(data, names, found) != 0)
		return fail(r, "an event that is no JSON object");
	if (found[1].type != JSON_OBJECT)
		return 0;
	index = index_of(found[0], current_index(r));
	b = find_block(r, index);
	if (b == NULL && (b = add_block(r, index)) == NULL)
		return r->over ? 0 : -1;
	return b == r->first ? give_delta(r, b, found[1].raw) : hold(r, b, found[1].raw);
}

static int
on_stop(struct converse_reader *r, struct span data)
{
	struct block *b =
		find_block(r, index_of(json_get(data, "contentBlockIndex"), current_index(r)));

	if (b != NULL)
		b->ended = true;
	return drop_ended(r);
}

static int
on_message_stop(struct converse_reader *r, struct span data)
{
	static const char *const names[] = { "stopReason", "additionalModelResponseFields" };
	struct neutral_event e = { .kind = EVENT_FINISH };
	struct json_value found[2], sequence;

	if (TEXT_PICK(data, names, found) != 0)
		return fail(r, "an event that is no JSON object");
	while (r->first != NULL && !r->over)
		if (drop_first(r) != 0)
			return -1;
	if (r->over)
		return 0;
	r->stopped = true;
	e.finish = neutral_finish(converse_finish(found[0]), r->called);
	sequence = json_get(found[1].raw, "stop_sequence");
	if (sequence.type == JSON_STRING)
		e.stop_sequence = sequence.raw;
	return give(r, &e);
}

static int
give_end(struct converse_reader *r)
{
	struct neutral_event e = { .kind = EVENT_END };

	r->over = true;
	return give(r, &e);
}

static int
on_metadata(struct converse_reader *r, struct span data)
{
	struct neutral_event e = { .kind = EVENT_USAGE, .usage = WIRE_USAGE_NONE };

	converse_usage(data, &e.usage);
	if (e.usage.seen && give(r, &e) != 0)
		return -1;
	return r->stopped ? give_end(r) : 0;
}

static int
on_message_start(struct converse_reader *r, struct span data)
{
	(void)r;
	(void)data;
	return 0;
}

/* ---- errors ---- */

static enum err_code
code_of(struct span name, struct span data, const char *message)
{
	static const struct {
		const char *name;
		enum err_code code;
	} codes[] = {
		{ "throttlingException", ERR_RATE_LIMITED },
		{ "serviceQuotaExceededException", ERR_RATE_LIMITED },
		{ "serviceUnavailableException", ERR_OVERLOADED },
		{ "modelNotReadyException", ERR_OVERLOADED },
		{ "validationException", ERR_BAD_REQUEST },
		{ "modelTimeoutException", ERR_UPSTREAM_TIMEOUT },
		{ "accessDeniedException", ERR_UPSTREAM_CREDENTIALS },
		{ "unrecognizedClientException", ERR_UPSTREAM_CREDENTIALS },
		{ "expiredTokenException", ERR_UPSTREAM_CREDENTIALS },
	};
	int64_t status = 0;

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (span_is_nocase(name, codes[i].name)) {
			if (codes[i].code == ERR_BAD_REQUEST &&
				strcasestr(message, "too long") != NULL)
				return ERR_CONTEXT_TOO_LONG;
			return codes[i].code;
		}
	/* the model's own error within one of the service's */
	(void)json_int(json_get(data, "originalStatusCode"), &status);
	return status == 429                    ? ERR_RATE_LIMITED
	       : status == 503 || status == 529 ? ERR_OVERLOADED
						: ERR_UPSTREAM_UNREACHABLE;
}

static int
on_exception(struct converse_reader *r, struct span name, struct span data)
{
	static const char *const names[] = { "message", "Message", "originalMessage" };
	struct json_value found[3];
	char message[WIRE_CUT_MAX] = "";
	struct err err = { 0 };

	(void)TEXT_PICK(data, names, found);
	for (size_t i = 0; i < 3 && message[0] == '\0'; i++)
		wire_copy_string(found[i], message, sizeof message);
	(void)err_set(&err, code_of(name, data, message), "the provider's exception %.*s: %s",
		(int)(name.len < 64 ? name.len : 64), name.len == 0 ? "" : name.at, message);
	if (err.code != ERR_UPSTREAM_CREDENTIALS && message[0] == '\0')
		(void)err_say(&err, "The provider failed and gave no reason.");
	else if (err.code != ERR_UPSTREAM_CREDENTIALS)
		(void)err_say(&err, "The provider failed: %s", message);
	return give_error(r, &err);
}

/* ---- frames ---- */

/* An event of that name; false: there is none. */
static bool
take_event(struct converse_reader *r, struct span name, struct span data, int *rc)
{
	static const struct {
		const char *name;
		int (*take)(struct converse_reader *r, struct span data);
		bool late; /* comes behind messageStop */
	} events[] = { { "contentBlockDelta", on_delta, false },
		{ "contentBlockStart", on_start, false }, { "contentBlockStop", on_stop, false },
		{ "messageStart", on_message_start, false },
		{ "messageStop", on_message_stop, false }, { "metadata", on_metadata, true } };

	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
		if (!span_is(name, events[i].name))
			continue;
		*rc = start(r);
		if (*rc == 0 && (!r->stopped || events[i].late))
			*rc = events[i].take(r, data);
		return true;
	}
	return false;
}

struct named {
	struct converse_reader *r;
	bool taken;
	int rc;
};

static bool
take_named(void *ctx, const struct json_member *m)
{
	static const char ending[] = "Exception";
	struct named *n = ctx;
	size_t len = sizeof ending - 1;

	if (m->value.type != JSON_OBJECT)
		return true;
	n->taken = take_event(n->r, m->key, m->value.raw, &n->rc);
	if (!n->taken && m->key.len > len &&
		memcmp(m->key.at + m->key.len - len, ending, len) == 0) {
		n->taken = true;
		n->rc = on_exception(n->r, m->key, m->value.raw);
	}
	return !n->taken;
}

/* The event stands in the data under its name, or the data is an error. */
static int
read_union(struct converse_reader *r, struct span data)
{
	static const char *const names[] = { "error", "message" };
	struct named n = { .r = r };
	struct json_value found[2];
	struct err err = { 0 };

	if (data.len == 0 || data.at[0] != '{')
		return 0;
	if (!json_valid(data))
		return fail(r, "an event that is no JSON");
	(void)json_each(data, take_named, &n, NULL);
	if (n.taken)
		return n.rc;
	(void)TEXT_PICK(data, names, found);
	if (found[0].type <= JSON_NULL && found[1].type != JSON_STRING)
		return 0;
	(void)error_of_provider(data, &err);
	return give_error(r, &err);
}

int
converse_read_frame(void *state, const struct frame *f, neutral_emit *emit, void *ctx)
{
	struct converse_reader *r = state;
	int rc = 0;

	r->emit = emit;
	r->ctx = ctx;
	if (r->over)
		return 0;
	if (f->exception)
		return on_exception(r, f->name, f->data);
	if (f->name.len > 0 && take_event(r, f->name, f->data, &rc))
		return rc;
	return read_union(r, f->data);
}

int
converse_read_end(void *state, neutral_emit *emit, void *ctx)
{
	struct converse_reader *r = state;
	struct err err = { 0 };

	r->emit = emit;
	r->ctx = ctx;
	if (r->over)
		return 0;
	if (r->stopped)
		return give_end(r);
	(void)err_set(&err, ERR_UPSTREAM_UNREACHABLE, "a stream of Converse without messageStop");
	(void)err_say(&err, "The provider's stream ended before its answer was complete.");
	return give_error(r, &err);
}
