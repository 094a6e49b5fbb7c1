/* keys.c - key import: many provider keys at once. */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMPORT_BYTES (16 << 20)
#define BAR          30

static void
on_progress(void *ctx, int64_t done, int64_t total)
{
	char bar[BAR + 1];
	int full = total > 0 ? (int)(done >= total ? BAR : done * BAR / total) : 0;

	(void)ctx;
	memset(bar, '.', BAR);
	memset(bar, '#', (size_t)full);
	bar[BAR] = '\0';
	fprintf(stderr, "\r\033[K[%s] %lld of %lld", bar, (long long)done, (long long)total);
	fflush(stderr);
}

static int64_t
number_at(struct span object, const char *member)
{
	int64_t n = 0;

	(void)json_int(json_get(object, member), &n);
	return n;
}

/* Only rows that somebody should look at. */
static bool
print_row(void *ctx, const struct json_member *m)
{
	struct span row = m->value.raw;
	char masked[64] = "", text[300];

	(void)ctx;
	(void)json_string(json_get(row, "masked"), masked, sizeof masked);
	if (json_string(json_get(row, "refused"), text, sizeof text) >= 0)
		printf("row %lld %s: not taken: %s\n", (long long)number_at(row, "row"), masked,
			text);
	else if (json_string(json_get(row, "skipped"), text, sizeof text) >= 0)
		printf("row %lld %s: is here already as %s\n", (long long)number_at(row, "row"),
			masked, text);
	return true;
}

static void
print_report(struct span report)
{
	(void)json_each_element(json_get(report, "data").raw, print_row, NULL, NULL);
	printf("%lld of %lld keys %s; %lld were here already, %lld not taken\n",
		(long long)number_at(report, "imported"), (long long)number_at(report, "read"),
		json_get(report, "dry_run").type == JSON_TRUE ? "would be imported" : "imported",
		(long long)number_at(report, "skipped"), (long long)number_at(report, "refused"));
}

int
key_import_main(const char *file, struct span options, bool json)
{
	struct bytes text = BYTES_LIMIT(IMPORT_BYTES), report = BYTES_LIMIT(IMPORT_BYTES);
	struct manage_key_import how = { 0 };
	char upstream[256] = "";
	struct err err = { 0 };
	struct state s;
	int rc;

	if (json_string(json_get(options, "upstream"), upstream, sizeof upstream) > 0)
		how.upstream = upstream;
	how.dry_run = json_get(options, "dry_run").type == JSON_TRUE;
	if ((rc = words_file(file != NULL ? file : "-", &text)) != EXIT_DONE)
		goto out;
	if (state_open(&s, false) != 0) {
		rc = EXIT_FAILED;
		goto out;
	}
	how.actor = s.actor;
	if (isatty(STDERR_FILENO) && !json)
		how.progress = on_progress;
	if (manage_import_keys(s.manage, bytes_span(&text), &how, &report, &err) != 0)
		rc = err_status(err.code) >= 500 ? EXIT_FAILED : EXIT_REFUSED;
	else if (number_at(bytes_span(&report), "refused") > 0)
		rc = EXIT_REFUSED;
	state_close(&s);
	if (how.progress != NULL)
		fputs("\r\033[K", stderr);
	if (err.code != ERR_NONE)
		complain((enum exit_code)rc, "key import: %s", err.text);
	else if (json)
		printf("%.*s\n", (int)report.len, report.at);
	else
		print_report(bytes_span(&report));
out:
	if (text.at != NULL)
		explicit_bzero(text.at, text.len);
	bytes_free(&text);
	bytes_free(&report);
	return rc;
}
