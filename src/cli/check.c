/*
 * check.c - is this installation right?  Each line is a question somebody would ask at night, with
 * what to do where the answer is no.
 */
#include "cli/cli-int.h"

#include "board/board.h"
#include "forward/forward.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_WAIT_S 3
#define DISK_LOW_MB   16

struct checking {
	bool json, first;
	int failures;
	const char *url, *root;           /* of the web root; NULL: not told */
	char known_root[CONF_PATH_BYTES]; /* as the web server told the page's program */
};

static void
answer(struct checking *c, const char *what, bool ok, const char *text)
{
	if (c->json) {
		struct bytes b = BYTES_LIMIT(4096);

		bytes_puts(&b, c->first ? "{\"what\":" : ",{\"what\":");
		bytes_json(&b, span_of(what));
		bytes_printf(&b, ",\"ok\":%s,\"text\":", ok ? "true" : "false");
		bytes_json(&b, span_of(text));
		bytes_puts(&b, "}");
		fputs(b.at == NULL ? "" : b.at, stdout);
		bytes_free(&b);
	} else {
		printf("%-6s  %-12s  %s\n", ok ? "ok" : "FAILED", what, text);
	}
	c->first = false;
	c->failures += !ok;
}

/* Secrets must be nobody else's to read. */
static void
check_modes(struct checking *c, const struct conf *conf)
{
	struct stat st;
	char text[700];

	if (stat(conf->state_dir, &st) != 0) {
		snprintf(text, sizeof text, "%s: %s; run `sluice init`", conf->state_dir,
			strerror(errno));
		answer(c, "state", false, text);
		return;
	}
	snprintf(text, sizeof text, "%s%s", conf->state_dir,
		(st.st_mode & 0007) != 0 ? " is open to every user; chmod o= it" : "");
	answer(c, "state", (st.st_mode & 0007) == 0, text);
	if (stat(conf->master_key_file, &st) != 0) {
		snprintf(text, sizeof text, "%s: %s", conf->master_key_file, strerror(errno));
		answer(c, "master key", false, text);
		return;
	}
	snprintf(text, sizeof text, "%s%s", conf->master_key_file,
		(st.st_mode & 0077) != 0 ? " can be read by others; chmod 600 it" : "");
	answer(c, "master key", (st.st_mode & 0077) == 0, text);
}

/* What is booked needs room; a full disk is waited out, but somebody has to free it. */
static void
check_disk(struct checking *c, const struct conf *conf)
{
	struct statvfs disk;
	char text[700];
	long long free_mb;

	if (statvfs(conf->state_dir, &disk) != 0) {
		snprintf(text, sizeof text, "%s: %s", conf->state_dir, strerror(errno));
		answer(c, "disk", false, text);
		return;
	}
	free_mb = (long long)((unsigned long long)disk.f_bavail * disk.f_frsize >> 20);
	snprintf(text, sizeof text, "%lld MB free at %s%s", free_mb, conf->state_dir,
		free_mb < DISK_LOW_MB ? ": full or nearly so; free some space" : "");
	answer(c, "disk", free_mb >= DISK_LOW_MB, text);
}

static size_t
put_record(unsigned char *at, int type, const void *content, size_t len)
{
	const unsigned char head[8] = { 1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8),
		(unsigned char)len, 0, 0 };

	memcpy(at, head, sizeof head);
	if (len > 0)
		memcpy(at + sizeof head, content, len);
	return sizeof head + len;
}

static size_t
put_pair(unsigned char *at, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);

	at[0] = (unsigned char)n;
	at[1] = (unsigned char)v;
	memcpy(at + 2, name, n);
	memcpy(at + 2 + n, value, v);
	return 2 + n + v;
}

/* One FastCGI request as a web server sends it; the status of the answer, or -1 with a reason.
 * Records: FastCGI specification, sections 3.3, 5.1 to 5.3. */
