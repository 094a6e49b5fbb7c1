/*
 * converse_block.c - content blocks of messages, tool results and answers, read into parts.
 *
 * A block is an object of one member, whose name is its type.
 */
#include "wire/converse-int.h"

#include "wire/wire-int.h"
#include <stdio.h>
#include <string.h>

/* ---- formats ---- */

static const struct {
	enum part_kind kind;
	const char *format, *mime;
} formats[] = {
	{ PART_IMAGE, "png", "image/png" },
	{ PART_IMAGE, "jpeg", "image/jpeg" },
	{ PART_IMAGE, "gif", "image/gif" },
	{ PART_IMAGE, "webp", "image/webp" },
	{ PART_DOCUMENT, "pdf", "application/pdf" },
	{ PART_DOCUMENT, "csv", "text/csv" },
	{ PART_DOCUMENT, "doc", "application/msword" },
	{ PART_DOCUMENT, "docx",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
	{ PART_DOCUMENT, "xls", "application/vnd.ms-excel" },
	{ PART_DOCUMENT, "xlsx",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
	{ PART_DOCUMENT, "html", "text/html" },
	{ PART_DOCUMENT, "txt", "text/plain" },
	{ PART_DOCUMENT, "md", "text/markdown" },
	{ PART_AUDIO, "mp3", "audio/mp3" },
	{ PART_AUDIO, "mp3", "audio/mpeg" },
	{ PART_AUDIO, "wav", "audio/wav" },
	{ PART_AUDIO, "wav", "audio/x-wav" },
	{ PART_AUDIO, "flac", "audio/flac" },
	{ PART_AUDIO, "ogg", "audio/ogg" },
	{ PART_AUDIO, "opus", "audio/opus" },
	{ PART_AUDIO, "aac", "audio/aac" },
	{ PART_AUDIO, "m4a", "audio/m4a" },
	{ PART_AUDIO, "mp4", "audio/mp4" },
	{ PART_AUDIO, "webm", "audio/webm" },
	{ PART_AUDIO, "pcm", "audio/pcm" },
	{ PART_VIDEO, "mp4", "video/mp4" },
	{ PART_VIDEO, "mov", "video/quicktime" },
	{ PART_VIDEO, "mkv", "video/x-matroska" },
	{ PART_VIDEO, "webm", "video/webm" },
	{ PART_VIDEO, "flv", "video/x-flv" },
	{ PART_VIDEO, "mpeg", "video/mpeg" },
	{ PART_VIDEO, "mpg", "video/mpg" },
	{ PART_VIDEO, "wmv", "video/x-ms-wmv" },
	{ PART_VIDEO, "three_gp", "video/3gpp" },
};

const char *
converse_mime(enum part_kind kind, struct span format)
{
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
		if (formats[i].kind == kind && span_is_nocase(format, formats[i].format))
			return formats[i].mime;
	return NULL;
}

const char *
converse_format(enum part_kind kind, struct span mime)
{
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
		if (formats[i].kind == kind && span_is_nocase(mime, formats[i].mime))
			return formats[i].format;
	return NULL;
}

/* ---- what all blocks need ---- */

int
converse_fault(struct converse_blocks *b, const char *member, const char *what)
{
	char path[CONVERSE_PATH_BYTES + 64];

	b->rc = -1;
	(void)snprintf(path, sizeof path, "%s[%zu]%s%s", b->path, b->index,
		member[0] == '\0' ? "" : ".", member);
	if (b->request == NULL)
		return err_set(b->err, ERR_UPSTREAM_UNREACHABLE, "the provider's answer: '%s' %s",
			path, what);
	(void)err_set(b->err, ERR_BAD_REQUEST, "'%s' %s", path, what);
	(void)err_say(b->err, "'%s' %s.", path, what);
	return err_field(b->err, path);
}

static int
no_memory(struct converse_blocks *b)
{
	b->rc = -1;
	return err_set(b->err, ERR_MEMORY, "no memory for a content block");
}

static struct neutral_part *
add(struct converse_blocks *b, enum part_kind kind)
{
	struct neutral_part *p =
		b->result != NULL    ? neutral_add_result(b->request, b->result, kind, b->err)
		: b->request != NULL ? neutral_add(b->request, b->role, kind, b->err)
				     : neutral_reply_add(b->reply, 0, kind, b->err);

	if (p == NULL)
		b->rc = -1;
	return p;
}

static void
lose(struct converse_blocks *b, const char *name, bool matters)
{
	if (b->lost != NULL)
		losses_add(b->lost, span_of(name), matters);
}

static bool
is_there(struct json_value v)
{
	return v.type != JSON_NONE && v.type != JSON_NULL;
}

/* A string member, decoded; absent: empty.  False with the fault told. */
static bool
plain(struct converse_blocks *b, struct json_value v, const char *member, struct span *out)
{
	*out = (struct span){ "", 0 };
	if (!is_there(v))
		return true;
	*out = text_plain(b->arena, v);
	if (out->at != NULL)
		return true;
	(void)converse_fault(b, member, "must be a string");
	return false;
}

/* The same where it must be there, and not empty. */
static bool
plain_needed(struct converse_blocks *b, struct json_value v, const char *member, struct span *out)
{
	if (!plain(b, v, member, out))
		return false;
	if (out->len > 0)
		return true;
	(void)converse_fault(b, member, "is missing");
	return false;
}

struct texts {
	struct arena *arena;
	struct span *text;
	size_t count;
};

static bool
note_text(void *ctx, const struct json_member *m)
{
	struct texts *t = ctx;
	struct json_value text = json_get(m->value.raw, "text");

	if (text.type != JSON_STRING)
		return true;
	if (t->text != NULL)
		t->text[t->count] = text.raw;
	t->count++;
	return true;
}

struct span
converse_texts(struct arena *a, struct json_value array, const char *between)
{
	struct texts t = { .arena = a };

	if (array.type != JSON_ARRAY)
		return SPAN_NONE;
	(void)json_each_element(array.raw, note_text, &t, NULL);
	if (t.count == 0)
		return SPAN_NONE;
	t.text = arena_alloc(a, t.count * sizeof *t.text);
	if (t.text == NULL)
		return SPAN_NONE;
	t.count = 0;
	(void)json_each_element(array.raw, note_text, &t, NULL);
	return text_joined(a, t.text, t.count, between);
}

enum cache_mark
converse_cache_point(struct json_value v)
{
	return span_is(text_inside(json_get(v.raw, "ttl").raw), "1h") ? CACHE_1H : CACHE_5M;
}

/* ---- each type ---- */

static void
read_text(struct converse_blocks *b, struct json_value v)
{
	struct neutral_part *p;

	if (v.type != JSON_STRING) {
		(void)converse_fault(b, "text", "must be a string");
		return;
	}
	p = add(b, PART_TEXT);
	if (p != NULL)
		p->text = v.raw;
}

static bool
read_s3(struct converse_blocks *b, struct neutral_part *p, struct json_value v)
{
	static const char *const names[] = { "uri", "bucketOwner" };
	struct json_value found[2];

	if (TEXT_PICK(v.raw, names, found) != 0 ||
		!plain_needed(b, found[0], "source.s3Location.uri", &p->file_id)) {
		if (b->rc == 0)
			(void)converse_fault(b, "source.s3Location", "must be an object");
		return false;
	}
	if (is_there(found[1]))
		lose(b, "bucketOwner", false);
	return true;
}

static bool
read_source(struct converse_blocks *b, struct neutral_part *p, struct json_value v)
{
	static const char *const names[] = { "bytes", "s3Location", "text", "content" };
	struct json_value found[4];

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, found) != 0) {
		(void)converse_fault(b, "source", "must be an object");
		return false;
	}
	if (is_there(found[0]))
		return plain(b, found[0], "source.bytes", &p->data);
	if (is_there(found[1]))
		return read_s3(b, p, found[1]);
	if (p->kind == PART_DOCUMENT && found[2].type == JSON_STRING) {
		p->text = found[2].raw;
		return true;
	}
	if (p->kind == PART_DOCUMENT && found[3].type == JSON_ARRAY)
		p->text = converse_texts(b->arena, found[3], "\\n\\n");
	if (p->text.at != NULL)
		return true;
	(void)converse_fault(b, "source", "holds nothing that is known here");
	return false;
}

