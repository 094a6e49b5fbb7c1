/* care.c - backup, restore, verify, dump, load: the store as a whole. */
#include "cli/cli-int.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/care.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct caring {
	const char *verb, *file;
	bool json, with_key, rebuild, last;
	enum dump_secrets secrets;
	struct care care;
	struct care_report report;
	struct bytes problems; /* a JSON list without its brackets */
	bool progress_shown;
};

#define PROBLEMS_BYTES (64 << 10)

/* ---- speaking ---- */

static void
clear_progress(struct caring *c)
{
	if (c->progress_shown)
		fputs("\r\033[K", stderr);
	c->progress_shown = false;
}

static void
on_progress(void *ctx, const char *what, int64_t done, int64_t total)
{
	struct caring *c = ctx;

	if (total > 0)
		fprintf(stderr, "\r\033[K%s %d %%", what,
			(int)(done >= total ? 100 : done * 100 / total));
	else
		fprintf(stderr, "\r\033[K%s %" PRId64, what, done);
	fflush(stderr);
	c->progress_shown = true;
}

static void
on_problem(void *ctx, const char *text)
{
	struct caring *c = ctx;

	if (c->json) {
		if (c->problems.len > 0)
			bytes_puts(&c->problems, ",");
		bytes_json(&c->problems, span_of(text));
		return;
	}
	clear_progress(c);
	fprintf(stderr, "  %s\n", text);
}

static void
say_json(const struct caring *c, bool ok)
{
	struct bytes b = BYTES_LIMIT(PROBLEMS_BYTES + 8192);
	char made[CLOCK_TEXT_BYTES];

	bytes_printf(&b, "{\"ok\":%s", ok ? "true" : "false");
	if (c->file != NULL) {
		bytes_puts(&b, ",\"file\":");
		bytes_json(&b, span_of(c->file));
	}
	if (c->report.made_ms != 0) {
		clock_rfc3339(c->report.made_ms, made);
		bytes_printf(&b, ",\"made_at\":\"%s\"", made);
	}
	if (c->report.bytes != 0)
		bytes_printf(&b, ",\"bytes\":%" PRId64, c->report.bytes);
	bytes_puts(&b, ",\"records\":{");
	for (int kind = 0; kind < RECORD__COUNT; kind++)
		bytes_printf(&b, "%s\"%s\":%" PRId64, kind == 0 ? "" : ",",
			record_plural((enum record_kind)kind), c->report.records[kind]);
	bytes_printf(&b,
		"},\"values\":%" PRId64 ",\"audit\":%" PRId64 ",\"rows\":%" PRId64
		",\"has_master_key\":%s",
		c->report.values, c->report.audit, c->report.rows,
		c->report.has_key ? "true" : "false");
	if (c->report.aside[0] != '\0') {
		bytes_puts(&b, ",\"before\":");
		bytes_json(&b, span_of(c->report.aside));
	}
	bytes_puts(&b, ",\"problems\":[");
	bytes_add(&b, c->problems.at, c->problems.len);
	bytes_puts(&b, "]}");
	puts(b.at == NULL ? "{}" : b.at);
	bytes_free(&b);
}

static void
say(const struct caring *c)
{
	const struct care_report *r = &c->report;
	int64_t records = 0;

	for (int kind = 0; kind < RECORD__COUNT; kind++)
		records += r->records[kind];
	if (r->made_ms != 0 && strcmp(c->verb, "backup") != 0) {
		char made[CLOCK_TEXT_BYTES];

		clock_rfc3339(r->made_ms, made);
		printf("made      %s\n", made);
	}
	printf("holds     %" PRId64 " records, %" PRId64 " rows of usage\n", records, r->rows);
	if (r->bytes != 0)
		printf("bytes     %" PRId64 "\n", r->bytes);
	if (r->aside[0] != '\0')
		printf("before    %s   (remove it when all is well)\n", r->aside);
}

