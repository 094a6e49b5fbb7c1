/*
 * ledger.c - grouping is what makes the commit cheap: while one batch commits, the next gathers.
 *
 * The batch under way is a field of the ledger and not on the thread's stack: should the thread be
 * abandoned inside Berkeley DB, a new one books the same batch again, which books nothing twice.
 */
#include "settle/ledger.h"
#include "settle/journal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETTLE_TRIES 40 /* of BOARD_LOCK_MS each */
#define RETRY_MS     1000

enum fate { WAITING, BOOKED, FORGOTTEN };

struct ledger {
	struct store *store;
	struct board *board;
	struct journal *journal; /* or NULL */
	void (*done)(struct ledger_item *item);
	pthread_mutex_t mutex;
	pthread_cond_t wake, idle;
	struct ledger_item *first, **last; /* queue */
	int waiting;
	int64_t keep_bytes; /* of the items' records */
	struct ledger_raise
		*raises; /* newest first; they are few and do not wait for one another */
	struct ledger_item *batch[STORE_BOOK_MAX]; /* of the thread */
	_Atomic int batch_count;
	bool stopping, ended;
	bool news;         /* something came that does not wait for the store */
	bool journal_told; /* the thread's own: a failing journal is logged once */
	bool keep_told;    /* the same, of records that could not be kept */
};

static void *ledger_run(void *arg);

struct ledger *
ledger_new(struct store *store, struct board *board, void (*done)(struct ledger_item *item),
	struct err *err)
{
	struct ledger *l = calloc(1, sizeof *l);
	pthread_condattr_t monotonic;

	if (l == NULL) {
		err_set(err, ERR_MEMORY, "no memory for the ledger");
		return NULL;
	}
	l->store = store;
	l->board = board;
	l->done = done;
	l->last = &l->first;
	pthread_mutex_init(&l->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &monotonic);
	pthread_cond_init(&l->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (process_start_thread(ledger_run, l) != 0) {
		free(l);
		err_set(err, ERR_MEMORY, "the ledger's thread could not be started");
		return NULL;
	}
	return l;
}

/* ---- what models signed ---- */

static int64_t
keep_bytes(const struct ledger_keep *keep)
{
	return (int64_t)(keep->text.len + sizeof *keep + keep->count * sizeof keep->record[0]);
}

void
ledger_keep_free(struct ledger_keep *keep)
{
	if (keep == NULL)
		return;
	bytes_free(&keep->text);
	free(keep);
}

/* The item's records are not waited for any more. */
static void
drop_keep(struct ledger *l, struct ledger_item *item)
{
	struct ledger_keep *keep = item->keep;

	if (keep == NULL)
		return;
	item->keep = NULL;
	pthread_mutex_lock(&l->mutex);
	l->keep_bytes -= keep_bytes(keep);
	pthread_mutex_unlock(&l->mutex);
	ledger_keep_free(keep);
}

/* All of the batch before any of it is settled: an item that went back to its submitter must not be in a
 * batch that another thread takes over. */
static void
keep_batch(struct ledger *l)
{
	for (int i = 0; i < l->batch_count; i++) {
		const struct ledger_keep *k = l->batch[i]->keep;
		struct err err = { 0 };
		int rc;

		if (k == NULL)
			continue;
		rc = store_vault_put(l->store, k->project, k->record, k->count, clock_wall_ms(),
			k->until_ms, k->cap_bytes, &err);
		if (rc != 0 && !l->keep_told)
			log_write(LOG_WARN, "ledger", "signatures of answers are not kept now: %s",
				err.text);
		l->keep_told = rc != 0;
		drop_keep(l, l->batch[i]);
	}
}

static void
free_item(struct ledger *l, struct ledger_item *item)
{
	drop_keep(l, item);
	free(item);
}

/* ---- the queue ---- */

void
ledger_submit(struct ledger *l, struct ledger_item *item)
{
	struct ledger_keep *too_much = NULL;
	int64_t bytes = item->keep == NULL ? 0 : keep_bytes(item->keep);
	bool first, may_journal = item->may_journal;

	atomic_store(&item->fate, WAITING);
	item->next = NULL;
	pthread_mutex_lock(&l->mutex);
	if (l->keep_bytes + bytes > LEDGER_KEEP_MAX) {
		too_much = item->keep;
		item->keep = NULL;
		bytes = 0;
	}
	l->keep_bytes += bytes;
	*l->last = item;
	l->last = &item->next;
	first = l->waiting++ == 0;
	l->news |= may_journal;
	pthread_mutex_unlock(&l->mutex);
	/* after the unlock, or it would wake only to wait for the mutex */
	if (first || may_journal)
		pthread_cond_signal(&l->wake);
	ledger_keep_free(too_much);
}

void
ledger_keep_journal(struct ledger *l, struct journal *journal)
{
	l->journal = journal;
}

bool
ledger_forget(struct ledger_item *item)
{
	int expected = WAITING;

	return atomic_compare_exchange_strong(&item->fate, &expected, FORGOTTEN);
}

void
ledger_raise(struct ledger *l, struct ledger_raise *raise)
{
	atomic_store(&raise->fate, WAITING);
	pthread_mutex_lock(&l->mutex);
	raise->next = l->raises;
	l->raises = raise;
	l->news = true;
	pthread_mutex_unlock(&l->mutex);
	pthread_cond_signal(&l->wake);
}

bool
ledger_forget_raise(struct ledger_raise *raise)
{
	int expected = WAITING;

	return atomic_compare_exchange_strong(&raise->fate, &expected, FORGOTTEN);
}

void
ledger_release(struct ledger *l, struct board_lease lease)
{
	struct ledger_raise *r = lease.serial == 0 ? NULL : calloc(1, sizeof *r);

	if (r == NULL)
		return;
	r->lease = lease;
	ledger_raise(l, r);
}

/* While this process lives no reaper settles for it, so a crowd at the board's mutex is outwaited. */
static void
settle_lease(
	struct ledger *l, struct board_lease lease, const int64_t *spent, int count, int status)
{
	struct err err = { 0 };

