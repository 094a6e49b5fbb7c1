/*
 * sums.c - sums on disk: their keys, their numbers, and what a row counts under.
 */
#include "store/usage-int.h"

#include <errno.h>
#include <string.h>

/* 1: eight bytes a number, in another order. */
#define SUM_VERSION     2
#define SUM_NUMBERS     17
#define SUM_NUMBERS_ONE 14

/* Names have theirs in the dictionary.  Checked against the count at the last fold, so it takes
 * hold FOLD_ROWS early. */
static const uint32_t ids_most[BY__COUNT] = {
	[BY_PROJECT] = 20000, [BY_TOKEN] = 1000000, [BY_UPSTREAM] = 2000, [BY_KEY] = 20000
};

const struct value value_other_id = {
	.at = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff },
	.len = 16,
};

/* ---- keys ---- */

int64_t
step_length(int step)
{
	static const int64_t length[] = { [STEP_MINUTE] = MINUTE_MS,
		[STEP_HOUR] = HOUR_MS,
		[STEP_DAY] = DAY_MS,
		[STEP_EVER] = INT64_MAX };

	return length[step];
}

int64_t
step_start(int step, int64_t ms)
{
	return step == STEP_EVER || ms < 0 ? 0 : ms - ms % step_length(step);
}

struct sum_key
sum_key_of(int by, int step, int64_t start, const struct value *value)
{
	size_t len = value != NULL ? value->len : 0;
	struct sum_key k = { .len = (uint8_t)(SUM_KEY_HEAD + len) };

	k.at[0] = (uint8_t)by;
	k.at[1] = (uint8_t)step;
	put_be64(k.at + 2, (uint64_t)start);
	if (len > 0)
		memcpy(k.at + SUM_KEY_HEAD, value->at, len);
	return k;
}

int64_t
sum_key_start(const struct sum_key *k)
{
	return (int64_t)get_be64(k->at + 2);
}

int
sum_key_compare(const struct sum_key *a, const struct sum_key *b)
{
	int rc = memcmp(a->at, b->at, a->len < b->len ? a->len : b->len);

	return rc != 0 ? rc : (int)a->len - (int)b->len;
}

/* ---- numbers ---- */

/* Those that are often zero last, as a sum ends behind the last that is not.  A new one goes to the
 * end: who does not know it passes over it, and what is missing is zero. */
static void
sum_numbers(struct usage_sum *sum, int64_t *of[SUM_NUMBERS])
{
	struct tokens *t = &sum->tokens;
	int64_t *const list[SUM_NUMBERS] = { &sum->requests, &sum->counted, &sum->last_ms,
		&sum->duration_ms, &sum->ttfb_ms, &t->input, &t->output, &sum->cost_nusd,
		&t->cache_read, &sum->errors, &t->reasoning, &t->cache_write, &t->cache_write_1h,
		&sum->unpriced, &t->audio_input, &t->audio_output, &t->images };

	memcpy(of, list, sizeof list);
}

static int
read_version_one(const uint8_t *in, size_t len, struct usage_sum *sum)
{
	struct tokens *t = &sum->tokens;
	int64_t *const number[SUM_NUMBERS_ONE] = { &sum->requests, &sum->errors, &sum->unpriced,
		&t->input, &t->cache_read, &t->cache_write, &t->cache_write_1h, &t->output,
		&t->reasoning, &sum->cost_nusd, &sum->duration_ms, &sum->ttfb_ms, &sum->last_ms,
		&sum->counted };

	for (size_t i = 0; i < SUM_NUMBERS_ONE && 1 + 8 * i + 8 <= len; i++)
		*number[i] = (int64_t)get_be64(in + 1 + 8 * i);
	return 0;
}

int
sum_read(const uint8_t *in, size_t len, struct usage_sum *sum)
{
	const uint8_t *at = in + 1, *end = in + len;
	int64_t *number[SUM_NUMBERS];

	memset(sum, 0, sizeof *sum);
	if (len > 0 && in[0] == 1)
		return read_version_one(in, len, sum);
	if (len == 0 || in[0] != SUM_VERSION)
		return EILSEQ;
	sum_numbers(sum, number);
	for (int i = 0; i < SUM_NUMBERS; i++) {
		uint64_t n = get_varint(&at, end);

		*number[i] = (int64_t)(n >> 1 ^ -(n & 1)); /* the sign is the lowest bit */
	}
	return 0;
}

