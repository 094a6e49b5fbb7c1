/* ledger_test.c - what is finished is booked once and told once, however long the store is away. */
#include "../admit/house.h"

#include "settle/journal.h"
#include "settle/ledger.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

#define EACH_SPENDS 3

static struct ledger *ledger, *ended[16]; /* a ledger outlives its end: kept in sight */
static int ended_count;
static int told[2]; /* the items for which done() came */
static pthread_t booker;

static void
done(struct ledger_item *item)
{
	booker = pthread_self();
	if (write(told[1], &item, sizeof item) != (ssize_t)sizeof item)
		abort();
}

static int
ledger_setup(void **state)
{
	struct house *h;

	if (house_setup(state) != 0 || pipe(told) != 0)
		return -1;
	/* leaves the environment after each call, so that it can be taken away */
	h = *state;
	house_close(h);
	h->brief = true;
	house_open(h);
	ledger = ledger_new(h->store, h->board, done, &err);
	return ledger == NULL ? -1 : 0;
}

static int
ledger_teardown(void **state)
{
	(void)ledger_stop(ledger, 10000);
	ended[ended_count++] = ledger;
	(void)close(told[0]);
	(void)close(told[1]);
	return house_teardown(state);
}

#define LEDGER_TEST(f) cmocka_unit_test_setup_teardown(f, ledger_setup, ledger_teardown)

static const struct board_claim counter = { .key = { 1, 2 },
	.amount = 10,
	.cap = INT64_MAX / 2,
	.window_start_ms = INT64_MAX / 2,
	.window_end_ms = INT64_MAX };

static struct ledger_item *
new_item(struct house *h)
{
	struct ledger_item *item = calloc(1, sizeof *item);
	struct board_verdict v;

	assert_non_null(item);
	item->row.time_ms = clock_wall_ms();
	item->row.exchange = id_timed(item->row.time_ms);
	item->row.project = item->row.token = id_random();
	item->row.status = 200;
	item->row.cost_nusd = 1;
	WORKS(board_admit(
		h->board, item->row.exchange, &counter, 1, NULL, "", 0, &item->lease, &v, &err));
	assert_int_equal(v.outcome, BOARD_TAKEN);
	item->count = 1;
	item->spent[0] = EACH_SPENDS;
	return item;
}

/* The next one told, or NULL after wait_ms. */
static struct ledger_item *
next_told(int wait_ms)
{
	struct pollfd p = { .fd = told[0], .events = POLLIN };
	struct ledger_item *item;

	if (poll(&p, 1, wait_ms) != 1)
		return NULL;
	assert_int_equal(read(told[0], &item, sizeof item), sizeof item);
	return item;
}

static void
assert_all_settled(struct house *h, int64_t count)
{
	struct usage_sum sum;
	int64_t spent, reserved;

	WORKS(store_usage_sum(h->store, BY_TOTAL, NULL, 0, clock_wall_ms(), &sum, &err));
	assert_int_equal(sum.requests, count);
	assert_true(board_peek(h->board, counter.key, 0, &spent, &reserved) >= 0);
	assert_int_equal(spent, count * EACH_SPENDS);
	assert_int_equal(reserved, 0);
	assert_int_equal(house_leases(h), 0);
}

static void
the_store_goes(const struct house *h)
{
	char db[80], away[88];

	(void)snprintf(db, sizeof db, "%s/db", h->dir);
	(void)snprintf(away, sizeof away, "%s/db-away", h->dir);
	assert_int_equal(rename(db, away), 0);
}

static void
the_store_comes_back(const struct house *h)
{
	char db[80], away[88];

	(void)snprintf(db, sizeof db, "%s/db", h->dir);
	(void)snprintf(away, sizeof away, "%s/db-away", h->dir);
	assert_int_equal(rename(away, db), 0);
}

/* ---- what models signed ---- */

static struct ledger_keep *
new_keep(const struct ledger_item *item, size_t bytes)
{
	struct ledger_keep *k = calloc(1, sizeof *k + sizeof k->record[0]);

	assert_non_null(k);
	k->project = item->row.project;
	k->until_ms = item->row.time_ms + 3600000;
	k->cap_bytes = 1 << 20;
	k->text = BYTES_LIMIT(bytes);
	k->count = 1;
	(void)snprintf(k->record[0].key, sizeof k->record[0].key, "c:one");
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(bytes_add(&k->text, "x", 1), 0);
	k->record[0].record = bytes_span(&k->text);
	return k;
}

static int
is_kept(const struct house *h, struct id project)
{
	static char room[VAULT_RECORD_MAX];
	size_t len;
	int rc = store_vault_get(
		h->store, project, "c:one", clock_wall_ms(), room, sizeof room, &len, &err);

	assert_true(rc >= 0);
	return rc;
}

static void
signatures_are_kept_before_it_is_told(void **state)
{
	struct house *h = *state;
	struct ledger_item *item = new_item(h), *with;

	item->keep = new_keep(item, 100);
	ledger_submit(ledger, item);
	ledger_submit(ledger, new_item(h));
	for (int i = 0; i < 2; i++) {
		with = next_told(10000);
		assert_non_null(with);
		assert_null(with->keep);
		assert_int_equal(is_kept(h, with->row.project), with == item);
		free(with);
	}
	assert_all_settled(h, 2);
}

