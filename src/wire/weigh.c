/*
 * weigh.c - one scan over a body that is known to be JSON; only ends of strings are looked for.
 *
 * Nearly every string is short text, so what tells media is asked of long ones alone, and what stood
 * before them is remembered instead of read.
 */
#include "wire/weigh.h"

#include "wire/openai.h"
#include "wire/wire-int.h"
#include <string.h>

/*
 * Sizes of input that is no text, in tokens.  Images: OpenAI's vision guide for gpt-4o, 1024 x 1024
 * at high detail is 4 tiles of 170 and 85 for the whole; low detail is 85.  A chat message costs 3
 * around its content (OpenAI's cookbook on counting tokens).  The rest are our own estimates, meant
 * for a reservation that the provider's figure replaces: audio is ten tokens a second, at 32 KB/s
 * for WAV and 8 KB/s for what is compressed; a PDF page is some 2,000 tokens in 64 KB.
 */
#define IMAGE_TOKENS          765
#define IMAGE_LOW_TOKENS      85
#define MESSAGE_TOKENS        3
#define WAV_BYTES_PER_TOKEN   3200
#define AUDIO_BYTES_PER_TOKEN 800
#define FILE_BYTES_PER_TOKEN  32
#define FILE_REFERENCE_TOKENS 2000
#define MEDIA_LEAST           64 /* characters of base64 */
#define HEAD_BYTES            12 /* of a file, that tell what it is */

enum media { MEDIA_NONE, MEDIA_IMAGE, MEDIA_TEXT, MEDIA_FILE, MEDIA_AUDIO };

/* What stood before the string at hand. */
struct before {
	struct span key;   /* of the value */
	struct span value; /* the string before it: a media type, or a format */
};

static int64_t
decoded_bytes(size_t base64)
{
	return (int64_t)(base64 / 4 * 3);
}

static bool
looks_base64(struct span s)
{
	size_t n = s.len < MEDIA_LEAST ? s.len : MEDIA_LEAST;

	for (size_t i = 0; i < n; i++) {
		char c = s.at[i];

		/* JSON may write a slash as \/ */
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    strchr("+/-_=\\", c) != NULL) ||
			c == '\0')
			return false;
	}
	return n > 0;
}

/* ---- media ---- */

static int
sextet(char c)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c == '\0' ? NULL : strchr(letters, c);

	return at == NULL ? 0 : (int)(at - letters);
}

static void
decode_head(struct span base64, unsigned char head[HEAD_BYTES])
{
	size_t n = 0;
	unsigned bits = 0;
	int have = 0;

	memset(head, 0, HEAD_BYTES);
	for (size_t i = 0; i < base64.len && n < HEAD_BYTES; i++) {
		if (base64.at[i] == '\\') /* a slash written as \/ */
			continue;
		bits = bits << 6 | (unsigned)sextet(base64.at[i]);
		have += 6;
		if (have >= 8) {
			have -= 8;
			head[n++] = (unsigned char)(bits >> have);
		}
	}
}

/* By its first bytes, whatever it is said to be. */
static enum media
media_of_head(const unsigned char head[HEAD_BYTES])
{
	static const struct {
		const char *start;
		size_t len;
		enum media media;
	} kinds[] = { { "\x89PNG", 4, MEDIA_IMAGE }, { "\xFF\xD8\xFF", 3, MEDIA_IMAGE },
		{ "GIF8", 4, MEDIA_IMAGE }, { "%PDF", 4, MEDIA_FILE },
		{ "PK\x03\x04", 4, MEDIA_FILE }, { "ID3", 3, MEDIA_AUDIO },
		{ "OggS", 4, MEDIA_AUDIO }, { "fLaC", 4, MEDIA_AUDIO } };

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (memcmp(head, kinds[i].start, kinds[i].len) == 0)
			return kinds[i].media;
	if (memcmp(head, "RIFF", 4) == 0)
		return memcmp(head + 8, "WEBP", 4) == 0 ? MEDIA_IMAGE : MEDIA_AUDIO;
	return MEDIA_NONE;
}

/* "image/png", or Bedrock's "png". */
static enum media
media_of_name(struct span name)
{
	static const struct {
		const char *name;
		enum media media;
	} kinds[] = { { "image", MEDIA_IMAGE }, { "text", MEDIA_TEXT }, { "audio", MEDIA_AUDIO },
		{ "video", MEDIA_AUDIO }, { "application/", MEDIA_FILE },
		{ "redacted_thinking", MEDIA_TEXT }, { "png", MEDIA_IMAGE },
		{ "jpeg", MEDIA_IMAGE }, { "gif", MEDIA_IMAGE }, { "webp", MEDIA_IMAGE },
		{ "txt", MEDIA_TEXT }, { "md", MEDIA_TEXT }, { "csv", MEDIA_TEXT },
		{ "html", MEDIA_TEXT }, { "pdf", MEDIA_FILE }, { "doc", MEDIA_FILE },
		{ "xls", MEDIA_FILE } };

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (span_starts(name, kinds[i].name))
			return kinds[i].media;
	return MEDIA_NONE;
}

