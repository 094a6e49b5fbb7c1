/*
 * gateway-int.h - the process and one exchange, shared by the sources of this room.
 */
#ifndef GATEWAY_GATEWAY_INT_H
#define GATEWAY_GATEWAY_INT_H

#include "admit/admit.h"
#include "board/waiter.h"
#include "conf/conf.h"
#include "forward/forward.h"
#include "gateway/access.h"
#include "gateway/endpoint.h"
#include "gateway/media.h"
#include "gateway/remember.h"
#include "quote/quote.h"
#include "route/failure_rule.h"
#include "route/route.h"
#include "route/standing.h"
#include "settle/journal.h"
#include "settle/ledger.h"
#include "settle/price.h"
#include "web/web.h"
#include "wire/openai.h"
#include "wire/passage.h"
#include "wire/provider.h"
#include "wire/session.h"
#include "wire/signatures.h"
#include "wire/skim.h"

#include <pthread.h>
#include <uv.h>

#define EXCHANGE_ARENA_BYTES (1 << 20) /* besides bodies that are rewritten */
#define BODY_COPIES          3         /* for providers of several kinds, at most */
#define ANSWER_HOLD_BYTES                                                                          \
	(256 * 1024) /* a JSON answer up to this is read before its head goes out */
#define ERROR_BODY_BYTES    (64 * 1024)  /* looked at of a provider's error */
#define EARLY_BYTES (256 * 1024) /* of a stream, held until there is something to show */
#define HELD_BYTES          (512 * 1024) /* of a stream's end, until it is booked */
#define PASSED_HEADERS_MAX  12
#define TAIL_BYTES          4096 /* of a long JSON answer: its usage stands at the end */
#define SETTLE_WAIT_MS      2000 /* then the reply closes and the lease stays owing */
#define AFTER_DONE_MS       1000 /* for a provider to end its answer after the last event */
#define TICK_MS             250
#define IDEMPOTENCY_KEY_MAX 255
#define DRAIN_STOP_MS       5000 /* a stopping worker reads on for clients that have left */

struct gateway {
	struct conf conf;
	uv_loop_t loop;
	uv_async_t wake; /* something is in the inbox */
	uv_timer_t tick;
	uv_signal_t term;
	struct web_server *web;
	struct forward *forward;
	struct roster *roster;
	struct store *store;
	struct board *board;
	struct ledger *ledger;
	struct journal *journal;
	struct remember *remember;
	struct access_desk *access;
	bool cgi, draining;
	int64_t draining_ms; /* [loop] loop time since when */
	bool drained;        /* [loop] no exchange is left … */
	int64_t drained_ms;  /* … since then */
	bool closed;         /* [loop] and nothing else of the loop's */

	_Atomic(struct exchange *) inbox;      /* for the loop, newest first */
	_Atomic(struct ledger_raise *) raised; /* the same, of the guard's */

	pthread_mutex_t mutex; /* over the next three */
	struct snapshot *snapshot;
	bool clerk_stop, clerk_ended;
	pthread_cond_t clerk_wake;
	struct standing_recount *recount; /* [clerk] */
	enum { ROUNDS_NONE, ROUNDS_RUN, ROUNDS_ENDED } rounds; /* rounds.c; under the mutex too … */
	struct errand_desk *desk;                              /* … as this, its thread's */
	_Atomic int loading; /* a thread is making a new snapshot; see gateway_snapshot() */
	_Atomic int abandoned;

	_Atomic int media_fetches;     /* requests that fetch now; media.c */
	_Atomic int64_t media_bytes;   /* held of what was fetched, in all forms */

	struct exchange *open;  /* [loop] those it owns */

	/* queue.c [loop] */
	struct exchange *waiters;
	uv_timer_t queue_timer; /* runs while there are any */

	/* pause.c [loop] */
	struct exchange *pausing;
	uv_timer_t pause_timer; /* runs while there are any */

	/* candidate.c */
	pthread_mutex_t candidate_mutex; /* over the next three */
	pthread_cond_t candidate_wake;
	struct exchange *candidates, **candidates_end; /* queue */
	bool candidate_thread;
	struct exchange *_Atomic candidate_now; /* what the thread is at */
};

