/*
 * conf_test.c - settings come from where the header says, in that order, and a mistake is told with
 * its place and with what is allowed.
 */
#include "base/bytes.h"
#include "base/json.h"
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KB 1024LL
#define MB (1024 * KB)

extern char **environ;

static char dir[] = "/tmp/sluice-conf-XXXXXX";
static char path[64], beside[512];
static struct conf c, d;
static struct err err;

static void
write_bytes(const char *to, const void *data, size_t len)
{
	FILE *f = fopen(to, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void
write_text(const char *to, const char *text)
{
	write_bytes(to, text, strlen(text));
}

static int
make_dir(void **state)
{
	ssize_t n = readlink("/proc/self/exe", beside, sizeof beside - 16);

	(void)state;
	if (n < 0 || mkdtemp(dir) == NULL || chdir(dir) != 0)
		return -1;
	beside[n] = '\0';
	strcpy(strrchr(beside, '/') + 1, "sluice.conf");
	(void)snprintf(path, sizeof path, "%s/sluice.conf", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	(void)unlink(path);
	return chdir("/") == 0 ? rmdir(dir) : -1;
}

/* No file and none of our variables. */
static int
clean(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)clearenv();
	memset(&c, 0x55, sizeof c);
	memset(&err, 0, sizeof err);
	return 0;
}

static void
load(const char *text)
{
	write_text(path, text);
	if (conf_load(&c, path, &err) != 0)
		fail_msg("%s", err.text);
}

static void
defaults_are_as_promised(void **state)
{
	(void)state;
	assert_int_equal(setenv("SLUICE_CONFIG", "/dev/null", 1), 0); /* not /etc of this machine */
	assert_int_equal(conf_load(&c, NULL, &err), 0);
	assert_string_equal(c.state_dir, "/var/lib/sluice");
	assert_string_equal(c.master_key_file, "/var/lib/sluice/master.key");
	assert_string_equal(c.gateway_socket, "/var/lib/sluice/run/gateway.sock");
	assert_string_equal(c.manage_socket, "/var/lib/sluice/run/manage.sock");
	assert_string_equal(c.log_file, "");
	assert_string_equal(c.ca_file, "");
	assert_int_equal(c.log_level, LOG_INFO);
	assert_int_equal(c.workers, 0);
	assert_int_equal(c.manage_workers, 1);
	assert_int_equal(c.intake_threads_max, 256);
	assert_int_equal(c.exchanges_max, 0);
	assert_int_equal(c.brief, BRIEF_AUTO);
	assert_int_equal(c.body_limit_bytes, 32 * MB);
	assert_int_equal(c.upload_limit_bytes, 512 * MB);
	assert_int_equal(c.body_memory_bytes, 256 * MB);
	assert_int_equal(c.body_deadline_ms, 300000);
	assert_int_equal(c.body_min_rate_bytes, 0);
	assert_int_equal(c.connect_timeout_ms, 10000);
	assert_int_equal(c.first_byte_timeout_ms, 300000);
	assert_int_equal(c.idle_timeout_ms, 300000);
	assert_int_equal(c.total_timeout_ms, 3600000);
	assert_int_equal(c.first_heartbeat_ms, 0);
	assert_int_equal(c.heartbeat_ms, 10000);
	assert_int_equal(c.rest_default_ms, 10000);
	assert_int_equal(c.rest_max_ms, 3600000);
	assert_false(c.http2);
	assert_int_equal(c.default_max_output_tokens, 4096);
	assert_int_equal(c.media_fetch_bytes, 10 * MB);
	assert_int_equal(c.media_fetch_seconds, 10);
	assert_false(c.media_allow_private);
	assert_string_equal(c.proxy_prefix, "/proxy");
	assert_string_equal(c.cors_origins, "");
	assert_int_equal(c.cors_max_age_ms, 86400000);
	assert_false(c.trust_forwarded);
	assert_false(c.metrics_open);
	assert_string_equal(c.metrics_addresses, "");
	assert_int_equal(c.session_hours, 12);
	assert_int_equal(c.store_cap_bytes, 500 * MB);
	assert_int_equal(c.row_days, 0);
	assert_int_equal(c.cache_bytes, 8 * MB);
	assert_int_equal(c.vault_hours, 24);
	assert_int_equal(c.vault_cap_bytes, 32 * MB);
	assert_string_equal(c.upstreams, "");
	assert_true(conf_workers(&c) >= 1);

	conf_defaults(&d);
	memset(c.file, 0, sizeof c.file);
	assert_memory_equal(&c, &d, sizeof c);
}

static void
file_may_be_written_as_people_write(void **state)
{
	(void)state;
	load("\xEF\xBB\xBF# a comment\r\n"
	     "; another\r\n"
	     "[Where things are]\r\n"
	     "\r\n"
	     "  state_dir=/srv/sluice/  \r\n"
	     "workers = 3 # cores\r\n"
	     "log_file = \"/var/log/a # b.log\"  ; quoted\r\n"
	     "http2\t=\tYES\n"
	     "log_level = Warn\n"
	     "body_limit = 64 MB\n"
	     "cors_origins = https://a.example ,  http://b.example:8080\n"
	     "heartbeat = 1m30s"); /* no line end */
	assert_string_equal(c.state_dir, "/srv/sluice");
	assert_string_equal(c.master_key_file, "/srv/sluice/master.key");
	assert_int_equal(c.workers, 3);
	assert_int_equal(conf_workers(&c), 3);
	assert_string_equal(c.log_file, "/var/log/a # b.log");
	assert_true(c.http2);
	assert_int_equal(c.log_level, LOG_WARN);
	assert_int_equal(c.body_limit_bytes, 64 * MB);
	assert_string_equal(c.cors_origins, "https://a.example,http://b.example:8080");
	assert_int_equal(c.heartbeat_ms, 90000);
	assert_string_equal(c.file, path);
}

static void
mistakes_are_told_with_their_place(void **state)
{
	static const struct {
		const char *text, *tells; /* parts of the message, parted by | */
	} cases[] = {
		{ "\nworkers = abc", "sluice.conf:2: |workers: 'abc'|whole number from 0 to 256" },
		{ "workers = 257", "whole number from 0 to 256" },
		{ "workers = -1", "whole number" },
		{ "workers =", "workers: ''" },
		{ "workers = 1.5", "whole number" },
		{ "workers = 99999999999999999999999", "whole number" },
		{ "intake_threads_max = 3", "from 4 to" },
		{ "wrokers = 1", "wrokers is no setting; is workers meant?" },
		{ "Workers = 1", "is workers meant?" },
		{ "completely_else = 1", "completely_else is no setting (sluice config" },
		{ "workers", "sluice.conf:1: a line is 'name = value'" },
		{ "= 5", "no setting" },
		{ "workers = 1\n\nworkers = 2", ":3: workers: given twice, first in line 1" },
		{ "heartbeat = 30",
			"'30' is not a time with its unit (ms, s, m, h, d) from 0 to 1h" },
		{ "heartbeat = 2h", "from 0 to 1h" },
		{ "heartbeat = -1s", "a time" },
		{ "connect_timeout = 99ms", "from 100ms to 1h" },
		{ "body_limit = 5x", "k, m or g, from 1k to 4g" },
		{ "body_limit = 5g", "to 4g" },
		{ "body_limit = 99999999999g", "a size" },
		{ "body_limit = -1k", "a size" },
		{ "http2 = maybe", "yes or no" },
		{ "log_level = loud", "one of debug|info" },
		{ "brief = y", "one of auto|yes|no" },
		{ "proxy_prefix =", "a path such as /proxy" },
		{ "proxy_prefix = /", "a path such as /proxy" },
		{ "proxy_prefix = /a//b", "a path such as" },
		{ "proxy_prefix = /../x", "a path such as" },
		{ "proxy_prefix = /a?b", "a path such as" },
		{ "cors_origins = example.org", "origins such as" },
		{ "cors_origins = https://example.org/path", "origins such as" },
		{ "metrics_addresses = 10.0.0.0/33", "addresses or networks" },
		{ "metrics_addresses = 10.0.0", "addresses or networks" },
		{ "metrics_addresses = localhost", "addresses or networks" },
		{ "metrics_addresses = ::1/", "addresses or networks" },
		{ "log_file = \"/var/log", "quotes do not match" },
		{ "log_file = \"/a\" b", "quotes do not match" },
		{ "state_dir =", "state_dir: '' is not a path" },
		{ "state_dir = {state_dir}/x", "may not stand on itself" },
		{ "rest_default = 2h\nrest_max = 1h", "sluice.conf:1: rest_default|rest_max" },
		{ "total_timeout = 5s", "default: connect_timeout|total_timeout" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char tells[200];

		write_text(path, cases[i].text);
		if (conf_load(&c, path, &err) != -1)
			fail_msg("taken: %s", cases[i].text);
		(void)snprintf(tells, sizeof tells, "%s", cases[i].tells);
		/* "one of debug|info" holds the bar itself. */
		for (char *part = tells, *next; part != NULL; part = next) {
			next = strstr(part, "one of") == part ? NULL : strchr(part, '|');
			if (next != NULL)
				*next++ = '\0';
			if (strstr(err.text, part) == NULL)
				fail_msg("%s: '%s' not in '%s'", cases[i].text, part, err.text);
		}
	}
}

static void
files_that_are_no_settings_are_refused(void **state)
{
	char *big = calloc(1, 300000);

	(void)state;
	assert_non_null(big);
	write_bytes(path, "workers = 1\n\0\n", 14);
	assert_int_equal(conf_load(&c, path, &err), -1);
	assert_non_null(strstr(err.text, "NUL"));
	memset(big, '\n', 300000);
	write_bytes(path, big, 300000);
	assert_int_equal(conf_load(&c, path, &err), -1);
	assert_non_null(strstr(err.text, "File too large"));
	assert_int_equal(conf_load(&c, dir, &err), -1);
	assert_non_null(strstr(err.text, "directory"));
	assert_int_equal(conf_load(&c, "/nonexistent/sluice.conf", &err), -1);
	assert_non_null(strstr(err.text, "/nonexistent/sluice.conf"));
	free(big);
}

static void
environment_wins_over_the_file(void **state)
{
	(void)state;
	(void)setenv("SLUICE_WORKERS", "7", 1);
	(void)setenv("SLUICE_PROXY_PREFIX", "gate/", 1);
	(void)setenv("PROXY_PREFIX", "/other", 1);
	(void)setenv("SLUICE_HEARTBEAT", "", 1); /* counts as not set */
	(void)setenv("SLUICE_SOMETHING_ELSE", "x", 1);
	load("workers = 3\nheartbeat = 20s\nproxy_prefix = /file\n");
	assert_int_equal(c.workers, 7);
	assert_int_equal(c.heartbeat_ms, 20000);
	assert_string_equal(c.proxy_prefix, "/gate");
	(void)unsetenv("SLUICE_PROXY_PREFIX");
	load("proxy_prefix = /file\n");
	assert_string_equal(c.proxy_prefix, "/other");

	(void)setenv("SLUICE_WORKERS", "many", 1);
	assert_int_equal(conf_load(&c, path, &err), -1);
	assert_non_null(strstr(err.text, "environment: SLUICE_WORKERS: workers: 'many' is not"));
}

static void
upstreams_come_as_they_are(void **state)
{
	static const char json[] = "[{\"name\":\"a\", \"api_key\":\"k # ; 'x'\"}]";
	char secret[80], line[200];

	(void)state;
	(void)setenv("UPSTREAMS", json, 1);
	load("");
	assert_string_equal(c.upstreams, json);

	(void)unsetenv("UPSTREAMS");
	(void)snprintf(secret, sizeof secret, "%s/secret", dir);
	(void)snprintf(line, sizeof line, "%s\r\n", json);
	write_text(secret, line);
	(void)setenv("UPSTREAMS_FILE", secret, 1);
	load("");
	assert_string_equal(c.upstreams, json);
	(void)setenv("SLUICE_UPSTREAMS", "[]", 1); /* ours wins */
	load("");
	assert_string_equal(c.upstreams, "[]");
	(void)unsetenv("SLUICE_UPSTREAMS");

	(void)unlink(secret);
	assert_int_equal(conf_load(&c, path, &err), -1);
	assert_non_null(strstr(err.text, "UPSTREAMS_FILE"));
	(void)unsetenv("UPSTREAMS_FILE");

	(void)snprintf(line, sizeof line, "upstreams = %s\n", json);
	load(line);
	assert_string_equal(c.upstreams, json);
}

/* A mistake in a secret is told without the secret. */
static void
secrets_are_not_in_messages_or_dumps(void **state)
{
	static char huge[CONF_UPSTREAMS_BYTES + 10];
	char *text;
	size_t len;

	(void)state;
	for (int json = 0; json < 2; json++) {
		FILE *f = open_memstream(&text, &len);

		(void)setenv("UPSTREAMS", "[{\"api_key\":\"hush\"}]", 1);
		load("");
		conf_dump(f, &c, json != 0);
		(void)fclose(f);
		assert_null(strstr(text, "hush"));
		assert_non_null(strstr(text, "environment: UPSTREAMS"));
		free(text);
	}
	memset(huge, 'h', sizeof huge - 1);
	(void)setenv("UPSTREAMS", huge, 1);
	assert_int_equal(conf_load(&c, path, &err), -1);
	assert_non_null(strstr(err.text, "UPSTREAMS: upstreams: must be text of at most"));
	assert_null(strstr(err.text, "hhh"));
}

static void
relative_paths_start_at_the_file(void **state)
{
	char want[100];

	(void)state;
	assert_int_equal(chdir("/"), 0); /* not at the working directory */
	load("state_dir = var/state\nmaster_key_file = ./key\nlog_file = {state_dir}/log\n"
	     "ca_file = /etc/ca.pem\n");
	assert_int_equal(chdir(dir), 0);
	(void)snprintf(want, sizeof want, "%s/var/state", dir);
	assert_string_equal(c.state_dir, want);
	(void)snprintf(want, sizeof want, "%s/key", dir);
	assert_string_equal(c.master_key_file, want);
	(void)snprintf(want, sizeof want, "%s/var/state/log", dir);
	assert_string_equal(c.log_file, want);
	(void)snprintf(want, sizeof want, "%s/var/state/run/gateway.sock", dir);
	assert_string_equal(c.gateway_socket, want);
	assert_string_equal(c.ca_file, "/etc/ca.pem");
}

static void
relative_paths_in_the_environment_start_here(void **state)
{
	char want[100];

	(void)state;
	load("");
	(void)setenv("SLUICE_STATE_DIR", "here", 1);
	assert_int_equal(conf_load(&c, "sluice.conf", &err), 0); /* as may the file's own name */
	(void)snprintf(want, sizeof want, "%s/here/master.key", dir);
	assert_string_equal(c.master_key_file, want);
	assert_string_equal(c.file, path);
}

static void
long_paths_are_refused_not_cut(void **state)
{
	char line[CONF_PATH_BYTES + 64];
	int n;

	(void)state;
	/* Longer than what fits; fits but leaves no room for what goes below; too long for a socket. */
	for (size_t len = 90; len < CONF_PATH_BYTES + 8; len++) {
		int rc;

		n = snprintf(line, sizeof line, "state_dir = /%0*d\n", (int)len - 1, 0);
		assert_true(n > 0 && (size_t)n < sizeof line);
		write_text(path, line);
		rc = conf_load(&c, path, &err);
		assert_int_equal(rc, len + strlen("/run/gateway.sock") <= 107 ? 0 : -1);
		if (rc == 0)
			assert_int_equal(
				strlen(c.gateway_socket), len + strlen("/run/gateway.sock"));
	}
	/* The working directory of someone with deep folders. */
	n = snprintf(line, sizeof line, "log_file = %0*d\n", CONF_PATH_BYTES - 10, 0);
	assert_true(n > 0);
	write_text(path, line);
	assert_int_equal(conf_load(&c, path, &err), -1);
	assert_non_null(strstr(err.text, "a path of at most"));
}

static void
first_file_found_is_the_one(void **state)
{
	char other[80], want[80];

	(void)state;
	(void)snprintf(other, sizeof other, "%s/other.conf", dir);
	(void)snprintf(want, sizeof want, "%s/conf/sluice.conf", dir);
	assert_int_equal(mkdir("conf", 0700), 0);
	write_text("conf/sluice.conf", "workers = 1\n");
	write_text(beside, "workers = 2\n");
	write_text(other, "workers = 3\n");
	write_text(path, "workers = 4\n");

	(void)setenv("SLUICE_CONFIG", other, 1);
	assert_int_equal(conf_load(&c, path, &err), 0);
	assert_int_equal(c.workers, 4);
	assert_int_equal(conf_load(&c, NULL, &err), 0);
	assert_int_equal(c.workers, 3);
	(void)unsetenv("SLUICE_CONFIG");
	assert_int_equal(conf_load(&c, NULL, &err), 0);
	assert_int_equal(c.workers, 2);
	assert_string_equal(c.file, beside);
	(void)unlink(beside);
	assert_int_equal(conf_load(&c, NULL, &err), 0);
	assert_int_equal(c.workers, 1);
	assert_string_equal(c.file, want);

	/* One that was named must be there; one that is broken is not passed over. */
	(void)setenv("SLUICE_CONFIG", "/nonexistent", 1);
	assert_int_equal(conf_load(&c, NULL, &err), -1);
	(void)unsetenv("SLUICE_CONFIG");
	write_text("conf/sluice.conf", "workers = x\n");
	assert_int_equal(conf_load(&c, NULL, &err), -1);
	(void)unlink("conf/sluice.conf");
	assert_int_equal(mkdir("conf/sluice.conf", 0700), 0); /* there, but cannot be read */
	assert_int_equal(conf_load(&c, NULL, &err), -1);
	assert_int_equal(rmdir("conf/sluice.conf"), 0);
	(void)unlink(other);
	assert_int_equal(rmdir("conf"), 0);
}

static void
dump_can_be_read_again(void **state)
{
	FILE *f;

	(void)state;
	(void)setenv("SLUICE_WORKERS", "7", 1);
	load("state_dir = /srv/s\nlog_file = \"/a # b\"\nheartbeat = 1500ms\nbody_limit = 1025k\n"
	     "cors_origins = https://a.example,*\nlog_level = error\nhttp2 = on\nfirst_heartbeat = "
	     "0\n"
	     "metrics_addresses = ::1/128, 10.0.0.0/8\nbrief = no\nbody_min_rate = 100\n");
	f = fopen("dump.conf", "w");
	assert_non_null(f);
	conf_dump(f, &c, false);
	(void)fclose(f);
	(void)clearenv();
	if (conf_load(&d, "dump.conf", &err) != 0)
		fail_msg("%s", err.text);
	(void)unlink("dump.conf");
	memcpy(d.file, c.file, sizeof d.file); /* all but where they came from */
	memcpy(d.origin, c.origin, sizeof d.origin);
	assert_memory_equal(&c, &d, sizeof c);
}

static void
dump_tells_origins(void **state)
{
	char *text, out[100];
	size_t len;
	FILE *f;

	(void)state;
	(void)setenv("SLUICE_WORKERS", "7", 1);
	load("\nheartbeat = 20s\n");
	assert_int_equal(conf_set(&c, "http2", "yes", &err), 0);
	f = open_memstream(&text, &len);
	conf_dump(f, &c, true);
	(void)fclose(f);
	assert_true(json_valid((struct span){ text, len }));
#define ORIGIN(name, want)                                                                         \
	assert_true(json_string(json_path((struct span){ text, len }, "settings." name ".origin"), \
			    out, sizeof out) > 0);                                                 \
	assert_string_equal(out, want)
	ORIGIN("workers", "environment: SLUICE_WORKERS");
	ORIGIN("http2", "command line");
	ORIGIN("state_dir", "default");
	(void)snprintf(path + strlen(path), 4, ":2");
	ORIGIN("heartbeat", path);
	path[strlen(path) - 2] = '\0';
	assert_true(span_is(
		json_path((struct span){ text, len }, "settings.heartbeat.value").raw, "20000"));
	assert_true(
		span_is(json_path((struct span){ text, len }, "settings.http2.value").raw, "true"));
	free(text);
}

static void
one_setting_can_be_set_or_nothing_happens(void **state)
{
	(void)state;
	conf_defaults(&c);
	assert_int_equal(conf_set(&c, "state_dir", "/srv/x", &err), 0);
	assert_string_equal(c.gateway_socket, "/srv/x/run/gateway.sock"); /* defaults follow */
	assert_int_equal(conf_set(&c, "gateway_socket", "/run/g", &err), 0);
	assert_int_equal(conf_set(&c, "state_dir", "/srv/y", &err), 0);
	assert_string_equal(c.gateway_socket, "/run/g"); /* others stay */
	d = c;
	assert_int_equal(conf_set(&c, "workers", "x", &err), -1);
	assert_int_equal(conf_set(&c, "nothing", "1", &err), -1);
	assert_int_equal(conf_set(&c, "rest_default", "2h", &err), -1);
	assert_memory_equal(&c, &d, sizeof c);
}

static void
secrets_are_read_from_variable_or_file(void **state)
{
	char out[16], secret[80];

	(void)state;
	(void)snprintf(secret, sizeof secret, "%s/secret", dir);
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), 0);
	(void)setenv("SLUICE_ADMIN_PASSWORD", "a b", 1);
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), 1);
	assert_string_equal(out, "a b");
	(void)setenv("SLUICE_ADMIN_PASSWORD", "0123456789abcdef", 1);
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), -1);
	assert_null(strstr(err.text, "0123"));

	(void)unsetenv("SLUICE_ADMIN_PASSWORD");
	(void)setenv("SLUICE_ADMIN_PASSWORD_FILE", secret, 1);
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), -1);
	write_text(secret, "0123456789abcd\n");
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), 1);
	assert_string_equal(out, "0123456789abcd");
	write_text(secret, "two\n\n"); /* only the last line end goes */
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), 1);
	assert_string_equal(out, "two\n");
	write_text(secret, "0123456789abcdefgh");
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), -1);
	write_bytes(secret, "a\0b", 3);
	assert_int_equal(conf_secret("admin_password", out, sizeof out, &err), -1);
	(void)unlink(secret);
}

