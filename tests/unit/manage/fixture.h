/*
 * fixture.h - the management API of a test: a real store and board in a directory of its own, and
 * a caller that keeps every reply, so that a test can search all of them for secrets.
 */
#ifndef TESTS_MANAGE_FIXTURE_H
#define TESTS_MANAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/roster.h"
#include "conf/conf.h"
#include "manage/manage.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct roster *roster;
static struct store *store;
static struct board *board;
static struct manage *manage;
static struct conf conf;
static struct err err;

/* How the next calls come. */
static const char *as_actor;        /* the trusted caller, or NULL */
static char cookie[160], csrf[80], bearer[160], if_match[32];
static const char *address = "192.0.2.7";
static const char *web_root; /* of the web server, or NULL */
static bool https;
static int attempt;
static struct manage_once *once_again; /* NULL: a fresh one for each call */

/* Every reply of the test so far, heads included. */
static struct bytes seen;

/* The last reply. */
static int status;
static char body[256 * 1024];
static char reply_cookie[240], reply_etag[240], reply_allow[240], reply_retry[240];

static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void
open_all(bool create)
{
	char key[128];
	struct store_options o = { .dir = dir, .master_key_file = key, .create = create };

	snprintf(key, sizeof key, "%s/master.key", dir);
	roster = roster_join(dir, &err);
	store = roster != NULL ? store_open(&o, roster, &err) : NULL;
	board = store != NULL ? board_open(dir, roster, &err) : NULL;
	conf_defaults(&conf);
	snprintf(conf.state_dir, sizeof conf.state_dir, "%s", dir);
	manage = board != NULL ? manage_new(store, board, &conf, &err) : NULL;
	if (manage == NULL)
		fail_msg("opening: %s", err.text);
}

static inline void
close_all(void)
{
	manage_free(manage);
	board_close(board);
	store_close(store);
	roster_leave(roster);
}

static inline int
fixture_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	err = (struct err){ 0 };
	snprintf(dir, sizeof dir, "%.40s/manage.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)log_open("/dev/null", "test", LOG_ERROR, &err);
	as_actor = "command:test";
	cookie[0] = csrf[0] = bearer[0] = if_match[0] = '\0';
	https = false;
	attempt = 0;
	once_again = NULL;
	address = "192.0.2.7";
	web_root = NULL;
	seen = BYTES_LIMIT(8 * 1024 * 1024);
	open_all(true);
	return 0;
}

static inline int
fixture_teardown(void **state)
{
	(void)state;
	close_all();
	bytes_free(&seen);
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

static inline struct span
test_header(void *ctx, const char *name)
{
	(void)ctx;
	if (strcmp(name, "cookie") == 0)
		return span_of(cookie);
	if (strcmp(name, "x-csrf-token") == 0)
		return span_of(csrf);
	if (strcmp(name, "authorization") == 0)
		return span_of(bearer);
	if (strcmp(name, "if-match") == 0)
		return span_of(if_match);
	return SPAN_NONE;
}

static inline void
keep_line(const struct manage_line *line, const char *name, char out[240])
{
	if (strcmp(line->name, name) == 0)
		snprintf(out, 240, "%s", line->value);
}

/* Calls and returns the status; target may carry a query. */
static inline int
call(const char *method, const char *target, const char *json)
{
	struct manage_once once;
	struct manage_request q = { .method = method,
		.header = test_header,
		.address = address,
		.remote_user = "",
		.is_https = https,
		.actor = as_actor,
		.once = once_again != NULL ? once_again : &once,
		.attempt = attempt,
		.web_root = web_root,
		.web_server = "nginx" };
	struct manage_reply out;
	const char *query = strchr(target, '?');

	manage_once(&once);
	q.path = query != NULL ? (struct span){ target, (size_t)(query - target) }
			       : span_of(target);
	q.query = query != NULL ? span_of(query + 1) : SPAN_NONE;
	q.body = span_of(json);
	manage_handle(manage, &q, &out);
	status = out.status;
	assert_true(out.body.len < sizeof body);
	span_copy(bytes_span(&out.body), body, sizeof body);
	reply_cookie[0] = reply_etag[0] = reply_allow[0] = reply_retry[0] = '\0';
	for (size_t i = 0; i < out.line_count; i++) {
		keep_line(&out.lines[i], "Set-Cookie", reply_cookie);
		keep_line(&out.lines[i], "ETag", reply_etag);
		keep_line(&out.lines[i], "Allow", reply_allow);
		keep_line(&out.lines[i], "Retry-After", reply_retry);
		bytes_printf(&seen, "%s: %s\n", out.lines[i].name, out.lines[i].value);
	}
	bytes_printf(&seen, "%s %s -> %d\n%s\n", method, target, status, body);
	assert_false(seen.failed);
	if (body[0] != '\0' && !json_valid(span_of(body)))
		fail_msg("%s %s answers no JSON: %s", method, target, body);
	bytes_free(&out.body);
	return status;
}

#define CALL(wanted, method, target, json)                                                         \
	do {                                                                                       \
		if (call(method, target, json) != (wanted))                                        \
			fail_msg("%s %s: %d, wanted %d: %s", method, target, status, wanted, body); \
	} while (0)

/* A member of the last reply as raw JSON text; "" when absent. */
static inline const char *
raw_of(const char *path)
{
	static char text[8][4096];
	static unsigned next;
	char *out = text[next++ % 8];
	struct json_value v = json_path(span_of(body), path);

	span_copy(v.raw, out, sizeof text[0]);
	return out;
}

/* A string member of the last reply, decoded; "" when it is none. */
static inline const char *
text_of(const char *path)
{
	static char text[8][4096];
	static unsigned next;
	char *out = text[next++ % 8];

	if (json_string(json_path(span_of(body), path), out, sizeof text[0]) < 0)
		out[0] = '\0';
	return out;
}

struct nth {
	int left;
	char *out;
	size_t room;
};

static inline bool
take_nth(void *ctx, const struct json_member *m)
{
	struct nth *n = ctx;

	if (n->left-- > 0)
		return true;
	span_copy(m->value.raw, n->out, n->room);
	return false;
}

/* Makes row n of "data" the last reply.  False when there are fewer. */
static inline bool
row(int n)
{
	static char text[64 * 1024];
	struct nth nth = { n, text, sizeof text };
	struct json_value data = json_get(span_of(body), "data");

	text[0] = '\0';
	if (data.type != JSON_ARRAY || json_each_element(data.raw, take_nth, &nth, NULL) != 0 ||
		text[0] == '\0')
		return false;
	snprintf(body, sizeof body, "%s", text);
	return true;
}

static inline bool
was_seen(const char *secret)
{
	return seen.at != NULL && memmem(seen.at, seen.len, secret, strlen(secret)) != NULL;
}

/* A project, its id. */
static inline const char *
new_project(const char *name)
{
	static char id[4][ID_TEXT_BYTES];
	static unsigned next;
	char json[128], *out = id[next++ % 4];

	snprintf(json, sizeof json, "{\"name\":\"%s\"}", name);
	CALL(201, "POST", "/manage/projects", json);
	snprintf(out, ID_TEXT_BYTES, "%s", text_of("id"));
	return out;
}

#endif
