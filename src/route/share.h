/*
 * share.h - whose turn it is: smooth weighted shares over words that all processes share.
 *
 * Each member's word says how far it is: picks / weight.  With V the mean of all by weight, those
 * not ahead of V may be picked, of them the one whose next turn is due first.  After any number of
 * picks each has its weight's part of them within one pick, over any number of processes.  No lock
 * and no ticket: a pick is one CAS on the word of who is picked; who was picked meanwhile by
 * another is looked at again.
 *
 * A member that rested is far behind.  It is taken to be as far as the last of the others, so that
 * it gets its share from now on and is not flooded with what it missed; a new one likewise.
 */
#ifndef ROUTE_SHARE_H
#define ROUTE_SHARE_H

#include "board/share.h"
#include "route/route.h"

#define SHARE_ROUND   (INT64_C(1) << 40) /* how far a pick moves a member of weight 1 */
#define SHARE_TRIES   64                 /* that others may be faster, before it is taken anyhow */

/* One that may be picked now.  The caller fills in word (NULL: the board has no room, its share is a
 * guess), weight and step; the rest is share_look()'s. */
struct share_member {
	struct board_share *word;
	int64_t step;  /* share_step() of its weight */
	double weight;
	int64_t was;   /* the word as it was read */
	int64_t place; /* how far it is, from the first member's word on */
	int64_t due;   /* where its next turn is due: who comes after whom */
};

/* How far a pick moves one of that weight (> 0; parts of 1 for those that shall get little). */
int64_t share_step(double weight);
/* Reads all words.  The index of whose turn it is; count > 0. */
int share_look(struct share_member *m, int count);
/* Looks, and takes the turn. */
int share_pick(struct share_member *m, int count);
/* It was picked by something else than its share: that counts too. */
void share_charge(const struct share_member *m);
/* A candidate is asked that was not the first of its plan: a turn of its share. */
void share_turn(struct board *b, const struct route_candidate *c);

#endif
