/*
 * replay.c - what stands in for a fuzzer in `make check`: feeds every file below the folders given
 * to the target, so that whatever a fuzzer once found stays found.
 *
 * No file at all is a failure: a corpus that was moved must not look like one that passes.
 */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDERS_OPEN 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int files;

static int
replay(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	FILE *f;
	uint8_t *data;
	size_t size;

	(void)where;
	if (kind != FTW_F)
		return 0;
	f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		return 1;
	}
	/* Not a byte more than the file has, so that the sanitizer sees a look behind its end. */
	size = (size_t)st->st_size;
	data = malloc(size == 0 ? 1 : size);
	if (data == NULL || fread(data, 1, size, f) != size) {
		(void)fprintf(stderr, "%s: cannot be read whole\n", path);
		(void)fclose(f);
		free(data);
		return 1;
	}
	(void)fclose(f);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
	files++;
	return 0;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (nftw(argv[i], replay, FOLDERS_OPEN, FTW_PHYS) != 0) {
			(void)fprintf(stderr, "%s: not replayed\n", argv[i]);
			return 1;
		}
	if (files == 0) {
		(void)fprintf(stderr, "replay: no files\n");
		return 1;
	}
	(void)printf("replayed %d files\n", files);
	return 0;
}
