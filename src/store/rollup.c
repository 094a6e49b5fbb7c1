/*
 * rollup.c - sums of rows by minute, hour, day and for ever: the answers.
 *
 * An answer adds the rows behind the fold's position to the sums.  It reads the position before and
 * after: if a fold came between, it reads again.
 */
#include "store/usage-int.h"

#include "base/clock.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct answer_row {
	struct sum_key key;
	struct usage_sum sum;
};

struct answer {
	enum rollup_by by;
	int step; /* of a list; a sum uses them all */
	int64_t from_ms, to_ms;
	bool has_only;
	struct value only;

	/* a list */
	struct answer_row *rows;
	size_t count, room;
	/* a sum */
	bool one;
	struct usage_sum sum;

	struct folded folded;
	bool moved; /* a fold came between */
};

static bool
answer_add(struct answer *a, const struct sum_key *k, const struct usage_sum *sum)
{
	if (a->count == a->room) {
		size_t room = a->room == 0 ? 256 : a->room * 2;
		struct answer_row *rows = realloc(a->rows, room * sizeof rows[0]);

		if (rows == NULL)
			return false;
		a->rows = rows;
		a->room = room;
	}
	a->rows[a->count].key = *k;
	a->rows[a->count++].sum = *sum;
	return true;
}

/* A sum takes it up, a list keeps it. */
static int
answer_take(struct answer *a, const struct sum_key *k, const struct usage_sum *sum)
{
	if (!a->one)
		return answer_add(a, k, sum) ? 0 : ENOMEM;
	usage_sum_merge(&a->sum, sum);
	return 0;
}

/* Where to look next.  One value is looked for step by step, past the steps that have no sums. */
static struct sum_key
next_key(const struct answer *a, const struct sum_key *wanted, const struct sum_key *found)
{
	int step = wanted->at[1];
	int64_t start = sum_key_start(found);

	if (sum_key_compare(wanted, found) == 0 || start == sum_key_start(wanted))
		start = step_start(step, start) + step_length(step);
	return sum_key_of((int)a->by, step, start, &a->only);
}

/* What is folded of [from, to), which begins with a whole step and has no part of one behind it that
 * is to be left out. */
