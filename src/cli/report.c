/* report.c - requests, usage, audit: what ran, what it cost, why it failed, who changed what. */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct column request_columns[] = { { "TIME", "time", false, 20 },
	{ "MODEL", "model", false, 28 }, { "UPSTREAM", "upstream", false, 16 },
	{ "STATUS", "status", true, 0 }, { "IN", "tokens.input", true, 0 },
	{ "CACHED", "tokens.cache_read", true, 0 }, { "OUT", "tokens.output", true, 0 },
	{ "COST $", "cost", true, 0 }, { "MS", "duration_ms", true, 0 },
	{ "ENDED", "ended_by", false, 0 }, { "WHY", "error", false, 60 } };
static const struct column running_columns[] = { { "ID", "id", false, 0 },
	{ "AGE MS", "age_ms", true, 0 }, { "PROJECT", "project", false, 20 },
	{ "MODEL", "model", false, 28 }, { "UPSTREAM", "upstream", false, 16 },
	{ "STATE", "state", false, 0 }, { "POS", "position", true, 0 },
	{ "BYTES", "bytes", true, 0 }, { "OUT", "output_tokens", true, 0 } };
static const struct column usage_columns[] = { { "FROM", "from", false, 17 },
	{ "WHAT", "label", false, 32 }, { "REQUESTS", "requests", true, 0 },
	{ "ERRORS", "errors", true, 0 }, { "IN", "tokens.input", true, 0 },
	{ "CACHED", "tokens.cache_read", true, 0 }, { "OUT", "tokens.output", true, 0 },
	{ "COST $", "cost", true, 0 }, { "UNPRICED", "unpriced", true, 0 } };

/* "--project-id" or "--project_id" is project_id; so is "--project", since names may be used. */
static bool
is_option(const char *word, const char *parameter)
{
	if (strncmp(word, "--", 2) != 0)
		return false;
	for (word += 2;
		*word != '\0' && (*word == *parameter || (*word == '-' && *parameter == '_'));
		word++)
		parameter++;
	return *word == '\0' && (*parameter == '\0' || strcmp(parameter, "_id") == 0);
}

static void
print_usage(FILE *out, const char *verb, const char *const *parameters)
{
	fprintf(out, "usage: sluice %s [--json]%s", verb,
		strcmp(verb, "requests") == 0 ? " [--failed]" : "");
	for (; *parameters != NULL; parameters++) {
		fputs(" [--", out);
		for (const char *p = *parameters; *p != '\0' && strcmp(p, "_id") != 0; p++)
			fputc(*p == '_' ? '-' : *p, out);
		fputs(" X]", out);
	}
	fputc('\n', out);
}

/* ---- the audit: an entry's line, and below it what changed; of changes the id in front ---- */

static void
print_plain(const char *before, struct span text, int width)
{
	printf("%s%-*.*s", before, width, (int)text.len, text.at);
}

static bool
print_field(void *ctx, const struct json_member *m)
{
	struct span change = m->value.raw;

	(void)ctx;
	print_plain("    ", member_text(change, "field"), 0);
	if (json_get(change, "record_id").type == JSON_STRING)
		print_plain(" of ", member_text(change, "record_id"), 0);
	if (json_get(change, "is_secret").type == JSON_TRUE) {
		puts(": changed");
		return true;
	}
	print_plain(": ", member_text(change, "before"), 0);
	print_plain(" -> ", member_text(change, "after"), 0);
	puts(json_get(change, "is_cut").type == JSON_TRUE ? " (cut)" : "");
	return true;
}

struct listing {
	bool with_id;
	int count;
};

static bool
print_entry(void *ctx, const struct json_member *m)
{
	struct span e = m->value.raw;

	struct listing *l = ctx;

	l->count++;
	if (l->with_id)
		print_plain("", member_text(e, "id"), 28);
	print_plain("", member_text(e, "time"), 24);
	print_plain("  ", member_text(e, "actor"), 16);
	print_plain("  ", member_text(e, "action"), 18);
	print_plain("  ", member_text(e, "object"), 0);
	puts("");
	(void)json_each_element(json_get(e, "changes").raw, print_field, NULL, NULL);
	if (json_get(e, "changes_cut").type == JSON_TRUE)
		puts("    and more");
	return true;
}

static void
print_audit(struct span json, bool with_id)
{
	struct listing l = { .with_id = with_id };

	(void)json_each_element(json_get(json, "data").raw, print_entry, &l, NULL);
	if (l.count == 0)
		puts("nothing yet");
	if (json_get(json, "next").type == JSON_STRING)
		puts("(there is more: --limit N)");
}

