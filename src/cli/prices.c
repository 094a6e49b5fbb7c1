/*
 * prices.c - price import: a list of prices from a file, shown as a difference first if one likes.
 */
#include "base/clock.h"
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES  (64 << 20)
#define LINES_SHOWN 40

struct import_words {
	const char *file;
	struct price_import how;
	bool json;
};

static int
take_words(int argc, char **argv, struct import_words *w)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--json") == 0)
			w->json = true;
		else if (strcmp(argv[i], "--dry-run") == 0)
			w->how.dry_run = true;
		else if (strcmp(argv[i], "--provider") == 0 && value != NULL)
			w->how.provider = argv[++i];
		else if (strcmp(argv[i], "--upstream") == 0 && value != NULL)
			w->how.upstream = argv[++i];
		else if (strcmp(argv[i], "--config") == 0 && value != NULL)
			setenv("SLUICE_CONFIG", argv[++i], 1);
		else if (strcmp(argv[i], "--from") == 0 && value != NULL) {
			if (words_time(argv[++i], &w->how.from_ms) != 0 || w->how.from_ms <= 0)
				return complain(EXIT_USAGE,
					"--from wants a day or a time such as 2027-01-31");
		} else if ((argv[i][0] != '-' || argv[i][1] == '\0') && w->file == NULL)
			w->file = argv[i];
		else {
			complain(EXIT_USAGE, "price import: '%s' is not known here", argv[i]);
			w->file = NULL;
			break;
		}
	}
	if (w->file == NULL)
		return complain(EXIT_USAGE,
			"usage: sluice price import FILE|- [--from TIME] [--provider NAME] "
			"[--upstream NAME] [--dry-run] [--json]");
	return EXIT_DONE;
}

int
words_time(const char *text, int64_t *wall_ms)
{
	char day[32];

	if (clock_parse_rfc3339(text, wall_ms) == 0)
		return 0;
	if (strlen(text) != 10)
		return -1;
	snprintf(day, sizeof day, "%sT00:00:00Z", text);
	return clock_parse_rfc3339(day, wall_ms);
}

int
words_file(const char *name, struct bytes *text)
{
	bool in = strcmp(name, "-") == 0;
	FILE *f = in ? stdin : fopen(name, "re");
	char piece[65536];
	size_t n;
	bool broken;

	*text = BYTES_LIMIT(FILE_BYTES);
	if (f == NULL)
		return complain(EXIT_FAILED, "%s cannot be read", name);
	while (!text->failed && (n = fread(piece, 1, sizeof piece, f)) > 0)
		bytes_add(text, piece, n);
	broken = ferror(f) != 0;
	if (!in)
		fclose(f);
	if (!broken && !text->failed)
		return EXIT_DONE;
	broken = !text->failed;
	bytes_free(text);
	return broken ? complain(EXIT_FAILED, "%s cannot be read", name)
		      : complain(EXIT_REFUSED, "%s is too large: at most %d MB", name,
				FILE_BYTES >> 20);
}

/* ---- what comes out ---- */

static void
text_of(struct span object, const char *name, char *out, size_t room)
{
	struct json_value v = json_get(object, name);

	out[0] = '\0';
	if (v.type == JSON_STRING)
		(void)json_string(v, out, room);
	else if (v.type == JSON_NUMBER)
		span_copy(v.raw, out, room);
	for (char *p = out; *p != '\0'; p++) /* no control bytes to a terminal */
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = ' ';
}

/* "0.150000000" is "0.15" to a person. */
static void
short_money(char *text)
{
	size_t len = strlen(text);

	if (strchr(text, '.') == NULL)
		return;
	while (text[len - 1] == '0')
		text[--len] = '\0';
	if (text[len - 1] == '.')
		text[len - 1] = '\0';
}

struct rates_shown {
	struct span other; /* before, when it is not the same */
	bool two;
};