static int
walk_folded(struct attach *at, struct answer *a, int step, int64_t from, int64_t to)
{
	DB *db = at->table[TABLE_ROLLUPS];
	struct sum_key wanted = sum_key_of((int)a->by, step, from, &a->only), k = wanted;
	struct sum_key end = sum_key_of((int)a->by, step, to, NULL);
	uint8_t bytes[SUM_ROOM];
	struct usage_sum sum;
	DBT key, data;
	DBC *cursor;
	int rc, closed;

	if ((rc = db->cursor(db, NULL, &cursor, 0)) != 0)
		return rc;
	dbt_out(&key, k.at, sizeof k.at);
	key.size = k.len;
	/* Behind the sums stands what is longer; of that the key is enough. */
	dbt_out(&data, bytes, sizeof bytes);
	data.flags |= DB_DBT_PARTIAL;
	data.dlen = sizeof bytes;
	rc = cursor->get(cursor, &key, &data, DB_SET_RANGE);
	while (rc == 0) {
		k.len = (uint8_t)key.size;
		if (k.len < SUM_KEY_HEAD || k.at[0] >= KEY_POSTING ||
			sum_key_compare(&k, &end) >= 0)
			break;
		if (!a->has_only || sum_key_compare(&k, &wanted) == 0) {
			if ((rc = sum_read(bytes, data.size, &sum)) != 0 ||
				(rc = answer_take(a, &k, &sum)) != 0)
				break;
		}
		if (a->has_only) {
			if (step == STEP_EVER)
				break;
			wanted = k = next_key(a, &wanted, &k);
			key.size = k.len;
		}
		rc = cursor->get(cursor, &key, &data, a->has_only ? DB_SET_RANGE : DB_NEXT);
	}
	closed = cursor->close(cursor);
	if (rc == DB_NOTFOUND)
		rc = 0;
	return rc != 0 ? rc : closed;
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
round_up(int64_t ms, int64_t length)
{
	return ms > INT64_MAX - length ? ms : ms % length == 0 ? ms : ms - ms % length + length;
}

/* Minutes up to a whole hour, hours up to a whole day, days, and down again. */
static int
sum_folded(struct attach *at, struct answer *a, int64_t now)
{
	int64_t from = a->from_ms < 0 ? 0 : a->from_ms, to = a->to_ms;
	struct part {
		int step;
		int64_t to; /* from where the one before has ended */
	} parts[5];
	int rc = 0;

	if (from == 0 && to > now)
		return walk_folded(at, a, STEP_EVER, 0, 1);
	to = least(to, round_up(now + DAY_MS, DAY_MS));
	parts[0] = (struct part){ STEP_MINUTE, least(round_up(from, HOUR_MS), to) };
	parts[1] = (struct part){ STEP_HOUR, least(round_up(from, DAY_MS), to - to % HOUR_MS) };
	parts[2] = (struct part){ STEP_DAY, to - to % DAY_MS };
	parts[3] = (struct part){ STEP_HOUR, to - to % HOUR_MS };
	parts[4] = (struct part){ STEP_MINUTE, to };
	for (int i = 0; rc == 0 && i < 5; i++) {
		if (from >= parts[i].to)
			continue;
		rc = walk_folded(at, a, parts[i].step, from, parts[i].to);
		from = parts[i].to;
	}
	return rc;
}

static int
list_folded(struct attach *at, struct answer *a)
{
	return walk_folded(at, a, a->step, step_start(a->step, a->from_ms), a->to_ms);
}

static int
add_tail_row(struct attach *at, struct answer *a, const struct stored_row *r)
{
	const struct usage_row *row = &r->row;
	struct value value[VALUES_MAX];
	int64_t start = a->one ? row->time_ms : step_start(a->step, row->time_ms);
	int64_t from = a->one ? a->from_ms : step_start(a->step, a->from_ms);
	int count, rc;

	if (start < from || start >= a->to_ms)
		return 0;
	if ((rc = values_of(at, NULL, &a->folded, (int)a->by, r, value, &count)) != 0)
		return rc;
	for (int i = 0; rc == 0 && i < count; i++) {
		struct usage_sum sum = { 0 };
		struct sum_key k = sum_key_of((int)a->by, a->step, start, &value[i]);

		if (a->has_only && (value[i].len != a->only.len ||
					   memcmp(value[i].at, a->only.at, a->only.len) != 0))
			continue;
		usage_sum_add(&sum, row);
		rc = answer_take(a, &k, &sum);
	}
	return rc;
}

static int
answer_tail(struct attach *at, struct answer *a)
{
	struct stored_row row;
	uint32_t recno;
	bool there;
	int rc;

	for (uint32_t i = 0; i < a->folded.holes; i++) {
		rc = row_load(at, NULL, 0, a->folded.hole[i], &row, &there);
		if (rc != 0 && rc != DB_NOTFOUND)
			return rc;
		if (there && (rc = add_tail_row(at, a, &row)) != 0)
			return rc;
	}
	if ((rc = unfolded_first(at, a->folded.position, &recno)) != 0)
		return rc;
	while ((rc = row_load(at, NULL, 0, recno, &row, &there)) == 0) {
		if (there && (rc = add_tail_row(at, a, &row)) != 0)
			return rc;
		if (++recno == 0)
			recno = 1;
	}
	return rc == DB_NOTFOUND ? 0 : rc;
}

static int
answer(struct attach *at, void *arg, struct err *err)
{
	struct answer *a = arg;
	struct folded after;
	int rc;

	(void)err;
	a->count = 0;
	a->moved = false;
	memset(&a->sum, 0, sizeof a->sum);
	if ((rc = fold_position(at, NULL, 0, &a->folded)) != 0)
		return rc;
	rc = a->one ? sum_folded(at, a, clock_wall_ms()) : list_folded(at, a);
	if (rc != 0 || (rc = answer_tail(at, a)) != 0 ||
		(rc = fold_position(at, NULL, 0, &after)) != 0)
		return rc;
	a->moved = !fold_same(&after, &a->folded);
	return a->moved ? DB_LOCK_NOTGRANTED : 0;
}

/* A fold is short, but one may follow the other without end: then we hold them off. */
static int
run_answer(struct store *s, struct answer *a, struct err *err)
{
	int64_t began = clock_boot_ms();
	int rc = store_call(s, "summing", answer, a, err);

	while (rc != 0 && a->moved && clock_boot_ms() - began < GATE_WAIT_MS) {
		bool held = store_elect(s, GATE_FOLD);

		if (held || clock_boot_ms() - began > 1000)
			rc = store_call(s, "summing", answer, a, err);
		else
			(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		if (held)
			store_resign(s, GATE_FOLD);
	}
	return rc;
}

struct looking_up {
	enum dimension d;
	const char *text;
	uint32_t number;
};

static int
look_up(struct attach *at, void *arg, struct err *err)
{
	struct looking_up *l = arg;

	(void)err;
	return words_lookup(at, l->d, l->text, &l->number);
}

/* How a dimension is named: by id with a prefix, or by word. */
static const struct {
	const char *prefix;
	enum dimension words;
} dimensions[BY__COUNT] = {
	[BY_PROJECT] = { .prefix = "prj_" },
	[BY_TOKEN] = { .prefix = "tok_" },
	[BY_UPSTREAM] = { .prefix = "up_" },
	[BY_KEY] = { .prefix = "key_" },
	[BY_MODEL] = { .words = WORD_MODEL },
	[BY_END_USER] = { .words = WORD_END_USER },
	[BY_TAG] = { .words = WORD_TAG },
};

/* 1, 0: such a value has no rows, -1. */
static int
answer_only(struct store *s, struct answer *a, const char *value, struct err *err)
{
	struct looking_up l = { .text = value, .number = WORD_OTHER };
	bool other = strcmp(value, "other") == 0;
	const char *prefix;
	struct id id;

	a->has_only = true;
	if ((int)a->by < 0 || a->by >= BY__COUNT)
		return err_set(err, ERR_BAD_REQUEST, "no such dimension of usage");
	if (a->by == BY_TOTAL)
		return 1;
	prefix = dimensions[a->by].prefix;
	l.d = dimensions[a->by].words;
	if (prefix == NULL) {
		if (!other && store_call(s, "summing", look_up, &l, err) != 0)
			return -1;
		a->only = value_of_number(l.number);
		return l.number != WORD_NONE;
	}
	if (!other && id_parse(prefix, value, &id) != 0)
		return err_set(err, ERR_BAD_REQUEST, "usage is asked for by id (%s…)", prefix);
	a->only = other ? value_other_id : value_of_id(id);
	return 1;
}

int
store_usage_sum(struct store *s, enum rollup_by by, const char *value, int64_t from_ms,
	int64_t to_ms, struct usage_sum *out, struct err *err)
{
	struct answer a = {
		.by = by, .one = true, .from_ms = from_ms - from_ms % MINUTE_MS, .to_ms = to_ms
	};
	int rc;

	memset(out, 0, sizeof *out);
	/* Folded rows are known by the minute: the last one counts whole, in the tail as well. */
	a.to_ms = round_up(to_ms, MINUTE_MS);
	if ((rc = answer_only(s, &a, value == NULL ? "" : value, err)) <= 0)
		return rc;
	if (run_answer(s, &a, err) != 0)
		return -1;
	*out = a.sum;
	return 0;
}

static int
by_key(const void *a, const void *b)
{
	const struct answer_row *x = a, *y = b;

	return sum_key_compare(&x->key, &y->key);
}

static int
by_time_then_name(const void *a, const void *b)
{
	const struct rollup *x = a, *y = b;

	if (x->from_ms != y->from_ms)
		return x->from_ms < y->from_ms ? -1 : 1;
	return strcmp(x->name, y->name);
}

struct naming {
	struct answer *a;
	struct rollup *out;
};

static int
name_all(struct attach *at, void *arg, struct err *err)
{
	struct naming *n = arg;

	(void)err;
	for (size_t i = 0; i < n->a->count; i++) {
		const struct answer_row *r = &n->a->rows[i];
		struct rollup *out = &n->out[i];

		memset(out, 0, sizeof *out);
		out->from_ms = sum_key_start(&r->key);
		out->sum = r->sum;
		if (r->key.len == SUM_KEY_HEAD + 4) {
			int rc = words_text(at, dimensions[n->a->by].words,
				get_be32(r->key.at + SUM_KEY_HEAD), out->name);

			if (rc != 0)
				return rc;
		} else if (r->key.len == SUM_KEY_HEAD + value_other_id.len) {
			if (memcmp(r->key.at + SUM_KEY_HEAD, value_other_id.at,
				    value_other_id.len) == 0)
				memcpy(out->name, "other", sizeof "other");
			else
				memcpy(out->id.b, r->key.at + SUM_KEY_HEAD, sizeof out->id.b);
		}
	}
	return 0;
}

static void
merge_same(struct answer *a)
{
	size_t kept = 0;

	if (a->count == 0)
		return;
	qsort(a->rows, a->count, sizeof a->rows[0], by_key);
	for (size_t i = 1; i < a->count; i++) {
		if (sum_key_compare(&a->rows[i].key, &a->rows[kept].key) == 0)
			usage_sum_merge(&a->rows[kept].sum, &a->rows[i].sum);
		else
			a->rows[++kept] = a->rows[i];
	}
	a->count = kept + 1;
}

int
store_rollup_each(struct store *s, enum rollup_by by, enum rollup_step step, int64_t from_ms,
	int64_t to_ms, const char *only, bool (*fn)(void *ctx, const struct rollup *r), void *ctx,
	struct err *err)
{
	struct answer a = { .by = by, .step = (int)step, .from_ms = from_ms, .to_ms = to_ms };
	struct naming n = { .a = &a };
	int rc = 1;

	if (only != NULL && (rc = answer_only(s, &a, only, err)) <= 0)
		return rc;
	rc = run_answer(s, &a, err);
	if (rc == 0 && a.count > 0) {
		merge_same(&a);
		if ((n.out = malloc(a.count * sizeof n.out[0])) == NULL)
			rc = err_set(err, ERR_MEMORY, "store: out of memory");
		else
			rc = store_call(s, "summing", name_all, &n, err);
	}
	if (rc == 0 && a.count > 0) {
		assert(n.out != NULL);
		if (by != BY_TOTAL && dimensions[by].prefix == NULL)
			qsort(n.out, a.count, sizeof n.out[0], by_time_then_name);
		for (size_t i = 0; i < a.count && fn(ctx, &n.out[i]); i++)
			;
	}
	free(n.out);
	free(a.rows);
	return rc;
}