/*
 *   READ -> ADMIT -> ROUTE -> CREDENTIAL -> FORWARD -> SETTLE -> DONE
 *                    |^  ^--------+------------'  next candidate, only while the client has been
 *                    v|                      |    sent nothing
 *                    QUEUE, PAUSE <----------'
 *
 * QUEUE waits, while all that could serve the request are busy, until it is its turn (queue.c).  PAUSE
 * waits, when all have failed for now, to try them once more (pause.c).
 * CREDENTIAL waits for an access token where a key is not sent itself but buys one; FORWARD goes back
 * there once for each candidate, when the provider refuses a token before its time (credential.c).
 *
 * What is refused goes from ADMIT to SETTLE; what nobody has to pay or to know of, because no token
 * was shown or the answer is our own, from ADMIT to DONE.  Past ADMIT every way leads through
 * SETTLE, so what was reserved is charged or given back.
 */
#define EX_BIT(name)       (1u << EX_##name)
#define EXCHANGE_STATES(X) /* state, states it may go to */                                        \
	X(READ, EX_BIT(ADMIT))                                                                     \
	X(ADMIT, EX_BIT(ROUTE) | EX_BIT(SETTLE) | EX_BIT(DONE))                                    \
	X(ROUTE, EX_BIT(QUEUE) | EX_BIT(PAUSE) | EX_BIT(CREDENTIAL) | EX_BIT(SETTLE))              \
	X(QUEUE, EX_BIT(ROUTE) | EX_BIT(SETTLE))                                                   \
	X(PAUSE, EX_BIT(ROUTE) | EX_BIT(SETTLE))                                                   \
	X(CREDENTIAL, EX_BIT(FORWARD) | EX_BIT(ROUTE) | EX_BIT(PAUSE) | EX_BIT(SETTLE))            \
	X(FORWARD, EX_BIT(CREDENTIAL) | EX_BIT(ROUTE) | EX_BIT(PAUSE) | EX_BIT(SETTLE))            \
	X(SETTLE, EX_BIT(DONE))                                                                    \
	X(DONE, 0)
enum exchange_state {
#define X(name, next) EX_##name,
	EXCHANGE_STATES(X)
#undef X
		EX__COUNT
};

/* What is done with the provider's answer. */
enum answer_mode {
	ANSWER_NONE,   /* no head yet */
	ANSWER_ERROR,  /* read to be judged */
	ANSWER_WHOLE,  /* read whole, so that its head can tell the cost */
	ANSWER_EVENTS, /* events passed on, watched for usage */
	ANSWER_BYTES   /* passed on as they come, the newest piece held back */
};

/* The head of one attempt, in the exchange's arena. */
#define HEADERS_MAX 96
struct header_list {
	struct arena *arena;
	const struct upstream *upstream;
	bool converted;       /* the body is no more the client's own */
	enum dialect dialect; /* of the provider */
	size_t count;
	struct forward_header line[HEADERS_MAX];
};

/* Of a stream that limits stop when they are spent; see guard.c. */
struct guard {
	int count, which[BOARD_CLAIMS_MAX]; /* of pass.hold, those that stop streams; 0: none */
	int64_t held[BOARD_CLAIMS_MAX];
	int64_t step;                /* tokens of output asked for ahead */
	struct ledger_raise *asking; /* is with the ledger */
	bool spent;                  /* there is no more to be had */
	bool resting;                /* the transfer waits for the ledger's answer */
	bool stopped;                /* the stream was ended */
	bool no_event;               /* … by an error event, as the endpoint has no better one */
};

/* The request as the candidate's provider wants it; see translate.c. */
struct outgoing {
	const struct upstream *upstream; /* made for it and those alike; NULL: not made yet */
	const char *model;               /* as that upstream calls it; "" none */
	const struct provider *provider;
	const struct format *format; /* of body; NULL: no conversation */
	bool converted;
	struct span body;
	struct request_made made; /* header lines, tools' names; converted ones alone */
	struct losses lost;
};

