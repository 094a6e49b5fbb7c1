/*
 * quota.h - what a provider tells of its quotas: in the headers of its answers, in the body of a 429.
 *
 * Forms by provider: reference usage-and-limits.md, section 3.  A header is read by its words, so that
 * "x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining" and
 * "x-ratelimit-remaining-tokens-minute" are one rule.
 */
#ifndef WIRE_QUOTA_H
#define WIRE_QUOTA_H

#include "base/bytes.h"
#include <stdbool.h>
#include <stdint.h>

#define QUOTA_TOLD_MAX 8

/* SHARE: millionths of something that the provider does not name (Claude's subscriptions). */
enum quota_unit { QUOTA_REQUESTS, QUOTA_TOKENS, QUOTA_INPUT, QUOTA_OUTPUT, QUOTA_SHARE, QUOTA__UNITS };

struct quota_window {
	enum quota_unit unit;
	int64_t length_ms;   /* of the window; 0: not told */
	int64_t limit;       /* -1: not told, as remaining and reset_in_ms */
	int64_t remaining;   /* after the call that was answered */
	int64_t reset_in_ms; /* since the answer's head came */
	bool refills;        /* its provider is known for buckets that refill all the time: the reset is when
	                      * it is full again.  Only a hint: others speak the same dialect */
	bool is_account;     /* of all models, not of the one that was asked */
	bool exceeded;       /* the body says that it is this one */
};

struct quota_told {
	int count;
	struct quota_window window[QUOTA_TOLD_MAX];
	int64_t age_ms; /* since the head came; the caller's to set when it hands this on late */
};

/* Begin with {0}; each header as it comes, others than of quotas are passed over.  now_ms: wall clock, date:
 * the provider's own (the header's value, or SPAN_NONE), by which its dates are understood. */
void quota_read_header(struct quota_told *t, struct span name, struct span value, struct span date,
	int64_t now_ms);
/* The body of a 429: Google's QuotaFailure, and sentences like "tokens per min (TPM): Limit 200000, Used
 * 199500, Requested 600". */
void quota_read_body(struct quota_told *t, struct span body);

/* How long until the last of those is reset that nothing remains of; 0: none of them tells. */
int64_t quota_reset_ms(const struct quota_told *t);

/* "requests/minute=60", "tokens/day=1000000", "requests/10s=20", as keys have them: 0, or -1 when it is none. */
int quota_parse_given(struct span text, struct quota_window *w);
const char *quota_unit_name(enum quota_unit u); /* "requests" */

#endif
