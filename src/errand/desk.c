/*
 * desk.c - a loop and a forwarder that belong to one thread, which waits for its calls.
 *
 * A key that buys an access token buys it here as gateway/access.c does, through the same rows of the
 * store: what one has bought all use.
 */
#include "errand/errand-int.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/access.h"
#include "wire/oauth.h"
#include "wire/provider.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARENA_BYTES    (256 * 1024) /* of one call's head */
#define LINES_MOST     64
#define TOKEN_FETCH_MS 12000 /* less than ACCESS_CLAIM_MS */
#define TOKEN_WAIT_MS  15000
#define TOKEN_LOOK_MS  40
_Static_assert(TOKEN_FETCH_MS < ACCESS_CLAIM_MS, "nobody claims what is being fetched");
#define ANTHROPIC_VERSION "2023-06-01"

struct call {
	struct errand_desk *desk;
	struct errand *e;
	struct arena *arena;
	struct forward_header line[LINES_MOST];
	struct forward_call *call;
	char *token; /* bought; wiped at the end */
};

/* ---- the desk ---- */

static void
on_stop(uv_async_t *stop)
{
	struct errand_desk *d = stop->data;

	for (size_t i = 0; i < d->call_count; i++)
		if (d->calls[i].call != NULL)
			forward_cancel(d->calls[i].call);
}

static void
on_closed(void *ctx)
{
	(void)ctx;
}

struct errand_desk *
errand_open(struct store *store, struct board *board, const struct conf *conf, struct err *err)
{
	struct errand_desk *d = calloc(1, sizeof *d);
	struct forward_options o = { .connections_most = ERRANDS_MOST,
		.lookups_most = ERRANDS_MOST,
		.ca_file = conf->ca_file[0] == '\0' ? NULL : conf->ca_file,
		.user_agent = "sluice/" SLUICE_VERSION };

	if (d == NULL) {
		(void)err_set(err, ERR_MEMORY, "no memory for calls of our own");
		return NULL;
	}
	d->store = store;
	d->board = board;
	d->conf = conf;
	if (uv_loop_init(&d->loop) != 0) {
		(void)err_set(err, ERR_MEMORY, "no loop for calls of our own");
		free(d);
		return NULL;
	}
	if ((d->forward = forward_new(&d->loop, &o, err)) == NULL) {
		(void)uv_run(&d->loop, UV_RUN_DEFAULT);
		(void)uv_loop_close(&d->loop);
		free(d);
		return NULL;
	}
	(void)uv_async_init(&d->loop, &d->stop, on_stop);
	d->stop.data = d;
	return d;
}

void
errand_close(struct errand_desk *d)
{
	if (d == NULL)
		return;
	uv_close((uv_handle_t *)&d->stop, NULL);
	forward_free(d->forward, on_closed, d);
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&d->loop);
	free(d);
}

void
errand_stop(struct errand_desk *d)
{
	atomic_store(&d->stopped, true);
	(void)uv_async_send(&d->stop);
}

/* ---- one call ---- */

static void
on_head(void *ctx, const struct forward_head *head)
{
	(void)ctx;
	(void)head;
}

static bool
on_data(void *ctx, const char *data, size_t len)
{
	struct call *c = ctx;

	if (bytes_add(&c->e->body, data, len) != 0)
		forward_cancel(c->call);
	return true;
}

static void
on_end(void *ctx, const struct forward_end *end)
{
	struct call *c = ctx;

	c->call = NULL;
	c->e->status = end->status;
	c->e->took_us = end->total_us;
	if (--c->desk->left == 0)
		uv_stop(&c->desk->loop); /* a round that a timer ended would wait for sockets next */
	if (c->e->body.failed)
		(void)err_set(&c->e->err, ERR_UPSTREAM_UNREACHABLE,
			"upstream %s: more than %zu bytes", c->e->upstream->name, c->e->most_bytes);
	else if (end->outcome != FORWARD_DONE)
		(void)err_set(&c->e->err,
			end->outcome == FORWARD_MEMORY ? ERR_MEMORY : ERR_UPSTREAM_UNREACHABLE,
			"upstream %s: %s", c->e->upstream->name, end->text);
}

static int64_t
at_most(int64_t ms, int64_t fallback_ms, int64_t most)
{
	if (ms <= 0)
		ms = fallback_ms;
	return ms > 0 && ms < most ? ms : most;
}

static struct forward_request
request_of(const struct errand_desk *d, const struct upstream *u, const char *method,
	const char *url, int64_t total_ms)
{
	struct forward_request q = { .method = method,
		.url = url,
		.body_fd = -1,
		.connect_ms = at_most(u->connect_ms, d->conf->connect_timeout_ms, total_ms),
		.first_byte_ms = total_ms,
		.idle_ms = total_ms,
		.total_ms = total_ms };

	credential_way(&q, u);
	return q;
}

