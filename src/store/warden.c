/*
 * warden.c - the thread that never calls Berkeley DB, and so can always act.
 *
 * Every 20 ms: looks for a death inside; when a recovery is due makes this process leave, idle or
 * not; and gives up threads that sleep in the old environment.  Asleep is what the kernel says
 * (state S), seen for three ticks in a row in the same call: a thread in a slow write is in state
 * D and keeps its process inside until it is through.
 */
#include "store/store-int.h"

#include "base/clock.h"
#include "base/log.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS      20
#define ASLEEP_TICKS 3

static bool
is_asleep(pid_t tid)
{
	char path[64], text[512];
	const char *behind;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return false;
	n = read(fd, text, sizeof text - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* "12 (name) S …"; the name may hold anything but ends before the last ')' */
	behind = strrchr(text, ')');
	return behind != NULL && behind[1] == ' ' && behind[2] == 'S';
}

static void
hand_over(struct store *s, void (*abandoned)(void *, void *), void *ctx, void *work, bool closing)
{
	atomic_fetch_add(&s->abandonments, 1);
	log_write(LOG_WARN, "store", "a thread slept on a dead process's lock and was abandoned");
	if (closing) {
		/* Nothing was in its hands any more: the records are safe, the process was ending. */
		log_flush();
		_exit(0);
	}
	if (abandoned == NULL) {
		static const char text[] =
			"sluice: store: another process died in the records while this one waited; "
			"run it again\n";

		log_flush();
		(void)!write(STDERR_FILENO, text, sizeof text - 1);
		_exit(75); /* EX_TEMPFAIL */
	}
	abandoned(ctx, work);
}

/* Gives up one thread, if one is due.  Without the lock. */
static bool
give_up_one(struct store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	for (struct slot *slot = s->slots; slot != NULL; slot = slot->next) {
		uint64_t word = atomic_load(&slot->word);

		if ((word & 3) != SLOT_BUSY || slot->asleep_seen < ASLEEP_TICKS ||
			slot->asleep_word != word)
			continue;
		slot->asleep_seen = 0;
		if (!atomic_compare_exchange_strong(
			    &slot->word, &word, (word & ~(uint64_t)3) | SLOT_GONE))
			continue;
		{
			void (*abandoned)(void *, void *) = s->abandoned;
			void *ctx = s->abandoned_ctx, *work = slot->work;
			bool closing = slot->closing;

			attach_thread_gone(s, slot);
			(void)pthread_mutex_unlock(&s->lock);
			hand_over(s, abandoned, ctx, work, closing);
			return true;
		}
	}
	(void)pthread_mutex_unlock(&s->lock);
	return false;
}

static void
look_for_sleepers(struct store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	if (s->current != NULL && gate_stale(&s->gate, s->current->epoch))
		attach_retire(s, s->current);
	for (struct slot *slot = s->slots; slot != NULL; slot = slot->next) {
		uint64_t word = atomic_load(&slot->word);

		if ((word & 3) != SLOT_BUSY || !gate_stale(&s->gate, slot->at->epoch) ||
			!is_asleep(slot->tid)) {
			slot->asleep_seen = 0;
			continue;
		}
		slot->asleep_seen = slot->asleep_word == word ? slot->asleep_seen + 1 : 1;
		slot->asleep_word = word;
	}
	(void)pthread_mutex_unlock(&s->lock);
	while (give_up_one(s))
		;
}

static void *
warden_main(void *arg)
{
	struct store *s = arg;

	while (!atomic_load(&s->warden_stop)) {
		struct timespec tick = { .tv_nsec = TICK_MS * 1000000L };

		(void)nanosleep(&tick, NULL);
		(void)gate_scan(&s->gate);
		look_for_sleepers(s);
	}
	return NULL;
}

int
warden_start(struct store *s, struct err *err)
{
	sigset_t all, old;
	int rc;

	/* Signals are for the threads that expect them. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->warden, NULL, warden_main, s);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return err_set(
			err, ERR_MEMORY, "store: no thread for the warden: %s", strerror(rc));
	s->warden_runs = true;
	return 0;
}

void
warden_end(struct store *s)
{
	if (!s->warden_runs)
		return;
	atomic_store(&s->warden_stop, true);
	(void)pthread_join(s->warden, NULL);
	s->warden_runs = false;
}
