/*
 * store_fixture.h - a store in a directory of its own, gone at the end.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the call that was made last. */
static _Thread_local struct err err;

struct fixture {
	char dir[64], key[96];
	struct store *s;
};

static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void
remove_tree(const char *dir)
{
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct store_options
fixture_options(const struct fixture *f)
{
	return (struct store_options){ .dir = f->dir, .master_key_file = f->key };
}

static inline struct store *
fixture_open(const struct fixture *f, bool create)
{
	struct store_options o = fixture_options(f);
	struct store *s;

	o.create = create;
	s = store_open(&o, NULL, &err);
	if (s == NULL)
		fail_msg("store_open: %s", err.text);
	return s;
}

static inline void
fixture_dir(struct fixture *f)
{
	const char *tmp = getenv("TMPDIR");

	memset(f, 0, sizeof *f);
	(void)snprintf(f->dir, sizeof f->dir, "%.40s/sluice-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->key, sizeof f->key, "%s/master.key", f->dir);
}

static inline int
fixture_setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	assert_non_null(f);
	fixture_dir(f);
	f->s = fixture_open(f, true);
	*state = f;
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->s);
	remove_tree(f->dir);
	free(f);
	return 0;
}

#define WORKS(call)                                                                                \
	do {                                                                                       \
		err = (struct err){ 0 };                                                           \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, err.text);                                       \
	} while (0)

#define REFUSED(call, wanted)                                                                      \
	do {                                                                                       \
		err = (struct err){ 0 };                                                           \
		assert_int_equal((call), -1);                                                      \
		if (err.code != (wanted))                                                          \
			fail_msg("%s: %s: %s", #call, err_name(err.code), err.text);               \
	} while (0)

#endif