static void
signatures_that_cannot_be_kept_hold_nothing_up(void **state)
{
	struct house *h = *state;
	struct ledger_item *item = new_item(h);

	item->keep = new_keep(item, VAULT_RECORD_MAX + 1); /* which the vault refuses */
	ledger_submit(ledger, item);
	assert_ptr_equal(next_told(10000), item);
	assert_null(item->keep);
	assert_int_equal(is_kept(h, item->row.project), 0);
	assert_all_settled(h, 1);
	free(item);
}

static void
signatures_wait_below_a_ceiling(void **state)
{
	enum { ITEMS = 70, BYTES = VAULT_RECORD_MAX };
	struct house *h = *state;
	static struct ledger_item *items[ITEMS];
	int64_t waiting = 0;

	for (int i = 0; i < ITEMS; i++)
		items[i] = new_item(h);
	the_store_goes(h);
	for (int i = 0; i < ITEMS; i++) {
		items[i]->keep = new_keep(items[i], BYTES);
		ledger_submit(ledger, items[i]);
		waiting += items[i]->keep != NULL ? BYTES : 0;
	}
	assert_in_range(waiting, LEDGER_KEEP_MAX - 2 * BYTES, LEDGER_KEEP_MAX);
	the_store_comes_back(h);
	for (int i = 0; i < ITEMS; i++) {
		struct ledger_item *item = next_told(20000);

		assert_non_null(item);
		free(item);
	}
	assert_all_settled(h, ITEMS);
	/* and there is room again */
	items[0] = new_item(h);
	items[0]->keep = new_keep(items[0], 100);
	ledger_submit(ledger, items[0]);
	assert_ptr_equal(next_told(10000), items[0]);
	assert_int_equal(is_kept(h, items[0]->row.project), 1);
	free(items[0]);
}

/* ---- */

#define MANY 200 /* more than one batch */

static void
each_is_booked_settled_and_told_once(void **state)
{
	struct house *h = *state;
	static struct ledger_item *items[MANY];
	int seen[MANY] = { 0 };

	for (int i = 0; i < MANY; i++)
		items[i] = new_item(h);
	for (int i = 0; i < MANY; i++)
		ledger_submit(ledger, items[i]);
	for (int i = 0; i < MANY; i++) {
		struct ledger_item *item = next_told(30000);
		int n = 0;

		assert_non_null(item);
		while (n < MANY && items[n] != item)
			n++;
		assert_true(n < MANY);
		assert_int_equal(seen[n]++, 0);
		assert_int_equal(store_is_booked(h->store, item->row.exchange, &err), 1);
		assert_false(ledger_forget(item)); /* too late: it has come */
		free(item);
	}
	assert_false(pthread_equal(booker, pthread_self()));
	assert_null(next_told(0));
	assert_all_settled(h, MANY);
}

static void
one_that_is_booked_already_is_settled_all_the_same(void **state)
{
	struct house *h = *state;
	struct ledger_item *item = new_item(h);
	bool booked;

	WORKS(store_book(h->store, &item->row, 1, &booked, &err));
	ledger_submit(ledger, item);
	assert_ptr_equal(next_told(30000), item);
	free(item);
	assert_all_settled(h, 1);
}

static void
one_without_a_lease_is_booked_alone(void **state)
{
	struct house *h = *state;
	struct ledger_item *item = calloc(1, sizeof *item);

	assert_non_null(item);
	item->row.time_ms = clock_wall_ms();
	item->row.exchange = id_timed(item->row.time_ms);
	item->row.ended_by = ENDED_REFUSED;
	ledger_submit(ledger, item);
	assert_ptr_equal(next_told(30000), item);
	assert_int_equal(store_is_booked(h->store, item->row.exchange, &err), 1);
	free(item);
}

static void
a_store_that_is_away_is_waited_for(void **state)
{
	struct house *h = *state;
	struct ledger_item *item[3], *first, *second;
	struct id forgotten;

	for (int i = 0; i < 3; i++)
		item[i] = new_item(h);
	forgotten = item[1]->row.exchange;
	the_store_goes(h);
	for (int i = 0; i < 3; i++)
		ledger_submit(ledger, item[i]);
	assert_null(next_told(300));
	assert_int_equal(house_leases(h), 3); /* owing, not given back */
	assert_true(ledger_forget(item[1]));  /* its client's reply is closed */
	the_store_comes_back(h);
	first = next_told(30000);
	second = next_told(30000);
	assert_true(first == item[0] && second == item[2]);
	assert_null(next_told(0));
	assert_int_equal(ledger_stop(ledger, 10000), 0);
	assert_null(next_told(0)); /* the forgotten one is booked, but nobody is told */
	assert_int_equal(store_is_booked(h->store, forgotten, &err), 1);
	assert_all_settled(h, 3);
	free(item[0]);
	free(item[2]);
}

