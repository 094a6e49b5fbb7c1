/*
 * price.h - tokens to price to charge: exact integer arithmetic, rounded once a row.
 *
 *   cost = ((text_in*P_in + audio_in*P_ai + cache_read*P_cr + cache_write_5m*P_cw5
 *            + cache_write_1h*P_cw1 + (output - reasoning - audio_out)*P_out + reasoning*P_re
 *            + audio_out*P_ao) / 1e6 + P_request + images*P_image) * factor, rounded half up
 *
 * Not stated: P_cr = P_cw5 = P_ai = P_in, P_cw1 = P_cw5, P_re = P_ao = P_out.
 * Formula and defaults: reference usage-and-limits.md, section 2; peers.md D11.
 * Pure; products in __int128, results saturate at INT64_MAX.
 */
#ifndef SETTLE_PRICE_H
#define SETTLE_PRICE_H

#include "store/snapshot.h"

/* The rows of the snapshot that can price one request at one upstream: its steps and service tiers. */
#define PRICE_ROWS_MAX 16
struct price_list {
	int count; /* 0: the price is not known */
	const struct price
		*row[PRICE_ROWS_MAX]; /* point into the snapshot; the nearest pattern first */
	int64_t factor;               /* billionths */
};

/* What holds at at_ms (wall clock).  Which row is nearest: store/records.h.  Further steps and tiers
 * of one pattern than PRICE_ROWS_MAX are not looked at; its price without both always is. */
void price_find(const struct snapshot *p, const struct upstream *u, struct span model,
	int64_t at_ms, struct price_list *out);

/* COST_UNKNOWN when no row of the list fits.  tier: as the provider reported it, "" unknown. */
int64_t price_cost(const struct price_list *list, const char *tier, const struct tokens *tokens);

/* The most a request of up to so many tokens can cost, in whatever tier and step those can reach:
 * all input at the dearest input price.  COST_UNKNOWN as above. */
int64_t price_worst(const struct price_list *list, int64_t input_tokens, int64_t output_tokens);
/* The most that making so many images adds to it; 0 where no row fits. */
int64_t price_worst_images(const struct price_list *list, int64_t images);

/* One rate of each kind, for a note of few words: of a request of no tier with so many input tokens,
 * factor included, rounded up, nano-dollars a million tokens and a request.  False: not known. */
struct price_rates {
	int64_t input_nusd, output_nusd, request_nusd;
};
bool price_rates(const struct price_list *list, int64_t input_tokens, struct price_rates *out);

#endif
