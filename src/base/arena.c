/*
 * arena.c - blocks in a list, filled from the front; big requests get a block of their own, so that
 * the rest of the current one is not lost.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 8192 /* most exchanges need one to three */
#define ALIGN       alignof(max_align_t)

struct block {
	struct block *next;
	size_t room; /* bytes behind the header */
	size_t used;
	max_align_t data[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *);
	void *obj;
};

struct arena {
	size_t limit;
	size_t taken; /* bytes of all blocks, headers included */
	size_t used;
	struct block *blocks; /* first: the one being filled */
	struct deferred *deferred;
};

struct arena *
arena_new(size_t limit)
{
	struct arena *a = calloc(1, sizeof *a);

	if (a != NULL)
		a->limit = limit;
	return a;
}

void
arena_free(struct arena *a)
{
	if (a == NULL)
		return;
	/* The list may grow while it runs: a deferred call may defer another. */
	while (a->deferred != NULL) {
		struct deferred *d = a->deferred;

		a->deferred = d->next;
		d->fn(d->obj);
	}
	while (a->blocks != NULL) {
		struct block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
	free(a);
}

static struct block *
block_new(struct arena *a, size_t room, bool zeroed)
{
	struct block *b;

	/* taken <= limit always holds, so neither side can wrap. */
	if (a->limit - a->taken < sizeof *b || a->limit - a->taken - sizeof *b < room)
		return NULL;
	b = zeroed ? calloc(1, sizeof *b + room) : malloc(sizeof *b + room);
	if (b == NULL)
		return NULL;
	b->next = NULL;
	b->used = 0;
	b->room = room;
	a->taken += sizeof *b + room;
	return b;
}

/* *fresh: in a block of its own, which the system may give zeroed for nothing. */
static void *
take(struct arena *a, size_t bytes, bool zeroed, bool *fresh)
{
	struct block *b = a->blocks;
	size_t need;

	if (bytes == 0 || bytes > a->limit)
		return NULL;
	if (bytes > SIZE_MAX - (ALIGN - 1))
		return NULL;
	need = (bytes + (ALIGN - 1)) & ~(size_t)(ALIGN - 1);

	*fresh = false;
	if (b == NULL || b->room - b->used < need) {
		size_t room = need >= BLOCK_BYTES / 4 ? need : BLOCK_BYTES - sizeof *b;

		b = block_new(a, room, zeroed && room == need);
		if (b == NULL && room != need)
			b = block_new(a, room = need, zeroed); /* what is left of the limit */
		if (b == NULL)
			return NULL;
		*fresh = room == need;
		if (room == need && a->blocks != NULL) {
			/* Full from the start: goes behind the one being filled. */
			b->next = a->blocks->next;
			a->blocks->next = b;
		} else {
			b->next = a->blocks;
			a->blocks = b;
		}
	}

	void *p = (char *)b->data + b->used;

	b->used += need;
	a->used += need;
	return p;
}

void *
arena_alloc(struct arena *a, size_t bytes)
{
	bool fresh;
	void *p = take(a, bytes, true, &fresh);

	return p == NULL || fresh ? p : memset(p, 0, bytes);
}

void *
arena_room(struct arena *a, size_t bytes)
{
	bool fresh;

	return take(a, bytes, false, &fresh);
}

char *
arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p;

	if (len == SIZE_MAX || (p = arena_room(a, len + 1)) == NULL)
		return NULL;
	if (len > 0)
		memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return s == NULL ? NULL : arena_strndup(a, s, strlen(s));
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args, again;
	char first[256], *p = NULL; /* most are short: printed once */
	int len;

	va_start(args, fmt);
	va_copy(again, args);
	len = vsnprintf(first, sizeof first, fmt, args);
	if (len >= 0 && (size_t)len < sizeof first)
		p = arena_strndup(a, first, (size_t)len);
	else if (len >= 0 && (p = arena_room(a, (size_t)len + 1)) != NULL)
		(void)vsnprintf(p, (size_t)len + 1, fmt, again);
	va_end(again);
	va_end(args);
	return p;
}

int
arena_defer(struct arena *a, void (*fn)(void *), void *obj)
{
	struct deferred *d = arena_alloc(a, sizeof *d);

	if (d == NULL) {
		fn(obj);
		return -1;
	}
	d->fn = fn;
	d->obj = obj;
	d->next = a->deferred;
	a->deferred = d;
	return 0;
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}
