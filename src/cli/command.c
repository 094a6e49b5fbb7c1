/*
 * command.c - the verbs, and how a person is spoken to.
 */
#include "cli/cli.h"
#include "cli/cli-int.h"

#include "base/process.h"
#include "cli/mock.h"
#include "cli/serve.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
complain(enum exit_code code, const char *fmt, ...)
{
	va_list ap;

	fputs("sluice: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return (int)code;
}

bool
confirm(bool yes, const char *fmt, ...)
{
	char answer[16];
	va_list ap;

	if (yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		complain(EXIT_USAGE, "this takes something away; say --yes to mean it");
		return false;
	}
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" [y/N] ", stderr);
	return fgets(answer, sizeof answer, stdin) != NULL &&
	       (answer[0] == 'y' || answer[0] == 'Y');
}

static int
version_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("sluice %s\n", SLUICE_VERSION);
	return EXIT_DONE;
}

static int
config_main(int argc, char **argv)
{
	struct conf *conf = calloc(1, sizeof *conf);
	const char *file = NULL;
	struct err err = { 0 };
	bool json = false, manual = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--manual") == 0)
			manual = true;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			file = argv[++i];
		else {
			free(conf);
			return complain(
				EXIT_USAGE, "usage: sluice config [--json] [--config FILE]");
		}
	}
	if (manual) { /* the options of sluice.conf(5), for make */
		conf_manual(stdout);
	} else if (conf == NULL || conf_load(conf, file, &err) != 0) {
		free(conf);
		return complain(EXIT_FAILED, "config: %s", err.text);
	} else {
		conf_dump(stdout, conf, json);
	}
	free(conf);
	return EXIT_DONE;
}

static int help_main(int argc, char **argv);

static const struct verb verbs[] = {
	{ "init", "make a store, a master key and a management token", init_main },
	{ "serve", "open both sockets and keep a pool of workers alive", serve_main },
	{ "project", "add, list, show, set, activate, deactivate", records_main },
	{ "token", "add, list, show, set, rotate, revoke, activate, mint, import, …",
		records_main },
	{ "upstream", "add, list, show, set, models, refresh, health, breaker, history, delete",
		records_main },
	{ "key", "add, list, show, set, test, retry, rotate, disable, revoke, history, import, …",
		records_main },
	{ "route", "add, list, show, set, remove: which upstreams a model goes to", records_main },
	{ "policy", "add, list, show, set, try, remove: rules over many routes", records_main },
	{ "limit", "add, list, show, set, reset, grant, delete", records_main },
	{ "grant", "list, show, delete: what comes on top of limits", records_main },
	{ "price", "add, list, show, set, delete, import", records_main },
	{ "reprice", "compute booked costs again, by the prices of their time", reprice_main },
	{ "reconcile", "compare a provider's bill with what was booked", reconcile_main },
	{ "requests", "the newest requests, and why they failed", requests_main },
	{ "explain", "why a request went where it went, from its record", explain_main },
	{ "quote", "what would become of a request, and what it would cost", quote_main },
	{ "usage", "sums by project, token, model, upstream or key", usage_main },
	{ "audit", "who changed what, and what it was before", audit_main },
	{ "changes", "those that changed records, newest first", changes_main },
	{ "undo", "take one of them back", undo_main },
	{ "inflight", "what runs now; inflight cut ID ends one", inflight_main },
	{ "backup", "one file of everything, while it runs", care_main },
	{ "restore", "bring a backup back, with sluice stopped", care_main },
	{ "verify", "is the store, or a backup, whole?", care_main },
	{ "dump", "everything as text, one JSON object a line", care_main },
	{ "load", "fill a new store from a dump", care_main },
	{ "check", "is this installation right?", check_main },
	{ "config", "the settings in force, and where they come from", config_main },
	{ "convert", "run one converter on standard input", convert_main },
	{ "mock", "a provider to try things with", mock_main },
	{ "version", "the version", version_main },
	{ "help", "this", help_main },
};
#define VERB_COUNT (sizeof verbs / sizeof verbs[0])

static int
help_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	puts("usage: sluice VERB ...\n");
	for (size_t i = 0; i < VERB_COUNT; i++)
		printf("  %-10s %s\n", verbs[i].name, verbs[i].help);
	puts("\nMost verbs take --json and --config FILE; `sluice KIND ACTION --help` lists "
	     "options.\n"
	     "The manual: sluice(8), sluice.conf(5).");
	return EXIT_DONE;
}

int
cli_main(int argc, char **argv)
{
	if (argc < 2) {
		help_main(argc, argv);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help_main(argc, argv);
	if (strcmp(argv[1], "--version") == 0)
		return version_main(argc, argv);
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strcmp(argv[1], verbs[i].name) == 0) {
			if (verbs[i].run != mock_main)
				process_keep_secrets();
			return verbs[i].run(argc - 1, argv + 1);
		}
	return complain(EXIT_USAGE, "there is no verb '%s'; `sluice help` lists them", argv[1]);
}