/* One that waits for its turn; see queue.c.  [loop] */
struct waiting {
	struct board_waiter place; /* serial 0: it does not wait */
	struct id pool;
	struct exchange *next, *prev; /* of gw->waiters */
	int64_t since_us, until_us;   /* 0: it never waited */
	int64_t us;                   /* how long it waited */
	bool nobody;   /* ADMIT found nobody who may be asked now; the plan tells who may be soon */
	bool was_full; /* somebody of the plan was refused for having enough to do */
	bool turn;     /* it is the first of its line … */
	bool trying;   /* … and looks whom it may ask */
	bool again;    /* the plan was made anew, and took nobody's turn */
	bool over;     /* it does not wait a second time */
};

struct exchange {
	struct gateway *gw;
	struct web_request *request;
	struct arena *arena;
	enum exchange_state state;
	struct exchange *inbox_next;
	struct exchange *prev, *next; /* of gw->open */

	/* who and what; ADMIT */
	struct endpoint_match match;
	struct id id;
	char request_id[ID_TEXT_BYTES];
	struct admit_caller caller;
	bool known;       /* the token was found */
	int64_t spent_nusd; /* by the token, since ever; where it is asked for */
	bool from_memory; /* … in memory, as the store is not to be had */
	struct openai_request ask;
	bool is_json;
	bool is_dry;          /* X-Sluice-Dry-Run: it is quoted and not sent; dry.c */
	struct bytes quote;
	bool is_count;        /* asks for a number of tokens, which costs nothing */
	char path_model[128]; /* that the path names; "" none */
	char plain_path[64];  /* by which wire/openai.h knows what is asked for; endpoint.h */
	char upstream_name[NAME_BYTES];
	struct span body; /* the client's, as the route's rules make it */
	struct session session;
	struct outgoing out;
	struct media *media;       /* that the body names by address; see media.c */
	struct err media_err;      /* why they cannot be had */
	bool media_waits;          /* they have to be fetched first */
	struct snapshot *snapshot;
	struct route_plan plan;
	struct price_list
		price[ROUTE_ATTEMPTS_MAX]; /* of the candidates; empty: unknown, or no model */
	struct board_repeat repeat;        /* of its idempotency key; zeros: none */
	struct admit_pass pass;
	struct settle_note *note; /* on the board */
	struct admit_need need;
	bool by_attempt; /* there are limits that name upstreams or keys: candidate.c */
	enum { CANDIDATE_NEW, CANDIDATE_MAY, CANDIDATE_REFUSED } may;
	struct admit_pass attempt; /* of the candidate; count and lease 0: nothing is held */
	struct settle_note *attempt_note;
	struct err attempt_err;
	int64_t began_us, admitted_us;

	/* QUEUE */
	struct waiting waiting;

	/* PAUSE */
	struct pause {
		struct exchange *next, *prev; /* of gw->pausing */
		bool on;           /* it is among them */
		bool may_help;     /* an attempt failed in a way that may pass */
		int64_t count;     /* of its pauses */
		int64_t until_us;  /* of the present one */
		int64_t ends_us;   /* of the last one, at most; 0: there was none */
	} pause;

	/* CREDENTIAL */
	struct access_waiter waiter;
	const char *access_token; /* that the candidate is asked with; NULL: it takes none */
	uint64_t access_number;
	bool renewing;          /* the candidate is asked again, with another access token … */
	bool renewed;           /* … which happens once */
	int64_t waits_since_ms; /* loop time */

	/* walk.c */
	int candidate;  /* of plan: at hand; plan.count: nobody is left */
	int asked;      /* the last one that was asked … */
	int tries;      /* … and how many were */
	bool begun;     /* it counts as in flight: walk_report() or walk_release() is due */
	int64_t try_us; /* when it was begun */
	bool is_context, is_filter; /* what the last attempt's failure was about, besides `failure` */
	bool one_try;   /* it may have been acted on, and must not be asked of another */
	struct failure_verdict rules; /* of route, upstream and policies, on that failure */

