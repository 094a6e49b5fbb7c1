/*
 * waiter.c - places, queues and flows.
 *
 * A place is claimed by its owner word, filled in, and counts as soon as `queue` names a queue: its
 * number and how often that was given to another pool.  A flow is a project in one queue: its word says
 * where in the queue's virtual time its next turn starts.  It exists only once it had a turn, and is of
 * no use any more when the queue's time has reached it: without one, a turn starts at the present.  So
 * flows may be thrown out without a trace, and a place that was left or died leaves none at all.
 *
 * The virtual time wraps around; only differences count.
 */
#include "board/waiter.h"

#include "base/hash.h"
#include "board/board-int.h"

#include <stdlib.h>
#include <string.h>

#define TURN_UNIT     (INT64_C(1) << 32) /* of virtual time: a turn of weight 1 */
#define QUEUE_WAYS    8                  /* places where the queue of a pool may be */
#define FLOW_WAYS     4
#define CLAIMED       INT64_C(1) /* a key that is being changed */
#define QUEUE_IDLE_MS 2000       /* then another pool may have it */
#define SEEN_MS       500
#define SMOOTH        16 /* turns over which their rate is smoothed */
#define RATE_MOST_MS  60000
#define JOIN_TRIES    4

static struct wait_head *
head_of(const struct board *b)
{
	return b->region[REGION_WAIT_HEAD];
}

static struct wait_place *
places_of(const struct board *b)
{
	return b->region[REGION_WAITERS];
}

static struct wait_queue *
queues_of(const struct board *b)
{
	return b->region[REGION_QUEUES];
}

static bool
swap_word(_Atomic int64_t *word, int64_t old, int64_t value)
{
	return atomic_compare_exchange_strong(word, &old, value);
}

