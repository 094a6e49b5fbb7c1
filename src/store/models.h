/*
 * models.h - the models that a provider says it has (upstream.discover), kept between processes: a head
 * and pieces of text in the small values, which a backup carries and an export leaves out.
 *
 * Text: a line for each model, "CONTEXT FLAGS MODALITY NAME": tokens of context (0: not said), "f" for
 * one that costs nothing or "-", its modality ("text+image->text", or "-"), and its name to the line's end.
 * Blocking, threads and abandonment as store.h says.  One writer at a time is the caller's business; a
 * reader that comes in between finds no list rather than half of one.
 */
#ifndef STORE_MODELS_H
#define STORE_MODELS_H

#include "store/store.h"

#define MODELS_MAX      5000 /* of one upstream; more are cut */
#define MODALITY_BYTES  48
#define MODELS_LINE_MAX (MODEL_BYTES + MODALITY_BYTES + 24)
#define MODELS_TEXT_MAX (MODELS_MAX * (size_t)MODELS_LINE_MAX)
#define MODELS_KEPT_MS  (INT64_C(7) * 24 * 3600 * 1000) /* then the provider is asked again */

struct models_head {
	int64_t at_ms;    /* board time of the list; 0: none yet */
	int64_t tried_ms; /* the last time it was asked for */
	uint64_t of;      /* models_of() when it was */
	uint64_t stamp;   /* of the pieces that belong to it */
	uint32_t count, pieces;
	char why[200];    /* why the last try failed; "" it did not */
};

/* Whom a list is of: another address or protocol has another list. */
uint64_t models_of(const struct upstream *u);

/* 1 with *head (and the text, where text is not NULL, a BYTES_LIMIT), 0 none, -1. */
int store_models_get(struct store *s, struct id upstream, struct models_head *head,
	struct bytes *text, struct err *err);
/* The text comes in place of that before; sets stamp and pieces. */
int store_models_put(struct store *s, struct id upstream, struct models_head *head, struct span text,
	struct err *err);
/* The head alone: a try that failed. */
int store_models_note(struct store *s, struct id upstream, const struct models_head *head,
	struct err *err);
int store_models_forget(struct store *s, struct id upstream, struct err *err);

struct model_line {
	struct span name, modality; /* modality "" not said */
	int64_t context;            /* 0: not said */
	bool is_free;
};
/* Takes the first line off: false at the end.  Broken lines are passed over. */
bool models_next(struct span *text, struct model_line *out);

#endif
