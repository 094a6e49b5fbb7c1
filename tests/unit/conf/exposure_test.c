/* exposure_test.c - whether the web server could hand out the state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/conf.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], state_dir[128];
static struct conf conf;

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* root/site/state, its key elsewhere. */
static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char site[128];

	(void)state;
	(void)snprintf(root, sizeof root, "%.40s/root.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(root) == NULL)
		return -1;
	(void)snprintf(site, sizeof site, "%s/site", root);
	(void)snprintf(state_dir, sizeof state_dir, "%s/site/state", root);
	conf_defaults(&conf);
	(void)snprintf(conf.state_dir, sizeof conf.state_dir, "%s", state_dir);
	(void)snprintf(conf.master_key_file, sizeof conf.master_key_file, "/dev/null");
	return mkdir(site, 0700) == 0 && mkdir(state_dir, 0700) == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
write_file(const char *folder, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	assert_non_null(f = fopen(path, "we"));
	assert_true(fputs(text, f) >= 0);
	(void)fclose(f);
}

static void
what_lies_in_a_folder_is_seen_through_links(void **state)
{
	char rest[CONF_PATH_BYTES], link[200], sibling[128];

	(void)state;
	assert_true(conf_is_below(root, state_dir, rest));
	assert_string_equal(rest, "/site/state");
	assert_true(conf_is_below(state_dir, state_dir, rest));
	assert_string_equal(rest, "");
	assert_true(conf_is_below("/", state_dir, rest));
	assert_false(conf_is_below(state_dir, root, rest));
	assert_false(conf_is_below("", state_dir, rest));
	assert_false(conf_is_below("/nowhere", state_dir, rest));
	(void)snprintf(sibling, sizeof sibling, "%s/sit", root); /* no folder above site */
	assert_int_equal(mkdir(sibling, 0700), 0);
	assert_false(conf_is_below(sibling, state_dir, rest));
	(void)snprintf(link, sizeof link, "%s/link", sibling);
	assert_int_equal(symlink(root, link), 0);
	assert_true(conf_is_below(link, state_dir, rest));
}

static void
only_a_refusal_of_everything_counts(void **state)
{
	static const struct {
		const char *text;
		bool denied;
	} cases[] = {
		{ "Require all denied\n", true },
		{ "  deny from all\r\n", true },
		{ "Require all granted\n", false },
		{ "# Require all denied\n", false },
		{ "<Files \"*.conf\">\nRequire all denied\n</Files>\n", false },
		{ "<FilesMatch x>\nRequire all denied\n</FilesMatch>\nDeny from all\n", true },
		{ "<IfModule mod_authz_core.c>\nRequire all denied\n</IfModule>\n", true },
		{ "", false },
	};

	(void)state;
	assert_false(conf_is_denied(root, state_dir));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		write_file(state_dir, ".htaccess", cases[i].text);
		if (conf_is_denied(root, state_dir) != cases[i].denied)
			fail_msg("'%s'", cases[i].text);
	}
	/* one above holds too, but none above the root */
	write_file(root, ".htaccess", "Require all denied\n");
	assert_true(conf_is_denied(root, state_dir));
	assert_false(conf_is_denied(state_dir, state_dir));
}

static void
a_state_in_the_web_root_is_exposed_unless_its_server_heeds_the_refusal(void **state)
{
	(void)state;
	assert_true(conf_is_exposed(&conf, root, "Apache/2.4"));
	assert_false(conf_is_exposed(&conf, "/usr", "nginx/1.22"));
	conf_deny(&conf);
	assert_false(conf_is_exposed(&conf, root, "Apache/2.4"));
	assert_false(conf_is_exposed(&conf, root, "LiteSpeed"));
	assert_true(conf_is_exposed(&conf, root, "nginx/1.22"));
	assert_true(conf_is_exposed(&conf, root, ""));
	write_file(state_dir, ".htaccess", "Require all granted\n");
	conf_deny(&conf); /* what is there stays */
	assert_true(conf_is_exposed(&conf, root, "Apache/2.4"));
	/* the key alone is enough */
	(void)snprintf(conf.state_dir, sizeof conf.state_dir, "/usr");
	(void)snprintf(conf.master_key_file, sizeof conf.master_key_file, "%s/key", root);
	write_file(root, "key", "x");
	assert_true(conf_is_exposed(&conf, root, "Apache/2.4"));
}

int
main(void)
{
#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_ROOT(what_lies_in_a_folder_is_seen_through_links),
		IN_ROOT(only_a_refusal_of_everything_counts),
		IN_ROOT(a_state_in_the_web_root_is_exposed_unless_its_server_heeds_the_refusal),
	};

	return cmocka_run_group_tests_name("conf/exposure", tests, NULL, NULL);
}
