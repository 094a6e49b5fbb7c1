/*
 * weigh_test.c - the size of a request's input by kind, in each dialect's way of writing it.
 */
#include "wire/weigh.h"

#include "base/base64.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_BYTES 96000
#define IMAGE      765

static const char png[] = "\x89PNG\r\n\x1a\n", jpeg[] = "\xFF\xD8\xFF\xE0", gif[] = "GIF89a",
		  webp[] = "RIFF....WEBPVP8 ", wav[] = "RIFF....WAVEfmt ", pdf[] = "%PDF-1.4",
		  mp3[] = "ID3\x04", none[] = "\x01\x02\x03";

/* A file that begins so, in base64. */
static char *
file_of(const char *head)
{
	static char bytes[FILE_BYTES];
	struct bytes text = BYTES_LIMIT(2 * FILE_BYTES);

	memset(bytes, 'x', sizeof bytes);
	memcpy(bytes, head, strlen(head));
	assert_int_equal(base64_encode(&text, (struct span){ bytes, sizeof bytes }), 0);
	return text.at;
}

static int64_t
tokens_of(const char *json)
{
	struct weight w = { 0 };

	weigh(span_of(json), &w);
	return weight_tokens(&w);
}

/* What the file adds to the same body without it; escaped: as those write it that escape slashes. */
static int64_t
file_weighs(const char *format, const char *head, bool escaped)
{
	struct bytes b = BYTES_LIMIT(4 * FILE_BYTES);
	char *file = file_of(head);
	int64_t with, without;

	if (escaped) {
		struct bytes plain = BYTES_LIMIT(4 * FILE_BYTES);

		for (const char *p = file; *p != '\0'; p++)
			(void)bytes_printf(&plain, "%s%c", *p == '/' ? "\\" : "", *p);
		free(file);
		file = plain.at;
	}
	(void)bytes_printf(&b, format, file);
	assert_false(b.failed);
	with = tokens_of(b.at);
	bytes_free(&b);
	(void)bytes_printf(&b, format, "");
	without = tokens_of(b.at);
	bytes_free(&b);
	free(file);
	return with - without;
}

#define ANTHROPIC(kind, type)                                                                      \
	"{\"type\":\"" kind "\",\"source\":{\"type\":\"base64\",\"media_type\":\"" type            \
	"\",\"data\":\"%s\"}}"
#define GEMINI(type)        "{\"inlineData\":{\"mimeType\":\"" type "\",\"data\":\"%s\"}}"
#define GEMINI_BEHIND(type) "{\"inlineData\":{\"data\":\"%s\",\"mimeType\":\"" type "\"}}"
#define BEDROCK(kind, type) "{\"" kind "\":{\"format\":\"" type "\",\"source\":{\"bytes\":\"%s\"}}}"

static void
media_weigh_by_kind_in_every_dialect(void **state)
{
	enum {
		FILE_TOKENS = 1 + FILE_BYTES / 32,
		SOUND = 1 + FILE_BYTES / 800,
		WAV = 1 + FILE_BYTES / 3200,
		WORDS = FILE_BYTES / 4
	};
	static const struct {
		const char *format, *head;
		int64_t tokens;
	} cases[] = {
		{ ANTHROPIC("image", "image/png"), png, IMAGE },
		{ ANTHROPIC("image", "image/jpeg"), jpeg, IMAGE },
		{ ANTHROPIC("image", "image/png"), none, IMAGE },
		{ ANTHROPIC("document", "application/pdf"), pdf, FILE_TOKENS },
		{ ANTHROPIC("document", "application/pdf"), none, FILE_TOKENS },
		{ "{\"type\":\"redacted_thinking\",\"data\":\"%s\"}", none, WORDS },
		{ GEMINI("image/webp"), webp, IMAGE },
		{ GEMINI_BEHIND("image/gif"), gif, IMAGE },
		{ GEMINI_BEHIND("image/jpeg"), jpeg, IMAGE },
		{ GEMINI("audio/mp3"), mp3, SOUND },
		{ GEMINI("audio/wav"), wav, WAV },
		{ GEMINI("video/mp4"), none, SOUND },
		{ GEMINI("text/plain"), none, WORDS },
		{ GEMINI_BEHIND("application/pdf"), pdf, FILE_TOKENS },
		{ BEDROCK("image", "jpeg"), jpeg, IMAGE },
		{ BEDROCK("image", "png"), none, IMAGE },
		{ BEDROCK("document", "pdf"), pdf, FILE_TOKENS },
		{ BEDROCK("document", "docx"), none, FILE_TOKENS },
		{ BEDROCK("document", "csv"), none, WORDS },
		{ BEDROCK("x", "y"), none, FILE_TOKENS },
		{ "{\"input_audio\":{\"data\":\"%s\",\"format\":\"wav\"}}", wav, WAV },
		{ "{\"input_audio\":{\"data\":\"%s\",\"format\":\"mp3\"}}", none, SOUND },
		{ "{\"file\":{\"file_data\":\"%s\"}}", none, FILE_TOKENS },
		{ "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,%s\"}}",
			png, 0 },
		{ "{\"file\":{\"file_data\":\"data:application/pdf;base64,%s\"}}", pdf,
			FILE_TOKENS },
		{ "{\"file_data\":\"data:text/plain;base64,%s\"}", none, WORDS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (int escaped = 0; escaped < 2; escaped++) {
			int64_t got = file_weighs(cases[i].format, cases[i].head, escaped);

			/* a data URL's own head is text where nothing follows it */
			if (got < cases[i].tokens - 12 || got > cases[i].tokens + 12)
				fail_msg("%s (%s): %lld, not %lld", cases[i].format, cases[i].head,
					(long long)got, (long long)cases[i].tokens);
		}
}

static void
what_stands_elsewhere_is_counted_too(void **state)
{
	(void)state;
	assert_int_equal(tokens_of("{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":"
				   "\"http://h/i\"}}"),
		IMAGE + 3);
	assert_true(tokens_of("{\"fileData\":{\"fileUri\":\"gs://b/f\"}}") >= 2000);
	assert_true(tokens_of("{\"file_data\":{\"file_uri\":\"gs://b/f\"}}") >= 2000);
	assert_true(tokens_of("{\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}") >= 2000);
}

static void
texts_are_four_bytes_a_token(void **state)
{
	struct weight w = { 0 };

	(void)state;
	assert_int_equal(tokens_of("\"twelve bytes\""), 3);
	assert_int_equal(tokens_of("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
				   "\"twelve bytes\"}]}"),
		6);
	assert_int_equal(tokens_of("[1, -2.5,3e7]"), 3);
	/* a text that only looks like a file, where texts stand */
	assert_int_equal(
		tokens_of("{\"text\":\"iVBORw0KGgoAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			  "AAAAAAAAAA\"}"),
		16);
	weigh(SPAN_NONE, &w);
	assert_int_equal(weight_tokens(&w), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(media_weigh_by_kind_in_every_dialect),
		cmocka_unit_test(what_stands_elsewhere_is_counted_too),
		cmocka_unit_test(texts_are_four_bytes_a_token),
	};

	return cmocka_run_group_tests_name("wire/weigh", tests, NULL, NULL);
}
