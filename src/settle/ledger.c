/*
 * ledger.c - grouping is what makes the commit cheap: while one batch commits, the next gathers.
 *
 * The batch under way is a field of the ledger and not on the thread's stack: should the thread be
 * abandoned inside Berkeley DB, a new one books the same batch again, which books nothing twice.
 */
#include "settle/ledger.h"
#include "settle/journal.h"

#include "base/log.h"
#include "base/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_MS 1000

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
	struct ledger_item *batch[STORE_BOOK_MAX]; /* of the thread */
	_Atomic int batch_count;
	bool stopping, ended;
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
	pthread_cond_init(&l->wake, NULL);
	pthread_cond_init(&l->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (process_start_thread(ledger_run, l) != 0) {
		free(l);
		err_set(err, ERR_MEMORY, "the ledger's thread could not be started");
		return NULL;
	}
	return l;
}

void
ledger_submit(struct ledger *l, struct ledger_item *item)
{
	bool first;

	atomic_store(&item->fate, WAITING);
	item->next = NULL;
	pthread_mutex_lock(&l->mutex);
	*l->last = item;
	l->last = &item->next;
	first = l->waiting++ == 0;
	pthread_mutex_unlock(&l->mutex);
	if (first) /* after the unlock, or it would wake only to wait for the mutex */
		pthread_cond_signal(&l->wake);
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

/* Waits for work and moves it into the batch.  False at the end. */
static bool
next_batch(struct ledger *l)
{
	pthread_mutex_lock(&l->mutex);
	while (l->first == NULL && !l->stopping)
		pthread_cond_wait(&l->wake, &l->mutex);
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
	struct err err = { 0 };

	/* the row is booked, so the lease may wait for a reaper if the board is not to be had now */
	if (item->lease.serial != 0 && board_settle(l->board, item->lease, item->spent, item->count,
					       settle_status(&item->row), &err) < 0)
		log_write(LOG_ERROR, "settle", "a lease stays owing: %s", err.text);
	if (atomic_compare_exchange_strong(&item->fate, &expected, BOOKED))
		l->done(item);
	else
		free(item);
}

/* The store does not take the batch: what may goes to the journal and is settled, the rest stays.
 * Until it is settled its lease is there for a reaper, who would book the same row. */
static void
journal_batch(struct ledger *l)
{
	struct usage_row rows[STORE_BOOK_MAX];
	struct err err = { 0 };
	size_t count = 0;
	int kept = 0;

	for (int i = 0; l->journal != NULL && i < l->batch_count; i++)
		if (l->batch[i]->may_journal)
			rows[count++] = l->batch[i]->row;
	if (count == 0)
		return;
	if (journal_add(l->journal, rows, count, &err) != 0) {
		log_write(LOG_ERROR, "ledger", "%s", err.text);
		return;
	}
	for (int i = 0; i < l->batch_count; i++)
		if (l->batch[i]->may_journal)
			settle_item(l, l->batch[i]);
		else
			l->batch[kept++] = l->batch[i];
	l->batch_count = kept;
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

		free(drop);
		drop = next;
	}
}

static void
pause_a_moment(void)
{
	struct timespec t = { RETRY_MS / 1000, RETRY_MS % 1000 * 1000000L };

	nanosleep(&t, NULL);
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
		if (book_batch(l, &err) != 0) {
			bool stopping;

			if (!told)
				log_write(LOG_ERROR, "ledger",
					"%d finished exchanges cannot be booked now: %s",
					l->batch_count, err.text);
			told = true;
			journal_batch(l);
			if (l->batch_count == 0)
				continue;
			shed(l);
			pthread_mutex_lock(&l->mutex);
			stopping = l->stopping;
			pthread_mutex_unlock(&l->mutex);
			pause_a_moment();
			if (!stopping)
				continue;
			break;
		}
		if (told)
			log_write(LOG_INFO, "ledger", "booking works again");
		told = false;
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
