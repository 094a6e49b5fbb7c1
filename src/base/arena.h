/*
 * arena.h - one allocation lifetime for one exchange: everything is freed at once.
 *
 * Request code has no free().  Foreign objects (a cJSON tree, a CURL easy, a descriptor) join by
 * arena_defer.  Not safe over threads: an arena belongs to whoever owns its exchange.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena;

/* limit: bytes, all blocks together.  NULL when out of memory. */
struct arena *arena_new(size_t limit);

/* Runs the deferred calls, last first, then frees everything.  NULL is fine. */
void arena_free(struct arena *a);

/* Zeroed, aligned for any object, valid until arena_free().
 * NULL when bytes is 0, or the limit or memory is spent. */
void *arena_alloc(struct arena *a, size_t bytes);
/* The same, but not zeroed: for what is written from end to end, and may be long. */
void *arena_room(struct arena *a, size_t bytes);

/* Copies with a NUL behind.  NULL as above. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Hands a foreign object to the arena.
 * Ownership always passes: on failure fn(obj) runs before -1 is returned. */
int arena_defer(struct arena *a, void (*fn)(void *), void *obj);

size_t arena_used(const struct arena *a);

#endif