/* What went wrong, in the words of this verb. */
static int
failed(struct caring *c, const struct err *err)
{
	bool refused = err->code == ERR_CONFLICT;

	clear_progress(c);
	if (c->json)
		say_json(c, false);
	return complain(refused ? EXIT_REFUSED : EXIT_FAILED, "%s: %s", c->verb, err->text);
}

/* ---- with the store as it runs ---- */

static void
note_in_audit(struct state *s, const char *action)
{
	struct store_change change = { s->actor, action, "", ID_NONE };
	struct err err = { 0 };

	if (store_audit_add(s->store, &change, "", &err) != 0)
		complain(EXIT_DONE, "no audit entry of it: %s", err.text);
}

static int
backup(struct caring *c)
{
	struct err err = { 0 };
	struct state s;
	int rc;

	if (state_open(&s, false) != 0)
		return EXIT_FAILED;
	rc = store_backup(s.store, c->file, c->with_key ? s.conf.master_key_file : NULL, &c->care,
		&c->report, &err);
	if (rc == 0)
		note_in_audit(&s, c->with_key ? "store.backup_with_key" : "store.backup");
	state_close(&s);
	if (rc != 0)
		return failed(c, &err);
	clear_progress(c);
	if (c->json) {
		say_json(c, true);
		return EXIT_DONE;
	}
	printf("backup    %s   (checked)\n", c->file);
	say(c);
	puts(c->with_key ? "key       the master key is in it: whoever has this file can read the "
			   "provider keys"
			 : "key       the master key is NOT in it: keep a copy of it elsewhere, or "
			   "use "
			   "--with-key");
	return EXIT_DONE;
}

static int
verify(struct caring *c)
{
	struct err err = { 0 };
	struct state s;
	int rc;

	if (c->file != NULL) {
		log_open(NULL, "sluice", LOG_ERROR, NULL);
		rc = store_verify_backup(c->file, getenv("TMPDIR"), &c->care, &c->report, &err);
	} else {
		if (state_open(&s, false) != 0)
			return EXIT_FAILED;
		rc = store_verify(s.store, &c->care, &c->report, &err);
		state_close(&s);
	}
	if (rc != 0)
		return failed(c, &err);
	clear_progress(c);
	if (c->json)
		say_json(c, c->report.problems == 0);
	else
		say(c);
	if (c->report.problems > 0)
		return complain(EXIT_FAILED, "verify: %" PRId64 " problems; %s", c->report.problems,
			c->file != NULL ? "take another backup"
					: "`sluice restore` brings back a sound backup");
	if (!c->json)
		puts(c->report.sums_checked
				? "sound     indexes, rows, sums and pages agree"
				: "sound     indexes, rows and pages agree; too few rows "
				  "are left to compare the sums with");
	return EXIT_DONE;
}

static FILE *
open_dump(const char *file)
{
	int fd;

	if (file == NULL || strcmp(file, "-") == 0)
		return stdout;
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return fd < 0 ? NULL : fdopen(fd, "w");
}

static int
read_passphrase(struct caring *c, char *out, size_t room)
{
	struct err err = { 0 };
	int found = conf_secret("dump_passphrase", out, room, &err);

	if (found < 0)
		return complain(EXIT_USAGE, "%s: %s", c->verb, err.text);
	if (found == 0 && c->secrets == DUMP_PASSPHRASE)
		return complain(EXIT_USAGE,
			"%s: set SLUICE_DUMP_PASSPHRASE, or SLUICE_DUMP_PASSPHRASE_FILE, to the "
			"passphrase",
			c->verb);
	return EXIT_DONE;
}

