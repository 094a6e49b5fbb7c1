/*
 * convert.c - one converter on standard input, as it runs in the gateway: to see what it does with
 * your bytes, and for tests.
 */
#include "cli/cli-int.h"

#include "base/arena.h"
#include "base/clock.h"
#include "wire/convert.h"
#include "wire/openai.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES   (64 << 20)
#define ARENA_BYTES   (512L << 20)
#define HEADERS_MOST  32
#define ERROR_BYTES   65536
#define CHAT_ENDPOINT "/v1/chat/completions"

struct options {
	const char *kind;
	const struct format *from, *to;
	const char *upstream_model, *client_model, *path;
	int64_t default_max_tokens, chunk, status;
	enum thinking thinking;
	bool include_usage, strict;
	const char *header[HEADERS_MOST]; /* "Name: value" */
	size_t header_count;
};

static int
take_number(const char *text, int64_t *out)
{
	char *end;

	*out = strtoll(text, &end, 10);
	return *text != '\0' && *end == '\0' && *out >= 0 ? 0 : -1;
}

static int
take_thinking(const char *text, enum thinking *out)
{
	*out = strcmp(text, "budget") == 0     ? THINKING_BUDGET
	       : strcmp(text, "adaptive") == 0 ? THINKING_ADAPTIVE
					       : THINKING_UNKNOWN;
	return *out == THINKING_UNKNOWN ? -1 : 0;
}

static int
take_header(struct options *o, const char *line)
{
	if (o->header_count == HEADERS_MOST || strchr(line, ':') == NULL)
		return -1;
	o->header[o->header_count++] = line;
	return 0;
}

/* An option with a value: 0, or -1 when it is none or the value is wrong. */
static int
take_value(struct options *o, const char *name, const char *value)
{
	if (value == NULL)
		return -1;
	if (strcmp(name, "--from") == 0)
		return (o->from = format_named(value)) == NULL ? -1 : 0;
	if (strcmp(name, "--to") == 0)
		return (o->to = format_named(value)) == NULL ? -1 : 0;
	if (strcmp(name, "--default-max-tokens") == 0)
		return take_number(value, &o->default_max_tokens);
	if (strcmp(name, "--chunk") == 0)
		return take_number(value, &o->chunk);
	if (strcmp(name, "--status") == 0)
		return take_number(value, &o->status);
	if (strcmp(name, "--model-thinking") == 0)
		return take_thinking(value, &o->thinking);
	if (strcmp(name, "--header") == 0)
		return take_header(o, value);
	if (strcmp(name, "--upstream-model") == 0)
		o->upstream_model = value;
	else if (strcmp(name, "--client-model") == 0)
		o->client_model = value;
	else if (strcmp(name, "--path") == 0)
		o->path = value;
	else
		return -1;
	return 0;
}

static int
take_options(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--include-usage") == 0)
			o->include_usage = true;
		else if (strcmp(argv[i], "--strict") == 0)
			o->strict = true;
		else if (argv[i][0] != '-' && o->kind == NULL)
			o->kind = argv[i];
		else if (take_value(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL) == 0)
			i++;
		else
			return -1;
	}
	return o->kind != NULL && o->from != NULL && o->to != NULL ? 0 : -1;
}

static void
print(void *ctx, const char *data, size_t len, bool last)
{
	(void)ctx;
	(void)last;
	fwrite(data, 1, len, stdout);
}

/* What the client would read on standard output, and the same for a person. */
static int
refuse(const struct format *client, const struct err *err)
{
	struct bytes body = BYTES_LIMIT(ERROR_BYTES);

	if (error_body(client->dialect, err, NULL, &body) == 0)
		print(NULL, body.at, body.len, true);
	bytes_free(&body);
	return complain(EXIT_REFUSED, "convert: %s", err_public(err));
}

static struct span
find_header(const void *ctx, const char *name)
{
	const struct options *o = ctx;
	size_t len = strlen(name);

	for (size_t i = 0; i < o->header_count; i++) {
		const char *value = o->header[i] + len;

		if (!span_is_nocase(
			    (struct span){ o->header[i], strlen(o->header[i]) < len ? 0 : len },
			    name) ||
			*value != ':')
			continue;
		for (value++; *value == ' ';)
			value++;
		return span_of(value);
	}
	return SPAN_NONE;
}