	/* FORWARD */
	struct forward_call *call;
	enum answer_mode mode;
	struct forward_end end;
	bool ended; /* `end` is of this attempt */
	bool sent;  /* a provider may have acted on one of the attempts */
	int answer_status;
	char content_type[128];
	struct bytes answer;    /* collected: ERROR, WHOLE; the tail of a long one in BYTES */
	struct bytes held;      /* what goes out once it is booked */
	struct bytes early;     /* what came before there was something to show */
	bool holding;           /* nothing is shown yet: another provider can take over unseen */
	bool stalled, is_slow;  /* it was cancelled by us: no content in its time, or too little */
	int64_t first_byte_ms;  /* most of the attempt; counts up to the first content */
	int64_t content_due_ms; /* loop time */
	int64_t judged_ms;      /* loop time at which a stream's rate is judged; 0: it is not */
	int64_t content_us;     /* of the attempt's first content; 0: there was none yet */
	struct passage passage; /* of a stream */
	struct wire_usage reply_usage; /* of a converted answer */
	struct signatures *signatures; /* of what was signed in it; NULL: nothing is kept */
	bool head_sent, full, gone, closing;
	bool is_events; /* the head that was sent promises events */
	struct guard guard;
	bool cut;           /* the operator wants it ended */
	int64_t sent_bytes; /* to the client */
	bool content_sent;  /* more than a heartbeat: nobody else may be asked now */
	int passed_count;
	struct web_head_line passed[PASSED_HEADERS_MAX]; /* of the provider's, as they are */
	int64_t wrote_ms, done_ms;                       /* loop time */
	int64_t drain_until_ms; /* the client left: the answer is read on until then */
	enum failure failure;   /* of the last attempt */
	int64_t retry_at_ms;
	int64_t first_byte_us;

	/* SETTLE */
	struct err err; /* what the client is told, when code is set */
	struct usage_row row;
	struct ledger_item *item;
	bool submitted, booked;
	int64_t submitted_ms;
};

/* exchange.c */
void exchange_on_request(void *ctx, struct web_request *r); /* [intake] */
void exchange_admit(struct exchange *x); /* [intake] from the start, also after an abandonment */
void exchange_run(struct exchange *x);   /* [loop] */
void exchange_tick(struct gateway *gw);  /* [loop] heartbeats and waits */

/* admission.c: the work of ADMIT; 0, or -1 with x->err. */
int admission_run(struct exchange *x);
/* Whom could we ask?  Into x->plan.  again: one that was reserved for, within that; needs no thread of
 * its own.  0, or -1 with *err as route_plan() says. */
int admission_plan(struct exchange *x, bool again, struct err *err);

/* queue.c [loop] */
void queue_init(struct gateway *gw);
void queue_close(struct gateway *gw);
/* Is it worth waiting, when the plan failed as `why` tells?  Any thread. */
bool queue_makes_sense(const struct exchange *x, const struct err *why);
bool queue_must(const struct exchange *x); /* before anybody is asked: others wait, or nobody may be */
bool queue_may(const struct exchange *x);  /* all had enough to do: it waits for one to be free */
enum exchange_state queue_step(struct exchange *x);
void queue_served(struct exchange *x); /* it had its turn */
void queue_leave(struct exchange *x);  /* it waits no more; does nothing where it does not */
void queue_nudge(struct gateway *gw);  /* somebody may be free now */

/* pause.c [loop]: a moment's rest, and along the plan once more. */
void pause_init(struct gateway *gw);
void pause_close(struct gateway *gw);
void pause_note(struct exchange *x); /* an attempt failed as x->failure tells */
/* Nobody else can be asked now: is it worth a pause? */
bool pause_may(struct exchange *x);
enum exchange_state pause_step(struct exchange *x);
void pause_leave(struct exchange *x); /* does nothing where there is none */

/* walk.c [loop]: along the plan. */
/* The candidate at hand; there is one. */
const struct route_candidate *walk_candidate(const struct exchange *x);
/* Is there one, and may another attempt be made: tries and deadline? */
bool walk_has_more(const struct exchange *x);
/* How long another attempt may still be begun; 0: not at all, for tries or deadline. */
int64_t walk_left_ms(const struct exchange *x);
/* Right before the candidate at hand is asked: false, it may not be by now, which is no try.  Else one
 * of the next two is due, and does nothing where none is. */
