/*
 * vectors.h - the conversion vectors of tests/vectors, as unit tests read them.
 *
 * Tests run in the tree's root.  What is missing or broken there ends the program.
 */
#ifndef TESTS_VECTORS_H
#define TESTS_VECTORS_H

#include "base/hash.h"
#include "base/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTORS_FOLDER "tests/vectors/"
#define VECTOR_BYTES   (1 << 20)

#define VECTORS static inline __attribute__((unused))

VECTORS void
vectors_broken(const char *name, const char *why)
{
	(void)fprintf(stderr, VECTORS_FOLDER "%s: %s\n", name, why);
	exit(1);
}

/* Frames of a binary stream are kept as hex, one a line. */
VECTORS struct span
vector_unhex(const char *name, struct span text)
{
	char *out = malloc(text.len / 2 + 1);
	size_t digits = 0;

	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] > ' ')
			((char *)text.at)[digits++] = text.at[i];
	((char *)text.at)[digits] = '\0';
	if (out == NULL || digits % 2 != 0 || hash_unhex(text.at, out, digits / 2) != 0)
		vectors_broken(name, "is no hex");
	free((char *)text.at);
	return (struct span){ out, digits / 2 };
}

/* The bytes of one file; free(at) them. */
VECTORS struct span
vector_file(const char *name)
{
	char path[256], *text = malloc(VECTOR_BYTES);
	struct span all = { text, 0 };
	FILE *f;

	(void)snprintf(path, sizeof path, VECTORS_FOLDER "%s", name);
	f = fopen(path, "rb");
	if (f == NULL || text == NULL)
		vectors_broken(name, "cannot be read");
	all.len = fread(text, 1, VECTOR_BYTES, f);
	(void)fclose(f);
	if (all.len == 0 || all.len == VECTOR_BYTES)
		vectors_broken(name, "is empty, or too long");
	return strstr(name, ".hex") != NULL ? vector_unhex(name, all) : all;
}

/* The string at that path, "" where there is none. */
VECTORS void
vector_string(struct span object, const char *path, char *out, size_t room)
{
	out[0] = '\0';
	if (object.len > 0)
		(void)json_string(json_path(object, path), out, room);
}

VECTORS long long
vector_number(struct span object, const char *path, long long otherwise)
{
	int64_t n;

	return object.len > 0 && json_int(json_path(object, path), &n) == 0 ? n : otherwise;
}

#endif
