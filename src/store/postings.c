/*
 * postings.c - which rows have a value, for lists that are filtered.
 *
 * Rows are taken in blocks of 4,096 by their record number.  For each value that is met in a block
 * there is one entry that says which rows of the block have it: their offsets, or a bit for each when
 * they are many.  The block comes first in the key, so what belongs to rows that are gone is one
 * range of keys.  A list goes from block to block, newest first, and asks each for its few values:
 * 10 million rows are 2,442 blocks.  Several conditions are the intersection of their bits.
 */
#include "store/usage-int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Numbers on disk. */
enum post_kind {
	POST_PROJECT,
	POST_TOKEN,
	POST_UPSTREAM,
	POST_KEY,
	POST_MODEL,
	POST_SENT_MODEL,
	POST_END_USER,
	POST_TAG,
	POST_STATUS,
	POST_CLASS, /* of the status: 4 */
	POST_FAILED
};

#define WORDS_OF_BLOCK (BLOCK_ROWS / 64)
#define BITMAP_BYTES   (BLOCK_ROWS / 8)
#define LIST_MOST      255 /* offsets of two bytes; beyond it the bitmap is smaller */

struct bits {
	uint64_t of[WORDS_OF_BLOCK];
};

/* ---- what a row is found by ---- */

static void
post_key(struct post *p, uint32_t block, enum post_kind kind, const struct value *v)
{
	p->key[0] = KEY_POSTING;
	put_be32(p->key + 1, block);
	p->key[5] = (uint8_t)kind;
	memcpy(p->key + POST_KEY_HEAD, v->at, v->len);
	p->len = (uint8_t)(POST_KEY_HEAD + v->len);
}

static void
post_add(struct post out[POSTS_MAX], int *count, const struct stored_row *r, enum post_kind kind,
	struct value v)
{
	struct post *p = &out[*count];

	post_key(p, r->recno >> BLOCK_SHIFT, kind, &v);
	p->offset = (uint16_t)(r->recno & (BLOCK_ROWS - 1));
	++*count;
}

int
posts_of(const struct stored_row *r, struct post out[POSTS_MAX])
{
	const struct {
		enum post_kind kind;
		struct id id;
	} ids[] = { { POST_PROJECT, r->row.project }, { POST_TOKEN, r->row.token },
		{ POST_UPSTREAM, r->row.upstream }, { POST_KEY, r->row.key } };
	static const struct {
		enum post_kind kind;
		int word;
	} words[] = { { POST_MODEL, ROW_MODEL }, { POST_SENT_MODEL, ROW_UPSTREAM_MODEL },
		{ POST_END_USER, ROW_END_USER }, { POST_TAG, ROW_TAG }, { POST_TAG, ROW_TAG + 1 },
		{ POST_TAG, ROW_TAG + 2 }, { POST_TAG, ROW_TAG + 3 } };
	int count = 0;

	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
		if (!id_is_none(ids[i].id))
			post_add(out, &count, r, ids[i].kind, value_of_id(ids[i].id));
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (r->words[words[i].word] != WORD_NONE)
			post_add(out, &count, r, words[i].kind,
				value_of_number(r->words[words[i].word]));
	post_add(out, &count, r, POST_STATUS, value_of_number(r->row.status));
	post_add(out, &count, r, POST_CLASS, value_of_number(r->row.status / 100u));
	if (usage_row_failed(&r->row))
		post_add(out, &count, r, POST_FAILED, (struct value){ .len = 0 });
	return count;
}

/* ---- entries on disk ---- */

static void
bit_set(struct bits *b, uint32_t offset)
{
	b->of[offset / 64] |= 1ULL << offset % 64;
}

