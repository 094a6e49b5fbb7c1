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

/* What the request takes. */
struct admit_need {
	const char *model;
	int64_t input_tokens, output_tokens; /* at worst */
	int64_t cost_nusd; /* at worst; or COST_UNKNOWN: counts as 0 */
	/* As it usually goes (admit_usual_output()), for limits that reserve what is expected; 0: as at
	 * worst.  More than at worst counts as that. */
	int64_t usual_output, usual_cost_nusd;
};

/* A request as limits see it. */
struct admit_ask {
	const struct admit_caller *caller;
	struct admit_need need;
	const char *end_user; /* NULL and "": not known, here and below */
	const char *address;  /* of the client, as text */
	const char *tag[USAGE_TAGS_MAX];
	struct id upstream, key; /* of the candidate; for admit_attempt() alone */
	const struct board_repeat *repeat; /* its idempotency key; NULL: none */
	/* The store is not to be had: a counter that the board does not know is passed over, and told
	 * by the rows once they are booked. */
	bool without_store;
};

/* One counter that was taken from. */
struct admit_hold {
	struct id limit;   /* none: max_requests of the token, or max_parallel of the target */
	bool of_target;    /* what the upstream or key may have running at once, whoever asks */
	int32_t metric;    /* enum limit_metric */
	bool is_hard;      /* refuses beyond its cap; the others only count */
	int64_t cap;       /* with what is granted; INT64_MAX when it is not hard */
	int64_t used;      /* spent and reserved, this request included */
	int64_t amount;    /* of which by this request */
	bool stops;        /* ends streams that go beyond it */
	int64_t resets_ms; /* board time; WINDOW_FOREVER: never.  Rolling: when all of it has aged */
};

struct admit_pass {
	struct board_lease lease;
	int count;
	struct admit_hold hold[BOARD_CLAIMS_MAX];
	/* Of a refusal: what hold[0] tells is the limit that refuses (count is 1), unless it was for
	 * the idempotency key: then `first` had it, and its client got `status` (0: it runs). */
	struct id first;
	int status;
};

/*
 * Takes from every limit that binds, all or nothing, and leaves a lease with `note` on the board.
 * Limits whose scope names upstream or key are left to admit_attempt(): whom the request goes to is
 * known then.
 *
 * A refusal is -1 with ERR_RATE_LIMITED, ERR_BUDGET_EXCEEDED or ERR_EXCEEDS_LIMIT; err->says names
 * the limit, what is used and when it frees; err->retry_boot_ms is that moment, 0 for never.
 * ERR_REQUEST_RUNNING, ERR_REQUEST_REPEATED: the idempotency key is taken by such a request;
 * ERR_IDEMPOTENCY_KEY_REUSED: by one with another body.
 */
int admit_reserve(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_ask *ask, struct id exchange, const void *note, size_t note_bytes,
	struct admit_pass *pass, struct err *err);

/* The limits that bind a request, as they are now. */
struct admit_view {
	int count;
	int refuses; /* the one that would; -1: none */
	struct admit_hold hold[BOARD_CLAIMS_MAX]; /* used: without this request; amount: what it would take */
	int64_t spent[BOARD_CLAIMS_MAX], reserved[BOARD_CLAIMS_MAX];
};
/* What admit_reserve() would say now (by_attempt: admit_attempt()), in the same words; takes nothing. */
int admit_would(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_ask *ask, bool by_attempt, struct admit_view *view, struct err *err);

/* Are there limits that name upstreams or keys?  [loop] */
bool admit_has_attempt_limits(const struct snapshot *snapshot);
/*
 * The same for one attempt at ask->upstream with ask->key, from the limits that name those: a lease
 * of its own, to be settled when the attempt has ended (with nothing spent when the provider did
 * nothing).  Without such limits 0 and no lease (pass->lease.serial is 0).  ask->repeat is not looked
 * at.  A refusal speaks of this candidate alone; another may have room.  ERR_NO_KEY_AVAILABLE: the
 * upstream or key has as many calls running as it may (pass->hold[0].of_target): soon it has room.
 */
int admit_attempt(struct store *store, struct board *board, const struct snapshot *snapshot,
	const struct admit_ask *ask, struct id exchange, const void *note, size_t note_bytes,
	struct admit_pass *pass, struct err *err);

/*
 * What 95 of 100 answers of that model to that token stay below, at most `worst`.  Learned from the
 * answers that this process has seen, and at first from the last rows of the store; with few of the
 * token those of the model count, and with few of those ADMIT_USUAL_START.  Older answers count less
 * and less.  Returns `worst` at once when no limit of the snapshot reserves what is expected.
 */
#define ADMIT_USUAL_START 1024
int64_t admit_usual_output(struct store *store, const struct snapshot *snapshot, struct id token,
	const char *model, int64_t worst);
/* An answer's output as its provider reported it.  [loop] */
void admit_learn(struct id token, const char *model, int64_t output_tokens);

#endif
