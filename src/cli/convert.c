/*
 * convert.c - one converter on standard input, as it runs in the gateway: to see what it does with
 * your bytes, and for tests.  So far OpenAI chat to itself, which is the pass-through.
 */
#include "cli/cli-int.h"

#include "base/arena.h"
#include "wire/error.h"
#include "wire/openai.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES (64 << 20)
#define ENDPOINT    "/v1/chat/completions"

struct options {
	const char *kind, *from, *to, *upstream_model;
	long chunk;
	bool include_usage;
};

static int
take_options(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--include-usage") == 0)
			o->include_usage = true;
		else if (strcmp(argv[i], "--from") == 0 && value != NULL)
			o->from = argv[++i];
		else if (strcmp(argv[i], "--to") == 0 && value != NULL)
			o->to = argv[++i];
		else if (strcmp(argv[i], "--upstream-model") == 0 && value != NULL)
			o->upstream_model = argv[++i];
		else if (strcmp(argv[i], "--chunk") == 0 && value != NULL)
			o->chunk = strtol(argv[++i], NULL, 10);
		else if (argv[i][0] != '-' && o->kind == NULL)
			o->kind = argv[i];
		else
			return -1;
	}
	return o->kind != NULL && o->from != NULL && o->to != NULL && o->chunk >= 0 ? 0 : -1;
}

static void
print(void *ctx, const char *data, size_t len, bool last)
{
	(void)ctx;
	(void)last;
	fwrite(data, 1, len, stdout);
}

static int
convert_request(const struct options *o, struct span in)
{
	struct arena *a = arena_new(in.len + (1 << 20));
	struct openai_request q;
	struct err err = { 0 };
	struct span out;

	if (openai_skim(in, ENDPOINT, &q, &err) != 0) {
		struct bytes body = BYTES_LIMIT(65536);

		/* what the client would read, and the same for a person */
		if (error_body(DIALECT_OPENAI, &err, NULL, &body) == 0)
			print(NULL, body.at, body.len, true);
		bytes_free(&body);
		arena_free(a);
		return complain(EXIT_REFUSED, "convert: %s", err_public(&err));
	}
	out = openai_rewrite(a, in, &q, ENDPOINT, o->upstream_model);
	if (out.at != NULL)
		print(NULL, out.at, out.len, true);
	arena_free(a);
	return out.at == NULL ? complain(EXIT_FAILED, "convert: out of memory") : EXIT_DONE;
}

static int
convert_stream(const struct options *o, struct span in)
{
	size_t step = o->chunk == 0 ? in.len : (size_t)o->chunk;
	struct openai_watch *w = calloc(1, sizeof *w);
	int rc = 0;

	if (w == NULL)
		return complain(EXIT_FAILED, "convert: out of memory");
	openai_watch_init(w, !o->include_usage);
	for (size_t at = 0; rc == 0 && at < in.len; at += step)
		rc = openai_watch_feed(
			w, in.at + at, in.len - at < step ? in.len - at : step, print, NULL);
	if (rc == 0)
		rc = openai_watch_end(w, print, NULL);
	openai_watch_free(w);
	free(w);
	return rc == 0 ? EXIT_DONE : complain(EXIT_FAILED, "convert: out of memory");
}

int
convert_main(int argc, char **argv)
{
	struct options o = { 0 };
	struct bytes in = BYTES_LIMIT(INPUT_BYTES);
	char piece[65536];
	size_t n;
	int rc;

	if (take_options(&o, argc, argv) != 0)
		return complain(EXIT_USAGE,
			"usage: sluice convert request|stream --from openai-chat --to openai-chat\n"
			"       [--upstream-model M] [--include-usage] [--chunk N] <input");
	if (strcmp(o.from, "openai-chat") != 0 || strcmp(o.to, "openai-chat") != 0)
		return complain(EXIT_REFUSED, "convert: there is no converter from %s to %s yet",
			o.from, o.to);
	while ((n = fread(piece, 1, sizeof piece, stdin)) > 0)
		bytes_add(&in, piece, n);
	if (in.len == 0)
		rc = complain(EXIT_REFUSED, "convert: nothing came on standard input");
	else if (in.failed)
		rc = complain(
			EXIT_REFUSED, "convert: the input is larger than %d MB", INPUT_BYTES >> 20);
	else if (strcmp(o.kind, "request") == 0)
		rc = convert_request(&o, bytes_span(&in));
	else if (strcmp(o.kind, "stream") == 0)
		rc = convert_stream(&o, bytes_span(&in));
	else
		rc = complain(EXIT_USAGE, "convert: there is no kind '%s'", o.kind);
	bytes_free(&in);
	return rc;
}
