/*
 * errand-int.h - what the files of this room share.
 */
#ifndef ERRAND_ERRAND_INT_H
#define ERRAND_ERRAND_INT_H

#include "errand/errand.h"

#include <stdatomic.h>

struct errand_desk {
	struct store *store;
	struct board *board;
	const struct conf *conf;
	uv_loop_t loop;
	uv_async_t stop;
	struct forward *forward;
	_Atomic bool stopped;
	size_t left; /* calls under way */
	struct call *calls;
	size_t call_count;
};

/* Of an upstream's address what paths are put behind: without its query and last slashes (models.c). */
struct span errand_base(const char *base_url);

#endif
