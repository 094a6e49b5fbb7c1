/*
 * state.c - store, board and management in this process.
 *
 * A thread abandoned inside the store (store.h) ends a one-shot program with a message: nothing is
 * half done, and running the command again does it.
 */
#include "cli/cli-int.h"

#include "base/log.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
name_actor(char *out, size_t room)
{
	const struct passwd *who = getpwuid(geteuid());

	if (who != NULL)
		snprintf(out, room, "command:%s", who->pw_name);
	else
		snprintf(out, room, "command:%ld", (long)geteuid());
}

static void
on_change(void *ctx, enum record_kind kind)
{
	(void)kind;
	board_generation_bump(ctx);
}

int
state_open(struct state *s, bool create)
{
	struct store_options o = { 0 };
	struct err err = { 0 };

	memset(s, 0, sizeof *s);
	name_actor(s->actor, sizeof s->actor);
	if (conf_load(&s->conf, NULL, &err) != 0)
		return complain(EXIT_FAILED, "settings: %s", err.text), -1;
	log_open(NULL, "sluice", LOG_WARN, NULL);
	log_unbuffered();
	if (create) {
		mode_t mask = umask(007);

		/* store_open says what is wrong, if anything */
		if (mkdir(s->conf.state_dir, 0770) == 0)
			(void)chmod(s->conf.state_dir, 02770);
		umask(mask);
	}
	o.dir = s->conf.state_dir;
	o.master_key_file = s->conf.master_key_file;
	o.create = create;
	o.cache_bytes = s->conf.cache_bytes;
	if ((s->roster = roster_join(s->conf.state_dir, &err)) == NULL ||
		(s->store = store_open(&o, s->roster, &err)) == NULL ||
		(s->board = board_open(s->conf.state_dir, s->roster, &err)) == NULL ||
		(s->manage = manage_new(s->store, s->board, &s->conf, &err)) == NULL) {
		complain(EXIT_FAILED, "%s", err.text);
		state_close(s);
		return -1;
	}
	store_on_change(s->store, on_change, s->board);
	return 0;
}

void
state_close(struct state *s)
{
	if (s->manage != NULL)
		manage_free(s->manage);
	if (s->board != NULL)
		board_close(s->board);
	if (s->store != NULL)
		store_close(s->store);
	if (s->roster != NULL)
		roster_leave(s->roster);
	log_flush();
}

int
state_call(struct state *s, const char *method, const char *path, struct span body,
	struct manage_reply *reply)
{
	struct manage_request q = { 0 };
	struct manage_once once;
	const char *query = strchr(path, '?');

	manage_once(&once);
	q.method = method;
	q.path = query == NULL ? span_of(path) : (struct span){ path, (size_t)(query - path) };
	q.query = query == NULL ? SPAN_NONE : span_of(query + 1);
	q.body = body;
	q.address = "";
	q.remote_user = "";
	q.actor = s->actor;
	q.once = &once;
	memset(reply, 0, sizeof *reply);
	manage_handle(s->manage, &q, reply);
	return reply->status;
}

int
state_refused(const struct manage_reply *reply)
{
	char code[64] = "", message[512] = "", field[64] = "";
	struct span body = bytes_span(&reply->body);

	(void)json_string(json_path(body, "error.code"), code, sizeof code);
	(void)json_string(json_path(body, "error.message"), message, sizeof message);
	(void)json_string(json_path(body, "error.field"), field, sizeof field);
	return complain(reply->status >= 500 ? EXIT_FAILED : EXIT_REFUSED, "%s%s%s: %s", code,
		field[0] == '\0' ? "" : ": ", field, message);
}

int
state_tell(struct state *s, const char *method, const char *path, struct span body, bool json,
	state_show *show, const void *ctx)
{
	struct manage_reply reply;
	int rc = EXIT_DONE;

	if (state_call(s, method, path, body, &reply) >= 300)
		rc = state_refused(&reply);
	else if (json)
		printf("%.*s\n", (int)reply.body.len, reply.body.at);
	else if (show != NULL)
		show(ctx, bytes_span(&reply.body));
	bytes_free(&reply.body);
	return rc;
}

int
state_ask(const char *method, const char *path, struct span body, bool json, state_show *show,
	const void *ctx)
{
	struct state s;
	int rc;

	if (state_open(&s, false) != 0)
		return EXIT_FAILED;
	rc = state_tell(&s, method, path, body, json, show, ctx);
	state_close(&s);
	return rc;
}

bool
is_plain_id(const char *text)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	return text[0] != '\0' && strlen(text) <= PLAIN_ID_MAX &&
	       text[strspn(text, letters)] == '\0';
}