/* In a time that wraps around. */
static int64_t
ahead_of(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t
later(int64_t a, int64_t b)
{
	return ahead_of(a, b) > 0 ? a : b;
}

static int64_t
plus(int64_t at, int64_t step)
{
	return (int64_t)((uint64_t)at + (uint64_t)step);
}

/* ---- queues ---- */

static int64_t
key_of_pool(struct id pool)
{
	return (int64_t)(hash_64(&pool, sizeof pool, 3) | 2);
}

/* What places say of the queue they are in; never 0. */
static int64_t
name_of(int index, int64_t generation)
{
	return (int64_t)((uint64_t)generation << 16 | (uint64_t)(index + 1));
}

static int64_t
queue_name(const struct board *b, int index)
{
	return name_of(index, word_get(&queues_of(b)[index].generation));
}

/* The queue that a place is in, or NULL when that has gone to another pool. */
static struct wait_queue *
queue_named(const struct board *b, int64_t name)
{
	int index = (int)(name & 0xffff) - 1;

	if (index < 0 || index >= BOARD_QUEUES || queue_name(b, index) != name)
		return NULL;
	return &queues_of(b)[index];
}

static int
queue_find(const struct board *b, int64_t key)
{
	const struct wait_queue *q = queues_of(b);
	int first = (int)((uint64_t)key / 4 % (BOARD_QUEUES / QUEUE_WAYS)) * QUEUE_WAYS;

	for (int i = first; i < first + QUEUE_WAYS; i++)
		if (word_get(&q[i].key) == key)
			return i;
	return -1;
}

/* The one that was not used for longest, given to that pool; -1: all are in use. */
static int
queue_make(const struct board *b, int64_t key, int64_t now_ms)
{
	struct wait_queue *q = queues_of(b);
	int first = (int)((uint64_t)key / 4 % (BOARD_QUEUES / QUEUE_WAYS)) * QUEUE_WAYS;
	int idle = -1;
	int64_t old;

	for (int i = first; i < first + QUEUE_WAYS; i++)
		if (now_ms - word_get(&q[i].seen_ms) > QUEUE_IDLE_MS &&
			(idle < 0 || word_get(&q[i].seen_ms) < word_get(&q[idle].seen_ms)))
			idle = i;
	if (idle < 0)
		return -1;
	old = word_get(&q[idle].key);
	/* who died between these two left it claimed, and idle by now */
	if (!swap_word(&q[idle].key, old, CLAIMED))
		return -1;
	word_set(&q[idle].seen_ms, now_ms);
	word_set(&q[idle].generation, word_get(&q[idle].generation) + 1);
	word_set(&q[idle].turned_ms, 0);
	word_set(&q[idle].interval_us, 0);
	word_set(&q[idle].key, key);
	return idle;
}

/* ---- flows ---- */

static int64_t
key_of_flow(int64_t queue, struct id project)
{
	return (int64_t)(hash_64(&project, sizeof project, (uint64_t)queue) | 2);
}

static struct wait_flow *
flows_of(const struct board *b, int64_t key)
{
	struct wait_flow *all = b->region[REGION_FLOWS];

	return &all[(uint64_t)key / 4 % (BOARD_FLOWS / FLOW_WAYS) * FLOW_WAYS];
}

static struct wait_flow *
flow_find(const struct board *b, int64_t key)
{
	struct wait_flow *f = flows_of(b, key);

	for (int i = 0; i < FLOW_WAYS; i++)
		if (word_get(&f[i].key) == key)
			return &f[i];
	return NULL;
}

/* Where its next turn starts. */
static int64_t
flow_start(const struct board *b, int64_t key, int64_t present)
{
	const struct wait_flow *f = flow_find(b, key);

	return f == NULL ? present : later(word_get(&f->next), present);
}

/* How much a flow is still needed: how far it is ahead of its queue's time. */
static int64_t
flow_need(const struct board *b, const struct wait_flow *f)
{
	const struct wait_queue *q = queue_named(b, word_get(&f->queue));

	if (word_get(&f->key) == 0 || q == NULL)
		return INT64_MIN;
	return ahead_of(word_get(&f->next), word_get(&q->present));
}

/* A turn is had: where it started. */
static int64_t
flow_charge(const struct board *b, int64_t key, int64_t queue, int64_t present, int64_t step)
{
	struct wait_flow *f = flow_find(b, key), *least;
	int64_t old, start = present;

	if (f != NULL) {
		old = word_get(&f->next);
		do
			start = later(old, present);
		while (!atomic_compare_exchange_weak(&f->next, &old, plus(start, step)));
		return start;
	}
	f = least = flows_of(b, key);
	for (int i = 1; i < FLOW_WAYS; i++)
		if (flow_need(b, &f[i]) < flow_need(b, least))
			least = &f[i];
	old = word_get(&least->key);
	if (!swap_word(&least->key, old, CLAIMED))
		return start; /* to somebody else: a turn that is not charged */
	word_set(&least->queue, queue);
	word_set(&least->next, plus(start, step));
	word_set(&least->key, key);
	return start;
}

/* ---- places ---- */

static bool
is_claimed(const struct wait_place *p, int64_t serial)
{
	return serial != 0 && word_get(&p->serial) == serial;
}

static struct wait_place *
place_of(struct board *b, struct board_waiter w)
{
	struct wait_place *p = w.slot < BOARD_WAITERS ? &places_of(b)[w.slot] : NULL;

	return p != NULL && is_claimed(p, w.serial) ? p : NULL;
}

static void
clear(struct wait_place *p)
{
	word_set(&p->queue, 0);
	word_set(&p->serial, 0);
	word_set(&p->owner, 0);
}

/* Scans end there.  A place may be beyond it for as long as its owner needs to tell that it waits. */
static void
raise_high(const struct board *b, int64_t to)
{
	int64_t high = word_get(&head_of(b)->high);

	while (high < to && !atomic_compare_exchange_weak(&head_of(b)->high, &high, to))
		;
}

static int64_t
high_of(const struct board *b)
{
	int64_t high = word_get(&head_of(b)->high);

	while (high > 0 && high <= BOARD_WAITERS && word_get(&places_of(b)[high - 1].owner) == 0) {
		if (!swap_word(&head_of(b)->high, high, high - 1))
			break;
		high--;
	}
	return high < 0 ? 0 : high > BOARD_WAITERS ? BOARD_WAITERS : high;
}

/* Takes it from a dead owner, then from itself: who dies in here is dead as well. */
static bool
drop_dead(struct board *b, struct wait_place *p)
{
	int64_t owner = word_get(&p->owner);

	if (owner == 0 || !board_owner_is_dead(b, owner) ||
		!swap_word(&p->owner, owner, board_owner_word(b)))
		return false;
	clear(p);
	return true;
}

static struct wait_place *
claim_place(struct board *b)
{
	struct wait_place *p = places_of(b);
	int64_t me = board_owner_word(b);

	for (int i = 0; i < BOARD_WAITERS; i++)
		if (word_get(&p[i].owner) == 0 && swap_word(&p[i].owner, 0, me)) {
			raise_high(b, i + 1);
			return &p[i];
		}
	return NULL;
}

static bool
still_waits(const struct wait_place *p, int64_t queue, int64_t now_ms)
{
	return word_get(&p->queue) == queue && word_get(&p->until_ms) > now_ms &&
	       now_ms - word_get(&p->beat_ms) < BOARD_WAIT_BEAT_MS;
}

/* Of a queue, those that came before `serial`. */
static int64_t
count_in(const struct board *b, int64_t queue, int64_t serial, int64_t now_ms)
{
	const struct wait_place *p = places_of(b);
	int64_t high = high_of(b), n = 0;

	for (int64_t i = 0; i < high; i++)
		n += still_waits(&p[i], queue, now_ms) && word_get(&p[i].serial) < serial;
	return n;
}

/* 0, -1: the line is too long, 1: the queue has gone to another pool meanwhile. */
static int
join(struct board *b, const struct board_wait_ask *ask, int index, struct board_waiter *w)
{
	struct wait_place *p;
	int64_t now_ms = board_now_ms(b), key = key_of_pool(ask->pool), queue;
	int64_t weight = ask->weight < 1 ? 1 : ask->weight;
	int64_t half[2];

	word_set(&queues_of(b)[index].seen_ms, now_ms);
	queue = queue_name(b, index);
	if ((p = claim_place(b)) == NULL)
		return -1;
	memcpy(half, &ask->exchange, sizeof half);
	word_set(&p->flow, key_of_flow(queue, ask->project));
	word_set(&p->step, TURN_UNIT / weight);
	word_set(&p->until_ms, ask->until_ms);
	word_set(&p->beat_ms, now_ms);
	word_set(&p->since_ms, now_ms);
	word_set(&p->passed_ms, 0);
	word_set(&p->exchange[0], half[0]);
	word_set(&p->exchange[1], half[1]);
	w->slot = (uint32_t)(p - places_of(b));
	w->serial = atomic_fetch_add(&head_of(b)->serial, 1) + 1;
	word_set(&p->serial, w->serial);
	atomic_store(&p->queue, queue);
	if (atomic_load(&queues_of(b)[index].key) != key || queue_name(b, index) != queue) {
		clear(p);
		return 1;
	}
	/* Each counts those that came before it, so of several at once the right ones are sent away. */
	if (count_in(b, queue, w->serial, now_ms) >= ask->most) {
		clear(p);
		return -1;
	}
	return 0;
}

int
board_wait(struct board *b, const struct board_wait_ask *ask, struct board_waiter *w)
{
	int rc = 1;

	for (int i = 0; i < JOIN_TRIES && rc > 0; i++) {
		int64_t key = key_of_pool(ask->pool);
		int index = queue_find(b, key);

		if (index < 0 && queue_make(b, key, board_now_ms(b)) >= 0)
			index = queue_find(b, key);
		rc = index < 0 ? 1 : join(b, ask, index, w);
	}
	if (rc == 0)
		return 0;
	*w = (struct board_waiter){ 0 };
	return -1;
}

bool
board_wait_beat(struct board *b, struct board_waiter w)
{
	struct wait_place *p = place_of(b, w);
	struct wait_queue *q = p == NULL ? NULL : queue_named(b, word_get(&p->queue));
	int64_t now_ms = board_now_ms(b);

	/* two may have made a queue for that pool at once: the first is the one that is found */
	if (q == NULL || queue_find(b, word_get(&q->key)) != q - queues_of(b))
		return false;
	word_set(&p->beat_ms, now_ms);
	if (word_get(&q->seen_ms) != now_ms)
		word_set(&q->seen_ms, now_ms);
	raise_high(b, (int64_t)w.slot + 1);
	return true;
}

void
board_wait_pass(struct board *b, struct board_waiter w, int64_t until_ms)
{
	struct wait_place *p = place_of(b, w);

	if (p != NULL)
		word_set(&p->passed_ms, until_ms);
}

/* How far apart turns are, counted only while somebody waited for them. */
static void
note_turn(struct wait_queue *q, int64_t since_ms, int64_t now_ms)
{
	int64_t turned_ms = word_get(&q->turned_ms), us = word_get(&q->interval_us);
	int64_t took_us = (now_ms - (turned_ms > since_ms ? turned_ms : since_ms)) * 1000;

	word_set(&q->turned_ms, now_ms);
	if (took_us < 0 || took_us > RATE_MOST_MS * 1000)
		return;
	word_set(&q->interval_us, us == 0 ? took_us + 1 : us + (took_us - us) / SMOOTH);
}

/* Where the queue's time stands when a turn that started at `start` is had: not beyond those who wait.
 * Where they should have had theirs before, they still have. */
static int64_t
time_after(const struct board *b, const struct wait_place *had, int64_t start, int64_t present)
{
	const struct wait_place *p = places_of(b);
	int64_t high = high_of(b), queue = word_get(&had->queue), now_ms = board_now_ms(b);

	for (int64_t i = 0; i < high; i++) {
		int64_t other;

		if (&p[i] == had || !still_waits(&p[i], queue, now_ms) ||
			word_get(&p[i].passed_ms) > now_ms)
			continue;
		other = flow_start(b, word_get(&p[i].flow), present);
		if (ahead_of(start, other) > 0)
			start = other;
	}
	return start;
}

static void
take_turn(struct board *b, const struct wait_place *p, struct wait_queue *q)
{
	int64_t present = word_get(&q->present), at;

	at = flow_charge(b, word_get(&p->flow), word_get(&p->queue), present, word_get(&p->step));
	at = time_after(b, p, at, present);
	while (ahead_of(at, present) > 0 &&
		!atomic_compare_exchange_weak(&q->present, &present, at))
		;
	note_turn(q, word_get(&p->since_ms), board_now_ms(b));
}

void
board_wait_end(struct board *b, struct board_waiter w, bool served)
{
	struct wait_place *p = place_of(b, w);
	struct wait_queue *q = p == NULL ? NULL : queue_named(b, word_get(&p->queue));

	if (p == NULL)
		return;
	if (served && q != NULL)
		take_turn(b, p, q);
	clear(p);
}

/* ---- the order ---- */

/* Who is chosen already counts as if it had its turn. */
static int64_t
start_behind(const struct board *b, const struct wait_place *p, int64_t present,
	const struct board_waiter *chosen, int count)
{
	int64_t flow = word_get(&p->flow), start = flow_start(b, flow, present);

	for (int i = 0; i < count; i++)
		if (word_get(&places_of(b)[chosen[i].slot].flow) == flow)
			start = plus(start, word_get(&p->step));
	return start;
}

static bool
is_chosen(const struct board_waiter *chosen, int count, int64_t slot)
{
	for (int i = 0; i < count; i++)
		if (chosen[i].slot == slot)
			return true;
	return false;
}

static bool
find_next(const struct board *b, int64_t queue, int64_t present, int64_t now_ms,
	const struct board_waiter *chosen, int count, struct board_waiter *out)
{
	const struct wait_place *p = places_of(b);
	int64_t high = high_of(b), best = 0;

	out->serial = 0;
	for (int64_t i = 0; i < high; i++) {
		int64_t serial, start, order;

		if (!still_waits(&p[i], queue, now_ms) || is_chosen(chosen, count, i) ||
			(serial = word_get(&p[i].serial)) == 0)
			continue;
		start = start_behind(b, &p[i], present, chosen, count);
		order = out->serial == 0 ? -1 : ahead_of(start, best);
		if (order > 0 || (order == 0 && serial > out->serial) ||
			word_get(&p[i].passed_ms) > now_ms)
			continue;
		best = start;
		*out = (struct board_waiter){ (uint32_t)i, serial };
	}
	return out->serial != 0;
}

int
board_wait_order(struct board *b, struct id pool, struct board_waiter *out, int most)
{
	int index = queue_find(b, key_of_pool(pool)), count = 0;
	int64_t now_ms = board_now_ms(b), queue, present;

	if (index < 0)
		return 0;
	queue = queue_name(b, index);
	present = word_get(&queues_of(b)[index].present);
	if (most > BOARD_WAIT_FIRST)
		most = BOARD_WAIT_FIRST;
	while (count < most && find_next(b, queue, present, now_ms, out, count, &out[count]))
		if (!drop_dead(b, &places_of(b)[out[count].slot]))
			count++;
	return count;
}

bool
board_waits(struct board *b, struct id pool)
{
	int index = high_of(b) == 0 ? -1 : queue_find(b, key_of_pool(pool));

	return index >= 0 && board_now_ms(b) - word_get(&queues_of(b)[index].seen_ms) < SEEN_MS;
}

/* Since when those who wait have seen no turn; now_ms: nobody waits. */
static int64_t
turnless_since(const struct board *b, int index, int64_t now_ms)
{
	const struct wait_place *p = places_of(b);
	int64_t high = high_of(b), queue = queue_name(b, index), first_ms = now_ms, turned_ms;

	for (int64_t i = 0; i < high; i++)
		if (still_waits(&p[i], queue, now_ms) && word_get(&p[i].since_ms) < first_ms)
			first_ms = word_get(&p[i].since_ms);
	turned_ms = word_get(&queues_of(b)[index].turned_ms);
	return turned_ms > first_ms ? turned_ms : first_ms;
}

int64_t
board_wait_forecast_ms(struct board *b, struct id pool, int64_t ahead)
{
	int index = queue_find(b, key_of_pool(pool));
	int64_t now_ms = board_now_ms(b), us, sum, since_us;

	if (index < 0)
		return 0;
	us = word_get(&queues_of(b)[index].interval_us);
	since_us = (now_ms - turnless_since(b, index, now_ms)) * 1000;
	if (us < since_us)
		us = since_us;
	if (__builtin_mul_overflow(us, ahead + 1, &sum))
		return INT64_MAX;
	return us == 0 ? 0 : sum / 1000 + 1;
}

int64_t
board_wait_count(struct board *b, struct id pool)
{
	int index = queue_find(b, key_of_pool(pool));

	return index < 0 ? 0 : count_in(b, queue_name(b, index), INT64_MAX, board_now_ms(b));
}

/* ---- for people ---- */

struct shown {
	int64_t queue, flow, start, step, serial;
	struct board_waiting w;
};

static int
by_flow(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;

	if (x->queue != y->queue)
		return x->queue < y->queue ? -1 : 1;
	if (x->flow != y->flow)
		return x->flow < y->flow ? -1 : 1;
	return (x->serial > y->serial) - (x->serial < y->serial);
}

static int
by_start(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;
	int64_t order = ahead_of(x->start, y->start);

	if (x->queue != y->queue)
		return x->queue < y->queue ? -1 : 1;
	if (order != 0)
		return order < 0 ? -1 : 1;
	return (x->serial > y->serial) - (x->serial < y->serial);
}

static void
put_in_order(struct shown *s, int count)
{
	qsort(s, (size_t)count, sizeof *s, by_flow);
	for (int i = 1; i < count; i++)
		if (s[i].queue == s[i - 1].queue && s[i].flow == s[i - 1].flow)
			s[i].start = plus(s[i - 1].start, s[i].step);
	qsort(s, (size_t)count, sizeof *s, by_start);
	for (int i = 0; i < count; i++)
		s[i].w.position =
			i > 0 && s[i].queue == s[i - 1].queue ? s[i - 1].w.position + 1 : 1;
}

/* Of a place that may go meanwhile: false when it has. */
static bool
show(struct board *b, const struct wait_place *p, int64_t now_ms, struct shown *s)
{
	const struct wait_queue *q;

	s->queue = word_get(&p->queue);
	s->serial = word_get(&p->serial);
	if (s->queue == 0 || (q = queue_named(b, s->queue)) == NULL ||
		!still_waits(p, s->queue, now_ms) || board_owner_is_dead(b, word_get(&p->owner)))
		return false;
	s->flow = word_get(&p->flow);
	s->start = flow_start(b, s->flow, word_get(&q->present));
	s->step = word_get(&p->step);
	s->w = (struct board_waiting){ .exchange = id_of_words(p->exchange),
		.since_ms = word_get(&p->since_ms) };
	return is_claimed(p, s->serial);
}

int
board_waiting(struct board *b, struct board_waiting *out, int most)
{
	int64_t now_ms = board_now_ms(b), high = high_of(b);
	struct shown *s = out == NULL || high == 0 ? NULL : calloc((size_t)high, sizeof *s), one;
	int count = 0;

	for (int64_t i = 0; i < high; i++)
		count += show(b, &places_of(b)[i], now_ms, s == NULL ? &one : &s[count]);
	if (s == NULL)
		return out == NULL ? count : 0;
	put_in_order(s, count);
	for (int i = 0; i < count && i < most; i++)
		out[i] = s[i].w;
	free(s);
	return count;
}

/* ---- care ---- */

int
board_wait_sweep(struct board *b)
{
	int64_t high = high_of(b);
	int dropped = 0;

	for (int64_t i = 0; i < high; i++)
		dropped += drop_dead(b, &places_of(b)[i]);
	return dropped;
}

void
waiter_after_boot(struct board *b)
{
	struct wait_place *p = places_of(b);
	struct wait_queue *q = queues_of(b);

	for (int i = 0; i < BOARD_WAITERS; i++)
		clear(&p[i]);
	for (int i = 0; i < BOARD_QUEUES; i++)
		word_set(&q[i].seen_ms, 0);
	word_set(&head_of(b)->high, 0);
}