static size_t
sum_write(uint8_t out[SUM_ROOM], const struct usage_sum *sum)
{
	struct usage_sum copy = *sum;
	int64_t *number[SUM_NUMBERS];
	uint8_t *at = out, *end;

	sum_numbers(&copy, number);
	*at++ = SUM_VERSION;
	end = at;
	for (int i = 0; i < SUM_NUMBERS; i++) {
		uint64_t n = (uint64_t)*number[i];

		at = put_varint(at, n << 1 ^ -(n >> 63));
		if (n != 0)
			end = at;
	}
	return (size_t)(end - out);
}

int
sum_get(struct attach *at, DB_TXN *txn, u_int32_t flags, const struct sum_key *k,
	struct usage_sum *sum)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t bytes[SUM_ROOM];
	DBT key, data;
	int rc;

	dbt_in(&key, k->at, k->len);
	dbt_out(&data, bytes, sizeof bytes);
	rc = db->get(db, txn, &key, &data, flags);
	if (rc != 0) {
		memset(sum, 0, sizeof *sum);
		return rc == DB_NOTFOUND ? 0 : rc;
	}
	return sum_read(bytes, data.size, sum);
}

int
sum_put(struct attach *at, DB_TXN *txn, const struct sum_key *k, const struct usage_sum *sum)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t bytes[SUM_ROOM];
	DBT key, data;

	dbt_in(&key, k->at, k->len);
	dbt_in(&data, bytes, sum_write(bytes, sum));
	return db->put(db, txn, &key, &data, 0);
}

/* ---- values ---- */

struct value
value_of_number(uint32_t number)
{
	struct value v = { .len = 4 };

	put_be32(v.at, number);
	return v;
}

struct value
value_of_id(struct id id)
{
	struct value v = { .len = sizeof id.b };

	memcpy(v.at, id.b, sizeof id.b);
	return v;
}

/* Where there is no room for another, an id that has no sum yet never gets one. */
static int
id_value(struct attach *at, DB_TXN *txn, const struct folded *folded, int by, struct id id,
	struct value out[VALUES_MAX], int *count)
{
	struct usage_sum sum;
	struct sum_key ever;
	int rc;

	if (id_is_none(id))
		return 0;
	*count = 1;
	out[0] = value_of_id(id);
	if (folded->values[by] + FOLD_ROWS < ids_most[by])
		return 0;
	ever = sum_key_of(by, STEP_EVER, 0, &out[0]);
	if ((rc = sum_get(at, txn, 0, &ever, &sum)) == 0 && sum.requests == 0)
		out[0] = value_other_id;
	return rc;
}

static int
word_values(const struct stored_row *r, int word, int words, struct value out[VALUES_MAX])
{
	int count = 0;

	for (int w = word; w < word + words; w++) {
		bool again = false;

		for (int before = word; before < w; before++)
			again |= r->words[before] == r->words[w];
		if (r->words[w] != WORD_NONE && !again)
			out[count++] = value_of_number(r->words[w]);
	}
	return count;
}

int
values_of(struct attach *at, DB_TXN *txn, const struct folded *folded, int by,
	const struct stored_row *r, struct value out[VALUES_MAX], int *count)
{
	const struct usage_row *row = &r->row;

	*count = 0;
	switch (by) {
	case BY_TOTAL:
		out[0].len = 0;
		*count = 1;
		return 0;
	case BY_PROJECT:
		return id_value(at, txn, folded, by, row->project, out, count);
	case BY_TOKEN:
		return id_value(at, txn, folded, by, row->token, out, count);
	case BY_UPSTREAM:
		return id_value(at, txn, folded, by, row->upstream, out, count);
	case BY_KEY:
		return id_value(at, txn, folded, by, row->key, out, count);
	case BY_MODEL:
		*count = word_values(r, ROW_MODEL, 1, out);
		return 0;
	case BY_END_USER:
		*count = word_values(r, ROW_END_USER, 1, out);
		return 0;
	case BY_TAG:
		*count = word_values(r, ROW_TAG, USAGE_TAGS_MAX, out);
		return 0;
	default:
		return 0;
	}
}
