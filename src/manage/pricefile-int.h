/*
 * pricefile-int.h - a price list as rows: our own shape, or the public community list's.
 *
 * Own: {"prices":[{"model","upstream"?,"from"?,"input","output", ...}]}, dollars a million tokens,
 * by the names of the record's fields.  Community: an object of model name -> {"input_cost_per_token",
 * "output_cost_per_token", ..., "litellm_provider"}, dollars a token; which members are known stands in
 * pricefile.c.  Figures go by decimal arithmetic on their text.
 */
#ifndef MANAGE_PRICEFILE_INT_H
#define MANAGE_PRICEFILE_INT_H

#include "manage/manage-int.h"
#include "store/snapshot.h"

#define PRICE_IGNORED_MAX 48 /* names of members that are told */

struct price_file {
	struct call *call;
	const struct price_import *how;
	struct id upstream;  /* for all rows that name none */
	struct price *rows;  /* no two of one model, upstream, tier, step and time */
	size_t count, room;
	size_t models;       /* read */
	size_t skipped;      /* stated no price that sluice can express */
	size_t ambiguous;    /* bare names that several providers price differently */
	size_t ignored;      /* members that look like a price and are not known */
	struct {
		char name[64];
		size_t count;
	} ignored_names[PRICE_IGNORED_MAX];
	size_t ignored_name_count;
};

/* 0, or -1 with call->err: nothing of a list with one wrong figure is taken. */
int price_file_read(struct price_file *f, struct span json);
void price_file_free(struct price_file *f);

/* Order by model, upstream, tier and step; of such a series by time too (as qsort() calls it). */
int price_series_order(const struct price *a, const struct price *b);
int price_row_order(const void *a, const void *b);
/* The same rates, whatever else the rows say. */
bool price_same_rates(const struct price *a, const struct price *b);

#endif