static void
start(struct errand_desk *d, struct call *c, struct forward_request *q)
{
	struct forward_sink sink = { c, on_head, on_data, on_end };

	c->e->body = BYTES_LIMIT(c->e->most_bytes);
	c->call = forward_start(d->forward, q, &sink, &c->e->err);
	if (c->call != NULL)
		d->left++;
	else if (c->e->err.code == ERR_NONE)
		(void)err_set(&c->e->err, ERR_INTERNAL, "a call could not be started");
}

static void
wait_for_all(struct errand_desk *d)
{
	while (d->left > 0)
		(void)uv_run(&d->loop, UV_RUN_ONCE);
}

/* ---- access tokens ---- */

/* Asks the token endpoint.  0 with *out, or -1 with why. */
static int
fetch_token(struct errand_desk *d, const struct errand *e, enum oauth_kind kind,
	struct oauth_reply *out, bool *refused, char why[ACCESS_WHY_BYTES])
{
	static const struct forward_header headers[] = {
		{ "Content-Type", "application/x-www-form-urlencoded" },
		{ "Accept", "application/json" },
	};
	struct errand asked = { .upstream = e->upstream, .most_bytes = OAUTH_REPLY_MAX };
	struct call c = { .desk = d, .e = &asked };
	struct oauth_request r = { 0 };
	struct forward_request q;
	struct err err = { 0 };
	enum oauth_outcome outcome = OAUTH_FAILED;

	*refused = true;
	(void)span_copy(span_of("the key does not fit the upstream's auth"), why, ACCESS_WHY_BYTES);
	if (oauth_request_make(kind, span_of(e->key->secret), e->upstream->token_url,
		    e->upstream->token_scope, clock_wall_ms(), &r, &err) != 0)
		return -1;
	if (e->upstream->allow_private || strncmp(r.url, "https://", 8) == 0) {
		q = request_of(d, e->upstream, "POST", r.url, TOKEN_FETCH_MS);
		q.headers = headers;
		q.header_count = sizeof headers / sizeof headers[0];
		q.body = bytes_span(&r.body);
		q.has_body = true;
		d->calls = &c;
		d->call_count = 1;
		start(d, &c, &q);
		wait_for_all(d);
		d->calls = NULL;
		d->call_count = 0;
		if (asked.err.code == ERR_NONE)
			outcome = oauth_reply_read(asked.status, bytes_span(&asked.body), out);
		(void)span_copy(span_of(asked.err.code != ERR_NONE ? asked.err.text : out->why),
			why, ACCESS_WHY_BYTES);
	}
	*refused = outcome == OAUTH_REFUSED;
	if (asked.body.at != NULL)
		explicit_bzero(asked.body.at, asked.body.room);
	bytes_free(&asked.body);
	oauth_request_free(&r);
	return outcome == OAUTH_GRANTED ? 0 : -1;
}

/* The claim is ours: buys one, and tells the others. */
static int
buy_token(struct errand_desk *d, struct errand *e, enum oauth_kind kind,
	const struct access_name *name, struct access_token *out)
{
	int64_t asked_ms = board_now_ms(d->board), retry_ms;
	struct oauth_reply reply = { 0 };
	char why[ACCESS_WHY_BYTES] = "";
	bool refused;
	struct err err = { 0 };
	int64_t life_ms;

	if (fetch_token(d, e, kind, &reply, &refused, why) != 0) {
		(void)store_access_fail(d->store, name, refused, asked_ms, why, &retry_ms, &err);
		return err_set(&e->err, ERR_UPSTREAM_CREDENTIALS,
			"upstream %s: no access token: %s", e->upstream->name, why);
	}
	life_ms = reply.life_ms;
	memset(out, 0, sizeof *out);
	memcpy(out->text, reply.token, strlen(reply.token));
	out->number = hash_64(out->text, strlen(out->text), 0) | 1;
	out->refresh_ms = asked_ms + life_ms / 2;
	out->until_ms = asked_ms + life_ms - life_ms / 10;
	if (store_access_put(d->store, name, out, &err) != 0)
		log_write(LOG_WARN, "access", "a new access token is not kept: %s", err.text);
	explicit_bzero(&reply, sizeof reply);
	return 0;
}

