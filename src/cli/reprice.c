/* reprice.c - reprice: what booked requests cost by the prices that hold for their time. */
#include "settle/reprice.h"

#include "base/clock.h"
#include "base/money.h"
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
put_money(struct bytes *out, const char *name, int64_t nusd)
{
	char text[MONEY_TEXT_BYTES];

	money_text(nusd, text);
	bytes_printf(out, ",\"%s\":\"%s\"", name, text);
}

static void
put_sum(struct bytes *out, const struct reprice_sum *s)
{
	bytes_printf(out, "\"rows\":%lld,\"changed\":%lld,\"were_unpriced\":%lld",
		(long long)s->rows, (long long)s->changed, (long long)s->unpriced);
	put_money(out, "before", s->before_nusd);
	put_money(out, "after", s->after_nusd);
	put_money(out, "difference", money_add(s->after_nusd, -s->before_nusd));
}

static void
put_result(struct bytes *out, const struct reprice_result *r, bool dry_run)
{
	bool first = true;

	bytes_puts(out, "{\"data\":[");
	for (size_t i = 0; i < r->model_count; i++) {
		if (r->model[i].changed == 0)
			continue;
		bytes_puts(out, first ? "{\"model\":" : ",{\"model\":");
		first = false;
		bytes_json(out, span_of(r->model[i].model));
		bytes_puts(out, ",");
		put_sum(out, &r->model[i]);
		bytes_puts(out, "}");
	}
	bytes_puts(out, "],\"total\":{");
	put_sum(out, &r->total);
	bytes_printf(out,
		"},\"rows\":%lld,\"changed\":%lld,\"unpriced\":%lld,\"stated\":%lld,\"counters\":%"
		"lld,"
		"\"dry_run\":%s}",
		(long long)r->rows, (long long)r->changed, (long long)r->unknown,
		(long long)r->stated, (long long)r->counters, dry_run ? "true" : "false");
}

static void
show(struct span json, const struct reprice_result *r, bool dry_run)
{
	static const struct column columns[] = { { "MODEL", "model", false, 40 },
		{ "ROWS", "rows", true, 0 }, { "CHANGED", "changed", true, 0 },
		{ "WERE UNPRICED", "were_unpriced", true, 0 }, { "BEFORE $", "before", true, 0 },
		{ "AFTER $", "after", true, 0 }, { "DIFFERENCE $", "difference", true, 0 } };
	char before[MONEY_TEXT_BYTES], after[MONEY_TEXT_BYTES];

	if (r->changed > 0)
		table_print(json, columns, sizeof columns / sizeof columns[0]);
	money_text(r->total.before_nusd, before);
	money_text(r->total.after_nusd, after);
	printf("%lld rows, %lld %s: %s dollars, before %s\n", (long long)r->rows,
		(long long)r->changed, dry_run ? "would change" : "changed", after, before);
	if (r->unknown > 0)
		printf("%lld rows have no known price: `sluice price add` or `sluice price "
		       "import`\n",
			(long long)r->unknown);
	if (r->stated > 0)
		printf("%lld rows keep the cost their provider stated\n", (long long)r->stated);
}

static void
progress(void *ctx, int64_t rows)
{
	(void)ctx;
	fprintf(stderr, "\r%lld rows", (long long)rows);
}

static int
run(struct reprice *how, bool json)
{
	struct bytes out = BYTES_LIMIT(8 << 20);
	struct store_change change = { .action = "reprice", .address = "" };
	struct reprice_result result = { 0 };
	struct err err = { 0 };
	struct state s;
	int rc = EXIT_DONE;

	if (state_open(&s, false) != 0)
		return EXIT_FAILED;
	change.actor = s.actor;
	if (isatty(STDERR_FILENO))
		how->progress = progress;
	if (reprice_rows(s.store, s.board, how, &change, &result, &err) != 0)
		rc = complain(EXIT_FAILED,
			"reprice: %s; %lld rows were changed, run it again for the rest", err.text,
			(long long)(how->dry_run ? 0 : result.changed));
	if (how->progress != NULL && result.rows > 0)
		fputs("\r", stderr);
	if (rc == EXIT_DONE) {
		put_result(&out, &result, how->dry_run);
		if (json)
			printf("%.*s\n", (int)out.len, out.at);
		else
			show(bytes_span(&out), &result, how->dry_run);
	}
	free(result.model);
	bytes_free(&out);
	state_close(&s);
	return rc;
}

int
reprice_main(int argc, char **argv)
{
	struct reprice how = { .from_ms = -1 };
	bool json = false, wrong = false;

	for (int i = 1; i < argc && !wrong; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--dry-run") == 0)
			how.dry_run = true;
		else if (strcmp(argv[i], "--config") == 0 && value != NULL)
			setenv("SLUICE_CONFIG", argv[++i], 1);
		else if (strcmp(argv[i], "--from") == 0 && value != NULL &&
			 words_time(value, &how.from_ms) == 0)
			i++;
		else if (strcmp(argv[i], "--to") == 0 && value != NULL &&
			 words_time(value, &how.to_ms) == 0)
			i++;
		else
			wrong = true;
	}
	if (wrong || how.from_ms < 0)
		return complain(EXIT_USAGE, "usage: sluice reprice --from TIME [--to TIME] "
					    "[--dry-run] [--json]; a time is "
					    "2027-01-31 or 2027-01-31T12:00:00Z");
	return run(&how, json);
}