static bool
show_rate(void *ctx, const struct json_member *m)
{
	const struct rates_shown *r = ctx;
	char name[64], is[48], was[48];

	span_copy(m->key, name, sizeof name);
	if (m->value.type != JSON_STRING)
		is[0] = '\0';
	else
		(void)json_string(m->value, is, sizeof is);
	short_money(is);
	if (!r->two) {
		if (is[0] != '\0' && strcmp(is, "0") != 0)
			printf("  %s %s", name, is);
		return true;
	}
	text_of(r->other, name, was, sizeof was);
	short_money(was);
	if (strcmp(is, was) != 0)
		printf("  %s %s -> %s", name, was[0] == '\0' ? "-" : was, is[0] == '\0' ? "-" : is);
	return true;
}

struct lines {
	int shown, all;
};

static bool
show_change(void *ctx, const struct json_member *m)
{
	struct lines *l = ctx;
	struct span row = m->value.raw;
	struct json_value after = json_get(row, "after");
	struct rates_shown r = { .other = json_get(row, "before").raw };
	char change[16], model[160], tier[32], above[32];

	if (l->all++ >= LINES_SHOWN)
		return true;
	l->shown++;
	text_of(row, "change", change, sizeof change);
	text_of(row, "model", model, sizeof model);
	text_of(row, "tier", tier, sizeof tier);
	text_of(row, "above_tokens", above, sizeof above);
	r.two = json_get(row, "before").type == JSON_OBJECT && after.type == JSON_OBJECT;
	printf("%c %s", change[0] == 'a' ? '+' : change[0] == 'r' ? '-' : '~', model);
	if (tier[0] != '\0')
		printf(" (%s)", tier);
	if (strcmp(above, "0") != 0)
		printf(" above %s tokens", above);
	if (after.type == JSON_OBJECT)
		(void)json_each(after.raw, show_rate, &r, NULL);
	putchar('\n');
	return true;
}

static bool
show_ignored(void *ctx, const struct json_member *m)
{
	char name[80], count[24];

	(void)ctx;
	text_of(m->value.raw, "name", name, sizeof name);
	text_of(m->value.raw, "count", count, sizeof count);
	printf("  not understood: %s, %s times\n", name, count);
	return true;
}

static int64_t
count_of(struct span json, const char *name)
{
	int64_t n = 0;

	(void)json_int(json_get(json, name), &n);
	return n;
}

static void
show_report(struct span json, bool dry_run)
{
	struct lines l = { 0 };
	int64_t changed = count_of(json, "changed");

	(void)json_each_element(json_get(json, "changes").raw, show_change, &l, NULL);
	if (changed > l.shown)
		printf("and %lld more; --json tells all\n", (long long)(changed - l.shown));
	(void)json_each_element(json_get(json, "ignored_members").raw, show_ignored, NULL, NULL);
	printf("%lld models read: %lld prices added, %lld changed, %lld as they were, %lld kept as "
	       "made by hand\n",
		(long long)count_of(json, "models"), (long long)count_of(json, "added"),
		(long long)count_of(json, "updated"), (long long)count_of(json, "same"),
		(long long)count_of(json, "kept"));
	if (count_of(json, "skipped") > 0)
		printf("%lld state no price that sluice can count by\n",
			(long long)count_of(json, "skipped"));
	if (count_of(json, "ambiguous") > 0)
		printf("%lld names are priced differently by several providers and stay with their "
		       "prefix; --provider takes one\n",
			(long long)count_of(json, "ambiguous"));
	if (dry_run)
		puts("nothing was written");
}

int
price_import_main(int argc, char **argv)
{
	struct import_words w = { 0 };
	struct bytes text, report = BYTES_LIMIT(MANAGE_REPLY_MAX);
	struct err err = { 0 };
	struct state s;
	size_t changed;
	int rc = take_words(argc, argv, &w);

	if (rc != EXIT_DONE || (rc = words_file(w.file, &text)) != EXIT_DONE)
		return rc;
	if (state_open(&s, false) != 0) {
		bytes_free(&text);
		return EXIT_FAILED;
	}
	if (manage_price_import(
		    s.manage, bytes_span(&text), s.actor, &w.how, &changed, &report, &err) != 0)
		rc = complain(err_status(err.code) >= 500 ? EXIT_FAILED : EXIT_REFUSED,
			"prices: %s", err.text);
	else if (w.json)
		printf("%.*s\n", (int)report.len, report.at);
	else
		show_report(bytes_span(&report), w.how.dry_run);
	bytes_free(&report);
	bytes_free(&text);
	state_close(&s);
	return rc;
}
