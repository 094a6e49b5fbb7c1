/*
 * usage.h - what one exchange used, as a row; and sums of rows.
 *
 * On disk a row is fixed-size with its names interned (a dictionary with a ceiling for each
 * dimension); here it is plain.  No pointers, so that a lease can carry a copy over a crash.
 */
#ifndef STORE_USAGE_H
#define STORE_USAGE_H

#include "base/id.h"
#include <stdbool.h>
#include <stdint.h>

#define USAGE_TAGS_MAX 4 /* of one request */
#define DECISION_BYTES 480

/* Four disjoint counters; reasoning is a part of output (architecture.md, section 5). */
struct tokens {
	int64_t input;       /* not cached */
	int64_t cache_read;
	int64_t cache_write; /* all of them; of which cache_write_1h live an hour */
	int64_t cache_write_1h;
	int64_t output;
	int64_t reasoning;
	/* parts of input and output that have prices of their own */
	int64_t audio_input, audio_output;
	int64_t images; /* made: no tokens, but counted with them */
};

enum usage_source { USAGE_NONE, USAGE_REPORTED, USAGE_COUNTED, USAGE_ESTIMATED };
enum ended_by { ENDED_DONE, ENDED_CLIENT, ENDED_TIMEOUT, ENDED_PROVIDER, ENDED_BUDGET, ENDED_CRASH, ENDED_REFUSED };
const char *usage_source_name(enum usage_source s); /* "reported" */
const char *ended_by_name(enum ended_by e);         /* "done" */

#define COST_UNKNOWN INT64_MIN

struct usage_row {
	struct id exchange; /* timed id; the request's id "req_…" */
	int64_t time_ms;    /* when it came */
	struct id project, token, upstream, key;
	char model[128];          /* as the client asked */
	char upstream_model[128]; /* as sent on */
	char endpoint[64];        /* "/v1/chat/completions" */
	char upstream_request_id[64];
	char session[64];
	char end_user[64];
	char tags[USAGE_TAGS_MAX][64];   /* "feature=search"; "" none */
	char tier[24];      /* of service, as the provider reported it; "" none */
	uint64_t address;   /* of the client: hash_64() of its text, 0 unknown; the text is not kept */
	char error[160];    /* why it failed, for the operator; "" */
	uint16_t status;    /* what the client got */
	uint16_t err_code;  /* enum err_code */
	uint8_t ended_by;   /* enum ended_by */
	uint8_t usage_source;
	uint8_t stream;
	uint8_t attempts;
	uint32_t duration_ms, ttfb_ms;
	struct tokens tokens;
	int64_t cost_nusd;  /* or COST_UNKNOWN */
	uint8_t cost_stated; /* it is what the provider said, whatever our prices */
	char dropped[32];    /* what conversion left out: "top_p, seed"; cut; "" nothing */
	/* Why it went where it went (route/record.h); kept beside the row as long as that.  Not in the
	 * rows of lists. */
	uint16_t decision_len; /* 0: none */
	uint8_t decision[DECISION_BYTES];
};

struct usage_sum {
	int64_t requests, errors, unpriced;
	int64_t counted; /* of the requests, those that limits count */
	struct tokens tokens;
	int64_t cost_nusd;
	int64_t duration_ms, ttfb_ms; /* sums, for means */
	int64_t last_ms;              /* time of the latest */
};
/* Do limits on requests count it?  What was refused here, or where no provider did anything for
 * the client, does not count. */
bool usage_row_counts(const struct usage_row *row);
/* An error was answered, or the exchange was ended by something else than its end or its client. */
bool usage_row_failed(const struct usage_row *row);
void usage_sum_add(struct usage_sum *sum, const struct usage_row *row);
void usage_sum_merge(struct usage_sum *sum, const struct usage_sum *other);

#endif