	for (int i = 0; lease.serial != 0 && i < SETTLE_TRIES; i++) {
		if (board_settle(l->board, lease, spent, count, status, &err) >= 0)
			return;
		if (err.code != ERR_OVERLOADED)
			break;
	}
	if (lease.serial != 0)
		log_write(LOG_ERROR, "settle", "a lease stays owing: %s", err.text);
}

static void
raise_one(struct ledger *l, struct ledger_raise *r)
{
	struct board_verdict verdict;
	struct err err = { 0 };
	int expected = WAITING;

	if (r->done == NULL) { /* a release */
		settle_lease(l, r->lease, NULL, 0, 0);
		free(r);
		return;
	}
	if (board_raise(l->board, r->lease, r->amount, r->cap, r->count, &verdict, &err) != 0)
		r->outcome = RAISE_BUSY;
	else
		r->outcome = verdict.outcome == BOARD_TAKEN ? RAISE_GRANTED : RAISE_REFUSED;
	if (atomic_compare_exchange_strong(&r->fate, &expected, BOOKED))
		r->done(r);
	else
		free(r); /* what it got goes back when the lease is settled */
}

static void
raise_all(struct ledger *l)
{
	struct ledger_raise *list;

	pthread_mutex_lock(&l->mutex);
	list = l->raises;
	l->raises = NULL;
	pthread_mutex_unlock(&l->mutex);
	while (list != NULL) {
		struct ledger_raise *r = list;

		list = r->next;
		raise_one(l, r);
	}
}

/* Waits for work and moves it into the batch.  False at the end. */
static bool
next_batch(struct ledger *l)
{
	pthread_mutex_lock(&l->mutex);
	while (l->first == NULL && !l->stopping) {
		if (l->raises == NULL) {
			pthread_cond_wait(&l->wake, &l->mutex);
			continue;
		}
		pthread_mutex_unlock(&l->mutex);
		raise_all(l);
		pthread_mutex_lock(&l->mutex);
	}
	while (l->first != NULL && l->batch_count < STORE_BOOK_MAX) {
		l->batch[l->batch_count++] = l->first;
		l->first = l->first->next;
		l->waiting--;
	}
	if (l->first == NULL)
		l->last = &l->first;
	pthread_mutex_unlock(&l->mutex);
	return l->batch_count > 0;
}

static int
book_batch(struct ledger *l, struct err *err)
{
	struct usage_row rows[STORE_BOOK_MAX];
	bool booked[STORE_BOOK_MAX];

	for (int i = 0; i < l->batch_count; i++)
		rows[i] = l->batch[i]->row;
	return store_book(l->store, rows, (size_t)l->batch_count, booked, err);
}

static void
settle_item(struct ledger *l, struct ledger_item *item)
{
	int expected = WAITING;

	drop_keep(l, item); /* of one that was journaled */
	settle_lease(l, item->lease, item->spent, item->count, settle_status(&item->row));
	settle_lease(l, item->attempt, item->attempt_spent, item->attempt_count, 0);
	if (atomic_compare_exchange_strong(&item->fate, &expected, BOOKED))
		l->done(item);
	else
		free(item);
}

/* Until they are settled their leases are there for a reaper, who would book the same rows. */
static int
journal_items(struct ledger *l, struct ledger_item *const *items, int count)
{
	struct usage_row rows[STORE_BOOK_MAX];
	struct err err = { 0 };

	for (int i = 0; i < count; i++)
		rows[i] = items[i]->row;
	if (journal_add(l->journal, rows, (size_t)count, &err) == 0)
		return 0;
	if (!l->journal_told)
		log_write(LOG_ERROR, "ledger", "%s", err.text);
	l->journal_told = true;
	return -1;
}

/* The store does not take the batch: what may goes to the journal, the rest stays. */
static void
journal_batch(struct ledger *l)
{
	struct ledger_item *items[STORE_BOOK_MAX];
	int count = 0, kept = 0;

	for (int i = 0; i < l->batch_count; i++)
		if (l->batch[i]->may_journal)
			items[count++] = l->batch[i];
	if (count == 0 || journal_items(l, items, count) != 0)
		return;
	for (int i = 0; i < l->batch_count; i++)
		if (!l->batch[i]->may_journal)
			l->batch[kept++] = l->batch[i];
	l->batch_count = kept;
	for (int i = 0; i < count; i++)
		settle_item(l, items[i]);
}

/* And those that wait behind the rest.  Only this thread takes items out of the queue, so they stay
 * where they are until the journal has them. */
static bool
journal_some_of_queue(struct ledger *l)
{
	struct ledger_item *items[STORE_BOOK_MAX];
	int count = 0;

	pthread_mutex_lock(&l->mutex);
	for (struct ledger_item *i = l->first; i != NULL && count < STORE_BOOK_MAX; i = i->next)
		if (i->may_journal)
			items[count++] = i;
	pthread_mutex_unlock(&l->mutex);
	if (count == 0 || journal_items(l, items, count) != 0)
		return false;
	pthread_mutex_lock(&l->mutex);
	for (struct ledger_item **at = &l->first; *at != NULL;) {
		int i = 0;

		while (i < count && items[i] != *at)
			i++;
		if (i < count) {
			*at = (*at)->next;
			l->waiting--;
		} else {
			at = &(*at)->next;
		}
	}
	for (l->last = &l->first; *l->last != NULL; l->last = &(*l->last)->next)
		;
	pthread_mutex_unlock(&l->mutex);
	for (int i = 0; i < count; i++)
		settle_item(l, items[i]);
	return true;
}

/* Beyond the ceiling those that nobody waits for any more give up their place: the leases on the
 * board tell what they owe. */
static void
shed(struct ledger *l)
{
	struct ledger_item *drop = NULL, **at;

	pthread_mutex_lock(&l->mutex);
	at = &l->first;
	while (*at != NULL && l->waiting > LEDGER_OWED_MAX) {
		struct ledger_item *item = *at;

		if (atomic_load(&item->fate) != FORGOTTEN) {
			at = &item->next;
			continue;
		}
		*at = item->next;
		item->next = drop;
		drop = item;
		l->waiting--;
	}
	for (l->last = &l->first; *l->last != NULL; l->last = &(*l->last)->next)
		;
	pthread_mutex_unlock(&l->mutex);
	while (drop != NULL) {
		struct ledger_item *next = drop->next;

		free_item(l, drop);
		drop = next;
	}
}

/* Until the store is asked again; what goes to the journal, or asks for more, does not wait so long.
 */
static void
pause_a_moment(struct ledger *l)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_MS / 1000;
	until.tv_nsec += RETRY_MS % 1000 * 1000000L;
	while (rc == 0) {
		raise_all(l);
		while (l->journal != NULL && journal_some_of_queue(l))
			;
		pthread_mutex_lock(&l->mutex);
		if (!l->news)
			rc = pthread_cond_timedwait(&l->wake, &l->mutex, &until);
		l->news = false;
		pthread_mutex_unlock(&l->mutex);
	}
}