/* What the provider knows and we do not is passed on by its name, where its kind of MIME type shows it. */
static bool
read_format(struct converse_blocks *b, struct neutral_part *p, struct json_value v)
{
	static const char *const families[PART__COUNT] = {
		[PART_IMAGE] = "image", [PART_AUDIO] = "audio", [PART_VIDEO] = "video"
	};
	struct span format;
	const char *mime;

	if (!plain(b, v, "format", &format))
		return false;
	mime = converse_mime(p->kind, format);
	if (mime == NULL && format.len > 0 && families[p->kind] != NULL) {
		mime = arena_printf(b->arena, "%s/%.*s", families[p->kind],
			(int)(format.len < 32 ? format.len : 32), format.at);
		if (mime == NULL) {
			(void)no_memory(b);
			return false;
		}
	}
	p->mime = span_of(mime);
	return true;
}

static struct neutral_part *
read_media(struct converse_blocks *b, enum part_kind kind, struct json_value format,
	struct json_value source)
{
	struct neutral_part *p = add(b, kind);

	return p != NULL && read_format(b, p, format) && read_source(b, p, source) ? p : NULL;
}

static void
read_medium(struct converse_blocks *b, enum part_kind kind, struct json_value v)
{
	static const char *const names[] = { "format", "source" };
	struct json_value found[2];

	if (TEXT_PICK(v.raw, names, found) == 0)
		(void)read_media(b, kind, found[0], found[1]);
}