/* Adds an entry's rows to *b; none when there is no entry. */
static int
entry_get(struct attach *at, DB_TXN *txn, u_int32_t flags, const struct post *p, struct bits *b)
{
	DB *db = at->table[TABLE_ROLLUPS];
	uint8_t bytes[BITMAP_BYTES];
	DBT key, data;
	int rc;

	dbt_in(&key, p->key, p->len);
	dbt_out(&data, bytes, sizeof bytes);
	rc = db->get(db, txn, &key, &data, flags);
	if (rc != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	if (data.size == BITMAP_BYTES) {
		for (size_t i = 0; i < WORDS_OF_BLOCK; i++)
			b->of[i] |= get_be64(bytes + 8 * i);
		return 0;
	}
	for (size_t i = 0; i + 1 < data.size; i += 2)
		bit_set(b, ((uint32_t)bytes[i] << 8 | bytes[i + 1]) & (BLOCK_ROWS - 1));
	return 0;
}

static size_t
bits_write(const struct bits *b, uint8_t out[BITMAP_BYTES])
{
	size_t count = 0, len = 0;

	for (size_t i = 0; i < WORDS_OF_BLOCK; i++)
		count += (size_t)__builtin_popcountll(b->of[i]);
	if (count > LIST_MOST) {
		for (size_t i = 0; i < WORDS_OF_BLOCK; i++)
			put_be64(out + 8 * i, b->of[i]);
		return BITMAP_BYTES;
	}
	for (uint32_t i = 0; i < WORDS_OF_BLOCK; i++) {
		for (uint64_t word = b->of[i]; word != 0; word &= word - 1) {
			uint32_t offset = 64 * i + (uint32_t)__builtin_ctzll(word);

			out[len++] = (uint8_t)(offset >> 8);
			out[len++] = (uint8_t)offset;
		}
	}
	return len;
}

static bool
same_entry(const struct post *a, const struct post *b)
{
	return a->len == b->len && memcmp(a->key, b->key, a->len) == 0;
}

static int
by_post_key(const void *a, const void *b)
{
	const struct post *x = a, *y = b;
	int rc = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);

	return rc != 0 ? rc : (int)x->len - (int)y->len;
}

int
posts_write(struct attach *at, DB_TXN *txn, struct post *posts, int count)
{
	DB *db = at->table[TABLE_ROLLUPS];

	qsort(posts, (size_t)count, sizeof posts[0], by_post_key);
	for (int i = 0; i < count;) {
		const struct post *p = &posts[i];
		struct bits b = { { 0 } };
		uint8_t bytes[BITMAP_BYTES];
		DBT key, data;
		int rc = entry_get(at, txn, DB_RMW, p, &b);

		if (rc != 0)
			return rc;
		for (; i < count && same_entry(&posts[i], p); i++)
			bit_set(&b, posts[i].offset);
		dbt_in(&key, p->key, p->len);
		dbt_in(&data, bytes, bits_write(&b, bytes));
		if ((rc = db->put(db, txn, &key, &data, 0)) != 0)
			return rc;
	}
	return 0;
}

/* ---- lists ---- */

#define ROWS_BATCH   64
#define BLOCKS_BATCH 1024 /* a call into the store */
#define HOLES_BATCH  10000

/* One condition: any of these values. */
struct condition {
	int count;
	struct post value[2]; /* their block is set when it is asked for */
};

struct finding {
	const struct rows_filter *filter;
	int conditions;
	struct condition condition[ROWS__COUNT];
	bool nothing; /* no row can pass */

	struct folded folded;
	uint32_t first;
	uint32_t before; /* 0: from the end */
	bool end;
	size_t count;
	struct stored_row rows[ROWS_BATCH];
};

static void
allow(struct condition *c, enum post_kind kind, struct value v)
{
	post_key(&c->value[c->count++], 0, kind, &v);
}

static int
allow_word(struct attach *at, struct condition *c, enum post_kind kind, enum dimension d,
	const char *text)
{
	uint32_t number;
	int rc = 0;

	if (strcmp(text, "other") == 0)
		number = WORD_OTHER;
	else
		rc = words_lookup(at, d, text, &number);
	if (rc == 0 && number != WORD_NONE)
		allow(c, kind, value_of_number(number));
	return rc;
}

static int
allow_id(struct condition *c, enum post_kind kind, const char *prefix, const char *text,
	struct err *err)
{
	struct id id;

	if (id_parse(prefix, text, &id) != 0) {
		(void)err_set(err, ERR_BAD_REQUEST, "rows are found by id (%s…), not by %s", prefix,
			text);
		return WORK_FAILED;
	}
	allow(c, kind, value_of_id(id));
	return 0;
}