static void
weigh_media(struct span base64, enum media media, struct weight *w)
{
	int64_t bytes = decoded_bytes(base64.len);

	switch (media) {
	case MEDIA_IMAGE:
		w->tokens += IMAGE_TOKENS;
		break;
	case MEDIA_TEXT:
		w->text_bytes += bytes;
		break;
	case MEDIA_FILE:
		w->tokens += 1 + bytes / FILE_BYTES_PER_TOKEN;
		break;
	default:
		w->tokens += 1 + bytes / (span_starts(base64, "UklGR") /* "RIFF" */
							 ? WAV_BYTES_PER_TOKEN
							 : AUDIO_BYTES_PER_TOKEN);
		break;
	}
}

/* Bare base64: OpenAI's and Gemini's and Anthropic's "data", Bedrock's "bytes".  True when it is counted. */
static bool
weigh_base64(const struct before *b, struct span s, struct weight *w)
{
	bool is_file = span_is(b->key, "file_data");
	bool is_bytes = span_is(b->key, "bytes");
	unsigned char head[HEAD_BYTES];
	enum media media;

	if ((!is_file && !is_bytes && !span_is(b->key, "data")) || s.len < MEDIA_LEAST ||
		!looks_base64(s))
		return false;
	decode_head(s, head);
	media = is_file ? MEDIA_FILE : media_of_head(head);
	if (media == MEDIA_NONE)
		media = media_of_name(b->value);
	if (media == MEDIA_NONE)
		media = is_bytes ? MEDIA_FILE : MEDIA_AUDIO;
	weigh_media(s, media, w);
	return true;
}

/* True when the string was media, and is counted. */
static bool
weigh_long(const struct before *b, struct span s, struct weight *w)
{
	struct span key = b->key, name;
	const char *mark;
	enum media media;

	if (!span_starts(s, "data:"))
		return weigh_base64(b, s, w);
	if (!span_is(key, "url") && !span_is(key, "image_url") && !span_is(key, "file_data") &&
		!span_is(key, "data") && !span_is(key, "file_url"))
		return false;
	mark = memmem(s.at, s.len < 128 ? s.len : 128, ";base64,", 8);
	if (mark == NULL)
		return false;
	mark += 8;
	name = (struct span){ s.at + 5, (size_t)(mark - s.at) - 5 };
	media = media_of_name(name);
	if (media == MEDIA_NONE || span_starts(name, "video"))
		media = MEDIA_FILE;
	if (media != MEDIA_IMAGE) /* counted where its part says so */
		weigh_media((struct span){ mark, s.len - (size_t)(mark - s.at) }, media, w);
	return true;
}

/* ---- the scan ---- */

/* The compiler makes a comparison of words out of it; there is one for nearly every string. */
#define IS(s, text) ((s).len == sizeof(text) - 1 && memcmp((s).at, text, sizeof(text) - 1) == 0)

static inline void
weigh_string(const struct before *b, struct span s, struct weight *w)
{
	struct span key = b->key;

	if (IS(key, "type")) {
		if (IS(s, "image_url") || IS(s, "input_image")) {
			w->tokens += IMAGE_TOKENS;
			w->images++;
		} else if (IS(s, "url")) { /* Anthropic's source of an image, or a document */
			w->tokens += IMAGE_TOKENS;
		}
		return;
	}
	if (IS(key, "role")) {
		w->tokens += MESSAGE_TOKENS;
		return;
	}
	if (IS(key, "detail") && IS(s, "low") && w->images > 0) {
		w->tokens -= IMAGE_TOKENS - IMAGE_LOW_TOKENS;
		w->images--;
		return;
	}
	if (IS(key, "file_id") || IS(key, "file_url") || IS(key, "fileUri") || IS(key, "file_uri"))
		w->tokens += FILE_REFERENCE_TOKENS;
	if (s.len < 32 || IS(key, "content") || IS(key, "text") || !weigh_long(b, s, w))
		w->text_bytes += (int64_t)s.len;
}

/* raw: one checked JSON value.  Numbers are tokens already (prompts may be given so). */
void
weigh(struct span raw, struct weight *w)
{
	const char *p = raw.at, *end = raw.at + raw.len;
	struct before b = { SPAN_NONE, SPAN_NONE };

	while (p < end) {
		if (*p == '"') {
			const char *q = wire_string_end(p + 1, end);
			struct span s = { p + 1, (size_t)(q - p) - 2 };

			p = q;
			while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
				p++;
			if (p < end && *p == ':')
				b.key = s;
			else {
				weigh_string(&b, s, w);
				b.value = s;
			}
		} else if (*p >= '0' && *p <= '9') {
			w->tokens++;
			while (p<end && * p> ',' && *p != ']' && *p != '}')
				p++;
		} else {
			p++;
		}
	}
}

int64_t
weight_tokens(const struct weight *w)
{
	return w->tokens + openai_estimate_tokens(w->text_bytes);
}
