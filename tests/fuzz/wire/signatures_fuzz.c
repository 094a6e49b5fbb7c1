/*
 * signatures_fuzz.c - a history of any shape meets records of any content.
 *
 * The first byte chooses the target; a record follows up to the first line end, then a Gemini
 * client's request.  Properties: what stood in the history stands there still, in its order; what was
 * put in is signed by the target; and of any answer the records are JSON that comes back.
 */
#include "wire/gemini.h"

#include "../../lib/fuzz.h"
#include "wire/signatures.h"
#include <string.h>

#define MOST_BYTES ((size_t)256 << 20)

static struct span
look(void *ctx, struct arena *a, const char *key)
{
	const struct span *record = ctx;

	(void)a;
	must(strlen(key) < SIGNATURES_KEY_BYTES);
	must(strncmp(key, "c:", 2) == 0 || strncmp(key, "t:", 2) == 0);
	return *record;
}

static bool
same_part(const struct neutral_part *was, const struct neutral_part *is)
{
	return was->kind == is->kind && was->text.at == is->text.at &&
	       was->call_id.at == is->call_id.at && was->data.at == is->data.at;
}

/* Every part that was is there still; between them only what the target signed. */
static void
still_there(const struct neutral_message *was, const struct neutral_message *is, enum signer target)
{
	size_t at = 0;

	must(is->count >= was->count && is->count <= was->count + SIGNATURES_PARTS_MAX);
	for (size_t i = 0; i < is->count; i++) {
		const struct neutral_part *p = &is->part[i];

		if (at < was->count && same_part(&was->part[at], p)) {
			at++;
			continue;
		}
		must(p->kind == PART_REASONING || p->kind == PART_REDACTED);
		must(p->signer == target && p->signature.len > 0);
	}
	must(at == was->count);
}

static void
restore(struct span record, struct span body, enum signer target)
{
	struct arena *a = arena_new(MOST_BYTES);
	struct neutral_request *n = arena_alloc(a, sizeof *n);
	struct request_source from = { .body = body };
	struct losses lost = { 0 };
	struct err err = { 0 };
	struct neutral_message *was;

	must(n != NULL);
	neutral_request_init(n, a);
	if (gemini_read_request(&from, n, &lost, &err) == 0 && n->message_count > 0) {
		was = arena_alloc(a, n->message_count * sizeof *was);
		must(was != NULL);
		for (size_t m = 0; m < n->message_count; m++) {
			was[m] = n->message[m];
			was[m].part = arena_alloc(a, was[m].count * sizeof *was[m].part);
			memcpy(was[m].part, n->message[m].part, was[m].count * sizeof *was[m].part);
		}
		must(signatures_restore(n, target, look, &record, &err) == 0);
		for (size_t m = 0; m < n->message_count; m++)
			still_there(&was[m], &n->message[m], target);
	}
	arena_free(a);
}

static int
keep(void *ctx, const char *key, struct span record)
{
	struct bytes *body = ctx;

	must(strlen(key) < SIGNATURES_KEY_BYTES);
	must(json_valid(record) && record.len <= SIGNATURES_RECORD_MAX);
	must(memchr(record.at, '\n', record.len) == NULL);
	restore(record, bytes_span(body), SIGNER_GEMINI);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum signer targets[] = { SIGNER_ANTHROPIC, SIGNER_GEMINI, SIGNER_OPENAI };
	const char *text = (const char *)data + 1, *end;
	struct bytes body = BYTES_LIMIT((size_t)1 << 20);
	struct neutral_reply r = { .usage = WIRE_USAGE_NONE };
	struct span first, second;
	struct err err = { 0 };

	if (size < 3 || (end = memchr(text, '\n', size - 1)) == NULL)
		return 0;
	first = (struct span){ text, (size_t)(end - text) };
	second = (struct span){ end + 1, size - 2 - first.len };
	restore(first, second, targets[data[0] % 3]);
	/* The first text as an answer whose records meet that request. */
	(void)bytes_add(&body, second.at, second.len);
	r.arena = arena_new(MOST_BYTES);
	must(r.arena != NULL);
	if (gemini_read_reply(first, &r, &err) == 0)
		must(signatures_of_reply(&r, SIGNER_NONE, keep, &body) == 0);
	arena_free(r.arena);
	bytes_free(&body);
	return 0;
}