static void *
ledger_run(void *arg)
{
	struct ledger *l = arg;
	struct err err;
	bool told = false;

	store_working(l->store, l);
	while (l->batch_count > 0 || next_batch(l)) {
		memset(&err, 0, sizeof err);
		raise_all(l); /* these are waited for in the middle of an answer */
		if (book_batch(l, &err) != 0) {
			bool stopping;

			if (!told)
				log_write(LOG_ERROR, "ledger",
					"%d finished exchanges cannot be booked now: %s",
					l->batch_count, err.text);
			told = true;
			if (l->journal != NULL)
				journal_batch(l);
			if (l->batch_count == 0)
				continue;
			shed(l);
			pthread_mutex_lock(&l->mutex);
			stopping = l->stopping;
			pthread_mutex_unlock(&l->mutex);
			pause_a_moment(l);
			if (!stopping)
				continue;
			break;
		}
		if (told)
			log_write(LOG_INFO, "ledger", "booking works again");
		told = l->journal_told = false;
		keep_batch(l);
		for (int i = 0; i < l->batch_count; i++)
			settle_item(l, l->batch[i]);
		l->batch_count = 0;
	}
	store_working(l->store, NULL);
	pthread_mutex_lock(&l->mutex);
	l->ended = true;
	pthread_cond_signal(&l->idle);
	pthread_mutex_unlock(&l->mutex);
	return NULL;
}

bool
ledger_take_over(struct ledger *l, void *work)
{
	if (work != l)
		return false;
	if (process_start_thread(ledger_run, l) != 0)
		log_write(
			LOG_ERROR, "ledger", "its thread could not be replaced; leases stay owing");
	return true;
}

int
ledger_stop(struct ledger *l, int wait_ms)
{
	struct timespec until;
	int left;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&l->mutex);
	l->stopping = true;
	pthread_cond_signal(&l->wake);
	while (!l->ended && pthread_cond_timedwait(&l->idle, &l->mutex, &until) != ETIMEDOUT)
		;
	left = l->waiting + l->batch_count;
	pthread_mutex_unlock(&l->mutex);
	return left; /* the ledger itself is left to the end of the process: its thread may be stuck */
}
