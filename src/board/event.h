/*
 * event.h - what happened to keys, upstreams and accounts, from all processes in one order.
 *
 * A ring on the board: written by anybody without a lock, read by one clerk of all processes, who
 * keeps what he read elsewhere.  What nobody reads for BOARD_EVENTS events is written over.
 */
#ifndef BOARD_EVENT_H
#define BOARD_EVENT_H

#include "board/target.h"

#define BOARD_EVENTS 4095

enum board_scope {
	SCOPE_KEY, SCOPE_KEY_MODEL, SCOPE_UPSTREAM, SCOPE_UPSTREAM_MODEL, SCOPE_ACCOUNT, SCOPE__COUNT
};
enum board_event_kind {
	EVENT_STATE,   /* from, to: enum target_state */
	EVENT_BREAKER, /* from, to: enum standing_breaker */
	EVENT_REST,    /* it rests longer, in the same state */
	EVENT_QUOTA,   /* from, to: enum forecast_stage, of a quota of an hour or more; until_ms: it runs dry, or is reset */
	EVENT__COUNT
};

struct board_event {
	uint64_t number;  /* from 1; again from 1 on a board made anew */
	int64_t time_ms;  /* board time */
	struct id target; /* board_target_id() */
	struct id record; /* key or upstream; of an account none */
	uint8_t kind, scope, from, to, cause;
	uint16_t status;  /* that a provider answered; 0: none */
	int64_t until_ms; /* board time it rests until; 0: it does not */
	char name[64];    /* the model, or the account's group */
	char evidence[96];
};

/* Fills in number and time. [loop] */
void board_event_add(struct board *b, struct board_event *e);

/* True: this process is the one reader, until it leaves or dies.  One thread of it at a time. */
bool board_events_read(struct board *b);
void board_events_leave(struct board *b);
/* The oldest that is not done and can be read: 1, or 0.  *lost is raised by those that were written
 * over, or whose writer died. */
int board_events_next(struct board *b, struct board_event *e, int64_t *lost);
/* That one is kept. */
void board_events_done(struct board *b, const struct board_event *e);

/* Is what was kept back on this board?  A new one says false until told. [loop] */
bool board_is_restored(const struct board *b);
void board_set_restored(struct board *b);

#endif
