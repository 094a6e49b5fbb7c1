/*
 * openai_responses_fuzz.c - clients and providers of OpenAI's responses may send any bytes.
 *
 * Requests: what is read and written is valid JSON, reads back with the same calls and results, and
 * written again is the same bytes.  Answers: the same.  Streams (a frame a line): events keep their
 * order, and what our writer makes of them our reader reads back with the same text and calls.
 * The first byte chooses.
 */
#include "wire/format.h"

#include "../../lib/fuzz_answers.h"
#include <string.h>

static const struct reply_options options = { .model = "m", .now_s = 5 };

static const struct format *
responses(void)
{
	return format_of(FORMAT_OPENAI_RESPONSES);
}

/* ---- requests ---- */

struct tally {
	size_t calls, results;
};

static struct tally
tally(const struct neutral_request *n)
{
	struct tally t = { 0, 0 };

	for (size_t m = 0; m < n->message_count; m++)
		for (size_t i = 0; i < n->message[m].count; i++) {
			t.calls += n->message[m].part[i].kind == PART_TOOL_CALL;
			t.results += n->message[m].part[i].kind == PART_TOOL_RESULT;
		}
	return t;
}

/* 0; -1 refused.  *parts_lost: those that could not be written. */
static int
pass_request(
	struct arena *a, struct span body, struct bytes *out, struct tally *t, size_t *parts_lost)
{
	static const struct request_target to = { .model = "gpt-4" };
	struct request_source from = { .body = body };
	struct request_made made = { .body = out };
	struct neutral_request *n = arena_alloc(a, sizeof *n);
	struct losses lost = { 0 };
	struct err err = { 0 };

	must(n != NULL);
	neutral_request_init(n, a);
	if (responses()->read_request(&from, n, &lost, &err) != 0) {
		must((err.code == ERR_BAD_REQUEST || err.code == ERR_UNSUPPORTED) &&
			err.says[0] != '\0');
		return -1;
	}
	*t = tally(n);
	if (responses()->write_request(n, &to, &made, &lost, &err) != 0) {
		must(err.code == ERR_UNSUPPORTED && err.says[0] != '\0');
		return -1;
	}
	must(json_valid(bytes_span(out)));
	*parts_lost = lost.count;
	return 0;
}

static void
try_request(struct span body)
{
	struct arena *a = arena_new(FUZZ_ARENA_BYTES);
	struct bytes first = BYTES_LIMIT(FUZZ_OUT_BYTES), second = BYTES_LIMIT(FUZZ_OUT_BYTES);
	struct tally before, after;
	size_t parts_lost, none;

	must(a != NULL);
	/* a request whose every part is lost has no content left */
	if (pass_request(a, body, &first, &before, &parts_lost) == 0 &&
		before.calls + before.results < 2000 &&
		pass_request(a, bytes_span(&first), &second, &after, &none) == 0) {
		must(before.calls == after.calls && before.results == after.results);
		/* where a whole turn is lost, its neighbours become one */
		must(parts_lost > 0 || same_bytes(&first, &second));
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
	switch (data[0] % 3) {
	case 0:
		try_request(rest);
		break;
	case 1:
		fuzz_reply(FORMAT_OPENAI_RESPONSES, &options, rest);
		break;
	default:
		fuzz_stream(FORMAT_OPENAI_RESPONSES, &options, rest);
		break;
	}
	return 0;
}