bool walk_begin(struct exchange *x);
void walk_report(struct exchange *x, const struct route_outcome *o);
void walk_release(struct exchange *x); /* it was not asked after all, or its client left */
void walk_pass_over(struct exchange *x); /* the candidate at hand; the next one is */
/* Behind an attempt that failed as x->failure tells: true, the next one is at hand. */
bool walk_go_on(struct exchange *x);
bool walk_could_go_on(const struct exchange *x); /* would it? */

/* dry.c: a request that is only quoted.  Nothing of it is sent, booked, reserved or kept. [intake] */
bool dry_is_asked(const struct exchange *x);
/* What its limits would say, into x->quote: 0, whatever that is. */
int dry_ask(struct exchange *x, const struct admit_ask *ask, const struct quote_size *size);
/* The answer to it: 200, also where the request itself would be refused. */
void dry_answer(struct exchange *x);

/* decision.c: why it went where it went.  Whoever owns x. */
/* That candidate of the plan is not asked after all. */
void decision_skip(struct exchange *x, int candidate, enum route_reason why);
void decision_keep(struct exchange *x); /* as far as known, into x->row */

/* attempt.c [loop] */
int attempt_start(struct exchange *x); /* 0, or -1 when this candidate cannot be tried */
/* Looks after an attempt that shows nothing yet. */
void attempt_tick(struct exchange *x, int64_t now_ms);
void attempt_show(struct exchange *x); /* what is held goes out; nobody else may be asked any more */
/* For passage.h: towards the client, or held back. */
void attempt_pass_event(void *ctx, const char *data, size_t len, bool last);

/* judge.c [loop] */
void judge_attempt(struct exchange *x);  /* it is over; x->failure and x->err tell */
void judge_conclude(struct exchange *x); /* it counts: for the key, the provider and the client */

/* spent.c [loop] */
/* As the last attempt's provider reports it. */
void spent_find(struct exchange *x, struct wire_usage *u);
void spent_usage(struct exchange *x); /* tokens, source and cost into x->row */

/* credential.c [loop]: what an upstream is to know us by. */
void credential_begin(struct exchange *x); /* a new candidate */
enum credential_verdict {
	CREDENTIAL_READY,
	CREDENTIAL_WAIT,
	CREDENTIAL_NONE, /* x->err tells why this candidate cannot be asked */
	CREDENTIAL_KEPT  /* nor again: what it answered counts */
};
enum credential_verdict credential_ask(struct exchange *x);
void credential_leave(struct exchange *x); /* waits no longer */
/* The last thing before an attempt is sent: puts the credential into the head or q->url, and signs
 * what is in l and q, body included.  The caller sets q->header_count behind it.  0, or -1 with
 * x->err. */
int credential_add(struct exchange *x, struct header_list *l, struct forward_request *q);
/* An answer came that refuses: is it the access token, and the candidate asked again with another? */
bool credential_renews(struct exchange *x);
bool credential_is_late(const struct exchange *x); /* has it waited long enough? */

/* translate.c */
const struct provider *translate_provider(const struct upstream *u);
struct request_source translate_source(const struct exchange *x);
/* Are media fetched for that upstream, by the route's word or its own? */
bool translate_fetches(const struct exchange *x, const struct upstream *u);
/* For the candidate that is next, into x->out: 0, or -1 with x->err.  Whoever owns x. */
int translate_request(struct exchange *x);
/* For the plan's first, leaving out those that cannot express it. [intake] */
int translate_first(struct exchange *x);
/* Is translate_request() nothing for the loop, as the body is long or the store is asked? */
bool translate_may_block(const struct exchange *x);
struct reply_options translate_reply_options(const struct exchange *x);
bool translate_to_array(const struct exchange *x); /* a Gemini client that wants no events */
/* x->answer, whole, into the client's format; usage into x->reply_usage.  0, or -1 with x->err. */
int translate_reply(struct exchange *x);