static void
a_disconnect_policy_is_one_of_three(void **state)
{
	static const char *const bad[] = { "", "drain:", "drain:0", "drain:-1", "drain:5s",
		"drain:86401", "Cancel", "drain:99999999999999999999", NULL };
	int64_t ms = -1;

	(void)state;
	assert_int_equal(conf_disconnect("cancel", &ms), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(conf_disconnect("drain", &ms), 0);
	assert_true(ms == INT64_MAX);
	assert_int_equal(conf_disconnect("drain:30", &ms), 0);
	assert_int_equal(ms, 30000);
	for (size_t i = 0; bad[i] != NULL; i++)
		if (conf_disconnect(bad[i], &ms) == 0)
			fail_msg("taken: %s", bad[i]);
	conf_defaults(&c);
	assert_string_equal(c.disconnect, "cancel");
	assert_int_equal(conf_set(&c, "disconnect", "drain:x", &err), -1);
	assert_int_equal(conf_set(&c, "disconnect", "drain:5", &err), 0);
	assert_int_equal(conf_set(&c, "end_user_header", "X User", &err), -1);
	assert_int_equal(conf_set(&c, "end_user_header", "X-End-User", &err), 0);
	assert_string_equal(c.end_user_header, "x-end-user");
}

static void
manual_names_every_setting_of_the_dump(void **state)
{
	char *manual, *dump, want[80];
	size_t len, count = 0;
	FILE *f = open_memstream(&manual, &len);

	(void)state;
	conf_manual(f);
	(void)fclose(f);
	f = open_memstream(&dump, &len);
	conf_defaults(&c);
	conf_dump(f, &c, true);
	(void)fclose(f);
	for (char *p = strchr(dump, '\n'); p != NULL && p[1] == '"';
		p = strchr(p + 1, '\n'), count++) {
		(void)snprintf(
			want, sizeof want, ".It Ic %.*s\n", (int)strcspn(p + 2, "\""), p + 2);
		if (strstr(manual, want) == NULL)
			fail_msg("%s is not in the manual", want);
	}
	assert_true(count > 30);
	free(dump);
	free(manual);
}

/* A damaged file is refused or taken, but never worse. */
static void
no_file_can_do_harm(void **state)
{
	static const char sample[] =
		"\xEF\xBB\xBF[h]\nstate_dir = \"/a\" # x\nworkers=1\n = \ncors_origins=,,"
		"https://x,\nheartbeat = 1s\n\"\nlog_file = \"\nbody_limit = 1k\n";
	char text[sizeof sample];
	unsigned int seed = 99;

	(void)state;
	for (size_t len = 0; len < sizeof sample; len++) {
		write_bytes(path, sample, len);
		(void)conf_load(&c, path, &err);
	}
	for (int i = 0; i < 3000; i++) {
		memcpy(text, sample, sizeof text);
		for (int j = 0; j < 4; j++)
			text[(size_t)rand_r(&seed) % sizeof text] = (char)rand_r(&seed);
		write_bytes(path, text, sizeof text - 1);
		(void)conf_load(&c, path, &err);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(defaults_are_as_promised, clean),
		cmocka_unit_test_setup(file_may_be_written_as_people_write, clean),
		cmocka_unit_test_setup(mistakes_are_told_with_their_place, clean),
		cmocka_unit_test_setup(files_that_are_no_settings_are_refused, clean),
		cmocka_unit_test_setup(environment_wins_over_the_file, clean),
		cmocka_unit_test_setup(upstreams_come_as_they_are, clean),
		cmocka_unit_test_setup(secrets_are_not_in_messages_or_dumps, clean),
		cmocka_unit_test_setup(relative_paths_start_at_the_file, clean),
		cmocka_unit_test_setup(relative_paths_in_the_environment_start_here, clean),
		cmocka_unit_test_setup(long_paths_are_refused_not_cut, clean),
		cmocka_unit_test_setup(first_file_found_is_the_one, clean),
		cmocka_unit_test_setup(dump_can_be_read_again, clean),
		cmocka_unit_test_setup(dump_tells_origins, clean),
		cmocka_unit_test_setup(one_setting_can_be_set_or_nothing_happens, clean),
		cmocka_unit_test_setup(secrets_are_read_from_variable_or_file, clean),
		cmocka_unit_test_setup(a_disconnect_policy_is_one_of_three, clean),
		cmocka_unit_test_setup(manual_names_every_setting_of_the_dump, clean),
		cmocka_unit_test_setup(no_file_can_do_harm, clean),
	};

	return cmocka_run_group_tests_name("conf/conf", tests, make_dir, remove_dir);
}