/* ---- the same format in and out: passed on as bytes ---- */

static int
pass_request(const struct options *o, struct arena *a, struct span in)
{
	struct openai_request q;
	struct err err = { 0 };
	struct span out;

	if (openai_skim(in, CHAT_ENDPOINT, &q, &err) != 0)
		return refuse(o->from, &err);
	out = openai_rewrite(a, in, &q, CHAT_ENDPOINT, o->upstream_model);
	if (out.at == NULL)
		return complain(EXIT_FAILED, "convert: out of memory");
	print(NULL, out.at, out.len, true);
	return EXIT_DONE;
}

static int
pass_stream(const struct options *o, struct span in)
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

/* ---- conversion ---- */

static struct reply_options
reply_options(const struct options *o)
{
	return (struct reply_options){ .model = o->client_model == NULL ? "gw" : o->client_model,
		.include_usage = o->include_usage,
		.now_s = clock_wall_ms() / 1000 };
}

static void
print_losses(const struct losses *l)
{
	for (size_t i = 0; i < l->count; i++)
		fprintf(stderr, "dropped: %s\n", l->name[i]);
	if (l->more > 0)
		fprintf(stderr, "dropped: %zu more\n", l->more);
}

/* The model of a path such as /v1beta/models/M:streamGenerateContent or /model/M/converse-stream. */
static void
read_path(const char *path, struct request_source *source)
{
	const char *at = path == NULL ? NULL : strstr(path, "/models/");

	if (at != NULL) {
		at += strlen("/models/");
		source->path_model = (struct span){ at, strcspn(at, ":") };
		source->path_stream = strstr(at, ":stream") != NULL;
		return;
	}
	at = path == NULL ? NULL : strstr(path, "/model/");
	if (at == NULL)
		return;
	at += strlen("/model/");
	source->path_model = (struct span){ at, strcspn(at, "/") };
	source->path_stream = strstr(at, "stream") != NULL;
}

static int
convert_one_request(const struct options *o, struct arena *a, struct span in)
{
	struct bytes body = BYTES_LIMIT(CONVERT_REQUEST_MAX);
	struct request_made made = { .body = &body };
	struct losses lost = { 0 };
	struct err err = { 0 };
	struct convert_request q = { .from = o->from,
		.to = o->to,
		.source = { .body = in, .header = find_header, .ctx = o },
		.target = { .model = o->upstream_model == NULL ? "" : o->upstream_model,
			.default_max_output = o->default_max_tokens,
			.thinking = o->thinking },
		.strict = o->strict };
	int rc = EXIT_DONE;

	read_path(o->path, &q.source);
	if (convert_request(a, &q, &made, &lost, &err) != 0)
		rc = refuse(o->from, &err);
	else
		print(NULL, body.at, body.len, true);
	print_losses(&lost);
	bytes_free(&body);
	return rc;
}

static int
convert_one_reply(const struct options *o, struct arena *a, struct span in)
{
	struct bytes body = BYTES_LIMIT(CONVERT_REPLY_MAX);
	struct reply_options options = reply_options(o);
	struct wire_usage usage;
	struct err err = { 0 };
	int rc = EXIT_DONE;

	if (convert_reply(a, o->from, o->to, in, &options, &usage, &body, &err) != 0)
		rc = refuse(o->to, &err);
	else
		print(NULL, body.at, body.len, true);
	bytes_free(&body);
	return rc;
}

static void
print_out(struct convert_stream *s)
{
	print(NULL, s->out.at, s->out.len, false);
	bytes_drop(&s->out, s->out.len);
}

static int
convert_one_stream(const struct options *o, struct span in)
{
	size_t step = o->chunk == 0 ? in.len : (size_t)o->chunk;
	struct reply_options options = reply_options(o);
	struct convert_stream s;
	int rc = convert_stream_init(&s, o->from, o->to, &options);

	if (rc != 0)
		return complain(EXIT_FAILED, "convert: out of memory");
	for (size_t at = 0; rc == 0 && at < in.len; at += step) {
		rc = convert_stream_feed(&s, in.at + at, in.len - at < step ? in.len - at : step);
		print_out(&s);
	}
	if (rc == 0)
		rc = convert_stream_end(&s);
	print_out(&s);
	convert_stream_free(&s);
	return rc == 0 ? EXIT_DONE : complain(EXIT_FAILED, "convert: out of memory");
}

