/*
 * quota_fuzz.c - a provider may tell anything of its quotas.
 * Properties: what is told stays within its bounds, and a body alone says what it says behind headers.
 *
 * Input: lines "name: value" up to an empty one, then a body.
 */
#include "wire/quota.h"

#include <stdlib.h>
#include <string.h>

#define NOW 1768478400000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct quota_told *t)
{
	if (t->count < 0 || t->count > QUOTA_TOLD_MAX)
		abort();
	for (int i = 0; i < t->count; i++) {
		const struct quota_window *w = &t->window[i];

		if (w->unit >= QUOTA__UNITS || w->length_ms < 0 || w->limit < -1 ||
			w->remaining < -1 || w->reset_in_ms < -1 ||
			w->reset_in_ms > INT64_C(400) * 86400000 ||
			(w->exceeded && w->remaining < 0))
			abort();
		for (int n = 0; n < i; n++)
			if (t->window[n].unit == w->unit && t->window[n].length_ms == w->length_ms)
				abort(); /* one window, told of once */
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size };
	struct quota_told told = { 0 }, alone = { 0 };
	struct quota_window given;

	while (rest.len > 0) {
		const char *end = memchr(rest.at, '\n', rest.len), *colon;
		size_t len = end == NULL ? rest.len : (size_t)(end - rest.at);

		if (len == 0) {
			rest.at++, rest.len--;
			break;
		}
		colon = memchr(rest.at, ':', len);
		if (colon != NULL) {
			struct span name = { rest.at, (size_t)(colon - rest.at) };
			struct span value = { colon + 1, len - name.len - 1 };

			quota_read_header(&told, name, value, SPAN_NONE, NOW);
			if (quota_parse_given(value, &given) == 0 &&
				(given.limit <= 0 || given.length_ms < 1000))
				abort();
		}
		len += end != NULL;
		rest.at += len, rest.len -= len;
	}
	check(&told);
	quota_read_body(&told, rest, SPAN_NONE, NOW);
	check(&told);
	quota_read_body(&alone, rest, SPAN_NONE, NOW);
	check(&alone);
	return 0;
}
