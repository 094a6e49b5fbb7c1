/*
 * usage.h - what a provider says an answer has used, made the same for all dialects.
 *
 * Facts: reference usage-and-limits.md, section 1.
 */
#ifndef WIRE_USAGE_H
#define WIRE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Disjoint counters as in store/usage.h, without knowing the store; -1 where not reported. */
struct wire_usage {
	bool seen;
	int64_t input, cache_read, cache_write, output; /* disjoint; their sum is the whole */
	int64_t cache_write_1h;                         /* part of cache_write that lives an hour */
	int64_t reasoning;                              /* part of output */
	int64_t audio_input, audio_output;              /* parts of input and output */
	int64_t cost_nusd;   /* the provider's own statement (OpenRouter), or -1 */
	int64_t duration_ms; /* of audio, where that is what is billed (transcription), or -1 */
	char tier[24];       /* of service: "flex"; "" not reported */
};
#define WIRE_USAGE_NONE                                                                            \
	((struct wire_usage){ .input = -1,                                                         \
		.cache_read = -1,                                                                  \
		.cache_write = -1,                                                                 \
		.output = -1,                                                                      \
		.cache_write_1h = -1,                                                              \
		.reasoning = -1,                                                                   \
		.audio_input = -1,                                                                 \
		.audio_output = -1,                                                                \
		.cost_nusd = -1,                                                                   \
		.duration_ms = -1 })

/* Most that is believed of one counter, so that no sum overflows. */
#define WIRE_TOKENS_MAX 1000000000000LL

/* All input, cached or not; 0 where nothing is known.  What OpenAI calls prompt_tokens. */
int64_t usage_input_total(const struct wire_usage *u);
/* What is reported in u goes over what *into holds. */
void usage_merge(struct wire_usage *into, const struct wire_usage *u);
/* The counter, 0 where it is not reported. */
int64_t usage_or_zero(int64_t counter);

#endif