/* A provider's refusal as its client reads it once nobody else can be asked. */
static int
convert_one_error(const struct options *o, struct span in)
{
	struct failure_headers h = { .retry_after = find_header(o, "retry-after"),
		.retry_after_ms = find_header(o, "retry-after-ms"),
		.reset_requests = find_header(o, "x-ratelimit-reset-requests"),
		.reset_tokens = find_header(o, "x-ratelimit-reset-tokens"),
		.remaining_requests = find_header(o, "x-ratelimit-remaining-requests"),
		.remaining_tokens = find_header(o, "x-ratelimit-remaining-tokens"),
		.date = find_header(o, "date"),
		.error_type = find_header(o, "x-amzn-errortype"),
		.unified_reset = find_header(o, "anthropic-ratelimit-unified-reset") };
	int64_t now = clock_wall_ms(), until;
	int status = (int)o->status;
	enum failure f = failure_classify(status, &h, in, now, &until);
	struct bytes body = BYTES_LIMIT(ERROR_BYTES);
	struct err err = { 0 };

	(void)failure_tell(
		f, status, until == 0 ? 0 : clock_boot_ms() + until - now, o->from->name, in, &err);
	fprintf(stderr, "class: %s\nstatus: %d\n", failure_name(f),
		error_status(o->to->dialect, err.code));
	if (until > 0 && err.retry_boot_ms > 0)
		fprintf(stderr, "retry-after: %" PRId64 "\n", (until - now + 999) / 1000);
	if (error_body(o->to->dialect, &err, NULL, &body) == 0)
		print(NULL, body.at, body.len, true);
	bytes_free(&body);
	return EXIT_DONE;
}

static bool
can_convert(const struct format *from, const struct format *to, const char *kind)
{
	if (strcmp(kind, "request") == 0)
		return from->read_request != NULL && to->write_request != NULL;
	if (strcmp(kind, "response") == 0)
		return from->read_reply != NULL && to->write_reply != NULL;
	return from->read_frame != NULL && to->write_event != NULL;
}

static int
convert_input(const struct options *o, struct span in)
{
	bool as_bytes = o->from == o->to && o->from == format_of(FORMAT_OPENAI_CHAT);
	bool request = strcmp(o->kind, "request") == 0, stream = strcmp(o->kind, "stream") == 0;
	struct arena *a;
	int rc;

	if (strcmp(o->kind, "error") == 0)
		return o->status < 400 || o->status > 599
			       ? complain(EXIT_USAGE, "convert: say the provider's --status")
			       : convert_one_error(o, in);
	if (!request && !stream && strcmp(o->kind, "response") != 0)
		return complain(EXIT_USAGE, "convert: there is no kind '%s'", o->kind);
	if (as_bytes && stream)
		return pass_stream(o, in);
	if (!(as_bytes && request) && !can_convert(o->from, o->to, o->kind))
		return complain(EXIT_REFUSED, "convert: there is no converter from %s to %s",
			o->from->name, o->to->name);
	if (stream)
		return convert_one_stream(o, in);
	a = arena_new(ARENA_BYTES);
	if (a == NULL)
		return complain(EXIT_FAILED, "convert: out of memory");
	if (request && as_bytes)
		rc = pass_request(o, a, in);
	else
		rc = request ? convert_one_request(o, a, in) : convert_one_reply(o, a, in);
	arena_free(a);
	return rc;
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
			"usage: sluice convert request|response|stream|error --from P --to P "
			"<input\n"
			"       [--upstream-model M] [--client-model M] [--default-max-tokens N]\n"
			"       [--model-thinking budget|adaptive] [--include-usage] [--strict]\n"
			"       [--path P] [--status N] [--header 'N: v'] [--chunk N]");
	while ((n = fread(piece, 1, sizeof piece, stdin)) > 0)
		bytes_add(&in, piece, n);
	if (in.len == 0)
		rc = complain(EXIT_REFUSED, "convert: nothing came on standard input");
	else if (in.failed)
		rc = complain(EXIT_REFUSED, "convert: more than %d MB", INPUT_BYTES >> 20);
	else
		rc = convert_input(&o, bytes_span(&in));
	bytes_free(&in);
	return rc;
}
