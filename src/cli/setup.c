/*
 * setup.c - init: everything a new installation needs, each secret shown once.  What is there
 * already stays as it is, so running it again is safe.
 */
#include "cli/cli-int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct given {
	char password[512], token[512], master_key[512];
};

/* SLUICE_MASTER_KEY alone: SLUICE_MASTER_KEY_FILE is no file to copy from but the setting
 * master_key_file, the file itself. */
static int
read_master_key(struct given *g)
{
	const char *text = getenv("SLUICE_MASTER_KEY");

	if (text != NULL && !span_copy(span_of(text), g->master_key, sizeof g->master_key))
		return complain(EXIT_USAGE, "init: SLUICE_MASTER_KEY is too long");
	return EXIT_DONE;
}

static int
read_given(struct given *g)
{
	struct err err = { 0 };

	if (conf_secret("admin_password", g->password, sizeof g->password, &err) < 0 ||
		conf_secret("management_token", g->token, sizeof g->token, &err) < 0)
		return complain(EXIT_USAGE, "init: %s", err.text);
	return read_master_key(g);
}

static void
show(bool json, const struct manage_secrets *made, const struct conf *conf, size_t prices)
{
	if (json) {
		struct bytes b = BYTES_LIMIT(65536);

		bytes_puts(&b, "{\"state_dir\":");
		bytes_json(&b, span_of(conf->state_dir));
		if (made->token[0] != '\0') {
			bytes_puts(&b, ",\"management_token\":");
			bytes_json(&b, span_of(made->token));
		}
		if (made->setup_code[0] != '\0') {
			bytes_puts(&b, ",\"setup_code\":");
			bytes_json(&b, span_of(made->setup_code));
		}
		bytes_printf(&b, ",\"prices_changed\":%zu}", prices);
		puts(b.at);
		explicit_bzero(b.at, b.len);
		bytes_free(&b);
		return;
	}
	printf("state             %s\nmaster key        %s   (keep a copy elsewhere)\n",
		conf->state_dir, conf->master_key_file);
	if (made->token[0] != '\0')
		printf("management token  %s   (shown this once)\n", made->token);
	if (made->took_password)
		puts("admin password    as given");
	if (made->setup_code[0] != '\0')
		printf("setup code        %s   (for the first sign-in on the page)\n",
			made->setup_code);
	if (made->token[0] == '\0' && made->setup_code[0] == '\0' && !made->took_password)
		puts("nothing was missing");
}

int
init_main(int argc, char **argv)
{
	static struct given given;
	struct manage_secrets made = { .given_token = given.token,
		.given_password = given.password };
	struct conf *conf = calloc(1, sizeof *conf);
	struct err err = { 0 };
	struct state s;
	bool json = false;
	size_t prices = 0, upstreams = 0;
	mode_t mask;
	int rc, found;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			setenv("SLUICE_CONFIG", argv[++i], 1);
		else {
			free(conf);
			return complain(EXIT_USAGE, "usage: sluice init [--json] [--config FILE]");
		}
	}
	if ((rc = read_given(&given)) != EXIT_DONE) {
		free(conf);
		return rc;
	}
	if (conf == NULL || conf_load(conf, NULL, &err) != 0) {
		free(conf);
		return complain(EXIT_FAILED, "init: %s", err.text);
	}
	mask = umask(007);
	if (mkdir(conf->state_dir, 0770) == 0)
		chmod(conf->state_dir, 02770); /* mkdir() leaves the set-gid bit away */
	else if (errno != EEXIST)
		rc = complain(EXIT_FAILED, "init: the folder %s cannot be made: %s",
			conf->state_dir, strerror(errno));
	if (rc == EXIT_DONE &&
		manage_make_master_key(conf->master_key_file, given.master_key, &err) < 0)
		rc = complain(EXIT_FAILED, "init: %s", err.text);
	umask(mask);
	if (rc == EXIT_DONE)
		conf_deny(conf);
	free(conf);
	if (rc != EXIT_DONE)
		return rc;
	if (state_open(&s, true) != 0)
		return EXIT_FAILED;
	if (manage_init_secrets(s.manage, &made, &err) != 0)
		rc = complain(EXIT_FAILED, "init: %s", err.text);
	else if (s.conf.upstreams[0] != '\0' &&
		 manage_import_upstreams(
			 s.manage, span_of(s.conf.upstreams), s.actor, &upstreams, &err) != 0)
		rc = complain(EXIT_FAILED, "init: %s", err.text);
	else if ((found = manage_import_price_list(s.manage, &s.conf, s.actor, &prices, &err)) < 0)
		rc = complain(EXIT_FAILED, "init: prices.json: %s", err.text);
	else if (found == 0)
		complain(EXIT_DONE, "init: no prices.json found; costs are unknown until "
				    "`sluice price import FILE`");
	if (rc == EXIT_DONE)
		show(json, &made, &s.conf, prices);
	explicit_bzero(&made, sizeof made);
	explicit_bzero(&given, sizeof given);
	state_close(&s);
	return rc;
}