static int
ask_socket(const char *path, const char *uri, char *why, size_t room)
{
	static const unsigned char begin[8] = { 0, 1, 0, 0, 0, 0, 0, 0 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval wait = { ANSWER_WAIT_S, 0 };
	unsigned char out[1024], params[512];
	size_t len = 0, n = 0, got = 0;
	char in[2048] = "";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status = -1;
	ssize_t r;

	if (fd < 0 || strlen(path) >= sizeof address.sun_path) {
		snprintf(why, room, "the path is too long for a socket");
		goto out;
	}
	strcpy(address.sun_path, path);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		snprintf(why, room, "%s: %s; is `sluice serve` running?", path, strerror(errno));
		goto out;
	}
	n += put_pair(params + n, "REQUEST_METHOD", "GET");
	n += put_pair(params + n, "REQUEST_URI", uri);
	n += put_pair(params + n, "SERVER_PROTOCOL", "HTTP/1.1");
	n += put_pair(params + n, "REMOTE_ADDR", "127.0.0.1");
	len += put_record(out + len, 1, begin, sizeof begin);
	len += put_record(out + len, 4, params, n);
	len += put_record(out + len, 4, NULL, 0);
	len += put_record(out + len, 5, NULL, 0);
	if (send(fd, out, len, MSG_NOSIGNAL) != (ssize_t)len) {
		snprintf(why, room, "%s: %s", path, strerror(errno));
		goto out;
	}
	while (got < sizeof in - 1 && (r = recv(fd, in + got, sizeof in - 1 - got, 0)) > 0)
		got += (size_t)r;
	snprintf(why, room, "%s took the request and did not answer in %d s", path, ANSWER_WAIT_S);
	/* the head follows the first record's head of 8 bytes */
	if (got > 8 + 11 && memcmp(in + 8, "Status: ", 8) == 0)
		status = atoi(in + 16);
out:
	if (fd >= 0)
		close(fd);
	return status;
}

static void
check_socket(struct checking *c, const char *what, const char *path, const char *uri, int wanted)
{
	char why[400] = "";
	int status;

	if (access(path, F_OK) != 0) { /* CGI and spawned pools have none: nothing is wrong then */
		snprintf(why, sizeof why, "no socket at %s; fine unless `sluice serve` should run",
			path);
		answer(c, what, true, why);
		return;
	}
	status = ask_socket(path, uri, why, sizeof why);
	if (status == wanted)
		snprintf(why, sizeof why, "%s answers", path);
	else if (status > 0)
		snprintf(why, sizeof why, "%s answers with status %d; its log tells why", path,
			status);
	answer(c, what, status == wanted, why);
}

static void
check_state(struct checking *c)
{
	struct board_health board;
	struct store_health store;
	struct err err = { 0 };
	struct state s;
	char text[400];

	if (state_open(&s, false) != 0) {
		answer(c, "store", false, "cannot be opened; the line above says why");
		return;
	}
	if (store_health(s.store, &store, &err) != 0) {
		answer(c, "store", false, err.text);
	} else {
		snprintf(text, sizeof text,
			"schema %d, %lld rows (%lld to fold), %lld MB, of those %lld of the %lld "
			"MB of "
			"store_cap, %u processes inside",
			store.schema, (long long)store.rows, (long long)store.rows_unfolded,
			(long long)(store.bytes_on_disk >> 20),
			(long long)(store.bytes_capped >> 20),
			(long long)(s.conf.store_cap_bytes >> 20), store.attached);
		answer(c, "store", true, text);
	}
	board_health(s.board, &board);
	snprintf(text, sizeof text,
		"%lld counters, %lld rolling ones, %lld idempotency keys, %lld exchanges under way",
		(long long)board.rows_used, (long long)board.rings_used,
		(long long)board.repeats_used, (long long)board.leases_used);
	answer(c, "board", true, text);
	/* without one the management token still works, so nothing is wrong */
	answer(c, "password", true,
		manage_has_password(s.manage, &err)
			? "the admin password is set"
			: "no admin password yet; open the page and use the code in setup.code");
	(void)store_value_get(
		s.store, WEB_ROOT_VALUE, c->known_root, sizeof c->known_root - 1, &err);
	state_close(&s);
}

/* ---- can the state be fetched? ---- */

/* HEAD, so that nothing of it travels.  known: the address must be that file's, so anything but a
 * refusal is bad; else only an answer of just the file's size is. */
static bool
is_fetched(
	struct checking *c, const char *path, const char *file, bool known, char *text, size_t room)
{
	size_t len = strlen(c->url);
	char url[2 * CONF_PATH_BYTES + 512];
	struct err err = { 0 };
	struct stat st;
	int64_t bytes;
	int status;