static int
dump(struct caring *c)
{
	char passphrase[512] = "";
	struct dump_options o = { c->secrets, passphrase };
	struct err err = { 0 };
	struct state s;
	FILE *out;
	int rc = read_passphrase(c, passphrase, sizeof passphrase);

	if (rc != EXIT_DONE || state_open(&s, false) != 0)
		return rc != EXIT_DONE ? rc : EXIT_FAILED;
	/* before, so that it is in the dump itself */
	if (c->secrets != DUMP_NO_SECRETS)
		note_in_audit(&s, "store.dump_with_secrets");
	if ((out = open_dump(c->file)) == NULL) {
		rc = err_set(&err, ERR_STORE_UNAVAILABLE, "%s: %s", c->file, strerror(errno));
	} else {
		rc = store_dump(s.store, out, &o, &c->care, &c->report, &err);
		if (out != stdout && fclose(out) != 0 && rc == 0)
			rc = err_set(
				&err, ERR_STORE_UNAVAILABLE, "%s: %s", c->file, strerror(errno));
	}
	explicit_bzero(passphrase, sizeof passphrase);
	state_close(&s);
	if (rc != 0)
		return failed(c, &err);
	clear_progress(c);
	if (out != stdout) {
		if (c->json)
			say_json(c, true);
		else
			say(c);
	}
	return EXIT_DONE;
}

static int
load(struct caring *c)
{
	char passphrase[512] = "";
	struct dump_options o = { DUMP_NO_SECRETS, passphrase };
	struct err err = { 0 };
	struct state s;
	FILE *in;
	int rc = read_passphrase(c, passphrase, sizeof passphrase);

	if (rc != EXIT_DONE)
		return rc;
	in = strcmp(c->file, "-") == 0 ? stdin : fopen(c->file, "re");
	if (in == NULL)
		return complain(EXIT_FAILED, "load: %s: %s", c->file, strerror(errno));
	/* As init does, but for all that init puts in. */
	if (state_open(&s, true) != 0) {
		if (in != stdin)
			fclose(in);
		return EXIT_FAILED;
	}
	rc = store_load(s.store, in, &o, &c->care, &c->report, &err);
	if (in != stdin)
		fclose(in);
	explicit_bzero(passphrase, sizeof passphrase);
	state_close(&s);
	if (rc != 0)
		return failed(c, &err);
	clear_progress(c);
	if (c->json)
		say_json(c, true);
	else
		say(c);
	return EXIT_DONE;
}

/* ---- with nobody in it ---- */

static int
is_backup(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return len > 4 && strncmp(e->d_name, "sluice-", 7) == 0 &&
	       strcmp(e->d_name + len - 4, ".tar") == 0;
}

/* The newest of those in backups/ that is sound: their names tell when they were made. */
static int
restore_last(struct caring *c, const struct store_options *o, struct err *err)
{
	static char file[4096];
	char dir[3500];
	struct dirent **list = NULL;
	int count, rc = -1;

	snprintf(dir, sizeof dir, "%.3400s/backups", o->dir);
	count = scandir(dir, &list, is_backup, alphasort);
	if (count <= 0)
		err_set(err, ERR_NOT_FOUND, "%.200s holds no backup", dir);
	for (int i = count - 1; i >= 0 && rc != 0; i--) {
		snprintf(file, sizeof file, "%s/%.255s", dir, list[i]->d_name);
		c->file = file;
		rc = store_restore(o, file, &c->care, &c->report, err);
		if (rc != 0 && err->code == ERR_CONFLICT)
			break; /* others are at work: the next one is refused as well */
		if (rc != 0)
			complain(EXIT_FAILED, "restore: %s", err->text);
	}
	for (int i = 0; i < count; i++)
		free(list[i]);
	free(list);
	return rc;
}

