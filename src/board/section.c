/*
 * section.c - all or nothing, through the death of whoever is at it.
 *
 * An undo entry is complete before the count that names it, and the count stands before the word
 * changes.  A thread dies between two of its instructions and the stores before that point are
 * seen by all, so this order in the program is all that is needed.  The change is final when the
 * count goes back to 0; until then a rollback, repeated as often as its own doers die, leads back
 * to the state before.
 */
#include "base/clock.h"
#include "board/board-int.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SPINS       64 /* tries before sleeping: a section is shorter than a trip through the kernel */
#define MAKE_WAY_US 100 /* for the one that waits to be on a processor */

int
section_mutex_make(struct head *head)
{
	pthread_mutexattr_t how;
	int rc = pthread_mutexattr_init(&how);

	if (rc != 0)
		return rc;
	pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
	memset(&head->mutex, 0, sizeof head->mutex);
	rc = pthread_mutex_init(&head->mutex, &how);
	pthread_mutexattr_destroy(&how);
	return rc;
}

static inline void
step(const struct board *b)
{
	if (b->o.step != NULL)
		b->o.step();
}

int
section_map(struct board *b, struct err *err)
{
	int64_t want = word_get(&b->head->segments);

	while (b->segments < want) {
		int64_t of = word_get(&b->head->table_of[b->segments]);
		int64_t offset = (int64_t)(b->base_bytes + (size_t)b->segments * segment_bytes(b));
		struct table *t = of >= 0 && of < TABLES ? &b->table[of] : NULL;
		char *at;

		if (t == NULL || t->count == BOARD_SEGMENTS_MAX)
			return err_set(err, ERR_OVERLOADED,
				"the board is damaged: segment %d is of no table", b->segments);
		at = mmap(NULL, segment_bytes(b), PROT_READ | PROT_WRITE, MAP_SHARED, b->fd,
			(off_t)offset);
		if (at == MAP_FAILED)
			return err_set(err, ERR_OVERLOADED,
				"cannot map segment %d of the board: %s", b->segments,
				strerror(errno));
		t->segment[t->count].at = at;
		t->segment[t->count].offset = offset;
		t->count++;
		b->segment[b->segments++] = at;
	}
	return 0;
}

/* A segment that is not mapped here is written through the descriptor: the kernel keeps both
 * views of a file the same, and a rollback must not fail for want of address space. */
static void
put_back(struct board *b, int64_t offset, int64_t old)
{
	int64_t end =
		(int64_t)(b->base_bytes + (size_t)word_get(&b->head->segments) * segment_bytes(b));
	int64_t behind = offset - (int64_t)b->base_bytes;

	if (offset < 0 || offset % 8 != 0 || offset > end - 8)
		return;
	if (behind < 0) {
		word_set((_Atomic int64_t *)(void *)((char *)b->head + offset), old);
		return;
	}

	int64_t k = behind / (int64_t)segment_bytes(b);

	if (k < b->segments)
		word_set((_Atomic int64_t *)(void *)(b->segment[k] +
						     behind % (int64_t)segment_bytes(b)),
			old);
	else
		while (pwrite(b->fd, &old, sizeof old, (off_t)offset) < 0 && errno == EINTR)
			;
}

/* Newest first, so that a word changed twice gets its oldest value; repeatable. */
void
section_undo(struct board *b)
{
	struct head *h = b->head;
	int64_t n = word_get(&h->undo_count);

	if (n > BOARD_UNDO)
		n = BOARD_UNDO;
	while (n-- > 0) {
		put_back(b, h->undo[n].offset, h->undo[n].old);
		step(b);
	}
	word_set(&h->undo_count, 0);
}

void
section_commit(struct board *b)
{
	step(b);
	word_set(&b->head->undo_count, 0);
	step(b);
}