/* signed.c: what models signed and the client's format cannot carry; in the vault meanwhile. */
/* Will the store be asked for a request that goes out in that format? */
bool signed_is_sought(const struct exchange *x, const struct format *to);
/* Puts back what x->out.format takes.  Blocks on the store; 0, or -1 with ERR_MEMORY. */
int signed_restore(struct exchange *x, struct neutral_request *n, struct err *err);
void signed_begin(struct exchange *x); /* [loop] an answer that is converted comes; forgets the last */
void signed_forget(struct exchange *x);
/* passage_options.see and reply_options.see, ctx the exchange. [loop] */
int signed_see(void *ctx, const struct neutral_event *e);
void signed_see_reply(void *ctx, const struct neutral_reply *r);
/* What is to be kept of the answer, for its ledger_item; NULL: nothing. [loop] */
struct ledger_keep *signed_keep(struct exchange *x);

/* candidate.c: limits that name upstreams or keys, for the candidate that is next. */
int candidate_init(struct gateway *gw, struct err *err);
/* [loop] True: it is not the loop's until it comes back by gateway_to_loop().  False: x->may tells. */
bool candidate_ask(struct exchange *x);
/* Was it refused, as its upstream or key has as many calls running as it may? */
bool candidate_is_full(const struct exchange *x);
void candidate_release(struct exchange *x); /* [loop] that one has spent nothing */
/* Work taken over from an abandoned thread (store.h).  True when it was of here. */
bool candidate_take_over(struct gateway *gw, const void *work);

/* guard.c [loop], but for guard_begin() */
void guard_begin(struct exchange *x); /* behind the reservation [intake] */
/* Is the next piece to wait?  The transfer is resumed then. */
bool guard_rests(struct exchange *x);
/* passage_feed(), and stops the stream where nothing is left: 0, or -1 out of memory. */
int guard_feed(struct exchange *x, const char *data, size_t len,
	void (*pass)(void *ctx, const char *data, size_t len, bool last));
void guard_raised(struct exchange *x, const struct ledger_raise *r);
void guard_end(struct exchange *x); /* no answer of the ledger comes any more */

/* listing.c [intake]: our own answers into out; -1 with x->err. */
int listing_models(struct exchange *x, struct bytes *out);
/* The one that the path names, or who serves it. */
int listing_model(struct exchange *x, struct bytes *out);
void listing_upstreams(const struct exchange *x, struct bytes *out);
void listing_key_gauges(struct gateway *gw, struct bytes *out);
/* Beside our error object in out, a whole body, what clients of that face look for.  p: NULL too. */
void listing_add_detail(const struct endpoint_match *m, const struct snapshot *p,
	const struct err *e, struct bytes *out);

/* openrouter.c [intake]: the same in OpenRouter's words.  x->spent_nusd is known where tokens are told of. */
void listing_providers(const struct exchange *x, struct bytes *out);
void listing_token(const struct exchange *x, struct bytes *out);
void listing_tokens(const struct exchange *x, struct bytes *out);
void listing_credits(const struct exchange *x, struct bytes *out);

/* answer.c */
const char *answer_error_body(void *ctx, const struct web_request *r, const struct err *why,
	struct bytes *out); /* for web's own refusals */
int64_t answer_body_limit(void *ctx, const char *method, struct span path);
void answer_stream_head(struct exchange *x); /* [loop] */
void answer_finish(struct exchange *x);      /* [loop] whatever is left to say, then the end */
void answer_now(struct exchange *x);         /* [intake] an error or one of our own lists */
void answer_quote(struct exchange *x); /* x->quote, which is there */
/* A request that needs no exchange: unknown path, OPTIONS, health. [intake] */
void
answer_plain(struct gateway *gw, struct web_request *r, int found, const struct endpoint_match *m);

/* rounds.c: checks and lists of providers that are due. */
int rounds_start(struct gateway *gw);
void rounds_stop(struct gateway *gw); /* under gw->mutex: what it is at is cut off */
bool rounds_take_over(struct gateway *gw, const void *work);

/* gateway.c */
void gateway_to_loop(struct exchange *x);    /* any thread */
void gateway_raised(struct ledger_raise *r); /* [ledger] */
/* The present snapshot, held for the caller; made anew first when the board's word has moved.
 * [intake] */
struct snapshot *gateway_snapshot(struct gateway *gw, struct err *err);
/* The newest one there is, without asking the store; NULL when there never was one. */
struct snapshot *gateway_snapshot_at_hand(struct gateway *gw);

#endif
