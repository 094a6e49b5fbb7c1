/*
 * openai_chat_fuzz.c - clients and providers of OpenAI's chat may send any bytes.
 *
 * Requests: what is read and written is valid JSON, reads back with the same calls and results, and
 * written again is the same bytes.  Answers: the same.  Streams (a frame a line): events keep their
 * order, and what our writer makes of them our reader reads back with the same text and calls.
 * The first byte chooses.
 */
#include "wire/format.h"

#include "../../lib/fuzz_answers.h"
#include <string.h>

/* ---- requests ---- */

struct tally {
	size_t calls, results, images, system;
};

static struct tally
tally(const struct neutral_request *n)
{
	struct tally t = { .system = n->system_count > 0 };

	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++) {
			const struct neutral_part *p = &n->message[m].part[i];

			t.calls += p->kind == PART_TOOL_CALL;
			t.results += p->kind == PART_TOOL_RESULT;
			t.images += p->kind == PART_IMAGE && n->message[m].role == ROLE_USER;
			for (size_t k = 0; k < p->content_count; k++)
				t.images += p->content[k].kind == PART_IMAGE;
		}
	return t;
}

/* 0; -1 refused. */
static int
pass_request(
	struct arena *a, struct span body, enum format_id id, struct bytes *out, struct tally *t)
{
	static const struct request_target to = { .model = "gemini" };
	struct request_source from = { .body = body };
	struct request_made made = { .body = out };
	struct neutral_request *n = arena_alloc(a, sizeof *n);
	struct losses lost = { 0 };
	struct err err = { 0 };

	must(n != NULL);
	neutral_request_init(n, a);
	if (format_of(id)->read_request(&from, n, &lost, &err) != 0) {
		must(err.code == ERR_BAD_REQUEST && err.says[0] != '\0');
		return -1;
	}
	*t = tally(n);
	if (format_of(id)->write_request(n, &to, &made, &lost, &err) != 0) {
		must(err.code == ERR_UNSUPPORTED && err.says[0] != '\0');
		return -1;
	}
	must(json_valid(bytes_span(out)));
	return 0;
}

static void
try_request(struct span body, enum format_id id)
{
	struct arena *a = arena_new(FUZZ_ARENA_BYTES);
	struct bytes first = BYTES_LIMIT(FUZZ_OUT_BYTES), second = BYTES_LIMIT(FUZZ_OUT_BYTES);
	struct tally before, after;

	must(a != NULL);
	if (pass_request(a, body, id, &first, &before) == 0 &&
		before.calls + before.results < 2000) {
		/* a request whose every part is lost has no content left */
		if (pass_request(a, bytes_span(&first), id, &second, &after) == 0) {
			must(memcmp(&before, &after, sizeof before) == 0);
			must(same_bytes(&first, &second));
		}
	}
	bytes_free(&first);
	bytes_free(&second);
	arena_free(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest;

	if (size == 0)
		return 0;
	rest = (struct span){ (const char *)data + 1, size - 1 };
	switch (data[0] % 4) {
	case 0:
		try_request(rest, FORMAT_OPENAI_CHAT);
		break;
	case 1:
		try_request(rest, FORMAT_OPENROUTER);
		break;
	case 2:
		fuzz_reply(FORMAT_OPENAI_CHAT, &(struct reply_options){ .now_s = 5 }, rest);
		break;
	default:
		fuzz_stream(FORMAT_OPENAI_CHAT,
			&(struct reply_options){ .model = "m", .include_usage = true }, rest);
		break;
	}
	return 0;
}