static void
read_image(struct converse_blocks *b, struct json_value v)
{
	read_medium(b, PART_IMAGE, v);
}

static void
read_audio(struct converse_blocks *b, struct json_value v)
{
	read_medium(b, PART_AUDIO, v);
}

static void
read_video(struct converse_blocks *b, struct json_value v)
{
	read_medium(b, PART_VIDEO, v);
}

static void
read_document(struct converse_blocks *b, struct json_value v)
{
	static const char *const names[] = { "format", "source", "name", "context", "citations" };
	struct json_value found[5];
	struct neutral_part *p;

	(void)TEXT_PICK(v.raw, names, found);
	p = read_media(b, PART_DOCUMENT, found[0], found[1]);
	if (p == NULL || !plain(b, found[2], "name", &p->title))
		return;
	if (p->mime.len == 0 && p->text.at != NULL)
		p->mime = SPAN_LIT("text/plain");
	if (is_there(found[3]))
		lose(b, "document.context", true);
	if (is_there(found[4]))
		lose(b, "document.citations", false);
}

static void
read_tool_use(struct converse_blocks *b, struct json_value v)
{
	static const char *const names[] = { "toolUseId", "name", "input", "type" };
	struct json_value found[4];
	struct neutral_part *p;

	(void)TEXT_PICK(v.raw, names, found);
	if (is_there(found[3])) {
		(void)converse_fault(b, "toolUse.type", "names a tool that only the provider has");
		return;
	}
	p = add(b, PART_TOOL_CALL);
	if (p == NULL || !plain_needed(b, found[0], "toolUse.toolUseId", &p->call_id) ||
		!plain_needed(b, found[1], "toolUse.name", &p->name))
		return;
	p->input = found[2].type == JSON_OBJECT ? found[2].raw : SPAN_LIT("{}");
	if (is_there(found[2]) && found[2].type != JSON_OBJECT) {
		p->arguments = text_quoted(b->arena, text_compact(b->arena, found[2].raw));
		if (p->arguments.at == NULL)
			(void)no_memory(b);
	}
}

static void
read_json(struct converse_blocks *b, struct json_value v)
{
	struct neutral_part *p = add(b, PART_TEXT);

	if (p == NULL)
		return;
	p->text = text_quoted(b->arena, text_compact(b->arena, v.raw));
	if (p->text.at == NULL)
		(void)no_memory(b);
	if (v.type == JSON_OBJECT)
		b->only_json = v.raw;
}

static void
read_tool_result(struct converse_blocks *b, struct json_value v)
{
	static const char *const names[] = { "toolUseId", "content", "status", "type" };
	struct json_value found[4];
	struct converse_blocks inner = *b;
	struct neutral_part *p;

	(void)TEXT_PICK(v.raw, names, found);
	if (is_there(found[3])) {
		(void)converse_fault(
			b, "toolResult.type", "names a tool that only the provider has");
		return;
	}
	p = add(b, PART_TOOL_RESULT);
	if (p == NULL || !plain_needed(b, found[0], "toolResult.toolUseId", &p->call_id))
		return;
	p->is_error = span_is(text_inside(found[2].raw), "error");
	if (!is_there(found[1]))
		return;
	inner.result = p;
	inner.only_json = SPAN_NONE;
	inner.index = 0;
	(void)snprintf(
		inner.path, sizeof inner.path, "%.48s[%zu].toolResult.content", b->path, b->index);
	if (found[1].type != JSON_ARRAY)
		(void)converse_fault(b, "toolResult.content", "must be an array");
	else
		(void)json_each_element(found[1].raw, converse_read_block, &inner, NULL);
	if (inner.rc != 0)
		b->rc = -1;
	if (p->content_count == 1)
		p->result = inner.only_json;
}