static void
change(struct board *b, int64_t offset, _Atomic int64_t *word, int64_t value)
{
	struct head *h = b->head;
	int64_t n = atomic_load_explicit(&h->undo_count, memory_order_relaxed);

	assert(n < BOARD_UNDO);
	h->undo[n].offset = offset;
	h->undo[n].old = atomic_load_explicit(word, memory_order_relaxed);
	step(b);
	word_set(&h->undo_count, n + 1);
	step(b);
	word_set(word, value);
	step(b);
}

void
section_change(struct board *b, _Atomic int64_t *word, int64_t value)
{
	change(b, (char *)word - (char *)b->head, word, value);
}

void
section_change_at(struct board *b, int64_t ref, _Atomic int64_t *word, int64_t value)
{
	const struct table *t = &b->table[table_of(ref)];
	int64_t k = ref >> REF_SEGMENT;

	change(b, t->segment[k].offset + ((char *)word - t->segment[k].at), word, value);
}

#if defined(__SANITIZE_THREAD__)
#define POLLED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define POLLED 1
#endif
#endif

#ifdef POLLED
/* The thread sanitizer understands a death seen by trylock, but not by clocklock. */
static int
wait_for(pthread_mutex_t *m, int ms)
{
	int rc = EBUSY;

	for (int i = 0; i < ms * 10 && (rc = pthread_mutex_trylock(m)) == EBUSY; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	return rc == EBUSY ? ETIMEDOUT : rc;
}
#else
static int
wait_for(pthread_mutex_t *m, int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	return pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until);
}
#endif

static int
spin_for(pthread_mutex_t *m)
{
	int rc = EBUSY;

	for (int i = 0; i < SPINS && (rc = pthread_mutex_trylock(m)) == EBUSY; i++) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	}
	return rc;
}

int
section_lock(pthread_mutex_t *m)
{
	int rc = spin_for(m);

	return rc == EBUSY ? wait_for(m, BOARD_LOCK_MS) : rc;
}

/*
 * Who runs takes the mutex again before one that is woken for it gets a processor.  So whoever has
 * waited for long says until when the others shall let it go first; a death leaves nothing behind
 * but that moment.
 */
static void
make_way(const struct head *h)
{
	int64_t until = word_get(&h->hungry_us), left;

	if (until == 0)
		return;
	left = until - clock_mono_us();
	if (left > 0 && left <= BOARD_HUNGRY_MS * 2000)
		nanosleep(&(struct timespec){ .tv_nsec = MAKE_WAY_US * 1000 }, NULL);
}

static int
lock_in_turn(struct head *h)
{
	int64_t mine = 0;
	int rc;

	make_way(h);
	rc = spin_for(&h->mutex);
	if (rc != EBUSY)
		return rc;
	for (int waited = 0; waited < BOARD_LOCK_MS; waited += BOARD_HUNGRY_MS) {
		rc = wait_for(&h->mutex, BOARD_HUNGRY_MS);
		if (rc != ETIMEDOUT)
			break;
		mine = clock_mono_us() + BOARD_HUNGRY_MS * 2000;
		word_set(&h->hungry_us, mine);
	}
	if (mine != 0)
		atomic_compare_exchange_strong(&h->hungry_us, &mine, 0);
	return rc;
}

int
section_enter(struct board *b, struct err *err)
{
	int rc = lock_in_turn(b->head);

	if (rc == EOWNERDEAD) {
		section_undo(b);
		atomic_fetch_add_explicit(&b->head->rollbacks, 1, memory_order_relaxed);
		step(b);
		rc = pthread_mutex_consistent(&b->head->mutex);
	}
	if (rc == ETIMEDOUT)
		return err_set(
			err, ERR_OVERLOADED, "the board's mutex was held for %d ms", BOARD_LOCK_MS);
	if (rc != 0)
		return err_set(err, ERR_OVERLOADED, "the board's mutex: %s", strerror(rc));
	if (section_map(b, err) != 0) {
		section_leave(b);
		return -1;
	}
	return 0;
}

void
section_leave(struct board *b)
{
	pthread_mutex_unlock(&b->head->mutex);
}