	while (len > 0 && c->url[len - 1] == '/')
		len--;
	if (snprintf(url, sizeof url, "%.*s%s", (int)len, c->url, path) >= (int)sizeof url) {
		snprintf(text, room, "the address is too long");
		return true;
	}
	if (forward_probe(url, &status, &bytes, &err) != 0) {
		snprintf(text, room, "%s", err.text);
		return true;
	}
	if (known ? status != 403 && status != 404
		  : status / 100 == 2 && stat(file, &st) == 0 && bytes == (int64_t)st.st_size) {
		snprintf(text, room,
			"%.300s answers with status %d: it must be 403 or 404; move state_dir out "
			"of "
			"the web root, or have the server refuse it",
			url, status);
		return true;
	}
	return false;
}

/* The root is not known: it may be any folder above. */
static bool
is_fetched_anywhere(struct checking *c, const char *file, char *text, size_t room)
{
	for (const char *p = strrchr(file, '/'); p != NULL && p >= file; p--)
		if (*p == '/' && is_fetched(c, p, file, false, text, room))
			return true;
	return false;
}

static void
check_root(struct checking *c, const struct conf *conf)
{
	static const char *const inside[] = { "board", "db/main.db", "setup.code" };
	const char *root = c->root != NULL ? c->root : c->known_root;
	char rest[CONF_PATH_BYTES], file[CONF_PATH_BYTES + 16], text[1200] = "";
	bool in_root = conf_is_below(root, conf->state_dir, rest) ||
		       conf_is_below(root, conf->master_key_file, rest);
	bool bad = false;

	if (root[0] != '\0' && !in_root) {
		snprintf(text, sizeof text, "the state is outside of %.400s", root);
		answer(c, "web root", true, text);
		return;
	}
	if (c->url == NULL && in_root) {
		snprintf(text, sizeof text,
			"the state is inside of %.400s, where anybody might fetch it; move it out, "
			"or "
			"say --url ADDRESS of that root to see whether it is refused",
			root);
		answer(c, "web root", false, text);
	}
	if (c->url == NULL)
		return;
	for (size_t i = 0; i <= sizeof inside / sizeof inside[0] && !bad; i++) {
		if (i < sizeof inside / sizeof inside[0])
			snprintf(file, sizeof file, "%s/%s", conf->state_dir, inside[i]);
		else
			snprintf(file, sizeof file, "%s", conf->master_key_file);
		if (access(file, F_OK) != 0)
			continue;
		if (!in_root)
			bad = is_fetched_anywhere(c, file, text, sizeof text);
		else if (conf_is_below(root, file, rest))
			bad = is_fetched(c, rest, file, true, text, sizeof text);
	}
	if (!bad)
		snprintf(text, sizeof text, "%.300s does not hand out the state", c->url);
	answer(c, "web root", !bad, text);
}

int
check_main(int argc, char **argv)
{
	struct checking c = { .first = true };
	struct conf *conf = calloc(1, sizeof *conf);
	struct err err = { 0 };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			c.json = true;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			setenv("SLUICE_CONFIG", argv[++i], 1);
		else if (strcmp(argv[i], "--url") == 0 && i + 1 < argc)
			c.url = argv[++i];
		else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc)
			c.root = argv[++i];
		else {
			free(conf);
			return complain(EXIT_USAGE, "usage: sluice check [--json] [--config FILE] "
						    "[--url ADDRESS] [--root FOLDER]");
		}
	}
	if (c.json)
		fputs("{\"data\":[", stdout);
	if (conf == NULL || conf_load(conf, NULL, &err) != 0) {
		answer(&c, "settings", false, err.text);
	} else {
		answer(&c, "settings", true,
			conf->file[0] == '\0' ? "no file: all defaults" : conf->file);
		check_modes(&c, conf);
		if (c.failures == 0) {
			check_state(&c);
			check_disk(&c, conf);
		}
		check_root(&c, conf);
		check_socket(&c, "gateway", conf->gateway_socket, "/health", 200);
		check_socket(&c, "management", conf->manage_socket, "/manage/session", 401);
	}
	if (c.json)
		printf("],\"ok\":%s}\n", c.failures == 0 ? "true" : "false");
	free(conf);
	return c.failures == 0 ? EXIT_DONE : EXIT_FAILED;
}
