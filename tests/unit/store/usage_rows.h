/* usage_rows.h - rows of usage made at random, the same ones in each run. */
#ifndef USAGE_ROWS_H
#define USAGE_ROWS_H

#include "store/usage.h"
#include <stdio.h>
#include <string.h>

static uint64_t seed = 88172645463325252ull;

static inline uint32_t
random_below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

static inline struct id
numbered_id(uint8_t kind, uint32_t n)
{
	struct id id = { { kind } };

	id.b[1] = (uint8_t)(n >> 8);
	id.b[2] = (uint8_t)n;
	id.b[15] = 1;
	return id;
}

static inline struct usage_row
random_row(int64_t time_ms)
{
	struct usage_row r;

	memset(&r, 0, sizeof r);
	r.exchange = id_timed(time_ms);
	r.time_ms = time_ms;
	r.project = numbered_id(1, random_below(3));
	r.token = numbered_id(2, random_below(20));
	if (random_below(10) != 0) {
		r.upstream = numbered_id(3, random_below(2));
		r.key = numbered_id(4, random_below(4));
	}
	if (random_below(10) != 0)
		(void)snprintf(r.model, sizeof r.model, "model-%u", random_below(7));
	(void)snprintf(r.endpoint, sizeof r.endpoint, "/v1/chat/completions");
	(void)snprintf(r.upstream_model, sizeof r.upstream_model, "sent-%u", random_below(3));
	if (random_below(3) != 0)
		(void)snprintf(r.end_user, sizeof r.end_user, "user-%u", random_below(30));
	for (uint32_t i = 0, tags = random_below(USAGE_TAGS_MAX + 1); i < tags; i++)
		(void)snprintf(r.tags[i], sizeof r.tags[i], "tag=%u", random_below(6));
	if (random_below(4) == 0) {
		r.tokens.audio_input = random_below(1000);
		r.tokens.audio_output = random_below(1000);
		r.tokens.images = random_below(3);
	}
	r.status = random_below(5) == 0 ? 429 : 200;
	r.duration_ms = random_below(100000);
	r.ttfb_ms = random_below(1000);
	r.tokens.input = random_below(100000);
	r.tokens.output = random_below(5000);
	r.tokens.reasoning = random_below(100);
	r.tokens.cache_read = random_below(100);
	r.tokens.cache_write = random_below(100);
	r.tokens.cache_write_1h = random_below(50);
	r.cost_nusd = random_below(20) == 0 ? COST_UNKNOWN : (int64_t)random_below(1000000000);
	return r;
}

#endif
