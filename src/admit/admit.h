/*
 * admit.h - who is calling, and may it go on: the token, its project, and every limit that binds,
 * checked and taken on the board at once or not at all.
 *
 * Called on intake threads; blocks as store.h and board.h say.  Safe over threads and processes:
 * all state is in the store and on the board.  Every function may be called again from the start
 * for the same exchange as long as admit_reserve() has not returned (store.h, Abandonment).
 */
#ifndef ADMIT_ADMIT_H
#define ADMIT_ADMIT_H

#include "board/board.h"
#include "store/snapshot.h"

#define ADMIT_SECRETS_MAX 5
#define ADMIT_SECRET_BYTES 512

/* The secrets a request carries, wherever its SDK put them: each once. */
struct admit_secrets {
	int count;
	char text[ADMIT_SECRETS_MAX][ADMIT_SECRET_BYTES];
};
/* Takes one header's or parameter's value in ("Bearer x" and "x" alike); "" is nothing. */
void admit_add_secret(struct admit_secrets *s, struct span value);

struct admit_caller {
	struct token token;
	struct project project;
	bool is_old_secret; /* known by the secret before the last rotation (allow.h) */
};
/*
 * Finds the one secret that is a token of ours and reads its project.  ERR_MISSING_TOKEN,
 * ERR_INVALID_TOKEN, ERR_BAD_REQUEST (two different tokens of ours), ERR_STORE_UNAVAILABLE.
 * known is true as soon as the token was found, so that what is refused later can be booked.
 */
int admit_identify(struct store *store, const struct admit_secrets *secrets,
	struct admit_caller *caller, bool *known, struct err *err);

/* What the request takes at worst, for the limits' metrics. */
struct admit_need {
	const char *model;
	int64_t input_tokens, output_tokens;
	int64_t cost_nusd; /* or COST_UNKNOWN: counts as 0 */
};

/* One counter that was taken from. */
struct admit_hold {
	int32_t metric; /* enum limit_metric */
	int64_t cap, used; /* used: spent and reserved, this request included */
	int64_t resets_ms; /* WINDOW_FOREVER: never */
};

struct admit_pass {
	struct board_lease lease;
	int count;
	struct admit_hold hold[BOARD_CLAIMS_MAX];
};

/*
 * Takes from every limit that binds, all or nothing, and leaves a lease with `note` on the board.
 * A refusal is -1 with ERR_RATE_LIMITED, ERR_BUDGET_EXCEEDED or ERR_EXCEEDS_LIMIT; err->says names
 * the limit, what is used and when it frees; err->retry_at_ms is that moment, 0 for never.
 */
int admit_reserve(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_caller *caller, const struct admit_need *need, struct id exchange,
	const void *note, size_t note_bytes, struct admit_pass *pass, struct err *err);

#endif
