/* explain.c - explain: why a request went where it went. */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64 * 1024)

static void
print_text(struct span reply)
{
	char *text = malloc(TEXT_MAX);

	if (text != NULL && json_string(json_get(reply, "text"), text, TEXT_MAX) >= 0)
		for (const char *p = text; *p != '\0';
			p++) /* names may hold what a terminal obeys */
			if (*p == '\n' || ((unsigned char)*p >= ' ' && *p != 0x7f))
				putchar(*p);
	free(text);
}

int
explain_main(int argc, char **argv)
{
	static const char usage[] = "usage: sluice explain ID [--json] [--config FILE]";
	const char *id = NULL;
	char path[128];
	struct manage_reply reply;
	struct state s;
	bool json = false;
	int rc;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			setenv("SLUICE_CONFIG", argv[++i], 1);
		else if (strcmp(argv[i], "--help") == 0)
			return puts(usage) < 0 ? EXIT_FAILED : EXIT_DONE;
		else if (id == NULL && argv[i][0] != '-')
			id = argv[i];
		else
			return complain(EXIT_USAGE, "%s", usage);
	}
	if (id == NULL)
		return complain(EXIT_USAGE, "%s", usage);
	if (strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
			strlen(id) ||
		snprintf(path, sizeof path, "/manage/requests/%s/explain", id) >= (int)sizeof path)
		return complain(EXIT_USAGE, "explain: '%s' is no id of a request", id);
	if (state_open(&s, false) != 0)
		return EXIT_FAILED;
	rc = state_call(&s, "GET", path, SPAN_NONE, &reply) < 300 ? EXIT_DONE
								  : state_refused(&reply);
	if (rc == EXIT_DONE && json)
		printf("%.*s\n", (int)reply.body.len, reply.body.at);
	else if (rc == EXIT_DONE)
		print_text(bytes_span(&reply.body));
	bytes_free(&reply.body);
	state_close(&s);
	return rc;
}