static int
allow_status(struct condition *c, const char *text, struct err *err)
{
	char *end;
	long status = strtol(text, &end, 10);

	if (status >= 1 && status <= 9 && strcmp(end, "xx") == 0) {
		allow(c, POST_CLASS, value_of_number((uint32_t)status));
	} else if (status >= 0 && status <= UINT16_MAX && *end == '\0' && end != text) {
		allow(c, POST_STATUS, value_of_number((uint32_t)status));
	} else {
		(void)err_set(err, ERR_BAD_REQUEST, "a status is such as 429 or 4xx");
		return WORK_FAILED;
	}
	return 0;
}

static int
condition_of(
	struct attach *at, enum rows_by by, const char *text, struct condition *c, struct err *err)
{
	int rc;

	switch (by) {
	case ROWS_PROJECT:
		return allow_id(c, POST_PROJECT, "prj_", text, err);
	case ROWS_TOKEN:
		return allow_id(c, POST_TOKEN, "tok_", text, err);
	case ROWS_UPSTREAM:
		return allow_id(c, POST_UPSTREAM, "up_", text, err);
	case ROWS_KEY:
		return allow_id(c, POST_KEY, "key_", text, err);
	case ROWS_MODEL:
		rc = allow_word(at, c, POST_MODEL, WORD_MODEL, text);
		return rc != 0 ? rc : allow_word(at, c, POST_SENT_MODEL, WORD_UPSTREAM_MODEL, text);
	case ROWS_END_USER:
		return allow_word(at, c, POST_END_USER, WORD_END_USER, text);
	case ROWS_TAG:
		return allow_word(at, c, POST_TAG, WORD_TAG, text);
	case ROWS_STATUS:
		return allow_status(c, text, err);
	case ROWS_FAILED:
		allow(c, POST_FAILED, (struct value){ .len = 0 });
		return 0;
	case ROWS__COUNT:
		break;
	}
	return 0;
}

static int
resolve(struct attach *at, void *arg, struct err *err)
{
	struct finding *f = arg;

	f->conditions = 0;
	f->nothing = false;
	for (int by = 0; f->filter != NULL && by < ROWS__COUNT; by++) {
		struct condition *c = &f->condition[f->conditions];
		const char *text = f->filter->value[by];
		int rc;

		if (text == NULL)
			continue;
		c->count = 0;
		if ((rc = condition_of(at, (enum rows_by)by, text, c, err)) != 0)
			return rc;
		f->nothing |= c->count == 0;
		f->conditions++;
	}
	return 0;
}

static bool
has_value(const struct post *posts, int count, const struct post *value)
{
	for (int i = 0; i < count; i++)
		if (posts[i].len == value->len &&
			memcmp(posts[i].key + 5, value->key + 5, value->len - 5u) == 0)
			return true;
	return false;
}

static bool
passes(const struct finding *f, const struct stored_row *r)
{
	struct post posts[POSTS_MAX];
	int count;

	if (f->conditions == 0)
		return true;
	count = posts_of(r, posts);
	for (int i = 0; i < f->conditions; i++) {
		const struct condition *c = &f->condition[i];
		bool any = false;

		for (int k = 0; k < c->count; k++)
			any |= has_value(posts, count, &c->value[k]);
		if (!any)
			return false;
	}
	return true;
}

/* Takes the row if it is there and passes. */
static int
try_row(struct attach *at, struct finding *f, uint32_t recno, bool *there)
{
	struct stored_row *r = &f->rows[f->count];
	int rc = row_load(at, NULL, 0, recno, r, there);

	if (rc == DB_NOTFOUND) {
		*there = false;
		return 0;
	}
	if (rc != 0 || !*there || !passes(f, r))
		return rc;
	if ((rc = row_name(at, r)) == 0)
		f->count++;
	return rc;
}

/* Rows of the block that may pass. */
static int
block_bits(struct attach *at, struct finding *f, uint32_t block, struct bits *out)
{
	memset(out, 0xff, sizeof *out);
	for (int i = 0; i < f->conditions; i++) {
		struct condition *c = &f->condition[i];
		struct bits any = { { 0 } };
		uint64_t left = 0;

		for (int k = 0; k < c->count; k++) {
			int rc;

			put_be32(c->value[k].key + 1, block);
			if ((rc = entry_get(at, NULL, 0, &c->value[k], &any)) != 0)
				return rc;
		}
		for (size_t w = 0; w < WORDS_OF_BLOCK; w++)
			left |= out->of[w] &= any.of[w];
		if (left == 0)
			break;
	}
	/* A row that came late stands in no entry until it is folded. */
	for (uint32_t i = 0; i < f->folded.holes; i++)
		if (f->folded.hole[i] >> BLOCK_SHIFT == block)
			bit_set(out, f->folded.hole[i] & (BLOCK_ROWS - 1));
	return 0;
}

