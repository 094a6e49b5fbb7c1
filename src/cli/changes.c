/* changes.c - undo: takes one change back, after it was shown. */
#include "cli/cli-int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
print_record(void *ctx, const struct json_member *m)
{
	struct span r = m->value.raw;
	char id[64] = "", did[32] = "";

	(void)ctx;
	(void)json_string(json_get(r, "id"), id, sizeof id);
	(void)json_string(json_get(r, "did"), did, sizeof did);
	printf("%s %s: %.*s\n", id, did, (int)json_get(r, "fields").raw.len,
		json_get(r, "fields").raw.at);
	return true;
}

static void
print_undone(const void *ctx, struct span reply)
{
	char secrets[256];

	(void)ctx;
	(void)json_each_element(json_get(reply, "records").raw, print_record, NULL, NULL);
	if (json_string(json_get(reply, "not_undone"), secrets, sizeof secrets) > 0)
		printf("not undone, as secrets are not kept: %s\n", secrets);
}

int
undo_main(int argc, char **argv)
{
	static const char usage[] = "usage: sluice undo CHANGE [--yes] [--json] [--config FILE]; "
				    "`sluice changes` lists them";
	const char *id = NULL;
	bool json = false, yes = false;
	char path[PLAIN_ID_MAX + 64];

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--yes") == 0)
			yes = true;
		else if (strcmp(argv[i], "--help") == 0)
			return puts(usage), EXIT_DONE;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			setenv("SLUICE_CONFIG", argv[++i], 1);
		else if (argv[i][0] != '-' && id == NULL)
			id = argv[i];
		else
			return complain(EXIT_USAGE, "%s", usage);
	}
	if (id == NULL)
		return complain(EXIT_USAGE, "%s", usage);
	if (!is_plain_id(id))
		return complain(EXIT_USAGE, "undo: '%s' is no id of a change", id);
	snprintf(path, sizeof path, "/manage/changes/%s/undo", id);
	if (!confirm(yes, "undo %s?", id))
		return EXIT_USAGE;
	return state_ask("POST", path, SPAN_NONE, json, print_undone, NULL);
}
