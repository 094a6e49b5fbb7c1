/*
 * openai_usage.c - the counters of every endpoint, made disjoint (reference usage-and-limits.md, 1).
 *
 * Providers' figures are taken as they come only as far as they can be true: a part never exceeds
 * its whole, nothing is negative, and nothing is so large that adding up could overflow.
 */
#include "wire/openai.h"

#include "wire/wire-int.h"
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX 1000000000000LL
#define USD_MAX    1e6

/* The object as reported; -1 where it is not. */
struct report {
	int64_t prompt, output, total;
	int64_t cache_read, cache_write, reasoning, audio_input, audio_output;
	int64_t hit, miss; /* DeepSeek */
	int64_t cost_nusd, duration_ms;
};

static int64_t
tokens(struct json_value v)
{
	int64_t n;

	if (json_int(v, &n) != 0)
		return -1;
	return n < 0 ? 0 : n > TOKENS_MAX ? TOKENS_MAX : n;
}

/* A decimal number times `scale`, rounded; -1 when it is none or cannot be true. */
static int64_t
scaled(struct json_value v, double most, double scale)
{
	char text[64];
	double d;

	if (v.type != JSON_NUMBER || !span_copy(v.raw, text, sizeof text))
		return -1;
	d = strtod(text, NULL);
	if (!(d >= 0 && d <= most))
		return -1;
	return (int64_t)(d * scale + 0.5);
}

static void
keep(int64_t *slot, int64_t n)
{
	if (n >= 0)
		*slot = n;
}

static bool
note_input_detail(void *ctx, const struct json_member *m)
{
	struct report *r = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	if (span_is(key, "cached_tokens"))
		keep(&r->cache_read, tokens(m->value));
	else if (span_is(key, "cache_write_tokens"))
		keep(&r->cache_write, tokens(m->value));
	else if (span_is(key, "audio_tokens"))
		keep(&r->audio_input, tokens(m->value));
	return true;
}

static bool
note_output_detail(void *ctx, const struct json_member *m)
{
	struct report *r = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	if (span_is(key, "reasoning_tokens"))
		keep(&r->reasoning, tokens(m->value));
	else if (span_is(key, "audio_tokens"))
		keep(&r->audio_output, tokens(m->value));
	return true;
}

static bool
note_figure(void *ctx, const struct json_member *m)
{
	struct report *r = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	if (span_is(key, "prompt_tokens") || span_is(key, "input_tokens"))
		keep(&r->prompt, tokens(m->value));
	else if (span_is(key, "completion_tokens") || span_is(key, "output_tokens"))
		keep(&r->output, tokens(m->value));
	else if (span_is(key, "total_tokens"))
		keep(&r->total, tokens(m->value));
	else if (span_is(key, "prompt_tokens_details") || span_is(key, "input_tokens_details") ||
		 span_is(key, "input_token_details"))
		(void)json_each(m->value.raw, note_input_detail, r, NULL);
	else if (span_is(key, "completion_tokens_details") || span_is(key, "output_tokens_details"))
		(void)json_each(m->value.raw, note_output_detail, r, NULL);
	else if (span_is(key, "prompt_cache_hit_tokens"))
		keep(&r->hit, tokens(m->value));
	else if (span_is(key, "prompt_cache_miss_tokens"))
		keep(&r->miss, tokens(m->value));
	else if (span_is(key, "cost"))
		keep(&r->cost_nusd, scaled(m->value, USD_MAX, 1e9));
	else if (span_is(key, "seconds") || span_is(key, "prompt_audio_seconds"))
		keep(&r->duration_ms, scaled(m->value, 1e9, 1e3));
	return true;
}

static int64_t
at_least_0(int64_t n)
{
	return n < 0 ? 0 : n;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void
take_input(const struct report *r, struct wire_usage *u)
{
	int64_t prompt = r->prompt;

	if (prompt < 0 && r->hit >= 0 && r->miss >= 0)
		prompt = r->hit + r->miss;
	keep(&u->cache_read, r->cache_read >= 0 ? r->cache_read : r->hit);
	keep(&u->cache_write, r->cache_write);
	if (prompt < 0)
		return;
	if (u->cache_read > prompt)
		u->cache_read = prompt;
	if (u->cache_write > prompt - at_least_0(u->cache_read))
		u->cache_write = prompt - at_least_0(u->cache_read);
	u->input = prompt - at_least_0(u->cache_read) - at_least_0(u->cache_write);
	keep(&u->audio_input, r->audio_input);
	u->audio_input = least(u->audio_input, u->input);
}

static void
take_output(const struct report *r, struct wire_usage *u)
{
	int64_t unnamed;

	keep(&u->output, r->output);
	keep(&u->reasoning, r->reasoning);
	/* xAI leaves reasoning out of the output, but not out of the total. */
	if (r->output >= 0 && r->prompt >= 0 && r->total > r->prompt + r->output) {
		unnamed = r->total - r->prompt - r->output;
		u->output = r->output + unnamed;
		if (u->reasoning < unnamed)
			u->reasoning = unnamed;
	}
	if (u->reasoning >= 0 && u->output >= 0)
		u->reasoning = least(u->reasoning, u->output);
	keep(&u->audio_output, r->audio_output);
	if (u->audio_output > u->output)
		u->audio_output = u->output;
}

void
wire_take_usage(struct span object, struct wire_usage *out)
{
	struct report r = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 };

	if (json_each(object, note_figure, &r, NULL) != 0)
		return;
	if (!out->seen)
		*out = WIRE_USAGE_NONE;
	take_input(&r, out);
	take_output(&r, out);
	keep(&out->cost_nusd, r.cost_nusd);
	keep(&out->duration_ms, r.duration_ms);
	if (out->input >= 0 || out->output >= 0 || out->duration_ms >= 0 || out->cost_nusd >= 0)
		out->seen = true;
}

