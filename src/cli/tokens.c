/*
 * tokens.c - tokens by the hundred: minted ones for a spreadsheet or a script, what a clean-up did,
 * and those that come from another gateway.
 */
#include "cli/cli-int.h"

#include <stdio.h>
#include <string.h>

#define IMPORT_BYTES (64 << 20)

static void
text_at(struct span object, const char *name, char *out, size_t room)
{
	struct json_value v = json_get(object, name);

	out[0] = '\0';
	if (v.type == JSON_STRING)
		(void)json_string(v, out, room);
	else if (v.type != JSON_NONE && v.type != JSON_NULL)
		(void)span_copy(v.raw, out, room);
}

static long long
number_at(struct span object, const char *name)
{
	int64_t n = 0;

	(void)json_int(json_get(object, name), &n);
	return n;
}

/* Quoted where it must be, and where a spreadsheet would take it for a formula. */
static void
print_csv(const char *text, const char *behind)
{
	bool quoted = strpbrk(text, ",\"\r\n") != NULL;

	if (quoted)
		putchar('"');
	if (text[0] != '\0' && strchr("=+-@", text[0]) != NULL)
		putchar('\'');
	for (; *text != '\0'; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	if (quoted)
		putchar('"');
	fputs(behind, stdout);
}

static bool
print_json_row(void *ctx, const struct json_member *m)
{
	(void)ctx;
	printf("%.*s\n", (int)m->value.raw.len, m->value.raw.at);
	return true;
}

static bool
print_csv_row(void *ctx, const struct json_member *m)
{
	static const char *const columns[] = { "id", "token", "label", "project_id", "expires_at" };
	char text[256];

	(void)ctx;
	for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
		text_at(m->value.raw, columns[i], text, sizeof text);
		print_csv(text, i + 1 < sizeof columns / sizeof columns[0] ? "," : "\n");
	}
	explicit_bzero(text, sizeof text);
	return true;
}

void
tokens_print_minted(struct span reply, bool csv)
{
	struct json_value data = json_get(reply, "data");

	if (csv)
		puts("id,token,label,project_id,expires_at");
	if (data.type == JSON_ARRAY)
		(void)json_each_element(data.raw, csv ? print_csv_row : print_json_row, NULL, NULL);
}

void
tokens_print_cleanup(struct span reply)
{
	static const struct column columns[] = { { "ID", "id", false, 0 },
		{ "TOKEN", "masked", false, 0 }, { "LABEL", "label", false, 24 },
		{ "WHY", "why", false, 0 }, { "SINCE", "since", false, 19 },
		{ "REQUESTS", "request_count", true, 0 }, { "COST $", "cost", true, 0 } };
	bool dry = json_get(reply, "dry_run").type == JSON_TRUE;

	table_print(reply, columns, sizeof columns / sizeof columns[0]);
	printf("%lld token%s %s%s\n", number_at(reply, "deleted_count"),
		number_at(reply, "deleted_count") == 1 ? "" : "s",
		dry ? "would be deleted; --no-dry-run deletes them" : "deleted",
		dry && json_get(reply, "more").type == JSON_TRUE ? " and more" : "");
}

bool
tokens_more(struct span reply)
{
	return json_get(reply, "more").type == JSON_TRUE &&
	       json_get(reply, "dry_run").type == JSON_FALSE;
}

bool
tokens_deletes(const char *action, struct span body)
{
	return strcmp(action, "cleanup") == 0 && json_get(body, "dry_run").type == JSON_FALSE;
}

/* ---- import ---- */

static bool
print_note(void *ctx, const struct json_member *m)
{
	char text[300];
	bool *first = ctx;

	if (json_string(m->value, text, sizeof text) >= 0)
		printf("%s%s", *first ? "" : ", ", text);
	*first = false;
	return true;
}

/* Only rows that somebody should look at. */
static bool
print_row(void *ctx, const struct json_member *m)
{
	struct span row = m->value.raw;
	struct json_value notes = json_get(row, "not_carried");
	char name[256], why[300];
	bool first = true;

	(void)ctx;
	text_at(row, "name", name, sizeof name);
	text_at(row, "refused", why, sizeof why);
	if (why[0] != '\0')
		printf("row %lld '%s': not taken: %s\n", number_at(row, "row"), name, why);
	if (why[0] != '\0' || notes.type != JSON_ARRAY || notes.raw.len <= 2)
		return true;
	printf("row %lld '%s': not carried over: ", number_at(row, "row"), name);
	(void)json_each_element(notes.raw, print_note, &first, NULL);
	putchar('\n');
	return true;
}

static void
print_import(struct span report)
{
	struct json_value rows = json_get(report, "data"), made = json_get(report, "projects_made");

	if (rows.type == JSON_ARRAY)
		(void)json_each_element(rows.raw, print_row, NULL, NULL);
	if (made.type == JSON_ARRAY && made.raw.len > 2) {
		bool first = true;

		fputs("projects made: ", stdout);
		(void)json_each_element(made.raw, print_note, &first, NULL);
		putchar('\n');
	}
	printf("%lld of %lld tokens %s, with %lld limits; %lld were here already, %lld not taken\n",
		number_at(report, "imported"), number_at(report, "read"),
		json_get(report, "dry_run").type == JSON_TRUE ? "would be imported" : "imported",
		number_at(report, "limits"), number_at(report, "skipped"),
		number_at(report, "refused"));
}

int
token_import_main(const char *file, struct span options, bool json)
{
	struct bytes text = BYTES_LIMIT(IMPORT_BYTES), report = BYTES_LIMIT(IMPORT_BYTES);
	char from[64], project[256];
	struct manage_token_import how = { .from = from };
	struct err err = { 0 };
	struct state s;
	int rc;

	text_at(options, "from", from, sizeof from);
	text_at(options, "project_id", project, sizeof project);
	how.project = project[0] != '\0' ? project : NULL;
	how.dry_run = json_get(options, "dry_run").type == JSON_TRUE;
	if (from[0] == '\0')
		return complain(EXIT_USAGE,
			"token import: --from which gateway? litellm, new-api or llm-proxy");
	if ((rc = words_file(file != NULL ? file : "-", &text)) != EXIT_DONE)
		goto out;
	if (state_open(&s, false) != 0) {
		rc = EXIT_FAILED;
		goto out;
	}
	how.actor = s.actor;
	if (manage_import_tokens(s.manage, bytes_span(&text), &how, &report, &err) != 0)
		rc = complain(err.code == ERR_BAD_REQUEST || err.code == ERR_NOT_FOUND
				      ? EXIT_REFUSED
				      : EXIT_FAILED,
			"token import: %s", err.text);
	else if (json_get(bytes_span(&report), "refused").type == JSON_NUMBER &&
		 number_at(bytes_span(&report), "refused") > 0)
		rc = EXIT_REFUSED;
	state_close(&s);
	if (err.code == ERR_NONE && json)
		printf("%.*s\n", (int)report.len, report.at);
	else if (err.code == ERR_NONE)
		print_import(bytes_span(&report));
out:
	if (text.at != NULL)
		explicit_bzero(text.at, text.len);
	bytes_free(&text);
	bytes_free(&report);
	return rc;
}
