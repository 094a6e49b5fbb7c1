/*
 * forecast.h - when a key's quotas are used up, so that nobody has to be refused to find out.
 *
 * What is known of a quota is on the board (board/quota.h), one record for a key and one for a key at a
 * model: most providers count by model, so what an answer's headers tell goes to the latter; what a person
 * gave ("requests/minute=60") and what is of an account goes to the key.  Each call is counted when it
 * begins, with what calls usually use, and corrected when it has ended: so calls under way are in the count,
 * and a death leaves no more than one call's use too much in it, until the next answer tells.
 *
 *   a window turns   fixed: at its reset, all at once, by time alone
 *                    bucket: it refills all the time (OpenAI, Anthropic, Groq: their "reset" is when it is full)
 *                    sliding: no reset is told; what was used within its length counts
 *                    calendar: by days or months of UTC
 *   a capacity is    given by a person, exact by headers, estimated from refusals, or a bound (the most
 *                    that was ever told to remain)
 *
 * What comes of it are three words of a target: forecast_hold_ms (do not ask before), forecast_share_ppm (of
 * its weight, so that it lasts until its reset) and forecast_dry_ms.  Nothing here blocks; the loop calls it.
 */
#ifndef ROUTE_FORECAST_H
#define ROUTE_FORECAST_H

#include "board/quota.h"
#include "route/route.h"

/* The setting: off, all is learned and shown, but nobody is held back. */
void forecast_switch(bool on);

/* Right before an attempt: false when its quotas do not cover it, and then forecast_hold_ms says until when.
 * true: exactly one of the next two follows. */
bool forecast_begin(struct board *b, struct route_candidate *c);
/* It was not asked after all, or nobody knows what came of it: it stays counted. */
void forecast_release(struct board *b, const struct route_candidate *c);
/* After an attempt, whatever came of it. */
void forecast_see(struct board *b, const struct route_candidate *c, const struct route_outcome *o);

/* A person asks to try again: one call may find out whether what is used up still is, of the key and at
 * each model.  false: nothing was. */
bool forecast_retry(struct board *b, struct id key);

/* Each second, by any clerk: foresees anew what no answer came for.  Each record is done by one of them.
 * A quota of an hour or more that will not last until its reset, is used up, or is there again, is an
 * event on the board, once for each window (EVENT_QUOTA). */
void forecast_clerk(struct board *b);

/* ---- for people ---- */

enum forecast_kind { FORECAST_UNKNOWN, FORECAST_GIVEN, FORECAST_EXACT, FORECAST_ESTIMATED, FORECAST_BOUNDED };
const char *forecast_kind_name(enum forecast_kind k); /* "exact" */

/* What people were told last of a quota of an hour or more. */
enum forecast_stage { FORECAST_LASTS, FORECAST_RUNS_DRY, FORECAST_USED_UP };
const char *forecast_stage_name(enum forecast_stage s); /* "runs_dry" */

/* How much there is and how far it goes: B2.3's names.  Nothing is kept from a key for them. */
enum forecast_plenty { PLENTY_UNKNOWN, PLENTY_ABUNDANT, PLENTY_CONSTRAINED, PLENTY_CRITICAL, PLENTY_EXHAUSTED };
const char *forecast_plenty_name(enum forecast_plenty p); /* "abundant" */

/* How sure that is: 0 low, 1 medium, 2 high uncertainty, 3: nothing is known. */
const char *forecast_uncertainty_name(int level);

struct forecast_quota {
	enum quota_unit unit;
	enum forecast_kind kind;
	enum forecast_plenty plenty;
	int uncertainty;
	char model[BOARD_QUOTA_MODEL]; /* "": of all */
	int64_t length_ms;       /* 0: not known */
	int64_t capacity;        /* -1: not known, as remaining */
	int64_t remaining, used;
	int64_t reset_ms;        /* board time; 0: not known, or none: it slides */
	int64_t rate_milli;      /* thousandths a minute */
	int64_t dry_ms, spread_ms; /* board time, and how far off about 19 of 20 are; 0: it lasts */
	int64_t confidence_ppm;
};
/* As it may be shown alone: it runs dry before its reset, its window is an hour or more, and that is sure enough. */
bool forecast_is_news(const struct forecast_quota *q);
/* "2026-11-21 14:32 ± 3 min" (UTC). */
#define FORECAST_SAID_BYTES 48
void forecast_say(int64_t dry_ms, int64_t spread_ms, char out[FORECAST_SAID_BYTES]);

/* What is known of a key's (or upstream's without keys) quotas: how many were put into `out`. */
int forecast_quotas(struct board *b, struct id key, struct forecast_quota *out, int most);
/* The nth place of the board's table, 0 to BOARD_QUOTAS - 1: is it of a key (or upstream)? */
bool forecast_key_at(struct board *b, int n, struct id *key, bool *is_upstream);

/* ---- the arithmetic, apart from where its numbers come from ---- */

struct forecast_series {
	const int64_t *count; /* by slot, the oldest first; the last one is not over */
	int slots;
	int64_t slot_ms;
	int64_t now_ms, since_ms; /* since when use is known */
	int64_t calls;        /* how many made it */
	double call;          /* what one usually uses */
};
struct forecast_rate {
	double per_ms;        /* now */
	double slope;         /* by which it changes each ms; 0 unless more than chance */
	double dispersion;    /* variance of use over its mean, in units */
	double seen;          /* units that this was seen of */
	int64_t span_ms;
	double confidence;    /* by number of calls: min(1, calls / 10), systems.md B2.3 */
};
void forecast_rate(const struct forecast_series *s, struct forecast_rate *r);
/* Until `remaining` is used up at that rate, while refill_per_ms comes back; capacity_sd: how uncertain
 * remaining is.  Milliseconds, or -1: never.  *spread_ms: two standard deviations. */
int64_t forecast_time(const struct forecast_rate *r, double remaining, double refill_per_ms, double capacity_sd,
	int64_t *spread_ms);

#endif
