/* explain.c - explain: why a request went where it went. */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64 * 1024)

static void
print_text(const void *ctx, struct span reply)
{
	char *text = malloc(TEXT_MAX);

	(void)ctx;
	if (text != NULL && json_string(json_get(reply, "text"), text, TEXT_MAX) >= 0)
		for (const char *p = text; *p != '\0';
			p++) /* names may hold what a terminal obeys */
			if (*p == '\n' || ((unsigned char)*p >= ' ' && *p != 0x7f))
				putchar(*p);
	free(text);
}

/* Those that can be explained are, and the first that cannot decides what is returned. */
int
explain_main(int argc, char **argv)
{
	static const char usage[] = "usage: sluice explain ID... [--json] [--config FILE]";
	struct state s;
	char path[PLAIN_ID_MAX + 64];
	bool json = false;
	int rc = EXIT_DONE, count = 0, one;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			setenv("SLUICE_CONFIG", argv[++i], 1);
		else if (strcmp(argv[i], "--help") == 0)
			return puts(usage) < 0 ? EXIT_FAILED : EXIT_DONE;
		else if (argv[i][0] == '-')
			return complain(EXIT_USAGE, "%s", usage);
		else if (!is_plain_id(argv[i]))
			return complain(EXIT_USAGE, "explain: '%s' is no id of a request", argv[i]);
		else
			argv[count++] = argv[i]; /* the ids in front */
	}
	if (count == 0)
		return complain(EXIT_USAGE, "%s", usage);
	if (state_open(&s, false) != 0)
		return EXIT_FAILED;
	for (int i = 0; i < count; i++) {
		if (i > 0 && !json)
			putchar('\n');
		snprintf(path, sizeof path, "/manage/requests/%s/explain", argv[i]);
		one = state_tell(&s, "GET", path, SPAN_NONE, json, print_text, NULL);
		rc = rc == EXIT_DONE ? one : rc;
	}
	state_close(&s);
	return rc;
}
