/*
 * price.h - tokens to price to charge: exact integer arithmetic, rounded once a row.
 *
 *   cost = (input*P_in + cache_read*P_cr + cache_write_5m*P_cw + cache_write_1h*P_cw1h
 *           + output*P_out) / 1e6, rounded half up, + P_request
 *
 * Formula and defaults of prices that are not stated: reference usage-and-limits.md, section 2.
 * Pure; products in __int128, results saturate at INT64_MAX.
 */
#ifndef SETTLE_PRICE_H
#define SETTLE_PRICE_H

#include "store/records.h"
#include "store/usage.h"

/* COST_UNKNOWN when price is NULL. */
int64_t price_cost(const struct price *price, const struct tokens *tokens);

/* The most a request can cost: all input at the dearest input price. */
int64_t price_worst(const struct price *price, int64_t input_tokens, int64_t output_tokens);

#endif
