/*
 * reprice.c - another cost for a row that is booked.
 *
 * The row and its sums change in one transaction.  Its first lock is the fold's position, so no fold
 * passes by it; a row that is not folded yet is changed alone, and the count of such changes in the
 * position makes a fold that has read the row already read it again.
 */
#include "store/usage-int.h"

#include "base/clock.h"
#include "base/money.h"

struct repricing {
	struct id exchange;
	int64_t cost, was;
	bool there;
	int64_t now;
};

static void
sum_reprice(struct usage_sum *sum, int64_t was, int64_t cost)
{
	if (was == COST_UNKNOWN)
		sum->unpriced--;
	else
		sum->cost_nusd = money_add(sum->cost_nusd, -was);
	if (cost == COST_UNKNOWN)
		sum->unpriced++;
	else
		sum->cost_nusd = money_add(sum->cost_nusd, cost);
}

/* A step that is past its keeping may be gone, or have come again without this row. */
static bool
is_kept(int step, int64_t time_ms, int64_t now)
{
	if (step == STEP_MINUTE)
		return time_ms >= step_start(STEP_DAY, now - MINUTES_KEPT);
	return step != STEP_HOUR || time_ms >= step_start(STEP_DAY, now - HOURS_KEPT);
}

static int
correct_sums(struct attach *at, DB_TXN *txn, const struct folded *folded,
	const struct stored_row *r, const struct repricing *p)
{
	/* Who folded before there were postings knew only the first dimensions. */
	int most = folded->posted != 0 && recno_before(r->recno, folded->posted) ? BY_END_USER
										 : BY__COUNT;

	for (int by = 0; by < most; by++) {
		struct value value[VALUES_MAX];
		int count, rc = values_of(at, txn, folded, by, r, value, &count);

		if (rc != 0)
			return rc;
		for (int i = 0; i < count * STEP__COUNT; i++) {
			int step = i % STEP__COUNT;
			struct sum_key k = sum_key_of(by, step, step_start(step, r->row.time_ms),
				&value[i / STEP__COUNT]);
			struct usage_sum sum;

			if (!is_kept(step, r->row.time_ms, p->now))
				continue;
			if ((rc = sum_get(at, txn, DB_RMW, &k, &sum)) != 0)
				return rc;
			if (sum.requests == 0)
				continue;
			sum_reprice(&sum, p->was, p->cost);
			if ((rc = sum_put(at, txn, &k, &sum)) != 0)
				return rc;
		}
	}
	return 0;
}

static int
reprice(struct attach *at, DB_TXN *txn, void *arg, struct err *err)
{
	struct repricing *p = arg;
	struct folded folded;
	struct stored_row r;
	uint32_t recno;
	int rc;

	p->there = false;
	if ((rc = fold_position(at, txn, DB_RMW, &folded)) != 0)
		return rc;
	if (folded.layout > FOLD_LAYOUT) {
		(void)err_set(err, ERR_STORE_UNAVAILABLE,
			"a newer sluice keeps sums here that this one does not know; reprice with "
			"that");
		return WORK_FAILED;
	}
	if ((rc = booked_row(at, txn, p->exchange, &recno)) != 0 ||
		(rc = row_load(at, txn, DB_RMW, recno, &r, &p->there)) != 0)
		return rc == DB_NOTFOUND ? 0 : rc;
	if (!p->there || !id_equal(r.row.exchange, p->exchange)) {
		p->there = false;
		return 0;
	}
	p->was = r.row.cost_nusd;
	if (p->was == p->cost)
		return 0;
	if ((rc = row_set_cost(at, txn, recno, p->cost)) != 0)
		return rc;
	if (fold_has(&folded, recno))
		return correct_sums(at, txn, &folded, &r, p);
	folded.changes++;
	return fold_put_position(at, txn, &folded);
}

int
store_row_reprice(
	struct store *s, struct id exchange, int64_t cost_nusd, int64_t *was_nusd, struct err *err)
{
	struct repricing p = { .exchange = exchange, .cost = cost_nusd, .now = clock_wall_ms() };

	if (store_txn(s, "repricing", DB_TXN_WRITE_NOSYNC, reprice, &p, err) != 0)
		return -1;
	if (p.there && was_nusd != NULL)
		*was_nusd = p.was;
	return p.there;
}