static int
get_token(struct errand_desk *d, struct errand *e, enum oauth_kind kind, struct access_token *out)
{
	int64_t until_ms = clock_boot_ms() + TOKEN_WAIT_MS;
	struct access_answer answer;
	struct access_name name;
	int rc = -1;

	if (access_name_of(e->key->id, (int)kind, e->upstream->token_url, e->upstream->token_scope,
		    e->key->secret, &name, &e->err) != 0)
		return -1;
	for (;;) {
		struct timespec nap = { 0, TOKEN_LOOK_MS * 1000000L };

		if (store_access_claim(
			    d->store, &name, 0, board_now_ms(d->board), &answer, &e->err) != 0)
			return -1;
		if (answer.what != ACCESS_BUSY || clock_boot_ms() >= until_ms ||
			atomic_load(&d->stopped))
			break;
		(void)nanosleep(&nap, NULL);
	}
	if (answer.what == ACCESS_THERE ||
		(answer.what == ACCESS_CLAIMED && answer.token.number != 0 &&
			board_now_ms(d->board) < answer.token.until_ms && atomic_load(&d->stopped)))
		*out = answer.token, rc = 0;
	else if (answer.what == ACCESS_CLAIMED)
		rc = buy_token(d, e, kind, &name, out);
	else
		(void)err_set(&e->err, ERR_UPSTREAM_CREDENTIALS, "upstream %s: no access token: %s",
			e->upstream->name,
			answer.what == ACCESS_FAILING ? answer.why
						      : "another process is asking for one");
	explicit_bzero(&answer, sizeof answer);
	return rc;
}

/* ---- errands ---- */

/* Whatever may wait for others comes before the first call is begun. */
static void
prepare(struct errand_desk *d, struct call *c)
{
	struct errand *e = c->e;
	enum oauth_kind kind;
	struct access_token *t;

	e->status = 0;
	e->err = (struct err){ 0 };
	e->body = BYTES_LIMIT(e->most_bytes);
	if ((c->arena = arena_new(ARENA_BYTES)) == NULL)
		(void)err_set(&e->err, ERR_MEMORY, "no memory for a call");
	if (c->arena == NULL || e->key == NULL || !credential_buys(e->upstream, &kind))
		return;
	if ((t = calloc(1, sizeof *t)) == NULL) {
		(void)err_set(&e->err, ERR_MEMORY, "no memory for an access token");
		return;
	}
	if (get_token(d, e, kind, t) == 0 && (c->token = strdup(t->text)) == NULL)
		(void)err_set(&e->err, ERR_MEMORY, "no memory for an access token");
	explicit_bzero(t, sizeof *t);
	free(t);
}

static void
begin(struct errand_desk *d, struct call *c)
{
	struct errand *e = c->e;
	const struct provider *p = provider_at(e->upstream->protocol);
	struct forward_request q = request_of(d, e->upstream, e->method, e->url, e->total_ms);
	struct credential_lines l = { .arena = c->arena, .line = c->line, .most = LINES_MOST };

	c->line[l.count++] = (struct forward_header){ "accept", "application/json" };
	if (p != NULL && p->dialect == DIALECT_ANTHROPIC)
		c->line[l.count++] =
			(struct forward_header){ "anthropic-version", ANTHROPIC_VERSION };
	credential_extra(&l, e->upstream);
	if (credential_put(&l, e->upstream, e->key == NULL ? NULL : e->key->secret, c->token, &q,
		    &e->err) != 0)
		return;
	q.headers = c->line;
	q.header_count = l.count;
	start(d, c, &q);
}

static void
end(struct call *c)
{
	if (c->token != NULL)
		explicit_bzero(c->token, strlen(c->token));
	free(c->token);
	arena_free(c->arena);
}

void
errand_run(struct errand_desk *d, struct errand *e, size_t count)
{
	struct call *calls = calloc(count == 0 ? 1 : count, sizeof *calls);

	for (size_t i = 0; i < count; i++) {
		if (calls == NULL)
			(void)err_set(&e[i].err, ERR_MEMORY, "no memory for calls");
		else
			calls[i] = (struct call){ .desk = d, .e = &e[i] };
	}
	if (calls == NULL)
		return;
	for (size_t i = 0; i < count; i++)
		prepare(d, &calls[i]);
	d->calls = calls;
	d->call_count = count;
	for (size_t i = 0; i < count; i++) {
		if (atomic_load(&d->stopped))
			(void)err_set(&e[i].err, ERR_OVERLOADED, "the process ends");
		if (e[i].err.code == ERR_NONE)
			begin(d, &calls[i]);
	}
	wait_for_all(d);
	d->call_count = 0;
	d->calls = NULL;
	for (size_t i = 0; i < count; i++)
		end(&calls[i]);
	free(calls);
}

const struct snapshot_key *
errand_key(struct board *b, const struct snapshot *p, const struct upstream *u)
{
	const struct snapshot_key *best = NULL;
	int best_rank = 0;

	if (u->auth == AUTH_NONE)
		return NULL;
	for (size_t i = 0; i < p->key_count; i++) {
		const struct snapshot_key *k = &p->keys[i];
		const struct board_target *t;
		int rank;

		if (!id_equal(k->upstream, u->head.id) &&
			(id_is_none(u->keys_of) || !id_equal(k->upstream, u->keys_of)))
			continue;
		t = board_target_find(b, k->id);
		if (t != NULL && t->rest_until_ms != 0) /* or due: a request's probe finds out */
			continue;
		rank = 1 + (id_is_none(k->project) ? 1 : 0);
		if (rank > best_rank)
			best = k, best_rank = rank;
	}
	return best;
}