void
wire_take_tier(struct json_value v, struct wire_usage *out)
{
	char tier[sizeof out->tier];

	if (json_string(v, tier, sizeof tier) > 0)
		memcpy(out->tier, tier, sizeof tier);
}

struct places {
	struct json_value usage, response, groq, tier;
};

static bool
note_place(void *ctx, const struct json_member *m)
{
	struct places *p = ctx;
	char room[WIRE_KEY_BYTES];
	struct span key = wire_key(m->key, room);

	if (span_is(key, "service_tier"))
		p->tier = m->value;
	if (m->value.type != JSON_OBJECT)
		return true;
	if (span_is(key, "usage"))
		p->usage = m->value;
	else if (span_is(key, "response"))
		p->response = m->value;
	else if (span_is(key, "x_groq"))
		p->groq = m->value;
	return true;
}

void
openai_usage(struct span json, struct wire_usage *out)
{
	struct places p = { .usage = { .type = JSON_NONE } };

	if (!out->seen)
		*out = WIRE_USAGE_NONE;
	if (json_each(json, note_place, &p, NULL) != 0)
		return;
	if (p.usage.type == JSON_NONE && p.response.type == JSON_OBJECT)
		p.usage = json_get(p.response.raw, "usage");
	if (p.usage.type == JSON_NONE && p.groq.type == JSON_OBJECT)
		p.usage = json_get(p.groq.raw, "usage");
	if (p.tier.type == JSON_NONE && p.response.type == JSON_OBJECT)
		p.tier = json_get(p.response.raw, "service_tier");
	if (p.usage.type == JSON_OBJECT)
		wire_take_usage(p.usage.raw, out);
	wire_take_tier(p.tier, out);
}

/* A usage object is small and holds a few objects itself; its end is found by trying, past each of
 * theirs.  The bounds keep that cheap whatever a provider writes. */
#define TAIL_TRIES   8
#define TAIL_OBJECTS 4 /* the last so many are looked at */
#define OBJECT_MOST  4096

static void
try_usage(const char *value, const char *end, struct wire_usage *out)
{
	const char *q = value;

	if (end - value > OBJECT_MOST)
		end = value + OBJECT_MOST;
	for (int tries = 0; tries < TAIL_TRIES && (q = memchr(q, '}', (size_t)(end - q))) != NULL;
		tries++) {
		struct span object = { value, (size_t)(++q - value) };

		if (json_valid(object)) {
			wire_take_usage(object, out);
			return;
		}
	}
}

/* The last one in the tail.  Within a string its quotes would be escaped. */
static void
find_tier(struct span tail, struct wire_usage *out)
{
	static const char name[] = "\"service_tier\"";
	const char *p = tail.at, *end = tail.at + tail.len, *close;

	while (p < end && (p = memmem(p, (size_t)(end - p), name, sizeof name - 1)) != NULL) {
		p += sizeof name - 1;
		while (p < end && (*p == ' ' || *p == ':'))
			p++;
		if (p == end || *p != '"' ||
			(close = memchr(p + 1, '"', (size_t)(end - p - 1))) == NULL)
			continue;
		wire_take_tier(
			(struct json_value){ JSON_STRING, { p, (size_t)(close + 1 - p) } }, out);
	}
}

void
openai_usage_tail(struct span tail, struct wire_usage *out)
{
	static const char name[] = "\"usage\"";
	const char *p, *end, *last[TAIL_OBJECTS];
	size_t count = 0;

	if (!out->seen)
		*out = WIRE_USAGE_NONE;
	if (tail.len == 0)
		return;
	p = tail.at;
	end = p + tail.len;
	while (p < end && (p = memmem(p, (size_t)(end - p), name, sizeof name - 1)) != NULL) {
		p += sizeof name - 1;
		while (p < end &&
			(*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t' || *p == ':'))
			p++;
		if (p < end && *p == '{')
			last[count++ % TAIL_OBJECTS] = p;
	}
	for (size_t i = count < TAIL_OBJECTS ? 0 : count - TAIL_OBJECTS; i < count; i++)
		try_usage(last[i % TAIL_OBJECTS], end, out);
	find_tier(tail, out);
}