static void
at_the_end_all_that_waits_is_booked_first(void **state)
{
	struct house *h = *state;
	struct ledger_item *item;

	for (int i = 0; i < MANY; i++)
		ledger_submit(ledger, new_item(h));
	assert_int_equal(ledger_stop(ledger, 30000), 0);
	for (int i = 0; i < MANY; i++) {
		assert_non_null(item = next_told(0));
		free(item);
	}
	assert_all_settled(h, MANY);
	assert_int_equal(ledger_stop(ledger, 0), 0); /* again is no harm */
}

static void
at_the_end_without_a_store_leases_stay_owing(void **state)
{
	struct house *h = *state;
	struct ledger_item *item[3];

	for (int i = 0; i < 3; i++)
		item[i] = new_item(h);
	the_store_goes(h);
	for (int i = 0; i < 3; i++)
		ledger_submit(ledger, item[i]);
	assert_int_equal(ledger_stop(ledger, 10000), 3);
	assert_null(next_told(0));
	the_store_comes_back(h);
	assert_int_equal(house_leases(h), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(store_is_booked(h->store, item[i]->row.exchange, &err), 0);
		free(item[i]);
	}
}

static void
only_its_own_work_is_taken_over(void **state)
{
	int other;

	(void)state;
	assert_false(ledger_take_over(ledger, &other));
	assert_false(ledger_take_over(ledger, NULL));
}

/* ---- what may not wait for the store ---- */

static void
without_the_store_the_journal_takes_what_may_go_there(void **state)
{
	struct house *h = *state;
	struct ledger_item *open = new_item(h), *closed = new_item(h);
	struct journal *j = journal_new(h->dir, &err);

	ledger_keep_journal(ledger, j);
	open->may_journal = true;
	the_store_goes(h);
	ledger_submit(ledger, closed);
	ledger_submit(ledger, open);
	assert_ptr_equal(next_told(5000), open); /* settled and told without the store */
	assert_int_equal(house_leases(h), 1);
	assert_null(next_told(300));
	the_store_comes_back(h);
	assert_ptr_equal(next_told(10000), closed);
	WORKS(journal_replay(j, h->store, &err));
	assert_all_settled(h, 2);
	WORKS(journal_replay(j, h->store, &err));
	assert_all_settled(h, 2);
	free(open);
	free(closed);
	assert_int_equal(ledger_stop(ledger, 10000), 0);
	journal_free(j);
}

static void
raised(struct ledger_raise *r)
{
	if (write(told[1], &r, sizeof r) != (ssize_t)sizeof r)
		abort();
}

static struct ledger_raise *
new_raise(const struct ledger_item *item, int64_t amount, int64_t cap)
{
	struct ledger_raise *r = calloc(1, sizeof *r);

	assert_non_null(r);
	r->lease = item->lease;
	r->count = 1;
	r->amount[0] = amount;
	r->cap[0] = cap;
	r->done = raised;
	return r;
}

static void
more_is_reserved_for_what_runs(void **state)
{
	struct house *h = *state;
	struct ledger_item *item = new_item(h);
	struct ledger_raise *r = new_raise(item, 90, 100), *told_of;
	int64_t spent, reserved;

	ledger_raise(ledger, r);
	told_of = (struct ledger_raise *)(void *)next_told(5000);
	assert_ptr_equal(told_of, r);
	assert_int_equal(r->outcome, RAISE_GRANTED);
	assert_int_equal(board_peek(h->board, counter.key, 0, &spent, &reserved), 1);
	assert_int_equal(reserved, 100);
	r->amount[0] = 1; /* one beyond its cap */
	ledger_raise(ledger, r);
	assert_ptr_equal(next_told(5000), r);
	assert_int_equal(r->outcome, RAISE_REFUSED);
	assert_false(ledger_forget_raise(r)); /* it has come */
	free(r);
	ledger_submit(ledger, item);
	assert_ptr_equal(next_told(5000), item);
	assert_all_settled(h, 1); /* what was raised went back with the rest */
	/* one for a lease that is no more takes nothing */
	r = new_raise(item, 5, 100);
	ledger_raise(ledger, r);
	assert_ptr_equal(next_told(5000), r);
	assert_all_settled(h, 1);
	free(r);
	free(item);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LEDGER_TEST(each_is_booked_settled_and_told_once),
		LEDGER_TEST(signatures_are_kept_before_it_is_told),
		LEDGER_TEST(signatures_that_cannot_be_kept_hold_nothing_up),
		LEDGER_TEST(signatures_wait_below_a_ceiling),
		LEDGER_TEST(one_that_is_booked_already_is_settled_all_the_same),
		LEDGER_TEST(one_without_a_lease_is_booked_alone),
		LEDGER_TEST(a_store_that_is_away_is_waited_for),
		LEDGER_TEST(at_the_end_all_that_waits_is_booked_first),
		LEDGER_TEST(at_the_end_without_a_store_leases_stay_owing),
		LEDGER_TEST(only_its_own_work_is_taken_over),
		LEDGER_TEST(without_the_store_the_journal_takes_what_may_go_there),
		LEDGER_TEST(more_is_reserved_for_what_runs),
	};

	return cmocka_run_group_tests_name("settle/ledger", tests, NULL, NULL);
}