struct shown {
	const struct column *columns; /* NULL: the audit */
	size_t count;
	bool with_ids;
};

static void
show(const void *ctx, struct span reply)
{
	const struct shown *s = ctx;

	if (s->columns == NULL)
		print_audit(reply, s->with_ids);
	else
		table_print(reply, s->columns, s->count);
}

/* Options that are query parameters of the API, passed on as they stand.  columns NULL: the audit. */
static int
report(int argc, char **argv, const char *const *parameters, const struct column *columns,
	size_t count)
{
	char path[1024];
	size_t n = (size_t)snprintf(path, sizeof path, "/manage/%s?", argv[0]);
	struct shown shown = { columns, count, strcmp(argv[0], "changes") == 0 };
	bool json = false;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		size_t k = 0;

		if (strcmp(argv[i], "--json") == 0) {
			json = true;
			continue;
		}
		if (strcmp(argv[i], "--config") == 0 && value != NULL) {
			setenv("SLUICE_CONFIG", argv[++i], 1);
			continue;
		}
		if (strcmp(argv[i], "--failed") == 0 && strcmp(argv[0], "requests") == 0) {
			n += (size_t)snprintf(path + n, sizeof path - n, "failed=1&");
			continue;
		}
		if (strcmp(argv[i], "--help") == 0) {
			print_usage(stdout, argv[0], parameters);
			return EXIT_DONE;
		}
		while (parameters[k] != NULL && !is_option(argv[i], parameters[k]))
			k++;
		if (parameters[k] == NULL || value == NULL) {
			if (parameters[k] == NULL)
				complain(
					EXIT_USAGE, "%s: '%s' is not known here", argv[0], argv[i]);
			else
				complain(EXIT_USAGE, "%s: %s wants a value", argv[0], argv[i]);
			print_usage(stderr, argv[0], parameters);
			return EXIT_USAGE;
		}
		n += (size_t)snprintf(path + n, sizeof path - n, "%s=", parameters[k]);
		for (const char *p = value; *p != '\0' && n + 4 < sizeof path; p++)
			n += (size_t)snprintf(
				path + n, sizeof path - n, "%%%02X", (unsigned char)*p);
		n += (size_t)snprintf(path + n, sizeof path - n, "&");
		i++;
		if (n >= sizeof path - 64)
			return complain(EXIT_USAGE, "these are too many words");
	}
	path[n - 1] = '\0'; /* the last '&', or the '?' */
	return state_ask("GET", path, SPAN_NONE, json, show, &shown);
}

int
requests_main(int argc, char **argv)
{
	static const char *const parameters[] = { "limit", "cursor", "project_id", "token_id",
		"model", "status", NULL };

	return report(argc, argv, parameters, request_columns,
		sizeof request_columns / sizeof request_columns[0]);
}

int
usage_main(int argc, char **argv)
{
	static const char *const parameters[] = { "by", "step", "from", "to", NULL };

	return report(argc, argv, parameters, usage_columns,
		sizeof usage_columns / sizeof usage_columns[0]);
}

int
audit_main(int argc, char **argv)
{
	static const char *const parameters[] = { "limit", "cursor", "actor", "action", "object",
		NULL };

	return report(argc, argv, parameters, NULL, 0);
}

int
changes_main(int argc, char **argv)
{
	return audit_main(argc, argv); /* by the same options */
}

static int
cut(const char *id, bool json)
{
	char path[PLAIN_ID_MAX + 64];

	if (!is_plain_id(id))
		return complain(EXIT_USAGE, "inflight cut: '%s' is no id of a request", id);
	snprintf(path, sizeof path, "/manage/inflight/%s/cut", id);
	return state_ask("POST", path, SPAN_NONE, json, NULL, NULL);
}

int
inflight_main(int argc, char **argv)
{
	static const char *const parameters[] = { "limit", "project_id", "token_id", NULL };

	if (argc > 1 && strcmp(argv[1], "cut") == 0) {
		bool json = argc > 3 && strcmp(argv[3], "--json") == 0;

		if (argc == (json ? 4 : 3))
			return cut(argv[2], json);
		return complain(EXIT_USAGE, "usage: sluice inflight cut ID [--json]");
	}
	return report(argc, argv, parameters, running_columns,
		sizeof running_columns / sizeof running_columns[0]);
}
