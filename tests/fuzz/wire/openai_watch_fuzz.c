/*
 * openai_watch_fuzz.c - a provider's stream may be any bytes, cut anywhere.
 *
 * Properties: however it is cut, the same bytes go on and the same is found; nothing goes on without
 * the mark once something had it; what is not to be hidden goes on whole; the same bytes taken as an
 * answer or as an error leave sane figures.  The first byte chooses the cuts and whether to hide.
 */
#include "wire/error.h"

#include "../../lib/fuzz.h"
#include "wire/openai.h"
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20)

struct passed {
	struct bytes all;
	size_t last; /* bytes that had the mark */
};

static void
pass(void *ctx, const char *data, size_t len, bool last)
{
	struct passed *p = ctx;

	must(len > 0 && (last || p->last == 0));
	must(bytes_add(&p->all, data, len) == 0);
	p->last += last ? len : 0;
}

static void
watch(struct openai_watch *w, bool hide, const char *data, size_t size, size_t step, uint32_t vary,
	struct passed *p)
{
	*p = (struct passed){ .all = BYTES_LIMIT(MOST_BYTES) };
	openai_watch_init(w, hide);
	for (size_t at = 0, n; at < size; at += n) {
		char *exact;

		vary = vary * 1664525u + 1013904223u;
		n = 1 + (vary >> 16) % step;
		if (step > size || n > size - at)
			n = size - at;
		exact = malloc(n);
		must(exact != NULL);
		memcpy(exact, data + at, n);
		must(openai_watch_feed(w, exact, n, pass, p) == 0);
		free(exact);
	}
	must(openai_watch_end(w, pass, p) == 0);
	openai_watch_free(w);
}

static void
sane(const struct wire_usage *u)
{
	must(u->input >= -1 && u->cache_read >= -1 && u->cache_write >= -1 && u->output >= -1);
	must(u->reasoning >= -1 && (u->output < 0 || u->reasoning <= u->output));
	must(u->cost_nusd >= -1 && u->duration_ms >= -1);
	must(u->audio_input <= (u->input < 0 ? -1 : u->input));
	must(u->audio_output <= (u->output < 0 ? -1 : u->output));
	must(memchr(u->tier, '\0', sizeof u->tier) != NULL);
}

static void
same(const struct wire_usage *a, const struct wire_usage *b)
{
	must(a->seen == b->seen && a->input == b->input && a->cache_read == b->cache_read &&
		a->cache_write == b->cache_write && a->output == b->output &&
		a->reasoning == b->reasoning && a->cost_nusd == b->cost_nusd &&
		a->duration_ms == b->duration_ms && a->audio_input == b->audio_input &&
		a->audio_output == b->audio_output && strcmp(a->tier, b->tier) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct openai_watch whole, cut;
	struct passed all, some;
	struct wire_usage u = { .seen = false };
	struct failure_headers h = { .retry_after = SPAN_NONE };
	const char *text = (const char *)data + 1;
	int64_t until;
	bool hide;

	if (size == 0)
		return 0;
	size--;
	hide = (data[0] & 1) != 0;
	watch(&whole, hide, text, size, size + 1, 0, &all);
	for (int i = 0; i < 2; i++) {
		watch(&cut, hide, text, size, i == 0 ? 1 : 1u + data[0], data[0], &some);
		must(some.all.len == all.all.len &&
			(some.all.len == 0 || memcmp(some.all.at, all.all.at, some.all.len) == 0));
		/* All of a long terminal event has the mark when it comes at once, else its last piece. */
		must(size > SSE_EVENT_MAX || some.last == all.last);
		same(&whole.usage, &cut.usage);
		must(whole.done == cut.done && whole.failed == cut.failed);
		must(strcmp(whole.error, cut.error) == 0 && whole.output_chars == cut.output_chars);
		bytes_free(&some.all);
	}
	must(hide || (all.all.len == size && (size == 0 || memcmp(all.all.at, text, size) == 0)));
	must(whole.output_chars >= 0 && whole.output_chars <= (int64_t)size);
	sane(&whole.usage);
	bytes_free(&all.all);

	openai_usage((struct span){ text, size }, &u);
	sane(&u);
	openai_usage_tail((struct span){ text, size }, &u);
	sane(&u);
	for (int status = 200; status <= 500; status += 100) {
		(void)failure_classify(status == 300 ? 429 : status, &h,
			(struct span){ text, size }, 1000, &until);
		must(until == 0 || until >= 1000);
	}
	return 0;
}