/* The rows of a block that stand before *recno, newest first; *recno moves along. */
static int
find_in_block(struct attach *at, struct finding *f, uint32_t *recno)
{
	uint32_t last = *recno - 1, block = last >> BLOCK_SHIFT, least = block << BLOCK_SHIFT;
	struct bits bits;
	int rc = block_bits(at, f, block, &bits);

	if (f->folded.posted >> BLOCK_SHIFT == block)
		least = f->folded.posted;
	if (rc != 0)
		return rc;
	for (int64_t i = last & (BLOCK_ROWS - 1); i >= 0 && f->count < ROWS_BATCH; i--) {
		uint64_t low = bits.of[i / 64] << (63 - i % 64); /* those up to i, at the top */
		bool there;

		if (low == 0) {
			i -= i % 64;
			continue;
		}
		i -= __builtin_clzll(low);
		*recno = block << BLOCK_SHIFT | (uint32_t)i;
		if (recno_before(*recno, f->first) || *recno < least || *recno == 0)
			break;
		if ((rc = try_row(at, f, *recno, &there)) != 0)
			return rc;
	}
	if (f->count < ROWS_BATCH)
		*recno = least;
	return 0;
}

static bool
has_postings(const struct finding *f, uint32_t recno)
{
	const struct folded *d = &f->folded;

	return f->conditions > 0 && d->layout >= 2 && d->position != 0 &&
	       !recno_before(d->position, recno) &&
	       (d->posted == 0 || !recno_before(recno, d->posted));
}

static int
find_batch(struct attach *at, void *arg, struct err *err)
{
	struct finding *f = arg;
	uint32_t next, recno;
	int holes = 0, blocks = 0;
	int rc = rows_bounds(at, &f->first, &next);

	(void)err;
	f->count = 0;
	if (rc != 0 || (rc = fold_position(at, NULL, 0, &f->folded)) != 0)
		return rc;
	recno = f->before == 0 || recno_before(next, f->before) ? next : f->before;
	while (recno_before(f->first, recno) && f->count < ROWS_BATCH && holes < HOLES_BATCH &&
		blocks < BLOCKS_BATCH) {
		bool there = true;

		if (recno == 1) {
			recno = 0; /* there is no record 0 */
			continue;
		}
		if (has_postings(f, recno - 1)) {
			blocks++;
			rc = find_in_block(at, f, &recno);
		} else {
			rc = try_row(at, f, --recno, &there);
			holes += !there || f->conditions > 0;
		}
		if (rc != 0)
			return rc;
	}
	f->end = !recno_before(f->first, recno);
	f->before = recno == 0 ? 1 : recno; /* only now: this may be run again from the start */
	return 0;
}

int
store_rows_find(struct store *s, const struct rows_filter *filter, uint64_t *cursor,
	bool (*fn)(void *ctx, const struct usage_row *row), void *ctx, struct err *err)
{
	struct finding *f = malloc(sizeof *f);
	int rc;

	if (f == NULL)
		return err_set(err, ERR_MEMORY, "store: out of memory");
	f->filter = filter;
	f->before = (uint32_t)*cursor;
	f->end = false;
	rc = store_call(s, "reading", resolve, f, err);
	while (rc == 0 && !f->nothing && !f->end) {
		rc = store_call(s, "reading", find_batch, f, err);
		for (size_t i = 0; rc == 0 && i < f->count; i++) {
			*cursor = f->rows[i].recno;
			if (!fn(ctx, &f->rows[i].row)) {
				free(f);
				return 0;
			}
		}
	}
	free(f);
	return rc;
}

int
store_rows_each(struct store *s, uint64_t *cursor,
	bool (*fn)(void *ctx, const struct usage_row *row), void *ctx, struct err *err)
{
	return store_rows_find(s, NULL, cursor, fn, ctx, err);
}