static void
read_redacted(struct converse_blocks *b, struct json_value v)
{
	struct neutral_part *p = add(b, PART_REDACTED);

	if (p == NULL || !plain_needed(b, v, "reasoningContent.redactedContent", &p->signature))
		return;
	p->signer = SIGNER_ANTHROPIC;
}

static void
read_reasoning_text(struct converse_blocks *b, struct json_value v)
{
	static const char *const names[] = { "text", "signature" };
	struct json_value found[2];
	struct neutral_part *p;
	struct span signature;

	if (v.type != JSON_OBJECT || TEXT_PICK(v.raw, names, found) != 0 ||
		(is_there(found[0]) && found[0].type != JSON_STRING)) {
		(void)converse_fault(b, "reasoningContent.reasoningText", "must hold a text");
		return;
	}
	p = add(b, PART_REASONING);
	if (p == NULL ||
		!plain(b, found[1], "reasoningContent.reasoningText.signature", &signature))
		return;
	p->text = found[0].type == JSON_STRING ? found[0].raw : SPAN_LIT("\"\"");
	if (signature.len > 0) {
		p->signature = signature;
		p->signer = SIGNER_ANTHROPIC;
	}
}

static void
read_reasoning(struct converse_blocks *b, struct json_value v)
{
	static const char *const names[] = { "reasoningText", "redactedContent" };
	struct json_value found[2];

	(void)TEXT_PICK(v.raw, names, found);
	if (is_there(found[1]))
		read_redacted(b, found[1]);
	else
		read_reasoning_text(b, found[0]);
}

/* Text that stands in an array of texts, for others to see; what goes with it is lost. */
static void
read_texts(struct converse_blocks *b, struct json_value v, const char *lost)
{
	struct neutral_part *p;
	struct span text = converse_texts(b->arena, json_get(v.raw, "content"), "");

	lose(b, lost, false);
	if (text.at == NULL)
		return;
	p = add(b, PART_TEXT);
	if (p != NULL)
		p->text = text;
}

static void
read_citations(struct converse_blocks *b, struct json_value v)
{
	read_texts(b, v, "citationsContent.citations");
}

static void
read_search_result(struct converse_blocks *b, struct json_value v)
{
	static const char *const names[] = { "title", "source", "content" };
	struct json_value found[3];
	struct span texts[3];
	struct neutral_part *p;

	(void)TEXT_PICK(v.raw, names, found);
	texts[0] = found[0].raw;
	texts[1] = found[1].raw;
	texts[2] = converse_texts(b->arena, found[2], "\\n");
	lose(b, "searchResult", false);
	p = add(b, PART_TEXT);
	if (p == NULL)
		return;
	p->text = text_joined(b->arena, texts, 3, "\\n");
	if (p->text.at == NULL)
		(void)no_memory(b);
}

static void
read_guarded(struct converse_blocks *b, struct json_value v)
{
	static const char *const names[] = { "text", "image" };
	struct json_value found[2];

	(void)TEXT_PICK(v.raw, names, found);
	lose(b, "guardContent", true);
	if (found[1].type == JSON_OBJECT)
		read_image(b, found[1]);
	else
		read_text(b, json_get(found[0].raw, "text"));
}

/* Marks what stands before it, here or in the message before. */
static void
read_cache_point(struct converse_blocks *b, struct json_value v)
{
	struct neutral_request *n = b->request;
	struct neutral_message *m;

	if (n == NULL || b->result != NULL)
		return;
	m = n->message_count == 0 ? NULL : &n->message[n->message_count - 1];
	if (m != NULL && m->count > 0)
		m->part[m->count - 1].cache = converse_cache_point(v);
	else if (n->system_count > 0)
		n->system[n->system_count - 1].cache = converse_cache_point(v);
}

/* ---- a block ---- */

enum place { IN_MESSAGE = 1, IN_RESULT = 2, IN_REPLY = 4 };