static int
restore(struct caring *c)
{
	struct conf *conf = calloc(1, sizeof *conf);
	struct store_options o = { 0 };
	struct err err = { 0 };
	struct state s;
	int rc;

	if (conf == NULL || conf_load(conf, NULL, &err) != 0) {
		free(conf);
		return complain(EXIT_FAILED, "restore: %s", err.text);
	}
	log_open(NULL, "sluice", LOG_WARN, NULL);
	log_unbuffered();
	o.dir = conf->state_dir;
	o.master_key_file = conf->master_key_file;
	o.cache_bytes = conf->cache_bytes;
	if (c->rebuild)
		rc = store_rebuild(&o, &c->care, &c->report, &err);
	else if (c->last)
		rc = restore_last(c, &o, &err);
	else
		rc = store_restore(&o, c->file, &c->care, &c->report, &err);
	free(conf);
	if (rc != 0)
		return failed(c, &err);
	clear_progress(c);
	/* it opens, and says who did it */
	if (state_open(&s, false) != 0)
		return EXIT_FAILED;
	note_in_audit(&s, c->rebuild ? "store.rebuild" : "store.restore");
	state_close(&s);
	if (c->json) {
		say_json(c, true);
	} else {
		if (c->file != NULL)
			printf("restored  %s\n", c->file);
		say(c);
	}
	return EXIT_DONE;
}

/* ---- the verbs ---- */

static const struct {
	const char *verb, *usage;
	int (*run)(struct caring *c);
	bool wants_file; /* without one it is wrong usage, unless rebuild */
} verbs[] = {
	{ "backup", "usage: sluice backup FILE [--with-key] [--json] [--config FILE]", backup,
		true },
	{ "restore", "usage: sluice restore FILE | --last | --rebuild [--json] [--config FILE]",
		restore, true },
	{ "verify", "usage: sluice verify [FILE] [--json] [--config FILE]", verify, false },
	{ "dump",
		"usage: sluice dump [FILE] [--secrets sealed|passphrase] [--json] [--config FILE]",
		dump, false },
	{ "load", "usage: sluice load FILE [--json] [--config FILE]", load, true },
};
#define VERBS (sizeof verbs / sizeof verbs[0])

/* 0, or -1 where it is wrong usage. */
static int
read_options(struct caring *c, int argc, char **argv)
{
	bool is_backup = strcmp(c->verb, "backup") == 0, is_dump = strcmp(c->verb, "dump") == 0;

	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;

		if (strcmp(argv[i], "--json") == 0) {
			c->json = true;
		} else if (strcmp(argv[i], "--config") == 0 && more) {
			setenv("SLUICE_CONFIG", argv[++i], 1);
		} else if (is_backup && strcmp(argv[i], "--with-key") == 0) {
			c->with_key = true;
		} else if (strcmp(c->verb, "restore") == 0 && strcmp(argv[i], "--rebuild") == 0) {
			c->rebuild = true;
		} else if (strcmp(c->verb, "restore") == 0 && strcmp(argv[i], "--last") == 0) {
			c->last = true;
		} else if (is_dump && strcmp(argv[i], "--secrets") == 0 && more) {
			if (strcmp(argv[++i], "sealed") == 0)
				c->secrets = DUMP_SEALED;
			else if (strcmp(argv[i], "passphrase") == 0)
				c->secrets = DUMP_PASSPHRASE;
			else
				return -1;
		} else if ((argv[i][0] != '-' || argv[i][1] == '\0') && c->file == NULL) {
			c->file = argv[i];
		} else {
			return -1;
		}
	}
	return c->rebuild + c->last + (c->file != NULL) > 1 ? -1 : 0;
}

int
care_main(int argc, char **argv)
{
	struct caring c = { .verb = argv[0],
		.problems = BYTES_LIMIT(PROBLEMS_BYTES),
		.care = { .problem = on_problem } };
	size_t v = 0;
	int rc;

	while (v < VERBS - 1 && strcmp(verbs[v].verb, argv[0]) != 0)
		v++;
	c.care.ctx = &c;
	if (read_options(&c, argc, argv) != 0 ||
		(verbs[v].wants_file && c.file == NULL && !c.rebuild && !c.last))
		return complain(EXIT_USAGE, "%s", verbs[v].usage);
	if (isatty(STDERR_FILENO) && !c.json)
		c.care.progress = on_progress;
	rc = verbs[v].run(&c);
	bytes_free(&c.problems);
	return rc;
}