static const struct {
	const char *name;
	void (*read)(struct converse_blocks *b, struct json_value v);
	unsigned int places;
	enum json_type type;
} types[] = {
	{ "text", read_text, IN_MESSAGE | IN_RESULT | IN_REPLY, JSON_STRING },
	{ "image", read_image, IN_MESSAGE | IN_RESULT | IN_REPLY, JSON_OBJECT },
	{ "document", read_document, IN_MESSAGE | IN_RESULT, JSON_OBJECT },
	{ "video", read_video, IN_MESSAGE | IN_RESULT, JSON_OBJECT },
	{ "audio", read_audio, IN_MESSAGE | IN_REPLY, JSON_OBJECT },
	{ "toolUse", read_tool_use, IN_MESSAGE | IN_REPLY, JSON_OBJECT },
	{ "toolResult", read_tool_result, IN_MESSAGE, JSON_OBJECT },
	{ "json", read_json, IN_RESULT, JSON_NONE },
	{ "reasoningContent", read_reasoning, IN_MESSAGE | IN_REPLY, JSON_OBJECT },
	{ "citationsContent", read_citations, IN_MESSAGE | IN_REPLY, JSON_OBJECT },
	{ "searchResult", read_search_result, IN_MESSAGE | IN_RESULT, JSON_OBJECT },
	{ "guardContent", read_guarded, IN_MESSAGE, JSON_OBJECT },
	{ "cachePoint", read_cache_point, IN_MESSAGE, JSON_OBJECT },
};

/* The one member that is not null. */
struct block {
	struct span name;
	struct json_value value;
	size_t members;
};

static bool
note_member(void *ctx, const struct json_member *m)
{
	struct block *block = ctx;

	if (m->value.type == JSON_NULL)
		return true;
	block->name = m->key;
	block->value = m->value;
	block->members++;
	return true;
}

static void
read_unknown(struct converse_blocks *b, struct span name)
{
	char says[96];

	/* an answer's news are for those who know them */
	if (b->request == NULL)
		return;
	(void)snprintf(says, sizeof says, "is a block '%.*s', which is not taken here",
		(int)(name.len < 40 ? name.len : 40), name.at);
	(void)converse_fault(b, "", says);
}

static void
read_one(struct converse_blocks *b, const struct block *block)
{
	unsigned int place = b->result != NULL    ? IN_RESULT
			     : b->request != NULL ? IN_MESSAGE
						  : IN_REPLY;

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (!span_is(block->name, types[i].name) || (types[i].places & place) == 0)
			continue;
		if (types[i].type != JSON_NONE && block->value.type != types[i].type)
			(void)converse_fault(b, types[i].name,
				types[i].type == JSON_STRING ? "must be a string"
							     : "must be an object");
		else
			types[i].read(b, block->value);
		return;
	}
	read_unknown(b, block->name);
}

bool
converse_read_block(void *ctx, const struct json_member *m)
{
	struct converse_blocks *b = ctx;
	struct block block = { .members = 0 };

	if (m->value.type != JSON_OBJECT)
		(void)converse_fault(b, "", "must be an object");
	else if (json_each(m->value.raw, note_member, &block, NULL) == 0 && block.members == 1)
		read_one(b, &block);
	else if (b->request != NULL)
		(void)converse_fault(b, "", "must have exactly one member");
	b->index++;
	return b->rc == 0;
}

/* ---- stop reasons ---- */

static const struct {
	const char *reason;
	enum finish finish;
} reasons[] = {
	{ "end_turn", FINISH_STOP },
	{ "tool_use", FINISH_TOOL_CALLS },
	{ "max_tokens", FINISH_LENGTH },
	{ "stop_sequence", FINISH_STOP_SEQUENCE },
	{ "content_filtered", FINISH_FILTER },
	{ "guardrail_intervened", FINISH_FILTER },
	{ "malformed_model_output", FINISH_MALFORMED },
	{ "malformed_tool_use", FINISH_MALFORMED },
	{ "model_context_window_exceeded", FINISH_CONTEXT },
};

enum finish
converse_finish(struct json_value reason)
{
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reason.type == JSON_STRING &&
			span_is(text_inside(reason.raw), reasons[i].reason))
			return reasons[i].finish;
	return FINISH_NONE;
}

const char *
converse_stop_reason(enum finish f)
{
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].finish == f)
			return reasons[i].reason;
	return reasons[0].reason;
}
